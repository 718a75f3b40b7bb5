/* SPDX-License-Identifier: Apache-2.0 */
/* test_judge_test.c - figures and verdicts of made-up guests whose errors are known. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "cmd/test_judge.h"

enum { MAX_POINTS = 1200, PERIOD_NS = 100000000 };

static const uint64_t us = 1000, tsc_hz = 2500000000;

/* A guest read each 100 ms with a bound of 80 ns, `ppb` fast, its REALTIME early by `early_ns`. */
struct guest {
	struct judge_point points[MAX_POINTS];
	size_t count;
};

static struct guest make_guest(size_t count, int64_t ppb, int64_t early_ns)
{
	struct guest g = {.count = count};

	for (size_t i = 0; i < count; i++) {
		int64_t elapsed = (int64_t)i * PERIOD_NS;
		int64_t gained = elapsed / 1000 * ppb / 1000000;

		g.points[i] = (struct judge_point){.host_ns = 5000000000000 + elapsed,
						   .realtime_error_ns = early_ns + gained,
						   .realtime_bound_ns = 80,
						   .monotonic_error_ns = -4999000000000 + gained,
						   .monotonic_bound_ns = 80};
	}
	return g;
}

static struct judge_row steady(const struct guest *g, const char *clocksource, uint64_t limit_ns)
{
	struct judge_clock clock;
	struct judge_row row;

	assert_true(judge_find_clock(clocksource, tsc_hz, 4000000, &clock));
	judge_steady(g->points, g->count, &clock, limit_ns, us, &row);
	return row;
}

static void a_tick_owed_at_the_end_is_a_fault(void **state)
{
	const struct guest g = make_guest(MAX_POINTS, 0, 0);
	struct judge_row row = steady(&g, "jiffies", 0);

	(void)state;
	judge_owed(1, &row); /* it has just fallen due */
	assert_int_equal(row.verdict, JUDGE_PASS);
	judge_owed(2, &row);
	assert_int_equal(row.verdict, JUDGE_FAIL);
	assert_true(row.known[JUDGE_OWED]);
	assert_int_equal(row.value[JUDGE_OWED], 2);
	assert_string_equal(row.reason, "2 ticks are owed to the guest at the end");
}

static void a_value_is_failed_only_when_that_is_certain(void **state)
{
	(void)state;
	assert_int_equal(judge_compare(1080, 80, 1000), JUDGE_PASS);
	assert_int_equal(judge_compare(1081, 80, 1000), JUDGE_FAIL);
	assert_int_equal(judge_compare(-1081, 80, 1000), JUDGE_FAIL);
	assert_int_equal(judge_compare(0, 1000, 1000), JUDGE_PASS);
	assert_int_equal(judge_compare(0, 1001, 1000), JUDGE_SKIP);
	assert_int_equal(judge_compare(2002, 1001, 1000), JUDGE_FAIL);
	assert_int_equal(judge_compare(INT64_MIN, 1, 1), JUDGE_FAIL);
	assert_int_equal(judge_compare(INT64_MIN, 0, UINT64_MAX), JUDGE_PASS);
}

static void boot_judges_the_first_error(void **state)
{
	struct guest g = make_guest(1, 0, -482000000);
	struct judge_row row;

	(void)state;
	judge_boot(&g.points[0], 7500000000, 1000000000, &row);
	assert_int_equal(row.verdict, JUDGE_PASS);
	assert_int_equal(row.value[JUDGE_REALTIME_ERROR], -482000000);
	assert_int_equal(row.value[JUDGE_BRACKET], 80);
	assert_int_equal(row.value[JUDGE_DURATION], 7500000000);
	assert_int_equal(row.value[JUDGE_LIMIT], 1000000000);
	assert_false(row.known[JUDGE_REALTIME_CHANGE]);
	assert_string_equal(row.reason, "");

	judge_boot(&g.points[0], 7500000000, 5000000, &row);
	assert_int_equal(row.verdict, JUDGE_FAIL);
	assert_non_null(strstr(row.reason, "-482 ms"));
	assert_non_null(strstr(row.reason, "5.00 ms"));
}

static void a_kvm_clock_that_stays_passes_wherever_it_stands(void **state)
{
	struct guest g = make_guest(101, 0, -860000000);
	struct judge_row row = steady(&g, "kvm-clock", 0);

	(void)state;
	assert_int_equal(row.verdict, JUDGE_PASS);
	assert_int_equal(row.value[JUDGE_REALTIME_ERROR], -860000000);
	assert_true(row.known[JUDGE_REALTIME_CHANGE]);
	assert_int_equal(row.value[JUDGE_REALTIME_CHANGE], 0);
	assert_int_equal(row.value[JUDGE_MONOTONIC_GAP], 0);
	assert_int_equal(row.value[JUDGE_BRACKET], 160); /* both ends */
	assert_int_equal(row.value[JUDGE_DURATION], 10000000000);
	assert_int_equal(row.value[JUDGE_FREQUENCY_ERROR], 0);
	assert_false(row.known[JUDGE_REALTIME_RESIDUAL]);
}

static void a_kvm_clock_that_drifts_fails_by_its_change(void **state)
{
	struct guest g = make_guest(101, -200, 0);
	struct judge_row row = steady(&g, "kvm-clock", 0);

	(void)state;
	assert_int_equal(row.verdict, JUDGE_FAIL);
	assert_int_equal(row.value[JUDGE_REALTIME_CHANGE], -2000);
	assert_int_equal(row.value[JUDGE_FREQUENCY_ERROR], -200);
	assert_int_equal(steady(&g, "kvm-clock", 2 * us).verdict, JUDGE_PASS);
}

static void a_step_of_a_millisecond_is_found_to_the_nanosecond(void **state)
{
	struct guest g = make_guest(101, 0, 0);
	struct judge_row row;

	(void)state;
	for (size_t i = 40; i < g.count; i++)
		g.points[i].realtime_error_ns += 1000000;
	row = steady(&g, "kvm-clock", 0);
	assert_int_equal(row.verdict, JUDGE_FAIL);
	assert_int_equal(row.value[JUDGE_REALTIME_CHANGE], 1000000);
	assert_int_equal(row.value[JUDGE_MONOTONIC_GAP], 0);
	assert_int_equal(steady(&g, "tsc", 0).verdict, JUDGE_FAIL);
}

/* 500 ppb + half a kHz (200 ppb) + what the brackets make: 160 ns in 10 s. */
static void the_rate_of_tsc_has_its_own_limit(void **state)
{
	struct guest g = make_guest(101, 700, 0);
	struct judge_row row = steady(&g, "tsc", 0);

	(void)state;
	assert_int_equal(row.verdict, JUDGE_PASS);
	assert_int_equal(row.value[JUDGE_FREQUENCY_ERROR], 700);
	assert_int_equal(row.value[JUDGE_REALTIME_CHANGE], 7000);
	assert_in_range(llabs(row.value[JUDGE_REALTIME_RESIDUAL]), 0, 1);
	/* The reading's own, the line's height; its turn where the worst is not in the middle. */
	assert_in_range(row.value[JUDGE_BRACKET], 160, 280);

	g = make_guest(101, -717, 0);
	row = steady(&g, "tsc", 0);
	assert_int_equal(row.verdict, JUDGE_FAIL);
	assert_non_null(strstr(row.reason, "frequency_error_ppb is -717, allowed are 716"));
}

static void a_clock_that_leaves_its_line_fails(void **state)
{
	struct guest g = make_guest(200, 300, 0);
	struct judge_row row;

	(void)state;
	g.points[77].realtime_error_ns += 1200;
	row = steady(&g, "tsc", 0);
	assert_int_equal(row.verdict, JUDGE_FAIL);
	assert_in_range(row.value[JUDGE_REALTIME_RESIDUAL], 1190, 1200);
}

static void disturbed_readings_do_not_count(void **state)
{
	struct guest g = make_guest(101, 0, 0);
	struct judge_row row;

	(void)state;
	g.points[0].realtime_bound_ns = 50 * us;
	g.points[0].realtime_error_ns = 40000;
	g.points[50].monotonic_bound_ns = 50 * us;
	row = steady(&g, "kvm-clock", 0);
	assert_int_equal(row.verdict, JUDGE_PASS);
	assert_int_equal(row.value[JUDGE_REALTIME_CHANGE], 0);
	assert_int_equal(row.value[JUDGE_DURATION], 9900000000);

	g = make_guest(101, 0, 0);
	for (size_t i = 95; i < 100; i += 2) {
		g.points[i].realtime_bound_ns = i == 95 ? 50 * us : 80;
		g.points[i].monotonic_bound_ns = i == 95 ? 80 : 50 * us;
		g.points[i].monotonic_error_ns += 40000;
	}
	assert_int_equal(steady(&g, "tsc", 0).value[JUDGE_FREQUENCY_ERROR], 0);
}

static void a_read_that_costs_an_exit_is_judged_by_its_bracket(void **state)
{
	struct guest g = make_guest(101, 0, 0);
	struct judge_row row;

	(void)state;
	for (size_t i = 0; i < g.count; i++) {
		g.points[i].realtime_bound_ns = g.points[i].monotonic_bound_ns = 30 * us;
		g.points[i].realtime_error_ns += i % 2 ? 20000 : -20000;
	}
	row = steady(&g, "acpi_pm", 0);
	assert_int_equal(row.verdict, JUDGE_PASS);
	assert_int_equal(row.value[JUDGE_LIMIT], 60 * us + 280);
	assert_int_equal(row.value[JUDGE_BRACKET], 30 * us);
	/* Asked for less than the bracket, it cannot be told. */
	assert_int_equal(steady(&g, "acpi_pm", us).verdict, JUDGE_SKIP);
}

/* The verdict allows three brackets, so that is what the worst has to be chosen by. */
static void a_wide_reading_does_not_hide_a_tight_one_that_is_off(void **state)
{
	struct guest g = make_guest(101, 0, 0);
	struct judge_row row;

	(void)state;
	for (size_t i = 0; i < g.count; i++)
		g.points[i].realtime_bound_ns = g.points[i].monotonic_bound_ns = 30 * us;
	g.points[20].realtime_error_ns += 100 * (int64_t)us;
	assert_int_equal(steady(&g, "acpi_pm", 0).verdict, JUDGE_FAIL);
	g.points[60].realtime_error_ns += 135 * (int64_t)us;
	g.points[60].realtime_bound_ns = g.points[60].monotonic_bound_ns = 60 * us;
	row = steady(&g, "acpi_pm", 0);
	assert_int_equal(row.verdict, JUDGE_FAIL);
	assert_int_equal(row.value[JUDGE_BRACKET], 30 * us);
}

static void either_clock_can_leave_the_line(void **state)
{
	struct guest g = make_guest(200, 300, 0);
	struct judge_row row;

	(void)state;
	g.points[77].monotonic_error_ns -= 1500;
	row = steady(&g, "tsc", 0);
	assert_int_equal(row.verdict, JUDGE_FAIL);
	assert_int_equal(row.judged, JUDGE_MONOTONIC_RESIDUAL);
	assert_non_null(strstr(row.reason, "monotonic_residual_ns"));
	assert_in_range(llabs(row.value[JUDGE_REALTIME_RESIDUAL]), 0, 10);
}

/* Readings all within their bounds: the first and the last third turn the line. */
static void a_line_that_readings_within_their_bounds_turn_is_no_fault(void **state)
{
	struct guest g = make_guest(151, 0, 0);
	struct judge_row row;

	(void)state;
	for (size_t i = 0; i < g.count; i++) {
		int64_t off = i < 50 ? 80 : i <= 100 ? 0 : -80;

		g.points[i].realtime_error_ns += i == 150 ? 80 : off;
		g.points[i].monotonic_error_ns += off;
	}
	row = steady(&g, "tsc", 1);
	assert_int_not_equal(row.verdict, JUDGE_FAIL);
	assert_true(llabs(row.value[JUDGE_REALTIME_RESIDUAL]) > 160);
	assert_in_range(row.value[JUDGE_BRACKET], 270, 281); /* at an end: 80 * (1 + 1 + 1.5) */
}

static void a_disturbed_end_does_not_shorten_the_time(void **state)
{
	struct guest g = make_guest(121, 0, 0); /* 10 s and both ends */

	(void)state;
	for (size_t i = 0; i < 11; i++) {
		g.points[i].realtime_bound_ns = g.points[i].monotonic_bound_ns = 50 * us;
		g.points[120 - i].realtime_bound_ns = 40 * us;
	}
	assert_true(steady(&g, "tsc", 0).value[JUDGE_DURATION] >= 10000000000);
	assert_true(steady(&g, "tsc", 0).known[JUDGE_FREQUENCY_ERROR]);
	assert_int_equal(steady(&g, "tsc", 0).verdict, JUDGE_PASS);
}

static void jiffies_of_unknown_length_are_not_judged(void **state)
{
	struct guest g = make_guest(200, 0, 0);
	struct judge_clock clock;
	struct judge_row row;

	(void)state;
	assert_true(judge_find_clock("refined-jiffies", tsc_hz, 0, &clock));
	g.points[77].realtime_error_ns += 3000000;
	judge_steady(g.points, g.count, &clock, 0, us, &row);
	assert_int_equal(row.verdict, JUDGE_SKIP);
	assert_non_null(strstr(row.reason, "jiffy"));
}

static void jiffies_have_two_ticks_and_a_hundred_ppm(void **state)
{
	struct guest g = make_guest(400, 57000, 0);
	struct judge_row row;

	(void)state;
	for (size_t i = 0; i < g.count; i++) {
		int64_t phase = (int64_t)(i * 1234567 % 4000000);

		g.points[i].realtime_error_ns -= phase;
		g.points[i].monotonic_error_ns -= phase;
	}
	row = steady(&g, "jiffies", 0);
	assert_int_equal(row.verdict, JUDGE_PASS);
	assert_int_equal(row.value[JUDGE_LIMIT], 8000000);
	assert_in_range(row.value[JUDGE_FREQUENCY_ERROR], 40000, 75000);
	/* 100 ppm, and two ticks in 10 s (800 ppm) */
	g = make_guest(101, 900000, 0);
	assert_int_equal(steady(&g, "jiffies", 0).verdict, JUDGE_PASS);
	g = make_guest(101, 901000, 0);
	assert_int_equal(steady(&g, "jiffies", 0).verdict, JUDGE_FAIL);
}

static void too_few_readings_are_no_verdict(void **state)
{
	struct guest g = make_guest(2, 0, 0);

	(void)state;
	assert_int_equal(steady(&g, "kvm-clock", 0).verdict, JUDGE_SKIP);
	g.count = 0;
	assert_int_equal(steady(&g, "kvm-clock", 0).verdict, JUDGE_SKIP);
	g = make_guest(50, 0, 0); /* 4.9 s: no frequency can be told */
	assert_int_equal(steady(&g, "tsc", 0).verdict, JUDGE_SKIP);
	assert_int_equal(steady(&g, "kvm-clock", 0).verdict, JUDGE_PASS);
	assert_false(steady(&g, "kvm-clock", 0).known[JUDGE_FREQUENCY_ERROR]);
}

static void steps_back_are_those_of_the_scenario(void **state)
{
	struct guest g = make_guest(101, 0, 0);

	(void)state;
	for (size_t i = 0; i < g.count; i++)
		g.points[i].backward_steps = i < 50 ? 3 : 5;
	assert_int_equal(steady(&g, "kvm-clock", 0).value[JUDGE_BACKWARD_STEPS], 2);
}

/* A guest a second wrong over a day: the products stay within 128 bits. */
static void a_day_can_be_fitted(void **state)
{
	struct guest g = make_guest(MAX_POINTS, 0, 0);
	struct judge_row row;

	(void)state;
	for (size_t i = 0; i < g.count; i++) {
		int64_t elapsed = (int64_t)i * 72000000000;

		g.points[i].host_ns = elapsed;
		g.points[i].monotonic_error_ns = elapsed / 100000; /* 10 ppm */
		g.points[i].realtime_error_ns = elapsed / 100000;
	}
	row = steady(&g, "tsc", 0);
	assert_int_equal(row.value[JUDGE_FREQUENCY_ERROR], 10000);
	assert_in_range(llabs(row.value[JUDGE_REALTIME_RESIDUAL]), 0, 1);
}

static void an_unknown_clock_is_not_judged(void **state)
{
	struct judge_clock clock;

	(void)state;
	assert_false(judge_find_clock("sundial", tsc_hz, 4000000, &clock));
	assert_true(judge_find_clock("tsc-early", 0, 0, &clock));
}

static void a_clock_of_two_names_is_one(void **state)
{
	(void)state;
	assert_true(judge_same_clock("tsc-early", "tsc"));
	assert_true(judge_same_clock("tsc", "tsc-early"));
	assert_true(judge_same_clock("refined-jiffies", "jiffies"));
	assert_true(judge_same_clock("hpet", "hpet"));
	assert_false(judge_same_clock("tsc-early", "refined-jiffies"));
	assert_false(judge_same_clock("tsc", "kvm-clock"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_value_is_failed_only_when_that_is_certain),
		cmocka_unit_test(boot_judges_the_first_error),
		cmocka_unit_test(a_kvm_clock_that_stays_passes_wherever_it_stands),
		cmocka_unit_test(a_kvm_clock_that_drifts_fails_by_its_change),
		cmocka_unit_test(a_step_of_a_millisecond_is_found_to_the_nanosecond),
		cmocka_unit_test(the_rate_of_tsc_has_its_own_limit),
		cmocka_unit_test(a_clock_that_leaves_its_line_fails),
		cmocka_unit_test(disturbed_readings_do_not_count),
		cmocka_unit_test(a_read_that_costs_an_exit_is_judged_by_its_bracket),
		cmocka_unit_test(a_wide_reading_does_not_hide_a_tight_one_that_is_off),
		cmocka_unit_test(either_clock_can_leave_the_line),
		cmocka_unit_test(a_line_that_readings_within_their_bounds_turn_is_no_fault),
		cmocka_unit_test(a_disturbed_end_does_not_shorten_the_time),
		cmocka_unit_test(jiffies_of_unknown_length_are_not_judged),
		cmocka_unit_test(jiffies_have_two_ticks_and_a_hundred_ppm),
		cmocka_unit_test(too_few_readings_are_no_verdict),
		cmocka_unit_test(steps_back_are_those_of_the_scenario),
		cmocka_unit_test(a_day_can_be_fitted),
		cmocka_unit_test(an_unknown_clock_is_not_judged),
		cmocka_unit_test(a_clock_of_two_names_is_one),
		cmocka_unit_test(a_tick_owed_at_the_end_is_a_fault),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
