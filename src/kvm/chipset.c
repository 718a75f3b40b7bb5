/* SPDX-License-Identifier: Apache-2.0 */
/* chipset.c - the board of a VM with its lock, its clock and its interrupt lines. */
#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "host/hostclock.h"
#include "kvm/acpi.h"
#include "kvm/chipset.h"

enum { RTC_GSI = 8, ROUNDS_MAX = 4 };

/* The line of each source in the board's ledger. */
static const struct {
	uint32_t source, gsi;
} lines[] = {
	{VMT_SOURCE_PIT, VM_GSI_TICK},
	{VMT_SOURCE_RTC, RTC_GSI},
	{VMT_SOURCE_SCI, ACPI_SCI_GSI},
};

enum { LINES = sizeof(lines) / sizeof(lines[0]) };

vmt_ns chipset_now(const struct chipset *c)
{
	return vmt_clock_now(&c->clock, c->counts_tsc ? hostclock_tsc() : hostclock_monotonic_ns());
}

static void wake(const struct chipset *c)
{
	const uint64_t one = 1;

	(void)!write(c->wake_fd, &one, sizeof(one)); /* a full counter wakes as well */
}

/* Injects the pulses of `out`; what the guest's chips did not take goes back to the board, whose
 * answer is merged into `out`. */
static void pulse(struct chipset *c, vmt_ns now, struct vmt_board_out *out)
{
	uint32_t pulses = out->pulses;

	out->pulses = 0;
	for (unsigned i = 0; i < LINES; i++) {
		struct vmt_board_out again;

		if (!(pulses >> lines[i].source & 1) || vm_irq_pulse(c->vm, lines[i].gsi) > 0)
			continue;
		vmt_board_refused(&c->board, now, lines[i].source, &again);
		out->pulses |= again.pulses;
		out->deadline = again.deadline;
		out->level = again.level;
		out->level_changed |= again.level_changed;
	}
}

/* Does what the board asks for.  Called with the lock held. */
static void apply(struct chipset *c, vmt_ns now, struct vmt_board_out *out)
{
	if (c->vm) {
		/* A board that asks again at once for what was refused gets no further now. */
		for (unsigned round = 0; out->pulses && round < ROUNDS_MAX; round++)
			pulse(c, now, out);
		for (unsigned i = 0; i < LINES; i++)
			if (out->level_changed >> lines[i].source & 1)
				vm_irq_line(c->vm, lines[i].gsi, out->level >> lines[i].source & 1);
	}
	c->deadline = out->deadline;
	if (c->deadline < c->armed) {
		c->armed = c->deadline;
		wake(c);
	}
}

int chipset_init(struct chipset *c, const struct vmt_board_config *config,
		 const struct vmt_clock *clock, bool counts_tsc, struct why *why)
{
	int result;

	memset(c, 0, sizeof(*c));
	c->clock = *clock;
	c->counts_tsc = counts_tsc;
	c->pm_timer = config->faces & VMT_HAS_PMTMR;
	c->pm_timer_port = config->pmtmr_port;
	c->deadline = c->armed = VMT_NEVER;
	result = vmt_board_init(&c->board, config, 0, clock->utc_offset_ns);
	if (result < 0)
		return why_set(why, result, "this machine's devices do not fit together");
	c->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (c->wake_fd < 0)
		return why_set(why, -errno, "no event descriptor: %s (raise `ulimit -n`)",
			       strerror(errno));
	pthread_mutex_init(&c->lock, NULL);
	return 0;
}

void chipset_destroy(struct chipset *c)
{
	close(c->wake_fd);
	pthread_mutex_destroy(&c->lock);
}

void chipset_connect(struct chipset *c, const struct vm *vm)
{
	struct vmt_board_out out;
	vmt_ns now;

	pthread_mutex_lock(&c->lock);
	c->vm = vm;
	if (vm) {
		now = chipset_now(c);
		vmt_board_advance(&c->board, now, &out);
		out.level_changed |= out.level;
		apply(c, now, &out);
	}
	pthread_mutex_unlock(&c->lock);
}

void chipset_reset(struct chipset *c)
{
	struct vmt_board_out out;
	vmt_ns now;

	pthread_mutex_lock(&c->lock);
	now = chipset_now(c);
	vmt_board_reset(&c->board, now, &out);
	apply(c, now, &out);
	pthread_mutex_unlock(&c->lock);
}

bool chipset_read(struct chipset *c, uint32_t space, uint64_t addr, uint32_t width,
		  uint64_t *ret_value)
{
	struct vmt_board_out out;
	vmt_ns now;
	int result;

	if (c->pm_timer && space == VMT_PIO && addr == c->pm_timer_port && width == 4) {
		*ret_value = vmt_pmtmr_peek(chipset_now(c), 24);
		return true;
	}
	pthread_mutex_lock(&c->lock);
	now = chipset_now(c);
	result = vmt_board_read(&c->board, now, space, addr, width, ret_value, &out);
	if (result == 0)
		apply(c, now, &out);
	pthread_mutex_unlock(&c->lock);
	return result == 0;
}

bool chipset_write(struct chipset *c, uint32_t space, uint64_t addr, uint32_t width, uint64_t value)
{
	struct vmt_board_out out;
	vmt_ns now;
	int result;

	pthread_mutex_lock(&c->lock);
	now = chipset_now(c);
	result = vmt_board_write(&c->board, now, space, addr, width, value, &out);
	if (result == 0)
		apply(c, now, &out);
	pthread_mutex_unlock(&c->lock);
	return result == 0;
}

void chipset_ack(struct chipset *c)
{
	struct vmt_board_out out;
	vmt_ns now;

	pthread_mutex_lock(&c->lock);
	now = chipset_now(c);
	vmt_board_ack(&c->board, now, VMT_SOURCE_PIT, &out);
	apply(c, now, &out);
	pthread_mutex_unlock(&c->lock);
}

vmt_ns chipset_advance(struct chipset *c)
{
	struct vmt_board_out out;
	vmt_ns now, deadline;

	pthread_mutex_lock(&c->lock);
	c->armed = 0; /* ours is the thread that would be woken */
	now = chipset_now(c);
	vmt_board_advance(&c->board, now, &out);
	apply(c, now, &out);
	deadline = c->armed = c->deadline;
	pthread_mutex_unlock(&c->lock);
	return deadline;
}
