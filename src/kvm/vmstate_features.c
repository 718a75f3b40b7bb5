/* SPDX-License-Identifier: Apache-2.0 */
/* vmstate_features.c - what a machine's CPUs can do, and whether this host's can. */
#include "kvm/vmstate_features.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "kvm/bytes.h"
#include "kvm/vmstate_msrs.h"

enum { VERSION = 1, HEAD = 16, ENTRY = sizeof(struct kvm_cpuid_entry2), MSR = 4 };
enum { SREGS2 = 1 };
enum { EAX = 0, EBX, ECX, EDX };

#define AGAIN "migrate to a host with a CPU and a kernel like this machine's"

/* Those that a host is likely to lack, by the names of /proc/cpuinfo. */
static const struct {
	uint32_t leaf, subleaf;
	uint8_t place, bit;
	const char *name;
} features[] = {
	{1, 0, ECX, 0, "sse3"},
	{1, 0, ECX, 1, "pclmulqdq"},
	{1, 0, ECX, 9, "ssse3"},
	{1, 0, ECX, 12, "fma"},
	{1, 0, ECX, 13, "cx16"},
	{1, 0, ECX, 17, "pcid"},
	{1, 0, ECX, 19, "sse4_1"},
	{1, 0, ECX, 20, "sse4_2"},
	{1, 0, ECX, 21, "x2apic"},
	{1, 0, ECX, 22, "movbe"},
	{1, 0, ECX, 23, "popcnt"},
	{1, 0, ECX, 24, "tsc_deadline_timer"},
	{1, 0, ECX, 25, "aes"},
	{1, 0, ECX, 26, "xsave"},
	{1, 0, ECX, 28, "avx"},
	{1, 0, ECX, 29, "f16c"},
	{1, 0, ECX, 30, "rdrand"},
	{7, 0, EBX, 0, "fsgsbase"},
	{7, 0, EBX, 1, "tsc_adjust"},
	{7, 0, EBX, 3, "bmi1"},
	{7, 0, EBX, 4, "hle"},
	{7, 0, EBX, 5, "avx2"},
	{7, 0, EBX, 7, "smep"},
	{7, 0, EBX, 8, "bmi2"},
	{7, 0, EBX, 9, "erms"},
	{7, 0, EBX, 10, "invpcid"},
	{7, 0, EBX, 11, "rtm"},
	{7, 0, EBX, 14, "mpx"},
	{7, 0, EBX, 16, "avx512f"},
	{7, 0, EBX, 18, "rdseed"},
	{7, 0, EBX, 19, "adx"},
	{7, 0, EBX, 20, "smap"},
	{7, 0, EBX, 24, "clwb"},
	{7, 0, EBX, 28, "avx512cd"},
	{7, 0, EBX, 29, "sha_ni"},
	{7, 0, EBX, 30, "avx512bw"},
	{7, 0, EBX, 31, "avx512vl"},
	{7, 0, ECX, 2, "umip"},
	{7, 0, ECX, 3, "pku"},
	{7, 0, ECX, 8, "gfni"},
	{7, 0, ECX, 9, "vaes"},
	{7, 0, ECX, 11, "avx512_vnni"},
	{7, 0, ECX, 16, "la57"},
	{7, 0, ECX, 22, "rdpid"},
	{7, 0, EDX, 4, "fsrm"},
	{7, 0, EDX, 22, "amx_bf16"},
	{7, 0, EDX, 24, "amx_tile"},
	{7, 0, EDX, 25, "amx_int8"},
	{7, 0, EDX, 26, "ibrs"},
	{7, 0, EDX, 27, "stibp"},
	{7, 0, EDX, 29, "arch_capabilities"},
	{7, 0, EDX, 31, "ssbd"},
	{7, 1, EAX, 4, "avx_vnni"},
	{7, 1, EAX, 5, "avx512_bf16"},
	{0x80000001, 0, ECX, 5, "abm"},
	{0x80000001, 0, ECX, 6, "sse4a"},
	{0x80000001, 0, EDX, 20, "nx"},
	{0x80000001, 0, EDX, 26, "pdpe1gb"},
	{0x80000001, 0, EDX, 27, "rdtscp"},
	{0x80000001, 0, EDX, 29, "lm"},
	{0x80000007, 0, EDX, 8, "constant_tsc"},
};

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

static const char *lacking(uint32_t leaf, uint32_t subleaf, unsigned place, uint32_t bits)
{
	for (size_t i = 0; i < sizeof(features) / sizeof(features[0]); i++)
		if (features[i].leaf == leaf && features[i].subleaf == subleaf &&
		    features[i].place == place && bits >> features[i].bit & 1)
			return features[i].name;
	return NULL;
}

static bool differ(const struct kvm_cpuid_entry2 *old, const struct kvm_cpuid_entry2 *new,
		   struct vmstate_features_difference *ret_difference)
{
	static const char *const names[] = {"EAX", "EBX", "ECX", "EDX"};
	const uint32_t was[] = {old->eax, old->ebx, old->ecx, old->edx};
	const uint32_t is[] = {new->eax, new->ebx, new->ecx, new->edx};

	for (unsigned i = 0; i < 4; i++) {
		if (was[i] == is[i])
			continue;
		*ret_difference = (struct vmstate_features_difference){
			.leaf = old->function,
			.subleaf = old->index,
			.name = names[i],
			.was = was[i],
			.is = is[i],
			.lacks = lacking(old->function, old->index, i, was[i] & ~is[i]),
		};
		return true;
	}
	return false;
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

bool vmstate_features_differ(const uint8_t *entries, uint32_t n, const struct cpuid_table *table,
			     struct vmstate_features_difference *ret_difference)
{
	for (uint32_t i = 0; i < n; i++) {
		static const struct kvm_cpuid_entry2 none;
		const struct kvm_cpuid_entry2 *same;
		struct kvm_cpuid_entry2 old, new;

		memcpy(&old, entries + (size_t)i * sizeof(old), sizeof(old));
		same = find(table, &old);
		new = same ? *same : none;
		new.function = old.function;
		new.index = old.index;
		clear_what_changes(&old);
		clear_what_changes(&new);
		if (differ(&old, &new, ret_difference))
			return true;
	}
	return false;
}

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

	*f = (struct found){.cpuid = calloc(1, sizeof(*f->cpuid))};
	result = f->cpuid ? vmstate_cpu_features(v, f->cpuid, why)
			  : why_set(why, -ENOMEM, "no memory for a CPU's features");
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

static int explain(const struct vmstate_features_difference *d, struct why *why)
{
	if (d->lacks)
		return why_set(why, -EXDEV,
			       "this host's CPUs lack %s (CPUID 0x%x.%u, %s), which the machine's "
			       "have (" AGAIN ")",
			       d->lacks, d->leaf, d->subleaf, d->name);
	return why_set(why, -EXDEV,
		       "this host's CPUs are not as the machine's: CPUID 0x%x.%u has 0x%x in %s "
		       "and had 0x%x (" AGAIN ")",
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
	struct vmstate_features_difference d;

	if (vmstate_features_differ(part->bytes + HEAD, n, f->cpuid, &d))
		return explain(&d, why);
	if (n != f->cpuid->nent)
		return why_set(why, -EXDEV,
			       "this host's CPUs have %u leaves of CPUID, and the machine's have "
			       "%u (" AGAIN ")",
			       f->cpuid->nent, n);
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
