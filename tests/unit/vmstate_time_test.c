/* SPDX-License-Identifier: Apache-2.0 */
/* vmstate_time_test.c - a machine's time comes to another host: what it shows there, and when it is
 * refused. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "kvm/vmstate_time.h"

enum { KHZ = 2500000, CPUS = 2, S = 1000000000 };

#define UTC INT64_C(1750000000000000000)
#define COUNT UINT64_C(123456789012)

static struct vmt_tsc tscs(uint32_t khz, uint32_t frac)
{
	const struct vmt_tsc_host host = {.khz = khz, .frac = frac, .tolerance_ppm = 250};
	struct vmt_tsc tsc;

	assert_int_equal(vmt_tsc_init(&tsc, CPUS, &host), 0);
	return tsc;
}

/* A machine that has run for 100 s, and whose second CPU's guest has moved its TSC by 7.  Its host
 * takes it for `host_ns` later than the machine does, and says more of itself if it migrates. */
static struct vmstate_parts saved_from(int64_t ppt, uint64_t limit_ns, int64_t host_ns,
				       struct hosts_reading *host)
{
	struct vmt_reading start = {.counter = 1000, .utc_ns = UTC, .utc_bound_ns = 40};
	struct vmstate_instant at = {.tsc = 1000 + UINT64_C(100) * KHZ * 1000,
				     .limit_ns = limit_ns};
	struct vmt_tsc tsc = tscs(KHZ, 0);
	struct vmstate_parts parts = {0};
	struct vmt_clock clock;

	assert_int_equal(vmt_clock_start((uint64_t)KHZ * 1000, &start, &clock, NULL), 0);
	assert_int_equal(vmt_clock_discipline(&clock, 1000, ppt, &clock, NULL), 0);
	assert_int_equal(vmt_clock_pause(&clock, at.tsc, &clock, NULL), 0);
	at.at = (struct vmt_reading){
		.counter = at.tsc,
		.utc_ns = vmt_clock_utc(&clock, clock.base_ns) + host_ns,
		.utc_bound_ns = 50,
	};
	vmt_tsc_set(&tsc, at.tsc, COUNT);
	tsc.adjust[1] = 7;
	if (host) {
		host->tsc = at.tsc;
		host->tsc_khz = KHZ;
		host->utc_ns = at.at.utc_ns;
		at.host = host;
		at.late_ns = -75;
	}
	assert_int_equal(vmstate_time_save(&clock, &at, &tsc, &parts, NULL), 0);
	return parts;
}

static struct vmstate_parts saved_with(int64_t ppt, uint64_t limit_ns)
{
	return saved_from(ppt, limit_ns, 0, NULL);
}

static struct vmstate_parts saved(int64_t ppt)
{
	return saved_with(ppt, INT64_C(60) * S);
}

static struct vmstate_time_config later(int64_t ns, uint32_t policy)
{
	return (struct vmstate_time_config){
		.now = {.tsc = 77,
			.at = {.counter = 77,
			       .utc_ns = UTC + INT64_C(100) * S + ns,
			       .utc_bound_ns = 60}},
		.counter_hz = (uint64_t)KHZ * 1000,
		.policy = policy,
	};
}

static struct vmstate_time load(int64_t ppt, const struct vmstate_time_config *config,
				struct vmt_tsc *tsc)
{
	struct vmstate_parts parts = saved(ppt);
	struct vmstate_time t;
	struct why why = {""};

	if (vmstate_time_load(&parts, config, tsc, &t, &why) < 0)
		fail_msg("%s", why.text);
	vmstate_parts_free(&parts);
	return t;
}

static void refused(const struct vmstate_time_config *config, struct vmt_tsc *tsc, int error,
		    const char *words)
{
	struct vmstate_parts parts = saved(0);
	const struct vmt_tsc before = *tsc;
	struct vmstate_time t;
	struct why why = {""};

	assert_int_equal(vmstate_time_load(&parts, config, tsc, &t, &why), error);
	if (!strstr(why.text, words))
		fail_msg("\"%s\" is not in: %s", words, why.text);
	assert_memory_equal(tsc, &before, sizeof(before));
	vmstate_parts_free(&parts);
}

static void frozen_time_goes_on_where_it_stood(void **state)
{
	struct vmstate_time_config config = later(INT64_C(10) * S, VMT_POLICY_FREEZE);
	struct vmt_tsc tsc = tscs(KHZ, 0);
	struct vmstate_time t = load(0, &config, &tsc);

	(void)state;
	assert_int_equal(vmt_clock_now(&t.clock, 77), INT64_C(100) * S);
	assert_int_equal(vmt_clock_utc(&t.clock, INT64_C(100) * S), UTC + INT64_C(110) * S);
	assert_int_equal(t.passed_ns, 0);
	assert_int_equal(t.change.gap_ns, INT64_C(10) * S);
	assert_int_equal(t.change.policy, VMT_POLICY_FREEZE);
	assert_int_equal(t.change.bound_ns, 50 + 60);
	assert_true(vmt_tsc_at(&tsc, 0, 77) == COUNT);
	assert_true(vmt_tsc_at(&tsc, 1, 77) == COUNT + 7);
	assert_true(vmt_tsc_at(&tsc, 0, 177) == COUNT + 100);
	assert_true(t.tsc_count == COUNT);
	assert_int_equal(t.stopped_ns, INT64_C(100) * S);
	assert_int_equal(t.tsc_ppb, 0);
}

static void time_that_went_on_is_right_at_once(void **state)
{
	struct vmstate_time_config config = later(INT64_C(10) * S, VMT_POLICY_AUTO);
	struct vmt_tsc tsc = tscs(KHZ, 0);
	struct vmstate_time t = load(0, &config, &tsc);

	(void)state;
	assert_int_equal(vmt_clock_now(&t.clock, 77), INT64_C(110) * S);
	assert_int_equal(vmt_clock_utc(&t.clock, INT64_C(110) * S), UTC + INT64_C(110) * S);
	assert_int_equal(t.change.policy, VMT_POLICY_CONTINUE);
	assert_true(vmt_tsc_at(&tsc, 0, 77) == COUNT + UINT64_C(10) * KHZ * 1000);
	assert_true(vmt_tsc_at(&tsc, 1, 77) == COUNT + UINT64_C(10) * KHZ * 1000 + 7);
	assert_true(t.tsc_count == COUNT); /* as it was */
}

/* As long as its guest could take when it was stopped. */
static void a_gap_that_is_too_long_for_the_guest_freezes(void **state)
{
	struct vmstate_time_config config = later(INT64_C(10) * S, VMT_POLICY_AUTO);
	struct vmt_tsc tsc = tscs(KHZ, 0);
	struct vmstate_parts parts = saved_with(0, INT64_C(9) * S);
	struct vmstate_time t;

	(void)state;
	assert_int_equal(vmstate_time_load(&parts, &config, &tsc, &t, NULL), 0);
	assert_int_equal(t.change.policy, VMT_POLICY_FREEZE);
	assert_int_equal(t.limit_ns, INT64_C(9) * S);
	vmstate_parts_free(&parts);
}

/* The old host's crystal was 30 ppm slow: in 10 s its TSC would have made that many counts less. */
static void a_tsc_goes_on_at_the_rate_that_it_really_had(void **state)
{
	struct vmstate_time_config config = later(0, VMT_POLICY_CONTINUE);
	struct vmt_tsc tsc = tscs(KHZ, 0);
	uint64_t counts;

	(void)state;
	/* 100 s of counts were 100.003 s */
	config.now.at.utc_ns += INT64_C(3000000) + INT64_C(10) * S;
	struct vmstate_time t = load(30000000, &config, &tsc);

	assert_int_equal(t.passed_ns, INT64_C(10) * S);
	counts = vmt_tsc_at(&tsc, 0, 77) - COUNT;
	assert_in_range(counts, UINT64_C(24999250022), UINT64_C(24999250023)); /* 25e9 / 1.00003 */
}

static void an_hour_is_no_less_exact(void **state)
{
	struct vmstate_time_config config =
		later(INT64_C(3600) * S + 123456789, VMT_POLICY_CONTINUE);
	struct vmt_tsc tsc = tscs(KHZ, 0);
	struct vmstate_time t = load(0, &config, &tsc);

	(void)state;
	assert_int_equal(t.passed_ns, INT64_C(3600) * S + 123456789);
	assert_true(vmt_tsc_at(&tsc, 0, 77) - COUNT == UINT64_C(9000308641972));
}

static void a_saved_time_in_the_future_freezes_and_is_told(void **state)
{
	struct vmstate_time_config config = later(-INT64_C(5) * S, VMT_POLICY_CONTINUE);
	struct vmt_tsc tsc = tscs(KHZ, 0);
	struct vmstate_time t = load(0, &config, &tsc);

	(void)state;
	assert_int_equal(t.future_ns, INT64_C(5) * S);
	assert_int_equal(t.passed_ns, 0);
	assert_int_equal(t.change.policy, VMT_POLICY_FREEZE);
	assert_int_equal(vmt_clock_now(&t.clock, 77), INT64_C(100) * S);
	assert_int_equal(vmt_clock_utc(&t.clock, INT64_C(100) * S), UTC + INT64_C(95) * S);
	assert_true(vmt_tsc_at(&tsc, 0, 77) == COUNT);
}

/* --date: the guest lives in 1999, and ten seconds later it is ten seconds later there. */
static void a_date_of_its_own_goes_on(void **state)
{
	struct vmstate_time_config config = later(INT64_C(10) * S, VMT_POLICY_FREEZE);
	struct vmt_tsc tsc = tscs(KHZ, 0);
	struct vmstate_parts parts = saved(0);
	struct vmstate_time t;

	(void)state;
	config.own_utc = true;
	/* the hosts' UTC, of both, is another than the machine's */
	config.now.at.utc_ns += INT64_C(1000000000000000);
	for (int i = 0; i < 8; i++) {
		uint64_t utc = (uint64_t)(UTC + INT64_C(100) * S + INT64_C(1000000000000000));

		parts.parts[0].bytes[8 + i] = (uint8_t)(utc >> (8 * i));
	}
	assert_int_equal(vmstate_time_load(&parts, &config, &tsc, &t, NULL), 0);
	assert_int_equal(t.change.gap_ns, INT64_C(10) * S);
	assert_int_equal(vmt_clock_utc(&t.clock, INT64_C(100) * S), UTC + INT64_C(110) * S);
	vmstate_parts_free(&parts);
}

/* 100 ppm: KVM runs it as it is. */
/* Two hosts that know TAI, and are good to 100 us each. */
static struct hosts_reading good_host(void)
{
	return (struct hosts_reading){.tai_s = 37, .bound_ns = 100000, .synchronized = true};
}

/* What migrates to this host, which is so much later there. */
static struct vmstate_time migrate(struct vmstate_time_config *config, struct vmt_tsc *tsc,
				   int64_t host_ns, struct hosts_reading from,
				   struct hosts_reading to)
{
	struct vmstate_parts parts = saved_from(0, INT64_C(60) * S, host_ns, &from);
	struct vmstate_time t;
	struct why why = {""};

	to.tsc = config->now.tsc;
	to.tsc_khz = KHZ;
	to.utc_ns = config->now.at.utc_ns;
	config->now.host = &to;
	if (vmstate_time_load(&parts, config, tsc, &t, &why) < 0)
		fail_msg("%s", why.text);
	vmstate_parts_free(&parts);
	config->now.host = NULL;
	return t;
}

/* The machine's own UTC was 30 us behind its host's, a slew that it had not followed yet.  That is
 * no part of the gap, and its RTC shows this host's date. */
static void what_migrates_goes_on_by_the_hosts_gap(void **state)
{
	struct vmstate_time_config config = later(50000000 + 30000, VMT_POLICY_CONTINUE);
	struct vmt_tsc tsc = tscs(KHZ, 0);
	struct vmstate_time t = migrate(&config, &tsc, 30000, good_host(), good_host());
	const vmt_ns now = INT64_C(100) * S + 50000000;

	(void)state;
	assert_true(t.migrated);
	assert_int_equal(t.gap.gap_ns, 50000000);
	assert_int_equal(t.passed_ns, 50000000);
	assert_int_equal(t.late_ns, -75);
	assert_int_equal(vmt_clock_now(&t.clock, 77), now);
	assert_int_equal(vmt_clock_utc(&t.clock, now), UTC + (int64_t)now + 30000);
	assert_int_equal(t.clock.utc_bound_ns, 60);
	assert_int_equal(t.change.gap_ns, 50000000);
	assert_int_equal(t.change.bound_ns, 200000);
	assert_int_equal(t.change.utc_step_ns, 30000);
	assert_int_equal(t.change.epoch, t.clock.epoch);
	assert_int_equal(t.future_ns, 0);
	assert_true(vmt_tsc_at(&tsc, 0, 77) == COUNT + UINT64_C(50) * KHZ);
	assert_true(vmt_tsc_at(&tsc, 1, 77) == COUNT + UINT64_C(50) * KHZ + 7);
}

static void what_migrates_may_stand_still_meanwhile(void **state)
{
	struct vmstate_time_config config = later(50000000, VMT_POLICY_FREEZE);
	struct vmt_tsc tsc = tscs(KHZ, 0);
	struct vmstate_time t = migrate(&config, &tsc, 0, good_host(), good_host());

	(void)state;
	assert_int_equal(vmt_clock_now(&t.clock, 77), INT64_C(100) * S);
	assert_int_equal(vmt_clock_utc(&t.clock, INT64_C(100) * S),
			 UTC + INT64_C(100) * S + 50000000);
	assert_int_equal(t.gap.gap_ns, 50000000);
	assert_true(vmt_tsc_at(&tsc, 0, 77) == COUNT);
}

/* By a snapshot's rule it would be a second short. */
static void a_leap_second_on_the_way_is_no_time(void **state)
{
	struct vmstate_time_config config = later(50000000 - S, VMT_POLICY_CONTINUE);
	struct vmt_tsc tsc = tscs(KHZ, 0);
	struct hosts_reading leapt = good_host();
	struct vmstate_time t;

	(void)state;
	leapt.tai_s++;
	t = migrate(&config, &tsc, 0, good_host(), leapt);
	assert_int_equal(t.passed_ns, 50000000);
	assert_int_equal(t.change.policy, VMT_POLICY_CONTINUE);
	assert_int_equal(vmt_clock_utc(&t.clock, vmt_clock_now(&t.clock, 77)),
			 config.now.at.utc_ns);
	assert_true(vmt_tsc_at(&tsc, 0, 77) == COUNT + UINT64_C(50) * KHZ);
}

/* This host's clock is three seconds ahead of the other's, by the network: the guest goes on by
 * what passed, and its date is this host's. */
static void clocks_that_are_apart_move_the_date_alone(void **state)
{
	struct vmstate_time_config config = later(INT64_C(3) * S + 50000000, VMT_POLICY_CONTINUE);
	struct vmt_tsc tsc = tscs(KHZ, 0);
	struct hosts_reading from = good_host(), to = good_host();
	struct vmstate_time t;
	struct hosts_window w;

	(void)state;
	from.utc_ns = UTC + INT64_C(100) * S;
	from.tsc = 1000 + UINT64_C(100) * KHZ * 1000;
	from.tsc_khz = to.tsc_khz = KHZ;
	to.utc_ns = from.utc_ns + INT64_C(3) * S;
	config.now.tsc = config.now.at.counter = UINT64_C(50) * KHZ;
	hosts_window(&from, &to, &to, &from, &w);
	config.window = &w;
	t = migrate(&config, &tsc, 0, from, to);
	assert_int_equal(t.passed_ns, 50000000);
	assert_int_equal(t.gap.apart_ns, INT64_C(3) * S);
	assert_int_equal(vmt_clock_utc(&t.clock, t.clock.base_ns), config.now.at.utc_ns);
	assert_int_equal(t.change.utc_step_ns, INT64_C(3) * S);
}

static void a_negative_gap_is_none_whatever_the_policy(void **state)
{
	struct vmstate_time_config config = later(-INT64_C(5) * S, VMT_POLICY_CONTINUE);
	struct vmt_tsc tsc = tscs(KHZ, 0);
	struct vmstate_time t = migrate(&config, &tsc, 0, good_host(), good_host());

	(void)state;
	assert_int_equal(t.passed_ns, 0);
	assert_true(t.gap.negative);
	assert_int_equal(t.gap.apart_ns, -INT64_C(5) * S);
	assert_int_equal(t.change.policy, VMT_POLICY_CONTINUE);
	assert_int_equal(vmt_clock_utc(&t.clock, INT64_C(100) * S), UTC + INT64_C(95) * S);
	assert_int_equal(t.future_ns, 0);
}

/* --date, and the gap is the hosts'. */
static void a_date_of_its_own_migrates(void **state)
{
	struct vmstate_time_config config =
		later(50000000 + 7 * INT64_C(86400) * S, VMT_POLICY_FREEZE);
	struct vmt_tsc tsc = tscs(KHZ, 0);
	struct vmstate_time t;

	(void)state;
	config.own_utc = true;
	t = migrate(&config, &tsc, 7 * INT64_C(86400) * S, good_host(), good_host());
	assert_int_equal(t.gap.gap_ns, 50000000);
	assert_int_equal(vmt_clock_utc(&t.clock, INT64_C(100) * S),
			 UTC + INT64_C(100) * S + 50000000);
}

static void hosts_that_say_nothing_sensible_are_refused(void **state)
{
	struct hosts_reading from = good_host(), to = good_host();
	struct vmstate_time_config config = later(0, VMT_POLICY_FREEZE);
	struct vmt_tsc tsc = tscs(KHZ, 0);
	const struct vmt_tsc before = tsc;

	(void)state;
	config.now.host = &to;
	to.utc_ns = UTC;
	for (int what = 0; what < 5; what++) {
		static const int errors[] = {-EINVAL, -EINVAL, -ENOTSUP, -ERANGE, -EINVAL};
		struct vmstate_parts parts = saved_from(0, 0, 0, &from);
		struct vmstate_part *part = &parts.parts[2];
		struct vmstate_time t;

		assert_int_equal(part->kind, VMSTATE_HOST);
		if (what == 0)
			part->bytes[39] = 1;
		else if (what == 1)
			part->length--;
		else if (what == 2)
			part->version = 2;
		else if (what == 3)
			to.utc_ns = INT64_MIN;
		else /* a gap that the machine's dates do not have */
			to.utc_ns = INT64_MAX - 2 * S, to.tai_s = from.tai_s,
			part->bytes[23] = 0x10;
		assert_int_equal(vmstate_time_load(&parts, &config, &tsc, &t, NULL), errors[what]);
		vmstate_parts_free(&parts);
	}
	assert_memory_equal(&tsc, &before, sizeof(before));
}

static void a_frequency_that_is_near_goes_and_is_stated(void **state)
{
	struct vmstate_time_config config = later(INT64_C(10) * S, VMT_POLICY_CONTINUE);
	struct vmt_tsc tsc = tscs(KHZ + KHZ / 10000, 0);
	struct vmstate_time t;

	(void)state;
	config.counter_hz = (uint64_t)tsc.khz * 1000;
	t = load(0, &config, &tsc);
	assert_int_equal(t.tsc_ppb, 100000);
	assert_int_equal(tsc.khz, KHZ + KHZ / 10000);
	assert_int_equal(vmt_clock_now(&t.clock, 77), INT64_C(110) * S);
	/* the ten seconds were at the old host's */
	assert_true(vmt_tsc_at(&tsc, 0, 77) - COUNT == UINT64_C(10) * KHZ * 1000);
}

static void another_frequency_is_refused_with_both_figures(void **state)
{
	struct vmstate_time_config config = later(0, VMT_POLICY_FREEZE);
	struct vmt_tsc tsc = tscs(KHZ + KHZ / 2500, 0);

	(void)state;
	refused(&config, &tsc, -EXDEV,
		"its TSC ran at 2500000 kHz, and this host's runs at 2501000 kHz, which nothing "
		"here scales");
	tsc = tscs(3000000, 0);
	refused(&config, &tsc, -EXDEV, "--tsc portable");
}

static void a_portable_one_goes_on_at_this_hosts_own(void **state)
{
	struct vmstate_time_config config = later(0, VMT_POLICY_FREEZE);
	struct vmt_tsc tsc = tscs(3000000, 0);
	struct vmstate_time t;

	(void)state;
	config.portable = true;
	t = load(0, &config, &tsc);
	assert_int_equal(tsc.khz, 3000000);
	assert_int_equal(t.tsc_ppb, 200000000);
	assert_true(vmt_tsc_at(&tsc, 0, 77) == COUNT);
}

static void hardware_that_scales_keeps_the_frequency(void **state)
{
	struct vmstate_time_config config = later(INT64_C(10) * S, VMT_POLICY_CONTINUE);
	struct vmt_tsc tsc = tscs(3000000, VMT_TSC_FRAC_VMX);
	struct vmstate_time t = load(0, &config, &tsc);

	(void)state;
	assert_int_equal(tsc.khz, KHZ);
	assert_int_equal(t.tsc_ppb, 0);
	assert_true(vmt_tsc_at(&tsc, 0, 77) - COUNT == UINT64_C(10) * KHZ * 1000);
	/* a second later on the host's counter */
	assert_in_range(vmt_tsc_at(&tsc, 0, 77 + UINT64_C(3000000000)) - vmt_tsc_at(&tsc, 0, 77),
			UINT64_C(2499999999), UINT64_C(2500000000));
}

static void what_is_damaged_or_missing_is_refused(void **state)
{
	struct vmstate_time_config config = later(0, VMT_POLICY_FREEZE);

	(void)state;
	for (int what = 0; what < 7; what++) {
		struct vmt_tsc tsc = tscs(KHZ, 0);
		struct vmstate_parts parts = saved(0);
		struct vmstate_part *part = &parts.parts[what & 1];
		struct vmstate_time t;
		int expected = -EINVAL;

		if (what < 2) {
			part->bytes[part->length - 1] ^= 1;
		} else if (what < 4) {
			part->length--;
		} else if (what < 6) {
			part->version = 2;
			expected = -ENOTSUP;
		} else {
			parts.parts[0].length = 31; /* the host's readings are not whole */
		}
		assert_int_equal(vmstate_time_load(&parts, &config, &tsc, &t, NULL), expected);
		part->kind = 500;
		assert_int_equal(vmstate_time_load(&parts, &config, &tsc, &t, NULL), -EINVAL);
		vmstate_parts_free(&parts);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(frozen_time_goes_on_where_it_stood),
		cmocka_unit_test(time_that_went_on_is_right_at_once),
		cmocka_unit_test(a_gap_that_is_too_long_for_the_guest_freezes),
		cmocka_unit_test(a_tsc_goes_on_at_the_rate_that_it_really_had),
		cmocka_unit_test(an_hour_is_no_less_exact),
		cmocka_unit_test(a_saved_time_in_the_future_freezes_and_is_told),
		cmocka_unit_test(a_date_of_its_own_goes_on),
		cmocka_unit_test(what_migrates_goes_on_by_the_hosts_gap),
		cmocka_unit_test(what_migrates_may_stand_still_meanwhile),
		cmocka_unit_test(a_leap_second_on_the_way_is_no_time),
		cmocka_unit_test(clocks_that_are_apart_move_the_date_alone),
		cmocka_unit_test(a_negative_gap_is_none_whatever_the_policy),
		cmocka_unit_test(a_date_of_its_own_migrates),
		cmocka_unit_test(hosts_that_say_nothing_sensible_are_refused),
		cmocka_unit_test(a_frequency_that_is_near_goes_and_is_stated),
		cmocka_unit_test(another_frequency_is_refused_with_both_figures),
		cmocka_unit_test(a_portable_one_goes_on_at_this_hosts_own),
		cmocka_unit_test(hardware_that_scales_keeps_the_frequency),
		cmocka_unit_test(what_is_damaged_or_missing_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
