/* SPDX-License-Identifier: Apache-2.0 */
/* log_test.c - lines of kernels' logs: which of them are to worry about. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "guest/log.h"

static void what_a_kernel_warns_of_is_an_alarm(void **state)
{
	static const char *const alarms[] = {
		"[    1.234567] WARNING: CPU: 0 PID: 1 at arch/x86/kernel/tsc_sync.c:142 x+0x1/0x2",
		"WARNING: possible circular locking dependency detected",
		"[  100.000001] watchdog: BUG: soft lockup - CPU#1 stuck for 22s! [observer:1]",
		"[    0.3] BUG: unable to handle page fault for address: ffffc90000a0b000",
		"[    0.312345] Oops: 0002 [#1] PREEMPT SMP NOPTI",
		"[   60.500000] rcu: INFO: rcu_sched self-detected stall on CPU",
		"INFO: task init:1 blocked for more than 120 seconds.",
		"[   12.000000] tsc: Marking TSC unstable due to clocksource watchdog",
		("[   12.000000] clocksource: timekeeping watchdog on CPU0: Marking clocksource "
		 "'tsc' as unstable because the skew is too large:"),
		("[    9.5] clocksource: timekeeping watchdog on CPU1: wd-tsc-wd excessive "
		 "read-back "
		 "delay of 251428ns vs. limit of 125000ns, wd-wd read-back delay only 41000ns, "
		 "attempt 3, marking tsc unstable"),
		"[    2.345678] divide error: 0000 [#1] PREEMPT SMP NOPTI",
		"[    2.345678] invalid opcode: 0000 [#2] PREEMPT SMP NOPTI",
		"[    2.345678] stack segment: 00f8 [#1] SMP",
		"[    2.345678] segment-related general protection fault: fffa [#1] SMP",
		"[    2.345670] kernel BUG at kernel/time/hrtimer.c:1066!",
		"observer: the kernel's log: WARNING: CPU: 1 PID: 0 at kernel/time/tick.c:1 y",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(alarms) / sizeof(alarms[0]); i++)
		if (!log_is_alarm(alarms[i]))
			fail_msg("%s", alarms[i]);
}

static void what_every_boot_says_is_none(void **state)
{
	static const char *const usual[] = {
		"",
		"[",
		"[    0.0",
		"[    0.000000] Linux version 6.1.0-56-cloud-amd64",
		"[    0.000000] Spectre V2 : WARNING: Unprivileged eBPF is enabled with eIBRS on",
		"[    0.103000] tsc: Marking TSC unstable due to TSCs unsynchronized",
		("[    1.000000] clocksource: timekeeping watchdog on CPU0: hpet wd-wd read-back "
		 "delay of 251428ns"),
		("[    0.000000] WARNING: CPU: 0 PID: 0 at arch/x86/kernel/fpu/xstate.c:606 "
		 "fpu__init_system_xstate+0x85a/0xb19"),
		("[    1.000000] clocksource: timekeeping watchdog on CPU0: wd-tsc-wd excessive "
		 "read-back delay of 1ns vs. limit of 1ns, wd-wd read-back delay only 1ns, attempt "
		 "1"),
		"[    1.500000] traps: init[1] trap invalid opcode ip:401000 sp:7ffe0000 error:0",
		"[    1.500000] [#1] x: 0g00 [#1]",
		"[#",
		": 000 [#1]",
		"[    0.200000] rcu: Hierarchical SRCU implementation.",
		"[    0.300000] ACPI BIOS Warning (bug): 32/64X FACS address mismatch",
		"[    0.000000] RCU CPU stall warnings timeout set to 60 (rcu_cpu_stall_timeout).",
		"observer: cannot open /dev/ttyS1: No such device",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(usual) / sizeof(usual[0]); i++)
		if (log_is_alarm(usual[i]))
			fail_msg("%s", usual[i]);
}

static void a_line_is_known_without_its_time_and_its_messenger(void **state)
{
	(void)state;
	assert_string_equal(log_text("[    1.234567] WARNING: x"), "WARNING: x");
	assert_string_equal(log_text("observer: the kernel's log: WARNING: x"), "WARNING: x");
	assert_string_equal(log_text("[drm] WARNING: x"), "[drm] WARNING: x");
	assert_string_equal(log_text("plain"), "plain");
}

static void alarms_are_found_among_the_records(void **state)
{
	static const char *const records[] = {
		"6,1,0,-;Linux version 6.1\n",
		"4,2,100,-;WARNING: CPU: 0 PID: 1 at init/main.c:1\n SUBSYSTEM=x\n",
		"12,3,200,-;WARNING: a program's own words\n",
		"no record at all",
		"0,4,300,c;watchdog: BUG: soft lockup - CPU#0 stuck for 23s!\n",
	};
	char text[64];
	int ends[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, ends), 0);
	assert_false(log_next_alarm(ends[0], text, sizeof(text)));
	for (size_t i = 0; i < sizeof(records) / sizeof(records[0]); i++)
		assert_int_equal(write(ends[1], records[i], strlen(records[i])),
				 (int)strlen(records[i]));
	assert_true(log_next_alarm(ends[0], text, sizeof(text)));
	assert_string_equal(text, "WARNING: CPU: 0 PID: 1 at init/main.c:1");
	assert_true(log_next_alarm(ends[0], text, sizeof(text)));
	assert_string_equal(text, "watchdog: BUG: soft lockup - CPU#0 stuck for 23s!");
	assert_false(log_next_alarm(ends[0], text, sizeof(text)));
	close(ends[0]);
	close(ends[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_a_kernel_warns_of_is_an_alarm),
		cmocka_unit_test(what_every_boot_says_is_none),
		cmocka_unit_test(a_line_is_known_without_its_time_and_its_messenger),
		cmocka_unit_test(alarms_are_found_among_the_records),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
