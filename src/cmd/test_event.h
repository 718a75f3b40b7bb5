/* SPDX-License-Identifier: Apache-2.0 */
/* test_event.h - scenarios in which something happens to a running guest.
 *
 * Each boots Linux with each clock source and, of vmtime's VMM, each policy: steady time, the
 * event, time after it, and a verdict.  What happens is a row in a small file of its own; all else
 * is the same for all. */
#ifndef CMD_TEST_EVENT_H
#define CMD_TEST_EVENT_H

#include "cmd/test_event_judge.h"
#include "cmd/test_follow.h"
#include "cmd/test_move.h"
#include "cmd/test_pauses.h"
#include "cmd/test_plan.h"
#include "cmd/test_qmp.h"
#include "cmd/test_sample.h"
#include "host/pairs.h"

struct test_event;

enum test_event_phase {
	TEST_EVENT_BEFORE,
	TEST_EVENT_DURING,
	TEST_EVENT_AFTER,
	TEST_EVENT_OVER,
};

/* One boot of one guest, from start to verdict. */
struct test_event_run {
	const struct test_event *event;
	const struct test_options *options;
	struct test_report *report;
	struct pairs *pairs;
	struct test_machine_config config;
	const char *policy;         /* that the VMM was told; NULL: it has none */
	const char *const *against; /* policies that it is set against, a result each; ... */
	size_t n_against;           /* ... a NULL among them: nothing is to change */
	unsigned number;
	unsigned clone; /* from 1 */

	struct test_machine machine; /* the one that the guest is in */
	struct test_machine left;    /* the one that it was in before; pid 0: none */
	bool gone;                   /* by now no machine is to run */
	struct test_move move;       /* on the way to another one */
	int file;                    /* the event's own, closed at the end; -1: none */
	struct test_stream stream;
	struct test_qmp qmp; /* of `machine`, open from the guest's first reading on */
	struct kvmtsc_map map;
	bool has_map;
	int fd;
	uint64_t started_ns, last_news_ns;
	struct test_follow follow;
	enum test_event_phase phase;
	struct event_seen seen; /* `map[0]` from its begin on */
	uint64_t mark_tsc;      /* readings up to this count of that TSC are not after it */
	size_t n_before;        /* readings before it */
	size_t n_come;          /* that have come up to its end */
	int64_t slept_ns;       /* for so long the host was suspended */
	uint64_t downtime_ns; /* for so long the guest did not run, as its VMM says; 0: not known */
	struct pvtrace trace; /* of QEMU's kvm-clock */
	struct why untraced;  /* why there is none */
	struct pauses *pauses; /* of many events: what they were; else NULL */
	char alarm[160];
	bool cannot; /* measuring is not possible here at all */
	struct why why;
};

struct test_event {
	enum test_scenario scenario;
	const char *option;  /* of `vmtime run`, which takes its policy; NULL: it has none */
	uint64_t limit_ns;   /* of what is judged, unless the clock source has its own */
	bool runs;           /* the guest runs from its begin to its end */
	bool moves;          /* the guest goes to another VMM, which takes as long as it takes */
	bool clones;         /* of one begin there may be several ends, with a guest each */
	bool monotonic_only; /* nothing is promised of CLOCK_REALTIME */
	uint64_t each_ns;    /* of many, one after the other: the longest; 0: it is one */
	uint64_t (*default_ns)(const char *clocksource); /* of one whose length is for us to say */

	/* NULL, or before anything else: 0, or a negative errno with its why. */
	int (*check)(struct test_event_run *r);
	/* It begins, and after the duration ends.  While it lasts readings come in as before.  One
	 * that ends the machine sets `gone`, and brings `machine`, `fd` and `qmp` to the next.  0,
	 * or a negative errno with its why. */
	int (*begin)(struct test_event_run *r);
	int (*end)(struct test_event_run *r);

	/* Of many, or of one that ends by itself: looks whether it is time for the next.  1: all
	 * have been, 0, or negative errno with its why. */
	int (*step)(struct test_event_run *r);

	/* NULL, or: it has begun and will not end, or may have. */
	void (*undo)(void);
};

extern const struct test_event test_hoststep, test_migrate, test_migrations, test_pause,
	test_pauses, test_snapshot, test_suspend;

/* Of many: has the guest look at its clocks and makes `pauses`; and ends that, when all have
 * been. */
int test_pauses_begin(struct test_event_run *r);
int test_pauses_end(struct test_event_run *r);

/* How long it lasts, where that is for us to say; else 0. */
uint64_t test_event_ns(const struct test_event_run *r);

/* What KVM shows of the guest's TSC.  0, or a negative errno with its why. */
int test_event_read_map(struct test_event_run *r, struct kvmtsc_map *ret_map);

/* What a guest's TSC shows now, if it runs. */
uint64_t test_event_count(const struct kvmtsc_map *map);

/* The longest time for which the guest is to stand still in one piece; 0: nobody knows yet. */
uint64_t test_event_gap_ns(const struct test_event_run *r);

/* The first reading after it; as many as are evaluated: none yet. */
size_t test_event_first_after(const struct test_event_run *r);

/* False: whatever came of it, none of its results would have a figure. */
bool test_event_is_worth_it(const struct test_event_run *r);

/* A result for each policy: what came of it, or after an error, why there is nothing.  CMD_OK, or
 * a status after a line on stderr. */
int test_event_add_results(struct test_event_run *r, int error);

/* How long all of one scenario can take at most; 0: it was not asked for. */
uint64_t test_event_longest_ns(const struct test_options *options, const struct test_event *event);

/* Boots Linux with each clock source and, of vmtime's VMM, each policy, and adds a result for each.
 * As test_observe_run(). */
int test_event_run(const struct test_options *options, const struct test_event *event,
		   enum test_subject subject, const struct test_images *images, struct pairs *pairs,
		   struct test_report *report);

#endif
