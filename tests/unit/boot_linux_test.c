/* SPDX-License-Identifier: Apache-2.0 */
/* boot_linux_test.c - a small bzImage, made here byte by byte, is loaded; then it lies. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <sys/stat.h>

#include "bzimage_fixture.h"
#include "lacks.h"

/* ---- what a good image gets ---- */

static void a_small_image_is_ready_to_enter(void **state)
{
	const uint8_t *zp;

	(void)state;
	assert_int_equal(boot(), 0);
	assert_int_equal(entry.mode, BOOT_LONG64);
	assert_int_equal(entry.entry, LOAD + 0x200);
	assert_memory_equal(memory_at(&memory, LOAD, PAYLOAD_SIZE), image + PAYLOAD_AT,
			    PAYLOAD_SIZE);

	zp = zero_page();
	assert_memory_equal(zp + 0x202, "HdrS", 4);
	assert_int_equal(zp[0x1ef], 0); /* sentinel: we know what a zero page is */
	assert_int_equal(zp[0x210], 0xff);
	assert_true(zp[0x211] & 1);
	assert_int_equal(get64(zp + 0x70), 0xe0000);
	assert_int_equal(get32(zp + 0x218), 0);
	assert_int_equal(get32(zp + 0x21c), 0);
	assert_int_equal(get64(zp + 0x258), LOAD);
	assert_string_equal(command_line(), "console=ttyS0");
}

static void segments_and_pages_are_flat(void **state)
{
	const uint8_t *gdt;

	(void)state;
	assert_int_equal(boot(), 0);
	gdt = memory_at(&memory, entry.gdt_gpa, entry.gdt_limit + 1u);
	assert_int_equal(entry.gdt_limit, 31);
	assert_int_equal(get64(gdt + 0x10), 0x00af9b000000ffff);
	assert_int_equal(get64(gdt + 0x18), 0x00cf93000000ffff);

	/* Walk as the processor does: every 2 MiB page of the first 4 GiB is itself. */
	for (uint64_t at = 0; at < 4 * GIB; at += 2 * MIB) {
		const uint64_t frame = 0x000ffffffffff000;
		uint64_t pml4e = get64(memory_at(&memory, entry.cr3 + 8 * (at >> 39), 8)), pdpte,
			 pde;

		assert_int_equal(pml4e & 3, 3);
		pdpte = get64(memory_at(&memory, (pml4e & frame) + 8 * (at >> 30 & 511), 8));
		assert_int_equal(pdpte & 0x83, 3);
		pde = get64(memory_at(&memory, (pdpte & frame) + 8 * (at >> 21 & 511), 8));
		assert_int_equal(pde & 0x83, 0x83);
		assert_int_equal(pde & frame, at);
	}
}

static void setup_size_zero_means_four_sectors(void **state)
{
	(void)state;
	image[0x1f1] = 0;
	assert_int_equal(boot(), 0);
	assert_memory_equal(memory_at(&memory, LOAD, PAYLOAD_SIZE), image + 5 * 512, PAYLOAD_SIZE);
}

static void an_unaligned_preference_is_rounded_up_if_relocatable(void **state)
{
	(void)state;
	put64(image + 0x258, LOAD - 1);
	assert_int_equal(boot(), 0);
	assert_int_equal(entry.entry, LOAD + 0x200);

	put64(image + 0x258, 0);
	assert_int_equal(boot(), 0);
	assert_int_equal(entry.entry, 2 * MIB + 0x200);

	image[0x234] = 0; /* not relocatable: there and nowhere else */
	put64(image + 0x258, LOAD + 4096);
	assert_int_equal(boot(), 0);
	assert_int_equal(entry.entry, LOAD + 4096 + 0x200);
	put64(image + 0x258, 0x8000);
	assert_refused(-EINVAL, "pref_address 0x8000");
}

/* ---- e820 ---- */

/* Sum of the RAM in the map; no two entries overlap, all in order. */
static uint64_t ram(void)
{
	const uint8_t *zp = zero_page();
	uint64_t sum = 0, last = 0;

	for (int i = 0; i < zp[0x1e8]; i++) {
		const uint8_t *e = zp + 0x2d0 + 20 * i;

		assert_true(get64(e) >= last);
		assert_true(get64(e + 8) > 0);
		last = get64(e) + get64(e + 8);
		if (get32(e + 16) == 1) {
			assert_non_null(memory_at(&memory, get64(e), get64(e + 8)));
			sum += get64(e + 8);
		} else {
			assert_int_equal(get32(e + 16), 2);
		}
	}
	return sum;
}

static void e820_shows_what_there_is(void **state)
{
	static const uint64_t sizes[] = {32 * MIB, 3 * GIB - 4096, 3 * GIB, 3 * GIB + 4096,
					 5 * GIB};
	static const uint64_t taken = 0x100000 - 0x9fc00; /* EBDA to 1 MiB */

	(void)state;
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		struct guest_memory guarded = memory;

		assert_int_equal(memory_create(sizes[i], &memory, NULL), 0); /* lazily touched */
		assert_int_equal(boot(), 0);
		assert_int_equal(ram(), sizes[i] - taken);
		memory_destroy(&memory);
		memory = guarded;
	}
}

/* ---- command line ---- */

static void a_command_line_at_the_limit_fits_and_one_over_does_not(void **state)
{
	char text[2049];

	(void)state;
	memset(text, 'x', sizeof(text));
	text[2047] = 0;
	append = text;
	assert_int_equal(boot(), 0);
	assert_string_equal(command_line(), text);

	text[2047] = 'x';
	text[2048] = 0;
	assert_refused(-EINVAL, "2048 characters");
	assert_non_null(strstr(why.text, "at most 2047"));

	put32(image + 0x238, UINT32_MAX); /* the limit is the kernel's, the room is ours */
	assert_int_equal(boot(), 0);
	assert_int_equal(strlen(command_line()), 2048);
}

static void a_command_line_beyond_our_room_is_refused(void **state)
{
	size_t length = MIB;
	char *text = malloc(length + 1);

	(void)state;
	assert_non_null(text);
	memset(text, 'x', length);
	text[length] = 0;
	append = text;
	put32(image + 0x238, UINT32_MAX);
	assert_refused(-EINVAL, "1048576 characters");
	free(text);
}

static void the_environment_follows_the_command_line(void **state)
{
	(void)state;
	env[0] = "A=1";
	env[1] = "B=two words";
	assert_int_equal(boot(), 0);
	assert_string_equal(command_line(), "console=ttyS0 A=1 B=\"two words\"");

	append = "";
	env[1] = NULL;
	assert_int_equal(boot(), 0);
	assert_string_equal(command_line(), "A=1");

	for (const char *const *bad =
		     (const char *const[]){"A", "=1", "A B=1", "A=\"", "A=\n", NULL};
	     *bad; bad++) {
		env[0] = *bad;
		assert_int_equal(boot(), -EINVAL);
		assert_non_null(strstr(why.text, *bad));
	}
}

/* ---- what is no kernel, or none for us ---- */

static void what_cannot_be_read_is_named(void **state)
{
	char dir[] = "/tmp/boot_test.XXXXXX", path[64];

	(void)state;
	assert_int_equal(boot_path("/nonexistent/vmlinuz"), -ENOENT);
	assert_non_null(strstr(why.text, "/nonexistent/vmlinuz"));
	assert_int_equal(boot_path("/"), -EINVAL);
	assert_non_null(strstr(why.text, "not a regular file"));
	assert_int_equal(boot_path("/dev/zero"), -EINVAL);

	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/fifo", dir);
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_int_equal(boot_path(path), -EINVAL); /* and does not wait for a writer */
	unlink(path);
	if (geteuid()) {
		snprintf(path, sizeof(path), "%s/secret", dir);
		close(open(path, O_CREAT | O_WRONLY, 0));
		assert_int_equal(boot_path(path), -EACCES);
		unlink(path);
	}
	rmdir(dir);
}

static void what_is_no_kernel_is_refused(void **state)
{
	(void)state;
	image_size = 0;
	assert_refused(-EINVAL, "is empty");
	image_size = 100;
	assert_refused(-ENOEXEC, "neither a Linux bzImage nor a Multiboot 1 image");
	image_size = IMAGE_SIZE;
	image[0x202] = 'X';
	assert_refused(-ENOEXEC, "neither a Linux bzImage");
	memcpy(image, "\177ELF", 4);
	assert_refused(-ENOEXEC, "vmlinux");
}

static void an_old_or_32_bit_kernel_is_refused(void **state)
{
	(void)state;
	put16(image + 0x206, 0x20b);
	assert_refused(-ENOEXEC, "boot protocol 2.11, 2.12 is needed");
	put16(image + 0x206, 0x20c);
	assert_int_equal(boot(), 0);
	put16(image + 0x236, 0xfffe);
	assert_refused(-ENOEXEC, "no 64-bit entry");
}

static void memory_too_small_says_how_much_is_needed(void **state)
{
	(void)state;
	use_memory(17 * MIB - 4096);
	assert_refused(-ENOSPC, "at least 17 MiB");
	use_memory(17 * MIB);
	assert_int_equal(boot(), 0);
}

/* ---- lies ---- */

static void a_kernel_cut_anywhere_is_refused(void **state)
{
	(void)state;
	for (image_size = 0; image_size < IMAGE_SIZE; image_size += image_size < 0x2000 ? 1 : 509) {
		int error = boot();

		if (error != -EINVAL && error != -ENOEXEC)
			fail_msg("%zu bytes: %d", image_size, error);
		if (image_size >= 0x206)
			assert_non_null(strstr(why.text, "truncated"));
	}
	/* All of it, but for the last bytes: the size is in units of 16. */
	image_size = IMAGE_SIZE;
	assert_int_equal(boot(), 0);
}

static void absurd_fields_are_named(void **state)
{
	(void)state;
	put32(image + 0x1f4, UINT32_MAX);
	assert_refused(-EINVAL, "its header promises 68719479280");
	make_image();
	image[0x1f1] = 255;
	assert_refused(-EINVAL, "truncated");
	make_image();
	image[0x201] = 0;
	assert_refused(-EINVAL, "header that ends at 0x202");
	make_image();
	put32(image + 0x230, 0);
	assert_refused(-EINVAL, "kernel_alignment 0x0");
	put32(image + 0x230, 0x300000);
	assert_refused(-EINVAL, "kernel_alignment 0x300000");
	put32(image + 0x230, 0x80000000);
	assert_refused(-ENOSPC, "memory too small");
	make_image();
	put64(image + 0x258, UINT64_MAX);
	assert_refused(-EINVAL, "pref_address 0xffffffffffffffff");
	put64(image + 0x258, MEMORY_LOW_MAX);
	assert_refused(-EINVAL, "pref_address 0xc0000000");
	make_image();
	put32(image + 0x260, UINT32_MAX);
	assert_refused(-EINVAL, "memory up to 0x101000000");
}

static void the_header_never_spills_over_the_e820_table(void **state)
{
	(void)state;
	image[0x201] = 0xff;
	memset(image + 0x26c, 0xee, 0x200);
	assert_int_equal(boot(), 0);
	assert_int_equal(zero_page()[0x28f], 0xee);
	assert_int_equal(zero_page()[0x290], 0);
	assert_int_equal(ram(), 32 * MIB - (0x100000 - 0x9fc00));
}

/* Whatever the header says: an answer, and not one byte outside (the guards fault). */
static void random_headers_do_no_harm(void **state)
{
	static const uint32_t words[] = {0,          1,         0x7fffffff, 0x80000000, 0xffffffff,
					 0xfffff000, 0x1000000, 0x2000000,  0x1fffff0};
	struct test_file file = test_file("\x1f\x8b", 2);
	int accepted = 0;

	(void)state;
	initrds[0] = file.path;
	srand(3);
	for (int i = 0; i < 3000; i++) {
		make_image();
		for (int n = rand() % 4; n >= 0; n--) {
			uint8_t *at = image + 0x1f1 + rand() % 0x7f;

			if (rand() % 2)
				*at = (uint8_t)rand();
			else
				put32(at,
				      words[(unsigned)rand() % (sizeof(words) / sizeof(words[0]))]);
		}
		image_size = rand() % 4 ? IMAGE_SIZE : (unsigned)rand() % IMAGE_SIZE;
		accepted += !boot();
	}
	assert_in_range(accepted, 300, 2700); /* both ways were taken */
	test_file_close(&file);
}

/* ---- a real one ---- */

static int find_debians(glob_t *ret_found)
{
	const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
	char pattern[512];

	snprintf(pattern, sizeof(pattern), "%s%s/vmtime/guest/boot/vmlinuz-*",
		 cache  ? cache
		 : home ? home
			: "",
		 cache ? "" : "/.cache");
	return glob(pattern, 0, NULL, ret_found);
}

static const char *no_kernel(void)
{
	glob_t found;
	int error = find_debians(&found);

	if (!error)
		globfree(&found);
	return error ? "no kernel for guests in the cache (make setup fetches one)" : NULL;
}

static void debians_kernel_loads(void **state)
{
	const uint8_t *zp;
	glob_t found;

	(void)state;
	assert_int_equal(find_debians(&found), 0);
	use_memory(256 * MIB);
	if (boot_path(found.gl_pathv[0]))
		fail_msg("%s", why.text);
	globfree(&found);
	zp = zero_page();
	assert_int_equal(entry.entry, get64(zp + 0x258) + 0x200);
	/* Code, not zeros. */
	assert_int_not_equal(get32(memory_at(&memory, entry.entry, 4)), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_small_image_is_ready_to_enter, start, finish),
		cmocka_unit_test_setup_teardown(segments_and_pages_are_flat, start, finish),
		cmocka_unit_test_setup_teardown(setup_size_zero_means_four_sectors, start, finish),
		cmocka_unit_test_setup_teardown(
			an_unaligned_preference_is_rounded_up_if_relocatable, start, finish),
		cmocka_unit_test_setup_teardown(e820_shows_what_there_is, start, finish),
		cmocka_unit_test_setup_teardown(
			a_command_line_at_the_limit_fits_and_one_over_does_not, start, finish),
		cmocka_unit_test_setup_teardown(a_command_line_beyond_our_room_is_refused, start,
						finish),
		cmocka_unit_test_setup_teardown(the_environment_follows_the_command_line, start,
						finish),
		cmocka_unit_test_setup_teardown(what_cannot_be_read_is_named, start, finish),
		cmocka_unit_test_setup_teardown(what_is_no_kernel_is_refused, start, finish),
		cmocka_unit_test_setup_teardown(an_old_or_32_bit_kernel_is_refused, start, finish),
		cmocka_unit_test_setup_teardown(memory_too_small_says_how_much_is_needed, start,
						finish),
		cmocka_unit_test_setup_teardown(a_kernel_cut_anywhere_is_refused, start, finish),
		cmocka_unit_test_setup_teardown(absurd_fields_are_named, start, finish),
		cmocka_unit_test_setup_teardown(the_header_never_spills_over_the_e820_table, start,
						finish),
		cmocka_unit_test_setup_teardown(random_headers_do_no_harm, start, finish),
		unless(no_kernel(), (struct CMUnitTest)cmocka_unit_test_setup_teardown(
					    debians_kernel_loads, start, finish)),
	};

	return cmocka_run_group_tests_name("boot_linux", tests, NULL, NULL);
}
