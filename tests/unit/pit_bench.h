/* SPDX-License-Identifier: Apache-2.0 */
/* pit_bench.h - a PIT on the bench: programmed by the byte, moved on by the clock. */
#ifndef TESTS_PIT_BENCH_H
#define TESTS_PIT_BENCH_H

#include <stdbool.h>
#include <stdint.h>
#include <vmtime/pit.h>

#include "core/ns.h"

enum { GATE2 = 1, REFRESH = 0x10, OUT2 = 0x20 };

/* A PIT and the clock that it is at. */
struct bench {
	struct vmt_pit pit;
	uint64_t tick;
	struct vmt_out out;
	uint64_t rises; /* of OUT0, so far */
};

static inline vmt_ns now(const struct bench *b)
{
	return vmt_ns_of_tick(b->tick, VMT_PIT_HZ);
}

static inline void note(struct bench *b, struct vmt_out out)
{
	b->out = out;
	b->rises += out.rises[VMT_PIT_OUT0];
}

static inline struct bench powered_on(void)
{
	struct bench b = {.tick = 1000};

	vmt_pit_reset(&b.pit, now(&b));
	return b;
}

static inline void pass(struct bench *b, uint64_t ticks)
{
	b->tick += ticks;
	note(b, vmt_pit_advance(&b->pit, now(b)));
}

static inline void put(struct bench *b, uint32_t reg, unsigned value)
{
	note(b, vmt_pit_write(&b->pit, now(b), reg, (uint8_t)value));
}

static inline uint8_t get(struct bench *b, uint32_t reg)
{
	uint8_t value;

	note(b, vmt_pit_read(&b->pit, now(b), reg, &value));
	return value;
}

static inline unsigned get_word(struct bench *b, uint32_t reg)
{
	unsigned low = get(b, reg);

	return low | (unsigned)get(b, reg) << 8;
}

/* Control word and count, low byte first; the next clock loads it. */
static inline void program(struct bench *b, unsigned control, unsigned count)
{
	put(b, VMT_PIT_CONTROL, control);
	put(b, control >> 6, count & 0xff);
	put(b, control >> 6, count >> 8);
}

static inline bool out(const struct bench *b, unsigned channel)
{
	return b->out.level >> channel & 1;
}

static inline vmt_ns after(const struct bench *b, uint64_t ticks)
{
	return vmt_ns_of_tick(b->tick + ticks, VMT_PIT_HZ);
}

#endif
