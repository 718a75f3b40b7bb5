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

static void note(struct vmt_discipline *d, int64_t ppt)
{
	d->ppt[d->next] = ppt;
	d->next = (d->next + 1) % VMT_DISCIPLINE_MINUTE;
	d->measured += d->measured < VMT_DISCIPLINE_MINUTE;
}

static int64_t median(const struct vmt_discipline *d)
{
	int64_t sorted[VMT_DISCIPLINE_MINUTE];

	for (uint32_t i = 0; i < d->measured; i++) {
		uint32_t at = i;

		for (; at && sorted[at - 1] > d->ppt[i]; at--)
			sorted[at] = sorted[at - 1];
		sorted[at] = d->ppt[i];
	}
	return sorted[d->measured / 2];
}

/* The host's frequency over a second of it, beside the announced one of the counter. */
static void measure(struct vmt_discipline *d, const struct vmt_clock *clock,
		    const struct vmt_discipline_sample *at)
{
	uint64_t host_ns = at->host_ns - d->second.host_ns;
	uint64_t counts = at->counter - d->second.counter;
	vmt_ns_i128 ppt;

	if (host_ns < VMT_DISCIPLINE_NS)
		return;
	if (counts) {
		ppt = (vmt_ns_i128)host_ns * clock->counter_hz;
		ppt = ppt * (PPT / VMT_NS_PER_S) / counts - PPT;
		if (ppt >= -VMT_CLOCK_PPT && ppt <= VMT_CLOCK_PPT) {
			note(d, (int64_t)ppt);
			d->steady_ppt = median(d);
		}
	}
	d->second = *at;
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
	d->changed_host_ns = at->host_ns;
	d->steady_ppt = steady_ppt;
	d->phase_bound_ns = at->bound_ns;
	for (int i = 0; i < TRUST; i++)
		note(d, steady_ppt);
	return 0;
}

/* The frequency that makes up for `late` host ns until the next change is possible.  What is within
 * the sample's bracket may be the sample's alone. */
static int64_t frequency(const struct vmt_discipline *d, vmt_ns_i128 late, uint64_t bound_ns)
{
	vmt_ns_i128 sure = late > bound_ns                 ? late - bound_ns
			   : late < -(vmt_ns_i128)bound_ns ? late + bound_ns
							   : 0;
	int64_t ppt = vmt_ns_clamp(sure * PPT / (vmt_ns_i128)CORRECTED_IN_NS);

	return clamp(d->steady_ppt + clamp(ppt, 0, VMT_DISCIPLINE_PPT), 0, VMT_CLOCK_PPT);
}

int vmt_discipline_take(struct vmt_discipline *d, const struct vmt_clock *clock,
			const struct vmt_discipline_sample *at, int64_t *ret_ppt)
{
	vmt_ns_i128 late, ahead;
	int64_t ppt;

	if (clock->state == VMT_CLOCK_PAUSED || at->counter < d->second.counter ||
	    at->host_ns < d->second.host_ns)
		return -EINVAL;
	measure(d, clock, at);
	late = wanted(d, clock, at->host_ns) - vmt_clock_now(clock, at->counter);
	d->phase_ns = vmt_ns_clamp(late);
	d->phase_bound_ns = at->bound_ns;
	if (at->host_ns - d->changed_host_ns < VMT_DISCIPLINE_NS)
		return 0;
	late = late * clock->rate_den / clock->rate_num;
	ahead = late + (vmt_ns_i128)(d->steady_ppt - clock->discipline_ppt) *
			       (int64_t)CORRECTED_IN_NS / PPT;
	if (ahead <= (vmt_ns_i128)at->bound_ns + GOOD_NS &&
	    ahead >= -(vmt_ns_i128)at->bound_ns - GOOD_NS)
		return 0;
	ppt = frequency(d, late, at->bound_ns);
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
