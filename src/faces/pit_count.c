/* SPDX-License-Identifier: Apache-2.0 */
/* pit_count.c - how a counter of the i8254 counts, in each mode.
 *
 * Nothing here depends on how many clocks have passed: at most one load is awaited at a time, and
 * between loads everything is arithmetic on the clocks elapsed. */
#include "faces/pit_count.h"

enum { BINARY_WRAP = 65536, BCD_WRAP = 10000, BCD_MOST = 15 * 1111 };

#define NONE UINT64_MAX

static bool bcd(const struct vmt_pit_channel *c)
{
	return c->control & 1;
}

static uint32_t wrap(const struct vmt_pit_channel *c)
{
	return bcd(c) ? BCD_WRAP : BINARY_WRAP;
}

/* clocks modulo wrap(), by a constant each. */
static uint32_t wrapped(const struct vmt_pit_channel *c, uint64_t clocks)
{
	return (uint32_t)(bcd(c) ? clocks % BCD_WRAP : clocks % BINARY_WRAP);
}

/* Modes 2 and 3 go round, all others end. */
static bool cyclic(const struct vmt_pit_channel *c)
{
	return vmt_pit_mode(c) == 2 || vmt_pit_mode(c) == 3;
}

/* Modes 1 and 5 wait for the gate to rise, and do not mind its level. */
static bool triggered(const struct vmt_pit_channel *c)
{
	return vmt_pit_mode(c) == 1 || vmt_pit_mode(c) == 5;
}

/* Count as written -> clocks; 0 is the largest.  BCD digits above 9 count by their weight. */
static uint32_t decode(const struct vmt_pit_channel *c, uint16_t code)
{
	uint32_t clocks = code;

	if (bcd(c))
		clocks = (code >> 12) * 1000u + (code >> 8 & 15) * 100u + (code >> 4 & 15) * 10u +
			 (code & 15);
	return clocks ? clocks : wrap(c);
}

/* What is left to count -> as it is read. */
static uint16_t encode(const struct vmt_pit_channel *c, uint32_t left)
{
	if (!bcd(c))
		return (uint16_t)left;
	left %= BCD_WRAP;
	return (uint16_t)(left / 1000 << 12 | left / 100 % 10 << 8 | left / 10 % 10 << 4 |
			  left % 10);
}

/* Clocks of the present count that are over; running counters only. */
static uint64_t elapsed(const struct vmt_pit_channel *c, uint64_t tick)
{
	return c->skew_ticks + (tick - c->base_tick);
}

/* The same within the cycle; without a division in the usual case. */
static uint32_t in_cycle(const struct vmt_pit_channel *c, uint64_t tick)
{
	uint64_t d = elapsed(c, tick);

	return (uint32_t)(d < c->count ? d : d % c->count);
}

/* Mode 3 is high for the longer half of an odd count. */
static uint32_t high_half(uint32_t count)
{
	return count - count / 2;
}

unsigned vmt_pit_out_now(const struct vmt_pit_channel *c, uint64_t tick)
{
	switch (vmt_pit_mode(c)) {
	case 0:
	case 1:
		return elapsed(c, tick) >= c->count;
	case 2:
		return c->count == 1 || in_cycle(c, tick) != c->count - 1;
	case 3:
		return in_cycle(c, tick) < high_half(c->count);
	default:
		return elapsed(c, tick) != c->count;
	}
}

/* Mode 3 counts by two, each half from the count, an odd one less one; the high half of an odd
 * count lasts a clock longer and so reaches 0 ("Mode 3: square wave mode", odd counts). */
static uint32_t square_left(const struct vmt_pit_channel *c, uint64_t tick)
{
	uint32_t d = in_cycle(c, tick), high = high_half(c->count);

	return (c->count & ~1u) - 2 * (d < high ? d : d - high);
}

uint16_t vmt_pit_value(const struct vmt_pit_channel *c, uint64_t tick)
{
	if (!c->running)
		return c->held;
	switch (vmt_pit_mode(c)) {
	case 2:
		return encode(c, c->count - in_cycle(c, tick));
	case 3:
		return encode(c, square_left(c, tick));
	default:
		/* It goes on below 0: the largest count follows. */
		return encode(c, wrapped(c, c->count) + wrap(c) - wrapped(c, elapsed(c, tick)));
	}
}

/* Clocks after which a count that ends lets OUT rise: modes 4 and 5 are low for one. */
static uint32_t rise_after(const struct vmt_pit_channel *c)
{
	return c->count + (vmt_pit_mode(c) >= 4);
}

/* Rising edges over the clocks seen + 1 to tick, without any load among them.  Cyclic counters take
 * their base along to the present cycle. */
static uint64_t run(struct vmt_pit_channel *c, uint64_t seen, uint64_t tick)
{
	uint64_t cycles;

	if (!c->running)
		return 0;
	if (!cyclic(c))
		return elapsed(c, seen) < rise_after(c) && elapsed(c, tick) >= rise_after(c);
	if (elapsed(c, tick) < c->count)
		return 0;
	cycles = elapsed(c, tick) / c->count;
	c->base_tick += cycles * c->count - c->skew_ticks;
	c->skew_ticks = 0;
	return c->count > 1 ? cycles : 0;
}

/* The awaited clock has come: the count register goes into the counter. */
static void load(struct vmt_pit_channel *c)
{
	/* A new count in the middle of mode 3's cycle begins with the other half. */
	bool low_half = c->running && vmt_pit_mode(c) == 3 && c->count > 1 &&
			vmt_pit_out(c, c->load_tick - 1);

	c->count = c->reload;
	c->null_count = 0;
	c->base_tick = c->load_tick;
	c->skew_ticks = low_half && c->count > 1 ? high_half(c->count) : 0;
	c->load_tick = NONE;
	c->running = triggered(c) || c->gate;
	c->held = encode(c, vmt_pit_mode(c) == 3 ? c->count & ~1u : c->count);
	c->out = vmt_pit_mode(c) != 0;
}

uint64_t vmt_pit_count_on(struct vmt_pit_channel *c, uint64_t seen, uint64_t tick)
{
	uint64_t rises = 0, at = c->load_tick;

	if (at <= tick) {
		unsigned before;

		rises = run(c, seen, at - 1);
		before = vmt_pit_out(c, at - 1);
		load(c);
		rises += !before && vmt_pit_out(c, at);
		seen = at;
	}
	return rises + run(c, seen, tick);
}

static uint64_t next_in_run(const struct vmt_pit_channel *c, uint64_t tick)
{
	if (!c->running)
		return NONE;
	if (cyclic(c))
		return c->count > 1 ? tick + c->count - in_cycle(c, tick) : NONE;
	if (elapsed(c, tick) >= rise_after(c))
		return NONE;
	return c->base_tick + rise_after(c) - c->skew_ticks;
}

uint64_t vmt_pit_next_rise(const struct vmt_pit_channel *c, uint64_t tick)
{
	uint64_t rise = next_in_run(c, tick), at = c->load_tick;
	struct vmt_pit_channel loaded;

	if (rise < at || at == NONE)
		return rise;
	loaded = *c;
	load(&loaded);
	if (!vmt_pit_out(c, at - 1) && vmt_pit_out(&loaded, at))
		return at;
	return next_in_run(&loaded, at);
}

/* Stop at what it shows now. */
static void hold(struct vmt_pit_channel *c, uint64_t tick, bool out)
{
	c->held = vmt_pit_value(c, tick);
	c->running = 0;
	c->out = out;
}

/* Nothing is loaded, nothing will be. */
static void forget(struct vmt_pit_channel *c)
{
	c->base_tick = 0;
	c->skew_ticks = 0;
	c->count = 0;
	c->load_tick = NONE;
}

void vmt_pit_control(struct vmt_pit_channel *c, uint64_t tick, uint8_t control)
{
	c->held = vmt_pit_value(c, tick);
	c->control = control;
	c->running = 0;
	c->out = vmt_pit_mode(c) != 0;
	c->reload = 0;
	c->write_half = 0;
	c->read_half = 0;
	c->latched = 0;
	c->status_latched = 0;
	c->null_count = 1;
	forget(c);
}

/* "Mode 0: writing the first byte disables counting; OUT is set low immediately."  NULL COUNT waits
 * for the second byte. */
void vmt_pit_write_first(struct vmt_pit_channel *c, uint64_t tick)
{
	if (vmt_pit_mode(c) == 0) {
		hold(c, tick, 0);
		forget(c);
	}
}

/* The clock at which a cyclic counter takes a new count: the end of its cycle, in mode 3 of half of
 * it. */
static uint64_t end_of_cycle(const struct vmt_pit_channel *c, uint64_t tick)
{
	uint32_t d = in_cycle(c, tick), high = high_half(c->count);

	return tick + (vmt_pit_mode(c) == 3 && d < high ? high : c->count) - d;
}

void vmt_pit_write_count(struct vmt_pit_channel *c, uint64_t tick, uint16_t code)
{
	vmt_pit_write_first(c, tick); /* a count of one byte is its own first */
	c->reload = decode(c, code);
	c->null_count = 1;
	if (triggered(c))
		return; /* until the gate rises */
	if (!cyclic(c) || !c->count)
		c->load_tick = tick + 1;
	else if (c->running)
		c->load_tick = end_of_cycle(c, tick);
}

/* Modes 0 and 4 stand still while the gate is low and then go on.  What is over is kept small: past
 * the end only the value still changes, and that comes round. */
static void pause(struct vmt_pit_channel *c, uint64_t tick)
{
	uint64_t d = elapsed(c, tick), end = rise_after(c);

	hold(c, tick, vmt_pit_out(c, tick));
	c->skew_ticks = (uint32_t)(d <= end ? d : end + wrapped(c, d - end));
	c->base_tick = 0;
}

void vmt_pit_gate(struct vmt_pit_channel *c, uint64_t tick, bool high)
{
	bool rises = high && !c->gate, falls = !high && c->gate;

	c->gate = high;
	if (triggered(c) || cyclic(c)) {
		if (rises && c->reload)
			c->load_tick = tick + 1;
		if (falls && cyclic(c) && c->running) {
			hold(c, tick, 1); /* OUT goes high at once */
			c->load_tick = NONE;
		}
	} else if (falls && c->running) {
		pause(c, tick);
	} else if (rises && c->count) {
		c->running = 1;
		c->base_tick = tick;
	}
}

/* What is one or nothing; the bits of a mode that the chip has; halves only of two. */
static bool good_flags(const struct vmt_pit_channel *c)
{
	unsigned access = vmt_pit_access(c->control);
	unsigned flags = c->gate | c->running | c->out | c->null_count | c->write_half |
			 c->read_half | c->latched | c->status_latched;

	return flags <= 1 && c->control <= 0x3f && access != 0 &&
	       (access == VMT_PIT_BOTH || !(c->write_half | c->read_half));
}

/* Mode 0 between the bytes of a count: the one before is gone, and was not null. */
static bool stopped_by_half(const struct vmt_pit_channel *c)
{
	return vmt_pit_mode(c) == 0 && c->write_half && c->reload && !c->count && !c->running &&
	       c->load_tick == NONE;
}

bool vmt_pit_good(const struct vmt_pit_channel *c, uint64_t tick)
{
	uint32_t most = bcd(c) ? BCD_MOST : BINARY_WRAP;

	if (!good_flags(c) || c->count > most || c->reload > most ||
	    c->skew_ticks > most + 1 + wrap(c))
		return false;
	if (!c->null_count && (!c->count || c->count != c->reload) && !stopped_by_half(c))
		return false;
	if (c->load_tick != NONE &&
	    (!c->reload || c->load_tick <= tick || c->load_tick - tick > BINARY_WRAP))
		return false;
	if (!c->running)
		return c->base_tick <= tick;
	return c->count && c->base_tick <= tick && (triggered(c) || c->gate) &&
	       (!cyclic(c) || (c->skew_ticks < c->count && elapsed(c, tick) < c->count));
}
