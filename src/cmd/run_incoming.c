/* SPDX-License-Identifier: Apache-2.0 */
/* run_incoming.c - a machine that comes from another host: the owner's side of
 * move/migrate_target.h. */
#include "cmd/run_incoming.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cmd/run_migrate_json.h"
#include "cmd/run_progress.h"
#include "cmd/run_qmp.h"

enum { US_PER_MS = 1000 };

#define HELLO_PATIENCE_NS 5000000000ULL
#define PATIENCE_NS 30000000000ULL

static void tell(struct run_incoming *in, const char *status)
{
	if (in->status && strcmp(in->status, status) == 0)
		return;
	in->status = status;
	qmp_event(in->qmp->server, "MIGRATION", json_pack("{s:s}", "status", status));
}

static int read_host(void *owner, struct hosts_reading *ret_reading)
{
	const struct run_incoming *in = owner;

	return hosts_read(machine_tsc_khz(in->machine), ret_reading);
}

/* In the other thread. */
static void on_turned_away(void *owner, bool unfit, const char *why)
{
	struct run_incoming *in = owner;

	if (!unfit) {
		fprintf(stderr, "vmtime run: turned away: %s\n", why);
	} else if (!__atomic_load_n(&in->unfit, __ATOMIC_SEQ_CST)) {
		why_set(&in->unfit_why, 0, "%s", why);
		__atomic_store_n(&in->unfit, true, __ATOMIC_SEQ_CST);
	}
}

static void on_show(evutil_socket_t fd, short what, void *arg)
{
	const struct run_incoming *in = arg;
	struct migrate_target_stats stats;
	char text[RUN_PROGRESS_SIZE];

	(void)fd;
	(void)what;
	if (migrate_target_stage(in->target) < MIGRATE_TARGET_ACTIVE)
		return;
	migrate_target_stats(in->target, &stats);
	run_progress_coming(&stats, text);
	run_progress_show(text);
}

/* One may leave again before it has begun, and another one may ask before anybody has looked. */
static void prepare(struct run_incoming *in)
{
	const unsigned asked = migrate_target_asked(in->target);

	if (!asked || asked == in->prepared)
		return;
	in->prepared = asked;
	in->result = machine_prepare(in->machine, migrate_target_description(in->target), &in->why);
	migrate_target_prepared(in->target, in->result, &in->why);
}

static void whole(struct run_incoming *in)
{
	if (in->loaded)
		return;
	in->loaded = true;
	migrate_target_window(in->target, &in->window);
	machine_arrive_from(in->machine, migrate_target_state(in->target), &in->window,
			    migrate_target_stands(in->target));
	in->result = machine_load(in->machine, &in->why);
	if (in->result == 0)
		in->result = machine_finish(in->machine, &in->why);
	migrate_target_loaded(in->target, in->result, &in->why);
}

static void stop_showing(struct run_incoming *in)
{
	if (!in->show)
		return;
	event_free(in->show);
	in->show = NULL;
	run_progress_clear();
}

/* Waits, if need be, and frees the target.  -EIO: the machine never was ours. */
static int end(struct run_incoming *in)
{
	enum migrate_target_stage stage;
	struct why why = {""};

	stop_showing(in);
	if (in->event)
		event_free(in->event);
	in->event = NULL;
	migrate_target_stats(in->target, &in->stats);
	stage = migrate_target_end(in->target, &why);
	in->target = NULL;
	tell(in, stage == MIGRATE_TARGET_DONE ? "completed" : "failed");
	if (stage == MIGRATE_TARGET_DONE && why.text[0]) /* the source may not know */
		fprintf(stderr, "vmtime run: %s\n", why.text);
	if (stage == MIGRATE_TARGET_DONE || in->result < 0)
		return in->result;
	in->why = why;
	return in->result = -EIO;
}

static void leave_the_loop(struct run_incoming *in)
{
	event_base_loopbreak(in->base);
}

static void look(struct run_incoming *in)
{
	const enum migrate_target_stage stage = migrate_target_stage(in->target);

	if (stage >= MIGRATE_TARGET_ACTIVE && stage <= MIGRATE_TARGET_GO)
		tell(in, "active");
	switch (stage) {
	case MIGRATE_TARGET_ASKED:
		prepare(in);
		break;
	case MIGRATE_TARGET_WHOLE:
		whole(in);
		break;
	case MIGRATE_TARGET_GO:
		in->ours = true;
		break;
	case MIGRATE_TARGET_FAILED:
		in->over = !in->answered;
		break;
	default:
		break;
	}
	if (__atomic_load_n(&in->unfit, __ATOMIC_SEQ_CST) && !in->over) {
		in->over = true;
		if (in->result == 0) {
			in->result = -EINVAL;
			in->why = in->unfit_why;
		}
	}
	if (in->over || (in->ours && !in->answered))
		leave_the_loop(in);
	else if (stage >= MIGRATE_TARGET_DONE)
		(void)end(in);
}

static void on_stage(evutil_socket_t fd, short what, void *arg)
{
	struct run_incoming *in = arg;
	uint64_t count;

	(void)what;
	/* Before the stage is looked at: what is reached after the look wakes the loop again. */
	(void)!read(fd, &count, sizeof(count));
	look(in);
}

static int watch(struct run_incoming *in)
{
	static const struct timeval period = {.tv_usec = RUN_PROGRESS_MS * US_PER_MS};

	in->event = event_new(in->base, migrate_target_fd(in->target), EV_READ | EV_PERSIST,
			      on_stage, in);
	if (in->progress) {
		in->show = event_new(in->base, -1, EV_PERSIST, on_show, in);
		if (!in->show || event_add(in->show, &period) < 0)
			return -ENOMEM;
	}
	return in->event && event_add(in->event, NULL) == 0 ? 0 : -ENOMEM;
}

/* It is not wanted any more; one that has become ours meanwhile is given back. */
static void give_up(struct run_incoming *in, int result, const struct why *why)
{
	struct pollfd p = {.fd = migrate_target_fd(in->target), .events = POLLIN};
	enum migrate_target_stage stage;
	uint64_t count;

	migrate_target_give_up(in->target);
	while ((stage = migrate_target_stage(in->target)) < MIGRATE_TARGET_DONE) {
		if (stage == MIGRATE_TARGET_GO && !in->answered) {
			in->answered = true;
			migrate_target_running(in->target, result, why);
		}
		(void)poll(&p, 1, -1);
		(void)!read(p.fd, &count, sizeof(count));
	}
}

int run_incoming_wait(struct run_incoming *in, const struct address *address, struct why *why)
{
	const struct migrate_target_config config = {
		.address = *address,
		.name = in->uri,
		.memory = machine_memory(in->machine),
		.hello_patience_ns = HELLO_PATIENCE_NS,
		.patience_ns = PATIENCE_NS,
		.read_host = read_host,
		.turned_away = on_turned_away,
		.owner = in,
	};
	struct why given_up = {""};
	int result = migrate_target_begin(&config, &in->target, why);

	if (result < 0)
		return result == -ENOMEM ? result : -EIO;
	in->place = RUN_INCOMING_COMES;
	result = watch(in);
	if (result == 0) {
		fprintf(stderr, "vmtime run: waits for a machine at %s\n", in->uri);
		tell(in, "setup");
		event_base_dispatch(in->base);
		if (in->ours) {
			stop_showing(in);
			return 0;
		}
	}
	result = result < 0 ? why_set(why, result, "no memory for a machine that comes")
		 : in->over ? 0
			    : -ECANCELED;
	if (result < 0)
		why_set(&given_up, result, "it is not waited for any more");
	give_up(in, result < 0 ? result : in->result, &given_up);
	if (result < 0)
		in->result = result;
	result = end(in);
	if (result != -ECANCELED)
		*why = in->why;
	return result;
}

void run_incoming_runs(struct run_incoming *in)
{
	/* Changes before it is ours are of its state that is loaded. */
	if (!in->target || in->answered || !in->ours)
		return;
	in->answered = true;
	in->place = RUN_INCOMING_HERE;
	migrate_target_running(in->target, 0, NULL);
	if (!machine_is_paused(in->machine))
		qmp_event(in->qmp->server, "RESUME", NULL);
}

void run_incoming_end(struct run_incoming *in, int result, const struct why *why)
{
	if (!in->target)
		return;
	if (!in->answered) {
		in->answered = true;
		in->result = result;
		migrate_target_running(in->target, result, why);
	}
	(void)end(in);
}

bool run_incoming_refuses(const struct run_incoming *in, const char *what, struct why *why)
{
	if (in->place != RUN_INCOMING_COMES)
		return false;
	why_set(why, -EAGAIN, "%s: the machine has not come yet (migrate it to %s)", what, in->uri);
	return true;
}

json_t *run_incoming_query(const struct run_incoming *in)
{
	struct migrate_target_stats stats = in->stats;

	if (!in->status)
		return NULL;
	if (in->target)
		migrate_target_stats(in->target, &stats);
	return run_migrate_report_come(in->status, &stats);
}
