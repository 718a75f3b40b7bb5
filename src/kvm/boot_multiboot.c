/* SPDX-License-Identifier: Apache-2.0 */
/* boot_multiboot.c - a Multiboot 1 image (Multiboot Specification 0.6.96). */
#include <errno.h>

#include "kvm/boot_image.h"

bool boot_multiboot_claims(const struct boot_head *head)
{
	(void)head;
	return false;
}

int boot_multiboot_load(const struct guest_memory *memory, const struct boot_config *config,
			const struct boot_file *file, const struct boot_head *head,
			struct boot_state *ret_state, struct why *why)
{
	(void)memory;
	(void)config;
	(void)head;
	(void)ret_state;
	return why_set(why, -ENOEXEC, "kernel %s: Multiboot: not built yet (give a bzImage)",
		       file->path);
}
