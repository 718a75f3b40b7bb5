/* SPDX-License-Identifier: Apache-2.0 */
/* chipset.h - the board of a VM with its lock, its clock and its interrupt lines.
 *
 * One short lock serialises the board.  Whoever takes it reads the host's counter afterwards, so
 * that `now` never goes backwards inside.  What a call of the board asks for is done before the
 * lock is released: pulses and levels reach KVM in the order in which they were due.  The PM timer
 * and the HPET's counter are read without the lock (chipset_peek.h).
 *
 * The clock's rate may change at any time; that it jumps, only under the lock and while no vCPU
 * runs.  While it is paused nothing falls due, and an answer that is held back stays so. */
#ifndef KVM_CHIPSET_H
#define KVM_CHIPSET_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <vmtime/board.h>
#include <vmtime/clock.h>

#include "host/why.h"
#include "kvm/liveclock.h"
#include "kvm/vm.h"

/* A change of the machine's time: of its clock, or of what its guest has set the RTC to. */
enum { CHIPSET_CHANGE_RTC = 256, CHIPSET_CHANGE_MIGRATE = 257 }; /* beside enum vmt_change_kind */
struct chipset_change {
	uint32_t kind;
	vmt_ns at_ns;
	/* RTC: the guest's time minus UTC; START: after, UTC - now; STEP_UTC: both of them; else
	 * virtual time */
	int64_t before_ns, after_ns;
	uint64_t bound_ns; /* half width of the error that it adds to UTC */
	/* RESUME, LOAD, MIGRATE, SUSPEND: the policy applied, how long the guest did not run or the
	 * host was suspended, and UTC - now before and after. */
	uint32_t policy;
	uint64_t gap_ns;
	int64_t utc_before_ns, utc_after_ns;
	/* LOAD, as RESUME; also by how much the guest's TSC is faster than it was, in 10^-9, and
	 * how far the saved time was ahead of this host's UTC. */
	int64_t tsc_ppb;
	uint64_t future_ns;
	/* MIGRATE, as LOAD, but for future_ns; bound_ns is the gap's.  As in struct hosts_gap. */
	int64_t apart_ns;
	bool by_tai, negative, bounded;
};

struct suspend;

struct chipset {
	pthread_mutex_t lock;
	struct vmt_board board;
	struct liveclock clock; /* changed under the lock */
	bool pm_timer;
	bool hpet;
	uint16_t pm_timer_port;
	uint64_t hpet_counter;           /* its address */
	vmt_ns pm_timer_read, hpet_read; /* when the guest read them last; atomic */
	uint32_t switches;   /* odd while one or the other may stop; written under the lock */
	const struct vm *vm; /* whose lines are moved; NULL: none yet */
	uint32_t high;       /* bit n: GSI n is held high; under the lock */
	uint8_t pulsed[VMT_SOURCES]; /* the GSI of each source's last pulse; under the lock */
	uint32_t counted; /* bit n: GSI n's acknowledgements were, in this call; under the lock */
	bool rtc_waits;   /* its line is held for KVM to take, once it can; under the lock */
	bool rtc_given;   /* ... and it could, since; under the lock */
	bool pit_cut_off; /* as vm_pit_cut_off() was told; under the lock */
	vmt_ns deadline;  /* of the board; under the lock */
	vmt_ns armed;     /* what the deadline thread sleeps for; under the lock */
	bool listening;   /* ... for acknowledgements as well; under the lock */
	int wake_fd;      /* eventfd: it sleeps too long, or deaf */
	bool let_go;      /* no answer is held back; under the lock */
	pthread_cond_t gone;   /* ... has become true, or the clock goes on */
	int64_t rtc_offset_ns; /* what the guest has set, minus UTC; under the lock */
	vmt_ns rtc_set_ns;     /* ... since when */
	int64_t rtc_told_ns;   /* ... by the last chipset_settle_rtc() */
	bool rtc_unsettled;    /* ... has not heard of it yet */
	int set_fd; /* eventfd: the guest sets its RTC, perhaps byte by byte; told once */
	struct chipset_change change; /* the last; under the lock */
	/* Whom a thread asks before it shows time to the guest; NULL: nobody. */
	struct suspend *suspend;
};

/* The board as `config` says, at virtual time 0 of `clock`.  0 or negative errno. */
int chipset_init(struct chipset *c, const struct vmt_board_config *config,
		 const struct vmt_clock *clock, bool counts_tsc, struct why *why);
void chipset_destroy(struct chipset *c);

/* From here on the lines of `vm` are moved; a VM made anew has all lines low.  Answers are held
 * back again. */
void chipset_connect(struct chipset *c, const struct vm *vm);

/* A bus reset. */
void chipset_reset(struct chipset *c);

/* UTC is virtual time plus this from here on. */
void chipset_utc(struct chipset *c, int64_t utc_offset_ns);

/* Somebody presses the power button; the RTC's owed ticks are discarded. */
void chipset_power_button(struct chipset *c);
void chipset_forget_rtc_ticks(struct chipset *c);

/* The guest's access; false when no face answers there.  A read returns when the guest may have
 * the answer (vmt_board_out.ready), or at chipset_let_go(); it waits without the lock. */
bool chipset_read(struct chipset *c, uint32_t space, uint64_t addr, uint32_t width,
		  uint64_t *ret_value);
bool chipset_write(struct chipset *c, uint32_t space, uint64_t addr, uint32_t width,
		   uint64_t value);

/* vCPUs are to stop: reads that wait return, and none waits any more. */
void chipset_let_go(struct chipset *c);

/* The GSIs on which such a board gives pulses: bit n for GSI n. */
uint32_t chipset_ack_gsis(const struct vmt_board_config *config);

/* For the deadline thread: brings the board up to now; the deadline to sleep for, which counts as
 * armed from here on.  The VM's acks[i] can be read for each bit i of `readable`: whoever drives
 * that line gets them.  Every call reads those that it waits for, when a tick is due,
 * and a write or a reset always: it may stop the timer whose tick has been acknowledged.
 * *ret_listen: an acknowledgement must end the sleep, too. */
vmt_ns chipset_advance(struct chipset *c, uint32_t readable, bool *ret_listen);

/* Takes the lock and brings the board up to now, all acknowledgements included; virtual time.  Lets
 * go of it. */
vmt_ns chipset_hold(struct chipset *c);
void chipset_release(struct chipset *c);

/* A while after set_fd: makes one change of all that the guest has done to its RTC since the last
 * call.  False when nothing came of it. */
bool chipset_settle_rtc(struct chipset *c, struct chipset_change *ret_change);

/* Virtual time. */
vmt_ns chipset_now(const struct chipset *c);

/* Where the clock is at a count of its counter: read behind the lock, and the anchor of a new rate,
 * vmt_clock_discipline(), if `ppt` is not NULL (one that is not possible is ignored). */
struct chipset_mark {
	uint64_t counter;
	struct counted_clock now; /* from here on */
};
void chipset_mark(struct chipset *c, const int64_t *ppt, struct chipset_mark *ret_mark);

/* The host relies on its TSC no longer: from here on the clock counts CLOCK_MONOTONIC, without a
 * step.  False when it does already, or both cannot be read at once. */
bool chipset_leave_tsc(struct chipset *c, struct chipset_change *ret_change);

/* No vCPU runs, and the caller has the lock (chipset_hold()): virtual time stands from this count
 * on, which was read behind the lock.  0 or -EINVAL. */
int chipset_pause(struct chipset *c, uint64_t counter);

/* The same as of a time that has been: nothing has shown more than `then`, a running clock at its
 * anchor.  What the present clock is disciplined by stays. */
int chipset_pause_at(struct chipset *c, const struct vmt_clock *then);

/* ... and goes on, by this clock and its UTC; `change` becomes the last one.  Takes the lock. */
void chipset_resume(struct chipset *c, const struct counted_clock *now,
		    const struct chipset_change *change);

/* No vCPU runs: the host was suspended, as vmt_clock_suspend() has it; shown_ns is found here.
 * 0 or -EINVAL. */
int chipset_slept(struct chipset *c, struct vmt_suspend *suspend, const struct vmt_reading *at,
		  uint32_t policy, uint64_t limit_ns, struct chipset_change *ret_change);

/* UTC, with an error of bound_ns more, is from here on by step_ns what it was not.  False: the
 * clock is paused. */
bool chipset_step_utc(struct chipset *c, int64_t step_ns, uint64_t bound_ns,
		      struct chipset_change *ret_change);

/* The counter was set: what would have been `old_counter` is `new_counter`, and virtual time the
 * same.  False when `old_counter` lies before the clock's anchor. */
bool chipset_recount(struct chipset *c, uint64_t old_counter, uint64_t new_counter);

/* Remembers a change as the last one. */
void chipset_tell(struct chipset *c, const struct chipset_change *change);

/* CLOCK_MONOTONIC at which a virtual time will have come, rounded up; of one that is more than a
 * second away, an earlier one: look again then.  UINT64_MAX: never. */
uint64_t chipset_monotonic_at(const struct chipset *c, vmt_ns at);

#endif
