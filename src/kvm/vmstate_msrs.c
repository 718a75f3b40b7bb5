/* SPDX-License-Identifier: Apache-2.0 */
/* vmstate_msrs.c - a CPU's model specific registers. */
#include "kvm/vmstate_msrs.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include <vmtime/kvmclock.h>
#include <vmtime/steal.h>
#include <vmtime/tsc.h>

/* KVM takes fewer than 256 at a time (MAX_IO_MSRS). */
enum { BATCH = 128, MOST = 4096 };

#define MSR_ARCH_CAPABILITIES 0x10aU
#define HYPERV_FIRST 0x40000000U
#define HYPERV_LAST 0x4000ffffU

/* A struct kvm_msrs with room. */
struct batch {
	uint32_t nmsrs, pad;
	struct kvm_msr_entry entries[BATCH];
};

static bool is_left_out(uint32_t msr, bool our_kvm_clock, bool our_steal)
{
	switch (msr) {
	case VMT_MSR_TSC:
	case VMT_MSR_TSC_ADJUST:
	case VMSTATE_MSR_DEADLINE:
		return true;
	case VMT_MSR_KVM_WALL_OLD:
	case VMT_MSR_KVM_WALL_OLD + 1:
	case VMT_MSR_KVM_WALL:
	case VMT_MSR_KVM_WALL + 1:
		return our_kvm_clock;
	case VMT_MSR_KVM_STEAL:
		return our_steal;
	default:
		return msr >= HYPERV_FIRST && msr <= HYPERV_LAST;
	}
}

/* The indices that KVM knows, to be freed; NULL and errno. */
static struct kvm_msr_list *list(const struct vm *vm)
{
	struct kvm_msr_list *l = calloc(1, sizeof(*l) + MOST * sizeof(l->indices[0]));

	if (!l)
		return NULL;
	l->nmsrs = MOST;
	if (ioctl(vm->kvm_fd, KVM_GET_MSR_INDEX_LIST, l) < 0) {
		free(l);
		return NULL;
	}
	return l;
}

/* Those of [0, n) that the CPU has; KVM stops at one that it has not.  How many; negative errno. */
static int read_some(const struct vcpu *v, const uint32_t *indices, uint32_t n,
		     struct kvm_msr_entry *to)
{
	int used = 0;

	for (uint32_t from = 0; from < n;) {
		struct batch b = {0};
		int got;

		b.nmsrs = n - from < BATCH ? n - from : BATCH;
		for (uint32_t i = 0; i < b.nmsrs; i++)
			b.entries[i].index = indices[from + i];
		got = ioctl(v->fd, KVM_GET_MSRS, &b);
		if (got < 0)
			return -errno;
		memcpy(to + used, b.entries, (size_t)got * sizeof(*to));
		used += got;
		from += (uint32_t)got + ((uint32_t)got < b.nmsrs);
	}
	return used;
}

static bool is_unseen(const struct vcpu *v, const struct kvm_msr_entry *e)
{
	for (uint32_t i = 0; v->unseen && i < v->unseen->n; i++)
		if (v->unseen->entries[i].index == e->index)
			return v->unseen->entries[i].data == e->data;
	return false;
}

static void leave_out_unseen(const struct vcpu *v, struct vmstate_msrs *m)
{
	uint32_t kept = 0;

	for (uint32_t i = 0; i < m->n; i++)
		if (!is_unseen(v, &m->entries[i]))
			m->entries[kept++] = m->entries[i];
	m->n = kept;
}

int vmstate_msrs_read(const struct vm *vm, const struct vcpu *v, bool our_kvm_clock, bool our_steal,
		      struct vmstate_msrs **ret_msrs, struct why *why)
{
	struct kvm_msr_list *l = list(vm);
	struct vmstate_msrs *m;
	uint32_t n = 0;
	int got;

	if (!l)
		return why_set(why, -EIO, "KVM refused to list a CPU's registers: %s",
			       strerror(errno));
	for (uint32_t i = 0; i < l->nmsrs; i++)
		if (!is_left_out(l->indices[i], our_kvm_clock, our_steal))
			l->indices[n++] = l->indices[i];
	m = calloc(1, sizeof(*m) + n * sizeof(m->entries[0]));
	got = m ? read_some(v, l->indices, n, m->entries) : -ENOMEM;
	free(l);
	if (got < 0) {
		free(m);
		return why_set(why, got == -ENOMEM ? -ENOMEM : -EIO,
			       "KVM refused to tell CPU %u's registers: %s", v->cpu,
			       strerror(-got));
	}
	m->n = (uint32_t)got;
	leave_out_unseen(v, m);
	*ret_msrs = m;
	return 0;
}

static bool is_among(const uint8_t *entries, uint32_t n, uint32_t msr)
{
	for (uint32_t i = 0; i < n; i++) {
		struct kvm_msr_entry entry;

		memcpy(&entry, entries + i * sizeof(entry), sizeof(entry));
		if (entry.index == msr)
			return true;
	}
	return false;
}

int vmstate_msrs_go_on(const struct vm *vm, struct vcpu *v, bool our_kvm_clock, bool our_steal,
		       const uint8_t *entries, uint32_t n, struct why *why)
{
	struct vmstate_msrs *m;
	uint32_t kept = 0;
	int result;

	free(v->unseen);
	v->unseen = NULL;
	result = vmstate_msrs_read(vm, v, our_kvm_clock, our_steal, &m, why);
	if (result < 0)
		return result;
	for (uint32_t i = 0; i < m->n; i++)
		if (!is_among(entries, n, m->entries[i].index))
			m->entries[kept++] = m->entries[i];
	m->n = kept;
	v->unseen = m;
	return 0;
}

bool vmstate_msrs_fit(const uint8_t *entries, uint32_t n, bool our_kvm_clock, bool our_steal,
		      uint32_t *ret_msr)
{
	for (uint32_t i = 0; i < n; i++) {
		struct kvm_msr_entry entry;

		memcpy(&entry, entries + i * sizeof(entry), sizeof(entry));
		*ret_msr = entry.index;
		if (is_left_out(entry.index, our_kvm_clock, our_steal))
			return false;
	}
	return true;
}

/* IA32_ARCH_CAPABILITIES: by which faults its CPU is not hit, so that a guest leaves out what it
 * would do against them.  KVM takes any (arch/x86/kvm/x86.c), and has this host's until then. */
static int check_promises(const struct vcpu *v, const uint8_t *entries, uint32_t n, struct why *why)
{
	for (uint32_t i = 0; i < n; i++) {
		struct kvm_msr_entry entry;
		uint64_t here = 0;

		memcpy(&entry, entries + i * sizeof(entry), sizeof(entry));
		if (entry.index == MSR_ARCH_CAPABILITIES &&
		    (!vcpu_get_msr(v, entry.index, &here) || entry.data & ~here))
			return why_set(
				why, -EXDEV,
				"CPU %u was promised 0x%" PRIx64
				" of IA32_ARCH_CAPABILITIES, which "
				"this host cannot keep (use a host that is hit by no more faults)",
				v->cpu, (uint64_t)entry.data & ~here);
	}
	return 0;
}

int vmstate_msrs_write(const struct vcpu *v, const uint8_t *entries, uint32_t n, struct why *why)
{
	int result = check_promises(v, entries, n, why);

	if (result < 0)
		return result;
	for (uint32_t from = 0; from < n;) {
		struct batch b = {0};
		const struct kvm_msr_entry *stopped;
		uint64_t value;
		int set;

		b.nmsrs = n - from < BATCH ? n - from : BATCH;
		memcpy(b.entries, entries + from * sizeof(b.entries[0]),
		       b.nmsrs * sizeof(b.entries[0]));
		set = ioctl(v->fd, KVM_SET_MSRS, &b);
		if (set < 0)
			return why_set(why, -EIO, "KVM refused CPU %u's registers: %s", v->cpu,
				       strerror(errno));
		from += (uint32_t)set;
		if ((uint32_t)set == b.nmsrs)
			continue;
		stopped = &b.entries[set];
		if (!vcpu_get_msr(v, stopped->index, &value) || value != stopped->data)
			return why_set(why, -EIO,
				       "KVM refused 0x%" PRIx64 " for CPU %u's register 0x%x (use "
				       "a host like the one that it comes from)",
				       (uint64_t)stopped->data, v->cpu, stopped->index);
		from++;
	}
	return 0;
}
