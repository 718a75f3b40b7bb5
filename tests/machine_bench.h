/* SPDX-License-Identifier: Apache-2.0 */
/* machine_bench.h - a machine that stands still, the same in every run, on a KVM that is none. */
#ifndef TESTS_MACHINE_BENCH_H
#define TESTS_MACHINE_BENCH_H

#include <errno.h>
#include <linux/kvm.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <cmocka.h>

#include "host/hostclock.h"
#include "kvm/machine_impl.h"
#include "kvm/vmstate.h"

enum { BENCH_KVM = 1000, BENCH_VM, BENCH_CPU, BENCH_CPUS = 2 };

#define BENCH_SIZE (16U << 20)

/* What KVM was asked. */
static struct {
	unsigned settled;     /* CPUs that were in KVM_RUN */
	unsigned asked_early; /* what is saved, before all of them had been */
	uint64_t clock_ns;    /* that was set */
	uint64_t clock_late;  /* ... so many counts later; 0: KVM does not tell when it was */
	uint64_t clock_tsc;
	uint64_t waits_for; /* each CPU's TSC deadline; one that it has in KVM_RUN gets lost */
	uint64_t deadlines[BENCH_CPUS];
	unsigned armed_in_run;
	uint32_t flags[2];     /* of its memory's slots */
	int by_hand;           /* KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2 */
	uint64_t enabled;      /* of that */
	unsigned long refuses; /* this request */
} bench;

/* What KVM tells: each byte depends on its place and on the question. */
static inline void bench_fill(void *to, size_t size, unsigned long request)
{
	for (size_t i = 0; i < size; i++)
		((uint8_t *)to)[i] = (uint8_t)(request * 7 + i * 31 + (i >> 8));
}

static inline int bench_msrs(struct kvm_msrs *msrs)
{
	for (uint32_t i = 0; i < msrs->nmsrs; i++)
		msrs->entries[i].data = msrs->entries[i].index * UINT64_C(3000000007);
	return (int)msrs->nmsrs;
}

static inline int bench_deadline(unsigned cpu, unsigned long request, struct kvm_msrs *msrs)
{
	if (request == KVM_GET_MSRS)
		msrs->entries[0].data = bench.deadlines[cpu];
	else
		bench.deadlines[cpu] = msrs->entries[0].data;
	return 1;
}

static inline bool bench_is_deadline(unsigned long request, const struct kvm_msrs *msrs)
{
	return bench.waits_for && (request == KVM_GET_MSRS || request == KVM_SET_MSRS) &&
	       msrs->nmsrs == 1 && msrs->entries[0].index == 0x6e0;
}

static inline int bench_serve(unsigned long request, void *arg)
{
	struct kvm_msr_list *list = arg;
	struct kvm_cpuid2 *table = arg;
	struct kvm_irqchip *chip = arg;
	const struct kvm_userspace_memory_region *slot = arg;

	switch (request) {
	case KVM_GET_MSRS:
		return bench_msrs(arg);
	case KVM_SET_MSRS:
		return (int)((struct kvm_msrs *)arg)->nmsrs;
	case KVM_GET_MSR_INDEX_LIST:
		list->nmsrs = 3;
		memcpy(list->indices, (uint32_t[]){0x10, 0x174, 0xc0000081}, 3 * 4);
		return 0;
	case KVM_GET_CPUID2:
		table->nent = 2;
		bench_fill(table->entries, 2 * sizeof(table->entries[0]), request);
		return 0;
	case KVM_GET_IRQCHIP:
		bench_fill(&chip->chip, sizeof(chip->chip), request + chip->chip_id);
		return 0;
	case KVM_SET_CLOCK:
		bench.clock_ns = ((struct kvm_clock_data *)arg)->clock;
		bench.clock_tsc = hostclock_tsc() + bench.clock_late;
		return 0;
	case KVM_GET_CLOCK:
		*(struct kvm_clock_data *)arg =
			(struct kvm_clock_data){.clock = bench.clock_ns,
						.flags = bench.clock_late ? KVM_CLOCK_HOST_TSC : 0,
						.host_tsc = bench.clock_tsc};
		return 0;
	case KVM_SET_USER_MEMORY_REGION:
		bench.flags[slot->slot] = slot->flags;
		return 0;
	case KVM_GET_DIRTY_LOG: /* its guest does nothing */
		memset(((struct kvm_dirty_log *)arg)->dirty_bitmap, 0,
		       BENCH_SIZE / MEMORY_PAGE / 8);
		return 0;
	case KVM_ENABLE_CAP:
		bench.enabled = ((struct kvm_enable_cap *)arg)->args[0];
		return 0;
	case KVM_CHECK_EXTENSION:
		return (uintptr_t)arg == KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2 ? bench.by_hand : 0;
	default:
		if (_IOC_DIR(request) == _IOC_READ)
			bench_fill(arg, _IOC_SIZE(request), request);
		return 0;
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
	if (_IOC_TYPE(request) != KVMIO) {
		assert_true(fd < BENCH_KVM);
		return (int)syscall(SYS_ioctl, fd, request, arg); /* a socket's */
	}
	assert_in_range(fd, BENCH_KVM, BENCH_CPU + BENCH_CPUS - 1);
	if (request == bench.refuses) {
		errno = EIO;
		return -1;
	}
	if (request == KVM_RUN) {
		__atomic_add_fetch(&bench.settled, 1, __ATOMIC_SEQ_CST);
		if (bench.deadlines[fd - BENCH_CPU])
			__atomic_add_fetch(&bench.armed_in_run, 1, __ATOMIC_SEQ_CST);
		errno = EINTR;
		return -1;
	}
	if (request == KVM_GET_REGS || request == KVM_GET_VCPU_EVENTS || request == KVM_GET_IRQCHIP)
		bench.asked_early += bench.settled < BENCH_CPUS;
	return bench_is_deadline(request, arg)
		       ? bench_deadline((unsigned)(fd - BENCH_CPU), request, arg)
		       : bench_serve(request, arg);
}

static inline struct vmt_clock bench_clock(void)
{
	const struct vmt_reading start = {.counter = 1000, .utc_ns = INT64_C(1750000000000000000)};
	struct vmt_clock clock;

	assert_int_equal(vmt_clock_start(1000000000, &start, &clock, NULL), 0);
	assert_int_equal(vmt_clock_pause(&clock, 5000001000, &clock, NULL), 0);
	return clock;
}

/* It has run for 5 s; its clocks are vmtime's own, its PIT is KVM's. */
static inline struct machine *bench_new(void)
{
	static const struct machine_config config = {
		.cpus = BENCH_CPUS,
		.memory_bytes = BENCH_SIZE,
		.pit = MACHINE_PIT_KERNEL,
		.rtc = MACHINE_RTC_PC,
		.hpet = true,
		.kvm_clock = MACHINE_KVM_CLOCK_USER,
		.steal = MACHINE_STEAL_USER,
	};
	static const struct vmt_board_config board = {
		.faces = VMT_HAS_RTC | VMT_HAS_HPET,
		.pm1a_port = 0x600,
		.pmtmr_port = 0x608,
		.pmtmr_bits = 24,
		.hpet_routes = 0xf << 20,
		.hpet_address = 0xfed00000,
	};
	const struct vmt_tsc_host host = {.khz = 2500000, .tolerance_ppm = 250};
	const struct vmt_clock clock = bench_clock();
	struct machine *m = calloc(1, sizeof(*m));

	memset(&bench, 0, sizeof(bench));
	m->config = &config;
	m->vm = (struct vm){.kvm_fd = BENCH_KVM, .fd = BENCH_VM, .kernel_pit = true};
	assert_int_equal(chipset_init(&m->chipset, &board, &clock, false, NULL), 0);
	ports_init(&m->ports, &m->chipset, false);
	assert_int_equal(vmt_tsc_init(&m->tsc, BENCH_CPUS, &host), 0);
	vmt_tsc_set(&m->tsc, 77, UINT64_C(123456789012));
	assert_int_equal(vmt_kvmclock_init(&m->pvclock.face, BENCH_CPUS), 0);
	assert_int_equal(vmt_steal_init(&m->steal.face, BENCH_CPUS), 0);
	m->vcpus = calloc(BENCH_CPUS, sizeof(*m->vcpus));
	m->n_vcpus = BENCH_CPUS;
	for (uint32_t i = 0; i < BENCH_CPUS; i++) {
		m->vcpus[i] = (struct vcpu){.cpu = i, .fd = BENCH_CPU + (int)i, .parked = true};
		m->vcpus[i].run = calloc(1, sizeof(struct kvm_run));
	}
	m->pause.paused = true;
	m->pause.config.chipset = &m->chipset;
	m->pause.config.pvclock = &m->pvclock;
	m->pause.tsc_count = UINT64_MAX / 2;
	m->pause.from.tsc = 77;
	m->pause.from.at.utc_ns = INT64_C(1750000005000000000);
	assert_int_equal(hostclock_beside(20, &m->pause.from.beside), 0); /* no step since */
	return m;
}

/* The guest sees vmtime's kvm-clock, and no CPU runs; its memory is the caller's. */
static inline void bench_show_clock(struct machine *m)
{
	gate_init(&m->gate);
	gate_shut(&m->gate);
	pthread_mutex_init(&m->pvclock.lock, NULL);
	m->pvclock.config = (struct pvclock_config){
		.chipset = &m->chipset,
		.gate = &m->gate,
		.memory = &m->memory,
		.vcpus = m->vcpus,
		.cpus = BENCH_CPUS,
		.tsc = &m->tsc,
		.shown = true,
	};
}

static inline void bench_free(struct machine *m)
{
	for (uint32_t i = 0; i < BENCH_CPUS; i++) {
		free(m->vcpus[i].run);
		free(m->vcpus[i].unseen);
	}
	free(m->vcpus);
	ports_destroy(&m->ports);
	chipset_destroy(&m->chipset);
	free(m);
}

static inline struct vmstate_parts bench_save(struct machine *m)
{
	struct vmstate_parts parts = {0};
	struct why why = {""};

	if (vmstate_save(m, &parts, &why) < 0)
		fail_msg("%s", why.text);
	return parts;
}

#endif
