/* SPDX-License-Identifier: Apache-2.0 */
/* formats_test.c - a stored snapshot of each version of the format opens, and says what it said
 * when it was written.
 *
 * usage: formats_test FOLDER           the test
 *        formats_test --write FILE     writes one as this version does; for a new version only, for
 *                                      the bytes of zstd are another thing than what they mean */
#include "../machine_bench.h"

#include <stdio.h>

#include "kvm/vmstate_cpu.h"
#include "move/sample.h"
#include "move/snapshot.h"

enum { PAGE = 4096, SIZE = BENCH_SIZE };

static const char *folder;

static int write_one(const char *path)
{
	struct vmstate_parts state = bench_save(bench_new());
	struct image_stats stats;
	struct guest_memory m;
	struct why why;

	if (memory_create(SIZE, &m, &why) < 0)
		return 1;
	sample_fill(&m, "vmtime snapshot");
	if (snapshot_save(path, &state, &m, NULL, &stats, &why) < 0) {
		fprintf(stderr, "%s\n", why.text);
		return 1;
	}
	return 0;
}

/* Byte by byte what is written today: while a part keeps its version, its layout stays as well. */
static void same(const struct vmstate_parts *a, const struct vmstate_parts *b)
{
	assert_int_equal(a->n, b->n);
	for (uint32_t i = 0; i < a->n; i++) {
		const struct vmstate_part *x = &a->parts[i];
		const struct vmstate_part *y = vmstate_parts_find(b, x->kind, x->index);

		assert_non_null(y);
		assert_int_equal(x->version, y->version);
		if (x->length != y->length || memcmp(x->bytes, y->bytes, x->length) != 0)
			fail_msg("kind %u, index %u has another layout", x->kind, x->index);
	}
}

/* It is such a machine's, and has every kind of part. */
static void understood(struct machine *m, const struct vmstate_parts *state)
{
	static const struct vmstate_cpu_ours ours = {.kvm_clock = true, .steal = true};
	struct why why = {""};

	m->incoming = state;
	if (vmstate_check(m->config, m->incoming, &why) < 0)
		fail_msg("%s", why.text);
	for (uint32_t kind = 0; kind <= VMSTATE_CPU; kind++)
		assert_non_null(vmstate_parts_find(state, kind, 0));
	for (uint32_t cpu = 0; cpu < BENCH_CPUS; cpu++) {
		struct vmstate_cpu s;

		if (vmstate_cpu_parse(vmstate_parts_find(state, VMSTATE_CPU, cpu), &ours, &s, &why))
			fail_msg("%s", why.text);
	}
}

static void opens(const char *name)
{
	struct guest_memory expected, m;
	struct machine *machine = bench_new();
	struct vmstate_parts today = bench_save(machine);
	struct image_stats stats;
	struct snapshot *s;
	struct why why = {""};
	char path[4096];

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	assert_int_equal(memory_create(SIZE, &expected, NULL), 0);
	assert_int_equal(memory_create(SIZE, &m, NULL), 0);
	sample_fill(&expected, "vmtime snapshot");
	if (snapshot_open(path, &s, &why) < 0)
		fail_msg("%s", why.text);
	same(snapshot_state(s), &today);
	understood(machine, snapshot_state(s));
	if (snapshot_memory(s, &m, &stats, &why) < 0)
		fail_msg("%s", why.text);
	assert_memory_equal(m.low, expected.low, SIZE);
	assert_int_equal(stats.pages, SIZE / PAGE);
	assert_int_equal(stats.zero_pages, SIZE / PAGE - 4);
	snapshot_close(s);
	vmstate_parts_free(&today);
	bench_free(machine);
	memory_destroy(&m);
	memory_destroy(&expected);
}

static void version_1_opens(void **state)
{
	(void)state;
	opens("format-1.vmt");
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(version_1_opens),
	};

	if (argc == 3 && strcmp(argv[1], "--write") == 0)
		return write_one(argv[2]);
	if (argc != 2)
		return 2;
	folder = argv[1];
	return cmocka_run_group_tests(tests, NULL, NULL);
}
