/* SPDX-License-Identifier: Apache-2.0 */
/* pairs.h - what the host's clocks showed at a TSC count that lies in the past.
 *
 * A thread pairs both clocks with the TSC many times a second; between two pairs the clock is
 * taken to be straight.  So a count that a guest sent says what the host's clocks showed then,
 * however late the count arrives. */
#ifndef HOST_PAIRS_H
#define HOST_PAIRS_H

#include <stddef.h>
#include <stdint.h>

#include "host/hostclock.h"

struct pairs;

enum pairs_clock { PAIRS_REALTIME, PAIRS_MONOTONIC, PAIRS_CLOCKS };

struct pairs_value {
	int64_t ns;        /* what the clock showed, rounded down */
	uint64_t bound_ns; /* half width: the truth lies within ns +- bound_ns */
};

/* A history that keeps the last `capacity` pairs (at least 4), empty.  NULL: no memory. */
struct pairs *pairs_new(size_t capacity);

/* Stops the thread if it runs.  NULL is allowed. */
void pairs_free(struct pairs *p);

/* Adds a first pair, so that every count from now on lies within the history, and starts the
 * thread that tries ten times in each `period_ns` (at least 10) and adds the tightest pair.
 * 0 or negative errno. */
int pairs_start(struct pairs *p, uint64_t period_ns);

/* Adds a pair; one that is not later than the last is ignored.  Any thread. */
void pairs_add(struct pairs *p, const struct hostclock_pair *pair);

/* What the clock showed in the middle of the host counts [lo, hi]; the bound covers all of them:
 * half of [lo, hi], half of the wider bracket of the pairs on both sides, and what the clock bent
 * between these, as far as the pairs beside them show it: one step or change of rate is covered if
 * it is more than what the brackets of three pairs can make or hide.
 * 0; -EAGAIN: not yet, a later pair is needed; -ERANGE: older than the history; -EINVAL: lo > hi.
 * Any thread. */
int pairs_at(struct pairs *p, enum pairs_clock clock, uint64_t lo, uint64_t hi,
	     struct pairs_value *ret_value);

/* The TSC's frequency over the whole history, rounded; 0 while it holds less than two pairs. */
uint64_t pairs_tsc_hz(struct pairs *p);

#endif
