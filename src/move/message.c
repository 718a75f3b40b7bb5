/* SPDX-License-Identifier: Apache-2.0 */
/* message.c - what the two sides of a live migration say to each other. */
#include "move/message.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "kvm/bytes.h"

enum { VERSION = 1 };

/* HELLO, READY, ROUND. */
enum { H_LOW_AT = 0, H_HIGH_AT = 8, H_FLAGS_AT = 16, H_PATIENCE_AT = 20, H_CLOCKS_AT = 24 };
enum { R_ASKED_AT = 0, R_NOW_AT = HOSTS_READING_BYTES };
enum { N_NUMBER_AT = 0, N_ZERO_AT = 4, N_REMAINING_AT = 8 };

enum { STANDS = 1 };
enum {
	HELLO_BYTES = H_CLOCKS_AT + HOSTS_READING_BYTES,
	READY_BYTES = 2 * HOSTS_READING_BYTES,
	BEGIN_BYTES = HOSTS_READING_BYTES,
	ROUND_BYTES = 16,
};

static int put(struct stream_writer *w, enum message_type type, const void *bytes, size_t length,
	       struct why *why)
{
	const struct stream_section s = {
		.type = type, .version = VERSION, .length = (uint32_t)length, .bytes = bytes};

	return stream_put(w, &s, why);
}

int message_put_hello(struct stream_writer *w, const struct message_hello *hello, struct why *why)
{
	uint8_t bytes[HELLO_BYTES] = {0};

	put64(bytes + H_LOW_AT, hello->low_size);
	put64(bytes + H_HIGH_AT, hello->high_size);
	put32(bytes + H_FLAGS_AT, hello->stands ? STANDS : 0);
	put32(bytes + H_PATIENCE_AT, hello->patience_ms);
	hosts_put(&hello->at, bytes + H_CLOCKS_AT);
	return put(w, MESSAGE_HELLO, bytes, sizeof(bytes), why);
}

int message_put_ready(struct stream_writer *w, const struct hosts_reading *asked,
		      const struct hosts_reading *now, struct why *why)
{
	uint8_t bytes[READY_BYTES];

	hosts_put(asked, bytes + R_ASKED_AT);
	hosts_put(now, bytes + R_NOW_AT);
	return put(w, MESSAGE_READY, bytes, sizeof(bytes), why);
}

int message_put_begin(struct stream_writer *w, const struct hosts_reading *at, struct why *why)
{
	uint8_t bytes[BEGIN_BYTES];

	hosts_put(at, bytes);
	return put(w, MESSAGE_BEGIN, bytes, sizeof(bytes), why);
}

int message_put_round(struct stream_writer *w, const struct message_round *round, struct why *why)
{
	uint8_t bytes[ROUND_BYTES] = {0};

	put32(bytes + N_NUMBER_AT, round->number);
	put64(bytes + N_REMAINING_AT, round->remaining_bytes);
	return put(w, MESSAGE_ROUND, bytes, sizeof(bytes), why);
}

int message_put_word(struct stream_writer *w, enum message_type type, struct why *why)
{
	return put(w, type, NULL, 0, why);
}

int message_put_text(struct stream_writer *w, enum message_type type, const char *text,
		     struct why *why)
{
	return put(w, type, text, strnlen(text, MESSAGE_TEXT), why);
}

/* It is of a version that is known, and as long as that one is. */
static int check(const struct stream_reader *r, const struct stream_section *s, uint32_t least,
		 uint32_t most, struct why *why)
{
	char name[32];

	if (s->version != VERSION) {
		/* None of these can be left out. */
		const struct stream_section must = {.type = s->type, .version = s->version};

		return stream_unknown(r, &must, why);
	}
	if (s->length < least || s->length > most)
		return why_set(why, -EINVAL,
			       "%s: %s of %" PRIu32 " bytes is none (it has %" PRIu32 ")", r->name,
			       message_name(s->type, name), s->length,
			       s->length < least ? least : most);
	return 0;
}

static int wrong(const struct stream_reader *r, const struct stream_section *s, const char *what,
		 struct why *why)
{
	char name[32];

	return why_set(why, -EINVAL, "%s: %s has impossible %s", r->name,
		       message_name(s->type, name), what);
}

int message_hello(const struct stream_reader *r, const struct stream_section *s,
		  struct message_hello *ret_hello, struct why *why)
{
	int result = check(r, s, HELLO_BYTES, HELLO_BYTES, why);
	uint32_t flags;

	if (result < 0)
		return result;
	flags = get32(s->bytes + H_FLAGS_AT);
	ret_hello->low_size = get64(s->bytes + H_LOW_AT);
	ret_hello->high_size = get64(s->bytes + H_HIGH_AT);
	ret_hello->stands = flags & STANDS;
	ret_hello->patience_ms = get32(s->bytes + H_PATIENCE_AT);
	if (flags & ~(uint32_t)STANDS)
		return wrong(r, s, "flags", why);
	if (hosts_get(s->bytes + H_CLOCKS_AT, &ret_hello->at) < 0)
		return wrong(r, s, "clocks", why);
	return 0;
}

int message_ready(const struct stream_reader *r, const struct stream_section *s,
		  struct hosts_reading *ret_asked, struct hosts_reading *ret_now, struct why *why)
{
	int result = check(r, s, READY_BYTES, READY_BYTES, why);

	if (result < 0)
		return result;
	if (hosts_get(s->bytes + R_ASKED_AT, ret_asked) < 0 ||
	    hosts_get(s->bytes + R_NOW_AT, ret_now) < 0)
		return wrong(r, s, "clocks", why);
	return 0;
}

int message_begin(const struct stream_reader *r, const struct stream_section *s,
		  struct hosts_reading *ret_at, struct why *why)
{
	int result = check(r, s, BEGIN_BYTES, BEGIN_BYTES, why);

	if (result < 0)
		return result;
	return hosts_get(s->bytes, ret_at) < 0 ? wrong(r, s, "clocks", why) : 0;
}

int message_round(const struct stream_reader *r, const struct stream_section *s,
		  struct message_round *ret_round, struct why *why)
{
	int result = check(r, s, ROUND_BYTES, ROUND_BYTES, why);

	if (result < 0)
		return result;
	ret_round->number = get32(s->bytes + N_NUMBER_AT);
	ret_round->remaining_bytes = get64(s->bytes + N_REMAINING_AT);
	if (ret_round->number < 2 || get32(s->bytes + N_ZERO_AT))
		return wrong(r, s, "numbers", why);
	return 0;
}

int message_word(const struct stream_reader *r, const struct stream_section *s, struct why *why)
{
	return check(r, s, 0, 0, why);
}

int message_text(const struct stream_reader *r, const struct stream_section *s,
		 char ret_text[MESSAGE_TEXT + 1], struct why *why)
{
	int result = check(r, s, 0, MESSAGE_TEXT, why);

	if (result < 0)
		return result;
	for (uint32_t i = 0; i < s->length; i++)
		ret_text[i] = s->bytes[i] >= ' ' && s->bytes[i] <= '~' ? (char)s->bytes[i] : '?';
	ret_text[s->length] = '\0';
	return 0;
}

const char *message_name(uint32_t type, char buf[32])
{
	static const char *const names[] = {
		"HELLO",  "ASK", "READY",   "BEGIN",  "ROUND",  "WHOLE",
		"LOADED", "GO",  "RUNNING", "FAILED", "CANCEL",
	};

	if (type >= MESSAGE_HELLO && type <= MESSAGE_CANCEL)
		return names[type - MESSAGE_HELLO];
	if (type == STREAM_END)
		return "END";
	if (type == STREAM_MEMORY)
		return "MEMORY";
	snprintf(buf, 32, "a section of type %" PRIu32, type);
	return buf;
}
