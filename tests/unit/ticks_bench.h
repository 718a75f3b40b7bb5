/* SPDX-License-Identifier: Apache-2.0 */
/* ticks_bench.h - the ticks of one source on a bench: a millisecond apart, each fate checked. */
#ifndef TESTS_TICKS_BENCH_H
#define TESTS_TICKS_BENCH_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "board/ticks.h"

#define POLICY(policy) (&(const struct vmt_board_config){.ticks = VMT_TICKS_##policy})
#define DISCARD POLICY(DISCARD)
#define CATCHUP POLICY(CATCHUP)
#define DELAY POLICY(DELAY)
#define MERGE POLICY(MERGE)

#define MS UINT64_C(1000000)

static inline struct vmt_board_ticks every_ms(void)
{
	return (struct vmt_board_ticks){.retry_ns = VMT_NEVER, .period_ns = MS};
}

/* As the board does it: credited, and then asked whether another is to go out. */
static inline bool ack(struct vmt_board_ticks *t, const struct vmt_board_config *c, vmt_ns now)
{
	vmt_ticks_ack(t, c, now);
	return vmt_ticks_again(t, c, now);
}

static inline void fates_are(const struct vmt_board_ticks *t, uint64_t due, uint64_t delivered,
			     uint64_t merged, uint64_t discarded, uint64_t owed)
{
	assert_int_equal(t->ledger.due, due);
	assert_int_equal(t->ledger.delivered, delivered);
	assert_int_equal(t->ledger.merged, merged);
	assert_int_equal(t->ledger.discarded, discarded);
	assert_int_equal(t->ledger.owed, owed);
	assert_int_equal(due, delivered + merged + discarded + owed);
}

static inline void ledger_is(const struct vmt_board_ticks *t, uint64_t due, uint64_t delivered,
			     uint64_t discarded, uint64_t owed)
{
	fates_are(t, due, delivered, 0, discarded, owed);
}

#endif
