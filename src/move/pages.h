/* SPDX-License-Identifier: Apache-2.0 */
/* pages.h - what is done with a page of guest memory on its way: seen to be zero, copied, summed.
 *
 * Pages are read word by word, each word once, for a guest may write them meanwhile: what is summed
 * is what was copied.  In one pass, since each costs as much as the wire does. */
#ifndef MOVE_PAGES_H
#define MOVE_PAGES_H

#include <stdbool.h>
#include <stdint.h>

#include "kvm/memory.h"

bool pages_zero(const uint8_t *page);

/* A checksum of pages in a row, by multiplication: it finds what has changed by accident, each
 * single word of any change, at twice the speed of a CRC.  Four lanes, as one waits for itself. */
struct pages_sum {
	uint64_t lanes[4];
};

struct pages_sum pages_sum_begin(void);
/* Also sums it; both are multiples of 8. */
void pages_copy(struct pages_sum *sum, uint8_t *to, const uint8_t *page);
uint64_t pages_sum_end(const struct pages_sum *sum);

#endif
