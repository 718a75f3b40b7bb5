/* SPDX-License-Identifier: Apache-2.0 */
/* state.c - a machine's state as sections of a stream. */
#include "move/state.h"

#include <errno.h>
#include <inttypes.h>

int state_put(struct stream_writer *w, const struct vmstate_parts *state, struct why *why)
{
	int result = 0;

	for (uint32_t i = 0; i < state->n && result == 0; i++) {
		const struct vmstate_part *p = &state->parts[i];
		const struct stream_section section = {
			.type = STREAM_STATE + p->kind,
			.version = p->version,
			.index = p->index,
			.length = p->length,
			.bytes = p->bytes,
		};

		result = stream_put(w, &section, why);
	}
	return result;
}

bool state_knows(const struct stream_section *section)
{
	return section->type >= STREAM_STATE &&
	       vmstate_parts_knows(section->type - STREAM_STATE, section->version);
}

int state_take(const struct stream_reader *r, const struct stream_section *section,
	       struct vmstate_parts *state, struct why *why)
{
	int result;

	if (!state_knows(section))
		return stream_unknown(r, section, why);
	result = vmstate_parts_add(state, section->type - STREAM_STATE, section->version,
				   section->index, section->bytes, section->length);
	switch (result) {
	case -E2BIG:
		return why_set(why, -EINVAL, "%s: has more state than any machine", r->name);
	case -EEXIST:
		return why_set(why, -EINVAL,
			       "%s: has two sections of type %" PRIu32 " and index %" PRIu32,
			       r->name, section->type, section->index);
	case -ENOMEM:
		return why_set(why, -ENOMEM, "%s: no memory to read it", r->name);
	default:
		return result;
	}
}
