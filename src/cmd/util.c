/* SPDX-License-Identifier: Apache-2.0 */
/* util.c - errors, durations and sizes as every verb takes and shows them. */
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "cmd/cmd.h"

int cmd_error(const char *verb, int status, const char *format, ...)
{
	va_list args;
	char text[1024];

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	if (verb)
		fprintf(stderr, "vmtime %s: %s\n", verb, text);
	else
		fprintf(stderr, "vmtime: %s\n", text);
	return status;
}

enum { NAME_MAX_LENGTH = 32 };

static unsigned min3(unsigned a, unsigned b, unsigned c)
{
	unsigned least = a < b ? a : b;

	return least < c ? least : c;
}

/* How many letters must be typed, dropped or changed to make b of a (Levenshtein). */
static unsigned edits(const char *a, const char *b)
{
	unsigned row[NAME_MAX_LENGTH + 1];
	size_t a_length = strnlen(a, NAME_MAX_LENGTH), b_length = strnlen(b, NAME_MAX_LENGTH);

	for (size_t j = 0; j <= b_length; j++)
		row[j] = (unsigned)j;
	for (size_t i = 1; i <= a_length; i++) {
		unsigned diagonal = row[0];

		row[0] = (unsigned)i;
		for (size_t j = 1; j <= b_length; j++) {
			unsigned change = diagonal + (a[i - 1] != b[j - 1]);

			diagonal = row[j];
			row[j] = min3(change, row[j] + 1, row[j - 1] + 1);
		}
	}
	return row[b_length];
}

const char *cmd_nearest(const char *word, const char *const *known)
{
	const char *nearest = NULL;
	unsigned fewest = UINT_MAX;

	for (; *known; known++) {
		unsigned n = strncmp(word, *known, strlen(word)) == 0 ? 0 : edits(word, *known);

		if (n < fewest) {
			fewest = n;
			nearest = *known;
		}
	}
	return nearest;
}

int cmd_unknown_option(const char *verb, const char *option, const char *const *known)
{
	int length = (int)strcspn(option, "=");
	char name[NAME_MAX_LENGTH + 1];
	const char *nearest;

	snprintf(name, sizeof(name), "%.*s", length, option);
	nearest = cmd_nearest(name, known);
	return cmd_error(verb, CMD_USAGE, "unknown %s '%.*s'%s%s%s", verb ? "option" : "verb",
			 length, option, nearest ? " (the nearest known one is '" : "",
			 nearest ? nearest : "", nearest ? "')" : "");
}

static const struct option *exactly(const char *word, const struct option *options)
{
	size_t length = strcspn(word, "=");

	for (; options->name; options++)
		if (length == strlen(options->name) + 2 && strncmp(word, "--", 2) == 0 &&
		    strncmp(word + 2, options->name, length - 2) == 0)
			return options;
	return NULL;
}

static void say_unknown(const char *verb, const char *word, const struct option *options)
{
	char names[CMD_OPTIONS_MAX][NAME_MAX_LENGTH], letter[] = {'-', word[1], '\0'};
	const char *known[CMD_OPTIONS_MAX + 1] = {NULL};

	for (int i = 0; i < CMD_OPTIONS_MAX && options[i].name; i++) {
		snprintf(names[i], sizeof(names[i]), "--%s", options[i].name);
		known[i] = names[i];
	}
	cmd_unknown_option(verb, word[1] == '-' ? word : letter, known);
}

int cmd_next_option(const char *verb, int argc, char **argv, const struct option *options)
{
	const char *word = argv[optind ? optind : 1];
	int option;

	opterr = 0;
	option = getopt_long(argc, argv, "+:", options, NULL);
	if (option == -1)
		return -1;
	if (!exactly(word, options))
		say_unknown(verb, word, options);
	else if (option == ':')
		cmd_error(verb, CMD_USAGE, "%s needs a value (see vmtime %s --help)", word, verb);
	else if (option == '?')
		cmd_error(verb, CMD_USAGE, "%s takes no value", word);
	else
		return option;
	return '?';
}

struct unit {
	const char *name;
	uint64_t size;
};

/* A decimal number times a unit; only whole results count. */
static int parse_scaled(const char *text, const struct unit *units, uint64_t *ret_value)
{
	uint64_t whole = 0, fraction = 0, fraction_of = 1, fraction_part;
	const char *p = text;
	const struct unit *u;

	if (*p < '0' || *p > '9')
		return -EINVAL;
	for (; *p >= '0' && *p <= '9'; p++)
		if (__builtin_mul_overflow(whole, 10, &whole) ||
		    __builtin_add_overflow(whole, (uint64_t)(*p - '0'), &whole))
			return -ERANGE;
	if (*p == '.') {
		if (*++p < '0' || *p > '9')
			return -EINVAL;
		for (; *p >= '0' && *p <= '9'; p++) {
			if (fraction_of >= 1000000000)
				return -ERANGE;
			fraction = fraction * 10 + (uint64_t)(*p - '0');
			fraction_of *= 10;
		}
	}
	for (u = units; u->name && strcmp(u->name, p) != 0; u++)
		;
	if (!u->name)
		return *p == '\0' ? -EDOM : -EINVAL;
	if (__builtin_mul_overflow(whole, u->size, &whole) ||
	    __builtin_mul_overflow(fraction, u->size, &fraction_part))
		return -ERANGE;
	if (fraction_part % fraction_of ||
	    __builtin_add_overflow(whole, fraction_part / fraction_of, &whole))
		return -ERANGE;
	*ret_value = whole;
	return 0;
}

int cmd_parse_duration(const char *text, uint64_t *ret_ns)
{
	static const struct unit units[] = {
		{"ns", 1},         {"us", 1000},         {"ms", 1000000},
		{"s", 1000000000}, {"min", 60000000000}, {"h", 3600000000000},
		{NULL, 0}};

	return parse_scaled(text, units, ret_ns);
}

int cmd_parse_size(const char *text, uint64_t *ret_bytes)
{
	static const struct unit units[] = {{"", 1},           {"K", 1ULL << 10}, {"M", 1ULL << 20},
					    {"G", 1ULL << 30}, {"T", 1ULL << 40}, {NULL, 0}};

	return parse_scaled(text, units, ret_bytes);
}

void cmd_format_ns(char *buf, size_t size, int64_t ns, bool sign)
{
	static const struct unit units[] = {
		{"s", 1000000000}, {"ms", 1000000}, {"us", 1000}, {"ns", 1}};
	uint64_t magnitude = ns < 0 ? 0 - (uint64_t)ns : (uint64_t)ns;
	const char *plus = ns < 0 ? "-" : sign && ns > 0 ? "+" : "";
	const struct unit *u = units;
	uint64_t whole, hundredths;

	while (u->size > 1 && magnitude < u->size)
		u++;
	whole = magnitude / u->size;
	hundredths = magnitude % u->size * 100 / u->size;
	if (u->size == 1 || whole >= 100)
		snprintf(buf, size, "%s%" PRIu64 " %s", plus, whole, u->name);
	else if (whole >= 10)
		snprintf(buf, size, "%s%" PRIu64 ".%" PRIu64 " %s", plus, whole, hundredths / 10,
			 u->name);
	else
		snprintf(buf, size, "%s%" PRIu64 ".%02" PRIu64 " %s", plus, whole, hundredths,
			 u->name);
}

void cmd_format_utc(char *buf, size_t size, int64_t utc_ns)
{
	const int64_t ns_per_s = 1000000000;
	int64_t ns = (utc_ns % ns_per_s + ns_per_s) % ns_per_s;
	time_t seconds = (time_t)(utc_ns / ns_per_s - (utc_ns % ns_per_s < 0));
	struct tm utc;
	size_t length;

	gmtime_r(&seconds, &utc);
	length = strftime(buf, size, "%Y-%m-%dT%H:%M:%S", &utc);
	snprintf(buf + length, size - length, ".%09dZ", (int)ns);
}
