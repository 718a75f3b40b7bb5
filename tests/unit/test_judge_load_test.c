/* SPDX-License-Identifier: Apache-2.0 */
/* test_judge_load_test.c - what a load did to made-up guests whose errors and steal are known. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "cmd/test_judge.h"

#define MS INT64_C(1000000)
#define TICK UINT64_C(10000000)

enum { BEFORE = 131, AFTER = 30, PERIOD_NS = 100000000 };

static const uint64_t us = 1000, tsc_hz = 2500000000;

/* Read each 100 ms for 13 s, then again for 3 s from 12 s later on; `ppb` fast, and later by
 * `realtime_ns` and `monotonic_ns` for what happened between. */
struct guest {
	struct judge_point before[BEFORE], after[AFTER];
};

static struct judge_point point(int64_t elapsed_ns, int64_t ppb)
{
	const int64_t gained_ns = elapsed_ns / 1000 * ppb / 1000000;

	return (struct judge_point){.host_ns = 5000000000000 + elapsed_ns,
				    .realtime_error_ns = -482 * MS + gained_ns,
				    .realtime_bound_ns = 80,
				    .monotonic_error_ns = -4999000 * MS + gained_ns,
				    .monotonic_bound_ns = 80};
}

static struct guest make_guest(int64_t ppb, int64_t realtime_ns, int64_t monotonic_ns)
{
	struct guest g;

	for (int64_t i = 0; i < BEFORE; i++)
		g.before[i] = point(i * PERIOD_NS, ppb);
	for (int64_t i = 0; i < AFTER; i++) {
		g.after[i] = point(25000 * MS + i * PERIOD_NS, ppb);
		g.after[i].realtime_error_ns += realtime_ns;
		g.after[i].monotonic_error_ns += monotonic_ns;
	}
	return g;
}

static struct judge_row event(const struct guest *g, const char *clocksource, uint64_t limit_ns)
{
	struct judge_clock clock;
	struct judge_row row;

	assert_true(judge_find_clock(clocksource, tsc_hz, 4000000, &clock));
	judge_event(g->before, BEFORE, g->after, AFTER, &clock, limit_ns, us, &row);
	return row;
}

static void a_clock_that_goes_on_as_before_passes(void **state)
{
	static const int64_t ppbs[] = {0, 300, -48000};

	(void)state;
	for (size_t i = 0; i < sizeof(ppbs) / sizeof(ppbs[0]); i++) {
		struct guest g = make_guest(ppbs[i], 0, 0);
		struct judge_row row = event(&g, "tsc", 0);

		assert_int_equal(row.verdict, JUDGE_PASS);
		assert_in_range(row.value[JUDGE_REALTIME_RESIDUAL] + 2, 0, 4);
		assert_in_range(row.value[JUDGE_MONOTONIC_RESIDUAL] + 2, 0, 4);
		assert_in_range(row.value[JUDGE_FREQUENCY_ERROR] - ppbs[i] + 1, 0, 2);
		assert_int_equal(row.value[JUDGE_LIMIT], 1000);
		assert_int_equal(row.value[JUDGE_REALTIME_EXPECTED], 0);
		assert_true(row.known[JUDGE_MONOTONIC_EXPECTED]);
		/* The two ends are 160 ns, and the line is unsure by 30 ns or less a second. */
		assert_in_range(row.value[JUDGE_BRACKET], 161, 600);
	}
}

static void a_step_of_either_clock_fails(void **state)
{
	struct guest realtime = make_guest(300, -1700, 0), monotonic = make_guest(0, 0, 1800);
	struct judge_row row = event(&realtime, "kvm-clock", 0);

	(void)state;
	assert_int_equal(row.verdict, JUDGE_FAIL);
	assert_int_equal(row.judged, JUDGE_REALTIME_RESIDUAL);
	assert_in_range(-row.value[JUDGE_REALTIME_RESIDUAL], 1698, 1702);
	row = event(&monotonic, "kvm-clock", 0);
	assert_int_equal(row.verdict, JUDGE_FAIL);
	assert_int_equal(row.judged, JUDGE_MONOTONIC_RESIDUAL);
	row = event(&monotonic, "kvm-clock", 2 * us);
	assert_int_equal(row.verdict, JUDGE_PASS);
}

static void a_step_back_fails_whatever_the_rest(void **state)
{
	struct guest g = make_guest(0, 0, 0);
	struct judge_row row;

	(void)state;
	for (int i = 0; i < AFTER; i++)
		g.after[i].backward_steps = 1;
	row = event(&g, "kvm-clock", 0);
	assert_int_equal(row.verdict, JUDGE_FAIL);
	assert_non_null(strstr(row.reason, "backward_steps is 1"));
	for (int i = 0; i < BEFORE; i++)
		g.before[i].backward_steps = 1; /* it was before */
	assert_int_equal(event(&g, "kvm-clock", 0).verdict, JUDGE_PASS);
}

static void a_read_that_costs_an_exit_has_its_bracket_in_the_limit(void **state)
{
	struct guest g = make_guest(0, 90000, 90000);
	struct judge_row row;

	(void)state;
	for (int i = 0; i < BEFORE; i++)
		g.before[i].realtime_bound_ns = g.before[i].monotonic_bound_ns = 30000;
	for (int i = 0; i < AFTER; i++)
		g.after[i].realtime_bound_ns = g.after[i].monotonic_bound_ns = 30000;
	row = event(&g, "acpi_pm", 0);
	assert_int_equal(row.verdict, JUDGE_PASS);
	assert_int_equal(row.value[JUDGE_LIMIT], 280 + 2 * 60000);
}

/* The host slept for 5 s, and went on with its REALTIME. */
static void a_suspend_counts_for_the_host_or_for_both(void **state)
{
	const struct judge_promise on = {.slept_ns = 5000 * MS},
				   still = {.slept_ns = 5000 * MS, .frozen_ns = 5000 * MS};
	struct guest went_on = make_guest(0, 0, 5000 * MS), stood = make_guest(0, -5000 * MS, 0);
	struct judge_clock clock;
	struct judge_row row;

	(void)state;
	assert_true(judge_find_clock("kvm-clock", tsc_hz, 4 * MS, &clock));
	for (int i = 0; i < 2; i++) {
		const struct guest *g = i ? &stood : &went_on;

		judge_promised(g->before, BEFORE, g->after, AFTER, &clock, i ? &still : &on, 0, us,
			       &row);
		assert_int_equal(row.verdict, JUDGE_PASS);
		assert_int_equal(row.value[JUDGE_REALTIME_EXPECTED], i ? -5000 * MS : 0);
		assert_int_equal(row.value[JUDGE_MONOTONIC_EXPECTED], i ? 0 : 5000 * MS);
		judge_promised(g->before, BEFORE, g->after, AFTER, &clock, i ? &on : &still, 0, us,
			       &row);
		assert_int_equal(row.verdict, JUDGE_FAIL);
	}
}

static struct judge_row stop(const struct guest *g, const char *clocksource, int64_t frozen_ns)
{
	const struct judge_promise promise = {.frozen_ns = frozen_ns};
	struct judge_clock clock;
	struct judge_row row;

	assert_true(judge_find_clock(clocksource, tsc_hz, 4000000, &clock));
	judge_promised(g->before, BEFORE, g->after, AFTER, &clock, &promise, 0, us, &row);
	return row;
}

/* Of the 12 s in between the guest's TSC stood for 8 s, during which it gained nothing either. */
static void a_clock_that_stood_as_long_as_the_tsc_passes(void **state)
{
	static const int64_t ppbs[] = {0, 300, -48000};
	const int64_t frozen_ns = 8000 * MS;

	(void)state;
	for (size_t i = 0; i < sizeof(ppbs) / sizeof(ppbs[0]); i++) {
		const int64_t change_ns = -frozen_ns - 8 * ppbs[i];
		struct guest g = make_guest(ppbs[i], change_ns, change_ns);
		struct judge_row row = stop(&g, "tsc", frozen_ns);

		assert_int_equal(row.verdict, JUDGE_PASS);
		assert_in_range(row.value[JUDGE_REALTIME_RESIDUAL] + 2, 0, 4);
		assert_in_range(row.value[JUDGE_MONOTONIC_RESIDUAL] + 2, 0, 4);
		assert_int_equal(row.value[JUDGE_REALTIME_EXPECTED], -frozen_ns);
		assert_int_equal(row.value[JUDGE_MONOTONIC_EXPECTED], -frozen_ns);
		assert_in_range(row.value[JUDGE_REALTIME_CHANGE] + frozen_ns + 500000, 0, 1000000);
	}
}

static void a_clock_that_stood_for_another_time_fails(void **state)
{
	const int64_t frozen_ns = 8000 * MS;
	struct guest went_on = make_guest(0, 0, 0);
	struct guest by_far = make_guest(0, -frozen_ns, -frozen_ns - 1700);
	struct judge_row row = stop(&went_on, "kvm-clock", frozen_ns);

	(void)state;
	assert_int_equal(row.verdict, JUDGE_FAIL);
	assert_in_range(row.value[JUDGE_REALTIME_RESIDUAL] - frozen_ns + 2, 0, 4);
	row = stop(&by_far, "kvm-clock", frozen_ns);
	assert_int_equal(row.verdict, JUDGE_FAIL);
	assert_int_equal(row.judged, JUDGE_MONOTONIC_RESIDUAL);
	assert_in_range(-row.value[JUDGE_MONOTONIC_RESIDUAL], 1698, 1702);
	/* Frozen, it was to go on. */
	assert_int_equal(stop(&by_far, "kvm-clock", 0).verdict, JUDGE_FAIL);
}

static void realtime_is_only_judged_where_something_is_promised(void **state)
{
	const struct judge_promise promise = {.monotonic_only = true};
	struct guest stepped = make_guest(0, 3600000 * MS, 0);
	struct guest both = make_guest(0, 3600000 * MS, 1700);
	struct judge_clock clock;
	struct judge_row row;

	(void)state;
	assert_true(judge_find_clock("kvm-clock", tsc_hz, 4000000, &clock));
	judge_promised(stepped.before, BEFORE, stepped.after, AFTER, &clock, &promise, 0, us, &row);
	assert_int_equal(row.verdict, JUDGE_PASS);
	assert_int_equal(row.judged, JUDGE_MONOTONIC_RESIDUAL);
	assert_int_equal(row.value[JUDGE_REALTIME_CHANGE], 3600000 * MS);
	assert_false(row.known[JUDGE_REALTIME_EXPECTED]);
	judge_promised(both.before, BEFORE, both.after, AFTER, &clock, &promise, 0, us, &row);
	assert_int_equal(row.verdict, JUDGE_FAIL);
	assert_int_equal(row.judged, JUDGE_MONOTONIC_RESIDUAL);
}

static void too_little_is_skipped(void **state)
{
	struct guest g = make_guest(0, 0, 0);
	struct judge_clock clock;
	struct judge_row row;

	(void)state;
	assert_true(judge_find_clock("tsc", tsc_hz, 4000000, &clock));
	judge_event(g.before, 90, g.after, AFTER, &clock, 0, us, &row);
	assert_int_equal(row.verdict, JUDGE_SKIP);
	judge_event(g.before, BEFORE, g.after, 0, &clock, 0, us, &row);
	assert_int_equal(row.verdict, JUDGE_SKIP);
	judge_event(g.before, 0, g.after, AFTER, &clock, 0, us, &row);
	assert_int_equal(row.verdict, JUDGE_SKIP);
}

/* Two CPUs; what the first showed and waited. */
static struct judge_row steal(int64_t steal_ns, int64_t delay_ns, int64_t unsure_ns)
{
	const struct judge_steal_end before[] = {{true, 50 * MS, 47 * MS, 48 * MS},
						 {true, 0, 3 * MS, 3 * MS}};
	const struct judge_steal_end after[] = {
		{true, (uint64_t)(50 * MS + steal_ns), (uint64_t)(47 * MS + delay_ns),
		 (uint64_t)(48 * MS + delay_ns + unsure_ns)},
		{true, (uint64_t)(7000 * MS), (uint64_t)(7003 * MS), (uint64_t)(7003 * MS)}};
	struct judge_row row;

	judge_steal(before, after, 2, TICK, &row);
	return row;
}

static void steal_is_what_the_thread_waited_give_or_take_a_tick(void **state)
{
	struct judge_row row = steal(8000 * MS, 8006 * MS, 0);

	(void)state;
	assert_int_equal(row.verdict, JUDGE_PASS);
	assert_int_equal(row.value[JUDGE_STEAL], 8000 * MS);
	assert_int_equal(row.value[JUDGE_RUN_DELAY], 8006 * MS);
	assert_int_equal(row.value[JUDGE_STEAL_RESIDUAL], -6 * MS);
	assert_int_equal(row.value[JUDGE_BRACKET], 1 * MS);
	assert_int_equal(row.value[JUDGE_LIMIT], TICK);
	assert_int_equal(steal(8000 * MS, 8011 * MS, 0).verdict, JUDGE_PASS);
	assert_int_equal(steal(8000 * MS, 8012 * MS, 0).verdict, JUDGE_FAIL);
	assert_int_equal(steal(8020 * MS, 8006 * MS, 0).verdict, JUDGE_FAIL);
}

static void a_guest_that_sees_none_fails(void **state)
{
	struct judge_row row = steal(0, 8006 * MS, 0);

	(void)state;
	assert_int_equal(row.verdict, JUDGE_FAIL);
	assert_non_null(strstr(row.reason, "steal_residual_ns is -8"));
}

static void an_unsure_count_is_skipped(void **state)
{
	(void)state;
	assert_int_equal(steal(8000 * MS, 7990 * MS, 30 * MS).verdict, JUDGE_SKIP);
}

static void a_cpu_that_told_nothing_is_named(void **state)
{
	const struct judge_steal_end one[] = {{true, 0, 0, 0}, {false, 0, 0, 0}};
	struct judge_row row;

	(void)state;
	judge_steal(one, one, 2, TICK, &row);
	assert_int_equal(row.verdict, JUDGE_SKIP);
	assert_non_null(strstr(row.reason, "CPU 1"));
	judge_steal(one, one, 0, TICK, &row);
	assert_int_equal(row.verdict, JUDGE_SKIP);
	assert_int_not_equal(row.reason[0], '\0');
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_clock_that_goes_on_as_before_passes),
		cmocka_unit_test(a_step_of_either_clock_fails),
		cmocka_unit_test(a_step_back_fails_whatever_the_rest),
		cmocka_unit_test(a_read_that_costs_an_exit_has_its_bracket_in_the_limit),
		cmocka_unit_test(a_clock_that_stood_as_long_as_the_tsc_passes),
		cmocka_unit_test(a_clock_that_stood_for_another_time_fails),
		cmocka_unit_test(realtime_is_only_judged_where_something_is_promised),
		cmocka_unit_test(too_little_is_skipped),
		cmocka_unit_test(steal_is_what_the_thread_waited_give_or_take_a_tick),
		cmocka_unit_test(a_suspend_counts_for_the_host_or_for_both),
		cmocka_unit_test(a_guest_that_sees_none_fails),
		cmocka_unit_test(an_unsure_count_is_skipped),
		cmocka_unit_test(a_cpu_that_told_nothing_is_named),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
