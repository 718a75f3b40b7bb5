/* SPDX-License-Identifier: Apache-2.0 */
/* board_test.c - one VM's faces behind their ports: access, deadlines, interrupts, saved state. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include <vmtime/board.h>

#include "../random.h"
#include "core/ns.h"

enum {
	PIT_BIT = 1 << VMT_SOURCE_PIT,
	RTC_BIT = 1 << VMT_SOURCE_RTC,
	SCI_BIT = 1 << VMT_SOURCE_SCI
};
enum { EVT = 0x600, TMR = 0x608 };

#define SECOND UINT64_C(1000000000)
#define EPOCH INT64_C(1704164645000000000) /* 2024-01-02 03:04:05 */

static const struct vmt_board_config all = {
	.faces = VMT_HAS_PIT | VMT_HAS_RTC | VMT_HAS_PMTMR,
	.ticks = VMT_TICKS_CATCHUP,
	.pm1a_port = EVT,
	.pmtmr_port = TMR,
	.pmtmr_bits = 24,
};

/* A board, the time, and what the last call asked for. */
struct vm {
	struct vmt_board board;
	vmt_ns now;
	struct vmt_board_out out;
};

static struct vm booted(const struct vmt_board_config *config)
{
	struct vm vm = {.now = 1000};

	assert_int_equal(vmt_board_init(&vm.board, config, vm.now, EPOCH), 0);
	vmt_board_advance(&vm.board, vm.now, &vm.out);
	return vm;
}

static uint64_t in(struct vm *vm, uint64_t port, uint32_t width)
{
	uint64_t value = 0;

	assert_int_equal(
		vmt_board_read(&vm->board, vm->now, VMT_PIO, port, width, &value, &vm->out), 0);
	return value;
}

static void out(struct vm *vm, uint64_t port, uint32_t width, uint64_t value)
{
	assert_int_equal(
		vmt_board_write(&vm->board, vm->now, VMT_PIO, port, width, value, &vm->out), 0);
}

static void until(struct vm *vm, vmt_ns now)
{
	vm->now = now;
	vmt_board_advance(&vm->board, now, &vm->out);
}

static void tick_at_1khz(struct vm *vm)
{
	out(vm, 0x43, 1, 0x34);
	out(vm, 0x40, 1, 1193 & 0xff);
	out(vm, 0x40, 1, 1193 >> 8);
}

static struct vmt_ledger ledger(const struct vm *vm, uint32_t source)
{
	struct vmt_ledger l;

	vmt_board_ledger(&vm->board, source, &l);
	assert_int_equal(l.due, l.delivered + l.merged + l.discarded + l.owed);
	return l;
}

static void each_face_answers_at_its_ports(void **state)
{
	struct vm vm = booted(&all);

	(void)state;
	out(&vm, 0x43, 1, 0x14);
	out(&vm, 0x40, 1, 99);
	until(&vm, vm.now + 10000);
	assert_in_range(in(&vm, 0x40, 1), 86, 89);
	assert_int_equal(in(&vm, 0x61, 1) & 0xc0, 0);
	out(&vm, 0x70, 1, 0x09);
	assert_int_equal(in(&vm, 0x71, 1), 0x24);
	assert_int_equal(in(&vm, TMR, 4), vmt_pmtmr_peek(vm.now, 24));
	out(&vm, EVT + 2, 2, 0x0121);
	assert_int_equal(in(&vm, EVT, 4), 0x01210000);
}

static void wide_accesses_fall_apart_into_bytes(void **state)
{
	struct vm vm = booted(&all);

	(void)state;
	out(&vm, 0x70, 2, 0x5a << 8 | 0x40); /* index, then data */
	assert_int_equal(in(&vm, 0x71, 1), 0x5a);
	assert_int_equal(in(&vm, 0x70, 4), 0xffff5aff);
	out(&vm, 0x42, 2, 0x14 << 8 | 77); /* counter 2, then a control word */
	assert_int_equal(in(&vm, 0x3f, 2) & 0xff, 0xff);
	assert_int_equal(in(&vm, 0x60, 8) & UINT64_C(0xffffffffffff00ff),
			 UINT64_C(0xffffffffffff00ff));
	vm.now = 123456789;
	assert_int_equal(in(&vm, TMR, 8),
			 UINT64_C(0xffffffff00000000) | vmt_pmtmr_peek(vm.now, 24));
	assert_int_equal(in(&vm, TMR + 1, 1), vmt_pmtmr_peek(vm.now, 24) >> 8 & 0xff);
	assert_int_equal(in(&vm, TMR - 1, 2), (vmt_pmtmr_peek(vm.now, 24) & 0xff) << 8 | 0xff);
	assert_int_equal(in(&vm, TMR + 2, 4) >> 16, 0xffff);
	out(&vm, EVT, 8, UINT64_C(0x0001000000000000) | 0x01010000); /* past the block: nowhere */
	assert_int_equal(in(&vm, EVT + 2, 2), 0x0101);
}

static void other_addresses_are_not_ours(void **state)
{
	static const uint64_t ports[] = {0x3c,   0x44,    0x60,      0x62,    0x6f,
					 0x72,   EVT - 1, EVT + 4,   TMR - 1, TMR + 4,
					 0xffff, 0x10040, UINT64_MAX};
	struct vm vm = booted(&all), before;
	uint64_t value = 77;

	(void)state;
	memset(&vm.out, 0x5a, sizeof(vm.out));
	before = vm;
	for (size_t i = 0; i < sizeof(ports) / sizeof(ports[0]); i++) {
		assert_int_equal(
			vmt_board_read(&vm.board, 0, VMT_PIO, ports[i], 1, &value, &vm.out),
			-ENOENT);
		assert_int_equal(vmt_board_write(&vm.board, 0, VMT_PIO, ports[i], 1, 0, &vm.out),
				 -ENOENT);
	}
	assert_int_equal(vmt_board_read(&vm.board, 0, VMT_MMIO, 0x40, 1, &value, &vm.out), -ENOENT);
	assert_int_equal(vmt_board_read(&vm.board, 0, 7, 0x40, 1, &value, &vm.out), -ENOENT);
	assert_int_equal(vmt_board_read(&vm.board, 0, VMT_PIO, 0x40, 3, &value, &vm.out), -EINVAL);
	assert_int_equal(vmt_board_write(&vm.board, 0, VMT_PIO, 0x40, 0, 0, &vm.out), -EINVAL);
	assert_int_equal(value, 77);
	assert_memory_equal(&vm, &before, sizeof(vm));
}

static void a_face_that_is_not_there_does_not_answer(void **state)
{
	struct vmt_board_config config = {.faces = VMT_HAS_RTC};
	struct vm vm = booted(&config);
	uint64_t value;

	(void)state;
	assert_int_equal(in(&vm, 0x70, 1), 0xff);
	assert_int_equal(vmt_board_read(&vm.board, 0, VMT_PIO, 0x40, 1, &value, &vm.out), -ENOENT);
	assert_int_equal(vmt_board_read(&vm.board, 0, VMT_PIO, 0, 1, &value, &vm.out), -ENOENT);
	vmt_board_power_button(&vm.board, vm.now, &vm.out);
	assert_int_equal(vm.out.level, 0);
	config.faces = 0;
	vm = booted(&config);
	assert_int_equal(vm.out.deadline, VMT_NEVER);
}

static void impossible_boards_are_refused(void **state)
{
	struct vmt_board b;
	struct vmt_board_config c;

	(void)state;
	memset(&b, 0x5a, sizeof(b));
	for (int i = 0; i < 8; i++) {
		c = all;
		if (i == 0)
			c.faces = 16;
		else if (i == 1)
			c.ticks = 4;
		else if (i == 2)
			c.pmtmr_bits = 16;
		else if (i == 3)
			c.pm1a_port = TMR - 3;
		else if (i == 4)
			c.pmtmr_port = 0x3e;
		else if (i == 5)
			c.pmtmr_port = 0xfffd;
		else if (i == 6)
			c.pm1a_port = 0x71;
		assert_int_equal(vmt_board_init(&b, &c, 0, 0), i == 7 ? 0 : -EINVAL);
	}
	c.faces = VMT_HAS_PMTMR; /* without a PIT its ports are free */
	c.pmtmr_port = 0x40;
	assert_int_equal(vmt_board_init(&b, &c, 0, 0), 0);
}

static void time_that_steps_back_is_raised_and_counted(void **state)
{
	struct vm vm = booted(&all);
	uint64_t value;

	(void)state;
	vm.now = 5 * SECOND;
	value = in(&vm, TMR, 4);
	vm.now = 4 * SECOND;
	assert_int_equal(in(&vm, TMR, 4), value);
	assert_int_equal(vm.out.ready, 5 * SECOND);
	until(&vm, 3 * SECOND);
	assert_int_equal(vm.board.late_now, 2);
	until(&vm, VMT_NEVER); /* and it ends just before never */
	assert_int_equal(vm.board.now, VMT_NEVER - 1);
}

static void the_deadline_is_the_earliest_of_all(void **state)
{
	struct vm vm = booted(&all);

	(void)state;
	assert_int_equal(vm.out.deadline, VMT_NEVER);
	out(&vm, EVT + 2, 2, VMT_PMTMR_TIMER);
	assert_int_equal(vm.out.deadline, 2343484438);
	out(&vm, 0x70, 2, 0x12 << 8 | 11); /* update interrupts */
	assert_int_equal(vm.out.deadline, SECOND);
	tick_at_1khz(&vm);
	assert_int_equal(vm.out.deadline, vmt_ns_of_tick(2 + 1193, VMT_PIT_HZ));
	out(&vm, 0x43, 1, 0x30);
	assert_int_equal(vm.out.deadline, SECOND);
}

static void irq_0_is_a_pulse_each_period(void **state)
{
	struct vm vm = booted(&all);

	(void)state;
	tick_at_1khz(&vm);
	for (uint64_t i = 1; i <= 1000; i++) {
		until(&vm, vm.out.deadline);
		assert_int_equal(vm.out.pulses, PIT_BIT);
		vmt_board_ack(&vm.board, vm.now + 5000, VMT_SOURCE_PIT, &vm.out);
		assert_int_equal(vm.out.pulses, 0);
		assert_int_equal(ledger(&vm, VMT_SOURCE_PIT).delivered, i);
	}
	assert_int_equal(ledger(&vm, VMT_SOURCE_PIT).due, 1000);
	assert_int_equal(vm.now, vmt_ns_of_tick(2 + 1193 * 1000, VMT_PIT_HZ));
}

/* The guest takes both ticks: the first is credited before the second falls due. */
static void an_acknowledgement_at_the_next_edge_is_the_last_ones(void **state)
{
	(void)state;
	for (uint32_t policy = VMT_TICKS_DISCARD; policy <= VMT_TICKS_MERGE; policy++) {
		struct vmt_board_config config = all;
		struct vm vm;

		config.ticks = policy;
		vm = booted(&config);
		tick_at_1khz(&vm);
		until(&vm, vm.out.deadline);
		assert_int_equal(vm.out.pulses, PIT_BIT);
		vm.now = vm.out.deadline;
		vmt_board_ack(&vm.board, vm.now, VMT_SOURCE_PIT, &vm.out);
		assert_int_equal(vm.out.pulses, PIT_BIT);
		assert_int_equal(ledger(&vm, VMT_SOURCE_PIT).delivered, 1);
		assert_int_equal(ledger(&vm, VMT_SOURCE_PIT).owed, 1);
		vmt_board_ack(&vm.board, vm.now, VMT_SOURCE_PIT, &vm.out);
		assert_int_equal(vm.out.pulses, 0);
		assert_int_equal(ledger(&vm, VMT_SOURCE_PIT).due, 2);
		assert_int_equal(ledger(&vm, VMT_SOURCE_PIT).delivered, 2);
	}
}

/* What was refused is the pulse that the caller knows of, not one that this call asks for. */
static void a_refusal_at_the_next_edge_is_the_last_ones(void **state)
{
	struct vmt_board_config config = all;
	struct vm vm;

	(void)state;
	config.ticks = VMT_TICKS_DISCARD;
	vm = booted(&config);
	tick_at_1khz(&vm);
	until(&vm, vm.out.deadline);
	vm.now = vm.out.deadline;
	vmt_board_refused(&vm.board, vm.now, VMT_SOURCE_PIT, &vm.out);
	assert_int_equal(vm.out.pulses, PIT_BIT);
	assert_int_equal(vm.board.ticks[VMT_SOURCE_PIT].in_flight, 1);
	assert_int_equal(ledger(&vm, VMT_SOURCE_PIT).discarded, 1);
	assert_int_equal(ledger(&vm, VMT_SOURCE_PIT).owed, 1);
}

/* 597 kHz: its caller would have nothing else to do. */
static void a_fast_source_wakes_its_caller_at_the_floor(void **state)
{
	static const uint8_t program[][2] = {{0x43, 0x34}, {0x40, 2}, {0x40, 0}};
	struct vm vm = booted(&all);

	(void)state;
	for (int i = 0; i < 3; i++)
		vmt_board_write(&vm.board, vm.now, VMT_PIO, program[i][0], 1, program[i][1],
				&vm.out);
	for (int i = 0; i < 10; i++) {
		vm.now = vm.out.deadline;
		vmt_board_advance(&vm.board, vm.now, &vm.out);
		if (i > 0)
			assert_true(vm.out.deadline >= vm.now + VMT_TICKS_FLOOR_NS);
	}
	assert_true(ledger(&vm, VMT_SOURCE_PIT).merged > 100);
}

/* Masked: nothing is acknowledged, and a period is not a whole number of nanoseconds. */
static void a_masked_irq_0_is_pulsed_at_every_edge(void **state)
{
	struct vm vm = booted(&all);

	(void)state;
	tick_at_1khz(&vm);
	for (int i = 0; i < 1000; i++) {
		until(&vm, vm.out.deadline);
		assert_int_equal(vm.out.pulses, PIT_BIT);
	}
}

/* Whatever the guest asks for, what was due before it happens first. */
static void an_access_after_a_deadline_finds_it_done(void **state)
{
	struct vm vm = booted(&all);

	(void)state;
	tick_at_1khz(&vm);
	vm.now += 10 * SECOND;
	in(&vm, TMR, 4);
	assert_int_equal(vm.out.pulses, PIT_BIT);
	assert_true(vm.out.deadline > vm.now);
	assert_int_equal(ledger(&vm, VMT_SOURCE_PIT).due,
			 10001); /* 1193 clocks are not quite 1 ms */
	assert_int_equal(ledger(&vm, VMT_SOURCE_PIT).owed, VMT_TICKS_OWED);
	assert_int_equal(ledger(&vm, VMT_SOURCE_PIT).discarded, 1);
}

static void a_guest_that_programs_it_anew_gets_no_old_ticks(void **state)
{
	struct vm vm = booted(&all);

	(void)state;
	tick_at_1khz(&vm);
	until(&vm, vm.now + SECOND);
	assert_int_equal(ledger(&vm, VMT_SOURCE_PIT).owed, 1000);
	out(&vm, 0x43, 1, 0x30);
	assert_int_equal(ledger(&vm, VMT_SOURCE_PIT).owed, 1); /* the one in flight */
	assert_int_equal(ledger(&vm, VMT_SOURCE_PIT).discarded, 999);
}

static void irq_8_is_acknowledged_by_register_c(void **state)
{
	struct vm vm = booted(&all);

	(void)state;
	out(&vm, 0x70, 2, 0x2f << 8 | 10); /* 2 Hz */
	out(&vm, 0x70, 2, 0x42 << 8 | 11);
	until(&vm, vm.out.deadline);
	assert_int_equal(vm.out.pulses, RTC_BIT);
	vmt_board_ack(&vm.board, vm.now, VMT_SOURCE_RTC, &vm.out); /* EOI: says nothing here */
	assert_int_equal(ledger(&vm, VMT_SOURCE_RTC).owed, 1);
	until(&vm, vm.now + SECOND); /* two more that find the line high */
	out(&vm, 0x70, 1, 12);
	assert_int_equal(in(&vm, 0x71, 1), 0xd0);
	assert_int_equal(ledger(&vm, VMT_SOURCE_RTC).delivered, 1);
	assert_int_equal(ledger(&vm, VMT_SOURCE_RTC).owed, 2);
	assert_int_equal(vm.out.deadline, vm.now + SECOND / 8);
	for (int i = 0; i < 2; i++) {
		until(&vm, vm.out.deadline);
		assert_int_equal(vm.out.pulses, RTC_BIT);
		assert_int_equal(vm.out.deadline, VMT_NEVER); /* high until C is read */
		assert_int_equal(in(&vm, 0x71, 1), 0xc0);
	}
	assert_int_equal(ledger(&vm, VMT_SOURCE_RTC).delivered, 3);
	assert_int_equal(ledger(&vm, VMT_SOURCE_RTC).owed, 0);
}

/* Late, and by polling: what has been served needs no interrupt. */
static void irq_8_is_not_asked_for_once_it_is_served(void **state)
{
	struct vm vm = booted(&all);

	(void)state;
	out(&vm, 0x70, 2, 0x2f << 8 | 10); /* 2 Hz */
	out(&vm, 0x70, 2, 0x42 << 8 | 11);
	out(&vm, 0x70, 1, 12);
	vm.now = vm.out.deadline;
	assert_int_equal(in(&vm, 0x71, 1), 0xc0);
	assert_int_equal(vm.out.pulses, 0);
	assert_int_equal(ledger(&vm, VMT_SOURCE_RTC).delivered, 1);
}

/* A slow guest with ticks and updates: catching up shows it each tick once, and none twice. */
static void each_tick_of_irq_8_is_shown_once(void **state)
{
	struct vm vm = booted(&all);
	uint64_t shown = 0, updates = 0, value, end = 99 * SECOND / 10, ticks;

	(void)state;
	vmt_board_utc(&vm.board, vm.now, EPOCH - 800000, &vm.out); /* updates between ticks */
	out(&vm, 0x70, 2, 0x26 << 8 | 10);                         /* 1024 Hz */
	out(&vm, 0x70, 2, 0x52 << 8 | 11);
	out(&vm, 0x70, 1, 12);
	while (vm.now < end) {
		until(&vm, vm.out.deadline);
		if (!(vm.out.pulses & RTC_BIT))
			continue;
		vm.now += 700000; /* before it gets to register C: past the tick after an update */
		value = in(&vm, 0x71, 1);
		shown += value >> 6 & 1;
		updates += value >> 4 & 1;
	}
	assert_int_equal(updates, 10);
	ticks = vmt_ns_to_ticks(vm.now, 1024);
	assert_int_equal(shown + ledger(&vm, VMT_SOURCE_RTC).owed, ticks);
	/* an update and the tick that it was read with are one interrupt */
	assert_int_equal(ledger(&vm, VMT_SOURCE_RTC).due, ticks);
}

static void a_refused_irq_8_is_pulsed_again_ever_less_often(void **state)
{
	struct vm vm = booted(&all);
	unsigned tries = 0;

	(void)state;
	out(&vm, 0x70, 2, 0x12 << 8 | 11);
	until(&vm, vm.out.deadline);
	assert_int_equal(vm.out.pulses, RTC_BIT);
	for (uint64_t wait = VMT_TICKS_RETRY_NS; tries < 20; tries++) {
		vmt_board_refused(&vm.board, vm.now, VMT_SOURCE_RTC, &vm.out);
		assert_int_equal(vm.out.deadline, vm.now + wait);
		until(&vm, vm.out.deadline);
		assert_int_equal(vm.out.pulses, RTC_BIT);
		wait = 2 * wait < VMT_TICKS_RETRY_MAX_NS ? 2 * wait : VMT_TICKS_RETRY_MAX_NS;
	}
	assert_int_equal(vm.out.deadline, VMT_NEVER);
	out(&vm, 0x70, 1, 12);
	in(&vm, 0x71, 1);
	until(&vm, vm.out.deadline); /* a new request does not wait for the old one's sake */
	assert_int_equal(vm.out.pulses, RTC_BIT);
	vmt_board_refused(&vm.board, vm.now, VMT_SOURCE_RTC, &vm.out);
	assert_int_equal(vm.out.deadline, vm.now + VMT_TICKS_RETRY_NS);
}

static void a_refused_irq_0_is_tried_again(void **state)
{
	struct vm vm = booted(&all);

	(void)state;
	out(&vm, 0x43, 1, 0x18); /* a one-shot: no other edge will come */
	out(&vm, 0x40, 1, 100);
	until(&vm, vm.out.deadline);
	assert_int_equal(vm.out.pulses, PIT_BIT);
	for (unsigned i = 0; i < 7; i++) { /* ever less often: 10, 20, ... 640 ms */
		vmt_board_refused(&vm.board, vm.now, VMT_SOURCE_PIT, &vm.out);
		assert_int_equal(vm.out.deadline, vm.now + (UINT64_C(1) * VMT_TICKS_RETRY_NS << i));
		until(&vm, vm.out.deadline);
		assert_int_equal(vm.out.pulses, PIT_BIT);
	}
	vmt_board_ack(&vm.board, vm.now, VMT_SOURCE_PIT, &vm.out);
	assert_int_equal(ledger(&vm, VMT_SOURCE_PIT).delivered, 1);
	assert_int_equal(vm.out.deadline, VMT_NEVER);
}

static void the_sci_is_a_level(void **state)
{
	struct vm vm = booted(&all);

	(void)state;
	out(&vm, EVT + 2, 2, VMT_PMTMR_BUTTON);
	assert_int_equal(vm.out.level_changed, 0);
	vmt_board_power_button(&vm.board, vm.now, &vm.out);
	assert_int_equal(vm.out.level, SCI_BIT);
	assert_int_equal(vm.out.level_changed, SCI_BIT);
	assert_int_equal(vm.out.pulses, 0);
	until(&vm, vm.now + 1);
	assert_int_equal(vm.out.level, SCI_BIT);
	assert_int_equal(vm.out.level_changed, 0);
	out(&vm, EVT, 2, VMT_PMTMR_BUTTON);
	assert_int_equal(vm.out.level, 0);
	assert_int_equal(vm.out.level_changed, SCI_BIT);
	assert_int_equal(ledger(&vm, VMT_SOURCE_SCI).due, 0);
	assert_int_equal(ledger(&vm, 99).due, 0);
}

static void a_step_of_utc_reaches_the_rtc(void **state)
{
	struct vm vm = booted(&all);

	(void)state;
	out(&vm, 0x70, 1, 0x04);
	assert_int_equal(in(&vm, 0x71, 1), 0x03);
	vmt_board_utc(&vm.board, vm.now, EPOCH + 3600 * INT64_C(1000000000), &vm.out);
	assert_int_equal(in(&vm, 0x71, 1), 0x04);
}

static void a_reset_silences_all_and_time_goes_on(void **state)
{
	struct vm vm = booted(&all);

	(void)state;
	tick_at_1khz(&vm);
	out(&vm, 0x70, 2, 0x72 << 8 | 11);
	out(&vm, EVT + 2, 2, VMT_PMTMR_BUTTON);
	vmt_board_power_button(&vm.board, vm.now, &vm.out);
	vm.now += 10 * SECOND;
	vmt_board_reset(&vm.board, vm.now, &vm.out);
	assert_int_equal(vm.out.pulses, 0);
	assert_int_equal(vm.out.level_changed, SCI_BIT);
	assert_int_equal(vm.out.deadline, VMT_NEVER);
	assert_int_equal(ledger(&vm, VMT_SOURCE_PIT).owed, 0);
	assert_int_equal(ledger(&vm, VMT_SOURCE_PIT).discarded, 10001);
	assert_int_equal(ledger(&vm, VMT_SOURCE_RTC).owed, 0);
	assert_int_equal(in(&vm, TMR, 4), vmt_pmtmr_peek(vm.now, 24));
	out(&vm, 0x70, 1, 0);
	assert_int_equal(in(&vm, 0x71, 1), 0x15);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_face_answers_at_its_ports),
		cmocka_unit_test(wide_accesses_fall_apart_into_bytes),
		cmocka_unit_test(other_addresses_are_not_ours),
		cmocka_unit_test(a_face_that_is_not_there_does_not_answer),
		cmocka_unit_test(impossible_boards_are_refused),
		cmocka_unit_test(time_that_steps_back_is_raised_and_counted),
		cmocka_unit_test(the_deadline_is_the_earliest_of_all),
		cmocka_unit_test(irq_0_is_a_pulse_each_period),
		cmocka_unit_test(an_acknowledgement_at_the_next_edge_is_the_last_ones),
		cmocka_unit_test(a_refusal_at_the_next_edge_is_the_last_ones),
		cmocka_unit_test(a_fast_source_wakes_its_caller_at_the_floor),
		cmocka_unit_test(a_masked_irq_0_is_pulsed_at_every_edge),
		cmocka_unit_test(an_access_after_a_deadline_finds_it_done),
		cmocka_unit_test(a_guest_that_programs_it_anew_gets_no_old_ticks),
		cmocka_unit_test(irq_8_is_acknowledged_by_register_c),
		cmocka_unit_test(irq_8_is_not_asked_for_once_it_is_served),
		cmocka_unit_test(each_tick_of_irq_8_is_shown_once),
		cmocka_unit_test(a_refused_irq_8_is_pulsed_again_ever_less_often),
		cmocka_unit_test(a_refused_irq_0_is_tried_again),
		cmocka_unit_test(the_sci_is_a_level),
		cmocka_unit_test(a_step_of_utc_reaches_the_rtc),
		cmocka_unit_test(a_reset_silences_all_and_time_goes_on),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
