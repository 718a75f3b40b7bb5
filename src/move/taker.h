/* SPDX-License-Identifier: Apache-2.0 */
/* taker.h - memory and state of a machine that comes: what was read is put where it belongs.
 *
 * Memory comes in rounds, a page at most once in each; what came last stays. */
#ifndef MOVE_TAKER_H
#define MOVE_TAKER_H

#include <stdbool.h>
#include <stdint.h>

#include "kvm/memory.h"
#include "move/image.h"
#include "move/stream.h"

struct taker;

/* What is no memory.  1: it ends the round; 0: go on; negative errno. */
typedef int taker_other(void *owner, const struct stream_section *section, struct why *why);

/* `fresh` is zero, not touched; by reference.  NULL: no memory. */
struct taker *taker_new(const struct guest_memory *fresh, taker_other *other, void *owner);
void taker_free(struct taker *t); /* takes NULL */

/* Reads until a section ends the round, and puts all before it in place.  1; 0: the stream has
 * ended; negative errno. */
int taker_round(struct taker *t, struct stream_reader *r, struct why *why);

/* 0, or -EINVAL: some page has never come. */
int taker_complete(const struct taker *t, const char *name, struct why *why);

/* From any thread. */
void taker_stats(struct taker *t, struct image_stats *ret_stats);

#endif
