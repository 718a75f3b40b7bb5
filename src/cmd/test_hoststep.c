/* SPDX-License-Identifier: Apache-2.0 */
/* test_hoststep.c - scenario hoststep: the host's wall clock is set an hour ahead, and back.
 *
 * No guest of a running machine is to see it: its kernel keeps its own REALTIME and MONOTONIC.
 * Only the lab's clock is set, and it is right again afterwards, whatever happens: what is put back
 * is the distance between REALTIME and MONOTONIC from before.
 *
 * That the guest saw nothing says nothing of vmtime's VMM, whose UTC is to follow: it is asked. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cmd/lab.h"
#include "cmd/test_event.h"
#include "host/hostclock.h"

#define SECOND 1000000000ULL

enum { TRIES = 50 };

static const uint64_t patience_ns = 10 * SECOND;

/* A step that is less the VMM leaves to the next one, and a look at two clocks that was interrupted
 * may be wrong by more. */
static const uint64_t left_ns = 1000000;

static const int64_t step_ns = 3600 * (int64_t)SECOND;

static int64_t right_ns; /* REALTIME minus MONOTONIC, while the clock is wrong ... */
static bool wrong;

static uint64_t default_ns(const char *clocksource)
{
	(void)clocksource;
	return 5 * SECOND;
}

static int check(struct test_event_run *r)
{
	return getenv(LAB_VARIABLE)
		       ? 0
		       : why_set(&r->why, -ENODEV,
				 "the clock of this machine is not set for a test (run it in "
				 "`vmtime lab`)");
}

static int set(struct test_event_run *r, int64_t ns)
{
	int error = hostclock_set_realtime_beside(ns);

	return error ? why_set(&r->why, -ENODEV, "the host's clock cannot be set: %s",
			       strerror(-error))
		     : 0;
}

static void put_right(void)
{
	if (wrong)
		(void)hostclock_set_realtime_beside(right_ns);
	wrong = false;
}

static int begin(struct test_event_run *r)
{
	static bool known;
	struct hostclock_beside now;

	if (!known && atexit(put_right))
		return why_set(&r->why, -ENOMEM, "no memory");
	known = true;
	(void)hostclock_beside(TRIES, &now);
	right_ns = now.realtime_ns;
	wrong = true;
	return set(r, right_ns + step_ns);
}

static int ask(struct test_event_run *r)
{
	struct hostclock_beside now;
	json_t *time = NULL;
	int error;

	(void)hostclock_beside(TRIES, &now);
	error = test_qmp_ask(&r->qmp, "query-vmtime", NULL, patience_ns, &time, &r->why);
	if (!error)
		error = event_check_step(time, now.realtime_ns - right_ns, now.bound_ns + left_ns,
					 &r->why);
	json_decref(time);
	return error;
}

static int end(struct test_event_run *r)
{
	int asked = r->config.subject == TEST_VMTIME ? ask(r) : 0;
	const struct why why = r->why;
	int error;

	wrong = false;
	error = set(r, right_ns);
	if (!asked)
		return error;
	r->why = why;
	return asked;
}

const struct test_event test_hoststep = {
	.scenario = TEST_HOSTSTEP,
	.limit_ns = 1000,
	.runs = true,
	.monotonic_only = true,
	.default_ns = default_ns,
	.check = check,
	.begin = begin,
	.end = end,
	.undo = put_right,
};
