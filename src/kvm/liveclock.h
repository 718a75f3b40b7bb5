/* SPDX-License-Identifier: Apache-2.0 */
/* liveclock.h - a virtual clock that is changed while others read it.
 *
 * One thread at a time changes it, any reads it without a lock and never sees parts of two. */
#ifndef KVM_LIVECLOCK_H
#define KVM_LIVECLOCK_H

#include <vmtime/clock.h>

struct counted_clock {
	struct vmt_clock clock;
	uint64_t tsc; /* 1: its counter is the TSC; 0: CLOCK_MONOTONIC in ns */
};

struct liveclock {
	uint32_t version; /* odd while it is changed */
	struct counted_clock now;
};

typedef uint64_t __attribute__((may_alias)) liveclock_word;

enum { LIVECLOCK_WORDS = sizeof(struct counted_clock) / sizeof(liveclock_word) };

_Static_assert(sizeof(struct counted_clock) % sizeof(liveclock_word) == 0, "copied word by word");

static inline void liveclock_set(struct liveclock *c, const struct counted_clock *now)
{
	const liveclock_word *from = (const liveclock_word *)now;
	liveclock_word *to = (liveclock_word *)&c->now;
	uint32_t odd = __atomic_load_n(&c->version, __ATOMIC_RELAXED) + 1;

	__atomic_store_n(&c->version, odd, __ATOMIC_RELAXED);
	__atomic_thread_fence(__ATOMIC_RELEASE);
	for (int i = 0; i < LIVECLOCK_WORDS; i++)
		__atomic_store_n(&to[i], from[i], __ATOMIC_RELAXED);
	__atomic_store_n(&c->version, odd + 1, __ATOMIC_RELEASE);
}

static inline struct counted_clock liveclock_get(const struct liveclock *c)
{
	const liveclock_word *from = (const liveclock_word *)&c->now;
	struct counted_clock now;
	liveclock_word *to = (liveclock_word *)&now;
	uint32_t before;

	do {
		before = __atomic_load_n(&c->version, __ATOMIC_ACQUIRE) & ~1U;
		for (int i = 0; i < LIVECLOCK_WORDS; i++)
			to[i] = __atomic_load_n(&from[i], __ATOMIC_RELAXED);
		__atomic_thread_fence(__ATOMIC_ACQUIRE);
	} while (__atomic_load_n(&c->version, __ATOMIC_RELAXED) != before);
	return now;
}

#endif
