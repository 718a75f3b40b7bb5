/* SPDX-License-Identifier: Apache-2.0 */
/* test_ticks_judge.h - from the probe's count of a timer's interrupts and the VMM's ledger to
 * figures and a verdict: pure calculation. */
#ifndef CMD_TEST_TICKS_JUDGE_H
#define CMD_TEST_TICKS_JUDGE_H

#include <stdbool.h>
#include <stdint.h>

#include "cmd/test_judge.h"

/* The HPET's timer 0 on an input of its own, and in place of the PIT; KVM's own PIT. */
enum ticks_source {
	TICKS_PIT,
	TICKS_RTC,
	TICKS_HPET,
	TICKS_HPET_LEGACY,
	TICKS_KERNEL_PIT,
	TICKS_SOURCES
};

enum { TICKS_LIMIT = 1 }; /* of the difference of counts, unless another is asked for */

/* By so much merged and discarded together may fall from one look at a ledger to the next. */
enum { TICKS_TAKEN_BACK = 2 };

/* As JSON calls them; as query-vmtime does, NULL: it does not. */
extern const char *const ticks_source_names[TICKS_SOURCES];
extern const char *const ticks_ledger_names[TICKS_SOURCES];

/* As the probe's order and answer call them. */
extern const char ticks_source_letters[TICKS_SOURCES];

/* One source at one rate: its tick lasts `periods` / `clock_hz` seconds. */
struct ticks_plan {
	enum ticks_source source;
	uint32_t setting; /* PIT: the count, RTC: the rate's bits of register A, HPET: its counts */
	uint64_t clock_hz, periods;
	bool busy;
	bool is_figure; /* the rate that policies and peers are compared at */
};

/* All that are run, in this order. */
extern const struct ticks_plan ticks_plans[];
extern const unsigned ticks_plan_count;

/* The plan on a machine whose HPET counts once in so many femtoseconds (0: it has none), where a
 * rate becomes the nearest that is possible.  False: not there. */
bool ticks_plan_fit(const struct ticks_plan *plan, uint32_t hpet_fs, struct ticks_plan *ret_plan);

/* What the probe says, in counts of its TSC; each bracket is [x, x + x_width]. */
struct ticks_tally {
	enum ticks_source source;
	bool busy;
	uint64_t start, start_width, stop, stop_width;
	uint64_t count;  /* of interrupts */
	uint64_t stored; /* ticks whose lateness is known, those that were lost too */
	uint64_t p50, p99, most;
};

/* As query-vmtime shows it. */
struct ticks_ledger {
	bool known;
	char policy[16];
	uint64_t due, delivered, merged, discarded, owed;
};

/* One run of one plan. */
struct ticks_input {
	const struct ticks_plan *plan; /* that fits the machine */
	uint64_t tsc_hz;               /* at most 2^40 */
	struct ticks_tally tally;
	/* Before the start; after RUN, while the source goes on; after the stop. */
	struct ticks_ledger before, running, after;
	uint64_t cpu_ns, cpu_count; /* the VMM's time for so many interrupts; 0: not known */
	uint64_t limit;             /* of the difference of counts */
};

struct ticks_row {
	enum ticks_source source;
	bool busy, is_figure, has_ledger, has_late, has_cpu;
	char policy[16];
	uint64_t rate_hz; /* to the nearest */
	uint64_t due;     /* without a ledger: rate times duration */
	uint64_t guest_count;
	uint64_t delivered, merged, discarded, owed;
	uint64_t late_p50_ns, late_p99_ns, late_max_ns; /* rounded up */
	/* Half of the bracket of the start; 0: the phase was found otherwise. */
	uint64_t bracket_ns;
	uint64_t cpu_ns; /* per interrupt that arrived */
	enum judge_verdict verdict;
	char reason[160];
};

/* Counts of a TSC of `tsc_hz` between two ticks, in units of 2^-32, rounded down.  tsc_hz is at
 * most 2^40. */
void ticks_period(const struct ticks_plan *plan, uint64_t tsc_hz, uint64_t *ret_counts,
		  uint32_t *ret_part);

/* What was owed before counts as due, and so does what was given up before and delivered after all.
 * It fails when the ledger does not balance or went back, when what it calls delivered and what
 * arrived differ by more than the limit, when no interrupt arrived, when what it calls due is not
 * what the guest's TSC makes of the rate, give or take one tick at each end and what fits into the
 * brackets, or when a tick that the policy does not give up was given up: none is merged but by
 * merge; until the source was stopped, none is discarded by merge, and none by catchup and delay
 * that owe less than VMT_TICKS_OWED.  Without a ledger nothing can be judged. */
void ticks_judge(const struct ticks_input *input, struct ticks_row *ret_row);

#endif
