/* SPDX-License-Identifier: Apache-2.0 */
/* steal.c - a VM's steal time: its register, its pages, and what goes into them. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kvm/steal.h"
#include "kvm/vcpu.h"

int steal_init(struct steal *s, struct guest_memory *memory, struct vcpu *vcpus, uint32_t n_cpus,
	       struct why *why)
{
	struct rundelay own;
	int result = rundelay_open(getpid(), gettid(), &own);

	*s = (struct steal){.memory = memory, .vcpus = vcpus, .n_cpus = n_cpus};
	if (result < 0)
		return why_set(why, -ENODEV,
			       "this kernel does not tell how long a thread waits for a CPU: %s "
			       "(it needs CONFIG_SCHED_INFO and /proc; or use --steal kernel)",
			       strerror(-result));
	rundelay_close(&own);
	if (vmt_steal_init(&s->face, n_cpus) < 0)
		return why_set(why, -EINVAL, "steal time has at most %d CPUs", VMT_STEAL_CPUS);
	s->cpus = calloc(n_cpus, sizeof(*s->cpus));
	if (!s->cpus)
		return why_set(why, -ENOMEM, "no memory for a machine");
	for (uint32_t cpu = 0; cpu < n_cpus; cpu++) {
		pthread_mutex_init(&s->cpus[cpu].lock, NULL);
		s->cpus[cpu].delay.fd = -1;
	}
	return 0;
}

void steal_destroy(struct steal *s)
{
	for (uint32_t cpu = 0; s->cpus && cpu < s->n_cpus; cpu++) {
		rundelay_close(&s->cpus[cpu].delay);
		pthread_mutex_destroy(&s->cpus[cpu].lock);
	}
	free(s->cpus);
	s->cpus = NULL;
}

void steal_reset(struct steal *s)
{
	vmt_steal_reset(&s->face);
}

void steal_begin(struct steal *s, uint32_t cpu)
{
	struct steal_cpu *c = &s->cpus[cpu];

	pthread_mutex_lock(&c->lock);
	rundelay_close(&c->delay);
	(void)rundelay_open(getpid(), gettid(), &c->delay); /* without: nothing is added */
	pthread_mutex_unlock(&c->lock);
}

void steal_end(struct steal *s, uint32_t cpu)
{
	struct steal_cpu *c = &s->cpus[cpu];

	pthread_mutex_lock(&c->lock);
	rundelay_close(&c->delay);
	pthread_mutex_unlock(&c->lock);
}

/* With the CPU's lock. */
static void publish(struct steal *s, uint32_t cpu)
{
	void *entry = memory_at(s->memory, vmt_steal_place(&s->face, cpu), VMT_STEAL_BYTES);

	if (!entry)
		return;
	vmt_steal_publish(&s->face, cpu, entry);
	memory_written(s->memory, vmt_steal_place(&s->face, cpu), VMT_STEAL_BYTES);
}

bool steal_rdmsr(struct steal *s, uint32_t cpu, uint32_t msr, uint64_t *ret_value)
{
	int result;

	pthread_mutex_lock(&s->cpus[cpu].lock);
	result = vmt_steal_read(&s->face, cpu, msr, ret_value);
	pthread_mutex_unlock(&s->cpus[cpu].lock);
	return result == 0;
}

bool steal_wrmsr(struct steal *s, uint32_t cpu, uint32_t msr, uint64_t value)
{
	struct steal_cpu *c = &s->cpus[cpu];
	struct vmt_out out;
	int result;

	pthread_mutex_lock(&c->lock);
	result = vmt_steal_write(&s->face, 0, cpu, msr, value, &out);
	if (result == 0 && out.dirty) {
		rundelay_forget(&c->delay);
		publish(s, cpu);
	}
	pthread_mutex_unlock(&c->lock);
	return result == 0;
}

void steal_write(struct steal *s, uint32_t cpu)
{
	struct steal_cpu *c = &s->cpus[cpu];

	pthread_mutex_lock(&c->lock);
	__atomic_store_n(&c->due, false, __ATOMIC_RELAXED);
	if (vmt_steal_add(&s->face, cpu, rundelay_take(&c->delay)))
		publish(s, cpu);
	pthread_mutex_unlock(&c->lock);
}

static bool has_grown(struct steal *s, uint32_t cpu)
{
	struct steal_cpu *c = &s->cpus[cpu];
	uint64_t ns;
	bool grown;

	pthread_mutex_lock(&c->lock);
	grown = vmt_steal_place(&s->face, cpu) != VMT_STEAL_NOWHERE &&
		rundelay_read(&c->delay, &ns) == 0 && ns >= c->delay.seen_ns + STEAL_LEAST_NS;
	pthread_mutex_unlock(&c->lock);
	return grown;
}

void steal_tick(struct steal *s)
{
	for (uint32_t cpu = 0; cpu < s->n_cpus; cpu++) {
		if (!has_grown(s, cpu))
			continue;
		__atomic_store_n(&s->cpus[cpu].due, true, __ATOMIC_RELAXED);
		vcpu_kick(&s->vcpus[cpu]); /* who comes out sees that it is due */
	}
}

void steal_stop(struct steal *s)
{
	for (uint32_t cpu = 0; cpu < s->n_cpus; cpu++)
		steal_write(s, cpu);
}

void steal_go(struct steal *s)
{
	for (uint32_t cpu = 0; cpu < s->n_cpus; cpu++) {
		pthread_mutex_lock(&s->cpus[cpu].lock);
		rundelay_forget(&s->cpus[cpu].delay);
		pthread_mutex_unlock(&s->cpus[cpu].lock);
	}
}
