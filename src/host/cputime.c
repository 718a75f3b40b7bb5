/* SPDX-License-Identifier: Apache-2.0 */
/* cputime.c - how much of this machine's CPUs a VM takes. */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "host/cputime.h"

/* The start of a file, as a string.  0 or negative errno. */
static int read_text(const char *path, char *text, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC), error = 0;
	ssize_t length;

	if (fd < 0)
		return -errno;
	length = read(fd, text, size - 1);
	if (length < 0)
		error = -errno;
	close(fd);
	text[length > 0 ? length : 0] = '\0';
	return error;
}

/* kthread_create()'s name of it (arch/x86/kvm/i8254.c), of which 15 characters are kept. */
pid_t cputime_kvm_pit(pid_t pid)
{
	char path[300], text[32], wanted[32];
	struct dirent *entry;
	DIR *dir = opendir("/proc");
	pid_t found = 0;

	snprintf(wanted, sizeof(wanted), "kvm-pit/%d", (int)pid);
	wanted[15] = '\0';
	while (dir && !found && (entry = readdir(dir))) {
		snprintf(path, sizeof(path), "/proc/%s/comm", entry->d_name);
		if (!isdigit((unsigned char)entry->d_name[0]) ||
		    read_text(path, text, sizeof(text)) < 0)
			continue;
		text[strcspn(text, "\n")] = '\0';
		if (strcmp(text, wanted) == 0)
			found = (pid_t)strtol(entry->d_name, NULL, 10);
	}
	if (dir)
		closedir(dir);
	return found;
}

static int add_threads(pid_t pid, uint64_t *sum_ns)
{
	char path[300], text[96], *end;
	struct dirent *entry;
	int error = 0;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
	dir = opendir(path);
	if (!dir)
		return -errno;
	while (!error && (entry = readdir(dir))) {
		if (!isdigit((unsigned char)entry->d_name[0]))
			continue;
		snprintf(path, sizeof(path), "/proc/%d/task/%s/schedstat", (int)pid, entry->d_name);
		error = read_text(path, text, sizeof(text));
		if (error == -ENOENT || error == -ESRCH) { /* it has just ended */
			error = 0;
			continue;
		}
		*sum_ns += error ? 0 : strtoull(text, &end, 10);
		if (!error && (end == text || *end != ' '))
			error = -EIO;
	}
	closedir(dir);
	return error;
}

int cputime_read(pid_t pid, pid_t helper, uint64_t *ret_ns)
{
	uint64_t sum_ns = 0;
	int error = add_threads(pid, &sum_ns);

	if (!error && helper)
		error = add_threads(helper, &sum_ns);
	if (!error)
		*ret_ns = sum_ns;
	return error;
}
