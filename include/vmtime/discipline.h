/* SPDX-License-Identifier: Apache-2.0 */
/* discipline.h - how a VM's seconds follow those of its host's clock.
 *
 * The virtual clock counts the host's counter at the frequency that is announced for it, and no
 * crystal keeps to that; the host's own clock is kept to UTC's seconds by NTP.  This is the loop
 * that takes the virtual clock along: samples of the host's clock in, and from time to time a new
 * frequency for vmt_clock_discipline() out.
 *
 * It keeps virtual time to the host's clock plus what was between them at the start, by frequency
 * alone: by what the host says of its own now, and what makes up for an error of phase in about a
 * second, but at most VMT_DISCIPLINE_PPT beside the host's steady frequency; never by a step.
 * Steady is the median of what the host has said in the last minute (said_ppt), put right by what
 * was measured, but by no more than VMT_DISCIPLINE_OWN_PPT: what slews the clock beside that, for
 * however long, is not steady.  Of a host that says nothing it is the median of what was measured,
 * and a slew of more than half a minute becomes steady.  What a faster slew leaves,
 * vmt_discipline.phase_ns tells; a step of the host's UTC is none of this clock's
 * (vmt_clock_step_utc()).
 *
 * The host's clock: CLOCK_MONOTONIC, which NTP slews and nobody steps.  Thread rule as in out.h. */
#ifndef VMTIME_DISCIPLINE_H
#define VMTIME_DISCIPLINE_H

#include <vmtime/clock.h>

#ifdef __cplusplus
extern "C" {
#endif

#define VMT_DISCIPLINE_PPT INT64_C(100000000)   /* 100 ppm */
#define VMT_DISCIPLINE_OWN_PPT INT64_C(1000000) /* 1 ppm */
#define VMT_DISCIPLINE_UNKNOWN INT64_MAX
/* A new frequency comes no sooner than this after the last one. */
#define VMT_DISCIPLINE_NS UINT64_C(1000000000)
#define VMT_DISCIPLINE_MINUTE 63

/* What the host's clock showed at a count of the host's counter. */
struct vmt_discipline_sample {
	uint64_t counter;
	uint64_t host_ns;  /* at that count, ... */
	uint64_t bound_ns; /* ... give or take this: half of the bracket */
	/* The frequency that the host says it gives its clock, beside the announced one of the
	 * counter (adjtimex(2)'s is without what adjtime(3) or a PLL slews by);
	 * VMT_DISCIPLINE_UNKNOWN. */
	int64_t said_ppt;
};

struct vmt_discipline {
	vmt_ns start_ns;                     /* virtual time ... */
	uint64_t start_host_ns;              /* ... and the host's, at the start */
	struct vmt_discipline_sample second; /* where the second that is being measured began */
	struct vmt_discipline_sample last;   /* the last sample */
	uint64_t changed_host_ns;            /* when the frequency was last changed */
	int64_t steady_ppt;      /* beside the announced frequency, as `ppt` in clock.h */
	int64_t own_ppt;         /* of this: how much the host has not said */
	int64_t phase_ns;        /* of the last sample: how much virtual time is late ... */
	uint64_t phase_bound_ns; /* ... give or take this */
	uint32_t measured;       /* of the following are there */
	uint32_t next;           /* the next to be replaced */
	int64_t said[VMT_DISCIPLINE_MINUTE]; /* the host's frequency, second by second ... */
	int64_t own[VMT_DISCIPLINE_MINUTE];  /* ... and how much that was measured is beside it */
};

/* From `at` on, which lies after the clock's anchor, virtual time is to keep its distance to the
 * host's.  steady_ppt: the host's frequency beside the announced one, as well as it is known (0; or
 * what adjtimex(2) says).  After a pause, a load or another counter it is started anew, with the
 * steady_ppt that it had.  -EINVAL: the clock is paused, `at` lies before its anchor, or the
 * frequency is more than vmt_clock_discipline() takes. */
VMT_API int vmt_discipline_start(struct vmt_discipline *d, const struct vmt_clock *clock,
				 const struct vmt_discipline_sample *at, int64_t steady_ppt);

/* A later sample; several a second.  1: *ret_ppt is the frequency to be taken from now on; 0: the
 * clock is good as it is.  -EINVAL: the clock is paused.  -ERANGE: counter and host's clock have
 * parted: since the last sample one of them has gone back, or the other has gone further by more
 * than 1 ms and an eighth, which no slew does (the host slept, or somebody set its counter); the
 * loop would never get there and has to be started anew.  Of both nothing is changed. */
VMT_API int vmt_discipline_take(struct vmt_discipline *d, const struct vmt_clock *clock,
				const struct vmt_discipline_sample *at, int64_t *ret_ppt);

/* The frequency at which a disciplined clock counts a pause, for vmt_clock_discipline() of the
 * paused clock: so that what the loop was making up for when it stopped is not made up for hundreds
 * of times.  `from` and `to` are samples at its two ends.  The loop's steady frequency, or what is
 * nearest to it of what the host's clock did in between, whose bounds are those of the samples. */
VMT_API int64_t vmt_discipline_gap(const struct vmt_discipline *d, uint64_t counter_hz,
				   const struct vmt_discipline_sample *from,
				   const struct vmt_discipline_sample *to);

/* The host was suspended, and virtual time has gone on by skipped_ns beside its clock (or not at
 * all, 0), to what `clock` shows `at` this sample, which may be of a counter that began anew.  The
 * loop goes on with the phase that it had.  -EINVAL, and nothing changed: the clock is paused, or
 * `at` lies before its anchor. */
VMT_API int vmt_discipline_skip(struct vmt_discipline *d, const struct vmt_clock *clock,
				const struct vmt_discipline_sample *at, uint64_t skipped_ns);

/* What virtual time is to be when the host's clock shows `host_ns`; saturates. */
VMT_API vmt_ns vmt_discipline_wanted(const struct vmt_discipline *d, const struct vmt_clock *clock,
				     uint64_t host_ns);

#ifdef __cplusplus
}
#endif
#endif
