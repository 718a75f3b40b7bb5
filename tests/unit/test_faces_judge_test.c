/* SPDX-License-Identifier: Apache-2.0 */
/* test_faces_judge_test.c - machines whose clocks are right, and machines with one that is not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "cmd/test_faces_judge.h"

__extension__ typedef __int128 i128;

enum { KHZ = 2400000, MOST = 4000, US = 1000, MS = 1000000 };
static const int64_t second = 1000000000;

/* A machine for as long as a test: its readings so far. */
struct machine {
	struct faces_reading readings[MOST];
	size_t count;
	struct faces_hello hello;
	bool from_zero;
	const char *clocksource;
	uint64_t limit_ns, tsc_khz, tick_ns;
	struct faces_result result;
};

static struct machine m;

static int start(void **state)
{
	(void)state;
	faces_result_free(&m.result); /* of a case before */
	memset(&m, 0, sizeof(m));
	m.tsc_khz = KHZ;
	m.hello = (struct faces_hello){
		.cpus = 1, .tsc_khz = KHZ, .bus_khz = 1000000, .pm_bits = 24, .hpet_fs = 10000000};
	return 0;
}

static int end(void **state)
{
	(void)state;
	faces_result_free(&m.result);
	return 0;
}

/* What a face shows when its own time is `ns`. */
static uint64_t shown(enum faces_face face, int64_t ns)
{
	const i128 t = ns;

	switch (face) {
	case FACES_PIT:
		return (uint64_t)(65536 - t * 1193182 / 1000000000 % 65536) % 65536;
	case FACES_RTC:
		return (uint64_t)(t / 1000000000 % 60);
	case FACES_HPET:
		return (uint64_t)(t / 10) & UINT32_MAX;
	case FACES_PM:
		return (uint64_t)(t * 3579545 / 1000000000) & ((1ULL << m.hello.pm_bits) - 1);
	case FACES_LAPIC:
		return (uint64_t)(UINT32_MAX - t / 16 % UINT32_MAX);
	case FACES_TSC:
		return (uint64_t)(t * KHZ / 1000000);
	default:
		return (uint64_t)t;
	}
}

/* A reading in the middle of [at - half, at + half] that sees the face's own time as `ns`. */
static void read_as(enum faces_face face, uint32_t cpu, int64_t at_ns, int64_t half_ns, int64_t ns)
{
	uint64_t before = (uint64_t)((i128)(at_ns - half_ns) * KHZ / 1000000);

	assert_in_range(m.count, 0, MOST - 1);
	m.readings[m.count++] =
		(struct faces_reading){.face = face,
				       .cpu = cpu,
				       .before = before,
				       .width = (uint64_t)((i128)(2 * half_ns) * KHZ / 1000000),
				       .value = shown(face, ns)};
}

/* Ten seconds, ten times a second, a bracket of +-20 us; the face began `phase` before the TSC and
 * gains `ppb`. */
static void run_face(enum faces_face face, uint32_t cpu, int64_t phase_ns, int64_t ppb)
{
	for (int i = 1; i <= 100; i++) {
		int64_t at = i * second / 10 + i % 7 * MS;

		if (face == FACES_RTC) { /* seen at the edge */
			if (i % 10)
				continue;
			at = i / 10 * second - phase_ns % second;
		}
		read_as(face, cpu, at, 20 * US, at + phase_ns + (int64_t)((i128)at * ppb / second));
	}
}

static int by_time(const void *a, const void *b)
{
	const struct faces_reading *x = a, *y = b;

	return (x->before > y->before) - (x->before < y->before);
}

/* Of what was read so far, as one CPU after the other read it. */
static void judge(void)
{
	const struct faces_input input = {.hello = m.hello,
					  .readings = m.readings,
					  .count = m.count,
					  .tsc_khz = m.tsc_khz,
					  .from_zero = m.from_zero,
					  .clocksource = m.clocksource,
					  .tick_ns = m.tick_ns,
					  .limit_ns = m.limit_ns};

	qsort(m.readings, m.count, sizeof(m.readings[0]), by_time);
	faces_result_free(&m.result);
	assert_int_equal(faces_judge(&input, &m.result), 0);
}

static const struct faces_row *row_of(enum faces_face face, uint32_t cpu)
{
	for (size_t i = 0; i < m.result.row_count; i++)
		if (m.result.rows[i].face == face && m.result.rows[i].cpu == cpu)
			return &m.result.rows[i];
	fail_msg("no row of %s on CPU %u", faces_names[face], cpu);
	return NULL;
}

static const struct faces_pair *pair_of(enum faces_face a, enum faces_face b)
{
	for (size_t i = 0; i < m.result.pair_count; i++)
		if (m.result.pairs[i].a == a && m.result.pairs[i].b == b)
			return &m.result.pairs[i];
	fail_msg("no pair of %s and %s", faces_names[a], faces_names[b]);
	return NULL;
}

static void right_clocks_pass_with_all_their_wraps(void **state)
{
	(void)state;
	for (int face = 0; face < FACES_COUNT; face++)
		run_face((enum faces_face)face, 0, face == FACES_TSC ? 0 : face * 777LL * MS, 0);
	judge();
	assert_int_equal(m.result.row_count, FACES_COUNT);
	assert_int_equal(m.result.pair_count, FACES_PAIRS);
	for (size_t i = 0; i < m.result.row_count; i++) {
		const struct faces_row *row = &m.result.rows[i];

		assert_int_equal(row->verdict, JUDGE_PASS);
		assert_int_equal(row->backward_steps, 0);
		assert_int_equal(row->reads, row->face == FACES_RTC ? 10 : 100);
		assert_in_range(llabs(row->worst_error_ns), 0, row->quantum_ns);
		assert_in_range(row->bracket_ns, 20 * US, 20 * US + 2);
		assert_true(row->has_rate == (row->face != FACES_TSC));
		assert_in_range(llabs(row->rate_error_ppb), 0, 50);
	}
	for (size_t i = 0; i < m.result.pair_count; i++)
		assert_int_equal(m.result.pairs[i].verdict, JUDGE_PASS);
	assert_int_equal(row_of(FACES_PIT, 0)->quantum_ns, 839);
	assert_int_equal(row_of(FACES_PM, 0)->quantum_ns, 280);
	assert_int_equal(row_of(FACES_HPET, 0)->quantum_ns, 10);
}

static void a_face_that_runs_a_percent_fast_fails(void **state)
{
	static const enum faces_face faces[] = {FACES_PIT, FACES_RTC, FACES_HPET, FACES_PM,
						FACES_KVM_CLOCK};

	(void)state;
	for (size_t i = 0; i < sizeof(faces) / sizeof(faces[0]); i++) {
		start(NULL);
		run_face(FACES_TSC, 0, 0, 0);
		if (faces[i] == FACES_RTC) /* each of its seconds comes 10 ms early */
			for (int s = 1; s <= 10; s++)
				read_as(FACES_RTC, 0, s * (second - 10 * MS), 20 * US, s * second);
		else
			run_face(faces[i], 0, 0, 10 * MS);
		judge();
		assert_int_equal(row_of(faces[i], 0)->verdict, JUDGE_FAIL);
		assert_in_range(row_of(faces[i], 0)->rate_error_ppb, 9900 * US, 10200 * US);
		assert_in_range(llabs(row_of(faces[i], 0)->worst_error_ns), 40 * MS, 60 * MS);
		assert_int_equal(row_of(FACES_TSC, 0)->verdict, JUDGE_PASS);
		assert_int_equal(m.result.pairs[0].verdict, JUDGE_FAIL);
	}
}

static void two_that_drift_together_agree(void **state)
{
	(void)state;
	run_face(FACES_HPET, 0, 5 * second, 20 * US);
	run_face(FACES_PM, 0, 0, 20 * US);
	run_face(FACES_KVM_CLOCK, 0, 0, 0);
	judge();
	assert_int_equal(row_of(FACES_HPET, 0)->verdict, JUDGE_FAIL);
	assert_int_equal(row_of(FACES_PM, 0)->verdict, JUDGE_FAIL);
	assert_int_equal(row_of(FACES_KVM_CLOCK, 0)->verdict, JUDGE_PASS);
	assert_int_equal(pair_of(FACES_HPET, FACES_PM)->verdict, JUDGE_PASS);
	assert_in_range(pair_of(FACES_HPET, FACES_PM)->allowed_ns, 40290, 40294);
	assert_int_equal(pair_of(FACES_HPET, FACES_KVM_CLOCK)->verdict, JUDGE_FAIL);
	assert_int_equal(pair_of(FACES_PM, FACES_KVM_CLOCK)->verdict, JUDGE_FAIL);
}

/* 41 us within a bracket of 20: certain.  39: it may have been the reading. */
static void what_a_bracket_can_explain_passes(void **state)
{
	const struct {
		int64_t jump_ns;
		enum judge_verdict verdict;
	} cases[] = {{39 * US, JUDGE_PASS}, {42 * US, JUDGE_FAIL}};

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		start(NULL);
		run_face(FACES_KVM_CLOCK, 0, 0, 0);
		for (int n = 0; n < 100; n++)
			read_as(FACES_KVM_CLOCK, 0, (11 + n) * second, 20 * US,
				(11 + n) * second + cases[i].jump_ns);
		judge();
		assert_int_equal(row_of(FACES_KVM_CLOCK, 0)->verdict, cases[i].verdict);
	}
	assert_in_range(row_of(FACES_KVM_CLOCK, 0)->worst_error_ns + 22 * US, 0, 44 * US);
}

/* A reading that was interrupted for a second says little, and nothing wrong. */
static void a_disturbed_reading_does_not_count(void **state)
{
	(void)state;
	run_face(FACES_PM, 0, 0, 0);
	read_as(FACES_PM, 0, 12 * second, 500 * MS, 12 * second + 499 * MS);
	judge();
	assert_int_equal(row_of(FACES_PM, 0)->verdict, JUDGE_PASS);
	assert_in_range(row_of(FACES_PM, 0)->bracket_ns, 20 * US, 20 * US + 2);
}

static void a_step_back_fails_however_small(void **state)
{
	(void)state;
	for (int i = 0; i < 50; i++)
		read_as(FACES_PM, 0, second + i * 50 * US, 20 * US, second + i * 50 * US);
	judge();
	assert_int_equal(row_of(FACES_PM, 0)->backward_steps, 0);
	assert_int_equal(row_of(FACES_PM, 0)->verdict, JUDGE_PASS);
	read_as(FACES_PM, 1, second + 2450 * US + 1000, 20 * US, second + 2450 * US - 1000);
	judge(); /* on whichever CPU that is seen */
	assert_int_equal(row_of(FACES_PM, 0)->backward_steps, 0);
	assert_int_equal(row_of(FACES_PM, 1)->backward_steps, 1);
	assert_int_equal(row_of(FACES_PM, 1)->verdict, JUDGE_FAIL);
}

/* A counter that wraps just there has not stepped back; one that steps back over its wrap has. */
static void a_wrap_is_no_step_back(void **state)
{
	const int64_t wrap = (int64_t)((i128)65536 * 1000000000 / 1193182);

	(void)state;
	read_as(FACES_PIT, 0, second, 5 * US, wrap - 10 * US);
	read_as(FACES_PIT, 0, second + 20 * US, 5 * US, wrap + 10 * US);
	read_as(FACES_PIT, 0, second + 40 * US, 5 * US, wrap + 30 * US);
	judge();
	assert_int_equal(row_of(FACES_PIT, 0)->backward_steps, 0);
	assert_int_equal(row_of(FACES_PIT, 0)->verdict, JUDGE_PASS);
	read_as(FACES_PIT, 0, second + 60 * US, 5 * US, wrap - 5 * US);
	judge();
	assert_int_equal(row_of(FACES_PIT, 0)->backward_steps, 1);
}

/* What began with the TSC has no phase to choose. */
static void a_pm_timer_that_began_late_fails_where_the_start_is_known(void **state)
{
	(void)state;
	run_face(FACES_PM, 0, -100 * US, 0);
	judge();
	assert_int_equal(row_of(FACES_PM, 0)->verdict, JUDGE_PASS);
	m.from_zero = true;
	judge();
	assert_int_equal(row_of(FACES_PM, 0)->verdict, JUDGE_FAIL);
	assert_in_range(row_of(FACES_PM, 0)->worst_error_ns + 101 * US, 0, 2 * US);
}

/* One that jumps by 2^24 ticks has jumped if it has 32 bits. */
static void a_wide_pm_timer_is_not_cut(void **state)
{
	const int64_t turn = (int64_t)(((i128)1 << 24) * 1000000000 / 3579545);

	(void)state;
	m.hello.pm_bits = 32;
	m.from_zero = true;
	run_face(FACES_PM, 0, 0, 0);
	judge();
	assert_int_equal(row_of(FACES_PM, 0)->verdict, JUDGE_PASS);
	assert_in_range(llabs(row_of(FACES_PM, 0)->worst_error_ns), 0, 150); /* half a tick */
	read_as(FACES_PM, 0, 11 * second, 20 * US, 11 * second + turn);
	judge();
	assert_int_equal(row_of(FACES_PM, 0)->verdict, JUDGE_FAIL);
}

static void a_tsc_that_is_off_on_one_cpu_fails(void **state)
{
	(void)state;
	run_face(FACES_TSC, 0, 0, 0);
	run_face(FACES_TSC, 3, 100 * US, 0);
	run_face(FACES_KVM_CLOCK, 0, 0, 0);
	run_face(FACES_KVM_CLOCK, 3, 0, 0); /* by its own TSC */
	judge();
	assert_int_equal(row_of(FACES_KVM_CLOCK, 3)->verdict, JUDGE_PASS);
	assert_int_equal(pair_of(FACES_TSC, FACES_KVM_CLOCK)->verdict, JUDGE_PASS);
	assert_int_equal(row_of(FACES_TSC, 0)->verdict, JUDGE_PASS);
	assert_int_equal(row_of(FACES_TSC, 3)->verdict, JUDGE_FAIL);
	assert_in_range(row_of(FACES_TSC, 3)->worst_error_ns - 100 * US + US, 0, 2 * US);
}

/* The PIT is one for all CPUs, so are its phase and its order; each LAPIC began when it did. */
static void phases_are_of_the_machine_or_of_the_cpu(void **state)
{
	(void)state;
	run_face(FACES_LAPIC, 0, 0, 0);
	run_face(FACES_LAPIC, 1, 300 * MS, 0);
	run_face(FACES_KVM_CLOCK, 0, 0, 0);
	run_face(FACES_KVM_CLOCK, 1, 0, 0);
	judge();
	assert_int_equal(row_of(FACES_LAPIC, 0)->verdict, JUDGE_PASS);
	assert_int_equal(row_of(FACES_LAPIC, 1)->verdict, JUDGE_PASS);
	assert_int_equal(row_of(FACES_KVM_CLOCK, 1)->verdict, JUDGE_PASS);
	assert_int_equal(pair_of(FACES_LAPIC, FACES_KVM_CLOCK)->verdict, JUDGE_PASS);
	start(NULL);
	run_face(FACES_PIT, 0, 0, 0);
	run_face(FACES_PIT, 1, 10 * MS, 0);
	judge();
	assert_int_equal(row_of(FACES_PIT, 0)->verdict, JUDGE_FAIL);
	assert_int_equal(row_of(FACES_PIT, 1)->verdict, JUDGE_FAIL);
}

/* The host kernel's clock may be slewed by up to 500 ppm; a percent is no slew. */
static void a_lapic_timer_may_follow_the_hosts_clock(void **state)
{
	(void)state;
	run_face(FACES_LAPIC, 0, 0, 400 * US);
	run_face(FACES_TSC, 0, 0, 0);
	judge();
	assert_int_equal(row_of(FACES_LAPIC, 0)->verdict, JUDGE_PASS);
	assert_in_range(row_of(FACES_LAPIC, 0)->rate_error_ppb, 399 * US, 401 * US);
	assert_int_equal(pair_of(FACES_LAPIC, FACES_TSC)->verdict, JUDGE_PASS);
	start(NULL);
	run_face(FACES_LAPIC, 0, 0, 10 * MS);
	judge();
	assert_int_equal(row_of(FACES_LAPIC, 0)->verdict, JUDGE_FAIL);
}

/* On kvm-clock Linux has nothing to be wrong about: 2 ppm are 18 us in the end. */
static void on_kvm_clock_the_clocks_of_linux_have_its_rate(void **state)
{
	(void)state;
	run_face(FACES_MONOTONIC, 0, 0, 0);
	run_face(FACES_REALTIME, 0, 1795670713LL * second, 0); /* a date */
	run_face(FACES_TSC, 0, 0, 0);
	judge();
	assert_int_equal(row_of(FACES_MONOTONIC, 0)->verdict, JUDGE_PASS);
	assert_int_equal(row_of(FACES_REALTIME, 0)->verdict, JUDGE_PASS);
	assert_true(row_of(FACES_REALTIME, 0)->has_rate);
	assert_int_equal(row_of(FACES_MONOTONIC, 0)->quantum_ns, 1);
	assert_int_equal(pair_of(FACES_REALTIME, FACES_MONOTONIC)->verdict, JUDGE_PASS);
	start(NULL);
	run_face(FACES_MONOTONIC, 0, 0, 10 * US);
	judge();
	assert_int_equal(row_of(FACES_MONOTONIC, 0)->verdict, JUDGE_FAIL);
	start(NULL);
	m.clocksource = "kvm-clock";
	run_face(FACES_MONOTONIC, 0, 0, 10 * US);
	judge();
	assert_int_equal(row_of(FACES_MONOTONIC, 0)->verdict, JUDGE_FAIL);
}

/* A minute of +-100 ns readings, where brackets make nothing of a rate. */
static void run_tightly(enum faces_face face, uint32_t cpu, int64_t phase_ns, int64_t ppb)
{
	for (int i = 1; i <= 600; i++) {
		int64_t at = i * second / 10;

		read_as(face, cpu, at, 100, at + phase_ns + (int64_t)((i128)at * ppb / second));
	}
}

/* 300 ppb too fast is 18 us in a minute: the kernel's rounding, on whichever CPU it is read. */
static void on_others_linux_may_be_a_little_wrong_about_the_rate(void **state)
{
	(void)state;
	m.clocksource = "tsc";
	run_tightly(FACES_REALTIME, 0, 1795670713LL * second, 300);
	run_tightly(FACES_REALTIME, 1, 1795670713LL * second, 300);
	run_tightly(FACES_KVM_CLOCK, 0, 0, 0);
	judge();
	for (uint32_t cpu = 0; cpu < 2; cpu++) {
		assert_int_equal(row_of(FACES_REALTIME, cpu)->verdict, JUDGE_PASS);
		assert_in_range(row_of(FACES_REALTIME, cpu)->rate_error_ppb, 290, 310);
		assert_in_range(llabs(row_of(FACES_REALTIME, cpu)->worst_error_ns), 0, 10);
	}
	assert_int_equal(pair_of(FACES_KVM_CLOCK, FACES_REALTIME)->verdict, JUDGE_PASS);
	start(NULL);
	m.clocksource = "tsc"; /* 500 ppb, half a kHz, and what the brackets make: some 5 ppb */
	run_tightly(FACES_REALTIME, 0, 0, 730);
	judge();
	assert_int_equal(row_of(FACES_REALTIME, 0)->verdict, JUDGE_FAIL);
	assert_false(row_of(FACES_REALTIME, 0)->rate_is_good);
}

/* Fitting takes a slope away, not a step. */
static void a_step_of_linux_own_clock_is_no_rate(void **state)
{
	(void)state;
	m.clocksource = "tsc";
	for (int i = 1; i <= 100; i++)
		read_as(FACES_REALTIME, 0, i * second / 10, 100,
			i * second / 10 + (i > 50 ? MS : 0));
	judge();
	assert_int_equal(row_of(FACES_REALTIME, 0)->verdict, JUDGE_FAIL);
}

static void the_quantum_of_linux_clocks_is_its_clock_sources(void **state)
{
	static const struct {
		const char *clocksource;
		uint64_t quantum_ns;
	} cases[] = {{"kvm-clock", 1}, {"tsc", 1},           {"hpet", 10},
		     {"acpi_pm", 280}, {"jiffies", 4000000}, {"refined-jiffies", 4000000}};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		start(NULL);
		m.clocksource = cases[i].clocksource;
		m.tick_ns = 4000000;
		run_face(FACES_BOOTTIME, 0, 0, 0);
		judge();
		assert_int_equal(row_of(FACES_BOOTTIME, 0)->quantum_ns, cases[i].quantum_ns);
		assert_int_equal(row_of(FACES_BOOTTIME, 0)->verdict, JUDGE_PASS);
	}
}

static void another_limit_counts_instead_of_the_quantum(void **state)
{
	(void)state;
	run_face(FACES_HPET, 0, 0, 50 * US);
	judge();
	assert_int_equal(row_of(FACES_HPET, 0)->verdict, JUDGE_FAIL);
	m.limit_ns = MS;
	judge();
	assert_int_equal(row_of(FACES_HPET, 0)->verdict, JUDGE_PASS);
	assert_int_equal(row_of(FACES_HPET, 0)->quantum_ns, 10);
}

static void two_readings_are_no_measurement(void **state)
{
	(void)state;
	read_as(FACES_RTC, 0, second, 50 * US, 5 * second);
	read_as(FACES_RTC, 0, 2 * second, 50 * US, 6 * second);
	read_as(FACES_PM, 0, 2 * second + MS, 50 * US, 6 * second);
	judge();
	assert_int_equal(row_of(FACES_RTC, 0)->verdict, JUDGE_SKIP);
	assert_false(row_of(FACES_RTC, 0)->has_rate);
	assert_int_equal(pair_of(FACES_RTC, FACES_PM)->verdict, JUDGE_SKIP);
	start(NULL);
	run_face(FACES_PM, 0, 0, 0);
	for (int i = 1; i < 9; i++) /* two seconds after the last of the other at least */
		read_as(FACES_HPET, 0, (13 + i) * second, 50 * US, i * second);
	judge();
	assert_int_equal(pair_of(FACES_HPET, FACES_PM)->verdict, JUDGE_SKIP);
	m.count = 0;
	judge();
	assert_int_equal(m.result.row_count + m.result.pair_count, 0);
}

/* Four edges of +-1 ms over three seconds: the rate could be anything within 600 ppm. */
static void a_rate_that_is_not_known_is_not_told(void **state)
{
	(void)state;
	for (int i = 1; i <= 4; i++)
		read_as(FACES_RTC, 0, i * second, MS, i * second);
	judge();
	assert_false(row_of(FACES_RTC, 0)->has_rate);
	start(NULL);
	for (int i = 1; i <= 4; i++) /* but a percent is */
		read_as(FACES_RTC, 0, i * second - i * 10 * MS, MS, i * second);
	judge();
	assert_true(row_of(FACES_RTC, 0)->has_rate);
}

/* Whatever a guest sends: the sanitizers watch. */
static void the_greatest_numbers_do_not_overflow(void **state)
{
	static const uint64_t values[] = {0, FACES_MOST, 1, FACES_MOST - 1};

	(void)state;
	m.hello.bus_khz = 1;
	m.hello.hpet_fs = 100000000;
	for (int i = 0; i < 8; i++)
		for (int face = 0; face < FACES_COUNT; face++)
			m.readings[m.count++] =
				(struct faces_reading){.face = (enum faces_face)face,
						       .before = values[(i + face) % 4],
						       .width = values[i / 2 % 4],
						       .value = values[(i * 3 + face) % 4]};
	m.tsc_khz = FACES_LEAST_KHZ;
	judge();
	assert_int_equal(m.result.row_count, FACES_COUNT);
}

static void the_frequency_is_the_one_that_the_guest_is_told(void **state)
{
	struct faces_hello h = {.kvm_mul = 0xb0f7705b, .kvm_shift = -1};

	(void)state;
	assert_int_equal(faces_tsc_khz(&h, 1), 2893202);
	h = (struct faces_hello){.kvm_mul = 0xd55566cf, .kvm_shift = -1};
	assert_int_equal(faces_tsc_khz(&h, 1), 2399997);
	h = (struct faces_hello){.kvm_mul = 0x80000000, .kvm_shift = 1};
	assert_int_equal(faces_tsc_khz(&h, 1), 1000000);
	h.tsc_khz = 2000000;
	assert_int_equal(faces_tsc_khz(&h, 1), 2000000);
	assert_int_equal(faces_tsc_khz(&(struct faces_hello){0}, 2399999501), 2400000);
	h = (struct faces_hello){.kvm_mul = 0x80000000, .kvm_shift = 10}; /* 2 MHz */
	assert_int_equal(faces_tsc_khz(&h, 2399999501), 0);
	h = (struct faces_hello){.kvm_mul = 1, .kvm_shift = 99}; /* nonsense */
	assert_int_equal(faces_tsc_khz(&h, 2399999501), 2400000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(right_clocks_pass_with_all_their_wraps, start, end),
		cmocka_unit_test_setup_teardown(a_face_that_runs_a_percent_fast_fails, start, end),
		cmocka_unit_test_setup_teardown(two_that_drift_together_agree, start, end),
		cmocka_unit_test_setup_teardown(what_a_bracket_can_explain_passes, start, end),
		cmocka_unit_test_setup_teardown(a_disturbed_reading_does_not_count, start, end),
		cmocka_unit_test_setup_teardown(a_step_back_fails_however_small, start, end),
		cmocka_unit_test_setup_teardown(a_wrap_is_no_step_back, start, end),
		cmocka_unit_test_setup_teardown(
			a_pm_timer_that_began_late_fails_where_the_start_is_known, start, end),
		cmocka_unit_test_setup_teardown(a_wide_pm_timer_is_not_cut, start, end),
		cmocka_unit_test_setup_teardown(a_tsc_that_is_off_on_one_cpu_fails, start, end),
		cmocka_unit_test_setup_teardown(phases_are_of_the_machine_or_of_the_cpu, start,
						end),
		cmocka_unit_test_setup_teardown(a_lapic_timer_may_follow_the_hosts_clock, start,
						end),
		cmocka_unit_test_setup_teardown(on_kvm_clock_the_clocks_of_linux_have_its_rate,
						start, end),
		cmocka_unit_test_setup_teardown(
			on_others_linux_may_be_a_little_wrong_about_the_rate, start, end),
		cmocka_unit_test_setup_teardown(a_step_of_linux_own_clock_is_no_rate, start, end),
		cmocka_unit_test_setup_teardown(the_quantum_of_linux_clocks_is_its_clock_sources,
						start, end),
		cmocka_unit_test_setup_teardown(another_limit_counts_instead_of_the_quantum, start,
						end),
		cmocka_unit_test_setup_teardown(two_readings_are_no_measurement, start, end),
		cmocka_unit_test_setup_teardown(a_rate_that_is_not_known_is_not_told, start, end),
		cmocka_unit_test_setup_teardown(the_greatest_numbers_do_not_overflow, start, end),
		cmocka_unit_test(the_frequency_is_the_one_that_the_guest_is_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
