/* SPDX-License-Identifier: Apache-2.0 */
/* source_bench.h - the source of a live migration, a machine that is nothing but memory, its owner,
 * and a target in a thread that does as a test says. */
#ifndef TESTS_SOURCE_BENCH_H
#define TESTS_SOURCE_BENCH_H

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

#include "folder.h"
#include "host/hostclock.h"
#include "kvm/bytes.h"
#include "move/message.h"
#include "move/migrate_source.h"
#include "move/state.h"
#include "move/wire.h"

#define MS UINT64_C(1000000)
#define S UINT64_C(1000000000)
#define MIB (UINT64_C(1) << 20)

enum { LONGEST_MS = 3200 }; /* of the patience that a busy machine is tried with */
enum { PAGE = 4096, SIZE = 16 << 20, PAGES = SIZE / PAGE, WORDS = PAGES / 64 };

/* What a target does when it has heard so far, in place of going on. */
enum point { AT_ASK, AT_MEMORY, AT_TIME, AT_STATE, AT_WHOLE, AT_GO, AT_NOTHING };
enum deed {
	FAILS,
	CLOSES,
	IS_SILENT,
	DRIBBLES,
	SAYS_ANOTHER_WORD,
	SAYS_NOISE,
	SAYS_END,
	SAYS_MORE,
	SAYS_ONLY_MORE,
	FLOODS,          /* the same, faster than anybody reads */
	LISTENS_NO_MORE, /* and says why, or begins to, when half its time is over */
};

struct fake_target {
	int listener;
	enum point point;
	enum deed deed;
	pthread_t thread;
	struct guest_memory memory;
	struct image *image;
	struct wire wire;
	struct stream_source fast;
	/* It takes so many bytes and waits so long before; only once the machine stands still. */
	size_t sips;
	int sip_ms;
	bool when_it_stands;
	uint64_t patience_ns; /* that the source has with one that listens no more */
	bool by_halves;       /* ... and says the second half when it has had its time */
	struct stream_writer w;
	struct stream_reader r;
	bool over;      /* atomic: the silent one may leave */
	bool at_point;  /* atomic: it is there */
	bool ended;     /* END was heard */
	bool ran;       /* it said RUNNING */
	bool stood;     /* HELLO said so */
	unsigned round; /* of the words so far */
	struct vmstate_parts state;
	/* Of the state's kinds, a letter each, 'a' the first; 'M': memory in between. */
	char order[64];
	char cancel[MESSAGE_TEXT + 1];
	struct why why; /* what it did not like */
};

/* The guest's pages that were written, as KVM tells them. */
struct fake_log {
	uint64_t bits[WORDS]; /* atomic */
	unsigned hot;         /* so many, the first, are written again and again */
};

struct bench {
	struct folder folder;
	char name[96];
	struct guest_memory memory;
	struct fake_log log;
	struct dirty dirty;
	struct vmstate_parts description;
	struct migrate_source_config config;
	struct migrate_params params;
	struct fake_target target;
	struct migrate_source *source;
	/* The owner: what it does when the machine is to stand still. */
	void (*on_halt)(struct bench *b);
	bool halted; /* it has, or will not */
	struct migrate_stats stats;
	struct why why;
};

static inline void add_part(struct vmstate_parts *p, uint32_t kind, const char *text)
{
	assert_int_equal(vmstate_parts_add(p, kind, 1, 0, text, (uint32_t)strlen(text)), 0);
}

static inline int fake_get(void *owner, uint32_t slot, uint64_t *bits)
{
	struct fake_log *log = owner;

	assert_int_equal(slot, 0);
	for (unsigned page = 0; page < log->hot; page++)
		__atomic_fetch_or(&log->bits[page / 64], UINT64_C(1) << page % 64,
				  __ATOMIC_SEQ_CST);
	for (unsigned i = 0; i < WORDS; i++)
		bits[i] = __atomic_load_n(&log->bits[i], __ATOMIC_SEQ_CST);
	return 0;
}

static inline int fake_clear(void *owner, uint32_t slot, uint64_t first, uint32_t pages,
			     const uint64_t *bits)
{
	struct fake_log *log = owner;

	assert_int_equal(slot, 0);
	for (uint64_t i = 0; i < (pages + 63) / 64; i++)
		__atomic_fetch_and(&log->bits[first / 64 + i], ~bits[i], __ATOMIC_SEQ_CST);
	return 0;
}

/* A guest writes; by words, as the thread that sends reads them meanwhile. */
static inline void guest_writes(struct bench *b, uint32_t page, uint64_t value)
{
	uint64_t *at = (uint64_t *)(b->memory.low + (size_t)page * PAGE);

	for (unsigned i = 0; i < PAGE / sizeof(*at); i++)
		__atomic_store_n(at + i, value + i, __ATOMIC_RELAXED);
	__atomic_fetch_or(&b->log.bits[page / 64], UINT64_C(1) << page % 64, __ATOMIC_SEQ_CST);
}

static inline int fake_read_host(void *owner, struct hosts_reading *ret_reading)
{
	(void)owner;
	*ret_reading = (struct hosts_reading){.tsc = 1000,
					      .tsc_khz = 1000000,
					      .utc_ns = 1700 * (int64_t)S,
					      .bound_ns = 1000,
					      .synchronized = true};
	return 0;
}

/* A byte at a time, or nothing but what may be left out. */
static inline void talks_for_ever(struct fake_target *t, const struct stream_section *more)
{
	const uint8_t byte = 0;
	int result = 0;

	while (result == 0 && !__atomic_load_n(&t->over, __ATOMIC_SEQ_CST)) {
		if (t->deed == SAYS_ONLY_MORE) {
			result = stream_put(&t->w, more, NULL);
			continue;
		}
		result = t->w.sink.put(t->w.sink.to, &byte, 1);
		poll(NULL, 0, 1);
	}
}

/* What it says, kept until it is sent at once. */
struct saying {
	uint8_t bytes[64 << 10];
	size_t n;
};

static inline int keep(void *to, const void *bytes, size_t count)
{
	struct saying *s = to;

	assert_true(count <= sizeof(s->bytes) - s->n);
	memcpy(s->bytes + s->n, bytes, count);
	s->n += count;
	return 0;
}

/* A section costs whoever reads it a call of the kernel, and who says it much less. */
static inline void floods(struct fake_target *t, const struct stream_section *more)
{
	const struct stream_sink to_wire = t->w.sink;
	struct saying *s = calloc(1, sizeof(*s));
	int result = 0;

	t->w.sink = (struct stream_sink){.put = keep, .to = s};
	while (result == 0 && !__atomic_load_n(&t->over, __ATOMIC_SEQ_CST)) {
		for (s->n = 0; s->n < sizeof(s->bytes) - STREAM_SECTION;)
			(void)stream_put(&t->w, more, NULL);
		result = to_wire.put(to_wire.to, s->bytes, s->n);
	}
	t->w.sink = to_wire;
	free(s);
}

static inline void lets_pass(const struct fake_target *t, uint64_t ns)
{
	const uint64_t until_ns = hostclock_monotonic_ns() + ns;

	while (hostclock_monotonic_ns() < until_ns && !__atomic_load_n(&t->over, __ATOMIC_SEQ_CST))
		poll(NULL, 0, 1);
}

static inline void listens_no_more(struct fake_target *t)
{
	const struct stream_sink to_wire = t->w.sink;
	struct saying *s = calloc(1, sizeof(*s));
	size_t first;

	t->w.sink = (struct stream_sink){.put = keep, .to = s};
	(void)message_put_text(&t->w, MESSAGE_FAILED, "its disk is full", NULL);
	t->w.sink = to_wire;
	first = t->by_halves ? s->n / 2 : s->n;
	lets_pass(t, t->patience_ns / 2);
	(void)to_wire.put(to_wire.to, s->bytes, first);
	lets_pass(t, t->patience_ns + t->patience_ns / 4);
	(void)to_wire.put(to_wire.to, s->bytes + first, s->n - first);
	lets_pass(t, t->patience_ns);
	free(s);
}

/* Whether it goes on as if nothing was. */
static inline bool passes(struct fake_target *t, enum point point)
{
	const struct stream_section more = {.type = 9999, .version = 1, .flags = STREAM_OPTIONAL};
	const uint8_t noise[STREAM_SECTION] = {1};

	if (t->point != point)
		return true;
	__atomic_store_n(&t->at_point, true, __ATOMIC_SEQ_CST);
	switch (t->deed) {
	case FAILS:
		(void)message_put_text(&t->w, MESSAGE_FAILED, "its disk is full", NULL);
		break;
	case CLOSES:
		break;
	case IS_SILENT:
		while (!__atomic_load_n(&t->over, __ATOMIC_SEQ_CST))
			poll(NULL, 0, 1);
		break;
	case DRIBBLES:
	case SAYS_ONLY_MORE:
		talks_for_ever(t, &more);
		break;
	case FLOODS:
		floods(t, &more);
		break;
	case LISTENS_NO_MORE:
		listens_no_more(t);
		break;
	case SAYS_ANOTHER_WORD:
		(void)message_put_word(&t->w, MESSAGE_ASK, NULL);
		break;
	case SAYS_NOISE:
		(void)t->w.sink.put(t->w.sink.to, noise, sizeof(noise));
		break;
	case SAYS_END:
		(void)stream_end(&t->w, NULL);
		break;
	case SAYS_MORE: /* which a later version may, and goes on */
		return stream_put(&t->w, &more, NULL) == 0;
	}
	return false;
}

static inline bool takes_memory(struct fake_target *t, const struct stream_section *s)
{
	struct image_piece piece;

	if (image_look(&t->r, s, &t->memory, &piece, &t->why) < 0 ||
	    image_unpack(t->image, "target", s, &piece, &t->memory, t->round == 1, &t->why) < 0)
		return false;
	return passes(t, AT_MEMORY);
}

static inline bool takes_state(struct fake_target *t, const struct stream_section *s)
{
	const uint32_t kind = s->type - STREAM_STATE;
	const size_t n = strlen(t->order);

	if (s->type < STREAM_STATE || state_take(&t->r, s, &t->state, &t->why) < 0)
		return false;
	t->order[n] = (char)('a' + kind);
	if (kind == VMSTATE_TSC)
		return passes(t, AT_TIME);
	return kind == VMSTATE_BOARD ? passes(t, AT_STATE) : true;
}

static inline bool says(struct fake_target *t, enum point point, enum message_type type)
{
	return passes(t, point) && message_put_word(&t->w, type, &t->why) == 0;
}

static inline bool takes_round(struct fake_target *t, const struct stream_section *s)
{
	struct message_round round;
	const size_t n = strlen(t->order);

	if (message_round(&t->r, s, &round, &t->why) < 0 || round.number != ++t->round)
		return false;
	if (n && t->order[n - 1] != 'M' && vmstate_parts_find(&t->state, VMSTATE_CLOCK, 0))
		t->order[n] = 'M';
	return true;
}

/* Whether it goes on. */
static inline bool takes(struct fake_target *t, const struct stream_section *s)
{
	struct message_hello hello;
	struct hosts_reading clocks;

	switch (s->type) {
	case MESSAGE_HELLO:
		if (message_hello(&t->r, s, &hello, &t->why) < 0)
			return false;
		t->stood = hello.stands;
		return true;
	case MESSAGE_ASK:
		fake_read_host(NULL, &clocks);
		return passes(t, AT_ASK) && message_put_ready(&t->w, &clocks, &clocks, NULL) == 0;
	case MESSAGE_BEGIN:
		t->round = 1;
		return true;
	case STREAM_MEMORY:
		return takes_memory(t, s);
	case MESSAGE_ROUND:
		return takes_round(t, s);
	case MESSAGE_WHOLE:
		return says(t, AT_WHOLE, MESSAGE_LOADED);
	case MESSAGE_GO:
		t->ran = says(t, AT_GO, MESSAGE_RUNNING);
		return t->ran;
	case MESSAGE_CANCEL:
		(void)message_text(&t->r, s, t->cancel, &t->why);
		return false;
	default:
		return takes_state(t, s);
	}
}

/* A link that is slow behind a socket that takes much at once. */
static inline ssize_t sip(void *from, void *bytes, size_t most)
{
	struct fake_target *t = from;
	const bool stands = vmstate_parts_find(&t->state, VMSTATE_CLOCK, 0);

	if (t->sips && (stands || !t->when_it_stands) &&
	    !__atomic_load_n(&t->over, __ATOMIC_SEQ_CST)) {
		poll(NULL, 0, t->sip_ms);
		most = most < t->sips ? most : t->sips;
	}
	return t->fast.get(t->fast.from, bytes, most);
}

static inline void *be_target(void *arg)
{
	struct fake_target *t = arg;
	struct pollfd p = {.fd = t->listener, .events = POLLIN};
	static const bool never;
	struct stream_source source;
	struct stream_section s;
	struct stream_sink sink;
	int result;

	if (poll(&p, 1, 60000) != 1)
		return NULL;
	wire_init(&t->wire, accept(t->listener, NULL, NULL), UINT64_MAX, &never);
	t->fast = wire_source(&t->wire);
	source = (struct stream_source){.get = sip, .from = t, .live = true};
	sink = wire_sink(&t->wire);
	result = stream_open(&t->r, &source, "source", &t->why);
	if (result == 0) {
		result = stream_begin(&t->w, &sink, "source", &t->why);
		while (result == 0 && (result = stream_next(&t->r, &s, &t->why)) > 0)
			result = takes(t, &s) ? 0 : -ECANCELED;
		t->ended = result == 0;
		(void)stream_end(&t->w, NULL);
		stream_close(&t->r);
	}
	wire_close(&t->wire);
	return NULL;
}

/* The machine stands still; a page of it was written just before, and another one is while its
 * state is saved. */
static inline void halt_as_wanted(struct bench *b)
{
	struct vmstate_parts time = {0}, state = {0};

	add_part(&time, VMSTATE_CLOCK, "clock");
	add_part(&time, VMSTATE_HOST, "host");
	add_part(&time, VMSTATE_TSC, "tsc");
	guest_writes(b, 7, 70);
	migrate_source_stands(b->source, &time);
	assert_int_equal(time.n, 0);
	guest_writes(b, 8, 80);
	dirty_written(&b->dirty, 8 * PAGE, 1);
	add_part(&state, VMSTATE_CLOCK, "clock");
	add_part(&state, VMSTATE_TSC, "tsc");
	add_part(&state, VMSTATE_BOARD, "board");
	add_part(&state, VMSTATE_CPU, "cpu");
	migrate_source_state(b->source, &state);
	assert_int_equal(state.n, 0);
}

/* Of its memory every other page has something in it. */
static inline struct bench *bench_new(enum point point, enum deed deed)
{
	struct bench *b = calloc(1, sizeof(*b));
	const struct dirty_log log = {fake_get, fake_clear, &b->log};

	b->folder = folder_new();
	snprintf(b->name, sizeof(b->name), "unix:%s", b->folder.file);
	assert_int_equal(memory_create(SIZE, &b->memory, NULL), 0);
	assert_int_equal(memory_create(SIZE, &b->target.memory, NULL), 0);
	for (uint32_t page = 0; page < PAGES; page += 2)
		guest_writes(b, page, page + 1);
	memset(&b->log, 0, sizeof(b->log));
	assert_int_equal(dirty_init(&b->dirty, &b->memory, &log, NULL), 0);
	add_part(&b->description, VMSTATE_MACHINE, "machine");
	b->config = (struct migrate_source_config){.name = b->name,
						   .memory = &b->memory,
						   .dirty = &b->dirty,
						   .description = &b->description,
						   .read_host = fake_read_host};
	assert_int_equal(address_parse(b->name, &b->config.address, NULL), 0);
	b->params = (struct migrate_params){.downtime_limit_ns = 60 * S, .patience_ns = 60 * S};
	b->on_halt = halt_as_wanted;
	b->target.point = point;
	b->target.deed = deed;
	b->target.image = image_new();
	b->target.listener = address_listen(&b->config.address, NULL);
	assert_true(b->target.listener >= 0);
	assert_int_equal(pthread_create(&b->target.thread, NULL, be_target, &b->target), 0);
	return b;
}

static inline void bench_begin(struct bench *b)
{
	assert_int_equal(migrate_source_begin(&b->config, &b->params, &b->source, &b->why), 0);
}

/* Until it is that stage or a later one; answers on the way. */
static inline void bench_reach(struct bench *b, enum migrate_source_stage stage)
{
	struct pollfd p = {.fd = migrate_source_fd(b->source), .events = POLLIN};
	enum migrate_source_stage now;
	uint64_t count;

	while ((now = migrate_source_stage(b->source)) < stage) {
		if (now == MIGRATE_SOURCE_HALT && !b->halted) {
			b->halted = true;
			b->on_halt(b);
		}
		if (poll(&p, 1, 60000) != 1)
			fail_msg("stays in stage %d", migrate_source_stage(b->source));
		assert_int_equal(read(p.fd, &count, sizeof(count)), sizeof(count));
	}
}

/* Until the target is at its point, with all that its owner does before. */
static inline void bench_await_point(struct bench *b)
{
	while (!__atomic_load_n(&b->target.at_point, __ATOMIC_SEQ_CST))
		if (migrate_source_stage(b->source) == MIGRATE_SOURCE_HALT)
			bench_reach(b, MIGRATE_SOURCE_DEVICE);
		else
			poll(NULL, 0, 1);
}

/* The rest of it, and the target's thread is over as well. */
static inline enum migrate_source_stage bench_end(struct bench *b)
{
	enum migrate_source_stage stage;

	bench_reach(b, MIGRATE_SOURCE_COMPLETED);
	stage = migrate_source_end(b->source, &b->stats, &b->why);
	__atomic_store_n(&b->target.over, true, __ATOMIC_SEQ_CST);
	pthread_join(b->target.thread, NULL);
	return stage;
}

static inline void bench_free(struct bench *b)
{
	close(b->target.listener);
	address_forget(&b->config.address);
	vmstate_parts_free(&b->target.state);
	vmstate_parts_free(&b->description);
	image_free(b->target.image);
	memory_destroy(&b->target.memory);
	memory_destroy(&b->memory);
	dirty_free(&b->dirty);
	folder_remove(&b->folder);
	free(b);
}

static inline bool same_memory(const struct bench *b)
{
	return memcmp(b->memory.low, b->target.memory.low, SIZE) == 0;
}

static inline void says_why(const struct bench *b, const char *words)
{
	if (!strstr(b->why.text, words) || strchr(b->why.text, '\n') ||
	    strncmp(b->why.text, b->name, strlen(b->name)) != 0)
		fail_msg("\"%s\" is not in: %s", words, b->why.text);
}

#endif
