/* SPDX-License-Identifier: Apache-2.0 */
/* rtc.c - MC146818 real-time clock: registers, updates, interrupts.
 *
 * While the time runs it is never stored: it is UTC plus what the guest made of it.  While it
 * stands (SET, or the divider held) its bytes stand in the CMOS memory, and when it goes on they
 * are turned into a distance to UTC again. */
#include <vmtime/rtc.h>

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "core/ns.h"
#include "core/snap.h"
#include "faces/into.h"
#include "faces/rtc_date.h"
#include "faces/rtc_hold.h"

enum { REG_A = 10, REG_B = 11, REG_C = 12, REG_D = 13, ALIAS_CENTURY = 0x37 };
enum { ALARM_SECOND = 1, ALARM_MINUTE = 3, ALARM_HOUR = 5 };
enum { A_UIP = 0x80, A_RESET = 0x26, DIVIDER_LAST = 2 };
enum {
	B_SET = 0x80,
	B_PIE = 0x40,
	B_AIE = 0x20,
	B_UIE = 0x10,
	B_SQWE = 0x08,
	B_BINARY = 4,
	B_24H = 2
};
enum { C_IRQF = 0x80, C_PF = 0x40, C_AF = 0x20, C_UF = 0x10, C_FLAGS = 0x70, D_VALID = 0x80 };
enum { UIP_NS = 244000 + 1984000, HALF_S_NS = 500000000, SAVED_VERSION = 2 };

#define OFFSET_MAX_S INT64_C(1000000000000)

static bool divider_held(const struct vmt_rtc *s)
{
	return (s->cmos[REG_A] >> 4) > DIVIDER_LAST;
}

/* The time stands. */
static bool held(const struct vmt_rtc *s)
{
	return s->cmos[REG_B] & B_SET || divider_held(s);
}

/* Flags and enables lie at the same bits. */
static bool irq(const struct vmt_rtc *s)
{
	return s->cmos[REG_B] & s->cmos[REG_C] & C_FLAGS;
}

static struct vmt_rtc_format format(const struct vmt_rtc *s)
{
	return (struct vmt_rtc_format){
		.binary = s->cmos[REG_B] & B_BINARY,
		.hours24 = s->cmos[REG_B] & B_24H,
	};
}

/* UTC seconds with the phase, without what the guest made of the seconds; and the rest. */
static int64_t utc_seconds(const struct vmt_rtc *s, vmt_ns now, uint32_t *ret_rest_ns)
{
	int64_t whole = s->utc_offset_ns / VMT_NS_PER_S, rest = s->utc_offset_ns % VMT_NS_PER_S;

	if (rest < 0) {
		rest += VMT_NS_PER_S;
		whole--;
	}
	rest += (int64_t)(now % VMT_NS_PER_S) + s->phase_ns; /* below 3 s */
	*ret_rest_ns = (uint32_t)(rest % VMT_NS_PER_S);
	return (int64_t)(now / VMT_NS_PER_S) + whole + rest / VMT_NS_PER_S;
}

/* What the clock shows, while it runs. */
static int64_t seconds(const struct vmt_rtc *s, vmt_ns now, uint32_t *ret_rest_ns)
{
	return utc_seconds(s, now, ret_rest_ns) + s->offset_s;
}

/* The first second after `after` that the alarm matches; INT64_MAX: none. */
static int64_t next_alarm(const struct vmt_rtc *s, int64_t after)
{
	struct vmt_rtc_alarm alarm = {
		.hour = vmt_rtc_alarm_hour(s->cmos[ALARM_HOUR], format(s)),
		.minute = vmt_rtc_alarm_number(s->cmos[ALARM_MINUTE], format(s)),
		.second = vmt_rtc_alarm_number(s->cmos[ALARM_SECOND], format(s)),
	};

	if (alarm.hour == VMT_RTC_NONE || alarm.minute == VMT_RTC_NONE ||
	    alarm.second == VMT_RTC_NONE)
		return INT64_MAX;
	return vmt_rtc_next_alarm(&alarm, after);
}

/* Hz of the periodic flag; 0: none.  Rates 1 and 2 are those of 8 and 9 (table 5). */
static uint32_t periodic_hz(const struct vmt_rtc *s)
{
	unsigned rate = s->cmos[REG_A] & 15;

	if (!rate || divider_held(s))
		return 0;
	return 32768u >> ((rate < 3 ? rate + 7 : rate) - 1);
}

static uint64_t periods_at(const struct vmt_rtc *s, vmt_ns now)
{
	return vmt_ns_to_ticks(vmt_ns_add(now, s->divider_ns), periodic_hz(s));
}

static vmt_ns next_periodic(const struct vmt_rtc *s, vmt_ns now)
{
	uint32_t hz = periodic_hz(s);
	uint64_t at = hz ? vmt_ns_of_tick(periods_at(s, now) + 1, hz) : VMT_NEVER;

	return at == VMT_NEVER ? VMT_NEVER : at - s->divider_ns;
}

/* When the line rises, as things stand at the last call; a high line stays high. */
static vmt_ns next_rise(const struct vmt_rtc *s)
{
	vmt_ns at = VMT_NEVER, periodic;
	uint8_t enabled = s->cmos[REG_B];
	uint32_t rest;
	int64_t shown, target;

	if (irq(s))
		return VMT_NEVER;
	if (!held(s) && enabled & (B_UIE | B_AIE)) {
		shown = seconds(s, s->seen_ns, &rest);
		target = enabled & B_UIE ? shown + 1 : next_alarm(s, shown);
		if (target != INT64_MAX)
			at = vmt_ns_add(s->seen_ns,
					(uint64_t)(target - shown) * VMT_NS_PER_S - rest);
	}
	if (enabled & B_PIE) {
		periodic = next_periodic(s, s->seen_ns);
		at = periodic < at ? periodic : at;
	}
	return at;
}

/* Updates between two times that were shown. */
static void updated(struct vmt_rtc *s, int64_t before, int64_t after)
{
	if (after != before)
		s->raw = 0;
	if (after <= before)
		return;
	s->cmos[REG_C] |= C_UF;
	if (!(s->cmos[REG_C] & C_AF) && next_alarm(s, before) <= after)
		s->cmos[REG_C] |= C_AF;
}

/* Everything that happened up to now. */
static void catch_up(struct vmt_rtc *s, vmt_ns now, struct vmt_out *out)
{
	vmt_ns rise = next_rise(s);
	uint64_t periods = 0;
	uint32_t rest;

	*out = (struct vmt_out){0};
	if (now < s->seen_ns)
		now = s->seen_ns;
	if (periodic_hz(s))
		periods = periods_at(s, now) - periods_at(s, s->seen_ns);
	out->rises[VMT_RTC_IRQ] = rise <= now && rise != VMT_NEVER;
	if (periods && s->cmos[REG_B] & B_PIE) /* all but the one that sets PF */
		out->rises[VMT_RTC_MISSED] = periods - !(s->cmos[REG_C] & C_PF);
	if (periods)
		s->cmos[REG_C] |= C_PF;
	if (!held(s))
		updated(s, seconds(s, s->seen_ns, &rest), seconds(s, now, &rest));
	s->seen_ns = now;
	out->ready = now;
	out->level = irq(s);
}

/* What the call leaves behind; a level that the access raised is an edge too. */
static void settle(const struct vmt_rtc *s, struct vmt_out *out)
{
	out->rises[VMT_RTC_IRQ] += irq(s) && !out->level;
	out->level = irq(s);
	out->deadline = next_rise(s);
}

void vmt_rtc_advance_into(struct vmt_rtc *s, vmt_ns now, struct vmt_out *out)
{
	catch_up(s, now, out);
	settle(s, out);
}

static bool is_time(unsigned index)
{
	return index == VMT_RTC_SECOND || index == VMT_RTC_MINUTE || index == VMT_RTC_HOUR ||
	       (index >= VMT_RTC_WEEKDAY && index <= VMT_RTC_YEAR) || index == VMT_RTC_CENTURY;
}

/* The time stands from here on: its bytes go where they can be written. */
static void stand(struct vmt_rtc *s)
{
	uint32_t rest;
	int64_t shown = seconds(s, s->seen_ns, &rest);

	if (s->raw)
		return; /* there they are */
	for (unsigned i = 0; i < VMT_RTC_BYTES; i++)
		if (is_time(i))
			s->cmos[i] = vmt_rtc_show(shown, s->week_skew, i, format(s));
}

/* The bytes' time runs from here on; until the next update they show what was written. */
static void go_on(struct vmt_rtc *s)
{
	uint32_t rest;

	s->offset_s = vmt_rtc_parse(s->cmos, format(s), &s->week_skew) -
		      utc_seconds(s, s->seen_ns, &rest);
	s->raw = 1;
}

/* The divider is let go: half a second to the first update ("Divider control"). */
static void restart_divider(struct vmt_rtc *s)
{
	uint32_t rest;

	s->phase_ns = 0;
	utc_seconds(s, s->seen_ns, &rest);
	s->phase_ns = (VMT_NS_PER_S + HALF_S_NS - rest) % VMT_NS_PER_S;
	s->divider_ns =
		(VMT_NS_PER_S + HALF_S_NS - (uint32_t)(s->seen_ns % VMT_NS_PER_S)) % VMT_NS_PER_S;
}

/* A or B changes: the time may stop, in the format of before, or go on, in the new one. */
static void write_control(struct vmt_rtc *s, unsigned index, uint8_t value)
{
	struct vmt_rtc before = *s;

	s->cmos[index] = value;
	if (divider_held(&before) && !divider_held(s))
		restart_divider(s);
	if (!held(&before) && held(s)) {
		stand(&before);
		memcpy(s->cmos, before.cmos, REG_A);
		s->cmos[VMT_RTC_CENTURY] = before.cmos[VMT_RTC_CENTURY];
	} else if (held(&before) && !held(s)) {
		go_on(s);
	} else if (index == REG_B && (value ^ before.cmos[REG_B]) & (B_BINARY | B_24H)) {
		s->raw = 0;
	}
}

static void write_data(struct vmt_rtc *s, unsigned index, uint8_t value)
{
	switch (index) {
	case REG_A:
		write_control(s, REG_A, value & ~A_UIP & 0xff);
		return;
	case REG_B:
		write_control(s, REG_B, value & B_SET ? value & ~B_UIE & 0xff : value);
		return;
	case REG_C:
	case REG_D:
		return;
	default:
		if (is_time(index) && !held(s)) {
			stand(s);
			s->cmos[index] = value;
			go_on(s);
		} else {
			s->cmos[index] = value;
		}
	}
}

/* UIP, and how long ago the second began. */
static bool updating(const struct vmt_rtc *s, uint32_t *ret_rest_ns)
{
	seconds(s, s->seen_ns, ret_rest_ns);
	return !held(s) && *ret_rest_ns >= VMT_NS_PER_S - UIP_NS;
}

/* As the guest sees it, at `ready`. */
static uint8_t read_data(struct vmt_rtc *s, unsigned index, vmt_ns ready)
{
	uint8_t value = s->cmos[index];
	uint32_t rest;

	switch (index) {
	case REG_A:
		return value | (updating(s, &rest) ? A_UIP : 0);
	case REG_C:
		value |= irq(s) ? C_IRQF : 0;
		s->cmos[REG_C] = 0;
		return value;
	default:
		if (is_time(index) && !held(s) && !s->raw)
			return vmt_rtc_show(seconds(s, ready, &rest), s->week_skew, index,
					    format(s));
		return value;
	}
}

static unsigned memory_index(const struct vmt_rtc *s)
{
	return s->index == ALIAS_CENTURY ? VMT_RTC_CENTURY : s->index;
}

void vmt_rtc_read_into(struct vmt_rtc *s, vmt_ns now, uint32_t reg, uint8_t *ret_value,
		       struct vmt_out *out)
{
	unsigned index = memory_index(s);
	uint32_t rest;
	bool busy;

	catch_up(s, now, out);
	*ret_value = 0xff;
	if (reg == VMT_RTC_DATA) {
		if (s->hold_until_ns) {
			busy = updating(s, &rest);
			out->ready = vmt_rtc_hold_read(s, index, busy, rest);
		}
		*ret_value = read_data(s, index, out->ready);
	}
	settle(s, out);
}

void vmt_rtc_write_into(struct vmt_rtc *s, vmt_ns now, uint32_t reg, uint8_t value,
			struct vmt_out *out)
{
	unsigned index = memory_index(s);

	catch_up(s, now, out);
	if (reg == VMT_RTC_INDEX) {
		s->index = value & (VMT_RTC_BYTES - 1);
	} else if (reg == VMT_RTC_DATA) {
		write_data(s, index, value);
		vmt_rtc_hold_write(s, index, is_time(index) || held(s));
	}
	settle(s, out);
}

struct vmt_out vmt_rtc_advance(struct vmt_rtc *s, vmt_ns now)
{
	struct vmt_out out;

	vmt_rtc_advance_into(s, now, &out);
	return out;
}

struct vmt_out vmt_rtc_read(struct vmt_rtc *s, vmt_ns now, uint32_t reg, uint8_t *ret_value)
{
	struct vmt_out out;

	vmt_rtc_read_into(s, now, reg, ret_value, &out);
	return out;
}

struct vmt_out vmt_rtc_write(struct vmt_rtc *s, vmt_ns now, uint32_t reg, uint8_t value)
{
	struct vmt_out out;

	vmt_rtc_write_into(s, now, reg, value, &out);
	return out;
}

struct vmt_out vmt_rtc_utc(struct vmt_rtc *s, vmt_ns now, int64_t utc_offset_ns)
{
	struct vmt_out out;
	uint32_t rest;
	int64_t shown;

	catch_up(s, now, &out);
	shown = seconds(s, s->seen_ns, &rest);
	s->utc_offset_ns = utc_offset_ns;
	if (!held(s))
		updated(s, shown, seconds(s, s->seen_ns, &rest));
	settle(s, &out);
	return out;
}

struct vmt_out vmt_rtc_repeat(struct vmt_rtc *s, vmt_ns now)
{
	struct vmt_out out;

	catch_up(s, now, &out);
	if (vmt_rtc_period_ns(s))
		s->cmos[REG_C] |= C_PF;
	settle(s, &out);
	return out;
}

int64_t vmt_rtc_offset_ns(const struct vmt_rtc *s)
{
	return vmt_ns_clamp((vmt_ns_i128)s->offset_s * VMT_NS_PER_S + s->phase_ns);
}

uint64_t vmt_rtc_period_ns(const struct vmt_rtc *s)
{
	uint32_t hz = periodic_hz(s);

	return hz && s->cmos[REG_B] & B_PIE ? vmt_ns_of_tick(1, hz) : 0;
}

void vmt_rtc_init(struct vmt_rtc *s, vmt_ns now, int64_t utc_offset_ns)
{
	*s = (struct vmt_rtc){.seen_ns = now, .utc_offset_ns = utc_offset_ns};
	s->cmos[REG_A] = A_RESET;
	s->cmos[REG_B] = B_24H;
	s->cmos[REG_D] = D_VALID;
	utc_seconds(s, 0, &s->divider_ns); /* periods begin with seconds */
}

int vmt_rtc_exact(struct vmt_rtc *s, vmt_ns now, uint32_t lead_ns)
{
	struct vmt_out dropped;

	if (lead_ns > VMT_RTC_LEAD_MAX_NS)
		return -EINVAL;
	catch_up(s, now, &dropped);
	s->exact = 1;
	s->lead_ns = lead_ns;
	vmt_rtc_hold_arm(s);
	return 0;
}

void vmt_rtc_reset(struct vmt_rtc *s, vmt_ns now)
{
	struct vmt_out dropped;

	catch_up(s, now, &dropped);
	s->cmos[REG_B] &= (uint8_t) ~(B_PIE | B_AIE | B_UIE | B_SQWE);
	s->cmos[REG_C] = 0;
	vmt_rtc_hold_arm(s);
}

int vmt_rtc_save(const struct vmt_rtc *s, void *buf, size_t size)
{
	struct vmt_snap_writer w;

	static_assert(sizeof(struct vmt_rtc) == 192, "a new field is to be saved");
	vmt_snap_start(&w, buf, size, VMT_SNAP_RTC, SAVED_VERSION);
	vmt_snap_put(&w, s->seen_ns, 8);
	vmt_snap_put(&w, (uint64_t)s->utc_offset_ns, 8);
	vmt_snap_put(&w, (uint64_t)s->offset_s, 8);
	vmt_snap_put(&w, s->hold_until_ns, 8);
	vmt_snap_put(&w, s->fields_ns, 8);
	vmt_snap_put(&w, s->phase_ns, 4);
	vmt_snap_put(&w, s->divider_ns, 4);
	vmt_snap_put(&w, s->lead_ns, 4);
	vmt_snap_put(&w, s->index, 1);
	vmt_snap_put(&w, s->week_skew, 1);
	vmt_snap_put(&w, s->raw, 1);
	vmt_snap_put(&w, s->exact, 1);
	vmt_snap_put(&w, s->driven, 1);
	vmt_snap_put(&w, s->stage, 1);
	vmt_snap_put(&w, s->burst, 1);
	vmt_snap_put_bytes(&w, s->cmos, VMT_RTC_BYTES);
	return vmt_snap_finish(&w);
}

static bool good(const struct vmt_rtc *s, vmt_ns now)
{
	return s->seen_ns <= now && s->phase_ns < VMT_NS_PER_S && s->divider_ns < VMT_NS_PER_S &&
	       s->offset_s <= OFFSET_MAX_S && s->offset_s >= -OFFSET_MAX_S &&
	       s->index < VMT_RTC_BYTES && s->week_skew < 7 && s->raw <= 1 &&
	       !(s->cmos[REG_A] & A_UIP) && !(s->cmos[REG_C] & ~C_FLAGS) &&
	       s->cmos[REG_D] == D_VALID && !(s->cmos[REG_B] & B_SET && s->cmos[REG_B] & B_UIE) &&
	       vmt_rtc_hold_good(s);
}

int vmt_rtc_load(struct vmt_rtc *s, vmt_ns now, const void *buf, size_t size)
{
	struct vmt_rtc loaded = {0};
	struct vmt_snap_reader r;

	vmt_snap_open(&r, buf, size, VMT_SNAP_RTC, SAVED_VERSION);
	loaded.seen_ns = vmt_snap_get64(&r);
	loaded.utc_offset_ns = (int64_t)vmt_snap_get64(&r);
	loaded.offset_s = (int64_t)vmt_snap_get64(&r);
	loaded.hold_until_ns = vmt_snap_get64(&r);
	loaded.fields_ns = vmt_snap_get64(&r);
	loaded.phase_ns = vmt_snap_get32(&r);
	loaded.divider_ns = vmt_snap_get32(&r);
	loaded.lead_ns = vmt_snap_get32(&r);
	loaded.index = vmt_snap_get8(&r);
	loaded.week_skew = vmt_snap_get8(&r);
	loaded.raw = vmt_snap_get8(&r);
	loaded.exact = vmt_snap_get8(&r);
	loaded.driven = vmt_snap_get8(&r);
	loaded.stage = vmt_snap_get8(&r);
	loaded.burst = vmt_snap_get8(&r);
	vmt_snap_get_bytes(&r, loaded.cmos, VMT_RTC_BYTES);
	if (vmt_snap_close(&r) || !good(&loaded, now))
		return -EINVAL;
	*s = loaded;
	return 0;
}
