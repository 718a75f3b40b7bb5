/* SPDX-License-Identifier: Apache-2.0 */
/* kvmclock_test.c - KVM's clock for guests: as a guest computes it, and as it is written. */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include <vmtime/clock.h>
#include <vmtime/kvmclock.h>

#include "kvmclock_guest.h"

#define KHZ UINT64_C(1000)
#define SECOND UINT64_C(1000000000)

struct machine {
	struct vmt_clock clock;
	struct vmt_kvmclock face;
	struct entry entry;
};

static struct machine powered_on(uint64_t tsc_hz)
{
	const struct vmt_reading at = {.counter = 5000, .utc_ns = 1700000000 * (int64_t)SECOND};
	struct machine m = {0};

	assert_int_equal(vmt_clock_start(tsc_hz, &at, &m.clock, NULL), 0);
	assert_int_equal(vmt_kvmclock_init(&m.face, 2), 0);
	vmt_kvmclock_stable(&m.face, 1);
	return m;
}

static int anchor(struct machine *m, uint64_t counter)
{
	return vmt_kvmclock_anchor(&m->face, counter, vmt_clock_now(&m->clock, counter),
				   m->clock.mult, m->clock.shift);
}

static void publish(struct machine *m)
{
	vmt_kvmclock_publish(&m->face, 0, 0, &m->entry);
}

static struct machine running(uint64_t tsc_hz)
{
	struct machine m = powered_on(tsc_hz);

	assert_int_equal(anchor(&m, 5000), 0);
	publish(&m);
	return m;
}

static void write_msr(struct machine *m, uint32_t cpu, uint32_t msr, uint64_t value, uint8_t dirty)
{
	struct vmt_out out;

	assert_int_equal(vmt_kvmclock_write(&m->face, 7, cpu, msr, value, &out), 0);
	assert_int_equal(out.dirty, dirty);
	assert_int_equal(out.ready, 7);
	assert_true(out.deadline == VMT_NEVER);
}

static uint64_t read_msr(const struct machine *m, uint32_t cpu, uint32_t msr)
{
	uint64_t value;

	assert_int_equal(vmt_kvmclock_read(&m->face, cpu, msr, &value), 0);
	return value;
}

static void the_guest_gets_the_frequency_to_the_kilohertz(void **state)
{
	(void)state;
	for (uint64_t khz = 500000; khz <= 6000000; khz += 37) {
		struct machine m = running(khz * KHZ);

		assert_int_equal(guest_khz(&m.entry), khz);
	}
}

/* tsc.h: what a guest has added to the counts of one CPU. */
static void a_cpu_that_is_ahead_computes_the_same_time(void **state)
{
	struct machine m = running(2400000 * KHZ);
	struct entry ahead;

	(void)state;
	vmt_kvmclock_publish(&m.face, 1, (uint64_t)-9000, &ahead); /* or behind, through 0 */
	assert_true(ahead.tsc == 5000 - UINT64_C(9000));
	for (uint64_t tsc = 5000; tsc < 100000; tsc += 777)
		assert_true(guest_ns(&ahead, tsc - 9000) == guest_ns(&m.entry, tsc));
}

/* By hand: floor(10^9 * 2^32 / hz), and half of 2^32 twice as often at 1 GHz. */
static void the_multiplier_is_the_one_computed_by_hand(void **state)
{
	static const struct {
		uint32_t khz, mul;
		int8_t shift;
	} table[] = {{1000000, 2147483648, 1}, {1000001, 0xffffef39, 0}, {1996249, 0x803d9265, 0},
		     {2000000, 2147483648, 0}, {2100000, 2045222521, 0}, {2399997, 1789571943, 0},
		     {2400000, 1789569706, 0}, {2893202, 1484503085, 0}, {3000000, 1431655765, 0},
		     {4200001, 1022611017, 0}, {5000000, 858993459, 0},  {250000, 2147483648, 3}};

	(void)state;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		struct machine m = running(table[i].khz * KHZ);

		assert_int_equal(m.entry.mul, table[i].mul);
		assert_int_equal(m.entry.shift, table[i].shift);
	}
}

/* At 2.399997 GHz the line loses 0.11 ns in a second. */
static void the_guest_sees_virtual_time(void **state)
{
	struct machine m = running(2399997 * KHZ);

	(void)state;
	for (uint64_t tsc = 5000; tsc < 5000 + 2400000000; tsc += 777777) {
		uint64_t now = vmt_clock_now(&m.clock, tsc);

		assert_in_range(guest_ns(&m.entry, tsc), now ? now - 1 : 0, now);
		assert_int_equal(guest_ns(&m.entry, tsc), vmt_kvmclock_at(&m.face, tsc));
	}
}

static void ten_years_at_5_ghz_do_not_overflow(void **state)
{
	struct machine m = running(5000000 * KHZ);
	uint64_t years = UINT64_C(315576000);

	(void)state;
	/* Slow by 2^-32 * 2/10 of a count at most: 15 ms of ten years. */
	assert_in_range(guest_ns(&m.entry, 5000 + years * 5 * SECOND), years * SECOND - 73500000,
			years * SECOND);
}

static void a_new_anchor_never_steps_back(void **state)
{
	struct machine m = running(2893202 * KHZ);
	uint64_t tsc = 5000;

	(void)state;
	for (int i = 0; i < 2000; i++) {
		struct entry old = m.entry;

		tsc += 2893202000 + (uint64_t)i * 1237;
		assert_int_equal(anchor(&m, tsc), 0); /* the line was behind, not ahead */
		publish(&m);
		assert_in_range(guest_ns(&m.entry, tsc), guest_ns(&old, tsc),
				guest_ns(&old, tsc) + 2); /* 0.7 by the factor, 1 by the anchor */
		assert_int_equal(guest_ns(&m.entry, tsc), vmt_clock_now(&m.clock, tsc));
	}
}

/* 80 ppm slower from an instant on of which the guest hears a millisecond late. */
static void a_clock_that_was_slowed_down_before_holds_the_line(void **state)
{
	struct machine m = running(2000000 * KHZ);
	struct vmt_clock slow;
	struct entry old = m.entry;
	uint64_t second = 5000 + 2 * SECOND, later = second + 2000000;

	(void)state;
	assert_int_equal(vmt_clock_discipline(&m.clock, second, -80000000, &slow, NULL), 0);
	m.clock = slow;
	assert_in_range(anchor(&m, later), 79, 80);
	publish(&m);
	assert_int_equal(guest_ns(&m.entry, later), guest_ns(&old, later));
	assert_in_range(anchor(&m, later + 2 * SECOND), 78, 80); /* goes on beside it */
}

static void the_line_follows_a_discipline_from_the_instant_it_is_told(void **state)
{
	struct machine m = running(2400000 * KHZ);
	uint64_t tsc = 5000;

	(void)state;
	for (int64_t ppt = -100000000; ppt <= 100000000; ppt += 12345678) {
		struct vmt_clock next;

		tsc += 2400000000;
		assert_int_equal(vmt_clock_discipline(&m.clock, tsc, ppt, &next, NULL), 0);
		m.clock = next;
		assert_in_range(anchor(&m, tsc), 0, 1);
		publish(&m);
		for (uint64_t t = tsc; t < tsc + 2400000000; t += 300000001)
			assert_in_range(guest_ns(&m.entry, t) + 2, vmt_clock_now(&m.clock, t),
					vmt_clock_now(&m.clock, t) + 2);
	}
}

static void a_factor_that_no_entry_can_hold_is_refused(void **state)
{
	struct machine m = running(2400000 * KHZ);
	struct vmt_kvmclock before = m.face;

	(void)state;
	assert_int_equal(vmt_kvmclock_anchor(&m.face, 9000, 9000, 0, 32), -EINVAL);
	assert_int_equal(vmt_kvmclock_anchor(&m.face, 9000, 9000, 1, 64), -EINVAL);
	assert_int_equal(vmt_kvmclock_anchor(&m.face, 9000, 9000, UINT64_C(1) << 62, 28), -EINVAL);
	assert_int_equal(vmt_kvmclock_anchor(&m.face, 9000, 9000, 1, 65), -EINVAL);
	assert_memory_equal(&m.face, &before, sizeof(before));
	assert_int_equal(vmt_kvmclock_anchor(&m.face, 9000, 9000, (UINT64_C(1) << 61) - 1, 28), 0);
	assert_int_equal(m.face.shift, 33);
}

static void both_numbers_name_one_register(void **state)
{
	struct machine m = running(2400000 * KHZ);

	(void)state;
	assert_int_equal(read_msr(&m, 1, VMT_MSR_KVM_SYSTEM), 0);
	write_msr(&m, 1, VMT_MSR_KVM_SYSTEM, 0x1041, VMT_KVMCLOCK_DIRTY_CPU);
	assert_int_equal(read_msr(&m, 1, VMT_MSR_KVM_SYSTEM_OLD), 0x1041);
	assert_int_equal(read_msr(&m, 0, VMT_MSR_KVM_SYSTEM_OLD), 0);
	assert_int_equal(vmt_kvmclock_place(&m.face, 1), 0x1040);
	assert_true(vmt_kvmclock_place(&m.face, 0) == VMT_KVMCLOCK_NOWHERE);
	write_msr(&m, 1, VMT_MSR_KVM_WALL_OLD, 0x2000, VMT_KVMCLOCK_DIRTY_WALL);
	write_msr(&m, 0, VMT_MSR_KVM_WALL, 0x2000, VMT_KVMCLOCK_DIRTY_WALL); /* asks once more */
	assert_int_equal(read_msr(&m, 0, VMT_MSR_KVM_WALL_OLD), 0x2000);
	assert_int_equal(vmt_kvmclock_wall_place(&m.face), 0x2000);
}

static void a_register_that_is_switched_off_has_no_place(void **state)
{
	struct machine m = running(2400000 * KHZ);

	(void)state;
	write_msr(&m, 0, VMT_MSR_KVM_SYSTEM, 0x1041, VMT_KVMCLOCK_DIRTY_CPU);
	write_msr(&m, 0, VMT_MSR_KVM_SYSTEM, 0x1040, VMT_KVMCLOCK_DIRTY_CPU);
	assert_true(vmt_kvmclock_place(&m.face, 0) == VMT_KVMCLOCK_NOWHERE);
	assert_int_equal(read_msr(&m, 0, VMT_MSR_KVM_SYSTEM), 0x1040);
	write_msr(&m, 0, VMT_MSR_KVM_WALL, 0, VMT_KVMCLOCK_DIRTY_WALL);
	assert_true(vmt_kvmclock_wall_place(&m.face) == VMT_KVMCLOCK_NOWHERE);
}

static void an_address_that_is_not_a_multiple_of_4_has_no_place(void **state)
{
	struct machine m = running(2400000 * KHZ);

	(void)state;
	for (uint64_t low = 1; low < 4; low++) {
		write_msr(&m, 0, VMT_MSR_KVM_WALL, 0x2000 + low, VMT_KVMCLOCK_DIRTY_WALL);
		assert_true(vmt_kvmclock_wall_place(&m.face) == VMT_KVMCLOCK_NOWHERE);
		assert_int_equal(read_msr(&m, 0, VMT_MSR_KVM_WALL), 0x2000 + low);
	}
	write_msr(&m, 0, VMT_MSR_KVM_SYSTEM, 0x1003, VMT_KVMCLOCK_DIRTY_CPU);
	assert_true(vmt_kvmclock_place(&m.face, 0) == VMT_KVMCLOCK_NOWHERE);
	write_msr(&m, 0, VMT_MSR_KVM_SYSTEM, 0x1005, VMT_KVMCLOCK_DIRTY_CPU);
	assert_int_equal(vmt_kvmclock_place(&m.face, 0), 0x1004);
}

static void numbers_around_are_nobodys(void **state)
{
	static const uint32_t others[] = {0x10,       0x13, 0x4b564cff, 0x4b564d02,
					  0x4b564d03, 0,    UINT32_MAX};
	struct machine m = running(2400000 * KHZ);
	struct vmt_kvmclock before = m.face;
	struct vmt_out out;
	uint64_t value;

	(void)state;
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
		assert_int_equal(vmt_kvmclock_read(&m.face, 0, others[i], &value), -ENOENT);
		assert_int_equal(vmt_kvmclock_write(&m.face, 7, 0, others[i], 1, &out), -ENOENT);
	}
	assert_int_equal(vmt_kvmclock_read(&m.face, 2, VMT_MSR_KVM_SYSTEM, &value), -ENOENT);
	assert_int_equal(vmt_kvmclock_write(&m.face, 7, 2, VMT_MSR_KVM_SYSTEM, 1, &out), -ENOENT);
	assert_true(vmt_kvmclock_place(&m.face, 2) == VMT_KVMCLOCK_NOWHERE);
	assert_memory_equal(&m.face, &before, sizeof(before));
}

static void whatever_the_guest_had_there_the_version_ends_even_and_new(void **state)
{
	static const uint32_t before[] = {0, 1, 2, 0xdeadbeef, UINT32_MAX, UINT32_MAX - 1};
	struct machine m = running(2400000 * KHZ);
	uint32_t wall[3];

	(void)state;
	for (size_t i = 0; i < sizeof(before) / sizeof(before[0]); i++) {
		memset(&m.entry, 0xff, sizeof(m.entry));
		m.entry.version = wall[0] = before[i];
		publish(&m);
		vmt_kvmclock_publish_wall(5, wall);
		assert_int_equal(m.entry.version & 1, 0);
		assert_int_equal(wall[0] & 1, 0);
		assert_int_not_equal(m.entry.version, before[i]);
		assert_int_not_equal(wall[0], before[i]);
		assert_int_equal(m.entry.pad | m.entry.rest[0] | m.entry.rest[1], 0);
	}
}

static void the_promise_of_one_line_can_be_taken_back(void **state)
{
	struct machine m = running(2400000 * KHZ);

	(void)state;
	assert_int_equal(m.entry.flags, VMT_KVMCLOCK_STABLE);
	vmt_kvmclock_stable(&m.face, 0);
	publish(&m);
	assert_int_equal(m.entry.flags, 0);
}

static void a_stop_is_told_once_and_stays_until_the_guest_has_seen_it(void **state)
{
	const uint8_t told = VMT_KVMCLOCK_STABLE | VMT_KVMCLOCK_STOPPED;
	struct machine m = running(2400000 * KHZ);

	(void)state;
	vmt_kvmclock_stopped(&m.face);
	publish(&m);
	assert_int_equal(m.entry.flags, told);
	publish(&m); /* the guest did not look yet */
	assert_int_equal(m.entry.flags, told);
	m.entry.flags &= (uint8_t)~VMT_KVMCLOCK_STOPPED; /* now it did */
	publish(&m);
	assert_int_equal(m.entry.flags, VMT_KVMCLOCK_STABLE);
}

static void all_cpus_say_the_same_line(void **state)
{
	struct machine m = running(2400000 * KHZ);
	struct entry other = {0};

	(void)state;
	vmt_kvmclock_publish(&m.face, 1, 0, &other);
	assert_memory_equal((uint8_t *)&other + 4, (uint8_t *)&m.entry + 4, sizeof(other) - 4);
}

static void the_wall_clock_is_utc_when_the_line_was_0(void **state)
{
	uint32_t wall[3] = {0};

	(void)state;
	vmt_kvmclock_publish_wall(1700000000 * (int64_t)SECOND + 987654321, wall);
	assert_int_equal(wall[1], 1700000000);
	assert_int_equal(wall[2], 987654321);
	vmt_kvmclock_publish_wall(-1, wall);
	assert_int_equal(wall[1] | wall[2], 0);
	vmt_kvmclock_publish_wall(INT64_C(4294967296) * (int64_t)SECOND + 1, wall);
	assert_int_equal(wall[1], 0); /* 2106 */
	assert_int_equal(wall[2], 1);
}

static void a_reset_forgets_the_registers_and_keeps_the_line(void **state)
{
	struct machine m = running(2400000 * KHZ);
	struct entry before = m.entry;

	(void)state;
	write_msr(&m, 0, VMT_MSR_KVM_SYSTEM, 0x1041, VMT_KVMCLOCK_DIRTY_CPU);
	write_msr(&m, 0, VMT_MSR_KVM_WALL, 0x2000, VMT_KVMCLOCK_DIRTY_WALL);
	vmt_kvmclock_stopped(&m.face);
	vmt_kvmclock_reset(&m.face);
	assert_int_equal(read_msr(&m, 0, VMT_MSR_KVM_SYSTEM), 0);
	assert_int_equal(read_msr(&m, 0, VMT_MSR_KVM_WALL), 0);
	publish(&m);
	before.version = m.entry.version;
	assert_memory_equal(&m.entry, &before, sizeof(before));
}

static void a_machine_has_1_to_256_cpus(void **state)
{
	struct vmt_kvmclock s;
	uint8_t bytes[VMT_KVMCLOCK_SAVED];

	(void)state;
	assert_int_equal(vmt_kvmclock_init(&s, 0), -EINVAL);
	assert_int_equal(vmt_kvmclock_init(&s, VMT_KVMCLOCK_CPUS + 1), -EINVAL);
	assert_int_equal(vmt_kvmclock_init(&s, VMT_KVMCLOCK_CPUS), 0);
	assert_true(vmt_kvmclock_save(&s, bytes, sizeof(bytes)) > 0);
}

/* The kernel's way to read: odd or changed, once more. */
static struct entry read_as_linux_does(const void *entry)
{
	uint32_t version, copy[VMT_KVMCLOCK_BYTES / 4];
	const uint32_t *words = entry;
	struct entry e;

	do {
		version = __atomic_load_n(&words[0], __ATOMIC_ACQUIRE) & ~1U;
		for (size_t i = 1; i < VMT_KVMCLOCK_BYTES / 4; i++)
			copy[i] = __atomic_load_n(&words[i], __ATOMIC_ACQUIRE);
	} while (__atomic_load_n(&words[0], __ATOMIC_ACQUIRE) != version);
	copy[0] = version;
	memcpy(&e, copy, sizeof(e));
	return e;
}

enum { LINES = 200000 };

static void *write_lines(void *arg)
{
	struct machine *m = arg;

	for (uint64_t i = 1; i <= LINES; i++) {
		/* Each entry's fields tell which others they belong to. */
		m->face.tsc = i << 32 | i;
		m->face.ns = (i + 7) << 32 | (i + 7);
		m->face.mul = (uint32_t)i;
		publish(m);
	}
	return NULL;
}

static void a_reader_beside_a_writer_never_gets_parts_of_two_entries(void **state)
{
	struct machine m = running(2400000 * KHZ);
	pthread_t writer;
	uint32_t seen = 0;

	(void)state;
	m.face.tsc = m.face.ns = m.face.mul = 0;
	m.face.ns = UINT64_C(7) << 32 | 7;
	publish(&m);
	assert_int_equal(pthread_create(&writer, NULL, write_lines, &m), 0);
	while (seen < LINES) {
		struct entry e = read_as_linux_does(&m.entry);

		assert_true(e.mul >= seen);
		seen = e.mul;
		assert_true(e.tsc == ((uint64_t)seen << 32 | seen));
		assert_true(e.ns == ((uint64_t)(seen + 7) << 32 | (seen + 7)));
	}
	pthread_join(writer, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_guest_gets_the_frequency_to_the_kilohertz),
		cmocka_unit_test(a_cpu_that_is_ahead_computes_the_same_time),
		cmocka_unit_test(the_multiplier_is_the_one_computed_by_hand),
		cmocka_unit_test(the_guest_sees_virtual_time),
		cmocka_unit_test(ten_years_at_5_ghz_do_not_overflow),
		cmocka_unit_test(a_new_anchor_never_steps_back),
		cmocka_unit_test(a_clock_that_was_slowed_down_before_holds_the_line),
		cmocka_unit_test(the_line_follows_a_discipline_from_the_instant_it_is_told),
		cmocka_unit_test(a_factor_that_no_entry_can_hold_is_refused),
		cmocka_unit_test(both_numbers_name_one_register),
		cmocka_unit_test(a_register_that_is_switched_off_has_no_place),
		cmocka_unit_test(an_address_that_is_not_a_multiple_of_4_has_no_place),
		cmocka_unit_test(numbers_around_are_nobodys),
		cmocka_unit_test(whatever_the_guest_had_there_the_version_ends_even_and_new),
		cmocka_unit_test(the_promise_of_one_line_can_be_taken_back),
		cmocka_unit_test(a_stop_is_told_once_and_stays_until_the_guest_has_seen_it),
		cmocka_unit_test(all_cpus_say_the_same_line),
		cmocka_unit_test(the_wall_clock_is_utc_when_the_line_was_0),
		cmocka_unit_test(a_reset_forgets_the_registers_and_keeps_the_line),
		cmocka_unit_test(a_machine_has_1_to_256_cpus),
		cmocka_unit_test(a_reader_beside_a_writer_never_gets_parts_of_two_entries),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
