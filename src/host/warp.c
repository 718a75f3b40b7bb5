/* SPDX-License-Identifier: Apache-2.0 */
/* warp.c - whether the TSCs of all usable CPUs agree. */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdlib.h>
#include <time.h>

#include "host/hostclock.h"
#include "host/warp.h"

enum { CPUS_MAX = 8192, STACK_BYTES = 256 << 10, STEP_NS = 250000, ENOUGH = 1000 };

#define LEAST_NS UINT64_C(1000000)
#define MOST_NS UINT64_C(3000000)
#define TURN_NS UINT64_C(20000000) /* more than a scheduler lets a thread wait for its turn */

/* Freed by the last that lets go of it: a thread on a CPU that never gets its turn, because a
 * program of real-time priority has it, must not hold up who asked. */
struct check {
	_Alignas(64) uint64_t last; /* the largest count so far; atomic */
	_Alignas(64) uint64_t back; /* the largest step back; atomic */
	bool stop;                  /* atomic */
	uint32_t holders;           /* atomic */
	warp_reader *read;
	void *arg;
	struct look {
		struct check *check;
		uint32_t n;
		uint32_t looks; /* atomic */
	} looks[];
};

static uint64_t read_tsc(void *arg, uint32_t n)
{
	(void)arg;
	(void)n;
	return hostclock_tsc();
}

static void let_go(struct check *c)
{
	if (__atomic_sub_fetch(&c->holders, 1, __ATOMIC_ACQ_REL) == 0)
		free(c);
}

static void raise(uint64_t *at, uint64_t value)
{
	uint64_t before = __atomic_load_n(at, __ATOMIC_RELAXED);

	while (before < value && !__atomic_compare_exchange_n(at, &before, value, false,
							      __ATOMIC_RELEASE, __ATOMIC_RELAXED))
		;
}

static void *run(void *arg)
{
	struct look *l = arg;
	struct check *c = l->check;

	while (!__atomic_load_n(&c->stop, __ATOMIC_RELAXED)) {
		uint64_t before = __atomic_load_n(&c->last, __ATOMIC_ACQUIRE);
		uint64_t now = c->read(c->arg, l->n);

		if (now < before)
			raise(&c->back, before - now);
		else
			raise(&c->last, now);
		__atomic_fetch_add(&l->looks, 1, __ATOMIC_RELAXED);
	}
	let_go(c);
	return NULL;
}

static int start(struct look *l, size_t cpu, cpu_set_t *one, size_t bytes)
{
	pthread_attr_t attr;
	pthread_t thread;
	int error;

	CPU_ZERO_S(bytes, one);
	CPU_SET_S(cpu, bytes, one);
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK_BYTES);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	error = pthread_attr_setaffinity_np(&attr, bytes, one);
	if (!error)
		error = pthread_create(&thread, &attr, run, l);
	pthread_attr_destroy(&attr);
	return -error;
}

/* On each usable CPU one; how many there are.  One that was taken away meanwhile takes no part. */
static int start_all(struct check *c, cpu_set_t *usable, cpu_set_t *one, size_t bytes)
{
	uint32_t n = 0;
	int result = 0;

	for (size_t cpu = 0; cpu < CPUS_MAX && !result; cpu++) {
		if (!CPU_ISSET_S(cpu, bytes, usable))
			continue;
		c->looks[n] = (struct look){.check = c, .n = n};
		__atomic_add_fetch(&c->holders, 1, __ATOMIC_RELAXED);
		result = start(&c->looks[n], cpu, one, bytes);
		if (result)
			let_go(c);
		n += result == 0;
		if (result == -EINVAL)
			result = 0;
	}
	return result ? result : (int)n;
}

static uint32_t fewest(const struct check *c, uint32_t n)
{
	uint32_t least = UINT32_MAX;

	for (uint32_t i = 0; i < n; i++) {
		uint32_t looks = __atomic_load_n(&c->looks[i].looks, __ATOMIC_RELAXED);

		if (looks < least)
			least = looks;
	}
	return least;
}

static void wait(const struct check *c, uint32_t n)
{
	const struct timespec step = {.tv_nsec = STEP_NS};
	const uint64_t from = hostclock_monotonic_ns();
	uint64_t passed = 0;

	for (uint32_t looks = 0; passed < LEAST_NS || (passed < MOST_NS && looks < ENOUGH) ||
				 (passed < TURN_NS && looks == 0);
	     looks = fewest(c, n)) {
		nanosleep(&step, NULL);
		passed = hostclock_monotonic_ns() - from;
	}
}

static int check(warp_reader *read, void *arg, cpu_set_t *usable, cpu_set_t *one, size_t bytes,
		 struct warp *ret_warp)
{
	size_t size =
		sizeof(struct check) + (size_t)CPU_COUNT_S(bytes, usable) * sizeof(struct look);
	struct check *c = aligned_alloc(64, (size + 63) / 64 * 64);
	int n;

	if (!c)
		return -ENOMEM;
	*c = (struct check){.holders = 1, .read = read ? read : read_tsc, .arg = arg};
	n = start_all(c, usable, one, bytes);
	if (n > 0) {
		wait(c, (uint32_t)n);
		*ret_warp = (struct warp){
			.back = __atomic_load_n(&c->back, __ATOMIC_ACQUIRE),
			.cpus = (uint32_t)n,
			.looks = fewest(c, (uint32_t)n),
		};
	}
	__atomic_store_n(&c->stop, true, __ATOMIC_RELAXED);
	let_go(c);
	return n < 0 ? n : 0;
}

int warp_check(warp_reader *read, void *arg, struct warp *ret_warp)
{
	const size_t bytes = CPU_ALLOC_SIZE(CPUS_MAX);
	cpu_set_t *usable = CPU_ALLOC(CPUS_MAX), *one = CPU_ALLOC(CPUS_MAX);
	int result = usable && one ? 0 : -ENOMEM;

	*ret_warp = (struct warp){0};
	if (result == 0 && sched_getaffinity(0, bytes, usable) < 0)
		result = -errno;
	if (result == 0 && CPU_COUNT_S(bytes, usable) > 1)
		result = check(read, arg, usable, one, bytes, ret_warp);
	CPU_FREE(usable);
	CPU_FREE(one);
	return result;
}
