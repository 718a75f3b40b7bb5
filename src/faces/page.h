/* SPDX-License-Identifier: Apache-2.0 */
/* page.h - how a face's page is written into the guest's memory: the one publisher.
 *
 * The first word is a version.  A reader that finds it odd, or another one after than before, reads
 * again; so it is made odd, the rest is written, and it is made even, in this order (on x86 stores
 * are seen in order; the fences keep the compiler to it).  tests/model checks the protocol. */
#ifndef FACES_PAGE_H
#define FACES_PAGE_H

#include <stdint.h>

/* `words` are those of the whole entry; the first is not looked at.  Whatever the guest has put
 * into the version, it is odd meanwhile, then even and another one. */
static inline void vmt_page_publish(uint32_t *entry, const uint32_t *words, uint32_t count)
{
	uint32_t odd = (__atomic_load_n(entry, __ATOMIC_RELAXED) + 1) | 1;

	__atomic_store_n(entry, odd, __ATOMIC_RELAXED);
	__atomic_thread_fence(__ATOMIC_RELEASE);
	for (uint32_t i = 1; i < count; i++)
		__atomic_store_n(&entry[i], words[i], __ATOMIC_RELAXED);
	__atomic_store_n(entry, odd + 1, __ATOMIC_RELEASE);
}

#endif
