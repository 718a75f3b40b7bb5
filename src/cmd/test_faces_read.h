/* SPDX-License-Identifier: Apache-2.0 */
/* test_faces_read.h - the lines of the probe and of the reader under Linux as readings, which
 * guest/probe/probe.h and guest/reader.h describe. */
#ifndef CMD_TEST_FACES_READ_H
#define CMD_TEST_FACES_READ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "cmd/test_faces_judge.h"
#include "cmd/test_lines.h"
#include "cmd/test_ticks_judge.h"
#include "guest/sample.h"

enum { FACES_LINE_MAX = SAMPLE_LINE_MAX, FACES_ERROR_MAX = 128 };

struct faces_stream {
	char line[FACES_LINE_MAX];
	struct test_lines lines;

	bool has_hello;
	struct faces_hello hello; /* the first: one that says something else is damage */
	bool has_guest;
	struct sample_hello guest;      /* the latest that Linux sent */
	struct faces_reading *readings; /* as they came, since the clock source is this one */
	size_t count, capacity;
	bool has_begun, has_count, has_tally; /* to be cleared when they were seen */
	uint64_t count_so_far;
	struct ticks_tally tally;
	uint64_t damaged;            /* lines that were not whole, or said what cannot be */
	char error[FACES_ERROR_MAX]; /* what the probe complains of; "" */
	FILE *record;                /* every line goes there too; may be NULL */
};

/* Takes `size` bytes as they came for a struct faces_stream.  0 or -ENOMEM. */
int faces_stream_take(void *stream, const char *bytes, size_t size);

void faces_stream_free(struct faces_stream *s);

#endif
