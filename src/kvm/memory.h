/* SPDX-License-Identifier: Apache-2.0 */
/* memory.h - guest memory: one piece from 0 to at most 3 GiB, the rest from 4 GiB up.
 *
 * The hole between holds the LAPIC, the IOAPIC and what the board answers.  Whoever reads or
 * writes guest memory asks here for a pointer and gets none outside.
 *
 * Nothing here locks: the pieces stay where they are from memory_create to memory_destroy, so any
 * thread may ask for pointers between the two. */
#ifndef KVM_MEMORY_H
#define KVM_MEMORY_H

#include <stdint.h>

#include "host/why.h"

#define MEMORY_LOW_MAX 0xc0000000ULL
#define MEMORY_HIGH_BASE 0x100000000ULL
#define MEMORY_MIN (16ULL << 20)
#define MEMORY_PAGE 4096ULL
#define MEMORY_LARGE_PAGE (2ULL << 20)

struct dirty;

struct guest_memory {
	uint8_t *low;        /* guest physical 0 .. low_size */
	uint64_t low_size;   /* bytes, at most MEMORY_LOW_MAX */
	uint8_t *high;       /* guest physical 4 GiB .. ; NULL when there is none */
	uint64_t high_size;  /* bytes, 0 when there is none */
	struct dirty *dirty; /* who is told what this process writes; NULL: nobody; atomic */
	uint32_t telling;    /* threads that may be at it; atomic */
};

/* Anonymous memory, zero, not yet touched: the host gives a page when it is first used, a large
 * one if it can (each piece starts at a multiple of MEMORY_LARGE_PAGE).
 * `size` (bytes) is a multiple of 4 KiB, at least MEMORY_MIN.
 * 0, -EINVAL (such a size is not possible) or -ENOMEM (the host has no room for the mapping). */
int memory_create(uint64_t size, struct guest_memory *ret_memory, struct why *why);

/* Unmaps both pieces and clears *memory; may be called again. */
void memory_destroy(struct guest_memory *memory);

/* Pointer to [gpa, gpa + length), or NULL unless all of it lies within one piece.  A length of 0
 * needs a gpa within a piece, too. */
void *memory_at(const struct guest_memory *memory, uint64_t gpa, uint64_t length);

/* To be called after each write of ours into memory that a guest runs in; from any thread.  (This
 * and the next one are in dirty.c.) */
void memory_written(struct guest_memory *memory, uint64_t gpa, uint64_t length);

/* Whom memory_written() tells from here on, all that was written by then apart; NULL: nobody, and
 * nobody is at it any more. */
void memory_tell(struct guest_memory *memory, struct dirty *dirty);

#endif
