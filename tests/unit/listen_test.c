/* SPDX-License-Identifier: Apache-2.0 */
/* listen_test.c - a socket of one's own, where nobody else's thing is. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "host/listen.h"

static char dir[64], path[96];
static struct listen_socket s;
static struct why why;

static int set_up(void **state)
{
	(void)state;
	strcpy(dir, "/tmp/listen-test-XXXXXX");
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/socket", dir);
	s.fd = -1;
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	listen_close(&s);
	assert_int_equal(rmdir(dir), 0); /* nothing was left */
	return 0;
}

static int open_here(void)
{
	return listen_open(path, "test socket", 1, &s, &why);
}

static int knock(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM, 0), result;

	strcpy(address.sun_path, path);
	result = connect(fd, (struct sockaddr *)&address, sizeof(address));
	close(fd);
	return result;
}

static void only_its_owner_may_connect(void **state)
{
	struct stat file;

	(void)state;
	assert_int_equal(open_here(), 0);
	assert_int_equal(stat(path, &file), 0);
	assert_int_equal(file.st_mode, S_IFSOCK | 0600);
	assert_int_equal(knock(), 0);
}

static void one_that_was_left_behind_is_replaced(void **state)
{
	int fd;

	(void)state;
	assert_int_equal(open_here(), 0);
	fd = s.fd;
	s.fd = -1;
	close(fd); /* as if killed */
	assert_int_equal(access(path, F_OK), 0);
	assert_int_equal(open_here(), 0);
	assert_int_equal(knock(), 0);
}

static void what_is_anothers_is_left_alone(void **state)
{
	struct listen_socket first;

	(void)state;
	assert_int_equal(open_here(), 0);
	first = s;
	assert_int_equal(open_here(), -EADDRINUSE);
	assert_non_null(strstr(why.text, path));
	assert_int_equal(s.fd, -1);
	s = first;
	assert_int_equal(knock(), 0);

	unlink(path);
	close(open(path, O_CREAT | O_WRONLY, 0600));
	listen_close(&s);
	assert_int_equal(access(path, F_OK), 0);
	assert_int_equal(open_here(), -EADDRINUSE);
	assert_non_null(strstr(why.text, "no socket"));
	assert_int_equal(unlink(path), 0);
}

static void datagrams_need_nobody_who_listens(void **state)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_DGRAM, 0);
	char buf[8];

	(void)state;
	strcpy(address.sun_path, path);
	assert_int_equal(open_here(), 0);
	close(s.fd); /* one of another kind, left behind */
	assert_int_equal(listen_datagrams(path, "test socket", &s, &why), 0);
	assert_int_equal(sendto(fd, "word", 5, 0, (struct sockaddr *)&address, sizeof(address)), 5);
	assert_int_equal(recv(s.fd, buf, sizeof(buf), 0), 5);
	close(fd);
}

static void impossible_paths_are_named(void **state)
{
	char nowhere[128], longer[200];

	(void)state;
	memset(longer, 'x', sizeof(longer) - 1);
	longer[sizeof(longer) - 1] = '\0';
	snprintf(nowhere, sizeof(nowhere), "%s/no/where", dir);
	assert_int_equal(listen_open(longer, "test socket", 1, &s, &why), -ENAMETOOLONG);
	assert_non_null(strstr(why.text, "199 bytes"));
	assert_int_equal(listen_open("", "test socket", 1, &s, &why), -ENAMETOOLONG);
	assert_int_equal(listen_open(nowhere, "test socket", 1, &s, &why), -ENOENT);
	assert_int_equal(strncmp(why.text, "test socket /tmp/", 17), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(only_its_owner_may_connect),     TEST(one_that_was_left_behind_is_replaced),
		TEST(what_is_anothers_is_left_alone), TEST(datagrams_need_nobody_who_listens),
		TEST(impossible_paths_are_named),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
