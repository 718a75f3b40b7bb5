/* SPDX-License-Identifier: Apache-2.0 */
/* lapic.h - the timer of a CPU's local APIC while time stands still.
 *
 * KVM's LAPIC timer goes by the host's clock and does not know of a pause.  In the modes that count
 * down it is stopped here where it was, and goes on from there; the TSC's deadline is a count, and
 * moves with it (tsc_move()).  Where time went on nothing is to be done: what fell due waits in
 * KVM, once however many periods passed.
 *
 * A timer that has fired and whose interrupt the guest has not taken yet is left alone in one-shot
 * mode, as it is not running; a periodic one, which is, has that interrupt put into the APIC's
 * registers first. */
#ifndef KVM_LAPIC_H
#define KVM_LAPIC_H

#include <stdbool.h>
#include <stdint.h>

#include "kvm/vcpu.h"

struct lapic_timer {
	bool counts;   /* it is to go on, ... */
	uint32_t left; /* ... by this many of its ticks to the next interrupt */
};

/* The vCPU is kept out of the guest.  0, or -EIO. */
int lapic_stop(struct vcpu *vcpu, struct lapic_timer *ret_timer);

/* ... and has been since.  0, or -EIO. */
int lapic_go(const struct vcpu *vcpu, const struct lapic_timer *timer);

#endif
