/* SPDX-License-Identifier: Apache-2.0 */
/* saver_test.c - a snapshot is written beside everything else, and whatever ends it - nobody wants
 * it any more, no room, SIGKILL - the file that was there is whole. */
#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <cmocka.h>

#include "../random.h"
#include "folder.h"
#include "kvm/bytes.h"
#include "move/saver.h"

enum { PAGE = 4096, SIZE = 40 << 20, MOST_US = 40000 };

/* All of it is noise or text, but for holes; by several threads. */
static struct guest_memory full(uint64_t seed)
{
	struct random random = {.state = seed};
	struct guest_memory m;

	assert_int_equal(memory_create(SIZE, &m, NULL), 0);
	for (size_t at = 0; at < SIZE; at += 8)
		if (at / PAGE % 64)
			put64(m.low + at, at / PAGE % 16 ? seed : random_next(&random));
	return m;
}

static struct vmstate_parts some_state(void)
{
	struct vmstate_parts p = {0};

	assert_int_equal(vmstate_parts_add(&p, VMSTATE_CLOCK, 1, 0, "clock", 5), 0);
	return p;
}

/* The file is a whole one of this memory. */
static bool holds(const char *path, const struct guest_memory *m)
{
	struct image_stats stats;
	struct guest_memory to;
	struct snapshot *s;
	struct why why;
	bool same;

	assert_int_equal(memory_create(SIZE, &to, NULL), 0);
	if (snapshot_open(path, &s, &why) < 0)
		fail_msg("%s", why.text);
	if (snapshot_memory(s, &to, &stats, &why) < 0)
		fail_msg("%s", why.text);
	same = memcmp(m->low, to.low, SIZE) == 0;
	snapshot_close(s);
	memory_destroy(&to);
	return same;
}

static struct saver *begin(const char *path, const struct guest_memory *m)
{
	struct vmstate_parts state = some_state();
	struct saver *s;

	assert_int_equal(saver_begin(path, &state, m, &s, NULL), 0);
	assert_int_equal(state.n, 0);
	return s;
}

static void wait_for(struct saver *s, enum saver_stage stage)
{
	struct pollfd p = {.fd = saver_fd(s), .events = POLLIN};
	uint64_t count;

	while (saver_stage(s) < stage) {
		assert_int_equal(poll(&p, 1, 60000), 1);
		assert_int_equal(read(p.fd, &count, sizeof(count)), sizeof(count));
	}
}

/* As soon as it says that it has read the memory, nothing that is done to it is in the file. */
static void the_memory_may_change_once_it_has_been_read(void **state)
{
	struct folder f = folder_new();
	struct guest_memory m = full(1), was = full(1);
	struct image_stats stats;
	struct saver *s;

	(void)state;
	s = begin(f.file, &m);
	wait_for(s, SAVER_WRITES);
	memset(m.low, 0x5a, SIZE);
	wait_for(s, SAVER_DONE);
	assert_int_equal(saver_end(s, &stats, NULL), 0);
	assert_int_equal(stats.pages, SIZE / PAGE);
	assert_int_equal(stats.zero_pages, SIZE / PAGE / 64);
	assert_true(holds(f.file, &was));
	memory_destroy(&m);
	memory_destroy(&was);
	folder_remove(&f);
}

/* One that has written all before it hears of it is too late to be given up. */
static void one_that_is_given_up_leaves_the_old_file(void **state)
{
	struct folder f = folder_new();
	struct guest_memory old = full(1), new = full(2);
	struct image_stats stats;
	struct saver *s;
	int given_up = 0;

	(void)state;
	assert_int_equal(saver_end(begin(f.file, &old), &stats, NULL), 0);
	for (int i = 0; i < 50 && given_up < 5; i++) {
		struct why why = {""};
		int result;

		s = begin(f.file, &new);
		saver_give_up(s);
		result = saver_end(s, &stats, &why);
		assert_int_equal(folder_count(&f), 1);
		assert_true(holds(f.file, result < 0 ? &old : &new));
		if (result == 0) {
			assert_int_equal(saver_end(begin(f.file, &old), &stats, NULL), 0);
			continue;
		}
		assert_int_equal(result, -ECANCELED);
		assert_non_null(strstr(why.text, "given up"));
		given_up++;
	}
	assert_int_equal(given_up, 5);
	memory_destroy(&old);
	memory_destroy(&new);
	folder_remove(&f);
}

static void what_cannot_be_written_says_why(void **state)
{
	struct guest_memory m = full(1);
	struct image_stats stats;
	struct why why;
	struct saver *s;

	(void)state;
	s = begin("/no/such/folder/a.vmt", &m);
	wait_for(s, SAVER_DONE);
	assert_int_equal(saver_end(s, &stats, &why), -ENOENT);
	assert_int_equal(strncmp(why.text, "/no/such/folder/a.vmt: ", 23), 0);
	memory_destroy(&m);
}

/* In a process of its own, which `spoil` does something to. */
static pid_t saves(const char *path, const struct guest_memory *m, void (*spoil)(void))
{
	pid_t child = fork();
	struct image_stats stats;

	if (child)
		return child;
	if (spoil)
		spoil();
	_exit(saver_end(begin(path, m), &stats, NULL) < 0 ? 2 : 0);
}

/* 1 MB: the file has more. */
static void limit(void)
{
	const struct rlimit bytes = {1000000, 1000000};

	signal(SIGXFSZ, SIG_IGN);
	(void)setrlimit(RLIMIT_FSIZE, &bytes);
}

static void one_that_may_not_become_so_long_leaves_the_old_file(void **state)
{
	struct folder f = folder_new();
	struct guest_memory old = full(1), new = full(2);
	int status;

	(void)state;
	assert_int_equal(waitpid(saves(f.file, &old, NULL), &status, 0) > 0 && status == 0, 1);
	assert_true(waitpid(saves(f.file, &new, limit), &status, 0) > 0);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 2);
	assert_int_equal(folder_count(&f), 1);
	assert_true(holds(f.file, &old));
	memory_destroy(&old);
	memory_destroy(&new);
	folder_remove(&f);
}

/* At any time, from before it has begun to after its end. */
static void who_is_killed_leaves_a_whole_file(void **state)
{
	struct random random = random_start();
	struct folder f = folder_new();
	struct guest_memory old = full(1), new = full(2);
	unsigned killed = 0;

	(void)state;
	for (int i = 0; i < 8; i++) {
		bool old_is_there;
		struct stat there;
		int status;
		pid_t child;

		if (i == 0 || !holds(f.file, &old))
			assert_true(waitpid(saves(f.file, &old, NULL), &status, 0) > 0 &&
				    status == 0);
		child = saves(f.file, &new, NULL);
		usleep(random_below(&random, i % 2 ? MOST_US : MOST_US / 10));
		kill(child, SIGKILL);
		assert_true(waitpid(child, &status, 0) > 0);
		killed += WIFSIGNALED(status);
		old_is_there = holds(f.file, &old);
		assert_true(old_is_there || holds(f.file, &new));
		assert_true(!WIFEXITED(status) || !old_is_there);
		/* What may be there as well has another name, and goes with the next save. */
		assert_true(folder_count(&f) == 1 || stat(f.partial, &there) == 0);
	}
	assert_true(killed > 0);
	memory_destroy(&old);
	memory_destroy(&new);
	folder_remove(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_memory_may_change_once_it_has_been_read),
		cmocka_unit_test(one_that_is_given_up_leaves_the_old_file),
		cmocka_unit_test(what_cannot_be_written_says_why),
		cmocka_unit_test(one_that_may_not_become_so_long_leaves_the_old_file),
		cmocka_unit_test(who_is_killed_leaves_a_whole_file),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
