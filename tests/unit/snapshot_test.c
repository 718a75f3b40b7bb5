/* SPDX-License-Identifier: Apache-2.0 */
/* snapshot_test.c - a snapshot gives back the state and every page, or is refused and says why; and
 * a file is there whole or not at all. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "../random.h"
#include "buffer.h"
#include "folder.h"
#include "kvm/bytes.h"
#include "move/crc32c.h"
#include "move/snapshot.h"

enum { PAGE = 4096, SMALL = 16 << 20 };

/* As memory_create() makes it, with two pieces without 4 GiB. */
static struct guest_memory small(uint64_t high_size)
{
	struct guest_memory m, other;

	assert_int_equal(memory_create(SMALL, &m, NULL), 0);
	if (high_size) {
		assert_int_equal(memory_create(SMALL, &other, NULL), 0);
		m.high = other.low;
		m.high_size = high_size;
	}
	return m;
}

static void release(struct guest_memory *m)
{
	m->high_size = m->high ? SMALL : 0;
	memory_destroy(m);
}

static void fill_page(struct random *random, uint8_t *page)
{
	uint32_t what = random_below(random, 4);

	if (what == 0) { /* cannot be compressed */
		for (int i = 0; i < PAGE; i += 8)
			put64(page + i, random_next(random));
	} else if (what == 1) { /* all but zero */
		page[random_below(random, PAGE)] = 1;
	} else {
		memset(page, (int)random_below(random, 256), PAGE);
		put64(page + random_below(random, PAGE / 8) * 8, random_next(random));
	}
}

/* Runs of pages and of holes, of any length. */
static void fill(struct random *random, uint8_t *at, uint64_t size)
{
	for (uint64_t page = 0; page < size / PAGE;) {
		uint64_t run = random_wide(random) % 700;
		bool hole = random_below(random, 2);

		for (; run && page < size / PAGE; run--, page++)
			if (!hole)
				fill_page(random, at + page * PAGE);
	}
}

static struct vmstate_parts some_state(struct random *random)
{
	struct vmstate_parts p = {0};
	uint8_t bytes[5000];

	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)random_next(random);
	for (uint32_t i = 0; i < 20; i++)
		assert_int_equal(vmstate_parts_add(&p, i / 3, 1, i % 3, bytes,
						   random_below(random, sizeof(bytes))),
				 0);
	return p;
}

static void same_state(const struct vmstate_parts *a, const struct vmstate_parts *b)
{
	assert_int_equal(a->n, b->n);
	for (uint32_t i = 0; i < a->n; i++) {
		const struct vmstate_part *x = &a->parts[i], *y = &b->parts[i];

		assert_int_equal(x->kind, y->kind);
		assert_int_equal(x->version, y->version);
		assert_int_equal(x->index, y->index);
		assert_int_equal(x->length, y->length);
		assert_memory_equal(x->bytes, y->bytes, x->length);
		assert_ptr_equal(vmstate_parts_find(b, x->kind, x->index), y);
	}
}

static int write_to(struct buffer *b, const struct vmstate_parts *state,
		    const struct guest_memory *memory, struct image_stats *stats, struct why *why)
{
	struct stream_sink sink = buffer_sink(b);

	return snapshot_write(&sink, "a.vmt", state, memory, NULL, stats, why);
}

/* Into a memory of that shape; what was read stays in it. */
static int read_into(struct buffer *b, const struct guest_memory *memory,
		     const struct vmstate_parts *expected, struct image_stats *stats,
		     struct why *why)
{
	struct stream_source source = buffer_source(b);
	struct snapshot *s;
	int result = snapshot_read(&source, "a.vmt", &s, why);

	if (result < 0)
		return result;
	if (expected)
		same_state(expected, snapshot_state(s));
	result = snapshot_memory(s, memory, stats, why);
	snapshot_close(s);
	return result;
}

static void random_memory_with_holes_comes_back(void **state)
{
	struct random random = random_start();

	(void)state;
	for (int run = 0; run < 12; run++) {
		uint64_t high = run % 3 ? (1 + random_below(&random, SMALL / PAGE)) * PAGE : 0;
		struct guest_memory from = small(high), to = small(high);
		struct vmstate_parts parts = some_state(&random);
		struct buffer b = {.piece = run % 4 ? 0 : 10000};
		struct image_stats out, in;

		fill(&random, from.low, from.low_size);
		fill(&random, from.high, from.high_size);
		assert_int_equal(write_to(&b, &parts, &from, &out, NULL), 0);
		assert_int_equal(read_into(&b, &to, &parts, &in, NULL), 0);
		assert_memory_equal(from.low, to.low, from.low_size);
		if (high)
			assert_memory_equal(from.high, to.high, high);
		assert_int_equal(out.pages, (from.low_size + high) / PAGE);
		assert_memory_equal(&out, &in, sizeof(in));
		vmstate_parts_free(&parts);
		release(&from);
		release(&to);
		free(b.bytes);
	}
}

/* 4,096 pages in 16 sections of 112 bytes. */
static void pages_of_zeros_take_no_room(void **state)
{
	struct guest_memory m = small(0);
	struct vmstate_parts none = {0};
	struct image_stats stats;
	struct buffer b = {0};

	(void)state;
	assert_int_equal(write_to(&b, &none, &m, &stats, NULL), 0);
	assert_int_equal(stats.pages, 4096);
	assert_int_equal(stats.zero_pages, 4096);
	assert_int_equal(b.length, 32 + 16 * 112 + 32);
	memset(m.low + 77 * PAGE, 0x5a, PAGE);
	b.length = 0;
	assert_int_equal(write_to(&b, &none, &m, &stats, NULL), 0);
	assert_int_equal(stats.zero_pages, 4095);
	assert_true(b.length < 2100);
	release(&m);
	free(b.bytes);
}

static struct buffer sample(struct guest_memory *ret_memory)
{
	struct random random = {.state = 7};
	struct vmstate_parts parts = some_state(&random);
	struct buffer b = {0};
	struct image_stats stats;

	*ret_memory = small(5 * PAGE);
	for (int i = 0; i < 40; i++)
		fill_page(&random, ret_memory->low + (size_t)random_below(&random, 4096) * PAGE);
	fill_page(&random, ret_memory->high + 3 * PAGE);
	assert_int_equal(write_to(&b, &parts, ret_memory, &stats, NULL), 0);
	vmstate_parts_free(&parts);
	return b;
}

/* Enough for several threads; a hole of many sections lies between what takes long. */
static void a_large_memory_comes_back(void **state)
{
	const uint64_t size = UINT64_C(96) << 20;
	struct random random = random_start();
	struct vmstate_parts none = {0};
	struct guest_memory from, to;
	struct image_stats out, in;
	struct buffer b = {0};
	struct why why;

	(void)state;
	assert_int_equal(memory_create(size, &from, NULL), 0);
	assert_int_equal(memory_create(size, &to, NULL), 0);
	fill(&random, from.low, size / 4);
	fill(&random, from.low + size / 2, size / 4);
	from.low[size - 1] = 1;
	assert_int_equal(write_to(&b, &none, &from, &out, NULL), 0);
	if (read_into(&b, &to, &none, &in, &why) < 0)
		fail_msg("%s", why.text);
	assert_memory_equal(&out, &in, sizeof(in));
	assert_int_equal(memcmp(from.low, to.low, size), 0);
	for (int i = 0; i < 10; i++) {
		size_t bit = 256 + (size_t)random_next(&random) % (b.length * 8 - 256);

		b.bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
		assert_int_equal(read_into(&b, &to, NULL, &in, &why), -EINVAL);
		assert_non_null(strstr(why.text, "damaged"));
		b.bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
	memory_destroy(&from);
	memory_destroy(&to);
	free(b.bytes);
}

static void refused(struct buffer *b, const struct guest_memory *to, const char *words)
{
	struct image_stats stats;
	struct why why = {""};

	assert_true(read_into(b, to, NULL, &stats, &why) < 0);
	if (!strstr(why.text, words) || strncmp(why.text, "a.vmt: ", 7))
		fail_msg("\"%s\" is not in: %s", words, why.text);
	assert_null(strchr(why.text, '\n'));
}

static void flipped_bits_anywhere_are_found(void **state)
{
	struct random random = random_start();
	struct guest_memory m;
	struct buffer b = sample(&m);

	(void)state;
	for (int i = 0; i < 1500; i++) {
		size_t bit = (size_t)random_next(&random) % (b.length * 8);

		b.bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
		refused(&b, &m, bit < 64 ? "is no snapshot" : "damaged");
		b.bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
	release(&m);
	free(b.bytes);
}

static void one_that_is_cut_off_is_refused(void **state)
{
	struct random random = random_start();
	struct guest_memory m;
	struct buffer b = sample(&m);
	size_t whole = b.length;

	(void)state;
	for (int i = 0; i < 400; i++) {
		b.length = 32 + (size_t)random_next(&random) % (whole - 32);
		refused(&b, &m, "ends too early");
	}
	b.length = whole;
	buffer_put(&b, "more", 4);
	refused(&b, &m, "goes on behind its end");
	release(&m);
	free(b.bytes);
}

static void another_size_of_memory_is_refused(void **state)
{
	struct guest_memory m, other = small(4 * PAGE), low = small(0);
	struct buffer b = sample(&m);

	(void)state;
	refused(&b, &other, "covers more memory than this machine has");
	refused(&b, &low, "covers more memory than this machine has");
	other.high_size = 6 * PAGE;
	refused(&b, &other, "its memory ends at 0x100005000, not at 0x100006000");
	release(&m);
	release(&other);
	release(&low);
	free(b.bytes);
}

enum { HEAD = 80 };

/* A stream of its own, with one memory section whose bytes somebody made up. */
static void forge(struct buffer *b, const uint8_t *bytes, uint32_t length)
{
	const struct stream_section section = {STREAM_MEMORY, 1, 0, 0, length, bytes};
	struct stream_sink sink = buffer_sink(b);
	struct stream_writer w;

	b->length = 0;
	assert_int_equal(stream_begin(&w, &sink, "a.vmt", NULL), 0);
	assert_int_equal(stream_put(&w, &section, NULL), 0);
	assert_int_equal(stream_end(&w, NULL), 0);
}

/* Right checksums, wrong everything else. */
static void forged_memory_is_refused(void **state)
{
	static const struct {
		uint64_t gpa;
		uint32_t pages, method;
		uint8_t data, zero;
		uint32_t more; /* bytes behind the head */
		const char *words;
	} cases[] = {
		{0, 0, 0, 0, 0, 0, "impossible pages"},
		{0, 257, 0, 0, 0, 0, "impossible pages"},
		{0, UINT32_MAX, 0, 0, 0, 0, "impossible pages"},
		{1, 1, 0, 0, 1, 0, "impossible pages"},
		{0, 1, 0, 1, 1, PAGE, "impossible pages"}, /* both */
		{0, 1, 0, 2, 1, PAGE, "impossible pages"}, /* of one that is not covered */
		{SMALL, 1, 0, 0, 1, 0, "more memory than"},
		{SMALL - PAGE, 2, 0, 0, 3, 0, "more memory than"},
		{UINT64_MAX - 4095, 1, 0, 0, 1, 0, "more memory than"},
		{UINT64_MAX - 4095, 2, 0, 0, 3, 0, "more memory than"},
		{0, 1, 0, 1, 0, PAGE - 1, "cannot be unpacked"},
		{0, 1, 0, 1, 0, PAGE + 1, "cannot be unpacked"},
		{0, 1, 0, 0, 1, 1, "cannot be unpacked"},
		{0, 1, 1, 0, 1, 0, "cannot be unpacked"},
		{0, 1, 1, 1, 0, 50, "cannot be unpacked"},
		{0, 1, 2, 1, 0, PAGE, "cannot be unpacked"},
		{PAGE, 1, 0, 0, 1, 0, "has a gap at 0x0"},
		{0, 2, 0, 0, 2, 0, "has a gap at 0x0"}, /* the first is in neither */
	};
	static uint8_t bytes[HEAD + PAGE + 1];
	struct guest_memory m = small(0);
	struct buffer b = {0};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		memset(bytes, 0, sizeof(bytes));
		put64(bytes, cases[i].gpa);
		put32(bytes + 8, cases[i].pages);
		put32(bytes + 12, cases[i].method);
		bytes[16] = cases[i].data;
		bytes[48] = cases[i].zero;
		forge(&b, bytes, HEAD + cases[i].more);
		refused(&b, &m, cases[i].words);
	}
	forge(&b, bytes, HEAD - 1);
	refused(&b, &m, "is too short");
	release(&m);
	free(b.bytes);
}

static void state_beyond_all_bounds_is_refused(void **state)
{
	static uint8_t bytes[STREAM_MOST];
	struct guest_memory m = small(0);
	struct buffer b = {0};
	struct stream_sink sink = buffer_sink(&b);
	struct stream_section section = {STREAM_STATE, 1, 0, 0, 0, bytes};
	struct stream_writer w;

	(void)state;
	assert_int_equal(stream_begin(&w, &sink, "a.vmt", NULL), 0);
	for (int i = 0; i < 2; i++)
		assert_int_equal(stream_put(&w, &section, NULL), 0);
	refused(&b, &m, "two sections of type 256 and index 0");
	b.length = STREAM_HEADER;
	w.sections = 0;
	for (section.index = 0; section.index <= VMSTATE_PARTS_MAX; section.index++)
		assert_int_equal(stream_put(&w, &section, NULL), 0);
	refused(&b, &m, "more state than any machine");
	b.length = STREAM_HEADER;
	w.sections = 0;
	section.length = STREAM_MOST;
	for (section.index = 0; section.index <= VMSTATE_BYTES_MAX / STREAM_MOST; section.index++)
		assert_int_equal(stream_put(&w, &section, NULL), 0);
	refused(&b, &m, "more state than any machine");
	b.length = STREAM_HEADER;
	w.sections = 0;
	section = (struct stream_section){.type = 3, .version = 1};
	assert_int_equal(stream_put(&w, &section, NULL), 0);
	refused(&b, &m, "type 3, version 1, that this vmtime does not know");
	release(&m);
	free(b.bytes);
}

/* One section, before or behind the memory. */
static void forge_state(struct buffer *b, const struct stream_section *section, bool behind)
{
	static uint8_t bytes[HEAD];
	const struct stream_section memory = {STREAM_MEMORY, 1, 0, 0, sizeof(bytes), bytes};
	struct stream_sink sink = buffer_sink(b);
	struct stream_writer w;

	put32(bytes + 8, 256);
	memset(bytes + 48, 0xff, 32);
	b->length = 0;
	assert_int_equal(stream_begin(&w, &sink, "a.vmt", NULL), 0);
	if (!behind)
		assert_int_equal(stream_put(&w, section, NULL), 0);
	for (int i = 0; i < SMALL / PAGE / 256; i++) {
		put64(bytes, (uint64_t)i * 256 * PAGE);
		assert_int_equal(stream_put(&w, &memory, NULL), 0);
	}
	if (behind)
		assert_int_equal(stream_put(&w, section, NULL), 0);
	assert_int_equal(stream_end(&w, NULL), 0);
}

/* What a later vmtime's machine cannot do without must not be lost here without a word. */
static void state_that_is_not_known_is_refused_unless_it_may_be_left_out(void **state)
{
	static const struct {
		uint32_t kind;
		uint16_t version;
		const char *words;
	} cases[] = {
		{VMSTATE_FEATURES + 1, 1, "type 269, version 1, that this vmtime does not know"},
		{UINT32_MAX - STREAM_STATE, 1, "type 4294967295, version 1"},
		{VMSTATE_CLOCK, 2, "type 257, version 2, that this vmtime does not know"},
		{VMSTATE_CLOCK, 0, "type 257, version 0, that this vmtime does not know"},
	};
	const struct vmstate_parts none = {0};
	struct guest_memory m = small(0);
	struct buffer b = {0};

	(void)state;
	for (size_t i = 0; i < 2 * sizeof(cases) / sizeof(cases[0]); i++) {
		struct stream_section section = {
			STREAM_STATE + cases[i / 2].kind, cases[i / 2].version, 0, 0, 4,
			(const uint8_t *)"late"};
		struct image_stats stats;
		struct why why = {""};

		forge_state(&b, &section, i % 2);
		refused(&b, &m, cases[i / 2].words);
		section.flags = STREAM_OPTIONAL;
		forge_state(&b, &section, i % 2);
		if (read_into(&b, &m, &none, &stats, &why) < 0)
			fail_msg("%s", why.text);
	}
	forge_state(&b, &(struct stream_section){STREAM_STATE, 1, STREAM_OPTIONAL, 0, 0, NULL},
		    true);
	refused(&b, &m, "has state behind its memory");
	release(&m);
	free(b.bytes);
}

static void a_disk_that_is_full_at_any_place_is_said_to_be(void **state)
{
	struct random random = {.state = 7};
	struct guest_memory m;
	struct buffer whole = sample(&m);
	struct vmstate_parts parts = some_state(&random);

	(void)state;
	for (size_t full = 1; full < whole.length; full += 1 + whole.length / 150) {
		struct buffer b = {.full = full};
		struct image_stats stats;
		struct why why;

		assert_int_equal(write_to(&b, &parts, &m, &stats, &why), -ENOSPC);
		assert_non_null(strstr(why.text, "make room on that disk"));
		free(b.bytes);
	}
	vmstate_parts_free(&parts);
	free(whole.bytes);
	release(&m);
}

/* The one that would be opened next. */
static int next_fd(void)
{
	int fd = dup(0);

	close(fd);
	return fd;
}

static void a_file_replaces_the_one_before_and_opens(void **state)
{
	struct folder f = folder_new();
	struct guest_memory m, to = small(5 * PAGE);
	struct buffer b = sample(&m);
	struct vmstate_parts none = {0};
	struct image_stats out, in;
	struct snapshot *s;
	struct why why;
	int fd;

	(void)state;
	folder_write(f.file, "old");
	assert_int_equal(snapshot_open(f.file, &s, &why), -EINVAL);
	assert_non_null(strstr(why.text, "is no snapshot of vmtime"));
	assert_int_equal(snapshot_save(f.file, &none, &m, NULL, &out, NULL), 0);
	assert_int_equal(folder_count(&f), 1);
	fd = next_fd();
	assert_int_equal(snapshot_open(f.file, &s, NULL), 0);
	assert_int_equal(snapshot_memory(s, &to, &in, NULL), 0);
	assert_int_equal(next_fd(), fd); /* the machine that begins with it may run for years */
	assert_memory_equal(m.low, to.low, m.low_size);
	assert_memory_equal(m.high, to.high, m.high_size);
	assert_memory_equal(&out, &in, sizeof(in));
	snapshot_close(s);
	folder_remove(&f);
	assert_int_equal(snapshot_open(f.file, &s, &why), -ENOENT);
	assert_int_equal(snapshot_save("/dev/full", &none, &m, NULL, &out, &why), -EINVAL);
	release(&m);
	release(&to);
	free(b.bytes);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(random_memory_with_holes_comes_back),
		cmocka_unit_test(a_large_memory_comes_back),
		cmocka_unit_test(pages_of_zeros_take_no_room),
		cmocka_unit_test(flipped_bits_anywhere_are_found),
		cmocka_unit_test(one_that_is_cut_off_is_refused),
		cmocka_unit_test(another_size_of_memory_is_refused),
		cmocka_unit_test(forged_memory_is_refused),
		cmocka_unit_test(state_beyond_all_bounds_is_refused),
		cmocka_unit_test(state_that_is_not_known_is_refused_unless_it_may_be_left_out),
		cmocka_unit_test(a_disk_that_is_full_at_any_place_is_said_to_be),
		cmocka_unit_test(a_file_replaces_the_one_before_and_opens),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
