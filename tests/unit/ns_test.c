/* SPDX-License-Identifier: Apache-2.0 */
/* ns_test.c - integer time, held against 128-bit arithmetic of the compiler. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/ns.h"
#include "../random.h"

static const uint32_t crystals[] = {1, 32768, 1193182, 3579545, 100000000, 1000000000};

static uint64_t saturated(vmt_ns_u128 v)
{
	return v < UINT64_MAX ? (uint64_t)v : UINT64_MAX;
}

static void division_agrees_with_the_compilers(void **state)
{
	struct random random = random_start();

	(void)state;
	for (int i = 0; i < 1000000; i++) {
		uint64_t a = random_wide(&random), b = random_wide(&random);
		uint64_t d = random_wide(&random) | 1;
		vmt_ns_u128 product = (vmt_ns_u128)a * b;

		if (i % 16 == 0)
			d = (d << 32) - 1; /* divisors that mislead the first guess of a digit */
		assert_int_equal(vmt_ns_muldiv_floor(a, b, d), saturated(product / d));
		assert_int_equal(vmt_ns_muldiv_ceil(a, b, d),
				 saturated(product / d + (product % d != 0)));
	}
}

static void too_large_a_quotient_is_the_largest_number(void **state)
{
	(void)state;
	assert_int_equal(vmt_ns_muldiv_floor(UINT64_MAX, UINT64_MAX, 1), UINT64_MAX);
	assert_int_equal(vmt_ns_muldiv_ceil(UINT64_MAX, UINT64_MAX, UINT64_MAX - 1), UINT64_MAX);
	assert_int_equal(vmt_ns_muldiv_floor(UINT64_MAX, UINT64_MAX, UINT64_MAX), UINT64_MAX);
	assert_int_equal(vmt_ns_div_floor(((vmt_ns_u128)7 << 64) - 1, 7), UINT64_MAX);
	assert_int_equal(vmt_ns_div_floor(((vmt_ns_u128)7 << 64) - 8, 7), UINT64_MAX - 1);
	assert_int_equal(vmt_ns_div_ceil(((vmt_ns_u128)7 << 64) - 1, 7), UINT64_MAX);
	assert_int_equal(vmt_ns_add(UINT64_MAX - 1, 2), UINT64_MAX);
	assert_int_equal(vmt_ns_clamp((vmt_ns_i128)INT64_MAX + 1), INT64_MAX);
	assert_int_equal(vmt_ns_clamp((vmt_ns_i128)INT64_MIN - 1), INT64_MIN);
}

/* A tick's nanosecond is the first at which it has come, over the whole range of both. */
static void a_tick_is_due_at_the_first_nanosecond_that_counts_it(void **state)
{
	struct random random = random_start();

	(void)state;
	for (int i = 0; i < 1000000; i++) {
		uint32_t hz = crystals[random_below(&random, 6)];
		uint64_t ns = random_wide(&random);
		uint64_t ticks = vmt_ns_to_ticks(ns, hz), due = vmt_ns_of_tick(ticks + 1, hz);

		assert_int_equal(ticks, (uint64_t)((vmt_ns_u128)ns * hz / VMT_NS_PER_S));
		assert_true(due > ns || due == UINT64_MAX);
		if (due != UINT64_MAX) {
			assert_int_equal(vmt_ns_to_ticks(due, hz), ticks + 1);
			assert_int_equal(vmt_ns_to_ticks(due - 1, hz), ticks);
		}
	}
	assert_int_equal(vmt_ns_of_tick(UINT64_MAX, 1193182), UINT64_MAX);
	assert_int_equal(vmt_ns_of_tick(0, 1193182), 0);
	assert_int_equal(vmt_ns_of_tick(1, 1193182), 839); /* 838.096 ns */
}

/* The factor is the quotient in as many binary places as fit, rounded up. */
static void a_factor_has_all_the_places_that_fit(void **state)
{
	struct random random = random_start();

	(void)state;
	for (int i = 0; i < 20000; i++) {
		uint64_t n = (random_wide(&random) >> 1) | 1, d = random_wide(&random) | 1, mult;
		uint32_t shift;

		vmt_ns_factor(n, d, &mult, &shift);
		assert_true(shift <= 64 && mult >> 63 == 0);
		assert_true(shift == 64 || mult >> 62 == 1);
		assert_true(mult == (((vmt_ns_u128)n << shift) + d - 1) / d);
	}
}

static void a_factor_of_large_numbers_needs_no_more_than_128_bits(void **state)
{
	vmt_ns_u128 n = (vmt_ns_u128)1 << 102, d = ((vmt_ns_u128)1 << 112) - 1;
	uint64_t mult;
	uint32_t shift;

	(void)state;
	vmt_ns_factor(n, d, &mult, &shift); /* a hair above 2^-10 */
	assert_int_equal(shift, 64);
	assert_int_equal(mult, (UINT64_C(1) << 54) + 1);
	vmt_ns_factor(d, n, &mult, &shift); /* a hair below 2^10, which has a place less */
	assert_int_equal(shift, 52);
	assert_int_equal(mult, UINT64_C(1) << 62);
	vmt_ns_factor(n, (vmt_ns_u128)1 << 112, &mult, &shift); /* 2^-10 itself */
	assert_int_equal(shift, 64);
	assert_int_equal(mult, UINT64_C(1) << 54);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(division_agrees_with_the_compilers),
		cmocka_unit_test(too_large_a_quotient_is_the_largest_number),
		cmocka_unit_test(a_tick_is_due_at_the_first_nanosecond_that_counts_it),
		cmocka_unit_test(a_factor_has_all_the_places_that_fit),
		cmocka_unit_test(a_factor_of_large_numbers_needs_no_more_than_128_bits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
