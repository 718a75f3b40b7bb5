/* SPDX-License-Identifier: Apache-2.0 */
/* rundelay.c - how long a thread wanted to run and another ran in its place. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "host/rundelay.h"

/* "RAN_NS WAITED_NS TIMES"; a thread that runs has done so once at least. */
static int read_counts(int fd, uint64_t *ret_waited_ns, uint64_t *ret_times)
{
	char text[96];
	ssize_t length = fd < 0 ? -1 : pread(fd, text, sizeof(text) - 1, 0);

	if (length < 0)
		return fd < 0 ? -EBADF : -errno;
	text[length] = '\0';
	return sscanf(text, "%*u %" SCNu64 " %" SCNu64, ret_waited_ns, ret_times) == 2 ? 0 : -EIO;
}

int rundelay_open(pid_t pid, pid_t tid, struct rundelay *ret_delay)
{
	uint64_t times;
	char path[64];
	int error;

	*ret_delay = (struct rundelay){.fd = -1};
	snprintf(path, sizeof(path), "/proc/%d/task/%d/schedstat", (int)pid, (int)tid);
	ret_delay->fd = open(path, O_RDONLY | O_CLOEXEC);
	if (ret_delay->fd < 0)
		return errno == ENOENT && access("/proc/self/schedstat", F_OK) < 0 ? -EOPNOTSUPP
										   : -errno;
	error = read_counts(ret_delay->fd, &ret_delay->seen_ns, &times);
	if (!error && times == 0)
		error = -EOPNOTSUPP;
	if (error)
		rundelay_close(ret_delay);
	return error;
}

void rundelay_close(struct rundelay *d)
{
	if (d->fd >= 0)
		close(d->fd);
	d->fd = -1;
}

int rundelay_read(const struct rundelay *d, uint64_t *ret_ns)
{
	uint64_t times;

	return read_counts(d->fd, ret_ns, &times);
}

uint64_t rundelay_take(struct rundelay *d)
{
	uint64_t before_ns = d->seen_ns, ns;

	if (rundelay_read(d, &ns) < 0)
		return 0;
	d->seen_ns = ns;
	return ns > before_ns ? ns - before_ns : 0;
}

void rundelay_forget(struct rundelay *d)
{
	(void)rundelay_take(d);
}
