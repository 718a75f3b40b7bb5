/* SPDX-License-Identifier: Apache-2.0 */
/* warp_test.c - CPUs whose counts disagree are found, and no others. */
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>
#include <cmocka.h>

#include "host/hostclock.h"
#include "host/warp.h"

enum { MS = 1000000, AHEAD = 100000 };

static int usable_cpus(void)
{
	cpu_set_t set;

	return sched_getaffinity(0, sizeof(set), &set) < 0 ? 0 : CPU_COUNT(&set);
}

/* One counter for all, whatever this machine's TSC does. */
static uint64_t one_counter(void *arg, uint32_t n)
{
	(void)arg;
	(void)n;
	return hostclock_monotonic_ns();
}

static uint64_t first_is_ahead(void *arg, uint32_t n)
{
	return one_counter(arg, n) + (n == 0 ? AHEAD : 0);
}

/* Moved back once, in the midst: by an SMI handler, or by one CPU that came out of deep sleep. */
static uint64_t steps_back_once(void *arg, uint32_t n)
{
	uint64_t *until = arg, now = one_counter(NULL, n);

	return n == 1 && now > __atomic_load_n(until, __ATOMIC_RELAXED) ? now - AHEAD : now;
}

static void cpus_with_one_counter_agree(void **state)
{
	struct warp warp;

	(void)state;
	assert_int_equal(warp_check(one_counter, NULL, &warp), 0);
	assert_true(warp.back == 0);
	assert_true(usable_cpus() < 2 || warp.cpus == (uint32_t)usable_cpus());
}

static void a_cpu_that_is_ahead_is_found(void **state)
{
	struct warp warp;

	(void)state;
	if (usable_cpus() < 2)
		return; /* nothing to compare */
	/* A CPU that something else keeps busy may not have its turn at once. */
	for (int i = 0; i < 100; i++) {
		assert_int_equal(warp_check(first_is_ahead, NULL, &warp), 0);
		if (warp.back)
			break;
	}
	assert_in_range(warp.back, 1, AHEAD);
}

static void a_step_back_is_found(void **state)
{
	static uint64_t until;
	struct warp warp = {0};

	(void)state;
	if (usable_cpus() < 2)
		return; /* nothing to compare */
	for (int i = 0; i < 100 && !warp.back; i++) {
		__atomic_store_n(&until, hostclock_monotonic_ns() + MS / 2, __ATOMIC_RELAXED);
		assert_int_equal(warp_check(steps_back_once, &until, &warp), 0);
	}
	assert_in_range(warp.back, 1, AHEAD);
}

/* The second CPU is busy: its thread has no turn for 10 ms; or for as long as it is held. */
static uint64_t begins_late(void *arg, uint32_t n)
{
	const struct timespec turn = {.tv_nsec = 10 * MS};
	bool *begun = arg;

	if (n != 1)
		return one_counter(NULL, n);
	if (!__atomic_exchange_n(begun, true, __ATOMIC_RELAXED))
		nanosleep(&turn, NULL);
	return one_counter(NULL, n) - AHEAD;
}

static uint64_t is_held(void *arg, uint32_t n)
{
	const struct timespec turn = {.tv_nsec = MS};
	const bool *held = arg;

	while (n == 1 && __atomic_load_n(held, __ATOMIC_RELAXED))
		nanosleep(&turn, NULL);
	return one_counter(NULL, n) - (n == 1 ? AHEAD : 0);
}

static void who_has_its_turn_late_is_heard(void **state)
{
	static bool begun;
	struct warp warp = {0};

	(void)state;
	if (usable_cpus() < 2)
		return; /* nothing to compare */
	for (int i = 0; i < 100 && !warp.back; i++) {
		__atomic_store_n(&begun, false, __ATOMIC_RELAXED);
		assert_int_equal(warp_check(begins_late, &begun, &warp), 0);
	}
	assert_in_range(warp.looks, 1, UINT32_MAX);
	assert_in_range(warp.back, 1, AHEAD);
}

static void who_has_no_turn_is_not_waited_for(void **state)
{
	static bool held = true;
	struct warp warp = {.looks = 7};

	(void)state;
	if (usable_cpus() < 2)
		return; /* nothing to compare */
	assert_int_equal(warp_check(is_held, &held, &warp), 0);
	assert_int_equal(warp.looks, 0);
	assert_true(warp.back == 0);
	assert_int_equal(warp.cpus, usable_cpus());
	__atomic_store_n(&held, false, __ATOMIC_RELAXED); /* it comes to nobody any more */
}

static void where_the_kernel_trusts_its_tsc_so_does_the_check(void **state)
{
	struct warp warp;

	(void)state;
	if (!hostclock_tsc_is_stable())
		return;
	assert_int_equal(warp_check(NULL, NULL, &warp), 0);
	assert_true(warp.back == 0);
}

static void one_cpu_has_nobody_to_disagree_with(void **state)
{
	cpu_set_t all, one, after;
	struct warp warp = {.back = 7};

	(void)state;
	assert_int_equal(sched_getaffinity(0, sizeof(all), &all), 0);
	CPU_ZERO(&one);
	for (size_t cpu = CPU_SETSIZE; cpu-- > 0;)
		if (CPU_ISSET(cpu, &all)) {
			CPU_SET(cpu, &one);
			break;
		}
	assert_int_equal(sched_setaffinity(0, sizeof(one), &one), 0);
	assert_int_equal(warp_check(first_is_ahead, NULL, &warp), 0);
	assert_true(warp.back == 0 && warp.cpus == 0);
	assert_int_equal(sched_setaffinity(0, sizeof(all), &all), 0);
	/* Nor has it moved who asked. */
	assert_int_equal(warp_check(one_counter, NULL, &warp), 0);
	assert_int_equal(sched_getaffinity(0, sizeof(after), &after), 0);
	assert_true(CPU_EQUAL(&all, &after));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(cpus_with_one_counter_agree),
		cmocka_unit_test(a_cpu_that_is_ahead_is_found),
		cmocka_unit_test(a_step_back_is_found),
		cmocka_unit_test(who_has_its_turn_late_is_heard),
		cmocka_unit_test(who_has_no_turn_is_not_waited_for),
		cmocka_unit_test(where_the_kernel_trusts_its_tsc_so_does_the_check),
		cmocka_unit_test(one_cpu_has_nobody_to_disagree_with),
	};

	return cmocka_run_group_tests_name("warp", tests, NULL, NULL);
}
