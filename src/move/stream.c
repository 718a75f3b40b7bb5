/* SPDX-License-Identifier: Apache-2.0 */
/* stream.c - header and sections, written and read one after the other. */
#include "move/stream.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <vmtime/vmtime.h>

#include "kvm/bytes.h"
#include "move/crc32c.h"

/* What a transfer as text would change is in it: a byte above 127, both ends of line, end of file.
 */
static const uint8_t magic[8] = {0x89, 'V', 'M', 'T', '\r', '\n', 0x1a, '\n'};

/* Of the header. */
enum { VERSION_AT = 8, LENGTH_AT = 10, FLAGS_AT = 12, WRITER_AT = 16, WRITER = 12, CRC_AT = 28 };

/* Of a section's header. */
enum {
	S_TYPE_AT = 0,
	S_VERSION_AT = 4,
	S_FLAGS_AT = 6,
	S_INDEX_AT = 8,
	S_NUMBER_AT = 12,
	S_LENGTH_AT = 16,
	S_BYTES_CRC_AT = 20,
	S_ZERO_AT = 24,
	S_CRC_AT = 28,
};

int stream_broken(const char *name, int result, struct why *why)
{
	switch (result) {
	case -ETIMEDOUT:
		return why_set(why, result, "%s: nothing moves (look after the network between)",
			       name);
	case -ECANCELED:
		return why_set(why, result, "%s: was given up", name);
	case -EPIPE:
	case -ECONNRESET:
		return why_set(why, result, "%s: the other side has closed the connection", name);
	default:
		return why_set(why, result, "%s: the connection broke: %s", name,
			       strerror(-result));
	}
}

static int put(struct stream_writer *w, const void *bytes, size_t count, struct why *why)
{
	int result = w->sink.put(w->sink.to, bytes, count);

	w->torn |= result < 0;
	if (result < 0 && w->sink.live)
		return stream_broken(w->name, result, why);
	if (result < 0)
		return why_set(why, result, "%s: cannot be written: %s (%s)", w->name,
			       strerror(-result),
			       result == -ENOSPC ? "make room on that disk" : "write it elsewhere");
	w->bytes += count;
	return 0;
}

int stream_begin(struct stream_writer *w, const struct stream_sink *sink, const char *name,
		 struct why *why)
{
	uint8_t header[STREAM_HEADER] = {0};

	*w = (struct stream_writer){.sink = *sink, .name = name};
	memcpy(header, magic, sizeof(magic));
	put16(header + VERSION_AT, STREAM_VERSION);
	put16(header + LENGTH_AT, STREAM_HEADER);
	static_assert(sizeof(VMT_VERSION) <= WRITER, "there is room for it");
	memcpy(header + WRITER_AT, VMT_VERSION, sizeof(VMT_VERSION));
	put32(header + CRC_AT, crc32c(0, header, CRC_AT));
	return put(w, header, sizeof(header), why);
}

/* Of what follows a section's header. */
static uint32_t sum(uint16_t flags, const uint8_t *bytes, uint32_t length)
{
	if (flags & STREAM_OWN_SUM && length > STREAM_HEAD)
		length = STREAM_HEAD;
	return crc32c(0, bytes, length);
}

int stream_put(struct stream_writer *w, const struct stream_section *section, struct why *why)
{
	uint8_t header[STREAM_SECTION] = {0};
	int result;

	if (section->length > STREAM_MOST)
		return why_set(why, -EINVAL, "%s: a section of %" PRIu32 " bytes is too long",
			       w->name, section->length);
	put32(header + S_TYPE_AT, section->type);
	put16(header + S_VERSION_AT, section->version);
	put16(header + S_FLAGS_AT, section->flags);
	put32(header + S_INDEX_AT, section->index);
	put32(header + S_NUMBER_AT, w->sections);
	put32(header + S_LENGTH_AT, section->length);
	put32(header + S_BYTES_CRC_AT, sum(section->flags, section->bytes, section->length));
	put32(header + S_CRC_AT, crc32c(0, header, S_CRC_AT));
	result = put(w, header, sizeof(header), why);
	if (result == 0 && section->length)
		result = put(w, section->bytes, section->length, why);
	w->sections++;
	return result;
}

int stream_end(struct stream_writer *w, struct why *why)
{
	const struct stream_section end = {.type = STREAM_END, .version = 1};

	return stream_put(w, &end, why);
}

static int cannot_read(const struct stream_reader *r, ssize_t got, struct why *why)
{
	if (r->source.live)
		return stream_broken(r->name, (int)got, why);
	return why_set(why, (int)got, "%s: cannot be read: %s", r->name, strerror((int)-got));
}

/* Exactly `count` bytes. */
static int get(struct stream_reader *r, uint8_t *bytes, size_t count, struct why *why)
{
	while (count) {
		ssize_t got = r->source.get(r->source.from, bytes, count);

		if (got < 0)
			return cannot_read(r, got, why);
		if (got == 0 && r->source.live)
			return cannot_read(r, -ECONNRESET, why);
		if (got == 0)
			return why_set(why, -EINVAL,
				       "%s: ends too early, in section %" PRIu32
				       " (take a whole copy of it)",
				       r->name, r->sections);
		bytes += got;
		count -= (size_t)got;
	}
	return 0;
}

/* What helps against damage. */
static const char *remedy(const struct stream_reader *r)
{
	return r->source.live ? "try again" : "take an intact copy of it";
}

static int damaged(const struct stream_reader *r, const char *what, struct why *why)
{
	return why_set(why, -EINVAL,
		       "%s: damaged: %s of section %" PRIu32 " not match its checksum (%s)",
		       r->name, what, r->sections, remedy(r));
}

static int foreign(const struct stream_reader *r, struct why *why)
{
	return why_set(why, -EINVAL, "%s: is no %s of vmtime", r->name,
		       r->source.live ? "stream" : "snapshot");
}

static int check_header(struct stream_reader *r, const uint8_t *header, struct why *why)
{
	if (memcmp(header, magic, sizeof(magic)) != 0)
		return foreign(r, why);
	if (get32(header + CRC_AT) != crc32c(0, header, CRC_AT))
		return why_set(why, -EINVAL,
			       "%s: damaged: its header does not match its checksum (%s)", r->name,
			       remedy(r));
	memcpy(r->writer, header + WRITER_AT, WRITER);
	for (char *c = r->writer; *c; c++)
		if (*c < ' ' || *c > '~')
			*c = '?';
	r->version = get16(header + VERSION_AT);
	if (r->version > STREAM_VERSION)
		return why_set(why, -ENOTSUP,
			       "%s: has version %u of the format, written by vmtime %s; this one "
			       "reads up to version %u (use that vmtime, or a later one)",
			       r->name, r->version, r->writer, STREAM_VERSION);
	if (r->version < 1 || get16(header + LENGTH_AT) != STREAM_HEADER ||
	    get32(header + FLAGS_AT) != 0)
		return why_set(why, -ENOTSUP,
			       "%s: has a header that this vmtime does not know, written by vmtime "
			       "%s (use that one)",
			       r->name, r->writer);
	return 0;
}

int stream_open(struct stream_reader *r, const struct stream_source *source, const char *name,
		struct why *why)
{
	uint8_t header[STREAM_HEADER];
	size_t got = 0;
	ssize_t more;
	int result;

	*r = (struct stream_reader){.source = *source, .name = name};
	/* What is shorter than a header may still be seen not to be one of ours. */
	do {
		more = source->get(source->from, header + got, sizeof(header) - got);
		got += more > 0 ? (size_t)more : 0;
	} while (more > 0 && got < sizeof(header));
	if (more < 0)
		return cannot_read(r, more, why);
	if (got < sizeof(header) && source->live &&
	    memcmp(header, magic, got < sizeof(magic) ? got : sizeof(magic)) == 0)
		return cannot_read(r, -ECONNRESET, why);
	if (got < sizeof(header) && (got < sizeof(magic) || memcmp(header, magic, sizeof(magic))))
		return foreign(r, why);
	if (got < sizeof(header))
		return why_set(why, -EINVAL,
			       "%s: ends too early, in its header (take a whole copy of it)", name);
	result = check_header(r, header, why);
	if (result < 0)
		return result;
	r->bytes = malloc(STREAM_MOST);
	return r->bytes ? 0 : why_set(why, -ENOMEM, "%s: no memory to read it", name);
}

void stream_close(struct stream_reader *r)
{
	free(r->bytes);
	r->bytes = NULL;
}

static int check_section(const struct stream_reader *r, const uint8_t *header, struct why *why)
{
	const uint16_t own = get32(header + S_TYPE_AT) == STREAM_MEMORY ? STREAM_OWN_SUM : 0;
	const int flags = STREAM_OPTIONAL | own;

	if (get32(header + S_CRC_AT) != crc32c(0, header, S_CRC_AT))
		return damaged(r, "the header does", why);
	if (get32(header + S_NUMBER_AT) != r->sections)
		return why_set(why, -EINVAL,
			       "%s: damaged: section %" PRIu32 " comes where section %" PRIu32
			       " should (%s)",
			       r->name, get32(header + S_NUMBER_AT), r->sections, remedy(r));
	if (get16(header + S_FLAGS_AT) & ~flags || get32(header + S_ZERO_AT) != 0)
		return why_set(why, -ENOTSUP,
			       "%s: section %" PRIu32 " has flags that this vmtime does not know "
			       "(use vmtime %s, which wrote it)",
			       r->name, r->sections, r->writer);
	if (get32(header + S_LENGTH_AT) > STREAM_MOST)
		return why_set(why, -EINVAL,
			       "%s: section %" PRIu32 " of %" PRIu32 " bytes is longer than any",
			       r->name, r->sections, get32(header + S_LENGTH_AT));
	return 0;
}

int stream_next(struct stream_reader *r, struct stream_section *ret_section, struct why *why)
{
	struct stream_section *s = ret_section;
	uint8_t header[STREAM_SECTION];
	int result;

	if (r->ended)
		return 0;
	result = get(r, header, sizeof(header), why);
	if (result == 0)
		result = check_section(r, header, why);
	if (result < 0)
		return result;
	*s = (struct stream_section){
		.type = get32(header + S_TYPE_AT),
		.version = get16(header + S_VERSION_AT),
		.flags = get16(header + S_FLAGS_AT),
		.index = get32(header + S_INDEX_AT),
		.length = get32(header + S_LENGTH_AT),
		.bytes = r->bytes,
	};
	result = get(r, r->bytes, s->length, why);
	if (result < 0)
		return result;
	if (get32(header + S_BYTES_CRC_AT) != sum(s->flags, r->bytes, s->length))
		return damaged(r, "the bytes do", why);
	if (s->type == STREAM_END && (s->length || s->version != 1 || s->flags & STREAM_OPTIONAL)) {
		s->flags = 0; /* an end that is not understood is none that can be left out */
		return stream_unknown(r, s, why);
	}
	r->sections++;
	r->ended = s->type == STREAM_END;
	return !r->ended;
}

uint8_t *stream_swap(struct stream_reader *r, uint8_t *other)
{
	uint8_t *bytes = r->bytes;

	r->bytes = other;
	return bytes;
}

int stream_nothing_more(struct stream_reader *r, struct why *why)
{
	uint8_t byte;
	ssize_t got = r->source.get(r->source.from, &byte, 1);

	if (got < 0)
		return cannot_read(r, got, why);
	return got ? why_set(why, -EINVAL, "%s: goes on behind its end (take an intact copy of it)",
			     r->name)
		   : 0;
}

int stream_unknown(const struct stream_reader *r, const struct stream_section *section,
		   struct why *why)
{
	if (section->flags & STREAM_OPTIONAL)
		return 0;
	return why_set(why, -ENOTSUP,
		       "%s: has a section of type %" PRIu32 ", version %u, that this vmtime does "
		       "not know (use vmtime %s, which wrote it, or a later one)",
		       r->name, section->type, section->version, r->writer);
}
