/* SPDX-License-Identifier: Apache-2.0 */
/* run_incoming_test.c - a machine comes from another host, or does not: what is made of it at each
 * stage, and what clients are told.  The machine and the other thread are played. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "cmd/run_incoming.h"
#include "cmd/run_qmp.h"

/* What has been done and told, in order. */
static char diary[1024];
static int prepare_says, load_says, finish_says, begin_says; /* 0, or a negative errno */
static bool stands, goes_when_given_up;
static enum migrate_target_stage stage;
static unsigned asked;
static int fd;
static struct migrate_target_config config;
static struct migrate_target *const target = (struct migrate_target *)&stage;
static struct run_qmp qmp;
static struct run_incoming *const in = &qmp.incoming;

/* The stages that the other thread reaches, one at each turn of the loop; STOP: somebody ends the
 * loop; AGAIN: they wake it once more; UNFIT: somebody is turned away; CHANGE: the watch of the
 * machine tells of one. */
enum { AGAIN = 96, CHANGE = 97, UNFIT = 98, STOP = 99, END = 100 };
static const int *plan;
static struct event *turn;

static void note(const char *what)
{
	size_t n = strlen(diary);

	snprintf(diary + n, sizeof(diary) - n, "%s%s", n ? " " : "", what);
}

static void note_result(const char *what, int result, const struct why *why)
{
	char text[600];

	snprintf(text, sizeof(text), "%s%s%s", what, result < 0 ? ": " : "",
		 result < 0 ? why->text : "");
	note(text);
}

static void reach(int next)
{
	const uint64_t one = 1;

	if (next != AGAIN) {
		stage = (enum migrate_target_stage)next;
		asked += stage == MIGRATE_TARGET_ASKED;
	}
	assert_int_equal(write(fd, &one, sizeof(one)), sizeof(one));
}

static void on_turn(evutil_socket_t unused, short what, void *arg)
{
	static const struct timeval soon = {.tv_usec = 1000};

	(void)unused;
	(void)what;
	(void)arg;
	if (*plan == END)
		return;
	if (*plan == CHANGE)
		run_incoming_runs(in);
	else if (*plan == STOP)
		event_base_loopbreak(qmp.base);
	else if (*plan == UNFIT)
		config.turned_away(config.owner, true, "other memory");
	else
		reach(*plan);
	plan++;
	evtimer_add(turn, &soon);
}

/* ---- The machine ---- */

static int says(const char *name, int result, struct why *why)
{
	note(name);
	return result < 0 ? why_set(why, result, "%s says no", name) : 0;
}

int machine_prepare(struct machine *m, const struct vmstate_parts *description, struct why *why)
{
	(void)m;
	(void)description;
	return says("prepare", prepare_says, why);
}

void machine_arrive_from(struct machine *m, const struct vmstate_parts *state,
			 const struct hosts_window *window, bool stood)
{
	(void)m;
	(void)state;
	assert_int_equal(stood, stands);
	assert_int_equal(window->lo_ns, -30);
	note("arrive");
}

int machine_load(struct machine *m, struct why *why)
{
	(void)m;
	return says("load", load_says, why);
}

int machine_finish(struct machine *m, struct why *why)
{
	(void)m;
	return says("finish", finish_says, why);
}

bool machine_is_paused(const struct machine *m)
{
	(void)m;
	return stands;
}

const struct guest_memory *machine_memory(const struct machine *m)
{
	(void)m;
	return NULL;
}

uint32_t machine_tsc_khz(const struct machine *m)
{
	(void)m;
	return 0;
}

int hosts_read(uint32_t tsc_khz, struct hosts_reading *ret_reading)
{
	ret_reading->tsc_khz = tsc_khz;
	return 0;
}

void qmp_event(struct qmp *q, const char *name, json_t *data)
{
	(void)q;
	note(data ? json_string_value(json_object_get(data, "status")) : name);
	json_decref(data);
}

/* ---- The other thread ---- */

int migrate_target_begin(const struct migrate_target_config *c, struct migrate_target **ret_target,
			 struct why *why)
{
	config = *c;
	if (begin_says < 0)
		return why_set(why, begin_says, "tcp::1: the port is taken");
	stage = MIGRATE_TARGET_LISTENS;
	fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	*ret_target = target;
	return 0;
}

int migrate_target_fd(const struct migrate_target *t)
{
	assert_ptr_equal(t, target);
	return fd;
}

enum migrate_target_stage migrate_target_stage(const struct migrate_target *t)
{
	assert_ptr_equal(t, target);
	return stage;
}

void migrate_target_stats(struct migrate_target *t, struct migrate_target_stats *ret_stats)
{
	assert_ptr_equal(t, target);
	*ret_stats = (struct migrate_target_stats){.come_bytes = 77};
}

const struct vmstate_parts *migrate_target_description(const struct migrate_target *t)
{
	assert_ptr_equal(t, target);
	return NULL;
}

unsigned migrate_target_asked(struct migrate_target *t)
{
	assert_ptr_equal(t, target);
	return stage == MIGRATE_TARGET_ASKED ? asked : 0;
}

const struct vmstate_parts *migrate_target_state(const struct migrate_target *t)
{
	assert_ptr_equal(t, target);
	return NULL;
}

bool migrate_target_stands(const struct migrate_target *t)
{
	assert_ptr_equal(t, target);
	return stands;
}

void migrate_target_window(const struct migrate_target *t, struct hosts_window *ret_window)
{
	assert_ptr_equal(t, target);
	*ret_window = (struct hosts_window){.known = true, .lo_ns = -30, .hi_ns = 40};
}

void migrate_target_prepared(struct migrate_target *t, int result, const struct why *why)
{
	assert_ptr_equal(t, target);
	note_result("prepared", result, why);
	if (result < 0)
		config.turned_away(config.owner, true, why->text);
}

void migrate_target_loaded(struct migrate_target *t, int result, const struct why *why)
{
	assert_ptr_equal(t, target);
	note_result("loaded", result, why);
}

void migrate_target_running(struct migrate_target *t, int result, const struct why *why)
{
	assert_ptr_equal(t, target);
	note_result("running", result, why);
	reach(result < 0 ? MIGRATE_TARGET_FAILED : MIGRATE_TARGET_DONE);
}

void migrate_target_give_up(struct migrate_target *t)
{
	assert_ptr_equal(t, target);
	note("give up");
	reach(goes_when_given_up ? MIGRATE_TARGET_GO : MIGRATE_TARGET_FAILED);
}

enum migrate_target_stage migrate_target_end(struct migrate_target *t, struct why *why)
{
	assert_ptr_equal(t, target);
	assert_true(stage >= MIGRATE_TARGET_DONE);
	close(fd);
	why_set(why, -EIO, "%s",
		stage == MIGRATE_TARGET_DONE ? "" : "tcp::1: the connection was closed");
	return stage;
}

/* ---- Helpers ---- */

static int set_up(void **state)
{
	(void)state;
	diary[0] = '\0';
	stands = goes_when_given_up = false;
	prepare_says = load_says = finish_says = begin_says = 0;
	qmp = (struct run_qmp){.base = event_base_new()};
	*in = (struct run_incoming){.uri = "tcp::1", .base = qmp.base, .qmp = &qmp};
	turn = evtimer_new(qmp.base, on_turn, NULL);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	assert_null(in->target);
	event_free(turn);
	event_base_free(qmp.base);
	return 0;
}

/* Waits while the other thread does that. */
static int waits(const int *stages, struct why *why)
{
	const struct address address = {.tcp = true, .port = "1"};

	plan = stages;
	event_active(turn, 0, 0);
	return run_incoming_wait(in, &address, why);
}

static void has_done(const char *expected)
{
	assert_string_equal(diary, expected);
	diary[0] = '\0';
}

/* ---- The cases ---- */

static const int all[] = {MIGRATE_TARGET_ASKED,  MIGRATE_TARGET_ACTIVE, MIGRATE_TARGET_WHOLE,
			  MIGRATE_TARGET_LOADED, MIGRATE_TARGET_GO,     END};

static void a_machine_comes(void **state)
{
	struct why why = {""};

	(void)state;
	assert_false(run_incoming_refuses(in, "cont", NULL));
	assert_null(run_incoming_query(in));
	assert_int_equal(waits(all, &why), 0);
	has_done("setup prepare prepared active arrive load finish loaded");
	assert_true(run_incoming_refuses(in, "cont", &why));
	assert_string_equal(why.text, "cont: the machine has not come yet (migrate it to tcp::1)");
	run_incoming_runs(in); /* as its watch says */
	has_done("running RESUME");
	assert_false(run_incoming_refuses(in, "cont", NULL));
	event_base_loop(qmp.base, EVLOOP_ONCE);
	has_done("completed");
	run_incoming_runs(in);
	run_incoming_end(in, 0, NULL);
	has_done("");
}

static void one_that_stood_still_comes_so(void **state)
{
	struct why why;

	(void)state;
	stands = true;
	assert_int_equal(waits(all, &why), 0);
	run_incoming_runs(in);
	event_base_loop(qmp.base, EVLOOP_ONCE);
	has_done("setup prepare prepared active arrive load finish loaded running completed");
}

static void stages_that_pass_between_two_looks_are_made_up_for(void **state)
{
	static const int few[] = {MIGRATE_TARGET_ASKED, AGAIN, MIGRATE_TARGET_WHOLE, AGAIN,
				  MIGRATE_TARGET_GO,    END};
	struct why why;

	(void)state;
	assert_int_equal(waits(few, &why), 0);
	has_done("setup prepare prepared active arrive load finish loaded");
	run_incoming_runs(in);
	run_incoming_end(in, 0, NULL);
	has_done("running RESUME completed");
}

static void one_that_does_not_fit_is_refused_and_told(void **state)
{
	static const int seen[] = {MIGRATE_TARGET_ASKED, MIGRATE_TARGET_LISTENS, END},
			 next[] = {MIGRATE_TARGET_ASKED, MIGRATE_TARGET_ASKED, END};
	struct why why;

	(void)state;
	prepare_says = -EXDEV;
	assert_int_equal(waits(seen, &why), -EXDEV);
	assert_string_equal(why.text, "prepare says no");
	has_done("setup prepare prepared: prepare says no give up failed");
	/* Another one asks before anybody has looked. */
	*in = (struct run_incoming){.uri = "tcp::1", .base = qmp.base, .qmp = &qmp};
	assert_int_equal(waits(next, &why), -EXDEV);
	has_done("setup prepare prepared: prepare says no give up failed");
}

/* As one that was killed does. */
static void one_that_leaves_before_it_has_begun_makes_room_for_the_next(void **state)
{
	static const int seen[] = {MIGRATE_TARGET_ASKED, MIGRATE_TARGET_LISTENS,
				   MIGRATE_TARGET_ASKED, MIGRATE_TARGET_ACTIVE,
				   MIGRATE_TARGET_WHOLE, MIGRATE_TARGET_LOADED,
				   MIGRATE_TARGET_GO,    END};
	static const int unseen[] = {MIGRATE_TARGET_ASKED,
				     MIGRATE_TARGET_ASKED,
				     MIGRATE_TARGET_ACTIVE,
				     MIGRATE_TARGET_WHOLE,
				     MIGRATE_TARGET_LOADED,
				     MIGRATE_TARGET_GO,
				     END};
	struct why why;

	(void)state;
	for (int i = 0; i < 2; i++) {
		*in = (struct run_incoming){.uri = "tcp::1", .base = qmp.base, .qmp = &qmp};
		assert_int_equal(waits(i ? unseen : seen, &why), 0);
		has_done(
			"setup prepare prepared prepare prepared active arrive load finish loaded");
		run_incoming_runs(in);
		run_incoming_end(in, 0, NULL);
		has_done("running RESUME completed");
	}
}

static void one_of_another_size_is_refused_before_it_asks(void **state)
{
	static const int stages[] = {UNFIT, MIGRATE_TARGET_LISTENS, END};
	struct why why;

	(void)state;
	assert_int_equal(waits(stages, &why), -EINVAL);
	assert_string_equal(why.text, "other memory");
	has_done("setup give up failed");
}

static void one_that_is_damaged_is_refused_when_it_is_whole(void **state)
{
	static const int stages[] = {MIGRATE_TARGET_ASKED, MIGRATE_TARGET_WHOLE,
				     MIGRATE_TARGET_FAILED, END};
	struct why why;

	(void)state;
	load_says = -EINVAL;
	assert_int_equal(waits(stages, &why), -EINVAL);
	assert_string_equal(why.text, "load says no");
	has_done("setup prepare prepared active arrive load loaded: load says no give up failed");
}

static void one_that_does_not_come_is_told_of(void **state)
{
	static const int stages[] = {MIGRATE_TARGET_ASKED, MIGRATE_TARGET_ACTIVE,
				     MIGRATE_TARGET_FAILED, END};
	struct why why;

	(void)state;
	assert_int_equal(waits(stages, &why), -EIO);
	assert_string_equal(why.text, "tcp::1: the connection was closed");
	has_done("setup prepare prepared active give up failed");
}

static void nobody_waits_for_ever(void **state)
{
	static const int stopped[] = {STOP, END},
			 late[] = {MIGRATE_TARGET_ASKED, MIGRATE_TARGET_WHOLE, STOP, END};
	struct why why;

	(void)state;
	assert_int_equal(waits(stopped, &why), -ECANCELED);
	has_done("setup give up failed");
	*in = (struct run_incoming){.uri = "tcp::1", .base = qmp.base, .qmp = &qmp};
	assert_int_equal(waits(late, &why), -ECANCELED);
	has_done("setup prepare prepared active arrive load finish loaded give up failed");
}

static void a_change_while_it_is_loaded_is_not_that_it_runs(void **state)
{
	static const int stages[] = {MIGRATE_TARGET_ASKED, MIGRATE_TARGET_WHOLE, CHANGE,
				     MIGRATE_TARGET_GO, END};
	struct why why;

	(void)state;
	assert_int_equal(waits(stages, &why), 0);
	has_done("setup prepare prepared active arrive load finish loaded");
	run_incoming_runs(in);
	run_incoming_end(in, 0, NULL);
	has_done("running RESUME completed");
}

static void what_has_become_ours_is_given_back(void **state)
{
	struct why why;

	(void)state;
	assert_int_equal(waits(all, &why), 0);
	why_set(&why, -EIO, "no console");
	diary[0] = '\0';
	run_incoming_end(in, -EIO, &why);
	has_done("running: no console failed");
}

static void what_becomes_ours_when_nobody_waits_any_more_is_given_back(void **state)
{
	static const int stages[] = {MIGRATE_TARGET_ASKED, MIGRATE_TARGET_WHOLE, STOP, END};
	struct why why;

	(void)state;
	goes_when_given_up = true;
	assert_int_equal(waits(stages, &why), -ECANCELED);
	has_done("setup prepare prepared active arrive load finish loaded give up running: it is "
		 "not waited for any more failed");
}

static void what_cannot_begin_is_told(void **state)
{
	struct why why;

	(void)state;
	begin_says = -EADDRINUSE;
	assert_int_equal(waits(all, &why), -EIO);
	assert_string_equal(why.text, "tcp::1: the port is taken");
	assert_false(run_incoming_refuses(in, "cont", NULL));
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(a_machine_comes),
		CASE(one_that_stood_still_comes_so),
		CASE(stages_that_pass_between_two_looks_are_made_up_for),
		CASE(one_that_does_not_fit_is_refused_and_told),
		CASE(one_that_leaves_before_it_has_begun_makes_room_for_the_next),
		CASE(one_of_another_size_is_refused_before_it_asks),
		CASE(one_that_is_damaged_is_refused_when_it_is_whole),
		CASE(one_that_does_not_come_is_told_of),
		CASE(nobody_waits_for_ever),
		CASE(a_change_while_it_is_loaded_is_not_that_it_runs),
		CASE(what_becomes_ours_when_nobody_waits_any_more_is_given_back),
		CASE(what_has_become_ours_is_given_back),
		CASE(what_cannot_begin_is_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
