/* SPDX-License-Identifier: Apache-2.0 */
/* file_test.c - a file is replaced whole or not at all, whatever fails and whoever is killed. */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <cmocka.h>

#include "folder.h"
#include "move/file.h"

/* The kernel, which fails at the n-th call that changes anything. */
static struct {
	int fails_at; /* 0: never */
	int calls;
	bool no_tmpfile; /* a file system without unnamed files */
	bool no_locks;   /* ... or without locks */
} kernel;

static bool fails(void)
{
	if (!kernel.fails_at || ++kernel.calls != kernel.fails_at)
		return false;
	errno = EIO;
	return true;
}

/* In place of the C library's. */
int open(const char *path, int flags, ...)
{
	va_list args;
	mode_t mode;

	va_start(args, flags);
	mode = va_arg(args, mode_t);
	va_end(args);
	if ((flags & O_TMPFILE) == O_TMPFILE && kernel.no_tmpfile) {
		errno = EOPNOTSUPP;
		return -1;
	}
	return flags & O_CREAT && fails() ? -1
					  : (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}

ssize_t write(int fd, const void *bytes, size_t count)
{
	return fails() ? -1 : syscall(SYS_write, fd, bytes, count > 3 ? 3 : count);
}

int flock(int fd, int operation)
{
	if (!kernel.no_locks)
		return (int)syscall(SYS_flock, fd, operation);
	errno = ENOLCK;
	return -1;
}

int fsync(int fd)
{
	return fails() ? -1 : (int)syscall(SYS_fsync, fd);
}

int linkat(int from_fd, const char *from, int to_fd, const char *to, int flags)
{
	return fails() ? -1 : (int)syscall(SYS_linkat, from_fd, from, to_fd, to, flags);
}

int rename(const char *from, const char *to)
{
	return fails() ? -1 : (int)syscall(SYS_rename, from, to);
}

static int put(struct file_new *f, const char *text)
{
	struct stream_sink sink = file_sink(f);

	return sink.put(sink.to, text, strlen(text));
}

static int replace(const struct folder *f, const char *text, struct why *why)
{
	struct file_new new;
	int result = file_create(f->file, &new, why);

	if (result < 0)
		return result;
	result = put(&new, text);
	if (result == 0)
		return file_commit(&new, why);
	file_discard(&new);
	return result;
}

/* Of a file that is not yet whole, where unnamed ones are: none. */
static int names_of_new(const struct folder *f)
{
	int fd = open(f->path, O_TMPFILE | O_WRONLY, 0600);

	if (fd < 0)
		return 1;
	close(fd);
	return 0;
}

static void both_ways(void (*story)(void))
{
	for (int i = 0; i < 2; i++) {
		memset(&kernel, 0, sizeof(kernel));
		kernel.no_tmpfile = i;
		story();
	}
	memset(&kernel, 0, sizeof(kernel));
}

static void replaced(void)
{
	struct folder f = folder_new();
	struct stat there;

	assert_int_equal(replace(&f, "first", NULL), 0);
	assert_true(folder_holds(f.file, "first"));
	assert_int_equal(replace(&f, "second", NULL), 0);
	assert_true(folder_holds(f.file, "second"));
	assert_int_equal(folder_count(&f), 1);
	assert_int_equal(stat(f.file, &there), 0);
	assert_int_equal(there.st_mode & 07777, 0600);
	folder_remove(&f);
}

static void a_new_file_takes_the_place_of_the_old(void **state)
{
	(void)state;
	both_ways(replaced);
}

static void nothing_until_commit(void)
{
	struct folder f = folder_new();
	struct file_new new;

	folder_write(f.file, "old");
	assert_int_equal(file_create(f.file, &new, NULL), 0);
	assert_int_equal(put(&new, "new"), 0);
	assert_true(folder_holds(f.file, "old"));
	assert_int_equal(folder_count(&f), 1 + names_of_new(&f));
	file_discard(&new);
	assert_true(folder_holds(f.file, "old"));
	assert_int_equal(folder_count(&f), 1);
	folder_remove(&f);
}

static void until_it_is_whole_the_old_one_is_there(void **state)
{
	(void)state;
	both_ways(nothing_until_commit);
}

static void every_call_fails_once(void)
{
	struct folder f = folder_new();
	struct why why;
	int failed = 0;

	for (kernel.fails_at = 1;; kernel.fails_at++) {
		folder_write(f.file, "old");
		kernel.calls = 0;
		why.text[0] = '\0';
		if (replace(&f, "0123456789", &why) == 0)
			break;
		failed++;
		/* the very last call brings the name to the disk */
		assert_true(folder_holds(f.file, "old") || folder_holds(f.file, "0123456789"));
		assert_int_equal(folder_count(&f), 1);
	}
	assert_true(folder_holds(f.file, "0123456789"));
	assert_true(failed >= 7); /* 4 writes, fsync, rename, fsync of the folder */
	folder_remove(&f);
}

static void whatever_call_fails_the_old_one_is_whole_and_nothing_is_left(void **state)
{
	(void)state;
	both_ways(every_call_fails_once);
}

static void a_full_disk(void)
{
	struct rlimit before, little;
	struct folder f = folder_new();
	struct file_new new;

	folder_write(f.file, "old");
	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
	little = (struct rlimit){7, before.rlim_max};
	assert_int_equal(file_create(f.file, &new, NULL), 0);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &little), 0);
	assert_int_equal(put(&new, "0123456789"), -EFBIG);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
	file_discard(&new);
	assert_true(folder_holds(f.file, "old"));
	assert_int_equal(folder_count(&f), 1);
	folder_remove(&f);
}

static void a_file_that_finds_no_room_leaves_the_old_one(void **state)
{
	(void)state;
	both_ways(a_full_disk);
}

/* A child that is killed in the middle of it. */
static void killed_while_writing(const struct folder *f)
{
	pid_t child = fork();
	int status;

	if (child == 0) {
		struct file_new new;

		if (file_create(f->file, &new, NULL) || put(&new, "half"))
			_exit(1);
		raise(SIGKILL);
	}
	assert_true(child > 0);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFSIGNALED(status));
}

static void killed(void)
{
	struct folder f = folder_new();

	folder_write(f.file, "old");
	killed_while_writing(&f);
	assert_true(folder_holds(f.file, "old"));
	assert_int_equal(folder_count(&f), 1 + names_of_new(&f));
	assert_int_equal(replace(&f, "new", NULL), 0);
	assert_true(folder_holds(f.file, "new"));
	assert_int_equal(folder_count(&f), 1);
	folder_remove(&f);
}

static void who_is_killed_leaves_nothing_that_the_next_one_does_not_remove(void **state)
{
	(void)state;
	both_ways(killed);
}

/* Killed between its two names: the next one finds it and takes it away. */
static void a_partial_file_that_was_left_is_no_obstacle(void **state)
{
	struct folder f = folder_new();

	(void)state;
	folder_write(f.file, "old");
	folder_write(f.partial, "left by somebody");
	assert_int_equal(replace(&f, "new", NULL), 0);
	assert_true(folder_holds(f.file, "new"));
	assert_int_equal(folder_count(&f), 1);
	folder_remove(&f);
}

static void two_writers_do_not_meet(void **state)
{
	struct folder f = folder_new();
	struct file_new first, second;
	struct why why;

	(void)state;
	kernel.no_tmpfile = true;
	assert_int_equal(file_create(f.file, &first, NULL), 0);
	assert_int_equal(file_create(f.file, &second, &why), -EBUSY);
	assert_non_null(strstr(why.text, "somebody else is writing it"));
	assert_int_equal(put(&first, "first"), 0);
	assert_int_equal(file_commit(&first, NULL), 0);
	assert_true(folder_holds(f.file, "first"));
	assert_int_equal(folder_count(&f), 1);
	kernel.no_tmpfile = false;
	folder_remove(&f);
}

static void where_nothing_can_be_locked_nothing_is_left(void **state)
{
	struct folder f = folder_new();
	struct file_new new;
	struct why why;

	(void)state;
	folder_write(f.file, "old");
	kernel.no_tmpfile = kernel.no_locks = true;
	assert_int_equal(file_create(f.file, &new, &why), -ENOLCK);
	kernel.no_tmpfile = kernel.no_locks = false;
	assert_true(folder_holds(f.file, "old"));
	assert_int_equal(folder_count(&f), 1);
	folder_remove(&f);
}

static void what_is_no_regular_file_is_refused(void **state)
{
	static const char *const paths[] = {"/dev/full", "/tmp", "/proc/no/such/folder/a.vmt"};
	struct folder f = folder_new();
	struct file_new new;
	struct why why;

	(void)state;
	for (int i = 0; i < 3; i++) {
		assert_true(file_create(paths[i], &new, &why) < 0);
		assert_int_equal(strncmp(why.text, paths[i], strlen(paths[i])), 0);
		if (i < 2)
			assert_int_equal(file_open(paths[i], &why), -EINVAL);
	}
	assert_int_equal(symlink("nowhere", f.file), 0);
	assert_int_equal(file_create(f.file, &new, &why), -EINVAL);
	assert_non_null(strstr(why.text, "symbolic link to nothing"));
	assert_int_equal(unlink(f.file), 0);
	assert_int_equal(mkfifo(f.file, 0600), 0);
	assert_int_equal(file_create(f.file, &new, &why), -EINVAL);
	assert_int_equal(file_open(f.file, &why), -EINVAL);
	folder_remove(&f);
}

static void behind_a_link_the_file_is_replaced_and_not_the_link(void **state)
{
	struct folder f = folder_new();
	struct stat there;
	char link[96];

	(void)state;
	folder_write(f.file, "old");
	snprintf(link, sizeof(link), "%s/link", f.path);
	assert_int_equal(symlink("a.vmt", link), 0);
	struct folder behind = f;
	strcpy(behind.file, link);
	assert_int_equal(replace(&behind, "new", NULL), 0);
	assert_true(folder_holds(f.file, "new"));
	assert_int_equal(lstat(link, &there), 0);
	assert_true(S_ISLNK(there.st_mode));
	assert_int_equal(unlink(link), 0);
	folder_remove(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_new_file_takes_the_place_of_the_old),
		cmocka_unit_test(until_it_is_whole_the_old_one_is_there),
		cmocka_unit_test(whatever_call_fails_the_old_one_is_whole_and_nothing_is_left),
		cmocka_unit_test(a_file_that_finds_no_room_leaves_the_old_one),
		cmocka_unit_test(who_is_killed_leaves_nothing_that_the_next_one_does_not_remove),
		cmocka_unit_test(a_partial_file_that_was_left_is_no_obstacle),
		cmocka_unit_test(two_writers_do_not_meet),
		cmocka_unit_test(where_nothing_can_be_locked_nothing_is_left),
		cmocka_unit_test(what_is_no_regular_file_is_refused),
		cmocka_unit_test(behind_a_link_the_file_is_replaced_and_not_the_link),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
