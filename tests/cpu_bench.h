/* SPDX-License-Identifier: Apache-2.0 */
/* cpu_bench.h - a CPU that is saved and one that it is loaded into, each with a KVM of its own that
 * has random registers; for unit tests.  It takes ioctl()'s place. */
#ifndef CPU_BENCH_H
#define CPU_BENCH_H

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <cmocka.h>

#include "kvm/bytes.h"
#include "kvm/vmstate_cpu.h"
#include "kvm/vmstate_msrs.h"
#include "random.h"

enum { KVM_FD = 900, VM_FD = 950, OLD_FD = 1000, NEW_FD, CPUS = 2 };
enum { LVTT = 0x320, INITIAL = 0x380, CURRENT = 0x390, DIVIDE = 0x3e0, REQUESTS = 0x200 };
enum { MSRS = 300, GONE = 140, READ_ONLY = 150, LEAVES = 3 };

#define STAR 0xc0000081U

/* A CPU as KVM has it. */
static struct fake {
	struct kvm_regs regs;
	struct kvm_sregs sregs;
	struct kvm_sregs2 sregs2;
	uint8_t xsave[8192];
	struct kvm_xcrs xcrs;
	uint64_t msrs[MSRS]; /* STAR and on */
	uint64_t deadline;
	struct kvm_lapic_state lapic;
	struct kvm_vcpu_events events;
	struct kvm_debugregs debugregs;
	struct kvm_mp_state mp_state;
	struct kvm_cpuid_entry2 leaves[LEAVES];
} cpus[CPUS];

static struct {
	bool sregs2, drops_deadline;
	uint64_t promises;       /* IA32_ARCH_CAPABILITIES */
	bool more;               /* the new one has all registers */
	bool keeps_nent;         /* as Linux 6.1 does */
	size_t xsave;            /* 0: no KVM_CAP_XSAVE2 */
	unsigned long refuses;   /* this request */
	unsigned long order[32]; /* what was set */
	unsigned n;
} kvm;

struct batch {
	uint32_t nmsrs, pad;
	struct kvm_msr_entry entries[256];
};

static int list_msrs(struct kvm_msr_list *l)
{
	static const uint32_t others[] = {0x10,       0x3b,       0x6e0,      0x11,      0x12,
					  0x4b564d00, 0x4b564d01, 0x4b564d03, 0x40000020};
	const uint32_t n = sizeof(others) / sizeof(others[0]);

	assert_true(l->nmsrs >= MSRS + n);
	l->nmsrs = MSRS + n;
	memcpy(l->indices, others, sizeof(others));
	for (uint32_t i = 0; i < MSRS; i++)
		l->indices[n + i] = STAR + i;
	return 0;
}

/* The register, or NULL: there is none such. */
static uint64_t *msr(struct fake *f, uint32_t index, bool write)
{
	uint32_t n = index - STAR;

	if (index == 0x6e0)
		return &f->deadline;
	if (index == 0x10a)
		return &kvm.promises;
	if (n >= MSRS)
		fail_msg("MSR 0x%x is none of KVM's business", index);
	return (n == GONE && !(kvm.more && f == &cpus[1])) || (write && n == READ_ONLY)
		       ? NULL
		       : &f->msrs[n];
}

static int move_msrs(struct fake *f, struct batch *b, bool write)
{
	assert_true(b->nmsrs < 256);
	for (uint32_t i = 0; i < b->nmsrs; i++) {
		uint64_t *value = msr(f, b->entries[i].index, write);

		if (!value)
			return (int)i;
		if (!write)
			b->entries[i].data = *value;
		else if (value != &f->deadline || !kvm.drops_deadline)
			*value = b->entries[i].data;
	}
	return (int)b->nmsrs;
}

static int get_cpuid(struct fake *f, struct kvm_cpuid2 *table)
{
	assert_true(table->nent >= LEAVES);
	if (!kvm.keeps_nent)
		table->nent = LEAVES;
	memcpy(table->entries, f->leaves, sizeof(f->leaves));
	return 0;
}

static int set_cpuid(struct fake *f, const struct kvm_cpuid2 *table)
{
	assert_int_equal(table->nent, LEAVES);
	assert_true(kvm.n < 32);
	kvm.order[kvm.n++] = KVM_SET_CPUID2;
	memcpy(f->leaves, table->entries, sizeof(f->leaves));
	return 0;
}

static int get(void *to, const void *from, size_t size)
{
	memcpy(to, from, size);
	return 0;
}

static int set(unsigned long request, void *to, const void *from, size_t size)
{
	assert_true(kvm.n < 32);
	kvm.order[kvm.n++] = request;
	memcpy(to, from, size);
	return 0;
}

static int capability(unsigned long cap)
{
	return cap == KVM_CAP_SREGS2 ? kvm.sregs2 : cap == KVM_CAP_XSAVE2 ? (int)kvm.xsave : 0;
}

static int serve(struct fake *f, unsigned long request, void *arg)
{
	size_t xsave = request == KVM_GET_XSAVE || !kvm.xsave ? 4096 : kvm.xsave;

	switch (request) {
#define GET_AND_SET(NAME, field)                              \
	case KVM_GET_##NAME:                                  \
		return get(arg, &f->field, sizeof(f->field)); \
	case KVM_SET_##NAME:                                  \
		return set(request, &f->field, arg, sizeof(f->field));
		GET_AND_SET(REGS, regs)
		GET_AND_SET(SREGS, sregs)
		GET_AND_SET(SREGS2, sregs2)
		GET_AND_SET(XCRS, xcrs)
		GET_AND_SET(LAPIC, lapic)
		GET_AND_SET(VCPU_EVENTS, events)
		GET_AND_SET(DEBUGREGS, debugregs)
		GET_AND_SET(MP_STATE, mp_state)
	case KVM_GET_XSAVE:
	case KVM_GET_XSAVE2:
		return get(arg, f->xsave, xsave);
	case KVM_SET_XSAVE:
		return set(request, f->xsave, arg, xsave);
	case KVM_GET_CPUID2:
		return get_cpuid(f, arg);
	case KVM_SET_CPUID2:
		return set_cpuid(f, arg);
	case KVM_GET_MSRS:
		return move_msrs(f, arg, false);
	case KVM_SET_MSRS:
		if (kvm.n < 32)
			kvm.order[kvm.n++] = request;
		return move_msrs(f, arg, true);
	default:
		fail_msg("nobody asks KVM for 0x%lx", request);
		return -1;
	}
}

/* In place of the C library's. */
int ioctl(int fd, unsigned long request, ...)
{
	va_list args;
	void *arg;

	va_start(args, request);
	arg = va_arg(args, void *);
	va_end(args);
	if (request == kvm.refuses) {
		errno = EINVAL;
		return -1;
	}
	if (request == KVM_CHECK_EXTENSION)
		return capability((unsigned long)(uintptr_t)arg);
	if (request == KVM_GET_MSR_INDEX_LIST) {
		assert_int_equal(fd, KVM_FD);
		return list_msrs(arg);
	}
	assert_in_range(fd, OLD_FD, NEW_FD);
	return serve(&cpus[fd - OLD_FD], request, arg);
}

static const struct vm vm = {.kvm_fd = KVM_FD, .fd = VM_FD};
static const struct vcpu old = {.cpu = 3, .fd = OLD_FD};
static struct vcpu new = {.cpu = 3, .fd = NEW_FD};
static const struct vmstate_cpu_ours ours = {.kvm_clock = true, .steal = true};

/* Every bit of the old CPU is something; the new one is of the same kind. */
static const struct lapic_timer none;

static void start(struct random *random)
{
	uint8_t *bytes = (uint8_t *)&cpus[0];

	memset(&kvm, 0, sizeof(kvm));
	memset(cpus, 0, sizeof(cpus));
	for (size_t i = 0; i < sizeof(cpus[0]); i++)
		bytes[i] = (uint8_t)random_next(random);
	for (uint32_t i = 0; i < LEAVES; i++) {
		cpus[0].leaves[i].function = i == 2 ? 0xd : i;
		cpus[0].leaves[i].index = 0;
	}
	cpus[0].leaves[2].eax = cpus[0].leaves[2].edx = 0xffffffff; /* all that XSAVE may save */
	memcpy(cpus[1].leaves, cpus[0].leaves, sizeof(cpus[0].leaves));
	cpus[0].msrs[READ_ONLY] = cpus[1].msrs[READ_ONLY] = 99;
	cpus[0].msrs[GONE] = 0;
	put32((uint8_t *)cpus[0].lapic.regs + LVTT, 2 << 17); /* TSC deadline */
}

/* *timer: what was held meanwhile; NULL: nothing. */
static struct vmstate_parts save(const struct lapic_timer *timer)
{
	struct vmstate_parts parts = {0};
	struct why why = {""};

	if (vmstate_cpu_save(&vm, &old, &ours, timer ? timer : &none, &parts, &why) < 0)
		fail_msg("%s", why.text);
	assert_int_equal(parts.n, 1);
	assert_int_equal(parts.parts[0].kind, VMSTATE_CPU);
	assert_int_equal(parts.parts[0].index, 3);
	return parts;
}

static int load(const struct vmstate_parts *parts, uint64_t gap_ns, struct why *why)
{
	struct vmstate_cpu s;
	int result = vmstate_cpu_parse(&parts->parts[0], &ours, &s, why);

	kvm.n = 0;
	if (result == 0)
		result = vmstate_cpu_show(&new, &s, why);
	if (result == 0)
		result = vmstate_cpu_load_registers(&new, &s, why);
	if (result == 0)
		result = vmstate_cpu_load_msrs(&new, &s, why);
	if (result == 0)
		result = vmstate_cpu_go_on(&vm, &new, &ours, &s, why);
	if (result == 0)
		result = vmstate_cpu_load_lapic(&new, &s, gap_ns, why);
	if (result == 0)
		result = vmstate_cpu_load_deadline(&new, &s, why);
	if (result == 0)
		result = vmstate_cpu_load_events(&new, &s, why);
	return result;
}

#endif
