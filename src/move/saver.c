/* SPDX-License-Identifier: Apache-2.0 */
/* saver.c - a snapshot is written in a thread of its own. */
#include "move/saver.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "kvm/thread.h"

struct saver {
	const char *path;
	struct vmstate_parts state;
	const struct guest_memory *memory;
	struct snapshot_watch watch;
	pthread_t thread;
	int fd;
	enum saver_stage stage;
	int result;
	struct image_stats stats;
	struct why why;
};

static void reach(struct saver *s, enum saver_stage stage)
{
	const uint64_t one = 1;

	__atomic_store_n(&s->stage, stage, __ATOMIC_SEQ_CST);
	(void)!write(s->fd, &one, sizeof(one));
}

static void on_taken(void *owner)
{
	reach(owner, SAVER_WRITES);
}

static void *save(void *arg)
{
	struct saver *s = arg;

	s->result = snapshot_save(s->path, &s->state, s->memory, &s->watch, &s->stats, &s->why);
	reach(s, SAVER_DONE);
	return NULL;
}

static void release(struct saver *s)
{
	if (s->fd >= 0)
		close(s->fd);
	vmstate_parts_free(&s->state);
	free(s);
}

int saver_begin(const char *path, struct vmstate_parts *state, const struct guest_memory *memory,
		struct saver **ret_saver, struct why *why)
{
	struct saver *s = calloc(1, sizeof(*s));
	int result;

	if (!s) {
		vmstate_parts_free(state);
		return why_set(why, -ENOMEM, "%s: no memory to write it", path);
	}
	s->path = path;
	s->state = *state;
	*state = (struct vmstate_parts){0};
	s->memory = memory;
	s->watch = (struct snapshot_watch){.taken = on_taken, .owner = s};
	s->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	result = s->fd < 0 ? -errno : thread_start(&s->thread, "snapshot", save, s);
	if (result < 0) {
		release(s);
		return why_set(why, -ENOMEM, "%s: no thread to write it: %s", path,
			       strerror(-result));
	}
	*ret_saver = s;
	return 0;
}

int saver_fd(const struct saver *s)
{
	return s->fd;
}

enum saver_stage saver_stage(const struct saver *s)
{
	return __atomic_load_n(&s->stage, __ATOMIC_SEQ_CST);
}

void saver_give_up(struct saver *s)
{
	__atomic_store_n(&s->watch.give_up, true, __ATOMIC_SEQ_CST);
}

int saver_end(struct saver *s, struct image_stats *ret_stats, struct why *why)
{
	int result;

	pthread_join(s->thread, NULL);
	result = s->result;
	*ret_stats = s->stats;
	if (result < 0)
		why_set(why, result, "%s", s->why.text);
	release(s);
	return result;
}
