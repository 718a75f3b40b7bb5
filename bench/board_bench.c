/* SPDX-License-Identifier: Apache-2.0 */
/* board_bench.c - what the library costs beside one RDTSC, without any VM.
 *
 * Each figure is the middle of many batches, in the quietest of some rounds (what shares the core
 * can double everything but RDTSC), in cycles of the TSC and as a multiple of the RDTSC measured in
 * the same run: multiples travel between machines, cycles do not.  The exit status is 1 when a
 * figure is above its limit. */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <x86intrin.h>
#include <vmtime/board.h>

#include "random.h"

enum { ROUNDS = 60, BATCHES = 201, CALLS = 200, ACCESSES = 4096, FIGURES = 15 };

#define TEN_YEARS UINT64_C(315576000000000000)

#define HPET UINT64_C(0xfed00000)

struct access {
	uint64_t at;
	uint32_t space, value;
	uint8_t width, write;
};

static struct vmt_clock vm_clock;
static struct vmt_board board;
static struct vmt_board_out out;
static struct access accesses[ACCESSES];
static vmt_ns now;
static uint64_t sink;

static void rdtsc(void)
{
	sink += __rdtsc();
}

/* What a VMM does at an exit: a host count, virtual time, the access. */
static void pit_read_with_clock(void)
{
	uint64_t value;

	vmt_board_read(&board, vmt_clock_now(&vm_clock, __rdtsc()), VMT_PIO, 0x40, 1, &value, &out);
	sink += value;
}

static void pit_read(void)
{
	uint64_t value;

	now += 500;
	vmt_board_read(&board, now, VMT_PIO, 0x40, 1, &value, &out);
	sink += value;
}

static void pmtmr_peek_with_clock(void)
{
	sink += vmt_pmtmr_peek(vmt_clock_now(&vm_clock, __rdtsc()), 24);
}

static void pmtmr_read(void)
{
	uint64_t value;

	now += 500;
	vmt_board_read(&board, now, VMT_PIO, 0x608, 4, &value, &out);
	sink += value;
}

static void hpet_peek_with_clock(void)
{
	uint64_t value;

	if (vmt_hpet_peek(&board.hpet, vmt_clock_now(&vm_clock, __rdtsc()), &value) == 0)
		sink += value;
}

static void hpet_read(void)
{
	uint64_t value;

	now += 500;
	vmt_board_read(&board, now, VMT_MMIO, HPET + VMT_HPET_COUNTER, 4, &value, &out);
	sink += value;
}

/* A call that has nothing else to do: the SCI is not acknowledged here. */
static void earliest_deadline(void)
{
	now += 50;
	vmt_board_ack(&board, now, VMT_SOURCE_SCI, &out);
	sink += out.deadline;
}

static void board_advance(void)
{
	now += 500;
	vmt_board_advance(&board, now, &out);
	sink += out.deadline;
}

static void counter_at(void)
{
	now += 500;
	sink += vmt_clock_counter_at(&vm_clock, now);
}

static void random_access(void)
{
	static unsigned next;
	const struct access *a = &accesses[next++ % ACCESSES];
	uint64_t value = 0;

	now += 500;
	if (a->write)
		vmt_board_write(&board, now, a->space, a->at, a->width, a->value, &out);
	else
		vmt_board_read(&board, now, a->space, a->at, a->width, &value, &out);
	sink += value;
}

/* From the same state each time: the copy is in the figure. */
static void pit_ten_years(void)
{
	struct vmt_pit copy = board.pit;

	sink += vmt_pit_advance(&copy, now + TEN_YEARS).deadline;
}

static void rtc_ten_years(void)
{
	struct vmt_rtc copy = board.rtc;

	sink += vmt_rtc_advance(&copy, now + TEN_YEARS).deadline;
}

static void pmtmr_ten_years(void)
{
	struct vmt_pmtmr copy = board.pmtmr;

	sink += vmt_pmtmr_advance(&copy, now + TEN_YEARS).deadline;
}

static void hpet_ten_years(void)
{
	struct vmt_hpet copy = board.hpet;

	sink += vmt_hpet_advance(&copy, now + TEN_YEARS).deadline;
}

static void put(uint16_t port, uint8_t value)
{
	vmt_board_write(&board, now, VMT_PIO, port, 1, value, &out);
}

/* A guest that ticks at 1 kHz, waits for an alarm, for the PM timer's overflow, and for a timer of
 * the HPET at 100 Hz. */
static void boot(void)
{
	const struct vmt_board_config config = {
		.faces = VMT_HAS_PIT | VMT_HAS_RTC | VMT_HAS_PMTMR | VMT_HAS_HPET,
		.pm1a_port = 0x600,
		.pmtmr_port = 0x608,
		.pmtmr_bits = 24,
		.hpet_routes = 1 << 20,
		.hpet_address = HPET,
	};
	static const uint32_t timer[][2] = {
		{0x100, 0x284c}, {0x108, 1000000}, {0x108, 1000000}, {0x10, 1}};
	static const uint8_t program[][2] = {{0x43, 0x34}, {0x40, 0xa9}, {0x40, 0x04}, {0x70, 0x0b},
					     {0x71, 0x22}, {0x70, 0x05}, {0x71, 0x12}};
	struct vmt_reading at = {.counter = __rdtsc(), .utc_ns = INT64_C(1704164645000000000)};

	if (vmt_clock_start(2500000000, &at, &vm_clock, NULL) ||
	    vmt_board_init(&board, &config, 0, at.utc_ns))
		exit(1);
	now = 0;
	for (size_t i = 0; i < sizeof(program) / sizeof(program[0]); i++)
		put(program[i][0], program[i][1]);
	vmt_board_write(&board, now, VMT_PIO, 0x602, 2, 1, &out);
	for (size_t i = 0; i < sizeof(timer) / sizeof(timer[0]); i++)
		vmt_board_write(&board, now, VMT_MMIO, HPET + timer[i][0], 8, timer[i][1], &out);
}

static void draw_accesses(void)
{
	static const uint64_t at[] = {
		0x40,         0x41,         0x42,         0x43,         0x61,
		0x70,         0x71,         0x600,        0x602,        0x608,
		HPET,         HPET + 0x10,  HPET + 0x20,  HPET + 0xf0,  HPET + 0xf4,
		HPET + 0x100, HPET + 0x108, HPET + 0x12a, HPET + 0x148,
	};
	struct random random = {.state = random_seed()};

	for (int i = 0; i < ACCESSES; i++) {
		uint64_t addr = at[random_below(&random, sizeof(at) / sizeof(at[0]))];

		accesses[i] = (struct access){
			.at = addr,
			.space = addr < HPET ? VMT_PIO : VMT_MMIO,
			.width = (uint8_t)(1u << random_below(&random, 3)),
			.write = (uint8_t)random_below(&random, 2),
			.value = (uint32_t)random_next(&random),
		};
	}
}

static int by_size(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

/* Cycles of one call, in hundredths. */
static uint64_t measure(void (*call)(void))
{
	static uint64_t batches[BATCHES];

	boot();
	for (int i = 0; i < BATCHES; i++) {
		uint64_t from = __rdtsc();

		for (int j = 0; j < CALLS; j++)
			call();
		batches[i] = __rdtsc() - from;
	}
	qsort(batches, BATCHES, sizeof(batches[0]), by_size);
	return batches[BATCHES / 2] * 100 / CALLS;
}

static const struct {
	const char *name;
	void (*call)(void);
	unsigned limit; /* in RDTSCs; 0: none */
} figures[FIGURES] = {
	{"RDTSC", rdtsc, 0},
	{"PIT counter read, from RDTSC to answer", pit_read_with_clock, 6},
	{"PIT counter read, now given", pit_read, 0},
	{"PM timer peek, from RDTSC to answer", pmtmr_peek_with_clock, 0},
	{"PM timer read through the board", pmtmr_read, 0},
	{"HPET counter peek, from RDTSC to answer", hpet_peek_with_clock, 5},
	{"HPET counter read through the board", hpet_read, 0},
	{"earliest deadline of the board", earliest_deadline, 5},
	{"bring every face up, earliest deadline", board_advance, 0},
	{"host count of a deadline", counter_at, 0},
	{"random guest access", random_access, 40},
	{"PIT across ten years", pit_ten_years, 50},
	{"RTC across ten years", rtc_ten_years, 50},
	{"PM timer across ten years", pmtmr_ten_years, 50},
	{"HPET across ten years", hpet_ten_years, 50},
};

/* Hundredths with two decimals. */
static void print(uint64_t hundredths)
{
	printf(" %5llu.%02llu", (unsigned long long)hundredths / 100,
	       (unsigned long long)hundredths % 100);
}

int main(void)
{
	uint64_t cost[FIGURES];
	bool good = true;

	draw_accesses();
	for (int round = 0; round < ROUNDS; round++)
		for (int i = 0; i < FIGURES; i++) {
			uint64_t now_cost = measure(figures[i].call);

			if (!round || now_cost < cost[i])
				cost[i] = now_cost;
		}
	printf("%-40s %8s %8s %6s\n", "library", "cycles", "RDTSCs", "limit");
	for (int i = 0; i < FIGURES; i++) {
		uint64_t times = cost[0] ? cost[i] * 100 / cost[0] : 0;

		printf("%-40s", figures[i].name);
		print(cost[i]);
		print(times);
		if (figures[i].limit)
			printf(" %6u", figures[i].limit);
		putchar('\n');
		good = good && (!figures[i].limit || times <= figures[i].limit * 100);
	}
	return sink && good ? 0 : 1;
}
