/* SPDX-License-Identifier: Apache-2.0 */
/* cpuid_lacks.c - whether a host's CPUs can do all that a machine was shown elsewhere. */
#include "kvm/cpuid_lacks.h"

#include <stddef.h>
#include <string.h>

enum { EAX = 0, EBX, ECX, EDX, REGISTERS };
enum { ANY_SUBLEAF = -1, FROM_2 = -2 };

/* What a register has to have here, beside what it had. */
enum rule {
	SAME = 0,
	FLAGS,  /* all of its bits */
	WIDTHS, /* no byte less */
	LINE,   /* bits 15 to 8 the same */
	ANY,
};

/* The first that fits; a leaf that is not here has to be the same. */
static const struct {
	uint32_t first, last;
	int subleaf;
	uint8_t rule[REGISTERS];
} rules[] = {
	{0x0, 0x0, ANY_SUBLEAF, {ANY, SAME, SAME, SAME}},
	{0x1, 0x1, ANY_SUBLEAF, {ANY, LINE, FLAGS, FLAGS}},
	{0x2, 0x5, ANY_SUBLEAF, {ANY, ANY, ANY, ANY}},
	{0x6, 0x6, ANY_SUBLEAF, {FLAGS, ANY, FLAGS, ANY}},
	{0x7, 0x7, 0, {ANY, FLAGS, FLAGS, FLAGS}},
	{0x7, 0x7, ANY_SUBLEAF, {FLAGS, FLAGS, FLAGS, FLAGS}},
	{0xb, 0xb, ANY_SUBLEAF, {ANY, ANY, ANY, ANY}},
	{0xd, 0xd, 0, {FLAGS, ANY, ANY, FLAGS}},
	{0xd, 0xd, 1, {FLAGS, ANY, FLAGS, FLAGS}},
	{0xd, 0xd, FROM_2, {SAME, SAME, SAME, SAME}},
	{0x15, 0x16, ANY_SUBLEAF, {ANY, ANY, ANY, ANY}},
	{0x18, 0x18, ANY_SUBLEAF, {ANY, ANY, ANY, ANY}},
	{0x1f, 0x1f, ANY_SUBLEAF, {ANY, ANY, ANY, ANY}},
	{0x40000000, 0x40000000, ANY_SUBLEAF, {ANY, SAME, SAME, SAME}},
	{0x40000001, 0x40000001, ANY_SUBLEAF, {FLAGS, SAME, SAME, FLAGS}},
	{0x40000010, 0x40000010, ANY_SUBLEAF, {ANY, ANY, ANY, ANY}},
	{0x80000000, 0x80000000, ANY_SUBLEAF, {ANY, ANY, ANY, ANY}},
	{0x80000001, 0x80000001, ANY_SUBLEAF, {ANY, ANY, FLAGS, FLAGS}},
	{0x80000002, 0x80000006, ANY_SUBLEAF, {ANY, ANY, ANY, ANY}},
	{0x80000007, 0x80000007, ANY_SUBLEAF, {SAME, FLAGS, SAME, FLAGS}},
	{0x80000008, 0x80000008, ANY_SUBLEAF, {WIDTHS, FLAGS, ANY, SAME}},
	{0x80000019, 0x8000001a, ANY_SUBLEAF, {ANY, ANY, ANY, ANY}},
	{0x8000001d, 0x8000001e, ANY_SUBLEAF, {ANY, ANY, ANY, ANY}},
	{0x8000001f, 0x8000001f, ANY_SUBLEAF, {FLAGS, ANY, ANY, ANY}},
	{0x80000021, 0x80000021, ANY_SUBLEAF, {FLAGS, SAME, FLAGS, SAME}},
};

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

static const uint8_t *rule_of(uint32_t leaf, uint32_t subleaf)
{
	static const uint8_t same[REGISTERS] = {SAME, SAME, SAME, SAME};

	for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++) {
		const int which = rules[i].subleaf;
		const bool fits = which == ANY_SUBLEAF || (which == FROM_2 && subleaf >= 2) ||
				  (which >= 0 && subleaf == (uint32_t)which);

		if (leaf >= rules[i].first && leaf <= rules[i].last && fits)
			return rules[i].rule;
	}
	return same;
}

static bool widths_suffice(uint32_t was, uint32_t is)
{
	for (unsigned shift = 0; shift < 32; shift += 8)
		if ((was >> shift & 0xff) > (is >> shift & 0xff))
			return false;
	return true;
}

static bool suffices(enum rule rule, uint32_t was, uint32_t is)
{
	switch (rule) {
	case FLAGS:
		return (was & ~is) == 0;
	case WIDTHS:
		return widths_suffice(was, is);
	case LINE:
		return ((was ^ is) & 0xff00) == 0;
	case ANY:
		return true;
	case SAME:
	default:
		return was == is;
	}
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

static const char *lacking(uint32_t leaf, uint32_t subleaf, unsigned place, uint32_t bits)
{
	for (size_t i = 0; i < sizeof(features) / sizeof(features[0]); i++)
		if (features[i].leaf == leaf && features[i].subleaf == subleaf &&
		    features[i].place == place && bits >> features[i].bit & 1)
			return features[i].name;
	return NULL;
}

/* By the leaf's rule; NULL: each register has to be the same. */
static bool lacks(const uint8_t *rule, const struct kvm_cpuid_entry2 *shown,
		  const struct kvm_cpuid_entry2 *here, struct cpuid_difference *ret_difference)
{
	static const char *const names[] = {"EAX", "EBX", "ECX", "EDX"};
	const uint32_t was[] = {shown->eax, shown->ebx, shown->ecx, shown->edx};
	const uint32_t is[] = {here->eax, here->ebx, here->ecx, here->edx};

	for (unsigned i = 0; i < REGISTERS; i++) {
		if (suffices(rule ? rule[i] : SAME, was[i], is[i]))
			continue;
		*ret_difference = (struct cpuid_difference){
			.leaf = shown->function,
			.subleaf = shown->index,
			.name = names[i],
			.was = was[i],
			.is = is[i],
			.lacks = lacking(shown->function, shown->index, i, was[i] & ~is[i]),
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

static bool any_lacks(const struct cpuid_table *here, const uint8_t *shown, uint32_t n, bool more,
		      struct cpuid_difference *ret_difference)
{
	for (uint32_t i = 0; i < n; i++) {
		static const struct kvm_cpuid_entry2 none;
		const struct kvm_cpuid_entry2 *same;
		struct kvm_cpuid_entry2 old, new;

		memcpy(&old, shown + (size_t)i * sizeof(old), sizeof(old));
		same = find(here, &old);
		new = same ? *same : none;
		new.function = old.function;
		new.index = old.index;
		clear_what_changes(&old);
		clear_what_changes(&new);
		if (lacks(more ? rule_of(old.function, old.index) : NULL, &old, &new,
			  ret_difference))
			return true;
	}
	return false;
}

bool cpuid_lacks(const struct cpuid_table *here, const uint8_t *shown, uint32_t n,
		 struct cpuid_difference *ret_difference)
{
	return any_lacks(here, shown, n, true, ret_difference);
}

bool cpuid_shows(const struct cpuid_table *here, const uint8_t *shown, uint32_t n)
{
	struct cpuid_difference ignored;

	return n == here->nent && !any_lacks(here, shown, n, false, &ignored);
}
