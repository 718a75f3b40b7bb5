/* SPDX-License-Identifier: Apache-2.0 */
/* vmstate_test.c - a whole machine is saved, and begins anew. */
#include "../machine_bench.h"
#include "host/hostclock.h"
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
	m->pause.paused = false;
	m->incoming = &parts;
	if (vmstate_load_board(m, &why) < 0)
		fail_msg("%s", why.text);
	vmstate_load_memory(m);
	pvclock_go(&m->pvclock, m->arrived.tsc_count, m->arrived.stopped_ns, false);
	assert_true(m->pvclock.taken);
	assert_int_equal(m->pvclock.pages[0], PVCLOCK_PAGE_WRITTEN);
	assert_int_equal(m->pvclock.pages[1], PVCLOCK_PAGE_TAKEN);
	for (int i = 0; i < 32; i++)
		assert_int_equal(m->memory.low[0x5040 + i], 0x5a);
	vmstate_parts_free(&parts);
	memory_destroy(&m->memory);
	bench_free(m);
}

/* The state of a machine whose kvm-clock is KVM's own, and showed SHOWN; virtual time was loaded
 * `ago` counts of 0.4 ns ago, with a gap of 2 s.  What KVM then has. */
static void load_kvms_clock(struct machine *m, uint64_t ago)
{
	const uint64_t shown = SHOWN;
	struct machine_config config = *m->config;
	struct vmstate_parts parts = {0};
	struct why why = {""};

	config.kvm_clock = MACHINE_KVM_CLOCK_KERNEL;
	config.steal = MACHINE_STEAL_KERNEL;
	m->config = &config;
	assert_int_equal(vmstate_chips_save(&m->vm, &shown, &parts, NULL), 0);
	assert_int_equal(vmstate_board_save(&m->chipset, &parts, NULL), 0);
	assert_int_equal(vmstate_ports_save(&m->ports, &parts, NULL), 0);
	m->incoming = &parts;
	m->pause.paused = false;
	m->arrived.passed_ns = 2 * S;
	m->pause.from.tsc = hostclock_tsc() - ago;
	if (vmstate_load_board(m, &why) < 0)
		fail_msg("%s", why.text);
	vmstate_load_memory(m);
	assert_true(m->pause.kvm_clock_ns == SHOWN + 2 * S);
	vmstate_parts_free(&parts);
}

static void kvms_clock_goes_on_with_the_time_that_has_run(void **state)
{
	struct machine *m = bench_new();

	(void)state;
	load_kvms_clock(m, 5 * S / 2 * 5);
	assert_in_range(bench.clock_ns, SHOWN + 7 * S, SHOWN + 8 * S);
	bench_free(m);
}

/* KVM sets it a million counts after we have looked, and says so: that is taken off. */
static void kvms_clock_is_put_where_it_should_be(void **state)
{
	struct machine *m = bench_new();
	uint64_t wanted_ns;

	(void)state;
	bench.clock_late = 1000000;
	load_kvms_clock(m, 0);
	wanted_ns = SHOWN + 2 * S + (bench.clock_tsc - m->pause.from.tsc) * 2 / 5;
	assert_in_range(bench.clock_ns - wanted_ns + 200000, 0, 400000);
	bench_free(m);
}

/* The time parts alone, and the host that its stop was read on. */
static struct hosts_reading save_stop(struct machine *m, struct vmstate_parts *parts)
{
	struct hosts_reading host;
	struct why why = {""};

	if (vmstate_save_time(m, parts, &why) < 0)
		fail_msg("%s", why.text);
	assert_int_equal(parts->n, 3);
	assert_non_null(vmstate_parts_find(parts, VMSTATE_CLOCK, 0));
	assert_non_null(vmstate_parts_find(parts, VMSTATE_TSC, 0));
	assert_non_null(vmstate_parts_find(parts, VMSTATE_HOST, 0));
	assert_int_equal(hosts_get(vmstate_parts_find(parts, VMSTATE_HOST, 0)->bytes, &host), 0);
	return host;
}

/* One that stood for a while, and whose host's clock was set forward meanwhile, stopped so much
 * later by the clock that both hosts are compared by; a suspend is no step. */
static void a_stop_is_told_by_the_clock_that_the_host_has_now(void **state)
{
	struct machine *m = bench_new();
	struct vmstate_parts parts = {0};
	struct pause_instant *from = &m->pause.from;
	struct hosts_reading host;

	(void)state;
	assert_int_equal(hostclock_beside(50, &from->beside), 0);
	host = save_stop(m, &parts);
	assert_true(host.utc_ns == from->at.utc_ns);
	assert_true(host.tsc == from->tsc);
	vmstate_parts_free(&parts);

	from->beside.realtime_ns -= 3600 * (int64_t)S;
	host = save_stop(m, &parts);
	assert_in_range(host.utc_ns - from->at.utc_ns, 3599 * S, 3601 * S);
	vmstate_parts_free(&parts);

	from->beside.suspended_ns -= 3600 * (int64_t)S;
	host = save_stop(m, &parts);
	assert_true(host.utc_ns == from->at.utc_ns);
	vmstate_parts_free(&parts);
	parts = bench_save(m); /* into a file: no host */
	assert_null(vmstate_parts_find(&parts, VMSTATE_HOST, 0));
	vmstate_parts_free(&parts);
	bench_free(m);
}

static struct vmstate_time load_here(struct machine *m, struct vmstate_parts *parts, bool migrates)
{
	struct vmt_clock clock;
	struct why why = {""};

	m->incoming = parts;
	m->migrates = migrates;
	if (vmstate_load_time(m, false, S, &clock, &why) < 0)
		fail_msg("%s", why.text);
	assert_memory_equal(&clock, &m->arrived.clock, sizeof(clock));
	return m->arrived;
}

/* Each has a policy of its own. */
static void one_that_migrates_comes_by_both_hosts_clocks(void **state)
{
	struct machine *m = bench_new();
	struct machine_config config = *m->config;
	struct vmstate_parts parts = {0};
	struct vmstate_time t;
	int64_t before;

	(void)state;
	config.on_migrate = VMT_POLICY_CONTINUE;
	config.on_restore = VMT_POLICY_FREEZE;
	m->config = &config;
	m->tsc_host.tsc_class = PROBE_TSC_OFFSET;
	assert_int_equal(hostclock_beside(50, &m->pause.from.beside), 0);
	before = hostclock_realtime_ns();
	m->pause.from.at.utc_ns = before - (int64_t)S;
	(void)save_stop(m, &parts);
	t = load_here(m, &parts, true);
	assert_true(t.migrated);
	assert_in_range(t.gap.gap_ns, S - t.gap.bound_ns,
			S + (uint64_t)(hostclock_realtime_ns() - before) + t.gap.bound_ns);
	assert_int_equal(t.change.policy, VMT_POLICY_CONTINUE);
	assert_int_equal(t.passed_ns, t.gap.gap_ns);
	t = load_here(m, &parts, false);
	assert_false(t.migrated);
	assert_int_equal(t.change.policy, VMT_POLICY_FREEZE);
	vmstate_parts_free(&parts);
	bench_free(m);
}

/* What a person is told, and the change that all are. */
static char told[4][512];
static unsigned n_told;

static void on_notice(void *owner, const char *text)
{
	(void)owner;
	assert_true(n_told < 4);
	strcpy(told[n_told++], text);
}

static const struct machine_watch listener = {.notice = on_notice};

static void the_notice_says(struct machine *m, const char *words)
{
	n_told = 0;
	vmstate_notices(m);
	assert_int_equal(n_told, words ? 1 : 0);
	if (words && !strstr(told[0], words))
		fail_msg("\"%s\" is not in: %s", words, told[0]);
}

static void clocks_that_are_apart_are_told_of(void **state)
{
	struct machine *m = bench_new();

	(void)state;
	m->watch = &listener;
	m->arrived.migrated = true;
	m->arrived.gap.negative = true; /* by less than both bounds: as it should be */
	the_notice_says(m, NULL);
	m->arrived.gap.apart_ns = -2 * (int64_t)S;
	the_notice_says(m, "this host's clock is at least 2.000 s behind the other host's: the "
			   "machine's time goes on where it stood");
	m->arrived.gap.apart_ns = 1234567890;
	m->arrived.gap.bounded = true;
	the_notice_says(m, "1.234 s ahead of the other host's: the machine's time went on by what "
			   "really passed");
	m->arrived.gap.apart_ns = 0;
	m->arrived.tsc_ppb = 5;
	the_notice_says(m, "the migrated machine's TSC is 5 ppb faster");
	m->arrived.tsc_ppb = 0;
	m->arrived.limit_ns = 4 * S; /* by all that has passed until it runs */
	m->chipset.change.gap_ns = 4 * S;
	m->chipset.change.policy = VMT_POLICY_CONTINUE;
	the_notice_says(m, NULL);
	m->chipset.change.gap_ns = 5 * S;
	the_notice_says(m, "run with --on-migrate auto or freeze");
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
		cmocka_unit_test(kvms_clock_is_put_where_it_should_be),
		cmocka_unit_test(a_stop_is_told_by_the_clock_that_the_host_has_now),
		cmocka_unit_test(one_that_migrates_comes_by_both_hosts_clocks),
		cmocka_unit_test(clocks_that_are_apart_are_told_of),
		cmocka_unit_test(state_that_the_machine_has_not_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
