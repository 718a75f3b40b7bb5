/* SPDX-License-Identifier: Apache-2.0 */
/* random.h - reproducible random numbers for tests.
 *
 * The seed is VMTIME_TEST_SEED, or 1: a run finds what the last one found.  Tests that loop print
 * it, so that a failure can be had again, and other seeds can be tried:
 *
 *     for i in $(seq 100); do VMTIME_TEST_SEED=$i build/tests/... || break; done */
#ifndef TESTS_RANDOM_H
#define TESTS_RANDOM_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

struct random {
	uint64_t state;
};

static inline uint64_t random_seed(void)
{
	const char *seed = getenv("VMTIME_TEST_SEED");

	return seed ? strtoull(seed, NULL, 0) : 1;
}

static inline struct random random_start(void)
{
	printf("# VMTIME_TEST_SEED=%llu\n", (unsigned long long)random_seed());
	return (struct random){.state = random_seed()};
}

/* splitmix64 */
static inline uint64_t random_next(struct random *r)
{
	uint64_t z = r->state += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

/* 0..bound-1 */
static inline uint32_t random_below(struct random *r, uint32_t bound)
{
	return (uint32_t)(((random_next(r) >> 32) * bound) >> 32);
}

/* Of every magnitude: as likely below 2^8 as above 2^56. */
static inline uint64_t random_wide(struct random *r)
{
	uint64_t value = random_next(r);

	return value >> random_below(r, 64);
}

#endif
