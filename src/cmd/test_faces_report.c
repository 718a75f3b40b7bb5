/* SPDX-License-Identifier: Apache-2.0 */
/* test_faces_report.c - what came out of scenario faces: for the table and for the JSON. */
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmd/cmd.h"
#include "cmd/test_faces.h"
#include "cmd/test_sheet.h"

__extension__ typedef unsigned __int128 u128;

int test_report_add_faces(struct test_report *report, enum test_subject subject,
			  struct test_reader reader, const struct faces_result *f)
{
	struct test_face *faces =
		reallocarray(report->faces, report->face_count + f->row_count + 1, sizeof(*faces));
	struct test_pair *pairs;

	if (!faces)
		return -ENOMEM;
	report->faces = faces;
	pairs = reallocarray(report->pairs, report->pair_count + f->pair_count + 1, sizeof(*pairs));
	if (!pairs)
		return -ENOMEM;
	report->pairs = pairs;
	for (size_t i = 0; i < f->row_count; i++)
		faces[report->face_count++] =
			(struct test_face){.subject = subject, .reader = reader, .row = f->rows[i]};
	for (size_t i = 0; i < f->pair_count; i++)
		pairs[report->pair_count++] = (struct test_pair){
			.subject = subject, .reader = reader, .pair = f->pairs[i]};
	return 0;
}

unsigned test_faces_count(const struct test_report *report, enum test_subject subject,
			  enum judge_verdict verdict)
{
	unsigned n = 0;

	for (size_t i = 0; i < report->face_count; i++)
		n += report->faces[i].subject == subject && report->faces[i].row.verdict == verdict;
	for (size_t i = 0; i < report->pair_count; i++)
		n += report->pairs[i].subject == subject &&
		     report->pairs[i].pair.verdict == verdict;
	return n;
}

/* Fails first, then skips; in each, what is nearest to its limit or furthest beyond. */
static int by_verdict(enum judge_verdict a, int64_t a_ns, uint64_t a_limit_ns, enum judge_verdict b,
		      int64_t b_ns, uint64_t b_limit_ns)
{
	static const int rank[] = {[JUDGE_FAIL] = 0, [JUDGE_SKIP] = 1, [JUDGE_PASS] = 2};
	u128 x, y;

	if (a != b)
		return rank[a] - rank[b];
	x = (u128)(uint64_t)llabs(a_ns) * b_limit_ns;
	y = (u128)(uint64_t)llabs(b_ns) * a_limit_ns;
	return (x < y) - (x > y);
}

static int worse_face(const void *left, const void *right)
{
	const struct faces_row *a = &((const struct test_face *)left)->row;
	const struct faces_row *b = &((const struct test_face *)right)->row;

	return by_verdict(a->verdict, a->worst_error_ns, a->quantum_ns + a->bracket_ns, b->verdict,
			  b->worst_error_ns, b->quantum_ns + b->bracket_ns);
}

static int worse_pair(const void *left, const void *right)
{
	const struct faces_pair *a = &((const struct test_pair *)left)->pair;
	const struct faces_pair *b = &((const struct test_pair *)right)->pair;

	return by_verdict(a->verdict, a->disagreement_ns, a->allowed_ns, b->verdict,
			  b->disagreement_ns, b->allowed_ns);
}

/* "probe"; "linux" with its clock source. */
static void add_reader(struct sheet *s, const struct test_reader *reader)
{
	char text[64];

	snprintf(text, sizeof(text), "%s%s%s", faces_reader_names[reader->who],
		 reader->clocksource ? ", " : "", reader->clocksource ? reader->clocksource : "");
	sheet_text(s, text);
}

static bool same_reader(const struct test_pair *a, const struct test_pair *b)
{
	return a->subject == b->subject && a->reader.who == b->reader.who &&
	       (!a->reader.clocksource ||
		strcmp(a->reader.clocksource, b->reader.clocksource) == 0);
}

static void print_faces(const struct test_report *report, const struct test_face *faces)
{
	static const struct sheet_title titles[] = {
		{"subject", false}, {"read by", false}, {"face", false},   {"cpu", true},
		{"reads", true},    {"error", true},    {"quantum", true}, {"+-", true},
		{"rate", true},     {"back", true},     {"verdict", false}};
	struct sheet s = sheet_new(titles, sizeof(titles) / sizeof(titles[0]));
	char text[64];

	for (size_t i = 0; i < report->face_count; i++) {
		const struct faces_row *row = &faces[i].row;

		sheet_line(&s);
		test_report_subject(report, faces[i].subject, text, sizeof(text));
		sheet_text(&s, text);
		add_reader(&s, &faces[i].reader);
		sheet_text(&s, faces_names[row->face]);
		sheet_number(&s, row->cpu);
		sheet_number(&s, row->reads);
		sheet_ns(&s, row->worst_error_ns, true);
		sheet_ns(&s, (int64_t)row->quantum_ns, false);
		sheet_ns(&s, (int64_t)row->bracket_ns, false);
		snprintf(text, sizeof(text), "%+" PRId64 " ppb", row->rate_error_ppb);
		sheet_text(&s, row->has_rate ? text : "-");
		sheet_number(&s, row->backward_steps);
		sheet_verdict(&s, row->verdict);
	}
	sheet_print(&s);
}

/* One that passed is shown when no other of its reader is nearer to its limit. */
static bool is_shown(const struct test_pair *pairs, size_t at)
{
	for (size_t i = 0; i < at && pairs[at].pair.verdict == JUDGE_PASS; i++)
		if (pairs[i].pair.verdict == JUDGE_PASS && same_reader(&pairs[i], &pairs[at]))
			return false;
	return true;
}

static void print_pairs(const struct test_report *report, const struct test_pair *pairs)
{
	static const struct sheet_title titles[] = {
		{"subject", false},     {"read by", false}, {"face", false},   {"beside", false},
		{"disagreement", true}, {"allowed", true},  {"verdict", false}};
	struct sheet s = sheet_new(titles, sizeof(titles) / sizeof(titles[0]));
	char text[64];

	for (size_t i = 0; i < report->pair_count; i++) {
		const struct faces_pair *pair = &pairs[i].pair;

		if (!is_shown(pairs, i))
			continue;
		sheet_line(&s);
		test_report_subject(report, pairs[i].subject, text, sizeof(text));
		sheet_text(&s, text);
		add_reader(&s, &pairs[i].reader);
		sheet_text(&s, faces_names[pair->a]);
		sheet_text(&s, faces_names[pair->b]);
		sheet_ns(&s, pair->disagreement_ns, true);
		sheet_ns(&s, (int64_t)pair->allowed_ns, false);
		sheet_verdict(&s, pair->verdict);
	}
	sheet_print(&s);
}

/* A copy, since the report keeps its order for the JSON; NULL: no memory. */
static void *sorted(const void *list, size_t count, size_t size,
		    int (*worse)(const void *left, const void *right))
{
	void *copy = calloc(count + 1, size);

	if (copy && count) {
		memcpy(copy, list, count * size);
		qsort(copy, count, size, worse);
	}
	return copy;
}

void test_faces_table(const struct test_report *report)
{
	struct test_face *faces =
		sorted(report->faces, report->face_count, sizeof(*faces), worse_face);
	struct test_pair *pairs =
		sorted(report->pairs, report->pair_count, sizeof(*pairs), worse_pair);

	if (faces && report->face_count)
		print_faces(report, faces);
	if (pairs && report->pair_count)
		print_pairs(report, pairs);
	free(faces);
	free(pairs);
}

/* With a member that is there only when it was measured.  NULL: no memory. */
static json_t *put(json_t *object, const char *name, bool known, int64_t value)
{
	if (object && known && json_object_set_new(object, name, json_integer(value)) < 0) {
		json_decref(object);
		return NULL;
	}
	return object;
}

static json_t *put_reader(json_t *object, const struct test_reader *reader)
{
	int error = object ? json_object_set_new(object, "reader",
						 json_string(faces_reader_names[reader->who]))
			   : 0;

	if (object && !error && reader->clocksource)
		error = json_object_set_new(object, "clocksource",
					    json_string(reader->clocksource));
	if (error) {
		json_decref(object);
		return NULL;
	}
	return object;
}

/* NULL once an element could not be made. */
static json_t *append(json_t *array, json_t *element)
{
	if (array && json_array_append_new(array, element) < 0) {
		json_decref(array);
		return NULL;
	}
	if (!array)
		json_decref(element);
	return array;
}

json_t *test_faces_json(const struct test_report *report)
{
	json_t *array = json_array();

	for (size_t i = 0; i < report->face_count; i++) {
		const struct faces_row *row = &report->faces[i].row;
		json_t *face = json_pack(
			"{s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:s}", "subject",
			test_subject_names[report->faces[i].subject], "name",
			faces_names[row->face], "cpu", (json_int_t)row->cpu, "reads",
			(json_int_t)row->reads, "worst_error_ns", (json_int_t)row->worst_error_ns,
			"quantum_ns", (json_int_t)row->quantum_ns, "backward_steps",
			(json_int_t)row->backward_steps, "bracket_ns", (json_int_t)row->bracket_ns,
			"verdict", judge_verdict_names[row->verdict]);

		face = put_reader(face, &report->faces[i].reader);
		face = put(face, "rate_error_ppb", row->has_rate, row->rate_error_ppb);
		array = append(array, face);
	}
	return array;
}

json_t *test_faces_pairs_json(const struct test_report *report)
{
	json_t *array = json_array();

	for (size_t i = 0; i < report->pair_count; i++) {
		const struct faces_pair *pair = &report->pairs[i].pair;
		const bool known = pair->verdict != JUDGE_SKIP;
		json_t *object = json_pack("{s:s, s:s, s:s, s:s}", "subject",
					   test_subject_names[report->pairs[i].subject], "a",
					   faces_names[pair->a], "b", faces_names[pair->b],
					   "verdict", judge_verdict_names[pair->verdict]);

		object = put_reader(object, &report->pairs[i].reader);
		object = put(object, "disagreement_ns", known, pair->disagreement_ns);
		object = put(object, "allowed_ns", known, (int64_t)pair->allowed_ns);
		array = append(array, object);
	}
	return array;
}
