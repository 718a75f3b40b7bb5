/* SPDX-License-Identifier: Apache-2.0 */
/* steal.h - a VM's steal time: its register, its pages, and what goes into them.
 *
 * The steal of a vCPU is the run delay of its thread (rundelay.h).  Its page is written by that
 * thread itself on its way into KVM_RUN, so that its CPU never meets a half-written one; another
 * CPU that looks at it then tries again.  Should the writer lose its CPU between the two writes of
 * the version, that other one spins until it has it back.
 *
 * Ten times a second steal_tick() looks at the threads' counts, from outside; only one that has
 * grown by STEAL_LEAST_NS is told to write its page, and kicked, since a guest that computes may
 * not leave by itself for minutes.  (Less than that is what a kick itself costs: an idle guest
 * would be woken for being woken.)  An exit costs a look at a flag.  A guest sees its steal up to
 * STEAL_TICK_MS late, and up to STEAL_LEAST_NS of it later still. */
#ifndef KVM_STEAL_H
#define KVM_STEAL_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <vmtime/steal.h>

#include "host/rundelay.h"
#include "host/why.h"
#include "kvm/memory.h"

#define STEAL_TICK_MS 100
#define STEAL_LEAST_NS 1000000

struct vcpu;

struct steal_cpu {
	pthread_mutex_t lock; /* of what the face has of this CPU, and of `delay` */
	struct rundelay delay;
	bool due; /* its thread is to write its page; atomic */
};

struct steal {
	struct guest_memory *memory;
	struct vcpu *vcpus;
	uint32_t n_cpus;
	struct vmt_steal face;
	struct steal_cpu *cpus;
};

/* For a machine with these vCPUs, which may be created later.  0, or negative errno: -ENODEV when
 * this kernel does not count. */
int steal_init(struct steal *s, struct guest_memory *memory, struct vcpu *vcpus, uint32_t n_cpus,
	       struct why *why);
void steal_destroy(struct steal *s); /* also of one that is all 0 */

/* A bus reset, while no vCPU's thread is there. */
void steal_reset(struct steal *s);

/* A vCPU's thread, when it begins and when it ends. */
void steal_begin(struct steal *s, uint32_t cpu);
void steal_end(struct steal *s, uint32_t cpu);

/* A guest's access, as pvclock_rdmsr() and pvclock_wrmsr(). */
bool steal_rdmsr(struct steal *s, uint32_t cpu, uint32_t msr, uint64_t *ret_value);
bool steal_wrmsr(struct steal *s, uint32_t cpu, uint32_t msr, uint64_t value);

/* Writes the page of `cpu` with what its thread has waited by now, where the guest has one. */
void steal_write(struct steal *s, uint32_t cpu);

/* A vCPU's thread, on its way into the guest. */
static inline void steal_look(struct steal *s, uint32_t cpu)
{
	if (__atomic_load_n(&s->cpus[cpu].due, __ATOMIC_RELAXED))
		steal_write(s, cpu);
}

/* Every STEAL_TICK_MS, in the thread that starts and stops the vCPUs. */
void steal_tick(struct steal *s);

/* The VM stands still, no vCPU runs: pages say what has come until now ... */
void steal_stop(struct steal *s);
/* ... and it goes on: what the threads waited since is nobody's steal. */
void steal_go(struct steal *s);

#endif
