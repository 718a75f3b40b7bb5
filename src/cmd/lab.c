/* SPDX-License-Identifier: Apache-2.0 */
/* lab.c - vmtime lab. */
#include "cmd/cmd.h"

static int main_lab(int argc, char **argv)
{
	(void)argc;
	(void)argv;
	return cmd_error("lab", CMD_CANNOT, "not built yet");
}

const struct cmd_verb cmd_lab = {"lab", main_lab, "to be written", "usage: vmtime lab\n"};
