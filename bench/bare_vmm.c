/* SPDX-License-Identifier: Apache-2.0 */
/* bare_vmm.c - the least that can answer a guest's ports: what read_bench compares with.
 *
 * usage: bare_vmm IMAGE - loads a flat image at 1 MiB, enters it in 32-bit protected mode, passes
 * what it writes to port 0x3f8 on, answers every read with 0 (0x3fd: the transmitter is empty), and
 * ends at port 0xf4.  The interrupt controllers are the kernel's, as in the VMMs beside it. */
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

enum { MEMORY = 4 << 20, LOAD_AT = 1 << 20, TSS_AT = 0xfffbd000U, ENTRIES = 256 };
enum { SERIAL = 0x3f8, SERIAL_LSR = 0x3fd, TRANSMITTER_EMPTY = 0x20, EXIT = 0xf4 };

static int failed(const char *what)
{
	perror(what);
	return 3;
}

static void answer(const struct kvm_run *run, int *ret_done)
{
	uint8_t *data = (uint8_t *)(uintptr_t)run + run->io.data_offset;

	if (run->io.direction == KVM_EXIT_IO_IN) {
		memset(data, 0, run->io.size);
		if (run->io.port == SERIAL_LSR)
			*data = TRANSMITTER_EMPTY;
	} else if (run->io.port == SERIAL) {
		*ret_done = write(STDOUT_FILENO, data, 1) != 1;
	} else if (run->io.port == EXIT) {
		*ret_done = 1;
	}
}

/* All that KVM supports: what it has to switch at an exit depends on it (FPU state, MSRs). */
static int show_all(int kvm, int vcpu)
{
	static struct {
		struct kvm_cpuid2 head;
		struct kvm_cpuid_entry2 entries[ENTRIES];
	} cpuid = {.head.nent = ENTRIES};

	return ioctl(kvm, KVM_GET_SUPPORTED_CPUID, &cpuid) < 0 ||
			       ioctl(vcpu, KVM_SET_CPUID2, &cpuid) < 0
		       ? -1
		       : 0;
}

/* Flat segments of 4 GiB, paging off. */
static int enter(int vcpu)
{
	struct kvm_segment code = {.limit = 0xffffffff,
				   .selector = 8,
				   .type = 11,
				   .present = 1,
				   .db = 1,
				   .s = 1,
				   .g = 1};
	struct kvm_segment data = code;
	struct kvm_regs regs = {.rip = LOAD_AT, .rflags = 2};
	struct kvm_sregs sregs;

	data.selector = 16;
	data.type = 3;
	if (ioctl(vcpu, KVM_GET_SREGS, &sregs) < 0)
		return -1;
	sregs.cs = code;
	sregs.ds = sregs.es = sregs.fs = sregs.gs = sregs.ss = data;
	sregs.cr0 |= 1;
	return ioctl(vcpu, KVM_SET_SREGS, &sregs) < 0 || ioctl(vcpu, KVM_SET_REGS, &regs) < 0 ? -1
											      : 0;
}

int main(int argc, char **argv)
{
	int kvm = open("/dev/kvm", O_RDWR), vm, vcpu, done = 0;
	int image = argc == 2 ? open(argv[1], O_RDONLY) : -1;
	struct kvm_userspace_memory_region region = {.memory_size = MEMORY};
	struct kvm_run *run;
	uint8_t *memory;
	long size;

	memory = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (kvm < 0 || image < 0 || memory == MAP_FAILED)
		return failed("bare_vmm IMAGE");
	if (read(image, memory + LOAD_AT, MEMORY - LOAD_AT) <= 0)
		return failed(argv[1]);
	region.userspace_addr = (uintptr_t)memory;
	vm = ioctl(kvm, KVM_CREATE_VM, 0UL);
	if (vm < 0 || ioctl(vm, KVM_SET_TSS_ADDR, (unsigned long)TSS_AT) < 0 ||
	    ioctl(vm, KVM_CREATE_IRQCHIP) < 0 || ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region) < 0)
		return failed("a VM");
	vcpu = ioctl(vm, KVM_CREATE_VCPU, 0UL);
	size = ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0UL);
	if (vcpu < 0 || size < 0 || show_all(kvm, vcpu) < 0 || enter(vcpu) < 0)
		return failed("a virtual CPU");
	run = mmap(NULL, (size_t)size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu, 0);
	if (run == MAP_FAILED)
		return failed("a virtual CPU's page");
	while (!done) {
		if (ioctl(vcpu, KVM_RUN, 0UL) < 0 || run->exit_reason != KVM_EXIT_IO)
			return failed("KVM_RUN");
		answer(run, &done);
	}
	return 0;
}
