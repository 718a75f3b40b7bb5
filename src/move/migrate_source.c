/* SPDX-License-Identifier: Apache-2.0 */
/* migrate_source.c - a machine on its way to another host, as its owner sees it.  What its thread
 * does is in migrate_send.c. */
#include "move/migrate_source.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "host/hostclock.h"
#include "kvm/thread.h"
#include "move/migrate_send.h"

static void release(struct migrate_source *s)
{
	if (s->fd >= 0)
		close(s->fd);
	pthread_cond_destroy(&s->answered);
	pthread_mutex_destroy(&s->lock);
	vmstate_parts_free(&s->time);
	vmstate_parts_free(&s->state);
	free(s->name);
	free(s);
}

int migrate_source_begin(const struct migrate_source_config *config,
			 const struct migrate_params *params, struct migrate_source **ret_source,
			 struct why *why)
{
	struct migrate_source *s = calloc(1, sizeof(*s));
	int result = -ENOMEM;

	if (!s)
		return why_set(why, result, "%s: no memory to send to it", config->name);
	s->c = *config;
	s->params = *params;
	s->began_ns = hostclock_monotonic_ns();
	s->stats.total_bytes = config->memory->low_size + config->memory->high_size;
	s->stats.remaining_bytes = s->stats.total_bytes;
	s->wire.fd = -1;
	pthread_mutex_init(&s->lock, NULL);
	pthread_cond_init(&s->answered, NULL);
	s->c.name = s->name = strdup(config->name);
	s->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (s->name && s->fd >= 0)
		result = thread_start(&s->thread, "migrate", migrate_send, s);
	if (result < 0) {
		release(s);
		return why_set(why, -ENOMEM, "%s: no thread to send to it", config->name);
	}
	*ret_source = s;
	return 0;
}

void migrate_source_set(struct migrate_source *s, const struct migrate_params *params)
{
	pthread_mutex_lock(&s->lock);
	s->params = *params;
	if (s->limited)
		__atomic_store_n(&s->wire.limit, params->max_bandwidth, __ATOMIC_RELAXED);
	pthread_mutex_unlock(&s->lock);
}

void migrate_source_stats(struct migrate_source *s, struct migrate_stats *ret_stats)
{
	const uint64_t now = hostclock_monotonic_ns();

	pthread_mutex_lock(&s->lock);
	*ret_stats = s->stats;
	ret_stats->total_ns = (s->ended_ns ? s->ended_ns : now) - s->began_ns;
	if (s->stats.rounds == 0)
		ret_stats->setup_ns = ret_stats->total_ns;
	ret_stats->transferred_bytes = __atomic_load_n(&s->wire.sent, __ATOMIC_RELAXED);
	pthread_mutex_unlock(&s->lock);
}

int migrate_source_fd(const struct migrate_source *s)
{
	return s->fd;
}

enum migrate_source_stage migrate_source_stage(const struct migrate_source *s)
{
	return __atomic_load_n(&s->stage, __ATOMIC_SEQ_CST);
}

/* Both lists may come after it has failed: then they are only taken over. */
void migrate_source_stands(struct migrate_source *s, struct vmstate_parts *time)
{
	pthread_mutex_lock(&s->lock);
	vmstate_parts_free(&s->time);
	s->time = *time;
	s->has_time = true;
	s->stood_ns = hostclock_monotonic_ns();
	pthread_cond_broadcast(&s->answered);
	pthread_mutex_unlock(&s->lock);
	*time = (struct vmstate_parts){0};
}

static bool is_time(const struct vmstate_part *p)
{
	return p->kind == VMSTATE_CLOCK || p->kind == VMSTATE_TSC || p->kind == VMSTATE_HOST;
}

static void leave_out_time(struct vmstate_parts *parts)
{
	uint32_t kept = 0;

	for (uint32_t i = 0; i < parts->n; i++)
		if (is_time(&parts->parts[i]))
			free(parts->parts[i].bytes);
		else
			parts->parts[kept++] = parts->parts[i];
	parts->n = kept;
}

void migrate_source_state(struct migrate_source *s, struct vmstate_parts *state)
{
	leave_out_time(state);
	pthread_mutex_lock(&s->lock);
	vmstate_parts_free(&s->state);
	s->state = *state;
	s->has_state = true;
	pthread_cond_broadcast(&s->answered);
	pthread_mutex_unlock(&s->lock);
	*state = (struct vmstate_parts){0};
}

void migrate_source_cannot(struct migrate_source *s, const struct why *why)
{
	pthread_mutex_lock(&s->lock);
	s->cannot = true;
	s->reason = *why;
	pthread_cond_broadcast(&s->answered);
	pthread_mutex_unlock(&s->lock);
}

/* It is ACTIVE when this returns, so that the owner knows the next question from this one; unless
 * it has come to its end meanwhile. */
void migrate_source_not_yet(struct migrate_source *s)
{
	enum migrate_source_stage stage = MIGRATE_SOURCE_HALT;

	__atomic_compare_exchange_n(&s->stage, &stage, MIGRATE_SOURCE_ACTIVE, false,
				    __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
	pthread_mutex_lock(&s->lock);
	s->not_yet = true;
	pthread_cond_broadcast(&s->answered);
	pthread_mutex_unlock(&s->lock);
}

/* Under the lock, as is what the thread does before it writes GO: one of the two comes first. */
int migrate_source_cancel(struct migrate_source *s, struct why *why)
{
	bool too_late;

	pthread_mutex_lock(&s->lock);
	too_late = s->too_late;
	if (!too_late) {
		s->cancelled = true;
		__atomic_store_n(&s->give_up, true, __ATOMIC_SEQ_CST);
		pthread_cond_broadcast(&s->answered);
	}
	pthread_mutex_unlock(&s->lock);
	return too_late ? why_set(why, -EBUSY, "%s: has been told to go (wait for what it says)",
				  s->name)
			: 0;
}

/* A GO that is being written is whole or is not, as ever. */
void migrate_source_abandon(struct migrate_source *s)
{
	if (migrate_source_cancel(s, NULL) < 0)
		__atomic_store_n(&s->give_up, true, __ATOMIC_SEQ_CST);
}

enum migrate_source_stage migrate_source_end(struct migrate_source *s,
					     struct migrate_stats *ret_stats, struct why *why)
{
	enum migrate_source_stage stage;

	pthread_join(s->thread, NULL);
	migrate_source_stats(s, ret_stats);
	stage = migrate_source_stage(s);
	if (stage != MIGRATE_SOURCE_COMPLETED)
		why_set(why, s->result, "%s", s->why.text);
	release(s);
	return stage;
}
