/* SPDX-License-Identifier: Apache-2.0 */
/* wire.c - a socket as sink and source of a stream. */
#include "move/wire.h"

#include <errno.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "host/hostclock.h"

#define SLICE_NS UINT64_C(50000000)
#define MOMENT_NS UINT64_C(1000000)
#define SECOND_NS UINT64_C(1000000000)

/* With a limit: so many pieces a second, and no more than so many of them at once. */
enum { PIECES = 100, BURST = 1 };

void wire_init(struct wire *w, int fd, uint64_t patience_ns, const bool *give_up)
{
	const int yes = 1, room = 1 << 20;

	*w = (struct wire){.fd = fd,
			   .patience_ns = patience_ns,
			   .give_up = give_up,
			   .parting_ns = WIRE_PARTING_NS};
	/* Each word waits for an answer; what is long comes in large pieces anyway.  A UNIX socket
	 * has no such thing, and does not find out how much it should hold: as much as it may is a
	 * quarter faster than what it has. */
	if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes)) < 0)
		setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &room, sizeof(room));
}

void wire_close(struct wire *w)
{
	if (w->fd >= 0)
		close(w->fd);
	w->fd = -1;
}

static bool given_up(const struct wire *w)
{
	return __atomic_load_n(w->give_up, __ATOMIC_RELAXED);
}

/* At most `ns`, SLICE_NS if that is less; whatever is ready. */
static void wait_a_bit(int fd, short events, uint64_t ns)
{
	struct pollfd p = {.fd = fd, .events = events};
	const uint64_t slice = ns < SLICE_NS ? ns : SLICE_NS;
	const struct timespec t = {.tv_nsec = (long)slice};

	ppoll(&p, fd >= 0, &t, NULL);
}

uint64_t wire_queued(const struct wire *w)
{
	int bytes;

	return ioctl(w->fd, SIOCOUTQ, &bytes) == 0 && bytes > 0 ? (uint64_t)bytes : 0;
}

/* Who waits: since when nothing has moved, 0 before the first look; and what was queued then. */
struct wait {
	uint64_t since_ns, queued;
};

/* Waits until the socket may be tried again, and no longer than `most_ns`.  `until_ns`: 0 for as
 * long as anything moves. */
static int wait_ready(const struct wire *w, short events, uint64_t until_ns, uint64_t most_ns,
		      struct wait *wait)
{
	const uint64_t now = hostclock_monotonic_ns();
	uint64_t left_ns;

	if (until_ns && now >= until_ns)
		return -ETIMEDOUT;
	if (wait->since_ns == 0)
		wait->since_ns = now;
	if (now - wait->since_ns >= w->patience_ns)
		return -ETIMEDOUT;
	left_ns = w->patience_ns - (now - wait->since_ns);
	wait_a_bit(w->fd, events, left_ns < most_ns ? left_ns : most_ns);
	return 0;
}

/* The queue is a good part empty before it takes more: until then it moves by what it holds. */
static void look_at_queue(const struct wire *w, struct wait *wait)
{
	const uint64_t queued = wire_queued(w);

	if (queued < wait->queued)
		wait->since_ns = 0;
	wait->queued = queued;
}

/* How many of `count` bytes may go now, at least 1, once it is time for them; for one that was
 * given up it is. */
static size_t by_limit(struct wire *w, size_t count, uint64_t *ret_limit)
{
	for (;;) {
		const uint64_t limit = __atomic_load_n(&w->limit, __ATOMIC_RELAXED);
		const size_t piece = limit > PIECES ? limit / PIECES : 1;
		uint64_t now;

		*ret_limit = limit;
		if (!limit || given_up(w))
			return count;
		now = hostclock_monotonic_ns();
		if (w->due_ns <= now) {
			/* What was not used for longer is lost. */
			const uint64_t burst = BURST * SECOND_NS / PIECES;

			if (w->due_ns == 0)
				w->due_ns = now;
			if (w->due_ns + burst < now)
				w->due_ns = now - burst;
			return count < piece ? count : piece;
		}
		wait_a_bit(-1, 0, w->due_ns - now);
	}
}

/* By the limit that let it go: without one nothing is owed to the next. */
static void has_sent(struct wire *w, size_t count, uint64_t limit)
{
	__atomic_fetch_add(&w->sent, count, __ATOMIC_RELAXED);
	if (!limit)
		w->due_ns = 0;
	else
		w->due_ns += (uint64_t)((unsigned __int128)count * SECOND_NS / limit);
}

/* Time is up for one that was given up.  What has begun may end meanwhile, so that the other side
 * can still be told why. */
static bool is_over(struct wire *w)
{
	const uint64_t now = hostclock_monotonic_ns();

	if (!given_up(w))
		return false;
	if (w->over_ns == 0)
		w->over_ns = now + w->parting_ns;
	return now >= w->over_ns;
}

static int put(void *to, const void *bytes, size_t count)
{
	struct wire *w = to;
	const uint8_t *at = bytes;
	struct wait wait = {0};

	while (count) {
		uint64_t limit;
		int result = 0;
		ssize_t sent;

		sent = send(w->fd, at, by_limit(w, count, &limit), MSG_NOSIGNAL | MSG_DONTWAIT);
		if (sent >= 0) {
			has_sent(w, (size_t)sent, limit);
			at += sent;
			count -= (size_t)sent;
			wait.since_ns = 0;
		} else if (errno == EAGAIN) {
			look_at_queue(w, &wait);
			result = is_over(w) ? -ECANCELED
					    : wait_ready(w, POLLOUT, w->write_until_ns, SLICE_NS,
							 &wait);
		} else if (errno != EINTR) {
			result = -errno;
		}
		if (result < 0)
			return result;
	}
	return 0;
}

static ssize_t get(void *from, void *bytes, size_t most)
{
	struct wire *w = from;
	struct wait wait = {0};

	for (;;) {
		int result = 0;
		ssize_t got;

		if (w->read_until_ns && hostclock_monotonic_ns() >= w->read_until_ns)
			return -ETIMEDOUT;
		got = recv(w->fd, bytes, most, MSG_DONTWAIT);
		if (got >= 0)
			return got;
		if (errno == EAGAIN)
			result = given_up(w) ? -ECANCELED
					     : wait_ready(w, POLLIN, 0, SLICE_NS, &wait);
		else if (errno != EINTR)
			result = -errno;
		if (result < 0)
			return result;
	}
}

int wire_drain(const struct wire *w, uint64_t most)
{
	struct wait wait = {0};

	for (;;) {
		int result;

		look_at_queue(w, &wait);
		if (wait.queued <= most || wire_waits(w))
			return 0;
		if (given_up(w))
			return -ECANCELED;
		result = wait_ready(w, POLLIN, w->write_until_ns, MOMENT_NS, &wait);
		if (result < 0)
			return result;
	}
}

uint64_t wire_until(uint64_t ns)
{
	const uint64_t now = hostclock_monotonic_ns();

	return ns < UINT64_MAX - now ? now + ns : 0;
}

struct stream_sink wire_sink(struct wire *w)
{
	return (struct stream_sink){.put = put, .to = w, .live = true};
}

struct stream_source wire_source(struct wire *w)
{
	return (struct stream_source){.get = get, .from = w, .live = true};
}

bool wire_waits(const struct wire *w)
{
	struct pollfd p = {.fd = w->fd, .events = POLLIN};

	return poll(&p, 1, 0) > 0;
}
