/* SPDX-License-Identifier: Apache-2.0 */
/* snap_fuzz.c - any bytes as a saved clock, board or face: refused and nothing changed, or taken
 * and whole.
 *
 * The first byte says what it is to be.  Odd: the bytes that follow are a record's fields, and the
 * record around them is right, so that the checksum does not keep the fuzzer out. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <vmtime/board.h>
#include <vmtime/clock.h>

#include "core/snap.h"
#include "invariants/life.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MOST = 4096, CLOCK = SUBJECTS, BOARD, KINDS };

static const vmt_ns later = UINT64_C(1) << 62;

static void demand(int holds)
{
	if (!holds)
		abort();
}

static void clock_of(const uint8_t *bytes, size_t size)
{
	struct vmt_reading at = {.counter = 1000, .utc_ns = INT64_C(1704164645123456789)};
	struct vmt_clock saved, c;
	uint8_t again[MOST];

	memset(&c, 0x5a, sizeof(c));
	saved = c;
	if (vmt_clock_restore(bytes, size, &saved)) {
		demand(memcmp(&saved, &c, sizeof(c)) == 0);
		return;
	}
	demand(vmt_clock_save(&saved, again, sizeof(again)) == (int)size);
	demand(memcmp(again, bytes, size) == 0);
	demand(vmt_clock_load(&saved, 2500000000, &at, VMT_POLICY_AUTO, 0, &c, NULL) == 0);
	demand(vmt_clock_now(&c, 1000) >= saved.base_ns);
	demand(vmt_clock_now(&c, UINT64_MAX) >= vmt_clock_now(&c, 1000));
	vmt_clock_counter_at(&c, vmt_clock_now(&c, UINT64_MAX));
}

static void face_of(const struct subject *f, const uint8_t *bytes, size_t size)
{
	union subject_state s, before;
	uint8_t again[MOST];
	struct life_step step = {.what = LIFE_ADVANCE, .now = later};
	struct vmt_out out;

	memset(&s, 0, sizeof(s));
	f->start(&s, 0);
	before = s;
	if (f->load(&s, later, bytes, size)) {
		demand(memcmp(&s, &before, sizeof(s)) == 0);
		return;
	}
	demand(f->save(&s, again, sizeof(again)) == (int)size);
	demand(memcmp(again, bytes, size) == 0);
	out = f->advance(&s, later);
	demand(!life_wrong(f, &s, &step, &out));
}

/* A board's record alone can be sealed here; those of its faces follow in the input as they are. */
static void board_of(const uint8_t *bytes, size_t size)
{
	const struct vmt_board_config config = {
		.faces = VMT_HAS_PIT | VMT_HAS_RTC | VMT_HAS_PMTMR | VMT_HAS_HPET,
		.ticks = VMT_TICKS_CATCHUP,
		.pm1a_port = 0x600,
		.pmtmr_port = 0x608,
		.pmtmr_bits = 24,
		.hpet_routes = 0x00f00804,
		.hpet_address = 0xfed00000,
	};
	struct vmt_board b, before;
	struct vmt_board_out out;
	struct vmt_ledger l;

	demand(vmt_board_init(&b, &config, 0, 0) == 0);
	before = b;
	if (vmt_board_load(&b, later, bytes, size, &out)) {
		demand(memcmp(&b, &before, sizeof(b)) == 0);
		return;
	}
	demand(out.deadline > later);
	for (uint32_t i = 0; i < VMT_SOURCES; i++) {
		vmt_board_ledger(&b, i, &l);
		demand(l.due == l.delivered + l.merged + l.discarded + l.owed);
	}
}

/* A right record around the fields. */
static size_t seal(uint8_t *record, const uint8_t *fields, size_t size, uint16_t kind)
{
	struct vmt_snap_writer w;

	vmt_snap_start(&w, record, MOST, kind,
		       kind == VMT_SNAP_RTC || kind == VMT_SNAP_BOARD ? 2 : 1);
	vmt_snap_put_bytes(&w, fields, size);
	return (size_t)vmt_snap_finish(&w);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint16_t kinds[KINDS] = {VMT_SNAP_PIT,  VMT_SNAP_RTC,   VMT_SNAP_PMTMR,
					      VMT_SNAP_HPET, VMT_SNAP_CLOCK, VMT_SNAP_BOARD};
	uint8_t record[MOST];
	const uint8_t *bytes = data + 1;
	unsigned what;

	if (!size || size > MOST / 2)
		return 0;
	what = data[0] / 2 % KINDS;
	size--;
	if (data[0] & 1) {
		size = seal(record, bytes, size, kinds[what]);
		bytes = record;
	}
	if (what == CLOCK)
		clock_of(bytes, size);
	else if (what == BOARD)
		board_of(bytes, size);
	else
		face_of(&subjects[what], bytes, size);
	return 0;
}
