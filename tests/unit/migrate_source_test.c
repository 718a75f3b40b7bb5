/* SPDX-License-Identifier: Apache-2.0 */
/* migrate_source_test.c - a machine that keeps writing arrives as it was last; whatever else
 * happens, it stays here unless the other side was told to go. */
#include "move/migrate_rate.h"
#include "source_bench.h"

/* A guest's CPU that goes on writing until it stands still. */
struct writer {
	struct bench *b;
	pthread_t thread;
	bool stop; /* atomic */
	uint64_t writes;
};

static struct writer writer;

static void *keep_writing(void *arg)
{
	struct writer *w = arg;

	do {
		for (int i = 0; i < 20; i++, w->writes++)
			guest_writes(w->b, (uint32_t)(w->writes * 2654435761U) % PAGES,
				     w->writes % 5 ? w->writes : -w->writes);
		poll(NULL, 0, 1);
	} while (!__atomic_load_n(&w->stop, __ATOMIC_SEQ_CST));
	return NULL;
}

static void stop_writing(struct bench *b)
{
	__atomic_store_n(&writer.stop, true, __ATOMIC_SEQ_CST);
	pthread_join(writer.thread, NULL);
	halt_as_wanted(b);
}

/* Whether it comes within that downtime. */
static bool goes_while_it_writes(bool compress, uint64_t downtime_limit_ns)
{
	struct bench *b = bench_new(AT_NOTHING, FAILS);
	bool completed;

	b->params.compress = compress;
	b->params.max_bandwidth = 100 * MIB;
	b->params.downtime_limit_ns = downtime_limit_ns;
	b->on_halt = stop_writing;
	writer = (struct writer){.b = b};
	assert_int_equal(pthread_create(&writer.thread, NULL, keep_writing, &writer), 0);
	bench_begin(b);
	completed = bench_end(b) == MIGRATE_SOURCE_COMPLETED;
	if (completed) {
		assert_true(b->target.ran && b->target.ended);
		assert_true(same_memory(b));
		assert_true(b->stats.rounds >= 2);
	} else {
		__atomic_store_n(&writer.stop, true, __ATOMIC_SEQ_CST);
		pthread_join(writer.thread, NULL);
		says_why(b, "what is left gets no less");
	}
	bench_free(b);
	return completed;
}

/* The writer is slower than the link, but for a machine that leaves the link no time. */
static void one_that_keeps_writing_arrives_as_it_was_last(void **state)
{
	(void)state;
	for (int compress = 0; compress < 2; compress++) {
		uint64_t ms = 20;

		while (!goes_while_it_writes(compress, ms * MS)) {
			ms *= 2;
			assert_true(ms <= LONGEST_MS);
		}
	}
}

/* b, c, l: CLOCK, TSC and HOST, once; M: the pages that were written until then; those that were
 * written while the rest was saved are in the memory. */
static void time_comes_first_and_the_last_pages_come_too(void **state)
{
	struct bench *b = bench_new(AT_NOTHING, FAILS);

	(void)state;
	bench_begin(b);
	assert_int_equal(bench_end(b), MIGRATE_SOURCE_COMPLETED);
	assert_true(same_memory(b));
	assert_int_equal(get64(b->target.memory.low + 7 * PAGE), 70);
	assert_int_equal(get64(b->target.memory.low + 8 * PAGE), 80);
	assert_int_equal(strncmp(b->target.order, "ablcM", 5), 0);
	assert_non_null(strstr(b->target.order, "fj"));
	assert_null(strchr(strchr(b->target.order, 'c') + 1, 'c'));
	assert_false(b->target.stood);
	bench_free(b);
}

static void what_it_says_of_itself_adds_up(void **state)
{
	struct bench *b = bench_new(AT_NOTHING, FAILS);
	const struct migrate_stats *s = &b->stats;

	(void)state;
	b->config.stands = true;
	bench_begin(b);
	assert_int_equal(bench_end(b), MIGRATE_SOURCE_COMPLETED);
	assert_true(b->target.stood);
	assert_int_equal(s->total_bytes, SIZE);
	assert_int_equal(s->remaining_bytes, 0);
	assert_true(s->image.pages >= PAGES + 2 && s->image.pages <= PAGES + 3);
	assert_int_equal(s->image.zero_pages, PAGES / 2);
	assert_true(s->transferred_bytes > s->image.bytes);
	assert_true(s->image.bytes > SIZE / 2);
	assert_true(s->setup_ns > 0 && s->downtime_ns > 0);
	assert_true(s->total_ns >= s->setup_ns + s->downtime_ns);
	assert_true(s->window.known);
	bench_free(b);
}

/* 250 pages are written anew in each round, which take the link 60 ms. */
static struct bench *busy(uint64_t downtime_limit_ns, enum point point)
{
	struct bench *b = bench_new(point, IS_SILENT);

	memset(b->memory.low, 0, SIZE);
	memset(b->memory.low, 1, 250 * PAGE);
	b->log.hot = 250;
	b->params.max_bandwidth = 16 * MIB;
	b->params.downtime_limit_ns = downtime_limit_ns;
	return b;
}

static void one_that_gets_no_less_stays_and_both_figures_are_told(void **state)
{
	struct bench *b = busy(MS, AT_NOTHING);

	(void)state;
	bench_begin(b);
	assert_int_equal(bench_end(b), MIGRATE_SOURCE_FAILED);
	says_why(b, "the guest writes ");
	says_why(b, " MB/s, the link takes ");
	says_why(b, "raise max-bandwidth or downtime-limit");
	assert_non_null(strstr(b->target.cancel, "the guest writes"));
	assert_int_equal(b->stats.rounds, MIGRATE_NO_GAIN + 1);
	assert_true(b->stats.expected_downtime_ns > 50 * MS);
	bench_free(b);
}

/* ... unless somebody allows it more time meanwhile. */
static void a_longer_downtime_counts_from_the_next_round_on(void **state)
{
	struct bench *b = busy(MS, AT_NOTHING);
	struct migrate_stats s;

	(void)state;
	bench_begin(b);
	do {
		poll(NULL, 0, 1);
		migrate_source_stats(b->source, &s);
	} while (s.rounds < 2);
	b->params.downtime_limit_ns = 60 * S;
	migrate_source_set(b->source, &b->params);
	assert_int_equal(bench_end(b), MIGRATE_SOURCE_COMPLETED);
	bench_free(b);
}

/* The rest by the speed that was measured, and that was not above the limit. */
static void the_limit_is_kept_and_the_downtime_is_told_beforehand(void **state)
{
	struct bench *b = busy(60 * S, AT_TIME);
	struct migrate_stats s;
	uint64_t by_speed, by_limit;

	(void)state;
	bench_begin(b);
	bench_reach(b, MIGRATE_SOURCE_HALT);
	migrate_source_stats(b->source, &s);
	assert_true(s.total_ns >= s.transferred_bytes * S / (16 * MIB) * 9 / 10 - 20 * MS);
	assert_true(s.bytes_s < 20 * MIB);
	/* A machine that is busy with something else is slower than its link. */
	by_speed = 250 * PAGE * S / s.bytes_s;
	by_limit = 250 * PAGE * S / (16 * MIB);
	assert_in_range(s.expected_downtime_ns, by_limit * 8 / 10, by_speed * 11 / 10);
	assert_int_equal(s.remaining_bytes, 250 * PAGE);
	assert_int_equal(migrate_source_cancel(b->source, NULL), 0);
	assert_int_equal(bench_end(b), MIGRATE_SOURCE_CANCELLED);
	bench_free(b);
}

/* Rounds of them are slow, by the byte. */
static void pages_of_zeros_do_not_make_a_link_slow(void **state)
{
	struct bench *b = busy(MS, AT_NOTHING);

	(void)state;
	memset(b->memory.low, 0, SIZE);
	b->log.hot = 1;
	b->params.max_bandwidth = 100 * MIB;
	bench_begin(b);
	assert_int_equal(bench_end(b), MIGRATE_SOURCE_COMPLETED);
	assert_in_range(b->stats.rounds, 2, 3);
	assert_true(same_memory(b));
	bench_free(b);
}

static void halt_with_an_empty_queue(struct bench *b)
{
	assert_in_range(wire_queued(&b->source->wire), 0, MIGRATE_QUEUE_BYTES);
	halt_as_wanted(b);
}

/* What the socket has taken by then would keep the machine from running. */
static void it_does_not_stand_still_before_the_link_has_carried_what_was_written(void **state)
{
	struct bench *b = bench_new(AT_NOTHING, FAILS);

	(void)state;
	b->target.sips = 64 << 10;
	b->target.sip_ms = 1;
	b->on_halt = halt_with_an_empty_queue;
	bench_begin(b);
	assert_int_equal(bench_end(b), MIGRATE_SOURCE_COMPLETED);
	assert_true(same_memory(b));
	bench_free(b);
}

static void halt_with_much_left(struct bench *b)
{
	for (uint32_t page = 100; page < 400; page++)
		guest_writes(b, page, page + 7);
	halt_as_wanted(b);
}

/* A link that takes three times the patience for what is left. */
static enum migrate_source_stage goes_by_sips(int patience_ms)
{
	struct bench *b = bench_new(AT_NOTHING, FAILS);
	enum migrate_source_stage stage;

	b->params.patience_ns = (uint64_t)patience_ms * MS;
	b->target.sips = 4 << 10;
	b->target.sip_ms = patience_ms / 100;
	b->target.when_it_stands = true;
	b->on_halt = halt_with_much_left;
	bench_begin(b);
	stage = bench_end(b);
	assert_true(stage == MIGRATE_SOURCE_FAILED || same_memory(b));
	bench_free(b);
	return stage;
}

/* Though it is a good while until the socket takes more, and until all is there.  On a busy machine
 * nothing may indeed have moved for that long: then both are longer. */
static void a_slow_link_is_waited_for_as_long_as_anything_moves(void **state)
{
	enum migrate_source_stage stage = MIGRATE_SOURCE_FAILED;

	(void)state;
	for (int ms = 200; stage == MIGRATE_SOURCE_FAILED && ms <= LONGEST_MS; ms *= 2)
		stage = goes_by_sips(ms);
	assert_int_equal(stage, MIGRATE_SOURCE_COMPLETED);
}

/* Nor does one that takes a little now and then keep it from running for as long as it likes. */
static void one_that_stands_still_does_not_go_by_drops(void **state)
{
	struct bench *b = bench_new(AT_NOTHING, FAILS);

	(void)state;
	b->params.patience_ns = 3600 * S;
	b->params.downtime_limit_ns = 100 * MS;
	b->target.sips = 4 << 10; /* all the time something moves */
	b->target.sip_ms = 50;
	b->target.when_it_stands = true;
	b->on_halt = halt_with_much_left;
	bench_begin(b);
	assert_int_equal(bench_end(b), MIGRATE_SOURCE_FAILED);
	says_why(b, "nothing moves");
	assert_false(b->target.ran);
	bench_free(b);
}

/* What the target says is told, and the machine goes on here, also when it was told to go. */
static void what_the_other_side_cannot_is_told(void **state)
{
	(void)state;
	for (enum point point = AT_ASK; point < AT_NOTHING; point++) {
		struct bench *b = bench_new(point, FAILS);

		bench_begin(b);
		assert_int_equal(bench_end(b), MIGRATE_SOURCE_FAILED);
		says_why(b, "its disk is full");
		assert_string_equal(b->target.cancel, "");
		assert_false(b->target.ran);
		bench_free(b);
	}
}

/* It goes on here, unless GO was written: then nobody knows.  Whether the target came to that
 * point; on a busy machine patience may end before. */
static bool is_left_at(enum point point, enum deed deed, uint64_t patience_ns)
{
	struct bench *b = bench_new(point, deed);
	enum migrate_source_stage stage;
	bool came;

	b->params.patience_ns = patience_ns;
	bench_begin(b);
	stage = bench_end(b);
	came = b->target.at_point;
	if (came) {
		assert_int_equal(stage,
				 point == AT_GO ? MIGRATE_SOURCE_UNKNOWN : MIGRATE_SOURCE_FAILED);
		says_why(b, point == AT_GO ? "see whether the machine runs there" : "");
	}
	bench_free(b);
	return came;
}

static void is_left_alone(enum deed deed)
{
	const bool waits = deed == IS_SILENT || deed == DRIBBLES || deed == SAYS_ONLY_MORE;

	for (enum point point = AT_ASK; point < AT_NOTHING; point++) {
		uint64_t ms = waits ? 100 : 60000;

		while (!is_left_at(point, deed, ms * MS)) {
			ms *= 2;
			assert_true(ms <= LONGEST_MS);
		}
	}
}

static void one_whose_target_is_gone_stays(void **state)
{
	(void)state;
	is_left_alone(CLOSES);
}

static void one_whose_target_is_silent_stays(void **state)
{
	(void)state;
	is_left_alone(IS_SILENT);
}

static void one_whose_target_comes_to_no_end_stays(void **state)
{
	(void)state;
	is_left_alone(DRIBBLES);
	is_left_alone(SAYS_ONLY_MORE);
}

static void one_whose_target_talks_nonsense_stays(void **state)
{
	(void)state;
	is_left_alone(SAYS_ANOTHER_WORD);
	is_left_alone(SAYS_NOISE);
	is_left_alone(SAYS_END);
}

static void what_may_be_left_out_of_what_it_says_is(void **state)
{
	(void)state;
	for (enum point point = AT_ASK; point < AT_NOTHING; point++) {
		struct bench *b = bench_new(point, SAYS_MORE);

		bench_begin(b);
		assert_int_equal(bench_end(b), MIGRATE_SOURCE_COMPLETED);
		assert_true(same_memory(b));
		bench_free(b);
	}
}

/* Three times, and it writes on meanwhile. */
static void not_yet(struct bench *b)
{
	static unsigned times;

	guest_writes(b, 20 + 2 * (times % 4), times + 1);
	b->halted = ++times % 4 == 0;
	if (b->halted)
		halt_as_wanted(b);
	else
		migrate_source_not_yet(b->source);
}

static void one_that_cannot_stand_still_yet_is_asked_again(void **state)
{
	struct bench *b = bench_new(AT_NOTHING, FAILS);

	(void)state;
	b->on_halt = not_yet;
	bench_begin(b);
	assert_int_equal(bench_end(b), MIGRATE_SOURCE_COMPLETED);
	assert_true(same_memory(b));
	/* What it wrote went out while it ran: a round each. */
	assert_true(b->stats.rounds >= 4);
	assert_int_equal(strncmp(b->target.order, "ablcM", 5), 0);
	bench_free(b);
}

static void do_nothing(struct bench *b)
{
	(void)b;
}

/* At each point at which the target keeps it waiting. */
static void it_can_be_cancelled_until_it_was_told_to_go(void **state)
{
	(void)state;
	for (enum point point = AT_ASK; point < AT_GO; point++) {
		struct bench *b = bench_new(point, point % 2 ? SAYS_ONLY_MORE : IS_SILENT);

		bench_begin(b);
		if (point == AT_TIME)
			b->on_halt = do_nothing;
		while (!__atomic_load_n(&b->target.at_point, __ATOMIC_SEQ_CST) &&
		       (point != AT_TIME ||
			migrate_source_stage(b->source) < MIGRATE_SOURCE_HALT)) {
			if (migrate_source_stage(b->source) == MIGRATE_SOURCE_HALT)
				bench_reach(b, MIGRATE_SOURCE_DEVICE);
			poll(NULL, 0, 1);
		}
		assert_int_equal(migrate_source_cancel(b->source, &b->why), 0);
		assert_int_equal(bench_end(b), MIGRATE_SOURCE_CANCELLED);
		says_why(b, "was cancelled");
		assert_false(b->target.ran);
		bench_free(b);
	}
}

static void a_cancelled_one_tells_the_other_side(void **state)
{
	struct bench *b = busy(MS, AT_NOTHING);

	(void)state;
	b->params.max_bandwidth = MIB;
	bench_begin(b);
	bench_reach(b, MIGRATE_SOURCE_ACTIVE);
	assert_int_equal(migrate_source_cancel(b->source, &b->why), 0);
	assert_int_equal(bench_end(b), MIGRATE_SOURCE_CANCELLED);
	assert_non_null(strstr(b->target.cancel, "was cancelled"));
	bench_free(b);
}

static void afterwards_it_cannot(void **state)
{
	struct bench *b = bench_new(AT_GO, IS_SILENT);

	(void)state;
	bench_begin(b);
	bench_reach(b, MIGRATE_SOURCE_GONE);
	assert_int_equal(migrate_source_cancel(b->source, &b->why), -EBUSY);
	says_why(b, "told to go");
	bench_await_point(b);
	__atomic_store_n(&b->target.over, true, __ATOMIC_SEQ_CST);
	assert_int_equal(bench_end(b), MIGRATE_SOURCE_UNKNOWN);
	bench_free(b);
}

/* Nor does it keep its process from ending. */
static void who_ends_does_not_wait_for_its_word(void **state)
{
	for (enum point point = AT_ASK; point < AT_NOTHING; point++) {
		struct bench *b = bench_new(point, point % 2 ? IS_SILENT : SAYS_ONLY_MORE);

		(void)state;
		b->params.patience_ns = 3600 * S;
		b->params.downtime_limit_ns = 3600 * S;
		bench_begin(b);
		bench_await_point(b);
		migrate_source_abandon(b->source);
		assert_int_equal(bench_end(b), point == AT_GO ? MIGRATE_SOURCE_UNKNOWN
							      : MIGRATE_SOURCE_CANCELLED);
		says_why(b, point == AT_GO ? "see whether the machine runs there" : "cancelled");
		bench_free(b);
	}
}

static void cannot_at_once(struct bench *b)
{
	migrate_source_cannot(b->source, &(struct why){"a CPU does not stop"});
}

static void cannot_later(struct bench *b)
{
	struct vmstate_parts time = {0};

	add_part(&time, VMSTATE_CLOCK, "clock");
	migrate_source_stands(b->source, &time);
	cannot_at_once(b);
}

static void one_that_does_not_stand_still_stays(void **state)
{
	void (*const how[])(struct bench *) = {cannot_at_once, cannot_later};

	(void)state;
	for (int i = 0; i < 2; i++) {
		struct bench *b = bench_new(AT_NOTHING, FAILS);

		b->on_halt = how[i];
		bench_begin(b);
		assert_int_equal(bench_end(b), MIGRATE_SOURCE_FAILED);
		assert_string_equal(b->why.text, "a CPU does not stop");
		assert_string_equal(b->target.cancel, "a CPU does not stop");
		bench_free(b);
	}
}

/* Its state comes when all is over: it is taken, and that is all. */
static void an_owner_who_is_late_does_no_harm(void **state)
{
	struct bench *b = bench_new(AT_ASK, FAILS);

	(void)state;
	bench_begin(b);
	bench_reach(b, MIGRATE_SOURCE_COMPLETED);
	halt_as_wanted(b);
	assert_int_equal(migrate_source_cancel(b->source, NULL), 0);
	assert_int_equal(bench_end(b), MIGRATE_SOURCE_FAILED);
	bench_free(b);
}

static void where_nobody_listens_it_does_not_go(void **state)
{
	struct bench *b = bench_new(AT_NOTHING, FAILS);
	const struct address there = b->config.address;

	(void)state;
	strcat(b->config.address.path, ".not");
	bench_begin(b);
	bench_reach(b, MIGRATE_SOURCE_FAILED);
	assert_int_equal(migrate_source_end(b->source, &b->stats, &b->why), MIGRATE_SOURCE_FAILED);
	says_why(b, "nobody listens there");
	/* The other one is let go. */
	close(address_connect(&there, S, &(bool){false}, NULL));
	pthread_join(b->target.thread, NULL);
	bench_free(b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_that_keeps_writing_arrives_as_it_was_last),
		cmocka_unit_test(time_comes_first_and_the_last_pages_come_too),
		cmocka_unit_test(what_it_says_of_itself_adds_up),
		cmocka_unit_test(one_that_gets_no_less_stays_and_both_figures_are_told),
		cmocka_unit_test(a_longer_downtime_counts_from_the_next_round_on),
		cmocka_unit_test(the_limit_is_kept_and_the_downtime_is_told_beforehand),
		cmocka_unit_test(pages_of_zeros_do_not_make_a_link_slow),
		cmocka_unit_test(
			it_does_not_stand_still_before_the_link_has_carried_what_was_written),
		cmocka_unit_test(a_slow_link_is_waited_for_as_long_as_anything_moves),
		cmocka_unit_test(one_that_stands_still_does_not_go_by_drops),
		cmocka_unit_test(what_the_other_side_cannot_is_told),
		cmocka_unit_test(one_whose_target_is_gone_stays),
		cmocka_unit_test(one_whose_target_is_silent_stays),
		cmocka_unit_test(one_whose_target_comes_to_no_end_stays),
		cmocka_unit_test(one_whose_target_talks_nonsense_stays),
		cmocka_unit_test(what_may_be_left_out_of_what_it_says_is),
		cmocka_unit_test(one_that_cannot_stand_still_yet_is_asked_again),
		cmocka_unit_test(it_can_be_cancelled_until_it_was_told_to_go),
		cmocka_unit_test(a_cancelled_one_tells_the_other_side),
		cmocka_unit_test(afterwards_it_cannot),
		cmocka_unit_test(who_ends_does_not_wait_for_its_word),
		cmocka_unit_test(one_that_does_not_stand_still_stays),
		cmocka_unit_test(an_owner_who_is_late_does_no_harm),
		cmocka_unit_test(where_nobody_listens_it_does_not_go),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
