/* SPDX-License-Identifier: Apache-2.0 */
/* probe.h - a bare-metal program that looks at a PC's clocks, as one Multiboot 1 image.
 *
 * Its command line's second word says what to do (the first is its own name):
 *   faces   reads every clock between two counts of the TSC, in turn on each CPU, for ever
 *   ticks   lets a timer interrupt as it is told, and counts, for ever
 *
 * What it reads goes out over the serial port at 0x3f8 as lines of text, each with the checksum of
 * its characters before " *": BSD's, 16 bits rotated right by one before each is added.  Numbers
 * are hexadecimal without leading zeroes:
 *
 *   H 1 CPUS TSC_KHZ BUS_KHZ KVM_MUL KVM_SHIFT PM_BITS HPET_FS *SUM
 *   R FACE CPU BEFORE WIDTH VALUE *SUM
 *   B *SUM
 *   S COUNT *SUM
 *   T SOURCE BUSY START WIDTH STOP WIDTH COUNT STORED P50 P99 MAX *SUM
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
 * CPU is the APIC id.  E is said instead when there is nothing to do.
 *
 * For `ticks` it says H again and again and waits for an order, a line without a checksum:
 *   SOURCE SETTING PERIOD PART RUN BUSY
 * SOURCE is p (PIT channel 0, mode 2, count SETTING), r (RTC, rate SETTING of register A), h (HPET
 * timer 0, periodic, SETTING of its counts, edges at an input of the I/O APIC of its own) or l (the
 * same in place of the PIT: legacy replacement); PERIOD counts of the TSC and PART of 2^32 parts of
 * one lie between two ticks; it runs for RUN counts.  BUSY is 0: the CPU is halted between the
 * ticks, or 1: interrupts are off for two and a half periods of three and a half.
 *
 * B says that it begins.  S says that RUN is over and COUNT interrupts came so far; the source goes
 * on until a byte is received.  T is the answer, once the source has stopped and what was on its
 * way has come.  The source was started at a count within [START, START + WIDTH] and stopped within
 * the like; COUNT interrupts came.  STORED ticks fell due before the last of them that came before
 * S; how long each waited for an interrupt, be it its own or a later one, follows in counts:
 * median, 99th percentile, and the greatest of all.  Ticks of PIT and HPET are due from the middle
 * of the start's bracket on.  The RTC's, whose phase nobody is told, and those of a source whose
 * first WIDTH is greater than PERIOD / 4 are due from the earliest of the first PROBE_WARM on (an
 * eighth of all, if that is less), which are not stored. */
#ifndef GUEST_PROBE_PROBE_H
#define GUEST_PROBE_PROBE_H

#include <stdbool.h>
#include <stdint.h>

enum {
	PROBE_VERSION = 1,
	PROBE_CPUS = 64,    /* as CPUS in start.S */
	PROBE_LOW = 0x7000, /* as LOW in start.S */
	PROBE_BURST = 3,    /* readings of a face in a row */
	PROBE_WARM = 32,
	PROBE_SAMPLES = 100000, /* of later ticks only the longest wait counts */
};

/* acpi.c: what the firmware's tables say. */
struct probe_tables {
	uint32_t cpus; /* that can be started, at least 1 */
	uint32_t pm_port, pm_bits;
	uint32_t hpet; /* address */
};

void probe_find_tables(struct probe_tables *ret_tables);

static inline uint32_t probe_get32(const uint8_t *p)
{
	return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

struct probe_reading {
	uint64_t before, after, value;
};

struct probe_hello {
	uint32_t tsc_khz, bus_khz, kvm_mul, kvm_shift, hpet_fs;
};

/* chips.c: what is read by ports; also for a program under Linux, one thread of it. */

/* Fills in the PM timer's port and width from a FADT of 116 bytes at least. */
void probe_take_fadt(const uint8_t *fadt, struct probe_tables *ret_tables);

/* Fills in tsc_khz and bus_khz.  True when this machine is a virtual one. */
bool probe_find_timing(struct probe_hello *ret_hello);

/* Starts PIT channel 2, and looks how the RTC shows its time. */
void probe_start_chips(void);

/* 'p' or 'm'. */
void probe_read_chip(char face, const struct probe_tables *tables,
		     struct probe_reading *ret_reading);

/* The RTC's next second, when it is near: false without waiting when it is not, or when there is
 * no such clock.  The first two are waited for. */
bool probe_read_rtc(struct probe_reading *ret_reading);

/* Its two halves: whether it is time to wait, to be asked often, and the wait. */
bool probe_rtc_is_near(void);
bool probe_wait_for_rtc(struct probe_reading *ret_reading);

/* faces.c: one clock after the other. */

/* Starts the clocks that all CPUs share; the first CPU calls it once. */
void probe_start_faces(const struct probe_tables *tables, struct probe_hello *ret_hello);

/* Starts those that each CPU has of its own, on that CPU. */
void probe_start_own_faces(uint32_t index);

bool probe_has_face(char face);

/* PROBE_BURST readings of any face but the RTC, on this CPU. */
void probe_read_face(char face, uint32_t index, struct probe_reading *ret_readings);

/* cpus.c: the other CPUs. */
void probe_start_cpus(const struct probe_tables *tables);
uint32_t probe_cpu_count(void);
uint32_t probe_apic_id(uint32_t index);

/* As probe_read_face() and probe_read_rtc(), on the CPU `index`. */
void probe_read_face_on(uint32_t index, char face, struct probe_reading *ret_readings);
bool probe_read_rtc_on(uint32_t index, struct probe_reading *ret_reading);

/* ticks.c: one timer's interrupts. */
struct probe_order {
	char source; /* p, r, h, l */
	bool busy;
	uint32_t setting, period_part;
	uint64_t period, run;
};

struct probe_tally {
	uint64_t start, start_width, stop, stop_width;
	uint32_t count, stored, p50, p99, most;
};

/* Stops all sources and makes ready for interrupts, which stay off.  After probe_start_faces().
 * hpet: its address, 0 for none. */
void probe_prepare_ticks(uint32_t hpet);
bool probe_has_source(char source);
void probe_count_ticks(const struct probe_order *order, struct probe_tally *ret_tally);

/* serial.c: lines. */
void probe_open_port(void);
void probe_begin(char kind);
void probe_put_number(uint64_t value);
void probe_put_word(const char *word);
void probe_end(void);

/* What has come in: false without waiting when there is nothing. */
bool probe_take_char(char *ret_char);

#endif
