/* SPDX-License-Identifier: Apache-2.0 */
/* migrate_source.h - a running machine on its way to another host: the side that has it.
 *
 * A thread of its own talks to the target and sends memory, again and again what was written
 * meanwhile, until the rest is so little that it takes no longer than the downtime limit.  Then the
 * owner, in whose loop the machine runs, stops it and gives its state; once the target has all it
 * is told to go.  message.h has the words.
 *
 * What never gets less is given up with a word: after MIGRATE_ROUNDS rounds, or MIGRATE_NO_GAIN in
 * a row that have not brought the rest below the smallest so far.
 *
 * The owner learns of each stage by an eventfd, and answers those that are questions. */
#ifndef MOVE_MIGRATE_SOURCE_H
#define MOVE_MIGRATE_SOURCE_H

#include <stdbool.h>
#include <stdint.h>

#include "kvm/dirty.h"
#include "kvm/hosts.h"
#include "kvm/memory.h"
#include "kvm/vmstate_parts.h"
#include "move/address.h"
#include "move/image.h"

#define MIGRATE_ROUNDS 60U
#define MIGRATE_NO_GAIN 6U

enum migrate_source_stage {
	MIGRATE_SOURCE_SETUP = 0, /* connects, asks */
	MIGRATE_SOURCE_ACTIVE,    /* sends memory; the machine runs */
	/* The machine is to stand still: migrate_source_stands(), then migrate_source_state(); or,
	 * in place of each, migrate_source_cannot(); or migrate_source_not_yet() at first. */
	MIGRATE_SOURCE_HALT,
	MIGRATE_SOURCE_DEVICE, /* sends the rest, waits for LOADED */
	/* GO may have been written, and the target has not said RUNNING yet. */
	MIGRATE_SOURCE_GONE,
	/* The end: */
	MIGRATE_SOURCE_COMPLETED, /* the target runs it */
	MIGRATE_SOURCE_FAILED,    /* the target does not run it: it goes on here */
	MIGRATE_SOURCE_CANCELLED, /* the same, by migrate_source_cancel() */
	/* GO was written and no word came: the target may run it or not, so it must not go on here
	 * unless a person knows. */
	MIGRATE_SOURCE_UNKNOWN,
};

struct migrate_params {
	uint64_t max_bandwidth;     /* bytes a second while it runs; 0: no limit */
	uint64_t downtime_limit_ns; /* for which the machine may stand still */
	/* Nothing moves for so long: it has failed.  While the machine stands still no more than 2
	 * s, or 4 times downtime_limit_ns if that is more. */
	uint64_t patience_ns;
	bool compress; /* by zstd: for slow links */
};

struct migrate_source_config {
	struct address address;
	const char *name;                  /* of the target, for what goes wrong; its own text */
	const struct guest_memory *memory; /* by reference, as the next two, until the end */
	struct dirty *dirty;               /* begun; asked by the thread alone from here on */
	const struct vmstate_parts *description; /* MACHINE and FEATURES */
	bool stands;                             /* the machine stands still already */
	/* The host's clocks now; called by the thread. */
	int (*read_host)(void *owner, struct hosts_reading *ret_reading);
	void *owner;
};

struct migrate_stats {
	uint64_t total_ns, setup_ns; /* so far */
	uint64_t downtime_ns;        /* from migrate_source_stands() to RUNNING; 0: not yet */
	uint64_t expected_downtime_ns;
	uint64_t total_bytes, remaining_bytes; /* of guest memory */
	uint64_t transferred_bytes;            /* over the wire */
	struct image_stats image;              /* of all rounds */
	uint32_t rounds;                       /* begun */
	uint64_t dirty_pages_s;                /* a second, in the last round */
	uint64_t bytes_s;                      /* over the wire, in the last round */
	/* By the network: the target's clock minus this one's lies between (hosts.h). */
	struct hosts_window window;
};

struct migrate_source;

/* Begins.  0 or -ENOMEM. */
int migrate_source_begin(const struct migrate_source_config *config,
			 const struct migrate_params *params, struct migrate_source **ret_source,
			 struct why *why);

/* From any thread.  Parameters count from the next round on, max_bandwidth at once. */
void migrate_source_set(struct migrate_source *s, const struct migrate_params *params);
void migrate_source_stats(struct migrate_source *s, struct migrate_stats *ret_stats);

/* An eventfd, readable after each change of the stage until it is read. */
int migrate_source_fd(const struct migrate_source *s);
enum migrate_source_stage migrate_source_stage(const struct migrate_source *s);

/* The machine stands still; `time` are its parts CLOCK, TSC and HOST.  Both lists are taken over
 * and are empty afterwards; of `state` these three are left out. */
void migrate_source_stands(struct migrate_source *s, struct vmstate_parts *time);
void migrate_source_state(struct migrate_source *s, struct vmstate_parts *state);
/* It cannot at this moment, and runs: what it writes goes out, then it is ACTIVE and HALT again. */
void migrate_source_not_yet(struct migrate_source *s);
/* ... or it does not, or will not: the target is told, FAILED. */
void migrate_source_cannot(struct migrate_source *s, const struct why *why);

/* Unless GO was written it ends soon, CANCELLED.  0, or -EBUSY: it is too late. */
int migrate_source_cancel(struct migrate_source *s, struct why *why);

/* This process is to end and waits for no word any more: as migrate_source_cancel(), but what was
 * told to go is UNKNOWN soon. */
void migrate_source_abandon(struct migrate_source *s);

/* Waits for its end, which must be near, and frees it.  Why it failed is in *why. */
enum migrate_source_stage migrate_source_end(struct migrate_source *s,
					     struct migrate_stats *ret_stats, struct why *why);

#endif
