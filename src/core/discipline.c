/* SPDX-License-Identifier: Apache-2.0 */
/* discipline.c - the loop that keeps virtual time to the host's clock. */
#include <vmtime/discipline.h>

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "core/ns.h"

#define PPT INT64_C(1000000000000)

/* Samples are a tenth of a second apart, so a change lasts 1 s to 1.1 s. */
#define CORRECTED_IN_NS (VMT_DISCIPLINE_NS + VMT_DISCIPLINE_NS / 20)
/* An error that is not worth a change. */
#define GOOD_NS 20
#define PARTED_NS 1000000

/* The given frequency counts as much as this many seconds. */
enum { TRUST = 5 };

static int64_t clamp(int64_t value, int64_t middle, int64_t most)
{
	return value > middle + most   ? middle + most
	       : value < middle - most ? middle - most
				       : value;
}

/* What virtual time should be: the host's progress, warped. */
static vmt_ns_i128 wanted(const struct vmt_discipline *d, const struct vmt_clock *clock,
			  uint64_t host_ns)
{
	vmt_ns_i128 progress = (vmt_ns_i128)host_ns - d->start_host_ns;

	return d->start_ns + progress * clock->rate_num / clock->rate_den;
}

static void note(struct vmt_discipline *d, int64_t said_ppt, int64_t own_ppt)
{
	d->said[d->next] = said_ppt;
	d->own[d->next] = own_ppt;
	d->next = (d->next + 1) % VMT_DISCIPLINE_MINUTE;
	d->measured += d->measured < VMT_DISCIPLINE_MINUTE;
}

static int64_t median(const int64_t *values, uint32_t count)
{
	int64_t sorted[VMT_DISCIPLINE_MINUTE];

	for (uint32_t i = 0; i < count; i++) {
		uint32_t at = i;

		for (; at && sorted[at - 1] > values[i]; at--)
			sorted[at] = sorted[at - 1];
		sorted[at] = values[i];
	}
	return sorted[count / 2];
}

static int64_t possible(int64_t ppt)
{
	return clamp(ppt, 0, VMT_CLOCK_PPT);
}

/* The host's frequency over a second of it, beside the announced one of the counter. */
static void measure(struct vmt_discipline *d, const struct vmt_clock *clock,
		    const struct vmt_discipline_sample *at)
{
	uint64_t host_ns = at->host_ns - d->second.host_ns;
	uint64_t counts = at->counter - d->second.counter;
	int64_t ppt = VMT_CLOCK_PPT, said;

	if (host_ns < VMT_DISCIPLINE_NS)
		return;
	if (counts)
		ppt = possible(vmt_ns_clamp((vmt_ns_i128)host_ns * clock->counter_hz *
						    (PPT / VMT_NS_PER_S) / counts -
					    PPT));
	said = at->said_ppt == VMT_DISCIPLINE_UNKNOWN ? ppt : possible(at->said_ppt);
	note(d, said, clamp(ppt - said, 0, VMT_DISCIPLINE_OWN_PPT));
	d->own_ppt = median(d->own, d->measured);
	d->steady_ppt = possible(median(d->said, d->measured) + d->own_ppt);
	d->second = *at;
}

/* What it takes to keep a distance from now on. */
static int64_t pace(const struct vmt_discipline *d, const struct vmt_discipline_sample *at)
{
	return at->said_ppt == VMT_DISCIPLINE_UNKNOWN ? d->steady_ppt
						      : clamp(possible(at->said_ppt) + d->own_ppt,
							      d->steady_ppt, VMT_DISCIPLINE_PPT);
}

vmt_ns vmt_discipline_wanted(const struct vmt_discipline *d, const struct vmt_clock *clock,
			     uint64_t host_ns)
{
	const vmt_ns_i128 ns = wanted(d, clock, host_ns);

	return ns < 0 ? 0 : ns < VMT_NEVER ? (vmt_ns)ns : VMT_NEVER - 1;
}

int vmt_discipline_start(struct vmt_discipline *d, const struct vmt_clock *clock,
			 const struct vmt_discipline_sample *at, int64_t steady_ppt)
{
	if (clock->state == VMT_CLOCK_PAUSED || at->counter < clock->base_counter ||
	    steady_ppt < -VMT_CLOCK_PPT || steady_ppt > VMT_CLOCK_PPT)
		return -EINVAL;
	memset(d, 0, sizeof(*d));
	d->start_ns = vmt_clock_now(clock, at->counter);
	d->start_host_ns = at->host_ns;
	d->second = *at;
	d->last = *at;
	d->changed_host_ns = at->host_ns;
	d->steady_ppt = steady_ppt;
	d->phase_bound_ns = at->bound_ns;
	for (int i = 0; i < TRUST; i++)
		note(d, steady_ppt, 0);
	return 0;
}

int vmt_discipline_skip(struct vmt_discipline *d, const struct vmt_clock *clock,
			const struct vmt_discipline_sample *at, uint64_t skipped_ns)
{
	if (clock->state == VMT_CLOCK_PAUSED || at->counter < clock->base_counter)
		return -EINVAL;
	d->start_ns = vmt_ns_add(d->start_ns, skipped_ns);
	d->second = *at;
	d->last = *at;
	return 0;
}

/* The frequency that makes up for `late` host ns until the next change is possible.  What is within
 * the sample's bracket may be the sample's alone. */
static int64_t frequency(const struct vmt_discipline *d, const struct vmt_discipline_sample *at,
			 vmt_ns_i128 late)
{
	vmt_ns_i128 sure = late > at->bound_ns                 ? late - at->bound_ns
			   : late < -(vmt_ns_i128)at->bound_ns ? late + at->bound_ns
							       : 0;
	int64_t ppt = possible(vmt_ns_clamp(sure * PPT / (vmt_ns_i128)CORRECTED_IN_NS));

	return possible(clamp(pace(d, at) + ppt, d->steady_ppt, VMT_DISCIPLINE_PPT));
}

/* No slew of the host's takes them so far apart: Linux takes a tenth at most. */
static bool parted(const struct vmt_discipline *d, const struct vmt_clock *clock,
		   const struct vmt_discipline_sample *at)
{
	vmt_ns_i128 apart, host_ns;

	if (at->counter < d->last.counter || at->host_ns < d->last.host_ns)
		return true;
	host_ns = (vmt_ns_i128)at->host_ns - d->last.host_ns;
	apart = (vmt_ns_i128)(at->counter - d->last.counter) * VMT_NS_PER_S / clock->counter_hz -
		host_ns;
	apart = apart < 0 ? -apart : apart;
	return apart > host_ns / 8 + PARTED_NS + at->bound_ns + d->last.bound_ns;
}

int vmt_discipline_take(struct vmt_discipline *d, const struct vmt_clock *clock,
			const struct vmt_discipline_sample *at, int64_t *ret_ppt)
{
	vmt_ns_i128 late, ahead;
	int64_t ppt;

	if (clock->state == VMT_CLOCK_PAUSED)
		return -EINVAL;
	if (parted(d, clock, at))
		return -ERANGE;
	d->last = *at;
	measure(d, clock, at);
	late = wanted(d, clock, at->host_ns) - vmt_clock_now(clock, at->counter);
	d->phase_ns = vmt_ns_clamp(late);
	d->phase_bound_ns = at->bound_ns;
	if (at->host_ns - d->changed_host_ns < VMT_DISCIPLINE_NS)
		return 0;
	late = late * clock->rate_den / clock->rate_num;
	ahead = late +
		(vmt_ns_i128)(pace(d, at) - clock->discipline_ppt) * (int64_t)CORRECTED_IN_NS / PPT;
	if (ahead <= (vmt_ns_i128)at->bound_ns + GOOD_NS &&
	    ahead >= -(vmt_ns_i128)at->bound_ns - GOOD_NS)
		return 0;
	ppt = frequency(d, at, late);
	if (ppt == clock->discipline_ppt)
		return 0;
	d->changed_host_ns = at->host_ns;
	*ret_ppt = ppt;
	return 1;
}

/* Of a counter that went on by `counts` while the host's clock did by host_ns. */
static int64_t ppt_of(vmt_ns_i128 host_ns, uint64_t counter_hz, uint64_t counts)
{
	return vmt_ns_clamp(host_ns * counter_hz * (PPT / VMT_NS_PER_S) / counts - PPT);
}

int64_t vmt_discipline_gap(const struct vmt_discipline *d, uint64_t counter_hz,
			   const struct vmt_discipline_sample *from,
			   const struct vmt_discipline_sample *to)
{
	vmt_ns_i128 host_ns = (vmt_ns_i128)to->host_ns - from->host_ns;
	vmt_ns_i128 bound_ns = (vmt_ns_i128)from->bound_ns + to->bound_ns;
	uint64_t counts = to->counter - from->counter;
	int64_t ppt = d->steady_ppt, least, most;

	if (to->counter <= from->counter || host_ns < 0)
		return ppt;
	least = ppt_of(host_ns - bound_ns, counter_hz, counts);
	most = ppt_of(host_ns + bound_ns, counter_hz, counts);
	ppt = ppt < least ? least : ppt > most ? most : ppt;
	return clamp(ppt, 0, VMT_CLOCK_PPT);
}
