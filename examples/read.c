/* SPDX-License-Identifier: Apache-2.0 */
/* read.c - a program in a guest reads its three clocks; it links no library. */
#include <inttypes.h>
#include <stdio.h>
#include <vmtime/read.h>

static void say(const char *clock, struct vmt_read_time t)
{
	printf("%-16s %" PRId64 " ns, -%" PRId64 " +%" PRId64 ", status %" PRIu32 "\n", clock,
	       t.estimate_ns, t.estimate_ns - t.earliest_ns, t.latest_ns - t.estimate_ns, t.status);
}

int main(void)
{
	struct vmt_read guest;
	const uint32_t status = vmt_read_open(&guest); /* then read as often as you like */

	say("virtual", vmt_read_now(&guest));
	say("virtual, ordered", vmt_read_now_ordered(&guest));
	say("REALTIME", vmt_read_realtime(&guest));
	return status > VMT_READ_UNSTABLE; /* other reasons than that this is no such guest */
}
