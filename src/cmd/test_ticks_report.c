/* SPDX-License-Identifier: Apache-2.0 */
/* test_ticks_report.c - what came out of scenario ticks: for the table and for the JSON. */
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "cmd/test_sheet.h"
#include "cmd/test_ticks.h"

int test_report_add_ticks(struct test_report *report, enum test_subject subject,
			  const struct ticks_row *row)
{
	struct test_ticks *grown =
		reallocarray(report->ticks, report->ticks_count + 1, sizeof(*grown));

	if (!grown)
		return -ENOMEM;
	report->ticks = grown;
	grown[report->ticks_count++] = (struct test_ticks){.subject = subject, .row = *row};
	return 0;
}

unsigned test_ticks_count(const struct test_report *report, enum test_subject subject,
			  enum judge_verdict verdict)
{
	unsigned n = 0;

	for (size_t i = 0; i < report->ticks_count; i++)
		n += report->ticks[i].subject == subject && report->ticks[i].row.verdict == verdict;
	return n;
}

static const char *load_of(const struct ticks_row *row)
{
	return row->busy ? "busy" : "idle";
}

static void add_ledger(struct sheet *s, const struct ticks_row *row)
{
	const uint64_t members[] = {row->delivered, row->merged, row->discarded, row->owed};

	for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++) {
		if (row->has_ledger)
			sheet_number(s, members[i]);
		else
			sheet_text(s, "-");
	}
}

static void add_lateness(struct sheet *s, const struct ticks_row *row)
{
	const uint64_t members[] = {row->late_p50_ns, row->late_p99_ns, row->late_max_ns};

	for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++) {
		if (row->has_late)
			sheet_ns(s, (int64_t)members[i], false);
		else
			sheet_text(s, "-");
	}
}

/* The first row of another subject, or of KVM's PIT, that ticks the same way; NULL: none. */
static const struct test_ticks *peer_of(const struct test_report *report,
					const struct test_ticks *t, enum ticks_source source,
					enum test_subject subject)
{
	for (size_t i = 0; i < report->ticks_count; i++) {
		const struct test_ticks *other = &report->ticks[i];

		if (other->subject == subject && other->row.source == source &&
		    other->row.rate_hz == t->row.rate_hz && other->row.busy == t->row.busy)
			return other;
	}
	return NULL;
}

static uint64_t percent(uint64_t part, uint64_t whole)
{
	return (100 * part + whole / 2) / whole;
}

/* What an interrupt costs beside the peer's, and how late the hundredth is. */
static void print_beside(const struct ticks_row *row, const struct test_ticks *peer,
			 const char *name)
{
	if (!peer || !row->has_cpu || !peer->row.has_cpu || !peer->row.cpu_ns)
		return;
	printf("%s at %" PRIu64 " Hz, %s, beside %s: CPU %" PRIu64 " %%",
	       ticks_source_names[row->source], row->rate_hz, row->policy, name,
	       percent(row->cpu_ns, peer->row.cpu_ns));
	if (row->has_late && peer->row.has_late && peer->row.late_p99_ns)
		printf(", late p99 %" PRIu64 " %%",
		       percent(row->late_p99_ns, peer->row.late_p99_ns));
	printf("\n");
}

static void print_peers(const struct test_report *report)
{
	char name[64];

	test_report_subject(report, TEST_QEMU, name, sizeof(name));
	for (size_t i = 0; i < report->ticks_count; i++) {
		const struct test_ticks *t = &report->ticks[i], *peer;

		if (t->subject != TEST_VMTIME || t->row.source != TICKS_PIT || !t->row.is_figure)
			continue;
		print_beside(&t->row, peer_of(report, t, TICKS_PIT, TEST_QEMU), name);
		peer = peer_of(report, t, TICKS_KERNEL_PIT, TEST_VMTIME);
		print_beside(&t->row, peer, ticks_source_names[TICKS_KERNEL_PIT]);
	}
}

/* In the order of the runs: the rates and loads of a subject are read beside each other. */
void test_ticks_table(const struct test_report *report)
{
	static const struct sheet_title titles[] = {
		{"subject", false}, {"source", false},   {"load", false},   {"policy", false},
		{"rate", true},     {"due", true},       {"arrived", true}, {"delivered", true},
		{"merged", true},   {"discarded", true}, {"owed", true},    {"late p50", true},
		{"p99", true},      {"max", true},       {"CPU", true},     {"verdict", false}};
	struct sheet s;
	char text[64];

	if (report->ticks_count == 0)
		return;
	s = sheet_new(titles, sizeof(titles) / sizeof(titles[0]));
	for (size_t i = 0; i < report->ticks_count; i++) {
		const struct ticks_row *row = &report->ticks[i].row;

		sheet_line(&s);
		test_report_subject(report, report->ticks[i].subject, text, sizeof(text));
		sheet_text(&s, text);
		sheet_text(&s, ticks_source_names[row->source]);
		sheet_text(&s, load_of(row));
		sheet_text(&s, row->policy[0] ? row->policy : "-");
		snprintf(text, sizeof(text), "%" PRIu64 " Hz", row->rate_hz);
		sheet_text(&s, text);
		sheet_number(&s, row->due);
		sheet_number(&s, row->guest_count);
		add_ledger(&s, row);
		add_lateness(&s, row);
		if (row->has_cpu)
			sheet_ns(&s, (int64_t)row->cpu_ns, false);
		else
			sheet_text(&s, "-");
		sheet_verdict(&s, row->verdict);
	}
	sheet_print(&s);
	print_peers(report);
	for (size_t i = 0; i < report->ticks_count; i++) {
		const struct ticks_row *row = &report->ticks[i].row;

		if (row->verdict != JUDGE_FAIL)
			continue;
		test_report_subject(report, report->ticks[i].subject, text, sizeof(text));
		printf("%s, %s at %" PRIu64 " Hz, %s: %s\n", text, ticks_source_names[row->source],
		       row->rate_hz, load_of(row), row->reason);
	}
}

/* With a member that is there only when it is known.  NULL: no memory. */
static json_t *put(json_t *object, const char *name, bool known, uint64_t value)
{
	if (object && known &&
	    json_object_set_new(object, name, json_integer((json_int_t)value)) < 0) {
		json_decref(object);
		return NULL;
	}
	return object;
}

json_t *test_ticks_json(const struct test_report *report)
{
	json_t *array = json_array();

	for (size_t i = 0; i < report->ticks_count && array; i++) {
		const struct ticks_row *row = &report->ticks[i].row;
		const struct test_ticks *peer;
		bool known;
		json_t *o =
			json_pack("{s:s, s:s, s:s, s:s, s:I, s:I, s:I, s:s, s:s}", "subject",
				  test_subject_names[report->ticks[i].subject], "source",
				  ticks_source_names[row->source], "policy",
				  row->policy[0] ? row->policy : "-", "load", load_of(row),
				  "rate_hz", (json_int_t)row->rate_hz, "due", (json_int_t)row->due,
				  "guest_count", (json_int_t)row->guest_count, "verdict",
				  judge_verdict_names[row->verdict], "reason", row->reason);

		o = put(o, "delivered", row->has_ledger, row->delivered);
		o = put(o, "merged", row->has_ledger, row->merged);
		o = put(o, "discarded", row->has_ledger, row->discarded);
		o = put(o, "owed", row->has_ledger, row->owed);
		o = put(o, "late_p50_ns", row->has_late, row->late_p50_ns);
		o = put(o, "late_p99_ns", row->has_late, row->late_p99_ns);
		o = put(o, "late_max_ns", row->has_late, row->late_max_ns);
		o = put(o, "cpu_ns", row->has_cpu, row->cpu_ns);
		peer = peer_of(report, &report->ticks[i], row->source, TEST_QEMU);
		known = row->has_cpu && peer && peer != &report->ticks[i] && peer->row.cpu_ns;
		o = put(o, "cpu_qemu_percent", known,
			known ? percent(row->cpu_ns, peer->row.cpu_ns) : 0);
		o = put(o, "late_bracket_ns", row->has_late && row->bracket_ns, row->bracket_ns);
		if (json_array_append_new(array, o) < 0) {
			json_decref(array);
			array = NULL;
		}
	}
	return array;
}
