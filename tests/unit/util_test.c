/* SPDX-License-Identifier: Apache-2.0 */
/* util_test.c - durations, sizes and errors as people type and read them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cmd/cmd.h"

static void durations_are_a_number_and_a_unit(void **state)
{
	static const struct {
		const char *text;
		uint64_t ns;
	} good[] = {
		{"200ns", 200},
		{"1us", 1000},
		{"500ms", 500000000},
		{"5s", 5000000000},
		{"2min", 120000000000},
		{"1h", 3600000000000},
		{"0s", 0},
		{"0.5s", 500000000},
		{"1.25us", 1250},
		{"0.000000001s", 1},
		{"18446744073709551615ns", UINT64_MAX},
	};
	uint64_t ns;

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		assert_int_equal(cmd_parse_duration(good[i].text, &ns), 0);
		assert_int_equal(ns, good[i].ns);
	}
}

static void what_is_no_duration_says_why_and_changes_nothing(void **state)
{
	static const struct {
		const char *text;
		int error;
	} bad[] = {
		{"5", -EDOM}, /* a bare number: of what? */
		{"0.5", -EDOM},
		{"", -EINVAL},
		{"s", -EINVAL},
		{".5s", -EINVAL},
		{"1.s", -EINVAL},
		{"-5s", -EINVAL},
		{"5 s", -EINVAL},
		{"5S", -EINVAL},
		{"5m", -EINVAL}, /* minutes or milliseconds? */
		{"0x5s", -EINVAL},
		{"1.5ns", -ERANGE}, /* not a whole nanosecond */
		{"0.0000000001s", -ERANGE},
		{"18446744073709551616ns", -ERANGE},
		{"18446744073709551615us", -ERANGE},
		{"18446744073.709551616s", -ERANGE},
	};
	uint64_t ns = 77;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_equal(cmd_parse_duration(bad[i].text, &ns), bad[i].error);
		assert_int_equal(ns, 77);
	}
}

static void sizes_are_powers_of_two(void **state)
{
	uint64_t bytes;

	(void)state;
	assert_int_equal(cmd_parse_size("512M", &bytes), 0);
	assert_int_equal(bytes, 512 << 20);
	assert_int_equal(cmd_parse_size("2.5G", &bytes), 0);
	assert_int_equal(bytes, UINT64_C(5) << 29);
	assert_int_equal(cmd_parse_size("4096", &bytes), 0);
	assert_int_equal(bytes, 4096);
	assert_int_equal(cmd_parse_size("16777216T", &bytes), -ERANGE);
	assert_int_equal(cmd_parse_size("2GB", &bytes), -EINVAL);
	assert_int_equal(cmd_parse_size("1.5", &bytes), -ERANGE);
}

static void times_are_shown_with_three_digits(void **state)
{
	static const struct {
		int64_t ns;
		const char *text;
	} shown[] = {
		{0, "0 ns"},
		{7, "+7 ns"},
		{-999, "-999 ns"},
		{1000, "+1.00 us"},
		{-12345, "-12.3 us"},
		{999999, "+999 us"}, /* cut off: never more than it was */
		{1000000, "+1.00 ms"},
		{-5012345678, "-5.01 s"},
		{123000000000, "+123 s"},
		{INT64_MIN, "-9223372036 s"},
	};
	char text[32];

	(void)state;
	for (size_t i = 0; i < sizeof(shown) / sizeof(shown[0]); i++) {
		cmd_format_ns(text, sizeof(text), shown[i].ns, true);
		assert_string_equal(text, shown[i].text);
	}
	cmd_format_ns(text, sizeof(text), 312, false);
	assert_string_equal(text, "312 ns");
}

/* What a call says on stderr. */
static const char *said(int (*call)(void), int *ret_status)
{
	static char text[2048];
	FILE *file = tmpfile();
	int kept = dup(STDERR_FILENO);
	size_t length;

	assert_non_null(file);
	assert_true(kept >= 0 && dup2(fileno(file), STDERR_FILENO) >= 0);
	*ret_status = call();
	dup2(kept, STDERR_FILENO);
	close(kept);
	rewind(file);
	length = fread(text, 1, sizeof(text) - 1, file);
	text[length] = '\0';
	fclose(file);
	return text;
}

static int mistyped(void)
{
	static const char *const known[] = {"--cpus", "--memory", "--kernel", NULL};

	return cmd_unknown_option("run", "--kernal=bzImage", known);
}

static int mistyped_verb(void)
{
	static const char *const known[] = {"run", "test", "lab", NULL};

	return cmd_unknown_option(NULL, "tst", known);
}

static int very_long(void)
{
	char option[5000];
	static const char *const none[] = {NULL};

	memset(option, 'x', sizeof(option) - 1);
	option[sizeof(option) - 1] = '\0';
	return cmd_unknown_option("run", option, none);
}

static void an_unknown_option_is_named_with_its_neighbour(void **state)
{
	int status;

	(void)state;
	assert_string_equal(said(mistyped, &status), "vmtime run: unknown option '--kernal' "
						     "(the nearest known one is '--kernel')\n");
	assert_int_equal(status, CMD_USAGE);
	assert_string_equal(said(mistyped_verb, &status),
			    "vmtime: unknown verb 'tst' (the nearest known one is 'test')\n");
	assert_int_equal(status, CMD_USAGE);
	assert_non_null(strstr(said(very_long, &status), "vmtime run: unknown option 'xxx"));
	assert_int_equal(status, CMD_USAGE);
}

static const struct option some_options[] = {{"memory", required_argument, NULL, 'm'},
					     {"keep", required_argument, NULL, 'k'},
					     {"json", optional_argument, NULL, 'j'},
					     {"help", no_argument, NULL, 'h'},
					     {NULL, 0, NULL, 0}};
static char *words[4];

/* The first option of `words`. */
static int first_option(void)
{
	int count = 0;

	while (words[count])
		count++;
	optind = 0; /* glibc: from the start */
	return cmd_next_option("test", count, words, some_options);
}

static const char *said_of(char *word, char *next, int *ret_option)
{
	static char verb[] = "test";

	words[0] = verb;
	words[1] = word;
	words[2] = next;
	return said(first_option, ret_option);
}

static void options_go_by_their_whole_names(void **state)
{
	static char whole[] = "--memory", with_value[] = "--memory=2G", begun[] = "--mem",
		    begun_with_value[] = "--mem=2G", size[] = "2G", letters[] = "-xy",
		    json[] = "--json", too_much[] = "--help=now", none[] = "--", name[] = "boot";
	int option;

	(void)state;
	assert_string_equal(said_of(whole, size, &option), "");
	assert_int_equal(option, 'm');
	assert_string_equal(optarg, "2G");
	assert_string_equal(said_of(with_value, NULL, &option), "");
	assert_int_equal(option, 'm');
	assert_string_equal(said_of(json, size, &option), "");
	assert_int_equal(option, 'j');
	assert_null(optarg);
	assert_string_equal(said_of(begun, size, &option),
			    "vmtime test: unknown option '--mem' "
			    "(the nearest known one is '--memory')\n");
	assert_int_equal(option, '?');
	assert_non_null(strstr(said_of(begun_with_value, NULL, &option), "option '--mem' "));
	assert_non_null(strstr(said_of(begun, NULL, &option), "option '--mem' "));
	assert_non_null(strstr(said_of(letters, NULL, &option), "option '-x' "));
	assert_non_null(strstr(said_of(whole, NULL, &option), "--memory needs a value"));
	assert_non_null(strstr(said_of(too_much, NULL, &option), "takes no value"));
	assert_int_equal(option, '?');
	assert_string_equal(said_of(none, name, &option), "");
	assert_int_equal(option, -1);
	assert_string_equal(said_of(name, whole, &option), "");
	assert_int_equal(option, -1);
}

static void instants_have_nine_digits(void **state)
{
	static const struct {
		int64_t ns;
		const char *text;
	} shown[] = {
		{0, "1970-01-01T00:00:00.000000000Z"},
		{-1, "1969-12-31T23:59:59.999999999Z"},
		{1795655800018466413, "2026-11-26T01:16:40.018466413Z"},
		{INT64_MAX, "2262-04-11T23:47:16.854775807Z"},
		{INT64_MIN, "1677-09-21T00:12:43.145224192Z"},
	};
	char text[CMD_UTC_SIZE];

	(void)state;
	for (unsigned i = 0; i < sizeof(shown) / sizeof(shown[0]); i++) {
		cmd_format_utc(text, sizeof(text), shown[i].ns);
		assert_string_equal(text, shown[i].text);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(durations_are_a_number_and_a_unit),
		cmocka_unit_test(what_is_no_duration_says_why_and_changes_nothing),
		cmocka_unit_test(sizes_are_powers_of_two),
		cmocka_unit_test(times_are_shown_with_three_digits),
		cmocka_unit_test(instants_have_nine_digits),
		cmocka_unit_test(an_unknown_option_is_named_with_its_neighbour),
		cmocka_unit_test(options_go_by_their_whole_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
