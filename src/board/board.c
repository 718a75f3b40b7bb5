/* SPDX-License-Identifier: Apache-2.0 */
/* board.c - the faces of one VM behind their ports: dispatch, deadlines, save and load. */
#include <vmtime/board.h>

#include <assert.h>
#include <errno.h>
#include <stdbool.h>

#include "board/faces.h"
#include "board/ticks.h"
#include "core/snap.h"

enum { SAVED_VERSION = 3, PORTS = 0x10000, BLOCK = 4 };
enum { ALL_FACES = VMT_HAS_PIT | VMT_HAS_RTC | VMT_HAS_PMTMR | VMT_HAS_HPET };
enum { TICKING = VMT_SOURCE_HPET2 + 1 }; /* the others never have a tick to ask again for */

enum { SCI_LEVEL = 1 << VMT_SOURCE_SCI, HPET_LEVELS = 7 << VMT_SOURCE_HPET0 };

enum where { HERE, AT_PM1A, AT_PMTMR, AT_HPET };

/* A face's registers from `reg` on, at `port` or where the configuration says. */
struct range {
	uint16_t port, size;
	uint8_t where, face, reg;
};

static const struct range ranges[] = {
	{0x40, 4, HERE, VMT_FACE_PIT, VMT_PIT_COUNTER0},
	{0x61, 1, HERE, VMT_FACE_PIT, VMT_PIT_PORT61},
	{0x70, 2, HERE, VMT_FACE_RTC, VMT_RTC_INDEX},
	{0, BLOCK, AT_PM1A, VMT_FACE_PMTMR, VMT_PMTMR_STS},
	{0, BLOCK, AT_PMTMR, VMT_FACE_PMTMR, VMT_PMTMR_TMR},
};
enum { RANGES = sizeof(ranges) / sizeof(ranges[0]) };

/* The only one in memory. */
static const struct range hpet_range = {0, VMT_HPET_BYTES, AT_HPET, VMT_FACE_HPET, 0};

static bool has(const struct vmt_board_config *c, uint32_t face)
{
	return c->faces >> face & 1;
}

static uint64_t first_of(const struct vmt_board_config *c, const struct range *r)
{
	switch (r->where) {
	case HERE:
		return r->port;
	case AT_PM1A:
		return c->pm1a_port;
	case AT_PMTMR:
		return c->pmtmr_port;
	default:
		return c->hpet_address;
	}
}

/* The range that answers an address; NULL: none. */
static const struct range *find(const struct vmt_board_config *c, uint32_t space, uint64_t addr)
{
	const struct range *from = space == VMT_PIO ? ranges : &hpet_range;
	const struct range *to = from + (space == VMT_PIO ? RANGES : 1);

	for (const struct range *r = from; r < to; r++)
		if (addr - first_of(c, r) < r->size && has(c, r->face))
			return r;
	return NULL;
}

/* No two ranges meet, and none leaves the ports. */
static bool overlap(const struct vmt_board_config *c)
{
	for (const struct range *r = ranges; r < ranges + RANGES; r++)
		for (uint32_t i = 0; has(c, r->face) && i < r->size; i++)
			if (find(c, VMT_PIO, first_of(c, r) + i) != r ||
			    first_of(c, r) + i >= PORTS)
				return true;
	return has(c, VMT_FACE_HPET) && c->hpet_address > UINT64_MAX - (VMT_HPET_BYTES - 1);
}

/* Every face up to now.  `set`: something has set them up. */
static void advance(struct vmt_board *b, int set, struct vmt_board_out *out)
{
	for (uint32_t i = 0; i < VMT_FACES; i++) {
		const struct vmt_board_face *face = &vmt_board_faces[i];
		struct vmt_out from;

		if (!has(&b->config, i))
			continue;
		face->advance(b, b->now, &from);
		vmt_board_take(b, i, &from, set, out);
		for (uint32_t j = face->source; j < face->source + face->sources; j++)
			if (b->ticks[j].retry_ns <= b->now)
				face->retry(b, j, out);
	}
}

/* Time does not go back, and ends before never. */
static void raise_now(struct vmt_board *b, vmt_ns now, struct vmt_board_out *out)
{
	if (now < b->now)
		b->late_now++;
	else
		b->now = now < VMT_NEVER ? now : VMT_NEVER - 1;
	*out = (struct vmt_board_out){.ready = b->now, .level = b->level};
}

static void do_what_is_due(struct vmt_board *b, struct vmt_board_out *out)
{
	if (b->deadline <= b->now)
		advance(b, 0, out);
}

/* Most calls begin so: what is due happens first. */
static void begin(struct vmt_board *b, vmt_ns now, struct vmt_board_out *out)
{
	raise_now(b, now, out);
	do_what_is_due(b, out);
}

static vmt_ns earlier(vmt_ns a, vmt_ns b)
{
	return a < b ? a : b;
}

/* And ends so.  The caller is not woken for each edge of a PIT or HPET that ticks too fast, nor for
 * chips that the HPET stands in for; any other call finds the former. */
static void end(struct vmt_board *b, struct vmt_board_out *out)
{
	vmt_ns pit = b->due[VMT_FACE_PIT], hpet = b->due[VMT_FACE_HPET];
	vmt_ns at = b->due[VMT_FACE_PMTMR], least;

	for (const struct vmt_board_ticks *t = b->ticks; t < b->ticks + TICKING; t++)
		at = earlier(at, t->retry_ns);
	b->deadline = earlier(at, hpet);
	out->deadline = earlier(at, b->hpet_quiet ? vmt_board_hpet_wakes(b) : hpet);
	if (!b->hpet_legacy) {
		least = vmt_ticks_not_before(&b->ticks[VMT_SOURCE_PIT], &b->config);
		at = earlier(pit, b->due[VMT_FACE_RTC]);
		b->deadline = earlier(b->deadline, at);
		pit = pit < least ? least : pit;
		at = earlier(pit, b->due[VMT_FACE_RTC]);
		out->deadline = earlier(out->deadline, at);
	}
	out->level_changed = out->level ^ b->level;
	out->level = b->level;
}

int vmt_board_init(struct vmt_board *b, const struct vmt_board_config *config, vmt_ns now,
		   int64_t utc_offset_ns)
{
	struct vmt_board made = {.config = *config, .now = now};
	struct vmt_board_out out = {0};

	if (config->faces & ~(uint32_t)ALL_FACES || config->ticks > VMT_TICKS_MERGE ||
	    overlap(config))
		return -EINVAL;
	if (has(config, VMT_FACE_PMTMR) && vmt_pmtmr_init(&made.pmtmr, now, config->pmtmr_bits))
		return -EINVAL;
	if (has(config, VMT_FACE_HPET) && vmt_hpet_init(&made.hpet, now, config->hpet_routes))
		return -EINVAL;
	vmt_pit_reset(&made.pit, now);
	vmt_rtc_init(&made.rtc, now, utc_offset_ns);
	for (uint32_t i = 0; i < VMT_FACES; i++)
		made.due[i] = VMT_NEVER;
	for (uint32_t i = 0; i < VMT_SOURCES; i++)
		made.ticks[i].retry_ns = VMT_NEVER;
	*b = made;
	advance(b, 1, &out);
	end(b, &out);
	return 0;
}

static uint32_t reg_of(const struct vmt_board *b, const struct range *r, uint64_t addr)
{
	return r->reg + (uint32_t)(addr - first_of(&b->config, r));
}

static void read_face(struct vmt_board *b, const struct range *r, uint64_t addr, uint32_t width,
		      uint64_t *ret_value, struct vmt_board_out *out)
{
	struct vmt_out from;

	vmt_board_faces[r->face].read(b, b->now, reg_of(b, r, addr), width, ret_value, &from);
	vmt_board_take(b, r->face, &from, 0, out);
}

static void write_face(struct vmt_board *b, const struct range *r, uint64_t addr, uint32_t width,
		       uint64_t value, struct vmt_board_out *out)
{
	struct vmt_out from;

	vmt_board_faces[r->face].write(b, b->now, reg_of(b, r, addr), width, value, &from);
	vmt_board_take(b, r->face, &from, 1, out);
}

/* Whether the access falls on one register of the face there. */
static bool fits(const struct vmt_board *b, const struct range *r, uint64_t addr, uint32_t width)
{
	return width <= vmt_board_faces[r->face].widest &&
	       addr - first_of(&b->config, r) + width <= r->size;
}

/* 0 when a face answers any byte of it; *ret_whole: the one that takes it whole, or NULL. */
static int place(const struct vmt_board *b, uint32_t space, uint64_t addr, uint32_t width,
		 const struct range **ret_whole)
{
	const struct range *r;

	if (width != 1 && width != 2 && width != 4 && width != 8)
		return -EINVAL;
	if (space == VMT_PIO ? addr >= PORTS : space != VMT_MMIO)
		return -ENOENT;
	r = find(&b->config, space, addr);
	*ret_whole = r && fits(b, r, addr, width) ? r : NULL;
	for (uint32_t i = 1; i < width && !r; i++)
		r = find(&b->config, space, addr + i);
	return r ? 0 : -ENOENT;
}

int vmt_board_read(struct vmt_board *b, vmt_ns now, uint32_t space, uint64_t addr, uint32_t width,
		   uint64_t *ret_value, struct vmt_board_out *ret_out)
{
	const struct range *r;
	uint64_t value = 0, byte;
	int rc = place(b, space, addr, width, &r);

	if (rc)
		return rc;
	begin(b, now, ret_out);
	if (r) {
		read_face(b, r, addr, width, &value, ret_out);
	} else {
		for (uint32_t i = 0; i < width; i++) {
			byte = 0xff;
			r = find(&b->config, space, addr + i);
			if (r)
				read_face(b, r, addr + i, 1, &byte, ret_out);
			value |= byte << (i * 8);
		}
	}
	*ret_value = value;
	end(b, ret_out);
	return 0;
}

int vmt_board_write(struct vmt_board *b, vmt_ns now, uint32_t space, uint64_t addr, uint32_t width,
		    uint64_t value, struct vmt_board_out *ret_out)
{
	const struct range *r;
	int rc = place(b, space, addr, width, &r);

	if (rc)
		return rc;
	begin(b, now, ret_out);
	if (r) {
		write_face(b, r, addr, width, value, ret_out);
	} else {
		for (uint32_t i = 0; i < width; i++) {
			r = find(&b->config, space, addr + i);
			if (r)
				write_face(b, r, addr + i, 1, value >> (i * 8) & 0xff, ret_out);
		}
	}
	end(b, ret_out);
	return 0;
}

void vmt_board_advance(struct vmt_board *b, vmt_ns now, struct vmt_board_out *ret_out)
{
	raise_now(b, now, ret_out);
	advance(b, 0, ret_out);
	end(b, ret_out);
}

int vmt_board_awaits_ack(const struct vmt_board *b, uint32_t source)
{
	return vmt_board_pulses(source) &&
	       (b->ticks[source].ledger.owed || b->ticks[source].doubted);
}

void vmt_board_acks(struct vmt_board *b, vmt_ns now, const uint64_t acks[VMT_SOURCES],
		    struct vmt_board_out *ret_out)
{
	/* They answer pulses from before: what falls due meanwhile must not take their place. */
	raise_now(b, now, ret_out);
	for (uint32_t i = 0; i < VMT_SOURCES; i++)
		for (uint64_t n = acks[i]; n && vmt_board_awaits_ack(b, i); n--)
			vmt_ticks_ack(&b->ticks[i], &b->config, b->now);
	do_what_is_due(b, ret_out);
	for (uint32_t i = 0; i < VMT_SOURCES; i++)
		if (acks[i] && vmt_board_pulses(i) &&
		    vmt_ticks_again(&b->ticks[i], &b->config, b->now))
			ret_out->pulses |= 1u << i;
	end(b, ret_out);
}

void vmt_board_ack(struct vmt_board *b, vmt_ns now, uint32_t source, struct vmt_board_out *ret_out)
{
	uint64_t acks[VMT_SOURCES] = {0};

	if (source < VMT_SOURCES)
		acks[source] = 1;
	vmt_board_acks(b, now, acks, ret_out);
}

void vmt_board_refused(struct vmt_board *b, vmt_ns now, uint32_t source,
		       struct vmt_board_out *ret_out)
{
	raise_now(b, now, ret_out); /* as for an acknowledgement */
	if (vmt_board_pulses(source))
		vmt_ticks_refused(&b->ticks[source], &b->config, b->now);
	else if (source == VMT_SOURCE_RTC)
		vmt_ticks_held_refused(&b->ticks[source], &b->config, b->now);
	do_what_is_due(b, ret_out);
	end(b, ret_out);
}

void vmt_board_forget(struct vmt_board *b, vmt_ns now, uint32_t source,
		      struct vmt_board_out *ret_out)
{
	begin(b, now, ret_out);
	if (source < VMT_SOURCES)
		vmt_ticks_forget(&b->ticks[source]);
	end(b, ret_out);
}

void vmt_board_power_button(struct vmt_board *b, vmt_ns now, struct vmt_board_out *ret_out)
{
	struct vmt_out from;

	begin(b, now, ret_out);
	if (has(&b->config, VMT_FACE_PMTMR)) {
		from = vmt_pmtmr_button(&b->pmtmr, b->now);
		vmt_board_take(b, VMT_FACE_PMTMR, &from, 0, ret_out);
	}
	end(b, ret_out);
}

void vmt_board_reset(struct vmt_board *b, vmt_ns now, struct vmt_board_out *ret_out)
{
	raise_now(b, now, ret_out);
	advance(b, 0, ret_out);
	for (uint32_t i = 0; i < VMT_FACES; i++)
		if (has(&b->config, i))
			vmt_board_faces[i].reset(b, b->now);
	for (uint32_t i = 0; i < VMT_SOURCES; i++)
		vmt_ticks_give_up(&b->ticks[i]);
	ret_out->pulses = 0; /* of ticks that are given up */
	advance(b, 1, ret_out);
	end(b, ret_out);
}

void vmt_board_utc(struct vmt_board *b, vmt_ns now, int64_t utc_offset_ns,
		   struct vmt_board_out *ret_out)
{
	struct vmt_out from;

	begin(b, now, ret_out);
	if (has(&b->config, VMT_FACE_RTC)) {
		from = vmt_rtc_utc(&b->rtc, b->now, utc_offset_ns);
		vmt_board_take(b, VMT_FACE_RTC, &from, 0, ret_out);
	}
	end(b, ret_out);
}

uint32_t vmt_board_route(const struct vmt_board *b, uint32_t source)
{
	uint32_t timer = source - VMT_SOURCE_HPET0;

	if (timer >= VMT_HPET_TIMERS || !has(&b->config, VMT_FACE_HPET))
		return VMT_HPET_NOWHERE;
	return vmt_hpet_route(&b->hpet, timer);
}

void vmt_board_ledger(const struct vmt_board *b, uint32_t source, struct vmt_ledger *ret_ledger)
{
	*ret_ledger = source < VMT_SOURCES ? b->ticks[source].ledger : (struct vmt_ledger){0};
}

static void save_ticks(const struct vmt_board_ticks *t, struct vmt_snap_writer *w)
{
	static_assert(sizeof(struct vmt_board_ticks) == 72, "a new field is to be saved");
	vmt_snap_put(w, t->ledger.due, 8);
	vmt_snap_put(w, t->ledger.delivered, 8);
	vmt_snap_put(w, t->ledger.merged, 8);
	vmt_snap_put(w, t->ledger.discarded, 8);
	vmt_snap_put(w, t->ledger.owed, 8);
	vmt_snap_put(w, t->pulse_ns, 8);
	vmt_snap_put(w, t->retry_ns, 8);
	vmt_snap_put(w, t->period_ns, 8);
	vmt_snap_put(w, t->in_flight, 1);
	vmt_snap_put(w, t->refused, 1);
	vmt_snap_put(w, t->doubted, 1);
	vmt_snap_put(w, t->ahead, 1);
}

static void load_ticks(struct vmt_board_ticks *t, struct vmt_snap_reader *r)
{
	t->ledger.due = vmt_snap_get64(r);
	t->ledger.delivered = vmt_snap_get64(r);
	t->ledger.merged = vmt_snap_get64(r);
	t->ledger.discarded = vmt_snap_get64(r);
	t->ledger.owed = vmt_snap_get64(r);
	t->pulse_ns = vmt_snap_get64(r);
	t->retry_ns = vmt_snap_get64(r);
	t->period_ns = vmt_snap_get64(r);
	t->in_flight = vmt_snap_get8(r);
	t->refused = vmt_snap_get8(r);
	t->doubted = vmt_snap_get8(r);
	t->ahead = vmt_snap_get8(r);
}

/* Without deadlines, levels and routes, which follow from the faces. */
static int save_board(const struct vmt_board *b, void *buf, size_t size)
{
	struct vmt_snap_writer w;

	static_assert(sizeof(struct vmt_board) == 1160, "a new field is to be saved");
	vmt_snap_start(&w, buf, size, VMT_SNAP_BOARD, SAVED_VERSION);
	vmt_snap_put(&w, b->config.faces, 4);
	vmt_snap_put(&w, b->config.ticks, 4);
	vmt_snap_put(&w, b->config.pm1a_port, 2);
	vmt_snap_put(&w, b->config.pmtmr_port, 2);
	vmt_snap_put(&w, b->config.pmtmr_bits, 4);
	vmt_snap_put(&w, b->config.floor_ns, 4);
	vmt_snap_put(&w, b->config.hpet_routes, 4);
	vmt_snap_put(&w, b->config.hpet_address, 8);
	vmt_snap_put(&w, b->now, 8);
	vmt_snap_put(&w, b->late_now, 8);
	for (uint32_t i = 0; i < VMT_SOURCES; i++)
		save_ticks(&b->ticks[i], &w);
	return vmt_snap_finish(&w);
}

/* The face that ticks so, if it is there; else NULL. */
static const struct vmt_board_face *whose(const struct vmt_board_config *c, uint32_t source)
{
	for (uint32_t i = 0; i < VMT_FACES; i++)
		if (has(c, i) && source - vmt_board_faces[i].source < vmt_board_faces[i].sources)
			return &vmt_board_faces[i];
	return NULL;
}

/* What a chip that is not there owes would never be paid.
 *
 * A source that does not tick has nothing to ask again for, and nobody who would; only those that
 * are acknowledged tick by tick have two pulses in flight, or a refused one that is not. */
static bool good_ticks(const struct vmt_board *b, uint32_t source)
{
	const struct vmt_board_ticks *t = &b->ticks[source];

	return vmt_ticks_good(t, &b->config, b->now) &&
	       (!t->ledger.owed || whose(&b->config, source)) &&
	       (vmt_board_pulses(source) ||
		(t->in_flight <= 1 && !t->refused && !t->doubted && !t->ahead &&
		 (source == VMT_SOURCE_RTC || t->retry_ns == VMT_NEVER)));
}

static int load_board(struct vmt_board *b, vmt_ns now, const void *buf, size_t size)
{
	struct vmt_board_config c;
	struct vmt_snap_reader r;
	bool good = true;

	vmt_snap_open(&r, buf, size, VMT_SNAP_BOARD, SAVED_VERSION);
	c.faces = vmt_snap_get32(&r);
	c.ticks = vmt_snap_get32(&r);
	c.pm1a_port = vmt_snap_get16(&r);
	c.pmtmr_port = vmt_snap_get16(&r);
	c.pmtmr_bits = vmt_snap_get32(&r);
	c.floor_ns = vmt_snap_get32(&r);
	c.hpet_routes = vmt_snap_get32(&r);
	c.hpet_address = vmt_snap_get64(&r);
	b->now = vmt_snap_get64(&r);
	b->late_now = vmt_snap_get64(&r);
	for (uint32_t i = 0; i < VMT_SOURCES; i++) {
		load_ticks(&b->ticks[i], &r);
		good = good && good_ticks(b, i);
	}
	good = good && b->now <= now && c.faces == b->config.faces && c.ticks == b->config.ticks &&
	       c.pm1a_port == b->config.pm1a_port && c.pmtmr_port == b->config.pmtmr_port &&
	       c.pmtmr_bits == b->config.pmtmr_bits && c.floor_ns == b->config.floor_ns &&
	       c.hpet_routes == b->config.hpet_routes && c.hpet_address == b->config.hpet_address;
	return vmt_snap_close(&r) || !good ? -EINVAL : 0;
}

/* Those of the ticks are those of the faces, which are loaded by now. */
static bool good_periods(const struct vmt_board *b)
{
	for (uint32_t i = 0; i < VMT_SOURCES; i++) {
		const struct vmt_board_face *face = whose(&b->config, i);

		if (b->ticks[i].period_ns != (face ? face->period(b, i) : 0))
			return false;
	}
	return true;
}

int vmt_board_save(const struct vmt_board *b, void *buf, size_t size)
{
	enum { RECORD = VMT_SNAP_AROUND + 52 + 68 * VMT_SOURCES };
	static_assert(RECORD + VMT_PIT_SAVED + VMT_RTC_SAVED + VMT_PMTMR_SAVED + VMT_HPET_SAVED <=
			      VMT_BOARD_SAVED,
		      "every face fits");
	int used = save_board(b, buf, size);

	for (uint32_t i = 0; i < VMT_FACES && used >= 0; i++) {
		int more;

		if (!has(&b->config, i))
			continue;
		more = vmt_board_faces[i].save(b, (uint8_t *)buf + used, size - (size_t)used);
		used = more < 0 ? more : used + more;
	}
	return used;
}

int vmt_board_load(struct vmt_board *b, vmt_ns now, const void *buf, size_t size,
		   struct vmt_board_out *ret_out)
{
	struct vmt_board loaded = *b;
	const uint8_t *at = buf;
	size_t left = size, length = vmt_snap_length(at, left);

	if (!length || load_board(&loaded, now, at, length))
		return -EINVAL;
	for (uint32_t i = 0; i < VMT_FACES; i++) {
		if (!has(&b->config, i))
			continue;
		at += length;
		left -= length;
		length = vmt_snap_length(at, left);
		if (!length || vmt_board_faces[i].load(&loaded, loaded.now, at, length))
			return -EINVAL;
	}
	if (length != left || vmt_board_hpet_loaded(&loaded) || !good_periods(&loaded))
		return -EINVAL;
	*b = loaded;
	b->level = 0;
	vmt_board_advance(b, now, ret_out);
	ret_out->level_changed = (has(&b->config, VMT_FACE_PMTMR) ? SCI_LEVEL : 0U) |
				 (has(&b->config, VMT_FACE_HPET) ? HPET_LEVELS : 0U);
	return 0;
}
