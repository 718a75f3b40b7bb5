/* SPDX-License-Identifier: Apache-2.0 */
/* vmstate_parts.c - a list of byte strings, each of a kind. */
#include "kvm/vmstate_parts.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

bool vmstate_parts_knows(uint32_t kind, uint16_t version)
{
	return kind <= VMSTATE_FEATURES && version == 1;
}

static int make_room(struct vmstate_parts *p)
{
	uint32_t room = p->room ? p->room * 2 : 16;
	struct vmstate_part *parts;

	if (p->n < p->room)
		return 0;
	parts = realloc(p->parts, room * sizeof(*parts));
	if (!parts)
		return -ENOMEM;
	p->parts = parts;
	p->room = room;
	return 0;
}

int vmstate_parts_add(struct vmstate_parts *p, uint32_t kind, uint16_t version, uint32_t index,
		      const void *bytes, uint32_t length)
{
	struct vmstate_part part = {kind, index, version, length, NULL};

	if (p->n == VMSTATE_PARTS_MAX || p->bytes + length > VMSTATE_BYTES_MAX)
		return -E2BIG;
	if (vmstate_parts_find(p, kind, index))
		return -EEXIST;
	part.bytes = malloc(length ? length : 1);
	if (!part.bytes || make_room(p) < 0) {
		free(part.bytes);
		return -ENOMEM;
	}
	if (length)
		memcpy(part.bytes, bytes, length);
	p->parts[p->n++] = part;
	p->bytes += length;
	return 0;
}

const struct vmstate_part *vmstate_parts_find(const struct vmstate_parts *p, uint32_t kind,
					      uint32_t index)
{
	for (uint32_t i = 0; i < p->n; i++)
		if (p->parts[i].kind == kind && p->parts[i].index == index)
			return &p->parts[i];
	return NULL;
}

void vmstate_parts_free(struct vmstate_parts *p)
{
	for (uint32_t i = 0; i < p->n; i++)
		free(p->parts[i].bytes);
	free(p->parts);
	*p = (struct vmstate_parts){0};
}
