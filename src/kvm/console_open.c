/* SPDX-License-Identifier: Apache-2.0 */
/* console_open.c - standard streams, files and sockets for a console; the terminal's mode. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kvm/console_impl.h"

int console_open_file(struct console *c, struct why *why)
{
	c->out_fd = open(c->path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NONBLOCK, 0666);
	if (c->out_fd < 0)
		return why_set(why, -errno, "serial output file %s: %s (give another path)",
			       c->path, strerror(errno));
	c->own_out = true;
	console_attach(c);
	return 0;
}

/* What cannot be emptied is no file, or one that takes what it is given (append only). */
void console_empty(struct console *c)
{
	if (c && c->kind == CONSOLE_FILE && c->out_fd >= 0)
		(void)!ftruncate(c->out_fd, 0);
}

/* A second description of the same terminal or pipe, which can be made non-blocking without
 * changing how other programs see theirs. */
static int reopen(int fd, int flags)
{
	char path[32];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return open(path, flags | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
}

/* Raw, so that the guest's shell sees every key; only while we are in the terminal's foreground,
 * since a background job would be stopped by trying. */
static void make_raw(struct console *c)
{
	struct termios raw;

	if (!isatty(c->in_fd) || tcgetpgrp(c->in_fd) != getpgrp() ||
	    tcgetattr(c->in_fd, &c->cooked) < 0)
		return;
	raw = c->cooked;
	cfmakeraw(&raw);
	c->terminal = tcsetattr(c->in_fd, TCSANOW, &raw) == 0;
}

int console_open_stdio(struct console *c, struct why *why)
{
	struct stat s;

	(void)why;
	c->in_fd = fcntl(STDIN_FILENO, F_GETFD) < 0 ? -1 : STDIN_FILENO;
	c->out_fd = fcntl(STDOUT_FILENO, F_GETFD) < 0 ? -1 : STDOUT_FILENO;
	if (c->out_fd >= 0 && fstat(c->out_fd, &s) == 0) {
		c->is_socket = S_ISSOCK(s.st_mode);
		if (S_ISFIFO(s.st_mode) || S_ISCHR(s.st_mode)) {
			int fd = reopen(c->out_fd, O_WRONLY);

			c->own_out = fd >= 0;
			c->out_fd = fd >= 0 ? fd : c->out_fd;
			c->may_block = fd < 0 && !(fcntl(c->out_fd, F_GETFL) & O_NONBLOCK);
		}
	}
	if (c->in_fd >= 0)
		make_raw(c);
	console_attach(c);
	return 0;
}

static void on_connection(evutil_socket_t fd, short what, void *arg)
{
	struct console *c = arg;
	int client = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	(void)what;
	if (client < 0)
		return;
	if (c->in_fd >= 0)
		console_detach(c); /* it had closed its sending side */
	event_del(c->listen);
	c->in_fd = c->out_fd = client;
	c->own_in = c->own_out = c->is_socket = true;
	console_attach(c);
}

int console_open_socket(struct console *c, struct why *why)
{
	int result = listen_open(c->path, "serial socket", 1, &c->socket, why);

	if (result < 0)
		return result;
	c->listen = event_new(c->base, c->socket.fd, EV_READ | EV_PERSIST, on_connection, c);
	if (!c->listen || event_add(c->listen, NULL) < 0)
		return why_set(why, -ENOMEM, "no memory for a console");
	return 0;
}

void console_release(struct console *c)
{
	if (c->terminal)
		tcsetattr(STDIN_FILENO, TCSANOW, &c->cooked);
	if (c->listen)
		event_free(c->listen);
	c->listen = NULL;
	console_detach(c);
	listen_close(&c->socket);
}
