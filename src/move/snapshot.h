/* SPDX-License-Identifier: Apache-2.0 */
/* snapshot.h - a VM that stands still, as a file.
 *
 * The file holds its state first, then its memory (docs/snapshot-format.md).  It appears under its
 * name when all of it is on the disk; until then, and for ever when something goes wrong, what was
 * there before stays (file.h).  Memory is packed and unpacked by several threads (crew.h tells how
 * many).
 *
 * Reading is in two steps, for the state says which machine the memory is to be put into.  Nothing
 * of a snapshot may be used before snapshot_memory() has said that all of it is good. */
#ifndef MOVE_SNAPSHOT_H
#define MOVE_SNAPSHOT_H

#include "kvm/memory.h"
#include "kvm/vmstate_parts.h"
#include "move/image.h"

/* What somebody else has to do with a snapshot that is being written. */
struct snapshot_watch {
	bool give_up; /* set by any thread: -ECANCELED soon after, unless all is written */
	/* In the thread that writes: the memory has been read and may change again.  NULL: nobody
	 * waits for it. */
	void (*taken)(void *owner);
	void *owner;
};

/* 0, or negative errno and the old file, if any, as it was.  `watch` may be NULL. */
int snapshot_save(const char *path, const struct vmstate_parts *state,
		  const struct guest_memory *memory, struct snapshot_watch *watch,
		  struct image_stats *ret_stats, struct why *why);

/* The same into anything. */
int snapshot_write(const struct stream_sink *sink, const char *name,
		   const struct vmstate_parts *state, const struct guest_memory *memory,
		   struct snapshot_watch *watch, struct image_stats *ret_stats, struct why *why);

struct snapshot;

/* Opens a file and reads the state; the name is kept by reference.  0, or negative errno and
 * nothing left. */
int snapshot_open(const char *path, struct snapshot **ret_snapshot, struct why *why);

/* The same from anything; `source` is used until snapshot_memory() or snapshot_close(). */
int snapshot_read(const struct stream_source *source, const char *name,
		  struct snapshot **ret_snapshot, struct why *why);

const struct vmstate_parts *snapshot_state(const struct snapshot *s);

/* Reads the memory, to the end of the file, into one of the same size that is fresh: zero, not
 * touched.  Once; the file is closed then, and `source` no longer used. */
int snapshot_memory(struct snapshot *s, const struct guest_memory *fresh,
		    struct image_stats *ret_stats, struct why *why);

void snapshot_close(struct snapshot *s); /* takes NULL */

#endif
