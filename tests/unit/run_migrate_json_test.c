/* SPDX-License-Identifier: Apache-2.0 */
/* run_migrate_json_test.c - what programs and people read of a machine that goes or comes. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdlib.h>

#include "cmd/run_migrate_json.h"
#include "cmd/run_progress.h"

static const struct migrate_stats some = {
	.total_ns = 3000000000,
	.setup_ns = 1000000000,
	.expected_downtime_ns = 41000000,
	.total_bytes = 1 << 29,
	.remaining_bytes = 4300000,
	.transferred_bytes = 327155712,
	.image = {.pages = 1000, .zero_pages = 400},
	.rounds = 3,
	.dirty_pages_s = 50,
	.bytes_s = 107000000,
	.window = {.known = true, .lo_ns = -30, .hi_ns = 40},
};

static void figures_have_qemus_names(void **state)
{
	json_t *report = run_migrate_report("active", &some, NULL, false);
	char *text = json_dumps(report, JSON_COMPACT);

	(void)state;
	assert_string_equal(
		text,
		"{\"status\":\"active\",\"total-time\":3000,\"setup-time\":1000,"
		"\"ram\":{\"transferred\":327155712,\"duplicate\":400,\"normal\":600,"
		"\"normal-bytes\":2457600,\"page-size\":4096,\"skipped\":0,"
		"\"dirty-sync-count\":3,\"total\":536870912,\"remaining\":4300000,"
		"\"dirty-pages-rate\":50,\"mbps\":856.0,\"pages-per-second\":500},"
		"\"vmtime\":{\"total_ns\":3000000000,\"setup_ns\":1000000000,\"unknown\":false,"
		"\"window\":{\"lo_ns\":-30,\"hi_ns\":40}},\"expected-downtime\":41}");
	free(text);
	json_decref(report);
}

static void figures_of_one_that_comes_too(void **state)
{
	struct migrate_target_stats come = {
		.come_bytes = 5000, .remaining_bytes = UINT64_MAX, .total_ns = 7000000};
	json_t *report = run_migrate_report_come("active", &come);
	char *text = json_dumps(report, JSON_COMPACT);

	(void)state;
	assert_string_equal(text, "{\"status\":\"active\",\"total-time\":7,"
				  "\"ram\":{\"transferred\":5000,\"duplicate\":0,\"normal\":0,"
				  "\"normal-bytes\":0,\"page-size\":4096,\"skipped\":0,"
				  "\"dirty-sync-count\":0},\"vmtime\":{\"total_ns\":7000000}}");
	free(text);
	json_decref(report);
}

static void people_read_a_line(void **state)
{
	const struct migrate_target_stats come = {
		.come_bytes = 5 << 20, .remaining_bytes = 300 << 20, .rounds = 2};
	struct migrate_stats s = some;
	char text[RUN_PROGRESS_SIZE];

	(void)state;
	run_progress_going(&s, text);
	assert_string_equal(text, "round 3, 312 MiB sent, 4.1 MiB left, 107 MB/s, 41.0 ms of "
				  "downtime expected");
	s.bytes_s = s.expected_downtime_ns = 0;
	run_progress_going(&s, text);
	assert_string_equal(text, "round 3, 312 MiB sent, 4.1 MiB left");
	s.downtime_ns = 41000000;
	run_progress_gone(&s, text);
	assert_string_equal(text, "312 MiB in 3.00 s, it stood still for 41.0 ms");
	run_progress_coming(&come, text);
	assert_string_equal(text, "round 2, 5.0 MiB have come, 300 MiB left");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(figures_have_qemus_names),
		cmocka_unit_test(figures_of_one_that_comes_too),
		cmocka_unit_test(people_read_a_line),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
