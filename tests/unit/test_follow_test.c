/* SPDX-License-Identifier: Apache-2.0 */
/* test_follow_test.c - a guest that comes to its clock source, leaves it, or falls silent. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cmd/test_follow.h"

enum { MOST = 8 };

static const uint64_t second_ns = 1000000000;

struct guest {
	struct test_follow follow;
	struct test_stream stream;
	struct test_reading readings[MOST];
	struct why why;
};

/* A reading a second, each naming a clock source.  What the last of them brings. */
static int see(struct guest *g, const char *wanted, const char *const *names)
{
	int error = 0;

	*g = (struct guest){.follow.clocksource = wanted};
	g->stream.readings = g->readings;
	snprintf(g->stream.hello.available, sizeof(g->stream.hello.available), "tsc,hpet");
	for (size_t i = 0; !error && names[i]; i++) {
		struct test_reading *r = &g->readings[i];

		snprintf(r->sample.current, sizeof(r->sample.current), "%s", names[i]);
		r->point.host_ns = (int64_t)(i * second_ns);
		g->stream.count = g->stream.evaluated = i + 1;
		error = test_follow_look(&g->follow, &g->stream, i, &g->why);
	}
	return error;
}

static int check(struct guest *g, uint64_t age_ns, uint64_t silent_ns)
{
	return test_follow_check(&g->follow, &g->stream, age_ns, silent_ns, &g->why);
}

/* The one that names it first may have been taken before. */
static void the_reading_after_the_first_is_surely_of_it(void **state)
{
	struct guest g;

	(void)state;
	assert_int_equal(see(&g, "kvm-clock", (const char *[]){"jiffies", "tsc-early", NULL}), 0);
	assert_false(g.follow.on_it);
	assert_int_equal(
		see(&g, "kvm-clock",
		    (const char *[]){"jiffies", "kvm-clock", "kvm-clock", "kvm-clock", NULL}),
		0);
	assert_true(g.follow.on_it);
	assert_int_equal(g.follow.from, 2);
}

static void steady_time_begins_anew_under_the_later_name(void **state)
{
	struct guest g;

	(void)state;
	assert_int_equal(
		see(&g, "tsc", (const char *[]){"tsc-early", "tsc-early", "tsc", "tsc", NULL}), 0);
	assert_int_equal(g.follow.from, 3);
	assert_int_equal(
		see(&g, "jiffies",
		    (const char *[]){"refined-jiffies", "refined-jiffies", "jiffies", NULL}),
		0);
	assert_int_equal(g.follow.from, 3);
}

static void one_that_leaves_it_is_told(void **state)
{
	struct guest g;

	(void)state;
	assert_int_equal(see(&g, "tsc", (const char *[]){"tsc", "tsc", "hpet", NULL}), -ESTALE);
	assert_string_equal(g.why.text,
			    "the guest left clock source tsc for hpet while it was measured");
}

/* Readings that came, and of which none can be set against the host's clocks. */
static void what_does_not_boot_is_another_thing_than_a_foreign_tsc(void **state)
{
	struct guest g;

	(void)state;
	see(&g, "tsc", (const char *[]){NULL});
	assert_int_equal(check(&g, test_follow_boot_ns, test_follow_boot_ns), 0);
	assert_int_equal(check(&g, test_follow_boot_ns + 1, 0), -ETIMEDOUT);
	assert_string_equal(g.why.text, "the guest did not send a reading in 180 s");
	g.stream.count = 1;
	assert_int_equal(check(&g, test_follow_boot_ns + 1, 0), -ETIMEDOUT);
	assert_string_equal(g.why.text, "the guest's TSC is none of this host's");
}

static void silence_has_a_limit_once_there_was_a_reading(void **state)
{
	struct guest g;

	(void)state;
	see(&g, "tsc", (const char *[]){"tsc", NULL});
	assert_int_equal(check(&g, 10 * test_follow_boot_ns, test_follow_silence_ns), 0);
	assert_int_equal(check(&g, 0, test_follow_silence_ns + 1), -ETIMEDOUT);
	assert_string_equal(g.why.text, "the guest fell silent");
}

static void another_clock_source_is_waited_out_by_the_guests_own_time(void **state)
{
	struct guest g;

	(void)state;
	see(&g, "tsc", (const char *[]){"jiffies", "hpet", NULL});
	g.readings[1].point.host_ns = (int64_t)test_follow_clocksource_ns;
	assert_int_equal(check(&g, 10 * test_follow_boot_ns, 0), 0);
	g.readings[1].point.host_ns++;
	assert_int_equal(check(&g, 0, 0), -ENODEV);
	assert_string_equal(g.why.text,
			    "the guest uses clock source hpet, not tsc; it has tsc,hpet");
	g.follow.on_it = true;
	assert_int_equal(check(&g, 0, 0), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_reading_after_the_first_is_surely_of_it),
		cmocka_unit_test(steady_time_begins_anew_under_the_later_name),
		cmocka_unit_test(one_that_leaves_it_is_told),
		cmocka_unit_test(what_does_not_boot_is_another_thing_than_a_foreign_tsc),
		cmocka_unit_test(silence_has_a_limit_once_there_was_a_reading),
		cmocka_unit_test(another_clock_source_is_waited_out_by_the_guests_own_time),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
