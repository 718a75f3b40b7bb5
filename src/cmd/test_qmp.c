/* SPDX-License-Identifier: Apache-2.0 */
/* test_qmp.c - a client of QMP that asks one thing at a time. */
#include <errno.h>
#include <jansson.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "cmd/test_qmp.h"
#include "host/hostclock.h"

enum { STEP_MS = 20 };

static const uint64_t patience_ns = 10000000000;

/* What a line is: 1 the answer of the command of this name, or with NULL the greeting; 0 something
 * else; -EPROTO an error, or no JSON. */
static int answers(const json_t *root, const char *command)
{
	const char *id = json_string_value(json_object_get(root, "id"));

	if (!root || (command && json_object_get(root, "error")))
		return -EPROTO;
	if (!command)
		return json_object_get(root, "QMP") != NULL;
	return json_object_get(root, "return") && id && strcmp(id, command) == 0;
}

/* Remembers when one of those was that are asked for.  A STOP counts until its RESUME. */
static void note(struct test_qmp_events *events, const json_t *root)
{
	const char *name = json_string_value(json_object_get(root, "event"));
	const json_t *when = json_object_get(root, "timestamp");
	const char *status =
		json_string_value(json_object_get(json_object_get(root, "data"), "status"));
	const int64_t ns = json_integer_value(json_object_get(when, "seconds")) * 1000000000 +
			   json_integer_value(json_object_get(when, "microseconds")) * 1000;

	if (!name)
		return;
	if (strcmp(name, "STOP") == 0) {
		events->stop_ns = ns;
	} else if (strcmp(name, "RESUME") == 0) {
		events->stood_ns += events->stop_ns ? ns - events->stop_ns : 0;
		events->stop_ns = 0;
		events->resume_ns = ns;
	} else if (strcmp(name, "MIGRATION") == 0 && status && strcmp(status, "completed") == 0) {
		events->completed_ns = ns;
	}
}

/* Looks through the whole lines that have come, up to the answer, or what stands in its place. */
static int look(struct test_qmp *q, const char *command, json_t **ret_root)
{
	char *end;
	int result = 0;

	while (result == 0 && (end = memchr(q->rest, '\n', q->length))) {
		*end = '\0';
		json_decref(*ret_root);
		*ret_root = json_loads(q->rest, 0, NULL);
		note(&q->events, *ret_root);
		result = answers(*ret_root, command);
		q->length -= (unsigned)(end + 1 - q->rest);
		memmove(q->rest, end + 1, q->length);
	}
	return result;
}

/* What was said in its place, for a person. */
static int refused(const json_t *root, const char *command, int error, struct why *why)
{
	const char *desc =
		json_string_value(json_object_get(json_object_get(root, "error"), "desc"));

	return why_set(why, error, "the VMM refuses QMP's %s%s%s", command ? command : "greeting",
		       desc ? ": " : "", desc ? desc : "");
}

static int wait_for(struct test_qmp *q, const char *command, uint64_t wait_ns, json_t **ret_root,
		    struct why *why)
{
	const uint64_t end_ns = hostclock_monotonic_ns() + wait_ns;
	int result = look(q, command, ret_root);

	while (result == 0 && hostclock_monotonic_ns() < end_ns) {
		struct pollfd wait = {.fd = q->fd, .events = POLLIN};
		int ready = poll(&wait, 1, STEP_MS);
		ssize_t n;

		if (ready < 0 && errno == EINTR)
			return why_set(why, -EINTR, "a signal ended the wait for the VMM");
		if (ready <= 0)
			continue;
		n = read(q->fd, q->rest + q->length, sizeof(q->rest) - q->length);
		if (n <= 0)
			return why_set(why, -EPROTO, "the VMM has closed its QMP socket");
		q->length += (unsigned)n;
		result = look(q, command, ret_root);
	}
	if (result == 0)
		return why_set(why, -ETIMEDOUT, "the VMM does not answer on its QMP socket");
	return result < 0 ? refused(*ret_root, command, result, why) : 0;
}

int test_qmp_ask(struct test_qmp *q, const char *command, json_t *arguments, uint64_t wait_ns,
		 json_t **ret_returned, struct why *why)
{
	json_t *question = json_pack("{s:s,s:s,s:o*}", "execute", command, "id", command,
				     "arguments", arguments);
	char *line = question ? json_dumps(question, 0) : NULL;
	json_t *root = NULL;
	int error = 0;

	json_decref(question);
	if (!line)
		return why_set(why, -ENOMEM, "out of memory");
	if (send(q->fd, line, strlen(line), MSG_NOSIGNAL) < 0 ||
	    send(q->fd, "\n", 1, MSG_NOSIGNAL) < 0)
		error = why_set(why, -EPROTO, "cannot write to the QMP socket: %m");
	free(line);
	if (!error)
		error = wait_for(q, command, wait_ns, &root, why);
	if (!error && ret_returned)
		*ret_returned = json_incref(json_object_get(root, "return"));
	json_decref(root);
	return error;
}

int test_qmp_do(struct test_qmp *q, const char *command, struct why *why)
{
	return test_qmp_ask(q, command, NULL, patience_ns, NULL, why);
}

int test_qmp_open(const char *path, struct test_qmp *ret_qmp, struct why *why)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	struct test_qmp *q = ret_qmp;
	json_t *greeting = NULL;
	int error;

	*q = (struct test_qmp){.fd = -1};
	if (strlen(path) >= sizeof(address.sun_path))
		return why_set(why, -ENAMETOOLONG, "the QMP socket's path is too long");
	memcpy(address.sun_path, path, strlen(path));
	q->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (q->fd < 0 || connect(q->fd, (const struct sockaddr *)&address, sizeof(address)) < 0) {
		error = why_set(why, -errno, "cannot connect to the QMP socket: %m");
		test_qmp_close(q);
		return error;
	}
	error = wait_for(q, NULL, patience_ns, &greeting, why);
	json_decref(greeting);
	if (!error)
		error = test_qmp_do(q, "qmp_capabilities", why);
	if (error)
		test_qmp_close(q);
	return error;
}

void test_qmp_close(struct test_qmp *q)
{
	if (q->fd >= 0)
		close(q->fd);
	q->fd = -1;
}
