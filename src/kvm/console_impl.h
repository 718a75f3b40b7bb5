/* SPDX-License-Identifier: Apache-2.0 */
/* console_impl.h - what console.c and console_open.c share. */
#ifndef KVM_CONSOLE_IMPL_H
#define KVM_CONSOLE_IMPL_H

#include <pthread.h>
#include <termios.h>

#include "host/listen.h"
#include "kvm/console.h"

struct console_ring {
	pthread_mutex_t lock; /* short: taken for a copy of at most CONSOLE_STAGE bytes */
	uint8_t *bytes;       /* CONSOLE_RING of them */
	size_t first, length;
	uint64_t dropped;
	bool scheduled; /* the loop knows that there is something */
};

#define CONSOLE_STAGE 4096

struct console {
	enum console_kind kind;
	const char *path;
	struct event_base *base;
	struct console_port port;
	struct console_ring ring;
	int wake_fd; /* eventfd: output was put, or input has room again */
	struct event *wake, *timer;

	int in_fd, out_fd; /* -1: none now */
	bool own_in, own_out;
	bool is_socket;
	bool may_block;               /* out_fd: ask before each write */
	int output_error;             /* errno for which output was given up; 0: none */
	struct event *in, *out;       /* NULL: always ready, or not there */
	bool input_waits;             /* for room; guarded by ring.lock */
	bool at_end;                  /* input has ended */
	uint8_t typed[CONSOLE_STAGE]; /* read, but the port had no room yet */
	size_t typed_first, typed_length;

	uint8_t stage[CONSOLE_STAGE]; /* taken from the ring, not yet written */
	size_t stage_first, stage_length;

	struct listen_socket socket;
	struct event *listen;

	bool terminal;
	bool escaping; /* ctrl-a was typed */
	struct termios cooked;
};

/* Opens what console->kind and path say.  On an error console_release() cleans up. */
int console_open_file(struct console *console, struct why *why);
int console_open_stdio(struct console *console, struct why *why);
int console_open_socket(struct console *console, struct why *why);

/* Closes descriptors, restores the terminal and removes the socket. */
void console_release(struct console *console);

/* Starts to watch in_fd and out_fd, or stops and closes them. */
void console_attach(struct console *console);
void console_detach(struct console *console);

#endif
