/* SPDX-License-Identifier: Apache-2.0 */
/* test_memory.h - a root in memory, for a test that suspends the lab, and its report.
 *
 * The lab's files come from this machine by 9p, and the device that brings them does not outlive a
 * suspend: Linux's driver of it neither freezes nor restores it.  So whoever suspends the lab has
 * to bring along all that it will still open. */
#ifndef CMD_TEST_MEMORY_H
#define CMD_TEST_MEMORY_H

#include "cmd/test.h"
#include "cmd/test_plan.h"
#include "cmd/where.h"

/* Copies this command, the images, and of each subject what it runs, into a tmpfs and runs the same
 * command line there: returns only with an exit status, after a line on stderr.  CMD_OK at once
 * where the root is in memory already. */
int test_memory_run(const struct test_options *options, const struct test_images *images, int argc,
		    char **argv);

/* where_run() of this command line, which has --json=FILE: a lab that is suspended does not lose
 * its standard output, so there the report goes to that, and from it into the file once the lab
 * has ended.  A run that has no report leaves the file alone. */
int test_memory_report(const struct test_options *options, int argc, char **argv,
		       const struct where_needs *needs);

#endif
