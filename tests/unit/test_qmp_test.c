/* SPDX-License-Identifier: Apache-2.0 */
/* test_qmp_test.c - a VMM that answers by a script, and what its client makes of that. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "cmd/test_qmp.h"

#define GREETING "{\"QMP\": {\"version\": {}, \"capabilities\": []}}\n"
#define DONE(id) "{\"return\": {}, \"id\": \"" id "\"}\n"

/* Says the first line to whoever connects, then one for each line that it is told; the last one
 * that is not NULL is its last word. */
struct vmm {
	char directory[32], path[48];
	const char *const *lines;
	char told[256];
	int listener;
	pthread_t thread;
};

static void *serve(void *arg)
{
	struct vmm *v = arg;
	int fd = accept(v->listener, NULL, NULL);
	size_t length = 0;

	for (const char *const *line = v->lines; fd >= 0 && *line; line++) {
		const size_t size = strlen(*line);
		ssize_t n = 1;

		while (line != v->lines && n == 1 && length < sizeof(v->told) - 1) {
			n = read(fd, v->told + length, 1);
			length += n == 1;
			if (n == 1 && v->told[length - 1] == '\n')
				break;
		}
		/* In two halves: a line comes as it comes. */
		if (n != 1 || write(fd, *line, size / 2) < 0 ||
		    write(fd, *line + size / 2, size - size / 2) < 0)
			break;
	}
	close(fd);
	return NULL;
}

static void start(struct vmm *v, const char *const *lines)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	*v = (struct vmm){.directory = "/tmp/vmtime-qmp.XXXXXX", .lines = lines};
	assert_non_null(mkdtemp(v->directory));
	snprintf(v->path, sizeof(v->path), "%s/qmp", v->directory);
	memcpy(address.sun_path, v->path, strlen(v->path));
	v->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_true(v->listener >= 0);
	assert_int_equal(bind(v->listener, (const struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(v->listener, 1), 0);
	assert_int_equal(pthread_create(&v->thread, NULL, serve, v), 0);
}

static void end(struct vmm *v)
{
	pthread_join(v->thread, NULL);
	close(v->listener);
	unlink(v->path);
	rmdir(v->directory);
}

static void start_and_open(struct vmm *v, const char *const *lines, struct test_qmp *q)
{
	start(v, lines);
	assert_int_equal(test_qmp_open(v->path, q, NULL), 0);
}

static void it_is_asked_one_thing_after_another(void **state)
{
	static const char *const lines[] = {GREETING, DONE("qmp_capabilities"), DONE("stop"),
					    DONE("cont"), NULL};
	struct test_qmp q;
	struct why why = {0};
	struct vmm v;

	(void)state;
	start_and_open(&v, lines, &q);
	assert_int_equal(test_qmp_do(&q, "stop", &why), 0);
	assert_int_equal(test_qmp_do(&q, "cont", &why), 0);
	test_qmp_close(&q);
	end(&v);
	assert_string_equal(v.told,
			    "{\"execute\": \"qmp_capabilities\", \"id\": \"qmp_capabilities\"}\n"
			    "{\"execute\": \"stop\", \"id\": \"stop\"}\n"
			    "{\"execute\": \"cont\", \"id\": \"cont\"}\n");
}

/* Nor is an event: QEMU's comes before the answer to what it is of. */
static void the_answer_of_another_is_none(void **state)
{
	static const char *const lines[] = {
		GREETING, DONE("qmp_capabilities"),
		"{\"event\": \"STOP\", \"timestamp\": {}}\n" DONE("cont") DONE("stop"), NULL};
	static const char *const only_events[] = {GREETING, DONE("qmp_capabilities"),
						  "{\"event\": \"STOP\"}\n" DONE("cont"), NULL};
	struct test_qmp q;
	struct why why = {0};
	struct vmm v;

	(void)state;
	start_and_open(&v, lines, &q);
	assert_int_equal(test_qmp_do(&q, "stop", &why), 0);
	test_qmp_close(&q);
	end(&v);
	start_and_open(&v, only_events, &q);
	assert_int_equal(test_qmp_do(&q, "stop", &why), -EPROTO);
	assert_non_null(strstr(why.text, "closed"));
	test_qmp_close(&q);
	end(&v);
}

static void arguments_are_given_and_what_returns_is_taken(void **state)
{
	static const char *const lines[] = {
		GREETING, DONE("qmp_capabilities"),
		"{\"return\": {\"status\": \"paused\"}, \"id\": \"query-status\"}\n", NULL};
	struct test_qmp q;
	struct why why = {0};
	json_t *returned = NULL;
	struct vmm v;

	(void)state;
	start_and_open(&v, lines, &q);
	assert_int_equal(test_qmp_ask(&q, "query-status", json_pack("{s:i}", "a", 1), 10000000000,
				      &returned, &why),
			 0);
	assert_string_equal(json_string_value(json_object_get(returned, "status")), "paused");
	json_decref(returned);
	test_qmp_close(&q);
	end(&v);
	assert_non_null(strstr(v.told, "\"arguments\": {\"a\": 1}"));
}

#define EVENT(name, data, s, us)                                                             \
	"{\"timestamp\": {\"seconds\": " s ", \"microseconds\": " us "}, \"event\": \"" name \
	"\", \"data\": " data "}\n"

static void events_tell_when_they_were(void **state)
{
	static const char *const lines[] = {
		GREETING, DONE("qmp_capabilities"),
		EVENT("MIGRATION", "{\"status\": \"active\"}", "90", "1")
			EVENT("STOP", "{}", "1795000000", "999999")
				EVENT("MIGRATION", "{\"status\": \"completed\"}", "1795000001", "7")
					DONE("stop"),
		EVENT("RESUME", "{}", "1795000002", "0") EVENT("SHUTDOWN", "{}", "95", "0")
			EVENT("STOP", "{}", "1795000003", "1") DONE("cont"),
		NULL};
	struct test_qmp q;
	struct vmm v;

	(void)state;
	start_and_open(&v, lines, &q);
	assert_int_equal(q.events.stop_ns, 0);
	assert_int_equal(test_qmp_do(&q, "stop", NULL), 0);
	assert_true(q.events.stop_ns == 1795000000999999000);
	assert_true(q.events.completed_ns == 1795000001000007000);
	assert_int_equal(q.events.resume_ns, 0);
	assert_int_equal(test_qmp_do(&q, "cont", NULL), 0);
	assert_true(q.events.resume_ns == 1795000002000000000);
	assert_true(q.events.stop_ns == 1795000003000001000);
	assert_int_equal(q.events.stood_ns, 1000001000); /* the first STOP's */
	test_qmp_close(&q);
	end(&v);
}

static void patience_ends(void **state)
{
	static const char *const lines[] = {GREETING, DONE("qmp_capabilities"), "{}\n", "", NULL};
	struct test_qmp q;
	struct why why = {0};
	struct vmm v;

	(void)state;
	start_and_open(&v, lines, &q);
	assert_int_equal(test_qmp_ask(&q, "stop", NULL, 30000000, NULL, &why), -ETIMEDOUT);
	test_qmp_close(&q);
	end(&v);
}

static void a_refusal_is_named(void **state)
{
	static const char *const refusals[] = {
		"{\"error\": {\"class\": \"GenericError\", \"desc\": \"no\"}, \"id\": \"stop\"}\n",
		"stop? {\n"};

	(void)state;
	for (size_t i = 0; i < sizeof(refusals) / sizeof(refusals[0]); i++) {
		const char *const lines[] = {GREETING, DONE("qmp_capabilities"), refusals[i], NULL};
		struct test_qmp q;
		struct why why = {0};
		struct vmm v;

		start(&v, lines);
		assert_int_equal(test_qmp_open(v.path, &q, &why), 0);
		assert_int_equal(test_qmp_do(&q, "stop", &why), -EPROTO);
		assert_non_null(strstr(why.text, "refuses QMP's stop"));
		assert_true((strstr(why.text, "stop: no") != NULL) == (i == 0));
		test_qmp_close(&q);
		end(&v);
	}
}

static void what_does_not_greet_is_not_opened(void **state)
{
	static const char *const lines[] = {DONE("qmp_capabilities"), NULL};
	struct test_qmp q;
	struct why why = {0};
	struct vmm v;

	(void)state;
	start(&v, lines);
	assert_int_equal(test_qmp_open(v.path, &q, &why), -EPROTO);
	assert_int_equal(q.fd, -1);
	end(&v);
	assert_int_equal(test_qmp_open("/nowhere/qmp", &q, &why), -ENOENT);
	assert_non_null(strstr(why.text, "cannot connect"));
	assert_int_equal(q.fd, -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(it_is_asked_one_thing_after_another),
		cmocka_unit_test(the_answer_of_another_is_none),
		cmocka_unit_test(arguments_are_given_and_what_returns_is_taken),
		cmocka_unit_test(events_tell_when_they_were),
		cmocka_unit_test(patience_ends),
		cmocka_unit_test(a_refusal_is_named),
		cmocka_unit_test(what_does_not_greet_is_not_opened),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
