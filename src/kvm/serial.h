/* SPDX-License-Identifier: Apache-2.0 */
/* serial.h - a 16550A UART: registers, both FIFOs, interrupts; no I/O of its own.
 *
 * What a guest may expect (PC16550D data sheet): divisor latch, interrupt identification by
 * priority, receive FIFO of 16 with trigger levels and overrun, scratch register, loopback with
 * modem lines and their deltas, interrupt line gated by OUT2 as on a PC.
 *
 * Where it differs from a chip, on purpose: a byte written is sent at once whatever the divisor, so
 * that the transmitter is always empty and its interrupt follows each write; the receiver's
 * character time-out has passed at once, too.  No parity or framing errors, breaks are ignored.
 * The other side is always there: DCD, DSR and CTS are on.
 *
 * Calls on one struct are serialised by the caller. */
#ifndef KVM_SERIAL_H
#define KVM_SERIAL_H

#include <stdbool.h>
#include <stdint.h>

#define SERIAL_REGISTERS 8
#define SERIAL_FIFO 16

struct serial {
	uint16_t divisor;
	uint8_t ier, lcr, mcr, scr;
	bool fifo_enabled;
	uint8_t trigger;      /* bytes in the FIFO that count as available */
	bool thre_pending;    /* the transmitter became empty since IIR last said so */
	bool overrun;         /* LSR bit 1; cleared by reading it */
	uint8_t modem_deltas; /* MSR bits 0-3 */
	uint8_t rx[SERIAL_FIFO];
	uint8_t rx_first, rx_count;
};

/* Power-on state. */
void serial_reset(struct serial *s);

/* The guest reads register `reg` (0..7). */
uint8_t serial_read(struct serial *s, unsigned reg);

/* The guest writes.  True when this sends a byte: *ret_sent. */
bool serial_write(struct serial *s, unsigned reg, uint8_t value, uint8_t *ret_sent);

/* How many bytes the receiver can take now without an overrun. */
unsigned serial_room(const struct serial *s);

/* A byte arrives; with no room it is an overrun and lost. */
void serial_receive(struct serial *s, uint8_t byte);

/* The interrupt line, after any of the above. */
bool serial_level(const struct serial *s);

#endif
