/* SPDX-License-Identifier: Apache-2.0 */
/* vmstate_shown_test.c - what a CPU has shown the guest goes on, wherever it arrives; and where it
 * cannot, it does not arrive. */
#include "../cpu_bench.h"

static const uint32_t fma_bit = 1U << 12;

static void a_cpu_that_can_do_less_is_refused_by_its_first_feature(void **state)
{
	struct random random = random_start();
	struct vmstate_parts parts;
	struct why why = {""};

	(void)state;
	start(&random);
	cpus[0].leaves[1].ecx |= fma_bit;
	cpus[1].leaves[1].ecx |= fma_bit;
	parts = save(NULL);
	cpus[1].leaves[1].ecx ^= 1U << 27; /* OSXSAVE: the guest's doing */
	cpus[1].leaves[1].edx ^= 1U << 9;
	cpus[1].leaves[2].ebx ^= 0x240;
	assert_int_equal(load(&parts, 0, &why), 0);
	cpus[1].leaves[1].ecx &= ~fma_bit;
	kvm.n = 0;
	assert_int_equal(load(&parts, 0, &why), -EXDEV);
	assert_non_null(strstr(why.text, "CPUID 0x1.0 has 0x"));
	assert_non_null(strstr(why.text, "in ECX"));
	assert_non_null(strstr(why.text, "it lacks fma"));
	assert_int_equal(kvm.n, 0); /* and nothing was set */
	cpus[1].leaves[1] = cpus[0].leaves[1];
	cpus[1].leaves[2].function = 0xe;
	assert_int_equal(load(&parts, 0, &why), -EXDEV);
	vmstate_parts_free(&parts);
}

/* And it stays so wherever it goes from there. */
static void a_cpu_that_can_do_more_shows_what_the_machine_has_seen(void **state)
{
	struct random random = random_start();
	struct vmstate_parts parts;
	struct why why = {""};

	(void)state;
	start(&random);
	cpus[0].leaves[1].ecx &= ~fma_bit;
	cpus[1].leaves[1].ecx &= ~fma_bit;
	parts = save(NULL);
	assert_int_equal(load(&parts, 0, &why), 0);
	assert_int_not_equal(kvm.order[0], KVM_SET_CPUID2); /* nothing is to be changed */
	cpus[1].leaves[1].ecx |= fma_bit;
	assert_int_equal(load(&parts, 0, &why), 0);
	assert_int_equal(kvm.order[0], KVM_SET_CPUID2); /* before all that depends on it */
	assert_memory_equal(cpus[1].leaves, cpus[0].leaves, sizeof(cpus[0].leaves));
	cpus[1].leaves[1].ecx |= fma_bit;
	kvm.refuses = KVM_SET_CPUID2;
	assert_int_equal(load(&parts, 0, &why), -EIO);
	assert_non_null(strstr(why.text, "KVM refused CPU 3's features"));
	vmstate_parts_free(&parts);
}

/* As somebody made it up: the first leaf so many times, which this CPU shows as well. */
static int show_leaves(const struct vmstate_parts *parts, uint32_t n, struct why *why)
{
	static struct kvm_cpuid_entry2 leaves[CPUID_MAX_ENTRIES + 1];
	struct vmstate_cpu s;

	assert_int_equal(vmstate_cpu_parse(&parts->parts[0], &ours, &s, why), 0);
	for (uint32_t i = 0; i < n; i++)
		leaves[i] = cpus[0].leaves[0];
	s.record[VMSTATE_CPU_CPUID].bytes = (const uint8_t *)leaves;
	s.record[VMSTATE_CPU_CPUID].length = n * (uint32_t)sizeof(leaves[0]);
	kvm.n = 0;
	return vmstate_cpu_show(&new, &s, why);
}

static void no_cpu_shows_more_leaves_than_kvm_takes(void **state)
{
	struct random random = random_start();
	struct vmstate_parts parts;
	struct why why = {""};

	(void)state;
	start(&random);
	parts = save(NULL);
	kvm.refuses = KVM_SET_CPUID2;
	assert_int_equal(show_leaves(&parts, CPUID_MAX_ENTRIES, &why), -EIO); /* it was asked */
	kvm.refuses = 0;
	assert_int_equal(show_leaves(&parts, CPUID_MAX_ENTRIES + 1, &why), -EINVAL);
	assert_string_equal(why.text, "CPU 3 has shown 257 leaves of CPUID, 256 at most");
	assert_int_equal(kvm.n, 0);
	vmstate_parts_free(&parts);
}

static bool new_one_tells_of(uint32_t index)
{
	struct vmstate_msrs *m;
	struct why why = {""};
	bool found = false;

	if (vmstate_msrs_read(&vm, &new, true, true, &m, &why) < 0)
		fail_msg("%s", why.text);
	for (uint32_t i = 0; i < m->n; i++)
		found = found || m->entries[i].index == index;
	free(m);
	return found;
}

static void a_register_that_only_this_kvm_has_does_not_bar_the_way_back(void **state)
{
	struct random random = random_start();
	struct vmstate_parts parts;
	struct why why = {""};

	(void)state;
	start(&random);
	kvm.more = true;
	parts = save(NULL);
	cpus[1].msrs[GONE] = 7;
	assert_int_equal(load(&parts, 0, &why), 0);
	assert_false(new_one_tells_of(STAR + GONE));
	assert_true(new_one_tells_of(STAR + GONE + 1));
	cpus[1].msrs[GONE] = 8; /* the guest has found it, and needs it from now on */
	assert_true(new_one_tells_of(STAR + GONE));
	cpus[1].msrs[GONE] = 7;
	assert_int_equal(load(&parts, 0, &why), 0); /* anew: nothing is remembered */
	assert_false(new_one_tells_of(STAR + GONE));
	vmstate_parts_free(&parts);
}

/* PKRU, which KVM tells of because the host has it. */
static void a_component_that_the_guest_is_not_shown_is_not_saved(void **state)
{
	enum { XSTATE_BV = 512 };
	struct random random = random_start();
	struct vmstate_parts parts;
	struct why why = {""};

	(void)state;
	start(&random);
	cpus[0].leaves[2].eax = cpus[1].leaves[2].eax = 7;
	cpus[0].leaves[2].edx = cpus[1].leaves[2].edx = 0;
	put32(cpus[0].xsave + XSTATE_BV, 0x207);
	parts = save(NULL);
	assert_int_equal(load(&parts, 0, &why), 0);
	assert_int_equal(get32(cpus[1].xsave + XSTATE_BV), 7);
	assert_int_equal(get32(cpus[1].xsave + XSTATE_BV + 4), 0);
	vmstate_parts_free(&parts);
}

/* Of faults by which the CPU is not hit: fewer will do, more are believed by the guest. */
static void what_the_guest_need_not_do_against_faults_it_need_not_do_here(void **state)
{
	const struct kvm_msr_entry was = {.index = 0x10a, .data = 5};
	const uint8_t *const entry = (const uint8_t *)&was;
	struct why why = {""};

	(void)state;
	memset(&kvm, 0, sizeof(kvm));
	kvm.promises = 7;
	assert_int_equal(vmstate_msrs_write(&new, entry, 1, &why), 0);
	assert_int_equal(kvm.promises, 5);
	kvm.promises = 0x11;
	assert_int_equal(vmstate_msrs_write(&new, entry, 1, &why), -EXDEV);
	assert_int_equal(kvm.promises, 0x11);
	assert_non_null(strstr(why.text, "CPU 3 was promised 0x4 of IA32_ARCH_CAPABILITIES"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_cpu_that_can_do_less_is_refused_by_its_first_feature),
		cmocka_unit_test(a_cpu_that_can_do_more_shows_what_the_machine_has_seen),
		cmocka_unit_test(no_cpu_shows_more_leaves_than_kvm_takes),
		cmocka_unit_test(a_register_that_only_this_kvm_has_does_not_bar_the_way_back),
		cmocka_unit_test(a_component_that_the_guest_is_not_shown_is_not_saved),
		cmocka_unit_test(what_the_guest_need_not_do_against_faults_it_need_not_do_here),
	};

	return cmocka_run_group_tests_name("vmstate_shown", tests, NULL, NULL);
}
