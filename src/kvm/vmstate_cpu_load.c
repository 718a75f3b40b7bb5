/* SPDX-License-Identifier: Apache-2.0 */
/* vmstate_cpu_load.c - a CPU's registers from bytes, step by step. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "kvm/bytes.h"
#include "kvm/cpuid_lacks.h"
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

/* What it shows was what a machine like this one is shown on this host. */
static int show(const struct vcpu *v, const struct vmstate_cpu *s, struct cpuid_table *table,
		struct why *why)
{
	const uint8_t *shown = s->record[VMSTATE_CPU_CPUID].bytes;
	uint32_t n = s->record[VMSTATE_CPU_CPUID].length / sizeof(struct kvm_cpuid_entry2);
	struct cpuid_difference d;

	if (cpuid_lacks(table, shown, n, &d))
		return why_set(why, -EXDEV,
			       "CPU %u cannot do here what it could: CPUID 0x%x.%u has 0x%x in %s "
			       "and had 0x%x%s%s (use a host whose CPU and kernel can)",
			       v->cpu, d.leaf, d.subleaf, d.is, d.name, d.was,
			       d.lacks ? ", it lacks " : "", d.lacks ? d.lacks : "");
	if (n > CPUID_MAX_ENTRIES)
		return why_set(why, -EINVAL, "CPU %u has shown %u leaves of CPUID, %u at most",
			       v->cpu, n, CPUID_MAX_ENTRIES);
	if (cpuid_shows(table, shown, n))
		return 0;
	table->nent = n;
	memcpy(table->entries, shown, n * sizeof(table->entries[0]));
	return ioctl(v->fd, KVM_SET_CPUID2, table) < 0 ? refused(v, why, "features") : 0;
}

int vmstate_cpu_show(const struct vcpu *v, const struct vmstate_cpu *s, struct why *why)
{
	struct cpuid_table *table;
	int result = vmstate_cpu_features(v, &table, why);

	if (result == 0)
		result = show(v, s, table, why);
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

int vmstate_cpu_go_on(const struct vm *vm, struct vcpu *v, const struct vmstate_cpu_ours *ours,
		      const struct vmstate_cpu *s, struct why *why)
{
	return vmstate_msrs_go_on(
		vm, v, ours->kvm_clock, ours->steal, s->record[VMSTATE_CPU_MSRS].bytes,
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
