/* SPDX-License-Identifier: Apache-2.0 */
/* pmtmr.c - the ACPI power-management timer and the PM1a event block.
 *
 * The counter is a function of `now`.  Stored is only what the guest has set (enable) or has not
 * yet acknowledged (status), and how far the counter has been looked at. */
#include <vmtime/pmtmr.h>

#include <assert.h>
#include <errno.h>
#include <stdbool.h>

#include "core/ns.h"
#include "core/snap.h"
#include "faces/into.h"

enum { SAVED_VERSION = 1, REG_BYTES = 12 };

static uint32_t shown(uint64_t tick, uint32_t bits)
{
	return (uint32_t)tick & (bits == 24 ? 0xffffff : UINT32_MAX);
}

uint32_t vmt_pmtmr_peek(vmt_ns now, uint32_t bits)
{
	return shown(vmt_ns_to_ticks(now, VMT_PMTMR_HZ), bits);
}

/* The top bit changes each time another half of the counter has passed. */
static uint64_t half_of(const struct vmt_pmtmr *s, uint64_t tick)
{
	return tick >> (s->bits - 1);
}

static vmt_ns start_of_half(const struct vmt_pmtmr *s, uint64_t half)
{
	return vmt_ns_of_tick(half << (s->bits - 1), VMT_PMTMR_HZ);
}

static bool sci(const struct vmt_pmtmr *s)
{
	return s->status & s->enable;
}

/* Bring the status up to `now`; the line's level from before goes into the answer. */
static void catch_up(struct vmt_pmtmr *s, vmt_ns now, struct vmt_out *out)
{
	uint64_t tick = vmt_ns_to_ticks(now, VMT_PMTMR_HZ), seen = s->seen_tick;

	*out = (struct vmt_out){.ready = now, .level = sci(s)};
	if (tick <= seen)
		return;
	s->seen_tick = tick;
	if (half_of(s, tick) > half_of(s, seen)) {
		s->status |= VMT_PMTMR_TIMER;
		out->rises[VMT_PMTMR_SCI] += sci(s) && !out->level;
		out->level = sci(s);
	}
}

/* What the call leaves behind. */
static void settle(const struct vmt_pmtmr *s, struct vmt_out *out)
{
	/* A set status stays set, and a high line high, until the guest clears it. */
	bool waiting = s->enable & ~s->status & VMT_PMTMR_TIMER && !sci(s);

	out->deadline = waiting ? start_of_half(s, half_of(s, s->seen_tick) + 1) : VMT_NEVER;
	out->rises[VMT_PMTMR_SCI] += sci(s) && !out->level;
	out->level = sci(s);
}

int vmt_pmtmr_init(struct vmt_pmtmr *s, vmt_ns now, uint32_t bits)
{
	if (bits != 24 && bits != 32)
		return -EINVAL;
	*s = (struct vmt_pmtmr){.bits = (uint8_t)bits};
	vmt_pmtmr_reset(s, now);
	return 0;
}

void vmt_pmtmr_reset(struct vmt_pmtmr *s, vmt_ns now)
{
	struct vmt_out dropped;

	catch_up(s, now, &dropped);
	s->status = 0;
	s->enable = 0;
}

void vmt_pmtmr_advance_into(struct vmt_pmtmr *s, vmt_ns now, struct vmt_out *out)
{
	catch_up(s, now, out);
	settle(s, out);
}

static uint8_t byte_at(const struct vmt_pmtmr *s, uint32_t timer, uint64_t reg)
{
	const uint32_t words[REG_BYTES / 4] = {s->status | (uint32_t)s->enable << 16, 0, timer};

	if (reg >= REG_BYTES)
		return 0;
	return (uint8_t)(words[reg / 4] >> (reg % 4 * 8));
}

void vmt_pmtmr_read_into(struct vmt_pmtmr *s, vmt_ns now, uint32_t reg, uint32_t width,
			 uint32_t *ret_value, struct vmt_out *out)
{
	uint32_t timer, value = 0;

	catch_up(s, now, out);
	timer = shown(s->seen_tick, s->bits);
	for (uint32_t i = 0; i < width && i < 4; i++)
		value |= (uint32_t)byte_at(s, timer, (uint64_t)reg + i) << (i * 8);
	*ret_value = value;
	settle(s, out);
}

static void write_byte(struct vmt_pmtmr *s, uint64_t reg, uint8_t value)
{
	unsigned shift = reg % 2 * 8;

	if (reg / 2 == VMT_PMTMR_STS / 2)
		s->status &= (uint16_t) ~(value << shift); /* write 1 to clear */
	else if (reg / 2 == VMT_PMTMR_EN / 2)
		s->enable = (uint16_t)((s->enable & ~(0xff << shift)) | value << shift);
}

void vmt_pmtmr_write_into(struct vmt_pmtmr *s, vmt_ns now, uint32_t reg, uint32_t width,
			  uint32_t value, struct vmt_out *out)
{
	catch_up(s, now, out);
	for (uint32_t i = 0; i < width && i < 4; i++)
		write_byte(s, (uint64_t)reg + i, (uint8_t)(value >> (i * 8)));
	settle(s, out);
}

struct vmt_out vmt_pmtmr_button(struct vmt_pmtmr *s, vmt_ns now)
{
	struct vmt_out out;

	catch_up(s, now, &out);
	s->status |= VMT_PMTMR_BUTTON;
	settle(s, &out);
	return out;
}

struct vmt_out vmt_pmtmr_advance(struct vmt_pmtmr *s, vmt_ns now)
{
	struct vmt_out out;

	vmt_pmtmr_advance_into(s, now, &out);
	return out;
}

struct vmt_out vmt_pmtmr_read(struct vmt_pmtmr *s, vmt_ns now, uint32_t reg, uint32_t width,
			      uint32_t *ret_value)
{
	struct vmt_out out;

	vmt_pmtmr_read_into(s, now, reg, width, ret_value, &out);
	return out;
}

struct vmt_out vmt_pmtmr_write(struct vmt_pmtmr *s, vmt_ns now, uint32_t reg, uint32_t width,
			       uint32_t value)
{
	struct vmt_out out;

	vmt_pmtmr_write_into(s, now, reg, width, value, &out);
	return out;
}

int vmt_pmtmr_save(const struct vmt_pmtmr *s, void *buf, size_t size)
{
	struct vmt_snap_writer w;

	static_assert(sizeof(struct vmt_pmtmr) == 16, "a new field is to be saved");
	vmt_snap_start(&w, buf, size, VMT_SNAP_PMTMR, SAVED_VERSION);
	vmt_snap_put(&w, s->seen_tick, 8);
	vmt_snap_put(&w, s->status, 2);
	vmt_snap_put(&w, s->enable, 2);
	vmt_snap_put(&w, s->bits, 1);
	return vmt_snap_finish(&w);
}

int vmt_pmtmr_load(struct vmt_pmtmr *s, vmt_ns now, const void *buf, size_t size)
{
	struct vmt_pmtmr loaded = {0};
	struct vmt_snap_reader r;

	vmt_snap_open(&r, buf, size, VMT_SNAP_PMTMR, SAVED_VERSION);
	loaded.seen_tick = vmt_snap_get64(&r);
	loaded.status = vmt_snap_get16(&r);
	loaded.enable = vmt_snap_get16(&r);
	loaded.bits = vmt_snap_get8(&r);
	if (vmt_snap_close(&r) || loaded.bits != s->bits ||
	    loaded.seen_tick > vmt_ns_to_ticks(now, VMT_PMTMR_HZ) ||
	    loaded.status & ~(VMT_PMTMR_TIMER | VMT_PMTMR_BUTTON))
		return -EINVAL;
	*s = loaded;
	return 0;
}
