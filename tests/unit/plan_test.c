/* SPDX-License-Identifier: Apache-2.0 */
/* plan_test.c - what is foretold of a guest: by each policy, on each clock source, and where its
 * clock source ends. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cmd/plan_guest.h"

#define MS INT64_C(1000000)
#define S INT64_C(1000000000)
#define PM_WRAP_NS INT64_C(4686968874) /* 2^24 ticks, rounded down */
#define HPET_WRAP_NS INT64_C(42949672960)

static struct plan plan_of(struct plan_ask ask)
{
	struct plan p;

	assert_int_equal(plan_make(&ask, &p), 0);
	return p;
}

static struct plan pause_by(enum plan_source source, uint32_t policy, int64_t ns)
{
	return plan_of((struct plan_ask){.source = source, .policy = policy, .duration_ns = ns});
}

static const struct plan_row *row(const struct plan *p, enum plan_name name)
{
	assert_int_equal(p->rows[name].name, name);
	return &p->rows[name];
}

static void is_near(int64_t ns, int64_t wanted_ns)
{
	assert_true(ns - wanted_ns <= 300 && wanted_ns - ns <= 300);
}

/* The three clocks of the guest's kernel: how far they go on, and what that is beside the host. */
static void the_clocks(const struct plan *p, int64_t progress_ns, int64_t realtime_ns,
		       int64_t monotonic_ns)
{
	for (int i = PLAN_ROW_REALTIME; i <= PLAN_ROW_BOOTTIME; i++)
		is_near(p->rows[i].progress_ns, progress_ns);
	is_near(row(p, PLAN_ROW_REALTIME)->change_ns, realtime_ns);
	is_near(row(p, PLAN_ROW_MONOTONIC)->change_ns, monotonic_ns);
	assert_int_equal(row(p, PLAN_ROW_BOOTTIME)->change_ns,
			 row(p, PLAN_ROW_MONOTONIC)->change_ns);
}

static void passes(const struct plan *p)
{
	assert_false(p->fails);
	assert_int_equal(plan_fails(p), 0);
	assert_string_equal(p->warning, "");
	for (int i = 0; i < PLAN_ROWS; i++) {
		const struct plan_row *r = row(p, (enum plan_name)i);

		assert_true(llabs(r->change_ns - r->expected_ns) <= (int64_t)r->quantum_ns);
	}
}

static void fails_with(const struct plan *p, unsigned rows, const char *words)
{
	assert_true(p->fails);
	assert_int_equal(plan_fails(p), rows);
	assert_non_null(strstr(p->warning, words));
}

static void faces_follow(const struct plan *p, int64_t progress_ns)
{
	for (int i = PLAN_ROW_KVMCLOCK; i <= PLAN_ROW_PIT; i++) {
		const struct plan_row *face = row(p, (enum plan_name)i);
		const int64_t off = face->progress_ns - progress_ns;

		assert_true(face->counts);
		assert_true(off > -(int64_t)face->quantum_ns && off < (int64_t)face->quantum_ns);
	}
}

static void every_face_goes_on_with_continue(void **state)
{
	static const int64_t gaps[] = {1, 999, 5 * MS + 1, 5 * S, 20 * S, 600 * S};

	(void)state;
	for (unsigned i = 0; i < sizeof(gaps) / sizeof(gaps[0]); i++) {
		const struct plan p = pause_by(PLAN_KVMCLOCK, VMT_POLICY_CONTINUE, gaps[i]);

		passes(&p);
		the_clocks(&p, gaps[i], 0, 0);
		faces_follow(&p, gaps[i]);
		assert_int_equal(row(&p, PLAN_ROW_RTC)->progress_ns, gaps[i]);
		assert_int_equal(row(&p, PLAN_ROW_STEAL)->progress_ns, 0);
		assert_int_equal(p.frozen_ns, 0);
	}
}

static void every_face_stands_with_freeze(void **state)
{
	static const int64_t gaps[] = {1, 5 * S, 87600 * 3600 * S};

	(void)state;
	for (unsigned i = 0; i < 3 * PLAN_SOURCES; i++) {
		const struct plan p =
			pause_by((enum plan_source)(i / 3), VMT_POLICY_FREEZE, gaps[i % 3]);

		passes(&p);
		the_clocks(&p, 0, -gaps[i % 3], -gaps[i % 3]);
		faces_follow(&p, 0);
		assert_int_equal(row(&p, PLAN_ROW_RTC)->progress_ns, gaps[i % 3]);
		assert_int_equal(p.frozen_ns, gaps[i % 3]);
		assert_int_equal(p.ticks[0].ledger.due + p.ticks[2].ledger.due, 0);
	}
}

static void the_tick_that_was_due_in_3_ms_is_due_in_3_ms(void **state)
{
	static const enum plan_name chips[] = {PLAN_ROW_PIT, PLAN_ROW_HPET, PLAN_ROW_LAPIC};
	const struct plan frozen = pause_by(PLAN_TSC, VMT_POLICY_FREEZE, 5 * S);
	const struct plan gone_on = pause_by(PLAN_TSC, VMT_POLICY_CONTINUE, 5 * S);
	const struct plan shorter = pause_by(PLAN_TSC, VMT_POLICY_CONTINUE, MS);

	(void)state;
	for (int i = 0; i < 3; i++) {
		const struct plan_row *r = row(&frozen, chips[i]);

		assert_true(r->has_due);
		assert_in_range(r->due_before_ns, 3 * MS - 5000, 3 * MS + 5000);
		assert_int_equal(r->due_after_ns, r->due_before_ns);
		assert_int_equal(row(&gone_on, chips[i])->due_after_ns, 0);
		assert_int_equal(row(&shorter, chips[i])->due_after_ns, r->due_before_ns - MS);
	}
}

static void auto_goes_by_the_clock_source(void **state)
{
	static const struct {
		enum plan_source source;
		int64_t last_ns; /* over which it continues */
	} limits[] = {{PLAN_KVMCLOCK, 600 * S},
		      {PLAN_TSC, 600 * S},
		      {PLAN_HPET, HPET_WRAP_NS / 2 - 10},
		      {PLAN_ACPI_PM, 2343484157}};

	(void)state;
	for (int i = 0; i < 4; i++) {
		const int64_t last_ns = limits[i].last_ns;
		const struct plan near = pause_by(limits[i].source, VMT_POLICY_AUTO, last_ns);
		const struct plan far = pause_by(limits[i].source, VMT_POLICY_AUTO, last_ns + 1);

		assert_int_equal(near.policy, VMT_POLICY_CONTINUE);
		assert_int_equal(far.policy, VMT_POLICY_FREEZE);
		passes(&near);
		passes(&far);
		the_clocks(&near, last_ns, 0, 0);
		the_clocks(&far, 0, -last_ns - 1, -last_ns - 1);
		assert_non_null(strstr(near.why, "auto continues"));
		assert_non_null(strstr(far.why, "auto freezes"));
	}
}

/* What has come round less than half shows at once; of more the guest waits for the rest. */
static void a_counter_that_comes_round_loses_whole_rounds(void **state)
{
	const struct plan less = pause_by(PLAN_ACPI_PM, VMT_POLICY_CONTINUE, 5 * S);
	const struct plan more = pause_by(PLAN_ACPI_PM, VMT_POLICY_CONTINUE, 3 * S);
	const struct plan many = pause_by(PLAN_ACPI_PM, VMT_POLICY_CONTINUE, 100 * S);
	const struct plan hpet = pause_by(PLAN_HPET, VMT_POLICY_CONTINUE, 3600 * S);

	(void)state;
	fails_with(&less, 4, "the ACPI PM timer it cannot see more than 2.343 s");
	the_clocks(&less, 5 * S - PM_WRAP_NS, -PM_WRAP_NS, -PM_WRAP_NS);
	assert_int_equal(less.settle_ns, 0);
	fails_with(&more, 4, "(run with --on-pause auto or freeze)");
	the_clocks(&more, 0, -PM_WRAP_NS, -PM_WRAP_NS);
	assert_in_range(more.settle_ns, PM_WRAP_NS - 3 * S - 300, PM_WRAP_NS - 3 * S + 300);
	the_clocks(&many, 100 * S - 21 * PM_WRAP_NS, -21 * PM_WRAP_NS, -21 * PM_WRAP_NS);
	fails_with(&hpet, 4, "the HPET it cannot see more than 21.474 s");
	the_clocks(&hpet, 0, -84 * HPET_WRAP_NS, -84 * HPET_WRAP_NS);
	faces_follow(&hpet, 3600 * S);
}

static void beyond_ten_minutes_the_arithmetic_of_older_kernels_ends(void **state)
{
	const struct plan p = pause_by(PLAN_KVMCLOCK, VMT_POLICY_CONTINUE, 3600 * S);

	(void)state;
	fails_with(&p, 4, "a kernel before Linux 6.10 it cannot see more than 600.000 s");
	the_clocks(&p, 3600 * S, 0, 0);
}

static void who_counts_ticks_gets_what_the_policy_leaves(void **state)
{
	struct plan_ask ask = {.source = PLAN_JIFFIES, .duration_ns = 5 * S};
	const struct plan discard = plan_of(ask);
	const int64_t tick_ns = (int64_t)discard.ticks[0].period_ns;
	struct plan p;

	(void)state;
	/* The machine sees the page alone, so auto continues. */
	assert_int_equal(discard.policy, VMT_POLICY_CONTINUE);
	fails_with(&discard, 4, "run with --ticks catchup, or --on-pause freeze");
	assert_int_equal(discard.ticks[0].ledger.due, 1250);
	assert_int_equal(discard.ticks[0].ledger.delivered, 1);
	assert_int_equal(discard.ticks[0].ledger.discarded, 1249);
	assert_int_equal(row(&discard, PLAN_ROW_MONOTONIC)->change_ns, tick_ns - 5 * S);
	ask.ticks = VMT_TICKS_CATCHUP;
	p = plan_of(ask);
	passes(&p);
	assert_int_equal(p.ticks[0].ledger.owed, 1249);
	assert_in_range(p.settle_ns, MS, S);
	assert_in_range(row(&p, PLAN_ROW_MONOTONIC)->change_ns + tick_ns, 0, 2 * tick_ns);
	ask.ticks = VMT_TICKS_DELAY;
	p = plan_of(ask);
	fails_with(&p, 3, "stays late by them (run with --ticks catchup");
	assert_int_equal(row(&p, PLAN_ROW_MONOTONIC)->change_ns, tick_ns - 5 * S);
	ask.ticks = VMT_TICKS_CATCHUP;
	ask.duration_ns = 60 * S; /* more than are kept */
	p = plan_of(ask);
	fails_with(&p, 4, "(run with --on-pause freeze)");
	assert_int_equal(p.ticks[0].ledger.owed, VMT_TICKS_OWED - 1);
}

static void a_restored_guest_is_as_one_that_stood_still(void **state)
{
	static const uint32_t policies[] = {VMT_POLICY_CONTINUE, VMT_POLICY_FREEZE,
					    VMT_POLICY_AUTO};

	(void)state;
	for (int i = 0; i < 9; i++) {
		struct plan_ask ask = {.policy = policies[i / 3],
				       .source = PLAN_HPET,
				       .duration_ns = i % 3 == 0   ? 5 * S
						      : i % 3 == 1 ? 25 * S
								   : 1};
		const struct plan paused = plan_of(ask);
		struct plan p;

		ask.event = i & 1 ? PLAN_RESTORE : PLAN_MIGRATE;
		p = plan_of(ask);
		assert_int_equal(p.policy, paused.policy);
		assert_int_equal(p.gap_ns, paused.gap_ns);
		assert_int_equal(p.fails, paused.fails);
		for (int j = 0; j < PLAN_ROWS; j++) {
			assert_int_equal(p.rows[j].progress_ns, paused.rows[j].progress_ns);
			assert_int_equal(p.rows[j].change_ns, paused.rows[j].change_ns);
			assert_int_equal(p.rows[j].due_after_ns, paused.rows[j].due_after_ns);
			assert_string_equal(p.rows[j].meaning, paused.rows[j].meaning);
		}
		if (p.fails)
			fails_with(&p, 4,
				   i & 1 ? "by its clocks it cannot see more than 21.474 s (run "
					   "with --on-restore auto"
					 : "by its clocks it cannot see more than 21.474 s (run "
					   "with --on-migrate auto");
	}
}

static void a_saved_guest_from_the_future_stands_and_is_ahead(void **state)
{
	const struct plan p = plan_of((struct plan_ask){
		.event = PLAN_RESTORE, .policy = VMT_POLICY_CONTINUE, .duration_ns = -3600 * S});

	(void)state;
	passes(&p);
	assert_int_equal(p.policy, VMT_POLICY_FREEZE);
	the_clocks(&p, 0, 3600 * S, 0);
	faces_follow(&p, 0);
	assert_int_equal(row(&p, PLAN_ROW_RTC)->progress_ns, -3600 * S);
	assert_non_null(strstr(p.why, "by any policy"));
}

/* The host's MONOTONIC stands meanwhile; the guest's goes on, or stands as well. */
static void a_suspend_of_the_host_is_a_pause_beside_a_clock_that_stands(void **state)
{
	static const uint32_t policies[] = {VMT_POLICY_CONTINUE, VMT_POLICY_FREEZE};

	(void)state;
	for (int i = 0; i < 4; i++) {
		struct plan_ask ask = {.policy = policies[i / 2],
				       .source = i % 2 ? PLAN_HPET : PLAN_KVMCLOCK,
				       .duration_ns = 5 * S};
		const struct plan paused = plan_of(ask);
		struct plan p;

		ask.event = PLAN_SUSPEND;
		p = plan_of(ask);
		passes(&p);
		assert_int_equal(p.policy, policies[i / 2]);
		assert_int_equal(p.gap_ns, 5 * S);
		for (int j = 0; j < PLAN_ROWS; j++) {
			const int64_t stood_ns = j == PLAN_ROW_MONOTONIC ? 5 * S : 0;

			assert_int_equal(p.rows[j].progress_ns, paused.rows[j].progress_ns);
			assert_int_equal(p.rows[j].change_ns, paused.rows[j].change_ns + stood_ns);
			assert_int_equal(p.rows[j].expected_ns,
					 paused.rows[j].expected_ns + stood_ns);
			assert_int_equal(p.rows[j].due_after_ns, paused.rows[j].due_after_ns);
		}
		is_near(row(&p, PLAN_ROW_MONOTONIC)->change_ns, i < 2 ? 5 * S : 0);
	}
}

/* What a guest cannot see of it is told of what it should have come to. */
static void a_suspend_that_the_guest_cannot_see_is_told_as_of_a_pause(void **state)
{
	struct plan_ask ask = {.source = PLAN_ACPI_PM,
			       .policy = VMT_POLICY_CONTINUE,
			       .duration_ns = 5 * S,
			       .event = PLAN_SUSPEND};
	struct plan p = plan_of(ask);

	(void)state;
	fails_with(&p, 4, "by the ACPI PM timer it cannot see more than 2.343 s");
	assert_string_equal(row(&p, PLAN_ROW_MONOTONIC)->meaning, "4.68 s late for good");
	ask.source = PLAN_KVMCLOCK;
	ask.duration_ns = 3600 * S;
	p = plan_of(ask);
	assert_non_null(strstr(row(&p, PLAN_ROW_MONOTONIC)->meaning, "may be minutes wrong"));
}

static void a_step_of_the_host_moves_its_utc_alone(void **state)
{
	static const int64_t steps[] = {3600 * S, -3600 * S, 1};

	(void)state;
	for (int i = 0; i < 3; i++) {
		const struct plan p = plan_of(
			(struct plan_ask){.event = PLAN_HOST_STEP, .duration_ns = steps[i]});

		passes(&p);
		assert_false(p.has_policy);
		the_clocks(&p, 0, -steps[i], 0);
		faces_follow(&p, 0);
		assert_int_equal(row(&p, PLAN_ROW_RTC)->progress_ns, steps[i]);
		assert_int_equal(row(&p, PLAN_ROW_RTC)->change_ns, 0);
	}
}

static uint8_t cmos(struct vmt_board *b, uint8_t at)
{
	struct vmt_board_out out;
	uint64_t value = 0;

	assert_int_equal(vmt_board_write(b, b->now, VMT_PIO, 0x70, 1, at, &out), 0);
	assert_int_equal(vmt_board_read(b, b->now, VMT_PIO, 0x71, 1, &value, &out), 0);
	return (uint8_t)((value >> 4) * 10 + (value & 15));
}

/* The date that is foretold is the one that the guest reads at the chip's ports. */
static void the_guest_reads_that_date(void **state)
{
	static const int64_t steps[] = {0, 3600 * S, -86400 * S};

	(void)state;
	for (int i = 0; i < 3; i++) {
		const struct plan_ask ask = {.event = PLAN_HOST_STEP, .duration_ns = steps[i]};
		struct plan_guest g;
		struct vmt_change change;
		uint64_t bound_ns;
		struct plan_sight sight;
		struct tm t = {0};

		plan_guest_boot(&g, VMT_TICKS_DISCARD);
		assert_int_equal(plan_guest_meet(&g, &ask, 0, &change, &bound_ns), 0);
		sight = plan_guest_look(&g);
		vmt_board_advance(&g.board, g.board.now + 999 * (uint64_t)MS,
				  &(struct vmt_board_out){0}); /* the next second has not come */
		t.tm_sec = cmos(&g.board, 0);
		t.tm_min = cmos(&g.board, 2);
		t.tm_hour = cmos(&g.board, 4);
		t.tm_mday = cmos(&g.board, 7);
		t.tm_mon = cmos(&g.board, 8) - 1;
		t.tm_year = cmos(&g.board, 9) + 100;
		assert_int_equal(timegm(&t), sight.rtc_utc_ns / S);
		assert_int_equal(sight.rtc_utc_ns, sight.host_utc_ns);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_face_goes_on_with_continue),
		cmocka_unit_test(every_face_stands_with_freeze),
		cmocka_unit_test(the_tick_that_was_due_in_3_ms_is_due_in_3_ms),
		cmocka_unit_test(auto_goes_by_the_clock_source),
		cmocka_unit_test(a_counter_that_comes_round_loses_whole_rounds),
		cmocka_unit_test(beyond_ten_minutes_the_arithmetic_of_older_kernels_ends),
		cmocka_unit_test(who_counts_ticks_gets_what_the_policy_leaves),
		cmocka_unit_test(a_restored_guest_is_as_one_that_stood_still),
		cmocka_unit_test(a_saved_guest_from_the_future_stands_and_is_ahead),
		cmocka_unit_test(a_suspend_of_the_host_is_a_pause_beside_a_clock_that_stands),
		cmocka_unit_test(a_suspend_that_the_guest_cannot_see_is_told_as_of_a_pause),
		cmocka_unit_test(a_step_of_the_host_moves_its_utc_alone),
		cmocka_unit_test(the_guest_reads_that_date),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
