/* SPDX-License-Identifier: Apache-2.0 */
/* vm_log.c - KVM's log of which pages were written: virt/kvm/api.rst 4.8, 4.117 and 8.9. */
#include <errno.h>
#include <linux/kvm.h>
#include <string.h>
#include <sys/ioctl.h>

#include "kvm/dirty.h"
#include "kvm/vm.h"

static int get(void *owner, uint32_t slot, uint64_t *bits)
{
	const struct vm *vm = owner;
	struct kvm_dirty_log log = {.slot = slot, .dirty_bitmap = bits};

	return ioctl(vm->fd, KVM_GET_DIRTY_LOG, &log) < 0 ? -errno : 0;
}

static int clear(void *owner, uint32_t slot, uint64_t first, uint32_t pages, const uint64_t *bits)
{
	const struct vm *vm = owner;
	struct kvm_clear_dirty_log log = {
		.slot = slot,
		.num_pages = pages,
		.first_page = first,
		.dirty_bitmap = (void *)(uintptr_t)bits, /* it is read */
	};

	if (!vm->logs_by_hand)
		return 0; /* they have been since the log was read */
	return ioctl(vm->fd, KVM_CLEAR_DIRTY_LOG, &log) < 0 ? -errno : 0;
}

static bool by_hand(const struct vm *vm)
{
	const uint64_t wanted = KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE | KVM_DIRTY_LOG_INITIALLY_SET;
	struct kvm_enable_cap cap = {
		.cap = KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2,
		.args = {(uint64_t)vm_capability(vm, KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2) & wanted},
	};

	return cap.args[0] && ioctl(vm->fd, KVM_ENABLE_CAP, &cap) == 0;
}

int vm_log_begin(struct vm *vm, const struct guest_memory *memory, struct dirty_log *ret_log,
		 struct why *why)
{
	int result;

	if (vm->logs)
		return why_set(why, -EBUSY, "its memory is watched already");
	vm->logs_by_hand = by_hand(vm);
	result = vm_set_memory(vm, memory, KVM_MEM_LOG_DIRTY_PAGES, why);
	vm->logs = result == 0;
	if (result < 0)
		(void)vm_set_memory(vm, memory, 0, NULL);
	*ret_log = (struct dirty_log){.get = get, .clear = clear, .owner = vm};
	return result;
}

void vm_log_end(struct vm *vm, const struct guest_memory *memory)
{
	if (vm->logs)
		(void)vm_set_memory(vm, memory, 0, NULL);
	vm->logs = false;
}
