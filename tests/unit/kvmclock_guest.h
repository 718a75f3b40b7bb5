/* SPDX-License-Identifier: Apache-2.0 */
/* kvmclock_guest.h - an entry of kvm-clock as a guest has it in its memory, and what Linux makes of
 * it (arch/x86/include/asm/pvclock.h, arch/x86/kernel/pvclock.c). */
#ifndef TESTS_KVMCLOCK_GUEST_H
#define TESTS_KVMCLOCK_GUEST_H

#include <stdint.h>
#include <vmtime/kvmclock.h>

struct entry {
	uint32_t version, pad;
	uint64_t tsc, ns;
	uint32_t mul;
	int8_t shift;
	uint8_t flags, rest[2];
};

_Static_assert(sizeof(struct entry) == VMT_KVMCLOCK_BYTES, "the kernel's layout");

static inline uint64_t guest_ns(const struct entry *e, uint64_t tsc)
{
	__extension__ typedef unsigned __int128 u128;
	uint64_t delta = tsc - e->tsc;

	delta = e->shift < 0 ? delta >> -e->shift : delta << e->shift;
	return e->ns + (uint64_t)((u128)delta * e->mul >> 32);
}

static inline uint64_t guest_khz(const struct entry *e)
{
	uint64_t khz = (UINT64_C(1000000) << 32) / e->mul;

	return e->shift < 0 ? khz << -e->shift : khz >> e->shift;
}

#endif
