/* SPDX-License-Identifier: Apache-2.0 */
/* test_ticks_qmp.h - asks a running `vmtime run --qmp` for its ledgers. */
#ifndef CMD_TEST_TICKS_QMP_H
#define CMD_TEST_TICKS_QMP_H

#include <jansson.h>

#include "cmd/test_ticks_judge.h"
#include "host/why.h"

/* Ledgers by source, from what query-vmtime returned; a source that is not there is not known.
 * 0, or -EPROTO: it is no such thing. */
int ticks_qmp_read(const json_t *returned, struct ticks_ledger ledgers[TICKS_SOURCES]);

/* Connects to the socket, asks, waits at most 10 s and leaves.  0 or a negative errno with its
 * why. */
int ticks_qmp_ask(const char *path, struct ticks_ledger ledgers[TICKS_SOURCES], struct why *why);

/* What the PIT's ledger owes; asked again for a second while that is more than the tick that may
 * just have fallen due.  0 or a negative errno with its why. */
int ticks_qmp_owed(const char *path, uint64_t *ret_ticks, struct why *why);

#endif
