/* SPDX-License-Identifier: Apache-2.0 */
/* test_ticks_judge.c - from the probe's count of a timer's interrupts and the VMM's ledger to
 * figures and a verdict. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <vmtime/board.h>

#include "cmd/test_ticks_judge.h"

__extension__ typedef unsigned __int128 u128;

enum { PIT_HZ = 1193182, HPET_FS_MAX = 100000000, ENDS = 2 };

static const uint64_t second_ns = 1000000000, second_fs = 1000000000000000;

const char *const ticks_source_names[TICKS_SOURCES] = {"pit", "rtc", "hpet0", "hpet0-legacy",
						       "kernel-pit"};
const char *const ticks_ledger_names[TICKS_SOURCES] = {"pit", "rtc", "hpet0", "hpet0", NULL};
const char ticks_source_letters[TICKS_SOURCES] = {'p', 'r', 'h', 'l', 'p'};

/* Each idle, then busy. */
#define BOTH(source, setting, clock_hz, periods, is_figure)         \
	{source, setting, clock_hz, periods, false, is_figure},     \
	{                                                           \
		source, setting, clock_hz, periods, true, is_figure \
	}
#define PIT(count, is_figure) BOTH(TICKS_PIT, count, PIT_HZ, count, is_figure)
#define RTC(rate, hz) BOTH(TICKS_RTC, rate, hz, 1, false)

const struct ticks_plan ticks_plans[] = {
	PIT(65536, false), /* 18.2 Hz */
	PIT(11932, false), /* 100 Hz */
	PIT(1193, true),   /* 1 kHz */
	PIT(149, false),   /* 8 kHz */
	RTC(15, 2),
	RTC(6, 1024),
	RTC(3, 8192),
	BOTH(TICKS_HPET, 0, 100, 1, false),
	BOTH(TICKS_HPET, 0, 1000, 1, false),
	BOTH(TICKS_HPET, 0, 8000, 1, false),
	BOTH(TICKS_HPET_LEGACY, 0, 1000, 1, false),
};
const unsigned ticks_plan_count = sizeof(ticks_plans) / sizeof(ticks_plans[0]);

bool ticks_plan_fit(const struct ticks_plan *plan, uint32_t hpet_fs, struct ticks_plan *ret_plan)
{
	struct ticks_plan *p = ret_plan;
	uint64_t period_fs = second_fs / plan->clock_hz * plan->periods;

	*p = *plan;
	if (p->source != TICKS_HPET && p->source != TICKS_HPET_LEGACY)
		return true;
	if (!hpet_fs || hpet_fs > HPET_FS_MAX)
		return false;
	p->setting = (uint32_t)((period_fs + hpet_fs / 2) / hpet_fs);
	p->clock_hz = second_fs;
	p->periods = (uint64_t)p->setting * hpet_fs;
	return true;
}

void ticks_period(const struct ticks_plan *p, uint64_t tsc_hz, uint64_t *ret_counts,
		  uint32_t *ret_part)
{
	u128 period = ((u128)tsc_hz << 32) * p->periods / p->clock_hz;

	*ret_counts = (uint64_t)(period >> 32);
	*ret_part = (uint32_t)period;
}

static uint64_t to_ns(uint64_t counts, uint64_t tsc_hz)
{
	return (uint64_t)(((u128)counts * second_ns + tsc_hz - 1) / tsc_hz);
}

/* Whole periods in so many counts. */
static uint64_t ticks_in(const struct ticks_plan *p, uint64_t counts, uint64_t tsc_hz)
{
	return (uint64_t)((u128)counts * p->clock_hz / ((u128)tsc_hz * p->periods));
}

static uint64_t distance(uint64_t a, uint64_t b)
{
	return a > b ? a - b : b - a;
}

static void fail(struct ticks_row *row, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

static void fail(struct ticks_row *row, const char *format, ...)
{
	va_list args;

	row->verdict = JUDGE_FAIL;
	va_start(args, format);
	vsnprintf(row->reason, sizeof(row->reason), format, args);
	va_end(args);
}

static bool is_policy(const struct ticks_row *row, const char *name)
{
	return strcmp(row->policy, name) == 0;
}

static void judge_ledger(struct ticks_row *row, uint64_t expected, uint64_t allowed, uint64_t limit)
{
	if (row->due != row->delivered + row->merged + row->discarded + row->owed)
		fail(row,
		     "%" PRIu64 " were due, but delivered, merged, discarded and owed are %" PRIu64,
		     row->due, row->delivered + row->merged + row->discarded + row->owed);
	else if (row->guest_count == 0)
		fail(row, "no interrupt arrived");
	else if (distance(row->delivered, row->guest_count) > limit)
		fail(row, "%" PRIu64 " were delivered, but %" PRIu64 " arrived", row->delivered,
		     row->guest_count);
	else if (distance(row->due, expected) > allowed)
		fail(row,
		     "%" PRIu64 " were due, but the guest's TSC makes it %" PRIu64 " +- %" PRIu64,
		     row->due, expected, allowed);
}

static uint64_t more(uint64_t from, uint64_t to)
{
	return to > from ? to - from : 0;
}

/* When the source is stopped, what is owed is given up, whatever the policy. */
static void judge_policy(struct ticks_row *row, const struct ticks_input *in)
{
	uint64_t discarded = more(in->before.discarded, in->running.discarded);
	bool keeps = is_policy(row, "catchup") || is_policy(row, "delay");

	if (row->merged && !is_policy(row, "merge"))
		fail(row, "%" PRIu64 " were merged, but the policy is %s", row->merged,
		     row->policy);
	else if (discarded &&
		 (is_policy(row, "merge") || (keeps && in->running.owed < VMT_TICKS_OWED)))
		fail(row,
		     "%" PRIu64 " were discarded while %" PRIu64 " were owed, but the policy is %s",
		     discarded, in->running.owed, row->policy);
}

/* Ticks that were given up and acknowledged after all: <vmtime/board.h>. */
static uint64_t taken_back(const struct ticks_ledger *from, const struct ticks_ledger *to)
{
	return more(to->merged, from->merged) + more(to->discarded, from->discarded);
}

static bool went_back(const struct ticks_ledger *from, const struct ticks_ledger *to)
{
	return to->due < from->due || to->delivered < from->delivered ||
	       taken_back(from, to) > TICKS_TAKEN_BACK;
}

static void take_ledger(struct ticks_row *row, const struct ticks_input *in, uint64_t expected,
			uint64_t allowed)
{
	const struct ticks_ledger *before = &in->before, *after = &in->after;

	memcpy(row->policy, after->policy, sizeof(row->policy));
	if (went_back(before, &in->running) || went_back(&in->running, after)) {
		row->has_ledger = false; /* what went back is no number of ticks */
		fail(row, "the ledger went back");
		return;
	}
	row->due = after->due - before->due + before->owed + taken_back(before, after);
	row->delivered = after->delivered - before->delivered;
	row->merged = more(before->merged, after->merged);
	row->discarded = more(before->discarded, after->discarded);
	row->owed = after->owed;
	judge_ledger(row, expected, allowed, in->limit);
	if (row->verdict == JUDGE_PASS)
		judge_policy(row, in);
}

static void take_tally(struct ticks_row *row, const struct ticks_input *in, uint64_t expected)
{
	const struct ticks_plan *p = in->plan;
	const struct ticks_tally *t = &in->tally;
	uint64_t period;
	uint32_t part;

	*row = (struct ticks_row){.source = p->source,
				  .busy = p->busy,
				  .is_figure = p->is_figure,
				  .rate_hz = (p->clock_hz + p->periods / 2) / p->periods,
				  .due = expected,
				  .guest_count = t->count,
				  .has_late = t->stored > 0,
				  .late_p50_ns = to_ns(t->p50, in->tsc_hz),
				  .late_p99_ns = to_ns(t->p99, in->tsc_hz),
				  .late_max_ns = to_ns(t->most, in->tsc_hz),
				  .has_cpu = in->cpu_ns && in->cpu_count,
				  .verdict = JUDGE_PASS};
	if (row->has_cpu)
		row->cpu_ns = in->cpu_ns / in->cpu_count;
	ticks_period(p, in->tsc_hz, &period, &part);
	if (p->source != TICKS_RTC && t->start_width <= period / 4) /* as the probe decides */
		row->bracket_ns = to_ns((t->start_width + 1) / 2, in->tsc_hz);
}

void ticks_judge(const struct ticks_input *in, struct ticks_row *ret_row)
{
	const struct ticks_plan *p = in->plan;
	const struct ticks_tally *t = &in->tally;
	uint64_t widths = t->start_width + t->stop_width;
	uint64_t lasted = t->stop + t->stop_width / 2 - t->start;
	struct ticks_row *row = ret_row;
	uint64_t expected;

	lasted -= lasted < t->start_width / 2 ? lasted : t->start_width / 2;
	expected = ticks_in(p, lasted, in->tsc_hz);
	take_tally(row, in, expected);
	row->has_ledger = in->before.known && in->running.known && in->after.known;
	if (row->has_ledger) {
		take_ledger(row, in, expected,
			    ENDS + ticks_in(p, widths, in->tsc_hz) + (widths > 0));
	} else {
		row->verdict = JUDGE_SKIP;
		snprintf(row->reason, sizeof(row->reason), "there is no ledger of it");
	}
}
