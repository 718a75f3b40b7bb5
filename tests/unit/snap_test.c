/* SPDX-License-Identifier: Apache-2.0 */
/* snap_test.c - records are whole, or refused. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "../random.h"
#include "core/snap.h"

enum { KIND = 7, VERSION = 3 };

static int sample(void *buf, size_t size)
{
	struct vmt_snap_writer w;

	vmt_snap_start(&w, buf, size, KIND, VERSION);
	vmt_snap_put(&w, 0x11, 1);
	vmt_snap_put(&w, 0x3322, 2);
	vmt_snap_put(&w, 0x77665544, 4);
	vmt_snap_put(&w, UINT64_C(0xffeeddccbbaa9988), 8);
	vmt_snap_put_bytes(&w, (const uint8_t *)"abc", 3);
	return vmt_snap_finish(&w);
}

/* The bytes are a contract with every snapshot that was ever written. */
static void the_bytes_are_these(void **state)
{
	static const uint8_t expected[] = {
		'V',  'M',  'T',  's',  7,    0,    3,    0,    18,   0,    0,    0,
		0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0x99, 0xaa, 0xbb, 0xcc,
		0xdd, 0xee, 0xff, 'a',  'b',  'c',  0x64, 0x71, 0x0e, 0x5b,
	};
	uint8_t bytes[64];

	(void)state;
	assert_int_equal(sample(bytes, sizeof(bytes)), sizeof(expected));
	assert_memory_equal(bytes, expected, sizeof(expected));
	assert_int_equal(vmt_snap_length(bytes, sizeof(bytes)), sizeof(expected));
}

static void what_was_put_is_got(void **state)
{
	uint8_t bytes[64], text[3];
	struct vmt_snap_reader r;

	(void)state;
	vmt_snap_open(&r, bytes, (size_t)sample(bytes, sizeof(bytes)), KIND, VERSION);
	assert_int_equal(vmt_snap_get8(&r), 0x11);
	assert_int_equal(vmt_snap_get16(&r), 0x3322);
	assert_int_equal(vmt_snap_get32(&r), 0x77665544);
	assert_int_equal(vmt_snap_get64(&r), UINT64_C(0xffeeddccbbaa9988));
	vmt_snap_get_bytes(&r, text, 3);
	assert_memory_equal(text, "abc", 3);
	assert_int_equal(vmt_snap_close(&r), 0);
}

static void a_buffer_too_small_is_not_overrun(void **state)
{
	uint8_t bytes[64];
	int whole = sample(bytes, sizeof(bytes));

	(void)state;
	for (int size = 0; size < whole; size++) {
		memset(bytes, 0x5a, sizeof(bytes));
		assert_int_equal(sample(bytes, (size_t)size), -ENOSPC);
		for (size_t i = (size_t)size; i < sizeof(bytes); i++)
			assert_int_equal(bytes[i], 0x5a);
	}
	assert_int_equal(sample(bytes, (size_t)whole), whole);
}

static int opened(const uint8_t *bytes, size_t size, uint16_t kind, uint16_t version)
{
	struct vmt_snap_reader r;
	uint8_t fields[18];

	vmt_snap_open(&r, bytes, size, kind, version);
	vmt_snap_get_bytes(&r, fields, sizeof(fields));
	return vmt_snap_close(&r);
}

static void anything_but_the_record_itself_is_refused(void **state)
{
	uint8_t bytes[64];
	size_t whole = (size_t)sample(bytes, sizeof(bytes));

	(void)state;
	assert_int_equal(opened(bytes, whole, KIND, VERSION), 0);
	assert_int_equal(opened(bytes, whole, KIND + 1, VERSION), -EINVAL);
	assert_int_equal(opened(bytes, whole, KIND, VERSION + 1), -EINVAL);
	assert_int_equal(opened(bytes, whole + 1, KIND, VERSION), -EINVAL);
	for (size_t size = 0; size < whole; size++)
		assert_int_equal(opened(bytes, size, KIND, VERSION), -EINVAL);
	for (size_t bit = 0; bit < whole * 8; bit++) {
		bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
		assert_int_equal(opened(bytes, whole, KIND, VERSION), -EINVAL);
		bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
}

/* Fields past the end read 0, and the error sticks even if what follows would fit. */
static void an_error_sticks(void **state)
{
	uint8_t bytes[64];
	struct vmt_snap_reader r;
	uint8_t most[17];

	(void)state;
	vmt_snap_open(&r, bytes, (size_t)sample(bytes, sizeof(bytes)), KIND, VERSION);
	vmt_snap_get_bytes(&r, most, sizeof(most));
	assert_int_equal(vmt_snap_get64(&r), 0);
	assert_int_equal(vmt_snap_get8(&r), 0);
	assert_int_equal(vmt_snap_close(&r), -EINVAL);
}

static void a_field_left_unread_is_an_error(void **state)
{
	uint8_t bytes[64];
	struct vmt_snap_reader r;

	(void)state;
	vmt_snap_open(&r, bytes, (size_t)sample(bytes, sizeof(bytes)), KIND, VERSION);
	vmt_snap_get64(&r);
	assert_int_equal(vmt_snap_close(&r), -EINVAL);
}

/* A length that lies about what follows is no length. */
static void the_length_stays_within_the_buffer(void **state)
{
	struct random random = random_start();
	uint8_t bytes[64];
	int whole = sample(bytes, sizeof(bytes));

	(void)state;
	for (int i = 0; i < 10000; i++) {
		uint32_t lie = (uint32_t)random_wide(&random);
		size_t size = random_below(&random, 64), length;

		memcpy(bytes + 8, &lie, 4);
		length = vmt_snap_length(bytes, size);
		assert_true(length <= size);
		assert_true(!length || length == (size_t)lie + VMT_SNAP_AROUND);
	}
	(void)whole;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_bytes_are_these),
		cmocka_unit_test(what_was_put_is_got),
		cmocka_unit_test(a_buffer_too_small_is_not_overrun),
		cmocka_unit_test(anything_but_the_record_itself_is_refused),
		cmocka_unit_test(an_error_sticks),
		cmocka_unit_test(a_field_left_unread_is_an_error),
		cmocka_unit_test(the_length_stays_within_the_buffer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
