/* SPDX-License-Identifier: Apache-2.0 */
/* file.h - a file that is replaced whole or not at all, and one that is read from front to back.
 *
 * The new file has no name while it is written (O_TMPFILE): whatever ends the writer, nothing is
 * left of it.  When it is on the disk it is given the name PATH.partial and renamed to PATH; only
 * who is killed between these two calls leaves that name, and the next writer of PATH removes it.
 * A file system without unnamed files (NFS, 9p, FAT) has PATH.partial from the beginning, which a
 * killed writer leaves until then.  Who writes holds a lock on it, so that two do not meet. */
#ifndef MOVE_FILE_H
#define MOVE_FILE_H

#include <stdbool.h>
#include <stddef.h>

#include "host/why.h"
#include "move/stream.h"

struct file_new {
	char *path, *partial, *folder; /* its own */
	int fd;
	bool named; /* `partial` is its name */
};

/* `path` is a regular file, or there is nothing yet; of a symbolic link, what it points to.  The
 * new one will be readable for its owner alone: a guest's memory is in it.  0, or negative errno
 * and nothing left: -EBUSY somebody is writing it, -EINVAL it is something else. */
int file_create(const char *path, struct file_new *ret_file, struct why *why);

/* Where its bytes go; the struct stays where it is meanwhile. */
struct stream_sink file_sink(struct file_new *file);

/* All of it is on the disk and has its name; or negative errno, and PATH is what it was before (or
 * the new file, whole, when all that failed was to bring its name to the disk).  The struct is done
 * with in both cases. */
int file_commit(struct file_new *file, struct why *why);

/* It is not wanted.  May be called of one that is done with. */
void file_discard(struct file_new *file);

/* Reads from a descriptor, which stays open: a file, a pipe, a socket. */
struct stream_source file_source(int *fd);

/* A regular file; descriptor or negative errno. */
int file_open(const char *path, struct why *why);

#endif
