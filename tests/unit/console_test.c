/* SPDX-License-Identifier: Apache-2.0 */
/* console_test.c - bytes out and in, without anybody ever waiting for a reader. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "kvm/console.h"

struct fixture {
	char dir[64], path[96];
	struct event_base *base;
	struct console *console;
	/* The port: room for `room` bytes, which gathers what comes. */
	unsigned room, length;
	uint8_t bytes[256];
};

static unsigned room(void *port)
{
	return ((struct fixture *)port)->room;
}

static void input(void *port, const uint8_t *bytes, unsigned length)
{
	struct fixture *f = port;

	assert_true(length <= f->room && f->length + length <= sizeof(f->bytes));
	memcpy(f->bytes + f->length, bytes, length);
	f->length += length;
	f->room -= length;
}

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	strcpy(f->dir, "/tmp/console-test-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	snprintf(f->path, sizeof(f->path), "%s/console", f->dir);
	f->base = event_base_new();
	f->room = 16;
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	console_close(f->console);
	event_base_free(f->base);
	unlink(f->path);
	assert_int_equal(rmdir(f->dir), 0); /* nothing else was left */
	free(f);
	return 0;
}

static int open_as(struct fixture *f, enum console_kind kind, const char *path, struct why *why)
{
	struct console_config config = {.kind = kind, .path = path};
	struct console_port port = {.room = room, .input = input, .port = f};

	return console_open(&config, f->base, &port, &f->console, why);
}

static void turn(struct fixture *f)
{
	event_base_loop(f->base, EVLOOP_NONBLOCK);
}

static int client(const struct fixture *f)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);

	strcpy(address.sun_path, f->path);
	assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	return fd;
}

enum { PRODUCERS = 2, PIECES = 20000, PIECE = 16 };

static void *produce(void *arg)
{
	uint8_t piece[PIECE];

	memset(piece, 'x', sizeof(piece));
	for (unsigned i = 0; i < PIECES; i++)
		console_put(arg, piece, sizeof(piece));
	return NULL;
}

static void a_file_gets_every_byte(void **state)
{
	struct fixture *f = *state;
	pthread_t producers[PRODUCERS];
	struct stat s;

	assert_int_equal(open_as(f, CONSOLE_FILE, f->path, NULL), 0);
	for (unsigned i = 0; i < PRODUCERS; i++)
		pthread_create(&producers[i], NULL, produce, f->console);
	for (unsigned i = 0; i < 1000; i++)
		turn(f);
	for (unsigned i = 0; i < PRODUCERS; i++)
		pthread_join(producers[i], NULL);
	assert_int_equal(console_close(f->console), 0);
	f->console = NULL;
	assert_int_equal(stat(f->path, &s), 0);
	assert_int_equal(s.st_size, PRODUCERS * PIECES * PIECE);
}

static void who_comes_late_gets_the_newest(void **state)
{
	struct fixture *f = *state;
	static uint8_t bytes[CONSOLE_RING + 1000];
	uint8_t first;
	int fd;

	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(i % 251);
	assert_int_equal(open_as(f, CONSOLE_UNIX, f->path, NULL), 0);
	for (size_t i = 0; i < sizeof(bytes); i += 100)
		console_put(f->console, bytes + i,
			    sizeof(bytes) - i < 100 ? sizeof(bytes) - i : 100);
	turn(f);
	fd = client(f);
	turn(f);
	assert_int_equal(read(fd, &first, 1), 1);
	assert_int_equal(first, 1000 % 251); /* the oldest 1000 made room */
	close(fd);
	assert_true(console_close(f->console) >= 1000);
	f->console = NULL;
}

static void a_stalled_reader_holds_nobody_up(void **state)
{
	struct fixture *f = *state;
	static const uint8_t piece[1000];
	int fd;

	assert_int_equal(open_as(f, CONSOLE_UNIX, f->path, NULL), 0);
	fd = client(f);
	for (unsigned i = 0; i < 4000; i++) {
		console_put(f->console, piece, sizeof(piece));
		turn(f);
	}
	/* What the socket does not hold and the ring does not, is dropped. */
	assert_true(console_close(f->console) > 1000000);
	f->console = NULL;
	close(fd);
}

static void clients_come_and_go(void **state)
{
	struct fixture *f = *state;
	struct stat s;
	char text[8];
	int fd;

	assert_int_equal(open_as(f, CONSOLE_UNIX, f->path, NULL), 0);
	assert_int_equal(stat(f->path, &s), 0);
	assert_int_equal(s.st_mode & 0777, 0600);
	for (unsigned i = 0; i < 3; i++) {
		fd = client(f);
		turn(f);
		assert_int_equal(write(fd, "in", 2), 2);
		turn(f);
		assert_int_equal(f->length, 2 * (i + 1));
		console_put(f->console, (const uint8_t *)"out", 3);
		usleep(10000); /* the loop may look again some ms later only */
		turn(f);
		assert_int_equal(read(fd, text, sizeof(text)), 3);
		close(fd);
		turn(f);
	}
}

static void input_waits_for_room(void **state)
{
	struct fixture *f = *state;
	int fd;

	assert_int_equal(open_as(f, CONSOLE_UNIX, f->path, NULL), 0);
	fd = client(f);
	turn(f);
	assert_int_equal(write(fd, "0123456789abcdefghij", 20), 20);
	for (unsigned i = 0; i < 5; i++)
		turn(f);
	assert_int_equal(f->length, 16);
	f->room = 3;
	console_has_room(f->console);
	for (unsigned i = 0; i < 5; i++)
		turn(f);
	assert_int_equal(f->length, 19);
	f->room = 16;
	console_has_room(f->console);
	for (unsigned i = 0; i < 5; i++)
		turn(f);
	assert_memory_equal(f->bytes, "0123456789abcdefghij", 20);
	close(fd);
}

static void a_busy_socket_is_left_alone(void **state)
{
	struct fixture *f = *state, other = *f;
	struct why why;

	assert_int_equal(open_as(f, CONSOLE_UNIX, f->path, NULL), 0);
	assert_int_equal(open_as(&other, CONSOLE_UNIX, f->path, &why), -EADDRINUSE);
	assert_non_null(strstr(why.text, f->path));
	assert_int_equal(access(f->path, F_OK), 0);
	close(client(f)); /* still answers */
}

static void a_stale_socket_is_replaced(void **state)
{
	struct fixture *f = *state;
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	strcpy(address.sun_path, f->path);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	close(fd);
	assert_int_equal(open_as(f, CONSOLE_UNIX, f->path, NULL), 0);
	close(client(f));
}

static void what_is_no_socket_is_left_alone(void **state)
{
	struct fixture *f = *state;

	close(open(f->path, O_CREAT | O_WRONLY, 0600));
	assert_int_equal(open_as(f, CONSOLE_UNIX, f->path, NULL), -EADDRINUSE);
	assert_int_equal(access(f->path, F_OK), 0);
}

static void a_socket_that_became_anothers_is_not_removed(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(open_as(f, CONSOLE_UNIX, f->path, NULL), 0);
	unlink(f->path);
	close(open(f->path, O_CREAT | O_WRONLY, 0600));
	console_close(f->console);
	f->console = NULL;
	assert_int_equal(access(f->path, F_OK), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_file_gets_every_byte),
		TEST(who_comes_late_gets_the_newest),
		TEST(a_stalled_reader_holds_nobody_up),
		TEST(clients_come_and_go),
		TEST(input_waits_for_room),
		TEST(a_busy_socket_is_left_alone),
		TEST(a_stale_socket_is_replaced),
		TEST(what_is_no_socket_is_left_alone),
		TEST(a_socket_that_became_anothers_is_not_removed),
	};

	return cmocka_run_group_tests_name("console", tests, NULL, NULL);
}
