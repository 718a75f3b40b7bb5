/* SPDX-License-Identifier: Apache-2.0 */
/* ticks_test.c - what becomes of ticks: a guest that takes them, is late, masks them, sleeps. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "board/ticks.h"

enum { DISCARD = VMT_TICKS_DISCARD, CATCHUP = VMT_TICKS_CATCHUP };

#define MS UINT64_C(1000000)

static struct vmt_board_ticks every_ms(void)
{
	return (struct vmt_board_ticks){.retry_ns = VMT_NEVER, .period_ns = MS};
}

/* As the board does it: credited, and then asked whether another is to go out. */
static bool ack(struct vmt_board_ticks *t, vmt_ns now)
{
	vmt_ticks_ack(t);
	return vmt_ticks_again(t, now);
}

static void ledger_is(const struct vmt_board_ticks *t, uint64_t due, uint64_t delivered,
		      uint64_t discarded, uint64_t owed)
{
	assert_int_equal(t->ledger.due, due);
	assert_int_equal(t->ledger.delivered, delivered);
	assert_int_equal(t->ledger.merged, 0);
	assert_int_equal(t->ledger.discarded, discarded);
	assert_int_equal(t->ledger.owed, owed);
	assert_int_equal(due, delivered + discarded + owed);
}

static void a_tick_is_owed_until_it_is_acknowledged(void **state)
{
	struct vmt_board_ticks t = every_ms();

	(void)state;
	assert_false(vmt_ticks_edges(&t, DISCARD, MS, 0));
	assert_true(vmt_ticks_edges(&t, DISCARD, MS, 1));
	ledger_is(&t, 1, 0, 0, 1);
	assert_false(ack(&t, MS + 1000));
	ledger_is(&t, 1, 1, 0, 0);
	assert_false(ack(&t, MS + 2000)); /* somebody else's EOI */
	ledger_is(&t, 1, 1, 0, 0);
}

static void discard_gives_late_ticks_up(void **state)
{
	struct vmt_board_ticks t = every_ms();

	(void)state;
	assert_true(vmt_ticks_edges(&t, DISCARD, 5 * MS, 5)); /* the host was away */
	ledger_is(&t, 5, 0, 4, 1);
	assert_false(vmt_ticks_edges(&t, DISCARD, 5 * MS + 1000, 1)); /* too soon */
	ledger_is(&t, 6, 0, 5, 1);
	assert_false(ack(&t, 5 * MS + 2000));
	ledger_is(&t, 6, 1, 5, 0);
}

static void catchup_delivers_late_ticks_one_by_one(void **state)
{
	struct vmt_board_ticks t = every_ms();

	(void)state;
	assert_true(vmt_ticks_edges(&t, CATCHUP, 3 * MS, 3));
	ledger_is(&t, 3, 0, 0, 3);
	assert_false(
		vmt_ticks_edges(&t, CATCHUP, 3 * MS + 1000, 1)); /* one is in flight, and young */
	ledger_is(&t, 4, 0, 0, 4);
	for (uint64_t i = 1; i < 4; i++) {
		assert_true(ack(&t, 3 * MS + 1000 * i));
		ledger_is(&t, 4, i, 0, 4 - i);
	}
	assert_false(ack(&t, 4 * MS));
	ledger_is(&t, 4, 4, 0, 0);
}

/* The pin is masked: no pulse arrives and no acknowledgement comes, for a second. */
static void masked_ticks_go_on_when_unmasked(void **state)
{
	(void)state;
	for (uint32_t policy = DISCARD; policy <= CATCHUP; policy++) {
		struct vmt_board_ticks t = every_ms();
		uint64_t pulses = 0, more = 0;

		for (uint64_t i = 1; i <= 1000; i++)
			pulses += vmt_ticks_edges(&t, policy, i * MS, 1);
		assert_int_equal(pulses, 1000); /* the next one might get through, always */
		if (policy == DISCARD)
			ledger_is(&t, 1000, 0, 999, 1);
		else
			ledger_is(&t, 1000, 0, 0, 1000);
		assert_true(vmt_ticks_edges(&t, policy, 1001 * MS, 1)); /* unmasked */
		while (ack(&t, 1001 * MS + 10 * more))
			more++;
		assert_int_equal(more, policy == DISCARD ? 0 : 1000);
		assert_int_equal(t.ledger.delivered, policy == DISCARD ? 1 : 1001);
		assert_int_equal(t.ledger.owed, 0);
	}
}

/* A pulse is given a whole period to be acknowledged in, however late it was itself. */
static void a_pulse_in_flight_has_a_period(void **state)
{
	struct vmt_board_ticks t = every_ms();

	(void)state;
	assert_true(vmt_ticks_edges(&t, DISCARD, MS + 240000, 1)); /* late by 0.24 ms */
	assert_false(vmt_ticks_edges(&t, DISCARD, 2 * MS, 1));     /* and not acknowledged yet */
	ledger_is(&t, 2, 0, 1, 1);
	assert_true(vmt_ticks_edges(&t, DISCARD, 3 * MS, 1)); /* nor by now: given up */
	ledger_is(&t, 3, 0, 2, 1);
	assert_true(vmt_ticks_edges(&t, DISCARD, 4 * MS, 1));     /* exactly one period */
	assert_true(vmt_ticks_edges(&t, DISCARD, 5 * MS - 1, 1)); /* to the rounding of edges */
	assert_false(vmt_ticks_edges(&t, DISCARD, 6 * MS - 3, 1));
}

/* Usual with a PIC: the guest is slow, and the next tick's pulse falls on the one still pending. */
static void a_pulse_merged_into_a_pending_one_loses_one_tick(void **state)
{
	struct vmt_board_ticks t = every_ms();

	(void)state;
	assert_true(vmt_ticks_edges(&t, DISCARD, MS, 1));
	assert_true(vmt_ticks_edges(&t, DISCARD, 2 * MS, 1));
	vmt_ticks_refused(&t, DISCARD, 2 * MS);
	ledger_is(&t, 2, 0, 1, 1);
	assert_int_equal(t.retry_ns, VMT_NEVER);
	vmt_ticks_ack(&t); /* of the pending one: the guest took one of two */
	ledger_is(&t, 2, 1, 1, 0);
	assert_false(vmt_ticks_again(&t, 2 * MS));
}

static void owing_has_a_limit(void **state)
{
	struct vmt_board_ticks t = every_ms();

	(void)state;
	assert_true(vmt_ticks_edges(&t, CATCHUP, 3600 * 1000 * MS, 3600000)); /* slept an hour */
	ledger_is(&t, 3600000, 0, 3600000 - VMT_TICKS_OWED, VMT_TICKS_OWED);
}

static void a_refused_tick_waits_or_is_tried_again(void **state)
{
	struct vmt_board_ticks t = every_ms(), u = every_ms();

	(void)state;
	vmt_ticks_edges(&t, DISCARD, MS, 1);
	vmt_ticks_refused(&t, DISCARD, MS);
	ledger_is(&t, 1, 0, 0, 1); /* masked: the guest may yet take it */
	assert_int_equal(t.retry_ns, VMT_NEVER);
	assert_true(vmt_ticks_edges(&t, DISCARD, MS + 1000, 1)); /* but not beside the next one */
	ledger_is(&t, 2, 0, 1, 1);
	assert_false(ack(&t, MS + 2000));
	vmt_ticks_refused(&t, DISCARD, MS + 2000); /* nothing is in flight */
	ledger_is(&t, 2, 1, 1, 0);

	vmt_ticks_edges(&u, CATCHUP, MS, 1);
	vmt_ticks_refused(&u, CATCHUP, MS);
	ledger_is(&u, 1, 0, 0, 1);
	assert_int_equal(u.retry_ns, MS + VMT_TICKS_RETRY_NS);
	assert_true(vmt_ticks_edges(&u, CATCHUP, MS + 1000, 1)); /* the next edge is sooner */
	assert_int_equal(u.retry_ns, VMT_NEVER);
	vmt_ticks_refused(&u, CATCHUP, 2 * MS);
	assert_true(ack(&u, 2 * MS)); /* or the end of what it was merged into */
	assert_int_equal(u.retry_ns, VMT_NEVER);
	assert_false(ack(&u, 3 * MS));
	ledger_is(&u, 2, 2, 0, 0);
}

static void programming_anew_forgets_old_debts(void **state)
{
	struct vmt_board_ticks t = every_ms();

	(void)state;
	vmt_ticks_edges(&t, CATCHUP, 9 * MS, 9);
	vmt_ticks_period(&t, MS); /* the same: nothing changes */
	ledger_is(&t, 9, 0, 0, 9);
	vmt_ticks_period(&t, 0);
	ledger_is(&t, 9, 0, 8, 1); /* the one in flight may still arrive */
	assert_false(ack(&t, 9 * MS));
	ledger_is(&t, 9, 1, 8, 0);
	vmt_ticks_period(&t, MS);
	vmt_ticks_edges(&t, CATCHUP, 20 * MS, 1);
	vmt_ticks_refused(&t, CATCHUP, 20 * MS);
	vmt_ticks_period(&t, 2 * MS);
	ledger_is(&t, 10, 1, 9, 0);
	assert_int_equal(t.retry_ns, VMT_NEVER);
}

static void a_reset_gives_everything_up(void **state)
{
	struct vmt_board_ticks t = every_ms();

	(void)state;
	vmt_ticks_edges(&t, CATCHUP, 9 * MS, 9);
	vmt_ticks_give_up(&t);
	ledger_is(&t, 9, 0, 9, 0);
	assert_true(vmt_ticks_edges(&t, CATCHUP, 9 * MS + 1, 1));
}

static struct vmt_out rtc(uint64_t rises, uint64_t missed, unsigned level)
{
	return (struct vmt_out){.rises = {rises, missed}, .level = (uint8_t)level};
}

static void a_held_line_is_served_by_lowering_it(void **state)
{
	struct vmt_board_ticks t = every_ms();
	struct vmt_out high = rtc(1, 0, 1), low = rtc(0, 0, 0), still = rtc(0, 3, 1);

	(void)state;
	assert_true(vmt_ticks_held(&t, DISCARD, MS, &high, 0));
	ledger_is(&t, 1, 0, 0, 1);
	assert_false(vmt_ticks_held(&t, DISCARD, 4 * MS, &still, 0));
	ledger_is(&t, 4, 0, 3, 1);
	assert_false(vmt_ticks_held(&t, DISCARD, 4 * MS, &low, 0));
	ledger_is(&t, 4, 1, 3, 0);
	assert_int_equal(t.retry_ns, VMT_NEVER);
	assert_false(vmt_ticks_held(&t, DISCARD, 4 * MS, &low, 0));
	ledger_is(&t, 4, 1, 3, 0);
}

static void missed_interrupts_are_shown_a_quarter_period_apart(void **state)
{
	struct vmt_board_ticks t = every_ms();
	struct vmt_out high = rtc(1, 2, 1), low = rtc(0, 0, 0), again = rtc(1, 0, 1);

	(void)state;
	assert_true(vmt_ticks_held(&t, CATCHUP, 3 * MS, &high, 0));
	ledger_is(&t, 3, 0, 0, 3);
	vmt_ticks_held(&t, CATCHUP, 3 * MS, &low, 0);
	ledger_is(&t, 3, 1, 0, 2);
	assert_int_equal(t.retry_ns, 3 * MS + MS / 4);
	assert_true(vmt_ticks_held(&t, CATCHUP, 3 * MS + MS / 4, &again, 1));
	ledger_is(&t, 3, 1, 0, 2); /* not a new one */
	vmt_ticks_held(&t, CATCHUP, 4 * MS, &low, 0);
	ledger_is(&t, 3, 2, 0, 1);
	assert_true(vmt_ticks_held(&t, CATCHUP, 5 * MS, &again, 0)); /* a new one comes before */
	ledger_is(&t, 4, 2, 0, 2);
	assert_int_equal(t.retry_ns, VMT_NEVER);
}

static void a_line_read_in_the_same_call_was_served(void **state)
{
	struct vmt_board_ticks t = every_ms();
	struct vmt_out both = rtc(1, 0, 0);

	(void)state;
	assert_true(vmt_ticks_held(&t, DISCARD, MS, &both, 0));
	ledger_is(&t, 1, 1, 0, 0);
}

static void a_refused_request_stands_and_is_pulsed_again(void **state)
{
	struct vmt_board_ticks t = every_ms();
	struct vmt_out high = rtc(1, 0, 1), low = rtc(0, 0, 0);

	(void)state;
	vmt_ticks_held(&t, DISCARD, MS, &high, 0);
	vmt_ticks_held_refused(&t, MS);
	ledger_is(&t, 1, 0, 0, 1);
	assert_int_equal(t.retry_ns, MS + VMT_TICKS_RETRY_NS);
	vmt_ticks_retry(&t);
	assert_int_equal(t.retry_ns, VMT_NEVER);
	vmt_ticks_held_refused(&t, 11 * MS);
	assert_int_equal(t.retry_ns, 31 * MS); /* twice as long */
	vmt_ticks_retry(&t);
	vmt_ticks_held_refused(&t, 31 * MS);
	assert_int_equal(t.retry_ns, 71 * MS);
	vmt_ticks_retry(&t);
	vmt_ticks_held_refused(&t, 5000 * MS);
	assert_int_equal(t.retry_ns, 5000 * MS + VMT_TICKS_RETRY_MAX_NS);
	vmt_ticks_retry(&t);
	vmt_ticks_held(&t, DISCARD, 20 * MS, &low, 0);
	ledger_is(&t, 1, 1, 0, 0);
	vmt_ticks_held_refused(&t, 20 * MS); /* served meanwhile */
	assert_int_equal(t.retry_ns, VMT_NEVER);
}

static void only_a_ledger_that_balances_is_loaded(void **state)
{
	struct vmt_board_ticks good = every_ms(), t;

	(void)state;
	vmt_ticks_edges(&good, CATCHUP, 9 * MS, 9);
	assert_true(vmt_ticks_good(&good, 9 * MS));
	assert_false(vmt_ticks_good(&good, 9 * MS - 1)); /* pulsed in the future */
	t = good;
	t.ledger.delivered++;
	assert_false(vmt_ticks_good(&t, 9 * MS));
	t = good;
	t.in_flight = 2;
	assert_false(vmt_ticks_good(&t, 9 * MS));
	t = every_ms();
	t.in_flight = 1; /* of nothing owed */
	assert_false(vmt_ticks_good(&t, 9 * MS));
	t = every_ms();
	t.retry_ns = 20 * MS; /* of nothing owed */
	assert_false(vmt_ticks_good(&t, 9 * MS));
	t.ledger.due = t.ledger.owed = 1;
	assert_true(vmt_ticks_good(&t, 9 * MS));
	t.ledger.due = t.ledger.owed = VMT_TICKS_OWED + 1;
	assert_false(vmt_ticks_good(&t, 9 * MS));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_tick_is_owed_until_it_is_acknowledged),
		cmocka_unit_test(discard_gives_late_ticks_up),
		cmocka_unit_test(catchup_delivers_late_ticks_one_by_one),
		cmocka_unit_test(masked_ticks_go_on_when_unmasked),
		cmocka_unit_test(a_pulse_in_flight_has_a_period),
		cmocka_unit_test(a_pulse_merged_into_a_pending_one_loses_one_tick),
		cmocka_unit_test(owing_has_a_limit),
		cmocka_unit_test(a_refused_tick_waits_or_is_tried_again),
		cmocka_unit_test(programming_anew_forgets_old_debts),
		cmocka_unit_test(a_reset_gives_everything_up),
		cmocka_unit_test(a_held_line_is_served_by_lowering_it),
		cmocka_unit_test(missed_interrupts_are_shown_a_quarter_period_apart),
		cmocka_unit_test(a_line_read_in_the_same_call_was_served),
		cmocka_unit_test(a_refused_request_stands_and_is_pulsed_again),
		cmocka_unit_test(only_a_ledger_that_balances_is_loaded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
