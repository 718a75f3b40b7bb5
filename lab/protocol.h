/* SPDX-License-Identifier: Apache-2.0 */
/* protocol.h - what `vmtime lab` and process 1 of the lab machine say to each other.
 *
 * One virtio-serial port, both ways, is all they share.  Each message is a struct lab_frame and
 * `length` bytes, at most LAB_FRAME_MAX except for LAB_JOB; both ends are x86-64, little-endian.
 *
 * The machine says LAB_READY first.  The host answers with LAB_JOB, the machine makes all that the
 * command needs and says LAB_PREPARED.  The host's LAB_RUN then starts the command: until it is
 * sent, another machine may take this one's place.  From then on the host sends LAB_INPUT (no
 * bytes: end of file), LAB_WINDOW and LAB_SIGNAL, which waits for the input before it to be taken.
 * The machine sends LAB_OUTPUT and LAB_ERROR while the command runs, and LAB_STATUS or LAB_BROKEN
 * last, after all output. */
#ifndef LAB_PROTOCOL_H
#define LAB_PROTOCOL_H

#include <stdint.h>

#define LAB_PORT "vmtime.lab"          /* name of the port */
#define LAB_ROOT_TAG "vmtimeroot"      /* 9p tags: this machine's / ... */
#define LAB_SHARE_TAG "vmtimeshare"    /* ... and the shares: with 0, 1, ... behind it */
#define LAB_LINK_NETWORK "169.254.77." /* of the link's two ends: .1 and .2, of 24 bits */
#define LAB_LINK_MTU 16384
#define LAB_FRAME_MAX 32768U
#define LAB_JOB_MAX (8U << 20)

enum lab_frame_type {
	LAB_READY = 1, /* to the host, no bytes */
	LAB_JOB,       /* struct lab_job and its strings */
	LAB_PREPARED,  /* to the host, no bytes */
	LAB_RUN,       /* no bytes */
	LAB_INPUT,     /* bytes for the command's standard input */
	LAB_WINDOW,    /* struct lab_window: the terminal's size has changed */
	LAB_OUTPUT,    /* bytes of standard output, or of the terminal */
	LAB_ERROR,     /* bytes of standard error */
	LAB_STATUS,    /* int32_t: exit status, 128 + signal when a signal ended it */
	LAB_BROKEN,    /* text: why the command cannot be run at all */
	LAB_SIGNAL,    /* int32_t: to the command and its process group */
};

struct lab_frame {
	uint32_t type;
	uint32_t length;
};

struct lab_window {
	uint16_t rows, columns;
};

enum lab_job_flags {
	LAB_JOB_TERMINAL = 1 << 0,       /* standard input and output are one terminal */
	LAB_JOB_TERMINAL_ERROR = 1 << 1, /* and so is standard error */
};

/* Followed by NUL-ended strings: the working directory, `shares` directories, `arguments`
 * arguments (at least one), `variables` of the environment. */
struct lab_job {
	int64_t realtime_ns; /* of the host, when it was sent */
	uint32_t flags;
	uint32_t shares;
	uint32_t arguments;
	uint32_t variables;
	struct lab_window window;
	uint32_t link; /* 0: none; which end of it this lab has: 1 or 2 */
};

#endif
