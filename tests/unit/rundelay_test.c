/* SPDX-License-Identifier: Apache-2.0 */
/* rundelay_test.c - a thread that has to wait for its CPU is seen to, one that sleeps is not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "host/rundelay.h"

/* A count that the test sets. */
static struct rundelay counted(const char *text)
{
	struct rundelay d = {.fd = memfd_create("schedstat", MFD_CLOEXEC)};

	assert_true(d.fd >= 0);
	assert_true(dprintf(d.fd, "%s", text) > 0);
	return d;
}

static void set_count(struct rundelay *d, const char *text)
{
	assert_int_equal(ftruncate(d->fd, 0), 0);
	assert_int_equal(lseek(d->fd, 0, SEEK_SET), 0);
	assert_true(dprintf(d->fd, "%s", text) > 0);
}

static void what_came_since_is_taken_once(void **state)
{
	struct rundelay d = counted("1000 300 7\n");

	(void)state;
	rundelay_forget(&d);
	assert_int_equal(rundelay_take(&d), 0);
	set_count(&d, "1100 18446744073709551615 8\n");
	assert_true(rundelay_take(&d) == UINT64_MAX - 300);
	assert_int_equal(rundelay_take(&d), 0);
	rundelay_close(&d);
}

/* A VM that stands still: its threads may wait meanwhile, and that is nobody's steal. */
static void what_is_forgotten_is_never_taken(void **state)
{
	struct rundelay d = counted("1000 300 7\n");

	(void)state;
	rundelay_forget(&d);
	set_count(&d, "1000 900 8\n");
	assert_int_equal(rundelay_take(&d), 600);
	set_count(&d, "1000 5000000900 9\n");
	rundelay_forget(&d);
	set_count(&d, "1000 5000000907 9\n");
	assert_int_equal(rundelay_take(&d), 7);
	rundelay_close(&d);
}

static void a_count_that_got_smaller_adds_nothing_and_goes_on_from_there(void **state)
{
	struct rundelay d = counted("1000 300 7\n");

	(void)state;
	rundelay_forget(&d);
	set_count(&d, "5 2 1\n");
	assert_int_equal(rundelay_take(&d), 0);
	set_count(&d, "6 5 2\n");
	assert_int_equal(rundelay_take(&d), 3);
	rundelay_close(&d);
}

static void what_is_no_count_adds_nothing(void **state)
{
	struct rundelay d = counted("none\n"), none = {.fd = -1};
	uint64_t ns;

	(void)state;
	assert_int_equal(rundelay_take(&d), 0);
	assert_int_equal(rundelay_read(&d, &ns), -EIO);
	rundelay_close(&d);
	assert_int_equal(rundelay_take(&none), 0);
	assert_int_equal(rundelay_read(&none, &ns), -EBADF);
	rundelay_close(&none);
}

struct waiter {
	int tid;
	bool stop; /* atomic */
};

static void *be_busy(void *arg)
{
	struct waiter *w = arg;

	__atomic_store_n(&w->tid, gettid(), __ATOMIC_SEQ_CST);
	while (!__atomic_load_n(&w->stop, __ATOMIC_SEQ_CST))
		;
	return NULL;
}

/* Who joins a thread is woken while the kernel still has some of it, which waits for its CPU and is
 * counted: on a busy machine after one join in 200. */
static void wait_until_gone(const struct rundelay *d)
{
	uint64_t ns;
	int error;

	while ((error = rundelay_read(d, &ns)) == 0)
		usleep(1000);
	assert_int_equal(error, -ESRCH);
}

/* Two on one CPU: each waits while the other runs. */
static void who_shares_a_cpu_waits(void **state)
{
	struct waiter w[2] = {{0}, {0}};
	struct rundelay d[2];
	uint64_t ns[2] = {0, 0};
	cpu_set_t all, one;
	pthread_t thread[2];

	(void)state;
	sched_getaffinity(0, sizeof(all), &all);
	CPU_ZERO(&one);
	for (size_t i = 0; i < CPU_SETSIZE && !CPU_COUNT(&one); i++)
		if (CPU_ISSET(i, &all))
			CPU_SET(i, &one);
	sched_setaffinity(0, sizeof(one), &one);
	for (int i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&thread[i], NULL, be_busy, &w[i]), 0);
	sched_setaffinity(0, sizeof(all), &all);
	for (int i = 0; i < 2; i++) {
		while (!__atomic_load_n(&w[i].tid, __ATOMIC_SEQ_CST))
			usleep(1000);
		assert_int_equal(rundelay_open(getpid(), w[i].tid, &d[i]), 0);
	}
	while (ns[0] < 10000000 || ns[1] < 10000000) {
		usleep(5000);
		for (int i = 0; i < 2; i++)
			ns[i] += rundelay_take(&d[i]);
	}
	for (int i = 0; i < 2; i++) {
		__atomic_store_n(&w[i].stop, true, __ATOMIC_SEQ_CST);
		pthread_join(thread[i], NULL);
		wait_until_gone(&d[i]);
		assert_int_equal(rundelay_take(&d[i]), 0);
		rundelay_close(&d[i]);
	}
}

static void nobody_has_no_count(void **state)
{
	struct rundelay d;

	(void)state;
	assert_int_equal(rundelay_open(getpid(), 0x3fffffff, &d), -ENOENT);
	assert_int_equal(d.fd, -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_came_since_is_taken_once),
		cmocka_unit_test(what_is_forgotten_is_never_taken),
		cmocka_unit_test(a_count_that_got_smaller_adds_nothing_and_goes_on_from_there),
		cmocka_unit_test(what_is_no_count_adds_nothing),
		cmocka_unit_test(who_shares_a_cpu_waits),
		cmocka_unit_test(nobody_has_no_count),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
