/* SPDX-License-Identifier: Apache-2.0 */
/* test_report.c - the results of `vmtime test`: the table for people and the JSON for the rest. */
#include <inttypes.h>
#include <jansson.h>
#include <libsmartcols.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "cmd/cmd.h"
#include "cmd/jsonout.h"
#include "cmd/lab.h"
#include "cmd/test.h"
#include "cmd/test_costs.h"
#include "cmd/test_faces.h"
#include "cmd/test_ticks.h"
#include "host/hostclock.h"
#include "kvm/probe.h"

__extension__ typedef unsigned __int128 u128;

const char *const test_scenario_names[TEST_SCENARIOS] = {
	"boot",  "steady", "overcommit", "steal",   "faces",      "ticks",    "costs",
	"pause", "pauses", "snapshot",   "migrate", "migrations", "hoststep", "suspend"};
const char *const test_subject_names[TEST_SUBJECTS] = {"vmtime", "qemu"};

struct test_result *test_report_add(struct test_report *report)
{
	struct test_result *grown =
		reallocarray(report->results, report->count + 1, sizeof(*report->results));

	if (!grown)
		return NULL;
	report->results = grown;
	memset(&grown[report->count], 0, sizeof(*grown));
	return &grown[report->count++];
}

void test_report_free(struct test_report *report)
{
	for (int i = 0; i < TEST_SUBJECTS; i++) {
		char **command = report->subjects[i].command;

		for (char **word = command; word && *word; word++)
			free(*word);
		free(command);
	}
	free(report->results);
	free(report->faces);
	free(report->pairs);
	free(report->ticks);
	free(report->costs);
	memset(report, 0, sizeof(*report));
}

static unsigned count_of(const struct test_report *report, enum test_subject subject,
			 enum judge_verdict verdict)
{
	unsigned n = 0;

	for (size_t i = 0; i < report->count; i++)
		n += report->results[i].subject == subject &&
		     report->results[i].row.verdict == verdict;
	return n + test_faces_count(report, subject, verdict) +
	       test_ticks_count(report, subject, verdict) +
	       test_costs_count(report, subject, verdict);
}

int test_report_status(const struct test_options *options, const struct test_report *report)
{
	enum test_subject first = options->subjects[0];

	if (count_of(report, first, JUDGE_FAIL))
		return CMD_FAULT;
	return count_of(report, first, JUDGE_PASS) ? CMD_OK : CMD_SKIPPED;
}

/* Fails first, then what could not be told; in each, what is nearest to its limit or furthest
 * beyond. */
static int worst_first(const void *left, const void *right)
{
	static const int rank[] = {[JUDGE_FAIL] = 0, [JUDGE_SKIP] = 1, [JUDGE_PASS] = 2};
	const struct judge_row *a = &(*(const struct test_result *const *)left)->row;
	const struct judge_row *b = &(*(const struct test_result *const *)right)->row;
	u128 x, y;

	if (a->verdict != b->verdict)
		return rank[a->verdict] - rank[b->verdict];
	if (a->judged == JUDGE_FIGURES || b->judged == JUDGE_FIGURES)
		return (a->judged == JUDGE_FIGURES) - (b->judged == JUDGE_FIGURES);
	x = (u128)(uint64_t)llabs(a->value[a->judged]) * (uint64_t)b->value[JUDGE_LIMIT];
	y = (u128)(uint64_t)llabs(b->value[b->judged]) * (uint64_t)a->value[JUDGE_LIMIT];
	return (x < y) - (x > y);
}

enum column {
	SUBJECT,
	CLOCKSOURCE,
	SCENARIO,
	POLICY,
	RUN,
	ERROR,
	CHANGE,
	GAP,
	FREQUENCY,
	BRACKET,
	LIMIT,
	VERDICT,
	COLUMNS
};

static const struct {
	const char *title;
	int flags;
} columns[COLUMNS] = {
	[SUBJECT] = {"subject", 0},
	[CLOCKSOURCE] = {"clocksource", 0},
	[SCENARIO] = {"scenario", 0},
	[POLICY] = {"policy", 0},
	[RUN] = {"run", SCOLS_FL_RIGHT},
	[ERROR] = {"REALTIME error", SCOLS_FL_RIGHT},
	[CHANGE] = {"change", SCOLS_FL_RIGHT},
	[GAP] = {"MONOTONIC gap", SCOLS_FL_RIGHT},
	[FREQUENCY] = {"frequency", SCOLS_FL_RIGHT},
	[BRACKET] = {"+-", SCOLS_FL_RIGHT},
	[LIMIT] = {"limit", SCOLS_FL_RIGHT},
	[VERDICT] = {"verdict", 0},
};

void test_report_subject(const struct test_report *report, enum test_subject subject, char *buf,
			 size_t size)
{
	const char *version = report->subjects[subject].version;
	const char *dot = strchr(version, '.');
	size_t length = dot ? (size_t)(dot + 1 - version) + strcspn(dot + 1, ".") : 0;

	if (subject == TEST_VMTIME || !length)
		snprintf(buf, size, "%s", test_subject_names[subject]);
	else
		snprintf(buf, size, "%s %.*s", test_subject_names[subject], (int)length, version);
}

/* Which columns say something: runs when there are several, frequencies when one was judged. */
static void find_columns(const struct test_options *options, const struct test_report *report,
			 bool *shown)
{
	for (int i = 0; i < COLUMNS; i++)
		shown[i] = true;
	shown[RUN] = options->repeat > 1;
	shown[FREQUENCY] = false;
	for (size_t i = 0; i < report->count; i++)
		if (report->results[i].row.judged == JUDGE_REALTIME_RESIDUAL ||
		    report->results[i].row.judged == JUDGE_MONOTONIC_RESIDUAL)
			shown[FREQUENCY] = true;
}

static void cell_text(const struct test_report *report, const struct test_result *r,
		      enum column column, char *buf, size_t size)
{
	static const enum judge_figure figures[COLUMNS] = {
		[ERROR] = JUDGE_REALTIME_ERROR, [CHANGE] = JUDGE_REALTIME_CHANGE,
		[GAP] = JUDGE_MONOTONIC_GAP,    [FREQUENCY] = JUDGE_FREQUENCY_ERROR,
		[BRACKET] = JUDGE_BRACKET,      [LIMIT] = JUDGE_LIMIT};
	int64_t value = r->row.value[figures[column]];

	if (column == SUBJECT)
		test_report_subject(report, r->subject, buf, size);
	else if (column == CLOCKSOURCE)
		snprintf(buf, size, "%s", r->clocksource);
	else if (column == SCENARIO)
		snprintf(buf, size, "%s", test_scenario_names[r->scenario]);
	else if (column == POLICY)
		snprintf(buf, size, "%s", r->policy ? r->policy : "-");
	else if (column == RUN)
		snprintf(buf, size, "%u", r->run);
	else if (column == VERDICT)
		snprintf(buf, size, "%s", judge_verdict_names[r->row.verdict]);
	else if (!r->row.known[figures[column]])
		snprintf(buf, size, "-");
	else if (column == FREQUENCY)
		snprintf(buf, size, "%+" PRId64 " ppb", value);
	else
		cmd_format_ns(buf, size, value, column != BRACKET && column != LIMIT);
}

static const struct test_result **sorted(const struct test_report *report)
{
	const struct test_result **rows = calloc(report->count + 1, sizeof(*rows));

	for (size_t i = 0; rows && i < report->count; i++)
		rows[i] = &report->results[i];
	if (rows)
		qsort(rows, report->count, sizeof(*rows), worst_first);
	return rows;
}

static bool fill_table(struct libscols_table *table, const bool *shown,
		       const struct test_report *report, const struct test_result *const *rows)
{
	static const char *const colors[] = {
		[JUDGE_PASS] = "green", [JUDGE_FAIL] = "red", [JUDGE_SKIP] = "yellow"};
	char text[64];

	for (int i = 0; i < COLUMNS; i++)
		if (shown[i] &&
		    !scols_table_new_column(table, columns[i].title, 0, columns[i].flags))
			return false;
	for (size_t n = 0; n < report->count; n++) {
		struct libscols_line *line = scols_table_new_line(table, NULL);
		size_t at = 0;

		if (!line)
			return false;
		for (int i = 0; i < COLUMNS; i++) {
			if (!shown[i])
				continue;
			cell_text(report, rows[n], (enum column)i, text, sizeof(text));
			if (scols_line_set_data(line, at, text) < 0)
				return false;
			if (i == VERDICT)
				scols_cell_set_color(scols_line_get_cell(line, at),
						     colors[rows[n]->row.verdict]);
			at++;
		}
	}
	return true;
}

static void print_reasons(const struct test_options *options, const struct test_report *report,
			  const struct test_result *const *rows)
{
	for (size_t n = 0; n < report->count; n++) {
		const struct test_result *r = rows[n];
		char title[48], run[24] = "";

		if (!r->row.reason[0])
			continue;
		test_report_subject(report, r->subject, title, sizeof(title));
		if (options->repeat > 1)
			snprintf(run, sizeof(run), ", run %u", r->run);
		printf("%s, %s, %s%s%s%s: %s\n", title, r->clocksource,
		       test_scenario_names[r->scenario], r->policy ? " " : "",
		       r->policy ? r->policy : "", run, r->row.reason);
	}
}

/* What has no column of its own. */
static void print_steals(const struct test_report *report, const struct test_result *const *rows)
{
	for (size_t n = 0; n < report->count; n++) {
		const struct test_result *r = rows[n];
		char title[48], steal[32], delay[32];

		if (!r->row.known[JUDGE_STEAL])
			continue;
		test_report_subject(report, r->subject, title, sizeof(title));
		cmd_format_ns(steal, sizeof(steal), r->row.value[JUDGE_STEAL], false);
		cmd_format_ns(delay, sizeof(delay), r->row.value[JUDGE_RUN_DELAY], false);
		printf("%s, %s, steal: %s by the guest's count, its thread waited %s\n", title,
		       r->clocksource, steal, delay);
	}
}

/* "61.5 ms", and of many the middle one and the longest. */
static void took_text(const struct judge_row *row, enum judge_figure figure, enum judge_figure most,
		      char *buf, size_t size)
{
	char one[32], longest[32];

	cmd_format_ns(one, sizeof(one), row->value[figure], false);
	cmd_format_ns(longest, sizeof(longest), row->value[most], false);
	snprintf(buf, size, "%s%s%s%s", one, row->known[most] ? " (at most " : "",
		 row->known[most] ? longest : "", row->known[most] ? ")" : "");
}

static void print_moves(const struct test_options *options, const struct test_report *report,
			const struct test_result *const *rows)
{
	for (size_t n = 0; n < report->count; n++) {
		const struct test_result *r = rows[n];
		char title[48], run[24] = "", down[80], total[80];

		if (!r->row.known[JUDGE_TOTAL] || !r->row.known[JUDGE_DOWNTIME])
			continue;
		test_report_subject(report, r->subject, title, sizeof(title));
		if (options->repeat > 1)
			snprintf(run, sizeof(run), ", run %u", r->run);
		took_text(&r->row, JUDGE_DOWNTIME, JUDGE_DOWNTIME_MAX, down, sizeof(down));
		took_text(&r->row, JUDGE_TOTAL, JUDGE_TOTAL_MAX, total, sizeof(total));
		printf("%s, %s, %s%s%s%s: the guest did not run for %s, moving it took %s\n", title,
		       r->clocksource, test_scenario_names[r->scenario], r->policy ? " " : "",
		       r->policy ? r->policy : "", run, down, total);
	}
}

static void print_counts(const struct test_report *report, enum test_subject subject)
{
	unsigned skipped = count_of(report, subject, JUDGE_SKIP);

	printf("%u passed, %u failed", count_of(report, subject, JUDGE_PASS),
	       count_of(report, subject, JUDGE_FAIL));
	if (skipped)
		printf(", %u skipped", skipped);
}

void test_report_table(const struct test_options *options, const struct test_report *report)
{
	const struct test_result **rows = sorted(report);
	struct libscols_table *table = scols_new_table();
	const char *no_color = getenv("NO_COLOR");
	bool shown[COLUMNS];

	setlocale(LC_CTYPE, "");
	find_columns(options, report, shown);
	if (report->count && rows && table && fill_table(table, shown, report, rows)) {
		scols_table_enable_colors(table,
					  isatty(STDOUT_FILENO) && (!no_color || !*no_color));
		scols_print_table(table);
		print_reasons(options, report, rows);
		print_steals(report, rows);
		print_moves(options, report, rows);
	}
	scols_unref_table(table);
	free(rows);
	test_faces_table(report);
	test_ticks_table(report);
	test_costs_table(report);
	print_counts(report, options->subjects[0]);
	printf(" (%s)", test_subject_names[options->subjects[0]]);
	for (unsigned i = 1; i < options->subject_count; i++) {
		printf("%s%s ", i == 1 ? "; peers: " : ", ",
		       test_subject_names[options->subjects[i]]);
		print_counts(report, options->subjects[i]);
	}
	printf("\n");
}

static void cpu_model(char *buf, size_t size)
{
	FILE *file = fopen("/proc/cpuinfo", "re");
	char line[256];

	snprintf(buf, size, "unknown");
	while (file && fgets(line, sizeof(line), file)) {
		if (strncmp(line, "model name", 10) != 0 || !strchr(line, ':'))
			continue;
		line[strcspn(line, "\n")] = '\0';
		snprintf(buf, size, "%s", strchr(line, ':') + 2);
		break;
	}
	if (file)
		fclose(file);
}

/* A guest or a VMM may say anything, JSON only takes UTF-8: what is none keeps its ASCII. */
static json_t *text_json(const char *text)
{
	json_t *string = json_string(text);
	char *copy = string ? NULL : strdup(text);

	for (char *c = copy; c && *c; c++)
		if ((unsigned char)*c >= 0x80)
			*c = '?';
	if (copy)
		string = json_string(copy);
	free(copy);
	return string;
}

static json_t *host_json(const struct test_report *report)
{
	static const char *const classes[] = {[PROBE_TSC_NONE] = "none",
					      [PROBE_TSC_OFFSET] = "offset",
					      [PROBE_TSC_OFFSET_SCALING] = "offset+scaling"};
	json_t *host = json_object();
	enum probe_tsc_class class;
	struct utsname name;
	char cpu[128], source[32];

	uname(&name);
	cpu_model(cpu, sizeof(cpu));
	jsonout_put(&host, "kernel", text_json(name.release));
	jsonout_put(&host, "cpu", text_json(cpu));
	jsonout_put(&host, "kvm", json_string(getenv(LAB_VARIABLE) ? "lab" : "host"));
	if (hostclock_source(source, sizeof(source)) == 0)
		jsonout_put(&host, "clocksource", text_json(source));
	if (report->tsc_hz)
		jsonout_put(&host, "tsc_khz",
			    json_integer((json_int_t)((report->tsc_hz + 500) / 1000)));
	if (probe_tsc(&class, NULL) == 0)
		jsonout_put(&host, "tsc_class", json_string(classes[class]));
	return host;
}

static json_t *guest_json(const struct sample_hello *hello)
{
	json_t *guest = json_object(), *sources = json_array();
	char available[sizeof(hello->available)], *save = NULL;

	memcpy(available, hello->available, sizeof(available));
	for (char *name = strtok_r(available, ",", &save); name; name = strtok_r(NULL, ",", &save))
		jsonout_append(&sources, text_json(name));
	jsonout_put(&guest, "kernel", text_json(hello->kernel));
	jsonout_put(&guest, "cpus", json_integer((json_int_t)hello->cpus));
	jsonout_put(&guest, "available_clocksource", sources);
	return guest;
}

static json_t *subject_json(const struct test_known *known, enum test_subject subject)
{
	json_t *o = json_object(), *command = json_array();

	jsonout_put(&o, "name", json_string(test_subject_names[subject]));
	if (known->version[0])
		jsonout_put(&o, "version", text_json(known->version));
	for (char **word = known->command; word && *word; word++)
		jsonout_append(&command, text_json(*word));
	jsonout_put(&o, "command", command);
	if (known->has_guest)
		jsonout_put(&o, "guest", guest_json(&known->guest));
	return o;
}

static json_t *result_json(const struct test_result *r)
{
	json_t *o = json_object();

	jsonout_put(&o, "subject", json_string(test_subject_names[r->subject]));
	jsonout_put(&o, "clocksource", json_string(r->clocksource));
	jsonout_put(&o, "scenario", json_string(test_scenario_names[r->scenario]));
	jsonout_put(&o, "policy", json_string(r->policy ? r->policy : "-"));
	jsonout_put(&o, "run", json_integer((json_int_t)r->run));
	for (int i = 0; i < JUDGE_FIGURES; i++)
		if (r->row.known[i])
			jsonout_put(&o, judge_figure_names[i], json_integer(r->row.value[i]));
	jsonout_put(&o, "verdict", json_string(judge_verdict_names[r->row.verdict]));
	jsonout_put(&o, "reason", text_json(r->row.reason));
	return o;
}

static json_t *report_json(const struct test_options *options, const struct test_report *report)
{
	json_t *root = json_object(), *subjects = json_array(), *results = json_array();

	for (unsigned i = 0; i < options->subject_count; i++) {
		enum test_subject subject = options->subjects[i];

		jsonout_append(&subjects, subject_json(&report->subjects[subject], subject));
	}
	for (size_t i = 0; i < report->count; i++)
		jsonout_append(&results, result_json(&report->results[i]));
	jsonout_put(&root, "schema_version", json_integer(1));
	jsonout_put(&root, "vmtime", json_string(VMTIME_VERSION));
	jsonout_put(&root, "kind", json_string("test"));
	jsonout_put(&root, "started", json_string(report->started));
	jsonout_put(&root, "host", host_json(report));
	jsonout_put(&root, "subjects", subjects);
	jsonout_put(&root, "results", results);
	jsonout_put(&root, "faces", test_faces_json(report));
	jsonout_put(&root, "pairs", test_faces_pairs_json(report));
	jsonout_put(&root, "costs", test_costs_json(report));
	jsonout_put(&root, "ticks", test_ticks_json(report));
	return root;
}

int test_report_json(const struct test_options *options, const struct test_report *report)
{
	return jsonout_print(report_json(options, report), options->json_file);
}
