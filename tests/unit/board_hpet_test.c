/* SPDX-License-Identifier: Apache-2.0 */
/* board_hpet_test.c - the HPET on a board: its block in memory, its lines and routes, and what
 * becomes of PIT and RTC while it stands in for them. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include <vmtime/board.h>

#include "core/snap.h"

enum { PIT_BIT = 1 << VMT_SOURCE_PIT, RTC_BIT = 1 << VMT_SOURCE_RTC };
enum { CONFIG = 0x10, STATUS = 0x20, COUNTER = 0xf0, ON = 1, LEGACY = 3 };
enum { LEVEL = 1 << 1, ENABLED = 1 << 2, PERIODIC = 1 << 3, VAL_SET = 1 << 6 };

#define HPET UINT64_C(0xfed00000)
#define MS UINT64_C(1000000)
#define EPOCH INT64_C(1704164645000000000)
#define HPET_BIT(timer) (1U << (VMT_SOURCE_HPET0 + (timer)))
#define ROUTE(input) ((uint64_t)(input) << 9)

static const struct vmt_board_config all = {
	.faces = VMT_HAS_PIT | VMT_HAS_RTC | VMT_HAS_PMTMR | VMT_HAS_HPET,
	.ticks = VMT_TICKS_DISCARD,
	.pm1a_port = 0x600,
	.pmtmr_port = 0x608,
	.pmtmr_bits = 24,
	.hpet_routes = 0x00f00804,
	.hpet_address = HPET,
};

struct vm {
	struct vmt_board board;
	vmt_ns now;
	struct vmt_board_out out;
};

static struct vm booted(void)
{
	struct vm vm = {.now = 0};

	assert_int_equal(vmt_board_init(&vm.board, &all, vm.now, EPOCH), 0);
	vmt_board_advance(&vm.board, vm.now, &vm.out);
	return vm;
}

static uint64_t load(struct vm *vm, uint64_t addr, uint32_t width)
{
	uint64_t value = 0;

	assert_int_equal(
		vmt_board_read(&vm->board, vm->now, VMT_MMIO, addr, width, &value, &vm->out), 0);
	return value;
}

static void set(struct vm *vm, uint32_t reg, uint64_t value)
{
	assert_int_equal(
		vmt_board_write(&vm->board, vm->now, VMT_MMIO, HPET + reg, 8, value, &vm->out), 0);
}

static void out(struct vm *vm, uint64_t port, uint8_t value)
{
	assert_int_equal(vmt_board_write(&vm->board, vm->now, VMT_PIO, port, 1, value, &vm->out),
			 0);
}

static uint64_t in(struct vm *vm, uint64_t port)
{
	uint64_t value = 0;

	assert_int_equal(vmt_board_read(&vm->board, vm->now, VMT_PIO, port, 1, &value, &vm->out),
			 0);
	return value;
}

static void until(struct vm *vm, vmt_ns now)
{
	vm->now = now;
	vmt_board_advance(&vm->board, now, &vm->out);
}

/* First match `period_ns` from now, then at that distance. */
static void tick_each(struct vm *vm, uint32_t timer, uint64_t config, uint64_t period_ns)
{
	uint32_t at = 0x100 + timer * 0x20;

	set(vm, at, config | ENABLED | PERIODIC | VAL_SET);
	set(vm, at + 8, load(vm, HPET + COUNTER, 8) + period_ns / VMT_HPET_TICK_NS);
	set(vm, at + 8, period_ns / VMT_HPET_TICK_NS);
}

static void pit_at_1khz(struct vm *vm)
{
	out(vm, 0x43, 0x34);
	out(vm, 0x40, 1193 & 0xff);
	out(vm, 0x40, 1193 >> 8);
}

static void rtc_at(struct vm *vm, uint8_t rate)
{
	out(vm, 0x70, 10);
	out(vm, 0x71, 0x20 | rate);
	out(vm, 0x70, 11);
	out(vm, 0x71, 0x42);
}

static void ledger_is(const struct vm *vm, uint32_t source, uint64_t due, uint64_t delivered,
		      uint64_t discarded, uint64_t owed)
{
	struct vmt_ledger l;

	vmt_board_ledger(&vm->board, source, &l);
	assert_int_equal(l.due, due);
	assert_int_equal(l.delivered, delivered);
	assert_int_equal(l.discarded, discarded);
	assert_int_equal(l.owed, owed);
}

static void it_answers_in_memory_at_any_width_and_alignment(void **state)
{
	struct vm vm = booted();
	uint64_t value = 42;

	(void)state;
	assert_int_equal(load(&vm, HPET, 8), UINT64_C(0x009896808086a201));
	assert_int_equal(load(&vm, HPET + 4, 4), 10000000);
	assert_int_equal(load(&vm, HPET + 3, 4), 0x98968080);
	set(&vm, CONFIG, ON);
	vm.now += 5000;
	assert_int_equal(load(&vm, HPET + COUNTER, 8), 500);
	assert_int_equal(load(&vm, HPET + COUNTER, 2), 500);
	/* half of the access is ours */
	assert_int_equal(load(&vm, HPET - 4, 8), UINT64_C(0x8086a201ffffffff));
	assert_int_equal(load(&vm, HPET + VMT_HPET_BYTES - 4, 8), UINT64_C(0xffffffff00000000));
	assert_int_equal(vmt_board_write(&vm.board, vm.now, VMT_MMIO, HPET - 4, 4, 0, &vm.out),
			 -ENOENT);
	assert_int_equal(vmt_board_read(&vm.board, vm.now, VMT_MMIO, HPET + VMT_HPET_BYTES, 4,
					&value, &vm.out),
			 -ENOENT);
	assert_int_equal(vmt_board_read(&vm.board, vm.now, VMT_MMIO, 0x40, 1, &value, &vm.out),
			 -ENOENT);
	assert_int_equal(value, 42);
}

static void boards_with_an_impossible_one_are_refused(void **state)
{
	struct vmt_board_config c = all;
	struct vmt_board b;

	(void)state;
	c.hpet_address = UINT64_MAX - VMT_HPET_BYTES + 1;
	assert_int_equal(vmt_board_init(&b, &c, 0, EPOCH), 0);
	c.hpet_address++;
	assert_int_equal(vmt_board_init(&b, &c, 0, EPOCH), -EINVAL);
	c = all;
	c.hpet_routes = 0;
	assert_int_equal(vmt_board_init(&b, &c, 0, EPOCH), -EINVAL);
}

static void an_edge_timer_is_a_pulse_each_period(void **state)
{
	struct vm vm = booted();

	(void)state;
	set(&vm, CONFIG, ON);
	tick_each(&vm, 1, ROUTE(20), MS);
	assert_int_equal(vmt_board_route(&vm.board, VMT_SOURCE_HPET1), 20);
	for (uint64_t i = 1; i <= 10; i++) {
		assert_int_equal(vm.out.deadline, i * MS);
		until(&vm, vm.out.deadline);
		assert_int_equal(vm.out.pulses, HPET_BIT(1));
		ledger_is(&vm, VMT_SOURCE_HPET1, i, i - 1, 0, 1);
		vmt_board_ack(&vm.board, vm.now + 1000, VMT_SOURCE_HPET1, &vm.out);
		ledger_is(&vm, VMT_SOURCE_HPET1, i, i, 0, 0);
	}
	until(&vm, 20 * MS + 1); /* the host was away */
	ledger_is(&vm, VMT_SOURCE_HPET1, 20, 10, 9, 1);
	vmt_board_refused(&vm.board, vm.now, VMT_SOURCE_HPET1, &vm.out);
	until(&vm, 21 * MS);
	assert_int_equal(vm.out.pulses, HPET_BIT(1));
	ledger_is(&vm, VMT_SOURCE_HPET1, 21, 10, 10, 1);
	assert_int_equal(vm.out.level, 0);
}

static void a_level_timer_holds_its_line(void **state)
{
	struct vm vm = booted();

	(void)state;
	set(&vm, CONFIG, ON);
	tick_each(&vm, 2, ROUTE(21) | LEVEL, MS);
	until(&vm, vm.out.deadline);
	assert_int_equal(vm.now, MS);
	assert_int_equal(vm.out.pulses, 0);
	assert_int_equal(vm.out.level, HPET_BIT(2));
	assert_int_equal(vm.out.level_changed, HPET_BIT(2));
	until(&vm, 5 * MS);
	assert_int_equal(vm.out.level_changed, 0);
	set(&vm, STATUS, 4);
	assert_int_equal(vm.out.level, 0);
	assert_int_equal(vm.out.level_changed, HPET_BIT(2));
	assert_int_equal(vm.out.deadline, 6 * MS);
	ledger_is(&vm, VMT_SOURCE_HPET2, 0, 0, 0, 0);
	until(&vm, 6 * MS);
	assert_int_equal(vm.out.level, HPET_BIT(2));
	vmt_board_reset(&vm.board, vm.now, &vm.out);
	assert_int_equal(vm.out.level_changed, HPET_BIT(2));
	assert_int_equal(vmt_board_route(&vm.board, VMT_SOURCE_HPET2), VMT_HPET_NOWHERE);
}

/* A timer that was an edge a moment ago owes nothing as a level. */
static void what_a_line_owes_ends_with_its_kind(void **state)
{
	struct vm vm = booted();

	(void)state;
	set(&vm, CONFIG, ON);
	tick_each(&vm, 0, ROUTE(22), MS);
	until(&vm, MS);
	ledger_is(&vm, VMT_SOURCE_HPET0, 1, 0, 0, 1);
	set(&vm, 0x100, ROUTE(22) | ENABLED | PERIODIC | LEVEL);
	ledger_is(&vm, VMT_SOURCE_HPET0, 1, 0, 1, 0);
	vmt_board_ack(&vm.board, vm.now, VMT_SOURCE_HPET0, &vm.out);
	assert_int_equal(vm.out.pulses, 0);
	ledger_is(&vm, VMT_SOURCE_HPET0, 1, 0, 1, 0);
}

static void a_level_routed_nowhere_is_none(void **state)
{
	struct vm vm = booted();

	(void)state;
	set(&vm, CONFIG, ON);
	tick_each(&vm, 2, LEVEL, MS);
	until(&vm, MS);
	assert_int_equal(load(&vm, HPET + STATUS, 4), 4);
	assert_int_equal(vm.out.level, 0);
	set(&vm, 0x140, ROUTE(20) | ENABLED | PERIODIC | LEVEL);
	assert_int_equal(vm.out.level, HPET_BIT(2));
}

/* The write that takes the line away comes at the very nanosecond of a tick. */
static void a_tick_at_the_end_of_its_line_is_no_pulse(void **state)
{
	struct vm vm = booted();

	(void)state;
	set(&vm, CONFIG, ON);
	tick_each(&vm, 0, ROUTE(20), MS);
	vm.now = vm.out.deadline;
	set(&vm, 0x100, ENABLED | PERIODIC | ROUTE(20));
	assert_int_equal(vm.out.pulses, HPET_BIT(0));
	tick_each(&vm, 1, 0, MS);
	set(&vm, CONFIG, LEGACY); /* timer 1 has IRQ 8 now */
	vm.now += MS;
	set(&vm, CONFIG, ON); /* and nothing */
	assert_int_equal(vm.out.pulses, HPET_BIT(0));
	ledger_is(&vm, VMT_SOURCE_HPET1, 1, 0, 1, 0);
	pit_at_1khz(&vm);
	vm.now = vm.out.deadline;
	while (!(vm.out.pulses & PIT_BIT)) /* until one is due */
		until(&vm, vm.out.deadline);
	vmt_board_ack(&vm.board, vm.now, VMT_SOURCE_PIT, &vm.out);
	vm.now = vm.board.due[0];
	set(&vm, CONFIG, LEGACY);
	assert_int_equal(vm.out.pulses & PIT_BIT, 0);
	ledger_is(&vm, VMT_SOURCE_PIT, 2, 1, 1, 0);
}

static void a_timer_routed_nowhere_ticks_for_nobody(void **state)
{
	struct vm vm = booted();

	(void)state;
	set(&vm, CONFIG, ON);
	tick_each(&vm, 0, 0, 10); /* at 100 MHz */
	assert_int_equal(vmt_board_route(&vm.board, VMT_SOURCE_HPET0), VMT_HPET_NOWHERE);
	assert_true(vm.out.deadline > 100 * MS);
	until(&vm, MS);
	assert_int_equal(vm.out.pulses, 0);
	ledger_is(&vm, VMT_SOURCE_HPET0, 100000, 0, 100000, 0);
	assert_int_equal(vmt_board_route(&vm.board, VMT_SOURCE_PIT), VMT_HPET_NOWHERE);
}

/* 2 MHz: woken each 50 us for it, and for the other one on time. */
static void a_fast_timer_wakes_at_the_floor_and_another_on_time(void **state)
{
	struct vm vm = booted();
	struct vmt_ledger l;
	unsigned slow = 0;

	(void)state;
	set(&vm, CONFIG, ON);
	tick_each(&vm, 0, ROUTE(20), 500);
	tick_each(&vm, 1, ROUTE(21), 170010);
	for (unsigned wakes = 0; vm.now < 10 * MS; wakes++) {
		assert_true(wakes < 300);
		assert_true(vm.out.deadline > vm.now);
		until(&vm, vm.out.deadline);
		if (vm.out.pulses & HPET_BIT(1))
			assert_int_equal(vm.now, ++slow * UINT64_C(170010));
		for (unsigned i = 0; i < 2; i++)
			if (vm.out.pulses & HPET_BIT(i))
				vmt_board_ack(&vm.board, vm.now, VMT_SOURCE_HPET0 + i, &vm.out);
	}
	assert_int_equal(slow, 58);
	vmt_board_ledger(&vm.board, VMT_SOURCE_HPET0, &l);
	assert_int_equal(l.due, vm.now / 500);
	assert_in_range(l.delivered, 150, 201);
	assert_true(l.merged > 19000 && l.discarded == 0);
}

/* The answer of the second was there before its next tick, though the first's is looked at before.
 */
static void two_timers_answers_come_before_what_falls_due(void **state)
{
	struct vm vm = booted();
	uint64_t acks[VMT_SOURCES] = {0};

	(void)state;
	set(&vm, CONFIG, ON);
	tick_each(&vm, 0, ROUTE(20), MS);
	tick_each(&vm, 1, ROUTE(21), MS);
	until(&vm, MS);
	assert_int_equal(vm.out.pulses, HPET_BIT(0) | HPET_BIT(1));
	acks[VMT_SOURCE_HPET0] = acks[VMT_SOURCE_HPET1] = 1;
	vmt_board_acks(&vm.board, 2 * MS, acks, &vm.out);
	assert_int_equal(vm.out.pulses, HPET_BIT(0) | HPET_BIT(1));
	for (uint32_t i = 0; i < 2; i++) {
		ledger_is(&vm, VMT_SOURCE_HPET0 + i, 2, 1, 0, 1);
		assert_int_equal(vm.board.ticks[VMT_SOURCE_HPET0 + i].retry_ns, VMT_NEVER);
		assert_int_equal(vmt_board_awaits_ack(&vm.board, VMT_SOURCE_HPET0 + i), 1);
	}
	assert_int_equal(vmt_board_awaits_ack(&vm.board, VMT_SOURCE_HPET2), 0);
	assert_int_equal(vmt_board_awaits_ack(&vm.board, VMT_SOURCE_RTC), 0);
	assert_int_equal(vmt_board_awaits_ack(&vm.board, VMT_SOURCES), 0);
}

static void standing_in_it_has_the_lines_of_pit_and_rtc(void **state)
{
	struct vm vm = booted();

	(void)state;
	pit_at_1khz(&vm);
	rtc_at(&vm, 6);
	until(&vm, vm.out.deadline);
	assert_int_equal(vm.out.pulses, RTC_BIT);
	tick_each(&vm, 0, 0, MS);
	set(&vm, CONFIG, LEGACY);
	assert_int_equal(vmt_board_route(&vm.board, VMT_SOURCE_HPET0), 2);
	assert_int_equal(vmt_board_route(&vm.board, VMT_SOURCE_HPET1), 8);
	assert_int_equal(vmt_board_route(&vm.board, VMT_SOURCE_HPET2), VMT_HPET_NOWHERE);
	for (int i = 0; i < 50; i++) {
		vmt_ns before = vm.now;

		until(&vm, vm.out.deadline);
		assert_int_equal(vm.now - before, i ? MS : vm.now - before);
		assert_int_equal(vm.out.pulses, HPET_BIT(0));
		vmt_board_ack(&vm.board, vm.now, VMT_SOURCE_PIT, &vm.out); /* not its line */
		vmt_board_ack(&vm.board, vm.now, VMT_SOURCE_HPET0, &vm.out);
	}
	ledger_is(&vm, VMT_SOURCE_HPET0, 50, 50, 0, 0);
	/* 51.0 ms have passed: 999.85 us and 976.56 us each */
	ledger_is(&vm, VMT_SOURCE_PIT, 50, 0, 50, 0);
	ledger_is(&vm, VMT_SOURCE_RTC, 52, 0, 51, 1);
	out(&vm, 0x70, 12);
	assert_int_equal(in(&vm, 0x71) & 0xc0, 0xc0);
	ledger_is(&vm, VMT_SOURCE_RTC, 52, 0, 52, 0);
}

static void without_it_they_have_them_again(void **state)
{
	struct vm vm = booted();

	(void)state;
	pit_at_1khz(&vm);
	set(&vm, CONFIG, LEGACY);
	rtc_at(&vm, 6);
	until(&vm, 10 * MS);
	assert_int_equal(vm.out.pulses, 0);
	set(&vm, CONFIG, 2); /* stopped: the RTC's line is high, an edge */
	assert_int_equal(vm.out.pulses, RTC_BIT);
	out(&vm, 0x70, 12);
	in(&vm, 0x71);
	ledger_is(&vm, VMT_SOURCE_RTC, 10, 1, 9, 0);
	ledger_is(&vm, VMT_SOURCE_PIT, 10, 0, 10, 0);
	assert_in_range(vm.out.deadline, 10 * MS + 1, 11 * MS);
	until(&vm, 11 * MS);
	assert_int_equal(vm.out.pulses, PIT_BIT | RTC_BIT);
	vmt_board_ack(&vm.board, vm.now, VMT_SOURCE_PIT, &vm.out);
	ledger_is(&vm, VMT_SOURCE_PIT, 11, 1, 10, 0);
}

static void an_rtc_programmed_anew_meanwhile_keeps_its_request(void **state)
{
	struct vm vm = booted();

	(void)state;
	set(&vm, CONFIG, LEGACY);
	rtc_at(&vm, 6);
	until(&vm, 10 * MS);
	ledger_is(&vm, VMT_SOURCE_RTC, 10, 0, 9, 1);
	rtc_at(&vm, 8);
	ledger_is(&vm, VMT_SOURCE_RTC, 10, 0, 9, 1);
	set(&vm, CONFIG, 2);
	assert_int_equal(vm.out.pulses, RTC_BIT);
}

static void what_they_owe_is_given_up_when_it_begins(void **state)
{
	struct vm vm = booted();

	(void)state;
	pit_at_1khz(&vm);
	rtc_at(&vm, 6);
	until(&vm, 2 * MS - 1000);
	ledger_is(&vm, VMT_SOURCE_PIT, 1, 0, 0, 1);
	set(&vm, CONFIG, LEGACY);
	assert_int_equal(vm.out.pulses, 0);
	ledger_is(&vm, VMT_SOURCE_PIT, 1, 0, 1, 0);
	set(&vm, CONFIG, 0);
	assert_int_equal(vm.out.pulses, RTC_BIT); /* its request stands */
}

/* Nobody would hear a PIT of 1.19 MHz, so nobody is woken for it. */
static void a_pit_that_is_cut_off_wakes_nobody(void **state)
{
	struct vm vm = booted();
	struct vmt_ledger l;

	(void)state;
	set(&vm, CONFIG, LEGACY);
	out(&vm, 0x43, 0x14);
	out(&vm, 0x40, 2);
	assert_true(vm.out.deadline > 1000 * MS);
	until(&vm, 1000 * MS);
	vmt_board_ledger(&vm.board, VMT_SOURCE_PIT, &l);
	assert_in_range(l.discarded, 596589, 596591);
	assert_int_equal(l.due, l.discarded);
}

static void a_saved_one_goes_on(void **state)
{
	uint8_t bytes[VMT_BOARD_SAVED];
	struct vm vm = booted(), again = booted();
	int size;

	(void)state;
	set(&vm, CONFIG, LEGACY);
	tick_each(&vm, 0, 0, MS);
	tick_each(&vm, 2, ROUTE(23) | LEVEL, MS);
	until(&vm, 3 * MS);
	size = vmt_board_save(&vm.board, bytes, sizeof(bytes));
	assert_int_equal(vmt_board_load(&again.board, 3 * MS, bytes, (size_t)size, &again.out), 0);
	assert_int_equal(again.out.level, HPET_BIT(2));
	assert_true(again.out.level_changed & HPET_BIT(0));
	assert_int_equal(vmt_board_route(&again.board, VMT_SOURCE_HPET0), 2);
	assert_int_equal(again.out.deadline, 4 * MS);
	again.now = 3 * MS;
	pit_at_1khz(&again); /* still cut off */
	until(&again, 4 * MS);
	assert_int_equal(again.out.pulses, HPET_BIT(0));
}

/* A PIT's tick under way from one snapshot, an HPET that stands in for it from another. */
static void records_that_contradict_each_other_are_refused(void **state)
{
	uint8_t one[VMT_BOARD_SAVED], other[VMT_BOARD_SAVED];
	struct vm vm = booted(), standing_in = booted();
	size_t at = 0, size;

	(void)state;
	pit_at_1khz(&vm);
	until(&vm, 3 * MS / 2);
	set(&standing_in, CONFIG, LEGACY);
	until(&standing_in, vm.now);
	size = (size_t)vmt_board_save(&vm.board, one, sizeof(one));
	assert_int_equal(vmt_board_save(&standing_in.board, other, sizeof(other)), size);
	for (int record = 0; record < 4; record++)
		at += vmt_snap_length(one + at, size - at);
	assert_int_equal(vmt_board_load(&vm.board, vm.now, one, size, &vm.out), 0);
	memcpy(one + at, other + at, size - at);
	assert_int_equal(vmt_board_load(&vm.board, vm.now, one, size, &vm.out), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(it_answers_in_memory_at_any_width_and_alignment),
		cmocka_unit_test(boards_with_an_impossible_one_are_refused),
		cmocka_unit_test(an_edge_timer_is_a_pulse_each_period),
		cmocka_unit_test(a_level_timer_holds_its_line),
		cmocka_unit_test(what_a_line_owes_ends_with_its_kind),
		cmocka_unit_test(a_level_routed_nowhere_is_none),
		cmocka_unit_test(a_tick_at_the_end_of_its_line_is_no_pulse),
		cmocka_unit_test(a_timer_routed_nowhere_ticks_for_nobody),
		cmocka_unit_test(a_fast_timer_wakes_at_the_floor_and_another_on_time),
		cmocka_unit_test(two_timers_answers_come_before_what_falls_due),
		cmocka_unit_test(standing_in_it_has_the_lines_of_pit_and_rtc),
		cmocka_unit_test(without_it_they_have_them_again),
		cmocka_unit_test(an_rtc_programmed_anew_meanwhile_keeps_its_request),
		cmocka_unit_test(what_they_owe_is_given_up_when_it_begins),
		cmocka_unit_test(a_pit_that_is_cut_off_wakes_nobody),
		cmocka_unit_test(a_saved_one_goes_on),
		cmocka_unit_test(records_that_contradict_each_other_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
