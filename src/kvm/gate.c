/* SPDX-License-Identifier: Apache-2.0 */
/* gate.c - keeps all vCPUs out of the guest for a moment. */
#include "kvm/gate.h"

void gate_init(struct gate *g)
{
	pthread_mutex_init(&g->lock, NULL);
	pthread_cond_init(&g->opened, NULL);
	pthread_cond_init(&g->left, NULL);
	g->next = g->served = 0;
	g->closed = false;
}

void gate_destroy(struct gate *g)
{
	pthread_cond_destroy(&g->left);
	pthread_cond_destroy(&g->opened);
	pthread_mutex_destroy(&g->lock);
}

static bool is_closed(const struct gate *g)
{
	return __atomic_load_n(&g->closed, __ATOMIC_SEQ_CST);
}

static bool is_set(const bool *flag)
{
	return __atomic_load_n(flag, __ATOMIC_SEQ_CST);
}

/* Either this thread sees the gate closed, or who closes it sees this thread inside: both write
 * first and look then. */
bool gate_enter(struct gate *g, bool *inside, const bool *called)
{
	for (;;) {
		bool is_called;

		__atomic_store_n(inside, true, __ATOMIC_SEQ_CST);
		if (!is_closed(g))
			return true;
		gate_leave(g, inside);
		pthread_mutex_lock(&g->lock);
		while (is_closed(g) && !is_set(called))
			pthread_cond_wait(&g->opened, &g->lock);
		is_called = is_set(called);
		pthread_mutex_unlock(&g->lock);
		if (is_called)
			return false;
	}
}

void gate_leave(struct gate *g, bool *inside)
{
	__atomic_store_n(inside, false, __ATOMIC_SEQ_CST);
	if (!is_closed(g))
		return;
	pthread_mutex_lock(&g->lock);
	pthread_cond_broadcast(&g->left);
	pthread_mutex_unlock(&g->lock);
}

void gate_shut(struct gate *g)
{
	uint32_t number;

	pthread_mutex_lock(&g->lock);
	number = g->next++;
	while (number != g->served)
		pthread_cond_wait(&g->opened, &g->lock);
	__atomic_store_n(&g->closed, true, __ATOMIC_SEQ_CST);
	pthread_mutex_unlock(&g->lock);
}

void gate_wait(struct gate *g, const bool *inside)
{
	pthread_mutex_lock(&g->lock);
	while (is_set(inside))
		pthread_cond_wait(&g->left, &g->lock);
	pthread_mutex_unlock(&g->lock);
}

void gate_open(struct gate *g)
{
	pthread_mutex_lock(&g->lock);
	g->served++;
	__atomic_store_n(&g->closed, false, __ATOMIC_SEQ_CST);
	pthread_cond_broadcast(&g->opened);
	pthread_mutex_unlock(&g->lock);
}

void gate_call(struct gate *g, bool *called)
{
	pthread_mutex_lock(&g->lock);
	__atomic_store_n(called, true, __ATOMIC_SEQ_CST);
	pthread_cond_broadcast(&g->opened);
	pthread_mutex_unlock(&g->lock);
}

void gate_done(struct gate *g, bool *called)
{
	pthread_mutex_lock(&g->lock);
	__atomic_store_n(called, false, __ATOMIC_SEQ_CST);
	pthread_cond_broadcast(&g->left);
	pthread_mutex_unlock(&g->lock);
}
