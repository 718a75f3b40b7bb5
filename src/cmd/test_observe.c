/* SPDX-License-Identifier: Apache-2.0 */
/* test_observe.c - the scenarios that boot Linux with the observer: boot, steady, and those under
 * load. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cmd/cmd.h"
#include "cmd/test_follow.h"
#include "cmd/test_load.h"
#include "cmd/test_observe.h"
#include "cmd/test_sample.h"
#include "cmd/test_subject.h"
#include "cmd/test_ticks_qmp.h"
#include "host/hostclock.h"

#define SECOND 1000000000ULL

static const uint64_t map_period_ns = SECOND;
static const uint64_t map_patience_ns = 5 * SECOND; /* a VM that comes or goes */
static const uint64_t line_least_ns = 10 * SECOND;  /* a frequency needs that much */

static const uint64_t default_limits_ns[TEST_OBSERVED] = {[TEST_BOOT] = SECOND,
							  [TEST_STEADY] = 1000,
							  [TEST_OVERCOMMIT] = 1000,
							  [TEST_STEAL] = SAMPLE_STEAL_NS};
static const uint64_t exact_boot_limit_ns = 5000000; /* the RTC tells the half of a second */
static const uint64_t default_steady_ns = 60 * SECOND;

/* One boot of one guest, from start to verdicts. */
struct run {
	const struct test_options *options;
	struct test_report *report;
	struct pairs *pairs;
	struct test_machine_config config;
	unsigned number;

	struct test_machine machine;
	struct test_stream stream;
	struct kvmtsc_map map;
	bool has_map;
	int fd;
	uint64_t started_ns, last_news_ns;
	uint64_t map_read_ns, map_missed_ns; /* last had; missed since, 0 when it is not */
	struct test_follow follow;
	bool steady; /* on its clock source, for long enough */
	struct test_load load;
	uint64_t done_ns; /* all readings are there since; 0: not yet */
	uint64_t owed;    /* ticks, at the end, if the machine has QMP */
	char alarm[160];  /* the first line of the guest's log that is one; "" */
	bool cannot;      /* measuring is not possible here at all */
	struct why why;
};

static uint64_t steady_ns(const struct test_options *o, const char *clocksource)
{
	uint64_t wanted_ns = o->duration_ns ? o->duration_ns : default_steady_ns;
	struct judge_clock clock = {0};

	judge_find_clock(clocksource, 0, 0, &clock);
	return clock.on_a_line && wanted_ns < line_least_ns ? line_least_ns : wanted_ns;
}

uint64_t test_observe_longest_ns(const struct test_options *o)
{
	uint64_t all_ns = 0;

	for (unsigned i = 0; i < o->clocksource_count && test_is_observed(o); i++)
		all_ns += test_follow_boot_ns + test_follow_clocksource_ns +
			  test_follow_silence_ns +
			  (o->scenarios[TEST_STEADY] ? 2 * steady_ns(o, o->clocksources[i]) : 0) +
			  (test_load_wanted(o) ? test_load_longest_ns(o) : 0);
	return all_ns;
}

/* What is going on, on one line that is overwritten; only for a person who watches. */
static void show_progress(const struct run *r, uint64_t now_ns)
{
	const char *scenario = test_scenario_names[r->load.begun_ns  ? TEST_OVERCOMMIT
						   : r->follow.on_it ? TEST_STEADY
								     : TEST_BOOT];

	if (!isatty(STDERR_FILENO))
		return;
	fprintf(stderr, "\r\033[K%s, %s, run %u of %u: %s, %llu s",
		test_subject_names[r->config.subject], r->config.clocksource, r->number,
		r->options->repeat, scenario, (now_ns - r->started_ns) / SECOND);
}

static int give_up(struct run *r, const char *what)
{
	return test_machine_complain(&r->machine, what, &r->why);
}

static int take(void *stream, const char *bytes, size_t size)
{
	return test_stream_take(stream, bytes, size);
}

static int receive(struct run *r)
{
	int error = test_machine_feed(&r->machine, &r->fd, take, &r->stream, &r->why);

	r->cannot |= error < 0;
	return error;
}

static bool map_is_due(const struct run *r, uint64_t now_ns)
{
	if (!r->has_map)
		return r->stream.count > 0;
	return now_ns - r->map_read_ns >= map_period_ns || r->map_read_ns < r->done_ns;
}

/* The map is what KVM applies now; a guest that is only run keeps the one it has, until after its
 * last reading.  A VM that is not in debugfs, or just leaves it, belongs to a process that comes or
 * goes: that is waited for, since then its end says more. */
static int read_map(struct run *r, uint64_t now_ns)
{
	struct kvmtsc_map map;
	int error;

	if (!map_is_due(r, now_ns))
		return 0;
	error = kvmtsc_read(NULL, r->machine.pid, &map, &r->why);
	if (error == -ENOENT || error == -EIO) {
		if (!r->map_missed_ns)
			r->map_missed_ns = now_ns;
		if (now_ns - r->map_missed_ns < map_patience_ns)
			return 0;
	}
	if (error) {
		r->cannot = !r->has_map && error != -ESTALE;
		return error;
	}
	if (r->has_map && !kvmtsc_same(&map, &r->map))
		return why_set(&r->why, -ESTALE,
			       "the guest's TSC offset changed from %" PRId64 " to %" PRId64
			       " while it ran",
			       r->map.offset, map.offset);
	r->map = map;
	r->has_map = true;
	r->map_read_ns = now_ns;
	r->map_missed_ns = 0;
	return 0;
}

/* Looks for the clock source, then for the end of the steady time. */
static int look_at_readings(struct run *r, size_t from)
{
	const struct test_stream *s = &r->stream;
	const uint64_t wanted_ns = steady_ns(r->options, r->follow.clocksource) + 2 * JUDGE_END_NS;
	bool done = r->steady;

	for (size_t i = from; i < s->evaluated && !r->done_ns; i++) {
		int error = test_follow_look(&r->follow, s, i, &r->why);

		if (error)
			return error;
		if (!r->follow.on_it)
			continue;
		done |= !r->options->scenarios[TEST_STEADY] ||
			(i >= r->follow.from &&
			 (uint64_t)(s->readings[i].point.host_ns -
				    s->readings[r->follow.from].point.host_ns) >= wanted_ns);
	}
	r->steady = done;
	return 0;
}

static int look_at_load(struct run *r, uint64_t now_ns)
{
	int over = r->steady;

	if (over && !r->done_ns && test_load_wanted(r->options))
		over = test_load_step(&r->load, r->options, &r->stream, r->follow.from,
				      r->machine.pid, r->fd, &r->why);
	if (over > 0 && !r->done_ns)
		r->done_ns = now_ns;
	return over < 0 ? over : 0;
}

static int check_limits(struct run *r, uint64_t now_ns)
{
	struct why why;
	int error = test_follow_check(&r->follow, &r->stream, now_ns - r->started_ns,
				      now_ns - r->last_news_ns, &why);

	if (error == -ETIMEDOUT)
		return give_up(r, why.text);
	return error ? why_set(&r->why, error, "%s", why.text) : 0;
}

/* What the machine itself shows of its end. */
static int check_machine(struct run *r, bool over)
{
	if (over)
		return test_machine_complain_of_end(&r->machine, &r->why);
	if (r->stream.restarted)
		return give_up(r, "the guest rebooted");
	if (test_machine_panicked(&r->machine))
		return give_up(r, "the guest's kernel panicked");
	return 0;
}

static int evaluate(struct run *r)
{
	int error = r->has_map ? test_stream_evaluate(&r->stream, &r->map, r->pairs) : 0;

	if (error)
		why_set(&r->why, error, "the guest's TSC is none of this host's");
	return error;
}

/* Runs the machine until all readings are there and the map was seen to hold for the last of them.
 * 0, or a negative errno with its why. */
static int measure(struct run *r)
{
	int error = 0;

	while (!error && !test_plan_stopped() && !(r->done_ns && r->map_read_ns >= r->done_ns)) {
		size_t before = r->stream.evaluated;
		bool over = test_machine_has_ended(&r->machine);
		uint64_t now_ns;

		error = receive(r);
		now_ns = hostclock_monotonic_ns();
		if (!error)
			error = check_machine(r, over);
		if (!error)
			error = read_map(r, now_ns);
		if (!error)
			error = evaluate(r);
		if (!error)
			error = look_at_readings(r, before);
		if (!error)
			error = look_at_load(r, now_ns);
		if (r->stream.evaluated > before)
			r->last_news_ns = now_ns;
		if (!error && !r->done_ns)
			error = check_limits(r, now_ns);
		show_progress(r, now_ns);
	}
	return error;
}

/* What comes later is no fault of what was over, as long as another row tells it. */
static bool spoils(const struct run *r, enum test_scenario scenario, int error)
{
	const bool load = test_load_wanted(r->options);

	if (scenario == TEST_BOOT && r->stream.evaluated && error != -ENODEV)
		return error && !load && !r->options->scenarios[TEST_STEADY];
	return error && !(scenario == TEST_STEADY && r->steady && load);
}

/* A guest that counts ticks sets its clock at one of them and reads it at another. */
static uint64_t boot_limit(const struct run *r, const struct judge_clock *clock)
{
	if (r->options->limits_ns[TEST_BOOT])
		return r->options->limits_ns[TEST_BOOT];
	if (!test_boots_exactly(r->options, r->config.subject))
		return default_limits_ns[TEST_BOOT];
	return exact_boot_limit_ns + (clock->needs_tick ? clock->limit_ns : 0);
}

static void judge_scenario(const struct run *r, enum test_scenario scenario, int error,
			   struct judge_row *row)
{
	const struct test_stream *s = &r->stream;
	uint64_t limit_ns = r->options->limits_ns[scenario];
	struct judge_clock clock = {0};
	struct judge_point *points;
	const size_t end = test_load_first(&r->load, s);
	size_t count = end > r->follow.from ? end - r->follow.from : 0;

	judge_find_clock(r->config.clocksource, pairs_tsc_hz(r->pairs), s->hello.tick_ns, &clock);
	if (spoils(r, scenario, error)) {
		test_plan_judge_trouble(&r->why, error, row);
	} else if (scenario == TEST_BOOT && s->readings[0].sample.seq > 0) {
		judge_skip(row, "the guest's first reading was lost on the way");
	} else if (scenario == TEST_BOOT) {
		judge_boot(&s->readings[0].point,
			   (uint64_t)s->readings[0].point.host_ns - r->started_ns,
			   boot_limit(r, &clock), row);
	} else if (scenario != TEST_STEADY) {
		test_load_judge(&r->load, s, r->follow.from, scenario, &clock, limit_ns,
				default_limits_ns[scenario], row);
	} else {
		points = calloc(count, sizeof(*points));
		for (size_t i = 0; points && i < count; i++)
			points[i] = s->readings[r->follow.from + i].point;
		judge_steady(points, points ? count : 0, &clock, limit_ns,
			     default_limits_ns[scenario], row);
		row->value[JUDGE_MISSING] = (int64_t)test_stream_missing(s, r->follow.from);
		row->value[JUDGE_DAMAGED] = (int64_t)s->damaged;
		row->known[JUDGE_MISSING] = row->known[JUDGE_DAMAGED] = true;
		free(points);
		if (r->config.qmp)
			judge_owed(r->owed, row);
	}
}

static int add_results(struct run *r, int error)
{
	for (int i = 0; i < TEST_OBSERVED; i++) {
		const enum test_scenario scenario = (enum test_scenario)i;
		struct judge_row *row;

		if (!r->options->scenarios[i])
			continue;
		row = test_plan_add_row(r->report, &r->config, scenario, r->number);
		if (!row)
			return cmd_error("test", CMD_CANNOT, "out of memory");
		judge_scenario(r, scenario, error, row);
		if (r->alarm[0])
			test_plan_judge_alarm(r->alarm, row);
	}
	return CMD_OK;
}

static int run_once(struct run *r)
{
	char keep[PATH_MAX];
	int error, status = test_plan_keep(&r->config, r->config.clocksource, r->number, keep,
					   sizeof(keep), &r->stream.record);

	if (status)
		return status;
	r->fd = -1;
	r->started_ns = r->last_news_ns = hostclock_monotonic_ns();
	error = test_machine_start(&r->config, &r->machine, &r->why);
	r->cannot = error < 0; /* the machine has not even begun */
	if (!error) {
		error = measure(r);
		test_load_rest(&r->load);
		test_plan_clear_progress();
	}
	if (!error && r->config.qmp)
		error = ticks_qmp_owed(r->machine.qmp, &r->owed, &r->why);
	status = test_plan_end(r->report, r->config.subject, &r->machine, r->fd,
			       r->stream.has_hello ? &r->stream.hello : NULL,
			       error && r->cannot ? &r->why : NULL, r->alarm, sizeof(r->alarm));
	if (!status)
		status = add_results(r, error);
	if (r->stream.record)
		fclose(r->stream.record);
	test_stream_free(&r->stream);
	test_load_end(&r->load);
	return status;
}

int test_observe_run(const struct test_options *o, enum test_subject subject,
		     const struct test_images *images, struct pairs *pairs,
		     struct test_report *report)
{
	int status = CMD_OK;

	for (unsigned c = 0; !status && c < o->clocksource_count; c++) {
		for (unsigned n = 1; !status && n <= o->repeat; n++) {
			struct run r = {.options = o,
					.report = report,
					.pairs = pairs,
					.config = {.options = o,
						   .subject = subject,
						   .clocksource = o->clocksources[c],
						   .qmp = test_counts_our_ticks(o, subject, c),
						   .kernel = images->kernel,
						   .initrd = images->initrd},
					.follow.clocksource = o->clocksources[c],
					.number = n};

			status = run_once(&r);
		}
	}
	return status;
}
