/* SPDX-License-Identifier: Apache-2.0 */
/* rtc_test.c - the clock chip told as stories: what it shows, how it is set, how it is saved. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "rtc_bench.h"

enum { UIP_NS = 2228000 };

static void shows_utc(void **state)
{
	struct bench b = bench_at(2024, 2, 29, 23, 59, 58);

	(void)state;
	assert_int_equal(clock_date(&b), 0x20240229);
	assert_int_equal(clock_time(&b), 0x235958);
	assert_int_equal(get(&b, WDAY), 5); /* a Thursday, from Sunday = 1 */
	assert_int_equal(get(&b, 0x37), 0x20);
	pass(&b, 2 * SECOND);
	assert_int_equal(clock_date(&b), 0x20240301);
	assert_int_equal(clock_time(&b), 0x000000);
	assert_int_equal(get(&b, REG_A), 0x26);
	assert_int_equal(get(&b, REG_B), H24);
	assert_int_equal(get(&b, REG_D), 0x80);
}

static void the_century_turns(void **state)
{
	struct bench b = bench_at(1999, 12, 31, 23, 59, 59), c = bench_at(2099, 12, 31, 23, 59, 59);

	(void)state;
	pass(&b, SECOND);
	assert_int_equal(clock_date(&b), 0x20000101);
	pass(&c, SECOND);
	assert_int_equal(clock_date(&c), 0x21000101);
	pass(&c, 59 * 86400 * SECOND); /* 2100 has no 29th of February */
	assert_int_equal(clock_date(&c), 0x21000301);
}

static void the_index_drops_the_nmi_bit(void **state)
{
	struct bench b = bench_at(2024, 1, 2, 3, 4, 5);
	uint8_t value;

	(void)state;
	assert_int_equal(get(&b, 0x80 | MIN), 0x04);
	vmt_rtc_read(&b.rtc, b.now, VMT_RTC_INDEX, &value);
	assert_int_equal(value, 0xff);
	vmt_rtc_read(&b.rtc, b.now, 9, &value);
	assert_int_equal(value, 0xff);
	vmt_rtc_write(&b.rtc, b.now, 9, 0x5a);
	assert_int_equal(b.rtc.index, MIN);
}

static void memory_keeps_what_is_written(void **state)
{
	struct bench b = bench_at(2024, 1, 2, 3, 4, 5);

	(void)state;
	for (unsigned i = 0x0e; i < 128; i++)
		if (i != CENTURY && i != 0x37)
			put(&b, i, i ^ 0x5a);
	put(&b, REG_C, 0xff);
	put(&b, REG_D, 0xff);
	pass(&b, 12345 * SECOND);
	for (unsigned i = 0x0e; i < 128; i++)
		if (i != CENTURY && i != 0x37)
			assert_int_equal(get(&b, i), i ^ 0x5a);
	assert_int_equal(get(&b, REG_C) & ~(UF | PF), 0);
	assert_int_equal(get(&b, REG_D), 0x80);
}

static void uip_warns_of_the_update_to_the_nanosecond(void **state)
{
	struct bench b = bench_at(2024, 1, 2, 3, 4, 5);
	vmt_ns edge = b.now + SECOND;

	(void)state;
	until(&b, edge - UIP_NS - 1);
	assert_int_equal(get(&b, REG_A) & UIP, 0);
	pass(&b, 1);
	assert_int_equal(get(&b, REG_A) & UIP, UIP);
	until(&b, edge - 1);
	assert_int_equal(get(&b, REG_A) & UIP, UIP);
	assert_int_equal(clock_time(&b), 0x030405);
	assert_int_equal(get(&b, REG_C) & UF, 0);
	until(&b, edge);
	assert_int_equal(get(&b, REG_A) & UIP, 0);
	assert_int_equal(clock_time(&b), 0x030406);
	assert_int_equal(get(&b, REG_C) & UF, UF);
}

static void bytes_follow_the_format(void **state)
{
	struct bench b = bench_at(2024, 11, 30, 15, 42, 59);

	(void)state;
	put(&b, REG_B, DM | H24);
	assert_int_equal(get(&b, HOUR), 15);
	assert_int_equal(get(&b, SEC), 59);
	assert_int_equal(get(&b, CENTURY), 20);
	put(&b, REG_B, DM);
	assert_int_equal(get(&b, HOUR), 0x80 | 3);
	put(&b, REG_B, 0);
	assert_int_equal(get(&b, HOUR), 0x80 | 0x03);
	assert_int_equal(get(&b, MDAY), 0x30);
}

/* SET stops the time, not the divider: it goes on at the edge where it would have stepped. */
static void set_lets_the_time_stand_and_be_written(void **state)
{
	struct bench b = bench_at(2024, 1, 2, 3, 4, 5);

	(void)state;
	put(&b, REG_B, H24 | UIE);
	pass(&b, 300000000);
	put(&b, REG_B, SET | H24 | UIE);
	assert_int_equal(get(&b, REG_B), SET | H24); /* UIE is cleared */
	pass(&b, 5 * SECOND - 1000000);
	assert_int_equal(clock_time(&b), 0x030405);
	assert_int_equal(get(&b, REG_A) & UIP, 0);
	assert_int_equal(get(&b, REG_C) & UF, 0);
	put(&b, HOUR, 0x17);
	put(&b, SEC, 0x30);
	put(&b, YEAR, 0x30);
	assert_int_equal(clock_time(&b), 0x170430);
	until(&b, 105 * SECOND + 800000000);
	put(&b, REG_B, H24);
	assert_int_equal(clock_time(&b), 0x170430);
	until(&b, 106 * SECOND - 1);
	assert_int_equal(clock_time(&b), 0x170430);
	until(&b, 106 * SECOND);
	assert_int_equal(clock_time(&b), 0x170431);
	assert_int_equal(clock_date(&b), 0x20300102);
	assert_int_equal(get(&b, WDAY), 3); /* a counter of its own: still Tuesday */
}

static void what_is_written_while_it_runs_counts_at_once(void **state)
{
	struct bench b = bench_at(2024, 1, 31, 3, 4, 5);

	(void)state;
	pass(&b, 400000000);
	put(&b, MONTH, 0x02); /* for the moment there is a 31st of February */
	assert_int_equal(get(&b, MDAY), 0x31);
	put(&b, MONTH, 0x03);
	assert_int_equal(clock_date(&b), 0x20240331);
	put(&b, SEC, 0x75);
	assert_int_equal(get(&b, SEC), 0x75);
	until(&b, 101 * SECOND);
	assert_int_equal(clock_time(&b), 0x030516); /* one second after :75 */
	put(&b, WDAY, 1);
	pass(&b, 86400 * SECOND);
	assert_int_equal(get(&b, WDAY), 2);
	put(&b, 0x37, 0x19);
	assert_int_equal(get(&b, CENTURY), 0x19);
}

static void a_held_divider_starts_half_a_second_before_the_update(void **state)
{
	struct bench b = bench_at(2024, 1, 2, 3, 4, 5);

	(void)state;
	put(&b, REG_A, 0x76);
	pass(&b, 7 * SECOND + 123456789);
	assert_int_equal(clock_time(&b), 0x030405);
	assert_int_equal(get(&b, REG_C), 0);
	put(&b, REG_A, 0x26);
	pass(&b, 499999999);
	assert_int_equal(clock_time(&b), 0x030405);
	assert_int_equal(get(&b, REG_A) & UIP, UIP);
	pass(&b, 1);
	assert_int_equal(clock_time(&b), 0x030406);
	pass(&b, SECOND - 1);
	assert_int_equal(clock_time(&b), 0x030406);
	for (unsigned divider = 3; divider < 8; divider++) { /* tests and resets: it stands */
		put(&b, REG_A, divider << 4);
		pass(&b, 10 * SECOND);
		assert_int_equal(clock_time(&b), 0x030406);
	}
	put(&b, REG_A, 0x06); /* 4 MHz, by its name: it runs */
	pass(&b, SECOND);
	assert_int_equal(clock_time(&b), 0x030407);
}

/* Linux, mc146818_set_time() on a chip with divider reset: called half a second before the second
 * that it writes, it leaves the clock right to the nanosecond. */
static void linux_sets_it_right(void **state)
{
	struct bench b = bench_at(2024, 1, 2, 3, 4, 5);
	uint8_t control, freq;

	(void)state;
	vmt_rtc_utc(&b.rtc, b.now,
		    b.rtc.utc_offset_ns + 777 * 1000000000LL + 123); /* wrong by this */
	until(&b, 102 * SECOND + 500000000); /* the guest knows that it is 03:04:07.5 */
	control = get(&b, REG_B);
	put(&b, REG_B, control | SET);
	freq = get(&b, REG_A);
	put(&b, REG_A, freq | 0x70);
	put(&b, YEAR, 0x24);
	put(&b, MONTH, 0x01);
	put(&b, MDAY, 0x02);
	put(&b, HOUR, 0x03);
	put(&b, MIN, 0x04);
	put(&b, SEC, 0x07);
	put(&b, CENTURY, 0x20);
	put(&b, REG_B, control);
	put(&b, REG_A, freq);
	assert_int_equal(vmt_rtc_offset_ns(&b.rtc), -777 * 1000000000LL - 123);
	until(&b, 103 * SECOND - 1);
	assert_int_equal(clock_time(&b), 0x030407);
	until(&b, 103 * SECOND);
	assert_int_equal(clock_time(&b), 0x030408);
}

/* Linux, mc146818_get_time(): seconds, no UIP, seconds, all fields, no UIP, seconds again. */
static void linux_never_reads_a_torn_time(void **state)
{
	struct bench b = bench_at(2024, 12, 31, 23, 59, 57);

	(void)state;
	for (int i = 0; i < 1000; i++) {
		unsigned first = get(&b, SEC), time, date;

		pass(&b, 50000);
		if (get(&b, REG_A) & UIP)
			continue;
		pass(&b, 50000);
		time = clock_time(&b);
		pass(&b, 50000);
		date = clock_date(&b);
		pass(&b, 50000);
		if (get(&b, REG_A) & UIP || get(&b, SEC) != first)
			continue;
		assert_true(date == (time < 0x235900 ? 0x20250101u : 0x20241231u));
		pass(&b, 3000000);
	}
}

static void a_step_of_utc_takes_a_set_time_along(void **state)
{
	struct bench b = bench_at(2024, 1, 2, 3, 4, 5);

	(void)state;
	put(&b, HOUR, 0x04); /* local time, say */
	assert_int_equal(vmt_rtc_offset_ns(&b.rtc), 3600000000000);
	vmt_rtc_utc(&b.rtc, b.now, b.rtc.utc_offset_ns + 60000000000);
	assert_int_equal(clock_time(&b), 0x040505);
	vmt_rtc_utc(&b.rtc, b.now, b.rtc.utc_offset_ns - 120000000000);
	assert_int_equal(clock_time(&b), 0x040305);
	assert_int_equal(vmt_rtc_offset_ns(&b.rtc), 3600000000000);
}

static void dates_before_1970_and_after_2262_are_shown(void **state)
{
	struct bench b = bench_at(1970, 1, 1, 0, 0, 0);

	(void)state;
	vmt_rtc_utc(&b.rtc, b.now, b.rtc.utc_offset_ns - 1);
	assert_int_equal(clock_date(&b), 0x19691231);
	assert_int_equal(clock_time(&b), 0x235959);
	vmt_rtc_utc(&b.rtc, b.now, INT64_MAX);
	until(&b, UINT64_MAX - 1);
	assert_int_equal(clock_date(&b) >> 16, 0x2846); /* 584 years after 2262 */
	vmt_rtc_utc(&b.rtc, b.now, INT64_MIN);
	get(&b, REG_A);
	put(&b, CENTURY, 0x99);
	put(&b, YEAR, 0x99);
	assert_int_equal(clock_date(&b) >> 16, 0x9999);
}

static void a_bus_reset_silences_it_and_keeps_the_time(void **state)
{
	struct bench b = bench_at(2024, 1, 2, 3, 4, 5);

	(void)state;
	put(&b, REG_B, 0x7f); /* every enable, SQWE, binary, 24 hours, daylight saving */
	put(&b, 0x40, 0x77);
	pass(&b, 3 * SECOND);
	vmt_rtc_reset(&b.rtc, b.now);
	pass(&b, 0);
	assert_int_equal(b.out.level, 0);
	assert_int_equal(get(&b, REG_B), 0x07);
	assert_int_equal(get(&b, REG_C), 0);
	assert_int_equal(get(&b, SEC), 8);
	assert_int_equal(get(&b, 0x40), 0x77);
}

static struct bench filled(void)
{
	struct bench b = bench_at(2024, 1, 2, 3, 4, 5);

	for (unsigned i = 0; i < 128; i++)
		if (i != REG_A && i != REG_B && i != REG_C && i != REG_D)
			put(&b, i, i | 1);
	put(&b, REG_A, 0x7b);
	put(&b, REG_A, 0x2b);
	put(&b, REG_B, 0x7f);
	pass(&b, 1);
	put(&b, WDAY, 3);
	return b;
}

static void saves_every_field(void **state)
{
	struct bench b = filled();
	struct vmt_rtc back = {0};
	uint8_t bytes[VMT_RTC_SAVED];
	int size = vmt_rtc_save(&b.rtc, bytes, sizeof(bytes));

	(void)state;
	assert_true(b.rtc.raw && b.rtc.week_skew && b.rtc.phase_ns && b.rtc.offset_s &&
		    b.rtc.index);
	assert_int_equal(vmt_rtc_load(&back, b.now, bytes, (size_t)size), 0);
	assert_memory_equal(&back, &b.rtc, sizeof(back));
	assert_int_equal(vmt_rtc_save(&b.rtc, bytes, (size_t)size - 1), -ENOSPC);
}

static void impossible_states_are_refused(void **state)
{
	struct bench b = filled();

	(void)state;
	for (int i = 0; i < 13; i++) {
		struct vmt_rtc s = b.rtc, back = {0}, zero = {0};
		uint8_t bytes[VMT_RTC_SAVED];
		int size;

		if (i == 0)
			s.seen_ns = b.now + 1;
		else if (i == 1)
			s.phase_ns = 1000000000;
		else if (i == 2)
			s.divider_ns = 1000000000;
		else if (i == 3)
			s.offset_s = INT64_MAX;
		else if (i == 4)
			s.offset_s = INT64_MIN;
		else if (i == 5)
			s.index = 128;
		else if (i == 6)
			s.week_skew = 7;
		else if (i == 7)
			s.raw = 2;
		else if (i == 8)
			s.cmos[REG_A] |= UIP;
		else if (i == 9)
			s.cmos[REG_B] |= SET; /* with UIE */
		else if (i == 10)
			s.cmos[REG_C] |= IRQF;
		else if (i == 11)
			s.cmos[REG_D] = 0;
		size = vmt_rtc_save(&s, bytes, sizeof(bytes));
		assert_int_equal(vmt_rtc_load(&back, b.now, bytes, (size_t)size),
				 i == 12 ? 0 : -EINVAL);
		if (i < 12)
			assert_memory_equal(&back, &zero, sizeof(zero));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(shows_utc),
		cmocka_unit_test(the_century_turns),
		cmocka_unit_test(the_index_drops_the_nmi_bit),
		cmocka_unit_test(memory_keeps_what_is_written),
		cmocka_unit_test(uip_warns_of_the_update_to_the_nanosecond),
		cmocka_unit_test(bytes_follow_the_format),
		cmocka_unit_test(set_lets_the_time_stand_and_be_written),
		cmocka_unit_test(what_is_written_while_it_runs_counts_at_once),
		cmocka_unit_test(a_held_divider_starts_half_a_second_before_the_update),
		cmocka_unit_test(linux_sets_it_right),
		cmocka_unit_test(linux_never_reads_a_torn_time),
		cmocka_unit_test(a_step_of_utc_takes_a_set_time_along),
		cmocka_unit_test(dates_before_1970_and_after_2262_are_shown),
		cmocka_unit_test(a_bus_reset_silences_it_and_keeps_the_time),
		cmocka_unit_test(saves_every_field),
		cmocka_unit_test(impossible_states_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
