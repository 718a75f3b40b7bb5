/* SPDX-License-Identifier: Apache-2.0 */
/* sample.h - what the observer in a guest tells its host, as lines of text.
 *
 * A reading holds, for each clock, the tightest of many tries of "TSC, clock, TSC": the clock
 * showed `ns` at some guest count within [tsc, tsc + width].  A line is known by its count, never
 * by when it arrives: a serial port may queue seconds of old ones.  Lines end in a newline and
 * carry a CRC-32, so that what a console mixes in is told apart.
 *
 *   H 2 KERNEL CURRENT AVAILABLE CPUS TICK_NS PERIOD_NS *CRC
 *   S SEQ CPU CURRENT r TSC WIDTH NS m TSC WIDTH NS b TSC WIDTH NS ...
 *     ... k R M B T d DROPPED v STEAL_NS *CRC
 *
 * Numbers are decimal, lists are separated by commas, a text that is unknown is "-". */
#ifndef GUEST_SAMPLE_H
#define GUEST_SAMPLE_H

#include <stddef.h>
#include <stdint.h>

enum {
	SAMPLE_VERSION = 2,
	SAMPLE_LINE_MAX = 512, /* with newline and the closing 0 */
	SAMPLE_NAME_MAX = 32,
	SAMPLE_STEAL_NS = 10000000, /* /proc/stat counts in USER_HZ */
};

/* Sent first, and again now and then for a host that came late. */
struct sample_hello {
	char kernel[64];               /* its release */
	char current[SAMPLE_NAME_MAX]; /* clocksource in use */
	char available[160];           /* the others too, separated by commas */
	uint32_t cpus;                 /* online */
	uint64_t tick_ns;              /* length of a jiffy */
	uint64_t period_ns;            /* between two readings */
};

struct sample_clock {
	uint64_t tsc;   /* guest's count before the clock was read */
	uint64_t width; /* counts until after it was read */
	int64_t ns;     /* what it showed */
};

/* Which clocks; also the index of what was seen to step back. */
enum sample_which {
	SAMPLE_REALTIME,
	SAMPLE_MONOTONIC,
	SAMPLE_BOOTTIME,
	SAMPLE_CLOCKS,
	SAMPLE_TSC = SAMPLE_CLOCKS,
	SAMPLE_BACKWARD,
};

struct sample {
	uint64_t seq; /* from 0; a gap is what was dropped or lost on the way */
	uint32_t cpu;
	char current[SAMPLE_NAME_MAX];
	struct sample_clock clock[SAMPLE_CLOCKS];
	uint64_t backward[SAMPLE_BACKWARD]; /* steps back since the start, over all CPUs */
	uint64_t dropped;                   /* readings not sent since the port was full */
	uint64_t steal_ns; /* of this CPU, as /proc/stat has it: rounded down to SAMPLE_STEAL_NS */
};

enum sample_kind { SAMPLE_KIND_HELLO = 1, SAMPLE_KIND_READING = 2 };

/* Writes one line with checksum and newline.  Its length, or -ENOSPC. */
int sample_format_hello(char *buf, size_t size, const struct sample_hello *hello);
int sample_format(char *buf, size_t size, const struct sample *sample);

/* Reads one line, with or without its newline, into the one of the two that it is.  A sample_kind,
 * or -EBADMSG: not ours, damaged or of another version; both are left as they were. */
int sample_parse(const char *line, struct sample_hello *ret_hello, struct sample *ret_sample);

#endif
