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
enum vmt_source { VMT_SOURCE_PIT = 0, VMT_SOURCE_RTC = 1, VMT_SOURCE_SCI = 2, VMT_SOURCES = 8 };

enum vmt_ticks { VMT_TICKS_DISCARD = 0, VMT_TICKS_CATCHUP = 1 };

enum vmt_faces { VMT_HAS_PIT = 1, VMT_HAS_RTC = 2, VMT_HAS_PMTMR = 4 };

struct vmt_board_config {
	uint32_t faces;     /* enum vmt_faces, or-ed */
	uint32_t ticks;     /* enum vmt_ticks */
	uint16_t pm1a_port; /* PM1a event block: status +0, enable +2; the timer is at pmtmr_port */
	uint16_t pmtmr_port; /* 32-bit timer register */
	uint32_t pmtmr_bits; /* 24 or 32 */
};

/* What becomes of the ticks of one source; always due = delivered + merged + discarded + owed. */
struct vmt_ledger {
	uint64_t due, delivered, merged, discarded, owed;
};

/* What the caller does after a call: set timers, move interrupt lines. */
struct vmt_board_out {
	vmt_ns deadline;        /* call vmt_board_advance no later than this */
	vmt_ns ready;           /* the guest gets the answer no earlier */
	uint32_t pulses;        /* bit of enum vmt_source: inject one edge, 1 then 0 */
	uint32_t level;         /* bit of enum vmt_source: the line of a level source is high */
	uint32_t level_changed; /* bit: that level differs from the last call's */
	uint32_t dirty;         /* bit n: page of face n to be published */
};

struct vmt_board; /* to be completed: plain struct, the faces, last now, ledgers, pending ticks */

/* Power-on state.  utc_offset_ns: UTC is now + this (the RTC shows it).  -EINVAL for an impossible
 * configuration. */
VMT_API int vmt_board_init(struct vmt_board *b, const struct vmt_board_config *config, vmt_ns now,
			   int64_t utc_offset_ns);

/* The guest's access of `width` 1, 2, 4 or 8 bytes.  0, or -ENOENT when no face answers there (the
 * outputs are then not written). */
VMT_API int vmt_board_read(struct vmt_board *b, vmt_ns now, uint32_t space, uint64_t addr,
			   uint32_t width, uint64_t *ret_value, struct vmt_board_out *ret_out);
VMT_API int vmt_board_write(struct vmt_board *b, vmt_ns now, uint32_t space, uint64_t addr,
			    uint32_t width, uint64_t value, struct vmt_board_out *ret_out);

/* Bring every face up to `now`; due at the deadline of the last vmt_board_out. */
VMT_API void vmt_board_advance(struct vmt_board *b, vmt_ns now, struct vmt_board_out *ret_out);

/* The guest acknowledged (EOI) an interrupt of `source`. */
VMT_API void vmt_board_ack(struct vmt_board *b, vmt_ns now, uint32_t source,
			   struct vmt_board_out *ret_out);

/* The pulse just asked for did not reach the guest (masked, or merged into one still pending):
 * policy decides again. */
VMT_API void vmt_board_refused(struct vmt_board *b, vmt_ns now, uint32_t source,
			       struct vmt_board_out *ret_out);

/* A bus reset (guest reboot): what the data sheets reset is reset, time goes on. */
VMT_API void vmt_board_reset(struct vmt_board *b, vmt_ns now, struct vmt_board_out *ret_out);

/* UTC is now + utc_offset_ns from here on; a time that the guest has set keeps its distance. */
VMT_API void vmt_board_utc(struct vmt_board *b, vmt_ns now, int64_t utc_offset_ns,
			   struct vmt_board_out *ret_out);

VMT_API void vmt_board_ledger(const struct vmt_board *b, uint32_t source,
			      struct vmt_ledger *ret_ledger);

/* Bytes written, -ENOSPC when `size` is too small.  Load: 0, or -EINVAL and *b as it was; the
 * configuration must be the saved one's. */
VMT_API int vmt_board_save(const struct vmt_board *b, void *buf, size_t size);
VMT_API int vmt_board_load(struct vmt_board *b, vmt_ns now, const void *buf, size_t size,
			   struct vmt_board_out *ret_out);

#ifdef __cplusplus
}
#endif
#endif
