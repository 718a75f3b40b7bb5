/* SPDX-License-Identifier: Apache-2.0 */
/* costs_test.c - what readings cost on this machine, and that they agree. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

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
	if (vdso->falls == SAMPLE_FALLS)
		assert_true(vdso->cost_ps > call->cost_ps / 2);
}

static void what_an_interruption_and_ntp_make_is_no_fault(void **state)
{
	struct costs_distances d = {0};

	(void)state;
	assert_int_equal(costs_take_distance(&d, 100, 110, 1000), 0);
	assert_int_equal(costs_take_distance(&d, 105, 115, 2000), 0); /* 105 to 110 are left */
	/* A preemption of 10 ms, at 500 ppm. */
	assert_int_equal(costs_take_distance(&d, 5105, 5115, 10002000), 0);
	assert_int_equal(costs_take_distance(&d, -4895, -4885, 10003000), 0);
}

static void what_is_elsewhere_at_once_is_told(void **state)
{
	struct costs_distances d = {0};

	(void)state;
	assert_int_equal(costs_take_distance(&d, 100, 110, 1000), 0);
	assert_int_equal(costs_take_distance(&d, 121, 130, 2000), 9);
	assert_int_equal(costs_take_distance(&d, 100, 110, 3000), 9);
	assert_int_equal(costs_take_distance(&d, 90, 97, 4000), 18);
}

/* As where the kernel has no filters: it must not be told that the vDSO needs none. */
static void without_filters_it_is_not_known(void **state)
{
	struct sock_filter rules[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_prctl, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EINVAL),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	const struct sock_fprog program = {sizeof(rules) / sizeof(rules[0]), rules};
	struct sample_cost costs[COSTS_MAX];
	int status = 0;
	pid_t pid = fork();

	(void)state;
	if (pid == 0) {
		if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
		    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) < 0)
			_exit(77);
		const uint32_t n = costs_measure(0, costs);

		_exit((int)find(costs, n, 'v', false)->falls);
	}
	assert_true(pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status));
	if (WEXITSTATUS(status) == 77) {
		puts("# left out: without filters it is not known: no seccomp filters here");
		skip();
	}
	assert_int_equal(WEXITSTATUS(status), SAMPLE_FALLS_UNKNOWN);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_way_has_a_price_and_tells_the_same_time),
		cmocka_unit_test(what_an_interruption_and_ntp_make_is_no_fault),
		cmocka_unit_test(what_is_elsewhere_at_once_is_told),
		cmocka_unit_test(without_filters_it_is_not_known),
		cmocka_unit_test(a_system_call_costs_more_than_a_count),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
