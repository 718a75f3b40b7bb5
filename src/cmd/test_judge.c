/* SPDX-License-Identifier: Apache-2.0 */
/* test_judge.c - from readings of a guest's clocks to figures and verdicts: pure calculation. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmd/cmd.h"
#include "cmd/test_judge.h"

__extension__ typedef __int128 i128;

enum { BILLION = 1000000000 };

/* A slope from less than this says more about the brackets than about the clock. */
static const int64_t least_fit_ns = 10000000000;

const char *const judge_figure_names[JUDGE_FIGURES] = {
	[JUDGE_REALTIME_ERROR] = "realtime_error_ns",
	[JUDGE_REALTIME_CHANGE] = "realtime_change_ns",
	[JUDGE_REALTIME_EXPECTED] = "realtime_expected_ns",
	[JUDGE_MONOTONIC_GAP] = "monotonic_gap_ns",
	[JUDGE_MONOTONIC_EXPECTED] = "monotonic_expected_ns",
	[JUDGE_REALTIME_RESIDUAL] = "realtime_residual_ns",
	[JUDGE_MONOTONIC_RESIDUAL] = "monotonic_residual_ns",
	[JUDGE_FROZEN] = "frozen_ns",
	[JUDGE_FREQUENCY_ERROR] = "frequency_error_ppb",
	[JUDGE_BACKWARD_STEPS] = "backward_steps",
	[JUDGE_MISSING] = "missing_readings",
	[JUDGE_DAMAGED] = "damaged_lines",
	[JUDGE_OWED] = "owed_ticks",
	[JUDGE_CLONE] = "clone",
	[JUDGE_PAUSES] = "pauses",
	[JUDGE_WORST_PAUSE] = "worst_pause_ns",
	[JUDGE_MIGRATIONS] = "migrations",
	[JUDGE_WORST_MIGRATION] = "worst_migration_ns",
	[JUDGE_CHECKS] = "checks",
	[JUDGE_TICKS_DUE] = "ticks_due",
	[JUDGE_TICKS_MISSING] = "ticks_missing",
	[JUDGE_STEAL] = "steal_ns",
	[JUDGE_RUN_DELAY] = "run_delay_ns",
	[JUDGE_STEAL_RESIDUAL] = "steal_residual_ns",
	[JUDGE_BRACKET] = "bracket_ns",
	[JUDGE_DURATION] = "duration_ns",
	[JUDGE_DOWNTIME] = "downtime_ns",
	[JUDGE_DOWNTIME_MAX] = "downtime_max_ns",
	[JUDGE_DOWNTIME_SAID] = "downtime_said_ns",
	[JUDGE_TOTAL] = "total_ns",
	[JUDGE_TOTAL_MAX] = "total_max_ns",
	[JUDGE_LIMIT] = "limit_ns",
};

const char *const judge_verdict_names[3] = {"pass", "fail", "skip"};

static void set(struct judge_row *row, enum judge_figure figure, int64_t value)
{
	row->value[figure] = value;
	row->known[figure] = true;
}

void judge_skip(struct judge_row *ret_row, const char *format, ...)
{
	va_list args;

	memset(ret_row, 0, sizeof(*ret_row));
	ret_row->judged = JUDGE_FIGURES;
	ret_row->verdict = JUDGE_SKIP;
	va_start(args, format);
	vsnprintf(ret_row->reason, sizeof(ret_row->reason), format, args);
	va_end(args);
}

bool judge_find_clock(const char *name, uint64_t tsc_hz, uint64_t tick_ns,
		      struct judge_clock *ret_clock)
{
	/* The kernel knows the TSC in whole kHz: half of one is its due.  500 ppb are for its
	 * multiplier. */
	const uint64_t half_a_khz_ppb = tsc_hz ? 500ULL * BILLION / tsc_hz : 0;
	const struct {
		const char *name;
		struct judge_clock clock;
	} known[] = {
		{"kvm-clock", {.on_a_line = false}},
		{"tsc", {.on_a_line = true, .frequency_ppb = 500 + half_a_khz_ppb}},
		{"tsc-early", {.on_a_line = true, .frequency_ppb = 500 + half_a_khz_ppb}},
		/* A quantum of 100 ns is the coarsest HPET allowed; the PM timer's is 279.4 ns. */
		{"hpet", {.on_a_line = true, .limit_ns = 100, .brackets = 2, .frequency_ppb = 100}},
		{"acpi_pm",
		 {.on_a_line = true, .limit_ns = 280, .brackets = 2, .frequency_ppb = 100}},
		/* The PIT's divisor for a jiffy is a whole number: some 60 ppm. */
		{"jiffies",
		 {.on_a_line = true,
		  .needs_tick = true,
		  .limit_ns = 2 * tick_ns,
		  .frequency_ppb = 100000,
		  .frequency_ends_ns = tick_ns}},
		{"refined-jiffies",
		 {.on_a_line = true,
		  .needs_tick = true,
		  .limit_ns = 2 * tick_ns,
		  .frequency_ppb = 100000,
		  .frequency_ends_ns = tick_ns}},
	};

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		if (strcmp(known[i].name, name) != 0)
			continue;
		*ret_clock = known[i].clock;
		return true;
	}
	return false;
}

/* The name that the two of a pair share. */
static const char *common_name(const char *name)
{
	if (strcmp(name, "tsc-early") == 0)
		return "tsc";
	return strcmp(name, "refined-jiffies") == 0 ? "jiffies" : name;
}

bool judge_same_clock(const char *a, const char *b)
{
	return strcmp(common_name(a), common_name(b)) == 0;
}

static uint64_t magnitude(int64_t value)
{
	return value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
}

enum judge_verdict judge_compare(int64_t value_ns, uint64_t bracket_ns, uint64_t limit_ns)
{
	uint64_t sure;

	if (__builtin_add_overflow(limit_ns, bracket_ns, &sure))
		sure = UINT64_MAX;
	if (magnitude(value_ns) > sure)
		return JUDGE_FAIL;
	return bracket_ns > limit_ns ? JUDGE_SKIP : JUDGE_PASS;
}

/* The verdict over one figure with its reason in words. */
static void conclude(struct judge_row *row, enum judge_figure figure, uint64_t bracket_ns,
		     uint64_t limit_ns)
{
	char value[32], limit[32], bracket[32];

	row->judged = figure;
	set(row, JUDGE_BRACKET, (int64_t)bracket_ns);
	set(row, JUDGE_LIMIT, (int64_t)limit_ns);
	row->verdict = judge_compare(row->value[figure], bracket_ns, limit_ns);
	cmd_format_ns(value, sizeof(value), row->value[figure], true);
	cmd_format_ns(limit, sizeof(limit), (int64_t)limit_ns, false);
	cmd_format_ns(bracket, sizeof(bracket), (int64_t)bracket_ns, false);
	if (row->verdict == JUDGE_FAIL)
		snprintf(row->reason, sizeof(row->reason), "%s is %s, allowed are %s +- %s",
			 judge_figure_names[figure], value, limit, bracket);
	else if (row->verdict == JUDGE_SKIP)
		snprintf(row->reason, sizeof(row->reason),
			 "the bracket of %s is wider than the limit of %s", bracket, limit);
}

void judge_boot(const struct judge_point *first, uint64_t since_start_ns, uint64_t limit_ns,
		struct judge_row *ret_row)
{
	memset(ret_row, 0, sizeof(*ret_row));
	set(ret_row, JUDGE_REALTIME_ERROR, first->realtime_error_ns);
	set(ret_row, JUDGE_BACKWARD_STEPS, (int64_t)first->backward_steps);
	set(ret_row, JUDGE_DURATION, (int64_t)since_start_ns);
	conclude(ret_row, JUDGE_REALTIME_ERROR, first->realtime_bound_ns, limit_ns);
}

static int by_size(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

/* The points that were not disturbed, in new memory; their number, 0 also without memory. */
static size_t choose(const struct judge_point *points, size_t count,
		     struct judge_point **ret_chosen)
{
	struct judge_point *chosen = calloc(count + 1, sizeof(*chosen));
	uint64_t *bounds = calloc(count + 1, sizeof(*bounds)), median;
	size_t n = 0;

	for (size_t i = 0; bounds && i < count; i++)
		bounds[i] = points[i].realtime_bound_ns;
	if (bounds && chosen) {
		qsort(bounds, count, sizeof(*bounds), by_size);
		median = bounds[count / 2];
		for (size_t i = 0; i < count; i++)
			if (points[i].realtime_bound_ns / 2 <= median &&
			    points[i].monotonic_bound_ns / 2 <= median)
				chosen[n++] = points[i];
	}
	free(bounds);
	*ret_chosen = chosen;
	return n;
}

/* The straight line through CLOCK_MONOTONIC's errors that has the least squares.  Time counts from
 * the middle, in us: then an error of a second over a day keeps every product below 2^126. */
struct line {
	int64_t from_ns; /* of host_ns */
	i128 slope;      /* 10^-12 */
	i128 xx, xb;     /* sums of the squares of time, and of its size times each bound */
};

static i128 divide(i128 a, i128 b) /* to the nearest, b > 0 */
{
	return (a + (a < 0 ? -b / 2 : b / 2)) / b;
}

static i128 us_from(const struct line *l, const struct judge_point *p)
{
	return divide(p->host_ns - l->from_ns, 1000);
}

static struct line fit(const struct judge_point *p, size_t count)
{
	struct line l = {0};
	i128 sum_x = 0, sum_y = 0, xy = 0;
	int64_t mean_y;

	for (size_t i = 0; i < count; i++) {
		sum_x += p[i].host_ns - p[0].host_ns;
		sum_y += p[i].monotonic_error_ns - p[0].monotonic_error_ns;
	}
	l.from_ns = p[0].host_ns + (int64_t)divide(sum_x, (i128)count);
	mean_y = p[0].monotonic_error_ns + (int64_t)divide(sum_y, (i128)count);
	for (size_t i = 0; i < count; i++) {
		i128 x = us_from(&l, &p[i]);

		l.xx += x * x;
		l.xb += (x < 0 ? -x : x) * (i128)p[i].monotonic_bound_ns;
		xy += x * (p[i].monotonic_error_ns - mean_y);
	}
	l.slope = l.xx ? divide(xy * BILLION, l.xx) : 0;
	return l;
}

static int64_t error_of(const struct judge_point *p, bool realtime)
{
	return realtime ? p->realtime_error_ns : p->monotonic_error_ns;
}

static uint64_t bound_of(const struct judge_point *p, bool realtime)
{
	return realtime ? p->realtime_bound_ns : p->monotonic_bound_ns;
}

/* How far the line's turn can be off at a point if every reading that made it is off by all of its
 * bound in the worst direction. */
static uint64_t turn_bound_ns(const struct line *l, const struct judge_point *p)
{
	i128 x = us_from(l, p);

	return l->xx ? (uint64_t)(((x < 0 ? -x : x) * l->xb + l->xx - 1) / l->xx) : 0;
}

struct worst {
	int64_t residual_ns;
	uint64_t bracket_ns;
	i128 excess_ns; /* of the residual beyond what the verdict allows for brackets */
};

/* The residual of one clock that is nearest to failing, where `brackets` brackets are allowed.
 * One bracket has to hold all that is uncertain, the line too; several are for that line. */
static struct worst find_worst(const struct line *l, const struct judge_point *p, size_t count,
			       bool realtime, unsigned brackets)
{
	struct worst worst = {0};
	i128 sum = 0, bounds = 0;
	int64_t mean_ns;
	uint64_t mean_bound_ns;

	for (size_t i = 0; i < count; i++) {
		sum += error_of(&p[i], realtime) - error_of(&p[0], realtime);
		bounds += bound_of(&p[i], realtime);
	}
	mean_ns = error_of(&p[0], realtime) + (int64_t)divide(sum, (i128)count);
	mean_bound_ns = (uint64_t)((bounds + (i128)count - 1) / (i128)count);
	for (size_t i = 0; i < count; i++) {
		struct worst w = {.residual_ns =
					  error_of(&p[i], realtime) - mean_ns -
					  (int64_t)divide(us_from(l, &p[i]) * l->slope, BILLION),
				  .bracket_ns = bound_of(&p[i], realtime)};

		if (brackets == 1)
			w.bracket_ns += mean_bound_ns + turn_bound_ns(l, &p[i]);
		w.excess_ns = (i128)magnitude(w.residual_ns) - (i128)brackets * w.bracket_ns;
		if (i == 0 || w.excess_ns > worst.excess_ns)
			worst = w;
	}
	return worst;
}

/* The one of both clocks that exceeds its brackets by more is judged. */
static void conclude_worse(struct judge_row *row, const struct worst *realtime,
			   const struct worst *monotonic, const struct judge_clock *clock,
			   uint64_t limit_ns, uint64_t default_limit_ns)
{
	const bool by_realtime = realtime->excess_ns >= monotonic->excess_ns;
	const struct worst *w = by_realtime ? realtime : monotonic;

	set(row, JUDGE_REALTIME_RESIDUAL, realtime->residual_ns);
	set(row, JUDGE_MONOTONIC_RESIDUAL, monotonic->residual_ns);
	if (limit_ns == 0)
		limit_ns = clock->limit_ns || clock->brackets
				   ? clock->limit_ns + clock->brackets * w->bracket_ns
				   : default_limit_ns;
	conclude(row, by_realtime ? JUDGE_REALTIME_RESIDUAL : JUDGE_MONOTONIC_RESIDUAL,
		 w->bracket_ns, limit_ns);
}

static void judge_residual(struct judge_row *row, const struct judge_point *p, size_t count,
			   const struct judge_clock *clock, uint64_t limit_ns,
			   uint64_t default_limit_ns)
{
	const unsigned brackets = limit_ns ? 1 : 1 + clock->brackets;
	const struct line l = fit(p, count);
	const struct worst r = find_worst(&l, p, count, true, brackets);
	const struct worst m = find_worst(&l, p, count, false, brackets);

	conclude_worse(row, &r, &m, clock, limit_ns, default_limit_ns);
}

static void judge_line(struct judge_row *row, const struct judge_point *first,
		       const struct judge_point *last, const struct judge_clock *clock)
{
	uint64_t duration_ns = (uint64_t)(last->host_ns - first->host_ns);
	uint64_t ends_ns =
		first->monotonic_bound_ns + last->monotonic_bound_ns + 2 * clock->frequency_ends_ns;
	uint64_t limit_ppb =
		clock->frequency_ppb + (uint64_t)((i128)ends_ns * BILLION / duration_ns);
	int64_t ppb = row->value[JUDGE_FREQUENCY_ERROR];

	if (row->verdict != JUDGE_FAIL && magnitude(ppb) > limit_ppb) {
		row->verdict = JUDGE_FAIL;
		snprintf(row->reason, sizeof(row->reason),
			 "frequency_error_ppb is %+" PRId64 ", allowed are %" PRIu64, ppb,
			 limit_ppb);
	}
}

static uint64_t wider_bound(const struct judge_point *p)
{
	return p->realtime_bound_ns > p->monotonic_bound_ns ? p->realtime_bound_ns
							    : p->monotonic_bound_ns;
}

/* The tightest reading within JUDGE_END_NS of the one at `end`, the disturbed ones included: so
 * what is between the two ends is never shorter than asked for. */
static const struct judge_point *tightest(const struct judge_point *p, size_t count, size_t end)
{
	const struct judge_point *best = &p[end];

	for (size_t i = 0; i < count; i++)
		if (llabs(p[i].host_ns - p[end].host_ns) <= JUDGE_END_NS &&
		    wider_bound(&p[i]) < wider_bound(best))
			best = &p[i];
	return best;
}

static void measure_ends(struct judge_row *row, const struct judge_point *first,
			 const struct judge_point *last)
{
	set(row, JUDGE_REALTIME_ERROR, last->realtime_error_ns);
	set(row, JUDGE_REALTIME_CHANGE, last->realtime_error_ns - first->realtime_error_ns);
	set(row, JUDGE_MONOTONIC_GAP, last->monotonic_error_ns - first->monotonic_error_ns);
	set(row, JUDGE_DURATION, last->host_ns - first->host_ns);
}

void judge_steady(const struct judge_point *points, size_t count, const struct judge_clock *clock,
		  uint64_t limit_ns, uint64_t default_limit_ns, struct judge_row *ret_row)
{
	struct judge_point *p;
	size_t n = choose(points, count, &p);
	const struct judge_point *first, *last;
	struct judge_row *row = ret_row;

	memset(row, 0, sizeof(*row));
	row->judged = JUDGE_FIGURES;
	if (n < 3 || points[count - 1].host_ns - points[0].host_ns <= 2 * JUDGE_END_NS) {
		judge_skip(row, "only %zu of %zu readings, over too short a time, can be used", n,
			   count);
		free(p);
		return;
	}
	first = tightest(points, count, 0);
	last = tightest(points, count, count - 1);
	measure_ends(row, first, last);
	set(row, JUDGE_BACKWARD_STEPS,
	    (int64_t)(points[count - 1].backward_steps - points[0].backward_steps));
	if (row->value[JUDGE_DURATION] >= least_fit_ns)
		set(row, JUDGE_FREQUENCY_ERROR, (int64_t)divide(fit(p, n).slope, 1000));
	if (!clock->on_a_line) {
		conclude(row, JUDGE_REALTIME_CHANGE,
			 first->realtime_bound_ns + last->realtime_bound_ns,
			 limit_ns ? limit_ns : default_limit_ns);
	} else if (clock->needs_tick && clock->frequency_ends_ns == 0) {
		row->verdict = JUDGE_SKIP;
		snprintf(row->reason, sizeof(row->reason),
			 "the guest did not say how long its jiffy is");
	} else if (!row->known[JUDGE_FREQUENCY_ERROR]) {
		row->verdict = JUDGE_SKIP;
		snprintf(row->reason, sizeof(row->reason),
			 "the readings cover less than the 10 s that a frequency needs");
	} else {
		judge_residual(row, p, n, clock, limit_ns, default_limit_ns);
		judge_line(row, first, last, clock);
	}
	free(p);
}

static int64_t expected(const struct judge_promise *promise, bool realtime)
{
	return (realtime ? 0 : promise->slept_ns) - promise->frozen_ns;
}

/* Of one clock over an event for which something is promised. */
static struct worst residual_over(const struct line *l, const struct judge_point *a,
				  const struct judge_point *b, bool realtime, unsigned brackets,
				  const struct judge_promise *promise)
{
	const i128 us = divide(b->host_ns - a->host_ns + expected(promise, false), 1000);
	struct worst w = {.residual_ns = error_of(b, realtime) - error_of(a, realtime) -
					 expected(promise, realtime) -
					 (int64_t)divide(us * l->slope, BILLION),
			  .bracket_ns = bound_of(a, realtime) + bound_of(b, realtime)};

	if (brackets == 1 && l->xx)
		w.bracket_ns += (uint64_t)((us * l->xb + l->xx - 1) / l->xx);
	w.excess_ns = (i128)magnitude(w.residual_ns) - (i128)brackets * w.bracket_ns;
	return w;
}

static void judge_change(struct judge_row *row, const struct line *l, const struct judge_point *a,
			 const struct judge_point *b, const struct judge_clock *clock,
			 const struct judge_promise *promise, uint64_t limit_ns,
			 uint64_t default_limit_ns)
{
	const unsigned brackets = limit_ns ? 1 : 1 + clock->brackets;
	struct worst r = residual_over(l, a, b, true, brackets, promise);
	const struct worst m = residual_over(l, a, b, false, brackets, promise);

	if (promise->monotonic_only)
		r.excess_ns = m.excess_ns - 1;
	conclude_worse(row, &r, &m, clock, limit_ns, default_limit_ns);
}

void judge_promised(const struct judge_point *before, size_t before_count,
		    const struct judge_point *after, size_t after_count,
		    const struct judge_clock *clock, const struct judge_promise *promise,
		    uint64_t limit_ns, uint64_t default_limit_ns, struct judge_row *ret_row)
{
	struct judge_point *p;
	size_t n = choose(before, before_count, &p);
	const struct judge_point *a, *b;
	struct judge_row *row = ret_row;
	struct line l;

	memset(row, 0, sizeof(*row));
	row->judged = JUDGE_FIGURES;
	if (n < 3 || after_count == 0 ||
	    before[before_count - 1].host_ns - before[0].host_ns < least_fit_ns) {
		judge_skip(row, "there are %zu readings before and %zu after, which is too few", n,
			   after_count);
		free(p);
		return;
	}
	l = fit(p, n);
	free(p);
	a = tightest(before, before_count, before_count - 1);
	b = tightest(after, after_count, 0);
	measure_ends(row, a, b);
	if (!promise->monotonic_only)
		set(row, JUDGE_REALTIME_EXPECTED, expected(promise, true));
	set(row, JUDGE_MONOTONIC_EXPECTED, expected(promise, false));
	set(row, JUDGE_FREQUENCY_ERROR, (int64_t)divide(l.slope, 1000));
	set(row, JUDGE_BACKWARD_STEPS,
	    (int64_t)(after[after_count - 1].backward_steps - before[0].backward_steps));
	judge_change(row, &l, a, b, clock, promise, limit_ns, default_limit_ns);
	if (row->value[JUDGE_BACKWARD_STEPS] && row->verdict != JUDGE_FAIL) {
		row->verdict = JUDGE_FAIL;
		snprintf(row->reason, sizeof(row->reason),
			 "backward_steps is %" PRId64 ", allowed are none",
			 row->value[JUDGE_BACKWARD_STEPS]);
	}
}

void judge_event(const struct judge_point *before, size_t before_count,
		 const struct judge_point *after, size_t after_count,
		 const struct judge_clock *clock, uint64_t limit_ns, uint64_t default_limit_ns,
		 struct judge_row *ret_row)
{
	static const struct judge_promise none = {0};

	judge_promised(before, before_count, after, after_count, clock, &none, limit_ns,
		       default_limit_ns, ret_row);
}

static void judge_steal_of(const struct judge_steal_end *a, const struct judge_steal_end *b,
			   uint64_t limit_ns, struct judge_row *row)
{
	const uint64_t lo_ns = b->delay_lo_ns - a->delay_hi_ns;
	const uint64_t hi_ns = b->delay_hi_ns - a->delay_lo_ns;
	const int64_t steal_ns = (int64_t)(b->steal_ns - a->steal_ns);
	const int64_t delay_ns = (int64_t)(lo_ns + (hi_ns - lo_ns) / 2);

	memset(row, 0, sizeof(*row));
	set(row, JUDGE_STEAL, steal_ns);
	set(row, JUDGE_RUN_DELAY, delay_ns);
	set(row, JUDGE_STEAL_RESIDUAL, steal_ns - delay_ns);
	conclude(row, JUDGE_STEAL_RESIDUAL, (hi_ns - lo_ns + 1) / 2, limit_ns);
}

/* Fails come first, then what cannot be told, then what is furthest beyond its bracket. */
static bool is_worse(const struct judge_row *a, const struct judge_row *b)
{
	static const int rank[] = {[JUDGE_FAIL] = 2, [JUDGE_SKIP] = 1, [JUDGE_PASS] = 0};
	const int64_t x = (int64_t)magnitude(a->value[a->judged]) - a->value[JUDGE_BRACKET];
	const int64_t y = (int64_t)magnitude(b->value[b->judged]) - b->value[JUDGE_BRACKET];

	return rank[a->verdict] != rank[b->verdict] ? rank[a->verdict] > rank[b->verdict] : x > y;
}

void judge_steal(const struct judge_steal_end *before, const struct judge_steal_end *after,
		 unsigned cpus, uint64_t limit_ns, struct judge_row *ret_row)
{
	judge_skip(ret_row, "the guest told nothing of its steal");
	for (unsigned i = 0; i < cpus; i++) {
		struct judge_row row;

		if (!before[i].known || !after[i].known) {
			judge_skip(ret_row, "CPU %u of the guest told nothing of its steal", i);
			return;
		}
		judge_steal_of(&before[i], &after[i], limit_ns, &row);
		if (i == 0 || is_worse(&row, ret_row))
			*ret_row = row;
	}
}

void judge_owed(uint64_t ticks, struct judge_row *row)
{
	set(row, JUDGE_OWED, (int64_t)ticks);
	if (ticks <= 1 || row->verdict == JUDGE_FAIL)
		return;
	row->verdict = JUDGE_FAIL;
	snprintf(row->reason, sizeof(row->reason),
		 "%" PRIu64 " ticks are owed to the guest at the end", ticks);
}
