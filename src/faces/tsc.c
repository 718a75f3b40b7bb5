/* SPDX-License-Identifier: Apache-2.0 */
/* tsc.c - the guest's time stamp counters: one line for all CPUs, and what each has added to it. */
#include <vmtime/tsc.h>

#include <assert.h>
#include <errno.h>
#include <stdbool.h>

#include "core/ns.h"
#include "core/snap.h"

enum { SAVED_VERSION = 1, PPM = 1000000 };

/* The largest ratio that there is room for; KVM takes those below. */
#define RATIO_MAX_VMX UINT64_MAX
#define RATIO_MAX_SVM UINT64_C(0xffffffffff)

static bool is_frac(uint32_t frac)
{
	return frac == 0 || frac == VMT_TSC_FRAC_VMX || frac == VMT_TSC_FRAC_SVM;
}

static uint64_t one(const struct vmt_tsc_host *host)
{
	return UINT64_C(1) << host->frac;
}

int vmt_tsc_ratio(uint32_t host_khz, uint32_t khz, uint32_t frac, uint64_t *ret_ratio)
{
	uint64_t max = frac == VMT_TSC_FRAC_VMX ? RATIO_MAX_VMX : RATIO_MAX_SVM;
	uint64_t ratio;

	if (!host_khz || !frac || !is_frac(frac))
		return -EINVAL;
	ratio = vmt_ns_div_floor((vmt_ns_u128)khz << frac, host_khz);
	if (!ratio || ratio >= max)
		return -EINVAL;
	*ret_ratio = ratio;
	return 0;
}

/* Both limits rounded down: KVM's adjust_tsc_khz(). */
int vmt_tsc_tolerated(const struct vmt_tsc_host *host, uint32_t khz)
{
	uint64_t ppm = host->tolerance_ppm < PPM ? host->tolerance_ppm : PPM;

	return khz >= host->khz * (PPM - ppm) / PPM && khz <= host->khz * (PPM + ppm) / PPM;
}

int vmt_tsc_init(struct vmt_tsc *s, uint32_t cpus, const struct vmt_tsc_host *host)
{
	if (cpus < 1 || cpus > VMT_TSC_CPUS || !host->khz || !is_frac(host->frac))
		return -EINVAL;
	*s = (struct vmt_tsc){.host = *host, .khz = host->khz, .cpus = cpus};
	s->ratio = one(host);
	return 0;
}

void vmt_tsc_reset(struct vmt_tsc *s)
{
	for (uint32_t cpu = 0; cpu < s->cpus; cpu++)
		s->adjust[cpu] = 0;
}

int vmt_tsc_add_cpu(struct vmt_tsc *s)
{
	if (s->cpus >= VMT_TSC_CPUS)
		return -EINVAL;
	s->adjust[s->cpus] = 0;
	return (int)s->cpus++;
}

static uint64_t scaled(const struct vmt_tsc *s, uint64_t host)
{
	return (uint64_t)((vmt_ns_u128)host * s->ratio >> s->host.frac);
}

uint64_t vmt_tsc_line(const struct vmt_tsc *s, uint64_t host)
{
	return scaled(s, host) + s->offset;
}

void vmt_tsc_set(struct vmt_tsc *s, uint64_t host, uint64_t guest)
{
	s->offset = guest - scaled(s, host);
}

int vmt_tsc_scale(struct vmt_tsc *s, uint64_t host, uint32_t khz)
{
	uint64_t guest = vmt_tsc_line(s, host), ratio = one(&s->host);

	if (khz != s->host.khz && (vmt_tsc_tolerated(&s->host, khz) ||
				   vmt_tsc_ratio(s->host.khz, khz, s->host.frac, &ratio) < 0))
		return -EINVAL;
	s->ratio = ratio;
	s->khz = khz;
	vmt_tsc_set(s, host, guest);
	return 0;
}

uint64_t vmt_tsc_at(const struct vmt_tsc *s, uint32_t cpu, uint64_t host)
{
	return vmt_tsc_line(s, host) + s->adjust[cpu];
}

uint64_t vmt_tsc_offset(const struct vmt_tsc *s, uint32_t cpu)
{
	return s->offset + s->adjust[cpu];
}

int vmt_tsc_agree(const struct vmt_tsc *s)
{
	for (uint32_t cpu = 1; cpu < s->cpus; cpu++)
		if (s->adjust[cpu] != s->adjust[0])
			return 0;
	return 1;
}

int vmt_tsc_factor(const struct vmt_tsc *s, uint64_t mult, uint32_t shift, uint64_t *ret_mult,
		   uint32_t *ret_shift)
{
	vmt_ns_u128 n = (vmt_ns_u128)mult << s->host.frac;

	if (!mult)
		return -EINVAL;
	while (n >> 64 >= s->ratio) { /* the quotient needs more than 64 bits */
		if (!shift)
			return -EINVAL;
		n >>= 1;
		shift--;
	}
	*ret_mult = vmt_ns_div_floor(n, s->ratio);
	*ret_shift = shift;
	return *ret_mult ? 0 : -EINVAL;
}

int vmt_tsc_read(const struct vmt_tsc *s, uint64_t host, uint32_t cpu, uint32_t msr,
		 uint64_t *ret_value)
{
	if (cpu >= s->cpus || (msr != VMT_MSR_TSC && msr != VMT_MSR_TSC_ADJUST))
		return -ENOENT;
	*ret_value = msr == VMT_MSR_TSC ? vmt_tsc_at(s, cpu, host) : s->adjust[cpu];
	return 0;
}

int vmt_tsc_write(struct vmt_tsc *s, uint64_t host, uint32_t cpu, uint32_t msr, uint64_t value)
{
	uint64_t before;

	if (cpu >= s->cpus || (msr != VMT_MSR_TSC && msr != VMT_MSR_TSC_ADJUST))
		return -ENOENT;
	before = s->adjust[cpu];
	s->adjust[cpu] = msr == VMT_MSR_TSC ? value - vmt_tsc_line(s, host) : value;
	return s->adjust[cpu] != before;
}

int vmt_tsc_save(const struct vmt_tsc *s, uint64_t host, void *buf, size_t size)
{
	struct vmt_snap_writer w;

	static_assert(sizeof(struct vmt_tsc) == 40 + 8 * VMT_TSC_CPUS,
		      "a new field is to be saved");
	vmt_snap_start(&w, buf, size, VMT_SNAP_TSC, SAVED_VERSION);
	vmt_snap_put(&w, s->cpus, 4);
	vmt_snap_put(&w, s->khz, 4);
	vmt_snap_put(&w, vmt_tsc_line(s, host), 8);
	for (uint32_t cpu = 0; cpu < s->cpus; cpu++)
		vmt_snap_put(&w, s->adjust[cpu], 8);
	return vmt_snap_finish(&w);
}

int vmt_tsc_load(struct vmt_tsc *s, uint64_t host, const void *buf, size_t size)
{
	struct vmt_tsc loaded;
	struct vmt_snap_reader r;
	uint32_t cpus, khz;
	uint64_t guest;
	int result;

	(void)vmt_tsc_init(&loaded, s->cpus, &s->host);
	vmt_snap_open(&r, buf, size, VMT_SNAP_TSC, SAVED_VERSION);
	cpus = vmt_snap_get32(&r);
	khz = vmt_snap_get32(&r);
	guest = vmt_snap_get64(&r);
	for (uint32_t cpu = 0; cpu < s->cpus; cpu++)
		loaded.adjust[cpu] = vmt_snap_get64(&r);
	if (vmt_snap_close(&r) || cpus != s->cpus || !khz)
		return -EINVAL;
	result = vmt_tsc_scale(&loaded, host, khz) < 0;
	vmt_tsc_set(&loaded, host, guest);
	*s = loaded;
	return result;
}
