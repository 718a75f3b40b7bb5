/* SPDX-License-Identifier: Apache-2.0 */
/* lapic.c - the timer of a CPU's local APIC while time stands still.  Registers: Intel SDM vol. 3,
 * 11.4.1, 11.5.1 (LVT) and 11.5.4 (APIC timer). */
#include <assert.h>
#include <errno.h>
#include <sys/ioctl.h>

#include "host/hostclock.h"
#include "kvm/bytes.h"
#include "kvm/lapic.h"

enum { REQUESTS = 0x200, LVTT = 0x320, INITIAL = 0x380, CURRENT = 0x390, DIVIDE = 0x3e0 };
enum { MODE_SHIFT = 17, MODE_MASK = 3, ONE_SHOT = 0, PERIODIC = 1 };
enum { MSR_TSC_DEADLINE = 0x6e0 };
enum { VECTOR_MASK = 0xff, VECTORS = 32, STEP = 16, LVT_MASKED = 1 << 16 };
/* One look that takes longer was interrupted. */
enum { LOOKS = 5, LOOK_NS = 10000, NS_PER_MS = 1000000 };

__extension__ typedef unsigned __int128 u128;

static uint8_t *registers(struct kvm_lapic_state *s)
{
	return (uint8_t *)s->regs;
}

static uint32_t mode_of(const uint8_t *regs)
{
	return get32(regs + LVTT) >> MODE_SHIFT & MODE_MASK;
}

/* The timer's interrupt among those requested. */
static uint8_t *request_of(uint8_t *regs, uint32_t *ret_bit)
{
	uint32_t vector = get32(regs + LVTT) & VECTOR_MASK;

	*ret_bit = 1U << vector % VECTORS;
	return regs + REQUESTS + vector / VECTORS * STEP;
}

static uint64_t ns_of(uint64_t counts, uint32_t khz)
{
	return (uint64_t)((u128)counts * NS_PER_MS / khz);
}

/* A tick is 2^n of the bus's. */
static uint8_t shift_of(const uint8_t *regs)
{
	uint32_t bits = get32(regs + DIVIDE);

	static_assert(VM_APIC_BUS_KHZ == 1000000, "a tick of the bus is a nanosecond");
	return (((bits & 3) | (bits & 8) >> 1) + 1) & 7;
}

/* The registers, and the host's TSC when the count was what they say. */
static int look(const struct vcpu *v, uint32_t khz, struct kvm_lapic_state *ret_state,
		uint64_t *ret_tsc)
{
	uint64_t least = UINT64_MAX;
	int looks = 0;

	do {
		struct kvm_lapic_state s;
		uint64_t before = hostclock_tsc(), took;

		if (ioctl(v->fd, KVM_GET_LAPIC, &s) < 0)
			return -EIO;
		took = hostclock_tsc() - before;
		if (took < least) {
			least = took;
			*ret_state = s;
			*ret_tsc = before + took / 2;
		}
	} while (++looks < LOOKS && ns_of(least, khz) > LOOK_NS);
	return 0;
}

/* KVM counts in secret the periods that end while nobody is in KVM_RUN, and keeps only one.  The
 * last one that ended before the stop did so unseen if the thread had come out before. */
static bool owes(const struct vcpu *v, const struct lapic_timer *t, uint64_t tsc, uint32_t khz)
{
	uint64_t out = __atomic_load_n(&v->left_tsc, __ATOMIC_RELAXED);

	return out < tsc && ns_of(tsc - out, khz) >> t->shift > t->initial - t->left;
}

/* `since` ticks before it was `left`. */
static uint32_t left_then(const struct lapic_timer *t, uint32_t left, uint64_t since)
{
	if (left > t->initial)
		return t->initial;
	if (t->periodic)
		return (uint32_t)((left - 1 + since) % t->initial) + 1;
	return since < t->initial - left ? left + (uint32_t)since : t->initial;
}

int lapic_stop(const struct vcpu *v, uint64_t tsc, uint32_t khz, struct lapic_timer *ret_timer)
{
	struct kvm_lapic_state s;
	uint8_t *const regs = registers(&s);
	struct lapic_timer t = {0};
	uint64_t looked = tsc;
	uint32_t bit, left;
	bool unmet;
	int result;

	*ret_timer = t;
	result = look(v, khz, &s, &looked);
	if (result < 0)
		return result;
	left = get32(regs + CURRENT);
	t.initial = get32(regs + INITIAL);
	t.shift = shift_of(regs);
	t.periodic = mode_of(regs) == PERIODIC;
	t.masked = get32(regs + LVTT) & LVT_MASKED;
	t.counts = mode_of(regs) <= PERIODIC && t.initial && (left || t.periodic);
	if (!t.counts)
		return 0;
	unmet = left == 0; /* a period has ended, and KVM has not begun the next one */
	looked = looked > tsc ? looked - tsc : 0;
	t.left = unmet ? t.initial : left_then(&t, left, ns_of(looked, khz) >> t.shift);
	t.requested = (get32(request_of(regs, &bit)) & bit) ||
		      (t.periodic && !t.masked && (unmet || owes(v, &t, tsc, khz)));
	*ret_timer = t;
	return 0;
}

static void request(uint8_t *regs, bool requested)
{
	uint32_t bit;
	uint8_t *word = request_of(regs, &bit);

	put32(word, requested ? get32(word) | bit : get32(word) & ~bit);
}

/* Registers are read again: a line may have been raised meanwhile, and its request is in there. */
static int tell(const struct vcpu *v, const struct lapic_timer *t)
{
	struct kvm_lapic_state s;
	uint8_t *const regs = registers(&s);

	if (ioctl(v->fd, KVM_GET_LAPIC, &s) < 0)
		return -EIO;
	request(regs, t->requested);
	put32(regs + INITIAL, t->initial);
	put32(regs + CURRENT, t->left);
	return ioctl(v->fd, KVM_SET_LAPIC, &s) < 0 ? -EIO : 0;
}

/* KVM starts a one-shot timer that has 0 left as one that is due now. */
static void pass(struct lapic_timer *t, uint64_t ns)
{
	const uint64_t ticks = ns >> t->shift;

	if (ticks < t->left) {
		t->left -= (uint32_t)ticks;
	} else if (t->periodic) {
		t->left = t->initial - (uint32_t)((ticks - t->left) % t->initial);
		t->requested |= !t->masked;
	} else {
		t->left = 0;
	}
}

static int arm(const struct vcpu *v, uint64_t deadline)
{
	return deadline && !vcpu_set_msr(v, MSR_TSC_DEADLINE, deadline) ? -EIO : 0;
}

int lapic_go(const struct vcpu *v, struct lapic_timer *timer)
{
	if (!timer->counts)
		return arm(v, timer->deadline);
	timer->taken_back = true;
	return tell(v, timer);
}

int lapic_go_on(const struct vcpu *v, const struct lapic_timer *timer, uint64_t gap_ns)
{
	struct lapic_timer t = *timer;

	if (!t.taken_back)
		return arm(v, t.deadline);
	pass(&t, gap_ns);
	return tell(v, &t);
}

static int hold_deadline(const struct vcpu *v, uint64_t count, struct lapic_timer *timer)
{
	uint64_t deadline;

	/* 0 also where the timer is in another mode, or the CPU has none. */
	if (!vcpu_get_msr(v, MSR_TSC_DEADLINE, &deadline) || deadline <= count)
		return 0;
	timer->deadline = deadline;
	return vcpu_set_msr(v, MSR_TSC_DEADLINE, 0) ? 0 : -EIO;
}

/* Without an initial count KVM runs no timer. */
int lapic_hold(const struct vcpu *v, uint64_t count, struct lapic_timer *timer)
{
	struct lapic_timer held = *timer;

	if (!timer->counts)
		return hold_deadline(v, count, timer);
	timer->taken_back = true;
	held.initial = held.left = 0;
	return tell(v, &held);
}

void lapic_held(const struct lapic_timer *timer, struct kvm_lapic_state *state)
{
	uint8_t *const regs = registers(state);

	if (!timer->counts)
		return;
	put32(regs + INITIAL, timer->initial);
	put32(regs + CURRENT, timer->left);
}

void lapic_pass(struct kvm_lapic_state *state, uint64_t ns)
{
	uint8_t *const regs = registers(state);
	struct lapic_timer t = {
		.periodic = mode_of(regs) == PERIODIC,
		.masked = get32(regs + LVTT) & LVT_MASKED,
		.shift = shift_of(regs),
		.initial = get32(regs + INITIAL),
		.left = get32(regs + CURRENT),
	};
	uint32_t bit;

	if (mode_of(regs) > PERIODIC || !t.initial)
		return;
	t.requested = get32(request_of(regs, &bit)) & bit;
	if (t.left)
		pass(&t, ns);
	else if (!t.periodic)
		t.initial = 0;
	request(regs, t.requested);
	put32(regs + INITIAL, t.initial);
	put32(regs + CURRENT, t.left);
}
