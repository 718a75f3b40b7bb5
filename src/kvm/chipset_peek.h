/* SPDX-License-Identifier: Apache-2.0 */
/* chipset_peek.h - the counters of a chipset that are read without its lock: the PM timer and the
 * HPET's. */
#ifndef KVM_CHIPSET_PEEK_H
#define KVM_CHIPSET_PEEK_H

#include "kvm/chipset.h"

/* Called with the lock held, twice: no count is peeked at from before the caller looks at the clock
 * until it stands, or the HPET's counter does.  It would be later than where that stops, and step
 * back. */
void chipset_switching(struct chipset *c);

/* The guest's read, from any thread; false: it needs the lock. */
bool chipset_peek(struct chipset *c, uint32_t space, uint64_t addr, uint32_t width,
		  uint64_t *ret_value);

#endif
