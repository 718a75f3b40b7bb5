/* SPDX-License-Identifier: Apache-2.0 */
/* reading_test.c - one reading of this machine's clocks, and what stepped back before it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>
#include <cmocka.h>

#include "guest/reading.h"

static const clockid_t clocks[SAMPLE_CLOCKS] = {CLOCK_REALTIME, CLOCK_MONOTONIC, CLOCK_BOOTTIME};

static int64_t read_ns(clockid_t clock)
{
	struct timespec t;

	assert_int_equal(clock_gettime(clock, &t), 0);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static uint64_t read_tsc(void)
{
	__builtin_ia32_lfence();
	return __builtin_ia32_rdtsc();
}

static void each_clock_was_so_at_a_count_in_its_bracket(void **state)
{
	struct reading_seen seen = {0};
	struct sample s = {.seq = 7, .cpu = 3, .current = "tsc", .dropped = 2};
	int64_t before_ns[SAMPLE_CLOCKS];
	uint64_t before, after;

	(void)state;
	for (int i = 0; i < SAMPLE_CLOCKS; i++)
		before_ns[i] = read_ns(clocks[i]);
	before = read_tsc();
	reading_take(&seen, &s);
	after = read_tsc();
	for (int i = 0; i < SAMPLE_CLOCKS; i++) {
		assert_in_range(s.clock[i].ns, before_ns[i], read_ns(clocks[i]));
		assert_true(s.clock[i].width > 0);
		assert_true(before <= s.clock[i].tsc);
		assert_true(s.clock[i].tsc + s.clock[i].width <= after);
	}
	for (int i = 0; i < SAMPLE_BACKWARD; i++)
		assert_int_equal(s.backward[i], 0);
	assert_int_equal(s.seq, 7);
	assert_int_equal(s.cpu, 3);
	assert_string_equal(s.current, "tsc");
	assert_int_equal(s.dropped, 2);
}

static void a_clock_that_stepped_back_is_counted_once(void **state)
{
	struct reading_seen seen = {0};
	struct sample s = {0};

	(void)state;
	reading_take(&seen, &s);
	seen.last_ns[SAMPLE_MONOTONIC] += 3600000000000;
	reading_take(&seen, &s);
	assert_int_equal(s.backward[SAMPLE_MONOTONIC], 1);
	reading_take(&seen, &s);
	assert_int_equal(s.backward[SAMPLE_MONOTONIC], 1);
	assert_int_equal(s.backward[SAMPLE_BOOTTIME], 0);
	seen.last_tsc = UINT64_MAX;
	reading_take(&seen, &s);
	assert_int_equal(s.backward[SAMPLE_TSC], 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_clock_was_so_at_a_count_in_its_bracket),
		cmocka_unit_test(a_clock_that_stepped_back_is_counted_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
