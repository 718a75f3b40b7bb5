/* SPDX-License-Identifier: Apache-2.0 */
/* pit_test.c - the timer chip's registers told as stories, the sequences of Linux, and its saved
 * form. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "pit_bench.h"

static void is_silent_until_programmed(void **state)
{
	struct bench b = powered_on();

	(void)state;
	pass(&b, 1);
	assert_int_equal(b.out.deadline, VMT_NEVER);
	pass(&b, UINT64_C(1) << 50);
	assert_int_equal(b.rises, 0);
	assert_int_equal(get(&b, VMT_PIT_CONTROL), 0xff);
	assert_int_equal(get(&b, 77), 0xff);
	put(&b, 77, 0x5a);
	assert_int_equal(b.out.ready, now(&b));
}

static void a_latched_count_stands_while_the_counter_goes_on(void **state)
{
	struct bench b = powered_on();

	(void)state;
	program(&b, 0x34, 0x1234);
	pass(&b, 1 + 0x34);
	put(&b, VMT_PIT_CONTROL, 0x00);
	pass(&b, 100);
	put(&b, VMT_PIT_CONTROL, 0x00); /* ignored: the first is not read yet */
	pass(&b, 100);
	assert_int_equal(get(&b, 0), 0x00);
	pass(&b, 100);
	assert_int_equal(get(&b, 0), 0x12);
	assert_int_equal(get_word(&b, 0), 0x1234 - 0x34 - 300);
}

static void bytes_alternate_by_the_access_chosen(void **state)
{
	struct bench b = powered_on();

	(void)state;
	put(&b, VMT_PIT_CONTROL, 0x14); /* LSB alone, mode 2 */
	put(&b, 0, 0x80);
	pass(&b, 1 + 0x10);
	assert_int_equal(get(&b, 0), 0x70);
	assert_int_equal(get(&b, 0), 0x70);
	put(&b, VMT_PIT_CONTROL, 0x24); /* MSB alone */
	put(&b, 0, 0x02);
	pass(&b, 1);
	assert_int_equal(get(&b, 0), 0x02);
	pass(&b, 1);
	assert_int_equal(get(&b, 0), 0x01);
	pass(&b, 0x200 - 2);
	assert_int_equal(b.rises, 0);
	pass(&b, 1);
	assert_int_equal(b.rises, 1);
	program(&b, 0x34, 0xabcd); /* both; reading and writing have a flip-flop each */
	pass(&b, 1);
	assert_int_equal(get(&b, 0), 0xcd);
	put(&b, 0, 0x11);
	assert_int_equal(get(&b, 0), 0xab);
	put(&b, 0, 0x22);
	pass(&b, 0xabcd);
	assert_int_equal(get_word(&b, 0), 0x2211);
}

static void read_back_latches_status_and_counts_at_once(void **state)
{
	struct bench b = powered_on();

	(void)state;
	program(&b, 0x34, 1000);
	program(&b, 0x70, 2000); /* counter 1, mode 0 */
	put(&b, VMT_PIT_CONTROL, 0xb7);
	put(&b, 2, 0x10); /* counter 2, mode 3 BCD, one byte of two */
	pass(&b, 11);
	put(&b, VMT_PIT_CONTROL, 0xce); /* status and count of all three */
	pass(&b, 50);
	assert_int_equal(get(&b, 0), 0xb4); /* OUT, loaded, both bytes, mode 2 */
	assert_int_equal(get_word(&b, 0), 990);
	assert_int_equal(get_word(&b, 0), 940); /* and then the counter itself */
	assert_int_equal(get(&b, 1), 0x30);
	assert_int_equal(get_word(&b, 1), 1990);
	assert_int_equal(get(&b, 2), 0xf7); /* NULL COUNT: half a count is none */
	put(&b, VMT_PIT_CONTROL, 0xe8);     /* status of counter 2 alone */
	assert_int_equal(get(&b, 2), 0xf7);
}

static void null_count_shows_what_is_not_loaded_yet(void **state)
{
	struct bench b = powered_on();
	const unsigned status = 0xe2, null = 0x40;

	(void)state;
	program(&b, 0x34, 1000);
	put(&b, VMT_PIT_CONTROL, status);
	assert_int_equal(get(&b, 0) & null, null);
	pass(&b, 1);
	put(&b, VMT_PIT_CONTROL, status);
	assert_int_equal(get(&b, 0) & null, 0);
	put(&b, 0, 0xf4);
	put(&b, 0, 0x01); /* 500 from the next period on */
	pass(&b, 999);
	put(&b, VMT_PIT_CONTROL, status);
	pass(&b, 1);
	assert_int_equal(get(&b, 0) & null, null); /* latched a clock ago */
	put(&b, VMT_PIT_CONTROL, status);
	assert_int_equal(get(&b, 0) & null, 0);
	assert_int_equal(get_word(&b, 0), 500);
}

/* "Null count goes to 1 when the second byte is written", though mode 0 stops at the first. */
static void half_a_count_stops_mode_0_and_is_not_null(void **state)
{
	struct bench b = powered_on();

	(void)state;
	program(&b, 0x30, 1000);
	pass(&b, 11);
	put(&b, 0, 0xf4);
	pass(&b, 5);
	put(&b, VMT_PIT_CONTROL, 0xe2);
	assert_int_equal(get(&b, 0), 0x30);
	assert_int_equal(get_word(&b, 0), 990);
	put(&b, 0, 0x01);
	put(&b, VMT_PIT_CONTROL, 0xe2);
	assert_int_equal(get(&b, 0), 0x70);
	pass(&b, 1);
	put(&b, VMT_PIT_CONTROL, 0xe2);
	assert_int_equal(get(&b, 0), 0x30);
	assert_int_equal(get_word(&b, 0), 500);
}

static void a_control_word_that_raises_out_is_an_edge(void **state)
{
	struct bench b = powered_on();

	(void)state;
	program(&b, 0x30, 100);
	assert_int_equal(b.rises, 0);
	put(&b, VMT_PIT_CONTROL, 0x34);
	assert_int_equal(b.rises, 1);
	assert_true(out(&b, 0));
}

static void a_control_word_drops_what_was_latched(void **state)
{
	struct bench b = powered_on();

	(void)state;
	program(&b, 0x34, 1000);
	pass(&b, 11);
	put(&b, VMT_PIT_CONTROL, 0xc2);
	assert_int_equal(get(&b, 0), 0xb4);
	put(&b, VMT_PIT_CONTROL, 0xc2);
	put(&b, VMT_PIT_CONTROL, 0x14);
	put(&b, 0, 50);
	pass(&b, 1);
	assert_int_equal(get(&b, 0), 50);
}

static void port_61_holds_four_bits_and_shows_refresh(void **state)
{
	struct bench b = powered_on();
	unsigned changes = 0, last;

	(void)state;
	put(&b, VMT_PIT_PORT61, 0xff);
	assert_int_equal(get(&b, VMT_PIT_PORT61) & 0xcf, 0x0f);
	last = get(&b, VMT_PIT_PORT61) & REFRESH;
	for (int i = 0; i < 1800; i++) {
		unsigned bit;

		pass(&b, 1);
		bit = get(&b, VMT_PIT_PORT61) & REFRESH;
		changes += bit != last;
		last = bit;
	}
	assert_int_equal(changes, 100);
}

/* Linux, quick_pit_calibrate(): the high byte of a counter that nobody latches, read in pairs. */
static void linux_calibrates_its_tsc_quickly(void **state)
{
	struct bench b = powered_on();
	unsigned high = 0xff;
	uint64_t first = 0, last = 0;

	(void)state;
	put(&b, VMT_PIT_PORT61, (get(&b, VMT_PIT_PORT61) & ~2u) | GATE2);
	program(&b, 0xb0, 0xffff);
	pass(&b, 2);
	get_word(&b, 2);
	for (unsigned step = 0; step < 150; step++) {
		unsigned reads = 0;

		while (get_word(&b, 2) >> 8 == high) {
			pass(&b, 3); /* two exits */
			reads++;
		}
		assert_true(reads > 5);
		last = b.tick;
		if (!step)
			first = last;
		high--;
	}
	/* 149 steps of 256 clocks, to within a read at each end */
	assert_in_range(last - first, 149 * 256 - 3, 149 * 256 + 3);
}

/* Linux, pit_calibrate_tsc(): 10 ms on counter 2, watched through port 0x61. */
static void linux_calibrates_its_tsc_slowly(void **state)
{
	struct bench b = powered_on();
	uint64_t polls = 0, from;

	(void)state;
	put(&b, VMT_PIT_PORT61, (get(&b, VMT_PIT_PORT61) & ~2u) | GATE2);
	program(&b, 0xb0, 11931);
	from = b.tick;
	while (!(get(&b, VMT_PIT_PORT61) & OUT2)) {
		pass(&b, 1);
		polls++;
	}
	assert_int_equal(polls, 11932);
	assert_int_equal(b.tick - from, 11932);
}

/* Linux's clock event device: periodic, one-shot, off. */
static void linux_ticks_by_it_and_shuts_it_down(void **state)
{
	struct bench b = powered_on();

	(void)state;
	program(&b, 0x34, 4772);
	pass(&b, 1 + 4772 * 10);
	assert_int_equal(b.rises, 10);
	put(&b, VMT_PIT_CONTROL, 0x30); /* clockevent_i8253_disable() */
	put(&b, 0, 0);
	put(&b, 0, 0);
	put(&b, VMT_PIT_CONTROL, 0x30);
	assert_int_equal(b.out.deadline, VMT_NEVER);
	pass(&b, 65536 * 5);
	assert_int_equal(b.rises, 10);
	put(&b, VMT_PIT_CONTROL, 0x38); /* one-shot, from rest */
	b.rises = 0;
	for (int i = 0; i < 3; i++) {
		put(&b, 0, 0x00);
		put(&b, 0, 0x10);
		assert_int_equal(b.out.deadline, after(&b, 1 + 0x1000 + 1));
		pass(&b, 1 + 0x1000 + 1);
		assert_int_equal(b.rises, (uint64_t)i + 1);
		assert_int_equal(b.out.deadline, VMT_NEVER);
	}
	program(&b, 0x30, 0); /* the older way to stop: a last edge after the longest count */
	assert_int_equal(b.out.deadline, after(&b, 65537));
}

/* Linux, i8253_read(): latch, low, high; time = count - value. */
static void linux_reads_time_from_a_latched_count(void **state)
{
	struct bench b = powered_on();

	(void)state;
	program(&b, 0x34, 4772);
	pass(&b, 1);
	for (unsigned i = 0; i < 4772; i++) {
		put(&b, VMT_PIT_CONTROL, 0x00);
		assert_int_equal(get_word(&b, 0), 4772 - i);
		pass(&b, 1);
	}
}

static void standing_virtual_time_stops_it(void **state)
{
	struct bench b = powered_on();
	unsigned before;

	(void)state;
	program(&b, 0x34, 4772);
	pass(&b, 1234);
	before = get_word(&b, 0);
	for (int i = 0; i < 10; i++)
		pass(&b, 0);
	assert_int_equal(get_word(&b, 0), before);
}

static struct vmt_pit filled(void)
{
	struct bench b = powered_on();

	program(&b, 0x37, 0x0123);
	program(&b, 0x78, 0x4567);
	put(&b, VMT_PIT_PORT61, GATE2 | 2);
	program(&b, 0xb0, 0x89ab);
	pass(&b, 77);
	put(&b, VMT_PIT_CONTROL, 0xce);
	put(&b, VMT_PIT_PORT61, 2);
	for (unsigned i = 0; i < 3; i++) {
		put(&b, i, 0x55);
		get(&b, i);
		get(&b, i);
	}
	put(&b, 0, 0x01);
	return b.pit;
}

static void saves_every_field(void **state)
{
	struct vmt_pit s, back = {0};
	uint8_t bytes[VMT_PIT_SAVED];
	struct bench b = {.pit = filled()};

	(void)state;
	/* States that exclude one another in turn: each comes back whole. */
	for (int i = 0; i < 4; i++) {
		int size;

		if (i == 1)
			vmt_pit_write(&b.pit, 1000000000, VMT_PIT_PORT61, GATE2);
		if (i == 2)
			vmt_pit_write(&b.pit, 1000000001, VMT_PIT_CONTROL, 0xce);
		if (i == 3)
			vmt_pit_write(&b.pit, 1000000002, 0, 0x77);
		s = b.pit;
		size = vmt_pit_save(&s, bytes, sizeof(bytes));
		assert_true(size > 0);
		assert_int_equal(vmt_pit_load(&back, 1000000002, bytes, (size_t)size), 0);
		assert_memory_equal(&back, &s, sizeof(s));
		assert_int_equal(vmt_pit_save(&s, bytes, (size_t)size - 1), -ENOSPC);
	}
}

/* One field wrong at a time, in a record whose checksum is right. */
static void impossible_states_are_refused(void **state)
{
	struct vmt_pit good = filled(), s;
	uint8_t bytes[VMT_PIT_SAVED];
	int size;

	(void)state;
	for (int i = 0; i < 16; i++) {
		struct vmt_pit back = {0}, zero = {0};
		struct vmt_pit_channel *c = &s.channel[1];

		s = good;
		switch (i) {
		case 0:
			s.seen_tick = UINT64_C(1) << 60;
			break;
		case 1:
			s.port61 = 0xff;
			break;
		case 2:
			s.channel[2].gate ^= 1;
			break;
		case 3:
			s.channel[0].gate = 0;
			break;
		case 4:
			c->control = 0x40;
			break;
		case 5:
			c->control &= 0x0f;
			break;
		case 6:
			c->count = 65537;
			break;
		case 7:
			c->count = 0;
			break;
		case 8:
			c->reload = 65537;
			break;
		case 9:
			c->base_tick = s.seen_tick + 1;
			break;
		case 10:
			c->load_tick = s.seen_tick;
			break;
		case 11:
			c->load_tick = s.seen_tick + 65537;
			break;
		case 12:
			c->running = 2;
			break;
		case 13:
			c->skew_ticks = UINT32_MAX;
			break;
		case 14:
			s.channel[0].skew_ticks = s.channel[0].count;
			break;
		case 15:
			c->control = 0x18;
			c->read_half = 1;
			break;
		}
		size = vmt_pit_save(&s, bytes, sizeof(bytes));
		assert_int_equal(vmt_pit_load(&back, 1000000, bytes, (size_t)size), -EINVAL);
		assert_memory_equal(&back, &zero, sizeof(zero));
	}
	size = vmt_pit_save(&good, bytes, sizeof(bytes));
	assert_int_equal(vmt_pit_load(&s, 1000000, bytes, (size_t)size), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(is_silent_until_programmed),
		cmocka_unit_test(a_latched_count_stands_while_the_counter_goes_on),
		cmocka_unit_test(bytes_alternate_by_the_access_chosen),
		cmocka_unit_test(read_back_latches_status_and_counts_at_once),
		cmocka_unit_test(null_count_shows_what_is_not_loaded_yet),
		cmocka_unit_test(half_a_count_stops_mode_0_and_is_not_null),
		cmocka_unit_test(a_control_word_that_raises_out_is_an_edge),
		cmocka_unit_test(a_control_word_drops_what_was_latched),
		cmocka_unit_test(port_61_holds_four_bits_and_shows_refresh),
		cmocka_unit_test(linux_calibrates_its_tsc_quickly),
		cmocka_unit_test(linux_calibrates_its_tsc_slowly),
		cmocka_unit_test(linux_ticks_by_it_and_shuts_it_down),
		cmocka_unit_test(linux_reads_time_from_a_latched_count),
		cmocka_unit_test(standing_virtual_time_stops_it),
		cmocka_unit_test(saves_every_field),
		cmocka_unit_test(impossible_states_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
