/* SPDX-License-Identifier: Apache-2.0 */
/* machine_control.c - what a running machine is asked and told from outside. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "kvm/gaptext.h"
#include "kvm/machine_impl.h"
#include "kvm/vmstate.h"

void machine_stop(struct machine *m)
{
	event_base_loopbreak(m->base);
}

void machine_watch(struct machine *m, const struct machine_watch *watch)
{
	m->watch = watch;
}

void machine_time(struct machine *m, struct timestate *ret_time)
{
	if (m->running && !m->pause.paused)
		machine_meet_host(m);
	timestate_read(&m->chipset, !m->config->has_date, ret_time);
	if (m->config->kvm_clock == MACHINE_KVM_CLOCK_USER)
		ret_time->faces[ret_time->n_faces++] =
			(struct timestate_face){"kvm-clock", VMT_NEVER};
	ret_time->has_phase =
		pvclock_phase(&m->pvclock, &ret_time->phase_ns, &ret_time->phase_bound_ns);
}

void machine_stats(struct machine *m, struct machine_stats *ret_stats)
{
	*ret_stats = m->stats;
	if (!m->powered)
		return;
	machine_time(m, &ret_stats->time);
	ret_stats->late_now = m->chipset.board.late_now;
}

uint32_t machine_cpus(const struct machine *m)
{
	return m->n_vcpus;
}

int machine_thread(const struct machine *m, uint32_t cpu)
{
	return __atomic_load_n(&m->vcpus[cpu].tid, __ATOMIC_SEQ_CST);
}

const struct guest_memory *machine_memory(const struct machine *m)
{
	return &m->memory;
}

void machine_arrive(struct machine *m, const struct vmstate_parts *state)
{
	m->incoming = state;
}

static int at_its_end(struct why *why)
{
	return why_set(why, -EAGAIN, "the machine is at its end");
}

bool machine_is_paused(const struct machine *m)
{
	return m->pause.paused;
}

int machine_pause(struct machine *m, bool *ret_changed, struct why *why)
{
	const struct pause_config config = machine_pause_config(m);

	*ret_changed = m->running && !m->pause.paused;
	if (!m->running)
		return at_its_end(why);
	if (m->pause.paused)
		return 0;
	machine_meet_host(m);
	return pause_begin(&m->pause, &config, why);
}

int machine_save(struct machine *m, struct vmstate_parts *parts, struct why *why)
{
	if (!m->running)
		return at_its_end(why);
	if (!m->pause.paused)
		return why_set(why, -EBUSY, "the machine runs (send stop first)");
	return vmstate_save(m, parts, why);
}

int machine_resume(struct machine *m, bool *ret_changed, struct chipset_change *ret_change,
		   struct why *why)
{
	const uint64_t one = 1;
	uint64_t limit_ns;
	uint32_t clock;
	int result;

	*ret_changed = m->pause.paused;
	if (!m->running)
		return at_its_end(why);
	if (!m->pause.paused)
		return 0;
	result = pause_end(&m->pause, m->config->on_pause, ret_change, &limit_ns, &clock, why);
	if (result < 0)
		return result;
	suspend_take_utc(&m->suspend);
	machine_begin_host(m, true);
	machine_warn_of_gap(m, ret_change, limit_ns, clock);
	(void)!write(m->end_fd, &one, sizeof(one)); /* for who has ended meanwhile */
	return 0;
}

/* As it stood: time where it stopped; the CPUs, once they are made anew, at the gate. */
static void stand_still_again(struct machine *m, const struct pause *kept)
{
	gate_shut(&m->gate);
	m->pause = *kept;
	memset(m->pause.timers, 0, sizeof(m->pause.timers));
}

int machine_reset(struct machine *m, struct why *why)
{
	struct pause kept;
	bool paused;

	if (!m->running)
		return at_its_end(why);
	paused = m->pause.paused;
	kept = m->pause;
	machine_tear_down(m);
	if (paused)
		stand_still_again(m, &kept);
	m->end.result = machine_boot_again(m);
	if (m->end.result < 0) {
		m->end.kind = MACHINE_END_RESET;
		event_base_loopbreak(m->base);
	} else if (m->watch) {
		m->watch->reset(m->watch->owner, false);
	}
	return 0;
}

void machine_power_button(struct machine *m)
{
	chipset_power_button(&m->chipset);
}

void machine_forget_rtc_ticks(struct machine *m)
{
	chipset_forget_rtc_ticks(&m->chipset);
}
