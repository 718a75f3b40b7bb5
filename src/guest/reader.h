/* SPDX-License-Identifier: Apache-2.0 */
/* reader.h - what a program under Linux can read of a PC's clocks, each between two counts of the
 * TSC.
 *
 * Lines are the bare-metal probe's (guest/probe/probe.h), with the observer's hello
 * (guest/sample.h) before its H: that one names the kernel's clock source.  H has TSC_KHZ of CPUID,
 * else as the kernel's log has it where the kernel was told and did not measure; KVM_MUL and
 * KVM_SHIFT are 0.  R has more letters:
 *   w  CLOCK_REALTIME  }
 *   o  CLOCK_MONOTONIC } through the vDSO, ns, the lower 56 bits
 *   a  CLOCK_MONOTONIC_RAW, b  CLOCK_BOOTTIME
 * The TSC of another CPU than the first is read by going there and back.
 *
 * What is not read, and why: the LAPIC timer and PIT channel 0 are the kernel's own, set to expire
 * and not to show the time; kvm-clock's page is mapped for the vDSO alone, so that clock is seen
 * through the four above where it is the clock source.  PIT channel 2 is set going: it is the
 * speaker's, and nobody's in a guest whose one process this is.  The RTC's index register is shared
 * with the kernel, which in such a guest has no reason to use it; a second that does not follow the
 * one before is dropped. */
#ifndef GUEST_READER_H
#define GUEST_READER_H

#include <sched.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "guest/probe/probe.h"
#include "host/vdso.h"

enum { READER_TEXT_MAX = 512 }; /* what any of these calls writes, with the closing 0 */

/* In the order in which they are read. */
extern const char reader_faces[];

struct reader {
	vdso_clock_gettime *get;
	struct probe_hello hello;
	struct probe_tables tables;
	const volatile uint32_t *hpet; /* its registers, or NULL */
	bool ports;
	uint32_t first_cpu, cpu; /* as the kernel numbers them */
	uint32_t cpus;
};

/* The clocks that anyone may read.  0, or negative errno: this thread cannot stay on a CPU. */
int reader_open(struct reader *ret_reader);

/* The chips too, as far as they are there and this process is allowed to; once in a process. */
void reader_open_chips(struct reader *r);

/* From now on on this CPU.  0 or negative errno. */
int reader_go_to(struct reader *r, uint32_t cpu);

/* H.  Its length. */
size_t reader_say_hello(const struct reader *r, char *buf, size_t size);

/* PROBE_BURST readings of a face on this CPU, as many lines.  Their length; 0: it is not there. */
size_t reader_read(struct reader *r, char face, char *buf, size_t size);

/* The RTC's next second on this CPU, once it is near: probe_rtc_is_near() and probe_wait_for_rtc(),
 * where there are ports.  The length of the line, or 0. */
bool reader_rtc_is_near(const struct reader *r);
size_t reader_wait_for_rtc(struct reader *r, char *buf, size_t size);

/* The TSC's frequency as the kernel's log tells it, in kHz; 0: it does not. */
uint32_t reader_khz_in_log(const char *log);

#endif
