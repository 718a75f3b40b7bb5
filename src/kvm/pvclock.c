/* SPDX-License-Identifier: Apache-2.0 */
/* pvclock.c - a VM's kvm-clock: registers, pages, and the loop that keeps its seconds. */
#include <errno.h>
#include <string.h>

#include "host/hostclock.h"
#include "kvm/pvclock.h"
#include "kvm/tsc.h"

enum { PAIR_TRIES = 10 };

#define NS_PER_S UINT64_C(1000000000)
#define QUIET_NS (NS_PER_S * 3 / 20)
/* The pages may be this late beside the clock. */
#define LAG_NS 20
/* So much of what they are ahead is made up for in a second: 500 ppm. */
#define AHEAD_NS INT64_C(500000)
#define PPT INT64_C(1000000000000)
enum { ANY_CPU = VMT_KVMCLOCK_CPUS };

__extension__ typedef __int128 i128;
__extension__ typedef unsigned __int128 u128;

/* Both clocks of the host at one count; the counter of the virtual clock is one of them. */
static int look(const struct pvclock *p, struct vmt_discipline_sample *ret_sample)
{
	const struct counted_clock now = liveclock_get(&p->config.chipset->clock);
	struct hostclock_pair pair;
	int result = hostclock_pair(PAIR_TRIES, &pair);
	uint64_t half = (pair.monotonic_tsc_hi - pair.monotonic_tsc_lo) / 2 + 1;
	int64_t ppt;

	if (result < 0)
		return result;
	*ret_sample = (struct vmt_discipline_sample){
		.counter = pair.monotonic_tsc_lo + half,
		.host_ns = pair.monotonic_ns,
		.bound_ns = half * NS_PER_S / now.clock.counter_hz + 1,
		.said_ppt = hostclock_steady(&ppt) < 0 ? VMT_DISCIPLINE_UNKNOWN : ppt,
	};
	return 0;
}

static bool steers(const struct pvclock *p)
{
	return p->config.disciplined && liveclock_get(&p->config.chipset->clock).tsc;
}

/* What adjtimex says, if the clock can take it: the loop finds the rest. */
static int64_t steady_ppt(void)
{
	int64_t ppt;

	return hostclock_steady(&ppt) < 0 || ppt < -VMT_CLOCK_PPT || ppt > VMT_CLOCK_PPT ? 0 : ppt;
}

static void notice(const struct pvclock *p, const char *text)
{
	if (p->config.notice)
		p->config.notice(p->config.owner, text);
}

int pvclock_init(struct pvclock *p, const struct pvclock_config *config, struct why *why)
{
	struct vmt_discipline_sample at;
	struct chipset_mark mark;
	int64_t ppt = steady_ppt();

	*p = (struct pvclock){.config = *config, .loop.steady_ppt = ppt};
	if (vmt_kvmclock_init(&p->face, config->cpus) < 0)
		return why_set(why, -EINVAL, "kvm-clock has at most %d CPUs", VMT_KVMCLOCK_CPUS);
	pthread_mutex_init(&p->lock, NULL);
	if (steers(p)) {
		chipset_mark(p->config.chipset, &ppt,
			     &mark); /* before the look: it is its anchor */
		p->looped = look(p, &at) == 0 &&
			    vmt_discipline_start(&p->loop, &mark.now.clock, &at, ppt) == 0;
		if (!p->looped)
			notice(p, "the guest's clock is not kept to this host's as long as its TSC "
				  "and its clock cannot be read together");
	}
	return 0;
}

void pvclock_destroy(struct pvclock *p)
{
	pthread_mutex_destroy(&p->lock);
}

void pvclock_reset(struct pvclock *p)
{
	vmt_kvmclock_reset(&p->face);
	vmt_tsc_reset(p->config.tsc);
	p->registered = false;
	memset(p->pages, PVCLOCK_PAGE_NEW, sizeof(p->pages));
}

/* ns of a count of the guest's TSC, as mult / 2^shift. */
static void factor(const struct pvclock *p, const struct counted_clock *now, uint64_t *ret_mult,
		   uint32_t *ret_shift)
{
	enum { SHIFT = 32, KHZ_OF_NS = 1000000 };

	*ret_mult = ((uint64_t)KHZ_OF_NS << SHIFT) / p->config.tsc->khz;
	*ret_mult += (uint64_t)((i128)*ret_mult * p->slope_ppt / PPT);
	*ret_shift = SHIFT;
	if (now->tsc)
		(void)vmt_tsc_factor(p->config.tsc, now->clock.mult, now->clock.shift, ret_mult,
				     ret_shift);
}

/* Behind the gate: where the line starts anew, virtual time at a count of the host's TSC. */
static void take_anchor(struct pvclock *p, const int64_t *ppt, struct chipset_mark *ret_mark,
			uint64_t *ret_tsc)
{
	struct vmt_discipline_sample at;

	chipset_mark(p->config.chipset, ppt, ret_mark);
	*ret_tsc = ret_mark->counter;
	if (ret_mark->now.tsc)
		return;
	if (look(p, &at) == 0) {
		ret_mark->counter = at.host_ns;
		*ret_tsc = at.counter;
	} else {
		*ret_tsc = hostclock_tsc();
	}
}

/* A line that is not made from the clock's own factor may have run ahead of it. */
static void anchor(struct pvclock *p, const struct chipset_mark *mark, uint64_t tsc, uint64_t mult,
		   uint32_t shift)
{
	const vmt_ns now = vmt_clock_now(&mark->now.clock, mark->counter);
	int64_t ahead_ns = vmt_kvmclock_anchor(&p->face, tsc, now, mult, shift);

	if (mark->now.tsc || ahead_ns <= 0)
		return;
	ahead_ns = ahead_ns < AHEAD_NS ? ahead_ns : AHEAD_NS;
	mult -= (uint64_t)((i128)mult * ahead_ns / (int64_t)NS_PER_S);
	(void)vmt_kvmclock_anchor(&p->face, tsc, now, mult, shift);
}

/* A CPU's entry from the line as it is, under the lock. */
static void write_page(struct pvclock *p, uint32_t cpu)
{
	void *entry = memory_at(p->config.memory, vmt_kvmclock_place(&p->face, cpu),
				VMT_KVMCLOCK_BYTES); /* NOWHERE is no memory, either */

	if (!entry || p->pages[cpu] == PVCLOCK_PAGE_TAKEN)
		return;
	if (p->pages[cpu] == PVCLOCK_PAGE_WRITTEN &&
	    memcmp(entry, p->written[cpu], PVCLOCK_COMPARED) != 0) {
		p->pages[cpu] = PVCLOCK_PAGE_TAKEN;
		p->taken = true;
		return;
	}
	vmt_kvmclock_publish(&p->face, cpu, p->config.tsc->adjust[cpu], entry);
	memory_written(p->config.memory, vmt_kvmclock_place(&p->face, cpu), VMT_KVMCLOCK_BYTES);
	memcpy(p->written[cpu], entry, VMT_KVMCLOCK_BYTES);
	p->pages[cpu] = PVCLOCK_PAGE_WRITTEN;
}

static bool one_line(const struct pvclock *p)
{
	return p->config.stable && vmt_tsc_agree(p->config.tsc);
}

static void promise_nothing(struct pvclock *p)
{
	pthread_mutex_lock(&p->lock);
	p->config.stable = false;
	pthread_mutex_unlock(&p->lock);
}

/* While nobody reads: all entries are written. */
static void write_pages(struct pvclock *p, const int64_t *ppt)
{
	struct chipset_mark mark;
	uint64_t tsc, mult;
	uint32_t shift;

	take_anchor(p, ppt, &mark, &tsc);
	factor(p, &mark.now, &mult, &shift);
	pthread_mutex_lock(&p->lock);
	vmt_kvmclock_stable(&p->face, one_line(p));
	anchor(p, &mark, vmt_tsc_line(p->config.tsc, tsc), mult, shift);
	p->lined = true;
	for (uint32_t cpu = 0; cpu < p->config.cpus; cpu++)
		write_page(p, cpu);
	pthread_mutex_unlock(&p->lock);
}

void pvclock_shut(struct pvclock *p)
{
	gate_shut(p->config.gate);
	for (uint32_t cpu = 0; cpu < p->config.cpus; cpu++)
		vcpu_kick(&p->config.vcpus[cpu]);
	for (uint32_t cpu = 0; cpu < p->config.cpus; cpu++)
		gate_wait(p->config.gate, &p->config.vcpus[cpu].inside);
}

static void publish(struct pvclock *p, const int64_t *ppt)
{
	pvclock_shut(p);
	write_pages(p, ppt);
	gate_open(p->config.gate);
}

static void publish_wall(struct pvclock *p)
{
	const struct vmt_clock clock = liveclock_get(&p->config.chipset->clock).clock;
	void *entry;

	pthread_mutex_lock(&p->lock); /* two CPUs that ask at once write one after the other */
	entry = memory_at(p->config.memory, vmt_kvmclock_wall_place(&p->face),
			  VMT_KVMCLOCK_WALL_BYTES);
	if (entry) {
		vmt_kvmclock_publish_wall(clock.utc_offset_ns, entry);
		memory_written(p->config.memory, vmt_kvmclock_wall_place(&p->face),
			       VMT_KVMCLOCK_WALL_BYTES);
	}
	pthread_mutex_unlock(&p->lock);
}

bool pvclock_rdmsr(struct pvclock *p, uint32_t cpu, uint32_t msr, uint64_t *ret_value)
{
	int result;

	pthread_mutex_lock(&p->lock);
	result = vmt_kvmclock_read(&p->face, cpu, msr, ret_value);
	pthread_mutex_unlock(&p->lock);
	return result == 0 && p->config.shown;
}

/* Behind the gate, as vmt_tsc_write().  Where KVM cannot do it, nothing becomes of it (-EIO): all
 * CPUs keep the host's counts. */
static int write_tsc(struct pvclock *p, uint32_t cpu, uint32_t msr, uint64_t value)
{
	const struct vcpu *v = &p->config.vcpus[cpu];
	struct vmt_tsc *tsc = p->config.tsc;
	uint64_t old_offset = vmt_tsc_offset(tsc, cpu), old_adjust = tsc->adjust[cpu];
	int changed;

	pthread_mutex_lock(&p->lock);
	changed = vmt_tsc_write(tsc, hostclock_tsc(), cpu, msr, value);
	pthread_mutex_unlock(&p->lock);
	if (changed <= 0 || tsc_move(v, vmt_tsc_offset(tsc, cpu), tsc->adjust[cpu]))
		return changed;
	(void)tsc_move(v, old_offset, old_adjust);
	pthread_mutex_lock(&p->lock);
	tsc->adjust[cpu] = old_adjust;
	pthread_mutex_unlock(&p->lock);
	return -EIO;
}

/* On `cpu` the guest has written one of its TSC's registers.  Its thread waits while the machine
 * stands still: what the count is to be is the guest's word for when it goes on, and what KVM is
 * told must not be from before a freeze. */
static bool move_tsc(struct pvclock *p, uint32_t cpu, uint32_t msr, uint64_t value)
{
	int changed;

	if (!p->config.movable)
		return true;
	pvclock_shut(p);
	changed = write_tsc(p, cpu, msr, value);
	if (changed > 0)
		write_pages(p, NULL);
	gate_open(p->config.gate);
	return changed >= 0;
}

static bool has_page(const struct pvclock *p)
{
	for (uint32_t cpu = 0; cpu < p->config.cpus; cpu++)
		if (vmt_kvmclock_place(&p->face, cpu) != VMT_KVMCLOCK_NOWHERE)
			return true;
	return false;
}

/* The register of `cpu` has just been written, by its own thread, which holds the lock.  True: its
 * page was written, too, or there is none; else all are to be.  The page of the CPU that booted the
 * guest's kernel, and one that was there `before`, may be read by the vDSO of the others. */
static bool register_alone(struct pvclock *p, uint32_t cpu, uint64_t before)
{
	const uint64_t place = vmt_kvmclock_place(&p->face, cpu);

	p->pages[cpu] = PVCLOCK_PAGE_NEW;
	if (place == VMT_KVMCLOCK_NOWHERE)
		return true;
	if (!p->lined || cpu == p->vdso || p->vdso == ANY_CPU || place == before ||
	    p->face.stable != one_line(p))
		return false;
	write_page(p, cpu);
	return true;
}

bool pvclock_wrmsr(struct pvclock *p, uint32_t cpu, uint32_t msr, uint64_t value)
{
	static const int64_t announced = 0;
	bool first = false, done = true;
	struct vmt_out out;
	uint64_t before;
	int result;

	if (!p->config.shown)
		return false;
	if (msr == VMT_MSR_TSC || msr == VMT_MSR_TSC_ADJUST)
		return move_tsc(p, cpu, msr, value);
	pthread_mutex_lock(&p->lock);
	before = vmt_kvmclock_place(&p->face, cpu);
	result =
		vmt_kvmclock_write(&p->face, chipset_now(p->config.chipset), cpu, msr, value, &out);
	if (result == 0 && out.dirty & VMT_KVMCLOCK_DIRTY_CPU) {
		first = !p->registered && has_page(p);
		p->lined &= !first;
		p->registered = has_page(p); /* a kernel that goes gives its pages back */
		if (first)
			p->vdso = cpu;
		done = register_alone(p, cpu, before);
	}
	if (first)
		p->quiet_ns = hostclock_monotonic_ns() + QUIET_NS;
	pthread_mutex_unlock(&p->lock);
	if (result < 0)
		return false;
	if (out.dirty & VMT_KVMCLOCK_DIRTY_WALL)
		publish_wall(p);
	if (!done)
		publish(p, first && steers(p) ? &announced : NULL);
	return true;
}

/* By how much the pages are behind the clock.  *ret_quiet: leave them alone. */
static uint64_t lag(struct pvclock *p, uint64_t host_ns, bool *ret_quiet)
{
	struct chipset_mark mark;
	vmt_ns shown, now;
	bool comparable;

	chipset_mark(p->config.chipset, NULL, &mark);
	pthread_mutex_lock(&p->lock);
	comparable = p->registered && mark.now.tsc;
	*ret_quiet = p->registered && host_ns < p->quiet_ns;
	shown = vmt_kvmclock_at(&p->face, vmt_tsc_line(p->config.tsc, mark.counter));
	pthread_mutex_unlock(&p->lock);
	now = vmt_clock_now(&mark.now.clock, mark.counter);
	return comparable && now > shown ? now - shown : 0;
}

/* The host's TSC went back: for virtual time and for the guest it has counted on as its clock. */
static bool count_on(struct pvclock *p, const struct vmt_discipline_sample *at)
{
	const struct vmt_discipline_sample *last = &p->loop.last;
	struct counted_clock now = liveclock_get(&p->config.chipset->clock);
	uint64_t passed_ns = at->host_ns > last->host_ns ? at->host_ns - last->host_ns : 0;
	uint64_t old =
		last->counter + (uint64_t)((u128)passed_ns * now.clock.counter_hz / NS_PER_S);
	bool done, moved = true;

	pvclock_shut(p);
	done = chipset_recount(p->config.chipset, old, at->counter);
	if (done && p->config.movable)
		moved = pvclock_freeze(p, at->counter, vmt_tsc_line(p->config.tsc, old)) == 0;
	if (!moved)
		promise_nothing(p);
	if (done)
		write_pages(p, NULL);
	gate_open(p->config.gate);
	if (!moved)
		notice(p, "the host's TSC went back, and KVM did not take the guest's along: its "
			  "CPUs' TSCs may disagree, and kvm-clock be wrong on some");
	return done;
}

/* Counter and clock have parted: the loop starts where virtual time is now, and tells. */
static bool meet_anew(struct pvclock *p, const struct vmt_discipline_sample *at,
		      struct chipset_change *ret_change)
{
	const int64_t steady = p->loop.steady_ppt;
	struct counted_clock now = liveclock_get(&p->config.chipset->clock);
	const vmt_ns wanted = vmt_discipline_wanted(&p->loop, &now.clock, at->host_ns);
	struct chipset_change change = {.kind = VMT_CHANGE_DISCIPLINE, .bound_ns = at->bound_ns};

	if (at->counter < p->loop.last.counter && !count_on(p, at))
		return false; /* again at the next tick */
	now = liveclock_get(&p->config.chipset->clock);
	p->looped = vmt_discipline_start(&p->loop, &now.clock, at, steady) == 0;
	change.at_ns = vmt_clock_now(&now.clock, at->counter);
	change.before_ns = (int64_t)wanted;
	change.after_ns = (int64_t)change.at_ns;
	chipset_tell(p->config.chipset, &change);
	*ret_change = change;
	return true;
}

bool pvclock_leave_tsc(struct pvclock *p, struct chipset_change *ret_change)
{
	bool left;

	pvclock_shut(p);
	left = chipset_leave_tsc(p->config.chipset, ret_change);
	if (left) {
		p->slope_ppt = p->looped ? p->loop.steady_ppt : 0;
		p->looped = false;
		promise_nothing(p);
		write_pages(p, NULL);
	}
	gate_open(p->config.gate);
	return left;
}

/* Once a second: the host may have found that its TSC is not to be relied on (its watchdog, or
 * somebody who wrote current_clocksource). */
static bool loses_tsc(struct pvclock *p, uint64_t host_ns)
{
	if (!liveclock_get(&p->config.chipset->clock).tsc || host_ns - p->checked_ns < NS_PER_S)
		return false;
	p->checked_ns = host_ns;
	return !hostclock_tsc_is_stable();
}

static bool give_up_tsc(struct pvclock *p, struct chipset_change *ret_change)
{
	if (pvclock_leave_tsc(p, ret_change))
		return true;
	if (!p->told_stuck)
		notice(p, "the host no longer relies on its TSC, and virtual time still counts it: "
			  "it cannot be read together with CLOCK_MONOTONIC");
	p->told_stuck = true;
	return false;
}

/* A vCPU's thread may have found it. */
static void tell_of_taken_page(struct pvclock *p)
{
	bool taken;

	pthread_mutex_lock(&p->lock);
	taken = p->taken;
	pthread_mutex_unlock(&p->lock);
	if (taken && !p->told_taken)
		notice(p,
		       "the guest has written into its kvm-clock page: it is left alone until it "
		       "is registered again");
	p->told_taken |= taken;
}

/* A rate for a guest without pages: nobody has to be kept from anything. */
static bool steer_alone(struct pvclock *p, const int64_t *ppt)
{
	struct chipset_mark mark;
	bool alone;

	pthread_mutex_lock(&p->lock); /* a first registration comes before or after */
	alone = !p->registered;
	if (alone)
		chipset_mark(p->config.chipset, ppt, &mark);
	pthread_mutex_unlock(&p->lock);
	return alone;
}

/* A guest that has registered its first page since the tick began has been shown the announced
 * frequency: that stays for a while. */
static void steer(struct pvclock *p, const int64_t *ppt, uint64_t host_ns)
{
	bool quiet;

	if (steer_alone(p, ppt))
		return;
	pvclock_shut(p);
	pthread_mutex_lock(&p->lock);
	quiet = host_ns < p->quiet_ns;
	pthread_mutex_unlock(&p->lock);
	write_pages(p, quiet ? NULL : ppt);
	gate_open(p->config.gate);
	p->written_ns = host_ns;
}

/* A start may have failed because the clock was anchored since the look. */
static int take(struct pvclock *p, const struct vmt_discipline_sample *at, int64_t *ret_ppt)
{
	const struct vmt_clock clock = liveclock_get(&p->config.chipset->clock).clock;

	if (p->looped)
		return vmt_discipline_take(&p->loop, &clock, at, ret_ppt);
	p->looped =
		steers(p) && vmt_discipline_start(&p->loop, &clock, at, p->loop.steady_ppt) == 0;
	return 0;
}

bool pvclock_tick(struct pvclock *p, struct chipset_change *ret_change)
{
	struct vmt_discipline_sample at;
	uint64_t behind;
	int64_t ppt = 0;
	int steered;
	bool quiet;

	tell_of_taken_page(p);
	if (look(p, &at) < 0)
		return false;
	if (loses_tsc(p, at.host_ns) && give_up_tsc(p, ret_change))
		return true;
	behind = lag(p, at.host_ns, &quiet);
	if (quiet) {
		p->loop.changed_host_ns = 0; /* the next change may come as soon as it is over */
		return false;
	}
	steered = take(p, &at, &ppt);
	if (steered == -ERANGE)
		return meet_anew(p, &at, ret_change);
	if (steered != 1 && (!p->config.shown || at.host_ns < p->written_ns + NS_PER_S ||
			     (behind <= LAG_NS && p->config.stable)))
		return false;
	steer(p, steered == 1 ? &ppt : NULL, at.host_ns);
	return false;
}

bool pvclock_gap(const struct pvclock *p, const struct vmt_discipline_sample *from,
		 const struct vmt_discipline_sample *to, int64_t *ret_ppt)
{
	const struct counted_clock now = liveclock_get(&p->config.chipset->clock);

	if (!p->looped || !now.tsc)
		return false;
	*ret_ppt = vmt_discipline_gap(&p->loop, now.clock.counter_hz, from, to);
	return true;
}

int pvclock_freeze(struct pvclock *p, uint64_t host_tsc, uint64_t count)
{
	struct vmt_tsc *tsc = p->config.tsc;
	bool moved = true;

	pthread_mutex_lock(&p->lock);
	vmt_tsc_set(tsc, host_tsc, count);
	pthread_mutex_unlock(&p->lock);
	/* In a row: KVM's own clock needs the same offset on all.  Nobody else writes behind the
	 * gate. */
	for (uint32_t cpu = 0; cpu < p->config.cpus; cpu++)
		moved = tsc_move(&p->config.vcpus[cpu], vmt_tsc_offset(tsc, cpu),
				 tsc->adjust[cpu]) &&
			moved;
	return moved ? 0 : -EIO;
}

/* From where it stopped it is all but flat, so that none of its own rates runs ahead of the gap. */
void pvclock_drop(struct pvclock *p, uint64_t count, vmt_ns stopped)
{
	enum { FLAT_SHIFT = 31 };

	pthread_mutex_lock(&p->lock);
	(void)vmt_kvmclock_anchor(&p->face, count, stopped, 1, FLAT_SHIFT);
	vmt_kvmclock_stopped(&p->face);
	pthread_mutex_unlock(&p->lock);
}

void pvclock_go(struct pvclock *p, uint64_t count, vmt_ns stopped, bool froze)
{
	struct vmt_discipline_sample at;
	struct vmt_clock clock;

	pvclock_drop(p, count, stopped);
	if (froze && p->looped && look(p, &at) == 0) {
		clock = liveclock_get(&p->config.chipset->clock).clock;
		p->looped = vmt_discipline_start(&p->loop, &clock, &at, p->loop.steady_ppt) == 0;
	}
	write_pages(p, NULL);
}

void pvclock_owe(struct pvclock *p, int64_t late_ns)
{
	const int64_t most = INT64_C(3600) * NS_PER_S; /* it would take a year */

	if (late_ns <= most && late_ns >= -most && late_ns + (int64_t)p->loop.start_ns >= 0)
		p->loop.start_ns += (uint64_t)late_ns;
}

int pvclock_load(struct pvclock *p, const void *bytes, size_t size)
{
	int result = vmt_kvmclock_load(&p->face, bytes, size);

	p->registered = has_page(p);
	p->vdso = ANY_CPU;
	return result;
}

bool pvclock_phase(const struct pvclock *p, int64_t *ret_ns, uint64_t *ret_bound_ns)
{
	*ret_ns = p->loop.phase_ns;
	*ret_bound_ns = p->loop.phase_bound_ns;
	return p->looped;
}
