/* SPDX-License-Identifier: Apache-2.0 */
/* vmstate.h - a whole machine's state, from the one that stands still to the one that begins with
 * it; between machine.c and the files vmstate_*.h, each of which has a part of it.
 *
 * Not in here: memory, and what a person chose for this host (consoles, QMP).
 *
 * The order on load was found by guests that hang: virtual time; segments and registers; the TSC's
 * frequency and offset, of all CPUs from one reading of the host's; the other MSRs; all local
 * APICs; then IA32_TSC_DEADLINE; what is pending; PIC and I/O APIC; faces; pages.  No vCPU runs
 * before. */
#ifndef KVM_VMSTATE_H
#define KVM_VMSTATE_H

#include <stdbool.h>
#include <vmtime/clock.h>

#include "host/why.h"
#include "kvm/vmstate_cpu.h"
#include "kvm/vmstate_parts.h"

struct machine;

/* Whose registers are not KVM's, in such a machine. */
struct machine_config;
struct vmstate_cpu_ours vmstate_ours(const struct machine_config *config);

/* The machine is paused.  What a CPU left the guest for is completed; KVM is without those of its
 * timers that had time left, until pause_end().  0; -EAGAIN: a CPU waits for an answer, and will
 * until the machine goes on; -EIO, -ENOMEM. */
int vmstate_save(struct machine *m, struct vmstate_parts *parts, struct why *why);

/* Pieces of that: the parts CLOCK, TSC and HOST; and what the CPUs are at, which another one of
 * them need not wait for. */
int vmstate_save_time(struct machine *m, struct vmstate_parts *parts, struct why *why);
int vmstate_settle(struct machine *m, struct why *why);

/* Whether a state, or a description, is of a machine with these options: -EINVAL and the first that
 * differs. */
int vmstate_check(const struct machine_config *config, const struct vmstate_parts *parts,
		  struct why *why);

/* Whether m->tsc, which is planned, can go on as that machine's: -EXDEV, -ENODEV. */
int vmstate_check_tsc(const struct machine *m, const struct vmstate_parts *parts, struct why *why);

/* These of m->incoming, in this order.
 *
 * At power-on, when m->tsc is planned: the clock that is to run, m->tsc, and m->arrived. */
int vmstate_load_time(struct machine *m, bool counts_tsc, uint64_t counter_hz,
		      struct vmt_clock *ret_clock, struct why *why);

/* The vCPUs are created. */
int vmstate_load_cpus(struct machine *m, struct why *why);

/* Pages and chips are initialised, nothing is connected: they are afterwards. */
int vmstate_load_board(struct machine *m, struct why *why);

/* Memory is what it was.  The guest's pages are written when time goes on (pause_end()). */
void vmstate_load_memory(struct machine *m);

/* It runs: what its owner should know. */
void vmstate_notices(const struct machine *m);

#endif
