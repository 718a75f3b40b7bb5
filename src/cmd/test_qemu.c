/* SPDX-License-Identifier: Apache-2.0 */
/* test_qemu.c - which QEMU it is. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cmd/test_qemu.h"
#include "host/hostclock.h"

/* What a process says, to its end.  0 or negative errno. */
static int read_all(int fd, char *buf, size_t size)
{
	const uint64_t end_ns = hostclock_monotonic_ns() + 30000000000;
	struct pollfd wait = {.fd = fd, .events = POLLIN};
	size_t length = 0;
	ssize_t n = 1;

	while (n != 0 && length + 1 < size) {
		if (hostclock_monotonic_ns() >= end_ns)
			return -ETIMEDOUT;
		if (poll(&wait, 1, 100) <= 0)
			continue;
		n = read(fd, buf + length, size - 1 - length);
		if (n < 0 && errno != EINTR)
			return -errno;
		length += n > 0 ? (size_t)n : 0;
	}
	buf[length] = '\0';
	return 0;
}

/* Lets `qemu --version` speak.  0 or negative errno. */
static int ask_version(const char *qemu, char *text, size_t size)
{
	int out[2], status = 0, error;
	pid_t pid;

	if (pipe2(out, O_CLOEXEC) < 0)
		return -errno;
	pid = fork();
	error = pid < 0 ? -errno : 0;
	if (pid == 0) {
		dup2(out[1], STDOUT_FILENO);
		execlp(qemu, qemu, "--version", (char *)NULL);
		_exit(127);
	}
	close(out[1]);
	if (!error) {
		error = read_all(out[0], text, size);
		if (error)
			kill(pid, SIGKILL);
		while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
			;
	}
	close(out[0]);
	if (!error && WIFEXITED(status) && WEXITSTATUS(status) == 127)
		return -ENOENT;
	return error || status == 0 ? error : -EPROTO;
}

int test_qemu_version(const struct test_options *options, char *buf, size_t size)
{
	static const char before[] = "QEMU emulator version ";
	const char *qemu = options->qemu ? options->qemu : "qemu-system-x86_64";
	char text[256] = "", *at;
	int error = ask_version(qemu, text, sizeof(text));

	if (error)
		return error;
	at = strstr(text, before);
	if (!at)
		return -EPROTO;
	at += strlen(before);
	at[strcspn(at, " (\n")] = '\0';
	snprintf(buf, size, "%s", at);
	return 0;
}
