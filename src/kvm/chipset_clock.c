/* SPDX-License-Identifier: Apache-2.0 */
/* chipset_clock.c - the clock of a chipset: what it counts, and when a time will have come. */
#include <unistd.h>

#include "host/hostclock.h"
#include "kvm/chipset.h"
#include "kvm/chipset_peek.h"

enum { PAIR_TRIES = 2, LEAVE_TRIES = 50 };

#define NS_PER_S 1000000000ULL

__extension__ typedef unsigned __int128 u128;

static uint64_t count(const struct counted_clock *now)
{
	return now->tsc ? hostclock_tsc() : hostclock_monotonic_ns();
}

vmt_ns chipset_now(const struct chipset *c)
{
	const struct counted_clock now = liveclock_get(&c->clock);

	return vmt_clock_now(&now.clock, count(&now));
}

static void set_clock(struct chipset *c, const struct counted_clock *now)
{
	const uint64_t one = 1;

	liveclock_set(&c->clock, now);
	(void)!write(c->wake_fd, &one, sizeof(one)); /* its sleep ends at another count */
}

void chipset_mark(struct chipset *c, const int64_t *ppt, struct chipset_mark *ret_mark)
{
	struct counted_clock *now = &ret_mark->now;

	pthread_mutex_lock(&c->lock);
	*now = liveclock_get(&c->clock);
	ret_mark->counter = count(now);
	if (ppt &&
	    vmt_clock_discipline(&now->clock, ret_mark->counter, *ppt, &now->clock, NULL) == 0)
		set_clock(c, now);
	pthread_mutex_unlock(&c->lock);
}

bool chipset_leave_tsc(struct chipset *c, struct chipset_change *ret_change)
{
	struct hostclock_pair pair;
	struct counted_clock now;
	struct vmt_change change;
	uint64_t half = 0, hz;
	bool left = false;

	pthread_mutex_lock(&c->lock);
	now = liveclock_get(&c->clock);
	hz = now.clock.counter_hz;
	if (now.tsc && hostclock_pair(LEAVE_TRIES, &pair) == 0) {
		half = (pair.monotonic_tsc_hi - pair.monotonic_tsc_lo) / 2 + 1;
		now.tsc = 0;
		left = vmt_clock_counter(&now.clock, pair.monotonic_tsc_lo + half,
					 pair.monotonic_ns, NS_PER_S, &now.clock, &change) == 0;
	}
	if (left) {
		set_clock(c, &now);
		c->change = (struct chipset_change){
			.kind = VMT_CHANGE_COUNTER,
			.at_ns = change.after_ns,
			.before_ns = (int64_t)change.before_ns,
			.after_ns = (int64_t)change.after_ns,
			.bound_ns = half * NS_PER_S / hz + 1,
		};
		*ret_change = c->change;
	}
	pthread_mutex_unlock(&c->lock);
	return left;
}

int chipset_pause(struct chipset *c, uint64_t counter)
{
	struct counted_clock now = liveclock_get(&c->clock);
	int result = vmt_clock_pause(&now.clock, counter, &now.clock, NULL);

	if (result == 0)
		set_clock(c, &now);
	return result;
}

int chipset_pause_at(struct chipset *c, const struct vmt_clock *then)
{
	struct counted_clock now = liveclock_get(&c->clock);
	const int64_t ppt = now.clock.discipline_ppt;
	int result;

	result = vmt_clock_discipline(then, then->base_counter, ppt, &now.clock, NULL);
	if (result == 0)
		result = vmt_clock_pause(&now.clock, then->base_counter, &now.clock, NULL);
	if (result == 0)
		set_clock(c, &now);
	return result;
}

void chipset_resume(struct chipset *c, const struct counted_clock *now,
		    const struct chipset_change *change)
{
	pthread_mutex_lock(&c->lock);
	set_clock(c, now);
	c->change = *change;
	pthread_cond_broadcast(&c->gone); /* answers that are held back have a time again */
	pthread_mutex_unlock(&c->lock);
	chipset_utc(c, now->clock.utc_offset_ns);
}

static vmt_ns latest(const struct chipset *c)
{
	const vmt_ns hpet = __atomic_load_n(&c->hpet_read, __ATOMIC_RELAXED);
	const vmt_ns pm_timer = __atomic_load_n(&c->pm_timer_read, __ATOMIC_RELAXED);
	const vmt_ns peeked = hpet > pm_timer ? hpet : pm_timer;

	return c->board.now > peeked ? c->board.now : peeked;
}

int chipset_slept(struct chipset *c, struct vmt_suspend *suspend, const struct vmt_reading *at,
		  uint32_t policy, uint64_t limit_ns, struct chipset_change *ret_change)
{
	struct counted_clock now;
	struct vmt_change record;
	int64_t utc_before_ns;
	int result;

	pthread_mutex_lock(&c->lock);
	chipset_switching(c); /* a thread that serves an exit may read a counter */
	now = liveclock_get(&c->clock);
	utc_before_ns = now.clock.utc_offset_ns;
	suspend->shown_ns = latest(c);
	result = vmt_clock_suspend(&now.clock, suspend, at, policy, limit_ns, &now.clock, &record);
	if (result == 0) {
		set_clock(c, &now);
		c->change = (struct chipset_change){
			.kind = record.kind,
			.at_ns = record.after_ns,
			.before_ns = (int64_t)record.before_ns,
			.after_ns = (int64_t)record.after_ns,
			.bound_ns = record.bound_ns,
			.policy = record.policy,
			.gap_ns = record.gap_ns,
			.utc_before_ns = utc_before_ns,
			.utc_after_ns = now.clock.utc_offset_ns,
		};
		*ret_change = c->change;
		pthread_cond_broadcast(&c->gone); /* answers that are held back: another time */
	}
	chipset_switching(c);
	pthread_mutex_unlock(&c->lock);
	if (result == 0)
		chipset_utc(c, now.clock.utc_offset_ns);
	return result;
}

bool chipset_step_utc(struct chipset *c, int64_t step_ns, uint64_t bound_ns,
		      struct chipset_change *ret_change)
{
	struct counted_clock now;
	struct vmt_change record;
	struct vmt_reading at;
	int64_t before_ns;
	bool stepped;

	pthread_mutex_lock(&c->lock);
	now = liveclock_get(&c->clock);
	before_ns = now.clock.utc_offset_ns;
	at.counter = count(&now);
	at.utc_ns = vmt_clock_utc(&now.clock, vmt_clock_now(&now.clock, at.counter)) + step_ns;
	at.utc_bound_ns = now.clock.utc_bound_ns + bound_ns;
	stepped = vmt_clock_step_utc(&now.clock, &at, &now.clock, &record) == 0;
	if (stepped) {
		set_clock(c, &now);
		c->change = (struct chipset_change){
			.kind = record.kind,
			.at_ns = record.after_ns,
			.before_ns = before_ns,
			.after_ns = now.clock.utc_offset_ns,
			.bound_ns = record.bound_ns,
		};
		*ret_change = c->change;
	}
	pthread_mutex_unlock(&c->lock);
	if (stepped)
		chipset_utc(c, now.clock.utc_offset_ns);
	return stepped;
}

bool chipset_recount(struct chipset *c, uint64_t old_counter, uint64_t new_counter)
{
	struct counted_clock now;
	bool done;

	pthread_mutex_lock(&c->lock);
	now = liveclock_get(&c->clock);
	done = vmt_clock_counter(&now.clock, old_counter, new_counter, now.clock.counter_hz,
				 &now.clock, NULL) == 0;
	if (done)
		set_clock(c, &now);
	pthread_mutex_unlock(&c->lock);
	return done;
}

void chipset_tell(struct chipset *c, const struct chipset_change *change)
{
	pthread_mutex_lock(&c->lock);
	c->change = *change;
	pthread_mutex_unlock(&c->lock);
}

/* When CLOCK_MONOTONIC will show what the TSC shows at `counter`; rounded up. */
static uint64_t monotonic_of_tsc(const struct vmt_clock *clock, uint64_t counter)
{
	struct hostclock_pair pair;
	uint64_t middle, ns;

	if (hostclock_pair(PAIR_TRIES, &pair) < 0)
		return 1; /* at once, to look again */
	middle = pair.monotonic_tsc_lo + (pair.monotonic_tsc_hi - pair.monotonic_tsc_lo) / 2;
	if (counter <= middle)
		return 1;
	if (counter - middle > clock->counter_hz)
		return pair.monotonic_ns + NS_PER_S;
	ns = (uint64_t)(((u128)(counter - middle) * NS_PER_S + clock->counter_hz - 1) /
			clock->counter_hz);
	return pair.monotonic_ns + ns;
}

uint64_t chipset_monotonic_at(const struct chipset *c, vmt_ns at)
{
	const struct counted_clock now = liveclock_get(&c->clock);
	uint64_t counter = vmt_clock_counter_at(&now.clock, at);

	return now.tsc && counter != UINT64_MAX ? monotonic_of_tsc(&now.clock, counter) : counter;
}
