/* SPDX-License-Identifier: Apache-2.0 */
/* test_plan.c - runs each subject with each clock source and gathers the results. */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cmd/cmd.h"
#include "cmd/test_costs.h"
#include "cmd/test_event.h"
#include "cmd/test_faces.h"
#include "cmd/test_observe.h"
#include "cmd/test_plan.h"
#include "cmd/test_qemu.h"
#include "cmd/test_subject.h"
#include "cmd/test_ticks.h"
#include "host/pairs.h"

#define SECOND 1000000000ULL

static const uint64_t pair_period_ns = SECOND / 5;
static const size_t pair_history = 4096; /* 13 minutes */

/* In this order. */
static const struct test_event *const events[] = {&test_pause,   &test_pauses,     &test_snapshot,
						  &test_migrate, &test_migrations, &test_hoststep,
						  &test_suspend};

enum { EVENTS = sizeof(events) / sizeof(events[0]) };

static volatile sig_atomic_t stop_signal;

static void on_signal(int number)
{
	stop_signal = number;
}

int test_plan_stopped(void)
{
	return stop_signal;
}

uint64_t test_plan_longest_ns(const struct test_options *o)
{
	uint64_t all_ns = test_observe_longest_ns(o);

	for (int i = 0; i < EVENTS; i++)
		all_ns += test_event_longest_ns(o, events[i]);
	if (o->scenarios[TEST_FACES])
		all_ns += test_faces_longest_ns(o);
	if (o->scenarios[TEST_TICKS])
		all_ns += test_ticks_longest_ns(o);
	if (o->scenarios[TEST_COSTS])
		all_ns += test_costs_longest_ns(o);
	return all_ns * o->subject_count * o->repeat + 60 * SECOND;
}

void test_plan_clear_progress(void)
{
	if (isatty(STDERR_FILENO))
		fputs("\r\033[K", stderr);
}

void test_plan_judge_trouble(const struct why *why, int error, struct judge_row *row)
{
	judge_skip(row, "%s", why->text[0] ? why->text : strerror(-error));
	if (error != -ENODEV)
		row->verdict = JUDGE_FAIL;
}

void test_plan_judge_alarm(const char *alarm, struct judge_row *row)
{
	if (row->verdict == JUDGE_FAIL)
		return;
	row->verdict = JUDGE_FAIL;
	snprintf(row->reason, sizeof(row->reason), "the guest's log says: '%s'", alarm);
}

int test_plan_end(struct test_report *report, enum test_subject subject, struct test_machine *m,
		  int fd, const struct sample_hello *guest, const struct why *cannot, char *alarm,
		  size_t size)
{
	if (fd >= 0)
		close(fd);
	if (m->pid)
		test_plan_remember(report, subject, m, guest);
	test_machine_alarmed(m, alarm, size);
	test_machine_stop(m);
	if (stop_signal)
		return 128 + stop_signal;
	return cannot ? cmd_error("test", CMD_CANNOT, "%s", cannot->text) : CMD_OK;
}

struct judge_row *test_plan_add_row(struct test_report *report,
				    const struct test_machine_config *config,
				    enum test_scenario scenario, unsigned number)
{
	struct test_result *result = test_report_add(report);

	if (!result)
		return NULL;
	result->subject = config->subject;
	result->clocksource = config->clocksource;
	result->scenario = scenario;
	result->run = number;
	return &result->row;
}

int test_plan_add_alarm(struct test_report *report, const struct test_machine_config *config,
			enum test_scenario scenario, unsigned number, const char *alarm)
{
	struct judge_row *row;

	if (!alarm[0])
		return CMD_OK;
	row = test_plan_add_row(report, config, scenario, number);
	if (!row)
		return cmd_error("test", CMD_CANNOT, "out of memory");
	judge_skip(row, "%s", alarm);
	test_plan_judge_alarm(alarm, row);
	return CMD_OK;
}

int test_plan_add_trouble(struct test_report *report, const struct test_machine_config *config,
			  enum test_scenario scenario, unsigned number, const struct why *why,
			  int error)
{
	struct judge_row *row = test_plan_add_row(report, config, scenario, number);

	if (!row)
		return cmd_error("test", CMD_CANNOT, "out of memory");
	test_plan_judge_trouble(why, error, row);
	return CMD_OK;
}

void test_plan_remember(struct test_report *report, enum test_subject subject,
			struct test_machine *m, const struct sample_hello *guest)
{
	struct test_known *known = &report->subjects[subject];

	if (!known->command) {
		known->command = m->command;
		m->command = NULL;
	}
	if (guest && !known->has_guest) {
		known->guest = *guest;
		known->has_guest = true;
	}
}

int test_plan_keep(struct test_machine_config *config, const char *what, unsigned number, char *buf,
		   size_t size, FILE **ret_record)
{
	const char *keep = config->options->keep;
	char path[PATH_MAX + 16];

	if (!keep)
		return CMD_OK;
	snprintf(buf, size, "%s/%s-%s-%u", keep, test_subject_names[config->subject], what, number);
	if ((mkdir(keep, 0755) < 0 && errno != EEXIST) || (mkdir(buf, 0755) < 0 && errno != EEXIST))
		return cmd_error("test", CMD_USAGE, "cannot make %s: %s", buf, strerror(errno));
	config->keep = buf;
	snprintf(path, sizeof(path), "%s/samples.txt", buf);
	*ret_record = fopen(path, "we");
	if (!*ret_record)
		return cmd_error("test", CMD_USAGE, "cannot write %s: %s", path, strerror(errno));
	return CMD_OK;
}

/* A peer that is not there is left out with its reason; the subject itself has to be. */
static int find_subject(const struct test_options *o, enum test_subject subject,
			struct test_report *report)
{
	struct test_known *known = &report->subjects[subject];
	int error;

	if (subject == TEST_VMTIME) {
		snprintf(known->version, sizeof(known->version), "%s", VMTIME_VERSION);
		known->present = true;
		return CMD_OK;
	}
	error = test_qemu_version(o, known->version, sizeof(known->version));
	known->present = !error;
	if (error && subject == o->subjects[0])
		return cmd_error(
			"test", CMD_CANNOT,
			"cannot run %s: %s (apt-get install qemu-system-x86, or --qemu PATH)",
			o->qemu ? o->qemu : "qemu-system-x86_64",
			error == -EPROTO ? "it is no QEMU" : strerror(-error));
	return CMD_OK;
}

static int skip_subject(const struct test_options *o, enum test_subject subject,
			struct test_report *report)
{
	for (int i = 0; i < TEST_SCENARIOS; i++) {
		bool each = i < TEST_OBSERVED || i >= TEST_EVENT;
		unsigned count = !o->scenarios[i] ? 0 : each ? o->clocksource_count : 1;

		for (unsigned c = 0; c < count; c++) {
			struct test_result *result = test_report_add(report);

			if (!result)
				return cmd_error("test", CMD_CANNOT, "out of memory");
			*result =
				(struct test_result){.subject = subject,
						     .clocksource = each ? o->clocksources[c] : "-",
						     .scenario = (enum test_scenario)i,
						     .run = 1};
			judge_skip(&result->row, "there is no %s here",
				   test_subject_names[subject]);
		}
	}
	return CMD_OK;
}

static int run_subject(const struct test_options *o, enum test_subject subject,
		       const struct test_images *images, struct pairs *pairs,
		       struct test_report *report)
{
	int status = find_subject(o, subject, report);

	if (!status && !report->subjects[subject].present)
		return skip_subject(o, subject, report);
	if (!status && test_is_observed(o))
		status = test_observe_run(o, subject, images, pairs, report);
	for (int i = 0; !status && i < EVENTS; i++)
		if (o->scenarios[events[i]->scenario])
			status = test_event_run(o, events[i], subject, images, pairs, report);
	for (unsigned n = 1; !status && o->scenarios[TEST_FACES] && n <= o->repeat; n++)
		status = test_faces_run(o, subject, n, images, pairs, report);
	for (unsigned n = 1; !status && o->scenarios[TEST_TICKS] && n <= o->repeat; n++)
		status = test_ticks_run(o, subject, n, images->probe, pairs, report);
	for (unsigned n = 1; !status && o->scenarios[TEST_COSTS] && n <= o->repeat; n++)
		status = test_costs_run(o, subject, n, images, report);
	return status;
}

/* What our parent ignores, as nohup does, stays so. */
static void watch_signals(void)
{
	static const int ends[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};
	const struct sigaction action = {.sa_handler = on_signal};
	struct sigaction now;

	for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++)
		if (sigaction(ends[i], NULL, &now) == 0 && now.sa_handler != SIG_IGN)
			sigaction(ends[i], &action, NULL);
}

int test_plan_run(const struct test_options *o, const struct test_images *images,
		  struct test_report *report)
{
	struct pairs *pairs = pairs_new(pair_history);
	int status = CMD_OK;

	if (!status && (!pairs || pairs_start(pairs, pair_period_ns) < 0))
		status = cmd_error("test", CMD_CANNOT, "cannot start the thread that reads clocks");
	watch_signals();
	for (unsigned i = 0; !status && i < o->subject_count; i++)
		status = run_subject(o, o->subjects[i], images, pairs, report);
	if (pairs)
		report->tsc_hz = pairs_tsc_hz(pairs);
	pairs_free(pairs);
	if (stop_signal) {
		signal(stop_signal, SIG_DFL);
		raise(stop_signal);
	}
	return status;
}
