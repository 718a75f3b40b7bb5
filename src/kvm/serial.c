/* SPDX-License-Identifier: Apache-2.0 */
/* serial.c - a 16550A UART. */
#include <string.h>

#include "kvm/serial.h"

enum { DATA = 0, IER = 1, IIR_FCR = 2, LCR = 3, MCR = 4, LSR = 5, MSR = 6, SCR = 7 };

enum { IER_RX = 1, IER_THRE = 2, IER_LINE = 4, IER_MODEM = 8, IER_BITS = 0x0f };
enum {
	IIR_NONE = 0x01,
	IIR_MODEM = 0x00,
	IIR_THRE = 0x02,
	IIR_RX = 0x04,
	IIR_LINE = 0x06,
	IIR_TIMEOUT = 0x0c,
	IIR_FIFO = 0xc0,
};
enum { FCR_ENABLE = 1, FCR_CLEAR_RX = 2 };
enum { LCR_DLAB = 0x80 };
enum { MCR_DTR = 1, MCR_RTS = 2, MCR_OUT1 = 4, MCR_OUT2 = 8, MCR_LOOP = 0x10, MCR_BITS = 0x1f };
enum { LSR_DATA = 1, LSR_OVERRUN = 2, LSR_EMPTY = 0x60 /* THRE and TEMT */ };
enum { MSR_CTS = 0x10, MSR_DSR = 0x20, MSR_RI = 0x40, MSR_DCD = 0x80 };

void serial_reset(struct serial *s)
{
	/* 9600 baud, as firmware leaves it. */
	*s = (struct serial){.divisor = 12, .trigger = 1};
}

static void clear_rx(struct serial *s)
{
	s->rx_first = 0;
	s->rx_count = 0;
}

/* The modem's four lines; in loopback they are the four outputs. */
static uint8_t modem_lines(const struct serial *s)
{
	if (!(s->mcr & MCR_LOOP))
		return MSR_CTS | MSR_DSR | MSR_DCD;
	return (uint8_t)((s->mcr & MCR_RTS ? MSR_CTS : 0) | (s->mcr & MCR_DTR ? MSR_DSR : 0) |
			 (s->mcr & MCR_OUT1 ? MSR_RI : 0) | (s->mcr & MCR_OUT2 ? MSR_DCD : 0));
}

/* Interrupt sources by falling priority, as IIR tells them. */
static uint8_t cause(const struct serial *s)
{
	if (s->ier & IER_LINE && s->overrun)
		return IIR_LINE;
	if (s->ier & IER_RX && s->rx_count)
		return s->rx_count >= s->trigger ? IIR_RX : IIR_TIMEOUT;
	if (s->ier & IER_THRE && s->thre_pending)
		return IIR_THRE;
	if (s->ier & IER_MODEM && s->modem_deltas)
		return IIR_MODEM;
	return IIR_NONE;
}

bool serial_level(const struct serial *s)
{
	/* On a PC the interrupt passes a gate that OUT2 opens; in loopback OUT2 stays inside. */
	return (s->mcr & (MCR_OUT2 | MCR_LOOP)) == MCR_OUT2 && cause(s) != IIR_NONE;
}

unsigned serial_room(const struct serial *s)
{
	unsigned size = s->fifo_enabled ? SERIAL_FIFO : 1;

	return s->mcr & MCR_LOOP ? 0 : size - (s->rx_count < size ? s->rx_count : size);
}

static void take(struct serial *s, uint8_t byte)
{
	unsigned size = s->fifo_enabled ? SERIAL_FIFO : 1;

	if (s->rx_count < size) {
		s->rx[(s->rx_first + s->rx_count) % SERIAL_FIFO] = byte;
		s->rx_count++;
		return;
	}
	/* With the FIFO on, what it holds stays and the new byte is lost; without, the new byte
	 * takes the old one's place. */
	s->overrun = true;
	if (!s->fifo_enabled)
		s->rx[s->rx_first] = byte;
}

void serial_receive(struct serial *s, uint8_t byte)
{
	if (!(s->mcr & MCR_LOOP)) /* in loopback the input pin is not connected */
		take(s, byte);
}

static uint8_t read_data(struct serial *s)
{
	uint8_t byte = s->rx[s->rx_first];

	if (s->rx_count == 0)
		return 0;
	s->rx_first = (uint8_t)((s->rx_first + 1) % SERIAL_FIFO);
	s->rx_count--;
	return byte;
}

static uint8_t read_iir(struct serial *s)
{
	uint8_t iir = cause(s);

	if (iir == IIR_THRE)
		s->thre_pending = false; /* saying so is the acknowledgement */
	return (uint8_t)(iir | (s->fifo_enabled ? IIR_FIFO : 0));
}

uint8_t serial_read(struct serial *s, unsigned reg)
{
	bool dlab = s->lcr & LCR_DLAB;
	uint8_t value;

	switch (reg) {
	case DATA:
		return dlab ? (uint8_t)s->divisor : read_data(s);
	case IER:
		return dlab ? (uint8_t)(s->divisor >> 8) : s->ier;
	case IIR_FCR:
		return read_iir(s);
	case LCR:
		return s->lcr;
	case MCR:
		return s->mcr;
	case LSR:
		value = (uint8_t)(LSR_EMPTY | (s->rx_count ? LSR_DATA : 0) |
				  (s->overrun ? LSR_OVERRUN : 0));
		s->overrun = false;
		return value;
	case MSR:
		value = modem_lines(s) | s->modem_deltas;
		s->modem_deltas = 0;
		return value;
	case SCR:
		return s->scr;
	default:
		return 0xff;
	}
}

static bool write_data(struct serial *s, uint8_t value, uint8_t *ret_sent)
{
	s->thre_pending = true; /* full and empty again, at once */
	if (s->mcr & MCR_LOOP) {
		take(s, value);
		return false;
	}
	*ret_sent = value;
	return true;
}

static void write_fcr(struct serial *s, uint8_t value)
{
	static const uint8_t triggers[4] = {1, 4, 8, 14};
	bool enable = value & FCR_ENABLE;

	if (enable != s->fifo_enabled || (enable && value & FCR_CLEAR_RX))
		clear_rx(s); /* changing the mode clears the FIFOs, too */
	s->fifo_enabled = enable;
	s->trigger = enable ? triggers[value >> 6] : 1;
}

static void write_mcr(struct serial *s, uint8_t value)
{
	uint8_t before = modem_lines(s);
	uint8_t changed, trailing;

	s->mcr = value & MCR_BITS;
	changed = before ^ modem_lines(s);
	/* Of RI only the end of a ring counts. */
	trailing = (uint8_t)(changed & (before | (uint8_t)~MSR_RI));
	s->modem_deltas |= (uint8_t)(trailing >> 4);
}

bool serial_write(struct serial *s, unsigned reg, uint8_t value, uint8_t *ret_sent)
{
	bool dlab = s->lcr & LCR_DLAB;

	switch (reg) {
	case DATA:
		if (!dlab)
			return write_data(s, value, ret_sent);
		s->divisor = (uint16_t)((s->divisor & 0xff00) | value);
		break;
	case IER:
		if (dlab) {
			s->divisor = (uint16_t)((s->divisor & 0x00ff) | value << 8);
			break;
		}
		/* Enabled while the transmitter is empty: that is news. */
		if (value & IER_THRE && !(s->ier & IER_THRE))
			s->thre_pending = true;
		s->ier = value & IER_BITS;
		break;
	case IIR_FCR:
		write_fcr(s, value);
		break;
	case LCR:
		s->lcr = value;
		break;
	case MCR:
		write_mcr(s, value);
		break;
	case SCR:
		s->scr = value;
		break;
	default:
		break; /* LSR and MSR: factory test only */
	}
	return false;
}
