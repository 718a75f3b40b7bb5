/* SPDX-License-Identifier: Apache-2.0 */
/* test_follow.c - follows a guest by its readings: on which clock source it is, and whether they
 * come. */
#include <errno.h>
#include <string.h>

#include "cmd/test_follow.h"

#define SECOND 1000000000ULL

const uint64_t test_follow_boot_ns = 180 * SECOND;
const uint64_t test_follow_clocksource_ns = 30 * SECOND;
const uint64_t test_follow_silence_ns = 30 * SECOND;

/* A reading names the clock source just after it was taken, so the first that can be trusted to be
 * of it is the next. */
int test_follow_look(struct test_follow *f, const struct test_stream *s, size_t i, struct why *why)
{
	const char *current = s->readings[i].sample.current;

	if (!judge_same_clock(current, f->clocksource)) {
		if (!f->on_it)
			return 0;
		return why_set(why, -ESTALE,
			       "the guest left clock source %s for %s while it was measured",
			       f->clocksource, current);
	}
	if (!f->on_it || strcmp(current, s->readings[i - 1].sample.current) != 0) {
		f->on_it = true;
		f->from = i + 1;
	}
	return 0;
}

int test_follow_check(const struct test_follow *f, const struct test_stream *s, uint64_t age_ns,
		      uint64_t silent_ns, struct why *why)
{
	const struct test_reading *last;

	if (s->evaluated == 0 && age_ns > test_follow_boot_ns)
		return why_set(why, -ETIMEDOUT, "%s",
			       s->count ? "the guest's TSC is none of this host's"
					: "the guest did not send a reading in 180 s");
	if (s->evaluated == 0)
		return 0;
	if (silent_ns > test_follow_silence_ns)
		return why_set(why, -ETIMEDOUT, "the guest fell silent");
	last = &s->readings[s->evaluated - 1];
	if (!f->on_it && (uint64_t)(last->point.host_ns - s->readings[0].point.host_ns) >
				 test_follow_clocksource_ns)
		return why_set(why, -ENODEV, "the guest uses clock source %s, not %s; it has %s",
			       last->sample.current, f->clocksource, s->hello.available);
	return 0;
}
