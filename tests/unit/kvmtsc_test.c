/* SPDX-License-Identifier: Apache-2.0 */
/* kvmtsc_test.c - the map from guest to host TSC, read from a copy of KVM's directory. */
#include <errno.h>
#include <ftw.h>
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <cmocka.h>

#include "host/kvmtsc.h"

static char root[64];

static void put(const char *vm, const char *vcpu, const char *name, const char *text)
{
	char path[256];
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s", root, vm);
	mkdir(path, 0700);
	snprintf(path, sizeof(path), "%s/%s/%s", root, vm, vcpu);
	mkdir(path, 0700);
	snprintf(path, sizeof(path), "%s/%s/%s/%s", root, vm, vcpu, name);
	file = fopen(path, "w");
	assert_non_null(file);
	fputs(text, file);
	fclose(file);
}

static int make_root(void **state)
{
	(void)state;
	snprintf(root, sizeof(root), "/tmp/kvmtsc_test.XXXXXX");
	return mkdtemp(root) ? 0 : -1;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *walk)
{
	(void)st;
	(void)type;
	(void)walk;
	return remove(path);
}

static int remove_root(void **state)
{
	(void)state;
	return nftw(root, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static void an_unscaled_vm_has_an_offset_alone(void **state)
{
	struct kvmtsc_map map;
	uint64_t lo, hi;

	(void)state;
	put("12-9", "vcpu0", "tsc-offset", "-5000000000\n");
	put("12-9", "vcpu1", "tsc-offset", "-5000000000\n");
	put("123-9", "vcpu0", "tsc-offset", "1\n");
	assert_int_equal(kvmtsc_read(root, 12, &map, NULL), 0);
	assert_int_equal(map.vcpus, 2);
	kvmtsc_to_host(&map, 1000, 1300, &lo, &hi);
	assert_int_equal(lo, 5000001000);
	assert_int_equal(hi, 5000001300);
}

static void vcpus_that_disagree_are_refused(void **state)
{
	struct kvmtsc_map map = {.vcpus = 77};
	struct why why = {""};

	(void)state;
	put("12-9", "vcpu0", "tsc-offset", "-500\n");
	put("12-9", "vcpu1", "tsc-offset", "-499\n");
	assert_int_equal(kvmtsc_read(root, 12, &map, &why), -ESTALE);
	assert_non_null(strstr(why.text, "-500"));
	assert_non_null(strstr(why.text, "-499"));
	assert_int_equal(map.vcpus, 77);
}

static void what_is_not_there_is_named(void **state)
{
	struct kvmtsc_map map;
	struct why why = {""};

	(void)state;
	assert_int_equal(kvmtsc_read(root, 12, &map, &why), -ENOENT);
	assert_non_null(strstr(why.text, "12"));
	put("12-9", "vcpu0", "tsc-offset", "1\n");
	put("12-10", "vcpu0", "tsc-offset", "1\n");
	assert_int_equal(kvmtsc_read(root, 12, &map, &why), -EEXIST);
	assert_int_equal(kvmtsc_read("/nowhere/kvm", 12, &map, &why), -ENOENT);
	assert_non_null(strstr(why.text, "mount -t debugfs"));
}

static void nonsense_is_refused(void **state)
{
	struct kvmtsc_map map;

	(void)state;
	put("12-9", "vcpu0", "tsc-offset", "yes\n");
	assert_int_equal(kvmtsc_read(root, 12, &map, NULL), -EIO);
	put("12-9", "vcpu0", "tsc-offset", "7\n");
	put("12-9", "vcpu0", "tsc-scaling-ratio", "0\n");
	put("12-9", "vcpu0", "tsc-scaling-ratio-frac-bits", "32\n");
	assert_int_equal(kvmtsc_read(root, 12, &map, NULL), -EIO);
	put("12-9", "vcpu0", "tsc-scaling-ratio", "5\n");
	put("12-9", "vcpu0", "tsc-scaling-ratio-frac-bits", "99\n");
	assert_int_equal(kvmtsc_read(root, 12, &map, NULL), -EIO);
}

/* The range found is exactly the host counts from which the guest reads within its own range. */
static void scaling_is_undone_outward(void **state)
{
	struct kvmtsc_map map;
	uint64_t lo, hi;

	(void)state;
	put("12-9", "vcpu0", "tsc-offset", "-77\n");
	put("12-9", "vcpu0", "tsc-scaling-ratio", "3435973837\n"); /* 0.8 */
	put("12-9", "vcpu0", "tsc-scaling-ratio-frac-bits", "32\n");
	assert_int_equal(kvmtsc_read(root, 12, &map, NULL), 0);
	for (uint64_t host = 1000; host < 3000; host++) {
		uint64_t guest = (host * map.ratio >> map.frac_bits) + (uint64_t)map.offset;

		kvmtsc_to_host(&map, guest, guest, &lo, &hi);
		assert_true(lo <= host && host <= hi);
		assert_true(hi - lo <= 2);
	}
	kvmtsc_to_host(&map, 1000 - 77, 1200 - 77, &lo, &hi);
	assert_int_equal(lo * map.ratio >> 32, 1000);
	assert_int_equal((lo - 1) * map.ratio >> 32, 999);
	assert_int_equal(hi * map.ratio >> 32, 1200);
	assert_int_equal((hi + 1) * map.ratio >> 32, 1201);
}

static void threads_are_those_of_the_vcpus(void **state)
{
	pid_t tids[2] = {0, 0};
	struct why why;

	(void)state;
	put("777-9", "vcpu0", "pid", "4711\n");
	assert_int_equal(kvmtsc_threads(root, 777, tids, 2, &why), -ENOENT);
	assert_non_null(strstr(why.text, "vCPU 1"));
	put("777-9", "vcpu1", "pid", "4712\n");
	assert_int_equal(kvmtsc_threads(root, 777, tids, 2, &why), 0);
	assert_int_equal(tids[0], 4711);
	assert_int_equal(tids[1], 4712);
	assert_int_equal(kvmtsc_threads(root, 778, tids, 2, &why), -ENOENT);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_root, remove_root)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(an_unscaled_vm_has_an_offset_alone), TEST(vcpus_that_disagree_are_refused),
		TEST(what_is_not_there_is_named),         TEST(nonsense_is_refused),
		TEST(scaling_is_undone_outward),          TEST(threads_are_those_of_the_vcpus),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
