/* SPDX-License-Identifier: Apache-2.0 */
/* liveclock.h - a virtual clock that is changed while others read it.
 *
 * One thread at a time changes it, any reads it without a lock and never sees parts of two. */
#ifndef KVM_LIVECLOCK_H
#define KVM_LIVECLOCK_H

#include <vmtime/clock.h>

struct liveclock {
	uint32_t version; /* odd while it is changed */
	struct vmt_clock clock;
};

typedef uint64_t __attribute__((may_alias)) liveclock_word;

enum { LIVECLOCK_WORDS = sizeof(struct vmt_clock) / sizeof(liveclock_word) };

_Static_assert(sizeof(struct vmt_clock) % sizeof(liveclock_word) == 0, "copied word by word");

static inline void liveclock_set(struct liveclock *c, const struct vmt_clock *clock)
{
	const liveclock_word *from = (const liveclock_word *)clock;
	liveclock_word *to = (liveclock_word *)&c->clock;
	uint32_t odd = __atomic_load_n(&c->version, __ATOMIC_RELAXED) + 1;

	__atomic_store_n(&c->version, odd, __ATOMIC_RELAXED);
	__atomic_thread_fence(__ATOMIC_RELEASE);
	for (int i = 0; i < LIVECLOCK_WORDS; i++)
		__atomic_store_n(&to[i], from[i], __ATOMIC_RELAXED);
	__atomic_store_n(&c->version, odd + 1, __ATOMIC_RELEASE);
}

static inline struct vmt_clock liveclock_get(const struct liveclock *c)
{
	const liveclock_word *from = (const liveclock_word *)&c->clock;
	struct vmt_clock clock;
	liveclock_word *to = (liveclock_word *)&clock;
	uint32_t before;

	do {
		before = __atomic_load_n(&c->version, __ATOMIC_ACQUIRE) & ~1U;
		for (int i = 0; i < LIVECLOCK_WORDS; i++)
			to[i] = __atomic_load_n(&from[i], __ATOMIC_RELAXED);
		__atomic_thread_fence(__ATOMIC_ACQUIRE);
	} while (__atomic_load_n(&c->version, __ATOMIC_RELAXED) != before);
	return clock;
}

#endif
