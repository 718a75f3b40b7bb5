/* SPDX-License-Identifier: Apache-2.0 */
/* test_costs_read.c - the lines in which the observer tells what readings cost. */
#include <errno.h>
#include <string.h>
#include <vmtime/read.h>

#include "cmd/test_costs_read.h"
#include "cmd/test_judge.h"

/* A hello ends a series and begins the next. */
static void take_hello(struct costs_stream *s, const struct sample_hello *hello)
{
	const bool on_it = judge_same_clock(hello->current, s->wanted);

	s->guest = *hello;
	s->has_guest = true;
	s->whole = s->begun_on_it && on_it && s->count && s->count == s->costs[0].count;
	s->begun_on_it = on_it;
	if (!s->whole)
		s->count = 0;
}

/* After a line that was lost the rest of its series is worth nothing. */
static void take_cost(struct costs_stream *s, const struct sample_cost *cost)
{
	if (cost->count > COSTS_MAX || cost->index != s->count ||
	    (s->count && (cost->series != s->costs[0].series || cost->count != s->costs[0].count)))
		s->begun_on_it = false;
	else
		s->costs[s->count++] = *cost;
}

static int take_line(void *owner, bool whole)
{
	struct costs_stream *s = owner;
	struct sample_hello hello;
	struct sample_cost cost;
	struct sample sample;

	if (!whole || s->whole)
		return 0;
	if (s->record)
		fprintf(s->record, "%s\n", s->line);
	if (sample_parse(s->line, &hello, &sample) == SAMPLE_KIND_HELLO)
		take_hello(s, &hello);
	else if (sample_parse_cost(s->line, &cost) == 0)
		take_cost(s, &cost);
	else
		return 0;
	s->lines_had++;
	return 0;
}

int costs_stream_take(void *stream, const char *bytes, size_t size)
{
	struct costs_stream *s = stream;

	return test_lines_take(&s->lines, s->line, sizeof(s->line), bytes, size, take_line, s);
}

enum sample_falls costs_fall_back(const struct costs_stream *s)
{
	for (uint32_t i = 0; i < s->count; i++)
		if (s->costs[i].path == 'v')
			return s->costs[i].falls;
	return SAMPLE_FALLS_UNKNOWN;
}

/* Only an unmarked page of kvm-clock makes the vDSO ask the kernel. */
int costs_check_mark(const struct costs_stream *s, bool unstable, bool relies, struct why *why)
{
	const enum sample_falls falls = costs_fall_back(s);
	const uint32_t reader = s->costs[0].reader;

	if (unstable && falls == SAMPLE_FALLS_NOT)
		return why_set(why, -ENODEV,
			       "this machine marks kvm-clock TSC_STABLE, whatever it is told");
	if (!unstable && relies && falls == SAMPLE_FALLS)
		return why_set(why, -EPROTO,
			       "kvm-clock is not marked TSC_STABLE, although the host relies on "
			       "its TSC: each reading is a system call");
	if (!unstable && falls == SAMPLE_FALLS_NOT && reader != VMT_READ_PAGE)
		return why_set(why, -EPROTO,
			       "vmtime/read.h does not take this guest's page (status %u)", reader);
	return 0;
}
