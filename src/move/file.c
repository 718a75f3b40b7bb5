/* SPDX-License-Identifier: Apache-2.0 */
/* file.c - a file that is replaced whole or not at all. */
#include "move/file.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MODE = 0600, FLAGS = O_WRONLY | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY, TRIES = 10 };

static int failed(const char *path, const char *what, int error, struct why *why)
{
	const char *hint = error == ENOSPC || error == EDQUOT  ? " (make room on that disk)"
			   : error == EACCES || error == EROFS ? " (choose another folder)"
							       : "";

	return why_set(why, -error, "%s: cannot be %s: %s%s", path, what, strerror(error), hint);
}

/* The name behind symbolic links; of a file that is not there, the name as it is. */
static int resolve(const char *path, struct file_new *f, struct why *why)
{
	struct stat there;
	char *copy;

	f->path = realpath(path, NULL);
	if (f->path && stat(f->path, &there) == 0 && !S_ISREG(there.st_mode))
		return why_set(why, -EINVAL, "%s: is no regular file (give another name)", path);
	if (!f->path && errno != ENOENT)
		return failed(path, "written", errno, why);
	if (!f->path && lstat(path, &there) == 0)
		return why_set(why, -EINVAL,
			       "%s: is a symbolic link to nothing (give another name)", path);
	if (!f->path)
		f->path = strdup(path);
	copy = f->path ? strdup(f->path) : NULL;
	f->folder = copy ? strdup(dirname(copy)) : NULL;
	free(copy);
	if (!f->folder || asprintf(&f->partial, "%s.partial", f->path) < 0) {
		f->partial = NULL;
		return why_set(why, -ENOMEM, "%s: no memory to write it", path);
	}
	return 0;
}

/* A partial file that nobody writes any more was left by one who was killed.  0: try again. */
static int remove_stale(const struct file_new *f)
{
	int fd = open(f->partial, FLAGS | O_NONBLOCK);
	int result = 0;

	if (fd < 0)
		return errno == ENOENT ? 0 : -errno;
	if (flock(fd, LOCK_EX | LOCK_NB) < 0)
		result = errno == EWOULDBLOCK ? -EBUSY : -errno;
	else if (unlink(f->partial) < 0 && errno != ENOENT)
		result = -errno;
	close(fd);
	return result;
}

/* Between its creation and its lock somebody may have taken it for stale. */
static bool is_ours(const struct file_new *f)
{
	struct stat held, there;

	return fstat(f->fd, &held) == 0 && lstat(f->partial, &there) == 0 &&
	       held.st_ino == there.st_ino && held.st_dev == there.st_dev;
}

/* 0: it is ours; -EBUSY: somebody removes it; what else goes wrong leaves nothing. */
static int lock_new(struct file_new *f)
{
	int error = flock(f->fd, LOCK_EX | LOCK_NB) < 0 ? errno : 0;

	f->named = error == 0 && is_ours(f);
	if (f->named)
		return 0;
	if (error == 0 || error == EWOULDBLOCK)
		return -EBUSY;
	(void)unlink(f->partial);
	return -error;
}

static int create_named(struct file_new *f)
{
	int result = -EBUSY;

	for (int i = 0; i < TRIES; i++) {
		f->fd = open(f->partial, FLAGS | O_CREAT | O_EXCL, MODE);
		if (f->fd >= 0) {
			result = lock_new(f);
			if (result == 0)
				return 0;
			close(f->fd);
			f->fd = -1;
			if (result != -EBUSY)
				return result;
			continue;
		}
		if (errno != EEXIST)
			return -errno;
		result = remove_stale(f);
		if (result < 0)
			return result;
	}
	return result;
}

int file_create(const char *path, struct file_new *ret_file, struct why *why)
{
	struct file_new *f = ret_file;
	int result;

	*f = (struct file_new){.fd = -1};
	result = resolve(path, f, why);
	if (result == 0) {
		f->fd = open(f->folder, O_TMPFILE | O_WRONLY | O_CLOEXEC, MODE);
		if (f->fd < 0) {
			/* Where the folder is at fault this says so as well. */
			result = create_named(f);
			if (result == -EBUSY)
				why_set(why, result,
					"%s: somebody else is writing it (wait, or give another "
					"name)",
					path);
			else if (result < 0)
				failed(path, "written", -result, why);
		}
	}
	if (result < 0)
		file_discard(f);
	return result;
}

static int put(void *to, const void *bytes, size_t count)
{
	struct file_new *f = to;
	const char *at = bytes;

	while (count) {
		ssize_t done = write(f->fd, at, count);

		if (done < 0 && errno == EINTR)
			continue;
		if (done < 0)
			return -errno;
		if (done == 0)
			return -EIO;
		at += done;
		count -= (size_t)done;
	}
	return 0;
}

struct stream_sink file_sink(struct file_new *file)
{
	return (struct stream_sink){.put = put, .to = file};
}

/* Gives it a name beside the one that it will have. */
static int give_name(struct file_new *f)
{
	char self[32];
	int result = 0;

	snprintf(self, sizeof(self), "/proc/self/fd/%d", f->fd);
	(void)flock(f->fd, LOCK_EX | LOCK_NB);
	for (int i = 0; i < TRIES && !f->named && result == 0; i++) {
		f->named = linkat(AT_FDCWD, self, AT_FDCWD, f->partial, AT_SYMLINK_FOLLOW) == 0;
		if (!f->named)
			result = errno == EEXIST ? remove_stale(f) : -errno;
	}
	return f->named ? 0 : result ? result : -EBUSY;
}

/* The name is on the disk as well.  Some file systems cannot be asked. */
static int sync_folder(const struct file_new *f)
{
	int fd = open(f->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int result = 0;

	if (fd < 0)
		return -errno;
	if (fsync(fd) < 0 && errno != EINVAL)
		result = -errno;
	close(fd);
	return result;
}

int file_commit(struct file_new *f, struct why *why)
{
	int result = fsync(f->fd) < 0 && errno != EINVAL ? -errno : 0;

	if (result == 0 && !f->named)
		result = give_name(f);
	if (result == 0 && rename(f->partial, f->path) < 0)
		result = -errno;
	if (result == 0) {
		f->named = false;
		result = sync_folder(f);
	}
	if (result < 0)
		failed(f->path, "written", -result, why);
	file_discard(f);
	return result;
}

void file_discard(struct file_new *f)
{
	/* The name first: nobody may take it for stale, and put another there, in between. */
	if (f->named)
		(void)unlink(f->partial);
	if (f->fd >= 0)
		close(f->fd);
	free(f->path);
	free(f->partial);
	free(f->folder);
	*f = (struct file_new){.fd = -1};
}

static ssize_t get(void *from, void *bytes, size_t most)
{
	const int *fd = from;
	ssize_t got;

	do
		got = read(*fd, bytes, most);
	while (got < 0 && errno == EINTR);
	return got < 0 ? -errno : got;
}

struct stream_source file_source(int *fd)
{
	return (struct stream_source){.get = get, .from = fd};
}

int file_open(const char *path, struct why *why)
{
	/* A FIFO must not hang. */
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	struct stat there;

	if (fd < 0)
		return why_set(why, -errno, "%s: cannot be read: %s", path, strerror(errno));
	if (fstat(fd, &there) == 0 && S_ISREG(there.st_mode))
		return fd;
	close(fd);
	return why_set(why, -EINVAL, "%s: is no regular file", path);
}
