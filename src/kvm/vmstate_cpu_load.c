/* SPDX-License-Identifier: Apache-2.0 */
/* vmstate_cpu_load.c - a CPU's registers from bytes, step by step. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "kvm/bytes.h"
#include "kvm/cpuid.h"
#include "kvm/lapic.h"
#include "kvm/vmstate_cpu.h"
#include "kvm/vmstate_msrs.h"

static int refused(const struct vcpu *v, struct why *why, const char *what)
{
	return why_set(why, -EIO, "KVM refused CPU %u's %s: %s", v->cpu, what, strerror(errno));
}

/* A copy, since a record may lie at any address.  KVM reads an FPU's state in the size that it has
 * here, whatever the record's. */
static int set(const struct vcpu *v, const struct vmstate_cpu *s, uint32_t what,
	       unsigned long request, const char *name, struct why *why)
{
	uint32_t length = s->record[what].length;
	void *copy = calloc(1, what == VMSTATE_CPU_XSAVE ? VMSTATE_CPU_XSAVE_MAX : length);
	int result = 0;

	if (!copy)
		return why_set(why, -ENOMEM, "no memory for a CPU's state");
	memcpy(copy, s->record[what].bytes, length);
	if (ioctl(v->fd, request, copy) < 0)
		result = refused(v, why, name);
	free(copy);
	return result;
}

/* What KVM itself fills in from other registers: OSXSAVE and the APIC's bit, OSPKE, the size of
 * what XCR0 and XSS have switched on. */
static void clear_what_changes(struct kvm_cpuid_entry2 *e)
{
	enum { EDX_APIC = 9, ECX_MWAIT = 3, ECX_OSXSAVE = 27, ECX_OSPKE = 4 };

	if (e->function == 1) {
		e->ecx &= ~(1U << ECX_OSXSAVE | 1U << ECX_MWAIT);
		e->edx &= ~(1U << EDX_APIC);
	} else if (e->function == 7 && e->index == 0) {
		e->ecx &= ~(1U << ECX_OSPKE);
	} else if (e->function == 0xd && e->index <= 1) {
		e->ebx = 0;
	} else if (e->function == 0x15 || e->function == 0x16 || e->function == 0x40000010) {
		e->eax = e->ebx = e->ecx = 0; /* frequencies, which are compared elsewhere */
	} else if (e->function == 0x80000001) {
		e->edx &= ~(1U << EDX_APIC);
	}
}

static int compare(const struct vcpu *v, const struct kvm_cpuid_entry2 *old,
		   const struct kvm_cpuid_entry2 *new, struct why *why)
{
	static const char *const names[] = {"EAX", "EBX", "ECX", "EDX"};
	const uint32_t *const was[] = {&old->eax, &old->ebx, &old->ecx, &old->edx};
	const uint32_t *const is[] = {&new->eax, &new->ebx, &new->ecx, &new->edx};

	for (int i = 0; i < 4; i++)
		if (*was[i] != *is[i])
			return why_set(why, -EXDEV,
				       "CPU %u is not the one that it was: CPUID 0x%x.%u has 0x%x "
				       "in %s and had 0x%x (use a host like the one that it comes "
				       "from)",
				       v->cpu, old->function, old->index, *is[i], names[i],
				       *was[i]);
	return 0;
}

static const struct kvm_cpuid_entry2 *find(const struct cpuid_table *table,
					   const struct kvm_cpuid_entry2 *like)
{
	for (uint32_t i = 0; i < table->nent; i++)
		if (table->entries[i].function == like->function &&
		    table->entries[i].index == like->index)
			return &table->entries[i];
	return NULL;
}

static int compare_all(const struct vcpu *v, const struct vmstate_cpu *s,
		       const struct cpuid_table *table, struct why *why)
{
	const uint8_t *at = s->record[VMSTATE_CPU_CPUID].bytes;
	uint32_t n = s->record[VMSTATE_CPU_CPUID].length / sizeof(struct kvm_cpuid_entry2);
	int result = 0;

	for (uint32_t i = 0; i < n && result == 0; i++) {
		static const struct kvm_cpuid_entry2 none;
		const struct kvm_cpuid_entry2 *same;
		struct kvm_cpuid_entry2 old, new;

		memcpy(&old, at + i * sizeof(old), sizeof(old));
		same = find(table, &old);
		new = same ? *same : none;
		new.function = old.function;
		new.index = old.index;
		clear_what_changes(&old);
		clear_what_changes(&new);
		result = compare(v, &old, &new, why);
	}
	if (result == 0 && n != table->nent)
		result = why_set(why, -EXDEV,
				 "CPU %u has %u leaves of CPUID and had %u (use a host like the "
				 "one that it comes from)",
				 v->cpu, table->nent, n);
	return result;
}

int vmstate_cpu_compare(const struct vcpu *v, const struct vmstate_cpu *s, struct why *why)
{
	struct cpuid_table *table = calloc(1, sizeof(*table));
	int result = table ? vmstate_cpu_features(v, table, why)
			   : why_set(why, -ENOMEM, "no memory for a CPU's state");

	if (result == 0)
		result = compare_all(v, s, table, why);
	free(table);
	return result;
}

int vmstate_cpu_load_registers(const struct vcpu *v, const struct vmstate_cpu *s, struct why *why)
{
	bool second = s->record[VMSTATE_CPU_SREGS2].bytes != NULL;
	int result = set(v, s, second ? VMSTATE_CPU_SREGS2 : VMSTATE_CPU_SREGS,
			 second ? KVM_SET_SREGS2 : KVM_SET_SREGS, "segments", why);

	if (result == 0)
		result = set(v, s, VMSTATE_CPU_REGS, KVM_SET_REGS, "registers", why);
	if (result == 0)
		result = set(v, s, VMSTATE_CPU_XSAVE, KVM_SET_XSAVE, "FPU", why);
	if (result == 0)
		result = set(v, s, VMSTATE_CPU_XCRS, KVM_SET_XCRS, "XCR0", why);
	return result;
}

int vmstate_cpu_load_msrs(const struct vcpu *v, const struct vmstate_cpu *s, struct why *why)
{
	return vmstate_msrs_write(
		v, s->record[VMSTATE_CPU_MSRS].bytes,
		s->record[VMSTATE_CPU_MSRS].length / (uint32_t)sizeof(struct kvm_msr_entry), why);
}

int vmstate_cpu_load_lapic(const struct vcpu *v, const struct vmstate_cpu *s, uint64_t gap_ns,
			   struct why *why)
{
	struct kvm_lapic_state lapic;

	memcpy(&lapic, s->record[VMSTATE_CPU_LAPIC].bytes, sizeof(lapic));
	lapic_pass(&lapic, gap_ns);
	return ioctl(v->fd, KVM_SET_LAPIC, &lapic) < 0 ? refused(v, why, "local APIC") : 0;
}

int vmstate_cpu_load_deadline(const struct vcpu *v, const struct vmstate_cpu *s, struct why *why)
{
	uint64_t deadline, is;

	if (!s->record[VMSTATE_CPU_DEADLINE].bytes)
		return 0;
	deadline = get64(s->record[VMSTATE_CPU_DEADLINE].bytes);
	/* One that has come is 0 at once.  KVM drops a write in another mode without a word. */
	if (!vcpu_set_msr(v, VMSTATE_MSR_DEADLINE, deadline) ||
	    !vcpu_get_msr(v, VMSTATE_MSR_DEADLINE, &is) || (is != deadline && is != 0))
		return why_set(why, -EIO, "KVM does not take CPU %u's TSC deadline, 0x%" PRIx64,
			       v->cpu, deadline);
	return 0;
}

int vmstate_cpu_load_events(const struct vcpu *v, const struct vmstate_cpu *s, struct why *why)
{
	int result = set(v, s, VMSTATE_CPU_DEBUGREGS, KVM_SET_DEBUGREGS, "debug registers", why);

	if (result == 0)
		result = set(v, s, VMSTATE_CPU_MP_STATE, KVM_SET_MP_STATE, "run state", why);
	if (result == 0)
		result = set(v, s, VMSTATE_CPU_EVENTS, KVM_SET_VCPU_EVENTS, "pending events", why);
	return result;
}
