/* SPDX-License-Identifier: Apache-2.0 */
/* faces.h - what the board does with any of its faces, as a table.
 *
 * A face more is a row more in faces.c, and its ports in board.c's table of ranges. */
#ifndef BOARD_FACES_H
#define BOARD_FACES_H

#include <vmtime/board.h>

struct vmt_board_face {
	uint32_t widest; /* access that the face takes in one piece, bytes */
	void (*advance)(struct vmt_board *b, vmt_ns now, struct vmt_out *lines);
	void (*read)(struct vmt_board *b, vmt_ns now, uint32_t reg, uint32_t width,
		     uint64_t *ret_value, struct vmt_out *lines);
	void (*write)(struct vmt_board *b, vmt_ns now, uint32_t reg, uint32_t width, uint64_t value,
		      struct vmt_out *lines);
	void (*reset)(struct vmt_board *b, vmt_ns now);
	int (*save)(const struct vmt_board *b, void *buf, size_t size);
	int (*load)(struct vmt_board *b, vmt_ns now, const void *buf, size_t size);

	/* What its lines did: ticks, pulses and levels.  `set`: the guest may have set it up. */
	void (*lines)(struct vmt_board *b, const struct vmt_out *lines, int set,
		      struct vmt_board_out *out);
	/* The retry_ns of a source's ticks has come. */
	void (*retry)(struct vmt_board *b, uint32_t source, struct vmt_board_out *out);
	/* From tick to tick of a source as it is programmed; 0: not periodic. */
	uint64_t (*period)(const struct vmt_board *b, uint32_t source);
	uint32_t source, sources; /* the first that is its own, and how many */
};

/* In the order of the bits of enum vmt_faces. */
enum { VMT_FACE_PIT = 0, VMT_FACE_RTC = 1, VMT_FACE_PMTMR = 2, VMT_FACE_HPET = 3 };
extern const struct vmt_board_face vmt_board_faces[VMT_FACES];

/* Takes over what a call of a face returned. */
void vmt_board_take(struct vmt_board *b, uint32_t face, const struct vmt_out *from, int set,
		    struct vmt_board_out *out);

/* Edges of these sources are pulses that the guest acknowledges one by one. */
static inline int vmt_board_pulses(uint32_t source)
{
	return source == VMT_SOURCE_PIT ||
	       (source >= VMT_SOURCE_HPET0 && source <= VMT_SOURCE_HPET2);
}

/* When the HPET wants its caller, one of hpet_quiet: none of its sources more often than the floor,
 * and those whose edges reach nobody never. */
vmt_ns vmt_board_hpet_wakes(const struct vmt_board *b);

/* Takes the HPET's routes over after a load: 0, or -EINVAL when ticks are under way on a line that
 * is cut off. */
int vmt_board_hpet_loaded(struct vmt_board *b);

#endif
