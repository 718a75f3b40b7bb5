/* SPDX-License-Identifier: Apache-2.0 */
/* migrate_fuzz.c - any bytes as what the source of a live migration says, or as what its target
 * does.
 *
 * The first byte's lowest bit: checksums and numbers are made right first.  The next: whose words
 * they are, 0 the source's.  The next two: which question the target's owner says no to, if any.
 * The next: the target's memory is one piece. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "move/migrate_talk.h"
#include "stream_seal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { PAGE = 4096, LOW = 16 << 20, HIGH_PAGES = 5 };

#define PATIENCE_NS UINT64_C(100000000)

struct owner {
	enum migrate_target_stage at, refuses;
};

static const enum migrate_target_stage refusals[] = {
	MIGRATE_TARGET_LISTENS, /* none */
	MIGRATE_TARGET_ASKED,
	MIGRATE_TARGET_WHOLE,
	MIGRATE_TARGET_GO,
};

/* Forward, none twice, and no question left out. */
static void on_stage(void *owner, enum migrate_target_stage stage)
{
	struct owner *o = owner;

	if (stage != o->at + 1)
		abort();
	o->at = stage;
}

static int on_question(void *owner, enum migrate_target_stage stage, struct why *why)
{
	struct owner *o = owner;

	on_stage(owner, stage);
	return o->refuses == stage ? why_set(why, -EIO, "input: no") : 0;
}

static int read_host(void *owner, struct hosts_reading *ret_reading)
{
	(void)owner;
	*ret_reading = (struct hosts_reading){.utc_ns = INT64_C(1700000000000000000)};
	return 0;
}

/* The high piece is the heap's, so that a sanitizer sees the first byte beyond. */
static const struct guest_memory *memory(bool one_piece)
{
	static struct guest_memory one, two;

	if (!one.low) {
		if (memory_create(LOW, &one, NULL) < 0)
			abort();
		two = one;
		two.high_size = HIGH_PAGES * PAGE;
		two.high = malloc(two.high_size);
		if (!two.high)
			abort();
	}
	return one_piece ? &one : &two;
}

/* All that a source takes apart. */
static void hear(const struct stream_reader *r, const struct stream_section *s)
{
	struct hosts_reading a, b;
	struct message_hello hello;
	struct message_round round;
	char text[MESSAGE_TEXT + 1], name[32];
	struct why why;

	(void)message_hello(r, s, &hello, &why);
	(void)message_ready(r, s, &a, &b, &why);
	(void)message_begin(r, s, &a, &why);
	(void)message_round(r, s, &round, &why);
	(void)message_word(r, s, &why);
	if (message_text(r, s, text, &why) == 0)
		for (const char *c = text; *c; c++)
			if (*c < ' ' || *c > '~')
				abort();
	if (!message_name(s->type, name)[0])
		abort();
}

/* What a target says; *ret_last: its last word. */
static int hear_all(int fd, uint32_t *ret_last)
{
	static const bool never;
	struct wire w;
	struct stream_source source;
	struct stream_reader r;
	struct stream_section s;
	struct why why = {""};
	int result;

	*ret_last = 0;
	wire_init(&w, fd, PATIENCE_NS, &never);
	source = wire_source(&w);
	result = stream_open(&r, &source, "input", &why);
	if (result < 0)
		return result;
	while ((result = stream_next(&r, &s, &why)) > 0) {
		*ret_last = s.type;
		hear(&r, &s);
	}
	if (result == 0)
		*ret_last = STREAM_END;
	stream_close(&r);
	return result;
}

static void begin(struct talk *k, struct owner *o, bool one_piece,
		  struct migrate_target_config *config)
{
	static const bool never;
	const struct talk_owner owner = {on_stage, on_question, o, &never, -1};

	*config = (struct migrate_target_config){
		.name = "input",
		.memory = memory(one_piece),
		.hello_patience_ns = PATIENCE_NS,
		.patience_ns = PATIENCE_NS,
		.read_host = read_host,
	};
	if (talk_init(k, config, &owner, NULL) < 0)
		abort();
}

/* The source's bytes wait in the socket already. */
static void talk_with(int fd, int source, enum migrate_target_stage refuses, bool one_piece)
{
	struct owner o = {MIGRATE_TARGET_LISTENS, refuses};
	struct migrate_target_config config;
	struct talk k = {0};
	struct why why = {""};
	uint32_t last;
	int result;

	begin(&k, &o, one_piece, &config);
	result = talk_begin(&k, fd, &why);
	if (result == 0)
		result = talk_go_on(&k, &why);
	if (result > 0 || (result < 0 && strncmp(why.text, "input: ", 7) != 0))
		abort();
	if (result == 0 && o.at != MIGRATE_TARGET_GO)
		abort();
	talk_end(&k, result < 0 ? why.text : NULL);
	hear_all(source, &last);
	if (result < 0 ? last != MESSAGE_FAILED : last != MESSAGE_RUNNING && last != STREAM_END)
		abort();
	talk_free(&k);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	int fds[2];
	uint8_t *bytes;
	uint32_t last;

	if (size < 1 || size > 65536)
		return 0;
	bytes = malloc(size);
	if (!bytes || socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds) < 0)
		abort();
	memcpy(bytes, data + 1, size - 1);
	if (data[0] & 1)
		seal_stream(bytes, size - 1);
	if (send(fds[1], bytes, size - 1, MSG_NOSIGNAL) != (ssize_t)(size - 1) ||
	    shutdown(fds[1], SHUT_WR) < 0)
		abort();
	if (data[0] & 2) {
		hear_all(fds[0], &last);
		close(fds[0]);
	} else {
		talk_with(fds[0], fds[1], refusals[data[0] >> 2 & 3], data[0] & 16);
	}
	close(fds[1]);
	free(bytes);
	return 0;
}
