/* SPDX-License-Identifier: Apache-2.0 */
/* pvtrace_test.c - pages of kvm-clock in a trace of KVM's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "host/pvtrace.h"

#define PAGE(vcpu, tsc, ns)                                                             \
	"kvm_pvclock_update: vcpu_id " vcpu ", pvclock { version 6, tsc_timestamp " tsc \
	", system_time " ns ", tsc_to_system_mul 0x80000000, tsc_shift -1, flags 0x1 }\n"

static void a_line_of_a_trace_is_a_page(void **state)
{
	struct pvtrace_page p;
	unsigned vcpu;
	pid_t tid;

	(void)state;
	assert_int_equal(pvtrace_parse("       CPU 0/KVM-1234    [001] ..... 56.7: " PAGE(
					       "3", "0xfffffffffffffff0", "0x12"),
				       &tid, &vcpu, &p),
			 1);
	assert_int_equal(tid, 1234);
	assert_int_equal(vcpu, 3);
	assert_true(p.tsc_timestamp == 0xfffffffffffffff0 && p.system_time == 0x12);
	assert_true(p.mul == 0x80000000 && p.shift == -1);
	/* What a thread may be called. */
	assert_int_equal(pvtrace_parse(" a-9 [b] c-77    [000] d..1. 1.2: " PAGE("0", "0x1", "0x2"),
				       &tid, &vcpu, &p),
			 1);
	assert_int_equal(tid, 77);
}

static void other_lines_are_none(void **state)
{
	static const char *const lines[] = {
		"# tracer: nop\n",
		"  x-12 [000] ..... 1.2: kvm_exit: reason 0x78\n",
		PAGE("0", "0x1", "0x2"),
		"  x-12 [000] ..... 1.2: kvm_pvclock_update: vcpu_id 0, pvclock { version 6\n",
		"  x-12 [000] ..... 1.2: kvm_pvclock_update: vcpu_id 0, tsc_timestamp 0x1, "
		"system_time 0x1, tsc_to_system_mul 0x0, tsc_shift 0\n",
		"  x-12 [000] ..... 1.2: kvm_pvclock_update: vcpu_id 0, tsc_timestamp 0x1, "
		"system_time 0x1, tsc_to_system_mul 0x1, tsc_shift 99\n",
	};
	struct pvtrace_page p;
	unsigned vcpu;
	pid_t tid;

	(void)state;
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
		assert_int_equal(pvtrace_parse(lines[i], &tid, &vcpu, &p), 0);
}

/* Half a ns a count below the shift, then a quarter. */
static void a_page_is_a_line(void **state)
{
	const struct pvtrace_page half = {1000, 50, 0x80000000, 0};
	const struct pvtrace_page quarter = {1000, 50, 0x80000000, -1};
	const struct pvtrace_page two = {1000, 50, 0x80000000, 2};

	(void)state;
	assert_int_equal(pvtrace_ns(&half, 1000), 50);
	assert_int_equal(pvtrace_ns(&half, 1003), 51);
	assert_int_equal(pvtrace_ns(&half, 998), 49);
	assert_int_equal(pvtrace_ns(&quarter, 1008), 52);
	assert_int_equal(pvtrace_ns(&two, 1008), 66);
	assert_int_equal(pvtrace_counts(&half, 7), 14);
	assert_int_equal(pvtrace_counts(&quarter, -7), -28);
	assert_int_equal(pvtrace_counts(&two, 5), 3); /* 2.5 */
	/* An hour on 2 GHz, and a count that began anew. */
	assert_true(pvtrace_ns(&half, 1000 + 7200000000000) == 50 + 3600000000000);
	assert_true(pvtrace_counts(&half, 3600000000000) == 7200000000000);
	assert_int_equal(pvtrace_ns(&(struct pvtrace_page){0 - 10ULL, 50, 0x80000000, 0}, 10), 60);
}

static void put(const char *root, const char *text)
{
	char path[96];
	FILE *file;

	snprintf(path, sizeof(path), "%s/trace", root);
	file = fopen(path, "w");
	assert_non_null(file);
	fputs(text, file);
	fclose(file);
}

/* Threads of this process and of others write pages. */
static void the_last_page_of_a_process_is_found(void **state)
{
	struct pvtrace t = {"/tmp/pvtrace_test.XXXXXX"};
	struct pvtrace_page p = {0};
	struct why why = {0};
	char text[1024], path[96];

	(void)state;
	assert_non_null(mkdtemp(t.folder));
	snprintf(text, sizeof(text),
		 "a-%d [0] . 1: " PAGE("0", "0x1", "0x11") "a-%d [0] . 1: " PAGE(
			 "0", "0x2",
			 "0x12") "a-%d [0] . 1: " PAGE("1", "0x3",
						       "0x13") "a-1 [0] . 1: " PAGE("0", "0x4",
										    "0x14"),
		 getpid(), getpid(), getpid());
	put(t.folder, text);
	assert_int_equal(pvtrace_last(&t, getpid(), &p, &why), 0);
	assert_true(p.tsc_timestamp == 2 && p.system_time == 0x12);
	put(t.folder, "# nothing\n");
	assert_int_equal(pvtrace_last(&t, getpid(), &p, &why), -ENOENT);
	assert_non_null(strstr(why.text, "no page of kvm-clock"));
	assert_true(p.tsc_timestamp == 2);
	snprintf(path, sizeof(path), "%s/trace", t.folder);
	unlink(path);
	assert_int_equal(pvtrace_last(&t, getpid(), &p, &why), -ENOENT);
	rmdir(t.folder);
}

static void what_cannot_be_traced_leaves_nothing(void **state)
{
	char root[] = "/tmp/pvtrace_test.XXXXXX", path[64];
	struct pvtrace t;
	struct why why = {0};

	(void)state;
	assert_non_null(mkdtemp(root));
	assert_int_equal(pvtrace_open(root, &t, &why), -ENOENT);
	assert_non_null(strstr(why.text, "mount -t tracefs"));
	assert_string_equal(t.folder, "");
	snprintf(path, sizeof(path), "%s/instances", root);
	assert_int_equal(mkdir(path, 0700), 0);
	assert_int_equal(pvtrace_open(root, &t, &why), -ENOENT); /* no such event */
	assert_non_null(strstr(why.text, "kvm_pvclock_update"));
	assert_string_equal(t.folder, "");
	assert_int_equal(rmdir(path), 0);
	assert_int_equal(rmdir(root), 0);
	pvtrace_close(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_line_of_a_trace_is_a_page),
		cmocka_unit_test(other_lines_are_none),
		cmocka_unit_test(a_page_is_a_line),
		cmocka_unit_test(the_last_page_of_a_process_is_found),
		cmocka_unit_test(what_cannot_be_traced_leaves_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
