/* SPDX-License-Identifier: Apache-2.0 */
/* timestate.c - what a machine's clock, chips and ticks say at one instant. */
#include <assert.h>

#include "host/hostclock.h"
#include "kvm/timestate.h"

enum { PAIR_TRIES = 20, PPT_PER_PPB = 1000 };

#define NS_PER_S 1000000000ULL
#define PPT 1000000000000LL

__extension__ typedef __int128 i128;

/* In the order of the bits of enum vmt_faces. */
static const struct {
	const char *name;
	uint32_t source; /* the first whose ledger it keeps ... */
	uint32_t sources;
	const char *sources_names[VMT_HPET_TIMERS];
} faces[] = {
	{"pit", VMT_SOURCE_PIT, 1, {"pit"}},
	{"rtc", VMT_SOURCE_RTC, 1, {"rtc"}},
	{"acpi_pm", VMT_SOURCE_SCI, 0, {NULL}}, /* its line is a level */
	{"hpet", VMT_SOURCE_HPET0, VMT_HPET_TIMERS, {"hpet0", "hpet1", "hpet2"}},
};

static_assert(sizeof(faces) / sizeof(faces[0]) == VMT_FACES, "each face has a name");

int timestate_host(bool tsc, uint64_t counter_hz, struct vmt_reading *ret_reading)
{
	struct hostclock_pair pair;
	uint64_t lo, hi;
	int result = tsc ? hostclock_pair(PAIR_TRIES, &pair) : 0;

	if (result < 0)
		return result;
	if (tsc) {
		lo = pair.realtime_tsc_lo;
		hi = pair.realtime_tsc_hi;
		ret_reading->utc_ns = pair.realtime_ns;
	} else {
		lo = hostclock_monotonic_ns();
		ret_reading->utc_ns = hostclock_realtime_ns();
		hi = hostclock_monotonic_ns();
	}
	ret_reading->counter = lo + (hi - lo) / 2;
	ret_reading->utc_bound_ns =
		(uint64_t)((i128)((hi - lo) / 2 + 1) * NS_PER_S / counter_hz) + 1;
	return 0;
}

/* UTC beside the host's, now: a clock that is not disciplined drifts from what it was at start. */
static void bound_utc(const struct vmt_clock *clock, bool tsc, struct timestate *t)
{
	struct vmt_reading at;
	int64_t utc_ns;

	if (timestate_host(tsc, clock->counter_hz, &at) < 0)
		return;
	utc_ns = vmt_clock_utc(clock, vmt_clock_now(clock, at.counter));
	t->has_bound = true;
	t->utc_bound_ns = at.utc_bound_ns + (utc_ns < at.utc_ns ? (uint64_t)(at.utc_ns - utc_ns)
								: (uint64_t)(utc_ns - at.utc_ns));
}

static struct timestate_ticks ticks_of(const struct vmt_board *b, uint32_t source, const char *name)
{
	uint64_t period_ns = b->ticks[source].period_ns;
	struct timestate_ticks ticks = {.source = name};

	if (period_ns)
		ticks.rate_hz = period_ns < NS_PER_S ? (NS_PER_S + period_ns / 2) / period_ns : 1;
	vmt_board_ledger(b, source, &ticks.ledger);
	return ticks;
}

static void look_at(const struct vmt_board *b, struct timestate *t)
{
	for (unsigned i = 0; i < VMT_FACES; i++) {
		if (!(b->config.faces >> i & 1))
			continue;
		t->faces[t->n_faces++] = (struct timestate_face){faces[i].name, b->due[i]};
		for (uint32_t j = 0; j < faces[i].sources; j++)
			t->ticks[t->n_ticks++] =
				ticks_of(b, faces[i].source + j, faces[i].sources_names[j]);
	}
}

void timestate_read(struct chipset *c, bool host_date, struct timestate *ret_state)
{
	struct timestate *t = ret_state;
	struct counted_clock now;
	struct vmt_clock clock;
	i128 rate;

	*t = (struct timestate){0};
	t->now_ns = chipset_hold(c);
	now = liveclock_get(&c->clock);
	clock = now.clock;
	t->change = c->change;
	t->has_rtc = c->board.config.faces & VMT_HAS_RTC;
	t->rtc_offset_ns = c->rtc_offset_ns;
	t->policy = c->board.config.ticks;
	look_at(&c->board, t);
	chipset_release(c);
	t->utc_offset_ns = clock.utc_offset_ns;
	t->utc_ns = vmt_clock_utc(&clock, t->now_ns);
	t->clock_state = clock.state;
	rate = (i128)(PPT + clock.discipline_ppt) * clock.rate_num / clock.rate_den - PPT;
	t->rate_ppb = (int64_t)(rate / PPT_PER_PPB);
	if (host_date)
		bound_utc(&clock, now.tsc, t);
}
