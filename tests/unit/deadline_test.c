/* SPDX-License-Identifier: Apache-2.0 */
/* deadline_test.c - a board's deadlines are met by the thread alone, on either counter. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "host/hostclock.h"
#include "kvm/acpi.h"
#include "kvm/deadline.h"

enum { SOME = 20, PATIENCE_MS = 20000 };

static unsigned sleeps; /* of the thread, atomic */

/* In place of the C library's. */
int poll(struct pollfd *fds, nfds_t n, int timeout)
{
	__atomic_fetch_add(&sleeps, 1, __ATOMIC_RELAXED);
	return (int)syscall(SYS_poll, fds, n, timeout);
}

static struct chipset *create_at(bool tsc, uint64_t hz)
{
	const struct vmt_board_config config = {
		.faces = VMT_HAS_PIT,
		.pm1a_port = ACPI_PM1A_EVT_PORT,
		.pmtmr_port = ACPI_PM_TIMER_PORT,
		.pmtmr_bits = 24,
	};
	struct chipset *c = calloc(1, sizeof(*c));
	struct vmt_reading at = {.counter = tsc ? hostclock_tsc() : hostclock_monotonic_ns()};
	struct vmt_clock clock;

	assert_int_equal(vmt_clock_start(hz, &at, &clock, NULL), 0);
	assert_int_equal(chipset_init(c, &config, &clock, tsc, NULL), 0);
	return c;
}

static struct chipset *create(bool tsc)
{
	return create_at(tsc, tsc ? hostclock_measure_tsc_hz(10000000) : 1000000000);
}

/* Counter 0 in mode 2: `count` PIT clocks a tick. */
static void program(struct chipset *c, unsigned count)
{
	assert_true(chipset_write(c, VMT_PIO, 0x43, 1, 0x34));
	assert_true(chipset_write(c, VMT_PIO, 0x40, 1, count & 0xff));
	assert_true(chipset_write(c, VMT_PIO, 0x40, 1, count >> 8));
}

static struct vmt_ledger ledger(struct chipset *c)
{
	struct vmt_ledger l;

	pthread_mutex_lock(&c->lock);
	vmt_board_ledger(&c->board, VMT_SOURCE_PIT, &l);
	pthread_mutex_unlock(&c->lock);
	return l;
}

static void wait_for_ticks(struct chipset *c, uint64_t due)
{
	for (unsigned i = 0; ledger(c).due < due; i++) {
		assert_true(i < PATIENCE_MS);
		usleep(1000);
	}
}

static void ticks_come_by_themselves(bool tsc)
{
	struct chipset *c = create(tsc);
	struct deadline d;

	/* It sleeps without a deadline; programming the PIT wakes it. */
	assert_int_equal(deadline_start(&d, c, NULL, 0, NULL), 0);
	usleep(20000);
	assert_int_equal(ledger(c).due, 0);
	program(c, 1193);
	wait_for_ticks(c, SOME);
	deadline_stop(&d);
	/* None before its time: the board has not been told of a later `now` than the counter's. */
	assert_true(c->board.now <= chipset_now(c));
	assert_int_equal(c->board.late_now, 0);
	chipset_destroy(c);
	free(c);
}

static void on_the_tsc(void **state)
{
	(void)state;
	ticks_come_by_themselves(true);
}

static void on_the_monotonic_clock(void **state)
{
	(void)state;
	ticks_come_by_themselves(false);
}

static void an_earlier_deadline_wakes_it(void **state)
{
	struct chipset *c = create(true);
	struct deadline d;

	(void)state;
	program(c, 0); /* 65536 clocks, 55 ms */
	assert_int_equal(deadline_start(&d, c, NULL, 0, NULL), 0);
	wait_for_ticks(c, 1);
	program(c, 1193);
	/* The thread's sleep is now no longer than the new period. */
	pthread_mutex_lock(&c->lock);
	assert_true(c->armed <= c->deadline);
	pthread_mutex_unlock(&c->lock);
	wait_for_ticks(c, SOME);
	deadline_stop(&d);
	chipset_destroy(c);
	free(c);
}

/* A counter that is a quarter as fast as is believed, so each sleep ends at a quarter of the way:
 * of 220 ms the 60th begins within 10 ns of the end.  A timer that has ended and is not set again
 * would keep the thread awake for the rest, thousands of times. */
static void a_timer_that_ends_early_is_set_again(void **state)
{
	struct chipset *c = create_at(true, 4 * hostclock_measure_tsc_hz(10000000));
	struct deadline d;

	(void)state;
	program(c, 0);
	__atomic_store_n(&sleeps, 0, __ATOMIC_RELAXED);
	assert_int_equal(deadline_start(&d, c, NULL, 0, NULL), 0);
	wait_for_ticks(c, 1);
	deadline_stop(&d);
	assert_in_range(__atomic_load_n(&sleeps, __ATOMIC_RELAXED), 1, 100);
	chipset_destroy(c);
	free(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(on_the_tsc),
		cmocka_unit_test(on_the_monotonic_clock),
		cmocka_unit_test(an_earlier_deadline_wakes_it),
		cmocka_unit_test(a_timer_that_ends_early_is_set_again),
	};

	return cmocka_run_group_tests_name("deadline", tests, NULL, NULL);
}
