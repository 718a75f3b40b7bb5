/* SPDX-License-Identifier: Apache-2.0 */
/* rtc_date.h - the calendar of the RTC, and how its bytes show it.
 *
 * Time is a signed number of seconds since 1970-01-01 00:00:00 in the Gregorian calendar, leap
 * seconds not counted.  The clock shows four digits of the year: it comes round after 10,000
 * years. */
#ifndef FACES_RTC_DATE_H
#define FACES_RTC_DATE_H

#include <stdbool.h>
#include <stdint.h>

/* The ten bytes, by their index in the CMOS memory. */
enum vmt_rtc_byte {
	VMT_RTC_SECOND = 0,
	VMT_RTC_MINUTE = 2,
	VMT_RTC_HOUR = 4,
	VMT_RTC_WEEKDAY = 6,
	VMT_RTC_DAY = 7,
	VMT_RTC_MONTH = 8,
	VMT_RTC_YEAR = 9,
	VMT_RTC_CENTURY = 0x32,
};

/* Register B's say in how a byte shows its number. */
struct vmt_rtc_format {
	bool binary; /* else BCD */
	bool hours24;
};

/* The byte `index` (enum vmt_rtc_byte) at `seconds`; week_skew is added to the day of the week. */
uint8_t vmt_rtc_show(int64_t seconds, uint8_t week_skew, unsigned index,
		     struct vmt_rtc_format format);

/* The seconds that the bytes of a CMOS memory show, and its day of the week against that of the
 * date.  What is out of range carries over; results lie within +-10^12. */
int64_t vmt_rtc_parse(const uint8_t *cmos, struct vmt_rtc_format format, uint8_t *ret_week_skew);

/* What an alarm byte matches: a number, any, or none, since no time is ever shown so. */
enum { VMT_RTC_ANY = -1, VMT_RTC_NONE = -2 };

int vmt_rtc_alarm_hour(uint8_t byte, struct vmt_rtc_format format);
int vmt_rtc_alarm_number(uint8_t byte, struct vmt_rtc_format format); /* minute or second */

/* Numbers, or VMT_RTC_ANY. */
struct vmt_rtc_alarm {
	int hour, minute, second;
};

/* The first second after `after` that the alarm matches. */
int64_t vmt_rtc_next_alarm(const struct vmt_rtc_alarm *alarm, int64_t after);

#endif
