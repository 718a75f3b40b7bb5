/* SPDX-License-Identifier: Apache-2.0 */
/* run_progress.h - a line on standard error, a terminal, that is rewritten while a machine comes or
 * goes. */
#ifndef CMD_RUN_PROGRESS_H
#define CMD_RUN_PROGRESS_H

#include <stddef.h>

#include "move/migrate_source.h"
#include "move/migrate_target.h"

enum { RUN_PROGRESS_SIZE = 512, RUN_PROGRESS_MS = 250 };

/* "round 3, 312 MiB sent, 4.1 MiB left, 107 MB/s, 41.0 ms of downtime expected" */
void run_progress_going(const struct migrate_stats *stats, char text[RUN_PROGRESS_SIZE]);
/* "312 MiB in 3.12 s, it stood still for 41.0 ms" */
void run_progress_gone(const struct migrate_stats *stats, char text[RUN_PROGRESS_SIZE]);
/* "round 3, 312 MiB have come, 4.1 MiB left" */
void run_progress_coming(const struct migrate_target_stats *stats, char text[RUN_PROGRESS_SIZE]);

/* In place of what was there; no more of it than one row has, since only a row can be replaced. */
void run_progress_show(const char *text);
void run_progress_clear(void);

#endif
