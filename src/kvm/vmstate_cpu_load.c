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
#include "kvm/vmstate_features.h"
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

static int compare(const struct vcpu *v, const struct vmstate_cpu *s,
		   const struct cpuid_table *table, struct why *why)
{
	uint32_t n = s->record[VMSTATE_CPU_CPUID].length / sizeof(struct kvm_cpuid_entry2);
	struct vmstate_features_difference d;

	if (vmstate_features_differ(s->record[VMSTATE_CPU_CPUID].bytes, n, table, &d))
		return why_set(why, -EXDEV,
			       "CPU %u is not the one that it was: CPUID 0x%x.%u has 0x%x in %s "
			       "and had 0x%x (use a host like the one that it comes from)",
			       v->cpu, d.leaf, d.subleaf, d.is, d.name, d.was);
	if (n != table->nent)
		return why_set(why, -EXDEV,
			       "CPU %u has %u leaves of CPUID and had %u (use a host like the one "
			       "that it comes from)",
			       v->cpu, table->nent, n);
	return 0;
}

int vmstate_cpu_compare(const struct vcpu *v, const struct vmstate_cpu *s, struct why *why)
{
	struct cpuid_table *table = calloc(1, sizeof(*table));
	int result = table ? vmstate_cpu_features(v, table, why)
			   : why_set(why, -ENOMEM, "no memory for a CPU's state");

	if (result == 0)
		result = compare(v, s, table, why);
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
