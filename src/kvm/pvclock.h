/* SPDX-License-Identifier: Apache-2.0 */
/* pvclock.h - a VM's kvm-clock: its registers, its pages, and the loop that keeps its seconds.
 *
 * KVM hands the registers over (vm_filter_msrs()); what they say is written into the guest's memory
 * while the gate is shut, all CPUs' entries at once and as one line: a guest whose vDSO found an
 * odd version would spin until the writer, which may be preempted, has its turn.
 *
 * Ten times a second pvclock_tick() looks at the host's clock, and at most once a second it
 * changes the virtual clock's rate (discipline.h) and the pages with it, or takes the pages,
 * whose factor is rounded down, back to the clock.  The first 150 ms after a guest
 * has registered its first page the rate is the announced one: from that page Linux computes the
 * TSC's frequency.
 *
 * A page in which another word stands than the one that was written last, but for the flags, which
 * are the guest's to clear, is no longer a page: a kernel that the guest has started anew has put
 * something else there.  It is left alone until its CPU's register is written again.
 *
 * A CPU that registers its own page writes it itself, from the line that the others say, without
 * keeping them out of the guest: nobody else reads it.  The vDSO's is that of the CPU that boots
 * the guest's kernel: who registers first when there was none.
 *
 * Where the host's TSC and its clock part - it slept, or somebody set its TSC - virtual time goes
 * on from there, and the loop with it; a TSC that went back is taken to have counted on meanwhile,
 * the guest's as well.
 *
 * A guest that writes a CPU's IA32_TSC or IA32_TSC_ADJUST moves that CPU's counts, and its entry
 * with them; while the CPUs disagree the entries are not marked stable.  While the machine stands
 * still such a write waits, with its thread. */
#ifndef KVM_PVCLOCK_H
#define KVM_PVCLOCK_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <vmtime/discipline.h>
#include <vmtime/kvmclock.h>
#include <vmtime/tsc.h>

#include "kvm/chipset.h"
#include "kvm/gate.h"
#include "kvm/memory.h"
#include "kvm/vcpu.h"

#define PVCLOCK_TICK_MS 100

struct pvclock_config {
	struct chipset *chipset;
	struct gate *gate;
	struct guest_memory *memory;
	struct vcpu *vcpus;
	uint32_t cpus;
	struct vmt_tsc *tsc; /* the guest's; from here on changed by pvclock alone, and only behind
			      * the gate */
	bool movable;        /* KVM can give a CPU another offset */
	bool shown;          /* the guest has kvm-clock: else only the clock is disciplined */
	bool disciplined;
	bool stable; /* the host relies on its TSC: all CPUs show one line; changed under `lock` */
	/* What this host, or this guest, does not do as it should, once each; in the thread of
	 * pvclock_init() and pvclock_tick(). */
	void (*notice)(void *owner, const char *text);
	void *owner;
};

/* Of a CPU's page; so many of its bytes no guest changes that has it still.  (The rest are flags,
 * which it clears, and nothing.) */
enum { PVCLOCK_COMPARED = 29 };
enum pvclock_page { PVCLOCK_PAGE_NEW = 0, PVCLOCK_PAGE_WRITTEN, PVCLOCK_PAGE_TAKEN };

struct pvclock {
	struct pvclock_config config;
	pthread_mutex_t lock;             /* of the next ones; taken behind the gate */
	struct vmt_kvmclock face;         /* and of config.tsc */
	bool registered;                  /* some CPU has a page ... */
	bool lined;                       /* ... and the line was anchored since */
	uint8_t pages[VMT_KVMCLOCK_CPUS]; /* enum pvclock_page ... */
	uint8_t written[VMT_KVMCLOCK_CPUS][VMT_KVMCLOCK_BYTES]; /* ... and what is in it */
	uint32_t vdso;     /* the CPU whose page the vDSO reads; VMT_KVMCLOCK_CPUS: any */
	bool taken;        /* some page was, and nobody has been told */
	uint64_t quiet_ns; /* until then (CLOCK_MONOTONIC) the rate is the announced one */
	int64_t slope_ppt; /* off the TSC: its frequency beside the announced one, the last known */
	bool looped;       /* `loop` was started; else at the next tick.  pvclock_tick()'s thread,
			    * as these: */
	uint64_t written_ns; /* when the pages were written last, CLOCK_MONOTONIC ... */
	uint64_t checked_ns; /* ... and the host asked for its clocksource */
	bool told_taken, told_stuck;
	struct vmt_discipline loop;
};

/* The chipset's clock has just been started.  0, or negative errno. */
int pvclock_init(struct pvclock *p, const struct pvclock_config *config, struct why *why);
void pvclock_destroy(struct pvclock *p);

/* A bus reset, while no vCPU runs. */
void pvclock_reset(struct pvclock *p);

/* A guest's access on CPU `cpu`, in that vCPU's thread and outside KVM_RUN.  False: there is no
 * such register (#GP). */
bool pvclock_rdmsr(struct pvclock *p, uint32_t cpu, uint32_t msr, uint64_t *ret_value);
bool pvclock_wrmsr(struct pvclock *p, uint32_t cpu, uint32_t msr, uint64_t value);

/* Every PVCLOCK_TICK_MS, in the thread that starts and stops the vCPUs.  True: the host no longer
 * relies on its TSC, and the clock counts something else (VMT_CHANGE_COUNTER, once); or its TSC and
 * its clock have parted (VMT_CHANGE_DISCIPLINE: before_ns is what virtual time was to be). */
bool pvclock_tick(struct pvclock *p, struct chipset_change *ret_change);

/* What it does then.  False: the clock counts CLOCK_MONOTONIC already. */
bool pvclock_leave_tsc(struct pvclock *p, struct chipset_change *ret_change);

/* The gate is shut and every vCPU out of the guest: until it is opened, by the same thread. */
void pvclock_shut(struct pvclock *p);

/* Behind the gate, for a pause with these samples at its ends: the frequency at which the paused
 * clock is to count it.  False: at the one that it has. */
bool pvclock_gap(const struct pvclock *p, const struct vmt_discipline_sample *from,
		 const struct vmt_discipline_sample *to, int64_t *ret_ppt);

/* ... all CPUs' TSCs, and what waits for their deadlines, go on at `count` when the host's TSC is
 * host_tsc.  -EIO: KVM does not do it. */
int pvclock_freeze(struct pvclock *p, uint64_t host_tsc, uint64_t count);

/* ... what the pages' line would have shown by now does not bind: nobody has seen it.  It stopped
 * at virtual time `stopped`, the guest's TSC being `count` there. */
void pvclock_drop(struct pvclock *p, uint64_t count, vmt_ns stopped);

/* Virtual time is so late beside the host's clock (it was, on another host): the loop is to make up
 * for that. */
void pvclock_owe(struct pvclock *p, int64_t late_ns);

/* ... the clock runs again: the guest is told of the stop, and the pages are written.  It stopped
 * at virtual time `stopped`, the guest's TSC being `count` there; froze: and stood since. */
void pvclock_go(struct pvclock *p, uint64_t count, vmt_ns stopped, bool froze);

/* What the guest has registered, saved by vmt_kvmclock_save(), before any vCPU runs; then, when the
 * taken ones of its pages are marked, pvclock_go().  0 or -EINVAL. */
int pvclock_load(struct pvclock *p, const void *bytes, size_t size);

/* How late virtual time was beside the host's at the last tick; false: not disciplined. */
bool pvclock_phase(const struct pvclock *p, int64_t *ret_ns, uint64_t *ret_bound_ns);

#endif
