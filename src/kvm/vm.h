/* SPDX-License-Identifier: Apache-2.0 */
/* vm.h - one KVM virtual machine: memory, the kernel's interrupt chips, and their lines.
 *
 * PIC, IOAPIC and LAPIC are KVM's (KVM_CREATE_IRQCHIP).  GSI 0 is routed to PIC input 0 and, as the
 * MADT's override says, to IOAPIC pin 2; GSI 2 is the PIC's cascade and goes nowhere; the other ISA
 * lines go to both chips, 16 to 23 to the IOAPIC alone.
 *
 * Lines may be moved from any thread; creation and destruction are one thread's. */
#ifndef KVM_VM_H
#define KVM_VM_H

#include <stdbool.h>
#include <stdint.h>

#include "host/why.h"
#include "kvm/cpuid.h"
#include "kvm/memory.h"

struct vcpu;

#define VM_GSI_TICK 0
#define VM_GSIS 24 /* 0 to 23: the IOAPIC's inputs */
#define VM_ACKS VM_GSIS
#define VM_MAX_CPUS 254         /* APIC ids of the MADT's 8-bit entries */
#define VM_APIC_BUS_KHZ 1000000 /* KVM's LAPIC timer counts ns */

struct vm_config {
	uint32_t cpus;
	bool kernel_pit;      /* KVM's own i8254 with port 0x61, to compare with */
	bool kernel_reinject; /* of that one: late ticks are given again, else dropped */
	uint32_t ack_gsis; /* bit n: acknowledgements of GSI n, below VM_GSIS, are listened for */
};

/* An eventfd that becomes readable when the guest has acknowledged (EOI) an interrupt of the GSI.
 * It comes from an irqfd that nobody ever writes: written, its line would stay high until an EOI,
 * and a tick raised on a masked pin would stop all later ones. */
struct vm_ack {
	uint32_t gsi;
	int ack_fd;
	int listener_fd; /* that irqfd */
};

struct vm {
	int kvm_fd, fd;
	uint32_t run_size; /* bytes of a vCPU's shared struct kvm_run */
	uint32_t tsc_khz;  /* of the host's TSC, as KVM counts it */
	bool kernel_pit;
	struct vcpu *first; /* of its CPUs: whose the PIC's interrupts are; NULL: none yet */
	bool logs;          /* which pages are written (dirty.h) ... */
	bool logs_by_hand;  /* ... and watches those anew that it is told */
	bool is_mute; /* acknowledgements of edges may never come: what was taken counts as such */
	unsigned n_acks;
	struct vm_ack acks[VM_ACKS];
};

/* Opens /dev/kvm and makes a VM with `memory`.  0 or negative errno: -ENODEV no usable /dev/kvm, or
 * one that does not report acknowledgements, -EINVAL more CPUs than it allows, -EIO KVM refused
 * something it always offers. */
int vm_create(const struct guest_memory *memory, const struct vm_config *config, struct vm *ret_vm,
	      struct why *why);
void vm_destroy(struct vm *vm);

/* Its memory's slots, 0 low and 1 high, with flags (KVM_MEM_*).  0, -EIO or -ENOMEM. */
int vm_set_memory(const struct vm *vm, const struct guest_memory *memory, uint32_t flags,
		  struct why *why);

/* The value of a capability (KVM_CAP_*); 0 when KVM does not have it. */
int vm_capability(const struct vm *vm, unsigned capability);

/* What KVM supports of this host's CPUID. */
int vm_supported_cpuid(const struct vm *vm, struct cpuid_table *ret_table, struct why *why);

/* From now on RDMSR and WRMSR of kvm-clock's registers, and of steal time's, leave to user space
 * (KVM_EXIT_X86_RDMSR, KVM_EXIT_X86_WRMSR), and with kvm-clock's WRMSR of IA32_TSC and
 * IA32_TSC_ADJUST, on which its pages depend.  KVM_SET_MSRS still reaches the kernel's.  -ENODEV:
 * this KVM cannot. */
int vm_filter_msrs(const struct vm *vm, bool kvm_clock, bool steal, struct why *why);

/* Sets a line. */
void vm_irq_line(const struct vm *vm, uint32_t gsi, bool level);

/* Raises a line that is low.  How often the guest's chips took it: above 0 taken, 0 merged into one
 * still pending, below 0 masked. */
int vm_irq_raise(const struct vm *vm, uint32_t gsi);

/* Whether an input of the PIC that is not masked waits for the guest to take it. */
bool vm_pic_waits(const struct vm *vm);

/* The kernel's PIT, if that is the one, loses its line to an HPET or gets it back.  The one call
 * that KVM has for it, KVM_SET_PIT2, loads all three counts anew: each counts from its beginning,
 * for where in its period it was cannot be told.  Only a guest that goes on using both sees it. */
void vm_pit_cut_off(const struct vm *vm, bool off);

/* Its counts begin anew, and ticks that it owes are forgotten: it has run on while time stood. */
void vm_pit_begin_anew(const struct vm *vm);

#endif
