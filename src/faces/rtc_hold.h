/* SPDX-License-Identifier: Apache-2.0 */
/* rtc_hold.h - which read of the RTC's seconds is held back, and until when (vmt_rtc_exact()).
 *
 * A burst is what a reader does who checks that the time was not torn: seconds, the other fields,
 * register A with UIP clear, and at once the seconds again (Linux 6.1, mc146818_avoid_UIP() with
 * mc146818_get_time()'s callback: 0 A 0, 2 4 7 8 9 0x32 B, A 0).  Only this last read is ever held.
 *
 * Linux 6.1 reads in this order while rtc_cmos comes up (cmos_do_probe(), then
 * __devm_rtc_register_device()):
 *
 *     0 A 0 A 0          does it work?  No fields: no burst
 *     A and B written    the driver has the chip
 *     burst 1            __rtc_read_alarm(): the time before ...
 *     alarm bytes        ... the alarm, in the same frame (again, if a minute has passed) ...
 *     burst 2            ... and the time after
 *     burst 3            rtc_initialize_alarm(): has it passed?
 *     (a line on the console, a device node)
 *     burst 4            rtc_hctosys() sets the clock: this second and a half
 *
 * Burst 1 is held until VMT_RTC_HOLD_EARLY_NS before the instant that is aimed at, which leaves
 * room for what comes until burst 4; the two after the alarm bytes pass; burst 4 is held until the
 * instant itself.  Where there is no alarm, 2 and 3 are missing with it.
 *
 * A burst 1 that ends too late in its second is held to the end of it and answered with the next:
 * its reader sees another second than at the beginning and reads anew, and that burst is held.
 * So does a burst 4, on a busy host.  Both happen once only.
 *
 * A guest that is not shown kvm-clock reads a burst seconds earlier, at timekeeping_init(), before
 * it has a driver: bursts are not looked at before A or B was written. */
#ifndef FACES_RTC_HOLD_H
#define FACES_RTC_HOLD_H

#include <stdbool.h>
#include <vmtime/rtc.h>

/* Power-on or reset.  Nothing unless s->exact. */
void vmt_rtc_hold_arm(struct vmt_rtc *s);

/* The byte `index` is read at seen_ns, rest_ns (below 1 s) after the edge of a second; updating:
 * UIP is set.  Returns when the guest may have it: seen_ns, or later. */
vmt_ns vmt_rtc_hold_read(struct vmt_rtc *s, unsigned index, bool updating, uint32_t rest_ns);

/* The byte `index` was written; set: it was of the time, or the time stands now. */
void vmt_rtc_hold_write(struct vmt_rtc *s, unsigned index, bool set);

/* Whether a saved state can be. */
bool vmt_rtc_hold_good(const struct vmt_rtc *s);

#endif
