/* SPDX-License-Identifier: Apache-2.0 */
/* cputime_test.c - a process that works is seen to, one that waits is not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "host/cputime.h"

static volatile uint64_t work;

/* Some turns, then a rest, which brings the scheduler's count up to date. */
static void *be_busy(void *arg)
{
	for (int i = 0; i < 20000000; i++)
		work++;
	usleep(1000);
	return arg;
}

static uint64_t read_own(pid_t helper)
{
	uint64_t ns = 0;

	assert_int_equal(cputime_read(getpid(), helper, &ns), 0);
	return ns;
}

static void work_is_seen(void **state)
{
	uint64_t before = read_own(0);

	(void)state;
	be_busy(NULL);
	assert_true(read_own(0) > before);
}

static void *be_busy_and_wait(void *arg)
{
	be_busy(NULL);
	(void)!write(((int *)arg)[1], "x", 1);
	pause();
	return NULL;
}

static void other_threads_work_for_the_process(void **state)
{
	uint64_t before = read_own(0);
	int done[2];
	pthread_t thread;
	char c;

	(void)state;
	assert_int_equal(pipe(done), 0);
	assert_int_equal(pthread_create(&thread, NULL, be_busy_and_wait, done), 0);
	assert_int_equal(read(done[0], &c, 1), 1);
	assert_true(read_own(0) > before);
	pthread_cancel(thread);
	pthread_join(thread, NULL);
}

static void a_helper_works_for_it_too(void **state)
{
	int done[2];
	uint64_t alone, both;
	pid_t child;
	char c;

	(void)state;
	assert_int_equal(pipe(done), 0);
	child = fork();
	if (child == 0)
		be_busy_and_wait(done);
	assert_int_equal(read(done[0], &c, 1), 1);
	alone = read_own(0);
	both = read_own(child);
	assert_true(both > alone);
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
}

static void who_is_not_there_is_said(void **state)
{
	uint64_t ns;

	(void)state;
	assert_int_equal(cputime_read(0x7ffffffe, 0, &ns), -ENOENT);
	assert_int_equal(cputime_kvm_pit(getpid()), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(work_is_seen),
		cmocka_unit_test(other_threads_work_for_the_process),
		cmocka_unit_test(a_helper_works_for_it_too),
		cmocka_unit_test(who_is_not_there_is_said),
	};
	uint64_t ns;

	if (cputime_read(getpid(), 0, &ns) < 0) /* a kernel that counts no such thing */
		return 77;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
