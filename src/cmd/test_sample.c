/* SPDX-License-Identifier: Apache-2.0 */
/* test_sample.c - the readings that a guest sends, each set against the host's clocks. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cmd/test_sample.h"

static struct test_reading *add_reading(struct test_stream *s)
{
	if (s->count == s->capacity) {
		size_t capacity = s->capacity ? 2 * s->capacity : 256;
		struct test_reading *grown =
			reallocarray(s->readings, capacity, sizeof(*s->readings));

		if (!grown)
			return NULL;
		s->readings = grown;
		s->capacity = capacity;
	}
	return &s->readings[s->count];
}

/* The sequence only grows; CLOCK_BOOTTIME cannot be set and never steps back.  What is the same in
 * both came twice. */
static void take_reading(struct test_stream *s, struct test_reading *room, const struct sample *now)
{
	const struct sample *last = s->count ? &s->readings[s->count - 1].sample : NULL;
	const int64_t now_ns = now->clock[SAMPLE_BOOTTIME].ns;

	if (last && now->seq == last->seq && now_ns == last->clock[SAMPLE_BOOTTIME].ns) {
		s->damaged++;
	} else if (last && (now->seq <= last->seq || now_ns < last->clock[SAMPLE_BOOTTIME].ns)) {
		s->restarted = true;
	} else {
		memset(room, 0, sizeof(*room));
		room->sample = *now;
		s->count++;
	}
}

static int take_line(void *owner, bool whole)
{
	struct test_stream *s = owner;
	struct test_reading *r;
	struct sample_hello hello;
	struct sample sample;
	int kind;

	if (!whole)
		return 0;
	r = add_reading(s);
	if (!r)
		return -ENOMEM;
	kind = sample_parse(s->line, &hello, &sample);
	if (s->record)
		fprintf(s->record, "%s\n", s->line);
	if (kind == SAMPLE_KIND_HELLO) {
		s->hello = hello;
		s->has_hello = true;
	} else if (kind == SAMPLE_KIND_READING) {
		take_reading(s, r, &sample);
	} else if ((s->line[0] == 'H' || s->line[0] == 'S') && s->line[1] == ' ') {
		s->damaged++;
	}
	return 0;
}

int test_stream_take(struct test_stream *s, const char *bytes, size_t size)
{
	return test_lines_take(&s->lines, s->line, sizeof(s->line), bytes, size, take_line, s);
}

/* One clock of a reading against the host's: guest minus host, with everything in the bound. */
static int compare(const struct sample_clock *guest, const struct kvmtsc_map *map,
		   struct pairs *pairs, enum pairs_clock clock, struct pairs_value *ret_host,
		   int64_t *ret_error_ns)
{
	uint64_t lo, hi;
	int result;

	kvmtsc_to_host(map, guest->tsc, guest->tsc + guest->width, &lo, &hi);
	if (hi < lo)
		return -ERANGE;
	result = pairs_at(pairs, clock, lo, hi, ret_host);
	if (!result)
		*ret_error_ns = guest->ns - ret_host->ns;
	return result;
}

static int evaluate(struct test_reading *r, const struct kvmtsc_map *map, struct pairs *pairs)
{
	struct pairs_value realtime, monotonic;
	struct judge_point p = {0};
	int result = compare(&r->sample.clock[SAMPLE_REALTIME], map, pairs, PAIRS_REALTIME,
			     &realtime, &p.realtime_error_ns);

	if (!result)
		result = compare(&r->sample.clock[SAMPLE_MONOTONIC], map, pairs, PAIRS_MONOTONIC,
				 &monotonic, &p.monotonic_error_ns);
	if (result)
		return result;
	p.host_ns = monotonic.ns;
	p.realtime_bound_ns = realtime.bound_ns;
	p.monotonic_bound_ns = monotonic.bound_ns;
	for (int i = 0; i < SAMPLE_CLOCKS; i++)
		p.backward_steps += r->sample.backward[i];
	r->point = p;
	return 0;
}

static void record(const struct test_stream *s, const struct test_reading *r)
{
	const struct judge_point *p = &r->point;

	if (s->record)
		fprintf(s->record,
			"E %" PRIu64 " %" PRId64 " r %" PRId64 " %" PRIu64 " m %" PRId64 " %" PRIu64
			"\n",
			r->sample.seq, p->host_ns, p->realtime_error_ns, p->realtime_bound_ns,
			p->monotonic_error_ns, p->monotonic_bound_ns);
}

/* 1 when it has its point, 0 when the pairs do not reach past it yet. */
static int evaluate_next(struct test_stream *s, const struct kvmtsc_map *map, struct pairs *pairs)
{
	struct test_reading *r = &s->readings[s->evaluated];
	int result = evaluate(r, map, pairs);

	if (result)
		return result == -EAGAIN ? 0 : result;
	record(s, r);
	s->evaluated++;
	return 1;
}

int test_stream_evaluate(struct test_stream *s, const struct kvmtsc_map *map, struct pairs *pairs)
{
	int result = 1;

	while (s->evaluated < s->count && result > 0)
		result = evaluate_next(s, map, pairs);
	return result < 0 ? result : 0;
}

const struct test_span *test_span_of(const struct test_span *spans, size_t count,
				     const struct sample *reading)
{
	const struct sample_clock *first = &reading->clock[0];
	const struct sample_clock *last = &reading->clock[SAMPLE_CLOCKS - 1];

	while (count-- > 0)
		if (first->tsc >= spans[count].from && last->tsc + last->width <= spans[count].to)
			return &spans[count];
	return NULL;
}

int test_stream_evaluate_spans(struct test_stream *s, const struct test_span *spans, size_t count,
			       struct pairs *pairs)
{
	int result = 1;

	while (s->evaluated < s->count && result > 0) {
		struct test_reading *r = &s->readings[s->evaluated];
		const struct test_span *span = test_span_of(spans, count, &r->sample);

		if (span)
			result = evaluate_next(s, &span->map, pairs);
		else
			memmove(r, r + 1, (--s->count - s->evaluated) * sizeof(*r));
	}
	return result < 0 ? result : 0;
}

uint64_t test_stream_missing(const struct test_stream *s, size_t from)
{
	if (from >= s->evaluated)
		return 0;
	return s->readings[s->evaluated - 1].sample.seq - s->readings[from].sample.seq -
	       (s->evaluated - 1 - from);
}

void test_stream_free(struct test_stream *s)
{
	free(s->readings);
	s->readings = NULL;
	s->count = s->capacity = s->evaluated = 0;
}
