/* SPDX-License-Identifier: Apache-2.0 */
/* test_ticks_qmp.c - asks a running `vmtime run --qmp` for its ledgers. */
#include <errno.h>
#include <jansson.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "cmd/test_ticks_qmp.h"
#include "host/hostclock.h"

enum { ANSWER_MAX = 65536, STEP_MS = 100, OWED_TRIES = 10 };

static const uint64_t patience_ns = 10000000000;

static const char questions[] = "{\"execute\": \"qmp_capabilities\"}\n"
				"{\"execute\": \"query-vmtime\", \"id\": 1}\n";

/* A member that is no number of ticks makes all of it bad. */
static uint64_t take(const json_t *ticks, const char *name, bool *bad)
{
	const json_t *value = json_object_get(ticks, name);

	if (json_is_integer(value) && json_integer_value(value) >= 0)
		return (uint64_t)json_integer_value(value);
	*bad = true;
	return 0;
}

static bool take_ledger(const json_t *ticks, struct ticks_ledger *ret_ledger)
{
	const char *policy = json_string_value(json_object_get(ticks, "policy"));
	bool bad = !policy;

	*ret_ledger = (struct ticks_ledger){.known = true,
					    .due = take(ticks, "due", &bad),
					    .delivered = take(ticks, "delivered", &bad),
					    .merged = take(ticks, "merged", &bad),
					    .discarded = take(ticks, "discarded", &bad),
					    .owed = take(ticks, "owed", &bad)};
	snprintf(ret_ledger->policy, sizeof(ret_ledger->policy), "%s", policy ? policy : "");
	return !bad;
}

int ticks_qmp_read(const char *answer, struct ticks_ledger ledgers[TICKS_SOURCES])
{
	json_t *root = json_loads(answer, 0, NULL);
	const json_t *list = json_object_get(json_object_get(root, "return"), "ticks");
	bool good = json_is_array(list);

	memset(ledgers, 0, TICKS_SOURCES * sizeof(*ledgers));
	for (size_t i = 0; good && i < json_array_size(list); i++) {
		const json_t *ticks = json_array_get(list, i);
		const char *source = json_string_value(json_object_get(ticks, "source"));

		good = source;
		for (int n = 0; good && n < TICKS_SOURCES; n++)
			if (ticks_ledger_names[n] && strcmp(source, ticks_ledger_names[n]) == 0)
				good = take_ledger(ticks, &ledgers[n]);
	}
	json_decref(root);
	return good ? 0 : -EPROTO;
}

/* The line that answers the last question: events and the other answers have another id or none. */
static char *find_answer(char *text)
{
	char *save = NULL;

	for (char *line = strtok_r(text, "\r\n", &save); line;
	     line = strtok_r(NULL, "\r\n", &save)) {
		json_t *root = json_loads(line, 0, NULL);
		bool found = json_integer_value(json_object_get(root, "id")) == 1;

		json_decref(root);
		if (found)
			return line;
	}
	return NULL;
}

/* 0 once an answer was understood. */
static int converse(int fd, char *text, struct ticks_ledger *ledgers, struct why *why)
{
	const uint64_t end_ns = hostclock_monotonic_ns() + patience_ns;
	struct pollfd wait = {.fd = fd, .events = POLLIN};
	size_t length = 0;

	if (send(fd, questions, strlen(questions), MSG_NOSIGNAL) < 0)
		return why_set(why, -errno, "cannot write to the QMP socket: %m");
	while (hostclock_monotonic_ns() < end_ns && length < ANSWER_MAX) {
		static char copy[ANSWER_MAX + 1];
		char *answer;
		ssize_t n;

		if (poll(&wait, 1, STEP_MS) <= 0)
			continue;
		n = recv(fd, text + length, ANSWER_MAX - length, 0);
		if (n == 0)
			return why_set(why, -ECONNRESET, "the VM closed its QMP socket");
		if (n < 0 && errno != EINTR)
			return why_set(why, -errno, "cannot read from the QMP socket: %m");
		length += n > 0 ? (size_t)n : 0;
		if (length == 0 || text[length - 1] != '\n')
			continue; /* in the middle of a line */
		memcpy(copy, text, length);
		copy[length] = '\0';
		answer = find_answer(copy);
		if (answer && ticks_qmp_read(answer, ledgers) == 0)
			return 0;
		if (answer)
			return why_set(why, -EPROTO, "query-vmtime answers without ledgers");
	}
	return why_set(why, -ETIMEDOUT, "the VM's QMP socket did not answer");
}

int ticks_qmp_ask(const char *path, struct ticks_ledger ledgers[TICKS_SOURCES], struct why *why)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	static char text[ANSWER_MAX];
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), error;

	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	if (fd < 0 || connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0)
		error = why_set(why, -errno, "cannot connect to the QMP socket: %m");
	else
		error = converse(fd, text, ledgers, why);
	if (fd >= 0)
		close(fd);
	return error;
}

int ticks_qmp_owed(const char *path, uint64_t *ret_ticks, struct why *why)
{
	struct ticks_ledger ledgers[TICKS_SOURCES];

	for (int i = 0; i < OWED_TRIES; i++) {
		int error = ticks_qmp_ask(path, ledgers, why);

		if (error)
			return error;
		if (!ledgers[TICKS_PIT].known)
			return why_set(why, -EPROTO, "the VM has no ledger of its PIT");
		*ret_ticks = ledgers[TICKS_PIT].owed;
		if (*ret_ticks <= 1)
			break;
		(void)poll(NULL, 0, STEP_MS);
	}
	return 0;
}
