/* SPDX-License-Identifier: Apache-2.0 */
/* hosts.h - how long a machine stood still between two hosts, from what both hosts' clocks said.
 *
 * Each host reads its clocks at one instant: the source when it stopped the machine, the target
 * now.  In words: the gap is the target's TAI now minus the source's TAI then.  UTC is taken
 * instead where one of the hosts does not know TAI minus UTC, and then a leap second in between is
 * an error of one second.
 *
 * Each clock may be wrong by its bound, and by more if it is not synchronised.  Between the two
 * goes a network, by which the target's clock minus the source's is known to lie in a window: what
 * one side wrote had not come before it was sent (messages HELLO, READY, BEGIN, move/message.h).  A
 * gap that the window contradicts is moved to its nearest end, and by how much is reported: then
 * CLOCK_MONOTONIC goes on by the time that has really passed, and UTC is what the target says.  A
 * negative gap is 0. */
#ifndef KVM_HOSTS_H
#define KVM_HOSTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "host/why.h"

/* A host's clocks at one instant. */
struct hosts_reading {
	uint64_t tsc;
	uint32_t tsc_khz;
	int32_t tai_s; /* TAI minus UTC; 0: this host was never told */
	int64_t utc_ns;
	/* Half width: the bracket, and what the kernel says its clock may be wrong by (adjtimex(2),
	 * maxerror).  Without the latter where the clock is not synchronised. */
	uint64_t bound_ns;
	bool synchronized;
	bool leap; /* in, or near (TIME_OOP, TIME_WAIT), a leap second */
};

/* The target's clock minus the source's, as the network has it, by the clock that is compared (TAI
 * or UTC). */
struct hosts_window {
	bool known;
	int64_t lo_ns, hi_ns;
};

struct hosts_gap {
	uint64_t gap_ns;
	uint64_t bound_ns; /* half width of it: both clocks', or the window's if that is less */
	/* By how much the target's clock is ahead of the source's, beyond what both bounds allow;
	 * 0: they agree, or nobody knows. */
	int64_t apart_ns;
	bool by_tai;
	bool negative; /* the target's clock was behind: the gap is 0, or the window's */
	bool bounded;  /* both clocks are synchronised, so bound_ns means what it says */
};

/* The source wrote at `sent`, which the target had at `asked`; the target wrote at `answered`,
 * which the source had at `come`. */
void hosts_window(const struct hosts_reading *sent, const struct hosts_reading *asked,
		  const struct hosts_reading *answered, const struct hosts_reading *come,
		  struct hosts_window *ret_window);

/* `seen` may be NULL.  0, or -ERANGE: the two are further apart than 292 years. */
int hosts_gap(const struct hosts_reading *from, const struct hosts_reading *to,
	      const struct hosts_window *seen, struct hosts_gap *ret_gap, struct why *why);

/* The saved form, little-endian. */
#define HOSTS_READING_BYTES 48
void hosts_put(const struct hosts_reading *reading, uint8_t bytes[HOSTS_READING_BYTES]);
int hosts_get(const uint8_t bytes[HOSTS_READING_BYTES], struct hosts_reading *ret_reading);

/* This host now.  0 or negative errno. */
int hosts_read(uint32_t tsc_khz, struct hosts_reading *ret_reading);

#endif
