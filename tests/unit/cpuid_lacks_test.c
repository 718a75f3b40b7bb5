/* SPDX-License-Identifier: Apache-2.0 */
/* cpuid_lacks_test.c - a machine goes where the CPUs can do what it was shown, and nowhere else. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <string.h>

#include "kvm/cpuid_lacks.h"

enum { EAX = 0, EBX, ECX, EDX };

/* One leaf of a host that is otherwise what the machine comes from; it was shown `was`. */
struct place {
	uint32_t leaf, subleaf;
	unsigned in;
};

static void put(struct kvm_cpuid_entry2 *e, const struct place *at, uint32_t value)
{
	uint32_t *const registers[] = {&e->eax, &e->ebx, &e->ecx, &e->edx};

	*e = (struct kvm_cpuid_entry2){.function = at->leaf, .index = at->subleaf};
	*registers[at->in] = value;
}

static bool goes(const struct place *at, uint32_t was, uint32_t is, struct cpuid_difference *d)
{
	struct kvm_cpuid_entry2 shown;
	static struct cpuid_table here;

	put(&shown, at, was);
	put(&here.entries[0], at, is);
	here.nent = 1;
	return !cpuid_lacks(&here, (const uint8_t *)&shown, 1, d);
}

static void check(const struct place *at, uint32_t was, uint32_t is, bool wanted)
{
	static const char *const names[] = {"EAX", "EBX", "ECX", "EDX"};
	struct cpuid_difference d = {0};

	if (goes(at, was, is, &d) != wanted)
		fail_msg("CPUID 0x%x.%u, %s: 0x%x -> 0x%x %s", at->leaf, at->subleaf, names[at->in],
			 was, is, wanted ? "is refused" : "goes");
	if (wanted)
		return;
	assert_int_equal(d.leaf, at->leaf);
	assert_int_equal(d.subleaf, at->subleaf);
	assert_string_equal(d.name, names[at->in]);
	assert_int_equal(d.was, was);
	assert_int_equal(d.is, is);
}

static void features_may_be_more_but_never_less(void **state)
{
	static const struct place places[] = {
		{0x1, 0, ECX},        {0x1, 0, EDX},        {0x6, 0, EAX},
		{0x7, 0, EBX},        {0x7, 0, ECX},        {0x7, 0, EDX},
		{0x7, 1, EAX},        {0x7, 1, EDX},        {0x7, 2, EDX},
		{0xd, 0, EAX},        {0xd, 0, EDX},        {0xd, 1, EAX},
		{0xd, 1, ECX},        {0x40000001, 0, EAX}, {0x80000001, 0, ECX},
		{0x80000001, 0, EDX}, {0x80000007, 0, EDX}, {0x80000008, 0, EBX},
		{0x8000001f, 0, EAX}, {0x80000021, 0, EAX}, {0x80000021, 0, ECX},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		check(&places[i], 0x00500500, 0x00500500, true);
		check(&places[i], 0x00500500, 0x00700501, true);
		check(&places[i], 0x00500500, 0x00500000, false);
		check(&places[i], 0x00500500, 0x00a00000, false);
	}
}

static void what_merely_describes_a_cpu_may_differ(void **state)
{
	static const struct place places[] = {
		{0x0, 0, EAX},        {0x1, 0, EAX},        {0x2, 0, EDX},
		{0x4, 3, EBX},        {0x5, 0, EDX},        {0x7, 0, EAX},
		{0xb, 1, EBX},        {0xd, 0, EBX},        {0xd, 0, ECX},
		{0x15, 0, ECX},       {0x1f, 1, EBX},       {0x40000000, 0, EAX},
		{0x40000010, 0, EAX}, {0x80000000, 0, EAX}, {0x80000001, 0, EBX},
		{0x80000003, 0, ECX}, {0x80000006, 0, ECX}, {0x80000008, 0, ECX},
		{0x8000001d, 2, EBX}, {0x8000001e, 0, EAX}, {0x8000001f, 0, EBX},
		{0x8000001f, 0, ECX}, {0x8000001f, 0, EDX},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		check(&places[i], 0x12345678, 0, true);
		check(&places[i], 0, 0x12345678, true);
	}
}

static void what_the_guests_memory_is_laid_out_by_has_to_be_the_same(void **state)
{
	static const struct place places[] = {
		{0x0, 0, EBX},                       /* the vendor */
		{0x0, 0, EDX},        {0xd, 2, EAX}, /* a state component's size */
		{0xd, 9, EBX},                       /* where it lies */
		{0xd, 63, ECX},       {0x1d, 1, EBX},       {0x40000000, 0, EBX},
		{0x40000001, 0, EBX}, {0x80000020, 0, EBX}, /* of others nothing is known */
		{0xc0000001, 0, EDX},
	};
	static const struct place line = {0x1, 0, EBX};

	(void)state;
	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		check(&places[i], 0x500, 0x500, true);
		check(&places[i], 0x500, 0x501, false);
		check(&places[i], 0x500, 0x400, false);
	}
	check(&line, 0x03020800, 0x07000800, true); /* APIC id and number of CPUs */
	check(&line, 0x03020800, 0x03021000, false);
}

/* Physical, linear, the guest's own. */
static void addresses_may_be_wider_but_not_narrower(void **state)
{
	static const struct place widths = {0x80000008, 0, EAX};

	(void)state;
	check(&widths, 0x00003028, 0x00003028, true);
	check(&widths, 0x00003028, 0x0000392e, true);
	check(&widths, 0x00003028, 0x00003027, false);
	check(&widths, 0x0000392e, 0x00003030, false);
	check(&widths, 0x00343028, 0x00333028, false);
}

static void what_kvm_fills_in_itself_does_not_count(void **state)
{
	static const struct place ecx = {0x1, 0, ECX}, edx = {0x1, 0, EDX}, pke = {0x7, 0, ECX},
				  amd = {0x80000001, 0, EDX};

	(void)state;
	check(&ecx, 1U << 27 | 1U << 3, 0, true);
	check(&edx, 1U << 9, 0, true);
	check(&pke, 1U << 4, 0, true);
	check(&amd, 1U << 9, 0, true);
}

static void a_feature_that_is_lacking_is_named(void **state)
{
	static const struct place ebx = {0x7, 0, EBX};
	struct cpuid_difference d;

	(void)state;
	assert_false(goes(&ebx, 1U << 5 | 1U << 8, 1U << 8, &d));
	assert_string_equal(d.lacks, "avx2");
	assert_false(goes(&ebx, 1U << 22, 0, &d));
	assert_null(d.lacks);
}

static void a_leaf_that_is_not_here_is_all_zero(void **state)
{
	struct kvm_cpuid_entry2 shown[2] = {{.function = 7, .index = 1}, {.function = 4, .eax = 9}};
	static const struct cpuid_table here;
	struct cpuid_difference d;

	(void)state;
	assert_false(cpuid_lacks(&here, (const uint8_t *)shown, 2, &d));
	shown[0].eax = 1U << 4;
	assert_true(cpuid_lacks(&here, (const uint8_t *)shown, 2, &d));
	assert_string_equal(d.lacks, "avx_vnni");
}

static void the_same_is_shown_where_nothing_is_more_or_less(void **state)
{
	static struct cpuid_table here;
	struct kvm_cpuid_entry2 shown[2] = {{.function = 1, .ecx = 7}, {.function = 4, .eax = 9}};

	(void)state;
	memcpy(here.entries, shown, sizeof(shown));
	here.nent = 2;
	here.entries[0].ecx |= 1U << 27; /* OSXSAVE */
	assert_true(cpuid_shows(&here, (const uint8_t *)shown, 2));
	here.entries[1].eax = 8; /* which lacks nothing */
	assert_false(cpuid_shows(&here, (const uint8_t *)shown, 2));
	here.entries[1].eax = 9;
	here.nent = 3;
	assert_false(cpuid_shows(&here, (const uint8_t *)shown, 2));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(features_may_be_more_but_never_less),
		cmocka_unit_test(what_merely_describes_a_cpu_may_differ),
		cmocka_unit_test(what_the_guests_memory_is_laid_out_by_has_to_be_the_same),
		cmocka_unit_test(addresses_may_be_wider_but_not_narrower),
		cmocka_unit_test(what_kvm_fills_in_itself_does_not_count),
		cmocka_unit_test(a_feature_that_is_lacking_is_named),
		cmocka_unit_test(a_leaf_that_is_not_here_is_all_zero),
		cmocka_unit_test(the_same_is_shown_where_nothing_is_more_or_less),
	};

	return cmocka_run_group_tests_name("cpuid_lacks", tests, NULL, NULL);
}
