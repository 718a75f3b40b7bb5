/* SPDX-License-Identifier: Apache-2.0 */
/* qmp_session.h - one client of a QMP server, without its socket: bytes in, answers out.
 *
 * Commands may be spread over lines and reads, and several come in one.  Where a command ends is
 * found by its brackets alone; what is inside is for the JSON library.  After an error between or
 * in commands the rest of the line is dropped.  A control character, or the byte 0xff, is such an
 * error and its end at once: so a client gets a server that waits for the rest of something into a
 * known state.  As with QEMU strings may be in single quotes, and \' stands for one in any. */
#ifndef LINK_QMP_SESSION_H
#define LINK_QMP_SESSION_H

#include <stdbool.h>
#include <stdint.h>

#include "link/qmp.h"

struct qmp_session {
	const struct qmp_config *config;
	bool negotiated;
	bool waits;    /* a command is to be answered later, ... */
	json_t *id;    /* ... which had this one, or NULL */
	bool skipping; /* the rest of a line */
	char quote;    /* of the string that is not at its end yet; 0: in none */
	bool escaped;  /* after a backslash in it */
	unsigned depth;
	uint64_t squares; /* bit n: bracket n, counted from outside, is [ and not { */
	size_t length;
	char text[QMP_MESSAGE_MAX + 1]; /* the command so far, in double quotes */
};

void qmp_session_init(struct qmp_session *s, const struct qmp_config *config);

/* What the server says first; a new reference, NULL without memory. */
json_t *qmp_session_greeting(const struct qmp_session *s);

/* Takes bytes up to the end of the next command or error, and runs the command.  Returns how many
 * it took, at least 1 of 1.  *ret_answer: a new reference, or NULL when none is due yet; if the
 * session waits, not before qmp_session_answer(), and nothing more may be taken until then. */
size_t qmp_session_take(struct qmp_session *s, const char *bytes, size_t length,
			json_t **ret_answer);

/* It waits no longer: the answer, as qmp_answer() has it; a new reference, NULL without memory. */
json_t *qmp_session_answer(struct qmp_session *s, json_t *result, const struct why *why);

/* The client is gone. */
void qmp_session_end(struct qmp_session *s);

#endif
