/* SPDX-License-Identifier: Apache-2.0 */
/* migrate_target_test.c - a machine that comes is put together and run here after GO, and never
 * before; and who is no source, or breaks off, is told why it does not run. */
#include "migrate_bench.h"

#include <sys/socket.h>

#include "../random.h"
#include "kvm/bytes.h"
#include "lacks.h"

#define PATIENCE (30 * BENCH_S)
#define SHORT (300 * BENCH_MS)

static void a_machine_that_has_come_whole_runs_here_after_go(void **state)
{
	struct guest_memory m = bench_there();
	struct bench *b = bench_new(PATIENCE);
	struct peer *p = peer_advance(b, &m, MIGRATE_TARGET_LOADED);
	const struct vmstate_parts *parts = migrate_target_state(b->target);
	struct migrate_target_stats stats;
	struct hosts_window window;
	struct stream_section s;

	(void)state;
	assert_int_equal(migrate_target_description(b->target)->n, 2);
	assert_false(migrate_target_stands(b->target));
	migrate_target_window(b->target, &window);
	assert_true(window.known);
	assert_in_range(0 - window.lo_ns, 0, 10 * BENCH_S);
	assert_in_range(window.hi_ns, 0, 10 * BENCH_S);
	assert_int_equal(parts->n, 7);
	assert_memory_equal(vmstate_parts_find(parts, VMSTATE_CPU, 1)->bytes, "state", 5);
	assert_memory_equal(m.low, b->memory.low, BENCH_SIZE);
	migrate_target_stats(b->target, &stats);
	assert_int_equal(stats.image.pages, BENCH_PAGES);
	assert_int_equal(stats.rounds, 2);
	assert_int_equal(stats.remaining_bytes, 0);
	assert_int_equal(stats.come_bytes, p->w.bytes);
	peer_say(p, MESSAGE_GO);
	bench_await(b, MIGRATE_TARGET_GO);
	migrate_target_running(b->target, 0, NULL);
	peer_hear_word(p, MESSAGE_RUNNING);
	assert_int_equal(stream_end(&p->w, NULL), 0);
	assert_int_equal(stream_next(&p->r, &s, NULL), 0);
	peer_free(p);
	bench_end(b, MIGRATE_TARGET_DONE, "");
	memory_destroy(&m);
}

/* A page of zeros as well. */
static void what_came_last_of_a_page_stays(void **state)
{
	struct random random = random_start();
	struct guest_memory m = bench_there();
	struct bench *b = bench_new(PATIENCE);
	struct peer *p = peer_advance(b, &m, MIGRATE_TARGET_ACTIVE);

	(void)state;
	peer_memory(p, &m);
	for (uint32_t round = 2; round < 12; round++) {
		uint64_t first = random_below(&random, BENCH_PAGES - 5);

		peer_round(p, round, 6 * BENCH_PAGE);
		memset(m.low + first * BENCH_PAGE, round % 3 ? (int)round : 0, 5 * BENCH_PAGE);
		peer_pages(p, &m, first, 5);
	}
	peer_time(p);
	peer_say(p, MESSAGE_WHOLE);
	bench_await(b, MIGRATE_TARGET_WHOLE);
	assert_memory_equal(m.low, b->memory.low, BENCH_SIZE);
	peer_free(p);
	migrate_target_loaded(b->target, -EIO, &(struct why){"no CPUs left"});
	bench_end(b, MIGRATE_TARGET_FAILED, "no CPUs left");
	memory_destroy(&m);
}

/* A patience that ends soon, but not while a machine comes here: on a busy machine that takes a
 * while. */
static uint64_t short_patience_ns(void)
{
	struct guest_memory m = bench_there();
	struct bench *b = bench_new(PATIENCE);
	const uint64_t began_ns = hostclock_monotonic_ns();
	struct peer *p = peer_advance(b, &m, MIGRATE_TARGET_LOADED);
	const uint64_t took_ns = hostclock_monotonic_ns() - began_ns;

	peer_free(p);
	bench_end(b, MIGRATE_TARGET_FAILED, "closed the connection");
	memory_destroy(&m);
	return SHORT + 8 * took_ns;
}

/* From where memory comes on, and that is enough. */
static void all_comes(struct bench *b, struct peer *p, struct guest_memory *m)
{
	peer_memory(p, m);
	peer_time(p);
	peer_say(p, MESSAGE_WHOLE);
	bench_await(b, MIGRATE_TARGET_WHOLE);
	peer_free(p);
	migrate_target_give_up(b->target);
	bench_end(b, MIGRATE_TARGET_FAILED, "given up");
	memory_destroy(m);
}

static void a_stall_that_its_source_sits_out_is_sat_out_here_too(void **state)
{
	const uint64_t short_ns = short_patience_ns();
	struct guest_memory m = bench_there();
	struct bench *b = bench_new(short_ns);
	struct peer *p;

	(void)state;
	peer_patience_ms = 60000;
	p = peer_advance(b, &m, MIGRATE_TARGET_ACTIVE);
	peer_patience_ms = 0;
	poll(NULL, 0, (int)(2 * short_ns / 1000000));
	all_comes(b, p, &m);
}

static void another_source_is_refused_while_one_machine_comes(void **state)
{
	struct guest_memory m = bench_there();
	struct bench *b = bench_new(PATIENCE);
	struct peer *p = peer_advance(b, &m, MIGRATE_TARGET_ACTIVE);

	(void)state;
	for (int i = 0; i < 3; i++) {
		struct peer *second = peer_new(b);

		peer_ask(second);
		peer_hear_failed(second, "another machine is coming here");
		peer_free(second);
	}
	all_comes(b, p, &m);
}

/* END is 32 bytes long. */
static void dribble(const struct bench *b, const struct peer *p)
{
	while (migrate_target_stage(b->target) == MIGRATE_TARGET_GO) {
		(void)!send(p->wire.fd, "", 1, MSG_NOSIGNAL);
		poll(NULL, 0, 600);
	}
}

/* Its source is silent, or sends a byte now and then, and might do so for half a minute: what runs
 * here ends when it likes. */
static void once_it_runs_here_nobody_waits_for_its_source(void **state)
{
	(void)state;
	for (int way = 0; way < 3; way++) {
		struct guest_memory m = bench_there();
		struct bench *b = bench_new(PATIENCE);
		struct peer *p = peer_advance(b, &m, MIGRATE_TARGET_GO);
		const uint64_t began = hostclock_monotonic_ns();

		migrate_target_running(b->target, 0, NULL);
		peer_hear_word(p, MESSAGE_RUNNING);
		if (way == 2)
			dribble(b, p);
		if (way == 1)
			migrate_target_give_up(b->target);
		bench_end(b, MIGRATE_TARGET_DONE, way == 1 ? "" : "nothing moves");
		assert_in_range(hostclock_monotonic_ns() - began, 0, PATIENCE / 2);
		peer_free(p);
		memory_destroy(&m);
	}
}

static void what_may_be_left_out_is_anywhere(void **state)
{
	static const struct stream_section extra[] = {
		{.type = 27, .version = 1, .flags = STREAM_OPTIONAL},
		{.type = STREAM_STATE + 200, .version = 9, .flags = STREAM_OPTIONAL},
		{.type = STREAM_MEMORY, .version = 2, .flags = STREAM_OPTIONAL},
	};
	struct guest_memory m = bench_there();
	struct bench *b = bench_new(PATIENCE);
	struct peer *p = peer_new(b);

	(void)state;
	peer_section(p, &extra[0]);
	peer_hello(p, BENCH_SIZE, false);
	peer_part(p, VMSTATE_FEATURES, 0);
	peer_section(p, &extra[1]);
	peer_part(p, VMSTATE_MACHINE, 0);
	peer_say(p, MESSAGE_ASK);
	bench_await(b, MIGRATE_TARGET_ASKED);
	assert_int_equal(migrate_target_description(b->target)->n, 2);
	migrate_target_prepared(b->target, 0, NULL);
	peer_section(p, &extra[0]);
	peer_begin(p);
	peer_memory(p, &m);
	for (int i = 0; i < 3; i++)
		peer_section(p, &extra[i]);
	peer_time(p);
	peer_section(p, &extra[1]);
	peer_say(p, MESSAGE_WHOLE);
	bench_await(b, MIGRATE_TARGET_WHOLE);
	migrate_target_loaded(b->target, 0, NULL);
	peer_section(p, &extra[0]);
	peer_say(p, MESSAGE_GO);
	bench_await(b, MIGRATE_TARGET_GO);
	assert_int_equal(migrate_target_state(b->target)->n, 3);
	migrate_target_running(b->target, 0, NULL);
	assert_int_equal(stream_end(&p->w, NULL), 0);
	bench_await(b, MIGRATE_TARGET_DONE);
	peer_free(p);
	bench_end(b, MIGRATE_TARGET_DONE, "");
	memory_destroy(&m);
}

static const struct {
	enum migrate_target_stage stage;
	bool state; /* in the midst of it */
	const char *where;
} stages[] = {
	{MIGRATE_TARGET_ACTIVE, false, "while memory came: "},
	{MIGRATE_TARGET_ACTIVE, true, "while its state came: "},
	{MIGRATE_TARGET_LOADED, false, "when all but GO had come: "},
};
enum { STAGES = sizeof(stages) / sizeof(stages[0]) };

static struct peer *advance(struct bench *b, const struct guest_memory *m, int stage)
{
	struct peer *p = peer_advance(b, m, stages[stage].stage);

	if (stages[stage].state) {
		peer_begin_state(p, m);
		bench_await_all(b, p);
	}
	return p;
}

static void one_that_breaks_off_before_go_never_runs(void **state)
{
	const uint64_t short_ns = short_patience_ns();

	(void)state;
	for (int i = 0; i < 3 * STAGES; i++) {
		struct guest_memory m = bench_there();
		struct bench *b = bench_new(i % 3 == 1 ? short_ns : PATIENCE);
		struct peer *p = advance(b, &m, i / 3);

		if (i % 3 == 0)
			peer_raw(p, "half", 4);
		if (i % 3 == 2)
			message_put_text(&p->w, MESSAGE_CANCEL, "not today", NULL);
		if (i % 3 != 1)
			shutdown(p->wire.fd, SHUT_WR);
		peer_hear_failed(p, stages[i / 3].where);
		peer_free(p);
		bench_end(b, MIGRATE_TARGET_FAILED,
			  i % 3 == 0   ? "the other side has closed the connection"
			  : i % 3 == 1 ? "nothing moves"
				       : "the source gave it up: not today");
		memory_destroy(&m);
	}
}

static void one_that_is_given_up_here_fails_unless_go_has_come(void **state)
{
	(void)state;
	for (int i = 0; i < STAGES; i++) {
		struct guest_memory m = bench_there();
		struct bench *b = bench_new(PATIENCE);
		struct peer *p = advance(b, &m, i);

		migrate_target_give_up(b->target);
		peer_hear_failed(p, "given up");
		peer_free(p);
		bench_end(b, MIGRATE_TARGET_FAILED, stages[i].where);
		memory_destroy(&m);
	}
}

static void after_go_it_runs_though_nobody_hears_it(void **state)
{
	struct guest_memory m = bench_there();
	struct bench *b = bench_new(PATIENCE);
	struct peer *p = peer_advance(b, &m, MIGRATE_TARGET_LOADED);

	(void)state;
	peer_say(p, MESSAGE_GO);
	peer_free(p);
	bench_await(b, MIGRATE_TARGET_GO);
	migrate_target_give_up(b->target);
	poll(NULL, 0, 20);
	assert_int_equal(migrate_target_stage(b->target), MIGRATE_TARGET_GO);
	migrate_target_running(b->target, 0, NULL);
	bench_end(b, MIGRATE_TARGET_DONE, "when it ran here: the other side has closed");
	memory_destroy(&m);
}

static void half_of_go_is_none(void **state)
{
	struct guest_memory m = bench_there();
	struct bench *b = bench_new(PATIENCE);
	struct peer *p = peer_advance(b, &m, MIGRATE_TARGET_LOADED);
	struct buffer {
		uint8_t bytes[STREAM_SECTION];
	} go = {{MESSAGE_GO, 0, 0, 0, 1}};

	(void)state;
	peer_raw(p, go.bytes, sizeof(go.bytes) - 1);
	shutdown(p->wire.fd, SHUT_WR);
	peer_hear_failed(p, "when all but GO had come");
	peer_free(p);
	bench_end(b, MIGRATE_TARGET_FAILED, "has closed the connection");
	memory_destroy(&m);
}

static void one_that_cannot_run_after_go_is_given_back(void **state)
{
	struct guest_memory m = bench_there();
	struct bench *b = bench_new(PATIENCE);
	struct peer *p = peer_advance(b, &m, MIGRATE_TARGET_GO);

	(void)state;
	migrate_target_running(b->target, -EIO, &(struct why){"KVM_RUN: no"});
	peer_hear_failed(p, "KVM_RUN: no");
	peer_free(p);
	bench_end(b, MIGRATE_TARGET_FAILED, "KVM_RUN: no");
	memory_destroy(&m);
}

enum lack { PAGE_LACKS, TIME_LACKS, PAGE_TWICE, ROUND_LACKS, PART_TWICE, NOT_WHOLE, LACKS };

static void say_wrongly(struct peer *p, const struct guest_memory *m, enum lack lack)
{
	peer_memory(p, m);
	if (lack == PAGE_TWICE)
		peer_pages(p, m, 77, 1);
	peer_round(p, lack == ROUND_LACKS ? 3 : 2, 0);
	peer_part(p, VMSTATE_CLOCK, 0);
	peer_part(p, VMSTATE_TSC, 0);
	if (lack != TIME_LACKS)
		peer_part(p, VMSTATE_HOST, 0);
	if (lack == PART_TWICE)
		peer_part(p, VMSTATE_TSC, 0);
	peer_say(p, lack == NOT_WHOLE ? MESSAGE_GO : MESSAGE_WHOLE);
}

static void one_that_is_not_whole_is_refused(void **state)
{
	static const char *const words[LACKS] = {
		[PAGE_LACKS] = "the page at 0xfff000 has never come",
		[TIME_LACKS] = "its clocks have not come",
		[PAGE_TWICE] = "the page at 0x4d000 a second time",
		[ROUND_LACKS] = "round 3 came where 2 should",
		[PART_TWICE] = "two sections of type 258 and index 0",
		[NOT_WHOLE] = "GO was said at a wrong time",
	};

	(void)state;
	for (enum lack lack = 0; lack < LACKS; lack++) {
		struct guest_memory m = bench_there();
		struct bench *b = bench_new(PATIENCE);
		struct peer *p = peer_advance(b, &m, MIGRATE_TARGET_ACTIVE);

		if (lack == PAGE_LACKS) {
			for (uint64_t at = 0; at < BENCH_PAGES - IMAGE_PAGES; at += IMAGE_PAGES)
				peer_pages(p, &m, at, IMAGE_PAGES);
			peer_pages(p, &m, BENCH_PAGES - IMAGE_PAGES, IMAGE_PAGES - 1);
			peer_time(p);
			peer_say(p, MESSAGE_WHOLE);
		} else {
			say_wrongly(p, &m, lack);
		}
		peer_hear_failed(p, words[lack]);
		peer_free(p);
		bench_end(b, MIGRATE_TARGET_FAILED, words[lack]);
		memory_destroy(&m);
	}
}

/* Most of this process that was in memory at once, kB; `anew`: counts from now on. */
static long peak_kb(bool anew)
{
	FILE *file = fopen("/proc/self/clear_refs", "w");
	char line[128];
	long kb = 0;

	if (anew && file)
		fputs("5", file);
	if (file)
		fclose(file);
	file = fopen("/proc/self/status", "r");
	while (file && fgets(line, sizeof(line), file))
		sscanf(line, "VmHWM: %ld", &kb);
	if (file)
		fclose(file);
	return kb;
}

/* As much state as there may be, and more, with memory between. */
static void flood(struct peer *p, const struct guest_memory *m, uint32_t kind)
{
	static uint8_t bytes[STREAM_MOST];
	struct stream_section s = {STREAM_STATE + kind, 1, 0, 0, sizeof(bytes), bytes};

	for (s.index = 0; s.index < VMSTATE_BYTES_MAX / STREAM_MOST + 5; s.index++) {
		peer_section(p, &s);
		if (kind == VMSTATE_CPU)
			peer_pages(p, m, s.index, 1);
	}
}

static const char *lacks_figures(void)
{
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
	return "a sanitizer's memory is in the figures";
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
	return "a sanitizer's memory is in the figures";
#endif
#endif
	return access("/proc/self/clear_refs", W_OK) < 0 ? "no /proc/self/clear_refs" : NULL;
}

/* VMSTATE_BYTES_MAX and what it is read with, once: what is turned away leaves nothing. */
static void what_a_stream_claims_is_not_what_it_gets(void **state)
{
	struct guest_memory m = bench_there();
	struct bench *b = bench_new(PATIENCE);
	const long most_kb = VMSTATE_BYTES_MAX / 1024 + 16384, before = peak_kb(true);
	struct peer *p;

	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		p = peer_new(b);
		peer_hello(p, BENCH_SIZE, false);
		flood(p, &m, VMSTATE_MACHINE);
		peer_hear_failed(p, "has more state than any machine");
		peer_free(p);
		bench_await_turned_away(b, i + 1, "has more state than any machine");
	}
	assert_in_range(peak_kb(false), before, before + 16384); /* which has not begun */
	p = peer_advance(b, &m, MIGRATE_TARGET_ACTIVE);
	flood(p, &m, VMSTATE_CPU);
	peer_hear_failed(p, "has more state than any machine");
	peer_free(p);
	bench_end(b, MIGRATE_TARGET_FAILED, "has more state than any machine");
	assert_in_range(peak_kb(false), before, before + most_kb);
	memory_destroy(&m);
}

static void a_place_that_is_taken_is_refused(void **state)
{
	struct bench *b = bench_new(PATIENCE);
	struct migrate_target *second;
	struct why why = {""};

	(void)state;
	assert_int_equal(migrate_target_begin(&b->config, &second, &why), -EADDRINUSE);
	assert_non_null(strstr(why.text, b->folder.file));
	migrate_target_give_up(b->target);
	bench_end(b, MIGRATE_TARGET_FAILED, "given up");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_machine_that_has_come_whole_runs_here_after_go),
		cmocka_unit_test(what_came_last_of_a_page_stays),
		cmocka_unit_test(a_stall_that_its_source_sits_out_is_sat_out_here_too),
		cmocka_unit_test(another_source_is_refused_while_one_machine_comes),
		cmocka_unit_test(once_it_runs_here_nobody_waits_for_its_source),
		cmocka_unit_test(what_may_be_left_out_is_anywhere),
		cmocka_unit_test(one_that_breaks_off_before_go_never_runs),
		cmocka_unit_test(one_that_is_given_up_here_fails_unless_go_has_come),
		cmocka_unit_test(after_go_it_runs_though_nobody_hears_it),
		cmocka_unit_test(half_of_go_is_none),
		cmocka_unit_test(one_that_cannot_run_after_go_is_given_back),
		cmocka_unit_test(one_that_is_not_whole_is_refused),
		cmocka_unit_test(a_place_that_is_taken_is_refused),
		unless(lacks_figures(), (struct CMUnitTest)cmocka_unit_test(
						what_a_stream_claims_is_not_what_it_gets)),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
