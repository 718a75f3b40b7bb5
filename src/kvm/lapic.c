/* SPDX-License-Identifier: Apache-2.0 */
/* lapic.c - the timer of a CPU's local APIC while time stands still.  Registers: Intel SDM vol. 3,
 * 11.5.1 (LVT) and 11.5.4 (APIC timer). */
#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>

#include "kvm/lapic.h"

enum { LVTT = 0x320, INITIAL = 0x380, CURRENT = 0x390 };
enum { MODE_SHIFT = 17, MODE_MASK = 3, ONE_SHOT = 0, PERIODIC = 1 };

static uint32_t get(const struct kvm_lapic_state *s, unsigned reg)
{
	uint32_t value;

	memcpy(&value, s->regs + reg, sizeof(value));
	return value;
}

static uint32_t mode_of(const struct kvm_lapic_state *s)
{
	return get(s, LVTT) >> MODE_SHIFT & MODE_MASK;
}

int lapic_stop(struct vcpu *v, struct lapic_timer *ret_timer)
{
	struct kvm_lapic_state s;

	*ret_timer = (struct lapic_timer){0};
	if (ioctl(v->fd, KVM_GET_LAPIC, &s) < 0)
		return -EIO;
	if (mode_of(&s) == PERIODIC && get(&s, INITIAL)) {
		(void)vcpu_settle(v); /* it says what KVM owes only when it is entered */
		if (ioctl(v->fd, KVM_GET_LAPIC, &s) < 0)
			return -EIO;
	}
	ret_timer->left = get(&s, CURRENT);
	ret_timer->counts = mode_of(&s) <= PERIODIC && get(&s, INITIAL) && ret_timer->left;
	return 0;
}

int lapic_go(const struct vcpu *v, const struct lapic_timer *timer)
{
	struct kvm_lapic_state s;

	if (!timer->counts)
		return 0;
	/* Read again: a line may have been raised meanwhile, and its request is in there. */
	if (ioctl(v->fd, KVM_GET_LAPIC, &s) < 0)
		return -EIO;
	memcpy(s.regs + CURRENT, &timer->left, sizeof(timer->left));
	return ioctl(v->fd, KVM_SET_LAPIC, &s) < 0 ? -EIO : 0;
}
