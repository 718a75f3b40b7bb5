/* SPDX-License-Identifier: Apache-2.0 */
/* run_migrate_json.h - a migration's parameters and figures, under the names that QEMU 7.2 has for
 * them; what is vmtime's own is in an object of that name. */
#ifndef CMD_RUN_MIGRATE_JSON_H
#define CMD_RUN_MIGRATE_JSON_H

#include <jansson.h>
#include <stdbool.h>

#include "move/migrate_source.h"
#include "move/migrate_target.h"

/* Ended by NULL. */
extern const char *const run_migrate_parameters[];

/* Changes those that are given.  0, or -EINVAL: none is changed. */
int run_migrate_take_params(const json_t *arguments, struct migrate_params *params,
			    struct why *why);
json_t *run_migrate_params(const struct migrate_params *params);

/* What query-migrate returns: `why` is of one that has failed, or NULL. */
json_t *run_migrate_report(const char *status, const struct migrate_stats *stats,
			   const struct why *why, bool unknown);

/* The same of one that comes. */
json_t *run_migrate_report_come(const char *status, const struct migrate_target_stats *stats);

#endif
