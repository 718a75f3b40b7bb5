/* SPDX-License-Identifier: Apache-2.0 */
/* boot_image.h - what the loaders of both image formats share; only for src/kvm/boot*.c. */
#ifndef KVM_BOOT_IMAGE_H
#define KVM_BOOT_IMAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "kvm/boot.h"
#include "kvm/bytes.h"

/* An open file and its size when it was opened. */
struct boot_file {
	int fd;
	const char *role; /* "kernel", "initrd", "module": the first word of each complaint */
	const char *path;
	uint64_t size; /* bytes, never 0 */
};

/* Opens a regular file that is not empty.  0, or negative errno and a sentence. */
int boot_file_open(const char *role, const char *path, struct boot_file *ret_file, struct why *why);
void boot_file_close(struct boot_file *file);

/* Reads exactly [offset, offset + length), which the caller has checked against `size`, to `to`. */
int boot_file_read(const struct boot_file *file, uint64_t offset, uint64_t length, void *to,
		   struct why *why);

/* Descriptors for selectors 0x10 and 0x18 in the four-entry table at `gdt`. */
enum { BOOT_GDT_SIZE = 4 * 8 };
void boot_write_gdt(enum boot_mode mode, void *gdt);

/* What the guest is told of its memory, in order of addresses; a range that is not listed is none.
 * Returns how many of `ranges` there are. */
enum { BOOT_RANGES = 6, BOOT_LOW_END = 0x9fc00, BOOT_HIGH_START = 0x100000 };
struct boot_range {
	uint64_t start, end; /* guest physical, [start, end) */
	bool ram;            /* else reserved */
};
size_t boot_memory_map(const struct guest_memory *memory, struct boot_range ranges[BOOT_RANGES]);

/* The first bytes of a kernel: both formats show themselves in them. */
enum { BOOT_HEAD_MAX = 8192 };
struct boot_head {
	uint32_t length; /* the file's first `length` bytes, zero after them */
	uint8_t bytes[BOOT_HEAD_MAX];
};

bool boot_linux_claims(const struct boot_head *head);
int boot_linux_load(const struct guest_memory *memory, const struct boot_config *config,
		    const struct boot_file *file, const struct boot_head *head,
		    struct boot_state *ret_state, struct why *why);

bool boot_multiboot_claims(const struct boot_head *head);
int boot_multiboot_load(const struct guest_memory *memory, const struct boot_config *config,
			const struct boot_file *file, const struct boot_head *head,
			struct boot_state *ret_state, struct why *why);

/* Up to the next multiple of `to`, a power of two; UINT64_MAX (fits nowhere) if it would wrap. */
static inline uint64_t boot_align(uint64_t value, uint64_t to)
{
	return value > UINT64_MAX - (to - 1) ? UINT64_MAX : (value + to - 1) & ~(to - 1);
}

/* Bytes as MiB, rounded up: "give at least this many". */
static inline unsigned long long boot_mib(uint64_t bytes)
{
	return (bytes >> 20) + !!(bytes & ((1 << 20) - 1));
}

#endif
