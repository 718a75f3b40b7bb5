/* SPDX-License-Identifier: Apache-2.0 */
/* state.h - a machine's state as sections of a stream, one a part. */
#ifndef MOVE_STATE_H
#define MOVE_STATE_H

#include <stdbool.h>

#include "kvm/vmstate_parts.h"
#include "move/stream.h"

/* All of it.  0, or what stream_put() says. */
int state_put(struct stream_writer *w, const struct vmstate_parts *state, struct why *why);

/* Whether it is state that this vmtime knows. */
bool state_knows(const struct stream_section *section);

/* Adds the section that was read to the state, unless it is none and may be left out.  0; -EINVAL:
 * it has come before, or there is more than any machine has; -ENOTSUP: it is not known; -ENOMEM. */
int state_take(const struct stream_reader *r, const struct stream_section *section,
	       struct vmstate_parts *state, struct why *why);

#endif
