/* SPDX-License-Identifier: Apache-2.0 */
/* pause.c - a machine stands still for a while and goes on. */
#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>

#include "host/hostclock.h"
#include "kvm/chipset_peek.h"
#include "kvm/pause.h"

enum { PAIR_TRIES = 50, BESIDE_TRIES = 20, HZ_PER_KHZ = 1000, NS_PER_MS = 1000000 };

#define NS_PER_S UINT64_C(1000000000)
/* A counter that was not read for so long is not what the guest tells the time by, nor what it
 * watches another clock with. */
#define READS_NS (10 * NS_PER_S)
/* ... where the host was suspended: what NTP makes of its clock is not in the TSC. */
#define SLEPT_NS 1000
/* By how much counter and clock may disagree, beside a thousandth of the time. */
#define APART_NS (NS_PER_S / 10)

__extension__ typedef __int128 i128;

static int64_t ns_at(uint32_t khz, i128 counts)
{
	return (int64_t)(counts * NS_PER_MS / khz);
}

static int64_t ns_of(const struct pause_config *config, i128 counts)
{
	return ns_at(config->tsc->host.khz, counts);
}

static uint64_t middle(uint64_t lo, uint64_t hi)
{
	return lo + (hi - lo) / 2;
}

int pause_look(bool counts_tsc, uint32_t khz, struct pause_instant *ret_instant)
{
	struct hostclock_pair pair;
	int result = hostclock_pair(PAIR_TRIES, &pair);
	uint64_t realtime = middle(pair.realtime_tsc_lo, pair.realtime_tsc_hi);
	uint64_t monotonic = middle(pair.monotonic_tsc_lo, pair.monotonic_tsc_hi);
	struct pause_instant *i = ret_instant;

	if (result < 0)
		return result;
	i->tsc = counts_tsc ? realtime : monotonic;
	i->at.counter = counts_tsc ? realtime : pair.monotonic_ns;
	/* The two clocks are read one after the other. */
	i->at.utc_ns = pair.realtime_ns + ns_at(khz, (i128)i->tsc - realtime);
	i->at.utc_bound_ns =
		(uint64_t)ns_at(khz, pair.realtime_tsc_hi - pair.realtime_tsc_lo) / 2 + 1;
	i->host.counter = monotonic;
	i->host.host_ns = pair.monotonic_ns;
	(void)hostclock_beside(BESIDE_TRIES, &i->beside);
	i->host.bound_ns =
		(uint64_t)ns_at(khz, pair.monotonic_tsc_hi - pair.monotonic_tsc_lo) / 2 + 1;
	return 0;
}

static int look(const struct pause *p, struct pause_instant *ret_instant)
{
	return pause_look(liveclock_get(&p->config.chipset->clock).tsc, p->config.tsc->host.khz,
			  ret_instant);
}

uint64_t pause_kvm_clock(const struct pause_config *config, uint64_t tsc)
{
	struct kvm_clock_data data = {0};

	if (ioctl(config->vm->fd, KVM_GET_CLOCK, &data) < 0)
		return 0;
	if (data.flags & KVM_CLOCK_HOST_TSC)
		data.clock -= (uint64_t)ns_of(config, (i128)data.host_tsc - tsc);
	return data.clock;
}

/* How far it is ahead of that.  False: KVM does not tell the count at which it was read. */
static bool is_ahead(const struct pause_config *config, uint64_t ns, uint64_t tsc, int64_t *ret_ns)
{
	struct kvm_clock_data data = {0};

	if (ioctl(config->vm->fd, KVM_GET_CLOCK, &data) < 0 || !(data.flags & KVM_CLOCK_HOST_TSC))
		return false;
	*ret_ns = (int64_t)(data.clock - ns) - ns_of(config, (i128)data.host_tsc - tsc);
	return true;
}

/* KVM looks at the host's clock some time after we have, which is found by looking back: the least
 * that it took so far is taken off, until a call is that fast again (a mean would be one
 * interrupt's for long).  What is as fast grows by each try: where calls take now 1 us and now 2
 * that ends at some 100 ns, on other hosts at 10. */
int pause_set_kvm_clock(const struct pause_config *config, uint64_t ns, uint64_t tsc)
{
	enum { TRIES = 200, CLOSE_NS = 8, CLOSER_NS = 2 };
	int64_t ahead_ns = 0, fastest_ns = INT64_MAX, by_ns;

	for (int i = 1; i <= TRIES; i++) {
		const int64_t close_ns = CLOSE_NS + i * CLOSER_NS;
		struct kvm_clock_data data = {
			.clock = ns + (uint64_t)ns_of(config, (i128)hostclock_tsc() - tsc) -
				 (uint64_t)ahead_ns};

		if (ioctl(config->vm->fd, KVM_SET_CLOCK, &data) < 0)
			return -errno;
		if (!is_ahead(config, ns, tsc, &by_ns) || (by_ns <= close_ns && by_ns >= -close_ns))
			break;
		fastest_ns = -by_ns - ahead_ns < fastest_ns ? -by_ns - ahead_ns : fastest_ns;
		ahead_ns = -fastest_ns;
	}
	return 0;
}

static int cannot_stand(struct pause *p, int result, struct why *why)
{
	gate_open(p->config.gate);
	return why_set(why, -EIO, "the machine cannot stand still: %s", strerror(-result));
}

/* Virtual time stands since p->from, and no vCPU is in the guest. */
static void keep_rest(struct pause *p)
{
	const struct pause_config *config = &p->config;

	p->tsc_count = vmt_tsc_line(config->tsc, p->from.tsc);
	if (config->kernel_clock)
		p->kvm_clock_ns = pause_kvm_clock(config, p->from.tsc);
	steal_stop(config->steal);
	p->paused = true;
}

int pause_begin(struct pause *p, const struct pause_config *config, struct why *why)
{
	struct chipset *c = config->chipset;
	int result;

	p->config = *config;
	pvclock_shut(config->pvclock);
	(void)chipset_hold(c);
	chipset_switching(c); /* a thread that serves an exit may read a counter */
	result = look(p, &p->from);
	if (result == 0)
		result = chipset_pause(c, p->from.at.counter);
	chipset_switching(c);
	chipset_release(c);
	for (uint32_t cpu = 0; cpu < config->cpus && result == 0; cpu++)
		(void)lapic_stop(&config->vcpus[cpu], p->from.tsc, config->tsc->host.khz,
				 &p->timers[cpu]);
	if (result < 0)
		return cannot_stand(p, result, why);
	keep_rest(p);
	return 0;
}

int pause_begin_at(struct pause *p, const struct pause_config *config,
		   const struct pause_instant *from, const struct vmt_clock *then, struct why *why)
{
	struct chipset *c = config->chipset;
	int result;

	p->config = *config;
	p->from = *from;
	pvclock_shut(config->pvclock);
	pthread_mutex_lock(&c->lock); /* not chipset_hold(): time would go on to now */
	result = chipset_pause_at(c, then);
	pthread_mutex_unlock(&c->lock);
	for (uint32_t cpu = 0; cpu < config->cpus && result == 0; cpu++) {
		(void)lapic_stop(&config->vcpus[cpu], config->vcpus[cpu].left_tsc,
				 config->tsc->host.khz, &p->timers[cpu]);
		/* KVM's has begun when it was given, and not at `from`. */
		p->timers[cpu].taken_back = p->timers[cpu].counts;
	}
	if (result < 0)
		return cannot_stand(p, result, why);
	keep_rest(p);
	return 0;
}

/* Whether the guest may tell the time by that counter, which it read so long ago: who does reads it
 * more often than it comes round, or has lost the time already. */
static bool is_read(uint32_t clock, const struct vmt_gap_guest *guest, uint64_t since_ns)
{
	const struct vmt_gap_guest just_read = {.clocks = clock, .pmtmr_bits = guest->pmtmr_bits};

	return since_ns < READS_NS && since_ns < vmt_gap_limit_ns(&just_read, NULL);
}

/* What the guest may be telling the time by, as far as it can be seen from here. */
static struct vmt_gap_guest guest_of(struct chipset *c, vmt_ns now)
{
	const struct vmt_board *b = &c->board;
	vmt_ns hpet = __atomic_load_n(&c->hpet_read, __ATOMIC_RELAXED);
	vmt_ns pm_timer = __atomic_load_n(&c->pm_timer_read, __ATOMIC_RELAXED);
	struct vmt_gap_guest g = {
		.clocks = VMT_GAP_TSC,
		.pmtmr_bits = b->config.pmtmr_bits,
		/* One that needed the lock after all has noted a time after `now`. */
		.hpet_since_ns = now > hpet ? now - hpet : 0,
		.pmtmr_since_ns = now > pm_timer ? now - pm_timer : 0,
		.ticks = b->config.ticks,
	};

	if (hpet && is_read(VMT_GAP_HPET, &g, g.hpet_since_ns))
		g.clocks |= VMT_GAP_HPET;
	if (pm_timer && is_read(VMT_GAP_PMTMR, &g, g.pmtmr_since_ns))
		g.clocks |= VMT_GAP_PMTMR;
	for (uint32_t source = 0; source < VMT_SOURCES; source++)
		if (source != VMT_SOURCE_RTC && b->ticks[source].period_ns > g.tick_ns)
			g.tick_ns = b->ticks[source].period_ns;
	return g;
}

/* What its guest reads the machine has not seen yet, for it has just come: it knows a limit. */
static bool is_new(const struct pause_config *config, vmt_ns now)
{
	const struct chipset *c = config->chipset;
	const vmt_ns hpet = __atomic_load_n(&c->hpet_read, __ATOMIC_RELAXED);
	const vmt_ns pm_timer = __atomic_load_n(&c->pm_timer_read, __ATOMIC_RELAXED);

	return hpet <= config->came_ns && pm_timer <= config->came_ns && now >= config->came_ns &&
	       now - config->came_ns < READS_NS && now - config->came_ns < config->came_limit_ns;
}

uint64_t pause_limit(const struct pause_config *config, vmt_ns now, uint32_t *ret_clock)
{
	struct vmt_gap_guest g;
	bool registered;
	uint64_t limit_ns;

	/* Not chipset_hold(): that brings the board to a time which may not be right yet. */
	pthread_mutex_lock(&config->chipset->lock);
	g = guest_of(config->chipset, now);
	pthread_mutex_unlock(&config->chipset->lock);
	pthread_mutex_lock(&config->pvclock->lock); /* a vCPU may be at its register */
	registered = config->pvclock->registered;
	pthread_mutex_unlock(&config->pvclock->lock);
	if (registered || config->kernel_clock)
		g.clocks |= VMT_GAP_KVMCLOCK;
	else if (g.clocks == VMT_GAP_TSC && g.tick_ns)
		g.clocks |= VMT_GAP_TICKS;
	limit_ns = vmt_gap_limit_ns(&g, ret_clock);
	if (!is_new(config, now) || limit_ns <= config->came_limit_ns - (now - config->came_ns))
		return limit_ns;
	if (ret_clock)
		*ret_clock = 0;
	return config->came_limit_ns - (now - config->came_ns);
}

/* The paused clock goes on, from `to`.  0 or negative errno. */
static int resume(const struct pause *p, const struct pause_instant *to, uint32_t policy,
		  uint64_t limit_ns, struct counted_clock *now, struct vmt_change *ret_record)
{
	struct vmt_reading at = to->at;
	struct vmt_clock paused = now->clock;
	int64_t ppt;
	int result;

	if (pvclock_gap(p->config.pvclock, &p->from.host, &to->host, &ppt))
		(void)vmt_clock_discipline(&paused, at.counter, ppt, &paused, NULL);
	result = vmt_clock_resume(&paused, &at, policy, limit_ns, &now->clock, ret_record);
	if (result < 0 || !p->config.own_utc)
		return result;
	at.utc_ns = vmt_clock_utc(&paused, paused.base_ns) + (int64_t)ret_record->gap_ns;
	at.utc_bound_ns = 0;
	return vmt_clock_resume(&paused, &at, policy, limit_ns, &now->clock, ret_record);
}

static int take_back(struct pause *p, const struct pause_instant *to, struct why *why)
{
	int result = pvclock_freeze(p->config.pvclock, to->tsc, p->tsc_count);

	for (uint32_t cpu = 0; cpu < p->config.cpus && result == 0; cpu++)
		result = lapic_go(&p->config.vcpus[cpu], &p->timers[cpu]);
	if (result < 0)
		return why_set(why, result,
			       "KVM does not take time back from a CPU (run with "
			       "--on-pause continue)");
	vm_pit_begin_anew(p->config.vm);
	if (p->config.kernel_clock)
		(void)pause_set_kvm_clock(&p->config, p->kvm_clock_ns, to->tsc);
	return 0;
}

static bool agree(i128 counted_ns, uint64_t ns)
{
	i128 apart = counted_ns > ns ? counted_ns - ns : ns - counted_ns;

	return apart <= ns / 1000 + APART_NS;
}

static uint64_t suspended_ns(const struct pause *p, const struct pause_instant *to)
{
	const int64_t ns = to->beside.suspended_ns - p->from.beside.suspended_ns;

	return ns > NS_PER_MS ? (uint64_t)ns : 0;
}

/* The end as if the host's counters had counted on where they did not: one that was suspended, by
 * CLOCK_BOOTTIME; a TSC that began anew without, by CLOCK_MONOTONIC. */
static bool count_on(const struct pause *p, const struct pause_instant *to, bool counts_tsc,
		     struct pause_instant *ret_counted)
{
	const uint64_t slept_ns = suspended_ns(p, to);
	const uint64_t passed_ns = to->host.host_ns - p->from.host.host_ns + slept_ns;
	const i128 counts = (i128)to->host.counter - p->from.host.counter;
	const i128 error = counts - (i128)passed_ns * p->config.tsc->host.khz / NS_PER_MS;
	const i128 error_ns = ns_of(&p->config, error);

	*ret_counted = *to;
	ret_counted->host.host_ns += slept_ns;
	if (agree(ns_of(&p->config, counts), passed_ns) &&
	    (!slept_ns || (counts_tsc && error_ns < SLEPT_NS && error_ns > -SLEPT_NS)))
		return false;
	ret_counted->tsc -= (uint64_t)error;
	ret_counted->host.counter -= (uint64_t)error;
	ret_counted->at.counter += counts_tsc ? -(uint64_t)error : slept_ns;
	return true;
}

/* Virtual time has gone on to `counted`, and from here on counts what the TSC shows now. */
static int count_anew(const struct pause_instant *counted, const struct pause_instant *to,
		      struct counted_clock *now)
{
	return vmt_clock_counter(&now->clock, counted->at.counter, to->at.counter,
				 now->clock.counter_hz, &now->clock, NULL);
}

/* The guest's TSC goes on as well, and what waits for its counts; by differences, as its line may
 * have been moved by a try. */
static int move_tsc(const struct pause *p, const struct pause_instant *counted,
		    const struct pause_instant *to, struct why *why)
{
	const struct vmt_tsc *tsc = p->config.tsc;
	uint64_t passed = vmt_tsc_line(tsc, counted->tsc) - vmt_tsc_line(tsc, p->from.tsc);
	int result = pvclock_freeze(p->config.pvclock, to->tsc, p->tsc_count + passed);

	return result < 0 ? why_set(why, result, "KVM does not move a CPU's TSC") : 0;
}

/* KVM's timers have gone on, but for those that were taken back to be saved, and all while the host
 * was suspended. */
static int catch_up(struct pause *p, bool slept, uint64_t gap_ns, struct why *why)
{
	int result = 0;

	for (uint32_t cpu = 0; cpu < p->config.cpus && result == 0; cpu++) {
		p->timers[cpu].taken_back |= slept && p->timers[cpu].counts;
		result = lapic_go_on(&p->config.vcpus[cpu], &p->timers[cpu], gap_ns);
	}
	return result < 0 ? why_set(why, result, "KVM does not take a CPU's timer") : 0;
}

static struct chipset_change change_of(const struct vmt_change *record,
				       const struct vmt_clock *before,
				       const struct vmt_clock *after)
{
	return (struct chipset_change){
		.kind = VMT_CHANGE_RESUME,
		.at_ns = record->after_ns,
		.before_ns = (int64_t)record->before_ns,
		.after_ns = (int64_t)record->after_ns,
		.bound_ns = record->bound_ns,
		.policy = record->policy,
		.gap_ns = record->gap_ns,
		.utc_before_ns = before->utc_offset_ns,
		.utc_after_ns = after->utc_offset_ns,
	};
}

int pause_end(struct pause *p, uint32_t policy, struct chipset_change *ret_change,
	      uint64_t *ret_limit_ns, uint32_t *ret_clock, struct why *why)
{
	struct chipset *c = p->config.chipset;
	struct counted_clock now = liveclock_get(&c->clock);
	const struct vmt_clock before = now.clock;
	struct pause_instant to, counted;
	struct vmt_change record;
	bool froze, slept, anew = false;
	int result = look(p, &to);

	*ret_limit_ns = pause_limit(&p->config, before.base_ns, ret_clock);
	slept = result == 0 && suspended_ns(p, &to);
	if (!p->config.movable)
		policy = VMT_POLICY_CONTINUE;
	if (result == 0) {
		anew = count_on(p, &to, now.tsc, &counted);
		result = resume(p, &counted, policy, *ret_limit_ns, &now, &record);
	}
	if (result == 0 && anew)
		result = count_anew(&counted, &to, &now);
	if (result < 0)
		return why_set(why, -EIO, "the machine cannot go on: %s", strerror(-result));
	froze = record.policy == VMT_POLICY_FREEZE;
	if (froze)
		result = take_back(p, &to, why);
	else if ((anew || slept) && p->config.movable)
		result = move_tsc(p, &counted, &to, why);
	if (result == 0 && !froze)
		result = catch_up(p, slept, record.gap_ns, why);
	if (result < 0)
		return result;
	*ret_change = change_of(&record, &before, &now.clock);
	chipset_resume(c, &now, ret_change);
	pvclock_go(p->config.pvclock, p->tsc_count, before.base_ns, froze || anew || slept);
	if (p->config.kernel_clock)
		for (uint32_t cpu = 0; cpu < p->config.cpus; cpu++)
			(void)ioctl(p->config.vcpus[cpu].fd, KVM_KVMCLOCK_CTRL, 0);
	steal_go(p->config.steal);
	p->paused = false;
	gate_open(p->config.gate);
	return 0;
}

void pause_abandon(struct pause *p)
{
	if (p->paused)
		gate_open(p->config.gate);
	p->paused = false;
}
