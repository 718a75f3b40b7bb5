/* SPDX-License-Identifier: Apache-2.0 */
/* gaptext.h - what is said of a guest that stood still, while time went on, for longer than its
 * clock can show: in the log when it has happened, by `vmtime plan` before. */
#ifndef KVM_GAPTEXT_H
#define KVM_GAPTEXT_H

#include <stdint.h>
#include <vmtime/gap.h>

#include "host/why.h"

/* `clock`: the one of enum vmt_gap_clock that sets the limit, 0: not known.  `remedy`: what would
 * have helped, as "run with --on-pause auto or freeze". */
void gaptext_set(uint64_t gap_ns, uint64_t limit_ns, uint32_t clock, const char *remedy,
		 struct why *ret_text);

#endif
