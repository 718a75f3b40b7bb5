/* SPDX-License-Identifier: Apache-2.0 */
/* test_lines.h - the bytes of a guest's port as lines. */
#ifndef CMD_TEST_LINES_H
#define CMD_TEST_LINES_H

#include <stdbool.h>
#include <stddef.h>

/* The line at hand; all 0 before the first byte. */
struct test_lines {
	size_t length;
	bool overlong; /* it is longer than any of ours: skip to its end */
};

/* Takes `size` bytes as they came.  Each line is put into `line`, of `max` bytes, ends with a 0 in
 * place of its newline, and is passed on by `take`; `whole` is false for one that does not fit.
 * 0, or what `take` returns other than 0: then the rest of the bytes is lost. */
int test_lines_take(struct test_lines *l, char *line, size_t max, const char *bytes, size_t size,
		    int (*take)(void *owner, bool whole), void *owner);

#endif
