/* SPDX-License-Identifier: Apache-2.0 */
/* sizeof_test.c - what a language that cannot read headers is told. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <vmtime/vmtime.h>

/* Numbers are spelled out: a program compiled long ago asks by them. */
static void a_kind_keeps_its_number(void **state)
{
	static const size_t sizes[] = {
		0,
		sizeof(struct vmt_out),
		sizeof(struct vmt_reading),
		sizeof(struct vmt_clock),
		sizeof(struct vmt_change),
		sizeof(struct vmt_pit),
		sizeof(struct vmt_rtc),
		sizeof(struct vmt_pmtmr),
		sizeof(struct vmt_board),
		sizeof(struct vmt_board_config),
		sizeof(struct vmt_board_out),
		sizeof(struct vmt_ledger),
		sizeof(struct vmt_hpet),
		sizeof(struct vmt_kvmclock),
		sizeof(struct vmt_discipline),
		sizeof(struct vmt_discipline_sample),
		sizeof(struct vmt_steal),
		sizeof(struct vmt_tsc),
		sizeof(struct vmt_tsc_host),
		sizeof(struct vmt_gap_guest),
		0,
	};

	(void)state;
	for (uint32_t kind = 0; kind < sizeof(sizes) / sizeof(sizes[0]); kind++)
		assert_int_equal(vmt_sizeof(kind), sizes[kind]);
	assert_int_equal(vmt_sizeof(UINT32_MAX), 0);
}

/* What another language allocates in units of 8 bytes is aligned for every struct. */
static void eight_bytes_align_every_struct(void **state)
{
	(void)state;
	assert_true(_Alignof(struct vmt_board) <= 8);
	assert_true(_Alignof(struct vmt_clock) <= 8);
	assert_true(_Alignof(struct vmt_change) <= 8);
	assert_true(_Alignof(struct vmt_out) <= 8);
}

static void the_library_tells_its_version(void **state)
{
	(void)state;
	assert_string_equal(vmt_version(), VMT_VERSION);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_kind_keeps_its_number),
		cmocka_unit_test(eight_bytes_align_every_struct),
		cmocka_unit_test(the_library_tells_its_version),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
