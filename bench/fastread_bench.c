/* SPDX-License-Identifier: Apache-2.0 */
/* fastread_bench.c - what include/vmtime/read.h costs beside RDTSC and the vDSO's clock_gettime.
 *
 * Each figure is the middle of many batches in the quietest of some rounds, in cycles of the TSC,
 * and the middle of as many multiples of a peer, each of a batch and of those of the peer right
 * before and after it, since the CPU's frequency moves: of the bare instruction for the reader, of
 * the reader for the vDSO.  Where no page is mapped the reader reads one in this program's memory,
 * at the same price.  The vDSO's limit holds on clocksource kvm-clock, where the vDSO reads that
 * page too; on another its figure is shown and not judged.  The exit status is 1 when a figure
 * misses its limit in three tries.
 *
 *     fastread_bench [ROUNDS] */
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <vmtime/read.h>

enum { ROUNDS = 60, BATCHES = 31, CALLS = 200 };

__extension__ typedef unsigned __int128 u128;

static struct vmt_read guest;
static struct vmt_read_page own_page = {
	.version = 2,
	.scale = UINT64_C(0xd15ee295) | UINT64_C(0xff) << 32 | VMT_READ_STABLE,
};
static uint64_t sink;

static uint64_t plain_tsc(void)
{
	uint32_t low, high;

	__asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
	return (uint64_t)high << 32 | low;
}

static uint64_t fenced_tsc(void)
{
	uint32_t low, high;

	__asm__ volatile("lfence\n\trdtsc" : "=a"(low), "=d"(high) : : "memory");
	return (uint64_t)high << 32 | low;
}

static void rdtsc(void)
{
	for (int i = 0; i < CALLS; i++)
		sink += plain_tsc();
}

static void read_ns(void)
{
	for (int i = 0; i < CALLS; i++)
		sink += (uint64_t)vmt_read_ns(&guest);
}

/* All of it is made, and the estimate used as a bare count is. */
static void take(struct vmt_read_time t)
{
	__asm__ volatile("" : : "r"(t.earliest_ns), "r"(t.latest_ns), "r"(t.status));
	sink += (uint64_t)t.estimate_ns;
}

static void read_now(void)
{
	for (int i = 0; i < CALLS; i++)
		take(vmt_read_now(&guest));
}

static void lfence_rdtsc(void)
{
	for (int i = 0; i < CALLS; i++)
		sink += fenced_tsc();
}

/* A product and a sum, both waiting for the count and waited for by the next fence: what no clock
 * that scales a count can do without.  An ordered reading is compared with this. */
static void lfence_scaled(void)
{
	uint64_t fraction = guest.page->scale << 31, base = guest.page->system_ns;

	__asm__ volatile("" : "+r"(fraction), "+r"(base));
	for (int i = 0; i < CALLS; i++)
		sink += base + (uint64_t)((u128)fenced_tsc() * fraction >> 64);
}

static void read_ns_ordered(void)
{
	for (int i = 0; i < CALLS; i++)
		sink += (uint64_t)vmt_read_ns_ordered(&guest);
}

static void read_now_ordered(void)
{
	for (int i = 0; i < CALLS; i++)
		take(vmt_read_now_ordered(&guest));
}

static void read_realtime(void)
{
	for (int i = 0; i < CALLS; i++)
		take(vmt_read_realtime(&guest));
}

static void clock_calls(clockid_t clock)
{
	struct timespec t;

	for (int i = 0; i < CALLS; i++) {
		clock_gettime(clock, &t);
		sink += (uint64_t)t.tv_nsec;
	}
}

static void vdso_monotonic(void)
{
	clock_calls(CLOCK_MONOTONIC);
}

static void vdso_raw(void)
{
	clock_calls(CLOCK_MONOTONIC_RAW);
}

static void vdso_realtime(void)
{
	clock_calls(CLOCK_REALTIME);
}

enum {
	RDTSC,
	NS,
	NOW,
	LFENCE,
	SCALED,
	NS_ORDERED,
	NOW_ORDERED,
	REALTIME,
	MONOTONIC,
	RAW,
	UTC,
	FIGURES
};

static const struct {
	const char *name;
	void (*calls)(void);
	unsigned peer;  /* whose multiple is shown */
	unsigned most;  /* hundredths of the peer; 0: none */
	unsigned least; /* the same, on clocksource kvm-clock */
} figures[FIGURES] = {
	[RDTSC] = {"RDTSC", rdtsc, RDTSC, 0, 0},
	[NS] = {"vmt_read_ns", read_ns, RDTSC, 105, 0},
	[NOW] = {"vmt_read_now", read_now, RDTSC, 105, 0},
	[LFENCE] = {"LFENCE; RDTSC", lfence_rdtsc, LFENCE, 0, 0},
	[SCALED] = {"LFENCE; RDTSC, scaled", lfence_scaled, LFENCE, 0, 0},
	[NS_ORDERED] = {"vmt_read_ns_ordered", read_ns_ordered, SCALED, 105, 0},
	[NOW_ORDERED] = {"vmt_read_now_ordered", read_now_ordered, SCALED, 105, 0},
	[REALTIME] = {"vmt_read_realtime", read_realtime, SCALED, 0, 0},
	[MONOTONIC] = {"clock_gettime MONOTONIC", vdso_monotonic, NOW, 0, 230},
	[RAW] = {"clock_gettime MONOTONIC_RAW", vdso_raw, NOW, 0, 0},
	[UTC] = {"clock_gettime REALTIME", vdso_realtime, REALTIME, 0, 0},
};

static int by_size(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

/* Of the quietest round so far, in hundredths. */
struct figure {
	uint64_t cycles, times; /* of a call; of the peer's.  0: none yet */
};

static uint64_t cycles_of(void (*calls)(void))
{
	uint64_t from = fenced_tsc();

	calls();
	return fenced_tsc() - from;
}

static uint64_t middle(uint64_t *of)
{
	qsort(of, BATCHES, sizeof(*of), by_size);
	return of[BATCHES / 2];
}

static void measure(void (*calls)(void), void (*peer)(void), struct figure *f)
{
	uint64_t cycles[BATCHES], times[BATCHES], before = cycles_of(peer), own;

	for (int i = 0; i < BATCHES; i++) {
		const uint64_t now = cycles_of(calls), after = cycles_of(peer);

		cycles[i] = now * 100 / CALLS;
		times[i] = (now * 200 + (before + after) / 2) / (before + after);
		before = after;
	}
	own = middle(cycles);
	if (!f->cycles || own < f->cycles)
		*f = (struct figure){own, middle(times)};
}

/* What is read, in words; whether the vDSO reads the same. */
static bool open_guest(void)
{
	uint32_t status = vmt_read_open(&guest);

	if (status == VMT_READ_PAGE) {
		puts("# the guest's own page, on clocksource kvm-clock");
		return true;
	}
	if (vmt_read_use(&guest, vmt_read_find(NULL)) == VMT_READ_PAGE) {
		puts("# the guest's own page; the vDSO reads another clocksource, so not judged");
		return false;
	}
	own_page.tsc = plain_tsc();
	guest.page = &own_page;
	guest.status = VMT_READ_PAGE;
	guest.utc_version = 2;
	guest.utc_growth_ppm = VMT_READ_GROWTH_PPM;
	puts("# a page in memory, none is mapped here; the vDSO is not judged");
	return false;
}

static bool is_good(int i, const struct figure *f, bool vdso_counts)
{
	return (!figures[i].most || f->times <= figures[i].most) &&
	       (!vdso_counts || f->times >= figures[i].least);
}

static void show(int i, const struct figure *f, bool vdso_counts)
{
	const uint64_t cycles = f->cycles, times = f->times;
	unsigned most = figures[i].most, least = vdso_counts ? figures[i].least : 0;

	printf("%-30s %5" PRIu64 ".%02" PRIu64 " %5" PRIu64 ".%02" PRIu64 "  %s", figures[i].name,
	       cycles / 100, cycles % 100, times / 100, times % 100, figures[figures[i].peer].name);
	if (most)
		printf(", at most %u.%02u", most / 100, most % 100);
	if (least)
		printf(", at least %u.%02u", least / 100, least % 100);
	putchar('\n');
}

int main(int argc, char **argv)
{
	const int rounds = argc > 1 && atoi(argv[1]) > 0 ? atoi(argv[1]) : ROUNDS;
	struct figure all[FIGURES] = {0};
	const bool vdso_counts = open_guest();
	bool good = false;

	/* A machine that is busy now may be quiet later. */
	for (int attempt = 0; attempt < 3 && !good; attempt++) {
		for (int round = 0; round < rounds; round++)
			for (int i = 0; i < FIGURES; i++)
				measure(figures[i].calls, figures[figures[i].peer].calls, &all[i]);
		good = true;
		for (int i = 0; i < FIGURES; i++)
			good = is_good(i, &all[i], vdso_counts) && good;
	}
	printf("%-30s %8s %8s  of, and limit\n", "time in a guest", "cycles", "times");
	for (int i = 0; i < FIGURES; i++)
		show(i, &all[i], vdso_counts);
	return sink && good ? 0 : 1;
}
