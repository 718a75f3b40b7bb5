/* SPDX-License-Identifier: Apache-2.0 */
/* qmp.h - a server of QMP, the QEMU Machine Protocol, on a UNIX socket.
 *
 * JSON objects in both directions: a greeting, commands with their answers in order, events.  What
 * the commands do is the owner's: the server knows them from a table.  It answers by itself
 * qmp_capabilities, query-commands and query-version.
 *
 * Several clients may be connected, each negotiates for itself.  Nobody waits for a client that
 * does not read: beyond QMP_PAUSE bytes of answers that it has not taken its commands wait, and
 * beyond QMP_PENDING_MAX (events add to them) it is disconnected.
 *
 * A command may be answered later: until then its client's next ones wait, other clients' do not.
 *
 * A client may close its sending side and still gets the answers to what it has sent.
 *
 * Threads: all from the loop's.  The process ignores SIGPIPE. */
#ifndef LINK_QMP_H
#define LINK_QMP_H

#include <event2/event.h>
#include <jansson.h>

#include "host/why.h"

#define QMP_MESSAGE_MAX 65536 /* bytes of one command */
#define QMP_DEPTH_MAX 64      /* of brackets in it */
#define QMP_PAUSE 65536
#define QMP_PENDING_MAX (1U << 20)
#define QMP_CLIENTS_MAX 16 /* more wait until one leaves */
#define QMP_LATER (json_null())

struct qmp_command {
	const char *name;
	const char *const *arguments; /* names of all that it takes, NULL-ended; NULL: none */
	/* `arguments` is an object with none but these.  A new reference to what is returned; NULL:
	 * it failed, as `why` says; QMP_LATER: qmp_answer() will tell. */
	json_t *(*run)(void *owner, const json_t *arguments, struct why *why);
};

struct qmp_config {
	unsigned version[3];                /* major, minor, micro */
	const char *package;                /* such as "vmtime 0.1.0" */
	const struct qmp_command *commands; /* ended by one without a name */
	void *owner;
};

struct qmp;

/* Listens at `path` as host/listen.h has it; both are kept by reference.  0 or negative errno and
 * nothing left behind. */
int qmp_open(const char *path, const struct qmp_config *config, struct event_base *base,
	     struct qmp **ret_qmp, struct why *why);

/* Sends what clients take without waiting, disconnects them and removes the socket.  Takes NULL. */
void qmp_close(struct qmp *q);

/* Tells all clients that have negotiated.  Takes over the reference to `data`; NULL: no data. q may
 * be NULL. */
void qmp_event(struct qmp *q, const char *name, json_t *data);

/* The answer to the one command that was put off (the owner allows no second one): takes over the
 * reference to `result`, which is NULL when it failed, as `why` says.  What its client has sent
 * meanwhile is served then.  A client that has left is not missed. */
void qmp_answer(struct qmp *q, json_t *result, const struct why *why);

/* A client on a connected stream socket, which is taken over.  0 or -ENOMEM. */
int qmp_add_client(struct qmp *q, int fd);

#endif
