/* SPDX-License-Identifier: Apache-2.0 */
/* message_test.c - the words of a migration are read as they were written, and nothing else is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "buffer.h"
#include "kvm/bytes.h"
#include "move/message.h"

enum { CLOCKS = HOSTS_READING_BYTES };

static const struct hosts_reading one = {
	.tsc = 1,
	.tsc_khz = 2400000,
	.tai_s = 37,
	.utc_ns = INT64_C(1700000000000000000),
	.bound_ns = 50,
	.synchronized = true,
};
static const struct hosts_reading other = {
	.tsc = UINT64_MAX,
	.tsc_khz = 1,
	.utc_ns = -1,
	.bound_ns = UINT64_MAX,
	.leap = true,
};

static void same_clocks(const struct hosts_reading *a, const struct hosts_reading *b)
{
	uint8_t x[CLOCKS], y[CLOCKS];

	hosts_put(a, x);
	hosts_put(b, y);
	assert_memory_equal(x, y, CLOCKS);
}

/* What is written between the two and read again. */
struct talk {
	struct buffer buffer;
	struct stream_writer w;
	struct stream_reader r;
	struct stream_section s;
	struct why why;
};

static struct talk *begin(void)
{
	struct talk *t = calloc(1, sizeof(*t));
	struct stream_sink sink = buffer_sink(&t->buffer);

	assert_int_equal(stream_begin(&t->w, &sink, "there", NULL), 0);
	return t;
}

static const struct stream_section *next(struct talk *t)
{
	struct stream_source source = {.get = buffer_get, .from = &t->buffer};

	if (!t->r.bytes)
		assert_int_equal(stream_open(&t->r, &source, "there", NULL), 0);
	assert_int_equal(stream_next(&t->r, &t->s, NULL), 1);
	return &t->s;
}

static void end(struct talk *t)
{
	stream_close(&t->r);
	free(t->buffer.bytes);
	free(t);
}

static void all_that_a_word_says_arrives(void **state)
{
	const struct message_hello said = {.low_size = 1ULL << 30,
					   .high_size = 1ULL << 40,
					   .at = one,
					   .stands = true,
					   .patience_ms = 300000};
	const struct message_round round = {.number = 2, .remaining_bytes = UINT64_MAX};
	struct message_hello hello = {0};
	struct message_round heard = {0};
	struct hosts_reading asked, now;
	struct talk *t = begin();

	(void)state;
	assert_int_equal(message_put_hello(&t->w, &said, NULL), 0);
	assert_int_equal(message_hello(&t->r, next(t), &hello, NULL), 0);
	assert_true(hello.low_size == said.low_size && hello.high_size == said.high_size);
	assert_true(hello.stands);
	assert_int_equal(hello.patience_ms, said.patience_ms);
	same_clocks(&hello.at, &one);

	assert_int_equal(message_put_ready(&t->w, &one, &other, NULL), 0);
	assert_int_equal(message_ready(&t->r, next(t), &asked, &now, NULL), 0);
	same_clocks(&asked, &one);
	same_clocks(&now, &other);

	assert_int_equal(message_put_begin(&t->w, &other, NULL), 0);
	assert_int_equal(message_begin(&t->r, next(t), &now, NULL), 0);
	same_clocks(&now, &other);

	assert_int_equal(message_put_round(&t->w, &round, NULL), 0);
	assert_int_equal(message_round(&t->r, next(t), &heard, NULL), 0);
	assert_true(heard.number == 2 && heard.remaining_bytes == UINT64_MAX);
	end(t);
}

static void words_without_bytes_are_known_by_their_names(void **state)
{
	static const struct {
		enum message_type type;
		const char *name;
	} words[] = {
		{MESSAGE_ASK, "ASK"},         {MESSAGE_WHOLE, "WHOLE"}, {MESSAGE_LOADED, "LOADED"},
		{MESSAGE_RUNNING, "RUNNING"}, {MESSAGE_GO, "GO"},
	};
	struct talk *t = begin();
	char buf[32];

	(void)state;
	for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++) {
		assert_int_equal(message_put_word(&t->w, words[i].type, NULL), 0);
		assert_int_equal(message_word(&t->r, next(t), NULL), 0);
		assert_int_equal(t->s.type, words[i].type);
		assert_string_equal(message_name(t->s.type, buf), words[i].name);
	}
	assert_string_equal(message_name(MESSAGE_HELLO, buf), "HELLO");
	assert_string_equal(message_name(MESSAGE_CANCEL, buf), "CANCEL");
	assert_string_equal(message_name(STREAM_END, buf), "END");
	assert_string_equal(message_name(99, buf), "a section of type 99");
	end(t);
}

static void a_why_is_one_line_of_text_and_no_longer_than_it_may(void **state)
{
	char text[MESSAGE_TEXT + 1], longer[MESSAGE_TEXT + 20];
	struct talk *t = begin();

	(void)state;
	memset(longer, 'l', sizeof(longer) - 1);
	longer[sizeof(longer) - 1] = '\0';
	assert_int_equal(message_put_text(&t->w, MESSAGE_FAILED, longer, NULL), 0);
	assert_int_equal(message_text(&t->r, next(t), text, NULL), 0);
	assert_int_equal(strlen(text), MESSAGE_TEXT);
	assert_int_equal(message_put_text(&t->w, MESSAGE_CANCEL, "a\nb\033[1mc\x80", NULL), 0);
	assert_int_equal(message_text(&t->r, next(t), text, NULL), 0);
	assert_string_equal(text, "a?b?[1mc?");
	assert_int_equal(message_put_text(&t->w, MESSAGE_CANCEL, "", NULL), 0);
	assert_int_equal(message_text(&t->r, next(t), text, NULL), 0);
	assert_string_equal(text, "");
	end(t);
}

static int read_it(struct talk *t, const struct stream_section *s)
{
	struct message_hello hello;
	struct message_round round;
	struct hosts_reading a, b;
	char text[MESSAGE_TEXT + 1];

	switch (s->type) {
	case MESSAGE_HELLO:
		return message_hello(&t->r, s, &hello, &t->why);
	case MESSAGE_READY:
		return message_ready(&t->r, s, &a, &b, &t->why);
	case MESSAGE_BEGIN:
		return message_begin(&t->r, s, &a, &t->why);
	case MESSAGE_ROUND:
		return message_round(&t->r, s, &round, &t->why);
	case MESSAGE_FAILED:
	case MESSAGE_CANCEL:
		return message_text(&t->r, s, text, &t->why);
	default:
		return message_word(&t->r, s, &t->why);
	}
}

static void is_refused(uint32_t type, uint16_t version, const uint8_t *bytes, uint32_t length,
		       int error, const char *words)
{
	const struct stream_section s = {
		.type = type, .version = version, .length = length, .bytes = bytes};
	struct talk *t = begin();

	assert_int_equal(stream_put(&t->w, &s, NULL), 0);
	assert_int_equal(read_it(t, next(t)), error);
	if (!strstr(t->why.text, words) || strncmp(t->why.text, "there: ", 7) != 0)
		fail_msg("\"%s\" is not in: %s", words, t->why.text);
	end(t);
}

/* One byte less, one more, another version; also where the flag says that it may be left out. */
static void words_of_another_length_or_version_are_none(void **state)
{
	static const uint16_t lengths[] = {
		[MESSAGE_HELLO] = 24 + CLOCKS,
		[MESSAGE_ASK] = 0,
		[MESSAGE_READY] = 2 * CLOCKS,
		[MESSAGE_BEGIN] = CLOCKS,
		[MESSAGE_ROUND] = 16,
		[MESSAGE_WHOLE] = 0,
		[MESSAGE_LOADED] = 0,
		[MESSAGE_GO] = 0,
		[MESSAGE_RUNNING] = 0,
		[MESSAGE_FAILED] = MESSAGE_TEXT,
		[MESSAGE_CANCEL] = MESSAGE_TEXT,
	};
	uint8_t bytes[MESSAGE_TEXT + 1] = {0};
	struct talk *t = begin();

	(void)state;
	for (uint32_t type = MESSAGE_HELLO; type <= MESSAGE_CANCEL; type++) {
		const uint16_t length = lengths[type];
		const struct stream_section later = {
			.type = type, .version = 2, .flags = STREAM_OPTIONAL};

		is_refused(type, 1, bytes, length + 1U, -EINVAL, "is none");
		if (length && length != MESSAGE_TEXT)
			is_refused(type, 1, bytes, length - 1U, -EINVAL, "is none");
		is_refused(type, 2, bytes, length, -ENOTSUP, "version 2");
		is_refused(type, 0, bytes, length, -ENOTSUP, "version 0");
		assert_int_equal(read_it(t, &later), -ENOTSUP);
	}
	end(t);
}

static void numbers_that_mean_nothing_are_refused(void **state)
{
	uint8_t hello[24 + CLOCKS] = {0}, round[16] = {0}, ready[2 * CLOCKS];

	(void)state;
	hosts_put(&one, hello + 24);
	hosts_put(&one, ready);
	memset(ready + CLOCKS, 0xff, CLOCKS);
	put32(hello + 16, 2);
	is_refused(MESSAGE_HELLO, 1, hello, sizeof(hello), -EINVAL, "impossible flags");
	put32(hello + 16, 0);
	memset(hello + 24, 0xff, CLOCKS);
	is_refused(MESSAGE_HELLO, 1, hello, sizeof(hello), -EINVAL, "impossible clocks");
	is_refused(MESSAGE_READY, 1, ready, sizeof(ready), -EINVAL, "impossible clocks");
	is_refused(MESSAGE_BEGIN, 1, ready + CLOCKS, CLOCKS, -EINVAL, "impossible clocks");
	put32(round, 1);
	is_refused(MESSAGE_ROUND, 1, round, sizeof(round), -EINVAL, "impossible numbers");
	put32(round, 2);
	put32(round + 4, 1);
	is_refused(MESSAGE_ROUND, 1, round, sizeof(round), -EINVAL, "impossible numbers");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_that_a_word_says_arrives),
		cmocka_unit_test(words_without_bytes_are_known_by_their_names),
		cmocka_unit_test(a_why_is_one_line_of_text_and_no_longer_than_it_may),
		cmocka_unit_test(words_of_another_length_or_version_are_none),
		cmocka_unit_test(numbers_that_mean_nothing_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
