/* SPDX-License-Identifier: Apache-2.0 */
/* test_follow.h - follows a guest by its readings: on which clock source it is, and whether they
 * come.  Pure calculation. */
#ifndef CMD_TEST_FOLLOW_H
#define CMD_TEST_FOLLOW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cmd/test_sample.h"
#include "host/why.h"

/* For so long a guest may keep us waiting: for its first reading; with its readings on another
 * clock source, in its own time; for the next one. */
extern const uint64_t test_follow_boot_ns, test_follow_clocksource_ns, test_follow_silence_ns;

struct test_follow {
	const char *clocksource; /* the one that is wanted */
	bool on_it;
	size_t from; /* first reading that is surely of it, under the name that it has now */
};

/* Looks at reading `i`, each in turn.  A clock has another rate under its later name, so what is
 * steady begins anew with that.  0, or -ESTALE with its why: the guest has left it. */
int test_follow_look(struct test_follow *f, const struct test_stream *s, size_t i, struct why *why);

/* Whether the guest is late by now, `age_ns` after its start and `silent_ns` after its last reading
 * (0: none is due).  0; -ETIMEDOUT with what is to be complained of; -ENODEV with its why: it does
 * not take the clock source. */
int test_follow_check(const struct test_follow *f, const struct test_stream *s, uint64_t age_ns,
		      uint64_t silent_ns, struct why *why);

#endif
