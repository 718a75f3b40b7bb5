/* SPDX-License-Identifier: Apache-2.0 */
/* board_random_test.c - random lives of a board: the ledger balances at every step, a saved board
 * goes on like the one that it was saved from, and damaged bytes are refused. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include <vmtime/board.h>

#include "../random.h"
#include "core/snap.h"

#define HPET UINT64_C(0xfed00000)
#define UTC INT64_C(1704164645000000000)

static struct vmt_board_config config(uint32_t ticks)
{
	return (struct vmt_board_config){
		.faces = VMT_HAS_PIT | VMT_HAS_RTC | VMT_HAS_PMTMR | VMT_HAS_HPET,
		.ticks = ticks,
		.pm1a_port = 0x600,
		.pmtmr_port = 0x608,
		.pmtmr_bits = 24,
		.hpet_routes = 0x00f00804,
		.hpet_address = HPET,
	};
}

static void balances(const struct vmt_board *b)
{
	for (uint32_t i = 0; i < VMT_SOURCES; i++) {
		struct vmt_ledger l;

		vmt_board_ledger(b, i, &l);
		assert_int_equal(l.due, l.delivered + l.merged + l.discarded + l.owed);
		assert_true(l.owed <= VMT_TICKS_OWED);
		assert_true(b->config.ticks == VMT_TICKS_CATCHUP ||
			    b->config.ticks == VMT_TICKS_DELAY || l.owed <= 3);
	}
}

/* What makes things happen, more often than chance would. */
static void likely_access(struct random *random, uint64_t *ret_port, uint64_t *ret_value)
{
	static const struct {
		uint16_t port, value;
	} likely[] = {
		{0x43, 0x34}, {0x43, 0x36}, {0x43, 0x38}, {0x43, 0x30}, {0x43, 0x14}, {0x40, 0x50},
		{0x40, 0x04}, {0x61, 0x01}, {0x70, 10},   {0x71, 0x2a}, {0x70, 11},   {0x71, 0x72},
		{0x71, 0x42}, {0x70, 12},   {0x600, 0x1}, {0x602, 0x1}, {0x602, 0},   {0x71, 0x26},
	};
	uint32_t which = random_below(random, 2 * sizeof(likely) / sizeof(likely[0]));

	if (which < sizeof(likely) / sizeof(likely[0])) {
		*ret_port = likely[which].port;
		*ret_value = likely[which].value;
	} else {
		*ret_port = random_below(random, 2) ? 0x40 + random_below(random, 0x34)
						    : 0x5fe + random_below(random, 16);
		*ret_value = random_next(random);
	}
}

/* A register of the HPET, in memory: stopped, running, standing in for PIT and RTC; timers that are
 * periodic or not, edge or level, routed somewhere or nowhere; and sometimes anything. */
static void likely_timer(struct random *random, uint64_t *ret_addr, uint64_t *ret_value)
{
	static const struct {
		uint16_t reg, value;
	} likely[] = {
		{0x10, 0},       {0x10, 1},       {0x10, 1},       {0x10, 3},       {0x10, 3},
		{0xf0, 0},       {0x20, 7},       {0x100, 0x004c}, {0x100, 0x284c}, {0x100, 0x290e},
		{0x120, 0x2a4c}, {0x120, 0x164c}, {0x120, 0x0104}, {0x140, 0x0444}, {0x140, 0x2c4c},
		{0x140, 0x2c4e}, {0x108, 50000},  {0x108, 20},     {0x128, 1},      {0x128, 30000},
		{0x148, 700},    {0x148, 4000},
	};
	uint32_t which = random_below(random, 2 * sizeof(likely) / sizeof(likely[0]));

	if (which < sizeof(likely) / sizeof(likely[0])) {
		*ret_addr = HPET + likely[which].reg;
		*ret_value = likely[which].value;
	} else {
		*ret_addr = HPET - 8 + random_below(random, 0x178);
		*ret_value = random_wide(random);
	}
}

/* The guest's chips do not take some of the pulses: at this `now` there is nothing left to do. */
static void refuse_some(struct vmt_board *b, struct random *random, uint32_t pulses)
{
	for (uint32_t i = 0; i < VMT_SOURCES; i++) {
		struct vmt_board_out again;

		if (!(pulses >> i & 1) || random_below(random, 2))
			continue;
		vmt_board_refused(b, b->now, i, &again);
		assert_int_equal(again.pulses, 0);
		assert_true(again.deadline > b->now);
	}
}

/* One step of a life: the same for the same random numbers. */
static void step(struct vmt_board *b, struct random *random, struct vmt_board_out *out)
{
	vmt_ns now = b->now;
	uint64_t port, value, read = 0;
	uint32_t what = random_below(random, 16), width = 1u << random_below(random, 4);
	uint32_t space = random_below(random, 2) ? VMT_PIO : VMT_MMIO;

	out->pulses = 0;
	if (random_below(random, 4) == 0 && b->deadline != VMT_NEVER)
		now = b->deadline;
	else
		now += random_wide(random) >> (random_below(random, 100) ? 30 : 10);
	if (space == VMT_PIO)
		likely_access(random, &port, &value);
	else
		likely_timer(random, &port, &value);
	switch (what) {
	case 0:
		vmt_board_refused(b, now, random_below(random, VMT_SOURCES), out);
		break;
	case 1:
	case 2:
	case 3:
		vmt_board_ack(b, now, random_below(random, VMT_SOURCES), out);
		break;
	case 4:
		vmt_board_advance(b, now - random_below(random, 2), out);
		break;
	case 5:
		if (random_below(random, 50) == 0)
			vmt_board_reset(b, now, out);
		else
			vmt_board_power_button(b, now, out);
		break;
	case 6:
		vmt_board_utc(b, now, UTC + (int64_t)(random_wide(random) >> 20), out);
		break;
	case 7:
	case 8:
	case 9:
		vmt_board_read(b, now, space, port, width, &read, out);
		break;
	default:
		if (space == VMT_PIO && random_below(random, 4))
			width = 1;
		vmt_board_write(b, now, space, port, width, value, out);
	}
	refuse_some(b, random, out->pulses);
}

static void the_ledger_balances_at_every_step(void **state)
{
	struct random random = random_start();
	uint64_t delivered[VMT_SOURCES] = {0}, discarded[VMT_SOURCES] = {0};
	uint64_t pulses[VMT_SOURCES] = {0};

	(void)state;
	for (int life = 0; life < 400; life++) {
		struct vmt_board_config c = config(life & 3);
		struct vmt_board_out out = {0};
		struct vmt_board b;

		assert_int_equal(vmt_board_init(&b, &c, 0, UTC), 0);
		for (int i = 0; i < 500; i++) {
			step(&b, &random, &out);
			balances(&b);
			assert_true(b.deadline > b.now);
			for (uint32_t j = 0; j < VMT_SOURCES; j++)
				pulses[j] += out.pulses >> j & 1;
		}
		for (uint32_t i = 0; i < VMT_SOURCES; i++) {
			delivered[i] += b.ticks[i].ledger.delivered;
			discarded[i] += b.ticks[i].ledger.discarded;
		}
	}
	/* these were lives in which things happened */
	for (uint32_t i = 0; i <= VMT_SOURCE_HPET2; i++)
		if (i != VMT_SOURCE_SCI)
			assert_true(delivered[i] > 50 && discarded[i] > 50 && pulses[i] > 50);
}

/* The same state, once every face has come up to now: a load brings them there, an access only the
 * one that it meets. */
static void same(struct vmt_board a, struct vmt_board b)
{
	struct vmt_board_out out;

	vmt_board_advance(&a, a.now, &out);
	vmt_board_advance(&b, b.now, &out);
	assert_memory_equal(&a, &b, sizeof(a));
}

/* As a caller sees it: two boards in the same state answer the same for ever. */
static void a_loaded_board_goes_on_like_the_saved_one(void **state)
{
	struct random random = random_start();

	(void)state;
	for (int life = 0; life < 300; life++) {
		struct vmt_board_config c = config(life & 3);
		struct vmt_board_out out = {0}, again = {0};
		struct vmt_board saved, loaded;
		uint8_t bytes[VMT_BOARD_SAVED];
		struct random twin;
		int size;

		assert_int_equal(vmt_board_init(&saved, &c, 0, UTC), 0);
		assert_int_equal(vmt_board_init(&loaded, &c, 12345, 0), 0);
		for (int i = 0; i < 100; i++)
			step(&saved, &random, &out);
		size = vmt_board_save(&saved, bytes, sizeof(bytes));
		assert_true(size > 0);
		assert_int_equal(vmt_board_save(&saved, bytes, (size_t)size), size);
		assert_int_equal(vmt_board_load(&loaded, saved.now, bytes, (size_t)size, &again),
				 0);
		assert_int_equal(again.level_changed, 1 << VMT_SOURCE_SCI | 7 << VMT_SOURCE_HPET0);
		same(loaded, saved);
		twin = random;
		for (int i = 0; i < 100; i++) {
			out = again =
				(struct vmt_board_out){0}; /* an access to nowhere writes none */
			step(&saved, &random, &out);
			step(&loaded, &twin, &again);
			if (i == 0)
				again.level_changed = out.level_changed;
			assert_memory_equal(&out, &again, sizeof(out));
			same(loaded, saved);
		}
	}
}

static int saved_life(uint8_t *bytes, struct vmt_board *b)
{
	struct random random = {.state = 42};
	struct vmt_board_config c = config(VMT_TICKS_CATCHUP);
	struct vmt_board_out out;

	assert_int_equal(vmt_board_init(b, &c, 0, UTC), 0);
	for (int i = 0; i < 300; i++)
		step(b, &random, &out);
	return vmt_board_save(b, bytes, VMT_BOARD_SAVED);
}

static void damaged_bytes_are_refused_and_change_nothing(void **state)
{
	uint8_t bytes[VMT_BOARD_SAVED];
	struct vmt_board_out out, before;
	struct vmt_board b, same;
	size_t size = (size_t)saved_life(bytes, &b);
	vmt_ns now = b.now;

	(void)state;
	memset(&before, 0x5a, sizeof(before));
	out = before;
	same = b;
	for (size_t less = 0; less < size; less++)
		assert_int_equal(vmt_board_load(&b, now, bytes, less, &out), -EINVAL);
	assert_int_equal(vmt_board_load(&b, now, bytes, size + 1, &out), -EINVAL);
	for (size_t bit = 0; bit < size * 8; bit++) {
		bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
		assert_int_equal(vmt_board_load(&b, now, bytes, size, &out), -EINVAL);
		bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
	assert_int_equal(vmt_board_load(&b, now - 1, bytes, size, &out), -EINVAL); /* the future */
	assert_memory_equal(&b, &same, sizeof(b));
	assert_memory_equal(&out, &before, sizeof(out));
	assert_int_equal(vmt_board_load(&b, now, bytes, size, &out), 0);
	for (size_t less = 0; less < size; less++)
		assert_int_equal(vmt_board_save(&b, bytes, less), -ENOSPC);
}

enum { FIELDS_AT = 12, TICKS = 48, SOURCE = 68, BOARD_FIELDS = TICKS + 8 * SOURCE };

/* The board's record with other fields, and a right checksum. */
static void forge(uint8_t *bytes, const uint8_t *fields)
{
	struct vmt_snap_writer w;

	vmt_snap_start(&w, bytes, VMT_BOARD_SAVED, VMT_SNAP_BOARD, 3);
	vmt_snap_put_bytes(&w, fields, BOARD_FIELDS);
	assert_int_equal(vmt_snap_finish(&w), FIELDS_AT + BOARD_FIELDS + 4);
}

static void forge_ticks(uint8_t *bytes, struct random *random)
{
	uint8_t fields[BOARD_FIELDS];
	uint32_t at = TICKS + SOURCE * random_below(random, VMT_SOURCES), where;

	memcpy(fields, bytes + FIELDS_AT, sizeof(fields));
	if (random_below(random, 2)) { /* one is owed */
		fields[at]++;
		fields[at + 32]++;
	}
	where = at + 40 + random_below(random, 28);
	fields[where] = (uint8_t)random_below(random, 3);
	memset(fields + at + 48, (int)random_below(random, 2) * 255, 8); /* when to ask again */
	forge(bytes, fields);
}

/* One tick is owed, and is to be asked for at once. */
static void forge_debt(uint8_t *bytes, uint32_t source)
{
	uint8_t fields[BOARD_FIELDS], *ticks = fields + TICKS + (size_t)SOURCE * source;

	memcpy(fields, bytes + FIELDS_AT, sizeof(fields));
	ticks[0]++;
	ticks[32]++;
	memset(ticks + 48, 0, 8);
	forge(bytes, fields);
}

static void a_chip_that_is_not_there_owes_nothing(void **state)
{
	struct vmt_board_config c = config(VMT_TICKS_CATCHUP);

	(void)state;
	for (uint32_t pit = 0; pit <= 1; pit++) {
		c.faces = VMT_HAS_PMTMR | (pit ? VMT_HAS_PIT : 0U);
		for (uint32_t source = 0; source < VMT_SOURCES; source++) {
			bool there = pit && source == VMT_SOURCE_PIT;
			uint8_t bytes[VMT_BOARD_SAVED];
			struct vmt_board_out out;
			struct vmt_board b;
			int size;

			assert_int_equal(vmt_board_init(&b, &c, 0, UTC), 0);
			size = vmt_board_save(&b, bytes, sizeof(bytes));
			forge_debt(bytes, source);
			assert_int_equal(vmt_board_load(&b, 0, bytes, (size_t)size, &out),
					 there ? 0 : -EINVAL);
		}
	}
}

/* It would be taken at its word for as long as the guest leaves the chip alone. */
static void a_period_that_its_chip_does_not_have_is_refused(void **state)
{
	static const struct {
		uint32_t space, at, value;
	} setup[] = {
		{VMT_PIO, 0x43, 0x34}, {VMT_PIO, 0x40, 0},        {VMT_PIO, 0x40, 0x10},
		{VMT_PIO, 0x70, 10},   {VMT_PIO, 0x71, 0x26},     {VMT_PIO, 0x70, 11},
		{VMT_PIO, 0x71, 0x42}, {VMT_MMIO, 0x100, 0x284c}, {VMT_MMIO, 0x108, 60000},
		{VMT_MMIO, 0x10, 1},
	};
	struct vmt_board_config c = config(VMT_TICKS_DISCARD);
	uint8_t bytes[VMT_BOARD_SAVED], fields[BOARD_FIELDS];
	struct vmt_board_out out;
	struct vmt_board b;
	int size;

	(void)state;
	assert_int_equal(vmt_board_init(&b, &c, 0, UTC), 0);
	for (size_t i = 0; i < sizeof(setup) / sizeof(setup[0]); i++)
		vmt_board_write(&b, 0, setup[i].space, setup[i].space * HPET + setup[i].at,
				setup[i].space ? 4 : 1, setup[i].value, &out);
	vmt_board_advance(&b, 100000, &out);
	for (uint32_t source = 0; source < VMT_SOURCES; source++) {
		uint8_t *period = fields + TICKS + (size_t)SOURCE * source + 56;

		size = vmt_board_save(&b, bytes, sizeof(bytes));
		memcpy(fields, bytes + FIELDS_AT, sizeof(fields));
		forge(bytes, fields);
		assert_int_equal(vmt_board_load(&b, b.now, bytes, (size_t)size, &out), 0);
		assert_true(!period[1] == (source == VMT_SOURCE_SCI || source > VMT_SOURCE_HPET0));
		period[1] ^= 0x80; /* 32768 ns more or less */
		forge(bytes, fields);
		assert_int_equal(vmt_board_load(&b, b.now, bytes, (size_t)size, &out), -EINVAL);
	}
}

/* Whoever writes snapshots by hand gets a refusal, or a board that can be saved and loaded. */
static void forged_ticks_are_refused_or_live_by_the_rules(void **state)
{
	struct random random = random_start();
	unsigned taken = 0, turned_away = 0;

	(void)state;
	for (int life = 0; life < 3000; life++) {
		struct vmt_board_config c = config((uint32_t)life % 4);
		struct vmt_board_out out = {0};
		uint8_t bytes[VMT_BOARD_SAVED];
		struct vmt_board b;
		int size;

		assert_int_equal(vmt_board_init(&b, &c, 0, UTC), 0);
		for (int i = 0; i < 30; i++)
			step(&b, &random, &out);
		size = vmt_board_save(&b, bytes, sizeof(bytes));
		forge_ticks(bytes, &random);
		if (vmt_board_load(&b, b.now, bytes, (size_t)size, &out)) {
			turned_away++;
			continue;
		}
		taken++;
		for (int i = 0; i < 20; i++) {
			assert_true(b.deadline > b.now);
			balances(&b);
			size = vmt_board_save(&b, bytes, sizeof(bytes));
			assert_int_equal(vmt_board_load(&b, b.now, bytes, (size_t)size, &out), 0);
			step(&b, &random, &out);
		}
	}
	assert_true(taken > 100 && turned_away > 100);
}

static void another_configuration_is_refused(void **state)
{
	uint8_t bytes[VMT_BOARD_SAVED];
	struct vmt_board_out out;
	struct vmt_board b;
	size_t size = (size_t)saved_life(bytes, &b);
	vmt_ns now = b.now;

	(void)state;
	for (int i = 0; i < 8; i++) {
		struct vmt_board_config c = config(VMT_TICKS_CATCHUP);

		if (i == 0)
			c.faces = VMT_HAS_PIT | VMT_HAS_RTC;
		else if (i == 1)
			c.ticks = VMT_TICKS_DISCARD;
		else if (i == 2)
			c.pm1a_port = 0x610;
		else if (i == 3)
			c.pmtmr_port = 0x618;
		else if (i == 4)
			c.pmtmr_bits = 32;
		else if (i == 5)
			c.floor_ns = 1000;
		else if (i == 6)
			c.hpet_routes = 0x4;
		else
			c.hpet_address = HPET + 0x1000;
		assert_int_equal(vmt_board_init(&b, &c, 0, 0), 0);
		assert_int_equal(vmt_board_load(&b, now, bytes, size, &out), -EINVAL);
	}
}

/* Time went on while the board was away: what fell due is found at once. */
static void a_board_loaded_later_finds_what_fell_due(void **state)
{
	struct vmt_board_config c = config(VMT_TICKS_DISCARD);
	uint8_t bytes[VMT_BOARD_SAVED];
	struct vmt_board_out out;
	struct vmt_board b;
	int size;

	(void)state;
	assert_int_equal(vmt_board_init(&b, &c, 0, UTC), 0);
	vmt_board_write(&b, 0, VMT_PIO, 0x43, 1, 0x24, &out); /* MSB: 256 clocks */
	vmt_board_write(&b, 0, VMT_PIO, 0x40, 1, 0x01, &out);
	size = vmt_board_save(&b, bytes, sizeof(bytes));
	assert_int_equal(vmt_board_load(&b, 3600000000000, bytes, (size_t)size, &out), 0);
	assert_int_equal(out.pulses, 1 << VMT_SOURCE_PIT);
	assert_int_equal(b.ticks[VMT_SOURCE_PIT].ledger.due, UINT64_C(1193182) * 3600 / 256);
	assert_true(out.deadline > 3600000000000 && out.deadline < 3600000000000 + 300000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_ledger_balances_at_every_step),
		cmocka_unit_test(a_loaded_board_goes_on_like_the_saved_one),
		cmocka_unit_test(damaged_bytes_are_refused_and_change_nothing),
		cmocka_unit_test(a_chip_that_is_not_there_owes_nothing),
		cmocka_unit_test(a_period_that_its_chip_does_not_have_is_refused),
		cmocka_unit_test(forged_ticks_are_refused_or_live_by_the_rules),
		cmocka_unit_test(another_configuration_is_refused),
		cmocka_unit_test(a_board_loaded_later_finds_what_fell_due),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
