/* SPDX-License-Identifier: Apache-2.0 */
/* probe.h - does KVM work here, and what can it do to a guest's TSC.
 *
 * Found by effect, not by what is announced: there are hosts whose /dev/kvm opens, makes a VM and
 * runs only guests adapted to it (kvm_pvm), and there TSC offsets are accepted, answered with 0 and
 * ignored.  So a guest of a few instructions runs, in 64-bit mode, and tells what it saw.
 *
 * The guest runs in a child process with a time limit, for such a KVM may also never come back.
 * Any thread may call; each call costs a VM, some milliseconds. */
#ifndef KVM_PROBE_H
#define KVM_PROBE_H

#include <stdbool.h>

#include "host/why.h"

enum probe_tsc_class {
	PROBE_TSC_NONE,           /* the guest sees the host's TSC, whatever is set */
	PROBE_TSC_OFFSET,         /* an offset takes effect, another frequency does not */
	PROBE_TSC_OFFSET_SCALING, /* both do */
};

/* True when an unmodified 64-bit guest runs here.  Otherwise `why` (may be NULL) says which it is:
 * no /dev/kvm, no permission for it, or a KVM that runs only adapted guests. */
bool probe_kvm_works(struct why *why);

/* The CPU has SVM, AMD's virtualization; where KVM works and it has not, VMX. */
bool probe_is_svm(void);

/* What KVM can do to the TSC.  0; -ENODEV when KVM does not work here, with `why` as above. */
int probe_tsc(enum probe_tsc_class *ret_class, struct why *why);

#endif
