/* SPDX-License-Identifier: Apache-2.0 */
/* test_report_test.c - the results of two subjects, as a person and as a program read them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <jansson.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cmd/cmd.h"
#include "cmd/test.h"
#include "cmd/test_faces.h"

static char *const no_words[] = {NULL};

static const struct test_options two_subjects = {
	.subjects = {TEST_VMTIME, TEST_QEMU},
	.subject_count = 2,
	.repeat = 1,
	.run_options = no_words,
};

static void add(struct test_report *report, enum test_subject subject, const char *clocksource,
		enum judge_verdict verdict, int64_t error_ns)
{
	struct test_result *r = test_report_add(report);

	assert_non_null(r);
	r->subject = subject;
	r->clocksource = clocksource;
	r->scenario = TEST_BOOT;
	r->run = 1;
	r->row.verdict = verdict;
	if (verdict != JUDGE_PASS)
		snprintf(r->row.reason, sizeof(r->row.reason), "because of %s", clocksource);
	r->row.judged = JUDGE_REALTIME_ERROR;
	r->row.value[JUDGE_REALTIME_ERROR] = error_ns;
	r->row.value[JUDGE_LIMIT] = 1000000000;
	r->row.value[JUDGE_BRACKET] = 92;
	r->row.known[JUDGE_REALTIME_ERROR] = r->row.known[JUDGE_LIMIT] = true;
	r->row.known[JUDGE_BRACKET] = true;
}

static struct test_report make_report(void)
{
	struct test_report report = {.started = "2026-11-25T18:55:40.133627068Z",
				     .tsc_hz = 2445424400};

	snprintf(report.subjects[TEST_VMTIME].version, 32, "0.1.0");
	snprintf(report.subjects[TEST_QEMU].version, 32, "7.2.22");
	report.subjects[TEST_QEMU].has_guest = true;
	report.subjects[TEST_QEMU].guest =
		(struct sample_hello){.kernel = "6.1.0", .available = "tsc,acpi_pm", .cpus = 2};
	return report;
}

/* What a call prints on standard output. */
static char *printed(const struct test_report *report,
		     void (*call)(const struct test_options *o, const struct test_report *r))
{
	static char text[8192];
	FILE *file = tmpfile();
	int kept = dup(STDOUT_FILENO);
	size_t length;

	assert_non_null(file);
	fflush(stdout);
	assert_true(kept >= 0 && dup2(fileno(file), STDOUT_FILENO) >= 0);
	call(&two_subjects, report);
	fflush(stdout);
	dup2(kept, STDOUT_FILENO);
	close(kept);
	rewind(file);
	length = fread(text, 1, sizeof(text) - 1, file);
	text[length] = '\0';
	fclose(file);
	return text;
}

static void repeated_table(const struct test_options *options, const struct test_report *report)
{
	struct test_options repeated = *options;

	repeated.repeat = 5;
	test_report_table(&repeated, report);
}

/* `words` stand in `text` in this order. */
static void assert_in_order(const char *text, const char *const *words)
{
	for (; *words; words++) {
		text = strstr(text, *words);
		if (!text)
			fail_msg("'%s' is missing or comes too early", *words);
		text += strlen(*words);
	}
}

static void the_worst_comes_first(void **state)
{
	static const char *const order[] = {
		"subject", "REALTIME error", "verdict",   "acpi_pm",    "fail",
		"jiffies", "fail",           "kvm-clock", "skip",       "tsc",
		"pass",    "hpet",           "pass",      "because of", NULL};
	struct test_report report = make_report();

	(void)state;
	add(&report, TEST_QEMU, "hpet", JUDGE_PASS, -3);
	add(&report, TEST_VMTIME, "tsc", JUDGE_PASS, -900);
	add(&report, TEST_VMTIME, "kvm-clock", JUDGE_SKIP, 5);
	add(&report, TEST_QEMU, "jiffies", JUDGE_FAIL, -1100000000);
	add(&report, TEST_QEMU, "acpi_pm", JUDGE_FAIL, 5010000000);
	assert_in_order(printed(&report, test_report_table), order);
	test_report_free(&report);
}

static void the_last_line_counts_both_subjects(void **state)
{
	struct test_report report = make_report();
	const char *text;

	(void)state;
	add(&report, TEST_VMTIME, "tsc", JUDGE_PASS, 1);
	add(&report, TEST_VMTIME, "hpet", JUDGE_SKIP, 1);
	add(&report, TEST_QEMU, "tsc", JUDGE_FAIL, -5010000000);
	text = printed(&report, test_report_table);
	assert_non_null(strstr(text, "qemu 7.2 "));
	assert_non_null(strstr(text, "-5.01 s"));
	assert_non_null(strstr(text, "92 ns"));
	assert_null(strchr(text, '\033')); /* no colours in a file */
	assert_string_equal(strstr(text, "1 passed"), "1 passed, 0 failed, 1 skipped (vmtime); "
						      "peers: qemu 0 passed, 1 failed\n");
	test_report_free(&report);
}

static void the_first_subject_alone_makes_the_status(void **state)
{
	struct test_report report = make_report();

	(void)state;
	assert_int_equal(test_report_status(&two_subjects, &report), CMD_SKIPPED);
	add(&report, TEST_VMTIME, "tsc", JUDGE_SKIP, 0);
	add(&report, TEST_QEMU, "tsc", JUDGE_FAIL, 0);
	assert_int_equal(test_report_status(&two_subjects, &report), CMD_SKIPPED);
	add(&report, TEST_VMTIME, "tsc", JUDGE_PASS, 0);
	assert_int_equal(test_report_status(&two_subjects, &report), CMD_OK);
	add(&report, TEST_VMTIME, "tsc", JUDGE_FAIL, 0);
	assert_int_equal(test_report_status(&two_subjects, &report), CMD_FAULT);
	test_report_free(&report);
}

static json_t *member(json_t *object, const char *name)
{
	json_t *value = json_object_get(object, name);

	assert_non_null(value);
	return value;
}

static void the_json_has_what_was_measured_and_no_more(void **state)
{
	struct test_report report = make_report();
	char path[] = "/tmp/test_report_test.XXXXXX";
	struct test_options options = two_subjects;
	int fd = mkstemp(path);
	json_t *root, *row;
	struct stat status;

	(void)state;
	assert_true(fd >= 0);
	close(fd);
	options.json_file = path;
	add(&report, TEST_VMTIME, "tsc", JUDGE_PASS, -9007199254740993); /* not a double */
	assert_int_equal(test_report_json(&options, &report), 0);
	root = json_load_file(path, 0, NULL);
	assert_non_null(root);
	assert_int_equal(json_integer_value(member(root, "schema_version")), 1);
	assert_string_equal(json_string_value(member(root, "kind")), "test");
	assert_int_equal(json_integer_value(member(member(root, "host"), "tsc_khz")), 2445424);
	row = json_array_get(member(root, "subjects"), 1);
	assert_int_equal(json_array_size(member(member(row, "guest"), "available_clocksource")), 2);
	assert_null(json_object_get(json_array_get(member(root, "subjects"), 0), "guest"));
	row = json_array_get(member(root, "results"), 0);
	assert_int_equal(json_integer_value(member(row, "realtime_error_ns")), -9007199254740993);
	assert_string_equal(json_string_value(member(row, "policy")), "-");
	assert_null(json_object_get(row, "realtime_change_ns"));
	assert_int_equal(json_array_size(member(root, "ticks")), 0);
	json_decref(root);
	unlink(path);

	options.json_file = "/nowhere/report.json";
	assert_true(test_report_json(&options, &report) < 0);
	options.json_file = "/dev/null"; /* is written to, not replaced */
	assert_int_equal(test_report_json(&options, &report), 0);
	assert_int_equal(stat("/dev/null", &status), 0);
	assert_true(S_ISCHR(status.st_mode));
	test_report_free(&report);
}

/* What the table looks like on a terminal. */
static char *on_a_terminal(const struct test_report *report)
{
	static char text[4096];
	int terminal = posix_openpt(O_RDWR | O_NOCTTY), kept = dup(STDOUT_FILENO), screen;
	struct pollfd wait = {.fd = terminal, .events = POLLIN};
	size_t length = 0;

	assert_true(terminal >= 0 && kept >= 0);
	assert_true(grantpt(terminal) == 0 && unlockpt(terminal) == 0);
	screen = open(ptsname(terminal), O_RDWR | O_NOCTTY);
	assert_true(screen >= 0);
	fflush(stdout);
	dup2(screen, STDOUT_FILENO);
	test_report_table(&two_subjects, report);
	fflush(stdout);
	dup2(kept, STDOUT_FILENO);
	while (length + 1 < sizeof(text) && poll(&wait, 1, 0) > 0 && wait.revents & POLLIN) {
		ssize_t n = read(terminal, text + length, sizeof(text) - 1 - length);

		if (n <= 0)
			break;
		length += (size_t)n;
	}
	text[length] = '\0';
	close(screen);
	close(kept);
	close(terminal);
	return text;
}

static void verdicts_are_coloured_on_a_terminal_unless_no_color(void **state)
{
	struct test_report report = make_report();
	const char *text;

	(void)state;
	add(&report, TEST_VMTIME, "tsc", JUDGE_FAIL, 1);
	add(&report, TEST_VMTIME, "acpi_pm", JUDGE_PASS, 1);
	unsetenv("NO_COLOR");
	text = on_a_terminal(&report);
	assert_non_null(strstr(text, "\033[31mfail"));
	assert_non_null(strstr(text, "\033[32mpass"));
	setenv("NO_COLOR", "1", 1);
	text = on_a_terminal(&report);
	assert_non_null(strstr(text, "fail"));
	assert_null(strchr(text, '\033'));
	setenv("NO_COLOR", "", 1); /* empty is unset */
	assert_non_null(strstr(on_a_terminal(&report), "\033[31mfail"));
	unsetenv("NO_COLOR");
	test_report_free(&report);
}

static void with_several_runs_a_reason_names_its_own(void **state)
{
	struct test_report report = make_report();

	(void)state;
	add(&report, TEST_VMTIME, "tsc", JUDGE_FAIL, 1);
	report.results[0].run = 3;
	assert_non_null(strstr(printed(&report, test_report_table), "vmtime, tsc, boot: because"));
	assert_non_null(strstr(printed(&report, repeated_table), "vmtime, tsc, boot, run 3: beca"));
	test_report_free(&report);
}

static void what_a_move_took_stands_below_the_table(void **state)
{
	struct test_report report = make_report();
	const char *text;

	(void)state;
	add(&report, TEST_QEMU, "tsc", JUDGE_PASS, 1);
	add(&report, TEST_VMTIME, "tsc", JUDGE_PASS, 1); /* its events told nothing */
	for (size_t i = 0; i < 2; i++) {
		report.results[i].scenario = TEST_MIGRATE;
		report.results[i].policy = "freeze";
		report.results[i].row.value[JUDGE_DOWNTIME] = 61500000;
		report.results[i].row.value[JUDGE_TOTAL] = 2130000000;
		report.results[i].row.known[JUDGE_DOWNTIME] = true;
		report.results[i].row.known[JUDGE_TOTAL] = i == 0;
	}
	text = printed(&report, test_report_table);
	assert_non_null(strstr(text, "qemu 7.2, tsc, migrate freeze: the guest did not run for "
				     "61.5 ms, moving it took 2.13 s\n"));
	assert_null(strstr(text, "vmtime, tsc, migrate freeze: the guest"));
	assert_non_null(strstr(printed(&report, repeated_table), "migrate freeze, run 1: the"));
	report.results[0].row.value[JUDGE_DOWNTIME_MAX] = 99000000;
	report.results[0].row.value[JUDGE_TOTAL_MAX] = 3000000000;
	report.results[0].row.known[JUDGE_DOWNTIME_MAX] = true;
	report.results[0].row.known[JUDGE_TOTAL_MAX] = true;
	assert_non_null(
		strstr(printed(&report, test_report_table),
		       "61.5 ms (at most 99.0 ms), moving it took 2.13 s (at most 3.00 s)"));
	test_report_free(&report);
}

static void add_faces(struct test_report *report, enum test_subject subject,
		      enum judge_verdict last)
{
	struct faces_row rows[] = {
		{.face = FACES_PM,
		 .reads = 100,
		 .worst_error_ns = -41,
		 .quantum_ns = 280,
		 .bracket_ns = 26,
		 .has_rate = true,
		 .rate_error_ppb = -7},
		{.face = FACES_TSC, .cpu = 1, .reads = 99, .worst_error_ns = 977, .verdict = last}};
	struct faces_result faces = {.rows = rows,
				     .row_count = 2,
				     .pairs = {{FACES_PIT, FACES_PM, 5, 1000, JUDGE_PASS},
					       {FACES_PM, FACES_TSC, 900, 1000, JUDGE_PASS},
					       {FACES_RTC, FACES_TSC, 0, 0, JUDGE_SKIP}},
				     .pair_count = 3};

	assert_int_equal(test_report_add_faces(report, subject, (struct test_reader){0}, &faces),
			 0);
}

static void faces_come_worst_first_and_count(void **state)
{
	static const char *const order[] = {"subject",
					    "face",
					    "verdict",
					    "vmtime",
					    "tsc",
					    "+977 ns",
					    "fail",
					    "acpi_pm",
					    "-41 ns",
					    "-7 ppb",
					    "pass",
					    "beside",
					    "rtc",
					    "skip",
					    "acpi_pm",
					    "tsc",
					    "+900 ns",
					    "pass",
					    "3 passed, 1 failed",
					    "1 skipped",
					    NULL};
	struct test_report report = make_report();
	const char *text;

	(void)state;
	add_faces(&report, TEST_QEMU, JUDGE_FAIL);
	assert_int_equal(test_report_status(&two_subjects, &report), CMD_SKIPPED);
	add_faces(&report, TEST_VMTIME, JUDGE_FAIL);
	assert_int_equal(test_report_status(&two_subjects, &report), CMD_FAULT);
	text = printed(&report, test_report_table);
	assert_null(strstr(text, "clocksource")); /* no table for other results */
	assert_null(strstr(text, "+5 ns"));       /* a pair that passes easily */
	assert_non_null(strstr(text, "qemu 7.2 "));
	test_report_free(&report);
	report = make_report();
	add_faces(&report, TEST_VMTIME, JUDGE_FAIL);
	assert_in_order(printed(&report, test_report_table), order);
	test_report_free(&report);
	report = make_report();
	add_faces(&report, TEST_VMTIME, JUDGE_PASS);
	assert_int_equal(test_report_status(&two_subjects, &report), CMD_OK);
	test_report_free(&report);
}

static void faces_are_in_the_json(void **state)
{
	struct test_report report = make_report();
	char path[] = "/tmp/test_report_test.XXXXXX";
	struct test_options options = two_subjects;
	int fd = mkstemp(path);
	json_t *root, *face, *pairs;

	(void)state;
	assert_true(fd >= 0);
	close(fd);
	options.json_file = path;
	add_faces(&report, TEST_VMTIME, JUDGE_FAIL);
	assert_int_equal(test_report_json(&options, &report), 0);
	root = json_load_file(path, 0, NULL);
	assert_non_null(root);
	assert_int_equal(json_array_size(member(root, "faces")), 2);
	face = json_array_get(member(root, "faces"), 0);
	assert_string_equal(json_string_value(member(face, "subject")), "vmtime");
	assert_string_equal(json_string_value(member(face, "name")), "acpi_pm");
	assert_int_equal(json_integer_value(member(face, "worst_error_ns")), -41);
	assert_int_equal(json_integer_value(member(face, "rate_error_ppb")), -7);
	face = json_array_get(member(root, "faces"), 1);
	assert_int_equal(json_integer_value(member(face, "cpu")), 1);
	assert_null(json_object_get(face, "rate_error_ppb"));
	pairs = member(root, "pairs");
	assert_int_equal(json_array_size(pairs), 3);
	assert_int_equal(json_integer_value(member(json_array_get(pairs, 1), "disagreement_ns")),
			 900);
	assert_null(json_object_get(json_array_get(pairs, 2), "disagreement_ns"));
	json_decref(root);
	unlink(path);
	test_report_free(&report);
}

/* Each reader has a nearest pair of its own. */
static void who_has_read_is_told(void **state)
{
	static const char *const order[] = {"read by", "probe",  "linux, tsc", "beside",
					    "+900 ns", "+40 ns", "passed",     NULL};
	struct test_report report = make_report();
	struct faces_row row = {.face = FACES_REALTIME, .reads = 9, .quantum_ns = 1};
	struct faces_result faces = {.rows = &row,
				     .row_count = 1,
				     .pairs = {{FACES_PIT, FACES_REALTIME, 40, 1000, JUDGE_PASS},
					       {FACES_PM, FACES_REALTIME, 30, 1000, JUDGE_PASS}},
				     .pair_count = 2};
	const struct test_reader reader = {FACES_LINUX, "tsc"};
	json_t *array, *pairs;
	const char *text;

	(void)state;
	add_faces(&report, TEST_VMTIME, JUDGE_PASS);
	assert_int_equal(test_report_add_faces(&report, TEST_VMTIME, reader, &faces), 0);
	text = printed(&report, test_report_table);
	assert_in_order(text, order);
	assert_null(strstr(text, "+30 ns"));
	array = test_faces_json(&report);
	pairs = test_faces_pairs_json(&report);
	assert_string_equal(json_string_value(member(json_array_get(array, 0), "reader")), "probe");
	assert_null(json_object_get(json_array_get(array, 0), "clocksource"));
	assert_string_equal(json_string_value(member(json_array_get(array, 2), "reader")), "linux");
	assert_string_equal(json_string_value(member(json_array_get(array, 2), "clocksource")),
			    "tsc");
	assert_string_equal(json_string_value(member(json_array_get(array, 2), "name")),
			    "realtime");
	assert_string_equal(json_string_value(member(json_array_get(pairs, 4), "clocksource")),
			    "tsc");
	json_decref(array);
	json_decref(pairs);
	test_report_free(&report);
}

static void what_is_no_utf8_is_told_all_the_same(void **state)
{
	struct test_report report = make_report();
	char path[] = "/tmp/test_report_test.XXXXXX";
	struct test_options options = two_subjects;
	char **command = calloc(3, sizeof(*command));
	int fd = mkstemp(path);
	json_t *root, *row;

	(void)state;
	assert_true(fd >= 0 && command);
	close(fd);
	options.json_file = path;
	command[0] = strdup("caf\xc3\xa9");
	command[1] = strdup("caf\xe9=1");
	report.subjects[TEST_VMTIME].command = command;
	add(&report, TEST_VMTIME, "tsc", JUDGE_FAIL, 0);
	snprintf(report.results[0].row.reason, 32, "it said '\xff\xfe'");
	assert_int_equal(test_report_json(&options, &report), 0);
	root = json_load_file(path, 0, NULL);
	assert_non_null(root);
	row = json_array_get(member(root, "results"), 0);
	assert_string_equal(json_string_value(member(row, "reason")), "it said '?\?'");
	row = member(json_array_get(member(root, "subjects"), 0), "command");
	assert_string_equal(json_string_value(json_array_get(row, 0)), "caf\xc3\xa9");
	assert_string_equal(json_string_value(json_array_get(row, 1)), "caf?=1");
	json_decref(root);
	unlink(path);
	test_report_free(&report);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_worst_comes_first),
		cmocka_unit_test(the_last_line_counts_both_subjects),
		cmocka_unit_test(the_first_subject_alone_makes_the_status),
		cmocka_unit_test(the_json_has_what_was_measured_and_no_more),
		cmocka_unit_test(verdicts_are_coloured_on_a_terminal_unless_no_color),
		cmocka_unit_test(with_several_runs_a_reason_names_its_own),
		cmocka_unit_test(what_a_move_took_stands_below_the_table),
		cmocka_unit_test(faces_come_worst_first_and_count),
		cmocka_unit_test(faces_are_in_the_json),
		cmocka_unit_test(who_has_read_is_told),
		cmocka_unit_test(what_is_no_utf8_is_told_all_the_same),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
