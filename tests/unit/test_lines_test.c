/* SPDX-License-Identifier: Apache-2.0 */
/* test_lines_test.c - bytes come in pieces of any size, lines come out whole or not at all. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "cmd/test_lines.h"

struct reader {
	struct test_lines lines;
	char line[8];
	char seen[64]; /* each line, or "?" for one that was too long, and a bar */
	int refuse;
};

static int take(void *owner, bool whole)
{
	struct reader *r = owner;

	strcat(r->seen, whole ? r->line : "?");
	strcat(r->seen, "|");
	return r->refuse;
}

static int give(struct reader *r, const char *bytes, size_t size)
{
	return test_lines_take(&r->lines, r->line, sizeof(r->line), bytes, size, take, r);
}

static void pieces_make_lines(void **state)
{
	static const char text[] = "one\n\nthree\nfour";

	(void)state;
	for (size_t piece = 1; piece <= sizeof(text); piece++) {
		struct reader r = {0};

		for (size_t at = 0; at < sizeof(text) - 1; at += piece) {
			size_t left = sizeof(text) - 1 - at;

			assert_int_equal(give(&r, text + at, left < piece ? left : piece), 0);
		}
		assert_string_equal(r.seen, "one||three|");
	}
}

static void a_line_that_does_not_fit_is_not_taken_for_a_shorter_one(void **state)
{
	struct reader r = {0};

	(void)state;
	assert_int_equal(give(&r, "1234567\n12345678\n7\n", 19), 0);
	assert_string_equal(r.seen, "1234567|?|7|");
}

static void the_first_error_ends_it(void **state)
{
	struct reader r = {.refuse = -5};

	(void)state;
	assert_int_equal(give(&r, "a\nb\n", 4), -5);
	assert_string_equal(r.seen, "a|");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pieces_make_lines),
		cmocka_unit_test(a_line_that_does_not_fit_is_not_taken_for_a_shorter_one),
		cmocka_unit_test(the_first_error_ends_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
