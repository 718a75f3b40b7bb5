/* SPDX-License-Identifier: Apache-2.0 */
/* vm.c - one KVM virtual machine. */
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <vmtime/kvmclock.h>
#include <vmtime/steal.h>
#include <vmtime/tsc.h>

#include "kvm/vm.h"

/* Just below the firmware area that a PC has at the top of 4 GiB: Intel hosts need four pages of
 * guest-physical space for real mode (Documentation/virt/kvm/api.rst, KVM_SET_TSS_ADDR). */
#define TSS_ADDRESS 0xfffbd000UL
#define IDENTITY_MAP_ADDRESS 0xfffbc000ULL

enum { PIC_INPUTS = 8, ISA_LINES = 16, IOAPIC_PINS = VM_GSIS, CASCADE = 2, API_VERSION = 12 };

static int refused(struct why *why, const char *what)
{
	int error = errno;

	return why_set(why, error == ENOMEM ? -ENOMEM : -EIO, "KVM refused %s: %s", what,
		       strerror(error));
}

int vm_capability(const struct vm *vm, unsigned capability)
{
	int value = ioctl(vm->fd >= 0 ? vm->fd : vm->kvm_fd, KVM_CHECK_EXTENSION, capability);

	return value < 0 ? 0 : value;
}

static int open_kvm(struct vm *vm, struct why *why)
{
	int version;

	vm->kvm_fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (vm->kvm_fd < 0 && (errno == EACCES || errno == EPERM))
		return why_set(why, -ENODEV,
			       "/dev/kvm: permission denied (run as root or join the group kvm)");
	if (vm->kvm_fd < 0)
		return why_set(why, -ENODEV, "/dev/kvm: %s (load the module kvm_intel or kvm_amd)",
			       strerror(errno));
	version = ioctl(vm->kvm_fd, KVM_GET_API_VERSION, 0);
	if (version != API_VERSION)
		return why_set(why, -ENODEV,
			       "/dev/kvm speaks version %d of its interface, not %d (use a newer "
			       "kernel)",
			       version, API_VERSION);
	return 0;
}

static int check_cpus(const struct vm *vm, uint32_t cpus, struct why *why)
{
	uint32_t max = (uint32_t)vm_capability(vm, KVM_CAP_MAX_VCPUS);

	if (max == 0)
		max = (uint32_t)vm_capability(vm, KVM_CAP_NR_VCPUS);
	if (max > VM_MAX_CPUS)
		max = VM_MAX_CPUS;
	if (cpus < 1 || cpus > max)
		return why_set(why, -EINVAL,
			       "%u CPUs are not possible here (give a number from 1 to %u)", cpus,
			       max);
	return 0;
}

static int set_slot(const struct vm *vm, uint32_t slot, uint32_t flags, uint64_t gpa,
		    const uint8_t *at, uint64_t size, struct why *why)
{
	struct kvm_userspace_memory_region region = {
		.slot = slot,
		.flags = flags,
		.guest_phys_addr = gpa,
		.memory_size = size,
		.userspace_addr = (uint64_t)(uintptr_t)at,
	};

	if (size && ioctl(vm->fd, KVM_SET_USER_MEMORY_REGION, &region) < 0)
		return refused(why, "the guest's memory");
	return 0;
}

int vm_set_memory(const struct vm *vm, const struct guest_memory *memory, uint32_t flags,
		  struct why *why)
{
	int result = set_slot(vm, 0, flags, 0, memory->low, memory->low_size, why);

	return result < 0 ? result
			  : set_slot(vm, 1, flags, MEMORY_HIGH_BASE, memory->high,
				     memory->high_size, why);
}

/* A struct kvm_irq_routing with room for its entries. */
struct routes {
	uint32_t nr, flags;
	struct kvm_irq_routing_entry entries[ISA_LINES + IOAPIC_PINS];
};

static void route(struct routes *r, uint32_t gsi, uint32_t chip, uint32_t pin)
{
	struct kvm_irq_routing_entry *entry = &r->entries[r->nr++];

	entry->gsi = gsi;
	entry->type = KVM_IRQ_ROUTING_IRQCHIP;
	entry->u.irqchip.irqchip = chip;
	entry->u.irqchip.pin = pin;
}

static int set_routes(const struct vm *vm, struct why *why)
{
	struct routes r = {0};

	for (uint32_t gsi = 0; gsi < IOAPIC_PINS; gsi++) {
		if (gsi == CASCADE)
			continue;
		if (gsi < PIC_INPUTS)
			route(&r, gsi, KVM_IRQCHIP_PIC_MASTER, gsi);
		else if (gsi < ISA_LINES)
			route(&r, gsi, KVM_IRQCHIP_PIC_SLAVE, gsi - PIC_INPUTS);
		route(&r, gsi, KVM_IRQCHIP_IOAPIC, gsi == VM_GSI_TICK ? CASCADE : gsi);
	}
	if (ioctl(vm->fd, KVM_SET_GSI_ROUTING, &r) < 0)
		return refused(why, "the interrupt routes");
	return 0;
}

static int create_pit(const struct vm *vm, bool reinject, struct why *why)
{
	struct kvm_pit_config config = {.flags = KVM_PIT_SPEAKER_DUMMY};
	struct kvm_reinject_control control = {.pit_reinject = reinject};

	if (ioctl(vm->fd, KVM_CREATE_PIT2, &config) < 0)
		return refused(why, "its own PIT");
	if (ioctl(vm->fd, KVM_REINJECT_CONTROL, &control) < 0)
		return refused(why, "a tick policy for its own PIT");
	return 0;
}

/* AMD's AVIC, where it is on, ends an edge's interrupt without telling KVM. */
static bool is_mute(void)
{
	char text[8] = "";
	int fd = open("/sys/module/kvm_amd/parameters/avic", O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return false;
	(void)!read(fd, text, sizeof(text) - 1);
	close(fd);
	return text[0] == 'Y' || text[0] == '1';
}

static int listen_for_ack(struct vm *vm, uint32_t gsi, struct why *why)
{
	struct kvm_irqfd irqfd = {.gsi = gsi, .flags = KVM_IRQFD_FLAG_RESAMPLE};
	struct vm_ack *ack = &vm->acks[vm->n_acks++];

	ack->gsi = gsi;
	ack->listener_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	ack->ack_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (ack->listener_fd < 0 || ack->ack_fd < 0)
		return why_set(why, -errno, "no event descriptor: %s (raise `ulimit -n`)",
			       strerror(errno));
	irqfd.fd = (uint32_t)ack->listener_fd;
	irqfd.resamplefd = (uint32_t)ack->ack_fd;
	if (ioctl(vm->fd, KVM_IRQFD, &irqfd) < 0)
		return refused(why, "to report acknowledged interrupts");
	return 0;
}

/* Without them every tick would stay in doubt: neither delivered nor lost. */
static int listen_for_acks(struct vm *vm, uint32_t gsis, struct why *why)
{
	int result = 0;

	if (gsis && !vm_capability(vm, KVM_CAP_IRQFD_RESAMPLE))
		return why_set(why, -ENODEV,
			       "this kernel's KVM does not report acknowledged interrupts, "
			       "KVM_CAP_IRQFD_RESAMPLE (use Linux 3.8 or later)");
	for (uint32_t gsi = 0; gsi < IOAPIC_PINS && result == 0; gsi++)
		if (gsis >> gsi & 1)
			result = listen_for_ack(vm, gsi, why);
	return result;
}

static int set_up(struct vm *vm, const struct guest_memory *memory, const struct vm_config *config,
		  struct why *why)
{
	uint64_t identity = IDENTITY_MAP_ADDRESS;
	int result;

	if (ioctl(vm->fd, KVM_SET_TSS_ADDR, TSS_ADDRESS) < 0)
		return refused(why, "an address for the task state");
	if (ioctl(vm->fd, KVM_SET_IDENTITY_MAP_ADDR, &identity) < 0)
		return refused(why, "an address for the identity map");
	if (ioctl(vm->fd, KVM_CREATE_IRQCHIP, 0) < 0)
		return refused(why, "interrupt controllers in the kernel");
	result = set_routes(vm, why);
	if (result == 0 && config->kernel_pit)
		result = create_pit(vm, config->kernel_reinject, why);
	if (result == 0)
		result = listen_for_acks(vm, config->ack_gsis, why);
	return result < 0 ? result : vm_set_memory(vm, memory, 0, why);
}

int vm_create(const struct guest_memory *memory, const struct vm_config *config, struct vm *ret_vm,
	      struct why *why)
{
	struct vm vm = {
		.kvm_fd = -1, .fd = -1, .kernel_pit = config->kernel_pit, .is_mute = is_mute()};
	int result = open_kvm(&vm, why);
	int size, khz;

	if (result == 0)
		result = check_cpus(&vm, config->cpus, why);
	if (result == 0) {
		vm.fd = ioctl(vm.kvm_fd, KVM_CREATE_VM, 0);
		if (vm.fd < 0)
			result = refused(why, "a virtual machine");
	}
	if (result == 0)
		result = set_up(&vm, memory, config, why);
	if (result == 0) {
		size = ioctl(vm.kvm_fd, KVM_GET_VCPU_MMAP_SIZE, 0);
		if (size < 0)
			result = refused(why, "the size of a vCPU");
		vm.run_size = (uint32_t)size;
	}
	if (result == 0) {
		khz = ioctl(vm.fd, KVM_GET_TSC_KHZ, 0);
		vm.tsc_khz = (uint32_t)khz;
		if (khz <= 0)
			result = why_set(why, -ENODEV,
					 "this kernel's KVM does not tell the TSC's frequency (use "
					 "Linux 5.16 or later)");
	}
	if (result < 0) {
		vm_destroy(&vm);
		return result;
	}
	*ret_vm = vm;
	return 0;
}

int vm_filter_msrs(const struct vm *vm, bool kvm_clock, bool steal, struct why *why)
{
	/* Copied as whole longs; a 0 is an MSR that is ours. */
	uint64_t none = 0;
	struct kvm_enable_cap cap = {
		.cap = KVM_CAP_X86_USER_SPACE_MSR,
		.args = {KVM_MSR_EXIT_REASON_FILTER},
	};
	const uint32_t both = KVM_MSR_FILTER_READ | KVM_MSR_FILTER_WRITE;
	struct kvm_msr_filter filter = {.flags = KVM_MSR_FILTER_DEFAULT_ALLOW};
	unsigned n = 0;

	if (kvm_clock) {
		filter.ranges[n++] = (struct kvm_msr_filter_range){both, 2, VMT_MSR_KVM_WALL_OLD,
								   (uint8_t *)&none};
		filter.ranges[n++] =
			(struct kvm_msr_filter_range){both, 2, VMT_MSR_KVM_WALL, (uint8_t *)&none};
		filter.ranges[n++] = (struct kvm_msr_filter_range){KVM_MSR_FILTER_WRITE, 1,
								   VMT_MSR_TSC, (uint8_t *)&none};
		filter.ranges[n++] = (struct kvm_msr_filter_range){
			KVM_MSR_FILTER_WRITE, 1, VMT_MSR_TSC_ADJUST, (uint8_t *)&none};
	}
	if (steal)
		filter.ranges[n++] =
			(struct kvm_msr_filter_range){both, 1, VMT_MSR_KVM_STEAL, (uint8_t *)&none};
	if (n == 0)
		return 0;
	if (!vm_capability(vm, KVM_CAP_X86_USER_SPACE_MSR) ||
	    !vm_capability(vm, KVM_CAP_X86_MSR_FILTER))
		return why_set(why, -ENODEV,
			       "this kernel's KVM does not leave %s to user space, "
			       "KVM_CAP_X86_MSR_FILTER (use Linux 5.10 or later, or `%s kernel`)",
			       kvm_clock ? "kvm-clock" : "steal time",
			       kvm_clock ? "--kvm-clock" : "--steal");
	if (ioctl(vm->fd, KVM_ENABLE_CAP, &cap) < 0 ||
	    ioctl(vm->fd, KVM_X86_SET_MSR_FILTER, &filter) < 0)
		return refused(why, "to leave its registers to user space");
	return 0;
}

int vm_supported_cpuid(const struct vm *vm, struct cpuid_table *ret_table, struct why *why)
{
	ret_table->nent = CPUID_MAX_ENTRIES;
	if (ioctl(vm->kvm_fd, KVM_GET_SUPPORTED_CPUID, ret_table) < 0)
		return refused(why, "to tell the CPU's features");
	return 0;
}

static void close_fd(int fd)
{
	if (fd >= 0)
		close(fd);
}

void vm_destroy(struct vm *vm)
{
	for (unsigned i = 0; i < vm->n_acks; i++) {
		close_fd(vm->acks[i].listener_fd);
		close_fd(vm->acks[i].ack_fd);
	}
	close_fd(vm->fd);
	close_fd(vm->kvm_fd);
	*vm = (struct vm){.kvm_fd = -1, .fd = -1};
}

void vm_irq_line(const struct vm *vm, uint32_t gsi, bool level)
{
	struct kvm_irq_level line = {.irq = gsi, .level = level};

	/* Fails for a VM without interrupt chips only, which set_up() has excluded. */
	(void)ioctl(vm->fd, KVM_IRQ_LINE, &line);
}

int vm_irq_raise(const struct vm *vm, uint32_t gsi)
{
	struct kvm_irq_level line = {.irq = gsi, .level = 1};

	return ioctl(vm->fd, KVM_IRQ_LINE_STATUS, &line) == 0 ? line.status : -1;
}

bool vm_pic_waits(const struct vm *vm)
{
	struct kvm_irqchip chip = {.chip_id = KVM_IRQCHIP_PIC_MASTER};

	return ioctl(vm->fd, KVM_GET_IRQCHIP, &chip) == 0 && chip.chip.pic.irr & ~chip.chip.pic.imr;
}

void vm_pit_cut_off(const struct vm *vm, bool off)
{
	struct kvm_pit_state2 state;

	if (!vm->kernel_pit || ioctl(vm->fd, KVM_GET_PIT2, &state) < 0)
		return;
	state.flags &= ~(uint32_t)KVM_PIT_FLAGS_HPET_LEGACY;
	if (off)
		state.flags |= KVM_PIT_FLAGS_HPET_LEGACY;
	(void)ioctl(vm->fd, KVM_SET_PIT2, &state); /* its own state, as it was */
}

void vm_pit_begin_anew(const struct vm *vm)
{
	struct kvm_pit_state2 state;

	if (vm->kernel_pit && ioctl(vm->fd, KVM_GET_PIT2, &state) == 0)
		(void)ioctl(vm->fd, KVM_SET_PIT2, &state);
}
