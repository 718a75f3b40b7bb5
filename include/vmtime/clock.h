/* SPDX-License-Identifier: Apache-2.0 */
/* clock.h - the one virtual clock of a VM: an affine map from a host counter to nanoseconds.
 *
 *     now = base_ns + ((counter - base_counter) * mult + base_frac) / 2^shift
 *
 * in 128-bit integer arithmetic.  Reads round down and deadlines round up, from the same two
 * integers (mult, shift), so that a deadline is reached at the very count that it names and not
 * one before.  base_frac keeps what a change of the map would otherwise round away.
 *
 * mult itself is rounded up, by less than 1: what falls on a whole nanosecond is then shown as that
 * one, a second of a 2.5 GHz counter as 1,000,000,000 ns; rounded down it would be 999,999,999.
 * That makes the clock fast by less than 1 ns in 146 years, or, above 2 GHz (mult / 2^shift below
 * 1/2), in all of the counter's 2^64 counts.
 *
 * UTC is separate: utc = now + utc_offset_ns, with an error bound.  A step of the host's wall
 * clock moves utc_offset_ns, never now.
 *
 * Every change is one pure function: old clock and the host's readings in, new clock and a record
 * of what changed out.  On an error nothing is written.  The functions keep no state of their own
 * and may be called from any thread; one struct is changed by one thread at a time. */
#ifndef VMTIME_CLOCK_H
#define VMTIME_CLOCK_H

#include <vmtime/out.h>

#ifdef __cplusplus
extern "C" {
#endif

enum vmt_clock_state { VMT_CLOCK_RUNNING = 0, VMT_CLOCK_PAUSED = 1 };

/* What becomes of the time during which the guest did not run. */
enum vmt_policy {
	VMT_POLICY_CONTINUE = 0, /* virtual time went on: UTC right at once, now jumps */
	VMT_POLICY_FREEZE =
		1, /* virtual time stood still: now continuous, UTC kept by moving its offset */
	VMT_POLICY_AUTO = 2, /* continue over gaps up to a limit, freeze over longer ones */
};

enum vmt_change_kind {
	VMT_CHANGE_START = 1,
	VMT_CHANGE_PAUSE = 2,
	VMT_CHANGE_RESUME = 3,
	VMT_CHANGE_STEP_UTC = 4,
	VMT_CHANGE_RATE = 5,
	VMT_CHANGE_DISCIPLINE = 6,
	VMT_CHANGE_LOAD = 7,
	VMT_CHANGE_COUNTER = 8, /* another host counter, the same time */
	VMT_CHANGE_SUSPEND = 9, /* the host was suspended */
};

/* The host's readings at one instant. */
struct vmt_reading {
	uint64_t counter;      /* the host counter */
	int64_t utc_ns;        /* ns since 1970-01-01 UTC, negative before */
	uint64_t utc_bound_ns; /* half width: the truth lies within utc_ns +- this */
};

struct vmt_clock {
	uint64_t counter_hz;   /* announced frequency of the host counter, 1..2^40 */
	uint64_t base_counter; /* the anchor: this count ... */
	uint64_t base_ns;      /* ... is this virtual time ... */
	uint64_t base_frac;    /* ... plus this many 2^-shift ns, below 2^shift */
	uint64_t mult;         /* virtual ns a count, in 2^-shift; rounded up, below 2^63 */
	uint32_t shift;        /* 0..64, the largest that mult allows */
	uint32_t state;        /* enum vmt_clock_state; paused: now is base_ns */
	int64_t utc_offset_ns; /* utc = now + this */
	uint64_t utc_bound_ns; /* half width */
	uint32_t rate_num; /* warp: virtual seconds a host second, as a fraction; 1/1 normally */
	uint32_t rate_den;
	int64_t discipline_ppt; /* beside the announced frequency, in 10^-12; faster is positive */
	uint64_t epoch;         /* counts the changes */
};

/* What a change did: pages are republished from it, the log shows it. */
struct vmt_change {
	uint32_t kind;    /* enum vmt_change_kind */
	uint32_t policy;  /* of a resume, load or suspend: the one that was applied, never AUTO */
	uint64_t counter; /* the host count at which it took effect */
	vmt_ns before_ns; /* virtual time just before ... */
	vmt_ns after_ns;  /* ... and just after, at that same count */
	uint64_t gap_ns;  /* ... how long the guest did not run; the host was suspended */
	int64_t utc_step_ns; /* by how much now + utc_offset moved against the host's UTC rule */
	uint64_t bound_ns;   /* half width of the error that the change itself adds to UTC */
	int64_t ppt_before;  /* discipline before and after */
	int64_t ppt_after;
	uint64_t epoch; /* of the new clock */
};

/* Power on: now is 0 at this reading.  -EINVAL for a frequency out of range. */
VMT_API int vmt_clock_start(uint64_t counter_hz, const struct vmt_reading *at,
			    struct vmt_clock *ret_clock, struct vmt_change *ret_change);

/* Virtual time at a host count, rounded down.  A count before the anchor gives the anchor's time;
 * saturates below VMT_NEVER. */
VMT_API vmt_ns vmt_clock_now(const struct vmt_clock *c, uint64_t counter);

/* The first host count, from the anchor on, at which vmt_clock_now() is at least `deadline`;
 * UINT64_MAX when there is none (paused, VMT_NEVER, or beyond the counter). */
VMT_API uint64_t vmt_clock_counter_at(const struct vmt_clock *c, vmt_ns deadline);

/* UTC at a virtual time, ns since 1970; saturates. */
VMT_API int64_t vmt_clock_utc(const struct vmt_clock *c, vmt_ns now);

/* Each of these: 0, or -EINVAL and neither output written.  `counter` never lies before the
 * anchor's (-EINVAL).  ret_clock may be `old`.  ret_change may be NULL. */
VMT_API int vmt_clock_pause(const struct vmt_clock *old, uint64_t counter,
			    struct vmt_clock *ret_clock, struct vmt_change *ret_change);

/* auto_limit_ns: longest gap over which AUTO continues.  The gap is the counter's, so that a step
 * of the host's wall clock meanwhile cannot pass for time; UTC is the reading's.  -EINVAL if the
 * clock is not paused. */
VMT_API int vmt_clock_resume(const struct vmt_clock *old, const struct vmt_reading *at,
			     uint32_t policy, uint64_t auto_limit_ns, struct vmt_clock *ret_clock,
			     struct vmt_change *ret_change);

/* What is known of a time in which the host was suspended, and of that alone: its counter may have
 * counted on meanwhile, stood still or begun anew. */
struct vmt_suspend {
	vmt_ns before_ns;      /* virtual time at a look at the host's clocks before it */
	uint64_t awake_ns;     /* how long the host was awake since (its CLOCK_MONOTONIC) ... */
	uint64_t suspended_ns; /* ... and how long not (CLOCK_BOOTTIME minus that) */
	vmt_ns shown_ns; /* the latest time that anybody has been shown; now begins no earlier */
};

/* The host was suspended while the clock ran, and nothing of the guest has run since: `at` is now.
 * Virtual time is before_ns plus the time awake and, with CONTINUE, that suspended, both warped;
 * from there on the counter counts, from whatever it shows.  AUTO looks at both together, for which
 * the guest may not have run.  Of the record, before_ns is without the time suspended and gap_ns
 * that time.  -EINVAL for a paused clock. */
VMT_API int vmt_clock_suspend(const struct vmt_clock *old, const struct vmt_suspend *suspend,
			      const struct vmt_reading *at, uint32_t policy, uint64_t auto_limit_ns,
			      struct vmt_clock *ret_clock, struct vmt_change *ret_change);

/* The host's wall clock is elsewhere: UTC follows, now does not.  -EINVAL for a paused clock, which
 * takes its UTC when it resumes. */
VMT_API int vmt_clock_step_utc(const struct vmt_clock *old, const struct vmt_reading *at,
			       struct vmt_clock *ret_clock, struct vmt_change *ret_change);

/* Warp: num virtual seconds pass in den host seconds from here on; 1/1000 to 1000/1. */
VMT_API int vmt_clock_rate(const struct vmt_clock *old, uint64_t counter, uint32_t num,
			   uint32_t den, struct vmt_clock *ret_clock,
			   struct vmt_change *ret_change);

/* From here on the clock runs `ppt` faster than the announced frequency says.  The caller keeps
 * to +-100 ppm beside the host's steady frequency; this takes +-VMT_CLOCK_PPT, 1,000 ppm. */
#define VMT_CLOCK_PPT INT64_C(1000000000)
VMT_API int vmt_clock_discipline(const struct vmt_clock *old, uint64_t counter, int64_t ppt,
				 struct vmt_clock *ret_clock, struct vmt_change *ret_change);

/* Another host counter from here on (the TSC became unusable, or is usable again): the two counts
 * are readings of one instant.  The discipline, which was the old counter's error, becomes 0.  A
 * pause keeps its length; -EINVAL if the new counter was not counting yet when it began. */
VMT_API int vmt_clock_counter(const struct vmt_clock *old, uint64_t old_counter,
			      uint64_t new_counter, uint64_t new_counter_hz,
			      struct vmt_clock *ret_clock, struct vmt_change *ret_change);

/* A saved clock comes to life on a host whose counter reads `at` and runs at counter_hz: a new
 * life, paused time handled by policy as in resume.  The gap is the host's UTC now minus the
 * saved clock's UTC; a negative one (the host's clock is behind) freezes.  The warp stays, the
 * discipline becomes 0.  -EINVAL for a clock that is not paused. */
VMT_API int vmt_clock_load(const struct vmt_clock *saved, uint64_t counter_hz,
			   const struct vmt_reading *at, uint32_t policy, uint64_t auto_limit_ns,
			   struct vmt_clock *ret_clock, struct vmt_change *ret_change);

/* The saved form: versioned little-endian bytes with a checksum.  save: bytes written, or -ENOSPC
 * when `size` is too small (VMT_CLOCK_SAVED always suffices).  The clock is saved as paused at its
 * anchor, without base_counter, which means nothing on another host: pause it first.  restore: 0,
 * or -EINVAL (damaged, another version, impossible) and nothing written. */
#define VMT_CLOCK_SAVED 256
VMT_API int vmt_clock_save(const struct vmt_clock *c, void *buf, size_t size);
VMT_API int vmt_clock_restore(const void *buf, size_t size, struct vmt_clock *ret_saved);

#ifdef __cplusplus
}
#endif
#endif
