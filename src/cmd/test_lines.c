/* SPDX-License-Identifier: Apache-2.0 */
/* test_lines.c - the bytes of a guest's port as lines. */
#include "cmd/test_lines.h"

int test_lines_take(struct test_lines *l, char *line, size_t max, const char *bytes, size_t size,
		    int (*take)(void *owner, bool whole), void *owner)
{
	int error = 0;

	for (size_t i = 0; i < size && !error; i++) {
		if (bytes[i] == '\n') {
			bool whole = !l->overlong;

			line[l->length] = '\0';
			*l = (struct test_lines){0};
			error = take(owner, whole);
		} else if (l->length + 1 < max) {
			line[l->length++] = bytes[i];
		} else {
			l->overlong = true;
		}
	}
	return error;
}
