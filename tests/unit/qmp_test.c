/* SPDX-License-Identifier: Apache-2.0 */
/* qmp_test.c - clients of a QMP server: several, slow ones, and those that leave. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "link/qmp.h"

static unsigned runs;

static json_t *count(void *owner, const json_t *arguments, struct why *why)
{
	(void)owner;
	(void)arguments;
	(void)why;
	return json_integer(++runs);
}

static json_t *later(void *owner, const json_t *arguments, struct why *why)
{
	(void)owner;
	(void)arguments;
	(void)why;
	return QMP_LATER;
}

static const struct qmp_command commands[] = {
	{"count", NULL, count}, {"later", NULL, later}, {NULL, NULL, NULL}};
static const struct qmp_config config = {.package = "test", .commands = commands};

static struct event_base *base;
static struct qmp *server;
static char dir[64], path[96];

static int set_up(void **state)
{
	(void)state;
	signal(SIGPIPE, SIG_IGN);
	strcpy(dir, "/tmp/qmp-test-XXXXXX");
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/qmp", dir);
	base = event_base_new();
	assert_int_equal(qmp_open(path, &config, base, &server, NULL), 0);
	runs = 0;
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	qmp_close(server);
	event_base_free(base);
	assert_int_equal(rmdir(dir), 0); /* the socket is gone */
	return 0;
}

static void turns(void)
{
	for (unsigned i = 0; i < 20; i++)
		event_base_loop(base, EVLOOP_NONBLOCK);
}

static int other_end; /* of the last client() */

static int client(void)
{
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
	assert_int_equal(qmp_add_client(server, pair[1]), 0);
	other_end = pair[1];
	turns();
	return pair[0];
}

static int connected(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);

	strcpy(address.sun_path, path);
	assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	turns();
	return fd;
}

static void tell(int fd, const char *text)
{
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	turns();
}

static bool at_end; /* hear() found the other side closed */

/* All that has come until now. */
static const char *hear(int fd)
{
	static char heard[8 << 20];
	size_t length = 0;
	ssize_t n;

	while ((n = read(fd, heard + length, sizeof(heard) - 1 - length)) > 0) {
		length += (size_t)n;
		turns();
	}
	at_end = n == 0;
	heard[length] = '\0';
	return heard;
}

static unsigned lines(const char *text)
{
	unsigned n = 0;

	while ((text = strstr(text, "\r\n"))) {
		text += 2;
		n++;
	}
	return n;
}

static int ready_client(void)
{
	int fd = client();

	tell(fd, "{\"execute\": \"qmp_capabilities\"}\n");
	assert_int_equal(lines(hear(fd)), 2);
	return fd;
}

#define COUNT "{\"execute\": \"count\"}"

/* With an answer of 120 bytes and more. */
#define FILL20 "01234567890123456789"
#define LONG_COUNT "{\"execute\": \"count\", \"id\": \"" FILL20 FILL20 FILL20 FILL20 FILL20 "\"}"

/* LONG_COUNT, so often; to be freed. */
static char *long_counts(unsigned n, size_t *ret_length)
{
	const size_t each = sizeof(LONG_COUNT) - 1;
	char *all = malloc(n * each + 1);

	for (unsigned i = 0; i < n; i++)
		strcpy(all + i * each, LONG_COUNT);
	*ret_length = n * each;
	return all;
}

static void a_client_is_greeted_and_answered(void **state)
{
	struct stat file;
	int fd = connected();

	(void)state;
	assert_int_equal(stat(path, &file), 0);
	assert_int_equal(file.st_mode, S_IFSOCK | 0600);
	assert_int_equal(strncmp(hear(fd), "{\"QMP\": ", 8), 0);
	tell(fd, "{\"execute\": \"qmp_capabilities\"}" COUNT);
	assert_string_equal(hear(fd), "{\"return\": {}}\r\n{\"return\": 1}\r\n");
	tell(fd, "{'execute': 'count', 'id': '\xc3\xa9'}");
	assert_string_equal(hear(fd), "{\"return\": 2, \"id\": \"\\u00E9\"}\r\n");
	close(fd);
}

static void each_negotiates_for_itself(void **state)
{
	int first = ready_client(), second = client();

	(void)state;
	hear(second);
	tell(second, COUNT);
	assert_non_null(strstr(hear(second), "CommandNotFound"));
	tell(first, COUNT);
	assert_string_equal(hear(first), "{\"return\": 1}\r\n");
	assert_string_equal(hear(second), "");
	close(first);
	turns();
	tell(second, "{\"execute\": \"qmp_capabilities\"}" COUNT);
	assert_string_equal(hear(second), "{\"return\": {}}\r\n{\"return\": 2}\r\n");
	close(second);
}

static void events_go_to_all_that_have_negotiated(void **state)
{
	int first = ready_client(), second = ready_client(), third = client();
	json_t *event, *stamp;

	(void)state;
	hear(third);
	qmp_event(server, "BELL", json_pack("{s:i}", "rung", 3));
	turns();
	assert_non_null(strstr(hear(second), "\"BELL\""));
	assert_string_equal(hear(third), "");
	event = json_loads(hear(first), 0, NULL);
	assert_int_equal(
		json_integer_value(json_object_get(json_object_get(event, "data"), "rung")), 3);
	stamp = json_object_get(event, "timestamp");
	assert_true(json_integer_value(json_object_get(stamp, "seconds")) > 1000000000);
	assert_in_range(json_integer_value(json_object_get(stamp, "microseconds")), 0, 999999);
	json_decref(event);
	qmp_event(server, "BARE", NULL);
	turns();
	assert_null(strstr(hear(first), "data"));
	qmp_event(NULL, "NOBODY", json_integer(1));
	close(first);
	close(second);
	close(third);
}

static void who_sends_much_gets_all_answers(void **state)
{
	enum { COMMANDS = 20000 };
	int fd = ready_client();
	size_t sent = 0, length;
	char *all = long_counts(COMMANDS, &length);
	unsigned answers = 0;

	(void)state;
	/* It does not read until it can send no more: the server takes no more either. */
	while (sent < length) {
		ssize_t n = write(fd, all + sent, length - sent);

		if (n > 0) {
			sent += (size_t)n;
			turns();
		} else {
			assert_true(runs < COMMANDS);
			answers += lines(hear(fd));
			assert_false(at_end);
		}
	}
	turns();
	answers += lines(hear(fd));
	assert_int_equal(answers, COMMANDS);
	assert_int_equal(runs, COMMANDS);
	free(all);
	close(fd);
}

static void who_never_reads_is_dropped_and_holds_nobody_up(void **state)
{
	int slow = ready_client(), other = ready_client();
	char *large = malloc(100001);

	(void)state;
	memset(large, 'x', 100000);
	large[100000] = '\0';
	for (unsigned i = 0; i < 30; i++) {
		qmp_event(server, "LARGE", json_string(large));
		turns();
		assert_int_equal(lines(hear(other)), 1);
	}
	tell(other, COUNT);
	assert_string_equal(hear(other), "{\"return\": 1}\r\n");
	assert_true(lines(hear(slow)) < 30);
	assert_true(at_end);
	free(large);
	close(slow);
	close(other);
}

static void who_has_sent_all_still_gets_answers(void **state)
{
	enum { COMMANDS = 300 };
	int fd = ready_client(), small = 1; /* the server's buffer will be full long before */
	size_t length;
	char *all = long_counts(COMMANDS, &length);

	(void)state;
	setsockopt(other_end, SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
	assert_int_equal(write(fd, all, length), length);
	shutdown(fd, SHUT_WR);
	turns();
	assert_int_equal(lines(hear(fd)), COMMANDS);
	assert_true(at_end);
	free(all);
	close(fd);
}

static void who_leaves_makes_room_for_the_next(void **state)
{
	int fds[QMP_CLIENTS_MAX], late;

	(void)state;
	for (unsigned i = 0; i < QMP_CLIENTS_MAX; i++) {
		fds[i] = connected();
		assert_int_equal(lines(hear(fds[i])), 1);
	}
	late = connected();
	assert_int_equal(lines(hear(late)), 0);
	assert_false(at_end);
	close(fds[3]);
	turns();
	assert_int_equal(lines(hear(late)), 1);
	for (unsigned i = 0; i < QMP_CLIENTS_MAX; i++)
		if (i != 3)
			close(fds[i]);
	close(late);
}

static void the_last_event_is_sent_before_the_end(void **state)
{
	int fd = ready_client();

	(void)state;
	qmp_event(server, "SHUTDOWN", NULL);
	qmp_close(server);
	server = NULL;
	assert_non_null(strstr(hear(fd), "SHUTDOWN"));
	close(fd);
}

static void a_place_that_is_taken_is_refused(void **state)
{
	struct qmp *second;
	struct why why;

	(void)state;
	assert_int_equal(qmp_open(path, &config, base, &second, &why), -EADDRINUSE);
	assert_int_equal(strncmp(why.text, "QMP socket /tmp/", 16), 0);
	close(connected());
}

/* The client's own commands keep their order, and events do not wait. */
static void an_answer_that_comes_later_holds_up_nobody_else(void **state)
{
	int fd = ready_client(), other = ready_client();

	(void)state;
	tell(fd, "{\"execute\": \"later\", \"id\": 7}" COUNT COUNT);
	assert_string_equal(hear(fd), "");
	tell(other, COUNT);
	assert_string_equal(hear(other), "{\"return\": 1}\r\n");
	tell(fd, COUNT);
	qmp_event(server, "BELL", NULL);
	turns();
	assert_non_null(strstr(hear(fd), "\"BELL\""));
	hear(other);
	qmp_answer(server, json_integer(5), NULL);
	turns();
	assert_string_equal(hear(fd), "{\"return\": 5, \"id\": 7}\r\n{\"return\": 2}\r\n"
				      "{\"return\": 3}\r\n{\"return\": 4}\r\n");
	tell(fd, "{\"execute\": \"later\"}");
	qmp_answer(server, NULL, &(struct why){"in vain"});
	turns();
	assert_string_equal(hear(fd), "{\"error\": {\"class\": \"GenericError\", "
				      "\"desc\": \"in vain\"}}\r\n");
	assert_string_equal(hear(other), "");
	close(fd);
	close(other);
}

static void who_waits_for_an_answer_may_have_sent_all_or_leave(void **state)
{
	int fd = ready_client(), other = ready_client();

	(void)state;
	tell(fd, "{\"execute\": \"later\", \"id\": \"x\"}" COUNT);
	shutdown(fd, SHUT_WR);
	turns();
	assert_string_equal(hear(fd), "");
	assert_false(at_end);
	qmp_answer(server, json_integer(5), NULL);
	turns();
	assert_string_equal(hear(fd), "{\"return\": 5, \"id\": \"x\"}\r\n{\"return\": 1}\r\n");
	assert_true(at_end);
	close(fd);
	tell(other, "{\"execute\": \"later\", \"id\": \"x\"}");
	close(other);
	turns();
	qmp_event(server, "BELL", NULL);
	turns();
	qmp_answer(server, json_integer(6), NULL);
	qmp_answer(NULL, json_integer(6), NULL);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_client_is_greeted_and_answered),
		TEST(each_negotiates_for_itself),
		TEST(events_go_to_all_that_have_negotiated),
		TEST(who_sends_much_gets_all_answers),
		TEST(who_never_reads_is_dropped_and_holds_nobody_up),
		TEST(who_has_sent_all_still_gets_answers),
		TEST(who_leaves_makes_room_for_the_next),
		TEST(an_answer_that_comes_later_holds_up_nobody_else),
		TEST(who_waits_for_an_answer_may_have_sent_all_or_leave),
		TEST(the_last_event_is_sent_before_the_end),
		TEST(a_place_that_is_taken_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
