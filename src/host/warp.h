/* SPDX-License-Identifier: Apache-2.0 */
/* warp.h - whether the TSCs of all usable CPUs agree.
 *
 * They do if no CPU ever reads a count smaller than one that another has read before.  So one
 * thread on each CPU that this process may use reads its own count, after the largest that any has
 * read so far, over and over.  A difference smaller than the time that it takes to hear of
 * another's count, some 100 ns, is not found, and by nobody else either.
 *
 * Takes a millisecond, up to three where a CPU is busy with something else, up to 20 where one has
 * not had its turn at all, and some 30 us for each CPU.  What such a CPU has not said by then is
 * not waited for: with no look of its own nothing is known of it, and `back` is what the others
 * saw.  Any thread may call; its own affinity stays as it is. */
#ifndef HOST_WARP_H
#define HOST_WARP_H

#include <stdint.h>

struct warp {
	uint64_t back;  /* the largest step back, in counts; 0: none was seen */
	uint32_t cpus;  /* that took part; below 2 there is nothing to compare */
	uint32_t looks; /* of the CPU that had the fewest; 0: one had no turn */
};

/* Reads the count of the CPU that it runs on, the n-th of those that take part.  Ordered after all
 * earlier loads, as hostclock_tsc() is. */
typedef uint64_t warp_reader(void *arg, uint32_t n);

/* `read` NULL: the TSC.  `arg` stays for as long as the process: a thread may come late.  0, or
 * negative errno when no thread could be had. */
int warp_check(warp_reader *read, void *arg, struct warp *ret_warp);

#endif
