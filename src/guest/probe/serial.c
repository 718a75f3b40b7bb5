/* SPDX-License-Identifier: Apache-2.0 */
/* serial.c - the probe's lines, over the first serial port (16550, at 115200 bit/s). */
#include "guest/probe/cpu.h"
#include "guest/probe/probe.h"

enum { PORT = 0x3f8, DIVISOR_LOW = PORT, DIVISOR_HIGH, FIFO, LINE, MODEM, STATUS };
enum { LINE_8N1 = 3, LINE_DIVISOR = 0x80, FIFO_CLEAR_ON = 7, MODEM_DTR_RTS = 3 };
enum { STATUS_DATA = 1, STATUS_EMPTY = 0x20, FIFO_SIZE = 16 };

static uint32_t room, sum;

void probe_open_port(void)
{
	cpu_out8(DIVISOR_HIGH, 0); /* no interrupts: the same register */
	cpu_out8(LINE, LINE_DIVISOR | LINE_8N1);
	cpu_out8(DIVISOR_LOW, 1);
	cpu_out8(DIVISOR_HIGH, 0);
	cpu_out8(LINE, LINE_8N1);
	cpu_out8(FIFO, FIFO_CLEAR_ON);
	cpu_out8(MODEM, MODEM_DTR_RTS);
}

/* An empty FIFO is asked for once, then filled: under a hypervisor each access is an exit. */
static void send(char c)
{
	if (room == 0) {
		while (!(cpu_in8(STATUS) & STATUS_EMPTY))
			cpu_relax();
		room = FIFO_SIZE;
	}
	cpu_out8(PORT, (uint8_t)c);
	room--;
}

static void put(char c)
{
	sum = (((sum >> 1) | (sum << 15)) + (uint8_t)c) & 0xffff;
	send(c);
}

static void send_number(uint64_t value, void (*to)(char c))
{
	uint32_t digits = 1;

	while (digits < 16 && value >> (4 * digits))
		digits++;
	while (digits--)
		to("0123456789abcdef"[value >> (4 * digits) & 0xf]);
}

void probe_begin(char kind)
{
	sum = 0;
	put(kind);
}

void probe_put_number(uint64_t value)
{
	put(' ');
	send_number(value, put);
}

void probe_put_word(const char *word)
{
	put(' ');
	while (*word)
		put(*word++);
}

void probe_end(void)
{
	send(' ');
	send('*');
	send_number(sum, send);
	send('\n');
}

bool probe_take_char(char *ret_char)
{
	if (!(cpu_in8(STATUS) & STATUS_DATA))
		return false;
	*ret_char = (char)cpu_in8(PORT);
	return true;
}
