/* SPDX-License-Identifier: Apache-2.0 */
/* test_qmp.c - a client of QMP that asks one thing at a time. */
#include <errno.h>
#include <jansson.h>
#include <poll.h>
#include <stdio.h>
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
static int answers(const char *line, const char *command)
{
	json_t *root = json_loads(line, 0, NULL);
	const char *id = json_string_value(json_object_get(root, "id"));
	int result = 0;

	if (!root || (command && json_object_get(root, "error")))
		result = -EPROTO;
	else if (command)
		result = json_object_get(root, "return") && id && strcmp(id, command) == 0;
	else
		result = json_object_get(root, "QMP") != NULL;
	json_decref(root);
	return result;
}

/* Looks through the whole lines that have come, up to the answer. */
static int look(struct test_qmp *q, const char *command)
{
	char *end;
	int result = 0;

	while (result == 0 && (end = memchr(q->rest, '\n', q->length))) {
		*end = '\0';
		result = answers(q->rest, command);
		q->length -= (unsigned)(end + 1 - q->rest);
		memmove(q->rest, end + 1, q->length);
	}
	return result;
}

static int wait_for(struct test_qmp *q, const char *command, struct why *why)
{
	const uint64_t end_ns = hostclock_monotonic_ns() + patience_ns;
	int result = look(q, command);

	while (result == 0 && hostclock_monotonic_ns() < end_ns) {
		struct pollfd wait = {.fd = q->fd, .events = POLLIN};
		ssize_t n;

		if (poll(&wait, 1, STEP_MS) <= 0)
			continue;
		n = read(q->fd, q->rest + q->length, sizeof(q->rest) - q->length);
		if (n <= 0)
			return why_set(why, -EPROTO, "the VMM has closed its QMP socket");
		q->length += (unsigned)n;
		result = look(q, command);
	}
	if (result == 0)
		return why_set(why, -ETIMEDOUT, "the VMM does not answer on its QMP socket");
	if (result < 0)
		return why_set(why, result, "the VMM refuses QMP's %s",
			       command ? command : "greeting");
	return 0;
}

int test_qmp_do(struct test_qmp *q, const char *command, struct why *why)
{
	char line[128];
	int length = snprintf(line, sizeof(line), "{\"execute\": \"%s\", \"id\": \"%s\"}\n",
			      command, command);

	if (send(q->fd, line, (size_t)length, MSG_NOSIGNAL) != length)
		return why_set(why, -EPROTO, "cannot write to the QMP socket: %m");
	return wait_for(q, command, why);
}

int test_qmp_open(const char *path, struct test_qmp *ret_qmp, struct why *why)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	struct test_qmp *q = ret_qmp;
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
	error = wait_for(q, NULL, why);
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
