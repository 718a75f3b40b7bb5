/* SPDX-License-Identifier: Apache-2.0 */
/* pit_count_test.c - how a counter of the timer chip counts: each mode as a story, and any program
 * clock by clock against the data sheet's words (pit_steps.h). */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "../random.h"
#include "faces/pit_count.h"
#include "pit_bench.h"
#include "pit_steps.h"

static void mode_0_rises_one_clock_after_the_count_and_stays(void **state)
{
	struct bench b = powered_on();

	(void)state;
	program(&b, 0x30, 100);
	assert_false(out(&b, 0));
	assert_int_equal(b.out.deadline, after(&b, 101));
	pass(&b, 100);
	assert_false(out(&b, 0));
	pass(&b, 1);
	assert_true(out(&b, 0));
	assert_int_equal(b.rises, 1);
	assert_int_equal(b.out.deadline, VMT_NEVER);
	pass(&b, 65536 * 3); /* it counts on, and ends once */
	assert_true(out(&b, 0));
	assert_int_equal(b.rises, 1);
}

static void mode_2_ticks_once_a_period_without_drift(void **state)
{
	struct bench b = powered_on();

	(void)state;
	program(&b, 0x34, 11932); /* Linux: HZ 100 */
	assert_int_equal(b.out.deadline, after(&b, 1 + 11932));
	assert_int_equal(vmt_pit_period_ns(&b.pit), 0); /* not loaded yet */
	pass(&b, 1);
	assert_int_equal(vmt_pit_period_ns(&b.pit), 10000151); /* 11932 clocks, rounded up */
	pass(&b, 11930);
	assert_true(out(&b, 0));
	pass(&b, 1);
	assert_false(out(&b, 0)); /* low for the last clock of the period */
	pass(&b, 1);
	assert_true(out(&b, 0));
	assert_int_equal(b.rises, 1);
	pass(&b, UINT64_C(11932) * 1000000 - 1);
	assert_int_equal(b.rises, 1000000);
	assert_int_equal(b.out.deadline, after(&b, 1));
	pass(&b, 1);
	assert_int_equal(b.rises, 1000001);
}

static void mode_3_is_high_for_the_longer_half(void **state)
{
	struct bench b = powered_on();

	(void)state;
	program(&b, 0x36, 5);
	pass(&b, 1);
	for (int cycle = 0; cycle < 3; cycle++)
		for (unsigned i = 0; i < 5; i++) {
			/* figure 18: 4 2 0 high, 4 2 low */
			assert_int_equal(get_word(&b, 0), i < 3 ? 4 - 2 * i : 4 - 2 * (i - 3));
			assert_int_equal(out(&b, 0), i < 3);
			pass(&b, 1);
		}
	assert_int_equal(b.rises, 3);
	program(&b, 0x36, 4);
	pass(&b, 1);
	assert_int_equal(vmt_pit_period_ns(&b.pit), 3353); /* 4 clocks, rounded up */
	for (unsigned i = 0; i < 8; i++) {
		assert_int_equal(get_word(&b, 0), i % 2 ? 2 : 4);
		assert_int_equal(out(&b, 0), i % 4 < 2);
		pass(&b, 1);
	}
}

static void mode_4_strobes_low_for_one_clock(void **state)
{
	struct bench b = powered_on();

	(void)state;
	program(&b, 0x38, 10);
	assert_int_equal(b.out.deadline, after(&b, 12)); /* the rise ends the strobe */
	pass(&b, 10);
	assert_true(out(&b, 0));
	pass(&b, 1);
	assert_false(out(&b, 0));
	assert_int_equal(b.rises, 0);
	pass(&b, 1);
	assert_true(out(&b, 0));
	assert_int_equal(b.rises, 1);
	pass(&b, 65536 * 2);
	assert_int_equal(b.rises, 1);
}

static void count_0_is_the_largest(void **state)
{
	struct bench b = powered_on();

	(void)state;
	program(&b, 0x34, 0);
	pass(&b, 65536);
	assert_int_equal(b.rises, 0);
	pass(&b, 1);
	assert_int_equal(b.rises, 1);
	program(&b, 0x35, 0); /* BCD: 10000 */
	b.rises = 0;
	pass(&b, 1);
	assert_int_equal(get_word(&b, 0), 0x0000);
	pass(&b, 1);
	assert_int_equal(get_word(&b, 0), 0x9999);
	pass(&b, 9998);
	assert_int_equal(b.rises, 0);
	pass(&b, 1);
	assert_int_equal(b.rises, 1);
}

static void count_1_of_a_cyclic_mode_never_ticks(void **state)
{
	struct bench b = powered_on();

	(void)state;
	for (unsigned control = 0x34; control <= 0x36; control += 2) {
		program(&b, control, 1);
		pass(&b, 1000000);
		assert_true(out(&b, 0));
		assert_int_equal(b.rises, 0);
		assert_int_equal(b.out.deadline, VMT_NEVER);
		program(&b, control, 7); /* and does no harm to the next */
		pass(&b, 8);
		assert_int_equal(b.rises, 1);
		b.rises = 0;
	}
}

static void a_new_count_takes_effect_when_the_chip_takes_it(void **state)
{
	struct bench b = powered_on();

	(void)state;
	program(&b, 0x34, 100); /* mode 2: at the end of the period */
	pass(&b, 51);
	put(&b, 0, 30);
	put(&b, 0, 0);
	assert_int_equal(b.out.deadline, after(&b, 50));
	pass(&b, 50);
	assert_int_equal(b.rises, 1);
	assert_int_equal(b.out.deadline, after(&b, 30));

	program(&b, 0x36, 100); /* mode 3: at the end of the half */
	pass(&b, 11);
	put(&b, 0, 30);
	put(&b, 0, 0);
	pass(&b, 39);
	assert_true(out(&b, 0));
	pass(&b, 1);
	assert_false(out(&b, 0));
	pass(&b, 14);
	assert_false(out(&b, 0));
	pass(&b, 1);
	assert_true(out(&b, 0));

	program(&b, 0x30, 100); /* mode 0: at the next clock, and the first byte stops it */
	pass(&b, 51);
	put(&b, 0, 30);
	assert_int_equal(b.out.deadline, VMT_NEVER);
	pass(&b, 1000);
	assert_false(out(&b, 0));
	put(&b, 0, 0);
	assert_int_equal(b.out.deadline, after(&b, 31));
}

static void gate_2_holds_mode_0_and_lets_it_go_on(void **state)
{
	struct bench b = powered_on();

	(void)state;
	program(&b, 0xb0, 100); /* the gate is closed: loaded, and stands */
	pass(&b, 500);
	assert_int_equal(get_word(&b, 2), 100);
	put(&b, VMT_PIT_PORT61, GATE2);
	pass(&b, 40);
	put(&b, VMT_PIT_PORT61, 0);
	pass(&b, 5000);
	assert_int_equal(get_word(&b, 2), 60);
	assert_int_equal(get(&b, VMT_PIT_PORT61) & OUT2, 0);
	put(&b, VMT_PIT_PORT61, GATE2);
	pass(&b, 59);
	assert_int_equal(get(&b, VMT_PIT_PORT61) & OUT2, 0);
	pass(&b, 1);
	assert_int_equal(get(&b, VMT_PIT_PORT61) & OUT2, OUT2);
}

static void gate_2_triggers_the_one_shot_anew(void **state)
{
	struct bench b = powered_on();

	(void)state;
	program(&b, 0xb2, 50); /* mode 1 */
	pass(&b, 100);
	assert_true(out(&b, 2));
	put(&b, VMT_PIT_PORT61, GATE2);
	pass(&b, 1);
	assert_false(out(&b, 2));
	pass(&b, 30);
	put(&b, VMT_PIT_PORT61, 0); /* no effect */
	put(&b, VMT_PIT_PORT61, GATE2);
	pass(&b, 50);
	assert_false(out(&b, 2));
	pass(&b, 1);
	assert_true(out(&b, 2));
}

static void gate_2_low_lets_a_square_wave_rest_high(void **state)
{
	struct bench b = powered_on();

	(void)state;
	put(&b, VMT_PIT_PORT61, GATE2 | 2);
	program(&b, 0xb6, 100);
	pass(&b, 61);
	assert_false(out(&b, 2));
	put(&b, VMT_PIT_PORT61, 2);
	assert_true(out(&b, 2));
	pass(&b, 1000);
	assert_true(out(&b, 2));
	put(&b, VMT_PIT_PORT61, GATE2 | 2);
	pass(&b, 50);
	assert_true(out(&b, 2)); /* loaded anew at the first clock */
	pass(&b, 1);
	assert_false(out(&b, 2));
	assert_int_equal(b.out.deadline, VMT_NEVER); /* nobody waits for the speaker */
}

static uint8_t random_control(struct random *random, bool *ret_bcd)
{
	unsigned access = random_below(random, 3) + 1, mode = random_below(random, 8);

	*ret_bcd = random_below(random, 4) == 0;
	return (uint8_t)(access << 4 | mode << 1 | *ret_bcd);
}

/* A byte of a count: mostly small, so that much happens; proper digits in BCD, no count of 1. */
static uint8_t random_byte(struct random *random, bool bcd, bool high)
{
	unsigned value = high ? random_below(random, 16) == 0 : random_below(random, 12) + 2;

	return (uint8_t)(bcd && value > 9 ? value + 6 : value);
}

static void agree(const struct vmt_pit *pit, const struct steps *s, uint64_t rises)
{
	const struct vmt_pit_channel *c = &pit->channel[2];

	assert_int_equal(vmt_pit_out(c, pit->seen_tick), s->out);
	assert_int_equal(c->null_count, s->null_count);
	assert_int_equal(rises, s->rises);
	if (s->loaded)
		assert_int_equal(vmt_pit_value(c, pit->seen_tick), steps_value(s));
}

/* Any program on counter 2, whose gate can move: as the data sheet has it, at every clock. */
static void counts_as_the_data_sheet_says_clock_by_clock(void **state)
{
	struct random random = random_start();

	(void)state;
	for (int run = 0; run < 4000; run++) {
		struct bench b = powered_on();
		struct steps s = {.out = true};
		uint64_t rises = 0;
		bool bcd = false;
		uint8_t control = random_control(&random, &bcd);

		put(&b, VMT_PIT_CONTROL, 0x80u | control);
		steps_control(&s, control);
		for (int i = 0; i < 60; i++) {
			uint8_t byte = random_byte(&random, bcd, s.second_write || s.access == 2);
			uint32_t what = random_below(&random, 8);

			if (what < 3) {
				put(&b, 2, byte);
				steps_write(&s, byte);
			} else if (what < 6) {
				put(&b, VMT_PIT_PORT61, what & 1);
				steps_gate(&s, what & 1);
			} else if (what == 6 && random_below(&random, 8) == 0) {
				control = random_control(&random, &bcd);
				put(&b, VMT_PIT_CONTROL, 0x80u | control);
				steps_control(&s, control);
			}
			rises += b.out.rises[VMT_PIT_OUT2];
			b.out.rises[VMT_PIT_OUT2] = 0;
			agree(&b.pit, &s, rises);
			for (uint32_t clocks = random_below(&random, 40); clocks; clocks--) {
				pass(&b, 1);
				steps_clock(&s);
				rises += b.out.rises[VMT_PIT_OUT2];
				b.out.rises[VMT_PIT_OUT2] = 0;
				agree(&b.pit, &s, rises);
			}
		}
	}
}

/* Counter 0 with full 16-bit counts: the deadline is the next rise, to the clock. */
static void a_deadline_is_the_next_rise(void **state)
{
	struct random random = random_start();

	(void)state;
	for (int i = 0; i < 20000; i++) {
		struct bench b = powered_on();
		unsigned mode = random_below(&random, 8);

		program(&b, 0x30 | mode << 1 | random_below(&random, 2),
			random_below(&random, 65536));
		pass(&b, random_below(&random, 200000));
		if (b.out.deadline == VMT_NEVER)
			continue;
		assert_true(b.out.deadline > now(&b));
		assert_int_equal(vmt_pit_advance(&b.pit, b.out.deadline - 1).rises[0], 0);
		assert_int_equal(vmt_pit_advance(&b.pit, b.out.deadline).rises[0], 1);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(mode_0_rises_one_clock_after_the_count_and_stays),
		cmocka_unit_test(mode_2_ticks_once_a_period_without_drift),
		cmocka_unit_test(mode_3_is_high_for_the_longer_half),
		cmocka_unit_test(mode_4_strobes_low_for_one_clock),
		cmocka_unit_test(count_0_is_the_largest),
		cmocka_unit_test(count_1_of_a_cyclic_mode_never_ticks),
		cmocka_unit_test(a_new_count_takes_effect_when_the_chip_takes_it),
		cmocka_unit_test(gate_2_holds_mode_0_and_lets_it_go_on),
		cmocka_unit_test(gate_2_triggers_the_one_shot_anew),
		cmocka_unit_test(gate_2_low_lets_a_square_wave_rest_high),
		cmocka_unit_test(counts_as_the_data_sheet_says_clock_by_clock),
		cmocka_unit_test(a_deadline_is_the_next_rise),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
