/* SPDX-License-Identifier: Apache-2.0 */
/* test_ticks_judge.h - from the probe's count of a timer's interrupts and the VMM's ledger to
 * figures and a verdict: pure calculation. */
#ifndef CMD_TEST_TICKS_JUDGE_H
#define CMD_TEST_TICKS_JUDGE_H

#include <stdbool.h>
#include <stdint.h>

#include "cmd/test_judge.h"

enum ticks_source { TICKS_PIT, TICKS_RTC, TICKS_SOURCES };

/* As JSON and query-vmtime call them. */
extern const char *const ticks_source_names[TICKS_SOURCES];

/* One source at one rate: its tick lasts `periods` / `clock_hz` seconds. */
struct ticks_plan {
	enum ticks_source source;
	uint32_t setting; /* PIT: the count, RTC: the rate's bits of register A */
	uint32_t clock_hz, periods;
	bool busy;
};

/* All that are run, in this order. */
extern const struct ticks_plan ticks_plans[];
extern const unsigned ticks_plan_count;

/* What the probe says, in counts of its TSC; each bracket is [x, x + x_width]. */
struct ticks_tally {
	enum ticks_source source;
	bool busy;
	uint64_t start, start_width, stop, stop_width;
	uint64_t count;  /* of interrupts */
	uint64_t stored; /* of them have a lateness */
	uint64_t p50, p99, most;
};

/* As query-vmtime shows it. */
struct ticks_ledger {
	bool known;
	char policy[16];
	uint64_t due, delivered, merged, discarded, owed;
};

struct ticks_row {
	enum ticks_source source;
	bool busy, has_ledger, has_late;
	char policy[16];
	uint64_t rate_hz; /* to the nearest */
	uint64_t due;     /* without a ledger: rate times duration */
	uint64_t guest_count;
	uint64_t delivered, merged, discarded, owed;
	uint64_t late_p50_ns, late_p99_ns, late_max_ns; /* rounded up */
	uint64_t
		bracket_ns; /* half of the bracket of the start; 0: the phase was found otherwise */
	enum judge_verdict verdict;
	char reason[160];
};

/* Counts of a TSC of `tsc_hz` between two ticks, in units of 2^-32, rounded down.  tsc_hz is at
 * most 2^40. */
void ticks_period(const struct ticks_plan *plan, uint64_t tsc_hz, uint64_t *ret_counts,
		  uint32_t *ret_part);

/* The ledgers are those before the start and after the stop.  What was owed before counts as due.
 * It fails when the ledger does not balance, when what it calls delivered and what arrived differ
 * by more than 1, when no interrupt arrived, or when what it calls due is not what the guest's TSC
 * makes of the rate, give or take one tick at each end and what fits into the brackets.  Without a
 * ledger nothing can be judged. */
void ticks_judge(const struct ticks_plan *plan, uint64_t tsc_hz, const struct ticks_tally *tally,
		 const struct ticks_ledger *before, const struct ticks_ledger *after,
		 struct ticks_row *ret_row);

#endif
