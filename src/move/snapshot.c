/* SPDX-License-Identifier: Apache-2.0 */
/* snapshot.c - a VM that stands still, as a file. */
#include "move/snapshot.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>

#include "move/crew.h"
#include "move/file.h"
#include "move/state.h"
#include "move/stream.h"

int snapshot_write(const struct stream_sink *sink, const char *name,
		   const struct vmstate_parts *state, const struct guest_memory *memory,
		   struct snapshot_watch *watch, struct image_stats *ret_stats, struct why *why)
{
	struct stream_writer w;
	int result = stream_begin(&w, sink, name, why);

	if (result == 0)
		result = state_put(&w, state, why);
	if (result == 0)
		result = image_put_all(&w, memory, watch ? &watch->give_up : NULL, ret_stats, why);
	if (result == 0 && watch && watch->taken)
		watch->taken(watch->owner);
	return result < 0 ? result : stream_end(&w, why);
}

int snapshot_save(const char *path, const struct vmstate_parts *state,
		  const struct guest_memory *memory, struct snapshot_watch *watch,
		  struct image_stats *ret_stats, struct why *why)
{
	struct file_new file;
	struct stream_sink sink;
	int result = file_create(path, &file, why);

	if (result < 0)
		return result;
	sink = file_sink(&file);
	result = snapshot_write(&sink, path, state, memory, watch, ret_stats, why);
	if (result == 0)
		return file_commit(&file, why);
	file_discard(&file);
	return result;
}

struct snapshot {
	struct stream_reader reader;
	struct vmstate_parts state;
	struct stream_section section; /* the one that ended the state ... */
	bool pending;                  /* ... which is not yet looked at; else: there was none */
	int fd;                        /* -1: not ours */
	bool opened;
};

static int read_state(struct snapshot *s, struct why *why)
{
	int result;

	while ((result = stream_next(&s->reader, &s->section, why)) > 0) {
		if (s->section.type == STREAM_MEMORY) {
			s->pending = true;
			return 0;
		}
		result = state_take(&s->reader, &s->section, &s->state, why);
		if (result < 0)
			return result;
	}
	return result;
}

static int start(struct snapshot *s, const struct stream_source *source, const char *name,
		 struct why *why)
{
	int result = stream_open(&s->reader, source, name, why);

	s->opened = result == 0;
	return result < 0 ? result : read_state(s, why);
}

int snapshot_read(const struct stream_source *source, const char *name,
		  struct snapshot **ret_snapshot, struct why *why)
{
	struct snapshot *s = calloc(1, sizeof(*s));
	int result;

	if (!s)
		return why_set(why, -ENOMEM, "%s: no memory to read it", name);
	s->fd = -1;
	result = start(s, source, name, why);
	if (result < 0) {
		snapshot_close(s);
		return result;
	}
	*ret_snapshot = s;
	return 0;
}

int snapshot_open(const char *path, struct snapshot **ret_snapshot, struct why *why)
{
	struct snapshot *s = calloc(1, sizeof(*s));
	struct stream_source source;
	int result;

	if (!s)
		return why_set(why, -ENOMEM, "%s: no memory to read it", path);
	s->fd = file_open(path, why);
	source = file_source(&s->fd);
	result = s->fd < 0 ? s->fd : start(s, &source, path, why);
	if (result < 0) {
		snapshot_close(s);
		return result;
	}
	*ret_snapshot = s;
	return 0;
}

const struct vmstate_parts *snapshot_state(const struct snapshot *s)
{
	return &s->state;
}

/* What follows the state and is no memory. */
static int take_other(const struct snapshot *s, struct why *why)
{
	if (state_knows(&s->section))
		return why_set(why, -EINVAL, "%s: has state behind its memory", s->reader.name);
	return stream_unknown(&s->reader, &s->section, why);
}

static int no_memory(const struct snapshot *s, struct why *why)
{
	return why_set(why, -ENOMEM, "%s: no memory to read it", s->reader.name);
}

/* A thread's own, which it gets when it first needs it. */
struct hand {
	struct image *image;
	uint8_t *bytes; /* of the section */
	struct stream_section section;
	struct image_piece piece;
	struct why why;
};

struct reading {
	struct snapshot *s;
	const struct guest_memory *fresh;
	unsigned hands; /* one alone may leave its section where it was read */
	uint64_t at;    /* up to here all has come */
};

/* Every page once, in the order of addresses: what is missing would be zeros, silently. */
static int take_memory(struct reading *r, struct hand *h)
{
	struct snapshot *s = r->s;
	const struct guest_memory *fresh = r->fresh;
	int result = image_look(&s->reader, &s->section, fresh, &h->piece, &h->why);

	if (result < 0 || !h->piece.pages)
		return result;
	if (h->piece.gpa != r->at || h->piece.data + h->piece.zero != h->piece.pages)
		return why_set(&h->why, -EINVAL,
			       "%s: its memory has a gap at 0x%" PRIx64 " (take an intact copy of "
			       "it)",
			       s->reader.name, r->at);
	r->at += h->piece.pages * MEMORY_PAGE;
	if (r->at == fresh->low_size && fresh->high_size)
		r->at = MEMORY_HIGH_BASE;
	if (r->hands > 1 && !h->bytes && !(h->bytes = malloc(STREAM_MOST)))
		return no_memory(s, &h->why);
	h->section = s->section;
	if (r->hands > 1)
		h->section.bytes = h->bytes = stream_swap(&s->reader, h->bytes);
	return 1;
}

/* The next section of memory; what may be left out is. */
static int take(void *owner, void *hand)
{
	struct reading *r = owner;
	struct snapshot *s = r->s;
	struct hand *h = hand;
	int result = 0;

	while (result == 0) {
		result = s->pending ? 1 : stream_next(&s->reader, &s->section, &h->why);
		s->pending = false;
		if (result <= 0)
			return result;
		result = s->section.type == STREAM_MEMORY ? take_memory(r, h)
							  : take_other(s, &h->why);
	}
	return result;
}

static int unpack(void *owner, void *hand)
{
	const struct reading *r = owner;
	struct hand *h = hand;

	if (!h->image && !(h->image = image_new()))
		return no_memory(r->s, &h->why);
	return image_unpack(h->image, r->s->reader.name, &h->section, &h->piece, r->fresh, true,
			    &h->why);
}

static int read_all(struct reading *r, struct image_stats *ret_stats, struct why *why)
{
	const struct crew crew = {take, unpack, NULL, r};
	struct hand hands[CREW_MOST] = {{0}};
	void *pointers[CREW_MOST] = {NULL};
	unsigned n = r->hands, failed = 0;
	int result;

	*ret_stats = (struct image_stats){0};
	for (unsigned i = 0; i < n; i++)
		pointers[i] = &hands[i];
	result = crew_run(&crew, pointers, n, &failed);
	for (unsigned i = 0; i < n; i++) {
		if (hands[i].image)
			image_add_stats(hands[i].image, ret_stats);
		image_free(hands[i].image);
		free(hands[i].bytes);
	}
	if (result < 0)
		why_set(why, result, "%s", hands[failed].why.text);
	return result;
}

/* What it was read by; all that is left is the state. */
static void let_go(struct snapshot *s)
{
	if (s->opened)
		stream_close(&s->reader);
	s->opened = false;
	if (s->fd >= 0)
		close(s->fd);
	s->fd = -1;
}

int snapshot_memory(struct snapshot *s, const struct guest_memory *fresh,
		    struct image_stats *ret_stats, struct why *why)
{
	const uint64_t end =
		fresh->high_size ? MEMORY_HIGH_BASE + fresh->high_size : fresh->low_size;
	struct reading r = {
		.s = s,
		.fresh = fresh,
		.hands = crew_hands(fresh->low_size + fresh->high_size),
	};
	int result = read_all(&r, ret_stats, why);

	if (result == 0 && r.at != end)
		result = why_set(why, -EINVAL,
				 "%s: its memory ends at 0x%" PRIx64 ", not at 0x%" PRIx64
				 " (give --memory as it was)",
				 s->reader.name, r.at, end);
	if (result == 0)
		result = stream_nothing_more(&s->reader, why);
	let_go(s);
	return result;
}

void snapshot_close(struct snapshot *s)
{
	if (!s)
		return;
	let_go(s);
	vmstate_parts_free(&s->state);
	free(s);
}
