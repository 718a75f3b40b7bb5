/* SPDX-License-Identifier: Apache-2.0 */
/* vmstate_cpu.c - a CPU's registers as bytes, saved. */
#include "kvm/vmstate_cpu.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include <vmtime/kvmclock.h>
#include <vmtime/steal.h>
#include <vmtime/tsc.h>

#include "kvm/bytes.h"
#include "kvm/cpuid.h"
#include "kvm/vmstate_msrs.h"

enum { VERSION = 1, HEAD = 8, PAD = 8 };
enum { LEAF_XSAVE = 0xd, XSTATE_BV = 512, X87_AND_SSE = 3 };

/* The files' layout is theirs. */
static_assert(sizeof(struct kvm_regs) == 144 && sizeof(struct kvm_sregs) == 312, "KVM's promise");
static_assert(sizeof(struct kvm_sregs2) == 320 && sizeof(struct kvm_xcrs) == 392, "KVM's promise");
static_assert(sizeof(struct kvm_xsave) == 4096 && sizeof(struct kvm_msr_entry) == 16,
	      "KVM's promise");
static_assert(sizeof(struct kvm_lapic_state) == 1024 && sizeof(struct kvm_vcpu_events) == 64,
	      "KVM's promise");
static_assert(sizeof(struct kvm_debugregs) == 128 && sizeof(struct kvm_mp_state) == 4,
	      "KVM's promise");
static_assert(sizeof(struct kvm_cpuid_entry2) == 40, "KVM's promise");

/* Bytes of a record; 0: any. */
static const uint32_t sizes[VMSTATE_CPU_RECORDS] = {
	[VMSTATE_CPU_REGS] = sizeof(struct kvm_regs),
	[VMSTATE_CPU_SREGS] = sizeof(struct kvm_sregs),
	[VMSTATE_CPU_SREGS2] = sizeof(struct kvm_sregs2),
	[VMSTATE_CPU_XCRS] = sizeof(struct kvm_xcrs),
	[VMSTATE_CPU_LAPIC] = sizeof(struct kvm_lapic_state),
	[VMSTATE_CPU_DEADLINE] = sizeof(uint64_t),
	[VMSTATE_CPU_EVENTS] = sizeof(struct kvm_vcpu_events),
	[VMSTATE_CPU_DEBUGREGS] = sizeof(struct kvm_debugregs),
	[VMSTATE_CPU_MP_STATE] = sizeof(struct kvm_mp_state),
};

/* What is being written. */
struct record {
	uint8_t *bytes;
	size_t used, room;
	bool no_memory;
};

static void add(struct record *r, uint32_t what, const void *bytes, size_t length)
{
	size_t padded = (length + PAD - 1) / PAD * PAD;

	if (r->used + HEAD + padded > r->room) {
		size_t room = (r->used + HEAD + padded) * 2;
		uint8_t *more = realloc(r->bytes, room);

		if (!more) {
			r->no_memory = true;
			return;
		}
		r->bytes = more;
		r->room = room;
	}
	put32(r->bytes + r->used, what);
	put32(r->bytes + r->used + 4, (uint32_t)length);
	memset(r->bytes + r->used + HEAD, 0, padded);
	memcpy(r->bytes + r->used + HEAD, bytes, length);
	r->used += HEAD + padded;
}

static int refused(const struct vcpu *v, struct why *why, const char *what)
{
	return why_set(why, -EIO, "KVM refused to tell CPU %u's %s: %s", v->cpu, what,
		       strerror(errno));
}

/* One that has a struct of fixed size. */
static int save_struct(const struct vcpu *v, struct record *r, uint32_t what, unsigned long request,
		       const char *name, struct why *why)
{
	static_assert(sizeof(struct kvm_lapic_state) == 1024, "the largest of them");
	uint64_t bytes[sizeof(struct kvm_lapic_state) / 8] = {0};

	if (ioctl(v->fd, request, bytes) < 0)
		return refused(v, why, name);
	add(r, what, bytes, sizes[what]);
	return 0;
}

/* With AMX it is larger than it was once made for. */
uint32_t vmstate_cpu_xsave(const struct vm *vm)
{
	const uint32_t least = sizeof(struct kvm_xsave);
	const uint32_t larger = (uint32_t)vm_capability(vm, KVM_CAP_XSAVE2);

	return larger > least && larger <= VMSTATE_CPU_XSAVE_MAX ? larger : least;
}

int vmstate_cpu_features(const struct vcpu *v, struct cpuid_table **ret_table, struct why *why)
{
	static const struct kvm_cpuid_entry2 none;
	struct cpuid_table *table = calloc(1, sizeof(*table));

	*ret_table = NULL;
	if (!table)
		return why_set(why, -ENOMEM, "no memory for a CPU's features");
	table->nent = CPUID_MAX_ENTRIES;
	if (ioctl(v->fd, KVM_GET_CPUID2, table) < 0) {
		const int result = refused(v, why, "features");

		free(table);
		return result;
	}
	/* Linux 6.1 leaves the number as it was: what is behind the last one is still 0. */
	while (table->nent > 1 &&
	       memcmp(&table->entries[table->nent - 1], &none, sizeof(none)) == 0)
		table->nent--;
	*ret_table = table;
	return 0;
}

/* Components that the guest is not shown hold what is the host's: older kernels tell of its PKRU,
 * say, which a KVM without it refuses (arch/x86/kvm/x86.c, kvm_vcpu_ioctl_x86_get_xsave2()). */
static int forget_unseen(const struct vcpu *v, uint8_t *xsave, struct why *why)
{
	struct cpuid_table *table;
	int result = vmstate_cpu_features(v, &table, why);
	const struct kvm_cpuid_entry2 *e = result == 0 ? cpuid_find(table, LEAF_XSAVE, 0) : NULL;

	if (e) {
		put32(xsave + XSTATE_BV, get32(xsave + XSTATE_BV) & (e->eax | X87_AND_SSE));
		put32(xsave + XSTATE_BV + 4, get32(xsave + XSTATE_BV + 4) & e->edx);
	}
	free(table);
	return result;
}

static int save_xsave(const struct vm *vm, const struct vcpu *v, struct record *r, struct why *why)
{
	const uint32_t size = vmstate_cpu_xsave(vm);
	void *bytes = calloc(1, size);
	int result = 0;

	if (!bytes)
		return why_set(why, -ENOMEM, "no memory for a CPU's state");
	if (ioctl(v->fd, size > sizeof(struct kvm_xsave) ? KVM_GET_XSAVE2 : KVM_GET_XSAVE, bytes) <
	    0)
		result = refused(v, why, "FPU");
	else
		result = forget_unseen(v, bytes, why);
	if (result == 0)
		add(r, VMSTATE_CPU_XSAVE, bytes, size);
	free(bytes);
	return result;
}

static int save_cpuid(const struct vcpu *v, struct record *r, struct why *why)
{
	struct cpuid_table *table;
	int result = vmstate_cpu_features(v, &table, why);

	if (result == 0)
		add(r, VMSTATE_CPU_CPUID, table->entries,
		    table->nent * sizeof(struct kvm_cpuid_entry2));
	free(table);
	return result;
}

static int save_msrs(const struct vm *vm, const struct vcpu *v, const struct vmstate_cpu_ours *ours,
		     struct record *r, struct why *why)
{
	struct vmstate_msrs *msrs;
	int result = vmstate_msrs_read(vm, v, ours->kvm_clock, ours->steal, &msrs, why);

	if (result < 0)
		return result;
	add(r, VMSTATE_CPU_MSRS, msrs->entries, msrs->n * sizeof(struct kvm_msr_entry));
	free(msrs);
	return 0;
}

static int save_lapic(const struct vcpu *v, struct record *r, const struct lapic_timer *timer,
		      struct why *why)
{
	struct kvm_lapic_state lapic;
	uint64_t deadline = timer->deadline;

	if (ioctl(v->fd, KVM_GET_LAPIC, &lapic) < 0)
		return refused(v, why, "local APIC");
	lapic_held(timer, &lapic);
	add(r, VMSTATE_CPU_LAPIC, &lapic, sizeof(lapic));
	/* One that came before the stop is still KVM's; 0 also where there is none. */
	if (deadline || (vcpu_get_msr(v, VMSTATE_MSR_DEADLINE, &deadline) && deadline))
		add(r, VMSTATE_CPU_DEADLINE, &deadline, sizeof(deadline));
	return 0;
}

int vmstate_cpu_save(const struct vm *vm, const struct vcpu *v, const struct vmstate_cpu_ours *ours,
		     const struct lapic_timer *timer, struct vmstate_parts *parts, struct why *why)
{
	bool sregs2 = vm_capability(vm, KVM_CAP_SREGS2) > 0;
	const struct {
		uint32_t what;
		unsigned long request;
		const char *name;
	} structs[] = {
		{VMSTATE_CPU_REGS, KVM_GET_REGS, "registers"},
		{sregs2 ? VMSTATE_CPU_SREGS2 : VMSTATE_CPU_SREGS,
		 sregs2 ? KVM_GET_SREGS2 : KVM_GET_SREGS, "segments"},
		{VMSTATE_CPU_XCRS, KVM_GET_XCRS, "XCR0"},
		{VMSTATE_CPU_DEBUGREGS, KVM_GET_DEBUGREGS, "debug registers"},
		/* It settles what the next one tells (a SIPI that has been seen). */
		{VMSTATE_CPU_MP_STATE, KVM_GET_MP_STATE, "run state"},
		{VMSTATE_CPU_EVENTS, KVM_GET_VCPU_EVENTS, "pending events"},
	};
	struct record r = {0};
	int result = 0;

	for (size_t i = 0; i < sizeof(structs) / sizeof(structs[0]) && result == 0; i++)
		result = save_struct(v, &r, structs[i].what, structs[i].request, structs[i].name,
				     why);
	if (result == 0)
		result = save_xsave(vm, v, &r, why);
	if (result == 0)
		result = save_cpuid(v, &r, why);
	if (result == 0)
		result = save_msrs(vm, v, ours, &r, why);
	if (result == 0)
		result = save_lapic(v, &r, timer, why);
	if (result == 0 && (r.no_memory || vmstate_parts_add(parts, VMSTATE_CPU, VERSION, v->cpu,
							     r.bytes, (uint32_t)r.used) < 0))
		result = why_set(why, -ENOMEM, "no memory for a CPU's state");
	free(r.bytes);
	return result;
}

static int damaged(const struct vmstate_part *part, struct why *why)
{
	return why_set(why, -EINVAL, "the state of CPU %u is none that vmtime has written",
		       part->index);
}

static bool fits(uint32_t what, uint32_t length)
{
	switch (what) {
	case VMSTATE_CPU_CPUID:
		return length % sizeof(struct kvm_cpuid_entry2) == 0;
	case VMSTATE_CPU_MSRS:
		return length % sizeof(struct kvm_msr_entry) == 0;
	case VMSTATE_CPU_XSAVE:
		return length >= sizeof(struct kvm_xsave) && length <= VMSTATE_CPU_XSAVE_MAX;
	default:
		return length == sizes[what];
	}
}

static bool complete(const struct vmstate_cpu *s)
{
	for (uint32_t what = 1; what < VMSTATE_CPU_RECORDS; what++)
		if (!s->record[what].bytes && what != VMSTATE_CPU_DEADLINE &&
		    what != VMSTATE_CPU_SREGS && what != VMSTATE_CPU_SREGS2)
			return false;
	return !s->record[VMSTATE_CPU_SREGS].bytes != !s->record[VMSTATE_CPU_SREGS2].bytes;
}

static int check_msrs(const struct vmstate_part *part, const struct vmstate_cpu *s,
		      const struct vmstate_cpu_ours *ours, struct why *why)
{
	uint32_t n = s->record[VMSTATE_CPU_MSRS].length / (uint32_t)sizeof(struct kvm_msr_entry);
	uint32_t msr;

	if (vmstate_msrs_fit(s->record[VMSTATE_CPU_MSRS].bytes, n, ours->kvm_clock, ours->steal,
			     &msr))
		return 0;
	return why_set(why, -EINVAL,
		       "the state of CPU %u has register 0x%x, which vmtime never writes there",
		       part->index, msr);
}

int vmstate_cpu_parse(const struct vmstate_part *part, const struct vmstate_cpu_ours *ours,
		      struct vmstate_cpu *ret_state, struct why *why)
{
	struct vmstate_cpu s = {0};
	uint32_t at = 0;

	if (part->version != VERSION)
		return why_set(why, -ENOTSUP,
			       "the state of CPU %u has version %u, which this vmtime does not "
			       "know (use a later one)",
			       part->index, part->version);
	while (part->length - at >= HEAD) {
		uint32_t what = get32(part->bytes + at), length = get32(part->bytes + at + 4);
		uint64_t padded = ((uint64_t)length + PAD - 1) / PAD * PAD;

		if (what < 1 || what >= VMSTATE_CPU_RECORDS || s.record[what].bytes ||
		    padded > part->length - at - HEAD || !fits(what, length))
			return damaged(part, why);
		s.record[what].bytes = part->bytes + at + HEAD;
		s.record[what].length = length;
		at += HEAD + (uint32_t)padded;
	}
	if (at != part->length || !complete(&s))
		return damaged(part, why);
	*ret_state = s;
	return check_msrs(part, &s, ours, why);
}
