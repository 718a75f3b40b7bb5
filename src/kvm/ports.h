/* SPDX-License-Identifier: Apache-2.0 */
/* ports.h - what answers a guest's port and memory accesses: the board, two serial ports, and the
 * registers that reset, switch off and end the machine.
 *
 *   0x3f8, 0x2f8  16550A, IRQ 4 and 3       0x600-0x605  PM1a (the board has its timer bits)
 *   0x64          0xfe resets               0xcf9        bit 2 resets
 *   0x60, 0x64    read 0xff: no 8042        0xf4         ends the VM, when that port is on
 * All else reads as ones and takes what is written.
 *
 * Any thread; each serial port has a lock of its own. */
#ifndef KVM_PORTS_H
#define KVM_PORTS_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "kvm/chipset.h"
#include "kvm/console.h"
#include "kvm/serial.h"

#define PORTS_SERIAL 2

/* What the guest has asked for with an access. */
enum ports_request { PORTS_NONE = 0, PORTS_RESET, PORTS_POWEROFF, PORTS_EXIT };

struct ports_serial {
	pthread_mutex_t lock;
	struct serial chip;
	struct console *console; /* NULL: output is dropped, no input */
	const struct vm *vm;     /* whose line is moved; NULL: none yet */
	uint32_t gsi;
	bool level;
};

struct ports {
	struct chipset *chipset;
	bool exit_port;
	struct ports_serial serial[PORTS_SERIAL];
	_Atomic uint16_t pm1_enable, pm1_control;
	_Atomic uint8_t reset_control;
};

void ports_init(struct ports *p, struct chipset *chipset, bool exit_port);
void ports_destroy(struct ports *p);

/* Where the console of serial port n brings its input: not before there is a VM. */
struct console_port ports_console(struct ports *p, unsigned n);

/* From here on the lines of `vm` are moved. */
void ports_connect(struct ports *p, const struct vm *vm);

/* A bus reset; the board's is chipset_reset(). */
void ports_reset(struct ports *p);

/* An access of 1, 2, 4 (memory: also 8) bytes.  *ret_byte is what PORTS_EXIT was written. */
uint64_t ports_in(struct ports *p, uint16_t port, unsigned width);
enum ports_request ports_out(struct ports *p, uint16_t port, unsigned width, uint32_t value,
			     uint8_t *ret_byte);
uint64_t ports_load(struct ports *p, uint64_t gpa, unsigned width);
void ports_store(struct ports *p, uint64_t gpa, unsigned width, uint64_t value);

#endif
