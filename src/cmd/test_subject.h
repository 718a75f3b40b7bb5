/* SPDX-License-Identifier: Apache-2.0 */
/* test_subject.h - starts and stops the virtual machine that is tested: vmtime's own or QEMU's.
 *
 * Either boots the same kernel with the observer as process 1, console and samples on two serial
 * ports, or the probe, which has samples only; in a process group of its own that dies with this
 * process. */
#ifndef CMD_TEST_SUBJECT_H
#define CMD_TEST_SUBJECT_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "cmd/test.h"
#include "host/why.h"

struct test_machine {
	pid_t pid; /* 0: none */
	bool ended;
	int status;                               /* of wait, once it has ended */
	char **command;                           /* NULL-ended, owned */
	char dir[64];                             /* for the socket; removed at the end */
	char console[PATH_MAX], errors[PATH_MAX]; /* what guest and VMM said */
	char port[PATH_MAX];                      /* the socket of the samples */
	char qmp[PATH_MAX];                       /* that of QMP, where it was asked for */
	char snapshot[PATH_MAX];                  /* for a file that it is saved to */
	char move[PATH_MAX];                      /* for the socket of the one that takes it over */
	off_t console_seen;                       /* test_machine_panicked() looked so far */
};

struct test_machine_config {
	const struct test_options *options;
	enum test_subject subject;
	const char *clocksource;
	const char *kernel, *initrd;
	const char *probe;    /* what the probe, which is then the kernel, is to do; NULL: Linux */
	bool faces;           /* Linux is to read every clock, so QEMU's machine has an HPET too */
	bool costs;           /* it is to measure what readings cost */
	bool unstable;        /* kvm-clock is not to be marked TSC_STABLE */
	bool qmp;             /* it opens a QMP socket */
	const char *incoming; /* it is one that was saved, as its --incoming; NULL: it boots */
	unsigned clone;       /* which one of them, from 1 */
	const char *const *more; /* options of vmtime's besides, NULL-ended; NULL: none */
	const char *keep;        /* directory for console and errors, or NULL */
};

/* True when a guest on clock source number `c` lives by our PIT's ticks alone: then it is to have
 * got all of them in the end. */
bool test_counts_our_ticks(const struct test_options *options, enum test_subject subject,
			   unsigned c);

/* True when the machine's RTC lets the guest begin in the middle of a second: vmtime's, unless
 * options ask for another (`--rtc`) or for another time (`--date`). */
bool test_boots_exactly(const struct test_options *options, enum test_subject subject);

/* The value of this option for `vmtime run`, as of "--ticks", the last that counts; NULL: it is not
 * given. */
const char *test_run_option(const struct test_options *options, const char *name);

/* True when it is given. */
bool test_run_option_given(const struct test_options *options, const char *name);

/* 0 or negative errno with nothing left behind. */
int test_machine_start(const struct test_machine_config *config, struct test_machine *ret_machine,
		       struct why *why);

/* Connects *fd to the samples' port where that is -1 and the machine has it by now.  0, or negative
 * errno with its why. */
int test_machine_connect(const struct test_machine *m, int *fd, struct why *why);

/* The same, waits a moment for bytes and gives them to
 * `take`, which returns 0 or -ENOMEM; a connection that the machine closed is closed here too.  0,
 * or negative errno with its why: as above, or what `take` returned. */
int test_machine_feed(const struct test_machine *m, int *fd,
		      int (*take)(void *stream, const char *bytes, size_t size), void *stream,
		      struct why *why);

/* True once its process has ended, and with it what it started; never waits. */
bool test_machine_has_ended(struct test_machine *m);

/* True once the guest's console shows the line of a kernel panic; to be asked until it does. */
bool test_machine_panicked(struct test_machine *m);

/* The first line of the guest's console that is an alarm (guest/log.h), without its time, cut to
 * fit.  False: there is none; `buf` is left as it was. */
bool test_machine_alarmed(const struct test_machine *m, char *buf, size_t size);

/* The last line that says why it failed: the guest's panic, else the VMM's own, else the guest's;
 * "" when there is none. */
void test_machine_last_words(const struct test_machine *m, char *buf, size_t size);

/* Writes down `what` is wrong with it and its last words; -ETIMEDOUT. */
int test_machine_complain(const struct test_machine *m, const char *what, struct why *why);

/* The same of one that has ended by itself, with its status. */
int test_machine_complain_of_end(const struct test_machine *m, struct why *why);

/* Ends it, asking first, and removes what is not to be kept.  Takes one that was never started. */
void test_machine_stop(struct test_machine *m);

#endif
