/* SPDX-License-Identifier: Apache-2.0 */
/* memory.h - guest memory: one piece from 0 to at most 3 GiB, the rest from 4 GiB up.
 *
 * The hole between holds the LAPIC, the IOAPIC and what the board answers.  Whoever reads or
 * writes guest memory asks here for a pointer and gets none outside. */
#ifndef KVM_MEMORY_H
#define KVM_MEMORY_H

#include <stdint.h>

#include "host/why.h"

#define MEMORY_LOW_MAX 0xc0000000ULL
#define MEMORY_HIGH_BASE 0x100000000ULL
#define MEMORY_MIN (16ULL << 20)

struct guest_memory {
	uint8_t *low; /* guest physical 0 .. low_size */
	uint64_t low_size;
	uint8_t *high; /* guest physical 4 GiB .. ; NULL when there is none */
	uint64_t high_size;
};

/* Anonymous memory, zero, not yet touched.  `size` is a multiple of 4 KiB, at least MEMORY_MIN.
 * 0, -EINVAL or -ENOMEM. */
int memory_create(uint64_t size, struct guest_memory *ret_memory, struct why *why);
void memory_destroy(struct guest_memory *memory);

/* Pointer to [gpa, gpa + length), or NULL unless all of it lies within one piece. */
void *memory_at(const struct guest_memory *memory, uint64_t gpa, uint64_t length);

#endif
