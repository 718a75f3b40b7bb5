/* SPDX-License-Identifier: Apache-2.0 */
/* lab_initrd.c - the lab's initial file system, made in memory for each run.
 *
 * Five megabytes are copied in a few milliseconds: a cache would only be one more thing that can be
 * stale. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cmd/files.h"
#include "cmd/lab.h"

static const char *const no_lab_parts = "no lab/vmtime-lab-init beside this command or in "
					"../lib/vmtime (build or install it whole)";

static int put(int fd, const void *data, size_t size)
{
	ssize_t n = write(fd, data, size);

	if (n < 0)
		return -errno;
	return (size_t)n == size ? 0 : -EIO;
}

/* The header and name of one file; "newc" of cpio(5): all fields eight hexadecimal digits. */
static int put_header(int fd, unsigned number, unsigned mode, size_t size, const char *name)
{
	static const char zeros[4];
	char text[PATH_MAX];
	size_t length = strlen(name) + 1;
	int used = snprintf(text, sizeof(text),
			    "070701%08x%08x%08x%08x%08x%08x%08zx%08x%08x%08x%08x%08zx%08x%s",
			    number, mode, 0U, 0U, 1U, 0U, size, 0U, 0U, 0U, 0U, length, 0U, name);
	int error = put(fd, text, (size_t)used + 1);

	return error ? error : put(fd, zeros, -(size_t)(used + 1) % 4);
}

static int put_file(int fd, unsigned number, unsigned mode, const char *path, const char *name)
{
	static const char zeros[4];
	struct stat status;
	size_t left;
	int from = open(path, O_RDONLY | O_CLOEXEC), error = 0;

	if (from < 0)
		return -errno;
	if (fstat(from, &status) < 0)
		error = -errno;
	left = error ? 0 : (size_t)status.st_size;
	if (!error)
		error = put_header(fd, number, S_IFREG | mode, left, name);
	while (!error && left > 0) {
		ssize_t n = sendfile(fd, from, NULL, left);

		if (n <= 0)
			error = n < 0 ? -errno : -EIO;
		else
			left -= (size_t)n;
	}
	close(from);
	return error ? error : put(fd, zeros, -(size_t)status.st_size % 4);
}

/* Each line of lab/modules names a file below lib/modules/VERSION/kernel, or begins the next list:
 * /modules/0.00, 0.01, ..., then /modules/1.00, ... of what is loaded beside those, then 2.00, ...
 * of the link. */
static int put_modules(int fd, const char *folder, struct why *why)
{
	const char *version = strrchr(folder, '/') + 1;
	char lists[PATH_MAX], line[256], path[PATH_MAX + 512], name[32];
	unsigned list = 0, count = 0;
	FILE *file;
	int error = files_data("lab/modules", lists, sizeof(lists));

	if (error)
		return why_set(why, error, "%s", no_lab_parts);
	file = fopen(lists, "re");
	if (!file)
		return why_set(why, -errno, "cannot read %s: %s", lists, strerror(errno));
	while (!error && fgets(line, sizeof(line), file)) {
		line[strcspn(line, "\n")] = '\0';
		if (line[0] == '#' || line[0] == '\0')
			continue;
		if (strcmp(line, "beside") == 0 || strcmp(line, "link") == 0) {
			list++;
			count = 0;
			continue;
		}
		snprintf(path, sizeof(path), "%s/lib/modules/%s/kernel/%s", folder, version, line);
		snprintf(name, sizeof(name), "modules/%u.%02u", list, count);
		error = put_file(fd, 100 * (list + 1) + count++, 0644, path, name);
		if (error)
			why_set(why, error,
				"cannot read %s: %s (make setup fetches it anew after "
				"rm -r of its version's folder)",
				path, strerror(-error));
	}
	fclose(file);
	return error;
}

int lab_initrd_create(const char *folder, struct why *why)
{
	char init[PATH_MAX];
	int fd, error;

	if (files_data("lab/vmtime-lab-init", init, sizeof(init)) < 0)
		return why_set(why, -ENOENT, "%s", no_lab_parts);
	fd = memfd_create("vmtime-lab-initrd", MFD_CLOEXEC);
	if (fd < 0)
		return why_set(why, -errno, "cannot make a memory file: %s", strerror(errno));
	error = put_file(fd, 1, 0755, init, "init");
	if (!error)
		error = put_header(fd, 2, S_IFDIR | 0755, 0, "modules");
	if (error)
		why_set(why, error, "cannot copy %s: %s", init, strerror(-error));
	else
		error = put_modules(fd, folder, why);
	if (!error) {
		error = put_header(fd, 0, 0, 0, "TRAILER!!!");
		if (error)
			why_set(why, error, "cannot write a memory file: %s", strerror(-error));
	}
	if (error) {
		close(fd);
		return error;
	}
	return fd;
}
