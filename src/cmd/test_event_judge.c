/* SPDX-License-Identifier: Apache-2.0 */
/* test_event_judge.c - for how long a guest's virtual time stood over an event. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cmd/test_event_judge.h"

__extension__ typedef unsigned __int128 u128;
__extension__ typedef __int128 i128;

enum { BILLION = 1000000000 };

static uint64_t guest_tsc(const struct kvmtsc_map *map, uint64_t host_tsc)
{
	return (uint64_t)((u128)host_tsc * map->ratio >> map->frac_bits) + (uint64_t)map->offset;
}

/* What both pages, each by its own TSC, show at one instant. */
static int64_t behind_counts(const struct event_seen *s)
{
	const int64_t before_ns = pvtrace_ns(&s->page[0], guest_tsc(&s->map[0], s->host_tsc));
	const int64_t after_ns = pvtrace_ns(&s->page[1], guest_tsc(&s->map[1], s->host_tsc));

	return pvtrace_counts(&s->page[1], before_ns - after_ns);
}

int64_t event_stood_ns(const struct event_seen *s, uint64_t hz)
{
	const int64_t counts =
		s->has_pages ? behind_counts(s) : s->map[0].offset - s->map[1].offset;
	const i128 host_counts =
		((i128)counts * ((i128)1 << s->map[1].frac_bits)) / (int64_t)s->map[1].ratio;

	return hz ? (int64_t)(host_counts * BILLION / (int64_t)hz) : 0;
}

static void judge_stood(int64_t stood_ns, int64_t least_ns, int64_t most_ns, struct judge_row *row)
{
	const int64_t apart_ns = most_ns / 1000; /* two of the host's clocks, one of them slewed */

	if (row->verdict == JUDGE_FAIL ||
	    (stood_ns >= least_ns - apart_ns && stood_ns <= most_ns + apart_ns))
		return;
	row->verdict = JUDGE_FAIL;
	snprintf(row->reason, sizeof(row->reason),
		 "virtual time stood still for %" PRId64 " ns, the event took %" PRId64
		 " to %" PRId64,
		 stood_ns, least_ns, most_ns);
}

void event_judge_freeze(const struct event_seen *s, int64_t stood_ns, struct judge_row *row)
{
	judge_stood(stood_ns, (int64_t)(s->ended_ns - s->began_ns),
		    (int64_t)(s->over_ns - s->begun_ns), row);
}

void event_judge_moved(uint64_t downtime_ns, int64_t stood_ns, struct judge_row *row)
{
	const int64_t allowance_ns = (int64_t)downtime_ns / 2;

	judge_stood(stood_ns, (int64_t)downtime_ns - allowance_ns,
		    (int64_t)downtime_ns + allowance_ns, row);
}

void event_tell_move(int64_t asked_ns, const struct test_qmp_events *from,
		     const struct test_qmp_events *to, uint64_t *ret_downtime_ns,
		     uint64_t *ret_total_ns)
{
	const int64_t end_ns =
		to->resume_ns > from->completed_ns ? to->resume_ns : from->completed_ns;

	*ret_downtime_ns = from->stop_ns && to->resume_ns > from->stop_ns
				   ? (uint64_t)(from->stood_ns + to->resume_ns - from->stop_ns)
				   : 0;
	*ret_total_ns = to->resume_ns && from->completed_ns && end_ns > asked_ns
				? (uint64_t)(end_ns - asked_ns)
				: 0;
}

int event_check_slept(uint64_t asked_ns, int64_t slept_ns, struct why *why)
{
	if (slept_ns >= (int64_t)(asked_ns / 4) && slept_ns > 0)
		return 0;
	return why_set(why, -ENODEV,
		       "this kernel did not suspend: CLOCK_BOOTTIME went on by %" PRId64
		       " ns alone, asked for were %" PRIu64,
		       slept_ns, asked_ns);
}

static int64_t utc_offset_ns(const json_t *change, const char *when)
{
	return json_integer_value(json_object_get(json_object_get(change, when), "utc_offset_ns"));
}

int event_check_step(const json_t *time, int64_t step_ns, uint64_t bound_ns, struct why *why)
{
	const json_t *change = json_object_get(time, "last_change");
	const char *kind = json_string_value(json_object_get(change, "kind"));
	const json_t *bound = json_object_get(change, "bound_ns");
	int64_t by_ns, apart_ns;

	if (!kind)
		return why_set(why, -EPROTO, "the VMM does not say how its clock last changed");
	if (strcmp(kind, "step_utc") != 0)
		return why_set(why, -ESTALE,
			       "the VMM has not followed a step of the host's clock: the last "
			       "change of its own is %s, not step_utc",
			       kind);
	by_ns = utc_offset_ns(change, "after") - utc_offset_ns(change, "before");
	apart_ns = by_ns > step_ns ? by_ns - step_ns : step_ns - by_ns;
	if ((uint64_t)apart_ns <= bound_ns + (uint64_t)json_integer_value(bound))
		return 0;
	return why_set(why, -ESTALE,
		       "the VMM has followed a step of the host's clock of %" PRId64
		       " ns by %" PRId64,
		       step_ns, by_ns);
}
