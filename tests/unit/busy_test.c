/* SPDX-License-Identifier: Apache-2.0 */
/* busy_test.c - CPUs that are kept busy and look at the clocks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>
#include <cmocka.h>

#include "guest/busy.h"

enum { CLOCK = SAMPLE_MONOTONIC };

/* A reading that began now. */
static void read_now(struct busy_seen *seen, int64_t now)
{
	busy_compare(seen, CLOCK, seen->last[CLOCK], now);
}

static void a_clock_that_goes_on_is_no_step(void **state)
{
	struct busy_seen seen = {0};

	(void)state;
	read_now(&seen, 1000);
	read_now(&seen, 1000);
	read_now(&seen, 1001);
	assert_int_equal(seen.last[CLOCK], 1001);
	assert_int_equal(seen.backward[CLOCK], 0);
}

static void a_step_back_counts_once_and_time_goes_on_from_there(void **state)
{
	struct busy_seen seen = {0};

	(void)state;
	read_now(&seen, 1000);
	read_now(&seen, 999);
	read_now(&seen, 999);
	read_now(&seen, 1000);
	assert_int_equal(seen.backward[CLOCK], 1);
	read_now(&seen, 500);
	assert_int_equal(seen.backward[CLOCK], 2);
	assert_int_equal(seen.backward[SAMPLE_REALTIME], 0);
}

static void two_cpus_that_see_the_same_step_count_it_once(void **state)
{
	struct busy_seen seen = {0};

	(void)state;
	read_now(&seen, 1000);
	busy_compare(&seen, CLOCK, 1000, 900);
	busy_compare(&seen, CLOCK, 1000, 901);
	assert_int_equal(seen.backward[CLOCK], 1);
}

static void what_another_cpu_saw_while_this_one_read_is_no_step(void **state)
{
	struct busy_seen seen = {0};
	const int64_t last = 1000;

	(void)state;
	read_now(&seen, last);
	read_now(&seen, 1200); /* the other CPU */
	busy_compare(&seen, CLOCK, last, 1100);
	assert_int_equal(seen.last[CLOCK], 1200);
	assert_int_equal(seen.backward[CLOCK], 0);
}

static void a_reading_has_what_all_cpus_saw_and_its_own_looks(void **state)
{
	struct busy_seen seen = {0};
	struct sample s = {.cpu = 2, .checks = 5};

	(void)state;
	for (int i = 0; i < SAMPLE_BACKWARD; i++) {
		s.backward[i] = 1;
		seen.backward[i] = 10 + (uint64_t)i;
	}
	seen.rounds[1] = 100;
	seen.rounds[2] = 200;
	busy_add(NULL, &s);
	assert_int_equal(s.backward[CLOCK], 1);
	assert_int_equal(s.checks, 5);
	busy_add(&seen, &s);
	for (int i = 0; i < SAMPLE_BACKWARD; i++)
		assert_int_equal(s.backward[i], 11 + i);
	assert_int_equal(s.checks, 200);
}

static void a_cpu_looks_at_its_clocks_and_rests(void **state)
{
	const struct timespec moment = {.tv_nsec = 1000000};
	const struct busy_seen *seen;
	cpu_set_t one;
	size_t cpu = 0;
	uint64_t rounds;

	(void)state;
	assert_int_equal(sched_getaffinity(0, sizeof(one), &one), 0);
	while (!CPU_ISSET(cpu, &one))
		cpu++;
	CPU_ZERO(&one);
	CPU_SET(cpu, &one);
	assert_null(busy_look());
	assert_int_equal(busy_begin(&one, true), 0);
	seen = busy_look();
	assert_non_null(seen);
	while (__atomic_load_n(&seen->rounds[cpu], __ATOMIC_SEQ_CST) < 100)
		nanosleep(&moment, NULL);
	busy_end();
	rounds = seen->rounds[cpu];
	for (int i = 0; i < SAMPLE_BACKWARD; i++) {
		assert_true(seen->last[i] > 0);
		assert_int_equal(seen->backward[i], 0);
	}
	nanosleep(&moment, NULL);
	assert_int_equal(seen->rounds[cpu], rounds);
	assert_int_equal(seen->rounds[cpu + 1], 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_clock_that_goes_on_is_no_step),
		cmocka_unit_test(a_step_back_counts_once_and_time_goes_on_from_there),
		cmocka_unit_test(two_cpus_that_see_the_same_step_count_it_once),
		cmocka_unit_test(what_another_cpu_saw_while_this_one_read_is_no_step),
		cmocka_unit_test(a_reading_has_what_all_cpus_saw_and_its_own_looks),
		cmocka_unit_test(a_cpu_looks_at_its_clocks_and_rests),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
