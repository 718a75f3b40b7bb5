/* SPDX-License-Identifier: Apache-2.0 */
/* sample.c - what the observer in a guest tells its host, as lines of text. */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "guest/sample.h"

static const char clock_letter[SAMPLE_CLOCKS] = {'r', 'm', 'b'};

/* The CRC-32 of Ethernet and zip: reflected polynomial 0xedb88320, inverted in and out. */
static uint32_t crc32_of(const char *text, size_t length)
{
	uint32_t crc = UINT32_MAX;

	for (size_t i = 0; i < length; i++) {
		crc ^= (uint8_t)text[i];
		for (int bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? 0xedb88320 : 0);
	}
	return ~crc;
}

/* A line being written; once it does not fit, it never fits. */
struct line {
	char *buf;
	size_t size, length;
	bool full;
};

static void add(struct line *l, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void add(struct line *l, const char *format, ...)
{
	va_list args;
	int n;

	if (l->full)
		return;
	va_start(args, format);
	n = vsnprintf(l->buf + l->length, l->size - l->length, format, args);
	va_end(args);
	if (n < 0 || (size_t)n >= l->size - l->length)
		l->full = true;
	else
		l->length += (size_t)n;
}

static int finish(struct line *l)
{
	if (!l->full)
		add(l, " *%08" PRIx32 "\n", crc32_of(l->buf, l->length));
	return l->full ? -ENOSPC : (int)l->length;
}

static const char *text_or_dash(const char *text)
{
	return *text ? text : "-";
}

int sample_format_hello(char *buf, size_t size, const struct sample_hello *h)
{
	struct line l = {buf, size, 0, size == 0};

	add(&l, "H %d %s %s %s %" PRIu32 " %" PRIu64 " %" PRIu64, SAMPLE_VERSION,
	    text_or_dash(h->kernel), text_or_dash(h->current), text_or_dash(h->available), h->cpus,
	    h->tick_ns, h->period_ns);
	return finish(&l);
}

int sample_format(char *buf, size_t size, const struct sample *s)
{
	struct line l = {buf, size, 0, size == 0};

	add(&l, "S %" PRIu64 " %" PRIu32 " %s", s->seq, s->cpu, text_or_dash(s->current));
	for (int i = 0; i < SAMPLE_CLOCKS; i++)
		add(&l, " %c %" PRIu64 " %" PRIu64 " %" PRId64, clock_letter[i], s->clock[i].tsc,
		    s->clock[i].width, s->clock[i].ns);
	add(&l, " k");
	for (int i = 0; i < SAMPLE_BACKWARD; i++)
		add(&l, " %" PRIu64, s->backward[i]);
	add(&l, " d %" PRIu64 " v %" PRIu64 " n %" PRIu64, s->dropped, s->steal_ns, s->checks);
	return finish(&l);
}

/* A line being read: words separated by one space each.  The first that is not as expected makes
 * the whole line bad. */
struct words {
	const char *at, *end;
	bool bad;
};

static size_t next_word(struct words *w, const char **ret_word)
{
	const char *start = w->at, *stop;

	if (w->bad || start >= w->end) {
		w->bad = true;
		return 0;
	}
	stop = memchr(start, ' ', (size_t)(w->end - start));
	if (!stop)
		stop = w->end;
	w->at = stop < w->end ? stop + 1 : stop;
	w->bad = stop == start;
	*ret_word = start;
	return (size_t)(stop - start);
}

static void expect(struct words *w, char letter)
{
	const char *word = "";

	if (next_word(w, &word) != 1 || *word != letter)
		w->bad = true;
}

static void take_text(struct words *w, char *buf, size_t size)
{
	const char *word = "";
	size_t length = next_word(w, &word);

	if (w->bad || length >= size) {
		w->bad = true;
		return;
	}
	memcpy(buf, word, length);
	buf[length] = '\0';
}

static uint64_t take_number(struct words *w, uint64_t max)
{
	const char *word = "";
	size_t length = next_word(w, &word);
	uint64_t value = 0;

	for (size_t i = 0; i < length; i++) {
		if (word[i] < '0' || word[i] > '9' || __builtin_mul_overflow(value, 10, &value) ||
		    __builtin_add_overflow(value, (uint64_t)(word[i] - '0'), &value))
			w->bad = true;
	}
	if (value > max)
		w->bad = true;
	return w->bad ? 0 : value;
}

static int64_t take_signed(struct words *w)
{
	bool minus = !w->bad && w->at < w->end && *w->at == '-';

	w->at += minus;
	return minus ? -(int64_t)take_number(w, INT64_MAX) : (int64_t)take_number(w, INT64_MAX);
}

static int parse_hello(struct words *w, struct sample_hello *ret_hello)
{
	struct sample_hello h = {0};

	if (take_number(w, UINT32_MAX) != SAMPLE_VERSION)
		w->bad = true;
	take_text(w, h.kernel, sizeof(h.kernel));
	take_text(w, h.current, sizeof(h.current));
	take_text(w, h.available, sizeof(h.available));
	h.cpus = (uint32_t)take_number(w, UINT32_MAX);
	h.tick_ns = take_number(w, UINT64_MAX);
	h.period_ns = take_number(w, UINT64_MAX);
	if (w->bad || w->at != w->end)
		return -EBADMSG;
	*ret_hello = h;
	return SAMPLE_KIND_HELLO;
}

static int parse_reading(struct words *w, struct sample *ret_sample)
{
	struct sample s = {0};

	s.seq = take_number(w, UINT64_MAX);
	s.cpu = (uint32_t)take_number(w, UINT32_MAX);
	take_text(w, s.current, sizeof(s.current));
	for (int i = 0; i < SAMPLE_CLOCKS; i++) {
		expect(w, clock_letter[i]);
		s.clock[i].tsc = take_number(w, UINT64_MAX);
		s.clock[i].width = take_number(w, UINT64_MAX);
		s.clock[i].ns = take_signed(w);
	}
	expect(w, 'k');
	for (int i = 0; i < SAMPLE_BACKWARD; i++)
		s.backward[i] = take_number(w, UINT64_MAX);
	expect(w, 'd');
	s.dropped = take_number(w, UINT64_MAX);
	expect(w, 'v');
	s.steal_ns = take_number(w, UINT64_MAX);
	expect(w, 'n');
	s.checks = take_number(w, UINT64_MAX);
	if (w->bad || w->at != w->end)
		return -EBADMSG;
	*ret_sample = s;
	return SAMPLE_KIND_READING;
}

/* The words of a line whose checksum is right, after its letter.  False: it is none of ours. */
static bool open_line(const char *line, struct words *ret_words)
{
	enum { TAIL = 10 }; /* " *" and eight digits */
	size_t length = strcspn(line, "\r\n");
	char tail[TAIL + 1];

	if (length < 2 + TAIL || length >= SAMPLE_LINE_MAX || line[1] != ' ')
		return false;
	*ret_words = (struct words){line + 2, line + length - TAIL, false};
	snprintf(tail, sizeof(tail), " *%08" PRIx32, crc32_of(line, length - TAIL));
	return memcmp(line + length - TAIL, tail, TAIL) == 0;
}

int sample_parse(const char *line, struct sample_hello *ret_hello, struct sample *ret_sample)
{
	struct words w;

	if (!open_line(line, &w))
		return -EBADMSG;
	if (line[0] == 'H')
		return parse_hello(&w, ret_hello);
	if (line[0] == 'S')
		return parse_reading(&w, ret_sample);
	return -EBADMSG;
}

int sample_format_cost(char *buf, size_t size, const struct sample_cost *c)
{
	struct line l = {buf, size, 0, size == 0};

	add(&l, "C %" PRIu32 " %" PRIu32 " %" PRIu32 " %c %d %u", c->series, c->index, c->count,
	    c->path, c->ordered, (unsigned)c->falls);
	add(&l, " %" PRIu32 " %" PRIu32 " %" PRIu64 " %" PRIu64 " %" PRIu64, c->reader, c->checks,
	    c->cost_ps, c->outside_ns, c->bracket_ns);
	return finish(&l);
}

int sample_parse_cost(const char *line, struct sample_cost *ret_cost)
{
	struct sample_cost c = {0};
	const char *path = "";
	struct words w;

	if (!open_line(line, &w) || line[0] != 'C')
		return -EBADMSG;
	c.series = (uint32_t)take_number(&w, UINT32_MAX);
	c.index = (uint32_t)take_number(&w, UINT32_MAX);
	c.count = (uint32_t)take_number(&w, UINT32_MAX);
	if (next_word(&w, &path) != 1 || !strchr(SAMPLE_PATHS, *path))
		w.bad = true;
	c.ordered = take_number(&w, 1);
	c.falls = (enum sample_falls)take_number(&w, SAMPLE_FALLS_UNKNOWN);
	c.reader = (uint32_t)take_number(&w, UINT32_MAX);
	c.checks = (uint32_t)take_number(&w, UINT32_MAX);
	c.cost_ps = take_number(&w, INT64_MAX);
	c.outside_ns = take_number(&w, INT64_MAX);
	c.bracket_ns = take_number(&w, INT64_MAX);
	if (w.bad || w.at != w.end || c.index >= c.count)
		return -EBADMSG;
	c.path = *path;
	*ret_cost = c;
	return 0;
}
