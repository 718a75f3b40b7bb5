/* SPDX-License-Identifier: Apache-2.0 */
/* reading.h - reads this machine's clocks between two counts of its TSC.
 *
 * Part of what runs in a guest: it reads the clocks that it measures.  One thread only. */
#ifndef GUEST_READING_H
#define GUEST_READING_H

#include "guest/sample.h"

/* What each clock showed last, to see it step back; zeroed before the first reading. */
struct reading_seen {
	int64_t last_ns[SAMPLE_CLOCKS];
	uint64_t last_tsc;
	uint64_t backward[SAMPLE_BACKWARD];
};

/* Reads each clock as often as brings a tight bracket, on the CPU where it runs, and keeps the
 * tightest try.  Fills clock and backward of *ret_sample, nothing else.  Every try counts for
 * steps back, those that are not kept too. */
void reading_take(struct reading_seen *seen, struct sample *ret_sample);

#endif
