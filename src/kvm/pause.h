/* SPDX-License-Identifier: Apache-2.0 */
/* pause.h - a machine stands still for a while and goes on.
 *
 * From pause_begin() to pause_end() the gate is shut, virtual time stands, and the timers of the
 * local APICs are where they were.  What became of that time is decided at the end, by policy:
 *
 *   continue   virtual time went on: all clocks are further on at once, what fell due meanwhile is
 *              due now (ticks as the board's policy has it, a LAPIC's timer once)
 *   freeze     it stood still: the TSCs' offsets are moved back by just that time, from one reading
 *              of the host's TSC, the LAPIC timers have as much left as they had at that reading
 *
 * KVM's own kvm-clock is set back with the TSC.  Its own PIT cannot be stopped: when time went on
 * it did as well, when it stood still its counts begin anew.  What a vCPU's thread waited for
 * meanwhile is not steal.
 *
 * Where the host was suspended meanwhile, the time that passed is that of CLOCK_BOOTTIME, whether
 * or not its TSC has counted it, and the guest's TSC goes by it as well; one that began anew
 * without is taken to have counted on as CLOCK_MONOTONIC has.
 *
 * Threads: begin, end and abandon from the one that starts and stops the vCPUs. */
#ifndef KVM_PAUSE_H
#define KVM_PAUSE_H

#include <stdbool.h>
#include <stdint.h>
#include <vmtime/gap.h>

#include "host/hostclock.h"
#include "kvm/chipset.h"
#include "kvm/lapic.h"
#include "kvm/pvclock.h"
#include "kvm/steal.h"
#include "kvm/vm.h"

struct pause_config {
	struct chipset *chipset;
	struct gate *gate;
	struct pvclock *pvclock;
	struct steal *steal; /* all 0: KVM's, or none */
	const struct vm *vm;
	struct vcpu *vcpus;
	const struct vmt_tsc *tsc;
	uint32_t cpus;
	bool kernel_clock; /* kvm-clock is KVM's */
	bool own_utc;      /* UTC was chosen at power-on: it is not the host's */
	bool movable;      /* KVM can give a CPU another TSC offset: else time always goes on */
	/* It came from elsewhere at this virtual time, when its guest could take so long a gap, by
	 * what it had read there; 0: it did not come, or could take none. */
	uint64_t came_limit_ns;
	vmt_ns came_ns;
};

/* The host's clocks at one instant. */
struct pause_instant {
	uint64_t tsc;
	struct vmt_reading at;             /* of the counter that virtual time counts */
	struct vmt_discipline_sample host; /* CLOCK_MONOTONIC beside the TSC */
	struct hostclock_beside beside;
};

struct pause {
	struct pause_config config;
	bool paused;
	struct pause_instant from;
	uint64_t tsc_count;    /* of the guest's TSC then */
	uint64_t kvm_clock_ns; /* what KVM's kvm-clock showed then */
	struct lapic_timer timers[VM_MAX_CPUS];
};

/* The host's clocks now; the virtual clock counts the TSC, of `khz`, or else CLOCK_MONOTONIC.  0 or
 * negative errno. */
int pause_look(bool counts_tsc, uint32_t khz, struct pause_instant *ret_instant);

/* 0, or -EIO, and the machine runs as before. */
int pause_begin(struct pause *p, const struct pause_config *config, struct why *why);

/* The same of a machine whose CPUs have been given their state and have not run since.  It stands
 * from `from` on, where its clock was `then` (chipset_pause_at()); the timers of its LAPICs have
 * left what they were given. */
int pause_begin_at(struct pause *p, const struct pause_config *config,
		   const struct pause_instant *from, const struct vmt_clock *then, struct why *why);

/* 0, or -EIO: KVM did not take back what it gave; the machine stands still as before.
 * *ret_limit_ns: the longest gap that the guest can take, *ret_clock: because of that one of its
 * clocks (enum vmt_gap_clock; 0: none that is known). */
int pause_end(struct pause *p, uint32_t policy, struct chipset_change *ret_change,
	      uint64_t *ret_limit_ns, uint32_t *ret_clock, struct why *why);

/* The longest gap that the guest can take at virtual time `now`, and because of which of its
 * clocks, as above. */
uint64_t pause_limit(const struct pause_config *config, vmt_ns now, uint32_t *ret_clock);

/* What KVM's own clock showed when the host's TSC was `tsc`; where it does not tell the count at
 * which it was read, what it shows now.  And to set it: so that it would have shown `ns` there.  0
 * or negative errno. */
uint64_t pause_kvm_clock(const struct pause_config *config, uint64_t tsc);
int pause_set_kvm_clock(const struct pause_config *config, uint64_t ns, uint64_t tsc);

/* The machine will not go on: the gate opens, for vCPUs that have been asked to stop. */
void pause_abandon(struct pause *p);

#endif
