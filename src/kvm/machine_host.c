/* SPDX-License-Identifier: Apache-2.0 */
/* machine_host.c - what becomes of a running machine's time when the host was suspended, or its
 * wall clock stepped. */
#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "kvm/gaptext.h"
#include "kvm/machine_impl.h"

struct pause_config machine_pause_config(struct machine *m)
{
	const struct vmstate_time *t = &m->arrived;
	return (struct pause_config){
		.chipset = &m->chipset,
		.gate = &m->gate,
		.pvclock = &m->pvclock,
		.steal = &m->steal,
		.vm = &m->vm,
		.vcpus = m->vcpus,
		.tsc = &m->tsc,
		.cpus = m->n_vcpus,
		.kernel_clock = m->config->kvm_clock == MACHINE_KVM_CLOCK_KERNEL,
		.own_utc = m->config->has_date,
		.movable = m->tsc_host.tsc_class != PROBE_TSC_NONE,
		.came_limit_ns = t->limit_ns > t->passed_ns ? t->limit_ns - t->passed_ns : 0,
		.came_ns = t->clock.base_ns,
	};
}

void machine_warn_of_gap(const struct machine *m, const struct chipset_change *change,
			 uint64_t limit_ns, uint32_t clock)
{
	struct why text;

	if (change->policy != VMT_POLICY_CONTINUE || change->gap_ns <= limit_ns || !m->watch)
		return;
	gaptext_set(change->gap_ns, limit_ns, clock, "run with --on-pause auto or freeze", &text);
	m->watch->notice(m->watch->owner, text.text);
}

static void meet_suspend(struct machine *m)
{
	const struct pause_config config = machine_pause_config(m);
	struct chipset_change change = {0};
	struct why why = {{0}};
	uint64_t limit_ns = 0;
	uint32_t clock = 0;
	int result = suspend_end(&m->suspend, &config, m->config->on_pause, &change, &limit_ns,
				 &clock, &why);

	if (result == 1 || !m->watch)
		return;
	if (result < 0)
		m->watch->notice(m->watch->owner, why.text);
	if (result == -EINVAL)
		return;
	m->watch->change(m->watch->owner, &change);
	machine_warn_of_gap(m, &change, limit_ns, clock);
}

void machine_meet_host(struct machine *m)
{
	const struct pause_config config = machine_pause_config(m);
	struct chipset_change change;

	if (!m->has_suspend || !m->running || m->pause.paused)
		return;
	if (suspend_noticed(&m->suspend))
		meet_suspend(m);
	if (suspend_follow_utc(&m->suspend, &config, &change) && m->watch)
		m->watch->change(m->watch->owner, &change);
}

void machine_note_host(struct machine *m)
{
	const struct pause_config config = machine_pause_config(m);

	if (m->has_suspend)
		suspend_note(&m->suspend, &config);
}

void machine_begin_host(struct machine *m, bool first)
{
	const struct pause_config config = machine_pause_config(m);
	struct why why;

	if (first)
		suspend_begin(&m->suspend, &config);
	suspend_let_go(&m->suspend, false);
	if (m->step_error && m->watch) {
		why_set(&why, -m->step_error,
			"this kernel does not tell when its clock is set (%s): the guest's UTC "
			"follows up to %d ms later",
			strerror(m->step_error), PVCLOCK_TICK_MS);
		m->watch->notice(m->watch->owner, why.text);
		m->step_error = 0;
	}
}

static void on_held(evutil_socket_t fd, short what, void *arg)
{
	struct machine *m = arg;
	uint64_t count;

	(void)what;
	(void)!read(fd, &count, sizeof(count));
	if (m->pause.paused)
		suspend_leave(&m->suspend);
	machine_meet_host(m);
}

/* Reading it says ECANCELED, once for each time that the clock was set. */
static void on_step(evutil_socket_t fd, short what, void *arg)
{
	uint64_t count;

	(void)what;
	(void)!read(fd, &count, sizeof(count));
	machine_meet_host(arg);
}

/* It never expires, and is cancelled when the clock is set. */
static int step_timer(int *ret_error)
{
	const struct itimerspec never = {.it_value.tv_sec = INT32_MAX};
	int fd = timerfd_create(CLOCK_REALTIME, TFD_CLOEXEC | TFD_NONBLOCK);

	*ret_error = fd >= 0 && timerfd_settime(fd, TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET,
						&never, NULL) < 0
			     ? errno
			     : 0;
	return fd;
}

int machine_watch_host(struct machine *m, struct why *why)
{
	int result = suspend_init(&m->suspend);

	m->has_suspend = result == 0;
	m->step_fd = step_timer(&m->step_error);
	if (result < 0 || m->step_fd < 0)
		return why_set(why, -ENOMEM, "no memory for a machine");
	m->chipset.suspend = &m->suspend;
	m->held = event_new(m->base, m->suspend.fd, EV_READ | EV_PERSIST, on_held, m);
	m->step = event_new(m->base, m->step_fd, EV_READ | EV_PERSIST, on_step, m);
	if (!m->held || !m->step || event_add(m->held, NULL) < 0 || event_add(m->step, NULL) < 0)
		return why_set(why, -ENOMEM, "no memory for a machine");
	return 0;
}

void machine_unwatch_host(struct machine *m)
{
	if (!m->has_suspend)
		return;
	if (m->held)
		event_free(m->held);
	if (m->step)
		event_free(m->step);
	if (m->step_fd >= 0)
		close(m->step_fd);
	suspend_destroy(&m->suspend);
	m->has_suspend = false;
}
