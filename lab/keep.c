/* SPDX-License-Identifier: Apache-2.0 */
/* keep.c - VMs that never run, for as long as the lab does.
 *
 * With the first VM and the last one Linux patches its own code (virt/kvm/kvm_main.c,
 * preempt_notifier_key: in every switch of tasks), and so it does when the first local APIC is
 * disabled and the last one enabled (arch/x86/kvm/lapic.c, apic_sw_disabled and apic_hw_disabled),
 * and with the first CPU that has none and the last such one (x86.c, kvm_has_noapic_vcpu: on the
 * way into every guest; what asks KVM what it can do, as each VMM does when it begins, makes such
 * a CPU).  QEMU before 8.1 does not hold a page while it translates it: a CPU that translates what
 * another one patches may keep the breakpoint that stood there in between, and executes it for
 * ever.  Some dozens of VMs one after the other, or a VMM that began beside a busy guest, froze
 * the lab, or one of them ended in a triple fault.  Two VMs that stay, with a CPU of each kind,
 * leave nothing to patch. */
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <sys/ioctl.h>

#include "guest.h"

#define APIC_BASE_ENABLE (1ULL << 11)

/* One whose APIC is as it is reset, disabled by software, and one whose APIC is off. */
static int keep_apics(int kvm)
{
	int vm = ioctl(kvm, KVM_CREATE_VM, 0UL), cpu;
	struct kvm_sregs registers;

	if (vm < 0 || ioctl(vm, KVM_CREATE_IRQCHIP) < 0 || ioctl(vm, KVM_CREATE_VCPU, 0UL) < 0)
		return -errno;
	cpu = ioctl(vm, KVM_CREATE_VCPU, 1UL);
	if (cpu < 0 || ioctl(cpu, KVM_GET_SREGS, &registers) < 0)
		return -errno;
	registers.apic_base &= ~APIC_BASE_ENABLE;
	return ioctl(cpu, KVM_SET_SREGS, &registers) < 0 ? -errno : 0;
}

/* Whose interrupt controllers, if any, are its VMM's. */
static int keep_no_apic(int kvm)
{
	int vm = ioctl(kvm, KVM_CREATE_VM, 0UL);

	return vm < 0 || ioctl(vm, KVM_CREATE_VCPU, 0UL) < 0 ? -errno : 0;
}

int guest_keep_vms(void)
{
	int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC), error;

	if (kvm < 0)
		return 0; /* the command will be the one to say so */
	error = keep_apics(kvm);
	return error ? error : keep_no_apic(kvm);
}
