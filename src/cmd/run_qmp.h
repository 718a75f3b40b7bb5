/* SPDX-License-Identifier: Apache-2.0 */
/* run_qmp.h - what `vmtime run --qmp` answers and tells: between the QMP server and the machine. */
#ifndef CMD_RUN_QMP_H
#define CMD_RUN_QMP_H

#include <stdbool.h>

#include "cmd/run_incoming.h"
#include "cmd/run_migrate.h"
#include "kvm/machine.h"
#include "link/qmp.h"

struct run_save;

struct run_qmp {
	struct machine *machine;
	struct event_base *base;
	struct run_save *save;        /* a snapshot is being written; NULL: none */
	struct run_migrate migrate;   /* it goes */
	struct run_incoming incoming; /* it comes */
	struct qmp *server;           /* NULL: not open */
	struct qmp_config config;
	bool quit; /* a client has ended the machine */
};

/* Before machine_run().  `path` and *qmp, whose machine and base are set, are kept by reference.
 * 0 or negative errno and nothing left behind. */
int run_qmp_open(struct run_qmp *qmp, const char *path, struct why *why);

/* The KVM VM is about to be closed, as in struct machine_watch. */
void run_qmp_closing(struct run_qmp *qmp);

/* What happens while the machine runs, as in struct machine_watch: told to the clients, if any. */
void run_qmp_reset(struct run_qmp *qmp, bool by_guest);
void run_qmp_changed(struct run_qmp *qmp, const struct chipset_change *change);

/* The machine stands still, and goes on, as by the commands stop and cont; nothing happens to one
 * that does.  0 or negative errno. */
int run_qmp_stop(struct run_qmp *qmp, struct why *why);
int run_qmp_go_on(struct run_qmp *qmp, struct why *why);

/* After machine_run(): tells the clients why it ended, and leaves.  `signalled`: a signal is why it
 * was stopped; `end` may be NULL: it did not start. */
void run_qmp_close(struct run_qmp *qmp, const struct machine_end *end, bool signalled);

/* What query-vmtime returns; a new reference.  NULL without memory. */
json_t *run_qmp_time(const struct timestate *time);

/* The data of VMTIME_CHANGE.  `has_bound` as in struct timestate. */
json_t *run_qmp_change(const struct chipset_change *change, bool has_bound);

/* What RTC_CHANGE has: whole seconds, to the nearest. */
int64_t run_qmp_seconds(int64_t ns);

#endif
