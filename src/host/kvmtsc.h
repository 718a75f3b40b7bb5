/* SPDX-License-Identifier: Apache-2.0 */
/* kvmtsc.h - from a guest's TSC to the host's, as KVM itself applies it.
 *
 * guest = (host * ratio >> frac_bits) + offset, modulo 2^64, for the VM of any VMM: KVM shows the
 * numbers of each vCPU in debugfs (kvm/PID-FD/vcpuN/tsc-offset, tsc-scaling-ratio and
 * tsc-scaling-ratio-frac-bits; the last two only where the hardware scales). */
#ifndef HOST_KVMTSC_H
#define HOST_KVMTSC_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "host/why.h"

struct kvmtsc_map {
	int64_t offset;
	uint64_t ratio;     /* not 0; 1 << frac_bits: not scaled */
	unsigned frac_bits; /* at most 48 */
	unsigned vcpus;     /* how many were read; they all agree */
};

/* Reads the map of the VM of process `pid` as it is at this moment.  `root` is KVM's directory in
 * debugfs; NULL: where it is mounted.  0, -ENOENT (debugfs is not there, or no such VM), -EACCES,
 * -EEXIST (the process has several VMs), -ESTALE (its vCPUs disagree), -EIO (not as expected). */
int kvmtsc_read(const char *root, pid_t pid, struct kvmtsc_map *ret_map, struct why *why);

/* The threads that run vCPUs 0 to count - 1 of that VM (kvm/PID-FD/vcpuN/pid, from Linux 5.18 on; a
 * vCPU that never ran has none).  0, or negative errno as above. */
int kvmtsc_threads(const char *root, pid_t pid, pid_t *ret_tids, unsigned count, struct why *why);

bool kvmtsc_same(const struct kvmtsc_map *a, const struct kvmtsc_map *b);

/* The host counts [*ret_lo, *ret_hi] that the guest counts [lo, hi] can stand for, outward by what
 * scaling rounds. */
void kvmtsc_to_host(const struct kvmtsc_map *map, uint64_t lo, uint64_t hi, uint64_t *ret_lo,
		    uint64_t *ret_hi);

#endif
