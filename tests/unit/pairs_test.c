/* SPDX-License-Identifier: Apache-2.0 */
/* pairs_test.c - the host's clocks at a count that lies in the past. */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdlib.h>
#include <time.h>
#include <cmocka.h>

#include "host/pairs.h"

enum { GAP = 100000000, HALF = 60 };

/* A pair of a host that counts 2 per ns, whose clocks both showed `ns` at `tsc`. */
static void add(struct pairs *p, uint64_t tsc, int64_t ns)
{
	struct hostclock_pair pair = {
		.realtime_tsc_lo = tsc - HALF,
		.realtime_tsc_hi = tsc + HALF,
		.realtime_ns = ns + 1000000000000000000,
		.monotonic_tsc_lo = tsc - HALF,
		.monotonic_tsc_hi = tsc + HALF,
		.monotonic_ns = (uint64_t)ns,
	};

	pairs_add(p, &pair);
}

static struct pairs *straight(size_t capacity, unsigned count)
{
	struct pairs *p = pairs_new(capacity);

	assert_non_null(p);
	for (unsigned i = 1; i <= count; i++)
		add(p, (uint64_t)i * GAP, (int64_t)i * GAP / 2);
	return p;
}

static struct pairs_value at(struct pairs *p, uint64_t tsc)
{
	struct pairs_value value = {0};

	assert_int_equal(pairs_at(p, PAIRS_MONOTONIC, tsc, tsc, &value), 0);
	return value;
}

static void a_count_between_two_pairs_is_on_the_line(void **state)
{
	struct pairs *p = straight(16, 8);
	struct pairs_value v;

	(void)state;
	v = at(p, 3ULL * GAP + 1000);
	assert_int_equal(v.ns, 3LL * GAP / 2 + 500);
	assert_int_equal(v.bound_ns, HALF / 2 + 1);
	assert_int_equal(at(p, 3ULL * GAP + 1001).ns, 3LL * GAP / 2 + 500); /* down */
	assert_int_equal(pairs_at(p, PAIRS_REALTIME, 3ULL * GAP, 3ULL * GAP, &v), 0);
	assert_int_equal(v.ns, 1000000000000000000 + 3LL * GAP / 2);
	pairs_free(p);
}

static void both_half_brackets_are_in_the_bound(void **state)
{
	struct pairs *p = straight(16, 8);
	struct pairs_value v;

	(void)state;
	assert_int_equal(pairs_at(p, PAIRS_MONOTONIC, 3ULL * GAP, 3ULL * GAP + 401, &v), 0);
	assert_int_equal(v.ns, 3LL * GAP / 2 + 100);
	assert_int_equal(v.bound_ns, (HALF + 201 + 1) / 2 + 1);
	assert_int_equal(pairs_at(p, PAIRS_MONOTONIC, 10, 9, &v), -EINVAL);
	pairs_free(p);
}

static void a_late_sample_is_known_by_its_count(void **state)
{
	struct pairs *p = straight(1000, 100);

	(void)state;
	assert_int_equal(at(p, 5ULL * GAP + GAP / 4).ns, 5LL * GAP / 2 + GAP / 8);
	pairs_free(p);
}

static void pairs_on_both_sides_are_needed(void **state)
{
	struct pairs *p = straight(8, 3);
	struct pairs_value v;

	(void)state;
	assert_int_equal(pairs_at(p, PAIRS_MONOTONIC, GAP - 1, GAP - 1, &v), -ERANGE);
	assert_int_equal(pairs_at(p, PAIRS_MONOTONIC, 2ULL * GAP + 1, 2ULL * GAP + 1, &v), -EAGAIN);
	add(p, 4ULL * GAP, 4LL * GAP / 2);
	assert_int_equal(at(p, 2ULL * GAP + 1).ns, GAP);
	pairs_free(p);

	p = pairs_new(8);
	assert_int_equal(pairs_at(p, PAIRS_MONOTONIC, 1, 1, &v), -EAGAIN);
	pairs_free(p);
}

static void the_oldest_pairs_are_forgotten(void **state)
{
	struct pairs *p = straight(8, 100);
	struct pairs_value v;

	(void)state;
	assert_int_equal(pairs_at(p, PAIRS_MONOTONIC, 92ULL * GAP, 92ULL * GAP, &v), -ERANGE);
	assert_int_equal(at(p, 93ULL * GAP).ns, 93LL * GAP / 2);
	pairs_free(p);
}

static void a_pair_out_of_order_is_ignored(void **state)
{
	struct pairs *p = straight(8, 6);

	(void)state;
	add(p, 2ULL * GAP, 77);
	assert_int_equal(at(p, 4ULL * GAP).ns, 4LL * GAP / 2);
	pairs_free(p);
}

/* A step of an hour: the counts between the pairs around it can be off by all of it and say so,
 * those beside it are as good as ever. */
static void a_step_is_in_the_bound_where_it_happened_and_nowhere_else(void **state)
{
	const int64_t hour = 3600000000000;
	struct pairs *p = pairs_new(32);

	(void)state;
	for (int i = 1; i <= 10; i++)
		add(p, (uint64_t)i * GAP, (int64_t)i * GAP / 2 + (i > 5 ? hour : 0));
	assert_true(at(p, 5ULL * GAP + GAP / 2).bound_ns >= (uint64_t)hour);
	assert_int_equal(at(p, 4ULL * GAP + GAP / 2).bound_ns, HALF / 2 + 1);
	assert_int_equal(at(p, 4ULL * GAP + GAP / 2).ns, 4LL * GAP / 2 + GAP / 4);
	assert_int_equal(at(p, 6ULL * GAP + GAP / 2).bound_ns, HALF / 2 + 1);
	assert_int_equal(at(p, 6ULL * GAP + GAP / 2).ns, 6LL * GAP / 2 + GAP / 4 + hour);
	pairs_free(p);
}

/* What a clock shows that runs at one rate until `knee` and at another after it. */
static int64_t bent(uint64_t tsc, uint64_t knee, int64_t ppm)
{
	int64_t ns = (int64_t)(tsc / 2);

	return tsc <= knee ? ns : ns + (int64_t)((tsc - knee) / 2) * ppm / 1000000;
}

static void a_clock_that_changes_its_rate_stays_within_the_bound(void **state)
{
	(void)state;
	srand(1);
	for (int run = 0; run < 300; run++) {
		uint64_t knee = 4ULL * GAP + (unsigned)rand() % (3ULL * GAP);
		int64_t ppm = rand() % 1001 - 500;
		struct pairs *p = pairs_new(32);
		uint64_t tsc = GAP;

		while (tsc < 12ULL * GAP) {
			add(p, tsc, bent(tsc, knee, ppm));
			tsc += GAP / 2 + (unsigned)rand() % GAP;
		}
		for (tsc = 2ULL * GAP; tsc < 9ULL * GAP; tsc += GAP / 7) {
			struct pairs_value v = at(p, tsc);
			int64_t off = v.ns - bent(tsc, knee, ppm);

			assert_true((uint64_t)(off < 0 ? -off : off) <= v.bound_ns);
		}
		pairs_free(p);
	}
}

/* Every pair is off by something within its bracket; the bound holds all the same. */
static void noise_within_the_brackets_does_not_break_the_bound(void **state)
{
	(void)state;
	srand(2);
	for (int run = 0; run < 2000; run++) {
		uint64_t when = 4ULL * GAP + (unsigned)rand() % (3ULL * GAP);
		int64_t step = (rand() % 2 ? 1 : -1) * (600 + rand() % 3000);
		struct pairs *p = pairs_new(32);
		uint64_t tsc = GAP;

		while (tsc < 12ULL * GAP) {
			int64_t noise = rand() % (HALF + 1) - HALF / 2;

			add(p, tsc, (int64_t)(tsc / 2) + noise + (tsc > when ? step : 0));
			tsc += 9 * (GAP / 10) + (unsigned)rand() % (GAP / 5);
		}
		for (tsc = 2ULL * GAP; tsc < 9ULL * GAP; tsc += GAP / 7) {
			struct pairs_value v = at(p, tsc);
			int64_t off = v.ns - (int64_t)(tsc / 2) - (tsc > when ? step : 0);

			assert_true((uint64_t)(off < 0 ? -off : off) <= v.bound_ns);
		}
		pairs_free(p);
	}
}

static void the_frequency_is_that_of_the_whole_history(void **state)
{
	struct pairs *p = straight(8, 1);

	(void)state;
	assert_int_equal(pairs_tsc_hz(p), 0);
	pairs_free(p);
	p = straight(8, 6);
	assert_int_equal(pairs_tsc_hz(p), 2000000000);
	pairs_free(p);
}

/* The real thing: what the thread says about a moment is what the clock itself said in it, and the
 * first moment after the start is one already. */
static void the_thread_agrees_with_the_clock(void **state)
{
	struct pairs *p = pairs_new(1024);
	struct hostclock_pair now;
	struct pairs_value v;
	struct timespec pause = {.tv_nsec = 5000000};
	int64_t off;
	int result;

	(void)state;
	assert_int_equal(pairs_start(p, 2000000), 0);
	assert_int_equal(pairs_start(p, 2000000), -EINVAL);
	assert_int_equal(hostclock_pair(50, &now), 0);
	while ((result = pairs_at(p, PAIRS_MONOTONIC, now.monotonic_tsc_lo, now.monotonic_tsc_hi,
				  &v)) == -EAGAIN)
		nanosleep(&pause, NULL);
	assert_int_equal(result, 0);
	off = v.ns - (int64_t)now.monotonic_ns;
	assert_true((uint64_t)(off < 0 ? -off : off) <= v.bound_ns);
	pairs_free(p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_count_between_two_pairs_is_on_the_line),
		cmocka_unit_test(both_half_brackets_are_in_the_bound),
		cmocka_unit_test(a_late_sample_is_known_by_its_count),
		cmocka_unit_test(pairs_on_both_sides_are_needed),
		cmocka_unit_test(the_oldest_pairs_are_forgotten),
		cmocka_unit_test(a_pair_out_of_order_is_ignored),
		cmocka_unit_test(a_step_is_in_the_bound_where_it_happened_and_nowhere_else),
		cmocka_unit_test(a_clock_that_changes_its_rate_stays_within_the_bound),
		cmocka_unit_test(noise_within_the_brackets_does_not_break_the_bound),
		cmocka_unit_test(the_frequency_is_that_of_the_whole_history),
		cmocka_unit_test(the_thread_agrees_with_the_clock),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
