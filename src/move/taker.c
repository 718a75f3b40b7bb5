/* SPDX-License-Identifier: Apache-2.0 */
/* taker.c - memory and state of a machine that comes.
 *
 * All in the thread that reads.  With two more, pages as they are came at 0.7 GB/s in place of 1.4,
 * and in the lab at 0.32 in place of 0.34 (medians of eight in turns). */
#include "move/taker.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct taker {
	const struct guest_memory *memory;
	taker_other *other;
	void *owner;
	struct image *image;
	uint64_t pages; /* of the memory */
	uint64_t come;  /* how many of them ever have */
	/* A bit a page, high memory behind low: it has come ever; in this round. */
	uint64_t *ever, *round;
	pthread_mutex_t lock; /* of stats */
	struct image_stats stats;
};

static size_t words(const struct taker *t)
{
	return (t->pages + 63) / 64;
}

struct taker *taker_new(const struct guest_memory *fresh, taker_other *other, void *owner)
{
	struct taker *t = calloc(1, sizeof(*t));

	if (!t)
		return NULL;
	pthread_mutex_init(&t->lock, NULL);
	t->memory = fresh;
	t->other = other;
	t->owner = owner;
	t->pages = (fresh->low_size + fresh->high_size) / MEMORY_PAGE;
	t->image = image_new();
	t->ever = calloc(words(t), sizeof(*t->ever));
	t->round = calloc(words(t), sizeof(*t->round));
	if (!t->image || !t->ever || !t->round) {
		taker_free(t);
		return NULL;
	}
	return t;
}

void taker_free(struct taker *t)
{
	if (!t)
		return;
	image_free(t->image);
	free(t->ever);
	free(t->round);
	pthread_mutex_destroy(&t->lock);
	free(t);
}

/* True when it was set already. */
static bool set(uint64_t *bits, uint64_t n)
{
	const uint64_t bit = UINT64_C(1) << n % 64;
	const bool was = bits[n / 64] & bit;

	bits[n / 64] |= bit;
	return was;
}

/* Which pages have come.  One that comes twice in a round is an error of the source, though here
 * the last one would stay: whoever puts them in place in another order must be able to rely on it.
 * *ret_before: of how many it is not the first time. */
static int mark(struct taker *t, const struct stream_reader *r, const struct stream_section *s,
		const struct image_piece *p, uint64_t *ret_before, struct why *why)
{
	uint64_t first = p->gpa / MEMORY_PAGE;

	if (p->gpa >= MEMORY_HIGH_BASE)
		first = (t->memory->low_size + p->gpa - MEMORY_HIGH_BASE) / MEMORY_PAGE;
	*ret_before = 0;
	for (uint32_t n = 0; n < p->pages; n++) {
		if (!image_has(s, n))
			continue;
		if (set(t->round, first + n))
			return why_set(why, -EINVAL,
				       "%s: damaged: section %" PRIu32 ", of memory, has the page "
				       "at 0x%" PRIx64 " a second time (try again)",
				       r->name, p->number, (uint64_t)(p->gpa + n * MEMORY_PAGE));
		*ret_before += set(t->ever, first + n);
	}
	t->come += p->data + p->zero - *ret_before;
	return 0;
}

static int take_memory(struct taker *t, const struct stream_reader *r,
		       const struct stream_section *s, struct why *why)
{
	struct image_piece piece;
	uint64_t before;
	int result = image_look(r, s, t->memory, &piece, why);

	if (result < 0 || !piece.pages)
		return result;
	result = mark(t, r, s, &piece, &before, why);
	if (result == 0)
		result = image_unpack(t->image, r->name, s, &piece, t->memory, before == 0, why);
	pthread_mutex_lock(&t->lock);
	t->stats = (struct image_stats){0};
	image_add_stats(t->image, &t->stats);
	pthread_mutex_unlock(&t->lock);
	return result;
}

int taker_round(struct taker *t, struct stream_reader *r, struct why *why)
{
	struct stream_section s;
	int result;

	memset(t->round, 0, words(t) * sizeof(*t->round));
	while ((result = stream_next(r, &s, why)) > 0) {
		if (s.type == STREAM_MEMORY)
			result = take_memory(t, r, &s, why);
		else
			result = t->other(t->owner, &s, why);
		if (result != 0)
			break;
	}
	return result;
}

int taker_complete(const struct taker *t, const char *name, struct why *why)
{
	uint64_t n = 0;

	if (t->come == t->pages)
		return 0;
	while (t->ever[n / 64] >> n % 64 & 1)
		n++;
	n *= MEMORY_PAGE;
	if (n >= t->memory->low_size)
		n += MEMORY_HIGH_BASE - t->memory->low_size;
	return why_set(why, -EINVAL, "%s: the page at 0x%" PRIx64 " has never come (try again)",
		       name, n);
}

void taker_stats(struct taker *t, struct image_stats *ret_stats)
{
	pthread_mutex_lock(&t->lock);
	*ret_stats = t->stats;
	pthread_mutex_unlock(&t->lock);
}
