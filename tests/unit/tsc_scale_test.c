/* SPDX-License-Identifier: Apache-2.0 */
/* tsc_scale_test.c - a guest's TSC of another frequency: what KVM is told, and what is believed of
 * what it says.  The lab's KVM has no scaling, so one of hardware that has it is played here. */
#include <errno.h>
#include <linux/kvm.h>
#include <stdarg.h>
#include <sys/ioctl.h>

#include "kvm/tsc.h"
#include "pvclock_bench.h"

enum { VCPU_FD = 1000, FRAC = VMT_TSC_FRAC_SVM, GUEST_KHZ = 1234567 };

/* The KVM of both CPUs. */
static struct {
	uint32_t host_khz, khz;
	uint64_t offset, adjust;
	bool refuses, tolerates, scaled_first;
} kvm;

static uint64_t guest_count(void)
{
	__extension__ typedef unsigned __int128 u128;
	const uint64_t ratio = ((uint64_t)kvm.khz << FRAC) / kvm.host_khz;

	return (uint64_t)((u128)hostclock_tsc() * ratio >> FRAC) + kvm.offset;
}

static int msrs(struct kvm_msr_entry *e, bool set)
{
	if (e->index == VMT_MSR_TSC_ADJUST && set)
		kvm.adjust = e->data;
	else if (e->index == VMT_MSR_TSC_ADJUST)
		e->data = kvm.adjust;
	else
		e->data = e->index == VMT_MSR_TSC ? guest_count() : 0;
	return 1;
}

/* In place of the C library's. */
int ioctl(int fd, unsigned long request, ...)
{
	struct {
		uint32_t nmsrs, pad;
		struct kvm_msr_entry entry;
	} * one;
	struct kvm_device_attr *attr;
	va_list args;
	void *arg;

	va_start(args, request);
	arg = va_arg(args, void *);
	va_end(args);
	assert_int_equal(fd, VCPU_FD);
	attr = arg;
	one = arg;
	switch (request) {
	case KVM_SET_TSC_KHZ:
		if (kvm.refuses) {
			errno = EINVAL;
			return -1;
		}
		if (!kvm.tolerates)
			kvm.khz = (uint32_t)(uintptr_t)arg;
		kvm.scaled_first = kvm.offset == 0;
		return 0;
	case KVM_SET_DEVICE_ATTR:
		memcpy(&kvm.offset, (void *)(uintptr_t)attr->addr, sizeof(kvm.offset));
		return 0;
	case KVM_GET_DEVICE_ATTR:
		memcpy((void *)(uintptr_t)attr->addr, &kvm.offset, sizeof(kvm.offset));
		return 0;
	default:
		return msrs(&one->entry, request == KVM_SET_MSRS);
	}
}

static const struct tsc_host *begin(struct bench *b)
{
	static struct tsc_host host;
	const struct tsc_wish wish = {.khz = GUEST_KHZ};
	struct why why;

	memset(&kvm, 0, sizeof(kvm));
	kvm.host_khz = kvm.khz = b->tsc.host.khz;
	host = (struct tsc_host){
		.tsc_class = PROBE_TSC_OFFSET_SCALING,
		.source = true,
		.hardware = {kvm.host_khz, FRAC, VMT_TSC_TOLERANCE_PPM, 0},
	};
	assert_int_equal(tsc_plan(&host, &wish, CPUS, &b->tsc, &why), 0);
	tsc_begin(&host, hostclock_tsc(), &b->tsc);
	b->p.config.movable = true;
	for (int cpu = 0; cpu < CPUS; cpu++) {
		b->vcpus[cpu].cpu = (uint32_t)cpu;
		b->vcpus[cpu].fd = VCPU_FD;
	}
	return &host;
}

static void it_begins_at_0_and_runs_at_its_own_frequency(void **state)
{
	struct bench *b = bench();
	const struct tsc_host *host = begin(b);
	uint64_t from, least, most;
	struct why why;

	(void)state;
	assert_int_equal(tsc_apply(host, &b->tsc, &b->vcpus[1], &why), 0);
	assert_int_equal(kvm.khz, GUEST_KHZ);
	assert_true(kvm.scaled_first); /* KVM alone would let it jump */
	assert_true(kvm.offset == vmt_tsc_offset(&b->tsc, 1));
	assert_in_range(guest_count(), 0, (uint64_t)GUEST_KHZ * 1000 * 10);
	from = hostclock_tsc();
	least = vmt_tsc_line(&b->tsc, from);
	most = vmt_tsc_line(&b->tsc, from + kvm.host_khz * 1000ULL);
	assert_in_range(most - least, GUEST_KHZ * 1000ULL - 1000, GUEST_KHZ * 1000ULL + 1);
	take_down(b);
}

static void what_it_writes_to_its_tsc_is_what_it_reads(void **state)
{
	struct bench *b = bench();
	const struct tsc_host *host = begin(b);
	const uint64_t count = UINT64_C(1) << 50;
	struct entry e;
	vmt_ns before;

	(void)state;
	assert_int_equal(tsc_apply(host, &b->tsc, &b->vcpus[1], NULL), 0);
	assert_true(pvclock_wrmsr(&b->p, 1, VMT_MSR_KVM_SYSTEM, PAGE | 1));
	assert_true(pvclock_wrmsr(&b->p, 1, VMT_MSR_TSC, count));
	assert_in_range(guest_count(), count, count + (uint64_t)GUEST_KHZ * 1000 * 10);
	assert_true(kvm.adjust == b->tsc.adjust[1] && kvm.adjust != 0);
	e = entry_at(b, PAGE); /* and its page is right by it */
	before = chipset_now(b->chipset);
	assert_in_range(guest_ns(&e, guest_count()) + 100, before,
			chipset_now(b->chipset) + NS_PER_S);
	take_down(b);
}

static void a_kvm_that_refuses_the_frequency_is_an_error(void **state)
{
	struct bench *b = bench();
	const struct tsc_host *host = begin(b);
	struct why why;

	(void)state;
	kvm.refuses = true;
	assert_int_equal(tsc_apply(host, &b->tsc, &b->vcpus[0], &why), -EIO);
	assert_non_null(strstr(why.text, "KVM refused a TSC of 1234567 kHz"));
	take_down(b);
}

/* As where the parameter of its module allows more than was read. */
static void a_kvm_that_says_yes_and_does_not_scale_is_found_out(void **state)
{
	struct bench *b = bench();
	const struct tsc_host *host = begin(b);
	struct why why;

	(void)state;
	kvm.tolerates = true;
	assert_int_equal(tsc_apply(host, &b->tsc, &b->vcpus[0], &why), -EIO);
	assert_non_null(strstr(why.text, "does not scale"));
	take_down(b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(it_begins_at_0_and_runs_at_its_own_frequency),
		cmocka_unit_test(what_it_writes_to_its_tsc_is_what_it_reads),
		cmocka_unit_test(a_kvm_that_refuses_the_frequency_is_an_error),
		cmocka_unit_test(a_kvm_that_says_yes_and_does_not_scale_is_found_out),
	};

	return cmocka_run_group_tests_name("tsc_scale", tests, NULL, NULL);
}
