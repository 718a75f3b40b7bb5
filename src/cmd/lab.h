/* SPDX-License-Identifier: Apache-2.0 */
/* lab.h - the emulated machine of `vmtime lab`, for it and for verbs that run themselves there. */
#ifndef CMD_LAB_H
#define CMD_LAB_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "host/listen.h"
#include "host/why.h"

/* Set in the environment of what runs in the lab; the addresses with a link alone. */
#define LAB_VARIABLE "VMTIME_LAB"
#define LAB_VARIABLE_HERE LAB_VARIABLE "_HERE"
#define LAB_VARIABLE_THERE LAB_VARIABLE "_THERE"

enum { LAB_SHARES_MAX = 16, LAB_LINK_PATH = 108 };

/* A cable between this lab and another: two UNIX sockets, each lab sends its frames to the
 * other's. */
struct lab_link {
	char here[LAB_LINK_PATH], there[LAB_LINK_PATH]; /* absolute */
	unsigned end; /* 1 or 2: which of the two this is, as the other lab has it too */
	struct listen_socket socket;
};

struct lab_options {
	unsigned cpus;                      /* 1 .. 8 */
	uint64_t memory;                    /* bytes, a multiple of 1 MiB */
	uint64_t timeout_ns;                /* 0: none */
	const char *shares[LAB_SHARES_MAX]; /* directories whose changes are to stay */
	unsigned n_shares;
	struct lab_link *link; /* NULL: none; lab_run() opens and closes it */
	/* How long the machine may take until the command starts; a second one in its place, when
	 * it takes longer, twice and a third four times as long. */
	uint64_t boot_limit_ns; /* 0: none */
};

/* A boot takes 3 s, and on a busy machine ten times that. */
#define LAB_OPTIONS_DEFAULT                                                       \
	{                                                                         \
		.cpus = 2, .memory = 2ULL << 30, .boot_limit_ns = 45000000000ULL, \
	}

/* Runs `argv` (NULL-ended) as root in a lab machine, with this process's directory, environment,
 * standard input, output and error, terminal included.  Returns its exit status, CMD_TIMEOUT, or
 * CMD_CANNOT after one line on stderr that begins with `verb`.
 *
 * QEMU's emulated CPUs fall silent now and then, or the machine ends by itself.  Before the command
 * has started, another machine takes its place then, at most twice, and a line on stderr says so.
 *
 * SIGINT, SIGTERM, SIGHUP and SIGQUIT, unless ignored, go to the command's process group; the
 * machine ends with the command, else 3 s later or at a second signal, then with status 128 +
 * signal.  In the background of its terminal the command gets no input, and pipes as output. */
int lab_run(const char *verb, const struct lab_options *options, char *const *argv);

/* False for / and for what the lab has its own of: /dev, /proc, /sys and all below.  `directory` is
 * absolute and has no symbolic link in it. */
bool lab_may_share(const char *directory);

/* Of "HERE,THERE", in lab_link.c.  0, or negative errno: -EINVAL, -ENAMETOOLONG, -ENOENT, ... */
int lab_link_parse(const char *text, struct lab_link *ret_link, struct why *why);

/* Makes the socket HERE.  0, or what listen_datagrams() says. */
int lab_link_open(struct lab_link *link, struct why *why);

/* Frames go to THERE from now on, if anybody is there; until then they are lost.  To be called
 * again and again: another may take its place.  False: nobody is there. */
bool lab_link_reach(const struct lab_link *link);

/* Removes HERE; nothing when it was never opened. */
void lab_link_close(struct lab_link *link);

/* Parts of lab_run, in lab_machine.c. */

struct lab_machine {
	pid_t qemu;
	int port;    /* socket: lab/protocol.h */
	int console; /* socket: what the lab's kernel prints */
	int errors;  /* pipe: what QEMU prints */
};

/* Starts QEMU; it dies when this process does, and leaves no file.  0, or negative errno. */
int lab_machine_start(const struct lab_options *options, struct lab_machine *ret_machine,
		      struct why *why);

/* The whole LAB_JOB message, to be freed; NULL when memory is short or it is longer than
 * LAB_JOB_MAX. */
uint8_t *lab_job_create(const struct lab_options *options, char *const *argv, size_t *ret_size,
			struct why *why);

/* In lab_initrd.c: a memory file with process 1 and the modules of the lab kernel in `folder`, as
 * a cpio archive.  A descriptor, or negative errno. */
int lab_initrd_create(const char *folder, struct why *why);

#endif
