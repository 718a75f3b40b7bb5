/* SPDX-License-Identifier: Apache-2.0 */
/* test_ticks.c - scenario ticks: the probe counts a timer's interrupts, and that is set against the
 * VMM's ledger. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cmd/cmd.h"
#include "cmd/test_faces_read.h"
#include "cmd/test_plan.h"
#include "cmd/test_subject.h"
#include "cmd/test_ticks.h"
#include "cmd/test_ticks_qmp.h"
#include "host/hostclock.h"

#define SECOND 1000000000ULL

__extension__ typedef unsigned __int128 u128;

static const uint64_t default_ticks_ns = 10 * SECOND;
static const uint64_t start_limit_ns = 60 * SECOND; /* a firmware, and the TSC's frequency */
static const uint64_t silence_limit_ns = 30 * SECOND;

struct run {
	const struct test_options *options;
	struct test_report *report;
	struct pairs *pairs;
	struct test_machine_config config;
	unsigned number;

	struct test_machine machine;
	struct faces_stream stream;
	uint64_t tsc_hz; /* the guest's; 0: not known yet */
	int fd;
	bool cannot; /* measuring is not possible here at all */
	struct why why;
};

static uint64_t wanted_ns(const struct test_options *o)
{
	return o->duration_ns ? o->duration_ns : default_ticks_ns;
}

static uint64_t step_limit_ns(const struct test_options *o)
{
	return silence_limit_ns + 2 * wanted_ns(o);
}

uint64_t test_ticks_longest_ns(const struct test_options *o)
{
	return start_limit_ns + ticks_plan_count * step_limit_ns(o);
}

static void show_progress(const struct run *r, const struct ticks_plan *p)
{
	if (!isatty(STDERR_FILENO))
		return;
	fprintf(stderr, "\r\033[K%s, ticks, run %u of %u", test_subject_names[r->config.subject],
		r->number, r->options->repeat);
	if (p)
		fprintf(stderr, ": %s, %u Hz, %s", ticks_source_names[p->source],
			p->clock_hz / p->periods, p->busy ? "busy" : "idle");
}

static void clear_progress(void)
{
	if (isatty(STDERR_FILENO))
		fputs("\r\033[K", stderr);
}

static int take(void *stream, const char *bytes, size_t size)
{
	return faces_stream_take(stream, bytes, size);
}

/* Takes what has come, and looks whether the machine is well. */
static int receive(struct run *r)
{
	bool over = test_machine_has_ended(&r->machine);
	int error = test_machine_feed(&r->machine, &r->fd, take, &r->stream, &r->why);

	r->cannot |= error < 0;
	if (!error && r->stream.error[0])
		return why_set(&r->why, -EPROTO, "the probe says: %s", r->stream.error);
	return error || !over ? error : test_machine_complain_of_end(&r->machine, &r->why);
}

/* Other VMMs do not say which frequency they were made with: then it is the host's, measured, for a
 * kHz more or less would show as microseconds. */
static uint64_t guest_tsc_hz(const struct run *r)
{
	const struct faces_hello *h = &r->stream.hello;
	uint64_t hz = h->tsc_khz ? h->tsc_khz * 1000ULL : pairs_tsc_hz(r->pairs);

	return hz >= FACES_LEAST_KHZ * 1000ULL ? hz : 0;
}

static int wait_for_start(struct run *r)
{
	const uint64_t end_ns = hostclock_monotonic_ns() + start_limit_ns;
	int error = 0;

	show_progress(r, NULL);
	while (!error && !test_plan_stopped() && !r->tsc_hz) {
		error = receive(r);
		if (!error && r->stream.has_hello)
			r->tsc_hz = guest_tsc_hz(r);
		if (!error && !r->tsc_hz && hostclock_monotonic_ns() > end_ns)
			error = test_machine_complain(
				&r->machine, "the probe did not say hello in 60 s", &r->why);
	}
	return error;
}

static int ask(struct run *r, const struct ticks_plan *p, struct ticks_ledger *ret_ledger)
{
	struct ticks_ledger ledgers[TICKS_SOURCES] = {0};
	int error = r->config.qmp ? ticks_qmp_ask(r->machine.qmp, ledgers, &r->why) : 0;

	*ret_ledger = ledgers[p->source];
	return error;
}

static int order(struct run *r, const struct ticks_plan *p)
{
	uint64_t counts, wanted = (uint64_t)((u128)wanted_ns(r->options) * r->tsc_hz / SECOND);
	char line[80];
	uint32_t part;
	int length;

	ticks_period(p, r->tsc_hz, &counts, &part);
	length = snprintf(line, sizeof(line), "%c %x %" PRIx64 " %x %" PRIx64 " %x\n",
			  p->source == TICKS_RTC ? 'r' : 'p', p->setting, counts, part, wanted,
			  p->busy);
	if (r->fd < 0 || send(r->fd, line, (size_t)length, MSG_NOSIGNAL) != length)
		return why_set(&r->why, -EIO, "cannot write to the guest's port");
	return 0;
}

static int wait_for_tally(struct run *r, const struct ticks_plan *p)
{
	const uint64_t end_ns = hostclock_monotonic_ns() + step_limit_ns(r->options);
	int error = 0;

	while (!error && !test_plan_stopped() && !r->stream.has_tally) {
		error = receive(r);
		if (!error && !r->stream.has_tally && hostclock_monotonic_ns() > end_ns)
			error = test_machine_complain(&r->machine,
						      "the probe did not end its count", &r->why);
	}
	if (!error && r->stream.has_tally &&
	    (r->stream.tally.source != p->source || r->stream.tally.busy != p->busy))
		error = why_set(&r->why, -EPROTO, "the probe counted something else");
	return error;
}

/* The source stands still before the order and after the tally, and so does its ledger. */
static int measure_one(struct run *r, const struct ticks_plan *p)
{
	struct ticks_ledger before, after;
	struct ticks_row row;
	int error;

	show_progress(r, p);
	r->stream.has_tally = false;
	error = ask(r, p, &before);
	if (!error)
		error = order(r, p);
	if (!error)
		error = wait_for_tally(r, p);
	if (error || test_plan_stopped())
		return error;
	error = ask(r, p, &after);
	if (error)
		return error;
	ticks_judge(p, r->tsc_hz, &r->stream.tally, &before, &after, &row);
	if (r->config.subject == TEST_QEMU) /* as its command line says */
		snprintf(row.policy, sizeof(row.policy), "%s",
			 p->source == TICKS_PIT ? "delay" : "slew");
	if (test_report_add_ticks(r->report, r->config.subject, &row) < 0) {
		r->cannot = true;
		return why_set(&r->why, -ENOMEM, "out of memory");
	}
	return 0;
}

static int measure(struct run *r)
{
	int error = wait_for_start(r);

	for (unsigned i = 0; !error && !test_plan_stopped() && i < ticks_plan_count; i++)
		error = measure_one(r, &ticks_plans[i]);
	clear_progress();
	return error;
}

static int add_trouble(struct run *r, int error)
{
	struct test_result *result = test_report_add(r->report);

	if (!result)
		return cmd_error("test", CMD_CANNOT, "out of memory");
	result->subject = r->config.subject;
	result->clocksource = "-";
	result->scenario = TEST_TICKS;
	result->run = r->number;
	judge_skip(&result->row, "%s", r->why.text[0] ? r->why.text : strerror(-error));
	result->row.verdict = JUDGE_FAIL;
	return CMD_OK;
}

static int run_once(struct run *r)
{
	char keep[PATH_MAX];
	int error, status = test_plan_keep(&r->config, "ticks", r->number, keep, sizeof(keep),
					   &r->stream.record);

	if (status)
		return status;
	r->fd = -1;
	error = test_machine_start(&r->config, &r->machine, &r->why);
	r->cannot = error < 0; /* the machine has not even begun */
	if (!error)
		error = measure(r);
	if (r->fd >= 0)
		close(r->fd);
	if (r->machine.pid)
		test_plan_remember(r->report, r->config.subject, &r->machine);
	test_machine_stop(&r->machine);
	if (test_plan_stopped())
		return 128 + test_plan_stopped();
	if (error && r->cannot)
		return cmd_error("test", CMD_CANNOT, "%s", r->why.text);
	return error ? add_trouble(r, error) : CMD_OK;
}

int test_ticks_run(const struct test_options *o, enum test_subject subject, unsigned number,
		   const char *probe, struct pairs *pairs, struct test_report *report)
{
	struct run r = {.options = o,
			.report = report,
			.pairs = pairs,
			.config = {.options = o,
				   .subject = subject,
				   .clocksource = "-",
				   .kernel = probe,
				   .probe = "ticks",
				   .qmp = subject == TEST_VMTIME},
			.number = number};
	int status = run_once(&r);

	if (r.stream.record)
		fclose(r.stream.record);
	faces_stream_free(&r.stream);
	return status;
}
