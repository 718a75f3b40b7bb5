/* SPDX-License-Identifier: Apache-2.0 */
/* image_put.c - all of a guest's memory into a stream: a round in which each page is to be sent. */
#include <errno.h>

#include "move/image.h"
#include "move/image_round.h"

struct put {
	const char *name;
	const bool *give_up;
	struct image_stats *stats;
};

static int may_go_on(void *owner, struct why *why)
{
	const struct put *p = owner;

	if (p->give_up && __atomic_load_n(p->give_up, __ATOMIC_RELAXED))
		return why_set(why, -ECANCELED, "%s: was given up", p->name);
	return 0;
}

static void gone(void *owner, const struct image_stats *piece)
{
	struct image_stats *stats = ((const struct put *)owner)->stats;

	stats->pages += piece->pages;
	stats->zero_pages += piece->zero_pages;
	stats->bytes += piece->bytes;
}

int image_put_all(struct stream_writer *w, const struct guest_memory *memory, const bool *give_up,
		  struct image_stats *ret_stats, struct why *why)
{
	const struct dirty_log nobody_writes = {0};
	const uint64_t pages = (memory->low_size + memory->high_size) / MEMORY_PAGE;
	struct put p = {w->name, give_up, ret_stats};
	struct dirty dirty;
	const struct image_round_config config = {
		.w = w,
		.memory = memory,
		.dirty = &dirty,
		.may_go_on = may_go_on,
		.gone = gone,
		.owner = &p,
	};
	struct image_round *round;
	int result = dirty_init(&dirty, memory, &nobody_writes, NULL);

	*ret_stats = (struct image_stats){0};
	if (result < 0)
		return why_set(why, result, "%s: no memory to write it", w->name);
	round = image_round_new(&config);
	result = round ? image_round_send(round, pages, true, true, why)
		       : why_set(why, -ENOMEM, "%s: no memory to write it", w->name);
	image_round_free(round);
	dirty_free(&dirty);
	return result;
}
