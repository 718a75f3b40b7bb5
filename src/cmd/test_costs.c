/* SPDX-License-Identifier: Apache-2.0 */
/* test_costs.c - scenario costs: what one reading of the time costs in a guest, by each way. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cmd/cmd.h"
#include "cmd/test_costs.h"
#include "cmd/test_costs_read.h"
#include "cmd/test_plan.h"
#include "cmd/test_subject.h"
#include "host/hostclock.h"

#define SECOND 1000000000ULL

static const uint64_t boot_limit_ns = 180 * SECOND;
static const uint64_t clocksource_limit_ns = 30 * SECOND;
static const uint64_t silence_limit_ns = 60 * SECOND; /* a series lasts some seconds at most */

struct run {
	const struct test_options *options;
	struct test_report *report;
	struct test_machine_config config;
	unsigned number;

	struct test_machine machine;
	struct costs_stream stream;
	int fd;
	uint64_t started_ns, last_news_ns;
	uint64_t heard_ns; /* of Linux first; 0: not yet */
	char alarm[160];   /* the first line of the guest's log that is one; "" */
	bool cannot;       /* measuring is not possible here at all */
	struct why why;
};

static bool is_kvm_clock(const char *clocksource)
{
	return strcmp(clocksource, "kvm-clock") == 0;
}

static unsigned boots_of(const char *clocksource)
{
	return is_kvm_clock(clocksource) ? 2 : 1;
}

uint64_t test_costs_longest_ns(const struct test_options *o)
{
	uint64_t all_ns = 0;

	for (unsigned i = 0; i < o->clocksource_count; i++)
		all_ns += boots_of(o->clocksources[i]) *
			  (boot_limit_ns + clocksource_limit_ns + silence_limit_ns);
	return all_ns;
}

static void show_progress(const struct run *r, uint64_t now_ns)
{
	if (isatty(STDERR_FILENO))
		fprintf(stderr, "\r\033[K%s, costs on %s, run %u of %u: %llu s",
			test_subject_names[r->config.subject], r->config.clocksource, r->number,
			r->options->repeat, (now_ns - r->started_ns) / SECOND);
}

static int check_clocksource(struct run *r, uint64_t now_ns)
{
	const struct sample_hello *guest = &r->stream.guest;

	if (!r->stream.has_guest)
		return 0;
	if (!r->heard_ns)
		r->heard_ns = now_ns;
	if (now_ns - r->heard_ns <= clocksource_limit_ns ||
	    judge_same_clock(guest->current, r->config.clocksource))
		return 0;
	return why_set(&r->why, -ENODEV, "the guest uses clock source %s, not %s; it has %s",
		       guest->current, r->config.clocksource, guest->available);
}

static int check(struct run *r, bool over, uint64_t now_ns)
{
	if (over)
		return test_machine_complain_of_end(&r->machine, &r->why);
	if (test_machine_panicked(&r->machine))
		return test_machine_complain(&r->machine, "the guest's kernel panicked", &r->why);
	if (!r->stream.has_guest && now_ns - r->started_ns > boot_limit_ns)
		return test_machine_complain(&r->machine, "the guest did not send a line in 180 s",
					     &r->why);
	if (r->stream.has_guest && now_ns - r->last_news_ns > silence_limit_ns)
		return test_machine_complain(&r->machine, "the guest fell silent", &r->why);
	if (now_ns - r->started_ns > boot_limit_ns + clocksource_limit_ns + silence_limit_ns)
		return test_machine_complain(&r->machine, "no series of the guest's came whole",
					     &r->why);
	return check_clocksource(r, now_ns);
}

/* 0 once a series is there, or a negative errno with its why. */
static int measure(struct run *r)
{
	int error = 0;

	while (!error && !test_plan_stopped() && !r->stream.whole) {
		const uint64_t before = r->stream.lines_had;
		bool over = test_machine_has_ended(&r->machine);
		uint64_t now_ns;

		error = test_machine_feed(&r->machine, &r->fd, costs_stream_take, &r->stream,
					  &r->why);
		r->cannot |= error < 0;
		now_ns = hostclock_monotonic_ns();
		if (r->stream.lines_had != before)
			r->last_news_ns = now_ns;
		if (!error && !r->stream.whole)
			error = check(r, over, now_ns);
		show_progress(r, now_ns);
	}
	test_plan_clear_progress();
	return error;
}

/* Whether the guest has what this boot is about. */
static int check_series(struct run *r)
{
	const struct test_options *o = r->options;
	const bool relies = r->config.subject == TEST_VMTIME && hostclock_tsc_is_stable() &&
			    !test_run_option_given(o, "--counter") &&
			    !test_run_option_given(o, "--kvm-clock");

	return is_kvm_clock(r->config.clocksource)
		       ? costs_check_mark(&r->stream, r->config.unstable, relies, &r->why)
		       : 0;
}

static int add_costs(struct run *r)
{
	const char *clocksource = r->config.clocksource;
	const enum sample_falls falls = costs_fall_back(&r->stream);
	const bool known = is_kvm_clock(clocksource) && falls != SAMPLE_FALLS_UNKNOWN;
	int error = 0;

	for (uint32_t i = 0; !error && i < r->stream.count; i++)
		error = test_report_add_cost(r->report, r->config.subject, clocksource, known,
					     falls == SAMPLE_FALLS_NOT, &r->stream.costs[i]);
	return error ? cmd_error("test", CMD_CANNOT, "out of memory") : CMD_OK;
}

static int add_what_came_out(struct run *r, int error)
{
	int status = error ? CMD_OK : add_costs(r);

	if (!status && !error)
		error = check_series(r);
	if (!status && error)
		status = test_plan_add_trouble(r->report, &r->config, TEST_COSTS, r->number,
					       &r->why, error);
	if (!status)
		status =
			test_plan_add_alarm(r->report, &r->config, TEST_COSTS, r->number, r->alarm);
	return status;
}

static int run_once(struct run *r)
{
	char keep[PATH_MAX], what[48];
	int error, status;

	snprintf(what, sizeof(what), "costs-%s%s", r->config.clocksource,
		 r->config.unstable ? "-unstable" : "");
	status = test_plan_keep(&r->config, what, r->number, keep, sizeof(keep), &r->stream.record);
	if (status)
		return status;
	r->fd = -1;
	r->stream.wanted = r->config.clocksource;
	r->started_ns = r->last_news_ns = hostclock_monotonic_ns();
	error = test_machine_start(&r->config, &r->machine, &r->why);
	r->cannot = error < 0; /* the machine has not even begun */
	if (!error)
		error = measure(r);
	status = test_plan_end(r->report, r->config.subject, &r->machine, r->fd,
			       r->stream.has_guest ? &r->stream.guest : NULL,
			       error && r->cannot ? &r->why : NULL, r->alarm, sizeof(r->alarm));
	return status ? status : add_what_came_out(r, error);
}

int test_costs_run(const struct test_options *o, enum test_subject subject, unsigned number,
		   const struct test_images *images, struct test_report *report)
{
	int status = CMD_OK;

	for (unsigned i = 0; i < o->clocksource_count; i++)
		for (unsigned boot = 0; !status && boot < boots_of(o->clocksources[i]); boot++) {
			struct run r = {.options = o,
					.report = report,
					.config = {.options = o,
						   .subject = subject,
						   .clocksource = o->clocksources[i],
						   .kernel = images->kernel,
						   .initrd = images->initrd,
						   .costs = true,
						   .unstable = boot == 1},
					.number = number};

			status = run_once(&r);
			if (r.stream.record)
				fclose(r.stream.record);
		}
	return status;
}
