/* SPDX-License-Identifier: Apache-2.0 */
/* test_ticks_judge.c - from the probe's count of a timer's interrupts and the VMM's ledger to
 * figures and a verdict. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "cmd/test_ticks_judge.h"

__extension__ typedef unsigned __int128 u128;

enum { PIT_HZ = 1193182, RTC_1024_HZ = 6, LIMIT = 1, ENDS = 2 };

static const uint64_t second_ns = 1000000000;

const char *const ticks_source_names[TICKS_SOURCES] = {"pit", "rtc"};

#define PIT(count)                                    \
	{TICKS_PIT, count, PIT_HZ, count, false},     \
	{                                             \
		TICKS_PIT, count, PIT_HZ, count, true \
	}

const struct ticks_plan ticks_plans[] = {
	PIT(11932), /* 100 Hz */
	PIT(1193),  /* 1 kHz */
	PIT(149),   /* 8 kHz */
	{TICKS_RTC, RTC_1024_HZ, 1024, 1, false},
	{TICKS_RTC, RTC_1024_HZ, 1024, 1, true},
};
const unsigned ticks_plan_count = sizeof(ticks_plans) / sizeof(ticks_plans[0]);

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

static void judge_ledger(struct ticks_row *row, uint64_t expected, uint64_t allowed)
{
	if (row->due != row->delivered + row->merged + row->discarded + row->owed)
		fail(row,
		     "%" PRIu64 " were due, but delivered, merged, discarded and owed are %" PRIu64,
		     row->due, row->delivered + row->merged + row->discarded + row->owed);
	else if (row->guest_count == 0)
		fail(row, "no interrupt arrived");
	else if (distance(row->delivered, row->guest_count) > LIMIT)
		fail(row, "%" PRIu64 " were delivered, but %" PRIu64 " arrived", row->delivered,
		     row->guest_count);
	else if (distance(row->due, expected) > allowed)
		fail(row,
		     "%" PRIu64 " were due, but the guest's TSC makes it %" PRIu64 " +- %" PRIu64,
		     row->due, expected, allowed);
}

void ticks_judge(const struct ticks_plan *p, uint64_t tsc_hz, const struct ticks_tally *t,
		 const struct ticks_ledger *before, const struct ticks_ledger *after,
		 struct ticks_row *ret_row)
{
	uint64_t widths = t->start_width + t->stop_width;
	uint64_t lasted = t->stop + t->stop_width / 2 - t->start;
	struct ticks_row *row = ret_row;
	uint64_t expected, period;
	uint32_t part;

	lasted -= lasted < t->start_width / 2 ? lasted : t->start_width / 2;
	expected = ticks_in(p, lasted, tsc_hz);
	*row = (struct ticks_row){.source = p->source,
				  .busy = p->busy,
				  .rate_hz = (p->clock_hz + p->periods / 2) / p->periods,
				  .due = expected,
				  .guest_count = t->count,
				  .has_late = t->stored > 0,
				  .late_p50_ns = to_ns(t->p50, tsc_hz),
				  .late_p99_ns = to_ns(t->p99, tsc_hz),
				  .late_max_ns = to_ns(t->most, tsc_hz),
				  .verdict = JUDGE_PASS};
	ticks_period(p, tsc_hz, &period, &part);
	if (p->source == TICKS_PIT && t->start_width <= period / 4) /* as the probe decides */
		row->bracket_ns = to_ns((t->start_width + 1) / 2, tsc_hz);
	row->has_ledger = before->known && after->known;
	if (!row->has_ledger) {
		row->verdict = JUDGE_SKIP;
		snprintf(row->reason, sizeof(row->reason), "there is no ledger of it");
		return;
	}
	memcpy(row->policy, after->policy, sizeof(row->policy));
	row->due = after->due - before->due + before->owed;
	row->delivered = after->delivered - before->delivered;
	row->merged = after->merged - before->merged;
	row->discarded = after->discarded - before->discarded;
	row->owed = after->owed;
	if (after->due < before->due || after->delivered < before->delivered ||
	    after->merged < before->merged || after->discarded < before->discarded) {
		row->has_ledger = false; /* what went back is no number of ticks */
		row->due = expected;
		fail(row, "the ledger went back");
		return;
	}
	judge_ledger(row, expected, ENDS + ticks_in(p, widths, tsc_hz) + (widths > 0));
}
