/* SPDX-License-Identifier: Apache-2.0 */
/* ticks_held_test.c - what becomes of the ticks of a source that holds its line until served. */
#include "ticks_bench.h"

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

static void missed_interrupts_are_merged_or_delayed(void **state)
{
	struct vmt_board_ticks t = every_ms(), u = every_ms();
	struct vmt_out high = rtc(1, 2, 1), low = rtc(0, 0, 0);

	(void)state;
	assert_true(vmt_ticks_held(&t, MERGE, 3 * MS, &high, 0));
	fates_are(&t, 3, 0, 2, 0, 1);
	vmt_ticks_held(&t, MERGE, 3 * MS, &low, 0);
	fates_are(&t, 3, 1, 2, 0, 0);
	assert_true(vmt_ticks_held(&u, DELAY, 3 * MS, &high, 0));
	vmt_ticks_held(&u, DELAY, 3 * MS + 1000, &low, 0);
	ledger_is(&u, 3, 1, 0, 2);
	assert_int_equal(u.retry_ns, 4 * MS);
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
	vmt_ticks_held_refused(&t, DISCARD, MS);
	ledger_is(&t, 1, 0, 0, 1);
	assert_int_equal(t.retry_ns, MS + MS / 4);
	vmt_ticks_held_again(&t);
	assert_int_equal(t.retry_ns, VMT_NEVER);
	vmt_ticks_held_refused(&t, DISCARD, MS + MS / 4);
	assert_int_equal(t.retry_ns, MS + MS / 4 + MS / 2); /* twice as long */
	vmt_ticks_held_again(&t);
	vmt_ticks_held_refused(&t, DISCARD, MS + 3 * MS / 4);
	assert_int_equal(t.retry_ns, MS + 7 * MS / 4);
	vmt_ticks_held_again(&t);
	vmt_ticks_held_refused(&t, DISCARD, 5000 * MS);
	assert_int_equal(t.retry_ns, 5000 * MS + VMT_TICKS_RETRY_MAX_NS);
	vmt_ticks_held_again(&t);
	vmt_ticks_held(&t, DISCARD, 20 * MS, &low, 0);
	ledger_is(&t, 1, 1, 0, 0);
	vmt_ticks_held_refused(&t, DISCARD, 20 * MS); /* served meanwhile */
	assert_int_equal(t.retry_ns, VMT_NEVER);
}

static void a_refused_request_is_pulsed_no_sooner_than_the_floor_and_no_later_than_any(void **state)
{
	struct vmt_board_ticks t = every_ms();
	struct vmt_out high = rtc(1, 0, 1);

	(void)state;
	t.period_ns = MS / 8;
	vmt_ticks_held(&t, DISCARD, MS, &high, 0);
	vmt_ticks_held_refused(&t, DISCARD, MS);
	assert_int_equal(t.retry_ns, MS + VMT_TICKS_FLOOR_NS);
	t.period_ns = 500 * MS;
	vmt_ticks_held_refused(&t, DISCARD, MS);
	assert_int_equal(t.retry_ns, MS + VMT_TICKS_RETRY_NS);
	t.period_ns = 0; /* of an alarm */
	vmt_ticks_held_refused(&t, DISCARD, MS);
	assert_int_equal(t.retry_ns, MS + VMT_TICKS_RETRY_NS);
}

static void who_gave_the_time_otherwise_has_what_is_owed_forgotten(void **state)
{
	struct vmt_board_ticks t = every_ms(), u = every_ms();
	struct vmt_out high = rtc(1, 5, 1), low = rtc(0, 0, 0);

	(void)state;
	vmt_ticks_held(&t, CATCHUP, 6 * MS, &high, 0);
	vmt_ticks_forget(&t);
	ledger_is(&t, 6, 0, 5, 1); /* the line is high: that one will be read */
	vmt_ticks_held(&t, CATCHUP, 6 * MS, &low, 0);
	ledger_is(&t, 6, 1, 5, 0);
	assert_int_equal(t.retry_ns, VMT_NEVER);
	vmt_ticks_held(&u, CATCHUP, 6 * MS, &high, 0);
	vmt_ticks_held(&u, CATCHUP, 6 * MS, &low, 0);
	assert_int_not_equal(u.retry_ns, VMT_NEVER);
	vmt_ticks_forget(&u);
	ledger_is(&u, 6, 1, 5, 0);
	assert_int_equal(u.retry_ns, VMT_NEVER); /* none is shown again */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_held_line_is_served_by_lowering_it),
		cmocka_unit_test(missed_interrupts_are_merged_or_delayed),
		cmocka_unit_test(missed_interrupts_are_shown_a_quarter_period_apart),
		cmocka_unit_test(a_line_read_in_the_same_call_was_served),
		cmocka_unit_test(a_refused_request_stands_and_is_pulsed_again),
		cmocka_unit_test(who_gave_the_time_otherwise_has_what_is_owed_forgotten),
		cmocka_unit_test(
			a_refused_request_is_pulsed_no_sooner_than_the_floor_and_no_later_than_any),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
