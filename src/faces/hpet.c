/* SPDX-License-Identifier: Apache-2.0 */
/* hpet.c - the high precision event timers: one counter, three comparators.
 *
 * The counter is a function of `now`: what it showed at a tick, and the ticks since.  One-shot and
 * periodic are one thing: a comparator matches when the counter counts onto it, and then again
 * after a period or, without one, after a whole round of its 32 or 64 bits.  How many matches lie
 * between two calls is a division.
 *
 * Section numbers are those of the IA-PC HPET specification, 1.0a. */
#include <vmtime/hpet.h>

#include <assert.h>
#include <errno.h>
#include <stdbool.h>

#include "core/ns.h"
#include "core/snap.h"
#include "faces/into.h"

/* 2.3.4: revision 1, last timer 2, 64-bit counter, legacy replacement, vendor 0x8086, fs. */
#define CAPABILITIES UINT64_C(0x009896808086a201)
#define HALTED UINT64_MAX
#define NEVER UINT64_MAX

enum { ENABLE = 1, LEGACY = 2, CONFIG_BITS = ENABLE | LEGACY };
/* 2.3.8 */
enum {
	T_LEVEL = 1 << 1,
	T_INT_ENB = 1 << 2,
	T_PERIODIC = 1 << 3,
	T_CAN_PERIODIC = 1 << 4,
	T_CAN_64 = 1 << 5,
	T_VAL_SET = 1 << 6,
	T_32MODE = 1 << 8,
	T_ROUTE_SHIFT = 9,
	T_ROUTE = 31 << T_ROUTE_SHIFT,
	T_HELD = T_LEVEL | T_INT_ENB | T_PERIODIC | T_32MODE | T_ROUTE
};
enum { TIMER_BYTES = 0x20, TIMERS_END = VMT_HPET_TIMER + VMT_HPET_TIMERS * TIMER_BYTES };
enum { LEGACY_INPUT0 = 2, LEGACY_INPUT1 = 8, SAVED_VERSION = 1 };

static uint64_t tick_at(vmt_ns now)
{
	return now / VMT_HPET_TICK_NS;
}

static vmt_ns ns_of(uint64_t tick)
{
	return tick <= VMT_NEVER / VMT_HPET_TICK_NS ? tick * VMT_HPET_TICK_NS : VMT_NEVER;
}

/* HALTED is later than any tick.  So is, for a moment, the start that another thread has just
 * made, for whoever read the clock before it. */
static uint64_t count_of(uint64_t base_count, uint64_t base_tick, uint64_t tick)
{
	return base_count + (tick > base_tick ? tick - base_tick : 0);
}

static uint64_t count(const struct vmt_hpet *s)
{
	return count_of(s->base_count, s->base_tick, s->seen_tick);
}

static bool running(const struct vmt_hpet *s)
{
	return s->config & ENABLE;
}

/* From seen_tick on the counter goes on from, or stands at, `from`.  Readers without the lock see
 * both words of one change: an odd number before the first, an even one after the second. */
static void set_counter(struct vmt_hpet *s, uint64_t from, bool run)
{
	uint64_t base_tick = run ? s->seen_tick : HALTED;

	__atomic_store_n(&s->changes, s->changes + 1, __ATOMIC_RELAXED);
	__atomic_store_n(&s->base_count, from, __ATOMIC_RELEASE);
	__atomic_store_n(&s->base_tick, base_tick, __ATOMIC_RELEASE);
	__atomic_store_n(&s->changes, s->changes + 1, __ATOMIC_RELEASE);
}

int vmt_hpet_peek(const struct vmt_hpet *s, vmt_ns now, uint64_t *ret_count)
{
	uint32_t changes = __atomic_load_n(&s->changes, __ATOMIC_ACQUIRE);
	uint64_t base_count = __atomic_load_n(&s->base_count, __ATOMIC_ACQUIRE);
	uint64_t base_tick = __atomic_load_n(&s->base_tick, __ATOMIC_ACQUIRE);

	if (changes & 1 || __atomic_load_n(&s->changes, __ATOMIC_RELAXED) != changes)
		return -EAGAIN;
	*ret_count = count_of(base_count, base_tick, tick_at(now));
	return 0;
}

/* The bits that the timer compares. */
static uint64_t range(const struct vmt_hpet_timer *t)
{
	return t->config & T_32MODE ? UINT32_MAX : UINT64_MAX;
}

/* Ticks of a counter at `from` to the next match, 1 or more; a comparator that it stands on has its
 * match behind it.  A round of 64 bits is longer than virtual time. */
static uint64_t to_match(const struct vmt_hpet_timer *t, uint64_t from)
{
	uint64_t ticks = (t->comparator - from) & range(t);

	if (ticks)
		return ticks;
	return t->config & T_32MODE ? UINT64_C(1) << 32 : NEVER;
}

/* Ticks from match to match. */
static uint64_t step(const struct vmt_hpet_timer *t)
{
	if (t->config & T_PERIODIC && t->written)
		return t->written;
	return t->config & T_32MODE ? UINT64_C(1) << 32 : NEVER;
}

/* Matches of a counter that counts from `from` over `ticks`; the comparator moves along. */
static uint64_t match(struct vmt_hpet_timer *t, uint64_t from, uint64_t ticks)
{
	uint64_t first = to_match(t, from), matches;

	if (ticks < first)
		return 0;
	matches = 1 + (ticks - first) / step(t);
	if (t->config & T_PERIODIC)
		t->comparator = (t->comparator + matches * t->written) & range(t);
	return matches;
}

/* 2.3.5, 2.3.8: what holds a line high. */
static uint8_t levels(const struct vmt_hpet *s)
{
	unsigned level = 0;

	for (unsigned i = 0; running(s) && i < VMT_HPET_TIMERS; i++)
		if (s->timer[i].config & T_INT_ENB)
			level |= s->status & 1u << i;
	return (uint8_t)level;
}

/* Matches of timer i, as its line shows them. */
static uint64_t interrupt(struct vmt_hpet *s, unsigned i, uint64_t matches)
{
	uint16_t config = s->timer[i].config;
	uint8_t before = s->status;

	if (!matches)
		return 0;
	if (!(config & T_LEVEL))
		return config & T_INT_ENB ? matches : 0;
	s->status |= (uint8_t)(1 << i);
	return s->status != before && config & T_INT_ENB;
}

/* Let the counter count up to now. */
static void catch_up(struct vmt_hpet *s, vmt_ns now, struct vmt_out *out)
{
	uint64_t tick = tick_at(now), from = count(s), ticks;

	*out = (struct vmt_out){.ready = now};
	if (tick > s->seen_tick) {
		ticks = tick - s->seen_tick;
		s->seen_tick = tick;
		for (unsigned i = 0; running(s) && i < VMT_HPET_TIMERS; i++)
			out->rises[i] = interrupt(s, i, match(&s->timer[i], from, ticks));
	}
	out->level = levels(s);
}

/* A line that is to rise; one that is high, or whose bit only waits to be let through, is not. */
static bool awaited(const struct vmt_hpet *s, unsigned i)
{
	return running(s) && s->timer[i].config & T_INT_ENB && !(s->status >> i & 1);
}

vmt_ns vmt_hpet_due(const struct vmt_hpet *s, uint32_t timer)
{
	if (!awaited(s, timer))
		return VMT_NEVER;
	return ns_of(vmt_ns_add(s->seen_tick, to_match(&s->timer[timer], count(s))));
}

/* What the call leaves behind; a level that the access raised is an edge too. */
static void settle(const struct vmt_hpet *s, struct vmt_out *out)
{
	uint8_t before = out->level;
	uint64_t nearest = NEVER;

	out->level = levels(s);
	for (unsigned i = 0; i < VMT_HPET_TIMERS; i++) {
		out->rises[i] += (out->level & ~before) >> i & 1;
		if (awaited(s, i)) {
			uint64_t ticks = to_match(&s->timer[i], count(s));

			nearest = ticks < nearest ? ticks : nearest;
		}
	}
	out->deadline = ns_of(vmt_ns_add(s->seen_tick, nearest));
}

static void power_on(struct vmt_hpet *s)
{
	s->config = 0;
	s->status = 0;
	for (unsigned i = 0; i < VMT_HPET_TIMERS; i++)
		s->timer[i] = (struct vmt_hpet_timer){
			.comparator = UINT64_MAX,
			.written = UINT64_MAX,
		};
	set_counter(s, 0, false);
}

int vmt_hpet_init(struct vmt_hpet *s, vmt_ns now, uint32_t routes)
{
	if (!routes)
		return -EINVAL;
	*s = (struct vmt_hpet){.seen_tick = tick_at(now), .routes = routes};
	power_on(s);
	return 0;
}

void vmt_hpet_reset(struct vmt_hpet *s, vmt_ns now)
{
	struct vmt_out dropped;

	catch_up(s, now, &dropped);
	power_on(s);
}

void vmt_hpet_advance_into(struct vmt_hpet *s, vmt_ns now, struct vmt_out *out)
{
	catch_up(s, now, out);
	settle(s, out);
}

/* The register of eight bytes at `at`, a multiple of 8. */
static uint64_t read_register(const struct vmt_hpet *s, uint64_t at)
{
	const struct vmt_hpet_timer *t;

	switch (at) {
	case VMT_HPET_CAPABILITIES:
		return CAPABILITIES;
	case VMT_HPET_CONFIG:
		return s->config;
	case VMT_HPET_STATUS:
		return s->status;
	case VMT_HPET_COUNTER:
		return count(s);
	}
	if (at < VMT_HPET_TIMER || at >= TIMERS_END)
		return 0;
	t = &s->timer[(at - VMT_HPET_TIMER) / TIMER_BYTES];
	switch (at % TIMER_BYTES) {
	case VMT_HPET_TIMER_CONFIG:
		return (uint64_t)s->routes << 32 | t->config | T_CAN_PERIODIC | T_CAN_64;
	case VMT_HPET_TIMER_COMPARATOR:
		return t->comparator;
	default:
		return 0;
	}
}

static uint64_t merge(uint64_t old, uint64_t mask, uint64_t bits)
{
	return (old & ~mask) | (bits & mask);
}

static void write_config(struct vmt_hpet *s, uint64_t mask, uint64_t bits)
{
	uint64_t from = count(s);
	bool before = running(s);

	s->config = merge(s->config, mask, bits) & CONFIG_BITS;
	if (running(s) != before)
		set_counter(s, from, running(s));
}

static void cut(struct vmt_hpet_timer *t)
{
	t->comparator &= range(t);
	t->written &= range(t);
}

static void write_timer_config(struct vmt_hpet *s, unsigned i, uint64_t mask, uint64_t bits)
{
	struct vmt_hpet_timer *t = &s->timer[i];
	uint16_t config = merge(t->config, mask, bits) & T_HELD;

	if (!(s->routes >> (config >> T_ROUTE_SHIFT) & 1))
		config = (uint16_t)((config & ~T_ROUTE) | (t->config & T_ROUTE));
	t->config = config;
	if (!(config & T_PERIODIC))
		t->val_set = 0;
	else if (mask & T_VAL_SET)
		t->val_set = (bits & T_VAL_SET) != 0;
	if (!(config & T_LEVEL))
		s->status &= (uint8_t) ~(1u << i);
	cut(t);
}

/* 2.3.9: in periodic mode what is written is the period, and only VAL_SET opens the comparator. */
static void write_comparator(struct vmt_hpet_timer *t, uint64_t mask, uint64_t bits)
{
	if (!(t->config & T_PERIODIC) || t->val_set)
		t->comparator = merge(t->comparator, mask, bits);
	t->written = merge(t->written, mask, bits);
	t->val_set = 0;
	cut(t);
}

/* `mask` says which bits of the register at `at`, a multiple of 8, are written. */
static void write_register(struct vmt_hpet *s, uint64_t at, uint64_t mask, uint64_t bits)
{
	unsigned i;

	if (at == VMT_HPET_CONFIG)
		write_config(s, mask, bits);
	else if (at == VMT_HPET_STATUS)
		s->status &= (uint8_t) ~(mask & bits);
	else if (at == VMT_HPET_COUNTER && !running(s))
		set_counter(s, merge(s->base_count, mask, bits), false);
	if (at < VMT_HPET_TIMER || at >= TIMERS_END)
		return;
	i = (unsigned)((at - VMT_HPET_TIMER) / TIMER_BYTES);
	if (at % TIMER_BYTES == VMT_HPET_TIMER_CONFIG)
		write_timer_config(s, i, mask, bits);
	else if (at % TIMER_BYTES == VMT_HPET_TIMER_COMPARATOR)
		write_comparator(&s->timer[i], mask, bits);
}

static uint64_t width_mask(uint32_t width)
{
	return width < 8 ? (UINT64_C(1) << (width * 8)) - 1 : UINT64_MAX;
}

void vmt_hpet_read_into(struct vmt_hpet *s, vmt_ns now, uint32_t reg, uint32_t width,
			uint64_t *ret_value, struct vmt_out *out)
{
	uint64_t at = reg & ~UINT64_C(7);
	unsigned shift = reg % 8 * 8;
	uint64_t value;

	catch_up(s, now, out);
	value = read_register(s, at) >> shift;
	if (shift)
		value |= read_register(s, at + 8) << (64 - shift);
	*ret_value = value & width_mask(width);
	settle(s, out);
}

void vmt_hpet_write_into(struct vmt_hpet *s, vmt_ns now, uint32_t reg, uint32_t width,
			 uint64_t value, struct vmt_out *out)
{
	uint64_t at = reg & ~UINT64_C(7), mask = width_mask(width);
	unsigned shift = reg % 8 * 8;

	catch_up(s, now, out);
	if (mask)
		write_register(s, at, mask << shift, value << shift);
	if (shift && mask >> (64 - shift))
		write_register(s, at + 8, mask >> (64 - shift), value >> (64 - shift));
	settle(s, out);
}

struct vmt_out vmt_hpet_advance(struct vmt_hpet *s, vmt_ns now)
{
	struct vmt_out out;

	vmt_hpet_advance_into(s, now, &out);
	return out;
}

struct vmt_out vmt_hpet_read(struct vmt_hpet *s, vmt_ns now, uint32_t reg, uint32_t width,
			     uint64_t *ret_value)
{
	struct vmt_out out;

	vmt_hpet_read_into(s, now, reg, width, ret_value, &out);
	return out;
}

struct vmt_out vmt_hpet_write(struct vmt_hpet *s, vmt_ns now, uint32_t reg, uint32_t width,
			      uint64_t value)
{
	struct vmt_out out;

	vmt_hpet_write_into(s, now, reg, width, value, &out);
	return out;
}

uint32_t vmt_hpet_legacy(const struct vmt_hpet *s)
{
	return s->config == (ENABLE | LEGACY);
}

uint32_t vmt_hpet_route(const struct vmt_hpet *s, uint32_t timer)
{
	uint32_t input;

	if (timer >= VMT_HPET_TIMERS)
		return VMT_HPET_NOWHERE;
	if (vmt_hpet_legacy(s) && timer < 2)
		return timer ? LEGACY_INPUT1 : LEGACY_INPUT0;
	input = s->timer[timer].config >> T_ROUTE_SHIFT & 31;
	return s->routes >> input & 1 ? input : VMT_HPET_NOWHERE;
}

uint64_t vmt_hpet_period_ns(const struct vmt_hpet *s, uint32_t timer)
{
	const struct vmt_hpet_timer *t;

	if (timer >= VMT_HPET_TIMERS || !running(s))
		return 0;
	t = &s->timer[timer];
	if (!(t->config & T_PERIODIC) || !(t->config & T_INT_ENB))
		return 0;
	return ns_of(step(t));
}

int vmt_hpet_save(const struct vmt_hpet *s, void *buf, size_t size)
{
	struct vmt_snap_writer w;

	static_assert(sizeof(struct vmt_hpet) == 112, "a new field is to be saved");
	static_assert(sizeof(struct vmt_hpet_timer) == 24, "a new field is to be saved");
	vmt_snap_start(&w, buf, size, VMT_SNAP_HPET, SAVED_VERSION);
	vmt_snap_put(&w, s->seen_tick, 8);
	vmt_snap_put(&w, s->base_count, 8);
	vmt_snap_put(&w, s->base_tick, 8);
	vmt_snap_put(&w, s->changes, 4);
	vmt_snap_put(&w, s->routes, 4);
	for (unsigned i = 0; i < VMT_HPET_TIMERS; i++) {
		vmt_snap_put(&w, s->timer[i].comparator, 8);
		vmt_snap_put(&w, s->timer[i].written, 8);
		vmt_snap_put(&w, s->timer[i].config, 2);
		vmt_snap_put(&w, s->timer[i].val_set, 1);
	}
	vmt_snap_put(&w, s->config, 1);
	vmt_snap_put(&w, s->status, 1);
	return vmt_snap_finish(&w);
}

static bool good_timer(const struct vmt_hpet *s, unsigned i)
{
	const struct vmt_hpet_timer *t = &s->timer[i];
	unsigned route = t->config >> T_ROUTE_SHIFT & 31;

	if (s->status >> i & 1 && !(t->config & T_LEVEL))
		return false;
	return !(t->config & ~T_HELD) && (!route || s->routes >> route & 1) &&
	       t->comparator <= range(t) && t->written <= range(t) &&
	       t->val_set <= (t->config & T_PERIODIC ? 1 : 0);
}

static bool good(const struct vmt_hpet *s, vmt_ns now)
{
	for (unsigned i = 0; i < VMT_HPET_TIMERS; i++)
		if (!good_timer(s, i))
			return false;
	return s->seen_tick <= tick_at(now) && !(s->changes & 1) && !(s->config & ~CONFIG_BITS) &&
	       s->status < 1 << VMT_HPET_TIMERS &&
	       (running(s) ? s->base_tick <= s->seen_tick : s->base_tick == HALTED);
}

int vmt_hpet_load(struct vmt_hpet *s, vmt_ns now, const void *buf, size_t size)
{
	struct vmt_hpet loaded = {0};
	struct vmt_snap_reader r;

	vmt_snap_open(&r, buf, size, VMT_SNAP_HPET, SAVED_VERSION);
	loaded.seen_tick = vmt_snap_get64(&r);
	loaded.base_count = vmt_snap_get64(&r);
	loaded.base_tick = vmt_snap_get64(&r);
	loaded.changes = vmt_snap_get32(&r);
	loaded.routes = vmt_snap_get32(&r);
	for (unsigned i = 0; i < VMT_HPET_TIMERS; i++) {
		loaded.timer[i].comparator = vmt_snap_get64(&r);
		loaded.timer[i].written = vmt_snap_get64(&r);
		loaded.timer[i].config = vmt_snap_get16(&r);
		loaded.timer[i].val_set = vmt_snap_get8(&r);
	}
	loaded.config = vmt_snap_get8(&r);
	loaded.status = vmt_snap_get8(&r);
	if (vmt_snap_close(&r) || loaded.routes != s->routes || !good(&loaded, now))
		return -EINVAL;
	*s = loaded;
	return 0;
}
