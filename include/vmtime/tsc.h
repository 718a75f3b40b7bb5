/* SPDX-License-Identifier: Apache-2.0 */
/* tsc.h - the guest's time stamp counters: a function of the host's, and what a guest writes to
 * them.
 *
 * Hardware computes what RDTSC answers (Intel SDM 25.6.5 and 26.3; AMD APM vol. 2, 15.30.5):
 *
 *     guest = ((host * ratio) >> frac) + offset        modulo 2^64
 *
 * with a ratio and an offset of each CPU's.  Here the ratio is one for all CPUs, and the offset is
 * the machine's own, one too, plus what that CPU's guest has added: its register IA32_TSC_ADJUST
 * (SDM 18.17.3).  So CPUs agree until a guest makes them disagree, and the register says by how
 * much: a write of IA32_TSC changes it by what the count is changed, a write of it changes the
 * count.  This file computes; who runs the CPUs applies ratio and offsets.
 *
 * Time here is the host's count and not virtual time.  It may be any number, also a smaller one
 * than before: nothing is ever due. */
#ifndef VMTIME_TSC_H
#define VMTIME_TSC_H

#include <vmtime/out.h>

#ifdef __cplusplus
extern "C" {
#endif

#define VMT_MSR_TSC 0x10
#define VMT_MSR_TSC_ADJUST 0x3b

#define VMT_TSC_CPUS 256

/* Bits of a ratio's fraction: 0 where the hardware does not scale. */
#define VMT_TSC_FRAC_VMX 48
#define VMT_TSC_FRAC_SVM 32

/* KVM leaves a guest unscaled that wants to differ by no more (its parameter tsc_tolerance_ppm). */
#define VMT_TSC_TOLERANCE_PPM 250

/* What the host's hardware and kernel do. */
struct vmt_tsc_host {
	uint32_t khz;           /* of its TSC */
	uint32_t frac;          /* 0, VMT_TSC_FRAC_VMX or VMT_TSC_FRAC_SVM */
	uint32_t tolerance_ppm; /* VMT_TSC_TOLERANCE_PPM */
	uint32_t pad;           /* 0 */
};

struct vmt_tsc {
	struct vmt_tsc_host host;
	uint64_t ratio;  /* guest counts a host count, in 2^-host.frac */
	uint64_t offset; /* of a CPU whose register is 0 */
	uint32_t khz;    /* how fast the guest's run: what it is to be told */
	uint32_t cpus;   /* 1..VMT_TSC_CPUS */
	uint64_t adjust[VMT_TSC_CPUS];
};

/* floor(khz * 2^frac / host_khz), as KVM has it.  -EINVAL: the hardware has no such ratio. */
VMT_API int vmt_tsc_ratio(uint32_t host_khz, uint32_t khz, uint32_t frac, uint64_t *ret_ratio);

/* 1: KVM does not scale, for khz is within the tolerance; the limits themselves are. */
VMT_API int vmt_tsc_tolerated(const struct vmt_tsc_host *host, uint32_t khz);

/* Power-on: the host's frequency, offset 0, the registers 0.  -EINVAL for a number of CPUs, a
 * frequency or a fraction that cannot be. */
VMT_API int vmt_tsc_init(struct vmt_tsc *s, uint32_t cpus, const struct vmt_tsc_host *host);

/* Bus reset: the registers are cleared, the count goes on, the same on all CPUs. */
VMT_API void vmt_tsc_reset(struct vmt_tsc *s);

/* One CPU more; its register is 0, so it agrees with all whose guest has not moved them.  Its
 * number, or -EINVAL: there are VMT_TSC_CPUS. */
VMT_API int vmt_tsc_add_cpu(struct vmt_tsc *s);

/* The count of all CPUs is `guest`, plus their registers, when the host's is `host`: where virtual
 * time begins, goes on, or is to be found after a move. */
VMT_API void vmt_tsc_set(struct vmt_tsc *s, uint64_t host, uint64_t guest);

/* Another frequency from the host's count `host` on, at which no CPU's count changes: KVM alone
 * would keep the offset and let it jump.  -EINVAL and nothing changed: the hardware cannot, or KVM
 * would not (a khz within the tolerance that is not the host's own). */
VMT_API int vmt_tsc_scale(struct vmt_tsc *s, uint64_t host, uint32_t khz);

/* When the host's count is `host`: what a CPU shows whose register is 0, what CPU `cpu` shows; and
 * the offset that makes it so. */
VMT_API uint64_t vmt_tsc_line(const struct vmt_tsc *s, uint64_t host);
VMT_API uint64_t vmt_tsc_at(const struct vmt_tsc *s, uint32_t cpu, uint64_t host);
VMT_API uint64_t vmt_tsc_offset(const struct vmt_tsc *s, uint32_t cpu);

/* 1: all CPUs show the same count. */
VMT_API int vmt_tsc_agree(const struct vmt_tsc *s);

/* ns of a guest's count from those of a host's: mult / 2^shift, rounded down, as struct vmt_clock
 * has it, and vmt_kvmclock_anchor() wants it.  -EINVAL and nothing written: out of range. */
VMT_API int vmt_tsc_factor(const struct vmt_tsc *s, uint64_t mult, uint32_t shift,
			   uint64_t *ret_mult, uint32_t *ret_shift);

/* The guest's RDMSR or WRMSR on CPU `cpu`, when the host's count is `host`.  -ENOENT: not one of
 * this face's (or no such CPU).  A read 0; a write 1 if that CPU's offset is another now: to be
 * applied before it runs on, its deadline timer armed anew, and the kvm-clock pages written (all of
 * them, for they may have come to disagree); else 0. */
VMT_API int vmt_tsc_read(const struct vmt_tsc *s, uint64_t host, uint32_t cpu, uint32_t msr,
			 uint64_t *ret_value);
VMT_API int vmt_tsc_write(struct vmt_tsc *s, uint64_t host, uint32_t cpu, uint32_t msr,
			  uint64_t value);

/* Save: what all CPUs show at the host's count `host`, and the registers; bytes written, or
 * -ENOSPC (VMT_TSC_SAVED suffices).  Load, at a count of the new host's, into a state initialised
 * for it and for as many CPUs: 0; 1: this host cannot give the saved frequency, and the TSCs go on
 * at its own (`khz`); or -EINVAL and *s as it was. */
#define VMT_TSC_SAVED 2176
VMT_API int vmt_tsc_save(const struct vmt_tsc *s, uint64_t host, void *buf, size_t size);
VMT_API int vmt_tsc_load(struct vmt_tsc *s, uint64_t host, const void *buf, size_t size);

#ifdef __cplusplus
}
#endif
#endif
