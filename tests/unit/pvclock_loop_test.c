/* SPDX-License-Identifier: Apache-2.0 */
/* pvclock_loop_test.c - whom the loop of a VM's kvm-clock disturbs, and when it begins again. */
#include <pthread.h>

#include "pvclock_bench.h"

static void make_late(struct bench *b)
{
	b->p.quiet_ns = 0;
	b->p.loop.start_host_ns -= 1000000; /* a millisecond, for long */
	b->p.loop.changed_host_ns -= 10 * NS_PER_S;
}

static int64_t discipline_of(const struct bench *b)
{
	return liveclock_get(&b->chipset->clock).clock.discipline_ppt;
}

static void a_guest_without_pages_is_not_stopped_for_them(void **state)
{
	struct bench *b = bench_on(true, true, true);

	(void)state;
	make_late(b);
	tick(b);
	assert_true(discipline_of(b) > 0);
	assert_false(b->run[0].immediate_exit || b->run[1].immediate_exit);
	take_down(b);
	b = bench_on(false, true, true);
	tick(b);
	assert_false(b->run[0].immediate_exit || b->run[1].immediate_exit);
	take_down(b);
}

static void *tick_once(void *arg)
{
	tick(arg);
	return NULL;
}

/* Here this thread is the CPU that has the gate to write that page. */
static void a_first_page_in_the_middle_of_a_tick_stays_as_announced(void **state)
{
	struct bench *b = bench_on(true, true, true);
	pthread_t ticks;

	(void)state;
	assert_true(pvclock_wrmsr(&b->p, 0, VMT_MSR_KVM_SYSTEM, PAGE | 1));
	make_late(b);
	gate_shut(&b->gate);
	assert_int_equal(pthread_create(&ticks, NULL, tick_once, b), 0);
	until_it_waits_at(&b->gate);
	pthread_mutex_lock(&b->p.lock);
	b->p.quiet_ns = UINT64_MAX;
	pthread_mutex_unlock(&b->p.lock);
	gate_open(&b->gate);
	pthread_join(ticks, NULL);
	assert_int_equal(discipline_of(b), 0);
	take_down(b);
}

/* The clock was anchored between the look and the start. */
static void a_loop_that_could_not_start_does_at_the_next_tick(void **state)
{
	struct bench *b = bench_on(true, true, true);
	const struct counted_clock clock = liveclock_get(&b->chipset->clock);
	struct counted_clock later = clock;
	uint64_t bound_ns;
	int64_t phase_ns;
	struct chipset_change change;

	(void)state;
	later.clock.base_counter += 1000 * clock.clock.counter_hz;
	liveclock_set(&b->chipset->clock, &later);
	b->p.loop.last.counter /= 2;
	b->p.checked_ns = hostclock_monotonic_ns();
	assert_true(pvclock_tick(&b->p, &change));
	assert_false(pvclock_phase(&b->p, &phase_ns, &bound_ns));
	liveclock_set(&b->chipset->clock, &clock);
	tick(b);
	assert_true(pvclock_phase(&b->p, &phase_ns, &bound_ns));
	take_down(b);
}

/* What one host's loop was about to make up for another host's loop does. */
static void what_was_late_on_the_old_host_is_caught_up_with_on_this_one(void **state)
{
	const int64_t late_ns = 200000;
	struct bench *b = bench_on(true, true, true);
	uint64_t start_ns = b->p.loop.start_ns, bound_ns;
	int64_t phase_ns;

	(void)state;
	pvclock_owe(&b->p, -(int64_t)start_ns - 1); /* longer than it has run: nonsense */
	assert_true(b->p.loop.start_ns == start_ns);
	pvclock_owe(&b->p, late_ns + 5);
	pvclock_owe(&b->p, -5);
	b->p.quiet_ns = 0;
	b->p.loop.changed_host_ns -= 10 * NS_PER_S;
	tick(b);
	assert_true(pvclock_phase(&b->p, &phase_ns, &bound_ns));
	assert_in_range(phase_ns, late_ns / 2, late_ns * 3 / 2);
	assert_true(discipline_of(b) > 0);
	take_down(b);
}

/* A machine from a file: it had counted a little fast when it stopped, for longer than a page's
 * line is made for. */
static void a_line_that_nobody_saw_does_not_bind(void **state)
{
	const uint64_t counts = 1000000, gap_ns = 1000, slack_ns = 100;
	struct bench *b = bench();
	uint64_t count;
	struct entry e;

	(void)state;
	assert_true(pvclock_wrmsr(&b->p, 0, VMT_MSR_KVM_SYSTEM, PAGE | 1));
	b->p.face.tsc = count = vmt_tsc_line(&b->tsc, hostclock_tsc()) - counts;
	b->p.face.ns = chipset_now(b->chipset) - gap_ns;
	pvclock_shut(&b->p);
	pvclock_go(&b->p, count, b->p.face.ns, false);
	gate_open(&b->gate);
	e = entry_at(b, PAGE);
	for (int i = 0; i < 100; i++) {
		vmt_ns before = chipset_now(b->chipset);
		uint64_t ns = guest_ns(&e, hostclock_tsc() + OFFSET);

		assert_in_range(ns + slack_ns, before, chipset_now(b->chipset) + slack_ns);
	}
	take_down(b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_guest_without_pages_is_not_stopped_for_them),
		cmocka_unit_test(a_first_page_in_the_middle_of_a_tick_stays_as_announced),
		cmocka_unit_test(a_loop_that_could_not_start_does_at_the_next_tick),
		cmocka_unit_test(what_was_late_on_the_old_host_is_caught_up_with_on_this_one),
		cmocka_unit_test(a_line_that_nobody_saw_does_not_bind),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
