/* SPDX-License-Identifier: Apache-2.0 */
/* test_ticks_qmp.c - asks a running `vmtime run --qmp` for its ledgers. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "cmd/test_qmp.h"
#include "cmd/test_ticks_qmp.h"

enum { STEP_MS = 100, OWED_TRIES = 10 };

static const uint64_t patience_ns = 10000000000;

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

int ticks_qmp_read(const json_t *returned, struct ticks_ledger ledgers[TICKS_SOURCES])
{
	const json_t *list = json_object_get(returned, "ticks");
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
	return good ? 0 : -EPROTO;
}

int ticks_qmp_ask(const char *path, struct ticks_ledger ledgers[TICKS_SOURCES], struct why *why)
{
	json_t *returned = NULL;
	struct test_qmp q;
	int error = test_qmp_open(path, &q, why);

	if (error)
		return error;
	error = test_qmp_ask(&q, "query-vmtime", NULL, patience_ns, &returned, why);
	test_qmp_close(&q);
	if (!error && ticks_qmp_read(returned, ledgers) < 0)
		error = why_set(why, -EPROTO, "query-vmtime answers without ledgers");
	json_decref(returned);
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
