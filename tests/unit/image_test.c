/* SPDX-License-Identifier: Apache-2.0 */
/* image_test.c - a section has the pages that it is to have, as they are or compressed, and is
 * refused when it is not as it was. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "buffer.h"
#include "kvm/bytes.h"
#include "move/image.h"

enum { PAGE = 4096, SIZE = 16 << 20, FIRST = STREAM_HEADER + STREAM_SECTION };

/* What goes from one memory to another, through a stream. */
struct way {
	struct guest_memory from, to;
	struct image *image;
	struct buffer buffer;
	struct why why;
};

/* Of 8 pages the odd ones have something in them; there the other memory has noise in all. */
static struct way *new_way(void)
{
	struct way *w = calloc(1, sizeof(*w));

	assert_int_equal(memory_create(SIZE, &w->from, NULL), 0);
	assert_int_equal(memory_create(SIZE, &w->to, NULL), 0);
	for (unsigned page = 1; page < 8; page += 2)
		memset(w->from.low + page * PAGE, (int)page, PAGE);
	memset(w->to.low, 0xee, 8 * PAGE);
	w->image = image_new();
	return w;
}

static void end_way(struct way *w)
{
	memory_destroy(&w->from);
	memory_destroy(&w->to);
	image_free(w->image);
	free(w->buffer.bytes);
	free(w);
}

static void write_it(struct way *w, const uint8_t *wanted, bool compress)
{
	const struct image_run run = {.pages = 8, .wanted = wanted, .compress = compress};
	struct stream_sink sink = buffer_sink(&w->buffer);
	struct stream_section section;
	struct stream_writer writer;

	w->buffer.length = 0;
	assert_int_equal(image_pack(w->image, &w->from, &run, &section), 0);
	assert_int_equal(stream_begin(&writer, &sink, "there", NULL), 0);
	assert_int_equal(stream_put(&writer, &section, NULL), 0);
}

static int read_it(struct way *w)
{
	struct stream_source source = buffer_source(&w->buffer);
	struct stream_section section;
	struct stream_reader reader;
	struct image_piece piece;
	int result;

	assert_int_equal(stream_open(&reader, &source, "there", &w->why), 0);
	result = stream_next(&reader, &section, &w->why);
	if (result == 1)
		result = image_look(&reader, &section, &w->to, &piece, &w->why);
	if (result == 0)
		result = image_unpack(w->image, "there", &section, &piece, &w->to, false, &w->why);
	stream_close(&reader);
	return result;
}

static bool is_all(const uint8_t *page, int value)
{
	for (unsigned i = 0; i < PAGE; i++)
		if (page[i] != value)
			return false;
	return true;
}

static void the_pages_that_are_wanted_come_and_no_others(void **state)
{
	const uint8_t all = 0xff, some = 0x3c;

	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		struct way *w = new_way();
		const uint8_t wanted = i & 1 ? some : all;

		write_it(w, i & 1 ? &some : NULL, i & 2);
		if (read_it(w) < 0)
			fail_msg("%s", w->why.text);
		for (int page = 0; page < 8; page++)
			assert_true(is_all(w->to.low + page * PAGE, !(wanted >> page & 1) ? 0xee
								    : page % 2            ? page
											  : 0));
		end_way(w);
	}
}

/* Also of a page's content, which the stream's checksum does not have where it is stored as it is:
 * each byte of all before it, and some of it. */
static void a_flipped_bit_is_seen_wherever_it_is(void **state)
{
	(void)state;
	for (int compress = 0; compress < 2; compress++) {
		struct way *w = new_way();

		write_it(w, NULL, compress);
		for (size_t at = FIRST; at < w->buffer.length; at += at < FIRST + 200 ? 1 : 61) {
			w->buffer.bytes[at] ^= 0x10;
			assert_int_equal(read_it(w), -EINVAL);
			if (!strstr(w->why.text, "match its checksum"))
				fail_msg("%zu: %s", at, w->why.text);
			w->buffer.bytes[at] ^= 0x10;
		}
		assert_int_equal(read_it(w), 0);
		end_way(w);
	}
}

/* A section as it is written by one who knows how, but nothing of what it says. */
static void is_refused(struct way *w, const struct stream_section *section, int error,
		       const char *words)
{
	struct stream_sink sink = buffer_sink(&w->buffer);
	struct stream_writer writer;

	w->buffer.length = 0;
	assert_int_equal(stream_begin(&writer, &sink, "there", NULL), 0);
	assert_int_equal(stream_put(&writer, section, NULL), 0);
	assert_int_equal(read_it(w), error);
	if (!strstr(w->why.text, words))
		fail_msg("\"%s\" is not in: %s", words, w->why.text);
}

static void what_says_something_impossible_is_refused(void **state)
{
	const struct image_run run = {.pages = 8};
	struct way *w = new_way();
	struct stream_section good, s;
	uint8_t *bytes;

	(void)state;
	assert_int_equal(image_pack(w->image, &w->from, &run, &good), 0);
	assert_int_equal(good.length, STREAM_HEAD + 4 * PAGE);
	bytes = malloc(good.length);
	memcpy(bytes, good.bytes, good.length);
	good.bytes = bytes;
	s = good;
	s.length -= 8;
	is_refused(w, &s, -EINVAL, "another length");
	s.length = STREAM_HEAD;
	is_refused(w, &s, -EINVAL, "another length");
	s.length = 80;
	is_refused(w, &s, -EINVAL, "another length");
	s = good;
	s.flags = 0;
	is_refused(w, &s, -ENOTSUP, "version 2");
	s = good;
	s.version = 1;
	is_refused(w, &s, -ENOTSUP, "version 1");
	put32(bytes + 12, 1);
	is_refused(w, &good, -EINVAL, "another length than its pages");
	put32(bytes + 12, 0);
	bytes[127] = 1;
	is_refused(w, &good, -EINVAL, "another length than its pages");
	bytes[127] = 0;
	/* Of what is no memory each byte is in the stream's checksum. */
	s = good;
	s.type = STREAM_STATE;
	is_refused(w, &s, -ENOTSUP, "flags");
	free(bytes);
	end_way(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_pages_that_are_wanted_come_and_no_others),
		cmocka_unit_test(a_flipped_bit_is_seen_wherever_it_is),
		cmocka_unit_test(what_says_something_impossible_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
