/* SPDX-License-Identifier: Apache-2.0 */
/* ticks_guest_test.c - a guest that counts ticks, on a host that lets it wait: what it owes its
 * clock when the host has time again. */
#include <stdbool.h>

#include "../random.h"
#include "ticks_bench.h"

enum { PERIOD_NS = 4000000, STEP_NS = 20000, SECOND_STEPS = 50000 };

/* A local APIC: one tick is handled, one requested, others are merged with that. */
struct guest {
	struct vmt_board_ticks ticks;
	const struct vmt_board_config *config;
	vmt_ns now, edge, free_at, ack_at;
	uint64_t slowest_ns; /* of a handler, and of an acknowledgement's way to the board */
	uint64_t count, unseen;
	bool requested;
};

static uint64_t some_time(const struct guest *g, struct random *random)
{
	return random_below(random, (uint32_t)(g->slowest_ns / STEP_NS) + 1) * (uint64_t)STEP_NS;
}

static void take_tick(struct guest *g, struct random *random)
{
	if (!g->requested || g->now < g->free_at)
		return;
	g->requested = false;
	g->count++;
	g->free_at = g->now + some_time(g, random);
	if (!g->unseen++)
		g->ack_at = g->now + some_time(g, random);
}

static void step(struct guest *g, struct random *random)
{
	g->now += STEP_NS;
	if (g->unseen &&
	    (g->now >= g->ack_at || g->now >= g->edge || g->ticks.retry_ns <= g->now)) {
		for (; g->unseen; g->unseen--)
			vmt_ticks_ack(&g->ticks, g->config, g->now);
		g->requested |= vmt_ticks_again(&g->ticks, g->config, g->now);
	}
	if (g->now >= g->edge) {
		g->requested |= vmt_ticks_edges(&g->ticks, g->config, g->now, 1);
		g->edge += PERIOD_NS;
	}
	if (g->ticks.retry_ns <= g->now)
		g->requested |= vmt_ticks_retry(&g->ticks, g->config, g->now);
	take_tick(g, random);
	assert_true(vmt_ticks_good(&g->ticks, g->config, g->now));
	assert_true(g->count <= g->ticks.ledger.due + 2);
}

static void live(struct guest *g, struct random *random, uint64_t seconds)
{
	for (uint64_t i = 0; i < seconds * SECOND_STEPS; i++)
		step(g, random);
}

/* It was not run for so many ticks. */
static struct guest late_by(uint64_t ticks, uint64_t slowest_ns)
{
	static const struct vmt_board_config catchup = {.ticks = VMT_TICKS_CATCHUP};
	struct guest g = {
		.ticks = {.retry_ns = VMT_NEVER, .period_ns = PERIOD_NS},
		.config = &catchup,
		.now = ticks * PERIOD_NS,
		.edge = (ticks + 1) * PERIOD_NS,
		.slowest_ns = slowest_ns,
	};

	g.requested = vmt_ticks_edges(&g.ticks, g.config, g.now, ticks);
	return g;
}

/* At 250 Hz, handlers and the way of acknowledgements take 3.25 ms each on the average.  That
 * leaves time for what is owed after two seconds, but not for a period's doubt about every other
 * pulse. */
static void a_debt_is_paid_though_a_tick_takes_most_of_a_period(void **state)
{
	struct random random = random_start();

	(void)state;
	for (unsigned i = 0; i < 8; i++) {
		struct guest g = late_by(500, 6500000);

		live(&g, &random, 20);
		assert_true(g.ticks.ledger.owed < 150);
		g.slowest_ns = 500000;
		live(&g, &random, 1);
		while (g.now + STEP_NS < g.edge)
			step(&g, &random);
		ledger_is(&g.ticks, 500 + 21 * 250, g.count, 0, 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_debt_is_paid_though_a_tick_takes_most_of_a_period),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
