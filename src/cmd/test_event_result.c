/* SPDX-License-Identifier: Apache-2.0 */
/* test_event_result.c - what became of a guest to which something happened, as rows. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <vmtime/gap.h>

#include "cmd/cmd.h"
#include "cmd/test_event.h"

#define SECOND 1000000000ULL

/* What a guest cannot see of a gap by its clock source is not judged. */
static int check_gap(const struct test_event_run *r, const char *policy, uint64_t gap_ns,
		     struct why *why)
{
	const char *name = r->config.clocksource;
	const struct vmt_gap_guest guest = {.clocks = strcmp(name, "hpet") == 0      ? VMT_GAP_HPET
						      : strcmp(name, "acpi_pm") == 0 ? VMT_GAP_PMTMR
										     : VMT_GAP_TSC,
					    .pmtmr_bits = 24};
	const uint64_t limit_ns = vmt_gap_limit_ns(&guest, NULL);

	if (!policy || strcmp(policy, "continue") != 0)
		return 0;
	if (strstr(name, "jiffies"))
		return why_set(why, -ENODEV,
			       "the ticks of that time are given later, at the guest's pace");
	if (gap_ns > limit_ns)
		return why_set(
			why, -ENODEV,
			"by %s no guest sees a gap of more than %llu.%llu s, it is %llu.%llu s",
			name, limit_ns / SECOND, limit_ns % SECOND / (SECOND / 10), gap_ns / SECOND,
			gap_ns % SECOND / (SECOND / 10));
	return 0;
}

static void judge_freeze(const struct test_event_run *r, int64_t stood_ns, struct judge_row *row)
{
	struct event_seen seen = r->seen;

	if (r->event->moves) {
		event_judge_moved(r->pauses ? r->pauses->least_ns : r->move.downtime_ns, stood_ns,
				  row);
		return;
	}
	if (r->pauses) {
		seen.begun_ns = seen.began_ns = 0;
		seen.ended_ns = r->pauses->least_ns;
		seen.over_ns = r->pauses->most_ns;
	}
	event_judge_freeze(&seen, stood_ns, row);
}

static uint64_t told_downtime_ns(const struct test_event_run *r)
{
	return r->event->moves ? r->move.downtime_ns : r->downtime_ns;
}

static void show(struct judge_row *row, enum judge_figure figure, int64_t ns)
{
	row->value[figure] = ns;
	row->known[figure] = ns > 0;
}

/* For how long what stood still. */
static void show_times(const struct test_event_run *r, bool has_stood, int64_t stood_ns,
		       struct judge_row *row)
{
	const int64_t down_ns = (int64_t)told_downtime_ns(r);

	row->value[JUDGE_FROZEN] = stood_ns;
	row->known[JUDGE_FROZEN] = has_stood;
	if (r->event->moves) {
		show(row, JUDGE_DOWNTIME, down_ns);
		show(row, JUDGE_DOWNTIME_SAID, r->pauses ? 0 : (int64_t)r->downtime_ns);
		show(row, JUDGE_TOTAL, (int64_t)r->move.total_ns);
	} else if (has_stood) {
		show(row, JUDGE_DOWNTIME, down_ns ? down_ns : stood_ns);
	}
}

/* `policy` is what it is set against; NULL: nothing is to change. */
static void judge(const struct test_event_run *r, const char *policy, struct judge_row *row)
{
	const struct test_stream *s = &r->stream;
	const uint64_t hz = pairs_tsc_hz(r->pairs);
	const bool freeze = policy && strcmp(policy, "freeze") == 0;
	const bool told = r->policy || r->seen.has_pages || r->slept_ns;
	/* What the TSC counted of a suspend is not how long it was. */
	const int64_t stood_ns = r->slept_ns ? r->slept_ns : event_stood_ns(&r->seen, hz);
	const uint64_t down_ns = told_downtime_ns(r);
	const uint64_t gap_ns = down_ns ? down_ns : r->seen.over_ns - r->seen.begun_ns;
	const struct judge_promise promise = {.frozen_ns = freeze ? stood_ns : 0,
					      .slept_ns = r->slept_ns,
					      .monotonic_only = r->event->monotonic_only};
	const size_t from = r->follow.from, end = r->n_before, again = test_event_first_after(r);
	struct judge_point *p = calloc(s->evaluated + 1, sizeof(*p));
	struct judge_clock clock = {0};
	const struct pauses_promise each = {.clock = &clock,
					    .hz = hz,
					    .limit_ns = r->options->limits_ns[r->event->scenario],
					    .frozen = freeze};
	struct why why = {0};

	judge_find_clock(r->config.clocksource, hz, s->hello.tick_ns, &clock);
	for (size_t i = 0; p && i < s->evaluated; i++)
		p[i] = s->readings[i].point;
	if (freeze && !told)
		judge_skip(row, "how long its time stood is not known: %s", r->untraced.text);
	else if (!r->pauses && check_gap(r, policy, gap_ns, &why) < 0)
		judge_skip(row, "%s", why.text);
	else if (p && end > from && again < s->evaluated)
		judge_promised(p + from, end - from, p + again, s->evaluated - again, &clock,
			       &promise, r->options->limits_ns[r->event->scenario],
			       r->pauses ? pauses_limit_ns(r->pauses) : r->event->limit_ns, row);
	else
		judge_skip(row, "there are no readings of it");
	free(p);
	if (row->judged != JUDGE_FIGURES)
		show_times(r, policy && told, stood_ns, row);
	if (freeze && told && !r->slept_ns)
		judge_freeze(r, stood_ns, row);
	if (r->pauses && row->judged != JUDGE_FIGURES)
		pauses_judge(r->pauses, s, end - 1, &each, row);
}

static int add_result(struct test_event_run *r, const char *policy, int error,
		      const struct why *why)
{
	struct judge_row *row =
		test_plan_add_row(r->report, &r->config, r->event->scenario, r->number);

	if (!row)
		return cmd_error("test", CMD_CANNOT, "out of memory");
	r->report->results[r->report->count - 1].policy = policy;
	if (error)
		test_plan_judge_trouble(why, error, row);
	else
		judge(r, policy, row);
	if (r->event->clones && r->options->clones > 1) {
		row->value[JUDGE_CLONE] = r->clone;
		row->known[JUDGE_CLONE] = true;
	}
	if (r->alarm[0])
		test_plan_judge_alarm(r->alarm, row);
	return CMD_OK;
}

bool test_event_is_worth_it(const struct test_event_run *r)
{
	struct why ignored;

	for (size_t i = 0; i < r->n_against; i++)
		if (check_gap(r, r->against[i], test_event_gap_ns(r), &ignored) == 0)
			return true;
	return false;
}

int test_event_add_results(struct test_event_run *r, int error)
{
	int status = CMD_OK;

	for (size_t i = 0; !status && i < r->n_against; i++) {
		struct why why = {0};
		int gap = check_gap(r, r->against[i], test_event_gap_ns(r), &why);

		status = add_result(r, r->against[i], gap ? gap : error, gap ? &why : &r->why);
	}
	return status;
}
