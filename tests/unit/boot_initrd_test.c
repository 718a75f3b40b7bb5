/* SPDX-License-Identifier: Apache-2.0 */
/* boot_initrd_test.c - initrds beside a small kernel: where they lie, and what is none. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <errno.h>

#include "bzimage_fixture.h"

/* One archive of one file that holds `size` bytes; malloc'd. */
static uint8_t *archive(uint32_t size, size_t *ret_length)
{
	size_t body = (110 + 5 + 3) & ~3u, end = (body + size + 3) & ~3u;
	uint8_t *at = calloc(1, end + 124);

	assert_non_null(at);
	snprintf((char *)at, 112, "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x", 1,
		 0100644, 0, 0, 1, 0, size, 0, 0, 0, 0, 5, 0);
	memcpy(at + 110, "file", 5);
	memset(at + body, 0x5a, size);
	snprintf((char *)at + end, 112,
		 "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x", 0, 0, 0, 0, 1, 0, 0,
		 0, 0, 0, 0, 11, 0);
	memcpy(at + end + 110, "TRAILER!!!", 11);
	*ret_length = end + 124;
	return at;
}

static struct test_file archive_file(uint32_t size)
{
	size_t length;
	uint8_t *bytes = archive(size, &length);
	struct test_file file = test_file(bytes, length);

	free(bytes);
	return file;
}

static void initrds_lie_one_after_another_high_in_memory(void **state)
{
	struct test_file one = archive_file(1001), two = archive_file(5000);
	uint8_t *bytes;
	size_t length, first;
	uint64_t at;

	(void)state;
	initrds[0] = one.path;
	initrds[1] = two.path;
	assert_int_equal(boot(), 0);
	at = get32(zero_page() + 0x218);
	assert_int_equal(at % 4096, 0);
	assert_in_range(32 * MIB - at, 1, 12288);

	bytes = archive(1001, &first);
	assert_int_equal(first % 4, 0);
	assert_memory_equal(memory_at(&memory, at, first), bytes, first);
	free(bytes);
	bytes = archive(5000, &length);
	assert_memory_equal(memory_at(&memory, at + first, length), bytes, length);
	free(bytes);
	assert_int_equal(get32(zero_page() + 0x21c), first + length);
	test_file_close(&one);
	test_file_close(&two);
}

static void an_odd_initrd_is_padded_with_zeros(void **state)
{
	struct test_file one = test_file("\x1f\x8b\x08", 3), two = archive_file(1);
	const uint8_t *at;

	(void)state;
	memset(memory.low + 31 * MIB, 0xff, MIB);
	initrds[0] = one.path;
	initrds[1] = two.path;
	assert_int_equal(boot(), 0);
	at = memory_at(&memory, get32(zero_page() + 0x218), 10);
	assert_memory_equal(at,
			    "\x1f\x8b\x08\0"
			    "070701",
			    10);
	assert_int_equal(get32(zero_page() + 0x21c), 4 + 116 + 4 + 124);
	test_file_close(&one);
	test_file_close(&two);
}

static void an_initrd_keeps_below_the_kernels_limit(void **state)
{
	struct test_file file = archive_file(100);

	(void)state;
	initrds[0] = file.path;
	put32(image + 0x22c, 24 * MIB - 1);
	assert_int_equal(boot(), 0);
	assert_int_equal(get32(zero_page() + 0x218), 24 * MIB - 4096);

	put32(image + 0x22c, UINT32_MAX);
	assert_int_equal(boot(), 0);
	assert_int_equal(get32(zero_page() + 0x218), 32 * MIB - 4096);

	put32(image + 0x22c, LOAD + ROOM - 1);
	assert_refused(-EINVAL, "leaves 0 MiB");
	put32(image + 0x22c, 0);
	assert_refused(-EINVAL, "leaves 0 MiB");
	test_file_close(&file);
}

/* The figure in the complaint is enough, and one page less is not. */
static void an_initrd_fits_to_the_last_page(void **state)
{
	uint32_t size = 15 * MIB - 116 - 124; /* all between the kernel and 32 MiB */
	struct test_file file = archive_file(size);

	(void)state;
	initrds[0] = file.path;
	assert_int_equal(boot(), 0);
	assert_int_equal(get32(zero_page() + 0x218), LOAD + ROOM);
	assert_int_equal(get32(zero_page() + 0x21c), 15 * MIB);

	use_memory(32 * MIB - 4096);
	assert_refused(-ENOSPC, "at least 32 MiB");
	test_file_close(&file);

	use_memory(32 * MIB);
	file = archive_file(size + 1);
	assert_refused(-ENOSPC, "at least 33 MiB");
	test_file_close(&file);
}

static void a_bad_initrd_is_named(void **state)
{
	static const struct {
		const char *bytes;
		size_t size;
		const char *text;
	} bad[] = {
		{"", 0, "is empty"},
		{"hello, world", 12, "neither a cpio archive"},
		{"0", 1, "truncated"},
		{"\0\0\0\0\0", 5, "only zeros"},
		{"\0\0\0"
		 "07070",
		 8, "neither a cpio archive"}, /* not at a multiple of 4 */
		{"070707 old cpio", 15, "truncated"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct test_file file = test_file(bad[i].bytes, bad[i].size);

		initrds[0] = file.path;
		assert_refused(-EINVAL, bad[i].text);
		assert_non_null(strstr(why.text, file.path));
		test_file_close(&file);
	}
	initrds[0] = "/nonexistent/initrd";
	assert_int_equal(boot(), -ENOENT);
	assert_non_null(strstr(why.text, "/nonexistent/initrd"));
}

static void half_an_archive_is_refused_wherever_it_was_cut(void **state)
{
	size_t length;
	uint8_t *bytes = archive(37, &length);

	(void)state;
	for (size_t cut = 1; cut <= length; cut++) {
		struct test_file file = test_file(bytes, cut);
		/* Behind the last NUL there is only padding. */
		int expected = cut >= length - 3 ? 0 : -EINVAL;

		initrds[0] = file.path;
		if (boot() != expected)
			fail_msg("cut at %zu of %zu: '%s'", cut, length, why.text);
		test_file_close(&file);
	}
	memcpy(bytes + 54, "zzzzzzzz", 8);
	struct test_file file = test_file(bytes, length);
	initrds[0] = file.path;
	assert_refused(-EINVAL, "not a number");
	test_file_close(&file);
	free(bytes);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(initrds_lie_one_after_another_high_in_memory, start,
						finish),
		cmocka_unit_test_setup_teardown(an_odd_initrd_is_padded_with_zeros, start, finish),
		cmocka_unit_test_setup_teardown(an_initrd_keeps_below_the_kernels_limit, start,
						finish),
		cmocka_unit_test_setup_teardown(an_initrd_fits_to_the_last_page, start, finish),
		cmocka_unit_test_setup_teardown(a_bad_initrd_is_named, start, finish),
		cmocka_unit_test_setup_teardown(half_an_archive_is_refused_wherever_it_was_cut,
						start, finish),
	};

	return cmocka_run_group_tests_name("boot_initrd", tests, NULL, NULL);
}
