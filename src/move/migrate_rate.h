/* SPDX-License-Identifier: Apache-2.0 */
/* migrate_rate.h - how fast a machine goes, and how long what is left of it would take.
 *
 * A socket takes megabytes at once that a slow link has yet to carry: what send() has taken says
 * nothing of the link, and is downtime if the machine stands still meanwhile.  So a round that goes
 * while the machine runs is over when the queue is, but for MIGRATE_QUEUE_BYTES, and what is queued
 * counts as left.  Of the thread that sends. */
#ifndef MOVE_MIGRATE_RATE_H
#define MOVE_MIGRATE_RATE_H

#include "move/migrate_send.h"

enum { MIGRATE_QUEUE_BYTES = 64 << 10 };

/* Of a link that has carried nothing yet nobody knows how fast it is: before more than so many
 * pages are left to it while the machine stands still, there are three rounds. */
enum { MIGRATE_UNKNOWN_PAGES = 256 };

/* A round begins; a piece of it was written (image_round.h, of struct migrate_source); the queue is
 * empty; and what it has taken, with so many pages left. */
void migrate_rate_begin(struct migrate_source *s);
void migrate_rate_gone(void *source, const struct image_stats *piece);
void migrate_rate_drained(struct migrate_source *s);
void migrate_rate_end(struct migrate_source *s, uint64_t took_ns, uint64_t sent, uint64_t pages);

/* -ETIME: rounds bring the rest no lower, by both figures. */
int migrate_rate_complain(const struct migrate_source *s, const struct migrate_params *p,
			  struct why *why);

#endif
