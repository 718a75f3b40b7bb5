/* SPDX-License-Identifier: Apache-2.0 */
/* cpus.c - starts the machine's other CPUs, which then do what the first one asks for. */
#include "guest/probe/cpu.h"
#include "guest/probe/probe.h"

/* Interrupt command: to all but this one, INIT or a startup at a page. */
enum { LAPIC_ICR = 0xfee00300 - 0xfee00000, ICR_OTHERS_INIT = 0xc4500, ICR_OTHERS_START = 0xc4600 };

static const uint32_t lapic = 0xfee00000;
static const uint64_t pause_tsc = 1 << 24, patience_tsc = 1ULL << 34;

enum { NOTHING = 0, TSC = 't', RTC = 'r' };

/* Between the first CPU and another.  `job` is set by the first and cleared by the other. */
struct desk {
	volatile uint32_t here, apic_id;
	volatile uint32_t job; /* a face's letter */
	volatile uint32_t found;
	volatile uint64_t tsc;
	struct probe_reading readings[PROBE_BURST];
} __attribute__((aligned(128)));

static struct desk desks[PROBE_CPUS];
static uint32_t count = 1;

extern const uint8_t probe_low[];
extern const uint32_t probe_low_size;
void probe_other(uint32_t index);

static void wait(uint64_t counts)
{
	uint64_t start = cpu_tsc();

	while (cpu_tsc() - start < counts)
		cpu_relax();
}

static uint32_t present(void)
{
	uint32_t n = 1;

	while (n < PROBE_CPUS && desks[n].here)
		n++;
	return n;
}

void probe_start_cpus(const struct probe_tables *tables)
{
	uint32_t wanted = tables->cpus < PROBE_CPUS ? tables->cpus : PROBE_CPUS;
	volatile uint8_t *low = (volatile uint8_t *)PROBE_LOW;
	uint64_t start = cpu_tsc();

	desks[0].apic_id = cpu_id(1).b >> 24;
	if (wanted == 1)
		return;
	for (uint32_t i = 0; i < probe_low_size; i++)
		low[i] = probe_low[i];
	cpu_store32(lapic + LAPIC_ICR, ICR_OTHERS_INIT);
	wait(pause_tsc);
	for (int twice = 0; twice < 2 && present() < wanted; twice++) {
		cpu_store32(lapic + LAPIC_ICR, ICR_OTHERS_START | PROBE_LOW >> 12);
		wait(pause_tsc);
	}
	while (present() < wanted && cpu_tsc() - start < patience_tsc)
		cpu_relax();
	count = present();
}

uint32_t probe_cpu_count(void)
{
	return count;
}

uint32_t probe_apic_id(uint32_t index)
{
	return desks[index].apic_id;
}

/* What another CPU does from its start on. */
void probe_other(uint32_t index)
{
	struct desk *d = &desks[index];

	probe_start_own_faces(index);
	d->apic_id = cpu_id(1).b >> 24;
	d->here = 1;
	for (;;) {
		uint32_t job = d->job;

		if (job == NOTHING) {
			cpu_relax();
			continue;
		}
		if (job == TSC)
			d->tsc = cpu_tsc();
		else if (job == RTC)
			d->found = probe_read_rtc(d->readings);
		else
			probe_read_face((char)job, index, d->readings);
		__asm__ volatile("" : : : "memory");
		d->job = NOTHING;
	}
}

static void ask(struct desk *d, char job)
{
	d->job = (uint8_t)job;
	while (d->job != NOTHING)
		cpu_relax();
	__asm__ volatile("" : : : "memory");
}

/* The other's count lies between two of ours. */
static void read_tsc_of(struct desk *d, struct probe_reading *ret_readings)
{
	for (uint32_t i = 0; i < PROBE_BURST; i++) {
		ret_readings[i].before = cpu_tsc();
		ask(d, TSC);
		ret_readings[i].after = cpu_tsc();
		ret_readings[i].value = d->tsc;
	}
}

static void copy(const struct desk *d, uint32_t n, struct probe_reading *ret_readings)
{
	for (uint32_t i = 0; i < n; i++) {
		ret_readings[i].before = d->readings[i].before;
		ret_readings[i].after = d->readings[i].after;
		ret_readings[i].value = d->readings[i].value;
	}
}

void probe_read_face_on(uint32_t index, char face, struct probe_reading *ret_readings)
{
	struct desk *d = &desks[index];

	if (index == 0) {
		probe_read_face(face, index, ret_readings);
	} else if (face == TSC) {
		read_tsc_of(d, ret_readings);
	} else {
		ask(d, face);
		copy(d, PROBE_BURST, ret_readings);
	}
}

bool probe_read_rtc_on(uint32_t index, struct probe_reading *ret_reading)
{
	struct desk *d = &desks[index];

	if (index == 0)
		return probe_read_rtc(ret_reading);
	ask(d, RTC);
	copy(d, 1, ret_reading);
	return d->found;
}
