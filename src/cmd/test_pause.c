/* SPDX-License-Identifier: Apache-2.0 */
/* test_pause.c - scenario pause: a guest is stopped for a while, by QMP. */
#include <string.h>

#include "cmd/test_event.h"

#define SECOND 1000000000ULL

static const uint64_t pm_timer_pause_ns = 2 * SECOND; /* half of its range is 2.3 s */

static uint64_t default_ns(const char *clocksource)
{
	return strcmp(clocksource, "acpi_pm") == 0 ? pm_timer_pause_ns : 5 * SECOND;
}

static int begin(struct test_event_run *r)
{
	return test_qmp_do(&r->qmp, "stop", &r->why);
}

static int end(struct test_event_run *r)
{
	return test_qmp_do(&r->qmp, "cont", &r->why);
}

const struct test_event test_pause = {
	.scenario = TEST_PAUSE,
	.option = "--on-pause",
	.limit_ns = 1000,
	.default_ns = default_ns,
	.begin = begin,
	.end = end,
};
