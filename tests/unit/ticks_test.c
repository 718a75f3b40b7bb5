/* SPDX-License-Identifier: Apache-2.0 */
/* ticks_test.c - what becomes of ticks: a guest that takes them, is late, masks them, sleeps. */
#include "ticks_bench.h"

static void a_tick_is_owed_until_it_is_acknowledged(void **state)
{
	struct vmt_board_ticks t = every_ms();

	(void)state;
	assert_false(vmt_ticks_edges(&t, DISCARD, MS, 0));
	assert_true(vmt_ticks_edges(&t, DISCARD, MS, 1));
	ledger_is(&t, 1, 0, 0, 1);
	assert_false(ack(&t, DISCARD, MS + 1000));
	ledger_is(&t, 1, 1, 0, 0);
	assert_false(ack(&t, DISCARD, MS + 2000)); /* somebody else's EOI */
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
	assert_false(ack(&t, DISCARD, 5 * MS + 2000));
	ledger_is(&t, 6, 1, 5, 0);
}

static void merge_makes_one_of_many(void **state)
{
	struct vmt_board_ticks t = every_ms();

	(void)state;
	assert_true(vmt_ticks_edges(&t, MERGE, 5 * MS, 5));
	fates_are(&t, 5, 0, 4, 0, 1);
	for (int i = 0; i < 3; i++)
		assert_false(vmt_ticks_edges(&t, MERGE, 5 * MS + 1000, 1));
	fates_are(&t, 8, 0, 6, 0, 2); /* one waits for all of them */
	assert_true(ack(&t, MERGE, 5 * MS + 2000));
	assert_false(ack(&t, MERGE, 5 * MS + 3000));
	fates_are(&t, 8, 2, 6, 0, 0);
}

/* retry_ns is when the next late one goes out; each is acknowledged 1 us after its pulse. */
static vmt_ns take_late_ticks(struct vmt_board_ticks *t, const struct vmt_board_config *c,
			      vmt_ns pulsed, uint64_t gap, uint64_t count)
{
	for (uint64_t i = 0; i < count; i++) {
		assert_false(ack(t, c, pulsed + 1000));
		assert_int_equal(t->retry_ns, pulsed + gap);
		pulsed = t->retry_ns;
		assert_true(vmt_ticks_retry(t, c, pulsed));
	}
	return pulsed;
}

static void catchup_gives_the_next_late_tick_when_one_is_taken(void **state)
{
	struct vmt_board_ticks t = every_ms();
	vmt_ns last;

	(void)state;
	assert_true(vmt_ticks_edges(&t, CATCHUP, 3 * MS, 3));
	ledger_is(&t, 3, 0, 0, 3);
	assert_false(vmt_ticks_edges(&t, CATCHUP, 3 * MS + 1000, 1)); /* one is in flight, young */
	ledger_is(&t, 4, 0, 0, 4);
	last = take_late_ticks(&t, CATCHUP, 3 * MS, VMT_TICKS_FLOOR_NS, 2);
	ledger_is(&t, 4, 2, 0, 2);
	assert_true(ack(&t, CATCHUP, last + 60000)); /* a guest slower than that gets it at once */
	assert_false(ack(&t, CATCHUP, last + 61000));
	ledger_is(&t, 4, 4, 0, 0);
	assert_int_equal(t.retry_ns, VMT_NEVER);
}

static void delay_keeps_the_rate_and_stays_late(void **state)
{
	struct vmt_board_ticks t = every_ms();
	vmt_ns last;

	(void)state;
	assert_true(vmt_ticks_edges(&t, DELAY, 3 * MS, 3));
	last = take_late_ticks(&t, DELAY, 3 * MS, MS, 1);
	assert_false(vmt_ticks_edges(&t, DELAY, last, 1)); /* the fourth, in its own time */
	ledger_is(&t, 4, 1, 0, 3);
	last = take_late_ticks(&t, DELAY, last, MS, 2);
	assert_false(ack(&t, DELAY, last + 1000));
	ledger_is(&t, 4, 4, 0, 0);
	assert_true(vmt_ticks_edges(&t, DELAY, 9 * MS, 1)); /* nothing owed: at its edge */
}

/* An edge of a source with a debt is not to overtake it. */
static void an_edge_waits_behind_late_ones(void **state)
{
	struct vmt_board_ticks t = every_ms();

	(void)state;
	assert_true(vmt_ticks_edges(&t, DELAY, 3 * MS + MS / 2, 3));
	assert_false(ack(&t, DELAY, 3 * MS + MS / 2 + 1000));
	assert_false(vmt_ticks_edges(&t, DELAY, 4 * MS, 1));
	assert_int_equal(t.retry_ns, 4 * MS + MS / 2);
	ledger_is(&t, 4, 1, 0, 3);
}

/* No pulse arrives and no acknowledgement comes, for a second: masked, and nothing tells. */
static void ticks_that_nobody_takes_go_on(void **state)
{
	const struct vmt_board_config *const discard = DISCARD, *const merge = MERGE;
	const struct vmt_board_config *const policies[] = {discard, merge, CATCHUP, DELAY};

	(void)state;
	for (int i = 0; i < 4; i++) {
		const struct vmt_board_config *c = policies[i];
		struct vmt_board_ticks t = every_ms();
		uint64_t pulses = 0;

		for (uint64_t at = 1; at <= 1000; at++)
			pulses += vmt_ticks_edges(&t, c, at * MS, 1);
		assert_int_equal(pulses, 1000); /* the next one might get through, always */
		fates_are(&t, 1000, 0, c == merge ? 998 : 0, c == discard ? 998 : 0,
			  c == merge || c == discard ? 2 : 1000);
		assert_true(vmt_ticks_edges(&t, c, 1001 * MS, 1)); /* unmasked: taken, once */
		assert_false(ack(&t, c, 1001 * MS + 1000));
		assert_int_equal(t.retry_ns, c->ticks == VMT_TICKS_CATCHUP
						     ? 1001 * MS + VMT_TICKS_FLOOR_NS
						     : 1002 * MS + 1000);
		assert_int_equal(vmt_ticks_retry(&t, c, t.retry_ns),
				 c->ticks == VMT_TICKS_CATCHUP || c->ticks == VMT_TICKS_DELAY);
		fates_are(&t, 1001, 1, c == merge ? 1000 : 0, c == discard ? 1000 : 0,
			  c == merge || c == discard ? 0 : 1000);
	}
}

/* Its handler runs longer than a period: the pulse that came meanwhile is another handler. */
static void a_slow_guest_that_takes_both_acknowledges_twice(void **state)
{
	const struct vmt_board_config *const policies[] = {DISCARD, MERGE, CATCHUP, DELAY};

	(void)state;
	for (int i = 0; i < 4; i++) {
		struct vmt_board_ticks t = every_ms();

		assert_true(vmt_ticks_edges(&t, policies[i], MS, 1));
		assert_true(vmt_ticks_edges(&t, policies[i], 2 * MS, 1));
		ledger_is(&t, 2, 0, 0, 2);
		assert_false(ack(&t, policies[i], 2 * MS + 1000));
		ledger_is(&t, 2, 1, 0, 1);
		assert_false(ack(&t, policies[i], 2 * MS + 900000)); /* slow again */
		ledger_is(&t, 2, 2, 0, 0);
		assert_int_equal(t.retry_ns, VMT_NEVER);
	}
}

/* Two pulses, one acknowledgement, and a period in which the other one does not come. */
static struct vmt_board_ticks one_of_two_taken(const struct vmt_board_config *c)
{
	struct vmt_board_ticks t = every_ms();

	vmt_ticks_edges(&t, c, MS, 1);
	vmt_ticks_edges(&t, c, 2 * MS, 1);
	assert_false(ack(&t, c, 2 * MS + 1000));
	return t;
}

static void a_pulse_taken_for_merged_may_be_acknowledged_after_all(void **state)
{
	const struct vmt_board_config *const policies[] = {DISCARD, MERGE};

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		const struct vmt_board_config *c = policies[i];
		struct vmt_board_ticks t = one_of_two_taken(c);

		assert_false(vmt_ticks_retry(&t, c, t.retry_ns));
		fates_are(&t, 2, 1, i, !i, 0);
		assert_true(vmt_ticks_edges(&t, c, 4 * MS, 1));
		assert_false(ack(&t, c, 4 * MS + 1000)); /* of the old one, or the new */
		fates_are(&t, 3, 2, i, !i, 0);
		assert_false(ack(&t, c, 4 * MS + 2000));
		fates_are(&t, 3, 3, 0, 0, 0);
		assert_false(ack(&t, c, 4 * MS + 3000)); /* somebody else's */
		fates_are(&t, 3, 3, 0, 0, 0);
		assert_true(vmt_ticks_edges(&t, c, 5 * MS, 1));
	}
}

/* It has counted one tick too many, so the next one would be the second too many. */
static void a_pulse_too_many_stands_for_the_next_tick(void **state)
{
	const struct vmt_board_config *const policies[] = {CATCHUP, DELAY};

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		const struct vmt_board_config *c = policies[i];
		struct vmt_board_ticks t = one_of_two_taken(c);

		assert_true(vmt_ticks_retry(&t, c, t.retry_ns)); /* the second tick, again */
		assert_false(ack(&t, c, 3 * MS + 2000));
		ledger_is(&t, 2, 2, 0, 0);
		assert_false(ack(&t, c, 3 * MS + 3000));
		ledger_is(&t, 2, 2, 0, 0);
		assert_true(vmt_ticks_good(&t, c, 4 * MS));
		assert_true(vmt_ticks_edges(&t, c, 5 * MS, 2)); /* one of them has come */
		ledger_is(&t, 4, 3, 0, 1);
		assert_false(ack(&t, c, 5 * MS + 1000));
		assert_false(ack(&t, c, 5 * MS + 2000)); /* somebody else's */
		assert_true(vmt_ticks_edges(&t, c, 6 * MS, 1));
	}
}

static void programming_anew_ends_all_doubt(void **state)
{
	struct vmt_board_ticks t = one_of_two_taken(DISCARD), u = one_of_two_taken(CATCHUP);

	(void)state;
	vmt_ticks_retry(&t, DISCARD, t.retry_ns);
	vmt_ticks_period(&t, 2 * MS);
	ack(&t, DISCARD, 4 * MS);
	ledger_is(&t, 2, 1, 1, 0);
	vmt_ticks_retry(&u, CATCHUP, u.retry_ns);
	ack(&u, CATCHUP, 4 * MS);
	ack(&u, CATCHUP, 4 * MS);
	vmt_ticks_give_up(&u);
	assert_true(vmt_ticks_edges(&u, CATCHUP, 5 * MS, 1));
}

/* Until it is known whether it takes both, the next tick waits, whatever the policy. */
static void an_edge_in_doubt_waits_for_the_answer(void **state)
{
	struct vmt_board_ticks t = every_ms();

	(void)state;
	vmt_ticks_edges(&t, DISCARD, MS, 1);
	vmt_ticks_edges(&t, DISCARD, 2 * MS, 1);
	vmt_ticks_ack(&t, DISCARD, 2 * MS + 150000);
	assert_false(vmt_ticks_edges(&t, DISCARD, 3 * MS, 1));
	ledger_is(&t, 3, 1, 0, 2);
	assert_true(vmt_ticks_retry(&t, DISCARD, 3 * MS + 150000)); /* it took one for both */
	ledger_is(&t, 3, 1, 1, 1);
	assert_false(ack(&t, DISCARD, 3 * MS + 160000));
	ledger_is(&t, 3, 2, 1, 0);
}

/* Whether one pulse or two are left, one more is right where more ticks are owed. */
static void a_debt_is_paid_in_doubt(void **state)
{
	struct vmt_board_ticks t = every_ms();

	(void)state;
	for (uint64_t i = 1; i <= 5; i++)
		assert_true(vmt_ticks_edges(&t, CATCHUP, i * MS, 1)); /* each into the first */
	for (uint64_t i = 1; i <= 3; i++)
		assert_true(ack(&t, CATCHUP, 5 * MS + i * VMT_TICKS_FLOOR_NS));
	ledger_is(&t, 5, 3, 0, 2);
	assert_false(ack(&t, CATCHUP, 5 * MS + 200000)); /* one is left, asked for already */
	assert_int_equal(t.retry_ns, 6 * MS + 200000);
	assert_false(vmt_ticks_edges(&t, CATCHUP, 6 * MS, 1));
	assert_true(vmt_ticks_retry(&t, CATCHUP, 6 * MS + 200000)); /* it never came */
	assert_true(ack(&t, CATCHUP, 6 * MS + 260000));
	assert_false(ack(&t, CATCHUP, 6 * MS + 270000));
	ledger_is(&t, 6, 6, 0, 0);
	assert_int_equal(t.ahead, 0);
}

/* What is still in doubt when the guest programs its timer anew is no debt. */
static void a_new_period_in_doubt_is_asked_for_once(void **state)
{
	struct vmt_board_ticks t = every_ms();

	(void)state;
	for (uint64_t i = 1; i <= 4; i++)
		assert_true(vmt_ticks_edges(&t, CATCHUP, i * MS, 1));
	assert_false(ack(&t, CATCHUP, 4 * MS + 1000));
	assert_int_equal(t.retry_ns, 4 * MS + VMT_TICKS_FLOOR_NS);
	vmt_ticks_period(&t, 2 * MS);
	ledger_is(&t, 4, 1, 2, 1);
	vmt_ticks_retry(&t, CATCHUP, t.retry_ns);
	assert_true(vmt_ticks_good(&t, CATCHUP, 5 * MS));
}

/* A pulse is given a whole period to be acknowledged in, however late it was itself. */
static void a_pulse_in_flight_has_a_period(void **state)
{
	struct vmt_board_ticks t = every_ms();

	(void)state;
	assert_true(vmt_ticks_edges(&t, DISCARD, MS + 240000, 1)); /* late by 0.24 ms */
	assert_false(vmt_ticks_edges(&t, DISCARD, 2 * MS, 1));     /* and not acknowledged yet */
	ledger_is(&t, 2, 0, 1, 1);
	assert_true(vmt_ticks_edges(&t, DISCARD, 3 * MS, 1));     /* nor by now */
	assert_true(vmt_ticks_edges(&t, DISCARD, 4 * MS, 1));     /* exactly one period */
	assert_true(vmt_ticks_edges(&t, DISCARD, 5 * MS - 1, 1)); /* to the rounding of edges */
	assert_false(vmt_ticks_edges(&t, DISCARD, 6 * MS - 3, 1));
	ledger_is(&t, 6, 0, 4, 2);
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
	assert_false(ack(&t, DISCARD, 2 * MS + 1000)); /* of the pending one */
	ledger_is(&t, 2, 1, 1, 0);
	assert_int_equal(t.retry_ns, VMT_NEVER);
}

/* 1.19 MHz: the host is woken 20000 times a second, and no tick is lost from the ledger. */
static void a_source_that_is_too_fast_is_merged(void **state)
{
	struct vmt_board_ticks t = {.retry_ns = VMT_NEVER, .period_ns = 839};
	const uint64_t floor = VMT_TICKS_FLOOR_NS;

	(void)state;
	assert_int_equal(vmt_ticks_not_before(&t, CATCHUP), floor);
	assert_true(vmt_ticks_edges(&t, CATCHUP, MS, 60));
	fates_are(&t, 60, 0, 59, 0, 1);
	assert_int_equal(vmt_ticks_not_before(&t, CATCHUP), MS + floor);
	assert_false(ack(&t, CATCHUP, MS + 100));
	assert_false(vmt_ticks_edges(&t, CATCHUP, MS + 200, 1)); /* a register was read */
	assert_int_equal(t.retry_ns, MS + floor);
	assert_true(vmt_ticks_edges(&t, CATCHUP, MS + floor, 59));
	fates_are(&t, 120, 1, 118, 0, 1);
	assert_true(vmt_ticks_edges(&t, CATCHUP, MS + 2 * floor, 60)); /* a slow guest */
	fates_are(&t, 180, 1, 177, 0, 2);
}

static void the_floor_is_configurable(void **state)
{
	const struct vmt_board_config slow = {.ticks = VMT_TICKS_CATCHUP, .floor_ns = 2 * MS};
	struct vmt_board_ticks t = every_ms();

	(void)state;
	assert_int_equal(vmt_ticks_not_before(&t, CATCHUP), 0);
	assert_int_equal(vmt_ticks_not_before(&t, &slow), 2 * MS);
	assert_true(vmt_ticks_edges(&t, &slow, 2 * MS, 2));
	assert_false(vmt_ticks_edges(&t, &slow, 3 * MS, 1));
	fates_are(&t, 3, 0, 1, 0, 2);
}

/* What else the guest is told of while a tick is owed must not make it come early. */
static void a_late_pulse_is_never_early(void **state)
{
	const struct vmt_board_config slow = {.ticks = VMT_TICKS_CATCHUP, .floor_ns = MS / 2};
	struct vmt_board_ticks t = every_ms(), u = every_ms(), v = every_ms();
	struct vmt_out high = {.rises = {1, 2}, .level = 1}, low = {.level = 0};

	(void)state;
	vmt_ticks_edges(&t, DISCARD, MS, 1);
	vmt_ticks_edges(&t, DISCARD, 2 * MS, 1);
	vmt_ticks_ack(&t, DISCARD, 2 * MS + 1000);
	vmt_ticks_refused(&t, DISCARD, 2 * MS + 2000); /* the second one, after all */
	assert_int_equal(t.retry_ns, VMT_NEVER);
	vmt_ticks_edges(&u, CATCHUP, 3 * MS, 3);
	vmt_ticks_refused(&u, CATCHUP, 3 * MS);
	assert_false(ack(&u, CATCHUP, 3 * MS + 1000)); /* of the one it was merged into */
	assert_int_equal(u.retry_ns, 3 * MS + VMT_TICKS_FLOOR_NS);
	vmt_ticks_held(&v, &slow, 3 * MS, &high, 0);
	vmt_ticks_held(&v, &slow, 3 * MS + 1000, &low, 0);
	assert_int_equal(v.retry_ns, 3 * MS + MS / 2);
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
	assert_false(ack(&t, DISCARD, MS + 2000));
	vmt_ticks_refused(&t, DISCARD, MS + 2000); /* nothing is in flight */
	ledger_is(&t, 2, 1, 1, 0);

	vmt_ticks_edges(&u, CATCHUP, MS, 1);
	vmt_ticks_refused(&u, CATCHUP, MS);
	ledger_is(&u, 1, 0, 0, 1);
	assert_int_equal(u.retry_ns, MS + VMT_TICKS_RETRY_NS);
	assert_true(vmt_ticks_edges(&u, CATCHUP, MS + 1000, 1)); /* the next edge is sooner */
	assert_int_equal(u.retry_ns, VMT_NEVER);
	vmt_ticks_refused(&u, CATCHUP, 2 * MS);
	assert_true(ack(&u, CATCHUP, 2 * MS)); /* or the end of what it was merged into */
	assert_int_equal(u.retry_ns, VMT_NEVER);
	assert_false(ack(&u, CATCHUP, 3 * MS));
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
	assert_false(ack(&t, CATCHUP, 9 * MS));
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

static void only_a_ledger_that_balances_is_loaded(void **state)
{
	struct vmt_board_ticks good = every_ms(), t;

	(void)state;
	vmt_ticks_edges(&good, CATCHUP, 9 * MS, 9);
	assert_true(vmt_ticks_good(&good, CATCHUP, 9 * MS));
	assert_false(vmt_ticks_good(&good, CATCHUP, 9 * MS - 1)); /* pulsed in the future */
	t = good;
	t.ledger.delivered++;
	assert_false(vmt_ticks_good(&t, CATCHUP, 9 * MS));
	t = good;
	assert_false(vmt_ticks_good(&t, DISCARD, 9 * MS)); /* it would never owe so many */
	t.in_flight = 3;
	assert_false(vmt_ticks_good(&t, CATCHUP, 9 * MS));
	t = good;
	t.in_flight = 2;
	t.retry_ns = 20 * MS; /* no doubt before one of them is acknowledged */
	assert_false(vmt_ticks_good(&t, CATCHUP, 9 * MS));
	t = good;
	t.refused = 1; /* though one is in flight */
	assert_false(vmt_ticks_good(&t, CATCHUP, 9 * MS));
	t = good;
	t.ahead = 3;
	assert_false(vmt_ticks_good(&t, CATCHUP, 9 * MS));
	t = every_ms();
	t.ahead = 1; /* of a policy that sends nothing twice */
	assert_false(vmt_ticks_good(&t, DISCARD, 9 * MS));
	t = every_ms();
	t.doubted = 1; /* of nothing given up */
	assert_false(vmt_ticks_good(&t, DISCARD, 9 * MS));
	assert_true(vmt_ticks_good(&t, CATCHUP, 9 * MS));
	t = every_ms();
	t.in_flight = 1; /* of nothing owed */
	assert_false(vmt_ticks_good(&t, CATCHUP, 9 * MS));
	t = every_ms();
	t.retry_ns = 20 * MS; /* of nothing owed */
	assert_false(vmt_ticks_good(&t, CATCHUP, 9 * MS));
	t.ledger.due = t.ledger.owed = 1;
	assert_true(vmt_ticks_good(&t, CATCHUP, 9 * MS));
	t.ledger.due = t.ledger.owed = VMT_TICKS_OWED + 1;
	assert_false(vmt_ticks_good(&t, CATCHUP, 9 * MS));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_tick_is_owed_until_it_is_acknowledged),
		cmocka_unit_test(discard_gives_late_ticks_up),
		cmocka_unit_test(merge_makes_one_of_many),
		cmocka_unit_test(catchup_gives_the_next_late_tick_when_one_is_taken),
		cmocka_unit_test(delay_keeps_the_rate_and_stays_late),
		cmocka_unit_test(an_edge_waits_behind_late_ones),
		cmocka_unit_test(ticks_that_nobody_takes_go_on),
		cmocka_unit_test(a_slow_guest_that_takes_both_acknowledges_twice),
		cmocka_unit_test(a_pulse_taken_for_merged_may_be_acknowledged_after_all),
		cmocka_unit_test(a_pulse_too_many_stands_for_the_next_tick),
		cmocka_unit_test(programming_anew_ends_all_doubt),
		cmocka_unit_test(an_edge_in_doubt_waits_for_the_answer),
		cmocka_unit_test(a_debt_is_paid_in_doubt),
		cmocka_unit_test(a_new_period_in_doubt_is_asked_for_once),
		cmocka_unit_test(a_pulse_in_flight_has_a_period),
		cmocka_unit_test(a_pulse_merged_into_a_pending_one_loses_one_tick),
		cmocka_unit_test(a_source_that_is_too_fast_is_merged),
		cmocka_unit_test(the_floor_is_configurable),
		cmocka_unit_test(a_late_pulse_is_never_early),
		cmocka_unit_test(owing_has_a_limit),
		cmocka_unit_test(a_refused_tick_waits_or_is_tried_again),
		cmocka_unit_test(programming_anew_forgets_old_debts),
		cmocka_unit_test(a_reset_gives_everything_up),
		cmocka_unit_test(only_a_ledger_that_balances_is_loaded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
