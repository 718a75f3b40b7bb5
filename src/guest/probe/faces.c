/* SPDX-License-Identifier: Apache-2.0 */
/* faces.c - the clocks of a PC, each between two counts of the TSC. */
#include "guest/probe/cpu.h"
#include "guest/probe/probe.h"

/* 8254: channel 2, both bytes, mode 2; its latch command; its gate in port 0x61. */
enum { PIT_2 = 0x42, PIT_COMMAND = 0x43, PORT_B = 0x61 };
enum { PIT_2_MODE_2 = 0xb4, PIT_2_LATCH = 0x80, PORT_B_GATE = 1, PORT_B_SPEAKER = 2 };

enum { RTC_INDEX = 0x70, RTC_DATA = 0x71, RTC_SECONDS = 0, RTC_B = 0xb, RTC_B_BINARY = 4 };

/* HPET: period in the upper half of the first register, enable, main counter. */
enum { HPET_PERIOD = 4, HPET_CONFIG = 0x10, HPET_ENABLE = 1, HPET_COUNTER = 0xf0 };

static const uint32_t lapic = 0xfee00000;

enum { LAPIC_SPURIOUS = 0xf0, LAPIC_LVT_TIMER = 0x320, LAPIC_INITIAL = 0x380 };
enum { LAPIC_CURRENT = 0x390, LAPIC_DIVIDE = 0x3e0, LAPIC_DIVIDE_BY_16 = 3 };
enum { LAPIC_ON = 0x1ff, LVT_MASKED_PERIODIC = 0x300ff };

/* KVM's CPUID leaves and its clock (Documentation/virt/kvm/x86/msr.rst). */
static const uint32_t leaf_hypervisor = 0x40000000, leaf_timing = 0x40000010;
static const uint32_t msr_system_time = 0x4b564d01;

enum { KVM_K = 0x4b4d564b, KVM_V = 0x564b4d56, KVM_M = 0x4d, CLOCKSOURCE2 = 1 << 3 };

struct kvm_clock {
	volatile uint32_t version;
	uint32_t pad0;
	volatile uint64_t tsc_timestamp, system_time;
	volatile uint32_t mul;
	volatile int8_t shift;
	volatile uint8_t flags;
	uint8_t pad[2];
} __attribute__((aligned(64)));

static struct kvm_clock kvm_clocks[PROBE_CPUS];
static struct probe_tables tables;
static bool has_kvm_clock, has_hpet, rtc_is_binary;

static bool find_kvm(struct probe_hello *ret_hello)
{
	struct cpu_leaf l = cpu_id(leaf_hypervisor);
	bool kvm = l.b == KVM_K && l.c == KVM_V && l.d == KVM_M;

	if (l.a >= leaf_timing && l.a < leaf_timing + 0x100) {
		struct cpu_leaf timing = cpu_id(leaf_timing);

		ret_hello->tsc_khz = timing.a;
		ret_hello->bus_khz = timing.b;
	}
	return kvm && cpu_id(leaf_hypervisor + 1).a & CLOCKSOURCE2;
}

static uint8_t read_rtc(uint8_t index)
{
	cpu_out8(RTC_INDEX, index);
	return cpu_in8(RTC_DATA);
}

void probe_start_faces(const struct probe_tables *found, struct probe_hello *ret_hello)
{
	ret_hello->tsc_khz = ret_hello->bus_khz = ret_hello->hpet_fs = 0;
	ret_hello->kvm_mul = ret_hello->kvm_shift = 0;
	tables.pm_port = found->pm_port;
	tables.pm_bits = found->pm_bits;
	tables.hpet = found->hpet;
	has_kvm_clock = cpu_id(1).c >> 31 && find_kvm(ret_hello);
	rtc_is_binary = read_rtc(RTC_B) & RTC_B_BINARY;
	cpu_out8(PORT_B, (uint8_t)((cpu_in8(PORT_B) & ~PORT_B_SPEAKER) | PORT_B_GATE));
	cpu_out8(PIT_COMMAND, PIT_2_MODE_2);
	cpu_out8(PIT_2, 0);
	cpu_out8(PIT_2, 0);
	if (tables.hpet) {
		ret_hello->hpet_fs = cpu_load32(tables.hpet + HPET_PERIOD);
		has_hpet = ret_hello->hpet_fs && ret_hello->hpet_fs != UINT32_MAX;
		ret_hello->hpet_fs = has_hpet ? ret_hello->hpet_fs : 0;
		cpu_store32(tables.hpet + HPET_CONFIG, HPET_ENABLE);
	}
	probe_start_own_faces(0);
	if (has_kvm_clock) {
		ret_hello->kvm_mul = kvm_clocks[0].mul;
		ret_hello->kvm_shift = (uint8_t)kvm_clocks[0].shift;
	}
}

void probe_start_own_faces(uint32_t index)
{
	if (has_kvm_clock)
		cpu_write_msr(msr_system_time, (uint32_t)(uintptr_t)&kvm_clocks[index] | 1);
	cpu_store32(lapic + LAPIC_SPURIOUS, LAPIC_ON);
	cpu_store32(lapic + LAPIC_DIVIDE, LAPIC_DIVIDE_BY_16);
	cpu_store32(lapic + LAPIC_LVT_TIMER, LVT_MASKED_PERIODIC);
	cpu_store32(lapic + LAPIC_INITIAL, UINT32_MAX);
}

bool probe_has_face(char face)
{
	switch (face) {
	case 'm':
		return tables.pm_bits;
	case 'h':
		return has_hpet;
	case 'k':
		return has_kvm_clock;
	default: /* a PIT that is not there shows a count that stands still */
		return true;
	}
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

static uint64_t kvm_clock_ns(const struct kvm_clock *c)
{
	uint64_t ns, delta;
	uint32_t version;

	do {
		while ((version = c->version) & 1)
			cpu_relax();
		__asm__ volatile("" : : : "memory");
		delta = cpu_tsc() - c->tsc_timestamp;
		delta = c->shift >= 0 ? delta << c->shift : delta >> -c->shift;
		ns = c->system_time + (delta >> 32) * c->mul +
		     ((delta & UINT32_MAX) * c->mul >> 32);
		__asm__ volatile("" : : : "memory");
	} while (c->version != version);
	return ns;
}

static void read_once(char face, uint32_t index, struct probe_reading *r)
{
	if (face == 'p') {
		read_pit(r);
		return;
	}
	r->before = cpu_tsc();
	if (face == 'm')
		r->value = cpu_in32((uint16_t)tables.pm_port);
	else if (face == 'h')
		r->value = cpu_load32(tables.hpet + HPET_COUNTER);
	else if (face == 'l')
		r->value = cpu_load32(lapic + LAPIC_CURRENT);
	else if (face == 'k')
		r->value = kvm_clock_ns(&kvm_clocks[index]);
	else
		r->value = cpu_tsc();
	r->after = cpu_tsc();
}

void probe_read_face(char face, uint32_t index, struct probe_reading *ret_readings)
{
	for (uint32_t i = 0; i < PROBE_BURST; i++)
		read_once(face, index, &ret_readings[i]);
}

/* How many counts a second has, once two were seen; and when the next is due. */
static uint64_t second_tsc, next_tsc, patience_tsc = 1ULL << 34;

static uint32_t decode(uint32_t raw)
{
	return rtc_is_binary ? raw : (raw >> 4) * 10 + (raw & 0xf);
}

/* Waits until the second changes, one exit a look: the index stays where it is. */
static bool wait_for_second(struct probe_reading *r)
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
	return now != first && r->value < 60;
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

bool probe_read_rtc(struct probe_reading *ret_reading)
{
	uint64_t now = cpu_tsc();

	if (patience_tsc == 0 || !is_near(now))
		return false;
	if (second_tsc && now >= next_tsc) { /* missed: the next one will be waited for */
		next_tsc += second_tsc;
		return false;
	}
	if (!wait_for_second(ret_reading)) {
		if (!second_tsc)
			patience_tsc = 0; /* there is none */
		next_tsc = cpu_tsc() + second_tsc;
		return false;
	}
	if (!second_tsc && next_tsc) {
		second_tsc = ret_reading->after - next_tsc;
		patience_tsc = second_tsc;
	}
	next_tsc = ret_reading->after + second_tsc;
	return true;
}
