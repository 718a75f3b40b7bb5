/* SPDX-License-Identifier: Apache-2.0 */
/* gaptext.c - what is said of a guest that stood still for longer than its clock can show. */
#include "kvm/gaptext.h"

#include <inttypes.h>

enum { NS_PER_MS = 1000000, MS_PER_S = 1000 };

static const char *by(uint32_t clock)
{
	switch (clock) {
	case VMT_GAP_HPET:
		return "the HPET";
	case VMT_GAP_PMTMR:
		return "the ACPI PM timer";
	case VMT_GAP_TICKS:
		return "counting ticks";
	case 0:
		return "its clocks";
	default:
		return "a kernel before Linux 6.10";
	}
}

void gaptext_set(uint64_t gap_ns, uint64_t limit_ns, uint32_t clock, const char *remedy,
		 struct why *ret_text)
{
	const uint64_t gap_ms = gap_ns / NS_PER_MS, limit_ms = limit_ns / NS_PER_MS;

	why_set(ret_text, 0,
		"the guest stood still for %" PRIu64 ".%03" PRIu64
		" s and time went on: by %s it cannot see more than %" PRIu64 ".%03" PRIu64
		" s (%s)",
		gap_ms / MS_PER_S, gap_ms % MS_PER_S, by(clock), limit_ms / MS_PER_S,
		limit_ms % MS_PER_S, remedy);
}
