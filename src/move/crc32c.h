/* SPDX-License-Identifier: Apache-2.0 */
/* crc32c.h - the checksum of everything in a snapshot. */
#ifndef MOVE_CRC32C_H
#define MOVE_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* CRC-32C (Castagnoli, RFC 3720 appendix B.4) of `count` bytes that follow those whose checksum is
 * `before`; 0 for none.  Of "123456789" it is 0xe3069283. */
uint32_t crc32c(uint32_t before, const void *bytes, size_t count);

/* The same where the CPU has no instruction for it. */
uint32_t crc32c_slow(uint32_t before, const void *bytes, size_t count);

#endif
