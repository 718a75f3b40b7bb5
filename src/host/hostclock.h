/* SPDX-License-Identifier: Apache-2.0 */
/* hostclock.h - the only reader of host clocks.
 *
 * Everything on the host's side that needs to know the time asks here; a test checks that no other
 * file does.  Readings of two clocks "at once" are bracketed: TSC, clock, TSC, the tightest of
 * several tries, and come back with the bracket. */
#ifndef HOST_HOSTCLOCK_H
#define HOST_HOSTCLOCK_H

#include <stdbool.h>
#include <stdint.h>

/* One CPU's time-stamp counter, ordered after earlier loads (LFENCE; RDTSC). */
uint64_t hostclock_tsc(void);

/* Host clocks, ns.  Realtime is signed: ns since 1970 UTC. */
uint64_t hostclock_monotonic_ns(void);
uint64_t hostclock_boottime_ns(void);
int64_t hostclock_realtime_ns(void);

/* Both clocks against the TSC: each value was true at some count within [tsc_lo, tsc_hi] of its
 * own. */
struct hostclock_pair {
	uint64_t realtime_tsc_lo, realtime_tsc_hi;
	uint64_t monotonic_tsc_lo, monotonic_tsc_hi;
	int64_t realtime_ns;
	uint64_t monotonic_ns;
};

/* The tightest of `tries` (1..1000) tries for each clock.  0, or negative errno. */
int hostclock_pair(unsigned tries, struct hostclock_pair *ret_pair);

/* What the kernel says of its CLOCK_REALTIME (adjtimex(2)). */
struct hostclock_kernel {
	uint64_t
		max_error_ns; /* half width: so far is it from UTC at most, if it is synchronised */
	int32_t tai_s;        /* TAI minus UTC; 0: it was never told */
	bool synchronized;
	bool leap; /* a leap second is being inserted (TIME_OOP), or was and is still announced */
};

/* 0, or negative errno. */
int hostclock_kernel(struct hostclock_kernel *ret_kernel);

/* Looks at clocks (0 or negative errno) and at what the kernel said at that very time: no leap
 * second fell in between.  0, or negative errno. */
int hostclock_with_kernel(int (*look)(void *owner), void *owner,
			  struct hostclock_kernel *ret_kernel);

/* How the host's other clocks stand beside CLOCK_MONOTONIC.  Both differences are constant, but for
 * a step of REALTIME and, of both, the time for which the host was suspended.  They come from
 * brackets whose ends are all true, so each is known to some 10 ns. */
struct hostclock_beside {
	int64_t realtime_ns;  /* CLOCK_REALTIME minus CLOCK_MONOTONIC */
	int64_t suspended_ns; /* CLOCK_BOOTTIME minus it: how long the host was suspended so far,
				* but for what a time namespace adds */
	uint64_t bound_ns;    /* half width of both */
};

/* From `tries` (1..1000) readings of each. */
int hostclock_beside(unsigned tries, struct hostclock_beside *ret_beside);

/* The same from one reading of each clock: never more than that, and less by what passed between
 * the two. */
int64_t hostclock_suspended_at_least_ns(void);

/* For tests of what a step does: sets CLOCK_REALTIME for the whole machine, as far ahead of
 * CLOCK_MONOTONIC as is given.  0, or negative errno. */
int hostclock_set_realtime_beside(int64_t realtime_ns);

/* By how much CLOCK_MONOTONIC runs faster than the clocksource's announced frequency, in 10^-12, as
 * NTP has it set now (adjtimex(2)); a correction of phase that is under way is not in it.  0, or
 * negative errno. */
int hostclock_steady(int64_t *ret_ppt);

/* True when the kernel's clocksource is the TSC, which is the host's own word that it is stable. */
bool hostclock_tsc_is_stable(void);

/* The host's current clocksource into buf ("tsc"); 0 or negative errno. */
int hostclock_source(char *buf, unsigned size);

/* TSC frequency measured against CLOCK_MONOTONIC over at least `over_ns`; 0 on failure. */
uint64_t hostclock_measure_tsc_hz(uint64_t over_ns);

#endif
