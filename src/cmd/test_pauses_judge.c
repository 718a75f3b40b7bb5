/* SPDX-License-Identifier: Apache-2.0 */
/* test_pauses_judge.c - many short stops or moves of a guest: their times, and the figures. */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmd/cmd.h"
#include "cmd/test_pauses.h"

__extension__ typedef __int128 i128;

enum { BILLION = 1000000000, LIMIT_NS = 10, MOVE_LIMIT_NS = 100, LEAST_LIMIT_NS = 1000 };

uint64_t pauses_limit_ns(const struct pauses *p)
{
	const uint64_t all_ns = (uint64_t)p->done * (p->moves ? MOVE_LIMIT_NS : LIMIT_NS);

	return all_ns > LEAST_LIMIT_NS ? all_ns : LEAST_LIMIT_NS;
}

/* One more of `size` bytes. */
static int append(void **list, size_t *count, size_t *room, const void *one, size_t size)
{
	if (*count == *room) {
		size_t more = *room ? 2 * *room : 256;
		void *grown = reallocarray(*list, more, size);

		if (!grown)
			return -ENOMEM;
		*list = grown;
		*room = more;
	}
	memcpy((char *)*list + (*count)++ * size, one, size);
	return 0;
}

int pauses_add(struct pauses *p, const struct test_span *span)
{
	void *list = p->spans;
	int error = append(&list, &p->count, &p->room, span, sizeof(*span));

	p->spans = list;
	return error;
}

int pauses_add_move(struct pauses *p, const struct pauses_move *move)
{
	void *list = p->moves;
	int error = append(&list, &p->n_moves, &p->moves_room, move, sizeof(*move));

	p->moves = list;
	return error;
}

/* SplitMix64: the state counts, the rest mixes. */
uint64_t pauses_random(struct pauses *p, uint64_t least, uint64_t most)
{
	uint64_t x = p->random += 0x9e3779b97f4a7c15;

	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
	x = (x ^ x >> 27) * 0x94d049bb133111eb;
	return least + (x ^ x >> 31) % (most - least + 1);
}

/* In host time, by how much the TSC stood between two spans. */
static int64_t stood_ns(const struct test_span *a, const struct test_span *b, uint64_t hz)
{
	const i128 counts = (i128)a->map.offset - b->map.offset;

	return (int64_t)((counts << a->map.frac_bits) / (int64_t)a->map.ratio * BILLION /
			 (int64_t)hz);
}

static int64_t beyond_ns(int64_t change_ns, int64_t expected_ns, uint64_t bound_ns)
{
	const int64_t off_ns = change_ns - expected_ns;

	return (off_ns < 0 ? -off_ns : off_ns) - (int64_t)bound_ns;
}

/* Between two readings, by the clock that is off by more, with so many brackets taken off. */
static int64_t off_ns(const struct judge_point *a, const struct judge_point *b, int64_t stood,
		      int64_t ppb, unsigned brackets)
{
	const int64_t passed_ns = b->host_ns - a->host_ns - stood;
	const int64_t expected_ns = (int64_t)((i128)passed_ns * ppb / BILLION) - stood;
	const int64_t r = beyond_ns(b->realtime_error_ns - a->realtime_error_ns, expected_ns,
				    brackets * (a->realtime_bound_ns + b->realtime_bound_ns));
	const int64_t m = beyond_ns(b->monotonic_error_ns - a->monotonic_error_ns, expected_ns,
				    brackets * (a->monotonic_bound_ns + b->monotonic_bound_ns));

	return r > m ? r : m;
}

/* Where they were off most; 0: nowhere by more than so many brackets. */
static int64_t worst_ns(const struct pauses *p, const struct test_stream *s, size_t from,
			uint64_t hz, int64_t ppb, bool frozen, unsigned brackets)
{
	const struct test_span *before = NULL, *after;
	int64_t worst = 0;

	for (size_t i = from; i < s->evaluated; i++, before = after) {
		int64_t off;

		after = test_span_of(p->spans, p->count, &s->readings[i].sample);
		if (!before || !after)
			continue;
		off = off_ns(&s->readings[i - 1].point, &s->readings[i].point,
			     frozen ? stood_ns(before, after, hz) : 0, ppb, brackets);
		worst = off > worst ? off : worst;
	}
	return worst;
}

static void set(struct judge_row *row, enum judge_figure figure, int64_t value)
{
	row->value[figure] = value;
	row->known[figure] = true;
}

static void fail(struct judge_row *row, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* What has failed already has its reason. */
static void fail(struct judge_row *row, const char *format, ...)
{
	va_list args;

	if (row->verdict == JUDGE_FAIL)
		return;
	row->verdict = JUDGE_FAIL;
	va_start(args, format);
	vsnprintf(row->reason, sizeof(row->reason), format, args);
	va_end(args);
}

/* Errors of which one makes up for another are none in the sum: each has a limit too. */
static void judge_worst(const struct pauses *p, const struct test_stream *s, size_t from,
			const struct pauses_promise *promise, struct judge_row *row)
{
	const struct judge_clock *clock = promise->clock;
	const int64_t ppb = row->value[JUDGE_FREQUENCY_ERROR];
	const unsigned brackets = promise->limit_ns ? 1 : 1 + clock->brackets;
	const uint64_t own_ns = clock->limit_ns ? clock->limit_ns : LEAST_LIMIT_NS;
	const uint64_t limit_ns = promise->limit_ns ? promise->limit_ns : own_ns;
	const int64_t sure_ns = worst_ns(p, s, from, promise->hz, ppb, promise->frozen, brackets);
	char off[32], limit[32];

	set(row, p->moves ? JUDGE_WORST_MIGRATION : JUDGE_WORST_PAUSE,
	    worst_ns(p, s, from, promise->hz, ppb, promise->frozen, 1));
	if ((uint64_t)sure_ns <= limit_ns)
		return;
	cmd_format_ns(off, sizeof(off), sure_ns, false);
	cmd_format_ns(limit, sizeof(limit), (int64_t)limit_ns, false);
	fail(row, "between two readings a clock was off by %s at least, allowed are %s", off,
	     limit);
}

/* How often a CPU has looked at its clocks, of which its readings tell: the first may be from
 * before it was told to.  -1: there is none that is surely later. */
static int64_t checks_of(const struct test_stream *s, size_t from, uint32_t cpu)
{
	uint64_t most = 0;
	unsigned n = 0;

	for (size_t i = from; i < s->evaluated; i++) {
		const struct sample *sample = &s->readings[i].sample;

		if (sample->cpu != cpu)
			continue;
		n++;
		most = sample->checks > most ? sample->checks : most;
	}
	if (most == 0 && n < 2)
		return -1;
	return most < INT64_MAX ? (int64_t)most : INT64_MAX;
}

/* A CPU that did not look has seen no step back either. */
static void judge_checks(const struct test_stream *s, size_t from, struct judge_row *row)
{
	int64_t least = INT64_MAX;
	bool any = false;

	for (uint32_t cpu = 0; cpu < s->hello.cpus; cpu++) {
		const int64_t checks = checks_of(s, from, cpu);

		if (checks < 0)
			continue;
		if (checks == 0)
			fail(row, "CPU %" PRIu32 " of the guest did not look at its clocks", cpu);
		least = checks < least ? checks : least;
		any = true;
	}
	if (any)
		set(row, JUDGE_CHECKS, least);
}

static void judge_ticks(const struct ticks_ledger ledgers[TICKS_SOURCES], struct judge_row *row)
{
	int64_t due = 0, missing = 0;

	for (int i = 0; i < TICKS_SOURCES; i++) {
		const struct ticks_ledger *l = &ledgers[i];
		const int64_t less =
			(int64_t)(l->due - l->delivered - l->merged - l->discarded - l->owed);

		if (!l->known)
			continue;
		due += (int64_t)l->due;
		missing += less < 0 ? -less : less;
	}
	set(row, JUDGE_TICKS_DUE, due);
	set(row, JUDGE_TICKS_MISSING, missing);
	if (missing)
		fail(row,
		     "of %" PRId64 " ticks that fell due %" PRId64 " are missing in the ledger",
		     due, missing);
}

static int compare(const void *a, const void *b)
{
	const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

/* Of each what lies `offset` bytes into it; nothing of moves of which one did not tell. */
static void show_took(const struct pauses *p, size_t offset, enum judge_figure middle,
		      enum judge_figure most, struct judge_row *row)
{
	uint64_t *took = calloc(p->n_moves, sizeof(*took));

	row->known[middle] = false;
	for (size_t i = 0; took && i < p->n_moves; i++)
		memcpy(&took[i], (const char *)&p->moves[i] + offset, sizeof(*took));
	if (took)
		qsort(took, p->n_moves, sizeof(*took), compare);
	if (took && took[0]) {
		set(row, middle, (int64_t)took[p->n_moves / 2]);
		set(row, most, (int64_t)took[p->n_moves - 1]);
	}
	free(took);
}

void pauses_judge(const struct pauses *p, const struct test_stream *stream, size_t from,
		  const struct pauses_promise *promise, struct judge_row *row)
{
	set(row, p->moves ? JUDGE_MIGRATIONS : JUDGE_PAUSES, p->done);
	if (p->moves) {
		show_took(p, offsetof(struct pauses_move, downtime_ns), JUDGE_DOWNTIME,
			  JUDGE_DOWNTIME_MAX, row);
		show_took(p, offsetof(struct pauses_move, total_ns), JUDGE_TOTAL, JUDGE_TOTAL_MAX,
			  row);
	}
	if (promise->hz)
		judge_worst(p, stream, from, promise, row);
	judge_checks(stream, from, row);
	if (p->has_ledgers)
		judge_ticks(p->ledgers, row);
}

void pauses_free(struct pauses *p)
{
	if (p) {
		free(p->spans);
		free(p->moves);
	}
	free(p);
}
