/* SPDX-License-Identifier: Apache-2.0 */
/* buffer.h - a sink and a source in memory, for streams; the sink can become full, the source gives
 * what it has in pieces. */
#ifndef TESTS_BUFFER_H
#define TESTS_BUFFER_H

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "move/stream.h"

struct buffer {
	uint8_t *bytes;
	size_t length, room;
	size_t full;  /* takes no byte beyond; 0: no limit */
	size_t read;  /* so far */
	size_t piece; /* gives no more at a time; 0: all */
	bool live;    /* it is a connection's */
};

static inline int buffer_put(void *to, const void *bytes, size_t count)
{
	struct buffer *b = to;

	if (b->full && b->length + count > b->full)
		return -ENOSPC;
	if (b->length + count > b->room) {
		b->room = (b->length + count) * 2;
		b->bytes = realloc(b->bytes, b->room);
		if (!b->bytes)
			abort();
	}
	memcpy(b->bytes + b->length, bytes, count);
	b->length += count;
	return 0;
}

static inline ssize_t buffer_get(void *from, void *bytes, size_t most)
{
	struct buffer *b = from;
	size_t count = b->length - b->read;

	count = count < most ? count : most;
	count = b->piece && count > b->piece ? b->piece : count;
	if (count)
		memcpy(bytes, b->bytes + b->read, count);
	b->read += count;
	return (ssize_t)count;
}

static inline struct stream_sink buffer_sink(struct buffer *b)
{
	return (struct stream_sink){buffer_put, b, b->live};
}

/* From its beginning. */
static inline struct stream_source buffer_source(struct buffer *b)
{
	b->read = 0;
	return (struct stream_source){buffer_get, b, b->live};
}

#endif
