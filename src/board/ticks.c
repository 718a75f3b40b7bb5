/* SPDX-License-Identifier: Apache-2.0 */
/* ticks.c - tick policy and ledger, once for all sources. */
#include "board/ticks.h"

#include "core/ns.h"

enum { SHORTEST_NS = VMT_HPET_TICK_NS };

/* A local APIC holds two: one in service, one requested. */
enum { IN_FLIGHT_MAX = 2 };

static uint64_t floor_ns(const struct vmt_board_config *c)
{
	return c->floor_ns ? c->floor_ns : VMT_TICKS_FLOOR_NS;
}

static bool crowded(const struct vmt_board_ticks *t, const struct vmt_board_config *c)
{
	return t->period_ns && t->period_ns < floor_ns(c);
}

static uint32_t policy(const struct vmt_board_ticks *t, const struct vmt_board_config *c)
{
	return crowded(t, c) ? VMT_TICKS_MERGE : c->ticks;
}

/* How long a pulse in flight may take. */
static uint64_t patience_ns(const struct vmt_board_ticks *t, const struct vmt_board_config *c)
{
	return crowded(t, c) ? floor_ns(c) : t->period_ns;
}

/* From one pulse to the next of those that are late. */
static uint64_t gap_ns(const struct vmt_board_ticks *t, const struct vmt_board_config *c)
{
	switch (policy(t, c)) {
	case VMT_TICKS_DELAY:
		return t->period_ns;
	case VMT_TICKS_CATCHUP:
		return t->period_ns ? floor_ns(c) : 0;
	default:
		return crowded(t, c) ? floor_ns(c) : 0;
	}
}

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

static void merge(struct vmt_board_ticks *t, uint64_t count)
{
	t->ledger.owed -= count;
	t->ledger.merged += count;
}

static bool keeps(uint32_t by)
{
	return by == VMT_TICKS_CATCHUP || by == VMT_TICKS_DELAY;
}

/* What the policy does not keep owing beyond `most`. */
static void cut(struct vmt_board_ticks *t, uint32_t by, uint64_t most)
{
	if (keeps(by))
		most = VMT_TICKS_OWED;
	if (t->ledger.owed <= most)
		return;
	if (by == VMT_TICKS_MERGE)
		merge(t, t->ledger.owed - most);
	else
		discard(t, t->ledger.owed - most);
}

/* The tick of one pulse in flight has reached the guest. */
static void deliver(struct vmt_board_ticks *t)
{
	if (t->in_flight)
		t->in_flight--;
	if (t->ledger.owed) {
		t->ledger.owed--;
		t->ledger.delivered++;
	}
	t->refused = 0;
	t->retry_ns = VMT_NEVER;
}

/* Nothing is in flight: a pulse that was taken for merged has reached the guest after all.  Its
 * tick was given up; or was kept, asked for anew and taken: then the next one has come early. */
static void deliver_doubted(struct vmt_board_ticks *t, uint32_t by)
{
	t->doubted--;
	if (!keeps(by)) {
		*(by == VMT_TICKS_MERGE ? &t->ledger.merged : &t->ledger.discarded) -= 1;
		t->ledger.owed++;
	} else if (!t->ledger.owed) {
		if (t->ahead < IN_FLIGHT_MAX)
			t->ahead++;
		return;
	}
	deliver(t);
}

/* Ticks that reached the guest before they were due; returns the others. */
static uint64_t use_ahead(struct vmt_board_ticks *t, uint64_t edges)
{
	uint64_t count = edges < t->ahead ? edges : t->ahead;

	t->ahead = (uint8_t)(t->ahead - count);
	t->ledger.due += count;
	t->ledger.delivered += count;
	return edges - count;
}

static void pulse(struct vmt_board_ticks *t, const struct vmt_board_config *c, vmt_ns now)
{
	if (t->in_flight < (t->period_ns ? IN_FLIGHT_MAX : 1))
		t->in_flight++;
	t->pulse_ns = now;
	t->retry_ns = VMT_NEVER;
	t->refused = 0;
	cut(t, policy(t, c), t->in_flight);
}

/* Below a period: edges lie a period apart, rounded to the nanosecond either way. */
static bool young(const struct vmt_board_ticks *t, const struct vmt_board_config *c, vmt_ns now)
{
	return now - t->pulse_ns + 1 < patience_ns(t, c);
}

/* One of two pulses was acknowledged, and the other may have been merged with it. */
static bool in_doubt(const struct vmt_board_ticks *t)
{
	return t->in_flight && t->retry_ns != VMT_NEVER;
}

/* ... but others are owed besides, so that a pulse is right whether it was merged or not. */
static bool owes_more(const struct vmt_board_ticks *t, const struct vmt_board_config *c)
{
	return in_doubt(t) && policy(t, c) == VMT_TICKS_CATCHUP && t->ledger.owed > t->in_flight;
}

/* True: a late one has to wait for retry_ns, set here. */
static bool too_soon(struct vmt_board_ticks *t, const struct vmt_board_config *c, vmt_ns now)
{
	vmt_ns at = vmt_ns_add(t->pulse_ns, gap_ns(t, c));

	if (at <= now)
		return false;
	t->retry_ns = at;
	return true;
}

/* Pulses do not move pulse_ns when they are only repeated: so each wait is the time that the first
 * one is ago, and `first_ns`, which is twice the wait before. */
static void ask_again(struct vmt_board_ticks *t, vmt_ns now, uint64_t first_ns)
{
	uint64_t wait = vmt_ns_add(now - t->pulse_ns, first_ns);

	if (wait > VMT_TICKS_RETRY_MAX_NS)
		wait = VMT_TICKS_RETRY_MAX_NS;
	t->retry_ns = vmt_ns_add(now, wait);
}

bool vmt_ticks_edges(struct vmt_board_ticks *t, const struct vmt_board_config *c, vmt_ns now,
		     uint64_t edges)
{
	uint64_t waiting;
	bool late;

	edges = use_ahead(t, edges);
	if (!edges)
		return false;
	late = t->ledger.owed || crowded(t, c);
	fall_due(t, edges);
	if (t->in_flight && (young(t, c, now) || in_doubt(t))) {
		waiting = in_doubt(t) || policy(t, c) == VMT_TICKS_MERGE;
		cut(t, policy(t, c), t->in_flight + waiting);
		return false;
	}
	if (!t->in_flight && !t->refused && late && too_soon(t, c, now)) {
		cut(t, policy(t, c), 1);
		return false;
	}
	pulse(t, c, now);
	return true;
}

void vmt_ticks_ack(struct vmt_board_ticks *t, const struct vmt_board_config *c, vmt_ns now)
{
	bool two = t->in_flight == IN_FLIGHT_MAX;

	if (!t->in_flight && t->doubted)
		deliver_doubted(t, policy(t, c));
	else
		deliver(t);
	if (two)
		t->retry_ns = vmt_ns_add(now, t->period_ns);
}

bool vmt_ticks_again(struct vmt_board_ticks *t, const struct vmt_board_config *c, vmt_ns now)
{
	if (!t->ledger.owed || (t->in_flight && !owes_more(t, c)) ||
	    (!t->refused && too_soon(t, c, now)))
		return false;
	pulse(t, c, now);
	return true;
}

void vmt_ticks_refused(struct vmt_board_ticks *t, const struct vmt_board_config *c, vmt_ns now)
{
	uint32_t by = policy(t, c);

	if (!t->in_flight)
		return;
	t->in_flight--;
	cut(t, by, t->in_flight ? t->in_flight : 1);
	if (t->in_flight)
		return;
	t->refused = 1;
	t->retry_ns = VMT_NEVER;
	if (keeps(by))
		ask_again(t, now, VMT_TICKS_RETRY_NS);
}

/* The second of two pulses was merged into the first, most likely, so its tick was not taken. */
static void settle(struct vmt_board_ticks *t, uint32_t by)
{
	t->in_flight = 0;
	if (t->doubted < IN_FLIGHT_MAX)
		t->doubted++;
	if (by == VMT_TICKS_DISCARD)
		discard(t, 1);
	else if (by == VMT_TICKS_MERGE)
		merge(t, 1);
}

bool vmt_ticks_retry(struct vmt_board_ticks *t, const struct vmt_board_config *c, vmt_ns now)
{
	vmt_ns first = t->pulse_ns;
	bool again = t->refused;

	if (t->in_flight && !(young(t, c, now) && owes_more(t, c)))
		settle(t, policy(t, c));
	t->retry_ns = VMT_NEVER;
	if (!t->ledger.owed || (!again && too_soon(t, c, now)))
		return false;
	pulse(t, c, again ? first : now);
	return true;
}

vmt_ns vmt_ticks_not_before(const struct vmt_board_ticks *t, const struct vmt_board_config *c)
{
	return crowded(t, c) ? vmt_ns_add(t->pulse_ns, floor_ns(c)) : 0;
}

bool vmt_ticks_held(struct vmt_board_ticks *t, const struct vmt_board_config *c, vmt_ns now,
		    const struct vmt_out *out, uint64_t shown)
{
	uint64_t rises = out->rises[VMT_RTC_IRQ];
	vmt_ns at, least;

	fall_due(t, rises - shown + out->rises[VMT_RTC_MISSED]);
	if (rises) {
		t->pulse_ns = now;
		vmt_ticks_held_again(t);
	}
	cut(t, c->ticks, 1);
	if (t->in_flight && !(out->level >> VMT_RTC_IRQ & 1)) {
		deliver(t); /* register C was read */
		if (t->ledger.owed && t->period_ns) {
			at = c->ticks == VMT_TICKS_DELAY ? vmt_ns_add(t->pulse_ns, t->period_ns)
							 : 0;
			if (at <= now)
				at = vmt_ns_add(now, t->period_ns / 4);
			least = vmt_ns_add(t->pulse_ns, floor_ns(c));
			t->retry_ns = at > least ? at : least;
		}
	}
	return rises;
}

void vmt_ticks_held_refused(struct vmt_board_ticks *t, const struct vmt_board_config *c, vmt_ns now)
{
	uint64_t first_ns = t->period_ns ? t->period_ns / 4 : VMT_TICKS_RETRY_NS;

	if (first_ns > VMT_TICKS_RETRY_NS)
		first_ns = VMT_TICKS_RETRY_NS;
	if (t->in_flight)
		ask_again(t, now, first_ns > floor_ns(c) ? first_ns : floor_ns(c));
}

void vmt_ticks_held_again(struct vmt_board_ticks *t)
{
	t->in_flight = 1;
	t->retry_ns = VMT_NEVER;
}

void vmt_ticks_forget(struct vmt_board_ticks *t)
{
	if (t->ledger.owed > t->in_flight)
		discard(t, t->ledger.owed - t->in_flight);
	if (!t->in_flight)
		t->retry_ns = VMT_NEVER;
	t->refused = 0;
}

void vmt_ticks_period(struct vmt_board_ticks *t, uint64_t period_ns)
{
	if (t->period_ns == period_ns)
		return;
	t->period_ns = period_ns;
	t->in_flight = t->in_flight > 0;
	t->doubted = t->ahead = 0;
	vmt_ticks_forget(t);
}

void vmt_ticks_cut_off(struct vmt_board_ticks *t, uint64_t edges, uint64_t held)
{
	fall_due(t, edges);
	if (t->ledger.owed > held)
		discard(t, t->ledger.owed - held);
	t->in_flight = 0;
	t->refused = 0;
	t->doubted = t->ahead = 0;
	t->retry_ns = VMT_NEVER;
}

bool vmt_ticks_back(struct vmt_board_ticks *t, vmt_ns now)
{
	if (!t->ledger.owed)
		return false;
	t->pulse_ns = now;
	vmt_ticks_held_again(t);
	return true;
}

void vmt_ticks_give_up(struct vmt_board_ticks *t)
{
	vmt_ticks_cut_off(t, 0, 0);
	t->period_ns = 0;
}

/* What may be moved back to delivered was given up before. */
static bool good_doubt(const struct vmt_board_ticks *t, uint32_t by)
{
	uint64_t given_up = by == VMT_TICKS_MERGE ? t->ledger.merged : t->ledger.discarded;

	return t->doubted <= IN_FLIGHT_MAX && (keeps(by) || t->doubted <= given_up) &&
	       t->ahead <= (keeps(by) ? IN_FLIGHT_MAX : 0);
}

bool vmt_ticks_good(const struct vmt_board_ticks *t, const struct vmt_board_config *c, vmt_ns now)
{
	const struct vmt_ledger *l = &t->ledger;

	return l->due == l->delivered + l->merged + l->discarded + l->owed &&
	       l->owed <= (keeps(c->ticks) ? VMT_TICKS_OWED : t->in_flight + 1U) &&
	       t->in_flight <= (t->period_ns ? IN_FLIGHT_MAX : 1) && t->in_flight <= l->owed &&
	       t->refused <= !t->in_flight && t->pulse_ns <= now && good_doubt(t, policy(t, c)) &&
	       (t->retry_ns == VMT_NEVER || (l->owed && t->in_flight < IN_FLIGHT_MAX)) &&
	       (!t->period_ns || t->period_ns >= SHORTEST_NS);
}
