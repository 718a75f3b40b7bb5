/* SPDX-License-Identifier: Apache-2.0 */
/* test_load.h - scenarios overcommit and steal: host and guest are kept busy for a while, and what
 * that does to the guest's clocks and to what it calls steal is looked at.
 *
 * After the steady time the guest is told to keep its CPUs at work, and TEST_LOAD_PER_CPU processes
 * for each CPU of this machine compete with them.  Before, meanwhile and after, the run delay of
 * each vCPU's thread is noted; a reading of the guest, which tells the steal of one CPU, is set
 * against those around it. */
#ifndef CMD_TEST_LOAD_H
#define CMD_TEST_LOAD_H

#include "cmd/test.h"
#include "cmd/test_sample.h"
#include "host/why.h"

enum { TEST_LOAD_PER_CPU = 4 };

/* The counts of all vCPUs' threads, read one after the other in [from_ns, to_ns] by
 * CLOCK_MONOTONIC. */
struct test_waits {
	uint64_t from_ns, to_ns;
	uint64_t *delay_ns; /* one a CPU */
};

enum test_load_phase { TEST_LOAD_BEFORE, TEST_LOAD_BUSY, TEST_LOAD_AFTER, TEST_LOAD_OVER };

struct test_load {
	enum test_load_phase phase;
	uint64_t opened_ns;        /* since when delays are noted; 0: not yet */
	uint64_t begun_ns, end_ns; /* of the load, by CLOCK_MONOTONIC */
	pid_t *busy;
	unsigned n_busy;
	struct rundelay *delays; /* of each vCPU's thread */
	unsigned cpus;
	struct test_waits *waits; /* in order of time */
	size_t n_waits, room;
	struct why no_delays; /* why there are none, or "" */
};

/* True when one of the two was asked for. */
bool test_load_wanted(const struct test_options *options);

/* How long the load itself lasts, and with what is before and after at most. */
uint64_t test_load_ns(const struct test_options *options);
uint64_t test_load_longest_ns(const struct test_options *options);

/* One look at a guest, `pid`, whose readings from number `from` on count; `fd` is its port.  1 when
 * all is over, 0 when not yet, or negative errno with its why. */
int test_load_step(struct test_load *l, const struct test_options *options,
		   const struct test_stream *stream, size_t from, pid_t pid, int fd,
		   struct why *why);

/* Sends the observer a line, newline included.  0, or negative errno with its why. */
int test_load_say(int fd, const char *line, struct why *why);

/* The readings before the load began: numbers below this. */
size_t test_load_first(const struct test_load *l, const struct test_stream *stream);

void test_load_judge(const struct test_load *l, const struct test_stream *stream, size_t from,
		     enum test_scenario scenario, const struct judge_clock *clock,
		     uint64_t limit_ns, uint64_t default_limit_ns, struct judge_row *ret_row);

/* Ends what is busy. */
void test_load_rest(struct test_load *l);

/* The same, and forgets all.  Takes one that is all 0. */
void test_load_end(struct test_load *l);

#endif
