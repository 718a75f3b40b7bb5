/* SPDX-License-Identifier: Apache-2.0 */
/* ns.c - division of 128 bits, in the rounding and the saturation that ns.h promises. */
#include "core/ns.h"

/* One 32-bit digit of the quotient (*rest, next) / d, where d has its top bit set and *rest < d;
 * *rest becomes the remainder.  The first guess divides by d's upper half alone: it is at most two
 * too large (Knuth, volume 2, 4.3.1, theorem B). */
static uint64_t digit(uint64_t *rest, uint32_t next, uint64_t d)
{
	uint64_t upper = d >> 32, lower = (uint32_t)d;
	uint64_t q = *rest / upper, r = *rest % upper;

	while (q >> 32 || q * lower > (r << 32 | next)) {
		q--;
		r += upper;
		if (r >> 32)
			break;
	}
	*rest = (*rest << 32 | next) - q * d;
	return q;
}

/* The quotient, rounded down, and whether something remains; n < d * 2^64. */
static uint64_t divide(vmt_ns_u128 n, uint64_t d, bool *ret_remains)
{
	uint64_t high = (uint64_t)(n >> 64), low = (uint64_t)n, q;
	int shift = __builtin_clzll(d);

	if (!high) {
		*ret_remains = low % d;
		return low / d;
	}
	d <<= shift;
	n <<= shift; /* fits, since n < d * 2^64 */
	high = (uint64_t)(n >> 64);
	low = (uint64_t)n;
	q = digit(&high, (uint32_t)(low >> 32), d) << 32;
	q |= digit(&high, (uint32_t)low, d);
	*ret_remains = high;
	return q;
}

uint64_t vmt_ns_div_floor(vmt_ns_u128 n, uint64_t d)
{
	bool remains;

	return n >> 64 < d ? divide(n, d, &remains) : UINT64_MAX;
}

uint64_t vmt_ns_div_ceil(vmt_ns_u128 n, uint64_t d)
{
	bool remains = false;
	uint64_t q = n >> 64 < d ? divide(n, d, &remains) : UINT64_MAX;

	return vmt_ns_add(q, remains);
}

/* Bit by bit: only a change of the clock's rate comes here. */
void vmt_ns_factor(vmt_ns_u128 n, vmt_ns_u128 d, uint64_t *ret_mult, uint32_t *ret_shift)
{
	vmt_ns_u128 rest = 0;
	uint64_t mult = 0;
	uint32_t shift = 0;

	for (int bit = 127; bit >= 0 || (shift < 64 && mult < UINT64_C(1) << 62); bit--) {
		rest <<= 1;
		if (bit >= 0)
			rest |= n >> bit & 1;
		else
			shift++; /* a binary place behind the point */
		mult <<= 1;
		if (rest >= d) {
			rest -= d;
			mult |= 1;
		}
	}
	mult += rest != 0;
	if (mult >> 63) { /* a power of two, one place longer than it was */
		mult >>= 1;
		shift--;
	}
	*ret_mult = mult;
	*ret_shift = shift;
}
