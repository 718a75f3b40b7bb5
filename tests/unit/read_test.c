/* SPDX-License-Identifier: Apache-2.0 */
/* read_test.c - the time of a guest: from pages that the test makes, and from the real one. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <cmocka.h>
#include <vmtime/read.h>

#include "../random.h"

_Static_assert(sizeof(struct vmt_read_page) == 32, "the hypervisor's layout");
_Static_assert(offsetof(struct vmt_read_page, scale) == 24, "the hypervisor's layout");

#define MS INT64_C(1000000)
#define SECOND INT64_C(1000000000)
#define HALF UINT64_C(0x80000000) /* multiplier of half a ns a count */
#define START (5000 * SECOND)

static int64_t clock_ns(clockid_t clock)
{
	struct timespec t;

	assert_int_equal(clock_gettime(clock, &t), 0);
	return (int64_t)t.tv_sec * SECOND + t.tv_nsec;
}

static uint64_t tsc(void)
{
	uint32_t low, high;

	__asm__ volatile("lfence; rdtsc; lfence" : "=a"(low), "=d"(high) : : "memory");
	return (uint64_t)high << 32 | low;
}

static uint64_t scale_of(uint64_t mul, int shift, uint64_t flags)
{
	return mul | (uint64_t)(uint8_t)shift << 32 | flags << 40;
}

/* What Linux computes. */
static uint64_t by_linux(uint64_t counts, uint64_t mul, int shift)
{
	__extension__ typedef unsigned __int128 u128;

	counts = shift < 0 ? counts >> -shift : counts << shift;
	return (uint64_t)((u128)counts * mul >> 32);
}

static void tsc_and_raw(uint64_t *ret_tsc, int64_t *ret_raw_ns)
{
	uint64_t best = UINT64_MAX;

	for (int i = 0; i < 100; i++) {
		uint64_t before = tsc(), after;
		int64_t ns = clock_ns(CLOCK_MONOTONIC_RAW);

		after = tsc();
		if (after - before < best) {
			best = after - before;
			*ret_tsc = before + best / 2;
			*ret_raw_ns = ns;
		}
	}
}

/* A page at whose START this machine's CLOCK_MONOTONIC_RAW was *ret_raw_ns, at its rate. */
static struct vmt_read_page true_page(int64_t *ret_raw_ns)
{
	static struct vmt_read_page page;
	static int64_t raw_ns;
	uint64_t tsc_end = 0, mul;
	int64_t raw_end = 0;
	int shift = 0;

	if (!page.version) {
		tsc_and_raw(&page.tsc, &raw_ns);
		do {
			tsc_and_raw(&tsc_end, &raw_end);
		} while (raw_end - raw_ns < 100 * MS);
		mul = ((uint64_t)(raw_end - raw_ns) << 32) / (tsc_end - page.tsc);
		for (; mul >> 32; mul >>= 1)
			shift++;
		page.scale = scale_of(mul, shift, 1);
		page.system_ns = START;
		page.version = 2;
	}
	if (ret_raw_ns)
		*ret_raw_ns = raw_ns;
	return page;
}

/* A reader of a page at half a ns a count, taken without a look at whether it is true. */
static struct vmt_read reader_of(struct vmt_read_page *page)
{
	*page = (struct vmt_read_page){
		.version = 2,
		.tsc = tsc(),
		.system_ns = START,
		.scale = scale_of(HALF, 0, 1),
	};
	return (struct vmt_read){.page = page};
}

static void is_clock(const struct vmt_read *r, uint32_t status)
{
	int64_t before = clock_ns(CLOCK_MONOTONIC_RAW);
	struct vmt_read_time plain = vmt_read_now(r), ordered = vmt_read_now_ordered(r), utc;
	int64_t ns = vmt_read_ns(r), ns_ordered = vmt_read_ns_ordered(r);

	assert_int_equal(plain.status, status);
	assert_int_equal(ordered.status, status);
	assert_in_range(plain.estimate_ns, before, ordered.estimate_ns);
	assert_in_range(ns, ordered.estimate_ns, ns_ordered);
	assert_in_range(ns_ordered, ns, clock_ns(CLOCK_MONOTONIC_RAW));
	assert_true(plain.earliest_ns <= plain.estimate_ns && plain.estimate_ns < plain.latest_ns);
	before = clock_ns(CLOCK_REALTIME);
	utc = vmt_read_realtime(r);
	assert_int_equal(utc.status, status);
	assert_in_range(utc.estimate_ns, before, clock_ns(CLOCK_REALTIME));
	assert_in_range(utc.estimate_ns, utc.earliest_ns, utc.latest_ns);
}

static void a_count_is_scaled_as_linux_scales_it(void **state)
{
	struct random random = random_start();

	(void)state;
	for (int shift = -31; shift <= 31; shift++)
		for (int i = 0; i < 1000; i++) {
			uint64_t mul = (uint32_t)random_next(&random);
			uint64_t counts = random_next(&random) >> 24 >> (shift > 0 ? shift : 0);
			uint64_t scale = scale_of(mul, shift, 1), linux_ns, ns;

			linux_ns = by_linux(counts, mul, shift);
			ns = vmt_read_scaled_(counts, vmt_read_fraction_(scale), scale);
			assert_in_range(ns, linux_ns, linux_ns + (shift < 0));
		}
}

static void every_form_reads_the_page_at_every_shift(void **state)
{
	struct vmt_read_page page;
	struct vmt_read r = reader_of(&page);

	(void)state;
	for (int shift = -31; shift <= 31; shift++) {
		uint64_t mul = shift < 0 ? UINT32_MAX : HALF >> shift, at = page.tsc, low, high;
		struct vmt_read_time t[2];
		int64_t ns[2];

		page.scale = scale_of(mul, shift, 3);
		low = START + by_linux(tsc() - at, mul, shift);
		t[0] = vmt_read_now(&r);
		t[1] = vmt_read_now_ordered(&r);
		ns[0] = vmt_read_ns(&r);
		ns[1] = vmt_read_ns_ordered(&r);
		high = START + by_linux(tsc() - at, mul, shift) + 1;
		for (int i = 0; i < 2; i++) {
			assert_int_equal(t[i].status, VMT_READ_PAGE);
			assert_in_range(t[i].estimate_ns, low, high);
			assert_int_equal(t[i].earliest_ns, t[i].estimate_ns);
			assert_int_equal(t[i].latest_ns, t[i].estimate_ns + 1);
			assert_in_range(ns[i], low, high);
		}
	}
}

static void a_writer_that_is_gone_is_not_waited_for(void **state)
{
	struct vmt_read_page page;
	struct vmt_read r = reader_of(&page);

	(void)state;
	page.version = 3;
	is_clock(&r, VMT_READ_BUSY);
	page.version = 4;
	assert_int_equal(vmt_read_now(&r).status, VMT_READ_PAGE);
}

static void a_host_that_takes_its_promise_back_is_believed(void **state)
{
	struct vmt_read_page page;
	struct vmt_read r = reader_of(&page);

	(void)state;
	page.scale = scale_of(HALF, 0, 0);
	is_clock(&r, VMT_READ_UNSTABLE);
	page.scale = scale_of(HALF, 0, 3); /* GUEST_STOPPED */
	assert_int_equal(vmt_read_now(&r).status, VMT_READ_PAGE);
}

static void an_anchor_in_the_future_is_not_a_huge_time(void **state)
{
	struct vmt_read_page page;
	struct vmt_read r = reader_of(&page);

	(void)state;
	page.tsc += UINT64_C(1) << 50;
	is_clock(&r, VMT_READ_AHEAD);
}

static void without_a_page_every_form_is_clock_gettime(void **state)
{
	struct vmt_read r;

	(void)state;
	memset(&r, 0xff, sizeof(r));
	assert_int_equal(vmt_read_use(&r, NULL), VMT_READ_NO_PAGE);
	is_clock(&r, VMT_READ_NO_PAGE);
	assert_int_equal(vmt_read_renew(&r, 0), -ENODATA);
}

static void a_page_that_tells_the_time_is_taken(void **state)
{
	int64_t raw_ns;
	struct vmt_read_page page = true_page(&raw_ns);
	struct vmt_read r;

	(void)state;
	assert_int_equal(vmt_read_use(&r, &page), VMT_READ_PAGE);
	assert_ptr_equal(r.page, &page);
	assert_in_range(START - raw_ns, r.raw_offset_ns - r.raw_bound_ns - 1000,
			r.raw_offset_ns + r.raw_bound_ns + 1000);
	for (int i = 0; i < 1000; i++) {
		int64_t before = clock_ns(CLOCK_MONOTONIC_RAW) + r.raw_offset_ns;
		struct vmt_read_time t = vmt_read_now_ordered(&r);
		int64_t after = clock_ns(CLOCK_MONOTONIC_RAW) + r.raw_offset_ns;

		assert_int_equal(t.status, VMT_READ_PAGE);
		assert_in_range(t.estimate_ns, before - r.raw_bound_ns - MS,
				after + r.raw_bound_ns + MS);
	}
}

/* Virtual time goes on from where the page was. */
static void a_page_that_fails_leaves_the_time_where_it_was(void **state)
{
	struct vmt_read_page page = true_page(NULL);
	struct vmt_read_time last, next;
	struct vmt_read r;

	(void)state;
	assert_int_equal(vmt_read_use(&r, &page), VMT_READ_PAGE);
	last = vmt_read_now_ordered(&r);
	page.version++;
	next = vmt_read_now_ordered(&r);
	assert_int_equal(next.status, VMT_READ_BUSY);
	assert_true(next.latest_ns >= last.earliest_ns);
	assert_in_range(next.estimate_ns, last.estimate_ns - r.raw_bound_ns - 1000,
			last.estimate_ns + SECOND);
	assert_in_range(next.latest_ns - next.earliest_ns, 2 * r.raw_bound_ns, SECOND);
	r.raw_at_ns -= 10 * SECOND; /* 500 ppm */
	assert_in_range(vmt_read_now(&r).latest_ns - vmt_read_now(&r).earliest_ns,
			2 * r.raw_bound_ns + 5 * MS, SECOND);
}

static void a_clock_of_another_rate_is_refused(void **state)
{
	struct vmt_read_page page = true_page(NULL);
	struct vmt_read r;

	(void)state;
	page.scale += (page.scale & UINT32_MAX) / 100 * (page.scale >> 31 & 1 ? -1ULL : 1);
	assert_int_equal(vmt_read_use(&r, &page), VMT_READ_DISAGREES);
	is_clock(&r, VMT_READ_DISAGREES);
}

/* Ten pairs with brackets of 60 ns, 0.2 ms apart. */
static void pairs_of(struct vmt_read_pair_ *pairs, int64_t ppm)
{
	for (int i = 0; i < VMT_READ_PAIRS; i++) {
		int64_t at = i * (int64_t)VMT_READ_PAIR_NS;

		pairs[i].raw_ns = 7 * SECOND + at;
		pairs[i].before_ns = 3 * SECOND + at + at * ppm / 1000000 - 30;
		pairs[i].after_ns = pairs[i].before_ns + 60;
	}
}

static void pairs_must_have_one_offset(void **state)
{
	struct vmt_read_pair_ pairs[VMT_READ_PAIRS];
	int64_t offset, bound;

	(void)state;
	pairs_of(pairs, 0);
	assert_true(vmt_read_agree_(pairs, VMT_READ_PAIRS, &offset, &bound));
	assert_int_equal(offset, -4 * SECOND);
	assert_in_range(bound, 30, 33);
	pairs[3].after_ns += 50 * MS; /* interrupted: says little, but nothing wrong */
	assert_true(vmt_read_agree_(pairs, VMT_READ_PAIRS, &offset, &bound));
	assert_in_range(bound, 30, 33);
	pairs_of(pairs, 1000); /* 1 ms each second */
	assert_false(vmt_read_agree_(pairs, VMT_READ_PAIRS, &offset, &bound));
	pairs_of(pairs, -1000);
	assert_false(vmt_read_agree_(pairs, VMT_READ_PAIRS, &offset, &bound));
	for (int i = 1; i < VMT_READ_PAIRS; i++) {
		pairs_of(pairs, 0);
		for (int j = i; j < VMT_READ_PAIRS; j++) { /* a step of 1 ms */
			pairs[j].before_ns += MS;
			pairs[j].after_ns += MS;
		}
		assert_false(vmt_read_agree_(pairs, VMT_READ_PAIRS, &offset, &bound));
	}
}

static void refuses(struct vmt_read_page page, uint32_t status)
{
	struct vmt_read r;

	assert_int_equal(vmt_read_use(&r, &page), status);
	is_clock(&r, status);
}

static void garbage_is_refused(void **state)
{
	const struct vmt_read_page good = true_page(NULL);
	const uint64_t mul = (uint32_t)good.scale, shift = good.scale & UINT64_C(0xff00000000);
	struct random random = random_start();
	struct vmt_read_page page;

	(void)state;
	memset(&page, 0, sizeof(page));
	refuses(page, VMT_READ_NO_PAGE);
	memset(&page, 0xff, sizeof(page));
	refuses(page, VMT_READ_NO_PAGE);
	for (int i = 0; i < 1000; i++) {
		uint64_t words[4];

		for (int j = 0; j < 4; j++)
			words[j] = random_next(&random);
		memcpy(&page, words, sizeof(page));
		refuses(page, VMT_READ_NO_PAGE);
	}
#define BUT(change) (page = good, change, page)
	refuses(BUT(page.version = 0), VMT_READ_NO_PAGE);
	refuses(BUT(page.version = 3), VMT_READ_BUSY);
	refuses(BUT(page.pad = 1), VMT_READ_NO_PAGE);
	refuses(BUT(page.tsc = tsc() + (UINT64_C(1) << 40)), VMT_READ_AHEAD);
	refuses(BUT(page.system_ns = UINT64_C(1) << 62), VMT_READ_NO_PAGE);
	refuses(BUT(page.scale &= ~VMT_READ_STABLE), VMT_READ_UNSTABLE);
	refuses(BUT(page.scale |= UINT64_C(8) << 40), VMT_READ_NO_PAGE);
	refuses(BUT(page.scale |= UINT64_C(1) << 63), VMT_READ_NO_PAGE);
	refuses(BUT(page.scale = shift | VMT_READ_STABLE), VMT_READ_NO_PAGE);
	refuses(BUT(page.scale = mul | scale_of(0, 32, 1)), VMT_READ_NO_PAGE);
	refuses(BUT(page.scale = mul | scale_of(0, -32, 1)), VMT_READ_NO_PAGE);
	refuses(BUT(page.scale = mul | scale_of(0, -10, 1)), VMT_READ_NO_PAGE);
	refuses(BUT(page.scale = mul | scale_of(0, 10, 1)), VMT_READ_NO_PAGE);
#undef BUT
}

static const void *found_in(const uint8_t *from, const uint8_t *to, const char *name,
			    const void *after)
{
	char line[128];

	snprintf(line, sizeof(line), "%lx-%lx r--p 00000000 00:00 0       %s", (unsigned long)from,
		 (unsigned long)to, name);
	return vmt_read_find_in_(line, (uintptr_t)after);
}

/* Wherever among the vDSO's pages; those that must not be touched are not. */
static void the_page_is_found_by_its_content(void **state)
{
	enum { PAGE = 4096, PAGES = 4 };
	struct vmt_read_page good = true_page(NULL);
	uint8_t *map = mmap(NULL, (size_t)PAGES * PAGE, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uint8_t *end = map + PAGES * PAGE;

	(void)state;
	assert_ptr_not_equal(map, MAP_FAILED);
	assert_int_equal(mprotect(map, PAGE, PROT_NONE), 0);
	assert_null(found_in(map, end, "[vvar]", NULL));
	memcpy(map + 2 * PAGE, &good, sizeof(good));
	assert_ptr_equal(found_in(map, end, "[vvar]", NULL), map + 2 * PAGE);
	assert_ptr_equal(found_in(map, end, "[vvar_vclock]", NULL), map + 2 * PAGE);
	assert_null(found_in(map, end, "[heap]", NULL));
	assert_null(found_in(map, end, "/usr/lib/[vvar]", NULL));
	assert_null(found_in(map, end, "[vvar]", map + 2 * PAGE));
	assert_null(found_in(map, map + 2 * PAGE, "[vvar]", NULL));
	assert_null(vmt_read_find_in_("", 0));
	memcpy(map + 3 * PAGE, &good, sizeof(good));
	assert_ptr_equal(found_in(map, end, "[vvar]", map + 2 * PAGE), map + 3 * PAGE);
	munmap(map, (size_t)PAGES * PAGE);
}

static void realtime_is_within_its_bounds_and_they_grow(void **state)
{
	struct vmt_read_page page = true_page(NULL);
	struct vmt_read_time t;
	struct vmt_read r;
	int64_t before, bound;

	(void)state;
	assert_int_equal(vmt_read_use(&r, &page), VMT_READ_PAGE);
	for (int i = 0; i < 1000; i++) {
		before = clock_ns(CLOCK_REALTIME);
		t = vmt_read_realtime(&r);
		assert_int_equal(t.status, VMT_READ_PAGE);
		assert_true(t.latest_ns >= before && t.earliest_ns <= clock_ns(CLOCK_REALTIME));
		assert_in_range(t.estimate_ns, t.earliest_ns, t.latest_ns);
	}
	bound = r.utc_bound_ns;
	assert_in_range(bound, 3, MS); /* half of what clock_gettime takes */
	r.utc_at_ns -= 10 * SECOND;    /* as if it had been renewed 10 s ago */
	t = vmt_read_realtime(&r);
	assert_in_range(t.latest_ns - t.earliest_ns, 2 * (10 * MS + bound), 2 * (20 * MS + bound));
	r.utc_at_ns += 20 * SECOND; /* a page that was put back */
	t = vmt_read_realtime(&r);
	assert_in_range(t.latest_ns - t.earliest_ns, 2 * (8 * MS + bound), 2 * (20 * MS + bound));
	assert_int_equal(vmt_read_renew(&r, 0), 0);
	r.utc_at_ns -= 3600 * SECOND;
	t = vmt_read_realtime(&r);
	assert_int_equal(t.latest_ns - t.earliest_ns, 2 * r.utc_bound_ns + 1);
	assert_int_equal(vmt_read_renew(&r, 100000), 0);
	assert_int_equal(vmt_read_renew(&r, 100001), -EINVAL);
}

static void an_offset_that_is_being_renewed_is_not_used(void **state)
{
	struct vmt_read_page page = true_page(NULL);
	struct vmt_read r;

	(void)state;
	assert_int_equal(vmt_read_use(&r, &page), VMT_READ_PAGE);
	r.utc_version++;
	assert_int_equal(vmt_read_realtime(&r).status, VMT_READ_NO_OFFSET);
	assert_int_equal(vmt_read_renew(&r, 0), -EBUSY);
	assert_int_equal(vmt_read_now(&r).status, VMT_READ_PAGE);
	r.utc_version = 0;
	assert_int_equal(vmt_read_realtime(&r).status, VMT_READ_NO_OFFSET);
	assert_int_equal(vmt_read_renew(&r, 0), 0);
	assert_int_equal(vmt_read_realtime(&r).status, VMT_READ_PAGE);
	page.version++;
	assert_int_equal(vmt_read_realtime(&r).status, VMT_READ_BUSY);
	assert_int_equal(vmt_read_renew(&r, 0), -ENODATA);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_count_is_scaled_as_linux_scales_it),
		cmocka_unit_test(every_form_reads_the_page_at_every_shift),
		cmocka_unit_test(a_writer_that_is_gone_is_not_waited_for),
		cmocka_unit_test(a_host_that_takes_its_promise_back_is_believed),
		cmocka_unit_test(an_anchor_in_the_future_is_not_a_huge_time),
		cmocka_unit_test(without_a_page_every_form_is_clock_gettime),
		cmocka_unit_test(a_page_that_tells_the_time_is_taken),
		cmocka_unit_test(a_page_that_fails_leaves_the_time_where_it_was),
		cmocka_unit_test(a_clock_of_another_rate_is_refused),
		cmocka_unit_test(pairs_must_have_one_offset),
		cmocka_unit_test(garbage_is_refused),
		cmocka_unit_test(the_page_is_found_by_its_content),
		cmocka_unit_test(realtime_is_within_its_bounds_and_they_grow),
		cmocka_unit_test(an_offset_that_is_being_renewed_is_not_used),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
