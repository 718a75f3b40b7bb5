/* SPDX-License-Identifier: Apache-2.0 */
/* machine_control.c - what a running machine is asked and told from outside. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "kvm/dirty.h"
#include "kvm/gaptext.h"
#include "kvm/machine_impl.h"
#include "kvm/vmstate.h"
#include "kvm/vmstate_features.h"
#include "kvm/vmstate_machine.h"

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

uint32_t machine_tsc_khz(const struct machine *m)
{
	return m->vm.tsc_khz;
}

const struct guest_memory *machine_memory(const struct machine *m)
{
	return &m->memory;
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

static int must_stand(const struct machine *m, struct why *why)
{
	if (!m->running)
		return at_its_end(why);
	return m->pause.paused ? 0 : why_set(why, -EBUSY, "the machine runs (send stop first)");
}

int machine_settle(struct machine *m, struct why *why)
{
	int result = must_stand(m, why);

	return result < 0 ? result : vmstate_settle(m, why);
}

int machine_save_time(struct machine *m, struct vmstate_parts *parts, struct why *why)
{
	int result = must_stand(m, why);

	return result < 0 ? result : vmstate_save_time(m, parts, why);
}

int machine_save(struct machine *m, struct vmstate_parts *parts, struct why *why)
{
	int result = must_stand(m, why);

	return result < 0 ? result : vmstate_save(m, parts, why);
}

/* CPU 0 is asked where it cannot be in the guest: else it would answer when it comes out. */
int machine_describe(struct machine *m, struct vmstate_parts *parts, struct why *why)
{
	const struct vmstate_cpu_ours ours = vmstate_ours(m->config);
	const bool runs = !m->pause.paused;
	int result;

	if (!m->running)
		return at_its_end(why);
	if (runs)
		pvclock_shut(&m->pvclock);
	result = vmstate_machine_save(m->config, m->tsc.khz, parts, why);
	if (result == 0)
		result = vmstate_features_save(&m->vm, &m->vcpus[0], &ours, parts, why);
	if (runs)
		gate_open(&m->gate);
	return result;
}

int machine_log_begin(struct machine *m, struct dirty *dirty, struct why *why)
{
	struct dirty_log log;
	int result;

	*dirty = (struct dirty){0};
	if (!m->running)
		return at_its_end(why);
	result = vm_log_begin(&m->vm, &m->memory, &log, why);
	if (result < 0)
		return result;
	result = dirty_init(dirty, &m->memory, &log, why);
	if (result == 0)
		memory_tell(&m->memory, dirty);
	else
		vm_log_end(&m->vm, &m->memory);
	return result;
}

void machine_log_end(struct machine *m, struct dirty *dirty)
{
	memory_tell(&m->memory, NULL);
	vm_log_end(&m->vm, &m->memory);
	dirty_free(dirty);
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
