/* SPDX-License-Identifier: Apache-2.0 */
/* qmp_session_test.c - what a client sends, whole, in pieces or as nonsense, and what it hears. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "link/qmp_session.h"

static unsigned runs; /* of a command of the owner's */

static json_t *add(void *owner, const json_t *arguments, struct why *why)
{
	const json_t *a = json_object_get(arguments, "a"), *b = json_object_get(arguments, "b");

	assert_string_equal(owner, "owner");
	runs++;
	if (json_is_integer(a) && json_is_integer(b))
		return json_integer(json_integer_value(a) + json_integer_value(b));
	why_set(why, -1, "a and b are to be integers");
	return NULL;
}

static const char *const add_arguments[] = {"a", "b", NULL};
static const struct qmp_command commands[] = {{"add", add_arguments, add}, {NULL, NULL, NULL}};
static const struct qmp_config config = {
	.version = {1, 2, 3},
	.package = "test 1.2.3",
	.commands = commands,
	.owner = (char *)(uintptr_t) "owner",
};

static struct qmp_session session;
static char heard[1 << 20]; /* a line an answer */

static int set_up(void **state)
{
	(void)state;
	memset(&session, 0x5a, sizeof(session));
	qmp_session_init(&session, &config);
	runs = 0;
	return 0;
}

/* Sends bytes, `piece` at a time; what is heard. */
static const char *send_pieces(const char *bytes, size_t length, size_t piece)
{
	size_t used = 0;

	heard[0] = '\0';
	for (size_t at = 0; at < length;) {
		size_t n = length - at < piece ? length - at : piece, taken;
		json_t *answer;
		char *text;

		taken = qmp_session_take(&session, bytes + at, n, &answer);
		assert_in_range(taken, 1, n);
		assert_true(answer || taken == n);
		at += taken;
		if (!answer)
			continue;
		text = json_dumps(answer, 0);
		json_decref(answer);
		used += (size_t)snprintf(heard + used, sizeof(heard) - used, "%s\n", text);
		free(text);
	}
	return heard;
}

static const char *say(const char *text)
{
	return send_pieces(text, strlen(text), SIZE_MAX);
}

static void negotiate(void)
{
	assert_string_equal(say("{\"execute\": \"qmp_capabilities\"}"), "{\"return\": {}}\n");
}

static void says(const char *text, const char *class, const char *word)
{
	char begin[80];

	say(text);
	snprintf(begin, sizeof(begin), "{\"error\": {\"class\": \"%s\", \"desc\": \"", class);
	assert_int_equal(strncmp(heard, begin, strlen(begin)), 0);
	assert_non_null(strstr(heard, word));
	assert_ptr_equal(strchr(heard, '\n'), heard + strlen(heard) - 1);
}

static void the_greeting_has_the_version(void **state)
{
	json_t *greeting = qmp_session_greeting(&session);
	char *text = json_dumps(greeting, 0);

	(void)state;
	assert_string_equal(text, "{\"QMP\": {\"version\": {\"qemu\": {\"micro\": 3, \"minor\": 2, "
				  "\"major\": 1}, \"package\": \"test 1.2.3\"}, "
				  "\"capabilities\": []}}");
	free(text);
	json_decref(greeting);
}

static void nothing_is_done_before_negotiation(void **state)
{
	(void)state;
	says("{\"execute\": \"add\", \"arguments\": {\"a\": 1, \"b\": 2}}", "CommandNotFound",
	     "qmp_capabilities");
	says("{\"execute\": \"query-version\"}", "CommandNotFound", "qmp_capabilities");
	says("{\"execute\": \"qmp_capabilities\", \"arguments\": {\"enable\": [\"oob\"]}}",
	     "GenericError", "no capability oob");
	says("{\"execute\": \"qmp_capabilities\", \"arguments\": {\"enable\": 1}}", "GenericError",
	     "list");
	assert_int_equal(runs, 0);
	assert_string_equal(
		say("{\"execute\": \"qmp_capabilities\", \"arguments\": {\"enable\": []}, "
		    "\"id\": 7}"),
		"{\"return\": {}, \"id\": 7}\n");
	assert_string_equal(say("{\"execute\": \"add\", \"arguments\": {\"a\": 1, \"b\": 2}}"),
			    "{\"return\": 3}\n");
	assert_int_equal(runs, 1);
	says("{\"execute\": \"qmp_capabilities\"}", "CommandNotFound", "already");
}

static void all_commands_are_listed_and_the_version_again(void **state)
{
	(void)state;
	negotiate();
	assert_string_equal(say("{\"execute\":\"query-commands\"}"),
			    "{\"return\": [{\"name\": \"qmp_capabilities\"}, {\"name\": "
			    "\"query-commands\"}, {\"name\": \"query-version\"}, {\"name\": "
			    "\"add\"}]}\n");
	assert_string_equal(say("{\"execute\":\"query-version\"}"),
			    "{\"return\": {\"qemu\": {\"micro\": 3, \"minor\": 2, \"major\": 1}, "
			    "\"package\": \"test 1.2.3\"}}\n");
}

static void any_id_comes_back(void **state)
{
	static const char *const ids[] = {"null", "\"x\\ny \xc3\xa9\"", "[1, {\"a\": [2.5]}]",
					  "-1"};

	(void)state;
	negotiate();
	for (unsigned i = 0; i < sizeof(ids) / sizeof(ids[0]); i++) {
		char text[200], answer[200];

		snprintf(text, sizeof(text),
			 "{\"id\": %s, \"execute\": \"add\", \"arguments\": {\"a\": 1, \"b\": %d}}",
			 ids[i], (int)i);
		snprintf(answer, sizeof(answer), "{\"return\": %d, \"id\": %s}\n", (int)i + 1,
			 ids[i]);
		assert_string_equal(say(text), answer);
		snprintf(text, sizeof(text), "{\"id\": %s, \"execute\": 5}", ids[i]);
		snprintf(answer, sizeof(answer), "\"id\": %s}\n", ids[i]);
		says(text, "GenericError", answer);
	}
}

static void quotes_may_be_single(void **state)
{
	static char text[2 * QMP_MESSAGE_MAX];
	size_t length;

	(void)state;
	negotiate();
	assert_string_equal(
		say("{'execute': 'add', 'arguments': {'a': 1, \"b\": 2}, 'id': "
		    "['', '}', '\\'', \"'\", \"\\'\", '\"', '\\\"', '\\\\', '\\u0041']}"),
		"{\"return\": 3, \"id\": [\"\", \"}\", \"'\", \"'\", \"'\", \"\\\"\", "
		"\"\\\"\", \"\\\\\", \"A\"]}\n");
	/* Those that become two are counted twice. */
	strcpy(text, "{'id': '");
	length = strlen(text);
	memset(text + length, '"', QMP_MESSAGE_MAX / 2 - length);
	strcat(text, "'}");
	says(text, "GenericError", "execute");
	memset(text + length, '"', QMP_MESSAGE_MAX / 2);
	strcpy(text + length + QMP_MESSAGE_MAX / 2, "'}\n");
	says(text, "GenericError", "long");
}

static void wrong_commands_are_explained(void **state)
{
	char text[300];

	(void)state;
	negotiate();
	says("{\"execute\": \"migrate\"}", "CommandNotFound", "no command migrate");
	says("{\"execute\": \"add\"}", "GenericError", "integers");
	says("{\"execute\": \"add\", \"arguments\": {\"c\": 1}}", "GenericError",
	     "add takes no argument c");
	says("{\"execute\": \"query-version\", \"arguments\": {\"c\": 1}}", "GenericError",
	     "no argument c");
	says("{\"execute\": \"query-commands\", \"arguments\": []}", "GenericError",
	     "not an object");
	says("{\"execute\": \"query-commands\", \"args\": {}}", "GenericError", "no member args");
	says("{\"exec-oob\": \"query-commands\"}", "GenericError", "no member exec-oob");
	says("{\"execute\": null}", "GenericError", "not a string");
	says("{}", "GenericError", "execute");
	/* Cut where a character of two bytes would be halved. */
	strcpy(text, "{\"execute\": \"x");
	for (unsigned i = 0; i < 60; i++)
		strcat(text, "\xc3\xa9");
	strcat(text, "\"}");
	says(text, "CommandNotFound", "\xc3\xa9 (query-commands");
}

static void nonsense_is_an_error_and_the_next_line_counts(void **state)
{
	static const char *const nonsense[] = {
		"hello\n",
		"[1, 2]\n",
		"}\n",
		"\"{\"\n",
		"12\n",
		"{\"execute\": \"add\n",
		"{\"execute\"}\n",
		"{\"execute\": \"query-version\", \"execute\": \"query-version\"}\n",
		"{\"a\": [}, \"b\": 1]}\n",
		"{\"a\": 01}\n",
		"{\"execute\": \"\\u0000\"}\n",
		"{\"execute\": \"\xff\n",
		"{\"execute\": \"\xc3(\"}\n",
		"{\"execute\": \"\xed\xa0\x80\"}\n",
		"{\"execute\": \"\\ud800\"}\n",
		"{\"a\": 99999999999999999999}\n",
		"{\"a\": 1e999}\n",
		"{\"a\": \x01",
		"{\"a\": \"tab\t\"}\n",
		"\xff",
		"{\"execute\": \xff",
		"oops {\"a\": 1} \xff",
		"{'execute\": 'query-version'}\n",
	};

	(void)state;
	negotiate();
	for (unsigned i = 0; i < sizeof(nonsense) / sizeof(nonsense[0]); i++) {
		says(nonsense[i], "GenericError", "");
		assert_string_equal(
			say("{\"execute\": \"add\", \"arguments\": {\"a\": 2, \"b\": 3}}"),
			"{\"return\": 5}\n");
	}
}

static void too_deep_and_too_long_are_errors(void **state)
{
	static char text[2 * QMP_MESSAGE_MAX + 100];
	size_t length;

	(void)state;
	negotiate();
	strcpy(text, "{\"id\": ");
	memset(text + strlen(text), '[', QMP_DEPTH_MAX - 1);
	memset(text + strlen(text), ']', QMP_DEPTH_MAX - 1);
	strcat(text, ", \"execute\": \"query-commands\"}\n");
	say(text);
	assert_int_equal(strncmp(heard, "{\"return\"", 9), 0);

	memset(text, 0, sizeof(text));
	strcpy(text, "{\"id\": ");
	memset(text + strlen(text), '[', 50000);
	strcat(text, "\n");
	says(text, "GenericError", "deep");

	memset(text, 0, sizeof(text));
	strcpy(text, "{\"id\": \"");
	memset(text + strlen(text), 'x', 2 * QMP_MESSAGE_MAX);
	strcat(text, "\"}\n");
	says(text, "GenericError", "long");

	/* As long as is allowed. */
	memset(text, 0, sizeof(text));
	strcpy(text, "{\"execute\": \"add\", \"arguments\": {\"a\": 1, \"b\": 2}, \"id\": \"");
	length = strlen(text);
	memset(text + length, 'x', QMP_MESSAGE_MAX - length - 2);
	strcat(text, "\"}");
	assert_int_equal(strlen(text), QMP_MESSAGE_MAX);
	say(text);
	assert_int_equal(strncmp(heard, "{\"return\": 3, ", 14), 0);
}

static void an_end_of_line_that_is_too_much_ends_the_line(void **state)
{
	static char text[QMP_MESSAGE_MAX + 100];

	(void)state;
	negotiate();
	strcpy(text, "{\"execute\":");
	memset(text + strlen(text), ' ', QMP_MESSAGE_MAX - strlen(text));
	assert_int_equal(strlen(text), QMP_MESSAGE_MAX);
	strcat(text, "\n{\"execute\": \"query-commands\"}\n");
	say(text);
	assert_non_null(strstr(heard, "too long"));
	assert_non_null(strstr(heard, "{\"return\": ["));
}

static void it_is_all_one_how_bytes_arrive(void **state)
{
	static const char text[] =
		"{\"execute\": \"qmp_capabilities\"}{\"execute\":\"query-version\"}\r\n"
		"{\n \"execute\":\n\t\"add\",\n \"arguments\": {\"a\": 1,\n \"b\": 2},\n"
		" 'id': '}]{[\"\\\\'\n}\n"
		"oops {\"execute\": \"add\"}\n{\"execute\": \xff{\"execute\": 1}\n"
		"  {\"execute\": \"query-commands\", \"id\": [[[{}]]]}  nonsense\n {}";
	static char whole[sizeof(heard)];

	(void)state;
	strcpy(whole, send_pieces(text, sizeof(text) - 1, SIZE_MAX));
	assert_non_null(strstr(whole, "{\"return\": 3, \"id\": \"}]{[\\\"\\\\\"}\n"));
	for (size_t piece = 1; piece < 20; piece++) {
		set_up(NULL);
		assert_string_equal(send_pieces(text, sizeof(text) - 1, piece), whole);
	}
}

#define TEST(name) cmocka_unit_test_setup(name, set_up)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(the_greeting_has_the_version),
		TEST(nothing_is_done_before_negotiation),
		TEST(all_commands_are_listed_and_the_version_again),
		TEST(any_id_comes_back),
		TEST(quotes_may_be_single),
		TEST(wrong_commands_are_explained),
		TEST(nonsense_is_an_error_and_the_next_line_counts),
		TEST(too_deep_and_too_long_are_errors),
		TEST(an_end_of_line_that_is_too_much_ends_the_line),
		TEST(it_is_all_one_how_bytes_arrive),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
