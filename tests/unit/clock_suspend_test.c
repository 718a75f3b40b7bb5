/* SPDX-License-Identifier: Apache-2.0 */
/* clock_suspend_test.c - the virtual clock over a suspend of its host, whatever the counter did. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include <vmtime/clock.h>

#include "../random.h"

#define SECOND UINT64_C(1000000000)
#define MINUTE (60 * SECOND)
#define HZ UINT64_C(2000000000)
#define NOON INT64_C(1700000000000000000)
#define BEGAN 5000 /* the count at power-on */

static struct vmt_clock running(void)
{
	const struct vmt_reading at = {.counter = BEGAN, .utc_ns = NOON, .utc_bound_ns = 50};
	struct vmt_clock c;

	assert_int_equal(vmt_clock_start(HZ, &at, &c, NULL), 0);
	return c;
}

static struct vmt_change over(struct vmt_clock *c, uint64_t counter, uint32_t policy,
			      uint64_t limit_ns)
{
	const struct vmt_suspend suspend = {
		.before_ns = SECOND,
		.awake_ns = 2 * SECOND,
		.suspended_ns = MINUTE,
		.shown_ns = SECOND + 5,
	};
	const struct vmt_reading at = {
		.counter = counter,
		.utc_ns = NOON + (int64_t)(3 * SECOND + MINUTE),
		.utc_bound_ns = 70,
	};
	struct vmt_change change;

	assert_int_equal(vmt_clock_suspend(c, &suspend, &at, policy, limit_ns, c, &change), 0);
	assert_int_equal(vmt_clock_now(c, counter), change.after_ns);
	assert_int_equal(vmt_clock_now(c, counter + HZ), change.after_ns + SECOND);
	assert_int_equal(vmt_clock_utc(c, change.after_ns), at.utc_ns);
	return change;
}

/* Counted on, stood still, or began anew. */
static const uint64_t counters[] = {BEGAN + 63 * HZ, BEGAN + 3 * HZ, 17};

static void what_the_counter_did_meanwhile_does_not_matter(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		struct vmt_clock went_on = running(), stood = running();
		struct vmt_change on = over(&went_on, counters[i], VMT_POLICY_CONTINUE, 0);
		struct vmt_change still = over(&stood, counters[i], VMT_POLICY_FREEZE, 0);

		assert_int_equal(on.after_ns, 3 * SECOND + MINUTE);
		assert_int_equal(still.after_ns, 3 * SECOND);
		assert_int_equal(went_on.utc_offset_ns, NOON);
		assert_int_equal(stood.utc_offset_ns, NOON + (int64_t)MINUTE);
	}
}

static void the_record_tells_the_gap_and_the_policy(void **state)
{
	struct vmt_clock c = running();
	const struct vmt_change change = over(&c, counters[0], VMT_POLICY_CONTINUE, 0);

	(void)state;
	assert_int_equal(change.kind, VMT_CHANGE_SUSPEND);
	assert_int_equal(change.policy, VMT_POLICY_CONTINUE);
	assert_int_equal(change.counter, counters[0]);
	assert_int_equal(change.before_ns, 3 * SECOND);
	assert_int_equal(change.gap_ns, MINUTE);
	assert_int_equal(change.utc_step_ns, 0);
	assert_int_equal(change.bound_ns, 70);
	assert_int_equal(change.epoch, 2);
}

/* The guest may not have run since the last look. */
static void auto_continues_as_far_as_the_guest_can_see(void **state)
{
	const uint64_t away_ns = MINUTE + 2 * SECOND;
	struct vmt_clock c = running();

	(void)state;
	assert_int_equal(over(&c, 17, VMT_POLICY_AUTO, away_ns).policy, VMT_POLICY_CONTINUE);
	c = running();
	assert_int_equal(over(&c, 17, VMT_POLICY_AUTO, away_ns - 1).policy, VMT_POLICY_FREEZE);
}

static void what_was_shown_is_not_taken_back(void **state)
{
	struct vmt_suspend suspend = {
		.before_ns = SECOND, .awake_ns = 10, .suspended_ns = MINUTE, .shown_ns = MINUTE};
	const struct vmt_reading at = {.counter = 1, .utc_ns = NOON};
	struct vmt_clock c = running();

	(void)state;
	assert_int_equal(vmt_clock_suspend(&c, &suspend, &at, VMT_POLICY_FREEZE, 0, &c, NULL), 0);
	assert_int_equal(vmt_clock_now(&c, 1), MINUTE);
	suspend.suspended_ns = UINT64_MAX; /* saturates */
	assert_int_equal(vmt_clock_suspend(&c, &suspend, &at, VMT_POLICY_CONTINUE, 0, &c, NULL), 0);
	assert_true(vmt_clock_now(&c, UINT64_MAX) < VMT_NEVER);
}

static void a_warped_clock_takes_both_times_warped(void **state)
{
	struct vmt_clock c = running();

	(void)state;
	assert_int_equal(vmt_clock_rate(&c, BEGAN, 3, 2, &c, NULL), 0);
	{
		const struct vmt_suspend suspend = {
			.before_ns = SECOND, .awake_ns = 2 * SECOND, .suspended_ns = MINUTE};
		const struct vmt_reading at = {.counter = 17, .utc_ns = NOON};
		struct vmt_change change;

		assert_int_equal(
			vmt_clock_suspend(&c, &suspend, &at, VMT_POLICY_CONTINUE, 0, &c, &change),
			0);
		assert_int_equal(change.before_ns, 4 * SECOND);
		assert_int_equal(change.after_ns, 94 * SECOND);
	}
}

static void what_cannot_be_is_refused(void **state)
{
	const struct vmt_reading at = {.counter = 17, .utc_ns = NOON};
	const struct vmt_suspend good = {.before_ns = SECOND},
				 bad[] = {{.before_ns = VMT_NEVER}, {.shown_ns = VMT_NEVER}};
	struct vmt_clock c = running(), paused, untouched;

	(void)state;
	assert_int_equal(vmt_clock_pause(&c, BEGAN + 1, &paused, NULL), 0);
	memset(&untouched, 0x5a, sizeof(untouched));
	assert_int_equal(vmt_clock_suspend(&paused, &good, &at, 0, 0, &untouched, NULL), -EINVAL);
	assert_int_equal(vmt_clock_suspend(&c, &good, &at, 3, 0, &untouched, NULL), -EINVAL);
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(vmt_clock_suspend(&c, &bad[i], &at, 0, 0, &untouched, NULL),
				 -EINVAL);
	assert_int_equal(untouched.epoch, UINT64_C(0x5a5a5a5a5a5a5a5a));
}

/* Whatever the host's clocks say: time does not go back, and freeze is the other one's less the
 * time suspended. */
static void policies_differ_by_the_time_suspended_alone(void **state)
{
	struct random random = random_start();

	(void)state;
	for (int i = 0; i < 100000; i++) {
		const struct vmt_suspend suspend = {
			.before_ns = random_wide(&random) >> 2,
			.awake_ns = random_wide(&random) >> 2,
			.suspended_ns = random_wide(&random) >> 2,
			.shown_ns = 0,
		};
		const struct vmt_reading at = {.counter = random_wide(&random)};
		struct vmt_clock c = running(), on, still;

		assert_int_equal(vmt_clock_suspend(&c, &suspend, &at, 0, 0, &on, NULL), 0);
		assert_int_equal(vmt_clock_suspend(&c, &suspend, &at, 1, 0, &still, NULL), 0);
		assert_int_equal(on.base_ns - still.base_ns, suspend.suspended_ns);
		assert_true(still.base_ns >= suspend.before_ns);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_the_counter_did_meanwhile_does_not_matter),
		cmocka_unit_test(the_record_tells_the_gap_and_the_policy),
		cmocka_unit_test(auto_continues_as_far_as_the_guest_can_see),
		cmocka_unit_test(what_was_shown_is_not_taken_back),
		cmocka_unit_test(a_warped_clock_takes_both_times_warped),
		cmocka_unit_test(what_cannot_be_is_refused),
		cmocka_unit_test(policies_differ_by_the_time_suspended_alone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
