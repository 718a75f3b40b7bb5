/* SPDX-License-Identifier: Apache-2.0 */
/* liveclock.h - a virtual clock that is changed while others read it.
 *
 * One thread at a time changes it, any reads it without a lock and never sees parts of two.  There
 * are two copies, and the version says which one is whole: while one is written the other is read,
 * so a reader never waits for a writer that is preempted; it reads again only when it was changed
 * meanwhile. */
#ifndef KVM_LIVECLOCK_H
#define KVM_LIVECLOCK_H

#include <vmtime/clock.h>

struct counted_clock {
	struct vmt_clock clock;
	uint64_t tsc; /* 1: its counter is the TSC; 0: CLOCK_MONOTONIC in ns */
};

struct liveclock {
	uint32_t version; /* even: copies[0] is whole, odd: copies[1] is */
	struct counted_clock copies[2];
};

typedef uint64_t __attribute__((may_alias)) liveclock_word;

enum { LIVECLOCK_WORDS = sizeof(struct counted_clock) / sizeof(liveclock_word) };

_Static_assert(sizeof(struct counted_clock) % sizeof(liveclock_word) == 0, "copied word by word");

static inline void liveclock_copy(struct counted_clock *to, const struct counted_clock *from)
{
	const liveclock_word *source = (const liveclock_word *)from;
	liveclock_word *target = (liveclock_word *)to;

	for (int i = 0; i < LIVECLOCK_WORDS; i++)
		__atomic_store_n(&target[i], __atomic_load_n(&source[i], __ATOMIC_RELAXED),
				 __ATOMIC_RELAXED);
}

/* Readers are sent to the old one, then to the new one; then both are the same. */
static inline void liveclock_set(struct liveclock *c, const struct counted_clock *now)
{
	const uint32_t even = __atomic_load_n(&c->version, __ATOMIC_RELAXED);

	__atomic_store_n(&c->version, even + 1, __ATOMIC_RELEASE);
	__atomic_thread_fence(__ATOMIC_RELEASE);
	liveclock_copy(&c->copies[0], now);
	__atomic_store_n(&c->version, even + 2, __ATOMIC_RELEASE);
	__atomic_thread_fence(__ATOMIC_RELEASE);
	liveclock_copy(&c->copies[1], now);
}

static inline struct counted_clock liveclock_get(const struct liveclock *c)
{
	struct counted_clock now;
	uint32_t version;

	do {
		version = __atomic_load_n(&c->version, __ATOMIC_ACQUIRE);
		liveclock_copy(&now, &c->copies[version & 1]);
		__atomic_thread_fence(__ATOMIC_ACQUIRE);
	} while (__atomic_load_n(&c->version, __ATOMIC_RELAXED) != version);
	return now;
}

#endif
