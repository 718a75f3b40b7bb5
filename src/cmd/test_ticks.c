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
#include "host/cputime.h"
#include "host/hostclock.h"

#define SECOND 1000000000ULL

enum { LEAST_PERIODS = 3 };

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
	const struct section *section;
	uint64_t tsc_hz; /* the guest's; 0: not known yet */
	pid_t kvm_pit;   /* the kernel's thread for its PIT; 0: none */
	int fd;
	bool cannot; /* measuring is not possible here at all */
	struct why why;
};

/* One machine after the other, each with some of the plans.  vmtime's is asked for each policy,
 * and for KVM's own PIT, without reinjection and with, as its peer. */
enum plans { ALL, FIGURE, PEER };

struct section {
	const char *name; /* of what is kept */
	enum plans plans;
	const char *options[5]; /* for vmtime run */
};

static const struct section sections[] = {
	{"ticks", ALL, {NULL}},
	{"ticks-catchup", FIGURE, {"--ticks", "catchup", NULL}},
	{"ticks-delay", FIGURE, {"--ticks", "delay", NULL}},
	{"ticks-merge", FIGURE, {"--ticks", "merge", NULL}},
	{"ticks-kernel", PEER, {"--pit", "kernel", "--ticks", "discard", NULL}},
	{"ticks-kernel-again", PEER, {"--pit", "kernel", "--ticks", "catchup", NULL}},
};
enum { SECTIONS = sizeof(sections) / sizeof(sections[0]) };

/* Whose options say which policy or which PIT has only that. */
static bool has_section(const struct test_options *o, enum test_subject subject,
			const struct section *s)
{
	return s->plans == ALL || (subject == TEST_VMTIME && !test_run_option_given(o, "--ticks") &&
				   !test_run_option_given(o, "--pit"));
}

static bool has_plan(const struct section *s, const struct ticks_plan *p)
{
	if (s->plans == PEER)
		return p->source == TICKS_PIT && (p->is_figure || !p->busy);
	return s->plans == ALL || p->is_figure;
}

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
	uint64_t all_ns = 0;

	for (int n = 0; n < SECTIONS; n++) {
		all_ns += start_limit_ns;
		for (unsigned i = 0; i < ticks_plan_count; i++)
			if (has_plan(&sections[n], &ticks_plans[i]))
				all_ns += step_limit_ns(o);
	}
	return all_ns;
}

static void show_progress(const struct run *r, const struct ticks_plan *p)
{
	if (!isatty(STDERR_FILENO))
		return;
	fprintf(stderr, "\r\033[K%s, ticks, run %u of %u", test_subject_names[r->config.subject],
		r->number, r->options->repeat);
	if (p)
		fprintf(stderr, ": %s, %" PRIu64 " Hz, %s", ticks_source_names[p->source],
			p->clock_hz / p->periods, p->busy ? "busy" : "idle");
}

/* Takes what has come, and looks whether the machine is well. */
static int receive(struct run *r)
{
	bool over = test_machine_has_ended(&r->machine);
	int error = test_machine_feed(&r->machine, &r->fd, faces_stream_take, &r->stream, &r->why);

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
	r->kvm_pit = error ? 0 : cputime_kvm_pit(r->machine.pid);
	return error;
}

static int ask(struct run *r, const struct ticks_plan *p, struct ticks_ledger *ret_ledger)
{
	struct ticks_ledger ledgers[TICKS_SOURCES] = {0};
	int error = r->config.qmp ? ticks_qmp_ask(r->machine.qmp, ledgers, &r->why) : 0;

	*ret_ledger = ledgers[p->source];
	return error;
}

static int say(struct run *r, const char *line)
{
	ssize_t length = (ssize_t)strlen(line);

	if (r->fd < 0 || send(r->fd, line, (size_t)length, MSG_NOSIGNAL) != length)
		return why_set(&r->why, -EIO, "cannot write to the guest's port");
	return 0;
}

static int order(struct run *r, const struct ticks_plan *p)
{
	uint64_t counts, wanted = (uint64_t)((u128)wanted_ns(r->options) * r->tsc_hz / SECOND);
	char line[80];
	uint32_t part;

	ticks_period(p, r->tsc_hz, &counts, &part);
	if (wanted < LEAST_PERIODS * counts)
		wanted = LEAST_PERIODS * counts;
	snprintf(line, sizeof(line), "%c %x %" PRIx64 " %x %" PRIx64 " %x\n",
		 ticks_source_letters[p->source], p->setting, counts, part, wanted, p->busy);
	r->stream.has_begun = r->stream.has_count = r->stream.has_tally = false;
	return say(r, line);
}

/* Until one of the stream's marks is there, which is to be looked at at once. */
static int wait_for(struct run *r, const bool *mark, const char *what)
{
	const uint64_t end_ns = hostclock_monotonic_ns() + step_limit_ns(r->options);
	char text[64];
	int error = 0;

	snprintf(text, sizeof(text), "the probe did not %s", what);
	while (!error && !test_plan_stopped() && !*mark) {
		error = receive(r);
		if (!error && !*mark && hostclock_monotonic_ns() > end_ns)
			error = test_machine_complain(&r->machine, text, &r->why);
	}
	return error;
}

/* CPU time that cannot be had is not shown. */
static uint64_t cpu_ns(const struct run *r)
{
	uint64_t ns = 0;

	return cputime_read(r->machine.pid, r->kvm_pit, &ns) < 0 ? 0 : ns;
}

/* From B to S, then to T. */
static int follow(struct run *r, const struct ticks_plan *p, struct ticks_input *in)
{
	uint64_t begin_ns = 0;
	int error = wait_for(r, &r->stream.has_begun, "begin its count");

	if (!error && !test_plan_stopped())
		begin_ns = cpu_ns(r);
	if (!error)
		error = wait_for(r, &r->stream.has_count, "say how far it has come");
	if (error || test_plan_stopped())
		return error;
	in->cpu_ns = begin_ns && !p->busy ? cpu_ns(r) - begin_ns : 0;
	in->cpu_count = r->stream.count_so_far;
	error = ask(r, p, &in->running);
	if (!error)
		error = say(r, "\n");
	if (!error)
		error = wait_for(r, &r->stream.has_tally, "end its count");
	in->tally = r->stream.tally;
	if (!error && !test_plan_stopped() &&
	    (ticks_source_letters[in->tally.source] != ticks_source_letters[p->source] ||
	     in->tally.busy != p->busy))
		error = why_set(&r->why, -EPROTO, "the probe counted something else");
	return error;
}

/* What a peer makes of late ticks, as its command line says. */
static void name_policy(const struct run *r, struct ticks_row *row)
{
	const char *policy = "";

	if (row->source == TICKS_KERNEL_PIT)
		policy = r->section->options[3];
	else if (r->config.subject == TEST_QEMU && row->source <= TICKS_RTC)
		policy = row->source == TICKS_PIT ? "delay" : "slew";
	if (*policy)
		snprintf(row->policy, sizeof(row->policy), "%s", policy);
}

/* The source stands still before the order and after the tally, and so does its ledger. */
static int measure_one(struct run *r, const struct ticks_plan *p)
{
	const uint64_t limit = r->options->ticks_limit;
	struct ticks_input in = {
		.plan = p, .tsc_hz = r->tsc_hz, .limit = limit ? limit : TICKS_LIMIT};
	struct ticks_row row;
	int error;

	show_progress(r, p);
	error = ask(r, p, &in.before);
	if (!error)
		error = order(r, p);
	if (!error)
		error = follow(r, p, &in);
	if (error || test_plan_stopped())
		return error;
	error = ask(r, p, &in.after);
	if (error)
		return error;
	ticks_judge(&in, &row);
	name_policy(r, &row);
	if (test_report_add_ticks(r->report, r->config.subject, &row) < 0) {
		r->cannot = true;
		return why_set(&r->why, -ENOMEM, "out of memory");
	}
	return 0;
}

static int measure(struct run *r)
{
	int error = wait_for_start(r);

	for (unsigned i = 0; !error && !test_plan_stopped() && i < ticks_plan_count; i++) {
		struct ticks_plan plan;

		if (!has_plan(r->section, &ticks_plans[i]) ||
		    !ticks_plan_fit(&ticks_plans[i], r->stream.hello.hpet_fs, &plan))
			continue;
		if (r->section->plans == PEER)
			plan.source = TICKS_KERNEL_PIT;
		error = measure_one(r, &plan);
	}
	test_plan_clear_progress();
	return error;
}

static int run_once(struct run *r)
{
	char keep[PATH_MAX];
	int error, status = test_plan_keep(&r->config, r->section->name, r->number, keep,
					   sizeof(keep), &r->stream.record);

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
		test_plan_remember(r->report, r->config.subject, &r->machine, NULL);
	test_machine_stop(&r->machine);
	if (test_plan_stopped())
		return 128 + test_plan_stopped();
	if (error && r->cannot)
		return cmd_error("test", CMD_CANNOT, "%s", r->why.text);
	return error ? test_plan_add_trouble(r->report, &r->config, TEST_TICKS, r->number, &r->why,
					     error)
		     : CMD_OK;
}

int test_ticks_run(const struct test_options *o, enum test_subject subject, unsigned number,
		   const char *probe, struct pairs *pairs, struct test_report *report)
{
	int status = CMD_OK;

	for (int n = 0; !status && n < SECTIONS; n++) {
		struct run r = {.options = o,
				.report = report,
				.pairs = pairs,
				.section = &sections[n],
				.config = {.options = o,
					   .subject = subject,
					   .clocksource = "-",
					   .kernel = probe,
					   .probe = "ticks",
					   .qmp = subject == TEST_VMTIME,
					   .more = sections[n].options},
				.number = number};

		if (!has_section(o, subject, &sections[n]))
			continue;
		status = run_once(&r);
		if (r.stream.record)
			fclose(r.stream.record);
		faces_stream_free(&r.stream);
	}
	return status;
}
