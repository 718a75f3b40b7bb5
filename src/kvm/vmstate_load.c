/* SPDX-License-Identifier: Apache-2.0 */
/* vmstate_load.c - a whole machine's state, loaded. */
#include <errno.h>
#include <inttypes.h>
#include <linux/kvm.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>

#include "host/hostclock.h"
#include "kvm/gaptext.h"
#include "kvm/machine_impl.h"
#include "kvm/vmstate.h"
#include "kvm/vmstate_board.h"
#include "kvm/vmstate_cpu.h"
#include "kvm/vmstate_machine.h"

/* The part of that kind, which has to be there. */
static int find(const struct vmstate_parts *parts, uint32_t kind, uint32_t index, const char *what,
		const struct vmstate_part **ret_part, struct why *why)
{
	*ret_part = vmstate_parts_find(parts, kind, index);
	return *ret_part ? 0 : why_set(why, -EINVAL, "the machine's %s is missing", what);
}

int vmstate_check(const struct machine_config *config, const struct vmstate_parts *parts,
		  struct why *why)
{
	const struct vmstate_part *part;
	int result = find(parts, VMSTATE_MACHINE, 0, "description", &part, why);

	if (result == 0)
		result = vmstate_machine_compare(config, part, why);
	return result < 0 ? result : vmstate_machine_has(config, parts, why);
}

static int check_class(const struct machine *m, struct why *why)
{
	if (m->tsc_host.tsc_class != PROBE_TSC_NONE)
		return 0;
	return why_set(why, -ENODEV,
		       "a machine cannot be %s here: this KVM gives guests the host's own TSC "
		       "(use a host with svm or vmx)",
		       m->migrates ? "taken over" : "restored");
}

int vmstate_check_tsc(const struct machine *m, const struct vmstate_parts *parts, struct why *why)
{
	const struct vmstate_part *part;
	int result = find(parts, VMSTATE_MACHINE, 0, "description", &part, why);

	if (result == 0)
		result = check_class(m, why);
	return result < 0 ? result
			  : vmstate_time_check(&m->tsc, vmstate_machine_khz(part),
					       m->config->tsc.portable, why);
}

struct load_look {
	bool counts_tsc;
	uint32_t khz;
	struct pause_instant *now;
};

static int look_now(void *owner)
{
	const struct load_look *l = owner;

	return pause_look(l->counts_tsc, l->khz, l->now);
}

/* This host now, into m->pause.from as well. */
static int look(struct machine *m, bool counts_tsc, struct hosts_reading *ret_host)
{
	struct load_look l = {counts_tsc, m->tsc.host.khz, &m->pause.from};
	struct hostclock_kernel kernel;
	int result = hostclock_with_kernel(look_now, &l, &kernel);

	if (result == 0)
		*ret_host = hosts_reading_of(l.now->tsc, m->vm.tsc_khz, l.now->at.utc_ns,
					     l.now->at.utc_bound_ns, &kernel);
	return result;
}

int vmstate_load_time(struct machine *m, bool counts_tsc, uint64_t counter_hz,
		      struct vmt_clock *ret_clock, struct why *why)
{
	struct vmstate_time_config config = {
		.counter_hz = counter_hz,
		.policy = m->migrates ? m->config->on_migrate : m->config->on_restore,
		.window = &m->window,
		.own_utc = m->config->has_date,
		.portable = m->config->tsc.portable,
	};
	struct hosts_reading host;
	int result = check_class(m, why);

	if (result < 0)
		return result;
	result = look(m, counts_tsc, &host);
	if (result < 0)
		return why_set(why, result, "cannot read the host's clocks");
	config.now.tsc = m->pause.from.tsc;
	config.now.at = m->pause.from.at;
	if (m->migrates)
		config.now.host = &host;
	result = vmstate_time_load(m->incoming, &config, &m->tsc, &m->arrived, why);
	if (result == 0)
		*ret_clock = m->arrived.clock;
	return result;
}

/* The TSCs of all CPUs, in a row.  (KVM keeps the host's writing of TSC_ADJUST as it is, and moves
 * nothing.) */
static int apply_tscs(struct machine *m, struct why *why)
{
	for (uint32_t cpu = 0; cpu < m->n_vcpus; cpu++) {
		int result = tsc_apply(&m->tsc_host, &m->tsc, &m->vcpus[cpu], why);

		if (result < 0)
			return result;
		if (m->tsc.adjust[cpu] &&
		    !vcpu_set_msr(&m->vcpus[cpu], VMT_MSR_TSC_ADJUST, m->tsc.adjust[cpu]))
			return why_set(why, -EIO, "KVM refused CPU %u's TSC_ADJUST", cpu);
	}
	return 0;
}

/* One step, of all CPUs. */
static int each(struct machine *m, const struct vmstate_cpu *cpus,
		int (*step)(const struct vcpu *, const struct vmstate_cpu *, struct why *),
		struct why *why)
{
	int result = 0;

	for (uint32_t cpu = 0; cpu < m->n_vcpus && result == 0; cpu++)
		result = step(&m->vcpus[cpu], &cpus[cpu], why);
	return result;
}

static int load_msrs(struct machine *m, const struct vmstate_cpu *cpus, struct why *why)
{
	const struct vmstate_cpu_ours ours = vmstate_ours(m->config);
	int result = each(m, cpus, vmstate_cpu_load_msrs, why);

	for (uint32_t cpu = 0; cpu < m->n_vcpus && result == 0; cpu++)
		result = vmstate_cpu_go_on(&m->vm, &m->vcpus[cpu], &ours, &cpus[cpu], why);
	return result;
}

static int load_steps(struct machine *m, const struct vmstate_cpu *cpus, struct why *why)
{
	int result = each(m, cpus, vmstate_cpu_show, why);

	if (result == 0)
		result = each(m, cpus, vmstate_cpu_load_registers, why);
	if (result == 0)
		result = apply_tscs(m, why);
	if (result == 0)
		result = load_msrs(m, cpus, why);
	for (uint32_t cpu = 0; cpu < m->n_vcpus && result == 0; cpu++) {
		result = vmstate_cpu_load_lapic(&m->vcpus[cpu], &cpus[cpu], m->arrived.passed_ns,
						why);
		m->vcpus[cpu].left_tsc = hostclock_tsc(); /* its timer runs from here on */
	}
	if (result == 0)
		result = each(m, cpus, vmstate_cpu_load_deadline, why);
	return result == 0 ? each(m, cpus, vmstate_cpu_load_events, why) : result;
}

int vmstate_load_cpus(struct machine *m, struct why *why)
{
	const struct vmstate_cpu_ours ours = vmstate_ours(m->config);
	struct vmstate_cpu *cpus = calloc(m->n_vcpus, sizeof(*cpus));
	int result = cpus ? 0 : why_set(why, -ENOMEM, "no memory for the CPUs' state");

	for (uint32_t cpu = 0; cpu < m->n_vcpus && result == 0; cpu++) {
		const struct vmstate_part *part;

		result = find(m->incoming, VMSTATE_CPU, cpu, "CPU", &part, why);
		if (result == 0)
			result = vmstate_cpu_parse(part, &ours, &cpus[cpu], why);
	}
	if (result == 0)
		result = load_steps(m, cpus, why);
	free(cpus);
	return result;
}

/* Those of the guest's pages that are none any more stay untouched. */
static int load_taken(struct machine *m, struct why *why)
{
	const struct vmstate_part *part = vmstate_parts_find(m->incoming, VMSTATE_TAKEN, 0);

	if (!part)
		return 0;
	if (part->length != VMSTATE_TAKEN_BYTES)
		return why_set(why, -EINVAL, "the list of taken pages is none that vmtime writes");
	for (uint32_t cpu = 0; cpu < m->n_vcpus; cpu++)
		if (part->bytes[cpu / 8] >> cpu % 8 & 1)
			m->pvclock.pages[cpu] = PVCLOCK_PAGE_TAKEN;
	m->pvclock.taken = true;
	return 0;
}

static int load_pages(struct machine *m, struct why *why)
{
	const struct vmstate_part *part;
	int result = 0;

	if (m->config->kvm_clock == MACHINE_KVM_CLOCK_USER) {
		result = find(m->incoming, VMSTATE_KVMCLOCK, 0, "kvm-clock", &part, why);
		if (result == 0)
			result = pvclock_load(&m->pvclock, part->bytes, part->length);
		if (result < 0)
			return why_set(why, -EINVAL,
				       "the machine's kvm-clock is damaged or missing");
		result = load_taken(m, why);
		if (result < 0)
			return result;
	}
	if (m->config->steal == MACHINE_STEAL_USER) {
		result = find(m->incoming, VMSTATE_STEAL, 0, "steal time", &part, why);
		if (result == 0)
			result = vmt_steal_load(&m->steal.face, part->bytes, part->length);
		if (result < 0)
			return why_set(why, -EINVAL,
				       "the machine's steal time is damaged or missing");
	}
	return 0;
}

/* KVM's own clock goes on where it was, plus what has passed; the guest's watchdogs are told. */
static int load_kernel_clock(struct machine *m, uint64_t clock_ns, struct why *why)
{
	const struct pause_config config = machine_pause_config(m);
	const uint64_t ns = clock_ns + m->arrived.passed_ns;

	if (pause_set_kvm_clock(&config, ns, m->pause.from.tsc) < 0)
		return why_set(why, -EIO, "KVM refused its own clock's time");
	m->pause.kvm_clock_ns = ns;
	for (uint32_t cpu = 0; cpu < m->n_vcpus; cpu++)
		(void)ioctl(m->vcpus[cpu].fd, KVM_KVMCLOCK_CTRL, 0);
	return 0;
}

static struct chipset_change change_of(const struct vmstate_time *t)
{
	return (struct chipset_change){
		.kind = t->migrated ? CHIPSET_CHANGE_MIGRATE : VMT_CHANGE_LOAD,
		.at_ns = t->change.after_ns,
		.before_ns = (int64_t)t->change.before_ns,
		.after_ns = (int64_t)t->change.after_ns,
		.bound_ns = t->change.bound_ns,
		.policy = t->change.policy,
		.gap_ns = t->change.gap_ns,
		.utc_before_ns = t->utc_offset_ns,
		.utc_after_ns = t->clock.utc_offset_ns,
		.tsc_ppb = t->tsc_ppb,
		.future_ns = t->future_ns,
		.apart_ns = t->gap.apart_ns,
		.by_tai = t->gap.by_tai,
		.negative = t->gap.negative,
		.bounded = t->gap.bounded,
	};
}

int vmstate_load_board(struct machine *m, struct why *why)
{
	bool kernel_clock = m->config->kvm_clock == MACHINE_KVM_CLOCK_KERNEL;
	const struct vmstate_part *chips, *board, *lines, *ports;
	uint64_t clock_ns = 0;
	int result = find(m->incoming, VMSTATE_CHIPS, 0, "interrupt chips", &chips, why);

	if (result == 0)
		result = find(m->incoming, VMSTATE_BOARD, 0, "board", &board, why);
	if (result == 0)
		result = find(m->incoming, VMSTATE_LINES, 0, "interrupt lines", &lines, why);
	if (result == 0)
		result = find(m->incoming, VMSTATE_PORTS, 0, "serial ports", &ports, why);
	if (result == 0)
		result = vmstate_ports_load(&m->ports, ports, why);
	if (result == 0)
		result = load_pages(m, why);
	if (result == 0)
		result = vmstate_chips_load(&m->vm, chips, kernel_clock ? &clock_ns : NULL, why);
	if (result == 0 && kernel_clock)
		result = load_kernel_clock(m, clock_ns, why);
	if (result == 0)
		result = vmstate_board_load(&m->chipset, &m->vm, board, lines, why);
	if (result < 0)
		return result;
	ports_connect(&m->ports, &m->vm);
	m->chipset.change = change_of(&m->arrived);
	return 0;
}

void vmstate_load_memory(struct machine *m)
{
	pvclock_drop(&m->pvclock, m->arrived.tsc_count, m->arrived.stopped_ns);
	pvclock_owe(&m->pvclock, m->arrived.late_ns);
}

/* "12.345 s". */
static const char *seconds(uint64_t ns, char buf[32])
{
	enum { NS_PER_MS = 1000000, MS_PER_S = 1000 };
	const uint64_t ms = ns / NS_PER_MS;

	snprintf(buf, 32, "%" PRIu64 ".%03" PRIu64 " s", ms / MS_PER_S, ms % MS_PER_S);
	return buf;
}

/* What the guest goes on by is then what passed, if the network knows that, or nothing. */
static void tell_apart(const struct vmstate_time *t, struct why *ret_text)
{
	const int64_t ns = t->gap.apart_ns;
	char buf[32];

	why_set(ret_text, 0,
		"this host's clock is at least %s %s the other host's: the machine's time %s, its "
		"date is this host's (see that the clocks of both hosts are right)",
		seconds(ns < 0 ? 0 - (uint64_t)ns : (uint64_t)ns, buf),
		ns < 0 ? "behind" : "ahead of",
		t->gap.bounded ? "went on by what really passed" : "goes on where it stood");
}

void vmstate_notices(const struct machine *m)
{
	const struct vmstate_time *t = &m->arrived;
	const struct chipset_change *change = &m->chipset.change; /* with the time until it ran */
	struct why text;
	char buf[32];

	if (!m->watch)
		return;
	if (t->gap.apart_ns) {
		tell_apart(t, &text);
		m->watch->notice(m->watch->owner, text.text);
	}
	if (t->future_ns) {
		why_set(&text, 0,
			"the restored machine's time is %s ahead of this host's: it goes on where "
			"it "
			"stood, and takes this host's date (see that the clocks of both hosts are "
			"right)",
			seconds(t->future_ns, buf));
		m->watch->notice(m->watch->owner, text.text);
	}
	if (change->policy == VMT_POLICY_CONTINUE && change->gap_ns > t->limit_ns) {
		gaptext_set(change->gap_ns, t->limit_ns, 0,
			    t->migrated ? "run with --on-migrate auto or freeze"
					: "run with --on-restore auto or freeze",
			    &text);
		m->watch->notice(m->watch->owner, text.text);
	}
	if (t->tsc_ppb) {
		why_set(&text, 0,
			"the %s machine's TSC is %" PRId64
			" ppb faster than it was: what its guest has measured of it is off by "
			"that, kvm-clock is not",
			t->migrated ? "migrated" : "restored", t->tsc_ppb);
		m->watch->notice(m->watch->owner, text.text);
	}
}
