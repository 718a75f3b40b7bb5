/* SPDX-License-Identifier: Apache-2.0 */
/* vcpu.c - one virtual CPU and the thread that runs it. */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "host/hostclock.h"
#include "kvm/gate.h"
#include "kvm/pvclock.h"
#include "kvm/steal.h"
#include "kvm/suspend.h"
#include "kvm/thread.h"
#include "kvm/vcpu.h"

enum { CODE_SELECTOR = 0x10, DATA_SELECTOR = 0x18 };
enum { TYPE_DATA = 3, TYPE_CODE = 11, TYPE_TSS = 11 };

enum { XSAVE_HEADER = 512, XSAVE_PKRU = 9 };

#define PKRU_OF_LINUX 0x55555554U /* all keys but 0 closed */
#define CR0_PE (1U << 0)
#define CR0_ET (1U << 4)
#define CR0_NE (1U << 5)
#define CR0_PG (1U << 31)
#define CR4_PAE (1U << 5)
#define EFER_LME (1U << 8)
#define EFER_LMA (1U << 10)
#define RFLAGS_FIXED 2U
#define RESET_RIP 0xfff0U
#define RESET_CS_BASE 0xffff0000U
#define MSR_MISC_ENABLE 0x1a0U
#define MISC_ENABLE_FAST_STRING 1U

static int refused(struct why *why, const char *what)
{
	return why_set(why, errno == ENOMEM ? -ENOMEM : -EIO, "KVM refused %s: %s", what,
		       strerror(errno));
}

/* A struct kvm_msrs with one entry. */
struct one_msr {
	uint32_t nmsrs, pad;
	struct kvm_msr_entry entry;
};

bool vcpu_get_msr(const struct vcpu *v, uint32_t msr, uint64_t *ret_value)
{
	struct one_msr one = {.nmsrs = 1, .entry.index = msr};
	bool got = ioctl(v->fd, KVM_GET_MSRS, &one) == 1;

	*ret_value = one.entry.data;
	return got;
}

bool vcpu_set_msr(const struct vcpu *v, uint32_t msr, uint64_t value)
{
	struct one_msr one = {.nmsrs = 1, .entry = {.index = msr, .data = value}};

	return ioctl(v->fd, KVM_SET_MSRS, &one) == 1;
}

/* Firmware switches fast strings on; without, Linux takes the slow way to copy memory.  CPUs
 * without that bit ignore or refuse it. */
static void set_fast_string(const struct vcpu *v)
{
	uint64_t value;

	if (vcpu_get_msr(v, MSR_MISC_ENABLE, &value))
		(void)vcpu_set_msr(v, MSR_MISC_ENABLE, value | MISC_ENABLE_FAST_STRING);
}

/* What CPUID does not show of KVM's own is then not there, either.  Older kernels cannot. */
static void enforce_features(const struct vcpu *v)
{
	struct kvm_enable_cap cap = {.cap = KVM_CAP_ENFORCE_PV_FEATURE_CPUID, .args = {1}};

	(void)ioctl(v->fd, KVM_ENABLE_CAP, &cap);
}

/* At reset XCR0 has only its lowest bit.  Here it starts with all that the CPU offers, what an
 * operating system sets first: where KVM itself runs on an emulated CPU, it may never see the
 * guest's XSETBV, and would go on to load its own value at each entry and to compute CPUID's
 * sizes from it. */
static int set_xcr0(const struct vcpu *v, struct cpuid_table *cpuid, struct why *why)
{
	const struct kvm_cpuid_entry2 *e = cpuid_find(cpuid, 0xd, 0);
	struct kvm_xcrs xcrs = {.nr_xcrs = 1};

	if (!e || (e->eax | e->edx) == 0)
		return 0;
	xcrs.xcrs[0].value = e->eax | (uint64_t)e->edx << 32;
	if (ioctl(v->fd, KVM_SET_XCRS, &xcrs) < 0)
		return refused(why, "a CPU's XCR0");
	return 0;
}

/* Not the 0 of a reset but what Linux writes first, as guest and as host: where the two differ, KVM
 * switches PKRU at each entry and exit.  Nothing obeys it before the guest turns protection keys
 * on.  A KVM that refuses it is slower, no more. */
static void set_pkru(const struct vcpu *v, struct cpuid_table *cpuid)
{
	const struct kvm_cpuid_entry2 *root = cpuid_find(cpuid, 0xd, 0);
	const struct kvm_cpuid_entry2 *pkru = cpuid_find(cpuid, 0xd, XSAVE_PKRU);
	const uint32_t value = PKRU_OF_LINUX;
	struct kvm_xsave xsave;
	uint64_t present;

	if (!root || !pkru || !(root->eax >> XSAVE_PKRU & 1) ||
	    pkru->ebx > sizeof(xsave) - sizeof(value) || ioctl(v->fd, KVM_GET_XSAVE, &xsave) < 0)
		return;
	memcpy(&present, (uint8_t *)&xsave + XSAVE_HEADER, sizeof(present));
	present |= 1U << XSAVE_PKRU;
	memcpy((uint8_t *)&xsave + XSAVE_HEADER, &present, sizeof(present));
	memcpy((uint8_t *)&xsave + pkru->ebx, &value, sizeof(value));
	(void)ioctl(v->fd, KVM_SET_XSAVE, &xsave);
}

int vcpu_create(const struct vm *vm, uint32_t cpu, struct cpuid_table *cpuid, struct vcpu *ret_vcpu,
		struct why *why)
{
	struct vcpu *v = ret_vcpu;
	void *run;
	int result;

	*v = (struct vcpu){.cpu = cpu, .run_size = vm->run_size};
	v->fd = ioctl(vm->fd, KVM_CREATE_VCPU, (unsigned long)cpu);
	if (v->fd < 0)
		return refused(why, "a CPU");
	run = mmap(NULL, v->run_size, PROT_READ | PROT_WRITE, MAP_SHARED, v->fd, 0);
	if (run == MAP_FAILED) {
		result = refused(why, "a CPU's shared page");
		close(v->fd);
		return result;
	}
	v->run = run;
	enforce_features(v);
	cpuid_for_cpu(cpuid, cpu);
	if (ioctl(v->fd, KVM_SET_CPUID2, cpuid) < 0) {
		result = refused(why, "the CPU's features");
		vcpu_destroy(v);
		return result;
	}
	set_fast_string(v);
	result = set_xcr0(v, cpuid, why);
	if (result == 0)
		set_pkru(v, cpuid);
	else
		vcpu_destroy(v);
	return result;
}

void vcpu_destroy(struct vcpu *v)
{
	munmap(v->run, v->run_size);
	close(v->fd);
	free(v->unseen);
	v->unseen = NULL;
}

static struct kvm_segment flat(uint16_t selector, uint8_t type, bool code64)
{
	return (struct kvm_segment){
		.limit = 0xffffffff,
		.selector = selector,
		.type = type,
		.present = 1,
		.db = !code64,
		.l = code64,
		.s = 1,
		.g = 1,
	};
}

int vcpu_enter(struct vcpu *v, const struct boot_state *state, struct why *why)
{
	bool long64 = state->mode == BOOT_LONG64;
	struct kvm_sregs sregs;
	struct kvm_regs regs = {.rip = state->entry, .rflags = RFLAGS_FIXED};

	if (ioctl(v->fd, KVM_GET_SREGS, &sregs) < 0)
		return refused(why, "to tell a CPU's registers");
	sregs.cs = flat(CODE_SELECTOR, TYPE_CODE, long64);
	sregs.ds = sregs.es = sregs.fs = sregs.gs = sregs.ss =
		flat(DATA_SELECTOR, TYPE_DATA, false);
	sregs.tr = (struct kvm_segment){.limit = 0xffff, .type = TYPE_TSS, .present = 1};
	sregs.gdt.base = state->gdt_gpa;
	sregs.gdt.limit = state->gdt_limit;
	sregs.idt.base = 0;
	sregs.idt.limit = 0;
	sregs.cr0 = CR0_PE | CR0_ET | CR0_NE;
	if (long64) {
		sregs.cr0 |= CR0_PG;
		sregs.cr3 = state->cr3;
		sregs.cr4 = CR4_PAE;
		sregs.efer = EFER_LME | EFER_LMA;
		regs.rsi = state->rsi;
	} else {
		regs.rax = state->eax;
		regs.rbx = state->ebx;
	}
	if (ioctl(v->fd, KVM_SET_SREGS, &sregs) < 0 || ioctl(v->fd, KVM_SET_REGS, &regs) < 0)
		return refused(why, "a CPU's registers");
	return 0;
}

__attribute__((format(printf, 3, 4))) static void append(char *text, size_t size,
							 const char *format, ...)
{
	size_t used = strlen(text);
	va_list args;

	va_start(args, format);
	vsnprintf(text + used, size - used, format, args);
	va_end(args);
}

static void describe(const struct vcpu *v, struct vcpu_end *end)
{
	struct kvm_regs r;
	struct kvm_sregs s;
	char *text = end->registers;
	size_t size = sizeof(end->registers);

	if (ioctl(v->fd, KVM_GET_REGS, &r) < 0 || ioctl(v->fd, KVM_GET_SREGS, &s) < 0)
		return;
	append(text, size, "cpu %" PRIu32 "  rip %016llx  rflags %08llx\n", v->cpu, r.rip,
	       r.rflags);
	append(text, size, "rax %016llx  rbx %016llx  rcx %016llx  rdx %016llx\n", r.rax, r.rbx,
	       r.rcx, r.rdx);
	append(text, size, "rsi %016llx  rdi %016llx  rbp %016llx  rsp %016llx\n", r.rsi, r.rdi,
	       r.rbp, r.rsp);
	append(text, size, "r8  %016llx  r9  %016llx  r10 %016llx  r11 %016llx\n", r.r8, r.r9,
	       r.r10, r.r11);
	append(text, size, "r12 %016llx  r13 %016llx  r14 %016llx  r15 %016llx\n", r.r12, r.r13,
	       r.r14, r.r15);
	append(text, size, "cr0 %08llx  cr2 %016llx  cr3 %016llx  cr4 %08llx  efer %llx\n", s.cr0,
	       s.cr2, s.cr3, s.cr4, s.efer);
	append(text, size, "cs  %04x at %llx  ss %04x at %llx  gdt %llx+%x  idt %llx+%x\n",
	       s.cs.selector, s.cs.base, s.ss.selector, s.ss.base, s.gdt.base, s.gdt.limit,
	       s.idt.base, s.idt.limit);
	if (r.rip == RESET_RIP && s.cs.base == RESET_CS_BASE)
		append(text, size,
		       "(KVM has reset this CPU after the fault, as it does with AMD's: "
		       "what it held is lost)\n");
}

static void count_port(struct vcpu_stats *stats, uint16_t port, bool write, uint32_t count)
{
	for (unsigned i = 0; i < VCPU_PORTS; i++) {
		struct vcpu_port_stats *p = &stats->ports[(port + i) % VCPU_PORTS];

		if (p->port == 0)
			p->port = port + 1U;
		if (p->port == port + 1U) {
			p->reads += write ? 0 : count;
			p->writes += write ? count : 0;
			return;
		}
	}
}

static void add_port_stats(struct vcpu_stats *sum, const struct vcpu_port_stats *port)
{
	for (unsigned i = 0; i < VCPU_PORTS; i++) {
		struct vcpu_port_stats *s = &sum->ports[(port->port - 1 + i) % VCPU_PORTS];

		if (s->port == 0)
			s->port = port->port;
		if (s->port != port->port)
			continue;
		s->reads += port->reads;
		s->writes += port->writes;
		return;
	}
}

void vcpu_add_stats(struct vcpu_stats *sum, const struct vcpu_stats *stats)
{
	for (unsigned i = 0; i < VCPU_REASONS; i++)
		sum->exits[i] += stats->exits[i];
	for (unsigned i = 0; i < VCPU_PORTS; i++)
		if (stats->ports[i].port)
			add_port_stats(sum, &stats->ports[i]);
}

static bool handle_io(struct vcpu *v, struct vcpu_end *end)
{
	struct kvm_run *run = v->run;
	uint8_t *data = (uint8_t *)run + run->io.data_offset;
	unsigned width = run->io.size;
	bool out = run->io.direction == KVM_EXIT_IO_OUT;

	count_port(&v->stats, run->io.port, out, run->io.count);
	for (uint32_t i = 0; i < run->io.count; i++, data += width) {
		enum ports_request request;
		uint64_t value = 0;

		if (!out) {
			value = ports_in(v->ports, run->io.port, width);
			memcpy(data, &value, width);
			continue;
		}
		memcpy(&value, data, width);
		request = ports_out(v->ports, run->io.port, width, (uint32_t)value, &end->byte);
		if (request == PORTS_NONE)
			continue;
		end->kind = request == PORTS_RESET      ? VCPU_END_RESET
			    : request == PORTS_POWEROFF ? VCPU_END_POWEROFF
							: VCPU_END_EXIT;
		return false;
	}
	return true;
}

static bool handle_mmio(struct vcpu *v)
{
	struct kvm_run *run = v->run;
	unsigned width = run->mmio.len;
	uint64_t value = 0;

	if (run->mmio.is_write) {
		memcpy(&value, run->mmio.data, width);
		ports_store(v->ports, run->mmio.phys_addr, width, value);
	} else {
		value = ports_load(v->ports, run->mmio.phys_addr, width);
		memcpy(run->mmio.data, &value, width);
	}
	return true;
}

static bool read_msr(struct vcpu *v, uint32_t msr, uint64_t *ret_value)
{
	return pvclock_rdmsr(v->pvclock, v->cpu, msr, ret_value) ||
	       (v->steal && steal_rdmsr(v->steal, v->cpu, msr, ret_value));
}

static bool write_msr(struct vcpu *v, uint32_t msr, uint64_t value)
{
	return pvclock_wrmsr(v->pvclock, v->cpu, msr, value) ||
	       (v->steal && steal_wrmsr(v->steal, v->cpu, msr, value));
}

/* One that is not there is #GP. */
static bool handle_msr(struct vcpu *v)
{
	struct kvm_run *run = v->run;
	uint64_t value = run->msr.data;
	bool known = run->exit_reason == KVM_EXIT_X86_RDMSR ? read_msr(v, run->msr.index, &value)
							    : write_msr(v, run->msr.index, value);

	run->msr.data = value;
	run->msr.error = !known;
	return true;
}

__attribute__((format(printf, 3, 4))) static bool fail(const struct vcpu *v, struct vcpu_end *end,
						       const char *format, ...)
{
	va_list args;

	end->kind = VCPU_END_KVM;
	va_start(args, format);
	vsnprintf(end->reason, sizeof(end->reason), format, args);
	va_end(args);
	describe(v, end);
	return false;
}

static bool handle_internal_error(const struct vcpu *v, struct vcpu_end *end)
{
	static const char *const names[] = {
		[KVM_INTERNAL_ERROR_EMULATION] = "an instruction that it cannot emulate",
		[KVM_INTERNAL_ERROR_SIMUL_EX] = "an exception while delivering another",
		[KVM_INTERNAL_ERROR_DELIVERY_EV] = "an exit while delivering an event",
		[KVM_INTERNAL_ERROR_UNEXPECTED_EXIT_REASON] = "an exit that it does not know",
	};
	unsigned error = v->run->internal.suberror;
	uint64_t data = v->run->internal.ndata ? v->run->internal.data[0] : 0;
	const char *name = error < sizeof(names) / sizeof(names[0]) ? names[error] : NULL;

	return fail(v, end, "KVM met %s (suberror %u, data 0x%" PRIx64 ")",
		    name ? name : "an internal error", error, data);
}

/* True: run on. */
static bool handle(struct vcpu *v, struct vcpu_end *end)
{
	struct kvm_run *run = v->run;

	if (run->exit_reason < VCPU_REASONS)
		v->stats.exits[run->exit_reason]++;
	switch (run->exit_reason) {
	case KVM_EXIT_IO:
		return handle_io(v, end);
	case KVM_EXIT_MMIO:
		return handle_mmio(v);
	case KVM_EXIT_X86_RDMSR:
	case KVM_EXIT_X86_WRMSR:
		return handle_msr(v);
	case KVM_EXIT_INTR:
	case KVM_EXIT_IRQ_WINDOW_OPEN:
		return true;
	case KVM_EXIT_SHUTDOWN:
		fail(v, end, "the guest's CPU %" PRIu32 " met a triple fault", v->cpu);
		end->kind = VCPU_END_TRIPLE_FAULT;
		return false;
	case KVM_EXIT_FAIL_ENTRY:
		return fail(v, end, "the hardware refused to enter the guest (reason 0x%llx)",
			    run->fail_entry.hardware_entry_failure_reason);
	case KVM_EXIT_INTERNAL_ERROR:
		return handle_internal_error(v, end);
	case KVM_EXIT_SYSTEM_EVENT:
		return fail(v, end, "the guest reported system event %u", run->system_event.type);
	default:
		return fail(v, end, "KVM left the guest for reason %u, which is not handled",
			    run->exit_reason);
	}
}

/* Any KVM_SET_MP_STATE makes KVM look; this one sets what there is. */
static void look_again(const struct vcpu *v)
{
	struct kvm_mp_state state;

	if (ioctl(v->fd, KVM_GET_MP_STATE, &state) == 0)
		(void)ioctl(v->fd, KVM_SET_MP_STATE, &state);
}

/* Whether the host was suspended since: not where its TSC has moved by as little as this, which no
 * suspend leaves, even of a TSC that stands still meanwhile. */
static void ask(struct vcpu *v, uint64_t tsc)
{
	enum { SHORT = 1 << 18 };

	if (!v->suspend || tsc - v->asked_tsc < SHORT)
		return;
	suspend_wait(v->suspend);
	v->asked_tsc = hostclock_tsc();
}

/* What it is called for at the gate. */
static void enter(struct vcpu *v)
{
	while (!gate_enter(v->gate, &v->inside, &v->called)) {
		v->settled = vcpu_settle_here(v);
		gate_done(v->gate, &v->called);
	}
}

static void *run_vcpu(void *arg)
{
	struct vcpu *v = arg;
	struct vcpu_end end = {0};

	__atomic_store_n(&v->left_tsc, hostclock_tsc(), __ATOMIC_RELAXED);
	__atomic_store_n(&v->tid, gettid(), __ATOMIC_SEQ_CST);
	if (v->steal)
		steal_begin(v->steal, v->cpu);
	while (!__atomic_load_n(&v->stop, __ATOMIC_SEQ_CST)) {
		int result, error;

		if (__atomic_exchange_n(&v->run->immediate_exit, 0, __ATOMIC_SEQ_CST)) {
			if (__atomic_exchange_n(&v->look, false, __ATOMIC_SEQ_CST))
				look_again(v);
			continue; /* it may have been vcpu_stop() */
		}
		if (v->steal)
			steal_look(v->steal, v->cpu);
		ask(v, hostclock_tsc());
		__atomic_store_n(&v->parked, true, __ATOMIC_RELEASE);
		enter(v);
		__atomic_store_n(&v->parked, false, __ATOMIC_RELEASE);
		result = 0;
		if (!__atomic_exchange_n(&v->exited, false, __ATOMIC_SEQ_CST))
			result = ioctl(v->fd, KVM_RUN, 0);
		__atomic_store_n(&v->left_tsc, hostclock_tsc(), __ATOMIC_RELAXED);
		error = errno;
		gate_leave(v->gate, &v->inside);
		ask(v, v->left_tsc);
		if (result < 0) {
			if (error == EINTR || error == EAGAIN)
				continue;
			fail(v, &end, "KVM cannot run the guest: %s", strerror(error));
		} else if (handle(v, &end)) {
			continue;
		}
		v->ended(v->owner, v, &end);
		break;
	}
	if (v->steal)
		steal_end(v->steal, v->cpu);
	__atomic_store_n(&v->tid, 0, __ATOMIC_SEQ_CST);
	return NULL;
}

int vcpu_start(struct vcpu *v, struct why *why)
{
	char name[16];
	int result;

	snprintf(name, sizeof(name), "vmtime-cpu%u", v->cpu);
	result = thread_start(&v->thread, name, run_vcpu, v);
	if (result < 0)
		return why_set(why, result, "cannot start a thread for a CPU: %s",
			       strerror(-result));
	v->started = true;
	return 0;
}

/* A thread that is about to enter the guest finds immediate_exit set, one that is there already is
 * fetched by the signal, one that has ended gets none. */
void vcpu_kick(struct vcpu *v)
{
	int tid;

	__atomic_store_n(&v->run->immediate_exit, 1, __ATOMIC_SEQ_CST);
	tid = __atomic_load_n(&v->tid, __ATOMIC_SEQ_CST);
	if (tid)
		(void)tgkill(getpid(), tid, THREAD_KICK);
}

void vcpu_look_again(struct vcpu *v)
{
	__atomic_store_n(&v->look, true, __ATOMIC_SEQ_CST);
	vcpu_kick(v);
}

/* In this order: who finds immediate_exit set looks at `stop`. */
void vcpu_ask_to_stop(struct vcpu *v)
{
	if (!v->started)
		return;
	__atomic_store_n(&v->stop, true, __ATOMIC_SEQ_CST);
	vcpu_kick(v);
}

void vcpu_stop(struct vcpu *v)
{
	if (!v->started)
		return;
	vcpu_ask_to_stop(v);
	pthread_join(v->thread, NULL);
	v->started = false;
}
