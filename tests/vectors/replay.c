/* SPDX-License-Identifier: Apache-2.0 */
/* replay.c - plays vectors to the faces: one TAP line a section, file:line where one differs.
 *
 * usage: replay FILE...            the name of the file says which chip
 *        replay --self-test        what must not pass does not
 *
 * README.md explains the format.  Whatever is not understood fails: a vector that is skipped would
 * look like one that holds. */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "chip.h"
#include "core/ns.h"

enum { WORDS = 9 };

struct reader {
	const char *name; /* of the file */
	unsigned line;
	const struct chip *chip;
	union chip_state state;
	vmt_ns now;
	char title[160]; /* of the section; "" before the first */
	char fault[240]; /* the first of the section; "" none */
	unsigned vectors, expected;
	bool sheet;
	unsigned sections, failed;
	bool quiet;
	char first_fault[400]; /* of the file */
};

__attribute__((format(printf, 2, 3))) static void fail(struct reader *r, const char *format, ...)
{
	int at;
	va_list args;

	if (r->fault[0])
		return;
	at = snprintf(r->fault, sizeof(r->fault), "%s:%u: ", r->name, r->line);
	va_start(args, format);
	vsnprintf(r->fault + at, sizeof(r->fault) - (size_t)at, format, args);
	va_end(args);
	if (!r->first_fault[0])
		snprintf(r->first_fault, sizeof(r->first_fault), "%s", r->fault);
}

static void end_section(struct reader *r)
{
	if (!r->title[0] && !r->fault[0])
		return;
	if (r->title[0] && !r->sheet)
		fail(r, "the section does not say which section of which data sheet");
	if (r->title[0] && !r->expected)
		fail(r, "the section expects nothing");
	r->sections++;
	r->failed += r->fault[0] != 0;
	if (!r->quiet && r->fault[0])
		printf("not ok - %s\n# %s\n", r->title, r->fault);
	else if (!r->quiet)
		printf("ok - %s\n", r->title);
	r->title[0] = r->fault[0] = 0;
	r->expected = 0;
}

static void begin_section(struct reader *r, const char *line)
{
	size_t length = strlen(line);

	end_section(r);
	r->now = 0;
	r->vectors = 0;
	r->sheet = false;
	r->chip->start(&r->state, NULL);
	snprintf(r->title, sizeof(r->title), "%.*s", (int)length - 2, line + 1);
	if (length < 3 || line[length - 1] != ']')
		fail(r, "a title is [words]");
}

/* One term of a time, without its sign. */
static bool read_term(const char **text, uint32_t hz, uint64_t *ret_ns)
{
	static const struct {
		const char *name;
		uint64_t ns;
	} units[] = {{"ns", 1}, {"us", 1000}, {"ms", 1000000}, {"s", 1000000000}, {"", 1}};
	char *end;
	uint64_t number;
	size_t unit;

	if (**text < '0' || **text > '9')
		return false;
	number = strtoull(*text, &end, 10);
	unit = strcspn(end, "+-");
	*text = end + unit;
	if (unit == 1 && *end == 'c') {
		*ret_ns = vmt_ns_of_tick(number, hz);
		return true;
	}
	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++)
		if (strlen(units[i].name) == unit && memcmp(units[i].name, end, unit) == 0)
			return !__builtin_mul_overflow(number, units[i].ns, ret_ns);
	return false;
}

/* "3s-244us", "5c", "never". */
static bool read_time(const char *text, uint32_t hz, vmt_ns *ret_ns)
{
	uint64_t term;

	*ret_ns = VMT_NEVER;
	if (strcmp(text, "never") == 0)
		return true;
	if (!read_term(&text, hz, ret_ns))
		return false;
	while (*text) {
		bool minus = *text == '-';

		text++;
		if (!read_term(&text, hz, &term) || (minus && term > *ret_ns))
			return false;
		*ret_ns = minus ? *ret_ns - term : *ret_ns + term;
	}
	return true;
}

static bool read_number(const char *text, uint64_t *ret_value)
{
	char *end;

	errno = 0;
	*ret_value = strtoull(text, &end, 0);
	return *text >= '0' && *text <= '9' && !*end && !errno;
}

/* "in40", "out02.2", "wait"; its value, or "-". */
static bool read_access(const char *word, const char *value, struct access *ret_access)
{
	static const char *const placed[] = {"in", "out", "get", "set"};
	struct access a = {.width = 1};
	char *end;

	a.has_value = strcmp(value, "-") != 0;
	if (a.has_value && !read_number(value, &a.value))
		return false;
	for (size_t i = 0; i < 4 && !a.placed; i++) {
		size_t length = strlen(placed[i]);

		if (strncmp(word, placed[i], length) != 0)
			continue;
		a.place = (uint32_t)strtoul(word + length, &end, 16);
		if (*end == '.' && strchr("1248", end[1]) && end[1]) {
			a.width = (uint32_t)(end[1] - '0');
			end += 2;
		}
		if (end == word + length || *end)
			return false;
		a.placed = true;
		snprintf(a.verb, sizeof(a.verb), "%s", placed[i]);
	}
	if (!a.placed && snprintf(a.verb, sizeof(a.verb), "%s", word) >= (int)sizeof(a.verb))
		return false;
	*ret_access = a;
	return true;
}

static void check_value(struct reader *r, char *word, const struct access *a)
{
	uint64_t value, mask = UINT64_MAX;
	char *slash = strchr(word, '/');

	if (strcmp(word, "-") == 0)
		return;
	r->expected++;
	if (slash)
		*slash = 0;
	if (!read_number(word, &value) || (slash && !read_number(slash + 1, &mask)))
		fail(r, "\"%s\" is no value", word);
	else if (!a->answered)
		fail(r, "a value is expected of what answers none");
	else if ((a->value ^ value) & mask)
		fail(r, "value 0x%02" PRIx64 ", not %s", a->value & mask, word);
}

static void check_level(struct reader *r, const char *word, const struct vmt_out *out)
{
	if (strcmp(word, "-") == 0)
		return;
	r->expected++;
	if (strlen(word) != r->chip->lines || word[strspn(word, "01.")]) {
		fail(r, "\"%s\" is no level of %u lines", word, r->chip->lines);
		return;
	}
	for (unsigned i = 0; i < r->chip->lines; i++)
		if (word[i] != '.' && word[i] - '0' != (out->level >> i & 1))
			fail(r, "line %u is %d, not %c", i, out->level >> i & 1, word[i]);
}

static void check_deadline(struct reader *r, const char *word, const struct vmt_out *out)
{
	vmt_ns deadline;

	if (strcmp(word, "-") == 0)
		return;
	r->expected++;
	if (!read_time(word, r->chip->hz, &deadline))
		fail(r, "\"%s\" is no time", word);
	else if (out->deadline != deadline)
		fail(r, "deadline %" PRIu64 ", not %s (%" PRIu64 ")", out->deadline, word,
		     deadline);
}

static void check_rises(struct reader *r, const char *word, const struct vmt_out *out)
{
	const char *all = word;

	r->expected++;
	for (unsigned i = 0; i < r->chip->lines; i++) {
		char *end = (char *)(uintptr_t)word + 1;
		uint64_t rises = *word == '.' ? out->rises[i] : strtoull(word, &end, 10);

		if (!strchr(".0123456789", *word) || !*word ||
		    *end != (i + 1 < r->chip->lines ? ',' : 0)) {
			fail(r, "\"%s\" counts no rises of %u lines", all, r->chip->lines);
			return;
		}
		if (rises != out->rises[i])
			fail(r, "line %u rose %" PRIu64 " times, not %" PRIu64, i, out->rises[i],
			     rises);
		word = end + 1;
	}
}

/* now access value -> value level deadline [rises] */
static void play(struct reader *r, char **words, unsigned count)
{
	struct vmt_out out = {0};
	struct access a;
	vmt_ns now;

	if (!r->title[0]) {
		fail(r, "a vector before the first [title]");
		return;
	}
	if ((count != 7 && count != 8) || strcmp(words[3], "->") != 0) {
		fail(r, "not of the form: now access value -> value level deadline [rises]");
		return;
	}
	if (!read_time(words[0], r->chip->hz, &now) || now == VMT_NEVER || now < r->now) {
		fail(r, "\"%s\" is no time, or before the line above", words[0]);
		return;
	}
	r->now = now;
	r->vectors++;
	if (!read_access(words[1], words[2], &a) ||
	    (strcmp(a.verb, "snap") ? !r->chip->access(&r->state, now, &a, &out)
				    : !r->chip->snap(&r->state, now, &out))) {
		fail(r, "\"%s %s\" is no access of this chip", words[1], words[2]);
		return;
	}
	check_value(r, words[4], &a);
	check_level(r, words[5], &out);
	check_deadline(r, words[6], &out);
	if (count == 8)
		check_rises(r, words[7], &out);
}

static void read_line(struct reader *r, char *line)
{
	char *words[WORDS], *rest = NULL;
	unsigned count = 0;

	line[strcspn(line, "\n")] = 0;
	if (line[0] == '[') {
		begin_section(r, line);
		return;
	}
	line[strcspn(line, "#")] = 0;
	for (char *w = strtok_r(line, " \t", &rest); w && count < WORDS;
	     w = strtok_r(NULL, " \t", &rest))
		words[count++] = w;
	if (!count)
		return;
	if (strcmp(words[0], "sheet") == 0) {
		r->sheet = count > 1;
	} else if (strcmp(words[0], "start") == 0) {
		if (count != 2 || r->vectors || !r->chip->start(&r->state, words[1]))
			fail(r, "no start of this chip, or not at the head of its section");
	} else if (!r->fault[0]) { /* what follows a fault differs for its sake */
		play(r, words, count);
	}
}

/* Sections that failed; a file without any has failed as a whole. */
static unsigned replay(struct reader *r, FILE *file)
{
	const char *base = strrchr(r->name, '/') ? strrchr(r->name, '/') + 1 : r->name;
	char *line = NULL;
	size_t size = 0;

	r->chip = chip_named(base, strcspn(base, "."));
	if (!r->chip)
		fail(r, "no chip of that name");
	while (r->chip && getline(&line, &size, file) >= 0) {
		r->line++;
		read_line(r, line);
	}
	free(line);
	if (r->chip && !r->title[0])
		fail(r, "no section");
	end_section(r);
	return r->failed;
}

/* Each text, as a file of that name, and a piece of what is said of it. */
static const struct {
	const char *name, *text, *fault;
} wrong[] = {
	{"pit.txt", "", "pit.txt:0: no section"},
	{"pit.txt", "# nothing\n\n", "pit.txt:2: no section"},
	{"sundial.txt", "[a]\nsheet 1\n", "sundial.txt:0: no chip of that name"},
	{"pit.txt", "0 wait - -> - - never\n", "pit.txt:1: a vector before"},
	{"pit.txt", "[a\nsheet 1\n0 wait - -> - - never\n", "pit.txt:1: a title"},
	{"pit.txt", "[a]\n0 wait - -> - - never\n", "pit.txt:2: the section does not say"},
	{"pit.txt", "[a]\nsheet 1\n", "pit.txt:2: the section expects nothing"},
	{"pit.txt", "[a]\nsheet 1\n0 wait - -> - - -\n", "pit.txt:3: the section expects nothing"},
	{"pit.txt", "[a]\nsheet 1\n0 wait - -> - -\n", "pit.txt:3: not of the form"},
	{"pit.txt", "[a]\nsheet 1\n0 wait - - - - never\n", "pit.txt:3: not of the form"},
	{"pit.txt", "[a]\nsheet 1\n0 wait - -> - - never 0,0,0 0\n", "pit.txt:3: not of the form"},
	{"pit.txt", "[a]\nsheet 1\nstart 1\n0 wait - -> - - never\n", "pit.txt:3: no start"},
	{"rtc.txt", "[a]\nsheet 1\n0 get00 - -> 0 0 never\nstart 2024-01-01T00:00:00\n",
	 ":4: no start"},
	{"rtc.txt", "[a]\nsheet 1\nstart 2024-13-01T00:00:00\n", ":3: no start"},
	{"pmtmr.txt", "[a]\nsheet 1\nstart 23\n", ":3: no start"},
	{"pit.txt", "[a]\nsheet 1\n5 wait - -> - - never\n4 wait - -> - - -\n",
	 ":4: \"4\" is no time"},
	{"pit.txt", "[a]\nsheet 1\n5h wait - -> - - never\n", ":3: \"5h\" is no time"},
	{"pit.txt", "[a]\nsheet 1\nnever wait - -> - - never\n", ":3: \"never\" is no time"},
	{"pit.txt", "[a]\nsheet 1\n1-2 wait - -> - - never\n", ":3: \"1-2\" is no time"},
	{"pit.txt", "[a]\nsheet 1\n0 look - -> - - never\n", ":3: \"look -\" is no access"},
	{"pit.txt", "[a]\nsheet 1\n0 in44 - -> - - never\n", ":3: \"in44 -\" is no access"},
	{"pit.txt", "[a]\nsheet 1\n0 in40.2 - -> - - never\n", ":3: \"in40.2 -\" is no access"},
	{"pit.txt", "[a]\nsheet 1\n0 in40x - -> - - never\n", ":3: \"in40x -\" is no access"},
	{"pit.txt", "[a]\nsheet 1\n0 out40 - -> - - never\n", ":3: \"out40 -\" is no access"},
	{"pit.txt", "[a]\nsheet 1\n0 out40 0x1g -> - - never\n", ":3: \"out40 0x1g\" is no access"},
	{"pit.txt", "[a]\nsheet 1\n0 wait - -> 0 - never\n", ":3: a value is expected of what"},
	{"pit.txt", "[a]\nsheet 1\n0 in43 - -> x - never\n", ":3: \"x\" is no value"},
	{"pit.txt", "[a]\nsheet 1\n0 in43 - -> 0xfe - never\n", ":3: value 0xff, not 0xfe"},
	{"pit.txt", "[a]\nsheet 1\n0 in43 - -> 0/0x80 - never\n", ":3: value 0x80, not 0"},
	{"pit.txt", "[a]\nsheet 1\n0 wait - -> - 11 never\n", ":3: \"11\" is no level of 3"},
	{"pit.txt", "[a]\nsheet 1\n0 wait - -> - 112 never\n", ":3: \"112\" is no level of 3"},
	{"pit.txt", "[a]\nsheet 1\n0 wait - -> - 1.0 never\n", ":3: line 2 is 1, not 0"},
	{"pit.txt", "[a]\nsheet 1\n0 wait - -> - - 5c\n", ":3: deadline"},
	{"pit.txt", "[a]\nsheet 1\n0 wait - -> - - soon\n", ":3: \"soon\" is no time"},
	{"pit.txt", "[a]\nsheet 1\n0 wait - -> - - never 0,0\n",
	 ":3: \"0,0\" counts no rises of 3"},
	{"pit.txt", "[a]\nsheet 1\n0 wait - -> - - never 0,0,0,0\n", "counts no rises of 3"},
	{"pit.txt", "[a]\nsheet 1\n0 wait - -> - - never 0,1,0\n",
	 ":3: line 1 rose 0 times, not 1"},
	{"pit.txt",
	 "[a]\nsheet 1\n0 wait - -> - 0.. never\n[b]\nsheet 1\n0 wait - -> - 1.. never\n",
	 "pit.txt:3: line 0 is 1, not 0"},
};

static int self_test(void)
{
	static const char good[] = "# a\n[a]\nsheet 1 # b\n0 wait - -> - 1.. never 0,.,0 # c\n";
	size_t count = sizeof(wrong) / sizeof(wrong[0]);
	struct reader r = {.name = "pit.txt", .quiet = true};
	FILE *file = fmemopen((char *)(uintptr_t)good, sizeof(good) - 1, "r");
	int failed = replay(&r, file) != 0;

	fclose(file);
	printf("1..%zu\n%s - lets a good file pass %s\n", count + 1, failed ? "not ok" : "ok",
	       r.first_fault);
	for (size_t i = 0; i < count; i++) {
		/* fmemopen() of nothing is an error to some C libraries */
		const char *text = wrong[i].text;
		bool caught;

		r = (struct reader){.name = wrong[i].name, .quiet = true};
		file = *text ? fmemopen((char *)(uintptr_t)text, strlen(text), "r")
			     : fopen("/dev/null", "r");
		caught = replay(&r, file) > 0 && strstr(r.first_fault, wrong[i].fault);
		fclose(file);
		printf("%s - refuses %s\n", caught ? "ok" : "not ok", wrong[i].fault);
		if (!caught)
			printf("# said: %s\n", r.first_fault);
		failed += !caught;
	}
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
	unsigned failed = 0, sections = 0;

	if (argc == 2 && strcmp(argv[1], "--self-test") == 0)
		return self_test();
	for (int i = 1; i < argc; i++) {
		struct reader r = {.name = argv[i]};
		FILE *file = fopen(argv[i], "r");

		if (!file) {
			printf("Bail out! %s: %s\n", argv[i], strerror(errno));
			return EXIT_FAILURE;
		}
		failed += replay(&r, file);
		sections += r.sections;
		fclose(file);
	}
	printf("1..%u\n", sections);
	return failed || argc < 2 ? EXIT_FAILURE : EXIT_SUCCESS;
}
