/* SPDX-License-Identifier: Apache-2.0 */
/* test_plan.h - runs each subject with each clock source and gathers the results. */
#ifndef CMD_TEST_PLAN_H
#define CMD_TEST_PLAN_H

#include "cmd/test.h"

/* How long all of it can take at most: for whoever guards it from outside. */
uint64_t test_plan_longest_ns(const struct test_options *options);

/* Boots every subject with every clock source, as often as asked, one at a time.  CMD_OK with the
 * results in *report; CMD_CANNOT after a line on stderr where measuring is not possible here.
 * SIGINT, SIGTERM, SIGHUP and SIGQUIT end the guest, then this process, as they would have. */
int test_plan_run(const struct test_options *options, const char *kernel, const char *initrd,
		  struct test_report *report);

#endif
