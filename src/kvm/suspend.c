/* SPDX-License-Identifier: Apache-2.0 */
/* suspend.c - the host was suspended while a machine ran, or its wall clock was stepped. */
#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "kvm/suspend.h"

enum { PAIR_TRIES = 10, NS_PER_KHZ = 1000000 };

/* Going to sleep and waking takes longer than this. */
#define LEAST_NS 1000000
/* A step that is less is left to the next one. */
#define LEAST_STEP_NS 10000
#define PPT INT64_C(1000000000000)

__extension__ typedef __int128 i128;

int suspend_init(struct suspend *s)
{
	*s = (struct suspend){.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
	if (s->fd < 0)
		return -errno;
	pthread_mutex_init(&s->lock, NULL);
	pthread_cond_init(&s->over, NULL);
	suspend_leave(s);
	suspend_take_utc(s);
	return 0;
}

void suspend_destroy(struct suspend *s)
{
	pthread_cond_destroy(&s->over);
	pthread_mutex_destroy(&s->lock);
	close(s->fd);
}

bool suspend_noticed(const struct suspend *s)
{
	return hostclock_suspended_at_least_ns() >
	       __atomic_load_n(&s->known_ns, __ATOMIC_SEQ_CST) + LEAST_NS;
}

void suspend_wait(struct suspend *s)
{
	const uint64_t one = 1;

	if (!suspend_noticed(s))
		return;
	(void)!write(s->fd, &one, sizeof(one));
	pthread_mutex_lock(&s->lock);
	while (!s->let_go && suspend_noticed(s))
		pthread_cond_wait(&s->over, &s->lock);
	pthread_mutex_unlock(&s->lock);
}

void suspend_let_go(struct suspend *s, bool let_go)
{
	pthread_mutex_lock(&s->lock);
	s->let_go = let_go;
	pthread_cond_broadcast(&s->over);
	pthread_mutex_unlock(&s->lock);
}

/* Who is held finds that the machine's time has it. */
static void know(struct suspend *s, const struct hostclock_beside *beside)
{
	pthread_mutex_lock(&s->lock);
	__atomic_store_n(&s->known_ns, beside->suspended_ns, __ATOMIC_SEQ_CST);
	pthread_cond_broadcast(&s->over);
	pthread_mutex_unlock(&s->lock);
}

/* It cannot fail: the number of tries is right. */
static struct hostclock_beside beside(void)
{
	struct hostclock_beside b = {0};

	(void)hostclock_beside(PAIR_TRIES, &b);
	return b;
}

void suspend_leave(struct suspend *s)
{
	const struct hostclock_beside now = beside();

	know(s, &now);
}

static int64_t utc_beside(const struct hostclock_beside *b)
{
	return b->realtime_ns - b->suspended_ns;
}

void suspend_take_utc(struct suspend *s)
{
	const struct hostclock_beside now = beside();

	s->utc_ns = utc_beside(&now);
}

static void look(const struct pause_config *config, struct suspend_look *ret_look)
{
	struct hostclock_pair pair;
	struct suspend_look *l = ret_look;
	uint64_t half;

	(void)hostclock_pair(PAIR_TRIES, &pair);
	half = (pair.monotonic_tsc_hi - pair.monotonic_tsc_lo) / 2 + 1;
	*l = (struct suspend_look){
		.host.counter = pair.monotonic_tsc_lo + half,
		.host.host_ns = pair.monotonic_ns,
		.host.bound_ns = half * NS_PER_KHZ / config->tsc->host.khz + 1,
		.host.said_ppt = VMT_DISCIPLINE_UNKNOWN,
		.beside = beside(),
	};
}

/* Of the virtual clock. */
static uint64_t counter_of(const struct suspend_look *l, bool tsc)
{
	return tsc ? l->host.counter : l->host.host_ns;
}

static struct suspend_look note(const struct pause_config *config)
{
	/* Before the look, so that its anchor is. */
	const struct counted_clock now = liveclock_get(&config->chipset->clock);
	struct suspend_look l;

	look(config, &l);
	l.now_ns = vmt_clock_now(&now.clock, counter_of(&l, now.tsc));
	if (config->kernel_clock)
		l.kvm_clock_ns = pause_kvm_clock(config, l.host.counter);
	return l;
}

void suspend_begin(struct suspend *s, const struct pause_config *config)
{
	s->last = note(config);
	know(s, &s->last.beside);
}

void suspend_note(struct suspend *s, const struct pause_config *config)
{
	const struct suspend_look l = note(config);

	/* Else it has happened since somebody asked. */
	if (l.beside.suspended_ns <= s->last.beside.suspended_ns + LEAST_NS)
		s->last = l;
}

/* How long the host was suspended since the last look, and how long awake. */
static struct vmt_suspend since(const struct suspend_look *from, const struct suspend_look *to)
{
	return (struct vmt_suspend){
		.before_ns = from->now_ns,
		.awake_ns = to->host.host_ns - from->host.host_ns,
		.suspended_ns = (uint64_t)(to->beside.suspended_ns - from->beside.suspended_ns),
	};
}

/* Counts of the host's TSC in ns of its clock, which runs faster by `ppt` than announced. */
static uint64_t counts(const struct pause_config *config, uint64_t ns, int64_t ppt)
{
	const i128 announced = (i128)ns * config->tsc->host.khz / NS_PER_KHZ;

	return (uint64_t)(announced - announced * ppt / PPT);
}

/* What the host's TSC would show now if it had counted through what counts for the guest's; where
 * it has done just that, what it shows. */
static uint64_t wanted_tsc(const struct suspend_look *from, const struct suspend_look *to,
			   const struct pause_config *config, const struct vmt_suspend *suspend,
			   bool froze)
{
	const struct pvclock *p = config->pvclock;
	const uint64_t slept_ns = froze ? 0 : suspend->suspended_ns;
	const uint64_t near_ns = 1000 + slept_ns / 10000000;
	uint64_t wanted = from->host.counter;
	int64_t apart;

	wanted += counts(config, suspend->awake_ns, p->loop.steady_ppt);
	wanted += counts(config, slept_ns, 0);
	apart = (int64_t)(to->host.counter - wanted);
	apart = apart < 0 ? -apart : apart;
	return (uint64_t)apart <= counts(config, near_ns, 0) ? to->host.counter : wanted;
}

/* The timers of the local APICs have stood still as CLOCK_MONOTONIC has. */
static int catch_up(const struct pause_config *config, const struct suspend_look *to,
		    uint64_t slept_ns)
{
	int result = 0;

	for (uint32_t cpu = 0; cpu < config->cpus && result == 0; cpu++) {
		const struct vcpu *v = &config->vcpus[cpu];
		struct lapic_timer timer;

		result = lapic_stop(v, to->host.counter, config->tsc->host.khz, &timer);
		timer.taken_back = timer.counts;
		if (result == 0)
			result = lapic_go_on(v, &timer, slept_ns);
	}
	return result;
}

/* What KVM keeps goes on with the clock.  0 or -EIO. */
static int tell_kvm(const struct pause_config *config, const struct suspend_look *from,
		    const struct suspend_look *to, const struct vmt_suspend *suspend, bool froze)
{
	const uint64_t slept_ns = froze ? 0 : suspend->suspended_ns;
	const uint64_t tsc = wanted_tsc(from, to, config, suspend, froze);
	int result = froze ? 0 : catch_up(config, to, slept_ns);

	/* Also where they need not move: deadlines that KVM waits for are armed anew. */
	if (config->movable &&
	    pvclock_freeze(config->pvclock, to->host.counter, vmt_tsc_line(config->tsc, tsc)) < 0)
		result = -EIO;
	if (config->kernel_clock)
		(void)pause_set_kvm_clock(config, from->kvm_clock_ns + suspend->awake_ns + slept_ns,
					  to->host.counter);
	return result;
}

/* The pages and the loop go on with the clock, too.  The TSC showed `count` at the last look. */
static void tell_pages(const struct pause_config *config, const struct suspend_look *from,
		       const struct suspend_look *to, uint64_t count, uint64_t skipped_ns)
{
	const struct vmt_clock clock = liveclock_get(&config->chipset->clock).clock;
	struct pvclock *p = config->pvclock;

	if (p->looped)
		p->looped = vmt_discipline_skip(&p->loop, &clock, &to->host, skipped_ns) == 0;
	pvclock_go(p, count, from->now_ns, false);
	if (config->kernel_clock)
		for (uint32_t cpu = 0; cpu < config->cpus; cpu++)
			(void)ioctl(config->vcpus[cpu].fd, KVM_KVMCLOCK_CTRL, 0);
}

/* UTC has gone on by all of it, and by what somebody stepped the host's meanwhile. */
static struct vmt_reading reading(struct suspend *s, const struct pause_config *config,
				  const struct suspend_look *to, const struct vmt_suspend *suspend)
{
	const struct counted_clock now = liveclock_get(&config->chipset->clock);
	const uint64_t passed_ns = suspend->awake_ns + suspend->suspended_ns;
	const int64_t step_ns = config->own_utc ? 0 : utc_beside(&to->beside) - s->utc_ns;

	s->utc_ns = utc_beside(&to->beside);
	return (struct vmt_reading){
		.counter = counter_of(to, now.tsc),
		.utc_ns = vmt_clock_utc(&now.clock, suspend->before_ns) + (int64_t)passed_ns +
			  step_ns,
		.utc_bound_ns = now.clock.utc_bound_ns + to->beside.bound_ns,
	};
}

/* Behind the gate.  0, -EIO, or -EINVAL: the clock is as it was. */
static int put_right(struct suspend *s, const struct pause_config *config, struct suspend_look *to,
		     uint32_t policy, uint64_t limit_ns, struct chipset_change *ret_change)
{
	const struct suspend_look from = s->last;
	const uint64_t count = vmt_tsc_line(config->tsc, from.host.counter);
	const int64_t utc_ns = s->utc_ns;
	struct vmt_suspend suspend = since(&from, to);
	const struct vmt_reading at = reading(s, config, to, &suspend);
	int result = chipset_slept(config->chipset, &suspend, &at, policy, limit_ns, ret_change);
	bool froze;

	if (result < 0) {
		s->last = note(config);
		s->utc_ns = utc_ns;
		return result;
	}
	froze = ret_change->policy == VMT_POLICY_FREEZE;
	result = tell_kvm(config, &from, to, &suspend, froze);
	tell_pages(config, &from, to, count,
		   (uint64_t)(ret_change->after_ns - ret_change->before_ns));
	to->now_ns = (vmt_ns)ret_change->after_ns;
	to->kvm_clock_ns = from.kvm_clock_ns + suspend.awake_ns;
	to->kvm_clock_ns += froze ? 0 : suspend.suspended_ns;
	s->last = *to;
	return result;
}

int suspend_end(struct suspend *s, const struct pause_config *config, uint32_t policy,
		struct chipset_change *ret_change, uint64_t *ret_limit_ns, uint32_t *ret_clock,
		struct why *why)
{
	struct suspend_look to;
	struct vmt_suspend suspend;
	int result = 1;

	pvclock_shut(config->pvclock);
	look(config, &to);
	suspend = since(&s->last, &to);
	if ((int64_t)suspend.suspended_ns > LEAST_NS) { /* none may be a few ns below 0 */
		*ret_limit_ns =
			pause_limit(config, suspend.before_ns + suspend.awake_ns, ret_clock);
		result = put_right(s, config, &to, config->movable ? policy : VMT_POLICY_CONTINUE,
				   *ret_limit_ns, ret_change);
	}
	know(s, &to.beside);
	gate_open(config->gate);
	if (result == -EINVAL)
		return why_set(why, -EINVAL,
			       "this host was suspended, and the guest's clock cannot be put "
			       "right: it is late from now on");
	return result < 0 ? why_set(why, -EIO,
				    "this host was suspended, and KVM does not take the guest's "
				    "CPUs along: their TSCs or timers may be wrong from now on")
			  : result;
}

bool suspend_follow_utc(struct suspend *s, const struct pause_config *config,
			struct chipset_change *ret_change)
{
	const struct hostclock_beside now = beside();
	const int64_t step_ns = utc_beside(&now) - s->utc_ns;

	if (step_ns <= LEAST_STEP_NS && step_ns >= -LEAST_STEP_NS)
		return false;
	s->utc_ns += step_ns;
	return !config->own_utc &&
	       chipset_step_utc(config->chipset, step_ns, now.bound_ns, ret_change);
}
