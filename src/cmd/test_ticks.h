/* SPDX-License-Identifier: Apache-2.0 */
/* test_ticks.h - scenario ticks: the probe counts a timer's interrupts, and that is set against the
 * VMM's ledger. */
#ifndef CMD_TEST_TICKS_H
#define CMD_TEST_TICKS_H

#include "cmd/test.h"
#include "host/pairs.h"

/* How long a run can take at most. */
uint64_t test_ticks_longest_ns(const struct test_options *options);

/* As test_faces_run(): one machine after the other, a row for each plan that fits, until one cannot
 * be measured. */
int test_ticks_run(const struct test_options *options, enum test_subject subject, unsigned number,
		   const char *probe, struct pairs *pairs, struct test_report *report);

/* 0 or -ENOMEM. */
int test_report_add_ticks(struct test_report *report, enum test_subject subject,
			  const struct ticks_row *row);

/* What people read of it after the other results.  Nothing when there is nothing. */
void test_ticks_table(const struct test_report *report);

/* The array of JSON, a new reference; NULL: no memory. */
struct json_t *test_ticks_json(const struct test_report *report);

/* How many rows of a subject came out so. */
unsigned test_ticks_count(const struct test_report *report, enum test_subject subject,
			  enum judge_verdict verdict);

#endif
