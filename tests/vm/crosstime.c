/* SPDX-License-Identifier: Apache-2.0 */
/* crosstime.c - a guest's program that asks a PTP clock for cross time stamps.
 *
 *     crosstime /dev/ptp0 COUNT
 *
 * A line each, in ns: the device's time, CLOCK_REALTIME and CLOCK_MONOTONIC_RAW at that same
 * instant as Linux says, and CLOCK_REALTIME read before and after. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/ptp_clock.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>

static int64_t realtime_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static int64_t ns_of(const struct ptp_clock_time *t)
{
	return t->sec * 1000000000 + t->nsec;
}

int main(int argc, char **argv)
{
	const int fd = argc == 3 ? open(argv[1], O_RDWR) : -1;
	const int count = argc == 3 ? atoi(argv[2]) : 0;

	if (fd < 0) {
		fprintf(stderr, "crosstime: cannot open the clock: %s\n", strerror(errno));
		return 1;
	}
	for (int i = 0; i < count; i++) {
		struct ptp_sys_offset_precise stamp = {0};
		const int64_t before = realtime_ns();

		if (ioctl(fd, PTP_SYS_OFFSET_PRECISE, &stamp) < 0) {
			fprintf(stderr, "crosstime: no cross time stamp: %s\n", strerror(errno));
			return 1;
		}
		printf("%" PRId64 " %" PRId64 " %" PRId64 " %" PRId64 " %" PRId64 "\n",
		       ns_of(&stamp.device), ns_of(&stamp.sys_realtime), ns_of(&stamp.sys_monoraw),
		       before, realtime_ns());
	}
	return 0;
}
