/* SPDX-License-Identifier: Apache-2.0 */
/* migrate_greet_test.c - who greets a target of a migration: one that has no machine for it is
 * turned away with a word, in time, and the next may come. */
#include "migrate_bench.h"

#include <sys/socket.h>

#define PATIENCE (30 * BENCH_S)
#define SHORT (300 * BENCH_MS)

/* One that comes after them is let in, each time. */
static void who_is_no_source_is_turned_away_and_the_next_may_come(void **state)
{
	static const struct {
		const char *bytes, *words;
	} cases[] = {
		{"", "nothing moves"},
		{"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", "is no stream of vmtime"},
		{"GET / HT", "nothing moves"},
	};
	struct guest_memory m = bench_there();
	struct bench *b = bench_new(SHORT);
	struct peer *p;

	(void)state;
	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct why why;
		int fd = address_connect(&b->config.address, BENCH_S, &bench_never, &why);

		assert_true(fd >= 0);
		assert_int_equal(write(fd, cases[i].bytes, strlen(cases[i].bytes)),
				 strlen(cases[i].bytes));
		bench_await_turned_away(b, i + 1, cases[i].words);
		assert_false(b->unfit);
		close(fd);
	}
	p = peer_advance(b, &m, MIGRATE_TARGET_ASKED);
	peer_free(p);
	migrate_target_give_up(b->target);
	bench_end(b, MIGRATE_TARGET_FAILED, "given up");
	memory_destroy(&m);
}

/* Each byte comes before patience with one byte is over. */
static void a_greeting_that_is_spread_for_ever_is_turned_away(void **state)
{
	static const char magic[] = "\x89VMT\r\n\x1a\n";
	struct bench *b = bench_new(SHORT);
	struct why why;
	int fd = address_connect(&b->config.address, BENCH_S, &bench_never, &why);

	(void)state;
	for (int i = 0; i < 1000 && !__atomic_load_n(&b->turned_away, __ATOMIC_SEQ_CST); i++) {
		(void)!send(fd, &magic[i % 8], 1, MSG_NOSIGNAL);
		poll(NULL, 0, 20);
	}
	bench_await_turned_away(b, 1, "nothing moves");
	close(fd);
	migrate_target_give_up(b->target);
	bench_end(b, MIGRATE_TARGET_FAILED, "given up");
}

static void one_that_does_not_fit_is_told_before_its_memory_comes(void **state)
{
	struct bench *b = bench_new(PATIENCE);
	struct peer *p = peer_new(b);

	(void)state;
	peer_hello(p, 2 * BENCH_SIZE, false);
	peer_hear_failed(p, "that machine has 32768 KiB of memory and this one 16384");
	peer_free(p);
	bench_await_turned_away(b, 1, "give --memory as it is there");
	assert_true(b->unfit);
	p = peer_new(b);
	peer_ask(p);
	bench_await(b, MIGRATE_TARGET_ASKED);
	migrate_target_prepared(b->target, -EINVAL, &(struct why){"it has an HPET (--hpet)"});
	peer_hear_failed(p, "it has an HPET (--hpet)");
	peer_free(p);
	bench_await(b, MIGRATE_TARGET_LISTENS);
	bench_await_turned_away(b, 2, "it has an HPET (--hpet)");
	assert_true(b->unfit);
	p = peer_new(b);
	peer_hello(p, BENCH_SIZE, true);
	peer_part(p, VMSTATE_MACHINE, 0);
	peer_part(p, VMSTATE_FEATURES, 0);
	peer_say(p, MESSAGE_ASK);
	bench_await(b, MIGRATE_TARGET_ASKED);
	assert_true(migrate_target_stands(b->target));
	assert_int_equal(migrate_target_description(b->target)->n, 2);
	peer_free(p);
	migrate_target_give_up(b->target);
	bench_end(b, MIGRATE_TARGET_FAILED, "given up");
}

static void one_that_does_not_say_what_it_is_is_turned_away(void **state)
{
	static const enum vmstate_kind kinds[] = {VMSTATE_MACHINE, VMSTATE_FEATURES};
	struct bench *b = bench_new(PATIENCE);

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		struct peer *p = peer_new(b);

		peer_hello(p, BENCH_SIZE, false);
		peer_part(p, kinds[i], 0);
		peer_say(p, MESSAGE_ASK);
		peer_hear_failed(p, "it was not said what machine it is");
		peer_free(p);
		bench_await_turned_away(b, i + 1, "it was not said what machine it is");
		assert_false(b->unfit);
	}
	migrate_target_give_up(b->target);
	bench_end(b, MIGRATE_TARGET_FAILED, "given up");
}

/* Whether READY can be written or not: its machine would have been fine. */
static void one_that_leaves_before_begin_is_turned_away_and_the_next_may_come(void **state)
{
	struct guest_memory m = bench_there();
	struct bench *b = bench_new(PATIENCE);
	struct peer *p;

	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		p = peer_advance(b, &m, MIGRATE_TARGET_ASKED);
		if (i % 2)
			peer_free(p);
		migrate_target_prepared(b->target, 0, NULL);
		if (i % 2 == 0) {
			peer_hear_word(p, MESSAGE_READY);
			peer_free(p);
		}
		bench_await_turned_away(b, i + 1, "has closed the connection");
		assert_false(b->unfit);
		bench_await(b, MIGRATE_TARGET_LISTENS);
	}
	p = peer_advance(b, &m, MIGRATE_TARGET_GO);
	migrate_target_running(b->target, 0, NULL);
	peer_hear_word(p, MESSAGE_RUNNING);
	peer_free(p);
	bench_end(b, MIGRATE_TARGET_DONE, "has closed the connection");
	memory_destroy(&m);
}

/* It would have half a minute if it were alone. */
static void who_says_nothing_does_not_keep_others_waiting_for_long(void **state)
{
	struct guest_memory m = bench_there();
	struct bench *b = bench_new(PATIENCE);
	struct peer *silent[2] = {peer_new(b), peer_new(b)};
	const uint64_t began = hostclock_monotonic_ns();
	struct peer *p = peer_advance(b, &m, MIGRATE_TARGET_ASKED);

	(void)state;
	assert_in_range(hostclock_monotonic_ns() - began, 0, PATIENCE);
	assert_int_equal(b->turned_away, 2);
	peer_free(silent[0]);
	peer_free(silent[1]);
	peer_free(p);
	migrate_target_give_up(b->target);
	bench_end(b, MIGRATE_TARGET_FAILED, "given up");
	memory_destroy(&m);
}

/* A later vmtime's, in the description. */
static void what_is_not_known_is_refused_by_name_before_memory_comes(void **state)
{
	static const uint32_t types[] = {27, 255, STREAM_STATE + 200};
	struct bench *b = bench_new(PATIENCE);
	struct stream_section s = {.version = 1};
	struct peer *p;
	unsigned i;

	(void)state;
	for (i = 0; i < 3; i++) {
		char words[80];

		s.type = types[i];
		p = peer_new(b);
		peer_hello(p, BENCH_SIZE, false);
		peer_section(p, &s);
		snprintf(words, sizeof(words), "type %u, version 1, that this vmtime does not know",
			 s.type);
		peer_hear_failed(p, words);
		peer_free(p);
		bench_await_turned_away(b, i + 1, words);
	}
	p = peer_new(b);
	s = (struct stream_section){.type = MESSAGE_HELLO, .version = 2};
	peer_section(p, &s);
	peer_hear_failed(p, "type 16, version 2, that this vmtime does not know");
	peer_free(p);
	bench_await_turned_away(b, i + 1, "type 16");
	migrate_target_give_up(b->target);
	bench_end(b, MIGRATE_TARGET_FAILED, "given up");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(who_is_no_source_is_turned_away_and_the_next_may_come),
		cmocka_unit_test(a_greeting_that_is_spread_for_ever_is_turned_away),
		cmocka_unit_test(one_that_does_not_fit_is_told_before_its_memory_comes),
		cmocka_unit_test(one_that_does_not_say_what_it_is_is_turned_away),
		cmocka_unit_test(one_that_leaves_before_begin_is_turned_away_and_the_next_may_come),
		cmocka_unit_test(who_says_nothing_does_not_keep_others_waiting_for_long),
		cmocka_unit_test(what_is_not_known_is_refused_by_name_before_memory_comes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
