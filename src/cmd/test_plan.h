/* SPDX-License-Identifier: Apache-2.0 */
/* test_plan.h - runs each subject with each clock source and gathers the results. */
#ifndef CMD_TEST_PLAN_H
#define CMD_TEST_PLAN_H

#include <stdio.h>

#include "cmd/test.h"
#include "cmd/test_subject.h"

/* How long all of it can take at most: for whoever guards it from outside. */
uint64_t test_plan_longest_ns(const struct test_options *options);

/* What the guests are made of; what no scenario that was asked for needs may be NULL. */
struct test_images {
	const char *kernel, *initrd; /* Linux, the observer */
	const char *probe;
};

/* Boots every subject with every clock source, as often as asked, one at a time.  CMD_OK with the
 * results in *report; CMD_CANNOT after a line on stderr where measuring is not possible here.
 * SIGINT, SIGTERM, SIGHUP and SIGQUIT end the guest, then this process, as they would have. */
int test_plan_run(const struct test_options *options, const struct test_images *images,
		  struct test_report *report);

/* The signal that asked for the end, or 0. */
int test_plan_stopped(void);

/* Where logs are to be kept: makes DIR/SUBJECT-WHAT-NUMBER, names it in `buf` and the config and
 * opens its samples.txt.  CMD_OK, or a status after a line on stderr. */
int test_plan_keep(struct test_machine_config *config, const char *what, unsigned number, char *buf,
		   size_t size, FILE **ret_record);

/* Takes over into the report what is told of a subject: the command line of its first machine, and
 * what the first Linux of its said of itself (NULL: this one is none, or was silent). */
void test_plan_remember(struct test_report *report, enum test_subject subject,
			struct test_machine *m, const struct sample_hello *guest);

/* Ends a machine: closes its console `fd` (-1: it has none), remembers its subject as above, and
 * copies an alarm of its guest's log ("": none).  `cannot` says why nothing can be measured here
 * at all (NULL: it can).  CMD_OK, or the status to end with: of a signal, or CMD_CANNOT after a
 * line on stderr. */
int test_plan_end(struct test_report *report, enum test_subject subject, struct test_machine *m,
		  int fd, const struct sample_hello *guest, const struct why *cannot, char *alarm,
		  size_t size);

/* A new row for one scenario of a machine; NULL: no memory. */
struct judge_row *test_plan_add_row(struct test_report *report,
				    const struct test_machine_config *config,
				    enum test_scenario scenario, unsigned number);

/* Says why there is no figure, as below. */
void test_plan_judge_trouble(const struct why *why, int error, struct judge_row *ret_row);

/* The guest's log has an alarm: its row fails, unless it has failed already. */
void test_plan_judge_alarm(const char *alarm, struct judge_row *row);

/* A row of its own for it, where the figures have none; nothing when there is no alarm ("").
 * CMD_OK, or a status after a line on stderr. */
int test_plan_add_alarm(struct test_report *report, const struct test_machine_config *config,
			enum test_scenario scenario, unsigned number, const char *alarm);

/* A row for what could not be measured.  A clock source that the guest does not have (-ENODEV)
 * cannot be judged; a guest that does not run, or whose time cannot be followed, has failed.
 * CMD_OK, or a status after a line on stderr. */
int test_plan_add_trouble(struct test_report *report, const struct test_machine_config *config,
			  enum test_scenario scenario, unsigned number, const struct why *why,
			  int error);

/* Wipes the line on which a terminal shows what is going on. */
void test_plan_clear_progress(void);

#endif
