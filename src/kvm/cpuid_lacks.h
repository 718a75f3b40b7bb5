/* SPDX-License-Identifier: Apache-2.0 */
/* cpuid_lacks.h - whether a host's CPUs can do all that a machine was shown elsewhere.
 *
 * A guest looks at CPUID when it boots, and goes by that for as long as it runs.  So what it has
 * been shown has to be true wherever it goes, and is what it goes on to see there, also where more
 * could be shown.  Of what this host would show to a machine like it,
 *   - the vendor, how a state component lies in XSAVE's area, the size of a cache line for CLFLUSH,
 *     the signature of the hypervisor, and whatever is not named here have to be the same;
 *   - flags (features, XSAVE's components, KVM's own features) have to be there, and may be more;
 *   - the widths of addresses have to be as great, and may be greater;
 *   - what names or describes a CPU (family and model, brand, caches, TLBs, topology, the highest
 *     leaf, power management that a guest has not, how many encrypted guests a host could have)
 *     does not matter;
 *   - nor does what KVM fills in itself (OSXSAVE, OSPKE, the APIC's bit, MWAIT, the size of what
 *     XCR0 has switched on; arch/x86/kvm/cpuid.c, __kvm_update_cpuid_runtime()), nor frequencies,
 *     which are compared elsewhere.
 * Leaves and their fields: Intel's SDM, volume 2A, CPUID; AMD's APM, volume 3, appendix E; Linux,
 * Documentation/virt/kvm/x86/cpuid.rst.  Pure functions. */
#ifndef KVM_CPUID_LACKS_H
#define KVM_CPUID_LACKS_H

#include <stdbool.h>
#include <stdint.h>

#include "kvm/cpuid.h"

struct cpuid_difference {
	uint32_t leaf, subleaf;
	const char *name; /* of the register, "EAX" */
	uint32_t was, is;
	const char *lacks; /* a feature that is not there any more, as Linux names it; NULL */
};

/* Whether `here` lacks anything of the `n` entries that were shown, struct kvm_cpuid_entry2 at any
 * alignment; *ret_difference is the first of it. */
bool cpuid_lacks(const struct cpuid_table *here, const uint8_t *shown, uint32_t n,
		 struct cpuid_difference *ret_difference);

/* Whether `here` shows neither more nor less, but for what KVM fills in and frequencies. */
bool cpuid_shows(const struct cpuid_table *here, const uint8_t *shown, uint32_t n);

#endif
