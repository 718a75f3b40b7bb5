/* SPDX-License-Identifier: Apache-2.0 */
/* run_migrate_test.c - a machine goes to another host, or stays: what its owner does at each stage,
 * and what clients are told.  The machine and the other thread are played. */
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

#include "cmd/run_migrate.h"
#include "cmd/run_migrate_json.h"
#include "cmd/run_qmp.h"

/* What has been done and told, in order: "STOP settle time stands save state". */
static char diary[1024];
static bool paused, logs;
static int settle_says, begin_says; /* 0, or a negative errno */
static unsigned busy;               /* so often a CPU is in the middle of an access */
static bool too_late;
static enum migrate_source_stage stage, outcome;
static int fd;
static struct migrate_params params;
static struct migrate_source *const source = (struct migrate_source *)&stage;
static struct run_qmp qmp;

static void note(const char *what)
{
	size_t n = strlen(diary);

	snprintf(diary + n, sizeof(diary) - n, "%s%s", n ? " " : "", what);
}

/* ---- The machine ---- */

int machine_describe(struct machine *m, struct vmstate_parts *parts, struct why *why)
{
	(void)m;
	(void)why;
	return vmstate_parts_add(parts, VMSTATE_MACHINE, 1, 0, "m", 1);
}

int machine_log_begin(struct machine *m, struct dirty *dirty, struct why *why)
{
	(void)m;
	(void)dirty;
	(void)why;
	logs = true;
	return 0;
}

void machine_log_end(struct machine *m, struct dirty *dirty)
{
	(void)m;
	(void)dirty;
	assert_true(logs);
	logs = false;
}

int machine_settle(struct machine *m, struct why *why)
{
	(void)m;
	assert_true(paused);
	note("settle");
	if (busy) {
		busy--;
		return why_set(why, -EAGAIN, "CPU 0 is in the middle of an access");
	}
	return settle_says < 0 ? why_set(why, settle_says, "KVM says no") : 0;
}

int machine_save_time(struct machine *m, struct vmstate_parts *parts, struct why *why)
{
	(void)m;
	(void)why;
	assert_true(paused);
	note("time");
	return vmstate_parts_add(parts, VMSTATE_CLOCK, 1, 0, "t", 1);
}

int machine_save(struct machine *m, struct vmstate_parts *parts, struct why *why)
{
	(void)m;
	(void)why;
	assert_true(paused);
	note("save");
	return vmstate_parts_add(parts, VMSTATE_CPU, 1, 0, "c", 1);
}

bool machine_is_paused(const struct machine *m)
{
	(void)m;
	return paused;
}

const struct guest_memory *machine_memory(const struct machine *m)
{
	(void)m;
	return NULL;
}

uint32_t machine_tsc_khz(const struct machine *m)
{
	(void)m;
	return 1000000;
}

int hosts_read(uint32_t tsc_khz, struct hosts_reading *ret_reading)
{
	ret_reading->tsc_khz = tsc_khz;
	return 0;
}

/* ---- QMP ---- */

int run_qmp_stop(struct run_qmp *q, struct why *why)
{
	(void)q;
	(void)why;
	if (!paused)
		note("STOP");
	paused = true;
	return 0;
}

int run_qmp_go_on(struct run_qmp *q, struct why *why)
{
	(void)q;
	(void)why;
	if (paused)
		note("RESUME");
	paused = false;
	return 0;
}

void qmp_event(struct qmp *q, const char *name, json_t *data)
{
	(void)q;
	assert_string_equal(name, "MIGRATION");
	note(json_string_value(json_object_get(data, "status")));
	json_decref(data);
}

/* ---- The other thread ---- */

int migrate_source_begin(const struct migrate_source_config *config, const struct migrate_params *p,
			 struct migrate_source **ret_source, struct why *why)
{
	assert_int_equal(config->stands, paused);
	assert_int_equal(config->description->n, 1);
	assert_true(logs);
	params = *p;
	if (begin_says < 0)
		return why_set(why, begin_says, "no memory");
	stage = MIGRATE_SOURCE_SETUP;
	fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	*ret_source = source;
	return 0;
}

void migrate_source_set(struct migrate_source *s, const struct migrate_params *p)
{
	assert_ptr_equal(s, source);
	params = *p;
}

void migrate_source_stats(struct migrate_source *s, struct migrate_stats *ret_stats)
{
	assert_ptr_equal(s, source);
	*ret_stats = (struct migrate_stats){.transferred_bytes = 77, .rounds = 2};
}

int migrate_source_fd(const struct migrate_source *s)
{
	assert_ptr_equal(s, source);
	return fd;
}

enum migrate_source_stage migrate_source_stage(const struct migrate_source *s)
{
	assert_ptr_equal(s, source);
	return stage;
}

void migrate_source_stands(struct migrate_source *s, struct vmstate_parts *time)
{
	assert_ptr_equal(s, source);
	note("stands");
	assert_int_equal(time->n, 1);
	vmstate_parts_free(time);
}

void migrate_source_state(struct migrate_source *s, struct vmstate_parts *state)
{
	assert_ptr_equal(s, source);
	note("state");
	assert_int_equal(state->n, 1);
	vmstate_parts_free(state);
}

void migrate_source_not_yet(struct migrate_source *s)
{
	assert_ptr_equal(s, source);
	assert_false(paused);
	note("not yet");
	stage = MIGRATE_SOURCE_ACTIVE;
}

void migrate_source_cannot(struct migrate_source *s, const struct why *why)
{
	assert_ptr_equal(s, source);
	note("cannot:");
	note(why->text);
}

int migrate_source_cancel(struct migrate_source *s, struct why *why)
{
	assert_ptr_equal(s, source);
	if (too_late)
		return why_set(why, -EBUSY, "too late");
	outcome = MIGRATE_SOURCE_CANCELLED;
	return 0;
}

void migrate_source_abandon(struct migrate_source *s)
{
	assert_ptr_equal(s, source);
	outcome = too_late ? MIGRATE_SOURCE_UNKNOWN : MIGRATE_SOURCE_CANCELLED;
}

enum migrate_source_stage migrate_source_end(struct migrate_source *s,
					     struct migrate_stats *ret_stats, struct why *why)
{
	assert_ptr_equal(s, source);
	close(fd);
	*ret_stats = (struct migrate_stats){.total_ns = 2000000000, .downtime_ns = 41500000};
	why_set(why, -EIO, "unix:/b: the connection was closed");
	return outcome;
}

/* ---- Helpers ---- */

static int set_up(void **state)
{
	(void)state;
	diary[0] = '\0';
	paused = logs = too_late = false;
	settle_says = begin_says = 0;
	busy = 0;
	qmp = (struct run_qmp){.base = event_base_new()};
	run_migrate_init(&qmp.migrate);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	assert_false(logs);
	event_base_free(qmp.base);
	return 0;
}

static json_t *begin(const char *uri, struct why *why)
{
	json_t *arguments = json_pack("{s:s}", "uri", uri), *answer;

	answer = run_migrate_begin(&qmp, arguments, why);
	json_decref(arguments);
	return answer;
}

static void begins(void)
{
	struct why why;
	json_t *answer = begin("unix:/b", &why);

	assert_non_null(answer);
	json_decref(answer);
}

/* The other thread has got so far, and the loop learns of it. */
static void reaches(enum migrate_source_stage next)
{
	const uint64_t one = 1;

	stage = outcome = next;
	assert_int_equal(write(fd, &one, sizeof(one)), sizeof(one));
	event_base_loop(qmp.base, EVLOOP_ONCE);
}

static void has_done(const char *expected)
{
	assert_string_equal(diary, expected);
	diary[0] = '\0';
}

static void is_refused(const char *words)
{
	struct why why = {""};

	assert_true(run_migrate_refuses(&qmp, "snapshot-save", &why));
	if (!strstr(why.text, "snapshot-save: ") || !strstr(why.text, words))
		fail_msg("%s", why.text);
}

static void query_has(const char *words)
{
	json_t *report = run_migrate_query(&qmp);
	char *text = json_dumps(report, JSON_COMPACT);

	if (!strstr(text, words))
		fail_msg("no %s in %s", words, text);
	free(text);
	json_decref(report);
}

/* ---- The cases ---- */

static void a_machine_goes(void **state)
{
	struct why why;

	(void)state;
	query_has("{\"status\":\"none\"}");
	begins();
	is_refused("not while the machine is on its way to unix:/b (wait");
	assert_null(run_migrate_runstate(&qmp));
	reaches(MIGRATE_SOURCE_ACTIVE);
	query_has("\"transferred\":77");
	reaches(MIGRATE_SOURCE_HALT);
	assert_string_equal(run_migrate_runstate(&qmp), "finish-migrate");
	reaches(MIGRATE_SOURCE_DEVICE);
	reaches(MIGRATE_SOURCE_GONE);
	reaches(MIGRATE_SOURCE_COMPLETED);
	has_done("setup active STOP settle time stands save state device completed");
	assert_string_equal(run_migrate_runstate(&qmp), "postmigrate");
	query_has("\"downtime\":42");
	is_refused("has gone to unix:/b");
	assert_null(begin("unix:/c", &why));
	assert_true(paused);
}

static void stages_that_pass_between_two_looks_are_made_up_for(void **state)
{
	(void)state;
	begins();
	reaches(MIGRATE_SOURCE_HALT);
	/* Told again before the other thread has gone on. */
	reaches(MIGRATE_SOURCE_HALT);
	reaches(MIGRATE_SOURCE_COMPLETED);
	has_done("setup active STOP settle time stands save state device completed");
}

static void one_that_comes_to_nothing_goes_on_here(void **state)
{
	(void)state;
	begins();
	reaches(MIGRATE_SOURCE_FAILED);
	has_done("setup failed");
	query_has("\"error-desc\":\"unix:/b: the connection was closed\"");
	begins();
	reaches(MIGRATE_SOURCE_HALT);
	reaches(MIGRATE_SOURCE_FAILED);
	has_done("setup active STOP settle time stands save state device RESUME failed");
	assert_false(run_migrate_refuses(&qmp, "x", NULL));
}

static void one_that_stood_still_stands_still(void **state)
{
	(void)state;
	paused = true;
	begins();
	reaches(MIGRATE_SOURCE_HALT);
	reaches(MIGRATE_SOURCE_FAILED);
	has_done("setup active settle time stands save state device failed");
	assert_true(paused);
}

static void a_cpu_that_waits_for_an_answer_gets_it(void **state)
{
	(void)state;
	busy = 2;
	begins();
	reaches(MIGRATE_SOURCE_HALT);
	has_done("setup active STOP settle RESUME not yet");
	assert_null(run_migrate_runstate(&qmp));
	reaches(MIGRATE_SOURCE_HALT);
	has_done("STOP settle RESUME not yet");
	reaches(MIGRATE_SOURCE_HALT);
	has_done("STOP settle time stands save state device");
	reaches(MIGRATE_SOURCE_COMPLETED);
	has_done("completed");
}

static void but_not_for_ever(void **state)
{
	(void)state;
	busy = 1000;
	begins();
	while (!qmp.migrate.halted) {
		diary[0] = '\0';
		reaches(MIGRATE_SOURCE_HALT);
	}
	assert_true(busy > 800);
	has_done("STOP settle cannot: CPU 0 is in the middle of an access device");
	reaches(MIGRATE_SOURCE_FAILED);
	has_done("RESUME failed");
}

static void one_that_stands_still_gets_no_answer(void **state)
{
	(void)state;
	paused = true;
	busy = 1;
	begins();
	reaches(MIGRATE_SOURCE_HALT);
	reaches(MIGRATE_SOURCE_FAILED);
	has_done("setup active settle cannot: CPU 0 is in the middle of an access device failed");
}

static void one_that_cannot_be_saved_goes_on(void **state)
{
	(void)state;
	settle_says = -EIO;
	begins();
	reaches(MIGRATE_SOURCE_HALT);
	reaches(MIGRATE_SOURCE_FAILED);
	has_done("setup active STOP settle cannot: KVM says no device RESUME failed");
}

static void it_may_be_called_back_until_it_has_gone(void **state)
{
	struct why why;

	(void)state;
	json_decref(run_migrate_cancel(&qmp, &why)); /* none is under way */
	begins();
	json_decref(run_migrate_cancel(&qmp, &why));
	query_has("{\"status\":\"cancelling\"");
	reaches(MIGRATE_SOURCE_CANCELLED);
	has_done("setup cancelling cancelled");
	begins();
	reaches(MIGRATE_SOURCE_HALT);
	json_decref(run_migrate_cancel(&qmp, &why));
	reaches(MIGRATE_SOURCE_CANCELLED);
	has_done("setup active STOP settle time stands save state device cancelling RESUME "
		 "cancelled");
	begins();
	reaches(MIGRATE_SOURCE_HALT);
	too_late = true;
	assert_null(run_migrate_cancel(&qmp, &why));
	assert_string_equal(why.text, "too late");
	reaches(MIGRATE_SOURCE_COMPLETED);
	assert_true(paused);
}

static void nobody_runs_it_of_whom_nobody_knows(void **state)
{
	(void)state;
	begins();
	reaches(MIGRATE_SOURCE_HALT);
	reaches(MIGRATE_SOURCE_UNKNOWN);
	has_done("setup active STOP settle time stands save state device failed");
	assert_true(paused);
	assert_string_equal(run_migrate_runstate(&qmp), "internal-error");
	is_refused("nobody knows whether the machine runs at unix:/b");
	query_has("\"unknown\":true");
	run_migrate_take_back(&qmp);
	assert_false(run_migrate_refuses(&qmp, "cont", NULL));
	assert_null(run_migrate_runstate(&qmp));
}

static void a_machine_that_is_booted_again_stays(void **state)
{
	(void)state;
	run_migrate_closing(&qmp); /* none is under way */
	begins();
	reaches(MIGRATE_SOURCE_ACTIVE);
	run_migrate_closing(&qmp);
	has_done("setup active failed");
	query_has("unix:/b: the machine was booted again, or has ended, meanwhile");
}

static void one_that_ends_too_late_is_not_gone_on_with(void **state)
{
	(void)state;
	begins();
	reaches(MIGRATE_SOURCE_HALT);
	too_late = true;
	run_migrate_closing(&qmp);
	has_done("setup active STOP settle time stands save state device failed");
	query_has("\"unknown\":true");
}

/* Why the last one that began has failed, too. */
static void what_cannot_begin_leaves_all_as_it_was(void **state)
{
	struct why why;

	(void)state;
	begins();
	reaches(MIGRATE_SOURCE_FAILED);
	has_done("setup failed");
	begin_says = -ENOMEM;
	assert_null(begin("unix:/c", &why));
	assert_false(logs);
	assert_false(run_migrate_refuses(&qmp, "x", NULL));
	assert_null(begin("udp:/b", &why));
	has_done("");
	query_has("\"total-time\":2000");
	query_has("\"error-desc\":\"unix:/b: the connection was closed\"");
}

static void what_matters_once_it_stands_is_allowed_before(void **state)
{
	(void)state;
	begins();
	assert_false(run_migrate_has_state(&qmp, "system_powerdown", NULL));
	reaches(MIGRATE_SOURCE_HALT);
	assert_true(run_migrate_has_state(&qmp, "system_powerdown", NULL));
	reaches(MIGRATE_SOURCE_COMPLETED);
	assert_true(run_migrate_has_state(&qmp, "system_powerdown", NULL));
}

/* Given as JSON; NULL: taken, else what is said of it. */
static void sets(const char *json, const char *words)
{
	json_t *arguments = json_loads(json, 0, NULL);
	struct why why = {""};
	json_t *answer = run_migrate_set(&qmp, arguments, &why);

	json_decref(arguments);
	assert_int_equal(words == NULL, answer != NULL);
	json_decref(answer);
	if (words && !strstr(why.text, words))
		fail_msg("%s", why.text);
}

static void parameters_are_qemus_and_two_more(void **state)
{
	json_t *report;
	char *text;

	(void)state;
	begins();
	assert_int_equal(params.downtime_limit_ns, 300000000);
	sets("{\"max-bandwidth\":1000,\"downtime-limit\":20,\"patience\":5,\"compress\":true}",
	     NULL);
	assert_int_equal(params.max_bandwidth, 1000);
	assert_int_equal(params.downtime_limit_ns, 20000000);
	assert_int_equal(params.patience_ns, 5000000);
	assert_true(params.compress);
	sets("{\"max-bandwidth\":7,\"patience\":0}",
	     "\"patience\" is a whole number from 1 to 86400000");
	assert_int_equal(qmp.migrate.params.max_bandwidth, 1000);
	sets("{\"downtime-limit\":2000001}", "from 0 to 2000000");
	sets("{\"downtime-limit\":\"1\"}", "a whole number");
	sets("{\"max-bandwidth\":-1}", "a whole number");
	sets("{\"compress\":1}", "true or false");
	report = run_migrate_params(&params);
	text = json_dumps(report, JSON_COMPACT);
	assert_string_equal(text, "{\"max-bandwidth\":1000,\"downtime-limit\":20,\"patience\":5,"
				  "\"compress\":true}");
	free(text);
	json_decref(report);
	reaches(MIGRATE_SOURCE_FAILED);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(a_machine_goes),
		CASE(stages_that_pass_between_two_looks_are_made_up_for),
		CASE(one_that_comes_to_nothing_goes_on_here),
		CASE(one_that_stood_still_stands_still),
		CASE(a_cpu_that_waits_for_an_answer_gets_it),
		CASE(but_not_for_ever),
		CASE(one_that_stands_still_gets_no_answer),
		CASE(one_that_cannot_be_saved_goes_on),
		CASE(it_may_be_called_back_until_it_has_gone),
		CASE(nobody_runs_it_of_whom_nobody_knows),
		CASE(a_machine_that_is_booted_again_stays),
		CASE(one_that_ends_too_late_is_not_gone_on_with),
		CASE(what_cannot_begin_leaves_all_as_it_was),
		CASE(what_matters_once_it_stands_is_allowed_before),
		CASE(parameters_are_qemus_and_two_more),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
