/* SPDX-License-Identifier: Apache-2.0 */
/* plan.h - vmtime plan: what an event would do to a guest's clocks and chips.
 *
 * Differences are the guest's minus the host's, in ns: how far a clock goes on over the event minus
 * the time that really passed; of what shows UTC (REALTIME, the RTC) minus how far the host's UTC
 * goes on, a step of it included; of MONOTONIC minus how far the host's goes on, which stands while
 * the host is suspended. */
#ifndef CMD_PLAN_H
#define CMD_PLAN_H

#include <stdbool.h>
#include <stdint.h>
#include <vmtime/board.h>
#include <vmtime/clock.h>

enum plan_event {
	PLAN_PAUSE,
	PLAN_RESTORE,
	PLAN_MIGRATE,
	PLAN_SUSPEND,
	PLAN_HOST_STEP,
	PLAN_EVENTS
};
enum plan_source { PLAN_KVMCLOCK, PLAN_TSC, PLAN_HPET, PLAN_ACPI_PM, PLAN_JIFFIES, PLAN_SOURCES };

extern const char *const plan_event_names[PLAN_EVENTS];
extern const char *const plan_source_names[PLAN_SOURCES];
extern const char *const plan_policy_names[3]; /* enum vmt_policy */
extern const char *const plan_ticks_names[4];  /* enum vmt_ticks */

struct plan_ask {
	enum plan_event event;
	int64_t duration_ns;     /* below 0: of restore and host-step alone */
	uint32_t policy;         /* enum vmt_policy */
	enum plan_source source; /* what the guest tells the time by */
	uint32_t ticks;          /* enum vmt_ticks */
	uint64_t bound_ns;       /* of migrate: so wrong may each host's clock be; 0: not asked */
};

enum plan_name {
	PLAN_ROW_REALTIME,
	PLAN_ROW_MONOTONIC,
	PLAN_ROW_BOOTTIME,
	PLAN_ROW_KVMCLOCK, /* from here on faces */
	PLAN_ROW_TSC,
	PLAN_ROW_HPET,
	PLAN_ROW_ACPI_PM,
	PLAN_ROW_PIT,
	PLAN_ROW_RTC,
	PLAN_ROW_LAPIC,
	PLAN_ROW_STEAL,
	PLAN_ROWS
};

extern const char *const plan_row_names[PLAN_ROWS]; /* as in JSON */

struct plan_row {
	enum plan_name name;
	bool counts;         /* it tells a time: the next four are there */
	int64_t progress_ns; /* how far it goes on, as seen when the guest runs again */
	int64_t change_ns;   /* once all has settled (settle_ns) */
	int64_t expected_ns; /* what the policy promises for that */
	uint64_t quantum_ns; /* it is told to */
	bool has_limit;
	uint64_t limit_ns;                    /* the longest gap that it can show */
	bool has_due;                         /* an interrupt of it is to come: */
	uint64_t due_before_ns, due_after_ns; /* so long after the event begins, and ends */
	bool fails;
	char meaning[160];
};

/* Of a source that ticks: what fell due in the event, once the guest took what came at once. */
struct plan_ticks {
	const char *source;
	uint64_t period_ns;
	struct vmt_ledger ledger;
};
enum { PLAN_TICKS = 3 };

struct plan {
	struct plan_ask ask;
	bool has_policy;     /* not of a step of the host's clock */
	uint32_t policy;     /* the one that is applied */
	uint64_t gap_ns;     /* for which the guest did not run ... */
	uint64_t bound_ns;   /* ... and how wrong both hosts may be about it; 0: nobody asked */
	int64_t frozen_ns;   /* for which virtual time stood still */
	uint64_t auto_ns;    /* the gap over which AUTO freezes ... */
	uint32_t auto_clock; /* ... because of this one (enum vmt_gap_clock) */
	uint64_t limit_ns;   /* the longest gap that the guest's clock source can show ... */
	uint32_t limit_clock;
	uint64_t settle_ns; /* it takes so long until all is as foretold */
	struct plan_row rows[PLAN_ROWS];
	struct plan_ticks ticks[PLAN_TICKS];
	bool fails;
	char why[160];     /* why this policy */
	char warning[512]; /* "", or what goes wrong, and the remedy */
};

/* Pure calculation.  0, or -ERANGE: there is no such time. */
int plan_make(const struct plan_ask *ask, struct plan *ret_plan);

/* What exceeds its limit. */
unsigned plan_fails(const struct plan *plan);

/* 0 or negative errno.  file NULL: standard output. */
int plan_print_json(const struct plan *plan, const char *file);
int plan_print_table(const struct plan *plan);

#endif
