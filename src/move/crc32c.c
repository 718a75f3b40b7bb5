/* SPDX-License-Identifier: Apache-2.0 */
/* crc32c.c - CRC-32C, by the instruction that x86-64 has had for it since 2008, or by four bits. */
#include "move/crc32c.h"

#include <string.h>

uint32_t crc32c_slow(uint32_t before, const void *bytes, size_t count)
{
	/* The remainders of 0 to 15, reflected. */
	static const uint32_t nibbles[16] = {
		0x00000000, 0x105ec76f, 0x20bd8ede, 0x30e349b1, 0x417b1dbc, 0x5125dad3,
		0x61c69362, 0x7198540d, 0x82f63b78, 0x92a8fc17, 0xa24bb5a6, 0xb21572c9,
		0xc38d26c4, 0xd3d3e1ab, 0xe330a81a, 0xf36e6f75,
	};
	const uint8_t *at = bytes;
	uint32_t crc = ~before;

	for (size_t i = 0; i < count; i++) {
		crc ^= at[i];
		crc = crc >> 4 ^ nibbles[crc & 15];
		crc = crc >> 4 ^ nibbles[crc & 15];
	}
	return ~crc;
}

__attribute__((target("sse4.2"))) static uint32_t crc32c_fast(uint32_t before, const uint8_t *at,
							      size_t count)
{
	uint64_t crc = (uint32_t)~before, word;

	for (; count >= sizeof(word); count -= sizeof(word), at += sizeof(word)) {
		memcpy(&word, at, sizeof(word));
		crc = __builtin_ia32_crc32di(crc, word);
	}
	for (; count; count--)
		crc = __builtin_ia32_crc32qi((uint32_t)crc, *at++);
	return ~(uint32_t)crc;
}

uint32_t crc32c(uint32_t before, const void *bytes, size_t count)
{
	return __builtin_cpu_supports("sse4.2") ? crc32c_fast(before, bytes, count)
						: crc32c_slow(before, bytes, count);
}
