/* SPDX-License-Identifier: Apache-2.0 */
/* pause_test.c - a machine stands still and goes on: what becomes of its clock, of its pages, and
 * of what KVM keeps. */
#include <pthread.h>

#include "pause_bench.h"

static void no_instant_is_two(void **state)
{
	struct pause p;
	struct bench *b = standing(&p);
	vmt_ns stood = chipset_now(b->chipset);

	(void)state;
	sleep_ms(2);
	assert_int_equal(chipset_now(b->chipset), stood);
	goes_on(&p, VMT_POLICY_CONTINUE);
	assert_true(chipset_now(b->chipset) > stood);
	take_down(b);
}

/* What the guest computes from its page is the virtual clock. */
static void the_page_is_within(struct bench *b, uint64_t ns)
{
	struct entry e = entry_at(b, PAGE);
	uint64_t lo = hostclock_tsc();
	vmt_ns now = chipset_now(b->chipset);
	uint64_t hi = hostclock_tsc();
	vmt_ns least = guest_ns(&e, vmt_tsc_line(&b->tsc, lo));
	vmt_ns most = guest_ns(&e, vmt_tsc_line(&b->tsc, hi));

	assert_int_equal(e.flags, VMT_KVMCLOCK_STABLE | VMT_KVMCLOCK_STOPPED);
	assert_true(least <= now + ns && now <= most + ns);
}

static void the_page_is_right(struct bench *b)
{
	the_page_is_within(b, 1);
}

static void what_went_on_is_all_there(void **state)
{
	struct pause p;
	struct bench *b = standing(&p);
	vmt_ns stood = chipset_now(b->chipset);
	struct chipset_change change;

	(void)state;
	sleep_ms(5);
	change = goes_on(&p, VMT_POLICY_CONTINUE);
	assert_int_equal(change.kind, VMT_CHANGE_RESUME);
	assert_int_equal(change.policy, VMT_POLICY_CONTINUE);
	assert_true(change.gap_ns >= 5 * MS);
	assert_int_equal(change.before_ns, stood);
	assert_in_range(change.after_ns - change.before_ns, change.gap_ns, change.gap_ns + 1);
	for (int cpu = 0; cpu < CPUS; cpu++) {
		assert_true(kvm[cpu].offset == OFFSET);
		assert_int_equal(kvm[cpu].armed,
				 0); /* it goes by the host's clock, and has gone on */
		assert_int_equal(kvm[cpu].lapics_set, 0);
	}
	the_page_is_right(b);
	take_down(b);
}

/* It was made to catch up within a second, and nobody has read it since. */
static void what_the_old_line_would_show_does_not_bind(void **state)
{
	struct pause p;
	struct bench *b = standing(&p);

	(void)state;
	b->p.face.mul += b->p.face.mul / 1000;
	sleep_ms(50);
	goes_on(&p, VMT_POLICY_CONTINUE);
	the_page_is_within(b, 10000); /* it has run for some time before the stop */
	take_down(b);
}

static void the_tsc_is_back_by_at(const struct bench *b, int cpu, uint64_t gap_ns)
{
	uint64_t ns = (OFFSET - kvm[cpu].offset) * 1000000 / b->tsc.host.khz;

	assert_in_range(ns, gap_ns - 1000, gap_ns + 1000);
}

static void the_tsc_is_back_by(const struct bench *b, uint64_t gap_ns)
{
	the_tsc_is_back_by_at(b, 0, gap_ns);
}

static void what_stood_still_is_where_it_was(void **state)
{
	struct pause p;
	struct bench *b = standing(&p);
	vmt_ns stood = chipset_now(b->chipset);
	struct chipset_change change;

	(void)state;
	sleep_ms(5);
	change = goes_on(&p, VMT_POLICY_FREEZE);
	assert_int_equal(change.policy, VMT_POLICY_FREEZE);
	assert_int_equal(change.before_ns, stood);
	assert_int_equal(change.after_ns, stood);
	the_tsc_is_back_by(b, change.gap_ns);
	for (int cpu = 0; cpu < CPUS; cpu++) {
		assert_true(kvm[cpu].offset == kvm[0].offset);
		assert_int_equal(kvm[cpu].armed, 1);
		assert_int_equal(kvm[cpu].deadline, 77);
		assert_int_equal(kvm[cpu].lapics_set, 0);
	}
	/* UTC went on: the offset takes what time did not. */
	assert_in_range(change.utc_after_ns - change.utc_before_ns, change.gap_ns, INT64_MAX);
	the_page_is_right(b);
	take_down(b);
}

static void auto_looks_at_what_the_guest_tells_the_time_by(void **state)
{
	struct pause p;
	struct bench *b = counting(&p, DEADLINE, 0);
	struct chipset_change change;

	(void)state;
	goes_on(&p, VMT_POLICY_CONTINUE);
	/* A guest without pages whose PIT ticks every ms, and late ticks are dropped. */
	assert_true(chipset_write(b->chipset, VMT_PIO, 0x43, 1, 0x34));
	assert_true(chipset_write(b->chipset, VMT_PIO, 0x40, 1, 0xa9));
	assert_true(chipset_write(b->chipset, VMT_PIO, 0x40, 1, 0x04));
	sleep_ms(1); /* the chip takes the count with its next clock */
	assert_int_equal(pause_begin(&p, &p.config, NULL), 0);
	sleep_ms(5);
	change = goes_on(&p, VMT_POLICY_AUTO);
	assert_int_equal(change.policy, VMT_POLICY_FREEZE);
	assert_true(pvclock_wrmsr(&b->p, 1, VMT_MSR_KVM_SYSTEM, PAGE | 1));
	assert_int_equal(pause_begin(&p, &p.config, NULL), 0);
	sleep_ms(5);
	change = goes_on(&p, VMT_POLICY_AUTO);
	assert_int_equal(change.policy, VMT_POLICY_CONTINUE);
	/* Where the TSC cannot be taken back nothing else stands still, either. */
	p.config.movable = false;
	assert_int_equal(pause_begin(&p, &p.config, NULL), 0);
	change = goes_on(&p, VMT_POLICY_FREEZE);
	assert_int_equal(change.policy, VMT_POLICY_CONTINUE);
	take_down(b);
}

/* A machine that has come from another host: its clock ran while its CPUs were given their state,
 * and while that could still be undone. */
static void what_stands_since_a_reading_has_not_run_at_all(void **state)
{
	struct pause p;
	struct bench *b = standing(&p);
	struct pause_config config = p.config;
	struct counted_clock live;
	struct pause_instant from;
	struct vmt_clock then;
	struct chipset_change change;

	(void)state;
	goes_on(&p, VMT_POLICY_CONTINUE);
	live = liveclock_get(&b->chipset->clock);
	assert_int_equal(pause_look(live.tsc, b->tsc.host.khz, &from), 0);
	assert_int_equal(vmt_clock_discipline(&live.clock, from.at.counter,
					      live.clock.discipline_ppt, &then, NULL),
			 0);
	sleep_ms(5);
	assert_true(chipset_now(b->chipset) >= then.base_ns + 5 * MS);
	p = (struct pause){0};
	assert_int_equal(pause_begin_at(&p, &config, &from, &then, NULL), 0);
	assert_true(chipset_now(b->chipset) == then.base_ns);
	assert_true(p.tsc_count == vmt_tsc_line(&b->tsc, from.tsc));
	sleep_ms(5);
	change = goes_on(&p, VMT_POLICY_FREEZE);
	assert_int_equal(change.after_ns, then.base_ns);
	assert_true(change.gap_ns >= 10 * MS); /* all of it */
	the_page_is_right(b);
	take_down(b);
}

/* While the machine stopped a thread wanted a counter, noted when, and waited for the lock. */
static void a_counter_wanted_at_the_stop_counts_as_read(void **state)
{
	struct pause p;
	struct bench *b = standing(&p);
	vmt_ns now = chipset_now(b->chipset);
	uint32_t clock;

	(void)state;
	b->chipset->hpet_read = now + 1000;
	(void)pause_limit(&p.config, now, &clock);
	assert_int_equal(clock, VMT_GAP_HPET);
	b->chipset->pm_timer_read = now + 1000;
	(void)pause_limit(&p.config, now, &clock);
	assert_int_equal(clock, VMT_GAP_PMTMR);
	goes_on(&p, VMT_POLICY_CONTINUE);
	take_down(b);
}

/* Linux reads the PM timer when it boots, and goes by another clock from then on: no gap is too
 * long because of that, least of all one of 0 once half its round has passed. */
static void a_counter_that_has_come_round_unread_tells_nobody_the_time(void **state)
{
	struct pause p;
	struct bench *b = standing(&p);
	const vmt_ns now = chipset_now(b->chipset) + 60000 * MS;
	uint32_t clock;

	(void)state;
	b->chipset->pm_timer_read = now - 3000 * MS;
	assert_true(pause_limit(&p.config, now, &clock) >= 60000 * MS);
	assert_int_not_equal(clock, VMT_GAP_PMTMR);
	b->chipset->pm_timer_read = now - 2000 * MS;
	assert_in_range(pause_limit(&p.config, now, &clock), 1, 500 * MS);
	assert_int_equal(clock, VMT_GAP_PMTMR);
	b->chipset->hpet_read = now - 9000 * MS; /* its round is longer */
	b->chipset->pm_timer_read = 0;
	(void)pause_limit(&p.config, now, &clock);
	assert_int_equal(clock, VMT_GAP_HPET);
	goes_on(&p, VMT_POLICY_CONTINUE);
	take_down(b);
}

/* It has come from another host, and its guest has read nothing here yet. */
static void a_guest_that_has_just_come_can_take_what_it_could_there(void **state)
{
	struct pause p;
	struct bench *b = standing(&p);
	const vmt_ns came = chipset_now(b->chipset) + 100000 * MS;
	uint32_t clock;

	(void)state;
	p.config.came_ns = came;
	p.config.came_limit_ns = 2300 * MS;
	assert_int_equal(pause_limit(&p.config, came, &clock), 2300 * MS);
	assert_int_equal(clock, 0);
	assert_int_equal(pause_limit(&p.config, came + 800 * MS, NULL), 1500 * MS);
	/* it has not read for so long that it cannot tell the time by that */
	assert_true(pause_limit(&p.config, came + 2300 * MS, &clock) > 60000 * MS);
	b->chipset->pm_timer_read = came + 700 * MS; /* and now it is seen what it reads */
	(void)pause_limit(&p.config, came + 800 * MS, &clock);
	assert_int_equal(clock, VMT_GAP_PMTMR);
	goes_on(&p, VMT_POLICY_CONTINUE);
	take_down(b);
}

/* Until it ran here time has gone on beyond the gap that it was loaded by. */
static void what_is_left_of_a_gap_is_judged_by_what_the_guest_can_still_take(void **state)
{
	(void)state;
	for (int enough = 0; enough < 2; enough++) {
		struct pause p;
		struct bench *b = standing(&p);
		struct pause_config config = p.config;
		struct counted_clock live;
		struct pause_instant from;
		struct chipset_change change;

		goes_on(&p, VMT_POLICY_CONTINUE);
		live = liveclock_get(&b->chipset->clock);
		assert_int_equal(pause_look(live.tsc, b->tsc.host.khz, &from), 0);
		config.came_ns = live.clock.base_ns;
		config.came_limit_ns = enough ? 60000 * MS : 1 * MS;
		p = (struct pause){0};
		assert_int_equal(pause_begin_at(&p, &config, &from, &live.clock, NULL), 0);
		sleep_ms(5);
		change = goes_on(&p, VMT_POLICY_AUTO);
		assert_int_equal(change.policy, enough ? VMT_POLICY_CONTINUE : VMT_POLICY_FREEZE);
		take_down(b);
	}
}

static void what_kvm_refuses_can_be_tried_again(void **state)
{
	struct pause p;
	struct bench *b = standing(&p);
	vmt_ns stood = chipset_now(b->chipset);
	struct chipset_change change;
	struct why why = {{0}};
	uint64_t limit_ns;
	uint32_t clock;

	(void)state;
	kvm[1].forgets_offsets = true;
	assert_int_equal(pause_end(&p, VMT_POLICY_FREEZE, &change, &limit_ns, &clock, &why), -EIO);
	assert_true(why.text[0]);
	assert_true(p.paused && b->gate.closed);
	assert_int_equal(chipset_now(b->chipset), stood);
	kvm[1].forgets_offsets = false;
	sleep_ms(2);
	change = goes_on(&p, VMT_POLICY_FREEZE);
	the_tsc_is_back_by(b, change.gap_ns);
	assert_int_equal(change.after_ns, stood);
	the_page_is_right(b);
	take_down(b);
}

/* As if the host's TSC had shown so much more when the machine stopped: it began anew since. */
static void the_tsc_showed_more(struct pause *p, struct bench *b, uint64_t counts)
{
	struct counted_clock now = liveclock_get(&b->chipset->clock);

	now.clock.base_counter += counts;
	liveclock_set(&b->chipset->clock, &now);
	p->from.tsc += counts;
	p->from.at.counter += counts;
	p->from.host.counter += counts;
	vmt_tsc_set(&b->tsc, p->from.tsc, p->tsc_count);
}

static void goes_on_by_the_clock(struct pause *p, struct bench *b, uint32_t policy)
{
	const vmt_ns stood = chipset_now(b->chipset);
	const uint64_t count = p->tsc_count;
	struct chipset_change change;
	uint64_t before_tsc, passed_ns;

	sleep_ms(5);
	before_tsc = hostclock_tsc();
	change = goes_on(p, policy);
	assert_in_range(change.gap_ns, 5 * MS, 60 * NS_PER_S);
	assert_in_range(change.after_ns, stood, stood + change.gap_ns + 1);
	assert_int_equal((uint64_t)change.after_ns > stood, policy == VMT_POLICY_CONTINUE);
	passed_ns = (vmt_tsc_line(&b->tsc, hostclock_tsc()) - count) * 1000000 / b->tsc.host.khz;
	assert_in_range(passed_ns, policy == VMT_POLICY_CONTINUE ? 5 * MS : 0, 60 * NS_PER_S);
	assert_true(kvm[1].offset == vmt_tsc_offset(&b->tsc, 1));
	assert_in_range(liveclock_get(&b->chipset->clock).clock.base_counter, before_tsc,
			hostclock_tsc());
	the_page_is_right(b);
}

static void a_tsc_that_began_anew_meanwhile_is_counted_by_the_clock(void **state)
{
	static const uint32_t policies[] = {VMT_POLICY_CONTINUE, VMT_POLICY_FREEZE};

	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		struct pause p;
		struct bench *b = standing(&p);
		uint64_t hundred_s = (uint64_t)b->tsc.host.khz * 100000;

		/* It is behind what it was, or ahead of what it would be. */
		the_tsc_showed_more(&p, b, i < 2 ? UINT64_C(1) << 60 : -hundred_s);
		goes_on_by_the_clock(&p, b, policies[i % 2]);
		take_down(b);
	}
}

/* It counts while the host is suspended, as CLOCK_BOOTTIME does; the loop is shown that clock, not
 * CLOCK_MONOTONIC, by which it would correct the whole gap. */
static void a_tsc_that_counts_through_a_suspend_is_believed(void **state)
{
	const uint64_t began_ns = hostclock_monotonic_ns();
	struct pause p;
	struct bench *b = standing_on(bench_on(true, true, true), &p);
	struct chipset_change change;

	(void)state;
	assert_true(b->p.looped);
	the_tsc_showed_more(&p, b, -(uint64_t)b->tsc.host.khz * 100000);
	p.from.beside.suspended_ns -= (int64_t)(100 * NS_PER_S);
	change = goes_on(&p, VMT_POLICY_CONTINUE);
	assert_in_range(change.gap_ns, 100 * NS_PER_S - MS / 10,
			100 * NS_PER_S + MS / 10 + hostclock_monotonic_ns() - began_ns);
	the_page_is_right(b);
	take_down(b);
}

/* One that does not is taken to have, and so are timers and what waits for its counts. */
static void a_tsc_that_stands_still_through_a_suspend_is_moved(void **state)
{
	static const uint32_t policies[] = {VMT_POLICY_CONTINUE, VMT_POLICY_FREEZE};

	(void)state;
	for (int i = 0; i < 2; i++) {
		struct pause p;
		struct bench *b = standing(&p);
		const uint64_t least_ns = i ? 0 : 100 * NS_PER_S - MS;
		struct chipset_change change;
		uint64_t passed_ns;

		p.from.beside.suspended_ns -= (int64_t)(100 * NS_PER_S);
		change = goes_on(&p, policies[i]);
		assert_in_range(change.gap_ns, 100 * NS_PER_S - MS, 160 * NS_PER_S);
		passed_ns = (vmt_tsc_line(&b->tsc, hostclock_tsc()) - p.tsc_count) * 1000000 /
			    b->tsc.host.khz;
		assert_in_range(passed_ns, least_ns, least_ns + 60 * NS_PER_S);
		assert_in_range(chipset_now(b->chipset) - (vmt_ns)change.before_ns, least_ns,
				least_ns + 60 * NS_PER_S);
		assert_int_equal(kvm[0].armed, 1);
		the_page_is_right(b);
		take_down(b);
	}
}

/* Its kernel knows the time that it slept as well as its battery clock does, and goes by that. */
static void a_suspend_is_as_long_as_the_hosts_clock_says(void **state)
{
	struct pause p;
	struct bench *b = standing(&p);
	struct chipset_change change;
	uint64_t passed_ns;

	(void)state;
	the_tsc_showed_more(&p, b, -(uint64_t)b->tsc.host.khz * 100090);
	p.from.beside.suspended_ns -= (int64_t)(100 * NS_PER_S);
	change = goes_on(&p, VMT_POLICY_CONTINUE);
	passed_ns = hostclock_monotonic_ns() - p.from.host.host_ns;
	assert_in_range(change.gap_ns, 100 * NS_PER_S - MS, 100 * NS_PER_S + MS + passed_ns);
	the_page_is_right(b);
	take_down(b);
}

static void an_own_date_goes_on_beside_virtual_time(void **state)
{
	struct pause p;
	struct bench *b = standing(&p);
	struct chipset_change change;

	(void)state;
	p.config.own_utc = true;
	sleep_ms(2);
	change = goes_on(&p, VMT_POLICY_CONTINUE);
	assert_in_range(change.utc_after_ns - change.utc_before_ns + 1, 0, 2);
	assert_int_equal(pause_begin(&p, &p.config, NULL), 0);
	sleep_ms(2);
	change = goes_on(&p, VMT_POLICY_FREEZE);
	assert_in_range(change.utc_after_ns - change.utc_before_ns, change.gap_ns - 1,
			change.gap_ns + 1);
	take_down(b);
}

struct write {
	struct bench *b;
	uint32_t cpu, msr;
	uint64_t value;
};

static void *write_msr(void *arg)
{
	const struct write *w = arg;

	(void)pvclock_wrmsr(&w->b->p, w->cpu, w->msr, w->value);
	return NULL;
}

/* Its thread serves the exit when the machine stops. */
static void a_tsc_that_is_written_meanwhile_is_so_afterwards(void **state)
{
	struct pause p;
	struct bench *b = standing(&p);
	struct write w = {.b = b, .msr = VMT_MSR_TSC, .value = UINT64_C(1) << 50};
	struct chipset_change change;
	uint64_t limit_ns, before, count;
	uint32_t clock;
	pthread_t writer;

	(void)state;
	b->p.config.movable = true;
	assert_int_equal(pthread_create(&writer, NULL, write_msr, &w), 0);
	until_it_waits_at(&b->gate);
	assert_true(kvm[0].offset == OFFSET);
	sleep_ms(5);
	before = hostclock_tsc();
	assert_int_equal(pause_end(&p, VMT_POLICY_FREEZE, &change, &limit_ns, &clock, NULL), 0);
	pthread_join(writer, NULL);
	the_tsc_is_back_by_at(b, 1, change.gap_ns);
	assert_true(kvm[0].offset == vmt_tsc_offset(&b->tsc, 0));
	count = vmt_tsc_at(&b->tsc, 0, hostclock_tsc());
	assert_in_range(count - w.value, 0, hostclock_tsc() - before);
	take_down(b);
}

static void *write_often(void *arg)
{
	struct write w = *(const struct write *)arg;

	for (int i = 0; i < 200; i++) {
		w.value = (uint64_t)i << 32;
		(void)write_msr(&w);
		(void)pvclock_wrmsr(&w.b->p, w.cpu, VMT_MSR_KVM_SYSTEM, (PAGE + 64 * w.cpu) | 1);
	}
	return NULL;
}

/* What KVM was told last is what the pages go by, whoever came in between. */
static void cpus_that_write_their_tscs_meet_a_tick_and_a_freeze(void **state)
{
	struct pause p;
	struct bench *b = standing(&p);
	struct write writes[CPUS];
	struct chipset_change change;
	pthread_t writers[CPUS];
	uint64_t limit_ns;
	uint32_t clock;

	(void)state;
	b->p.config.movable = true;
	for (uint32_t cpu = 0; cpu < CPUS; cpu++) {
		writes[cpu] = (struct write){.b = b, .cpu = cpu, .msr = VMT_MSR_TSC_ADJUST};
		assert_int_equal(pthread_create(&writers[cpu], NULL, write_often, &writes[cpu]), 0);
	}
	for (int i = 0; i < 20; i++) {
		assert_int_equal(pause_end(&p, VMT_POLICY_FREEZE, &change, &limit_ns, &clock, NULL),
				 0);
		b->p.written_ns = 0;
		tick(b);
		if (i == 10)
			(void)pvclock_leave_tsc(&b->p, &change);
		assert_int_equal(pause_begin(&p, &p.config, NULL), 0);
	}
	assert_int_equal(pause_end(&p, VMT_POLICY_FREEZE, &change, &limit_ns, &clock, NULL), 0);
	for (uint32_t cpu = 0; cpu < CPUS; cpu++)
		pthread_join(writers[cpu], NULL);
	for (uint32_t cpu = 0; cpu < CPUS; cpu++)
		assert_true(kvm[cpu].offset == vmt_tsc_offset(&b->tsc, cpu));
	take_down(b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(no_instant_is_two),
		cmocka_unit_test(what_went_on_is_all_there),
		cmocka_unit_test(what_the_old_line_would_show_does_not_bind),
		cmocka_unit_test(what_stood_still_is_where_it_was),
		cmocka_unit_test(what_stands_since_a_reading_has_not_run_at_all),
		cmocka_unit_test(auto_looks_at_what_the_guest_tells_the_time_by),
		cmocka_unit_test(a_counter_wanted_at_the_stop_counts_as_read),
		cmocka_unit_test(a_counter_that_has_come_round_unread_tells_nobody_the_time),
		cmocka_unit_test(a_guest_that_has_just_come_can_take_what_it_could_there),
		cmocka_unit_test(what_is_left_of_a_gap_is_judged_by_what_the_guest_can_still_take),
		cmocka_unit_test(what_kvm_refuses_can_be_tried_again),
		cmocka_unit_test(a_tsc_that_began_anew_meanwhile_is_counted_by_the_clock),
		cmocka_unit_test(a_tsc_that_counts_through_a_suspend_is_believed),
		cmocka_unit_test(a_tsc_that_stands_still_through_a_suspend_is_moved),
		cmocka_unit_test(a_suspend_is_as_long_as_the_hosts_clock_says),
		cmocka_unit_test(an_own_date_goes_on_beside_virtual_time),
		cmocka_unit_test(a_tsc_that_is_written_meanwhile_is_so_afterwards),
		cmocka_unit_test(cpus_that_write_their_tscs_meet_a_tick_and_a_freeze),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
