/* SPDX-License-Identifier: Apache-2.0 */
/* board.h - the faces of one VM behind its ports and addresses, and what becomes of their ticks.
 *
 * The board knows which face answers which port, when the earliest deadline is, which interrupt
 * lines moved, and the fate of every tick.  It is optional: an embedder may call faces directly.
 *
 * The caller owns the struct and the lock, reads the host's counter after taking it, and passes
 * `now` in.  A `now` smaller than the last one is raised to it and counted (late_now), never an
 * error.  No call allocates, blocks or calls back. */
#ifndef VMTIME_BOARD_H
#define VMTIME_BOARD_H

#include <vmtime/clock.h>
#include <vmtime/hpet.h>
#include <vmtime/out.h>
#include <vmtime/pit.h>
#include <vmtime/pmtmr.h>
#include <vmtime/rtc.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Address spaces. */
enum vmt_space { VMT_PIO = 0, VMT_MMIO = 1 };

/* Interrupt sources that tick or hold a line, in the order of the ledger. */
enum vmt_source {
	VMT_SOURCE_PIT = 0,
	VMT_SOURCE_RTC = 1,
	VMT_SOURCE_SCI = 2,
	VMT_SOURCE_HPET0 = 3, /* timer 0; 1 and 2 follow */
	VMT_SOURCE_HPET1 = 4,
	VMT_SOURCE_HPET2 = 5,
	VMT_SOURCES = 8
};

/* What becomes of ticks that the guest had no time to take (below). */
enum vmt_ticks {
	VMT_TICKS_DISCARD = 0,
	VMT_TICKS_CATCHUP = 1,
	VMT_TICKS_DELAY = 2,
	VMT_TICKS_MERGE = 3
};

enum vmt_faces { VMT_HAS_PIT = 1, VMT_HAS_RTC = 2, VMT_HAS_PMTMR = 4, VMT_HAS_HPET = 8 };
#define VMT_FACES 4 /* in the order of the bits of enum vmt_faces */

struct vmt_board_config {
	uint32_t faces;        /* enum vmt_faces, or-ed */
	uint32_t ticks;        /* enum vmt_ticks */
	uint16_t pm1a_port;    /* PM1a event block: status +0, enable +2 */
	uint16_t pmtmr_port;   /* 32-bit timer register */
	uint32_t pmtmr_bits;   /* 24 or 32 */
	uint32_t floor_ns;     /* no two late pulses are closer; 0: VMT_TICKS_FLOOR_NS */
	uint32_t hpet_routes;  /* bit n: HPET timers can be routed to I/O APIC input n */
	uint64_t hpet_address; /* of the HPET's block of VMT_HPET_BYTES in VMT_MMIO */
};

/* What becomes of the ticks of one source; always due = delivered + merged + discarded + owed.
 *
 * A tick is due at its edge, and owed until its fate is known.  It is delivered when the guest
 * acknowledges it: PIT and HPET by vmt_board_ack(), RTC by reading register C (or else making the
 * line fall).  A caller that cannot see acknowledgements calls vmt_board_ack() right after
 * injecting: delivered then counts what was injected.
 *
 * A pulse is in flight until it is acknowledged.  When the next edge comes
 *  - nothing is in flight: a pulse.
 *  - the one in flight is younger than a period (it was late): no pulse.  DISCARD discards the
 *    tick; MERGE keeps one waiting, into which those that follow are merged; CATCHUP and DELAY owe
 *    it.  What waits is asked for at the next acknowledgement.
 *  - the one in flight is a period old or older: a second pulse, so that ticks never stop for good
 *    (a masked pin, an acknowledgement never seen).  A guest that has taken the first acknowledges
 *    twice, one that had no time for it once: a second acknowledgement within a period of the
 *    first delivers the second tick; without it that tick is discarded, merged, or owed on.  Should
 *    it come later, the tick goes from discarded or merged to delivered; or, where it was owed and
 *    a pulse too many went out, the next tick is delivered as it falls due, without a pulse.
 * CATCHUP asks for a late tick as soon as the one before is acknowledged, also while it is in
 * doubt whether a second pulse was merged, if more ticks are owed than that one; DELAY a whole
 * period after the one before, so that the guest counts all of them and stays late.  Both owe at
 * most VMT_TICKS_OWED and discard the rest.  When the guest programs the source anew, ticks owed
 * from before are discarded, except one in flight.
 *
 * A source that is programmed to tick faster than `floor_ns` is woken no more often than that, and
 * its ticks in between are merged, whatever the policy: no guest can keep the host busy with it.
 *
 * The RTC cannot have a second edge while its line is high: a tick that nothing shows the guest
 * then (VMT_RTC_MISSED) is discarded, merged or owed; owed ones are shown one at a time, a quarter
 * of a period after register C was read (DELAY: a period after the last).  The SCI is a level and
 * has no ledger: all 0.  So is an HPET timer while it is level-triggered, and its ledger stands
 * still.
 *
 * While the HPET stands in for PIT and RTC (vmt_hpet_legacy()), their ticks reach nobody and are
 * discarded as they fall due; when it begins, so are those that they owe.  An RTC whose line is
 * high then or later keeps that one tick, owed: when it gets its line back that is an edge.  An
 * edge of an HPET timer that is routed nowhere is discarded as well. */
struct vmt_ledger {
	uint64_t due, delivered, merged, discarded, owed;
};
#define VMT_TICKS_OWED 10000
#define VMT_TICKS_FLOOR_NS 50000
/* A pulse that was refused is asked for again after this long, if a better moment does not come; a
 * periodic RTC's, whose line shows no later edge, after a quarter of its period if that is less.
 * Each time that it is refused again the wait doubles, up to the second figure. */
#define VMT_TICKS_RETRY_NS 10000000
#define VMT_TICKS_RETRY_MAX_NS 1000000000

/* What the caller does after a call: set timers, move interrupt lines. */
struct vmt_board_out {
	vmt_ns deadline;        /* call vmt_board_advance no later than this; after `now` */
	vmt_ns ready;           /* the guest gets the answer no earlier */
	uint32_t pulses;        /* bit of enum vmt_source: inject one edge, 1 then 0 */
	uint32_t level;         /* bit of enum vmt_source: the line of a level source is high */
	uint32_t level_changed; /* bit: that level differs from the last call's */
	uint32_t dirty;         /* bit n: page of face n to be published */
};

/* The ticks of one source. */
struct vmt_board_ticks {
	struct vmt_ledger ledger;
	vmt_ns pulse_ns;    /* when the last pulse was asked for, for the first time */
	vmt_ns retry_ns;    /* when to ask again; VMT_NEVER: not */
	uint64_t period_ns; /* of the source as programmed; 0: not periodic */
	uint8_t in_flight;  /* pulses asked for and neither acknowledged nor refused: 0..2 */
	uint8_t refused;    /* 1: the last pulse was, and nothing is in flight */
	uint8_t doubted;    /* pulses taken for merged, whose acknowledgement may come: 0..2 */
	uint8_t ahead;      /* ticks acknowledged before they are due: 0..2 */
	uint8_t pad[4];     /* 0 */
};

struct vmt_board {
	struct vmt_board_config config;
	vmt_ns now;                          /* of the last call */
	uint64_t late_now;                   /* calls whose `now` was smaller than the last one's */
	vmt_ns deadline;                     /* the earliest of all, of a fast source's ticks too */
	uint32_t level;                      /* of level sources, as last reported */
	uint8_t hpet_legacy;                 /* 1: it stands in for PIT and RTC */
	uint8_t hpet_quiet;                  /* 1: some of its edges wake nobody */
	uint8_t hpet_route[VMT_HPET_TIMERS]; /* 0xff: nowhere */
	uint8_t pad[7];                      /* 0 */
	vmt_ns due[VMT_FACES];               /* deadline of each face */
	struct vmt_board_ticks ticks[VMT_SOURCES];
	struct vmt_pit pit;
	struct vmt_rtc rtc;
	struct vmt_pmtmr pmtmr;
	struct vmt_hpet hpet;
};

/* Power-on state.  utc_offset_ns: UTC is now + this (the RTC shows it).  -EINVAL for an impossible
 * configuration: unknown bits, a width that does not exist, ports that overlap, an HPET that cannot
 * be routed or leaves the address space. */
VMT_API int vmt_board_init(struct vmt_board *b, const struct vmt_board_config *config, vmt_ns now,
			   int64_t utc_offset_ns);

/* The guest's access of `width` 1, 2, 4 or 8 bytes; little-endian.  An access wider than the
 * register falls on its neighbours byte by byte, lowest address first; bytes of it that no face
 * answers read 0xff.  0, or -ENOENT when no face answers any (the outputs are then not written),
 * or -EINVAL for another width.
 *
 * Ports: PIT 0x40-0x43 and 0x61, RTC 0x70-0x71, the PM1a event block and the PM timer as
 * configured.  Memory: the HPET, where an access within the block is one access at any alignment.
 * (Reads of PM timer and HPET counter need no lock: vmt_pmtmr_peek(), vmt_hpet_peek().) */
VMT_API int vmt_board_read(struct vmt_board *b, vmt_ns now, uint32_t space, uint64_t addr,
			   uint32_t width, uint64_t *ret_value, struct vmt_board_out *ret_out);
VMT_API int vmt_board_write(struct vmt_board *b, vmt_ns now, uint32_t space, uint64_t addr,
			    uint32_t width, uint64_t value, struct vmt_board_out *ret_out);

/* Bring every face up to `now`; due at the deadline of the last vmt_board_out. */
VMT_API void vmt_board_advance(struct vmt_board *b, vmt_ns now, struct vmt_board_out *ret_out);

/* The guest acknowledged (EOI) an interrupt of `source`: the one of a pulse asked for before this
 * call.  Ignored for sources that are acknowledged otherwise, and when none is awaited.  The second
 * form is for all that was seen of several sources by now, acks[enum vmt_source] of each: with the
 * first, what one acknowledgement finds due would come before the next one is counted. */
VMT_API void vmt_board_ack(struct vmt_board *b, vmt_ns now, uint32_t source,
			   struct vmt_board_out *ret_out);
VMT_API void vmt_board_acks(struct vmt_board *b, vmt_ns now, const uint64_t acks[VMT_SOURCES],
			    struct vmt_board_out *ret_out);

/* 1: an acknowledgement of `source` would be counted; else 0. */
VMT_API int vmt_board_awaits_ack(const struct vmt_board *b, uint32_t source);

/* The pulse asked for before this call did not reach the guest (masked, or merged into one still
 * pending).  It is in flight no more, its tick goes on being owed until an acknowledgement.
 * CATCHUP and DELAY, and the RTC, whose request stands until register C is read, ask again at the
 * next edge, acknowledgement, or after VMT_TICKS_RETRY_NS; DISCARD and MERGE at the next edge of
 * the PIT, for that one: the old tick is then discarded or merged.  With the `now` of the call that
 * asked for the pulse it asks for no other. */
VMT_API void vmt_board_refused(struct vmt_board *b, vmt_ns now, uint32_t source,
			       struct vmt_board_out *ret_out);

/* The guest has got the time otherwise (an agent has set it): what `source` owes is discarded,
 * except pulses in flight. */
VMT_API void vmt_board_forget(struct vmt_board *b, vmt_ns now, uint32_t source,
			      struct vmt_board_out *ret_out);

/* Somebody pressed the power button: the PM1a event block's, nothing without VMT_HAS_PMTMR. */
VMT_API void vmt_board_power_button(struct vmt_board *b, vmt_ns now, struct vmt_board_out *ret_out);

/* A bus reset (guest reboot): what the data sheets reset is reset, time goes on.  The 8254 has no
 * reset pin; it is left as at power-on, as a PC's firmware would.  Ticks owed are discarded. */
VMT_API void vmt_board_reset(struct vmt_board *b, vmt_ns now, struct vmt_board_out *ret_out);

/* UTC is now + utc_offset_ns from here on; a time that the guest has set keeps its distance. */
VMT_API void vmt_board_utc(struct vmt_board *b, vmt_ns now, int64_t utc_offset_ns,
			   struct vmt_board_out *ret_out);

/* The I/O APIC input that the pulses and the level of an HPET timer go to; VMT_HPET_NOWHERE while
 * it is routed nowhere (there are none then), and for other sources, whose lines are the machine's
 * choice.  May be another after each write, reset and load: a line that is high is then to be
 * lowered at the old input before it is raised at the new one. */
VMT_API uint32_t vmt_board_route(const struct vmt_board *b, uint32_t source);

/* As of the last vmt_board_advance(); all 0 for a source that does not exist. */
VMT_API void vmt_board_ledger(const struct vmt_board *b, uint32_t source,
			      struct vmt_ledger *ret_ledger);

/* The saved form: the board's record, then one of each face of the configuration, in the order of
 * enum vmt_faces.  Save: bytes written, or -ENOSPC when `size` is too small (VMT_BOARD_SAVED
 * suffices).  Load into a board initialised with the saved one's configuration: 0, or -EINVAL and
 * *b as it was (damaged, another version or configuration, or from a later time than `now`).
 * After a load level_changed has the bit of every level source, so that the lines are driven. */
#define VMT_BOARD_SAVED 2048
VMT_API int vmt_board_save(const struct vmt_board *b, void *buf, size_t size);
VMT_API int vmt_board_load(struct vmt_board *b, vmt_ns now, const void *buf, size_t size,
			   struct vmt_board_out *ret_out);

#ifdef __cplusplus
}
#endif
#endif
