/* SPDX-License-Identifier: Apache-2.0 */
/* hpet_fuzz.c - accesses of 64 bits to the high precision event timers, a model that goes tick by
 * tick as oracle.
 *
 * The input is steps of twelve bytes: which register, and whether its value is counted from the
 * counter on (bit 7); by how many ticks time moves on before (2, at most 4095) and whether by a
 * nanosecond more (1); the value (8). */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <vmtime/hpet.h>

#include "unit/hpet_steps.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { STEP = 12, REGISTERS = 9, MOST = 200 };

static void demand(int holds)
{
	if (!holds)
		abort();
}

static uint32_t write_model(struct steps *s, unsigned which, uint64_t value)
{
	int timer = (int)(which / 2) % 3;

	switch (which) {
	case 0:
	case 1:
	case 2:
	case 3:
	case 4:
	case 5:
		if (which % 2)
			steps_compare(s, timer, value);
		else
			steps_config(s, timer, value);
		return VMT_HPET_TIMER + (uint32_t)timer * 0x20 + which % 2 * 8;
	case 6:
		steps_enable(s, value & 1);
		return VMT_HPET_CONFIG;
	case 7:
		steps_clear(s, value & 7);
		return VMT_HPET_STATUS;
	default:
		if (!s->counts)
			s->counter = value;
		return VMT_HPET_COUNTER;
	}
}

static uint64_t shown(struct vmt_hpet *h, vmt_ns now, uint32_t reg)
{
	uint64_t value;

	vmt_hpet_read(h, now, reg, 8, &value);
	return value;
}

static void compare(struct vmt_hpet *h, vmt_ns now, const struct steps *s, const uint64_t rises[3],
		    uint8_t level)
{
	unsigned status = 0;

	demand(shown(h, now, VMT_HPET_COUNTER) == s->counter);
	for (uint32_t i = 0; i < 3; i++) {
		status |= (unsigned)s->status[i] << i;
		demand((level >> i & 1) == s->timer[i].line);
		demand(rises[i] == s->timer[i].rises);
		demand(shown(h, now, VMT_HPET_TIMER + i * 0x20 + 8) == s->timer[i].comparator);
	}
	demand(shown(h, now, VMT_HPET_STATUS) == status);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct steps s = {0};
	struct vmt_hpet h;
	uint64_t rises[3] = {0};
	vmt_ns now = 0;

	demand(vmt_hpet_init(&h, now, 1) == 0);
	for (int i = 0; i < 3; i++)
		s.timer[i].comparator = s.timer[i].last = UINT64_MAX;
	for (size_t at = 0; at + STEP <= size && at < MOST * STEP; at += STEP) {
		const uint8_t *d = data + at;
		uint32_t ticks = (d[1] | (uint32_t)d[2] << 8) % 4096, reg;
		struct vmt_out out;
		uint64_t value;

		memcpy(&value, d + 4, 8);
		for (uint32_t i = 0; i < ticks; i++)
			steps_tick(&s);
		now += ticks * VMT_HPET_TICK_NS + d[3] % 2;
		now -= now % VMT_HPET_TICK_NS > 8; /* parts of a tick never add up to one */
		if (d[0] & 0x80)
			value = s.counter + value % 65536;
		reg = write_model(&s, d[0] % 128 % REGISTERS, value);
		out = vmt_hpet_write(&h, now, reg, 8, value);
		for (int i = 0; i < 3; i++)
			rises[i] += out.rises[i];
		compare(&h, now, &s, rises, out.level);
	}
	return 0;
}
