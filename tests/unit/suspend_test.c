/* SPDX-License-Identifier: Apache-2.0 */
/* suspend_test.c - the host was suspended while a machine ran: who notices, who is held, and what
 * becomes of its clock, its TSCs and its timers.
 *
 * No test suspends anything: the machine is made to believe that the host had been for less long
 * when it looked last.  The TSC has stood still then, since nobody has made it go on. */
#include <pthread.h>

#include "kvm/suspend.h"
#include "pause_bench.h"

#define SLEPT_NS (100 * NS_PER_S)

static struct bench *running(struct suspend *s, struct pause_config *ret_config, uint32_t mode)
{
	struct pause p;
	struct bench *b = mode == DEADLINE ? standing(&p) : counting(&p, mode, PERIOD);

	goes_on(&p, VMT_POLICY_CONTINUE);
	*ret_config = config_of(b);
	assert_int_equal(suspend_init(s), 0);
	suspend_begin(s, ret_config);
	kvm[0].armed = kvm[1].armed = 0;
	return b;
}

static void end(struct suspend *s, struct bench *b)
{
	suspend_destroy(s);
	take_down(b);
}

/* The host was suspended for so long, and its TSC counted `counts` meanwhile. */
static void sleeps(struct suspend *s, struct bench *b, uint64_t counts)
{
	struct counted_clock now = liveclock_get(&b->chipset->clock);

	s->known_ns -= (int64_t)SLEPT_NS;
	s->last.beside.suspended_ns -= (int64_t)SLEPT_NS;
	s->last.beside.realtime_ns -= (int64_t)SLEPT_NS;
	if (!counts)
		return;
	s->last.host.counter -= counts;
	now.clock.base_counter -= counts;
	liveclock_set(&b->chipset->clock, &now);
	b->tsc.offset += counts;
}

static vmt_ns shown(const struct bench *b)
{
	return chipset_now(b->chipset);
}

/* What the guest's TSC shows, in ns from `count`. */
static uint64_t tsc_ns(const struct bench *b, uint64_t count)
{
	return (vmt_tsc_line(&b->tsc, hostclock_tsc()) - count) * 1000000 / b->tsc.host.khz;
}

static struct chipset_change wakes(struct suspend *s, const struct pause_config *config,
				   uint32_t policy)
{
	struct chipset_change change;
	uint64_t limit_ns;
	uint32_t clock;

	assert_true(suspend_noticed(s));
	assert_int_equal(suspend_end(s, config, policy, &change, &limit_ns, &clock, NULL), 0);
	assert_false(suspend_noticed(s) || config->gate->closed);
	return change;
}

/* The clock, the TSC and the page, after the host has slept, and what was before it. */
static void has_passed(struct bench *b, vmt_ns before, uint64_t count, uint64_t least_ns)
{
	const uint64_t tsc = tsc_ns(b, count);
	const vmt_ns now = shown(b);
	struct entry e = entry_at(b, PAGE);

	assert_in_range(now - before, least_ns, least_ns + 60 * NS_PER_S);
	assert_in_range(tsc, least_ns, least_ns + 60 * NS_PER_S);
	assert_in_range(guest_ns(&e, vmt_tsc_line(&b->tsc, hostclock_tsc())), now,
			now + 60 * NS_PER_S);
	assert_int_equal(e.flags, VMT_KVMCLOCK_STABLE | VMT_KVMCLOCK_STOPPED);
	for (int cpu = 0; cpu < CPUS; cpu++) {
		assert_true(kvm[cpu].offset == vmt_tsc_offset(&b->tsc, (uint32_t)cpu));
		assert_int_equal(kvm[cpu].armed, 1); /* KVM's timer has stood still */
		assert_int_equal(kvm[cpu].deadline, 77);
	}
}

static void sleeps_and_wakes(uint64_t counted_s, uint32_t policy)
{
	struct suspend s;
	struct pause_config config;
	struct bench *b = running(&s, &config, DEADLINE);
	const bool on = policy == VMT_POLICY_CONTINUE;
	const vmt_ns before = s.last.now_ns;
	const uint64_t count = vmt_tsc_line(&b->tsc, s.last.host.counter);
	const uint64_t offset_ns = on ? 0 : SLEPT_NS;
	struct chipset_change change;

	sleeps(&s, b, counted_s * b->tsc.host.khz * 1000);
	change = wakes(&s, &config, policy);
	assert_int_equal(change.kind, VMT_CHANGE_SUSPEND);
	assert_int_equal(change.policy, policy);
	assert_in_range(change.gap_ns, SLEPT_NS - 1000, SLEPT_NS + 1000);
	assert_in_range(change.after_ns - change.before_ns, on ? change.gap_ns : 0,
			on ? change.gap_ns + 1 : 0);
	assert_in_range(change.utc_after_ns - change.utc_before_ns + 1000, offset_ns,
			offset_ns + 2000);
	has_passed(b, before, count, on ? SLEPT_NS - 1000 : 0);
	end(&s, b);
}

static void whether_or_not_the_tsc_counted_the_policy_decides(void **state)
{
	(void)state;
	for (uint32_t policy = VMT_POLICY_CONTINUE; policy <= VMT_POLICY_FREEZE; policy++) {
		sleeps_and_wakes(0, policy);                    /* it stood still */
		sleeps_and_wakes(100, policy);                  /* it counted on */
		sleeps_and_wakes(-(UINT64_C(1) << 20), policy); /* it began anew */
		sleeps_and_wakes(101, policy); /* it counted what the clock did not */
	}
}

static void a_tsc_that_counted_rightly_is_not_moved(void **state)
{
	struct suspend s;
	struct pause_config config;
	struct bench *b = running(&s, &config, DEADLINE);
	uint64_t offset;

	(void)state;
	sleeps(&s, b, SLEPT_NS / 1000000 * b->tsc.host.khz);
	offset = b->tsc.offset;
	wakes(&s, &config, VMT_POLICY_CONTINUE);
	assert_true(b->tsc.offset == offset);
	sleeps(&s, b, 0);
	offset = b->tsc.offset;
	wakes(&s, &config, VMT_POLICY_FREEZE);
	assert_true(b->tsc.offset == offset);
	end(&s, b);
}

/* KVM's go by CLOCK_MONOTONIC, which has stood still. */
static void timers_that_count_down_go_on_only_if_time_did(void **state)
{
	struct suspend s;
	struct pause_config config;
	struct bench *b = running(&s, &config, PERIODIC);

	(void)state;
	sleeps(&s, b, 0);
	wakes(&s, &config, VMT_POLICY_FREEZE);
	assert_int_equal(kvm[0].lapics_set, 0);
	for (int cpu = 0; cpu < CPUS; cpu++) {
		kvm[cpu].ran_tsc = hostclock_tsc(); /* a whole period is left */
		*reg(&kvm[cpu], IRR) = 0;
		b->vcpus[cpu].left_tsc = hostclock_tsc();
	}
	sleeps(&s, b, 0);
	wakes(&s, &config, VMT_POLICY_CONTINUE);
	for (int cpu = 0; cpu < CPUS; cpu++) {
		assert_int_equal(kvm[cpu].lapics_set, 1);
		assert_true(*reg(&kvm[cpu], IRR) & 1); /* many periods of 0.8 s, one request */
	}
	end(&s, b);
}

static void auto_and_a_host_that_moves_no_tsc(void **state)
{
	struct suspend s;
	struct pause_config config;
	struct bench *b = running(&s, &config, DEADLINE);

	(void)state;
	sleeps(&s, b, 0);
	assert_int_equal(wakes(&s, &config, VMT_POLICY_AUTO).policy, VMT_POLICY_CONTINUE);
	b->chipset->pm_timer_read = shown(b);
	sleeps(&s, b, 0);
	assert_int_equal(wakes(&s, &config, VMT_POLICY_AUTO).policy, VMT_POLICY_FREEZE);
	config.movable = false;
	sleeps(&s, b, 0);
	assert_int_equal(wakes(&s, &config, VMT_POLICY_FREEZE).policy, VMT_POLICY_CONTINUE);
	end(&s, b);
}

/* Some thread has asked the clock before it was put right, of a TSC that counted on. */
static void what_was_shown_meanwhile_stays(void **state)
{
	struct suspend s;
	struct pause_config config;
	struct bench *b = running(&s, &config, DEADLINE);
	vmt_ns wrong;

	(void)state;
	sleeps(&s, b, SLEPT_NS / 1000000 * b->tsc.host.khz);
	wrong = chipset_hold(b->chipset);
	chipset_release(b->chipset);
	assert_true(wrong > s.last.now_ns + SLEPT_NS - MS); /* as the board counts */
	wakes(&s, &config, VMT_POLICY_FREEZE);
	assert_in_range(shown(b), wrong, wrong + 60 * NS_PER_S);
	assert_int_equal(b->chipset->board.late_now, 0);
	end(&s, b);
}

static void the_loop_keeps_its_phase(void **state)
{
	static const uint32_t policies[] = {VMT_POLICY_CONTINUE, VMT_POLICY_FREEZE};
	struct suspend s;
	struct pause_config config;
	struct bench *b = bench_on(true, true, true);
	uint64_t bound_ns;
	int64_t phase_ns;

	(void)state;
	memset(kvm, 0, sizeof(kvm));
	for (int cpu = 0; cpu < CPUS; cpu++)
		b->vcpus[cpu].fd = VCPU_FD + cpu;
	config = config_of(b);
	assert_int_equal(suspend_init(&s), 0);
	suspend_begin(&s, &config);
	for (int i = 0; i < 2; i++) {
		sleeps(&s, b, 0);
		wakes(&s, &config, policies[i]);
		tick(b); /* does not find that counter and clock have parted */
		assert_true(pvclock_phase(&b->p, &phase_ns, &bound_ns));
		assert_in_range(phase_ns + (int64_t)MS, 0, 2 * MS);
	}
	end(&s, b);
}

/* No machine that runs has such a clock; whoever is held must not be so for ever. */
static void a_clock_that_does_not_take_it_is_left_alone(void **state)
{
	struct suspend s;
	struct pause_config config;
	struct bench *b = running(&s, &config, DEADLINE);
	struct chipset_change change = {.kind = 77};
	struct vmt_clock before;
	struct why why = {{0}};
	uint64_t limit_ns;
	uint32_t clock;

	(void)state;
	chipset_hold(b->chipset);
	assert_int_equal(chipset_pause(b->chipset, hostclock_tsc()), 0);
	chipset_release(b->chipset);
	before = liveclock_get(&b->chipset->clock).clock;
	sleeps(&s, b, 0);
	assert_int_equal(
		suspend_end(&s, &config, VMT_POLICY_CONTINUE, &change, &limit_ns, &clock, &why),
		-EINVAL);
	assert_non_null(strstr(why.text, "cannot be put right"));
	assert_int_equal(change.kind, 77);
	assert_true(shown(b) == vmt_clock_now(&before, hostclock_tsc()));
	assert_false(suspend_noticed(&s) || config.gate->closed);
	assert_int_equal(
		suspend_end(&s, &config, VMT_POLICY_CONTINUE, &change, &limit_ns, &clock, &why), 1);
	end(&s, b);
}

static void *ask(void *arg)
{
	suspend_wait(arg);
	return NULL;
}

static void wait_until_told(const struct suspend *s)
{
	uint64_t count;

	while (read(s->fd, &count, sizeof(count)) != sizeof(count))
		sleep_ms(1);
}

static void who_would_show_time_is_held_until_it_is_right(void **state)
{
	struct suspend s;
	struct pause_config config;
	struct bench *b = running(&s, &config, DEADLINE);
	pthread_t asker;

	(void)state;
	suspend_wait(&s); /* there is nothing */
	sleeps(&s, b, 0);
	assert_int_equal(pthread_create(&asker, NULL, ask, &s), 0);
	wait_until_told(&s);
	wakes(&s, &config, VMT_POLICY_CONTINUE);
	pthread_join(asker, NULL);
	sleeps(&s, b, 0);
	assert_int_equal(pthread_create(&asker, NULL, ask, &s), 0);
	wait_until_told(&s);
	suspend_let_go(&s, true); /* the machine ends instead */
	pthread_join(asker, NULL);
	end(&s, b);
}

static void a_step_of_the_wall_clock_moves_utc_alone(void **state)
{
	struct suspend s;
	struct pause_config config;
	struct bench *b = running(&s, &config, DEADLINE);
	const struct vmt_clock before = liveclock_get(&b->chipset->clock).clock;
	struct chipset_change change;
	struct vmt_clock after;

	(void)state;
	assert_false(suspend_follow_utc(&s, &config, &change));
	s.utc_ns -= 3600 * (int64_t)NS_PER_S; /* the host's is an hour on */
	assert_true(suspend_follow_utc(&s, &config, &change));
	after = liveclock_get(&b->chipset->clock).clock;
	assert_int_equal(change.kind, VMT_CHANGE_STEP_UTC);
	assert_int_equal(change.before_ns, before.utc_offset_ns);
	assert_int_equal(change.after_ns, after.utc_offset_ns);
	assert_in_range(after.utc_offset_ns - before.utc_offset_ns, 3600 * NS_PER_S - 1000,
			3600 * NS_PER_S + 1000);
	assert_true(after.base_ns == before.base_ns && after.base_counter == before.base_counter);
	assert_false(suspend_follow_utc(&s, &config, &change));
	config.own_utc = true;
	s.utc_ns -= (int64_t)NS_PER_S;
	assert_false(suspend_follow_utc(&s, &config, &change));
	end(&s, b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(whether_or_not_the_tsc_counted_the_policy_decides),
		cmocka_unit_test(a_tsc_that_counted_rightly_is_not_moved),
		cmocka_unit_test(timers_that_count_down_go_on_only_if_time_did),
		cmocka_unit_test(auto_and_a_host_that_moves_no_tsc),
		cmocka_unit_test(what_was_shown_meanwhile_stays),
		cmocka_unit_test(the_loop_keeps_its_phase),
		cmocka_unit_test(a_clock_that_does_not_take_it_is_left_alone),
		cmocka_unit_test(who_would_show_time_is_held_until_it_is_right),
		cmocka_unit_test(a_step_of_the_wall_clock_moves_utc_alone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
