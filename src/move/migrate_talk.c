/* SPDX-License-Identifier: Apache-2.0 */
/* migrate_talk.c - what the target of a live migration hears and says. */
#include "move/migrate_talk.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>

#include "host/hostclock.h"
#include "move/door.h"
#include "move/state.h"

static const char *const doings[TALK_DOINGS] = {
	[TALK_ASKS] = "while it was asked for", [TALK_MEMORY] = "while memory came",
	[TALK_STATE] = "while its state came",  [TALK_GO] = "when all but GO had come",
	[TALK_RUNNING] = "when it ran here",
};

/* What a machine is takes some KiB; of who has not begun no more is kept. */
enum { DESCRIPTION_BYTES_MAX = 1 << 20 };

/* Without these no machine goes on. */
static const uint32_t time_kinds[] = {VMSTATE_CLOCK, VMSTATE_TSC, VMSTATE_HOST};
enum { TIME_KINDS = sizeof(time_kinds) / sizeof(time_kinds[0]) };

/* Who greets may take so long while others wait; and who waits is looked for so often. */
#define HURRY_NS UINT64_C(2000000000)
#define LOOK_NS UINT64_C(100000000)

/* The machine runs here: nobody has to wait for what its source still says. */
#define PART_NS UINT64_C(1000000000)

static taker_other other;

int talk_init(struct talk *k, const struct migrate_target_config *config,
	      const struct talk_owner *owner, struct why *why)
{
	k->config = config;
	k->owner = *owner;
	k->wire.fd = -1;
	k->remaining_bytes = UINT64_MAX;
	for (int i = 0; i < TALK_DOINGS; i++)
		snprintf(k->names[i], sizeof(k->names[i]), "%.280s: %s", config->name, doings[i]);
	k->taker = taker_new(config->memory, other, k);
	return k->taker ? 0 : why_set(why, -ENOMEM, "%s: no memory to wait for it", config->name);
}

void talk_free(struct talk *k)
{
	taker_free(k->taker);
	vmstate_parts_free(&k->description);
	vmstate_parts_free(&k->state);
}

static const char *name(const struct talk *k)
{
	return k->reader.name;
}

/* Where it is from now on, in what goes wrong. */
static void now_does(struct talk *k, enum talk_doing doing)
{
	k->reader.name = k->writer.name = k->names[doing];
}

static void begin_patience(struct talk *k)
{
	k->since_ns = hostclock_monotonic_ns();
	k->until_ns = k->since_ns + k->config->hello_patience_ns;
}

static bool others_wait(const struct talk *k)
{
	struct pollfd p = {.fd = k->owner.listener, .events = POLLIN};

	return poll(&p, 1, 0) > 0;
}

/* Who greets has so long for all of it, and less when somebody else would like to. */
static ssize_t get_in_time(struct talk *k, void *bytes, size_t most)
{
	ssize_t got;

	do {
		const uint64_t now = hostclock_monotonic_ns(), soon = k->since_ns + HURRY_NS;
		const uint64_t until = k->until_ns > soon && others_wait(k) ? soon : k->until_ns;

		if (now >= until)
			return -ETIMEDOUT;
		k->wire.patience_ns = until - now < LOOK_NS ? until - now : LOOK_NS;
		got = k->from_wire.get(k->from_wire.from, bytes, most);
	} while (got == -ETIMEDOUT);
	return got;
}

/* A wire that is given up reads on for a while, but GO must not come then. */
static ssize_t get(void *from, void *bytes, size_t most)
{
	struct talk *k = from;
	ssize_t got = k->until_ns ? get_in_time(k, bytes, most)
				  : k->from_wire.get(k->from_wire.from, bytes, most);

	if (got >= 0 && __atomic_load_n(k->wire.give_up, __ATOMIC_SEQ_CST))
		return -ECANCELED;
	if (got > 0)
		__atomic_fetch_add(&k->come_bytes, (uint64_t)got, __ATOMIC_RELAXED);
	return got;
}

static int read_host(const struct talk *k, struct hosts_reading *ret_reading, struct why *why)
{
	int result = k->config->read_host(k->config->owner, ret_reading);

	return result < 0 ? why_set(why, result, "%s: this host's clocks cannot be read", name(k))
			  : 0;
}

static int unexpected(const struct talk *k, const struct stream_section *s, struct why *why)
{
	char buf[32], text[MESSAGE_TEXT + 1];
	int result;

	if (s->type != MESSAGE_CANCEL)
		return why_set(why, -EINVAL, "%s: %s was said at a wrong time", name(k),
			       message_name(s->type, buf));
	result = message_text(&k->reader, s, text, why);
	return result < 0 ? result
			  : why_set(why, -ECANCELED, "%s: the source gave it up: %s", name(k),
				    text[0] ? text : "it did not say why");
}

static bool known(const struct stream_section *s)
{
	return s->type == STREAM_MEMORY || state_knows(s) ||
	       (s->type >= MESSAGE_HELLO && s->type <= MESSAGE_CANCEL);
}

/* The next section that is known. */
static int next(struct talk *k, struct stream_section *ret_section, struct why *why)
{
	int result;

	do {
		result = stream_next(&k->reader, ret_section, why);
		if (result < 0)
			return result;
		if (result == 0)
			return why_set(why, -EINVAL, "%s: the source has ended it", name(k));
		if (known(ret_section))
			return 0;
		result = stream_unknown(&k->reader, ret_section, why);
	} while (result == 0);
	return result;
}

/* The word that must come now. */
static int hear(struct talk *k, enum message_type type, struct stream_section *ret_section,
		struct why *why)
{
	int result = next(k, ret_section, why);

	if (result < 0)
		return result;
	return ret_section->type == (uint32_t)type ? 0 : unexpected(k, ret_section, why);
}

static int hear_hello(struct talk *k, struct message_hello *hello, struct why *why)
{
	const struct guest_memory *m = k->config->memory;
	struct stream_section s;
	int result = hear(k, MESSAGE_HELLO, &s, why);

	if (result == 0)
		result = message_hello(&k->reader, &s, hello, why);
	if (result < 0)
		return result;
	if (hello->low_size == m->low_size && hello->high_size == m->high_size)
		return 0;
	k->unfit = true;
	return why_set(why, -EXDEV,
		       "%s: that machine has %" PRIu64 " KiB of memory and this one %" PRIu64
		       " (give --memory as it is there)",
		       name(k), (hello->low_size + hello->high_size) / 1024,
		       (m->low_size + m->high_size) / 1024);
}

/* MACHINE and FEATURES, up to ASK. */
static int hear_description(struct talk *k, struct vmstate_parts *d, struct why *why)
{
	struct stream_section s;
	int result;

	while ((result = next(k, &s, why)) == 0) {
		if (s.type == MESSAGE_ASK)
			break;
		if (s.type != STREAM_STATE + VMSTATE_MACHINE &&
		    s.type != STREAM_STATE + VMSTATE_FEATURES)
			return unexpected(k, &s, why);
		result = state_take(&k->reader, &s, d, why);
		if (result == 0 && d->bytes > DESCRIPTION_BYTES_MAX)
			result = why_set(why, -EINVAL, "%s: has more state than any machine",
					 name(k));
		if (result < 0)
			return result;
	}
	if (result == 0)
		result = message_word(&k->reader, &s, why);
	if (result == 0 && (!vmstate_parts_find(d, VMSTATE_MACHINE, 0) ||
			    !vmstate_parts_find(d, VMSTATE_FEATURES, 0)))
		result = why_set(why, -EINVAL, "%s: it was not said what machine it is", name(k));
	return result;
}

/* All that it asks, by the time by which it must have. */
static int hear_ask(struct talk *k, struct why *why)
{
	struct vmstate_parts description = {0};
	struct message_hello hello;
	int result = hear_hello(k, &hello, why);

	if (result == 0)
		result = hear_description(k, &description, why);
	if (result == 0)
		result = read_host(k, &k->asked, why);
	if (result < 0) {
		vmstate_parts_free(&description);
		return result;
	}
	vmstate_parts_free(&k->description);
	k->description = description;
	k->hello = hello;
	return 0;
}

/* READY, or what the owner does not like. */
static int answer(struct talk *k, struct why *why)
{
	int result = k->owner.question(k->owner.owner, MIGRATE_TARGET_ASKED, why);

	k->unfit = result < 0;
	begin_patience(k);
	if (result == 0)
		result = read_host(k, &k->answered, why);
	if (result == 0)
		result = message_put_ready(&k->writer, &k->asked, &k->answered, why);
	if (result == 0)
		__atomic_store_n(&k->ready_ns, hostclock_monotonic_ns(), __ATOMIC_SEQ_CST);
	return result;
}

/* A stall that the source sits out is sat out here too. */
static uint64_t patience_with(const struct talk *k)
{
	const uint64_t its_ns = k->hello.patience_ms * UINT64_C(1000000);

	return its_ns > k->config->patience_ns ? its_ns : k->config->patience_ns;
}

/* From here on it is that source, or none. */
static int hear_begin(struct talk *k, struct why *why)
{
	struct hosts_reading come;
	struct stream_section s;
	int result = hear(k, MESSAGE_BEGIN, &s, why);

	if (result == 0)
		result = message_begin(&k->reader, &s, &come, why);
	if (result < 0)
		return result;
	k->until_ns = 0;
	k->wire.patience_ns = patience_with(k);
	hosts_window(&k->hello.at, &k->asked, &k->answered, &come, &k->window);
	__atomic_store_n(&k->rounds, 1, __ATOMIC_RELAXED);
	k->owner.stage(k->owner.owner, MIGRATE_TARGET_ACTIVE);
	return 0;
}

int talk_begin(struct talk *k, int fd, struct why *why)
{
	const struct migrate_target_config *c = k->config;
	const struct stream_source source = {.get = get, .from = k, .live = true};
	struct stream_sink sink;
	int result;

	__atomic_store_n(&k->come_bytes, 0, __ATOMIC_RELAXED);
	wire_init(&k->wire, fd, c->patience_ns, k->owner.give_up);
	k->from_wire = wire_source(&k->wire);
	sink = wire_sink(&k->wire);
	k->unfit = false;
	begin_patience(k);
	result = stream_begin(&k->writer, &sink, k->names[TALK_ASKS], why);
	if (result == 0)
		result = stream_open(&k->reader, &source, k->names[TALK_ASKS], why);
	k->reads = result == 0;
	if (result == 0)
		result = hear_ask(k, why);
	if (result == 0)
		result = answer(k, why);
	return result < 0 ? result : hear_begin(k, why);
}

static bool has_time(const struct vmstate_parts *state)
{
	for (int i = 0; i < TIME_KINDS; i++)
		if (!vmstate_parts_find(state, time_kinds[i], 0))
			return false;
	return true;
}

static int take_state(struct talk *k, const struct stream_section *s, struct why *why)
{
	if (state_knows(s))
		now_does(k, TALK_STATE);
	return state_take(&k->reader, s, &k->state, why);
}

static int begin_round(struct talk *k, const struct stream_section *s, struct why *why)
{
	struct message_round round;
	int result = message_round(&k->reader, s, &round, why);

	if (result < 0)
		return result;
	if (round.number != k->rounds + 1)
		return why_set(why, -EINVAL, "%s: round %" PRIu32 " came where %" PRIu32 " should",
			       name(k), round.number, k->rounds + 1);
	__atomic_store_n(&k->rounds, round.number, __ATOMIC_RELAXED);
	__atomic_store_n(&k->remaining_bytes, round.remaining_bytes, __ATOMIC_RELAXED);
	return 1;
}

static int whole(struct talk *k, const struct stream_section *s, struct why *why)
{
	int result = message_word(&k->reader, s, why);

	if (result < 0)
		return result;
	if (!has_time(&k->state))
		return why_set(why, -EINVAL, "%s: its clocks have not come (try again)", name(k));
	return 1;
}

static int other(void *owner, const struct stream_section *s, struct why *why)
{
	struct talk *k = owner;

	k->ended_by = s->type;
	if (s->type == MESSAGE_ROUND)
		return begin_round(k, s, why);
	if (s->type == MESSAGE_WHOLE)
		return whole(k, s, why);
	if (s->type >= STREAM_STATE)
		return take_state(k, s, why);
	return known(s) ? unexpected(k, s, why) : stream_unknown(&k->reader, s, why);
}

static int take_all(struct talk *k, struct why *why)
{
	int result;

	do {
		result = taker_round(k->taker, &k->reader, why);
	} while (result > 0 && k->ended_by != MESSAGE_WHOLE);
	if (result == 0)
		return why_set(why, -EINVAL, "%s: the source has ended it", name(k));
	return result < 0 ? result : taker_complete(k->taker, name(k), why);
}

/* All of it, up to GO.  From then on nothing that happens to the connection matters. */
static int take_over(struct talk *k, struct why *why)
{
	struct stream_section s;
	int result;

	now_does(k, TALK_MEMORY);
	result = take_all(k, why);
	if (result == 0)
		result = k->owner.question(k->owner.owner, MIGRATE_TARGET_WHOLE, why);
	if (result == 0)
		result = message_put_word(&k->writer, MESSAGE_LOADED, why);
	if (result < 0)
		return result;
	now_does(k, TALK_GO);
	k->owner.stage(k->owner.owner, MIGRATE_TARGET_LOADED);
	result = hear(k, MESSAGE_GO, &s, why);
	return result < 0 ? result : message_word(&k->reader, &s, why);
}

/* The source is told that it runs; whether it hears it is another thing.  *why stays empty when it
 * did, or when nobody here waited for its word. */
static void tell(struct talk *k, struct why *why)
{
	struct stream_section s;
	int result;

	if (k->wire.patience_ns > PART_NS)
		k->wire.patience_ns = PART_NS;
	result = message_put_word(&k->writer, MESSAGE_RUNNING, why);
	if (result < 0)
		return;
	k->wire.give_up = k->owner.give_up;
	k->wire.read_until_ns = wire_until(k->wire.patience_ns);
	result = stream_next(&k->reader, &s, why);
	if (result > 0)
		unexpected(k, &s, why);
	else if (result == -ECANCELED)
		why->text[0] = '\0';
	else if (result == 0)
		stream_end(&k->writer, NULL);
}

int talk_go_on(struct talk *k, struct why *why)
{
	static const bool never;
	int result = take_over(k, why);

	if (result < 0)
		return result;
	k->wire.give_up = &never;
	now_does(k, TALK_RUNNING);
	result = k->owner.question(k->owner.owner, MIGRATE_TARGET_GO, why);
	if (result == 0)
		tell(k, why);
	return result;
}

void talk_end(struct talk *k, const char *why)
{
	const uint64_t patience_ns =
		k->ready_ns ? k->config->patience_ns : k->config->hello_patience_ns;

	if (why)
		door_see_off(&k->wire, &k->writer, why, patience_ns);
	wire_close(&k->wire);
	if (k->reads)
		stream_close(&k->reader);
	k->reads = false;
}

void talk_stats(struct talk *k, uint64_t now_ns, struct migrate_target_stats *ret_stats)
{
	const uint64_t ready_ns = __atomic_load_n(&k->ready_ns, __ATOMIC_SEQ_CST);

	*ret_stats = (struct migrate_target_stats){
		.come_bytes = __atomic_load_n(&k->come_bytes, __ATOMIC_RELAXED),
		.remaining_bytes = __atomic_load_n(&k->remaining_bytes, __ATOMIC_RELAXED),
		.rounds = __atomic_load_n(&k->rounds, __ATOMIC_RELAXED),
		.total_ns = ready_ns ? now_ns - ready_ns : 0,
	};
	taker_stats(k->taker, &ret_stats->image);
}
