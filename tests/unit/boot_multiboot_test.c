/* SPDX-License-Identifier: Apache-2.0 */
/* boot_multiboot_test.c - Multiboot 1 images, flat and ELF, made byte by byte; then they lie. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <errno.h>
#include <stdbool.h>

#include "boot_fixture.h"

#define MIB (1ULL << 20)

enum { MAGIC = 0x1badb002, IMAGE_SIZE = 4096, LOAD = 0x100000 };
enum { ELF_HEADER_AT = 0x400 }; /* of Multiboot, behind the program headers */

static uint8_t image[3 * IMAGE_SIZE];
static size_t image_size;
static struct guest_memory memory;
static struct boot_state entry;
static struct why why;
static const char *modules[4], *append, *env[4];

static void put_header(uint32_t at, uint32_t flags)
{
	put32(image + at, MAGIC);
	put32(image + at + 4, flags);
	put32(image + at + 8, 0u - MAGIC - flags);
}

static void fill_image(void)
{
	for (size_t i = 0; i < sizeof(image); i++)
		image[i] = (uint8_t)(i * 11 + (i >> 8));
	image_size = IMAGE_SIZE;
}

/* Flat: the header 256 bytes into the file, everything loaded at 1 MiB, 4 KiB of bss behind. */
static void make_flat(void)
{
	fill_image();
	put_header(0x100, 1 << 16);
	put32(image + 0x10c, LOAD + 0x100);
	put32(image + 0x110, LOAD);
	put32(image + 0x114, 0);
	put32(image + 0x118, LOAD + 2 * IMAGE_SIZE);
	put32(image + 0x11c, LOAD + 0x200);
}

static void put_phdr(int i, uint32_t type, uint32_t offset, uint32_t vaddr, uint32_t paddr,
		     uint32_t file_size, uint32_t size)
{
	const uint32_t words[8] = {type, offset, vaddr, paddr, file_size, size, 7, 4096};

	memcpy(image + 52 + 32 * i, words, sizeof(words));
	put16(image + 44, (uint16_t)(i + 1));
}

/* ELF: two segments, the first of them linked high and loaded low, the second all bss. */
static void make_elf(void)
{
	fill_image();
	memset(image, 0, 52);
	memcpy(image, "\177ELF\1\1\1", 7);
	put16(image + 16, 2);
	put16(image + 18, 3);
	put32(image + 20, 1);
	put32(image + 24, 0xc0100010); /* virtual */
	put32(image + 28, 52);
	put16(image + 42, 32);
	put_phdr(0, 1, 0x800, 0xc0100000, LOAD, 0x400, 0x1000);
	put_phdr(1, 1, 0xfffff000, 0xc0200000, 0x200000, 0, 0x2000);
	put_header(ELF_HEADER_AT, 3);
}

static int start(void **state)
{
	(void)state;
	memory = guarded_memory(16 * MIB);
	append = "one two";
	memset(modules, 0, sizeof(modules));
	memset(env, 0, sizeof(env));
	make_flat();
	return 0;
}

static int finish(void **state)
{
	(void)state;
	guarded_memory_release(&memory);
	return 0;
}

static char kernel_path[32];

static int boot(void)
{
	struct test_file file = test_file(image, image_size);
	struct boot_config config = {file.path, modules, append, env, 0};
	int error;

	why.text[0] = 0;
	memset(&entry, 0, sizeof(entry));
	memcpy(kernel_path, file.path, sizeof(kernel_path));
	error = boot_load(&memory, &config, &entry, &why);
	test_file_close(&file);
	return error;
}

static void assert_refused(int error, const char *text)
{
	assert_int_equal(boot(), error);
	if (!strstr(why.text, text))
		fail_msg("'%s' lacks '%s'", why.text, text);
	assert_non_null(strstr(why.text, "/proc/self/fd/"));
	assert_non_null(strchr(why.text, '('));
	assert_null(strchr(why.text, '\n'));
}

static const uint8_t *info(void)
{
	return memory_at(&memory, entry.ebx, 120);
}

static const char *string(uint32_t gpa)
{
	const char *text = memory_at(&memory, gpa, 1);

	assert_non_null(text);
	return text;
}

static const uint8_t *module(uint32_t i)
{
	assert_in_range(i, 0, get32(info() + 20) - 1);
	return memory_at(&memory, get32(info() + 24) + 16 * i, 16);
}

/* ---- good images ---- */

static void a_flat_image_lies_where_its_header_says(void **state)
{
	static const uint8_t zeros[IMAGE_SIZE];

	(void)state;
	memset(memory.low + LOAD, 0xff, 4 * IMAGE_SIZE); /* a used guest: bss is cleared */
	assert_int_equal(boot(), 0);
	assert_int_equal(entry.mode, BOOT_PROTECTED32);
	assert_int_equal(entry.entry, LOAD + 0x200);
	assert_int_equal(entry.eax, 0x2badb002);
	assert_memory_equal(memory.low + LOAD, image, IMAGE_SIZE);
	assert_memory_equal(memory.low + LOAD + IMAGE_SIZE, zeros, IMAGE_SIZE);
	assert_int_equal(memory.low[LOAD + 2 * IMAGE_SIZE], 0xff);
}

static void what_lies_before_load_addr_and_after_load_end_stays_out(void **state)
{
	(void)state;
	put32(image + 0x110, LOAD + 0x80); /* 0x80 bytes before the header */
	put32(image + 0x114, LOAD + 0x400);
	put32(image + 0x118, 0); /* no bss */
	assert_int_equal(boot(), 0);
	assert_memory_equal(memory.low + LOAD + 0x80, image + 0x80, 0x380);
	assert_int_equal(memory.low[LOAD + 0x7f], 0);
	assert_int_equal(memory.low[LOAD + 0x400], 0);
}

static void the_header_may_lie_anywhere_in_8192_bytes(void **state)
{
	(void)state;
	image_size = sizeof(image);
	for (uint32_t at = 0; at <= 8192 - 32; at += 4) {
		memset(image, 0, sizeof(image));
		put_header(at, 1 << 16);
		put32(image + at + 12, LOAD + at);
		put32(image + at + 16, LOAD);
		put32(image + at + 28, LOAD);
		if (boot())
			fail_msg("at %u: %s", at, why.text);
	}
	memset(image, 0, sizeof(image));
	put_header(8192, 1 << 16);
	assert_refused(-ENOEXEC, "neither");
	memset(image, 0, sizeof(image));
	put_header(0x102, 1 << 16); /* unaligned is no header */
	assert_refused(-ENOEXEC, "neither");
	make_flat();
	image[0x108]++; /* nor is one whose sum is wrong */
	assert_refused(-ENOEXEC, "neither");
}

static void an_elf_image_goes_to_physical_addresses(void **state)
{
	static const uint8_t zeros[0x2000];

	(void)state;
	make_elf();
	memset(memory.low + LOAD, 0xff, 4 * MIB);
	assert_int_equal(boot(), 0);
	assert_int_equal(entry.entry, LOAD + 0x10);
	assert_memory_equal(memory.low + LOAD, image + 0x800, 0x400);
	assert_memory_equal(memory.low + LOAD + 0x400, zeros, 0xc00);
	assert_memory_equal(memory.low + 0x200000, zeros, 0x2000);
	assert_int_equal(memory.low[LOAD + 0x1000], 0xff);

	put32(image + 24, LOAD + 4); /* an entry that is physical already */
	assert_int_equal(boot(), 0);
	assert_int_equal(entry.entry, LOAD + 4);

	put_phdr(2, 1, 0x800, 0, 0x202000, 0x10, 0x1000); /* neighbours above and below */
	put_phdr(3, 1, 0x800, 0, 0x1ff000, 0x10, 0x1000);
	assert_int_equal(boot(), 0);
	put_phdr(2, 4, 0xffffffff, 0, 0, 0xffffffff, 0xffffffff); /* a note is not loaded */
	assert_int_equal(boot(), 0);
}

static void the_info_structure_tells_of_the_machine(void **state)
{
	uint64_t ram = 0;
	uint32_t at, end;

	(void)state;
	assert_int_equal(boot(), 0);
	assert_int_equal(get32(info()), 1 << 0 | 1 << 2 | 1 << 3 | 1 << 6 | 1 << 9);
	assert_int_equal(get32(info() + 4), 639);
	assert_int_equal(get32(info() + 8), 15 * 1024);
	assert_string_equal(string(get32(info() + 64)), "vmtime");
	assert_memory_equal(string(get32(info() + 16)), kernel_path, strlen(kernel_path));
	assert_string_equal(string(get32(info() + 16)) + strlen(kernel_path), " one two");
	assert_int_equal(get32(info() + 20), 0);

	at = get32(info() + 48);
	for (end = at + get32(info() + 44); at < end;) {
		const uint8_t *e = memory_at(&memory, at, 24);

		assert_int_equal(get32(e), 20);
		if (get32(e + 20) == 1)
			ram += get64(e + 12);
		at += get32(e) + 4;
	}
	assert_int_equal(at, end);
	assert_int_equal(ram, 16 * MIB - (0x100000 - 0x9fc00));

	append = "";
	assert_int_equal(boot(), 0);
	assert_string_equal(string(get32(info() + 16)), kernel_path);
}

static void segments_are_flat_and_32_bit(void **state)
{
	const uint8_t *gdt;

	(void)state;
	assert_int_equal(boot(), 0);
	assert_int_equal(entry.gdt_limit, 31);
	gdt = memory_at(&memory, entry.gdt_gpa, 32);
	assert_int_equal(get64(gdt + 0x10), 0x00cf9b000000ffff);
	assert_int_equal(get64(gdt + 0x18), 0x00cf93000000ffff);
}

static void modules_follow_the_image_page_by_page(void **state)
{
	struct test_file one = test_file("first", 5), two = test_file(image, 5000);

	(void)state;
	modules[0] = one.path;
	modules[1] = two.path;
	env[0] = "A=1";
	env[1] = "B=two words";
	assert_int_equal(boot(), 0);
	assert_int_equal(get32(info() + 20), 3);

	assert_int_equal(get32(module(0)), LOAD + 2 * IMAGE_SIZE);
	assert_int_equal(get32(module(0) + 4) - get32(module(0)), strlen("A=1\nB=two words\n"));
	assert_memory_equal(string(get32(module(0))), "A=1\nB=two words\n", 16);
	assert_string_equal(string(get32(module(0) + 8)), "env");

	assert_int_equal(get32(module(1)), LOAD + 3 * IMAGE_SIZE);
	assert_memory_equal(string(get32(module(1))), "first", 5);
	assert_string_equal(string(get32(module(1) + 8)), one.path);

	assert_int_equal(get32(module(2)), LOAD + 4 * IMAGE_SIZE);
	assert_int_equal(get32(module(2) + 4), LOAD + 4 * IMAGE_SIZE + 5000);
	assert_memory_equal(string(get32(module(2))), image, 5000);
	test_file_close(&one);
	test_file_close(&two);
}

/* Below 640 KiB the info structure makes room for it. */
static void a_low_image_and_the_info_do_not_meet(void **state)
{
	struct test_file one = test_file("first", 5);

	(void)state;
	modules[0] = one.path;
	put32(image + 0x10c, 0x10100);
	put32(image + 0x110, 0x10000);
	put32(image + 0x118, 0x9fc00);
	put32(image + 0x11c, 0x10200);
	assert_int_equal(boot(), 0);
	assert_memory_equal(memory.low + 0x10000, image, IMAGE_SIZE);
	assert_int_equal(get32(module(0)), LOAD);
	assert_true(entry.ebx >= LOAD + 4096);

	put32(image + 0x118, 0x9fc01); /* one byte into the EBDA */
	assert_refused(-EINVAL, "no machine has free");
	test_file_close(&one);
}

/* ---- what is none for us ---- */

static void a_demand_that_cannot_be_met_is_named(void **state)
{
	(void)state;
	put_header(0x100, 1 << 16 | 1 << 2);
	assert_refused(-ENOEXEC, "video mode");
	put_header(0x100, 1 << 16 | 1 << 9);
	assert_refused(-ENOEXEC, "header flag 9");
	put_header(0x100, 1 << 16 | 3);
	assert_int_equal(boot(), 0);
	put_header(0x100, 1u << 16 | 1u << 31); /* an optional one */
	assert_int_equal(boot(), 0);
	put_header(0x100, 3);
	assert_refused(-ENOEXEC, "no ELF file");
}

static void another_elf_file_is_refused(void **state)
{
	(void)state;
	make_elf();
	image[4] = 2;
	assert_refused(-ENOEXEC, "objcopy");
	make_elf();
	put16(image + 18, 40);
	assert_refused(-ENOEXEC, "another machine");
	make_elf();
	image[5] = 2;
	assert_refused(-ENOEXEC, "another machine");
}

static void memory_too_small_says_how_much_is_needed(void **state)
{
	struct test_file big;
	uint8_t *bytes = calloc(1, 20 * MIB);

	(void)state;
	put32(image + 0x118, 17 * MIB + 1);
	assert_refused(-ENOSPC, "at least 18 MiB");

	make_flat();
	assert_non_null(bytes);
	big = test_file(bytes, 20 * MIB);
	free(bytes);
	modules[0] = big.path;
	assert_refused(-ENOSPC, "at least 22 MiB");
	guarded_memory_release(&memory);
	memory = guarded_memory(22 * MIB);
	assert_int_equal(boot(), 0);
	test_file_close(&big);
}

static void a_bad_module_is_named(void **state)
{
	struct test_file none = test_file("", 0);

	(void)state;
	modules[0] = "/nonexistent/module";
	assert_int_equal(boot(), -ENOENT);
	assert_non_null(strstr(why.text, "module /nonexistent/module"));
	modules[0] = none.path;
	assert_refused(-EINVAL, "is empty");
	test_file_close(&none);
}

/* ---- lies ---- */

static void flat_fields_that_lie_are_named(void **state)
{
	(void)state;
	put32(image + 0x110, LOAD + 0x101); /* the header before all that is loaded */
	assert_refused(-EINVAL, "load_addr");
	put32(image + 0x110, LOAD - 1); /* more before the header than the file has */
	assert_refused(-EINVAL, "load_addr");
	make_flat();
	put32(image + 0x114, LOAD - 1);
	assert_refused(-EINVAL, "load_end_addr");
	put32(image + 0x114, LOAD + IMAGE_SIZE + 1);
	assert_refused(-EINVAL, "truncated");
	make_flat();
	put32(image + 0x118, LOAD + IMAGE_SIZE - 1);
	assert_refused(-EINVAL, "bss_end_addr");
	put32(image + 0x118, 0xffffffff);
	assert_refused(-EINVAL, "no machine has free");
	make_flat();
	put32(image + 0x11c, LOAD - 1);
	assert_refused(-EINVAL, "entry");
	put32(image + 0x11c, LOAD + 2 * IMAGE_SIZE);
	assert_refused(-EINVAL, "entry");

	make_flat(); /* address fields that do not fit into the file */
	image_size = 0x11f;
	assert_refused(-EINVAL, "no room for the address fields");
}

static void elf_fields_that_lie_are_named(void **state)
{
	(void)state;
	make_elf();
	put32(image + 28, 0xffffffff);
	assert_refused(-EINVAL, "program headers");
	make_elf();
	put16(image + 44, 0xffff);
	assert_refused(-EINVAL, "program headers");
	make_elf();
	put16(image + 42, 31);
	assert_refused(-EINVAL, "program headers");
	make_elf();
	put16(image + 44, 0);
	assert_refused(-EINVAL, "entry");
	make_elf();
	put_phdr(1, 1, 0x800, 0, 0x200000, 0x2000, 0x1000);
	assert_refused(-EINVAL, "more bytes in the file");
	put_phdr(1, 1, 0x800, 0, 0x200000, 0x801, 0x1000);
	assert_refused(-EINVAL, "truncated");
	put_phdr(1, 1, 0xffffffff, 0, 0x200000, 0xffffffff, 0xffffffff);
	assert_refused(-EINVAL, "truncated");
	put_phdr(1, 1, 0, 0, 0xfffffff0, 0, 0x20);
	assert_refused(-EINVAL, "no machine has free");
	put_phdr(1, 1, 0, 0, 0xb0000, 0, 0x20);
	assert_refused(-EINVAL, "no machine has free");
	put_phdr(1, 1, 0, 0, LOAD + 0xfff, 0, 0x20);
	assert_refused(-EINVAL, "two segments overlap");
}

static void more_segments_than_anyone_has_are_refused(void **state)
{
	(void)state;
	make_elf();
	memset(image + 52, 0, 65 * 32);
	image_size = sizeof(image);
	put_header(0x1000, 0);
	for (int i = 0; i < 65; i++)
		put_phdr(i, 1, 0x800, 0, LOAD + 0x1000u * (uint32_t)i, 0x100, 0x1000);
	put32(image + 24, LOAD);
	put16(image + 44, 64);
	assert_int_equal(boot(), 0);
	put16(image + 44, 65);
	assert_refused(-EINVAL, "more segments than");
}

static void an_image_cut_anywhere_is_refused_or_smaller(void **state)
{
	(void)state;
	for (image_size = 0x120; image_size < IMAGE_SIZE; image_size++)
		assert_int_equal(boot(), image_size <= 0x200 ? -EINVAL : 0);
	for (make_elf(), image_size = 0; image_size < IMAGE_SIZE; image_size++)
		assert_int_equal(boot(), image_size == 0                   ? -EINVAL
					 : image_size < ELF_HEADER_AT + 12 ? -ENOEXEC
					 : image_size < 0xc00              ? -EINVAL
									   : 0);
}

/* Whatever the headers say: an answer, and not one byte outside (the guards fault). */
static void random_headers_do_no_harm(void **state)
{
	static const uint32_t words[] = {0,          1,          0x7fffffff, 0x80000000,
					 0xffffffff, 0xfffff000, LOAD,       0x1000000,
					 0xfffffe,   0x9fc00,    0x10000};
	struct test_file file = test_file("x", 1);
	int accepted = 0;

	(void)state;
	modules[0] = file.path;
	srand(4);
	for (int i = 0; i < 3000; i++) {
		bool elf = rand() % 2;

		if (elf)
			make_elf();
		else
			make_flat();
		for (int n = rand() % 3; n >= 0; n--) {
			uint8_t *at = elf ? image + 24 + rand() % 92 : image + 0x10c + rand() % 20;

			if (rand() % 2)
				*at = (uint8_t)rand();
			else
				put32(at,
				      words[(unsigned)rand() % (sizeof(words) / sizeof(words[0]))]);
		}
		image_size = rand() % 4 ? IMAGE_SIZE : (unsigned)rand() % IMAGE_SIZE;
		accepted += !boot();
	}
	assert_in_range(accepted, 100, 2900); /* both ways were taken */
	test_file_close(&file);
}

#define STORY(name) cmocka_unit_test_setup_teardown(name, start, finish)

int main(void)
{
	const struct CMUnitTest tests[] = {
		STORY(a_flat_image_lies_where_its_header_says),
		STORY(what_lies_before_load_addr_and_after_load_end_stays_out),
		STORY(the_header_may_lie_anywhere_in_8192_bytes),
		STORY(an_elf_image_goes_to_physical_addresses),
		STORY(the_info_structure_tells_of_the_machine),
		STORY(segments_are_flat_and_32_bit),
		STORY(modules_follow_the_image_page_by_page),
		STORY(a_low_image_and_the_info_do_not_meet),
		STORY(a_demand_that_cannot_be_met_is_named),
		STORY(another_elf_file_is_refused),
		STORY(memory_too_small_says_how_much_is_needed),
		STORY(a_bad_module_is_named),
		STORY(flat_fields_that_lie_are_named),
		STORY(elf_fields_that_lie_are_named),
		STORY(more_segments_than_anyone_has_are_refused),
		STORY(an_image_cut_anywhere_is_refused_or_smaller),
		STORY(random_headers_do_no_harm),
	};

	return cmocka_run_group_tests_name("boot_multiboot", tests, NULL, NULL);
}
