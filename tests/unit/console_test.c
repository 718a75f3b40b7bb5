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
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "kvm/console.h"
#include "lacks.h"

struct fixture {
	char dir[64], path[96];
	struct event_base *base;
	struct console *console;
	/* The port: room for `room` bytes, which gathers what comes. */
	unsigned room, length, escapes;
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

static void escape(void *owner)
{
	((struct fixture *)owner)->escapes++;
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

	console_close(f->console, NULL);
	event_base_free(f->base);
	unlink(f->path);
	assert_int_equal(rmdir(f->dir), 0); /* nothing else was left */
	free(f);
	return 0;
}

static int open_as(struct fixture *f, enum console_kind kind, const char *path, struct why *why)
{
	struct console_config config = {.kind = kind, .path = path};
	struct console_port port = {
		.room = room, .input = input, .port = f, .escape = escape, .owner = f};

	return console_open(&config, f->base, &port, &f->console, why);
}

static void turn(struct fixture *f)
{
	event_base_loop(f->base, EVLOOP_NONBLOCK);
}

/* Long enough for the loop to look into the ring again. */
static void turns(struct fixture *f)
{
	for (unsigned i = 0; i < 10; i++) {
		usleep(1000);
		turn(f);
	}
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
	assert_int_equal(console_close(f->console, NULL), 0);
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
	assert_true(console_close(f->console, NULL) >= 1000);
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
	assert_true(console_close(f->console, NULL) > 1000000);
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
	console_close(f->console, NULL);
	f->console = NULL;
	assert_int_equal(access(f->path, F_OK), 0);
}

static void one_turn_writes_a_part_of_much(void **state)
{
	struct fixture *f = *state;
	static const uint8_t bytes[CONSOLE_RING];
	struct stat s;

	assert_int_equal(open_as(f, CONSOLE_FILE, f->path, NULL), 0);
	console_put(f->console, bytes, sizeof(bytes));
	usleep(10000);
	event_base_loop(f->base, EVLOOP_ONCE | EVLOOP_NONBLOCK);
	assert_int_equal(stat(f->path, &s), 0);
	assert_in_range(s.st_size, 1, sizeof(bytes) / 2);
	for (unsigned i = 0; i < 1000 && s.st_size < (off_t)sizeof(bytes); i++) {
		turn(f);
		assert_int_equal(stat(f->path, &s), 0);
	}
	assert_int_equal(s.st_size, sizeof(bytes));
}

/* It may be that of a machine which another host goes on running. */
static void a_file_is_kept_until_it_is_sure_that_there_will_be_output(void **state)
{
	struct fixture *f = *state;
	struct stat s;
	int fd = open(f->path, O_WRONLY | O_CREAT, 0600);

	assert_int_equal(write(fd, "precious", 8), 8);
	close(fd);
	assert_int_equal(open_as(f, CONSOLE_FILE, f->path, NULL), 0);
	turn(f);
	assert_int_equal(console_close(f->console, NULL), 0);
	assert_int_equal(stat(f->path, &s), 0);
	assert_int_equal(s.st_size, 8);
	assert_int_equal(open_as(f, CONSOLE_FILE, f->path, NULL), 0);
	console_empty(f->console);
	console_put(f->console, (const uint8_t *)"new", 3);
	assert_int_equal(console_close(f->console, NULL), 0);
	f->console = NULL;
	assert_int_equal(stat(f->path, &s), 0);
	assert_int_equal(s.st_size, 3);
	console_empty(NULL);
}

static void a_full_disk_is_told_at_the_end(void **state)
{
	struct fixture *f = *state;
	struct why why = {{0}};

	assert_int_equal(open_as(f, CONSOLE_FILE, "/dev/full", NULL), 0);
	console_put(f->console, (const uint8_t *)"first", 5);
	turn(f);
	console_put(f->console, (const uint8_t *)"second", 6);
	turn(f);
	assert_int_equal(console_close(f->console, &why), 11);
	f->console = NULL;
	assert_non_null(strstr(why.text, "/dev/full: No space left on device (11 bytes"));
}

/* In a process of its own, since standard streams are replaced: run(f) returns 0, or the line that
 * it fails in. */
static void in_child(struct fixture *f, int (*run)(struct fixture *f))
{
	pid_t child = fork();
	int status;

	if (child == 0) {
		alarm(60); /* ends what blocks */
		f->base = event_base_new();
		_exit(f->base ? run(f) : __LINE__);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

#define EXPECT(condition)                       \
	do {                                    \
		if (!(condition))               \
			return __LINE__ & 0xff; \
	} while (0)

/* Standard input on a terminal of our own, standard output a pipe without a reader. */
static int type_without_output(struct fixture *f)
{
	int terminal = posix_openpt(O_RDWR | O_NOCTTY), other, fds[2];
	struct termios before, after;
	struct why why = {{0}};
	char name[64];

	EXPECT(grantpt(terminal) == 0 && unlockpt(terminal) == 0);
	EXPECT(ptsname_r(terminal, name, sizeof(name)) == 0);
	EXPECT(setsid() >= 0);
	other = open(name, O_RDWR);
	EXPECT(other >= 0 && ioctl(other, TIOCSCTTY, 0) == 0 && pipe(fds) == 0);
	signal(SIGPIPE, SIG_IGN);
	dup2(other, STDIN_FILENO);
	dup2(fds[1], STDOUT_FILENO);
	close(fds[1]);
	tcgetattr(other, &before);
	EXPECT(open_as(f, CONSOLE_STDIO, NULL, NULL) == 0);
	close(fds[0]);
	for (unsigned i = 0; i < 3; i++) {
		console_put(f->console, (const uint8_t *)"out", 3);
		usleep(10000);
		turn(f);
	}
	EXPECT(write(terminal, "in\1x", 4) == 4);
	while (f->escapes == 0) { /* the kernel takes its time between both ends */
		turn(f);
		usleep(1000);
	}
	EXPECT(f->length == 2 && memcmp(f->bytes, "in", 2) == 0);
	EXPECT(f->escapes == 1);
	EXPECT(console_close(f->console, &why) == 9);
	EXPECT(why.text[0] == '\0'); /* who closes a pipe knows it */
	tcgetattr(other, &after);
	EXPECT(before.c_lflag == after.c_lflag);
	return 0;
}

static void without_output_the_terminal_is_still_read(void **state)
{
	in_child(*state, type_without_output);
}

/* Another user's pipe cannot be opened a second time, and this description of it blocks. */
static int fill_blocking_pipe(struct fixture *f)
{
	static uint8_t bytes[200000];
	size_t total = 0;
	int fds[2];

	EXPECT(pipe(fds) == 0 && seteuid(65534) == 0);
	dup2(fds[1], STDOUT_FILENO);
	close(STDIN_FILENO);
	EXPECT(open("/proc/self/fd/1", O_WRONLY) < 0);
	EXPECT(open_as(f, CONSOLE_STDIO, NULL, NULL) == 0);
	console_put(f->console, bytes, sizeof(bytes));
	turns(f);
	EXPECT((fcntl(STDOUT_FILENO, F_GETFL) & O_NONBLOCK) == 0); /* others have it, too */
	while (total < sizeof(bytes)) {
		ssize_t n = read(fds[0], bytes, sizeof(bytes));

		EXPECT(n > 0);
		total += (size_t)n;
		turns(f);
	}
	EXPECT(console_close(f->console, NULL) == 0);
	return 0;
}

static void a_pipe_that_blocks_holds_nobody_up(void **state)
{
	in_child(*state, fill_blocking_pipe);
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
		TEST(one_turn_writes_a_part_of_much),
		TEST(a_file_is_kept_until_it_is_sure_that_there_will_be_output),
		TEST(a_full_disk_is_told_at_the_end),
		TEST(without_output_the_terminal_is_still_read),
		unless(geteuid() ? "for root alone" : NULL,
		       (struct CMUnitTest)TEST(a_pipe_that_blocks_holds_nobody_up)),
	};

	return cmocka_run_group_tests_name("console", tests, NULL, NULL);
}
