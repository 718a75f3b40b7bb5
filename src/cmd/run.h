/* SPDX-License-Identifier: Apache-2.0 */
/* run.h - the options of vmtime run. */
#ifndef CMD_RUN_H
#define CMD_RUN_H

#include <limits.h>

#include "kvm/machine.h"
#include "move/address.h"

enum { RUN_LIST_MAX = 64 };

struct run_options {
	struct machine_config machine; /* points into what follows and into argv */
	bool verbose;
	const char *qmp;                       /* path of the socket; NULL: none */
	const char *incoming;                  /* path of a snapshot; NULL: none */
	const char *from;                      /* who has it now, as it was given; NULL: nobody */
	struct address address;                /* of that */
	const char *initrds[RUN_LIST_MAX + 1]; /* NULL-ended */
	const char *env[RUN_LIST_MAX + 1];
	char kernel[PATH_MAX];   /* the default one's path */
	char observer[PATH_MAX]; /* the default initrd's */
};

/* All options of the contract are known; what is not built yet is refused by its name.  CMD_OK, or
 * the exit status after one line on stderr.  argv[0] is the verb. */
int run_parse(int argc, char **argv, struct run_options *ret_options);

#endif
