/* SPDX-License-Identifier: Apache-2.0 */
/* vmtime.h - the whole library in one header, and what a foreign language asks of it.
 *
 * The caller owns every struct.  A language that cannot read these headers allocates
 * vmt_sizeof(kind) bytes, aligned to 8, and passes their address.  Both functions may be called
 * from any thread at any time. */
#ifndef VMTIME_VMTIME_H
#define VMTIME_VMTIME_H

#include <vmtime/board.h>
#include <vmtime/clock.h>
#include <vmtime/discipline.h>
#include <vmtime/gap.h>
#include <vmtime/hpet.h>
#include <vmtime/kvmclock.h>
#include <vmtime/out.h>
#include <vmtime/pit.h>
#include <vmtime/pmtmr.h>
#include <vmtime/rtc.h>
#include <vmtime/steal.h>
#include <vmtime/tsc.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The version of these headers.  Until 1.0 a program compiled against one minor version need not
 * run with another (the soname tells them apart); the bytes that save functions write stay
 * readable from the first release on. */
#define VMT_VERSION "0.1.0"

/* The version of the library that was loaded, "major.minor.patch": a constant of the library, not
 * to be freed. */
VMT_API const char *vmt_version(void);

/* The structs of the library.  A number never changes its meaning; new ones come at the end. */
enum vmt_kind {
	VMT_KIND_OUT = 1,                /* struct vmt_out */
	VMT_KIND_READING = 2,            /* struct vmt_reading */
	VMT_KIND_CLOCK = 3,              /* struct vmt_clock */
	VMT_KIND_CHANGE = 4,             /* struct vmt_change */
	VMT_KIND_PIT = 5,                /* struct vmt_pit */
	VMT_KIND_RTC = 6,                /* struct vmt_rtc */
	VMT_KIND_PMTMR = 7,              /* struct vmt_pmtmr */
	VMT_KIND_BOARD = 8,              /* struct vmt_board */
	VMT_KIND_BOARD_CONFIG = 9,       /* struct vmt_board_config */
	VMT_KIND_BOARD_OUT = 10,         /* struct vmt_board_out */
	VMT_KIND_LEDGER = 11,            /* struct vmt_ledger */
	VMT_KIND_HPET = 12,              /* struct vmt_hpet */
	VMT_KIND_KVMCLOCK = 13,          /* struct vmt_kvmclock */
	VMT_KIND_DISCIPLINE = 14,        /* struct vmt_discipline */
	VMT_KIND_DISCIPLINE_SAMPLE = 15, /* struct vmt_discipline_sample */
	VMT_KIND_STEAL = 16,             /* struct vmt_steal */
	VMT_KIND_TSC = 17,               /* struct vmt_tsc */
	VMT_KIND_TSC_HOST = 18,          /* struct vmt_tsc_host */
	VMT_KIND_GAP_GUEST = 19,         /* struct vmt_gap_guest */
};

/* Bytes of the struct of that kind (enum vmt_kind); 0 when this library knows no such kind. */
VMT_API size_t vmt_sizeof(uint32_t kind);

#ifdef __cplusplus
}
#endif
#endif
