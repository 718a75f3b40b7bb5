/* SPDX-License-Identifier: Apache-2.0 */
/* machine_parts_test.c - what is written into a machine's memory is noted, as long as there is a VM
 * that could tell, and no longer; and its CPUs run when all of it is there. */
#include "../machine_bench.h"
#include <sched.h>
#include <unistd.h>

#include "folder.h"
#include "kvm/dirty.h"
#include "kvm/thread.h"

enum { PAGES = BENCH_SIZE / MEMORY_PAGE };

static struct machine *running(void)
{
	struct machine *m = bench_new();

	m->running = true;
	assert_int_equal(memory_create(BENCH_SIZE, &m->memory, NULL), 0);
	return m;
}

static void ended(struct machine *m)
{
	memory_destroy(&m->memory);
	m->running = false;
	bench_free(m);
}

static void a_log_by_hand_begins_with_all_pages_and_watches_none(void **state)
{
	struct machine *m = running();
	struct dirty dirty;
	uint64_t pages;

	(void)state;
	bench.by_hand = KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE | KVM_DIRTY_LOG_INITIALLY_SET;
	assert_int_equal(machine_log_begin(m, &dirty, NULL), 0);
	assert_int_equal(bench.enabled, bench.by_hand);
	assert_int_equal(bench.flags[0], KVM_MEM_LOG_DIRTY_PAGES);
	assert_true(m->vm.logs_by_hand);
	assert_int_equal(dirty_collect(&dirty, &pages, NULL), 0);
	assert_int_equal(pages, PAGES);
	machine_log_end(m, &dirty);
	assert_int_equal(bench.flags[0], 0);
	assert_null(m->memory.dirty);
	ended(m);
}

static void one_log_at_a_time(void **state)
{
	struct machine *m = running();
	struct dirty dirty, second;
	struct why why = {""};

	(void)state;
	assert_int_equal(machine_log_begin(m, &dirty, NULL), 0);
	assert_false(m->vm.logs_by_hand); /* this KVM has only the plain one */
	assert_int_equal(machine_log_begin(m, &second, &why), -EBUSY);
	assert_non_null(strstr(why.text, "watched already"));
	assert_true(m->vm.logs);
	assert_ptr_equal(m->memory.dirty, &dirty);
	machine_log_end(m, &dirty);
	assert_int_equal(machine_log_begin(m, &second, NULL), 0);
	machine_log_end(m, &second);
	ended(m);
}

/* The guest's kvm-clock page is written by vmtime. */
static void what_vmtime_writes_into_a_page_of_the_guests_is_sent(void **state)
{
	struct machine *m = running();
	uint8_t bits[DIRTY_PAGES / 8];
	struct dirty dirty;
	uint64_t gpa, pages;
	uint32_t n;

	(void)state;
	bench_show_clock(m);
	m->pvclock.face.system[0] = 0x5001;
	assert_int_equal(machine_log_begin(m, &dirty, NULL), 0);
	while (dirty_take(&dirty, &gpa, &n, bits, NULL) == 1)
		;
	pvclock_go(&m->pvclock, 0, 0, false);
	assert_int_equal(dirty_collect(&dirty, &pages, NULL), 0);
	assert_int_equal(pages, 1);
	assert_int_equal(dirty_take(&dirty, &gpa, &n, bits, NULL), 1);
	assert_true(gpa == 0 && bits[0] == 1U << 5);
	machine_log_end(m, &dirty);
	ended(m);
}

/* Who migrates it. */
static struct dirty *migrates;
static int closed_with;

static void on_closing(void *owner)
{
	struct machine *m = owner;
	uint64_t pages;

	closed_with = m->vm.fd;
	assert_int_equal(dirty_collect(migrates, &pages, NULL), 0);
	machine_log_end(m, migrates);
}

/* It is reset, or switched off, while it is on its way. */
static void nobody_asks_a_vm_that_is_closed(void **state)
{
	struct machine *m = running();
	const struct machine_watch watch = {.closing = on_closing, .owner = m};
	struct dirty dirty;

	(void)state;
	m->pause.paused = false;
	m->watch = &watch;
	assert_int_equal(machine_log_begin(m, &dirty, NULL), 0);
	m->running = false; /* nothing of it has threads, nor are its CPUs KVM's */
	for (uint32_t i = 0; i < BENCH_CPUS; i++)
		free(m->vcpus[i].run);
	m->n_vcpus = 0;
	migrates = &dirty;
	machine_tear_down(m);
	assert_int_equal(closed_with, BENCH_VM);
	assert_int_equal(m->vm.fd, -1);
	assert_int_equal(bench.flags[0], 0);
	closed_with = 0;
	machine_tear_down(m); /* at its end */
	assert_int_equal(closed_with, 0);
	machine_log_end(m, &dirty); /* late, and harmless */
	for (uint32_t i = 0; i < BENCH_CPUS; i++)
		m->vcpus[i].run = NULL;
	ended(m);
}

static bool all_wait(const struct machine *m)
{
	for (uint32_t i = 0; i < m->n_vcpus; i++)
		if (!__atomic_load_n(&m->vcpus[i].parked, __ATOMIC_SEQ_CST))
			return false;
	return true;
}

static unsigned runs(void)
{
	return __atomic_load_n(&bench.settled, __ATOMIC_SEQ_CST);
}

/* One thread that cannot be made gives the machine back to who has it: then none has run. */
static void no_cpu_runs_before_all_threads_are_there(void **state)
{
	struct machine *m = running();
	struct kvm_run *pages[BENCH_CPUS];

	(void)state;
	m->running = m->pause.paused = false;
	gate_init(&m->gate);
	for (uint32_t i = 0; i < BENCH_CPUS; i++) {
		pages[i] = m->vcpus[i].run;
		m->vcpus[i].gate = &m->gate;
		m->vcpus[i].parked = false;
	}
	assert_int_equal(machine_make_threads(m, NULL), 0);
	while (!all_wait(m))
		sched_yield();
	usleep(10000);
	assert_int_equal(runs(), 0);
	machine_let_in(m);
	while (runs() < BENCH_CPUS)
		sched_yield();
	machine_tear_down(m);
	gate_destroy(&m->gate);
	for (uint32_t i = 0; i < BENCH_CPUS; i++)
		m->vcpus[i].run = pages[i];
	ended(m);
}

/* It has come and stands; its clock, which does not, is one that cannot go on. */
static struct machine *one_that_cannot_go_on(void)
{
	static const struct vmstate_parts nothing;
	struct machine *m = running();
	struct counted_clock now = liveclock_get(&m->chipset.clock);
	const struct vmt_reading at = {.counter = now.clock.base_counter};

	bench_show_clock(m);
	assert_int_equal(vmt_clock_start(1000000000, &at, &now.clock, NULL), 0);
	liveclock_set(&m->chipset.clock, &now);
	m->running = false;
	m->incoming = &nothing;
	m->arrival = MACHINE_FINISHED;
	m->pause.config = machine_pause_config(m);
	return m;
}

static void a_file_is_emptied_when_nothing_can_fail_any_more(void **state)
{
	struct folder folder = folder_new();
	struct machine *m = one_that_cannot_go_on();
	const struct console_config config = {CONSOLE_FILE, folder.file};
	const struct console_port port = ports_console(&m->ports, 0);
	struct event_base *base = event_base_new();
	struct kvm_run *pages[BENCH_CPUS];
	struct machine_end end;
	struct why why = {""};

	(void)state;
	for (uint32_t i = 0; i < BENCH_CPUS; i++)
		pages[i] = m->vcpus[i].run;
	folder_write(folder.file, "precious");
	assert_int_equal(console_open(&config, base, &port, &m->ports.serial[0].console, NULL), 0);
	assert_int_equal(machine_run(m, &end, &why), -EIO);
	assert_non_null(strstr(why.text, "cannot go on"));
	assert_int_equal(console_close(m->ports.serial[0].console, NULL), 0);
	assert_true(folder_holds(folder.file, "precious"));
	for (uint32_t i = 0; i < BENCH_CPUS; i++)
		m->vcpus[i].run = pages[i];
	event_base_free(base);
	folder_remove(&folder);
	ended(m);
}

/* ... and those that are there can be ended. */
static void who_waits_to_run_can_be_sent_away(void **state)
{
	struct machine *m = running();

	(void)state;
	m->running = m->pause.paused = false;
	gate_init(&m->gate);
	for (uint32_t i = 0; i < BENCH_CPUS; i++)
		m->vcpus[i].gate = &m->gate;
	assert_int_equal(machine_make_threads(m, NULL), 0);
	machine_tear_down(m);
	assert_false(m->shut);
	gate_destroy(&m->gate);
	ended(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_log_by_hand_begins_with_all_pages_and_watches_none),
		cmocka_unit_test(one_log_at_a_time),
		cmocka_unit_test(what_vmtime_writes_into_a_page_of_the_guests_is_sent),
		cmocka_unit_test(nobody_asks_a_vm_that_is_closed),
		cmocka_unit_test(no_cpu_runs_before_all_threads_are_there),
		cmocka_unit_test(who_waits_to_run_can_be_sent_away),
		cmocka_unit_test(a_file_is_emptied_when_nothing_can_fail_any_more),
	};

	if (thread_catch_kicks() < 0)
		return 1;
	return cmocka_run_group_tests_name("machine_parts", tests, NULL, NULL);
}
