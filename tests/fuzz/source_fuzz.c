/* SPDX-License-Identifier: Apache-2.0 */
/* source_fuzz.c - any bytes as what the target of a live migration says to its source.
 *
 * The first byte's lowest bit: checksums and numbers are made right first.  Then three lengths, 2
 * bytes each, little-endian: what is said when the target is asked, when memory begins, and when
 * all has come; what is left is said when it is told to go.  It says no more after the last of
 * these.  The machine is the source's in the end unless GO was written. */
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "move/message.h"
#include "move/migrate_source.h"
#include "move/wire.h"
#include "quiet_log.h"
#include "stream_seal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { LEAST = 16 << 20, SIZE = 1 << 18, PIECES = 4, HEAD = 1 + 2 * (PIECES - 1) };

/* For one that waits for more: whatever comes of it, it is one of the ends that are allowed. */
#define PATIENCE_NS UINT64_C(5000000)
#define DOWNTIME_NS UINT64_C(60000000000)

struct target {
	int listener;
	const uint8_t *piece[PIECES];
	size_t length[PIECES];
	bool told; /* GO has come */
};

static void say(int fd, const struct target *t, int piece)
{
	size_t sent = 0;

	while (sent < t->length[piece]) {
		ssize_t n = send(fd, t->piece[piece] + sent, t->length[piece] - sent, MSG_NOSIGNAL);

		if (n < 0)
			return; /* the source has heard enough */
		sent += (size_t)n;
	}
}

static bool is_last(const struct target *t, int piece)
{
	while (++piece < PIECES)
		if (t->length[piece])
			return false;
	return true;
}

static void answer(int fd, struct target *t, uint32_t type)
{
	static const uint32_t when[PIECES] = {MESSAGE_ASK, MESSAGE_BEGIN, MESSAGE_WHOLE,
					      MESSAGE_GO};

	t->told |= type == MESSAGE_GO;
	for (int i = 0; i < PIECES; i++) {
		if (type != when[i])
			continue;
		say(fd, t, i);
		if (is_last(t, i))
			shutdown(fd, SHUT_WR);
	}
}

static void *be_target(void *arg)
{
	static const bool never;
	struct target *t = arg;
	struct pollfd p = {.fd = t->listener, .events = POLLIN};
	struct stream_source source;
	struct stream_reader r;
	struct stream_section s;
	struct wire w;

	if (poll(&p, 1, 60000) != 1)
		abort();
	wire_init(&w, accept(t->listener, NULL, NULL), UINT64_MAX, &never);
	source = wire_source(&w);
	if (stream_open(&r, &source, "source", NULL) == 0) {
		while (stream_next(&r, &s, NULL) > 0)
			answer(w.fd, t, s.type);
		stream_close(&r);
	}
	wire_close(&w);
	return NULL;
}

static int read_host(void *owner, struct hosts_reading *ret_reading)
{
	(void)owner;
	*ret_reading = (struct hosts_reading){.utc_ns = INT64_C(1700000000000000000)};
	return 0;
}

/* A machine that is memory, and the address of who takes it; for all runs. */
static struct machine {
	struct guest_memory memory;
	struct dirty dirty;
	struct vmstate_parts description;
	struct migrate_source_config config;
	int listener;
} m;

static void leave_nothing(void)
{
	close(m.listener);
	address_forget(&m.config.address);
}

static const struct machine *machine(void)
{
	const struct dirty_log log = quiet_log(&m.memory);
	static char name[64];

	if (m.memory.low)
		return &m;
	snprintf(name, sizeof(name), "unix:/tmp/vmtime-fuzz.%d", (int)getpid());
	if (memory_create(LEAST, &m.memory, NULL) < 0)
		abort();
	m.memory.low_size = SIZE; /* of which a round takes no time */
	if (dirty_init(&m.dirty, &m.memory, &log, NULL) < 0 ||
	    vmstate_parts_add(&m.description, VMSTATE_MACHINE, 1, 0, "machine", 7) < 0)
		abort();
	m.config = (struct migrate_source_config){.name = name,
						  .memory = &m.memory,
						  .dirty = &m.dirty,
						  .description = &m.description,
						  .read_host = read_host};
	if (address_parse(name, &m.config.address, NULL) < 0)
		abort();
	m.listener = address_listen(&m.config.address, NULL);
	if (m.listener < 0 || atexit(leave_nothing))
		abort();
	return &m;
}

/* Of what it stands for nobody looks at more than the kind. */
static void add(struct vmstate_parts *parts, uint32_t kind)
{
	if (vmstate_parts_add(parts, kind, 1, 0, "part", 4) < 0)
		abort();
}

static void stand_still(struct migrate_source *s)
{
	struct vmstate_parts time = {0}, state = {0};

	add(&time, VMSTATE_CLOCK);
	add(&time, VMSTATE_TSC);
	add(&time, VMSTATE_HOST);
	migrate_source_stands(s, &time);
	add(&state, VMSTATE_BOARD);
	migrate_source_state(s, &state);
}

static enum migrate_source_stage own(struct migrate_source *s, struct why *why)
{
	struct pollfd p = {.fd = migrate_source_fd(s), .events = POLLIN};
	enum migrate_source_stage stage;
	struct migrate_stats stats;
	bool stands = false;
	uint64_t count;

	while ((stage = migrate_source_stage(s)) < MIGRATE_SOURCE_COMPLETED) {
		if (stage == MIGRATE_SOURCE_HALT && !stands) {
			stands = true;
			stand_still(s);
		}
		if (poll(&p, 1, 60000) != 1)
			abort(); /* it has come to no end */
		(void)!read(p.fd, &count, sizeof(count));
	}
	return migrate_source_end(s, &stats, why);
}

static void check(const struct target *t, enum migrate_source_stage stage, const struct why *why)
{
	if (stage == MIGRATE_SOURCE_CANCELLED)
		abort();
	if (!t->told && stage != MIGRATE_SOURCE_FAILED)
		abort();
	if (t->told && stage == MIGRATE_SOURCE_FAILED &&
	    !strstr(why->text, "the other side has failed"))
		abort();
	for (const char *c = why->text; *c; c++)
		if (*c < ' ' || *c > '~')
			abort();
	if (stage != MIGRATE_SOURCE_COMPLETED && !why->text[0])
		abort();
}

/* The lengths are cut down to what is there. */
static void split(struct target *t, const uint8_t *head, const uint8_t *bytes, size_t size)
{
	for (int i = 0; i < PIECES; i++) {
		size_t length =
			i < PIECES - 1 ? (size_t)head[2 * i] | (size_t)head[2 * i + 1] << 8 : size;

		t->piece[i] = bytes;
		t->length[i] = length < size ? length : size;
		bytes += t->length[i];
		size -= t->length[i];
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct migrate_params params = {.downtime_limit_ns = DOWNTIME_NS,
					      .patience_ns = PATIENCE_NS};
	const struct machine *one = machine();
	struct target t = {.listener = one->listener};
	struct migrate_source *source;
	enum migrate_source_stage stage;
	struct why why = {""};
	pthread_t thread;
	uint8_t *bytes;

	if (size < HEAD || size > 16384)
		return 0;
	bytes = malloc(size);
	if (!bytes)
		abort();
	memcpy(bytes, data + HEAD, size - HEAD);
	if (data[0] & 1)
		seal_stream(bytes, size - HEAD);
	split(&t, data + 1, bytes, size - HEAD);
	if (pthread_create(&thread, NULL, be_target, &t) ||
	    migrate_source_begin(&one->config, &params, &source, NULL) < 0)
		abort();
	stage = own(source, &why);
	pthread_join(thread, NULL);
	check(&t, stage, &why);
	free(bytes);
	return 0;
}
