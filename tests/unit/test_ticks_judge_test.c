/* SPDX-License-Identifier: Apache-2.0 */
/* test_ticks_judge_test.c - ledgers that tell the truth about a timer, and those that do not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>
#include <vmtime/board.h>

#include "cmd/test_ticks_judge.h"

static const uint64_t tsc_hz = 2400000000;

/* 10 s of the RTC, which started at once and lost nothing. */
static struct ticks_plan plan;
static struct ticks_tally tally;
static struct ticks_ledger before, running, after;
static bool is_stopped; /* nothing came between RUN and the stop: running is after */
static uint64_t limit;
static struct ticks_row row;

static int start(void **state)
{
	(void)state;
	plan = (struct ticks_plan){
		.source = TICKS_RTC, .setting = 6, .clock_hz = 1024, .periods = 1};
	tally = (struct ticks_tally){.source = TICKS_RTC,
				     .start = 7 * tsc_hz,
				     .stop = 17 * tsc_hz,
				     .count = 10240,
				     .stored = 10208,
				     .p50 = 24000,
				     .p99 = 240001,
				     .most = 2400000};
	before = (struct ticks_ledger){.known = true,
				       .policy = "discard",
				       .due = 500,
				       .delivered = 300,
				       .merged = 50,
				       .discarded = 150};
	after = before;
	after.due += 10240;
	after.delivered += 10240;
	is_stopped = true;
	limit = TICKS_LIMIT;
	return 0;
}

static void judge(void)
{
	const struct ticks_input in = {.plan = &plan,
				       .tsc_hz = tsc_hz,
				       .tally = tally,
				       .before = before,
				       .running = is_stopped ? after : running,
				       .after = after,
				       .cpu_ns = 1024000001,
				       .cpu_count = 10240,
				       .limit = limit};

	ticks_judge(&in, &row);
}

static void a_ledger_that_agrees_passes(void **state)
{
	(void)state;
	judge();
	assert_int_equal(row.verdict, JUDGE_PASS);
	assert_string_equal(row.reason, "");
	assert_string_equal(row.policy, "discard");
	assert_true(row.has_ledger && row.has_late);
	assert_int_equal(row.rate_hz, 1024);
	assert_int_equal(row.due, 10240);
	assert_int_equal(row.guest_count, 10240);
	assert_int_equal(row.delivered, 10240);
	assert_int_equal(row.merged + row.discarded + row.owed, 0);
	assert_int_equal(row.late_p50_ns, 10000);
	assert_int_equal(row.late_p99_ns, 100001);
	assert_int_equal(row.late_max_ns, 1000000);
	assert_int_equal(row.bracket_ns, 0);
	assert_true(row.has_cpu);
	assert_int_equal(row.cpu_ns, 100000);
}

static void set_policy(const char *policy)
{
	snprintf(before.policy, sizeof(before.policy), "%s", policy);
	snprintf(after.policy, sizeof(after.policy), "%s", policy);
}

/* While it ran, merge had discarded none: those that it owed when it was stopped were. */
static void every_fate_counts(void **state)
{
	(void)state;
	set_policy("merge");
	is_stopped = false;
	running = before;
	running.due += 10200;
	running.delivered += 10150;
	running.merged += 30;
	running.owed = 20;
	after.delivered -= 60;
	after.merged += 30;
	after.discarded += 20;
	after.owed = 10;
	tally.count = 10180;
	judge();
	assert_int_equal(row.verdict, JUDGE_PASS);
	assert_int_equal(row.delivered, 10180);
	assert_int_equal(row.merged, 30);
	assert_int_equal(row.discarded, 20);
	assert_int_equal(row.owed, 10);
}

static void only_merge_merges(void **state)
{
	static const char *const policies[] = {"discard", "catchup", "delay"};

	(void)state;
	after.delivered--;
	after.merged++;
	for (unsigned i = 0; i < sizeof(policies) / sizeof(policies[0]); i++) {
		set_policy(policies[i]);
		judge();
		assert_int_equal(row.verdict, JUDGE_FAIL);
		assert_non_null(strstr(row.reason, "1 were merged"));
		assert_non_null(strstr(row.reason, policies[i]));
	}
	set_policy("merge");
	judge();
	assert_int_equal(row.verdict, JUDGE_PASS);
}

/* 100 discarded while it ran, 50 more at the stop. */
static void lose(const char *policy, uint64_t owed)
{
	start(NULL);
	set_policy(policy);
	is_stopped = false;
	after.delivered -= 150;
	after.discarded += 150;
	tally.count -= 150;
	running = after;
	running.discarded -= 50;
	running.due -= 50;
	running.owed = owed;
	judge();
}

static void only_discard_discards_while_the_source_goes_on(void **state)
{
	static const char *const others[] = {"merge", "catchup", "delay"};

	(void)state;
	lose("discard", 1);
	assert_int_equal(row.verdict, JUDGE_PASS);
	for (unsigned i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
		lose(others[i], VMT_TICKS_OWED - 1);
		assert_int_equal(row.verdict, JUDGE_FAIL);
		assert_non_null(strstr(row.reason, "100 were discarded while 9999 were owed"));
	}
}

static void who_owes_all_that_is_allowed_may_discard(void **state)
{
	(void)state;
	lose("catchup", VMT_TICKS_OWED);
	assert_int_equal(row.verdict, JUDGE_PASS);
	lose("delay", VMT_TICKS_OWED);
	assert_int_equal(row.verdict, JUDGE_PASS);
	lose("merge", VMT_TICKS_OWED);
	assert_int_equal(row.verdict, JUDGE_FAIL);
}

static void what_was_owed_before_is_due(void **state)
{
	(void)state;
	before.owed = 1;
	before.due++;
	after.due++;
	after.discarded++;
	judge();
	assert_int_equal(row.verdict, JUDGE_PASS);
	assert_int_equal(row.due, 10241);
}

static void a_tick_without_a_fate_is_found(void **state)
{
	(void)state;
	after.delivered--;
	judge();
	assert_int_equal(row.verdict, JUDGE_FAIL);
	assert_non_null(strstr(row.reason, "10240 were due"));
	assert_non_null(strstr(row.reason, "10239"));
}

static void one_that_did_not_arrive_is_forgiven_two_are_not(void **state)
{
	(void)state;
	tally.count = 10239;
	judge();
	assert_int_equal(row.verdict, JUDGE_PASS);
	tally.count = 10241;
	judge();
	assert_int_equal(row.verdict, JUDGE_PASS);
	tally.count = 10238;
	judge();
	assert_int_equal(row.verdict, JUDGE_FAIL);
	assert_non_null(strstr(row.reason, "10238 arrived"));
	tally.count = 10242;
	judge();
	assert_int_equal(row.verdict, JUDGE_FAIL);
}

static void a_timer_that_never_ticks_does_not_pass(void **state)
{
	(void)state;
	after = before;
	tally.count = tally.stored = 0;
	judge();
	assert_int_equal(row.verdict, JUDGE_FAIL);
	assert_string_equal(row.reason, "no interrupt arrived");
	assert_false(row.has_late);
}

static void a_limit_is_what_counts_may_differ_by(void **state)
{
	(void)state;
	limit = 5;
	tally.count = 10235;
	judge();
	assert_int_equal(row.verdict, JUDGE_PASS);
	tally.count = 10234;
	judge();
	assert_int_equal(row.verdict, JUDGE_FAIL);
}

/* The ledger and the handler agree, but on the wrong rate. */
static void a_ledger_that_forgets_to_count_what_is_due_is_found(void **state)
{
	(void)state;
	for (uint64_t due = 10237; due <= 10243; due++) {
		after.due = before.due + due;
		after.delivered = before.delivered + due;
		tally.count = due;
		judge();
		assert_int_equal(row.verdict, due < 10238 || due > 10242 ? JUDGE_FAIL : JUDGE_PASS);
	}
	assert_non_null(strstr(row.reason, "10240 +- 2"));
}

/* Of a start that took 10 ms nobody knows to ten ticks when it was. */
static void brackets_are_allowed_for(void **state)
{
	(void)state;
	tally.start_width = tsc_hz / 100;
	after.due -= 10;
	after.delivered -= 10;
	tally.count -= 10;
	judge();
	assert_int_equal(row.verdict, JUDGE_PASS);
	after.due -= 10;
	after.delivered -= 10;
	tally.count -= 10;
	judge();
	assert_int_equal(row.verdict, JUDGE_FAIL);
}

static void a_ledger_that_goes_back_is_no_ledger(void **state)
{
	uint64_t *const members[] = {&after.due, &after.delivered, &after.merged, &after.discarded};
	const uint64_t least[] = {500, 300, 48, 148};

	(void)state;
	for (int i = 0; i < 4; i++) {
		uint64_t kept = *members[i];

		*members[i] = least[i] - 1;
		judge();
		assert_int_equal(row.verdict, JUDGE_FAIL);
		assert_false(row.has_ledger);
		assert_string_equal(row.reason, "the ledger went back");
		*members[i] = kept;
	}
	after.merged--;
	after.discarded -= 2;
	judge();
	assert_string_equal(row.reason, "the ledger went back");
}

/* Two that were given up before are acknowledged while it runs: they were owed, as it turns out. */
static void what_was_given_up_may_be_delivered_after_all(void **state)
{
	(void)state;
	after.merged--;
	after.discarded--;
	after.delivered += 2;
	tally.count += 2;
	judge();
	assert_int_equal(row.verdict, JUDGE_PASS);
	assert_true(row.has_ledger);
	assert_int_equal(row.due, 10242);
	assert_int_equal(row.delivered, 10242);
	assert_int_equal(row.merged + row.discarded + row.owed, 0);
}

/* Of those that were given up while it ran, one between RUN and the stop. */
static void one_is_taken_back_at_the_end(void **state)
{
	(void)state;
	is_stopped = false;
	after.delivered -= 40;
	after.discarded += 40;
	tally.count -= 40;
	running = after;
	running.discarded++;
	running.delivered--;
	judge();
	assert_int_equal(row.verdict, JUDGE_PASS);
	assert_int_equal(row.discarded, 40);
}

static void without_a_ledger_nothing_is_judged(void **state)
{
	(void)state;
	before.known = after.known = false;
	tally.count = 5000;
	judge();
	assert_int_equal(row.verdict, JUDGE_SKIP);
	assert_true(row.reason[0]);
	assert_false(row.has_ledger);
	assert_string_equal(row.policy, "");
	assert_int_equal(row.due, 10240);
	assert_int_equal(row.guest_count, 5000);
}

static void the_bracket_is_shown_where_the_start_is_the_phase(void **state)
{
	(void)state;
	plan = (struct ticks_plan){
		.source = TICKS_PIT, .setting = 1193, .clock_hz = 1193182, .periods = 1193};
	tally.start_width = 24001;
	judge();
	assert_int_equal(row.rate_hz, 1000);
	assert_int_equal(row.bracket_ns, 5001);
	tally.start_width = 600000; /* more than a quarter of a period */
	judge();
	assert_int_equal(row.bracket_ns, 0);
}

static void the_period_is_exact(void **state)
{
	uint64_t counts;
	uint32_t part;

	(void)state;
	ticks_period(&plan, tsc_hz, &counts, &part);
	assert_int_equal(counts, 2343750);
	assert_int_equal(part, 0);
	plan.clock_hz = 3;
	ticks_period(&plan, 10, &counts, &part);
	assert_int_equal(counts, 3);
	assert_int_equal(part, 0x55555555);
}

static void the_plans_are_what_the_manual_says(void **state)
{
	static const struct {
		enum ticks_source source;
		uint64_t rate_hz;
	} wanted[] = {{TICKS_PIT, 18},    {TICKS_PIT, 100},         {TICKS_PIT, 1000},
		      {TICKS_PIT, 8008},  {TICKS_RTC, 2},           {TICKS_RTC, 1024},
		      {TICKS_RTC, 8192},  {TICKS_HPET, 100},        {TICKS_HPET, 1000},
		      {TICKS_HPET, 8000}, {TICKS_HPET_LEGACY, 1000}};

	(void)state;
	assert_int_equal(ticks_plan_count, 2 * sizeof(wanted) / sizeof(wanted[0]));
	for (unsigned i = 0; i < ticks_plan_count; i++) {
		assert_true(ticks_plan_fit(&ticks_plans[i], 10000000, &plan));
		judge();
		assert_int_equal(row.rate_hz, wanted[i / 2].rate_hz);
		assert_int_equal(row.busy, i % 2);
		assert_int_equal(row.source, wanted[i / 2].source);
		assert_int_equal(plan.is_figure, row.source == TICKS_PIT && row.rate_hz == 1000);
	}
}

static void the_hpets_count_is_the_nearest(void **state)
{
	const struct ticks_plan wish = {.source = TICKS_HPET, .clock_hz = 8000, .periods = 1};

	(void)state;
	assert_true(ticks_plan_fit(&wish, 10000000, &plan));
	assert_int_equal(plan.setting, 12500);
	assert_true(ticks_plan_fit(&wish, 69841279, &plan)); /* 14.318180 MHz */
	assert_int_equal(plan.setting, 1790);
	assert_int_equal(plan.periods, 1790ULL * 69841279);
	assert_int_equal(plan.clock_hz, 1000000000000000);
	assert_false(ticks_plan_fit(&wish, 0, &plan));
	assert_false(ticks_plan_fit(&wish, 100000001, &plan));
}

#define CASE(f) cmocka_unit_test_setup(f, start)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(a_ledger_that_agrees_passes),
		CASE(every_fate_counts),
		CASE(only_merge_merges),
		CASE(only_discard_discards_while_the_source_goes_on),
		CASE(who_owes_all_that_is_allowed_may_discard),
		CASE(a_limit_is_what_counts_may_differ_by),
		CASE(what_was_owed_before_is_due),
		CASE(a_tick_without_a_fate_is_found),
		CASE(one_that_did_not_arrive_is_forgiven_two_are_not),
		CASE(a_timer_that_never_ticks_does_not_pass),
		CASE(a_ledger_that_forgets_to_count_what_is_due_is_found),
		CASE(brackets_are_allowed_for),
		CASE(a_ledger_that_goes_back_is_no_ledger),
		CASE(what_was_given_up_may_be_delivered_after_all),
		CASE(one_is_taken_back_at_the_end),
		CASE(without_a_ledger_nothing_is_judged),
		CASE(the_bracket_is_shown_where_the_start_is_the_phase),
		CASE(the_period_is_exact),
		CASE(the_plans_are_what_the_manual_says),
		CASE(the_hpets_count_is_the_nearest),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
