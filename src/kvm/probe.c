/* SPDX-License-Identifier: Apache-2.0 */
/* probe.c - does KVM work here, and what can it do to a guest's TSC. */
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "host/hostclock.h"
#include "kvm/probe.h"

/* The guest's memory: page tables that map the first 2 MiB one to one, code, and a result. */
enum {
	MEMORY_SIZE = 0x6000,
	PML4 = 0x1000,
	PDPT = 0x2000,
	PD = 0x3000,
	CODE = 0x4000,
	RESULT = 0x5000,
	EXIT_PORT = 0xf4,
	EXIT_BYTE = 0x5a,
	TIME_LIMIT_MS = 10000, /* the lab on a busy machine needs some 20 */
};

#define IDENTITY_PAGE UINT64_C(0xfffbc000)
#define TSS_PAGES 0xfffbd000UL

#define CPUID_1_ECX_VMX (1U << 5)
#define CPUID_80000001_ECX_SVM (1U << 2)

/* An offset that no delay explains, and that the guest must see as it is: 2^42 ticks are 20 min. */
#define OFFSET_STEP (INT64_C(1) << 42)
/* How long two readings are apart that show a frequency: much more than an exit costs. */
#define FREQUENCY_TICKS 10000000U

/* again: rdtsc; rax = all of it; [RESULT] = rax; al = EXIT_BYTE; out EXIT_PORT, al; jmp again */
static const uint8_t guest_code[] = {
	0x0f, 0x31, 0x48,      0xc1, 0xe2,      0x20,          0x48,         0x09,
	0xd0, 0x48, 0x89,      0x04, 0x25,      RESULT & 0xff, RESULT >> 8,  0x00,
	0x00, 0xb0, EXIT_BYTE, 0xe6, EXIT_PORT, 0xeb,          (uint8_t)-23,
};

struct tiny_guest {
	int kvm, vm, vcpu;
	struct kvm_run *run;
	uint8_t *memory;
};

enum stage {
	STAGE_WORKS,
	STAGE_KVM,  /* no VM or vCPU to be had */
	STAGE_RUN,  /* the guest did not do what its code says */
	STAGE_HANG, /* nor come back */
};

/* What the child tells. */
struct finding {
	enum stage stage;
	int error;
	enum probe_tsc_class tsc_class;
};

/* One reading of the guest's TSC, between two of the host's. */
struct reading {
	uint64_t guest, lo, hi;
};

/* ECX of CPUID's `leaf`, 0 where there is no such leaf. */
static uint32_t cpuid_ecx(uint32_t leaf)
{
	uint32_t max = leaf & 0x80000000, b, c = 0, d;

	__asm__ volatile("cpuid" : "+a"(max), "=b"(b), "+c"(c), "=d"(d));
	if (max < leaf)
		return 0;
	c = 0;
	__asm__ volatile("cpuid" : "+a"(leaf), "=b"(b), "+c"(c), "=d"(d));
	return c;
}

bool probe_is_svm(void)
{
	return cpuid_ecx(0x80000001) & CPUID_80000001_ECX_SVM;
}

static bool cpu_has_virtualization(void)
{
	return cpuid_ecx(1) & CPUID_1_ECX_VMX || probe_is_svm();
}

static void fill_memory(uint8_t *memory)
{
	const uint64_t present_writable = 3, large = 0x80;
	uint64_t pml4e = PDPT | present_writable, pdpte = PD | present_writable;
	uint64_t pde = present_writable | large;

	memcpy(memory + PML4, &pml4e, sizeof(pml4e));
	memcpy(memory + PDPT, &pdpte, sizeof(pdpte));
	memcpy(memory + PD, &pde, sizeof(pde));
	memcpy(memory + CODE, guest_code, sizeof(guest_code));
}

/* These two: false with errno. */
static bool create_vm(struct tiny_guest *guest)
{
	struct kvm_userspace_memory_region region = {.memory_size = MEMORY_SIZE};
	uint64_t identity = IDENTITY_PAGE;
	int run_size;

	guest->vm = ioctl(guest->kvm, KVM_CREATE_VM, 0);
	if (guest->vm < 0)
		return false;
	/* Some of Intel's need these two: whether they took effect is seen when the guest runs. */
	ioctl(guest->vm, KVM_SET_IDENTITY_MAP_ADDR, &identity);
	ioctl(guest->vm, KVM_SET_TSS_ADDR, TSS_PAGES);
	guest->memory =
		mmap(NULL, MEMORY_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (guest->memory == MAP_FAILED)
		return false;
	fill_memory(guest->memory);
	region.userspace_addr = (uintptr_t)guest->memory;
	if (ioctl(guest->vm, KVM_SET_USER_MEMORY_REGION, &region) < 0)
		return false;
	guest->vcpu = ioctl(guest->vm, KVM_CREATE_VCPU, 0);
	run_size = ioctl(guest->kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
	if (guest->vcpu < 0 || run_size < 0)
		return false;
	guest->run =
		mmap(NULL, (size_t)run_size, PROT_READ | PROT_WRITE, MAP_SHARED, guest->vcpu, 0);
	return guest->run != MAP_FAILED;
}

static bool enter_long_mode(const struct tiny_guest *guest)
{
	const struct kvm_segment code = {.limit = 0xffffffff,
					 .selector = 8,
					 .type = 11,
					 .present = 1,
					 .s = 1,
					 .l = 1,
					 .g = 1};
	const struct kvm_segment data = {.limit = 0xffffffff,
					 .selector = 16,
					 .type = 3,
					 .present = 1,
					 .s = 1,
					 .db = 1,
					 .g = 1};
	struct kvm_regs regs = {.rip = CODE, .rflags = 2};
	struct kvm_sregs sregs;

	if (ioctl(guest->vcpu, KVM_GET_SREGS, &sregs) < 0)
		return false;
	sregs.cr0 = 0x80000033; /* PG, NE, ET, MP, PE */
	sregs.cr3 = PML4;
	sregs.cr4 = 0x20;   /* PAE */
	sregs.efer = 0x500; /* LMA, LME */
	sregs.cs = code;
	sregs.ds = sregs.es = sregs.fs = sregs.gs = sregs.ss = data;
	return ioctl(guest->vcpu, KVM_SET_SREGS, &sregs) == 0 &&
	       ioctl(guest->vcpu, KVM_SET_REGS, &regs) == 0;
}

/* The guest's code once around.  False when it did anything else. */
static bool read_guest_tsc(const struct tiny_guest *guest, struct reading *ret_reading)
{
	const struct kvm_run *run = guest->run;
	const uint8_t *bytes = (const uint8_t *)run;

	memset(guest->memory + RESULT, 0, sizeof(ret_reading->guest));
	ret_reading->lo = hostclock_tsc();
	while (ioctl(guest->vcpu, KVM_RUN, 0) < 0)
		if (errno != EINTR && errno != EAGAIN)
			return false;
	ret_reading->hi = hostclock_tsc();
	memcpy(&ret_reading->guest, guest->memory + RESULT, sizeof(ret_reading->guest));
	return run->exit_reason == KVM_EXIT_IO && run->io.direction == KVM_EXIT_IO_OUT &&
	       run->io.port == EXIT_PORT && run->io.size == 1 &&
	       bytes[run->io.data_offset] == EXIT_BYTE && ret_reading->guest != 0;
}

static bool offset_works(const struct tiny_guest *guest, int64_t offset)
{
	int64_t value = offset;
	struct kvm_device_attr attribute = {
		.group = KVM_VCPU_TSC_CTRL, .attr = KVM_VCPU_TSC_OFFSET, .addr = (uintptr_t)&value};
	struct reading reading;

	if (ioctl(guest->vcpu, KVM_SET_DEVICE_ATTR, &attribute) < 0)
		return false;
	value = 0;
	if (ioctl(guest->vcpu, KVM_GET_DEVICE_ATTR, &attribute) < 0 || value != offset)
		return false;
	if (!read_guest_tsc(guest, &reading))
		return false;
	return reading.guest >= reading.lo + (uint64_t)offset &&
	       reading.guest <= reading.hi + (uint64_t)offset;
}

/* Half the host's frequency: a higher one would be imitated without any hardware, in jumps. */
static bool scaling_works(const struct tiny_guest *guest)
{
	int khz = ioctl(guest->vcpu, KVM_GET_TSC_KHZ, 0);
	struct reading first, second;
	uint64_t ticks, least, most;

	if (khz < 2 || ioctl(guest->vcpu, KVM_SET_TSC_KHZ, (unsigned long)khz / 2) < 0)
		return false;
	if (!read_guest_tsc(guest, &first))
		return false;
	while (hostclock_tsc() - first.hi < FREQUENCY_TICKS)
		;
	if (!read_guest_tsc(guest, &second))
		return false;
	ticks = second.guest - first.guest;
	least = (second.lo - first.hi) / 2;
	most = (second.hi - first.lo) / 2;
	/* khz / 2 rounds, and so does the hardware's ratio: a thousandth is more than both. */
	return ticks >= least - least / 1000 && ticks <= most + most / 1000;
}

static struct finding examine(int kvm)
{
	struct finding finding = {.stage = STAGE_KVM};
	struct tiny_guest guest = {.kvm = kvm};
	struct reading reading;

	if (!create_vm(&guest) || !enter_long_mode(&guest)) {
		finding.error = -errno;
		return finding;
	}
	if (!read_guest_tsc(&guest, &reading)) {
		finding.stage = STAGE_RUN;
		return finding;
	}
	finding.stage = STAGE_WORKS;
	/* Two of them: one could be what it was anyway. */
	if (offset_works(&guest, OFFSET_STEP) && offset_works(&guest, -OFFSET_STEP / 2))
		finding.tsc_class =
			scaling_works(&guest) ? PROBE_TSC_OFFSET_SCALING : PROBE_TSC_OFFSET;
	return finding;
}

/* The child's finding, or STAGE_HANG.  The child is gone afterwards, or dying. */
static struct finding examine_in_child(int kvm)
{
	struct finding finding = {.stage = STAGE_HANG};
	struct pollfd ready;
	int fds[2];
	pid_t parent = getpid(), child;

	if (pipe2(fds, O_CLOEXEC) < 0)
		return (struct finding){.stage = STAGE_KVM, .error = -errno};
	child = fork();
	if (child == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL); /* a guest that hangs must not outlive us */
		if (getppid() != parent)
			_exit(1);
		finding = examine(kvm);
		_exit(write(fds[1], &finding, sizeof(finding)) == sizeof(finding) ? 0 : 1);
	}
	close(fds[1]);
	ready = (struct pollfd){.fd = fds[0], .events = POLLIN};
	if (child < 0) {
		finding = (struct finding){.stage = STAGE_KVM, .error = -errno};
	} else {
		int n = poll(&ready, 1, TIME_LIMIT_MS);

		if (n > 0 && read(fds[0], &finding, sizeof(finding)) != sizeof(finding))
			finding = (struct finding){.stage = STAGE_RUN};
		kill(child, SIGKILL);
		/* A KVM that hangs beyond SIGKILL must not hang us too. */
		waitpid(child, NULL, n > 0 ? 0 : WNOHANG);
	}
	close(fds[0]);
	return finding;
}

static int open_kvm(struct why *why)
{
	int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);

	if (fd >= 0)
		return fd;
	if (errno == ENOENT)
		return why_set(why, -ENODEV, "no /dev/kvm");
	if (errno == EACCES || errno == EPERM)
		return why_set(why, -ENODEV,
			       "no permission for /dev/kvm (be root or in its group, kvm)");
	return why_set(why, -ENODEV, "cannot open /dev/kvm: %s", strerror(errno));
}

static int explain(struct finding finding, struct why *why)
{
	switch (finding.stage) {
	case STAGE_WORKS:
		return 0;
	case STAGE_KVM:
		return why_set(why, -ENODEV, "/dev/kvm makes no virtual machine: %s",
			       strerror(-finding.error));
	case STAGE_RUN:
		return why_set(why, -ENODEV,
			       "/dev/kvm runs only adapted guests: a 64-bit guest of "
			       "seven instructions did not do what they say");
	case STAGE_HANG:
		break;
	}
	return why_set(why, -ENODEV,
		       "/dev/kvm runs only adapted guests: a 64-bit guest of seven "
		       "instructions did not come back");
}

int probe_tsc(enum probe_tsc_class *ret_class, struct why *why)
{
	struct finding finding;
	int kvm = open_kvm(why);

	if (kvm < 0)
		return kvm;
	if (!cpu_has_virtualization()) {
		close(kvm);
		return why_set(why, -ENODEV,
			       "/dev/kvm runs only adapted guests: the CPU shows neither svm nor "
			       "vmx");
	}
	finding = examine_in_child(kvm);
	close(kvm);
	*ret_class = finding.tsc_class;
	return explain(finding, why);
}

bool probe_kvm_works(struct why *why)
{
	enum probe_tsc_class tsc_class;

	return probe_tsc(&tsc_class, why) == 0;
}
