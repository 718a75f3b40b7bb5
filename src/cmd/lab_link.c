/* SPDX-License-Identifier: Apache-2.0 */
/* lab_link.c - a cable between two labs: each has a UNIX socket that takes its frames.
 *
 * Both QEMUs only send and receive on a descriptor that they are given.  It is connected from here,
 * also later, when the other end is there: a descriptor is one for all processes that have it.  A
 * socket that is connected takes nothing from anybody else, and QEMU, which would otherwise look
 * for room at the other end again and again, is told when there is some. */
#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "cmd/lab.h"

static_assert(LAB_LINK_PATH == sizeof(((struct sockaddr_un *)0)->sun_path),
	      "what fits into the one fits into the other");

/* Absolute, so that both labs compare the same two; the folder must be there, the socket need not.
 * The text ends after `length` bytes. */
static int resolve(const char *text, size_t length, char (*ret_path)[LAB_LINK_PATH],
		   struct why *why)
{
	char path[PATH_MAX] = "", folder[PATH_MAX];
	const char *name, *under;

	if (length == 0 || length >= sizeof(path) || text[length - 1] == '/')
		return why_set(why, -EINVAL,
			       "not two names of sockets (such as /run/left,/run/right)");
	memcpy(path, text, length);
	name = strrchr(path, '/') ? strrchr(path, '/') + 1 : path;
	memcpy(folder, path, (size_t)(name - path));
	folder[name - path] = '\0';
	if (!realpath(*folder ? folder : ".", path))
		return why_set(why, -errno, "the folder of %.*s: %s", (int)length, text,
			       strerror(errno));
	name = text + (name - path);
	length -= (size_t)(name - text);
	under = strcmp(path, "/") == 0 ? "" : path;
	if (snprintf(*ret_path, sizeof(*ret_path), "%s/%.*s", under, (int)length, name) >=
	    (int)sizeof(*ret_path))
		return why_set(why, -ENAMETOOLONG,
			       "%s/%.*s is longer than a socket's path may be, %zu bytes (give "
			       "a shorter one)",
			       under, (int)length, name, sizeof(*ret_path) - 1);
	return 0;
}

int lab_link_parse(const char *text, struct lab_link *ret_link, struct why *why)
{
	size_t here = strcspn(text, ",");
	const char *there = text + here + (text[here] == ',');
	int error;

	*ret_link = (struct lab_link){.socket.fd = -1};
	if (strchr(there, ','))
		return why_set(why, -EINVAL, "more than two names of sockets");
	error = resolve(text, here, &ret_link->here, why);
	if (!error)
		error = resolve(there, strlen(there), &ret_link->there, why);
	if (error)
		return error;
	if (strcmp(ret_link->here, ret_link->there) == 0)
		return why_set(why, -EINVAL, "both ends are the same socket (give two names)");
	ret_link->end = strcmp(ret_link->here, ret_link->there) < 0 ? 1 : 2;
	return 0;
}

int lab_link_open(struct lab_link *link, struct why *why)
{
	return listen_datagrams(link->here, "link", &link->socket, why);
}

bool lab_link_reach(const struct lab_link *link)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	memcpy(address.sun_path, link->there, sizeof(address.sun_path));
	return connect(link->socket.fd, (const struct sockaddr *)&address, sizeof(address)) == 0;
}

void lab_link_close(struct lab_link *link)
{
	listen_close(&link->socket);
}
