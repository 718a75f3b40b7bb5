/* SPDX-License-Identifier: Apache-2.0 */
/* migrate_target.h - a machine that comes from another host: the side that waits for it.
 *
 * A thread of its own listens, talks to the source and puts memory where it belongs; the owner
 * makes the machine.  Who connects and says nothing, or nothing that a source says, is turned away,
 * and the next one may come; once one has said BEGIN there is no other, and what goes wrong
 * from then on is the end of it.
 *
 * Beside the machine's memory it takes two bits a page of it, a section with what unpacks it, and
 * VMSTATE_BYTES_MAX; of who has not begun yet by some MiB. */
#ifndef MOVE_MIGRATE_TARGET_H
#define MOVE_MIGRATE_TARGET_H

#include <stdbool.h>
#include <stdint.h>

#include "kvm/memory.h"
#include "kvm/vmstate_parts.h"
#include "move/address.h"
#include "move/image.h"
#include "move/message.h"

enum migrate_target_stage {
	MIGRATE_TARGET_LISTENS = 0,
	/* Somebody has a machine: migrate_target_prepared(). */
	MIGRATE_TARGET_ASKED,
	MIGRATE_TARGET_ACTIVE, /* memory comes */
	/* All is there: migrate_target_loaded(). */
	MIGRATE_TARGET_WHOLE,
	MIGRATE_TARGET_LOADED, /* waits for GO */
	/* The machine is ours: migrate_target_running(). */
	MIGRATE_TARGET_GO,
	/* The end: */
	MIGRATE_TARGET_DONE,
	MIGRATE_TARGET_FAILED, /* it never was ours */
};

struct migrate_target_config {
	struct address address;
	const char *name;                  /* as it was given, for what goes wrong; its own text */
	const struct guest_memory *memory; /* fresh; by reference until the end */
	uint64_t hello_patience_ns;        /* of who connects and says nothing */
	uint64_t patience_ns; /* of one that has begun, or the source's if it has more */
	int (*read_host)(void *owner, struct hosts_reading *ret_reading);
	/* Somebody was turned away; called by the thread.  NULL: nobody asks.  `unfit`: he has a
	 * machine of another size of memory, or the owner said no.  Then the stage is
	 * LISTENS once more, and the eventfd says so. */
	void (*turned_away)(void *owner, bool unfit, const char *why);
	void *owner;
};

struct migrate_target_stats {
	struct image_stats image;
	uint64_t come_bytes;      /* over the wire */
	uint64_t remaining_bytes; /* as the source said last; UINT64_MAX: it has not */
	uint32_t rounds;
	uint64_t total_ns; /* since READY */
};

struct migrate_target;

/* Listens and begins.  0, or negative errno: -EADDRINUSE; -ENOMEM. */
int migrate_target_begin(const struct migrate_target_config *config,
			 struct migrate_target **ret_target, struct why *why);

int migrate_target_fd(const struct migrate_target *t); /* as migrate_source_fd() */
enum migrate_target_stage migrate_target_stage(const struct migrate_target *t);
void migrate_target_stats(struct migrate_target *t, struct migrate_target_stats *ret_stats);

/* How many have ASKED so far; 0 in any other stage. */
unsigned migrate_target_asked(struct migrate_target *t);

/* From ASKED on, until the next one is ASKED. */
const struct vmstate_parts *migrate_target_description(const struct migrate_target *t);
bool migrate_target_stands(const struct migrate_target *t); /* it is to stand still here as well */
/* From WHOLE on. */
const struct vmstate_parts *migrate_target_state(const struct migrate_target *t);
void migrate_target_window(const struct migrate_target *t, struct hosts_window *ret_window);

/* Answers, in the stages that ask: 0, or negative errno with its why, which the source is told.
 * The first that is negative turns the source away, unfit. */
void migrate_target_prepared(struct migrate_target *t, int result, const struct why *why);
void migrate_target_loaded(struct migrate_target *t, int result, const struct why *why);
void migrate_target_running(struct migrate_target *t, int result, const struct why *why);

/* It is not wanted any more, and ends soon, FAILED, unless GO has come. */
void migrate_target_give_up(struct migrate_target *t);

/* Waits for its end and frees it; NULL is taken.  *why: why it FAILED; of one that is DONE it is
 * empty, or says why the source may not know that the machine runs here. */
enum migrate_target_stage migrate_target_end(struct migrate_target *t, struct why *why);

#endif
