/* SPDX-License-Identifier: Apache-2.0 */
/* gap.c - how long a gap a guest's clock can take. */
#include <vmtime/gap.h>

#include "core/ns.h"

enum { HPET_BITS = 32 }; /* that Linux reads */

/* The most that a counter can have moved without its upper half being taken for a step back. */
static uint64_t half_of(uint32_t bits)
{
	return (UINT64_C(1) << (bits - 1)) - 1;
}

static uint64_t less(uint64_t limit_ns, uint64_t since_ns)
{
	return limit_ns > since_ns ? limit_ns - since_ns : 0;
}

static uint64_t limit_of(const struct vmt_gap_guest *g, uint32_t clock)
{
	bool keeps = g->ticks == VMT_TICKS_CATCHUP || g->ticks == VMT_TICKS_DELAY;
	uint32_t bits = g->pmtmr_bits == 32 ? 32 : 24;

	switch (clock) {
	case VMT_GAP_HPET:
		return less(half_of(HPET_BITS) * VMT_HPET_TICK_NS, g->hpet_since_ns);
	case VMT_GAP_PMTMR:
		return less(vmt_ns_muldiv_floor(half_of(bits), VMT_NS_PER_S, VMT_PMTMR_HZ),
			    g->pmtmr_since_ns);
	case VMT_GAP_TICKS:
		return vmt_ns_muldiv_floor(g->tick_ns, keeps ? VMT_TICKS_OWED : 1, 1);
	default:
		return VMT_GAP_LONGEST_NS;
	}
}

uint64_t vmt_gap_limit_ns(const struct vmt_gap_guest *guest, uint32_t *ret_clock)
{
	uint64_t limit = UINT64_MAX;
	uint32_t which = 0;

	for (uint32_t clock = VMT_GAP_KVMCLOCK; clock <= VMT_GAP_TICKS; clock <<= 1)
		if (guest->clocks & clock && limit_of(guest, clock) < limit) {
			limit = limit_of(guest, clock);
			which = clock;
		}
	if (ret_clock)
		*ret_clock = which;
	return limit;
}
