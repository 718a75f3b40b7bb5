/* SPDX-License-Identifier: Apache-2.0 */
/* life.c - the steps of a life and the invariants that one step can break. */
#include "life.h"

#include <string.h>

#define TEN_YEARS UINT64_C(315576000000000000)

static vmt_ns later(struct random *random, vmt_ns now, vmt_ns deadline)
{
	uint64_t step = 0;

	switch (random_below(random, 8)) {
	case 0:
		break;
	case 1:
	case 2:
		if (deadline != VMT_NEVER && deadline > now)
			return deadline - random_below(random, 2);
		break;
	case 3:
		step = random_below(random, 1000000000);
		break;
	case 4:
		step = random_wide(random) >> 5; /* up to two decades */
		break;
	default:
		step = random_below(random, 100000);
	}
	return step < VMT_NEVER - 1 - now ? now + step : VMT_NEVER - 1;
}

struct life_step life_draw(const struct subject *f, struct random *random, vmt_ns now,
			   vmt_ns deadline)
{
	struct life_step step = {
		.now = later(random, now, deadline),
		.reg = random_below(random, f->registers + 1),
		.width = random_below(random, f->widest) + 1,
		.value = (uint32_t)random_next(random),
	};
	uint32_t what = random_below(random, 16);
	uint32_t likely = random_below(random, f->likely_count);

	if (what < 7) {
		step.what = LIFE_WRITE;
		step.reg = f->likely[likely][0];
		step.value = f->likely[likely][1];
		step.width = f->widest < 2 ? 1 : 2;
		if (step.reg < 2 && f->registers == 2)
			step.width = 1; /* the RTC's ports one by one */
	} else if (what < 9) {
		step.what = LIFE_WRITE;
	} else if (what < 13) {
		step.what = LIFE_READ;
	} else if (what < 15) {
		step.what = LIFE_ADVANCE;
	} else {
		step.what = LIFE_OTHER;
		step.reg = random_below(random, f->others);
	}
	return step;
}

struct vmt_out life_do(const struct subject *f, union subject_state *s,
		       const struct life_step *step, uint32_t *ret_value)
{
	*ret_value = 0;
	switch (step->what) {
	case LIFE_READ:
		return f->read(s, step->now, step->reg, step->width, ret_value);
	case LIFE_WRITE:
		return f->write(s, step->now, step->reg, step->width, step->value);
	case LIFE_OTHER:
		return f->other(s, step->now, step->reg, step->value);
	default:
		return f->advance(s, step->now);
	}
}

bool life_stirs(const struct subject *f, const struct vmt_out *before, const struct vmt_out *after)
{
	for (int i = 0; i < VMT_LINES; i++)
		if (f->edges >> i & 1 && after->rises[i])
			return true;
	return after->dirty || ((before->level ^ after->level) & f->levels);
}

/* Until `when` nothing stirs. */
static bool still(const struct subject *f, const union subject_state *s, const struct vmt_out *out,
		  vmt_ns when)
{
	union subject_state ahead = *s;
	struct vmt_out then = f->advance(&ahead, when);

	return !life_stirs(f, out, &then);
}

const char *life_wrong(const struct subject *f, const union subject_state *s,
		       const struct life_step *step, const struct vmt_out *out)
{
	vmt_ns now = step->now;
	union subject_state ahead = *s;
	struct vmt_out then;

	if (out->deadline <= now)
		return "the deadline has passed";
	if (out->ready < now)
		return "the answer was ready before it was asked for";
	for (int i = 0; i < 6; i++)
		if (out->pad[i])
			return "padding is not 0";
	then = f->advance(&ahead, now);
	if (then.deadline != out->deadline || then.level != out->level || life_stirs(f, out, &then))
		return "advancing by nothing changed something";
	if (out->deadline == VMT_NEVER) {
		vmt_ns far = now < VMT_NEVER - TEN_YEARS ? now + TEN_YEARS : VMT_NEVER - 1;

		return still(f, s, out, far) ? NULL : "something happened after no deadline";
	}
	if (!still(f, s, out, out->deadline - 1) ||
	    !still(f, s, out, now + (out->deadline - now) / 2))
		return "something happened before the deadline";
	return still(f, s, out, out->deadline) ? "nothing happened at the deadline" : NULL;
}
