/* SPDX-License-Identifier: Apache-2.0 */
/* chipset.c - the board of a VM with its lock, its clock and its interrupt lines. */
#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "host/hostclock.h"
#include "kvm/acpi.h"
#include "kvm/chipset.h"
#include "kvm/chipset_peek.h"
#include "kvm/vcpu.h"

enum { RTC_GSI = 8, TICK_INPUT = 2 };

#define NS_PER_S 1000000000ULL

enum { LINES = VMT_SOURCE_HPET2 + 1, NO_GSI = VM_GSIS };

/* The I/O APIC's input 2 is KVM's GSI 0. */
static uint32_t gsi_of_input(uint32_t input)
{
	return input == TICK_INPUT ? VM_GSI_TICK : input < NO_GSI ? input : NO_GSI;
}

/* The line that a source of the board's drives now. */
static uint32_t gsi_of(const struct chipset *c, uint32_t source)
{
	switch (source) {
	case VMT_SOURCE_PIT:
		return VM_GSI_TICK;
	case VMT_SOURCE_RTC:
		return RTC_GSI;
	case VMT_SOURCE_SCI:
		return ACPI_SCI_GSI;
	default:
		return gsi_of_input(vmt_board_route(&c->board, source));
	}
}

uint32_t chipset_ack_gsis(const struct vmt_board_config *config)
{
	uint32_t gsis = config->faces & VMT_HAS_PIT ? 1U << VM_GSI_TICK : 0;

	if (config->faces & (VMT_HAS_RTC | VMT_HAS_HPET))
		gsis |= 1U << RTC_GSI;
	if (!(config->faces & VMT_HAS_HPET))
		return gsis;
	for (uint32_t input = 0; input < NO_GSI; input++)
		if (config->hpet_routes >> input & 1)
			gsis |= 1U << gsi_of_input(input);
	return gsis | 1U << VM_GSI_TICK;
}

static void wake(int fd)
{
	const uint64_t one = 1;

	(void)!write(fd, &one, sizeof(one)); /* a full counter wakes as well */
}

/* Called with the lock held. */
static void watch_rtc(struct chipset *c, vmt_ns now)
{
	int64_t offset_ns = vmt_rtc_offset_ns(&c->board.rtc);

	if (offset_ns == c->rtc_offset_ns)
		return;
	c->rtc_offset_ns = offset_ns;
	c->rtc_set_ns = now;
	if (!c->rtc_unsettled)
		wake(c->set_fd);
	c->rtc_unsettled = true;
}

/* Lines that are to be low go low before others go high: a timer may have been routed elsewhere. */
static void drive(struct chipset *c, uint32_t level)
{
	uint32_t wanted = 0, changed;

	for (uint32_t source = 0; level >> source && source < LINES; source++)
		if (level >> source & 1 && gsi_of(c, source) != NO_GSI)
			wanted |= 1U << gsi_of(c, source);
	if (!c->board.ticks[VMT_SOURCE_RTC].in_flight)
		c->rtc_waits = false;
	if (c->rtc_waits)
		wanted |= 1U << RTC_GSI;
	changed = wanted ^ c->high;
	for (unsigned up = 0; up <= 1 && changed; up++)
		for (uint32_t gsi = 0; gsi < NO_GSI; gsi++)
			if (changed >> gsi & 1 && (wanted >> gsi & 1) == up)
				vm_irq_line(c->vm, gsi, up);
	c->high = wanted;
}

/* Whether a source waits for an acknowledgement of `gsi`, wherever it is routed by now.  The RTC is
 * answered by reading its register C, the SCI has no ticks. */
static bool awaits(const struct chipset *c, uint32_t source, uint32_t gsi)
{
	return vmt_board_awaits_ack(&c->board, source) && c->pulsed[source] == gsi;
}

/* Where two share a line it is for those whose pulse is under way there; when there is none, for
 * one that was not taken at first, or taken for merged. */
static bool is_for(const struct chipset *c, uint32_t source, uint32_t gsi)
{
	bool under_way = false;

	for (uint32_t i = 0; i < LINES; i++)
		under_way |= awaits(c, i, gsi) && c->board.ticks[i].in_flight;
	return awaits(c, source, gsi) && (!under_way || c->board.ticks[source].in_flight);
}

static bool awaited(const struct chipset *c, uint32_t gsi)
{
	for (uint32_t source = 0; source < LINES; source++)
		if (awaits(c, source, gsi))
			return true;
	return false;
}

/* How many have come since somebody looked. */
static uint64_t read_acks(struct chipset *c, const struct vm_ack *ack)
{
	uint64_t count = 0;

	c->counted |= 1U << ack->gsi;
	if (read(ack->ack_fd, &count, sizeof(count)) != sizeof(count))
		return 0;
	if (ack->gsi == RTC_GSI)
		c->rtc_given = true;
	return count;
}

/* What came while nobody waited on that line was for something else: the RTC, which shares it, a
 * level, or a timer of before. */
static void forget_acks(struct chipset *c, uint32_t gsi)
{
	if (!(c->counted >> gsi & 1) && !awaited(c, gsi))
		for (unsigned i = 0; i < c->vm->n_acks; i++)
			if (c->vm->acks[i].gsi == gsi)
				(void)read_acks(c, &c->vm->acks[i]);
}

/* Raises a line that is low; one that is to be an edge falls at once.  How the chips took it. */
static int raise_line(const struct chipset *c, uint32_t gsi, bool keep_merged)
{
	int taken = vm_irq_raise(c->vm, gsi);

	if (taken || !keep_merged)
		vm_irq_line(c->vm, gsi, false);
	if (taken == 0 && c->vm->first && vm_pic_waits(c->vm))
		vcpu_look_again(c->vm->first);
	return taken;
}

/* One edge; on a line that somebody holds high there is none. */
static bool pulse_line(struct chipset *c, uint32_t source, uint32_t gsi)
{
	if (gsi == NO_GSI || c->high >> gsi & 1)
		return false;
	if (vmt_board_awaits_ack(&c->board, source))
		forget_acks(c, gsi);
	return raise_line(c, gsi, false) > 0;
}

/* KVM merges an RTC's interrupt into the one before until that is acknowledged, though its register
 * C was read and no later edge will come.  As the chip does, hold the line until C is read: an
 * irqfd that listens there makes KVM look at the acknowledgement, and then it takes it.  Where KVM
 * does not see that (AVIC), it does so when asked again. */
static bool pulse_rtc(struct chipset *c)
{
	bool listens = !awaited(c, RTC_GSI);
	int taken;

	if (listens)
		forget_acks(c, RTC_GSI);
	if (c->rtc_waits && c->rtc_given)
		return true;
	if (c->rtc_waits)
		vm_irq_line(c->vm, RTC_GSI, false);
	else if (c->high >> RTC_GSI & 1)
		return false;
	c->rtc_given = false;
	taken = raise_line(c, RTC_GSI, listens);
	c->rtc_waits = taken == 0 && listens;
	c->high &= ~(1U << RTC_GSI);
	c->high |= (uint32_t)c->rtc_waits << RTC_GSI;
	return taken > 0;
}

/* Injects the pulses of `out`.  What the guest's chips did not take goes back to the board, which
 * asks for nothing at once: at this `now` all that is due has been done. */
static void pulse(struct chipset *c, vmt_ns now, struct vmt_board_out *out)
{
	uint32_t pulses = out->pulses;

	out->pulses = 0;
	for (uint32_t source = 0; source < LINES; source++) {
		uint32_t gsi = gsi_of(c, source);
		struct vmt_board_out again;
		bool taken;

		if (!(pulses >> source & 1))
			continue;
		c->pulsed[source] = NO_GSI;
		taken = source == VMT_SOURCE_RTC ? pulse_rtc(c) : pulse_line(c, source, gsi);
		c->pulsed[source] = (uint8_t)gsi;
		if (taken && !c->vm->is_mute)
			continue;
		if (taken)
			vmt_board_ack(&c->board, now, source, &again);
		else
			vmt_board_refused(&c->board, now, source, &again);
		out->pulses |= again.pulses;
		out->deadline = again.deadline;
		out->level = again.level;
	}
}

/* Whether an acknowledgement is news before the next tick, when it is looked for anyway: a tick
 * waits for it, or two pulses may have been merged. */
static bool wants_acks(const struct chipset *c)
{
	for (uint32_t source = 0; source < LINES; source++) {
		const struct vmt_board_ticks *t = &c->board.ticks[source];

		if (vmt_board_awaits_ack(&c->board, source) &&
		    (t->ledger.owed > t->in_flight || t->in_flight > 1))
			return true;
	}
	return false;
}

/* Does what the board asks for.  Called with the lock held. */
static void apply(struct chipset *c, vmt_ns now, struct vmt_board_out *out)
{
	bool wants;

	if (c->vm) {
		if (c->board.hpet_legacy != c->pit_cut_off) {
			c->pit_cut_off = c->board.hpet_legacy;
			vm_pit_cut_off(c->vm, c->pit_cut_off);
		}
		drive(c, out->level);
		while (out->pulses)
			pulse(c, now, out);
		drive(c, out->level);
	}
	watch_rtc(c, now);
	c->deadline = out->deadline;
	wants = wants_acks(c);
	if (c->deadline < c->armed || (wants && !c->listening)) {
		c->armed = c->deadline;
		c->listening = wants;
		wake(c->wake_fd);
	}
}

static void close_fds(struct chipset *c)
{
	if (c->wake_fd >= 0)
		close(c->wake_fd);
	if (c->set_fd >= 0)
		close(c->set_fd);
}

/* Counts those of the VM's acknowledgements that are in `which`, and if `all`, those that somebody
 * waits for. */
static bool count_acks(struct chipset *c, uint32_t which, bool all, uint64_t acks[VMT_SOURCES])
{
	bool any = false;

	c->counted = 0;
	for (unsigned i = 0; c->vm && i < c->vm->n_acks; i++) {
		const struct vm_ack *ack = &c->vm->acks[i];
		uint64_t count;

		if (!(which >> i & 1) && !(all && awaited(c, ack->gsi)))
			continue;
		count = read_acks(c, ack);
		for (uint32_t source = 0; source < LINES; source++)
			if (count && is_for(c, source, ack->gsi)) {
				acks[source] += count;
				any = true;
			}
	}
	return any;
}

static void take_acks(struct chipset *c, vmt_ns now, uint32_t which, bool all)
{
	uint64_t acks[VMT_SOURCES] = {0};
	struct vmt_board_out out;

	if (!count_acks(c, which, all, acks))
		return;
	vmt_board_acks(&c->board, now, acks, &out);
	apply(c, now, &out);
}

/* Virtual time, with the lock held.  A guest that has acknowledged a tick before the next one falls
 * due, or before its timer is `set` anew, is not late, whichever thread comes first. */
static vmt_ns look(struct chipset *c, bool set)
{
	vmt_ns now = chipset_now(c);

	take_acks(c, now, 0, set || c->board.deadline <= now);
	return now;
}

int chipset_init(struct chipset *c, const struct vmt_board_config *config,
		 const struct vmt_clock *clock, bool counts_tsc, struct why *why)
{
	pthread_condattr_t monotonic;
	int result;

	memset(c, 0, sizeof(*c));
	liveclock_set(&c->clock, &(struct counted_clock){*clock, counts_tsc});
	c->pm_timer = config->faces & VMT_HAS_PMTMR;
	c->pm_timer_port = config->pmtmr_port;
	c->hpet = config->faces & VMT_HAS_HPET;
	c->hpet_counter = config->hpet_address + VMT_HPET_COUNTER;
	c->deadline = c->armed = VMT_NEVER;
	result = vmt_board_init(&c->board, config, 0, clock->utc_offset_ns);
	if (result < 0)
		return why_set(why, result, "this machine's devices do not fit together");
	c->change = (struct chipset_change){
		.kind = VMT_CHANGE_START,
		.after_ns = clock->utc_offset_ns,
		.bound_ns = clock->utc_bound_ns,
	};
	c->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	c->set_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (c->wake_fd < 0 || c->set_fd < 0) {
		result = -errno;
		close_fds(c);
		return why_set(why, result, "no event descriptor: %s (raise `ulimit -n`)",
			       strerror(-result));
	}
	pthread_mutex_init(&c->lock, NULL);
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&c->gone, &monotonic);
	pthread_condattr_destroy(&monotonic);
	return 0;
}

void chipset_destroy(struct chipset *c)
{
	close_fds(c);
	pthread_cond_destroy(&c->gone);
	pthread_mutex_destroy(&c->lock);
}

void chipset_connect(struct chipset *c, const struct vm *vm)
{
	struct vmt_board_out out;
	vmt_ns now;

	pthread_mutex_lock(&c->lock);
	(void)look(c, true); /* those of the VM that goes */
	c->vm = vm;
	c->let_go = false;
	c->high = 0;
	c->rtc_waits = c->rtc_given = false;
	c->pit_cut_off = false;
	for (uint32_t source = 0; source < LINES; source++)
		c->pulsed[source] = (uint8_t)gsi_of(c, source);
	if (vm) {
		now = chipset_now(c);
		vmt_board_advance(&c->board, now, &out);
		apply(c, now, &out);
	}
	pthread_mutex_unlock(&c->lock);
}

static void call_board(struct chipset *c, bool set,
		       void (*call)(struct vmt_board *b, vmt_ns now, struct vmt_board_out *out))
{
	struct vmt_board_out out;
	vmt_ns now;

	pthread_mutex_lock(&c->lock);
	now = look(c, set);
	call(&c->board, now, &out);
	apply(c, now, &out);
	pthread_mutex_unlock(&c->lock);
}

void chipset_reset(struct chipset *c)
{
	call_board(c, true, vmt_board_reset);
}

void chipset_power_button(struct chipset *c)
{
	call_board(c, false, vmt_board_power_button);
}

void chipset_utc(struct chipset *c, int64_t utc_offset_ns)
{
	struct vmt_board_out out;
	vmt_ns now;

	pthread_mutex_lock(&c->lock);
	now = look(c, false);
	vmt_board_utc(&c->board, now, utc_offset_ns, &out);
	apply(c, now, &out);
	pthread_mutex_unlock(&c->lock);
}

void chipset_forget_rtc_ticks(struct chipset *c)
{
	struct vmt_board_out out;
	vmt_ns now;

	pthread_mutex_lock(&c->lock);
	now = look(c, false);
	vmt_board_forget(&c->board, now, VMT_SOURCE_RTC, &out);
	apply(c, now, &out);
	pthread_mutex_unlock(&c->lock);
}

/* The guest gets its answer no earlier.  Called with the lock held, waits without. */
static void hold_back(struct chipset *c, vmt_ns ready)
{
	while (!c->let_go && chipset_now(c) < ready) {
		uint64_t at = chipset_monotonic_at(c, ready);
		struct timespec t = {
			.tv_sec = (time_t)(at / NS_PER_S),
			.tv_nsec = (long)(at % NS_PER_S),
		};

		if (liveclock_get(&c->clock).clock.state == VMT_CLOCK_PAUSED)
			(void)pthread_cond_wait(&c->gone, &c->lock);
		else if (at == UINT64_MAX)
			return;
		else
			(void)pthread_cond_timedwait(&c->gone, &c->lock, &t);
	}
}

/* Whether a write may stop the HPET's counter or let it go on. */
static bool switches(const struct chipset *c, uint32_t space, uint64_t addr, uint32_t width)
{
	uint64_t config = c->hpet_counter - VMT_HPET_COUNTER + VMT_HPET_CONFIG;

	return c->hpet && space == VMT_MMIO && config - addr < width;
}

bool chipset_read(struct chipset *c, uint32_t space, uint64_t addr, uint32_t width,
		  uint64_t *ret_value)
{
	struct vmt_board_out out;
	vmt_ns now;
	int result;

	if (chipset_peek(c, space, addr, width, ret_value))
		return true;
	pthread_mutex_lock(&c->lock);
	now = look(c, false);
	result = vmt_board_read(&c->board, now, space, addr, width, ret_value, &out);
	if (result == 0) {
		apply(c, now, &out);
		if (out.ready > c->board.now)
			hold_back(c, out.ready);
	}
	pthread_mutex_unlock(&c->lock);
	return result == 0;
}

void chipset_let_go(struct chipset *c)
{
	pthread_mutex_lock(&c->lock);
	c->let_go = true;
	pthread_cond_broadcast(&c->gone);
	pthread_mutex_unlock(&c->lock);
}

bool chipset_write(struct chipset *c, uint32_t space, uint64_t addr, uint32_t width, uint64_t value)
{
	bool stops = switches(c, space, addr, width);
	struct vmt_board_out out;
	vmt_ns now;
	int result;

	pthread_mutex_lock(&c->lock);
	if (stops)
		chipset_switching(c);
	now = look(c, true);
	result = vmt_board_write(&c->board, now, space, addr, width, value, &out);
	if (stops)
		chipset_switching(c);
	if (result == 0)
		apply(c, now, &out);
	pthread_mutex_unlock(&c->lock);
	return result == 0;
}

/* Called with the lock held. */
static vmt_ns bring_up(struct chipset *c, uint32_t readable)
{
	struct vmt_board_out out;
	vmt_ns now = chipset_now(c);

	take_acks(c, now, readable, c->board.deadline <= now);
	vmt_board_advance(&c->board, now, &out);
	apply(c, now, &out);
	return now;
}

vmt_ns chipset_hold(struct chipset *c)
{
	pthread_mutex_lock(&c->lock);
	return bring_up(c, UINT32_MAX);
}

void chipset_release(struct chipset *c)
{
	pthread_mutex_unlock(&c->lock);
}

vmt_ns chipset_advance(struct chipset *c, uint32_t readable, bool *ret_listen)
{
	vmt_ns deadline;

	pthread_mutex_lock(&c->lock);
	c->armed = 0; /* ours is the thread that would be woken */
	c->listening = true;
	bring_up(c, readable);
	deadline = c->armed = c->deadline;
	*ret_listen = c->listening = wants_acks(c);
	pthread_mutex_unlock(&c->lock);
	return deadline;
}

bool chipset_settle_rtc(struct chipset *c, struct chipset_change *ret_change)
{
	bool changed;

	pthread_mutex_lock(&c->lock);
	changed = c->rtc_offset_ns != c->rtc_told_ns;
	if (changed)
		c->change = (struct chipset_change){
			.kind = CHIPSET_CHANGE_RTC,
			.at_ns = c->rtc_set_ns,
			.before_ns = c->rtc_told_ns,
			.after_ns = c->rtc_offset_ns,
		};
	c->rtc_told_ns = c->rtc_offset_ns;
	c->rtc_unsettled = false;
	*ret_change = c->change;
	pthread_mutex_unlock(&c->lock);
	return changed;
}
