/* SPDX-License-Identifier: Apache-2.0 */
/* rundelay.h - how long a thread wanted to run and another ran in its place.
 *
 * The scheduler's count of each thread in ns (/proc/PID/task/TID/schedstat, the second number;
 * Linux kernel/sched/stats.h, sched_info).  A wait is added when it ends, so a thread finds its own
 * count up to date and another's late by a wait that still lasts.  Sleep is no wait. */
#ifndef HOST_RUNDELAY_H
#define HOST_RUNDELAY_H

#include <stdint.h>
#include <sys/types.h>

struct rundelay {
	int fd;           /* -1: none */
	uint64_t seen_ns; /* the count at the last rundelay_take() or rundelay_forget() */
};

/* Of thread `tid` in process `pid`, as it is now counted from.  0, or negative errno: -EOPNOTSUPP
 * when this kernel does not count (all it shows of a thread that has run is 0). */
int rundelay_open(pid_t pid, pid_t tid, struct rundelay *ret_delay);
void rundelay_close(struct rundelay *d);

/* The whole count.  0, or negative errno: its thread has ended (-ESRCH), or there is none. */
int rundelay_read(const struct rundelay *d, uint64_t *ret_ns);

/* What came since the last call or rundelay_forget(); 0 when it cannot be read or is smaller than
 * it was, from where it then goes on. */
uint64_t rundelay_take(struct rundelay *d);

/* What came until now is not to be counted. */
void rundelay_forget(struct rundelay *d);

#endif
