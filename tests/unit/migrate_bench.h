/* SPDX-License-Identifier: Apache-2.0 */
/* migrate_bench.h - a target of a live migration with an owner that does as a test says, and a
 * source that is the test itself, word by word. */
#ifndef TESTS_MIGRATE_BENCH_H
#define TESTS_MIGRATE_BENCH_H

#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "../random.h"
#include "folder.h"
#include "host/hostclock.h"
#include "kvm/bytes.h"
#include "move/migrate_target.h"
#include "move/state.h"
#include "move/wire.h"

#define BENCH_MS UINT64_C(1000000)
#define BENCH_S UINT64_C(1000000000)

enum { BENCH_PAGE = 4096, BENCH_SIZE = 16 << 20, BENCH_PAGES = BENCH_SIZE / BENCH_PAGE };

struct bench {
	struct folder folder;
	char name[96]; /* "unix:..." */
	struct guest_memory memory;
	struct migrate_target_config config;
	struct migrate_target *target;
	unsigned turned_away; /* so many were; atomic */
	bool unfit;           /* the last one */
	struct why last;      /* what was said of the last one */
};

static inline int bench_read_host(void *owner, struct hosts_reading *ret_reading)
{
	(void)owner;
	*ret_reading = (struct hosts_reading){
		.tsc = 1000,
		.tsc_khz = 1000000,
		.tai_s = 37,
		.utc_ns = hostclock_realtime_ns(),
		.bound_ns = 1000,
		.synchronized = true,
	};
	return 0;
}

static inline void bench_turned_away(void *owner, bool unfit, const char *why)
{
	struct bench *b = owner;

	b->unfit = unfit;

	snprintf(b->last.text, sizeof(b->last.text), "%s", why);
	__atomic_fetch_add(&b->turned_away, 1, __ATOMIC_SEQ_CST);
}

static inline struct bench *bench_new(uint64_t patience_ns)
{
	struct bench *b = calloc(1, sizeof(*b));
	struct why why = {""};

	assert_non_null(b);
	b->folder = folder_new();
	snprintf(b->name, sizeof(b->name), "unix:%s", b->folder.file);
	assert_int_equal(memory_create(BENCH_SIZE, &b->memory, NULL), 0);
	b->config = (struct migrate_target_config){
		.name = b->name,
		.memory = &b->memory,
		.hello_patience_ns = patience_ns,
		.patience_ns = patience_ns,
		.read_host = bench_read_host,
		.turned_away = bench_turned_away,
		.owner = b,
	};
	assert_int_equal(address_parse(b->name, &b->config.address, &why), 0);
	if (migrate_target_begin(&b->config, &b->target, &why) < 0)
		fail_msg("%s", why.text);
	return b;
}

/* Whose stage is that, within half a minute. */
static inline void bench_await(struct bench *b, enum migrate_target_stage stage)
{
	struct pollfd p = {.fd = migrate_target_fd(b->target), .events = POLLIN};
	uint64_t count;

	for (int i = 0; i < 3000 && migrate_target_stage(b->target) != stage; i++)
		if (poll(&p, 1, 10) > 0)
			(void)!read(p.fd, &count, sizeof(count));
	assert_int_equal(migrate_target_stage(b->target), stage);
}

static inline void bench_await_turned_away(struct bench *b, unsigned n, const char *words)
{
	for (int i = 0; i < 3000 && __atomic_load_n(&b->turned_away, __ATOMIC_SEQ_CST) < n; i++)
		poll(NULL, 0, 10);
	assert_int_equal(b->turned_away, n);
	if (!strstr(b->last.text, words))
		fail_msg("\"%s\" is not in: %s", words, b->last.text);
}

/* It is at its end, and says so in these words. */
static inline void bench_end(struct bench *b, enum migrate_target_stage stage, const char *words)
{
	struct why why = {""};

	bench_await(b, stage);
	assert_int_equal(migrate_target_end(b->target, &why), stage);
	if (!strstr(why.text, words) || (!words[0] && why.text[0]))
		fail_msg("\"%s\" is not in: %s", words, why.text);
	assert_null(strchr(why.text, '\n'));
	assert_int_equal(folder_count(&b->folder), 0); /* its socket is gone */
	memory_destroy(&b->memory);
	folder_remove(&b->folder);
	free(b);
}

/* A source. */
struct peer {
	struct wire wire;
	struct stream_source source;
	struct stream_writer w;
	struct stream_reader r;
	bool reads;
};

static const bool bench_never;

static inline struct peer *peer_new(const struct bench *b)
{
	struct peer *p = calloc(1, sizeof(*p));
	struct stream_sink sink;
	struct why why = {""};
	int fd = address_connect(&b->config.address, 30 * BENCH_S, &bench_never, &why);

	assert_non_null(p);
	if (fd < 0)
		fail_msg("%s", why.text);
	wire_init(&p->wire, fd, 30 * BENCH_S, &bench_never);
	p->source = wire_source(&p->wire);
	sink = wire_sink(&p->wire);
	assert_int_equal(stream_begin(&p->w, &sink, "the peer", NULL), 0);
	return p;
}

static inline void peer_free(struct peer *p)
{
	if (p->reads)
		stream_close(&p->r);
	wire_close(&p->wire);
	free(p);
}

static inline void peer_raw(struct peer *p, const void *bytes, size_t length)
{
	assert_int_equal(p->w.sink.put(p->w.sink.to, bytes, length), 0);
}

static inline void peer_say(struct peer *p, enum message_type type)
{
	assert_int_equal(message_put_word(&p->w, type, NULL), 0);
}

/* What is larger than the socket's buffers may meet one that has closed. */
static inline void peer_section(struct peer *p, const struct stream_section *s)
{
	(void)!stream_put(&p->w, s, NULL);
}

/* That the source says it has; 0: it does not say. */
static uint32_t peer_patience_ms;

static inline void peer_hello(struct peer *p, uint64_t size, bool stands)
{
	struct message_hello hello = {
		.low_size = size, .stands = stands, .patience_ms = peer_patience_ms};

	bench_read_host(NULL, &hello.at);
	assert_int_equal(message_put_hello(&p->w, &hello, NULL), 0);
}

static inline void peer_part(struct peer *p, enum vmstate_kind kind, uint32_t index)
{
	const struct stream_section s = {STREAM_STATE + (uint32_t)kind, 1, 0, index, 5,
					 (const uint8_t *)"state"};

	peer_section(p, &s);
}

static inline void peer_ask(struct peer *p)
{
	peer_hello(p, BENCH_SIZE, false);
	peer_part(p, VMSTATE_MACHINE, 0);
	peer_part(p, VMSTATE_FEATURES, 0);
	peer_say(p, MESSAGE_ASK);
}

/* The next section is that one. */
static inline void peer_hear(struct peer *p, uint32_t type, struct stream_section *ret_section)
{
	struct why why = {""};
	char one[32], other[32], text[MESSAGE_TEXT + 1] = "";
	int result = 1;

	p->source.live = true;
	if (!p->reads)
		result = stream_open(&p->r, &p->source, "the peer", &why);
	if (result >= 0) {
		p->reads = true;
		result = stream_next(&p->r, ret_section, &why);
	}
	if (result < 0)
		fail_msg("instead of %s: %s", message_name(type, one), why.text);
	if (ret_section->type == MESSAGE_FAILED)
		message_text(&p->r, ret_section, text, &why);
	if (ret_section->type != type)
		fail_msg("%s instead of %s: %s", message_name(ret_section->type, other),
			 message_name(type, one), text);
}

static inline void peer_hear_word(struct peer *p, uint32_t type)
{
	struct stream_section s;

	peer_hear(p, type, &s);
}

static inline void peer_hear_failed(struct peer *p, const char *words)
{
	struct stream_section s;
	char text[MESSAGE_TEXT + 1];

	peer_hear(p, MESSAGE_FAILED, &s);
	assert_int_equal(message_text(&p->r, &s, text, NULL), 0);
	if (!strstr(text, words))
		fail_msg("\"%s\" is not in: %s", words, text);
}

static inline void peer_begin(struct peer *p)
{
	struct hosts_reading at;

	bench_read_host(NULL, &at);
	assert_int_equal(message_put_begin(&p->w, &at, NULL), 0);
}

/* These pages of a memory. */
static inline void peer_pages(struct peer *p, const struct guest_memory *m, uint64_t first,
			      uint32_t pages)
{
	const struct image_run run = {.gpa = first * BENCH_PAGE, .pages = pages, .compress = true};
	struct image *image = image_new();
	struct stream_section s;

	assert_non_null(image);
	assert_int_equal(image_pack(image, m, &run, &s), 0);
	peer_section(p, &s);
	image_free(image);
}

static inline void peer_memory(struct peer *p, const struct guest_memory *m)
{
	for (uint64_t at = 0; at < BENCH_PAGES; at += IMAGE_PAGES)
		peer_pages(p, m, at, IMAGE_PAGES);
}

static inline void peer_round(struct peer *p, uint32_t number, uint64_t remaining)
{
	const struct message_round round = {number, remaining};

	assert_int_equal(message_put_round(&p->w, &round, NULL), 0);
}

static inline void peer_time(struct peer *p)
{
	peer_part(p, VMSTATE_CLOCK, 0);
	peer_part(p, VMSTATE_TSC, 0);
	peer_part(p, VMSTATE_HOST, 0);
}

static inline void peer_state(struct peer *p)
{
	peer_part(p, VMSTATE_MACHINE, 0);
	peer_part(p, VMSTATE_BOARD, 0);
	peer_part(p, VMSTATE_CPU, 0);
	peer_part(p, VMSTATE_CPU, 1);
}

/* What there is at the source. */
static inline struct guest_memory bench_there(void)
{
	struct random random = {.state = 11};
	struct guest_memory m;

	assert_int_equal(memory_create(BENCH_SIZE, &m, NULL), 0);
	for (int i = 0; i < 300; i++)
		put64(m.low + random_below(&random, BENCH_SIZE / 8) * 8, random_next(&random));
	return m;
}

/* All that was said has been read. */
static inline void bench_await_all(struct bench *b, const struct peer *p)
{
	struct migrate_target_stats stats;

	do {
		poll(NULL, 0, 1);
		migrate_target_stats(b->target, &stats);
	} while (stats.come_bytes != p->w.bytes);
}

/* All memory, and the first of its state. */
static inline void peer_begin_state(struct peer *p, const struct guest_memory *m)
{
	peer_memory(p, m);
	peer_round(p, 2, 0);
	peer_time(p);
}

/* Up to a stage, without a fault. */
static inline struct peer *peer_advance(struct bench *b, const struct guest_memory *m,
					enum migrate_target_stage stage)
{
	struct peer *p = peer_new(b);

	peer_ask(p);
	bench_await(b, MIGRATE_TARGET_ASKED);
	if (stage == MIGRATE_TARGET_ASKED)
		return p;
	migrate_target_prepared(b->target, 0, NULL);
	peer_hear_word(p, MESSAGE_READY);
	peer_begin(p);
	bench_await(b, MIGRATE_TARGET_ACTIVE);
	if (stage == MIGRATE_TARGET_ACTIVE)
		return p;
	peer_begin_state(p, m);
	peer_state(p);
	peer_say(p, MESSAGE_WHOLE);
	bench_await(b, MIGRATE_TARGET_WHOLE);
	if (stage == MIGRATE_TARGET_WHOLE)
		return p;
	migrate_target_loaded(b->target, 0, NULL);
	peer_hear_word(p, MESSAGE_LOADED);
	bench_await(b, MIGRATE_TARGET_LOADED);
	if (stage == MIGRATE_TARGET_LOADED)
		return p;
	peer_say(p, MESSAGE_GO);
	bench_await(b, MIGRATE_TARGET_GO);
	return p;
}

#endif
