/* SPDX-License-Identifier: Apache-2.0 */
/* run.c - vmtime run. */
#include "cmd/cmd.h"

static int main_run(int argc, char **argv)
{
	(void)argc;
	(void)argv;
	return cmd_error("run", CMD_CANNOT, "not built yet");
}

const struct cmd_verb cmd_run = {"run", main_run, "to be written", "usage: vmtime run\n"};
