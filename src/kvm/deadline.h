/* SPDX-License-Identifier: Apache-2.0 */
/* deadline.h - the thread that wakes a board at its deadlines, and does nothing else.
 *
 * It sleeps in an absolute timer of CLOCK_MONOTONIC, computed from the virtual deadline through the
 * host's counter and a bracketed pair of counter and clock.  The two run apart by what the host's
 * NTP does, so the pair is read anew for each deadline and at least once a second, and after each
 * sleep the board's own `now` decides whether the deadline has come.
 *
 * The guest's acknowledgements (struct vm_ack) wake it only when they are news before the next
 * deadline (chipset_advance()), so a guest in time costs one wake-up a tick. */
#ifndef KVM_DEADLINE_H
#define KVM_DEADLINE_H

#include <pthread.h>

#include "kvm/chipset.h"

struct deadline {
	struct chipset *chipset;
	const struct vm_ack *acks;
	unsigned n_acks;
	int timer_fd, stop_fd;
	pthread_t thread;
};

/* Starts the thread, which goes on using `acks`, at most VM_ACKS.  0 or negative errno. */
int deadline_start(struct deadline *d, struct chipset *chipset, const struct vm_ack *acks,
		   unsigned n_acks, struct why *why);

/* Stops it and waits for its end. */
void deadline_stop(struct deadline *d);

#endif
