/* SPDX-License-Identifier: Apache-2.0 */
/* image.h - guest memory in sections: pages of zeros are named, the others compressed.
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

struct image; /* working memory: 3 MiB and what zstd needs */

/* NULL: no memory. */
struct image *image_new(void);
void image_free(struct image *image); /* takes NULL */

/* Writes `pages` (1..IMAGE_PAGES) from gpa on, which all lie in one piece of the memory. */
int image_put(struct image *image, struct stream_writer *w, const struct guest_memory *memory,
	      uint64_t gpa, uint32_t pages, struct why *why);

/* All of it, in the order of addresses. */
int image_put_all(struct image *image, struct stream_writer *w, const struct guest_memory *memory,
		  struct why *why);

/* Takes a section in.  `fresh`: the memory is zero where nothing was taken in.  *ret_gpa and
 * *ret_pages: what it covers (0 pages: nothing, it may be left out); *ret_whole: it says something
 * of each of these.  0, or -EINVAL, -ENOTSUP, and the pages that it covers may hold anything. */
int image_take(struct image *image, const struct stream_reader *r,
	       const struct stream_section *section, const struct guest_memory *memory, bool fresh,
	       uint64_t *ret_gpa, uint32_t *ret_pages, bool *ret_whole, struct why *why);

void image_stats(const struct image *image, struct image_stats *ret_stats);

#endif
