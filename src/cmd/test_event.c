/* SPDX-License-Identifier: Apache-2.0 */
/* test_event.c - a guest to which something happens, and what its clocks make of that.
 *
 * A reading that came while it began cannot be told from one right after its end by its TSC alone,
 * so those around it do not count. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cmd/cmd.h"
#include "cmd/test_event.h"
#include "host/hostclock.h"

#define SECOND 1000000000ULL

__extension__ typedef unsigned __int128 u128;

static const uint64_t after_ns = 2 * JUDGE_END_NS;
static const uint64_t clone_ns = 30 * SECOND; /* at most, from the end of the one before */
static const uint64_t clone_before_ns = 3 * SECOND;
static const uint64_t map_patience_ns = 5 * SECOND;

static const uint64_t qmp_patience_ns = 10 * SECOND;

static const char *const policies[] = {"continue", "freeze"};

enum { POLICIES = sizeof(policies) / sizeof(policies[0]), MAP_STEP_MS = 10 };

static uint64_t many(const struct test_options *o, const struct test_event *event)
{
	return event->moves ? o->migrations : o->pauses;
}

uint64_t test_event_ns(const struct test_event_run *r)
{
	if (!r->event->default_ns)
		return 0;
	return r->options->duration_ns ? r->options->duration_ns
				       : r->event->default_ns(r->config.clocksource);
}

uint64_t test_event_gap_ns(const struct test_event_run *r)
{
	return r->event->each_ns ? r->event->each_ns : test_event_ns(r);
}

/* With all that comes between many. */
static uint64_t lasts_ns(const struct test_options *o, const struct test_event *event,
			 const char *clocksource)
{
	if (event->each_ns)
		return many(o, event) * 5 * event->each_ns;
	if (event->moves)
		return test_move_patience_ns;
	return (o->duration_ns ? o->duration_ns : event->default_ns(clocksource)) +
	       (event->clones ? o->clones * clone_ns : 0);
}

/* A frequency needs 10 s; of what then lasts long its error would be wider than the limit. */
static uint64_t before_ns(const struct test_options *o, const struct test_event *event)
{
	const uint64_t base_ns = 10 * SECOND + 2 * JUDGE_END_NS;

	if (event->each_ns)
		return base_ns + many(o, event) * event->each_ns / 8;
	return base_ns + (event->clones ? (o->clones - 1) * clone_before_ns : 0);
}

uint64_t test_event_longest_ns(const struct test_options *o, const struct test_event *event)
{
	uint64_t all_ns = 0;

	for (unsigned c = 0; c < o->clocksource_count && o->scenarios[event->scenario]; c++)
		all_ns += 2 * test_follow_boot_ns + test_follow_clocksource_ns +
			  test_follow_silence_ns + 2 * before_ns(o, event) + 2 * after_ns +
			  lasts_ns(o, event, o->clocksources[c]);
	return all_ns * POLICIES;
}

static void show_progress(const struct test_event_run *r, uint64_t now_ns)
{
	if (!isatty(STDERR_FILENO))
		return;
	fprintf(stderr, "\r\033[K%s, %s, run %u of %u: %s%s%s",
		test_subject_names[r->config.subject], r->config.clocksource, r->number,
		r->options->repeat, test_scenario_names[r->event->scenario], r->policy ? " " : "",
		r->policy ? r->policy : "");
	if (r->event->each_ns && r->pauses)
		fprintf(stderr, ", %u of %llu", r->pauses->done,
			(unsigned long long)many(r->options, r->event));
	fprintf(stderr, ", %llu s", (now_ns - r->started_ns) / SECOND);
}

static int take(void *stream, const char *bytes, size_t size)
{
	return test_stream_take(stream, bytes, size);
}

/* A VM that is not in debugfs belongs to a process that comes or goes. */
int test_event_read_map(struct test_event_run *r, struct kvmtsc_map *ret_map)
{
	const uint64_t end_ns = hostclock_monotonic_ns() + map_patience_ns;
	int error;

	while (((error = kvmtsc_read(NULL, r->machine.pid, ret_map, &r->why)) == -ENOENT ||
		error == -EIO) &&
	       hostclock_monotonic_ns() < end_ns && !test_plan_stopped() &&
	       !test_machine_has_ended(&r->machine))
		(void)poll(NULL, 0, MAP_STEP_MS);
	r->cannot = error && !r->has_map && r->phase == TEST_EVENT_BEFORE && error != -ESTALE;
	return error;
}

static int look_at_readings(struct test_event_run *r, size_t from)
{
	int error = 0;

	for (size_t i = from; i < r->stream.evaluated && !error; i++)
		error = test_follow_look(&r->follow, &r->stream, i, &r->why);
	return error;
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

/* QEMU's kvm-clock is told by KVM, where it can be traced. */
static void look_at_page(struct test_event_run *r, int n)
{
	if (r->trace.folder[0] &&
	    pvtrace_last(&r->trace, r->machine.pid, &r->seen.page[n], &r->untraced) < 0)
		pvtrace_close(&r->trace);
	r->seen.has_pages = r->trace.folder[0];
}

static int begin(struct test_event_run *r)
{
	struct event_seen *seen = &r->seen;
	int error = test_event_read_map(r, &seen->map[0]);

	if (!error && !kvmtsc_same(&seen->map[0], &r->map))
		error = why_set(&r->why, -ESTALE, "the guest's TSC offset changed while it ran");
	if (error)
		return error;
	look_at_page(r, 0);
	r->n_before = r->stream.evaluated;
	seen->begun_ns = hostclock_monotonic_ns();
	error = r->event->begin(r);
	seen->began_ns = hostclock_monotonic_ns();
	r->mark_tsc = test_event_count(&seen->map[0]);
	r->phase = TEST_EVENT_DURING;
	return error;
}

static int end(struct test_event_run *r)
{
	struct event_seen *seen = &r->seen;
	int error;

	if (!r->event->runs)
		r->n_before = r->stream.evaluated;
	r->n_come = r->stream.count;
	seen->ended_ns = hostclock_monotonic_ns();
	error = r->event->end(r);
	seen->over_ns = r->last_news_ns = hostclock_monotonic_ns();
	seen->host_tsc = hostclock_tsc();
	if (r->event->runs)
		r->mark_tsc = test_event_count(&r->map);
	r->has_map = false;
	r->phase = TEST_EVENT_AFTER;
	return error;
}

/* The guest's TSC as it is after the event, which its first reading tells. */
static int see_again(struct test_event_run *r)
{
	const struct kvmtsc_map *before = &r->seen.map[0];
	int error;

	if (r->stream.count == r->n_come)
		return 0;
	error = test_event_read_map(r, &r->map);
	r->has_map = !error;
	r->seen.map[1] = r->map;
	if (!error && (r->map.ratio != before->ratio || r->map.frac_bits != before->frac_bits))
		error = why_set(&r->why, -ESTALE, "the guest's TSC has another frequency");
	return error;
}

/* vmtime's VMM says itself for how long its machine stood. */
static int ask_downtime(struct test_event_run *r)
{
	json_t *time;
	int error = test_qmp_ask(&r->qmp, "query-vmtime", NULL, qmp_patience_ns, &time, &r->why);

	if (error)
		return error;
	r->downtime_ns = (uint64_t)json_integer_value(
		json_object_get(json_object_get(time, "last_change"), "gap_ns"));
	json_decref(time);
	return 0;
}

static int finish(struct test_event_run *r)
{
	struct kvmtsc_map now;
	int error = test_event_read_map(r, &now);

	if (!error && !kvmtsc_same(&now, &r->map))
		error = why_set(&r->why, -ESTALE, "the guest's TSC offset changed after the event");
	look_at_page(r, 1);
	if (!error && r->config.subject == TEST_VMTIME && (!r->event->runs || r->event->moves))
		error = ask_downtime(r);
	r->phase = TEST_EVENT_OVER;
	return error;
}

static int evaluate(struct test_event_run *r)
{
	int error = 0;

	if (!r->has_map && r->phase == TEST_EVENT_AFTER) {
		error = see_again(r);
	} else if (!r->has_map && r->stream.count) {
		error = test_event_read_map(r, &r->map);
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

size_t test_event_first_after(const struct test_event_run *r)
{
	size_t i = r->n_before;

	while (i < r->stream.evaluated &&
	       r->stream.readings[i].sample.clock[SAMPLE_REALTIME].tsc <= r->mark_tsc)
		i++;
	return i;
}

static int go_on_with(struct test_event_run *r, uint64_t now_ns)
{
	int over =
		r->event->step ? r->event->step(r) : now_ns - r->seen.began_ns >= test_event_ns(r);

	return over > 0 ? end(r) : over;
}

/* Whether it is time for the next phase, and what it begins with. */
static int go_through(struct test_event_run *r, uint64_t now_ns)
{
	const struct test_stream *s = &r->stream;
	size_t i;

	if (r->phase == TEST_EVENT_DURING)
		return go_on_with(r, now_ns);
	if (!r->follow.on_it || s->evaluated <= r->follow.from)
		return 0;
	if (r->phase == TEST_EVENT_BEFORE)
		return (uint64_t)(last_ns(s) - s->readings[r->follow.from].point.host_ns) >=
				       before_ns(r->options, r->event)
			       ? begin(r)
			       : 0;
	i = test_event_first_after(r);
	return i < s->evaluated && (uint64_t)(last_ns(s) - s->readings[i].point.host_ns) >= after_ns
		       ? finish(r)
		       : 0;
}

static int check_limits(struct test_event_run *r, uint64_t now_ns)
{
	const bool runs = r->phase != TEST_EVENT_DURING || r->event->runs;
	struct why why;
	int error = test_follow_check(&r->follow, &r->stream, now_ns - r->started_ns,
				      runs ? now_ns - r->last_news_ns : 0, &why);

	if (error == -ETIMEDOUT)
		return test_machine_complain(&r->machine, why.text, &r->why);
	return error ? why_set(&r->why, error, "%s", why.text) : 0;
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

/* Another one from the same file, beside the one before, whose readings are forgotten. */
static int make_clone(struct test_event_run *r)
{
	test_machine_alarmed(&r->left, r->alarm, sizeof(r->alarm));
	test_machine_stop(&r->left);
	if (r->fd >= 0)
		close(r->fd);
	r->fd = -1;
	test_qmp_close(&r->qmp);
	r->stream.count = r->stream.evaluated = r->n_before;
	r->stream.lines = (struct test_lines){0};
	r->clone++;
	return end(r);
}

/* All but the last have their results then.  0 or negative errno; a status, as of
 * test_event_run(), in *ret_status. */
static int measure_clones(struct test_event_run *r, int *ret_status)
{
	int error = measure(r);

	while (!error && r->event->clones && r->clone < r->options->clones &&
	       !test_plan_stopped()) {
		*ret_status = test_event_add_results(r, 0);
		if (*ret_status)
			break;
		error = make_clone(r);
		if (!error)
			error = measure(r);
	}
	return error;
}

/* A machine is run as often as it takes, which for one that has no policies is once for all. */
static int run_once(struct test_event_run *r, int *ret_error)
{
	char keep[PATH_MAX], what[64];
	int error, ended, status;

	snprintf(what, sizeof(what), "%s-%s%s%s", r->config.clocksource,
		 test_scenario_names[r->event->scenario], r->policy ? "-" : "",
		 r->policy ? r->policy : "");
	status = test_plan_keep(&r->config, what, r->number, keep, sizeof(keep), &r->stream.record);
	if (status)
		return status;
	r->started_ns = r->last_news_ns = hostclock_monotonic_ns();
	if (r->event->option && r->config.subject != TEST_VMTIME)
		(void)pvtrace_open(NULL, &r->trace, &r->untraced);
	error = test_machine_start(&r->config, &r->machine, &r->why);
	r->cannot = error < 0; /* the machine has not even begun */
	if (!error) {
		error = measure_clones(r, &status);
		if (r->event->undo)
			r->event->undo();
		test_plan_clear_progress();
	}
	test_machine_alarmed(&r->move.next, r->alarm, sizeof(r->alarm));
	test_move_free(&r->move);
	pvtrace_close(&r->trace);
	test_qmp_close(&r->qmp);
	if (r->left.pid)
		test_plan_remember(r->report, r->config.subject, &r->left, NULL);
	test_machine_alarmed(&r->left, r->alarm, sizeof(r->alarm));
	test_machine_stop(&r->left);
	if (r->file >= 0)
		close(r->file);
	if (r->stream.record)
		fclose(r->stream.record);
	*ret_error = error;
	ended = test_plan_end(r->report, r->config.subject, &r->machine, r->fd,
			      r->stream.has_hello ? &r->stream.hello : NULL,
			      error && r->cannot ? &r->why : NULL, r->alarm, sizeof(r->alarm));
	return status ? status : ended;
}

/* One boot, and a result for each policy that what happened is set against, unless none of them
 * promises anything. */
static int run_against(struct test_event_run *r)
{
	int error = r->event->check ? r->event->check(r) : 0, status = CMD_OK;

	if (!error && test_event_is_worth_it(r))
		status = run_once(r, &error);
	if (!status)
		status = test_event_add_results(r, error);
	test_stream_free(&r->stream);
	pauses_free(r->pauses);
	return status;
}

static int run_times(const struct test_event_run *like, const char *const *names, size_t count)
{
	const bool told = like->config.subject == TEST_VMTIME && *names;
	const char *more[] = {like->event->option, *names, NULL};
	int status = CMD_OK;

	for (unsigned n = 1; !status && n <= like->options->repeat; n++) {
		struct test_event_run r = *like;

		r.number = n;
		r.clone = 1;
		r.fd = r.file = r.qmp.fd = r.move.fd = r.move.qmp.fd = -1;
		r.follow.clocksource = r.config.clocksource;
		r.policy = told ? *names : NULL;
		r.config.more = told ? more : NULL;
		r.against = names;
		r.n_against = count;
		status = run_against(&r);
	}
	return status;
}

/* vmtime's VMM is told a policy; another does as it does, which is set against each, or, of many
 * events, against no change at all. */
static int run_clocksource(const struct test_event_run *like)
{
	static const char *const none[] = {NULL};
	const char *option = like->event->option;
	const char *chosen = option ? test_run_option(like->options, option) : NULL;
	int status = CMD_OK;

	if (!option || (like->event->each_ns && like->config.subject != TEST_VMTIME))
		return run_times(like, none, 1);
	if (like->config.subject != TEST_VMTIME)
		return run_times(like, policies, POLICIES);
	for (int i = 0; !status && i < POLICIES; i++)
		if (!chosen || strcmp(chosen, policies[i]) == 0)
			status = run_times(like, &policies[i], 1);
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

		status = run_clocksource(&like);
	}
	return status;
}
