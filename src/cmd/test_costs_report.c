/* SPDX-License-Identifier: Apache-2.0 */
/* test_costs_report.c - what came out of scenario costs: for the table and for the JSON. */
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmd/test_costs.h"
#include "cmd/test_sheet.h"

enum { ROUNDED_NS = 2 }; /* what two clocks that are one round away */

int test_report_add_cost(struct test_report *report, enum test_subject subject,
			 const char *clocksource, bool has_stable, bool stable,
			 const struct sample_cost *cost)
{
	struct test_cost *grown =
		reallocarray(report->costs, report->cost_count + 1, sizeof(*grown));

	if (!grown)
		return -ENOMEM;
	report->costs = grown;
	grown[report->cost_count++] =
		(struct test_cost){.subject = subject,
				   .clocksource = clocksource,
				   .cost = *cost,
				   .has_stable = has_stable,
				   .stable = stable,
				   .verdict = !cost->checks                   ? JUDGE_SKIP
					      : cost->outside_ns > ROUNDED_NS ? JUDGE_FAIL
									      : JUDGE_PASS};
	return 0;
}

unsigned test_costs_count(const struct test_report *report, enum test_subject subject,
			  enum judge_verdict verdict)
{
	unsigned n = 0;

	for (size_t i = 0; i < report->cost_count; i++)
		n += report->costs[i].subject == subject && report->costs[i].verdict == verdict;
	return n;
}

static const char *path_name(char path)
{
	return path == 'v' ? "vdso" : path == 's' ? "syscall" : path == 'p' ? "page" : "rdtsc";
}

static bool has_order(char path)
{
	return path == 'p' || path == 'r';
}

/* RDTSC of the same boot, ordered as this one, in ps; 0: there is none. */
static uint64_t tsc_of(const struct test_report *report, size_t at)
{
	const struct test_cost *c = &report->costs[at];
	const bool ordered = c->cost.ordered || !has_order(c->cost.path);

	for (size_t i = at - c->cost.index; i < report->cost_count; i++) {
		const struct test_cost *other = &report->costs[i];

		if (other->cost.path == 'r' && other->cost.ordered == ordered)
			return other->cost.cost_ps;
	}
	return 0;
}

static void add_row(struct sheet *s, const struct test_report *report, size_t at)
{
	const struct test_cost *c = &report->costs[at];
	const uint64_t ps = c->cost.cost_ps, peer = tsc_of(report, at);
	char text[64];

	sheet_line(s);
	test_report_subject(report, c->subject, text, sizeof(text));
	sheet_text(s, text);
	sheet_text(s, c->clocksource);
	sheet_text(s, !c->has_stable ? "-" : c->stable ? "yes" : "no");
	snprintf(text, sizeof(text), "%s%s%s", path_name(c->cost.path),
		 c->cost.ordered ? ", ordered" : "",
		 c->cost.falls == SAMPLE_FALLS ? " (a system call)" : "");
	sheet_text(s, text);
	snprintf(text, sizeof(text), "%" PRIu64 ".%" PRIu64 " ns", ps / 1000, ps % 1000 / 100);
	sheet_text(s, text);
	if (peer)
		snprintf(text, sizeof(text), "%" PRIu64 ".%02" PRIu64, ps / peer,
			 ps % peer * 100 / peer);
	sheet_text(s, peer ? text : "-");
	sheet_ns(s, (int64_t)c->cost.outside_ns, false);
	sheet_ns(s, (int64_t)c->cost.bracket_ns, false);
	sheet_verdict(s, c->verdict);
}

void test_costs_table(const struct test_report *report)
{
	static const struct sheet_title titles[] = {
		{"subject", false}, {"clocksource", false}, {"TSC_STABLE", false},
		{"read by", false}, {"a reading", true},    {"x RDTSC", true},
		{"outside", true},  {"+-", true},           {"verdict", false}};
	struct sheet s;

	if (!report->cost_count)
		return;
	s = sheet_new(titles, sizeof(titles) / sizeof(titles[0]));
	for (size_t i = 0; i < report->cost_count; i++)
		add_row(&s, report, i);
	sheet_print(&s);
}

static int put(json_t *object, bool known, const char *name, json_t *value)
{
	if (known)
		return json_object_set_new(object, name, value);
	json_decref(value);
	return 0;
}

static json_t *cost_json(const struct test_cost *c)
{
	json_t *o =
		json_pack("{s:s, s:s, s:s, s:I, s:I, s:s}", "subject",
			  test_subject_names[c->subject], "clocksource", c->clocksource, "path",
			  path_name(c->cost.path), "cost_ps", (json_int_t)c->cost.cost_ps, "checks",
			  (json_int_t)c->cost.checks, "verdict", judge_verdict_names[c->verdict]);
	const bool checked = c->cost.checks > 0, falls = c->cost.falls == SAMPLE_FALLS;
	const bool knows = c->cost.path == 'v' && c->cost.falls != SAMPLE_FALLS_UNKNOWN;

	if (o &&
	    (put(o, c->has_stable, "stable", json_boolean(c->stable)) < 0 ||
	     put(o, has_order(c->cost.path), "ordered", json_boolean(c->cost.ordered)) < 0 ||
	     put(o, knows, "falls_back", json_boolean(falls)) < 0 ||
	     put(o, checked, "outside_ns", json_integer((json_int_t)c->cost.outside_ns)) < 0 ||
	     put(o, checked, "bracket_ns", json_integer((json_int_t)c->cost.bracket_ns)) < 0)) {
		json_decref(o);
		return NULL;
	}
	return o;
}

json_t *test_costs_json(const struct test_report *report)
{
	json_t *array = json_array();

	for (size_t i = 0; array && i < report->cost_count; i++) {
		json_t *cost = cost_json(&report->costs[i]);

		if (json_array_append_new(array, cost) < 0) { /* NULL as well */
			json_decref(array);
			return NULL;
		}
	}
	return array;
}
