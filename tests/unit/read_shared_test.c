/* SPDX-License-Identifier: Apache-2.0 */
/* read_shared_test.c - the time of a guest while others write, and in other processes: threads,
 * fork, time namespaces; and the page that this machine really has. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>
#include <vmtime/read.h>

#include "lacks.h"

#define CLOCKSOURCE "/sys/devices/system/clocksource/clocksource0/current_clocksource"
#define SECOND INT64_C(1000000000)
#define QUARTERS \
	(UINT64_C(1) << 60) /* a time from here on is in quarters of a count, else halves */

/* Across two cache lines: within one the CPU's own loads are hardly ever apart. */
static _Alignas(64) struct {
	uint8_t before[48];
	struct vmt_read_page page;
} across;
static struct vmt_read_page *const page = &across.page;
static bool done;

static uint64_t tsc(void)
{
	uint32_t low, high;

	__asm__ volatile("lfence; rdtsc; lfence" : "=a"(low), "=d"(high) : : "memory");
	return (uint64_t)high << 32 | low;
}

static int64_t clock_ns(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (int64_t)t.tv_sec * SECOND + t.tv_nsec;
}

/* By the protocol; each time another anchor, and half or a quarter of a ns a count in turn. */
static void publish(unsigned n)
{
	const uint64_t anchor = (tsc() - n % 7 * 100000000) & ~UINT64_C(3);
	const uint64_t half = UINT64_C(0x80000000) | VMT_READ_STABLE;
	uint32_t version = page->version;

	__atomic_store_n(&page->version, version + 1, __ATOMIC_RELAXED);
	__atomic_store_n(&page->tsc, anchor, __ATOMIC_RELEASE);
	__atomic_store_n(&page->system_ns, n % 2 ? QUARTERS + anchor / 4 : anchor / 2,
			 __ATOMIC_RELEASE);
	__atomic_store_n(&page->scale, n % 2 ? half | UINT64_C(0xff) << 32 : half,
			 __ATOMIC_RELEASE);
	__atomic_store_n(&page->version, version + 2, __ATOMIC_RELEASE);
}

static void *publisher(void *arg)
{
	(void)arg;
	for (unsigned n = 0; !__atomic_load_n(&done, __ATOMIC_RELAXED); n++) {
		publish(n);
		for (unsigned i = 0; i < n % 64; i++)
			__asm__ volatile("pause");
	}
	return NULL;
}

static void is_whole(int64_t ns, uint64_t before, uint64_t after)
{
	uint64_t time = (uint64_t)ns;

	if (time >= QUARTERS)
		assert_in_range(time - QUARTERS, before / 4 - 1, after / 4);
	else
		assert_in_range(time, before / 2 - 1, after / 2);
}

static void no_reading_is_torn(void **state)
{
	struct vmt_read r = {.page = page};
	unsigned good = 0, tries = 0;
	pthread_t thread;

	(void)state;
	publish(0);
	assert_int_equal(pthread_create(&thread, NULL, publisher, NULL), 0);
	for (; good < 100000 && tries < 100000000; tries++) {
		uint64_t before = tsc();
		struct vmt_read_time t = tries % 2 ? vmt_read_now(&r) : vmt_read_now_ordered(&r);
		uint64_t after = tsc();

		if (t.status == VMT_READ_BUSY)
			continue; /* and so no time of the page's */
		assert_int_equal(t.status, VMT_READ_PAGE);
		is_whole(t.estimate_ns, before, after);
		good++;
	}
	__atomic_store_n(&done, true, __ATOMIC_RELAXED);
	pthread_join(thread, NULL);
	assert_int_equal(good, 100000);
}

/* Two pages of memory; the first touch of the second runs `upon_touch`, in the middle of whatever
 * the reader is doing. */
enum { PAGE = 4096 };
static uint8_t *memory;
static void (*upon_touch)(void);

static void touched(int number)
{
	(void)number;
	mprotect(memory + PAGE, PAGE, PROT_READ | PROT_WRITE);
	upon_touch();
}

static void arm(void (*what)(void))
{
	struct sigaction action = {.sa_handler = touched};

	upon_touch = what;
	assert_int_equal(sigaction(SIGSEGV, &action, NULL), 0);
	assert_int_equal(mprotect(memory + PAGE, PAGE, PROT_NONE), 0);
}

static void disarm(void)
{
	signal(SIGSEGV, SIG_DFL);
	munmap(memory, (size_t)2 * PAGE);
}

static void map_two_pages(void)
{
	memory = mmap(NULL, (size_t)2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
		      -1, 0);
	assert_ptr_not_equal(memory, MAP_FAILED);
}

static struct vmt_read_page *split_page(void)
{
	return (void *)(memory + PAGE - offsetof(struct vmt_read_page, system_ns));
}

static struct vmt_read *split_reader(void)
{
	return (void *)(memory + PAGE - offsetof(struct vmt_read, utc_bound_ns));
}

static void anchor_anew(void)
{
	struct vmt_read_page *p = split_page();

	p->version += 2;
	p->tsc -= 4000000;
	p->system_ns -= 2000000;
}

static void a_page_that_changes_under_a_reading_is_read_again(void **state)
{
	struct vmt_read r;

	(void)state;
	for (int form = 0; form < 4; form++) {
		uint64_t before = tsc();
		int64_t ns;

		map_two_pages();
		*split_page() = (struct vmt_read_page){
			.version = 2,
			.tsc = before,
			.system_ns = before / 2,
			.scale = UINT64_C(0x80000000) | VMT_READ_STABLE,
		};
		r = (struct vmt_read){.page = split_page()};
		arm(anchor_anew);
		ns = form == 0   ? vmt_read_now(&r).estimate_ns
		     : form == 1 ? vmt_read_now_ordered(&r).estimate_ns
		     : form == 2 ? vmt_read_ns(&r)
				 : vmt_read_ns_ordered(&r);
		assert_int_equal(split_page()->version, 4);
		is_whole(ns, before, tsc());
		disarm();
	}
}

static void renew_meanwhile(void)
{
	split_reader()->utc_version += 2;
	split_reader()->utc_offset_ns = 7000;
	split_reader()->utc_bound_ns = 7;
}

static void an_offset_that_changes_under_a_reading_is_not_used(void **state)
{
	struct vmt_read_time t;

	(void)state;
	map_two_pages();
	publish(0);
	*split_reader() = (struct vmt_read){.page = page, .utc_version = 2};
	arm(renew_meanwhile);
	t = vmt_read_realtime(split_reader());
	assert_int_equal(split_reader()->utc_version, 4);
	assert_int_equal(t.status, VMT_READ_NO_OFFSET);
	t = vmt_read_realtime(split_reader());
	assert_int_equal(t.status, VMT_READ_PAGE);
	assert_int_equal(t.estimate_ns - t.earliest_ns, 7);
	disarm();
}

/* A reader whose offsets are of two kinds, with different bounds, and lie across two lines. */
static _Alignas(64) struct {
	uint8_t before[8];
	struct vmt_read reader;
} offsets;
_Static_assert(offsetof(struct vmt_read, utc_bound_ns) == 56, "at the beginning of a line");

static void *offsetter(void *arg)
{
	struct vmt_read *r = arg;

	for (int64_t n = 0; !__atomic_load_n(&done, __ATOMIC_RELAXED); n++) {
		uint32_t version = r->utc_version;

		__atomic_store_n(&r->utc_version, version + 1, __ATOMIC_RELAXED);
		__atomic_store_n(&r->utc_offset_ns, n % 2 * 1000 * SECOND, __ATOMIC_RELEASE);
		__atomic_store_n(&r->utc_bound_ns, n % 2 * 1000, __ATOMIC_RELEASE);
		__atomic_store_n(&r->utc_version, version + 2, __ATOMIC_RELEASE);
		for (int64_t i = 0; i < n % 4; i++)
			__asm__ volatile("pause");
	}
	return NULL;
}

static void no_offset_is_torn(void **state)
{
	struct vmt_read *r = &offsets.reader;
	unsigned good = 0, tries = 0;
	pthread_t thread;

	(void)state;
	page->tsc = tsc();
	page->system_ns = 0;
	page->scale = UINT64_C(0x80000000) | VMT_READ_STABLE;
	page->version = 2;
	*r = (struct vmt_read){.page = page, .utc_version = 2};
	done = false;
	assert_int_equal(pthread_create(&thread, NULL, offsetter, r), 0);
	for (; good < 100000 && tries < 100000000; tries++) {
		struct vmt_read_time t = vmt_read_realtime(r);
		bool second = t.estimate_ns >= 1000 * SECOND;

		if (t.status == VMT_READ_NO_OFFSET)
			continue;
		assert_int_equal(t.status, VMT_READ_PAGE);
		assert_int_equal(t.estimate_ns - t.earliest_ns, second ? 1000 : 0);
		good++;
	}
	__atomic_store_n(&done, true, __ATOMIC_RELAXED);
	pthread_join(thread, NULL);
	assert_int_equal(good, 100000);
}

/* The machine's page, whatever its clocksource is. */
static struct vmt_read real(void)
{
	struct vmt_read r;

	assert_int_equal(vmt_read_use(&r, vmt_read_find(NULL)), VMT_READ_PAGE);
	return r;
}

static void *renewer(void *arg)
{
	struct vmt_read *r = arg;

	while (!__atomic_load_n(&done, __ATOMIC_RELAXED))
		vmt_read_renew(r, VMT_READ_GROWTH_PPM);
	return NULL;
}

static void realtime_holds_while_it_is_renewed(void **state)
{
	struct vmt_read r = real();
	pthread_t threads[2];
	unsigned good = 0, tries = 0;

	(void)state;
	done = false;
	for (int i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, renewer, &r), 0);
	for (; good < 20000 && tries < 10000000; tries++) {
		int64_t before = clock_ns(CLOCK_REALTIME);
		struct vmt_read_time t = vmt_read_realtime(&r);
		int64_t after = clock_ns(CLOCK_REALTIME);

		if (t.latest_ns < before || t.earliest_ns > after)
			fail_msg("%lld +- %lld not in %lld + %lld",
				 (long long)(t.estimate_ns - before),
				 (long long)(t.latest_ns - t.estimate_ns), (long long)before,
				 (long long)(after - before));
		good += t.status == VMT_READ_PAGE;
	}
	__atomic_store_n(&done, true, __ATOMIC_RELAXED);
	for (int i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(good, 20000);
}

static void the_real_page_agrees_with_clock_gettime(void **state)
{
	struct vmt_read r = real();
	int64_t last = 0;

	(void)state;
	for (int i = 0; i < 10000; i++) {
		int64_t before = clock_ns(CLOCK_MONOTONIC_RAW) + r.raw_offset_ns - r.raw_bound_ns;
		struct vmt_read_time t = vmt_read_now_ordered(&r);
		int64_t after = clock_ns(CLOCK_MONOTONIC_RAW) + r.raw_offset_ns + r.raw_bound_ns;
		/* On another clocksource the rates are a few ppm apart. */
		int64_t drift = (before - r.raw_at_ns - r.raw_offset_ns) / 2000 + 1;

		assert_int_equal(t.status, VMT_READ_PAGE);
		assert_true(t.latest_ns >= before - drift && t.earliest_ns <= after + drift);
		assert_true(t.estimate_ns >= last);
		last = t.estimate_ns;
	}
}

static int exit_status(pid_t child)
{
	int status;

	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

enum { AS_IT_SHOULD = 0, NOT_ALLOWED = 77 };

/* This process alone sees another clocksource. */
static int open_with_source(const char *source, uint32_t status)
{
	char name[] = "/tmp/read_test.XXXXXX";
	const int fd = mkstemp(name);
	struct vmt_read r;
	bool seen;

	if (fd < 0)
		return NOT_ALLOWED;
	seen = write(fd, source, strlen(source)) > 0 && unshare(CLONE_NEWNS) == 0 &&
	       mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
	       mount(name, CLOCKSOURCE, NULL, MS_BIND, NULL) == 0;
	close(fd);
	unlink(name);
	if (!seen)
		return NOT_ALLOWED;
	if (vmt_read_open(&r) != status || vmt_read_now(&r).status != status)
		return 1;
	return status == VMT_READ_PAGE && r.raw_growth_ppm != 0 ? 2 : AS_IT_SHOULD;
}

static void open_takes_the_page_on_kvm_clock_alone(void **state)
{
	static const struct {
		const char *source;
		uint32_t status;
	} cases[] = {
		{"kvm-clock\n", VMT_READ_PAGE},
		{"kvm-clock-2\n", VMT_READ_OTHER_SOURCE},
		{"kvm-cloc\n", VMT_READ_OTHER_SOURCE},
		{"hyperv_clocksource_tsc_page\n", VMT_READ_OTHER_SOURCE},
	};

	(void)state;
	real();
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		pid_t child = fork();

		if (child == 0)
			_exit(open_with_source(cases[i].source, cases[i].status));
		assert_int_equal(exit_status(child), AS_IT_SHOULD);
	}
}

static void open_obeys_the_clocksource(void **state)
{
	char source[32] = "";
	FILE *file = fopen(CLOCKSOURCE, "r");
	struct vmt_read r = real(), opened;
	uint32_t status = vmt_read_open(&opened);

	(void)state;
	if (file) {
		assert_non_null(fgets(source, sizeof(source), file));
		fclose(file);
	}
	if (!file || strcmp(source, "kvm-clock\n") == 0) {
		assert_int_equal(status, VMT_READ_PAGE);
		assert_ptr_equal(opened.page, r.page);
	} else {
		assert_int_equal(status, VMT_READ_OTHER_SOURCE);
		assert_null(opened.page);
		assert_int_equal(vmt_read_now(&opened).status, VMT_READ_OTHER_SOURCE);
	}
}

static void a_child_reads_on(void **state)
{
	struct vmt_read r = real();
	int64_t before = vmt_read_ns_ordered(&r);
	pid_t child = fork();

	(void)state;
	if (child == 0) {
		struct vmt_read_time t = vmt_read_now_ordered(&r);

		_exit(t.status != VMT_READ_PAGE || t.estimate_ns < before ||
		      t.estimate_ns > before + 1000 * SECOND);
	}
	assert_int_equal(exit_status(child), 0);
}

/* The children get clocks 10,000 s ahead of ours: the kernel counts offsets from the machine's
 * boot, and ours may have some already. */
static bool unshare_time(void)
{
	char now[128] = "", ahead[128];
	long long monotonic_s, boottime_s;
	bool moved;
	int fd;

	if (unshare(CLONE_NEWTIME) < 0)
		return false;
	fd = open("/proc/self/timens_offsets", O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return false;
	moved = read(fd, now, sizeof(now) - 1) > 0 &&
		sscanf(now, "monotonic %lld %*d boottime %lld", &monotonic_s, &boottime_s) == 2;
	if (moved) {
		snprintf(ahead, sizeof(ahead), "monotonic %lld 0\nboottime %lld 0\n",
			 monotonic_s + 10000, boottime_s + 10000);
		moved = lseek(fd, 0, SEEK_SET) == 0 && write(fd, ahead, strlen(ahead)) > 0;
	}
	close(fd);
	return moved;
}

/* The page is found in another time namespace, and is the same. */
static int in_time_namespace(int64_t before)
{
	const int64_t raw_ns = clock_ns(CLOCK_MONOTONIC_RAW);
	int status;
	pid_t child;

	if (!unshare_time())
		return NOT_ALLOWED;
	child = fork();
	if (child == 0) {
		struct vmt_read r;
		int64_t now;

		if (vmt_read_use(&r, vmt_read_find(NULL)) != VMT_READ_PAGE)
			_exit(1);
		now = vmt_read_ns_ordered(&r);
		if (now < before || now > before + 1000 * SECOND)
			_exit(2);
		if (clock_ns(CLOCK_MONOTONIC_RAW) < raw_ns + 10000 * SECOND)
			_exit(3);
		now = vmt_read_realtime(&r).estimate_ns;
		_exit(now > clock_ns(CLOCK_REALTIME) + SECOND ? 4 : 0);
	}
	return waitpid(child, &status, 0) == child && WIFEXITED(status) ? WEXITSTATUS(status) : 5;
}

static void a_time_namespace_does_not_move_virtual_time(void **state)
{
	struct vmt_read r = real();
	int64_t before = vmt_read_ns_ordered(&r);
	pid_t child = fork();

	(void)state;
	if (child == 0)
		_exit(in_time_namespace(before));
	assert_int_equal(exit_status(child), AS_IT_SHOULD);
}

static const char *no_page(void)
{
	struct vmt_read r;

	return vmt_read_use(&r, vmt_read_find(NULL)) == VMT_READ_PAGE ? NULL
								      : "no kvm-clock page here";
}

static const char *no_mounts(void)
{
	pid_t child = fork();

	if (child == 0)
		_exit(open_with_source("none\n", VMT_READ_OTHER_SOURCE));
	return exit_status(child) != NOT_ALLOWED ? NULL : "no mount namespaces for this user here";
}

static const char *no_times(void)
{
	pid_t child = fork();

	if (child == 0)
		_exit(in_time_namespace(0));
	return exit_status(child) != NOT_ALLOWED ? NULL : "no time namespaces for this user here";
}

#define NEEDS(lacking, name) unless(lacking, (struct CMUnitTest)cmocka_unit_test(name))

int main(void)
{
	const char *lacks_page = no_page();
	const char *lacks_mounts = lacks_page ? lacks_page : no_mounts();
	const char *lacks_times = lacks_page ? lacks_page : no_times();
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(no_reading_is_torn),
		cmocka_unit_test(a_page_that_changes_under_a_reading_is_read_again),
		cmocka_unit_test(an_offset_that_changes_under_a_reading_is_not_used),
		cmocka_unit_test(no_offset_is_torn),
		NEEDS(lacks_page, realtime_holds_while_it_is_renewed),
		NEEDS(lacks_page, the_real_page_agrees_with_clock_gettime),
		NEEDS(lacks_mounts, open_takes_the_page_on_kvm_clock_alone),
		NEEDS(lacks_page, open_obeys_the_clocksource),
		NEEDS(lacks_page, a_child_reads_on),
		NEEDS(lacks_times, a_time_namespace_does_not_move_virtual_time),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
