/* SPDX-License-Identifier: Apache-2.0 */
/* test_judge.h - from readings of a guest's clocks to figures and verdicts: pure calculation.
 *
 * Differences are guest minus host, rates positive when the guest is fast, bounds half widths. */
#ifndef CMD_TEST_JUDGE_H
#define CMD_TEST_JUDGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* One reading against the host's clocks at the same instant. */
struct judge_point {
	int64_t host_ns;           /* the host's CLOCK_MONOTONIC then */
	int64_t realtime_error_ns; /* guest's CLOCK_REALTIME minus the host's */
	uint64_t realtime_bound_ns;
	int64_t monotonic_error_ns; /* the same of CLOCK_MONOTONIC: only its change has meaning */
	uint64_t monotonic_bound_ns;
	uint64_t backward_steps; /* of any clock, on any CPU, since the guest started */
};

/* The members of a result in JSON; judge_figure_names has their names. */
enum judge_figure {
	JUDGE_REALTIME_ERROR,
	JUDGE_REALTIME_CHANGE,
	JUDGE_REALTIME_EXPECTED,
	JUDGE_MONOTONIC_GAP,
	JUDGE_MONOTONIC_EXPECTED,
	JUDGE_REALTIME_RESIDUAL,
	JUDGE_MONOTONIC_RESIDUAL,
	JUDGE_FROZEN,
	JUDGE_FREQUENCY_ERROR,
	JUDGE_BACKWARD_STEPS,
	JUDGE_MISSING,
	JUDGE_DAMAGED,
	JUDGE_OWED,
	JUDGE_CLONE,
	JUDGE_PAUSES,
	JUDGE_WORST_PAUSE,
	JUDGE_MIGRATIONS,
	JUDGE_WORST_MIGRATION,
	JUDGE_CHECKS,
	JUDGE_TICKS_DUE,
	JUDGE_TICKS_MISSING,
	JUDGE_STEAL,
	JUDGE_RUN_DELAY,
	JUDGE_STEAL_RESIDUAL,
	JUDGE_BRACKET,
	JUDGE_DURATION,
	JUDGE_DOWNTIME,
	JUDGE_DOWNTIME_MAX,
	JUDGE_DOWNTIME_SAID,
	JUDGE_TOTAL,
	JUDGE_TOTAL_MAX,
	JUDGE_LIMIT,
	JUDGE_FIGURES,
};

extern const char *const judge_figure_names[JUDGE_FIGURES];

enum judge_verdict { JUDGE_PASS, JUDGE_FAIL, JUDGE_SKIP };

extern const char *const judge_verdict_names[3];

struct judge_row {
	int64_t value[JUDGE_FIGURES];
	bool known[JUDGE_FIGURES]; /* what was not measured is not shown, never as 0 */
	enum judge_verdict verdict;
	enum judge_figure judged; /* the figure that the limit is for; JUDGE_FIGURES: none */
	char reason[256];         /* why it failed or was skipped; "" when it passed */
};

/* What can be asked of a clock source: kvm-clock, whose rate the hypervisor sets, has to stay where
 * it is; of the others the guest's kernel knows the rate only roughly, so they have to stay on a
 * straight line, and that line near the truth. */
struct judge_clock {
	bool on_a_line;
	bool needs_tick;            /* its limits are made of the guest's jiffy */
	uint64_t limit_ns;          /* from the line; 0: the scenario's own limit */
	unsigned brackets;          /* and so many times the bracket on top */
	uint64_t frequency_ppb;     /* limit of the line's slope, before what the ends make */
	uint64_t frequency_ends_ns; /* what each end adds to that limit beside its bracket */
};

/* `name` as Linux spells it.  A read that costs an exit has its bracket in the limit; `tick_ns` is
 * the guest's jiffy.  False: no such clock source. */
bool judge_find_clock(const char *name, uint64_t tsc_hz, uint64_t tick_ns,
		      struct judge_clock *ret_clock);

/* True also for the two names that one clock has early and late: tsc-early and tsc, refined-jiffies
 * and jiffies. */
bool judge_same_clock(const char *a, const char *b);

/* Fails what exceeds limit + bracket for certain, skips what cannot be told as the bracket is wider
 * than the limit, else passes. */
enum judge_verdict judge_compare(int64_t value_ns, uint64_t bracket_ns, uint64_t limit_ns);

/* "boot": the first reading of process 1, `since_start_ns` after the machine was started. */
void judge_boot(const struct judge_point *first, uint64_t since_start_ns, uint64_t limit_ns,
		struct judge_row *ret_row);

enum { JUDGE_END_NS = 1000000000 };

/* "steady" of a guest that counts ticks, after judge_steady(): so many were owed to it when it was
 * asked for in the end.  One may have fallen due just then; more are a fault. */
void judge_owed(uint64_t ticks, struct judge_row *row);

/* "steady": `count` readings in order of time.  `limit_ns` overrides the clock's own limit where it
 * is not 0; `default_limit_ns` is the scenario's.  Each end is the tightest reading of its
 * JUDGE_END_NS, so readings over 2 * JUDGE_END_NS + D judge at least D.  For the line, readings
 * whose bounds are more than twice the median were disturbed and do not count; of both clocks the
 * residual that is nearest to failing is judged.  Its bracket is that of the reading and, where the
 * limit is not itself made of brackets, what all readings' brackets make of the line there. */
void judge_steady(const struct judge_point *points, size_t count, const struct judge_clock *clock,
		  uint64_t limit_ns, uint64_t default_limit_ns, struct judge_row *ret_row);

/* What something that happened did to the guest's clocks: the change of each from `before`, whose
 * last JUDGE_END_NS have one end, to `after`, whose first have the other, less what the line
 * through `before`, of 10 s or more, makes of the time between.  Judged is the residual that is
 * nearest to failing, by the limits of judge_steady; a step back fails as well. */
void judge_event(const struct judge_point *before, size_t before_count,
		 const struct judge_point *after, size_t after_count,
		 const struct judge_clock *clock, uint64_t limit_ns, uint64_t default_limit_ns,
		 struct judge_row *ret_row);

/* What is promised for something that happens. */
struct judge_promise {
	int64_t frozen_ns;   /* both clocks stand still for so long; 0: they go on */
	int64_t slept_ns;    /* the host's CLOCK_MONOTONIC stood still for so long, and no other */
	bool monotonic_only; /* CLOCK_REALTIME is shown, and not judged */
};

/* The same of what comes with a promise. */
void judge_promised(const struct judge_point *before, size_t before_count,
		    const struct judge_point *after, size_t after_count,
		    const struct judge_clock *clock, const struct judge_promise *promise,
		    uint64_t limit_ns, uint64_t default_limit_ns, struct judge_row *ret_row);

/* One CPU at one end: its steal as the guest showed it, in whole ticks, and between what its
 * thread's run delay was then. */
struct judge_steal_end {
	bool known;
	uint64_t steal_ns, delay_lo_ns, delay_hi_ns;
};

/* "steal": for each of `cpus` CPUs both ends.  The row tells of the one whose steal grew by what
 * differs most from what its thread waited; two readings in whole ticks differ by less than one
 * from the truth, which is why the limit is one. */
void judge_steal(const struct judge_steal_end *before, const struct judge_steal_end *after,
		 unsigned cpus, uint64_t limit_ns, struct judge_row *ret_row);

/* A result that could not be had. */
void judge_skip(struct judge_row *ret_row, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

#endif
