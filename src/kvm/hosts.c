/* SPDX-License-Identifier: Apache-2.0 */
/* hosts.c - how long a machine stood still between two hosts. */
#include "kvm/hosts.h"

#include <errno.h>

#include "host/hostclock.h"
#include "kvm/bytes.h"

enum { PAIR_TRIES = 20, NS_PER_KHZ = 1000000 };

#define NS_PER_S INT64_C(1000000000)

__extension__ typedef __int128 i128;

/* Both ends may be true. */
struct range {
	i128 lo, hi;
};

static struct range both(struct range a, struct range b)
{
	return (struct range){a.lo > b.lo ? a.lo : b.lo, a.hi < b.hi ? a.hi : b.hi};
}

static bool is_empty(struct range r)
{
	return r.lo > r.hi;
}

static i128 size_of(i128 ns)
{
	return ns < 0 ? -ns : ns;
}

static bool fits(i128 ns)
{
	return ns >= INT64_MIN && ns <= INT64_MAX;
}

/* TAI is UTC plus what it is ahead. */
static i128 clock_of(const struct hosts_reading *r, bool tai)
{
	return (i128)r->utc_ns + (tai ? (i128)r->tai_s * NS_PER_S : 0);
}

static uint32_t khz_of(const struct hosts_reading *from, const struct hosts_reading *to)
{
	return to->tsc_khz ? to->tsc_khz : from->tsc_khz;
}

/* What a clock was moved by is what it has gone on by, minus the counts of its TSC as time: a step,
 * a slew, and the error of the announced frequency. */
static i128 moved(const struct hosts_reading *from, const struct hosts_reading *to, bool tai)
{
	const i128 counts = (i128)to->tsc - from->tsc;

	return clock_of(to, tai) - clock_of(from, tai) - counts * NS_PER_KHZ / khz_of(from, to);
}

void hosts_window(const struct hosts_reading *sent, const struct hosts_reading *asked,
		  const struct hosts_reading *answered, const struct hosts_reading *come,
		  struct hosts_window *ret_window)
{
	const bool tai = sent->tai_s && asked->tai_s && answered->tai_s && come->tai_s;
	/* The source's clock showed `sent` or more when the target's showed `asked`: that is at
	 * most so far ahead. */
	const i128 hi = clock_of(asked, tai) - clock_of(sent, tai);
	/* It showed `come` or less when the target's showed `answered`: that is at least so far
	 * ahead. */
	const i128 lo = clock_of(answered, tai) - clock_of(come, tai);

	*ret_window = (struct hosts_window){.by_tai = tai, .source = *come, .target = *answered};
	if (!fits(lo) || !fits(hi) || lo > hi)
		return;
	ret_window->known = true;
	ret_window->lo_ns = (int64_t)lo;
	ret_window->hi_ns = (int64_t)hi;
}

/* By how much a crystal, and the frequency that is announced of it, may be off by then. */
static i128 drifted(const struct hosts_reading *from, const struct hosts_reading *to)
{
	const i128 counts = size_of((i128)to->tsc - from->tsc);

	return counts * NS_PER_KHZ / khz_of(from, to) * HOSTS_DRIFT_PPM / 1000000;
}

/* By how much a clock was put forward against real time between two readings.  What its crystal
 * cannot have done was a step, or a slew.  Else a clock that is kept right has gone right beside a
 * TSC that has not, or the other way round; and what nobody keeps right goes by its crystal. */
static struct range put_forward(const struct hosts_reading *from, const struct hosts_reading *to,
				bool tai)
{
	const i128 beside = moved(from, to, tai), drift = drifted(from, to);

	if (size_of(beside) > drift + HOSTS_NOISE_NS)
		return (struct range){beside - drift - HOSTS_NOISE_NS,
				      beside + drift + HOSTS_NOISE_NS};
	if (from->synchronized && to->synchronized)
		return (struct range){beside < 0 ? beside : 0, beside < 0 ? 0 : beside};
	return (struct range){-drift - size_of(beside), drift + size_of(beside)};
}

/* The gap by the network: the clocks' difference minus how far the target's was ahead, minus how
 * far it was put forward since, plus how far the source's was.  False: it says nothing. */
static bool by_network(const struct hosts_window *seen, const struct hosts_reading *from,
		       const struct hosts_reading *to, bool tai, struct range *possible)
{
	const i128 difference = clock_of(to, tai) - clock_of(from, tai);
	struct range source, target, r;

	if (!seen || !seen->known || seen->by_tai != tai || !khz_of(&seen->source, from) ||
	    !khz_of(&seen->target, to))
		return false;
	source = put_forward(&seen->source, from, tai);
	target = put_forward(&seen->target, to, tai);
	r.lo = difference - seen->hi_ns - target.hi + source.lo;
	r.hi = difference - seen->lo_ns - target.lo + source.hi;
	r = both(r, *possible);
	if (is_empty(r))
		return false;
	*possible = r;
	return true;
}

int hosts_gap(const struct hosts_reading *from, const struct hosts_reading *to,
	      const struct hosts_window *seen, struct hosts_gap *ret_gap, struct why *why)
{
	const bool tai = from->tai_s && to->tai_s;
	/* The target's clock now minus the source's then. */
	const i128 difference = clock_of(to, tai) - clock_of(from, tai);
	/* Both clocks' bounds; UTC's, at a leap second, a second more. */
	const i128 bound = (i128)from->bound_ns + to->bound_ns +
			   (!tai && (from->leap || to->leap) ? NS_PER_S : 0);
	/* By causality. */
	struct range possible = {0, INT64_MAX}, clocks;
	bool network, agree;
	i128 gap, most, apart;

	if (!fits(difference))
		return why_set(why, -ERANGE,
			       "the two hosts' clocks are more than 292 years apart "
			       "(set them)");
	if (!fits(bound))
		return why_set(why, -ERANGE,
			       "the two hosts' clocks may be wrong by more than 292 "
			       "years (set them)");
	network = by_network(seen, from, to, tai, &possible);
	clocks = both(possible, (struct range){difference - bound, difference + bound});
	agree = from->synchronized && to->synchronized && !is_empty(clocks);
	if (agree)
		possible = clocks;
	/* The difference, or the end of what is possible that is nearest to it. */
	gap = difference < possible.lo ? possible.lo : difference;
	gap = gap > possible.hi ? possible.hi : gap;
	/* The other end is the furthest from it. */
	most = gap - possible.lo > possible.hi - gap ? gap - possible.lo : possible.hi - gap;
	apart = difference - gap;
	apart = size_of(apart) <= bound ? 0 : apart < INT64_MIN ? INT64_MIN : apart;
	*ret_gap = (struct hosts_gap){
		.gap_ns = (uint64_t)gap,
		.bound_ns = (uint64_t)(network || agree ? most : bound),
		.apart_ns = (int64_t)apart,
		.by_tai = tai,
		.negative = difference < 0,
		.bounded = network || agree,
	};
	return 0;
}

/* Of the saved form. */
enum {
	TSC_AT = 0,
	KHZ_AT = 8,
	TAI_AT = 12,
	UTC_AT = 16,
	BOUND_AT = 24,
	FLAGS_AT = 32,
	REST_AT = 40
};
enum { SYNCHRONIZED = 1, LEAP = 2 };

void hosts_put(const struct hosts_reading *reading, uint8_t bytes[HOSTS_READING_BYTES])
{
	put64(bytes + TSC_AT, reading->tsc);
	put32(bytes + KHZ_AT, reading->tsc_khz);
	put32(bytes + TAI_AT, (uint32_t)reading->tai_s);
	put64(bytes + UTC_AT, (uint64_t)reading->utc_ns);
	put64(bytes + BOUND_AT, reading->bound_ns);
	put64(bytes + FLAGS_AT,
	      (reading->synchronized ? SYNCHRONIZED : 0) | (reading->leap ? LEAP : 0));
	put64(bytes + REST_AT, 0);
}

int hosts_get(const uint8_t bytes[HOSTS_READING_BYTES], struct hosts_reading *ret_reading)
{
	const uint64_t flags = get64(bytes + FLAGS_AT);
	const struct hosts_reading reading = {
		.tsc = get64(bytes + TSC_AT),
		.tsc_khz = get32(bytes + KHZ_AT),
		.tai_s = (int32_t)get32(bytes + TAI_AT),
		.utc_ns = (int64_t)get64(bytes + UTC_AT),
		.bound_ns = get64(bytes + BOUND_AT),
		.synchronized = flags & SYNCHRONIZED,
		.leap = flags & LEAP,
	};

	if (flags > (SYNCHRONIZED | LEAP) || get64(bytes + REST_AT))
		return -EINVAL;
	*ret_reading = reading;
	return 0;
}

struct hosts_reading hosts_reading_of(uint64_t tsc, uint32_t tsc_khz, int64_t utc_ns,
				      uint64_t bracket_ns, const struct hostclock_kernel *kernel)
{
	return (struct hosts_reading){
		.tsc = tsc,
		.tsc_khz = tsc_khz,
		.tai_s = kernel->tai_s,
		.utc_ns = utc_ns,
		.bound_ns = bracket_ns + (kernel->synchronized ? kernel->max_error_ns : 0),
		.synchronized = kernel->synchronized,
		.leap = kernel->leap,
	};
}

static int look(void *ret_pair)
{
	return hostclock_pair(PAIR_TRIES, ret_pair);
}

int hosts_read(uint32_t tsc_khz, struct hosts_reading *ret_reading)
{
	struct hostclock_kernel kernel;
	struct hostclock_pair pair;
	uint64_t half;
	int result;

	result = hostclock_with_kernel(look, &pair, &kernel);
	if (result < 0)
		return result;
	half = (pair.realtime_tsc_hi - pair.realtime_tsc_lo) / 2;
	*ret_reading = hosts_reading_of(
		pair.realtime_tsc_lo + half, tsc_khz, pair.realtime_ns,
		(half + 1) * NS_PER_KHZ / (tsc_khz ? tsc_khz : NS_PER_KHZ) + 1, &kernel);
	return 0;
}
