/* SPDX-License-Identifier: Apache-2.0 */
/* formats_test.c - a stored snapshot of each version of the format opens, and says what it said
 * when it was written.
 *
 * usage: formats_test FOLDER           the test
 *        formats_test --write FILE     writes one as this version does; for a new version only, for
 *                                      the bytes of zstd are another thing than what they mean */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "move/snapshot.h"

enum { PAGE = 4096, SIZE = 16 << 20, PARTS = 3 };

static const char *folder;

/* What is in it. */
static const struct vmstate_part parts[PARTS] = {
	{VMSTATE_CLOCK, 0, 1, 14, (uint8_t *)"virtual clock\n"},
	{VMSTATE_CPU, 0, 1, 0, (uint8_t *)""},
	{VMSTATE_CPU, 1, 1, 4, (uint8_t *)"\0\1\2\3"},
};

/* Page 0 is text, 1 a pattern, 300 and on noise that cannot be compressed; the last one has its
 * last byte. */
static void fill(struct guest_memory *m)
{
	uint64_t noise = 1;

	strcpy((char *)m->low, "vmtime snapshot");
	for (int i = 0; i < PAGE; i++)
		m->low[PAGE + i] = (uint8_t)(i * i);
	for (int i = 300 * PAGE; i < 301 * PAGE; i++) {
		noise = noise * UINT64_C(6364136223846793005) + 1;
		m->low[i] = (uint8_t)(noise >> 56);
	}
	m->low[SIZE - 1] = 0xff;
}

static int write_one(const char *path)
{
	struct vmstate_parts state = {0};
	struct image_stats stats;
	struct guest_memory m;
	struct why why;

	if (memory_create(SIZE, &m, &why) < 0)
		return 1;
	fill(&m);
	for (int i = 0; i < PARTS; i++)
		(void)vmstate_parts_add(&state, parts[i].kind, parts[i].version, parts[i].index,
					parts[i].bytes, parts[i].length);
	if (snapshot_save(path, &state, &m, &stats, &why) < 0) {
		fprintf(stderr, "%s\n", why.text);
		return 1;
	}
	return 0;
}

static void opens(const char *name)
{
	struct guest_memory expected, m;
	const struct vmstate_parts *state;
	struct image_stats stats;
	struct snapshot *s;
	struct why why = {""};
	char path[4096];

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	assert_int_equal(memory_create(SIZE, &expected, NULL), 0);
	assert_int_equal(memory_create(SIZE, &m, NULL), 0);
	fill(&expected);
	if (snapshot_open(path, &s, &why) < 0)
		fail_msg("%s", why.text);
	state = snapshot_state(s);
	assert_int_equal(state->n, PARTS);
	for (int i = 0; i < PARTS; i++) {
		const struct vmstate_part *p =
			vmstate_parts_find(state, parts[i].kind, parts[i].index);

		assert_non_null(p);
		assert_int_equal(p->version, parts[i].version);
		assert_int_equal(p->length, parts[i].length);
		assert_memory_equal(p->bytes, parts[i].bytes, p->length);
	}
	if (snapshot_memory(s, &m, &stats, &why) < 0)
		fail_msg("%s", why.text);
	assert_memory_equal(m.low, expected.low, SIZE);
	assert_int_equal(stats.pages, SIZE / PAGE);
	assert_int_equal(stats.zero_pages, SIZE / PAGE - 4);
	snapshot_close(s);
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
