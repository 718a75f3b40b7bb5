/* SPDX-License-Identifier: Apache-2.0 */
/* kvmclock.c - KVM's clock for guests: registers, and the line that all of its entries say. */
#include <vmtime/kvmclock.h>

#include <assert.h>
#include <errno.h>
#include <stdbool.h>

#include "core/ns.h"
#include "core/snap.h"
#include "faces/page.h"

enum { SAVED_VERSION = 1, SHIFT_MAX = 33, ENABLED = 1, UNALIGNED = 3 };
enum { WORDS = VMT_KVMCLOCK_BYTES / 4, WALL_WORDS = VMT_KVMCLOCK_WALL_BYTES / 4 };
enum { FLAGS_WORD = 7, FLAGS_BIT = 8 }; /* byte 29; the shift is byte 28 */

int vmt_kvmclock_init(struct vmt_kvmclock *s, uint32_t cpus)
{
	if (cpus < 1 || cpus > VMT_KVMCLOCK_CPUS)
		return -EINVAL;
	*s = (struct vmt_kvmclock){.cpus = cpus};
	return 0;
}

void vmt_kvmclock_reset(struct vmt_kvmclock *s)
{
	s->wall = 0;
	for (uint32_t cpu = 0; cpu < s->cpus; cpu++) {
		s->system[cpu] = 0;
		s->stopped[cpu] = 0;
	}
}

static bool is_wall(uint32_t msr)
{
	return msr == VMT_MSR_KVM_WALL || msr == VMT_MSR_KVM_WALL_OLD;
}

static bool is_system(uint32_t msr)
{
	return msr == VMT_MSR_KVM_SYSTEM || msr == VMT_MSR_KVM_SYSTEM_OLD;
}

int vmt_kvmclock_read(const struct vmt_kvmclock *s, uint32_t cpu, uint32_t msr, uint64_t *ret_value)
{
	if (cpu >= s->cpus || !(is_wall(msr) || is_system(msr)))
		return -ENOENT;
	*ret_value = is_wall(msr) ? s->wall : s->system[cpu];
	return 0;
}

int vmt_kvmclock_write(struct vmt_kvmclock *s, vmt_ns now, uint32_t cpu, uint32_t msr,
		       uint64_t value, struct vmt_out *ret_out)
{
	if (cpu >= s->cpus || !(is_wall(msr) || is_system(msr)))
		return -ENOENT;
	*ret_out = (struct vmt_out){.deadline = VMT_NEVER, .ready = now};
	if (is_wall(msr)) {
		s->wall = value;
		ret_out->dirty = VMT_KVMCLOCK_DIRTY_WALL;
	} else {
		s->system[cpu] = value;
		s->stopped[cpu] = 0; /* what it has not seen yet is for who registers now */
		ret_out->dirty = VMT_KVMCLOCK_DIRTY_CPU;
	}
	return 0;
}

vmt_ns vmt_kvmclock_at(const struct vmt_kvmclock *s, uint64_t tsc)
{
	uint64_t counts = (tsc - s->tsc) << s->shift;

	return s->ns + (uint64_t)((vmt_ns_u128)counts * s->mul >> 32);
}

/* mult / 2^from as mul / 2^32 * 2^shift, rounded down, with the smallest shift from 0 on. */
static bool page_factor(uint64_t mult, uint32_t from, uint32_t *ret_mul, uint32_t *ret_shift)
{
	uint32_t shift = 0;
	vmt_ns_u128 mul;

	if (from > 64 || !mult)
		return false;
	while (shift < SHIFT_MAX && (vmt_ns_u128)mult >> (from + shift))
		shift++;
	mul = ((vmt_ns_u128)mult << 32) >> (from + shift);
	if (!mul || mul > UINT32_MAX)
		return false;
	*ret_mul = (uint32_t)mul;
	*ret_shift = shift;
	return true;
}

int vmt_kvmclock_anchor(struct vmt_kvmclock *s, uint64_t tsc, vmt_ns now, uint64_t mult,
			uint32_t shift)
{
	vmt_ns shown = tsc > s->tsc ? vmt_kvmclock_at(s, tsc) : s->ns;
	uint64_t ahead = shown > now ? shown - now : 0;
	uint32_t page_mul, page_shift;

	if (!page_factor(mult, shift, &page_mul, &page_shift))
		return -EINVAL;
	s->tsc = tsc;
	s->ns = now + ahead;
	s->mul = page_mul;
	s->shift = page_shift;
	return ahead < INT32_MAX ? (int)ahead : INT32_MAX;
}

void vmt_kvmclock_stable(struct vmt_kvmclock *s, uint32_t stable)
{
	s->stable = stable != 0;
}

void vmt_kvmclock_stopped(struct vmt_kvmclock *s)
{
	for (uint32_t cpu = 0; cpu < s->cpus; cpu++)
		s->stopped[cpu] = 1;
}

uint64_t vmt_kvmclock_place(const struct vmt_kvmclock *s, uint32_t cpu)
{
	uint64_t value = cpu < s->cpus ? s->system[cpu] : 0;

	return value & ENABLED && !((value & ~(uint64_t)ENABLED) & UNALIGNED)
		       ? value & ~(uint64_t)ENABLED
		       : VMT_KVMCLOCK_NOWHERE;
}

uint64_t vmt_kvmclock_wall_place(const struct vmt_kvmclock *s)
{
	return s->wall && !(s->wall & UNALIGNED) ? s->wall : VMT_KVMCLOCK_NOWHERE;
}

void vmt_kvmclock_publish(struct vmt_kvmclock *s, uint32_t cpu, uint64_t adjust, void *entry)
{
	uint32_t *words = entry;
	uint32_t kept = __atomic_load_n(&words[FLAGS_WORD], __ATOMIC_RELAXED) >> FLAGS_BIT &
			VMT_KVMCLOCK_STOPPED;
	uint32_t flags = (s->stable ? VMT_KVMCLOCK_STABLE : 0U) | kept;
	const uint64_t tsc = s->tsc + adjust;
	uint32_t made[WORDS] = {
		[2] = (uint32_t)tsc,   [3] = (uint32_t)(tsc >> 32),
		[4] = (uint32_t)s->ns, [5] = (uint32_t)(s->ns >> 32),
		[6] = s->mul,
	};

	if (s->stopped[cpu])
		flags |= VMT_KVMCLOCK_STOPPED;
	s->stopped[cpu] = 0;
	made[FLAGS_WORD] = s->shift | flags << FLAGS_BIT;
	vmt_page_publish(words, made, WORDS);
}

void vmt_kvmclock_publish_wall(int64_t utc_offset_ns, void *entry)
{
	uint64_t ns = utc_offset_ns > 0 ? (uint64_t)utc_offset_ns : 0;
	const uint32_t made[WALL_WORDS] = {
		[1] = (uint32_t)(ns / VMT_NS_PER_S),
		[2] = (uint32_t)(ns % VMT_NS_PER_S),
	};

	vmt_page_publish(entry, made, WALL_WORDS);
}

int vmt_kvmclock_save(const struct vmt_kvmclock *s, void *buf, size_t size)
{
	struct vmt_snap_writer w;

	static_assert(sizeof(struct vmt_kvmclock) == 40 + 9 * VMT_KVMCLOCK_CPUS,
		      "a new field is to be saved");
	vmt_snap_start(&w, buf, size, VMT_SNAP_KVMCLOCK, SAVED_VERSION);
	vmt_snap_put(&w, s->cpus, 4);
	vmt_snap_put(&w, s->tsc, 8);
	vmt_snap_put(&w, s->ns, 8);
	vmt_snap_put(&w, s->mul, 4);
	vmt_snap_put(&w, s->shift, 4);
	vmt_snap_put(&w, s->stable, 1);
	vmt_snap_put(&w, s->wall, 8);
	for (uint32_t cpu = 0; cpu < s->cpus; cpu++) {
		vmt_snap_put(&w, s->system[cpu], 8);
		vmt_snap_put(&w, s->stopped[cpu], 1);
	}
	return vmt_snap_finish(&w);
}

int vmt_kvmclock_load(struct vmt_kvmclock *s, const void *buf, size_t size)
{
	struct vmt_kvmclock loaded = {0};
	struct vmt_snap_reader r;
	bool flags = true;

	vmt_snap_open(&r, buf, size, VMT_SNAP_KVMCLOCK, SAVED_VERSION);
	loaded.cpus = vmt_snap_get32(&r);
	loaded.tsc = vmt_snap_get64(&r);
	loaded.ns = vmt_snap_get64(&r);
	loaded.mul = vmt_snap_get32(&r);
	loaded.shift = vmt_snap_get32(&r);
	loaded.stable = vmt_snap_get8(&r);
	loaded.wall = vmt_snap_get64(&r);
	for (uint32_t cpu = 0; cpu < s->cpus; cpu++) {
		loaded.system[cpu] = vmt_snap_get64(&r);
		loaded.stopped[cpu] = vmt_snap_get8(&r);
		flags &= loaded.stopped[cpu] <= 1;
	}
	if (vmt_snap_close(&r) || loaded.cpus != s->cpus || loaded.shift > SHIFT_MAX ||
	    loaded.stable > 1 || !flags)
		return -EINVAL;
	*s = loaded;
	return 0;
}
