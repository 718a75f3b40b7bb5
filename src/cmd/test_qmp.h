/* SPDX-License-Identifier: Apache-2.0 */
/* test_qmp.h - a client of QMP that asks one thing at a time, of vmtime's VMM or of QEMU. */
#ifndef CMD_TEST_QMP_H
#define CMD_TEST_QMP_H

#include <jansson.h>
#include <stdint.h>

#include "host/why.h"

/* When the last of each event was, by its own timestamp: CLOCK_REALTIME, in whole us; 0: there was
 * none. */
struct test_qmp_events {
	int64_t stop_ns, resume_ns;
	int64_t stood_ns;     /* in all, from each STOP to the RESUME that followed it */
	int64_t completed_ns; /* MIGRATION, of this status */
};

struct test_qmp {
	int fd; /* -1: none */
	char rest[65536];
	unsigned length;               /* of what came and is no whole line yet */
	struct test_qmp_events events; /* that came up to the last answer */
};

/* Connects, waits for the greeting and negotiates; at most 10 s.  0 or a negative errno with its
 * why, and nothing is open; -ENOENT or -ECONNREFUSED: nobody listens there. */
int test_qmp_open(const char *path, struct test_qmp *ret_qmp, struct why *why);

/* A command without arguments that returns nothing of interest: 0 when it is done, which takes
 * at most 10 s, or a negative errno with its why. */
int test_qmp_do(struct test_qmp *qmp, const char *command, struct why *why);

/* A command whose arguments, a JSON object, it takes over (NULL: none), and what it returns, for
 * the caller to release (ret may be NULL).  A signal ends the wait, with -EINTR.  As above. */
int test_qmp_ask(struct test_qmp *qmp, const char *command, json_t *arguments, uint64_t patience_ns,
		 json_t **ret_returned, struct why *why);

void test_qmp_close(struct test_qmp *qmp);

#endif
