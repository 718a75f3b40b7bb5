/* SPDX-License-Identifier: Apache-2.0 */
/* machine.h - a whole virtual machine: from its configuration to why it ended.
 *
 * Threads: one per vCPU, one for the board's deadlines, and the caller's, which runs the loop for
 * consoles and everything else.  Nothing here is global: a process may have several machines, each
 * with a loop of its own.  Nothing here prints.
 *
 * A reset by the guest makes the machine anew: a new KVM VM with the old memory emptied and the
 * image loaded again, the board reset; virtual time goes on. */
#ifndef KVM_MACHINE_H
#define KVM_MACHINE_H

#include <event2/event.h>
#include <stdbool.h>
#include <stdint.h>
#include <vmtime/board.h>

#include "host/why.h"
#include "kvm/console.h"
#include "kvm/ports.h"
#include "kvm/timestate.h"
#include "kvm/tsc.h"
#include "kvm/vcpu.h"

enum machine_pit { MACHINE_PIT_NONE = 0, MACHINE_PIT_USER, MACHINE_PIT_KERNEL };
enum machine_kvm_clock {
	MACHINE_KVM_CLOCK_NONE = 0,
	MACHINE_KVM_CLOCK_KERNEL,
	MACHINE_KVM_CLOCK_USER
};
enum machine_steal { MACHINE_STEAL_NONE = 0, MACHINE_STEAL_KERNEL, MACHINE_STEAL_USER };
enum machine_rtc { MACHINE_RTC_NONE = 0, MACHINE_RTC_PC, MACHINE_RTC_EXACT };

struct guest_memory;
struct dirty;
struct hosts_window;

struct machine_config {
	uint32_t cpus;
	uint64_t memory_bytes;
	const char *kernel;         /* NULL: none, of a machine that comes from another one */
	const char *const *initrds; /* NULL-ended, as in boot.h */
	const char *append;
	const char *const *env; /* NULL-ended */
	enum machine_pit pit;
	enum machine_rtc rtc; /* MACHINE_RTC_EXACT: vmt_rtc_exact() */
	bool pm_timer;
	bool hpet;
	enum machine_kvm_clock kvm_clock; /* NONE: KVM's CPUID leaves are absent */
	bool discipline;                  /* virtual time keeps to the host's clock */
	enum machine_steal steal;         /* needs kvm_clock; without, there is none */
	struct tsc_wish tsc;
	enum probe_tsc_class tsc_class; /* found by probe_tsc() on this host */
	bool tsc_hint; /* without kvm_clock: tsc_early_khz= is added to a Linux command line */
	enum vmt_policy on_restore;
	enum vmt_policy on_migrate; /* of one that arrives over a wire */
	enum vmt_policy on_pause; /* FREEZE needs a host that can move a TSC; AUTO goes on there */
	enum vmt_ticks ticks;     /* with the kernel's PIT: DELAY and CATCHUP are its reinjection */
	bool exit_port;           /* 0xf4 ends the VM */
	bool has_date;            /* UTC is date_ns at power-on, else the host's */
	int64_t date_ns;
	struct console_config serial[PORTS_SERIAL];
};

enum machine_end_kind {
	MACHINE_END_STOPPED = 0, /* machine_stop() */
	MACHINE_END_POWEROFF,
	MACHINE_END_EXIT,  /* `byte` was written to the exit port */
	MACHINE_END_FAULT, /* triple fault, or KVM could not go on */
	MACHINE_END_RESET, /* could not be reset: `result` and `reason` */
};

struct machine_end {
	enum machine_end_kind kind;
	uint8_t byte;
	int result;
	struct why reason;
	char registers[1024]; /* of a fault: lines, each with its newline */
};

struct machine_stats {
	struct vcpu_stats vcpus; /* summed over all, also those before a reset */
	uint32_t resets;
	struct timestate time; /* of the end */
	uint64_t late_now;     /* board.h */
};

/* What happens while machine_run() runs; called in its thread. */
struct machine_watch {
	/* The machine has been reset and runs again. */
	void (*reset)(void *owner, bool by_guest);
	/* The machine's time has changed: the guest has set its RTC (up to 100 ms ago, and all
	 * that it did to it since is one change). */
	void (*change)(void *owner, const struct chipset_change *change);
	/* What this host cannot give, at power-on or once it is known; after a pause: what the
	 * guest cannot see; what the guest does to its pages. */
	void (*notice)(void *owner, const char *text);
	/* The KVM VM is about to be closed, for a reset or for good: nobody else may use it from
	 * here on.  NULL: nobody does. */
	void (*closing)(void *owner);
	void *owner;
};

struct machine;

/* Whether the images can be read and fit into the memory, as boot_load() and memory_create() have
 * it; needs no KVM and leaves nothing behind. */
int machine_check(const struct machine_config *config, struct why *why);

/* The configuration is kept by reference and must outlive the machine.  0 or negative errno and
 * nothing left behind: -ENODEV no KVM that serves, -EIO it refused something, -ENOMEM; else what is
 * wrong with the configuration. */
int machine_create(const struct machine_config *config, struct event_base *base,
		   struct machine **ret_machine, struct why *why);

/* Before machine_run(); kept by reference. */
void machine_watch(struct machine *m, const struct machine_watch *watch);

/* Opens the consoles, if they are not: for a machine that is waited for.  What is typed is kept for
 * its guest, and no file is emptied before it runs.  0, or as console_open() has it. */
int machine_open(struct machine *m, struct why *why);

/* Loads the images, opens the consoles, then runs from power-on to the end; one call a machine.
 * 0, or negative errno: it did not start. */
int machine_run(struct machine *m, struct machine_end *ret_end, struct why *why);

/* Ends machine_run() with MACHINE_END_STOPPED; from a callback of the loop. */
void machine_stop(struct machine *m);

/* These from a callback of the loop.
 *
 * How many CPUs it has, and the thread of one (gettid(2)); 0: none at this moment. */
uint32_t machine_cpus(const struct machine *m);
int machine_thread(const struct machine *m, uint32_t cpu);

/* The machine stands still, and goes on by config.on_pause; nothing happens to one that does
 * already.  *ret_changed: it has.  0, or -EIO, or -EAGAIN: it is at its end.  What its CPUs were
 * about to do to it (power off, reset) comes when it goes on. */
int machine_pause(struct machine *m, bool *ret_changed, struct why *why);
int machine_resume(struct machine *m, bool *ret_changed, struct chipset_change *ret_change,
		   struct why *why);
bool machine_is_paused(const struct machine *m);

/* kHz of the host's TSC, as KVM counts it; 0: it has no VM yet. */
uint32_t machine_tsc_khz(const struct machine *m);

/* Of one that is paused: what its CPUs left the guest for is completed, so that machine_save() will
 * not say -EAGAIN.  0; -EAGAIN: one of them waits for an answer, and may do so until the machine
 * goes on; -EIO. */
int machine_settle(struct machine *m, struct why *why);

/* The state of a machine that is paused; its memory is machine_memory().  As vmstate_save(). */
struct vmstate_parts;
int machine_save(struct machine *m, struct vmstate_parts *parts, struct why *why);
const struct guest_memory *machine_memory(const struct machine *m);

/* Before machine_run(): it does not boot, but begins with this state, kept by reference until the
 * change which tells that it runs, and with what its memory holds by then.  machine_run() then says
 * also: -EXDEV not with this configuration or on this host, -EINVAL, -ENOTSUP it is damaged or not
 * known. */
void machine_arrive(struct machine *m, const struct vmstate_parts *state);

/* A machine that goes to another host, piece by piece (move/migrate_source.h); from a callback of
 * the loop.
 *
 * What another host has to know to prepare for it: parts MACHINE and FEATURES. */
int machine_describe(struct machine *m, struct vmstate_parts *parts, struct why *why);
/* Whatever writes into its memory is noted in *dirty (initialised here, all set) from here on until
 * machine_log_end(), or until machine_watch.closing, after which that is to be called as well. */
int machine_log_begin(struct machine *m, struct dirty *dirty, struct why *why);
void machine_log_end(struct machine *m, struct dirty *dirty);
/* Of one that is paused: the parts CLOCK, TSC and HOST alone, at once. */
int machine_save_time(struct machine *m, struct vmstate_parts *parts, struct why *why);

/* A machine that comes from there (move/migrate_target.h), before machine_run() and in this order,
 * each 0 or as machine_run() has it, with machine_destroy() as the way out of all of them.
 *
 * All that can be made before its state is known: VM, vCPUs, consoles.  -EXDEV: this host's CPU
 * lacks what its CPUs have, or its TSC cannot go on here; -EINVAL: it is none of this
 * configuration.  After an error, or for another machine than it was called for, again. */
int machine_prepare(struct machine *m, const struct vmstate_parts *description, struct why *why);
/* In place of machine_arrive(): by config.on_migrate, and with what the network says of the clocks.
 * `stands`: it begins paused. */
void machine_arrive_from(struct machine *m, const struct vmstate_parts *state,
			 const struct hosts_window *window, bool stands);
/* Its time, its CPUs and its board; its memory is neither read nor written. */
int machine_load(struct machine *m, struct why *why);
/* What goes into its memory, when that is whole.  Nothing is left for machine_run() that could fail
 * on account of the machine, and nothing on this host has been changed that is not ours alone (a
 * console's file is emptied when it runs). */
int machine_finish(struct machine *m, struct why *why);

/* A bus reset, as by the guest; one that stands still does so afterwards as well.  If it cannot be
 * booted again: the end, MACHINE_END_RESET. */
int machine_reset(struct machine *m, struct why *why);

/* Somebody presses the power button: whether the guest heeds it is the guest's. */
void machine_power_button(struct machine *m);

/* The ticks that the RTC owes, as with QMP's rtc-reset-reinjection, are discarded. */
void machine_forget_rtc_ticks(struct machine *m);

void machine_time(struct machine *m, struct timestate *ret_time);

/* All 0 for a machine that did not start. */
void machine_stats(struct machine *m, struct machine_stats *ret_stats);

/* Writes out what is left of the consoles' output, restores the terminal, removes sockets.
 * Returns how many bytes of serial output nobody took; `why` as in console_close().  m may be
 * NULL. */
uint64_t machine_destroy(struct machine *m, struct why *why);

#endif
