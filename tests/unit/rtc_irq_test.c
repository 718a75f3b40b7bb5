/* SPDX-License-Identifier: Apache-2.0 */
/* rtc_irq_test.c - the clock chip's interrupts: periodic, alarm, update, and what is missed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "../random.h"
#include "rtc_bench.h"

static void the_update_interrupts_at_the_edge(void **state)
{
	struct bench b = bench_at(2024, 1, 2, 3, 4, 5);

	(void)state;
	pass(&b, 123456789);
	put(&b, REG_B, H24 | UIE);
	assert_int_equal(b.out.deadline, 101 * SECOND);
	until(&b, 101 * SECOND - 1);
	assert_int_equal(b.out.level, 0);
	until(&b, 101 * SECOND);
	assert_int_equal(b.out.level, 1 << VMT_RTC_IRQ);
	assert_int_equal(b.rises, 1);
	assert_int_equal(b.out.deadline, VMT_NEVER); /* high until C is read */
	pass(&b, 5 * SECOND);
	assert_int_equal(b.rises, 1);
	assert_int_equal(get(&b, REG_C), IRQF | UF | PF);
	assert_int_equal(b.out.level, 0);
	assert_int_equal(get(&b, REG_C), 0);
	assert_int_equal(b.out.deadline, 107 * SECOND);
}

static void flags_are_set_without_their_enables(void **state)
{
	struct bench b = bench_at(2024, 1, 2, 3, 4, 5);

	(void)state;
	set_alarm(&b, 0xc0, 0xff, 0x07);
	pass(&b, 2 * SECOND);
	assert_int_equal(b.out.deadline, VMT_NEVER);
	assert_int_equal(get(&b, REG_C), PF | AF | UF);
	pass(&b, SECOND);
	put(&b, REG_B, H24 | UIE); /* the flag stands: at once */
	assert_int_equal(b.out.level, 1);
	assert_int_equal(b.rises, 1);
	put(&b, REG_B, H24); /* and gone */
	assert_int_equal(b.out.level, 0);
	assert_int_equal(get(&b, REG_C), PF | UF);
}

static void every_rate_is_exact(void **state)
{
	static const unsigned hz[16] = {0,   256, 128, 8192, 4096, 2048, 1024, 512,
					256, 128, 64,  32,   16,   8,    4,    2};

	(void)state;
	for (unsigned rate = 0; rate < 16; rate++) {
		struct bench b = bench_at(2024, 1, 2, 3, 4, 5);

		put(&b, REG_A, 0x20 | rate);
		put(&b, REG_B, H24 | PIE);
		assert_int_equal(vmt_rtc_period_ns(&b.rtc),
				 rate ? (SECOND + hz[rate] - 1) / hz[rate] : 0);
		while (b.now < 110 * SECOND) {
			until(&b, b.out.deadline < 110 * SECOND ? b.out.deadline : 110 * SECOND);
			if (b.out.level)
				get(&b, REG_C);
		}
		assert_int_equal(b.rises, 10 * hz[rate]);
		assert_int_equal(b.missed, 0);
	}
}

static void a_line_that_is_high_has_no_edge(void **state)
{
	struct bench b = bench_at(2024, 1, 2, 3, 4, 5);

	(void)state;
	put(&b, REG_A, 0x2f); /* 2 Hz */
	put(&b, REG_B, H24 | PIE);
	pass(&b, 3600 * SECOND);
	assert_int_equal(b.rises, 1);
	assert_int_equal(b.missed, 7199);
	assert_int_equal(get(&b, REG_C), IRQF | PF | UF);
	pass(&b, SECOND);
	assert_int_equal(b.rises, 2);
	assert_int_equal(b.missed, 7200);
}

static void the_update_hides_no_more_than_it_must(void **state)
{
	struct bench b = bench_at(2024, 1, 2, 3, 4, 5);

	(void)state;
	put(&b, REG_A, 0x2f);
	put(&b, REG_B, H24 | PIE | UIE);
	pass(&b, 100000000);
	get(&b, REG_C);
	until(&b, 100 * SECOND + 500000000); /* periodic alone */
	assert_int_equal(b.rises, 1);
	get(&b, REG_C);
	until(&b, 103 * SECOND); /* both at once: one edge; then four that find it high */
	assert_int_equal(b.rises, 2);
	assert_int_equal(b.missed, 4);
}

/* The line is high for the update; the tick that comes then sets PF, which the guest will read. */
static void a_tick_that_sets_its_flag_is_not_missed(void **state)
{
	struct bench once = bench_at(2024, 1, 2, 3, 4, 5), parts;

	(void)state;
	put(&once, REG_A, 0x2a); /* 64 Hz */
	pass(&once, 100000000);
	put(&once, REG_B, H24 | UIE);
	get(&once, REG_C);
	until(&once, 101 * SECOND);
	assert_int_equal(get(&once, REG_C), IRQF | PF | UF);
	note(&once, vmt_rtc_utc(&once.rtc, once.now, once.rtc.utc_offset_ns - 1000000));
	put(&once, REG_B, H24 | UIE | PIE); /* from here on seconds begin 1 ms after a tick */
	until(&once, 102 * SECOND);
	get(&once, REG_C);
	once.rises = once.missed = 0;
	parts = once;
	until(&once, 102 * SECOND + 16000000); /* update, and one tick that finds the line high */
	assert_int_equal(once.rises, 1);
	assert_int_equal(once.missed, 0);
	until(&parts, 102 * SECOND + 1000000); /* the update alone */
	assert_int_equal(parts.rises, 1);
	until(&parts, 102 * SECOND + 16000000);
	assert_int_equal(parts.missed, 0);
	until(&parts, 102 * SECOND + 3 * SECOND / 64); /* two that nothing shows */
	assert_int_equal(parts.missed, 2);
	until(&once, 102 * SECOND + 3 * SECOND / 64);
	assert_int_equal(once.missed, 2);
	assert_int_equal(get(&once, REG_C), IRQF | PF | UF);
}

static void a_missed_tick_can_be_shown_again(void **state)
{
	struct bench b = bench_at(2024, 1, 2, 3, 4, 5);

	(void)state;
	put(&b, REG_A, 0x2f);
	put(&b, REG_B, H24 | PIE);
	pass(&b, 3 * SECOND);
	get(&b, REG_C);
	pass(&b, 1000);
	note(&b, vmt_rtc_repeat(&b.rtc, b.now));
	assert_int_equal(b.rises, 2);
	assert_int_equal(get(&b, REG_C), IRQF | PF);
	put(&b, REG_B, H24);
	note(&b, vmt_rtc_repeat(&b.rtc, b.now)); /* the guest does not want any */
	assert_int_equal(b.out.level, 0);
	assert_int_equal(get(&b, REG_C), 0);
}

static void periods_keep_to_virtual_time_when_utc_is_stepped(void **state)
{
	struct bench b = bench_at(2024, 1, 2, 3, 4, 5);

	(void)state;
	put(&b, REG_A, 0x2f);
	put(&b, REG_B, H24 | PIE);
	pass(&b, 100000000);
	note(&b, vmt_rtc_utc(&b.rtc, b.now, b.rtc.utc_offset_ns - 12345678));
	assert_int_equal(b.out.deadline, 100 * SECOND + 500000000);
}

static void periods_begin_with_seconds(void **state)
{
	struct bench b = bench_at(2024, 1, 2, 3, 4, 5);

	(void)state;
	vmt_rtc_init(&b.rtc, b.now, b.rtc.utc_offset_ns + 123456789);
	put(&b, REG_A, 0x2f);
	put(&b, REG_B, H24 | PIE);
	assert_int_equal(b.out.deadline, b.now + 500000000 - 123456789);
	until(&b, b.out.deadline);
	get(&b, REG_C);
	assert_int_equal(b.out.deadline, 101 * SECOND - 123456789);
}

static void the_update_comes_before_the_alarm(void **state)
{
	struct bench b = bench_at(2024, 1, 2, 3, 4, 5);

	(void)state;
	set_alarm(&b, 0xff, 0xff, 0x00);
	put(&b, REG_B, H24 | AIE | UIE);
	assert_int_equal(b.out.deadline, b.now + SECOND);
	put(&b, REG_B, H24 | AIE);
	assert_int_equal(b.out.deadline, b.now + 55 * SECOND);
}

static void periods_begin_anew_with_the_divider(void **state)
{
	struct bench b = bench_at(2024, 1, 2, 3, 4, 5);

	(void)state;
	put(&b, REG_B, H24 | PIE);
	put(&b, REG_A, 0x7f);
	assert_int_equal(b.out.deadline, VMT_NEVER);
	pass(&b, 123456789);
	put(&b, REG_A, 0x2f);
	assert_int_equal(b.out.deadline, b.now + 500000000);
}

/* Each field fixed or not: the alarm goes off at the first second that matches, and then again. */
static void an_alarm_goes_off_when_its_bytes_match(void **state)
{
	struct random random = random_start();

	(void)state;
	for (int i = 0; i < 3000; i++) {
		static const unsigned formats[] = {0, H24, DM, DM | H24};
		struct bench b = bench_at(2024, 2, 28, (int)random_below(&random, 24), 59, 57);
		unsigned format = formats[random_below(&random, 4)],
			 which = random_below(&random, 8);
		struct bench later = b;

		put(&b, REG_B, format);
		later = b;
		pass(&later, (1 + random_below(&random, 86400)) * SECOND);
		set_alarm(&b, which & 4 ? get(&later, HOUR) : 0xc0,
			  which & 2 ? get(&later, MIN) : 0xd1, which & 1 ? get(&later, SEC) : 0xff);
		put(&b, REG_B, format | AIE);
		assert_true(b.out.deadline <= later.now);
		assert_true(b.out.deadline > b.now);
		if (which == 7)
			assert_int_equal(b.out.deadline, later.now);
		if (which == 0)
			assert_int_equal(b.out.deadline, b.now + SECOND);
		until(&b, b.out.deadline);
		assert_int_equal(get(&b, REG_C) & AF, AF);
		for (unsigned field = 0; field < 3; field++)
			if (which >> field & 1)
				assert_int_equal(get(&b, field * 2), get(&b, field * 2 + 1));
	}
}

static void an_impossible_alarm_never_goes_off(void **state)
{
	struct bench b = bench_at(2024, 1, 2, 3, 4, 5);

	(void)state;
	set_alarm(&b, 0xc0, 0xc0, 0x3b); /* a binary 59, in BCD */
	put(&b, REG_B, H24 | AIE);
	assert_int_equal(b.out.deadline, VMT_NEVER);
	pass(&b, 7 * 86400 * SECOND);
	assert_int_equal(b.rises, 0);
	put(&b, ALARM_SEC, 0x59);
	assert_int_equal(b.out.deadline, b.now + 54 * SECOND);
}

static void an_alarm_passed_over_in_a_long_sleep_goes_off_once(void **state)
{
	struct bench b = bench_at(2024, 1, 2, 3, 4, 5);

	(void)state;
	set_alarm(&b, 0x00, 0x00, 0x00);
	put(&b, REG_B, H24 | AIE);
	pass(&b, UINT64_C(3650) * 86400 * SECOND);
	assert_int_equal(b.rises, 1);
	assert_int_equal(get(&b, REG_C), IRQF | PF | AF | UF);
}

static void a_step_of_utc_over_the_alarm_fires_it(void **state)
{
	struct bench b = bench_at(2024, 1, 2, 3, 4, 5);
	int64_t utc = b.rtc.utc_offset_ns;

	(void)state;
	set_alarm(&b, 0x03, 0x30, 0x00);
	put(&b, REG_B, H24 | AIE);
	note(&b, vmt_rtc_utc(&b.rtc, b.now, utc - 3600 * 1000000000LL));
	assert_int_equal(b.rises, 0);
	assert_int_equal(b.out.deadline, b.now + (3600 + 1555) * SECOND);
	note(&b, vmt_rtc_utc(&b.rtc, b.now, utc + 3600 * 1000000000LL));
	assert_int_equal(b.rises, 1);
	assert_int_equal(get(&b, REG_C) & AF, AF);
}

static void a_standing_time_interrupts_by_period_alone(void **state)
{
	struct bench b = bench_at(2024, 1, 2, 3, 4, 5);

	(void)state;
	put(&b, REG_A, 0x2f);
	put(&b, REG_B, SET | H24 | PIE | AIE);
	set_alarm(&b, 0xff, 0xff, 0xff);
	assert_int_equal(b.out.deadline, b.now + SECOND / 2);
	pass(&b, 10 * SECOND);
	assert_int_equal(get(&b, REG_C), IRQF | PF);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_update_interrupts_at_the_edge),
		cmocka_unit_test(flags_are_set_without_their_enables),
		cmocka_unit_test(every_rate_is_exact),
		cmocka_unit_test(a_line_that_is_high_has_no_edge),
		cmocka_unit_test(the_update_hides_no_more_than_it_must),
		cmocka_unit_test(a_tick_that_sets_its_flag_is_not_missed),
		cmocka_unit_test(a_missed_tick_can_be_shown_again),
		cmocka_unit_test(periods_keep_to_virtual_time_when_utc_is_stepped),
		cmocka_unit_test(periods_begin_with_seconds),
		cmocka_unit_test(the_update_comes_before_the_alarm),
		cmocka_unit_test(periods_begin_anew_with_the_divider),
		cmocka_unit_test(an_alarm_goes_off_when_its_bytes_match),
		cmocka_unit_test(an_impossible_alarm_never_goes_off),
		cmocka_unit_test(an_alarm_passed_over_in_a_long_sleep_goes_off_once),
		cmocka_unit_test(a_step_of_utc_over_the_alarm_fires_it),
		cmocka_unit_test(a_standing_time_interrupts_by_period_alone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
