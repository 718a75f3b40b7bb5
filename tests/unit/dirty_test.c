/* SPDX-License-Identifier: Apache-2.0 */
/* dirty_test.c - no page that was written is forgotten, and none is sent without need. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "kvm/dirty.h"

/* Neither piece is a multiple of a word, a piece or a window. */
enum { LOW = DIRTY_WINDOW + 3 * 64 + 5, HIGH = 2 * 64 + 1, MOST = LOW };

/* Memory that nobody touches, and a KVM which logs by hand. */
struct bench {
	struct guest_memory memory;
	struct dirty dirty;
	uint64_t written[DIRTY_SLOTS][(MOST + 63) / 64];
	unsigned clears;
	int error; /* its next answers */
};

static uint64_t pages_of(const struct bench *b, uint32_t slot)
{
	return (slot ? b->memory.high_size : b->memory.low_size) / MEMORY_PAGE;
}

static int get(void *owner, uint32_t slot, uint64_t *bits)
{
	struct bench *b = owner;

	memcpy(bits, b->written[slot], (pages_of(b, slot) + 63) / 64 * 8);
	return b->error;
}

/* As kvm_clear_dirty_log_protect() looks at it. */
static int clear(void *owner, uint32_t slot, uint64_t first, uint32_t pages, const uint64_t *bits)
{
	struct bench *b = owner;
	const uint64_t all = pages_of(b, slot);

	assert_int_equal(first % 64, 0);
	assert_true(first + pages <= all);
	assert_true(pages % 64 == 0 || first + pages == all);
	b->clears++;
	if (b->error)
		return b->error;
	for (uint64_t i = 0; i < (pages + 63) / 64; i++)
		b->written[slot][first / 64 + i] &= ~bits[i];
	return 0;
}

static struct bench *bench_new(uint64_t low, uint64_t high)
{
	struct bench *b = calloc(1, sizeof(*b));
	const struct dirty_log log = {.get = get, .clear = clear, .owner = b};

	b->memory.low_size = low * MEMORY_PAGE;
	b->memory.high_size = high * MEMORY_PAGE;
	assert_int_equal(dirty_init(&b->dirty, &b->memory, &log, NULL), 0);
	return b;
}

static void bench_free(struct bench *b)
{
	dirty_free(&b->dirty);
	free(b);
}

static void guest_writes(struct bench *b, uint32_t slot, uint64_t page)
{
	b->written[slot][page / 64] |= UINT64_C(1) << page % 64;
}

static uint64_t collected(struct bench *b)
{
	uint64_t pages;

	assert_int_equal(dirty_collect(&b->dirty, &pages, NULL), 0);
	return pages;
}

/* One piece: how many of its pages are to be sent. */
static unsigned take(struct bench *b, uint64_t *ret_gpa)
{
	uint8_t bits[DIRTY_PAGES / 8];
	uint32_t pages;
	unsigned n = 0;
	int result = dirty_take(&b->dirty, ret_gpa, &pages, bits, NULL);

	assert_true(result >= 0);
	for (unsigned i = 0; result && i < DIRTY_PAGES; i++) {
		n += bits[i / 8] >> i % 8 & 1;
		assert_true(i < pages || !(bits[i / 8] >> i % 8 & 1));
	}
	assert_true(result == (n > 0));
	return n;
}

static uint64_t take_all(struct bench *b)
{
	uint64_t sum = 0, gpa;
	unsigned n;

	while ((n = take(b, &gpa)))
		sum += n;
	return sum;
}

static void all_pages_are_sent_once_at_the_beginning(void **state)
{
	struct bench *b = bench_new(LOW, HIGH);
	uint64_t gpa;

	(void)state;
	assert_int_equal(collected(b), LOW + HIGH);
	assert_int_equal(take(b, &gpa), DIRTY_PAGES);
	assert_int_equal(gpa, 0);
	assert_int_equal(take_all(b), LOW + HIGH - DIRTY_PAGES);
	assert_int_equal(collected(b), 0);
	assert_int_equal(take_all(b), 0);
	bench_free(b);
}

static void a_page_that_the_guest_writes_comes_again_wherever_it_lies(void **state)
{
	struct bench *b = bench_new(LOW, HIGH);
	uint64_t gpa;

	(void)state;
	take_all(b);
	guest_writes(b, 0, DIRTY_WINDOW + 1);
	guest_writes(b, 1, HIGH - 1);
	assert_int_equal(take_all(b), 0); /* nobody has asked */
	assert_int_equal(collected(b), 2);
	assert_int_equal(take(b, &gpa), 1);
	assert_true(gpa == DIRTY_WINDOW * MEMORY_PAGE);
	assert_int_equal(take(b, &gpa), 1);
	assert_true(gpa == MEMORY_HIGH_BASE);
	assert_int_equal(take(b, &gpa), 0);
	assert_int_equal(collected(b), 0);
	bench_free(b);
}

/* KVM watches a page anew before it is read, so what the guest writes while it is being sent is
 * seen; and is asked for few times. */
static void what_is_written_while_it_is_sent_is_sent_again(void **state)
{
	struct bench *b = bench_new(LOW, HIGH);
	uint64_t gpa;

	(void)state;
	for (uint64_t page = 0; page < LOW; page++)
		guest_writes(b, 0, page);
	collected(b);
	assert_int_equal(take(b, &gpa), DIRTY_PAGES);
	assert_int_equal(b->written[0][0], 0);
	guest_writes(b, 0, 7);
	take_all(b);
	assert_int_equal(b->clears, 3); /* two windows below, one above */
	assert_int_equal(collected(b), 1);
	assert_int_equal(take(b, &gpa), 1);
	bench_free(b);
}

/* Half a round, then what has come: pages of the same window are watched anew as well. */
static void a_round_that_is_broken_off_loses_no_page(void **state)
{
	struct bench *b = bench_new(LOW, HIGH);
	uint64_t gpa;

	(void)state;
	take(b, &gpa);
	guest_writes(b, 0, DIRTY_PAGES + 9); /* yet to be sent anyway */
	guest_writes(b, 0, 1);               /* sent */
	assert_int_equal(collected(b), LOW + HIGH - DIRTY_PAGES + 1);
	assert_int_equal(take_all(b), LOW + HIGH - DIRTY_PAGES);
	assert_int_equal(collected(b), 1);
	assert_int_equal(take_all(b), 1);
	assert_int_equal(collected(b), 0);
	bench_free(b);
}

static void what_this_process_writes_is_noted_page_by_page(void **state)
{
	struct bench *b = bench_new(LOW, HIGH);

	(void)state;
	take_all(b);
	memory_written(&b->memory, 0, 1); /* nobody is told */
	assert_int_equal(collected(b), 0);
	memory_tell(&b->memory, &b->dirty);
	memory_written(&b->memory, 5 * MEMORY_PAGE - 1, 2);
	assert_int_equal(collected(b), 2);
	memory_written(&b->memory, MEMORY_HIGH_BASE + (HIGH - 1) * MEMORY_PAGE, MEMORY_PAGE);
	assert_int_equal(collected(b), 3);
	memory_written(&b->memory, 9 * MEMORY_PAGE, 0);
	memory_written(&b->memory, (LOW - 1) * MEMORY_PAGE, 3 * MEMORY_PAGE); /* beyond */
	memory_written(&b->memory, LOW * MEMORY_PAGE, 8);
	memory_written(&b->memory, MEMORY_HIGH_BASE + HIGH * MEMORY_PAGE, 8);
	assert_int_equal(collected(b), 4);
	memory_tell(&b->memory, NULL);
	memory_written(&b->memory, 0, 1);
	assert_int_equal(take_all(b), 4);
	bench_free(b);
}

static void a_log_that_fails_leaves_everything_to_be_sent(void **state)
{
	struct bench *b = bench_new(LOW, 0);
	uint8_t bits[DIRTY_PAGES / 8];
	uint32_t pages;
	uint64_t n;
	struct why why = {""};

	(void)state;
	b->error = -ENOENT;
	assert_int_equal(dirty_collect(&b->dirty, &n, &why), -EIO);
	assert_non_null(strstr(why.text, "which pages"));
	assert_int_equal(dirty_take(&b->dirty, &n, &pages, bits, &why), -EIO);
	b->error = 0;
	assert_int_equal(take_all(b), LOW);
	bench_free(b);
}

enum { WRITES = 20000 };

struct writer {
	struct bench *bench;
	uint32_t page; /* atomic: what is in it */
	bool over;     /* atomic */
};

static void *write_again_and_again(void *arg)
{
	struct writer *w = arg;

	for (uint32_t i = 1; i <= WRITES; i++) {
		__atomic_store_n(&w->page, i, __ATOMIC_RELAXED);
		memory_written(&w->bench->memory, 3 * MEMORY_PAGE, 4);
	}
	__atomic_store_n(&w->over, true, __ATOMIC_SEQ_CST);
	return NULL;
}

/* What was read after the last bit was cleared is what stands there in the end. */
static void no_write_of_another_thread_is_missed(void **state)
{
	struct writer w = {.bench = bench_new(64, 0)};
	pthread_t thread;
	uint32_t sent = 0;
	uint64_t gpa;
	bool over;

	(void)state;
	take_all(w.bench);
	memory_tell(&w.bench->memory, &w.bench->dirty);
	assert_int_equal(pthread_create(&thread, NULL, write_again_and_again, &w), 0);
	do {
		over = __atomic_load_n(&w.over, __ATOMIC_SEQ_CST);
		if (take(w.bench, &gpa))
			sent = __atomic_load_n(&w.page, __ATOMIC_RELAXED);
	} while (!over);
	if (take(w.bench, &gpa))
		sent = __atomic_load_n(&w.page, __ATOMIC_RELAXED);
	assert_int_equal(sent, WRITES);
	pthread_join(thread, NULL);
	memory_tell(&w.bench->memory, NULL);
	bench_free(w.bench);
}

/* It may be freed as soon as nobody is told any more. */
static void who_is_no_longer_told_is_left_alone(void **state)
{
	struct writer w = {.bench = bench_new(64, 0)};
	pthread_t thread;

	(void)state;
	assert_int_equal(pthread_create(&thread, NULL, write_again_and_again, &w), 0);
	for (int i = 0; i < 200; i++) {
		const struct dirty_log log = w.bench->dirty.log;
		struct dirty d;

		assert_int_equal(dirty_init(&d, &w.bench->memory, &log, NULL), 0);
		memory_tell(&w.bench->memory, &d);
		memory_tell(&w.bench->memory, NULL);
		dirty_free(&d);
	}
	pthread_join(thread, NULL);
	bench_free(w.bench);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_pages_are_sent_once_at_the_beginning),
		cmocka_unit_test(a_page_that_the_guest_writes_comes_again_wherever_it_lies),
		cmocka_unit_test(what_is_written_while_it_is_sent_is_sent_again),
		cmocka_unit_test(a_round_that_is_broken_off_loses_no_page),
		cmocka_unit_test(what_this_process_writes_is_noted_page_by_page),
		cmocka_unit_test(a_log_that_fails_leaves_everything_to_be_sent),
		cmocka_unit_test(no_write_of_another_thread_is_missed),
		cmocka_unit_test(who_is_no_longer_told_is_left_alone),
	};

	return cmocka_run_group_tests_name("dirty", tests, NULL, NULL);
}
