/* SPDX-License-Identifier: Apache-2.0 */
/* ports_test.c - what answers at which port, and what the machine is asked for there. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdlib.h>

#include "host/hostclock.h"
#include "kvm/acpi.h"
#include "kvm/ports.h"

struct fixture {
	struct chipset chipset;
	struct ports ports;
};

static struct fixture *create(uint32_t faces, bool exit_port)
{
	const struct vmt_board_config config = {
		.faces = faces,
		.pm1a_port = ACPI_PM1A_EVT_PORT,
		.pmtmr_port = ACPI_PM_TIMER_PORT,
		.pmtmr_bits = 24,
	};
	struct fixture *f = calloc(1, sizeof(*f));
	struct vmt_reading at = {.counter = hostclock_monotonic_ns()};
	struct vmt_clock clock;

	assert_int_equal(vmt_clock_start(1000000000, &at, &clock, NULL), 0);
	assert_int_equal(chipset_init(&f->chipset, &config, &clock, false, NULL), 0);
	ports_init(&f->ports, &f->chipset, exit_port);
	return f;
}

static void destroy(struct fixture *f)
{
	ports_destroy(&f->ports);
	chipset_destroy(&f->chipset);
	free(f);
}

static enum ports_request out(struct fixture *f, uint16_t port, unsigned width, uint32_t value)
{
	uint8_t byte;

	return ports_out(&f->ports, port, width, value, &byte);
}

static void where_nothing_is_ones_are_read(void **state)
{
	struct fixture *f = create(0, false);

	(void)state;
	assert_int_equal(ports_in(&f->ports, 0x60, 1), 0xff);
	assert_int_equal(ports_in(&f->ports, 0x64, 1), 0xff);
	assert_int_equal(ports_in(&f->ports, 0xcfc, 4), 0xffffffff);
	assert_int_equal(ports_in(&f->ports, 0x70, 2), 0xffff);
	assert_int_equal(ports_load(&f->ports, 0xfed00000, 8), UINT64_MAX);
	assert_int_equal(out(f, 0x80, 1, 0), PORTS_NONE);
	ports_store(&f->ports, 0xfed00000, 4, 1);
	destroy(f);
}

static void the_board_comes_first(void **state)
{
	struct fixture *f = create(VMT_HAS_PIT | VMT_HAS_RTC | VMT_HAS_PMTMR, false);
	uint64_t first, second;

	(void)state;
	out(f, 0x70, 1, 0x0d);
	assert_int_equal(ports_in(&f->ports, 0x71, 1), 0x80); /* RTC: valid RAM and time */
	first = ports_in(&f->ports, ACPI_PM_TIMER_PORT, 4);
	do {
		second = ports_in(&f->ports, ACPI_PM_TIMER_PORT, 4);
	} while (second == first);
	assert_true(((second - first) & 0xffffff) < 0x800000);
	out(f, ACPI_PM1A_EVT_PORT + 2, 2, 0x0120);
	assert_int_equal(ports_in(&f->ports, ACPI_PM1A_EVT_PORT + 2, 2), 0x0120);
	destroy(f);
}

static void three_ways_to_reset(void **state)
{
	struct fixture *f = create(0, false);

	(void)state;
	assert_int_equal(out(f, 0x64, 1, 0xfe), PORTS_RESET);
	assert_int_equal(out(f, 0x64, 1, 0xd1), PORTS_NONE);
	assert_int_equal(out(f, ACPI_RESET_PORT, 1, ACPI_RESET_VALUE), PORTS_RESET);
	assert_int_equal(out(f, ACPI_RESET_PORT, 1, 0x02), PORTS_NONE); /* only prepared */
	assert_int_equal(ports_in(&f->ports, ACPI_RESET_PORT, 1), 0x02);
	assert_int_equal(out(f, ACPI_RESET_PORT, 1, 0x04), PORTS_RESET);
	assert_int_equal(out(f, 0xcf8, 4, 0x80000600), PORTS_NONE); /* PCI's address, no reset */
	destroy(f);
}

static void only_s5_with_slp_en_switches_off(void **state)
{
	struct fixture *f = create(0, false);
	uint32_t s5 = ACPI_S5_SLP_TYP << 10;

	(void)state;
	assert_int_equal(ports_in(&f->ports, ACPI_PM1A_CNT_PORT, 2) & 1, 1); /* ACPI mode is on */
	assert_int_equal(out(f, ACPI_PM1A_CNT_PORT, 2, s5), PORTS_NONE);
	assert_int_equal(ports_in(&f->ports, ACPI_PM1A_CNT_PORT, 2), s5 | 1);
	assert_int_equal(out(f, ACPI_PM1A_CNT_PORT, 2, 1 << 13), PORTS_NONE); /* type 0 */
	assert_int_equal(out(f, ACPI_PM1A_CNT_PORT, 2, s5 | 1 << 13), PORTS_POWEROFF);
	assert_int_equal(out(f, ACPI_PM1A_CNT_PORT + 1, 1, (s5 | 1 << 13) >> 8), PORTS_POWEROFF);
	assert_int_equal(ports_in(&f->ports, ACPI_PM1A_CNT_PORT, 2) & 1 << 13, 0);
	destroy(f);
}

static void pm1_enable_holds_also_without_a_timer(void **state)
{
	struct fixture *f = create(0, false);

	(void)state;
	out(f, ACPI_PM1A_EVT_PORT, 2, 0xffff); /* status: cleared by ones */
	out(f, ACPI_PM1A_EVT_PORT + 2, 2, 0x4321);
	assert_int_equal(ports_in(&f->ports, ACPI_PM1A_EVT_PORT, 4), 0x43210000);
	ports_reset(&f->ports);
	assert_int_equal(ports_in(&f->ports, ACPI_PM1A_EVT_PORT, 4), 0);
	destroy(f);
}

static void the_exit_port_is_there_when_asked_for(void **state)
{
	struct fixture *f = create(0, true);
	uint8_t byte = 0;

	(void)state;
	assert_int_equal(ports_out(&f->ports, 0xf4, 1, 0x42, &byte), PORTS_EXIT);
	assert_int_equal(byte, 0x42);
	destroy(f);

	f = create(0, false);
	assert_int_equal(out(f, 0xf4, 1, 0x42), PORTS_NONE);
	destroy(f);
}

static void both_serial_ports_answer_also_to_wide_accesses(void **state)
{
	struct fixture *f = create(0, false);

	(void)state;
	out(f, 0x3ff, 1, 0x5a);
	out(f, 0x2ff, 1, 0xa5);
	assert_int_equal(ports_in(&f->ports, 0x3ff, 1), 0x5a);
	assert_int_equal(ports_in(&f->ports, 0x2ff, 1), 0xa5);
	assert_int_equal(ports_in(&f->ports, 0x3fe, 2), 0x5ab0); /* MSR, scratch */
	assert_int_equal(ports_in(&f->ports, 0x3ff, 2), 0xff5a); /* nothing at 0x400 */
	destroy(f);
}

/* What is typed while a machine is waited for is its guest's, and not lost when its state comes. */
static void input_waits_for_a_machine(void **state)
{
	struct fixture *f = create(0, false);
	const struct vm vm = {.kvm_fd = -1, .fd = -1};
	const struct console_port port = ports_console(&f->ports, 0);

	(void)state;
	assert_int_equal(port.room(port.port), 0);
	ports_connect(&f->ports, &vm);
	assert_int_not_equal(port.room(port.port), 0);
	ports_connect(&f->ports, NULL);
	assert_int_equal(port.room(port.port), 0);
	destroy(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(where_nothing_is_ones_are_read),
		cmocka_unit_test(the_board_comes_first),
		cmocka_unit_test(three_ways_to_reset),
		cmocka_unit_test(only_s5_with_slp_en_switches_off),
		cmocka_unit_test(pm1_enable_holds_also_without_a_timer),
		cmocka_unit_test(the_exit_port_is_there_when_asked_for),
		cmocka_unit_test(both_serial_ports_answer_also_to_wide_accesses),
		cmocka_unit_test(input_waits_for_a_machine),
	};

	return cmocka_run_group_tests_name("ports", tests, NULL, NULL);
}
