/* SPDX-License-Identifier: Apache-2.0 */
/* test_faces.h - scenario faces: the probe, then Linux, reads a machine's clocks, and each is set
 * against the others. */
#ifndef CMD_TEST_FACES_H
#define CMD_TEST_FACES_H

#include "cmd/test.h"
#include "host/pairs.h"

/* How long a run can take at most. */
uint64_t test_faces_longest_ns(const struct test_options *options);

struct test_images;

/* Runs the probe once on a subject, and Linux with each clock source, and adds what came out to the
 * report: faces and pairs, or a result that says why there are none.  CMD_OK; CMD_CANNOT after a
 * line on stderr where measuring is not possible here; 128 + signal where test_plan_stopped(). */
int test_faces_run(const struct test_options *options, enum test_subject subject, unsigned number,
		   const struct test_images *images, struct pairs *pairs,
		   struct test_report *report);

/* What people read of it after the other results: the clocks, then each pair that did not pass and
 * the one that came nearest to it.  Nothing when there is nothing. */
void test_faces_table(const struct test_report *report);

/* The two arrays of JSON, new references; NULL: no memory. */
struct json_t *test_faces_json(const struct test_report *report);
struct json_t *test_faces_pairs_json(const struct test_report *report);

/* How many faces and pairs of a subject came out so. */
unsigned test_faces_count(const struct test_report *report, enum test_subject subject,
			  enum judge_verdict verdict);

#endif
