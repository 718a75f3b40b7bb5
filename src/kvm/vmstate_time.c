/* SPDX-License-Identifier: Apache-2.0 */
/* vmstate_time.c - the virtual clock and the guest's TSCs as bytes. */
#include "kvm/vmstate_time.h"

#include <errno.h>

#include "kvm/bytes.h"

enum { VERSION = 1, KHZ_OF_NS = 1000000 };

/* Of the clock's part; its record follows. */
enum { TSC_AT = 0, UTC_AT = 8, BOUND_AT = 16, LIMIT_AT = 24, HEAD = 32 };

/* Of the host's: what is 0 in other readings. */
enum { LATE_AT = HOSTS_READING_BYTES - 8 };

#define PPT INT64_C(1000000000000)
#define PPB INT64_C(1000000000)

__extension__ typedef __int128 i128;

int vmstate_time_save(const struct vmt_clock *paused, const struct vmstate_instant *at,
		      const struct vmt_tsc *tsc, struct vmstate_parts *parts, struct why *why)
{
	uint8_t clock[HEAD + VMT_CLOCK_SAVED], counts[VMT_TSC_SAVED];
	uint8_t host[HOSTS_READING_BYTES];
	int size = vmt_clock_save(paused, clock + HEAD, VMT_CLOCK_SAVED);
	int more = vmt_tsc_save(tsc, at->tsc, counts, sizeof(counts));

	if (size < 0 || more < 0)
		return why_set(why, -EINVAL, "the machine's time cannot be saved");
	put64(clock + TSC_AT, at->tsc);
	put64(clock + UTC_AT, (uint64_t)at->at.utc_ns);
	put64(clock + BOUND_AT, at->at.utc_bound_ns);
	put64(clock + LIMIT_AT, at->limit_ns);
	if (at->host) {
		hosts_put(at->host, host);
		put64(host + LATE_AT, (uint64_t)at->late_ns);
	}
	if (vmstate_parts_add(parts, VMSTATE_CLOCK, VERSION, 0, clock, HEAD + (uint32_t)size) < 0 ||
	    vmstate_parts_add(parts, VMSTATE_TSC, VERSION, 0, counts, (uint32_t)more) < 0 ||
	    (at->host &&
	     vmstate_parts_add(parts, VMSTATE_HOST, VERSION, 0, host, sizeof(host)) < 0))
		return why_set(why, -ENOMEM, "no memory for the machine's state");
	return 0;
}

static int unknown(const char *what, const struct vmstate_part *part, struct why *why)
{
	return why_set(why, -ENOTSUP,
		       "the machine's %s has version %u, which this vmtime does not know (use a "
		       "later one)",
		       what, part->version);
}

static int find(const struct vmstate_parts *parts, uint32_t kind, uint32_t least, const char *what,
		const struct vmstate_part **ret_part, struct why *why)
{
	const struct vmstate_part *p = vmstate_parts_find(parts, kind, 0);

	if (!p || p->length < least)
		return why_set(why, -EINVAL, "the machine's %s is missing", what);
	if (p->version != VERSION)
		return unknown(what, p, why);
	*ret_part = p;
	return 0;
}

/* The host's UTC since then, saturating: the bounds of both are the record's. */
static int64_t since(int64_t utc_ns, int64_t saved_ns)
{
	int64_t ns;

	if (!__builtin_sub_overflow(utc_ns, saved_ns, &ns))
		return ns;
	return utc_ns < saved_ns ? INT64_MIN : INT64_MAX;
}

/* What the machine takes for UTC is `utc_ns` then and that plus the gap now. */
static int go_on(const struct vmt_clock *saved, const struct vmstate_time_config *config,
		 int64_t utc_ns, struct vmstate_time *t)
{
	struct vmt_reading at = config->now.at;

	at.utc_ns = utc_ns;
	return vmt_clock_load(saved, config->counter_hz, &at, config->policy, t->limit_ns,
			      &t->clock, &t->change);
}

static int beyond(struct why *why)
{
	return why_set(why, -EINVAL, "the machine's clock is beyond all dates");
}

static int load_clock(const struct vmstate_part *part, const struct vmstate_time_config *config,
		      const struct vmt_clock *saved, struct vmstate_time *t, struct why *why)
{
	const int64_t then_ns = vmt_clock_utc(saved, saved->base_ns);
	int64_t utc_ns = config->now.at.utc_ns, gap_ns;

	/* What the machine takes for UTC goes on as it was, by as much as the hosts' did. */
	if (config->own_utc &&
	    __builtin_add_overflow(then_ns, since(utc_ns, (int64_t)get64(part->bytes + UTC_AT)),
				   &utc_ns))
		return beyond(why);
	gap_ns = since(utc_ns, then_ns);
	t->future_ns = gap_ns < 0 ? 0 - (uint64_t)gap_ns : 0;
	if (go_on(saved, config, utc_ns, t) < 0)
		return why_set(why, -EINVAL, "the machine's clock cannot go on here");
	t->change.bound_ns += get64(part->bytes + BOUND_AT);
	return 0;
}

/* Virtual time goes by the gap; then UTC is this host's, whatever the gap was. */
static int migrate_clock(const struct vmstate_part *part, const struct vmstate_time_config *config,
			 const struct vmt_clock *saved, struct vmstate_time *t, struct why *why)
{
	uint8_t bytes[HOSTS_READING_BYTES];
	struct hosts_reading from;
	struct vmt_change step = {0};
	int64_t utc_ns;
	int result;

	if (part->version != VERSION)
		return unknown("host", part, why);
	if (part->length != HOSTS_READING_BYTES)
		return why_set(why, -EINVAL, "the other host's clocks are none that vmtime writes");
	memcpy(bytes, part->bytes, sizeof(bytes));
	t->late_ns = (int64_t)get64(bytes + LATE_AT);
	put64(bytes + LATE_AT, 0);
	if (hosts_get(bytes, &from) < 0)
		return why_set(why, -EINVAL, "the other host's clocks are none that vmtime writes");
	result = hosts_gap(&from, config->now.host, config->window, &t->gap, why);
	if (result < 0)
		return result;
	if (t->gap.gap_ns > INT64_MAX ||
	    __builtin_add_overflow(vmt_clock_utc(saved, saved->base_ns), (int64_t)t->gap.gap_ns,
				   &utc_ns))
		return beyond(why);
	if (go_on(saved, config, utc_ns, t) < 0 || t->change.gap_ns != t->gap.gap_ns ||
	    (!config->own_utc &&
	     vmt_clock_step_utc(&t->clock, &config->now.at, &t->clock, &step) < 0))
		return why_set(why, -EINVAL, "the machine's clock cannot go on here");
	t->migrated = true;
	t->change.utc_step_ns += step.utc_step_ns;
	t->change.bound_ns = t->gap.bound_ns;
	t->change.epoch = t->clock.epoch;
	return 0;
}

static int load_either(const struct vmstate_part *clock, const struct vmstate_part *host,
		       const struct vmstate_time_config *config, struct vmt_clock *ret_saved,
		       struct vmstate_time *t, struct why *why)
{
	int result;

	if (vmt_clock_restore(clock->bytes + HEAD, clock->length - HEAD, ret_saved) < 0)
		return why_set(why, -EINVAL, "the machine's clock is damaged");
	t->limit_ns = get64(clock->bytes + LIMIT_AT);
	t->utc_offset_ns = ret_saved->utc_offset_ns;
	if (host && config->now.host)
		result = migrate_clock(host, config, ret_saved, t, why);
	else
		result = load_clock(clock, config, ret_saved, t, why);
	t->passed_ns = t->change.after_ns - t->change.before_ns;
	t->stopped_ns = ret_saved->base_ns;
	return result;
}

/* Counts of a TSC of `khz` in so many ns of virtual time, by a clock that was known to be faster
 * than the announced frequency by ppt.  (A warped clock passes faster; its TSC does not.) */
static uint64_t counts_of(const struct vmt_clock *saved, uint32_t khz, uint64_t ns)
{
	i128 counts = (i128)ns * khz / KHZ_OF_NS * saved->rate_den / saved->rate_num;

	return (uint64_t)(counts - counts * saved->discipline_ppt / (PPT + saved->discipline_ppt));
}

static int frequencies_differ(const struct vmt_tsc *tsc, uint32_t khz, struct why *why)
{
	return why_set(why, -EXDEV,
		       "its TSC ran at %u kHz, and this host's runs at %u kHz, %s (restore it on a "
		       "host of that frequency, or run the machine with --tsc portable)",
		       khz, tsc->host.khz,
		       tsc->host.frac ? "too far for its hardware to scale"
				      : "which nothing here scales");
}

int vmstate_time_check(const struct vmt_tsc *tsc, uint32_t khz, bool portable, struct why *why)
{
	struct vmt_tsc scaled = *tsc;

	if (portable || vmt_tsc_tolerated(&tsc->host, khz) || vmt_tsc_scale(&scaled, 0, khz) == 0)
		return 0;
	return frequencies_differ(tsc, khz, why);
}

static int load_tsc(const struct vmstate_part *part, const struct vmt_clock *saved,
		    const struct vmstate_time_config *config, struct vmt_tsc *tsc,
		    struct vmstate_time *t, struct why *why)
{
	enum { KHZ_AT = 16 }; /* of the record: behind its head and the number of CPUs */
	struct vmt_tsc loaded = *tsc;
	int own = vmt_tsc_load(&loaded, config->now.tsc, part->bytes, part->length);
	uint32_t khz;

	if (own < 0)
		return why_set(why, -EINVAL,
			       "the CPUs' TSCs are damaged, or of another number of CPUs");
	khz = get32(part->bytes + KHZ_AT);
	if (own && !vmt_tsc_tolerated(&tsc->host, khz) && !config->portable)
		return frequencies_differ(tsc, khz, why);
	t->tsc_ppb = (int64_t)(((i128)loaded.khz - khz) * PPB / khz);
	t->tsc_count = vmt_tsc_line(&loaded, config->now.tsc);
	vmt_tsc_set(&loaded, config->now.tsc, t->tsc_count + counts_of(saved, khz, t->passed_ns));
	*tsc = loaded;
	return 0;
}

int vmstate_time_load(const struct vmstate_parts *parts, const struct vmstate_time_config *config,
		      struct vmt_tsc *tsc, struct vmstate_time *ret_time, struct why *why)
{
	const struct vmstate_part *clock, *counts;
	struct vmstate_time t = {0};
	struct vmt_clock saved;
	int result = find(parts, VMSTATE_CLOCK, HEAD, "clock", &clock, why);

	if (result == 0)
		result = find(parts, VMSTATE_TSC, 0, "TSC", &counts, why);
	if (result == 0)
		result = load_either(clock, vmstate_parts_find(parts, VMSTATE_HOST, 0), config,
				     &saved, &t, why);
	if (result == 0)
		result = load_tsc(counts, &saved, config, tsc, &t, why);
	if (result == 0)
		*ret_time = t;
	return result;
}
