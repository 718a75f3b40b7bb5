/* SPDX-License-Identifier: Apache-2.0 */
/* reader_test.c - this machine's clocks as a program without privileges reads them, and as the host
 * then understands it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>
#include <cmocka.h>

#include <string.h>

#include "cmd/test_faces_read.h"
#include "guest/reader.h"

static cpu_set_t all;

static int remember_cpus(void **state)
{
	(void)state;
	return sched_getaffinity(0, sizeof(all), &all);
}

static int back_to_all_cpus(void **state)
{
	(void)state;
	return sched_setaffinity(0, sizeof(all), &all);
}

static uint64_t now_ns(clockid_t clock)
{
	struct timespec t;

	assert_int_equal(clock_gettime(clock, &t), 0);
	return ((uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec) & (FACES_MOST - 1);
}

static uint64_t read_tsc(void)
{
	__builtin_ia32_lfence();
	return __builtin_ia32_rdtsc();
}

static void open_and_say_hello(struct reader *r, struct faces_stream *s, char text[READER_TEXT_MAX])
{
	assert_int_equal(reader_open(r), 0);
	faces_stream_take(s, text, reader_say_hello(r, text, READER_TEXT_MAX));
}

static void what_is_read_is_understood(void **state)
{
	static const struct {
		char letter;
		enum faces_face face;
		clockid_t clock;
	} cases[] = {{'w', FACES_REALTIME, CLOCK_REALTIME},
		     {'o', FACES_MONOTONIC, CLOCK_MONOTONIC},
		     {'a', FACES_MONOTONIC_RAW, CLOCK_MONOTONIC_RAW},
		     {'b', FACES_BOOTTIME, CLOCK_BOOTTIME}};
	struct faces_stream s = {.count = 0};
	char text[READER_TEXT_MAX];
	struct reader r;

	(void)state;
	open_and_say_hello(&r, &s, text);
	assert_true(s.has_hello);
	assert_int_equal(s.hello.cpus, r.cpus);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const uint64_t before = read_tsc(), before_ns = now_ns(cases[i].clock);
		const size_t first = s.count;

		faces_stream_take(&s, text, reader_read(&r, cases[i].letter, text, sizeof(text)));
		assert_int_equal(s.count, first + PROBE_BURST);
		for (size_t n = first; n < s.count; n++) {
			assert_int_equal(s.readings[n].face, cases[i].face);
			assert_in_range(s.readings[n].value, before_ns, now_ns(cases[i].clock));
			assert_in_range(s.readings[n].before, before, read_tsc());
			assert_in_range(s.readings[n].before + s.readings[n].width, before,
					read_tsc());
		}
	}
	assert_int_equal(s.damaged, 0);
	faces_stream_free(&s);
}

/* From every CPU that it may use, as the first one's clock. */
static void the_count_of_each_cpu_lies_between_two_of_the_first(void **state)
{
	struct faces_stream s = {.count = 0};
	char text[READER_TEXT_MAX];
	struct reader r;

	(void)state;
	open_and_say_hello(&r, &s, text);
	for (uint32_t cpu = 0; cpu < CPU_SETSIZE; cpu++) {
		if (!CPU_ISSET(cpu, &all))
			continue;
		assert_int_equal(reader_go_to(&r, cpu), 0);
		faces_stream_take(&s, text, reader_read(&r, 't', text, sizeof(text)));
	}
	assert_int_equal(s.count, r.cpus * PROBE_BURST);
	for (size_t i = 0; i < s.count; i++) {
		assert_int_equal(s.readings[i].face, FACES_TSC);
		assert_in_range(s.readings[i].value, s.readings[i].before,
				s.readings[i].before + s.readings[i].width);
	}
	faces_stream_free(&s);
}

static void without_privileges_there_are_no_chips(void **state)
{
	char text[READER_TEXT_MAX];
	struct reader r;

	(void)state;
	assert_int_equal(reader_open(&r), 0);
	for (const char *face = "pmh"; *face; face++)
		assert_int_equal(reader_read(&r, *face, text, sizeof(text)), 0);
	assert_false(reader_rtc_is_near(&r));
	assert_int_equal(reader_wait_for_rtc(&r, text, sizeof(text)), 0);
}

static void the_log_tells_the_frequency_of_the_tsc(void **state)
{
	(void)state;
	assert_int_equal(reader_khz_in_log(""), 0);
	assert_int_equal(reader_khz_in_log("<6>[    0.0] tsc: Fast TSC calibration failed\n"), 0);
	assert_int_equal(reader_khz_in_log("[    0.0] tsc: Detected 2445.424 MHz processor\n"),
			 2445424);
	assert_int_equal(reader_khz_in_log("tsc: Detected 3000.000 MHz processor\n"
					   "tsc: Detected 2999.007 MHz TSC\n"),
			 2999007);
	assert_int_equal(reader_khz_in_log("tsc: Detected nothing"), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(what_is_read_is_understood, back_to_all_cpus),
		cmocka_unit_test_teardown(the_count_of_each_cpu_lies_between_two_of_the_first,
					  back_to_all_cpus),
		cmocka_unit_test(without_privileges_there_are_no_chips),
		cmocka_unit_test(the_log_tells_the_frequency_of_the_tsc),
	};

	return cmocka_run_group_tests(tests, remember_cpus, NULL);
}
