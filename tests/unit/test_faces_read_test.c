/* SPDX-License-Identifier: Apache-2.0 */
/* test_faces_read_test.c - the probe's lines, whole, cut and damaged. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "cmd/test_faces_read.h"

static struct faces_stream s;

static int start(void **state)
{
	(void)state;
	memset(&s, 0, sizeof(s));
	return 0;
}

static int end(void **state)
{
	(void)state;
	faces_stream_free(&s);
	return 0;
}

static void take(const char *text)
{
	assert_int_equal(faces_stream_take(&s, text, strlen(text)), 0);
}

/* With the checksum that the probe gives it. */
static void take_line(const char *line)
{
	char text[256];
	unsigned sum = 0;

	for (const char *c = line; *c; c++)
		sum = ((sum >> 1 | sum << 15) + (unsigned char)*c) & 0xffff;
	snprintf(text, sizeof(text), "%s *%x\n", line, sum);
	take(text);
}

static const char hello[] = "H 1 2 2550b0 f4240 d5555555 ff 18 989680";

static void lines_of_the_probe_are_understood(void **state)
{
	(void)state;
	/* Two that a probe has sent, checksums and all. */
	take("H 1 2 0 0 0 0 18 989680 *debc\nR p 1 11c92212d 5297 b81b *4d46\n");
	assert_int_equal(s.damaged, 0);
	assert_true(s.has_hello);
	assert_int_equal(s.hello.cpus, 2);
	assert_int_equal(s.hello.pm_bits, 24);
	assert_int_equal(s.hello.hpet_fs, 10000000);
	assert_int_equal(s.count, 1);
	assert_int_equal(s.readings[0].face, FACES_PIT);
	assert_int_equal(s.readings[0].cpu, 1);
	assert_int_equal(s.readings[0].before, 0x11c92212d);
	assert_int_equal(s.readings[0].width, 0x5297);
	assert_int_equal(s.readings[0].value, 0xb81b);
	faces_stream_free(&s);
	start(NULL);
	take_line(hello);
	assert_int_equal(s.hello.tsc_khz, 2445488);
	assert_int_equal(s.hello.bus_khz, 1000000);
	assert_int_equal(s.hello.kvm_mul, 0xd5555555);
	assert_int_equal(s.hello.kvm_shift, -1);
}

static void a_tally_is_understood(void **state)
{
	(void)state;
	take_line("T r 1 10 2 30 3 400 420 5 6 7"); /* more fell due than came */
	assert_int_equal(s.damaged, 0);
	assert_true(s.has_tally);
	assert_int_equal(s.tally.source, TICKS_RTC);
	assert_true(s.tally.busy);
	assert_int_equal(s.tally.start, 0x10);
	assert_int_equal(s.tally.start_width, 2);
	assert_int_equal(s.tally.stop, 0x30);
	assert_int_equal(s.tally.stop_width, 3);
	assert_int_equal(s.tally.count, 0x400);
	assert_int_equal(s.tally.stored, 0x420);
	assert_int_equal(s.tally.p50, 5);
	assert_int_equal(s.tally.p99, 6);
	assert_int_equal(s.tally.most, 7);
}

static void every_source_has_its_letter(void **state)
{
	static const char *const lines[] = {
		"T p 0 10 2 30 3 400 3e0 5 6 7", "T r 0 10 2 30 3 400 3e0 5 6 7",
		"T h 0 10 2 30 3 400 3e0 5 6 7", "T l 0 10 2 30 3 400 3e0 5 6 7"};
	static const enum ticks_source sources[] = {TICKS_PIT, TICKS_RTC, TICKS_HPET,
						    TICKS_HPET_LEGACY};

	(void)state;
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		take_line(lines[i]);
		assert_int_equal(s.tally.source, sources[i]);
	}
}

static void the_marks_of_a_count_are_understood(void **state)
{
	static const char *const bad[] = {"B 1", "S", "S 1 2", "S x"};

	(void)state;
	take_line("B");
	assert_true(s.has_begun);
	assert_false(s.has_count);
	take_line("S 3e8");
	assert_true(s.has_count);
	assert_int_equal(s.count_so_far, 1000);
	assert_int_equal(s.damaged, 0);
	s.has_begun = s.has_count = false;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		take_line(bad[i]);
	assert_int_equal(s.damaged, sizeof(bad) / sizeof(bad[0]));
	assert_false(s.has_begun || s.has_count);
}

static void a_tally_that_cannot_be_is_damage(void **state)
{
	static const char *const lines[] = {
		"T x 0 10 2 30 3 400 3e0 5 6 7", /* no such source */
		"T p 2 10 2 30 3 400 3e0 5 6 7", /* neither idle nor busy */
		"T p 0 30 2 10 3 400 3e0 5 6 7", /* stopped before it started */
		"T p 0 10 2 30 3 400 3e0 5 6", "T p 0 10 2 30 3 400 3e0 5 6 7 8"};

	(void)state;
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		take_line(lines[i]);
		assert_int_equal(s.damaged, i + 1);
		assert_false(s.has_tally);
	}
}

static void every_face_has_its_letter(void **state)
{
	static const char *const lines[FACES_COUNT] = {"R p 0 1 2 3",
						       "R r 0 1 2 3",
						       "R h 0 1 2 3",
						       "R m 0 1 2 3",
						       "R l 0 1 2 3",
						       "R t 0 1 2 3",
						       "R k 0 1 2 100000000000000",
						       "R w 0 1 2 3",
						       "R o 0 1 2 3",
						       "R a 0 1 2 3",
						       "R b 0 1 2 3"};

	(void)state;
	take_line(hello);
	for (unsigned i = 0; i < FACES_COUNT; i++) {
		take_line(lines[i]);
		assert_int_equal(s.readings[i].face, i);
	}
	assert_int_equal(s.count, FACES_COUNT);
	assert_int_equal(s.readings[FACES_KVM_CLOCK].value, FACES_MOST);
}

/* As a host sees it that connects in the middle of a line, and gets its bytes one by one. */
static void a_line_may_come_in_pieces(void **state)
{
	const char *text = "7 b81b *4d46\nH 1 2 0 0 0 0 18 989680 *debc\n"
			   "R p 1 11c92212d 5297 b81b *4d46\n";

	(void)state;
	for (; *text; text++)
		assert_int_equal(faces_stream_take(&s, text, 1), 0);
	assert_int_equal(s.count, 1);
	assert_int_equal(s.damaged, 1);
}

static void damage_is_counted_and_nothing_more(void **state)
{
	static const char *const lines[] = {
		"R p 1 11c92212d 5297 b81c *4d46\n", /* a digit is another */
		"R p 1 11c92212d 5297 b81b *4d4\n",  /* cut */
		"R p 1 11c92212d 5297 b81b\n",       "*4d46\n", " *0\n", "\n",
	};
	static const char *const summed[] = {
		"R p 1 11c92212d 5297",
		"R p 1 11c92212d 5297 b81b 1",
		"R p  1 5297 b81b",
		"R p 1 11c92212d 5297 B81B",
		"R p 1 11c92212d 5297 0123456789abcdef0",
		"R p 1 100000000000001 0 1", /* no TSC is so large */
		"R p 1 0 100000000000001 1",
		"R k 1 0 1 100000000000001",
		"R p 100 1 2 3", /* nor is a CPU's number */
		"R x 0 1 2 3",
		"R pp 0 1 2 3",
		"R",
		"H 2 2 0 0 0 0 18 989680",
		"H 1 2 0 0 0 0 21 989680",
		"H 1 2",
		"H 1 1 2550b0 f4240 d5555555 ff 18 989680", /* it had two CPUs */
		"X 1",
	};
	char longest[2 * FACES_LINE_MAX];
	uint64_t lost;

	(void)state;
	take_line(hello);
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		take(lines[i]);
		assert_int_equal(s.damaged, i + 1);
	}
	for (size_t i = 0; i < sizeof(summed) / sizeof(summed[0]); i++) {
		lost = s.damaged;
		take_line(summed[i]);
		assert_int_equal(s.damaged, lost + 1);
	}
	memset(longest, 'R', sizeof(longest) - 2);
	memcpy(longest + sizeof(longest) - 2, "\n", 2);
	lost = s.damaged;
	take(longest);
	assert_int_equal(s.damaged, lost + 1);
	assert_int_equal(s.count, 0);
	take_line("R p 1 1 2 3");
	assert_int_equal(s.count, 1);
}

/* Without a hello nobody knows how long a tick is. */
static void readings_of_what_is_not_there_do_not_count(void **state)
{
	(void)state;
	take_line("R p 0 1 2 3");
	assert_int_equal(s.count, 0);
	take_line("H 1 1 0 0 0 0 0 0");
	take_line("R h 0 1 2 3");
	take_line("R m 0 1 2 3");
	assert_int_equal(s.count, 0);
	take_line("R p 0 1 2 3");
	assert_int_equal(s.count, 1);
	assert_int_equal(s.damaged, 3);
}

static void what_the_probe_complains_of_is_kept(void **state)
{
	(void)state;
	take_line("E no such word");
	assert_string_equal(s.error, "no such word");
}

static void take_guest(const char *clocksource)
{
	struct sample_hello h = {.kernel = "6.1", .available = "tsc", .cpus = 2, .tick_ns = 4};
	char text[SAMPLE_LINE_MAX];

	snprintf(h.current, sizeof(h.current), "%s", clocksource);
	assert_true(sample_format_hello(text, sizeof(text), &h) > 0);
	take(text);
}

/* tsc-early, then tsc: what was read of the one says nothing of the other. */
static void another_clock_source_begins_anew(void **state)
{
	(void)state;
	take_guest("tsc-early");
	take_line(hello);
	take_line("R w 0 1 2 3");
	take_guest("tsc-early");
	assert_int_equal(s.count, 1);
	assert_true(s.has_guest);
	take_guest("tsc");
	assert_int_equal(s.count, 0);
	assert_string_equal(s.guest.current, "tsc");
	assert_int_equal(s.guest.tick_ns, 4);
	take_line("R w 0 1 2 3");
	assert_int_equal(s.count, 1);
	assert_int_equal(s.readings[0].face, FACES_REALTIME);
	assert_int_equal(s.damaged, 0);
}

static void many_readings_have_room(void **state)
{
	char line[64];

	(void)state;
	take_line(hello);
	for (int i = 0; i < 5000; i++) {
		snprintf(line, sizeof(line), "R k 0 %x 2 3", i);
		take_line(line);
	}
	assert_int_equal(s.count, 5000);
	assert_int_equal(s.readings[4999].before, 4999);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(lines_of_the_probe_are_understood, start, end),
		cmocka_unit_test_setup_teardown(a_tally_is_understood, start, end),
		cmocka_unit_test_setup_teardown(every_source_has_its_letter, start, end),
		cmocka_unit_test_setup_teardown(the_marks_of_a_count_are_understood, start, end),
		cmocka_unit_test_setup_teardown(a_tally_that_cannot_be_is_damage, start, end),
		cmocka_unit_test_setup_teardown(every_face_has_its_letter, start, end),
		cmocka_unit_test_setup_teardown(a_line_may_come_in_pieces, start, end),
		cmocka_unit_test_setup_teardown(damage_is_counted_and_nothing_more, start, end),
		cmocka_unit_test_setup_teardown(readings_of_what_is_not_there_do_not_count, start,
						end),
		cmocka_unit_test_setup_teardown(what_the_probe_complains_of_is_kept, start, end),
		cmocka_unit_test_setup_teardown(another_clock_source_begins_anew, start, end),
		cmocka_unit_test_setup_teardown(many_readings_have_room, start, end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
