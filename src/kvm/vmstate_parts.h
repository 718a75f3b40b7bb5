/* SPDX-License-Identifier: Apache-2.0 */
/* vmstate_parts.h - the state of a VM as a list of byte strings, each of a kind.
 *
 * What writes them into a file or a stream need not know what is in them. */
#ifndef KVM_VMSTATE_PARTS_H
#define KVM_VMSTATE_PARTS_H

#include <stdbool.h>
#include <stdint.h>

#include "host/why.h"

/* A number never changes its meaning.  docs/snapshot-format.md has the bytes of each. */
enum vmstate_kind {
	VMSTATE_MACHINE = 0,  /* what the others are the state of; to be compared */
	VMSTATE_CLOCK = 1,    /* the virtual clock, and the host's readings when it was stopped */
	VMSTATE_TSC = 2,      /* of all CPUs */
	VMSTATE_KVMCLOCK = 3, /* its registers */
	VMSTATE_STEAL = 4,    /* its registers */
	VMSTATE_BOARD = 5,    /* the faces, and the fate of ticks */
	VMSTATE_LINES = 6,    /* interrupt lines and what the board's holder knows */
	VMSTATE_PORTS = 7,    /* serial ports and the registers beside the board */
	VMSTATE_CHIPS = 8,    /* KVM's PIC, IOAPIC and PIT */
	VMSTATE_CPU = 9,      /* one of each CPU, which is the index */
	VMSTATE_TAKEN = 10,   /* CPUs whose kvm-clock page the guest took; absent: none */
	VMSTATE_HOST = 11,    /* the host's clocks when it was stopped (hosts.h); migration alone */
	VMSTATE_FEATURES = 12, /* what its CPUs can do (CPUID); migration alone */
};

#define VMSTATE_TAKEN_BYTES 32U /* a bit a CPU */

/* Bounds on what anybody may bring: 254 CPUs need a tenth of it. */
#define VMSTATE_PARTS_MAX 1024U
#define VMSTATE_BYTES_MAX (64U << 20)

struct vmstate_part {
	uint32_t kind; /* enum vmstate_kind */
	uint32_t index;
	uint16_t version;
	uint32_t length;
	uint8_t *bytes;
};

struct vmstate_parts {
	struct vmstate_part *parts;
	uint32_t n, room;
	uint64_t bytes;
};

/* Whether this vmtime knows that kind, and that version of it. */
bool vmstate_parts_knows(uint32_t kind, uint16_t version);

/* Adds a copy.  0; -ENOMEM; -E2BIG beyond the bounds; -EEXIST: there is one of that kind and
 * index. */
int vmstate_parts_add(struct vmstate_parts *p, uint32_t kind, uint16_t version, uint32_t index,
		      const void *bytes, uint32_t length);

/* NULL: there is none. */
const struct vmstate_part *vmstate_parts_find(const struct vmstate_parts *p, uint32_t kind,
					      uint32_t index);

/* Also of one that is all 0, which is an empty one. */
void vmstate_parts_free(struct vmstate_parts *p);

#endif
