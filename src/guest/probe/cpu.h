/* SPDX-License-Identifier: Apache-2.0 */
/* cpu.h - the probe's instructions: ports, model-specific registers, CPUID, the TSC. */
#ifndef GUEST_PROBE_CPU_H
#define GUEST_PROBE_CPU_H

#include <stdint.h>

static inline void cpu_out8(uint16_t port, uint8_t value)
{
	__asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port) : "memory");
}

static inline uint8_t cpu_in8(uint16_t port)
{
	uint8_t value;

	__asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port) : "memory");
	return value;
}

static inline uint32_t cpu_in32(uint16_t port)
{
	uint32_t value;

	__asm__ volatile("inl %1, %0" : "=a"(value) : "Nd"(port) : "memory");
	return value;
}

static inline uint32_t cpu_load32(uint32_t address)
{
	return *(const volatile uint32_t *)(uintptr_t)address;
}

static inline void cpu_store32(uint32_t address, uint32_t value)
{
	*(volatile uint32_t *)(uintptr_t)address = value;
}

/* Nothing before it is still to be done, nothing after it has begun. */
static inline uint64_t cpu_tsc(void)
{
	uint32_t low, high;

	__asm__ volatile("lfence; rdtsc; lfence" : "=a"(low), "=d"(high) : : "memory");
	return (uint64_t)high << 32 | low;
}

static inline void cpu_write_msr(uint32_t msr, uint64_t value)
{
	__asm__ volatile("wrmsr"
			 :
			 : "c"(msr), "a"((uint32_t)value), "d"((uint32_t)(value >> 32))
			 : "memory");
}

struct cpu_leaf {
	uint32_t a, b, c, d;
};

static inline struct cpu_leaf cpu_id(uint32_t leaf)
{
	struct cpu_leaf l = {.a = leaf, .c = 0};

	__asm__ volatile("cpuid" : "+a"(l.a), "=b"(l.b), "+c"(l.c), "=d"(l.d));
	return l;
}

static inline void cpu_relax(void)
{
	__asm__ volatile("pause" : : : "memory");
}

#endif
