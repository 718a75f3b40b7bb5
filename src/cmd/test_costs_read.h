/* SPDX-License-Identifier: Apache-2.0 */
/* test_costs_read.h - the lines in which the observer tells what readings cost (guest/sample.h). */
#ifndef CMD_TEST_COSTS_READ_H
#define CMD_TEST_COSTS_READ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "cmd/test_lines.h"
#include "guest/costs.h"
#include "guest/sample.h"
#include "host/why.h"

/* All 0 before the first byte, but for `wanted` and `record`. */
struct costs_stream {
	const char *wanted; /* the clock source that counts */
	FILE *record;       /* every line goes there too; may be NULL */

	char line[SAMPLE_LINE_MAX];
	struct test_lines lines;
	bool has_guest;
	struct sample_hello guest; /* the latest */
	struct sample_cost costs[COSTS_MAX];
	uint32_t count;     /* lines of the series at hand, from the first on without a gap */
	bool begun_on_it;   /* the hello before them named the clock source that is wanted */
	bool whole;         /* all of a series is there, and the hello after it named it too */
	uint64_t lines_had; /* whole lines of whatever kind: it is alive */
};

/* Takes `size` bytes as they came for a struct costs_stream, until it is whole.  0. */
int costs_stream_take(void *stream, const char *bytes, size_t size);

/* Whether the vDSO makes a system call, by this series. */
enum sample_falls costs_fall_back(const struct costs_stream *s);

/* Whether a series on kvm-clock is of the boot that it was to be: `unstable`: its page is not to be
 * marked TSC_STABLE; `relies`: else it has to be.  0, or with a why -ENODEV (it cannot do
 * without) or -EPROTO. */
int costs_check_mark(const struct costs_stream *s, bool unstable, bool relies, struct why *why);

#endif
