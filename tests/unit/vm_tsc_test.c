/* SPDX-License-Identifier: Apache-2.0 */
/* vm_tsc_test.c - what a guest's TSC may be on which host, and what is hidden from the guest. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "host/hostclock.h"
#include "kvm/tsc.h"

enum { KHZ = 2400000, CPUS = 2 };

static struct tsc_host host_of(enum probe_tsc_class tsc_class, uint32_t frac)
{
	return (struct tsc_host){
		.tsc_class = tsc_class,
		.source = true,
		.hardware = {.khz = KHZ, .frac = frac, .tolerance_ppm = VMT_TSC_TOLERANCE_PPM},
	};
}

static void accepts(const struct tsc_host *host, struct tsc_wish wish, uint32_t khz)
{
	struct vmt_tsc tsc;

	assert_int_equal(tsc_plan(host, &wish, CPUS, &tsc, NULL), 0);
	assert_int_equal(tsc.khz, khz);
}

static void refuses(const struct tsc_host *host, struct tsc_wish wish, const char *first,
		    const char *second)
{
	struct vmt_tsc tsc;
	struct why why;

	assert_int_equal(tsc_plan(host, &wish, CPUS, &tsc, &why), -ENODEV);
	assert_non_null(strstr(why.text, first));
	assert_non_null(strstr(why.text, second));
	assert_true(strlen(why.text) < sizeof(why.text) - 1); /* not cut off */
}

static void the_hosts_own_frequency_is_always_possible(void **state)
{
	static const enum probe_tsc_class classes[] = {PROBE_TSC_NONE, PROBE_TSC_OFFSET,
						       PROBE_TSC_OFFSET_SCALING};

	(void)state;
	for (int i = 0; i < 3; i++) {
		struct tsc_host host = host_of(classes[i], i == 2 ? VMT_TSC_FRAC_VMX : 0);

		accepts(&host, (struct tsc_wish){0}, KHZ);
		accepts(&host, (struct tsc_wish){.khz = KHZ}, KHZ);
		accepts(&host, (struct tsc_wish){.portable = true}, KHZ);
	}
}

static void another_takes_hardware_that_scales(void **state)
{
	struct tsc_host scales = host_of(PROBE_TSC_OFFSET_SCALING, VMT_TSC_FRAC_SVM);
	struct tsc_host other = host_of(PROBE_TSC_OFFSET, 0);

	(void)state;
	accepts(&scales, (struct tsc_wish){.khz = 2000000}, 2000000);
	refuses(&other, (struct tsc_wish){.khz = 2000000}, "2000000 kHz", "2400000 kHz");
	refuses(&other, (struct tsc_wish){.khz = 2000000}, "nothing here scales it",
		"give --tsc host");
	refuses(&scales, (struct tsc_wish){.khz = KHZ + 600}, "within 250 ppm",
		"tsc_tolerance_ppm=0");
	scales.hardware.tolerance_ppm = 0;
	accepts(&scales, (struct tsc_wish){.khz = KHZ + 600}, KHZ + 600);
	scales.hardware.khz = 1000;
	refuses(&scales, (struct tsc_wish){.khz = 4000000}, "too far", "1000 kHz");
}

static void an_invariant_tsc_is_promised_where_it_is_one(void **state)
{
	const struct tsc_wish wish = {.invariant = true};
	struct tsc_host host = host_of(PROBE_TSC_OFFSET, 0);
	struct why text;

	(void)state;
	assert_true(tsc_trusted(&host));
	assert_false(tsc_notice(&host, &text));
	accepts(&host, wish, KHZ);
	host.warp = (struct warp){.cpus = 2, .looks = 0}; /* one had no turn: nothing is known */
	assert_true(tsc_trusted(&host));
	assert_false(tsc_notice(&host, &text));
	host.warp.back = 77;
	assert_false(tsc_trusted(&host));
	assert_true(tsc_notice(&host, &text));
	assert_non_null(strstr(text.text, "disagree by 77 counts"));
	refuses(&host, wish, "disagree by 77 counts", "without --invtsc on");
	accepts(&host, (struct tsc_wish){0}, KHZ);
	host = host_of(PROBE_TSC_OFFSET, 0);
	host.source = false;
	assert_false(tsc_trusted(&host));
	refuses(&host, wish, "does not trust its own", "without --invtsc on");
	host = host_of(PROBE_TSC_NONE, 0);
	refuses(&host, wish, "the host's own counts", "without --invtsc on");
	assert_true(tsc_notice(&host, &text));
	assert_non_null(strstr(text.text, "TSC-deadline timer is not shown"));
}

static void what_would_be_wrong_is_not_shown(void **state)
{
	struct tsc_host offset = host_of(PROBE_TSC_OFFSET, 0), none = host_of(PROBE_TSC_NONE, 0);
	struct tsc_wish wish = {0}, portable = {.portable = true};

	(void)state;
	assert_true(tsc_shows_deadline(&offset, &wish, "quiet"));
	assert_false(tsc_shows_deadline(&none, &wish, "quiet"));
	assert_false(tsc_shows_deadline(&offset, &portable, "quiet"));
	assert_false(tsc_shows_deadline(&offset, &wish, "quiet nolapic_timer"));
	assert_true(tsc_shows_deadline(&offset, &wish, "quiet nolapic_timers"));
}

static void counts_begin_at_0_where_they_can(void **state)
{
	struct tsc_host offset = host_of(PROBE_TSC_OFFSET, 0), none = host_of(PROBE_TSC_NONE, 0);
	const struct tsc_wish wish = {0};
	struct vmt_tsc tsc;

	(void)state;
	assert_int_equal(tsc_plan(&offset, &wish, CPUS, &tsc, NULL), 0);
	tsc_begin(&offset, 12345, &tsc);
	assert_true(vmt_tsc_line(&tsc, 12345) == 0 && vmt_tsc_line(&tsc, 12346) == 1);
	tsc_begin(&none, 12345, &tsc);
	assert_true(vmt_tsc_line(&tsc, 12345) == 12345); /* and nothing is to be applied */
	assert_int_equal(tsc_apply(&none, &tsc, NULL, NULL), 0);
}

static void this_host_is_looked_at(void **state)
{
	struct tsc_host host;

	(void)state;
	tsc_find(PROBE_TSC_OFFSET, KHZ, &host);
	assert_int_equal(host.source, hostclock_tsc_is_stable());
	assert_int_equal(host.hardware.khz, KHZ);
	assert_int_equal(host.hardware.frac, 0);
	tsc_find(PROBE_TSC_OFFSET_SCALING, KHZ, &host);
	assert_int_equal(host.hardware.frac, probe_is_svm() ? 32 : 48);
	assert_true(host.warp.back == 0 || !tsc_trusted(&host));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_hosts_own_frequency_is_always_possible),
		cmocka_unit_test(another_takes_hardware_that_scales),
		cmocka_unit_test(an_invariant_tsc_is_promised_where_it_is_one),
		cmocka_unit_test(what_would_be_wrong_is_not_shown),
		cmocka_unit_test(counts_begin_at_0_where_they_can),
		cmocka_unit_test(this_host_is_looked_at),
	};

	return cmocka_run_group_tests_name("vm_tsc", tests, NULL, NULL);
}
