/* SPDX-License-Identifier: Apache-2.0 */
/* gap.h - how long a gap a guest's clock can take: time that goes on while the guest does not run,
 * as VMT_POLICY_CONTINUE has it, is seen by the guest only as far as its counter and its arithmetic
 * reach.  VMT_POLICY_AUTO continues over gaps up to here and freezes over longer ones.
 *
 * Of Linux on x86 (kernel/time/timekeeping.c, clocksource.c, drivers/clocksource/acpi_pm.c,
 * arch/x86/kernel/hpet.c):
 *
 *  - kvm-clock and tsc have 64 bits.  Before 6.10 the whole gap is multiplied in 64 bits before the
 *    first tick after it; the factor is chosen so that 10 minutes fit, and not more than twice as
 *    much: beyond that time may come out wrong by hundreds of seconds.
 *  - The HPET is read with 32 bits of 10 ns, the PM timer with 24.  What has moved by half of that
 *    or more counts as a step back, and so as nothing (clocksource_delta()): 21.4 s and 2.3 s.
 *    Of one that is read as a watchdog of the TSC the same is true.
 *  - A guest that counts ticks gets as many as the machine gives later (board.h, enum vmt_ticks).
 *
 * A pure function; any thread. */
#ifndef VMTIME_GAP_H
#define VMTIME_GAP_H

#include <vmtime/board.h>

#ifdef __cplusplus
extern "C" {
#endif

/* By what a guest may be telling the time. */
enum vmt_gap_clock {
	VMT_GAP_KVMCLOCK = 1,
	VMT_GAP_TSC = 2,
	VMT_GAP_HPET = 4,
	VMT_GAP_PMTMR = 8,
	VMT_GAP_TICKS = 16
};

/* kvm-clock's and the TSC's. */
#define VMT_GAP_LONGEST_NS UINT64_C(600000000000)

struct vmt_gap_guest {
	uint32_t clocks;         /* enum vmt_gap_clock, or-ed: all that it may be using */
	uint32_t pmtmr_bits;     /* 24 or 32 */
	uint64_t hpet_since_ns;  /* how long ago it read that counter: part of its gap ... */
	uint64_t pmtmr_since_ns; /* ... and that one */
	uint64_t tick_ns;        /* from tick to tick */
	uint32_t ticks;          /* enum vmt_ticks: whether late ones are given */
	uint32_t pad;            /* 0 */
};

/* The longest gap that all of its clocks can take, in ns; UINT64_MAX without any.  *ret_clock, if
 * not NULL: the one that sets the limit, 0 without any. */
VMT_API uint64_t vmt_gap_limit_ns(const struct vmt_gap_guest *guest, uint32_t *ret_clock);

#ifdef __cplusplus
}
#endif
#endif
