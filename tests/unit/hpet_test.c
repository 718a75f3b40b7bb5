/* SPDX-License-Identifier: Apache-2.0 */
/* hpet_test.c - the high precision event timers: registers, the counter, routes, saved state. */
#include <errno.h>
#include <pthread.h>
#include <string.h>

#include "hpet_bench.h"

static void announces_what_linux_asks_for(void **state)
{
	struct bench b = at(0);

	(void)state;
	assert_int_equal(get(&b, CAP, 8), UINT64_C(10000000) << 32 | 0x8086a201);
	assert_int_equal(get(&b, CAP + 4, 4), 10000000); /* fs, below 100,000,000 */
	put(&b, CAP, 8, 0);
	assert_int_equal(get(&b, CAP, 4), 0x8086a201);
	assert_int_equal(get(&b, GEN, 8), 0);
	assert_int_equal(get(&b, STS, 8), 0);
	assert_int_equal(get(&b, CNT, 8), 0);
	for (unsigned n = 0; n < 3; n++) {
		assert_int_equal(get(&b, CONF(n), 8), (uint64_t)ROUTES << 32 | CAN);
		assert_int_equal(get(&b, CMP(n), 8), UINT64_MAX);
		put(&b, CONF(n) + 0x10, 8, UINT64_MAX);
		assert_int_equal(get(&b, CONF(n) + 0x10, 8), 0); /* no FSB */
		put(&b, CONF(n), 8, UINT64_MAX); /* what can be set, and nothing else */
		assert_int_equal(get(&b, CONF(n), 8), (uint64_t)ROUTES << 32 | 0x13e);
	}
	put(&b, GEN, 8, UINT64_MAX);
	assert_int_equal(get(&b, GEN, 8), ON | LEG);
	assert_int_equal(vmt_hpet_init(&b.hpet, 0, 0), -EINVAL);
}

static void counts_tens_of_nanoseconds_for_ten_years(void **state)
{
	struct bench b = counting();

	(void)state;
	b.now = 9;
	assert_int_equal(get(&b, CNT, 8), 0);
	b.now = 10;
	assert_int_equal(get(&b, CNT, 8), 1);
	b.now = ROUND_NS - 1;
	assert_int_equal(get(&b, CNT, 8), UINT32_MAX);
	b.now = ROUND_NS;
	assert_int_equal(get(&b, CNT, 8), UINT64_C(1) << 32);
	assert_int_equal(get(&b, CNT, 4), 0);
	assert_int_equal(get(&b, CNT + 4, 4), 1);
	b.now = TEN_YEARS + 19;
	assert_int_equal(get(&b, CNT, 8), TEN_YEARS / 10 + 1);
	b.now = 5; /* a mistake: as at the largest */
	assert_int_equal(get(&b, CNT, 8), TEN_YEARS / 10 + 1);
}

static void stopping_keeps_the_count(void **state)
{
	struct bench b = at(5 * SECOND);
	uint32_t changes;

	(void)state;
	b.now = 7 * SECOND;
	assert_int_equal(get(&b, CNT, 8), 0);
	put(&b, GEN, 4, ON);
	b.now = 8 * SECOND + 15;
	put(&b, GEN, 4, 0);
	b.now = TEN_YEARS;
	assert_int_equal(get(&b, CNT, 8), 100000001);
	put(&b, GEN, 4, ON);
	changes = b.hpet.changes;
	put(&b, GEN, 4, ON | LEG); /* neither stops nor starts it */
	assert_int_equal(b.hpet.changes, changes);
	b.now += 100;
	assert_int_equal(get(&b, CNT, 8), 100000011);
}

static void the_counter_is_set_only_while_it_stands(void **state)
{
	struct bench b = counting();

	(void)state;
	b.now = 1000;
	put(&b, CNT, 8, 5);
	assert_int_equal(get(&b, CNT, 8), 100);
	put(&b, GEN, 4, 0);
	put(&b, CNT, 4, 0xfffffffe);
	assert_int_equal(get(&b, CNT, 8), 0xfffffffe);
	put(&b, CNT + 4, 4, 7);
	put(&b, GEN, 4, ON);
	b.now += 20;
	assert_int_equal(get(&b, CNT, 8), UINT64_C(8) << 32);
}

/* Anything between 1 and 8 bytes, anywhere: the bytes that are there, and no harm. */

static void every_width_and_offset_shows_its_bytes(void **state)
{
	struct bench b = at(0);

	(void)state;
	put(&b, CMP(0), 8, UINT64_C(0x1122334455667788));
	assert_int_equal(get(&b, CMP(0) + 3, 1), 0x55);
	assert_int_equal(get(&b, CMP(0) + 2, 4), 0x33445566);
	assert_int_equal(get(&b, CMP(0) + 1, 3), 0x556677);
	assert_int_equal(get(&b, CMP(0) + 5, 8), 0x112233); /* and the FSB register: 0 */
	assert_int_equal(get(&b, CONF(0) + 6, 4), 0x778800f0);
	put(&b, CMP(0) + 1, 2, 0xabcd);
	assert_int_equal(get(&b, CMP(0), 8), UINT64_C(0x1122334455abcd88));
	put(&b, CONF(0) + 6, 4, UINT64_C(0x4321ffff)); /* two registers at once */
	assert_int_equal(get(&b, CMP(0), 8), UINT64_C(0x1122334455ab4321));
	assert_int_equal(get(&b, CMP(0), 9), UINT64_C(0x1122334455ab4321));
	assert_int_equal(get(&b, CMP(0), 0), 0);
	put(&b, CMP(0), 0, 0);
	put(&b, CMP(0), UINT32_MAX, UINT64_MAX);
	assert_int_equal(get(&b, CMP(0), 8), UINT64_MAX);
	for (uint32_t reg = 0x160; reg < 0x410; reg++) {
		put(&b, reg, 8, UINT64_MAX);
		assert_int_equal(get(&b, reg, 8), 0);
	}
	put(&b, UINT32_MAX, 8, UINT64_MAX);
	assert_int_equal(get(&b, UINT32_MAX, 8), 0);
	assert_int_equal(get(&b, GEN, 8), 0);
}

/* 2.3.9.2.1: "the counter may pass the value ... and the interrupt will be missed". */

/* What Linux does: stop, VAL_SET with the first match, then the period alone, and on. */

/* 1 MHz, 10 MHz and a tick of the counter: counted, not visited. */

/* 2.3.9: from 0x123 to 0x246 to 0x369, and through 0 at the end of 32 bits. */

static void a_route_is_one_that_the_machine_has(void **state)
{
	struct bench b = at(0);

	(void)state;
	assert_int_equal(vmt_hpet_route(&b.hpet, 2), VMT_HPET_NOWHERE);
	put(&b, CONF(2), 4, 21 << 9);
	assert_int_equal(get(&b, CONF(2), 4), 21 << 9 | CAN);
	assert_int_equal(vmt_hpet_route(&b.hpet, 2), 21);
	put(&b, CONF(2), 4, 5 << 9 | INT); /* not there: the route stays, the rest is taken */
	assert_int_equal(get(&b, CONF(2), 4), 21 << 9 | INT | CAN);
	put(&b, CONF(2), 4, 31 << 9);
	assert_int_equal(vmt_hpet_route(&b.hpet, 2), 21);
	assert_int_equal(vmt_hpet_route(&b.hpet, 3), VMT_HPET_NOWHERE);
	assert_int_equal(vmt_hpet_period_ns(&b.hpet, 3), 0);
}

static void legacy_replacement_takes_irq_0_and_8_while_it_counts(void **state)
{
	struct bench b = at(0);

	(void)state;
	put(&b, CONF(0), 4, 20 << 9);
	put(&b, CONF(2), 4, 23 << 9);
	put(&b, GEN, 4, LEG);
	assert_int_equal(vmt_hpet_legacy(&b.hpet), 0);
	assert_int_equal(vmt_hpet_route(&b.hpet, 0), 20);
	put(&b, GEN, 4, LEG | ON);
	assert_int_equal(vmt_hpet_legacy(&b.hpet), 1);
	assert_int_equal(vmt_hpet_route(&b.hpet, 0), 2);
	assert_int_equal(vmt_hpet_route(&b.hpet, 1), 8);
	assert_int_equal(vmt_hpet_route(&b.hpet, 2), 23);
	put(&b, GEN, 4, ON);
	assert_int_equal(vmt_hpet_legacy(&b.hpet), 0);
	assert_int_equal(vmt_hpet_route(&b.hpet, 1), VMT_HPET_NOWHERE);
}

static void a_bus_reset_stops_everything(void **state)
{
	struct bench b = linux_periodic(1000), fresh;

	(void)state;
	put(&b, CONF(2), 4, LEVEL | INT | 21 << 9);
	put(&b, CMP(2), 8, get(&b, CNT, 8) + 1);
	until(&b, b.now + 10);
	assert_int_equal(get(&b, STS, 4), 1 << 2);
	b.rises[0] = 0;
	vmt_hpet_reset(&b.hpet, b.now);
	fresh = at(b.now);
	fresh.hpet.changes = b.hpet.changes;
	assert_memory_equal(&b.hpet, &fresh.hpet, sizeof(b.hpet));
	until(&b, TEN_YEARS);
	assert_int_equal(b.rises[0], 0);
}

static void peeks_what_a_read_shows(void **state)
{
	struct bench b = at(SECOND);
	uint64_t count = 77;

	(void)state;
	assert_int_equal(vmt_hpet_peek(&b.hpet, 5 * SECOND, &count), 0);
	assert_int_equal(count, 0);
	put(&b, CNT, 8, 1000);
	put(&b, GEN, 4, ON);
	assert_int_equal(vmt_hpet_peek(&b.hpet, SECOND + 25, &count), 0);
	assert_int_equal(count, 1002);
	/* the clock was read before another processor started the counter */
	assert_int_equal(vmt_hpet_peek(&b.hpet, SECOND - 25, &count), 0);
	assert_int_equal(count, 1000);
	b.hpet.changes++; /* in the middle of a change */
	assert_int_equal(vmt_hpet_peek(&b.hpet, SECOND + 35, &count), -EAGAIN);
	assert_int_equal(count, 1000);
}

enum { RESTARTS = 200000, APART = 100, FAR_TICKS = 10 * RESTARTS * APART };

/* Start i is at tick i * APART with the counter at i << 40. */
static void *restarts(void *hpet)
{
	for (uint64_t i = 1; i <= RESTARTS; i++) {
		vmt_ns now = i * APART * VMT_HPET_TICK_NS;

		vmt_hpet_write(hpet, now, GEN, 4, 0);
		vmt_hpet_write(hpet, now, CNT, 8, i << 40);
		vmt_hpet_write(hpet, now, GEN, 4, ON);
	}
	return NULL;
}

/* Each count peeked at belongs to one start, or to the stop before the next. */
static void a_peek_beside_a_restart_is_of_one_of_the_two(void **state)
{
	struct bench b = at(0);
	uint64_t count = 0, wrong = 0;
	pthread_t writer;

	(void)state;
	assert_int_equal(pthread_create(&writer, NULL, restarts, &b.hpet), 0);
	while (count >> 40 < RESTARTS) {
		uint64_t ticks;

		if (vmt_hpet_peek(&b.hpet, UINT64_C(10) * FAR_TICKS, &count))
			continue;
		ticks = count & ((UINT64_C(1) << 40) - 1);
		wrong += ticks > APART && ticks != FAR_TICKS - (count >> 40) * APART;
	}
	pthread_join(writer, NULL);
	assert_int_equal(wrong, 0);
}

/* Every field differs from what a fresh one has. */

static struct bench filled(void)
{
	struct bench b = linux_periodic(1000);

	put(&b, CONF(1), 4, PERIODIC | VAL_SET | 11 << 9);
	put(&b, CMP(2), 8, b.now / 10 + 5);
	put(&b, CONF(2), 4, LEVEL | INT | 22 << 9);
	until(&b, b.now + 1234);
	put(&b, CONF(1), 4, PERIODIC | VAL_SET | 11 << 9);
	return b;
}

/* A pause of a virtual machine, at any moment of a period, moves no tick. */

static void a_restored_timer_keeps_its_phase(void **state)
{
	struct bench b = filled(), back = at(0);
	uint8_t bytes[VMT_HPET_SAVED];
	int size = vmt_hpet_save(&b.hpet, bytes, sizeof(bytes));

	(void)state;
	assert_int_equal(vmt_hpet_load(&back.hpet, b.now, bytes, (size_t)size), 0);
	assert_memory_equal(&back.hpet, &b.hpet, sizeof(b.hpet));
	until(&b, b.now);
	until(&back, b.now);
	assert_int_equal(back.out.deadline, b.out.deadline);
	assert_true(b.out.deadline < b.now + 10000);
	until(&back, b.out.deadline);
	assert_int_equal(back.rises[0], 1);
	assert_int_equal(back.out.level, 1 << 2);
	assert_int_equal(vmt_hpet_save(&b.hpet, bytes, (size_t)size - 1), -ENOSPC);
}

static int loads(const struct vmt_hpet *s, vmt_ns now)
{
	struct vmt_hpet back, before;
	uint8_t bytes[VMT_HPET_SAVED];
	int size = vmt_hpet_save(s, bytes, sizeof(bytes)), result;

	vmt_hpet_init(&back, 0, ROUTES);
	before = back;
	result = vmt_hpet_load(&back, now, bytes, (size_t)size);
	if (result)
		assert_memory_equal(&back, &before, sizeof(back));
	return result;
}

#define REFUSED(change)                                         \
	do {                                                    \
		struct vmt_hpet s = good.hpet;                  \
		s.change;                                       \
		assert_int_equal(loads(&s, good.now), -EINVAL); \
	} while (0)

static void impossible_states_are_refused(void **state)
{
	struct bench good = filled();

	(void)state;
	assert_int_equal(loads(&good.hpet, good.now), 0);
	assert_int_equal(loads(&good.hpet, good.now - 10), -EINVAL); /* from the future */
	REFUSED(base_tick = good.hpet.seen_tick + 1);
	REFUSED(base_tick = UINT64_MAX); /* it runs */
	REFUSED(config = LEG);           /* it stands */
	REFUSED(config = 7);
	REFUSED(changes++);
	REFUSED(routes |= 1); /* of another machine */
	REFUSED(status = 8);
	REFUSED(status = 1); /* of an edge */
	REFUSED(timer[0].comparator = UINT64_C(1) << 32);
	REFUSED(timer[0].written = UINT64_C(1) << 32);
	REFUSED(timer[0].config |= VAL_SET);
	REFUSED(timer[1].config |= 5 << 9);
	REFUSED(timer[1].val_set = 2);
	REFUSED(timer[2].val_set = 1); /* one-shot */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(announces_what_linux_asks_for),
		cmocka_unit_test(counts_tens_of_nanoseconds_for_ten_years),
		cmocka_unit_test(stopping_keeps_the_count),
		cmocka_unit_test(the_counter_is_set_only_while_it_stands),
		cmocka_unit_test(every_width_and_offset_shows_its_bytes),
		cmocka_unit_test(a_route_is_one_that_the_machine_has),
		cmocka_unit_test(legacy_replacement_takes_irq_0_and_8_while_it_counts),
		cmocka_unit_test(a_bus_reset_stops_everything),
		cmocka_unit_test(peeks_what_a_read_shows),
		cmocka_unit_test(a_peek_beside_a_restart_is_of_one_of_the_two),
		cmocka_unit_test(a_restored_timer_keeps_its_phase),
		cmocka_unit_test(impossible_states_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
