/* SPDX-License-Identifier: Apache-2.0 */
/* chip.h - the faces as the vectors see them: started, accessed, saved and loaded by name. */
#ifndef VECTORS_CHIP_H
#define VECTORS_CHIP_H

#include <stdbool.h>
#include <vmtime/hpet.h>
#include <vmtime/pit.h>
#include <vmtime/pmtmr.h>
#include <vmtime/rtc.h>

struct access {
	char verb[8];   /* in, out, wait, snap, ... */
	bool placed;    /* a place was named */
	uint32_t place; /* port or byte of the register block */
	uint32_t width; /* bytes */
	bool has_value; /* a value is written */
	uint64_t value; /* written, or read */
	bool answered;  /* `value` is an answer */
};

union chip_state {
	struct vmt_hpet hpet;
	struct vmt_pit pit;
	struct vmt_pmtmr pmtmr;
	struct vmt_rtc rtc;
};

struct chip {
	const char *name;
	uint32_t hz;    /* of the unit "c" */
	unsigned lines; /* of output that vectors state */
	/* Power-on at time 0; arg: of the line "start", or NULL.  False: no such start. */
	bool (*start)(union chip_state *s, const char *arg);
	/* False: the chip has no such access. */
	bool (*access)(union chip_state *s, vmt_ns now, struct access *a, struct vmt_out *out);
	/* Save, and load into another that was just started.  False: refused. */
	bool (*snap)(union chip_state *s, vmt_ns now, struct vmt_out *out);
};

/* NULL: none of that name. */
const struct chip *chip_named(const char *name, size_t length);

#endif
