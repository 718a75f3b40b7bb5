/* SPDX-License-Identifier: Apache-2.0 */
/* test_migrate.c - scenario migrate: a running guest is moved to another VMM on this machine. */
#include "cmd/test_event.h"

const struct test_event test_migrate = {
	.scenario = TEST_MIGRATE,
	.option = "--on-migrate",
	.limit_ns = 1000,
	.runs = true,
	.moves = true,
	.begin = test_move_begin,
	.end = test_move_end,
	.step = test_move_step,
};
