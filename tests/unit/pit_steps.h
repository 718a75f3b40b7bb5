/* SPDX-License-Identifier: Apache-2.0 */
/* pit_steps.h - one counter of the 8254 clock by clock, to hold the PIT against.
 *
 * Written from the data sheet's words alone and with none of the PIT's arithmetic: what happens at
 * each falling clock, and what an access changes in between.  Slow, and easy to compare with the
 * figures.  Count 1 in modes 2 and 3 and digits above 9, of which the data sheet says nothing, are
 * left out. */
#ifndef TESTS_PIT_STEPS_H
#define TESTS_PIT_STEPS_H

#include <stdbool.h>
#include <stdint.h>

struct steps {
	unsigned mode, access;
	bool bcd, gate, out;
	bool null_count, written;    /* the count register holds a count */
	bool load, trigger, counts;  /* load at the next clock; the gate has risen; CE is alive */
	bool ended;                  /* the terminal count has been */
	bool loaded;                 /* since the control word */
	bool second_write;           /* of two bytes */
	uint8_t first;               /* the first of two bytes */
	uint32_t wrap, cr, ce, half; /* numbers; half: of the loaded count, whether it was odd */
	uint64_t rises;
};

static inline void steps_set_out(struct steps *s, bool out)
{
	s->rises += out && !s->out;
	s->out = out;
}

static inline void steps_decrement(struct steps *s, uint32_t by)
{
	s->ce = (s->ce + s->wrap - by) % s->wrap;
}

static inline void steps_load(struct steps *s)
{
	s->ce = s->cr % s->wrap;
	s->half = s->cr & 1;
	if (s->mode == 3 && s->half)
		s->ce--;
	s->load = s->trigger = s->null_count = s->ended = false;
	s->counts = s->loaded = true;
}

static inline void steps_clock_rate(struct steps *s)
{
	if (s->ce != 1) {
		steps_decrement(s, 1);
		if (s->ce == 1)
			steps_set_out(s, false);
	} else {
		steps_load(s);
		steps_set_out(s, true);
	}
}

static inline void steps_clock_square(struct steps *s)
{
	if (s->half && s->out && s->ce == 0) { /* the extra clock of an odd count's high half */
		steps_load(s);
		steps_set_out(s, false);
		return;
	}
	steps_decrement(s, 2);
	if (s->ce == 0 && !(s->half && s->out)) {
		steps_load(s);
		steps_set_out(s, !s->out);
	}
}

/* Modes 0, 1, 4 and 5. */
static inline void steps_clock_once(struct steps *s)
{
	bool strobe = s->mode >= 4;

	steps_decrement(s, 1);
	if (s->ce == 0 && !s->ended) {
		s->ended = true;
		steps_set_out(s, !strobe);
	} else if (strobe) {
		steps_set_out(s, true);
	}
}

static inline void steps_clock(struct steps *s)
{
	bool by_trigger = s->mode == 1 || s->mode == 5;

	if (s->load || s->trigger) {
		steps_load(s);
		steps_set_out(s, s->mode >= 2);
	} else if (s->counts && (s->gate || by_trigger)) {
		if (s->mode == 2)
			steps_clock_rate(s);
		else if (s->mode == 3)
			steps_clock_square(s);
		else
			steps_clock_once(s);
	}
	s->trigger = false; /* sampled at this clock, and forgotten */
}

static inline void steps_control(struct steps *s, uint8_t control)
{
	s->mode = control >> 1 & 7;
	s->mode = s->mode > 5 ? s->mode - 4 : s->mode;
	s->access = control >> 4 & 3;
	s->bcd = control & 1;
	s->wrap = s->bcd ? 10000 : 65536;
	s->written = s->load = s->trigger = s->counts = s->second_write = s->loaded = false;
	s->null_count = true;
	steps_set_out(s, s->mode != 0);
}

static inline uint32_t steps_number(const struct steps *s, uint32_t code)
{
	uint32_t n = code;

	if (s->bcd)
		n = (code >> 12) * 1000 + (code >> 8 & 15) * 100 + (code >> 4 & 15) * 10 +
		    (code & 15);
	return n ? n : s->wrap;
}

static inline void steps_stop_mode_0(struct steps *s)
{
	if (s->mode == 0) {
		s->counts = s->load = false;
		steps_set_out(s, false);
	}
}

static inline void steps_write(struct steps *s, uint8_t byte)
{
	uint32_t code = s->access == 1 ? byte : (uint32_t)byte << 8;

	steps_stop_mode_0(s);
	if (s->access == 3 && !s->second_write) {
		s->second_write = true;
		s->first = byte;
		return;
	}
	if (s->access == 3)
		code |= s->first;
	s->second_write = false;
	s->cr = steps_number(s, code);
	s->null_count = true;
	if (s->mode == 0 || s->mode == 4 || ((s->mode == 2 || s->mode == 3) && !s->written))
		s->load = true;
	s->written = true;
}

static inline void steps_gate(struct steps *s, bool gate)
{
	bool rises = gate && !s->gate;

	s->gate = gate;
	if (rises && s->written && s->mode != 0 && s->mode != 4)
		s->trigger = true;
	if (!gate && (s->mode == 2 || s->mode == 3))
		steps_set_out(s, true);
}

/* As it is read, both bytes at once. */
static inline uint16_t steps_value(const struct steps *s)
{
	if (!s->bcd)
		return (uint16_t)s->ce;
	return (uint16_t)(s->ce / 1000 << 12 | s->ce / 100 % 10 << 8 | s->ce / 10 % 10 << 4 |
			  s->ce % 10);
}

#endif
