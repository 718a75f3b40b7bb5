/* SPDX-License-Identifier: Apache-2.0 */
/* machine_impl.h - what a machine consists of: between the files machine*.c. */
#ifndef KVM_MACHINE_IMPL_H
#define KVM_MACHINE_IMPL_H

#include <pthread.h>

#include "kvm/deadline.h"
#include "kvm/gate.h"
#include "kvm/hosts.h"
#include "kvm/machine.h"
#include "kvm/memory.h"
#include "kvm/pause.h"
#include "kvm/pvclock.h"
#include "kvm/steal.h"
#include "kvm/suspend.h"
#include "kvm/vmstate_parts.h"
#include "kvm/vmstate_time.h"

enum machine_arrival { MACHINE_NOT_HERE = 0, MACHINE_PREPARED, MACHINE_LOADED, MACHINE_FINISHED };

struct machine {
	const struct machine_config *config;
	struct event_base *base;
	struct guest_memory memory;
	struct chipset chipset;
	struct ports ports;
	bool powered; /* chipset is initialised, the clock runs */
	struct tsc_host tsc_host;
	struct vmt_tsc tsc;

	/* What a reset makes anew. */
	struct vm vm;
	struct vcpu *vcpus; /* config->cpus of them */
	uint32_t n_vcpus;   /* created */
	struct deadline deadline;
	bool has_deadline; /* its thread is there */
	bool shut;         /* the gate, until it runs */
	bool running;

	struct gate gate;
	struct pvclock pvclock;
	bool has_pvclock;   /* it is initialised */
	struct steal steal; /* all 0: KVM's, or none */
	struct event *tick; /* of both */
	struct pause pause;
	struct suspend suspend;
	bool has_suspend; /* it is initialised */
	int step_fd;      /* timerfd: the host's wall clock was set, or the host woke */
	int step_error;   /* errno: it is not told of that; 0: it is, or a notice went out */
	struct event *step, *held;            /* of that timer; and of suspend.fd */
	const struct vmstate_parts *incoming; /* it begins so; NULL: at power-on, or has begun */
	enum machine_arrival arrival;         /* how far it is */
	bool migrates;                        /* from another host ... */
	bool stands;                          /* ... where it stood still, as it shall here */
	struct hosts_window window;
	struct vmstate_time arrived; /* what became of its time then */

	pthread_mutex_t lock; /* of the next two */
	struct vcpu_end vcpu_end;
	bool vcpu_ended; /* the first one counts */
	int end_fd;      /* eventfd */
	struct event *end_event;

	const struct machine_watch *watch; /* NULL: nobody */
	struct event *set_event, *settle;  /* the guest sets its RTC; has done so */

	struct machine_end end;
	struct machine_stats stats;
};

/* Ends everything that runs and closes the KVM VM; memory, board and clock stay. */
void machine_tear_down(struct machine *m);

/* What it is made of, in this order (machine_start.c): the KVM VM and its CPUs; the image, in
 * memory; the clock and the board, once a machine; all threads, none of them in the guest.  0, or
 * negative errno, and machine_tear_down() is the way out.  Then it begins, for the first time or
 * not. */
struct boot_state;
int machine_make(struct machine *m, struct why *why);
int machine_load_image(struct machine *m, struct boot_state *ret_state, struct why *why);
int machine_power_on(struct machine *m, struct why *why);
int machine_make_threads(struct machine *m, struct why *why);
void machine_begin(struct machine *m, bool first);

/* The gate opens, if it was shut for that. */
void machine_let_in(struct machine *m);

/* In place of all but the last: what m->incoming has, as far as it has not been done.  After the
 * last: its time stands no longer. */
int machine_arrived(struct machine *m, struct why *why);
int machine_end_gap(struct machine *m, struct why *why);

/* After that: the machine as after a bus reset, running.  0, or negative errno and its reason in
 * m->end. */
int machine_boot_again(struct machine *m);

/* What the machine is to a pause. */
struct pause_config machine_pause_config(struct machine *m);

/* A guest that told the time by a counter which cannot show the gap is late by it from now on. */
void machine_warn_of_gap(const struct machine *m, const struct chipset_change *change,
			 uint64_t limit_ns, uint32_t clock);

/* The machine's time has been started: from here on suspends and steps of the host's are noticed.
 * 0 or negative errno. */
int machine_watch_host(struct machine *m, struct why *why);
void machine_unwatch_host(struct machine *m);

/* Whether there was one: then the machine's time is put right.  Before anything else that looks at
 * it, in the loop's thread. */
void machine_meet_host(struct machine *m);

/* Every 100 ms; and before it runs, for the first time or after a reset. */
void machine_note_host(struct machine *m);
void machine_begin_host(struct machine *m, bool first);

#endif
