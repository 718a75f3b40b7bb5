/* SPDX-License-Identifier: Apache-2.0 */
/* pvclock_bench.h - a kvm-clock with its chipset, gate and memory on a bench without KVM; nobody
 * runs its vCPUs but threads of the test. */
#ifndef TESTS_PVCLOCK_BENCH_H
#define TESTS_PVCLOCK_BENCH_H

#include <pthread.h>
#include <sched.h>
#include <string.h>

#include "chipset_bench.h"
#include "kvm/pvclock.h"
#include "kvmclock_guest.h"

#define NS_PER_S UINT64_C(1000000000)
#define OFFSET UINT64_C(0xffffff0000000000) /* the guest's TSC is not the host's */
#define MEMORY_BYTES MEMORY_MIN

enum { CPUS = 2, PAGE = 0x5000 };

struct bench {
	struct chipset *chipset;
	struct gate gate;
	struct guest_memory memory;
	struct kvm_run run[CPUS];
	struct vcpu vcpus[CPUS];
	struct vmt_tsc tsc;
	struct pvclock p;
	bool stop; /* atomic */
	uint64_t odd;
};

static inline struct bench *bench_on(bool tsc, bool shown, bool disciplined)
{
	struct bench *b = calloc(1, sizeof(*b));
	struct pvclock_config config = {
		.cpus = CPUS,
		.shown = shown,
		.disciplined = disciplined,
		.stable = tsc,
	};
	struct vmt_tsc_host host = {0};
	struct why why;

	assert_non_null(b);
	b->chipset = create(tsc);
	host.khz = (uint32_t)(liveclock_get(&b->chipset->clock).clock.counter_hz / 1000);
	if (!tsc)
		host.khz = 2000000;
	assert_int_equal(vmt_tsc_init(&b->tsc, CPUS, &host), 0);
	vmt_tsc_set(&b->tsc, 0, OFFSET);
	config.tsc = &b->tsc;
	gate_init(&b->gate);
	assert_int_equal(memory_create(MEMORY_BYTES, &b->memory, &why), 0);
	for (int i = 0; i < CPUS; i++)
		b->vcpus[i].run = &b->run[i];
	config.chipset = b->chipset;
	config.gate = &b->gate;
	config.memory = &b->memory;
	config.vcpus = b->vcpus;
	assert_int_equal(pvclock_init(&b->p, &config, &why), 0);
	return b;
}

static inline struct bench *bench(void)
{
	return bench_on(true, true, false);
}

static inline void take_down(struct bench *b)
{
	pvclock_destroy(&b->p);
	memory_destroy(&b->memory);
	gate_destroy(&b->gate);
	destroy(b->chipset);
	free(b);
}

static inline void tick(struct bench *b)
{
	struct chipset_change change;

	/* What this machine takes its own time from is not asked here. */
	b->p.checked_ns = hostclock_monotonic_ns();
	assert_false(pvclock_tick(&b->p, &change));
}

/* This thread has the gate. */
static inline void until_it_waits_at(struct gate *g)
{
	bool waits;

	do {
		sched_yield();
		pthread_mutex_lock(&g->lock);
		waits = g->next - g->served == 2; /* this thread's turn, and the next one's */
		pthread_mutex_unlock(&g->lock);
	} while (!waits);
}

static inline struct entry entry_at(const struct bench *b, uint64_t gpa)
{
	struct entry e;

	memcpy(&e, memory_at(&b->memory, gpa, sizeof(e)), sizeof(e));
	return e;
}

#endif
