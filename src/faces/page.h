/* SPDX-License-Identifier: Apache-2.0 */
/* page.h - how a face's page is written into the guest's memory: the one publisher.
 *
 * One word is a version.  A reader that finds it odd, or another one after than before, reads
 * again; so it is made odd, the rest is written, and it is made even, in this order (on x86 stores
 * are seen in order; the fences keep the compiler to it).  tests/model checks the protocol. */
#ifndef FACES_PAGE_H
#define FACES_PAGE_H

#include <stdint.h>

/* `words` are those of the whole entry; that of the version, number `version`, is not looked at.
 * Whatever the guest has put there, it is odd meanwhile, then even and another one. */
static inline void vmt_page_publish_at(uint32_t *entry, uint32_t version, const uint32_t *words,
				       uint32_t count)
{
	uint32_t odd = (__atomic_load_n(&entry[version], __ATOMIC_RELAXED) + 1) | 1;

	__atomic_store_n(&entry[version], odd, __ATOMIC_RELAXED);
	__atomic_thread_fence(__ATOMIC_RELEASE);
	for (uint32_t i = 0; i < count; i++)
		if (i != version)
			__atomic_store_n(&entry[i], words[i], __ATOMIC_RELAXED);
	__atomic_store_n(&entry[version], odd + 1, __ATOMIC_RELEASE);
}

/* The same where the first word is the version. */
static inline void vmt_page_publish(uint32_t *entry, const uint32_t *words, uint32_t count)
{
	vmt_page_publish_at(entry, 0, words, count);
}

#endif
