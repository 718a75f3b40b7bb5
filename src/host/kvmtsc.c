/* SPDX-License-Identifier: Apache-2.0 */
/* kvmtsc.c - from a guest's TSC to the host's, as KVM itself applies it. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "host/kvmtsc.h"

__extension__ typedef unsigned __int128 u128;

#define DEBUGFS_KVM "/sys/kernel/debug/kvm"

enum { MAX_FRAC_BITS = 48 };

/* One number from dir/name, relative to the open directory.  0 or negative errno. */
static int read_number(int dir, const char *vcpu, const char *name, int64_t *ret_value)
{
	char path[300], text[32], *end;
	ssize_t length;
	int fd, error = 0;

	snprintf(path, sizeof(path), "%s/%s", vcpu, name);
	fd = openat(dir, path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	length = read(fd, text, sizeof(text) - 1);
	if (length < 0)
		error = -errno;
	close(fd);
	if (error)
		return error;
	text[length] = '\0';
	errno = 0;
	*ret_value = strtoll(text, &end, 10);
	return errno || end == text ? -EIO : 0;
}

static int read_vcpu(int dir, const char *vcpu, struct kvmtsc_map *ret_map)
{
	int64_t offset, ratio, frac_bits;
	int error = read_number(dir, vcpu, "tsc-offset", &offset);

	if (error)
		return error;
	*ret_map = (struct kvmtsc_map){.offset = offset, .ratio = 1, .vcpus = 1};
	error = read_number(dir, vcpu, "tsc-scaling-ratio", &ratio);
	if (error == -ENOENT)
		return 0; /* this hardware does not scale */
	if (!error)
		error = read_number(dir, vcpu, "tsc-scaling-ratio-frac-bits", &frac_bits);
	if (error)
		return error;
	if (frac_bits < 0 || frac_bits > MAX_FRAC_BITS || ratio <= 0)
		return -EIO;
	ret_map->ratio = (uint64_t)ratio;
	ret_map->frac_bits = (unsigned)frac_bits;
	return 0;
}

bool kvmtsc_same(const struct kvmtsc_map *a, const struct kvmtsc_map *b)
{
	return a->offset == b->offset && a->ratio == b->ratio && a->frac_bits == b->frac_bits;
}

static int read_vm(int fd, const char *name, struct kvmtsc_map *ret_map, struct why *why)
{
	struct kvmtsc_map first = {0}, one;
	struct dirent *entry;
	DIR *dir = fdopendir(fd);
	int error = 0;

	if (!dir) {
		error = -errno;
		close(fd);
		return why_set(why, error, "cannot read kvm/%s in debugfs: %s", name,
			       strerror(-error));
	}
	while (!error && (entry = readdir(dir))) {
		if (strncmp(entry->d_name, "vcpu", 4) != 0)
			continue;
		error = read_vcpu(fd, entry->d_name, &one);
		if (error)
			why_set(why, error, "cannot read the TSC offset in kvm/%s/%s: %s", name,
				entry->d_name, strerror(-error));
		else if (first.vcpus == 0)
			first = one;
		else if (!kvmtsc_same(&first, &one))
			error = why_set(why, -ESTALE,
					"the vCPUs of kvm/%s have different TSCs: offset %" PRId64
					" and %" PRId64 " (its guest has no one time to measure)",
					name, first.offset, one.offset);
		else
			first.vcpus++;
	}
	closedir(dir);
	if (!error && first.vcpus == 0)
		error = why_set(why, -ENOENT, "kvm/%s in debugfs has no vCPU", name);
	if (!error)
		*ret_map = first;
	return error;
}

/* The one directory PID-FD of the process: 0 and its name, or negative errno. */
static int find_vm(DIR *dir, pid_t pid, char *name, size_t size, struct why *why)
{
	struct dirent *entry;
	char prefix[24];
	unsigned found = 0;

	snprintf(prefix, sizeof(prefix), "%d-", (int)pid);
	while ((entry = readdir(dir))) {
		if (strncmp(entry->d_name, prefix, strlen(prefix)) != 0)
			continue;
		snprintf(name, size, "%s", entry->d_name);
		found++;
	}
	if (found == 0)
		return why_set(why, -ENOENT, "process %d has no VM in debugfs' kvm directory",
			       (int)pid);
	if (found > 1)
		return why_set(why, -EEXIST, "process %d has %u VMs, one is expected", (int)pid,
			       found);
	return 0;
}

/* The open directory of the VM of process `pid`, and its name; or negative errno. */
static int open_vm(const char *root, pid_t pid, char *name, size_t size, struct why *why)
{
	const char *path = root ? root : DEBUGFS_KVM;
	DIR *dir = opendir(path);
	int error, fd = -1;

	if (!dir) {
		error = -errno;
		return why_set(why, error, "cannot open %s: %s (%s)", path, strerror(-error),
			       error == -EACCES ? "be root"
						: "mount -t debugfs none /sys/kernel/debug");
	}
	error = find_vm(dir, pid, name, size, why);
	if (!error) {
		fd = openat(dirfd(dir), name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (fd < 0)
			error = why_set(why, -errno, "cannot open %s/%s: %m", path, name);
	}
	closedir(dir);
	return error ? error : fd;
}

int kvmtsc_read(const char *root, pid_t pid, struct kvmtsc_map *ret_map, struct why *why)
{
	char name[256];
	int fd = open_vm(root, pid, name, sizeof(name), why);

	return fd < 0 ? fd : read_vm(fd, name, ret_map, why);
}

int kvmtsc_threads(const char *root, pid_t pid, pid_t *ret_tids, unsigned count, struct why *why)
{
	char name[256], vcpu[32];
	int error = 0, fd = open_vm(root, pid, name, sizeof(name), why);
	int64_t tid = 0;

	if (fd < 0)
		return fd;
	for (unsigned i = 0; i < count && !error; i++) {
		snprintf(vcpu, sizeof(vcpu), "vcpu%u", i);
		error = read_number(fd, vcpu, "pid", &tid);
		if (error == -ENOENT)
			why_set(why, error,
				"KVM does not show the thread of vCPU %u in debugfs (it does from "
				"Linux 5.18 on)",
				i);
		else if (error)
			why_set(why, error, "cannot read kvm/%s/%s/pid: %s", name, vcpu,
				strerror(-error));
		ret_tids[i] = (pid_t)tid;
	}
	close(fd);
	return error;
}

void kvmtsc_to_host(const struct kvmtsc_map *map, uint64_t lo, uint64_t hi, uint64_t *ret_lo,
		    uint64_t *ret_hi)
{
	uint64_t scaled_lo = lo - (uint64_t)map->offset, scaled_hi = hi - (uint64_t)map->offset;

	/* Every host count whose scaled value, rounded down, is one of [lo, hi]. */
	*ret_lo = (uint64_t)((((u128)scaled_lo << map->frac_bits) + map->ratio - 1) / map->ratio);
	*ret_hi = (uint64_t)(((((u128)scaled_hi + 1) << map->frac_bits) - 1) / map->ratio);
}
