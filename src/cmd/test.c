/* SPDX-License-Identifier: Apache-2.0 */
/* test.c - vmtime test. */
#include "cmd/cmd.h"

static int main_test(int argc, char **argv)
{
	(void)argc;
	(void)argv;
	return cmd_error("test", CMD_CANNOT, "not built yet");
}

const struct cmd_verb cmd_test = {"test", main_test, "to be written", "usage: vmtime test\n"};
