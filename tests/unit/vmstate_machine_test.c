/* SPDX-License-Identifier: Apache-2.0 */
/* vmstate_machine_test.c - a state is refused by a machine with another option, which is named. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "kvm/vmstate_machine.h"

static struct machine_config config(void)
{
	return (struct machine_config){
		.cpus = 2,
		.memory_bytes = 512 << 20,
		.pit = MACHINE_PIT_USER,
		.rtc = MACHINE_RTC_EXACT,
		.pm_timer = true,
		.hpet = true,
		.kvm_clock = MACHINE_KVM_CLOCK_USER,
		.steal = MACHINE_STEAL_KERNEL,
		.ticks = VMT_TICKS_MERGE,
	};
}

static struct vmstate_parts saved(void)
{
	const struct machine_config c = config();
	struct vmstate_parts parts = {0};

	assert_int_equal(vmstate_machine_save(&c, 2500000, &parts, NULL), 0);
	assert_int_equal(parts.parts[0].length, 128);
	return parts;
}

static void refused(const struct machine_config *c, const char *words)
{
	struct vmstate_parts parts = saved();
	struct why why = {""};

	assert_int_equal(vmstate_machine_compare(c, &parts.parts[0], &why), -EINVAL);
	if (!strstr(why.text, words))
		fail_msg("\"%s\" is not in: %s", words, why.text);
	vmstate_parts_free(&parts);
}

static void the_same_machine_takes_it(void **state)
{
	struct machine_config c = config();
	struct vmstate_parts parts = saved();

	(void)state;
	c.discipline = true; /* what a guest cannot see, or a host decides, is no matter */
	c.on_pause = VMT_POLICY_FREEZE;
	c.tsc_hint = true;
	assert_int_equal(vmstate_machine_compare(&c, &parts.parts[0], NULL), 0);
	vmstate_parts_free(&parts);
}

static void another_option_is_named_with_both_values(void **state)
{
	struct machine_config c;

	(void)state;
#define WITH(field, value, words) \
	c = config();             \
	c.field = value;          \
	refused(&c, words)
	WITH(memory_bytes, 256 << 20, "--memory was 536870912 and is 268435456");
	WITH(cpus, 1, "--cpus was 2 and is 1");
	WITH(pit, MACHINE_PIT_KERNEL, "--pit was user and is kernel");
	WITH(rtc, MACHINE_RTC_PC, "--rtc was exact and is pc");
	WITH(pm_timer, false, "--pm-timer was on and is off");
	WITH(hpet, false, "--hpet was on and is off");
	WITH(kvm_clock, MACHINE_KVM_CLOCK_KERNEL, "--kvm-clock was user and is kernel");
	WITH(steal, MACHINE_STEAL_USER, "--steal was kernel and is user");
	WITH(ticks, VMT_TICKS_DELAY, "--ticks was merge and is delay");
	WITH(exit_port, true, "--exit-port was off and is on");
	WITH(tsc.invariant, true, "--invtsc was off and is on");
	WITH(tsc.portable, true, "--tsc portable was off and is on");
	WITH(has_date, true, "--date was now and is a date of its own");
}

static void what_is_damaged_or_of_a_later_version_is_refused(void **state)
{
	const struct machine_config c = config();
	struct vmstate_parts parts = saved();
	struct why why;

	(void)state;
	parts.parts[0].bytes[2 * 8] = 200; /* no such PIT */
	assert_int_equal(vmstate_machine_compare(&c, &parts.parts[0], &why), -EINVAL);
	assert_non_null(strstr(why.text, "--pit was 200 and is user"));
	parts.parts[0].length--;
	assert_int_equal(vmstate_machine_compare(&c, &parts.parts[0], &why), -EINVAL);
	parts.parts[0].version = 2;
	assert_int_equal(vmstate_machine_compare(&c, &parts.parts[0], &why), -ENOTSUP);
	vmstate_parts_free(&parts);
}

static void parts_that_such_a_machine_has_not_are_refused(void **state)
{
	static const struct {
		uint32_t kind, index;
		int result;
	} cases[] = {
		{VMSTATE_CPU, 1, 0},         {VMSTATE_CPU, 2, -EINVAL},
		{VMSTATE_KVMCLOCK, 0, 0},    {VMSTATE_KVMCLOCK, 1, -EINVAL},
		{VMSTATE_STEAL, 0, -EINVAL}, /* KVM's is among the CPUs' registers */
		{VMSTATE_BOARD, 0, 0},       {VMSTATE_BOARD, 1, -EINVAL},
	};
	const struct machine_config c = config();

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct vmstate_parts parts = saved();
		struct why why = {""};

		assert_int_equal(vmstate_parts_add(&parts, cases[i].kind, 1, cases[i].index, "", 0),
				 0);
		assert_int_equal(vmstate_machine_has(&c, &parts, &why), cases[i].result);
		assert_int_equal(!strstr(why.text, "that such a one has not"),
				 cases[i].result == 0);
		vmstate_parts_free(&parts);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_same_machine_takes_it),
		cmocka_unit_test(another_option_is_named_with_both_values),
		cmocka_unit_test(what_is_damaged_or_of_a_later_version_is_refused),
		cmocka_unit_test(parts_that_such_a_machine_has_not_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
