/* SPDX-License-Identifier: Apache-2.0 */
/* clock_bench.c - what a guest's kvm-clock costs its host, without a VM.
 *
 * Threads that sleep until a signal play a guest's idle CPUs: like them they are in a system call
 * that a kick ends.  All figures are of one run: the writing of a page beside RDTSC, the stop of
 * eight CPUs for the writing of their pages beside that of one, and the CPU time of ten looks at
 * the host's clock and one stop, which is what a disciplined guest costs in a second, beside that
 * second.  The exit status is 1 when a figure is above its limit.
 *
 *     clock_bench [ROUNDS] */
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>
#include <x86intrin.h>

#include "host/hostclock.h"
#include "kvm/pvclock.h"
#include "kvm/thread.h"

enum { ROUNDS = 300, BATCHES = 201, CALLS = 200, CPUS = 8, PAGE = 0x5000, PAGE_BYTES = 64 };
enum { PAGE_LIMIT = 20, LOOKS = 10, US = 1000, PPM_LIMIT = 1000 };

#define NS_PER_S UINT64_C(1000000000)

struct guest {
	struct chipset chipset;
	struct gate gate;
	struct guest_memory memory;
	struct kvm_run run[CPUS];
	struct vcpu vcpus[CPUS];
	struct vmt_tsc tsc;
	struct pvclock p;
	uint32_t cpus;
	bool stop; /* atomic */
	pthread_t threads[CPUS];
};

static struct vmt_kvmclock face;
static uint32_t page[VMT_KVMCLOCK_BYTES / 4];
static uint64_t sink;

static uint64_t clock_ns(clockid_t id)
{
	struct timespec t;

	clock_gettime(id, &t);
	return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
}

static int by_size(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

static void rdtsc(void)
{
	sink += __rdtsc();
}

static void update(void)
{
	static const uint64_t mult = UINT64_C(1) << 62; /* a quarter of a ns */

	face.tsc += 4000;
	sink += (uint64_t)vmt_kvmclock_anchor(&face, face.tsc, face.ns + 1000, mult, 64);
	vmt_kvmclock_publish(&face, 0, 0, page);
}

/* Cycles of one call, in hundredths; the middle of many batches. */
static uint64_t measure(void (*call)(void))
{
	static uint64_t batches[BATCHES];

	for (int i = 0; i < BATCHES; i++) {
		uint64_t from = __rdtsc();

		for (int j = 0; j < CALLS; j++)
			call();
		batches[i] = __rdtsc() - from;
	}
	qsort(batches, BATCHES, sizeof(batches[0]), by_size);
	return batches[BATCHES / 2] * 100 / CALLS;
}

static bool page_update(void)
{
	uint64_t bare = UINT64_MAX, cost = UINT64_MAX;

	(void)vmt_kvmclock_init(&face, 1);
	for (int round = 0; round < 30; round++) {
		uint64_t once = measure(rdtsc);

		bare = once < bare ? once : bare;
		once = measure(update);
		cost = once < cost ? once : cost;
	}
	printf("%-44s %7" PRIu64 ".%02" PRIu64 " cycles %5" PRIu64 ".%02" PRIu64
	       " RDTSCs, at most %d\n",
	       "a page written: anchor and entry", cost / 100, cost % 100, cost / bare,
	       cost * 100 / bare % 100, PAGE_LIMIT);
	return cost <= bare * PAGE_LIMIT;
}

static void *run_cpu(void *arg)
{
	struct vcpu *v = arg;
	struct guest *g = v->owner;
	const struct timespec long_time = {.tv_sec = 10};
	sigset_t open, kick;

	sigemptyset(&kick);
	sigaddset(&kick, THREAD_KICK);
	pthread_sigmask(SIG_BLOCK, &kick, &open);
	__atomic_store_n(&v->tid, gettid(), __ATOMIC_SEQ_CST);
	while (!__atomic_load_n(&g->stop, __ATOMIC_SEQ_CST)) {
		(void)gate_enter(&g->gate, &v->inside, &v->called);
		(void)ppoll(NULL, 0, &long_time, &open);
		gate_leave(&g->gate, &v->inside);
	}
	return NULL;
}

static void await_idle(const struct guest *g)
{
	for (uint32_t cpu = 0; cpu < g->cpus; cpu++)
		while (!__atomic_load_n(&g->vcpus[cpu].inside, __ATOMIC_SEQ_CST))
			usleep(100);
	usleep(200);
}

static bool begin(struct guest *g, uint32_t cpus)
{
	const struct vmt_reading at = {.counter = hostclock_tsc()};
	const uint64_t hz = hostclock_measure_tsc_hz(NS_PER_S / 20) / 1000 * 1000;
	const struct vmt_tsc_host host = {.khz = (uint32_t)(hz / 1000)};
	const struct vmt_board_config board = {.faces = VMT_HAS_PIT};
	struct pvclock_config config = {.chipset = &g->chipset,
					.gate = &g->gate,
					.memory = &g->memory,
					.vcpus = g->vcpus,
					.cpus = cpus,
					.tsc = &g->tsc,
					.shown = true,
					.disciplined = true,
					.stable = true};
	struct vmt_clock clock;
	struct why why;

	*g = (struct guest){.cpus = cpus};
	if (vmt_clock_start(hz, &at, &clock, NULL) < 0 || vmt_tsc_init(&g->tsc, cpus, &host) < 0 ||
	    chipset_init(&g->chipset, &board, &clock, true, &why) < 0 ||
	    memory_create(MEMORY_MIN, &g->memory, &why) < 0)
		return false;
	gate_init(&g->gate);
	if (pvclock_init(&g->p, &config, &why) < 0)
		return false;
	for (uint32_t cpu = 0; cpu < cpus; cpu++) {
		g->vcpus[cpu].run = &g->run[cpu];
		g->vcpus[cpu].owner = g;
	}
	for (uint32_t cpu = 0; cpu < cpus; cpu++) {
		(void)pvclock_wrmsr(&g->p, cpu, VMT_MSR_KVM_SYSTEM, (PAGE + cpu * PAGE_BYTES) | 1);
		if (pthread_create(&g->threads[cpu], NULL, run_cpu, &g->vcpus[cpu]) != 0)
			return false;
	}
	g->p.quiet_ns = 0;
	await_idle(g);
	return true;
}

static void end(struct guest *g)
{
	__atomic_store_n(&g->stop, true, __ATOMIC_SEQ_CST);
	for (uint32_t cpu = 0; cpu < g->cpus; cpu++) {
		vcpu_kick(&g->vcpus[cpu]);
		pthread_join(g->threads[cpu], NULL);
	}
	pvclock_destroy(&g->p);
	gate_destroy(&g->gate);
	memory_destroy(&g->memory);
	chipset_destroy(&g->chipset);
}

/* ns from the first kick until all may run again, all pages written; the middle. */
static uint64_t stop_of(uint32_t cpus, int rounds)
{
	static struct guest g;
	uint64_t *each = calloc((size_t)rounds, sizeof(*each)), middle;

	if (!each || !begin(&g, cpus))
		exit(2);
	for (int i = 0; i < rounds; i++) {
		await_idle(&g);
		each[i] = clock_ns(CLOCK_MONOTONIC);
		(void)pvclock_wrmsr(&g.p, 0, VMT_MSR_KVM_SYSTEM, PAGE | 1);
		each[i] = clock_ns(CLOCK_MONOTONIC) - each[i];
	}
	end(&g);
	qsort(each, (size_t)rounds, sizeof(*each), by_size);
	middle = each[rounds / 2];
	free(each);
	return middle;
}

/* ns of CPU time in a guest's second: ten looks, each of which ends a sleep, and one stop. */
static uint64_t second_of(uint32_t cpus, int seconds)
{
	static struct guest g;
	struct chipset_change change;
	uint64_t used = 0;

	if (!begin(&g, cpus))
		exit(2);
	for (int i = 0; i < seconds; i++) {
		uint64_t from;

		await_idle(&g);
		from = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
		g.p.checked_ns = 0;
		for (int look = 0; look < LOOKS; look++) {
			usleep(US);
			if (look == LOOKS - 1) { /* as after a while without */
				g.p.written_ns = 0;
				g.p.face.ns -= US;
			}
			if (pvclock_tick(&g.p, &change) && change.kind == VMT_CHANGE_COUNTER)
				exit(2);
		}
		await_idle(&g);
		used += clock_ns(CLOCK_PROCESS_CPUTIME_ID) - from;
	}
	end(&g);
	return used / (uint64_t)seconds;
}

int main(int argc, char **argv)
{
	const int rounds = argc > 1 ? atoi(argv[1]) : ROUNDS;
	bool good = page_update();
	uint64_t one, all, second;

	if (rounds < 1)
		return 2;
	if (!hostclock_tsc_is_stable()) {
		puts("# this machine does not rely on its TSC: no clock is disciplined by it");
		return good ? 0 : 1;
	}
	if (thread_catch_kicks() < 0)
		return 2;
	one = stop_of(1, rounds);
	all = stop_of(CPUS, rounds);
	printf("%-44s %7" PRIu64 ".%" PRIu64 " us\n", "kick, write, let go: 1 CPU", one / US,
	       one % US / 100);
	printf("%-44s %7" PRIu64 ".%" PRIu64 " us     %5" PRIu64 ".%02" PRIu64 " of one CPU's\n",
	       "kick all, write all, let go: 8 CPUs", all / US, all % US / 100, all / one,
	       all * 100 / one % 100);
	second = second_of(CPUS, rounds / 10 + 1);
	printf("%-44s %7" PRIu64 ".%" PRIu64 " us     %5" PRIu64 ".%03" PRIu64
	       " %% of a CPU, at most 0.1\n",
	       "a second of discipline, 8 CPUs, CPU time", second / US, second % US / 100,
	       second / (NS_PER_S / 100), second * 100000 / NS_PER_S % 1000);
	return sink && good && second <= PPM_LIMIT * US ? 0 : 1;
}
