/* SPDX-License-Identifier: Apache-2.0 */
/* faces.c - the clocks of a PC, each between two counts of the TSC. */
#include "guest/probe/cpu.h"
#include "guest/probe/probe.h"

/* HPET: period in the upper half of the first register, enable, main counter. */
enum { HPET_PERIOD = 4, HPET_CONFIG = 0x10, HPET_ENABLE = 1, HPET_COUNTER = 0xf0 };

static const uint32_t lapic = 0xfee00000;

enum { LAPIC_SPURIOUS = 0xf0, LAPIC_LVT_TIMER = 0x320, LAPIC_INITIAL = 0x380 };
enum { LAPIC_CURRENT = 0x390, LAPIC_DIVIDE = 0x3e0, LAPIC_DIVIDE_BY_16 = 3 };
enum { LAPIC_ON = 0x1ff, LVT_MASKED_PERIODIC = 0x300ff };

/* KVM's CPUID leaves and its clock (Documentation/virt/kvm/x86/msr.rst). */
static const uint32_t leaf_hypervisor = 0x40000000, msr_system_time = 0x4b564d01;

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
static bool has_kvm_clock, has_hpet;

static bool find_kvm_clock(void)
{
	struct cpu_leaf l = cpu_id(leaf_hypervisor);

	return l.b == KVM_K && l.c == KVM_V && l.d == KVM_M &&
	       cpu_id(leaf_hypervisor + 1).a & CLOCKSOURCE2;
}

void probe_start_faces(const struct probe_tables *found, struct probe_hello *ret_hello)
{
	ret_hello->hpet_fs = ret_hello->kvm_mul = ret_hello->kvm_shift = 0;
	tables.pm_port = found->pm_port;
	tables.pm_bits = found->pm_bits;
	tables.hpet = found->hpet;
	has_kvm_clock = probe_find_timing(ret_hello) && find_kvm_clock();
	probe_start_chips();
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
	if (face == 'p' || face == 'm') {
		probe_read_chip(face, &tables, r);
		return;
	}
	r->before = cpu_tsc();
	if (face == 'h')
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
