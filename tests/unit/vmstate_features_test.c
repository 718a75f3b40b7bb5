/* SPDX-License-Identifier: Apache-2.0 */
/* vmstate_features_test.c - a machine goes only where its CPUs can do what they could, and that is
 * known before any of its memory goes there. */
#include "../machine_bench.h"
#include "kvm/bytes.h"
#include "kvm/vmstate_features.h"
#include "kvm/vmstate_machine.h"

enum { HEAD = 16, ENTRY = sizeof(struct kvm_cpuid_entry2) };

static const struct vmstate_cpu_ours ours = {.kvm_clock = true, .steal = true};

/* Of the bench's CPU 0; the caller may change it. */
static struct vmstate_part *described(struct machine *m, struct vmstate_parts *parts)
{
	struct why why = {""};

	m->running = true;
	if (machine_describe(m, parts, &why) < 0)
		fail_msg("%s", why.text);
	assert_non_null(vmstate_parts_find(parts, VMSTATE_MACHINE, 0));
	for (uint32_t i = 0; i < parts->n; i++)
		if (parts->parts[i].kind == VMSTATE_FEATURES)
			return &parts->parts[i];
	fail_msg("there are no features");
	return NULL;
}

static void the_same_cpu_will_do(void **state)
{
	struct machine *m = bench_new();
	struct vmstate_parts parts = {0};
	const struct vmstate_part *part = described(m, &parts);
	struct why why = {""};

	(void)state;
	assert_true(vmstate_parts_knows(part->kind, part->version));
	if (vmstate_features_compare(part, &m->vm, &m->vcpus[0], &ours, &why) < 0)
		fail_msg("%s", why.text);
	vmstate_parts_free(&parts);
	bench_free(m);
}

static void refused(struct machine *m, const struct vmstate_part *part, int error, const char *word)
{
	struct why why = {""};

	assert_int_equal(vmstate_features_compare(part, &m->vm, &m->vcpus[0], &ours, &why), error);
	if (!strstr(why.text, word))
		fail_msg("%s", why.text);
}

/* The first entry becomes that leaf, which the bench's CPU has not: its bits are 0. */
static void a_feature_that_is_not_there_is_named(void **state)
{
	struct machine *m = bench_new();
	struct vmstate_parts parts = {0};
	struct vmstate_part *part = described(m, &parts);
	struct kvm_cpuid_entry2 e = {.function = 7, .ebx = 1U << 16};

	(void)state;
	memcpy(part->bytes + HEAD, &e, ENTRY);
	refused(m, part, -EXDEV, "lack avx512f (CPUID 0x7.0, EBX)");
	refused(m, part, -EXDEV, "migrate to a host whose");
	e = (struct kvm_cpuid_entry2){.function = 0x1d, .index = 1, .ecx = 77};
	memcpy(part->bytes + HEAD, &e, ENTRY);
	refused(m, part, -EXDEV, "CPUID 0x1d.1 has 0x0 in ECX and had 0x4d");
	vmstate_parts_free(&parts);
	bench_free(m);
}

static void a_register_that_kvm_does_not_know_here_is_named(void **state)
{
	struct machine *m = bench_new();
	struct vmstate_parts parts = {0};
	struct vmstate_part *part = described(m, &parts);

	(void)state;
	put32(part->bytes + part->length - 4, 0xc0000104);
	refused(m, part, -EXDEV, "no register 0xc0000104");
	vmstate_parts_free(&parts);
	bench_free(m);
}

static void what_no_vmtime_has_written_is_refused(void **state)
{
	struct machine *m = bench_new();
	struct vmstate_parts parts = {0};
	struct vmstate_part *part = described(m, &parts);

	(void)state;
	put32(part->bytes, get32(part->bytes) + 1);
	refused(m, part, -EINVAL, "none that vmtime has written");
	put32(part->bytes, 0xffffffff);
	put32(part->bytes + 4, 0xffffffff);
	refused(m, part, -EINVAL, "none that vmtime has written");
	part->length = 15;
	refused(m, part, -EINVAL, "none that vmtime has written");
	part->version = 2;
	refused(m, part, -ENOTSUP, "version 2");
	vmstate_parts_free(&parts);
	bench_free(m);
}

/* The first of them so many times, and all registers. */
static struct vmstate_part with_leaves(const struct vmstate_part *part, uint32_t n)
{
	const uint32_t was = get32(part->bytes);
	const size_t msrs = part->length - HEAD - was * (size_t)ENTRY;
	struct vmstate_part p = *part;

	p.length = (uint32_t)(HEAD + n * (size_t)ENTRY + msrs);
	p.bytes = calloc(1, p.length);
	assert_non_null(p.bytes);
	memcpy(p.bytes, part->bytes, HEAD);
	put32(p.bytes, n);
	for (uint32_t i = 0; i < n; i++)
		memcpy(p.bytes + HEAD + i * (size_t)ENTRY, part->bytes + HEAD, ENTRY);
	memcpy(p.bytes + p.length - msrs, part->bytes + part->length - msrs, msrs);
	return p;
}

/* Each of which this host has. */
static void no_machine_has_more_leaves_than_kvm_takes(void **state)
{
	struct machine *m = bench_new();
	struct vmstate_parts parts = {0};
	const struct vmstate_part *part = described(m, &parts);
	struct vmstate_part most = with_leaves(part, CPUID_MAX_ENTRIES);
	struct vmstate_part more = with_leaves(part, CPUID_MAX_ENTRIES + 1);
	struct why why = {""};

	(void)state;
	if (vmstate_features_compare(&most, &m->vm, &m->vcpus[0], &ours, &why) < 0)
		fail_msg("%s", why.text);
	refused(m, &more, -EINVAL, "the CPUs' features are none that vmtime has written");
	free(most.bytes);
	free(more.bytes);
	vmstate_parts_free(&parts);
	bench_free(m);
}

/* The TSC of the host that it comes from, beside this one's. */
static int tsc_of(struct machine *m, uint32_t khz, uint32_t frac, bool portable, struct why *why)
{
	struct machine_config config = *m->config;
	struct vmstate_parts parts = {0};
	int result;

	m->tsc_host.tsc_class = PROBE_TSC_OFFSET;
	m->tsc.host.frac = frac;
	config.tsc.portable = portable;
	m->config = &config;
	assert_int_equal(vmstate_machine_save(&config, khz, &parts, NULL), 0);
	result = vmstate_check_tsc(m, &parts, why);
	vmstate_parts_free(&parts);
	return result;
}

static void a_tsc_of_another_frequency_needs_scaling_or_a_guest_that_does_not_mind(void **state)
{
	struct machine *m = bench_new();
	const struct machine_config *config = m->config;
	struct why why = {""};

	(void)state;
	assert_int_equal(tsc_of(m, 2500000, 0, false, &why), 0);
	assert_int_equal(tsc_of(m, 2500200, 0, false, &why), 0); /* 80 ppm: KVM's tolerance */
	assert_int_equal(tsc_of(m, 2600000, 0, false, &why), -EXDEV);
	assert_non_null(strstr(why.text, "2600000 kHz"));
	assert_int_equal(tsc_of(m, 2600000, 0, true, &why), 0);
	assert_int_equal(tsc_of(m, 2600000, VMT_TSC_FRAC_VMX, false, &why), 0);
	m->config = config;
	bench_free(m);
}

static void a_kvm_that_shows_guests_its_own_tsc_takes_none(void **state)
{
	struct machine *m = bench_new();
	struct vmstate_parts parts = {0};
	struct why why = {""};

	(void)state;
	described(m, &parts);
	m->tsc_host.tsc_class = PROBE_TSC_NONE;
	m->migrates = true;
	assert_int_equal(vmstate_check_tsc(m, &parts, &why), -ENODEV);
	assert_non_null(strstr(why.text, "a machine cannot be taken over here"));
	assert_non_null(strstr(why.text, "use a host with svm or vmx"));
	m->tsc_host.tsc_class = PROBE_TSC_OFFSET;
	assert_int_equal(vmstate_check_tsc(m, &parts, &why), 0);
	vmstate_parts_free(&parts);
	bench_free(m);
}

static void the_time_of_a_machine_is_saved_before_and_without_the_rest(void **state)
{
	struct machine *m = bench_new();
	struct vmstate_parts time = {0}, all = bench_save(m);

	(void)state;
	bench.settled = 0;
	m->running = true;
	assert_int_equal(machine_save_time(m, &time, NULL), 0);
	assert_int_equal(bench.settled, 0); /* no CPU was asked */
	assert_int_equal(time.n, 3);
	assert_non_null(vmstate_parts_find(&time, VMSTATE_HOST, 0)); /* no file has that */
	for (uint32_t i = 0; i < time.n; i++) {
		const struct vmstate_part *p = &time.parts[i];
		const struct vmstate_part *same = vmstate_parts_find(&all, p->kind, 0);

		if (p->kind == VMSTATE_HOST)
			continue;
		assert_non_null(same);
		assert_int_equal(p->length, same->length);
		assert_memory_equal(p->bytes, same->bytes, p->length);
	}
	m->pause.paused = false;
	assert_int_equal(machine_save_time(m, &time, NULL), -EBUSY);
	m->running = false;
	assert_int_equal(machine_save_time(m, &time, NULL), -EAGAIN);
	vmstate_parts_free(&time);
	vmstate_parts_free(&all);
	bench_free(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_same_cpu_will_do),
		cmocka_unit_test(a_feature_that_is_not_there_is_named),
		cmocka_unit_test(a_register_that_kvm_does_not_know_here_is_named),
		cmocka_unit_test(what_no_vmtime_has_written_is_refused),
		cmocka_unit_test(no_machine_has_more_leaves_than_kvm_takes),
		cmocka_unit_test(
			a_tsc_of_another_frequency_needs_scaling_or_a_guest_that_does_not_mind),
		cmocka_unit_test(a_kvm_that_shows_guests_its_own_tsc_takes_none),
		cmocka_unit_test(the_time_of_a_machine_is_saved_before_and_without_the_rest),
	};

	return cmocka_run_group_tests_name("vmstate_features", tests, NULL, NULL);
}
