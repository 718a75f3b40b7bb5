/* SPDX-License-Identifier: Apache-2.0 */
/* pit.h - i8254 programmable interval timer with the PC's port 0x61, as a face. */
#ifndef VMTIME_PIT_H
#define VMTIME_PIT_H

#include <vmtime/out.h>

#ifdef __cplusplus
extern "C" {
#endif

#define VMT_PIT_HZ 1193182

/* Registers: 0-2 counters (ports 0x40-0x42), 3 control word (0x43), 4 port 0x61. */
enum vmt_pit_reg { VMT_PIT_COUNTER0 = 0, VMT_PIT_CONTROL = 3, VMT_PIT_PORT61 = 4 };
enum vmt_pit_line { VMT_PIT_OUT0 = 0, VMT_PIT_OUT1 = 1, VMT_PIT_OUT2 = 2 };

struct vmt_pit;

VMT_API void vmt_pit_reset(struct vmt_pit *s, vmt_ns now);
VMT_API struct vmt_out vmt_pit_advance(struct vmt_pit *s, vmt_ns now);
VMT_API struct vmt_out vmt_pit_read(struct vmt_pit *s, vmt_ns now, uint32_t reg,
				    uint8_t *ret_value);
VMT_API struct vmt_out vmt_pit_write(struct vmt_pit *s, vmt_ns now, uint32_t reg, uint8_t value);
VMT_API int vmt_pit_save(const struct vmt_pit *s, void *buf, size_t size);
VMT_API int vmt_pit_load(struct vmt_pit *s, vmt_ns now, const void *buf, size_t size);

#ifdef __cplusplus
}
#endif
#endif
