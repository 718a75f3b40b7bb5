/* SPDX-License-Identifier: Apache-2.0 */
/* crew_test.c - pieces of work are taken and given in one order, whoever does them; and one that
 * fails ends it for all. */
#include <errno.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "../random.h"
#include "move/crew.h"

enum { PIECES = 500 };

#define NOWHERE UINT32_MAX

struct hand {
	uint32_t piece;
	uint64_t result;
};

struct job {
	uint32_t taken, given, worked;
	bool ordered, alone; /* so far */
	bool taking;
	uint64_t sum;
	uint32_t take_fails, work_fails, give_fails; /* at that piece */
};

static int take(void *owner, void *hand)
{
	struct job *j = owner;
	struct hand *h = hand;

	if (__atomic_exchange_n(&j->taking, true, __ATOMIC_SEQ_CST))
		j->alone = false;
	h->piece = j->taken;
	j->taken += j->taken < PIECES;
	__atomic_store_n(&j->taking, false, __ATOMIC_SEQ_CST);
	if (h->piece == j->take_fails)
		return -EINVAL;
	return h->piece < PIECES;
}

/* Some take longer than others. */
static int work(void *owner, void *hand)
{
	struct random random = {.state = ((struct hand *)hand)->piece};
	struct job *j = owner;
	struct hand *h = hand;

	for (uint32_t i = random_below(&random, 20); i--;)
		sched_yield();
	h->result = UINT64_C(3) * h->piece;
	__atomic_add_fetch(&j->worked, 1, __ATOMIC_SEQ_CST);
	return h->piece == j->work_fails ? -EIO : 0;
}

static int give(void *owner, void *hand)
{
	struct job *j = owner;
	struct hand *h = hand;

	if (h->piece != j->given++)
		j->ordered = false;
	j->sum += h->result;
	return h->piece == j->give_fails ? -ENOSPC : 0;
}

static const struct job fresh = {
	.ordered = true,
	.alone = true,
	.take_fails = NOWHERE,
	.work_fails = NOWHERE,
	.give_fails = NOWHERE,
};

static int run(struct job *j, unsigned n, struct hand *ret_failed)
{
	const struct crew crew = {take, work, give, j};
	struct hand hands[CREW_MOST] = {{0}};
	void *pointers[CREW_MOST];
	unsigned failed = 0;
	int result;

	for (unsigned i = 0; i < n; i++)
		pointers[i] = &hands[i];
	result = crew_run(&crew, pointers, n, &failed);
	*ret_failed = hands[failed];
	return result;
}

static void all_pieces_are_given_in_order(void **state)
{
	struct hand failed;

	(void)state;
	for (unsigned n = 1; n <= CREW_MOST; n++) {
		struct job j = fresh;

		assert_int_equal(run(&j, n, &failed), 0);
		assert_true(j.ordered && j.alone);
		assert_int_equal(j.given, PIECES);
		assert_int_equal(j.worked, PIECES);
		assert_int_equal(j.sum, UINT64_C(3) * PIECES * (PIECES - 1) / 2);
	}
}

static void one_that_fails_ends_it_and_is_named(void **state)
{
	struct random random = random_start();
	struct hand failed;

	(void)state;
	for (int i = 0; i < 90; i++) {
		uint32_t at = random_below(&random, PIECES);
		struct job j = fresh;

		*(i % 3 == 0 ? &j.take_fails : i % 3 == 1 ? &j.work_fails : &j.give_fails) = at;
		assert_int_equal(run(&j, 1 + (unsigned)i % CREW_MOST, &failed), i % 3 == 0 ? -EINVAL
										: i % 3 == 1
											? -EIO
											: -ENOSPC);
		assert_int_equal(failed.piece, at);
		assert_true(j.ordered);
		assert_true(j.given <= at + (i % 3 == 2));
		assert_true(j.worked <= at + 1 + CREW_MOST);
	}
}

static void without_an_order_all_is_done_as_well(void **state)
{
	struct hand hands[3] = {{0}};
	void *pointers[3] = {&hands[0], &hands[1], &hands[2]};
	struct job j = fresh;
	const struct crew crew = {take, work, NULL, &j};
	unsigned failed;

	(void)state;
	assert_int_equal(crew_run(&crew, pointers, 3, &failed), 0);
	assert_int_equal(j.worked, PIECES);
	assert_int_equal(crew_hands(0), 1);
	assert_in_range(crew_hands(UINT64_MAX), 2, CREW_MOST);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_pieces_are_given_in_order),
		cmocka_unit_test(one_that_fails_ends_it_and_is_named),
		cmocka_unit_test(without_an_order_all_is_done_as_well),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
