/* SPDX-License-Identifier: Apache-2.0 */
/* guest.h - the parts of process 1 of the lab machine. */
#ifndef LAB_GUEST_H
#define LAB_GUEST_H

#include <stddef.h>
#include <stdint.h>

#include "protocol.h"

/* A job as it came, and where its strings are. */
struct guest_job {
	struct lab_job head;
	char *directory;
	char **shares; /* NULL-ended, as are the next two */
	char **arguments;
	char **variables;
};

/* Ends the machine: tells the host why, as LAB_BROKEN once the port is open, else on the console.
 * `error` is an errno, or 0 when it says nothing. */
void guest_fail(int error, const char *format, ...) __attribute__((noreturn, format(printf, 2, 3)));

/* Exactly `size` bytes from or to the port; a port that fails ends the machine. */
void guest_receive(int port, void *data, size_t size);
void guest_send(int port, uint32_t type, const void *data, size_t length);

/* Makes VMs that last as long as process 1; see keep.c for what they are good for.  0, also where
 * there is no KVM, or a negative errno. */
int guest_keep_vms(void);

/* The calling process and its children run on any CPU but the first, where there is another. */
void guest_leave_cpu0(void);

/* Runs the command in the root that is mounted, passes its input and output over `port`, and
 * returns its exit status, 128 + signal when a signal ended it.  All output was sent by then. */
int relay_run(int port, const struct guest_job *job);

#endif
