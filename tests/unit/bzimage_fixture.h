/* SPDX-License-Identifier: Apache-2.0 */
/* bzimage_fixture.h - a small bzImage made byte by byte, booted after each lie. */
#ifndef BZIMAGE_FIXTURE_H
#define BZIMAGE_FIXTURE_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "boot_fixture.h"

#define MIB (1ULL << 20)
#define GIB (1ULL << 30)

/* The image: setup sectors, then a payload whose bytes tell their place.  64 KiB in all. */
enum { SECTS = 4, PAYLOAD_AT = (SECTS + 1) * 512, IMAGE_SIZE = 65536 };
enum { PAYLOAD_SIZE = IMAGE_SIZE - PAYLOAD_AT, LOAD = 16 << 20, ROOM = 1 << 20 };

static uint8_t image[IMAGE_SIZE];
static size_t image_size;
static struct guest_memory memory;
static struct boot_state entry;
static struct why why;
static const char *initrds[4], *append, *env[4];

static inline void make_image(void)
{
	memset(image, 0, sizeof(image));
	image_size = IMAGE_SIZE;
	image[0x1f1] = SECTS;
	put32(image + 0x1f4, PAYLOAD_SIZE / 16);
	put16(image + 0x1fe, 0xaa55);
	image[0x200] = 0xeb;
	image[0x201] = 0x6a;
	memcpy(image + 0x202, "HdrS", 4);
	put16(image + 0x206, 0x20f);
	image[0x211] = 1;
	put32(image + 0x22c, 0x7fffffff);
	put32(image + 0x230, 0x200000);
	image[0x234] = 1;
	put16(image + 0x236, 0x3f);
	put32(image + 0x238, 2047);
	put64(image + 0x258, LOAD);
	put32(image + 0x260, ROOM);
	for (size_t i = PAYLOAD_AT; i < IMAGE_SIZE; i++)
		image[i] = (uint8_t)(i * 7 + (i >> 8));
}

static inline int start(void **state)
{
	(void)state;
	make_image();
	memory = guarded_memory(32 * MIB);
	append = "console=ttyS0";
	memset(initrds, 0, sizeof(initrds));
	memset(env, 0, sizeof(env));
	return 0;
}

static inline int finish(void **state)
{
	(void)state;
	guarded_memory_release(&memory);
	return 0;
}

static inline int boot_path(const char *path)
{
	struct boot_config config = {path, initrds, append, env, 0xe0000};

	why.text[0] = 0;
	memset(&entry, 0, sizeof(entry));
	return boot_load(&memory, &config, &entry, &why);
}

static inline int boot(void)
{
	struct test_file file = test_file(image, image_size);
	int error = boot_path(file.path);

	test_file_close(&file);
	return error;
}

static inline void use_memory(uint64_t size)
{
	guarded_memory_release(&memory);
	memory = guarded_memory(size);
}

static inline const uint8_t *zero_page(void)
{
	return memory_at(&memory, entry.rsi, 4096);
}

static inline const char *command_line(void)
{
	return memory_at(&memory, get32(zero_page() + 0x228), 4096);
}

static inline void assert_refused(int error, const char *text)
{
	assert_int_equal(boot(), error);
	if (!strstr(why.text, text))
		fail_msg("'%s' lacks '%s'", why.text, text);
	assert_non_null(strstr(why.text, "/proc/self/fd/")); /* names the file */
	assert_non_null(strchr(why.text, '('));              /* and the remedy */
	assert_null(strchr(why.text, '\n'));
}

#endif
