/* SPDX-License-Identifier: Apache-2.0 */
/* test_costs_test.c - from the lines of an observer that measures costs to rows of the report. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <vmtime/read.h>

#include "cmd/test_costs.h"
#include "cmd/test_costs_read.h"

static struct costs_stream stream;

static void start(const char *clocksource)
{
	stream = (struct costs_stream){.wanted = clocksource};
}

static void send(const char *line)
{
	assert_int_equal(costs_stream_take(&stream, line, strlen(line)), 0);
}

static void say_hello(const char *clocksource)
{
	struct sample_hello hello = {.kernel = "6.1.0", .available = "tsc", .cpus = 1};
	char line[SAMPLE_LINE_MAX];

	snprintf(hello.current, sizeof(hello.current), "%s", clocksource);
	assert_true(sample_format_hello(line, sizeof(line), &hello) > 0);
	send(line);
}

static void say_cost(uint32_t series, uint32_t index, uint32_t count)
{
	const struct sample_cost cost = {.series = series,
					 .index = index,
					 .count = count,
					 .path = SAMPLE_PATHS[index % 4],
					 .checks = 200,
					 .cost_ps = 1000 * (series + 1) + index};
	char line[SAMPLE_LINE_MAX];

	assert_true(sample_format_cost(line, sizeof(line), &cost) > 0);
	send(line);
}

static void say_series(uint32_t series, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		say_cost(series, i, count);
}

static void a_series_between_two_hellos_counts(void **state)
{
	(void)state;
	start("tsc");
	say_hello("tsc");
	say_series(0, 4);
	assert_false(stream.whole); /* what the clock source was meanwhile is not known */
	say_hello("tsc");
	assert_true(stream.whole);
	assert_int_equal(stream.count, 4);
	assert_int_equal(stream.costs[3].cost_ps, 1003);
	say_series(1, 6); /* comes too late */
	say_hello("tsc");
	assert_int_equal(stream.count, 4);
	assert_int_equal(stream.costs[3].cost_ps, 1003);
}

static void a_series_of_another_clock_source_does_not(void **state)
{
	(void)state;
	start("hpet");
	say_hello("tsc-early");
	say_series(0, 4);
	say_hello("hpet"); /* changed meanwhile */
	assert_false(stream.whole);
	say_series(1, 4);
	say_hello("tsc"); /* and again */
	assert_false(stream.whole);
	say_series(2, 4);
	say_hello("hpet");
	assert_false(stream.whole);
	say_series(3, 4);
	say_hello("hpet");
	assert_true(stream.whole);
	assert_int_equal(stream.costs[0].series, 3);
}

static void a_series_with_a_line_lost_does_not(void **state)
{
	(void)state;
	start("tsc");
	say_hello("tsc");
	say_cost(0, 0, 4);
	say_cost(0, 2, 4); /* 1 was damaged */
	say_cost(0, 3, 4);
	say_hello("tsc");
	assert_false(stream.whole);
	for (uint32_t i = 0; i < 4; i++)
		say_cost(0, i == 2 ? 1 : i, 4); /* one came twice in its place */
	say_hello("tsc");
	assert_false(stream.whole);
	say_cost(1, 0, 4);
	say_cost(1, 1, 4); /* the last ones are missing */
	say_hello("tsc");
	assert_false(stream.whole);
	say_cost(2, 0, 4); /* a hello was lost */
	say_cost(2, 1, 4);
	say_cost(3, 2, 4);
	say_cost(3, 3, 4);
	say_hello("tsc");
	assert_false(stream.whole);
	say_series(4, COSTS_MAX + 1); /* more than there can be */
	say_hello("tsc");
	assert_false(stream.whole);
	say_hello("tsc"); /* nothing between them */
	assert_false(stream.whole);
	send("[    1.0] the console speaks\n");
	say_series(5, 4);
	say_hello("tsc");
	assert_true(stream.whole);
}

static void a_value_outside_of_its_bracket_fails(void **state)
{
	struct sample_cost cost = {.path = 'p', .ordered = true, .checks = 200, .outside_ns = 2};
	struct test_report report = {0};
	json_t *costs, *first, *last;

	(void)state;
	assert_int_equal(test_report_add_cost(&report, TEST_VMTIME, "kvm-clock", true, true, &cost),
			 0);
	cost.outside_ns = 3;
	assert_int_equal(test_report_add_cost(&report, TEST_VMTIME, "kvm-clock", true, true, &cost),
			 0);
	cost = (struct sample_cost){.path = 'v', .falls = SAMPLE_FALLS}; /* of no check */
	assert_int_equal(test_report_add_cost(&report, TEST_VMTIME, "hpet", false, true, &cost), 0);
	assert_int_equal(test_costs_count(&report, TEST_VMTIME, JUDGE_PASS), 1);
	assert_int_equal(test_costs_count(&report, TEST_VMTIME, JUDGE_FAIL), 1);
	assert_int_equal(test_costs_count(&report, TEST_VMTIME, JUDGE_SKIP), 1);
	assert_int_equal(test_costs_count(&report, TEST_QEMU, JUDGE_PASS), 0);
	costs = test_costs_json(&report);
	assert_int_equal(json_array_size(costs), 3);
	first = json_array_get(costs, 0);
	last = json_array_get(costs, 2);
	assert_true(json_is_true(json_object_get(first, "stable")));
	assert_true(json_is_true(json_object_get(first, "ordered")));
	assert_null(json_object_get(first, "falls_back"));
	assert_true(json_is_true(json_object_get(last, "falls_back")));
	assert_null(json_object_get(last, "stable"));
	report.costs[2].cost.falls = SAMPLE_FALLS_UNKNOWN;
	json_decref(costs);
	costs = test_costs_json(&report);
	last = json_array_get(costs, 2);
	assert_null(json_object_get(last, "falls_back"));
	assert_null(json_object_get(last, "outside_ns"));
	json_decref(costs);
	free(report.costs);
}

static int check_mark(enum sample_falls falls, uint32_t reader, bool unstable, bool relies)
{
	const struct costs_stream s = {
		.costs = {{.path = 's', .reader = reader}, {.path = 'v', .falls = falls}},
		.count = 2};
	struct why why = {0};
	const int error = costs_check_mark(&s, unstable, relies, &why);

	assert_true(!error == !why.text[0]);
	return error;
}

static void a_boot_has_the_mark_that_it_is_about(void **state)
{
	const enum sample_falls no = SAMPLE_FALLS_NOT, yes = SAMPLE_FALLS;
	const enum sample_falls unknown = SAMPLE_FALLS_UNKNOWN;

	(void)state;
	assert_int_equal(check_mark(no, VMT_READ_PAGE, false, true), 0);
	assert_int_equal(check_mark(yes, VMT_READ_UNSTABLE, true, true), 0);
	assert_int_equal(check_mark(no, VMT_READ_PAGE, true, true), -ENODEV);
	assert_int_equal(check_mark(no, VMT_READ_UNSTABLE, false, true), -EPROTO);
	/* Without a mark where there is to be one. */
	assert_int_equal(check_mark(yes, VMT_READ_UNSTABLE, false, true), -EPROTO);
	assert_int_equal(check_mark(yes, VMT_READ_UNSTABLE, false, false), 0);
	assert_int_equal(check_mark(unknown, VMT_READ_PAGE, false, true), 0);
	assert_int_equal(check_mark(unknown, VMT_READ_PAGE, true, true), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_series_between_two_hellos_counts),
		cmocka_unit_test(a_series_of_another_clock_source_does_not),
		cmocka_unit_test(a_series_with_a_line_lost_does_not),
		cmocka_unit_test(a_boot_has_the_mark_that_it_is_about),
		cmocka_unit_test(a_value_outside_of_its_bracket_fails),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
