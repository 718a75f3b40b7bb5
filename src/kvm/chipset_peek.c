/* SPDX-License-Identifier: Apache-2.0 */
/* chipset_peek.c - the counters of a chipset that are read without its lock. */
#include "kvm/chipset_peek.h"

enum { PM_TIMER_BITS = 24 };

/* Odd in between. */
void chipset_switching(struct chipset *c)
{
	__atomic_add_fetch(&c->switches, 1, __ATOMIC_SEQ_CST);
}

/* Virtual time, at which a counter is read. */
static vmt_ns noted(const struct chipset *c, vmt_ns *read)
{
	vmt_ns now = chipset_now(c);

	__atomic_store_n(read, now, __ATOMIC_RELAXED);
	return now;
}

static bool count_of(struct chipset *c, uint32_t space, uint64_t *ret_count)
{
	if (space == VMT_MMIO)
		return vmt_hpet_peek(&c->board.hpet, noted(c, &c->hpet_read), ret_count) == 0;
	*ret_count = vmt_pmtmr_peek(noted(c, &c->pm_timer_read), PM_TIMER_BITS);
	return true;
}

static bool undisturbed(struct chipset *c, uint32_t space, uint64_t *ret_count)
{
	const uint32_t before = __atomic_load_n(&c->switches, __ATOMIC_ACQUIRE);

	if (before & 1 || !count_of(c, space, ret_count))
		return false;
	__builtin_ia32_lfence(); /* the host's TSC has been read, too */
	return __atomic_load_n(&c->switches, __ATOMIC_ACQUIRE) == before;
}

bool chipset_peek(struct chipset *c, uint32_t space, uint64_t addr, uint32_t width,
		  uint64_t *ret_value)
{
	const uint64_t offset = addr - c->hpet_counter;
	uint64_t count;

	if (space == VMT_PIO)
		return c->pm_timer && addr == c->pm_timer_port && width == 4 &&
		       undisturbed(c, space, ret_value);
	if (!c->hpet || offset >= 8 || width > 8 - offset || !undisturbed(c, space, &count))
		return false;
	count >>= offset * 8;
	*ret_value = width < 8 ? count & ((UINT64_C(1) << width * 8) - 1) : count;
	return true;
}
