/* SPDX-License-Identifier: Apache-2.0 */
/* lab.c - vmtime lab: a command on an emulated machine that has a working /dev/kvm. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmd/cmd.h"
#include "cmd/lab.h"

enum { MEMORY_MIN_MIB = 256, CPUS_MAX = 8 };

static int take_cpus(const char *text, struct lab_options *options)
{
	char *end;
	unsigned long cpus = strtoul(text, &end, 10);

	if (*text < '0' || *text > '9' || *end || cpus < 1 || cpus > CPUS_MAX)
		return cmd_error("lab", CMD_USAGE, "--cpus %s: not a number from 1 to %d", text,
				 CPUS_MAX);
	options->cpus = (unsigned)cpus;
	return CMD_OK;
}

static int take_memory(const char *text, struct lab_options *options)
{
	if (cmd_parse_size(text, &options->memory) < 0)
		return cmd_error("lab", CMD_USAGE, "--memory %s: not a size (such as 2G)", text);
	if (options->memory >> 20 < MEMORY_MIN_MIB || options->memory & ((1 << 20) - 1))
		return cmd_error("lab", CMD_USAGE,
				 "--memory %s: the lab needs at least %dM, in whole MiB", text,
				 MEMORY_MIN_MIB);
	return CMD_OK;
}

static int take_timeout(const char *text, struct lab_options *options)
{
	int error = cmd_parse_duration(text, &options->timeout_ns);

	if (error == -EDOM)
		return cmd_error("lab", CMD_USAGE,
				 "--timeout %s: a bare number (write %ss or %smin)", text, text,
				 text);
	if (error || options->timeout_ns > INT64_MAX)
		return cmd_error("lab", CMD_USAGE, "--timeout %s: not a duration (such as 5min)",
				 text);
	if (options->timeout_ns == 0)
		return cmd_error("lab", CMD_USAGE, "--timeout %s: leaves no time at all", text);
	return CMD_OK;
}

static int take_share(const char *text, struct lab_options *options)
{
	if (options->n_shares == LAB_SHARES_MAX)
		return cmd_error("lab", CMD_USAGE, "--share %s: more than %d of them", text,
				 LAB_SHARES_MAX);
	options->shares[options->n_shares++] = text;
	return CMD_OK;
}

static int take_link(const char *text, struct lab_link *link, struct lab_options *options)
{
	struct why why;

	if (options->link)
		return cmd_error("lab", CMD_USAGE, "--link %s: there is one already", text);
	if (lab_link_parse(text, link, &why) < 0)
		return cmd_error("lab", CMD_USAGE, "--link %s: %s", text, why.text);
	options->link = link;
	return CMD_OK;
}

static int main_lab(int argc, char **argv)
{
	static const struct option long_options[] = {{"cpus", required_argument, NULL, 'c'},
						     {"memory", required_argument, NULL, 'm'},
						     {"timeout", required_argument, NULL, 't'},
						     {"share", required_argument, NULL, 's'},
						     {"link", required_argument, NULL, 'l'},
						     {"help", no_argument, NULL, 'h'},
						     {NULL, 0, NULL, 0}};
	struct lab_options options = LAB_OPTIONS_DEFAULT;
	struct lab_link link;
	int option, status = CMD_OK;

	while (!status && (option = cmd_next_option("lab", argc, argv, long_options)) != -1) {
		switch (option) {
		case 'c':
			status = take_cpus(optarg, &options);
			break;
		case 'm':
			status = take_memory(optarg, &options);
			break;
		case 't':
			status = take_timeout(optarg, &options);
			break;
		case 's':
			status = take_share(optarg, &options);
			break;
		case 'l':
			status = take_link(optarg, &link, &options);
			break;
		case 'h':
			fputs(cmd_lab.synopsis, stdout);
			return CMD_OK;
		default:
			status = CMD_USAGE;
		}
	}
	if (status)
		return status;
	if (optind >= argc)
		return cmd_error("lab", CMD_USAGE, "no command (vmtime lab -- COMMAND)");
	return lab_run("lab", &options, argv + optind);
}

const struct cmd_verb cmd_lab = {
	"lab", main_lab, "run a command on an emulated machine that has KVM",
	"usage: vmtime lab [--cpus N] [--memory SIZE] [--timeout DUR] [--share DIR]...\n"
	"                  [--link HERE,THERE] -- COMMAND\n"
	"\n"
	"  --cpus N       CPUs of the machine, 1 to 8 (2)\n"
	"  --memory SIZE  its memory (2G)\n"
	"  --timeout DUR  end it after that long, with status 124 (no limit)\n"
	"  --share DIR    what COMMAND writes there stays; all else it writes is dropped\n"
	"  --link HERE,THERE\n"
	"                 a network with the lab that has --link THERE,HERE: two UNIX sockets\n"
	"\n"
	"example: vmtime lab --timeout 1min -- ls -l /dev/kvm\n",
	.runs_command = true};
