/* SPDX-License-Identifier: Apache-2.0 */
/* listen.c - a UNIX socket to listen on, or for datagrams, for its owner alone (mode 0600). */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "host/listen.h"

/* 0 when the path is free now: nothing there, or a socket on which nobody listens any more. */
static int make_way(const struct sockaddr_un *address, int type, const char *what, struct why *why)
{
	const char *path = address->sun_path;
	struct stat s;
	int fd, result, error;

	if (lstat(path, &s) < 0)
		return 0; /* bind() says what else may be wrong */
	if (!S_ISSOCK(s.st_mode))
		return why_set(why, -EADDRINUSE,
			       "%s %s: something that is no socket is there (give another path)",
			       what, path);
	fd = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return why_set(why, -errno, "%s: %s", what, strerror(errno));
	result = connect(fd, (const struct sockaddr *)address, sizeof(*address));
	error = errno;
	close(fd);
	if (result < 0 && error == ECONNREFUSED) {
		unlink(path);
		return 0;
	}
	if (result < 0 && error == EACCES)
		return why_set(why, -EACCES, "%s %s: permission denied (give another path)", what,
			       path);
	return why_set(why, -EADDRINUSE,
		       "%s %s: in use by another process (end it or give another path)", what,
		       path);
}

static int bind_socket(struct listen_socket *s, const struct sockaddr_un *address, int type)
{
	struct stat file;

	s->fd = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	/* The mode that a socket's inode has before bind() is the file's: no moment in which others
	 * could connect. */
	if (s->fd < 0 || fchmod(s->fd, 0600) < 0 ||
	    bind(s->fd, (const struct sockaddr *)address, sizeof(*address)) < 0)
		return -errno;
	if (lstat(s->path, &file) < 0)
		return -errno;
	s->device = file.st_dev;
	s->inode = file.st_ino;
	return 0;
}

static int open_socket(const char *path, int type, const char *what, int backlog,
		       struct listen_socket *ret_socket, struct why *why)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	size_t length = strlen(path);
	int result;

	*ret_socket = (struct listen_socket){.fd = -1, .path = path};
	if (length == 0 || length >= sizeof(address.sun_path))
		return why_set(
			why, -ENAMETOOLONG,
			"%s %s: the path has %zu bytes, possible are 1 to %zu (give a shorter one)",
			what, path, length, sizeof(address.sun_path) - 1);
	memcpy(address.sun_path, path, length);
	result = make_way(&address, type, what, why);
	if (result < 0)
		return result;
	result = bind_socket(ret_socket, &address, type);
	if (result == 0 && type == SOCK_STREAM && listen(ret_socket->fd, backlog) < 0)
		result = -errno;
	if (result < 0) {
		listen_close(ret_socket);
		why_set(why, result, "%s %s: %s (give another path)", what, path,
			strerror(-result));
	}
	return result;
}

int listen_open(const char *path, const char *what, int backlog, struct listen_socket *ret_socket,
		struct why *why)
{
	return open_socket(path, SOCK_STREAM, what, backlog, ret_socket, why);
}

int listen_datagrams(const char *path, const char *what, struct listen_socket *ret_socket,
		     struct why *why)
{
	return open_socket(path, SOCK_DGRAM, what, 0, ret_socket, why);
}

void listen_remove(const struct listen_socket *s)
{
	struct stat file;

	if (s->inode && lstat(s->path, &file) == 0 && file.st_ino == s->inode &&
	    file.st_dev == s->device)
		unlink(s->path);
}

void listen_close(struct listen_socket *s)
{
	if (s->fd < 0)
		return;
	close(s->fd);
	s->fd = -1;
	listen_remove(s);
}
