/* SPDX-License-Identifier: Apache-2.0 */
/* image_round.h - pages that were written, into a stream: packed side by side, written in order.
 *
 * What they are packed with is kept from one round to the next, since the last one is short and the
 * machine stands still in it. */
#ifndef MOVE_IMAGE_ROUND_H
#define MOVE_IMAGE_ROUND_H

#include <stdbool.h>
#include <stdint.h>

#include "kvm/dirty.h"
#include "move/image.h"

struct image_round_config {
	struct stream_writer *w; /* all three by reference */
	const struct guest_memory
		*memory; /* of this process alone; others may write it meanwhile */
	struct dirty *dirty;
	/* Both from any of the threads, but from one at a time.  Asked before each piece: 0, or
	 * negative errno with its why, with which the round ends. */
	int (*may_go_on)(void *owner, struct why *why);
	/* A piece was written. */
	void (*gone)(void *owner, const struct image_stats *piece);
	void *owner;
};

struct image_round;

/* NULL: no memory. */
struct image_round *image_round_new(const struct image_round_config *config);
void image_round_free(struct image_round *r); /* takes NULL */

/* Once through all pages that are to be sent, of which there are about so many.  `fresh`: none was
 * ever sent, so what was never touched need not be looked at.  0, or negative errno: what
 * may_go_on(), stream_put() or dirty_take() said, -ENOMEM. */
int image_round_send(struct image_round *r, uint64_t pages, bool fresh, bool compress,
		     struct why *why);

#endif
