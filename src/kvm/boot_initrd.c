/* SPDX-License-Identifier: Apache-2.0 */
/* boot_initrd.c - Linux's initrds: opened together, read one behind the other, checked.
 *
 * The check is worth its few microseconds: a half copied archive otherwise shows as a guest that
 * cannot find its init, two seconds later and on another console. */
#include <errno.h>
#include <stdlib.h>

#include "kvm/boot_initrd.h"

int boot_initrds_open(const char *const *paths, struct boot_initrds *ret_initrds, struct why *why)
{
	size_t wanted = 0;

	*ret_initrds = (struct boot_initrds){0};
	while (paths && paths[wanted])
		wanted++;
	if (!wanted)
		return 0;
	ret_initrds->files = calloc(wanted, sizeof(*ret_initrds->files));
	if (!ret_initrds->files)
		return why_set(why, -ENOMEM, "initrd: no memory (close other programs)");
	for (size_t i = 0; i < wanted; i++) {
		struct boot_file *file = &ret_initrds->files[i];
		int error = boot_file_open("initrd", paths[i], file, why);

		if (error)
			return error;
		ret_initrds->count++;
		/* A file is below 2^63 bytes, and more of them than memory are refused here. */
		ret_initrds->total = boot_align(ret_initrds->total, 4) + file->size;
		if (ret_initrds->total > MEMORY_LOW_MAX)
			return why_set(why, -EINVAL,
				       "initrd %s: too large: %llu MiB in all, a guest has at most "
				       "%llu MiB below 4 GiB (make it smaller)",
				       paths[i], boot_mib(ret_initrds->total),
				       MEMORY_LOW_MAX >> 20);
	}
	return 0;
}

void boot_initrds_close(struct boot_initrds *initrds)
{
	for (size_t i = 0; i < initrds->count; i++)
		boot_file_close(&initrds->files[i]);
	free(initrds->files);
	*initrds = (struct boot_initrds){0};
}

/* Whether Linux has a decompressor that starts on these two bytes (lib/decompress.c). */
static bool compressed(const uint8_t *at)
{
	static const uint8_t magics[][2] = {
		{0x1f, 0x8b}, {0x1f, 0x9e}, {0x42, 0x5a}, {0x5d, 0x00}, /* gzip, bzip2, lzma */
		{0xfd, 0x37}, {0x89, 0x4c}, {0x02, 0x21}, {0x28, 0xb5}, /* xz, lzo, lz4, zstd */
	};

	for (size_t i = 0; i < sizeof(magics) / sizeof(magics[0]); i++)
		if (!memcmp(at, magics[i], 2))
			return true;
	return false;
}

/* Eight hexadecimal digits; -1: they are not. */
static int64_t hex8(const uint8_t *at)
{
	int64_t value = 0;

	for (int i = 0; i < 8; i++) {
		int digit = at[i] >= '0' && at[i] <= '9'   ? at[i] - '0'
			    : at[i] >= 'a' && at[i] <= 'f' ? at[i] - 'a' + 10
			    : at[i] >= 'A' && at[i] <= 'F' ? at[i] - 'A' + 10
							   : -1;

		if (digit < 0)
			return -1;
		value = value << 4 | digit;
	}
	return value;
}

/* Steps over one archive member at *pos.  NULL, or what is wrong with it. */
static const char *step(const uint8_t *at, uint64_t size, uint64_t *pos, bool *ret_trailer)
{
	enum { FILE_SIZE_AT = 54, NAME_SIZE_AT = 94, MEMBER_HEADER = 110 };
	int64_t file_size, name_size;
	uint64_t name = *pos + MEMBER_HEADER, data;

	if (name > size)
		return "is truncated within an archive";
	if (memcmp(at + *pos, "07070", 5) != 0 || (at[*pos + 5] != '1' && at[*pos + 5] != '2'))
		return "is damaged: no newc archive member where one must be";
	file_size = hex8(at + *pos + FILE_SIZE_AT);
	name_size = hex8(at + *pos + NAME_SIZE_AT);
	if (file_size < 0 || name_size < 0)
		return "is damaged: an archive member's size is not a number";
	/* Sizes are below 2^32 and positions below 2^63: no sum wraps. */
	data = boot_align(name + (uint64_t)name_size, 4);
	if (name + (uint64_t)name_size > size || (file_size && data + (uint64_t)file_size > size))
		return "is truncated within an archive";
	*ret_trailer = name_size == 11 && !memcmp(at + name, "TRAILER!!!", 11);
	*pos = boot_align(data + (uint64_t)file_size, 4);
	return NULL;
}

/* NULL, or what Linux could not unpack (init/initramfs.c): archives with zeros between, and once
 * compressed data begins, that is all. */
static const char *fault(const uint8_t *at, uint64_t size)
{
	uint64_t pos = 0;
	bool within = false, any = false;

	for (;;) {
		bool trailer = false;
		const char *text;

		while (!within && pos < size && !at[pos])
			pos++;
		if (pos >= size)
			return within ? "is truncated: its archive has no end"
			       : !any ? "holds only zeros"
				      : NULL;
		if (!within && size - pos >= 2 && compressed(at + pos))
			return NULL;
		if (!within && (at[pos] != '0' || pos % 4))
			return "is neither a cpio archive (newc) nor compressed data that Linux "
			       "unpacks";
		text = step(at, size, &pos, &trailer);
		if (text)
			return text;
		within = !trailer;
		any = true;
	}
}

int boot_initrds_read(const struct boot_initrds *initrds, uint8_t *to, struct why *why)
{
	uint64_t at = 0;

	for (size_t i = 0; i < initrds->count; i++) {
		const struct boot_file *file = &initrds->files[i];
		uint64_t start = boot_align(at, 4);
		const char *what;
		int error;

		memset(to + at, 0, start - at);
		error = boot_file_read(file, 0, file->size, to + start, why);
		if (error)
			return error;
		what = fault(to + start, file->size);
		if (what)
			return why_set(why, -EINVAL,
				       "initrd %s: %s (make it anew with cpio -o -H newc)",
				       file->path, what);
		at = start + file->size;
	}
	return 0;
}
