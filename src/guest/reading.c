/* SPDX-License-Identifier: Apache-2.0 */
/* reading.c - reads this machine's clocks between two counts of its TSC. */
#include <time.h>

#include "guest/reading.h"
#include "host/vdso.h"

/* A clock that is read without an exit gets tight after some hundred tries: an interrupt, or an
 * emulated CPU that translates code, spoils most of the first ones.  One that costs an exit does
 * not get tighter by trying, so time ends it: a few milliseconds of counts. */
enum { MIN_TRIES = 8, MAX_TRIES = 300, MAX_COUNTS = 8000000 };

static const clockid_t clock_ids[SAMPLE_CLOCKS] = {
	[SAMPLE_REALTIME] = CLOCK_REALTIME,
	[SAMPLE_MONOTONIC] = CLOCK_MONOTONIC,
	[SAMPLE_BOOTTIME] = CLOCK_BOOTTIME,
};

/* The two ends of a try, with no fence that is not needed: the clock's own code orders its count
 * after the one before it, and the one after it waits for all that came before. */
static uint64_t tsc_before(void)
{
	uint32_t low, high;

	__asm__ volatile("rdtsc" : "=a"(low), "=d"(high) : : "memory");
	return (uint64_t)high << 32 | low;
}

static uint64_t tsc_after(void)
{
	uint32_t low, high;

	__asm__ volatile("lfence; rdtsc" : "=a"(low), "=d"(high) : : "memory");
	return (uint64_t)high << 32 | low;
}

/* Only counts taken after a fence are in order with one another. */
static void look_back(struct reading_seen *seen, int which, int64_t ns, uint64_t after)
{
	if (ns < seen->last_ns[which])
		seen->backward[which]++;
	if (after < seen->last_tsc)
		seen->backward[SAMPLE_TSC]++;
	seen->last_ns[which] = ns;
	seen->last_tsc = after;
}

static void take_clock(struct reading_seen *seen, int which, vdso_clock_gettime *get,
		       struct sample_clock *ret_clock)
{
	struct sample_clock best = {.width = UINT64_MAX};
	uint64_t start = tsc_after();

	for (int i = 0; i < MAX_TRIES; i++) {
		struct timespec t = {0};
		uint64_t lo = tsc_before(), hi;
		int64_t ns;

		get(clock_ids[which], &t);
		hi = tsc_after();
		ns = (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
		look_back(seen, which, ns, hi);
		if (hi - lo < best.width) {
			best.tsc = lo;
			best.width = hi - lo;
			best.ns = ns;
		}
		if (i >= MIN_TRIES && hi - start > MAX_COUNTS)
			break;
	}
	*ret_clock = best;
}

void reading_take(struct reading_seen *seen, struct sample *ret_sample)
{
	vdso_clock_gettime *const vdso = vdso_find_clock_gettime();

	for (int i = 0; i < SAMPLE_CLOCKS; i++)
		take_clock(seen, i, vdso ? vdso : clock_gettime, &ret_sample->clock[i]);
	for (int i = 0; i < SAMPLE_BACKWARD; i++)
		ret_sample->backward[i] = seen->backward[i];
}
