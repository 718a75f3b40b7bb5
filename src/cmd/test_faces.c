/* SPDX-License-Identifier: Apache-2.0 */
/* test_faces.c - scenario faces: the probe reads a machine's clocks, and each is set against the
 * others. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cmd/cmd.h"
#include "cmd/test_faces.h"
#include "cmd/test_faces_read.h"
#include "cmd/test_plan.h"
#include "cmd/test_subject.h"
#include "host/hostclock.h"

#define SECOND 1000000000ULL

static const uint64_t default_faces_ns = 10 * SECOND;
static const uint64_t start_limit_ns = 60 * SECOND; /* a firmware, and two seconds of the RTC */
static const uint64_t silence_limit_ns = 30 * SECOND;

struct run {
	const struct test_options *options;
	struct test_report *report;
	struct pairs *pairs;
	struct test_machine_config config;
	unsigned number;

	struct test_machine machine;
	struct faces_stream stream;
	int fd;
	uint64_t started_ns, last_news_ns;
	bool cannot; /* measuring is not possible here at all */
	struct why why;
};

static uint64_t wanted_ns(const struct test_options *o)
{
	return o->duration_ns ? o->duration_ns : default_faces_ns;
}

uint64_t test_faces_longest_ns(const struct test_options *o)
{
	return start_limit_ns + silence_limit_ns + 2 * wanted_ns(o);
}

static uint64_t tsc_khz(const struct run *r)
{
	return faces_tsc_khz(&r->stream.hello, pairs_tsc_hz(r->pairs));
}

/* From the first reading to the last, by the TSC. */
static uint64_t covered_ns(const struct run *r)
{
	const struct faces_stream *s = &r->stream;
	uint64_t khz = tsc_khz(r), counts;

	if (s->count == 0 || khz == 0)
		return 0;
	counts = s->readings[s->count - 1].before - s->readings[0].before;
	return counts > INT64_MAX ? 0 : counts / khz * 1000000; /* another CPU's may be earlier */
}

static void show_progress(const struct run *r, uint64_t now_ns)
{
	if (isatty(STDERR_FILENO))
		fprintf(stderr, "\r\033[K%s, faces, run %u of %u: %llu s",
			test_subject_names[r->config.subject], r->number, r->options->repeat,
			(now_ns - r->started_ns) / SECOND);
}

static int take(void *stream, const char *bytes, size_t size)
{
	return faces_stream_take(stream, bytes, size);
}

static int receive(struct run *r)
{
	int error = test_machine_feed(&r->machine, &r->fd, take, &r->stream, &r->why);

	r->cannot |= error < 0;
	return error;
}

static int check(struct run *r, bool over, uint64_t now_ns)
{
	if (r->stream.error[0])
		return why_set(&r->why, -EPROTO, "the probe says: %s", r->stream.error);
	if (over)
		return test_machine_complain_of_end(&r->machine, &r->why);
	if (r->stream.count == 0 && now_ns - r->started_ns > start_limit_ns)
		return test_machine_complain(&r->machine,
					     "the probe did not send a reading in 60 s", &r->why);
	if (r->stream.count && now_ns - r->last_news_ns > silence_limit_ns)
		return test_machine_complain(&r->machine, "the probe fell silent", &r->why);
	if (now_ns - r->started_ns > start_limit_ns + 2 * wanted_ns(r->options))
		return test_machine_complain(
			&r->machine, "the guest's TSC does not count as it should", &r->why);
	return 0;
}

/* 0 once the readings cover what was asked for, or a negative errno with its why. */
static int measure(struct run *r)
{
	int error = 0;

	while (!error && !test_plan_stopped() && covered_ns(r) < wanted_ns(r->options)) {
		size_t before = r->stream.count;
		bool over = test_machine_has_ended(&r->machine);
		uint64_t now_ns;

		error = receive(r);
		now_ns = hostclock_monotonic_ns();
		if (r->stream.count > before)
			r->last_news_ns = now_ns;
		if (!error)
			error = check(r, over, now_ns);
		show_progress(r, now_ns);
	}
	if (isatty(STDERR_FILENO))
		fputs("\r\033[K", stderr);
	return error;
}

static int add_trouble(struct run *r, int error)
{
	struct test_result *result = test_report_add(r->report);

	if (!result)
		return cmd_error("test", CMD_CANNOT, "out of memory");
	result->subject = r->config.subject;
	result->clocksource = "-";
	result->scenario = TEST_FACES;
	result->run = r->number;
	judge_skip(&result->row, "%s", r->why.text[0] ? r->why.text : strerror(-error));
	result->row.verdict = JUDGE_FAIL;
	return CMD_OK;
}

/* vmtime's TSC and virtual time begin as one, and CPUID says what the clock was made with. */
static int add_faces(struct run *r)
{
	const struct faces_stream *s = &r->stream;
	const struct faces_input input = {.hello = s->hello,
					  .readings = s->readings,
					  .count = s->count,
					  .tsc_khz = tsc_khz(r),
					  .from_zero = r->config.subject == TEST_VMTIME &&
						       s->hello.tsc_khz,
					  .limit_ns = r->options->limits_ns[TEST_FACES]};
	struct faces_result result;
	int error = faces_judge(&input, &result);

	if (!error)
		error = test_report_add_faces(r->report, r->config.subject, &result);
	faces_result_free(&result);
	return error ? cmd_error("test", CMD_CANNOT, "out of memory") : CMD_OK;
}

static int run_once(struct run *r)
{
	char keep[PATH_MAX];
	int error, status = test_plan_keep(&r->config, "faces", r->number, keep, sizeof(keep),
					   &r->stream.record);

	if (status)
		return status;
	r->fd = -1;
	r->started_ns = r->last_news_ns = hostclock_monotonic_ns();
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
		status = 128 + test_plan_stopped();
	else if (error && r->cannot)
		status = cmd_error("test", CMD_CANNOT, "%s", r->why.text);
	else
		status = error ? add_trouble(r, error) : add_faces(r);
	return status;
}

int test_faces_run(const struct test_options *o, enum test_subject subject, unsigned number,
		   const char *probe, struct pairs *pairs, struct test_report *report)
{
	struct run r = {.options = o,
			.report = report,
			.pairs = pairs,
			.config = {.options = o,
				   .subject = subject,
				   .clocksource = "-",
				   .kernel = probe,
				   .probe = "faces"},
			.number = number};
	int status = run_once(&r);

	if (r.stream.record)
		fclose(r.stream.record);
	faces_stream_free(&r.stream);
	return status;
}
