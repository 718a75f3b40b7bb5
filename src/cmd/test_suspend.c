/* SPDX-License-Identifier: Apache-2.0 */
/* test_suspend.c - scenario suspend: the host is suspended while the guest runs.
 *
 * Only the lab is.  Its kernel does all of it but the very last step (/sys/power/pm_test): tasks
 * frozen, devices and CPUs taken down, its clocks stopped, and all back again.  For so long as the
 * machine waits CLOCK_MONOTONIC stands, CLOCK_BOOTTIME goes on, by the lab's battery clock, and the
 * TSC counts.  The wait is as long as the kernel makes it. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cmd/lab.h"
#include "cmd/test_event.h"
#include "host/hostclock.h"

#define SECOND 1000000000ULL

/* The VMM has put the guest's time right by then. */
static const struct timespec settled = {.tv_nsec = 500000000};

static uint64_t default_ns(const char *clocksource)
{
	(void)clocksource;
	return 5 * SECOND;
}

static int check(struct test_event_run *r)
{
	if (!getenv(LAB_VARIABLE))
		return why_set(&r->why, -ENODEV,
			       "this machine is not suspended for a test (run it in `vmtime lab`)");
	return access("/sys/power/pm_test", W_OK) == 0
		       ? 0
		       : why_set(&r->why, -ENODEV, "this kernel cannot try a suspend: %s",
				 strerror(errno));
}

static int begin(struct test_event_run *r)
{
	(void)r;
	return 0;
}

static int put(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	int error = fd < 0 || write(fd, text, strlen(text)) < 0 ? -errno : 0;

	if (fd >= 0)
		close(fd);
	return error;
}

static int tell(struct test_event_run *r, const char *path, const char *text)
{
	int error = put(path, text);

	return error ? why_set(&r->why, -ENODEV, "this machine cannot be suspended: %s: %s", path,
			       strerror(-error))
		     : 0;
}

static int64_t suspended_ns(void)
{
	enum { TRIES = 50 };
	struct hostclock_beside now;

	(void)hostclock_beside(TRIES, &now);
	return now.suspended_ns;
}

/* The guest runs until its VMM is frozen: nothing that came before counts as later. */
static int end(struct test_event_run *r)
{
	const uint64_t asked_s = (test_event_ns(r) + SECOND - 1) / SECOND;
	const int64_t before_ns = suspended_ns();
	struct kvmtsc_map map;
	char seconds[24];
	int error;

	snprintf(seconds, sizeof(seconds), "%" PRIu64, asked_s);
	error = tell(r, "/sys/module/suspend/parameters/pm_test_delay", seconds);
	if (!error)
		error = tell(r, "/sys/power/pm_test", "core");
	if (!error)
		error = tell(r, "/sys/power/state", "mem");
	r->slept_ns = suspended_ns() - before_ns;
	(void)put("/sys/power/pm_test", "none"); /* a later suspend is a whole one again */
	if (!error)
		error = event_check_slept(asked_s * SECOND, r->slept_ns, &r->why);
	nanosleep(&settled, NULL);
	if (!error)
		error = kvmtsc_read(NULL, r->machine.pid, &map, &r->why);
	if (!error)
		r->mark_tsc = test_event_count(&map);
	return error;
}

const struct test_event test_suspend = {
	.scenario = TEST_SUSPEND,
	.option = "--on-pause",
	.limit_ns = 1000,
	.default_ns = default_ns,
	.check = check,
	.begin = begin,
	.end = end,
};
