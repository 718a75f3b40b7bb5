/* SPDX-License-Identifier: Apache-2.0 */
/* discipline_test.c - virtual time beside a host whose clock is slewed, stepped and looked at
 * through brackets. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <vmtime/discipline.h>

#include "../random.h"
#include "core/ns.h"

#define SECOND UINT64_C(1000000000)
#define TSC_HZ UINT64_C(2596992000)
#define TICK (SECOND / 10) /* between two samples */
#define PPM INT64_C(1000000)
#define PPT INT64_C(1000000000000)

enum { BOUND_NS = 100 };

/* A host, its clock, and a VM on it.  Real time is the counter's. */
struct host {
	struct vmt_clock clock;
	struct vmt_discipline d;
	struct random random;
	uint64_t counter;
	uint64_t host_ns;
	int64_t host_ppt; /* of its clock beside the counter */
	int64_t said_ppt; /* without slews, by its own account */
	int64_t error_ns; /* of virtual time, as nobody in there can know it */
	int64_t worst_ns; /* since it was last set to 0 */
	int64_t last_ppt;
	uint64_t offset_ns;
	unsigned changes;
	uint64_t last_change_ns, least_between_ns;
};

static struct vmt_discipline_sample sample(struct host *h)
{
	uint64_t off = random_below(&h->random, 2 * BOUND_NS + 1);

	return (struct vmt_discipline_sample){
		.counter = h->counter,
		.host_ns = h->host_ns + off - BOUND_NS,
		.bound_ns = BOUND_NS,
		.said_ppt = h->said_ppt,
	};
}

static struct host started(int64_t host_ppt, int64_t steady_ppt)
{
	const struct vmt_reading at = {.counter = 77, .utc_ns = 0};
	struct host h = {
		.random = random_start(),
		.counter = 77,
		.host_ns = 123456 * SECOND,
		.host_ppt = host_ppt,
		.said_ppt = VMT_DISCIPLINE_UNKNOWN,
		.least_between_ns = UINT64_MAX,
	};
	struct vmt_discipline_sample exact = {h.counter, h.host_ns, 0, 0};

	assert_int_equal(vmt_clock_start(TSC_HZ, &at, &h.clock, NULL), 0);
	assert_int_equal(vmt_discipline_start(&h.d, &h.clock, &exact, steady_ppt), 0);
	h.offset_ns = h.host_ns;
	return h;
}

static void take(struct host *h)
{
	struct vmt_discipline_sample at = sample(h);
	int64_t ppt;
	int result = vmt_discipline_take(&h->d, &h->clock, &at, &ppt);

	assert_true(result == 0 || result == 1);
	if (!result)
		return;
	assert_int_not_equal(ppt, h->clock.discipline_ppt);
	if (h->changes++ && h->host_ns - h->last_change_ns < h->least_between_ns)
		h->least_between_ns = h->host_ns - h->last_change_ns;
	h->last_change_ns = h->host_ns;
	assert_int_equal(vmt_clock_discipline(&h->clock, h->counter, ppt, &h->clock, NULL), 0);
}

static void pass(struct host *h, uint64_t ns)
{
	for (uint64_t end = h->host_ns + ns; h->host_ns < end;) {
		uint64_t counts = TSC_HZ / 10 + random_below(&h->random, 1000);

		h->counter += counts;
		h->host_ns += (uint64_t)((vmt_ns_u128)counts * SECOND *
					 (uint64_t)(PPT + h->host_ppt) / TSC_HZ / PPT);
		h->error_ns = (int64_t)(vmt_clock_now(&h->clock, h->counter) -
					(h->host_ns - h->offset_ns));
		if (llabs(h->error_ns) > h->worst_ns)
			h->worst_ns = llabs(h->error_ns);
		take(h);
	}
}

static void a_known_frequency_is_held_from_the_first_second_on(void **state)
{
	struct host h = started(80 * PPM, 80 * PPM);

	(void)state;
	pass(&h, SECOND + TICK);
	assert_in_range(h.worst_ns, 79900, 88300); /* nothing is done before a second is over */
	pass(&h, 2 * SECOND);
	h.worst_ns = 0;
	pass(&h, 600 * SECOND);
	assert_in_range(h.worst_ns, 0, 200 + 2 * BOUND_NS);
}

static void an_unknown_frequency_is_found(void **state)
{
	struct host h = started(-63 * PPM, 0);

	(void)state;
	pass(&h, 12 * SECOND);
	h.worst_ns = 0;
	pass(&h, 600 * SECOND);
	assert_in_range(h.worst_ns, 0, 200 + 2 * BOUND_NS);
	assert_in_range(h.d.steady_ppt + 63 * PPM + 60000, 0, 120000); /* to 60 ppb */
}

static void an_error_of_20_us_is_gone_within_2_seconds(void **state)
{
	struct host h = started(0, 0);

	(void)state;
	pass(&h, 10 * SECOND);
	h.host_ns += 20000; /* what a second at 20 ppm more leaves */
	pass(&h, TICK);
	pass(&h, 21 * TICK + TICK / 2);
	h.worst_ns = 0;
	pass(&h, 60 * SECOND);
	assert_in_range(h.worst_ns, 0, 1000);
}

static void a_change_comes_at_most_once_a_second(void **state)
{
	struct host h = started(80 * PPM, 0);

	(void)state;
	for (int i = 0; i < 100; i++) {
		h.host_ppt = (int64_t)random_below(&h.random, 200) * PPM - 100 * PPM;
		pass(&h, 2 * SECOND);
	}
	assert_true(h.changes > 50);
	assert_true(h.least_between_ns + 2 * BOUND_NS >= SECOND);
}

/* The guest's pages are written anew with each change. */
static void a_clock_that_is_good_is_left_alone(void **state)
{
	struct host h = started(0, 0);

	(void)state;
	pass(&h, 100 * SECOND);
	h.changes = 0;
	pass(&h, 600 * SECOND);
	assert_in_range(h.changes, 0, 200);
}

/* As when a host that was seconds off is told to make up for it. */
static void a_fast_slew_is_followed_at_100_ppm_and_the_rest_is_known(void **state)
{
	struct host h = started(0, 0);
	int64_t steady;

	(void)state;
	pass(&h, 70 * SECOND);
	steady = h.d.steady_ppt;
	h.host_ppt = 1000 * PPM;
	pass(&h, 10 * SECOND);
	h.host_ppt = 0;
	assert_in_range(h.clock.discipline_ppt, steady + 99 * PPM, steady + 101 * PPM);
	/* 10 ms less what it followed by: 9 s at 100 ppm. */
	assert_in_range(h.d.phase_ns, 9000000, 9150000);
	assert_in_range(h.d.phase_ns + h.error_ns + 2 * BOUND_NS, 0, 4 * BOUND_NS);
	pass(&h, 95 * SECOND);
	h.worst_ns = 0;
	pass(&h, 60 * SECOND);
	assert_in_range(h.worst_ns, 0, 200 + 2 * BOUND_NS);
}

static void the_factor_is_never_more_than_100_ppm_beside_the_steady_one(void **state)
{
	struct host h = started(30 * PPM, 30 * PPM);

	(void)state;
	pass(&h, 70 * SECOND);
	for (int i = 0; i < 40; i++) {
		h.host_ppt = (int64_t)random_below(&h.random, 1800) * PPM - 900 * PPM;
		pass(&h, SECOND);
		assert_true(llabs(h.clock.discipline_ppt - 30 * PPM) <= 101 * PPM ||
			    llabs(h.clock.discipline_ppt - h.d.steady_ppt) <= 100 * PPM);
		h.host_ppt = 30 * PPM;
		pass(&h, 2 * SECOND);
	}
	assert_in_range(h.d.steady_ppt, 29 * PPM, 31 * PPM); /* slews of a second are not steady */
}

static void another_frequency_for_good_becomes_the_steady_one(void **state)
{
	struct host h = started(100 * PPM, 100 * PPM);

	(void)state;
	pass(&h, 70 * SECOND);
	h.host_ppt = -100 * PPM;
	pass(&h, 40 * SECOND);
	assert_in_range(h.d.steady_ppt + 101 * PPM, 0, 2 * PPM);
	pass(&h, 60 * SECOND);
	h.worst_ns = 0;
	pass(&h, 60 * SECOND);
	assert_in_range(h.worst_ns, 0, 200 + 2 * BOUND_NS);
}

/* adjtime(3) of 60 ms takes two minutes. */
static void a_slew_that_the_host_does_not_call_its_frequency_is_never_steady(void **state)
{
	struct host h = started(30 * PPM, 30 * PPM);

	(void)state;
	h.said_ppt = 30 * PPM;
	pass(&h, 10 * SECOND);
	h.host_ppt = 530 * PPM;
	pass(&h, 120 * SECOND);
	assert_in_range(h.d.steady_ppt, 29 * PPM, 31 * PPM);
	assert_in_range(h.clock.discipline_ppt, 129 * PPM, 131 * PPM);
	assert_in_range(h.d.phase_ns, 400 * 119000, 400 * 121000);
	h.host_ppt = 30 * PPM;
	pass(&h, 500 * SECOND);
	h.worst_ns = 0;
	pass(&h, 60 * SECOND);
	assert_in_range(h.worst_ns, 0, 200 + 2 * BOUND_NS);
}

/* An NTP daemon that steers by the frequency: what it says is right at once. */
static void a_frequency_that_the_host_says_is_followed_within_2_seconds(void **state)
{
	struct host h = started(0, 0);

	(void)state;
	h.said_ppt = 0;
	pass(&h, 100 * SECOND);
	h.host_ppt = h.said_ppt = 80 * PPM;
	h.worst_ns = 0;
	pass(&h, SECOND);
	assert_in_range(h.worst_ns, 0, 89000);
	pass(&h, 11 * TICK + TICK / 2);
	h.worst_ns = 0;
	pass(&h, 200 * SECOND);
	assert_in_range(h.worst_ns, 0, 200 + 2 * BOUND_NS);
}

/* What it says may be off by some hundred ppb: the grid of the kernel's multiplier. */
static void what_the_host_does_not_say_is_found_up_to_1_ppm(void **state)
{
	struct host h = started(80 * PPM + 146000, 80 * PPM);

	(void)state;
	h.said_ppt = 80 * PPM;
	pass(&h, 30 * SECOND);
	assert_in_range(h.d.own_ppt, 146000 - 100000, 146000 + 100000);
	h.host_ppt += 100 * PPM;
	pass(&h, 70 * SECOND);
	assert_int_equal(h.d.own_ppt, PPM);
	assert_in_range(h.d.steady_ppt, 80 * PPM, 81 * PPM);
}

/* Its counter was set, or went on while its clock stood still: at 100 ppm it takes years. */
static void a_host_whose_counter_and_clock_part_has_to_be_met_anew(void **state)
{
	struct host h = started(0, 0);
	struct vmt_discipline_sample at;
	struct vmt_discipline before;
	int64_t ppt;

	(void)state;
	pass(&h, 10 * SECOND);
	before = h.d;
	h.counter += TSC_HZ / 10;
	h.host_ns += TICK;
	at = sample(&h);
	at.counter += TSC_HZ * 3600; /* it slept for an hour */
	assert_int_equal(vmt_discipline_take(&h.d, &h.clock, &at, &ppt), -ERANGE);
	at = sample(&h);
	at.counter -= TSC_HZ; /* its counter was set */
	assert_int_equal(vmt_discipline_take(&h.d, &h.clock, &at, &ppt), -ERANGE);
	at = sample(&h);
	at.host_ns -= SECOND / 2;
	assert_int_equal(vmt_discipline_take(&h.d, &h.clock, &at, &ppt), -ERANGE);
	assert_memory_equal(&before, &h.d, sizeof(before));
	h.counter += TSC_HZ * 3600;
	at = sample(&h);
	assert_int_equal(vmt_discipline_start(&h.d, &h.clock, &at, h.d.steady_ppt), 0);
	h.offset_ns = h.host_ns - vmt_clock_now(&h.clock, h.counter);
	h.worst_ns = 0;
	pass(&h, 100 * SECOND);
	assert_in_range(h.worst_ns, 0, 500);
}

/* A laptop that slept, a thread that starved: no second is made of it. */
static void a_long_time_without_samples_teaches_no_frequency(void **state)
{
	struct host h = started(50 * PPM, 50 * PPM);
	int64_t steady;

	(void)state;
	pass(&h, 70 * SECOND);
	steady = h.d.steady_ppt;
	h.counter += TSC_HZ * 1000;
	h.host_ns += 1001 * SECOND;
	take(&h);
	assert_int_equal(h.d.steady_ppt, steady);
	assert_in_range(h.d.phase_ns, SECOND - 60000000, SECOND + 60000000);
}

static void a_warped_clock_keeps_to_the_hosts_seconds_too(void **state)
{
	struct host h = started(40 * PPM, 40 * PPM);
	struct vmt_discipline_sample at;

	(void)state;
	assert_int_equal(vmt_clock_rate(&h.clock, h.counter, 3, 1, &h.clock, NULL), 0);
	at = (struct vmt_discipline_sample){h.counter, h.host_ns, 0, 0};
	assert_int_equal(vmt_discipline_start(&h.d, &h.clock, &at, 40 * PPM), 0);
	pass(&h, 100 * SECOND);
	assert_in_range(llabs(h.d.phase_ns), 0, 3 * 200 + 3 * BOUND_NS);
}

static void what_cannot_be_is_refused(void **state)
{
	struct host h = started(0, 0);
	struct vmt_discipline_sample at = {h.counter, h.host_ns, 0, 0};
	struct vmt_discipline before;
	struct vmt_clock paused;
	int64_t ppt = 5;

	(void)state;
	pass(&h, 3 * SECOND);
	before = h.d;
	assert_int_equal(vmt_discipline_take(&h.d, &h.clock, &at, &ppt), -ERANGE);
	at = (struct vmt_discipline_sample){h.counter, h.host_ns, 0, 0};
	assert_int_equal(vmt_clock_pause(&h.clock, h.counter, &paused, NULL), 0);
	assert_int_equal(vmt_discipline_take(&h.d, &paused, &at, &ppt), -EINVAL);
	assert_int_equal(vmt_discipline_start(&h.d, &paused, &at, 0), -EINVAL);
	assert_int_equal(vmt_discipline_start(&h.d, &h.clock, &at, 1000 * PPM + 1), -EINVAL);
	at.counter = h.clock.base_counter - 1;
	assert_int_equal(vmt_discipline_start(&h.d, &h.clock, &at, 0), -EINVAL);
	assert_memory_equal(&before, &h.d, sizeof(before));
	assert_int_equal(ppt, 5);
}

/* At TSC_HZ a gap of `s` seconds, at whose end the host's clock shows `more_ns` more. */
static int64_t over_gap(int64_t steady_ppt, uint64_t s, int64_t more_ns, uint64_t bound_ns)
{
	const struct vmt_discipline d = {.steady_ppt = steady_ppt};
	const struct vmt_discipline_sample from = {1000, 5 * SECOND, bound_ns};
	const struct vmt_discipline_sample to = {1000 + s * TSC_HZ,
						 (5 + s) * SECOND + (uint64_t)more_ns, bound_ns};

	return vmt_discipline_gap(&d, TSC_HZ, &from, &to);
}

static void a_gap_is_counted_at_the_steady_frequency_or_the_nearest_that_was(void **state)
{
	(void)state;
	assert_int_equal(over_gap(3 * PPM, 5, 15000, BOUND_NS), 3 * PPM);
	assert_int_equal(over_gap(3 * PPM, 5, 15000 + 2 * BOUND_NS, BOUND_NS), 3 * PPM);
	/* A ns beyond what the samples allow is one in five seconds. */
	assert_int_equal(over_gap(3 * PPM, 5, 15000 + 2 * BOUND_NS + 1, BOUND_NS), 3 * PPM + 200);
	assert_int_equal(over_gap(3 * PPM, 5, 15000 - 2 * BOUND_NS - 1, BOUND_NS), 3 * PPM - 200);
	assert_int_equal(over_gap(3 * PPM, 3600, 3600 * 5000, 0), 5 * PPM);
	assert_int_equal(over_gap(0, 3600, 3600 * INT64_C(2000000), 0), VMT_CLOCK_PPT);
	assert_int_equal(over_gap(0, 3600, -3600 * INT64_C(2000000), 0), -VMT_CLOCK_PPT);
	assert_int_equal(over_gap(7, 0, 0, 0), 7); /* it was none */
}

/* 40 us late, 60 s of suspend that went on or did not, another counter. */
static void a_suspend_leaves_the_phase_as_it_was(void **state)
{
	(void)state;
	for (uint64_t skipped_ns = 0; skipped_ns <= 60 * SECOND; skipped_ns += 60 * SECOND) {
		struct host h = started(0, 0);
		struct vmt_suspend suspend = {.awake_ns = SECOND, .suspended_ns = 60 * SECOND};
		struct vmt_reading reading = {.counter = 5};
		struct vmt_discipline_sample at;
		int64_t ppt;

		pass(&h, SECOND);
		h.d.start_ns += 40000;
		suspend.before_ns = vmt_clock_now(&h.clock, h.counter);
		at = (struct vmt_discipline_sample){5, h.host_ns + SECOND, BOUND_NS, 0};
		assert_int_equal(vmt_clock_suspend(&h.clock, &suspend, &reading, skipped_ns ? 0 : 1,
						   0, &h.clock, NULL),
				 0);
		assert_int_equal(vmt_discipline_skip(&h.d, &h.clock, &at, skipped_ns), 0);
		assert_true(vmt_discipline_take(&h.d, &h.clock, &at, &ppt) >= 0);
		assert_in_range(h.d.phase_ns, 40000 - 3 * BOUND_NS, 40000 + 3 * BOUND_NS);
		at.counter = 4;
		assert_int_equal(vmt_discipline_skip(&h.d, &h.clock, &at, 0), -EINVAL);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_known_frequency_is_held_from_the_first_second_on),
		cmocka_unit_test(an_unknown_frequency_is_found),
		cmocka_unit_test(an_error_of_20_us_is_gone_within_2_seconds),
		cmocka_unit_test(a_change_comes_at_most_once_a_second),
		cmocka_unit_test(a_clock_that_is_good_is_left_alone),
		cmocka_unit_test(a_fast_slew_is_followed_at_100_ppm_and_the_rest_is_known),
		cmocka_unit_test(the_factor_is_never_more_than_100_ppm_beside_the_steady_one),
		cmocka_unit_test(another_frequency_for_good_becomes_the_steady_one),
		cmocka_unit_test(a_slew_that_the_host_does_not_call_its_frequency_is_never_steady),
		cmocka_unit_test(a_frequency_that_the_host_says_is_followed_within_2_seconds),
		cmocka_unit_test(what_the_host_does_not_say_is_found_up_to_1_ppm),
		cmocka_unit_test(a_host_whose_counter_and_clock_part_has_to_be_met_anew),
		cmocka_unit_test(a_long_time_without_samples_teaches_no_frequency),
		cmocka_unit_test(a_warped_clock_keeps_to_the_hosts_seconds_too),
		cmocka_unit_test(a_gap_is_counted_at_the_steady_frequency_or_the_nearest_that_was),
		cmocka_unit_test(what_cannot_be_is_refused),
		cmocka_unit_test(a_suspend_leaves_the_phase_as_it_was),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
