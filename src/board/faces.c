/* SPDX-License-Identifier: Apache-2.0 */
/* faces.c - the table of faces, and which of their lines are which interrupt sources. */
#include "board/faces.h"

#include "board/ticks.h"
#include "faces/into.h"

enum {
	PIT_BIT = 1 << VMT_SOURCE_PIT,
	RTC_BIT = 1 << VMT_SOURCE_RTC,
	SCI_BIT = 1 << VMT_SOURCE_SCI
};

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

/* IRQ 0 is OUT0; OUT1 and OUT2 are not wired. */
static void pit_lines(struct vmt_board *b, const struct vmt_out *lines, int set,
		      struct vmt_board_out *out)
{
	struct vmt_board_ticks *t = &b->ticks[VMT_SOURCE_PIT];
	uint64_t edges = lines->rises[VMT_PIT_OUT0];

	if (!set && !edges)
		return;
	vmt_ticks_period(t, vmt_pit_period_ns(&b->pit));
	if (vmt_ticks_edges(t, &b->config, b->now, edges))
		out->pulses |= PIT_BIT;
}

static void pit_retry(struct vmt_board *b, struct vmt_board_out *out)
{
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

static void rtc_lines(struct vmt_board *b, const struct vmt_out *lines, int set,
		      struct vmt_board_out *out)
{
	struct vmt_board_ticks *t = &b->ticks[VMT_SOURCE_RTC];

	if (vmt_ticks_held(t, &b->config, b->now, lines, 0))
		out->pulses |= RTC_BIT;
	if (set)
		vmt_ticks_period(t, vmt_rtc_period_ns(&b->rtc));
}

/* The line is high and its pulse was lost, or it is low and a missed tick is to be shown. */
static void rtc_retry(struct vmt_board *b, struct vmt_board_out *out)
{
	struct vmt_board_ticks *t = &b->ticks[VMT_SOURCE_RTC];
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

const struct vmt_board_face vmt_board_faces[VMT_FACES] = {
	[VMT_FACE_PIT] = {1, pit_advance, pit_read, pit_write, pit_reset, pit_save, pit_load,
			  pit_lines, pit_retry, VMT_SOURCE_PIT},
	[VMT_FACE_RTC] = {1, rtc_advance, rtc_read, rtc_write, rtc_reset, rtc_save, rtc_load,
			  rtc_lines, rtc_retry, VMT_SOURCE_RTC},
	[VMT_FACE_PMTMR] = {4, pmtmr_advance, pmtmr_read, pmtmr_write, pmtmr_reset, pmtmr_save,
			    pmtmr_load, pmtmr_lines, NULL, VMT_SOURCE_SCI},
};
