/* SPDX-License-Identifier: Apache-2.0 */
/* pages.c - what is done with a page of guest memory on its way. */
#include "move/pages.h"

/* Odd, so that no multiplication loses anything: the golden ratio's fraction (splitmix64). */
#define FACTOR UINT64_C(0x9e3779b97f4a7c15)

enum { WORDS = MEMORY_PAGE / sizeof(uint64_t), LANES = 4 };

static uint64_t load(const uint64_t *at)
{
	return __atomic_load_n(at, __ATOMIC_RELAXED);
}

/* Most pages that are not zero show it in their first words.  Four at once: memcmp() of a page with
 * itself, a word further, is no faster on a CPU and four times slower on one that is emulated (1.2
 * and 5 GB/s). */
bool pages_zero(const uint8_t *page)
{
	const uint64_t *at = (const uint64_t *)page;

	for (unsigned i = 0; i < WORDS; i += LANES)
		if (load(at + i) | load(at + i + 1) | load(at + i + 2) | load(at + i + 3))
			return false;
	return true;
}

struct pages_sum pages_sum_begin(void)
{
	return (struct pages_sum){{1, 2, 3, 4}};
}

/* Turned, so that the upper bits, which a multiplication takes nowhere, become lower ones. */
static uint64_t add(uint64_t lane, uint64_t word)
{
	lane = (lane ^ word) * FACTOR;
	return lane << 29 | lane >> 35;
}

void pages_copy(struct pages_sum *sum, uint8_t *to, const uint8_t *page)
{
	const uint64_t *from = (const uint64_t *)page;
	uint64_t *const at = (uint64_t *)to;
	uint64_t a = sum->lanes[0], b = sum->lanes[1], c = sum->lanes[2], d = sum->lanes[3];

	for (unsigned i = 0; i < WORDS; i += LANES) {
		const uint64_t w0 = load(from + i), w1 = load(from + i + 1),
			       w2 = load(from + i + 2), w3 = load(from + i + 3);

		at[i] = w0;
		at[i + 1] = w1;
		at[i + 2] = w2;
		at[i + 3] = w3;
		a = add(a, w0);
		b = add(b, w1);
		c = add(c, w2);
		d = add(d, w3);
	}
	*sum = (struct pages_sum){{a, b, c, d}};
}

uint64_t pages_sum_end(const struct pages_sum *sum)
{
	uint64_t all = 0;

	for (unsigned i = 0; i < LANES; i++)
		all = add(all, sum->lanes[i]);
	return all ^ all >> 32;
}
