/* SPDX-License-Identifier: Apache-2.0 */
/* plan_guest.c - a guest with all chips of `vmtime run`, without a machine. */
#include <assert.h>
#include <errno.h>
#include <string.h>

#include "cmd/plan_guest.h"
#include "core/ns.h"
#include "host/hostclock.h"
#include "kvm/acpi.h"
#include "kvm/vmstate_time.h"

enum { HPET_INPUT = 20, PMTMR_BITS = 24, HZ_PER_KHZ = 1000, NS_PER_MS = 1000000 };
enum { PAGE = 0x5000, STEAL_PAGE = 0x6000 };

#define COUNTS_PER_NS 2
#define EPOCH_NS INT64_C(1767225600000000000) /* 2026-01-01 */
#define OLD_HOST (UINT64_C(1) << 40)          /* what the hosts' counters show at first */
#define NEW_HOST (UINT64_C(1) << 36)
#define TICK_NS (4 * NS_PER_MS)
#define PIT_COUNT 4773 /* 250 Hz */
/* So that the next edge is 3 ms off a second after the start: HPET's first, when the PIT begins. */
#define FIRST_NS (3 * NS_PER_MS)
#define PIT_BEGINS_NS 2945000
#define AHEAD_NS (3 * NS_PER_MS)
#define PATIENCE_NS (60 * VMT_NS_PER_S)

static_assert(PLAN_GUEST_KHZ == COUNTS_PER_NS * 1000000, "one frequency");

static const struct vmt_tsc_host tsc_host = {.khz = PLAN_GUEST_KHZ,
					     .tolerance_ppm = VMT_TSC_TOLERANCE_PPM};

static void note(struct plan_guest *g, const struct vmt_board_out *out)
{
	g->pulses |= out->pulses;
	g->board_deadline = out->deadline;
}

static void write_at(struct plan_guest *g, uint32_t space, uint64_t at, uint32_t width,
		     uint64_t value)
{
	struct vmt_board_out out;

	if (vmt_board_write(&g->board, g->board.now, space, at, width, value, &out) == 0)
		note(g, &out);
}

static void out_byte(struct plan_guest *g, uint16_t port, uint8_t value)
{
	write_at(g, VMT_PIO, port, 1, value);
}

static void set_hpet(struct plan_guest *g, uint32_t reg, uint64_t value)
{
	write_at(g, VMT_MMIO, ACPI_HPET_ADDRESS + reg, 8, value);
}

static void take_rtc(struct plan_guest *g)
{
	struct vmt_board_out out;
	uint64_t value;

	out_byte(g, 0x70, 0x0c);
	if (vmt_board_read(&g->board, g->board.now, VMT_PIO, 0x71, 1, &value, &out) == 0)
		note(g, &out);
}

void plan_guest_take(struct plan_guest *g)
{
	struct vmt_board_out out;

	while (g->pulses) {
		uint32_t source = (uint32_t)__builtin_ctz(g->pulses);

		g->pulses &= g->pulses - 1;
		if (source == VMT_SOURCE_RTC) {
			take_rtc(g);
		} else {
			vmt_board_ack(&g->board, g->board.now, source, &out);
			note(g, &out);
		}
	}
}

/* It runs until then. */
static void run_until(struct plan_guest *g, vmt_ns then)
{
	struct vmt_board_out out;

	while (g->board_deadline < then) {
		vmt_board_advance(&g->board, g->board_deadline, &out);
		note(g, &out);
		plan_guest_take(g);
	}
	vmt_board_advance(&g->board, then, &out);
	note(g, &out);
}

/* The host's counter moves on, and its UTC by as much. */
static void pass(struct plan_guest *g, uint64_t ns)
{
	g->host.counter += ns * COUNTS_PER_NS;
	g->host.utc_ns = vmt_ns_clamp((vmt_ns_i128)g->host.utc_ns + ns);
}

static void start_chips(struct plan_guest *g)
{
	enum { TIMER = VMT_HPET_TIMER + VMT_HPET_TIMER_CONFIG };
	enum { INT_ENB = 1 << 2, PERIODIC = 1 << 3, VAL_SET = 1 << 6, ROUTE = 9 };
	enum { AT = VMT_HPET_TIMER + VMT_HPET_TIMER_COMPARATOR };

	set_hpet(g, TIMER, INT_ENB | PERIODIC | VAL_SET | HPET_INPUT << ROUTE);
	set_hpet(g, AT, FIRST_NS / VMT_HPET_TICK_NS);
	set_hpet(g, AT, TICK_NS / VMT_HPET_TICK_NS);
	set_hpet(g, VMT_HPET_CONFIG, 1);
	out_byte(g, 0x70, 0x0a);
	out_byte(g, 0x71, 0x2a); /* 64 Hz */
	out_byte(g, 0x70, 0x0b);
	out_byte(g, 0x71, 0x42);
	run_until(g, PIT_BEGINS_NS);
	out_byte(g, 0x43, 0x34);
	out_byte(g, 0x40, PIT_COUNT & 0xff);
	out_byte(g, 0x40, PIT_COUNT >> 8);
}

static void start_board(struct plan_guest *g, uint32_t ticks)
{
	const struct vmt_board_config config = {
		.faces = VMT_HAS_PIT | VMT_HAS_RTC | VMT_HAS_PMTMR | VMT_HAS_HPET,
		.ticks = ticks,
		.pm1a_port = ACPI_PM1A_EVT_PORT,
		.pmtmr_port = ACPI_PM_TIMER_PORT,
		.pmtmr_bits = PMTMR_BITS,
		.hpet_routes = 1U << HPET_INPUT,
		.hpet_address = ACPI_HPET_ADDRESS,
	};

	(void)vmt_board_init(&g->board, &config, 0, g->clock.utc_offset_ns);
}

/* The kvm-clock page's line goes through `ns` at that count of the TSC. */
static void draw(struct plan_guest *g, uint64_t count, vmt_ns ns)
{
	uint64_t mult;
	uint32_t shift;

	if (vmt_tsc_factor(&g->tsc, g->clock.mult, g->clock.shift, &mult, &shift) == 0)
		(void)vmt_kvmclock_anchor(&g->kvmclock, count, ns, mult, shift);
}

static uint64_t count_of(const struct plan_guest *g)
{
	return vmt_tsc_at(&g->tsc, 0, g->host.counter);
}

static void power_on(struct plan_guest *g, uint64_t counter, int64_t utc_ns)
{
	struct vmt_out out;

	memset(g, 0, sizeof(*g));
	g->board_deadline = VMT_NEVER;
	g->host = (struct vmt_reading){.counter = counter, .utc_ns = utc_ns};
	(void)vmt_clock_start((uint64_t)PLAN_GUEST_KHZ * HZ_PER_KHZ, &g->host, &g->clock, NULL);
	(void)vmt_tsc_init(&g->tsc, 1, &tsc_host);
	vmt_tsc_set(&g->tsc, counter, 0);
	(void)vmt_kvmclock_init(&g->kvmclock, 1);
	(void)vmt_kvmclock_write(&g->kvmclock, 0, 0, VMT_MSR_KVM_SYSTEM, PAGE | 1, &out);
	(void)vmt_steal_init(&g->steal, 1);
	(void)vmt_steal_write(&g->steal, 0, 0, VMT_MSR_KVM_STEAL, STEAL_PAGE | 1, &out);
}

void plan_guest_boot(struct plan_guest *g, uint32_t ticks)
{
	power_on(g, OLD_HOST, EPOCH_NS);
	draw(g, 0, 0);
	start_board(g, ticks);
	start_chips(g);
	pass(g, VMT_NS_PER_S);
	run_until(g, vmt_clock_now(&g->clock, g->host.counter));
	plan_guest_take(g);
	g->deadline_tsc = count_of(g) + (uint64_t)AHEAD_NS * COUNTS_PER_NS;
}

/* By the board's order of faces. */
static uint64_t due_in(const struct vmt_board *b, uint32_t pulses, uint32_t source, uint32_t has)
{
	const vmt_ns at = b->due[__builtin_ctz(has)];

	if (pulses >> source & 1)
		return 0;
	return at == VMT_NEVER ? VMT_NEVER : at - b->now;
}

struct plan_sight plan_guest_look(const struct plan_guest *g)
{
	struct vmt_board b = g->board; /* a look changes nothing */
	const vmt_ns now = vmt_clock_now(&g->clock, g->host.counter);
	const uint64_t tsc = count_of(g);
	struct vmt_board_out out;
	struct plan_sight s = {
		.now = now,
		.host_utc_ns = g->host.utc_ns,
		.tsc = tsc,
		.kvmclock_ns = vmt_kvmclock_at(&g->kvmclock, tsc),
		.pmtmr = vmt_pmtmr_peek(now, PMTMR_BITS),
		.steal_ns = g->steal.ns[0],
	};
	const int64_t left = (int64_t)(g->deadline_tsc - tsc);

	vmt_board_advance(&b, now, &out);
	out.pulses |= g->pulses;
	(void)vmt_hpet_peek(&b.hpet, now, &s.hpet);
	s.pit_tick = b.pit.seen_tick;
	s.pmtmr_tick = b.pmtmr.seen_tick;
	s.rtc_utc_ns =
		vmt_ns_clamp((vmt_ns_i128)now + b.rtc.utc_offset_ns + vmt_rtc_offset_ns(&b.rtc));
	s.due_ns[VMT_SOURCE_PIT] = due_in(&b, out.pulses, VMT_SOURCE_PIT, VMT_HAS_PIT);
	s.due_ns[VMT_SOURCE_RTC] = due_in(&b, out.pulses, VMT_SOURCE_RTC, VMT_HAS_RTC);
	s.due_ns[VMT_SOURCE_HPET0] = due_in(&b, out.pulses, VMT_SOURCE_HPET0, VMT_HAS_HPET);
	s.lapic_due_ns = left > 0 ? (uint64_t)left / COUNTS_PER_NS : 0;
	for (uint32_t i = 0; i < VMT_SOURCES; i++)
		vmt_board_ledger(&b, i, &s.ticks[i]);
	return s;
}

/* It goes on, with the board's own time and date those of the clock; what came of it. */
static void go_on(struct plan_guest *g)
{
	const vmt_ns now = vmt_clock_now(&g->clock, g->host.counter);
	struct vmt_board_out out;

	vmt_board_utc(&g->board, now, g->clock.utc_offset_ns, &out);
	note(g, &out);
	draw(g, count_of(g), now);
}

/* It has stood still since its TSC was at `count`. */
static void wake(struct plan_guest *g, uint64_t count, vmt_ns since, uint32_t policy)
{
	if (policy == VMT_POLICY_FREEZE)
		vmt_tsc_set(&g->tsc, g->host.counter, count);
	draw(g, count, since); /* nobody has seen the old line's future */
	vmt_kvmclock_stopped(&g->kvmclock);
	go_on(g);
}

static int stand_still(struct plan_guest *g, const struct plan_ask *ask, uint64_t limit_ns,
		       struct vmt_change *ret_change)
{
	const uint64_t count = count_of(g);
	struct vmt_clock paused;
	int result = vmt_clock_pause(&g->clock, g->host.counter, &paused, NULL);

	pass(g, (uint64_t)ask->duration_ns);
	if (result == 0)
		result = vmt_clock_resume(&paused, &g->host, ask->policy, limit_ns, &g->clock,
					  ret_change);
	if (result == 0)
		wake(g, count, paused.base_ns, ret_change->policy);
	return result;
}

/* The host is: its counter has counted on, and so has its UTC. */
static int sleep_through(struct plan_guest *g, const struct plan_ask *ask, uint64_t limit_ns,
			 struct vmt_change *ret_change)
{
	const uint64_t count = count_of(g);
	const vmt_ns now = vmt_clock_now(&g->clock, g->host.counter);
	const struct vmt_suspend suspend = {
		.before_ns = now, .suspended_ns = (uint64_t)ask->duration_ns, .shown_ns = now};
	int result;

	pass(g, suspend.suspended_ns);
	result = vmt_clock_suspend(&g->clock, &suspend, &g->host, ask->policy, limit_ns, &g->clock,
				   ret_change);
	if (result == 0)
		wake(g, count, now, ret_change->policy);
	return result;
}

/* What is told of it in bytes: kvm-clock's and steal time's registers, and the board's. */
static int load_faces(struct plan_guest *to, struct plan_guest *from)
{
	uint8_t page[VMT_KVMCLOCK_SAVED], steal[VMT_STEAL_SAVED], board[VMT_BOARD_SAVED];
	int pages = vmt_kvmclock_save(&from->kvmclock, page, sizeof(page));
	int steals = vmt_steal_save(&from->steal, steal, sizeof(steal));
	int boards = vmt_board_save(&from->board, board, sizeof(board));
	struct vmt_board_out out;

	if (pages < 0 || steals < 0 || boards < 0 ||
	    vmt_kvmclock_load(&to->kvmclock, page, (size_t)pages) < 0 ||
	    vmt_steal_load(&to->steal, steal, (size_t)steals) < 0 ||
	    vmt_board_load(&to->board, vmt_clock_now(&to->clock, to->host.counter), board,
			   (size_t)boards, &out) < 0)
		return -EINVAL;
	note(to, &out);
	return 0;
}

/* Of two hosts whose clocks are synchronised, and that know TAI. */
static struct hosts_reading host_of(const struct vmt_reading *at, uint64_t bound_ns)
{
	enum { TAI_S = 37 };
	const struct hostclock_kernel kernel = {
		.max_error_ns = bound_ns, .tai_s = TAI_S, .synchronized = true};

	return hosts_reading_of(at->counter, PLAN_GUEST_KHZ, at->utc_ns, 0, &kernel);
}

/* Saved here, it goes on in another process, on a host that has another count. */
static int move(struct plan_guest *g, const struct plan_ask *ask, uint64_t limit_ns,
		struct vmt_change *ret_change, uint64_t *ret_bound_ns)
{
	const bool migrates = ask->event == PLAN_MIGRATE;
	const struct hosts_reading source = host_of(&g->host, ask->bound_ns);
	const struct vmstate_instant from = {.tsc = g->host.counter,
					     .at = g->host,
					     .limit_ns = limit_ns,
					     .host = migrates ? &source : NULL};
	struct hosts_reading target;
	struct vmstate_time_config config = {.counter_hz = (uint64_t)PLAN_GUEST_KHZ * HZ_PER_KHZ,
					     .policy = ask->policy};
	struct vmstate_parts parts = {0};
	struct vmstate_time time;
	struct vmt_clock paused;
	struct plan_guest there;
	int result = vmt_clock_pause(&g->clock, g->host.counter, &paused, NULL);

	power_on(&there, NEW_HOST, vmt_ns_clamp((vmt_ns_i128)g->host.utc_ns + ask->duration_ns));
	start_board(&there, g->board.config.ticks);
	target = host_of(&there.host, ask->bound_ns);
	config.now = (struct vmstate_instant){
		.tsc = there.host.counter, .at = there.host, .host = migrates ? &target : NULL};
	if (result == 0)
		result = vmstate_time_save(&paused, &from, &g->tsc, &parts, NULL);
	if (result == 0)
		result = vmstate_time_load(&parts, &config, &there.tsc, &time, NULL);
	vmstate_parts_free(&parts);
	if (result < 0)
		return result;
	there.clock = time.clock;
	result = load_faces(&there, g);
	draw(&there, time.tsc_count, time.stopped_ns);
	vmt_kvmclock_stopped(&there.kvmclock);
	go_on(&there);
	there.deadline_tsc = g->deadline_tsc;
	*ret_change = time.change;
	*ret_bound_ns = migrates ? time.gap.bound_ns : 0;
	*g = there;
	return result;
}

static int step_host(struct plan_guest *g, const struct plan_ask *ask,
		     struct vmt_change *ret_change)
{
	int result;

	g->host.utc_ns = vmt_ns_clamp((vmt_ns_i128)g->host.utc_ns + ask->duration_ns);
	result = vmt_clock_step_utc(&g->clock, &g->host, &g->clock, ret_change);
	if (result == 0)
		go_on(g);
	return result;
}

int plan_guest_meet(struct plan_guest *g, const struct plan_ask *ask, uint64_t auto_limit_ns,
		    struct vmt_change *ret_change, uint64_t *ret_bound_ns)
{
	*ret_bound_ns = 0;
	switch (ask->event) {
	case PLAN_PAUSE:
		return stand_still(g, ask, auto_limit_ns, ret_change);
	case PLAN_SUSPEND:
		return sleep_through(g, ask, auto_limit_ns, ret_change);
	case PLAN_HOST_STEP:
		return step_host(g, ask, ret_change);
	default:
		return move(g, ask, auto_limit_ns, ret_change, ret_bound_ns);
	}
}

uint64_t plan_guest_settle(struct plan_guest *g)
{
	const vmt_ns began = g->board.now;
	struct vmt_ledger ledger;

	do {
		plan_guest_take(g);
		vmt_board_ledger(&g->board, VMT_SOURCE_PIT, &ledger);
		if (!ledger.owed)
			break;
		run_until(g, g->board_deadline + 1);
	} while (g->board.now < vmt_ns_add(began, PATIENCE_NS));
	return g->board.now - began;
}

uint64_t plan_guest_tick_ns(const struct plan_guest *g)
{
	return vmt_pit_period_ns(&g->board.pit);
}
