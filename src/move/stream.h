/* SPDX-License-Identifier: Apache-2.0 */
/* stream.h - the bytes of a VM on their way into a file or through a pipe: a header, then sections.
 *
 * docs/snapshot-format.md has every byte.  Each section says its type, version and length, and has
 * checksums of its own header and of what follows; its number in the stream shows one that is
 * missing or came twice.  Nothing is ever gone back to, so a pipe serves as well as a file.
 *
 * Reader and writer hold one section at a time, at most STREAM_MOST bytes.  Nothing here knows what
 * the sections mean. */
#ifndef MOVE_STREAM_H
#define MOVE_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "host/why.h"

#define STREAM_VERSION 1 /* of the format; a reader takes 1 to this one */
#define STREAM_HEADER 32 /* bytes: for ever of this form, whatever the version */
#define STREAM_SECTION 32
#define STREAM_MOST (2U << 20)

/* Types of sections.  A number never changes its meaning. */
enum stream_type {
	STREAM_END = 1, /* the last one, empty */
	STREAM_MEMORY = 2,
	STREAM_STATE = 256, /* and on: plus enum vmstate_kind */
};

/* A reader that does not know the type may leave the section out. */
#define STREAM_OPTIONAL 1
/* Of memory alone: the checksum is of the first STREAM_HEAD bytes, who reads the section checks the
 * others. */
#define STREAM_OWN_SUM 2
#define STREAM_HEAD 128

struct stream_section {
	uint32_t type;
	uint16_t version; /* of this type, from 1 */
	uint16_t flags;   /* STREAM_OPTIONAL, STREAM_OWN_SUM, or 0 */
	uint32_t index;   /* which of several: a CPU's number; else 0 */
	uint32_t length;
	const uint8_t *bytes;
};

/* Takes all of `count` bytes: 0, or negative errno. */
struct stream_sink {
	int (*put)(void *to, const void *bytes, size_t count);
	void *to;
	bool live; /* somebody takes it at once: no file, which is what goes wrong says */
};

/* Gives at most `most` bytes: how many, 0 when there are no more, or negative errno. */
struct stream_source {
	ssize_t (*get)(void *from, void *bytes, size_t most);
	void *from;
	bool live;
};

struct stream_writer {
	struct stream_sink sink;
	const char *name; /* for what goes wrong: the file's */
	uint32_t sections;
	uint64_t bytes; /* written so far */
	bool torn;      /* a section was not written whole, so that none can follow */
};

/* Writes the header.  All of these: 0, or negative errno. */
int stream_begin(struct stream_writer *w, const struct stream_sink *sink, const char *name,
		 struct why *why);
int stream_put(struct stream_writer *w, const struct stream_section *section, struct why *why);
int stream_end(struct stream_writer *w, struct why *why);

struct stream_reader {
	struct stream_source source;
	const char *name;
	uint16_t version; /* of the format, as the header has it */
	char writer[13];  /* version of the vmtime that wrote it */
	uint32_t sections;
	bool ended; /* STREAM_END was read */
	uint8_t *bytes;
};

/* Reads the header.  0, or -EINVAL: it is no such stream, damaged or cut off (-ECONNRESET where it
 * is live); -ENOTSUP: of a later version; -ENOMEM; or what the source said.  After an error there
 * is nothing to close. */
int stream_open(struct stream_reader *r, const struct stream_source *source, const char *name,
		struct why *why);
void stream_close(struct stream_reader *r);

/* The next section, which is whole (but see STREAM_OWN_SUM); its bytes are good until the next
 * call. 1; 0 at the end; negative errno as above, -ENOTSUP also for flags that are not known. */
int stream_next(struct stream_reader *r, struct stream_section *ret_section, struct why *why);

/* The bytes of the last section become the caller's, for as long as it likes; `other`, STREAM_MOST
 * bytes from malloc(), becomes the reader's in their place.  Returns where they are. */
uint8_t *stream_swap(struct stream_reader *r, uint8_t *other);

/* After the end: -EINVAL when something follows. */
int stream_nothing_more(struct stream_reader *r, struct why *why);

/* What is said of a connection that failed with that: `result`, negative errno. */
int stream_broken(const char *name, int result, struct why *why);

/* What a reader says of a section that it does not know.  0 when it may be left out, or
 * -ENOTSUP. */
int stream_unknown(const struct stream_reader *r, const struct stream_section *section,
		   struct why *why);

#endif
