/* SPDX-License-Identifier: Apache-2.0 */
/* stream_seal.h - checksums and numbers of any bytes made right, as a stream's, so that what is
 * behind them is reached as well. */
#ifndef TESTS_STREAM_SEAL_H
#define TESTS_STREAM_SEAL_H

#include <stddef.h>
#include <stdint.h>

#include "kvm/bytes.h"
#include "move/crc32c.h"
#include "move/stream.h"

static inline void seal_section(uint8_t *at, uint32_t number, uint32_t length)
{
	put32(at + 12, number);
	put32(at + 16, length);
	put32(at + 20, crc32c(0, at + STREAM_SECTION, length));
	put32(at + 28, crc32c(0, at, 28));
}

/* Lengths are cut down to what is there. */
static inline void seal_stream(uint8_t *bytes, size_t size)
{
	size_t at = STREAM_HEADER;

	if (size < STREAM_HEADER)
		return;
	put32(bytes + 28, crc32c(0, bytes, 28));
	for (uint32_t number = 0; size - at >= STREAM_SECTION; number++) {
		size_t left = size - at - STREAM_SECTION;
		uint32_t length = get32(bytes + at + 16);

		length = length < left ? length : (uint32_t)left;
		seal_section(bytes + at, number, length);
		at += STREAM_SECTION + length;
	}
}

#endif
