/* SPDX-License-Identifier: Apache-2.0 */
/* hpet.h - IA-PC high precision event timers with three timers, as a face.
 *
 * What the guest expects (IA-PC HPET specification 1.0a; section numbers below are its): a block
 * of 1024 bytes with a 64-bit counter that can be stopped and set, and comparators that interrupt
 * when the counter counts onto their value, once or with a period.
 *
 * The counter ticks each 10 ns of virtual time (100 MHz), on a grid that starts at virtual time 0:
 * whole nanoseconds, so that nothing is ever rounded twice, a tenth of the coarsest tick allowed
 * (2.3.4), and the rate that guests of other virtual machines have always seen.  Its lower half,
 * which is all that many guests read, comes round each 42.9 s.
 *
 * What is modelled
 * - Capabilities (read only): revision 1, three timers, 64-bit counter, legacy replacement, vendor
 *   0x8086, period 10,000,000 fs.
 * - The counter stands still until ENABLE_CNF is set, keeps its value while it is cleared and goes
 *   on from there; a write to it while it runs is ignored (2.3.7 forbids it).
 * - Each timer: 64 bits or, with 32MODE, 32 (the upper halves are then cut off and read 0); one
 *   shot or periodic; edge or level; INT_ENB.  A comparator that the counter has reached or passed
 *   when it is written waits until the counter comes round (2.3.9.2.1, "missed"): 42.9 s later
 *   with 32 bits, never with 64.  With 32 bits a one-shot matches at each round.
 * - Periodic: at a match the comparator moves on by the value last written to it (0: by a whole
 *   round).  A write sets this period alone, with VAL_SET the comparator as well.  VAL_SET counts
 *   in periodic mode only, for one write, of either half or the whole, and reads 0.
 * - Level: a match sets the timer's status bit, with INT_ENB or without; the line is high while the
 *   bit, INT_ENB and ENABLE_CNF are set.  Writing 1 clears the bit, nothing else but a change to
 *   edge does.  Ticks that find it set are one with it.  Edge: each match is a rising edge and over
 *   at once; the bit reads 0.
 * - Routes: a timer can be routed to the I/O APIC inputs that the machine allows; another number
 *   leaves the route as it is.  0 at power-on.
 * - Legacy replacement (2.4.2.1): while LEG_RT_CNF and ENABLE_CNF are set timer 0 is IRQ 0 (I/O
 *   APIC input 2), timer 1 IRQ 8, and whoever owns the PIT and the RTC keeps their lines from both
 *   (vmt_hpet_legacy()); their chips go on.
 * - No delivery as FSB messages: not announced, FSB_EN_CNF and the route register read 0.
 *
 * Accesses of 1 to 8 bytes anywhere: each is one access to every register that it touches; bytes
 * of a register that a write does not cover keep their value.  What is reserved, and timers that
 * do not exist, read 0 and ignore writes.
 *
 * Wired are the three lines, by their rising edges and by their levels.
 *
 * Rounding: the counter shows the ticks up to now, floor(now / 10 ns) while it was never stopped; a
 * match is due at the nanosecond at which its tick comes. */
#ifndef VMTIME_HPET_H
#define VMTIME_HPET_H

#include <vmtime/out.h>

#ifdef __cplusplus
extern "C" {
#endif

#define VMT_HPET_TICK_NS 10
#define VMT_HPET_BYTES 1024
#define VMT_HPET_TIMERS 3

/* Registers, by their byte in the block.  Timer n has its three at VMT_HPET_TIMER + n * 0x20. */
enum vmt_hpet_reg {
	VMT_HPET_CAPABILITIES = 0x000,
	VMT_HPET_CONFIG = 0x010,
	VMT_HPET_STATUS = 0x020,
	VMT_HPET_COUNTER = 0x0f0,
	VMT_HPET_TIMER = 0x100,
	VMT_HPET_TIMER_CONFIG = 0x00, /* from VMT_HPET_TIMER + n * 0x20 */
	VMT_HPET_TIMER_COMPARATOR = 0x08,
	VMT_HPET_TIMER_FSB = 0x10
};

/* Line n is timer n's. */
enum vmt_hpet_line { VMT_HPET_TIMER0 = 0, VMT_HPET_TIMER1 = 1, VMT_HPET_TIMER2 = 2 };

struct vmt_hpet_timer {
	uint64_t comparator; /* as it is read; periodic: of the next match */
	uint64_t written;    /* what was last written to it: the period in ticks */
	uint16_t config;     /* the bits that a guest can set, VAL_SET excepted */
	uint8_t val_set;     /* 1: the next write sets the comparator too */
	uint8_t pad[5];      /* 0 */
};

struct vmt_hpet {
	uint64_t seen_tick;  /* ticks of virtual time up to the last call */
	uint64_t base_count; /* what the counter showed ... */
	uint64_t base_tick;  /* ... at this tick; UINT64_MAX: it stands there */
	uint32_t changes;    /* of the two above, twice; odd only while a call changes them */
	uint32_t routes;     /* bit n: a timer can be routed to I/O APIC input n */
	struct vmt_hpet_timer timer[VMT_HPET_TIMERS];
	uint8_t config; /* bit 0 ENABLE_CNF, bit 1 LEG_RT_CNF */
	uint8_t status; /* bit n: timer n, level only */
	uint8_t pad[6]; /* 0 */
};

/* Power-on: the counter stands at 0, comparators are all ones, no interrupt is enabled.  routes:
 * bit n allows I/O APIC input n; -EINVAL without any. */
VMT_API int vmt_hpet_init(struct vmt_hpet *s, vmt_ns now, uint32_t routes);

/* Bus reset: as at power-on. */
VMT_API void vmt_hpet_reset(struct vmt_hpet *s, vmt_ns now);

VMT_API struct vmt_out vmt_hpet_advance(struct vmt_hpet *s, vmt_ns now);

/* A guest's access of `width` bytes (of more than 8 the first 8) from byte `reg` of the block on;
 * little-endian.  Beyond the block: 0, ignored. */
VMT_API struct vmt_out vmt_hpet_read(struct vmt_hpet *s, vmt_ns now, uint32_t reg, uint32_t width,
				     uint64_t *ret_value);
VMT_API struct vmt_out vmt_hpet_write(struct vmt_hpet *s, vmt_ns now, uint32_t reg, uint32_t width,
				      uint64_t value);

/* The counter, whole: changes nothing and needs no lock; may be called while another thread is in
 * any of the functions above but init (or below but load).  `now` is read before the call.  0, or
 * -EAGAIN when the counter is being stopped, started or set at this moment, and *ret_count as it
 * was: take the lock and use vmt_hpet_read().
 *
 * A write that stops the counter stops it at the writer's `now`.  A peek between that reading of
 * the clock and the call has seen more: whoever lets several threads access it keeps peeks out from
 * before the writer reads the clock until vmt_hpet_write() is over, or the counter steps back. */
VMT_API int vmt_hpet_peek(const struct vmt_hpet *s, vmt_ns now, uint64_t *ret_count);

/* 1 while timers 0 and 1 stand in for PIT and RTC, else 0.  Changes in vmt_hpet_write(),
 * vmt_hpet_reset() and vmt_hpet_load() only. */
VMT_API uint32_t vmt_hpet_legacy(const struct vmt_hpet *s);

/* The I/O APIC input that timer 0..2 is connected to, 2 and 8 while legacy replacement says so;
 * VMT_HPET_NOWHERE while its route is none that is allowed, and for other timers.  Changes as
 * vmt_hpet_legacy() does. */
#define VMT_HPET_NOWHERE UINT32_MAX
VMT_API uint32_t vmt_hpet_route(const struct vmt_hpet *s, uint32_t timer);

/* Distance of the interrupts of timer 0..2, saturating; 0 unless it is periodic, its interrupt
 * enabled and the counter running. */
VMT_API uint64_t vmt_hpet_period_ns(const struct vmt_hpet *s, uint32_t timer);

/* Save: bytes written, or -ENOSPC (VMT_HPET_SAVED suffices).  Load, into an initialised *s: 0, or
 * -EINVAL and *s as it was: damaged, of another version, with other routes, or impossible at `now`.
 */
#define VMT_HPET_SAVED 160
VMT_API int vmt_hpet_save(const struct vmt_hpet *s, void *buf, size_t size);
VMT_API int vmt_hpet_load(struct vmt_hpet *s, vmt_ns now, const void *buf, size_t size);

#ifdef __cplusplus
}
#endif
#endif
