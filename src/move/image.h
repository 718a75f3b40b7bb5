/* SPDX-License-Identifier: Apache-2.0 */
/* image.h - guest memory in sections: pages of zeros are named, the others stored or compressed.
 *
 * A section covers up to IMAGE_PAGES pages in a row and says of each whether it is there, or zero,
 * or not in this section at all (as it was; live migration sends what has changed only). */
#ifndef MOVE_IMAGE_H
#define MOVE_IMAGE_H

#include <stdbool.h>
#include <stdint.h>

#include "kvm/memory.h"
#include "move/stream.h"

#define IMAGE_PAGES 256U

/* What has been written or read. */
struct image_stats {
	uint64_t pages, zero_pages; /* of these, how many were of zeros */
	uint64_t bytes;             /* in sections */
};

struct image; /* what one thread works with: 1 MiB, a section, and what zstd needs */

/* NULL: no memory. */
struct image *image_new(void);
void image_free(struct image *image); /* takes NULL */

/* Pages in a row, and what of them goes into a section.  A bit a page: bit n % 8 of byte n / 8. */
struct image_run {
	uint64_t gpa;
	uint32_t pages;         /* 1..IMAGE_PAGES, which all lie in one piece of the memory */
	const uint8_t *wanted;  /* 0: the section says nothing of it; NULL: all are wanted */
	const uint8_t *touched; /* 0: it is known to be zero and is not looked at; NULL: nothing is
				 * known */
	bool compress;
};

/* The section of a run; its bytes are good until the next call.  Pages may be written meanwhile:
 * the section holds what one of them had at some time, and is whole.  0 or -EINVAL. */
int image_pack(struct image *image, const struct guest_memory *memory, const struct image_run *run,
	       struct stream_section *ret_section);

/* All of the memory, in the order of addresses, packed by several threads (crew_hands() tells how
 * many).  Nobody changes it meanwhile.  *give_up, which another thread may set at any time:
 * -ECANCELED soon after; NULL: nobody will. */
int image_put_all(struct stream_writer *w, const struct guest_memory *memory, const bool *give_up,
		  struct image_stats *ret_stats, struct why *why);

/* What a section says that it is about. */
struct image_piece {
	uint64_t gpa;
	uint32_t pages; /* 0: of nothing, it may be left out */
	uint32_t data, zero;
	uint32_t number; /* of the section */
};

/* Looks at the last section that was read.  0, -EINVAL, -ENOTSUP. */
int image_look(const struct stream_reader *r, const struct stream_section *section,
	       const struct guest_memory *memory, struct image_piece *ret_piece, struct why *why);

/* Whether page n of a section that was looked at is in it. */
bool image_has(const struct stream_section *section, uint32_t n);

/* Takes it in.  `fresh`: the memory is zero where nothing was taken in.  0, or -EINVAL, and the
 * pages that it covers may hold anything. */
int image_unpack(struct image *image, const char *name, const struct stream_section *section,
		 const struct image_piece *piece, const struct guest_memory *memory, bool fresh,
		 struct why *why);

/* Adds what this one has packed or unpacked. */
void image_add_stats(const struct image *image, struct image_stats *stats);

#endif
