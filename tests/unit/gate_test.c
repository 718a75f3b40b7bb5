/* SPDX-License-Identifier: Apache-2.0 */
/* gate_test.c - threads that play vCPUs, and others that want them out for a moment. */
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "kvm/gate.h"

enum { VCPUS = 3, CLOSERS = 2, ROUNDS = 300 };

static struct {
	struct gate gate;
	bool inside[VCPUS];
	bool called[VCPUS];
	bool kicked[VCPUS]; /* atomic: as immediate_exit of a vCPU */
	bool stop;          /* atomic */
	unsigned others;    /* of the vCPUs' threads, that close the gate themselves */
	uint64_t entered[VCPUS];
	uint64_t guest; /* atomic: vCPUs in the guest */
	uint64_t found; /* atomic: how often some were, behind the closed gate */
	uint64_t word;  /* not atomic: behind the gate is one at a time */
} s;

static void close_for_all(void)
{
	gate_shut(&s.gate);
	for (int i = 0; i < VCPUS; i++) {
		__atomic_store_n(&s.kicked[i], true, __ATOMIC_SEQ_CST);
		gate_wait(&s.gate, &s.inside[i]);
	}
}

static void look_round(void)
{
	close_for_all();
	s.word++;
	__atomic_add_fetch(&s.found, __atomic_load_n(&s.guest, __ATOMIC_SEQ_CST), __ATOMIC_SEQ_CST);
	gate_open(&s.gate);
}

static void *run_vcpu(void *arg)
{
	uintptr_t i = (uintptr_t)arg;

	while (!__atomic_load_n(&s.stop, __ATOMIC_SEQ_CST)) {
		(void)gate_enter(&s.gate, &s.inside[i], &s.called[i]);
		__atomic_add_fetch(&s.guest, 1, __ATOMIC_SEQ_CST);
		s.entered[i]++;
		/* Only a kick brings it out. */
		while (!__atomic_exchange_n(&s.kicked[i], false, __ATOMIC_SEQ_CST) &&
		       !__atomic_load_n(&s.stop, __ATOMIC_SEQ_CST))
			;
		__atomic_sub_fetch(&s.guest, 1, __ATOMIC_SEQ_CST);
		gate_leave(&s.gate, &s.inside[i]);
		if (i < s.others && s.entered[i] % 16 == 0)
			look_round();
	}
	return NULL;
}

static void *run_closer(void *arg)
{
	(void)arg;
	for (int i = 0; i < ROUNDS; i++) {
		while (!__atomic_load_n(&s.guest, __ATOMIC_SEQ_CST))
			sched_yield(); /* or it would be closed before anybody is in */
		look_round();
	}
	return NULL;
}

static void run(unsigned others)
{
	pthread_t vcpus[VCPUS], closers[CLOSERS];
	uint64_t entered = 0;

	memset(&s, 0, sizeof(s));
	s.others = others;
	gate_init(&s.gate);
	for (uintptr_t i = 0; i < VCPUS; i++)
		assert_int_equal(pthread_create(&vcpus[i], NULL, run_vcpu, (void *)i), 0);
	for (int i = 0; i < CLOSERS; i++)
		assert_int_equal(pthread_create(&closers[i], NULL, run_closer, NULL), 0);
	for (int i = 0; i < CLOSERS; i++)
		pthread_join(closers[i], NULL);
	__atomic_store_n(&s.stop, true, __ATOMIC_SEQ_CST);
	for (int i = 0; i < VCPUS; i++)
		pthread_join(vcpus[i], NULL);
	gate_destroy(&s.gate);
	for (int i = 0; i < VCPUS; i++)
		entered += s.entered[i];
	assert_true(entered >= ROUNDS);
	assert_int_equal(s.found, 0);
	assert_true(s.word >= CLOSERS * ROUNDS);
}

static void nobody_is_in_the_guest_behind_a_closed_gate(void **state)
{
	(void)state;
	run(0);
}

/* As when a guest's CPU registers its page while another one's are being written. */
static void a_vcpu_may_close_it_for_the_others(void **state)
{
	(void)state;
	run(2);
}

static void *close_once(void *arg)
{
	bool *had = arg;

	gate_shut(&s.gate);
	*had = true;
	gate_open(&s.gate);
	return NULL;
}

/* A guest that makes its vCPUs close it again and again holds nobody up. */
static void who_waits_to_close_it_comes_before_who_comes_back(void **state)
{
	bool had = false, waits = false;
	pthread_t other;

	(void)state;
	memset(&s, 0, sizeof(s));
	gate_init(&s.gate);
	gate_shut(&s.gate);
	assert_int_equal(pthread_create(&other, NULL, close_once, &had), 0);
	while (!waits) {
		sched_yield();
		pthread_mutex_lock(&s.gate.lock);
		waits = s.gate.next == 2;
		pthread_mutex_unlock(&s.gate.lock);
	}
	gate_open(&s.gate);
	gate_shut(&s.gate);
	assert_true(had);
	gate_open(&s.gate);
	pthread_join(other, NULL);
	gate_destroy(&s.gate);
}

static void *run_errands(void *arg)
{
	unsigned *done = arg;

	while (!gate_enter(&s.gate, &s.inside[0], &s.called[0])) {
		(*done)++;
		gate_done(&s.gate, &s.called[0]);
	}
	return NULL;
}

/* Each time it is called it does one thing, and is not inside. */
static void who_waits_at_the_gate_does_what_it_is_called_for(void **state)
{
	unsigned done = 0;
	pthread_t vcpu;

	(void)state;
	memset(&s, 0, sizeof(s));
	gate_init(&s.gate);
	gate_shut(&s.gate);
	assert_int_equal(pthread_create(&vcpu, NULL, run_errands, &done), 0);
	for (unsigned i = 1; i <= ROUNDS; i++) {
		gate_call(&s.gate, &s.called[0]); /* the first perhaps before it is there */
		gate_wait(&s.gate, &s.called[0]);
		assert_int_equal(done, i);
		gate_wait(&s.gate, &s.inside[0]);
	}
	gate_open(&s.gate);
	pthread_join(vcpu, NULL);
	assert_int_equal(done, ROUNDS);
	assert_true(s.inside[0]);
	gate_destroy(&s.gate);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nobody_is_in_the_guest_behind_a_closed_gate),
		cmocka_unit_test(a_vcpu_may_close_it_for_the_others),
		cmocka_unit_test(who_waits_at_the_gate_does_what_it_is_called_for),
		cmocka_unit_test(who_waits_to_close_it_comes_before_who_comes_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
