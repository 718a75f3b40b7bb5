/* SPDX-License-Identifier: Apache-2.0 */
/* vmstate_cpu.h - a CPU's registers as bytes.
 *
 * Records one after the other: what (enum vmstate_cpu_record) and how many bytes, 4 bytes each;
 * then these, filled up with 0 to a multiple of 8.  They are KVM's structs (<linux/kvm.h>), whose
 * layout is KVM's promise.  Not in here: what the TSC shows (tsc.h), and the registers of kvm-clock
 * and steal time where they are ours.
 *
 * A CPU that has left the guest for an access of its own completes it on its way back in: before
 * it is saved, vcpu_settle().
 *
 * Loading is done in steps, each for all CPUs before the next one, because KVM computes one from
 * another: a TSC deadline that is written before the LAPIC is in deadline mode, or before its TSC
 * is what it was, is lost or armed for another instant, and the guest waits for ever. */
#ifndef KVM_VMSTATE_CPU_H
#define KVM_VMSTATE_CPU_H

#include <linux/kvm.h>
#include <stdbool.h>
#include <stdint.h>

#include "host/why.h"
#include "kvm/lapic.h"
#include "kvm/vcpu.h"
#include "kvm/vmstate_parts.h"

enum vmstate_cpu_record {
	VMSTATE_CPU_CPUID = 1,      /* kvm_cpuid_entry2, some */
	VMSTATE_CPU_REGS = 2,       /* kvm_regs */
	VMSTATE_CPU_SREGS = 3,      /* kvm_sregs */
	VMSTATE_CPU_SREGS2 = 4,     /* kvm_sregs2, in its place where KVM has it */
	VMSTATE_CPU_XSAVE = 5,      /* kvm_xsave, and what is beyond */
	VMSTATE_CPU_XCRS = 6,       /* kvm_xcrs */
	VMSTATE_CPU_MSRS = 7,       /* kvm_msr_entry, some */
	VMSTATE_CPU_LAPIC = 8,      /* kvm_lapic_state */
	VMSTATE_CPU_DEADLINE = 9,   /* IA32_TSC_DEADLINE, 8 bytes */
	VMSTATE_CPU_EVENTS = 10,    /* kvm_vcpu_events */
	VMSTATE_CPU_DEBUGREGS = 11, /* kvm_debugregs */
	VMSTATE_CPU_MP_STATE = 12,  /* kvm_mp_state */
	VMSTATE_CPU_RECORDS = 13,
};

/* No CPU has a larger record of its FPU. */
#define VMSTATE_CPU_XSAVE_MAX (1U << 20)

/* Whose registers are not KVM's. */
struct vmstate_cpu_ours {
	bool kvm_clock, steal;
};

/* What CPUID shows on this CPU; to be freed.  0, -EIO, -ENOMEM: *ret_table is NULL. */
struct cpuid_table;
int vmstate_cpu_features(const struct vcpu *vcpu, struct cpuid_table **ret_table, struct why *why);

/* Bytes of an FPU's state. */
uint32_t vmstate_cpu_xsave(const struct vm *vm);

/* Adds a CPU's part; it is kept out of the guest and settled.  *timer: its LAPIC's, which KVM has
 * not for now (lapic_hold()).  0, or negative errno. */
int vmstate_cpu_save(const struct vm *vm, const struct vcpu *vcpu,
		     const struct vmstate_cpu_ours *ours, const struct lapic_timer *timer,
		     struct vmstate_parts *parts, struct why *why);

/* A CPU's part with its records found, each of its right size; points into the part. */
struct vmstate_cpu {
	struct {
		const uint8_t *bytes; /* NULL: not there */
		uint32_t length;
	} record[VMSTATE_CPU_RECORDS];
};

/* 0, or -EINVAL, also for a register that is not KVM's or has an order of its own; -ENOTSUP. */
int vmstate_cpu_parse(const struct vmstate_part *part, const struct vmstate_cpu_ours *ours,
		      struct vmstate_cpu *ret_state, struct why *why);

/* This CPU, created anew and for a machine of the same options, shows what it showed elsewhere from
 * now on: KVM takes another CPUID until it has run (KVM_SET_CPUID2).  0; -EXDEV and what this host
 * lacks for that (cpuid_lacks.h); -EIO, -EINVAL. */
int vmstate_cpu_show(const struct vcpu *vcpu, const struct vmstate_cpu *state, struct why *why);

/* The steps; of a CPU that has not run.  0, or -EIO and what KVM refused.
 *
 * First all registers that no time depends on; then the caller applies the TSC (tsc_apply()); then
 * the model specific registers; the local APIC, whose timer has `gap_ns` less to go; the TSC's
 * deadline, read back; and what is pending.  Last of all the chips, which must find the APICs. */
int vmstate_cpu_load_registers(const struct vcpu *vcpu, const struct vmstate_cpu *state,
			       struct why *why);
int vmstate_cpu_load_msrs(const struct vcpu *vcpu, const struct vmstate_cpu *state,
			  struct why *why);
/* After it: what is read of the CPU goes on to be what has come (vmstate_msrs_go_on()). */
int vmstate_cpu_go_on(const struct vm *vm, struct vcpu *vcpu, const struct vmstate_cpu_ours *ours,
		      const struct vmstate_cpu *state, struct why *why);
int vmstate_cpu_load_lapic(const struct vcpu *vcpu, const struct vmstate_cpu *state,
			   uint64_t gap_ns, struct why *why);
int vmstate_cpu_load_deadline(const struct vcpu *vcpu, const struct vmstate_cpu *state,
			      struct why *why);
int vmstate_cpu_load_events(const struct vcpu *vcpu, const struct vmstate_cpu *state,
			    struct why *why);

#endif
