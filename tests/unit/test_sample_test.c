/* SPDX-License-Identifier: Apache-2.0 */
/* test_sample_test.c - a guest's readings, as they come in pieces, against the host's clocks. */
#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "cmd/test_sample.h"

enum { GAP = 200000000 }; /* counts between two pairs of a host that counts 2 per ns */

static const int64_t epoch_ns = 1700000000000000000;
static const int64_t offset = -3000000000; /* of the guest's TSC */

static struct pairs *make_host(unsigned from, unsigned to, struct pairs *p)
{
	if (!p)
		p = pairs_new(64);
	for (unsigned i = from; i <= to; i++) {
		uint64_t tsc = 10000000000 + (uint64_t)i * GAP;
		struct hostclock_pair pair = {.realtime_tsc_lo = tsc - 100,
					      .realtime_tsc_hi = tsc + 100,
					      .realtime_ns = epoch_ns + (int64_t)(tsc / 2),
					      .monotonic_tsc_lo = tsc - 100,
					      .monotonic_tsc_hi = tsc + 100,
					      .monotonic_ns = tsc / 2};

		pairs_add(p, &pair);
	}
	return p;
}

/* A reading of the guest when the host's clocks showed `host_ns` (epoch_ns more in REALTIME),
 * whose own showed that and `late_ns` less. */
static struct sample make_reading(uint64_t seq, int64_t host_ns, int64_t late_ns)
{
	struct sample s = {.seq = seq, .current = "kvm-clock", .backward = {1, 2, 3, 400}};

	for (int i = 0; i < SAMPLE_CLOCKS; i++) {
		s.clock[i].tsc = (uint64_t)(host_ns * 2 + offset - 120);
		s.clock[i].width = 240;
		s.clock[i].ns = host_ns - late_ns;
	}
	s.clock[SAMPLE_REALTIME].ns += epoch_ns;
	return s;
}

static void send(struct test_stream *s, const struct sample *reading)
{
	char line[SAMPLE_LINE_MAX];
	int length = sample_format(line, sizeof(line), reading);

	assert_true(length > 0);
	assert_int_equal(test_stream_take(s, line, (size_t)length), 0);
}

static const struct kvmtsc_map map = {.offset = -3000000000, .ratio = 1, .vcpus = 1};

static void an_error_is_guest_minus_host_at_one_instant(void **state)
{
	struct pairs *host = make_host(0, 10, NULL);
	struct test_stream s = {0};
	struct sample reading = make_reading(0, 5300000000, 482000000);

	(void)state;
	send(&s, &reading);
	assert_int_equal(test_stream_evaluate(&s, &map, host), 0);
	assert_int_equal(s.evaluated, 1);
	assert_int_equal(s.readings[0].point.realtime_error_ns, -482000000);
	assert_int_equal(s.readings[0].point.monotonic_error_ns, -482000000);
	assert_int_equal(s.readings[0].point.host_ns, 5300000000);
	/* 120 counts of the guest's, 100 of the host's, and 1 ns for rounding */
	assert_int_equal(s.readings[0].point.realtime_bound_ns, 111);
	assert_int_equal(s.readings[0].point.backward_steps, 6); /* clocks, not the TSC */
	test_stream_free(&s);
	pairs_free(host);
}

static void a_record_has_the_error_of_each_reading(void **state)
{
	struct pairs *host = make_host(0, 10, NULL);
	char text[2 * SAMPLE_LINE_MAX] = {0};
	struct test_stream s = {.record = fmemopen(text, sizeof(text), "w")};
	struct sample reading = make_reading(7, 5300000000, 482000000);

	(void)state;
	assert_non_null(s.record);
	send(&s, &reading);
	assert_int_equal(test_stream_evaluate(&s, &map, host), 0);
	assert_int_equal(test_stream_evaluate(&s, &map, host), 0); /* once */
	fclose(s.record);
	assert_int_equal(strncmp(text, "S 7 ", 4), 0);
	assert_string_equal(strchr(text, '\n') + 1,
			    "E 7 5300000000 r -482000000 111 m -482000000 111\n");
	test_stream_free(&s);
	pairs_free(host);
}

static void a_reading_waits_for_the_pairs_after_it(void **state)
{
	struct pairs *host = make_host(0, 3, NULL);
	struct test_stream s = {0};
	struct sample reading = make_reading(0, 5350000000, 0);

	(void)state;
	send(&s, &reading);
	assert_int_equal(test_stream_evaluate(&s, &map, host), 0);
	assert_int_equal(s.evaluated, 0);
	make_host(4, 6, host);
	assert_int_equal(test_stream_evaluate(&s, &map, host), 0);
	assert_int_equal(s.evaluated, 1);
	assert_int_equal(s.readings[0].point.realtime_error_ns, 0);
	test_stream_free(&s);
	pairs_free(host);
}

/* A serial port queued them for seconds: they are as good as fresh ones. */
static void readings_that_come_late_and_at_once_are_told_apart(void **state)
{
	struct pairs *host = make_host(0, 60, NULL);
	struct test_stream s = {0};

	(void)state;
	for (unsigned i = 0; i < 30; i++) {
		struct sample reading =
			make_reading(i, 5200000000 + i * 100000000LL, (int64_t)i * 7);

		send(&s, &reading);
	}
	assert_int_equal(test_stream_evaluate(&s, &map, host), 0);
	assert_int_equal(s.evaluated, 30);
	for (int i = 0; i < 30; i++)
		assert_int_equal(s.readings[i].point.realtime_error_ns, -i * 7);
	test_stream_free(&s);
	pairs_free(host);
}

/* The guest stood still for 500 ms, and its TSC with it. */
static void each_reading_is_told_by_the_tsc_of_its_time(void **state)
{
	const uint64_t stop = 5500000000 * 2 - 3000000000, moment = 20000000;
	struct test_span spans[] = {
		{.from = 0, .to = stop - moment, .map = map},
		{.from = stop + moment, .to = UINT64_MAX, .map = map},
	};
	struct sample before = make_reading(0, 5300000000, 7);
	struct sample between = make_reading(1, 5500000000, 0);
	struct sample after = make_reading(2, 5700000000, 0); /* 6.2 s by the host */
	struct pairs *host = make_host(0, 20, NULL);
	struct test_stream s = {0};

	(void)state;
	spans[1].map.offset -= 1000000000;
	after.clock[SAMPLE_MONOTONIC].ns += 3;
	send(&s, &before);
	send(&s, &between);
	send(&s, &after);
	assert_int_equal(test_stream_evaluate_spans(&s, spans, 2, host), 0);
	assert_int_equal(s.count, 2);
	assert_int_equal(s.evaluated, 2);
	assert_int_equal(s.readings[0].point.realtime_error_ns, -7);
	assert_int_equal(s.readings[1].sample.seq, 2);
	assert_int_equal(s.readings[1].point.host_ns, 6200000000);
	assert_int_equal(s.readings[1].point.realtime_error_ns, -500000000);
	assert_int_equal(s.readings[1].point.monotonic_error_ns, -499999997);
	assert_ptr_equal(test_span_of(spans, 2, &before), &spans[0]);
	assert_null(test_span_of(spans, 2, &between));
	test_stream_free(&s);
	pairs_free(host);
}

static void a_count_before_the_host_began_is_not_of_this_host(void **state)
{
	struct pairs *host = make_host(0, 10, NULL);
	struct test_stream s = {0};
	struct sample reading = make_reading(0, 4000000000, 0);

	(void)state;
	send(&s, &reading);
	assert_int_equal(test_stream_evaluate(&s, &map, host), -ERANGE);
	test_stream_free(&s);
	pairs_free(host);
}

static void pieces_make_lines_and_noise_makes_none(void **state)
{
	struct test_stream s = {0};
	struct sample reading = make_reading(5, 5300000000, 0);
	char line[SAMPLE_LINE_MAX], noise[3 * SAMPLE_LINE_MAX];
	size_t length = (size_t)sample_format(line, sizeof(line), &reading);

	(void)state;
	memset(noise, 'S', sizeof(noise));
	noise[sizeof(noise) - 1] = '\n';
	assert_int_equal(test_stream_take(&s, "[    0.1] hello\r\n", 17), 0);
	assert_int_equal(test_stream_take(&s, noise, sizeof(noise)), 0);
	for (size_t i = 0; i < length; i++)
		assert_int_equal(test_stream_take(&s, line + i, 1), 0);
	assert_int_equal(s.count, 1);
	assert_int_equal(s.readings[0].sample.seq, 5);
	assert_int_equal(s.damaged, 0);
	line[length / 2]++;
	assert_int_equal(test_stream_take(&s, line, length), 0);
	assert_int_equal(s.count, 1);
	assert_int_equal(s.damaged, 1);
	test_stream_free(&s);
}

static void a_reading_that_comes_twice_counts_once(void **state)
{
	struct test_stream s = {0};
	struct sample first = make_reading(5, 5300000000, 0);

	(void)state;
	send(&s, &first);
	send(&s, &first);
	assert_int_equal(s.count, 1);
	assert_int_equal(s.damaged, 1);
	assert_false(s.restarted);
	test_stream_free(&s);
}

static void what_did_not_come_is_counted(void **state)
{
	static const unsigned came[] = {0, 1, 4, 5, 9};
	struct pairs *host = make_host(0, 60, NULL);
	struct test_stream s = {0};

	(void)state;
	assert_int_equal(test_stream_missing(&s, 0), 0);
	for (size_t i = 0; i < sizeof(came) / sizeof(came[0]); i++) {
		struct sample reading =
			make_reading(came[i], 5200000000 + came[i] * 100000000LL, 0);

		send(&s, &reading);
	}
	assert_int_equal(test_stream_evaluate(&s, &map, host), 0);
	assert_int_equal(test_stream_missing(&s, 0), 5);
	assert_int_equal(test_stream_missing(&s, 2), 3);
	assert_int_equal(test_stream_missing(&s, 4), 0);
	assert_int_equal(test_stream_missing(&s, 5), 0);
	test_stream_free(&s);
	pairs_free(host);
}

static void a_guest_that_boots_again_is_found_out(void **state)
{
	/* Its sequence begins anew; or goes on where the first ones were lost, as its uptime
	 * cannot;
	 * or is by chance the same. */
	const struct sample again[] = {make_reading(0, 9900000000, 0),
				       make_reading(6, 5200000000, 0),
				       make_reading(5, 9900000000, 0)};
	struct sample first = make_reading(5, 5300000000, 0);

	(void)state;
	for (size_t i = 0; i < sizeof(again) / sizeof(again[0]); i++) {
		struct test_stream s = {0};

		send(&s, &first);
		assert_false(s.restarted);
		send(&s, &again[i]);
		assert_true(s.restarted);
		assert_int_equal(s.count, 1);
		test_stream_free(&s);
	}
}

static void the_guest_says_who_it_is(void **state)
{
	struct sample_hello hello = {.kernel = "6.1.0",
				     .current = "tsc",
				     .available = "tsc,acpi_pm",
				     .cpus = 2,
				     .tick_ns = 4000000};
	struct test_stream s = {0};
	char line[SAMPLE_LINE_MAX];

	(void)state;
	sample_format_hello(line, sizeof(line), &hello);
	assert_int_equal(test_stream_take(&s, line, strlen(line)), 0);
	assert_true(s.has_hello);
	assert_string_equal(s.hello.kernel, "6.1.0");
	assert_int_equal(s.count, 0);
	test_stream_free(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_error_is_guest_minus_host_at_one_instant),
		cmocka_unit_test(a_record_has_the_error_of_each_reading),
		cmocka_unit_test(a_reading_waits_for_the_pairs_after_it),
		cmocka_unit_test(readings_that_come_late_and_at_once_are_told_apart),
		cmocka_unit_test(each_reading_is_told_by_the_tsc_of_its_time),
		cmocka_unit_test(a_count_before_the_host_began_is_not_of_this_host),
		cmocka_unit_test(pieces_make_lines_and_noise_makes_none),
		cmocka_unit_test(a_reading_that_comes_twice_counts_once),
		cmocka_unit_test(what_did_not_come_is_counted),
		cmocka_unit_test(a_guest_that_boots_again_is_found_out),
		cmocka_unit_test(the_guest_says_who_it_is),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
