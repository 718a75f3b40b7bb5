/* SPDX-License-Identifier: Apache-2.0 */
/* test_sample.h - the readings that a guest sends, each set against the host's clocks.
 *
 * Text comes in as it comes; what counts is the TSC in each reading.  A reading waits until the
 * host's pairs reach past it. */
#ifndef CMD_TEST_SAMPLE_H
#define CMD_TEST_SAMPLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "cmd/test_judge.h"
#include "cmd/test_lines.h"
#include "guest/sample.h"
#include "host/kvmtsc.h"
#include "host/pairs.h"

/* A reading as the guest sent it, and as the host sees it. */
struct test_reading {
	struct sample sample;
	struct judge_point point;
};

struct test_stream {
	char line[SAMPLE_LINE_MAX];
	struct test_lines lines;

	bool has_hello;
	struct sample_hello hello;
	struct test_reading *readings; /* in order of sequence */
	size_t count, capacity;        /* readings that have come */
	size_t evaluated;              /* of these, from the front, have a point */
	uint64_t damaged;              /* lines that began as ours but were not whole */
	bool restarted;                /* a reading of another start of the guest has come */
	/* Every line goes there too, and each point as "E SEQ HOST_NS r ERROR_NS BOUND_NS m
	 * ERROR_NS BOUND_NS", of CLOCK_REALTIME and CLOCK_MONOTONIC; may be NULL. */
	FILE *record;
};

/* Takes `size` bytes as they came.  0 or -ENOMEM. */
int test_stream_take(struct test_stream *s, const char *bytes, size_t size);

/* Evaluates what can be by now.  0; -ERANGE: a reading is older than the history of pairs, which
 * means that its TSC cannot be right. */
int test_stream_evaluate(struct test_stream *s, const struct kvmtsc_map *map, struct pairs *pairs);

/* What the guest's TSC is while it counts from `from` to `to`. */
struct test_span {
	uint64_t from, to;
	struct kvmtsc_map map;
};

/* As test_stream_evaluate() where that has changed: each reading by the last span that has all of
 * it; one in no span is left out, as nobody can tell when it was.  NULL: in none. */
const struct test_span *test_span_of(const struct test_span *spans, size_t count,
				     const struct sample *reading);
int test_stream_evaluate_spans(struct test_stream *s, const struct test_span *spans, size_t count,
			       struct pairs *pairs);

/* Readings that the guest took since the one at `from` and that did not come whole: the port had no
 * room, or the line was damaged. */
uint64_t test_stream_missing(const struct test_stream *s, size_t from);

void test_stream_free(struct test_stream *s);

#endif
