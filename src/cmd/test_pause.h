/* SPDX-License-Identifier: Apache-2.0 */
/* test_pause.h - scenario pause: a guest is stopped for a while by QMP, and what its clocks make of
 * that is set against what the policy promises. */
#ifndef CMD_TEST_PAUSE_H
#define CMD_TEST_PAUSE_H

#include "cmd/test_plan.h"
#include "host/pairs.h"

/* How long it can take at most; 0: it was not asked for. */
uint64_t test_pause_longest_ns(const struct test_options *options);

/* Boots Linux with each clock source and, of vmtime's VMM, each policy, and adds a result for each.
 * As test_observe_run(). */
int test_pause_run(const struct test_options *options, enum test_subject subject,
		   const struct test_images *images, struct pairs *pairs,
		   struct test_report *report);

#endif
