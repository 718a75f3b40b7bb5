/* SPDX-License-Identifier: Apache-2.0 */
/* qmp_fuzz.c - any bytes from a QMP client: each answer is one line of JSON, and it is all one how
 * the bytes arrive.
 *
 * The first byte is the length of the pieces. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "link/qmp_session.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { HEARD_MAX = 1 << 20 };

struct heard {
	size_t length;
	char text[HEARD_MAX];
};

static void demand(int holds)
{
	if (!holds)
		abort();
}

static json_t *echo(void *owner, const json_t *arguments, struct why *why)
{
	json_t *value = json_object_get(arguments, "value");

	demand(owner == NULL);
	if (!value)
		why_set(why, -1, "echo needs a value");
	return json_incref(value);
}

static const char *const echo_arguments[] = {"value", NULL};
static const struct qmp_command commands[] = {{"echo", echo_arguments, echo}, {NULL, NULL, NULL}};
static const struct qmp_config config = {.package = "fuzz", .commands = commands};

/* An answer: with what is returned or an error that says something. */
static void hear(struct heard *h, json_t *answer)
{
	char *text = json_dumps(answer, 0);
	const json_t *error = json_object_get(answer, "error");
	size_t length;

	demand(text != NULL);
	demand((error != NULL) != (json_object_get(answer, "return") != NULL));
	demand(!error || json_string_length(json_object_get(error, "desc")) > 0);
	demand(!strchr(text, '\n'));
	length = strlen(text) + 1;
	demand(h->length + length <= sizeof(h->text));
	memcpy(h->text + h->length, text, length);
	h->length += length;
	free(text);
	json_decref(answer);
}

static void feed(struct heard *h, const uint8_t *bytes, size_t size, size_t piece)
{
	static struct qmp_session s;

	h->length = 0;
	qmp_session_init(&s, &config);
	for (size_t at = 0; at < size;) {
		size_t n = size - at < piece ? size - at : piece, taken;
		json_t *answer;

		taken = qmp_session_take(&s, (const char *)bytes + at, n, &answer);
		demand(taken > 0 && taken <= n && (answer || taken == n));
		at += taken;
		if (answer)
			hear(h, answer);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct heard whole, pieces;

	if (size < 2 || size > 4096) /* an answer is shorter than 256 bytes and its id */
		return 0;
	feed(&whole, data + 1, size - 1, size);
	feed(&pieces, data + 1, size - 1, data[0] ? data[0] : 1);
	demand(whole.length == pieces.length && !memcmp(whole.text, pieces.text, whole.length));
	return 0;
}
