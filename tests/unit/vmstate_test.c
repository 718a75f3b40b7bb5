/* SPDX-License-Identifier: Apache-2.0 */
/* vmstate_test.c - a whole machine is saved, and begins anew. */
#include "../machine_bench.h"
#include "kvm/vmstate_board.h"

#define S UINT64_C(1000000000)
#define SHOWN (UINT64_C(70) * S)

/* What a CPU completes, or acknowledges, on its way changes the chips and the others' APICs. */
static void nothing_is_asked_for_before_all_cpus_have_settled(void **state)
{
	struct machine *m = bench_new();
	struct vmstate_parts parts = bench_save(m);

	(void)state;
	assert_int_equal(bench.settled, BENCH_CPUS);
	assert_int_equal(bench.asked_early, 0);
	vmstate_parts_free(&parts);
	bench_free(m);
}

/* KVM's own, 5 s after virtual time was loaded, on top of a gap of 2 s. */
static void kvms_clock_goes_on_with_the_time_that_has_run(void **state)
{
	const uint64_t shown = SHOWN;
	struct machine *m = bench_new();
	struct machine_config config = *m->config;
	struct vmstate_parts parts = {0};
	struct counted_clock now;
	struct why why = {""};

	(void)state;
	config.kvm_clock = MACHINE_KVM_CLOCK_KERNEL;
	config.steal = MACHINE_STEAL_KERNEL;
	m->config = &config;
	assert_int_equal(vmstate_chips_save(&m->vm, &shown, &parts, NULL), 0);
	assert_int_equal(vmstate_board_save(&m->chipset, &parts, NULL), 0);
	assert_int_equal(vmstate_ports_save(&m->ports, &parts, NULL), 0);
	m->incoming = &parts;
	now = liveclock_get(&m->chipset.clock);
	m->arrived.clock = now.clock;
	m->arrived.passed_ns = 2 * S;
	now.clock.base_ns += 5 * S;
	liveclock_set(&m->chipset.clock, &now);
	if (vmstate_load_board(m, &why) < 0)
		fail_msg("%s", why.text);
	assert_true(bench.clock_ns == SHOWN + 7 * S);
	vmstate_parts_free(&parts);
	bench_free(m);
}

static void state_that_the_machine_has_not_is_refused(void **state)
{
	struct machine *m = bench_new();
	struct vmstate_parts parts = bench_save(m);
	struct why why = {""};

	(void)state;
	m->incoming = &parts;
	assert_int_equal(vmstate_check(m, &why), 0);
	assert_int_equal(vmstate_parts_add(&parts, VMSTATE_CPU, 1, BENCH_CPUS, "", 0), 0);
	assert_int_equal(vmstate_check(m, &why), -EINVAL);
	assert_non_null(strstr(why.text, "that such a one has not"));
	vmstate_parts_free(&parts);
	bench_free(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_is_asked_for_before_all_cpus_have_settled),
		cmocka_unit_test(kvms_clock_goes_on_with_the_time_that_has_run),
		cmocka_unit_test(state_that_the_machine_has_not_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
