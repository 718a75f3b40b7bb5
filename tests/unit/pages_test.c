/* SPDX-License-Identifier: Apache-2.0 */
/* pages_test.c - a page is copied whole, and its sum tells it from every other one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "../random.h"
#include "move/pages.h"

enum { PAGE = 4096, BITS = PAGE * 8 };

static _Alignas(8) uint8_t page[PAGE], other[PAGE], to[PAGE];

static uint64_t sum_of(const uint8_t *first, const uint8_t *second)
{
	struct pages_sum sum = pages_sum_begin();

	pages_copy(&sum, to, first);
	if (second)
		pages_copy(&sum, to, second);
	return pages_sum_end(&sum);
}

static void fill(uint64_t seed)
{
	struct random random = {.state = seed};

	for (unsigned i = 0; i < PAGE; i++)
		page[i] = (uint8_t)random_next(&random);
}

static void flip(unsigned bit)
{
	page[bit / 8] ^= (uint8_t)(1 << bit % 8);
}

static void a_page_of_zeros_has_no_bit_set(void **state)
{
	(void)state;
	memset(page, 0, PAGE);
	assert_true(pages_zero(page));
	for (unsigned bit = 0; bit < BITS; bit++) {
		flip(bit);
		assert_false(pages_zero(page));
		flip(bit);
	}
}

static void what_is_copied_is_the_page(void **state)
{
	(void)state;
	fill(random_seed());
	(void)sum_of(page, NULL);
	assert_memory_equal(to, page, PAGE);
}

/* Each bit, and two that are alike in the words that follow each other in a lane. */
static void every_flipped_bit_changes_the_sum(void **state)
{
	uint64_t whole;

	(void)state;
	fill(random_seed() + 1);
	whole = sum_of(page, NULL);
	for (unsigned bit = 0; bit < BITS; bit++) {
		flip(bit);
		assert_true(sum_of(page, NULL) != whole);
		flip((bit + 32 * 8) % BITS);
		assert_true(sum_of(page, NULL) != whole);
		flip((bit + 32 * 8) % BITS);
		flip(bit);
	}
}

static void words_and_pages_in_another_order_are_another_sum(void **state)
{
	uint64_t whole;

	(void)state;
	fill(random_seed() + 2);
	memcpy(other, page, PAGE);
	fill(random_seed() + 3);
	assert_true(sum_of(page, other) != sum_of(other, page));
	whole = sum_of(page, NULL);
	for (unsigned word = 0; word + 1 < PAGE / 8; word++) {
		memcpy(other, page, PAGE);
		memcpy(other + word * 8, page + word * 8 + 8, 8);
		memcpy(other + word * 8 + 8, page + word * 8, 8);
		assert_true(sum_of(other, NULL) != whole);
	}
}

/* The bytes of a stream that was stored are checked by it for ever. */
static void the_sum_is_this(void **state)
{
	(void)state;
	for (unsigned i = 0; i < PAGE; i++)
		page[i] = (uint8_t)(i * 7);
	assert_true(sum_of(page, NULL) == UINT64_C(0x46e43fc0c95f01eb));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_page_of_zeros_has_no_bit_set),
		cmocka_unit_test(what_is_copied_is_the_page),
		cmocka_unit_test(every_flipped_bit_changes_the_sum),
		cmocka_unit_test(words_and_pages_in_another_order_are_another_sum),
		cmocka_unit_test(the_sum_is_this),
	};

	(void)random_start();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
