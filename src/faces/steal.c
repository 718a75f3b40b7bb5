/* SPDX-License-Identifier: Apache-2.0 */
/* steal.c - KVM's steal time for guests: registers, and the counts that the entries show. */
#include <vmtime/steal.h>

#include <assert.h>
#include <errno.h>
#include <stdbool.h>

#include "core/snap.h"
#include "faces/page.h"

enum { SAVED_VERSION = 1, ENABLED = 1, RESERVED = 0x3e };
/* Words of an entry: the count, the version, flags, then `preempted` with what is beside it.  The
 * rest is the guest's. */
enum { LOW_WORD, HIGH_WORD, VERSION_WORD, WORDS = 5 };

int vmt_steal_init(struct vmt_steal *s, uint32_t cpus)
{
	if (cpus < 1 || cpus > VMT_STEAL_CPUS)
		return -EINVAL;
	*s = (struct vmt_steal){.cpus = cpus};
	return 0;
}

void vmt_steal_reset(struct vmt_steal *s)
{
	*s = (struct vmt_steal){.cpus = s->cpus};
}

int vmt_steal_read(const struct vmt_steal *s, uint32_t cpu, uint32_t msr, uint64_t *ret_value)
{
	if (cpu >= s->cpus || msr != VMT_MSR_KVM_STEAL)
		return -ENOENT;
	*ret_value = s->msr[cpu];
	return 0;
}

int vmt_steal_write(struct vmt_steal *s, vmt_ns now, uint32_t cpu, uint32_t msr, uint64_t value,
		    struct vmt_out *ret_out)
{
	if (cpu >= s->cpus || msr != VMT_MSR_KVM_STEAL)
		return -ENOENT;
	if (value & RESERVED)
		return -EPERM;
	*ret_out = (struct vmt_out){.deadline = VMT_NEVER, .ready = now};
	s->msr[cpu] = value;
	s->ns[cpu] = 0;
	s->fresh[cpu] = value & ENABLED;
	ret_out->dirty = value & ENABLED;
	return 0;
}

/* At the end of its range the count stays: it must not get smaller. */
static uint64_t sum(uint64_t a, uint64_t b)
{
	return a > UINT64_MAX - b ? UINT64_MAX : a + b;
}

int vmt_steal_add(struct vmt_steal *s, uint32_t cpu, uint64_t ns)
{
	if (vmt_steal_place(s, cpu) == VMT_STEAL_NOWHERE || ns == 0)
		return 0;
	s->ns[cpu] = sum(s->ns[cpu], ns);
	return 1;
}

uint64_t vmt_steal_place(const struct vmt_steal *s, uint32_t cpu)
{
	uint64_t value = cpu < s->cpus ? s->msr[cpu] : 0;

	return value & ENABLED ? value & ~(uint64_t)(ENABLED | RESERVED) : VMT_STEAL_NOWHERE;
}

void vmt_steal_publish(struct vmt_steal *s, uint32_t cpu, void *entry)
{
	uint32_t *words = entry, made[WORDS] = {0};

	if (s->fresh[cpu]) {
		uint64_t low = __atomic_load_n(&words[LOW_WORD], __ATOMIC_RELAXED);
		uint64_t high = __atomic_load_n(&words[HIGH_WORD], __ATOMIC_RELAXED);

		s->ns[cpu] = sum(s->ns[cpu], low | high << 32);
		s->fresh[cpu] = 0;
	}
	made[LOW_WORD] = (uint32_t)s->ns[cpu];
	made[HIGH_WORD] = (uint32_t)(s->ns[cpu] >> 32);
	vmt_page_publish_at(words, VERSION_WORD, made, WORDS);
}

int vmt_steal_save(const struct vmt_steal *s, void *buf, size_t size)
{
	struct vmt_snap_writer w;

	static_assert(sizeof(struct vmt_steal) == 8 + 17 * VMT_STEAL_CPUS,
		      "a new field is to be saved");
	vmt_snap_start(&w, buf, size, VMT_SNAP_STEAL, SAVED_VERSION);
	vmt_snap_put(&w, s->cpus, 4);
	for (uint32_t cpu = 0; cpu < s->cpus; cpu++) {
		vmt_snap_put(&w, s->msr[cpu], 8);
		vmt_snap_put(&w, s->ns[cpu], 8);
		vmt_snap_put(&w, s->fresh[cpu], 1);
	}
	return vmt_snap_finish(&w);
}

int vmt_steal_load(struct vmt_steal *s, const void *buf, size_t size)
{
	struct vmt_steal loaded = {0};
	struct vmt_snap_reader r;
	bool possible = true;

	vmt_snap_open(&r, buf, size, VMT_SNAP_STEAL, SAVED_VERSION);
	loaded.cpus = vmt_snap_get32(&r);
	for (uint32_t cpu = 0; cpu < s->cpus; cpu++) {
		bool enabled;

		loaded.msr[cpu] = vmt_snap_get64(&r);
		loaded.ns[cpu] = vmt_snap_get64(&r);
		loaded.fresh[cpu] = vmt_snap_get8(&r);
		enabled = loaded.msr[cpu] & ENABLED;
		possible &= !(loaded.msr[cpu] & RESERVED) && loaded.fresh[cpu] <= enabled &&
			    (enabled || loaded.ns[cpu] == 0);
	}
	if (vmt_snap_close(&r) || loaded.cpus != s->cpus || !possible)
		return -EINVAL;
	*s = loaded;
	return 0;
}
