/* SPDX-License-Identifier: Apache-2.0 */
/* into.h - the faces' functions with the answer written where the caller wants it.
 *
 * The public functions of the same names return it by value, which is kinder to a reader; but the
 * copy of a struct that was just put together stalls the load of each wide word behind the narrow
 * stores, and costs a PIT read through the board a fifth.  *out is written whole. */
#ifndef FACES_INTO_H
#define FACES_INTO_H

#include <vmtime/hpet.h>
#include <vmtime/pit.h>
#include <vmtime/pmtmr.h>
#include <vmtime/rtc.h>

void vmt_pit_advance_into(struct vmt_pit *s, vmt_ns now, struct vmt_out *out);
void vmt_pit_read_into(struct vmt_pit *s, vmt_ns now, uint32_t reg, uint8_t *ret_value,
		       struct vmt_out *out);
void vmt_pit_write_into(struct vmt_pit *s, vmt_ns now, uint32_t reg, uint8_t value,
			struct vmt_out *out);

void vmt_rtc_advance_into(struct vmt_rtc *s, vmt_ns now, struct vmt_out *out);
void vmt_rtc_read_into(struct vmt_rtc *s, vmt_ns now, uint32_t reg, uint8_t *ret_value,
		       struct vmt_out *out);
void vmt_rtc_write_into(struct vmt_rtc *s, vmt_ns now, uint32_t reg, uint8_t value,
			struct vmt_out *out);

void vmt_pmtmr_advance_into(struct vmt_pmtmr *s, vmt_ns now, struct vmt_out *out);
void vmt_pmtmr_read_into(struct vmt_pmtmr *s, vmt_ns now, uint32_t reg, uint32_t width,
			 uint32_t *ret_value, struct vmt_out *out);
void vmt_pmtmr_write_into(struct vmt_pmtmr *s, vmt_ns now, uint32_t reg, uint32_t width,
			  uint32_t value, struct vmt_out *out);

void vmt_hpet_advance_into(struct vmt_hpet *s, vmt_ns now, struct vmt_out *out);
void vmt_hpet_read_into(struct vmt_hpet *s, vmt_ns now, uint32_t reg, uint32_t width,
			uint64_t *ret_value, struct vmt_out *out);
void vmt_hpet_write_into(struct vmt_hpet *s, vmt_ns now, uint32_t reg, uint32_t width,
			 uint64_t value, struct vmt_out *out);

/* When the line of timer 0..2 rises; VMT_NEVER: it does not. */
vmt_ns vmt_hpet_due(const struct vmt_hpet *s, uint32_t timer);

#endif
