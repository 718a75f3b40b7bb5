/* SPDX-License-Identifier: Apache-2.0 */
/* test_faces_read.c - the lines of the probe and of the reader under Linux as readings. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cmd/test_faces_read.h"

enum { VERSION = 1, HPET_FS_MAX = 100000000, CPU_MAX = 255 };

static const char letters[FACES_COUNT] = {
	[FACES_PIT] = 'p',       [FACES_RTC] = 'r',
	[FACES_HPET] = 'h',      [FACES_PM] = 'm',
	[FACES_LAPIC] = 'l',     [FACES_TSC] = 't',
	[FACES_KVM_CLOCK] = 'k', [FACES_REALTIME] = 'w',
	[FACES_MONOTONIC] = 'o', [FACES_MONOTONIC_RAW] = 'a',
	[FACES_BOOTTIME] = 'b',
};

/* A line being read: words after one space each.  The first that is wrong makes all of it bad. */
struct words {
	const char *at;
	bool bad;
};

static uint64_t take_number(struct words *w, uint64_t max)
{
	uint64_t value = 0;
	unsigned digits = 0;

	if (w->bad || *w->at != ' ')
		w->bad = true;
	for (w->at += !w->bad; !w->bad && *w->at && *w->at != ' '; w->at++, digits++) {
		const char *digit = strchr("0123456789abcdef", *w->at);

		if (!digit || digits == 16)
			w->bad = true;
		else
			value = value << 4 | (uint64_t)(digit - "0123456789abcdef");
	}
	if (digits == 0 || value > max)
		w->bad = true;
	return w->bad ? 0 : value;
}

static char take_letter(struct words *w)
{
	char letter = '\0';

	if (!w->bad && w->at[0] == ' ' && w->at[1] && (w->at[2] == ' ' || !w->at[2])) {
		letter = w->at[1];
		w->at += 2;
	} else {
		w->bad = true;
	}
	return letter;
}

/* BSD's checksum, after " *", which it cuts off.  False: it is not there or not right. */
static bool check_sum(char *line)
{
	char *star = strrchr(line, '*');
	unsigned long wanted, sum = 0;
	char *end;

	if (!star || star == line || star[-1] != ' ' || !star[1] || strlen(star) > 5)
		return false;
	wanted = strtoul(star + 1, &end, 16);
	if (*end)
		return false;
	star[-1] = '\0';
	for (const char *c = line; *c; c++)
		sum = ((sum >> 1 | sum << 15) + (unsigned char)*c) & 0xffff;
	return sum == wanted;
}

static bool take_hello(struct faces_stream *s, struct words *w)
{
	struct faces_hello h;

	if (take_number(w, UINT32_MAX) != VERSION)
		w->bad = true;
	h.cpus = (uint32_t)take_number(w, CPU_MAX);
	h.tsc_khz = (uint32_t)take_number(w, UINT32_MAX);
	h.bus_khz = (uint32_t)take_number(w, UINT32_MAX);
	h.kvm_mul = (uint32_t)take_number(w, UINT32_MAX);
	h.kvm_shift = (int32_t)(take_number(w, UINT8_MAX) ^ 0x80) - 0x80; /* its sign */
	h.pm_bits = (uint32_t)take_number(w, 32);
	h.hpet_fs = (uint32_t)take_number(w, HPET_FS_MAX);
	if (w->bad || *w->at || (s->has_hello && memcmp(&h, &s->hello, sizeof(h)) != 0))
		return false;
	s->hello = h;
	s->has_hello = true;
	return true;
}

/* Another clock source is another clock: what was read before is none of it. */
static bool take_guest(struct faces_stream *s)
{
	struct sample_hello hello;
	struct sample sample;

	if (sample_parse(s->line, &hello, &sample) != SAMPLE_KIND_HELLO)
		return false;
	if (s->has_guest && strcmp(hello.current, s->guest.current) != 0)
		s->count = 0;
	s->guest = hello;
	s->has_guest = true;
	return true;
}

static bool is_there(const struct faces_hello *h, int face)
{
	return !(face == FACES_HPET && !h->hpet_fs) && !(face == FACES_PM && !h->pm_bits);
}

/* Readings that came before a hello say nothing. */
static bool take_reading(struct faces_stream *s, struct words *w)
{
	struct faces_reading *r = &s->readings[s->count];
	const char letter = take_letter(w);
	int face = 0;

	while (face < FACES_COUNT && letters[face] != letter)
		face++;
	r->face = (enum faces_face)face;
	r->cpu = (uint32_t)take_number(w, CPU_MAX);
	r->before = take_number(w, FACES_MOST);
	r->width = take_number(w, FACES_MOST);
	r->value = take_number(w, FACES_MOST);
	if (w->bad || *w->at || face == FACES_COUNT || !s->has_hello || !is_there(&s->hello, face))
		return false;
	s->count++;
	return true;
}

static bool take_tally(struct faces_stream *s, struct words *w)
{
	const char letter = take_letter(w);
	struct ticks_tally t = {0};
	int source = 0;

	while (source < TICKS_SOURCES && ticks_source_letters[source] != letter)
		source++;
	t.source = (enum ticks_source)source; /* the first that has this letter */
	t.busy = take_number(w, 1);
	t.start = take_number(w, FACES_MOST);
	t.start_width = take_number(w, FACES_MOST);
	t.stop = take_number(w, FACES_MOST);
	t.stop_width = take_number(w, FACES_MOST);
	t.count = take_number(w, UINT32_MAX);
	t.stored = take_number(w, UINT32_MAX);
	t.p50 = take_number(w, UINT32_MAX);
	t.p99 = take_number(w, UINT32_MAX);
	t.most = take_number(w, UINT32_MAX);
	if (w->bad || *w->at || t.stop < t.start || source == TICKS_SOURCES)
		return false;
	s->tally = t;
	s->has_tally = true;
	return true;
}

static bool take_begin(struct faces_stream *s, struct words *w)
{
	if (w->bad || *w->at != '\0')
		return false;
	s->has_begun = true;
	return true;
}

static bool take_count(struct faces_stream *s, struct words *w)
{
	uint64_t count = take_number(w, UINT32_MAX);

	if (w->bad || *w->at)
		return false;
	s->count_so_far = count;
	s->has_count = true;
	return true;
}

static int make_room(struct faces_stream *s)
{
	size_t capacity = s->capacity ? 2 * s->capacity : 1024;
	struct faces_reading *grown;

	if (s->count < s->capacity)
		return 0;
	grown = reallocarray(s->readings, capacity, sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	s->readings = grown;
	s->capacity = capacity;
	return 0;
}

static int take_line(void *owner, bool whole)
{
	struct faces_stream *s = owner;
	struct words w = {.at = s->line + 1};
	bool good;

	if (!whole) {
		s->damaged++;
		return 0;
	}
	if (make_room(s) < 0)
		return -ENOMEM;
	if (s->record)
		fprintf(s->record, "%s\n", s->line);
	if (take_guest(s))
		return 0;
	good = check_sum(s->line);
	if (good && s->line[0] == 'E')
		snprintf(s->error, sizeof(s->error), "%.*s", FACES_ERROR_MAX - 1,
			 s->line + (s->line[1] ? 2 : 1));
	else if (good)
		good = s->line[0] == 'H'   ? take_hello(s, &w)
		       : s->line[0] == 'R' ? take_reading(s, &w)
		       : s->line[0] == 'B' ? take_begin(s, &w)
		       : s->line[0] == 'S' ? take_count(s, &w)
		       : s->line[0] == 'T' ? take_tally(s, &w)
					   : false;
	s->damaged += !good;
	return 0;
}

int faces_stream_take(void *stream, const char *bytes, size_t size)
{
	struct faces_stream *s = stream;

	return test_lines_take(&s->lines, s->line, sizeof(s->line), bytes, size, take_line, s);
}

void faces_stream_free(struct faces_stream *s)
{
	free(s->readings);
	s->readings = NULL;
	s->count = s->capacity = 0;
}
