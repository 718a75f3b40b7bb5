/* SPDX-License-Identifier: Apache-2.0 */
/* rtc.h - MC146818 real-time clock with its CMOS memory, as a face.
 *
 * What the guest expects (Motorola MC146818A data sheet): 128 bytes behind an index port (0x70)
 * and a data port (0x71): time and date, an alarm, registers A to D, and memory; interrupts on
 * IRQ 8 at a periodic rate, at an alarm and after each update.
 *
 * What is modelled
 * - The time is UTC, floor((now + utc_offset_ns + what the guest made of it) / 1 s).  What the
 *   guest sets is kept as a distance to UTC, so that a step of UTC moves the clock with it; a step
 *   forward over an alarm fires it.
 * - The update cycle: UIP is 1 for the last 2228 us of each second: 244 us of warning, then 1984 us
 *   of update.  At its end, which is the edge of the second to the nanosecond, UIP falls, the
 *   registers show the new second (until then the old one, where the chip promises nothing), and
 *   UF, and AF if the alarm matches, are set.
 * - SET: time stands and may be written; UIE is cleared; when SET is cleared the written time goes
 *   on at the next edge of the divider, which ran through.  Written without SET it counts at once.
 * - Divider: 000 to 010 run as 32.768 kHz, all other values hold it; released, the first update
 *   comes half a second later.
 * - Binary and BCD, 12 and 24 hours (the bytes follow the bits of B at once; the chip asks for them
 *   to be written anew), Gregorian leap years with the century in byte 0x32 (also 0x37), the day of
 *   the week as a counter of its own.  What was written is read back until the next update, where
 *   impossible values (second 75) carry over.
 * - PF is set at the chosen rate whether PIE or not; it keeps to virtual time when UTC is stepped.
 *   The alarm matches byte for byte, 11xxxxxx matches any.
 * - Reading C clears PF, AF and UF and lowers the line.  D reads 0x80.  Index bit 7 (NMI mask) is
 *   dropped; port 0x70 reads 0xff.  DSE and SQWE hold what is written and do nothing.
 *
 * The exact clock (vmt_rtc_exact(); off after vmt_rtc_init())
 * - Linux sets its clock once, when its RTC driver comes up, to the second that it read and a half
 *   (rtc_hctosys()): up to half a second wrong, whatever else the guest has.  So the answer to the
 *   read that ends this reading, the seconds after all other fields and register A, is held back
 *   (vmt_out.ready) until half of its second is over, less what Linux needs from there to its
 *   clock: as long as it took from the first field on, and `lead_ns`.  The value is that of the
 *   instant `ready`.
 * - Linux 6.1 reads the time three times before, for its alarm, in the same breath.  The first
 *   reading is held until VMT_RTC_HOLD_EARLY_NS earlier, so that the one that counts comes early
 *   enough.  A reading that ends too late in its second is held to the end of that, whereupon
 *   Linux reads anew; once each.  So a boot takes up to 1.1 s longer, on a host so busy that the
 *   last reading came too late another second.
 * - Nothing is held before the guest has written register A or B, as a driver does: a guest that is
 *   not shown kvm-clock also reads the time before it has one, to no lasting effect.
 * - Nothing is held once 100 ms have passed since the first hold or one of the readings right
 *   after it, or 60 s since power-on or reset, or when the guest set the time or let it stand:
 *   later readings happen with the guest's interrupts off.  Other guests than Linux read in
 *   another order and are never held.
 *
 * Wired is VMT_RTC_IRQ, by level (it is IRQF) and by rising edge.  VMT_RTC_MISSED is no pin: its
 * rises count the periodic interrupts that found PF still set, of which nothing tells the guest
 * therefore (one that finds the line high for AF or UF alone sets PF, and is not missed); it wakes
 * nobody. */
#ifndef VMTIME_RTC_H
#define VMTIME_RTC_H

#include <vmtime/out.h>

#ifdef __cplusplus
extern "C" {
#endif

#define VMT_RTC_BYTES 128

/* Registers: 0 the index port (0x70), 1 the data port (0x71). */
enum vmt_rtc_reg { VMT_RTC_INDEX = 0, VMT_RTC_DATA = 1 };
enum vmt_rtc_line { VMT_RTC_IRQ = 0, VMT_RTC_MISSED = 1 };

struct vmt_rtc {
	vmt_ns seen_ns;        /* `now` of the last call */
	int64_t utc_offset_ns; /* UTC is now + this */
	int64_t offset_s;      /* what the guest made of it: these whole seconds ... */
	vmt_ns hold_until_ns;  /* readings are held before this; 0: no more */
	vmt_ns fields_ns;      /* when the reading came to the first field */
	uint32_t phase_ns;     /* ... and this, 0..999,999,999 */
	uint32_t divider_ns;   /* now + this is the divider's time, 0..999,999,999 */
	uint32_t lead_ns;      /* of vmt_rtc_exact() */
	uint8_t index;         /* 0..127 */
	uint8_t week_skew;     /* day of the week minus that of the date, 0..6 */
	uint8_t raw;           /* 1: written this second, the time bytes show what was */
	uint8_t exact;         /* 1: vmt_rtc_exact() */
	uint8_t driven;        /* 1: A or B was written since power-on or reset */
	uint8_t stage;         /* 1: the first was late, 2: it was held, 3: the last was late */
	uint8_t burst;         /* how far a reading has come */
	uint8_t pad[5];        /* 0 */
	uint8_t cmos[VMT_RTC_BYTES]; /* A to D in their places; time bytes valid while it stands */
};

/* Power-on: it shows UTC, 24 hours, BCD, register A 0x26, memory 0. */
VMT_API void vmt_rtc_init(struct vmt_rtc *s, vmt_ns now, int64_t utc_offset_ns);

/* Power-on of an exact clock: right after vmt_rtc_init() (or vmt_board_init()).  -EINVAL when
 * lead_ns exceeds VMT_RTC_LEAD_MAX_NS. */
#define VMT_RTC_HOLD_EARLY_NS 100000000
#define VMT_RTC_LEAD_MAX_NS 100000000
#define VMT_RTC_LEAD_NS 0 /* what is needed beyond that; measured: docs/benchmarks.md */
VMT_API int vmt_rtc_exact(struct vmt_rtc *s, vmt_ns now, uint32_t lead_ns);

/* Bus reset: PIE, AIE, UIE, SQWE and the flags are cleared; time and memory stay.  An exact clock
 * holds again. */
VMT_API void vmt_rtc_reset(struct vmt_rtc *s, vmt_ns now);

VMT_API struct vmt_out vmt_rtc_advance(struct vmt_rtc *s, vmt_ns now);

/* A guest's byte.  reg beyond VMT_RTC_DATA reads 0xff and ignores writes. */
VMT_API struct vmt_out vmt_rtc_read(struct vmt_rtc *s, vmt_ns now, uint32_t reg,
				    uint8_t *ret_value);
VMT_API struct vmt_out vmt_rtc_write(struct vmt_rtc *s, vmt_ns now, uint32_t reg, uint8_t value);

/* UTC is now + utc_offset_ns from here on. */
VMT_API struct vmt_out vmt_rtc_utc(struct vmt_rtc *s, vmt_ns now, int64_t utc_offset_ns);

/* A periodic interrupt that was missed is shown once more: PF is set, if PIE still is. */
VMT_API struct vmt_out vmt_rtc_repeat(struct vmt_rtc *s, vmt_ns now);

/* What the guest set, minus UTC; saturates.  While the time stands: as it was before. */
VMT_API int64_t vmt_rtc_offset_ns(const struct vmt_rtc *s);

/* Distance of the periodic interrupts; 0 when there are none (PIE clear, rate 0, divider held). */
VMT_API uint64_t vmt_rtc_period_ns(const struct vmt_rtc *s);

/* Save: bytes written, or -ENOSPC (VMT_RTC_SAVED suffices).  Load: 0, or -EINVAL and *s as it was:
 * damaged, of another version, or impossible at `now`. */
#define VMT_RTC_SAVED 256
VMT_API int vmt_rtc_save(const struct vmt_rtc *s, void *buf, size_t size);
VMT_API int vmt_rtc_load(struct vmt_rtc *s, vmt_ns now, const void *buf, size_t size);

#ifdef __cplusplus
}
#endif
#endif
