/* SPDX-License-Identifier: Apache-2.0 */
/* pmtmr.h - ACPI power-management timer and the PM1a event block that it reports to, as a face.
 *
 * What the guest expects (ACPI 6.5, 4.8.2.1 and 4.8.3.1): a counter of 24 or 32 bits at 3.579545
 * MHz, read only; TMR_STS is set each time its top bit changes, and raises the SCI while TMR_EN.
 *
 * The face owns the whole event block: status (bits are cleared by writing 1) and enable (holds
 * what is written).  Of the status bits TMR_STS is set by the timer and PWRBTN_STS by
 * vmt_pmtmr_button(); no other is ever set.  PM1 control and the S-states are the machine's.
 *
 * Wired is the SCI, by its level.
 *
 * The counter is floor(now * VMT_PMTMR_HZ / 10^9) modulo its width. */
#ifndef VMTIME_PMTMR_H
#define VMTIME_PMTMR_H

#include <vmtime/out.h>

#ifdef __cplusplus
extern "C" {
#endif

#define VMT_PMTMR_HZ 3579545

/* Registers are bytes: 0-1 status, 2-3 enable (the PM1a event block), 8-11 the timer. */
enum vmt_pmtmr_reg { VMT_PMTMR_STS = 0, VMT_PMTMR_EN = 2, VMT_PMTMR_TMR = 8 };
enum vmt_pmtmr_line { VMT_PMTMR_SCI = 0 };

/* Bits of status and of enable. */
enum vmt_pmtmr_bit { VMT_PMTMR_TIMER = 0x0001, VMT_PMTMR_BUTTON = 0x0100 };

struct vmt_pmtmr {
	uint64_t seen_tick; /* clocks up to the last call */
	uint16_t status;
	uint16_t enable;
	uint8_t bits;   /* 24 or 32 */
	uint8_t pad[3]; /* 0 */
};

/* Power-on.  bits: 24 or 32, else -EINVAL. */
VMT_API int vmt_pmtmr_init(struct vmt_pmtmr *s, vmt_ns now, uint32_t bits);

/* Bus reset: status and enable are cleared, the counter goes on. */
VMT_API void vmt_pmtmr_reset(struct vmt_pmtmr *s, vmt_ns now);

VMT_API struct vmt_out vmt_pmtmr_advance(struct vmt_pmtmr *s, vmt_ns now);

/* A guest's access of `width` 1, 2 or 4 bytes from register byte `reg` on; little-endian.  Bytes
 * between and beyond the registers read 0 and ignore writes. */
VMT_API struct vmt_out vmt_pmtmr_read(struct vmt_pmtmr *s, vmt_ns now, uint32_t reg, uint32_t width,
				      uint32_t *ret_value);
VMT_API struct vmt_out vmt_pmtmr_write(struct vmt_pmtmr *s, vmt_ns now, uint32_t reg,
				       uint32_t width, uint32_t value);

/* Somebody pressed the power button: PWRBTN_STS, and the SCI if the guest enabled it. */
VMT_API struct vmt_out vmt_pmtmr_button(struct vmt_pmtmr *s, vmt_ns now);

/* The counter alone, as a 32-bit read shows it: changes nothing, needs no state and no lock. */
VMT_API uint32_t vmt_pmtmr_peek(vmt_ns now, uint32_t bits);

/* Save: bytes written, or -ENOSPC (VMT_PMTMR_SAVED suffices).  Load, into an initialised *s: 0, or
 * -EINVAL and *s as it was: damaged, of another version, of another width, or impossible at `now`.
 */
#define VMT_PMTMR_SAVED 64
VMT_API int vmt_pmtmr_save(const struct vmt_pmtmr *s, void *buf, size_t size);
VMT_API int vmt_pmtmr_load(struct vmt_pmtmr *s, vmt_ns now, const void *buf, size_t size);

#ifdef __cplusplus
}
#endif
#endif
