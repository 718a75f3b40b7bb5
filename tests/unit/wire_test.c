/* SPDX-License-Identifier: Apache-2.0 */
/* wire_test.c - bytes go through a socket whole, not faster than they may, and whoever waits on it
 * neither waits for ever nor against somebody's will. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

#include "../random.h"
#include "host/hostclock.h"
#include "move/wire.h"

#define MS UINT64_C(1000000)
#define MIB (UINT64_C(1) << 20)
#define WAITS_TO_PUT (5 * MIB)

/* Two wires that are one connection. */
struct pair {
	struct wire a, b;
	bool give_up;
};

static struct pair *new_pair(uint64_t patience_ns)
{
	struct pair *p = calloc(1, sizeof(*p));
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
	wire_init(&p->a, fds[0], patience_ns, &p->give_up);
	wire_init(&p->b, fds[1], patience_ns, &p->give_up);
	return p;
}

static void end_pair(struct pair *p)
{
	wire_close(&p->a);
	wire_close(&p->b);
	wire_close(&p->b); /* twice is no harm */
	free(p);
}

static int put(struct wire *w, const void *bytes, size_t count)
{
	struct stream_sink sink = wire_sink(w);

	return sink.put(sink.to, bytes, count);
}

static ssize_t get(struct wire *w, void *bytes, size_t most)
{
	struct stream_source source = wire_source(w);

	return source.get(source.from, bytes, most);
}

struct reading {
	struct wire *w;
	uint64_t seed;
	size_t count; /* so many are to come */
	pthread_t thread;
};

static uint8_t noise(uint64_t seed, size_t at)
{
	return (uint8_t)((at + seed) * UINT64_C(0x9e3779b97f4a7c15) >> 56);
}

static void *read_all(void *arg)
{
	struct reading *r = arg;
	uint8_t bytes[3000];
	size_t at = 0;
	ssize_t got;

	while (at < r->count && (got = get(r->w, bytes, sizeof(bytes))) > 0)
		for (ssize_t i = 0; i < got; i++, at++)
			if (bytes[i] != noise(r->seed, at))
				return "other bytes";
	return at == r->count ? NULL : "not all";
}

/* Returns how long it took. */
static uint64_t send_all(struct pair *p, size_t count)
{
	struct reading r = {.w = &p->b, .seed = random_seed(), .count = count};
	uint8_t *bytes = malloc(count);
	uint64_t began;
	void *wrong;

	for (size_t i = 0; i < count; i++)
		bytes[i] = noise(r.seed, i);
	assert_int_equal(pthread_create(&r.thread, NULL, read_all, &r), 0);
	began = hostclock_monotonic_ns();
	assert_int_equal(put(&p->a, bytes, count), 0);
	pthread_join(r.thread, &wrong);
	free(bytes);
	if (wrong)
		fail_msg("%s", (char *)wrong);
	return hostclock_monotonic_ns() - began;
}

static void more_than_the_socket_holds_goes_through_whole(void **state)
{
	struct pair *p = new_pair(UINT64_MAX);

	(void)state;
	send_all(p, 5 * MIB);
	assert_int_equal(p->a.sent, 5 * MIB);
	end_pair(p);
}

/* Twice the limit takes half as long; on a machine that is slower than any of it both take longer,
 * but none takes less than its time (but for the burst that the limit allows). */
static void what_is_written_keeps_to_the_limit(void **state)
{
	struct pair *p = new_pair(UINT64_MAX);

	(void)state;
	__atomic_store_n(&p->a.limit, 4 * MIB, __ATOMIC_RELAXED);
	assert_true(send_all(p, MIB) >= 220 * MS);
	__atomic_store_n(&p->a.limit, 8 * MIB, __ATOMIC_RELAXED);
	assert_true(send_all(p, MIB) >= 100 * MS);
	end_pair(p);
}

struct freeing {
	struct wire *w;
	uint64_t sent; /* when it was freed */
};

static void *lift_the_limit(void *arg)
{
	struct freeing *f = arg;

	while ((f->sent = __atomic_load_n(&f->w->sent, __ATOMIC_RELAXED)) == 0)
		poll(NULL, 0, 1);
	__atomic_store_n(&f->w->limit, 0, __ATOMIC_RELAXED);
	return NULL;
}

/* By the old one it would take two hours. */
static void another_limit_counts_at_once(void **state)
{
	struct pair *p = new_pair(UINT64_MAX);
	struct freeing f = {.w = &p->a};
	pthread_t thread;

	(void)state;
	__atomic_store_n(&p->a.limit, 100, __ATOMIC_RELAXED);
	assert_int_equal(pthread_create(&thread, NULL, lift_the_limit, &f), 0);
	send_all(p, MIB);
	pthread_join(thread, NULL);
	assert_true(f.sent < MIB);
	end_pair(p);
}

static void one_that_takes_nothing_is_left_when_patience_is_over(void **state)
{
	struct pair *p = new_pair(20 * MS);
	uint8_t *bytes = calloc(1, 5 * MIB);
	uint64_t began = hostclock_monotonic_ns();

	(void)state;
	assert_int_equal(put(&p->a, bytes, 5 * MIB), -ETIMEDOUT);
	assert_true(p->a.sent > 0);
	assert_int_equal(get(&p->a, bytes, 1), -ETIMEDOUT);
	assert_true(hostclock_monotonic_ns() - began >= 40 * MS);
	free(bytes);
	end_pair(p);
}

static void *drip(void *arg)
{
	for (int i = 0; i < 6; i++) {
		poll(NULL, 0, 30);
		if (put(arg, "drop", 1) < 0)
			return "failed";
	}
	return NULL;
}

/* Patience is with each byte, not with all. */
static void one_that_is_slow_is_waited_for(void **state)
{
	struct pair *p = new_pair(100 * MS);
	struct stream_source source = wire_source(&p->a);
	pthread_t thread;
	uint8_t byte;
	void *wrong;
	int late = 0;

	(void)state;
	assert_int_equal(pthread_create(&thread, NULL, drip, &p->b), 0);
	for (int i = 0; i < 6; i++) {
		ssize_t got;

		/* On a machine that stops for so long the other side is late, which is no fault. */
		while ((got = source.get(source.from, &byte, 1)) == -ETIMEDOUT && late < 600)
			late++;
		assert_int_equal(got, 1);
	}
	pthread_join(thread, &wrong);
	assert_null(wrong);
	assert_in_range(late, 0, 599);
	end_pair(p);
}

struct waiting {
	struct pair *p;
	int (*how)(struct pair *p);
	int result;
};

static int wait_to_put(struct pair *p)
{
	static const uint8_t bytes[WAITS_TO_PUT];

	return put(&p->a, bytes, sizeof(bytes));
}

static int wait_to_get(struct pair *p)
{
	uint8_t byte;

	return (int)get(&p->a, &byte, 1);
}

static void *wait_in_thread(void *arg)
{
	struct waiting *w = arg;

	w->result = w->how(w->p);
	return NULL;
}

static int given_up(struct pair *p, int (*how)(struct pair *p))
{
	struct waiting w = {.p = p, .how = how};
	pthread_t thread;

	assert_int_equal(pthread_create(&thread, NULL, wait_in_thread, &w), 0);
	poll(NULL, 0, 5);
	__atomic_store_n(&p->give_up, true, __ATOMIC_SEQ_CST);
	pthread_join(thread, NULL);
	__atomic_store_n(&p->give_up, false, __ATOMIC_SEQ_CST);
	return w.result;
}

static void whoever_waits_can_be_told_to_leave_it(void **state)
{
	struct pair *p = new_pair(UINT64_MAX);

	(void)state;
	assert_int_equal(given_up(p, wait_to_get), -ECANCELED);
	assert_int_equal(given_up(p, wait_to_put), -ECANCELED);
	p->b.limit = 1;
	__atomic_store_n(&p->a.limit, 1, __ATOMIC_RELAXED);
	assert_int_equal(given_up(p, wait_to_put), -ECANCELED);
	end_pair(p);
}

/* So that the other side can be told why, even where it does not get to read for a moment. */
static void what_has_begun_may_end_when_it_is_given_up(void **state)
{
	enum { TRIES = 20, LATE_MS = 100, ENDED_MS = 1000 };
	uint8_t *bytes = malloc(MIB);
	int result = -ECANCELED;

	(void)state;
	for (int i = 0; i < TRIES && result < 0; i++) { /* this test may not get to read either */
		struct pair *p = new_pair(UINT64_MAX);
		struct waiting w = {.p = p, .how = wait_to_put};
		struct pollfd f = {.fd = p->b.fd, .events = POLLIN};
		uint64_t left = WAITS_TO_PUT;
		pthread_t thread;

		p->give_up = true;
		assert_int_equal(pthread_create(&thread, NULL, wait_in_thread, &w), 0);
		poll(NULL, 0, LATE_MS);
		while (left && poll(&f, 1, ENDED_MS) > 0)
			left -= (uint64_t)recv(p->b.fd, bytes, MIB, 0);
		pthread_join(thread, NULL);
		result = w.result;
		end_pair(p);
	}
	free(bytes);
	assert_int_equal(result, 0);
}

/* However much it still has to say. */
static void parting_is_over_once(void **state)
{
	struct pair *p = new_pair(60000 * MS);

	(void)state;
	p->give_up = true;
	p->a.parting_ns = 1;
	assert_int_equal(wait_to_put(p), -ECANCELED);
	p->a.parting_ns = UINT64_MAX / 2;
	assert_int_equal(wait_to_put(p), -ECANCELED);
	end_pair(p);
}

/* What was said before is still heard; no signal comes of writing. */
static void a_closed_connection_is_an_end_and_no_more(void **state)
{
	struct pair *p = new_pair(UINT64_MAX);
	uint8_t bytes[8];

	(void)state;
	assert_false(wire_waits(&p->a));
	assert_int_equal(put(&p->b, "last", 4), 0);
	assert_true(wire_waits(&p->a));
	wire_close(&p->b);
	assert_int_equal(put(&p->a, "x", 1), -EPIPE);
	assert_int_equal(get(&p->a, bytes, sizeof(bytes)), 4);
	assert_true(wire_waits(&p->a));
	assert_int_equal(get(&p->a, bytes, sizeof(bytes)), 0);
	end_pair(p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(more_than_the_socket_holds_goes_through_whole),
		cmocka_unit_test(what_is_written_keeps_to_the_limit),
		cmocka_unit_test(another_limit_counts_at_once),
		cmocka_unit_test(one_that_takes_nothing_is_left_when_patience_is_over),
		cmocka_unit_test(one_that_is_slow_is_waited_for),
		cmocka_unit_test(whoever_waits_can_be_told_to_leave_it),
		cmocka_unit_test(what_has_begun_may_end_when_it_is_given_up),
		cmocka_unit_test(parting_is_over_once),
		cmocka_unit_test(a_closed_connection_is_an_end_and_no_more),
	};

	(void)random_start();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
