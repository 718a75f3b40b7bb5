/* SPDX-License-Identifier: Apache-2.0 */
/* test_migrations.c - scenario migrations: a guest whose CPUs are busy and look at its clocks is
 * moved to another VMM on this machine, again and again. */
#include <errno.h>

#include "cmd/test_event.h"
#include "host/hostclock.h"

enum { NS_PER_MS = 1000000 };

static const uint64_t least_between_ns = 300 * NS_PER_MS, most_between_ns = 1000 * NS_PER_MS;

static struct test_span *last_span(struct test_event_run *r)
{
	return &r->pauses->spans[r->pauses->count - 1];
}

/* What the guest counts from now on until it is surely elsewhere says nothing of when it was: it
 * may come again after that. */
static int begin_one(struct test_event_run *r)
{
	int error = test_move_begin(r);

	last_span(r)->to = r->move.asked_tsc;
	return error;
}

static int finish(struct test_event_run *r)
{
	struct pauses *p = r->pauses;
	struct test_move *m = &r->move;
	const struct pauses_move took = {m->downtime_ns, m->total_ns};
	struct test_span next = {.from = test_event_count(&r->map), .to = UINT64_MAX};
	int error;

	p->least_ns += m->downtime_ns;
	p->most_ns += m->downtime_ns;
	error = test_move_end(r);
	if (!error)
		error = test_event_read_map(r, &next.map);
	if (!error && (pauses_add(p, &next) < 0 || pauses_add_move(p, &took) < 0))
		error = why_set(&r->why, -ENOMEM, "out of memory");
	if (error)
		return error;
	r->map = next.map;
	p->done++;
	p->next_ns = hostclock_monotonic_ns() + pauses_random(p, least_between_ns, most_between_ns);
	return 0;
}

static int step(struct test_event_run *r)
{
	int result;

	if (r->move.next.pid) {
		r->last_news_ns = hostclock_monotonic_ns(); /* its readings do not count */
		result = test_move_step(r);
		return result > 0 ? finish(r) : result;
	}
	if (hostclock_monotonic_ns() < r->pauses->next_ns)
		return 0;
	return r->pauses->done == r->options->migrations ? 1 : begin_one(r);
}

const struct test_event test_migrations = {
	.scenario = TEST_MIGRATIONS,
	.option = "--on-migrate",
	.runs = true,
	.moves = true,
	.each_ns = 2000 * NS_PER_MS,
	.begin = test_pauses_begin,
	.end = test_pauses_end,
	.step = step,
};
