/* SPDX-License-Identifier: Apache-2.0 */
/* vmstate_machine.c - which machine a state is the state of. */
#include "kvm/vmstate_machine.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "kvm/bytes.h"

enum { VERSION = 1, FIELDS = 16 };

/* In the order of their places in the part, 8 bytes each; a place never changes its meaning. */
static const struct {
	const char *option;
	const char *values[4]; /* of the contract with users; NULL: a number */
} fields[FIELDS] = {
	{"--memory", {NULL}},
	{"--cpus", {NULL}},
	{"--pit", {"none", "user", "kernel"}},
	{"--rtc", {"none", "pc", "exact"}},
	{"--pm-timer", {"off", "on"}},
	{"--hpet", {"off", "on"}},
	{"--kvm-clock", {"none", "kernel", "user"}},
	{"--steal", {"none", "kernel", "user"}},
	{"--ticks", {"discard", "catchup", "delay", "merge"}},
	{"--exit-port", {"off", "on"}},
	{"--invtsc", {"off", "on"}},
	{"--tsc portable", {"off", "on"}},
	{"--date", {"now", "a date of its own"}},
};

enum { COMPARED = 13, KHZ = 13 }; /* the TSC's frequency is compared with more care */

static void fill(const struct machine_config *c, uint32_t khz, uint64_t values[FIELDS])
{
	const uint64_t all[FIELDS] = {
		c->memory_bytes,  c->cpus,
		c->pit,           c->rtc,
		c->pm_timer,      c->hpet,
		c->kvm_clock,     c->kvm_clock == MACHINE_KVM_CLOCK_NONE ? 0 : c->steal,
		c->ticks,         c->exit_port,
		c->tsc.invariant, c->tsc.portable,
		c->has_date,      khz,
	};

	memcpy(values, all, sizeof(all));
}

int vmstate_machine_save(const struct machine_config *config, uint32_t khz,
			 struct vmstate_parts *parts, struct why *why)
{
	uint8_t bytes[FIELDS * 8];
	uint64_t values[FIELDS];

	fill(config, khz, values);
	for (int i = 0; i < FIELDS; i++)
		put64(bytes + (size_t)i * 8, values[i]);
	if (vmstate_parts_add(parts, VMSTATE_MACHINE, VERSION, 0, bytes, sizeof(bytes)) < 0)
		return why_set(why, -ENOMEM, "no memory for the machine's state");
	return 0;
}

static const char *word(unsigned field, uint64_t value, char *buf, size_t size)
{
	if (fields[field].values[0] && value < 4 && fields[field].values[value])
		return fields[field].values[value];
	snprintf(buf, size, "%" PRIu64, value);
	return buf;
}

int vmstate_machine_compare(const struct machine_config *config, const struct vmstate_part *part,
			    struct why *why)
{
	uint64_t values[FIELDS];
	char was[24], is[24];

	if (part->version != VERSION)
		return why_set(why, -ENOTSUP,
			       "the machine's description has version %u, which this vmtime does "
			       "not know (use a later one)",
			       part->version);
	if (part->length != sizeof(values))
		return why_set(why, -EINVAL,
			       "the machine's description is none that vmtime has written");
	fill(config, 0, values);
	for (unsigned i = 0; i < COMPARED; i++) {
		uint64_t saved = get64(part->bytes + (size_t)i * 8);

		if (saved != values[i])
			return why_set(why, -EINVAL,
				       "%s was %s and is %s (give the options that the machine was "
				       "run with)",
				       fields[i].option, word(i, saved, was, sizeof(was)),
				       word(i, values[i], is, sizeof(is)));
	}
	return 0;
}

uint32_t vmstate_machine_khz(const struct vmstate_part *part)
{
	return (uint32_t)get64(part->bytes + KHZ * 8);
}

static bool has(const struct machine_config *config, const struct vmstate_part *part)
{
	switch (part->kind) {
	case VMSTATE_CPU:
		return part->index < config->cpus;
	case VMSTATE_KVMCLOCK:
	case VMSTATE_TAKEN:
		return part->index == 0 && config->kvm_clock == MACHINE_KVM_CLOCK_USER;
	case VMSTATE_STEAL:
		return part->index == 0 && config->steal == MACHINE_STEAL_USER;
	default:
		return part->index == 0;
	}
}

int vmstate_machine_has(const struct machine_config *config, const struct vmstate_parts *parts,
			struct why *why)
{
	for (uint32_t i = 0; i < parts->n; i++)
		if (!has(config, &parts->parts[i]))
			return why_set(why, -EINVAL,
				       "the machine has state of kind %" PRIu32
				       " and index %" PRIu32
				       " that such a one has not (take an intact copy of it)",
				       parts->parts[i].kind, parts->parts[i].index);
	return 0;
}
