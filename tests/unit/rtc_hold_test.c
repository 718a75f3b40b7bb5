/* SPDX-License-Identifier: Apache-2.0 */
/* rtc_hold_test.c - the exact clock: which reading is held, until when, and that no other is. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "rtc_bench.h"

enum { LEAD = 150000, EARLY = VMT_RTC_HOLD_EARLY_NS, US = 1000, MS = 1000000, ACCESS = 25 * US };
enum { SPAN = 16 * ACCESS, AIM = 500 * MS - LEAD - SPAN, FIRST = AIM - EARLY };

static struct bench exact_at(uint32_t rest_ns)
{
	struct bench b = bench_at(2024, 1, 2, 3, 4, 5);

	assert_int_equal(vmt_rtc_exact(&b.rtc, b.now, LEAD), 0);
	pass(&b, rest_ns);
	return b;
}

/* A guest's read: two accesses, and it goes on when it has the answer. */
static uint8_t fetch(struct bench *b, unsigned index)
{
	uint8_t value;

	pass(b, ACCESS);
	vmt_rtc_write(&b->rtc, b->now, VMT_RTC_INDEX, (uint8_t)index);
	pass(b, ACCESS);
	note(b, vmt_rtc_read(&b->rtc, b->now, VMT_RTC_DATA, &value));
	assert_true(b->out.ready >= b->now);
	b->now = b->out.ready;
	return value;
}

/* Linux 6.1, mc146818_avoid_UIP(), with these reads in the middle; the seconds, in BCD. */
static uint8_t avoid_uip(struct bench *b, const uint8_t *middle, size_t count)
{
	for (;;) {
		uint8_t seconds = fetch(b, SEC);

		if (fetch(b, REG_A) & UIP) {
			pass(b, 100 * US);
			continue;
		}
		if (fetch(b, SEC) != seconds)
			continue;
		for (size_t i = 0; i < count; i++)
			fetch(b, middle[i]);
		if (fetch(b, REG_A) & UIP) {
			pass(b, 100 * US);
			continue;
		}
		if (fetch(b, SEC) == seconds)
			return seconds;
	}
}

static uint8_t get_time(struct bench *b)
{
	static const uint8_t fields[] = {MIN, HOUR, MDAY, MONTH, YEAR, CENTURY, REG_B};

	return avoid_uip(b, fields, sizeof(fields));
}

static void read_alarm(struct bench *b)
{
	static const uint8_t alarm[] = {ALARM_SEC, ALARM_MIN, ALARM_HOUR, REG_B};

	avoid_uip(b, alarm, sizeof(alarm));
}

static void probe(struct bench *b)
{
	avoid_uip(b, NULL, 0);
	put(b, REG_A, 0x26);
	put(b, REG_B, H24);
	get(b, REG_C);
}

/* rtc_cmos comes up; what rtc_hctosys() reads. */
static uint8_t boot(struct bench *b, bool alarm)
{
	probe(b);
	get_time(b);
	if (alarm) {
		read_alarm(b);
		get_time(b);
		get_time(b);
	}
	pass(b, 9 * MS); /* a line on a slow console */
	return get_time(b);
}

static uint32_t rest(const struct bench *b)
{
	return (uint32_t)(b->now % SECOND); /* the bench's seconds begin with those of `now` */
}

/* Whatever moment it comes at. */
static void linux_takes_the_clock_at_half_a_second(void **state)
{
	(void)state;
	for (uint32_t ms = 0; ms < 1000; ms++)
		for (int alarm = 0; alarm < 2; alarm++) {
			struct bench b = exact_at(ms * MS + 12345);
			vmt_ns began = b.now;
			uint8_t seconds = boot(&b, alarm), shown;

			assert_int_equal(rest(&b), AIM);
			vmt_rtc_write(&b.rtc, b.now, VMT_RTC_INDEX, SEC);
			vmt_rtc_read(&b.rtc, b.now, VMT_RTC_DATA, &shown);
			assert_int_equal(seconds, shown);
			assert_true(b.now - began < SECOND + EARLY + 20 * MS);
		}
}

static void the_four_readings_one_by_one(void **state)
{
	struct bench b = exact_at(10 * MS);

	(void)state;
	probe(&b);
	assert_true(rest(&b) < 12 * MS); /* looking whether it works is not held */
	get_time(&b);
	assert_int_equal(rest(&b), FIRST);
	read_alarm(&b);
	get_time(&b);
	get_time(&b);
	assert_true(rest(&b) < FIRST + 10 * MS); /* the two after the alarm pass */
	get_time(&b);
	assert_int_equal(rest(&b), AIM);
	get_time(&b);
	assert_true(rest(&b) < AIM + 5 * MS);
}

/* Reads the time n times, some time apart.  How long it took beyond what it takes. */
static vmt_ns held_for(struct bench *b, int n)
{
	vmt_ns held = 0;

	for (int i = 0; i < n; i++) {
		vmt_ns before;

		pass(b, 137 * MS);
		if (rest(b) > 990 * MS)
			pass(b, 20 * MS); /* not to wait for an update either */
		before = b->now;
		get_time(b);
		held += b->now - before - 24 * ACCESS;
	}
	return held;
}

/* What comes between the readings takes longer than the room for it. */
static void a_busy_host_costs_another_second(void **state)
{
	struct bench b = exact_at(10 * MS), broken = exact_at(10 * MS);

	(void)state;
	probe(&b);
	get_time(&b);
	for (int i = 0; i < 3; i++) {
		pass(&b, 60 * MS);
		if (i == 0)
			read_alarm(&b);
		get_time(&b);
	}
	assert_true(b.now > 101 * SECOND);
	assert_int_equal(rest(&b), AIM);
	get_time(&b);
	assert_true(rest(&b) < AIM + 5 * MS);

	probe(&broken);
	get_time(&broken);
	read_alarm(&broken);
	get_time(&broken);
	assert_int_equal(broken.now / SECOND, 100);
	pass(&broken, 120 * MS); /* too long for the same breath */
	assert_int_equal(held_for(&broken, 100), 0);
}

static void too_late_in_a_second_the_next_one_is_shown(void **state)
{
	struct bench b = exact_at(0);
	uint8_t value;

	(void)state;
	put(&b, REG_A, 0x26);
	until(&b, 100 * SECOND + 700 * MS);
	get(&b, SEC);
	get(&b, MIN);
	get(&b, HOUR);
	get(&b, MDAY);
	get(&b, MONTH);
	get(&b, YEAR);
	get(&b, REG_A);
	assert_true(b.out.ready == b.now);
	value = get(&b, SEC);
	assert_true(b.out.ready == 101 * SECOND);
	assert_int_equal(value, 0x06); /* began as 05: its reader starts again */
}

static void nothing_before_the_driver(void **state)
{
	struct bench b = exact_at(100 * MS);
	vmt_ns before;

	(void)state;
	put(&b, 0x0f, 0x0a); /* memory is not the driver's */
	before = b.now;
	get_time(&b); /* timekeeping_init() without kvm-clock */
	assert_true(b.now - before < 2 * MS);
	pass(&b, 3 * SECOND);
	boot(&b, true);
	assert_int_equal(rest(&b), AIM); /* and it was not disarmed by that */
}

static void a_hundred_readings_at_run_time_are_not_held(void **state)
{
	struct bench b = exact_at(0);

	(void)state;
	boot(&b, true);
	pass(&b, 30 * MS);
	assert_int_equal(held_for(&b, 100), 0);
}

static void a_clock_that_was_set_holds_nothing(void **state)
{
	struct bench byte = exact_at(0), stands = exact_at(0), stopped = exact_at(0);

	(void)state;
	put(&byte, MIN, 0x10);
	put(&byte, REG_A, 0x26);
	assert_int_equal(held_for(&byte, 100), 0);
	put(&stands, REG_B, SET | H24);
	put(&stands, REG_B, H24);
	assert_int_equal(held_for(&stands, 100), 0);
	put(&stopped, REG_A, 0x70);
	put(&stopped, REG_A, 0x26);
	assert_int_equal(held_for(&stopped, 100), 0);
}

static void a_minute_after_power_on_it_is_over(void **state)
{
	struct bench b = exact_at(0), c = exact_at(0);

	(void)state;
	pass(&b, 59 * SECOND);
	boot(&b, true);
	assert_int_equal(rest(&b), AIM);
	pass(&c, 60 * SECOND);
	put(&c, REG_A, 0x26);
	assert_int_equal(held_for(&c, 100), 0);
}

static void the_window_closes_after_the_first_hold(void **state)
{
	struct bench b = exact_at(0);

	(void)state;
	probe(&b);
	get_time(&b);
	assert_int_equal(rest(&b), FIRST);
	pass(&b, 100 * MS);
	assert_int_equal(held_for(&b, 100), 0); /* though rtc_hctosys() never came */
}

static void a_reset_arms_again(void **state)
{
	struct bench b = exact_at(0);

	(void)state;
	boot(&b, true);
	pass(&b, 3600 * SECOND);
	vmt_rtc_reset(&b.rtc, b.now);
	boot(&b, false);
	assert_int_equal(rest(&b), AIM);
}

/* A burst takes it more than half a second. */
static void the_slowest_guest_is_kept_for_a_second_at_most(void **state)
{
	static const uint8_t order[] = {MIN, HOUR, MDAY, MONTH, YEAR, REG_A, SEC};
	struct bench b = exact_at(0);
	vmt_ns held = 0;

	(void)state;
	put(&b, REG_A, 0x26);
	for (int burst = 0; burst < 20; burst++)
		for (size_t i = 0; i < sizeof(order); i++) {
			pass(&b, 101 * MS);
			get(&b, order[i]);
			held += b.out.ready - b.now;
			b.now = b.out.ready;
		}
	assert_true(held > 0 && held < 1100 * MS);
}

static void other_orders_are_not_held(void **state)
{
	static const uint8_t orders[][9] = {
		{MIN, HOUR, MDAY, MONTH, YEAR, SEC},               /* no A */
		{MIN, HOUR, MDAY, MONTH, YEAR, REG_A, REG_C, SEC}, /* not at once */
		{MIN, HOUR, MDAY, MONTH, REG_A, SEC},              /* no year */
		{MIN, HOUR, SEC, MDAY, MONTH, YEAR, REG_A, SEC},   /* in two parts */
		{REG_A, SEC, MIN, HOUR, MDAY, MONTH, YEAR, REG_B}, /* A first, as older systems */
		{SEC, MIN, HOUR, MDAY, MONTH, YEAR, REG_A, MIN, SEC},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(orders) / sizeof(orders[0]); i++) {
		struct bench b = exact_at(100 * MS);

		put(&b, REG_A, 0x26);
		for (size_t j = 0; j < sizeof(orders[0]); j++) {
			get(&b, orders[i][j]);
			assert_true(b.out.ready == b.now);
		}
	}
}

static void a_plain_clock_holds_nothing(void **state)
{
	struct bench b = bench_at(2024, 1, 2, 3, 4, 5);

	(void)state;
	put(&b, REG_A, 0x26);
	assert_int_equal(held_for(&b, 100), 0);
	vmt_rtc_reset(&b.rtc, b.now);
	put(&b, REG_A, 0x26);
	assert_int_equal(held_for(&b, 100), 0);
}

static void a_lead_must_leave_room(void **state)
{
	struct bench b = bench_at(2024, 1, 2, 3, 4, 5), before = b;

	(void)state;
	assert_int_equal(vmt_rtc_exact(&b.rtc, b.now, VMT_RTC_LEAD_MAX_NS + 1), -EINVAL);
	assert_memory_equal(&b.rtc, &before.rtc, sizeof(b.rtc));
	assert_int_equal(vmt_rtc_exact(&b.rtc, b.now, VMT_RTC_LEAD_MAX_NS), 0);
	boot(&b, false);
	assert_int_equal(rest(&b), 500 * MS - VMT_RTC_LEAD_MAX_NS - SPAN);
}

/* Saved and loaded before every step of the boot, it holds the same. */
static void a_snapshot_keeps_where_it_is(void **state)
{
	struct bench b = exact_at(10 * MS);

	(void)state;
	for (int step = 0; step < 6; step++) {
		struct vmt_rtc back;
		uint8_t bytes[VMT_RTC_SAVED];
		int size = vmt_rtc_save(&b.rtc, bytes, sizeof(bytes));

		vmt_rtc_init(&back, 0, 0);
		assert_int_equal(vmt_rtc_load(&back, b.now, bytes, (size_t)size), 0);
		assert_memory_equal(&back, &b.rtc, sizeof(back));
		b.rtc = back;
		if (step == 0)
			probe(&b);
		else if (step == 2)
			read_alarm(&b);
		else
			get_time(&b);
	}
	assert_int_equal(rest(&b), AIM);
}

static void impossible_holds_are_refused(void **state)
{
	(void)state;
	for (int i = 0; i < 10; i++) {
		struct bench b = exact_at(0);
		struct vmt_rtc s = b.rtc, back = b.rtc;
		uint8_t bytes[VMT_RTC_SAVED];
		int size;

		if (i < 2)
			s.exact = i ? 2 : 0;
		else if (i == 2)
			s.driven = 2;
		else if (i == 3)
			s.stage = 4;
		else if (i == 4)
			s.burst = 0xc0;
		else if (i == 5)
			s.lead_ns = VMT_RTC_LEAD_MAX_NS + 1;
		else if (i == 6)
			s.hold_until_ns = b.now + 60 * SECOND + 1;
		else if (i == 7)
			s.hold_until_ns = VMT_NEVER;
		else if (i == 8)
			s.fields_ns = b.now + 1;
		size = vmt_rtc_save(&s, bytes, sizeof(bytes));
		assert_int_equal(vmt_rtc_load(&back, b.now, bytes, (size_t)size),
				 i == 9 ? 0 : -EINVAL);
		assert_memory_equal(&back, &b.rtc, sizeof(back));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(linux_takes_the_clock_at_half_a_second),
		cmocka_unit_test(the_four_readings_one_by_one),
		cmocka_unit_test(a_busy_host_costs_another_second),
		cmocka_unit_test(too_late_in_a_second_the_next_one_is_shown),
		cmocka_unit_test(nothing_before_the_driver),
		cmocka_unit_test(a_hundred_readings_at_run_time_are_not_held),
		cmocka_unit_test(a_clock_that_was_set_holds_nothing),
		cmocka_unit_test(a_minute_after_power_on_it_is_over),
		cmocka_unit_test(the_window_closes_after_the_first_hold),
		cmocka_unit_test(a_reset_arms_again),
		cmocka_unit_test(the_slowest_guest_is_kept_for_a_second_at_most),
		cmocka_unit_test(other_orders_are_not_held),
		cmocka_unit_test(a_plain_clock_holds_nothing),
		cmocka_unit_test(a_lead_must_leave_room),
		cmocka_unit_test(a_snapshot_keeps_where_it_is),
		cmocka_unit_test(impossible_holds_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
