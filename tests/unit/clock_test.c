/* SPDX-License-Identifier: Apache-2.0 */
/* clock_test.c - the virtual clock through its life: reading, pausing, moving, saving. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include <vmtime/clock.h>

#include "../random.h"
#include "core/ns.h"
#include "core/snap.h"

#define GHZ UINT64_C(1000000000)
#define SECOND UINT64_C(1000000000)
#define HOUR (3600 * SECOND)
#define TEN_YEARS (UINT64_C(3652) * 24 * HOUR)
#define LAB_HZ UINT64_C(2596992123) /* no round number of anything */
#define NOON INT64_C(1700000000000000000)

static struct vmt_reading reading(uint64_t counter, int64_t utc_ns)
{
	return (struct vmt_reading){.counter = counter, .utc_ns = utc_ns, .utc_bound_ns = 50};
}

static struct vmt_clock started(uint64_t hz, uint64_t counter)
{
	struct vmt_reading at = reading(counter, NOON);
	struct vmt_clock c;

	assert_int_equal(vmt_clock_start(hz, &at, &c, NULL), 0);
	return c;
}

static struct vmt_clock paused(uint64_t hz, uint64_t from, uint64_t until)
{
	struct vmt_clock c = started(hz, from);

	assert_int_equal(vmt_clock_pause(&c, until, &c, NULL), 0);
	return c;
}

static void begins_at_zero_and_rounds_down(void **state)
{
	struct vmt_clock c = started(3 * GHZ, 1000);

	(void)state;
	assert_int_equal(vmt_clock_now(&c, 1000), 0);
	assert_int_equal(vmt_clock_now(&c, 1002), 0);
	assert_int_equal(vmt_clock_now(&c, 1003), 1);
	assert_int_equal(vmt_clock_now(&c, 0), 0); /* before the anchor: the anchor's time */
	assert_int_equal(vmt_clock_utc(&c, 7), NOON + 7);
}

/* The two directions are the same map: a deadline's count is the first that has reached it. */
static void a_deadline_is_reached_at_its_count_and_not_before(void **state)
{
	struct random random = random_start();

	(void)state;
	for (int i = 0; i < 200000; i++) {
		struct vmt_clock c =
			started((random_wide(&random) >> 24) + 1, random_wide(&random));
		uint32_t num = random_below(&random, 1000) + 1,
			 den = random_below(&random, 1000) + 1;
		int64_t ppt = (int64_t)random_below(&random, 2000000001) - 1000000000;
		uint64_t later = vmt_ns_add(c.base_counter, random_wide(&random) >> 1);
		vmt_ns deadline;
		uint64_t at;

		assert_int_equal(vmt_clock_rate(&c, later, num, den, &c, NULL), 0);
		assert_int_equal(vmt_clock_discipline(&c, later, ppt, &c, NULL), 0);
		deadline = vmt_ns_add(c.base_ns, random_wide(&random));
		at = vmt_clock_counter_at(&c, deadline);
		if (at == UINT64_MAX)
			continue;
		assert_true(vmt_clock_now(&c, at) >= deadline);
		if (deadline > c.base_ns)
			assert_true(vmt_clock_now(&c, at - 1) < deadline);
	}
}

static void no_count_reaches_never(void **state)
{
	struct vmt_clock c = started(GHZ, 0), slow = started(1, UINT64_MAX - 1);

	(void)state;
	assert_int_equal(vmt_clock_counter_at(&c, VMT_NEVER), UINT64_MAX);
	assert_int_equal(vmt_clock_counter_at(&slow, 2 * SECOND),
			 UINT64_MAX); /* beyond the counter */
	assert_int_equal(vmt_clock_counter_at(&slow, 0), UINT64_MAX - 1);
	assert_int_equal(vmt_clock_pause(&c, 5, &c, NULL), 0);
	assert_int_equal(vmt_clock_counter_at(&c, 6), UINT64_MAX);
}

static void time_ends_just_before_never(void **state)
{
	struct vmt_clock c = started(1, 0);

	(void)state;
	assert_int_equal(vmt_clock_now(&c, UINT64_MAX), VMT_NEVER - 1);
	assert_int_equal(vmt_clock_pause(&c, UINT64_MAX, &c, NULL), 0);
	assert_int_equal(vmt_clock_now(&c, UINT64_MAX), VMT_NEVER - 1);
	assert_int_equal(vmt_clock_utc(&c, VMT_NEVER - 1), INT64_MAX);
	c.utc_offset_ns = INT64_MIN;
	assert_int_equal(vmt_clock_utc(&c, 0), INT64_MIN);
}

/* At 2.5 GHz no binary factor is exact; a second is a second all the same, and not 999,999,999. */
static void exact_instants_are_shown_exactly(void **state)
{
	const uint64_t hz[] = {1,      32768,      1193182,          25 * GHZ / 10,
			       LAB_HZ, 9999999967, UINT64_C(1) << 40};
	const uint64_t seconds[] = {1, 2, 3600, TEN_YEARS / SECOND, 10 * (TEN_YEARS / SECOND)};

	(void)state;
	for (size_t i = 0; i < sizeof(hz) / sizeof(hz[0]); i++) {
		struct vmt_clock c = started(hz[i], 77);

		for (size_t s = 0; s < sizeof(seconds) / sizeof(seconds[0]); s++) {
			uint64_t counts;

			if (__builtin_mul_overflow(hz[i], seconds[s], &counts))
				continue;
			assert_int_equal(vmt_clock_now(&c, 77 + counts), seconds[s] * SECOND);
			if (hz[i] > GHZ && seconds[s] > 3600)
				continue; /* a count is less than what may be wrong by then */
			assert_true(vmt_clock_now(&c, 77 + counts - 1) < seconds[s] * SECOND);
			assert_int_equal(vmt_clock_counter_at(&c, seconds[s] * SECOND),
					 77 + counts);
		}
	}
}

static void ten_years_are_exact(void **state)
{
	const uint64_t hz[] = {1000000, 1193182, GHZ, 2 * GHZ + 1, LAB_HZ, 5 * GHZ - 1, 9999999967};

	(void)state;
	for (size_t i = 0; i < sizeof(hz) / sizeof(hz[0]); i++) {
		struct vmt_clock c = started(hz[i], 12345);
		uint64_t counts = TEN_YEARS / SECOND * hz[i];
		vmt_ns now = vmt_clock_now(&c, 12345 + counts);

		assert_int_equal(now, TEN_YEARS);
	}
}

/* Whoever disciplines the clock each second moves the anchor each time; no rounding adds up. */
static void a_million_anchors_lose_nothing(void **state)
{
	struct random random = random_start();
	struct vmt_clock still = started(LAB_HZ, 0), moved = still;
	uint64_t counter = 0;

	(void)state;
	for (int i = 0; i < 1000000; i++) {
		counter += random_below(&random, 1000000);
		assert_int_equal(vmt_clock_discipline(&moved, counter, 0, &moved, NULL), 0);
		assert_int_equal(vmt_clock_now(&moved, counter), vmt_clock_now(&still, counter));
	}
	assert_int_equal(moved.epoch, still.epoch + 1000000);
}

/* Half the counts at +ppm, half at -ppm: as many nanoseconds as without. */
static void changes_of_frequency_do_not_add_up_errors(void **state)
{
	struct vmt_clock c = started(2 * GHZ, 0);
	uint64_t counter = 0;

	(void)state;
	for (int i = 0; i < 100000; i++) {
		assert_int_equal(
			vmt_clock_discipline(&c, counter, i & 1 ? 999999937 : -999999937, &c, NULL),
			0);
		counter += 1000003; /* an odd number of half nanoseconds */
	}
	assert_in_range(vmt_clock_now(&c, counter), counter / 2 - 1, counter / 2);
}

static void discipline_is_parts_in_ten_to_the_twelfth(void **state)
{
	struct vmt_clock c = started(GHZ, 0);
	struct vmt_change change;

	(void)state;
	assert_int_equal(vmt_clock_discipline(&c, SECOND, 100000000, &c, &change), 0); /* 100 ppm */
	assert_int_equal(change.kind, VMT_CHANGE_DISCIPLINE);
	assert_int_equal(change.ppt_before, 0);
	assert_int_equal(change.ppt_after, 100000000);
	assert_int_equal(change.before_ns, SECOND);
	assert_int_equal(change.after_ns, SECOND);
	assert_in_range(vmt_clock_now(&c, 2 * SECOND), 2 * SECOND + 99999, 2 * SECOND + 100000);
	assert_int_equal(vmt_clock_discipline(&c, 2 * SECOND, -1, &c, NULL), 0); /* 1 ppt slow */
	assert_in_range(vmt_clock_now(&c, 1002 * SECOND) - vmt_clock_now(&c, 2 * SECOND),
			1000 * SECOND - 2, 1000 * SECOND - 1);
}

static void warped_time_passes_faster_or_slower(void **state)
{
	struct vmt_clock c = started(GHZ, 0);

	(void)state;
	assert_int_equal(vmt_clock_rate(&c, SECOND, 1000, 1, &c, NULL), 0);
	assert_in_range(vmt_clock_now(&c, 2 * SECOND), 1001 * SECOND - 1, 1001 * SECOND);
	assert_int_equal(vmt_clock_rate(&c, 2 * SECOND, 1, 1000, &c, NULL), 0);
	assert_in_range(vmt_clock_now(&c, 1002 * SECOND), 1002 * SECOND - 2, 1002 * SECOND);
	assert_int_equal(vmt_clock_rate(&c, 2 * SECOND, 1001, 1, &c, NULL), -EINVAL);
	assert_int_equal(vmt_clock_rate(&c, 2 * SECOND, 0, 1, &c, NULL), -EINVAL);
	assert_int_equal(vmt_clock_rate(&c, 2 * SECOND, 1, 0, &c, NULL), -EINVAL);
	assert_int_equal(vmt_clock_rate(&c, 2 * SECOND, UINT32_MAX, UINT32_MAX, &c, NULL), 0);
}

static void paused_time_stands(void **state)
{
	struct vmt_clock c = started(GHZ, 0);
	struct vmt_change change;

	(void)state;
	assert_int_equal(vmt_clock_pause(&c, 3 * SECOND, &c, &change), 0);
	assert_int_equal(change.kind, VMT_CHANGE_PAUSE);
	assert_int_equal(change.counter, 3 * SECOND);
	assert_int_equal(change.before_ns, 3 * SECOND);
	assert_int_equal(change.after_ns, 3 * SECOND);
	assert_int_equal(change.utc_step_ns, 0);
	assert_int_equal(vmt_clock_now(&c, 9 * SECOND), 3 * SECOND);
	assert_int_equal(vmt_clock_pause(&c, 9 * SECOND, &c, NULL), -EINVAL);
}

static void continue_jumps_over_the_gap_and_utc_stays_right(void **state)
{
	struct vmt_clock c = paused(GHZ, 0, 3 * SECOND);
	struct vmt_reading at = reading(8 * SECOND, NOON + (int64_t)(8 * SECOND));
	struct vmt_change change;

	(void)state;
	assert_int_equal(vmt_clock_resume(&c, &at, VMT_POLICY_CONTINUE, 0, &c, &change), 0);
	assert_int_equal(vmt_clock_now(&c, 8 * SECOND), 8 * SECOND);
	assert_int_equal(vmt_clock_utc(&c, 8 * SECOND), at.utc_ns);
	assert_int_equal(change.kind, VMT_CHANGE_RESUME);
	assert_int_equal(change.policy, VMT_POLICY_CONTINUE);
	assert_int_equal(change.gap_ns, 5 * SECOND);
	assert_int_equal(change.before_ns, 3 * SECOND);
	assert_int_equal(change.after_ns, 8 * SECOND);
	assert_int_equal(change.utc_step_ns, 0);
	assert_int_equal(change.bound_ns, 50);
	assert_int_equal(change.epoch, c.epoch);
}

static void freeze_goes_on_where_it_stopped_and_utc_stays_right(void **state)
{
	struct vmt_clock c = paused(GHZ, 0, 3 * SECOND);
	struct vmt_reading at = reading(8 * SECOND, NOON + (int64_t)(8 * SECOND));
	struct vmt_change change;

	(void)state;
	assert_int_equal(vmt_clock_resume(&c, &at, VMT_POLICY_FREEZE, 0, &c, &change), 0);
	assert_int_equal(vmt_clock_now(&c, 8 * SECOND), 3 * SECOND);
	assert_int_equal(vmt_clock_now(&c, 9 * SECOND), 4 * SECOND);
	assert_int_equal(c.utc_offset_ns, NOON + (int64_t)(5 * SECOND)); /* grown by the gap */
	assert_int_equal(vmt_clock_utc(&c, 3 * SECOND), at.utc_ns);
	assert_int_equal(change.policy, VMT_POLICY_FREEZE);
	assert_int_equal(change.gap_ns, 5 * SECOND);
	assert_int_equal(change.before_ns, 3 * SECOND);
	assert_int_equal(change.after_ns, 3 * SECOND);
	assert_int_equal(change.utc_step_ns, 0);
}

static void auto_goes_on_over_gaps_up_to_its_limit(void **state)
{
	struct vmt_clock c = paused(GHZ, 0, SECOND), resumed;
	struct vmt_reading at = reading(6 * SECOND, NOON);
	struct vmt_change change;

	(void)state;
	assert_int_equal(vmt_clock_resume(&c, &at, VMT_POLICY_AUTO, 5 * SECOND, &resumed, &change),
			 0);
	assert_int_equal(change.policy, VMT_POLICY_CONTINUE);
	at.counter++;
	assert_int_equal(vmt_clock_resume(&c, &at, VMT_POLICY_AUTO, 5 * SECOND, &resumed, &change),
			 0);
	assert_int_equal(change.policy, VMT_POLICY_FREEZE);
	assert_int_equal(vmt_clock_resume(&c, &at, 3, 0, &resumed, &change), -EINVAL);
	assert_int_equal(vmt_clock_resume(&resumed, &at, 0, 0, &resumed, &change), -EINVAL);
}

/* A pause of a warped clock: the gap is the host's, what passes is virtual. */
static void a_gap_is_told_in_host_time(void **state)
{
	struct vmt_clock c = started(GHZ, 0);
	struct vmt_reading at = reading(6 * SECOND, NOON);
	struct vmt_change change;

	(void)state;
	assert_int_equal(vmt_clock_rate(&c, 0, 10, 1, &c, NULL), 0);
	assert_int_equal(vmt_clock_pause(&c, SECOND, &c, NULL), 0);
	assert_int_equal(vmt_clock_resume(&c, &at, VMT_POLICY_CONTINUE, 0, &c, &change), 0);
	assert_int_equal(change.gap_ns, 5 * SECOND);
	assert_in_range(change.after_ns - change.before_ns, 50 * SECOND - 1, 50 * SECOND);
}

static void a_step_of_the_host_moves_utc_alone(void **state)
{
	struct vmt_clock c = started(GHZ, 0);
	struct vmt_reading at = reading(2 * SECOND, NOON + (int64_t)(2 * SECOND) - (int64_t)HOUR);
	struct vmt_change change;

	(void)state;
	assert_int_equal(vmt_clock_step_utc(&c, &at, &c, &change), 0);
	assert_int_equal(vmt_clock_now(&c, 2 * SECOND), 2 * SECOND);
	assert_int_equal(vmt_clock_utc(&c, 2 * SECOND), at.utc_ns);
	assert_int_equal(change.kind, VMT_CHANGE_STEP_UTC);
	assert_int_equal(change.utc_step_ns, -(int64_t)HOUR);
	assert_int_equal(change.bound_ns, 50);
	assert_int_equal(c.base_counter, 0); /* the map itself is untouched */
	c = paused(GHZ, 0, SECOND);
	assert_int_equal(vmt_clock_step_utc(&c, &at, &c, &change), -EINVAL);
}

static void another_counter_goes_on_from_the_same_time(void **state)
{
	struct vmt_clock c = started(LAB_HZ, 0);
	struct vmt_change change;
	vmt_ns at;

	(void)state;
	assert_int_equal(vmt_clock_discipline(&c, 1, 5000, &c, NULL), 0);
	at = vmt_clock_now(&c, LAB_HZ);
	assert_int_equal(vmt_clock_counter(&c, LAB_HZ, 77, GHZ, &c, &change), 0);
	assert_int_equal(vmt_clock_now(&c, 77), at);
	assert_in_range(vmt_clock_now(&c, 77 + SECOND), at + SECOND - 1, at + SECOND + 1);
	assert_int_equal(change.kind, VMT_CHANGE_COUNTER);
	assert_int_equal(change.counter, 77);
	assert_int_equal(change.ppt_before, 5000);
	assert_int_equal(change.ppt_after, 0); /* it was the old counter's error */
}

static void another_counter_keeps_the_length_of_a_pause(void **state)
{
	struct vmt_clock c = paused(GHZ, 0, SECOND);
	struct vmt_reading at = reading(100 * SECOND + 4 * SECOND, NOON);
	struct vmt_change change;

	(void)state;
	/* two of its seconds on the old counter, four half ones on the new */
	assert_int_equal(vmt_clock_counter(&c, 3 * SECOND, 100 * SECOND, 2 * GHZ, &c, NULL), 0);
	assert_int_equal(vmt_clock_resume(&c, &at, VMT_POLICY_CONTINUE, 0, &c, &change), 0);
	assert_int_equal(change.gap_ns, 4 * SECOND);
	assert_int_equal(change.after_ns, 5 * SECOND);
	c = paused(GHZ, 0, SECOND);
	assert_int_equal(vmt_clock_counter(&c, 9 * SECOND, 5, GHZ, &c, NULL), -EINVAL);
}

static void a_saved_clock_lives_again_elsewhere(void **state)
{
	struct vmt_clock saved = paused(GHZ, 0, 3 * SECOND), c;
	struct vmt_reading at = reading(555, NOON + (int64_t)(3 * SECOND + HOUR));
	struct vmt_change change;

	(void)state;
	assert_int_equal(vmt_clock_load(&saved, 3 * GHZ, &at, VMT_POLICY_CONTINUE, 0, &c, &change),
			 0);
	assert_int_equal(vmt_clock_now(&c, 555), 3 * SECOND + HOUR);
	assert_int_equal(vmt_clock_utc(&c, 3 * SECOND + HOUR), at.utc_ns);
	assert_in_range(vmt_clock_now(&c, 555 + 3 * GHZ), 4 * SECOND + HOUR - 1, 4 * SECOND + HOUR);
	assert_int_equal(change.kind, VMT_CHANGE_LOAD);
	assert_int_equal(change.gap_ns, HOUR);
	assert_int_equal(change.utc_step_ns, 0);
	assert_int_equal(vmt_clock_load(&saved, GHZ, &at, VMT_POLICY_FREEZE, 0, &c, &change), 0);
	assert_int_equal(vmt_clock_now(&c, 555), 3 * SECOND);
	assert_int_equal(vmt_clock_utc(&c, 3 * SECOND), at.utc_ns);
	assert_int_equal(change.utc_step_ns, 0);
	assert_int_equal(vmt_clock_load(&saved, GHZ, &at, VMT_POLICY_AUTO, HOUR, &c, &change), 0);
	assert_int_equal(change.policy, VMT_POLICY_CONTINUE);
	assert_int_equal(vmt_clock_load(&saved, GHZ, &at, VMT_POLICY_AUTO, HOUR - 1, &c, &change),
			 0);
	assert_int_equal(change.policy, VMT_POLICY_FREEZE);
	assert_int_equal(change.epoch, saved.epoch + 1);
}

static void on_a_host_that_is_behind_it_freezes(void **state)
{
	struct vmt_clock saved = paused(GHZ, 0, 3 * SECOND), c;
	struct vmt_reading at = reading(555, NOON);
	struct vmt_change change;

	(void)state;
	assert_int_equal(vmt_clock_load(&saved, GHZ, &at, VMT_POLICY_CONTINUE, 0, &c, &change), 0);
	assert_int_equal(change.policy, VMT_POLICY_FREEZE);
	assert_int_equal(change.gap_ns, 0);
	assert_int_equal(change.utc_step_ns, -(int64_t)(3 * SECOND));
	assert_int_equal(vmt_clock_now(&c, 555), 3 * SECOND);
	assert_int_equal(vmt_clock_utc(&c, 3 * SECOND), NOON);
	c = started(GHZ, 0);
	assert_int_equal(vmt_clock_load(&c, GHZ, &at, VMT_POLICY_FREEZE, 0, &c, NULL), -EINVAL);
}

/* A caller's mistake writes nothing. */
static void refuses_without_a_trace(void **state)
{
	struct vmt_clock c = started(GHZ, 100), before = c, out, untouched;
	struct vmt_change change, same;
	struct vmt_reading early = reading(99, NOON);

	(void)state;
	memset(&out, 0x5a, sizeof(out));
	memset(&change, 0x5a, sizeof(change));
	untouched = out;
	same = change;
	assert_int_equal(vmt_clock_start(0, &early, &out, &change), -EINVAL);
	assert_int_equal(vmt_clock_start((UINT64_C(1) << 40) + 1, &early, &out, &change), -EINVAL);
	assert_int_equal(vmt_clock_pause(&c, 99, &out, &change), -EINVAL);
	assert_int_equal(vmt_clock_step_utc(&c, &early, &out, &change), -EINVAL);
	assert_int_equal(vmt_clock_rate(&c, 99, 1, 1, &out, &change), -EINVAL);
	assert_int_equal(vmt_clock_discipline(&c, 99, 0, &out, &change), -EINVAL);
	assert_int_equal(vmt_clock_discipline(&c, 100, 1000000001, &out, &change), -EINVAL);
	assert_int_equal(vmt_clock_counter(&c, 99, 0, GHZ, &out, &change), -EINVAL);
	assert_int_equal(vmt_clock_counter(&c, 100, 0, 0, &out, &change), -EINVAL);
	c.shift = 200; /* no clock of ours */
	assert_int_equal(vmt_clock_pause(&c, 200, &out, &change), -EINVAL);
	early.counter = 200;
	assert_int_equal(vmt_clock_step_utc(&c, &early, &out, &change), -EINVAL);
	c.shift = before.shift;
	assert_memory_equal(&c, &before, sizeof(c));
	assert_memory_equal(&out, &untouched, sizeof(out));
	assert_memory_equal(&change, &same, sizeof(change));
}

/* Every field has a value of its own; a field that is not saved would come back as 0. */
static struct vmt_clock filled(void)
{
	struct vmt_clock c = started(LAB_HZ, 12345);

	assert_int_equal(vmt_clock_rate(&c, 99999, 7, 3, &c, NULL), 0);
	assert_int_equal(vmt_clock_discipline(&c, 123456789, -54321, &c, NULL), 0);
	assert_int_equal(vmt_clock_pause(&c, 987654321, &c, NULL), 0);
	assert_true(c.base_frac && c.base_ns && c.utc_offset_ns && c.utc_bound_ns && c.epoch);
	return c;
}

static void saves_all_but_the_hosts_counter(void **state)
{
	struct vmt_clock c = filled(), back;
	uint8_t bytes[VMT_CLOCK_SAVED];
	int size = vmt_clock_save(&c, bytes, sizeof(bytes));

	(void)state;
	assert_true(size > 0);
	assert_int_equal(vmt_clock_save(&c, bytes, (size_t)size - 1), -ENOSPC);
	assert_int_equal(vmt_clock_save(&c, bytes, (size_t)size), size);
	assert_int_equal(vmt_clock_restore(bytes, (size_t)size, &back), 0);
	c.base_counter = 0;
	assert_memory_equal(&back, &c, sizeof(c));
}

static void damaged_bytes_are_refused_and_write_nothing(void **state)
{
	struct vmt_clock c = filled(), back;
	uint8_t bytes[VMT_CLOCK_SAVED];
	int size = vmt_clock_save(&c, bytes, sizeof(bytes));

	(void)state;
	memset(&back, 0x5a, sizeof(back));
	c = back;
	for (int i = 0; i < size; i++)
		assert_int_equal(vmt_clock_restore(bytes, (size_t)i, &back), -EINVAL);
	for (int bit = 0; bit < size * 8; bit++) {
		bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
		assert_int_equal(vmt_clock_restore(bytes, (size_t)size, &back), -EINVAL);
		bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
	assert_memory_equal(&back, &c, sizeof(c));
}

/* A whole record with a right checksum that no clock can have written. */
static void impossible_clocks_are_refused(void **state)
{
	const struct {
		uint64_t hz, frac;
		uint32_t num, den;
		int64_t ppt;
		int result;
	} cases[] = {
		{GHZ, 5, 1, 1, 0, 0},
		{0, 5, 1, 1, 0, -EINVAL},
		{UINT64_MAX, 5, 1, 1, 0, -EINVAL},
		{1, UINT64_MAX, 1, 1, 0, -EINVAL}, /* a fraction of one or more */
		{GHZ, 5, 0, 1, 0, -EINVAL},
		{GHZ, 5, 1, 0, 0, -EINVAL},
		{GHZ, 5, 1, 1001, 0, -EINVAL},
		{GHZ, 5, 1, 1, INT64_MIN, -EINVAL},
	};
	struct vmt_clock back;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint8_t bytes[VMT_CLOCK_SAVED];
		struct vmt_snap_writer w;

		vmt_snap_start(&w, bytes, sizeof(bytes), VMT_SNAP_CLOCK, 1);
		vmt_snap_put(&w, cases[i].hz, 8);
		vmt_snap_put(&w, 1, 8);
		vmt_snap_put(&w, cases[i].frac, 8);
		vmt_snap_put(&w, 1, 8);
		vmt_snap_put(&w, 1, 8);
		vmt_snap_put(&w, cases[i].num, 4);
		vmt_snap_put(&w, cases[i].den, 4);
		vmt_snap_put(&w, (uint64_t)cases[i].ppt, 8);
		vmt_snap_put(&w, 1, 8);
		assert_int_equal(vmt_clock_restore(bytes, (size_t)vmt_snap_finish(&w), &back),
				 cases[i].result);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(begins_at_zero_and_rounds_down),
		cmocka_unit_test(a_deadline_is_reached_at_its_count_and_not_before),
		cmocka_unit_test(no_count_reaches_never),
		cmocka_unit_test(time_ends_just_before_never),
		cmocka_unit_test(exact_instants_are_shown_exactly),
		cmocka_unit_test(ten_years_are_exact),
		cmocka_unit_test(a_million_anchors_lose_nothing),
		cmocka_unit_test(changes_of_frequency_do_not_add_up_errors),
		cmocka_unit_test(discipline_is_parts_in_ten_to_the_twelfth),
		cmocka_unit_test(warped_time_passes_faster_or_slower),
		cmocka_unit_test(paused_time_stands),
		cmocka_unit_test(continue_jumps_over_the_gap_and_utc_stays_right),
		cmocka_unit_test(freeze_goes_on_where_it_stopped_and_utc_stays_right),
		cmocka_unit_test(auto_goes_on_over_gaps_up_to_its_limit),
		cmocka_unit_test(a_gap_is_told_in_host_time),
		cmocka_unit_test(a_step_of_the_host_moves_utc_alone),
		cmocka_unit_test(another_counter_goes_on_from_the_same_time),
		cmocka_unit_test(another_counter_keeps_the_length_of_a_pause),
		cmocka_unit_test(a_saved_clock_lives_again_elsewhere),
		cmocka_unit_test(on_a_host_that_is_behind_it_freezes),
		cmocka_unit_test(refuses_without_a_trace),
		cmocka_unit_test(saves_all_but_the_hosts_counter),
		cmocka_unit_test(damaged_bytes_are_refused_and_write_nothing),
		cmocka_unit_test(impossible_clocks_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
