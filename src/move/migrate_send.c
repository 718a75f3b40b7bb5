/* SPDX-License-Identifier: Apache-2.0 */
/* migrate_send.c - the thread that talks to the target: message.h from the source's side. */
#include "move/migrate_send.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "host/hostclock.h"
#include "move/message.h"
#include "move/migrate_rate.h"
#include "move/state.h"

#define SECOND_NS UINT64_C(1000000000)

/* Of a machine that stands still nobody waits longer for the link, or 4 times as long as it may
 * stand still if that is more; nor for the last word when it has been told. */
#define LEAST_HALT_NS (2 * SECOND_NS)
#define LAST_WORD_NS (SECOND_NS / 20)

/* Between two questions whether it stands still. */
enum { MOMENT_MS = 20 };

static void reach(struct migrate_source *s, enum migrate_source_stage stage)
{
	const uint64_t one = 1;

	__atomic_store_n(&s->stage, stage, __ATOMIC_SEQ_CST);
	(void)!write(s->fd, &one, sizeof(one));
}

/* What is going on, for what goes wrong in it. */
static void begin_phase(struct migrate_source *s, const char *what)
{
	snprintf(s->where, sizeof(s->where), "%.200s: %s", s->name, what);
	s->w.name = s->r.name = s->where;
}

static struct migrate_params params(struct migrate_source *s)
{
	struct migrate_params p;

	pthread_mutex_lock(&s->lock);
	p = s->params;
	pthread_mutex_unlock(&s->lock);
	return p;
}

static bool is_cancelled(struct migrate_source *s)
{
	return __atomic_load_n(&s->give_up, __ATOMIC_SEQ_CST);
}

static int cancelled(const struct migrate_source *s, struct why *why)
{
	return why_set(why, -ECANCELED, "%s: was cancelled", s->name);
}

/* No word is awaited, so that only FAILED may come. */
enum { NO_WORD = 0 };

/* The target's next word, which is to be `wanted`.  -EREMOTEIO: it has said FAILED. */
static int hear(struct migrate_source *s, uint32_t wanted, struct stream_section *ret_section,
		struct why *why)
{
	const struct stream_source source = wire_source(&s->wire);
	struct stream_section *word = ret_section;
	char text[MESSAGE_TEXT + 1], buf[2][32];
	int result;

	*word = (struct stream_section){.type = STREAM_END}; /* of which no section tells */
	/* Who dribbles, or says much that means nothing, gets no longer than who says nothing. */
	s->wire.read_until_ns = wire_until(s->wire.patience_ns);
	if (!s->listens) {
		result = stream_open(&s->r, &source, s->where, why);
		if (result < 0)
			return result;
		s->listens = true;
	}
	do {
		result = stream_next(&s->r, word, why);
		if (result < 0 || word->type == wanted)
			return result < 0 ? result : 0;
		if (word->flags & STREAM_OPTIONAL && wanted == NO_WORD)
			return 0; /* another may come or not */
		if (word->flags & STREAM_OPTIONAL && is_cancelled(s))
			return cancelled(s, why);
	} while (word->flags & STREAM_OPTIONAL);
	if (word->type != MESSAGE_FAILED)
		return why_set(why, -EPROTO, "%s: says %s in place of %s (is it a vmtime?)",
			       s->where, message_name(word->type, buf[0]),
			       wanted == NO_WORD ? "nothing" : message_name(wanted, buf[1]));
	result = message_text(&s->r, word, text, why);
	if (result < 0)
		return result;
	s->refused = true;
	why_set(&s->refusal, 0, "%s: the other side has failed: %s", s->name, text);
	return why_set(why, -EREMOTEIO, "%s", s->refusal.text);
}

static int await_word(struct migrate_source *s, enum message_type type, struct why *why)
{
	struct stream_section word;
	int result = hear(s, type, &word, why);

	return result < 0 ? result : message_word(&s->r, &word, why);
}

static int read_host(const struct migrate_source *s, struct hosts_reading *ret_reading,
		     struct why *why)
{
	int result = s->c.read_host(s->c.owner, ret_reading);

	return result < 0 ? why_set(why, result, "this host's clocks cannot be read: %s",
				    strerror(-result))
			  : 0;
}

static int open_wire(struct migrate_source *s, struct why *why)
{
	const struct stream_sink sink = wire_sink(&s->wire);
	const struct migrate_params p = params(s);
	int fd = address_connect(&s->c.address, p.patience_ns, &s->give_up, why);

	if (fd < 0)
		return fd;
	pthread_mutex_lock(&s->lock);
	wire_init(&s->wire, fd, p.patience_ns, &s->give_up);
	pthread_mutex_unlock(&s->lock);
	begin_phase(s, "while it was asked");
	return stream_begin(&s->w, &sink, s->where, why);
}

/* HELLO to BEGIN. */
static int set_up(struct migrate_source *s, struct why *why)
{
	const struct guest_memory *m = s->c.memory;
	const uint64_t patience_ms = params(s).patience_ns / 1000000;
	struct message_hello hello = {
		.low_size = m->low_size,
		.high_size = m->high_size,
		.stands = s->c.stands,
		.patience_ms = patience_ms < UINT32_MAX ? (uint32_t)patience_ms : UINT32_MAX,
	};
	struct hosts_reading asked, answered, come;
	struct stream_section ready;
	int result = open_wire(s, why);

	if (result == 0)
		result = read_host(s, &hello.at, why);
	if (result == 0)
		result = message_put_hello(&s->w, &hello, why);
	if (result == 0)
		result = state_put(&s->w, s->c.description, why);
	if (result == 0)
		result = message_put_word(&s->w, MESSAGE_ASK, why);
	if (result == 0)
		result = hear(s, MESSAGE_READY, &ready, why);
	if (result == 0)
		result = read_host(s, &come, why);
	if (result == 0)
		result = message_ready(&s->r, &ready, &asked, &answered, why);
	if (result == 0)
		result = message_put_begin(&s->w, &come, why);
	if (result < 0)
		return result;
	/* Only from here on: what is slow before widens the clocks' window. */
	pthread_mutex_lock(&s->lock);
	hosts_window(&hello.at, &asked, &answered, &come, &s->stats.window);
	s->limited = true;
	__atomic_store_n(&s->wire.limit, s->params.max_bandwidth, __ATOMIC_RELAXED);
	pthread_mutex_unlock(&s->lock);
	return 0;
}

/* Nothing is to be heard while memory goes out, unless it is the end. */
static int may_go_on(void *owner, struct why *why)
{
	struct migrate_source *s = owner;
	struct stream_section word;

	if (is_cancelled(s))
		return cancelled(s, why);
	return wire_waits(&s->wire) ? hear(s, NO_WORD, &word, why) : 0;
}

/* What the socket has taken is not there yet, and would count as downtime. */
static int drain(struct migrate_source *s, uint64_t most, struct why *why)
{
	int result = wire_drain(&s->wire, most);

	return result < 0 ? stream_broken(s->where, result, why) : 0;
}

/* One round over `pages`. */
static int one_round(struct migrate_source *s, uint64_t pages, struct why *why)
{
	const struct migrate_params p = params(s);
	bool first;

	pthread_mutex_lock(&s->lock);
	first = s->stats.rounds++ == 0;
	if (first)
		s->stats.setup_ns = hostclock_monotonic_ns() - s->began_ns;
	s->stats.remaining_bytes = pages * MEMORY_PAGE;
	pthread_mutex_unlock(&s->lock);
	migrate_rate_begin(s);
	return image_round_send(s->round, pages, first, p.compress, why);
}

/* One while the machine runs, and *pages: how many it has written since. */
static int live_round(struct migrate_source *s, uint64_t *pages, struct why *why)
{
	const uint64_t began = hostclock_monotonic_ns(), before = s->wire.sent;
	int result;

	s->wire.patience_ns = params(s).patience_ns;
	result = one_round(s, *pages, why);
	if (result == 0)
		result = drain(s, MIGRATE_QUEUE_BYTES, why);
	if (result == 0)
		result = may_go_on(s, why);
	if (result < 0)
		return result;
	migrate_rate_drained(s);
	result = dirty_collect(s->c.dirty, pages, why);
	if (result == 0)
		migrate_rate_end(s, hostclock_monotonic_ns() - began, s->wire.sent - before,
				 *pages);
	return result;
}

static int next_round(struct migrate_source *s, uint64_t pages, struct why *why)
{
	const struct message_round round = {.number = s->stats.rounds + 1,
					    .remaining_bytes = pages * MEMORY_PAGE};

	return message_put_round(&s->w, &round, why);
}

/* Round after round, until the rest takes no longer than the machine may stand still. */
static int converge(struct migrate_source *s, uint64_t pages, struct why *why)
{
	uint64_t smallest = UINT64_MAX;
	unsigned no_gain = 0;

	for (;;) {
		struct migrate_params p;
		int result = live_round(s, &pages, why);

		if (result < 0)
			return result;
		p = params(s);
		if (s->stats.expected_downtime_ns <= p.downtime_limit_ns &&
		    (s->link_s || pages <= MIGRATE_UNKNOWN_PAGES || s->stats.rounds > 2))
			return 0;
		no_gain = pages < smallest ? 0 : no_gain + 1;
		smallest = pages < smallest ? pages : smallest;
		if (s->stats.rounds >= MIGRATE_ROUNDS || no_gain >= MIGRATE_NO_GAIN)
			return migrate_rate_complain(s, &p, why);
		result = next_round(s, pages, why);
		if (result < 0)
			return result;
	}
}

/* What was written until the machine stood still, or by us since. */
static int last_pages(struct migrate_source *s, struct why *why)
{
	uint64_t pages;
	int result = dirty_collect(s->c.dirty, &pages, why);

	if (result < 0 || pages == 0)
		return result;
	result = next_round(s, pages, why);
	return result < 0 ? result : one_round(s, pages, why);
}

/* For an answer of the owner's: 0; 1: not yet. */
static int await_owner(struct migrate_source *s, const bool *has, struct why *why)
{
	int result = 0;

	pthread_mutex_lock(&s->lock);
	while (!*has && !s->cannot && !s->cancelled && !s->not_yet)
		pthread_cond_wait(&s->answered, &s->lock);
	if (s->cancelled)
		result = cancelled(s, why);
	else if (s->cannot)
		result = why_set(why, -EIO, "%s", s->reason.text);
	else if (!*has)
		result = 1;
	s->not_yet = false;
	pthread_mutex_unlock(&s->lock);
	return result;
}

/* What is left is little, and each byte of it keeps the machine from running, as does a link that
 * stands still. */
static void hurry(struct migrate_source *s)
{
	const struct migrate_params p = params(s);
	const uint64_t most =
		p.downtime_limit_ns < LEAST_HALT_NS / 4 ? LEAST_HALT_NS : 4 * p.downtime_limit_ns;

	pthread_mutex_lock(&s->lock);
	s->limited = false;
	__atomic_store_n(&s->wire.limit, 0, __ATOMIC_RELAXED);
	pthread_mutex_unlock(&s->lock);
	s->wire.patience_ns = p.patience_ns < most ? p.patience_ns : most;
	/* Who takes a little now and then does not keep it from running any longer either. */
	s->halt_ns = most;
	s->wire.write_until_ns = wire_until(most);
}

/* Until it stands still, and what its time was then.  While it cannot it writes on, which goes out
 * as before; at least a moment lies between two questions. */
static int halt(struct migrate_source *s, struct why *why)
{
	for (;;) {
		uint64_t pages;
		int result;

		reach(s, MIGRATE_SOURCE_HALT);
		result = await_owner(s, &s->has_time, why);
		if (result <= 0) {
			s->wire.parting_ns = LAST_WORD_NS; /* it stands still */
			return result;
		}
		poll(NULL, 0, MOMENT_MS);
		result = dirty_collect(s->c.dirty, &pages, why);
		if (result == 0 && pages)
			result = next_round(s, pages, why);
		if (result == 0)
			result = pages ? converge(s, pages, why) : may_go_on(s, why);
		if (result < 0)
			return result;
	}
}

/* HALT to LOADED.  Time goes first; the last pages while the owner saves the rest of the state, and
 * those that this has changed after it. */
static int hand_over(struct migrate_source *s, struct why *why)
{
	int result = halt(s, why);

	if (result < 0)
		return result;
	begin_phase(s, "while its state went out");
	hurry(s);
	result = state_put(&s->w, &s->time, why);
	if (result == 0)
		result = last_pages(s, why);
	if (result == 0)
		result = await_owner(s, &s->has_state, why);
	if (result < 0)
		return result;
	reach(s, MIGRATE_SOURCE_DEVICE);
	s->wire.write_until_ns = wire_until(s->halt_ns);
	result = state_put(&s->w, &s->state, why);
	if (result == 0)
		result = last_pages(s, why);
	if (result == 0)
		result = message_put_word(&s->w, MESSAGE_WHOLE, why);
	if (result == 0)
		result = drain(s, 0, why);
	s->wire.write_until_ns = 0;
	if (result < 0)
		return result;
	begin_phase(s, "while it was loaded there");
	return await_word(s, MESSAGE_LOADED, why);
}

/* From here on it cannot be cancelled: GO fails only when the socket does, or takes no byte for as
 * long as patience lasts, or for 50 ms when this process is to end.  A GO that was written in part
 * cannot have come whole, and the target runs the machine by nothing else: its section of 32 bytes
 * ends with the checksum of the others.  That is why an error here gives the machine back, and one
 * after it does not. */
static int go(struct migrate_source *s, struct why *why)
{
	int result;

	pthread_mutex_lock(&s->lock);
	s->too_late = !s->cancelled;
	pthread_mutex_unlock(&s->lock);
	if (!s->too_late)
		return cancelled(s, why);
	/* Whether it runs there is worth more patience than why it does not. */
	s->wire.patience_ns = params(s).patience_ns;
	reach(s, MIGRATE_SOURCE_GONE);
	result = message_put_word(&s->w, MESSAGE_GO, why);
	s->told_go = result == 0;
	begin_phase(s, "after it was told to go");
	return result;
}

static void note_end(struct migrate_source *s, bool runs_there)
{
	pthread_mutex_lock(&s->lock);
	s->ended_ns = hostclock_monotonic_ns();
	if (runs_there) {
		s->stats.downtime_ns = s->ended_ns - s->stood_ns;
		s->stats.remaining_bytes = 0;
	}
	pthread_mutex_unlock(&s->lock);
}

static int converse(struct migrate_source *s, struct why *why)
{
	const struct image_round_config config = {
		.w = &s->w,
		.memory = s->c.memory,
		.dirty = s->c.dirty,
		.may_go_on = may_go_on,
		.gone = migrate_rate_gone,
		.owner = s,
	};
	int result;

	s->round = image_round_new(&config);
	if (!s->round)
		return why_set(why, -ENOMEM, "%s: no memory to send it", s->name);
	result = set_up(s, why);
	if (result < 0)
		return result;
	begin_phase(s, "while memory went out");
	reach(s, MIGRATE_SOURCE_ACTIVE);
	result = converge(s, s->stats.total_bytes / MEMORY_PAGE, why);
	if (result == 0)
		result = hand_over(s, why);
	if (result == 0)
		result = go(s, why);
	return result == 0 ? await_word(s, MESSAGE_RUNNING, why) : result;
}

/* The target may have said why before it closed the connection, or before it stopped listening; or
 * one thread has heard that while another one could not write any more. */
static void ask_why(struct migrate_source *s, int result, struct why *why)
{
	struct stream_section word;

	if (result != -EPIPE && result != -ECONNRESET && result != -ETIMEDOUT)
		return;
	if (result == -ETIMEDOUT)
		s->wire.patience_ns = LAST_WORD_NS; /* it has had its time */
	if (!s->refused && wire_waits(&s->wire))
		(void)hear(s, NO_WORD, &word, NULL);
	if (s->refused)
		*why = s->refusal;
}

/* A section that was cut off has no other behind it: then the target sees the end of the
 * connection alone. */
static void say_why(struct migrate_source *s, int result, const struct why *why)
{
	const bool cut_off = result == -EPIPE || result == -ECONNRESET || result == -ETIMEDOUT;

	s->wire.patience_ns = s->wire.parting_ns;
	if (!s->refused && !cut_off && !s->w.torn)
		(void)message_put_text(&s->w, MESSAGE_CANCEL, why->text, NULL);
}

static void not_known(struct migrate_source *s, int result)
{
	const struct why why = s->why;

	why_set(&s->why, result, "%.300s (see whether the machine runs there)", why.text);
}

/* Where it ends that has failed. */
static enum migrate_source_stage whose(struct migrate_source *s)
{
	bool by_wish;

	pthread_mutex_lock(&s->lock);
	by_wish = s->cancelled && !s->too_late;
	pthread_mutex_unlock(&s->lock);
	if (s->told_go && !s->refused)
		return MIGRATE_SOURCE_UNKNOWN;
	return by_wish ? MIGRATE_SOURCE_CANCELLED : MIGRATE_SOURCE_FAILED;
}

/* The machine is the target's; that it knows that we know is a courtesy, and that it says so is not
 * waited for. */
static void part(struct migrate_source *s)
{
	s->wire.patience_ns = LAST_WORD_NS;
	(void)stream_end(&s->w, NULL);
}

void *migrate_send(void *arg)
{
	struct migrate_source *s = arg;
	int result = converse(s, &s->why);

	if (result == -ECANCELED && !s->told_go)
		(void)cancelled(s, &s->why);
	if (result < 0 && s->wire.fd >= 0) {
		ask_why(s, result, &s->why);
		if (!s->told_go)
			say_why(s, result, &s->why);
		else if (!s->refused)
			not_known(s, result);
	}
	s->result = result;
	note_end(s, result == 0);
	if (result == 0) {
		reach(s, MIGRATE_SOURCE_COMPLETED);
		part(s);
	}
	if (s->listens)
		stream_close(&s->r);
	image_round_free(s->round);
	wire_close(&s->wire);
	if (result < 0)
		reach(s, whose(s));
	return NULL;
}
