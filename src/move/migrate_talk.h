/* SPDX-License-Identifier: Apache-2.0 */
/* migrate_talk.h - what the target of a live migration hears and says: one conversation after the
 * other, until one has had READY.  All in one thread, but for the statistics. */
#ifndef MOVE_MIGRATE_TALK_H
#define MOVE_MIGRATE_TALK_H

#include <stdbool.h>
#include <stdint.h>

#include "move/migrate_target.h"
#include "move/taker.h"
#include "move/wire.h"

/* What it says of where it is, for each thing that goes wrong there. */
enum talk_doing {
	TALK_ASKS = 0,
	TALK_MEMORY,
	TALK_STATE,
	TALK_GO,
	TALK_RUNNING,
	TALK_DOINGS,
};

struct talk_owner {
	void (*stage)(void *owner, enum migrate_target_stage stage);
	/* Reaches the stage and waits for its answer. */
	int (*question)(void *owner, enum migrate_target_stage stage, struct why *why);
	void *owner;
	const bool *give_up;
	int listener; /* where others wait; -1: nobody does */
};

struct talk {
	const struct migrate_target_config *config;
	struct talk_owner owner;
	char names[TALK_DOINGS][320];
	struct wire wire;
	struct stream_source from_wire;
	struct stream_writer writer;
	struct stream_reader reader;
	bool reads;                  /* the reader is open */
	uint64_t since_ns, until_ns; /* it greets, by when it must have; 0: it has */
	bool unfit;                  /* it has a machine, but not one for here */
	struct message_hello hello;  /* these two: of the last one that was ASKED about */
	struct vmstate_parts description;
	struct hosts_reading asked, answered;
	struct hosts_window window;
	struct taker *taker;
	struct vmstate_parts state;
	uint32_t ended_by; /* the word that ended the round */
	/* Atomic: */
	uint64_t come_bytes, remaining_bytes, ready_ns;
	uint32_t rounds;
};

/* Of one that is all 0; config and what is in owner by reference.  0 or -ENOMEM. */
int talk_init(struct talk *k, const struct migrate_target_config *config,
	      const struct talk_owner *owner, struct why *why);
void talk_free(struct talk *k);

/* Takes over the socket; up to BEGIN.  0 or negative errno, and k->unfit. */
int talk_begin(struct talk *k, int fd, struct why *why);

/* To the end.  0: the machine is ours, and a text in *why says what the source may not know of it;
 * or negative errno: it never was. */
int talk_go_on(struct talk *k, struct why *why);

/* After talk_begin(), whatever it said.  NULL: nothing has gone wrong. */
void talk_end(struct talk *k, const char *why);

void talk_stats(struct talk *k, uint64_t now_ns, struct migrate_target_stats *ret_stats);

#endif
