/* SPDX-License-Identifier: Apache-2.0 */
/* busy.h - keeps every CPU of a guest at work, and has it look at the clocks meanwhile.
 *
 * A process of the lowest priority for each CPU.  What it has to do besides is to read each clock
 * in turn, without a pause, and to compare it with the greatest that any CPU has seen before: a
 * step back of a clock, or of one CPU's beside another's, is seen by whoever reads next.  For one
 * thread of a process without others. */
#ifndef GUEST_BUSY_H
#define GUEST_BUSY_H

#include <sched.h>
#include <stdbool.h>
#include <stdint.h>

#include "guest/sample.h"

/* What all CPUs have seen, in memory that they share. */
struct busy_seen {
	int64_t last[SAMPLE_BACKWARD]; /* the greatest of each clock in ns, and of the TSC */
	uint64_t backward[SAMPLE_BACKWARD];
	uint64_t rounds[CPU_SETSIZE]; /* of each CPU */
};

/* One reading `now` of clock `which`, that began when `last` was the greatest: a step back counts
 * once, whoever sees it, and is what the next is compared with. */
void busy_compare(struct busy_seen *seen, int which, int64_t last, int64_t now);

/* Begins on the CPUs that are not busy yet; `check`: to look at the clocks.  0 or negative errno
 * where one could not. */
int busy_begin(const cpu_set_t *cpus, bool check);

/* Ends all of them. */
void busy_end(void);

/* What has been seen since the start; NULL: nobody has looked yet. */
const struct busy_seen *busy_look(void);

/* Adds that (NULL: nothing) to a reading that was just taken: the steps back of all CPUs to its
 * own, and how often its CPU has looked. */
void busy_add(const struct busy_seen *seen, struct sample *sample);

#endif
