/* SPDX-License-Identifier: Apache-2.0 */
/* address_test.c - a machine's way is written, listened at and connected to; who waits for a name
 * or an answer can be told to leave it. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <cmocka.h>

#include "folder.h"
#include "move/address.h"

#define LONG_NS UINT64_C(60000000000)
#define SHORT_NS UINT64_C(20000000)

static const bool nobody; /* gives up */

/* The resolver, in place of the C library's: "slow.example" is answered when a test says so,
 * "two.example" has an address where nobody listens before the one that is meant. */
static sem_t asked, answer;
static unsigned given, freed; /* atomic */

static struct addrinfo *new_found(int family, const char *host, const char *port,
				  struct addrinfo *next)
{
	struct addrinfo *found = calloc(1, sizeof(*found) + sizeof(struct sockaddr_in6));
	struct sockaddr_in6 *six = (struct sockaddr_in6 *)(found + 1);
	struct sockaddr_in *four = (struct sockaddr_in *)(found + 1);
	const uint16_t number = htons((uint16_t)atoi(port));

	found->ai_family = family;
	found->ai_addr = (struct sockaddr *)six;
	found->ai_next = next;
	if (family == AF_INET6) {
		*six = (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_port = number};
		inet_pton(AF_INET6, host, &six->sin6_addr);
		found->ai_addrlen = sizeof(*six);
	} else {
		*four = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = number};
		inet_pton(AF_INET, host, &four->sin_addr);
		found->ai_addrlen = sizeof(*four);
	}
	__atomic_fetch_add(&given, 1, __ATOMIC_SEQ_CST);
	return found;
}

void freeaddrinfo(struct addrinfo *found)
{
	while (found) {
		struct addrinfo *next = found->ai_next;

		free(found);
		found = next;
		__atomic_fetch_add(&freed, 1, __ATOMIC_SEQ_CST);
	}
}

int getaddrinfo(const char *host, const char *port, const struct addrinfo *hint,
		struct addrinfo **ret_found)
{
	struct in6_addr number;

	*ret_found = NULL;
	if (!host)
		*ret_found =
			new_found(AF_INET, "0.0.0.0", port, new_found(AF_INET6, "::", port, NULL));
	else if (inet_pton(AF_INET, host, &number) == 1)
		*ret_found = new_found(AF_INET, host, port, NULL);
	else if (inet_pton(AF_INET6, host, &number) == 1)
		*ret_found = new_found(AF_INET6, host, port, NULL);
	else if (hint->ai_flags & AI_NUMERICHOST)
		return EAI_NONAME;
	if (*ret_found)
		return 0;
	if (strcmp(host, "slow.example") == 0) {
		sem_post(&asked);
		sem_wait(&answer);
	} else if (strcmp(host, "two.example") == 0) {
		*ret_found = new_found(AF_INET, "127.0.0.1", "1",
				       new_found(AF_INET, "127.0.0.1", port, NULL));
		return 0;
	}
	*ret_found =
		strcmp(host, "none.example") ? new_found(AF_INET, "127.0.0.1", port, NULL) : NULL;
	return *ret_found ? 0 : EAI_NONAME;
}

static struct address at(const char *text)
{
	struct address a;
	struct why why;

	if (address_parse(text, &a, &why) < 0)
		fail_msg("%s", why.text);
	return a;
}

static void is_no_address(const char *text, const char *words)
{
	struct address a;
	struct why why;

	assert_int_equal(address_parse(text, &a, &why), -EINVAL);
	if (!strstr(why.text, words) || strchr(why.text, '\n'))
		fail_msg("\"%s\" is not in: %s", words, why.text);
}

static int listens(const char *text)
{
	struct address a = at(text);
	struct why why;
	int fd = address_listen(&a, &why);

	if (fd < 0)
		fail_msg("%s", why.text);
	assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
	assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	return fd;
}

/* At the port that one got which listens at port 0. */
static struct address same_port(int listener, const char *host)
{
	struct sockaddr_storage s;
	socklen_t size = sizeof(s);
	char text[64];

	assert_int_equal(getsockname(listener, (struct sockaddr *)&s, &size), 0);
	snprintf(text, sizeof(text), "tcp:%s:%d", host,
		 ntohs(((struct sockaddr_in *)&s)->sin_port));
	return at(text);
}

static void is_reached(int listener, const struct address *a)
{
	struct pollfd p = {.fd = listener, .events = POLLIN};
	struct why why;
	int fd = address_connect(a, LONG_NS, &nobody, &why), other;
	char byte;

	if (fd < 0)
		fail_msg("%s", why.text);
	assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
	assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	assert_int_equal(poll(&p, 1, -1), 1);
	other = accept(listener, NULL, NULL);
	assert_true(other >= 0);
	assert_int_equal(write(fd, "x", 1), 1);
	assert_int_equal(read(other, &byte, 1), 1);
	close(fd);
	close(other);
}

static void addresses_are_written_like_this(void **state)
{
	struct address a = at("tcp:host.example:4444");

	(void)state;
	assert_true(a.tcp);
	assert_string_equal(a.host, "host.example");
	assert_string_equal(a.port, "4444");
	a = at("tcp:[fe80::1%eth0]:0");
	assert_string_equal(a.host, "fe80::1%eth0");
	assert_string_equal(a.port, "0");
	a = at("tcp::65535");
	assert_string_equal(a.host, "");
	a = at("unix:/run/a:b");
	assert_false(a.tcp);
	assert_string_equal(a.path, "/run/a:b");
}

static void and_not_like_these(void **state)
{
	char path[128] = "unix:", host[300] = "tcp:";

	(void)state;
	memset(path + 5, 'p', 108);
	memset(host + 4, 'h', 256);
	strcpy(host + 260, ":1");
	is_no_address("", "give tcp:HOST:PORT or unix:PATH");
	is_no_address("host:1", "give tcp:HOST:PORT or unix:PATH");
	is_no_address("exec:cat", "give tcp:HOST:PORT or unix:PATH");
	is_no_address("tcp:host", "has no port");
	is_no_address("tcp:host:", "tcp:host:: \"\" is no port");
	is_no_address("tcp:host:http", "is no port");
	is_no_address("tcp:host:65536", "is no port");
	is_no_address("tcp:host:-1", "is no port");
	is_no_address("tcp:::1:4444", "brackets");
	is_no_address("tcp:[::1:4444", "bracket is not closed");
	is_no_address("tcp:[:4444", "bracket is not closed");
	is_no_address(host, "more than 255");
	is_no_address("unix:", "has no path");
	is_no_address(path, "108 bytes");
}

static void a_socket_of_this_host_is_reached(void **state)
{
	struct folder f = folder_new();
	char text[128];
	struct address a;
	struct stat s;
	int fd;

	(void)state;
	snprintf(text, sizeof(text), "unix:%s", f.file);
	a = at(text);
	fd = listens(text);
	assert_int_equal(stat(f.file, &s), 0);
	assert_int_equal(s.st_mode & 0777, 0600);
	is_reached(fd, &a);
	close(fd);
	/* One that its owner left behind is no obstacle. */
	fd = address_listen(&a, NULL);
	is_reached(fd, &a);
	close(fd);
	address_forget(&a);
	assert_int_equal(folder_count(&f), 0);
	folder_remove(&f);
}

static void what_is_somebody_elses_is_let_be(void **state)
{
	struct folder f = folder_new();
	struct address a;
	struct why why;
	char text[128];
	int fd;

	(void)state;
	snprintf(text, sizeof(text), "unix:%s", f.file);
	a = at(text);
	fd = listens(text);
	assert_int_equal(address_listen(&a, &why), -EADDRINUSE);
	assert_non_null(strstr(why.text, f.file));
	address_forget(&a);
	assert_int_equal(folder_count(&f), 1);
	close(fd);
	/* One that has bound the path anew, but does not listen yet, is not one that was left. */
	fd = address_listen(&a, &why);
	assert_int_equal(unlink(f.file), 0);
	folder_write(f.file, "text");
	address_forget(&a);
	assert_true(folder_holds(f.file, "text"));
	close(fd);
	folder_remove(&f);
}

static void a_port_is_reached_by_number_and_by_name(void **state)
{
	int fd = listens("tcp:127.0.0.1:0");
	struct address number = same_port(fd, "127.0.0.1"), name = same_port(fd, "name.example"),
		       none = same_port(fd, "");
	struct why why;

	(void)state;
	is_reached(fd, &number);
	is_reached(fd, &name);
	is_reached(fd, &none);
	assert_int_equal(address_listen(&number, &why), -EADDRINUSE);
	assert_non_null(strstr(why.text, "give another port"));
	close(fd);
	/* Connections that are over do not keep it. */
	fd = address_listen(&number, &why);
	assert_true(fd >= 0);
	close(fd);
}

static void without_a_host_all_addresses_are_listened_at(void **state)
{
	int fd = listens("tcp::0");
	struct address four = same_port(fd, "127.0.0.1"), six = same_port(fd, "[::1]");
	struct sockaddr_storage s;
	socklen_t size = sizeof(s);

	(void)state;
	is_reached(fd, &four);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&s, &size), 0);
	if (s.ss_family == AF_INET6)
		is_reached(fd, &six);
	close(fd);
}

static void the_next_address_of_a_name_is_tried(void **state)
{
	int fd = listens("tcp:127.0.0.1:0");
	struct address two = same_port(fd, "two.example");

	(void)state;
	is_reached(fd, &two);
	close(fd);
}

static void cannot_be_reached(const char *text, uint64_t patience_ns, int error, const char *words)
{
	struct address a = at(text);
	struct why why;

	assert_int_equal(address_connect(&a, patience_ns, &nobody, &why), error);
	if (!strstr(why.text, words) || strncmp(why.text, text, strlen(text)) != 0)
		fail_msg("\"%s\" is not in: %s", words, why.text);
}

static void why_nobody_is_reached_is_said(void **state)
{
	(void)state;
	cannot_be_reached("tcp:127.0.0.1:1", LONG_NS, -ECONNREFUSED, "nobody listens there");
	cannot_be_reached("unix:/nowhere/at/all", LONG_NS, -ENOENT, "nobody listens there");
	cannot_be_reached("unix:/dev/null", LONG_NS, -ECONNREFUSED, "is no socket");
	cannot_be_reached("tcp:none.example:1", LONG_NS, -EHOSTUNREACH, "this host knows");
	cannot_be_reached("tcp:slow.example:1", SHORT_NS, -ETIMEDOUT, "no answer");
	sem_post(&answer);
}

/* A queue that is full: of "unix:" nobody says when it no longer is; of "tcp:" the packets are not
 * answered. */
static void one_that_takes_nobody_is_left_when_patience_is_over(void **state)
{
	struct folder f = folder_new();
	struct address a;
	char text[128];
	int fd, others[16], n = 0;

	(void)state;
	snprintf(text, sizeof(text), "unix:%s", f.file);
	a = at(text);
	fd = address_listen(&a, NULL);
	while (n < 16 && (others[n] = address_connect(&a, SHORT_NS, &nobody, NULL)) >= 0)
		n++;
	assert_in_range(n, 1, 15);
	cannot_be_reached(text, SHORT_NS, -ETIMEDOUT, "no answer");
	while (n)
		close(others[--n]);
	close(fd);
	address_forget(&a);
	folder_remove(&f);
}

struct attempt {
	struct address address;
	bool give_up;
	int result;
};

static void *try(void *arg)
{
	struct attempt *t = arg;
	struct why why;

	t->result = address_connect(&t->address, UINT64_MAX, &t->give_up, &why);
	return NULL;
}

/* Its name is not known before long after nobody wants it any more. */
static void who_waits_for_a_name_can_be_told_to_leave_it(void **state)
{
	struct attempt t = {.address = at("tcp:slow.example:1")};
	pthread_t thread;

	(void)state;
	while (sem_trywait(&asked) == 0)
		;
	assert_int_equal(pthread_create(&thread, NULL, try, &t), 0);
	sem_wait(&asked);
	__atomic_store_n(&t.give_up, true, __ATOMIC_SEQ_CST);
	pthread_join(thread, NULL);
	assert_int_equal(t.result, -ECANCELED);
	sem_post(&answer);
}

static void what_was_looked_up_is_freed(void **state)
{
	(void)state;
	while (__atomic_load_n(&freed, __ATOMIC_SEQ_CST) !=
	       __atomic_load_n(&given, __ATOMIC_SEQ_CST))
		poll(NULL, 0, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(addresses_are_written_like_this),
		cmocka_unit_test(and_not_like_these),
		cmocka_unit_test(a_socket_of_this_host_is_reached),
		cmocka_unit_test(what_is_somebody_elses_is_let_be),
		cmocka_unit_test(a_port_is_reached_by_number_and_by_name),
		cmocka_unit_test(without_a_host_all_addresses_are_listened_at),
		cmocka_unit_test(the_next_address_of_a_name_is_tried),
		cmocka_unit_test(why_nobody_is_reached_is_said),
		cmocka_unit_test(one_that_takes_nobody_is_left_when_patience_is_over),
		cmocka_unit_test(who_waits_for_a_name_can_be_told_to_leave_it),
		cmocka_unit_test(what_was_looked_up_is_freed),
	};

	sem_init(&asked, 0, 0);
	sem_init(&answer, 0, 0);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
