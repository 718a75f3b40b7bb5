/* SPDX-License-Identifier: Apache-2.0 */
/* run_progress_test.c - how far a machine has got is one row of a terminal: no more, and of no
 * character a part. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "cmd/run_progress.h"

#define START "\r\033[K" /* of the row, emptied */

/* How wide standard error is; -1: it is no terminal. */
static int columns;

/* In place of the C library's. */
int ioctl(int fd, unsigned long request, ...)
{
	struct winsize *size;
	va_list args;

	va_start(args, request);
	size = va_arg(args, struct winsize *);
	va_end(args);
	assert_int_equal(fd, STDERR_FILENO);
	assert_int_equal(request, TIOCGWINSZ);
	if (columns < 0) {
		errno = ENOTTY;
		return -1;
	}
	*size = (struct winsize){.ws_row = 24, .ws_col = (unsigned short)columns};
	return 0;
}

/* What is written there; NULL: when it is cleared. */
static const char *written(const char *text)
{
	static char row[1024];
	int before = dup(STDERR_FILENO), there = memfd_create("terminal", MFD_CLOEXEC);
	ssize_t n;

	assert_true(before >= 0 && there >= 0 && dup2(there, STDERR_FILENO) >= 0);
	if (text)
		run_progress_show(text);
	else
		run_progress_clear();
	fflush(stderr);
	n = pread(there, row, sizeof(row) - 1, 0);
	assert_true(dup2(before, STDERR_FILENO) >= 0);
	close(before);
	close(there);
	assert_true(n >= 0);
	row[n] = '\0';
	return row;
}

static const char *shown(int width, const char *text)
{
	const char *row;

	columns = width;
	row = written(text);
	assert_memory_equal(row, START, strlen(START));
	return row + strlen(START);
}

/* The last column stays empty: some terminals begin the next row when it is written. */
static void what_is_wider_than_the_row_is_cut(void **state)
{
	(void)state;
	assert_string_equal(shown(20, "round 3, 312 MiB"), "round 3, 312 MiB");
	assert_string_equal(shown(17, "round 3, 312 MiB"), "round 3, 312 MiB");
	assert_string_equal(shown(16, "round 3, 312 MiB"), "round 3, 312 Mi");
	assert_string_equal(shown(2, "round 3, 312 MiB"), "r");
	assert_string_equal(shown(2, ""), "");
}

/* A terminal that was never told its size has 0 columns. */
static void where_nobody_knows_the_width_it_is_80(void **state)
{
	static const int unknown[] = {-1, 0, 1};
	char text[100] = "";

	(void)state;
	memset(text, '.', sizeof(text) - 1);
	for (size_t i = 0; i < sizeof(unknown) / sizeof(unknown[0]); i++)
		assert_int_equal(strlen(shown(unknown[i], text)), 79);
}

/* A socket's path may have any name. */
static void of_a_character_all_is_shown_or_nothing(void **state)
{
	static const struct {
		const char *text;
		unsigned bytes; /* of its second character */
	} cases[] = {{"a\u00fc.", 2}, {"a\u4eac.", 3}, {"a\U0001f5a5.", 4}};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const char *text = cases[i].text;
		const int bytes = (int)cases[i].bytes;

		for (int n = 1; n <= bytes; n++)
			assert_string_equal(shown(n + 1, text), "a");
		assert_memory_equal(shown(bytes + 2, text), text, (size_t)bytes + 1);
		assert_int_equal(strlen(shown(bytes + 2, text)), bytes + 1);
		assert_string_equal(shown(bytes + 3, text), text);
	}
}

static void nothing_is_left_of_it(void **state)
{
	(void)state;
	assert_string_equal(written(NULL), START);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_wider_than_the_row_is_cut),
		cmocka_unit_test(where_nobody_knows_the_width_it_is_80),
		cmocka_unit_test(of_a_character_all_is_shown_or_nothing),
		cmocka_unit_test(nothing_is_left_of_it),
	};

	return cmocka_run_group_tests_name("run_progress", tests, NULL, NULL);
}
