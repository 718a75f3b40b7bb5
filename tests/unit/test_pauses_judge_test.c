/* SPDX-License-Identifier: Apache-2.0 */
/* test_pauses_judge_test.c - many stops of a guest: what is told of them all. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "cmd/test_pauses.h"

enum { HZ = 2000000000, PAUSES = 3, BOUND_NS = 50 };

static const int64_t second_ns = 1000000000;
static const uint64_t second = 2000000000; /* counts */
static const int64_t pause_ns = 100000000; /* each a little later than a second after the last */
static const uint64_t moment = 20000000;   /* around each nobody knows */
static const int64_t first_offset = -5000000000;

struct guest {
	struct pauses pauses;
	struct test_stream stream;
	struct test_reading readings[PAUSES + 1];
};

/* A reading in the middle of each second that the guest ran; its clocks stand still with its TSC
 * where that is moved back, and are off by `off_ns` from then on. */
static void make(struct guest *g, bool frozen, const int64_t off_ns[PAUSES + 1])
{
	memset(g, 0, sizeof(*g));
	for (unsigned i = 0; i <= PAUSES; i++) {
		const uint64_t count = 10 * second + i * second;
		struct test_span span = {.from = count + moment,
					 .to = i < PAUSES ? count + second - moment : UINT64_MAX,
					 .map = {.ratio = 1, .vcpus = 1, .offset = first_offset}};
		struct test_reading *r = &g->readings[i];

		if (frozen)
			span.map.offset -= (int64_t)i * 2 * pause_ns;
		assert_int_equal(pauses_add(&g->pauses, &span), 0);
		for (int clock = 0; clock < SAMPLE_CLOCKS; clock++)
			r->sample.clock[clock].tsc = count + second / 2;
		r->sample.cpu = i % 2;
		r->sample.checks = 100 * (i + 1);
		r->point = (struct judge_point){
			.host_ns = i * (second_ns + pause_ns),
			.realtime_error_ns = (frozen ? -(int64_t)i * pause_ns : 0) + off_ns[i],
			.monotonic_error_ns = frozen ? -(int64_t)i * pause_ns : 0,
			.realtime_bound_ns = BOUND_NS,
			.monotonic_bound_ns = BOUND_NS,
		};
	}
	g->pauses.done = PAUSES;
	g->stream.hello.cpus = 2;
	g->stream.readings = g->readings;
	g->stream.count = g->stream.evaluated = PAUSES + 1;
}

static struct judge_row judge(struct guest *g, bool frozen)
{
	static const struct judge_clock clock = {0};
	struct judge_row row = {0};

	pauses_judge(&g->pauses, &g->stream, 0,
		     &(struct pauses_promise){.clock = &clock, .hz = HZ, .frozen = frozen}, &row);
	return row;
}

static void end(struct guest *g)
{
	g->stream.readings = NULL;
	free(g->pauses.spans);
}

static void what_stands_still_with_the_tsc_is_not_off(void **state)
{
	static const int64_t right[PAUSES + 1] = {0};
	struct judge_row row;
	struct guest g;

	(void)state;
	make(&g, true, right);
	row = judge(&g, true);
	assert_int_equal(row.value[JUDGE_PAUSES], PAUSES);
	assert_true(row.known[JUDGE_WORST_PAUSE]);
	assert_int_equal(row.value[JUDGE_WORST_PAUSE], 0);
	assert_false(row.known[JUDGE_TICKS_DUE]);
	end(&g);
}

static void time_that_was_to_go_on_is_off_by_the_pause(void **state)
{
	static const int64_t right[PAUSES + 1] = {0};
	struct guest g;

	(void)state;
	make(&g, true, right);
	assert_int_equal(judge(&g, false).value[JUDGE_WORST_PAUSE], pause_ns - 2 * BOUND_NS);
	end(&g);
}

static void two_errors_that_make_up_for_one_another_are_seen(void **state)
{
	static const int64_t off_ns[PAUSES + 1] = {0, 700, -100, 0};
	struct guest g;

	(void)state;
	make(&g, false, off_ns);
	assert_int_equal(judge(&g, false).value[JUDGE_WORST_PAUSE], 800 - 2 * BOUND_NS);
	end(&g);
}

/* 1 us where the clock has no limit of its own, which may be made of brackets; or another. */
static void one_that_is_off_too_much_fails_whatever_the_sum(void **state)
{
	static const int64_t just[PAUSES + 1] = {0, 1000 + 2 * BOUND_NS, 0, 0};
	static const int64_t more[PAUSES + 1] = {0, 1001 + 2 * BOUND_NS, 0, 0};
	const struct judge_clock hpet = {.limit_ns = 800, .brackets = 2};
	struct pauses_promise promise = {.clock = &hpet, .hz = HZ};
	struct judge_row row;
	struct guest g;

	(void)state;
	make(&g, false, just);
	assert_int_equal(judge(&g, false).verdict, JUDGE_PASS);
	end(&g);
	make(&g, false, more);
	row = judge(&g, false);
	assert_int_equal(row.value[JUDGE_WORST_PAUSE], 1001);
	assert_int_equal(row.verdict, JUDGE_FAIL);
	assert_non_null(strstr(row.reason, "between two readings a clock was off by "));
	row = (struct judge_row){0};
	pauses_judge(&g.pauses, &g.stream, 0, &promise, &row);
	assert_int_equal(row.value[JUDGE_WORST_PAUSE], 1001);
	assert_int_equal(row.verdict, JUDGE_FAIL); /* 801 with three brackets off */
	g.readings[1].point.realtime_error_ns--;
	row = (struct judge_row){0};
	pauses_judge(&g.pauses, &g.stream, 0, &promise, &row);
	assert_int_equal(row.verdict, JUDGE_PASS);
	promise.limit_ns = 999;
	pauses_judge(&g.pauses, &g.stream, 0, &promise, &row);
	assert_int_equal(row.verdict, JUDGE_FAIL);
	end(&g);
}

static void a_clock_that_is_fast_anyway_is_not_off(void **state)
{
	static const int64_t fast[PAUSES + 1] = {0, 1100, 2200, 3300}; /* 1 ppm */
	const struct judge_clock clock = {.on_a_line = true};
	const struct pauses_promise promise = {.clock = &clock, .hz = HZ};
	struct judge_row row = {.value = {[JUDGE_FREQUENCY_ERROR] = 1000}};
	struct guest g;

	(void)state;
	make(&g, false, fast);
	for (unsigned i = 0; i <= PAUSES; i++)
		g.readings[i].point.monotonic_error_ns = fast[i];
	pauses_judge(&g.pauses, &g.stream, 0, &promise, &row);
	assert_int_equal(row.value[JUDGE_WORST_PAUSE], 0);
	end(&g);
}

static void ticks_that_are_missing_fail_the_row(void **state)
{
	static const int64_t right[PAUSES + 1] = {0};
	struct judge_row row;
	struct guest g;

	(void)state;
	make(&g, false, right);
	g.pauses.has_ledgers = true;
	g.pauses.ledgers[TICKS_PIT] = (struct ticks_ledger){.known = true,
							    .due = 100,
							    .delivered = 60,
							    .merged = 10,
							    .discarded = 20,
							    .owed = 10};
	g.pauses.ledgers[TICKS_RTC] = (struct ticks_ledger){.known = true, .due = 5, .owed = 5};
	row = judge(&g, false);
	assert_int_equal(row.value[JUDGE_TICKS_DUE], 105);
	assert_int_equal(row.value[JUDGE_TICKS_MISSING], 0);
	assert_int_equal(row.verdict, JUDGE_PASS);
	g.pauses.ledgers[TICKS_PIT].delivered = 61; /* one too many, ... */
	g.pauses.ledgers[TICKS_RTC].owed = 4;       /* ... and one too few */
	row = judge(&g, false);
	assert_int_equal(row.value[JUDGE_TICKS_MISSING], 2);
	assert_int_equal(row.verdict, JUDGE_FAIL);
	assert_string_equal(row.reason, "of 105 ticks that fell due 2 are missing in the ledger");
	end(&g);
}

static void every_cpu_has_to_look(void **state)
{
	static const int64_t right[PAUSES + 1] = {0};
	struct judge_row row;
	struct guest g;

	(void)state;
	make(&g, false, right);
	row = judge(&g, false);
	assert_int_equal(row.verdict, JUDGE_PASS);
	assert_int_equal(row.value[JUDGE_CHECKS], 300); /* CPU 0, CPU 1 looks 400 times */
	for (unsigned i = 1; i <= PAUSES; i += 2)
		g.readings[i].sample.checks = 0;
	row = judge(&g, false);
	assert_int_equal(row.verdict, JUDGE_FAIL);
	assert_string_equal(row.reason, "CPU 1 of the guest did not look at its clocks");
	end(&g);
}

/* Readings go round the CPUs, and the first is from before a CPU was told to. */
static void a_cpu_of_which_nothing_is_known_does_not_fail(void **state)
{
	static const int64_t right[PAUSES + 1] = {0};
	struct judge_row row;
	struct guest g;

	(void)state;
	make(&g, false, right);
	g.stream.hello.cpus = 32;
	g.readings[3].sample.cpu = 31; /* its first */
	g.readings[3].sample.checks = 0;
	row = judge(&g, false);
	assert_int_equal(row.verdict, JUDGE_PASS);
	assert_int_equal(row.value[JUDGE_CHECKS], 200); /* CPU 1's only one */
	g.readings[1].sample.cpu = 31;
	g.readings[1].sample.checks = 0;
	row = judge(&g, false);
	assert_int_equal(row.verdict, JUDGE_FAIL);
	assert_string_equal(row.reason, "CPU 31 of the guest did not look at its clocks");
	g.stream.evaluated = 0;
	row = judge(&g, false);
	assert_false(row.known[JUDGE_CHECKS]);
	assert_int_equal(row.verdict, JUDGE_PASS);
	end(&g);
}

static void the_limit_grows_with_the_number(void **state)
{
	static const struct pauses one = {.done = 1}, hundred = {.done = 100},
				   more = {.done = 1000};
	struct pauses_move move = {0};
	const struct pauses moves = {.done = 100, .moves = &move};

	(void)state;
	assert_int_equal(pauses_limit_ns(&one), 1000);
	assert_int_equal(pauses_limit_ns(&hundred), 1000);
	assert_int_equal(pauses_limit_ns(&more), 10000);
	assert_int_equal(pauses_limit_ns(&moves), 10000);
}

static struct judge_row judge_moves(const struct pauses_move moves[PAUSES])
{
	static const int64_t right[PAUSES + 1] = {0, 300, 300, 300};
	struct judge_row row;
	struct guest g;

	make(&g, false, right);
	for (int i = 0; i < PAUSES; i++)
		assert_int_equal(pauses_add_move(&g.pauses, &moves[i]), 0);
	row = judge(&g, false);
	free(g.pauses.moves);
	end(&g);
	return row;
}

static void of_moves_the_middle_one_and_the_longest_are_shown(void **state)
{
	static const struct pauses_move moves[PAUSES] = {{90, 1000}, {20, 4000}, {30, 2000}};
	const struct judge_row row = judge_moves(moves);

	(void)state;
	assert_false(row.known[JUDGE_PAUSES] || row.known[JUDGE_WORST_PAUSE]);
	assert_int_equal(row.value[JUDGE_MIGRATIONS], PAUSES);
	assert_int_equal(row.value[JUDGE_WORST_MIGRATION], 300 - 2 * BOUND_NS);
	assert_int_equal(row.value[JUDGE_DOWNTIME], 30);
	assert_int_equal(row.value[JUDGE_DOWNTIME_MAX], 90);
	assert_int_equal(row.value[JUDGE_TOTAL], 2000);
	assert_int_equal(row.value[JUDGE_TOTAL_MAX], 4000);
	assert_true(row.known[JUDGE_DOWNTIME_MAX] && row.known[JUDGE_TOTAL_MAX]);
}

static void moves_of_which_one_did_not_tell_have_no_figure(void **state)
{
	static const struct pauses_move moves[PAUSES] = {{90, 1000}, {0, 4000}, {30, 2000}};
	const struct judge_row row = judge_moves(moves);

	(void)state;
	assert_false(row.known[JUDGE_DOWNTIME] || row.known[JUDGE_DOWNTIME_MAX]);
	assert_true(row.known[JUDGE_TOTAL]);
}

static void lengths_differ_and_come_again(void **state)
{
	struct pauses one = {.random = 1}, again = {.random = 1};
	uint64_t least = 200, most = 5;

	(void)state;
	for (int i = 0; i < 1000; i++) {
		uint64_t length = pauses_random(&one, 5, 200);

		assert_in_range(length, 5, 200);
		assert_int_equal(length, pauses_random(&again, 5, 200));
		least = length < least ? length : least;
		most = length > most ? length : most;
	}
	assert_in_range(least, 5, 10);
	assert_in_range(most, 195, 200);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_stands_still_with_the_tsc_is_not_off),
		cmocka_unit_test(time_that_was_to_go_on_is_off_by_the_pause),
		cmocka_unit_test(two_errors_that_make_up_for_one_another_are_seen),
		cmocka_unit_test(one_that_is_off_too_much_fails_whatever_the_sum),
		cmocka_unit_test(a_clock_that_is_fast_anyway_is_not_off),
		cmocka_unit_test(ticks_that_are_missing_fail_the_row),
		cmocka_unit_test(every_cpu_has_to_look),
		cmocka_unit_test(a_cpu_of_which_nothing_is_known_does_not_fail),
		cmocka_unit_test(the_limit_grows_with_the_number),
		cmocka_unit_test(of_moves_the_middle_one_and_the_longest_are_shown),
		cmocka_unit_test(moves_of_which_one_did_not_tell_have_no_figure),
		cmocka_unit_test(lengths_differ_and_come_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
