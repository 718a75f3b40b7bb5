/* SPDX-License-Identifier: Apache-2.0 */
/* hosts.h - how long a machine stood still between two hosts, from what both hosts' clocks said.
 *
 * Each host reads its clocks at one instant: the source when it stopped the machine, the target
 * now.  In words: the gap is the target's TAI now minus the source's TAI then.  UTC is taken
 * instead where one of the hosts does not know TAI minus UTC, and then a leap second in between is
 * an error of one second: the bound grows by that where a host says that there is one.
 *
 * Three things are known of the real gap, and it lies in all of them unless one is wrong:
 *
 *	the network	what one side wrote had not come before it was sent (messages HELLO, READY,
 *			BEGIN, move/message.h).  So the target's clock minus the source's lay in a
 *			window.  Since then each has gone on beside its own TSC: what no crystal
 *			explains, HOSTS_DRIFT_PPM of the time, was a step or a slew, and the window
 *			moves by that; by what one explains it is wider.
 *	causality	it is not negative, for the source's reading came before the target's.
 *	the clocks	their difference, give or take both bounds, if both are synchronised.
 *
 * The gap is what the clocks say or, where that is not possible, the nearest that is.  Where even
 * the bounds are contradicted the clocks are apart, which is reported: CLOCK_MONOTONIC goes on by
 * the time that has really passed, and UTC is what the target says.
 *
 * Example.  The source stopped the machine at 12:00:00.000000 UTC, +-100 us; at the target it is
 * 12:00:00.050300, +-200 us; both know TAI.  The clocks say 50.3 ms +-300 us.  Ten seconds before,
 * what the source wrote at .000000 was there at .000400, and the answer of .000500 was here at
 * .000300: the target's clock is between 200 and 400 us ahead.  So the gap is at least 49.9 and at
 * most 50.1 ms by the network, at least 50.0 and at most 50.6 ms by the clocks: 50.1 ms, of which
 * 100 us may be too much. */
#ifndef KVM_HOSTS_H
#define KVM_HOSTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "host/why.h"

struct hostclock_kernel;

#define HOSTS_DRIFT_PPM 100  /* the worst crystals of computers are half as wrong */
#define HOSTS_NOISE_NS 50000 /* of two readings; less is no step that matters */

/* A host's clocks at one instant. */
struct hosts_reading {
	uint64_t tsc;
	uint32_t tsc_khz; /* 0: not known (yet) */
	int32_t tai_s;    /* TAI minus UTC; 0: this host was never told */
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
	bool known, by_tai;
	int64_t lo_ns, hi_ns;
	struct hosts_reading source, target; /* when it was so */
};

struct hosts_gap {
	uint64_t gap_ns;
	uint64_t bound_ns; /* the real one is at most so much longer or shorter */
	/* So far, at least, is the target's clock ahead of the source's where that is more than
	 * both bounds allow; else 0. */
	int64_t apart_ns;
	bool by_tai;
	bool negative; /* the target's clock was behind: the gap is 0, or the window's */
	/* bound_ns means what it says: by the network, or by both hosts' word that their clocks are
	 * synchronised, if nothing contradicts it. */
	bool bounded;
};

/* The source wrote at `sent`, which the target had at `asked`; the target wrote at `answered`,
 * which the source had at `come`.  Not known when a clock was stepped meanwhile, so that these
 * contradict each other. */
void hosts_window(const struct hosts_reading *sent, const struct hosts_reading *asked,
		  const struct hosts_reading *answered, const struct hosts_reading *come,
		  struct hosts_window *ret_window);

/* `seen` may be NULL.  0, or -ERANGE: the clocks are further apart than 292 years, or so may be the
 * bounds. */
int hosts_gap(const struct hosts_reading *from, const struct hosts_reading *to,
	      const struct hosts_window *seen, struct hosts_gap *ret_gap, struct why *why);

/* The saved form, little-endian.  get: 0, or -EINVAL: no put wrote that. */
#define HOSTS_READING_BYTES 48
void hosts_put(const struct hosts_reading *reading, uint8_t bytes[HOSTS_READING_BYTES]);
int hosts_get(const uint8_t bytes[HOSTS_READING_BYTES], struct hosts_reading *ret_reading);

/* This host now.  tsc_khz 0: not known yet; then the bracket is taken for as many ns as counts.
 * 0 or negative errno. */
int hosts_read(uint32_t tsc_khz, struct hosts_reading *ret_reading);

/* Of an instant at which the clocks were read already, UTC within bracket_ns, and what the kernel
 * said of them then. */
struct hosts_reading hosts_reading_of(uint64_t tsc, uint32_t tsc_khz, int64_t utc_ns,
				      uint64_t bracket_ns, const struct hostclock_kernel *kernel);

#endif
