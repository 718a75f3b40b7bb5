/* SPDX-License-Identifier: Apache-2.0 */
/* run_migrate.c - QMP's migrate: the owner's side of move/migrate_source.h. */
#include "cmd/run_migrate.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cmd/run_migrate_json.h"
#include "cmd/run_progress.h"
#include "cmd/run_qmp.h"

/* A CPU may wait for an answer, of the RTC for a second; then the machine goes on, and is halted a
 * little later. */
enum { TRIES = 100, US_PER_MS = 1000 };

#define DOWNTIME_LIMIT_NS 300000000ULL
#define PATIENCE_NS 30000000000ULL

void run_migrate_init(struct run_migrate *m)
{
	*m = (struct run_migrate){
		.params = {.downtime_limit_ns = DOWNTIME_LIMIT_NS, .patience_ns = PATIENCE_NS},
	};
}

static const char *word_of(const struct run_migrate *m)
{
	if (m->cancels)
		return "cancelling";
	if (m->halted)
		return "device";
	return migrate_source_stage(m->source) == MIGRATE_SOURCE_SETUP ? "setup" : "active";
}

static void tell(struct run_qmp *qmp, const char *status)
{
	if (qmp->migrate.status && strcmp(qmp->migrate.status, status) == 0)
		return;
	qmp->migrate.status = status;
	qmp_event(qmp->server, "MIGRATION", json_pack("{s:s}", "status", status));
}

/* What it keeps while it is under way.  The machine notes no more what is written. */
static void release(struct run_migrate *m)
{
	struct event **const events[] = {&m->event, &m->show};

	for (size_t i = 0; i < sizeof(events) / sizeof(events[0]); i++) {
		if (*events[i])
			event_free(*events[i]);
		*events[i] = NULL;
	}
	machine_log_end(m->machine, &m->dirty);
	vmstate_parts_free(&m->description);
	m->source = NULL;
	m->place = RUN_MIGRATE_HERE;
}

/* As if nothing had happened. */
static void go_on(struct run_qmp *qmp)
{
	struct run_migrate *m = &qmp->migrate;
	struct why stuck, failed = m->why;

	if (m->ran && run_qmp_go_on(qmp, &stuck) < 0)
		why_set(&m->why, -EIO, "%.250s; and it does not go on here: %.200s", failed.text,
			stuck.text);
}

static void say_end(const struct run_migrate *m, enum migrate_source_stage stage)
{
	char text[RUN_PROGRESS_SIZE];

	if (m->progress)
		run_progress_clear();
	if (stage == MIGRATE_SOURCE_COMPLETED) {
		run_progress_gone(&m->stats, text);
		fprintf(stderr, "vmtime run: the machine has gone to %s: %s\n", m->uri, text);
	} else if (stage == MIGRATE_SOURCE_CANCELLED) {
		fprintf(stderr, "vmtime run: the machine stays: migrate_cancel\n");
	} else {
		fprintf(stderr, "vmtime run: %s: %s\n",
			stage == MIGRATE_SOURCE_UNKNOWN ? "the machine stands still"
							: "the machine stays",
			m->why.text);
	}
}

/* Waits, if need be, and tells.  `because`: it is the machine's end, or one of its lives'; NULL: it
 * is not, and the machine goes on if it ran. */
static void finish(struct run_qmp *qmp, const char *because)
{
	struct run_migrate *m = &qmp->migrate;
	enum migrate_source_stage stage;

	/* Before its descriptor is closed: the next one may get the same number. */
	event_free(m->event);
	m->event = NULL;
	stage = migrate_source_end(m->source, &m->stats, &m->why);
	if (because && stage == MIGRATE_SOURCE_CANCELLED && !m->cancels) {
		stage = MIGRATE_SOURCE_FAILED;
		why_set(&m->why, -ECANCELED, "%s: %s", m->uri, because);
	}
	if (!because && (stage == MIGRATE_SOURCE_FAILED || stage == MIGRATE_SOURCE_CANCELLED))
		go_on(qmp);
	release(m);
	if (stage == MIGRATE_SOURCE_COMPLETED)
		m->place = RUN_MIGRATE_GONE;
	if (stage == MIGRATE_SOURCE_UNKNOWN)
		m->place = RUN_MIGRATE_UNKNOWN;
	say_end(m, stage);
	tell(qmp, stage == MIGRATE_SOURCE_COMPLETED   ? "completed"
		  : stage == MIGRATE_SOURCE_CANCELLED ? "cancelled"
						      : "failed");
}

/* The machine stands still and may be saved.  0; -EAGAIN: not at this moment; or why not. */
static int stand_still(struct run_qmp *qmp, struct why *why)
{
	struct run_migrate *m = &qmp->migrate;
	struct vmstate_parts time = {0};
	int result = run_qmp_stop(qmp, why);

	if (result == 0)
		result = machine_settle(qmp->machine, why);
	if (result == 0)
		result = machine_save_time(qmp->machine, &time, why);
	if (result == 0)
		migrate_source_stands(m->source, &time);
	vmstate_parts_free(&time);
	return result;
}

static void give_state(struct run_qmp *qmp)
{
	struct run_migrate *m = &qmp->migrate;
	struct vmstate_parts state = {0};
	struct why why = {""};

	m->halted = true;
	if (machine_save(qmp->machine, &state, &why) < 0)
		migrate_source_cannot(m->source, &why);
	else
		migrate_source_state(m->source, &state);
	vmstate_parts_free(&state);
}

static void halt(struct run_qmp *qmp)
{
	struct run_migrate *m = &qmp->migrate;
	struct why why = {""}, stuck;
	int result = stand_still(qmp, &why);

	if (result == 0) {
		give_state(qmp);
	} else if (result == -EAGAIN && m->ran && ++m->tries < TRIES &&
		   run_qmp_go_on(qmp, &stuck) == 0) {
		migrate_source_not_yet(m->source);
	} else {
		m->halted = true;
		migrate_source_cannot(m->source, &why);
	}
}

static void look(struct run_qmp *qmp)
{
	struct run_migrate *m = &qmp->migrate;
	enum migrate_source_stage stage = migrate_source_stage(m->source);

	if (stage >= MIGRATE_SOURCE_COMPLETED) {
		finish(qmp, NULL);
		return;
	}
	tell(qmp, word_of(m));
	if (stage != MIGRATE_SOURCE_HALT || m->halted)
		return;
	halt(qmp);
	tell(qmp, word_of(m));
}

static void on_stage(evutil_socket_t fd, short what, void *arg)
{
	uint64_t count;

	(void)what;
	/* Before the stage is looked at: what is reached after the look wakes the loop again. */
	(void)!read(fd, &count, sizeof(count));
	look(arg);
}

static void on_show(evutil_socket_t fd, short what, void *arg)
{
	const struct run_qmp *qmp = arg;
	char text[RUN_PROGRESS_SIZE], line[RUN_PROGRESS_SIZE + RUN_MIGRATE_URI + 8];
	struct migrate_stats stats;

	(void)fd;
	(void)what;
	migrate_source_stats(qmp->migrate.source, &stats);
	run_progress_going(&stats, text);
	snprintf(line, sizeof(line), "%s, to %s", text, qmp->migrate.uri);
	run_progress_show(line);
}

static int read_host(void *owner, struct hosts_reading *ret_reading)
{
	const struct run_qmp *qmp = owner;

	return hosts_read(machine_tsc_khz(qmp->machine), ret_reading);
}

static int watch(struct run_qmp *qmp)
{
	static const struct timeval period = {.tv_usec = RUN_PROGRESS_MS * US_PER_MS};
	struct run_migrate *m = &qmp->migrate;

	m->event = event_new(qmp->base, migrate_source_fd(m->source), EV_READ | EV_PERSIST,
			     on_stage, qmp);
	m->show = event_new(qmp->base, -1, EV_PERSIST, on_show, qmp);
	return m->event && m->show && event_add(m->event, NULL) == 0 &&
			       (!m->progress || event_add(m->show, &period) == 0)
		       ? 0
		       : -ENOMEM;
}

static int begin(struct run_qmp *qmp, struct migrate_source_config *config, struct why *why)
{
	struct run_migrate *m = &qmp->migrate;
	struct migrate_stats none;
	int result = machine_describe(qmp->machine, &m->description, why);

	if (result < 0) {
		vmstate_parts_free(&m->description);
		return result;
	}
	result = machine_log_begin(qmp->machine, &m->dirty, why);
	if (result < 0) {
		vmstate_parts_free(&m->description);
		return result;
	}
	config->memory = machine_memory(qmp->machine);
	config->dirty = &m->dirty;
	config->description = &m->description;
	config->stands = machine_is_paused(qmp->machine);
	config->read_host = read_host;
	config->owner = qmp;
	m->machine = qmp->machine;
	result = migrate_source_begin(config, &m->params, &m->source, why);
	if (result == 0 && watch(qmp) < 0) {
		(void)migrate_source_cancel(m->source, NULL);
		(void)migrate_source_end(m->source, &none, NULL);
		result = why_set(why, -ENOMEM, "%s: no memory to migrate", config->name);
	}
	if (result < 0)
		release(m);
	return result;
}

json_t *run_migrate_begin(struct run_qmp *qmp, const json_t *arguments, struct why *why)
{
	struct run_migrate *m = &qmp->migrate;
	struct migrate_source_config config = {0};
	const char *uri;
	int detach;

	if (run_migrate_refuses(qmp, "migrate", why))
		return NULL;
	if (json_unpack((json_t *)arguments, "{s:s,s?b!}", "uri", &uri, "detach", &detach) < 0) {
		why_set(why, -EINVAL,
			"migrate needs \"uri\", such as \"tcp:HOST:PORT\" or \"unix:PATH\"");
		return NULL;
	}
	config.name = uri;
	/* Until this one has begun, what is known is of the last one. */
	if (address_parse(uri, &config.address, why) < 0 || begin(qmp, &config, why) < 0)
		return NULL;
	snprintf(m->uri, sizeof(m->uri), "%s", uri);
	m->stats = (struct migrate_stats){0};
	m->why.text[0] = '\0';
	m->tries = 0;
	m->halted = m->cancels = false;
	m->ran = !machine_is_paused(qmp->machine);
	m->place = RUN_MIGRATE_UNDER_WAY;
	tell(qmp, "setup");
	return json_object();
}

json_t *run_migrate_cancel(struct run_qmp *qmp, struct why *why)
{
	struct run_migrate *m = &qmp->migrate;

	if (m->source) {
		if (migrate_source_cancel(m->source, why) < 0)
			return NULL;
		m->cancels = true;
		tell(qmp, "cancelling");
	}
	return json_object();
}

json_t *run_migrate_query(const struct run_qmp *qmp)
{
	const struct run_migrate *m = &qmp->migrate;
	struct migrate_stats stats = m->stats;
	bool failed = m->status && strcmp(m->status, "failed") == 0;

	if (!m->status)
		return json_pack("{s:s}", "status", "none");
	if (m->source)
		migrate_source_stats(m->source, &stats);
	return run_migrate_report(m->status, &stats, failed ? &m->why : NULL,
				  m->place == RUN_MIGRATE_UNKNOWN);
}

json_t *run_migrate_set(struct run_qmp *qmp, const json_t *arguments, struct why *why)
{
	struct run_migrate *m = &qmp->migrate;

	if (run_migrate_take_params(arguments, &m->params, why) < 0)
		return NULL;
	if (m->source)
		migrate_source_set(m->source, &m->params);
	return json_object();
}

bool run_migrate_refuses(const struct run_qmp *qmp, const char *what, struct why *why)
{
	const struct run_migrate *m = &qmp->migrate;

	if (m->place == RUN_MIGRATE_UNDER_WAY)
		why_set(why, -EBUSY,
			"%s: not while the machine is on its way to %s (wait, or send "
			"migrate_cancel)",
			what, m->uri);
	if (m->place == RUN_MIGRATE_GONE)
		why_set(why, -EBUSY,
			"%s: the machine has gone to %s (send quit; cont with \"force\": true, "
			"only "
			"if it does not run there any more, makes it go on from where it left)",
			what, m->uri);
	if (m->place == RUN_MIGRATE_UNKNOWN)
		why_set(why, -EBUSY,
			"%s: nobody knows whether the machine runs at %s (look there: if it does "
			"send quit here; if it does not, cont with \"force\": true)",
			what, m->uri);
	return m->place != RUN_MIGRATE_HERE;
}

bool run_migrate_has_state(const struct run_qmp *qmp, const char *what, struct why *why)
{
	const struct run_migrate *m = &qmp->migrate;

	return (m->place != RUN_MIGRATE_UNDER_WAY || m->halted) &&
	       run_migrate_refuses(qmp, what, why);
}

const char *run_migrate_runstate(const struct run_qmp *qmp)
{
	const struct run_migrate *m = &qmp->migrate;

	switch (m->place) {
	case RUN_MIGRATE_UNDER_WAY:
		return m->halted ? "finish-migrate" : NULL;
	case RUN_MIGRATE_GONE:
		return "postmigrate";
	case RUN_MIGRATE_UNKNOWN:
		return "internal-error";
	default:
		return NULL;
	}
}

bool run_migrate_may_be_forced(const struct run_qmp *qmp)
{
	return qmp->migrate.place == RUN_MIGRATE_GONE || qmp->migrate.place == RUN_MIGRATE_UNKNOWN;
}

void run_migrate_take_back(struct run_qmp *qmp)
{
	if (run_migrate_may_be_forced(qmp))
		qmp->migrate.place = RUN_MIGRATE_HERE;
}

void run_migrate_closing(struct run_qmp *qmp)
{
	struct run_migrate *m = &qmp->migrate;

	if (!m->source)
		return;
	migrate_source_abandon(m->source);
	finish(qmp, "the machine was booted again, or has ended, meanwhile (migrate it again)");
}
