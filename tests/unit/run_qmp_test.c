/* SPDX-License-Identifier: Apache-2.0 */
/* run_qmp_test.c - a machine's time as JSON: what is not known is not there. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdlib.h>

#include "cmd/run_qmp.h"

static void becomes(json_t *json, const char *expected)
{
	char *text = json_dumps(json, JSON_COMPACT);

	json_decref(json);
	assert_non_null(text);
	assert_string_equal(text, expected);
	free(text);
}

static void all_that_is_known_is_told(void **state)
{
	const struct timestate t = {
		.now_ns = 5000000001,
		.utc_ns = 1795655800018466413,
		.utc_offset_ns = 1795655795018466412,
		.has_bound = true,
		.utc_bound_ns = 381,
		.rate_ppb = -1500,
		.has_phase = true,
		.phase_ns = -17,
		.phase_bound_ns = 90,
		.change = {CHIPSET_CHANGE_RTC, 4000000000, -1000000000, 3600000000000, 0},
		.has_rtc = true,
		.rtc_offset_ns = 3600000000000,
		.policy = VMT_TICKS_CATCHUP,
		.n_faces = 2,
		.faces = {{"pit", 5000500000}, {"acpi_pm", VMT_NEVER}},
		.n_ticks = 1,
		.ticks = {{"pit", 250, {15, 1, 2, 4, 8}}},
	};

	(void)state;
	becomes(run_qmp_time(&t),
		"{\"schema_version\":1,\"vmtime\":\"0.1.0\",\"kind\":\"query-vmtime\","
		"\"now_ns\":5000000001,\"utc\":\"2026-11-26T01:16:40.018466413Z\","
		"\"utc_bound_ns\":381,\"utc_offset_ns\":1795655795018466412,\"rate_ppb\":-1500,"
		"\"phase_ns\":-17,\"phase_bound_ns\":90,"
		"\"state\":\"running\",\"last_change\":{\"kind\":\"rtc\",\"why\":\"guest\","
		"\"at_ns\":4000000000,\"before\":{\"rtc_offset_ns\":-1000000000},"
		"\"after\":{\"rtc_offset_ns\":3600000000000},\"bound_ns\":0},"
		"\"faces\":[{\"name\":\"pit\",\"deadline_ns\":5000500000},{\"name\":\"acpi_pm\"}],"
		"\"rtc_offset_ns\":3600000000000,"
		"\"ticks\":[{\"source\":\"pit\",\"policy\":\"catchup\",\"rate_hz\":250,"
		"\"due\":15,\"delivered\":1,\"merged\":2,\"discarded\":4,\"owed\":8}]}");
}

static void what_is_not_known_is_absent(void **state)
{
	const struct timestate t = {
		.utc_ns = -1,
		.clock_state = VMT_CLOCK_PAUSED,
		.change = {.kind = VMT_CHANGE_START, .after_ns = -1, .bound_ns = 40},
		.n_ticks = 1,
		.ticks = {{.source = "rtc"}},
	};

	(void)state;
	becomes(run_qmp_time(&t),
		"{\"schema_version\":1,\"vmtime\":\"0.1.0\",\"kind\":\"query-vmtime\","
		"\"now_ns\":0,\"utc\":\"1969-12-31T23:59:59.999999999Z\",\"utc_offset_ns\":0,"
		"\"rate_ppb\":0,\"state\":\"paused\",\"last_change\":{\"kind\":\"start\","
		"\"why\":\"power-on\",\"at_ns\":0,\"after\":{\"now_ns\":0,\"utc_offset_ns\":-1}},"
		"\"faces\":[],"
		"\"ticks\":[{\"source\":\"rtc\",\"policy\":\"discard\",\"due\":0,\"delivered\":0,"
		"\"merged\":0,\"discarded\":0,\"owed\":0}]}");
	becomes(run_qmp_change(&t.change, true),
		"{\"kind\":\"start\",\"why\":\"power-on\",\"at_ns\":0,"
		"\"after\":{\"now_ns\":0,\"utc_offset_ns\":-1},\"bound_ns\":40}");
}

static void seconds_of_rtc_change_are_the_nearest(void **state)
{
	static const struct {
		int64_t ns;
		int64_t seconds;
	} cases[] = {{0, 0},
		     {1499999999, 1},
		     {1500000000, 2},
		     {-1499999999, -1},
		     {-1500000000, -2},
		     {INT64_MAX, 9223372037},
		     {INT64_MIN, -9223372037}};

	(void)state;
	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_int_equal(run_qmp_seconds(cases[i].ns), cases[i].seconds);
}

static void another_counter_is_told(void **state)
{
	const struct chipset_change change = {VMT_CHANGE_COUNTER, 5000000000, 4999999999,
					      5000000000, 70};

	(void)state;
	becomes(run_qmp_change(&change, true),
		"{\"kind\":\"counter\",\"why\":\"host-clocksource\",\"at_ns\":5000000000,"
		"\"before\":{\"now_ns\":4999999999},\"after\":{\"now_ns\":5000000000},"
		"\"bound_ns\":70}");
}

/* The machine stood still, and time went on. */
static struct chipset_change two_seconds(uint32_t kind)
{
	return (struct chipset_change){
		.kind = kind,
		.at_ns = 5000000000,
		.before_ns = 3000000000,
		.after_ns = 5000000000,
		.bound_ns = 70,
		.policy = VMT_POLICY_CONTINUE,
		.gap_ns = 2000000000,
		.utc_before_ns = 40,
		.utc_after_ns = 41,
	};
}

static void a_pause_tells_its_policy(void **state)
{
	struct chipset_change change = two_seconds(VMT_CHANGE_RESUME);

	(void)state;
	becomes(run_qmp_change(&change, true),
		"{\"kind\":\"pause\",\"why\":\"qmp\",\"policy\":\"continue\",\"at_ns\":5000000000,"
		"\"gap_ns\":2000000000,\"before\":{\"now_ns\":3000000000,\"utc_offset_ns\":40},"
		"\"after\":{\"now_ns\":5000000000,\"utc_offset_ns\":41},\"bound_ns\":70}");
	change.policy = VMT_POLICY_FREEZE;
	change.at_ns = 3000000000;
	change.after_ns = 3000000000;
	becomes(run_qmp_change(&change, true),
		"{\"kind\":\"pause\",\"why\":\"qmp\",\"policy\":\"freeze\",\"at_ns\":3000000000,"
		"\"gap_ns\":2000000000,\"before\":{\"now_ns\":3000000000,\"utc_offset_ns\":40},"
		"\"after\":{\"now_ns\":3000000000,\"utc_offset_ns\":41},\"bound_ns\":70}");
	change.kind = VMT_CHANGE_LOAD;
	change.tsc_ppb = -250;
	becomes(run_qmp_change(&change, true),
		"{\"kind\":\"restore\",\"why\":\"incoming\",\"policy\":\"freeze\","
		"\"at_ns\":3000000000,\"gap_ns\":2000000000,"
		"\"before\":{\"now_ns\":3000000000,\"utc_offset_ns\":40},"
		"\"after\":{\"now_ns\":3000000000,\"utc_offset_ns\":41},\"bound_ns\":70,"
		"\"tsc_ppb\":-250}");
	change.future_ns = 7;
	becomes(run_qmp_change(&change, true),
		"{\"kind\":\"restore\",\"why\":\"incoming\",\"policy\":\"freeze\","
		"\"at_ns\":3000000000,\"gap_ns\":2000000000,"
		"\"before\":{\"now_ns\":3000000000,\"utc_offset_ns\":40},"
		"\"after\":{\"now_ns\":3000000000,\"utc_offset_ns\":41},\"bound_ns\":70,"
		"\"tsc_ppb\":-250,\"future_ns\":7}");
}

static void a_migration_tells_what_both_hosts_said(void **state)
{
	struct chipset_change change = two_seconds(CHIPSET_CHANGE_MIGRATE);

	(void)state;
	change.by_tai = true;
	change.bounded = true;
	change.tsc_ppb = 5;
	becomes(run_qmp_change(&change, true),
		"{\"kind\":\"migrate\",\"why\":\"incoming\",\"policy\":\"continue\","
		"\"at_ns\":5000000000,\"gap_ns\":2000000000,"
		"\"before\":{\"now_ns\":3000000000,\"utc_offset_ns\":40},"
		"\"after\":{\"now_ns\":5000000000,\"utc_offset_ns\":41},\"bound_ns\":70,"
		"\"clock\":\"tai\",\"bounded\":true,\"negative\":false,\"apart_ns\":0,"
		"\"tsc_ppb\":5}");
	change.by_tai = false;
	change.bounded = false;
	change.negative = true;
	change.apart_ns = -3;
	becomes(run_qmp_change(&change, true),
		"{\"kind\":\"migrate\",\"why\":\"incoming\",\"policy\":\"continue\","
		"\"at_ns\":5000000000,\"gap_ns\":2000000000,"
		"\"before\":{\"now_ns\":3000000000,\"utc_offset_ns\":40},"
		"\"after\":{\"now_ns\":5000000000,\"utc_offset_ns\":41},\"bound_ns\":70,"
		"\"clock\":\"utc\",\"bounded\":false,\"negative\":true,\"apart_ns\":-3,"
		"\"tsc_ppb\":5}");
}

static void what_befell_the_host_is_told(void **state)
{
	struct chipset_change change = two_seconds(VMT_CHANGE_SUSPEND);

	(void)state;
	becomes(run_qmp_change(&change, true),
		"{\"kind\":\"suspend\",\"why\":\"host-suspend\",\"policy\":\"continue\","
		"\"at_ns\":5000000000,\"gap_ns\":2000000000,"
		"\"before\":{\"now_ns\":3000000000,\"utc_offset_ns\":40},"
		"\"after\":{\"now_ns\":5000000000,\"utc_offset_ns\":41},\"bound_ns\":70}");
	change.kind = VMT_CHANGE_STEP_UTC;
	change.before_ns = 40;
	change.after_ns = -41;
	becomes(run_qmp_change(&change, true),
		"{\"kind\":\"step_utc\",\"why\":\"host-step\",\"at_ns\":5000000000,"
		"\"before\":{\"utc_offset_ns\":40},\"after\":{\"utc_offset_ns\":-41},"
		"\"bound_ns\":70}");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_that_is_known_is_told),
		cmocka_unit_test(what_is_not_known_is_absent),
		cmocka_unit_test(another_counter_is_told),
		cmocka_unit_test(a_pause_tells_its_policy),
		cmocka_unit_test(a_migration_tells_what_both_hosts_said),
		cmocka_unit_test(what_befell_the_host_is_told),
		cmocka_unit_test(seconds_of_rtc_change_are_the_nearest),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
