/* SPDX-License-Identifier: Apache-2.0 */
/* vmstate_machine.h - which machine a state is the state of. */
#ifndef KVM_VMSTATE_MACHINE_H
#define KVM_VMSTATE_MACHINE_H

#include "host/why.h"
#include "kvm/machine.h"
#include "kvm/vmstate_parts.h"

/* `khz`: of its TSC. */
int vmstate_machine_save(const struct machine_config *config, uint32_t khz,
			 struct vmstate_parts *parts, struct why *why);

/* 0; -EINVAL: the machine has another option, which is named with both values, or this is no
 * description; -ENOTSUP. */
int vmstate_machine_compare(const struct machine_config *config, const struct vmstate_part *part,
			    struct why *why);

/* That of a description which has been compared. */
uint32_t vmstate_machine_khz(const struct vmstate_part *part);

/* Whether each of these, all of known kinds, is of such a machine: one that nobody looks at would
 * be lost without a word.  0, or -EINVAL. */
int vmstate_machine_has(const struct machine_config *config, const struct vmstate_parts *parts,
			struct why *why);

#endif
