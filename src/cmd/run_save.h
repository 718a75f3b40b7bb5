/* SPDX-License-Identifier: Apache-2.0 */
/* run_save.h - QMP's snapshot-save: the machine stands still while its memory is read, all others
 * are served.
 *
 * Meanwhile a second snapshot-save, cont and system_reset are refused, stop makes the machine stay
 * where it is, and its end (quit, a signal) gives the snapshot up.  Once the memory has been read
 * the machine goes on, while the file is brought to the disk. */
#ifndef CMD_RUN_SAVE_H
#define CMD_RUN_SAVE_H

#include <stdbool.h>

#include "cmd/run_qmp.h"

struct run_save;

/* The command, with its arguments as they came: QMP_LATER, or NULL and `why`. */
json_t *run_save_begin(struct run_qmp *qmp, const json_t *arguments, struct why *why);

/* Whether the machine has to stay as it is: `why` says so then, and names what was asked for. */
bool run_save_reads(const struct run_qmp *qmp, const char *what, struct why *why);

/* The same until it is written. */
bool run_save_is_busy(const struct run_qmp *qmp, const char *what, struct why *why);

/* Somebody wants the machine to stand still, whatever was to become of it. */
void run_save_stay(struct run_qmp *qmp);

/* The machine is at its end, or never began. */
void run_save_end(struct run_qmp *qmp);

#endif
