/* SPDX-License-Identifier: Apache-2.0 */
/* cputime.h - how much of this machine's CPUs a VM takes. */
#ifndef HOST_CPUTIME_H
#define HOST_CPUTIME_H

#include <stdint.h>
#include <sys/types.h>

/* The kernel's thread that injects the ticks of KVM's own PIT for the process `pid`, which runs a
 * VM; 0: there is none, or /proc does not show it. */
pid_t cputime_kvm_pit(pid_t pid);

/* What all threads of `pid`, and of `helper` unless that is 0, have run so far, in ns: by the
 * scheduler's count (/proc/PID/task/TID/schedstat), which has what ran in interrupts meanwhile, and
 * of a thread that runs now is as old as its last tick.  A thread that has ended takes its time
 * with it.  0 or negative errno. */
int cputime_read(pid_t pid, pid_t helper, uint64_t *ret_ns);

#endif
