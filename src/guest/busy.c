/* SPDX-License-Identifier: Apache-2.0 */
/* busy.c - keeps every CPU of a guest at work, and has it look at the clocks meanwhile. */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "guest/busy.h"
#include "host/vdso.h"

enum { NS_PER_S = 1000000000 };

static const clockid_t clock_ids[SAMPLE_CLOCKS] = {
	[SAMPLE_REALTIME] = CLOCK_REALTIME,
	[SAMPLE_MONOTONIC] = CLOCK_MONOTONIC,
	[SAMPLE_BOOTTIME] = CLOCK_BOOTTIME,
};

static pid_t busy[CPU_SETSIZE];
static struct busy_seen *shared;

void busy_compare(struct busy_seen *seen, int which, int64_t last, int64_t now)
{
	if (now < last) {
		if (__atomic_compare_exchange_n(&seen->last[which], &last, now, false,
						__ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
			__atomic_fetch_add(&seen->backward[which], 1, __ATOMIC_SEQ_CST);
		return;
	}
	while (now > last && !__atomic_compare_exchange_n(&seen->last[which], &last, now, false,
							  __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
		;
}

static int64_t greatest(const struct busy_seen *seen, int which)
{
	return __atomic_load_n(&seen->last[which], __ATOMIC_SEQ_CST);
}

static int64_t read_tsc(void)
{
	uint32_t low, high;

	__asm__ volatile("lfence; rdtsc" : "=a"(low), "=d"(high) : : "memory");
	return (int64_t)((uint64_t)high << 32 | low);
}

/* Nothing is read before what others have seen is known: the clocks' own code has a fence. */
static void look(struct busy_seen *seen, size_t cpu, vdso_clock_gettime *get)
{
	int64_t last;

	for (int i = 0; i < SAMPLE_CLOCKS; i++) {
		struct timespec t = {0};

		last = greatest(seen, i);
		get(clock_ids[i], &t);
		busy_compare(seen, i, last, (int64_t)t.tv_sec * NS_PER_S + t.tv_nsec);
	}
	last = greatest(seen, SAMPLE_TSC);
	busy_compare(seen, SAMPLE_TSC, last, read_tsc());
	__atomic_fetch_add(&seen->rounds[cpu], 1, __ATOMIC_RELAXED);
}

static void keep_busy(size_t cpu, struct busy_seen *seen)
{
	const struct sched_param none = {0};
	vdso_clock_gettime *const vdso = vdso_find_clock_gettime();
	cpu_set_t one;

	CPU_ZERO(&one);
	CPU_SET(cpu, &one);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	sched_setaffinity(0, sizeof(one), &one);
	sched_setscheduler(0, SCHED_IDLE, &none);
	for (;;) {
		if (seen)
			look(seen, cpu, vdso ? vdso : clock_gettime);
		else
			__asm__ volatile("");
	}
}

static int share(void)
{
	void *memory;

	if (shared)
		return 0;
	memory = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		      0);
	if (memory == MAP_FAILED)
		return -errno;
	shared = memory;
	return 0;
}

int busy_begin(const cpu_set_t *cpus, bool check)
{
	int result = check ? share() : 0;

	for (size_t cpu = 0; cpu < CPU_SETSIZE && result == 0; cpu++) {
		if (busy[cpu] > 0 || !CPU_ISSET(cpu, cpus))
			continue;
		busy[cpu] = fork();
		if (busy[cpu] == 0)
			keep_busy(cpu, check ? shared : NULL);
		if (busy[cpu] < 0)
			result = -errno;
	}
	return result;
}

void busy_end(void)
{
	for (size_t cpu = 0; cpu < CPU_SETSIZE; cpu++) {
		if (busy[cpu] > 0) {
			kill(busy[cpu], SIGKILL);
			waitpid(busy[cpu], NULL, 0);
		}
		busy[cpu] = 0;
	}
}

const struct busy_seen *busy_look(void)
{
	return shared;
}

void busy_add(const struct busy_seen *seen, struct sample *sample)
{
	if (!seen)
		return;
	for (int i = 0; i < SAMPLE_BACKWARD; i++)
		sample->backward[i] += __atomic_load_n(&seen->backward[i], __ATOMIC_SEQ_CST);
	sample->checks =
		__atomic_load_n(&seen->rounds[sample->cpu % CPU_SETSIZE], __ATOMIC_SEQ_CST);
}
