/* SPDX-License-Identifier: Apache-2.0 */
/* suspend.h - the host was suspended while a machine ran, or its wall clock was stepped: noticed,
 * and the machine's time put right before anybody in the guest sees it.
 *
 * The host's CLOCK_BOOTTIME counts while it is suspended and CLOCK_MONOTONIC does not; what its TSC
 * does meanwhile - counts on, stands still, begins anew - is the hardware's business.  So a suspend
 * shows as a difference that has grown, whatever the TSC did, and by policy its time is as that of
 * a pause which nobody asked for:
 *
 *   continue   virtual time, the TSCs and the timers of the local APICs have gone on
 *   freeze     none of them has
 *
 * The time for which the host was awake, with its tasks frozen, on its way there and back is not of
 * it: that goes on, and the guest has been late by it.
 *
 * Who would show time to the guest - the threads of its CPUs on the way out of KVM_RUN and back,
 * the thread of the deadlines - asks suspend_wait() first, which holds it until the thread that
 * starts and stops the vCPUs has been at suspend_end().  The question costs two readings of clocks,
 * and is put where the TSC has moved by some 0.1 ms: no suspend is that short.  A thread that loses
 * its CPU between the answer and KVM_RUN, for a whole suspend, is not held; what it has been shown
 * then is not taken back (vmt_suspend.shown_ns).
 *
 * The host's wall clock has been stepped where CLOCK_REALTIME minus CLOCK_BOOTTIME is another: UTC
 * follows, virtual time does not. */
#ifndef KVM_SUSPEND_H
#define KVM_SUSPEND_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "host/hostclock.h"
#include "kvm/pause.h"

/* The host's clocks at one instant, and what the machine's were. */
struct suspend_look {
	struct vmt_discipline_sample host; /* CLOCK_MONOTONIC beside the TSC */
	struct hostclock_beside beside;
	vmt_ns now_ns;
	uint64_t kvm_clock_ns; /* KVM's own, if the guest has that */
};

struct suspend {
	int fd;               /* eventfd: somebody is held */
	pthread_mutex_t lock; /* of let_go */
	pthread_cond_t over;
	bool let_go;
	int64_t known_ns;         /* how long the host was suspended so far; atomic */
	struct suspend_look last; /* of the thread of suspend_note(), as the next */
	int64_t utc_ns;           /* REALTIME minus BOOTTIME, as the machine's UTC has it */
};

/* 0 or negative errno. */
int suspend_init(struct suspend *s);
void suspend_destroy(struct suspend *s);

/* Returns at once, unless the host was suspended and the machine's time does not have it yet.  From
 * any thread but that of the next ones; holding nothing. */
void suspend_wait(struct suspend *s);

/* vCPUs are to stop, and nobody is held any more; or again. */
void suspend_let_go(struct suspend *s, bool let_go);

/* The rest in the thread that starts and stops the vCPUs.  True: suspend_end() is to be called. */
bool suspend_noticed(const struct suspend *s);

/* When the machine begins to run or goes on, and then every 100 ms: what its time will be told by
 * after a suspend. */
void suspend_begin(struct suspend *s, const struct pause_config *config);
void suspend_note(struct suspend *s, const struct pause_config *config);

/* The machine stands still: what a suspend does to it is pause_end()'s. */
void suspend_leave(struct suspend *s);

/* The machine's time has it, by policy, and nobody is held.  0: and *ret_change tells; 1: there was
 * none; -EIO, with its why: KVM did not do its part, the rest is done and *ret_change tells; or
 * -EINVAL, with its why: the clock does not take it (it is paused), the machine's time is as it was
 * and will not have that suspend, nobody is held, and *ret_change is not set.  The others as in
 * pause_end(), and not set with 1. */
int suspend_end(struct suspend *s, const struct pause_config *config, uint32_t policy,
		struct chipset_change *ret_change, uint64_t *ret_limit_ns, uint32_t *ret_clock,
		struct why *why);

/* UTC is what the host's clocks say now: after a start or a pause, which have asked them. */
void suspend_take_utc(struct suspend *s);

/* True: the host's wall clock was stepped since, UTC has followed, and *ret_change tells. */
bool suspend_follow_utc(struct suspend *s, const struct pause_config *config,
			struct chipset_change *ret_change);

#endif
