/* SPDX-License-Identifier: Apache-2.0 */
/* crew.c - pieces of work that several threads do side by side, begun and ended in one order. */
#include "move/crew.h"

#include <pthread.h>
#include <sched.h>
#include <stdbool.h>

#include "kvm/thread.h"

struct work {
	const struct crew *crew;
	pthread_mutex_t taking; /* held by who takes; of the next one */
	uint64_t taken;
	pthread_mutex_t lock; /* of what follows */
	pthread_cond_t turn;
	uint64_t given; /* the number of the piece whose turn it is */
	int result;
	unsigned failed;
};

struct member {
	struct work *work;
	void *hand;
	unsigned number;
	pthread_t thread;
	bool started;
};

unsigned crew_hands(uint64_t bytes)
{
	const uint64_t each = UINT64_C(32) << 20, worth = bytes / each + 1;
	cpu_set_t set;
	int cpus = sched_getaffinity(0, sizeof(set), &set) == 0 ? CPU_COUNT(&set) : 1;
	unsigned most = cpus < CREW_MOST ? (unsigned)cpus + 1 : CREW_MOST;

	return worth < most ? (unsigned)worth : most;
}

static bool has_failed(struct work *w)
{
	bool failed;

	pthread_mutex_lock(&w->lock);
	failed = w->result < 0;
	pthread_mutex_unlock(&w->lock);
	return failed;
}

static void fail(struct member *m, int result)
{
	struct work *w = m->work;

	pthread_mutex_lock(&w->lock);
	if (w->result == 0) {
		w->result = result;
		w->failed = m->number;
	}
	pthread_cond_broadcast(&w->turn);
	pthread_mutex_unlock(&w->lock);
}

/* 1: the member has piece *ret_piece. */
static int take(struct member *m, uint64_t *ret_piece)
{
	struct work *w = m->work;
	int result;

	pthread_mutex_lock(&w->taking);
	result = has_failed(w) ? 0 : w->crew->take(w->crew->owner, m->hand);
	*ret_piece = w->taken;
	w->taken += result > 0;
	/* Before the next one takes what comes after the piece that is lost. */
	if (result < 0)
		fail(m, result);
	pthread_mutex_unlock(&w->taking);
	return result;
}

/* Whose turn it is gives without a lock: nobody else's turn comes before it is through. */
static int give(struct member *m, uint64_t piece)
{
	struct work *w = m->work;
	bool failed;
	int result;

	pthread_mutex_lock(&w->lock);
	while (w->given != piece && w->result == 0)
		pthread_cond_wait(&w->turn, &w->lock);
	failed = w->result < 0;
	pthread_mutex_unlock(&w->lock);
	if (failed)
		return 0;
	result = w->crew->give(w->crew->owner, m->hand);
	if (result < 0)
		return result;
	pthread_mutex_lock(&w->lock);
	w->given++;
	pthread_cond_broadcast(&w->turn);
	pthread_mutex_unlock(&w->lock);
	return 0;
}

static void *work(void *arg)
{
	struct member *m = arg;
	const struct crew *c = m->work->crew;
	uint64_t piece;
	int result;

	while ((result = take(m, &piece)) > 0) {
		result = c->work(c->owner, m->hand);
		if (result == 0 && c->give)
			result = give(m, piece);
		if (result < 0)
			break;
	}
	if (result < 0)
		fail(m, result);
	return NULL;
}

int crew_run(const struct crew *crew, void *const *hands, unsigned n, unsigned *ret_failed)
{
	struct work w = {.crew = crew};
	struct member members[CREW_MOST] = {{0}};

	pthread_mutex_init(&w.taking, NULL);
	pthread_mutex_init(&w.lock, NULL);
	pthread_cond_init(&w.turn, NULL);
	for (unsigned i = n; i-- > 0;) {
		members[i] = (struct member){.work = &w, .hand = hands[i], .number = i};
		if (i)
			members[i].started = thread_start(&members[i].thread, "snapshot", work,
							  &members[i]) == 0;
	}
	work(&members[0]);
	for (unsigned i = 1; i < n; i++)
		if (members[i].started)
			pthread_join(members[i].thread, NULL);
	pthread_cond_destroy(&w.turn);
	pthread_mutex_destroy(&w.lock);
	pthread_mutex_destroy(&w.taking);
	*ret_failed = w.failed;
	return w.result;
}
