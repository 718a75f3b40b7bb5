/* SPDX-License-Identifier: Apache-2.0 */
/* lapic.h - the timer of a CPU's local APIC while time stands still.
 *
 * KVM's LAPIC timer goes by the host's clock and does not know of a pause.  In the modes that count
 * down it is taken back here to where it was, and goes on from there; the TSC's deadline is a
 * count, and moves with it (tsc_move()).  Where time went on nothing is to be done: what fell due
 * waits in KVM, once however many periods passed.
 *
 * Of a machine that is saved meanwhile, KVM has none of these timers until it goes on: the TSC goes
 * on counting, and a deadline that it has passed when it is written may fire there and then (KVM
 * does so where the hardware has APICv).
 *
 * The stop lies before any look at the timer: what it has counted since is taken off.  A one-shot
 * timer that has fired and whose interrupt the guest has not taken yet is left alone, as it is not
 * running.  A periodic one is, and KVM does not show an interrupt that it owes: one is owed if a
 * period ended after the CPU's thread left the guest and before the stop. */
#ifndef KVM_LAPIC_H
#define KVM_LAPIC_H

#include <stdbool.h>
#include <stdint.h>

#include "kvm/vcpu.h"

struct lapic_timer {
	bool counts;       /* it is to go on, ... */
	bool periodic;     /* ... again and again, ... */
	bool masked;       /* ... without interrupts, ... */
	bool requested;    /* ... its last one waits in the APIC, ... */
	bool taken_back;   /* ... and KVM has been told so, ... */
	uint8_t shift;     /* ... a tick is 2^shift ns, ... */
	uint32_t initial;  /* ... a period this many, ... */
	uint32_t left;     /* ... and the next one comes in this many */
	uint64_t deadline; /* of the TSC, which KVM is without for now; 0: none */
};

/* Where it was when the host's TSC, of `khz`, was `tsc`, a moment ago; the vCPU is kept out of the
 * guest since before.  0, or -EIO. */
int lapic_stop(const struct vcpu *vcpu, uint64_t tsc, uint32_t khz, struct lapic_timer *ret_timer);

/* It goes on from there, in KVM from now on; the vCPU has been kept out, and its TSC shows what it
 * is to.  May be called again.  0, or -EIO. */
int lapic_go(const struct vcpu *vcpu, struct lapic_timer *timer);

/* Time went on by `gap_ns` after all: KVM is told if it has been told otherwise.  What fell due
 * meanwhile comes at once, once.  0, or -EIO. */
int lapic_go_on(const struct vcpu *vcpu, const struct lapic_timer *timer, uint64_t gap_ns);

/* It stands still in KVM as well until it goes on, and no request is there that came of time which
 * did not pass.  The CPU's TSC showed `count` at the stop: a deadline beyond that is yet to come,
 * whatever KVM says by now.  May be called again.  0, or -EIO. */
int lapic_hold(const struct vcpu *vcpu, uint64_t count, struct lapic_timer *timer);

/* Registers that were read while it was held, as they were at the stop. */
void lapic_held(const struct lapic_timer *timer, struct kvm_lapic_state *state);

/* Registers that were saved, `ns` later: what fell due meanwhile comes at once, once, and a
 * periodic timer keeps its phase.  A one-shot timer that had fired by then is off - its initial
 * count reads as 0 - since KVM would let it fire again; its request, if it waits, is in the
 * registers. */
void lapic_pass(struct kvm_lapic_state *state, uint64_t ns);

#endif
