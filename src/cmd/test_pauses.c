/* SPDX-License-Identifier: Apache-2.0 */
/* test_pauses.c - scenario pauses: a guest whose CPUs are busy and look at its clocks is stopped
 * for a moment, again and again. */
#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "cmd/test_event.h"
#include "cmd/test_load.h"
#include "cmd/test_ticks_qmp.h"
#include "host/hostclock.h"

enum { NS_PER_MS = 1000000, NS_PER_S = 1000000000 };

static const uint64_t least_pause_ns = 5 * NS_PER_MS, most_pause_ns = 200 * NS_PER_MS;
static const uint64_t least_between_ns = 20 * NS_PER_MS, most_between_ns = 100 * NS_PER_MS;

int test_pauses_begin(struct test_event_run *r)
{
	const struct test_span all = {.to = UINT64_MAX, .map = r->map};
	int error = test_load_say(r->fd, "check\n", &r->why);

	r->pauses = calloc(1, sizeof(*r->pauses));
	if (!error && (!r->pauses || pauses_add(r->pauses, &all) < 0))
		error = why_set(&r->why, -ENOMEM, "out of memory");
	if (!error) {
		r->pauses->random = r->number;
		r->pauses->next_ns = hostclock_monotonic_ns() + most_between_ns;
	}
	return error;
}

static void sleep_ns(uint64_t ns)
{
	const struct timespec t = {.tv_sec = (time_t)(ns / NS_PER_S),
				   .tv_nsec = (long)(ns % NS_PER_S)};

	clock_nanosleep(CLOCK_MONOTONIC, 0, &t, NULL);
}

/* What the guest counts from before it is stopped until it surely stands says nothing of when it
 * was: it may come again after that. */
static int stop_for_a_moment(struct test_event_run *r)
{
	struct pauses *p = r->pauses;
	struct test_span *last = &p->spans[p->count - 1], next = {.to = UINT64_MAX};
	uint64_t asked_ns, stood_ns, again_ns;
	int error;

	asked_ns = hostclock_monotonic_ns();
	last->to = test_event_count(&last->map);
	error = test_qmp_do(&r->qmp, "stop", &r->why);
	next.from = test_event_count(&last->map);
	stood_ns = hostclock_monotonic_ns();
	if (!error)
		sleep_ns(pauses_random(p, least_pause_ns, most_pause_ns));
	again_ns = hostclock_monotonic_ns();
	if (!error)
		error = test_qmp_do(&r->qmp, "cont", &r->why);
	if (!error)
		error = kvmtsc_read(NULL, r->machine.pid, &next.map, &r->why);
	if (!error && pauses_add(p, &next) < 0)
		error = why_set(&r->why, -ENOMEM, "out of memory");
	p->most_ns += hostclock_monotonic_ns() - asked_ns;
	p->least_ns += again_ns - stood_ns;
	return error;
}

static int step(struct test_event_run *r)
{
	struct pauses *p = r->pauses;
	int error;

	if (hostclock_monotonic_ns() < p->next_ns)
		return 0;
	if (p->done == r->options->pauses)
		return 1;
	error = stop_for_a_moment(r);
	p->done++;
	p->next_ns = hostclock_monotonic_ns() + pauses_random(p, least_between_ns, most_between_ns);
	r->map = p->spans[p->count - 1].map;
	return error;
}

/* QEMU keeps no ledger. */
int test_pauses_end(struct test_event_run *r)
{
	int error = test_load_say(r->fd, "rest\n", &r->why);

	if (!error && r->config.subject == TEST_VMTIME) {
		error = ticks_qmp_ask(r->machine.qmp, r->pauses->ledgers, &r->why);
		r->pauses->has_ledgers = !error;
	}
	return error;
}

const struct test_event test_pauses = {
	.scenario = TEST_PAUSES,
	.option = "--on-pause",
	.runs = true,
	.each_ns = 200 * NS_PER_MS,
	.begin = test_pauses_begin,
	.end = test_pauses_end,
	.step = step,
};
