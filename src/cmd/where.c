/* SPDX-License-Identifier: Apache-2.0 */
/* where.c - the machine that a verb runs on: this one where KVM works, else the lab. */
#include <errno.h>
#include <libgen.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "cmd/cmd.h"
#include "cmd/files.h"
#include "cmd/lab.h"
#include "cmd/where.h"
#include "kvm/probe.h"

/* What the lab's own kernel, this command and the files that it writes take. */
#define LAB_OWN_MEMORY (1536ULL << 20)

/* The directory to be lent for `path`, to be freed: itself, or the one that it is or will be in.
 * NULL with an errno. */
static char *directory_of(const char *path)
{
	char copy[PATH_MAX];
	struct stat status;

	if (stat(path, &status) == 0 && S_ISDIR(status.st_mode))
		return realpath(path, NULL);
	if ((size_t)snprintf(copy, sizeof(copy), "%s", path) >= sizeof(copy)) {
		errno = ENAMETOOLONG;
		return NULL;
	}
	return realpath(dirname(copy), NULL);
}

static bool is_shared(const struct lab_options *options, const char *directory)
{
	for (unsigned i = 0; i < options->n_shares; i++)
		if (strcmp(options->shares[i], directory) == 0)
			return true;
	return false;
}

/* 0, or the exit status after a line on stderr. */
static int share(const char *verb, const char *path, struct lab_options *options)
{
	char *directory = directory_of(path);

	if (!directory)
		return cmd_error(verb, CMD_USAGE, "cannot write %s: %s", path, strerror(errno));
	if (strcmp(directory, "/") == 0) {
		free(directory);
		return cmd_error(verb, CMD_USAGE,
				 "the lab cannot write %s (name a file in a directory below /)",
				 path);
	}
	if (!lab_may_share(directory) || is_shared(options, directory)) {
		/* The lab has a /dev/stdout of its own; what else is there is no file to keep. */
		free(directory);
		return 0;
	}
	if (options->n_shares == LAB_SHARES_MAX) {
		free(directory);
		return cmd_error(verb, CMD_USAGE, "files in more than %d directories to be written",
				 LAB_SHARES_MAX);
	}
	options->shares[options->n_shares++] = directory;
	return 0;
}

/* Why nobody could listen at `path` here; NULL when one could.  Nothing is changed. */
static const char *socket_fault(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	char copy[sizeof(address.sun_path)];
	struct stat status;
	int fd, error;

	if (!path[0] || strlen(path) >= sizeof(address.sun_path))
		return "the path of a socket has 1 to 107 bytes";
	strcpy(address.sun_path, path);
	strcpy(copy, path);
	if (access(dirname(copy), W_OK | X_OK) < 0)
		return strerror(errno);
	if (lstat(path, &status) < 0)
		return errno == ENOENT ? NULL : strerror(errno);
	if (!S_ISSOCK(status.st_mode))
		return "something that is no socket is there";
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return strerror(errno);
	error = connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0 ? errno : 0;
	close(fd);
	if (error == ECONNREFUSED) /* left behind: it would be replaced */
		return NULL;
	return error == EACCES ? strerror(error) : "in use by another process";
}

/* The exit status, after a line on stderr. */
static int refuse_socket(const char *verb, const char *path, const struct why *why)
{
	const char *fault = socket_fault(path);

	if (fault)
		return cmd_error(verb, CMD_USAGE, "socket %s: %s (give another path)", path, fault);
	return cmd_error(verb, CMD_CANNOT,
			 "socket %s: no usable KVM here (%s), and the emulated lab machine cannot "
			 "lend a socket (use standard streams or a file, or run in `vmtime lab` "
			 "what connects to it too)",
			 path, why->text);
}

static int run_again(int argc, char **argv, struct lab_options *options)
{
	char self[PATH_MAX], **again;
	int status, error = files_self(self, sizeof(self));

	if (error)
		return cmd_error(argv[0], CMD_CANNOT, "cannot find this command: %s",
				 strerror(-error));
	again = calloc((size_t)argc + 2, sizeof(*again));
	if (!again)
		return cmd_error(argv[0], CMD_CANNOT, "out of memory");
	again[0] = self;
	memcpy(again + 1, argv, (size_t)argc * sizeof(*again));
	status = lab_run(argv[0], options, again);
	free(again);
	return status;
}

int where_run(int argc, char **argv, const struct where_needs *needs)
{
	static const struct where_needs none;
	struct lab_options options = LAB_OPTIONS_DEFAULT;
	enum probe_tsc_class tsc_class;
	struct why why;
	int status = CMD_OK;

	if (probe_tsc(&tsc_class, &why) == 0) {
		if (needs && needs->ret_tsc_class)
			*needs->ret_tsc_class = tsc_class;
		return WHERE_HERE;
	}
	if (getenv(LAB_VARIABLE))
		return cmd_error(argv[0], CMD_CANNOT, "KVM does not work in the lab: %s", why.text);
	if (!needs)
		needs = &none;
	if (needs->check)
		status = needs->check(needs->arg);
	if (!status && needs->sockets && needs->sockets[0])
		status = refuse_socket(argv[0], needs->sockets[0], &why);
	if (!status && needs->reached)
		status =
			cmd_error(argv[0], CMD_CANNOT,
				  "%s: no usable KVM here (%s), and nobody reaches the emulated "
				  "lab machine there (run in `vmtime lab` what connects to it too)",
				  needs->reached, why.text);
	options.timeout_ns = needs->timeout_ns;
	if (LAB_OWN_MEMORY + needs->memory > options.memory)
		options.memory = (LAB_OWN_MEMORY + needs->memory) & ~((1ULL << 20) - 1);
	for (const char *const *path = needs->written; !status && path && *path; path++)
		status = share(argv[0], *path, &options);
	if (!status) {
		fprintf(stderr,
			"vmtime %s: no usable KVM here (%s); using the emulated lab machine\n",
			argv[0], why.text);
		status = run_again(argc, argv, &options);
	}
	for (unsigned i = 0; i < options.n_shares; i++)
		free((char *)(uintptr_t)options.shares[i]);
	return status;
}
