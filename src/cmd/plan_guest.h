/* SPDX-License-Identifier: Apache-2.0 */
/* plan_guest.h - a guest with all chips of `vmtime run`, without a machine: the same functions
 * compute what an event does to them, and nobody reads a clock.
 *
 * Its host's counter, and so its TSC, runs at 2 GHz: all of its figures are whole.  It has run for
 * a second.  Its PIT and timer 0 of its HPET tick at 250 Hz, its RTC at 64 Hz, and it takes each
 * tick at once; its LAPIC's timer is armed for the TSC.  What is next comes about 3 ms after the
 * event begins (the RTC's excepted). */
#ifndef CMD_PLAN_GUEST_H
#define CMD_PLAN_GUEST_H

#include <vmtime/board.h>
#include <vmtime/clock.h>
#include <vmtime/kvmclock.h>
#include <vmtime/steal.h>
#include <vmtime/tsc.h>

#include "cmd/plan.h"

struct plan_guest {
	struct vmt_clock clock;
	struct vmt_tsc tsc;
	struct vmt_kvmclock kvmclock;
	struct vmt_steal steal;
	struct vmt_board board;
	struct vmt_reading host; /* the host's counter and UTC, now */
	vmt_ns board_deadline;
	uint32_t pulses;       /* bit of enum vmt_source: come, and not yet taken by the guest */
	uint64_t deadline_tsc; /* of the LAPIC's timer */
};

/* What all of it shows at an instant. */
struct plan_sight {
	vmt_ns now;
	int64_t host_utc_ns, rtc_utc_ns;
	uint64_t tsc; /* of a CPU */
	vmt_ns kvmclock_ns;
	uint64_t hpet;                 /* whole */
	uint32_t pmtmr;                /* 24 bits */
	uint64_t pmtmr_tick, pit_tick; /* as if they never came round */
	uint64_t steal_ns;
	uint64_t due_ns[VMT_SOURCES]; /* so long until the next edge; 0: now, VMT_NEVER: none */
	uint64_t lapic_due_ns;
	struct vmt_ledger ticks[VMT_SOURCES];
};

#define PLAN_GUEST_KHZ 2000000U

void plan_guest_boot(struct plan_guest *g, uint32_t ticks);
struct plan_sight plan_guest_look(const struct plan_guest *g);

/* What the event is to the machine, until the guest runs again.  *ret_bound_ns: how wrong both
 * hosts may be about the gap of a migration.  0 or negative errno: there is no
 * such time. */
int plan_guest_meet(struct plan_guest *g, const struct plan_ask *ask, uint64_t auto_limit_ns,
		    struct vmt_change *ret_change, uint64_t *ret_bound_ns);

/* The guest takes the ticks that have come. */
void plan_guest_take(struct plan_guest *g);

/* It runs until none of its PIT's is owed any more, or for a minute.  Returns for how long. */
uint64_t plan_guest_settle(struct plan_guest *g);

/* From tick to tick of its PIT. */
uint64_t plan_guest_tick_ns(const struct plan_guest *g);

#endif
