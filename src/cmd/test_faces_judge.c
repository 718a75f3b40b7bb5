/* SPDX-License-Identifier: Apache-2.0 */
/* test_faces_judge.c - from the probe's readings of a PC's clocks to figures and verdicts. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cmd/test_faces_judge.h"
#include "cmd/test_faces_kind.h"

__extension__ typedef __int128 i128;
__extension__ typedef unsigned __int128 u128;

enum { CPUS = 256, LEAST_READS = 3 };

static const int64_t second_ns = 1000000000;
static const i128 trillion = 1000000000000;
static const int64_t partner_ns = 2000000000;      /* no reading is compared with an older one */
static const uint64_t most_fitted_ns = 1ULL << 47; /* a day: squares of it fit into sums */

/* One reading, as differences.  Also of a pair of clocks. */
struct point {
	int64_t at_ns, error_ns; /* by the TSC; clock - TSC, its phase still in it */
	uint64_t half_ns;
	int64_t ticks; /* without wraps */
	uint32_t cpu;
	bool back; /* fewer ticks than the one before */
};

struct track {
	struct faces_kind kind;
	struct point *points;
	size_t count;
};

static i128 divide(i128 a, i128 b) /* to the nearest, b > 0 */
{
	return (a + (a < 0 ? -b / 2 : b / 2)) / b;
}

static uint64_t magnitude(int64_t value)
{
	return value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
}

/* The count with this value that is nearest to the one expected. */
static int64_t unwrap(const struct faces_kind *k, uint64_t value, int64_t expected)
{
	i128 off;

	if (!k->modulus)
		return (int64_t)value;
	value %= k->modulus;
	if (k->down)
		value = (k->modulus - value) % k->modulus;
	off = ((i128)value - expected) % (i128)k->modulus;
	if (off < 0)
		off += k->modulus;
	if (off > k->modulus / 2)
		off -= k->modulus;
	return (int64_t)(expected + off);
}

static int64_t ticks_ns(const struct faces_kind *k, int64_t ticks)
{
	return (int64_t)((i128)ticks * k->num / k->den);
}

static struct point make_point(const struct faces_input *in, const struct faces_reading *r)
{
	const i128 lo_ns = (i128)r->before * 1000000 / in->tsc_khz;
	const i128 hi_ns = ((i128)r->before + r->width) * 1000000 / in->tsc_khz + 1;

	return (struct point){.cpu = r->cpu % CPUS,
			      .at_ns = (int64_t)((lo_ns + hi_ns) / 2),
			      .half_ns = (uint64_t)((hi_ns - lo_ns + 1) / 2)};
}

/* All readings of one face, in the order in which they were taken. */
static void fill_track(const struct faces_input *in, enum faces_face face, struct track *t)
{
	struct point last[CPUS];
	int64_t first_ns[CPUS];
	bool seen[CPUS] = {false};

	t->kind = faces_kind_of(in, face);
	for (size_t i = 0; i < in->count; i++) {
		const struct faces_reading *r = &in->readings[i];
		struct point p = make_point(in, r);
		const uint32_t at = t->kind.per_cpu ? p.cpu : 0;
		int64_t expected = 0;

		if (r->face != face)
			continue;
		if (seen[at])
			expected = last[at].ticks +
				   (int64_t)divide((i128)(p.at_ns - last[at].at_ns) * t->kind.den,
						   t->kind.num);
		else if (t->kind.from_zero)
			expected = (int64_t)((i128)p.at_ns * t->kind.den / t->kind.num);
		p.ticks = unwrap(&t->kind, r->value, expected);
		p.back = seen[at] && p.ticks < last[at].ticks;
		p.error_ns = ticks_ns(&t->kind, p.ticks) - p.at_ns;
		if (face != FACES_RTC) /* whose seconds are seen to begin */
			p.error_ns += (int64_t)(t->kind.quantum_ns / 2);
		last[at] = p;
		if (!seen[at]) /* so that no sum is too large: a date is */
			first_ns[at] = t->kind.from_zero ? 0 : p.error_ns;
		p.error_ns -= first_ns[at];
		seen[at] = true;
		t->points[t->count++] = p;
	}
}

enum { ANY_CPU = CPUS };

static bool is_of(const struct point *p, uint32_t cpu)
{
	return cpu == ANY_CPU || p->cpu == cpu;
}

enum { WEIGHT_MAX = 1024 };

/* By the inverse square of its bracket, beside the tightest one. */
static i128 weight_of(const struct point *p, uint64_t tightest_ns)
{
	u128 w = (u128)tightest_ns * tightest_ns * WEIGHT_MAX;

	return (i128)(w / ((u128)p->half_ns * p->half_ns));
}

/* Sums over the readings of one CPU or of all; what they are, x in us since the first: */
struct sums {
	i128 w, wx, wy;      /* of the weights, and with x and y */
	i128 x_mean, y_mean; /* made of those */
	i128 wxx, wxy;       /* about the means */
	i128 wxh;            /* of the size of x and each bracket */
	int64_t first_ns, last_ns;
	uint64_t tightest_ns;
	size_t count;
};

static struct sums find_ends(const struct track *t, uint32_t cpu)
{
	struct sums s = {0};

	for (size_t i = 0; i < t->count; i++) {
		const struct point *p = &t->points[i];

		if (!is_of(p, cpu))
			continue;
		if (s.count == 0)
			s.first_ns = p->at_ns;
		if (s.count++ == 0 || p->half_ns < s.tightest_ns)
			s.tightest_ns = p->half_ns;
		s.last_ns = p->at_ns;
	}
	return s;
}

static void add_sums(const struct track *t, uint32_t cpu, bool about_means, struct sums *s)
{
	for (size_t i = 0; i < t->count; i++) {
		const struct point *p = &t->points[i];
		const i128 w = weight_of(p, s->tightest_ns);
		const i128 x = (p->at_ns - s->first_ns) / 1000 - s->x_mean;
		const i128 y = p->error_ns - s->y_mean;

		if (!is_of(p, cpu) || magnitude(p->error_ns) > most_fitted_ns ||
		    magnitude(p->at_ns - s->first_ns) > most_fitted_ns)
			continue;
		if (about_means) {
			s->wxx += w * x * x;
			s->wxy += w * x * y;
			s->wxh += w * (x < 0 ? -x : x) * p->half_ns;
		} else {
			s->w += w;
			s->wx += w * x;
			s->wy += w * y;
		}
	}
}

struct slope {
	int64_t value, bound; /* 10^-12; what the brackets alone could make of it */
};

/* The slope of one CPU's errors, or of all, by least squares.  False: there are too few readings,
 * or over too short a time, or their brackets could make FACES_RATE_PPB of it and all of it. */
static bool fit(const struct track *t, uint32_t cpu, struct slope *ret_slope)
{
	struct sums s = find_ends(t, cpu);

	if (s.count < LEAST_READS || s.last_ns - s.first_ns < second_ns)
		return false;
	add_sums(t, cpu, false, &s);
	if (s.w == 0)
		return false;
	s.x_mean = divide(s.wx, s.w);
	s.y_mean = divide(s.wy, s.w);
	add_sums(t, cpu, true, &s);
	if (s.wxx / 1000000 == 0 ||
	    (s.wxh > s.wxx / 1000000 * FACES_RATE_PPB && s.wxh > (s.wxy < 0 ? -s.wxy : s.wxy)))
		return false;
	ret_slope->value = (int64_t)divide(s.wxy * 1000, s.wxx / 1000000);
	ret_slope->bound = (int64_t)divide(s.wxh * 1000, s.wxx / 1000000);
	return true;
}

/* Takes a fitted rate out of the errors of one CPU, or of all. */
static void straighten(struct track *t, uint32_t cpu, int64_t slope)
{
	int64_t from_ns = t->points[0].at_ns;

	for (size_t i = 0; i < t->count; i++) {
		struct point *p = &t->points[i];

		if (is_of(p, cpu))
			p->error_ns -=
				(int64_t)divide((i128)(p->at_ns - from_ns) * slope, trillion);
	}
}

/* The phase that leaves the greatest excess of any error over its bracket smallest. */
static int64_t find_phase(const struct point *points, size_t count, uint32_t cpu)
{
	i128 highest = 0, lowest = 0;
	bool any = false;

	for (size_t i = 0; i < count; i++) {
		i128 lo = (i128)points[i].error_ns - points[i].half_ns;
		i128 hi = (i128)points[i].error_ns + points[i].half_ns;

		if (!is_of(&points[i], cpu))
			continue;
		if (!any || lo > highest)
			highest = lo;
		if (!any || hi < lowest)
			lowest = hi;
		any = true;
	}
	return (int64_t)divide(highest + lowest, 2);
}

static int by_size(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

/* Twice the median bracket of one CPU's readings: what is wider was disturbed. */
static uint64_t usual_half_ns(const struct point *points, size_t count, uint32_t cpu)
{
	uint64_t *halves = calloc(count + 1, sizeof(*halves)), usual = UINT64_MAX;
	size_t n = 0;

	for (size_t i = 0; halves && i < count; i++)
		if (is_of(&points[i], cpu))
			halves[n++] = points[i].half_ns;
	if (n) {
		qsort(halves, n, sizeof(*halves), by_size);
		usual = 2 * halves[n / 2];
	}
	free(halves);
	return usual;
}

/* The reading that is nearest to its limit, or furthest beyond.  Disturbed ones, whose error mostly
 * is all of their bracket, say nothing unless they are beyond. */
struct worst {
	int64_t error_ns; /* without the phase */
	uint64_t half_ns, limit_ns;
	bool any;
};

static void take_worst(const struct point *points, size_t count, uint32_t cpu, int64_t phase_ns,
		       uint64_t allowed_ns, struct worst *worst)
{
	const uint64_t usual_ns = usual_half_ns(points, count, cpu);

	for (size_t i = 0; i < count; i++) {
		const struct worst w = {.error_ns = points[i].error_ns - phase_ns,
					.half_ns = points[i].half_ns,
					.limit_ns = points[i].half_ns + allowed_ns,
					.any = true};

		if (!is_of(&points[i], cpu) ||
		    (w.half_ns > usual_ns && magnitude(w.error_ns) <= w.limit_ns))
			continue;
		if (!worst->any || (u128)magnitude(w.error_ns) * worst->limit_ns >
					   (u128)magnitude(worst->error_ns) * w.limit_ns)
			*worst = w;
	}
}

static uint64_t allowance(const struct faces_input *in, const struct faces_kind *k)
{
	return in->limit_ns ? in->limit_ns : k->quantum_ns;
}

static void judge_row(const struct faces_input *in, struct track *t, struct faces_row *row)
{
	const uint32_t group = t->kind.per_cpu ? row->cpu : ANY_CPU;
	int64_t phase_ns = t->kind.from_zero ? 0 : find_phase(t->points, t->count, group);
	struct worst worst = {0};

	take_worst(t->points, t->count, row->cpu, phase_ns, allowance(in, &t->kind), &worst);
	row->worst_error_ns = worst.error_ns;
	row->bracket_ns = worst.half_ns;
	row->quantum_ns = t->kind.quantum_ns;
	for (size_t i = 0; i < t->count; i++) {
		row->reads += t->points[i].cpu == row->cpu;
		row->backward_steps += t->points[i].cpu == row->cpu && t->points[i].back;
	}
	row->verdict = JUDGE_PASS;
	if (row->backward_steps || magnitude(worst.error_ns) > worst.limit_ns || !row->rate_is_good)
		row->verdict = JUDGE_FAIL;
	else if (row->reads < LEAST_READS)
		row->verdict = JUDGE_SKIP;
}

/* What the brackets could have made of it does not count. */
static bool is_good(const struct faces_kind *k, const struct slope *slope)
{
	return !k->fitted ||
	       magnitude(slope->value) <= k->rate_limit_ppb * 1000 + (uint64_t)slope->bound;
}

/* A row for each CPU; its rate before all phases, which straightening changes. */
static int judge_track(const struct faces_input *in, enum faces_face face, struct track *t,
		       struct faces_result *result)
{
	const size_t first = result->row_count;
	bool seen[CPUS] = {false};
	struct slope slope;

	for (size_t i = 0; i < t->count; i++)
		seen[t->points[i].cpu] = true;
	for (uint32_t cpu = 0; cpu < CPUS; cpu++) {
		struct faces_row row = {.face = face, .cpu = cpu, .rate_is_good = true}, *grown;

		if (!seen[cpu])
			continue;
		grown = reallocarray(result->rows, result->row_count + 1, sizeof(*grown));
		if (!grown)
			return -ENOMEM;
		result->rows = grown;
		if (face != FACES_TSC && fit(t, cpu, &slope)) {
			row.has_rate = true;
			row.rate_error_ppb = (int64_t)divide(slope.value, 1000);
			row.rate_is_good = is_good(&t->kind, &slope);
			if (t->kind.fitted && t->kind.per_cpu)
				straighten(t, cpu, slope.value);
		}
		result->rows[result->row_count++] = row;
	}
	if (t->kind.fitted && !t->kind.per_cpu && fit(t, ANY_CPU, &slope))
		straighten(t, ANY_CPU, slope.value);
	for (size_t i = first; i < result->row_count; i++)
		judge_row(in, t, &result->rows[i]);
	return 0;
}

/* The next reading of a CPU from index `i` on; the count where there is none. */
static size_t next_of(const struct track *t, uint32_t cpu, size_t i)
{
	while (i < t->count && t->points[i].cpu != cpu)
		i++;
	return i;
}

/* Each reading of either beside the last of the other on the same CPU, as a minus b. */
static size_t compare(const struct track *a, const struct track *b, struct point *ret_points)
{
	size_t n = 0;

	for (uint32_t cpu = 0; cpu < CPUS; cpu++) {
		const struct point *last_a = NULL, *last_b = NULL;
		size_t i = next_of(a, cpu, 0), j = next_of(b, cpu, 0);

		while (i < a->count || j < b->count) {
			struct point p;

			if (j == b->count ||
			    (i < a->count && a->points[i].at_ns <= b->points[j].at_ns)) {
				p = *(last_a = &a->points[i]);
				i = next_of(a, cpu, i + 1);
			} else {
				p = *(last_b = &b->points[j]);
				j = next_of(b, cpu, j + 1);
			}
			if (!last_a || !last_b || llabs(last_a->at_ns - last_b->at_ns) > partner_ns)
				continue;
			p.error_ns = last_a->error_ns - last_b->error_ns;
			p.half_ns = last_a->half_ns + last_b->half_ns;
			ret_points[n++] = p;
		}
	}
	return n;
}

static void judge_pair(const struct faces_input *in, const struct track *a, const struct track *b,
		       const struct point *points, size_t count, struct faces_pair *pair)
{
	const bool per_cpu = a->kind.per_cpu || b->kind.per_cpu;
	struct worst worst = {0};

	pair->verdict = JUDGE_SKIP;
	if (count < LEAST_READS)
		return;
	for (uint32_t cpu = per_cpu ? 0 : ANY_CPU; cpu < CPUS + (per_cpu ? 0 : 1); cpu++)
		take_worst(points, count, cpu, find_phase(points, count, cpu),
			   allowance(in, &a->kind) + allowance(in, &b->kind), &worst);
	pair->disagreement_ns = worst.error_ns;
	pair->allowed_ns = worst.limit_ns;
	pair->verdict = magnitude(worst.error_ns) > worst.limit_ns ? JUDGE_FAIL : JUDGE_PASS;
}

/* The TSC of another CPU than the first was compared with the first's, not with its reader's. */
static void keep_first_cpu(struct track *t)
{
	size_t n = 0;

	for (size_t i = 0; i < t->count; i++)
		if (t->points[i].cpu == t->points[0].cpu)
			t->points[n++] = t->points[i];
	t->count = n;
}

static int judge_pairs(const struct faces_input *in, struct track *tracks,
		       struct faces_result *result)
{
	struct point *points = calloc(in->count + 1, sizeof(*points));

	if (!points)
		return -ENOMEM;
	keep_first_cpu(&tracks[FACES_TSC]);
	for (int a = 0; a < FACES_COUNT; a++) {
		for (int b = a + 1; b < FACES_COUNT; b++) {
			struct faces_pair *pair = &result->pairs[result->pair_count];
			size_t n = compare(&tracks[a], &tracks[b], points);

			if (!tracks[a].count || !tracks[b].count)
				continue;
			*pair = (struct faces_pair){.a = (enum faces_face)a,
						    .b = (enum faces_face)b};
			judge_pair(in, &tracks[a], &tracks[b], points, n, pair);
			result->pair_count++;
		}
	}
	free(points);
	return 0;
}

int faces_judge(const struct faces_input *in, struct faces_result *ret_result)
{
	struct track tracks[FACES_COUNT] = {0};
	int error = 0;

	memset(ret_result, 0, sizeof(*ret_result));
	for (int i = 0; i < FACES_COUNT && !error; i++) {
		tracks[i].points = calloc(in->count + 1, sizeof(*tracks[i].points));
		if (!tracks[i].points)
			error = -ENOMEM;
		else
			fill_track(in, (enum faces_face)i, &tracks[i]);
		if (!error)
			error = judge_track(in, (enum faces_face)i, &tracks[i], ret_result);
	}
	if (!error)
		error = judge_pairs(in, tracks, ret_result);
	for (int i = 0; i < FACES_COUNT; i++)
		free(tracks[i].points);
	if (error)
		faces_result_free(ret_result);
	return error;
}

void faces_result_free(struct faces_result *result)
{
	free(result->rows);
	memset(result, 0, sizeof(*result));
}
