/* SPDX-License-Identifier: Apache-2.0 */
/* probe.h - a bare-metal program that looks at a PC's clocks, as one Multiboot 1 image.
 *
 * Its command line's second word says what to do (the first is its own name):
 *   faces   reads every clock between two counts of the TSC, in turn on each CPU, for ever
 *
 * What it reads goes out over the serial port at 0x3f8 as lines of text, each with the checksum of
 * its characters before " *": BSD's, 16 bits rotated right by one before each is added.  Numbers
 * are hexadecimal without leading zeroes:
 *
 *   H 1 CPUS TSC_KHZ BUS_KHZ KVM_MUL KVM_SHIFT PM_BITS HPET_FS *SUM
 *   R FACE CPU BEFORE WIDTH VALUE *SUM
 *   E TEXT *SUM
 *
 * H comes first and again now and then.  TSC_KHZ and BUS_KHZ are CPUID's (leaf 0x40000010) or 0;
 * KVM_MUL and KVM_SHIFT (a byte) are kvm-clock's; what is 0 is not there.  R: FACE showed VALUE at
 * some count within [BEFORE, BEFORE + WIDTH] of the CPU that read it:
 *   p  the count that PIT channel 2 has left of 65536, in mode 2
 *   r  the second that the RTC went over to at that count, 0 to 59
 *   h  the lower half of the HPET's main counter
 *   m  the ACPI PM timer
 *   l  the count that the LAPIC timer has left, periodic with 0xffffffff, divided by 16: then it
 *      lasts a minute, and no expiry lies within most measurements
 *   t  the TSC; of another CPU than the first, counts are the first's
 *   k  kvm-clock, ns
 * CPU is the APIC id.  E is said instead when there is nothing to do. */
#ifndef GUEST_PROBE_PROBE_H
#define GUEST_PROBE_PROBE_H

#include <stdbool.h>
#include <stdint.h>

enum {
	PROBE_VERSION = 1,
	PROBE_CPUS = 64,    /* as CPUS in start.S */
	PROBE_LOW = 0x7000, /* as LOW in start.S */
	PROBE_BURST = 3,    /* readings of a face in a row */
};

/* acpi.c: what the firmware's tables say. */
struct probe_tables {
	uint32_t cpus; /* that can be started, at least 1 */
	uint32_t pm_port, pm_bits;
	uint32_t hpet; /* address */
};

void probe_find_tables(struct probe_tables *ret_tables);

/* faces.c: one clock after the other. */
struct probe_reading {
	uint64_t before, after, value;
};

struct probe_hello {
	uint32_t tsc_khz, bus_khz, kvm_mul, kvm_shift, hpet_fs;
};

/* Starts the clocks that all CPUs share; the first CPU calls it once. */
void probe_start_faces(const struct probe_tables *tables, struct probe_hello *ret_hello);

/* Starts those that each CPU has of its own, on that CPU. */
void probe_start_own_faces(uint32_t index);

bool probe_has_face(char face);

/* PROBE_BURST readings of any face but the RTC, on this CPU. */
void probe_read_face(char face, uint32_t index, struct probe_reading *ret_readings);

/* The RTC's next second, when it is near: false without waiting when it is not, or when there is
 * no such clock.  The first two are waited for. */
bool probe_read_rtc(struct probe_reading *ret_reading);

/* cpus.c: the other CPUs. */
void probe_start_cpus(const struct probe_tables *tables);
uint32_t probe_cpu_count(void);
uint32_t probe_apic_id(uint32_t index);

/* As probe_read_face() and probe_read_rtc(), on the CPU `index`. */
void probe_read_face_on(uint32_t index, char face, struct probe_reading *ret_readings);
bool probe_read_rtc_on(uint32_t index, struct probe_reading *ret_reading);

/* serial.c: lines. */
void probe_open_port(void);
void probe_begin(char kind);
void probe_put_number(uint64_t value);
void probe_put_word(const char *word);
void probe_end(void);

#endif
