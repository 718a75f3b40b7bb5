/* SPDX-License-Identifier: Apache-2.0 */
/* rtc_date_test.c - the RTC's calendar against the C library's, and its alarm against a search
 * second by second. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>
#include <cmocka.h>

#include "../random.h"
#include "faces/rtc_date.h"

static const struct vmt_rtc_format binary = {.binary = true, .hours24 = true};
static const struct vmt_rtc_format formats[] = {
	{false, false}, {false, true}, {true, false}, {true, true}};
static const uint8_t fields[] = {VMT_RTC_SECOND, VMT_RTC_MINUTE, VMT_RTC_HOUR, VMT_RTC_WEEKDAY,
				 VMT_RTC_DAY,    VMT_RTC_MONTH,  VMT_RTC_YEAR, VMT_RTC_CENTURY};

static int64_t day(int year, int month, int mday)
{
	struct tm tm = {.tm_year = year - 1900, .tm_mon = month - 1, .tm_mday = mday};

	return timegm(&tm);
}

static void shows(int64_t seconds, const struct tm *tm)
{
	int year = tm->tm_year + 1900;

	assert_int_equal(vmt_rtc_show(seconds, 0, VMT_RTC_SECOND, binary), tm->tm_sec);
	assert_int_equal(vmt_rtc_show(seconds, 0, VMT_RTC_MINUTE, binary), tm->tm_min);
	assert_int_equal(vmt_rtc_show(seconds, 0, VMT_RTC_HOUR, binary), tm->tm_hour);
	assert_int_equal(vmt_rtc_show(seconds, 0, VMT_RTC_WEEKDAY, binary), tm->tm_wday + 1);
	assert_int_equal(vmt_rtc_show(seconds, 0, VMT_RTC_DAY, binary), tm->tm_mday);
	assert_int_equal(vmt_rtc_show(seconds, 0, VMT_RTC_MONTH, binary), tm->tm_mon + 1);
	assert_int_equal(vmt_rtc_show(seconds, 0, VMT_RTC_YEAR, binary), year % 100);
	assert_int_equal(vmt_rtc_show(seconds, 0, VMT_RTC_CENTURY, binary), year / 100);
}

static void every_date_is_the_c_librarys(void **state)
{
	(void)state;
	/* each day of 800 years, at another time of the day */
	for (int64_t s = day(1600, 1, 1); s < day(2400, 1, 1); s += 86400 + 1) {
		time_t t = s;
		struct tm tm;

		gmtime_r(&t, &tm);
		shows(s, &tm);
	}
}

/* In each format, what is shown is parsed to the same time. */
static void what_is_shown_is_what_was_set(void **state)
{
	struct random random = random_start();
	int64_t first = day(0, 1, 1), last = day(10000, 1, 1);

	(void)state;
	for (int i = 0; i < 200000; i++) {
		int64_t s = first + (int64_t)(random_next(&random) % (uint64_t)(last - first));
		struct vmt_rtc_format format = formats[random_below(&random, 4)];
		uint8_t cmos[128] = {0}, skew = (uint8_t)random_below(&random, 7), parsed;

		for (size_t f = 0; f < sizeof(fields); f++)
			cmos[fields[f]] = vmt_rtc_show(s, skew, fields[f], format);
		assert_int_equal(vmt_rtc_parse(cmos, format, &parsed), s);
		assert_int_equal(parsed, skew);
	}
}

static void twelve_hours_begin_at_twelve(void **state)
{
	const struct vmt_rtc_format bcd12 = {false, false};

	(void)state;
	assert_int_equal(vmt_rtc_show(0, 0, VMT_RTC_HOUR, bcd12), 0x12);         /* 12 AM */
	assert_int_equal(vmt_rtc_show(11 * 3600, 0, VMT_RTC_HOUR, bcd12), 0x11); /* 11 AM */
	assert_int_equal(vmt_rtc_show(12 * 3600, 0, VMT_RTC_HOUR, bcd12), 0x92); /* 12 PM */
	assert_int_equal(vmt_rtc_show(23 * 3600, 0, VMT_RTC_HOUR, bcd12), 0x91); /* 11 PM */
	assert_int_equal(vmt_rtc_alarm_hour(0x92, bcd12), 12);
	assert_int_equal(vmt_rtc_alarm_hour(0x12, bcd12), 0);
	assert_int_equal(vmt_rtc_alarm_hour(0x00, bcd12), VMT_RTC_NONE);
	assert_int_equal(vmt_rtc_alarm_hour(0xc0, bcd12), VMT_RTC_ANY);
}

static void impossible_dates_carry_over(void **state)
{
	uint8_t cmos[128] = {[VMT_RTC_CENTURY] = 21,
			     [VMT_RTC_YEAR] = 0,
			     [VMT_RTC_MONTH] = 2,
			     [VMT_RTC_DAY] = 29},
		skew;

	(void)state;
	assert_int_equal(vmt_rtc_parse(cmos, binary, &skew), day(2100, 3, 1)); /* no leap year */
	cmos[VMT_RTC_MONTH] = 13;
	assert_int_equal(vmt_rtc_parse(cmos, binary, &skew), day(2101, 1, 29));
	cmos[VMT_RTC_MONTH] = 0;
	cmos[VMT_RTC_DAY] = 0;
	assert_int_equal(vmt_rtc_parse(cmos, binary, &skew), day(2099, 11, 30));
	for (int i = 0; i < 128; i++)
		cmos[i] = 0xff;
	assert_in_range(vmt_rtc_parse(cmos, binary, &skew), 0, 1000000000000);
	assert_true(skew < 7);
}

static bool matches(const struct vmt_rtc_alarm *a, int64_t s)
{
	return (a->second < 0 || s % 60 == a->second) &&
	       (a->minute < 0 || s / 60 % 60 == a->minute) &&
	       (a->hour < 0 || s / 3600 % 24 == a->hour);
}

static int any_or(struct random *random, int below)
{
	return random_below(random, 3) ? (int)random_below(random, (uint32_t)below) : VMT_RTC_ANY;
}

static void the_next_alarm_is_the_first_second_that_matches(void **state)
{
	struct random random = random_start();

	(void)state;
	for (int i = 0; i < 2000; i++) {
		struct vmt_rtc_alarm alarm = {
			.hour = any_or(&random, 24),
			.minute = any_or(&random, 60),
			.second = any_or(&random, 60),
		};
		int64_t after = day(2024, 2, 28) + random_below(&random, 3 * 86400), s = after + 1;

		while (!matches(&alarm, s))
			s++;
		assert_int_equal(vmt_rtc_next_alarm(&alarm, after), s);
		assert_int_equal(vmt_rtc_next_alarm(&alarm, s - 1), s);
		assert_true(vmt_rtc_next_alarm(&alarm, s) > s);
	}
}

static void an_alarm_matches_only_what_is_shown(void **state)
{
	(void)state;
	for (size_t f = 0; f < 4; f++)
		for (int byte = 0; byte < 256; byte++) {
			int number = byte >= 0xc0 ? VMT_RTC_ANY : VMT_RTC_NONE;
			int hour = number;

			for (int i = 0; number != VMT_RTC_ANY && i < 60; i++)
				if (vmt_rtc_show(i, 0, VMT_RTC_SECOND, formats[f]) == byte)
					number = i;
			for (int i = 0; hour != VMT_RTC_ANY && i < 24; i++)
				if (vmt_rtc_show(i * 3600, 0, VMT_RTC_HOUR, formats[f]) == byte)
					hour = i;
			assert_int_equal(vmt_rtc_alarm_number((uint8_t)byte, formats[f]), number);
			assert_int_equal(vmt_rtc_alarm_hour((uint8_t)byte, formats[f]), hour);
		}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_date_is_the_c_librarys),
		cmocka_unit_test(what_is_shown_is_what_was_set),
		cmocka_unit_test(twelve_hours_begin_at_twelve),
		cmocka_unit_test(impossible_dates_carry_over),
		cmocka_unit_test(the_next_alarm_is_the_first_second_that_matches),
		cmocka_unit_test(an_alarm_matches_only_what_is_shown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
