/* SPDX-License-Identifier: Apache-2.0 */
/* pvclock_test.c - what a guest that registers its pages finds in its memory.  No KVM: threads of
 * the test play the vCPUs. */
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "pvclock_bench.h"

enum { WALL = 0x6004, ROUNDS = 2000 };

/* The version alone is in the first of two pages. */
enum { ACROSS = 0x8ffc };

static void the_guest_finds_virtual_time_in_its_page(void **state)
{
	struct bench *b = bench();
	struct entry e;

	(void)state;
	assert_true(pvclock_wrmsr(&b->p, 1, VMT_MSR_KVM_SYSTEM, PAGE | 1));
	e = entry_at(b, PAGE);
	assert_int_equal(e.version & 1, 0);
	assert_int_not_equal(e.version, 0);
	assert_int_equal(e.flags, VMT_KVMCLOCK_STABLE);
	for (int i = 0; i < 100; i++) {
		vmt_ns before = chipset_now(b->chipset);
		uint64_t ns = guest_ns(&e, hostclock_tsc() + OFFSET);

		assert_in_range(ns, before ? before - 1 : 0, chipset_now(b->chipset));
	}
	take_down(b);
}

static void all_pages_say_one_line(void **state)
{
	struct bench *b = bench();
	struct entry first, second;

	(void)state;
	assert_true(pvclock_wrmsr(&b->p, 0, VMT_MSR_KVM_SYSTEM_OLD, PAGE | 1));
	assert_true(pvclock_wrmsr(&b->p, 1, VMT_MSR_KVM_SYSTEM, (PAGE + 64) | 1));
	first = entry_at(b, PAGE);
	second = entry_at(b, PAGE + 64);
	first.version = second.version;
	assert_memory_equal(&first, &second, sizeof(first));
	take_down(b);
}

/* The guest has written TSC_ADJUST of a CPU: its counts are others, its time is not. */
static void a_cpu_that_the_guest_has_moved_has_a_line_of_its_own(void **state)
{
	const uint64_t ahead = UINT64_C(1) << 40;
	struct bench *b = bench();
	struct entry first, second;
	uint64_t tsc;

	(void)state;
	assert_int_equal(vmt_tsc_write(&b->tsc, 0, 1, VMT_MSR_TSC_ADJUST, ahead), 1);
	assert_true(pvclock_wrmsr(&b->p, 0, VMT_MSR_KVM_SYSTEM, PAGE | 1));
	assert_true(pvclock_wrmsr(&b->p, 1, VMT_MSR_KVM_SYSTEM, (PAGE + 64) | 1));
	first = entry_at(b, PAGE);
	second = entry_at(b, PAGE + 64);
	assert_true(second.tsc == first.tsc + ahead && second.ns == first.ns);
	tsc = hostclock_tsc() + OFFSET;
	assert_true(guest_ns(&first, tsc) == guest_ns(&second, tsc + ahead));
	assert_int_equal(first.flags | second.flags, 0); /* one line for all it is no longer */
	/* And when all have been moved alike it is again. */
	assert_int_equal(vmt_tsc_write(&b->tsc, 0, 0, VMT_MSR_TSC_ADJUST, ahead), 1);
	assert_true(pvclock_wrmsr(&b->p, 0, VMT_MSR_KVM_SYSTEM, PAGE | 1));
	first = entry_at(b, PAGE);
	second = entry_at(b, PAGE + 64);
	assert_true(second.tsc == first.tsc && second.ns == first.ns);
	assert_int_equal(first.flags & second.flags, VMT_KVMCLOCK_STABLE);
	pvclock_reset(&b->p);
	assert_true(vmt_tsc_offset(&b->tsc, 1) == OFFSET);
	take_down(b);
}

static void where_nothing_moves_a_tsc_a_write_of_it_does_nothing(void **state)
{
	struct bench *b = bench();

	(void)state;
	assert_false(b->p.config.movable);
	assert_true(pvclock_wrmsr(&b->p, 1, VMT_MSR_TSC, 5));
	assert_true(pvclock_wrmsr(&b->p, 1, VMT_MSR_TSC_ADJUST, 5));
	assert_true(vmt_tsc_agree(&b->tsc));
	take_down(b);
}

static void a_scaled_guest_finds_virtual_time_in_its_page(void **state)
{
	const uint32_t tolerance = 20; /* ns: a count of the guest's, and what the page rounds */
	struct bench *b = bench();
	struct entry e;

	(void)state;
	b->tsc.host.frac = VMT_TSC_FRAC_VMX;
	b->tsc.ratio = UINT64_C(1) << VMT_TSC_FRAC_VMX;
	assert_int_equal(vmt_tsc_scale(&b->tsc, 0, 1234567), 0);
	assert_true(pvclock_wrmsr(&b->p, 0, VMT_MSR_KVM_SYSTEM, PAGE | 1));
	e = entry_at(b, PAGE);
	assert_int_equal((UINT64_C(1000000) << 32) / e.mul >> e.shift, 1234567);
	for (int i = 0; i < 100; i++) {
		vmt_ns before = chipset_now(b->chipset);
		uint64_t ns = guest_ns(&e, vmt_tsc_line(&b->tsc, hostclock_tsc()));

		assert_in_range(ns + tolerance, before, chipset_now(b->chipset) + 2 * tolerance);
	}
	take_down(b);
}

static void a_page_that_was_given_back_is_left_alone(void **state)
{
	struct bench *b = bench();
	uint64_t value;

	(void)state;
	assert_true(pvclock_wrmsr(&b->p, 0, VMT_MSR_KVM_SYSTEM, PAGE | 1));
	assert_true(pvclock_wrmsr(&b->p, 0, VMT_MSR_KVM_SYSTEM, 0));
	memset(memory_at(&b->memory, PAGE, VMT_KVMCLOCK_BYTES), 0x5a, VMT_KVMCLOCK_BYTES);
	assert_true(pvclock_wrmsr(&b->p, 1, VMT_MSR_KVM_SYSTEM, (PAGE + 64) | 1));
	assert_int_equal(entry_at(b, PAGE).mul, 0x5a5a5a5a);
	assert_true(pvclock_rdmsr(&b->p, 1, VMT_MSR_KVM_SYSTEM_OLD, &value));
	assert_int_equal(value, (PAGE + 64) | 1);
	take_down(b);
}

static void on_no_loop(void *owner, const char *text)
{
	unsigned *told = owner;

	assert_non_null(strstr(text, "not kept to this host's"));
	(*told)++;
}

static void on_notice(void *owner, const char *text)
{
	unsigned *told = owner;

	assert_non_null(strstr(text, "kvm-clock page"));
	(*told)++;
}

/* As after a kexec from a kernel that did not give its pages back. */
static void a_page_with_something_else_in_it_is_left_alone(void **state)
{
	struct bench *b = bench();
	struct entry *second = memory_at(&b->memory, PAGE + 64, sizeof(*second));
	unsigned told = 0;
	uint32_t version;

	(void)state;
	b->p.config.notice = on_notice;
	b->p.config.owner = &told;
	assert_true(pvclock_wrmsr(&b->p, 0, VMT_MSR_KVM_SYSTEM, PAGE | 1));
	assert_true(pvclock_wrmsr(&b->p, 1, VMT_MSR_KVM_SYSTEM, (PAGE + 64) | 1));
	second->flags = 0; /* the guest's to clear */
	second->rest[0] = 7;
	version = second->version;
	assert_true(pvclock_wrmsr(&b->p, 0, VMT_MSR_KVM_SYSTEM, PAGE | 1));
	assert_int_not_equal(second->version, version);
	assert_int_equal(second->flags, VMT_KVMCLOCK_STABLE);
	memset(second, 0x5a, sizeof(*second));
	for (int i = 0; i < 3; i++) {
		version = entry_at(b, PAGE).version;
		assert_true(pvclock_wrmsr(&b->p, 0, VMT_MSR_KVM_SYSTEM, PAGE | 1));
		assert_int_not_equal(entry_at(b, PAGE).version, version); /* the other's goes on */
		assert_int_equal(second->version, 0x5a5a5a5a);
		tick(b);
	}
	assert_int_equal(told, 1);
	assert_true(pvclock_wrmsr(&b->p, 1, VMT_MSR_KVM_SYSTEM, (PAGE + 64) | 1));
	assert_int_equal(second->mul, entry_at(b, PAGE).mul);
	memset(second, 0x5a, sizeof(*second));
	pvclock_reset(&b->p);
	assert_true(pvclock_wrmsr(&b->p, 1, VMT_MSR_KVM_SYSTEM, (PAGE + 64) | 1));
	assert_int_not_equal(second->mul, 0x5a5a5a5a);
	take_down(b);
}

/* At boot each CPU does: kicking all each time would be the square of their number. */
static void a_cpu_that_registers_its_page_disturbs_nobody(void **state)
{
	struct bench *b = bench();

	(void)state;
	assert_true(pvclock_wrmsr(&b->p, 0, VMT_MSR_KVM_SYSTEM, PAGE | 1)); /* the line begins */
	b->run[0].immediate_exit = b->run[1].immediate_exit = 0;
	assert_true(pvclock_wrmsr(&b->p, 1, VMT_MSR_KVM_SYSTEM, (PAGE + 64) | 1));
	assert_true(pvclock_wrmsr(&b->p, 1, VMT_MSR_KVM_SYSTEM, 0));
	assert_true(pvclock_wrmsr(&b->p, 0, VMT_MSR_KVM_WALL, WALL));
	assert_false(b->run[0].immediate_exit || b->run[1].immediate_exit);
	/* Of the first CPU's the vDSO of the others may be reading. */
	assert_true(pvclock_wrmsr(&b->p, 1, VMT_MSR_KVM_SYSTEM, (PAGE + 64) | 1));
	assert_true(pvclock_wrmsr(&b->p, 0, VMT_MSR_KVM_SYSTEM, PAGE | 1));
	assert_true(b->run[0].immediate_exit && b->run[1].immediate_exit);
	take_down(b);
}

/* As after a kexec from another CPU than the first. */
static void the_page_of_the_cpu_that_boots_is_the_vdsos(void **state)
{
	struct bench *b = bench();

	(void)state;
	assert_true(pvclock_wrmsr(&b->p, 1, VMT_MSR_KVM_SYSTEM, (PAGE + 64) | 1));
	b->run[0].immediate_exit = b->run[1].immediate_exit = 0;
	assert_true(pvclock_wrmsr(&b->p, 0, VMT_MSR_KVM_SYSTEM, PAGE | 1));
	assert_false(b->run[0].immediate_exit || b->run[1].immediate_exit);
	assert_true(pvclock_wrmsr(&b->p, 1, VMT_MSR_KVM_SYSTEM, 0));
	assert_true(pvclock_wrmsr(&b->p, 1, VMT_MSR_KVM_SYSTEM, (PAGE + 64) | 1));
	assert_true(b->run[0].immediate_exit && b->run[1].immediate_exit);
	/* Nor is one rewritten in place that somebody may be reading all the same. */
	b->run[0].immediate_exit = b->run[1].immediate_exit = 0;
	assert_true(pvclock_wrmsr(&b->p, 0, VMT_MSR_KVM_SYSTEM, PAGE | 1));
	assert_true(b->run[0].immediate_exit && b->run[1].immediate_exit);
	take_down(b);
}

static struct chipset_change jump(struct bench *b)
{
	struct chipset_change change;

	b->p.quiet_ns = 0;
	b->p.checked_ns = hostclock_monotonic_ns();
	assert_true(pvclock_tick(&b->p, &change));
	assert_int_equal(change.kind, VMT_CHANGE_DISCIPLINE);
	assert_int_equal(b->chipset->change.kind, VMT_CHANGE_DISCIPLINE);
	assert_true(change.at_ns == (vmt_ns)change.after_ns);
	tick(b); /* once */
	return change;
}

/* It went on while the host's clock stood still: as if the last sample were older. */
static void a_tsc_that_went_on_alone_starts_the_loop_anew(void **state)
{
	struct bench *b = bench_on(true, true, true);
	struct chipset_change change;
	uint64_t bound_ns;
	int64_t phase_ns;

	(void)state;
	b->p.loop.last.counter /= 2;
	b->p.loop.start_ns -= b->p.loop.start_ns / 2;
	change = jump(b);
	assert_true(change.before_ns <= change.after_ns);
	assert_true(pvclock_phase(&b->p, &phase_ns, &bound_ns));
	assert_in_range(phase_ns + 1000000, 0, 2000000); /* no distance to make up for */
	take_down(b);
}

/* The host slept, and its TSC began anew: as if the last sample had been of a later count. */
static void a_tsc_that_went_back_is_taken_to_have_counted_on(void **state)
{
	struct bench *b = bench_on(true, true, true);
	const uint64_t hz = liveclock_get(&b->chipset->clock).clock.counter_hz;
	struct counted_clock clock;
	struct entry e;
	vmt_ns before;

	(void)state;
	assert_true(pvclock_wrmsr(&b->p, 0, VMT_MSR_KVM_SYSTEM, PAGE | 1));
	clock = liveclock_get(&b->chipset->clock);
	clock.clock.base_counter += 1000 * hz;
	liveclock_set(&b->chipset->clock, &clock);
	b->p.loop.last.counter += 1000 * hz;
	before = chipset_now(b->chipset); /* it stands */
	jump(b);
	assert_true(chipset_now(b->chipset) > before);
	assert_in_range(chipset_now(b->chipset), before, before + NS_PER_S);
	e = entry_at(b, PAGE);
	assert_in_range(guest_ns(&e, hostclock_tsc() + OFFSET), before, before + NS_PER_S);
	take_down(b);
}

static void a_loop_that_cannot_start_says_so(void **state)
{
	struct bench *b = bench_on(true, true, true);
	struct pvclock_config config = b->p.config;
	struct counted_clock clock = liveclock_get(&b->chipset->clock);
	unsigned told = 0;
	struct why why;

	(void)state;
	config.notice = on_no_loop;
	config.owner = &told;
	pvclock_destroy(&b->p);
	assert_int_equal(pvclock_init(&b->p, &config, &why), 0);
	assert_int_equal(told, 0);
	pvclock_destroy(&b->p);
	clock.clock.state = VMT_CLOCK_PAUSED;
	liveclock_set(&b->chipset->clock, &clock);
	assert_int_equal(pvclock_init(&b->p, &config, &why), 0);
	assert_int_equal(told, 1);
	take_down(b);
}

static void a_page_that_is_not_memory_is_nowhere(void **state)
{
	static const uint64_t places[] = {
		MEMORY_BYTES - VMT_KVMCLOCK_BYTES + 4, /* its end is beyond */
		MEMORY_BYTES,
		0xfed00000, /* the HPET */
		0xfee00000, /* the LAPIC */
		UINT64_MAX & ~3ULL,
		UINT64_C(1) << 63,
	};
	struct bench *b = bench();
	uint64_t value;

	(void)state;
	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		assert_true(pvclock_wrmsr(&b->p, 0, VMT_MSR_KVM_SYSTEM, places[i] | 1));
		assert_true(pvclock_wrmsr(&b->p, 0, VMT_MSR_KVM_WALL, places[i]));
		assert_true(pvclock_rdmsr(&b->p, 0, VMT_MSR_KVM_SYSTEM, &value));
		assert_true(value == (places[i] | 1));
	}
	assert_true(pvclock_wrmsr(&b->p, 0, VMT_MSR_KVM_SYSTEM,
				  (MEMORY_BYTES - VMT_KVMCLOCK_BYTES) | 1));
	assert_true(entry_at(b, MEMORY_BYTES - VMT_KVMCLOCK_BYTES).mul > 0);
	take_down(b);
}

static void the_wall_clock_is_utc_at_virtual_time_0(void **state)
{
	struct bench *b = bench();
	struct counted_clock clock = liveclock_get(&b->chipset->clock);
	const int64_t utc = INT64_C(1700000000987654321);
	uint32_t wall[3];

	(void)state;
	clock.clock.utc_offset_ns = utc;
	liveclock_set(&b->chipset->clock, &clock);
	for (int i = 0; i < 2; i++) { /* Linux asks by writing the same again */
		memset(memory_at(&b->memory, WALL, sizeof(wall)), 0xff, sizeof(wall));
		assert_true(pvclock_wrmsr(&b->p, 0, VMT_MSR_KVM_WALL, WALL));
		memcpy(wall, memory_at(&b->memory, WALL, sizeof(wall)), sizeof(wall));
		assert_int_equal(wall[0] & 1, 0);
		assert_int_equal(wall[1], utc / (int64_t)NS_PER_S);
		assert_int_equal(wall[2], utc % (int64_t)NS_PER_S);
	}
	take_down(b);
}

static void other_registers_and_a_clock_that_is_not_shown_are_not_there(void **state)
{
	struct bench *b = bench();
	uint64_t value;

	(void)state;
	assert_false(pvclock_wrmsr(&b->p, 0, 0x13, 1));
	assert_false(pvclock_rdmsr(&b->p, 0, 0x4b564d02, &value));
	take_down(b);
	b = bench_on(true, false, true);
	assert_false(pvclock_wrmsr(&b->p, 0, VMT_MSR_KVM_SYSTEM, PAGE | 1));
	assert_false(pvclock_rdmsr(&b->p, 0, VMT_MSR_KVM_SYSTEM, &value));
	assert_int_equal(entry_at(b, PAGE).mul, 0);
	take_down(b);
}

static void a_reset_forgets_the_pages(void **state)
{
	struct bench *b = bench();
	uint64_t value;

	(void)state;
	assert_true(pvclock_wrmsr(&b->p, 0, VMT_MSR_KVM_SYSTEM, PAGE | 1));
	pvclock_reset(&b->p);
	assert_true(pvclock_rdmsr(&b->p, 0, VMT_MSR_KVM_SYSTEM, &value));
	assert_int_equal(value, 0);
	take_down(b);
}

/* A host whose TSC is not to be relied on: no promise, and a line that is renewed each second. */
static void without_a_stable_tsc_nothing_is_promised(void **state)
{
	struct bench *b = bench_on(false, true, true);
	struct entry before, e;

	(void)state;
	assert_true(pvclock_wrmsr(&b->p, 0, VMT_MSR_KVM_SYSTEM, PAGE | 1));
	before = entry_at(b, PAGE);
	assert_int_equal(before.flags, 0);
	assert_int_equal(before.mul, 2147483648U); /* half a ns a count, at the announced 2 GHz */
	b->p.quiet_ns = 0;
	tick(b);
	e = entry_at(b, PAGE);
	assert_true(e.ns >= before.ns && e.tsc > before.tsc);
	assert_int_not_equal(e.version, before.version);
	take_down(b);
}

/* The guest takes the TSC's frequency from its first page. */
static void the_first_page_says_the_announced_frequency(void **state)
{
	static const int64_t ppt = 80000000;
	struct bench *b = bench_on(true, true, true);
	struct chipset_mark mark;
	uint64_t khz, hz;
	int64_t phase_ns;

	(void)state;
	assert_true(pvclock_phase(&b->p, &phase_ns, &hz));
	chipset_mark(b->chipset, &ppt, &mark);
	assert_int_equal(mark.now.clock.discipline_ppt, ppt);
	assert_true(pvclock_wrmsr(&b->p, 0, VMT_MSR_KVM_SYSTEM, PAGE | 1));
	khz = (UINT64_C(1000000) << 32) / entry_at(b, PAGE).mul;
	hz = liveclock_get(&b->chipset->clock).clock.counter_hz;
	assert_int_equal(khz >> entry_at(b, PAGE).shift, hz / 1000);
	assert_int_equal(liveclock_get(&b->chipset->clock).clock.discipline_ppt, 0);
	b->p.loop.start_host_ns -= 1000000; /* a millisecond late for long */
	b->p.quiet_ns = UINT64_MAX;
	tick(b); /* not yet */
	assert_int_equal(liveclock_get(&b->chipset->clock).clock.discipline_ppt, 0);
	b->p.quiet_ns = 0;
	tick(b);
	assert_true(liveclock_get(&b->chipset->clock).clock.discipline_ppt > 0);
	take_down(b);
}

static void a_tsc_that_the_host_gives_up_takes_the_promise_back(void **state)
{
	struct bench *b = bench_on(true, true, true);
	struct chipset_change change;
	struct entry before, e;
	uint64_t tsc, bound_ns;
	int64_t phase_ns;

	(void)state;
	assert_true(pvclock_wrmsr(&b->p, 0, VMT_MSR_KVM_SYSTEM, PAGE | 1));
	before = entry_at(b, PAGE);
	assert_true(pvclock_leave_tsc(&b->p, &change));
	assert_int_equal(change.kind, VMT_CHANGE_COUNTER);
	e = entry_at(b, PAGE);
	assert_int_equal(e.flags, 0);
	tsc = e.tsc;
	assert_true(guest_ns(&e, tsc) >= guest_ns(&before, tsc));
	assert_false(pvclock_leave_tsc(&b->p, &change)); /* once */
	assert_false(pvclock_phase(&b->p, &phase_ns, &bound_ns));
	take_down(b);
}

/* Its factor is the announced frequency's, which the counter does not keep to. */
static void without_a_stable_tsc_a_page_that_is_ahead_waits_for_the_clock(void **state)
{
	struct bench *b = bench_on(false, true, true);
	struct entry e, before;

	(void)state;
	assert_true(pvclock_wrmsr(&b->p, 0, VMT_MSR_KVM_SYSTEM, PAGE | 1));
	b->p.quiet_ns = 0;
	b->p.face.ns += NS_PER_S; /* as after many seconds of it */
	before = entry_at(b, PAGE);
	tick(b);
	e = entry_at(b, PAGE);
	assert_true(e.ns >= before.ns + NS_PER_S);
	assert_int_equal(e.mul, 2147483648U - 2147483648U / 2000); /* 500 ppm slower */
	b->p.face.ns = 0;                                          /* behind it */
	b->p.written_ns = 0;
	tick(b);
	assert_int_equal(entry_at(b, PAGE).mul, 2147483648U);
	take_down(b);
}

static void a_kernel_that_starts_anew_gets_the_announced_frequency_too(void **state)
{
	struct bench *b = bench_on(true, true, true);
	static const int64_t ppt = 80000000;
	struct chipset_mark mark;

	(void)state;
	assert_true(pvclock_wrmsr(&b->p, 0, VMT_MSR_KVM_SYSTEM, 0)); /* nothing is registered yet */
	assert_false(b->p.registered);
	assert_true(pvclock_wrmsr(&b->p, 0, VMT_MSR_KVM_SYSTEM, PAGE | 1));
	chipset_mark(b->chipset, &ppt, &mark);
	assert_true(pvclock_wrmsr(&b->p, 1, VMT_MSR_KVM_SYSTEM, (PAGE + 64) | 1));
	assert_int_equal(liveclock_get(&b->chipset->clock).clock.discipline_ppt, ppt);
	for (uint32_t cpu = 0; cpu < CPUS; cpu++)
		assert_true(pvclock_wrmsr(&b->p, cpu, VMT_MSR_KVM_SYSTEM, 0));
	assert_true(pvclock_wrmsr(&b->p, 0, VMT_MSR_KVM_SYSTEM, PAGE | 1));
	assert_int_equal(liveclock_get(&b->chipset->clock).clock.discipline_ppt, 0);
	take_down(b);
}

static void a_page_that_lags_is_taken_to_the_clock_forward(void **state)
{
	struct bench *b = bench();
	struct entry before, e;
	uint64_t tsc;

	(void)state;
	assert_true(pvclock_wrmsr(&b->p, 0, VMT_MSR_KVM_SYSTEM, PAGE | 1));
	b->p.quiet_ns = 0;
	b->p.face.ns -= 1000; /* as after a long time */
	before = entry_at(b, PAGE);
	tick(b);
	e = entry_at(b, PAGE);
	assert_int_not_equal(e.version, before.version);
	tsc = hostclock_tsc() + OFFSET;
	assert_in_range(guest_ns(&e, tsc), guest_ns(&before, tsc) - 1, guest_ns(&before, tsc) + 1);
	before = e;
	b->p.face.ns -= 1000;
	b->p.written_ns = hostclock_monotonic_ns() + 600 * NS_PER_S;
	tick(b); /* the second is not over */
	assert_int_equal(entry_at(b, PAGE).version, before.version);
	take_down(b);
}

static void *run_guest(void *arg)
{
	struct bench *b = arg;
	struct vcpu *v = &b->vcpus[1];
	const uint32_t *version = memory_at(&b->memory, ACROSS, VMT_KVMCLOCK_BYTES);

	while (!__atomic_load_n(&b->stop, __ATOMIC_SEQ_CST)) {
		(void)gate_enter(&b->gate, &v->inside, &v->called);
		while (!__atomic_exchange_n(&v->run->immediate_exit, 0, __ATOMIC_SEQ_CST) &&
		       !__atomic_load_n(&b->stop, __ATOMIC_SEQ_CST))
			b->odd += __atomic_load_n(version, __ATOMIC_ACQUIRE) & 1;
		gate_leave(&b->gate, &v->inside);
	}
	return NULL;
}

/* A vDSO that finds one spins until the writer has its turn again.  Here the writer is held up
 * between its two writes of the version by a page that the host has to find first. */
static void no_cpu_ever_sees_an_odd_version(void **state)
{
	struct bench *b = bench();
	void *second = memory_at(&b->memory, ACROSS + 4, MEMORY_PAGE);
	pthread_t guest;

	(void)state;
	assert_int_equal(pthread_create(&guest, NULL, run_guest, b), 0);
	for (int i = 0; i < ROUNDS; i++) {
		while (!__atomic_load_n(&b->vcpus[1].inside, __ATOMIC_SEQ_CST))
			sched_yield();
		assert_int_equal(madvise(second, MEMORY_PAGE, MADV_DONTNEED), 0);
		assert_true(pvclock_wrmsr(&b->p, 0, VMT_MSR_KVM_SYSTEM, ACROSS | 1));
	}
	__atomic_store_n(&b->stop, true, __ATOMIC_SEQ_CST);
	pthread_join(guest, NULL);
	assert_int_equal(b->odd, 0);
	take_down(b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_guest_finds_virtual_time_in_its_page),
		cmocka_unit_test(all_pages_say_one_line),
		cmocka_unit_test(a_cpu_that_the_guest_has_moved_has_a_line_of_its_own),
		cmocka_unit_test(where_nothing_moves_a_tsc_a_write_of_it_does_nothing),
		cmocka_unit_test(a_scaled_guest_finds_virtual_time_in_its_page),
		cmocka_unit_test(a_page_that_was_given_back_is_left_alone),
		cmocka_unit_test(a_page_with_something_else_in_it_is_left_alone),
		cmocka_unit_test(a_cpu_that_registers_its_page_disturbs_nobody),
		cmocka_unit_test(the_page_of_the_cpu_that_boots_is_the_vdsos),
		cmocka_unit_test(a_tsc_that_went_on_alone_starts_the_loop_anew),
		cmocka_unit_test(a_tsc_that_went_back_is_taken_to_have_counted_on),
		cmocka_unit_test(a_loop_that_cannot_start_says_so),
		cmocka_unit_test(a_page_that_is_not_memory_is_nowhere),
		cmocka_unit_test(the_wall_clock_is_utc_at_virtual_time_0),
		cmocka_unit_test(other_registers_and_a_clock_that_is_not_shown_are_not_there),
		cmocka_unit_test(a_reset_forgets_the_pages),
		cmocka_unit_test(without_a_stable_tsc_nothing_is_promised),
		cmocka_unit_test(the_first_page_says_the_announced_frequency),
		cmocka_unit_test(a_tsc_that_the_host_gives_up_takes_the_promise_back),
		cmocka_unit_test(without_a_stable_tsc_a_page_that_is_ahead_waits_for_the_clock),
		cmocka_unit_test(a_kernel_that_starts_anew_gets_the_announced_frequency_too),
		cmocka_unit_test(a_page_that_lags_is_taken_to_the_clock_forward),
		cmocka_unit_test(no_cpu_ever_sees_an_odd_version),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
