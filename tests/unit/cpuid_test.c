/* SPDX-License-Identifier: Apache-2.0 */
/* cpuid_test.c - what a guest sees adds up. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <errno.h>
#include <string.h>

#include "kvm/cpuid.h"

static void put(struct cpuid_table *t, uint32_t leaf, int32_t subleaf, uint32_t eax, uint32_t ebx,
		uint32_t ecx, uint32_t edx)
{
	t->entries[t->nent++] = (struct kvm_cpuid_entry2){
		.function = leaf,
		.index = subleaf < 0 ? 0 : (uint32_t)subleaf,
		.flags = subleaf < 0 ? 0 : KVM_CPUID_FLAG_SIGNIFCANT_INDEX,
		.eax = eax,
		.ebx = ebx,
		.ecx = ecx,
		.edx = edx,
	};
}

/* What KVM says it supports on a host of both kinds' leaves: AVX, PKU's state but not PKU. */
static void fill(struct cpuid_table *t)
{
	memset(t, 0, sizeof(*t));
	put(t, 0, -1, 0x16, 0, 0, 0);
	put(t, 1, -1, 0x806f8, 0x12100800, 0xffffffff, 0x178bfbff);
	put(t, 4, 0, 0x7c004121, 0x2c0003f, 0x3f, 0);
	put(t, 4, 3, 0x7c0fc163, 0x3c0003f, 0x7fff, 4);
	put(t, 4, 4, 0, 0, 0, 0);
	put(t, 6, -1, 0, 0, 0, 0);
	put(t, 7, 0, 0, 0x02000022, 0, 0);
	put(t, 0xa, -1, 0x7300403, 0, 0, 0x603);
	put(t, 0xb, 0, 7, 99, 0x100, 77);
	put(t, 0xb, 1, 7, 99, 0x201, 77);
	put(t, 0xd, 0, 0x207, 0xa88, 0xa88, 0);
	put(t, 0xd, 1, 1, 0x240, 0, 0);
	put(t, 0xd, 2, 0x100, 0x240, 0, 0);
	put(t, 0xd, 9, 8, 0xa80, 0, 0);
	put(t, 0x15, -1, 2, 200, 24000000, 0);
	put(t, 0x16, -1, 2400, 3000, 100, 0);
	put(t, 0x40000000, -1, 0x40000001, 0x4b4d564b, 0x564b4d56, 0x4d);
	put(t, 0x40000001, -1, 0x0107feff, 0, 0, 0);
	put(t, 0x80000000, -1, 0x80000022, 0, 0, 0);
	put(t, 0x80000001, -1, 0, 0, 0xffffffff, 0x2c100800);
	put(t, 0x80000007, -1, 0, 0, 0, 0x100);
	put(t, 0x80000008, -1, 0x3030, 0, 0x700f, 0);
	put(t, 0x8000000a, -1, 1, 8, 0, 0);
	put(t, 0x8000001e, -1, 9, 9, 9, 0);
}

static const struct cpuid_config plain = {
	.cpus = 1,
	.kvm_leaves = true,
	.steal = true,
	.tsc_deadline = true,
	.tsc_khz = 2445424,
	.apic_bus_khz = 1000000,
};

static struct cpuid_table build(const struct cpuid_config *config, uint32_t cpu)
{
	static struct cpuid_table t;

	fill(&t);
	assert_int_equal(cpuid_build(&t, config), 0);
	cpuid_for_cpu(&t, cpu);
	return t;
}

static const struct kvm_cpuid_entry2 *leaf(struct cpuid_table *t, uint32_t number, uint32_t index)
{
	const struct kvm_cpuid_entry2 *e = cpuid_find(t, number, index);

	assert_non_null(e);
	return e;
}

static void a_hypervisor_with_arat_and_deadline_timer(void **state)
{
	struct cpuid_config config = plain;
	struct cpuid_table t = build(&config, 0);

	(void)state;
	assert_true(leaf(&t, 1, 0)->ecx & 1U << 31);
	assert_true(leaf(&t, 1, 0)->ecx & 1U << 24);
	assert_true(leaf(&t, 6, 0)->eax & 4);
	assert_null(cpuid_find(&t, 0x15, 0));
	assert_null(cpuid_find(&t, 0x16, 0));

	config.tsc_deadline = false;
	t = build(&config, 0);
	assert_false(leaf(&t, 1, 0)->ecx & 1U << 24);
}

static void nested_machines_and_counters_are_left_out(void **state)
{
	struct cpuid_table t = build(&plain, 0);

	(void)state;
	assert_false(leaf(&t, 1, 0)->ecx & 1U << 5);
	assert_false(leaf(&t, 0x80000001, 0)->ecx & 1U << 2);
	assert_null(cpuid_find(&t, 0x8000000a, 0));
	assert_null(cpuid_find(&t, 0xa, 0));
	assert_false(leaf(&t, 7, 0)->ebx & 1U << 25);
	assert_true(leaf(&t, 7, 0)->ebx & 1U << 1); /* TSC_ADJUST stays */
}

static void kvm_shows_what_its_kernel_serves_right(void **state)
{
	struct cpuid_config config = plain;
	struct cpuid_table t = build(&config, 0);

	(void)state;
	assert_int_equal(leaf(&t, 0x40000000, 0)->eax, 0x40000010);
	assert_memory_equal(&leaf(&t, 0x40000000, 0)->ebx, "KVMK", 4);
	assert_memory_equal(&leaf(&t, 0x40000000, 0)->edx, "M\0\0\0", 4);
	assert_int_equal(leaf(&t, 0x40000001, 0)->eax, 1 << 0 | 1 << 1 | 1 << 3 | 1 << 5 | 1 << 7 |
							       1 << 11 | 1 << 12 | 1 << 13 |
							       1 << 24);
	assert_int_equal(leaf(&t, 0x40000010, 0)->eax, 2445424);
	assert_int_equal(leaf(&t, 0x40000010, 0)->ebx, 1000000);

	config.steal = false;
	t = build(&config, 0);
	assert_false(leaf(&t, 0x40000001, 0)->eax & 1 << 5);
}

static void without_kvms_leaves_it_has_no_name(void **state)
{
	struct cpuid_config config = plain;
	struct cpuid_table t;

	(void)state;
	config.kvm_leaves = false;
	t = build(&config, 0);
	assert_int_equal(leaf(&t, 0x40000000, 0)->eax, 0);
	assert_int_equal(leaf(&t, 0x40000000, 0)->ebx, 0);
	assert_null(cpuid_find(&t, 0x40000001, 0));
	assert_null(cpuid_find(&t, 0x40000010, 0));
	assert_true(leaf(&t, 1, 0)->ecx & 1U << 31);
}

static void invariant_tsc_only_when_asked_for(void **state)
{
	struct cpuid_config config = plain;
	struct cpuid_table t = build(&config, 0);

	(void)state;
	assert_false(leaf(&t, 0x80000007, 0)->edx & 0x100);

	/* Also on a host whose own CPU does not show it, and whose leaves end before. */
	config.invariant = true;
	fill(&t);
	cpuid_find(&t, 0x80000000, 0)->eax = 0x80000004;
	cpuid_find(&t, 0x80000007, 0)->edx = 0;
	assert_int_equal(cpuid_build(&t, &config), 0);
	assert_true(leaf(&t, 0x80000007, 0)->edx & 0x100);
	assert_int_equal(leaf(&t, 0x80000000, 0)->eax, 0x80000007);
}

static void each_cpu_is_a_core_of_one_package(void **state)
{
	struct cpuid_config config = plain;

	(void)state;
	config.cpus = 6;
	for (uint32_t cpu = 0; cpu < 6; cpu++) {
		struct cpuid_table t = build(&config, cpu);

		assert_int_equal(leaf(&t, 1, 0)->ebx >> 24, cpu);
		assert_int_equal(leaf(&t, 1, 0)->ebx >> 16 & 0xff, 6);
		assert_true(leaf(&t, 1, 0)->edx & 1 << 28);
		assert_int_equal(leaf(&t, 0xb, 0)->eax, 0);
		assert_int_equal(leaf(&t, 0xb, 0)->ebx, 1);
		assert_int_equal(leaf(&t, 0xb, 1)->eax, 3);
		assert_int_equal(leaf(&t, 0xb, 1)->ebx, 6);
		assert_int_equal(leaf(&t, 0xb, 2)->ecx, 2); /* level type 0: the end */
		assert_int_equal(leaf(&t, 0xb, 1)->edx, cpu);
		assert_int_equal(leaf(&t, 4, 0)->eax >> 14 & 0xfff, 0); /* own L1 */
		assert_int_equal(leaf(&t, 4, 3)->eax >> 14 & 0xfff, 7); /* shared L3 */
		assert_int_equal(leaf(&t, 4, 3)->eax >> 26, 7);
		assert_int_equal(leaf(&t, 0x80000008, 0)->ecx, 5 | 3 << 12);
		assert_true(leaf(&t, 0x80000001, 0)->ecx & 2);
		assert_int_equal(leaf(&t, 0x8000001e, 0)->eax, cpu);
		assert_int_equal(leaf(&t, 0x8000001e, 0)->ebx, cpu);
	}
}

static void one_cpu_claims_no_siblings(void **state)
{
	struct cpuid_table t = build(&plain, 0);

	(void)state;
	assert_false(leaf(&t, 1, 0)->edx & 1 << 28);
	assert_int_equal(leaf(&t, 0xb, 1)->ebx, 1);
	assert_int_equal(leaf(&t, 0xb, 1)->eax, 0);
	assert_int_equal(leaf(&t, 0x80000008, 0)->ecx, 0);
	assert_false(leaf(&t, 0x80000001, 0)->ecx & 2);
}

static void state_without_its_feature_is_taken_out(void **state)
{
	struct cpuid_table t = build(&plain, 0);

	(void)state;
	assert_int_equal(leaf(&t, 0xd, 0)->eax, 7); /* x87, SSE, AVX */
	assert_int_equal(leaf(&t, 0xd, 0)->ecx, 0x240 + 0x100);
	assert_null(cpuid_find(&t, 0xd, 9));
	assert_non_null(cpuid_find(&t, 0xd, 2));
	assert_non_null(cpuid_find(&t, 0xd, 1));

	/* With PKU its state stays. */
	fill(&t);
	cpuid_find(&t, 7, 0)->ecx = 1 << 3;
	assert_int_equal(cpuid_build(&t, &plain), 0);
	assert_int_equal(leaf(&t, 0xd, 0)->eax, 0x207);
	assert_int_equal(leaf(&t, 0xd, 0)->ecx, 0xa88);
}

/* A host with AMX, of whose two state components KVM offers `offered`. */
static struct cpuid_table build_amx(uint32_t offered)
{
	static struct cpuid_table t;

	fill(&t);
	cpuid_find(&t, 7, 0)->edx = 1U << 22 | 1U << 23 | 1U << 24 | 1U << 25;
	put(&t, 7, 1, 1U << 4 | 1U << 21, 0, 0, 1U << 8);
	cpuid_find(&t, 0xd, 0)->eax = 7 | offered;
	put(&t, 0xd, 17, 64, 0xac0, 0, 2);
	put(&t, 0xd, 18, 0x2000, 0xb00, 6, 6);
	put(&t, 0x1d, 0, 1, 0, 0, 0);
	put(&t, 0x1e, 0, 0, 0x4010, 0, 0);
	assert_int_equal(cpuid_build(&t, &plain), 0);
	return t;
}

static void amx_is_there_as_a_whole_or_not_at_all(void **state)
{
	struct cpuid_table t = build_amx(3U << 17);

	(void)state;
	assert_int_equal(leaf(&t, 0xd, 0)->eax, 7 | 3U << 17);
	assert_int_equal(leaf(&t, 0xd, 0)->ecx, 0xb00 + 0x2000);
	assert_int_equal(leaf(&t, 7, 0)->edx, 0xfU << 22);
	assert_non_null(cpuid_find(&t, 0x1d, 0));

	/* As KVM offers it to who has not asked for the second: it refuses such an XCR0. */
	t = build_amx(1U << 17);
	assert_int_equal(leaf(&t, 0xd, 0)->eax, 7);
	assert_int_equal(leaf(&t, 0xd, 0)->ecx, 0x240 + 0x100);
	assert_null(cpuid_find(&t, 0xd, 17));
	assert_int_equal(leaf(&t, 7, 0)->edx, 1U << 23); /* no AMX bit */
	assert_int_equal(leaf(&t, 7, 1)->eax, 1U << 4);
	assert_int_equal(leaf(&t, 7, 1)->edx, 0);
	assert_null(cpuid_find(&t, 0x1d, 0));
	assert_null(cpuid_find(&t, 0x1e, 0));
}

static void a_full_table_is_an_error(void **state)
{
	static struct cpuid_table t;

	(void)state;
	fill(&t);
	while (t.nent < CPUID_MAX_ENTRIES)
		put(&t, 0x12345678, -1, 0, 0, 0, 0);
	for (unsigned i = 0; i < t.nent; i++) /* no leaf to take out, either */
		if (t.entries[i].function > 1 && t.entries[i].function < 0x80000000)
			t.entries[i].function = 0x12345678;
	assert_int_equal(cpuid_build(&t, &plain), -ENOSPC);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_hypervisor_with_arat_and_deadline_timer),
		cmocka_unit_test(nested_machines_and_counters_are_left_out),
		cmocka_unit_test(kvm_shows_what_its_kernel_serves_right),
		cmocka_unit_test(without_kvms_leaves_it_has_no_name),
		cmocka_unit_test(invariant_tsc_only_when_asked_for),
		cmocka_unit_test(each_cpu_is_a_core_of_one_package),
		cmocka_unit_test(one_cpu_claims_no_siblings),
		cmocka_unit_test(state_without_its_feature_is_taken_out),
		cmocka_unit_test(amx_is_there_as_a_whole_or_not_at_all),
		cmocka_unit_test(a_full_table_is_an_error),
	};

	return cmocka_run_group_tests_name("cpuid", tests, NULL, NULL);
}
