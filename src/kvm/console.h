/* SPDX-License-Identifier: Apache-2.0 */
/* console.h - the host's side of a serial port: standard streams, a file or a UNIX socket.
 *
 * Output goes into a ring of CONSOLE_RING bytes; the loop's thread writes it out.  console_put()
 * never waits: with a full ring the oldest bytes make room and are counted as dropped.  So a reader
 * that keeps up loses nothing, a stalled one harms nobody, and who connects late to a socket gets
 * the newest CONSOLE_RING bytes.
 *
 * Output that fails ends output only, except a client's: what comes later is dropped, input goes
 * on.
 *
 * Input is taken only as fast as the port has room for it.
 *
 * Threads: console_put() and console_has_room() from any; all else from the loop's. */
#ifndef KVM_CONSOLE_H
#define KVM_CONSOLE_H

#include <event2/event.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "host/why.h"

#define CONSOLE_RING (1U << 20)

enum console_kind { CONSOLE_NONE = 0, CONSOLE_STDIO, CONSOLE_FILE, CONSOLE_UNIX };

struct console_config {
	enum console_kind kind;
	const char *path; /* FILE: created, or kept; UNIX: a listening socket, mode 0600 */
};

/* Where input goes; called in the loop's thread. */
struct console_port {
	unsigned (*room)(void *port); /* bytes that it can take now */
	void (*input)(void *port, const uint8_t *bytes, unsigned length);
	void *port;
	void (*escape)(void *owner); /* ctrl-a x was typed on the terminal */
	void *owner;
};

struct console;

/* 0 or negative errno and nothing left behind: -EADDRINUSE, -EACCES, -ENAMETOOLONG, ...  A socket
 * on which nobody listens is replaced. */
int console_open(const struct console_config *config, struct event_base *base,
		 const struct console_port *port, struct console **ret_console, struct why *why);

/* A file is emptied, once it is sure that there will be output.  Takes NULL. */
void console_empty(struct console *console);

/* Writes out what it can without waiting longer than a second for a stalled reader or five in all,
 * restores the terminal, removes the socket.  Takes NULL.  Returns how many bytes were dropped in
 * all.  When that is because output failed (a full disk; not a pipe whose reader went away), `why`
 * says so; else it is left as it is. */
uint64_t console_close(struct console *console, struct why *why);

/* The guest has sent bytes. */
void console_put(struct console *console, const uint8_t *bytes, size_t length);

/* The port has room for input again. */
void console_has_room(struct console *console);

#endif
