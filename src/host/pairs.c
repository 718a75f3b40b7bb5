/* SPDX-License-Identifier: Apache-2.0 */
/* pairs.c - what the host's clocks showed at a TSC count that lies in the past. */
#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <time.h>

#include "host/pairs.h"

__extension__ typedef __int128 i128;

enum { NS_PER_S = 1000000000, TRIES = 40, FIRST_TRIES = 400, BURSTS = 10 };

/* The clock showed ns at some count within tsc +- half. */
struct point {
	uint64_t tsc, half;
	int64_t ns;
};

struct pairs {
	pthread_mutex_t lock;
	pthread_cond_t stop_asked;
	pthread_t thread;
	uint64_t period_ns;
	bool running, stop;
	size_t capacity, count; /* count: ever added; the last `capacity` of them are there */
	struct point *points[PAIRS_CLOCKS];
};

struct pairs *pairs_new(size_t capacity)
{
	struct pairs *p = calloc(1, sizeof(*p));
	pthread_condattr_t attributes;

	if (!p)
		return NULL;
	p->capacity = capacity < 4 ? 4 : capacity;
	pthread_mutex_init(&p->lock, NULL);
	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	pthread_cond_init(&p->stop_asked, &attributes);
	pthread_condattr_destroy(&attributes);
	for (int i = 0; i < PAIRS_CLOCKS; i++) {
		p->points[i] = calloc(p->capacity, sizeof(struct point));
		if (!p->points[i]) {
			pairs_free(p);
			return NULL;
		}
	}
	return p;
}

void pairs_free(struct pairs *p)
{
	if (!p)
		return;
	if (p->running) {
		pthread_mutex_lock(&p->lock);
		p->stop = true;
		pthread_cond_signal(&p->stop_asked);
		pthread_mutex_unlock(&p->lock);
		pthread_join(p->thread, NULL);
	}
	pthread_cond_destroy(&p->stop_asked);
	pthread_mutex_destroy(&p->lock);
	for (int i = 0; i < PAIRS_CLOCKS; i++)
		free(p->points[i]);
	free(p);
}

/* Keeps of each clock the tighter of the two. */
static void keep_tighter(struct hostclock_pair *best, const struct hostclock_pair *pair)
{
	if (pair->realtime_tsc_hi - pair->realtime_tsc_lo <
	    best->realtime_tsc_hi - best->realtime_tsc_lo) {
		best->realtime_tsc_lo = pair->realtime_tsc_lo;
		best->realtime_tsc_hi = pair->realtime_tsc_hi;
		best->realtime_ns = pair->realtime_ns;
	}
	if (pair->monotonic_tsc_hi - pair->monotonic_tsc_lo <
	    best->monotonic_tsc_hi - best->monotonic_tsc_lo) {
		best->monotonic_tsc_lo = pair->monotonic_tsc_lo;
		best->monotonic_tsc_hi = pair->monotonic_tsc_hi;
		best->monotonic_ns = pair->monotonic_ns;
	}
}

static const struct hostclock_pair no_pair = {.realtime_tsc_hi = UINT64_MAX,
					      .monotonic_tsc_hi = UINT64_MAX};

/* How tight a pair can get changes from one moment to the next, and no number of tries at once
 * helps: so it is tried ten times over the period. */
static void *keep_pairing(void *arg)
{
	struct pairs *p = arg;
	struct hostclock_pair pair, best = no_pair;
	bool stop = false;

	for (unsigned n = 1; !stop; n++) {
		uint64_t next_ns = hostclock_monotonic_ns() + p->period_ns / BURSTS;
		struct timespec next = {.tv_sec = (time_t)(next_ns / NS_PER_S),
					.tv_nsec = (long)(next_ns % NS_PER_S)};
		int over = 0;

		if (hostclock_pair(TRIES, &pair) == 0)
			keep_tighter(&best, &pair);
		if (n % BURSTS == 0 && best.realtime_tsc_hi != UINT64_MAX) {
			pairs_add(p, &best);
			best = no_pair;
		}
		pthread_mutex_lock(&p->lock);
		while (!p->stop && over != ETIMEDOUT)
			over = pthread_cond_timedwait(&p->stop_asked, &p->lock, &next);
		stop = p->stop;
		pthread_mutex_unlock(&p->lock);
	}
	return NULL;
}

int pairs_start(struct pairs *p, uint64_t period_ns)
{
	struct hostclock_pair first;
	int error;

	if (p->running || period_ns < BURSTS)
		return -EINVAL;
	error = hostclock_pair(FIRST_TRIES, &first);
	if (error)
		return error;
	pairs_add(p, &first);
	p->period_ns = period_ns;
	error = pthread_create(&p->thread, NULL, keep_pairing, p);
	p->running = !error;
	return -error;
}

static struct point make_point(uint64_t lo, uint64_t hi, int64_t ns)
{
	return (struct point){.tsc = lo + (hi - lo) / 2, .half = hi - lo - (hi - lo) / 2, .ns = ns};
}

static const struct point *nth(const struct pairs *p, enum pairs_clock clock, size_t n)
{
	return &p->points[clock][n % p->capacity];
}

void pairs_add(struct pairs *p, const struct hostclock_pair *pair)
{
	struct point r =
		make_point(pair->realtime_tsc_lo, pair->realtime_tsc_hi, pair->realtime_ns);
	struct point m = make_point(pair->monotonic_tsc_lo, pair->monotonic_tsc_hi,
				    (int64_t)pair->monotonic_ns);

	pthread_mutex_lock(&p->lock);
	if (p->count == 0 || (r.tsc > nth(p, PAIRS_REALTIME, p->count - 1)->tsc &&
			      m.tsc > nth(p, PAIRS_MONOTONIC, p->count - 1)->tsc)) {
		p->points[PAIRS_REALTIME][p->count % p->capacity] = r;
		p->points[PAIRS_MONOTONIC][p->count % p->capacity] = m;
		p->count++;
	}
	pthread_mutex_unlock(&p->lock);
}

/* The straight line through a and b at a count before, between or after them, rounded down. */
static i128 on_line(const struct point *a, const struct point *b, uint64_t tsc)
{
	i128 rise = (i128)b->ns - a->ns, run = (i128)b->tsc - a->tsc;
	i128 product = ((i128)tsc - a->tsc) * rise;
	i128 quotient = product / run;

	return a->ns + quotient - (product % run < 0);
}

/* How far the point lies from the line through two others. */
static uint64_t off_line(const struct point *a, const struct point *b, const struct point *point)
{
	i128 off = on_line(a, b, point->tsc) - point->ns;

	off = off < 0 ? -off : off;
	return off > INT64_MAX ? INT64_MAX : (uint64_t)off;
}

static uint64_t ticks_to_ns_up(uint64_t ticks, const struct point *a, const struct point *b)
{
	i128 run = (i128)b->tsc - a->tsc, rise = (i128)b->ns - a->ns;

	rise = rise < 0 ? -rise : rise;
	return (uint64_t)(((i128)ticks * rise + run - 1) / run);
}

/* How far the line from `far` through `near` misses the point on near's other side, and how much of
 * that the brackets of the three can make. */
struct miss {
	uint64_t ns, noise_ns;
};

static struct miss miss_of(const struct point *far, const struct point *near,
			   const struct point *point)
{
	bool up = far->tsc < near->tsc;
	const struct point *a = up ? far : near, *b = up ? near : far;
	uint64_t run = b->tsc - a->tsc, reach = up ? point->tsc - b->tsc : a->tsc - point->tsc;
	i128 lever = (i128)(near->half + far->half) * reach / run + 1;
	uint64_t ticks = point->half + near->half + (uint64_t)lever;

	return (struct miss){.ns = off_line(a, b, point),
			     .noise_ns = ticks_to_ns_up(ticks, a, b) + 1};
}

/* Between `a` and `b` the clock may have changed its rate or stepped once.  Then the line before
 * `a` misses b, and the line after `b` misses a, each by no less than the clock can be off the
 * line from a to b.  Where only one of them surely misses, the change lies elsewhere, and where
 * none does, there is none to be seen. */
static uint64_t bend_ns(const struct point *before, const struct point *a, const struct point *b,
			const struct point *after)
{
	struct miss late = miss_of(after, b, a);
	struct miss early = before ? miss_of(before, a, b) : late;
	bool sure_late = late.ns > late.noise_ns, sure_early = early.ns > early.noise_ns;
	uint64_t most_late = late.ns + late.noise_ns, most_early = early.ns + early.noise_ns;

	if (sure_late && sure_early)
		return most_early < most_late ? most_early : most_late;
	if (sure_late != sure_early)
		return sure_late ? early.ns : late.ns;
	return early.ns > late.ns ? early.ns : late.ns;
}

/* The last point at or before `tsc`: p->count when there is none. */
static size_t find(const struct pairs *p, enum pairs_clock clock, uint64_t tsc)
{
	size_t first = p->count > p->capacity ? p->count - p->capacity : 0, end = p->count;

	if (first == end || nth(p, clock, first)->tsc > tsc)
		return p->count;
	while (end - first > 1) {
		size_t middle = first + (end - first) / 2;

		if (nth(p, clock, middle)->tsc <= tsc)
			first = middle;
		else
			end = middle;
	}
	return first;
}

static int evaluate(const struct pairs *p, enum pairs_clock clock, uint64_t lo, uint64_t hi,
		    struct pairs_value *ret_value)
{
	uint64_t tsc = lo + (hi - lo) / 2, half;
	size_t n = find(p, clock, tsc), first = p->count > p->capacity ? p->count - p->capacity : 0;
	const struct point *before, *a, *b, *after;

	if (n == p->count)
		return p->count ? -ERANGE : -EAGAIN;
	if (n + 2 >= p->count)
		return -EAGAIN;
	before = n > first ? nth(p, clock, n - 1) : NULL;
	a = nth(p, clock, n);
	b = nth(p, clock, n + 1);
	after = nth(p, clock, n + 2);
	half = (a->half > b->half ? a->half : b->half) + (hi - lo - (hi - lo) / 2);
	ret_value->ns = (int64_t)on_line(a, b, tsc);
	/* 1 for rounding the value down. */
	ret_value->bound_ns = ticks_to_ns_up(half, a, b) + bend_ns(before, a, b, after) + 1;
	return 0;
}

int pairs_at(struct pairs *p, enum pairs_clock clock, uint64_t lo, uint64_t hi,
	     struct pairs_value *ret_value)
{
	int result;

	if (lo > hi || clock >= PAIRS_CLOCKS)
		return -EINVAL;
	pthread_mutex_lock(&p->lock);
	result = evaluate(p, clock, lo, hi, ret_value);
	pthread_mutex_unlock(&p->lock);
	return result;
}

uint64_t pairs_tsc_hz(struct pairs *p)
{
	uint64_t hz = 0;

	pthread_mutex_lock(&p->lock);
	if (p->count >= 2) {
		size_t first = p->count > p->capacity ? p->count - p->capacity : 0;
		const struct point *a = nth(p, PAIRS_MONOTONIC, first);
		const struct point *b = nth(p, PAIRS_MONOTONIC, p->count - 1);
		i128 ns = (i128)b->ns - a->ns;

		if (ns > 0)
			hz = (uint64_t)(((i128)(b->tsc - a->tsc) * NS_PER_S + ns / 2) / ns);
	}
	pthread_mutex_unlock(&p->lock);
	return hz;
}
