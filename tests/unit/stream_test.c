/* SPDX-License-Identifier: Apache-2.0 */
/* stream_test.c - a stream is read as it was written, or refused with a line that says why. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "../random.h"
#include "buffer.h"
#include "kvm/bytes.h"
#include "move/crc32c.h"

enum { SECTIONS = 3, FIRST = STREAM_HEADER };

static const struct stream_section sections[SECTIONS] = {
	{256, 1, 0, 0, 5, (const uint8_t *)"clock"},
	{257, 2, STREAM_OPTIONAL, 1, 4, (const uint8_t *)"CPU1"},
	{2, 1, 0, 0, 6, (const uint8_t *)"memory"},
};

static struct buffer sample(void)
{
	struct buffer b = {0};
	struct stream_sink sink = buffer_sink(&b);
	struct stream_writer w;

	assert_int_equal(stream_begin(&w, &sink, "a.vmt", NULL), 0);
	for (int i = 0; i < SECTIONS; i++)
		assert_int_equal(stream_put(&w, &sections[i], NULL), 0);
	assert_int_equal(stream_end(&w, NULL), 0);
	assert_int_equal(w.bytes, b.length);
	return b;
}

/* To the end of it; *ret_n: sections that were good. */
static int read_all(struct buffer *b, int *ret_n, struct why *why)
{
	struct stream_source source = buffer_source(b);
	struct stream_section s;
	struct stream_reader r;
	int result;

	*ret_n = 0;
	why->text[0] = '\0';
	result = stream_open(&r, &source, "a.vmt", why);
	if (result < 0)
		return result;
	while ((result = stream_next(&r, &s, why)) > 0) {
		assert_in_range(*ret_n, 0, SECTIONS - 1);
		assert_int_equal(s.type, sections[*ret_n].type);
		assert_int_equal(s.version, sections[*ret_n].version);
		assert_int_equal(s.flags, sections[*ret_n].flags);
		assert_int_equal(s.index, sections[*ret_n].index);
		assert_int_equal(s.length, sections[*ret_n].length);
		assert_memory_equal(s.bytes, sections[*ret_n].bytes, s.length);
		++*ret_n;
	}
	if (result == 0)
		result = stream_nothing_more(&r, why);
	stream_close(&r);
	return result;
}

static void refused(struct buffer *b, int error, const char *words)
{
	struct why why;
	int n;

	assert_int_equal(read_all(b, &n, &why), error);
	if (!strstr(why.text, words))
		fail_msg("\"%s\" is not in: %s", words, why.text);
	assert_int_equal(strncmp(why.text, "a.vmt: ", 7), 0);
	assert_null(strchr(why.text, '\n'));
}

static void what_was_written_is_read_in_pieces_of_any_size(void **state)
{
	struct buffer b = sample();
	struct why why;
	int n;

	(void)state;
	for (size_t piece = 0; piece < 40; piece++) {
		b.piece = piece;
		assert_int_equal(read_all(&b, &n, &why), 0);
		assert_int_equal(n, SECTIONS);
	}
	free(b.bytes);
}

/* The bytes are a contract with every snapshot that was ever written. */
static void the_bytes_are_these(void **state)
{
	static const uint8_t header[] = {0x89, 'V', 'M', 'T', 13, 10, 26, 10,
					 1,    0,   32,  0,   0,  0,  0,  0};
	static const uint8_t section[] = {0, 1, 0, 0, 1, 0, 0, 0, 0, 0,
					  0, 0, 0, 0, 0, 0, 5, 0, 0, 0};
	struct buffer b = sample();

	(void)state;
	assert_memory_equal(b.bytes, header, sizeof(header));
	assert_int_equal(get32(b.bytes + 28), crc32c(0, b.bytes, 28));
	assert_memory_equal(b.bytes + FIRST, section, sizeof(section));
	assert_int_equal(get32(b.bytes + FIRST + 20), crc32c(0, "clock", 5));
	assert_int_equal(get32(b.bytes + FIRST + 24), 0);
	assert_int_equal(get32(b.bytes + FIRST + 28), crc32c(0, b.bytes + FIRST, 28));
	assert_memory_equal(b.bytes + FIRST + 32, "clock", 5);
	assert_int_equal(b.length, 32 + 4 * 32 + 5 + 4 + 6);
	free(b.bytes);
}

static void every_flipped_bit_is_found(void **state)
{
	struct buffer b = sample();

	(void)state;
	for (size_t bit = 0; bit < b.length * 8; bit++) {
		b.bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
		refused(&b, -EINVAL,
			bit < 64          ? "is no snapshot"
			: bit < FIRST * 8 ? "damaged: its header"
					  : "damaged: ");
		b.bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
	free(b.bytes);
}

static void one_that_is_cut_off_anywhere_is_refused(void **state)
{
	struct buffer b = sample();
	const size_t whole = b.length;

	(void)state;
	for (b.length = 0; b.length < whole; b.length++)
		refused(&b, -EINVAL, b.length < 8 ? "is no snapshot" : "ends too early");
	free(b.bytes);
}

/* Nobody has a whole copy of it elsewhere. */
static void a_connection_that_ends_anywhere_has_broken(void **state)
{
	struct buffer b = sample();
	const size_t whole = b.length;

	(void)state;
	b.live = true;
	for (b.length = 0; b.length < whole; b.length++)
		refused(&b, -ECONNRESET, "the other side has closed the connection");
	b.bytes[FIRST + STREAM_SECTION] ^= 1;
	refused(&b, -EINVAL, "(try again)");
	b.bytes[0] = 'G';
	refused(&b, -EINVAL, "is no stream of vmtime");
	free(b.bytes);
}

static void one_that_goes_on_is_refused(void **state)
{
	struct buffer b = sample();

	(void)state;
	buffer_put(&b, "", 1);
	refused(&b, -EINVAL, "goes on behind its end");
	free(b.bytes);
}

static void what_is_foreign_is_told_from_what_is_damaged(void **state)
{
	static const char elf[64] = "\177ELF and so on";
	struct buffer b = {0};

	(void)state;
	refused(&b, -EINVAL, "is no snapshot");
	buffer_put(&b, elf, sizeof(elf));
	refused(&b, -EINVAL, "is no snapshot");
	free(b.bytes);
}

static void seal_header(uint8_t *header, size_t length)
{
	put32(header + length, crc32c(0, header, length));
}

static void a_later_version_is_refused_by_name(void **state)
{
	struct buffer b = sample();

	(void)state;
	put16(b.bytes + 8, STREAM_VERSION + 1);
	memcpy(b.bytes + 16, "9.8.7\0\0\0\0\0\0", 12);
	seal_header(b.bytes, 28);
	refused(&b, -ENOTSUP, "has version 2 of the format, written by vmtime 9.8.7");
	put16(b.bytes + 8, 1);
	put32(b.bytes + 12, 1); /* a flag */
	memset(b.bytes + 16, 0xff, 12);
	seal_header(b.bytes, 28);
	refused(&b, -ENOTSUP, "written by vmtime ????????????");
	free(b.bytes);
}

static void a_section_with_unknown_flags_is_refused(void **state)
{
	struct buffer b = sample();

	(void)state;
	put16(b.bytes + FIRST + 6, 2);
	seal_header(b.bytes + FIRST, 28);
	refused(&b, -ENOTSUP, "section 0 has flags");
	free(b.bytes);
}

static void a_length_that_nobody_writes_allocates_nothing(void **state)
{
	struct buffer b = sample();

	(void)state;
	put32(b.bytes + FIRST + 16, STREAM_MOST + 1);
	seal_header(b.bytes + FIRST, 28);
	refused(&b, -EINVAL, "longer than any");
	free(b.bytes);
}

/* Each is right in itself. */
static void a_section_that_is_missing_or_comes_twice_is_found(void **state)
{
	struct buffer whole = sample(), b = {0};
	const size_t second = FIRST + 32 + 5, third = second + 32 + 4;

	(void)state;
	buffer_put(&b, whole.bytes, second);
	buffer_put(&b, whole.bytes + third, whole.length - third);
	refused(&b, -EINVAL, "section 2 comes where section 1 should");
	b.length = 0;
	buffer_put(&b, whole.bytes, second);
	buffer_put(&b, whole.bytes + FIRST, whole.length - FIRST);
	refused(&b, -EINVAL, "section 0 comes where section 1 should");
	free(b.bytes);
	free(whole.bytes);
}

static void an_unknown_section_may_be_left_out_only_if_it_says_so(void **state)
{
	struct buffer b = sample();
	struct stream_source source = buffer_source(&b);
	struct stream_section s;
	struct stream_reader r;
	struct why why;

	(void)state;
	assert_int_equal(stream_open(&r, &source, "a.vmt", &why), 0);
	assert_int_equal(stream_next(&r, &s, &why), 1);
	assert_int_equal(stream_unknown(&r, &s, &why), -ENOTSUP);
	assert_non_null(strstr(why.text, "type 256, version 1"));
	assert_int_equal(stream_next(&r, &s, &why), 1);
	assert_int_equal(stream_unknown(&r, &s, &why), 0);
	stream_close(&r);
	free(b.bytes);
}

/* The optional flag leaves out what is in the middle, never the end. */
static void an_end_of_another_kind_is_refused_whatever_its_flags(void **state)
{
	struct buffer b = sample();
	uint8_t *end = b.bytes + b.length - STREAM_SECTION;

	(void)state;
	put16(end + 6, STREAM_OPTIONAL);
	put16(end + 4, 2);
	seal_header(end, 28);
	refused(&b, -ENOTSUP, "type 1, version 2, that this vmtime does not know");
	put16(end + 4, 1);
	seal_header(end, 28);
	refused(&b, -ENOTSUP, "type 1, version 1, that this vmtime does not know");
	free(b.bytes);
}

static void a_sink_that_fails_at_any_write_ends_it(void **state)
{
	struct buffer whole = sample();

	(void)state;
	for (size_t full = 1; full < whole.length; full++) {
		struct buffer b = {.full = full};
		struct stream_sink sink = buffer_sink(&b);
		struct stream_writer w;
		struct why why;
		int result = stream_begin(&w, &sink, "a.vmt", &why);

		for (int i = 0; i < SECTIONS && result == 0; i++)
			result = stream_put(&w, &sections[i], &why);
		if (result == 0)
			result = stream_end(&w, &why);
		assert_int_equal(result, -ENOSPC);
		assert_non_null(strstr(why.text, "make room"));
		free(b.bytes);
	}
	free(whole.bytes);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_was_written_is_read_in_pieces_of_any_size),
		cmocka_unit_test(the_bytes_are_these),
		cmocka_unit_test(every_flipped_bit_is_found),
		cmocka_unit_test(one_that_is_cut_off_anywhere_is_refused),
		cmocka_unit_test(a_connection_that_ends_anywhere_has_broken),
		cmocka_unit_test(one_that_goes_on_is_refused),
		cmocka_unit_test(what_is_foreign_is_told_from_what_is_damaged),
		cmocka_unit_test(a_later_version_is_refused_by_name),
		cmocka_unit_test(a_section_with_unknown_flags_is_refused),
		cmocka_unit_test(a_length_that_nobody_writes_allocates_nothing),
		cmocka_unit_test(a_section_that_is_missing_or_comes_twice_is_found),
		cmocka_unit_test(an_unknown_section_may_be_left_out_only_if_it_says_so),
		cmocka_unit_test(an_end_of_another_kind_is_refused_whatever_its_flags),
		cmocka_unit_test(a_sink_that_fails_at_any_write_ends_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
