/* SPDX-License-Identifier: Apache-2.0 */
/* migrate_proxy.h - between the two sides of a live migration: passes on section by section, and
 * does to one of them what a network or a death may do. */
#ifndef TESTS_MIGRATE_PROXY_H
#define TESTS_MIGRATE_PROXY_H

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "kvm/bytes.h"
#include "move/address.h"
#include "move/stream.h"

enum proxy_way { TO_TARGET, TO_SOURCE };

/* A section of a conversation: which one of its type, in one of the ways.  Type 0: the header. */
struct proxy_place {
	const char *name;
	enum proxy_way way;
	uint32_t type;
	unsigned which; /* from 0 */
};

enum proxy_fault {
	PROXY_NONE,
	PROXY_SLOW, /* in pieces */
	PROXY_CUT_BEFORE,
	PROXY_CUT_IN,
	PROXY_CUT_AFTER,
	PROXY_STALL, /* neither way, from here on */
	PROXY_FLIP_HEADER,
	PROXY_FLIP_BODY,
	PROXY_LEAVE_OUT,
	PROXY_TWICE,
	PROXY_SOURCE_DIES, /* these two: its owner is told, then it is cut before */
	PROXY_TARGET_DIES,
	PROXY_CANCEL,  /* the source's owner is told, and has done it before it goes on */
	PROXY_GIVE_UP, /* the target's */
	PROXY_FAULTS,
};

struct proxy {
	const struct proxy_place *place;
	enum proxy_fault fault;
	/* The owners are told, and have acted, before it goes on.  NULL: nobody asks. */
	void (*tell)(void *owner, enum proxy_fault fault);
	void *owner;
	struct address here, there;
	int record; /* descriptor: what the source says goes there as well; 0: nowhere */
	int listener;
	pthread_t thread;
	bool over; /* atomic: it is to end */
	bool hit;  /* the place came, after proxy_end() */
	bool has_body;
	int fds[2]; /* the target's, the source's */
	bool stalled, cut;
	struct proxy_stream {
		uint8_t *bytes;
		size_t have;
		bool headed, ended;
		unsigned seen[512]; /* of each type */
	} streams[2];
};

static const bool proxy_never;

/* Who has closed does not hear it. */
static inline void proxy_put(struct proxy *p, enum proxy_way way, const uint8_t *bytes,
			     size_t count)
{
	if (p->record && way == TO_TARGET && write(p->record, bytes, count) != (ssize_t)count)
		abort();
	while (count) {
		struct pollfd f = {.fd = p->fds[way], .events = POLLOUT};
		ssize_t sent = send(f.fd, bytes, count, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (sent > 0) {
			bytes += sent;
			count -= (size_t)sent;
		} else if (errno != EAGAIN || __atomic_load_n(&p->over, __ATOMIC_SEQ_CST)) {
			return;
		} else {
			poll(&f, 1, 20);
		}
	}
}

static inline void proxy_cut(struct proxy *p)
{
	p->cut = true;
	shutdown(p->fds[0], SHUT_RDWR);
	shutdown(p->fds[1], SHUT_RDWR);
}

static inline void proxy_drip(struct proxy *p, enum proxy_way way, const uint8_t *bytes, size_t n)
{
	for (size_t piece = n / 6 + 1, at = 0; at < n; at += piece) {
		proxy_put(p, way, bytes + at, piece < n - at ? piece : n - at);
		poll(NULL, 0, 8);
	}
}

static inline void proxy_hit(struct proxy *p, enum proxy_way way, uint8_t *bytes, size_t n)
{
	p->hit = true;
	p->has_body = n > STREAM_SECTION;
	switch (p->fault) {
	case PROXY_SLOW:
		proxy_drip(p, way, bytes, n);
		return;
	case PROXY_CUT_IN:
		proxy_put(p, way, bytes, n / 2);
		proxy_cut(p);
		return;
	case PROXY_CUT_AFTER:
		proxy_put(p, way, bytes, n);
		proxy_cut(p);
		return;
	case PROXY_STALL:
		p->stalled = true;
		return;
	case PROXY_FLIP_HEADER:
		bytes[17] ^= 4; /* its length, or who wrote it */
		break;
	case PROXY_FLIP_BODY:
		bytes[n - 1] ^= 0x10;
		break;
	case PROXY_LEAVE_OUT:
		return;
	case PROXY_TWICE:
		proxy_put(p, way, bytes, n);
		break;
	case PROXY_SOURCE_DIES:
	case PROXY_TARGET_DIES:
		p->tell(p->owner, p->fault);
		proxy_cut(p);
		return;
	case PROXY_CUT_BEFORE:
		proxy_cut(p);
		return;
	case PROXY_CANCEL:
	case PROXY_GIVE_UP:
		p->tell(p->owner, p->fault);
		break;
	default:
		break;
	}
	proxy_put(p, way, bytes, n);
}

/* What is to happen to a byte of a section that is cut short is nobody's concern. */
static inline void proxy_pass(struct proxy *p, enum proxy_way way, uint8_t *bytes, size_t n)
{
	struct proxy_stream *s = &p->streams[way];
	const uint32_t type = s->headed ? get32(bytes) : 0;
	const struct proxy_place *at = p->place;
	const bool here =
		p->fault && at->way == way && at->type == type && s->seen[type % 512] == at->which;

	s->headed = true;
	s->seen[type % 512]++;
	if (here)
		proxy_hit(p, way, bytes, n);
	else
		proxy_put(p, way, bytes, n);
}

/* How long what begins there is; 0: that is not known yet. */
static inline size_t proxy_length(const struct proxy_stream *s)
{
	if (s->have < STREAM_SECTION)
		return 0;
	return s->headed ? STREAM_SECTION + get32(s->bytes + 16) : STREAM_HEADER;
}

static inline void proxy_read(struct proxy *p, enum proxy_way way)
{
	struct proxy_stream *s = &p->streams[way];
	const size_t room = STREAM_SECTION + STREAM_MOST;
	ssize_t got = recv(p->fds[!way], s->bytes + s->have, room - s->have, MSG_DONTWAIT);
	size_t n;

	if (got < 0 && errno == EAGAIN)
		return;
	if (got <= 0) {
		s->ended = true;
		proxy_put(p, way, s->bytes, s->have);
		shutdown(p->fds[way], SHUT_WR);
		return;
	}
	s->have += (size_t)got;
	while (!p->cut && !p->stalled && (n = proxy_length(s)) && n <= s->have) {
		proxy_pass(p, way, s->bytes, n);
		s->have -= n;
		memmove(s->bytes, s->bytes + n, s->have);
	}
}

static inline void proxy_serve(struct proxy *p)
{
	while (!p->cut && !(p->streams[0].ended && p->streams[1].ended) &&
	       !__atomic_load_n(&p->over, __ATOMIC_SEQ_CST)) {
		struct pollfd f[2];

		for (int way = 0; way < 2; way++)
			f[way] = (struct pollfd){
				.fd = p->stalled || p->streams[way].ended ? -1 : p->fds[!way],
				.events = POLLIN};
		poll(f, 2, 20);
		for (enum proxy_way way = 0; way < 2; way++)
			if (f[way].revents && !p->cut && !p->stalled)
				proxy_read(p, way);
	}
}

static inline void *proxy_run(void *arg)
{
	struct proxy *p = arg;
	struct pollfd f = {.fd = p->listener, .events = POLLIN};

	while (!__atomic_load_n(&p->over, __ATOMIC_SEQ_CST) && poll(&f, 1, 20) <= 0)
		;
	p->fds[TO_SOURCE] = accept4(p->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (p->fds[TO_SOURCE] < 0)
		return NULL;
	p->fds[TO_TARGET] = address_connect(&p->there, UINT64_C(5000000000), &proxy_never, NULL);
	proxy_serve(p);
	close(p->fds[TO_SOURCE]);
	close(p->fds[TO_TARGET]);
	return NULL;
}

/* Of one whose fields up to `there` are set.  0, or negative errno. */
static inline int proxy_begin(struct proxy *p)
{
	p->listener = address_listen(&p->here, NULL);
	if (p->listener < 0)
		return p->listener;
	for (int i = 0; i < 2; i++)
		if (!(p->streams[i].bytes = malloc(STREAM_SECTION + STREAM_MOST)))
			abort();
	return -pthread_create(&p->thread, NULL, proxy_run, p);
}

static inline void proxy_end(struct proxy *p)
{
	__atomic_store_n(&p->over, true, __ATOMIC_SEQ_CST);
	pthread_join(p->thread, NULL);
	close(p->listener);
	address_forget(&p->here);
	for (int i = 0; i < 2; i++)
		free(p->streams[i].bytes);
}

#endif
