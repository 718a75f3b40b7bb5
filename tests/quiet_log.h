/* SPDX-License-Identifier: Apache-2.0 */
/* quiet_log.h - KVM's record of a guest that writes nothing; its owner is the memory. */
#ifndef TESTS_QUIET_LOG_H
#define TESTS_QUIET_LOG_H

#include <string.h>

#include "kvm/dirty.h"

static inline int quiet_get(void *owner, uint32_t slot, uint64_t *bits)
{
	const struct guest_memory *m = owner;

	(void)slot;
	memset(bits, 0, m->low_size / MEMORY_PAGE / 8);
	return 0;
}

static inline struct dirty_log quiet_log(struct guest_memory *memory)
{
	return (struct dirty_log){.get = quiet_get, .owner = memory};
}

#endif
