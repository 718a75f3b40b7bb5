/* SPDX-License-Identifier: Apache-2.0 */
/* machine_gap_test.c - a machine that has come cannot run at once: what becomes of the time until
 * it does, after what was made of the time before. */
#include "../machine_bench.h"
#include <stdio.h>

#define MS INT64_C(1000000)
#define S (1000 * MS)
#define FIRST (100 * MS) /* by so much its time has gone on ... */
#define REST (200 * MS)  /* ... and stands since then, at least */
#define LATE (3 * MS)    /* it was so late beside the clock of the host that it left */

static struct come {
	struct machine *m;
	struct machine_config config;
	uint64_t came_ns;
	vmt_ns stood; /* its time */
} come;

/* What a person is told. */
static char told[512];
static unsigned n_told;

static void on_notice(void *owner, const char *text)
{
	(void)owner;
	n_told++;
	snprintf(told, sizeof(told), "%s", text);
}

static const struct machine_watch listener = {.notice = on_notice};

/* The host's clocks `ns` ago. */
static struct pause_instant instant_ago(const struct machine *m, int64_t ns)
{
	const uint64_t counts = (uint64_t)ns / 1000000 * m->tsc.host.khz;
	struct pause_instant i;

	assert_int_equal(pause_look(false, m->tsc.host.khz, &i), 0);
	i.tsc -= counts;
	i.at.counter -= (uint64_t)ns; /* it is the host's clock */
	i.at.utc_ns -= ns;
	i.host.counter -= counts;
	i.host.host_ns -= (uint64_t)ns;
	return i;
}

/* As machine_load() and machine_begin() leave it: its time went on by FIRST, or froze, where its
 * guest could take a gap of `limit_ns`; that was REST ago. */
static struct machine *came(enum vmt_policy wished, enum vmt_policy first, int64_t limit_ns)
{
	struct machine *m = bench_new();
	const struct vmt_clock saved = liveclock_get(&m->chipset.clock).clock;
	const int64_t passed_ns = first == VMT_POLICY_CONTINUE ? FIRST : 0;
	struct pause_config config;

	come = (struct come){.m = m, .config = *m->config, .came_ns = hostclock_monotonic_ns()};
	come.config.on_migrate = wished;
	m->config = &come.config;
	m->migrates = m->running = true;
	m->watch = &listener;
	n_told = 0;
	m->tsc_host.tsc_class = PROBE_TSC_OFFSET;
	bench_show_clock(m);
	gate_open(&m->gate); /* nobody holds it */
	assert_int_equal(memory_create(BENCH_SIZE, &m->memory, NULL), 0);
	assert_int_equal(suspend_init(&m->suspend), 0);
	m->pause.from = instant_ago(m, REST);
	m->arrived.passed_ns = (uint64_t)passed_ns;
	m->arrived.limit_ns = (uint64_t)limit_ns;
	m->arrived.late_ns = LATE;
	assert_int_equal(vmt_clock_load(&saved, S, &m->pause.from.at, VMT_POLICY_FREEZE, 0,
					&m->arrived.clock, NULL),
			 0);
	m->arrived.clock.base_ns += (uint64_t)passed_ns;
	come.stood = m->arrived.clock.base_ns;
	config = machine_pause_config(m);
	assert_int_equal(
		pause_begin_at(&m->pause, &config, &m->pause.from, &m->arrived.clock, NULL), 0);
	m->chipset.change = (struct chipset_change){
		.kind = CHIPSET_CHANGE_MIGRATE,
		.policy = first,
		.gap_ns = FIRST,
		.before_ns = 7,
		.after_ns = (int64_t)come.stood,
		.tsc_ppb = 5,
	};
	return m;
}

static void gone(struct machine *m)
{
	suspend_destroy(&m->suspend);
	memory_destroy(&m->memory);
	pthread_mutex_destroy(&m->pvclock.lock);
	gate_destroy(&m->gate);
	bench_free(m);
}

/* How long it stood, at most. */
static uint64_t most_ns(void)
{
	return REST + hostclock_monotonic_ns() - come.came_ns;
}

static const struct chipset_change *ends(struct machine *m)
{
	struct why why = {""};

	if (machine_end_gap(m, &why) < 0)
		fail_msg("%s", why.text);
	assert_false(m->pause.paused || m->gate.closed);
	return &m->chipset.change;
}

/* One gap to who is told, and the rest of what became of it as it was. */
static void it_is_one_gap(const struct chipset_change *change, enum vmt_policy policy)
{
	assert_int_equal(change->kind, CHIPSET_CHANGE_MIGRATE);
	assert_int_equal(change->policy, policy);
	assert_in_range(change->gap_ns, FIRST + REST, FIRST + most_ns());
	assert_int_equal(change->before_ns, 7);
	assert_int_equal(change->tsc_ppb, 5);
	assert_int_equal(change->at_ns, change->after_ns);
	assert_int_equal(n_told, 0); /* of what it was wished to be */
}

/* By what the guest can still take, after the FIRST. */
static void time_goes_on_until_it_runs(void **state)
{
	static const struct {
		enum vmt_policy wished;
		int64_t limit_ns;
	} cases[] = {{VMT_POLICY_CONTINUE, 0}, {VMT_POLICY_AUTO, 3600 * S}};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct machine *m = came(cases[i].wished, VMT_POLICY_CONTINUE, cases[i].limit_ns);
		const struct chipset_change *change = ends(m);

		it_is_one_gap(change, VMT_POLICY_CONTINUE);
		assert_in_range(change->after_ns, come.stood + REST, come.stood + most_ns());
		assert_true(chipset_now(&m->chipset) >= (vmt_ns)change->after_ns);
		assert_int_equal(m->pvclock.loop.start_ns, 0);
		gone(m);
	}
}

/* UTC is the host's all the same. */
static void what_froze_stands_until_it_runs(void **state)
{
	static const enum vmt_policy wished[] = {VMT_POLICY_CONTINUE, VMT_POLICY_FREEZE,
						 VMT_POLICY_AUTO};

	(void)state;
	for (size_t i = 0; i < sizeof(wished) / sizeof(wished[0]); i++) {
		struct machine *m = came(wished[i], VMT_POLICY_FREEZE, 3600 * S);
		const int64_t utc_ns = hostclock_realtime_ns();
		const struct chipset_change *change = ends(m);

		it_is_one_gap(change, VMT_POLICY_FREEZE);
		assert_int_equal(change->after_ns, come.stood);
		/* Read in a bracket. */
		assert_in_range(change->utc_after_ns + change->after_ns - utc_ns + MS, 0,
				most_ns() - REST + 2 * MS);
		gone(m);
	}
}

/* The loop that keeps it to the host's clock begins anew where it is, and it still owes what it did
 * before. */
static void the_rest_freezes_where_the_guest_cannot_take_both(void **state)
{
	struct machine *m = came(VMT_POLICY_AUTO, VMT_POLICY_CONTINUE, FIRST + REST / 2);
	const struct chipset_change *change = ends(m);

	(void)state;
	assert_int_equal(change->policy, VMT_POLICY_CONTINUE);
	assert_int_equal(change->gap_ns, FIRST);
	assert_int_equal(change->after_ns, come.stood);
	assert_int_equal(change->before_ns, 7);
	assert_int_equal(m->pvclock.loop.start_ns, LATE);
	gone(m);
}

/* It has two halves by then, of which the change is one. */
static void a_gap_in_two_parts_is_told_with_both(void **state)
{
	struct machine *m = came(VMT_POLICY_AUTO, VMT_POLICY_CONTINUE, FIRST + REST / 2);
	unsigned long rest_ms, first_ms;
	int end = 0;

	(void)state;
	(void)ends(m);
	assert_int_equal(n_told, 1);
	(void)sscanf(told,
		     "the machine could not run before %lu ms after its time had gone on by %lu "
		     "ms: its clocks stood still for these, since they cannot show both%n",
		     &rest_ms, &first_ms, &end);
	if (end == 0 || told[end])
		fail_msg("%s", told);
	assert_int_equal(first_ms, FIRST / MS);
	assert_in_range(rest_ms, REST / MS, most_ns() / (uint64_t)MS);
	gone(m);
}

static void where_nobody_listens_nobody_is_told(void **state)
{
	struct machine *m = came(VMT_POLICY_AUTO, VMT_POLICY_CONTINUE, FIRST + REST / 2);

	(void)state;
	m->watch = NULL;
	assert_int_equal(ends(m)->after_ns, come.stood);
	assert_int_equal(n_told, 0);
	gone(m);
}

static void a_file_has_a_policy_of_its_own(void **state)
{
	struct machine *m = came(VMT_POLICY_CONTINUE, VMT_POLICY_CONTINUE, 3600 * S);

	(void)state;
	m->migrates = false;
	come.config.on_restore = VMT_POLICY_FREEZE;
	assert_int_equal(ends(m)->after_ns, come.stood);
	gone(m);
}

static void who_stood_there_stands_here(void **state)
{
	struct machine *m = came(VMT_POLICY_CONTINUE, VMT_POLICY_CONTINUE, 3600 * S);

	(void)state;
	m->stands = true;
	assert_int_equal(machine_end_gap(m, NULL), 0);
	assert_true(m->pause.paused && m->gate.closed);
	assert_int_equal(m->chipset.change.gap_ns, FIRST);
	gone(m);
}

/* A CPU's timer, or its TSC: who gave it here may give it to another host yet. */
static void what_kvm_refuses_leaves_it_standing(void **state)
{
	static const struct {
		enum vmt_policy policy;
		unsigned long refuses;
		const char *words;
	} cases[] = {
		{VMT_POLICY_CONTINUE, KVM_SET_LAPIC, "KVM does not take a CPU's timer"},
		{VMT_POLICY_FREEZE, KVM_SET_DEVICE_ATTR, "KVM does not take time back from a CPU"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct machine *m = came(cases[i].policy, cases[i].policy, 3600 * S);
		struct why why = {""};

		bench.refuses = cases[i].refuses;
		assert_int_equal(machine_end_gap(m, &why), -EIO);
		if (!strstr(why.text, cases[i].words))
			fail_msg("%s", why.text);
		assert_true(m->pause.paused && m->gate.closed);
		assert_int_equal(m->chipset.change.gap_ns, FIRST);
		bench.refuses = 0;
		it_is_one_gap(ends(m), cases[i].policy);
		gone(m);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(time_goes_on_until_it_runs),
		cmocka_unit_test(what_froze_stands_until_it_runs),
		cmocka_unit_test(the_rest_freezes_where_the_guest_cannot_take_both),
		cmocka_unit_test(a_gap_in_two_parts_is_told_with_both),
		cmocka_unit_test(where_nobody_listens_nobody_is_told),
		cmocka_unit_test(a_file_has_a_policy_of_its_own),
		cmocka_unit_test(who_stood_there_stands_here),
		cmocka_unit_test(what_kvm_refuses_leaves_it_standing),
	};

	return cmocka_run_group_tests_name("machine_gap", tests, NULL, NULL);
}
