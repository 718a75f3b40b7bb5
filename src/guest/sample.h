/* SPDX-License-Identifier: Apache-2.0 */
/* sample.h - what the observer in a guest tells its host, as lines of text.
 *
 * A reading holds, for each clock, the tightest of many tries of "TSC, clock, TSC": the clock
 * showed `ns` at some guest count within [tsc, tsc + width].  A line is known by its count, never
 * by when it arrives: a serial port may queue seconds of old ones.  Lines end in a newline and
 * carry a CRC-32, so that what a console mixes in is told apart.
 *
 *   H 3 KERNEL CURRENT AVAILABLE CPUS TICK_NS PERIOD_NS *CRC
 *   S SEQ CPU CURRENT r TSC WIDTH NS m TSC WIDTH NS b TSC WIDTH NS ...
 *     ... k R M B T d DROPPED v STEAL_NS n CHECKS *CRC
 *   C SERIES INDEX COUNT PATH ORDERED FALLS READER CHECKS PS OUTSIDE_NS BRACKET_NS *CRC
 *
 * Numbers are decimal, lists are separated by commas, a text that is unknown is "-". */
#ifndef GUEST_SAMPLE_H
#define GUEST_SAMPLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	SAMPLE_VERSION = 3,
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
	uint64_t checks;   /* how often this CPU, kept busy with it, has looked at all clocks */
};

enum sample_falls { SAMPLE_FALLS_NOT, SAMPLE_FALLS, SAMPLE_FALLS_UNKNOWN };

/* What one way to read the time costs: a line of a series, between two hellos. */
struct sample_cost {
	uint32_t series, index, count; /* from 0; how many lines the series has */
	char path;                     /* of SAMPLE_PATHS */
	bool ordered;                  /* page, rdtsc: after a fence */
	enum sample_falls falls;       /* vdso: whether it makes a system call */
	uint32_t reader;               /* what include/vmtime/read.h says: enum vmt_read_status */
	uint32_t checks;               /* readings that were set between two of another way */
	uint64_t cost_ps;              /* of one reading: the middle of the quietest round */
	uint64_t outside_ns;           /* by how much the worst was not between them */
	uint64_t bracket_ns;           /* half of the tightest such bracket */
};

/* clock_gettime() through the vDSO, the same as a system call, the page itself, RDTSC. */
#define SAMPLE_PATHS "vspr"

enum sample_kind { SAMPLE_KIND_HELLO = 1, SAMPLE_KIND_READING = 2 };

/* Writes one line with checksum and newline.  Its length, or -ENOSPC. */
int sample_format_hello(char *buf, size_t size, const struct sample_hello *hello);
int sample_format(char *buf, size_t size, const struct sample *sample);

int sample_format_cost(char *buf, size_t size, const struct sample_cost *cost);

/* Reads one line, with or without its newline, into the one of the two that it is.  A sample_kind,
 * or -EBADMSG: not ours, damaged or of another version; both are left as they were. */
int sample_parse(const char *line, struct sample_hello *ret_hello, struct sample *ret_sample);

/* Reads a line of costs.  0, or -EBADMSG as above. */
int sample_parse_cost(const char *line, struct sample_cost *ret_cost);

#endif
