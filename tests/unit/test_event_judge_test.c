/* SPDX-License-Identifier: Apache-2.0 */
/* test_event_judge_test.c - for how long a guest's time stood, by what KVM shows of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "cmd/test_event_judge.h"

static const int64_t second = 1000000000;
static const uint64_t hz = 2000000000;

static void a_tsc_that_is_behind_has_stood(void **state)
{
	struct event_seen s = {.map = {{-700, 1, 0, 1}, {-700 - 2 * 5 * second, 1, 0, 1}}};

	(void)state;
	assert_true(event_stood_ns(&s, hz) == 5 * second);
	s.map[1].offset = -700;
	assert_int_equal(event_stood_ns(&s, hz), 0);
	s.map[1].offset = -500;
	assert_int_equal(event_stood_ns(&s, hz), -100);
	assert_int_equal(event_stood_ns(&s, 0), 0); /* of a frequency that is not known yet */
}

/* A guest at half of the host's frequency counts half as many in the same time. */
static void scaled_counts_are_longer(void **state)
{
	const struct event_seen s = {
		.map = {{0, 1ULL << 31, 32, 1}, {-5 * second, 1ULL << 31, 32, 1}}};

	(void)state;
	assert_true(event_stood_ns(&s, hz) == 5 * second);
}

/* QEMU: the TSC goes on, and KVM's clock is set back by 5 s; its page lies anywhere on its line. */
static void a_page_tells_of_a_clock_that_was_set_back(void **state)
{
	struct event_seen s = {.map = {{-1000, 1, 0, 1}, {-1000, 1, 0, 1}},
			       .has_pages = true,
			       .page = {{5000, 100, 0x80000000, 0}, {0, 0, 0x80000000, 0}},
			       .host_tsc = 40000000000};

	(void)state;
	s.page[1].tsc_timestamp = 5000 + 30000000000;
	s.page[1].system_time = 100 + 15 * (uint64_t)second - 5 * (uint64_t)second;
	assert_true(event_stood_ns(&s, hz) == 5 * second);
	s.page[1].system_time += 5 * (uint64_t)second;
	assert_int_equal(event_stood_ns(&s, hz), 0);
}

/* A new process gives the guest another TSC as well: that clock stood, and not the TSC. */
static void pages_are_read_by_the_tsc_of_their_machine(void **state)
{
	struct event_seen s = {.map = {{0, 1, 0, 1}, {-30000000000, 1, 0, 1}},
			       .has_pages = true,
			       .page = {{0, 0, 0x80000000, 0}, {0, 0, 0x80000000, 0}},
			       .host_tsc = 40000000000};

	(void)state;
	/* 20 s of the host; the new TSC shows 10000000000, its page 5 s more than 5 s. */
	s.page[1].system_time = 5 * (uint64_t)second;
	assert_true(event_stood_ns(&s, hz) == 10 * second);
}

static struct judge_row freeze(int64_t stood_ns)
{
	const struct event_seen s = {.begun_ns = 1000 * (uint64_t)second,
				     .began_ns = 1001 * (uint64_t)second,
				     .ended_ns = 1006 * (uint64_t)second,
				     .over_ns = 1007 * (uint64_t)second};
	struct judge_row row = {.verdict = JUDGE_PASS};

	event_judge_freeze(&s, stood_ns, &row);
	return row;
}

static void what_was_frozen_stood_as_long_as_the_event(void **state)
{
	(void)state;
	assert_int_equal(freeze(5 * second).verdict, JUDGE_PASS);
	assert_int_equal(freeze(7 * second).verdict, JUDGE_PASS);
	assert_int_equal(freeze(5 * second - second / 1000).verdict, JUDGE_PASS);
	assert_int_equal(freeze(5 * second - second / 100).verdict, JUDGE_FAIL);
	assert_int_equal(freeze(7 * second + second / 100).verdict, JUDGE_FAIL);
	assert_int_equal(freeze(0).verdict, JUDGE_FAIL);
	assert_int_equal(freeze(-6 * second).verdict, JUDGE_FAIL);
	assert_non_null(strstr(freeze(0).reason, "stood still for 0 ns"));
}

static void the_first_reason_stays(void **state)
{
	const struct event_seen s = {.over_ns = 5, .ended_ns = 5};
	struct judge_row row = {.verdict = JUDGE_FAIL, .reason = "another"};

	(void)state;
	event_judge_freeze(&s, second, &row);
	assert_string_equal(row.reason, "another");
}

/* Asked for at 1000 ms; in ms, 0: that event did not come. */
static void move(int64_t stop, int64_t completed, int64_t resume, uint64_t down, uint64_t total)
{
	const struct test_qmp_events from = {.stop_ns = stop * 1000000,
					     .completed_ns = completed * 1000000};
	const struct test_qmp_events to = {.resume_ns = resume * 1000000};
	uint64_t downtime_ns = 1, total_ns = 1;

	event_tell_move(1000000000, &from, &to, &downtime_ns, &total_ns);
	assert_int_equal(downtime_ns, down * 1000000);
	assert_int_equal(total_ns, total * 1000000);
}

/* QEMU's source is done before its target has loaded all, vmtime's after it runs. */
static void a_move_ends_when_both_sides_are_done(void **state)
{
	(void)state;
	move(1500, 1540, 1550, 50, 550);
	move(1500, 1560, 1550, 50, 560);
}

/* A CPU that waits for an answer cannot be saved just then. */
static void what_a_guest_stood_in_vain_counts(void **state)
{
	const struct test_qmp_events from = {.stop_ns = 1500, .stood_ns = 70, .completed_ns = 1560};
	const struct test_qmp_events to = {.resume_ns = 1550};
	uint64_t downtime_ns, total_ns;

	(void)state;
	event_tell_move(1000, &from, &to, &downtime_ns, &total_ns);
	assert_int_equal(downtime_ns, 120);
	assert_int_equal(total_ns, 560);
}

static enum judge_verdict moved(int64_t stood_ns)
{
	struct judge_row row = {.verdict = JUDGE_PASS};

	event_judge_moved(100 * 1000000, stood_ns, &row);
	return row.verdict;
}

static void a_moved_guest_stood_about_as_long_as_its_events_say(void **state)
{
	(void)state;
	assert_int_equal(moved(100 * 1000000), JUDGE_PASS);
	assert_int_equal(moved(51 * 1000000), JUDGE_PASS);
	assert_int_equal(moved(149 * 1000000), JUDGE_PASS);
	assert_int_equal(moved(49 * 1000000), JUDGE_FAIL);
	assert_int_equal(moved(151 * 1000000), JUDGE_FAIL);
	assert_int_equal(moved(0), JUDGE_FAIL);
	assert_int_equal(moved(second), JUDGE_FAIL);
}

static void a_move_of_which_an_event_is_missing_has_no_figure(void **state)
{
	(void)state;
	move(0, 1540, 1550, 0, 550);
	move(1500, 0, 1550, 50, 0);
	move(1500, 1540, 0, 0, 0);
	move(1500, 1540, 1400, 0, 540); /* the clock was stepped */
	move(500, 540, 550, 50, 0);
}

/* The kernel's wait, or none: the write succeeded all the same. */
static void a_suspend_that_was_none_is_told_from_a_short_one(void **state)
{
	struct why why = {{0}};

	(void)state;
	assert_int_equal(event_check_slept(4 * (uint64_t)second, 5 * second, &why), 0);
	assert_int_equal(event_check_slept(4 * (uint64_t)second, second, &why), 0);
	assert_int_equal(event_check_slept(4 * (uint64_t)second, second - 1, &why), -ENODEV);
	assert_int_equal(event_check_slept(4 * (uint64_t)second, -second, &why), -ENODEV);
	assert_int_equal(event_check_slept(0, 0, &why), -ENODEV);
	assert_non_null(strstr(why.text, "did not suspend"));
}

static int step(const char *change, int64_t step_ns, struct why *why)
{
	json_t *last = change ? json_loads(change, 0, NULL) : NULL;
	json_t *time = json_pack("{s:o*}", "last_change", last);
	int result = event_check_step(time, step_ns, 1000, why);

	json_decref(time);
	return result;
}

static void a_step_of_the_host_is_to_be_followed(void **state)
{
	static const char hour[] = "{\"kind\": \"step_utc\", \"bound_ns\": 500,"
				   "\"before\": {\"utc_offset_ns\": 1795000000000000000},"
				   "\"after\": {\"utc_offset_ns\": 1795003600000000000}}";
	struct why why = {{0}};

	(void)state;
	assert_int_equal(step(hour, 3600 * second, &why), 0);
	assert_int_equal(step(hour, 3600 * second + 1500, &why), 0);
	assert_int_equal(step(hour, 3600 * second - 1500, &why), 0);
	assert_int_equal(step(hour, 3600 * second + 1501, &why), -ESTALE);
	assert_int_equal(step(hour, -3600 * second, &why), -ESTALE);
	assert_non_null(strstr(why.text, "by 3600000000000"));
	assert_int_equal(step("{\"kind\": \"start\"}", 3600 * second, &why), -ESTALE);
	assert_non_null(strstr(why.text, "is start, not step_utc"));
	assert_int_equal(step(NULL, 3600 * second, &why), -EPROTO);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_tsc_that_is_behind_has_stood),
		cmocka_unit_test(scaled_counts_are_longer),
		cmocka_unit_test(a_page_tells_of_a_clock_that_was_set_back),
		cmocka_unit_test(pages_are_read_by_the_tsc_of_their_machine),
		cmocka_unit_test(what_was_frozen_stood_as_long_as_the_event),
		cmocka_unit_test(the_first_reason_stays),
		cmocka_unit_test(a_move_ends_when_both_sides_are_done),
		cmocka_unit_test(what_a_guest_stood_in_vain_counts),
		cmocka_unit_test(a_moved_guest_stood_about_as_long_as_its_events_say),
		cmocka_unit_test(a_move_of_which_an_event_is_missing_has_no_figure),
		cmocka_unit_test(a_suspend_that_was_none_is_told_from_a_short_one),
		cmocka_unit_test(a_step_of_the_host_is_to_be_followed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
