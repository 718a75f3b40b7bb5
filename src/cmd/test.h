/* SPDX-License-Identifier: Apache-2.0 */
/* test.h - what the parts of `vmtime test` share: what was asked, and what came out. */
#ifndef CMD_TEST_H
#define CMD_TEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cmd/test_faces_judge.h"
#include "cmd/test_judge.h"
#include "cmd/test_ticks_judge.h"
#include "guest/sample.h"

/* Those before TEST_OBSERVED boot Linux with the observer, once with each clock source. */
enum test_scenario {
	TEST_BOOT,
	TEST_STEADY,
	TEST_DEFAULT, /* those before, pause, snapshot and migrate are run when none is named */
	TEST_OVERCOMMIT = TEST_DEFAULT,
	TEST_STEAL,
	TEST_OBSERVED,
	TEST_FACES = TEST_OBSERVED,
	TEST_TICKS,
	TEST_COSTS,
	TEST_EVENT, /* from here on Linux is booted with each clock source as well, ... */
	TEST_PAUSE = TEST_EVENT, /* ... and something happens to it */
	TEST_PAUSES,
	TEST_SNAPSHOT,
	TEST_MIGRATE,
	TEST_MIGRATIONS,
	TEST_HOSTSTEP,
	TEST_SUSPEND,
	TEST_SCENARIOS,
};

extern const char *const test_scenario_names[TEST_SCENARIOS];

enum test_subject { TEST_VMTIME, TEST_QEMU, TEST_SUBJECTS };

extern const char *const test_subject_names[TEST_SUBJECTS];

enum { TEST_LIST_MAX = 16 };

struct test_options {
	enum test_subject subjects[TEST_SUBJECTS]; /* the first is the one that is judged */
	unsigned subject_count;
	const char *clocksources[TEST_LIST_MAX]; /* as Linux spells them */
	unsigned clocksource_count;
	bool scenarios[TEST_SCENARIOS];
	uint64_t duration_ns;               /* 0: each scenario's own */
	uint64_t limits_ns[TEST_SCENARIOS]; /* 0: the scenario's or the clock source's own */
	uint64_t ticks_limit;               /* of the difference of counts; 0: its own */
	unsigned repeat, cpus, pauses, migrations, clones;
	uint64_t memory;    /* bytes */
	const char *kernel; /* NULL: the stock one */
	const char *qemu;   /* NULL: qemu-system-x86_64 */
	const char *qemu_args;
	const char *append; /* more of the guest's command line, or NULL */
	const char *keep;   /* directory for logs and samples, or NULL */
	bool json;
	const char *json_file;    /* NULL: standard output */
	char *const *run_options; /* after "--", NULL-ended */
};

/* True when a scenario that boots Linux was asked for. */
static inline bool test_is_observed(const struct test_options *options)
{
	for (int i = 0; i < TEST_OBSERVED; i++)
		if (options->scenarios[i])
			return true;
	return false;
}

/* True when Linux is a guest of it. */
static inline bool test_has_linux(const struct test_options *options)
{
	for (int i = TEST_EVENT; i < TEST_SCENARIOS; i++)
		if (options->scenarios[i])
			return true;
	return test_is_observed(options) || options->scenarios[TEST_FACES] ||
	       options->scenarios[TEST_COSTS];
}

/* One row of the results. */
struct test_result {
	enum test_subject subject;
	const char *clocksource;
	enum test_scenario scenario;
	const char *policy; /* NULL: none */
	unsigned run;       /* from 1 */
	struct judge_row row;
};

/* Who read the clocks of scenario faces; of Linux, with which clock source. */
struct test_reader {
	enum faces_reader who;
	const char *clocksource; /* NULL: none */
};

/* One clock of scenario faces on one CPU, and two of them beside each other. */
struct test_face {
	enum test_subject subject;
	struct test_reader reader;
	struct faces_row row;
};

struct test_pair {
	enum test_subject subject;
	struct test_reader reader;
	struct faces_pair pair;
};

/* One rate of one source in scenario ticks. */
struct test_ticks {
	enum test_subject subject;
	struct ticks_row row;
};

/* One way to read the time in scenario costs. */
struct test_cost {
	enum test_subject subject;
	const char *clocksource;
	struct sample_cost cost;
	bool has_stable, stable; /* of kvm-clock: the page is marked TSC_STABLE */
	enum judge_verdict verdict;
};

/* What is known of a subject once it ran. */
struct test_known {
	bool present;
	char version[32];
	char **command; /* of its first run, NULL-ended, owned */
	bool has_guest;
	struct sample_hello guest;
};

struct test_report {
	char started[40]; /* RFC 3339 with nine digits */
	uint64_t tsc_hz;  /* 0: not measured */
	struct test_known subjects[TEST_SUBJECTS];
	struct test_result *results;
	size_t count;
	struct test_face *faces;
	size_t face_count;
	struct test_pair *pairs;
	size_t pair_count;
	struct test_ticks *ticks;
	size_t ticks_count;
	struct test_cost *costs;
	size_t cost_count;
};

/* Room for one more result at the end, zeroed; NULL without memory. */
struct test_result *test_report_add(struct test_report *report);

/* Adds all of them.  0 or -ENOMEM. */
int test_report_add_faces(struct test_report *report, enum test_subject subject,
			  struct test_reader reader, const struct faces_result *faces);
void test_report_free(struct test_report *report);

/* The table for people on standard output, worst first. */
void test_report_table(const struct test_options *options, const struct test_report *report);

/* The JSON object to standard output or its file.  0, or negative errno. */
int test_report_json(const struct test_options *options, const struct test_report *report);

/* How a table calls it: "qemu 7.2", as two parts of a version are enough to read; vmtime is this
 * one. */
void test_report_subject(const struct test_report *report, enum test_subject subject, char *buf,
			 size_t size);

/* The exit status that the results of the first subject make. */
int test_report_status(const struct test_options *options, const struct test_report *report);

#endif
