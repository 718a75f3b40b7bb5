/* SPDX-License-Identifier: Apache-2.0 */
/* sample_test.c - lines from a guest: what is written is read, what is damaged is not. */
#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdlib.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "guest/sample.h"

static const struct sample reading = {
	.seq = 17,
	.cpu = 3,
	.current = "kvm-clock",
	.clock = {{.tsc = UINT64_MAX, .width = 320, .ns = 1795630709624931580},
		  {.tsc = 9344562420, .width = 1, .ns = INT64_MAX},
		  {.tsc = 0, .width = 0, .ns = -5}},
	.backward = {1, 2, 3, 4},
	.dropped = 9,
	.steal_ns = 1230000000,
	.checks = 77,
};

static const struct sample_hello hello = {
	.kernel = "6.1.0-56-cloud-amd64",
	.current = "tsc",
	.available = "tsc,acpi_pm",
	.cpus = 2,
	.tick_ns = 4000000,
	.period_ns = 100000000,
};

static void a_reading_survives_the_way(void **state)
{
	char line[SAMPLE_LINE_MAX];
	struct sample_hello h;
	struct sample s;
	int length;

	(void)state;
	length = sample_format(line, sizeof(line), &reading);
	assert_int_equal(length, strlen(line));
	assert_int_equal(line[length - 1], '\n');
	memset(&s, 0, sizeof(s));
	assert_int_equal(sample_parse(line, &h, &s), SAMPLE_KIND_READING);
	assert_int_equal(s.seq, 17);
	assert_int_equal(s.cpu, 3);
	assert_string_equal(s.current, "kvm-clock");
	assert_memory_equal(s.clock, reading.clock, sizeof(s.clock));
	assert_memory_equal(s.backward, reading.backward, sizeof(s.backward));
	assert_int_equal(s.dropped, 9);
	assert_int_equal(s.steal_ns, 1230000000);
	assert_int_equal(s.checks, 77);
}

static void a_hello_survives_the_way(void **state)
{
	char line[SAMPLE_LINE_MAX];
	struct sample_hello h;
	struct sample s;

	(void)state;
	assert_true(sample_format_hello(line, sizeof(line), &hello) > 0);
	assert_int_equal(sample_parse(line, &h, &s), SAMPLE_KIND_HELLO);
	assert_string_equal(h.kernel, hello.kernel);
	assert_string_equal(h.available, "tsc,acpi_pm");
	assert_int_equal(h.cpus, 2);
	assert_int_equal(h.tick_ns, 4000000);
	assert_int_equal(h.period_ns, 100000000);
}

static void an_unknown_text_keeps_its_place(void **state)
{
	struct sample_hello nameless = hello, h;
	char line[SAMPLE_LINE_MAX];
	struct sample s;

	(void)state;
	nameless.kernel[0] = '\0';
	assert_true(sample_format_hello(line, sizeof(line), &nameless) > 0);
	assert_int_equal(sample_parse(line, &h, &s), SAMPLE_KIND_HELLO);
	assert_string_equal(h.kernel, "-");
}

static void a_changed_letter_is_seen(void **state)
{
	char line[SAMPLE_LINE_MAX];
	struct sample_hello h;
	struct sample s = {.seq = 4711};
	size_t length;

	(void)state;
	sample_format(line, sizeof(line), &reading);
	length = strlen(line) - 1;
	for (size_t i = 0; i < length; i++) {
		char kept = line[i];

		line[i] = kept == '7' ? '8' : '7';
		assert_int_equal(sample_parse(line, &h, &s), -EBADMSG);
		line[i] = kept;
	}
	assert_int_equal(s.seq, 4711);
}

static void a_cut_line_is_seen(void **state)
{
	char line[SAMPLE_LINE_MAX];
	struct sample_hello h;
	struct sample s;

	(void)state;
	sample_format(line, sizeof(line), &reading);
	for (size_t length = strlen(line) - 1; length-- > 0;) {
		line[length] = '\0';
		assert_int_equal(sample_parse(line, &h, &s), -EBADMSG);
	}
}

static void what_a_console_says_is_not_a_reading(void **state)
{
	static const char *const lines[] = {
		"", "\n", "S", "H 1", "[    0.000000] Linux version 6.1.0", "S 1 2 3 *00000000"};
	struct sample_hello h;
	struct sample s;

	(void)state;
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
		assert_int_equal(sample_parse(lines[i], &h, &s), -EBADMSG);
}

/* The right sum over the wrong words: built with the formatter, by a text that holds a space. */
static void words_too_many_or_too_few_are_refused(void **state)
{
	struct sample_hello odd = hello, h;
	char line[SAMPLE_LINE_MAX];
	struct sample s;

	(void)state;
	snprintf(odd.current, sizeof(odd.current), "two words");
	sample_format_hello(line, sizeof(line), &odd);
	assert_int_equal(sample_parse(line, &h, &s), -EBADMSG);
	snprintf(odd.current, sizeof(odd.current), " ");
	sample_format_hello(line, sizeof(line), &odd);
	assert_int_equal(sample_parse(line, &h, &s), -EBADMSG);
}

static void a_buffer_too_small_is_said(void **state)
{
	char line[SAMPLE_LINE_MAX];

	(void)state;
	for (size_t size = 0; size < 60; size++) {
		assert_int_equal(sample_format(line, size, &reading), -ENOSPC);
		assert_int_equal(sample_format_hello(line, size, &hello), -ENOSPC);
	}
}

static void a_cost_survives_the_way(void **state)
{
	struct sample_cost cost = {.series = 3,
				   .index = 1,
				   .count = 6,
				   .path = 'p',
				   .ordered = true,
				   .reader = 2,
				   .checks = 200,
				   .cost_ps = 11100,
				   .outside_ns = 7,
				   .bracket_ns = 13};
	struct sample_cost c = {0};
	struct sample_hello h;
	char line[SAMPLE_LINE_MAX];
	struct sample s;
	int length = sample_format_cost(line, sizeof(line), &cost);

	(void)state;
	assert_true(length > 0);
	assert_int_equal(sample_parse_cost(line, &c), 0);
	assert_true(c.series == 3 && c.index == 1 && c.count == 6 && c.path == 'p');
	assert_true(c.ordered && !c.falls && c.reader == 2 && c.checks == 200);
	assert_true(c.cost_ps == 11100 && c.outside_ns == 7 && c.bracket_ns == 13);
	assert_int_equal(sample_parse(line, &h, &s), -EBADMSG);
	for (int i = 0; i < length - 1; i++) {
		line[i] ^= 1;
		assert_int_equal(sample_parse_cost(line, &c), -EBADMSG);
		line[i] ^= 1;
	}
	assert_int_equal(sample_format_cost(line, 40, &cost), -ENOSPC);
	cost.falls = SAMPLE_FALLS_UNKNOWN;
	assert_true(sample_format_cost(line, sizeof(line), &cost) > 0);
	assert_int_equal(sample_parse_cost(line, &c), 0);
	assert_int_equal(c.falls, SAMPLE_FALLS_UNKNOWN);
}

/* With the right sum. */
static void a_cost_that_cannot_be_is_refused(void **state)
{
	struct sample_cost cost = {.count = 1, .path = 'v'}, c;
	char line[SAMPLE_LINE_MAX];

	(void)state;
	cost.path = 'x';
	sample_format_cost(line, sizeof(line), &cost);
	assert_int_equal(sample_parse_cost(line, &c), -EBADMSG);
	cost.path = 'v';
	cost.index = 1;
	sample_format_cost(line, sizeof(line), &cost);
	assert_int_equal(sample_parse_cost(line, &c), -EBADMSG);
	cost.index = 0;
	sample_format_cost(line, sizeof(line), &cost);
	assert_int_equal(sample_parse_cost(line, &c), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_reading_survives_the_way),
		cmocka_unit_test(a_hello_survives_the_way),
		cmocka_unit_test(an_unknown_text_keeps_its_place),
		cmocka_unit_test(a_changed_letter_is_seen),
		cmocka_unit_test(a_cut_line_is_seen),
		cmocka_unit_test(what_a_console_says_is_not_a_reading),
		cmocka_unit_test(words_too_many_or_too_few_are_refused),
		cmocka_unit_test(a_buffer_too_small_is_said),
		cmocka_unit_test(a_cost_survives_the_way),
		cmocka_unit_test(a_cost_that_cannot_be_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
