/* SPDX-License-Identifier: Apache-2.0 */
/* pvclock_tsc_test.c - a guest writes a CPU's TSC or TSC_ADJUST: what KVM is told, what the page
 * says, and what is left when KVM does not do it. */
#include <linux/kvm.h>
#include <stdarg.h>
#include <sys/ioctl.h>

#include "pvclock_bench.h"

#define AHEAD UINT64_C(5000000000)

enum { MSR_TSC_DEADLINE = 0x6e0, VCPU_FD = 1000 };

/* The KVM of CPU 1. */
static struct {
	uint64_t offset, adjust, deadline;
	unsigned armed;
	bool forgets_offsets, refuses_adjust;
} kvm;

struct one_msr {
	uint32_t nmsrs, pad;
	struct kvm_msr_entry entry;
};

static int get_msr(struct kvm_msr_entry *e)
{
	e->data = e->index == MSR_TSC_DEADLINE ? kvm.deadline : kvm.adjust;
	return 1;
}

static int set_msr(const struct kvm_msr_entry *e)
{
	if (e->index == MSR_TSC_DEADLINE) {
		kvm.armed++;
		kvm.deadline = e->data;
		return 1;
	}
	assert_int_equal(e->index, VMT_MSR_TSC_ADJUST);
	if (kvm.refuses_adjust && e->data)
		return 0;
	kvm.adjust = e->data;
	return 1;
}

/* In place of the C library's. */
int ioctl(int fd, unsigned long request, ...)
{
	struct kvm_device_attr *attr;
	void *arg;
	va_list args;

	va_start(args, request);
	arg = va_arg(args, void *);
	va_end(args);
	assert_int_equal(fd, VCPU_FD);
	attr = arg;
	switch (request) {
	case KVM_SET_DEVICE_ATTR:
		if (!kvm.forgets_offsets)
			memcpy(&kvm.offset, (void *)(uintptr_t)attr->addr, sizeof(kvm.offset));
		return 0;
	case KVM_GET_DEVICE_ATTR:
		memcpy((void *)(uintptr_t)attr->addr, &kvm.offset, sizeof(kvm.offset));
		return 0;
	case KVM_GET_MSRS:
		return get_msr(&((struct one_msr *)arg)->entry);
	default:
		assert_int_equal(request, KVM_SET_MSRS);
		return set_msr(&((struct one_msr *)arg)->entry);
	}
}

static struct bench *movable(void)
{
	struct bench *b = bench();

	memset(&kvm, 0, sizeof(kvm));
	kvm.offset = OFFSET;
	kvm.deadline = 77;
	b->p.config.movable = true;
	b->vcpus[1].fd = VCPU_FD;
	assert_true(pvclock_wrmsr(&b->p, 1, VMT_MSR_KVM_SYSTEM, PAGE | 1));
	assert_int_equal(entry_at(b, PAGE).flags, VMT_KVMCLOCK_STABLE);
	return b;
}

static void kvm_is_told_and_the_deadline_is_armed_for_its_count(void **state)
{
	struct bench *b = movable();

	(void)state;
	assert_true(pvclock_wrmsr(&b->p, 1, VMT_MSR_TSC_ADJUST, AHEAD));
	assert_true(kvm.offset == OFFSET + AHEAD);
	assert_true(kvm.adjust == AHEAD);
	assert_int_equal(kvm.armed, 1);
	assert_int_equal(kvm.deadline, 77);
	assert_int_equal(entry_at(b, PAGE).flags, 0); /* CPU 0 is elsewhere */
	kvm.deadline = 0;
	assert_true(pvclock_wrmsr(&b->p, 1, VMT_MSR_TSC_ADJUST, 0));
	assert_true(kvm.offset == OFFSET);
	assert_int_equal(kvm.armed, 1); /* none waits */
	assert_int_equal(entry_at(b, PAGE).flags, VMT_KVMCLOCK_STABLE);
	take_down(b);
}

static void nothing_has_moved(struct bench *b, const struct entry *before)
{
	struct entry e = entry_at(b, PAGE);

	assert_true(kvm.offset == OFFSET);
	assert_int_equal(kvm.adjust, 0);
	assert_true(vmt_tsc_agree(&b->tsc));
	assert_memory_equal(&e, before, sizeof(e));
}

static void what_kvm_refuses_is_undone(void **state)
{
	struct bench *b = movable();
	struct entry before = entry_at(b, PAGE);

	(void)state;
	kvm.refuses_adjust = true;
	assert_false(pvclock_wrmsr(&b->p, 1, VMT_MSR_TSC_ADJUST, AHEAD));
	nothing_has_moved(b, &before);
	assert_false(pvclock_wrmsr(&b->p, 1, VMT_MSR_TSC, AHEAD));
	nothing_has_moved(b, &before);
	take_down(b);
}

static void an_offset_that_kvm_forgets_is_refused(void **state)
{
	struct bench *b = movable();
	struct entry before = entry_at(b, PAGE);

	(void)state;
	kvm.forgets_offsets = true;
	assert_false(pvclock_wrmsr(&b->p, 1, VMT_MSR_TSC_ADJUST, AHEAD));
	nothing_has_moved(b, &before);
	take_down(b);
}

static void on_notice(void *owner, const char *text)
{
	unsigned *told = owner;

	assert_non_null(strstr(text, "went back"));
	(*told)++;
}

/* It may be on some CPUs, and on others not. */
static void a_count_that_kvm_does_not_take_along_is_no_promise(void **state)
{
	struct bench *b = bench_on(true, true, true);
	struct counted_clock clock = liveclock_get(&b->chipset->clock);
	const uint64_t ahead = 1000 * clock.clock.counter_hz;
	struct chipset_change change;
	unsigned told = 0;

	(void)state;
	memset(&kvm, 0, sizeof(kvm));
	kvm.forgets_offsets = true;
	b->p.config.movable = true;
	b->p.config.notice = on_notice;
	b->p.config.owner = &told;
	b->vcpus[0].fd = b->vcpus[1].fd = VCPU_FD;
	assert_true(pvclock_wrmsr(&b->p, 1, VMT_MSR_KVM_SYSTEM, PAGE | 1));
	clock = liveclock_get(&b->chipset->clock);
	clock.clock.base_counter += ahead;
	liveclock_set(&b->chipset->clock, &clock);
	b->p.loop.last.counter += ahead;
	b->p.quiet_ns = 0;
	b->p.checked_ns = hostclock_monotonic_ns();
	assert_true(pvclock_tick(&b->p, &change));
	assert_int_equal(told, 1);
	assert_int_equal(entry_at(b, PAGE).flags, 0);
	take_down(b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(kvm_is_told_and_the_deadline_is_armed_for_its_count),
		cmocka_unit_test(what_kvm_refuses_is_undone),
		cmocka_unit_test(an_offset_that_kvm_forgets_is_refused),
		cmocka_unit_test(a_count_that_kvm_does_not_take_along_is_no_promise),
	};

	return cmocka_run_group_tests_name("pvclock_tsc", tests, NULL, NULL);
}
