/* SPDX-License-Identifier: Apache-2.0 */
/* snap.h - the bytes of saved state: records that are whole, or refused.
 *
 * A record is
 *
 *     0  u32  magic, "VMTs"
 *     4  u16  kind (enum vmt_snap_kind)
 *     6  u16  version of this kind, from 1
 *     8  u32  length of the fields in bytes
 *    12  ...  the fields, little-endian, without gaps, in the order of the struct
 *     -  u32  CRC-32 (IEEE 802.3) of all bytes before it
 *
 * CRC-32 finds every error burst of up to 32 bits and misses one in 2^32 of the others: it is there
 * for torn files and bad disks, not for attackers; the loaders check each field's range as well.
 *
 * Both sides are sticky: after an error puts are only counted, gets give 0, and the closing call
 * tells.  So a save or load function is a plain list of fields. */
#ifndef CORE_SNAP_H
#define CORE_SNAP_H

#include <stddef.h>
#include <stdint.h>

enum vmt_snap_kind {
	VMT_SNAP_CLOCK = 1,
	VMT_SNAP_BOARD = 2,
	VMT_SNAP_PIT = 3,
	VMT_SNAP_RTC = 4,
	VMT_SNAP_PMTMR = 5,
	VMT_SNAP_HPET = 6,
	VMT_SNAP_KVMCLOCK = 7,
	VMT_SNAP_STEAL = 8,
	VMT_SNAP_TSC = 9,
};

#define VMT_SNAP_AROUND 16 /* bytes of a record that are not fields */

struct vmt_snap_writer {
	uint8_t *buf;
	size_t size, used; /* used may pass size: then nothing more is written */
};

void vmt_snap_start(struct vmt_snap_writer *w, void *buf, size_t size, uint16_t kind,
		    uint16_t version);
void vmt_snap_put(struct vmt_snap_writer *w, uint64_t value, unsigned bytes);
void vmt_snap_put_bytes(struct vmt_snap_writer *w, const uint8_t *from, size_t count);

/* Bytes of the whole record, or -ENOSPC. */
int vmt_snap_finish(struct vmt_snap_writer *w);

struct vmt_snap_reader {
	const uint8_t *buf;
	size_t end, used; /* of the fields */
	int error;        /* 0, or -EINVAL */
};

/* `size` is that of the whole record, no more and no less. */
void vmt_snap_open(struct vmt_snap_reader *r, const void *buf, size_t size, uint16_t kind,
		   uint16_t version);
uint64_t vmt_snap_get(struct vmt_snap_reader *r, unsigned bytes);
void vmt_snap_get_bytes(struct vmt_snap_reader *r, uint8_t *to, size_t count);

/* 0, or -EINVAL: damaged, another kind or version, or not exactly as many fields as were read. */
int vmt_snap_close(const struct vmt_snap_reader *r);

/* Bytes of the record that begins at buf; 0 when none does, or not whole. */
size_t vmt_snap_length(const void *buf, size_t size);

static inline uint8_t vmt_snap_get8(struct vmt_snap_reader *r)
{
	return (uint8_t)vmt_snap_get(r, 1);
}

static inline uint16_t vmt_snap_get16(struct vmt_snap_reader *r)
{
	return (uint16_t)vmt_snap_get(r, 2);
}

static inline uint32_t vmt_snap_get32(struct vmt_snap_reader *r)
{
	return (uint32_t)vmt_snap_get(r, 4);
}

static inline uint64_t vmt_snap_get64(struct vmt_snap_reader *r)
{
	return vmt_snap_get(r, 8);
}

#endif
