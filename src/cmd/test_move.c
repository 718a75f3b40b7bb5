/* SPDX-License-Identifier: Apache-2.0 */
/* test_move.c - a running guest is moved to a new VMM beside its own, and a VMM is left. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cmd/test_event.h"
#include "host/hostclock.h"

#define SECOND 1000000000ULL

enum { UNTOLD_MAX = 40 };

static const uint64_t qmp_patience_ns = 30 * SECOND;

const uint64_t test_move_patience_ns = 120 * SECOND; /* 64 GiB take longer; no test has these */

static int take(void *stream, const char *bytes, size_t size)
{
	return test_stream_take(stream, bytes, size);
}

bool test_move_wait(struct test_event_run *r, uint64_t end_ns)
{
	return test_machine_feed(&r->machine, &r->fd, take, &r->stream, &r->why) < 0 ||
	       test_plan_stopped() || hostclock_monotonic_ns() >= end_ns;
}

int test_move_meet(struct test_event_run *r, struct test_machine *m, struct test_qmp *ret_qmp)
{
	const uint64_t end_ns = hostclock_monotonic_ns() + test_move_patience_ns;
	int error;

	do {
		if (test_machine_has_ended(m))
			return test_machine_complain_of_end(m, &r->why);
		error = test_qmp_open(m->qmp, ret_qmp, &r->why);
	} while ((error == -ENOENT || error == -ECONNREFUSED) && !test_move_wait(r, end_ns));
	return error;
}

int test_move_leave(struct test_event_run *r)
{
	const uint64_t end_ns = hostclock_monotonic_ns() + test_move_patience_ns;
	struct why ignored;

	(void)test_qmp_do(&r->qmp, "quit", &ignored); /* it may end before it answers */
	test_qmp_close(&r->qmp);
	r->gone = true;
	while (!test_machine_has_ended(&r->machine) || r->fd >= 0)
		if (test_move_wait(r, end_ns))
			return test_machine_complain(&r->machine, "the VMM did not quit", &r->why);
	return 0;
}

/* Who is there before the guest is loses nothing of what it says: QEMU has its ports by then. */
static int wait_for_listener(struct test_event_run *r)
{
	struct test_machine *next = &r->move.next;
	const uint64_t end_ns = hostclock_monotonic_ns() + test_move_patience_ns;
	int error = 0;

	while (!error && access(r->machine.move, F_OK) < 0) {
		if (test_machine_has_ended(next))
			error = test_machine_complain_of_end(next, &r->why);
		else if (test_move_wait(r, end_ns))
			error = test_machine_complain(next, "the new VMM does not wait for a guest",
						      &r->why);
	}
	return error ? error : test_machine_connect(next, &r->move.fd, &r->why);
}

static int start_next(struct test_event_run *r)
{
	struct test_machine_config config = r->config;
	char incoming[sizeof("unix:") + PATH_MAX];
	int error;

	snprintf(incoming, sizeof(incoming), "unix:%s", r->machine.move);
	config.incoming = incoming;
	config.clone = ++r->move.number;
	error = test_machine_start(&config, &r->move.next, &r->why);
	if (!error)
		error = test_move_meet(r, &r->move.next, &r->move.qmp);
	return error ? error : wait_for_listener(r);
}

/* QEMU tells of its stages, and sends faster than 128 MiB/s, only when it is asked to. */
static int prepare_qemu(struct test_event_run *r)
{
	int error = test_qmp_ask(
		&r->qmp, "migrate-set-capabilities",
		json_pack("{s:[{s:s,s:b}]}", "capabilities", "capability", "events", "state", 1),
		qmp_patience_ns, NULL, &r->why);

	return error ? error
		     : test_qmp_ask(&r->qmp, "migrate-set-parameters",
				    json_pack("{s:I}", "max-bandwidth", (json_int_t)1 << 40),
				    qmp_patience_ns, NULL, &r->why);
}

int test_move_begin(struct test_event_run *r)
{
	struct test_move *m = &r->move;
	char uri[sizeof("unix:") + PATH_MAX];
	int error = start_next(r);

	if (!error && r->config.subject == TEST_QEMU)
		error = prepare_qemu(r);
	if (error)
		return error;
	snprintf(uri, sizeof(uri), "unix:%s", r->machine.move);
	r->qmp.events = (struct test_qmp_events){0};
	m->untold = 0;
	m->asked_ns = hostclock_realtime_ns();
	m->since_ns = hostclock_monotonic_ns();
	m->asked_tsc = test_event_count(&r->map);
	return test_qmp_ask(&r->qmp, "migrate", json_pack("{s:s}", "uri", uri), qmp_patience_ns,
			    NULL, &r->why);
}

/* Of the old VMM: 1 its part is done, 0 not yet, or negative errno. */
static int ask_old(struct test_event_run *r)
{
	json_t *said;
	const char *status, *desc;
	int result = test_qmp_ask(&r->qmp, "query-migrate", NULL, qmp_patience_ns, &said, &r->why);

	if (result)
		return result;
	status = json_string_value(json_object_get(said, "status"));
	desc = json_string_value(json_object_get(said, "error-desc"));
	if (status && strcmp(status, "completed") == 0)
		result = 1;
	else if (status && (strcmp(status, "failed") == 0 || strcmp(status, "cancelled") == 0))
		result = why_set(&r->why, -EIO, "the guest was not moved: %s%s%s", status,
				 desc ? ": " : "", desc ? desc : "");
	json_decref(said);
	return result;
}

/* Of the new one: 1 the guest runs there. */
static int ask_new(struct test_event_run *r)
{
	json_t *said;
	const char *status;
	int result =
		test_qmp_ask(&r->move.qmp, "query-status", NULL, qmp_patience_ns, &said, &r->why);

	if (result)
		return result;
	status = json_string_value(json_object_get(said, "status"));
	result = status && strcmp(status, "running") == 0;
	json_decref(said);
	return result;
}

/* An event may come a little later than the state that it is of.  1: all have come. */
static int tell(struct test_event_run *r)
{
	struct test_move *m = &r->move;

	event_tell_move(m->asked_ns, &r->qmp.events, &m->qmp.events, &m->downtime_ns, &m->total_ns);
	if (m->downtime_ns && m->total_ns)
		return 1;
	return m->untold++ < UNTOLD_MAX
		       ? 0
		       : why_set(&r->why, -EPROTO,
				 "the VMMs' events do not tell for how long the guest did not run");
}

int test_move_step(struct test_event_run *r)
{
	struct test_move *m = &r->move;
	int result = test_machine_connect(&m->next, &m->fd, &r->why);

	if (result == 0)
		result = ask_old(r);
	if (result > 0)
		result = ask_new(r);
	if (result < 0 && test_machine_has_ended(&r->machine))
		return test_machine_complain_of_end(&r->machine, &r->why);
	if (result < 0 && test_machine_has_ended(&m->next))
		return test_machine_complain_of_end(&m->next, &r->why);
	if (result == 0 && hostclock_monotonic_ns() - m->since_ns > test_move_patience_ns)
		return test_machine_complain(&m->next, "the guest was not moved in 120 s", &r->why);
	return result > 0 ? tell(r) : result;
}

int test_move_end(struct test_event_run *r)
{
	struct test_move *m = &r->move;
	int error = test_move_leave(r);

	if (r->left.pid) {
		test_machine_alarmed(&r->left, r->alarm, sizeof(r->alarm));
		test_plan_remember(r->report, r->config.subject, &r->left, NULL);
		test_machine_stop(&r->left);
	}
	r->left = r->machine;
	r->machine = m->next;
	r->fd = m->fd;
	r->qmp = m->qmp;
	r->gone = false;
	m->next = (struct test_machine){0};
	m->fd = m->qmp.fd = -1;
	return error;
}

void test_move_free(struct test_move *m)
{
	test_qmp_close(&m->qmp);
	if (m->fd >= 0)
		close(m->fd);
	m->fd = -1;
	test_machine_stop(&m->next);
}
