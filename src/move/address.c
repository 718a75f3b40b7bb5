/* SPDX-License-Identifier: Apache-2.0 */
/* address.c - where a machine comes from or goes to. */
#include "move/address.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "host/hostclock.h"
#include "host/listen.h"
#include "kvm/thread.h"

#define FORMS "tcp:HOST:PORT or unix:PATH"

enum { SLICE_MS = 50, BACKLOG = 4 };

/* A name of this host's is known at once, or nobody answers who could know it. */
#define OWN_NAME_NS UINT64_C(5000000000)

/* As it was given, or so that it means the same. */
struct name {
	char text[sizeof("tcp:[]:") + sizeof(((struct address *)0)->host) +
		  sizeof(((struct address *)0)->port)];
};

static struct name name_of(const struct address *a)
{
	struct name n;

	if (!a->tcp)
		snprintf(n.text, sizeof(n.text), "unix:%s", a->path);
	else if (strchr(a->host, ':'))
		snprintf(n.text, sizeof(n.text), "tcp:[%s]:%s", a->host, a->port);
	else
		snprintf(n.text, sizeof(n.text), "tcp:%s:%s", a->host, a->port);
	return n;
}

static int parse_unix(const char *path, struct address *a, struct why *why)
{
	const size_t length = strlen(path);

	if (length == 0)
		return why_set(why, -EINVAL, "unix: has no path (give unix:PATH)");
	if (length >= sizeof(a->path))
		return why_set(why, -EINVAL,
			       "unix:%s: the path has %zu bytes, possible are %zu (give a shorter "
			       "one)",
			       path, length, sizeof(a->path) - 1);
	memcpy(a->path, path, length + 1);
	return 0;
}

static int parse_port(const char *all, const char *text, struct address *a, struct why *why)
{
	const size_t digits = strspn(text, "0123456789");

	if (digits == 0 || digits > 5 || text[digits] || strtoul(text, NULL, 10) > 65535)
		return why_set(why, -EINVAL,
			       "tcp:%s: \"%s\" is no port (give a number up to 65535)", all, text);
	memcpy(a->port, text, digits + 1);
	return 0;
}

static int parse_tcp(const char *text, struct address *a, struct why *why)
{
	const char *host = text, *end = strrchr(text, ':'), *port = end + 1;

	if (!end)
		return why_set(why, -EINVAL, "tcp:%s: has no port (give tcp:HOST:PORT)", text);
	if (*host == '[') {
		host++;
		if (end == host || *--end != ']')
			return why_set(
				why, -EINVAL,
				"tcp:%s: the bracket is not closed (give tcp:[ADDRESS]:PORT)",
				text);
	} else if (memchr(host, ':', (size_t)(end - host))) {
		return why_set(
			why, -EINVAL,
			"tcp:%s: an IPv6 address goes into brackets (give tcp:[ADDRESS]:PORT)",
			text);
	}
	if ((size_t)(end - host) >= sizeof(a->host))
		return why_set(why, -EINVAL, "tcp:%s: the name has more than %zu bytes", text,
			       sizeof(a->host) - 1);
	memcpy(a->host, host, (size_t)(end - host));
	return parse_port(text, port, a, why);
}

int address_parse(const char *text, struct address *ret_address, struct why *why)
{
	struct address a = {.tcp = strncmp(text, "tcp:", 4) == 0};
	int result;

	if (a.tcp)
		result = parse_tcp(text + 4, &a, why);
	else if (strncmp(text, "unix:", 5) == 0)
		result = parse_unix(text + 5, &a, why);
	else
		result = why_set(why, -EINVAL, "\"%s\" is no address (give " FORMS ")", text);
	if (result == 0)
		*ret_address = a;
	return result;
}

static int new_socket(int family)
{
	int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	return fd < 0 ? -errno : fd;
}

/* All addresses of this host are one socket of IPv6 that takes IPv4 as well, where there is IPv6.
 */
static int listen_at(const struct addrinfo *at)
{
	const int yes = 1, no = 0;
	int fd = new_socket(at->ai_family), result;

	if (fd < 0)
		return fd;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
	if (at->ai_family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &no, sizeof(no));
	if (bind(fd, at->ai_addr, at->ai_addrlen) == 0 && listen(fd, BACKLOG) == 0)
		return fd;
	result = -errno;
	close(fd);
	return result;
}

static const char *remedy(int error)
{
	switch (error) {
	case -EADDRINUSE:
		return "end who listens there or give another port";
	case -EADDRNOTAVAIL:
		return "give an address that this host has, or none for all of them";
	case -EACCES:
		return "give a port from 1024 on";
	default:
		return "give another address";
	}
}

/* A name that is looked up.  getaddrinfo() cannot be given up and may take half a minute, so it has
 * a thread of its own that nobody has to wait for: who comes last, it or the one who asked, frees
 * all. */
struct lookup {
	char host[sizeof(((struct address *)0)->host)], port[sizeof(((struct address *)0)->port)];
	int flags; /* for getaddrinfo() */
	int fd;    /* eventfd, readable when it is done */
	struct addrinfo *found;
	int error;
	unsigned owners; /* atomic */
};

static void lookup_leave(struct lookup *l)
{
	if (__atomic_sub_fetch(&l->owners, 1, __ATOMIC_ACQ_REL))
		return;
	if (l->found)
		freeaddrinfo(l->found);
	close(l->fd);
	free(l);
}

static int ask(struct lookup *l, int flags)
{
	const struct addrinfo hint = {.ai_socktype = SOCK_STREAM,
				      .ai_flags = l->flags | AI_NUMERICSERV | flags};

	return getaddrinfo(*l->host ? l->host : NULL, l->port, &hint, &l->found);
}

static void *look_up(void *arg)
{
	struct lookup *l = arg;
	const uint64_t one = 1;

	l->error = ask(l, 0);
	(void)!write(l->fd, &one, sizeof(one));
	lookup_leave(l);
	return NULL;
}

static int lookup_new(const struct address *a, int flags, struct lookup **ret_lookup)
{
	struct lookup *l = calloc(1, sizeof(*l));

	if (!l)
		return -ENOMEM;
	l->owners = 1;
	l->flags = flags;
	l->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (l->fd < 0) {
		const int error = errno;

		free(l);
		return -error;
	}
	strcpy(l->host, *a->host || flags & AI_PASSIVE ? a->host : "localhost");
	strcpy(l->port, a->port);
	*ret_lookup = l;
	return 0;
}

/* 0 when `fd` is ready; -ECANCELED; -ETIMEDOUT when it is `until_ns`. */
static int wait_for(int fd, short events, uint64_t until_ns, const bool *give_up)
{
	struct pollfd p = {.fd = fd, .events = events};

	for (;;) {
		if (__atomic_load_n(give_up, __ATOMIC_RELAXED))
			return -ECANCELED;
		if (poll(&p, 1, SLICE_MS) > 0)
			return 0;
		if (hostclock_monotonic_ns() >= until_ns)
			return -ETIMEDOUT;
	}
}

/* Numbers need nobody to be asked. */
static int resolve(struct lookup *l, uint64_t until_ns, const bool *give_up)
{
	pthread_t thread;
	int result;

	l->error = ask(l, AI_NUMERICHOST);
	if (l->error != EAI_NONAME)
		return 0;
	l->owners = 2;
	result = thread_start(&thread, "lookup", look_up, l);
	if (result < 0) {
		l->owners = 1;
		return result;
	}
	pthread_detach(thread);
	result = wait_for(l->fd, POLLIN, until_ns, give_up);
	if (result == 0) {
		uint64_t count;

		/* What the thread wrote before is there once this is read. */
		(void)!read(l->fd, &count, sizeof(count));
	}
	return result;
}

static int listen_any(const struct addrinfo *found)
{
	int result = -EADDRNOTAVAIL;

	for (int family = AF_INET6;; family = AF_INET) {
		for (const struct addrinfo *at = found; at && result < 0; at = at->ai_next)
			if (at->ai_family == family)
				result = listen_at(at);
		if (result >= 0 || result == -EADDRINUSE || family == AF_INET)
			return result;
	}
}

static int listen_tcp(const struct address *a, struct why *why)
{
	static const bool never;
	const struct name name = name_of(a);
	struct lookup *l = NULL;
	int result = lookup_new(a, AI_PASSIVE, &l), error;

	if (result < 0)
		return why_set(why, result, "%s: %s", name.text, strerror(-result));
	result = resolve(l, hostclock_monotonic_ns() + OWN_NAME_NS, &never);
	error = result == -ETIMEDOUT ? EAI_AGAIN : result == 0 ? l->error : 0;
	if (result == 0 && error == 0)
		result = listen_any(l->found);
	lookup_leave(l);
	if (error)
		return why_set(why, -EADDRNOTAVAIL, "%s: %s (give a name that this host knows)",
			       name.text, gai_strerror(error));
	return result >= 0 ? result
			   : why_set(why, result, "%s: %s (%s)", name.text, strerror(-result),
				     remedy(result));
}

int address_listen(struct address *address, struct why *why)
{
	struct listen_socket s;
	int result;

	if (address->tcp)
		return listen_tcp(address, why);
	result = listen_open(address->path, "socket", BACKLOG, &s, why);
	if (result < 0)
		return result;
	address->device = s.device;
	address->inode = s.inode;
	return s.fd;
}

void address_forget(const struct address *address)
{
	const struct listen_socket s = {
		.path = address->path, .device = address->device, .inode = address->inode};

	if (!address->tcp)
		listen_remove(&s);
}

static int connect_to(int family, const struct sockaddr *to, socklen_t length, uint64_t until_ns,
		      const bool *give_up)
{
	int fd = new_socket(family), result = 0;
	socklen_t size = sizeof(result);

	if (fd < 0)
		return fd;
	if (connect(fd, to, length) < 0)
		result = -errno;
	if (result == -EINPROGRESS) {
		result = wait_for(fd, POLLOUT, until_ns, give_up);
		if (result == 0 && getsockopt(fd, SOL_SOCKET, SO_ERROR, &result, &size) < 0)
			result = errno;
		result = result > 0 ? -result : result;
	}
	if (result == 0)
		return fd;
	close(fd);
	return result;
}

/* Each gets its share of the time, so that one that never answers does not take it all. */
static int connect_any(const struct addrinfo *found, uint64_t until_ns, const bool *give_up)
{
	int result = -EADDRNOTAVAIL, left = 0;

	for (const struct addrinfo *at = found; at; at = at->ai_next)
		left++;
	for (const struct addrinfo *at = found; at; at = at->ai_next, left--) {
		const uint64_t now = hostclock_monotonic_ns();
		const uint64_t share = now < until_ns ? (until_ns - now) / (unsigned)left : 0;

		result = connect_to(at->ai_family, at->ai_addr, at->ai_addrlen, now + share,
				    give_up);
		if (result >= 0 || result == -ECANCELED)
			break;
	}
	return result;
}

static int connect_tcp(const struct address *a, uint64_t until_ns, const bool *give_up,
		       int *ret_lookup_error)
{
	struct lookup *l = NULL;
	int result = lookup_new(a, AI_ADDRCONFIG, &l);

	*ret_lookup_error = 0;
	if (result < 0)
		return result;
	result = resolve(l, until_ns, give_up);
	if (result == 0 && l->error) {
		*ret_lookup_error = l->error;
		result = -EHOSTUNREACH;
	}
	if (result == 0)
		result = connect_any(l->found, until_ns, give_up);
	lookup_leave(l);
	return result;
}

static int connect_unix(const struct address *a, uint64_t until_ns, const bool *give_up)
{
	struct sockaddr_un to = {.sun_family = AF_UNIX};
	int result;

	strcpy(to.sun_path, a->path);
	/* -EAGAIN: its queue is full, and nobody tells when it no longer is. */
	for (;;) {
		result = connect_to(AF_UNIX, (const struct sockaddr *)&to, sizeof(to), until_ns,
				    give_up);
		if (result != -EAGAIN)
			return result;
		result = wait_for(-1, 0, 0, give_up);
		if (result == -ECANCELED || hostclock_monotonic_ns() >= until_ns)
			return result;
	}
}

/* The kernel says of both that the connection is refused. */
static bool is_no_socket(const struct address *a)
{
	struct stat s;

	return !a->tcp && stat(a->path, &s) == 0 && !S_ISSOCK(s.st_mode);
}

static int not_connected(const struct address *a, int result, int lookup_error, struct why *why)
{
	const struct name name = name_of(a);

	if (lookup_error)
		return why_set(why, result, "%s: %s (give a name that this host knows)", name.text,
			       gai_strerror(lookup_error));
	if (is_no_socket(a))
		return why_set(why, result, "%s: is no socket (give the path of the other side's)",
			       name.text);
	switch (result) {
	case -ECANCELED:
		return why_set(why, result, "%s: was given up", name.text);
	case -ECONNREFUSED:
	case -ENOENT:
		return why_set(why, result, "%s: nobody listens there (begin the other side first)",
			       name.text);
	case -ETIMEDOUT:
		return why_set(why, result, "%s: no answer (see whether a firewall is in between)",
			       name.text);
	default:
		return why_set(why, result, "%s: %s (see whether the address is right)", name.text,
			       strerror(-result));
	}
}

int address_connect(const struct address *address, uint64_t patience_ns, const bool *give_up,
		    struct why *why)
{
	const uint64_t now = hostclock_monotonic_ns();
	const uint64_t until = patience_ns < UINT64_MAX - now ? now + patience_ns : UINT64_MAX;
	int lookup_error = 0, result;

	result = address->tcp ? connect_tcp(address, until, give_up, &lookup_error)
			      : connect_unix(address, until, give_up);
	return result < 0 ? not_connected(address, result, lookup_error, why) : result;
}
