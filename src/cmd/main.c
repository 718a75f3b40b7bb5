/* SPDX-License-Identifier: Apache-2.0 */
/* main.c - the table of verbs. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cmd/cmd.h"
#include "cmd/files.h"

static const struct cmd_verb *const verbs[] = {&cmd_run, &cmd_test, &cmd_plan, &cmd_lab};

enum { VERBS = sizeof(verbs) / sizeof(verbs[0]) };

static const struct cmd_verb *find(const char *name)
{
	for (size_t i = 0; i < VERBS; i++)
		if (strcmp(verbs[i]->name, name) == 0)
			return verbs[i];
	return NULL;
}

static void usage(FILE *to)
{
	fputs("usage: vmtime VERB [OPTIONS] [ARGS]\n\n", to);
	for (size_t i = 0; i < VERBS; i++)
		fprintf(to, "  %-6s %s\n", verbs[i]->name, verbs[i]->summary);
	fputs("\nvmtime help VERB shows its manual page, vmtime VERB --help its options.\n", to);
}

static int unknown_verb(const char *name)
{
	const char *known[VERBS + 2] = {NULL};

	for (size_t i = 0; i < VERBS; i++)
		known[i] = verbs[i]->name;
	known[VERBS] = "help";
	return cmd_unknown_option(NULL, name, known);
}

/* The manual page by man: the built one beside the command, else the installed one.  0 if it was
 * shown. */
static int show_page(const char *name)
{
	char page[64], path[PATH_MAX];
	int status = -1;
	pid_t child;

	snprintf(page, sizeof(page), "docs/vmtime-%s.1", name);
	if (files_data(page, path, sizeof(path)) < 0)
		snprintf(path, sizeof(path), "%s", strchr(page, '/') + 1);
	child = fork();
	if (child == 0) {
		/* A name with a slash is a file to man. */
		execlp("man", "man", path, (char *)NULL);
		_exit(127);
	}
	while (child > 0 && waitpid(child, &status, 0) < 0 && errno == EINTR)
		;
	return status;
}

static int help(const char *name)
{
	const struct cmd_verb *verb = name ? find(name) : NULL;

	if (!name) {
		usage(stdout);
		return CMD_OK;
	}
	if (!verb)
		return unknown_verb(name);
	if (show_page(name) != 0)
		fputs(verb->synopsis, stdout); /* no man here, or no page */
	return CMD_OK;
}

/* In place of a closed one of the three, for which what is opened later would be taken. */
static void open_streams(void)
{
	int fd;

	do {
		fd = open("/dev/null", O_RDWR);
	} while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd >= 0)
		close(fd);
}

int main(int argc, char **argv)
{
	const struct cmd_verb *verb;

	open_streams();
	if (argc < 2) {
		usage(stderr);
		return CMD_USAGE;
	}
	if (strcmp(argv[1], "--version") == 0) {
		puts("vmtime " VMTIME_VERSION);
		return CMD_OK;
	}
	if (strcmp(argv[1], "help") == 0 || strcmp(argv[1], "--help") == 0)
		return help(argc > 2 ? argv[2] : NULL);
	verb = find(argv[1]);
	if (!verb)
		return unknown_verb(argv[1]);
	for (int i = 2; !verb->runs_command && i < argc && strcmp(argv[i], "--") != 0; i++) {
		if (strcmp(argv[i], "--help") == 0) {
			fputs(verb->synopsis, stdout);
			return CMD_OK;
		}
	}
	return verb->main(argc - 1, argv + 1);
}
