/* SPDX-License-Identifier: Apache-2.0 */
/* pit.h - i8254 programmable interval timer with the PC's port 0x61, as a face.
 *
 * What the guest expects: three 16-bit counters at 1.193182 MHz; counter 0 interrupts (IRQ 0),
 * counter 1 once refreshed memory, counter 2 is gated by port 0x61 and drives the speaker; it is
 * what kernels calibrate their TSC with.
 *
 * What is modelled (Intel 8254 data sheet, order 231164): the six modes, binary and BCD, the three
 * byte orders with a flip-flop each for reading and writing, counter latch, read-back of count and
 * status, NULL COUNT, counts rewritten while running, and gates.  All of it happens at clocks of
 * one grid that starts at virtual time 0: a write between two clocks takes effect at the second,
 * and a counter is a function of `now`, so that it neither drifts nor needs a tick.
 *
 * Where the data sheet is silent: after power-on the counters stand still with OUT high until they
 * are programmed; count 1 in modes 2 and 3 (illegal) keeps OUT high; BCD digits above 9 count by
 * their weight; a control word drops unread latches of its counter; the control port reads 0xff.
 * Port 0x61: gate of counter 2 (bit 0), speaker (1), bits 2 and 3 hold what is written, bit 4
 * toggles each 18 clocks (15.086 us), bit 5 is OUT2, bits 6 and 7 read 0.
 *
 * Wired is OUT0 by its rising edges, which the PC turns into IRQ 0: they alone set a deadline.
 * OUT1 and OUT2 are counted and shown, and wake nobody.
 *
 * Rounding: a read sees the clocks up to now, floor(now * VMT_PIT_HZ / 10^9); an edge is due at the
 * first nanosecond at which its clock has come. */
#ifndef VMTIME_PIT_H
#define VMTIME_PIT_H

#include <vmtime/out.h>

#ifdef __cplusplus
extern "C" {
#endif

#define VMT_PIT_HZ 1193182

/* Registers: 0-2 counters (ports 0x40-0x42), 3 control word (0x43), 4 port 0x61. */
enum vmt_pit_reg { VMT_PIT_COUNTER0 = 0, VMT_PIT_CONTROL = 3, VMT_PIT_PORT61 = 4 };
enum vmt_pit_line { VMT_PIT_OUT0 = 0, VMT_PIT_OUT1 = 1, VMT_PIT_OUT2 = 2 };

struct vmt_pit_channel {
	uint64_t base_tick;     /* running: the clock at which skew_ticks of the count were over */
	uint64_t load_tick;     /* the clock that loads `reload`; UINT64_MAX: none awaited */
	uint32_t skew_ticks;    /* 0..131073 */
	uint32_t count;         /* loaded, 1..65536; 0: none since the control word */
	uint32_t reload;        /* written (the data sheet's CR), 1..65536; 0: none yet */
	uint16_t held;          /* not running: what the counter reads */
	uint16_t latch;         /* the latched count, as it is read */
	uint8_t control;        /* bits 5:0 of the control word, as written */
	uint8_t gate;           /* 0 or 1, as all below unless said */
	uint8_t running;        /* it counts */
	uint8_t out;            /* not running: the level of OUT */
	uint8_t null_count;     /* what was written is not loaded yet */
	uint8_t write_lsb;      /* first byte of a two-byte count, 0..255 */
	uint8_t write_half;     /* the second byte is awaited */
	uint8_t read_half;      /* the second byte is read next */
	uint8_t latched;        /* `latch` is yet to be read */
	uint8_t status;         /* the latched status byte, 0..255 */
	uint8_t status_latched; /* `status` is yet to be read */
	uint8_t pad[5];         /* 0 */
};

struct vmt_pit {
	uint64_t seen_tick; /* clocks up to the last call */
	struct vmt_pit_channel channel[3];
	uint8_t port61; /* bits 3:0, as written */
	uint8_t pad[7]; /* 0 */
};

/* Power-on: gates 0 and 1 open, gate 2 closed, nothing programmed. */
VMT_API void vmt_pit_reset(struct vmt_pit *s, vmt_ns now);

VMT_API struct vmt_out vmt_pit_advance(struct vmt_pit *s, vmt_ns now);

/* A guest's byte.  reg beyond VMT_PIT_PORT61 reads 0xff and ignores writes. */
VMT_API struct vmt_out vmt_pit_read(struct vmt_pit *s, vmt_ns now, uint32_t reg,
				    uint8_t *ret_value);
VMT_API struct vmt_out vmt_pit_write(struct vmt_pit *s, vmt_ns now, uint32_t reg, uint8_t value);

/* Distance of OUT0's rising edges, rounded up; 0 unless counter 0 runs in mode 2 or 3. */
VMT_API uint64_t vmt_pit_period_ns(const struct vmt_pit *s);

/* Save: bytes written, or -ENOSPC when `size` is too small (VMT_PIT_SAVED suffices).  Load: 0, or
 * -EINVAL and *s as it was: damaged, of another version, or impossible at `now`. */
#define VMT_PIT_SAVED 256
VMT_API int vmt_pit_save(const struct vmt_pit *s, void *buf, size_t size);
VMT_API int vmt_pit_load(struct vmt_pit *s, vmt_ns now, const void *buf, size_t size);

#ifdef __cplusplus
}
#endif
#endif
