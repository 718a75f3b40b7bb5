/* SPDX-License-Identifier: Apache-2.0 */
/* costs.h - what one reading of the time costs in this machine, by each way that there is.
 *
 * Ways are timed in batches: of each round the middle batch, of all rounds the quietest.  What they
 * return is compared, not only timed: CLOCK_MONOTONIC by the vDSO lies between two readings by the
 * system call and the other way round; the page's time keeps its distance to CLOCK_MONOTONIC_RAW;
 * a count lies between two others.
 *
 * Part of what runs in a guest: it reads the clocks that it measures.  One thread only. */
#ifndef GUEST_COSTS_H
#define GUEST_COSTS_H

#include <stdint.h>

#include "guest/sample.h"

enum { COSTS_MAX = 6 }; /* vdso, syscall, page and rdtsc, these two also ordered */

/* Measures all of them anew, in half a second and more.  How many there are, in ret_costs: the page
 * is left out where it is not mapped or not to be used. */
uint32_t costs_measure(uint32_t series, struct sample_cost ret_costs[COSTS_MAX]);

/* Brackets of the distance of two clocks that part by 1000 ppm at most: the page's follows the
 * host's, which NTP steers, while CLOCK_MONOTONIC_RAW may count a crystal.  0 initializes. */
struct costs_distances {
	int64_t least, most; /* of the first, ns */
	uint32_t count;
};

/* Takes one that was closed passed_ns after the first was opened.  By how much no distance lies in
 * all of them yet, ns. */
uint64_t costs_take_distance(struct costs_distances *d, int64_t lo, int64_t hi, int64_t passed_ns);

#endif
