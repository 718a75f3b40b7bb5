/* SPDX-License-Identifier: Apache-2.0 */
/* cpuid.h - what a guest's CPUID shows: the host's, made to add up for this machine.
 *
 * Starts from what KVM supports on this host (KVM_GET_SUPPORTED_CPUID) and changes
 *   - topology: one package of `cpus` cores with one thread each, APIC id = CPU number;
 *   - time: ARAT, TSC-deadline, invariant TSC as configured; leaves 0x15 and 0x16 absent, since
 *     Linux would take the LAPIC timer's frequency from the crystal in leaf 0x15, and KVM's LAPIC
 *     runs at 1 GHz whatever the crystal;
 *   - hypervisor leaves: KVM's with the features that its kernel part serves right, and the timing
 *     leaf 0x40000010; or none at all;
 *   - XSAVE: state components without their feature bit are taken out and the sizes computed
 *     again (an emulated host offers PKU's state without PKU, of which a guest warns); AMX goes
 *     unless both of its components are there;
 *   - nested virtualization, the performance counters and processor trace are left out.
 * Pure functions. */
#ifndef KVM_CPUID_H
#define KVM_CPUID_H

#include <assert.h>
#include <linux/kvm.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CPUID_MAX_ENTRIES 256

/* A struct kvm_cpuid2 with room for its entries, as the ioctls want it. */
struct cpuid_table {
	uint32_t nent, padding;
	struct kvm_cpuid_entry2 entries[CPUID_MAX_ENTRIES];
};

static_assert(offsetof(struct cpuid_table, entries) == offsetof(struct kvm_cpuid2, entries),
	      "the layout of the kernel's struct");

struct cpuid_config {
	uint32_t cpus;
	bool kvm_leaves;   /* KVM's signature and features; false: a hypervisor without a name */
	bool steal;        /* of those: steal time */
	bool invariant;    /* invariant TSC */
	bool tsc_deadline; /* KVM's LAPIC has the TSC-deadline timer */
	uint32_t tsc_khz;
	uint32_t apic_bus_khz; /* of KVM's LAPIC timer */
};

/* Rewrites `table`, which holds what KVM supports, for the machine.  0, or -ENOSPC. */
int cpuid_build(struct cpuid_table *table, const struct cpuid_config *config);

/* The parts that differ between CPUs: APIC id `cpu` of `cpus`. */
void cpuid_for_cpu(struct cpuid_table *table, uint32_t cpu);

/* The entry of a leaf and subleaf, or NULL. */
struct kvm_cpuid_entry2 *cpuid_find(struct cpuid_table *table, uint32_t leaf, uint32_t subleaf);

#endif
