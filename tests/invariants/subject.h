/* SPDX-License-Identifier: Apache-2.0 */
/* subject.h - every face behind one set of functions, for tests that hold for all of them.
 *
 * A face more is a row more in subject.c; the invariants and the fuzz target then cover it. */
#ifndef TESTS_SUBJECT_H
#define TESTS_SUBJECT_H

#include <stddef.h>
#include <stdint.h>
#include <vmtime/hpet.h>
#include <vmtime/kvmclock.h>
#include <vmtime/out.h>
#include <vmtime/pit.h>
#include <vmtime/pmtmr.h>
#include <vmtime/rtc.h>
#include <vmtime/steal.h>
#include <vmtime/tsc.h>

/* A state of any face, whole, so that copies compare. */
union subject_state {
	struct vmt_pit pit;
	struct vmt_rtc rtc;
	struct vmt_pmtmr pmtmr;
	struct vmt_hpet hpet;
	struct vmt_kvmclock kvmclock;
	struct vmt_steal steal;
	struct {
		struct vmt_tsc tsc;
		uint64_t host; /* its count at the last call: what is saved is of that instant */
	} tsc;
};

struct subject {
	const char *name;
	uint32_t registers; /* accesses go to 0..registers - 1, and a little beyond */
	uint32_t widest;    /* bytes */
	uint8_t edges;      /* bit n: line n is wired by its rising edges */
	uint8_t levels;     /* bit n: by its level */
	uint32_t others;    /* calls of `other` that exist */
	uint8_t timeless;   /* 1: nothing of it is ever due */

	void (*start)(union subject_state *s, vmt_ns now);
	struct vmt_out (*advance)(union subject_state *s, vmt_ns now);
	struct vmt_out (*read)(union subject_state *s, vmt_ns now, uint32_t reg, uint32_t width,
			       uint32_t *ret_value);
	struct vmt_out (*write)(union subject_state *s, vmt_ns now, uint32_t reg, uint32_t width,
				uint32_t value);
	/* What is neither a guest's access nor the passing of time. */
	struct vmt_out (*other)(union subject_state *s, vmt_ns now, uint32_t which, uint32_t value);
	int (*save)(const union subject_state *s, void *buf, size_t size);
	int (*load)(union subject_state *s, vmt_ns now, const void *buf, size_t size);

	/* Writes that make things happen, tried more often than chance would. */
	const uint16_t (*likely)[2]; /* register, value */
	uint32_t likely_count;
};

#define SUBJECTS 7
extern const struct subject subjects[SUBJECTS];

#endif
