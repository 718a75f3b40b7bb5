/* SPDX-License-Identifier: Apache-2.0 */
/* sample.h - the memory of the guests whose files and streams are stored here. */
#ifndef TESTS_MOVE_SAMPLE_H
#define TESTS_MOVE_SAMPLE_H

#include <stdint.h>
#include <string.h>

#include "kvm/memory.h"

/* Page 0 is text, 1 a pattern, 300 noise that cannot be compressed; the last one has its last
 * byte. */
static inline void sample_fill(struct guest_memory *m, const char *text)
{
	const int page = MEMORY_PAGE;
	uint64_t noise = 1;

	strcpy((char *)m->low, text);
	for (int i = 0; i < page; i++)
		m->low[page + i] = (uint8_t)(i * i);
	for (int i = 300 * page; i < 301 * page; i++) {
		noise = noise * UINT64_C(6364136223846793005) + 1;
		m->low[i] = (uint8_t)(noise >> 56);
	}
	m->low[m->low_size - 1] = 0xff;
}

#endif
