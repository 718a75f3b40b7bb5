/* SPDX-License-Identifier: Apache-2.0 */
/* vdso.h - the kernel's own clock_gettime, without the C library's way to it.
 *
 * Finds it, reads no clock.  The way through the library costs a fifth of the bracket of a reading
 * (50 of 270 counts on an emulated CPU), which is what limits how well two clocks are compared. */
#ifndef HOST_VDSO_H
#define HOST_VDSO_H

#include <time.h>

/* As clock_gettime(2), but the error is returned. */
typedef int vdso_clock_gettime(clockid_t clock, struct timespec *ret_time);

/* The vDSO's function, or NULL where the kernel has none. */
vdso_clock_gettime *vdso_find_clock_gettime(void);

#endif
