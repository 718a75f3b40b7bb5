/* SPDX-License-Identifier: Apache-2.0 */
/* vmstate_test.c - a whole machine is saved, and begins anew. */
#include "../machine_bench.h"
#include "kvm/bytes.h"
#include "kvm/vmstate_board.h"
#include "kvm/vmstate_cpu.h"

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

static void the_deadline_is_saved(const struct vmstate_parts *parts, uint32_t cpu,
				  uint64_t deadline)
{
	const struct vmstate_cpu_ours ours = {.kvm_clock = true, .steal = true};
	struct vmstate_cpu s;
	struct why why = {""};

	if (vmstate_cpu_parse(vmstate_parts_find(parts, VMSTATE_CPU, cpu), &ours, &s, &why) < 0)
		fail_msg("%s", why.text);
	assert_non_null(s.record[VMSTATE_CPU_DEADLINE].bytes);
	assert_true(get64(s.record[VMSTATE_CPU_DEADLINE].bytes) == deadline);
}

/* Time stands: what is to come must not come while KVM completes what the CPU was at, nor before it
 * has been saved. */
static void no_timer_runs_while_a_cpu_settles(void **state)
{
	struct machine *m = bench_new();
	struct vmstate_parts parts;

	(void)state;
	bench.waits_for = m->pause.tsc_count + 1;
	for (unsigned cpu = 0; cpu < BENCH_CPUS; cpu++)
		bench.deadlines[cpu] = bench.waits_for;
	bench.deadlines[0]--; /* that one had come */
	parts = bench_save(m);
	assert_int_equal(bench.settled, BENCH_CPUS);
	assert_int_equal(bench.armed_in_run, 1);
	the_deadline_is_saved(&parts, 0, bench.waits_for - 1);
	the_deadline_is_saved(&parts, 1, bench.waits_for);
	vmstate_parts_free(&parts);
	parts = bench_save(m); /* again, before it goes on */
	the_deadline_is_saved(&parts, 1, bench.waits_for);
	vmstate_parts_free(&parts);
	/* By now KVM may find it passed, and would let it fire. */
	assert_true(bench.deadlines[0] == bench.waits_for - 1);
	assert_true(bench.deadlines[1] == 0);
	assert_true(m->pause.timers[1].deadline == bench.waits_for);
	bench_free(m);
}

/* The guest wanted its CPUs' clocks at these places. */
static void give_pages(struct machine *m)
{
	assert_int_equal(memory_create(BENCH_SIZE, &m->memory, NULL), 0);
	bench_show_clock(m);
	for (uint32_t cpu = 0; cpu < BENCH_CPUS; cpu++) {
		m->pvclock.face.system[cpu] = 0x5001 + 64 * cpu;
		m->pvclock.pages[cpu] = PVCLOCK_PAGE_WRITTEN;
	}
}

/* Whoever starts from the snapshot does not write where the guest has put something else. */
static void a_page_that_the_guest_took_is_its_own_for_ever(void **state)
{
	struct machine *m = bench_new();
	struct vmstate_parts parts;
	const struct vmstate_part *part;
	struct why why = {""};

	(void)state;
	give_pages(m);
	parts = bench_save(m);
	assert_null(vmstate_parts_find(&parts, VMSTATE_TAKEN, 0));
	vmstate_parts_free(&parts);
	memset(m->memory.low + 0x5040, 0x5a, 32); /* not noticed yet */
	parts = bench_save(m);
	part = vmstate_parts_find(&parts, VMSTATE_TAKEN, 0);
	assert_non_null(part);
	assert_int_equal(part->length, 32);
	assert_int_equal(get32(part->bytes), 1 << 1);
	memset(m->pvclock.pages, PVCLOCK_PAGE_NEW, BENCH_CPUS);
	m->incoming = &parts;
	if (vmstate_load_board(m, &why) < 0)
		fail_msg("%s", why.text);
	assert_true(m->pvclock.taken);
	assert_int_equal(m->pvclock.pages[0], PVCLOCK_PAGE_WRITTEN);
	assert_int_equal(m->pvclock.pages[1], PVCLOCK_PAGE_TAKEN);
	for (int i = 0; i < 32; i++)
		assert_int_equal(m->memory.low[0x5040 + i], 0x5a);
	vmstate_parts_free(&parts);
	memory_destroy(&m->memory);
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
	assert_int_equal(vmstate_check(m->config, m->incoming, &why), 0);
	assert_int_equal(vmstate_parts_add(&parts, VMSTATE_CPU, 1, BENCH_CPUS, "", 0), 0);
	assert_int_equal(vmstate_check(m->config, m->incoming, &why), -EINVAL);
	assert_non_null(strstr(why.text, "that such a one has not"));
	vmstate_parts_free(&parts);
	bench_free(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_is_asked_for_before_all_cpus_have_settled),
		cmocka_unit_test(no_timer_runs_while_a_cpu_settles),
		cmocka_unit_test(a_page_that_the_guest_took_is_its_own_for_ever),
		cmocka_unit_test(kvms_clock_goes_on_with_the_time_that_has_run),
		cmocka_unit_test(state_that_the_machine_has_not_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
