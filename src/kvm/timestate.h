/* SPDX-License-Identifier: Apache-2.0 */
/* timestate.h - what a machine's clock, chips and ticks say at one instant. */
#ifndef KVM_TIMESTATE_H
#define KVM_TIMESTATE_H

#include "kvm/chipset.h"

/* Names as in the contract with users: "pit", "rtc", "acpi_pm", "hpet", "kvm-clock"; of
 * sources "hpet0" to "hpet2", one for each timer. */
struct timestate_face {
	const char *name;
	vmt_ns deadline_ns; /* of its next edge; VMT_NEVER: none */
};

struct timestate_ticks {
	const char *source;
	uint64_t rate_hz; /* as programmed, to the nearest, at least 1; 0: not periodic */
	struct vmt_ledger ledger;
};

struct timestate {
	vmt_ns now_ns;
	int64_t utc_ns, utc_offset_ns;
	bool has_bound;          /* utc follows the host's clock, not a date that somebody chose */
	uint64_t utc_bound_ns;   /* half width: so far is utc_ns from the host's UTC at most */
	bool has_phase;          /* virtual time is kept to the host's clock */
	int64_t phase_ns;        /* so late it is beside it ... */
	uint64_t phase_bound_ns; /* ... give or take this */
	int64_t rate_ppb;     /* by how much it is faster than the host counter's announced rate */
	uint32_t clock_state; /* enum vmt_clock_state */
	struct chipset_change change; /* the last one */
	bool has_rtc;
	int64_t rtc_offset_ns; /* what the guest has set, minus UTC */
	uint32_t policy;       /* enum vmt_ticks */
	unsigned n_faces, n_ticks;
	struct timestate_face faces[VMT_FACES + 1]; /* kvm-clock is none of the board's */
	struct timestate_ticks ticks[VMT_SOURCES];
};

/* The chipset's lock is taken once, for a copy.  `host_date`: UTC was the host's at power-on. */
void timestate_read(struct chipset *c, bool host_date, struct timestate *ret_state);

/* The host's counter of counter_hz - the TSC, or else CLOCK_MONOTONIC in ns - and UTC, at once.
 * 0 or negative errno. */
int timestate_host(bool tsc, uint64_t counter_hz, struct vmt_reading *ret_reading);

#endif
