/* SPDX-License-Identifier: Apache-2.0 */
/* test_faces.c - scenario faces: the probe, then Linux, reads a machine's clocks, and each is set
 * against the others. */
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
static const uint64_t boot_limit_ns = 180 * SECOND; /* Linux */
static const uint64_t clocksource_limit_ns = 30 * SECOND;
static const uint64_t silence_limit_ns = 30 * SECOND;

struct run {
	const struct test_options *options;
	struct test_report *report;
	struct pairs *pairs;
	struct test_machine_config config;
	struct test_reader reader;
	unsigned number;

	struct test_machine machine;
	struct faces_stream stream;
	int fd;
	uint64_t started_ns, last_news_ns;
	uint64_t heard_ns;   /* when Linux first told its clock source; 0: not yet */
	bool on_clocksource; /* it has been on the one that is wanted */
	char alarm[160];     /* the first line of the guest's log that is one; "" */
	bool cannot;         /* measuring is not possible here at all */
	struct why why;
};

static bool is_linux(const struct run *r)
{
	return r->reader.who == FACES_LINUX;
}

static uint64_t patience_ns(const struct run *r)
{
	return is_linux(r) ? boot_limit_ns : start_limit_ns;
}

static uint64_t wanted_ns(const struct test_options *o)
{
	return o->duration_ns ? o->duration_ns : default_faces_ns;
}

uint64_t test_faces_longest_ns(const struct test_options *o)
{
	const uint64_t one_ns = silence_limit_ns + 2 * wanted_ns(o);

	return start_limit_ns + one_ns +
	       o->clocksource_count * (boot_limit_ns + clocksource_limit_ns + one_ns);
}

static uint64_t tsc_khz(const struct run *r)
{
	return faces_tsc_khz(&r->stream.hello, pairs_tsc_hz(r->pairs));
}

static bool is_on_clocksource(const struct run *r)
{
	return !is_linux(r) || (r->stream.has_guest &&
				judge_same_clock(r->stream.guest.current, r->reader.clocksource));
}

/* From the first reading that counts to the last, by the TSC. */
static uint64_t covered_ns(const struct run *r)
{
	const struct faces_stream *s = &r->stream;
	uint64_t khz = tsc_khz(r), counts;

	if (s->count == 0 || khz == 0 || !is_on_clocksource(r))
		return 0;
	counts = s->readings[s->count - 1].before - s->readings[0].before;
	return counts > INT64_MAX ? 0 : counts / khz * 1000000; /* another CPU's may be earlier */
}

static void show_progress(const struct run *r, uint64_t now_ns)
{
	if (isatty(STDERR_FILENO))
		fprintf(stderr, "\r\033[K%s, faces, by %s, run %u of %u: %llu s",
			test_subject_names[r->config.subject], faces_reader_names[r->reader.who],
			r->number, r->options->repeat, (now_ns - r->started_ns) / SECOND);
}

static int receive(struct run *r)
{
	int error = test_machine_feed(&r->machine, &r->fd, faces_stream_take, &r->stream, &r->why);

	r->cannot |= error < 0;
	return error;
}

/* A guest that does not have the clock source cannot be judged by it. */
static int check_clocksource(struct run *r, uint64_t now_ns)
{
	const struct sample_hello *guest = &r->stream.guest;

	if (!r->stream.has_guest)
		return 0;
	if (!r->heard_ns)
		r->heard_ns = now_ns;
	if (is_on_clocksource(r)) {
		r->on_clocksource = true;
		return 0;
	}
	if (r->on_clocksource)
		return why_set(&r->why, -ESTALE,
			       "the guest left clock source %s for %s while it was measured",
			       r->reader.clocksource, guest->current);
	if (now_ns - r->heard_ns <= clocksource_limit_ns)
		return 0;
	return why_set(&r->why, -ENODEV, "the guest uses clock source %s, not %s; it has %s",
		       guest->current, r->reader.clocksource, guest->available);
}

static int complain_of_silence(struct run *r)
{
	char what[64];

	snprintf(what, sizeof(what), "%s did not send a reading in %llu s",
		 is_linux(r) ? "the guest" : "the probe", patience_ns(r) / SECOND);
	return test_machine_complain(&r->machine, what, &r->why);
}

static int check(struct run *r, bool over, uint64_t now_ns)
{
	if (r->stream.error[0])
		return why_set(&r->why, -EPROTO, "the probe says: %s", r->stream.error);
	if (over)
		return test_machine_complain_of_end(&r->machine, &r->why);
	if (is_linux(r) && test_machine_panicked(&r->machine))
		return test_machine_complain(&r->machine, "the guest's kernel panicked", &r->why);
	if (r->stream.count == 0 && now_ns - r->started_ns > patience_ns(r))
		return complain_of_silence(r);
	if (r->stream.count && now_ns - r->last_news_ns > silence_limit_ns)
		return test_machine_complain(&r->machine, "the guest fell silent", &r->why);
	if (now_ns - r->started_ns > patience_ns(r) + 2 * wanted_ns(r->options))
		return test_machine_complain(
			&r->machine, "the guest's TSC does not count as it should", &r->why);
	return check_clocksource(r, now_ns);
}

/* 0 once the readings cover what was asked for, or a negative errno with its why. */
static int measure(struct run *r)
{
	int error = 0;

	while (!error && !test_plan_stopped() && covered_ns(r) < wanted_ns(r->options)) {
		const size_t before = r->stream.count;
		bool over = test_machine_has_ended(&r->machine);
		uint64_t now_ns;

		error = receive(r);
		now_ns = hostclock_monotonic_ns();
		if (r->stream.count != before)
			r->last_news_ns = now_ns;
		if (!error)
			error = check(r, over, now_ns);
		show_progress(r, now_ns);
	}
	test_plan_clear_progress();
	return error;
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
					  .clocksource = r->reader.clocksource,
					  .tick_ns = s->guest.tick_ns,
					  .limit_ns = r->options->limits_ns[TEST_FACES]};
	struct faces_result result;
	int error = faces_judge(&input, &result);

	if (!error)
		error = test_report_add_faces(r->report, r->config.subject, r->reader, &result);
	faces_result_free(&result);
	return error ? cmd_error("test", CMD_CANNOT, "out of memory") : CMD_OK;
}

static int run_once(struct run *r)
{
	char keep[PATH_MAX], what[48];
	int error, status;

	snprintf(what, sizeof(what), "faces%s%s", is_linux(r) ? "-" : "",
		 is_linux(r) ? r->reader.clocksource : "");
	status = test_plan_keep(&r->config, what, r->number, keep, sizeof(keep), &r->stream.record);

	if (status)
		return status;
	r->fd = -1;
	r->started_ns = r->last_news_ns = hostclock_monotonic_ns();
	error = test_machine_start(&r->config, &r->machine, &r->why);
	r->cannot = error < 0; /* the machine has not even begun */
	if (!error)
		error = measure(r);
	status = test_plan_end(r->report, r->config.subject, &r->machine, r->fd,
			       r->stream.has_guest ? &r->stream.guest : NULL,
			       error && r->cannot ? &r->why : NULL, r->alarm, sizeof(r->alarm));
	if (!status)
		status = error ? test_plan_add_trouble(r->report, &r->config, TEST_FACES, r->number,
						       &r->why, error)
			       : add_faces(r);
	if (!status)
		status =
			test_plan_add_alarm(r->report, &r->config, TEST_FACES, r->number, r->alarm);
	return status;
}

/* By one reader. */
static int run_reader(struct run *r)
{
	int status = run_once(r);

	if (r->stream.record)
		fclose(r->stream.record);
	faces_stream_free(&r->stream);
	return status;
}

/* Each clock is set against the TSC at its nominal rate, which a disciplined one does not have. */
static const char *const steady[] = {"--discipline", "off", NULL};

int test_faces_run(const struct test_options *o, enum test_subject subject, unsigned number,
		   const struct test_images *images, struct pairs *pairs,
		   struct test_report *report)
{
	const struct run any = {.options = o,
				.report = report,
				.pairs = pairs,
				.config = {.options = o, .subject = subject, .more = steady},
				.number = number};
	struct run r = any;
	int status;

	r.reader = (struct test_reader){FACES_PROBE, NULL};
	r.config.clocksource = "-";
	r.config.kernel = images->probe;
	r.config.probe = "faces";
	status = run_reader(&r);
	for (unsigned i = 0; !status && i < o->clocksource_count; i++) {
		r = any;
		r.reader = (struct test_reader){FACES_LINUX, o->clocksources[i]};
		r.config.clocksource = o->clocksources[i];
		r.config.kernel = images->kernel;
		r.config.initrd = images->initrd;
		r.config.faces = true;
		status = run_reader(&r);
	}
	return status;
}
