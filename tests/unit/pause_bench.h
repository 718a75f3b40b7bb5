/* SPDX-License-Identifier: Apache-2.0 */
/* pause_bench.h - a machine that stands still and goes on, on a bench without KVM: the test answers
 * for it. */
#ifndef TESTS_PAUSE_BENCH_H
#define TESTS_PAUSE_BENCH_H

#include <errno.h>
#include <linux/kvm.h>
#include <stdarg.h>
#include <sys/ioctl.h>
#include <time.h>

#include "kvm/pause.h"
#include "pvclock_bench.h"

enum { MSR_TSC_DEADLINE = 0x6e0, VCPU_FD = 1000 };
enum { LVTT = 0x320, INITIAL = 0x380, CURRENT = 0x390, IRR = 0x200 };
enum { ONE_SHOT = 0, PERIODIC = 1 << 17, DEADLINE = 2 << 17 };

enum { PERIOD = 400000000, SOON = 1000000 }; /* of 2 ns */

#define MS UINT64_C(1000000)

/* The KVM of each CPU. */
static struct kvm {
	uint64_t offset, deadline;
	uint64_t armed_offset; /* the offset when it was armed last */
	unsigned armed, entered, lapics_set;
	uint32_t left_set; /* at KVM_SET_LAPIC */
	unsigned gets;
	uint64_t ran_tsc; /* since when its timer counts down; 0: it does not */
	uint32_t ran_from;
	struct kvm_lapic_state lapic;
	bool forgets_offsets;
} kvm[CPUS];

static uint32_t host_khz;

struct one_msr {
	uint32_t nmsrs, pad;
	struct kvm_msr_entry entry;
};

static inline uint32_t *reg(struct kvm *k, unsigned at)
{
	return (uint32_t *)(void *)(k->lapic.regs + at);
}

/* What a timer of 2 ns a tick has left at a count of the host's TSC. */
static inline uint32_t left_at(const struct kvm *k, uint64_t tsc, uint32_t khz)
{
	uint32_t mode, initial;
	uint64_t ticks = (tsc - k->ran_tsc) * 1000 / (khz / 1000) / 2;

	memcpy(&mode, k->lapic.regs + LVTT, sizeof(mode));
	memcpy(&initial, k->lapic.regs + INITIAL, sizeof(initial));
	if (ticks < k->ran_from)
		return k->ran_from - (uint32_t)ticks;
	return mode & PERIODIC ? initial - (uint32_t)((ticks - k->ran_from) % initial) : 0;
}

/* KVM works out the count when it is asked, which may take it some time. */
static inline void get_lapic(struct kvm *k, void *ret_lapic)
{
	const struct timespec late = {.tv_nsec = 9000000};

	if (k->ran_tsc && k->gets++ == 0)
		nanosleep(&late, NULL);
	if (k->ran_tsc)
		*reg(k, CURRENT) = left_at(k, hostclock_tsc(), host_khz);
	memcpy(ret_lapic, &k->lapic, sizeof(k->lapic));
}

static inline int on_msr(struct kvm *k, unsigned long request, struct kvm_msr_entry *e)
{
	if (e->index != MSR_TSC_DEADLINE)
		return 1;
	if (request == KVM_GET_MSRS) {
		e->data = k->deadline;
		return 1;
	}
	k->armed += e->data != 0;
	k->armed_offset = k->offset;
	k->deadline = e->data;
	return 1;
}

/* In place of the C library's. */
int ioctl(int fd, unsigned long request, ...)
{
	struct kvm *k = &kvm[fd - VCPU_FD];
	struct kvm_device_attr *attr;
	va_list args;
	void *arg;

	va_start(args, request);
	arg = va_arg(args, void *);
	va_end(args);
	assert_in_range(fd, VCPU_FD, VCPU_FD + CPUS - 1);
	attr = arg;
	switch (request) {
	case KVM_SET_DEVICE_ATTR:
		if (!k->forgets_offsets)
			memcpy(&k->offset, (void *)(uintptr_t)attr->addr, sizeof(k->offset));
		return 0;
	case KVM_GET_DEVICE_ATTR:
		memcpy((void *)(uintptr_t)attr->addr, &k->offset, sizeof(k->offset));
		return 0;
	case KVM_GET_LAPIC:
		get_lapic(k, arg);
		return 0;
	case KVM_SET_LAPIC:
		memcpy(&k->lapic, arg, sizeof(k->lapic));
		k->ran_tsc = 0;
		k->left_set = *reg(k, CURRENT);
		k->lapics_set++;
		return 0;
	case KVM_RUN:
		k->entered++;
		*reg(k, IRR) = 1; /* what KVM owed */
		errno = EINTR;
		return -1;
	case KVM_SET_SIGNAL_MASK:
		return 0;
	default:
		return on_msr(k, request, &((struct one_msr *)arg)->entry);
	}
}

static struct vm vm = {.fd = -1, .kvm_fd = -1};
static struct steal no_steal;

static inline struct pause_config config_of(struct bench *b)
{
	return (struct pause_config){
		.chipset = b->chipset,
		.gate = &b->gate,
		.pvclock = &b->p,
		.steal = &no_steal,
		.vm = &vm,
		.vcpus = b->vcpus,
		.tsc = &b->tsc,
		.cpus = CPUS,
		.movable = true,
	};
}

static inline struct bench *standing_on(struct bench *b, struct pause *p)
{
	struct pause_config config = config_of(b);

	memset(kvm, 0, sizeof(kvm));
	for (int cpu = 0; cpu < CPUS; cpu++) {
		b->vcpus[cpu].fd = VCPU_FD + cpu;
		kvm[cpu].offset = OFFSET;
		kvm[cpu].deadline = 77;
		*reg(&kvm[cpu], LVTT) = DEADLINE;
	}
	assert_true(pvclock_wrmsr(&b->p, 1, VMT_MSR_KVM_SYSTEM, PAGE | 1));
	*p = (struct pause){0};
	assert_int_equal(pause_begin(p, &config, NULL), 0);
	assert_true(p->paused && b->gate.closed);
	return b;
}

static inline struct bench *standing(struct pause *p)
{
	return standing_on(bench(), p);
}

static inline void sleep_ms(unsigned ms)
{
	const struct timespec t = {.tv_nsec = (long)(ms * MS)};

	nanosleep(&t, NULL);
}

static inline struct chipset_change goes_on(struct pause *p, uint32_t policy)
{
	struct chipset_change change;
	uint64_t limit_ns;
	uint32_t clock;

	assert_int_equal(pause_end(p, policy, &change, &limit_ns, &clock, NULL), 0);
	assert_false(p->paused || p->config.gate->closed);
	return change;
}

/* Its timers count down from `left`, and the stop comes `ms` later; the threads came out of the
 * guest just before that, or before the timers began. */
static inline struct bench *counting_for(struct pause *p, uint32_t mode, uint32_t left, unsigned ms,
					 bool long_out)
{
	struct bench *b = bench();
	struct pause_config config = config_of(b);

	memset(kvm, 0, sizeof(kvm));
	host_khz = b->tsc.host.khz;
	for (int cpu = 0; cpu < CPUS; cpu++) {
		b->vcpus[cpu].fd = VCPU_FD + cpu;
		b->vcpus[cpu].left_tsc = hostclock_tsc();
		kvm[cpu].offset = OFFSET;
		*reg(&kvm[cpu], LVTT) = mode;
		*reg(&kvm[cpu], INITIAL) = PERIOD;
		*reg(&kvm[cpu], CURRENT) = kvm[cpu].ran_from = left;
		kvm[cpu].ran_tsc = left ? hostclock_tsc() : 0;
	}
	sleep_ms(ms);
	for (int cpu = 0; cpu < CPUS && !long_out; cpu++)
		b->vcpus[cpu].left_tsc = hostclock_tsc();
	*p = (struct pause){0};
	assert_int_equal(pause_begin(p, &config, NULL), 0);
	return b;
}

static inline struct bench *counting(struct pause *p, uint32_t mode, uint32_t left)
{
	return counting_for(p, mode, left, 0, false);
}

#endif
