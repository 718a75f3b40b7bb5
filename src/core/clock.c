/* SPDX-License-Identifier: Apache-2.0 */
/* clock.c - the one virtual clock: an affine map from a host counter, and the pure functions that
 * change it. */
#include <vmtime/clock.h>

#include <assert.h>
#include <errno.h>

#include "core/ns.h"
#include "core/snap.h"

#define MAX_HZ (UINT64_C(1) << 40)
#define MAX_WARP 1000
#define PPT 1000000000000 /* parts in 10^12 */
#define LAST_NS (VMT_NEVER - 1)

/* Virtual time since the anchor in 2^-shift ns, exact: below 2^64 * 2^63 + 2^64. */
static vmt_ns_u128 elapsed(const struct vmt_clock *c, uint64_t counter)
{
	return (vmt_ns_u128)(counter - c->base_counter) * c->mult + c->base_frac;
}

static vmt_ns running_now(const struct vmt_clock *c, uint64_t counter)
{
	vmt_ns_u128 ns = elapsed(c, counter) >> c->shift;

	return ns < LAST_NS - c->base_ns ? c->base_ns + (uint64_t)ns : LAST_NS;
}

vmt_ns vmt_clock_now(const struct vmt_clock *c, uint64_t counter)
{
	if (c->state == VMT_CLOCK_PAUSED || counter <= c->base_counter)
		return c->base_ns;
	return running_now(c, counter);
}

uint64_t vmt_clock_counter_at(const struct vmt_clock *c, vmt_ns deadline)
{
	vmt_ns_u128 ahead;
	uint64_t counts;

	if (c->state == VMT_CLOCK_PAUSED || deadline == VMT_NEVER)
		return UINT64_MAX;
	if (deadline <= c->base_ns)
		return c->base_counter;
	ahead = (vmt_ns_u128)(deadline - c->base_ns) << c->shift; /* below 2^128, as shift <= 64 */
	counts = vmt_ns_div_ceil(ahead - c->base_frac, c->mult);
	return vmt_ns_add(c->base_counter, counts);
}

int64_t vmt_clock_utc(const struct vmt_clock *c, vmt_ns now)
{
	return vmt_ns_clamp((vmt_ns_i128)now + c->utc_offset_ns);
}

static bool good_rate(uint32_t num, uint32_t den)
{
	return num && den && num <= (uint64_t)den * MAX_WARP && den <= (uint64_t)num * MAX_WARP;
}

static bool good_ppt(int64_t ppt)
{
	return ppt >= -VMT_CLOCK_PPT && ppt <= VMT_CLOCK_PPT;
}

static bool good_hz(uint64_t hz)
{
	return hz >= 1 && hz <= MAX_HZ;
}

static bool good(const struct vmt_clock *c)
{
	return good_hz(c->counter_hz) && good_rate(c->rate_num, c->rate_den) &&
	       good_ppt(c->discipline_ppt) && c->state <= VMT_CLOCK_PAUSED &&
	       c->base_ns <= LAST_NS && c->shift <= 64 && c->mult && !(c->mult >> 63) &&
	       (c->shift == 64 || !(c->base_frac >> c->shift));
}

/* mult and shift of what the other fields say:
 * 10^9 / hz ns a count, times num / den, times (10^12 + ppt) / 10^12.  Products below 2^112. */
static void factor(const struct vmt_clock *c, uint64_t *ret_mult, uint32_t *ret_shift)
{
	vmt_ns_u128 n =
		(vmt_ns_u128)VMT_NS_PER_S * c->rate_num * (uint64_t)(PPT + c->discipline_ppt);
	vmt_ns_u128 d = (vmt_ns_u128)c->counter_hz * c->rate_den * PPT;

	vmt_ns_factor(n, d, ret_mult, ret_shift);
}

/* The rate changed: compute the map anew.  What base_frac loses is below 2^-shift ns, where the
 * factor itself is no better. */
static void refactor(struct vmt_clock *c)
{
	uint32_t old = c->shift;

	factor(c, &c->mult, &c->shift);
	if (c->shift < old)
		c->base_frac = old - c->shift < 64 ? c->base_frac >> (old - c->shift) : 0;
	else if (c->shift > old)
		c->base_frac = c->shift - old < 64 ? c->base_frac << (c->shift - old) : 0;
}

/* Move the anchor to `counter` as of a running clock; the fraction of a nanosecond goes with it. */
static void anchor(struct vmt_clock *c, uint64_t counter)
{
	vmt_ns_u128 exact = elapsed(c, counter);
	vmt_ns_u128 below = ((vmt_ns_u128)1 << c->shift) - 1;

	c->base_ns = running_now(c, counter);
	c->base_frac = (uint64_t)(exact & below);
	c->base_counter = counter;
}

/* What a paused clock keeps in its anchor is when the pause began: it stays. */
static void anchor_if_running(struct vmt_clock *c, uint64_t counter)
{
	if (c->state == VMT_CLOCK_RUNNING)
		anchor(c, counter);
}

/* Host nanoseconds from the anchor to `counter`: the clock's own map without its warp. */
static uint64_t host_gap_ns(const struct vmt_clock *c, uint64_t counter)
{
	struct vmt_clock host = *c;

	host.rate_num = host.rate_den = 1;
	host.base_ns = host.base_frac = 0;
	factor(&host, &host.mult, &host.shift);
	return running_now(&host, counter);
}

static void take_utc(struct vmt_clock *c, const struct vmt_reading *at, vmt_ns now)
{
	c->utc_offset_ns = vmt_ns_clamp((vmt_ns_i128)at->utc_ns - now);
	c->utc_bound_ns = at->utc_bound_ns;
}

/* Hands out clock and record.  `counter` is where the change took effect, on the new counter if it
 * changed. */
static int done(const struct vmt_clock *old, vmt_ns before, struct vmt_clock *c, uint64_t counter,
		struct vmt_change change, struct vmt_clock *ret_clock,
		struct vmt_change *ret_change)
{
	vmt_ns_i128 step;

	c->epoch = old->epoch + 1;
	change.counter = counter;
	change.before_ns = before;
	change.after_ns = vmt_clock_now(c, counter);
	step = (vmt_ns_i128)change.after_ns + c->utc_offset_ns;
	step -= (vmt_ns_i128)before + old->utc_offset_ns;
	change.utc_step_ns = vmt_ns_clamp(step - change.gap_ns);
	change.ppt_before = old->discipline_ppt;
	change.ppt_after = c->discipline_ppt;
	change.epoch = c->epoch;
	*ret_clock = *c;
	if (ret_change)
		*ret_change = change;
	return 0;
}

int vmt_clock_start(uint64_t counter_hz, const struct vmt_reading *at, struct vmt_clock *ret_clock,
		    struct vmt_change *ret_change)
{
	struct vmt_clock none = {0}, c = {
					     .counter_hz = counter_hz,
					     .base_counter = at->counter,
					     .state = VMT_CLOCK_RUNNING,
					     .rate_num = 1,
					     .rate_den = 1,
				     };
	struct vmt_change change = {.kind = VMT_CHANGE_START, .bound_ns = at->utc_bound_ns};

	if (!good_hz(counter_hz))
		return -EINVAL;
	factor(&c, &c.mult, &c.shift);
	take_utc(&c, at, 0);
	none.utc_offset_ns = c.utc_offset_ns; /* there was no UTC to step from */
	return done(&none, 0, &c, at->counter, change, ret_clock, ret_change);
}

int vmt_clock_pause(const struct vmt_clock *old, uint64_t counter, struct vmt_clock *ret_clock,
		    struct vmt_change *ret_change)
{
	struct vmt_change change = {.kind = VMT_CHANGE_PAUSE};
	struct vmt_clock c = *old;

	if (!good(old) || counter < old->base_counter || old->state != VMT_CLOCK_RUNNING)
		return -EINVAL;
	anchor(&c, counter);
	c.state = VMT_CLOCK_PAUSED;
	return done(old, c.base_ns, &c, counter, change, ret_clock, ret_change);
}

/* The policy that is applied to this gap; never AUTO. */
static uint32_t resolve(uint32_t policy, uint64_t gap_ns, uint64_t auto_limit_ns)
{
	if (policy != VMT_POLICY_AUTO)
		return policy;
	return gap_ns <= auto_limit_ns ? VMT_POLICY_CONTINUE : VMT_POLICY_FREEZE;
}

int vmt_clock_resume(const struct vmt_clock *old, const struct vmt_reading *at, uint32_t policy,
		     uint64_t auto_limit_ns, struct vmt_clock *ret_clock,
		     struct vmt_change *ret_change)
{
	struct vmt_change change = {.kind = VMT_CHANGE_RESUME, .bound_ns = at->utc_bound_ns};
	struct vmt_clock c = *old;

	if (!good(old) || at->counter < old->base_counter || old->state != VMT_CLOCK_PAUSED ||
	    policy > VMT_POLICY_AUTO)
		return -EINVAL;
	change.gap_ns = host_gap_ns(old, at->counter);
	change.policy = resolve(policy, change.gap_ns, auto_limit_ns);
	c.state = VMT_CLOCK_RUNNING;
	if (change.policy == VMT_POLICY_CONTINUE)
		anchor(&c, at->counter); /* as if it had never been paused */
	c.base_counter = at->counter;
	take_utc(&c, at, c.base_ns);
	return done(old, old->base_ns, &c, at->counter, change, ret_clock, ret_change);
}

/* Virtual time after `ns` of the host's. */
static vmt_ns later(const struct vmt_clock *c, vmt_ns now, uint64_t ns)
{
	uint64_t more = vmt_ns_muldiv_floor(ns, c->rate_num, c->rate_den);

	return more < LAST_NS - now ? now + more : LAST_NS;
}

int vmt_clock_suspend(const struct vmt_clock *old, const struct vmt_suspend *suspend,
		      const struct vmt_reading *at, uint32_t policy, uint64_t auto_limit_ns,
		      struct vmt_clock *ret_clock, struct vmt_change *ret_change)
{
	struct vmt_change change = {.kind = VMT_CHANGE_SUSPEND,
				    .gap_ns = suspend->suspended_ns,
				    .bound_ns = at->utc_bound_ns};
	const uint64_t away_ns = vmt_ns_add(suspend->awake_ns, suspend->suspended_ns);
	struct vmt_clock c = *old;
	vmt_ns woken;

	if (!good(old) || old->state != VMT_CLOCK_RUNNING || policy > VMT_POLICY_AUTO ||
	    suspend->before_ns > LAST_NS || suspend->shown_ns > LAST_NS)
		return -EINVAL;
	change.policy = resolve(policy, away_ns, auto_limit_ns);
	woken = later(old, suspend->before_ns, suspend->awake_ns);
	c.base_ns = woken;
	if (change.policy == VMT_POLICY_CONTINUE)
		c.base_ns = later(old, suspend->before_ns, away_ns);
	if (c.base_ns < suspend->shown_ns)
		c.base_ns = suspend->shown_ns;
	c.base_frac = 0;
	c.base_counter = at->counter;
	take_utc(&c, at, c.base_ns);
	return done(old, woken, &c, at->counter, change, ret_clock, ret_change);
}

int vmt_clock_step_utc(const struct vmt_clock *old, const struct vmt_reading *at,
		       struct vmt_clock *ret_clock, struct vmt_change *ret_change)
{
	struct vmt_change change = {.kind = VMT_CHANGE_STEP_UTC, .bound_ns = at->utc_bound_ns};
	struct vmt_clock c = *old;
	vmt_ns now;

	if (!good(old) || at->counter < old->base_counter || old->state != VMT_CLOCK_RUNNING)
		return -EINVAL;
	now = running_now(old, at->counter);
	take_utc(&c, at, now);
	return done(old, now, &c, at->counter, change, ret_clock, ret_change);
}

int vmt_clock_rate(const struct vmt_clock *old, uint64_t counter, uint32_t num, uint32_t den,
		   struct vmt_clock *ret_clock, struct vmt_change *ret_change)
{
	struct vmt_change change = {.kind = VMT_CHANGE_RATE};
	struct vmt_clock c = *old;

	if (!good(old) || counter < old->base_counter || !good_rate(num, den))
		return -EINVAL;
	anchor_if_running(&c, counter);
	c.rate_num = num;
	c.rate_den = den;
	refactor(&c);
	return done(old, c.base_ns, &c, counter, change, ret_clock, ret_change);
}

int vmt_clock_discipline(const struct vmt_clock *old, uint64_t counter, int64_t ppt,
			 struct vmt_clock *ret_clock, struct vmt_change *ret_change)
{
	struct vmt_change change = {.kind = VMT_CHANGE_DISCIPLINE};
	struct vmt_clock c = *old;

	if (!good(old) || counter < old->base_counter || !good_ppt(ppt))
		return -EINVAL;
	anchor_if_running(&c, counter);
	c.discipline_ppt = ppt;
	refactor(&c);
	return done(old, c.base_ns, &c, counter, change, ret_clock, ret_change);
}

int vmt_clock_counter(const struct vmt_clock *old, uint64_t old_counter, uint64_t new_counter,
		      uint64_t new_counter_hz, struct vmt_clock *ret_clock,
		      struct vmt_change *ret_change)
{
	struct vmt_change change = {.kind = VMT_CHANGE_COUNTER};
	struct vmt_clock c = *old;
	uint64_t gap;

	if (!good(old) || old_counter < old->base_counter || !good_hz(new_counter_hz))
		return -EINVAL;
	anchor_if_running(&c, old_counter);
	/* A pause that has lasted some time began that much earlier on the new counter too. */
	gap = vmt_ns_muldiv_floor(host_gap_ns(&c, old_counter), new_counter_hz, VMT_NS_PER_S);
	if (gap > new_counter)
		return -EINVAL;
	c.base_counter = new_counter - gap;
	c.counter_hz = new_counter_hz;
	c.discipline_ppt = 0; /* it was the old counter's error */
	refactor(&c);
	return done(old, c.base_ns, &c, new_counter, change, ret_clock, ret_change);
}

int vmt_clock_load(const struct vmt_clock *saved, uint64_t counter_hz, const struct vmt_reading *at,
		   uint32_t policy, uint64_t auto_limit_ns, struct vmt_clock *ret_clock,
		   struct vmt_change *ret_change)
{
	struct vmt_change change = {.kind = VMT_CHANGE_LOAD, .bound_ns = at->utc_bound_ns};
	struct vmt_clock c = *saved;
	vmt_ns_i128 gap;

	if (!good(saved) || saved->state != VMT_CLOCK_PAUSED || !good_hz(counter_hz) ||
	    policy > VMT_POLICY_AUTO)
		return -EINVAL;
	gap = (vmt_ns_i128)at->utc_ns - saved->utc_offset_ns - saved->base_ns;
	change.policy = VMT_POLICY_FREEZE;
	if (gap >= 0) {
		change.gap_ns = gap < LAST_NS ? (uint64_t)gap : LAST_NS;
		change.policy = resolve(policy, change.gap_ns, auto_limit_ns);
	}
	if (change.policy == VMT_POLICY_CONTINUE)
		c.base_ns = later(saved, c.base_ns, change.gap_ns);
	c.state = VMT_CLOCK_RUNNING;
	c.base_counter = at->counter;
	c.counter_hz = counter_hz;
	c.discipline_ppt = 0;
	refactor(&c);
	take_utc(&c, at, c.base_ns);
	return done(saved, saved->base_ns, &c, at->counter, change, ret_clock, ret_change);
}

enum { SAVED_VERSION = 1 };

/* Without base_counter, which means nothing on another host, and mult and shift, which follow from
 * the rest. */
int vmt_clock_save(const struct vmt_clock *c, void *buf, size_t size)
{
	struct vmt_snap_writer w;

	static_assert(sizeof(struct vmt_clock) == 88, "a new field is to be saved");
	vmt_snap_start(&w, buf, size, VMT_SNAP_CLOCK, SAVED_VERSION);
	vmt_snap_put(&w, c->counter_hz, 8);
	vmt_snap_put(&w, c->base_ns, 8);
	vmt_snap_put(&w, c->base_frac, 8);
	vmt_snap_put(&w, (uint64_t)c->utc_offset_ns, 8);
	vmt_snap_put(&w, c->utc_bound_ns, 8);
	vmt_snap_put(&w, c->rate_num, 4);
	vmt_snap_put(&w, c->rate_den, 4);
	vmt_snap_put(&w, (uint64_t)c->discipline_ppt, 8);
	vmt_snap_put(&w, c->epoch, 8);
	return vmt_snap_finish(&w);
}

int vmt_clock_restore(const void *buf, size_t size, struct vmt_clock *ret_saved)
{
	struct vmt_clock c = {.state = VMT_CLOCK_PAUSED, .mult = 1};
	struct vmt_snap_reader r;

	vmt_snap_open(&r, buf, size, VMT_SNAP_CLOCK, SAVED_VERSION);
	c.counter_hz = vmt_snap_get64(&r);
	c.base_ns = vmt_snap_get64(&r);
	c.base_frac = vmt_snap_get64(&r);
	c.utc_offset_ns = (int64_t)vmt_snap_get64(&r);
	c.utc_bound_ns = vmt_snap_get64(&r);
	c.rate_num = vmt_snap_get32(&r);
	c.rate_den = vmt_snap_get32(&r);
	c.discipline_ppt = (int64_t)vmt_snap_get64(&r);
	c.epoch = vmt_snap_get64(&r);
	if (vmt_snap_close(&r) || !good_hz(c.counter_hz) || !good_rate(c.rate_num, c.rate_den) ||
	    !good_ppt(c.discipline_ppt))
		return -EINVAL;
	factor(&c, &c.mult, &c.shift);
	if (!good(&c))
		return -EINVAL;
	*ret_saved = c;
	return 0;
}
