/* SPDX-License-Identifier: Apache-2.0 */
/* kvmclock.h - KVM's clock for guests, as a face: the MSRs that a guest registers its pages with,
 * and what the pages say.
 *
 * What the guest expects (Linux Documentation/virt/kvm/x86/msr.rst; arch/x86/include/asm/
 * pvclock-abi.h and pvclock.h): one page entry of 32 bytes for each CPU, from which it computes
 *
 *     ns = system_time + ((tsc - tsc_timestamp) * 2^shift * mul) / 2^32
 *
 * rounded down, at full speed and without an exit, and one of 12 bytes with the UTC at which that
 * was 0.  Each carries a version that is odd while it is written.
 *
 * The entries of all CPUs say the same line, as the guest's vDSO, which reads the first CPU's
 * alone, and the flag TSC_STABLE ask for.  Its shift is 0 above 1 GHz and the smallest that serves
 * below, and mul is rounded down: Linux, which computes the TSC's frequency from them, then gets it
 * to the kHz (up to 60 GHz; with a negative shift, as KVM's own has it, it would get even numbers
 * only). Rounded down, the line is slow by less than 1 ns in 2^32 counts and falls behind the
 * virtual clock; each vmt_kvmclock_anchor() takes it back there, forward.
 *
 * A guest's write cannot be wrong: the register holds what was written, and an address that is not
 * one of the guest's memory, or not a multiple of 4, has no page.
 *
 * KVM clears the registers of a CPU that gets an INIT; with its LAPIC in the kernel nobody else
 * sees that, so here they stay until the guest writes them or the machine is reset.  Who publishes
 * can tell when a page has become something else: a guest writes nothing in it but the flags. */
#ifndef VMTIME_KVMCLOCK_H
#define VMTIME_KVMCLOCK_H

#include <vmtime/out.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The old numbers and the new ones name the same registers: the address of the wall clock's entry,
 * one for all CPUs, and each CPU's own: bit 0 enables it, the others are its address. */
#define VMT_MSR_KVM_WALL_OLD 0x11
#define VMT_MSR_KVM_SYSTEM_OLD 0x12
#define VMT_MSR_KVM_WALL 0x4b564d00
#define VMT_MSR_KVM_SYSTEM 0x4b564d01

#define VMT_KVMCLOCK_CPUS 256
#define VMT_KVMCLOCK_BYTES 32      /* of a CPU's entry */
#define VMT_KVMCLOCK_WALL_BYTES 12 /* of the wall clock's */
#define VMT_KVMCLOCK_NOWHERE UINT64_MAX

/* Of an entry's flags: all CPUs show one line; the guest was stopped for a while. */
enum vmt_kvmclock_flag { VMT_KVMCLOCK_STABLE = 1, VMT_KVMCLOCK_STOPPED = 2 };

/* Bits of vmt_out.dirty: what a call leaves to be published. */
enum vmt_kvmclock_dirty { VMT_KVMCLOCK_DIRTY_CPU = 1, VMT_KVMCLOCK_DIRTY_WALL = 2 };

struct vmt_kvmclock {
	uint64_t tsc; /* the line's anchor: this count of the guest's TSC ... */
	vmt_ns ns;    /* ... is this virtual time */
	uint32_t mul; /* ns a count in 2^-32, after the shift */
	uint32_t shift;
	uint32_t cpus;   /* 1..VMT_KVMCLOCK_CPUS */
	uint32_t stable; /* 1: entries carry VMT_KVMCLOCK_STABLE */
	uint64_t wall;   /* register of the wall clock */
	uint64_t system[VMT_KVMCLOCK_CPUS];
	uint8_t stopped[VMT_KVMCLOCK_CPUS]; /* 1: the next entry tells of a stop */
};

/* Power-on: nothing is registered, the line is flat at 0 until vmt_kvmclock_anchor().  -EINVAL for
 * a number of CPUs out of range. */
VMT_API int vmt_kvmclock_init(struct vmt_kvmclock *s, uint32_t cpus);

/* Bus reset: the registers are cleared, the line goes on. */
VMT_API void vmt_kvmclock_reset(struct vmt_kvmclock *s);

/* The guest's RDMSR or WRMSR on CPU `cpu`.  0, or -ENOENT: not one of this face's (or no such
 * CPU).  After a write `ret_out->dirty` says what is to be published: the CPU's entry, or the wall
 * clock's, at each write, even if of the same value (Linux asks for the time of day that way). */
VMT_API int vmt_kvmclock_read(const struct vmt_kvmclock *s, uint32_t cpu, uint32_t msr,
			      uint64_t *ret_value);
VMT_API int vmt_kvmclock_write(struct vmt_kvmclock *s, vmt_ns now, uint32_t cpu, uint32_t msr,
			       uint64_t value, struct vmt_out *ret_out);

/* From here on the line goes through virtual time `now` at the TSC's count `tsc`, and rises by
 * mult / 2^shift ns a count (those of struct vmt_clock, where the TSC is its counter); below 2^33
 * ns a count, and more than 2^-32: else -EINVAL, and nothing changes.
 *
 * It never steps back: where the old line shows more at that count, the new one begins there.
 * Returns then by how many ns (saturating at INT32_MAX) it is ahead of `now`, else 0.  Nothing is
 * published; no CPU may see a count smaller than `tsc` once it is. */
VMT_API int vmt_kvmclock_anchor(struct vmt_kvmclock *s, uint64_t tsc, vmt_ns now, uint64_t mult,
				uint32_t shift);

/* What the guest computes from the line at this count, which is not before the anchor's. */
VMT_API vmt_ns vmt_kvmclock_at(const struct vmt_kvmclock *s, uint64_t tsc);

/* Whether the entries promise one line for all CPUs; 0 when the TSC is not to be relied on. */
VMT_API void vmt_kvmclock_stable(struct vmt_kvmclock *s, uint32_t stable);

/* The guest did not run for a while: its watchdogs are told by the next entry of each CPU. */
VMT_API void vmt_kvmclock_stopped(struct vmt_kvmclock *s);

/* Where CPU `cpu` wants its entry, VMT_KVMCLOCK_BYTES long, and the guest the wall clock's; guest
 * physical.  VMT_KVMCLOCK_NOWHERE: nowhere.  Whether that is memory is the caller's to know. */
VMT_API uint64_t vmt_kvmclock_place(const struct vmt_kvmclock *s, uint32_t cpu);
VMT_API uint64_t vmt_kvmclock_wall_place(const struct vmt_kvmclock *s);

/* Writes an entry into the guest's memory; `entry` is aligned to 4.  `adjust` is by how much that
 * CPU's TSC is ahead of the line's counts: what the guest has added to it (tsc.h), else 0.  The
 * version is odd meanwhile and then even and another one, whatever the guest had there.  A flag
 * STOPPED that the guest has not yet taken notice of stays, one that it has cleared does not come
 * back: for that no CPU of the guest runs meanwhile, nor while the entries of the others are
 * written. */
VMT_API void vmt_kvmclock_publish(struct vmt_kvmclock *s, uint32_t cpu, uint64_t adjust,
				  void *entry);

/* The same of the wall clock, UTC = virtual time + utc_offset_ns.  Before 1970 it is 0, from
 * 2106 on it wraps: the entry has 32 bits for seconds, and no sign.  Other CPUs may run. */
VMT_API void vmt_kvmclock_publish_wall(int64_t utc_offset_ns, void *entry);

/* Save: bytes written, or -ENOSPC (VMT_KVMCLOCK_SAVED suffices).  Load, into a state initialised
 * for as many CPUs: 0, or -EINVAL and *s as it was.  The line is saved as it is; after a load
 * vmt_kvmclock_anchor() puts it onto the new host's counts. */
#define VMT_KVMCLOCK_SAVED 4096
VMT_API int vmt_kvmclock_save(const struct vmt_kvmclock *s, void *buf, size_t size);
VMT_API int vmt_kvmclock_load(struct vmt_kvmclock *s, const void *buf, size_t size);

#ifdef __cplusplus
}
#endif
#endif
