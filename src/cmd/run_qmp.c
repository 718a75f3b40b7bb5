/* SPDX-License-Identifier: Apache-2.0 */
/* run_qmp.c - what `vmtime run --qmp` answers and tells: between the QMP server and the machine. */
#include <errno.h>
#include <stdio.h>

#include "cmd/cmd.h"
#include "cmd/run_migrate_json.h"
#include "cmd/run_qmp.h"
#include "cmd/run_save.h"

static json_t *integer(int64_t value)
{
	return json_integer(value);
}

/* Beyond 2^63 there is no figure that anything here reaches. */
static json_t *size(uint64_t value)
{
	return json_integer(value < INT64_MAX ? (json_int_t)value : INT64_MAX);
}

static const struct gap_name {
	uint32_t kind;
	const char *name, *why;
} gap_names[] = {
	{VMT_CHANGE_RESUME, "pause", "qmp"},
	{VMT_CHANGE_LOAD, "restore", "incoming"},
	{CHIPSET_CHANGE_MIGRATE, "migrate", "incoming"},
	{VMT_CHANGE_SUSPEND, "suspend", "host-suspend"},
};

/* NULL: no gap. */
static const struct gap_name *gap_name(uint32_t kind)
{
	for (size_t i = 0; i < sizeof(gap_names) / sizeof(gap_names[0]); i++)
		if (gap_names[i].kind == kind)
			return &gap_names[i];
	return NULL;
}

static void add_hosts(json_t *change, const struct chipset_change *c)
{
	json_object_set_new(change, "clock", json_string(c->by_tai ? "tai" : "utc"));
	json_object_set_new(change, "bounded", json_boolean(c->bounded));
	json_object_set_new(change, "negative", json_boolean(c->negative));
	json_object_set_new(change, "apart_ns", integer(c->apart_ns));
}

/* Of a machine that did not run for a while. */
static json_t *gap(const struct chipset_change *c, const struct gap_name *name)
{
	json_t *change = json_pack(
		"{s:s,s:s,s:s,s:o,s:o,s:{s:o,s:o},s:{s:o,s:o},s:o}", "kind", name->name, "why",
		name->why, "policy", c->policy == VMT_POLICY_FREEZE ? "freeze" : "continue",
		"at_ns", size(c->at_ns), "gap_ns", size(c->gap_ns), "before", "now_ns",
		integer(c->before_ns), "utc_offset_ns", integer(c->utc_before_ns), "after",
		"now_ns", integer(c->after_ns), "utc_offset_ns", integer(c->utc_after_ns),
		"bound_ns", size(c->bound_ns));

	if (c->kind == CHIPSET_CHANGE_MIGRATE)
		add_hosts(change, c);
	if (c->kind == VMT_CHANGE_LOAD || c->kind == CHIPSET_CHANGE_MIGRATE)
		json_object_set_new(change, "tsc_ppb", integer(c->tsc_ppb));
	if (c->future_ns)
		json_object_set_new(change, "future_ns", size(c->future_ns));
	return change;
}

json_t *run_qmp_change(const struct chipset_change *c, bool has_bound)
{
	if (c->kind == CHIPSET_CHANGE_RTC)
		return json_pack("{s:s,s:s,s:o,s:{s:o},s:{s:o},s:o}", "kind", "rtc", "why", "guest",
				 "at_ns", size(c->at_ns), "before", "rtc_offset_ns",
				 integer(c->before_ns), "after", "rtc_offset_ns",
				 integer(c->after_ns), "bound_ns", size(c->bound_ns));
	if (c->kind == VMT_CHANGE_COUNTER || c->kind == VMT_CHANGE_DISCIPLINE)
		return json_pack("{s:s,s:s,s:o,s:{s:o},s:{s:o},s:o}", "kind",
				 c->kind == VMT_CHANGE_COUNTER ? "counter" : "discipline", "why",
				 c->kind == VMT_CHANGE_COUNTER ? "host-clocksource" : "host-jump",
				 "at_ns", size(c->at_ns), "before", "now_ns", integer(c->before_ns),
				 "after", "now_ns", integer(c->after_ns), "bound_ns",
				 size(c->bound_ns));
	if (c->kind == VMT_CHANGE_STEP_UTC)
		return json_pack("{s:s,s:s,s:o,s:{s:o},s:{s:o},s:o}", "kind", "step_utc", "why",
				 "host-step", "at_ns", size(c->at_ns), "before", "utc_offset_ns",
				 integer(c->before_ns), "after", "utc_offset_ns",
				 integer(c->after_ns), "bound_ns", size(c->bound_ns));
	if (gap_name(c->kind))
		return gap(c, gap_name(c->kind));
	return json_pack("{s:s,s:s,s:o,s:{s:o,s:o},s:o*}", "kind", "start", "why", "power-on",
			 "at_ns", size(c->at_ns), "after", "now_ns", size(c->at_ns),
			 "utc_offset_ns", integer(c->after_ns), "bound_ns",
			 has_bound ? size(c->bound_ns) : NULL);
}

static json_t *faces_of(const struct timestate *t)
{
	json_t *list = json_array();

	for (unsigned i = 0; i < t->n_faces; i++) {
		vmt_ns at = t->faces[i].deadline_ns;

		json_array_append_new(list,
				      json_pack("{s:s,s:o*}", "name", t->faces[i].name,
						"deadline_ns", at != VMT_NEVER ? size(at) : NULL));
	}
	return list;
}

static json_t *ticks_of(const struct timestate *t)
{
	static const char *const policies[] = {
		[VMT_TICKS_DISCARD] = "discard",
		[VMT_TICKS_CATCHUP] = "catchup",
		[VMT_TICKS_DELAY] = "delay",
		[VMT_TICKS_MERGE] = "merge",
	};
	json_t *list = json_array();

	for (unsigned i = 0; i < t->n_ticks; i++) {
		const struct timestate_ticks *ticks = &t->ticks[i];
		const struct vmt_ledger *l = &ticks->ledger;

		json_array_append_new(
			list,
			json_pack("{s:s,s:s,s:o*,s:o,s:o,s:o,s:o,s:o}", "source", ticks->source,
				  "policy", policies[t->policy], "rate_hz",
				  ticks->rate_hz ? size(ticks->rate_hz) : NULL, "due", size(l->due),
				  "delivered", size(l->delivered), "merged", size(l->merged),
				  "discarded", size(l->discarded), "owed", size(l->owed)));
	}
	return list;
}

json_t *run_qmp_time(const struct timestate *t)
{
	char utc[CMD_UTC_SIZE];

	cmd_format_utc(utc, sizeof(utc), t->utc_ns);
	return json_pack("{s:i,s:s,s:s,s:o,s:s,s:o*,s:o,s:o,s:o*,s:o*,s:s,s:o,s:o,s:o*,s:o}",
			 "schema_version", 1, "vmtime", VMTIME_VERSION, "kind", "query-vmtime",
			 "now_ns", size(t->now_ns), "utc", utc, "utc_bound_ns",
			 t->has_bound ? size(t->utc_bound_ns) : NULL, "utc_offset_ns",
			 integer(t->utc_offset_ns), "rate_ppb", integer(t->rate_ppb), "phase_ns",
			 t->has_phase ? integer(t->phase_ns) : NULL, "phase_bound_ns",
			 t->has_phase ? size(t->phase_bound_ns) : NULL, "state",
			 t->clock_state == VMT_CLOCK_RUNNING ? "running" : "paused", "last_change",
			 run_qmp_change(&t->change, t->has_bound), "faces", faces_of(t),
			 "rtc_offset_ns", t->has_rtc ? integer(t->rtc_offset_ns) : NULL, "ticks",
			 ticks_of(t));
}

/* Whether it is another's: yet to come, under way, or gone. */
static bool is_not_ours(const struct run_qmp *qmp, const char *what, struct why *why)
{
	return run_incoming_refuses(&qmp->incoming, what, why) ||
	       run_migrate_refuses(qmp, what, why);
}

/* The same of what it may be told as long as it runs here. */
static bool has_no_state_here(const struct run_qmp *qmp, const char *what, struct why *why)
{
	return run_incoming_refuses(&qmp->incoming, what, why) ||
	       run_migrate_has_state(qmp, what, why);
}

static json_t *query_vmtime(void *owner, const json_t *arguments, struct why *why)
{
	struct run_qmp *qmp = owner;
	struct timestate time;

	(void)arguments;
	if (run_incoming_refuses(&qmp->incoming, "query-vmtime", why))
		return NULL;
	machine_time(qmp->machine, &time);
	return run_qmp_time(&time);
}

static json_t *query_status(void *owner, const json_t *arguments, struct why *why)
{
	struct run_qmp *qmp = owner;
	const bool comes = run_incoming_refuses(&qmp->incoming, "", NULL);
	const bool paused = comes || machine_is_paused(qmp->machine);
	const char *migrates = run_migrate_runstate(qmp);

	(void)arguments;
	(void)why;
	return json_pack("{s:b,s:b,s:s}", "running", !paused, "singlestep", 0, "status",
			 comes                                     ? "inmigrate"
			 : paused && migrates                      ? migrates
			 : paused && run_save_reads(qmp, "", NULL) ? "save-vm"
			 : paused                                  ? "paused"
								   : "running");
}

int run_qmp_stop(struct run_qmp *qmp, struct why *why)
{
	bool changed;
	int result = machine_pause(qmp->machine, &changed, why);

	if (result == 0 && changed)
		qmp_event(qmp->server, "STOP", NULL);
	return result;
}

int run_qmp_go_on(struct run_qmp *qmp, struct why *why)
{
	struct chipset_change change;
	bool changed;
	int result = machine_resume(qmp->machine, &changed, &change, why);

	if (result == 0 && changed) {
		qmp_event(qmp->server, "RESUME", NULL);
		run_qmp_changed(qmp, &change);
	}
	return result;
}

static json_t *stop(void *owner, const json_t *arguments, struct why *why)
{
	struct run_qmp *qmp = owner;

	(void)arguments;
	if (is_not_ours(qmp, "stop", why))
		return NULL;
	run_save_stay(qmp);
	return run_qmp_stop(qmp, why) < 0 ? NULL : json_object();
}

static const char *const cont_arguments[] = {"force", NULL};

static json_t *cont(void *owner, const json_t *arguments, struct why *why)
{
	struct run_qmp *qmp = owner;
	int force = 0;

	if (json_unpack((json_t *)arguments, "{s?b!}", "force", &force) < 0) {
		why_set(why, -EINVAL, "\"force\" is true or false");
		return NULL;
	}
	if (!(force && run_migrate_may_be_forced(qmp)) && is_not_ours(qmp, "cont", why))
		return NULL;
	if (run_save_reads(qmp, "cont", why) || run_qmp_go_on(qmp, why) < 0)
		return NULL;
	run_migrate_take_back(qmp);
	return json_object();
}

static const char *const snapshot_arguments[] = {"file", "stop", NULL};

static json_t *snapshot(void *owner, const json_t *arguments, struct why *why)
{
	if (is_not_ours(owner, "snapshot-save", why))
		return NULL;
	return run_save_begin(owner, arguments, why);
}

static const char *const migrate_arguments[] = {"uri", "detach", NULL};

static json_t *migrate(void *owner, const json_t *arguments, struct why *why)
{
	const struct run_qmp *qmp = owner;

	if (run_incoming_refuses(&qmp->incoming, "migrate", why) ||
	    run_save_is_busy(qmp, "migrate", why))
		return NULL;
	return run_migrate_begin(owner, arguments, why);
}

static json_t *migrate_cancel(void *owner, const json_t *arguments, struct why *why)
{
	(void)arguments;
	return run_migrate_cancel(owner, why);
}

/* Of the machine as it came, until it goes itself. */
static json_t *query_migrate(void *owner, const json_t *arguments, struct why *why)
{
	const struct run_qmp *qmp = owner;
	json_t *come = qmp->migrate.status ? NULL : run_incoming_query(&qmp->incoming);

	(void)arguments;
	(void)why;
	return come ? come : run_migrate_query(qmp);
}

static json_t *set_migrate(void *owner, const json_t *arguments, struct why *why)
{
	return run_migrate_set(owner, arguments, why);
}

static json_t *query_migrate_params(void *owner, const json_t *arguments, struct why *why)
{
	const struct run_qmp *qmp = owner;

	(void)arguments;
	(void)why;
	return run_migrate_params(&qmp->migrate.params);
}

/* Without --name there is none. */
static json_t *query_name(void *owner, const json_t *arguments, struct why *why)
{
	(void)owner;
	(void)arguments;
	(void)why;
	return json_object();
}

static json_t *query_kvm(void *owner, const json_t *arguments, struct why *why)
{
	(void)owner;
	(void)arguments;
	(void)why;
	return json_pack("{s:b,s:b}", "enabled", 1, "present", 1);
}

static json_t *query_cpus(void *owner, const json_t *arguments, struct why *why)
{
	struct run_qmp *qmp = owner;
	json_t *list = json_array();

	(void)arguments;
	(void)why;
	for (uint32_t cpu = 0; cpu < machine_cpus(qmp->machine); cpu++) {
		char path[32];

		snprintf(path, sizeof(path), "/machine/cpu[%u]", cpu);
		json_array_append_new(list, json_pack("{s:i,s:s,s:i,s:s}", "cpu-index", (int)cpu,
						      "qom-path", path, "thread-id",
						      machine_thread(qmp->machine, cpu), "target",
						      "x86_64"));
	}
	return list;
}

static json_t *powerdown(void *owner, const json_t *arguments, struct why *why)
{
	struct run_qmp *qmp = owner;

	(void)arguments;
	if (has_no_state_here(qmp, "system_powerdown", why))
		return NULL;
	machine_power_button(qmp->machine);
	return json_object();
}

static json_t *reset(void *owner, const json_t *arguments, struct why *why)
{
	struct run_qmp *qmp = owner;

	(void)arguments;
	if (is_not_ours(qmp, "system_reset", why) || run_save_reads(qmp, "system_reset", why))
		return NULL;
	return machine_reset(qmp->machine, why) < 0 ? NULL : json_object();
}

static json_t *forget_rtc_ticks(void *owner, const json_t *arguments, struct why *why)
{
	struct run_qmp *qmp = owner;

	(void)arguments;
	if (has_no_state_here(qmp, "rtc-reset-reinjection", why))
		return NULL;
	machine_forget_rtc_ticks(qmp->machine);
	return json_object();
}

static json_t *quit(void *owner, const json_t *arguments, struct why *why)
{
	struct run_qmp *qmp = owner;

	(void)arguments;
	(void)why;
	qmp->quit = true;
	machine_stop(qmp->machine);
	return json_object();
}

static const struct qmp_command commands[] = {
	{"cont", cont_arguments, cont},
	{"migrate", migrate_arguments, migrate},
	{"migrate-set-parameters", run_migrate_parameters, set_migrate},
	{"migrate_cancel", NULL, migrate_cancel},
	{"query-cpus-fast", NULL, query_cpus},
	{"query-kvm", NULL, query_kvm},
	{"query-migrate", NULL, query_migrate},
	{"query-migrate-parameters", NULL, query_migrate_params},
	{"query-name", NULL, query_name},
	{"query-status", NULL, query_status},
	{"query-vmtime", NULL, query_vmtime},
	{"quit", NULL, quit},
	{"rtc-reset-reinjection", NULL, forget_rtc_ticks},
	{"snapshot-save", snapshot_arguments, snapshot},
	{"stop", NULL, stop},
	{"system_powerdown", NULL, powerdown},
	{"system_reset", NULL, reset},
	{NULL, NULL, NULL},
};

void run_qmp_reset(struct run_qmp *qmp, bool by_guest)
{
	qmp_event(qmp->server, "RESET",
		  json_pack("{s:b,s:s}", "guest", by_guest, "reason",
			    by_guest ? "guest-reset" : "host-qmp-system-reset"));
}

int64_t run_qmp_seconds(int64_t ns)
{
	const int64_t second = 1000000000;

	return ns / second + ns % second / (second / 2);
}

void run_qmp_changed(struct run_qmp *qmp, const struct chipset_change *change)
{
	if (change->kind == CHIPSET_CHANGE_RTC)
		qmp_event(qmp->server, "RTC_CHANGE",
			  json_pack("{s:o}", "offset", integer(run_qmp_seconds(change->after_ns))));
	qmp_event(qmp->server, "VMTIME_CHANGE", run_qmp_change(change, true));
}

int run_qmp_open(struct run_qmp *qmp, const char *path, struct why *why)
{
	qmp->config = (struct qmp_config){
		.package = "vmtime " VMTIME_VERSION, .commands = commands, .owner = qmp};
	run_migrate_init(&qmp->migrate);
	(void)sscanf(VMTIME_VERSION, "%u.%u.%u", &qmp->config.version[0], &qmp->config.version[1],
		     &qmp->config.version[2]);
	return qmp_open(path, &qmp->config, qmp->base, &qmp->server, why);
}

void run_qmp_closing(struct run_qmp *qmp)
{
	run_migrate_closing(qmp);
}

/* In the words of the protocol. */
static const char *reason_of(const struct run_qmp *qmp, const struct machine_end *end,
			     bool signalled)
{
	switch (end->kind) {
	case MACHINE_END_POWEROFF:
	case MACHINE_END_EXIT:
		return "guest-shutdown";
	case MACHINE_END_STOPPED:
		return qmp->quit ? "host-qmp-quit" : signalled ? "host-signal" : "host-ui";
	default:
		return "host-error";
	}
}

void run_qmp_close(struct run_qmp *qmp, const struct machine_end *end, bool signalled)
{
	run_migrate_closing(qmp);
	run_save_end(qmp);
	if (end) {
		bool guest = end->kind == MACHINE_END_POWEROFF || end->kind == MACHINE_END_EXIT;

		qmp_event(qmp->server, "SHUTDOWN",
			  json_pack("{s:b,s:s}", "guest", guest, "reason",
				    reason_of(qmp, end, signalled)));
	}
	qmp_close(qmp->server);
	qmp->server = NULL;
}
