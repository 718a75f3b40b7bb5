/* SPDX-License-Identifier: Apache-2.0 */
/* keep.c - a VM that never runs, for as long as the lab does.
 *
 * With the first VM and the last one Linux patches its own code (virt/kvm/kvm_main.c,
 * preempt_notifier_key: in every switch of tasks), and so it does when the first local APIC is
 * disabled and the last one enabled (arch/x86/kvm/lapic.c, apic_sw_disabled and apic_hw_disabled).
 * QEMU before 8.1 does not hold a page while it translates it: a CPU that translates what another
 * one patches may keep the breakpoint that stood there in between, and executes it for ever.  Some
 * dozens of VMs one after the other froze the lab, or one of them ended in a triple fault.  One VM
 * that stays, with an APIC of either kind, leaves nothing to patch. */
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <sys/ioctl.h>

#include "guest.h"

#define APIC_BASE_ENABLE (1ULL << 11)

int guest_keep_vm(void)
{
	int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC), vm, cpu;
	struct kvm_sregs registers;

	if (kvm < 0)
		return 0; /* the command will be the one to say so */
	vm = ioctl(kvm, KVM_CREATE_VM, 0UL);
	if (vm < 0 || ioctl(vm, KVM_CREATE_IRQCHIP) < 0 || ioctl(vm, KVM_CREATE_VCPU, 0UL) < 0)
		return -errno;
	cpu = ioctl(vm, KVM_CREATE_VCPU, 1UL);
	if (cpu < 0 || ioctl(cpu, KVM_GET_SREGS, &registers) < 0)
		return -errno;
	registers.apic_base &= ~APIC_BASE_ENABLE;
	return ioctl(cpu, KVM_SET_SREGS, &registers) < 0 ? -errno : 0;
}
