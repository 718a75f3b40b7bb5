/* SPDX-License-Identifier: Apache-2.0 */
/* link_bench.c - one migration of a machine that is nothing but memory, over a link: its source is
 * here and its target in another network namespace of this host, both in this process.
 *
 *     link_bench NAMESPACE ADDRESS HOT_PAGES
 *
 * NAMESPACE is a file of the target's, ADDRESS where it listens.  Of PAGES, all with something in
 * them, so many are written again and again.  Prints for how long it was expected to stand still
 * when it stood, for how long it did by the source, until RUNNING came, and until it ran: status 0.
 * 1: it did not migrate, with why. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "host/hostclock.h"
#include "migrate_machines.h"
#include "move/migrate_source.h"
#include "move/migrate_target.h"

#define MS UINT64_C(1000000)

enum { PAGES = 1024, LIMIT_MS = 300, PATIENCE_MS = 30000 };

struct bench {
	const char *namespace, *name;
	struct address address;
	struct fake_machine *machine;
	struct vmstate_parts description;
	struct migrate_source *source;
	struct migrate_target *target;
	enum migrate_source_stage s;
	enum migrate_target_stage t;
	uint64_t expected_ns, stood_ns, ran_ns;
	struct migrate_stats stats;
	struct why s_why, t_why;
};

static int read_host(void *owner, struct hosts_reading *ret_reading)
{
	(void)owner;
	*ret_reading = (struct hosts_reading){.tai_s = 37, .utc_ns = hostclock_realtime_ns()};
	return 0;
}

static void enter(int namespace)
{
	if (setns(namespace, CLONE_NEWNET) == 0)
		return;
	fprintf(stderr, "link_bench: no way into the target's network: %s\n", strerror(errno));
	exit(2);
}

/* A socket stays in the network in which it was made. */
static int begin_target(struct bench *b)
{
	const struct migrate_target_config config = {
		.address = b->address,
		.name = b->name,
		.memory = &b->machine->target,
		.hello_patience_ns = PATIENCE_MS * MS,
		.patience_ns = PATIENCE_MS * MS,
		.read_host = read_host,
	};
	const int here = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	const int there = open(b->namespace, O_RDONLY | O_CLOEXEC);
	int result;

	enter(there);
	result = migrate_target_begin(&config, &b->target, &b->t_why);
	enter(here);
	close(there);
	close(here);
	return result;
}

static int begin_source(struct bench *b)
{
	const struct migrate_params params = {
		.downtime_limit_ns = LIMIT_MS * MS,
		.patience_ns = PATIENCE_MS * MS,
	};
	const struct migrate_source_config config = {
		.address = b->address,
		.name = b->name,
		.memory = &b->machine->source,
		.dirty = &b->machine->dirty,
		.description = &b->description,
		.read_host = read_host,
	};

	return migrate_source_begin(&config, &params, &b->source, &b->s_why);
}

/* What its owner has to do is nothing, so that what it stands still for is the link. */
static void halt(struct bench *b)
{
	struct vmstate_parts time = {0}, state = {0};

	fake_stop(b->machine, AT_SOURCE);
	b->stood_ns = hostclock_monotonic_ns();
	migrate_source_stats(b->source, &b->stats);
	b->expected_ns = b->stats.expected_downtime_ns;
	fake_part(&time, VMSTATE_CLOCK, 0);
	fake_part(&time, VMSTATE_TSC, 0);
	fake_part(&time, VMSTATE_HOST, 0);
	migrate_source_stands(b->source, &time);
	fake_keep(b->machine);
	fake_part(&state, VMSTATE_BOARD, 0);
	fake_part(&state, VMSTATE_CPU, 0);
	migrate_source_state(b->source, &state);
}

/* Each stage once. */
static void act_at_source(struct bench *b)
{
	const enum migrate_source_stage s = migrate_source_stage(b->source);

	if (s == MIGRATE_SOURCE_HALT && b->s != s)
		halt(b);
	b->s = s;
}

static void run_here(struct bench *b)
{
	b->ran_ns = hostclock_monotonic_ns();
	fake_run(b->machine, AT_TARGET);
	migrate_target_running(b->target, 0, NULL);
}

static void act_at_target(struct bench *b)
{
	const enum migrate_target_stage t = migrate_target_stage(b->target);

	if (t == MIGRATE_TARGET_ASKED && b->t != t)
		migrate_target_prepared(b->target, 0, NULL);
	else if (t == MIGRATE_TARGET_WHOLE && b->t != t)
		migrate_target_loaded(b->target, 0, NULL);
	else if (t == MIGRATE_TARGET_GO && b->t != t)
		run_here(b);
	else if (t == MIGRATE_TARGET_LISTENS && b->s >= MIGRATE_SOURCE_COMPLETED)
		migrate_target_give_up(b->target); /* nobody else will come */
	b->t = t;
}

static bool is_over(const struct bench *b)
{
	return b->s >= MIGRATE_SOURCE_COMPLETED && b->t >= MIGRATE_TARGET_DONE;
}

static void migrate(struct bench *b)
{
	struct pollfd p[] = {{.fd = migrate_source_fd(b->source), .events = POLLIN},
			     {.fd = migrate_target_fd(b->target), .events = POLLIN}};
	uint64_t count;

	while (!is_over(b)) {
		poll(p, 2, 20);
		for (int i = 0; i < 2; i++)
			if (p[i].revents)
				(void)!read(p[i].fd, &count, sizeof(count));
		act_at_source(b);
		act_at_target(b);
	}
	b->s = migrate_source_end(b->source, &b->stats, &b->s_why);
	b->t = migrate_target_end(b->target, &b->t_why);
}

static int report(const struct bench *b)
{
	if (b->s != MIGRATE_SOURCE_COMPLETED) {
		fprintf(stderr, "%s\n", b->s_why.text);
		return 1;
	}
	if (!fake_is_as_it_was(b->machine, &b->machine->target)) {
		fprintf(stderr, "%s: the memory that came is another\n", b->name);
		return 2;
	}
	printf("expected_ns %" PRIu64 " downtime_ns %" PRIu64 " seen_ns %" PRIu64 "\n",
	       b->expected_ns, b->stats.downtime_ns, b->ran_ns - b->stood_ns);
	return 0;
}

static int run(struct bench *b, uint32_t hot)
{
	int result;

	b->machine = fake_new(PAGES, hot, 1);
	fake_part(&b->description, VMSTATE_MACHINE, 0);
	fake_part(&b->description, VMSTATE_FEATURES, 0);
	if (begin_target(b) < 0 || begin_source(b) < 0) {
		fprintf(stderr, "%s%s\n", b->s_why.text, b->t_why.text);
		return 2;
	}
	migrate(b);
	result = report(b);
	vmstate_parts_free(&b->description);
	fake_free(b->machine);
	return result;
}

int main(int argc, char **argv)
{
	struct bench b = {0};
	const int hot = argc == 4 ? atoi(argv[3]) : 0;

	if (hot < 1 || hot > PAGES || hot % 37 == 0) {
		fprintf(stderr,
			"link_bench NAMESPACE ADDRESS HOT_PAGES (1 to %d, no multiple of 37)\n",
			PAGES);
		return 2;
	}
	b.namespace = argv[1];
	b.name = argv[2];
	if (address_parse(b.name, &b.address, &b.s_why) < 0) {
		fprintf(stderr, "%s\n", b.s_why.text);
		return 2;
	}
	return run(&b, (uint32_t)hot);
}
