/* SPDX-License-Identifier: Apache-2.0 */
/* gap_test.c - how long a gap a guest's clock can take, and which one sets the limit. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <vmtime/gap.h>

#define S UINT64_C(1000000000)

static void takes(struct vmt_gap_guest guest, uint64_t ns, uint32_t clock)
{
	uint32_t which;

	guest.pmtmr_bits = guest.pmtmr_bits ? guest.pmtmr_bits : 24;
	assert_int_equal(vmt_gap_limit_ns(&guest, &which), ns);
	assert_int_equal(which, clock);
	assert_int_equal(vmt_gap_limit_ns(&guest, NULL), ns);
}

static void each_clock_has_its_own_limit(void **state)
{
	(void)state;
	takes((struct vmt_gap_guest){0}, UINT64_MAX, 0);
	takes((struct vmt_gap_guest){VMT_GAP_KVMCLOCK}, 600 * S, VMT_GAP_KVMCLOCK);
	takes((struct vmt_gap_guest){VMT_GAP_TSC}, 600 * S, VMT_GAP_TSC);
	takes((struct vmt_gap_guest){VMT_GAP_HPET}, 21474836470,
	      VMT_GAP_HPET); /* below half of 2^32 */
	takes((struct vmt_gap_guest){VMT_GAP_PMTMR}, 2343484157, VMT_GAP_PMTMR); /* of 2^24 */
	takes((struct vmt_gap_guest){VMT_GAP_PMTMR, 32}, 599932015661, VMT_GAP_PMTMR);
}

static void the_time_since_it_looked_belongs_to_the_gap(void **state)
{
	const struct vmt_gap_guest hpet = {.clocks = VMT_GAP_HPET, .hpet_since_ns = S};
	const struct vmt_gap_guest late = {.clocks = VMT_GAP_PMTMR, .pmtmr_since_ns = 3 * S};
	const struct vmt_gap_guest other = {.clocks = VMT_GAP_TSC, .hpet_since_ns = S};

	(void)state;
	takes(hpet, 20474836470, VMT_GAP_HPET);
	takes(late, 0, VMT_GAP_PMTMR); /* it cannot take any more */
	takes(other, 600 * S, VMT_GAP_TSC);
}

static void who_counts_ticks_gets_those_that_are_kept(void **state)
{
	const struct vmt_gap_guest guest = {.clocks = VMT_GAP_TICKS, .tick_ns = 4000000};
	struct vmt_gap_guest g = guest;

	(void)state;
	g.ticks = VMT_TICKS_DISCARD;
	takes(g, 4000000, VMT_GAP_TICKS);
	g.ticks = VMT_TICKS_MERGE;
	takes(g, 4000000, VMT_GAP_TICKS);
	g.ticks = VMT_TICKS_CATCHUP;
	takes(g, 40 * S, VMT_GAP_TICKS);
	g.ticks = VMT_TICKS_DELAY;
	takes(g, 40 * S, VMT_GAP_TICKS);
}

static void the_weakest_clock_sets_the_limit(void **state)
{
	const uint32_t all = VMT_GAP_KVMCLOCK | VMT_GAP_TSC | VMT_GAP_HPET;

	(void)state;
	takes((struct vmt_gap_guest){all}, 21474836470, VMT_GAP_HPET);
	takes((struct vmt_gap_guest){all | VMT_GAP_PMTMR}, 2343484157, VMT_GAP_PMTMR);
	takes((struct vmt_gap_guest){all | VMT_GAP_PMTMR, 32}, 21474836470, VMT_GAP_HPET);
	takes((struct vmt_gap_guest){VMT_GAP_KVMCLOCK | VMT_GAP_TSC}, 600 * S, VMT_GAP_KVMCLOCK);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_clock_has_its_own_limit),
		cmocka_unit_test(the_time_since_it_looked_belongs_to_the_gap),
		cmocka_unit_test(who_counts_ticks_gets_those_that_are_kept),
		cmocka_unit_test(the_weakest_clock_sets_the_limit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
