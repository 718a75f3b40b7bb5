/* SPDX-License-Identifier: Apache-2.0 */
/* taker.c - memory and state of a machine that comes. */
#include "move/taker.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "move/crew.h"

/* A thread's own, which it gets when it first needs it and keeps for the next round. */
struct hand {
	struct image *image;
	uint8_t *bytes; /* of the section */
	const char *name;
	struct stream_section section;
	struct image_piece piece;
	bool fresh; /* none of its pages has come before */
	struct why why;
};

struct taker {
	const struct guest_memory *memory;
	taker_other *other;
	void *owner;
	struct stream_reader *reader;
	struct hand hands[CREW_MOST];
	unsigned n;     /* of these work in this round */
	bool over;      /* the round is */
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
	t->ever = calloc(words(t), sizeof(*t->ever));
	t->round = calloc(words(t), sizeof(*t->round));
	if (!t->ever || !t->round) {
		taker_free(t);
		return NULL;
	}
	return t;
}

void taker_free(struct taker *t)
{
	if (!t)
		return;
	for (unsigned i = 0; i < CREW_MOST; i++) {
		image_free(t->hands[i].image);
		free(t->hands[i].bytes);
	}
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

/* Two of a page in one round would be put in place in any order. */
static int mark(struct taker *t, struct hand *h)
{
	const struct image_piece *p = &h->piece;
	uint64_t first = p->gpa / MEMORY_PAGE, before = 0;

	if (p->gpa >= MEMORY_HIGH_BASE)
		first = (t->memory->low_size + p->gpa - MEMORY_HIGH_BASE) / MEMORY_PAGE;
	for (uint32_t n = 0; n < p->pages; n++) {
		if (!image_has(&h->section, n))
			continue;
		if (set(t->round, first + n))
			return why_set(&h->why, -EINVAL,
				       "%s: damaged: section %" PRIu32 ", of memory, has the page "
				       "at 0x%" PRIx64 " a second time (try again)",
				       h->name, p->number, (uint64_t)(p->gpa + n * MEMORY_PAGE));
		before += set(t->ever, first + n);
	}
	h->fresh = before == 0;
	t->come += p->data + p->zero - before;
	return 0;
}

static int no_memory(struct hand *h)
{
	return why_set(&h->why, -ENOMEM, "%s: no memory to take it in", h->name);
}

static int take_memory(struct taker *t, struct hand *h)
{
	int result = image_look(t->reader, &h->section, t->memory, &h->piece, &h->why);

	if (result < 0 || !h->piece.pages)
		return result;
	result = mark(t, h);
	if (result < 0)
		return result;
	if (t->n > 1 && !h->bytes && !(h->bytes = malloc(STREAM_MOST)))
		return no_memory(h);
	/* One alone may leave its section where it was read. */
	if (t->n > 1)
		h->section.bytes = h->bytes = stream_swap(t->reader, h->bytes);
	return 1;
}

static int take(void *owner, void *hand)
{
	struct taker *t = owner;
	struct hand *h = hand;
	int result = 0;

	h->name = t->reader->name;
	while (result == 0 && !t->over) {
		result = stream_next(t->reader, &h->section, &h->why);
		if (result <= 0)
			return result;
		h->name = t->reader->name;
		if (h->section.type == STREAM_MEMORY) {
			result = take_memory(t, h);
			continue;
		}
		result = t->other(t->owner, &h->section, &h->why);
		if (result > 0) {
			t->over = true;
			result = 0;
		}
	}
	return result;
}

static int unpack(void *owner, void *hand)
{
	struct taker *t = owner;
	struct hand *h = hand;
	int result;

	if (!h->image && !(h->image = image_new()))
		return no_memory(h);
	result = image_unpack(h->image, h->name, &h->section, &h->piece, t->memory, h->fresh,
			      &h->why);
	pthread_mutex_lock(&t->lock);
	t->stats.pages += h->piece.data + h->piece.zero;
	t->stats.zero_pages += h->piece.zero;
	t->stats.bytes += STREAM_SECTION + h->section.length;
	pthread_mutex_unlock(&t->lock);
	return result;
}

int taker_round(struct taker *t, struct stream_reader *r, uint64_t bytes, struct why *why)
{
	const struct crew crew = {take, unpack, NULL, t};
	void *pointers[CREW_MOST];
	unsigned failed = 0;
	int result;

	t->reader = r;
	t->n = crew_hands(bytes);
	t->over = false;
	memset(t->round, 0, words(t) * sizeof(*t->round));
	for (unsigned i = 0; i < t->n; i++)
		pointers[i] = &t->hands[i];
	result = crew_run(&crew, pointers, t->n, &failed);
	if (result < 0)
		return why_set(why, result, "%s", t->hands[failed].why.text);
	return t->over;
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
