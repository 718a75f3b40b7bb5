/* SPDX-License-Identifier: Apache-2.0 */
/* pit_count.h - one counter of the i8254 as a function of the clock that it is asked at.
 *
 * Clocks ("ticks") are counted from virtual time 0.  An access at tick t falls between clock t and
 * clock t + 1: what it programs is loaded at t + 1, and what it reads is what clock t left.
 *
 * The counter is never stored while it runs.  A count of N that was loaded at clock b has at clock
 * t elapsed d = t - b clocks (plus skew_ticks, what was over when it was held or joined in
 * mid-cycle); value and OUT follow from N and d, by the mode (data sheet, figures 15 to 20). */
#ifndef FACES_PIT_COUNT_H
#define FACES_PIT_COUNT_H

#include <stdbool.h>
#include <vmtime/pit.h>

enum vmt_pit_rw { VMT_PIT_LSB = 1, VMT_PIT_MSB = 2, VMT_PIT_BOTH = 3 };

static inline unsigned vmt_pit_access(uint8_t control)
{
	return control >> 4 & 3;
}

/* 0..5: of 6 and 7 the data sheet says that the top bit does not matter. */
static inline unsigned vmt_pit_mode(const struct vmt_pit_channel *c)
{
	unsigned mode = c->control >> 1 & 7;

	return mode > 5 ? mode - 4 : mode;
}

/* The two below, for a counter that is not at rest. */
uint64_t vmt_pit_count_on(struct vmt_pit_channel *c, uint64_t seen, uint64_t tick);
unsigned vmt_pit_out_now(const struct vmt_pit_channel *c, uint64_t tick);

/* Let it count over the clocks seen + 1 to tick; returns the rising edges of OUT among them. */
static inline uint64_t vmt_pit_count(struct vmt_pit_channel *c, uint64_t seen, uint64_t tick)
{
	return c->running || c->load_tick <= tick ? vmt_pit_count_on(c, seen, tick) : 0;
}

/* OUT (0, 1) at tick, for a counter that has counted up to it. */
static inline unsigned vmt_pit_out(const struct vmt_pit_channel *c, uint64_t tick)
{
	return c->running ? vmt_pit_out_now(c, tick) : c->out;
}

/* What a read shows at tick. */
uint16_t vmt_pit_value(const struct vmt_pit_channel *c, uint64_t tick);

/* The first clock after tick at which OUT rises; UINT64_MAX: none without an access. */
uint64_t vmt_pit_next_rise(const struct vmt_pit_channel *c, uint64_t tick);

/* Accesses after tick: a control word (its lower six bits), the first byte of two, a whole count as
 * it is written (0 to 0xffff), the gate's level. */
void vmt_pit_control(struct vmt_pit_channel *c, uint64_t tick, uint8_t control);
void vmt_pit_write_first(struct vmt_pit_channel *c, uint64_t tick);
void vmt_pit_write_count(struct vmt_pit_channel *c, uint64_t tick, uint16_t code);
void vmt_pit_gate(struct vmt_pit_channel *c, uint64_t tick, bool high);

/* Whether a loaded state can have been that of a counter that has counted up to tick. */
bool vmt_pit_good(const struct vmt_pit_channel *c, uint64_t tick);

#endif
