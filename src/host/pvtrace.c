/* SPDX-License-Identifier: Apache-2.0 */
/* pvtrace.c - what KVM itself wrote into a guest's kvm-clock pages, of any VMM. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "host/pvtrace.h"

__extension__ typedef __int128 i128;

static const char event[] = "kvm_pvclock_update";

/* Traces of a page are few; a small buffer costs no memory on a machine of many CPUs. */
static const char buffer_kb[] = "64";

static int write_text(const char *folder, const char *name, const char *text)
{
	char path[256];
	int fd, error = 0;

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (write(fd, text, strlen(text)) < 0)
		error = -errno;
	close(fd);
	return error;
}

static const char *find_root(void)
{
	static const char *const roots[] = {"/sys/kernel/tracing", "/sys/kernel/debug/tracing"};

	for (size_t i = 0; i < sizeof(roots) / sizeof(roots[0]); i++) {
		char path[64];

		snprintf(path, sizeof(path), "%s/instances", roots[i]);
		if (access(path, F_OK) == 0)
			return roots[i];
	}
	return roots[0];
}

int pvtrace_open(const char *root, struct pvtrace *ret_trace, struct why *why)
{
	struct pvtrace *t = ret_trace;
	int error;

	root = root ? root : find_root();
	snprintf(t->folder, sizeof(t->folder), "%s/instances/vmtime-%d", root, (int)getpid());
	if (mkdir(t->folder, 0700) < 0 && errno != EEXIST) {
		error = -errno;
		t->folder[0] = '\0';
		return why_set(why, error, "cannot trace KVM in %s: %s (%s)", root,
			       strerror(-error),
			       error == -EACCES || error == -EPERM
				       ? "be root"
				       : "mount -t tracefs none /sys/kernel/tracing");
	}
	(void)write_text(t->folder, "buffer_size_kb", buffer_kb);
	(void)write_text(t->folder, "trace", ""); /* of one that could not close it */
	error = write_text(t->folder, "events/kvm/kvm_pvclock_update/enable", "1");
	if (error) {
		why_set(why, error, "cannot trace KVM's %s in %s: %s", event, root,
			strerror(-error));
		pvtrace_close(t);
	}
	return error;
}

void pvtrace_close(struct pvtrace *t)
{
	if (t->folder[0])
		rmdir(t->folder);
	t->folder[0] = '\0';
}

/* The number behind `name` and a blank. */
static bool number(const char *text, const char *name, int64_t *ret_value)
{
	const char *at = strstr(text, name);
	char *end;

	if (!at)
		return false;
	at += strlen(name);
	errno = 0;
	*ret_value = *at == '-' ? strtoll(at, &end, 0) : (int64_t)strtoull(at, &end, 0);
	return errno == 0 && end != at;
}

/* "COMM-TID [CPU] ...", where COMM may hold anything. */
static bool thread_of(const char *line, const char *end, pid_t *ret_tid)
{
	const char *at = end;
	char *rest;
	long tid;

	while (at > line && *at != '[')
		at--;
	while (at > line && *at != '-')
		at--;
	if (*at != '-')
		return false;
	tid = strtol(at + 1, &rest, 10);
	*ret_tid = (pid_t)tid;
	return rest != at + 1 && tid > 0;
}

int pvtrace_parse(const char *line, pid_t *ret_tid, unsigned *ret_vcpu,
		  struct pvtrace_page *ret_page)
{
	const char *at = strstr(line, event);
	int64_t vcpu, timestamp, system, mul, shift;

	if (!at || !thread_of(line, at, ret_tid) || !number(at, "vcpu_id ", &vcpu) ||
	    !number(at, "tsc_timestamp ", &timestamp) || !number(at, "system_time ", &system) ||
	    !number(at, "tsc_to_system_mul ", &mul) || !number(at, "tsc_shift ", &shift) ||
	    mul <= 0 || mul > UINT32_MAX || shift < -32 || shift > 31)
		return 0;
	*ret_vcpu = (unsigned)vcpu;
	*ret_page = (struct pvtrace_page){.tsc_timestamp = (uint64_t)timestamp,
					  .system_time = (uint64_t)system,
					  .mul = (uint32_t)mul,
					  .shift = (int)shift};
	return 1;
}

static bool is_thread_of(pid_t pid, pid_t tid)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/task/%d", (int)pid, (int)tid);
	return access(path, F_OK) == 0;
}

int pvtrace_last(const struct pvtrace *t, pid_t pid, struct pvtrace_page *ret_page, struct why *why)
{
	struct pvtrace_page page;
	char path[256], *line = NULL;
	size_t room = 0;
	unsigned vcpu;
	bool found = false;
	pid_t tid;
	FILE *file;

	snprintf(path, sizeof(path), "%s/trace", t->folder);
	file = fopen(path, "re");
	if (!file)
		return why_set(why, -errno, "cannot read %s: %m", path);
	while (getline(&line, &room, file) > 0)
		if (pvtrace_parse(line, &tid, &vcpu, &page) && vcpu == 0 &&
		    is_thread_of(pid, tid)) {
			*ret_page = page;
			found = true;
		}
	free(line);
	fclose(file);
	return found ? 0
		     : why_set(why, -ENOENT, "KVM wrote no page of kvm-clock for process %d",
			       (int)pid);
}

int64_t pvtrace_ns(const struct pvtrace_page *p, uint64_t tsc)
{
	const i128 counts = (int64_t)(tsc - p->tsc_timestamp);
	const i128 scaled = p->shift < 0 ? counts >> -p->shift : counts * ((i128)1 << p->shift);

	return (int64_t)(p->system_time + (uint64_t)(int64_t)((scaled * p->mul) >> 32));
}

int64_t pvtrace_counts(const struct pvtrace_page *p, int64_t ns)
{
	const i128 one = (i128)1 << (32 - p->shift); /* ns of a count, in 2^-(32 - shift) */
	const i128 halves = 2 * (ns * one) / p->mul;

	return (int64_t)((halves + (ns < 0 ? -1 : 1)) / 2);
}
