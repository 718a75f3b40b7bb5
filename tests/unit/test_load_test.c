/* SPDX-License-Identifier: Apache-2.0 */
/* test_load_test.c - which of a guest's readings are set against which counts of its threads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

#include "cmd/test_load.h"

#define MS UINT64_C(1000000)
#define SECOND (1000 * MS)

enum { CPUS = 2, NOTES = 600, READINGS = 300 };

/* Two CPUs, read in turn each 100 ms for 30 s; counts noted each 50 ms; the load from 12 s to 22 s.
 * Each thread waits for 80 % of the load, and for `noise_ns` in one go soon after the beginning and
 * again just before the load; the guest shows all that `late_ns` later. */
struct guest {
	struct test_load load;
	struct test_stream stream;
	struct test_waits waits[NOTES];
	uint64_t counts[NOTES][CPUS];
	struct test_reading readings[READINGS];
};

static uint64_t waited_ns(uint64_t at_ns, uint64_t noise_ns)
{
	uint64_t load_ns = at_ns < 12 * SECOND   ? 0
			   : at_ns > 22 * SECOND ? 10 * SECOND
						 : at_ns - 12 * SECOND;

	return load_ns / 5 * 4 + (at_ns > 110 * MS ? noise_ns : 0) +
	       (at_ns > 11860 * MS ? noise_ns : 0);
}

static struct guest *make_guest(uint64_t noise_ns, uint64_t late_ns)
{
	struct guest *g = calloc(1, sizeof(*g));

	assert_non_null(g);
	for (uint64_t i = 0; i < NOTES; i++) {
		const uint64_t at_ns = i * 50 * MS;

		g->waits[i] = (struct test_waits){at_ns, at_ns + MS / 10, g->counts[i]};
		for (int cpu = 0; cpu < CPUS; cpu++)
			g->counts[i][cpu] = 7 * MS + waited_ns(at_ns, noise_ns);
	}
	for (uint64_t i = 0; i < READINGS; i++) {
		const uint64_t at_ns = i * 100 * MS + 20 * MS;
		const uint64_t seen_ns = waited_ns(at_ns > late_ns ? at_ns - late_ns : 0, noise_ns);

		g->readings[i].point.host_ns = (int64_t)at_ns;
		g->readings[i].sample.cpu = i % CPUS;
		g->readings[i].sample.steal_ns =
			(3 * MS + seen_ns) / SAMPLE_STEAL_NS * SAMPLE_STEAL_NS;
	}
	g->stream = (struct test_stream){
		.readings = g->readings, .count = READINGS, .evaluated = READINGS};
	g->load = (struct test_load){.opened_ns = SECOND,
				     .begun_ns = 12 * SECOND,
				     .end_ns = 22 * SECOND,
				     .cpus = CPUS,
				     .waits = g->waits,
				     .n_waits = NOTES};
	return g;
}

static struct judge_row steal(const struct guest *g)
{
	const struct judge_clock clock = {0};
	struct judge_row row;

	test_load_judge(&g->load, &g->stream, 2, TEST_STEAL, &clock, 0, SAMPLE_STEAL_NS, &row);
	return row;
}

static void what_the_threads_waited_passes(void **state)
{
	struct guest *g = make_guest(0, 0);
	struct judge_row row = steal(g);

	(void)state;
	assert_int_equal(row.verdict, JUDGE_PASS);
	assert_int_equal(row.value[JUDGE_RUN_DELAY], 8 * SECOND);
	assert_int_equal(row.value[JUDGE_STEAL], 8 * SECOND);
	assert_int_equal(row.value[JUDGE_BRACKET], 0);
	free(g);
}

/* Readings just after a wait say little, and others are taken. */
static void a_guest_that_hears_late_passes_by_its_quiet_readings(void **state)
{
	struct guest *g = make_guest(40 * MS, 140 * MS);
	struct judge_row row = steal(g);

	(void)state;
	assert_int_equal(row.verdict, JUDGE_PASS);
	assert_int_equal(row.value[JUDGE_BRACKET], 0);
	assert_int_equal(row.value[JUDGE_RUN_DELAY], 8 * SECOND + 40 * MS);
	free(g);
}

static void a_guest_that_is_told_too_little_on_one_cpu_fails(void **state)
{
	struct guest *g = make_guest(0, 0);
	struct judge_row row;

	(void)state;
	for (size_t i = 1; i < READINGS; i += CPUS)
		g->readings[i].sample.steal_ns = g->readings[i].sample.steal_ns / 20 * 19 /
						 SAMPLE_STEAL_NS * SAMPLE_STEAL_NS;
	row = steal(g);
	assert_int_equal(row.verdict, JUDGE_FAIL);
	assert_true(row.value[JUDGE_STEAL_RESIDUAL] <= -(int64_t)(390 * MS));
	free(g);
}

static void a_cpu_without_readings_is_no_pass(void **state)
{
	struct guest *g = make_guest(0, 0);
	struct judge_row row;

	(void)state;
	for (size_t i = 0; i < READINGS; i++)
		g->readings[i].sample.cpu = i < READINGS / 2 ? i % CPUS : 0;
	row = steal(g);
	assert_int_equal(row.verdict, JUDGE_SKIP);
	assert_non_null(strstr(row.reason, "CPU 1"));
	g->readings[0].sample.cpu = 9; /* nobody's */
	(void)steal(g);
	why_set(&g->load.no_delays, -1, "KVM does not show it");
	row = steal(g);
	assert_int_equal(row.verdict, JUDGE_SKIP);
	assert_string_equal(row.reason, "KVM does not show it");
	free(g);
}

static void the_clocks_are_judged_across_the_load(void **state)
{
	struct guest *g = make_guest(0, 0);
	const struct judge_clock clock = {0};
	struct judge_row row;

	(void)state;
	for (size_t i = 0; i < READINGS; i++) {
		g->readings[i].point.realtime_bound_ns = g->readings[i].point.monotonic_bound_ns =
			80;
		g->readings[i].point.realtime_error_ns = i >= 170 ? 1900 : 0;
	}
	assert_int_equal(test_load_first(&g->load, &g->stream), 120);
	test_load_judge(&g->load, &g->stream, 0, TEST_OVERCOMMIT, &clock, 0, 1000, &row);
	assert_int_equal(row.verdict, JUDGE_FAIL);
	assert_int_equal(row.value[JUDGE_REALTIME_RESIDUAL], 1900);
	assert_int_equal(row.value[JUDGE_MONOTONIC_RESIDUAL], 0);
	assert_in_range(row.value[JUDGE_DURATION], 10 * SECOND, 12 * SECOND);
	test_load_judge(&g->load, &g->stream, READINGS, TEST_OVERCOMMIT, &clock, 0, 1000, &row);
	assert_int_equal(row.verdict, JUDGE_SKIP);
	free(g);
}

/* Readings of both CPUs in turn, 20 a second, up to an instant. */
static void read_until(struct guest *g, uint64_t at_ns)
{
	while (g->stream.evaluated < READINGS &&
	       (g->stream.evaluated == 0 ||
		g->readings[g->stream.evaluated - 1].point.host_ns < (int64_t)at_ns)) {
		struct test_reading *r = &g->readings[g->stream.evaluated];

		r->point.host_ns = g->stream.evaluated ? r[-1].point.host_ns + (int64_t)(50 * MS)
						       : (int64_t)(at_ns - 2 * SECOND);
		r->sample.cpu = g->stream.evaluated++ % CPUS;
	}
}

static void heard(int fd, const char *line)
{
	char text[16] = "";

	assert_int_equal(recv(fd, text, sizeof(text) - 1, MSG_DONTWAIT), strlen(line));
	assert_string_equal(text, line);
}

/* No VM: delays are not to be had, all else goes its way. */
static void guest_and_host_are_busy_together_and_rest(void **state)
{
	struct guest *g = calloc(1, sizeof(*g));
	const struct test_options o = {
		.cpus = CPUS, .duration_ns = 1, .scenarios = {[TEST_STEAL] = true}};
	struct test_load l = {0};
	struct why why = {0};
	int fds[2];
	pid_t busy;

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	g->stream.readings = g->readings;
	assert_int_equal(test_load_step(&l, &o, &g->stream, 0, getpid(), fds[0], &why), 0);
	read_until(g, l.opened_ns + SECOND + 200 * MS);
	assert_int_equal(test_load_step(&l, &o, &g->stream, 0, getpid(), fds[0], &why), 0);
	assert_int_equal(l.phase, TEST_LOAD_BEFORE); /* not yet four of each CPU */
	read_until(g, l.opened_ns + SECOND + 600 * MS);
	assert_int_equal(test_load_step(&l, &o, &g->stream, 0, getpid(), fds[0], &why), 0);
	assert_int_equal(l.phase, TEST_LOAD_BUSY);
	assert_true(l.n_busy >= TEST_LOAD_PER_CPU);
	heard(fds[1], "busy\n");
	busy = l.busy[0];
	assert_int_equal(kill(busy, 0), 0);
	assert_int_equal(test_load_step(&l, &o, &g->stream, 0, getpid(), fds[0], &why), 0);
	assert_int_equal(l.phase, TEST_LOAD_AFTER);
	assert_int_equal(l.n_busy, 0);
	assert_int_equal(kill(busy, 0), -1);
	heard(fds[1], "rest\n");
	read_until(g, l.end_ns + SECOND + 600 * MS);
	assert_int_equal(test_load_step(&l, &o, &g->stream, 0, getpid(), fds[0], &why), 0);
	read_until(g, l.end_ns + 3 * SECOND);
	assert_int_equal(test_load_step(&l, &o, &g->stream, 0, getpid(), fds[0], &why), 1);
	assert_int_not_equal(l.no_delays.text[0], '\0');
	test_load_end(&l);
	close(fds[0]);
	close(fds[1]);
	free(g);
}

static void the_load_is_wanted_by_either(void **state)
{
	struct test_options o = {.cpus = 8};

	(void)state;
	assert_false(test_load_wanted(&o));
	o.scenarios[TEST_STEAL] = true;
	assert_true(test_load_wanted(&o));
	assert_int_equal(test_load_ns(&o), 10 * SECOND);
	o.duration_ns = 3 * SECOND;
	assert_int_equal(test_load_ns(&o), 3 * SECOND);
	o.scenarios[TEST_STEAL] = false;
	o.scenarios[TEST_OVERCOMMIT] = true;
	assert_true(test_load_wanted(&o));
	assert_true(test_load_longest_ns(&o) > 13 * SECOND);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_the_threads_waited_passes),
		cmocka_unit_test(a_guest_that_hears_late_passes_by_its_quiet_readings),
		cmocka_unit_test(a_guest_that_is_told_too_little_on_one_cpu_fails),
		cmocka_unit_test(a_cpu_without_readings_is_no_pass),
		cmocka_unit_test(the_clocks_are_judged_across_the_load),
		cmocka_unit_test(guest_and_host_are_busy_together_and_rest),
		cmocka_unit_test(the_load_is_wanted_by_either),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
