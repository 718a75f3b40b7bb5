/* SPDX-License-Identifier: Apache-2.0 */
/* listen.h - a UNIX socket to listen on, or for datagrams, for its owner alone (mode 0600). */
#ifndef HOST_LISTEN_H
#define HOST_LISTEN_H

#include <sys/types.h>

#include "host/why.h"

struct listen_socket {
	int fd; /* non-blocking; -1: none */
	const char *path;
	dev_t device; /* what was bound, to remove nothing else */
	ino_t inode;
};

/* Listens at `path`, which is kept by reference.  A socket there on which nobody listens any more
 * is replaced; anything else there is an error.  `what` begins the sentences of `why`, such as
 * "serial socket".  0, or negative errno, nothing left behind and fd -1: -EADDRINUSE, -EACCES,
 * -ENAMETOOLONG, ... */
int listen_open(const char *path, const char *what, int backlog, struct listen_socket *ret_socket,
		struct why *why);

/* The same for datagrams: nobody is waited for, whoever may write to the path may send. */
int listen_datagrams(const char *path, const char *what, struct listen_socket *ret_socket,
		     struct why *why);

/* Closes it and removes the path, unless that has become somebody else's.  Nothing when fd is
 * -1. */
void listen_close(struct listen_socket *s);

/* The second half of that: the path alone, of one whose descriptor is somebody else's. */
void listen_remove(const struct listen_socket *s);

#endif
