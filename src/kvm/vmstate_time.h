/* SPDX-License-Identifier: Apache-2.0 */
/* vmstate_time.h - the virtual clock and the guest's TSCs as bytes, and what becomes of them on a
 * host whose counters have nothing to do with the old one's.
 *
 * Both hosts know UTC, within bounds: by how much it has moved on since the machine was stopped is
 * how long the guest did not run (the gap), and policy decides whether virtual time went on
 * meanwhile (vmt_clock_load()).  If it did, the TSCs did as well, at the rate that they really had.
 *
 * Of a machine that migrates more is known: both hosts' readings (hosts.h), of which the source's
 * comes as the part HOST.  Then the gap is hosts_gap()'s, and UTC is the target's.
 *
 * A TSC's frequency comes along where the hardware scales, or differs by no more than KVM tolerates
 * (250 ppm): kvm-clock's pages are then made for the new one, what a guest has measured of its TSC
 * is off by the difference.  Else the state is refused, unless the guest was told not to rely on
 * its TSC's frequency. */
#ifndef KVM_VMSTATE_TIME_H
#define KVM_VMSTATE_TIME_H

#include <stdbool.h>
#include <stdint.h>
#include <vmtime/clock.h>
#include <vmtime/tsc.h>

#include "host/why.h"
#include "kvm/hosts.h"
#include "kvm/vmstate_parts.h"

/* A host at one instant. */
struct vmstate_instant {
	uint64_t tsc;
	struct vmt_reading at; /* of the counter that virtual time counts */
	uint64_t limit_ns;     /* the longest gap that the guest can take; saved with it */
	/* The same of a machine that migrates, UTC and its bracket as in `at`.  NULL: it does not,
	 * and there is no part HOST. */
	const struct hosts_reading *host;
	int64_t late_ns; /* saved with it: how late virtual time was beside the host's clock */
};

/* The clock is paused there. */
int vmstate_time_save(const struct vmt_clock *paused, const struct vmstate_instant *at,
		      const struct vmt_tsc *tsc, struct vmstate_parts *parts, struct why *why);

struct vmstate_time_config {
	struct vmstate_instant now;
	uint64_t counter_hz;               /* of this host's counter */
	uint32_t policy;                   /* enum vmt_policy */
	const struct hosts_window *window; /* what the network says of both clocks; or NULL */
	bool own_utc;                      /* UTC was chosen at power-on: it is not the host's */
	bool portable;                     /* the guest does not rely on its TSC's frequency */
};

struct vmstate_time {
	struct vmt_clock clock; /* runs */
	struct vmt_change change;
	bool migrated; /* ... and by this gap */
	struct hosts_gap gap;
	int64_t late_ns;       /* ... and virtual time is still so late as it was there */
	uint64_t passed_ns;    /* of virtual time, in the gap */
	int64_t utc_offset_ns; /* UTC - virtual time, before */
	uint64_t limit_ns;     /* the saved one, over which AUTO freezes */
	uint64_t future_ns;    /* not migrated: the saved time is so far ahead of this host's UTC */
	uint64_t
		tsc_count; /* what a CPU showed that the guest has not moved, when it was stopped */
	vmt_ns stopped_ns; /* ... at that virtual time */
	int64_t tsc_ppb;   /* by how much the guest's TSC is faster than it was, in 10^-9 */
};

/* Whether a TSC of `khz` can go on here: *tsc is initialised for this host.  0, or -EXDEV. */
int vmstate_time_check(const struct vmt_tsc *tsc, uint32_t khz, bool portable, struct why *why);

/* *tsc is initialised for this host and for as many CPUs; it is changed on success alone.  0;
 * -EINVAL: no such state, damaged, or of another number of CPUs; -EXDEV: not with this host's
 * TSC; -ERANGE: the hosts' clocks have nothing to do with each other. */
int vmstate_time_load(const struct vmstate_parts *parts, const struct vmstate_time_config *config,
		      struct vmt_tsc *tsc, struct vmstate_time *ret_time, struct why *why);

#endif
