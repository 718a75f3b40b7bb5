/* SPDX-License-Identifier: Apache-2.0 */
/* test_observe.h - the scenarios that boot Linux with the observer: boot, steady, and those under
 * load. */
#ifndef CMD_TEST_OBSERVE_H
#define CMD_TEST_OBSERVE_H

#include "cmd/test_plan.h"
#include "host/pairs.h"

/* How long a run can take at most; 0: none of them was asked for. */
uint64_t test_observe_longest_ns(const struct test_options *options);

/* Boots Linux with each clock source, as often as asked, and adds a result for each scenario.
 * CMD_OK; CMD_CANNOT after a line on stderr where measuring is not possible here; 128 + signal
 * where test_plan_stopped(). */
int test_observe_run(const struct test_options *options, enum test_subject subject,
		     const struct test_images *images, struct pairs *pairs,
		     struct test_report *report);

#endif
