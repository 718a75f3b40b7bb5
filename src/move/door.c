/* SPDX-License-Identifier: Apache-2.0 */
/* door.c - who comes and is not let in is told why. */
#include "move/door.h"

#include <poll.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "host/hostclock.h"
#include "kvm/thread.h"
#include "move/message.h"

#define MOST_NS UINT64_C(1000000000)

struct door {
	int listener, wake;
	const char *name, *text;
	bool over; /* atomic */
	pthread_t thread;
};

static void see_off(struct wire *w, struct stream_writer *writer, const char *text,
		    uint64_t patience_ns)
{
	const struct stream_source source = wire_source(w);
	const uint64_t most = patience_ns < MOST_NS ? patience_ns : MOST_NS;
	const uint64_t until = hostclock_monotonic_ns() + most;
	uint8_t bytes[4096];
	uint64_t now;

	w->patience_ns = most;
	if (message_put_text(writer, MESSAGE_FAILED, text, NULL) < 0)
		return;
	shutdown(w->fd, SHUT_WR);
	while ((now = hostclock_monotonic_ns()) < until) {
		w->patience_ns = until - now;
		if (source.get(source.from, bytes, sizeof(bytes)) <= 0)
			return;
	}
}

void door_see_off(struct wire *w, struct stream_writer *writer, const char *text,
		  uint64_t patience_ns)
{
	static const bool never;

	w->give_up = &never;
	see_off(w, writer, text, patience_ns);
}

static void refuse(struct door *d, int fd)
{
	struct stream_writer writer;
	struct stream_sink sink;
	struct wire w;

	wire_init(&w, fd, MOST_NS, &d->over);
	sink = wire_sink(&w);
	if (stream_begin(&writer, &sink, d->name, NULL) == 0)
		see_off(&w, &writer, d->text, MOST_NS);
	wire_close(&w);
}

static void *keep(void *arg)
{
	struct door *d = arg;

	while (!__atomic_load_n(&d->over, __ATOMIC_SEQ_CST)) {
		struct pollfd p[] = {{.fd = d->listener, .events = POLLIN},
				     {.fd = d->wake, .events = POLLIN}};
		int fd;

		poll(p, 2, -1);
		fd = accept4(d->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
		if (fd >= 0)
			refuse(d, fd);
		else if (p[0].revents)
			poll(&p[1], 1, 100); /* no descriptor is to be had */
	}
	return NULL;
}

struct door *door_begin(int listener, const char *name, const char *text)
{
	struct door *d = calloc(1, sizeof(*d));

	if (!d)
		return NULL;
	d->listener = listener;
	d->name = name;
	d->text = text;
	d->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (d->wake < 0 || thread_start(&d->thread, "door", keep, d) < 0) {
		if (d->wake >= 0)
			close(d->wake);
		free(d);
		return NULL;
	}
	return d;
}

void door_end(struct door *d)
{
	const uint64_t one = 1;

	if (!d)
		return;
	__atomic_store_n(&d->over, true, __ATOMIC_SEQ_CST);
	(void)!write(d->wake, &one, sizeof(one));
	pthread_join(d->thread, NULL);
	close(d->wake);
	free(d);
}
