/* SPDX-License-Identifier: Apache-2.0 */
/* serial_test.c - a 16550A as a driver meets it. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <string.h>

#include "kvm/serial.h"

enum { DATA, IER, IIR, LCR, MCR, LSR, MSR, SCR, FCR = IIR };

static void write_reg(struct serial *s, unsigned reg, uint8_t value)
{
	uint8_t byte;

	assert_false(serial_write(s, reg, value, &byte));
}

static uint8_t send(struct serial *s, uint8_t value)
{
	uint8_t byte = 0;

	assert_true(serial_write(s, DATA, value, &byte));
	return byte;
}

/* As a driver opens it: FIFO on with a trigger of 8, DTR, RTS and OUT2, the interrupts `ier`. */
static struct serial opened(uint8_t ier)
{
	struct serial s;

	serial_reset(&s);
	write_reg(&s, FCR, 0x87);
	write_reg(&s, MCR, 0x0b);
	write_reg(&s, IER, ier);
	return s;
}

static void linux_finds_a_16550a(void **state)
{
	struct serial s;

	(void)state;
	serial_reset(&s);
	/* Interrupt enable holds four bits. */
	write_reg(&s, IER, 0);
	assert_int_equal(serial_read(&s, IER), 0);
	write_reg(&s, IER, 0xff);
	assert_int_equal(serial_read(&s, IER), 0x0f);
	write_reg(&s, IER, 0);
	/* Loopback of RTS, OUT2 to CTS, DCD. */
	write_reg(&s, MCR, 0x1a);
	assert_int_equal(serial_read(&s, MSR) & 0xf0, 0x90);
	write_reg(&s, MCR, 0);
	/* FIFO bits: both, that is an A. */
	write_reg(&s, FCR, 1);
	assert_int_equal(serial_read(&s, IIR) >> 6, 3);
	write_reg(&s, FCR, 0);
	assert_int_equal(serial_read(&s, IIR) >> 6, 0);
	write_reg(&s, SCR, 0x5a);
	assert_int_equal(serial_read(&s, SCR), 0x5a);
}

static void the_divisor_lies_behind_its_latch(void **state)
{
	struct serial s;

	(void)state;
	serial_reset(&s);
	write_reg(&s, IER, 5);
	write_reg(&s, LCR, 0x83);
	write_reg(&s, DATA, 0x34);
	write_reg(&s, IER, 0x12);
	assert_int_equal(serial_read(&s, DATA), 0x34);
	assert_int_equal(serial_read(&s, IER), 0x12);
	write_reg(&s, LCR, 0x03);
	assert_int_equal(serial_read(&s, IER), 5);
	assert_int_equal(send(&s, 'x'), 'x');
}

static void a_sent_byte_leaves_the_transmitter_empty(void **state)
{
	struct serial s = opened(0);

	(void)state;
	for (unsigned i = 0; i < 100; i++) {
		assert_int_equal(serial_read(&s, LSR) & 0x60, 0x60);
		assert_int_equal(send(&s, (uint8_t)i), i);
	}
	assert_false(serial_level(&s));
}

static void an_empty_transmitter_interrupts_until_iir_says_so(void **state)
{
	struct serial s = opened(0);

	(void)state;
	write_reg(&s, IER, 2);
	assert_true(serial_level(&s)); /* enabled while empty */
	assert_int_equal(serial_read(&s, IIR), 0xc2);
	assert_false(serial_level(&s));
	assert_int_equal(serial_read(&s, IIR), 0xc1);
	send(&s, 'a');
	assert_true(serial_level(&s));
	serial_read(&s, IIR);
	write_reg(&s, IER, 0); /* Linux's test for chips that forget */
	write_reg(&s, IER, 2);
	assert_int_equal(serial_read(&s, IIR), 0xc2);
}

static void received_bytes_come_out_in_order(void **state)
{
	struct serial s = opened(1);

	(void)state;
	for (unsigned round = 0; round < 5; round++) {
		for (uint8_t i = 0; i < 11; i++)
			serial_receive(&s, i);
		assert_int_equal(serial_room(&s), 5);
		for (uint8_t i = 0; i < 11; i++) {
			assert_true(serial_level(&s));
			assert_true(serial_read(&s, LSR) & 1);
			assert_int_equal(serial_read(&s, DATA), i);
		}
		assert_false(serial_read(&s, LSR) & 1);
		assert_false(serial_level(&s));
	}
}

static void below_the_trigger_it_is_a_time_out(void **state)
{
	struct serial s = opened(1);

	(void)state;
	serial_receive(&s, 'a');
	assert_int_equal(serial_read(&s, IIR), 0xcc);
	for (unsigned i = 1; i < 8; i++)
		serial_receive(&s, 'b');
	assert_int_equal(serial_read(&s, IIR), 0xc4);
}

static void one_byte_too_many_is_an_overrun(void **state)
{
	struct serial s = opened(4 | 1);

	(void)state;
	for (uint8_t i = 0; i < 17; i++)
		serial_receive(&s, i);
	assert_int_equal(serial_room(&s), 0);
	assert_int_equal(serial_read(&s, IIR), 0xc6); /* before the data */
	assert_int_equal(serial_read(&s, LSR) & 3, 3);
	assert_int_equal(serial_read(&s, LSR) & 3, 1); /* told once */
	for (uint8_t i = 0; i < 16; i++)
		assert_int_equal(serial_read(&s, DATA), i);

	/* Without the FIFO the last one stays. */
	write_reg(&s, FCR, 0);
	assert_int_equal(serial_room(&s), 1);
	serial_receive(&s, 1);
	serial_receive(&s, 2);
	assert_int_equal(serial_read(&s, DATA), 2);
}

static void changing_the_mode_empties_the_fifo(void **state)
{
	struct serial s = opened(0);

	(void)state;
	serial_receive(&s, 'a');
	write_reg(&s, FCR, 0x01); /* still on, no clear bit */
	assert_true(serial_read(&s, LSR) & 1);
	write_reg(&s, FCR, 0x03);
	assert_false(serial_read(&s, LSR) & 1);
	serial_receive(&s, 'a');
	write_reg(&s, FCR, 0);
	assert_false(serial_read(&s, LSR) & 1);
}

static void loopback_stays_inside(void **state)
{
	struct serial s = opened(1);
	uint8_t byte;

	(void)state;
	write_reg(&s, MCR, 0x1b);
	assert_false(serial_write(&s, DATA, 'x', &byte));
	serial_receive(&s, 'y');
	assert_int_equal(serial_room(&s), 0);
	assert_false(serial_level(&s)); /* OUT2 does not reach the gate */
	assert_int_equal(serial_read(&s, DATA), 'x');
	assert_false(serial_read(&s, LSR) & 1);
}

static void modem_lines_tell_their_changes_once(void **state)
{
	struct serial s = opened(8);

	(void)state;
	assert_int_equal(serial_read(&s, MSR) & 0xf0, 0xb0); /* the other side is there */
	serial_read(&s, MSR);
	write_reg(&s, MCR, 0x1b); /* loop: CTS, DSR, DCD as before */
	assert_int_equal(serial_read(&s, MSR), 0xb0);
	write_reg(&s, MCR, 0x1c); /* RI comes, CTS and DSR go, DCD stays */
	assert_int_equal(serial_read(&s, MSR), 0xc3);
	write_reg(&s, MCR, 0x18);
	assert_int_equal(serial_read(&s, MSR), 0x84); /* RI's end is what counts */
	write_reg(&s, MCR, 0x0b);
	assert_true(serial_level(&s));
	assert_int_equal(serial_read(&s, IIR), 0xc0);
	assert_int_equal(serial_read(&s, MSR), 0xb3);
	assert_false(serial_level(&s));
}

static void without_out2_no_interrupt_leaves_the_chip(void **state)
{
	struct serial s = opened(1);

	(void)state;
	serial_receive(&s, 'a');
	assert_true(serial_level(&s));
	write_reg(&s, MCR, 0x03);
	assert_false(serial_level(&s));
	assert_int_equal(serial_read(&s, IIR), 0xcc); /* polled it still tells */
}

/* Whatever a guest does, the receiver's room and count add up and nothing is out of bounds. */
static void random_accesses_leave_it_whole(void **state)
{
	struct serial s;
	uint32_t seed = 1;

	(void)state;
	serial_reset(&s);
	for (unsigned i = 0; i < 1000000; i++) {
		uint8_t byte;

		seed = seed * 1664525 + 1013904223;
		if (seed >> 30 == 0)
			serial_read(&s, seed >> 8 & 7);
		else if (seed >> 30 == 1)
			serial_receive(&s, (uint8_t)(seed >> 12));
		else
			serial_write(&s, seed >> 8 & 7, (uint8_t)(seed >> 12), &byte);
		assert_true(s.rx_count <= SERIAL_FIFO && s.rx_first < SERIAL_FIFO);
		assert_true(serial_room(&s) + s.rx_count <= SERIAL_FIFO);
		assert_true(s.ier <= 0x0f && s.mcr <= 0x1f);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(linux_finds_a_16550a),
		cmocka_unit_test(the_divisor_lies_behind_its_latch),
		cmocka_unit_test(a_sent_byte_leaves_the_transmitter_empty),
		cmocka_unit_test(an_empty_transmitter_interrupts_until_iir_says_so),
		cmocka_unit_test(received_bytes_come_out_in_order),
		cmocka_unit_test(below_the_trigger_it_is_a_time_out),
		cmocka_unit_test(one_byte_too_many_is_an_overrun),
		cmocka_unit_test(changing_the_mode_empties_the_fifo),
		cmocka_unit_test(loopback_stays_inside),
		cmocka_unit_test(modem_lines_tell_their_changes_once),
		cmocka_unit_test(without_out2_no_interrupt_leaves_the_chip),
		cmocka_unit_test(random_accesses_leave_it_whole),
	};

	return cmocka_run_group_tests_name("serial", tests, NULL, NULL);
}
