/* SPDX-License-Identifier: Apache-2.0 */
/* tsc_test.c - the guest's time stamp counters: what the hardware makes of ratio and offset, and
 * what a guest makes of the registers. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include <vmtime/clock.h>
#include <vmtime/kvmclock.h>
#include <vmtime/tsc.h>

#include "../random.h"
#include "core/snap.h"

enum { CPUS = 4, HOST_KHZ = 2400000 };

#define NOW UINT64_C(123456789012345) /* of the host's count */

__extension__ typedef unsigned __int128 u128;

static struct vmt_tsc powered_on(uint32_t frac)
{
	const struct vmt_tsc_host host = {
		.khz = HOST_KHZ, .frac = frac, .tolerance_ppm = VMT_TSC_TOLERANCE_PPM};
	struct vmt_tsc s;

	assert_int_equal(vmt_tsc_init(&s, CPUS, &host), 0);
	vmt_tsc_set(&s, NOW, 0);
	return s;
}

static uint64_t read_msr(const struct vmt_tsc *s, uint64_t host, uint32_t cpu, uint32_t msr)
{
	uint64_t value;

	assert_int_equal(vmt_tsc_read(s, host, cpu, msr, &value), 0);
	return value;
}

/* What KVM computes: mul_u64_u32_div(1 << frac, khz, host_khz). */
static void a_ratio_is_rounded_down_at_each_kilohertz(void **state)
{
	static const uint32_t hosts[] = {1996249, 2400000, 2893202, 3000000};

	(void)state;
	for (int i = 0; i < 4; i++)
		for (uint32_t khz = hosts[i] - 2000; khz < hosts[i] + 2000; khz++)
			for (uint32_t frac = 32; frac <= 48; frac += 16) {
				uint64_t ratio;
				u128 exact = (u128)khz << frac;

				assert_int_equal(vmt_tsc_ratio(hosts[i], khz, frac, &ratio), 0);
				assert_true((u128)ratio * hosts[i] <= exact);
				assert_true((u128)(ratio + 1) * hosts[i] > exact);
			}
}

static void ratios_computed_by_hand(void **state)
{
	uint64_t ratio;

	(void)state;
	assert_int_equal(vmt_tsc_ratio(3000000, 2000000, 32, &ratio), 0);
	assert_true(ratio == 2863311530); /* 2^33 / 3 */
	assert_int_equal(vmt_tsc_ratio(3000000, 2000000, 48, &ratio), 0);
	assert_true(ratio == 187649984473770); /* 2^49 / 3 */
	assert_int_equal(vmt_tsc_ratio(2400000, 2400000, 48, &ratio), 0);
	assert_true(ratio == UINT64_C(1) << 48);
}

static void a_ratio_that_the_hardware_has_no_room_for_is_refused(void **state)
{
	uint64_t ratio = 7;

	(void)state;
	assert_int_equal(vmt_tsc_ratio(1, 255, 32, &ratio), 0);
	assert_int_equal(vmt_tsc_ratio(1, 256, 32, &ratio), -EINVAL); /* 8 bits before the point */
	assert_int_equal(vmt_tsc_ratio(1, 65535, 48, &ratio), 0);
	assert_int_equal(vmt_tsc_ratio(1, 65536, 48, &ratio), -EINVAL); /* 16 */
	assert_int_equal(vmt_tsc_ratio(2400000, 0, 48, &ratio), -EINVAL);
	assert_int_equal(vmt_tsc_ratio(0, 2400000, 48, &ratio), -EINVAL);
	assert_int_equal(vmt_tsc_ratio(2400000, 2400000, 0, &ratio), -EINVAL);
	assert_int_equal(vmt_tsc_ratio(2400000, 2400000, 40, &ratio), -EINVAL);
}

static void within_250_ppm_kvm_does_not_scale(void **state)
{
	const struct vmt_tsc_host host = {.khz = 2400001, .tolerance_ppm = 250};
	struct vmt_tsc s = powered_on(VMT_TSC_FRAC_VMX), before = s;

	(void)state;
	assert_false(vmt_tsc_tolerated(&host, 2399399)); /* 2399400.99... is cut off */
	assert_true(vmt_tsc_tolerated(&host, 2399400));
	assert_true(vmt_tsc_tolerated(&host, 2400601)); /* 2400601.00... */
	assert_false(vmt_tsc_tolerated(&host, 2400602));
	/* So a guest told such a frequency would be told a wrong one. */
	assert_int_equal(vmt_tsc_scale(&s, NOW, HOST_KHZ + 600), -EINVAL);
	assert_memory_equal(&s, &before, sizeof(s));
	assert_int_equal(vmt_tsc_scale(&s, NOW, HOST_KHZ), 0);
	assert_int_equal(vmt_tsc_scale(&s, NOW, HOST_KHZ + 601), 0);
	assert_int_equal(s.khz, HOST_KHZ + 601);
}

static void virtual_time_begins_at_0_on_all_cpus(void **state)
{
	struct vmt_tsc s = powered_on(0);

	(void)state;
	for (uint32_t cpu = 0; cpu < CPUS; cpu++) {
		assert_true(vmt_tsc_at(&s, cpu, NOW) == 0);
		assert_true(vmt_tsc_at(&s, cpu, NOW + 1000) == 1000);
		assert_true(vmt_tsc_offset(&s, cpu) == 0 - NOW); /* modulo 2^64 */
	}
	assert_true(vmt_tsc_agree(&s));
}

static void offsets_and_counts_wrap(void **state)
{
	struct random random = random_start();

	(void)state;
	for (int i = 0; i < 100000; i++) {
		struct vmt_tsc s = powered_on(i % 2 ? VMT_TSC_FRAC_VMX : VMT_TSC_FRAC_SVM);
		uint64_t host = random_wide(&random), guest = random_wide(&random);
		uint64_t later = random_wide(&random) >> 8, scaled;

		(void)vmt_tsc_scale(&s, host, 100000 + random_below(&random, 6000000));
		vmt_tsc_set(&s, host, guest);
		assert_true(vmt_tsc_at(&s, 1, host) == guest);
		/* What the hardware does with the two numbers that it is given. */
		scaled = (uint64_t)((u128)(host + later) * s.ratio >> s.host.frac);
		assert_true(vmt_tsc_at(&s, 1, host + later) == scaled + vmt_tsc_offset(&s, 1));
	}
}

/* 2^63 is where signed arithmetic would turn. */
static void a_guests_count_passes_2_to_the_63rd_and_the_64th(void **state)
{
	static const uint64_t marks[] = {UINT64_C(1) << 63, 0};

	(void)state;
	for (int i = 0; i < 2; i++) {
		struct vmt_tsc s = powered_on(0);

		vmt_tsc_set(&s, NOW, marks[i] - 5);
		assert_true(vmt_tsc_at(&s, 0, NOW + 4) == marks[i] - 1);
		assert_true(vmt_tsc_at(&s, 0, NOW + 5) == marks[i]);
	}
}

static void another_frequency_begins_where_the_old_one_was(void **state)
{
	struct random random = random_start();
	struct vmt_tsc s = powered_on(VMT_TSC_FRAC_SVM);
	uint64_t host = NOW;

	(void)state;
	s.adjust[2] = 12345;
	for (int i = 0; i < 10000; i++) {
		uint32_t khz = 1000000 + random_below(&random, 4000000);
		uint64_t before = vmt_tsc_at(&s, 2, host), after;

		if (vmt_tsc_scale(&s, host, khz) < 0)
			continue;
		assert_true(vmt_tsc_at(&s, 2, host) == before);
		/* And it runs at its rate: a second later it has gone a second's counts, less what
		 * rounding the ratio down takes. */
		after = vmt_tsc_at(&s, 2, host + UINT64_C(1000) * HOST_KHZ);
		assert_in_range(after - before, UINT64_C(1000) * khz - 2, UINT64_C(1000) * khz);
		host += random_below(&random, 1000000000);
	}
}

static void without_the_hardware_there_is_one_frequency(void **state)
{
	struct vmt_tsc s = powered_on(0), before = s;

	(void)state;
	assert_int_equal(vmt_tsc_scale(&s, NOW, 2000000), -EINVAL);
	assert_memory_equal(&s, &before, sizeof(s));
	assert_int_equal(vmt_tsc_scale(&s, NOW, HOST_KHZ), 0);
}

static void a_cpu_that_is_added_later_agrees(void **state)
{
	struct vmt_tsc s = powered_on(VMT_TSC_FRAC_VMX);

	(void)state;
	assert_int_equal(vmt_tsc_scale(&s, NOW, 2000000), 0);
	assert_int_equal(vmt_tsc_add_cpu(&s), CPUS);
	assert_true(vmt_tsc_agree(&s));
	assert_true(vmt_tsc_at(&s, CPUS, NOW + 99999) == vmt_tsc_at(&s, 0, NOW + 99999));
	assert_true(vmt_tsc_offset(&s, CPUS) == vmt_tsc_offset(&s, 0)); /* KVM compares these */
	while (s.cpus < VMT_TSC_CPUS)
		assert_true(vmt_tsc_add_cpu(&s) > 0);
	assert_int_equal(vmt_tsc_add_cpu(&s), -EINVAL);
}

/* SDM 18.17.3: a write of the count adds to the register what it adds to the count. */
static void a_guest_that_sets_its_count_finds_it_in_the_register(void **state)
{
	struct vmt_tsc s = powered_on(0);

	(void)state;
	assert_int_equal(vmt_tsc_write(&s, NOW + 1000, 1, VMT_MSR_TSC, 1500), 1);
	assert_true(read_msr(&s, NOW + 1000, 1, VMT_MSR_TSC) == 1500);
	assert_true(read_msr(&s, NOW + 1001, 1, VMT_MSR_TSC) == 1501);
	assert_true(read_msr(&s, NOW, 1, VMT_MSR_TSC_ADJUST) == 500);
	assert_true(vmt_tsc_offset(&s, 1) == vmt_tsc_offset(&s, 0) + 500);
	assert_false(vmt_tsc_agree(&s));
	/* Again, backwards. */
	assert_int_equal(vmt_tsc_write(&s, NOW + 2000, 1, VMT_MSR_TSC, 0), 1);
	assert_true(read_msr(&s, NOW, 1, VMT_MSR_TSC_ADJUST) == (uint64_t)-2000);
	/* The others are as they were. */
	assert_true(read_msr(&s, NOW + 7, 0, VMT_MSR_TSC) == 7);
}

static void a_guest_that_sets_the_register_moves_its_count(void **state)
{
	struct vmt_tsc s = powered_on(0);

	(void)state;
	assert_int_equal(vmt_tsc_write(&s, NOW, 3, VMT_MSR_TSC_ADJUST, (uint64_t)-70), 1);
	assert_true(read_msr(&s, NOW + 100, 3, VMT_MSR_TSC) == 30);
	assert_int_equal(vmt_tsc_write(&s, NOW, 3, VMT_MSR_TSC_ADJUST, (uint64_t)-70), 0);
	/* Linux clears it: the CPU is where the others are. */
	assert_int_equal(vmt_tsc_write(&s, NOW, 3, VMT_MSR_TSC_ADJUST, 0), 1);
	assert_true(vmt_tsc_agree(&s));
	assert_true(read_msr(&s, NOW + 100, 3, VMT_MSR_TSC) == 100);
}

static void cpus_that_are_all_moved_alike_agree(void **state)
{
	struct vmt_tsc s = powered_on(0);

	(void)state;
	for (uint32_t cpu = 0; cpu < CPUS; cpu++)
		assert_int_equal(vmt_tsc_write(&s, NOW, cpu, VMT_MSR_TSC_ADJUST, 1000), 1);
	assert_true(vmt_tsc_agree(&s));
	vmt_tsc_reset(&s);
	assert_true(vmt_tsc_agree(&s) && vmt_tsc_at(&s, 0, NOW + 5) == 5); /* time goes on */
}

static void other_registers_and_cpus_are_not_its(void **state)
{
	struct vmt_tsc s = powered_on(0), before = s;
	uint64_t value = 7;

	(void)state;
	for (uint32_t msr = 0; msr < 0x100; msr++) {
		if (msr == VMT_MSR_TSC || msr == VMT_MSR_TSC_ADJUST)
			continue;
		assert_int_equal(vmt_tsc_read(&s, NOW, 0, msr, &value), -ENOENT);
		assert_int_equal(vmt_tsc_write(&s, NOW, 0, msr, 1), -ENOENT);
	}
	assert_int_equal(vmt_tsc_read(&s, NOW, CPUS, VMT_MSR_TSC, &value), -ENOENT);
	assert_int_equal(vmt_tsc_write(&s, NOW, CPUS, VMT_MSR_TSC_ADJUST, 1), -ENOENT);
	assert_true(value == 7);
	assert_memory_equal(&s, &before, sizeof(s));
}

/* A page is a line over the guest's count: through a scaled one it must show the same time. */
static void a_scaled_guest_computes_virtual_time(void **state)
{
	const struct vmt_reading at = {.counter = NOW};
	const uint64_t second = UINT64_C(1000) * HOST_KHZ;
	static const uint32_t table[] = {100000, 999999, 1000000, 2000000, 2400000, 5000000};

	(void)state;
	for (int i = 0; i < 6; i++) {
		struct vmt_tsc s = powered_on(VMT_TSC_FRAC_VMX);
		struct vmt_kvmclock page;
		struct vmt_clock clock;
		uint64_t mult;
		uint32_t shift;

		assert_int_equal(vmt_clock_start(second, &at, &clock, NULL), 0);
		assert_int_equal(vmt_kvmclock_init(&page, 1), 0);
		assert_int_equal(vmt_tsc_scale(&s, NOW, table[i]), 0);
		assert_int_equal(vmt_tsc_factor(&s, clock.mult, clock.shift, &mult, &shift), 0);
		assert_int_equal(vmt_kvmclock_anchor(&page, vmt_tsc_line(&s, NOW), 0, mult, shift),
				 0);
		for (int seconds = 0; seconds < 10; seconds++) {
			uint64_t host = NOW + (uint64_t)seconds * second + 777;
			uint64_t now = vmt_clock_now(&clock, host);
			uint64_t shown = vmt_kvmclock_at(&page, vmt_tsc_line(&s, host));

			/* A count of up to 10 ns, cut off at either end, and the page's factor has
			 * 32 bits. */
			assert_in_range(10 + now - shown, 0, 20 + 3 * (uint64_t)seconds);
		}
	}
}

static void a_factor_out_of_range_is_refused(void **state)
{
	struct vmt_tsc s = powered_on(VMT_TSC_FRAC_VMX);
	uint64_t mult = 7;
	uint32_t shift = 7;

	(void)state;
	assert_int_equal(vmt_tsc_factor(&s, 0, 62, &mult, &shift), -EINVAL);
	assert_int_equal(vmt_tsc_scale(&s, NOW, 1000), 0);
	assert_int_equal(vmt_tsc_factor(&s, UINT64_MAX, 11, &mult, &shift), -EINVAL);
	assert_true(mult == 7 && shift == 7);
	assert_int_equal(vmt_tsc_factor(&s, UINT64_MAX, 12, &mult, &shift), 0);
	assert_true(shift == 0);
}

static void a_saved_guest_goes_on_elsewhere(void **state)
{
	const struct vmt_tsc_host elsewhere = {.khz = 3000000, .frac = VMT_TSC_FRAC_SVM};
	struct vmt_tsc s = powered_on(0), loaded;
	uint8_t bytes[VMT_TSC_SAVED];
	int size;

	(void)state;
	s.adjust[1] = 50;
	size = vmt_tsc_save(&s, NOW + 1000000, bytes, sizeof(bytes));
	assert_true(size > 0);
	assert_int_equal(vmt_tsc_init(&loaded, CPUS, &elsewhere), 0);
	assert_int_equal(vmt_tsc_load(&loaded, 42, bytes, (size_t)size), 0);
	assert_true(vmt_tsc_at(&loaded, 0, 42) == 1000000);
	assert_true(vmt_tsc_at(&loaded, 1, 42) == 1000050);
	assert_int_equal(loaded.khz, HOST_KHZ);
	/* 3 counts there are 2.4. */
	assert_in_range(vmt_tsc_at(&loaded, 0, 42 + 3000000), 1000000 + 2399999, 1000000 + 2400000);
}

static void elsewhere_without_the_hardware_it_has_that_hosts_rate(void **state)
{
	const struct vmt_tsc_host elsewhere = {.khz = 3000000};
	struct vmt_tsc s = powered_on(0), loaded, before;
	uint8_t bytes[VMT_TSC_SAVED];
	int size = vmt_tsc_save(&s, NOW + 1000000, bytes, sizeof(bytes));

	(void)state;
	assert_int_equal(vmt_tsc_init(&loaded, CPUS, &elsewhere), 0);
	assert_int_equal(vmt_tsc_load(&loaded, 42, bytes, (size_t)size), 1);
	assert_int_equal(loaded.khz, 3000000);
	assert_true(vmt_tsc_at(&loaded, 0, 42) == 1000000);
	/* Another number of CPUs is another machine. */
	assert_int_equal(vmt_tsc_init(&loaded, CPUS - 1, &elsewhere), 0);
	before = loaded;
	assert_int_equal(vmt_tsc_load(&loaded, 42, bytes, (size_t)size), -EINVAL);
	assert_memory_equal(&loaded, &before, sizeof(loaded));
}

/* Bytes with a right checksum, and one field that cannot be. */
static void a_forged_record_is_refused(void **state)
{
	struct vmt_tsc s = powered_on(0), before = s;
	uint8_t bytes[VMT_TSC_SAVED], fields[VMT_TSC_SAVED];
	struct vmt_snap_writer w;
	int size = vmt_tsc_save(&s, NOW, bytes, sizeof(bytes));
	const size_t count = (size_t)size - VMT_SNAP_AROUND;

	(void)state;
	for (int field = 0; field < 2; field++) { /* the number of CPUs, the frequency */
		memcpy(fields, bytes + 12, count);
		memset(fields + 4 * field, 0, 4);
		vmt_snap_start(&w, bytes, sizeof(bytes), VMT_SNAP_TSC, 1);
		vmt_snap_put_bytes(&w, fields, count);
		assert_int_equal(vmt_snap_finish(&w), size);
		assert_int_equal(vmt_tsc_load(&s, NOW, bytes, (size_t)size), -EINVAL);
		assert_memory_equal(&s, &before, sizeof(s));
		assert_int_equal(vmt_tsc_save(&s, NOW, bytes, sizeof(bytes)), size);
	}
}

static void the_most_cpus_fit_into_what_is_promised(void **state)
{
	const struct vmt_tsc_host host = {.khz = HOST_KHZ};
	uint8_t bytes[VMT_TSC_SAVED];
	struct vmt_tsc s;

	(void)state;
	assert_int_equal(vmt_tsc_init(&s, VMT_TSC_CPUS, &host), 0);
	assert_true(vmt_tsc_save(&s, NOW, bytes, sizeof(bytes)) > 0);
	assert_int_equal(vmt_tsc_init(&s, VMT_TSC_CPUS + 1, &host), -EINVAL);
	assert_int_equal(vmt_tsc_init(&s, 0, &host), -EINVAL);
	assert_int_equal(vmt_tsc_init(&s, 1, &(struct vmt_tsc_host){.khz = 0}), -EINVAL);
	assert_int_equal(vmt_tsc_init(&s, 1, &(struct vmt_tsc_host){.khz = 1, .frac = 33}),
			 -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_ratio_is_rounded_down_at_each_kilohertz),
		cmocka_unit_test(ratios_computed_by_hand),
		cmocka_unit_test(a_ratio_that_the_hardware_has_no_room_for_is_refused),
		cmocka_unit_test(within_250_ppm_kvm_does_not_scale),
		cmocka_unit_test(virtual_time_begins_at_0_on_all_cpus),
		cmocka_unit_test(offsets_and_counts_wrap),
		cmocka_unit_test(a_guests_count_passes_2_to_the_63rd_and_the_64th),
		cmocka_unit_test(another_frequency_begins_where_the_old_one_was),
		cmocka_unit_test(without_the_hardware_there_is_one_frequency),
		cmocka_unit_test(a_cpu_that_is_added_later_agrees),
		cmocka_unit_test(a_guest_that_sets_its_count_finds_it_in_the_register),
		cmocka_unit_test(a_guest_that_sets_the_register_moves_its_count),
		cmocka_unit_test(cpus_that_are_all_moved_alike_agree),
		cmocka_unit_test(other_registers_and_cpus_are_not_its),
		cmocka_unit_test(a_scaled_guest_computes_virtual_time),
		cmocka_unit_test(a_factor_out_of_range_is_refused),
		cmocka_unit_test(a_saved_guest_goes_on_elsewhere),
		cmocka_unit_test(elsewhere_without_the_hardware_it_has_that_hosts_rate),
		cmocka_unit_test(a_forged_record_is_refused),
		cmocka_unit_test(the_most_cpus_fit_into_what_is_promised),
	};

	return cmocka_run_group_tests_name("tsc", tests, NULL, NULL);
}
