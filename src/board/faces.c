/* SPDX-License-Identifier: Apache-2.0 */
/* faces.c - the table of faces, and which of their lines are which interrupt sources. */
#include "board/faces.h"

#include <errno.h>

#include "board/ticks.h"
#include "faces/into.h"

enum {
	PIT_BIT = 1 << VMT_SOURCE_PIT,
	RTC_BIT = 1 << VMT_SOURCE_RTC,
	SCI_BIT = 1 << VMT_SOURCE_SCI,
	HPET_BITS = 7 << VMT_SOURCE_HPET0
};
enum { HPET_LEVEL = 1 << 1 }; /* in a timer's configuration: Tn_INT_TYPE_CNF (HPET 2.3.8) */
enum { NOWHERE = 0xff };

void vmt_board_take(struct vmt_board *b, uint32_t face, const struct vmt_out *from, int set,
		    struct vmt_board_out *out)
{
	b->due[face] = from->deadline;
	if (from->ready > out->ready)
		out->ready = from->ready;
	out->dirty |= (uint32_t)from->dirty << face;
	vmt_board_faces[face].lines(b, from, set, out);
}

static void pit_advance(struct vmt_board *b, vmt_ns now, struct vmt_out *lines)
{
	vmt_pit_advance_into(&b->pit, now, lines);
}

static void pit_read(struct vmt_board *b, vmt_ns now, uint32_t reg, uint32_t width,
		     uint64_t *ret_value, struct vmt_out *lines)
{
	uint8_t byte;

	(void)width;
	vmt_pit_read_into(&b->pit, now, reg, &byte, lines);
	*ret_value = byte;
}

static void pit_write(struct vmt_board *b, vmt_ns now, uint32_t reg, uint32_t width, uint64_t value,
		      struct vmt_out *lines)
{
	(void)width;
	vmt_pit_write_into(&b->pit, now, reg, (uint8_t)value, lines);
}

static void pit_reset(struct vmt_board *b, vmt_ns now)
{
	vmt_pit_reset(&b->pit, now);
}

static int pit_save(const struct vmt_board *b, void *buf, size_t size)
{
	return vmt_pit_save(&b->pit, buf, size);
}

static int pit_load(struct vmt_board *b, vmt_ns now, const void *buf, size_t size)
{
	return vmt_pit_load(&b->pit, now, buf, size);
}

static uint64_t pit_period(const struct vmt_board *b, uint32_t source)
{
	(void)source;
	return vmt_pit_period_ns(&b->pit);
}

/* IRQ 0 is OUT0; OUT1 and OUT2 are not wired.  A new count is taken up later than it is written. */
static void pit_lines(struct vmt_board *b, const struct vmt_out *lines, int set,
		      struct vmt_board_out *out)
{
	struct vmt_board_ticks *t = &b->ticks[VMT_SOURCE_PIT];
	uint64_t edges = lines->rises[VMT_PIT_OUT0];

	(void)set;
	vmt_ticks_period(t, vmt_pit_period_ns(&b->pit));
	if (b->hpet_legacy)
		vmt_ticks_cut_off(t, edges, 0);
	else if (vmt_ticks_edges(t, &b->config, b->now, edges))
		out->pulses |= PIT_BIT;
}

static void pit_retry(struct vmt_board *b, uint32_t source, struct vmt_board_out *out)
{
	(void)source;
	if (vmt_ticks_retry(&b->ticks[VMT_SOURCE_PIT], &b->config, b->now))
		out->pulses |= PIT_BIT;
}

static void rtc_advance(struct vmt_board *b, vmt_ns now, struct vmt_out *lines)
{
	vmt_rtc_advance_into(&b->rtc, now, lines);
}

static void rtc_read(struct vmt_board *b, vmt_ns now, uint32_t reg, uint32_t width,
		     uint64_t *ret_value, struct vmt_out *lines)
{
	uint8_t byte;

	(void)width;
	vmt_rtc_read_into(&b->rtc, now, reg, &byte, lines);
	*ret_value = byte;
}

static void rtc_write(struct vmt_board *b, vmt_ns now, uint32_t reg, uint32_t width, uint64_t value,
		      struct vmt_out *lines)
{
	(void)width;
	vmt_rtc_write_into(&b->rtc, now, reg, (uint8_t)value, lines);
}

static void rtc_reset(struct vmt_board *b, vmt_ns now)
{
	vmt_rtc_reset(&b->rtc, now);
}

static int rtc_save(const struct vmt_board *b, void *buf, size_t size)
{
	return vmt_rtc_save(&b->rtc, buf, size);
}

static int rtc_load(struct vmt_board *b, vmt_ns now, const void *buf, size_t size)
{
	return vmt_rtc_load(&b->rtc, now, buf, size);
}

static uint64_t rtc_period(const struct vmt_board *b, uint32_t source)
{
	(void)source;
	return vmt_rtc_period_ns(&b->rtc);
}

static void rtc_lines(struct vmt_board *b, const struct vmt_out *lines, int set,
		      struct vmt_board_out *out)
{
	struct vmt_board_ticks *t = &b->ticks[VMT_SOURCE_RTC];

	if (b->hpet_legacy)
		vmt_ticks_cut_off(t, lines->rises[VMT_RTC_IRQ] + lines->rises[VMT_RTC_MISSED],
				  lines->level >> VMT_RTC_IRQ & 1);
	else if (vmt_ticks_held(t, &b->config, b->now, lines, 0))
		out->pulses |= RTC_BIT;
	if (!(lines->level >> VMT_RTC_IRQ & 1))
		out->pulses &= ~(uint32_t)RTC_BIT; /* whoever lowered it has no use for it */
	if (set && b->hpet_legacy)
		t->period_ns = vmt_rtc_period_ns(&b->rtc); /* its request stands */
	else if (set)
		vmt_ticks_period(t, vmt_rtc_period_ns(&b->rtc));
}

/* The line is high and its pulse was lost, or it is low and a missed tick is to be shown. */
static void rtc_retry(struct vmt_board *b, uint32_t source, struct vmt_board_out *out)
{
	struct vmt_board_ticks *t = &b->ticks[source];
	struct vmt_out shown;

	if (t->in_flight) {
		vmt_ticks_held_again(t);
		out->pulses |= RTC_BIT;
		return;
	}
	t->retry_ns = VMT_NEVER; /* though nothing rises */
	shown = vmt_rtc_repeat(&b->rtc, b->now);
	b->due[VMT_FACE_RTC] = shown.deadline;
	if (vmt_ticks_held(t, &b->config, b->now, &shown, shown.rises[VMT_RTC_IRQ]))
		out->pulses |= RTC_BIT;
}

static void pmtmr_advance(struct vmt_board *b, vmt_ns now, struct vmt_out *lines)
{
	vmt_pmtmr_advance_into(&b->pmtmr, now, lines);
}

static void pmtmr_read(struct vmt_board *b, vmt_ns now, uint32_t reg, uint32_t width,
		       uint64_t *ret_value, struct vmt_out *lines)
{
	uint32_t value;

	vmt_pmtmr_read_into(&b->pmtmr, now, reg, width, &value, lines);
	*ret_value = value;
}

static void pmtmr_write(struct vmt_board *b, vmt_ns now, uint32_t reg, uint32_t width,
			uint64_t value, struct vmt_out *lines)
{
	vmt_pmtmr_write_into(&b->pmtmr, now, reg, width, (uint32_t)value, lines);
}

static void pmtmr_reset(struct vmt_board *b, vmt_ns now)
{
	vmt_pmtmr_reset(&b->pmtmr, now);
}

static int pmtmr_save(const struct vmt_board *b, void *buf, size_t size)
{
	return vmt_pmtmr_save(&b->pmtmr, buf, size);
}

static int pmtmr_load(struct vmt_board *b, vmt_ns now, const void *buf, size_t size)
{
	return vmt_pmtmr_load(&b->pmtmr, now, buf, size);
}

static void pmtmr_lines(struct vmt_board *b, const struct vmt_out *lines, int set,
			struct vmt_board_out *out)
{
	(void)set;
	(void)out;
	if (lines->level >> VMT_PMTMR_SCI & 1)
		b->level |= SCI_BIT;
	else
		b->level &= ~(uint32_t)SCI_BIT;
}

static void hpet_advance(struct vmt_board *b, vmt_ns now, struct vmt_out *lines)
{
	vmt_hpet_advance_into(&b->hpet, now, lines);
}

static void hpet_read(struct vmt_board *b, vmt_ns now, uint32_t reg, uint32_t width,
		      uint64_t *ret_value, struct vmt_out *lines)
{
	vmt_hpet_read_into(&b->hpet, now, reg, width, ret_value, lines);
}

static void hpet_write(struct vmt_board *b, vmt_ns now, uint32_t reg, uint32_t width,
		       uint64_t value, struct vmt_out *lines)
{
	vmt_hpet_write_into(&b->hpet, now, reg, width, value, lines);
}

static void hpet_reset(struct vmt_board *b, vmt_ns now)
{
	vmt_hpet_reset(&b->hpet, now);
}

static int hpet_save(const struct vmt_board *b, void *buf, size_t size)
{
	return vmt_hpet_save(&b->hpet, buf, size);
}

static int hpet_load(struct vmt_board *b, vmt_ns now, const void *buf, size_t size)
{
	return vmt_hpet_load(&b->hpet, now, buf, size);
}

/* Whether a timer's edges are pulses for the guest. */
static int hpet_pulses(const struct vmt_board *b, uint32_t timer)
{
	return b->hpet_route[timer] != NOWHERE && !(b->hpet.timer[timer].config & HPET_LEVEL);
}

static uint64_t hpet_period(const struct vmt_board *b, uint32_t source)
{
	uint32_t timer = source - VMT_SOURCE_HPET0;

	return hpet_pulses(b, timer) ? vmt_hpet_period_ns(&b->hpet, timer) : 0;
}

static void take_routes(struct vmt_board *b)
{
	for (uint32_t i = 0; i < VMT_HPET_TIMERS; i++) {
		uint32_t route = vmt_hpet_route(&b->hpet, i);

		b->hpet_route[i] = route < NOWHERE ? (uint8_t)route : NOWHERE;
	}
}

/* Whether some edges of it wake nobody. */
static int hpet_quiet(const struct vmt_board *b)
{
	for (uint32_t i = 0; i < VMT_HPET_TIMERS; i++) {
		const struct vmt_board_ticks *t = &b->ticks[VMT_SOURCE_HPET0 + i];

		if (vmt_ticks_not_before(t, &b->config) ||
		    (b->hpet_route[i] == NOWHERE && vmt_hpet_period_ns(&b->hpet, i)))
			return 1;
	}
	return 0;
}

vmt_ns vmt_board_hpet_wakes(const struct vmt_board *b)
{
	vmt_ns at = VMT_NEVER;

	for (uint32_t i = 0; i < VMT_HPET_TIMERS; i++) {
		vmt_ns due = vmt_hpet_due(&b->hpet, i);
		vmt_ns least = vmt_ticks_not_before(&b->ticks[VMT_SOURCE_HPET0 + i], &b->config);

		due = due < least ? least : due;
		if (b->hpet_route[i] != NOWHERE && due < at)
			at = due;
	}
	return at;
}

/* PIT and RTC, brought up to now, lose their lines or get them back. */
static void pass_lines(struct vmt_board *b, struct vmt_board_out *out)
{
	struct vmt_board_ticks *rtc = &b->ticks[VMT_SOURCE_RTC];
	struct vmt_out lines = {0};

	if (b->config.faces & VMT_HAS_PIT) {
		pit_advance(b, b->now, &lines);
		vmt_board_take(b, VMT_FACE_PIT, &lines, 0, out);
	}
	lines.level = 0;
	if (b->config.faces & VMT_HAS_RTC) {
		rtc_advance(b, b->now, &lines);
		vmt_board_take(b, VMT_FACE_RTC, &lines, 0, out);
	}
	b->hpet_legacy = !b->hpet_legacy;
	if (b->hpet_legacy) {
		vmt_ticks_cut_off(&b->ticks[VMT_SOURCE_PIT], 0, 0);
		vmt_ticks_cut_off(rtc, 0, lines.level >> VMT_RTC_IRQ & 1);
		out->pulses &= ~(uint32_t)(PIT_BIT | RTC_BIT);
	} else if (vmt_ticks_back(rtc, b->now)) {
		out->pulses |= RTC_BIT;
	}
}

static void hpet_set(struct vmt_board *b, struct vmt_board_out *out)
{
	take_routes(b);
	for (uint32_t i = 0; i < VMT_HPET_TIMERS; i++) {
		uint32_t source = VMT_SOURCE_HPET0 + i;

		vmt_ticks_period(&b->ticks[source], hpet_period(b, source));
		if (!hpet_pulses(b, i)) {
			vmt_ticks_cut_off(&b->ticks[source], 0, 0);
			out->pulses &= ~(1U << source);
		}
	}
	b->hpet_quiet = (uint8_t)hpet_quiet(b);
	if (vmt_hpet_legacy(&b->hpet) != b->hpet_legacy)
		pass_lines(b, out);
}

static void hpet_lines(struct vmt_board *b, const struct vmt_out *lines, int set,
		       struct vmt_board_out *out)
{
	if (set)
		hpet_set(b, out);
	b->level &= ~(uint32_t)HPET_BITS;
	for (uint32_t i = 0; i < VMT_HPET_TIMERS; i++) {
		uint32_t source = VMT_SOURCE_HPET0 + i;

		if (b->hpet.timer[i].config & HPET_LEVEL) {
			if (b->hpet_route[i] != NOWHERE)
				b->level |= (lines->level >> i & 1U) << source;
		} else if (b->hpet_route[i] == NOWHERE) {
			vmt_ticks_cut_off(&b->ticks[source], lines->rises[i], 0);
		} else if (vmt_ticks_edges(&b->ticks[source], &b->config, b->now,
					   lines->rises[i])) {
			out->pulses |= 1U << source;
		}
	}
}

static void hpet_retry(struct vmt_board *b, uint32_t source, struct vmt_board_out *out)
{
	if (vmt_ticks_retry(&b->ticks[source], &b->config, b->now))
		out->pulses |= 1U << source;
}

/* Nothing is under way on a line that is cut off. */
static int is_still(const struct vmt_board_ticks *t, uint64_t held)
{
	return !t->in_flight && !t->doubted && !t->ahead && t->retry_ns == VMT_NEVER &&
	       t->ledger.owed <= held;
}

int vmt_board_hpet_loaded(struct vmt_board *b)
{
	if (!(b->config.faces & VMT_HAS_HPET))
		return 0;
	take_routes(b);
	b->hpet_legacy = (uint8_t)vmt_hpet_legacy(&b->hpet);
	b->hpet_quiet = (uint8_t)hpet_quiet(b);
	for (uint32_t i = 0; i < VMT_HPET_TIMERS; i++)
		if (!hpet_pulses(b, i) && !is_still(&b->ticks[VMT_SOURCE_HPET0 + i], 0))
			return -EINVAL;
	return b->hpet_legacy && (!is_still(&b->ticks[VMT_SOURCE_PIT], 0) ||
				  !is_still(&b->ticks[VMT_SOURCE_RTC], 1))
		       ? -EINVAL
		       : 0;
}

const struct vmt_board_face vmt_board_faces[VMT_FACES] = {
	[VMT_FACE_PIT] = {1, pit_advance, pit_read, pit_write, pit_reset, pit_save, pit_load,
			  pit_lines, pit_retry, pit_period, VMT_SOURCE_PIT, 1},
	[VMT_FACE_RTC] = {1, rtc_advance, rtc_read, rtc_write, rtc_reset, rtc_save, rtc_load,
			  rtc_lines, rtc_retry, rtc_period, VMT_SOURCE_RTC, 1},
	[VMT_FACE_PMTMR] = {4, pmtmr_advance, pmtmr_read, pmtmr_write, pmtmr_reset, pmtmr_save,
			    pmtmr_load, pmtmr_lines, NULL, NULL, VMT_SOURCE_SCI, 0},
	[VMT_FACE_HPET] = {8, hpet_advance, hpet_read, hpet_write, hpet_reset, hpet_save, hpet_load,
			   hpet_lines, hpet_retry, hpet_period, VMT_SOURCE_HPET0, VMT_HPET_TIMERS},
};
