/* SPDX-License-Identifier: Apache-2.0 */
/* crc32c_test.c - the checksum is the published one, with and without the instruction. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "../random.h"
#include "move/crc32c.h"

/* RFC 3720, appendix B.4. */
static void it_is_the_one_of_the_rfc(void **state)
{
	uint8_t bytes[32] = {0};

	(void)state;
	assert_int_equal(crc32c(0, "123456789", 9), 0xe3069283);
	assert_int_equal(crc32c(0, bytes, sizeof(bytes)), 0x8a9136aa);
	for (int i = 0; i < 32; i++)
		bytes[i] = 0xff;
	assert_int_equal(crc32c(0, bytes, sizeof(bytes)), 0x62a8ab43);
	for (int i = 0; i < 32; i++)
		bytes[i] = (uint8_t)i;
	assert_int_equal(crc32c(0, bytes, sizeof(bytes)), 0x46dd794e);
	assert_int_equal(crc32c(0, bytes, 0), 0);
}

static void slow_and_fast_agree_at_any_cut_and_alignment(void **state)
{
	struct random random = random_start();
	uint8_t bytes[300];

	(void)state;
	for (int run = 0; run < 2000; run++) {
		uint32_t from = random_below(&random, 16), count = random_below(&random, 280);
		uint32_t cut = count ? random_below(&random, count) : 0;
		uint32_t whole;

		for (size_t i = 0; i < sizeof(bytes); i++)
			bytes[i] = (uint8_t)random_next(&random);
		whole = crc32c(0, bytes + from, count);
		assert_int_equal(crc32c_slow(0, bytes + from, count), whole);
		assert_int_equal(
			crc32c(crc32c_slow(0, bytes + from, cut), bytes + from + cut, count - cut),
			whole);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(it_is_the_one_of_the_rfc),
		cmocka_unit_test(slow_and_fast_agree_at_any_cut_and_alignment),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
