/* SPDX-License-Identifier: Apache-2.0 */
/* streams_test.c - what a migration's source of each version has said is taken in, and is what it
 * was when it was said.
 *
 * usage: streams_test FOLDER           the test
 *        streams_test --write FILE     has a source of this version say it; for a new one only */
#include "../machine_bench.h"

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>

#include "host/hostclock.h"
#include "kvm/vmstate_features.h"
#include "move/migrate_source.h"
#include "move/migrate_target.h"
#include "move/sample.h"
#include "quiet_log.h"
#include "unit/folder.h"
#include "unit/migrate_proxy.h"

enum { PAGE = 4096, SIZE = BENCH_SIZE, BECOMES_ZERO = 700 };

#define PATIENCE_NS UINT64_C(20000000000)

static const char *samples;
static const struct vmstate_cpu_ours ours = {.kvm_clock = true, .steal = true};

static int read_host(void *owner, struct hosts_reading *ret_reading)
{
	(void)owner;
	*ret_reading = (struct hosts_reading){
		.tsc = 77,
		.tsc_khz = 2500000,
		.tai_s = 37,
		.utc_ns = INT64_C(1750000000000000000),
		.bound_ns = 1000,
		.synchronized = true,
	};
	return 0;
}

static struct vmstate_parts describe(struct machine *m, const struct vmstate_parts *state)
{
	const struct vmstate_part *p = vmstate_parts_find(state, VMSTATE_MACHINE, 0);
	struct vmstate_parts description = {0};
	struct why why = {""};

	assert_int_equal(vmstate_parts_add(&description, VMSTATE_MACHINE, p->version, 0, p->bytes,
					   p->length),
			 0);
	if (vmstate_features_save(&m->vm, &m->vcpus[0], &ours, &description, &why) < 0)
		fail_msg("%s", why.text);
	return description;
}

/* The stop's instant is the machine's; what the kernel says of its clock differs from host to
 * host. */
static void settle_host(struct vmstate_parts *time)
{
	struct hosts_reading reading;

	for (uint32_t i = 0; i < time->n; i++) {
		if (time->parts[i].kind != VMSTATE_HOST)
			continue;
		assert_int_equal(hosts_get(time->parts[i].bytes, &reading), 0);
		reading.tai_s = 37;
		reading.bound_ns = 1000;
		reading.synchronized = true;
		reading.leap = false;
		hosts_put(&reading, time->parts[i].bytes);
	}
}

static struct vmstate_parts save_time(struct machine *m)
{
	struct vmstate_parts time = {0};
	struct why why = {""};

	if (vmstate_save_time(m, &time, &why) < 0)
		fail_msg("%s", why.text);
	settle_host(&time);
	return time;
}

/* The owner of a target does what it is asked. */
static void agree(struct migrate_target *t)
{
	switch (migrate_target_stage(t)) {
	case MIGRATE_TARGET_ASKED:
		migrate_target_prepared(t, 0, NULL);
		break;
	case MIGRATE_TARGET_WHOLE:
		migrate_target_loaded(t, 0, NULL);
		break;
	case MIGRATE_TARGET_GO:
		migrate_target_running(t, 0, NULL);
		break;
	default:
		break;
	}
	poll(NULL, 0, 1);
}

static void on_turned_away(void *owner, bool unfit, const char *why)
{
	(void)owner;
	(void)unfit;
	fprintf(stderr, "# %s\n", why);
	abort(); /* in a thread that no test can fail from */
}

static struct migrate_target *begin_target(const char *name, const struct guest_memory *memory)
{
	struct migrate_target_config config = {
		.name = name,
		.memory = memory,
		.hello_patience_ns = PATIENCE_NS,
		.patience_ns = PATIENCE_NS,
		.read_host = read_host,
		.turned_away = on_turned_away,
	};
	struct migrate_target *t;
	struct why why = {""};

	assert_int_equal(address_parse(name, &config.address, &why), 0);
	if (migrate_target_begin(&config, &t, &why) < 0)
		fail_msg("%s", why.text);
	return t;
}

/* Byte by byte what is said today: while a part keeps its version, its layout stays as well. */
static void same(const struct vmstate_parts *a, const struct vmstate_parts *b)
{
	for (uint32_t i = 0; i < b->n; i++) {
		const struct vmstate_part *y = &b->parts[i];
		const struct vmstate_part *x = vmstate_parts_find(a, y->kind, y->index);

		assert_non_null(x);
		assert_int_equal(x->version, y->version);
		if (x->length != y->length || memcmp(x->bytes, y->bytes, x->length) != 0)
			fail_msg("kind %u, index %u has another layout", x->kind, x->index);
	}
}

static struct address address_of(const char *name)
{
	struct address a;

	assert_int_equal(address_parse(name, &a, NULL), 0);
	return a;
}

static void send_file(const char *path, int to)
{
	static uint8_t bytes[1 << 16];
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t got = read(fd, bytes, sizeof(bytes));

	assert_in_range(got, 1, sizeof(bytes) - 1);
	close(fd);
	assert_int_equal(send(to, bytes, (size_t)got, MSG_NOSIGNAL), got);
}

/* All that a target's owner looks at, at the stage at which it does. */
static void is_what_was_said(struct migrate_target *t, struct machine *m,
			     const struct guest_memory *memory)
{
	struct vmstate_parts today = bench_save(m), time = save_time(m);
	struct vmstate_parts description = describe(m, &today);
	struct guest_memory expected;
	struct migrate_target_stats stats;
	struct why why = {""};

	same(migrate_target_description(t), &description);
	same(migrate_target_state(t), &today);
	same(migrate_target_state(t), &time);
	assert_int_equal(migrate_target_description(t)->n, description.n);
	assert_int_equal(migrate_target_state(t)->n, today.n + 1); /* HOST */
	if (vmstate_check(m->config, migrate_target_description(t), &why) < 0)
		fail_msg("%s", why.text);
	assert_int_equal(memory_create(SIZE, &expected, NULL), 0);
	sample_fill(&expected, "vmtime migration");
	assert_memory_equal(memory->low, expected.low, SIZE);
	migrate_target_stats(t, &stats);
	assert_int_equal(stats.rounds, 2);
	memory_destroy(&expected);
	vmstate_parts_free(&today);
	vmstate_parts_free(&time);
	vmstate_parts_free(&description);
}

static void is_taken_in(const char *file)
{
	struct folder folder = folder_new();
	struct machine *machine = bench_new();
	struct guest_memory memory;
	struct migrate_target *t;
	struct why why = {""};
	struct address address;
	char name[96], path[4096];
	bool looked = false;
	int fd;

	snprintf(name, sizeof(name), "unix:%s", folder.file);
	snprintf(path, sizeof(path), "%s/%s", samples, file);
	assert_int_equal(memory_create(SIZE, &memory, NULL), 0);
	t = begin_target(name, &memory);
	address = address_of(name);
	fd = address_connect(&address, PATIENCE_NS, &proxy_never, &why);
	assert_true(fd >= 0);
	send_file(path, fd);
	while (migrate_target_stage(t) < MIGRATE_TARGET_DONE) {
		if (migrate_target_stage(t) == MIGRATE_TARGET_WHOLE && !looked) {
			is_what_was_said(t, machine, &memory);
			looked = true;
		}
		agree(t);
	}
	if (migrate_target_end(t, &why) != MIGRATE_TARGET_DONE || why.text[0] || !looked)
		fail_msg("%s", why.text);
	close(fd);
	memory_destroy(&memory);
	bench_free(machine);
	folder_remove(&folder);
}

static void what_a_source_of_version_1_says_is_taken_in(void **state)
{
	(void)state;
	is_taken_in("migrate-1.bin");
}

static struct migrate_source *begin_source(const char *name, const struct guest_memory *memory,
					   struct dirty *dirty,
					   const struct vmstate_parts *description)
{
	const struct migrate_params params = {
		.downtime_limit_ns = PATIENCE_NS, .patience_ns = PATIENCE_NS, .compress = true};
	struct migrate_source_config config = {
		.address = address_of(name),
		.name = name,
		.memory = memory,
		.dirty = dirty,
		.description = description,
		.read_host = read_host,
	};
	struct migrate_source *s;

	assert_int_equal(migrate_source_begin(&config, &params, &s, NULL), 0);
	return s;
}

/* It stands still, and has written two pages since they were sent: one has become zero. */
static void hand_over(struct migrate_source *s, struct machine *m, struct guest_memory *memory,
		      struct dirty *dirty)
{
	struct vmstate_parts time = save_time(m), state = bench_save(m);

	sample_fill(memory, "vmtime migration");
	memset(memory->low + (size_t)BECOMES_ZERO * PAGE, 0, PAGE);
	dirty_written(dirty, PAGE, PAGE);
	dirty_written(dirty, (uint64_t)BECOMES_ZERO * PAGE, PAGE);
	migrate_source_stands(s, &time);
	migrate_source_state(s, &state);
}

static int write_one(const char *path)
{
	struct folder folder = folder_new();
	struct machine *machine = bench_new();
	struct vmstate_parts state = bench_save(machine), description = describe(machine, &state);
	struct proxy proxy = {.record = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644)};
	struct guest_memory from, to;
	const struct dirty_log log = quiet_log(&from);
	struct migrate_source *s;
	struct migrate_target *t;
	struct dirty dirty;
	struct why why = {""};
	char here[128], there[128];
	bool halted = false;

	snprintf(here, sizeof(here), "unix:%s", folder.file);
	snprintf(there, sizeof(there), "unix:%s", folder.partial);
	if (proxy.record < 0 || memory_create(SIZE, &from, NULL) < 0 ||
	    memory_create(SIZE, &to, NULL) < 0 || dirty_init(&dirty, &from, &log, NULL) < 0)
		return 1;
	sample_fill(&from, "vmtime migration");
	memset(from.low + PAGE, 1, PAGE);
	memset(from.low + (size_t)BECOMES_ZERO * PAGE, 1, PAGE);
	t = begin_target(there, &to);
	proxy.here = address_of(here);
	proxy.there = address_of(there);
	assert_int_equal(proxy_begin(&proxy), 0);
	s = begin_source(here, &from, &dirty, &description);
	while (migrate_source_stage(s) < MIGRATE_SOURCE_COMPLETED ||
	       migrate_target_stage(t) < MIGRATE_TARGET_DONE) {
		if (migrate_source_stage(s) == MIGRATE_SOURCE_HALT && !halted) {
			halted = true;
			hand_over(s, machine, &from, &dirty);
		}
		agree(t);
	}
	proxy_end(&proxy);
	close(proxy.record);
	migrate_target_end(t, NULL);
	folder_remove(&folder);
	return migrate_source_end(s, &(struct migrate_stats){0}, &why) != MIGRATE_SOURCE_COMPLETED;
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_a_source_of_version_1_says_is_taken_in),
	};

	if (argc == 3 && strcmp(argv[1], "--write") == 0)
		return write_one(argv[2]);
	if (argc != 2)
		return 2;
	samples = argv[1];
	return cmocka_run_group_tests(tests, NULL, NULL);
}
