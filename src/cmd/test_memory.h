/* SPDX-License-Identifier: Apache-2.0 */
/* test_memory.h - a root in memory, for a test that suspends the lab.
 *
 * The lab's files come from this machine by 9p, and the device that brings them does not outlive a
 * suspend: Linux's driver of it neither freezes nor restores it.  So whoever suspends the lab has
 * to bring along all that it will still open. */
#ifndef CMD_TEST_MEMORY_H
#define CMD_TEST_MEMORY_H

#include "cmd/test.h"
#include "cmd/test_plan.h"

/* Copies this command, the images, and of each subject what it runs, into a tmpfs and runs the same
 * command line there: returns only with an exit status, after a line on stderr.  CMD_OK at once
 * where the root is in memory already. */
int test_memory_run(const struct test_options *options, const struct test_images *images, int argc,
		    char **argv);

#endif
