/* SPDX-License-Identifier: Apache-2.0 */
/* rtc_bench.h - an RTC on the bench: read and written by index, at a time that moves on. */
#ifndef TESTS_RTC_BENCH_H
#define TESTS_RTC_BENCH_H

#include <stdbool.h>
#include <stdint.h>
#include <time.h>
#include <vmtime/rtc.h>

enum { SEC = 0, MIN = 2, HOUR = 4, WDAY = 6, MDAY = 7, MONTH = 8, YEAR = 9, CENTURY = 0x32 };
enum {
	ALARM_SEC = 1,
	ALARM_MIN = 3,
	ALARM_HOUR = 5,
	REG_A = 10,
	REG_B = 11,
	REG_C = 12,
	REG_D = 13
};
enum { UIP = 0x80, SET = 0x80, PIE = 0x40, AIE = 0x20, UIE = 0x10, DM = 4, H24 = 2 };
enum { IRQF = 0x80, PF = 0x40, AF = 0x20, UF = 0x10 };

#define SECOND UINT64_C(1000000000)

struct bench {
	struct vmt_rtc rtc;
	vmt_ns now;
	struct vmt_out out;
	uint64_t rises, missed; /* so far */
};

static inline void note(struct bench *b, struct vmt_out out)
{
	b->out = out;
	b->rises += out.rises[VMT_RTC_IRQ];
	b->missed += out.rises[VMT_RTC_MISSED];
}

/* Powered on some time ago, at the edge of a second; UTC as given. */
static inline struct bench bench_at(int year, int month, int day, int hour, int minute, int second)
{
	struct tm tm = {.tm_year = year - 1900,
			.tm_mon = month - 1,
			.tm_mday = day,
			.tm_hour = hour,
			.tm_min = minute,
			.tm_sec = second};
	struct bench b = {.now = 100 * SECOND};

	vmt_rtc_init(&b.rtc, b.now, (int64_t)timegm(&tm) * 1000000000 - (int64_t)b.now);
	return b;
}

static inline void until(struct bench *b, vmt_ns now)
{
	b->now = now;
	note(b, vmt_rtc_advance(&b->rtc, now));
}

static inline void pass(struct bench *b, uint64_t ns)
{
	until(b, b->now + ns);
}

static inline uint8_t get(struct bench *b, unsigned index)
{
	uint8_t value;

	note(b, vmt_rtc_write(&b->rtc, b->now, VMT_RTC_INDEX, (uint8_t)index));
	note(b, vmt_rtc_read(&b->rtc, b->now, VMT_RTC_DATA, &value));
	return value;
}

static inline void put(struct bench *b, unsigned index, unsigned value)
{
	note(b, vmt_rtc_write(&b->rtc, b->now, VMT_RTC_INDEX, (uint8_t)index));
	note(b, vmt_rtc_write(&b->rtc, b->now, VMT_RTC_DATA, (uint8_t)value));
}

/* hhmmss as it is read in BCD and 24 hours. */
static inline unsigned clock_time(struct bench *b)
{
	return (unsigned)get(b, HOUR) << 16 | (unsigned)get(b, MIN) << 8 | get(b, SEC);
}

/* ccyymmdd */
static inline unsigned clock_date(struct bench *b)
{
	return (unsigned)get(b, CENTURY) << 24 | (unsigned)get(b, YEAR) << 16 |
	       (unsigned)get(b, MONTH) << 8 | get(b, MDAY);
}

static inline void set_alarm(struct bench *b, unsigned hour, unsigned minute, unsigned second)
{
	put(b, ALARM_HOUR, hour);
	put(b, ALARM_MIN, minute);
	put(b, ALARM_SEC, second);
}

#endif
