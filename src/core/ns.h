/* SPDX-License-Identifier: Apache-2.0 */
/* ns.h - integer time: products and quotients of 128 bits, ticks of a frequency and nanoseconds.
 *
 * Which way it rounds decides whether a timer fires early: what is read rounds down (floor), when
 * something is due rounds up (ceil).  Results too large for their type saturate at UINT64_MAX,
 * which as a deadline is VMT_NEVER.  Nothing here divides 128 bits by calling a compiler helper. */
#ifndef CORE_NS_H
#define CORE_NS_H

#include <stdbool.h>
#include <stdint.h>

#define VMT_NS_PER_S 1000000000u

__extension__ typedef unsigned __int128 vmt_ns_u128;
__extension__ typedef __int128 vmt_ns_i128;

static inline uint64_t vmt_ns_add(uint64_t a, uint64_t b)
{
	uint64_t sum;

	return __builtin_add_overflow(a, b, &sum) ? UINT64_MAX : sum;
}

static inline int64_t vmt_ns_clamp(vmt_ns_i128 v)
{
	return v > INT64_MAX ? INT64_MAX : v < INT64_MIN ? INT64_MIN : (int64_t)v;
}

/* n / d for d > 0, rounded down, or up. */
uint64_t vmt_ns_div_floor(vmt_ns_u128 n, uint64_t d);
uint64_t vmt_ns_div_ceil(vmt_ns_u128 n, uint64_t d);

/* a * b / d for d > 0, rounded down, or up; exact in between. */
static inline uint64_t vmt_ns_muldiv_floor(uint64_t a, uint64_t b, uint64_t d)
{
	return vmt_ns_div_floor((vmt_ns_u128)a * b, d);
}

static inline uint64_t vmt_ns_muldiv_ceil(uint64_t a, uint64_t b, uint64_t d)
{
	return vmt_ns_div_ceil((vmt_ns_u128)a * b, d);
}

/* n / d as a fixed-point factor, rounded up: *ret_mult below 2^63 over 2^*ret_shift, with the
 * largest shift up to 64 that allows it; the quotient itself is below 2^62, d below 2^127.  The
 * factor is too large by less than 2^-shift. */
void vmt_ns_factor(vmt_ns_u128 n, vmt_ns_u128 d, uint64_t *ret_mult, uint32_t *ret_shift);

/* Ticks of a frequency (1..10^9 Hz) that have come at `ns`: floor(ns * hz / 10^9).  Whole seconds
 * and the rest apart, so that 64 bits suffice; with a constant hz no division remains. */
static inline uint64_t vmt_ns_to_ticks(uint64_t ns, uint32_t hz)
{
	return ns / VMT_NS_PER_S * hz + ns % VMT_NS_PER_S * hz / VMT_NS_PER_S;
}

/* The first nanosecond at which vmt_ns_to_ticks() is `tick`: ceil(tick * 10^9 / hz). */
static inline uint64_t vmt_ns_of_tick(uint64_t tick, uint32_t hz)
{
	uint64_t whole;

	if (__builtin_mul_overflow(tick / hz, (uint64_t)VMT_NS_PER_S, &whole))
		return UINT64_MAX;
	return vmt_ns_add(whole, (tick % hz * VMT_NS_PER_S + hz - 1) / hz);
}

#endif
