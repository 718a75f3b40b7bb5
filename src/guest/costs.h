/* SPDX-License-Identifier: Apache-2.0 */
/* costs.h - what one reading of the time costs in this machine, by each way that there is.
 *
 * Ways are timed in batches: of each round the middle batch, of all rounds the quietest.  What they
 * return is compared, not only timed: CLOCK_MONOTONIC by the vDSO lies between two readings by the
 * system call and the other way round; the page's time keeps one distance to CLOCK_MONOTONIC_RAW;
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

#endif
