/* SPDX-License-Identifier: Apache-2.0 */
/* pmtmr_test.c - the power-management timer, its status, and the power button. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include <vmtime/pmtmr.h>

#include "core/ns.h"
#include "core/snap.h"

enum { STS = VMT_PMTMR_STS, EN = VMT_PMTMR_EN, TMR = VMT_PMTMR_TMR };

/* First nanosecond of a half of the 24-bit counter: 2^23 ticks, rounded up. */
#define HALF_24 UINT64_C(2343484438)
#define HOUR UINT64_C(3600000000000)

static struct vmt_pmtmr powered_on(uint32_t bits)
{
	struct vmt_pmtmr s;

	assert_int_equal(vmt_pmtmr_init(&s, 0, bits), 0);
	return s;
}

static uint32_t get(struct vmt_pmtmr *s, vmt_ns now, uint32_t reg, uint32_t width)
{
	uint32_t value;

	vmt_pmtmr_read(s, now, reg, width, &value);
	return value;
}

static void counts_exactly_for_an_hour_and_for_ten_years(void **state)
{
	const uint64_t year = UINT64_C(31557600);

	(void)state;
	assert_int_equal(vmt_pmtmr_peek(HOUR, 32), UINT64_C(3579545) * 3600 & UINT32_MAX);
	assert_int_equal(vmt_pmtmr_peek(HOUR, 24), UINT64_C(3579545) * 3600 & 0xffffff);
	assert_int_equal(vmt_pmtmr_peek(HOUR - 1, 32), (UINT64_C(3579545) * 3600 - 1) & UINT32_MAX);
	assert_int_equal(vmt_pmtmr_peek(year * 10 * 1000000000, 32),
			 UINT64_C(3579545) * year * 10 & UINT32_MAX);
	assert_int_equal(vmt_pmtmr_peek(0, 24), 0);
}

/* As in every face, whoever passes a smaller `now` is answered as of the largest. */
static void a_smaller_now_does_not_count_back(void **state)
{
	struct vmt_pmtmr s = powered_on(24);
	struct vmt_out out;
	uint32_t value;

	(void)state;
	assert_int_equal(get(&s, 1000000, TMR, 4), 3579);
	out = vmt_pmtmr_read(&s, 500000, TMR, 4, &value);
	assert_int_equal(value, 3579);
	vmt_pmtmr_reset(&s, 400000);
	assert_int_equal(get(&s, 300000, TMR, 4), 3579);
	assert_int_equal(get(&s, 1000279, TMR, 4), 3580);
	out = vmt_pmtmr_write(&s, HALF_24 + 1, EN, 2, VMT_PMTMR_TIMER);
	assert_int_equal(out.level, 1);
	out = vmt_pmtmr_write(&s, HALF_24 - 1, STS, 2, VMT_PMTMR_TIMER);
	assert_int_equal(out.level, 0);
	assert_int_equal(out.deadline, vmt_ns_of_tick(UINT64_C(2) << 23, VMT_PMTMR_HZ));
}

static void every_width_and_offset_shows_its_bytes(void **state)
{
	struct vmt_pmtmr s = powered_on(24);
	vmt_ns now = vmt_ns_of_tick(0x00abcdef, VMT_PMTMR_HZ);

	(void)state;
	assert_int_equal(get(&s, now, TMR, 4), 0x00abcdef);
	assert_int_equal(get(&s, now, TMR, 2), 0xcdef);
	assert_int_equal(get(&s, now, TMR + 2, 2), 0x00ab);
	assert_int_equal(get(&s, now, TMR + 1, 1), 0xcd);
	assert_int_equal(get(&s, now, TMR + 3, 1), 0x00);
	assert_int_equal(get(&s, now, TMR + 2, 4), 0x00ab); /* beyond it: 0 */
	vmt_pmtmr_write(&s, now, EN, 2, 0x8521);
	assert_int_equal(get(&s, now, STS, 4) >> 16, 0x8521);
	assert_int_equal(get(&s, now, EN + 1, 1), 0x85);
	vmt_pmtmr_write(&s, now, EN + 1, 1, 0x01);
	assert_int_equal(get(&s, now, EN, 2), 0x0121);
	vmt_pmtmr_write(&s, now, TMR, 4, 0xffffffff); /* read only */
	assert_int_equal(get(&s, now, TMR, 4), 0x00abcdef);
	assert_int_equal(get(&s, now, 4, 4), 0);
	assert_int_equal(get(&s, now, UINT32_MAX, 4), 0);
	vmt_pmtmr_write(&s, now, UINT32_MAX, 4, 0xffffffff);
	assert_int_equal(get(&s, now, EN, 2), 0x0121);
}

static void status_is_set_at_each_change_of_the_top_bit(void **state)
{
	struct vmt_pmtmr s = powered_on(24), wide = powered_on(32);

	(void)state;
	assert_int_equal(get(&s, HALF_24 - 1, STS, 2), 0);
	assert_int_equal(get(&s, HALF_24, STS, 2), VMT_PMTMR_TIMER);
	vmt_pmtmr_write(&s, HALF_24, STS, 2, VMT_PMTMR_TIMER);
	assert_int_equal(get(&s, HALF_24, STS, 2), 0);
	assert_int_equal(get(&s, 2 * HALF_24 - 2, STS, 2), 0);
	assert_int_equal(get(&s, 2 * HALF_24, STS, 2),
			 VMT_PMTMR_TIMER); /* the falling change too */
	assert_int_equal(get(&wide, 255 * HALF_24, STS, 2), 0);
	assert_int_equal(get(&wide, 256 * HALF_24, STS, 2), VMT_PMTMR_TIMER);
}

static void overflow_interrupts_once_per_half_wrap(void **state)
{
	struct vmt_pmtmr s = powered_on(24);
	struct vmt_out out = vmt_pmtmr_write(&s, 0, EN, 2, VMT_PMTMR_TIMER);

	(void)state;
	assert_int_equal(out.deadline, HALF_24);
	assert_int_equal(vmt_pmtmr_advance(&s, HALF_24 - 1).level, 0);
	out = vmt_pmtmr_advance(&s, HALF_24);
	assert_int_equal(out.level, 1);
	assert_int_equal(out.rises[VMT_PMTMR_SCI], 1);
	assert_int_equal(out.deadline, VMT_NEVER); /* high until the guest clears it */
	assert_int_equal(vmt_pmtmr_advance(&s, HALF_24).rises[VMT_PMTMR_SCI], 0);
	out = vmt_pmtmr_write(&s, HALF_24, STS, 2, VMT_PMTMR_TIMER);
	assert_int_equal(out.level, 0);
	assert_int_equal(out.deadline, vmt_ns_of_tick(UINT64_C(2) << 23, VMT_PMTMR_HZ));
	/* acknowledged late, past the next change: that one is not lost */
	out = vmt_pmtmr_write(&s, 3 * HALF_24, STS, 2, VMT_PMTMR_TIMER);
	assert_int_equal(out.rises[VMT_PMTMR_SCI], 1);
	assert_int_equal(out.level, 0);
}

static void enabling_with_status_set_interrupts_at_once(void **state)
{
	struct vmt_pmtmr s = powered_on(24);
	struct vmt_out out;

	(void)state;
	vmt_pmtmr_advance(&s, HALF_24);
	out = vmt_pmtmr_write(&s, HALF_24, EN, 2, VMT_PMTMR_TIMER);
	assert_int_equal(out.level, 1);
	assert_int_equal(out.rises[VMT_PMTMR_SCI], 1);
}

static void the_power_button_waits_for_whoever_enables_it(void **state)
{
	struct vmt_pmtmr s = powered_on(24);
	struct vmt_out out;

	(void)state;
	assert_int_equal(vmt_pmtmr_button(&s, 5).level, 0);
	out = vmt_pmtmr_write(&s, 6, EN, 2, VMT_PMTMR_BUTTON | VMT_PMTMR_TIMER);
	assert_int_equal(out.level, 1);
	/* the line is high already: the timer's overflow changes nothing that could be seen */
	assert_int_equal(out.deadline, VMT_NEVER);
	assert_int_equal(get(&s, HALF_24, STS, 2), VMT_PMTMR_BUTTON | VMT_PMTMR_TIMER);
	out = vmt_pmtmr_write(&s, HALF_24, STS + 1, 1, VMT_PMTMR_BUTTON >> 8);
	assert_int_equal(out.level, 1);
	out = vmt_pmtmr_write(&s, HALF_24, STS, 1, VMT_PMTMR_TIMER);
	assert_int_equal(out.level, 0);
	assert_int_equal(vmt_pmtmr_button(&s, HALF_24 + 1).rises[VMT_PMTMR_SCI], 1);
}

static void a_bus_reset_clears_the_registers_and_not_the_counter(void **state)
{
	struct vmt_pmtmr s = powered_on(32);

	(void)state;
	vmt_pmtmr_write(&s, HOUR, EN, 2, 0xffff);
	vmt_pmtmr_button(&s, HOUR);
	vmt_pmtmr_reset(&s, HOUR);
	assert_int_equal(get(&s, HOUR, STS, 4), 0);
	assert_int_equal(get(&s, HOUR, TMR, 4), vmt_pmtmr_peek(HOUR, 32));
	assert_int_equal(vmt_pmtmr_init(&s, 0, 16), -EINVAL);
}

static struct vmt_pmtmr filled(void)
{
	struct vmt_pmtmr s = powered_on(24);

	vmt_pmtmr_write(&s, 5 * HALF_24, EN, 2, 0x4321);
	vmt_pmtmr_button(&s, 5 * HALF_24);
	return s;
}

static void saves_every_field(void **state)
{
	struct vmt_pmtmr s = filled(), back = powered_on(24);
	uint8_t bytes[VMT_PMTMR_SAVED];
	int size = vmt_pmtmr_save(&s, bytes, sizeof(bytes));

	(void)state;
	assert_int_equal(vmt_pmtmr_load(&back, 5 * HALF_24, bytes, (size_t)size), 0);
	assert_memory_equal(&back, &s, sizeof(s));
	assert_int_equal(vmt_pmtmr_save(&s, bytes, (size_t)size - 1), -ENOSPC);
}

static int loads(struct vmt_pmtmr s, vmt_ns now)
{
	struct vmt_pmtmr back = powered_on(24), before = back;
	uint8_t bytes[VMT_PMTMR_SAVED];
	int result =
		vmt_pmtmr_load(&back, now, bytes, (size_t)vmt_pmtmr_save(&s, bytes, sizeof(bytes)));

	if (result)
		assert_memory_equal(&back, &before, sizeof(back));
	return result;
}

static void impossible_states_are_refused(void **state)
{
	struct vmt_pmtmr s = filled();

	(void)state;
	assert_int_equal(loads(s, 5 * HALF_24), 0);
	assert_int_equal(loads(s, 5 * HALF_24 - 1000), -EINVAL); /* from the future */
	s.bits = 32;
	assert_int_equal(loads(s, 5 * HALF_24), -EINVAL); /* of another machine */
	s = filled();
	s.status = 0x8000; /* nothing sets it */
	assert_int_equal(loads(s, 5 * HALF_24), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(counts_exactly_for_an_hour_and_for_ten_years),
		cmocka_unit_test(a_smaller_now_does_not_count_back),
		cmocka_unit_test(every_width_and_offset_shows_its_bytes),
		cmocka_unit_test(status_is_set_at_each_change_of_the_top_bit),
		cmocka_unit_test(overflow_interrupts_once_per_half_wrap),
		cmocka_unit_test(enabling_with_status_set_interrupts_at_once),
		cmocka_unit_test(the_power_button_waits_for_whoever_enables_it),
		cmocka_unit_test(a_bus_reset_clears_the_registers_and_not_the_counter),
		cmocka_unit_test(saves_every_field),
		cmocka_unit_test(impossible_states_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
