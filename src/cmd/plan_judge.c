/* SPDX-License-Identifier: Apache-2.0 */
/* plan_judge.c - what a guest makes of what its chips show before an event and after it. */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <vmtime/gap.h>

#include "cmd/cmd.h"
#include "cmd/plan_guest.h"
#include "cmd/test_judge.h"
#include "core/ns.h"
#include "kvm/gaptext.h"

const char *const plan_event_names[PLAN_EVENTS] = {"pause", "restore", "migrate", "suspend",
						   "host-step"};
const char *const plan_source_names[PLAN_SOURCES] = {"kvm-clock", "tsc", "hpet", "acpi_pm",
						     "jiffies"};
const char *const plan_policy_names[3] = {"continue", "freeze", "auto"};
const char *const plan_ticks_names[4] = {"discard", "catchup", "delay", "merge"};
const char *const plan_row_names[PLAN_ROWS] = {"realtime", "monotonic", "boottime", "kvm-clock",
					       "tsc",      "hpet",      "acpi_pm",  "pit",
					       "rtc",      "lapic",     "steal"};

#define PMTMR_MASK ((UINT64_C(1) << 24) - 1)
#define HPET_HZ (VMT_NS_PER_S / VMT_HPET_TICK_NS)
#define RIGHT_NS 1000 /* what `vmtime test` allows a pause */

/* The guest before and after, and what it takes the difference for. */
struct seen {
	struct plan_sight before, after;
	uint64_t elapsed_ns;  /* time that really passed */
	int64_t utc_ns;       /* and how far the host's UTC went on ... */
	int64_t monotonic_ns; /* ... and its CLOCK_MONOTONIC, which stands while it is suspended */
	uint64_t seen_ns;     /* by the clock source: at once ... */
	uint64_t stands_ns;   /* ... then it shows nothing for so long ... */
	uint64_t owed_ns;     /* ... and ticks that were owed are given, worth so much */
	uint64_t quantum_ns;
};

struct text {
	char s[32];
};

static struct text ns_text(uint64_t ns)
{
	struct text t;

	cmd_format_ns(t.s, sizeof(t.s), ns < INT64_MAX ? (int64_t)ns : INT64_MAX, false);
	return t;
}

static uint64_t magnitude(int64_t ns)
{
	return ns < 0 ? 0 - (uint64_t)ns : (uint64_t)ns;
}

static int64_t difference(int64_t a, int64_t b)
{
	return vmt_ns_clamp((vmt_ns_i128)a - b);
}

static void say(struct plan_row *row, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

static void say(struct plan_row *row, const char *format, ...)
{
	size_t length = strlen(row->meaning);
	va_list args;

	va_start(args, format);
	vsnprintf(row->meaning + length, sizeof(row->meaning) - length, format, args);
	va_end(args);
}

static uint64_t limit_of(uint32_t clocks, const struct plan_ask *ask, uint64_t tick_ns,
			 uint32_t *ret_clock)
{
	const struct vmt_gap_guest guest = {
		.clocks = clocks, .pmtmr_bits = 24, .tick_ns = tick_ns, .ticks = ask->ticks};

	return vmt_gap_limit_ns(&guest, ret_clock);
}

/* What the machine knows that the guest uses: kvm-clock's page is registered, who reads a counter
 * is seen.  (That it counts ticks, and nothing else, cannot be seen beside a page.) */
static uint32_t known_clocks(enum plan_source source)
{
	const uint32_t all = VMT_GAP_KVMCLOCK | VMT_GAP_TSC;

	return source == PLAN_HPET      ? all | VMT_GAP_HPET
	       : source == PLAN_ACPI_PM ? all | VMT_GAP_PMTMR
					: all;
}

static uint32_t used_clock(enum plan_source source)
{
	static const uint32_t clocks[PLAN_SOURCES] = {VMT_GAP_KVMCLOCK, VMT_GAP_TSC, VMT_GAP_HPET,
						      VMT_GAP_PMTMR, VMT_GAP_TICKS};

	return clocks[source];
}

/* How Linux reads a counter (clocksource_delta()): what is more than half of its range is a step
 * back, and none; it then stands until the counter has come round to where it was. */
static void read_counter(struct seen *s, uint64_t before, uint64_t after, uint64_t mask,
			 uint64_t hz)
{
	const uint64_t moved = (after - before) & mask;

	s->quantum_ns = (VMT_NS_PER_S + hz - 1) / hz;
	if (moved <= mask >> 1)
		s->seen_ns = vmt_ns_muldiv_floor(moved, VMT_NS_PER_S, hz);
	else
		s->stands_ns = vmt_ns_muldiv_ceil(mask - moved + 1, VMT_NS_PER_S, hz);
}

static struct vmt_ledger fallen_due(const struct vmt_ledger *before, const struct vmt_ledger *after)
{
	return (struct vmt_ledger){
		.due = after->due - before->due,
		.delivered = after->delivered - before->delivered,
		.merged = after->merged - before->merged,
		.discarded = after->discarded - before->discarded,
		.owed = after->owed - before->owed,
	};
}

/* It counts the PIT's ticks.  With `delay` it goes on to owe them. */
static void count_ticks(struct seen *s, struct plan_guest *g, struct plan *p)
{
	const struct vmt_ledger *ledger = &p->ticks[0].ledger;
	struct vmt_ledger later;

	s->quantum_ns = 2 * p->ticks[0].period_ns;
	s->seen_ns = ledger->delivered * p->ticks[0].period_ns;
	p->settle_ns = plan_guest_settle(g);
	vmt_board_ledger(&g->board, VMT_SOURCE_PIT, &later);
	if (later.owed)
		p->settle_ns = 0; /* for ever */
	else
		s->owed_ns = ledger->owed * p->ticks[0].period_ns;
}

static void see_by_source(struct seen *s, struct plan_guest *g, struct plan *p)
{
	const struct plan_sight *a = &s->before, *b = &s->after;

	switch (p->ask.source) {
	case PLAN_KVMCLOCK:
		read_counter(s, a->kvmclock_ns, b->kvmclock_ns, UINT64_MAX, VMT_NS_PER_S);
		break;
	case PLAN_TSC:
		read_counter(s, a->tsc, b->tsc, UINT64_MAX, PLAN_GUEST_KHZ * UINT64_C(1000));
		break;
	case PLAN_HPET:
		read_counter(s, a->hpet, b->hpet, UINT32_MAX, HPET_HZ);
		break;
	case PLAN_ACPI_PM:
		read_counter(s, a->pmtmr, b->pmtmr, PMTMR_MASK, VMT_PMTMR_HZ);
		break;
	default:
		count_ticks(s, g, p);
	}
	if (s->stands_ns)
		p->settle_ns = s->stands_ns;
}

/* Whether virtual time went on for longer than that. */
static bool beyond(const struct plan *p, uint64_t limit_ns)
{
	return p->has_policy && p->policy == VMT_POLICY_CONTINUE && p->gap_ns > limit_ns;
}

static void count(struct plan_row *row, int64_t progress_ns, int64_t passed_ns,
		  const struct plan *p, uint64_t quantum_ns)
{
	row->counts = true;
	row->progress_ns = progress_ns;
	row->change_ns = difference(progress_ns, passed_ns);
	row->expected_ns = -p->frozen_ns;
	row->quantum_ns = quantum_ns;
}

/* CLOCK_REALTIME, CLOCK_MONOTONIC or CLOCK_BOOTTIME of the guest: all three by its clock source. */
static void guest_clock(struct plan_row *row, const struct plan *p, const struct seen *s)
{
	const int64_t passed_ns = row->name == PLAN_ROW_REALTIME    ? s->utc_ns
				  : row->name == PLAN_ROW_MONOTONIC ? s->monotonic_ns
								    : (int64_t)s->elapsed_ns;

	count(row, (int64_t)s->seen_ns, passed_ns, p, s->quantum_ns);
	row->change_ns =
		vmt_ns_clamp((vmt_ns_i128)s->seen_ns + s->owed_ns - s->stands_ns - passed_ns);
	/* No guest knows by how much the host's UTC was set, nor that its MONOTONIC stood. */
	row->expected_ns =
		difference(row->expected_ns, difference(passed_ns, (int64_t)s->elapsed_ns));
	row->has_limit = p->has_policy;
	row->limit_ns = p->limit_ns;
	row->fails =
		beyond(p, p->limit_ns) ||
		magnitude(difference(row->change_ns, row->expected_ns)) > RIGHT_NS + s->quantum_ns;
}

static void mean_guest_clock(struct plan_row *row, const struct plan *p, const struct seen *s)
{
	const bool utc = row->name == PLAN_ROW_REALTIME;
	const int64_t error_ns = difference(row->change_ns, row->expected_ns);
	const struct text change = ns_text(magnitude(row->change_ns)),
			  error = ns_text(magnitude(error_ns));
	const bool late = row->change_ns < 0;

	if (row->fails && magnitude(error_ns) <= RIGHT_NS + s->quantum_ns)
		say(row, "may be minutes wrong until its first tick, before Linux 6.10");
	else if (row->fails && s->stands_ns)
		say(row, "stands still for %s more, then is %s late, for good",
		    ns_text(s->stands_ns).s, error.s);
	else if (row->fails)
		say(row, "%s %s for good", error.s, error_ns < 0 ? "late" : "ahead");
	else if (utc && magnitude(row->change_ns) > RIGHT_NS + s->quantum_ns)
		say(row, "%s %s until something in the guest sets it", change.s,
		    late ? "late" : "ahead");
	else if (utc && p->settle_ns)
		say(row, "right once the ticks owed are given, after %s", ns_text(p->settle_ns).s);
	else if (utc)
		say(row, "right at once");
	else if (row->name == PLAN_ROW_BOOTTIME)
		say(row, "as MONOTONIC: the guest itself was never suspended");
	else if (p->frozen_ns)
		say(row, "goes on where it stood");
	else if (p->ask.event == PLAN_HOST_STEP || !p->gap_ns)
		say(row, "goes on as ever");
	else
		say(row, "jumps; timers that fell due fire at once");
}

static uint64_t ns_of_ticks(uint64_t before, uint64_t after, uint64_t hz)
{
	return vmt_ns_muldiv_floor(after, VMT_NS_PER_S, hz) -
	       vmt_ns_muldiv_floor(before, VMT_NS_PER_S, hz);
}

static void mean_ticks(struct plan_row *row, const struct plan_ticks *t)
{
	const struct vmt_ledger *l = &t->ledger;

	if (!l->due) {
		say(row, "no tick falls due, the next in %s", ns_text(row->due_after_ns).s);
		return;
	}
	say(row, "%" PRIu64 " ticks due: %" PRIu64 " given", l->due, l->delivered);
	if (l->merged)
		say(row, ", %" PRIu64 " merged", l->merged);
	if (l->owed)
		say(row, ", %" PRIu64 " given later", l->owed);
	if (l->discarded)
		say(row, ", %" PRIu64 " discarded", l->discarded);
}

static void due(struct plan_row *row, uint64_t before_ns, uint64_t after_ns)
{
	row->has_due = before_ns != VMT_NEVER && after_ns != VMT_NEVER;
	row->due_before_ns = before_ns;
	row->due_after_ns = after_ns;
}

/* A counter of which a guest reads `bits`. */
static void counter_row(struct plan_row *row, const struct plan *p, uint32_t clock, bool used,
			unsigned bits, uint64_t hz)
{
	const uint64_t round_ns =
		bits < 64 ? vmt_ns_muldiv_floor(UINT64_C(1) << bits, VMT_NS_PER_S, hz) : 0;

	row->has_limit = p->has_policy;
	row->limit_ns = limit_of(clock, &p->ask, 0, NULL);
	row->fails = used && beyond(p, row->limit_ns);
	if (p->frozen_ns)
		say(row, "stands where it stood");
	else if (!round_ns || !beyond(p, row->limit_ns))
		say(row, p->gap_ns ? "goes on" : "goes on as ever");
	else
		say(row, "%u bits come round each %s", bits, ns_text(round_ns).s);
}

static void chip_rows(struct plan *p, const struct seen *s)
{
	const struct plan_sight *a = &s->before, *b = &s->after;
	const int64_t passed_ns = (int64_t)s->elapsed_ns;
	struct plan_row *row = p->rows + PLAN_ROW_KVMCLOCK;

	count(row, (int64_t)(b->kvmclock_ns - a->kvmclock_ns), passed_ns, p, 1);
	counter_row(row, p, VMT_GAP_KVMCLOCK, p->ask.source == PLAN_KVMCLOCK, 64, 0);
	if (p->has_policy)
		say(row, "; tells the guest that it was stopped");
	row = p->rows + PLAN_ROW_TSC;
	count(row, (int64_t)ns_of_ticks(a->tsc, b->tsc, PLAN_GUEST_KHZ * UINT64_C(1000)), passed_ns,
	      p, 1);
	counter_row(row, p, VMT_GAP_TSC, p->ask.source == PLAN_TSC, 64, 0);
	row = p->rows + PLAN_ROW_HPET;
	count(row, (int64_t)ns_of_ticks(a->hpet, b->hpet, HPET_HZ), passed_ns, p, VMT_HPET_TICK_NS);
	due(row, a->due_ns[VMT_SOURCE_HPET0], b->due_ns[VMT_SOURCE_HPET0]);
	counter_row(row, p, VMT_GAP_HPET, p->ask.source == PLAN_HPET, 32, HPET_HZ);
	say(row, "; ");
	mean_ticks(row, &p->ticks[2]);
	row = p->rows + PLAN_ROW_ACPI_PM;
	count(row, (int64_t)ns_of_ticks(a->pmtmr_tick, b->pmtmr_tick, VMT_PMTMR_HZ), passed_ns, p,
	      VMT_NS_PER_S / VMT_PMTMR_HZ + 1);
	counter_row(row, p, VMT_GAP_PMTMR, p->ask.source == PLAN_ACPI_PM, 24, VMT_PMTMR_HZ);
}

static void other_rows(struct plan *p, const struct seen *s)
{
	const struct plan_sight *a = &s->before, *b = &s->after;
	struct plan_row *row = p->rows + PLAN_ROW_PIT;

	count(row, (int64_t)ns_of_ticks(a->pit_tick, b->pit_tick, VMT_PIT_HZ),
	      (int64_t)s->elapsed_ns, p, VMT_NS_PER_S / VMT_PIT_HZ + 1);
	due(row, a->due_ns[VMT_SOURCE_PIT], b->due_ns[VMT_SOURCE_PIT]);
	mean_ticks(row, &p->ticks[0]);
	row->has_limit = p->has_policy && p->ask.source == PLAN_JIFFIES;
	row->limit_ns = p->limit_ns;
	row->fails = row->has_limit && beyond(p, p->limit_ns);
	row = p->rows + PLAN_ROW_RTC;
	count(row, difference(b->rtc_utc_ns, a->rtc_utc_ns), s->utc_ns, p, 1);
	row->expected_ns = 0; /* it shows UTC, whatever time does */
	due(row, a->due_ns[VMT_SOURCE_RTC], b->due_ns[VMT_SOURCE_RTC]);
	say(row, "shows the host's UTC; ");
	mean_ticks(row, &p->ticks[1]);
	row = p->rows + PLAN_ROW_LAPIC;
	due(row, a->lapic_due_ns, b->lapic_due_ns);
	if (b->lapic_due_ns)
		say(row, "a deadline of the TSC is still %s ahead", ns_text(b->lapic_due_ns).s);
	else
		say(row, "a deadline of the TSC %s ahead fires at once, once",
		    ns_text(a->lapic_due_ns).s);
	row = p->rows + PLAN_ROW_STEAL;
	row->counts = true;
	row->progress_ns = (int64_t)(b->steal_ns - a->steal_ns);
	row->quantum_ns = 1;
	say(row, p->has_policy ? "a stop is not steal" : "none");
}

static void explain(struct plan *p)
{
	static const char *const names[] = {[VMT_GAP_KVMCLOCK] = "kvm-clock",
					    [VMT_GAP_TSC] = "the TSC",
					    [VMT_GAP_HPET] = "the HPET",
					    [VMT_GAP_PMTMR] = "the ACPI PM timer"};
	const struct text gap = ns_text(p->gap_ns), limit = ns_text(p->auto_ns);

	if (!p->has_policy)
		snprintf(p->why, sizeof(p->why), "UTC is set, virtual time goes on");
	else if (p->ask.duration_ns < 0)
		snprintf(p->why, sizeof(p->why),
			 "the saved time is ahead of the host's, so it stands still by any policy");
	else if (p->ask.policy != VMT_POLICY_AUTO)
		snprintf(p->why, sizeof(p->why), "%s, as asked for", plan_policy_names[p->policy]);
	else if (p->policy == VMT_POLICY_CONTINUE)
		snprintf(p->why, sizeof(p->why),
			 "auto continues, as %s is within the %s that %s can show", gap.s, limit.s,
			 names[p->auto_clock]);
	else
		snprintf(p->why, sizeof(p->why),
			 "auto freezes, as %s is more than the %s that %s can show", gap.s, limit.s,
			 names[p->auto_clock]);
}

/* In the words of the machine, which says them when it has happened. */
static void warn(struct plan *p)
{
	const char *const option = p->ask.event == PLAN_RESTORE   ? "--on-restore"
				   : p->ask.event == PLAN_MIGRATE ? "--on-migrate"
								  : "--on-pause";
	const bool counts = p->ask.source == PLAN_JIFFIES;
	/* The one that goes on with a saved guest knows how long it may be, not because of what. */
	const bool saved = p->ask.event == PLAN_RESTORE || p->ask.event == PLAN_MIGRATE;
	char remedy[64];
	struct why text;

	if (counts && p->gap_ns <= VMT_TICKS_OWED * p->ticks[0].period_ns)
		snprintf(remedy, sizeof(remedy), "run with --ticks catchup, or %s freeze", option);
	else
		snprintf(remedy, sizeof(remedy), "run with %s %sfreeze", option,
			 counts ? "" : "auto or ");
	if (beyond(p, p->limit_ns))
		gaptext_set(p->gap_ns, p->limit_ns, saved ? 0 : p->limit_clock, remedy, &text);
	else if (p->rows[PLAN_ROW_MONOTONIC].fails) /* --ticks delay */
		why_set(&text, 0,
			"the guest gets the ticks that it missed at the usual rate, and stays late "
			"by them (%s)",
			remedy);
	else
		return;
	snprintf(p->warning, sizeof(p->warning), "%s", text.text);
}

static void ledgers(struct plan *p, const struct plan_guest *g, const struct plan_sight *before)
{
	static const struct {
		const char *name;
		uint32_t source;
	} sources[PLAN_TICKS] = {
		{"pit", VMT_SOURCE_PIT}, {"rtc", VMT_SOURCE_RTC}, {"hpet0", VMT_SOURCE_HPET0}};

	for (int i = 0; i < PLAN_TICKS; i++) {
		struct vmt_ledger now;

		vmt_board_ledger(&g->board, sources[i].source, &now);
		p->ticks[i] = (struct plan_ticks){
			.source = sources[i].name,
			.period_ns = g->board.ticks[sources[i].source].period_ns,
			.ledger = fallen_due(&before->ticks[sources[i].source], &now),
		};
	}
}

int plan_make(const struct plan_ask *ask, struct plan *ret_plan)
{
	struct plan p = {.ask = *ask, .has_policy = ask->event != PLAN_HOST_STEP};
	struct vmt_change change = {0};
	struct plan_guest g;
	struct seen s = {0};
	uint64_t tick_ns;

	plan_guest_boot(&g, ask->ticks);
	s.before = plan_guest_look(&g);
	tick_ns = plan_guest_tick_ns(&g);
	p.auto_ns = limit_of(known_clocks(ask->source), ask, tick_ns, &p.auto_clock);
	p.limit_ns = limit_of(used_clock(ask->source), ask, tick_ns, &p.limit_clock);
	if (plan_guest_meet(&g, ask, p.auto_ns, &change, &p.bound_ns) < 0)
		return -ERANGE;
	s.after = plan_guest_look(&g);
	p.policy = change.policy;
	p.gap_ns = change.gap_ns;
	s.utc_ns = difference(s.after.host_utc_ns, s.before.host_utc_ns);
	s.elapsed_ns = p.gap_ns;
	s.monotonic_ns = ask->event == PLAN_SUSPEND ? 0 : (int64_t)p.gap_ns;
	p.frozen_ns = (int64_t)(s.elapsed_ns - (s.after.now - s.before.now));
	plan_guest_take(&g);
	ledgers(&p, &g, &s.before);
	see_by_source(&s, &g, &p);
	for (int i = 0; i < PLAN_ROWS; i++)
		p.rows[i].name = (enum plan_name)i;
	for (int i = PLAN_ROW_REALTIME; i <= PLAN_ROW_BOOTTIME; i++) {
		guest_clock(&p.rows[i], &p, &s);
		mean_guest_clock(&p.rows[i], &p, &s);
	}
	chip_rows(&p, &s);
	other_rows(&p, &s);
	explain(&p);
	warn(&p);
	p.fails = plan_fails(&p) != 0;
	*ret_plan = p;
	return 0;
}

unsigned plan_fails(const struct plan *plan)
{
	unsigned n = 0;

	for (int i = 0; i < PLAN_ROWS; i++)
		n += plan->rows[i].fails;
	return n;
}
