/* SPDX-License-Identifier: Apache-2.0 */
/* test_event_judge.h - for how long a guest's virtual time stood over an event: pure calculation.
 *
 * It is not taken from when something was asked for, but from KVM: by so much the guest's TSC is
 * behind since, or, of a VMM that leaves the TSC alone and lets KVM write the pages of kvm-clock,
 * by so much that clock is. */
#ifndef CMD_TEST_EVENT_JUDGE_H
#define CMD_TEST_EVENT_JUDGE_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "cmd/test_judge.h"
#include "cmd/test_qmp.h"
#include "host/kvmtsc.h"
#include "host/pvtrace.h"
#include "host/why.h"

/* A guest before and after an event. */
struct event_seen {
	struct kvmtsc_map map[2]; /* of the same frequency */
	bool has_pages;
	struct pvtrace_page page[2];
	uint64_t host_tsc;           /* a count of the host's about then */
	uint64_t begun_ns, began_ns; /* CLOCK_MONOTONIC when it was to begin, and had */
	uint64_t ended_ns, over_ns;  /* the same of its end */
};

/* In ns of the host, whose TSC runs at `hz`; negative: it went ahead. */
int64_t event_stood_ns(const struct event_seen *seen, uint64_t hz);

/* Virtual time was to stand: it fails when it stood for less than what was between begin and end,
 * or for more than both took.  A row that has failed is left alone. */
void event_judge_freeze(const struct event_seen *seen, int64_t stood_ns, struct judge_row *row);

/* A guest that was to be moved at asked_ns (CLOCK_REALTIME), by the events of the VMM that it left
 * and of the one that it came to: from STOP to RESUME, with what it stood before and went on again
 * in the old one, and until RESUME or until the old one had completed, whichever was later.  0:
 * they do not tell. */
void event_tell_move(int64_t asked_ns, const struct test_qmp_events *from,
		     const struct test_qmp_events *to, uint64_t *ret_downtime_ns,
		     uint64_t *ret_total_ns);

/* The same of a guest that was moved, whose VMMs' events were `downtime_ns` apart: they come a
 * little before or after what they tell of, by up to half of that. */
void event_judge_moved(uint64_t downtime_ns, int64_t stood_ns, struct judge_row *row);

/* A suspend of so long was asked for, and the host was suspended for slept_ns.  0, or -ENODEV with
 * its why: that was no suspend.  Its kernel may wait for less than it says, by the clock that
 * counts then, but not for less than a quarter. */
int event_check_slept(uint64_t asked_ns, int64_t slept_ns, struct why *why);

/* The host's wall clock was stepped by step_ns, known to bound_ns, and `time` is what query-vmtime
 * says of a guest that runs: its UTC has followed, within that and its own bound.  0, or -ESTALE
 * with its why: it has not; -EPROTO: it does not say. */
int event_check_step(const json_t *time, int64_t step_ns, uint64_t bound_ns, struct why *why);

#endif
