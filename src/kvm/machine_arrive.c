/* SPDX-License-Identifier: Apache-2.0 */
/* machine_arrive.c - a machine that does not boot: it comes from a file or from another host. */
#include <assert.h>
#include <errno.h>
#include <inttypes.h>

#include "kvm/machine_impl.h"
#include "kvm/vmstate.h"
#include "kvm/vmstate_features.h"
#include "kvm/vmstate_machine.h"

void machine_arrive(struct machine *m, const struct vmstate_parts *state)
{
	m->incoming = state;
}

void machine_arrive_from(struct machine *m, const struct vmstate_parts *state,
			 const struct hosts_window *window, bool stands)
{
	m->incoming = state;
	m->migrates = true;
	m->window = *window;
	m->stands = stands;
}

/* A file has no features: its CPUs are compared one by one when they are loaded. */
static int compare_features(const struct machine *m, const struct vmstate_parts *description,
			    struct why *why)
{
	const struct vmstate_cpu_ours ours = vmstate_ours(m->config);
	const struct vmstate_part *part = vmstate_parts_find(description, VMSTATE_FEATURES, 0);

	return part ? vmstate_features_compare(part, &m->vm, &m->vcpus[0], &ours, why) : 0;
}

int machine_prepare(struct machine *m, const struct vmstate_parts *description, struct why *why)
{
	int result;

	assert(m->arrival <= MACHINE_PREPARED && !m->powered);
	if (m->arrival != MACHINE_NOT_HERE)
		machine_tear_down(m); /* for another one, which has not come */
	m->arrival = MACHINE_NOT_HERE;
	result = vmstate_check(m->config, description, why);
	if (result == 0)
		result = machine_make(m, why);
	if (result == 0)
		result = vmstate_check_tsc(m, description, why);
	if (result == 0)
		result = compare_features(m, description, why);
	if (result == 0)
		result = machine_open(m, why);
	if (result < 0)
		machine_tear_down(m);
	else
		m->arrival = MACHINE_PREPARED;
	return result;
}

/* From the reading on by which its time was loaded: what is still to be done belongs to the gap. */
static int stand_still(struct machine *m, struct why *why)
{
	const struct pause_config config = machine_pause_config(m);

	return pause_begin_at(&m->pause, &config, &m->pause.from, &m->arrived.clock, why);
}

int machine_load(struct machine *m, struct why *why)
{
	int result = vmstate_check(m->config, m->incoming, why);

	if (result == 0)
		result = machine_power_on(m, why);
	if (result == 0)
		result = vmstate_load_cpus(m, why);
	if (result == 0)
		result = stand_still(m, why);
	if (result == 0)
		result = vmstate_load_board(m, why);
	if (result == 0)
		m->arrival = MACHINE_LOADED;
	return result;
}

int machine_finish(struct machine *m, struct why *why)
{
	int result = machine_make_threads(m, why);

	if (result < 0)
		return result;
	vmstate_load_memory(m);
	m->arrival = MACHINE_FINISHED;
	return 0;
}

int machine_arrived(struct machine *m, struct why *why)
{
	int result = 0;

	if (m->arrival < MACHINE_PREPARED)
		result = machine_prepare(m, m->incoming, why);
	if (result == 0 && m->arrival < MACHINE_LOADED)
		result = machine_load(m, why);
	if (result == 0 && m->arrival < MACHINE_FINISHED)
		result = machine_finish(m, why);
	return result;
}

/* Of the rest of the gap: what froze stands on; else as it was wished, by what its guest can still
 * take. */
static enum vmt_policy policy_of_the_rest(const struct machine *m, uint32_t first)
{
	if (first == VMT_POLICY_FREEZE)
		return VMT_POLICY_FREEZE;
	return m->migrates ? m->config->on_migrate : m->config->on_restore;
}

static void tell_of_two_parts(const struct machine *m, uint64_t first_ns, uint64_t rest_ns)
{
	struct why text;

	if (!m->watch)
		return;
	why_set(&text, 0,
		"the machine could not run before %" PRIu64 " ms after its time had gone on by "
		"%" PRIu64 " ms: its clocks stood still for these, since they cannot show both",
		rest_ns / 1000000, first_ns / 1000000);
	m->watch->notice(m->watch->owner, text.text);
}

int machine_end_gap(struct machine *m, struct why *why)
{
	struct chipset_change change = m->chipset.change, more;
	const bool froze = change.policy == VMT_POLICY_FREEZE;
	uint64_t limit_ns;
	uint32_t clock;
	int result;

	if (!m->pause.paused || m->stands)
		return 0;
	result = pause_end(&m->pause, policy_of_the_rest(m, change.policy), &more, &limit_ns,
			   &clock, why);
	if (result < 0)
		return result;
	if (more.policy == VMT_POLICY_FREEZE) /* the loop has begun anew */
		pvclock_owe(&m->pvclock, m->arrived.late_ns);
	if (froze || more.policy != VMT_POLICY_FREEZE)
		change.gap_ns += more.gap_ns;
	else
		tell_of_two_parts(m, change.gap_ns, more.gap_ns);
	change.at_ns = more.at_ns;
	change.after_ns = more.after_ns;
	change.utc_after_ns = more.utc_after_ns;
	chipset_tell(&m->chipset, &change);
	machine_begin_host(m, true);
	return 0;
}
