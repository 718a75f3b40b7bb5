/* SPDX-License-Identifier: Apache-2.0 */
/* vmstate_cpu_test.c - a CPU's registers leave one KVM and arrive in another: all of them, in the
 * order in which they must, and what happens when the other one is not like the first. */
#include "../cpu_bench.h"

static void every_register_arrives(void **state)
{
	struct random random = random_start();

	(void)state;
	for (int run = 0; run < 40; run++) {
		struct vmstate_parts parts;
		struct why why = {""};

		start(&random);
		kvm.sregs2 = run & 1;
		kvm.keeps_nent = run & 8;
		kvm.xsave = run & 2 ? 8192 : run & 4 ? 4096 : 0;
		parts = save(NULL);
		if (load(&parts, 0, &why) < 0)
			fail_msg("%s", why.text);
		if (kvm.sregs2)
			memcpy(&cpus[1].sregs, &cpus[0].sregs, sizeof(cpus[0].sregs));
		else
			memcpy(&cpus[1].sregs2, &cpus[0].sregs2, sizeof(cpus[0].sregs2));
		if (kvm.xsave <= 4096)
			memcpy(cpus[1].xsave + 4096, cpus[0].xsave + 4096, 4096);
		assert_memory_equal(&cpus[0], &cpus[1], offsetof(struct fake, leaves));
		vmstate_parts_free(&parts);
	}
}

static void the_order_is_this(void **state)
{
	static const unsigned long order[] = {
		KVM_SET_SREGS,       KVM_SET_REGS, KVM_SET_XSAVE,     KVM_SET_XCRS,
		KVM_SET_MSRS,        KVM_SET_MSRS, KVM_SET_MSRS,      KVM_SET_MSRS,
		KVM_SET_LAPIC,       KVM_SET_MSRS, KVM_SET_DEBUGREGS, KVM_SET_MP_STATE,
		KVM_SET_VCPU_EVENTS,
	};
	struct random random = random_start();
	struct vmstate_parts parts;
	struct why why;

	(void)state;
	start(&random);
	parts = save(NULL);
	assert_int_equal(load(&parts, 0, &why), 0);
	assert_memory_equal(kvm.order, order, sizeof(order));
	assert_int_equal(kvm.n, sizeof(order) / sizeof(order[0]));
	vmstate_parts_free(&parts);
}

/* The file has it, that KVM has it not now. */
static void a_deadline_that_is_held_is_saved(void **state)
{
	static const struct lapic_timer held = {.deadline = 1234567};
	struct random random = random_start();
	struct vmstate_parts parts;
	struct why why;

	(void)state;
	start(&random);
	cpus[0].deadline = 0;
	parts = save(&held);
	assert_int_equal(load(&parts, 0, &why), 0);
	assert_int_equal(cpus[1].deadline, 1234567);
	vmstate_parts_free(&parts);
}

/* A deadline that KVM drops is a guest that waits for ever. */
static void a_deadline_that_is_dropped_is_an_error(void **state)
{
	struct random random = random_start();
	struct vmstate_parts parts;
	struct why why;

	(void)state;
	start(&random);
	parts = save(NULL);
	kvm.drops_deadline = true;
	assert_int_equal(load(&parts, 0, &why), 0); /* 0: it has come at once */
	cpus[1].deadline = 5;
	assert_int_equal(load(&parts, 0, &why), -EIO);
	assert_non_null(strstr(why.text, "does not take CPU 3's TSC deadline"));
	vmstate_parts_free(&parts);
	cpus[0].deadline = 0; /* none: nothing is written */
	parts = save(NULL);
	assert_int_equal(load(&parts, 0, &why), 0);
	assert_int_equal(cpus[1].deadline, 5);
	vmstate_parts_free(&parts);
}

static void whatever_kvm_refuses_is_named(void **state)
{
	static const struct {
		unsigned long request;
		const char *words;
	} cases[] = {
		{KVM_GET_REGS, "to tell CPU 3's registers"},
		{KVM_GET_LAPIC, "to tell CPU 3's local APIC"},
		{KVM_GET_MSR_INDEX_LIST, "to list a CPU's registers"},
		{KVM_GET_MSRS, "to tell CPU 3's registers"},
		{KVM_SET_SREGS, "CPU 3's segments"},
		{KVM_SET_XSAVE, "CPU 3's FPU"},
		{KVM_SET_XCRS, "CPU 3's XCR0"},
		{KVM_SET_MSRS, "CPU 3's registers"},
		{KVM_SET_LAPIC, "CPU 3's local APIC"},
		{KVM_SET_MP_STATE, "CPU 3's run state"},
		{KVM_SET_VCPU_EVENTS, "CPU 3's pending events"},
	};
	struct random random = random_start();

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct vmstate_parts parts = {0};
		struct why why = {""};
		int result;

		start(&random);
		kvm.refuses = cases[i].request;
		result = vmstate_cpu_save(&vm, &old, &ours, &none, &parts, &why);
		if (result == 0)
			result = load(&parts, 0, &why);
		assert_int_equal(result, -EIO);
		if (!strstr(why.text, cases[i].words))
			fail_msg("\"%s\" is not in: %s", cases[i].words, why.text);
		vmstate_parts_free(&parts);
	}
}

static void a_register_that_cannot_be_set_and_differs_is_named(void **state)
{
	struct random random = random_start();
	struct vmstate_parts parts;
	struct why why;

	(void)state;
	start(&random);
	parts = save(NULL);
	cpus[1].msrs[READ_ONLY] = 98;
	assert_int_equal(load(&parts, 0, &why), -EIO);
	assert_non_null(strstr(why.text, "KVM refused 0x63 for CPU 3's register 0xc0000117"));
	vmstate_parts_free(&parts);
}

static void timer(uint32_t lvtt, uint32_t divide, uint32_t initial, uint32_t current)
{
	uint8_t *regs = (uint8_t *)cpus[0].lapic.regs;

	memset(regs, 0, sizeof(cpus[0].lapic.regs));
	put32(regs + LVTT, lvtt);
	put32(regs + DIVIDE, divide);
	put32(regs + INITIAL, initial);
	put32(regs + CURRENT, current);
}

static void the_lapic_timer_has_less_to_go(void **state)
{
	enum {
		ONCE = 0xec,
		PERIODIC = 0xec | 1 << 17,
		MASKED = PERIODIC | 1 << 16,
		BY_1 = 0xb,
		BY_16 = 3
	};
	static const struct {
		uint32_t lvtt, divide, initial, current;
		uint64_t gap_ns;
		uint32_t left;
		bool requested;
	} cases[] = {
		{ONCE, BY_1, 5000, 3000, 0, 3000, false},
		{ONCE, BY_1, 5000, 3000, 1000, 2000, false},
		{ONCE, BY_16, 5000, 3000, 1000, 3000 - 62, false},
		{ONCE, BY_1, 5000, 3000, 3000, 0, false}, /* KVM makes it due at once */
		{ONCE, BY_1, 5000, 3000, UINT64_MAX, 0, false},
		{ONCE, BY_1, 5000, 0, 0, 0, false}, /* it has fired: KVM would fire it again */
		{ONCE, BY_1, 5000, 0, 1000, 0, false},
		{ONCE, BY_1, 0, 0, 1000, 0, false},
		{PERIODIC, BY_1, 5000, 3000, 2999, 1, false},
		{PERIODIC, BY_1, 5000, 3000, 3000, 5000, true},
		{PERIODIC, BY_1, 5000, 3000, 3001, 4999, true},
		{PERIODIC, BY_16, 5000, 3000, 16 * (3000 + 3 * 5000 + 7) + 15, 4993, true},
		{MASKED, BY_1, 5000, 3000, 8001, 4999, false},
		{2 << 17, BY_1, 5000, 3000, 1000, 3000, false}, /* the TSC moves, not this */
	};
	struct random random = random_start();

	(void)state;
	start(&random);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const uint8_t *regs = (uint8_t *)cpus[1].lapic.regs;
		const struct lapic_timer held = {.counts = cases[i].current,
						 .initial = cases[i].initial,
						 .left = cases[i].current};
		struct vmstate_parts parts;
		struct why why;

		/* It stood there, and KVM has it not. */
		timer(cases[i].lvtt, cases[i].divide, held.counts ? 0 : held.initial, 0);
		parts = save(&held);
		assert_int_equal(load(&parts, cases[i].gap_ns, &why), 0);
		assert_int_equal(get32(regs + CURRENT), cases[i].left);
		assert_int_equal(get32(regs + INITIAL),
				 cases[i].lvtt == ONCE && !cases[i].current ? 0 : cases[i].initial);
		assert_int_equal(get32(regs + REQUESTS + 7 * 16) >> 12 & 1, cases[i].requested);
		vmstate_parts_free(&parts);
	}
}

static void forged_or_damaged_records_are_refused(void **state)
{
	struct random random = random_start();
	struct vmstate_parts parts;
	unsigned taken = 0;
	struct vmstate_part part;
	struct vmstate_cpu s;
	struct why why;

	(void)state;
	start(&random);
	parts = save(NULL);
	part = parts.parts[0];
	/* the last record is the deadline, which need not be there */
	for (part.length = 0; part.length < parts.parts[0].length; part.length += 4)
		assert_int_equal(vmstate_cpu_parse(&part, &ours, &s, &why),
				 part.length == parts.parts[0].length - 16 ? 0 : -EINVAL);
	part.version = 2;
	assert_int_equal(vmstate_cpu_parse(&part, &ours, &s, &why), -ENOTSUP);
	part = parts.parts[0];
	for (int run = 0; run < 4000; run++) {
		uint32_t at = random_below(&random, 1200) & ~3U;
		uint32_t was = get32(part.bytes + at);
		uint32_t to = random_below(&random, 2) ? random_below(&random, 20)
						       : (uint32_t)random_next(&random);

		put32(part.bytes + at, to);
		if (vmstate_cpu_parse(&part, &ours, &s, &why) == 0)
			taken++;
		put32(part.bytes + at, was);
	}
	assert_in_range(taken, 1000, 3990); /* a register's value may be any */
	vmstate_parts_free(&parts);
}

/* KVM reads as much as this CPU's state has. */
static void a_record_of_less_fpu_state_is_filled_up_with_zeros(void **state)
{
	struct random random = random_start();
	static const uint8_t zeros[4096];

	(void)state;
	for (int run = 0; run < 10; run++) {
		struct vmstate_parts parts;
		struct why why = {""};

		start(&random);
		parts = save(NULL);
		kvm.xsave = 8192;
		if (load(&parts, 0, &why) < 0)
			fail_msg("%s", why.text);
		assert_memory_equal(cpus[1].xsave, cpus[0].xsave, 4096);
		assert_memory_equal(cpus[1].xsave + 4096, zeros, sizeof(zeros));
		vmstate_parts_free(&parts);
	}
}

/* As a file that somebody made up has them. */
static void registers_that_are_never_saved_are_refused(void **state)
{
	static const struct vmstate_cpu_ours theirs;
	static const struct {
		uint32_t msr;
		int ours, theirs;
	} cases[] = {
		{0x10, -EINVAL, -EINVAL},
		{0x3b, -EINVAL, -EINVAL},
		{0x6e0, -EINVAL, -EINVAL},
		{0x4b564d01, -EINVAL, 0},
		{0x12, -EINVAL, 0},
		{0x4b564d03, -EINVAL, 0},
		{0x40000020, -EINVAL, -EINVAL},
		{0x174, 0, 0},
	};
	struct random random = random_start();
	struct vmstate_parts parts;
	struct vmstate_cpu s;
	struct why why;
	uint8_t *entry;

	(void)state;
	start(&random);
	parts = save(NULL);
	assert_int_equal(vmstate_cpu_parse(&parts.parts[0], &ours, &s, NULL), 0);
	entry = parts.parts[0].bytes + (s.record[VMSTATE_CPU_MSRS].bytes - parts.parts[0].bytes) +
		200 * sizeof(struct kvm_msr_entry);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		put32(entry, cases[i].msr);
		why.text[0] = '\0';
		assert_int_equal(vmstate_cpu_parse(&parts.parts[0], &ours, &s, &why),
				 cases[i].ours);
		assert_int_equal(!strstr(why.text, "which vmtime never writes there"),
				 cases[i].ours == 0);
		assert_int_equal(vmstate_cpu_parse(&parts.parts[0], &theirs, &s, &why),
				 cases[i].theirs);
	}
	vmstate_parts_free(&parts);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_register_arrives),
		cmocka_unit_test(the_order_is_this),
		cmocka_unit_test(a_deadline_that_is_held_is_saved),
		cmocka_unit_test(a_deadline_that_is_dropped_is_an_error),
		cmocka_unit_test(whatever_kvm_refuses_is_named),
		cmocka_unit_test(a_register_that_cannot_be_set_and_differs_is_named),
		cmocka_unit_test(the_lapic_timer_has_less_to_go),
		cmocka_unit_test(a_record_of_less_fpu_state_is_filled_up_with_zeros),
		cmocka_unit_test(registers_that_are_never_saved_are_refused),
		cmocka_unit_test(forged_or_damaged_records_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
