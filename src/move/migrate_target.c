/* SPDX-License-Identifier: Apache-2.0 */
/* migrate_target.c - a machine that comes from another host: listening, the owner, and the end.
 * What is said meanwhile is in migrate_talk.c. */
#include "move/migrate_target.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "host/hostclock.h"
#include "kvm/thread.h"
#include "move/door.h"
#include "move/migrate_talk.h"

struct migrate_target {
	struct migrate_target_config config;
	struct talk talk;
	int fd, listener;
	int wake; /* readable once it was given up */
	pthread_t thread;
	bool give_up;                    /* atomic */
	enum migrate_target_stage stage; /* atomic */
	pthread_mutex_t lock;            /* of the answer, and of becoming a question */
	pthread_cond_t answered;
	bool has_answer;
	unsigned asked;
	int answer;
	struct why answer_why;
	uint64_t ended_ns; /* atomic; 0: it has not */
	struct why why;    /* why it failed */
};

static void reach(struct migrate_target *t, enum migrate_target_stage stage)
{
	const uint64_t one = 1;

	__atomic_store_n(&t->stage, stage, __ATOMIC_SEQ_CST);
	(void)!write(t->fd, &one, sizeof(one));
}

static void on_stage(void *owner, enum migrate_target_stage stage)
{
	reach(owner, stage);
}

static int given_up(const struct migrate_target *t, struct why *why)
{
	return why_set(why, -ECANCELED, "%s: was given up here", t->config.name);
}

/* Once GO has come nobody is given up. */
static int on_question(void *owner, enum migrate_target_stage stage, struct why *why)
{
	struct migrate_target *t = owner;
	const bool ours = stage == MIGRATE_TARGET_GO;
	bool answered;
	int result;

	pthread_mutex_lock(&t->lock);
	t->has_answer = false;
	t->asked += stage == MIGRATE_TARGET_ASKED;
	reach(t, stage);
	while (!t->has_answer && (ours || !__atomic_load_n(&t->give_up, __ATOMIC_SEQ_CST)))
		pthread_cond_wait(&t->answered, &t->lock);
	answered = t->has_answer;
	result = t->answer;
	*why = t->answer_why;
	pthread_mutex_unlock(&t->lock);
	return answered ? result : given_up(t, why);
}

static void answer(struct migrate_target *t, enum migrate_target_stage to, int result,
		   const struct why *why)
{
	pthread_mutex_lock(&t->lock);
	if (migrate_target_stage(t) == to && !t->has_answer) {
		t->has_answer = true;
		t->answer = result;
		t->answer_why = (struct why){""};
		if (result < 0)
			t->answer_why =
				why && why->text[0] ? *why : (struct why){"it cannot run here"};
		pthread_cond_broadcast(&t->answered);
	}
	pthread_mutex_unlock(&t->lock);
}

void migrate_target_prepared(struct migrate_target *t, int result, const struct why *why)
{
	answer(t, MIGRATE_TARGET_ASKED, result, why);
}

void migrate_target_loaded(struct migrate_target *t, int result, const struct why *why)
{
	answer(t, MIGRATE_TARGET_WHOLE, result, why);
}

void migrate_target_running(struct migrate_target *t, int result, const struct why *why)
{
	answer(t, MIGRATE_TARGET_GO, result, why);
}

/* The next that connects, or -ECANCELED. */
static int next_client(struct migrate_target *t, struct why *why)
{
	for (;;) {
		struct pollfd p[] = {{.fd = t->listener, .events = POLLIN},
				     {.fd = t->wake, .events = POLLIN}};
		int fd;

		poll(p, 2, -1);
		if (__atomic_load_n(&t->give_up, __ATOMIC_SEQ_CST))
			return given_up(t, why);
		fd = accept4(t->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
		if (fd >= 0)
			return fd;
		if (p[0].revents)
			poll(&p[1], 1, 100); /* gone again, or no descriptor is to be had */
	}
}

/* 1: one has begun; 0: one was turned away. */
static int let_in(struct migrate_target *t, struct why *why)
{
	int fd = next_client(t, why), result;

	if (fd < 0)
		return fd;
	result = talk_begin(&t->talk, fd, why);
	if (result == 0)
		return 1;
	talk_end(&t->talk, why->text);
	if (__atomic_load_n(&t->give_up, __ATOMIC_SEQ_CST))
		return given_up(t, why);
	if (t->config.turned_away)
		t->config.turned_away(t->config.owner, t->talk.unfit, why->text);
	reach(t, MIGRATE_TARGET_LISTENS);
	return 0;
}

static void *serve(void *arg)
{
	struct migrate_target *t = arg;
	struct door *door;
	int result;

	do
		result = let_in(t, &t->why);
	while (result == 0);
	if (result > 0) {
		t->why = (struct why){""};
		door = door_begin(t->listener, t->config.name, "another machine is coming here");
		result = talk_go_on(&t->talk, &t->why);
		talk_end(&t->talk, result < 0 ? t->why.text : NULL);
		door_end(door);
	}
	close(t->listener);
	t->listener = -1;
	address_forget(&t->config.address);
	__atomic_store_n(&t->ended_ns, hostclock_monotonic_ns(), __ATOMIC_SEQ_CST);
	reach(t, result < 0 ? MIGRATE_TARGET_FAILED : MIGRATE_TARGET_DONE);
	return NULL;
}

static void release(struct migrate_target *t)
{
	const int fds[] = {t->fd, t->wake, t->listener};

	if (t->listener >= 0) {
		close(t->listener);
		address_forget(&t->config.address);
	}
	for (int i = 0; i < 2; i++)
		if (fds[i] >= 0)
			close(fds[i]);
	talk_free(&t->talk);
	pthread_cond_destroy(&t->answered);
	pthread_mutex_destroy(&t->lock);
	free(t);
}

static int start(struct migrate_target *t, struct why *why)
{
	struct talk_owner owner = {on_stage, on_question, t, &t->give_up, -1};
	int result;

	t->listener = owner.listener = address_listen(&t->config.address, why);
	if (t->listener < 0)
		return t->listener;
	result = talk_init(&t->talk, &t->config, &owner, why);
	if (result < 0)
		return result;
	t->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	t->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	result = t->fd < 0 || t->wake < 0 ? -errno : thread_start(&t->thread, "migrate", serve, t);
	return result < 0 ? why_set(why, -ENOMEM, "%s: no thread to wait for it: %s",
				    t->config.name, strerror(-result))
			  : 0;
}

int migrate_target_begin(const struct migrate_target_config *config,
			 struct migrate_target **ret_target, struct why *why)
{
	struct migrate_target *t = calloc(1, sizeof(*t));
	int result;

	if (!t)
		return why_set(why, -ENOMEM, "%s: no memory to wait for it", config->name);
	t->config = *config;
	t->fd = t->wake = t->listener = -1;
	pthread_mutex_init(&t->lock, NULL);
	pthread_cond_init(&t->answered, NULL);
	result = start(t, why);
	if (result < 0) {
		release(t);
		return result;
	}
	*ret_target = t;
	return 0;
}

int migrate_target_fd(const struct migrate_target *t)
{
	return t->fd;
}

enum migrate_target_stage migrate_target_stage(const struct migrate_target *t)
{
	return __atomic_load_n(&t->stage, __ATOMIC_SEQ_CST);
}

void migrate_target_stats(struct migrate_target *t, struct migrate_target_stats *ret_stats)
{
	const uint64_t ended = __atomic_load_n(&t->ended_ns, __ATOMIC_SEQ_CST);

	talk_stats(&t->talk, ended ? ended : hostclock_monotonic_ns(), ret_stats);
}

unsigned migrate_target_asked(struct migrate_target *t)
{
	unsigned asked;

	pthread_mutex_lock(&t->lock);
	asked = migrate_target_stage(t) == MIGRATE_TARGET_ASKED ? t->asked : 0;
	pthread_mutex_unlock(&t->lock);
	return asked;
}

const struct vmstate_parts *migrate_target_description(const struct migrate_target *t)
{
	return &t->talk.description;
}

bool migrate_target_stands(const struct migrate_target *t)
{
	return t->talk.hello.stands;
}

const struct vmstate_parts *migrate_target_state(const struct migrate_target *t)
{
	return &t->talk.state;
}

void migrate_target_window(const struct migrate_target *t, struct hosts_window *ret_window)
{
	*ret_window = t->talk.window;
}

void migrate_target_give_up(struct migrate_target *t)
{
	const uint64_t one = 1;

	pthread_mutex_lock(&t->lock);
	__atomic_store_n(&t->give_up, true, __ATOMIC_SEQ_CST);
	pthread_cond_broadcast(&t->answered);
	pthread_mutex_unlock(&t->lock);
	(void)!write(t->wake, &one, sizeof(one));
}

enum migrate_target_stage migrate_target_end(struct migrate_target *t, struct why *why)
{
	enum migrate_target_stage stage;

	if (!t)
		return MIGRATE_TARGET_FAILED;
	pthread_join(t->thread, NULL);
	stage = migrate_target_stage(t);
	why_set(why, 0, "%s", t->why.text);
	release(t);
	return stage;
}
