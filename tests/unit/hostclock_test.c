/* SPDX-License-Identifier: Apache-2.0 */
/* hostclock_test.c - the host's clocks, read in a row with what the C library reads. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/timex.h>
#include <time.h>
#include <cmocka.h>

#include "host/hostclock.h"
#include "host/vdso.h"
#include "lacks.h"

static int64_t read_ns(clockid_t clock)
{
	struct timespec t;

	assert_int_equal(clock_gettime(clock, &t), 0);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void each_clock_is_the_one_that_it_is_named_for(void **state)
{
	int64_t before, now;

	(void)state;
	before = read_ns(CLOCK_MONOTONIC);
	now = (int64_t)hostclock_monotonic_ns();
	assert_in_range(now, before, read_ns(CLOCK_MONOTONIC));
	before = read_ns(CLOCK_BOOTTIME);
	now = (int64_t)hostclock_boottime_ns();
	assert_in_range(now, before, read_ns(CLOCK_BOOTTIME));
	before = read_ns(CLOCK_REALTIME);
	now = hostclock_realtime_ns();
	assert_in_range(now, before, read_ns(CLOCK_REALTIME));
}

static void a_pair_lies_between_what_is_read_around_it(void **state)
{
	int64_t monotonic = read_ns(CLOCK_MONOTONIC), realtime = read_ns(CLOCK_REALTIME);
	uint64_t tsc = hostclock_tsc();
	struct hostclock_pair p;

	(void)state;
	assert_int_equal(hostclock_pair(20, &p), 0);
	assert_in_range(p.monotonic_ns, monotonic, read_ns(CLOCK_MONOTONIC));
	assert_in_range(p.realtime_ns, realtime, read_ns(CLOCK_REALTIME));
	assert_true(tsc <= p.realtime_tsc_lo && p.realtime_tsc_lo < p.realtime_tsc_hi);
	assert_true(tsc <= p.monotonic_tsc_lo && p.monotonic_tsc_lo < p.monotonic_tsc_hi);
	assert_true(p.realtime_tsc_hi <= hostclock_tsc());
	assert_true(p.monotonic_tsc_hi <= hostclock_tsc());
	assert_int_equal(hostclock_pair(0, &p), -EINVAL);
	assert_int_equal(hostclock_pair(1001, &p), -EINVAL);
}

static void what_is_beside_is_within_its_bound(void **state)
{
	struct hostclock_beside b;
	int64_t realtime, suspended;

	(void)state;
	assert_int_equal(hostclock_beside(50, &b), 0);
	realtime = read_ns(CLOCK_MONOTONIC) + b.realtime_ns;
	assert_in_range(read_ns(CLOCK_REALTIME) - realtime + (int64_t)b.bound_ns, 0, 60000000000);
	realtime = read_ns(CLOCK_REALTIME) - b.realtime_ns;
	assert_in_range(read_ns(CLOCK_MONOTONIC) - realtime + (int64_t)b.bound_ns, 0, 60000000000);
	suspended = read_ns(CLOCK_BOOTTIME) - read_ns(CLOCK_MONOTONIC);
	assert_true(suspended <= b.suspended_ns + (int64_t)b.bound_ns);
	assert_true(hostclock_suspended_at_least_ns() <= b.suspended_ns + (int64_t)b.bound_ns);
	assert_int_equal(hostclock_beside(0, &b), -EINVAL);
	assert_int_equal(hostclock_beside(1001, &b), -EINVAL);
}

static int look_at_pair(void *ret_pair)
{
	return hostclock_pair(20, ret_pair);
}

static int look_at_nothing(void *owner)
{
	(void)owner;
	return -EDOM;
}

/* What adjtimex(2) says, in the units of the rest. */
static void the_kernels_word_on_its_clock_is_handed_on(void **state)
{
	struct hostclock_kernel k, with_pair;
	struct hostclock_pair p;
	struct timex t = {0};
	int clock_state = adjtimex(&t);

	(void)state;
	assert_true(clock_state >= 0);
	assert_int_equal(hostclock_kernel(&k), 0);
	assert_int_equal(k.synchronized, !(t.status & STA_UNSYNC));
	assert_int_equal(k.tai_s, t.tai < 10 ? 0 : t.tai);
	assert_int_equal(k.leap, clock_state == TIME_OOP || clock_state == TIME_WAIT);
	/* it grows by 500 ppm */
	assert_in_range(k.max_error_ns, (uint64_t)t.maxerror * 1000,
			(uint64_t)t.maxerror * 1000 + 1000000000);
	assert_int_equal(hostclock_with_kernel(look_at_pair, &p, &with_pair), 0);
	assert_int_equal(with_pair.tai_s, k.tai_s);
	assert_true(p.realtime_tsc_lo < p.realtime_tsc_hi);
	assert_int_equal(hostclock_with_kernel(look_at_nothing, NULL, &with_pair), -EDOM);
}

/* Two pairs around the measurement say between what it has to lie. */
static void the_frequency_is_that_of_the_pairs_around_it(void **state)
{
	struct hostclock_pair a, b;
	uint64_t hz, most, ns;

	(void)state;
	assert_int_equal(hostclock_pair(50, &a), 0);
	hz = hostclock_measure_tsc_hz(20000000);
	assert_int_equal(hostclock_pair(50, &b), 0);
	ns = b.monotonic_ns - a.monotonic_ns;
	assert_true(ns >= 20000000);
	most = b.monotonic_tsc_hi - a.monotonic_tsc_lo;
	/* Within a fifth, whatever the brackets of a busy machine. */
	assert_in_range(hz, most * 1000 / ns * 800000, most * 1000 / ns * 1200000);
	assert_int_equal(hostclock_measure_tsc_hz(0), 0);
	assert_int_equal(hostclock_measure_tsc_hz(UINT64_MAX), 0);
}

static void the_source_is_a_word_and_decides_what_is_stable(void **state)
{
	char source[32], none[1];

	(void)state;
	assert_int_equal(hostclock_source(none, sizeof(none)), -EINVAL);
	assert_int_equal(hostclock_source(source, sizeof(source)), 0);
	assert_true(strlen(source) > 0 && !strpbrk(source, " \n"));
	assert_int_equal(hostclock_tsc_is_stable(), strcmp(source, "tsc") == 0);
}

static void the_kernels_own_function_reads_the_same_clock(void **state)
{
	vdso_clock_gettime *get = vdso_find_clock_gettime();
	int64_t before, now;
	struct timespec t;

	(void)state;
	before = read_ns(CLOCK_MONOTONIC);
	assert_int_equal(get(CLOCK_MONOTONIC, &t), 0);
	now = (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
	assert_in_range(now, before, read_ns(CLOCK_MONOTONIC));
}

int main(void)
{
	char source[32];
	const char *no_source = hostclock_source(source, sizeof(source)) ? "no sysfs here" : NULL;
	const char *no_vdso = vdso_find_clock_gettime() ? NULL : "a kernel without";
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_clock_is_the_one_that_it_is_named_for),
		cmocka_unit_test(a_pair_lies_between_what_is_read_around_it),
		cmocka_unit_test(what_is_beside_is_within_its_bound),
		cmocka_unit_test(the_kernels_word_on_its_clock_is_handed_on),
		cmocka_unit_test(the_frequency_is_that_of_the_pairs_around_it),
		unless(no_source, (struct CMUnitTest)cmocka_unit_test(
					  the_source_is_a_word_and_decides_what_is_stable)),
		unless(no_vdso, (struct CMUnitTest)cmocka_unit_test(
					the_kernels_own_function_reads_the_same_clock)),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
