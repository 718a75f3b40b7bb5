/* SPDX-License-Identifier: Apache-2.0 */
/* vcpu.h - one virtual CPU and the thread that runs it. */
#ifndef KVM_VCPU_H
#define KVM_VCPU_H

#include <linux/kvm.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "host/why.h"
#include "kvm/boot.h"
#include "kvm/cpuid.h"
#include "kvm/ports.h"
#include "kvm/vm.h"

/* Why a vCPU stopped by itself. */
enum vcpu_end_kind {
	VCPU_END_RESET = 1,    /* the guest asked for a reset */
	VCPU_END_POWEROFF,     /* ... to be switched off */
	VCPU_END_EXIT,         /* ... to end with `byte` */
	VCPU_END_TRIPLE_FAULT, /* its CPU gave up */
	VCPU_END_KVM,          /* KVM could not go on */
};

struct vcpu_end {
	enum vcpu_end_kind kind;
	uint8_t byte;
	char reason[160];     /* of the last two: a sentence without a full stop */
	char registers[1024]; /* of the last two: lines, each with its newline */
};

/* How often the guest left to us, and where to. */
#define VCPU_REASONS 48
#define VCPU_PORTS 64 /* a power of two */

struct vcpu_stats {
	uint64_t exits[VCPU_REASONS]; /* by KVM_EXIT_* */
	struct vcpu_port_stats {
		uint32_t port; /* + 1; 0: free */
		uint32_t reads, writes;
	} ports[VCPU_PORTS]; /* further ports are not counted */
};

struct gate;
struct pvclock;
struct steal;
struct suspend;
struct vmstate_msrs;

struct vcpu {
	uint32_t cpu;
	int fd;
	struct kvm_run *run;
	uint32_t run_size;
	struct ports *ports;
	struct gate *gate;       /* passed into KVM_RUN and back */
	struct pvclock *pvclock; /* answers the MSRs that vm_filter_msrs() takes from KVM */
	struct steal *steal;     /* ... its own; NULL: KVM's, or none */
	struct suspend *suspend; /* asked before the guest sees a time; NULL: nobody */
	/* Called in the vCPU's thread, which ends afterwards. */
	void (*ended)(void *owner, const struct vcpu *vcpu, const struct vcpu_end *end);
	void *owner;
	bool stop;          /* atomic */
	bool inside;        /* the gate: in KVM_RUN; atomic */
	bool parked;        /* at the gate, its last exit served; atomic */
	bool exited;        /* vcpu_settle() met an exit that is to be served; atomic */
	bool look;          /* vcpu_look_again(); atomic */
	bool called;        /* the gate: to settle; atomic */
	int settled;        /* ... and what came of it; its thread's while it is called */
	uint64_t left_tsc;  /* the host's, when it came out of KVM_RUN last; atomic */
	uint64_t asked_tsc; /* ... when its thread asked `suspend` */
	int tid;            /* of its thread, 0: none runs; atomic */
	bool started;
	pthread_t thread;
	struct vmstate_msrs *unseen; /* vmstate_msrs_go_on(): to be freed; NULL */
	struct vcpu_stats stats;     /* read when the thread has ended */
};

/* Creates CPU number `cpu`, with `cpuid` changed for it.  0 or negative errno. */
int vcpu_create(const struct vm *vm, uint32_t cpu, struct cpuid_table *cpuid, struct vcpu *ret_vcpu,
		struct why *why);
void vcpu_destroy(struct vcpu *vcpu);

/* One MSR, as the host sees and sets it; false when KVM does not. */
bool vcpu_get_msr(const struct vcpu *vcpu, uint32_t msr, uint64_t *ret_value);
bool vcpu_set_msr(const struct vcpu *vcpu, uint32_t msr, uint64_t value);

/* The registers with which the first CPU starts.  The others wait for INIT and SIPI. */
int vcpu_enter(struct vcpu *vcpu, const struct boot_state *state, struct why *why);

/* Starts the thread; ports, gate, pvclock, ended and owner are set.  0 or negative errno. */
int vcpu_start(struct vcpu *vcpu, struct why *why);

/* Adds what one vCPU did to a sum. */
void vcpu_add_stats(struct vcpu_stats *sum, const struct vcpu_stats *stats);

/* KVM looks at the interrupt chips on its behalf once more.
 *
 * It looks when the PIC's output rises, and not when a local APIC lets it through later (LVT0): a
 * request from before would stay for ever - Linux with `noapic` switches its APIC off and on while
 * the PIT ticks - and the output, which is high, never rises again.  From any thread, also while
 * this CPU's does not run. */
void vcpu_look_again(struct vcpu *vcpu);

/* If it is in the guest, or about to enter it: it comes out once.  From any thread. */
void vcpu_kick(struct vcpu *vcpu);

/* Behind the gate, so that its state can be looked at: KVM completes the access that the CPU left
 * the guest for, and puts timer interrupts that it owes into the local APIC; no instruction of the
 * guest's runs.  In the CPU's own thread, as KVM waits tens of ms for a change of threads: the
 * first asks for it, for many side by side; the second waits, and says 0 or -EIO.  -EBUSY: its
 * thread is serving an exit at this moment. */
int vcpu_settle(struct vcpu *vcpu);
int vcpu_settled(struct vcpu *vcpu);
int vcpu_settle_here(struct vcpu *vcpu); /* its thread, or anybody's while there is none */

/* As vcpu_stop() begins: for many, or before the gate is opened. */
void vcpu_ask_to_stop(struct vcpu *vcpu);

/* Ends the thread and waits for it.  Never from a vCPU's own thread. */
void vcpu_stop(struct vcpu *vcpu);

#endif
