/* SPDX-License-Identifier: Apache-2.0 */
/* wire.h - a socket as sink and source of a stream, with patience, a limit of speed, and somebody
 * who may give it up.
 *
 * Its thread is the one that reads and writes.  Any thread may set the limit and *give_up. */
#ifndef MOVE_WIRE_H
#define MOVE_WIRE_H

#include <stdbool.h>
#include <stdint.h>

#include "move/stream.h"

/* A process that does not get its turn on a busy machine is late by less. */
#define WIRE_PARTING_NS UINT64_C(500000000)

struct wire {
	int fd; /* non-blocking; its own */
	/* No byte has gone out of the socket's queue, or come, for so long: -ETIMEDOUT.
	 * UINT64_MAX: as long as it takes. */
	uint64_t patience_ns;
	/* Set: -ECANCELED within 50 ms, unless something has come by then.  What is to go has
	 * parting_ns, all of it together. */
	const bool *give_up;
	/* From this reading of hostclock_monotonic_ns() on nothing is read any more, whatever has
	 * come: -ETIMEDOUT; and what is to be written is not waited for.  0: never. */
	uint64_t read_until_ns, write_until_ns;
	uint64_t limit;      /* bytes a second that are written; 0: none; atomic */
	uint64_t sent;       /* bytes; atomic */
	uint64_t due_ns;     /* when the next byte may be written, by the limit */
	uint64_t parting_ns; /* WIRE_PARTING_NS, unless it was set */
	uint64_t over_ns;    /* when that has passed; 0: it was not given up yet */
};

void wire_init(struct wire *w, int fd, uint64_t patience_ns, const bool *give_up);
void wire_close(struct wire *w);

/* Both keep the struct by reference.  The source's get() says 0 when the other side has closed. */
struct stream_sink wire_sink(struct wire *w);
struct stream_source wire_source(struct wire *w);

/* Bytes that were written and have not got to the other side's system, or of a UNIX socket to the
 * other process, with what the kernel needs for them: a socket takes megabytes that a slow link has
 * yet to carry.  (SIOCOUTQ: tcp(7), unix(7).) */
uint64_t wire_queued(const struct wire *w);

/* Waits until no more than so many are queued, or something has come.  0; -ETIMEDOUT and
 * -ECANCELED, as if it wrote. */
int wire_drain(const struct wire *w, uint64_t most);

/* So far from now, for read_until_ns and write_until_ns. */
uint64_t wire_until(uint64_t ns);

/* Whether something has come that was not read yet, or the other side has closed, or broken, the
 * connection: it costs a system call. */
bool wire_waits(const struct wire *w);

#endif
