/* SPDX-License-Identifier: Apache-2.0 */
/* image_put.c - all of a guest's memory into a stream: packed side by side, written in order. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "move/crew.h"
#include "move/image.h"

enum { ENTRY = sizeof(uint64_t) };

/* Of an entry of /proc/self/pagemap (Linux, admin-guide/mm/pagemap). */
#define PRESENT (UINT64_C(1) << 63)
#define SWAPPED (UINT64_C(1) << 62)

struct hand {
	struct image *image; /* NULL until it is needed */
	struct stream_section section;
	uint64_t gpa;
	uint32_t pages;
	struct why why;
};

struct put {
	struct stream_writer *w;
	const struct guest_memory *memory;
	const bool *give_up;
	int pagemap;        /* -1: none */
	uint64_t next, end; /* of the piece that is being taken */
};

int image_pagemap(void)
{
	return open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
}

/* Guest memory is private and anonymous: a page that is neither here nor in the swap was never
 * touched, is zero, and need not be brought into being to see it.  Without a pagemap each is looked
 * at. */
const uint8_t *image_touched(int pagemap, const struct guest_memory *memory, uint64_t gpa,
			     uint32_t pages, uint8_t bits[IMAGE_PAGES / 8])
{
	const uint8_t *at = memory_at(memory, gpa, pages * MEMORY_PAGE);
	const uint64_t first = (uintptr_t)at / MEMORY_PAGE;
	uint64_t entries[IMAGE_PAGES];
	const ssize_t size = (ssize_t)pages * ENTRY;

	if (pagemap < 0 || !at ||
	    pread(pagemap, entries, (size_t)size, (off_t)first * ENTRY) != size)
		return NULL;
	memset(bits, 0, IMAGE_PAGES / 8);
	for (uint32_t n = 0; n < pages; n++)
		if (entries[n] & (PRESENT | SWAPPED))
			bits[n / 8] = (uint8_t)(bits[n / 8] | 1U << n % 8);
	return bits;
}

static int take(void *owner, void *hand)
{
	struct put *p = owner;
	struct hand *h = hand;

	if (p->give_up && __atomic_load_n(p->give_up, __ATOMIC_RELAXED))
		return why_set(&h->why, -ECANCELED, "%s: was given up", p->w->name);
	if (p->next == p->end && p->end == p->memory->low_size && p->memory->high_size) {
		p->next = MEMORY_HIGH_BASE;
		p->end = MEMORY_HIGH_BASE + p->memory->high_size;
	}
	h->gpa = p->next;
	h->pages = p->end - p->next < IMAGE_PAGES * MEMORY_PAGE
			   ? (uint32_t)((p->end - p->next) / MEMORY_PAGE)
			   : IMAGE_PAGES;
	p->next += h->pages * MEMORY_PAGE;
	return h->pages > 0;
}

static int pack(void *owner, void *hand)
{
	const struct put *p = owner;
	struct hand *h = hand;
	uint8_t bits[IMAGE_PAGES / 8];
	const struct image_run run = {
		.gpa = h->gpa,
		.pages = h->pages,
		.touched = image_touched(p->pagemap, p->memory, h->gpa, h->pages, bits),
		.compress = true,
	};
	int result;

	if (!h->image && !(h->image = image_new()))
		return why_set(&h->why, -ENOMEM, "%s: no memory to write it", p->w->name);
	result = image_pack(h->image, p->memory, &run, &h->section);
	return result < 0 ? why_set(&h->why, result,
				    "%s: %" PRIu32 " pages of memory at 0x%" PRIx64 " are none",
				    p->w->name, h->pages, h->gpa)
			  : 0;
}

static int give(void *owner, void *hand)
{
	const struct put *p = owner;
	struct hand *h = hand;

	return stream_put(p->w, &h->section, &h->why);
}

int image_put_all(struct stream_writer *w, const struct guest_memory *memory, const bool *give_up,
		  struct image_stats *ret_stats, struct why *why)
{
	struct put p = {.w = w, .memory = memory, .give_up = give_up, .end = memory->low_size};
	const struct crew crew = {take, pack, give, &p};
	struct hand hands[CREW_MOST] = {{0}};
	void *pointers[CREW_MOST] = {NULL};
	unsigned n = crew_hands(memory->low_size + memory->high_size), failed = 0;
	int result;

	*ret_stats = (struct image_stats){0};
	for (unsigned i = 0; i < n; i++)
		pointers[i] = &hands[i];
	p.pagemap = image_pagemap();
	result = crew_run(&crew, pointers, n, &failed);
	if (p.pagemap >= 0)
		close(p.pagemap);
	for (unsigned i = 0; i < n; i++) {
		if (hands[i].image)
			image_add_stats(hands[i].image, ret_stats);
		image_free(hands[i].image);
	}
	if (result < 0)
		why_set(why, result, "%s", hands[failed].why.text);
	return result;
}
