/* SPDX-License-Identifier: Apache-2.0 */
/* test_faces_judge.h - from a guest's readings of a PC's clocks to figures and verdicts: pure
 * calculation.
 *
 * Each clock is set against the TSC of the CPU that read it, which is virtual time.  A counter
 * shows the time in steps of its quantum, so it is taken at the middle of its step; a reading lies
 * somewhere in its bracket, so it is taken at the middle of that.  With both in the allowance a
 * right clock never fails: error = clock - TSC - phase, and |error| <= quantum + bracket.
 *
 * The phase is where a clock started.  Where that is known (a vmtime machine's PM timer starts with
 * its TSC) it is no matter of choice; else it is the one that leaves the greatest excess over the
 * brackets, of all readings of all CPUs, smallest.  The rate is the nominal one.  Of the LAPIC
 * timer, which runs by the host kernel's clock even where the TSC does not, the rate is fitted and
 * only has to be within FACES_LAPIC_PPB; each CPU's has a phase of its own.  Linux's own clocks
 * have the rate of kvm-clock where that is its clock source; of others Linux knows the rate only
 * roughly, so it is fitted too, and has to be within what judge_find_clock() allows. */
#ifndef CMD_TEST_FACES_JUDGE_H
#define CMD_TEST_FACES_JUDGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cmd/test_judge.h"

/* In the order of the pairs; faces_names has what JSON calls them. */
enum faces_face {
	FACES_PIT,
	FACES_RTC,
	FACES_HPET,
	FACES_PM,
	FACES_LAPIC,
	FACES_TSC,
	FACES_KVM_CLOCK,
	FACES_REALTIME, /* from here on Linux's own */
	FACES_MONOTONIC,
	FACES_MONOTONIC_RAW,
	FACES_BOOTTIME,
	FACES_COUNT,
};

enum { FACES_PAIRS = FACES_COUNT * (FACES_COUNT - 1) / 2, FACES_LAPIC_PPB = 500000 };
enum { FACES_RATE_PPB = 20000 }; /* a rate that is known worse is none */
enum { FACES_LEAST_KHZ = 100000 };

/* No count and no value is greater, so that no sum of times overflows: at 2.4 GHz a year. */
#define FACES_MOST (1ULL << 56)

extern const char *const faces_names[FACES_COUNT];

/* Who has read them; faces_reader_names has what JSON calls them. */
enum faces_reader { FACES_PROBE, FACES_LINUX, FACES_READERS };

extern const char *const faces_reader_names[FACES_READERS];

/* What a reader says of its machine; what is 0 is not there. */
struct faces_hello {
	uint32_t cpus;
	uint32_t tsc_khz, bus_khz; /* of CPUID */
	uint32_t kvm_mul;
	int32_t kvm_shift;
	uint32_t pm_bits;
	uint32_t hpet_fs; /* length of its tick */
};

/* The clock showed `value` at some count of the reader's TSC within [before, before + width]. */
struct faces_reading {
	enum faces_face face;
	uint32_t cpu;                  /* below 256 */
	uint64_t before, width, value; /* each at most FACES_MOST */
};

struct faces_input {
	struct faces_hello hello;
	const struct faces_reading *readings; /* as they were taken, one after the other */
	size_t count;
	uint64_t tsc_khz;        /* FACES_LEAST_KHZ at least */
	bool from_zero;          /* TSC and PM timer were both 0 at power-on */
	const char *clocksource; /* Linux's; NULL: kvm-clock */
	uint64_t tick_ns;        /* of a clock source that counts ticks */
	uint64_t limit_ns;       /* instead of a quantum; 0: none */
};

/* One clock, read on one CPU. */
struct faces_row {
	enum faces_face face;
	uint32_t cpu;
	uint64_t reads;
	int64_t worst_error_ns; /* of the reading that is nearest to its limit, or beyond it */
	uint64_t bracket_ns;    /* half width of that reading */
	uint64_t quantum_ns;    /* rounded up */
	bool has_rate;          /* false: the reference itself, or not known well enough */
	int64_t rate_error_ppb; /* against the TSC, positive when fast; least squares */
	bool rate_is_good;      /* false: it is fitted, and beyond its limit for certain */
	uint64_t backward_steps;
	enum judge_verdict verdict;
};

/* Two clocks, each reading of the one beside the last of the other on the same CPU.  Their common
 * error, if they share one, does not count; their phases do not either. */
struct faces_pair {
	enum faces_face a, b;
	int64_t disagreement_ns; /* of the two readings nearest to their limit */
	uint64_t allowed_ns;     /* both quanta, both half brackets */
	enum judge_verdict verdict;
};

struct faces_result {
	struct faces_row *rows; /* owned */
	size_t row_count;
	struct faces_pair pairs[FACES_PAIRS];
	size_t pair_count;
};

/* The TSC's frequency as the guest is told it: by CPUID, else by kvm-clock, to the kHz in which
 * KVM has it; else what was measured.  0: none of these, or less than FACES_LEAST_KHZ. */
uint64_t faces_tsc_khz(const struct faces_hello *hello, uint64_t measured_hz);

/* A clock with less than three readings is skipped.  0, or -ENOMEM. */
int faces_judge(const struct faces_input *input, struct faces_result *ret_result);

void faces_result_free(struct faces_result *result);

#endif
