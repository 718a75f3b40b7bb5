/* SPDX-License-Identifier: Apache-2.0 */
/* hpet_timer_test.c - when the three timers interrupt: once, with a period, by level. */
#include "hpet_bench.h"

static void a_one_shot_fires_when_the_counter_comes_to_it(void **state)
{
	struct bench b = counting();

	(void)state;
	b.now = 1003;
	put(&b, CONF(0), 4, INT);
	put(&b, CMP(0), 8, 500);
	assert_int_equal(b.out.deadline, 5000);
	until(&b, 4999);
	assert_int_equal(b.rises[0], 0);
	until(&b, 5000);
	assert_int_equal(b.rises[0], 1);
	assert_int_equal(b.out.level, 0); /* an edge is over at once */
	assert_int_equal(b.out.deadline, VMT_NEVER);
	assert_int_equal(get(&b, STS, 4), 0);
	assert_int_equal(get(&b, CMP(0), 8), 500);
	until(&b, TEN_YEARS);
	assert_int_equal(b.rises[0], 1);
}

static void a_timer_of_32_bits_fires_at_each_round(void **state)
{
	struct bench b = counting();

	(void)state;
	put(&b, CMP(1), 8, UINT64_C(0x700000064));
	put(&b, CONF(1), 4, INT | MODE32);
	assert_int_equal(get(&b, CMP(1), 8), 100);
	put(&b, CMP(1) + 4, 4, 9);
	assert_int_equal(get(&b, CMP(1), 8), 100);
	until(&b, 1000);
	assert_int_equal(b.rises[1], 1);
	assert_int_equal(b.out.deadline, 1000 + ROUND_NS);
	until(&b, 1000 + 1000 * ROUND_NS);
	assert_int_equal(b.rises[1], 1001);
}

static void a_comparator_behind_the_counter_waits_for_the_round(void **state)
{
	struct bench b = counting();

	(void)state;
	b.now = 10000;
	put(&b, CONF(0), 4, INT);
	put(&b, CONF(1), 4, INT | MODE32);
	put(&b, CMP(0), 8, 999);
	assert_int_equal(b.out.deadline, (UINT64_C(1) << 32) * 10 - 10);
	put(&b, CMP(1), 4, 999);
	assert_int_equal(b.out.deadline, ROUND_NS + 9990);
	put(&b, CMP(1), 4, 1000); /* it stands there: passed too */
	assert_int_equal(b.out.deadline, ROUND_NS + 10000);
	put(&b, CMP(1), 4, 1001);
	assert_int_equal(b.out.deadline, 10010);
}

static void comparator_0_fires_when_the_counter_comes_round(void **state)
{
	struct bench b = at(0);

	(void)state;
	put(&b, CONF(0), 4, INT | MODE32);
	put(&b, CMP(0), 4, 0);
	put(&b, GEN, 4, ON);
	assert_int_equal(b.out.deadline, ROUND_NS);
	put(&b, CONF(1), 4, INT); /* of 64 bits, all ones: never in virtual time ... */
	put(&b, CONF(0), 4, 0);
	assert_int_equal(b.out.deadline, VMT_NEVER);
	put(&b, GEN, 4, 0);
	put(&b, CNT, 8, UINT64_MAX - 5); /* ... unless the counter is put near it */
	put(&b, CMP(2), 8, 0);
	put(&b, CONF(2), 4, INT);
	put(&b, GEN, 4, ON);
	assert_int_equal(b.out.deadline, 50);
	until(&b, 60);
	assert_int_equal(b.rises[1], 1);
	assert_int_equal(b.rises[2], 1);
	assert_int_equal(get(&b, CNT, 8), 0);
}

static void ticks_for_linux_100000_times_without_drift(void **state)
{
	struct bench b = linux_periodic(400000); /* 250 Hz */
	vmt_ns start = b.now / 10 * 10;

	(void)state;
	assert_int_equal(vmt_hpet_period_ns(&b.hpet, 0), 4000000);
	for (uint64_t i = 1; i <= 100000; i++) {
		assert_int_equal(b.out.deadline, start + i * 4000000);
		until(&b, b.out.deadline);
		assert_int_equal(b.rises[0], i);
	}
	until(&b, start + TEN_YEARS); /* and all at once */
	assert_int_equal(b.rises[0], TEN_YEARS / 4000000);
	assert_int_equal(b.out.deadline, start + TEN_YEARS + 4000000);
}

static void fast_rates_cost_no_loop(void **state)
{
	static const uint32_t periods[] = {100, 10, 2, 1};

	(void)state;
	for (int i = 0; i < 4; i++) {
		struct bench b = linux_periodic(periods[i]);
		vmt_ns start = b.now / 10 * 10;

		until(&b, start + TEN_YEARS);
		assert_int_equal(b.rises[0], TEN_YEARS / 10 / periods[i]);
		assert_int_equal(b.out.deadline, start + TEN_YEARS + 10 * periods[i]);
	}
}

static void val_set_opens_the_comparator_for_one_write(void **state)
{
	struct bench b = at(0);

	(void)state;
	put(&b, CONF(0), 4, PERIODIC | VAL_SET);
	assert_int_equal(get(&b, CONF(0), 4), PERIODIC | CAN); /* reads 0 */
	put(&b, CMP(0), 8, 0x123);
	assert_int_equal(get(&b, CMP(0), 8), 0x123);
	put(&b, CMP(0), 8, 0x456); /* the period alone */
	assert_int_equal(get(&b, CMP(0), 8), 0x123);
	put(&b, GEN, 4, ON);
	until(&b, 0x123 * 10);
	assert_int_equal(get(&b, CMP(0), 8), 0x123 + 0x456);
	put(&b, CONF(0) + 2, 2, 0); /* bytes that do not hold VAL_SET */
	put(&b, CONF(0), 4, PERIODIC | VAL_SET);
	put(&b, CONF(0) + 1, 1, 0);
	put(&b, CMP(0), 4, 7); /* by halves: set again for the second */
	put(&b, CONF(0), 4, PERIODIC | VAL_SET);
	put(&b, CMP(0) + 4, 4, 9);
	assert_int_equal(get(&b, CMP(0), 8), UINT64_C(9) << 32 | 7);
	put(&b, CONF(0), 4, PERIODIC | VAL_SET);
	put(&b, CONF(0), 4, PERIODIC); /* taken back */
	put(&b, CMP(0), 8, 1);
	put(&b, CONF(0), 4, VAL_SET); /* not in one-shot mode */
	assert_int_equal(b.hpet.timer[0].val_set, 0);
	put(&b, CONF(0), 4, PERIODIC);
	put(&b, CMP(0), 8, 2);
	assert_int_equal(get(&b, CMP(0), 8), UINT64_C(9) << 32 | 7);
}

static void the_comparator_moves_on_by_what_was_written_last(void **state)
{
	struct bench b = at(0);

	(void)state;
	put(&b, CONF(0), 4, INT | PERIODIC | VAL_SET);
	put(&b, CMP(0), 8, 0x123);
	put(&b, GEN, 4, ON);
	until(&b, 0x123 * 10);
	assert_int_equal(get(&b, CMP(0), 8), 0x246);
	until(&b, 0x246 * 10);
	assert_int_equal(get(&b, CMP(0), 8), 0x369);
	assert_int_equal(b.rises[0], 2);
	put(&b, GEN, 4, 0);
	put(&b, CNT, 8, 0xfffeffff);
	put(&b, CONF(0), 4, INT | PERIODIC | VAL_SET | MODE32);
	put(&b, CMP(0), 4, 0xffff0000);
	put(&b, CMP(0), 4, 0x20000);
	put(&b, GEN, 4, ON);
	until(&b, b.now + 20);
	assert_int_equal(b.rises[0], 3);
	assert_int_equal(get(&b, CMP(0), 8), 0x10000);
}

static void period_0_is_a_whole_round(void **state)
{
	struct bench b = counting();

	(void)state;
	put(&b, CONF(0), 4, INT | PERIODIC | VAL_SET | MODE32);
	put(&b, CMP(0), 4, 100);
	put(&b, CMP(0), 4, 0);
	until(&b, 1000);
	assert_int_equal(b.rises[0], 1);
	assert_int_equal(b.out.deadline, 1000 + ROUND_NS);
	assert_int_equal(vmt_hpet_period_ns(&b.hpet, 0), ROUND_NS);
	until(&b, 1000 + 7 * ROUND_NS);
	assert_int_equal(b.rises[0], 8);
	put(&b, CONF(0), 4, INT | PERIODIC | VAL_SET);
	put(&b, CMP(0), 8, 0);
	assert_int_equal(b.out.deadline, VMT_NEVER);
	assert_int_equal(vmt_hpet_period_ns(&b.hpet, 0), VMT_NEVER);
}

static void what_does_not_interrupt_has_no_period_and_no_deadline(void **state)
{
	struct bench b = linux_periodic(1000);

	(void)state;
	assert_int_equal(vmt_hpet_period_ns(&b.hpet, 0), 10000);
	put(&b, GEN, 4, 0);
	assert_int_equal(vmt_hpet_period_ns(&b.hpet, 0), 0);
	assert_int_equal(b.out.deadline, VMT_NEVER);
	put(&b, GEN, 4, ON);
	put(&b, CONF(0), 4, PERIODIC | MODE32);
	assert_int_equal(vmt_hpet_period_ns(&b.hpet, 0), 0);
	assert_int_equal(b.out.deadline, VMT_NEVER);
	put(&b, CONF(0), 4, INT | MODE32);
	assert_int_equal(vmt_hpet_period_ns(&b.hpet, 0), 0);
	assert_int_not_equal(b.out.deadline, VMT_NEVER);
}

static void a_level_is_held_until_it_is_acknowledged(void **state)
{
	struct bench b = counting();

	(void)state;
	put(&b, CONF(2), 4, INT | LEVEL | PERIODIC | VAL_SET);
	put(&b, CMP(2), 8, 100);
	until(&b, 1000);
	assert_int_equal(b.out.level, 1 << 2);
	assert_int_equal(b.rises[2], 1);
	assert_int_equal(b.out.deadline, VMT_NEVER); /* nothing more can be seen */
	until(&b, 5500);
	assert_int_equal(b.rises[2], 1);
	assert_int_equal(get(&b, STS, 4), 1 << 2);
	put(&b, STS, 4, 3); /* the others' bits */
	assert_int_equal(b.out.level, 1 << 2);
	put(&b, STS, 4, 0);
	assert_int_equal(b.out.level, 1 << 2);
	put(&b, STS, 4, 1 << 2);
	assert_int_equal(b.out.level, 0);
	assert_int_equal(get(&b, STS, 4), 0);
	assert_int_equal(b.out.deadline, 6000);
	until(&b, 6000);
	assert_int_equal(b.rises[2], 2);
}

static void status_is_set_without_the_interrupt(void **state)
{
	struct bench b = counting();

	(void)state;
	put(&b, CONF(1), 4, LEVEL);
	put(&b, CONF(0), 4, 0);
	put(&b, CMP(1), 8, 100);
	put(&b, CMP(0), 8, 100);
	assert_int_equal(b.out.deadline, VMT_NEVER);
	until(&b, 1000);
	assert_int_equal(b.out.level, 0);
	assert_int_equal(get(&b, STS, 4), 2); /* that of an edge reads 0 */
	put(&b, CONF(1), 4, LEVEL | INT);
	assert_int_equal(b.out.level, 2);
	assert_int_equal(b.rises[1], 1);
	put(&b, GEN, 4, 0); /* "no interrupts will be caused by any of these timers" */
	assert_int_equal(b.out.level, 0);
	assert_int_equal(get(&b, STS, 4), 2);
	put(&b, GEN, 4, ON);
	assert_int_equal(b.out.level, 2);
	assert_int_equal(b.rises[1], 2);
	put(&b, CONF(1), 4, INT); /* edge */
	assert_int_equal(b.out.level, 0);
	assert_int_equal(get(&b, STS, 4), 0);
	assert_int_equal(b.rises[0], 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_one_shot_fires_when_the_counter_comes_to_it),
		cmocka_unit_test(a_timer_of_32_bits_fires_at_each_round),
		cmocka_unit_test(a_comparator_behind_the_counter_waits_for_the_round),
		cmocka_unit_test(comparator_0_fires_when_the_counter_comes_round),
		cmocka_unit_test(ticks_for_linux_100000_times_without_drift),
		cmocka_unit_test(fast_rates_cost_no_loop),
		cmocka_unit_test(val_set_opens_the_comparator_for_one_write),
		cmocka_unit_test(the_comparator_moves_on_by_what_was_written_last),
		cmocka_unit_test(period_0_is_a_whole_round),
		cmocka_unit_test(what_does_not_interrupt_has_no_period_and_no_deadline),
		cmocka_unit_test(a_level_is_held_until_it_is_acknowledged),
		cmocka_unit_test(status_is_set_without_the_interrupt),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
