/* SPDX-License-Identifier: Apache-2.0 */
/* memory_test.c - guest memory hands out pointers inside it, and nothing else. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "kvm/memory.h"

#define MIB (1ULL << 20)
#define GIB (1ULL << 30)

static void a_small_guest_has_one_piece(void **state)
{
	struct guest_memory m;

	(void)state;
	assert_int_equal(memory_create(16 * MIB, &m, NULL), 0);
	assert_int_equal(m.low_size, 16 * MIB);
	assert_int_equal((uintptr_t)m.low % (2 * MIB), 0); /* for huge pages */
	assert_null(m.high);
	assert_int_equal(m.high_size, 0);
	assert_ptr_equal(memory_at(&m, 0, 16 * MIB), m.low);
	m.low[16 * MIB - 1] = 1; /* the last byte is there */
	assert_int_equal(m.low[8 * MIB], 0);
	memory_destroy(&m);
	memory_destroy(&m); /* harmless */
	assert_null(memory_at(&m, 0, 1));
}

static void what_exceeds_3_gib_lies_above_4_gib(void **state)
{
	struct guest_memory m;

	(void)state;
	assert_int_equal(memory_create(3 * GIB, &m, NULL), 0);
	assert_null(m.high);
	memory_destroy(&m);

	assert_int_equal(memory_create(5 * GIB, &m, NULL), 0);
	assert_int_equal(m.low_size, 3 * GIB);
	assert_int_equal(m.high_size, 2 * GIB);
	memset(memory_at(&m, 6 * GIB - 4096, 4096), 0xaa, 4096);
	assert_int_equal(m.high[2 * GIB - 1], 0xaa);
	memory_destroy(&m);
}

static uint64_t mapped_kib(void)
{
	unsigned long pages = 0;
	FILE *file = fopen("/proc/self/statm", "r");

	assert_non_null(file);
	assert_int_equal(fscanf(file, "%lu", &pages), 1);
	fclose(file);
	return pages * 4;
}

/* KVM maps a large page only where guest and host address agree in their low 21 bits. */
static void each_piece_can_have_large_pages_and_maps_no_more(void **state)
{
	uint64_t before = mapped_kib();
	struct guest_memory m;

	(void)state;
	assert_int_equal(memory_create(4 * GIB + 4096, &m, NULL), 0);
	assert_int_equal((uintptr_t)m.low % MEMORY_LARGE_PAGE, 0);
	assert_int_equal((uintptr_t)m.high % MEMORY_LARGE_PAGE, 0);
	assert_in_range(mapped_kib() - before, 4 << 20, (4 << 20) + 1024);
	memory_destroy(&m);
	assert_in_range(mapped_kib(), 1, before + 1024);
}

static void no_pointer_leads_outside(void **state)
{
	struct guest_memory m;

	(void)state;
	assert_int_equal(memory_create(3 * GIB + 4096, &m, NULL), 0);

	assert_non_null(memory_at(&m, 3 * GIB - 1, 1));
	assert_null(memory_at(&m, 3 * GIB - 1, 2)); /* into the hole */
	assert_null(memory_at(&m, 3 * GIB, 0));
	assert_null(memory_at(&m, 3 * GIB, 1));
	assert_null(memory_at(&m, 4 * GIB - 1, 1));
	assert_null(memory_at(&m, 4 * GIB - 1, 2)); /* from the hole */

	assert_ptr_equal(memory_at(&m, 4 * GIB, 4096), m.high);
	assert_null(memory_at(&m, 4 * GIB, 4097));
	assert_ptr_equal(memory_at(&m, 4 * GIB + 4095, 1), m.high + 4095);
	assert_null(memory_at(&m, 4 * GIB + 4095, 2));
	assert_null(memory_at(&m, 4 * GIB + 4096, 0));

	/* Sums that wrap. */
	assert_null(memory_at(&m, 1, UINT64_MAX));
	assert_null(memory_at(&m, 4 * GIB + 1, UINT64_MAX));
	assert_null(memory_at(&m, UINT64_MAX, 1));
	assert_null(memory_at(&m, UINT64_MAX - 4095, 4096));
	assert_null(memory_at(&m, 0, 6 * GIB)); /* both pieces and the hole */
	memory_destroy(&m);
}

static void an_impossible_size_is_refused_in_words(void **state)
{
	static const uint64_t sizes[] = {0, 4096, 16 * MIB - 4096, 16 * MIB + 1, UINT64_MAX};
	struct guest_memory m;
	struct why why;

	(void)state;
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		why.text[0] = 0;
		assert_int_equal(memory_create(sizes[i], &m, &why), -EINVAL);
		assert_non_null(strstr(why.text, "at least 16 MiB"));
	}
	/* More than KVM's slots take, and than x86-64 has addresses for. */
	assert_int_equal(memory_create(9ULL << 40, &m, &why), -EINVAL);
	assert_non_null(strstr(why.text, "give at most"));
	assert_int_equal(memory_create(UINT64_MAX - 4095, &m, &why), -EINVAL);
	assert_non_null(strstr(why.text, "give at most"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_small_guest_has_one_piece),
		cmocka_unit_test(what_exceeds_3_gib_lies_above_4_gib),
		cmocka_unit_test(each_piece_can_have_large_pages_and_maps_no_more),
		cmocka_unit_test(no_pointer_leads_outside),
		cmocka_unit_test(an_impossible_size_is_refused_in_words),
	};

	return cmocka_run_group_tests_name("memory", tests, NULL, NULL);
}
