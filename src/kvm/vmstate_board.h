/* SPDX-License-Identifier: Apache-2.0 */
/* vmstate_board.h - what is beside the CPUs, as bytes: interrupt chips and lines, serial ports.
 *
 * The machine stands still: no vCPU runs, its time stands, the board has been brought up to it and
 * all acknowledgements have been counted (chipset_hold()). */
#ifndef KVM_VMSTATE_BOARD_H
#define KVM_VMSTATE_BOARD_H

#include <stdbool.h>
#include <stdint.h>

#include "host/why.h"
#include "kvm/chipset.h"
#include "kvm/ports.h"
#include "kvm/vmstate_parts.h"

/* KVM's PIC, IOAPIC, and its PIT and clock where the machine uses these.  *clock_ns: what KVM's
 * kvm-clock showed when time stopped, and is to show when it goes on; NULL: not in use.  0,
 * -ENOMEM, -EIO; load also -EINVAL: it is none that was saved, or of a machine that has others. */
int vmstate_chips_save(const struct vm *vm, const uint64_t *clock_ns, struct vmstate_parts *parts,
		       struct why *why);
int vmstate_chips_load(const struct vm *vm, const struct vmstate_part *part, uint64_t *clock_ns,
		       struct why *why);

/* The board and how its lines stand.  Loading: the chipset's clock is the loaded one, not before
 * the board's time, and no VM is connected; it is connected to `vm`, whose chips have been loaded.
 * */
int vmstate_board_save(struct chipset *c, struct vmstate_parts *parts, struct why *why);
int vmstate_board_load(struct chipset *c, const struct vm *vm, const struct vmstate_part *board,
		       const struct vmstate_part *lines, struct why *why);

/* Serial ports, with what they have received and the guest has not yet read, and the registers
 * beside the board.  Loading comes before ports_connect(). */
int vmstate_ports_save(struct ports *p, struct vmstate_parts *parts, struct why *why);
int vmstate_ports_load(struct ports *p, const struct vmstate_part *part, struct why *why);

#endif
