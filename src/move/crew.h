/* SPDX-License-Identifier: Apache-2.0 */
/* crew.h - pieces of work that several threads do side by side, begun and ended in one order.
 *
 * A piece is taken by one thread at a time, in order; worked on by itself; and given, again by one
 * at a time and in the order of taking.  Each thread has what it works with (its hand), so nothing
 * but taking and giving has to think of the others. */
#ifndef MOVE_CREW_H
#define MOVE_CREW_H

#include <stdint.h>

#define CREW_MOST 8

struct crew {
	/* 1: the hand has the next piece; 0: there are no more; negative errno. */
	int (*take)(void *owner, void *hand);
	/* 0 or negative errno.  One that fails ends it for all. */
	int (*work)(void *owner, void *hand);
	int (*give)(void *owner, void *hand); /* NULL: nothing to be done in order */
	void *owner;
};

/* How many hands are worth having for so many bytes of memory: one for each 32 MiB; at most one
 * more than there are CPUs for this thread, since one may wait for its turn; and CREW_MOST. */
unsigned crew_hands(uint64_t bytes);

/* Does all the work with n hands, 1 to CREW_MOST: in this thread and in as many others as can be
 * had.  0, or what failed first, and *ret_failed: in which hand. */
int crew_run(const struct crew *crew, void *const *hands, unsigned n, unsigned *ret_failed);

#endif
