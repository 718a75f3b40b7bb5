/* SPDX-License-Identifier: Apache-2.0 */
/* tsc.h - the guest's TSC on this host: what it may be, what the guest is shown of it, and how it
 * is put into effect.
 *
 * What KVM can do to a guest's TSC falls into three classes (probe.h).  With an offset, and scaling
 * perhaps, guest TSC 0 is virtual time 0.  Without either the guest has the host's own counts: the
 * pages that are computed from it are right all the same, and what would be wrong is not shown (an
 * invariant TSC, and the TSC-deadline timer, whose deadlines KVM would misjudge). */
#ifndef KVM_TSC_H
#define KVM_TSC_H

#include <stdbool.h>
#include <stdint.h>
#include <vmtime/tsc.h>

#include "host/warp.h"
#include "host/why.h"
#include "kvm/probe.h"
#include "kvm/vcpu.h"
#include "kvm/vm.h"

struct tsc_host {
	enum probe_tsc_class tsc_class;
	bool source;      /* its clocksource is the TSC, which may be relied on */
	struct warp warp; /* of its CPUs, where it is */
	struct vmt_tsc_host hardware;
};

struct tsc_wish {
	uint32_t khz;   /* 0: the host's */
	bool invariant; /* shown as invariant */
	bool portable;  /* shown as one whose frequency may change: no TSC-deadline timer either */
	bool uncounted; /* virtual time is not to count it, whatever the host thinks of it */
};

/* Looks at the host: a few milliseconds.  `khz` is the TSC's as KVM counts it. */
void tsc_find(enum probe_tsc_class tsc_class, uint32_t khz, struct tsc_host *ret_host);

/* The host relies on it, so the virtual clock may count it and all CPUs show one line. */
bool tsc_trusted(const struct tsc_host *host);

/* What this host cannot give that another could, and what that costs; false: nothing. */
bool tsc_notice(const struct tsc_host *host, struct why *ret_text);

/* The guest's TSC as it is wished for, its line still to be set.  -ENODEV: not on this host. */
int tsc_plan(const struct tsc_host *host, const struct tsc_wish *wish, uint32_t cpus,
	     struct vmt_tsc *ret_tsc, struct why *why);

/* Whether the guest is shown the LAPIC's TSC-deadline timer where KVM has one.  `append` is its
 * command line. */
bool tsc_shows_deadline(const struct tsc_host *host, const struct tsc_wish *wish,
			const char *append);

/* Virtual time 0 is at the host's count `host_tsc`. */
void tsc_begin(const struct tsc_host *host, uint64_t host_tsc, struct vmt_tsc *tsc);

/* Frequency and offset of a vCPU that does not run; all of a VM's in a row, for KVM's master clock
 * needs the same offset on all.  -EIO: KVM does not do it. */
int tsc_apply(const struct tsc_host *host, const struct vmt_tsc *tsc, const struct vcpu *vcpu,
	      struct why *why);

/* In the vCPU's thread, outside KVM_RUN: the guest has moved this CPU's TSC (vmt_tsc_write()).
 * False when KVM does not do it. */
bool tsc_move(const struct vcpu *vcpu, uint64_t offset, uint64_t adjust);

#endif
