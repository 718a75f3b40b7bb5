/* SPDX-License-Identifier: Apache-2.0 */
/* vmstate_features.h - what a machine's CPUs can do, and whether this host's can: asked before any
 * memory goes there.
 *
 * The part, little-endian: how many entries of CPUID, how many registers, how many bytes an FPU's
 * state has, and flags (1: KVM_GET_SREGS2), 4 bytes each; then CPUID as CPU 0 shows it, struct
 * kvm_cpuid_entry2; then the indices of the model specific registers that are saved, 4 bytes each.
 * The other CPUs differ by their APIC ids alone. */
#ifndef KVM_VMSTATE_FEATURES_H
#define KVM_VMSTATE_FEATURES_H

#include "kvm/cpuid.h"
#include "kvm/vcpu.h"
#include "kvm/vmstate_cpu.h"
#include "kvm/vmstate_parts.h"

/* Adds the part; CPU 0 is kept out of the guest.  0, -EIO, -ENOMEM. */
int vmstate_features_save(const struct vm *vm, const struct vcpu *vcpu,
			  const struct vmstate_cpu_ours *ours, struct vmstate_parts *parts,
			  struct why *why);

/* Whether CPU 0, created anew, can do all of that (cpuid_lacks.h).  0; -EXDEV and what it lacks;
 * -EINVAL, -ENOTSUP: no such part. */
int vmstate_features_compare(const struct vmstate_part *part, const struct vm *vm,
			     const struct vcpu *vcpu, const struct vmstate_cpu_ours *ours,
			     struct why *why);

#endif
