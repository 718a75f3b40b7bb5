/* SPDX-License-Identifier: Apache-2.0 */
/* pause_test.c - a machine stands still and goes on: what becomes of its clock, of its pages, and
 * of what KVM keeps.  No KVM: the test answers for it. */
#include <errno.h>
#include <linux/kvm.h>
#include <stdarg.h>
#include <sys/ioctl.h>
#include <time.h>

#include "kvm/pause.h"
#include "pvclock_bench.h"

enum { MSR_TSC_DEADLINE = 0x6e0, VCPU_FD = 1000 };
enum { LVTT = 0x320, INITIAL = 0x380, CURRENT = 0x390, IRR = 0x200 };
enum { ONE_SHOT = 0, PERIODIC = 1 << 17, DEADLINE = 2 << 17 };

enum { PERIOD = 40000000 }; /* of 2 ns */

#define MS UINT64_C(1000000)

/* The KVM of each CPU. */
static struct kvm {
	uint64_t offset, deadline;
	unsigned armed, entered, lapics_set;
	uint32_t left_set; /* at KVM_SET_LAPIC */
	unsigned gets;
	uint64_t ran_tsc; /* since when its timer counts down; 0: it does not */
	uint32_t ran_from;
	struct kvm_lapic_state lapic;
	bool forgets_offsets;
} kvm[CPUS];

static uint32_t host_khz;

struct one_msr {
	uint32_t nmsrs, pad;
	struct kvm_msr_entry entry;
};

static uint32_t *reg(struct kvm *k, unsigned at)
{
	return (uint32_t *)(void *)(k->lapic.regs + at);
}

/* What a timer of 2 ns a tick has left at a count of the host's TSC. */
static uint32_t left_at(const struct kvm *k, uint64_t tsc, uint32_t khz)
{
	uint32_t mode, initial;
	uint64_t ticks = (tsc - k->ran_tsc) * 1000 / (khz / 1000) / 2;

	memcpy(&mode, k->lapic.regs + LVTT, sizeof(mode));
	memcpy(&initial, k->lapic.regs + INITIAL, sizeof(initial));
	if (ticks < k->ran_from)
		return k->ran_from - (uint32_t)ticks;
	return mode & PERIODIC ? initial - (uint32_t)((ticks - k->ran_from) % initial) : 0;
}

/* KVM works out the count when it is asked, which may take it some time. */
static void get_lapic(struct kvm *k, void *ret_lapic)
{
	const struct timespec late = {.tv_nsec = 9000000};

	if (k->ran_tsc && k->gets++ == 0)
		nanosleep(&late, NULL);
	if (k->ran_tsc)
		*reg(k, CURRENT) = left_at(k, hostclock_tsc(), host_khz);
	memcpy(ret_lapic, &k->lapic, sizeof(k->lapic));
}

static int on_msr(struct kvm *k, unsigned long request, struct kvm_msr_entry *e)
{
	if (e->index != MSR_TSC_DEADLINE)
		return 1;
	if (request == KVM_GET_MSRS) {
		e->data = k->deadline;
		return 1;
	}
	k->armed++;
	k->deadline = e->data;
	return 1;
}

/* In place of the C library's. */
int ioctl(int fd, unsigned long request, ...)
{
	struct kvm *k = &kvm[fd - VCPU_FD];
	struct kvm_device_attr *attr;
	va_list args;
	void *arg;

	va_start(args, request);
	arg = va_arg(args, void *);
	va_end(args);
	assert_in_range(fd, VCPU_FD, VCPU_FD + CPUS - 1);
	attr = arg;
	switch (request) {
	case KVM_SET_DEVICE_ATTR:
		if (!k->forgets_offsets)
			memcpy(&k->offset, (void *)(uintptr_t)attr->addr, sizeof(k->offset));
		return 0;
	case KVM_GET_DEVICE_ATTR:
		memcpy((void *)(uintptr_t)attr->addr, &k->offset, sizeof(k->offset));
		return 0;
	case KVM_GET_LAPIC:
		get_lapic(k, arg);
		return 0;
	case KVM_SET_LAPIC:
		memcpy(&k->lapic, arg, sizeof(k->lapic));
		k->ran_tsc = 0;
		k->left_set = *reg(k, CURRENT);
		k->lapics_set++;
		return 0;
	case KVM_RUN:
		k->entered++;
		*reg(k, IRR) = 1; /* what KVM owed */
		errno = EINTR;
		return -1;
	case KVM_SET_SIGNAL_MASK:
		return 0;
	default:
		return on_msr(k, request, &((struct one_msr *)arg)->entry);
	}
}

static struct vm vm = {.fd = -1, .kvm_fd = -1};
static struct steal no_steal;

static struct pause_config config_of(struct bench *b)
{
	return (struct pause_config){
		.chipset = b->chipset,
		.gate = &b->gate,
		.pvclock = &b->p,
		.steal = &no_steal,
		.vm = &vm,
		.vcpus = b->vcpus,
		.tsc = &b->tsc,
		.cpus = CPUS,
		.movable = true,
	};
}

static struct bench *standing(struct pause *p)
{
	struct bench *b = bench();
	struct pause_config config = config_of(b);

	memset(kvm, 0, sizeof(kvm));
	for (int cpu = 0; cpu < CPUS; cpu++) {
		b->vcpus[cpu].fd = VCPU_FD + cpu;
		kvm[cpu].offset = OFFSET;
		kvm[cpu].deadline = 77;
		*reg(&kvm[cpu], LVTT) = DEADLINE;
	}
	assert_true(pvclock_wrmsr(&b->p, 1, VMT_MSR_KVM_SYSTEM, PAGE | 1));
	*p = (struct pause){0};
	assert_int_equal(pause_begin(p, &config, NULL), 0);
	assert_true(p->paused && b->gate.closed);
	return b;
}

static void sleep_ms(unsigned ms)
{
	const struct timespec t = {.tv_nsec = (long)(ms * MS)};

	nanosleep(&t, NULL);
}

static struct chipset_change goes_on(struct pause *p, uint32_t policy)
{
	struct chipset_change change;
	uint64_t limit_ns;
	uint32_t clock;

	assert_int_equal(pause_end(p, policy, &change, &limit_ns, &clock, NULL), 0);
	assert_false(p->paused || p->config.gate->closed);
	return change;
}

static void no_instant_is_two(void **state)
{
	struct pause p;
	struct bench *b = standing(&p);
	vmt_ns stood = chipset_now(b->chipset);

	(void)state;
	sleep_ms(2);
	assert_int_equal(chipset_now(b->chipset), stood);
	goes_on(&p, VMT_POLICY_CONTINUE);
	assert_true(chipset_now(b->chipset) > stood);
	take_down(b);
}

/* What the guest computes from its page is the virtual clock. */
static void the_page_is_within(struct bench *b, uint64_t ns)
{
	struct entry e = entry_at(b, PAGE);
	uint64_t lo = hostclock_tsc();
	vmt_ns now = chipset_now(b->chipset);
	uint64_t hi = hostclock_tsc();
	vmt_ns least = guest_ns(&e, vmt_tsc_line(&b->tsc, lo));
	vmt_ns most = guest_ns(&e, vmt_tsc_line(&b->tsc, hi));

	assert_int_equal(e.flags, VMT_KVMCLOCK_STABLE | VMT_KVMCLOCK_STOPPED);
	assert_true(least <= now + ns && now <= most + ns);
}

static void the_page_is_right(struct bench *b)
{
	the_page_is_within(b, 1);
}

static void what_went_on_is_all_there(void **state)
{
	struct pause p;
	struct bench *b = standing(&p);
	vmt_ns stood = chipset_now(b->chipset);
	struct chipset_change change;

	(void)state;
	sleep_ms(5);
	change = goes_on(&p, VMT_POLICY_CONTINUE);
	assert_int_equal(change.kind, VMT_CHANGE_RESUME);
	assert_int_equal(change.policy, VMT_POLICY_CONTINUE);
	assert_true(change.gap_ns >= 5 * MS);
	assert_int_equal(change.before_ns, stood);
	assert_in_range(change.after_ns - change.before_ns, change.gap_ns, change.gap_ns + 1);
	for (int cpu = 0; cpu < CPUS; cpu++) {
		assert_true(kvm[cpu].offset == OFFSET);
		assert_int_equal(kvm[cpu].armed,
				 0); /* it goes by the host's clock, and has gone on */
		assert_int_equal(kvm[cpu].lapics_set, 0);
	}
	the_page_is_right(b);
	take_down(b);
}

/* It was made to catch up within a second, and nobody has read it since. */
static void what_the_old_line_would_show_does_not_bind(void **state)
{
	struct pause p;
	struct bench *b = standing(&p);

	(void)state;
	b->p.face.mul += b->p.face.mul / 1000;
	sleep_ms(50);
	goes_on(&p, VMT_POLICY_CONTINUE);
	the_page_is_within(b, 10000); /* it has run for some time before the stop */
	take_down(b);
}

static void the_tsc_is_back_by(const struct bench *b, uint64_t gap_ns)
{
	uint64_t ns = (OFFSET - kvm[0].offset) * 1000000 / b->tsc.host.khz;

	assert_in_range(ns, gap_ns - 1000, gap_ns + 1000);
}

static void what_stood_still_is_where_it_was(void **state)
{
	struct pause p;
	struct bench *b = standing(&p);
	vmt_ns stood = chipset_now(b->chipset);
	struct chipset_change change;

	(void)state;
	sleep_ms(5);
	change = goes_on(&p, VMT_POLICY_FREEZE);
	assert_int_equal(change.policy, VMT_POLICY_FREEZE);
	assert_int_equal(change.before_ns, stood);
	assert_int_equal(change.after_ns, stood);
	the_tsc_is_back_by(b, change.gap_ns);
	for (int cpu = 0; cpu < CPUS; cpu++) {
		assert_true(kvm[cpu].offset == kvm[0].offset);
		assert_int_equal(kvm[cpu].armed, 1);
		assert_int_equal(kvm[cpu].deadline, 77);
		assert_int_equal(kvm[cpu].lapics_set, 0);
	}
	/* UTC went on: the offset takes what time did not. */
	assert_in_range(change.utc_after_ns - change.utc_before_ns, change.gap_ns, INT64_MAX);
	the_page_is_right(b);
	take_down(b);
}

/* Its timers count down from `left`, and the stop comes `ms` later; the threads came out of the
 * guest just before that, or before the timers began. */
static struct bench *counting_for(struct pause *p, uint32_t mode, uint32_t left, unsigned ms,
				  bool long_out)
{
	struct bench *b = bench();
	struct pause_config config = config_of(b);

	memset(kvm, 0, sizeof(kvm));
	host_khz = b->tsc.host.khz;
	for (int cpu = 0; cpu < CPUS; cpu++) {
		b->vcpus[cpu].fd = VCPU_FD + cpu;
		b->vcpus[cpu].left_tsc = hostclock_tsc();
		kvm[cpu].offset = OFFSET;
		*reg(&kvm[cpu], LVTT) = mode;
		*reg(&kvm[cpu], INITIAL) = PERIOD;
		*reg(&kvm[cpu], CURRENT) = kvm[cpu].ran_from = left;
		kvm[cpu].ran_tsc = left ? hostclock_tsc() : 0;
	}
	sleep_ms(ms);
	for (int cpu = 0; cpu < CPUS && !long_out; cpu++)
		b->vcpus[cpu].left_tsc = hostclock_tsc();
	*p = (struct pause){0};
	assert_int_equal(pause_begin(p, &config, NULL), 0);
	return b;
}

static struct bench *counting(struct pause *p, uint32_t mode, uint32_t left)
{
	return counting_for(p, mode, left, 0, false);
}

/* To the tick, but for what passes while KVM answers. */
static void as_much_as_at_the_stop(const struct pause *p, uint32_t left, const struct kvm *then)
{
	enum { ANSWER_TICKS = 50000 };
	uint32_t off = (left + PERIOD - left_at(then, p->from.tsc, host_khz)) % PERIOD;

	assert_true(off < ANSWER_TICKS || off > PERIOD - ANSWER_TICKS);
}

static void a_timer_that_counts_down_has_as_much_left(void **state)
{
	struct pause p;
	struct bench *b = counting(&p, ONE_SHOT, PERIOD - 1);
	const struct kvm then[CPUS] = {kvm[0], kvm[1]};

	(void)state;
	assert_int_equal(kvm[0].entered, 0);
	*reg(&kvm[0], IRR) = 0x11; /* it fired meanwhile, and somebody raised a line */
	goes_on(&p, VMT_POLICY_FREEZE);
	assert_int_equal(kvm[0].lapics_set, 1);
	assert_int_equal(*reg(&kvm[0], IRR), 0x10);
	for (int cpu = 0; cpu < CPUS; cpu++)
		as_much_as_at_the_stop(&p, kvm[cpu].left_set, &then[cpu]);
	take_down(b);
}

static void a_shot_that_is_fired_is_not_fired_again(void **state)
{
	struct pause p;
	struct bench *b = counting(&p, ONE_SHOT, 0);

	(void)state;
	goes_on(&p, VMT_POLICY_FREEZE);
	assert_int_equal(kvm[0].lapics_set, 0);
	take_down(b);
}

static void a_period_keeps_its_phase(void **state)
{
	struct pause p;
	struct bench *b = counting_for(&p, PERIODIC, PERIOD / 2, 3, false);
	const struct kvm then[CPUS] = {kvm[0], kvm[1]};

	(void)state;
	assert_int_equal(kvm[0].entered, 0);
	goes_on(&p, VMT_POLICY_FREEZE);
	for (int cpu = 0; cpu < CPUS; cpu++) {
		as_much_as_at_the_stop(&p, kvm[cpu].left_set, &then[cpu]);
		assert_int_equal(*reg(&kvm[cpu], IRR), 0);
	}
	take_down(b);
	b = counting(&p, PERIODIC, PERIOD / 2);
	goes_on(&p, VMT_POLICY_CONTINUE);
	assert_int_equal(kvm[0].lapics_set, 0);
	take_down(b);
}

/* The thread was out of the guest, and may still be. */
static void a_period_that_ended_unseen_is_no_interrupt_less(void **state)
{
	struct pause p;
	struct bench *b = counting_for(&p, PERIODIC, PERIOD / 40, 3, true);

	(void)state;
	goes_on(&p, VMT_POLICY_FREEZE);
	for (int cpu = 0; cpu < CPUS; cpu++)
		assert_int_equal(*reg(&kvm[cpu], IRR), 1);
	take_down(b);
}

/* One that ended while time stood still is none. */
static void a_period_that_did_not_end_is_no_interrupt_more(void **state)
{
	struct pause p;
	struct bench *b = counting_for(&p, PERIODIC, PERIOD / 40, 3, false);

	(void)state;
	for (int cpu = 0; cpu < CPUS; cpu++)
		*reg(&kvm[cpu], IRR) = 1;
	goes_on(&p, VMT_POLICY_FREEZE);
	for (int cpu = 0; cpu < CPUS; cpu++)
		assert_int_equal(*reg(&kvm[cpu], IRR), 0);
	take_down(b);
}

/* A snapshot was made meanwhile: KVM was told that time stood still. */
static void what_was_taken_back_to_be_saved_goes_on(void **state)
{
	static const uint32_t modes[] = {ONE_SHOT, PERIODIC};
	const uint32_t lefts[] = {PERIOD - 1, PERIOD / 40};
	struct chipset_change change;
	struct pause p;

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		struct bench *b = counting(&p, modes[i], lefts[i]);
		const uint32_t left = p.timers[0].left;
		uint32_t passed;

		sleep_ms(3);
		assert_int_equal(lapic_go(&b->vcpus[0], &p.timers[0]), 0);
		assert_int_equal(kvm[0].left_set, left);
		change = goes_on(&p, VMT_POLICY_CONTINUE);
		passed = (uint32_t)(change.gap_ns / 2);
		assert_int_equal(kvm[0].left_set,
				 passed < left ? left - passed : PERIOD - (passed - left) % PERIOD);
		assert_int_equal(*reg(&kvm[0], IRR), modes[i] == PERIODIC);
		assert_int_equal(kvm[1].lapics_set, 0);
		take_down(b);
	}
}

/* Due in the gap: KVM takes 0 for a shot that is due now. */
static void a_shot_that_fell_due_since_it_was_saved_comes_at_once(void **state)
{
	struct pause p;
	struct bench *b = counting(&p, ONE_SHOT, PERIOD - 1);

	(void)state;
	p.timers[0].left = 1000;
	assert_int_equal(lapic_go(&b->vcpus[0], &p.timers[0]), 0);
	goes_on(&p, VMT_POLICY_CONTINUE);
	assert_int_equal(kvm[0].left_set, 0);
	take_down(b);
}

static void auto_looks_at_what_the_guest_tells_the_time_by(void **state)
{
	struct pause p;
	struct bench *b = counting(&p, DEADLINE, 0);
	struct chipset_change change;

	(void)state;
	goes_on(&p, VMT_POLICY_CONTINUE);
	/* A guest without pages whose PIT ticks every ms, and late ticks are dropped. */
	assert_true(chipset_write(b->chipset, VMT_PIO, 0x43, 1, 0x34));
	assert_true(chipset_write(b->chipset, VMT_PIO, 0x40, 1, 0xa9));
	assert_true(chipset_write(b->chipset, VMT_PIO, 0x40, 1, 0x04));
	assert_int_equal(pause_begin(&p, &p.config, NULL), 0);
	sleep_ms(5);
	change = goes_on(&p, VMT_POLICY_AUTO);
	assert_int_equal(change.policy, VMT_POLICY_FREEZE);
	assert_true(pvclock_wrmsr(&b->p, 1, VMT_MSR_KVM_SYSTEM, PAGE | 1));
	assert_int_equal(pause_begin(&p, &p.config, NULL), 0);
	sleep_ms(5);
	change = goes_on(&p, VMT_POLICY_AUTO);
	assert_int_equal(change.policy, VMT_POLICY_CONTINUE);
	/* Where the TSC cannot be taken back nothing else stands still, either. */
	p.config.movable = false;
	assert_int_equal(pause_begin(&p, &p.config, NULL), 0);
	change = goes_on(&p, VMT_POLICY_FREEZE);
	assert_int_equal(change.policy, VMT_POLICY_CONTINUE);
	take_down(b);
}

/* While the machine stopped a thread wanted a counter, noted when, and waited for the lock. */
static void a_counter_wanted_at_the_stop_counts_as_read(void **state)
{
	struct pause p;
	struct bench *b = standing(&p);
	vmt_ns now = chipset_now(b->chipset);
	uint32_t clock;

	(void)state;
	b->chipset->hpet_read = now + 1000;
	(void)pause_limit(&p, &clock);
	assert_int_equal(clock, VMT_GAP_HPET);
	b->chipset->pm_timer_read = now + 1000;
	(void)pause_limit(&p, &clock);
	assert_int_equal(clock, VMT_GAP_PMTMR);
	goes_on(&p, VMT_POLICY_CONTINUE);
	take_down(b);
}

static void what_kvm_refuses_can_be_tried_again(void **state)
{
	struct pause p;
	struct bench *b = standing(&p);
	vmt_ns stood = chipset_now(b->chipset);
	struct chipset_change change;
	struct why why = {{0}};
	uint64_t limit_ns;
	uint32_t clock;

	(void)state;
	kvm[1].forgets_offsets = true;
	assert_int_equal(pause_end(&p, VMT_POLICY_FREEZE, &change, &limit_ns, &clock, &why), -EIO);
	assert_true(why.text[0]);
	assert_true(p.paused && b->gate.closed);
	assert_int_equal(chipset_now(b->chipset), stood);
	kvm[1].forgets_offsets = false;
	sleep_ms(2);
	change = goes_on(&p, VMT_POLICY_FREEZE);
	the_tsc_is_back_by(b, change.gap_ns);
	assert_int_equal(change.after_ns, stood);
	the_page_is_right(b);
	take_down(b);
}

static void an_own_date_goes_on_beside_virtual_time(void **state)
{
	struct pause p;
	struct bench *b = standing(&p);
	struct chipset_change change;

	(void)state;
	p.config.own_utc = true;
	sleep_ms(2);
	change = goes_on(&p, VMT_POLICY_CONTINUE);
	assert_in_range(change.utc_after_ns - change.utc_before_ns + 1, 0, 2);
	assert_int_equal(pause_begin(&p, &p.config, NULL), 0);
	sleep_ms(2);
	change = goes_on(&p, VMT_POLICY_FREEZE);
	assert_in_range(change.utc_after_ns - change.utc_before_ns, change.gap_ns - 1,
			change.gap_ns + 1);
	take_down(b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(no_instant_is_two),
		cmocka_unit_test(what_went_on_is_all_there),
		cmocka_unit_test(what_the_old_line_would_show_does_not_bind),
		cmocka_unit_test(what_stood_still_is_where_it_was),
		cmocka_unit_test(a_timer_that_counts_down_has_as_much_left),
		cmocka_unit_test(a_shot_that_is_fired_is_not_fired_again),
		cmocka_unit_test(a_period_keeps_its_phase),
		cmocka_unit_test(a_period_that_ended_unseen_is_no_interrupt_less),
		cmocka_unit_test(a_period_that_did_not_end_is_no_interrupt_more),
		cmocka_unit_test(what_was_taken_back_to_be_saved_goes_on),
		cmocka_unit_test(a_shot_that_fell_due_since_it_was_saved_comes_at_once),
		cmocka_unit_test(auto_looks_at_what_the_guest_tells_the_time_by),
		cmocka_unit_test(a_counter_wanted_at_the_stop_counts_as_read),
		cmocka_unit_test(what_kvm_refuses_can_be_tried_again),
		cmocka_unit_test(an_own_date_goes_on_beside_virtual_time),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
