/* SPDX-License-Identifier: Apache-2.0 */
/* snap.c - little-endian records with length and checksum. */
#include "core/snap.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <string.h>

enum { MAGIC = 0x73544d56, LENGTH_AT = 8, FIELDS_AT = 12, CRC_BYTES = 4 };

static_assert(FIELDS_AT + CRC_BYTES == VMT_SNAP_AROUND, "what surrounds the fields");

static void store(uint8_t *to, uint64_t value, unsigned bytes)
{
	for (unsigned i = 0; i < bytes; i++)
		to[i] = (uint8_t)(value >> (8 * i));
}

static uint64_t fetch(const uint8_t *from, unsigned bytes)
{
	uint64_t value = 0;

	for (unsigned i = 0; i < bytes; i++)
		value |= (uint64_t)from[i] << (8 * i);
	return value;
}

/* Without a table: a few hundred bytes, seldom. */
static uint32_t crc32(const uint8_t *bytes, size_t count)
{
	uint32_t crc = UINT32_MAX;

	for (size_t i = 0; i < count; i++) {
		crc ^= bytes[i];
		for (int bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? 0xedb88320 : 0);
	}
	return ~crc;
}

void vmt_snap_put_bytes(struct vmt_snap_writer *w, const uint8_t *from, size_t count)
{
	if (w->used <= w->size && count <= w->size - w->used)
		memcpy(w->buf + w->used, from, count);
	w->used += count;
}

void vmt_snap_put(struct vmt_snap_writer *w, uint64_t value, unsigned bytes)
{
	uint8_t field[8];

	store(field, value, bytes);
	vmt_snap_put_bytes(w, field, bytes);
}

void vmt_snap_start(struct vmt_snap_writer *w, void *buf, size_t size, uint16_t kind,
		    uint16_t version)
{
	*w = (struct vmt_snap_writer){.buf = buf, .size = size};
	vmt_snap_put(w, MAGIC, 4);
	vmt_snap_put(w, kind, 2);
	vmt_snap_put(w, version, 2);
	vmt_snap_put(w, 0, 4); /* the length, once it is known */
}

int vmt_snap_finish(struct vmt_snap_writer *w)
{
	size_t fields = w->used - FIELDS_AT;

	if (w->used > w->size || w->size - w->used < CRC_BYTES || w->used > INT_MAX - CRC_BYTES)
		return -ENOSPC;
	store(w->buf + LENGTH_AT, fields, 4);
	vmt_snap_put(w, crc32(w->buf, w->used), CRC_BYTES);
	return (int)w->used;
}

size_t vmt_snap_length(const void *buf, size_t size)
{
	const uint8_t *bytes = buf;
	size_t fields;

	if (size < VMT_SNAP_AROUND || fetch(bytes, 4) != MAGIC)
		return 0;
	fields = (size_t)fetch(bytes + LENGTH_AT, 4);
	return fields <= size - VMT_SNAP_AROUND ? fields + VMT_SNAP_AROUND : 0;
}

void vmt_snap_open(struct vmt_snap_reader *r, const void *buf, size_t size, uint16_t kind,
		   uint16_t version)
{
	const uint8_t *bytes = buf;

	*r = (struct vmt_snap_reader){.buf = bytes, .used = FIELDS_AT, .error = -EINVAL};
	if (!size || vmt_snap_length(bytes, size) != size)
		return;
	r->end = size - CRC_BYTES;
	if (fetch(bytes + 4, 2) == kind && fetch(bytes + 6, 2) == version &&
	    fetch(bytes + r->end, CRC_BYTES) == crc32(bytes, r->end))
		r->error = 0;
}

void vmt_snap_get_bytes(struct vmt_snap_reader *r, uint8_t *to, size_t count)
{
	if (r->error || count > r->end - r->used) {
		r->error = -EINVAL;
		memset(to, 0, count);
		return;
	}
	memcpy(to, r->buf + r->used, count);
	r->used += count;
}

uint64_t vmt_snap_get(struct vmt_snap_reader *r, unsigned bytes)
{
	uint8_t field[8];

	vmt_snap_get_bytes(r, field, bytes);
	return fetch(field, bytes);
}

int vmt_snap_close(const struct vmt_snap_reader *r)
{
	return r->error || r->used != r->end ? -EINVAL : 0;
}
