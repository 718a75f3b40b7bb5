/* SPDX-License-Identifier: Apache-2.0 */
/* vmstate_features.c - what a machine's CPUs can do, and whether this host's can. */
#include "kvm/vmstate_features.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "kvm/bytes.h"
#include "kvm/cpuid_lacks.h"
#include "kvm/vmstate_msrs.h"

enum { VERSION = 1, HEAD = 16, ENTRY = sizeof(struct kvm_cpuid_entry2), MSR = 4 };
enum { SREGS2 = 1 };
#define AGAIN "migrate to a host whose CPU and kernel can do what this machine's can"

static uint32_t flags_of(const struct vm *vm)
{
	return vm_capability(vm, KVM_CAP_SREGS2) > 0 ? SREGS2 : 0;
}

/* Of a CPU as it is. */
struct found {
	struct cpuid_table *cpuid;
	struct vmstate_msrs *msrs;
};

static void lose(struct found *f)
{
	free(f->cpuid);
	free(f->msrs);
}

static int look(const struct vm *vm, const struct vcpu *v, const struct vmstate_cpu_ours *ours,
		struct found *f, struct why *why)
{
	int result;

	*f = (struct found){0};
	result = vmstate_cpu_features(v, &f->cpuid, why);
	return result < 0 ? result
			  : vmstate_msrs_read(vm, v, ours->kvm_clock, ours->steal, &f->msrs, why);
}

static int put(const struct found *f, const struct vm *vm, struct vmstate_parts *parts,
	       struct why *why)
{
	const size_t cpuid = f->cpuid->nent * (size_t)ENTRY;
	const size_t size = HEAD + cpuid + f->msrs->n * (size_t)MSR;
	uint8_t *bytes = calloc(1, size);
	int result = bytes ? 0 : -ENOMEM;

	if (result == 0) {
		put32(bytes, f->cpuid->nent);
		put32(bytes + 4, f->msrs->n);
		put32(bytes + 8, vmstate_cpu_xsave(vm));
		put32(bytes + 12, flags_of(vm));
		memcpy(bytes + HEAD, f->cpuid->entries, cpuid);
		for (uint32_t i = 0; i < f->msrs->n; i++)
			put32(bytes + HEAD + cpuid + (size_t)i * MSR, f->msrs->entries[i].index);
		result = vmstate_parts_add(parts, VMSTATE_FEATURES, VERSION, 0, bytes,
					   (uint32_t)size);
	}
	free(bytes);
	return result < 0 ? why_set(why, -ENOMEM, "no memory for a CPU's features") : 0;
}

int vmstate_features_save(const struct vm *vm, const struct vcpu *v,
			  const struct vmstate_cpu_ours *ours, struct vmstate_parts *parts,
			  struct why *why)
{
	struct found f;
	int result = look(vm, v, ours, &f, why);

	if (result == 0)
		result = put(&f, vm, parts, why);
	lose(&f);
	return result;
}

static int explain(const struct cpuid_difference *d, struct why *why)
{
	if (d->lacks)
		return why_set(why, -EXDEV,
			       "this host's CPUs lack %s (CPUID 0x%x.%u, %s), which the machine's "
			       "have (" AGAIN ")",
			       d->lacks, d->leaf, d->subleaf, d->name);
	return why_set(
		why, -EXDEV,
		"this host's CPUs cannot do what the machine's can: CPUID 0x%x.%u has 0x%x in "
		"%s and had 0x%x (" AGAIN ")",
		d->leaf, d->subleaf, d->is, d->name, d->was);
}

static bool has_msr(const struct vmstate_msrs *msrs, uint32_t msr)
{
	for (uint32_t i = 0; i < msrs->n; i++)
		if (msrs->entries[i].index == msr)
			return true;
	return false;
}

static int compare(const struct vmstate_part *part, const struct found *f, const struct vm *vm,
		   struct why *why)
{
	const uint32_t n = get32(part->bytes), msrs = get32(part->bytes + 4);
	const uint8_t *const msr = part->bytes + HEAD + (size_t)n * ENTRY;
	struct cpuid_difference d;

	if (cpuid_lacks(f->cpuid, part->bytes + HEAD, n, &d))
		return explain(&d, why);
	for (uint32_t i = 0; i < msrs; i++)
		if (!has_msr(f->msrs, get32(msr + (size_t)i * MSR)))
			return why_set(why, -EXDEV,
				       "this host's KVM has no register 0x%x, which the machine's "
				       "CPUs have (" AGAIN ")",
				       get32(msr + (size_t)i * MSR));
	if (get32(part->bytes + 8) > vmstate_cpu_xsave(vm))
		return why_set(why, -EXDEV,
			       "an FPU's state has %u bytes here, and the machine's has %u (" AGAIN
			       ")",
			       vmstate_cpu_xsave(vm), get32(part->bytes + 8));
	if (get32(part->bytes + 12) & ~flags_of(vm))
		return why_set(why, -EXDEV,
			       "this kernel's KVM does not take a CPU's registers as the machine "
			       "has them (use Linux 5.14 or later)");
	return 0;
}

int vmstate_features_compare(const struct vmstate_part *part, const struct vm *vm,
			     const struct vcpu *v, const struct vmstate_cpu_ours *ours,
			     struct why *why)
{
	struct found f;
	int result;

	if (part->version != VERSION)
		return why_set(why, -ENOTSUP,
			       "the CPUs' features have version %u, which this vmtime does not "
			       "know (use a later one)",
			       part->version);
	if (part->length < HEAD || get32(part->bytes) > CPUID_MAX_ENTRIES ||
	    part->length != HEAD + get32(part->bytes) * (uint64_t)ENTRY +
				    get32(part->bytes + 4) * (uint64_t)MSR)
		return why_set(why, -EINVAL, "the CPUs' features are none that vmtime has written");
	result = look(vm, v, ours, &f, why);
	if (result == 0)
		result = compare(part, &f, vm, why);
	lose(&f);
	return result;
}
