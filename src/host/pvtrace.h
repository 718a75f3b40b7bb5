/* SPDX-License-Identifier: Apache-2.0 */
/* pvtrace.h - what KVM itself wrote into a guest's kvm-clock pages, of any VMM.
 *
 * KVM's tracepoint kvm_pvclock_update tells each page that is written: a line from the guest's TSC
 * to its kvm-clock.  Two of them tell by how much that clock was set back or forth in between,
 * which nothing outside of the guest shows otherwise.  A VMM that writes the pages itself leaves no
 * trace here. */
#ifndef HOST_PVTRACE_H
#define HOST_PVTRACE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "host/why.h"

/* ns = system_time + ((tsc - tsc_timestamp) * 2^shift * mul) / 2^32 */
struct pvtrace_page {
	uint64_t tsc_timestamp, system_time;
	uint32_t mul;
	int shift; /* -32..31 */
};

/* A trace of its own in tracefs, from pvtrace_open() on. */
struct pvtrace {
	char folder[128]; /* "": none */
};

/* `root` is tracefs; NULL: where it is mounted.  0, or negative errno with nothing left: -ENOENT
 * there is no tracefs, or this kernel does not have the tracepoint, -EACCES. */
int pvtrace_open(const char *root, struct pvtrace *ret_trace, struct why *why);

/* The last page of vCPU 0 that a thread of process `pid` wrote.  0, or negative errno: -ENOENT
 * there is none. */
int pvtrace_last(const struct pvtrace *t, pid_t pid, struct pvtrace_page *ret_page,
		 struct why *why);

/* Takes one that is not open. */
void pvtrace_close(struct pvtrace *t);

/* One line of a trace: 1 with the thread, the vCPU and the page; 0: it is none of these. */
int pvtrace_parse(const char *line, pid_t *ret_tid, unsigned *ret_vcpu,
		  struct pvtrace_page *ret_page);

/* What the page shows at a count of the guest's TSC, before its own too; rounded down. */
int64_t pvtrace_ns(const struct pvtrace_page *page, uint64_t tsc);

/* How many counts of the guest's TSC the page has for so many ns, to the nearest. */
int64_t pvtrace_counts(const struct pvtrace_page *page, int64_t ns);

#endif
