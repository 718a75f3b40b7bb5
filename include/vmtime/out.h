/* SPDX-License-Identifier: Apache-2.0 */
/* out.h - virtual time, and what a face asks of whoever holds it.
 *
 * A face is a pure function of the virtual clock plus the bytes that the guest has set.  It
 * reads no clock, allocates, locks, logs and calls back nothing: each call takes `now` and
 * returns one struct vmt_out, the same for all faces.
 *
 * `now` never decreases from call to call on one state: the caller, or the board, sees to it.  A
 * smaller one is a mistake and changes nothing: registers and counters read as at the largest so
 * far.
 *
 * Thread rule of every face: calls on one state are serialised by the caller, functions named
 * *_peek excepted; different states need no lock between them.
 *
 * The structs of the faces are the caller's memory, plain and free of pointers.  Their fields are
 * public so that the size is known and a debugger can look; change them through the functions. */
#ifndef VMTIME_OUT_H
#define VMTIME_OUT_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define VMT_API __attribute__((visibility("default")))
#else
#define VMT_API
#endif

/* Virtual nanoseconds since the guest was powered on.  Never steps back while a VM lives. */
typedef uint64_t vmt_ns;

#define VMT_NEVER UINT64_MAX
#define VMT_LINES 4 /* output lines of the face that has the most */

struct vmt_out {
	/* Call advance again no later than this; VMT_NEVER: no need.  Always later than `now`.
	 * Until the guest touches the face, no line that its header calls wired does anything
	 * before, and one does at exactly this instant. */
	vmt_ns deadline;
	vmt_ns ready; /* the guest gets this answer no earlier; normally `now` */
	uint64_t
		rises[VMT_LINES]; /* rising edges of each line in this call, those over again too */
	uint8_t level;            /* bit n: output line n is high now */
	uint8_t dirty;            /* 1: the face's guest page is to be published anew */
	uint8_t pad[6];           /* 0 */
};

#ifdef __cplusplus
}
#endif
#endif
