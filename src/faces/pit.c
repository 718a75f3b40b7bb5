/* SPDX-License-Identifier: Apache-2.0 */
/* pit.c - i8254 and port 0x61: registers, latches and gates.  How a counter counts is in
 * pit_count.c.
 *
 * Section numbers are those of Intel's 8254 data sheet, order 231164. */
#include <vmtime/pit.h>

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "core/ns.h"
#include "core/snap.h"
#include "faces/into.h"
#include "faces/pit_count.h"

enum { GATE2 = 0x01, PORT61_HELD = 0x0f, REFRESH = 0x10, OUT2 = 0x20, REFRESH_TICKS = 18 };
enum { READ_BACK = 3, NOT_COUNT = 0x20, NOT_STATUS = 0x10 };
enum { SAVED_VERSION = 1 };

static uint64_t tick_at(vmt_ns now)
{
	return vmt_ns_to_ticks(now, VMT_PIT_HZ);
}

static uint8_t levels(const struct vmt_pit *s)
{
	return (uint8_t)(vmt_pit_out(&s->channel[0], s->seen_tick) |
			 vmt_pit_out(&s->channel[1], s->seen_tick) << 1 |
			 vmt_pit_out(&s->channel[2], s->seen_tick) << 2);
}

/* Let the counters count up to now. */
static void catch_up(struct vmt_pit *s, vmt_ns now, struct vmt_out *out)
{
	uint64_t tick = tick_at(now);

	*out = (struct vmt_out){.ready = now};
	if (tick > s->seen_tick) {
		for (unsigned i = 0; i < 3; i++)
			out->rises[i] = vmt_pit_count(&s->channel[i], s->seen_tick, tick);
		s->seen_tick = tick;
	}
	out->level = levels(s);
}

/* When the caller is to come back. */
static void until(const struct vmt_pit *s, struct vmt_out *out)
{
	uint64_t rise = vmt_pit_next_rise(&s->channel[0], s->seen_tick);

	out->deadline = rise == UINT64_MAX ? VMT_NEVER : vmt_ns_of_tick(rise, VMT_PIT_HZ);
}

void vmt_pit_reset(struct vmt_pit *s, vmt_ns now)
{
	*s = (struct vmt_pit){.seen_tick = tick_at(now)};
	for (unsigned i = 0; i < 3; i++) {
		s->channel[i].control = 0x36; /* two bytes, mode 3: OUT high, and no count */
		s->channel[i].gate = i != 2;
		s->channel[i].out = 1;
		s->channel[i].null_count = 1;
		s->channel[i].load_tick = UINT64_MAX;
	}
}

void vmt_pit_advance_into(struct vmt_pit *s, vmt_ns now, struct vmt_out *out)
{
	catch_up(s, now, out);
	until(s, out);
}

static void latch_count(struct vmt_pit_channel *c, uint64_t tick)
{
	if (c->latched)
		return; /* a second command before the first is read is ignored */
	c->latch = vmt_pit_value(c, tick);
	c->latched = 1;
}

static void latch_status(struct vmt_pit_channel *c, uint64_t tick)
{
	if (c->status_latched)
		return;
	c->status =
		(uint8_t)(vmt_pit_out(c, tick) << 7 | (unsigned)c->null_count << 6 | c->control);
	c->status_latched = 1;
}

/* "Read-back command": several counters and both kinds of latch at once. */
static void read_back(struct vmt_pit *s, uint8_t command)
{
	for (unsigned i = 0; i < 3; i++) {
		if (!(command >> 1 >> i & 1))
			continue;
		if (!(command & NOT_COUNT))
			latch_count(&s->channel[i], s->seen_tick);
		if (!(command & NOT_STATUS))
			latch_status(&s->channel[i], s->seen_tick);
	}
}

static void write_control(struct vmt_pit *s, uint8_t value)
{
	unsigned select = value >> 6;

	if (select == READ_BACK)
		read_back(s, value);
	else if (vmt_pit_access(value) == 0)
		latch_count(&s->channel[select], s->seen_tick);
	else
		vmt_pit_control(&s->channel[select], s->seen_tick, value & 0x3f);
}

/* The counters read: a latched status first, then a latched count, else the counter itself. */
static uint8_t read_counter(struct vmt_pit_channel *c, uint64_t tick)
{
	unsigned access = vmt_pit_access(c->control);
	bool high = access == VMT_PIT_MSB || (access == VMT_PIT_BOTH && c->read_half);
	uint16_t value;

	if (c->status_latched) {
		c->status_latched = 0;
		return c->status;
	}
	value = c->latched ? c->latch : vmt_pit_value(c, tick);
	c->read_half = access == VMT_PIT_BOTH && !c->read_half;
	if (!c->read_half)
		c->latched = 0;
	return (uint8_t)(high ? value >> 8 : value);
}

static void write_counter(struct vmt_pit_channel *c, uint64_t tick, uint8_t value)
{
	switch (vmt_pit_access(c->control)) {
	case VMT_PIT_LSB:
		vmt_pit_write_count(c, tick, value);
		break;
	case VMT_PIT_MSB:
		vmt_pit_write_count(c, tick, (uint16_t)(value << 8));
		break;
	default:
		if (c->write_half) {
			c->write_half = 0;
			vmt_pit_write_count(c, tick, (uint16_t)(value << 8 | c->write_lsb));
		} else {
			c->write_half = 1;
			c->write_lsb = value;
			vmt_pit_write_first(c, tick);
		}
	}
}

static uint8_t read_port61(const struct vmt_pit *s)
{
	uint8_t value = s->port61;

	if (s->seen_tick / REFRESH_TICKS % 2)
		value |= REFRESH;
	if (vmt_pit_out(&s->channel[2], s->seen_tick))
		value |= OUT2;
	return value;
}

void vmt_pit_read_into(struct vmt_pit *s, vmt_ns now, uint32_t reg, uint8_t *ret_value,
		       struct vmt_out *out)
{
	catch_up(s, now, out);
	if (reg < VMT_PIT_CONTROL)
		*ret_value = read_counter(&s->channel[reg], s->seen_tick);
	else
		*ret_value = reg == VMT_PIT_PORT61 ? read_port61(s) : 0xff;
	until(s, out);
}

void vmt_pit_write_into(struct vmt_pit *s, vmt_ns now, uint32_t reg, uint8_t value,
			struct vmt_out *out)
{
	uint8_t before;

	catch_up(s, now, out);
	if (reg < VMT_PIT_CONTROL) {
		write_counter(&s->channel[reg], s->seen_tick, value);
	} else if (reg == VMT_PIT_CONTROL) {
		write_control(s, value);
	} else if (reg == VMT_PIT_PORT61) {
		s->port61 = value & PORT61_HELD;
		vmt_pit_gate(&s->channel[2], s->seen_tick, value & GATE2);
	}
	before = out->level;
	out->level = levels(s);
	for (unsigned i = 0; i < 3; i++) /* what the write raised is an edge too */
		out->rises[i] += (out->level & ~before) >> i & 1;
	until(s, out);
}

struct vmt_out vmt_pit_advance(struct vmt_pit *s, vmt_ns now)
{
	struct vmt_out out;

	vmt_pit_advance_into(s, now, &out);
	return out;
}

struct vmt_out vmt_pit_read(struct vmt_pit *s, vmt_ns now, uint32_t reg, uint8_t *ret_value)
{
	struct vmt_out out;

	vmt_pit_read_into(s, now, reg, ret_value, &out);
	return out;
}

struct vmt_out vmt_pit_write(struct vmt_pit *s, vmt_ns now, uint32_t reg, uint8_t value)
{
	struct vmt_out out;

	vmt_pit_write_into(s, now, reg, value, &out);
	return out;
}

uint64_t vmt_pit_period_ns(const struct vmt_pit *s)
{
	const struct vmt_pit_channel *c = &s->channel[0];
	unsigned mode = vmt_pit_mode(c);

	if (!c->running || (mode != 2 && mode != 3))
		return 0;
	return vmt_ns_of_tick(c->count, VMT_PIT_HZ);
}

static void save_channel(const struct vmt_pit_channel *c, struct vmt_snap_writer *w)
{
	static_assert(sizeof(struct vmt_pit_channel) == 48, "a new field is to be saved");
	vmt_snap_put(w, c->base_tick, 8);
	vmt_snap_put(w, c->load_tick, 8);
	vmt_snap_put(w, c->skew_ticks, 4);
	vmt_snap_put(w, c->count, 4);
	vmt_snap_put(w, c->reload, 4);
	vmt_snap_put(w, c->held, 2);
	vmt_snap_put(w, c->latch, 2);
	vmt_snap_put(w, c->control, 1);
	vmt_snap_put(w, c->gate, 1);
	vmt_snap_put(w, c->running, 1);
	vmt_snap_put(w, c->out, 1);
	vmt_snap_put(w, c->null_count, 1);
	vmt_snap_put(w, c->write_lsb, 1);
	vmt_snap_put(w, c->write_half, 1);
	vmt_snap_put(w, c->read_half, 1);
	vmt_snap_put(w, c->latched, 1);
	vmt_snap_put(w, c->status, 1);
	vmt_snap_put(w, c->status_latched, 1);
}

static void load_channel(struct vmt_pit_channel *c, struct vmt_snap_reader *r)
{
	c->base_tick = vmt_snap_get64(r);
	c->load_tick = vmt_snap_get64(r);
	c->skew_ticks = vmt_snap_get32(r);
	c->count = vmt_snap_get32(r);
	c->reload = vmt_snap_get32(r);
	c->held = vmt_snap_get16(r);
	c->latch = vmt_snap_get16(r);
	c->control = vmt_snap_get8(r);
	c->gate = vmt_snap_get8(r);
	c->running = vmt_snap_get8(r);
	c->out = vmt_snap_get8(r);
	c->null_count = vmt_snap_get8(r);
	c->write_lsb = vmt_snap_get8(r);
	c->write_half = vmt_snap_get8(r);
	c->read_half = vmt_snap_get8(r);
	c->latched = vmt_snap_get8(r);
	c->status = vmt_snap_get8(r);
	c->status_latched = vmt_snap_get8(r);
}

int vmt_pit_save(const struct vmt_pit *s, void *buf, size_t size)
{
	struct vmt_snap_writer w;

	static_assert(sizeof(struct vmt_pit) == 160, "a new field is to be saved");
	vmt_snap_start(&w, buf, size, VMT_SNAP_PIT, SAVED_VERSION);
	vmt_snap_put(&w, s->seen_tick, 8);
	for (unsigned i = 0; i < 3; i++)
		save_channel(&s->channel[i], &w);
	vmt_snap_put(&w, s->port61, 1);
	return vmt_snap_finish(&w);
}

int vmt_pit_load(struct vmt_pit *s, vmt_ns now, const void *buf, size_t size)
{
	struct vmt_pit loaded = {0};
	struct vmt_snap_reader r;

	vmt_snap_open(&r, buf, size, VMT_SNAP_PIT, SAVED_VERSION);
	loaded.seen_tick = vmt_snap_get64(&r);
	for (unsigned i = 0; i < 3; i++)
		load_channel(&loaded.channel[i], &r);
	loaded.port61 = vmt_snap_get8(&r);
	if (vmt_snap_close(&r) || loaded.seen_tick > tick_at(now) || loaded.port61 & ~PORT61_HELD ||
	    loaded.channel[2].gate != (loaded.port61 & GATE2) || !loaded.channel[0].gate ||
	    !loaded.channel[1].gate)
		return -EINVAL;
	for (unsigned i = 0; i < 3; i++)
		if (!vmt_pit_good(&loaded.channel[i], loaded.seen_tick))
			return -EINVAL;
	*s = loaded;
	return 0;
}
