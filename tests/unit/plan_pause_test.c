/* SPDX-License-Identifier: Apache-2.0 */
/* plan_pause_test.c - what is foretold of a pause is what then happens to a machine, on a bench
 * without KVM. */
#include "cmd/plan.h"
#include "pause_bench.h"

/* The machine's clock and its page round at each end, to whole counts and whole ns; and its UTC is
 * read from the host, whose own clock may be slewed meanwhile. */
enum { ROUNDED_NS = 5, UTC_NS = 100000 };

static struct plan foretold(uint64_t gap_ns, uint32_t policy, enum plan_source source)
{
	const struct plan_ask ask = {
		.source = source, .policy = policy, .duration_ns = (int64_t)gap_ns};
	struct plan p;

	assert_int_equal(plan_make(&ask, &p), 0);
	return p;
}

static void is_near(int64_t ns, int64_t foretold_ns, int64_t by_ns)
{
	if (ns - foretold_ns > by_ns || foretold_ns - ns > by_ns)
		fail_msg("%lld ns, where %lld were foretold", (long long)ns,
			 (long long)foretold_ns);
}

/* What all showed at the stop, and then when the machine went on. */
struct shown {
	uint64_t tsc, pmtmr, hpet, page_ns;
	int64_t rtc_ns;
};

/* The page's line at a count that may lie before its anchor: it was written a moment later. */
static uint64_t page_ns(const struct entry *e, uint64_t tsc)
{
	if (tsc >= e->tsc)
		return guest_ns(e, tsc);
	return 2 * guest_ns(e, e->tsc) - guest_ns(e, e->tsc + (e->tsc - tsc));
}

/* When virtual time is `now` and the guest's TSC shows `tsc`. */
static struct shown look(struct bench *b, vmt_ns now, uint64_t tsc)
{
	struct shown s = {.tsc = tsc};
	const struct entry e = entry_at(b, PAGE);
	const struct vmt_clock clock = liveclock_get(&b->chipset->clock).clock;

	s.page_ns = page_ns(&e, tsc);
	s.pmtmr = vmt_pmtmr_peek(now, 24);
	assert_int_equal(vmt_hpet_peek(&b->chipset->board.hpet, now, &s.hpet), 0);
	s.rtc_ns = (int64_t)now + clock.utc_offset_ns;
	return s;
}

static void a_pause_is_as_foretold(uint32_t policy, unsigned ms)
{
	struct pause p;
	struct bench *b = standing(&p);
	struct chipset_change change;
	struct vmt_clock clock;
	struct shown before, after;
	struct plan plan;

	goes_on(&p, VMT_POLICY_CONTINUE);
	set(b->chipset, CONFIG, 1); /* the HPET counts */
	assert_int_equal(pause_begin(&p, &p.config, NULL), 0);
	clock = liveclock_get(&b->chipset->clock).clock;
	before = look(b, clock.base_ns, p.tsc_count);
	sleep_ms(ms);
	change = goes_on(&p, policy);
	clock = liveclock_get(&b->chipset->clock).clock;
	after = look(b, clock.base_ns, vmt_tsc_line(&b->tsc, clock.base_counter));
	plan = foretold(change.gap_ns, policy, PLAN_KVMCLOCK);
	assert_int_equal(plan.policy, change.policy);
	assert_int_equal(plan.gap_ns, change.gap_ns);
	is_near(change.after_ns - change.before_ns, (int64_t)change.gap_ns - plan.frozen_ns,
		ROUNDED_NS);
	is_near((int64_t)(after.page_ns - before.page_ns), plan.rows[PLAN_ROW_KVMCLOCK].progress_ns,
		ROUNDED_NS);
	is_near((int64_t)((after.tsc - before.tsc) * NS_PER_S / clock.counter_hz),
		plan.rows[PLAN_ROW_TSC].progress_ns, ROUNDED_NS);
	is_near((int64_t)(after.hpet - before.hpet) * VMT_HPET_TICK_NS,
		plan.rows[PLAN_ROW_HPET].progress_ns, VMT_HPET_TICK_NS + ROUNDED_NS);
	is_near((int64_t)(((after.pmtmr - before.pmtmr) & 0xffffff) * NS_PER_S / VMT_PMTMR_HZ),
		plan.rows[PLAN_ROW_ACPI_PM].progress_ns, 280 + ROUNDED_NS);
	is_near(after.rtc_ns - before.rtc_ns, plan.rows[PLAN_ROW_RTC].progress_ns, UTC_NS);
	take_down(b);
}

static void what_goes_on_goes_on_as_foretold(void **state)
{
	(void)state;
	a_pause_is_as_foretold(VMT_POLICY_CONTINUE, 1);
	a_pause_is_as_foretold(VMT_POLICY_CONTINUE, 20);
}

static void what_stands_stands_as_foretold(void **state)
{
	(void)state;
	a_pause_is_as_foretold(VMT_POLICY_FREEZE, 1);
	a_pause_is_as_foretold(VMT_POLICY_FREEZE, 20);
}

static void auto_decides_as_foretold(void **state)
{
	struct pause p;
	struct bench *b = standing(&p);
	const vmt_ns now = chipset_now(b->chipset);
	uint32_t clock;

	(void)state;
	assert_int_equal(pause_limit(&p.config, now, &clock),
			 foretold(1, 0, PLAN_KVMCLOCK).auto_ns);
	assert_int_equal(clock, foretold(1, 0, PLAN_KVMCLOCK).auto_clock);
	b->chipset->hpet_read = now;
	assert_int_equal(pause_limit(&p.config, now, &clock), foretold(1, 0, PLAN_HPET).auto_ns);
	assert_int_equal(clock, foretold(1, 0, PLAN_HPET).auto_clock);
	b->chipset->pm_timer_read = now;
	assert_int_equal(pause_limit(&p.config, now, &clock), foretold(1, 0, PLAN_ACPI_PM).auto_ns);
	assert_int_equal(clock, foretold(1, 0, PLAN_ACPI_PM).auto_clock);
	goes_on(&p, VMT_POLICY_CONTINUE);
	take_down(b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_goes_on_goes_on_as_foretold),
		cmocka_unit_test(what_stands_stands_as_foretold),
		cmocka_unit_test(auto_decides_as_foretold),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
