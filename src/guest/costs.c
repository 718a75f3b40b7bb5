/* SPDX-License-Identifier: Apache-2.0 */
/* costs.c - what one reading of the time costs in this machine, by each way that there is. */
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <vmtime/read.h>

#include "guest/costs.h"
#include "host/vdso.h"

__extension__ typedef unsigned __int128 u128;

enum { ROUNDS = 15, BATCHES = 31, CALLS_MOST = 200, CHECKS = 200 };

static const uint64_t batch_counts = 200000; /* a batch of one call may take longer */
static const uint64_t rate_least_ns = 500000000;
static const uint64_t ps_per_s = 1000000000000;

static struct vmt_read page; /* of the guest; its `page` is NULL where there is none */
static vdso_clock_gettime *vdso;
static uint64_t sink;

static uint64_t plain_count(void)
{
	uint32_t low, high;

	__asm__ volatile("rdtsc" : "=a"(low), "=d"(high) : : "memory");
	return (uint64_t)high << 32 | low;
}

static uint64_t ordered_count(void)
{
	uint32_t low, high;

	__asm__ volatile("lfence; rdtsc" : "=a"(low), "=d"(high) : : "memory");
	return (uint64_t)high << 32 | low;
}

static void fence(void)
{
	__asm__ volatile("lfence" : : : "memory");
}

static int64_t by_vdso(clockid_t clock)
{
	struct timespec t = {0};

	vdso(clock, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static int64_t by_syscall(clockid_t clock)
{
	struct timespec t = {0};

	syscall(SYS_clock_gettime, clock, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* ---- the ways, a batch each --------------------------------------------------------------- */

static void call_vdso(int calls)
{
	for (int i = 0; i < calls; i++)
		sink += (uint64_t)by_vdso(CLOCK_MONOTONIC);
}

static void call_kernel(int calls)
{
	for (int i = 0; i < calls; i++)
		sink += (uint64_t)by_syscall(CLOCK_MONOTONIC);
}

static void read_page(int calls)
{
	for (int i = 0; i < calls; i++)
		sink += (uint64_t)vmt_read_now(&page).estimate_ns;
}

static void read_page_ordered(int calls)
{
	for (int i = 0; i < calls; i++)
		sink += (uint64_t)vmt_read_now_ordered(&page).estimate_ns;
}

static void read_tsc(int calls)
{
	for (int i = 0; i < calls; i++)
		sink += plain_count();
}

static void read_tsc_ordered(int calls)
{
	for (int i = 0; i < calls; i++)
		sink += ordered_count();
}

static int by_size(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

static uint64_t time_batch(void (*way)(int calls), int calls)
{
	uint64_t from = ordered_count();

	way(calls);
	return ordered_count() - from;
}

static int calls_of(void (*way)(int calls))
{
	enum { WARM = 3 };
	uint64_t one = UINT64_MAX;

	for (int i = 0; i < WARM; i++) {
		uint64_t took = time_batch(way, 1);

		one = took < one ? took : one;
	}
	one = batch_counts / (one ? one : 1);
	return one < 1 ? 1 : one > CALLS_MOST ? CALLS_MOST : (int)one;
}

/* The middle of a round's batches. */
static uint64_t time_round(void (*way)(int calls), int calls)
{
	uint64_t batches[BATCHES];

	for (int i = 0; i < BATCHES; i++)
		batches[i] = time_batch(way, calls);
	qsort(batches, BATCHES, sizeof(batches[0]), by_size);
	return batches[BATCHES / 2];
}

/* ---- what they return --------------------------------------------------------------------- */

static void take_bracket(struct sample_cost *c, int64_t lo, int64_t ns, int64_t hi)
{
	const int64_t outside = lo - ns > ns - hi ? lo - ns : ns - hi;
	const uint64_t half = hi > lo ? (uint64_t)(hi - lo) / 2 : 0;

	if (outside > 0 && (uint64_t)outside > c->outside_ns)
		c->outside_ns = (uint64_t)outside;
	if (!c->checks++ || half < c->bracket_ns)
		c->bracket_ns = half;
}

static void check_clock(struct sample_cost *c, int64_t (*a)(clockid_t), int64_t (*b)(clockid_t))
{
	for (int i = 0; i < CHECKS; i++) {
		const int64_t lo = b(CLOCK_MONOTONIC), ns = a(CLOCK_MONOTONIC);

		take_bracket(c, lo, ns, b(CLOCK_MONOTONIC));
	}
}

static void check_vdso(struct sample_cost *c, uint64_t hz)
{
	(void)hz;
	check_clock(c, by_vdso, by_syscall);
}

static void check_kernel(struct sample_cost *c, uint64_t hz)
{
	(void)hz;
	check_clock(c, by_syscall, by_vdso);
}

static int64_t distance(int64_t raw_ns, bool ordered)
{
	struct vmt_read_time t;

	fence(); /* a plain count is taken here and not before */
	t = ordered ? vmt_read_now_ordered(&page) : vmt_read_now(&page);
	fence();
	return t.status == VMT_READ_PAGE ? t.estimate_ns - raw_ns : 0;
}

uint64_t costs_take_distance(struct costs_distances *d, int64_t lo, int64_t hi, int64_t passed_ns)
{
	const int64_t room_ns = passed_ns / 1000;

	if (!d->count++) {
		d->least = lo;
		d->most = hi;
	}
	d->least = lo - room_ns > d->least ? lo - room_ns : d->least;
	d->most = hi + room_ns < d->most ? hi + room_ns : d->most;
	return d->least > d->most ? (uint64_t)(d->least - d->most) : 0;
}

static void check_page(struct sample_cost *c, uint64_t hz)
{
	struct costs_distances distances = {0};
	int64_t first_ns = 0;

	(void)hz;
	for (int i = 0; i < CHECKS; i++) {
		const int64_t before_ns = by_vdso(CLOCK_MONOTONIC_RAW);
		const int64_t hi = distance(before_ns, c->ordered);
		const int64_t after_ns = by_vdso(CLOCK_MONOTONIC_RAW);
		const int64_t lo = hi - (after_ns - before_ns);

		first_ns = i ? first_ns : before_ns;
		take_bracket(c, lo, lo, hi);
		c->outside_ns = costs_take_distance(&distances, lo, hi, after_ns - first_ns);
	}
}

static void check_tsc(struct sample_cost *c, uint64_t hz)
{
	for (int i = 0; i < CHECKS; i++) {
		const uint64_t from = ordered_count();
		uint64_t count, to;

		fence();
		count = c->ordered ? ordered_count() : plain_count();
		fence();
		to = ordered_count();
		take_bracket(c, 0, (int64_t)((u128)(count - from) * 1000000000 / hz),
			     (int64_t)((u128)(to - from) * 1000000000 / hz));
	}
}

/* ---- all of it ---------------------------------------------------------------------------- */

static const struct way {
	char path;
	bool ordered;
	void (*batch)(int calls);
	void (*check)(struct sample_cost *c, uint64_t hz);
} ways[COSTS_MAX] = {
	{'v', false, call_vdso, check_vdso}, {'s', false, call_kernel, check_kernel},
	{'p', false, read_page, check_page}, {'p', true, read_page_ordered, check_page},
	{'r', false, read_tsc, check_tsc},   {'r', true, read_tsc_ordered, check_tsc},
};

/* In a process whose kernel refuses that one system call, the vDSO's function says whether it has
 * made it. */
static enum sample_falls falls_back(void)
{
	struct sock_filter rules[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clock_gettime, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	const struct sock_fprog program = {sizeof(rules) / sizeof(rules[0]), rules};
	struct timespec t;
	int status = 0;
	pid_t pid = fork();

	if (pid == 0) {
		if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
		    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) < 0)
			_exit(SAMPLE_FALLS_UNKNOWN);
		_exit(vdso(CLOCK_MONOTONIC, &t) == 0 ? SAMPLE_FALLS_NOT : SAMPLE_FALLS);
	}
	while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (pid < 0 || !WIFEXITED(status) || WEXITSTATUS(status) > SAMPLE_FALLS_UNKNOWN)
		return SAMPLE_FALLS_UNKNOWN;
	return (enum sample_falls)WEXITSTATUS(status);
}

/* clock_gettime(2) is the way where the kernel has no vDSO. */
static int own_clock_gettime(clockid_t clock, struct timespec *ret_time)
{
	return (int)syscall(SYS_clock_gettime, clock, ret_time);
}

/* Counts in a second: a clock that moves by ticks of 4 ms tells it to one part in a hundred. */
static uint64_t measure_hz(uint64_t from, int64_t from_ns)
{
	uint64_t passed_ns, counts;

	do {
		counts = ordered_count() - from;
		passed_ns = (uint64_t)(by_vdso(CLOCK_MONOTONIC) - from_ns);
	} while (passed_ns < rate_least_ns);
	counts = (uint64_t)((u128)counts * 1000000000 / passed_ns);
	return counts ? counts : 1;
}

static void open_page(void)
{
	if (page.page)
		return;
	if (vmt_read_open(&page) == VMT_READ_OTHER_SOURCE) {
		/* Linux does not look at it; it may be there. */
		if (vmt_read_use(&page, vmt_read_find(NULL)) != VMT_READ_PAGE)
			page.status = VMT_READ_OTHER_SOURCE;
	}
}

uint32_t costs_measure(uint32_t series, struct sample_cost ret_costs[COSTS_MAX])
{
	uint64_t quietest[COSTS_MAX], hz;
	int calls[COSTS_MAX] = {0};
	int64_t from_ns;
	uint64_t from;
	uint32_t n = 0;

	vdso = vdso_find_clock_gettime();
	if (!vdso)
		vdso = own_clock_gettime;
	open_page();
	from_ns = by_vdso(CLOCK_MONOTONIC);
	from = ordered_count();
	for (int round = 0; round < ROUNDS; round++)
		for (int i = 0; i < COSTS_MAX; i++) {
			uint64_t took;

			if (ways[i].path == 'p' && !page.page)
				continue;
			if (!calls[i])
				calls[i] = calls_of(ways[i].batch);
			took = time_round(ways[i].batch, calls[i]);
			quietest[i] = !round || took < quietest[i] ? took : quietest[i];
		}
	hz = measure_hz(from, from_ns);
	for (int i = 0; i < COSTS_MAX; i++) {
		struct sample_cost c = {.series = series,
					.path = ways[i].path,
					.ordered = ways[i].ordered,
					.reader = page.status};

		if (!calls[i])
			continue;
		c.cost_ps = (uint64_t)((u128)quietest[i] * ps_per_s / hz / (unsigned)calls[i]);
		if (c.path == 'v')
			c.falls = falls_back();
		ways[i].check(&c, hz);
		c.index = n;
		ret_costs[n++] = c;
	}
	for (uint32_t i = 0; i < n; i++)
		ret_costs[i].count = n;
	return sink ? n : 0;
}
