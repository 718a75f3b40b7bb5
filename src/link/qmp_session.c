/* SPDX-License-Identifier: Apache-2.0 */
/* qmp_session.c - one client of a QMP server, without its socket: bytes in, answers out. */
#include <assert.h>
#include <string.h>

#include "link/qmp_session.h"

static const char generic[] = "GenericError", not_found[] = "CommandNotFound";

void qmp_session_init(struct qmp_session *s, const struct qmp_config *config)
{
	memset(s, 0, offsetof(struct qmp_session, text));
	s->config = config;
}

static json_t *version(const struct qmp_config *c)
{
	return json_pack("{s:{s:i,s:i,s:i},s:s}", "qemu", "micro", (int)c->version[2], "minor",
			 (int)c->version[1], "major", (int)c->version[0], "package", c->package);
}

json_t *qmp_session_greeting(const struct qmp_session *s)
{
	return json_pack("{s:{s:o,s:[]}}", "QMP", "version", version(s->config), "capabilities");
}

/* `id` is the command's or NULL. */
static json_t *error(const char *class, const char *text, json_t *id)
{
	return json_pack("{s:{s:s,s:s},s:O*}", "error", "class", class, "desc", text, "id", id);
}

static json_t *complain(const char *text)
{
	return error(generic, text, NULL);
}

/* Names come from clients, and go into a sentence of bounded length. */
enum { NAME_SHOWN = 80 };

/* How many bytes of a name are shown, whole characters all of them: half a one is no JSON. */
static int shown(const char *name)
{
	size_t length = strlen(name);

	if (length <= NAME_SHOWN)
		return (int)length;
	for (length = NAME_SHOWN; (name[length] & 0xc0) == 0x80; length--)
		;
	return (int)length;
}

/* The first member of `object` that is none of the names (NULL-ended or NULL); NULL: none. */
static const char *stranger(const json_t *object, const char *const *names)
{
	/* The library's iterators are not for const objects, but change nothing. */
	json_t *o = (json_t *)(uintptr_t)object;

	for (void *at = json_object_iter(o); at; at = json_object_iter_next(o, at)) {
		const char *const *n = names;

		while (n && *n && strcmp(*n, json_object_iter_key(at)) != 0)
			n++;
		if (!n || !*n)
			return json_object_iter_key(at);
	}
	return NULL;
}

static json_t *names_of_all(const struct qmp_config *config)
{
	static const char *const own[] = {"qmp_capabilities", "query-commands", "query-version"};
	json_t *all = json_array();

	for (size_t i = 0; i < sizeof(own) / sizeof(own[0]); i++)
		json_array_append_new(all, json_pack("{s:s}", "name", own[i]));
	for (const struct qmp_command *c = config->commands; c->name; c++)
		json_array_append_new(all, json_pack("{s:s}", "name", c->name));
	return all;
}

/* The server has no capability that could be asked for. */
static json_t *negotiate(struct qmp_session *s, const json_t *arguments, struct why *why)
{
	const json_t *enable = json_object_get(arguments, "enable");
	const char *first = json_string_value(json_array_get(enable, 0));

	if (enable && !json_is_array(enable))
		why_set(why, 0, "enable is not a list of capabilities");
	else if (json_array_size(enable))
		why_set(why, 0, "there is no capability %.*s", first ? shown(first) : 0,
			first ? first : "");
	else
		s->negotiated = true;
	return s->negotiated ? json_object() : NULL;
}

/* What a command returns; NULL: `why` and *ret_class say why not. */
static json_t *run(struct qmp_session *s, const char *name, const json_t *arguments,
		   struct why *why, const char **ret_class)
{
	static const char *const enable[] = {"enable", NULL};
	const struct qmp_command *c = s->config->commands;
	bool negotiates = strcmp(name, "qmp_capabilities") == 0;
	bool commands = strcmp(name, "query-commands") == 0;
	bool own = negotiates || commands || strcmp(name, "query-version") == 0;
	const char *odd;

	*ret_class = not_found;
	if (negotiates == s->negotiated) {
		why_set(why, 0,
			negotiates ? "capabilities are negotiated already"
				   : "%.*s before capabilities are negotiated (send "
				     "qmp_capabilities first)",
			shown(name), name);
		return NULL;
	}
	while (!own && c->name && strcmp(c->name, name) != 0)
		c++;
	if (!own && !c->name) {
		why_set(why, 0, "there is no command %.*s (query-commands lists all)", shown(name),
			name);
		return NULL;
	}
	*ret_class = generic;
	odd = stranger(arguments, negotiates ? enable : own ? NULL : c->arguments);
	if (odd) {
		why_set(why, 0, "%s takes no argument %.*s", name, shown(odd), odd);
		return NULL;
	}
	if (negotiates)
		return negotiate(s, arguments, why);
	if (own)
		return commands ? names_of_all(s->config) : version(s->config);
	return c->run(s->config->owner, arguments, why);
}

/* The answer to a whole object. */
static json_t *obey(struct qmp_session *s, const json_t *request)
{
	static const char *const members[] = {"execute", "arguments", "id", NULL};
	json_t *id = json_object_get(request, "id"), *arguments, *result = NULL;
	const json_t *name = json_object_get(request, "execute");
	const char *odd = stranger(request, members), *class = generic;
	struct why why = {{0}};

	arguments = json_incref(json_object_get(request, "arguments"));
	if (!arguments)
		arguments = json_object();
	if (odd)
		why_set(&why, 0, "a command has no member %.*s", shown(odd), odd);
	else if (!json_is_string(name))
		why_set(&why, 0, name ? "execute is not a string" : "a command has execute");
	else if (!json_is_object(arguments))
		why_set(&why, 0, "arguments is not an object");
	else
		result = run(s, json_string_value(name), arguments, &why, &class);
	json_decref(arguments);
	if (json_is_null(result)) {
		s->waits = true;
		s->id = json_incref(id);
		return NULL;
	}
	if (result)
		return json_pack("{s:o,s:O*}", "return", result, "id", id);
	return error(class, why.text[0] ? why.text : "no memory", id);
}

json_t *qmp_session_answer(struct qmp_session *s, json_t *result, const struct why *why)
{
	json_t *answer = result ? json_pack("{s:o,s:O*}", "return", result, "id", s->id)
				: error(generic, why->text, s->id);

	qmp_session_end(s);
	return answer;
}

void qmp_session_end(struct qmp_session *s)
{
	json_decref(s->id);
	s->id = NULL;
	s->waits = false;
}

static json_t *parse(struct qmp_session *s)
{
	json_error_t wrong;
	json_t *request = json_loadb(s->text, s->length, JSON_REJECT_DUPLICATES, &wrong), *answer;

	if (!request) {
		struct why why;

		why_set(&why, 0, "not JSON: %.*s", shown(wrong.text), wrong.text);
		return complain(why.text);
	}
	answer = obey(s, request);
	json_decref(request);
	return answer;
}

/* A new command may begin. */
static void start_anew(struct qmp_session *s)
{
	s->length = 0;
	s->depth = 0;
	s->quote = 0;
	s->escaped = s->skipping = false;
}

/* What follows on the line of the byte `b` is not looked at. */
static json_t *drop_line(struct qmp_session *s, unsigned char b, const char *what)
{
	start_anew(s);
	s->skipping = b != '\n';
	return complain(what);
}

static bool is_space(unsigned char b)
{
	return b == ' ' || b == '\t' || b == '\r' || b == '\n';
}

/* Keeps the books of brackets.  NULL, or what is wrong. */
static const char *count(struct qmp_session *s, char b)
{
	static_assert(QMP_DEPTH_MAX == 64, "squares has a bit for each");

	if (b == '{' || b == '[') {
		if (s->depth == QMP_DEPTH_MAX)
			return "nested too deeply (64 is the limit)";
		s->squares &= ~(UINT64_C(1) << s->depth);
		s->squares |= (uint64_t)(b == '[') << s->depth++;
	} else if (b == '}' || b == ']') {
		if ((s->squares >> --s->depth & 1) != (b == ']'))
			return "not JSON: a bracket closes another kind of bracket";
	}
	return NULL;
}

static void put(struct qmp_session *s, char b)
{
	s->text[s->length++] = b;
}

/* A byte of a string; one in single quotes becomes one in double quotes. */
static void put_in_string(struct qmp_session *s, char b)
{
	if (s->escaped) {
		s->length -= b == '\'';
		put(s, b);
		s->escaped = false;
	} else if (b == s->quote) {
		put(s, '"');
		s->quote = 0;
	} else {
		if (b == '"')
			put(s, '\\');
		put(s, b);
		s->escaped = b == '\\';
	}
}

/* NULL, or what is wrong. */
static const char *keep(struct qmp_session *s, char b)
{
	static_assert(QMP_MESSAGE_MAX == 64 << 10, "the text says so");

	/* A byte of the text is free then, for those that become two. */
	if (s->length >= QMP_MESSAGE_MAX)
		return "too long for a command (64 KiB are the limit)";
	if (s->quote) {
		put_in_string(s, b);
		return NULL;
	}
	if (b == '"' || b == '\'') {
		s->quote = b;
		b = '"';
	}
	put(s, b);
	return count(s, b);
}

/* The answer that a byte brings about, or NULL. */
static json_t *take_byte(struct qmp_session *s, unsigned char b)
{
	bool control = b == 0xff || (b < ' ' && !is_space(b));
	const char *wrong;

	if (s->skipping) {
		s->skipping = b != '\n' && !control;
		return NULL;
	}
	if (control || (s->quote && b == '\n')) {
		start_anew(s);
		return complain("not JSON: a control character, or a string without its end");
	}
	if (s->depth == 0 && is_space(b))
		return NULL;
	if (s->depth == 0 && b != '{')
		return drop_line(s, b, "a command is a JSON object: { was expected");
	wrong = keep(s, (char)b);
	if (wrong)
		return drop_line(s, b, wrong);
	if (s->depth == 0) {
		json_t *answer = parse(s);

		start_anew(s);
		return answer;
	}
	return NULL;
}

size_t qmp_session_take(struct qmp_session *s, const char *bytes, size_t length,
			json_t **ret_answer)
{
	size_t taken = 0;

	*ret_answer = NULL;
	while (taken < length && !*ret_answer && !s->waits)
		*ret_answer = take_byte(s, (unsigned char)bytes[taken++]);
	return taken;
}
