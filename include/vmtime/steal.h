/* SPDX-License-Identifier: Apache-2.0 */
/* steal.h - KVM's steal time, as a face: the MSR that a guest registers its pages with, and what
 * the pages say.
 *
 * What the guest expects (Linux Documentation/virt/kvm/x86/msr.rst, MSR_KVM_STEAL_TIME; the struct
 * of arch/x86/include/uapi/asm/kvm_para.h): an entry of 64 bytes for each CPU with the ns that this
 * CPU wanted to run and another ran in its place, a count that only grows and whose beginning means
 * nothing.  A version at byte 8 is odd while it is written.  Linux takes what was added since its
 * last look off the running task and shows it in /proc/stat; more than the time that has passed it
 * keeps for later, so an addition may come late, but never a smaller count.
 *
 * As in KVM the count goes on from what the entry shows when it is registered, which a guest's
 * kernel has emptied: it counts while it is registered, and not for the kernel before.  After that
 * the entry is written and never read: what a guest puts into it later is lost.
 *
 * The byte `preempted` is always 0.  With it KVM tells that a CPU is off its thread at this moment
 * (Linux then does not wait for a lock that it holds, vcpu_is_preempted(), and takes an idle one
 * for a task instead); who is off its thread cannot write that, and a flag that comes late is worse
 * than none.  The flag by which the guest asks for a flush of the TLB lives there, too, and must
 * not be offered (KVM_FEATURE_PV_TLB_FLUSH) beside this face.
 *
 * The counts are of the host's ns; a virtual clock that runs at another rate (vmt_clock_rate())
 * wants them multiplied before vmt_steal_add().  The time of a stop, and what a thread waited then,
 * is not steal and is not added.
 *
 * KVM clears the register of a CPU that gets an INIT; with its LAPIC in the kernel nobody else sees
 * that, so here it stays until the guest writes it or the machine is reset.
 *
 * Calls for different CPUs need no lock between them; init, reset, save and load need all. */
#ifndef VMTIME_STEAL_H
#define VMTIME_STEAL_H

#include <vmtime/out.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Bit 0 enables the entry, bits 1 to 5 are reserved, the others are its address. */
#define VMT_MSR_KVM_STEAL 0x4b564d03

#define VMT_STEAL_CPUS 256
#define VMT_STEAL_BYTES 64 /* of an entry, and what it is aligned to */
#define VMT_STEAL_NOWHERE UINT64_MAX

struct vmt_steal {
	uint32_t cpus; /* 1..VMT_STEAL_CPUS */
	uint32_t pad;
	uint64_t msr[VMT_STEAL_CPUS];
	uint64_t ns[VMT_STEAL_CPUS];   /* added since the register was written, and what it found */
	uint8_t fresh[VMT_STEAL_CPUS]; /* 1: what the entry shows is not yet in `ns` */
};

/* Power-on: nothing is registered.  -EINVAL for a number of CPUs out of range. */
VMT_API int vmt_steal_init(struct vmt_steal *s, uint32_t cpus);

/* Bus reset: the registers and the counts are cleared. */
VMT_API void vmt_steal_reset(struct vmt_steal *s);

/* The guest's RDMSR or WRMSR on CPU `cpu`.  0; -ENOENT: not this face's (or no such CPU); -EPERM: a
 * reserved bit, the register stays and the guest gets #GP.  After a write `ret_out->dirty` is 1 if
 * the entry is to be published. */
VMT_API int vmt_steal_read(const struct vmt_steal *s, uint32_t cpu, uint32_t msr,
			   uint64_t *ret_value);
VMT_API int vmt_steal_write(struct vmt_steal *s, vmt_ns now, uint32_t cpu, uint32_t msr,
			    uint64_t value, struct vmt_out *ret_out);

/* CPU `cpu` has waited for so many ns more.  1: its entry is to be published; 0: it has none, and
 * this is not counted, or nothing was added. */
VMT_API int vmt_steal_add(struct vmt_steal *s, uint32_t cpu, uint64_t ns);

/* Where CPU `cpu` wants its entry, VMT_STEAL_BYTES long; guest physical.  VMT_STEAL_NOWHERE:
 * nowhere.  Whether that is memory is the caller's to know. */
VMT_API uint64_t vmt_steal_place(const struct vmt_steal *s, uint32_t cpu);

/* Writes the entry of a CPU that has a place into the guest's memory; `entry` is aligned to 4.  The
 * version is odd meanwhile and then even and another one, whatever the guest had there.  Other CPUs
 * of the guest may run; the one whose entry it is should not, as it would wait for a writer that
 * was interrupted. */
VMT_API void vmt_steal_publish(struct vmt_steal *s, uint32_t cpu, void *entry);

/* Save: bytes written, or -ENOSPC (VMT_STEAL_SAVED suffices).  Load, into a state initialised for
 * as many CPUs: 0, or -EINVAL and *s as it was.  What threads waited before a load is not to be
 * added after it: they are others. */
#define VMT_STEAL_SAVED 4608
VMT_API int vmt_steal_save(const struct vmt_steal *s, void *buf, size_t size);
VMT_API int vmt_steal_load(struct vmt_steal *s, const void *buf, size_t size);

#ifdef __cplusplus
}
#endif
#endif
