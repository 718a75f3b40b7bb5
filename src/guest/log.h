/* SPDX-License-Identifier: Apache-2.0 */
/* log.h - what in a kernel's log says that its time or one of its CPUs went wrong.
 *
 * The observer in a guest repeats such lines on the console, which shows only the worst of them by
 * itself (the kernel is told to be quiet); the host looks for them there. */
#ifndef GUEST_LOG_H
#define GUEST_LOG_H

#include <stdbool.h>
#include <stddef.h>

#define LOG_REPEATED "observer: the kernel's log: "

/* The text of a line of a console or a log, without its time and without LOG_REPEATED. */
const char *log_text(const char *line);

/* Whether a line says so: WARNING, BUG (a soft lockup is one), whatever the kernel dies of ("divide
 * error: 0000 [#1]"), a fault, an RCU stall, a clock source or the TSC given up.  Not that the TSC
 * is unstable since the CPUs' are unsynchronized: Linux takes them to be, without looking, on CPUs
 * that do not show an invariant one, and only there; nor that XSAVE's area has another size than
 * the CPU says, which is no matter of time. */
bool log_is_alarm(const char *line);

/* The kernel's records, from the first on; none waited for.  A descriptor or negative errno. */
int log_open(void);

/* The text of the next record that is an alarm, cut to fit.  False: none has come yet. */
bool log_next_alarm(int fd, char *buf, size_t size);

#endif
