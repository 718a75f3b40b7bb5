/* SPDX-License-Identifier: Apache-2.0 */
/* vmstate_msrs.h - a CPU's model specific registers, all that KVM has of it.
 *
 * Left out: the TSC, its adjustment and its deadline, which have an order of their own; those of
 * kvm-clock and steal time that are ours; and Hyper-V's, which the guest is not shown. */
#ifndef KVM_VMSTATE_MSRS_H
#define KVM_VMSTATE_MSRS_H

#include <linux/kvm.h>
#include <stdbool.h>
#include <stdint.h>

#include "host/why.h"
#include "kvm/vcpu.h"

#define VMSTATE_MSR_DEADLINE 0x6e0U

struct vmstate_msrs {
	uint32_t n;
	struct kvm_msr_entry entries[];
};

/* 0 and *ret_msrs to be freed; those that this CPU does not have are not in it, nor those that
 * vmstate_msrs_go_on() keeps out.  -EIO, -ENOMEM. */
int vmstate_msrs_read(const struct vm *vm, const struct vcpu *vcpu, bool our_kvm_clock,
		      bool our_steal, struct vmstate_msrs **ret_msrs, struct why *why);

/* Whether these n, struct kvm_msr_entry one after the other at any alignment, could come from
 * there; else *ret_msr is the first that is left out. */
bool vmstate_msrs_fit(const uint8_t *entries, uint32_t n, bool our_kvm_clock, bool our_steal,
		      uint32_t *ret_msr);

/* The CPU has come from elsewhere with these n, struct kvm_msr_entry at any alignment, which are
 * set.  What this KVM has in addition is kept out of what is read from now on, as long as it stays
 * as it is now: a kernel or a CPU that has more of them must not bar the way back.  0, -EIO,
 * -ENOMEM. */
int vmstate_msrs_go_on(const struct vm *vm, struct vcpu *vcpu, bool our_kvm_clock, bool our_steal,
		       const uint8_t *entries, uint32_t n, struct why *why);

/* Sets n of them, struct kvm_msr_entry one after the other at any alignment.  One that KVM refuses
 * and that has this value already is no matter; -EIO: another one.  -EXDEV: IA32_ARCH_CAPABILITIES
 * says more than this host's. */
int vmstate_msrs_write(const struct vcpu *vcpu, const uint8_t *entries, uint32_t n,
		       struct why *why);

#endif
