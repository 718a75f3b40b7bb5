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
		bench_await_point(b);
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

/* With more state than any socket takes. */
static void halt_with_much(struct bench *b)
{
	struct vmstate_parts time = {0}, state = {0};
	uint8_t *bytes = calloc(1, MIB);

	add_part(&time, VMSTATE_CLOCK, "clock");
	add_part(&time, VMSTATE_HOST, "host");
	add_part(&time, VMSTATE_TSC, "tsc");
	for (uint32_t cpu = 0; cpu < SIZE / MIB; cpu++)
		assert_int_equal(vmstate_parts_add(&state, VMSTATE_CPU, 1, cpu, bytes, MIB), 0);
	free(bytes);
	migrate_source_stands(b->source, &time);
	migrate_source_state(b->source, &state);
}

/* How long its end takes at a target that reads no more. */
static uint64_t parts_in_ns(enum point point)
{
	struct bench *b = bench_new(point, IS_SILENT);
	uint64_t began_ns, took_ns;

	b->on_halt = halt_with_much;
	b->params.downtime_limit_ns = 3600 * S;
	memset(b->memory.low, 1, SIZE);
	bench_begin(b);
	bench_await_point(b);
	began_ns = hostclock_monotonic_ns();
	migrate_source_abandon(b->source);
	bench_reach(b, MIGRATE_SOURCE_COMPLETED);
	took_ns = hostclock_monotonic_ns() - began_ns;
	assert_int_equal(bench_end(b), MIGRATE_SOURCE_CANCELLED);
	bench_free(b);
	return took_ns;
}

/* One that runs can wait until a busy target gets to read why. */
static void one_that_stands_still_parts_sooner(void **state)
{
	enum { TRIES = 10 };
	bool sooner = false;

	(void)state;
	for (int i = 0; !sooner && i < TRIES; i++)
		sooner = 4 * parts_in_ns(AT_TIME) < parts_in_ns(AT_MEMORY);
	assert_true(sooner);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(it_can_be_cancelled_in_a_flood),
		cmocka_unit_test(one_that_has_had_its_time_gets_no_more),
		cmocka_unit_test(one_that_stands_still_is_not_kept_waiting),
		cmocka_unit_test(one_that_stands_still_parts_sooner),
	};

	return cmocka_run_group_tests_name("migrate_patience", tests, NULL, NULL);
}
