/* SPDX-License-Identifier: Apache-2.0 */
/* test_faces_kind.h - what is known of each clock of a PC: its tick, its width, what is fitted. */
#ifndef CMD_TEST_FACES_KIND_H
#define CMD_TEST_FACES_KIND_H

#include "cmd/test_faces_judge.h"

/* A tick lasts num / den ns. */
struct faces_kind {
	uint64_t num, den;
	uint64_t modulus; /* ticks until it begins anew; 0: 2^64 */
	bool down;
	bool from_zero;          /* its phase is 0 */
	bool per_cpu;            /* so are phase and rate */
	bool fitted;             /* its rate is no matter of choice */
	uint64_t rate_limit_ppb; /* of what is fitted */
	uint64_t quantum_ns;     /* rounded up */
};

struct faces_kind faces_kind_of(const struct faces_input *input, enum faces_face face);

#endif
