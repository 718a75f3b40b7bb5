/* SPDX-License-Identifier: Apache-2.0 */
/* plan_report.c - the answer of `vmtime plan`: the table for people and the JSON for the rest. */
#include <errno.h>
#include <inttypes.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>

#include "cmd/cmd.h"
#include "cmd/jsonout.h"
#include "cmd/plan.h"
#include "cmd/test_sheet.h"

static const char *const clock_titles[PLAN_ROWS] = {
	[PLAN_ROW_REALTIME] = "REALTIME",
	[PLAN_ROW_MONOTONIC] = "MONOTONIC",
	[PLAN_ROW_BOOTTIME] = "BOOTTIME",
};

static uint64_t magnitude(int64_t ns)
{
	return ns < 0 ? 0 - (uint64_t)ns : (uint64_t)ns;
}

/* What fails, then what is furthest from the host, then in the order of the rows. */
static int worst_first(const void *a, const void *b)
{
	const struct plan_row *x = *(const struct plan_row *const *)a;
	const struct plan_row *y = *(const struct plan_row *const *)b;
	const uint64_t x_ns = magnitude(x->change_ns), y_ns = magnitude(y->change_ns);

	if (x->fails != y->fails)
		return x->fails ? -1 : 1;
	if (x_ns != y_ns)
		return x_ns > y_ns ? -1 : 1;
	return (int)x->name - (int)y->name;
}

/* Less than its quantum no clock can tell. */
static void change_cell(struct sheet *sheet, const struct plan_row *row)
{
	if (row->name == PLAN_ROW_STEAL || !row->counts)
		sheet_text(sheet, "-");
	else
		sheet_ns(sheet, magnitude(row->change_ns) < row->quantum_ns ? 0 : row->change_ns,
			 true);
}

static void print_row(struct sheet *sheet, const struct plan_row *row)
{
	const char *title = clock_titles[row->name];

	sheet_line(sheet);
	sheet_text(sheet, title ? title : plan_row_names[row->name]);
	if (row->counts)
		sheet_ns(sheet, row->progress_ns, true);
	else
		sheet_text(sheet, "-");
	change_cell(sheet, row);
	if (row->has_limit)
		sheet_ns(sheet, row->limit_ns < INT64_MAX ? (int64_t)row->limit_ns : INT64_MAX,
			 false);
	else
		sheet_text(sheet, "-");
	sheet_verdict(sheet, row->fails ? JUDGE_FAIL : JUDGE_PASS);
	sheet_text(sheet, row->meaning);
}

int plan_print_table(const struct plan *plan)
{
	static const struct sheet_title titles[] = {
		{"clock", false}, {"goes on by", true}, {"beside the host", true},
		{"limit", true},  {"verdict", false},   {"what the guest sees", false},
	};
	const unsigned fails = plan_fails(plan);
	const struct plan_row *rows[PLAN_ROWS];
	struct sheet sheet;
	char duration[32];

	setlocale(LC_CTYPE, "");
	sheet = sheet_new(titles, sizeof(titles) / sizeof(titles[0]));
	for (int i = 0; i < PLAN_ROWS; i++)
		rows[i] = &plan->rows[i];
	qsort(rows, PLAN_ROWS, sizeof(rows[0]), worst_first);
	for (int i = 0; i < PLAN_ROWS; i++)
		print_row(&sheet, rows[i]);
	if (sheet.bad) {
		sheet_print(&sheet);
		return -ENOMEM;
	}
	sheet_print(&sheet);
	if (plan->warning[0])
		printf("warning: %s\n", plan->warning);
	cmd_format_ns(duration, sizeof(duration), plan->ask.duration_ns, false);
	if (plan->bound_ns) {
		char bound[32];

		cmd_format_ns(bound, sizeof(bound), (int64_t)plan->bound_ns, false);
		printf("the gap, by both hosts' clocks, is right to %s: so far off may MONOTONIC "
		       "be\n",
		       bound);
	}
	printf("%s of %s on %s: %s; %u pass, %u fail\n", plan_event_names[plan->ask.event],
	       duration, plan_source_names[plan->ask.source], plan->why, PLAN_ROWS - fails, fails);
	return fflush(stdout) < 0 ? -errno : 0;
}

static json_t *ns_json(uint64_t ns)
{
	return json_integer(ns < INT64_MAX ? (json_int_t)ns : INT64_MAX);
}

static json_t *row_json(const struct plan_row *row)
{
	json_t *o = json_object();

	jsonout_put(&o, "name", json_string(plan_row_names[row->name]));
	if (row->counts)
		jsonout_put(&o, "progress_ns", json_integer(row->progress_ns));
	if (row->counts && row->name != PLAN_ROW_STEAL) {
		jsonout_put(&o, "change_ns", json_integer(row->change_ns));
		jsonout_put(&o, "expected_ns", json_integer(row->expected_ns));
		jsonout_put(&o, "quantum_ns", ns_json(row->quantum_ns));
	}
	if (row->has_limit)
		jsonout_put(&o, "limit_ns", ns_json(row->limit_ns));
	if (row->has_due) {
		jsonout_put(&o, "due_before_ns", ns_json(row->due_before_ns));
		jsonout_put(&o, "due_after_ns", ns_json(row->due_after_ns));
	}
	jsonout_put(&o, "verdict", json_string(judge_verdict_names[row->fails]));
	jsonout_put(&o, "meaning", json_string(row->meaning));
	return o;
}

static json_t *ticks_json(const struct plan *plan, const struct plan_ticks *t)
{
	const struct vmt_ledger *l = &t->ledger;
	const uint64_t rate_hz = (UINT64_C(1000000000) + t->period_ns / 2) / t->period_ns;
	json_t *o = json_object();

	jsonout_put(&o, "source", json_string(t->source));
	jsonout_put(&o, "policy", json_string(plan_ticks_names[plan->ask.ticks]));
	jsonout_put(&o, "rate_hz", ns_json(rate_hz));
	jsonout_put(&o, "due", ns_json(l->due));
	jsonout_put(&o, "delivered", ns_json(l->delivered));
	jsonout_put(&o, "merged", ns_json(l->merged));
	jsonout_put(&o, "discarded", ns_json(l->discarded));
	jsonout_put(&o, "owed", ns_json(l->owed));
	return o;
}

static void put_policy(json_t **o, const struct plan *plan)
{
	jsonout_put(o, "policy_asked", json_string(plan_policy_names[plan->ask.policy]));
	jsonout_put(o, "policy", json_string(plan_policy_names[plan->policy]));
	jsonout_put(o, "auto_limit_ns", ns_json(plan->auto_ns));
	jsonout_put(o, "limit_ns", ns_json(plan->limit_ns));
	jsonout_put(o, "gap_ns", ns_json(plan->gap_ns));
	if (plan->bound_ns)
		jsonout_put(o, "gap_bound_ns", ns_json(plan->bound_ns));
	jsonout_put(o, "frozen_ns", json_integer(plan->frozen_ns));
}

/* By the names that a result of `vmtime test` has. */
static void put_changes(json_t **o, const struct plan *plan)
{
	const struct plan_row *realtime = &plan->rows[PLAN_ROW_REALTIME];
	const struct plan_row *monotonic = &plan->rows[PLAN_ROW_MONOTONIC];

	jsonout_put(o, "realtime_change_ns", json_integer(realtime->change_ns));
	jsonout_put(o, "realtime_expected_ns", json_integer(realtime->expected_ns));
	jsonout_put(o, "monotonic_gap_ns", json_integer(monotonic->change_ns));
	jsonout_put(o, "monotonic_expected_ns", json_integer(monotonic->expected_ns));
	if (plan->settle_ns)
		jsonout_put(o, "settle_ns", ns_json(plan->settle_ns));
}

int plan_print_json(const struct plan *plan, const char *file)
{
	json_t *o = json_object(), *clocks = json_array(), *faces = json_array();
	json_t *ticks = json_array();

	for (int i = 0; i < PLAN_ROWS; i++)
		jsonout_append(i < PLAN_ROW_KVMCLOCK ? &clocks : &faces, row_json(&plan->rows[i]));
	for (int i = 0; i < PLAN_TICKS; i++)
		jsonout_append(&ticks, ticks_json(plan, &plan->ticks[i]));
	jsonout_put(&o, "schema_version", json_integer(1));
	jsonout_put(&o, "vmtime", json_string(VMTIME_VERSION));
	jsonout_put(&o, "kind", json_string("plan"));
	jsonout_put(&o, "event", json_string(plan_event_names[plan->ask.event]));
	jsonout_put(&o, "duration_ns", json_integer(plan->ask.duration_ns));
	jsonout_put(&o, "clocksource", json_string(plan_source_names[plan->ask.source]));
	if (plan->has_policy)
		put_policy(&o, plan);
	put_changes(&o, plan);
	jsonout_put(&o, "clocks", clocks);
	jsonout_put(&o, "faces", faces);
	jsonout_put(&o, "ticks", ticks);
	jsonout_put(&o, "verdict", json_string(judge_verdict_names[plan->fails]));
	jsonout_put(&o, "reason", json_string(plan->why));
	if (plan->warning[0])
		jsonout_put(&o, "warning", json_string(plan->warning));
	return jsonout_print(o, file);
}
