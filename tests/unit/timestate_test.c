/* SPDX-License-Identifier: Apache-2.0 */
/* timestate_test.c - a machine's time as it is told: clock, chips, ticks, and what a guest sets. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "host/hostclock.h"
#include "kvm/timestate.h"

#define S 1000000000LL

enum { INDEX = 0x70, DATA = 0x71, SECONDS = 0, HOURS = 4, DAY = 7, MONTH = 8, YEAR = 9, B = 11 };

static struct chipset c;
static struct timestate t;

#define HPET UINT64_C(0xfed00000)

/* A machine that is switched on at that UTC; NOW: the host's, HOUR_AGO: that less an hour. */
#define SOME_DATE (1795654800 * S) /* 2026-11-26 01:00:00 */
enum { NOW = 0, HOUR_AGO = 1 };

static void power_on(uint32_t faces, int64_t date_ns)
{
	const struct vmt_board_config config = {
		.faces = faces,
		.ticks = VMT_TICKS_MERGE,
		.pm1a_port = 0x600,
		.pmtmr_port = 0x608,
		.pmtmr_bits = 24,
		.hpet_routes = 1 << 20,
		.hpet_address = HPET,
	};
	struct vmt_reading at;
	struct vmt_clock clock;

	assert_int_equal(timestate_host(false, S, &at), 0);
	if (date_ns == HOUR_AGO)
		at.utc_ns -= 3600 * S;
	else if (date_ns != NOW)
		at.utc_ns = date_ns;
	assert_int_equal(vmt_clock_start(S, &at, &clock, NULL), 0);
	assert_int_equal(chipset_init(&c, &config, &clock, false, NULL), 0);
}

static int tear_down(void **state)
{
	(void)state;
	chipset_destroy(&c);
	return 0;
}

static void put(uint8_t index, uint8_t value)
{
	assert_true(chipset_write(&c, VMT_PIO, INDEX, 1, index));
	assert_true(chipset_write(&c, VMT_PIO, DATA, 1, value));
}

static bool was_told(void)
{
	struct pollfd p = {.fd = c.set_fd, .events = POLLIN};
	uint64_t count;

	return poll(&p, 1, 0) == 1 && read(c.set_fd, &count, sizeof(count)) == sizeof(count);
}

static void at_power_on_the_start_is_the_last_change(void **state)
{
	(void)state;
	power_on(VMT_HAS_PIT | VMT_HAS_RTC | VMT_HAS_PMTMR, SOME_DATE);
	timestate_read(&c, false, &t);
	assert_in_range(t.now_ns, 1, 60 * S);
	assert_int_equal(t.utc_offset_ns, SOME_DATE);
	assert_int_equal(t.utc_ns, t.utc_offset_ns + (int64_t)t.now_ns);
	assert_false(t.has_bound);
	assert_int_equal(t.rate_ppb, 0);
	assert_int_equal(t.clock_state, VMT_CLOCK_RUNNING);
	assert_int_equal(t.change.kind, VMT_CHANGE_START);
	assert_int_equal(t.change.after_ns, t.utc_offset_ns);
	assert_true(t.has_rtc && t.rtc_offset_ns == 0);
	assert_int_equal(t.policy, VMT_TICKS_MERGE);
	assert_int_equal(t.n_faces, 3);
	assert_string_equal(t.faces[2].name, "acpi_pm");
	assert_int_equal(t.faces[0].deadline_ns, VMT_NEVER);
	assert_int_equal(t.n_ticks, 2);
	assert_string_equal(t.ticks[0].source, "pit");
	assert_string_equal(t.ticks[1].source, "rtc");
	assert_int_equal(t.ticks[0].rate_hz, 0);
}

static void what_the_machine_lacks_is_not_told(void **state)
{
	(void)state;
	power_on(VMT_HAS_RTC, SOME_DATE);
	timestate_read(&c, false, &t);
	assert_int_equal(t.n_faces, 1);
	assert_string_equal(t.faces[0].name, "rtc");
	assert_int_equal(t.n_ticks, 1);
	assert_string_equal(t.ticks[0].source, "rtc");
	tear_down(NULL);
	power_on(VMT_HAS_PMTMR, SOME_DATE);
	timestate_read(&c, false, &t);
	assert_false(t.has_rtc);
	assert_int_equal(t.n_ticks, 0);
}

static void each_timer_of_an_hpet_is_a_source(void **state)
{
	(void)state;
	power_on(VMT_HAS_RTC | VMT_HAS_HPET, SOME_DATE);
	/* Timer 1: edges each millisecond to input 20. */
	assert_true(chipset_write(&c, VMT_MMIO, HPET + 0x120, 4, 0x284c));
	assert_true(chipset_write(&c, VMT_MMIO, HPET + 0x128, 8, 100000));
	assert_true(chipset_write(&c, VMT_MMIO, HPET + 0x10, 4, 1));
	timestate_read(&c, false, &t);
	assert_int_equal(t.n_faces, 2);
	assert_string_equal(t.faces[1].name, "hpet");
	assert_true(t.faces[1].deadline_ns != VMT_NEVER);
	assert_int_equal(t.n_ticks, 4);
	assert_string_equal(t.ticks[1].source, "hpet0");
	assert_int_equal(t.ticks[1].rate_hz, 0);
	assert_string_equal(t.ticks[2].source, "hpet1");
	assert_int_equal(t.ticks[2].rate_hz, 1000);
	assert_string_equal(t.ticks[3].source, "hpet2");
}

static void a_timer_slower_than_a_second_is_periodic_too(void **state)
{
	(void)state;
	power_on(VMT_HAS_HPET, SOME_DATE);
	/* Edges each hour to input 20. */
	assert_true(chipset_write(&c, VMT_MMIO, HPET + 0x100, 4, 0x284c));
	assert_true(chipset_write(&c, VMT_MMIO, HPET + 0x108, 8, 3600 * UINT64_C(100000000)));
	assert_true(chipset_write(&c, VMT_MMIO, HPET + 0x10, 4, 1));
	timestate_read(&c, false, &t);
	assert_int_equal(t.ticks[0].rate_hz, 1);
	assert_int_equal(t.ticks[1].rate_hz, 0);
}

static void a_tick_has_its_rate_deadline_and_ledger(void **state)
{
	const struct vmt_ledger *l = &t.ticks[0].ledger;

	(void)state;
	power_on(VMT_HAS_PIT, SOME_DATE);
	/* Channel 0, mode 2, 1193 counts: 1000.15 Hz. */
	assert_true(chipset_write(&c, VMT_PIO, 0x43, 1, 0x34));
	assert_true(chipset_write(&c, VMT_PIO, 0x40, 1, 1193 & 0xff));
	assert_true(chipset_write(&c, VMT_PIO, 0x40, 1, 1193 >> 8));
	usleep(5000);
	timestate_read(&c, false, &t);
	assert_int_equal(t.ticks[0].rate_hz, 1000);
	assert_true(t.faces[0].deadline_ns != VMT_NEVER);
	assert_true(l->due >= 4);
	assert_int_equal(l->due, l->delivered + l->merged + l->discarded + l->owed);
}

static void what_the_guest_sets_is_one_change(void **state)
{
	struct chipset_change change;

	(void)state;
	power_on(VMT_HAS_RTC, SOME_DATE);
	assert_false(was_told());
	put(SECONDS + 1, 0x10); /* an alarm's: no matter */
	assert_false(was_told());
	/* From 2026-11-26 01:00 to 2027-12-27 02:00, byte by byte. */
	put(YEAR, 0x27);
	put(MONTH, 0x12);
	assert_true(was_told());
	put(DAY, 0x27);
	put(HOURS, 0x02);
	assert_false(was_told()); /* once is enough */
	assert_true(chipset_settle_rtc(&c, &change));
	assert_int_equal(change.kind, CHIPSET_CHANGE_RTC);
	assert_int_equal(change.before_ns, 0);
	assert_int_equal(change.after_ns, ((365 + 30 + 1) * 24 + 1) * 3600 * S);
	timestate_read(&c, false, &t);
	assert_memory_equal(&t.change, &change, sizeof(change));
	assert_in_range(change.at_ns, 1, t.now_ns);
	assert_int_equal(t.rtc_offset_ns, change.after_ns);
	assert_false(chipset_settle_rtc(&c, &change));
	/* Reading, and setting what is there, changes nothing. */
	put(HOURS, 0x02);
	assert_false(was_told());
	put(YEAR, 0x26);
	put(YEAR, 0x27);
	assert_true(was_told());
	assert_false(chipset_settle_rtc(&c, &change));
}

static void a_guest_sets_nothing_while_time_stands(void **state)
{
	struct chipset_change change;

	(void)state;
	power_on(VMT_HAS_RTC, SOME_DATE);
	put(B, 0x82);
	put(HOURS, 0x05);
	assert_false(was_told());
	put(B, 0x02);
	assert_true(was_told());
	assert_true(chipset_settle_rtc(&c, &change));
	assert_int_equal(change.after_ns / S, 4 * 3600);
}

static void the_bound_is_the_distance_to_the_hosts_clock(void **state)
{
	(void)state;
	power_on(VMT_HAS_RTC, NOW);
	timestate_read(&c, true, &t);
	assert_true(t.has_bound);
	assert_in_range(t.utc_bound_ns, 1, S);
	tear_down(NULL);
	power_on(VMT_HAS_RTC, HOUR_AGO);
	timestate_read(&c, true, &t);
	assert_in_range(t.utc_bound_ns, 3599 * S, 3601 * S);
}

static void the_two_counters_agree(void **state)
{
	struct vmt_reading a, b;

	(void)state;
	assert_int_equal(timestate_host(true, S, &a), 0);
	assert_int_equal(timestate_host(false, S, &b), 0);
	assert_in_range(b.utc_ns - a.utc_ns, 0, 60 * S);
	assert_true(a.counter <= hostclock_tsc());
	assert_true(b.counter <= hostclock_monotonic_ns());
	assert_true(a.utc_bound_ns > 0 && b.utc_bound_ns > 0);
}

#define TEST(name) cmocka_unit_test_teardown(name, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(at_power_on_the_start_is_the_last_change),
		TEST(what_the_machine_lacks_is_not_told),
		TEST(each_timer_of_an_hpet_is_a_source),
		TEST(a_timer_slower_than_a_second_is_periodic_too),
		TEST(a_tick_has_its_rate_deadline_and_ledger),
		TEST(what_the_guest_sets_is_one_change),
		TEST(a_guest_sets_nothing_while_time_stands),
		TEST(the_bound_is_the_distance_to_the_hosts_clock),
		cmocka_unit_test(the_two_counters_agree),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
