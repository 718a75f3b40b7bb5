/* SPDX-License-Identifier: Apache-2.0 */
/* address.h - where a machine comes from or goes to: "tcp:HOST:PORT" or "unix:PATH".
 *
 * HOST is a name, an IPv4 address, or an IPv6 one in brackets; in what listens it may be empty: all
 * addresses of this host; in what connects that is this host.  PORT is a number; in what listens 0
 * is any that is free. */
#ifndef MOVE_ADDRESS_H
#define MOVE_ADDRESS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/un.h>

#include "host/why.h"

struct address {
	bool tcp; /* else unix */
	char host[256], port[8];
	char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
	dev_t device; /* of "unix:", once it is listened at */
	ino_t inode;  /* 0: it is not */
};

/* 0, or -EINVAL with what is wrong and how it is written. */
int address_parse(const char *text, struct address *ret_address, struct why *why);

/* A non-blocking socket that listens; of "unix:" its file is readable for its owner alone, and a
 * socket that nobody serves any more is replaced.  Descriptor, or negative errno: -EADDRINUSE
 * somebody else listens there. */
int address_listen(struct address *address, struct why *why);

/* Removes the file of "unix:" that address_listen() has made, if it is still there. */
void address_forget(const struct address *address);

/* A non-blocking socket that is connected; tries all addresses of a name.  *give_up, which any
 * thread may set: -ECANCELED soon after, also while a name is looked up.  Descriptor, or negative
 * errno: -ETIMEDOUT after patience_ns. */
int address_connect(const struct address *address, uint64_t patience_ns, const bool *give_up,
		    struct why *why);

#endif
