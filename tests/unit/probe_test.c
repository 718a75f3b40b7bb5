/* SPDX-License-Identifier: Apache-2.0 */
/* probe_test.c - what the probe of KVM says is true of this machine, whichever it is. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "kvm/probe.h"

static void a_kvm_works_or_its_fault_is_explained(void **state)
{
	enum probe_tsc_class class = PROBE_TSC_NONE;
	struct why why = {.text = ""};
	int error = probe_tsc(&class, &why);

	(void)state;
	if (error == 0) {
		assert_string_equal(why.text, "");
		return;
	}
	assert_int_equal(error, -ENODEV);
	assert_non_null(strstr(why.text, "/dev/kvm"));
	if (access("/dev/kvm", F_OK) < 0)
		assert_string_equal(why.text, "no /dev/kvm");
	else if (access("/dev/kvm", R_OK | W_OK) < 0)
		assert_non_null(strstr(why.text, "permission"));
}

static void both_questions_get_one_answer(void **state)
{
	enum probe_tsc_class class = PROBE_TSC_NONE;

	(void)state;
	assert_int_equal(probe_kvm_works(NULL), probe_tsc(&class, NULL) == 0);
}

static void no_child_is_left(void **state)
{
	(void)state;
	probe_kvm_works(NULL);
	errno = 0;
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
	assert_int_equal(errno, ECHILD);
}

/* There the emulated CPU is known: SVM with an offset, without scaling. */
static void the_lab_has_a_kvm_that_shifts_the_tsc(void **state)
{
	enum probe_tsc_class class = PROBE_TSC_NONE;
	struct why why = {.text = ""};

	(void)state;
	assert_int_equal(probe_tsc(&class, &why), 0);
	assert_int_equal(class, PROBE_TSC_OFFSET);
}

int main(void)
{
	const struct CMUnitTest anywhere[] = {
		cmocka_unit_test(a_kvm_works_or_its_fault_is_explained),
		cmocka_unit_test(both_questions_get_one_answer),
		cmocka_unit_test(no_child_is_left),
	};
	const struct CMUnitTest in_the_lab[] = {
		cmocka_unit_test(the_lab_has_a_kvm_that_shifts_the_tsc),
		cmocka_unit_test(both_questions_get_one_answer),
		cmocka_unit_test(no_child_is_left),
	};

	if (getenv("VMTIME_LAB"))
		return cmocka_run_group_tests(in_the_lab, NULL, NULL);
	return cmocka_run_group_tests(anywhere, NULL, NULL);
}
