/* SPDX-License-Identifier: Apache-2.0 */
/* saver.h - a snapshot is written in a thread of its own, while others do what they have to do. */
#ifndef MOVE_SAVER_H
#define MOVE_SAVER_H

#include <stdbool.h>

#include "move/snapshot.h"

enum saver_stage {
	SAVER_READS = 0, /* the memory must not change */
	SAVER_WRITES,    /* it may again; the file is not whole yet */
	SAVER_DONE,
};

struct saver;

/* Begins.  *state is taken over and is empty afterwards, also when it fails; path and memory are
 * kept by reference until saver_end().  0 or -ENOMEM. */
int saver_begin(const char *path, struct vmstate_parts *state, const struct guest_memory *memory,
		struct saver **ret_saver, struct why *why);

/* An eventfd, readable after each change of the stage until it is read. */
int saver_fd(const struct saver *s);
enum saver_stage saver_stage(const struct saver *s);

/* It is not wanted any more, and ends soon; a file that is all written is still put in place. */
void saver_give_up(struct saver *s);

/* Waits for its end and frees it.  As snapshot_save(); -ECANCELED: it was given up. */
int saver_end(struct saver *s, struct image_stats *ret_stats, struct why *why);

#endif
