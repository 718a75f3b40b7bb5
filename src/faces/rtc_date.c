/* SPDX-License-Identifier: Apache-2.0 */
/* rtc_date.c - days and dates, BCD and binary, and the next time that an alarm matches. */
#include "faces/rtc_date.h"

enum { DAY_S = 86400, HOUR_S = 3600, MINUTE_S = 60, PM = 0x80, ANY = 0xc0 };
enum { DAYS_400Y = 146097, DAYS_TO_1970 = 719468 }; /* from 0000-03-01 */

struct date {
	int64_t year;
	unsigned month, day; /* from 1 */
};

static int64_t floor_div(int64_t n, int64_t d)
{
	return n / d - (n % d < 0);
}

static int64_t floor_mod(int64_t n, int64_t d)
{
	return n - floor_div(n, d) * d;
}

/* Years begin in March here, so that the leap day is a year's last and months have lengths by a
 * rule: 153 days each five, from March on. */
static struct date date_of(int64_t days_since_1970)
{
	int64_t days = days_since_1970 + DAYS_TO_1970;
	unsigned in_era = (unsigned)floor_mod(days, DAYS_400Y);
	unsigned years = (in_era - in_era / 1460 + in_era / 36524 - in_era / 146096) / 365;
	unsigned in_year = in_era - (years * 365 + years / 4 - years / 100);
	unsigned march = (in_year * 5 + 2) / 153; /* months since March */

	return (struct date){
		.year = floor_div(days, DAYS_400Y) * 400 + years + (march >= 10),
		.month = march < 10 ? march + 3 : march - 9,
		.day = in_year - (march * 153 + 2) / 5 + 1,
	};
}

/* month 1..12; the day may be any. */
static int64_t days_since_1970(int64_t year, unsigned month, int64_t day)
{
	unsigned march = (month + 9) % 12;
	int64_t y = year - (month < 3);
	unsigned in_era = (unsigned)floor_mod(y, 400);

	return floor_div(y, 400) * DAYS_400Y + in_era * 365 + in_era / 4 - in_era / 100 +
	       (march * 153 + 2) / 5 + day - 1 - DAYS_TO_1970;
}

/* 0..6 from Sunday; 1970-01-01 was a Thursday. */
static unsigned weekday(int64_t days)
{
	return (unsigned)floor_mod(days + 4, 7);
}

static uint8_t number_byte(unsigned number, struct vmt_rtc_format format)
{
	return (uint8_t)(format.binary ? number : number / 10 << 4 | number % 10);
}

static uint8_t hour_byte(unsigned hour, struct vmt_rtc_format format)
{
	if (format.hours24)
		return number_byte(hour, format);
	return number_byte(hour % 12 ? hour % 12 : 12, format) | (hour >= 12 ? PM : 0);
}

uint8_t vmt_rtc_show(int64_t seconds, uint8_t week_skew, unsigned index,
		     struct vmt_rtc_format format)
{
	int64_t days = floor_div(seconds, DAY_S);
	unsigned in_day = (unsigned)floor_mod(seconds, DAY_S);

	switch (index) {
	case VMT_RTC_SECOND:
		return number_byte(in_day % 60, format);
	case VMT_RTC_MINUTE:
		return number_byte(in_day / MINUTE_S % 60, format);
	case VMT_RTC_HOUR:
		return hour_byte(in_day / HOUR_S, format);
	case VMT_RTC_WEEKDAY:
		return number_byte((weekday(days) + week_skew) % 7 + 1, format);
	case VMT_RTC_DAY:
		return number_byte(date_of(days).day, format);
	case VMT_RTC_MONTH:
		return number_byte(date_of(days).month, format);
	case VMT_RTC_YEAR:
		return number_byte((unsigned)floor_mod(date_of(days).year, 100), format);
	default:
		return number_byte((unsigned)(floor_mod(date_of(days).year, 10000) / 100), format);
	}
}

static unsigned number(uint8_t byte, struct vmt_rtc_format format)
{
	return format.binary ? byte : (byte >> 4) * 10u + (byte & 15);
}

static unsigned hour(uint8_t byte, struct vmt_rtc_format format)
{
	if (format.hours24)
		return number(byte, format);
	return number(byte & ~PM & 0xff, format) % 12 + (byte & PM ? 12 : 0);
}

int64_t vmt_rtc_parse(const uint8_t *cmos, struct vmt_rtc_format format, uint8_t *ret_week_skew)
{
	int64_t year =
		number(cmos[VMT_RTC_CENTURY], format) * 100 + number(cmos[VMT_RTC_YEAR], format);
	int64_t month = (int64_t)number(cmos[VMT_RTC_MONTH], format) - 1; /* from 0, or -1 */
	int64_t days, seconds;

	days = days_since_1970(year + floor_div(month, 12), (unsigned)floor_mod(month, 12) + 1,
			       number(cmos[VMT_RTC_DAY], format));
	seconds = days * DAY_S + hour(cmos[VMT_RTC_HOUR], format) * HOUR_S +
		  number(cmos[VMT_RTC_MINUTE], format) * MINUTE_S +
		  number(cmos[VMT_RTC_SECOND], format);
	*ret_week_skew = (uint8_t)floor_mod((int64_t)number(cmos[VMT_RTC_WEEKDAY], format) - 1 -
						    weekday(floor_div(seconds, DAY_S)),
					    7);
	return seconds;
}

/* The chip compares bytes: only what would be shown matches. */
int vmt_rtc_alarm_number(uint8_t byte, struct vmt_rtc_format format)
{
	unsigned n = number(byte, format);

	if (byte >= ANY)
		return VMT_RTC_ANY;
	return n < 60 && number_byte(n, format) == byte ? (int)n : VMT_RTC_NONE;
}

int vmt_rtc_alarm_hour(uint8_t byte, struct vmt_rtc_format format)
{
	unsigned h = hour(byte, format);

	if (byte >= ANY)
		return VMT_RTC_ANY;
	return h < 24 && hour_byte(h, format) == byte ? (int)h : VMT_RTC_NONE;
}

int64_t vmt_rtc_next_alarm(const struct vmt_rtc_alarm *alarm, int64_t after)
{
	int64_t day = floor_div(after + 1, DAY_S);
	int in_day = (int)floor_mod(after + 1, DAY_S);
	int h = in_day / HOUR_S, m = in_day / MINUTE_S % 60, s = in_day % 60;
	int first_h = alarm->hour < 0 ? 0 : alarm->hour, last_h = alarm->hour < 0 ? 23 : first_h;
	int first_m = alarm->minute < 0 ? 0 : alarm->minute,
	    last_m = alarm->minute < 0 ? 59 : first_m;
	int first_s = alarm->second < 0 ? 0 : alarm->second,
	    last_s = alarm->second < 0 ? 59 : first_s;

	/* From the seconds upwards: where a field has passed its last match, the next higher one
	 * steps; where a field had to move, all lower ones begin at their first match. */
	if (s > last_s) {
		m++;
		s = first_s;
	} else if (s < first_s) {
		s = first_s;
	}
	if (m > last_m) {
		h++;
		m = first_m;
		s = first_s;
	} else if (m < first_m) {
		m = first_m;
		s = first_s;
	}
	if (h > last_h) {
		day++;
		h = first_h;
		m = first_m;
		s = first_s;
	} else if (h < first_h) {
		h = first_h;
		m = first_m;
		s = first_s;
	}
	return day * DAY_S + h * HOUR_S + m * MINUTE_S + s;
}
