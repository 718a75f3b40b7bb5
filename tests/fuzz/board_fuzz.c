/* SPDX-License-Identifier: Apache-2.0 */
/* board_fuzz.c - any life of a board of all faces, its promises as oracle: the ledgers balance, the
 * deadline is later than now and nothing moves before it, no line moves that its source does not
 * have, and a saved board is the same when it is loaded.
 *
 * The input is a policy (one byte) and then steps of ten bytes: what, where, width, value (4), and
 * by how much time moves on: mantissa (2) and a shift of up to 55 bits; the shift's byte 0xff means
 * to the deadline. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <vmtime/board.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { STEP = 10, MOST = 300 };
enum { PIT = 1 << VMT_SOURCE_PIT, RTC = 1 << VMT_SOURCE_RTC, SCI = 1 << VMT_SOURCE_SCI };

#define HPET UINT64_C(0xfed00000)

static void demand(int holds)
{
	if (!holds)
		abort();
}

/* Registers, and what is just beside some of them. */
static const uint64_t places[] = {
	0x40,         0x41,         0x42,         0x43,         0x61,         0x70,
	0x71,         0x600,        0x602,        0x608,        0x3f,         0x5fe,
	HPET,         HPET + 0x10,  HPET + 0x20,  HPET + 0xf0,  HPET + 0x100, HPET + 0x108,
	HPET + 0x120, HPET + 0x128, HPET + 0x140, HPET + 0x148, HPET - 2,     HPET + 0x10c,
};

struct life {
	struct vmt_board b;
	struct vmt_board_out out;
	uint32_t level; /* as the caller has driven its lines */
};

static vmt_ns time_of(const struct life *l, const uint8_t *d)
{
	uint64_t by = (uint64_t)(d[7] | d[8] << 8) << (d[9] % 56);

	if (d[9] == 0xff && l->out.deadline != VMT_NEVER)
		return l->out.deadline;
	return by < VMT_NEVER - l->b.now ? l->b.now + by : VMT_NEVER;
}

static void do_step(struct life *l, const uint8_t *d)
{
	uint64_t addr = places[d[1] % (sizeof(places) / sizeof(places[0]))], value = 0;
	uint32_t space = addr < HPET - 2 ? VMT_PIO : VMT_MMIO, width = 1U << d[2] % 4, word;
	vmt_ns now = time_of(l, d);

	memcpy(&word, d + 3, 4);
	switch (d[0] % 16) {
	case 0:
		vmt_board_advance(&l->b, now, &l->out);
		break;
	case 1:
	case 2:
		vmt_board_ack(&l->b, now, d[1] % 9, &l->out);
		break;
	case 3:
		vmt_board_refused(&l->b, now, d[1] % 9, &l->out);
		break;
	case 4:
		vmt_board_utc(&l->b, now, (int64_t)(int32_t)word * 1000000000, &l->out);
		break;
	case 5:
		if (d[1] % 8 == 0)
			vmt_board_reset(&l->b, now, &l->out);
		else if (d[1] % 8 == 1)
			vmt_board_forget(&l->b, now, d[1] / 8 % 9, &l->out);
		else
			vmt_board_power_button(&l->b, now, &l->out);
		break;
	case 6:
	case 7:
		demand(!vmt_board_read(&l->b, now, space, addr, width, &value, &l->out) ||
		       addr == 0x3f || addr == 0x5fe || addr == HPET - 2);
		break;
	default:
		/* The upper half of what is written to 64 bits is 0, as it mostly is. */
		vmt_board_write(&l->b, now, space, addr, width, word, &l->out);
	}
}

static bool is_nowhere(const struct vmt_board *b, uint32_t timer)
{
	return vmt_board_route(b, VMT_SOURCE_HPET0 + timer) == VMT_HPET_NOWHERE;
}

static void keeps_its_promises(struct life *l)
{
	uint32_t lines = PIT | RTC | SCI | 7 << VMT_SOURCE_HPET0;

	demand(l->b.deadline > l->b.now && l->out.deadline >= l->b.deadline);
	if (vmt_hpet_legacy(&l->b.hpet))
		lines &= ~(uint32_t)(PIT | RTC);
	for (uint32_t i = 0; i < VMT_HPET_TIMERS; i++)
		if (is_nowhere(&l->b, i))
			lines &= ~(1U << (VMT_SOURCE_HPET0 + i));
	demand(!(l->out.pulses & ~(lines & ~(uint32_t)SCI)));
	demand(!(l->out.level & ~(lines & ~(uint32_t)(PIT | RTC))));
	demand(!(l->out.pulses & l->out.level));
	demand((l->level ^ l->out.level_changed) == l->out.level);
	l->level = l->out.level;
	for (uint32_t i = 0; i < VMT_SOURCES; i++) {
		struct vmt_ledger s;

		vmt_board_ledger(&l->b, i, &s);
		demand(s.due == s.delivered + s.merged + s.discarded + s.owed);
		demand(s.owed <= VMT_TICKS_OWED);
	}
}

/* Sources that tick too fast are told of later than they tick. */
static bool is_crowded(const struct vmt_board *b)
{
	for (uint32_t i = 0; i < VMT_SOURCES; i++)
		if (b->ticks[i].period_ns && b->ticks[i].period_ns < VMT_TICKS_FLOOR_NS)
			return true;
	return false;
}

static void nothing_moves_before(const struct life *l)
{
	struct vmt_board b = l->b;
	struct vmt_board_out out;

	if (l->out.deadline == VMT_NEVER || is_crowded(&b))
		return;
	vmt_board_advance(&b, l->out.deadline - 1, &out);
	demand(!out.pulses && !out.level_changed && out.deadline == l->out.deadline);
}

static void survives_a_save(const struct life *l)
{
	uint8_t bytes[VMT_BOARD_SAVED];
	struct vmt_board back, here = l->b;
	struct vmt_board_out out;
	int size = vmt_board_save(&here, bytes, sizeof(bytes));

	demand(size > 0 && vmt_board_init(&back, &here.config, 0, 0) == 0);
	demand(vmt_board_load(&back, here.now, bytes, (size_t)size, &out) == 0);
	vmt_board_advance(&here, here.now, &out);
	vmt_board_advance(&back, here.now, &out);
	demand(memcmp(&back, &here, sizeof(back)) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct vmt_board_config config = {
		.faces = VMT_HAS_PIT | VMT_HAS_RTC | VMT_HAS_PMTMR | VMT_HAS_HPET,
		.ticks = size ? data[0] % 4 : 0,
		.pm1a_port = 0x600,
		.pmtmr_port = 0x608,
		.pmtmr_bits = 24,
		.hpet_routes = 0x00f00804,
		.hpet_address = HPET,
	};
	struct life l;

	memset(&l, 0, sizeof(l));
	demand(vmt_board_init(&l.b, &config, 0, INT64_C(1704164645123456789)) == 0);
	vmt_board_advance(&l.b, 0, &l.out);
	for (size_t at = 1; at + STEP <= size && at < MOST * STEP; at += STEP) {
		struct vmt_board_out none = {.deadline = l.out.deadline, .level = l.level};

		l.out = none;
		do_step(&l, data + at);
		if (l.out.level == l.level && !l.out.ready)
			continue; /* nobody answered */
		keeps_its_promises(&l);
		nothing_moves_before(&l);
		survives_a_save(&l);
	}
	return 0;
}
