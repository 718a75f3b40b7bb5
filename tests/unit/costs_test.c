/* SPDX-License-Identifier: Apache-2.0 */
/* costs_test.c - what readings cost on this machine, and that they agree. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdbool.h>
#include <string.h>

#include "guest/costs.h"

enum { ROUNDED_NS = 2 };

static const struct sample_cost *find(const struct sample_cost *costs, uint32_t n, char path,
				      bool ordered)
{
	for (uint32_t i = 0; i < n; i++)
		if (costs[i].path == path && costs[i].ordered == ordered)
			return &costs[i];
	return NULL;
}

static void every_way_has_a_price_and_tells_the_same_time(void **state)
{
	static const char always[] = {'v', 's', 'r'};
	struct sample_cost costs[COSTS_MAX];
	const uint32_t n = costs_measure(7, costs);

	(void)state;
	assert_true(n == 4 || n == 6); /* a page is not on every machine */
	for (size_t i = 0; i < sizeof(always); i++)
		assert_non_null(find(costs, n, always[i], false));
	assert_non_null(find(costs, n, 'r', true));
	assert_true(!!find(costs, n, 'p', true) == (n == COSTS_MAX));
	for (uint32_t i = 0; i < n; i++) {
		assert_true(costs[i].series == 7 && costs[i].index == i && costs[i].count == n);
		assert_true(costs[i].cost_ps > 0 && costs[i].checks > 0);
		if (costs[i].outside_ns > ROUNDED_NS)
			fail_msg("%c is off by %llu ns", costs[i].path,
				 (unsigned long long)costs[i].outside_ns);
	}
}

/* In the quietest of 15 rounds even a busy machine shows that much. */
static void a_system_call_costs_more_than_a_count(void **state)
{
	struct sample_cost costs[COSTS_MAX];
	const uint32_t n = costs_measure(0, costs);
	const struct sample_cost *call = find(costs, n, 's', false);
	const struct sample_cost *count = find(costs, n, 'r', false);
	const struct sample_cost *vdso = find(costs, n, 'v', false);

	(void)state;
	assert_true(call->cost_ps > count->cost_ps);
	/* What falls back is a system call, and costs as one. */
	if (vdso->falls)
		assert_true(vdso->cost_ps > call->cost_ps / 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_way_has_a_price_and_tells_the_same_time),
		cmocka_unit_test(a_system_call_costs_more_than_a_count),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
