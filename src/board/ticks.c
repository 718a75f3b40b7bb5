/* SPDX-License-Identifier: Apache-2.0 */
/* ticks.c - tick policy and ledger, once for all sources. */
#include "board/ticks.h"

#include "core/ns.h"

enum { SHORTEST_NS = 800 }; /* a PIT that counts from 1: 839 */

static void fall_due(struct vmt_board_ticks *t, uint64_t count)
{
	t->ledger.due += count;
	t->ledger.owed += count;
}

static void discard(struct vmt_board_ticks *t, uint64_t count)
{
	t->ledger.owed -= count;
	t->ledger.discarded += count;
}

/* One owed tick has reached the guest. */
static void deliver(struct vmt_board_ticks *t)
{
	t->in_flight = 0;
	if (t->ledger.owed) {
		t->ledger.owed--;
		t->ledger.delivered++;
	}
	if (!t->ledger.owed)
		t->retry_ns = VMT_NEVER;
}

/* What the policy does not keep owing. */
static void cut(struct vmt_board_ticks *t, uint32_t policy)
{
	uint64_t most = policy == VMT_TICKS_CATCHUP ? VMT_TICKS_OWED : 1;

	if (t->ledger.owed > most)
		discard(t, t->ledger.owed - most);
}

void vmt_ticks_retry(struct vmt_board_ticks *t)
{
	t->in_flight = 1;
	t->retry_ns = VMT_NEVER;
}

static void pulse(struct vmt_board_ticks *t, vmt_ns now)
{
	vmt_ticks_retry(t);
	t->pulse_ns = now;
}

/* Below a period: edges lie a period apart, rounded to the nanosecond either way. */
static bool young(const struct vmt_board_ticks *t, vmt_ns now)
{
	return t->in_flight && now - t->pulse_ns + 1 < t->period_ns;
}

/* Pulses do not move pulse_ns when they are only repeated: so each wait is the time that the first
 * one is ago, and RETRY_NS, which is twice the wait before. */
static void ask_again(struct vmt_board_ticks *t, vmt_ns now)
{
	uint64_t wait = vmt_ns_add(now - t->pulse_ns, VMT_TICKS_RETRY_NS);

	if (wait > VMT_TICKS_RETRY_MAX_NS)
		wait = VMT_TICKS_RETRY_MAX_NS;
	t->retry_ns = vmt_ns_add(now, wait);
}

bool vmt_ticks_edges(struct vmt_board_ticks *t, uint32_t policy, vmt_ns now, uint64_t edges)
{
	if (!edges)
		return false;
	fall_due(t, edges);
	cut(t, policy);
	if (young(t, now))
		return false;
	pulse(t, now);
	return true;
}

void vmt_ticks_ack(struct vmt_board_ticks *t)
{
	deliver(t);
}

bool vmt_ticks_again(struct vmt_board_ticks *t, vmt_ns now)
{
	if (!t->ledger.owed || t->in_flight)
		return false;
	pulse(t, now);
	return true;
}

void vmt_ticks_refused(struct vmt_board_ticks *t, uint32_t policy, vmt_ns now)
{
	if (!t->in_flight)
		return;
	t->in_flight = 0;
	if (policy == VMT_TICKS_CATCHUP)
		ask_again(t, now);
}

bool vmt_ticks_held(struct vmt_board_ticks *t, uint32_t policy, vmt_ns now,
		    const struct vmt_out *out, uint64_t shown)
{
	uint64_t rises = out->rises[VMT_RTC_IRQ];

	fall_due(t, rises - shown + out->rises[VMT_RTC_MISSED]);
	if (rises)
		pulse(t, now);
	cut(t, policy);
	if (t->in_flight && !(out->level >> VMT_RTC_IRQ & 1)) {
		deliver(t); /* register C was read */
		if (t->ledger.owed && t->period_ns)
			t->retry_ns = vmt_ns_add(now, t->period_ns / 4);
	}
	return rises;
}

void vmt_ticks_held_refused(struct vmt_board_ticks *t, vmt_ns now)
{
	if (t->in_flight)
		ask_again(t, now);
}

void vmt_ticks_period(struct vmt_board_ticks *t, uint64_t period_ns)
{
	if (t->period_ns == period_ns)
		return;
	t->period_ns = period_ns;
	if (t->ledger.owed > t->in_flight)
		discard(t, t->ledger.owed - t->in_flight);
	if (!t->in_flight)
		t->retry_ns = VMT_NEVER;
}

void vmt_ticks_give_up(struct vmt_board_ticks *t)
{
	discard(t, t->ledger.owed);
	t->in_flight = 0;
	t->retry_ns = VMT_NEVER;
	t->period_ns = 0;
}

bool vmt_ticks_good(const struct vmt_board_ticks *t, vmt_ns now)
{
	const struct vmt_ledger *l = &t->ledger;

	return l->due == l->delivered + l->merged + l->discarded + l->owed &&
	       l->owed <= VMT_TICKS_OWED && t->in_flight <= 1 && t->in_flight <= l->owed &&
	       t->pulse_ns <= now && (l->owed || t->retry_ns == VMT_NEVER) &&
	       (!t->period_ns || t->period_ns >= SHORTEST_NS);
}
