/* SPDX-License-Identifier: Apache-2.0 */
/* test_costs.h - scenario costs: what one reading of the time costs in a guest, by each way. */
#ifndef CMD_TEST_COSTS_H
#define CMD_TEST_COSTS_H

#include "cmd/test.h"

struct test_images;

/* How long a run can take at most. */
uint64_t test_costs_longest_ns(const struct test_options *options);

/* Boots Linux with each clock source (kvm-clock a second time, without TSC_STABLE) and adds what it
 * says to the report, or a result that says why it does not.  CMD_OK; CMD_CANNOT after a line on
 * stderr where measuring is not possible here; 128 + signal where test_plan_stopped(). */
int test_costs_run(const struct test_options *options, enum test_subject subject, unsigned number,
		   const struct test_images *images, struct test_report *report);

/* A value that is not between two others of another way, by more than both may round, fails.  0 or
 * -ENOMEM. */
int test_report_add_cost(struct test_report *report, enum test_subject subject,
			 const char *clocksource, bool has_stable, bool stable,
			 const struct sample_cost *cost);

/* What people read of it after the other results.  Nothing when there is nothing. */
void test_costs_table(const struct test_report *report);

/* The array of JSON, a new reference; NULL: no memory. */
struct json_t *test_costs_json(const struct test_report *report);

/* How many rows of a subject came out so. */
unsigned test_costs_count(const struct test_report *report, enum test_subject subject,
			  enum judge_verdict verdict);

#endif
