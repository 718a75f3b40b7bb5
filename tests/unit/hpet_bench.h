/* SPDX-License-Identifier: Apache-2.0 */
/* hpet_bench.h - the high precision event timers on a bench: registers by name, edges counted. */
#ifndef TESTS_HPET_BENCH_H
#define TESTS_HPET_BENCH_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <vmtime/hpet.h>

#define CONF(n) (0x100u + (n)*0x20u)
#define CMP(n) (0x108u + (n)*0x20u)
#define ROUND_NS (UINT64_C(10) << 32) /* of 32 bits */
#define SECOND UINT64_C(1000000000)
#define TEN_YEARS (315576000 * SECOND)

enum { CAP = 0, GEN = 0x10, STS = 0x20, CNT = 0xf0 };
enum { ON = 1, LEG = 2 };
enum { LEVEL = 2, INT = 4, PERIODIC = 8, VAL_SET = 0x40, MODE32 = 0x100 };
enum { CAN = 0x30, ROUTES = 0x00f00804 };

struct bench {
	struct vmt_hpet hpet;
	vmt_ns now;
	struct vmt_out out;
	uint64_t rises[3];
};

static inline void note(struct bench *b, struct vmt_out out)
{
	b->out = out;
	for (int i = 0; i < 3; i++)
		b->rises[i] += out.rises[i];
}

static inline void until(struct bench *b, vmt_ns now)
{
	b->now = now;
	note(b, vmt_hpet_advance(&b->hpet, now));
}

static inline uint64_t get(struct bench *b, uint32_t reg, uint32_t width)
{
	uint64_t value;

	note(b, vmt_hpet_read(&b->hpet, b->now, reg, width, &value));
	return value;
}

static inline void put(struct bench *b, uint32_t reg, uint32_t width, uint64_t value)
{
	note(b, vmt_hpet_write(&b->hpet, b->now, reg, width, value));
}

static inline struct bench at(vmt_ns now)
{
	struct bench b = {.now = now};

	assert_int_equal(vmt_hpet_init(&b.hpet, now, ROUTES), 0);
	return b;
}

/* The counter runs from virtual time 0 on, so that it is the time. */
static inline struct bench counting(void)
{
	struct bench b = at(0);

	put(&b, GEN, 4, ON);
	return b;
}

static inline struct bench linux_periodic(uint32_t period)
{
	struct bench b = counting();
	uint32_t count;

	b.now = 123456789;
	put(&b, GEN, 4, LEG);
	count = (uint32_t)get(&b, CNT, 4);
	put(&b, CONF(0), 4, get(&b, CONF(0), 4) | INT | PERIODIC | VAL_SET | MODE32);
	put(&b, CMP(0), 4, count + period);
	b.now += 1000;
	put(&b, CMP(0), 4, period);
	put(&b, GEN, 4, LEG | ON);
	return b;
}

#endif
