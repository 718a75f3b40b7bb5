/* SPDX-License-Identifier: Apache-2.0 */
/* run_migrate.h - QMP's migrate: the machine goes to another host, while it runs.
 *
 * Meanwhile a second migrate, stop, cont, system_reset and snapshot-save are refused.  When the
 * machine is reset by its guest, or at its end, the migration fails.  When it fails, or somebody
 * cancels it, a machine that ran goes on.  One that has gone stands still here until quit; and so
 * does one of which nobody knows whether it runs over there: cont is refused then, unless it is
 * forced. */
#ifndef CMD_RUN_MIGRATE_H
#define CMD_RUN_MIGRATE_H

#include <event2/event.h>
#include <jansson.h>
#include <stdbool.h>

#include "move/migrate_source.h"

struct machine;
struct run_qmp;

enum run_migrate_place {
	RUN_MIGRATE_HERE = 0,
	RUN_MIGRATE_UNDER_WAY,
	RUN_MIGRATE_GONE,
	RUN_MIGRATE_UNKNOWN, /* nobody knows whether it runs over there */
};

#define RUN_MIGRATE_URI 320 /* bytes; longer ones are no addresses */

struct run_migrate {
	struct migrate_params params;
	bool progress; /* a line on stderr, a terminal that nobody else has */
	enum run_migrate_place place;
	const char *status; /* of the last one, in QEMU's words; NULL: there was none */
	char uri[RUN_MIGRATE_URI];
	struct migrate_stats stats; /* at its end */
	struct why why;             /* it failed */

	/* Of one that is under way. */
	struct migrate_source *source;
	struct machine *machine;
	struct vmstate_parts description;
	struct dirty dirty;
	struct event *event, *show;
	unsigned tries;
	bool ran;     /* and goes on if it comes to nothing */
	bool halted;  /* its state was given */
	bool cancels; /* somebody has asked for that */
};

/* No limit of speed, 300 ms of downtime, half a minute of patience, and no compression. */
void run_migrate_init(struct run_migrate *m);

/* Commands, with their arguments as they came: a new reference, or NULL and `why`.
 *
 * Begins, and tells with events what comes of it. */
json_t *run_migrate_begin(struct run_qmp *qmp, const json_t *arguments, struct why *why);
/* Nothing happens when none is under way.  Fails when it is too late. */
json_t *run_migrate_cancel(struct run_qmp *qmp, struct why *why);
json_t *run_migrate_query(const struct run_qmp *qmp);
json_t *run_migrate_set(struct run_qmp *qmp, const json_t *arguments, struct why *why);

/* Whether the machine is under way, gone, or nobody knows: `why` says so then, names what was asked
 * for, and what to do. */
bool run_migrate_refuses(const struct run_qmp *qmp, const char *what, struct why *why);

/* The same of what does not matter as long as the machine runs here. */
bool run_migrate_has_state(const struct run_qmp *qmp, const char *what, struct why *why);

/* In query-status; NULL: as it seems. */
const char *run_migrate_runstate(const struct run_qmp *qmp);

/* Whether a person who knows that it does not run over there may make it go on here; and it has. */
bool run_migrate_may_be_forced(const struct run_qmp *qmp);
void run_migrate_take_back(struct run_qmp *qmp);

/* The KVM VM is about to be closed, for a reset or for good: a migration fails; if it is too late
 * for that nobody knows any more. */
void run_migrate_closing(struct run_qmp *qmp);

#endif
