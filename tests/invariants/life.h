/* SPDX-License-Identifier: Apache-2.0 */
/* life.h - one step in the life of a face, drawn at random or by a fuzzer, and what must hold. */
#ifndef TESTS_LIFE_H
#define TESTS_LIFE_H

#include <stdbool.h>

#include "../random.h"
#include "subject.h"

enum life_what { LIFE_ADVANCE, LIFE_READ, LIFE_WRITE, LIFE_OTHER };

struct life_step {
	enum life_what what;
	vmt_ns now;
	uint32_t reg, width, value; /* of an access; LIFE_OTHER: reg says which */
};

/* A step after `now`; `deadline`: the last one that was returned. */
struct life_step life_draw(const struct subject *f, struct random *random, vmt_ns now,
			   vmt_ns deadline);

/* *ret_value: what was read, else 0. */
struct vmt_out life_do(const struct subject *f, union subject_state *s,
		       const struct life_step *step, uint32_t *ret_value);

/* What the step broke; NULL: nothing.  s: the state after it; out: what it returned. */
const char *life_wrong(const struct subject *f, const union subject_state *s,
		       const struct life_step *step, const struct vmt_out *out);

/* Whether something wired happened between two answers. */
bool life_stirs(const struct subject *f, const struct vmt_out *before, const struct vmt_out *after);

#endif
