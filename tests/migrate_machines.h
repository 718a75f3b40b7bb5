/* SPDX-License-Identifier: Apache-2.0 */
/* migrate_machines.h - a machine that is none, on two hosts that are none: its memory, a thread in
 * place of its CPUs, and who runs it. */
#ifndef TESTS_MIGRATE_MACHINES_H
#define TESTS_MIGRATE_MACHINES_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kvm/dirty.h"
#include "kvm/memory.h"
#include "kvm/vmstate_parts.h"

enum {
	M_PAGE = 4096,
	M_HIGH_PAGES = 5,
	M_WORDS = 64, /* so low_pages is a multiple of 64, and at most 4096 */
};

enum machine_place { NOWHERE = 0, AT_SOURCE, AT_TARGET };

struct fake_machine {
	struct guest_memory source, target;
	uint32_t low_pages;
	uint32_t hot; /* its CPU writes the first so many again and again; no multiple of 37 */
	uint64_t written[2][M_WORDS]; /* what KVM would know; atomic */
	struct dirty dirty;
	enum machine_place runs; /* atomic */
	bool both;               /* atomic: it was to run at two places */
	pthread_t cpu;
	pthread_mutex_t lock; /* held while it writes a page */
	bool allowed, over;
	unsigned writes; /* atomic */
	uint8_t *was;    /* its memory when it stood still */
};

static inline size_t fake_bytes(const struct fake_machine *m)
{
	return (size_t)(m->low_pages + M_HIGH_PAGES) * M_PAGE;
}

/* May be smaller than any real one. */
static inline struct guest_memory fake_memory(const struct fake_machine *m)
{
	const size_t size = fake_bytes(m), low = (size_t)m->low_pages * M_PAGE;
	uint8_t *at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (at == MAP_FAILED)
		abort();
	return (struct guest_memory){
		.low = at,
		.low_size = low,
		.high = at + low,
		.high_size = (uint64_t)M_HIGH_PAGES * M_PAGE,
	};
}

static inline int fake_get(void *owner, uint32_t slot, uint64_t *bits)
{
	struct fake_machine *m = owner;
	const unsigned n = slot ? 1 : m->low_pages / 64;

	for (unsigned i = 0; i < n; i++)
		bits[i] = __atomic_load_n(&m->written[slot][i], __ATOMIC_SEQ_CST);
	return 0;
}

static inline int fake_clear(void *owner, uint32_t slot, uint64_t first, uint32_t pages,
			     const uint64_t *bits)
{
	struct fake_machine *m = owner;

	for (uint32_t i = 0; i < (pages + 63) / 64; i++)
		__atomic_fetch_and(&m->written[slot][first / 64 + i], ~bits[i], __ATOMIC_SEQ_CST);
	return 0;
}

/* A guest's write, which nothing that watches this process's threads sees. */
__attribute__((no_sanitize("thread"), noinline)) static void
fake_write(struct fake_machine *m, uint32_t page, unsigned value)
{
	volatile uint8_t *at = m->source.low + (size_t)page * M_PAGE;
	const uint32_t slot = page >= m->low_pages, n = slot ? page - m->low_pages : page;

	for (unsigned i = 0; i < 64; i++)
		at[i * 61] = (uint8_t)(value + i);
	__atomic_fetch_or(&m->written[slot][n / 64], UINT64_C(1) << n % 64, __ATOMIC_SEQ_CST);
}

static inline void *fake_cpu(void *arg)
{
	struct fake_machine *m = arg;
	bool over = false;

	while (!over) {
		pthread_mutex_lock(&m->lock);
		over = m->over;
		if (m->allowed) {
			fake_write(m, m->writes * 37 % m->hot, m->writes);
			__atomic_fetch_add(&m->writes, 1, __ATOMIC_SEQ_CST);
		}
		pthread_mutex_unlock(&m->lock);
		usleep(500);
	}
	return NULL;
}

static inline void fake_allow(struct fake_machine *m, bool allowed)
{
	pthread_mutex_lock(&m->lock);
	m->allowed = allowed;
	pthread_mutex_unlock(&m->lock);
}

/* It is to run there, so it must run nowhere else. */
static inline void fake_run(struct fake_machine *m, enum machine_place place)
{
	if (__atomic_exchange_n(&m->runs, place, __ATOMIC_SEQ_CST) != NOWHERE)
		__atomic_store_n(&m->both, true, __ATOMIC_SEQ_CST);
	if (place == AT_SOURCE)
		fake_allow(m, true);
}

static inline void fake_stop(struct fake_machine *m, enum machine_place place)
{
	enum machine_place was = place;

	if (place == AT_SOURCE)
		fake_allow(m, false);
	__atomic_compare_exchange_n(&m->runs, &was, NOWHERE, false, __ATOMIC_SEQ_CST,
				    __ATOMIC_SEQ_CST);
}

/* Of its pages one of `apart` has something in it. */
static inline struct fake_machine *fake_new(uint32_t low_pages, uint32_t hot, uint32_t apart)
{
	struct fake_machine *m = calloc(1, sizeof(*m));
	const struct dirty_log log = {fake_get, fake_clear, m};

	if (!m)
		abort();
	m->low_pages = low_pages;
	m->hot = hot;
	if (!(m->was = malloc(fake_bytes(m))))
		abort();
	m->source = fake_memory(m);
	m->target = fake_memory(m);
	for (uint32_t page = 0; page < low_pages + M_HIGH_PAGES; page += apart)
		fake_write(m, page, page);
	pthread_mutex_init(&m->lock, NULL);
	if (dirty_init(&m->dirty, &m->source, &log, NULL) < 0 ||
	    pthread_create(&m->cpu, NULL, fake_cpu, m) != 0)
		abort();
	m->source.dirty = &m->dirty;
	fake_run(m, AT_SOURCE);
	return m;
}

static inline void fake_free(struct fake_machine *m)
{
	pthread_mutex_lock(&m->lock);
	m->over = true;
	pthread_mutex_unlock(&m->lock);
	pthread_join(m->cpu, NULL);
	dirty_free(&m->dirty);
	munmap(m->source.low, fake_bytes(m));
	munmap(m->target.low, fake_bytes(m));
	pthread_mutex_destroy(&m->lock);
	free(m->was);
	free(m);
}

/* It stands still, and has written so late that each piece of its memory has to be sent again. */
static inline void fake_halt(struct fake_machine *m)
{
	fake_stop(m, AT_SOURCE);
	fake_write(m, 5, 200);
	fake_write(m, m->low_pages + 3, 201);
}

/* Nothing writes any more. */
static inline void fake_keep(struct fake_machine *m)
{
	memcpy(m->was, m->source.low, fake_bytes(m));
}

/* Saving it writes a page, too. */
static inline void fake_save(struct fake_machine *m)
{
	fake_write(m, 300, 202);
	memory_written(&m->source, 300 * M_PAGE, 1);
	fake_keep(m);
}

static inline bool fake_is_as_it_was(const struct fake_machine *m, const struct guest_memory *in)
{
	return memcmp(m->was, in->low, fake_bytes(m)) == 0;
}

/* Its CPUs write at the source. */
static inline bool fake_goes_on(const struct fake_machine *m)
{
	const unsigned before = __atomic_load_n(&m->writes, __ATOMIC_SEQ_CST);

	for (int i = 0; i < 5000; i++) {
		if (__atomic_load_n(&m->writes, __ATOMIC_SEQ_CST) != before)
			return true;
		usleep(1000);
	}
	return false;
}

static inline void fake_part(struct vmstate_parts *parts, uint32_t kind, uint32_t index)
{
	if (vmstate_parts_add(parts, kind, 1, index, "state", 5) < 0)
		abort();
}

#endif
