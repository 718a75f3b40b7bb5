/* SPDX-License-Identifier: Apache-2.0 */
/* pause_lapic_test.c - a machine stands still and goes on: what becomes of the timers of its local
 * APICs that count down. */
#include "pause_bench.h"

/* To the tick, but for what passes while KVM answers. */
static void as_much_as_at_the_stop(const struct pause *p, uint32_t left, const struct kvm *then)
{
	enum { ANSWER_TICKS = 50000 };
	uint32_t off = (left + PERIOD - left_at(then, p->from.tsc, host_khz)) % PERIOD;

	assert_true(off < ANSWER_TICKS || off > PERIOD - ANSWER_TICKS);
}

static void a_timer_that_counts_down_has_as_much_left(void **state)
{
	struct pause p;
	struct bench *b = counting(&p, ONE_SHOT, PERIOD - 1);
	const struct kvm then[CPUS] = {kvm[0], kvm[1]};

	(void)state;
	assert_int_equal(kvm[0].entered, 0);
	*reg(&kvm[0], IRR) = 0x11; /* it fired meanwhile, and somebody raised a line */
	goes_on(&p, VMT_POLICY_FREEZE);
	assert_int_equal(kvm[0].lapics_set, 1);
	assert_int_equal(*reg(&kvm[0], IRR), 0x10);
	for (int cpu = 0; cpu < CPUS; cpu++)
		as_much_as_at_the_stop(&p, kvm[cpu].left_set, &then[cpu]);
	take_down(b);
}

/* Given at left_tsc what it shall have left, which is less than a count since some earlier reading
 * would make of it. */
static void a_timer_that_was_just_given_keeps_what_it_was_given(void **state)
{
	const uint32_t given = PERIOD / 2;
	struct pause p;
	struct bench *b = counting(&p, ONE_SHOT, given);
	struct pause_config config = p.config;
	struct pause_instant from = p.from;
	struct vmt_clock then;

	(void)state;
	goes_on(&p, VMT_POLICY_FREEZE);
	then = liveclock_get(&b->chipset->clock).clock;
	from.at.counter = then.base_counter;
	sleep_ms(20);
	for (int cpu = 0; cpu < CPUS; cpu++) {
		*reg(&kvm[cpu], CURRENT) = kvm[cpu].ran_from = given;
		kvm[cpu].ran_tsc = b->vcpus[cpu].left_tsc = hostclock_tsc();
	}
	sleep_ms(5);
	assert_int_equal(pause_begin_at(&p, &config, &from, &then, NULL), 0);
	/* a tick is 2 ns; the looks take their time */
	for (int cpu = 0; cpu < CPUS; cpu++)
		assert_in_range(p.timers[cpu].left, given - 5000, given + 5000);
	goes_on(&p, VMT_POLICY_FREEZE);
	take_down(b);
}

static void a_shot_that_is_fired_is_not_fired_again(void **state)
{
	struct pause p;
	struct bench *b = counting(&p, ONE_SHOT, 0);

	(void)state;
	goes_on(&p, VMT_POLICY_FREEZE);
	assert_int_equal(kvm[0].lapics_set, 0);
	take_down(b);
}

static void a_period_keeps_its_phase(void **state)
{
	struct pause p;
	struct bench *b = counting_for(&p, PERIODIC, PERIOD / 2, 3, false);
	const struct kvm then[CPUS] = {kvm[0], kvm[1]};

	(void)state;
	assert_int_equal(kvm[0].entered, 0);
	goes_on(&p, VMT_POLICY_FREEZE);
	for (int cpu = 0; cpu < CPUS; cpu++) {
		as_much_as_at_the_stop(&p, kvm[cpu].left_set, &then[cpu]);
		assert_int_equal(*reg(&kvm[cpu], IRR), 0);
	}
	take_down(b);
	b = counting(&p, PERIODIC, PERIOD / 2);
	goes_on(&p, VMT_POLICY_CONTINUE);
	assert_int_equal(kvm[0].lapics_set, 0);
	take_down(b);
}

/* The thread was out of the guest, and may still be. */
static void a_period_that_ended_unseen_is_no_interrupt_less(void **state)
{
	struct pause p;
	struct bench *b = counting_for(&p, PERIODIC, SOON, 3, true);

	(void)state;
	goes_on(&p, VMT_POLICY_FREEZE);
	for (int cpu = 0; cpu < CPUS; cpu++)
		assert_int_equal(*reg(&kvm[cpu], IRR), 1);
	take_down(b);
}

/* One that ended while time stood still is none. */
static void a_period_that_did_not_end_is_no_interrupt_more(void **state)
{
	struct pause p;
	struct bench *b = counting_for(&p, PERIODIC, SOON, 3, false);

	(void)state;
	for (int cpu = 0; cpu < CPUS; cpu++)
		*reg(&kvm[cpu], IRR) = 1;
	goes_on(&p, VMT_POLICY_FREEZE);
	for (int cpu = 0; cpu < CPUS; cpu++)
		assert_int_equal(*reg(&kvm[cpu], IRR), 0);
	take_down(b);
}

/* A machine whose first timer had not met its end when it was stopped. */
static struct bench *counting_still(struct pause *p, uint32_t mode, uint32_t left)
{
	struct bench *b = counting(p, mode, left);

	while (p->timers[0].left > left) { /* this thread had to wait for a CPU */
		goes_on(p, VMT_POLICY_FREEZE);
		take_down(b);
		b = counting(p, mode, left);
	}
	return b;
}

/* A snapshot was made meanwhile: KVM was told that time stood still. */
static void what_was_taken_back_to_be_saved_goes_on(void **state)
{
	static const uint32_t modes[] = {ONE_SHOT, PERIODIC};
	const uint32_t lefts[] = {PERIOD - 1, SOON};
	struct chipset_change change;
	struct pause p;

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		struct bench *b = counting_still(&p, modes[i], lefts[i]);
		const uint32_t left = p.timers[0].left;
		uint32_t passed;

		sleep_ms(3);
		*reg(&kvm[0], IRR) = 0x11; /* it fired meanwhile, and somebody raised a line */
		assert_int_equal(lapic_hold(&b->vcpus[0], 0, &p.timers[0]), 0);
		assert_int_equal(*reg(&kvm[0], INITIAL), 0);
		assert_int_equal(*reg(&kvm[0], IRR), 0x10);
		*reg(&kvm[0], IRR) = 0;
		assert_int_equal(lapic_go(&b->vcpus[0], &p.timers[0]), 0);
		assert_int_equal(*reg(&kvm[0], INITIAL), PERIOD);
		assert_int_equal(kvm[0].left_set, left);
		change = goes_on(&p, VMT_POLICY_CONTINUE);
		passed = (uint32_t)(change.gap_ns / 2);
		assert_int_equal(kvm[0].left_set,
				 passed < left ? left - passed : PERIOD - (passed - left) % PERIOD);
		assert_int_equal(*reg(&kvm[0], IRR), modes[i] == PERIODIC && passed >= left);
		assert_int_equal(kvm[1].lapics_set, 0);
		take_down(b);
	}
}

/* Due in the gap: KVM takes 0 for a shot that is due now. */
static void a_shot_that_fell_due_since_it_was_saved_comes_at_once(void **state)
{
	struct pause p;
	struct bench *b = counting(&p, ONE_SHOT, PERIOD - 1);

	(void)state;
	p.timers[0].left = 1000;
	assert_int_equal(lapic_go(&b->vcpus[0], &p.timers[0]), 0);
	goes_on(&p, VMT_POLICY_CONTINUE);
	assert_int_equal(kvm[0].left_set, 0);
	take_down(b);
}

/* ... and a deadline is armed when the TSC is where it is to be, for KVM looks at it then. */
static void a_deadline_that_was_held_is_armed_for_its_count(void **state)
{
	static const uint32_t policies[] = {VMT_POLICY_FREEZE, VMT_POLICY_CONTINUE};
	struct pause p;

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		struct bench *b = standing(&p);

		kvm[1].deadline = 76; /* it had come */
		for (int cpu = 0; cpu < CPUS; cpu++)
			assert_int_equal(lapic_hold(&b->vcpus[cpu], 76, &p.timers[cpu]), 0);
		assert_int_equal(kvm[0].deadline, 0);
		assert_int_equal(kvm[1].deadline, 76);
		assert_int_equal(lapic_hold(&b->vcpus[0], 76, &p.timers[0]), 0);
		p.from.beside.suspended_ns -= 3 * (int64_t)MS; /* the TSC did not count it */
		goes_on(&p, policies[i]);
		assert_true(kvm[0].offset != OFFSET);
		for (int cpu = 0; cpu < CPUS; cpu++)
			assert_int_equal(kvm[cpu].deadline, 77 - cpu);
		assert_int_equal(kvm[0].armed, 1);
		assert_true(kvm[0].armed_offset == kvm[0].offset);
		take_down(b);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_timer_that_counts_down_has_as_much_left),
		cmocka_unit_test(a_timer_that_was_just_given_keeps_what_it_was_given),
		cmocka_unit_test(a_shot_that_is_fired_is_not_fired_again),
		cmocka_unit_test(a_period_keeps_its_phase),
		cmocka_unit_test(a_period_that_ended_unseen_is_no_interrupt_less),
		cmocka_unit_test(a_period_that_did_not_end_is_no_interrupt_more),
		cmocka_unit_test(what_was_taken_back_to_be_saved_goes_on),
		cmocka_unit_test(a_deadline_that_was_held_is_armed_for_its_count),
		cmocka_unit_test(a_shot_that_fell_due_since_it_was_saved_comes_at_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
