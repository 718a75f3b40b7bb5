/* SPDX-License-Identifier: Apache-2.0 */
/* test_ticks_qmp_test.c - ledgers as query-vmtime shows them, and what is none. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>

#include "cmd/test_ticks_qmp.h"

#define PIT(due)                                                                            \
	"{\"source\": \"pit\", \"policy\": \"merge\", \"due\": " due ", \"delivered\": 4, " \
	"\"merged\": 3, \"discarded\": 2, \"owed\": 1}"
#define ANSWER(ticks) "{\"ticks\": [" ticks "]}"

static struct ticks_ledger ledgers[TICKS_SOURCES];

static int read_text(const char *returned)
{
	json_t *root = json_loads(returned, 0, NULL);
	int error = ticks_qmp_read(root, ledgers);

	json_decref(root);
	return error;
}

static void a_ledger_is_read(void **state)
{
	(void)state;
	assert_int_equal(read_text(ANSWER("{\"source\": \"hpet1\"}, " PIT("10"))), 0);
	assert_true(ledgers[TICKS_PIT].known);
	assert_string_equal(ledgers[TICKS_PIT].policy, "merge");
	assert_int_equal(ledgers[TICKS_PIT].due, 10);
	assert_int_equal(ledgers[TICKS_PIT].delivered, 4);
	assert_int_equal(ledgers[TICKS_PIT].merged, 3);
	assert_int_equal(ledgers[TICKS_PIT].discarded, 2);
	assert_int_equal(ledgers[TICKS_PIT].owed, 1);
	assert_false(ledgers[TICKS_RTC].known);
}

#define HPET0                                                                           \
	"{\"source\": \"hpet0\", \"policy\": \"delay\", \"due\": 9, \"delivered\": 9, " \
	"\"merged\": 0, \"discarded\": 0, \"owed\": 0}"

static void the_hpets_timer_keeps_one_ledger_whatever_it_stands_in_for(void **state)
{
	(void)state;
	assert_int_equal(read_text(ANSWER(HPET0)), 0);
	assert_int_equal(ledgers[TICKS_HPET].due, 9);
	assert_int_equal(ledgers[TICKS_HPET_LEGACY].due, 9);
	assert_false(ledgers[TICKS_PIT].known || ledgers[TICKS_KERNEL_PIT].known);
}

static void no_source_is_no_ledger(void **state)
{
	(void)state;
	assert_int_equal(read_text(ANSWER("")), 0);
	assert_false(ledgers[TICKS_PIT].known);
	assert_false(ledgers[TICKS_RTC].known);
}

static void what_is_no_answer_is_refused(void **state)
{
	static const char *const answers[] = {"",
					      "{",
					      "[]",
					      "{}",
					      ANSWER(PIT("-1")),
					      ANSWER(PIT("1.5")),
					      ANSWER(PIT("\"10\"")),
					      ANSWER("7"),
					      ANSWER("{\"source\": \"pit\"}"),
					      ANSWER("{\"policy\": \"merge\"}")};

	(void)state;
	for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++)
		if (read_text(answers[i]) != -EPROTO)
			fail_msg("taken: %s", answers[i]);
}

static void a_socket_that_is_not_there_is_named(void **state)
{
	struct why why = {0};

	(void)state;
	assert_int_equal(ticks_qmp_ask("/nowhere/qmp", ledgers, &why), -ENOENT);
	assert_true(why.text[0]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_ledger_is_read),
		cmocka_unit_test(the_hpets_timer_keeps_one_ledger_whatever_it_stands_in_for),
		cmocka_unit_test(no_source_is_no_ledger),
		cmocka_unit_test(what_is_no_answer_is_refused),
		cmocka_unit_test(a_socket_that_is_not_there_is_named),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
