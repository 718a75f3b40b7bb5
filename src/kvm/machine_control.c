/* SPDX-License-Identifier: Apache-2.0 */
/* machine_control.c - what a running machine is asked and told from outside. */
#include <string.h>

#include "kvm/machine_impl.h"

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

void machine_reset(struct machine *m)
{
	if (!m->running)
		return; /* it is at its end */
	machine_tear_down(m);
	m->end.result = machine_boot_again(m);
	if (m->end.result < 0) {
		m->end.kind = MACHINE_END_RESET;
		event_base_loopbreak(m->base);
	} else if (m->watch) {
		m->watch->reset(m->watch->owner, false);
	}
}

void machine_power_button(struct machine *m)
{
	chipset_power_button(&m->chipset);
}

void machine_forget_rtc_ticks(struct machine *m)
{
	chipset_forget_rtc_ticks(&m->chipset);
}
