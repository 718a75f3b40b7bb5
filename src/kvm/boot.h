/* SPDX-License-Identifier: Apache-2.0 */
/* boot.h - puts a Linux bzImage or a Multiboot 1 image into guest memory, ready to enter. */
#ifndef KVM_BOOT_H
#define KVM_BOOT_H

#include <stdint.h>

#include "kvm/memory.h"

struct boot_config {
	const char *kernel; /* path: bzImage, or Multiboot 1 (ELF32, or flat with address fields) */
	const char *const *
		initrds; /* NULL-ended; Linux: one archive after another, each 4-aligned; Multiboot: modules */
	const char *append; /* command line, never NULL */
	const char *const
		*env; /* NULL-ended K=V: Linux: appended to the command line; Multiboot: one module
	                             * before all others that holds a line each */
	uint64_t rsdp_gpa; /* ACPI root, 0: none */
};

enum boot_mode { BOOT_LONG64 = 1, BOOT_PROTECTED32 = 2 };

/* How the first vCPU starts; the others wait for INIT and SIPI. */
struct boot_state {
	enum boot_mode mode;
	uint64_t entry; /* RIP or EIP */
	uint64_t rsi;   /* LONG64: the zero page */
	uint64_t
		cr3; /* LONG64: identity map of the first 4 GiB at least, prepared in guest memory */
	uint64_t gdt_gpa; /* table prepared in guest memory: 0x10 flat code, 0x18 flat data */
	uint16_t gdt_limit;
	uint32_t eax, ebx; /* PROTECTED32 */
};

/* 0, or negative errno with a sentence that names the file and the remedy.  -ENOENT, -EACCES: cannot
 * be read; -ENOEXEC: not an image; -EINVAL: absurd, truncated or over a limit; -ENOSPC: memory too small. */
int boot_load(const struct guest_memory *memory, const struct boot_config *config,
	      struct boot_state *ret_state, struct why *why);

#endif
