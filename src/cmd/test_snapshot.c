/* SPDX-License-Identifier: Apache-2.0 */
/* test_snapshot.c - scenario snapshot: a guest is saved to a file, its VMM ends, and after a while
 * it goes on in a new process.
 *
 * A guest's memory is in that file: it is only this process's and its machines', and loses its name
 * before, or as soon as, it is whole.  So nothing is left of it whatever ends the run. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cmd/test_event.h"
#include "host/hostclock.h"

#define SECOND 1000000000ULL

static uint64_t default_ns(const char *clocksource)
{
	/* Half of the PM timer's range is 2.3 s, and saving and loading take time as well. */
	return strcmp(clocksource, "acpi_pm") == 0 ? SECOND / 2 : 5 * SECOND;
}

static int save_vmtime(struct test_event_run *r)
{
	int error = test_qmp_ask(&r->qmp, "snapshot-save",
				 json_pack("{s:s,s:b}", "file", r->machine.snapshot, "stop", 1),
				 test_move_patience_ns, NULL, &r->why);

	if (error)
		return error;
	r->file = open(r->machine.snapshot, O_RDONLY | O_CLOEXEC);
	if (r->file < 0)
		return why_set(&r->why, -errno, "cannot open the snapshot: %m");
	unlink(r->machine.snapshot);
	return 0;
}

/* "completed", or another last word of QEMU's. */
static int wait_for_migration(struct test_event_run *r)
{
	const uint64_t end_ns = hostclock_monotonic_ns() + test_move_patience_ns;
	int error = 0, state = 0;

	while (!error && !state) {
		json_t *said;
		const char *status;

		if (test_move_wait(r, end_ns))
			return why_set(&r->why, -ETIMEDOUT, "QEMU did not save its guest in 120 s");
		error = test_qmp_ask(&r->qmp, "query-migrate", NULL, test_move_patience_ns, &said,
				     &r->why);
		if (error)
			break;
		status = json_string_value(json_object_get(said, "status"));
		state = status && strcmp(status, "completed") == 0;
		if (status && (strcmp(status, "failed") == 0 || strcmp(status, "cancelled") == 0))
			error = why_set(&r->why, -EIO, "QEMU did not save its guest: %s", status);
		json_decref(said);
	}
	return error;
}

static int save_qemu(struct test_event_run *r)
{
	char uri[64];
	int error;

	r->file = open(r->machine.snapshot, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (r->file < 0)
		return why_set(&r->why, -errno, "cannot make %s: %m", r->machine.snapshot);
	unlink(r->machine.snapshot);
	snprintf(uri, sizeof(uri), "exec:cat >/proc/%d/fd/%d", (int)getpid(), r->file);
	error = test_qmp_do(&r->qmp, "stop", &r->why);
	if (!error)
		error = test_qmp_ask(&r->qmp, "migrate-set-parameters",
				     json_pack("{s:I}", "max-bandwidth", (json_int_t)1 << 40),
				     test_move_patience_ns, NULL, &r->why);
	if (!error)
		error = test_qmp_ask(&r->qmp, "migrate", json_pack("{s:s}", "uri", uri),
				     test_move_patience_ns, NULL, &r->why);
	return error ? error : wait_for_migration(r);
}

static int begin(struct test_event_run *r)
{
	int error = r->config.subject == TEST_VMTIME ? save_vmtime(r) : save_qemu(r);

	return error ? error : test_move_leave(r);
}

/* QEMU's machine that was stopped when it was saved is so when it has been loaded. */
static int go_on_qemu(struct test_event_run *r)
{
	const uint64_t end_ns = hostclock_monotonic_ns() + test_move_patience_ns;
	bool loaded = false;
	int error = 0;

	while (!error && !loaded) {
		json_t *said;
		const char *status;

		if (test_machine_has_ended(&r->machine))
			return test_machine_complain_of_end(&r->machine, &r->why);
		error = test_qmp_ask(&r->qmp, "query-status", NULL, test_move_patience_ns, &said,
				     &r->why);
		if (error)
			break;
		status = json_string_value(json_object_get(said, "status"));
		loaded = status && strcmp(status, "paused") == 0;
		json_decref(said);
		if (!loaded && test_move_wait(r, end_ns))
			return why_set(&r->why, -ETIMEDOUT, "QEMU did not load its guest in 120 s");
	}
	return error ? error : test_qmp_do(&r->qmp, "cont", &r->why);
}

static int end(struct test_event_run *r)
{
	const bool qemu = r->config.subject == TEST_QEMU;
	struct test_machine_config config = r->config;
	char incoming[64];
	int error;

	snprintf(incoming, sizeof(incoming), "%s/proc/%d/fd/%d",
		 qemu ? "exec:cat " : "file:", (int)getpid(), r->file);
	config.incoming = incoming;
	config.clone = r->clone;
	r->left = r->machine;
	memset(&r->machine, 0, sizeof(r->machine));
	error = test_machine_start(&config, &r->machine, &r->why);
	r->gone = false;
	if (!error)
		error = test_move_meet(r, &r->machine, &r->qmp);
	return !error && qemu ? go_on_qemu(r) : error;
}

const struct test_event test_snapshot = {
	.scenario = TEST_SNAPSHOT,
	.option = "--on-restore",
	.limit_ns = 1000,
	.clones = true,
	.default_ns = default_ns,
	.begin = begin,
	.end = end,
};
