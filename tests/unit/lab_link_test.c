/* SPDX-License-Identifier: Apache-2.0 */
/* lab_link_test.c - the cable between two labs, whichever is there first, and for how long. */
#include <errno.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "../../lab/protocol.h"
#include "cmd/lab.h"

static char dir[64];
static struct lab_link left, right;
static struct why why;

static int set_up(void **state)
{
	(void)state;
	strcpy(dir, "/tmp/link-test-XXXXXX");
	assert_non_null(mkdtemp(dir));
	assert_int_equal(chdir(dir), 0);
	assert_int_equal(lab_link_parse("left,right", &left, &why), 0);
	assert_int_equal(lab_link_parse("right,left", &right, &why), 0);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	lab_link_close(&left);
	lab_link_close(&right);
	assert_int_equal(chdir("/"), 0);
	assert_int_equal(rmdir(dir), 0); /* nothing was left */
	return 0;
}

static void begin(struct lab_link *link)
{
	assert_int_equal(lab_link_open(link, &why), 0);
}

/* As if killed: the socket's file stays. */
static void die(struct lab_link *link)
{
	close(link->socket.fd);
	link->socket.fd = -1;
}

static int say(const struct lab_link *link, const char *word)
{
	return send(link->socket.fd, word, strlen(word) + 1, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

static void assert_heard(const struct lab_link *link, const char *word)
{
	char buf[64] = "";

	assert_int_equal(recv(link->socket.fd, buf, sizeof(buf), 0), strlen(word) + 1);
	assert_string_equal(buf, word);
}

static void assert_silent(const struct lab_link *link)
{
	char buf[64];

	assert_int_equal(recv(link->socket.fd, buf, sizeof(buf), 0), -1);
	assert_int_equal(errno, EAGAIN);
}

static void frames_go_both_ways_whichever_is_there_first(void **state)
{
	struct lab_link *const ends[] = {&left, &right};

	(void)state;
	for (int i = 0; i < 2; i++) {
		struct lab_link *first = ends[i], *second = ends[1 - i];

		begin(first);
		assert_false(lab_link_reach(first));
		assert_int_equal(say(first, "lost"), -ENOTCONN);
		begin(second);
		assert_true(lab_link_reach(second));
		assert_int_equal(say(second, "one"), 0);
		assert_heard(first, "one");
		assert_true(lab_link_reach(first));
		assert_true(lab_link_reach(first)); /* again and again */
		assert_int_equal(say(first, "two"), 0);
		assert_heard(second, "two");
		lab_link_close(first);
		lab_link_close(second);
	}
}

static void an_end_that_was_killed_is_replaced(void **state)
{
	(void)state;
	begin(&left);
	begin(&right);
	assert_true(lab_link_reach(&left) && lab_link_reach(&right));
	die(&right);
	assert_false(lab_link_reach(&left));
	begin(&right);
	assert_true(lab_link_reach(&left) && lab_link_reach(&right));
	assert_int_equal(say(&right, "here again"), 0);
	assert_heard(&left, "here again");
	assert_int_equal(say(&left, "good"), 0);
	assert_heard(&right, "good");
}

static void nobody_else_gets_in(void **state)
{
	struct lab_link third;
	struct stat file;

	(void)state;
	begin(&left);
	begin(&right);
	assert_int_equal(stat("left", &file), 0);
	assert_int_equal(file.st_mode, S_IFSOCK | 0600);
	assert_true(lab_link_reach(&left) && lab_link_reach(&right));
	assert_int_equal(lab_link_parse("third,left", &third, &why), 0);
	begin(&third);
	assert_false(lab_link_reach(&third));
	lab_link_close(&third);
	assert_silent(&left);

	assert_int_equal(lab_link_parse("left,third", &third, &why), 0);
	assert_int_equal(lab_link_open(&third, &why), -EADDRINUSE);
	assert_non_null(strstr(why.text, "in use"));
}

static void both_ends_agree_which_is_which(void **state)
{
	struct lab_link link;
	char text[200];

	(void)state;
	assert_int_equal(left.end, 1);
	assert_int_equal(right.end, 2);
	assert_string_equal(left.here, right.there);
	assert_string_equal(left.there, right.here);
	snprintf(text, sizeof(text), "%s/../%s/right,./left", dir, strrchr(dir, '/') + 1);
	assert_int_equal(lab_link_parse(text, &link, &why), 0);
	assert_string_equal(link.here, right.here);
	assert_string_equal(link.there, right.there);
	assert_int_equal(link.end, 2);
	assert_int_equal(lab_link_parse("/left,/right", &link, &why), 0);
	assert_string_equal(link.here, "/left");
}

static void assert_refused(const char *text, int error, const char *word)
{
	struct lab_link link;

	assert_int_equal(lab_link_parse(text, &link, &why), error);
	assert_non_null(strstr(why.text, word));
}

static void what_is_no_link_is_named(void **state)
{
	char text[PATH_MAX + 200];

	(void)state;
	assert_refused("", -EINVAL, "such as");
	assert_refused("left", -EINVAL, "such as");
	assert_refused("left,", -EINVAL, "such as");
	assert_refused(",right", -EINVAL, "such as");
	assert_refused("left/,right", -EINVAL, "such as");
	assert_refused("left,right,third", -EINVAL, "more than two");
	assert_refused("left,./left", -EINVAL, "same socket");
	assert_refused("no/left,right", -ENOENT, "the folder of no/left: No such file");
	memset(text, 'x', sizeof(text));
	strcpy(text + 108, ",right");
	assert_refused(text, -ENAMETOOLONG, "107 bytes");
	memset(text, 'x', sizeof(text));
	strcpy(text + PATH_MAX, ",right");
	assert_refused(text, -EINVAL, "such as");
}

/* How often a job has this variable with this value. */
static unsigned has_variable(struct lab_link *link, const char *variable, uint32_t *ret_end)
{
	struct lab_options options = LAB_OPTIONS_DEFAULT;
	char word[] = "true", *argv[] = {word, NULL};
	struct lab_job head;
	size_t size, n = 0;
	uint8_t *job;

	options.link = link;
	job = lab_job_create(&options, argv, &size, &why);
	assert_non_null(job);
	memcpy(&head, job + sizeof(struct lab_frame), sizeof(head));
	*ret_end = head.link;
	for (size_t at = sizeof(struct lab_frame) + sizeof(head); at < size;
	     at += strlen((char *)job + at) + 1)
		n += strncmp((char *)job + at, variable, strlen(variable)) == 0;
	free(job);
	return (unsigned)n;
}

static void the_command_is_told_both_addresses(void **state)
{
	uint32_t end;

	(void)state;
	setenv("VMTIME_LAB_THERE", "of a lab around this one", 1);
	assert_int_equal(has_variable(&left, "VMTIME_LAB_HERE=169.254.77.1", &end), 1);
	assert_int_equal(end, 1);
	assert_int_equal(has_variable(&left, "VMTIME_LAB_THERE=169.254.77.2", &end), 1);
	assert_int_equal(has_variable(&left, "VMTIME_LAB_THERE=", &end), 1);
	assert_int_equal(has_variable(&right, "VMTIME_LAB_HERE=169.254.77.2", &end), 1);
	assert_int_equal(end, 2);
	assert_int_equal(has_variable(NULL, "VMTIME_LAB_", &end), 0);
	assert_int_equal(end, 0);
	unsetenv("VMTIME_LAB_THERE");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(frames_go_both_ways_whichever_is_there_first),
		TEST(an_end_that_was_killed_is_replaced),
		TEST(nobody_else_gets_in),
		TEST(both_ends_agree_which_is_which),
		TEST(what_is_no_link_is_named),
		TEST(the_command_is_told_both_addresses),
	};

	return cmocka_run_group_tests_name("lab_link", tests, NULL, NULL);
}
