/* SPDX-License-Identifier: Apache-2.0 */
/* test_pauses.h - many short stops of a guest, or moves to another VMM, one after the other, and
 * what comes out. */
#ifndef CMD_TEST_PAUSES_H
#define CMD_TEST_PAUSES_H

#include "cmd/test_judge.h"
#include "cmd/test_sample.h"
#include "cmd/test_ticks_judge.h"

/* What a move took; 0: not known. */
struct pauses_move {
	uint64_t downtime_ns, total_ns;
};

/* Those of one boot so far. */
struct pauses {
	unsigned done;
	uint64_t random;  /* state, of the lengths and the times between */
	uint64_t next_ns; /* CLOCK_MONOTONIC: when the next is due */

	/* What the guest's TSC was between them; the last one has no end yet. */
	struct test_span *spans;
	size_t count, room;

	/* Of moves, each that is done. */
	struct pauses_move *moves;
	size_t n_moves, moves_room;

	/* Between these lies what the guest stood still in all; of moves both are what their events
	 * say. */
	uint64_t least_ns, most_ns;

	bool has_ledgers; /* after the last */
	struct ticks_ledger ledgers[TICKS_SOURCES];
};

/* The limit of the sum of so many errors: for each 10 ns, for a move 100, and 1 us at least. */
uint64_t pauses_limit_ns(const struct pauses *p);

/* Begins a span with its last one, which ends.  0 or -ENOMEM. */
int pauses_add(struct pauses *p, const struct test_span *span);

/* One more that is done.  0 or -ENOMEM. */
int pauses_add_move(struct pauses *p, const struct pauses_move *move);

/* A number from `least` to `most`, another each time. */
uint64_t pauses_random(struct pauses *p, uint64_t least, uint64_t most);

/* What is promised of each. */
struct pauses_promise {
	const struct judge_clock *clock;
	uint64_t hz;       /* of the host's TSC; 0: not known, and nothing can be said of each */
	uint64_t limit_ns; /* in place of the clock's own, which is 1 us where it has none; 0 */
	bool frozen;       /* the clocks are to stand still with the TSC */
};

/* Adds to the row of their sum: how many there were; from reading `from` on by how much at least
 * both clocks were off between one reading and the next, where they were off most (0: nowhere by
 * more than the brackets), which fails beyond the limit; how often the CPU that did so least has
 * looked at its clocks, which each has to of which there are two readings: they go round the CPUs,
 * of which the last may not have had its turn; what moves took, the middle one and the longest; and
 * what became of the ticks, of which none may be
 * missing. */
void pauses_judge(const struct pauses *p, const struct test_stream *stream, size_t from,
		  const struct pauses_promise *promise, struct judge_row *row);

/* NULL: nothing to do. */
void pauses_free(struct pauses *p);

#endif
