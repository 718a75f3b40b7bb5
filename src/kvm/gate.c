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

static bool is_inside(const bool *inside)
{
	return __atomic_load_n(inside, __ATOMIC_SEQ_CST);
}

/* Either this thread sees the gate closed, or who closes it sees this thread inside: both write
 * first and look then. */
void gate_enter(struct gate *g, bool *inside)
{
	for (;;) {
		__atomic_store_n(inside, true, __ATOMIC_SEQ_CST);
		if (!is_closed(g))
			return;
		gate_leave(g, inside);
		pthread_mutex_lock(&g->lock);
		while (is_closed(g))
			pthread_cond_wait(&g->opened, &g->lock);
		pthread_mutex_unlock(&g->lock);
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
	while (is_inside(inside))
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
