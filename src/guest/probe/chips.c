/* SPDX-License-Identifier: Apache-2.0 */
/* chips.c - the chips that are read by ports, each between two counts of the TSC: PIT channel 2,
 * the RTC's seconds, the ACPI PM timer.  Also for a program under Linux that may use ports
 * (iopl(2)): nothing here needs interrupts to be off. */
#include "guest/probe/cpu.h"
#include "guest/probe/probe.h"

/* 8254: channel 2, both bytes, mode 2; its latch command; its gate in port 0x61. */
enum { PIT_2 = 0x42, PIT_COMMAND = 0x43, PORT_B = 0x61 };
enum { PIT_2_MODE_2 = 0xb4, PIT_2_LATCH = 0x80, PORT_B_GATE = 1, PORT_B_SPEAKER = 2 };

enum { RTC_INDEX = 0x70, RTC_DATA = 0x71, RTC_SECONDS = 0, RTC_B = 0xb, RTC_B_BINARY = 4 };

/* Of a hypervisor: the greatest leaf; frequencies (as VMware has it). */
static const uint32_t leaf_hypervisor = 0x40000000, leaf_timing = 0x40000010;

/* Of the FADT (ACPI 6.5, 5.2.9). */
enum { LENGTH = 4, FADT_PM_TIMER = 76, FADT_PM_TIMER_SIZE = 91, FADT_FLAGS = 112 };
enum { FADT_X_PM_TIMER = 208, GAS_ADDRESS = 4, TMR_VAL_EXT = 1 << 8 };

static bool rtc_is_binary;

bool probe_find_timing(struct probe_hello *ret_hello)
{
	const bool hypervisor = cpu_id(1).c >> 31;
	uint32_t most = hypervisor ? cpu_id(leaf_hypervisor).a : 0;
	struct cpu_leaf timing = {.a = 0, .b = 0};

	if (most >= leaf_timing && most < leaf_timing + 0x100)
		timing = cpu_id(leaf_timing);
	ret_hello->tsc_khz = timing.a;
	ret_hello->bus_khz = timing.b;
	return hypervisor;
}

void probe_take_fadt(const uint8_t *fadt, struct probe_tables *ret_tables)
{
	struct probe_tables *t = ret_tables;
	uint32_t length = probe_get32(fadt + LENGTH);

	t->pm_port = probe_get32(fadt + FADT_PM_TIMER);
	if (length >= FADT_X_PM_TIMER + GAS_ADDRESS + 4 && probe_get32(fadt + FADT_X_PM_TIMER + 4))
		t->pm_port = probe_get32(fadt + FADT_X_PM_TIMER + GAS_ADDRESS);
	if (t->pm_port && fadt[FADT_PM_TIMER_SIZE] == 4)
		t->pm_bits = probe_get32(fadt + FADT_FLAGS) & TMR_VAL_EXT ? 32 : 24;
}

static uint8_t read_rtc(uint8_t index)
{
	cpu_out8(RTC_INDEX, index);
	return cpu_in8(RTC_DATA);
}

void probe_start_chips(void)
{
	rtc_is_binary = read_rtc(RTC_B) & RTC_B_BINARY;
	cpu_out8(PORT_B, (uint8_t)((cpu_in8(PORT_B) & ~PORT_B_SPEAKER) | PORT_B_GATE));
	cpu_out8(PIT_COMMAND, PIT_2_MODE_2);
	cpu_out8(PIT_2, 0);
	cpu_out8(PIT_2, 0);
}

/* Latched by the command; what it latched is fetched when the time no longer counts. */
static void read_pit(struct probe_reading *r)
{
	r->before = cpu_tsc();
	cpu_out8(PIT_COMMAND, PIT_2_LATCH);
	r->after = cpu_tsc();
	r->value = cpu_in8(PIT_2);
	r->value |= (uint32_t)cpu_in8(PIT_2) << 8;
}

void probe_read_chip(char face, const struct probe_tables *tables,
		     struct probe_reading *ret_reading)
{
	if (face == 'p') {
		read_pit(ret_reading);
		return;
	}
	ret_reading->before = cpu_tsc();
	ret_reading->value = cpu_in32((uint16_t)tables->pm_port);
	ret_reading->after = cpu_tsc();
}

/* How many counts a second has, once two were seen; and when the next is due. */
static uint64_t second_tsc, next_tsc, patience_tsc = 1ULL << 34;

static uint32_t decode(uint32_t raw)
{
	return rtc_is_binary ? raw : (raw >> 4) * 10 + (raw & 0xf);
}

/* Waits until the second changes, one exit a look: the index stays where it is.  What is not the
 * next second is what somebody else's index shows.  True when it changed at all. */
static bool wait_for_second(struct probe_reading *r, bool *ret_good)
{
	uint8_t first = read_rtc(RTC_SECONDS), now = first;
	uint64_t start = cpu_tsc(), before = start;

	r->after = start;
	while (now == first && r->after - start < patience_tsc) {
		r->before = before;
		before = cpu_tsc();
		now = cpu_in8(RTC_DATA);
		r->after = cpu_tsc();
	}
	r->value = decode(now);
	*ret_good = now != first && r->value < 60 && r->value == (decode(first) + 1) % 60;
	return now != first;
}

/* A sixteenth of a second early at least, so that no lines of another clock come in between. */
static bool is_near(uint64_t now)
{
	static uint64_t last_tsc;
	uint64_t margin = second_tsc / 16, gap = now - last_tsc;

	last_tsc = now;
	if (margin < 2 * gap)
		margin = 2 * gap < second_tsc / 2 ? 2 * gap : second_tsc / 2;
	return !second_tsc || now + margin >= next_tsc;
}

bool probe_rtc_is_near(void)
{
	uint64_t now = cpu_tsc();

	if (patience_tsc == 0 || !is_near(now))
		return false;
	if (second_tsc && now >= next_tsc) { /* missed: the next one will be waited for */
		next_tsc += second_tsc;
		return false;
	}
	return true;
}

bool probe_wait_for_rtc(struct probe_reading *ret_reading)
{
	bool good;

	if (!wait_for_second(ret_reading, &good) && !second_tsc)
		patience_tsc = 0; /* there is none */
	if (!good) {
		next_tsc = second_tsc ? cpu_tsc() + second_tsc : 0;
		return false;
	}
	if (!second_tsc && next_tsc) {
		second_tsc = ret_reading->after - next_tsc;
		patience_tsc = second_tsc;
	}
	next_tsc = ret_reading->after + second_tsc;
	return true;
}

bool probe_read_rtc(struct probe_reading *ret_reading)
{
	return probe_rtc_is_near() && probe_wait_for_rtc(ret_reading);
}
