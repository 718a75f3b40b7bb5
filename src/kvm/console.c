/* SPDX-License-Identifier: Apache-2.0 */
/* console.c - the host's side of a serial port: the ring, and moving bytes out and in. */
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "host/hostclock.h"
#include "kvm/console_impl.h"

enum { CTRL_A = 1, STALL_MS = 1000, DRAIN_MS = 5000, NS_PER_MS = 1000000 };

/* How much goes out at once before the loop turns to others: a file that takes everything and a
 * guest that never pauses would keep it for ever. */
enum { STAGES_AT_ONCE = 16 };

/* How long the loop waits before it looks into the ring again.  Output comes byte by byte: one
 * wake-up for each would cost more than the guest's own exit. */
static const struct timeval look_again = {.tv_usec = 4000};

static void ring_put(struct console_ring *r, const uint8_t *bytes, size_t length)
{
	if (length > CONSOLE_RING) {
		r->dropped += length - CONSOLE_RING;
		bytes += length - CONSOLE_RING;
		length = CONSOLE_RING;
	}
	if (r->length + length > CONSOLE_RING) {
		size_t drop = r->length + length - CONSOLE_RING;

		r->first = (r->first + drop) % CONSOLE_RING;
		r->length -= drop;
		r->dropped += drop;
	}
	for (size_t done = 0, n; done < length; done += n) {
		size_t at = (r->first + r->length) % CONSOLE_RING;

		n = length - done < CONSOLE_RING - at ? length - done : CONSOLE_RING - at;
		memcpy(r->bytes + at, bytes + done, n);
		r->length += n;
	}
}

static size_t ring_take(struct console_ring *r, uint8_t *bytes, size_t room)
{
	size_t total = 0;

	while (total < room && r->length) {
		size_t n = CONSOLE_RING - r->first;

		n = n < r->length ? n : r->length;
		n = n < room - total ? n : room - total;
		memcpy(bytes + total, r->bytes + r->first, n);
		r->first = (r->first + n) % CONSOLE_RING;
		r->length -= n;
		total += n;
	}
	if (r->length == 0)
		r->first = 0; /* a ring that is always drained in time touches one page only */
	return total;
}

static void wake_loop(const struct console *c)
{
	const uint64_t one = 1;

	/* A full counter wakes as well. */
	(void)!write(c->wake_fd, &one, sizeof(one));
}

void console_put(struct console *c, const uint8_t *bytes, size_t length)
{
	bool wake;

	pthread_mutex_lock(&c->ring.lock);
	ring_put(&c->ring, bytes, length);
	wake = !c->ring.scheduled;
	c->ring.scheduled = true;
	pthread_mutex_unlock(&c->ring.lock);
	if (wake)
		wake_loop(c);
}

void console_has_room(struct console *c)
{
	bool wake;

	pthread_mutex_lock(&c->ring.lock);
	wake = c->input_waits;
	c->input_waits = false;
	pthread_mutex_unlock(&c->ring.lock);
	if (wake)
		wake_loop(c);
}

static ssize_t write_some(const struct console *c, const uint8_t *bytes, size_t length)
{
	struct pollfd p = {.fd = c->out_fd, .events = POLLOUT};

	/* A pipe that is ready takes PIPE_BUF bytes at once. */
	static_assert(CONSOLE_STAGE <= PIPE_BUF, "one stage fits into a pipe that is ready");
	if (c->may_block && poll(&p, 1, 0) == 0) {
		errno = EAGAIN;
		return -1;
	}
	if (c->is_socket)
		return send(c->out_fd, bytes, length, MSG_DONTWAIT | MSG_NOSIGNAL);
	return write(c->out_fd, bytes, length);
}

static bool refill(struct console *c)
{
	if (c->stage_length)
		return true;
	c->stage_first = 0;
	pthread_mutex_lock(&c->ring.lock);
	c->stage_length = ring_take(&c->ring, c->stage, sizeof(c->stage));
	pthread_mutex_unlock(&c->ring.lock);
	return c->stage_length > 0;
}

/* Output has failed for good.  A client is gone altogether; of standard streams and a file only the
 * output is: its terminal must still take ctrl-a x. */
static void lose_output(struct console *c, int error)
{
	if (c->kind == CONSOLE_UNIX) {
		console_detach(c);
		return;
	}
	if (error != EPIPE && error != ECONNRESET) /* those are a reader who has seen enough */
		c->output_error = error;
	if (c->out)
		event_free(c->out);
	c->out = NULL;
	if (c->own_out)
		close(c->out_fd);
	c->out_fd = -1;
}

enum flushed {
	FLUSHED_ALL,
	FLUSHED_SOME, /* there is more, and it would be taken */
	FLUSH_STUCK,  /* the reader has to make room first or is not there */
};

static enum flushed flush(struct console *c)
{
	unsigned turns = STAGES_AT_ONCE;

	while (c->out_fd >= 0 && refill(c)) {
		ssize_t n;

		if (turns-- == 0)
			return FLUSHED_SOME;
		n = write_some(c, c->stage + c->stage_first, c->stage_length);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
			return FLUSH_STUCK;
		if (n < 0) {
			lose_output(c, errno);
			return FLUSH_STUCK;
		}
		c->stage_first += (size_t)n;
		c->stage_length -= (size_t)n;
	}
	return c->out_fd >= 0 ? FLUSHED_ALL : FLUSH_STUCK;
}

/* With no reader to come the ring need not be kept. */
static bool discards(const struct console *c)
{
	return c->out_fd < 0 && c->kind != CONSOLE_UNIX;
}

static void discard(struct console *c)
{
	pthread_mutex_lock(&c->ring.lock);
	c->ring.dropped += c->ring.length + c->stage_length;
	c->ring.first = c->ring.length = 0;
	pthread_mutex_unlock(&c->ring.lock);
	c->stage_length = 0;
}

/* Unless it ends with the timer running, the ring stays `scheduled`: the byte that comes next need
 * not wake us, because the reader's making room or coming will. */
static void service_output(struct console *c)
{
	static const struct timeval at_once;

	switch (flush(c)) {
	case FLUSHED_ALL:
		evtimer_add(c->timer, &look_again);
		break;
	case FLUSHED_SOME:
		evtimer_add(c->timer, &at_once);
		break;
	case FLUSH_STUCK:
		if (discards(c)) {
			discard(c);
			evtimer_add(c->timer, &look_again);
		} else if (c->out) {
			event_add(c->out, NULL);
		}
	}
}

/* All was written a moment ago.  Nothing new: the next byte wakes us; else go on. */
static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct console *c = arg;
	bool idle;

	(void)fd;
	(void)what;
	pthread_mutex_lock(&c->ring.lock);
	idle = c->ring.length == 0 && c->stage_length == 0;
	if (idle)
		c->ring.scheduled = false;
	pthread_mutex_unlock(&c->ring.lock);
	if (!idle)
		service_output(c);
}

static void on_writable(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	service_output(arg);
}

/* On a terminal ctrl-a x ends the machine and ctrl-a ctrl-a is one ctrl-a.  Returns the bytes that
 * are left for the guest. */
static unsigned unescape(struct console *c, uint8_t *bytes, unsigned length)
{
	unsigned kept = 0;

	for (unsigned i = 0; i < length; i++) {
		uint8_t b = bytes[i];

		if (!c->escaping && b == CTRL_A) {
			c->escaping = true;
			continue;
		}
		if (c->escaping && (b == 'x' || b == 'X'))
			c->port.escape(c->port.owner);
		else if (!c->escaping || b == CTRL_A)
			bytes[kept++] = b;
		c->escaping = false;
	}
	return kept;
}

/* A peer that has closed altogether, and not only its sending side. */
static bool hung_up(int fd)
{
	struct pollfd p = {.fd = fd};

	return poll(&p, 1, 0) > 0 && p.revents & (POLLHUP | POLLERR);
}

static void end_of_input(struct console *c)
{
	c->at_end = true;
	if (c->kind == CONSOLE_UNIX && hung_up(c->in_fd))
		console_detach(c);
	else if (c->kind == CONSOLE_UNIX)
		event_add(c->listen, NULL); /* it may still read, but makes way for the next */
}

/* The port's room; with none, console_has_room() is to wake us. */
static unsigned room_or_wait(struct console *c)
{
	unsigned room = c->port.room(c->port.port);

	if (room)
		return room;
	pthread_mutex_lock(&c->ring.lock);
	c->input_waits = true;
	pthread_mutex_unlock(&c->ring.lock);
	return c->port.room(c->port.port); /* it may have come in between */
}

static void deliver(struct console *c)
{
	unsigned room;

	while (c->typed_length && (room = room_or_wait(c)) > 0) {
		unsigned n = room < c->typed_length ? room : (unsigned)c->typed_length;

		c->port.input(c->port.port, c->typed + c->typed_first, n);
		c->typed_first += n;
		c->typed_length -= n;
	}
}

static void keep(struct console *c, const uint8_t *bytes, size_t length)
{
	size_t room = sizeof(c->typed) - c->typed_length;

	memmove(c->typed, c->typed + c->typed_first, c->typed_length);
	c->typed_first = 0;
	length = length < room ? length : room;
	memcpy(c->typed + c->typed_length, bytes, length);
	c->typed_length += length;
}

/* One read of at most `room` bytes.  False when there is nothing to be had now. */
static bool read_some(struct console *c, unsigned room)
{
	uint8_t bytes[64];
	ssize_t n = read(c->in_fd, bytes, room < sizeof(bytes) ? room : sizeof(bytes));
	unsigned length = n > 0 ? (unsigned)n : 0;

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return false;
	if (n <= 0) {
		end_of_input(c);
		return false;
	}
	if (c->terminal)
		length = unescape(c, bytes, length);
	keep(c, bytes, length);
	deliver(c);
	return true;
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct console *c = arg;
	/* A terminal is always read: ctrl-a x is for a guest that takes no input any more.  What is
	 * typed meanwhile is kept, as far as there is place. */
	unsigned room = c->terminal ? UINT_MAX : room_or_wait(c);

	(void)fd;
	(void)what;
	if (room == 0)
		return;
	read_some(c, room);
	if (c->in && !c->at_end)
		event_add(c->in, NULL);
}

/* Input that cannot be watched is always there. */
static void read_file(struct console *c)
{
	unsigned room;

	while (!c->at_end && (room = room_or_wait(c)) > 0 && read_some(c, room))
		;
}

static void on_wake(evutil_socket_t fd, short what, void *arg)
{
	struct console *c = arg;
	uint64_t count;

	(void)what;
	(void)!read(fd, &count, sizeof(count));
	if (!evtimer_pending(c->timer, NULL))
		service_output(c);
	deliver(c);
	if (c->at_end)
		return;
	if (c->in)
		event_add(c->in, NULL);
	else if (c->in_fd >= 0)
		read_file(c);
}

/* False for a regular file or /dev/null, which are always ready and which epoll refuses. */
static bool can_be_watched(int fd)
{
	struct epoll_event event = {.events = EPOLLIN};
	int epoll = epoll_create1(EPOLL_CLOEXEC);
	bool yes = epoll >= 0 && epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) == 0;

	if (epoll >= 0)
		close(epoll);
	return yes;
}

void console_attach(struct console *c)
{
	if (c->out_fd >= 0 && can_be_watched(c->out_fd))
		c->out = event_new(c->base, c->out_fd, EV_WRITE, on_writable, c);
	if (c->in_fd >= 0 && can_be_watched(c->in_fd))
		c->in = event_new(c->base, c->in_fd, EV_READ, on_readable, c);
	c->at_end = c->in_fd < 0;
	if (c->in)
		event_add(c->in, NULL);
	else if (c->in_fd >= 0)
		wake_loop(c); /* for read_file() */
	service_output(c);
}

void console_detach(struct console *c)
{
	if (c->in)
		event_free(c->in);
	if (c->out)
		event_free(c->out);
	c->in = c->out = NULL;
	if (c->own_in && c->in_fd >= 0)
		close(c->in_fd);
	if (c->own_out && c->out_fd >= 0 && c->out_fd != c->in_fd)
		close(c->out_fd);
	c->in_fd = c->out_fd = -1;
	c->at_end = true;
	if (c->listen)
		event_add(c->listen, NULL);
}

static int open_kind(struct console *c, struct why *why)
{
	switch (c->kind) {
	case CONSOLE_STDIO:
		return console_open_stdio(c, why);
	case CONSOLE_FILE:
		return console_open_file(c, why);
	case CONSOLE_UNIX:
		return console_open_socket(c, why);
	default:
		return 0;
	}
}

int console_open(const struct console_config *config, struct event_base *base,
		 const struct console_port *port, struct console **ret_console, struct why *why)
{
	struct console *c = calloc(1, sizeof(*c));
	int result;

	if (!c)
		return why_set(why, -ENOMEM, "no memory for a console");
	c->kind = config->kind;
	c->path = config->path;
	c->base = base;
	c->port = *port;
	c->in_fd = c->out_fd = c->socket.fd = -1;
	pthread_mutex_init(&c->ring.lock, NULL);
	c->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	c->ring.bytes = mmap(NULL, CONSOLE_RING, PROT_READ | PROT_WRITE,
			     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (c->ring.bytes == MAP_FAILED)
		c->ring.bytes = NULL;
	c->wake = event_new(base, c->wake_fd, EV_READ | EV_PERSIST, on_wake, c);
	c->timer = evtimer_new(base, on_timer, c);
	if (c->wake_fd < 0 || !c->ring.bytes || !c->wake || !c->timer)
		result = why_set(why, -ENOMEM, "no memory for a console");
	else
		result = open_kind(c, why);
	if (result == 0 && event_add(c->wake, NULL) < 0)
		result = why_set(why, -ENOMEM, "no memory for a console");
	if (result < 0) {
		console_close(c, NULL);
		return result;
	}
	*ret_console = c;
	return 0;
}

/* Last words: as long as the reader takes some within a second, and five in all. */
static void drain(struct console *c)
{
	uint64_t start = hostclock_monotonic_ns();

	for (;;) {
		struct pollfd p = {.events = POLLOUT};

		if (flush(c) == FLUSHED_ALL || c->out_fd < 0)
			return;
		p.fd = c->out_fd;
		if (poll(&p, 1, STALL_MS) <= 0 ||
		    hostclock_monotonic_ns() - start > (uint64_t)DRAIN_MS * NS_PER_MS)
			return;
	}
}

uint64_t console_close(struct console *c, struct why *why)
{
	uint64_t dropped;

	if (!c)
		return 0;
	if (c->ring.bytes)
		drain(c);
	dropped = c->ring.dropped + c->ring.length + c->stage_length;
	if (c->output_error)
		why_set(why, 0,
			"serial output to %s: %s (%" PRIu64 " bytes are lost; give another place)",
			c->path ? c->path : "standard output", strerror(c->output_error), dropped);
	console_release(c);
	if (c->timer)
		event_free(c->timer);
	if (c->wake)
		event_free(c->wake);
	if (c->wake_fd >= 0)
		close(c->wake_fd);
	if (c->ring.bytes)
		munmap(c->ring.bytes, CONSOLE_RING);
	pthread_mutex_destroy(&c->ring.lock);
	free(c);
	return dropped;
}
