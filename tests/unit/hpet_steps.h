/* SPDX-License-Identifier: Apache-2.0 */
/* hpet_steps.h - the high precision event timers tick by tick, to hold the face against.
 *
 * Written from the specification's words and with none of the face's arithmetic: at each tick the
 * counter goes up by one and each comparator is looked at.  Whole registers only, 64 bits. */
#ifndef TESTS_HPET_STEPS_H
#define TESTS_HPET_STEPS_H

#include <stdbool.h>
#include <stdint.h>

struct steps_timer {
	bool level, enabled, periodic, mode32, direct; /* direct: VAL_SET */
	uint64_t comparator, last;
	uint64_t rises;
	bool line;
};

struct steps {
	bool counts, status[3];
	uint64_t counter;
	struct steps_timer timer[3];
};

/* A line that goes up is a rise. */
static inline void steps_lines(struct steps *s)
{
	for (int i = 0; i < 3; i++) {
		struct steps_timer *t = &s->timer[i];
		bool line = s->counts && t->enabled && t->level && s->status[i];

		t->rises += line && !t->line;
		t->line = line;
	}
}

static inline void steps_fire(struct steps *s, int i)
{
	struct steps_timer *t = &s->timer[i];

	if (t->level)
		s->status[i] = true;
	else if (t->enabled)
		t->rises++;
	if (t->periodic)
		t->comparator += t->last;
	if (t->mode32)
		t->comparator = (uint32_t)t->comparator;
}

static inline void steps_tick(struct steps *s)
{
	if (!s->counts)
		return;
	s->counter++;
	for (int i = 0; i < 3; i++) {
		uint64_t shown = s->timer[i].mode32 ? (uint32_t)s->counter : s->counter;

		if (shown == s->timer[i].comparator)
			steps_fire(s, i);
	}
	steps_lines(s);
}

static inline void steps_config(struct steps *s, int i, uint64_t value)
{
	struct steps_timer *t = &s->timer[i];

	t->level = value >> 1 & 1;
	t->enabled = value >> 2 & 1;
	t->periodic = value >> 3 & 1;
	t->direct = t->periodic && (value >> 6 & 1);
	t->mode32 = value >> 8 & 1;
	if (t->mode32) {
		t->comparator = (uint32_t)t->comparator;
		t->last = (uint32_t)t->last;
	}
	if (!t->level)
		s->status[i] = false;
	steps_lines(s);
}

static inline void steps_compare(struct steps *s, int i, uint64_t value)
{
	struct steps_timer *t = &s->timer[i];

	if (t->mode32)
		value = (uint32_t)value;
	if (!t->periodic || t->direct)
		t->comparator = value;
	t->last = value;
	t->direct = false;
}

static inline void steps_enable(struct steps *s, bool on)
{
	s->counts = on;
	steps_lines(s);
}

static inline void steps_clear(struct steps *s, unsigned bits)
{
	for (int i = 0; i < 3; i++)
		if (bits >> i & 1)
			s->status[i] = false;
	steps_lines(s);
}

#endif
