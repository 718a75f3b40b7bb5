/* SPDX-License-Identifier: Apache-2.0 */
/* cpuid.c - what a guest's CPUID shows. */
#include <asm/kvm_para.h>
#include <errno.h>
#include <string.h>

#include "kvm/cpuid.h"

enum {
	LEAF_FEATURES = 1,
	LEAF_CACHE = 4,
	LEAF_POWER = 6,
	LEAF_EXTENDED = 7,
	LEAF_PMU = 0xa,
	LEAF_TOPOLOGY = 0xb,
	LEAF_XSAVE = 0xd,
	LEAF_TRACE = 0x14,
	LEAF_CRYSTAL = 0x15,
	LEAF_FREQUENCY = 0x16,
	LEAF_TILES = 0x1d,
	LEAF_TILE_PRODUCTS = 0x1e,
	LEAF_TOPOLOGY2 = 0x1f,
};

#define LEAF_HYPERVISOR 0x40000000U
#define LEAF_KVM_FEATURES 0x40000001U
#define LEAF_TIMING 0x40000010U
#define LEAF_AMD 0x80000000U
#define LEAF_AMD_FEATURES 0x80000001U
#define LEAF_AMD_POWER 0x80000007U
#define LEAF_AMD_SIZES 0x80000008U
#define LEAF_AMD_SVM 0x8000000aU
#define LEAF_AMD_CACHE 0x8000001dU
#define LEAF_AMD_TOPOLOGY 0x8000001eU
#define LEAF_AMD_PMU 0x80000022U

#define BIT(n) (1U << (n))

/* Leaf 1. */
#define ECX_VMX BIT(5)
#define ECX_PDCM BIT(15)
#define ECX_TSC_DEADLINE BIT(24)
#define ECX_OSXSAVE BIT(27)
#define ECX_AVX BIT(28)
#define ECX_HYPERVISOR BIT(31)
#define EDX_HTT BIT(28)

/* Leaf 6, 7, 0x80000001, 0x80000007. */
#define EAX_ARAT BIT(2)
#define EBX_MPX BIT(14)
#define EBX_AVX512F BIT(16)
#define EBX_PROCESSOR_TRACE BIT(25)
#define ECX_PKU BIT(3)
#define EDX_AMX_TILE BIT(24)
#define EDX_AMX (BIT(22) | EDX_AMX_TILE | BIT(25)) /* BF16, tiles, INT8 */
#define EAX_AMX_1 BIT(21)                          /* of subleaf 1: FP16 */
#define EDX_AMX_1 BIT(8)                           /* ... COMPLEX */
#define AMD_ECX_CMP_LEGACY BIT(1)
#define AMD_ECX_SVM BIT(2)
#define AMD_ECX_PERFCTR_CORE BIT(23)
#define AMD_EDX_INVARIANT_TSC BIT(8)

/* Of KVM's features those that its kernel part serves right with its own LAPIC: no async page
 * faults (4, 10, 14), no PV EOI, no TLB flush (its flag lives in the steal page), no migration
 * control. */
#define KVM_FEATURES                                                       \
	(BIT(KVM_FEATURE_CLOCKSOURCE) | BIT(KVM_FEATURE_NOP_IO_DELAY) |    \
	 BIT(KVM_FEATURE_CLOCKSOURCE2) | BIT(KVM_FEATURE_STEAL_TIME) |     \
	 BIT(KVM_FEATURE_PV_UNHALT) | BIT(KVM_FEATURE_PV_SEND_IPI) |       \
	 BIT(KVM_FEATURE_POLL_CONTROL) | BIT(KVM_FEATURE_PV_SCHED_YIELD) | \
	 BIT(KVM_FEATURE_CLOCKSOURCE_STABLE_BIT))

struct kvm_cpuid_entry2 *cpuid_find(struct cpuid_table *table, uint32_t leaf, uint32_t subleaf)
{
	for (uint32_t i = 0; i < table->nent; i++) {
		struct kvm_cpuid_entry2 *e = &table->entries[i];

		if (e->function == leaf &&
		    (!(e->flags & KVM_CPUID_FLAG_SIGNIFCANT_INDEX) || e->index == subleaf))
			return e;
	}
	return NULL;
}

/* Takes out all subleaves of a leaf. */
static void drop(struct cpuid_table *table, uint32_t leaf)
{
	uint32_t kept = 0;

	for (uint32_t i = 0; i < table->nent; i++)
		if (table->entries[i].function != leaf)
			table->entries[kept++] = table->entries[i];
	table->nent = kept;
}

static struct kvm_cpuid_entry2 *add(struct cpuid_table *table, uint32_t leaf, uint32_t subleaf,
				    bool indexed)
{
	struct kvm_cpuid_entry2 *e;

	if (table->nent >= CPUID_MAX_ENTRIES)
		return NULL;
	e = &table->entries[table->nent++];
	*e = (struct kvm_cpuid_entry2){.function = leaf, .index = subleaf};
	if (indexed)
		e->flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX;
	return e;
}

/* The leaf, added with zeroes if KVM lists none. */
static struct kvm_cpuid_entry2 *find_or_add(struct cpuid_table *table, uint32_t leaf)
{
	struct kvm_cpuid_entry2 *e = cpuid_find(table, leaf, 0);

	return e ? e : add(table, leaf, 0, false);
}

static void raise_maximum(struct cpuid_table *table, uint32_t leaf)
{
	struct kvm_cpuid_entry2 *e = cpuid_find(table, leaf & LEAF_AMD, 0);

	if (e && e->eax < leaf)
		e->eax = leaf;
}

/* Bits that number `count` things. */
static uint32_t bits_for(uint32_t count)
{
	uint32_t bits = 0;

	while (1U << bits < count)
		bits++;
	return bits;
}

static int build_features(struct cpuid_table *table, const struct cpuid_config *config)
{
	struct kvm_cpuid_entry2 *e = cpuid_find(table, LEAF_FEATURES, 0);

	if (e) {
		e->ecx &= ~(ECX_VMX | ECX_PDCM | ECX_TSC_DEADLINE | ECX_OSXSAVE);
		e->ecx |= ECX_HYPERVISOR | (config->tsc_deadline ? ECX_TSC_DEADLINE : 0);
		e->edx &= ~EDX_HTT;
		e->edx |= config->cpus > 1 ? EDX_HTT : 0;
		e->ebx = (e->ebx & 0xffff) | (config->cpus & 0xff) << 16;
	}
	e = cpuid_find(table, LEAF_EXTENDED, 0);
	if (e)
		e->ebx &= ~EBX_PROCESSOR_TRACE;
	drop(table, LEAF_TRACE);
	drop(table, LEAF_PMU);
	drop(table, LEAF_AMD_PMU);
	drop(table, LEAF_AMD_SVM);
	e = cpuid_find(table, LEAF_AMD_FEATURES, 0);
	if (e) {
		e->ecx &= ~(AMD_ECX_SVM | AMD_ECX_CMP_LEGACY | AMD_ECX_PERFCTR_CORE);
		e->ecx |= config->cpus > 1 ? AMD_ECX_CMP_LEGACY : 0;
	}
	return 0;
}

static int build_time(struct cpuid_table *table, const struct cpuid_config *config)
{
	struct kvm_cpuid_entry2 *power = find_or_add(table, LEAF_POWER);
	struct kvm_cpuid_entry2 *amd_power = find_or_add(table, LEAF_AMD_POWER);

	if (!power || !amd_power)
		return -ENOSPC;
	power->eax |= EAX_ARAT;
	raise_maximum(table, LEAF_POWER);
	amd_power->edx &= ~AMD_EDX_INVARIANT_TSC;
	amd_power->edx |= config->invariant ? AMD_EDX_INVARIANT_TSC : 0;
	if (config->invariant)
		raise_maximum(table, LEAF_AMD_POWER);
	drop(table, LEAF_CRYSTAL);
	drop(table, LEAF_FREQUENCY);
	return 0;
}

static int build_hypervisor(struct cpuid_table *table, const struct cpuid_config *config)
{
	static const char signature[12] = "KVMKVMKVM\0\0";
	struct kvm_cpuid_entry2 *e = cpuid_find(table, LEAF_KVM_FEATURES, 0);
	uint32_t features = e ? e->eax & KVM_FEATURES : 0;

	if (!config->steal)
		features &= ~BIT(KVM_FEATURE_STEAL_TIME);
	drop(table, LEAF_HYPERVISOR);
	drop(table, LEAF_KVM_FEATURES);
	drop(table, LEAF_TIMING);
	/* Also without a name the leaf stands there, all zero: an Intel CPU answers a leaf that is
	 * out of range with the data of its highest basic one. */
	e = add(table, LEAF_HYPERVISOR, 0, false);
	if (!e)
		return -ENOSPC;
	if (!config->kvm_leaves)
		return 0;
	e->eax = LEAF_TIMING;
	memcpy(&e->ebx, signature, 4);
	memcpy(&e->ecx, signature + 4, 4);
	memcpy(&e->edx, signature + 8, 4);
	e = add(table, LEAF_KVM_FEATURES, 0, false);
	if (!e)
		return -ENOSPC;
	e->eax = features;
	e = add(table, LEAF_TIMING, 0, false);
	if (!e)
		return -ENOSPC;
	e->eax = config->tsc_khz;
	e->ebx = config->apic_bus_khz;
	return 0;
}

/* Cache levels 1 and 2 belong to one core, level 3 and up to all: a share count of `cpus`. */
static void share_caches(struct cpuid_table *table, uint32_t leaf, uint32_t cpus)
{
	for (uint32_t i = 0; i < table->nent; i++) {
		struct kvm_cpuid_entry2 *e = &table->entries[i];
		uint32_t sharing;

		if (e->function != leaf || (e->eax & 0x1f) == 0)
			continue;
		sharing = (e->eax >> 5 & 7) >= 3 ? (1U << bits_for(cpus)) - 1 : 0;
		e->eax = (e->eax & 0x3fff) | sharing << 14;
		if (leaf == LEAF_CACHE)
			e->eax |= ((1U << bits_for(cpus)) - 1) << 26;
	}
}

static int build_topology(struct cpuid_table *table, const struct cpuid_config *config)
{
	enum { THREADS = 1, CORES = 2 };
	struct kvm_cpuid_entry2 *root = cpuid_find(table, 0, 0);
	bool has_leaf = root && root->eax >= LEAF_TOPOLOGY;
	struct kvm_cpuid_entry2 *e;

	share_caches(table, LEAF_CACHE, config->cpus);
	share_caches(table, LEAF_AMD_CACHE, config->cpus);
	drop(table, LEAF_TOPOLOGY);
	drop(table, LEAF_TOPOLOGY2);
	for (uint32_t level = 0; has_leaf && level < 3; level++) {
		e = add(table, LEAF_TOPOLOGY, level, true);
		if (!e)
			return -ENOSPC;
		e->ecx = level;
		if (level == 0) {
			e->ebx = 1;
			e->ecx |= THREADS << 8;
		} else if (level == 1) {
			e->eax = bits_for(config->cpus);
			e->ebx = config->cpus;
			e->ecx |= CORES << 8;
		}
	}
	e = cpuid_find(table, LEAF_AMD_SIZES, 0);
	if (e) /* cores less one, and how many bits of an APIC id number them */
		e->ecx = (config->cpus - 1) | bits_for(config->cpus) << 12;
	return 0;
}

/* The state components that the guest's feature bits account for. */
static uint64_t components(struct cpuid_table *table)
{
	const struct kvm_cpuid_entry2 *features = cpuid_find(table, LEAF_FEATURES, 0);
	const struct kvm_cpuid_entry2 *extended = cpuid_find(table, LEAF_EXTENDED, 0);
	uint64_t x = 3; /* x87 and SSE */

	if (features && features->ecx & ECX_AVX)
		x |= 1 << 2;
	if (extended && extended->ebx & EBX_MPX)
		x |= 3 << 3;
	if (extended && extended->ebx & EBX_AVX512F)
		x |= 7 << 5;
	if (extended && extended->ecx & ECX_PKU)
		x |= 1 << 9;
	if (extended && extended->edx & EDX_AMX_TILE)
		x |= 3 << 17;
	return x;
}

static void drop_amx(struct cpuid_table *table)
{
	for (uint32_t i = 0; i < table->nent; i++) {
		struct kvm_cpuid_entry2 *e = &table->entries[i];

		if (e->function != LEAF_EXTENDED)
			continue;
		e->eax &= e->index == 1 ? ~EAX_AMX_1 : ~0U;
		e->edx &= e->index == 1 ? ~EDX_AMX_1 : ~EDX_AMX;
	}
	drop(table, LEAF_TILES);
	drop(table, LEAF_TILE_PRODUCTS);
}

/* Those of `offered` that have their feature bits.  KVM takes both of AMX's components in XCR0 or
 * neither, and offers the second only to a process that has asked the kernel for it, which this one
 * does not: 8 KiB more of state for each CPU. */
static uint64_t usable_components(struct cpuid_table *table, uint64_t offered)
{
	const uint64_t amx = 3 << 17;
	uint64_t usable = offered & components(table);

	if ((usable & amx) == amx)
		return usable;
	drop_amx(table);
	return usable & ~amx;
}

static void build_xsave(struct cpuid_table *table)
{
	enum { LEGACY_AND_HEADER = 576 };
	struct kvm_cpuid_entry2 *root = cpuid_find(table, LEAF_XSAVE, 0);
	uint64_t user, size = LEGACY_AND_HEADER;
	uint32_t kept = 0;

	if (!root)
		return;
	user = usable_components(table, root->eax | (uint64_t)root->edx << 32);
	for (uint32_t i = 0; i < table->nent; i++) {
		struct kvm_cpuid_entry2 *e = &table->entries[i];
		bool state = e->function == LEAF_XSAVE && e->index >= 2 && e->index < 64;
		bool supervisor = e->ecx & 1;

		if (state && !supervisor && !(user >> e->index & 1))
			continue;
		if (state && !supervisor && (uint64_t)e->ebx + e->eax > size)
			size = (uint64_t)e->ebx + e->eax; /* offset and size */
		table->entries[kept++] = *e;
	}
	table->nent = kept;
	root = cpuid_find(table, LEAF_XSAVE, 0);
	root->eax = (uint32_t)user;
	root->edx = (uint32_t)(user >> 32);
	root->ecx = (uint32_t)size;
	root->ebx = LEGACY_AND_HEADER; /* of the state at reset; KVM follows XCR0 from there */
}

int cpuid_build(struct cpuid_table *table, const struct cpuid_config *config)
{
	int result = build_features(table, config);

	if (result == 0)
		result = build_time(table, config);
	if (result == 0)
		result = build_hypervisor(table, config);
	if (result == 0)
		result = build_topology(table, config);
	build_xsave(table);
	return result;
}

void cpuid_for_cpu(struct cpuid_table *table, uint32_t cpu)
{
	for (uint32_t i = 0; i < table->nent; i++) {
		struct kvm_cpuid_entry2 *e = &table->entries[i];

		if (e->function == LEAF_FEATURES) {
			e->ebx = (e->ebx & 0x00ffffff) | cpu << 24;
		} else if (e->function == LEAF_TOPOLOGY) {
			e->edx = cpu;
		} else if (e->function == LEAF_AMD_TOPOLOGY) {
			e->eax = cpu;
			e->ebx = cpu & 0xff; /* core id; one thread each */
			e->ecx = 0;          /* one node */
		}
	}
}
