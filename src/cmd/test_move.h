/* SPDX-License-Identifier: Apache-2.0 */
/* test_move.h - a running guest is moved to a new VMM beside its own, by QMP's `migrate`.
 *
 * The new one is started first and waits on a UNIX socket.  How long the guest did not run and how
 * long all took is told by the timestamps of both VMMs' events, which are of one clock, and so by
 * the same measure for every subject. */
#ifndef CMD_TEST_MOVE_H
#define CMD_TEST_MOVE_H

#include "cmd/test_qmp.h"
#include "cmd/test_subject.h"

struct test_event_run;

struct test_move {
	struct test_machine next; /* the one that the guest comes to; pid 0: none */
	int fd;                   /* the samples' port of that one; -1: none */
	struct test_qmp qmp;      /* of that one */
	unsigned number;          /* from 1; 0: none was asked for yet */
	uint64_t since_ns;        /* CLOCK_MONOTONIC, when it was asked for; ... */
	int64_t asked_ns;         /* ... by CLOCK_REALTIME, ... */
	uint64_t asked_tsc;       /* ... and by the guest's TSC */

	unsigned untold; /* looks at one that is done whose events have not come */

	/* Of the last one that is done. */
	uint64_t downtime_ns; /* from STOP to RESUME */
	uint64_t total_ns;    /* until the guest ran there and its old VMM was done */
};

/* The longest that one may take. */
extern const uint64_t test_move_patience_ns;

/* Starts the new VMM and, once that waits, the move.  0, or a negative errno with its why. */
int test_move_begin(struct test_event_run *r);

/* 1: the guest runs in the new one; 0: not yet; or a negative errno with its why. */
int test_move_step(struct test_event_run *r);

/* Ends the old VMM, takes what the guest has still said by it, and goes on with the new one.  0, or
 * a negative errno with its why. */
int test_move_end(struct test_event_run *r);

/* Ends a VMM to which nothing came. */
void test_move_free(struct test_move *m);

/* The steps of these, also for a guest that goes on from a file.  A moment in which readings come
 * in; true: it is too late, or asked to end. */
bool test_move_wait(struct test_event_run *r, uint64_t end_ns);

/* A VMM's QMP socket is there once it can be asked.  0, or a negative errno with its why. */
int test_move_meet(struct test_event_run *r, struct test_machine *m, struct test_qmp *ret_qmp);

/* Ends the guest's VMM and takes what it has still said.  0, or a negative errno with its why. */
int test_move_leave(struct test_event_run *r);

#endif
