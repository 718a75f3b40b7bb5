/* SPDX-License-Identifier: Apache-2.0 */
/* chipset_bench.h - a chipset with PIT, RTC, PM timer and HPET, on a bench without KVM. */
#ifndef TESTS_CHIPSET_BENCH_H
#define TESTS_CHIPSET_BENCH_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "host/hostclock.h"
#include "kvm/acpi.h"
#include "kvm/chipset.h"

enum { REG_A = 10, REG_B = 11, INDEX = 0x70, DATA = 0x71 };
enum { CONFIG = 0x10, STATUS = 0x20, COUNTER = 0xf0, TIMER0 = 0x100 };

/* At the edge of a second, or a little later. */
static inline struct chipset *create(bool tsc)
{
	const struct vmt_board_config config = {
		.faces = VMT_HAS_PIT | VMT_HAS_RTC | VMT_HAS_PMTMR | VMT_HAS_HPET,
		.pm1a_port = ACPI_PM1A_EVT_PORT,
		.pmtmr_port = ACPI_PM_TIMER_PORT,
		.pmtmr_bits = 24,
		.hpet_routes = 0xf << 20,
		.hpet_address = ACPI_HPET_ADDRESS,
	};
	struct chipset *c = calloc(1, sizeof(*c));
	uint64_t hz = tsc ? hostclock_measure_tsc_hz(10000000) : 1000000000;
	struct vmt_reading at = {.counter = tsc ? hostclock_tsc() : hostclock_monotonic_ns()};
	struct vmt_clock clock;

	assert_int_equal(vmt_clock_start(hz, &at, &clock, NULL), 0);
	assert_int_equal(chipset_init(c, &config, &clock, tsc, NULL), 0);
	assert_int_equal(vmt_rtc_exact(&c->board.rtc, 0, 0), 0);
	return c;
}

static inline void destroy(struct chipset *c)
{
	chipset_destroy(c);
	free(c);
}

static inline void set(struct chipset *c, uint32_t reg, uint64_t value)
{
	assert_true(chipset_write(c, VMT_MMIO, ACPI_HPET_ADDRESS + reg, 8, value));
}

/* As the deadline thread does it; whether it listens for acknowledgements then. */
static inline bool advance(struct chipset *c, uint32_t readable)
{
	bool listen;

	chipset_advance(c, readable, &listen);
	return listen;
}

#endif
