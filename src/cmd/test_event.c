/* SPDX-License-Identifier: Apache-2.0 */
/* test_event.c - a guest to which something happens, and what its clocks make of that.
 *
 * How long virtual time stood is not taken from when something was asked for, but from KVM: by so
 * much the guest's TSC offset is another after it.  A reading that came while it began cannot be
 * told from one right after its end by its TSC alone, so those around it do not count. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <vmtime/gap.h>

#include "cmd/cmd.h"
#include "cmd/test_event.h"
#include "host/hostclock.h"

#define SECOND 1000000000ULL

__extension__ typedef unsigned __int128 u128;
__extension__ typedef __int128 i128;

static const uint64_t boot_limit_ns = 180 * SECOND;
static const uint64_t clocksource_limit_ns = 30 * SECOND;
static const uint64_t silence_limit_ns = 30 * SECOND;
static const uint64_t after_ns = 2 * JUDGE_END_NS;
static const uint64_t map_patience_ns = 5 * SECOND;

static const char *const policies[] = {"continue", "freeze"};

enum { POLICIES = sizeof(policies) / sizeof(policies[0]) };

uint64_t test_event_ns(const struct test_event_run *r)
{
	return r->options->duration_ns ? r->options->duration_ns
				       : r->event->default_ns(r->config.clocksource);
}

/* With all that comes between many. */
static uint64_t lasts_ns(const struct test_options *o, const struct test_event *event,
			 const char *clocksource)
{
	if (event->each_ns)
		return o->pauses * 5 * event->each_ns;
	return o->duration_ns ? o->duration_ns : event->default_ns(clocksource);
}

/* A frequency needs 10 s; of what then lasts long its error would be wider than the limit. */
static uint64_t before_ns(const struct test_options *o, const struct test_event *event)
{
	return 10 * SECOND + 2 * JUDGE_END_NS +
	       (event->each_ns ? o->pauses * event->each_ns / 8 : 0);
}

uint64_t test_event_longest_ns(const struct test_options *o, const struct test_event *event)
{
	uint64_t all_ns = 0;

	for (unsigned c = 0; c < o->clocksource_count && o->scenarios[event->scenario]; c++)
		all_ns += 2 * boot_limit_ns + clocksource_limit_ns + silence_limit_ns +
			  2 * before_ns(o, event) + 2 * after_ns +
			  lasts_ns(o, event, o->clocksources[c]);
	return all_ns * POLICIES;
}

static void show_progress(const struct test_event_run *r, uint64_t now_ns)
{
	if (!isatty(STDERR_FILENO))
		return;
	fprintf(stderr, "\r\033[K%s, %s, run %u of %u: %s%s%s, %llu s",
		test_subject_names[r->config.subject], r->config.clocksource, r->number,
		r->options->repeat, test_scenario_names[r->event->scenario], r->policy ? " " : "",
		r->policy ? r->policy : "", (now_ns - r->started_ns) / SECOND);
}

static int take(void *stream, const char *bytes, size_t size)
{
	return test_stream_take(stream, bytes, size);
}

/* A VM that is not in debugfs belongs to a process that comes or goes. */
static int read_map(struct test_event_run *r, struct kvmtsc_map *ret_map)
{
	const uint64_t end_ns = hostclock_monotonic_ns() + map_patience_ns;
	int error;

	do {
		error = kvmtsc_read(NULL, r->machine.pid, ret_map, &r->why);
	} while ((error == -ENOENT || error == -EIO) && hostclock_monotonic_ns() < end_ns &&
		 !test_machine_has_ended(&r->machine));
	r->cannot = error && !r->has_map && r->phase == TEST_EVENT_BEFORE && error != -ESTALE;
	return error;
}

static int look_at_readings(struct test_event_run *r, size_t from)
{
	const struct test_stream *s = &r->stream;

	for (size_t i = from; i < s->evaluated; i++) {
		bool there = judge_same_clock(s->readings[i].sample.current, r->config.clocksource);

		if (r->on_clocksource && !there)
			return why_set(&r->why, -ESTALE,
				       "the guest left clock source %s for %s while it was "
				       "measured",
				       r->config.clocksource, s->readings[i].sample.current);
		if (there && !r->on_clocksource) {
			r->on_clocksource = true;
			r->steady_from = i + 1;
		}
	}
	return 0;
}

static int64_t last_ns(const struct test_stream *s)
{
	return s->readings[s->evaluated - 1].point.host_ns;
}

uint64_t test_event_count(const struct kvmtsc_map *map)
{
	return (uint64_t)((u128)hostclock_tsc() * map->ratio >> map->frac_bits) +
	       (uint64_t)map->offset;
}

static int begin(struct test_event_run *r)
{
	int error = read_map(r, &r->map_before);

	if (!error && !kvmtsc_same(&r->map_before, &r->map))
		error = why_set(&r->why, -ESTALE, "the guest's TSC offset changed while it ran");
	if (error)
		return error;
	r->n_before = r->stream.evaluated;
	r->begun_ns = hostclock_monotonic_ns();
	error = r->event->begin(r);
	r->began_ns = hostclock_monotonic_ns();
	r->mark_tsc = test_event_count(&r->map_before);
	r->phase = TEST_EVENT_DURING;
	return error;
}

static int end(struct test_event_run *r)
{
	int error;

	if (!r->event->runs)
		r->n_before = r->stream.evaluated;
	r->n_come = r->stream.count;
	r->ended_ns = hostclock_monotonic_ns();
	error = r->event->end(r);
	r->over_ns = r->last_news_ns = hostclock_monotonic_ns();
	if (r->event->runs)
		r->mark_tsc = test_event_count(&r->map);
	r->has_map = false;
	r->phase = TEST_EVENT_AFTER;
	return error;
}

/* The guest's TSC as it is after the event, which its first reading tells. */
static int see_again(struct test_event_run *r)
{
	int error;

	if (r->stream.count == r->n_come)
		return 0;
	error = read_map(r, &r->map);
	r->has_map = !error;
	if (!error &&
	    (r->map.ratio != r->map_before.ratio || r->map.frac_bits != r->map_before.frac_bits))
		error = why_set(&r->why, -ESTALE, "the guest's TSC has another frequency");
	r->frozen_counts = r->map_before.offset - r->map.offset;
	return error;
}

static int finish(struct test_event_run *r)
{
	struct kvmtsc_map now;
	int error = read_map(r, &now);

	if (!error && !kvmtsc_same(&now, &r->map))
		error = why_set(&r->why, -ESTALE, "the guest's TSC offset changed after the event");
	r->phase = TEST_EVENT_OVER;
	return error;
}

static int evaluate(struct test_event_run *r)
{
	int error = 0;

	if (!r->has_map && r->phase == TEST_EVENT_AFTER) {
		error = see_again(r);
	} else if (!r->has_map && r->stream.count) {
		error = read_map(r, &r->map);
		r->has_map = !error;
	}
	if (!error && (r->has_map || r->pauses)) {
		error = r->pauses ? test_stream_evaluate_spans(&r->stream, r->pauses->spans,
							       r->pauses->count, r->pairs)
				  : test_stream_evaluate(&r->stream, &r->map, r->pairs);
		if (error)
			why_set(&r->why, error, "the guest's TSC is none of this host's");
	}
	return error;
}

static size_t first_after(const struct test_event_run *r)
{
	size_t i = r->n_before;

	while (i < r->stream.evaluated &&
	       r->stream.readings[i].sample.clock[SAMPLE_REALTIME].tsc <= r->mark_tsc)
		i++;
	return i;
}

static int go_on_with(struct test_event_run *r, uint64_t now_ns)
{
	int over = r->event->step ? r->event->step(r) : now_ns - r->began_ns >= test_event_ns(r);

	return over > 0 ? end(r) : over;
}

/* Whether it is time for the next phase, and what it begins with. */
static int go_through(struct test_event_run *r, uint64_t now_ns)
{
	const struct test_stream *s = &r->stream;
	size_t i;

	if (r->phase == TEST_EVENT_DURING)
		return go_on_with(r, now_ns);
	if (!r->on_clocksource || s->evaluated <= r->steady_from)
		return 0;
	if (r->phase == TEST_EVENT_BEFORE)
		return (uint64_t)(last_ns(s) - s->readings[r->steady_from].point.host_ns) >=
				       before_ns(r->options, r->event)
			       ? begin(r)
			       : 0;
	i = first_after(r);
	return i < s->evaluated && (uint64_t)(last_ns(s) - s->readings[i].point.host_ns) >= after_ns
		       ? finish(r)
		       : 0;
}

static int check_limits(struct test_event_run *r, uint64_t now_ns)
{
	const struct test_stream *s = &r->stream;

	if (s->evaluated == 0 && now_ns - r->started_ns > boot_limit_ns)
		return test_machine_complain(&r->machine,
					     "the guest did not send a reading in 180 s", &r->why);
	if (s->evaluated && (r->phase != TEST_EVENT_DURING || r->event->runs) &&
	    now_ns - r->last_news_ns > silence_limit_ns)
		return test_machine_complain(&r->machine, "the guest fell silent", &r->why);
	if (s->evaluated && !r->on_clocksource &&
	    (uint64_t)(last_ns(s) - s->readings[0].point.host_ns) > clocksource_limit_ns)
		return why_set(&r->why, -ENODEV,
			       "the guest uses clock source %s, not %s; it has %s",
			       s->readings[s->evaluated - 1].sample.current, r->config.clocksource,
			       s->hello.available);
	return 0;
}

static int check_machine(struct test_event_run *r, bool over)
{
	if (over && !r->gone)
		return test_machine_complain_of_end(&r->machine, &r->why);
	if (r->stream.restarted)
		return test_machine_complain(&r->machine, "the guest rebooted", &r->why);
	if (test_machine_panicked(&r->machine))
		return test_machine_complain(&r->machine, "the guest's kernel panicked", &r->why);
	return 0;
}

static int measure(struct test_event_run *r)
{
	int error = 0;

	while (!error && !test_plan_stopped() && r->phase != TEST_EVENT_OVER) {
		size_t before = r->stream.evaluated;
		bool over = test_machine_has_ended(&r->machine);
		uint64_t now_ns;

		error = test_machine_feed(&r->machine, &r->fd, take, &r->stream, &r->why);
		now_ns = hostclock_monotonic_ns();
		if (!error)
			error = check_machine(r, over);
		if (!error && r->stream.count && r->qmp.fd < 0 && r->phase == TEST_EVENT_BEFORE)
			error = test_qmp_open(r->machine.qmp, &r->qmp, &r->why);
		if (!error)
			error = evaluate(r);
		if (!error)
			error = look_at_readings(r, before);
		if (r->stream.evaluated > before)
			r->last_news_ns = now_ns;
		if (!error)
			error = go_through(r, now_ns);
		if (!error)
			error = check_limits(r, hostclock_monotonic_ns());
		show_progress(r, now_ns);
	}
	return error;
}

/* In host time; guest counts may be scaled. */
static int64_t frozen_ns(const struct test_event_run *r, uint64_t hz)
{
	const i128 host_counts =
		((i128)r->frozen_counts << r->map.frac_bits) / (int64_t)r->map.ratio;

	return hz ? (int64_t)(host_counts * (int64_t)SECOND / (int64_t)hz) : 0;
}

static bool is_frozen(const struct test_event_run *r)
{
	return r->policy && strcmp(r->policy, "freeze") == 0;
}

/* A VMM that follows the other policy keeps what that one promises, and not its word. */
static void judge_policy(const struct test_event_run *r, int64_t stood_ns, struct judge_row *row)
{
	const int64_t least_ns =
		(int64_t)(r->pauses ? r->pauses->least_ns : r->ended_ns - r->began_ns);
	const int64_t most_ns =
		(int64_t)(r->pauses ? r->pauses->most_ns : r->over_ns - r->begun_ns);
	const int64_t apart_ns = most_ns / 1000; /* two of the host's clocks, one of them slewed */

	if (!is_frozen(r) || row->verdict == JUDGE_FAIL ||
	    (stood_ns >= least_ns - apart_ns && stood_ns <= most_ns + apart_ns))
		return;
	row->verdict = JUDGE_FAIL;
	snprintf(row->reason, sizeof(row->reason),
		 "the guest's TSC stood still for %" PRId64 " ns of %" PRId64 " to %" PRId64,
		 stood_ns, least_ns, most_ns);
}

static void judge(const struct test_event_run *r, struct judge_row *row)
{
	const struct test_stream *s = &r->stream;
	const uint64_t hz = pairs_tsc_hz(r->pairs);
	const int64_t stood_ns = frozen_ns(r, hz);
	const struct judge_promise promise = {.frozen_ns = is_frozen(r) ? stood_ns : 0,
					      .monotonic_only = r->event->monotonic_only};
	const size_t from = r->steady_from, end = r->n_before, again = first_after(r);
	struct judge_point *p = calloc(s->evaluated + 1, sizeof(*p));
	struct judge_clock clock = {0};

	judge_find_clock(r->config.clocksource, hz, s->hello.tick_ns, &clock);
	for (size_t i = 0; p && i < s->evaluated; i++)
		p[i] = s->readings[i].point;
	if (p && end > from && again < s->evaluated)
		judge_promised(p + from, end - from, p + again, s->evaluated - again, &clock,
			       &promise, r->options->limits_ns[r->event->scenario],
			       r->pauses ? pauses_limit_ns(r->pauses->done) : r->event->limit_ns,
			       row);
	else
		judge_skip(row, "there are no readings of it");
	free(p);
	row->value[JUDGE_FROZEN] = stood_ns;
	row->known[JUDGE_FROZEN] = row->judged != JUDGE_FIGURES;
	judge_policy(r, stood_ns, row);
	if (r->pauses && row->judged != JUDGE_FIGURES)
		pauses_judge(r->pauses, s, end - 1, hz, is_frozen(r), row);
}

static int add_result(struct test_event_run *r, int error)
{
	struct judge_row *row =
		test_plan_add_row(r->report, &r->config, r->event->scenario, r->number);

	if (!row)
		return cmd_error("test", CMD_CANNOT, "out of memory");
	r->report->results[r->report->count - 1].policy = r->policy;
	if (error)
		test_plan_judge_trouble(&r->why, error, row);
	else
		judge(r, row);
	if (r->alarm[0])
		test_plan_judge_alarm(r->alarm, row);
	return CMD_OK;
}

static int run_once(struct test_event_run *r)
{
	char keep[PATH_MAX], what[64];
	int error, status;

	snprintf(what, sizeof(what), "%s-%s%s%s", r->config.clocksource,
		 test_scenario_names[r->event->scenario], r->policy ? "-" : "",
		 r->policy ? r->policy : "");
	status = test_plan_keep(&r->config, what, r->number, keep, sizeof(keep), &r->stream.record);
	if (status)
		return status;
	r->fd = r->qmp.fd = -1;
	r->started_ns = r->last_news_ns = hostclock_monotonic_ns();
	error = test_machine_start(&r->config, &r->machine, &r->why);
	r->cannot = error < 0; /* the machine has not even begun */
	if (!error) {
		error = measure(r);
		test_plan_clear_progress();
	}
	test_qmp_close(&r->qmp);
	test_machine_alarmed(&r->left, r->alarm, sizeof(r->alarm));
	test_machine_stop(&r->left);
	status = test_plan_end(r->report, r->config.subject, &r->machine, r->fd,
			       r->stream.has_hello ? &r->stream.hello : NULL,
			       error && r->cannot ? &r->why : NULL, r->alarm, sizeof(r->alarm));
	if (!status)
		status = add_result(r, error);
	if (r->stream.record)
		fclose(r->stream.record);
	test_stream_free(&r->stream);
	pauses_free(r->pauses);
	return status;
}

/* What a guest cannot see of a gap by its clock source is not tried. */
static int check_gap(struct test_event_run *r)
{
	const char *name = r->config.clocksource;
	const struct vmt_gap_guest guest = {.clocks = strcmp(name, "hpet") == 0      ? VMT_GAP_HPET
						      : strcmp(name, "acpi_pm") == 0 ? VMT_GAP_PMTMR
										     : VMT_GAP_TSC,
					    .pmtmr_bits = 24};
	const uint64_t limit_ns = vmt_gap_limit_ns(&guest, NULL);
	const uint64_t gap_ns = r->event->each_ns ? r->event->each_ns : test_event_ns(r);

	if (!r->policy || strcmp(r->policy, "continue") != 0)
		return 0;
	if (strstr(name, "jiffies"))
		return why_set(&r->why, -ENODEV,
			       "the ticks of that time are given later, at the guest's pace");
	if (gap_ns > limit_ns)
		return why_set(&r->why, -ENODEV,
			       "by %s no guest sees a gap of more than %llu.%llu s", name,
			       limit_ns / SECOND, limit_ns % SECOND / (SECOND / 10));
	return 0;
}

static int run_policy(const struct test_event_run *like, const char *policy)
{
	const char *more[] = {like->event->option, policy, NULL};
	const char *chosen = policy ? test_run_option(like->options, like->event->option) : NULL;
	int error, status = CMD_OK;

	if (chosen && strcmp(chosen, policy) != 0)
		return CMD_OK;

	for (unsigned n = 1; !status && n <= like->options->repeat; n++) {
		struct test_event_run r = *like;

		r.number = n;
		r.policy = policy;
		r.config.more = policy ? more : NULL;
		error = check_gap(&r);
		status = error ? add_result(&r, error) : run_once(&r);
	}
	return status;
}

int test_event_run(const struct test_options *o, const struct test_event *event,
		   enum test_subject subject, const struct test_images *images, struct pairs *pairs,
		   struct test_report *report)
{
	int status = CMD_OK;

	for (unsigned c = 0; !status && c < o->clocksource_count; c++) {
		const struct test_event_run like = {.event = event,
						    .options = o,
						    .report = report,
						    .pairs = pairs,
						    .config = {.options = o,
							       .subject = subject,
							       .clocksource = o->clocksources[c],
							       .qmp = true,
							       .kernel = images->kernel,
							       .initrd = images->initrd}};

		const bool has_policies = subject == TEST_VMTIME && event->option;

		if (!has_policies)
			status = run_policy(&like, NULL);
		for (int i = 0; !status && has_policies && i < POLICIES; i++)
			status = run_policy(&like, policies[i]);
	}
	return status;
}
