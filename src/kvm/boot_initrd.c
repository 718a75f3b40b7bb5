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

int boot_initrds_read(const struct boot_initrds *initrds, uint8_t *to, struct why *why)
{
	uint64_t at = 0;

	for (size_t i = 0; i < initrds->count; i++) {
		const struct boot_file *file = &initrds->files[i];
		uint64_t start = boot_align(at, 4);
		int error;

		memset(to + at, 0, start - at);
		error = boot_file_read(file, 0, file->size, to + start, why);
		if (error)
			return error;
		at = start + file->size;
	}
	return 0;
}
