/* SPDX-License-Identifier: Apache-2.0 */
/* dirty.c - which pages of guest memory have been written, and are yet to be sent. */
#include "kvm/dirty.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

enum { BITS = 64, PIECE_WORDS = DIRTY_PAGES / BITS };

static uint64_t pages_of(const struct dirty *d, uint32_t slot)
{
	return (slot ? d->memory->high_size : d->memory->low_size) / MEMORY_PAGE;
}

static uint64_t words(uint64_t pages)
{
	return (pages + BITS - 1) / BITS;
}

static uint64_t least(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* One word more than there are pages for, so that no piece of 0 pages is none. */
static uint64_t *bitmap(uint64_t pages)
{
	return calloc(words(pages) + 1, sizeof(uint64_t));
}

int dirty_init(struct dirty *d, const struct guest_memory *memory, const struct dirty_log *log,
	       struct why *why)
{
	*d = (struct dirty){.memory = memory, .log = *log};
	for (uint32_t slot = 0; slot < DIRTY_SLOTS; slot++) {
		const uint64_t pages = pages_of(d, slot);

		d->bits[slot] = bitmap(pages);
		d->come[slot] = bitmap(pages);
		if (!d->bits[slot] || !d->come[slot]) {
			dirty_free(d);
			return why_set(why, -ENOMEM, "no memory for a list of the guest's pages");
		}
		memset(d->bits[slot], 0xff, pages / BITS * sizeof(uint64_t));
		if (pages % BITS)
			d->bits[slot][pages / BITS] = (UINT64_C(1) << pages % BITS) - 1;
	}
	return 0;
}

void dirty_free(struct dirty *d)
{
	for (uint32_t slot = 0; slot < DIRTY_SLOTS; slot++) {
		free(d->bits[slot]);
		free(d->come[slot]);
	}
	*d = (struct dirty){0};
}

void dirty_written(struct dirty *d, uint64_t gpa, uint64_t length)
{
	const uint32_t slot = gpa >= MEMORY_HIGH_BASE;
	const uint64_t at = slot ? gpa - MEMORY_HIGH_BASE : gpa;
	const uint64_t end =
		least((at + length + MEMORY_PAGE - 1) / MEMORY_PAGE, pages_of(d, slot));

	for (uint64_t page = at / MEMORY_PAGE; length && page < end; page++)
		__atomic_fetch_or(&d->bits[slot][page / BITS], UINT64_C(1) << page % BITS,
				  __ATOMIC_SEQ_CST);
}

/* What has come is added; how many there are. */
static uint64_t add(struct dirty *d, uint32_t slot)
{
	const uint64_t n = words(pages_of(d, slot));
	uint64_t pages = 0;

	for (uint64_t i = 0; i < n; i++) {
		uint64_t word = d->come[slot][i];

		if (word)
			word |= __atomic_fetch_or(&d->bits[slot][i], word, __ATOMIC_SEQ_CST);
		else
			word = __atomic_load_n(&d->bits[slot][i], __ATOMIC_SEQ_CST);
		pages += (uint64_t)__builtin_popcountll(word);
	}
	return pages;
}

static int failed(struct why *why, int error)
{
	return why_set(why, -EIO, "KVM does not tell which pages were written: %s",
		       strerror(-error));
}

int dirty_collect(struct dirty *d, uint64_t *ret_pages, struct why *why)
{
	*ret_pages = 0;
	for (uint32_t slot = 0; slot < DIRTY_SLOTS; slot++) {
		int result;

		if (!pages_of(d, slot))
			continue;
		result = d->log.get(d->log.owner, slot, d->come[slot]);
		if (result < 0)
			return failed(why, result);
		*ret_pages += add(d, slot);
	}
	d->watched = d->page; /* what has come since is watched anew, too */
	return 0;
}

/* From `d->page` to the end of its window: those that are yet to be sent. */
static int watch(struct dirty *d, struct why *why)
{
	const uint64_t pages = pages_of(d, d->slot);
	const uint64_t first = d->page;
	const uint64_t end = least((first / DIRTY_WINDOW + 1) * DIRTY_WINDOW, pages);
	uint64_t *const told = d->come[d->slot] + first / BITS;
	int result = 0;

	for (uint64_t i = 0; i < words(end - first); i++)
		told[i] = __atomic_load_n(&d->bits[d->slot][first / BITS + i], __ATOMIC_SEQ_CST);
	if (d->log.clear)
		result = d->log.clear(d->log.owner, d->slot, first, (uint32_t)(end - first), told);
	if (result < 0)
		return failed(why, result);
	d->watched = end;
	return 0;
}

static bool is_clean(const struct dirty *d, uint64_t n)
{
	for (uint64_t i = 0; i < n; i++)
		if (__atomic_load_n(&d->bits[d->slot][d->page / BITS + i], __ATOMIC_SEQ_CST))
			return false;
	return true;
}

/* The next piece that is not clean; false: there is none, and the next call begins anew. */
static bool find(struct dirty *d)
{
	for (; d->slot < DIRTY_SLOTS; d->slot++, d->page = d->watched = 0) {
		const uint64_t pages = pages_of(d, d->slot);

		for (; d->page < pages; d->page += DIRTY_PAGES)
			if (!is_clean(d, words(least(DIRTY_PAGES, pages - d->page))))
				return true;
	}
	d->slot = 0;
	return false;
}

/* A bit is cleared before its page is read: who writes one later sets it again. */
int dirty_take(struct dirty *d, uint64_t *ret_gpa, uint32_t *ret_pages,
	       uint8_t bits[DIRTY_PAGES / 8], struct why *why)
{
	uint64_t taken[PIECE_WORDS] = {0};
	uint64_t pages;
	int result;

	if (!find(d))
		return 0;
	result = d->page >= d->watched ? watch(d, why) : 0;
	if (result < 0)
		return result;
	pages = least(DIRTY_PAGES, pages_of(d, d->slot) - d->page);
	for (uint64_t i = 0; i < words(pages); i++)
		taken[i] = __atomic_exchange_n(&d->bits[d->slot][d->page / BITS + i], 0,
					       __ATOMIC_SEQ_CST);
	memcpy(bits, taken, sizeof(taken));
	*ret_gpa = (d->slot ? MEMORY_HIGH_BASE : 0) + d->page * MEMORY_PAGE;
	*ret_pages = (uint32_t)pages;
	d->page += DIRTY_PAGES;
	return 1;
}

/* Both sides write first and look then: either this thread sees `dirty`, or what it has written is
 * seen by who reads memory after memory_tell(). */
void memory_written(struct guest_memory *memory, uint64_t gpa, uint64_t length)
{
	struct dirty *dirty;

	__atomic_fetch_add(&memory->telling, 1, __ATOMIC_SEQ_CST);
	dirty = __atomic_load_n(&memory->dirty, __ATOMIC_SEQ_CST);
	if (dirty)
		dirty_written(dirty, gpa, length);
	__atomic_fetch_sub(&memory->telling, 1, __ATOMIC_SEQ_CST);
}

void memory_tell(struct guest_memory *memory, struct dirty *dirty)
{
	__atomic_store_n(&memory->dirty, dirty, __ATOMIC_SEQ_CST);
	while (!dirty && __atomic_load_n(&memory->telling, __ATOMIC_SEQ_CST))
		sched_yield();
}
