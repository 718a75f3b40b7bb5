/* SPDX-License-Identifier: Apache-2.0 */
/* migrate_patience_test.c - what a target says, and however much of it, keeps the source no longer
 * than silence would. */
#include "source_bench.h"

/* A target that never keeps it waiting, nor says what it waits for: by its patience alone it would
 * go on reading, and then say that nothing moves. */
static void it_can_be_cancelled_in_a_flood(void **state)
{
	static const enum point points[] = {AT_ASK, AT_WHOLE, AT_GO};

	(void)state;
	for (size_t i = 0; i < sizeof(points) / sizeof(points[0]); i++) {
		struct bench *b = bench_new(points[i], FLOODS);

		b->params.patience_ns = 5 * S;
		bench_begin(b);
		while (!__atomic_load_n(&b->target.at_point, __ATOMIC_SEQ_CST))
			if (migrate_source_stage(b->source) == MIGRATE_SOURCE_HALT)
				bench_reach(b, MIGRATE_SOURCE_DEVICE);
			else
				poll(NULL, 0, 1);
		migrate_source_abandon(b->source);
		assert_int_equal(bench_end(b), points[i] == AT_GO ? MIGRATE_SOURCE_UNKNOWN
								  : MIGRATE_SOURCE_CANCELLED);
		says_why(b, "was cancelled");
		bench_free(b);
	}
}

static bool hears(bool by_halves, uint64_t patience_ns)
{
	struct bench *b = bench_new(AT_MEMORY, LISTENS_NO_MORE);
	bool heard;

	b->params.patience_ns = b->target.patience_ns = patience_ns;
	b->target.by_halves = by_halves;
	bench_begin(b);
	assert_int_equal(bench_end(b), MIGRATE_SOURCE_FAILED);
	heard = strstr(b->why.text, "its disk is full");
	if (!heard)
		says_why(b, "while memory went out: nothing moves");
	bench_free(b);
	return heard;
}

/* What it has said by then is heard; to say it, it gets no second patience.  A busy machine needs
 * more of it for half of it to be less. */
static void one_that_has_had_its_time_gets_no_more(void **state)
{
	(void)state;
	for (int by_halves = 0; by_halves < 2; by_halves++) {
		uint64_t patience_ns = 2 * S;

		while (hears(by_halves, patience_ns) == by_halves && patience_ns < 20 * S)
			patience_ns *= 2;
		assert_true(patience_ns < 20 * S);
	}
}

/* Though it would have been waited for by the hour while the machine ran. */
static void one_that_stands_still_is_not_kept_waiting(void **state)
{
	bool came = false;

	(void)state;
	for (uint64_t ms = 100; !came && ms <= LONGEST_MS; ms *= 2) {
		struct bench *b = bench_new(AT_WHOLE, IS_SILENT);

		b->params.patience_ns = 3600 * S;
		b->params.downtime_limit_ns = ms * MS;
		bench_begin(b);
		assert_int_equal(bench_end(b), MIGRATE_SOURCE_FAILED);
		says_why(b, "nothing moves");
		came = b->target.at_point;
		if (came)
			says_why(b, "while it was loaded there: ");
		bench_free(b);
	}
	assert_true(came);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(it_can_be_cancelled_in_a_flood),
		cmocka_unit_test(one_that_has_had_its_time_gets_no_more),
		cmocka_unit_test(one_that_stands_still_is_not_kept_waiting),
	};

	return cmocka_run_group_tests_name("migrate_patience", tests, NULL, NULL);
}
