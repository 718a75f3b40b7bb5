/* SPDX-License-Identifier: Apache-2.0 */
/* ports.c - what answers a guest's port and memory accesses. */
#include "kvm/acpi.h"
#include "kvm/ports.h"

enum { COM1 = 0x3f8, COM2 = 0x2f8, KEYBOARD_COMMAND = 0x64, PULSE_RESET = 0xfe, EXIT_PORT = 0xf4 };
enum { PM1_STATUS = 0, PM1_ENABLE = 2 };
enum { SCI_EN = 1, GBL_RLS = 4, SLP_TYP_SHIFT = 10, SLP_TYP_MASK = 7, SLP_EN = 1 << 13 };
enum { RST_CPU = 4 };

void ports_init(struct ports *p, struct chipset *chipset, bool exit_port)
{
	static const uint32_t gsi[PORTS_SERIAL] = {4, 3};

	*p = (struct ports){.chipset = chipset, .exit_port = exit_port};
	for (unsigned i = 0; i < PORTS_SERIAL; i++) {
		pthread_mutex_init(&p->serial[i].lock, NULL);
		p->serial[i].gsi = gsi[i];
		serial_reset(&p->serial[i].chip);
	}
}

void ports_destroy(struct ports *p)
{
	for (unsigned i = 0; i < PORTS_SERIAL; i++)
		pthread_mutex_destroy(&p->serial[i].lock);
}

/* Called with the lock held, so that the line's changes reach KVM in order. */
static void settle(struct ports_serial *s)
{
	bool level = serial_level(&s->chip);

	if (level == s->level)
		return;
	s->level = level;
	if (s->vm)
		vm_irq_line(s->vm, s->gsi, level);
}

static unsigned room(void *arg)
{
	struct ports_serial *s = arg;
	unsigned n;

	pthread_mutex_lock(&s->lock);
	n = s->vm ? serial_room(&s->chip) : 0;
	pthread_mutex_unlock(&s->lock);
	return n;
}

static void input(void *arg, const uint8_t *bytes, unsigned length)
{
	struct ports_serial *s = arg;

	pthread_mutex_lock(&s->lock);
	for (unsigned i = 0; i < length; i++)
		serial_receive(&s->chip, bytes[i]);
	settle(s);
	pthread_mutex_unlock(&s->lock);
}

struct console_port ports_console(struct ports *p, unsigned n)
{
	return (struct console_port){.room = room, .input = input, .port = &p->serial[n]};
}

void ports_connect(struct ports *p, const struct vm *vm)
{
	for (unsigned i = 0; i < PORTS_SERIAL; i++) {
		struct ports_serial *s = &p->serial[i];

		pthread_mutex_lock(&s->lock);
		s->vm = vm;
		s->level = false; /* as the lines of a new VM */
		settle(s);
		pthread_mutex_unlock(&s->lock);
		if (vm && s->console)
			console_has_room(s->console);
	}
}

void ports_reset(struct ports *p)
{
	for (unsigned i = 0; i < PORTS_SERIAL; i++) {
		struct ports_serial *s = &p->serial[i];

		pthread_mutex_lock(&s->lock);
		serial_reset(&s->chip);
		settle(s);
		pthread_mutex_unlock(&s->lock);
		if (s->console)
			console_has_room(s->console);
	}
	p->pm1_enable = 0;
	p->pm1_control = 0;
	p->reset_control = 0;
}

static struct ports_serial *serial_at(struct ports *p, uint16_t port)
{
	uint16_t base = port & (uint16_t) ~(SERIAL_REGISTERS - 1);

	return base == COM1 ? &p->serial[0] : base == COM2 ? &p->serial[1] : NULL;
}

static uint8_t serial_in(struct ports_serial *s, unsigned reg)
{
	unsigned before;
	uint8_t value;
	bool made_room;

	pthread_mutex_lock(&s->lock);
	before = serial_room(&s->chip);
	value = serial_read(&s->chip, reg);
	made_room = serial_room(&s->chip) > before;
	settle(s);
	pthread_mutex_unlock(&s->lock);
	if (made_room && s->console)
		console_has_room(s->console);
	return value;
}

static void serial_out(struct ports_serial *s, unsigned reg, uint8_t value)
{
	unsigned before;
	uint8_t byte;
	bool made_room;

	pthread_mutex_lock(&s->lock);
	before = serial_room(&s->chip);
	if (serial_write(&s->chip, reg, value, &byte) && s->console)
		console_put(s->console, &byte, 1);
	made_room = serial_room(&s->chip) > before;
	settle(s);
	pthread_mutex_unlock(&s->lock);
	if (made_room && s->console)
		console_has_room(s->console);
}

/* Power management without the board: without a PM timer its event bits are just held. */
static uint8_t read_byte(struct ports *p, uint16_t port)
{
	unsigned shift = (port & 1) * 8;

	switch (port & ~1) {
	case ACPI_PM1A_EVT_PORT + PM1_STATUS:
		return 0;
	case ACPI_PM1A_EVT_PORT + PM1_ENABLE:
		return (uint8_t)(p->pm1_enable >> shift);
	case ACPI_PM1A_CNT_PORT:
		return (uint8_t)((p->pm1_control | SCI_EN) >> shift);
	default:
		return port == ACPI_RESET_PORT ? p->reset_control : 0xff;
	}
}

uint64_t ports_in(struct ports *p, uint16_t port, unsigned width)
{
	struct ports_serial *s = serial_at(p, port);
	uint64_t value = 0;

	if (!s && chipset_read(p->chipset, VMT_PIO, port, width, &value))
		return value;
	for (unsigned i = 0; i < width; i++) {
		uint16_t at = (uint16_t)(port + i);

		s = serial_at(p, at);
		value |= (uint64_t)(s ? serial_in(s, at % SERIAL_REGISTERS) : read_byte(p, at))
			 << 8 * i;
	}
	return value;
}

/* Replaces the byte of a 16-bit register that `port` is. */
static uint16_t with_byte(uint16_t word, uint16_t port, uint8_t value)
{
	return (uint16_t)(port & 1 ? (word & 0x00ff) | value << 8 : (word & 0xff00) | value);
}

static enum ports_request write_control(struct ports *p, uint16_t port, uint8_t value)
{
	uint16_t control = with_byte(p->pm1_control, port, value);

	p->pm1_control = control & (uint16_t) ~(SLP_EN | GBL_RLS); /* these read as 0 */
	if (control & SLP_EN && (control >> SLP_TYP_SHIFT & SLP_TYP_MASK) == ACPI_S5_SLP_TYP)
		return PORTS_POWEROFF;
	return PORTS_NONE;
}

static enum ports_request write_byte(struct ports *p, uint16_t port, uint8_t value)
{
	switch (port) {
	case ACPI_PM1A_EVT_PORT + PM1_ENABLE:
	case ACPI_PM1A_EVT_PORT + PM1_ENABLE + 1:
		p->pm1_enable = with_byte(p->pm1_enable, port, value);
		return PORTS_NONE;
	case ACPI_PM1A_CNT_PORT:
	case ACPI_PM1A_CNT_PORT + 1:
		return write_control(p, port, value);
	case ACPI_RESET_PORT:
		p->reset_control = value & (uint8_t)~RST_CPU;
		return value & RST_CPU ? PORTS_RESET : PORTS_NONE;
	case KEYBOARD_COMMAND:
		return value == PULSE_RESET ? PORTS_RESET : PORTS_NONE;
	default:
		return PORTS_NONE;
	}
}

enum ports_request ports_out(struct ports *p, uint16_t port, unsigned width, uint32_t value,
			     uint8_t *ret_byte)
{
	struct ports_serial *s = serial_at(p, port);
	enum ports_request request = PORTS_NONE;

	if (!s && chipset_write(p->chipset, VMT_PIO, port, width, value))
		return PORTS_NONE;
	if (port == EXIT_PORT && p->exit_port) {
		*ret_byte = (uint8_t)value;
		return PORTS_EXIT;
	}
	for (unsigned i = 0; i < width && request == PORTS_NONE; i++) {
		uint16_t at = (uint16_t)(port + i);
		uint8_t byte = (uint8_t)(value >> 8 * i);

		s = serial_at(p, at);
		if (s)
			serial_out(s, at % SERIAL_REGISTERS, byte);
		else if (at != ACPI_RESET_PORT || width == 1) /* 0xcf8 is PCI's, 4 bytes wide */
			request = write_byte(p, at, byte);
	}
	return request;
}

uint64_t ports_load(struct ports *p, uint64_t gpa, unsigned width)
{
	uint64_t value;

	return chipset_read(p->chipset, VMT_MMIO, gpa, width, &value) ? value : UINT64_MAX;
}

void ports_store(struct ports *p, uint64_t gpa, unsigned width, uint64_t value)
{
	(void)chipset_write(p->chipset, VMT_MMIO, gpa, width, value);
}
