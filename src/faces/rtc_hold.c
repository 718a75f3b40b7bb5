/* SPDX-License-Identifier: Apache-2.0 */
/* rtc_hold.c - which read of the RTC's seconds is held back, and until when. */
#include "faces/rtc_hold.h"

#include "core/ns.h"
#include "faces/rtc_date.h"

enum { ALARM_SECOND = 1, ALARM_MINUTE = 3, ALARM_HOUR = 5, REG_A = 10, REG_B = 11 };
enum { HALF_S_NS = 500000000, WINDOW_NS = 100000000, SPAN_MAX_NS = 2000000, LITTLE_NS = 1000000 };
enum { NONE_YET, WAS_LATE, FIRST_HELD, LAST_LATE }; /* s->stage */
#define ARMED_NS (60 * (uint64_t)VMT_NS_PER_S)

/* What was read since the last burst, and how many bursts are still the alarm's: s->burst. */
enum { FIELDS = 0x1f, A_LAST = 0x20, ALARMS = 0xc0, ONE_ALARM = 0x40, TWO_ALARMS = 0x80 };

static uint8_t field(unsigned index)
{
	switch (index) {
	case VMT_RTC_MINUTE:
		return 0x01;
	case VMT_RTC_HOUR:
		return 0x02;
	case VMT_RTC_DAY:
		return 0x04;
	case VMT_RTC_MONTH:
		return 0x08;
	case VMT_RTC_YEAR:
		return 0x10;
	default:
		return 0;
	}
}

void vmt_rtc_hold_arm(struct vmt_rtc *s)
{
	s->hold_until_ns = s->exact ? vmt_ns_add(s->seen_ns, ARMED_NS) : 0;
	s->fields_ns = 0;
	s->burst = 0;
	s->driven = 0;
	s->stage = NONE_YET;
}

/* What the guest needs from the last read to its clock is, measured, about what it took from the
 * first field to the last read: both are a few dozen exits or a wake-up, fast on hardware and slow
 * where that is emulated.  A guest that was interrupted meanwhile took longer than that. */
static uint32_t span_ns(const struct vmt_rtc *s)
{
	uint64_t span = s->seen_ns - s->fields_ns;

	return span < SPAN_MAX_NS ? (uint32_t)span : SPAN_MAX_NS;
}

/* To the end of this second: the guest then reads anew. */
static vmt_ns until_next(struct vmt_rtc *s, uint32_t rest_ns, uint8_t stage)
{
	s->stage = stage;
	return vmt_ns_add(s->seen_ns, VMT_NS_PER_S - rest_ns);
}

/* The first burst ends here.  When may it? */
static vmt_ns hold_first(struct vmt_rtc *s, uint32_t rest_ns, uint32_t until_ns)
{
	if (rest_ns > until_ns && s->stage == NONE_YET)
		return until_next(s, rest_ns, WAS_LATE);
	s->stage = FIRST_HELD;
	/* Late again: a guest that takes so long to read is not kept any longer. */
	return rest_ns > until_ns ? s->seen_ns : vmt_ns_add(s->seen_ns, until_ns - rest_ns);
}

/* The one that counts. */
static vmt_ns hold_last(struct vmt_rtc *s, uint32_t rest_ns, uint32_t until_ns)
{
	if (rest_ns > until_ns + LITTLE_NS && s->stage == FIRST_HELD)
		return until_next(s, rest_ns, LAST_LATE);
	s->hold_until_ns = 0;
	return rest_ns > until_ns ? s->seen_ns : vmt_ns_add(s->seen_ns, until_ns - rest_ns);
}

static vmt_ns hold(struct vmt_rtc *s, uint32_t rest_ns)
{
	uint32_t aim = HALF_S_NS - s->lead_ns - span_ns(s);
	vmt_ns ready;

	if (s->stage >= FIRST_HELD)
		ready = hold_last(s, rest_ns, aim);
	else
		ready = hold_first(s, rest_ns, aim - VMT_RTC_HOLD_EARLY_NS);
	if (s->hold_until_ns && s->stage >= FIRST_HELD)
		s->hold_until_ns = vmt_ns_add(ready, WINDOW_NS);
	return ready;
}

vmt_ns vmt_rtc_hold_read(struct vmt_rtc *s, unsigned index, bool updating, uint32_t rest_ns)
{
	uint8_t before = s->burst, alarms = before & ALARMS;

	if (s->seen_ns >= s->hold_until_ns)
		return s->seen_ns;
	switch (index) {
	case VMT_RTC_SECOND:
		s->burst = alarms;
		if ((before & ~ALARMS) != (FIELDS | A_LAST))
			return s->seen_ns;
		if (alarms && s->stage >= FIRST_HELD) {
			s->burst -= ONE_ALARM;
			s->hold_until_ns = vmt_ns_add(s->seen_ns, WINDOW_NS);
			return s->seen_ns;
		}
		s->burst = 0;
		return s->driven ? hold(s, rest_ns) : s->seen_ns;
	case REG_A:
		s->burst = updating ? alarms : before | A_LAST;
		return s->seen_ns;
	case ALARM_SECOND:
	case ALARM_MINUTE:
	case ALARM_HOUR:
		s->burst = TWO_ALARMS;
		return s->seen_ns;
	default:
		if (!(before & FIELDS) && field(index))
			s->fields_ns = s->seen_ns;
		s->burst = (before & (FIELDS | ALARMS)) | field(index);
		return s->seen_ns;
	}
}

void vmt_rtc_hold_write(struct vmt_rtc *s, unsigned index, bool set)
{
	if (!s->hold_until_ns)
		return;
	s->burst &= ALARMS;
	if (index == REG_A || index == REG_B)
		s->driven = 1;
	if (set)
		s->hold_until_ns = 0;
}

bool vmt_rtc_hold_good(const struct vmt_rtc *s)
{
	if (!s->exact)
		return !s->hold_until_ns && !s->fields_ns && !s->lead_ns && !s->burst &&
		       !s->driven && !s->stage;
	return s->exact == 1 && s->driven <= 1 && s->stage <= LAST_LATE &&
	       s->fields_ns <= s->seen_ns && s->burst < (TWO_ALARMS | ONE_ALARM) &&
	       s->lead_ns <= VMT_RTC_LEAD_MAX_NS &&
	       s->hold_until_ns <= vmt_ns_add(s->seen_ns, ARMED_NS);
}
