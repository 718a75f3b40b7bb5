/* SPDX-License-Identifier: Apache-2.0 */
/* ticks.c - lets a timer interrupt, and counts what arrives and how long each tick waits. */
#include "guest/probe/cpu.h"
#include "guest/probe/probe.h"

enum { PIC_1_MASK = 0x21, PIC_2_MASK = 0xa1, ALL = 0xff };

/* 8254, channel 0, both bytes.  Mode 5 waits for an edge of its gate, which never comes. */
enum { PIT_0 = 0x40, PIT_COMMAND = 0x43, PIT_0_MODE_2 = 0x34, PIT_0_MODE_5 = 0x3a };

enum { RTC_INDEX = 0x70, RTC_DATA = 0x71, RTC_A = 0xa, RTC_B = 0xb, RTC_C = 0xc };
enum { RTC_A_RUNS = 0x20, RTC_B_PIE = 0x40, RTC_B_IRQS = 0x70 };

/* HPET: timer 0, of which the lower halves do (IA-PC HPET 1.0a, 2.3). */
enum { HPET_CONFIG = 0x10, HPET_RUN = 1, HPET_LEGACY = 2, HPET_COUNT = 0xf0 };
enum { HPET_TIMER = 0x100, HPET_ROUTES = HPET_TIMER + 4, HPET_COMPARATOR = HPET_TIMER + 8 };
enum { TIMER_IRQ = 1 << 2, TIMER_PERIODIC = 1 << 3, TIMER_SET = 1 << 6 };
enum { TIMER_32_BITS = 1 << 8, TIMER_ROUTE = 9, TIMER_MOST_ROUTE = 23 };

/* Where the PIT's interrupt arrives is what the firmware's table says of ISA's number 0. */
enum { GSI_PIT = 2, GSI_RTC = 8, VECTOR = 0x40, VECTOR_SPURIOUS = 0xff, VECTORS = 256 };
enum { IOAPIC_DATA = 0x10, IOAPIC_PINS = 0x10, IOAPIC_MASKED = 1 << 16 };
enum { LAPIC_ID = 0x20, LAPIC_PRIORITY = 0x80, LAPIC_EOI = 0xb0 };
enum { START_TRIES = 32, CODE_SEGMENT = 8, GATE_INTERRUPT = 0x8e00 };

static const uint32_t lapic = 0xfee00000, ioapic = 0xfec00000;
static const uint64_t drain_tsc = 1 << 24;

/* A position between counts of the TSC, in parts of 2^-32. */
struct position {
	uint64_t count;
	uint32_t part;
};

static struct {
	struct position period, due; /* `due`: the latest that is due */
	uint64_t slack;              /* a tick this much before its time is on time */
	uint32_t warm, most_warm;    /* ticks still to come that only show where its phase is */
	char source;
	bool counting;
	volatile bool recording;
	volatile uint32_t count, stored, most;
	volatile bool warming;
} ticks;

static uint32_t samples[PROBE_SAMPLES];
static uint32_t hpet; /* its address; 0: there is none */
static struct {
	uint16_t low, segment, flags, high;
} gates[VECTORS];

/* start.S: they save the registers, and the first calls probe_on_tick(). */
extern const uint8_t probe_tick_gate[], probe_spurious_gate[];
void probe_on_tick(void);

static void step(struct position *p, const struct position *by)
{
	uint32_t part = p->part + by->part;

	p->count += by->count + (part < p->part);
	p->part = part;
}

/* The earliest tick of the first ones is taken for one that came at once. */
static void find_phase(uint64_t arrival)
{
	if (ticks.warm == ticks.most_warm) {
		ticks.due.count = arrival;
		ticks.due.part = 0;
	}
	while ((int64_t)(arrival - ticks.due.count) > (int64_t)(ticks.period.count / 2))
		step(&ticks.due, &ticks.period);
	if ((int64_t)(arrival - ticks.due.count) < 0) {
		ticks.due.count = arrival;
		ticks.due.part = 0;
	}
	ticks.warming = --ticks.warm > 0;
}

static void store(uint64_t late)
{
	if (late > UINT32_MAX)
		late = UINT32_MAX;
	if (late > ticks.most)
		ticks.most = (uint32_t)late;
	if (ticks.stored < PROBE_SAMPLES)
		samples[ticks.stored++] = (uint32_t)late;
}

/* Each tick that fell due since the last interrupt has waited for this one. */
static void record(uint64_t arrival)
{
	struct position next = ticks.due;

	for (step(&next, &ticks.period); arrival + ticks.slack >= next.count;
	     step(&next, &ticks.period)) {
		store(arrival > next.count ? arrival - next.count : 0);
		ticks.due = next;
	}
}

void probe_on_tick(void)
{
	uint64_t arrival = cpu_tsc();

	if (ticks.source == 'r') { /* else it asks no more */
		cpu_out8(RTC_INDEX, RTC_C);
		cpu_in8(RTC_DATA);
	}
	if (ticks.counting)
		ticks.count++;
	if (ticks.recording && ticks.warm)
		find_phase(arrival);
	else if (ticks.recording)
		record(arrival);
	cpu_store32(lapic + LAPIC_EOI, 0);
}

static void set_gate(uint32_t vector, const uint8_t *handler)
{
	uint32_t address = (uint32_t)(uintptr_t)handler;

	gates[vector].low = (uint16_t)address;
	gates[vector].segment = CODE_SEGMENT;
	gates[vector].flags = GATE_INTERRUPT;
	gates[vector].high = (uint16_t)(address >> 16);
}

static void write_ioapic(uint32_t reg, uint32_t value)
{
	cpu_store32(ioapic, reg);
	cpu_store32(ioapic + IOAPIC_DATA, value);
}

static void route(uint32_t gsi, bool on)
{
	if (on)
		write_ioapic(IOAPIC_PINS + 2 * gsi + 1, cpu_load32(lapic + LAPIC_ID) & 0xff000000);
	write_ioapic(IOAPIC_PINS + 2 * gsi, on ? VECTOR : IOAPIC_MASKED);
}

static void write_rtc(uint8_t index, uint8_t value)
{
	cpu_out8(RTC_INDEX, index);
	cpu_out8(RTC_DATA, value);
}

static uint8_t read_rtc(uint8_t index)
{
	cpu_out8(RTC_INDEX, index);
	return cpu_in8(RTC_DATA);
}

static void program_pit(uint8_t command, uint32_t count)
{
	cpu_out8(PIT_COMMAND, command);
	cpu_out8(PIT_0, (uint8_t)count);
	cpu_out8(PIT_0, (uint8_t)(count >> 8));
}

static void stop_hpet(void)
{
	cpu_store32(hpet + HPET_CONFIG, 0);
}

static void stop_sources(void)
{
	program_pit(PIT_0_MODE_5, 0);
	if (hpet) {
		stop_hpet();
		cpu_store32(hpet + HPET_TIMER, 0);
	}
	write_rtc(RTC_B, (uint8_t)(read_rtc(RTC_B) & ~RTC_B_IRQS));
	read_rtc(RTC_C);
}

void probe_prepare_ticks(uint32_t hpet_address)
{
	struct {
		uint16_t limit;
		uint32_t base;
	} __attribute__((packed)) pointer = {sizeof(gates) - 1, (uint32_t)(uintptr_t)gates};

	hpet = hpet_address;
	cpu_out8(PIC_1_MASK, ALL);
	cpu_out8(PIC_2_MASK, ALL);
	stop_sources();
	set_gate(VECTOR, probe_tick_gate);
	set_gate(VECTOR_SPURIOUS, probe_spurious_gate);
	__asm__ volatile("lidt %0" : : "m"(pointer) : "memory");
	cpu_store32(lapic + LAPIC_PRIORITY, 0);
}

/* The input of the I/O APIC that this order's interrupts arrive at.  Of those that the HPET can use
 * the greatest, which is nobody else's. */
static uint32_t find_gsi(char source)
{
	uint32_t gsi = TIMER_MOST_ROUTE;

	if (source == 'r')
		return GSI_RTC;
	if (source != 'h')
		return GSI_PIT;
	while (gsi && !(cpu_load32(hpet + HPET_ROUTES) >> gsi & 1))
		gsi--;
	return gsi;
}

/* The comparator is given its first value, then, without TIMER_SET, its period (2.3.9.2.2). */
static void prepare_hpet(uint32_t count, uint32_t gsi)
{
	uint32_t config = TIMER_PERIODIC | TIMER_32_BITS | TIMER_IRQ | gsi << TIMER_ROUTE;

	stop_hpet();
	cpu_store32(hpet + HPET_COUNT, 0);
	cpu_store32(hpet + HPET_COUNT + 4, 0);
	cpu_store32(hpet + HPET_TIMER, config | TIMER_SET);
	cpu_store32(hpet + HPET_COMPARATOR, count);
	cpu_store32(hpet + HPET_COMPARATOR, count);
}

/* The write that starts a source. */
struct command {
	uint32_t port, value;
};

static void give(const struct command *c)
{
	if (c->port <= UINT16_MAX)
		cpu_out8((uint16_t)c->port, (uint8_t)c->value);
	else
		cpu_store32(c->port, c->value);
}

/* All but that write. */
static struct command prepare_source(const struct probe_order *o, uint32_t gsi)
{
	uint32_t on = HPET_RUN | (o->source == 'l' ? HPET_LEGACY : 0);

	switch (o->source) {
	case 'p':
		cpu_out8(PIT_COMMAND, PIT_0_MODE_2);
		cpu_out8(PIT_0, (uint8_t)o->setting);
		return (struct command){PIT_0, o->setting >> 8 & 0xff};
	case 'r':
		write_rtc(RTC_A, (uint8_t)(RTC_A_RUNS | o->setting));
		return (struct command){RTC_DATA, (uint32_t)(read_rtc(RTC_B) | RTC_B_PIE)};
	default:
		prepare_hpet(o->setting, o->source == 'l' ? 0 : gsi);
		return (struct command){hpet + HPET_CONFIG, on};
	}
}

/* Now and then a hypervisor's host has something else to do in between: then once more, as long as
 * no tick can have come. */
static void start_between(const struct probe_order *o, uint32_t gsi, struct probe_tally *t)
{
	uint32_t tries = o->source == 'r' ? 1 : START_TRIES;
	uint64_t began, period = ticks.period.count;

	do {
		struct command c;

		began = cpu_tsc();
		c = prepare_source(o, gsi);
		t->start = cpu_tsc();
		give(&c);
		t->start_width = cpu_tsc() - t->start;
	} while (--tries && t->start_width > period / 16 && cpu_tsc() - began < period / 2);
}

static void start_source(const struct probe_order *o, uint32_t gsi, struct probe_tally *t)
{
	start_between(o, gsi, t);
	ticks.due.count = t->start + t->start_width / 2;
	ticks.due.part = 0;
	ticks.slack = ticks.period.count / 32 + t->start_width / 2;
	if (o->source == 'r' || t->start_width > ticks.period.count / 4) {
		ticks.slack = ticks.period.count / 32;
		ticks.warm = 1;
		for (uint64_t n = 8 * ticks.period.count; n < o->run && ticks.warm < PROBE_WARM;
		     n += 8 * ticks.period.count)
			ticks.warm++;
		ticks.most_warm = ticks.warm;
		ticks.warming = true;
	}
	ticks.recording = true;
}

/* KVM's PIT goes on until the count is written, ours stops at the mode. */
static void stop_source(const struct probe_order *o, struct probe_tally *t)
{
	uint8_t value = 0;

	if (o->source == 'r')
		value = (uint8_t)(read_rtc(RTC_B) & ~RTC_B_PIE);
	t->stop = cpu_tsc();
	if (o->source == 'r')
		cpu_out8(RTC_DATA, value);
	else if (o->source == 'p')
		program_pit(PIT_0_MODE_5, 0);
	else
		stop_hpet();
	t->stop_width = cpu_tsc() - t->stop;
}

static void spin(uint64_t counts)
{
	uint64_t start = cpu_tsc();

	while (cpu_tsc() - start < counts)
		cpu_relax();
}

/* Interrupts are off when it comes and when it goes. */
static void idle(uint64_t end, bool only_warm)
{
	while (cpu_tsc() < end && (!only_warm || ticks.warming))
		__asm__ volatile("sti; hlt; cli" : : : "memory");
}

/* Two periods and a half deaf, one not. */
static void be_busy(uint64_t end)
{
	while (cpu_tsc() < end) {
		spin(ticks.period.count * 2 + ticks.period.count / 2);
		__asm__ volatile("sti" : : : "memory");
		spin(ticks.period.count);
		__asm__ volatile("cli" : : : "memory");
	}
}

static void sift(uint32_t at, uint32_t count)
{
	uint32_t value = samples[at], child;

	while ((child = 2 * at + 1) < count) {
		if (child + 1 < count && samples[child + 1] > samples[child])
			child++;
		if (samples[child] <= value)
			break;
		samples[at] = samples[child];
		at = child;
	}
	samples[at] = value;
}

static void sort(uint32_t count)
{
	for (uint32_t i = count / 2; i--;)
		sift(i, count);
	while (count > 1) {
		uint32_t greatest = samples[0];

		samples[0] = samples[--count];
		samples[count] = greatest;
		sift(0, count);
	}
}

/* Says how far it has come, and lets the ticks go on until somebody answers. */
static void report_and_wait(void)
{
	char c;

	__asm__ volatile("sti" : : : "memory");
	probe_begin('S');
	probe_put_number(ticks.count);
	probe_end();
	while (!probe_take_char(&c))
		cpu_relax();
	__asm__ volatile("cli" : : : "memory");
}

static void run(const struct probe_order *o, struct probe_tally *t)
{
	uint32_t gsi = find_gsi(o->source);
	uint64_t end;

	probe_begin('B');
	probe_end();
	route(gsi, true);
	start_source(o, gsi, t);
	end = t->start + o->run;
	idle(end, true);
	if (o->busy)
		be_busy(end);
	else
		idle(end, false);
	ticks.recording = false;
	report_and_wait();
	stop_source(o, t);
	__asm__ volatile("sti" : : : "memory"); /* what is on its way still counts */
	spin(drain_tsc);
	__asm__ volatile("cli" : : : "memory");
	route(gsi, false);
	stop_sources();
}

bool probe_has_source(char source)
{
	return source == 'p' || source == 'r' || (hpet && (source == 'h' || source == 'l'));
}

void probe_count_ticks(const struct probe_order *o, struct probe_tally *ret_tally)
{
	struct probe_tally *t = ret_tally;

	ticks.period.count = o->period;
	ticks.period.part = o->period_part;
	ticks.source = o->source;
	ticks.warm = 0;
	ticks.warming = false;
	ticks.count = ticks.stored = ticks.most = 0;
	ticks.counting = true;
	run(o, t);
	ticks.counting = false;
	sort(ticks.stored);
	t->count = ticks.count;
	t->stored = ticks.stored;
	t->p50 = t->stored ? samples[(t->stored - 1) / 2] : 0;
	t->p99 = t->stored ? samples[(t->stored - 1) / 100 * 99 + (t->stored - 1) % 100 * 99 / 100]
			   : 0;
	t->most = ticks.most;
}
