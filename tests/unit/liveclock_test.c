/* SPDX-License-Identifier: Apache-2.0 */
/* liveclock_test.c - a clock that is read while it is changed, or while its writer is held up. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "kvm/liveclock.h"

enum { CHANGES = 200000 };

static struct counted_clock all(uint64_t value)
{
	return (struct counted_clock){
		.clock = {.base_counter = value, .base_ns = value, .mult = value, .epoch = value},
		.tsc = value,
	};
}

static uint64_t value_of(const struct counted_clock *now)
{
	const uint64_t value = now->tsc;

	assert_true(now->clock.base_counter == value && now->clock.base_ns == value &&
		    now->clock.mult == value && now->clock.epoch == value);
	return value;
}

/* Whichever copy it is at, the other is whole: a reader that waited would hang here. */
static void a_writer_that_is_held_up_holds_up_no_reader(void **state)
{
	const struct counted_clock first = all(1), second = all(2);
	struct liveclock c = {0};
	struct counted_clock now;

	(void)state;
	liveclock_set(&c, &first);
	now = liveclock_get(&c);
	assert_int_equal(value_of(&now), 1);
	c.version++; /* as liveclock_set() does */
	memset(&c.copies[0], 0xa5, sizeof(c.copies[0]) / 2);
	now = liveclock_get(&c);
	assert_int_equal(value_of(&now), 1);
	c.copies[0] = second;
	c.version++;
	memset(&c.copies[1], 0xa5, sizeof(c.copies[1]) / 2);
	now = liveclock_get(&c);
	assert_int_equal(value_of(&now), 2);
}

static void *change(void *arg)
{
	struct liveclock *c = arg;

	for (uint64_t i = 1; i <= CHANGES; i++) {
		const struct counted_clock now = all(i);

		liveclock_set(c, &now);
	}
	return NULL;
}

static void no_reader_sees_parts_of_two(void **state)
{
	static struct liveclock c;
	uint64_t value = 0, last = 0;
	pthread_t writer;

	(void)state;
	assert_int_equal(pthread_create(&writer, NULL, change, &c), 0);
	while (value < CHANGES) {
		const struct counted_clock now = liveclock_get(&c);

		value = value_of(&now);
		assert_true(value >= last);
		last = value;
	}
	pthread_join(writer, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_writer_that_is_held_up_holds_up_no_reader),
		cmocka_unit_test(no_reader_sees_parts_of_two),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
