/* SPDX-License-Identifier: Apache-2.0 */
/* run_incoming.h - a machine that comes from another host: until it is here QMP answers, but
 * refuses what needs a machine.
 *
 * Who connects and has no machine is turned away, with a line; whose machine is not one of this
 * configuration, or does not fit this host, is told so, and that is the end. */
#ifndef CMD_RUN_INCOMING_H
#define CMD_RUN_INCOMING_H

#include <event2/event.h>
#include <jansson.h>
#include <stdbool.h>

#include "kvm/machine.h"
#include "move/migrate_target.h"

struct run_qmp;

enum run_incoming_place {
	RUN_INCOMING_NONE = 0, /* nothing comes, or came */
	RUN_INCOMING_COMES,
	RUN_INCOMING_HERE,
};

struct run_incoming {
	const char *uri; /* as it was given */
	bool progress;   /* as in struct run_migrate */
	struct machine *machine;
	struct event_base *base;
	struct run_qmp *qmp;
	enum run_incoming_place place;
	const char *status;                /* in QEMU's words; NULL: none */
	struct migrate_target_stats stats; /* at its end */

	struct migrate_target *target; /* NULL: it is over */
	struct event *event, *show;
	struct hosts_window window;
	int result; /* of what was made of it so far */
	struct why why;
	unsigned prepared; /* for so many that have asked; what follows, for the last one */
	bool loaded;       /* or not, as `result` says */
	bool unfit;        /* it is another machine, and was told so; atomic */
	struct why unfit_why;
	bool answered; /* that it runs, or does not */
	bool ours;     /* GO has come */
	bool over;     /* it does not come */
};

/* Waits in the loop until the machine is ours: 0, and machine_run() is next, then
 * run_incoming_end().  -ECANCELED: the loop was ended, as by machine_stop(); else negative errno
 * and why it does not come.  The members up to qmp are set, the rest is 0. */
int run_incoming_wait(struct run_incoming *in, const struct address *address, struct why *why);

/* The watch of the machine tells so: it runs, or stands still as it stood there. */
void run_incoming_runs(struct run_incoming *in);

/* After machine_run(), which said this. */
void run_incoming_end(struct run_incoming *in, int result, const struct why *why);

/* Whether there is no machine yet: `why` says so then, and names what was asked for. */
bool run_incoming_refuses(const struct run_incoming *in, const char *what, struct why *why);

/* What query-migrate returns; NULL: nothing ever came. */
json_t *run_incoming_query(const struct run_incoming *in);

#endif
