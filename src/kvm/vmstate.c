/* SPDX-License-Identifier: Apache-2.0 */
/* vmstate.c - a whole machine's state, saved. */
#include "kvm/vmstate.h"

#include <errno.h>
#include <linux/kvm.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "host/hostclock.h"
#include "kvm/bytes.h"
#include "kvm/machine_impl.h"
#include "kvm/vmstate_board.h"
#include "kvm/vmstate_cpu.h"
#include "kvm/vmstate_machine.h"
#include "kvm/vmstate_msrs.h"

enum { VERSION = 1, SETTLE_TRIES = 200, FEW_TRIES = 3, SETTLE_US = 1000 };

/* Virtual time stands, but KVM's timers do not know: one that had time left when it stopped has not
 * fired, and must not while KVM puts what it owes into the registers, from where it may get on,
 * beyond recall, nor before those are read.  It is back when the machine goes on. */
static int hold_timer(struct machine *m, uint32_t cpu, struct why *why)
{
	const struct vcpu *v = &m->vcpus[cpu];

	if (lapic_hold(v, m->pause.tsc_count + m->tsc.adjust[cpu], &m->pause.timers[cpu]) < 0)
		return why_set(why, -EIO, "KVM refused CPU %u's local APIC: %s", v->cpu,
			       strerror(errno));
	return 0;
}

/* Asks its thread. */
static int settle(struct vcpu *v, int tries)
{
	int result = -EBUSY;

	for (int i = 0; i < tries && result == -EBUSY; i++) {
		result = vcpu_settle(v);
		if (result == -EBUSY)
			usleep(SETTLE_US);
	}
	return result;
}

static int settled(struct vcpu *v, struct why *why)
{
	int result = vcpu_settled(v);

	if (result < 0)
		return why_set(why, result, "KVM does not complete what CPU %u was at", v->cpu);
	return 0;
}

static int is_at_an_access(const struct vcpu *v, struct why *why)
{
	return why_set(why, -EAGAIN,
		       "CPU %u is in the middle of an access (let the machine go on, and try "
		       "again)",
		       v->cpu);
}

/* All of them side by side. */
static int settle_all(struct machine *m, int tries, struct why *why)
{
	uint32_t asked = 0;
	int result = 0;

	for (uint32_t cpu = 0; cpu < m->n_vcpus && result == 0; cpu++)
		result = hold_timer(m, cpu, why);
	for (; asked < m->n_vcpus && result == 0; asked += result == 0)
		if (settle(&m->vcpus[asked], tries) < 0)
			result = is_at_an_access(&m->vcpus[asked], why);
	for (uint32_t cpu = 0; cpu < asked; cpu++) {
		struct why unheard;
		int done = settled(&m->vcpus[cpu], result < 0 ? &unheard : why);

		if (result == 0 && done == 0 &&
		    __atomic_load_n(&m->vcpus[cpu].exited, __ATOMIC_SEQ_CST))
			done = is_at_an_access(&m->vcpus[cpu], why);
		result = result < 0 ? result : done;
	}
	return result;
}

int vmstate_settle(struct machine *m, struct why *why)
{
	return settle_all(m, FEW_TRIES, why);
}

struct vmstate_cpu_ours vmstate_ours(const struct machine_config *config)
{
	return (struct vmstate_cpu_ours){
		.kvm_clock = config->kvm_clock == MACHINE_KVM_CLOCK_USER,
		.steal = config->steal == MACHINE_STEAL_USER,
	};
}

static int save_cpu(struct machine *m, uint32_t cpu, struct vmstate_parts *parts, struct why *why)
{
	const struct vmstate_cpu_ours ours = vmstate_ours(m->config);

	return vmstate_cpu_save(&m->vm, &m->vcpus[cpu], &ours, &m->pause.timers[cpu], parts, why);
}

static int add(struct vmstate_parts *parts, uint32_t kind, const void *bytes, int size,
	       struct why *why)
{
	if (size < 0 || vmstate_parts_add(parts, kind, VERSION, 0, bytes, (uint32_t)size) < 0)
		return why_set(why, -ENOMEM, "no memory for the machine's state");
	return 0;
}

/* Its page is none any more, and nobody may write there: the guest has put something else there. */
static bool is_taken(const struct machine *m, uint32_t cpu)
{
	const struct pvclock *p = &m->pvclock;
	const void *entry =
		memory_at(&m->memory, vmt_kvmclock_place(&p->face, cpu), VMT_KVMCLOCK_BYTES);

	return entry && (p->pages[cpu] == PVCLOCK_PAGE_TAKEN ||
			 (p->pages[cpu] == PVCLOCK_PAGE_WRITTEN &&
			  memcmp(entry, p->written[cpu], PVCLOCK_COMPARED) != 0));
}

/* Behind the gate. */
static int save_taken(struct machine *m, struct vmstate_parts *parts, struct why *why)
{
	uint8_t bits[VMSTATE_TAKEN_BYTES] = {0};
	bool any = false;

	for (uint32_t cpu = 0; cpu < m->n_vcpus; cpu++)
		if (is_taken(m, cpu)) {
			bits[cpu / 8] = (uint8_t)(bits[cpu / 8] | 1U << cpu % 8);
			any = true;
		}
	return any ? add(parts, VMSTATE_TAKEN, bits, sizeof(bits), why) : 0;
}

static int save_pages(struct machine *m, struct vmstate_parts *parts, struct why *why)
{
	uint8_t bytes[VMT_STEAL_SAVED > VMT_KVMCLOCK_SAVED ? VMT_STEAL_SAVED : VMT_KVMCLOCK_SAVED];
	int result = 0;

	if (m->config->kvm_clock == MACHINE_KVM_CLOCK_USER)
		result = add(parts, VMSTATE_KVMCLOCK, bytes,
			     vmt_kvmclock_save(&m->pvclock.face, bytes, sizeof(bytes)), why);
	if (result == 0 && m->config->kvm_clock == MACHINE_KVM_CLOCK_USER)
		result = save_taken(m, parts, why);
	if (result == 0 && m->config->steal == MACHINE_STEAL_USER)
		result = add(parts, VMSTATE_STEAL, bytes,
			     vmt_steal_save(&m->steal.face, bytes, sizeof(bytes)), why);
	return result;
}

/* What the loop had still to make up for at the stop: else each migration would lose what the
 * announced frequency was wrong by before it. */
static int64_t late(const struct machine *m, const struct vmt_clock *paused)
{
	enum { NS_PER_MS = 1000000 };
	const struct pause_instant *from = &m->pause.from;
	int64_t counts, ns;

	if (!m->pvclock.looped)
		return 0;
	/* The two clocks were read one after the other, within us. */
	counts = (int64_t)(from->tsc - from->host.counter);
	ns = counts * NS_PER_MS / m->tsc.host.khz;
	return (int64_t)(vmt_discipline_wanted(&m->pvclock.loop, paused,
					       from->host.host_ns + (uint64_t)ns) -
			 paused->base_ns);
}

/* `host`: NULL for a file, which may be loaded when this host's clocks mean nothing any more. */
static int save_time(struct machine *m, const struct hosts_reading *host,
		     struct vmstate_parts *parts, struct why *why)
{
	const struct pause *p = &m->pause;
	const struct vmt_clock paused = liveclock_get(&m->chipset.clock).clock;
	const struct vmstate_instant at = {
		.tsc = p->from.tsc,
		.at = p->from.at,
		.limit_ns = pause_limit(&p->config, paused.base_ns, NULL),
		.host = host,
		.late_ns = host ? late(m, &paused) : 0,
	};

	return vmstate_time_save(&paused, &at, &m->tsc, parts, why);
}

static int look_beside(void *ret_beside)
{
	enum { TRIES = 20 };

	return hostclock_beside(TRIES, ret_beside);
}

/* The instant at which the machine stopped, by the clock that the host has now: one that stood for
 * a while may have seen it set, or a leap second, which is a step by a second and a change of TAI
 * minus UTC.  Less than STEP_NS is no step but how well both are known. */
static int read_stop(const struct machine *m, struct hosts_reading *ret_reading)
{
	enum { STEP_NS = 10000 };
	const struct pause_instant *from = &m->pause.from;
	struct hostclock_kernel kernel;
	struct hostclock_beside now;
	int64_t step_ns;
	int result = hostclock_with_kernel(look_beside, &now, &kernel);

	if (result < 0)
		return result;
	step_ns = now.realtime_ns - from->beside.realtime_ns -
		  (now.suspended_ns - from->beside.suspended_ns);
	if (step_ns < STEP_NS && step_ns > -STEP_NS)
		step_ns = 0;
	*ret_reading = hosts_reading_of(from->tsc, m->vm.tsc_khz, from->at.utc_ns + step_ns,
					from->at.utc_bound_ns, &kernel);
	return 0;
}

int vmstate_save_time(struct machine *m, struct vmstate_parts *parts, struct why *why)
{
	struct hosts_reading host;
	int result = read_stop(m, &host);

	if (result < 0)
		return why_set(why, result, "cannot read the host's clocks");
	return save_time(m, &host, parts, why);
}

int vmstate_save(struct machine *m, struct vmstate_parts *parts, struct why *why)
{
	const struct pause *p = &m->pause;
	int result = vmstate_machine_save(m->config, m->tsc.khz, parts, why);

	if (result == 0)
		result = save_time(m, NULL, parts, why);
	if (result == 0)
		result = settle_all(m, SETTLE_TRIES, why);
	/* What the CPUs have acknowledged is counted, which may raise a line again: then they and
	 * the chips are as the board believes. */
	(void)chipset_hold(&m->chipset);
	chipset_release(&m->chipset);
	for (uint32_t cpu = 0; cpu < m->n_vcpus && result == 0; cpu++)
		result = save_cpu(m, cpu, parts, why);
	if (result == 0)
		result = vmstate_chips_save(
			&m->vm, p->config.kernel_clock ? &p->kvm_clock_ns : NULL, parts, why);
	if (result == 0)
		result = vmstate_board_save(&m->chipset, parts, why);
	if (result == 0)
		result = vmstate_ports_save(&m->ports, parts, why);
	return result == 0 ? save_pages(m, parts, why) : result;
}
