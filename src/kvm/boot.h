/* SPDX-License-Identifier: Apache-2.0 */
/* boot.h - puts a Linux bzImage or a Multiboot 1 image into guest memory, ready to enter.
 *
 * Everything in the files is taken as hostile: whatever their headers say, nothing outside the
 * file is read and nothing outside guest memory is written.  After an error the guest's memory
 * holds anything; it is to be thrown away. */
#ifndef KVM_BOOT_H
#define KVM_BOOT_H

#include <stdint.h>

#include "kvm/memory.h"

struct boot_config {
	/* Path: bzImage, or Multiboot 1 (ELF32, or flat with address fields). */
	const char *kernel;
	/* NULL-ended.  Linux: one archive after another, each 4-aligned; Multiboot: modules. */
	const char *const *initrds;
	/* Command line, never NULL. */
	const char *append;
	/* NULL-ended K=V.  Linux: appended to the command line, in quotes where the value has
	 * blanks; Multiboot: one module before all others that holds a line each. */
	const char *const *env;
	/* ACPI root, 0: none. */
	uint64_t rsdp_gpa;
};

enum boot_mode { BOOT_LONG64 = 1, BOOT_PROTECTED32 = 2 };

/* How the first vCPU starts; the others wait for INIT and SIPI.  In both modes: interrupts off,
 * RFLAGS 2, all general registers 0 but those given here, CS 0x10 flat code, DS, ES, FS, GS and SS
 * 0x18 flat data, as the table at gdt_gpa has them. */
struct boot_state {
	enum boot_mode mode;
	uint64_t entry;     /* RIP or EIP */
	uint64_t rsi;       /* LONG64: the zero page */
	uint64_t cr3;       /* LONG64: identity map of the first 4 GiB, in guest memory */
	uint64_t gdt_gpa;   /* table in guest memory; the code segment is of `mode` */
	uint16_t gdt_limit; /* its last byte's offset */
	uint32_t eax, ebx;  /* PROTECTED32 */
};

/* 0, or negative errno with a sentence that names the file and the remedy.  -ENOENT, -EACCES:
 * cannot be read; -ENOEXEC: not an image that this can start; -EINVAL: absurd, truncated or over a
 * limit; -ENOSPC: memory too small; another: what open(2) or read(2) said. */
int boot_load(const struct guest_memory *memory, const struct boot_config *config,
	      struct boot_state *ret_state, struct why *why);

#endif
