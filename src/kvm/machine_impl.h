/* SPDX-License-Identifier: Apache-2.0 */
/* machine_impl.h - what a machine consists of: between machine.c and machine_control.c. */
#ifndef KVM_MACHINE_IMPL_H
#define KVM_MACHINE_IMPL_H

#include <pthread.h>

#include "kvm/deadline.h"
#include "kvm/gate.h"
#include "kvm/machine.h"
#include "kvm/memory.h"
#include "kvm/pause.h"
#include "kvm/pvclock.h"
#include "kvm/steal.h"
#include "kvm/vmstate_parts.h"
#include "kvm/vmstate_time.h"

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
	bool running;

	struct gate gate;
	struct pvclock pvclock;
	bool has_pvclock;   /* it is initialised */
	struct steal steal; /* all 0: KVM's, or none */
	struct event *tick; /* of both */
	struct pause pause;
	const struct vmstate_parts *incoming; /* it begins so; NULL: at power-on, or has begun */
	struct vmstate_time arrived;          /* what became of its time then */

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

/* After that: the machine as after a bus reset, running.  0, or negative errno and its reason in
 * m->end. */
int machine_boot_again(struct machine *m);

#endif
