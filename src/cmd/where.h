/* SPDX-License-Identifier: Apache-2.0 */
/* where.h - the machine that a verb runs on: this one where KVM works, else the lab. */
#ifndef CMD_WHERE_H
#define CMD_WHERE_H

#include <stdint.h>

#include "kvm/probe.h"

enum { WHERE_HERE = -1 };

struct where_needs {
	uint64_t memory; /* bytes of all guests at once; 0: what a verb with small guests needs */
	uint64_t timeout_ns; /* for all of it, with status 124; 0: none */
	/* Files and directories that the verb writes and that are to stay, NULL-ended, or NULL; the
	 * lab is lent the directory of each.  A NULL in it ends it, so gather only what was given.
	 * Those that do not exist are made by the verb, as here; their directories must exist. */
	const char *const *written;
	/* Sockets on which the verb listens, NULL-ended, or NULL.  The lab cannot lend one: with
	 * any in it CMD_USAGE where it could not be had here either, else CMD_CANNOT. */
	const char *const *sockets;
	const char *reached; /* "tcp:HOST:PORT", where others are to reach it; nor that; NULL */
	/* What else the verb can find wrong without KVM: CMD_OK, or the exit status after a line.
	 * Asked before the lab is used, so that bad input costs no boot; NULL: nothing. */
	int (*check)(const void *arg);
	const void *arg;
	/* Set with WHERE_HERE, unless it is NULL: what KVM can do to a guest's TSC. */
	enum probe_tsc_class *ret_tsc_class;
};

/* WHERE_HERE when KVM works on this machine.  Otherwise says so in one line on stderr, runs the
 * same command line in the lab and returns its exit status (CMD_CANNOT in the lab itself, or when
 * there is none).  argv[0] is the verb, as every verb gets it; `needs` may be NULL.  To be called
 * after the options were checked, so that a wrong one costs no boot. */
int where_run(int argc, char **argv, const struct where_needs *needs);

#endif
