/* SPDX-License-Identifier: Apache-2.0 */
/* image_round.c - pages that were written, into a stream. */
#include "move/image_round.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "move/crew.h"

static_assert(DIRTY_PAGES == IMAGE_PAGES, "what is taken at once is one section");

/* Of /proc/self/pagemap (Linux, admin-guide/mm/pagemap). */
enum { ENTRY = sizeof(uint64_t) };
#define PRESENT (UINT64_C(1) << 63)
#define SWAPPED (UINT64_C(1) << 62)

/* Without compression one packs while another one writes, which takes longer: 90 MiB took 43 to 57
 * ms with one on two busy CPUs, 33 to 57 with two and 47 to 105 with three. */
enum { STORING_HANDS = 2 };

struct hand {
	struct image *image; /* NULL until it is needed */
	struct stream_section section;
	uint64_t gpa;
	uint32_t pages;
	uint8_t wanted[DIRTY_PAGES / 8];
	struct image_stats before; /* this piece */
	struct why why;
};

struct image_round {
	struct image_round_config c;
	struct hand hands[CREW_MOST];
	int pagemap;
	bool fresh, compress; /* of this round */
	bool through;         /* nothing is left to be taken in it */
};

static int open_pagemap(void)
{
	return open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
}

/* Guest memory is private and anonymous: a page that is neither here nor in the swap was never
 * touched, is zero, and need not be brought into being to see it.  Without a pagemap each is looked
 * at. */
static const uint8_t *look_touched(const struct image_round *r, uint64_t gpa, uint32_t pages,
				   uint8_t bits[IMAGE_PAGES / 8])
{
	const uint8_t *at = memory_at(r->c.memory, gpa, pages * MEMORY_PAGE);
	const uint64_t first = (uintptr_t)at / MEMORY_PAGE;
	uint64_t entries[IMAGE_PAGES];
	const ssize_t size = (ssize_t)pages * ENTRY;

	if (r->pagemap < 0 || !at ||
	    pread(r->pagemap, entries, (size_t)size, (off_t)first * ENTRY) != size)
		return NULL;
	memset(bits, 0, IMAGE_PAGES / 8);
	for (uint32_t n = 0; n < pages; n++)
		if (entries[n] & (PRESENT | SWAPPED))
			bits[n / 8] = (uint8_t)(bits[n / 8] | 1U << n % 8);
	return bits;
}

struct image_round *image_round_new(const struct image_round_config *config)
{
	struct image_round *r = calloc(1, sizeof(*r));

	if (!r)
		return NULL;
	r->c = *config;
	r->pagemap = open_pagemap();
	/* One at least, so that the last round needs no memory that it may not get. */
	r->hands[0].image = image_new();
	if (!r->hands[0].image) {
		image_round_free(r);
		return NULL;
	}
	return r;
}

void image_round_free(struct image_round *r)
{
	if (!r)
		return;
	for (unsigned i = 0; i < CREW_MOST; i++)
		image_free(r->hands[i].image);
	if (r->pagemap >= 0)
		close(r->pagemap);
	free(r);
}

static int take(void *owner, void *hand)
{
	struct image_round *r = owner;
	struct hand *h = hand;
	int result = r->c.may_go_on(r->c.owner, &h->why);

	if (result < 0 || r->through)
		return result;
	result = dirty_take(r->c.dirty, &h->gpa, &h->pages, h->wanted, &h->why);
	/* The next thread that asked would begin anew, and a page comes once in a round. */
	r->through = result == 0;
	return result;
}

static int pack(void *owner, void *hand)
{
	const struct image_round *r = owner;
	struct hand *h = hand;
	uint8_t touched[IMAGE_PAGES / 8];
	struct image_run run = {
		.gpa = h->gpa,
		.pages = h->pages,
		.wanted = h->wanted,
		.compress = r->compress,
	};
	int result;

	if (!h->image && !(h->image = image_new()))
		return why_set(&h->why, -ENOMEM, "%s: no memory to pack it", r->c.w->name);
	/* Read after the piece was taken: what is touched later is to be sent again. */
	if (r->fresh)
		run.touched = look_touched(r, h->gpa, h->pages, touched);
	h->before = (struct image_stats){0};
	image_add_stats(h->image, &h->before);
	result = image_pack(h->image, r->c.memory, &run, &h->section);
	return result < 0 ? why_set(&h->why, result,
				    "%s: %" PRIu32 " pages of memory at 0x%" PRIx64 " are none",
				    r->c.w->name, h->pages, h->gpa)
			  : 0;
}

static int give(void *owner, void *hand)
{
	const struct image_round *r = owner;
	struct hand *h = hand;
	struct image_stats piece = {0};
	int result = stream_put(r->c.w, &h->section, &h->why);

	if (result < 0)
		return result;
	image_add_stats(h->image, &piece);
	piece.pages -= h->before.pages;
	piece.zero_pages -= h->before.zero_pages;
	piece.bytes -= h->before.bytes;
	r->c.gone(r->c.owner, &piece);
	return 0;
}

int image_round_send(struct image_round *r, uint64_t pages, bool fresh, bool compress,
		     struct why *why)
{
	const struct crew crew = {take, pack, give, r};
	const unsigned worth = crew_hands(pages * MEMORY_PAGE);
	const unsigned n = compress || worth < STORING_HANDS ? worth : STORING_HANDS;
	void *pointers[CREW_MOST];
	unsigned failed = 0;
	int result;

	for (unsigned i = 0; i < CREW_MOST; i++)
		pointers[i] = &r->hands[i];
	r->through = false;
	r->fresh = fresh;
	r->compress = compress;
	result = crew_run(&crew, pointers, n, &failed);
	if (result < 0)
		why_set(why, result, "%s", r->hands[failed].why.text);
	return result;
}
