/* SPDX-License-Identifier: Apache-2.0 */
/* machine_start.c - what a machine is made of before a CPU of it runs, piece by piece. */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "host/hostclock.h"
#include "kvm/acpi.h"
#include "kvm/machine_impl.h"
#include "kvm/vmstate.h"

enum { NS_PER_MS = 1000000 };

/* IRQ 0, one of the few ISA lines that nothing else is on (for guests that use the PIC), and four
 * that only the I/O APIC has. */
enum { HPET_ROUTES = 1 << 2 | 1 << 11 | 0xf << 20 };

/* How long a guest may take to set its RTC, byte by byte. */
static const struct timeval settling = {.tv_usec = 100000};

/* In a vCPU's thread: remembered, and the loop told. */
static void on_vcpu_end(void *owner, const struct vcpu *vcpu, const struct vcpu_end *end)
{
	struct machine *m = owner;
	const uint64_t one = 1;

	(void)vcpu;
	pthread_mutex_lock(&m->lock);
	if (!m->vcpu_ended)
		m->vcpu_end = *end;
	m->vcpu_ended = true;
	pthread_mutex_unlock(&m->lock);
	(void)!write(m->end_fd, &one, sizeof(one));
}

static int create_vcpus(struct machine *m, struct why *why)
{
	const struct machine_config *config = m->config;
	struct cpuid_config cpuid_config = {
		.cpus = config->cpus,
		.kvm_leaves = config->kvm_clock != MACHINE_KVM_CLOCK_NONE,
		.steal = config->steal != MACHINE_STEAL_NONE,
		.invariant = config->tsc.invariant,
		.tsc_deadline = vm_capability(&m->vm, KVM_CAP_TSC_DEADLINE_TIMER) > 0 &&
				tsc_shows_deadline(&m->tsc_host, &config->tsc, config->append),
		.tsc_khz = m->tsc.khz,
		.apic_bus_khz = VM_APIC_BUS_KHZ,
	};
	struct cpuid_table *cpuid = calloc(1, sizeof(*cpuid));
	int result = cpuid ? 0 : why_set(why, -ENOMEM, "no memory for the CPUs' features");

	if (result == 0)
		result = vm_supported_cpuid(&m->vm, cpuid, why);
	if (result == 0 && cpuid_build(cpuid, &cpuid_config) < 0)
		result = why_set(why, -EIO, "this host's CPU has too many CPUID leaves");
	for (uint32_t i = 0; i < config->cpus && result == 0; i++) {
		struct vcpu *v = &m->vcpus[i];

		result = vcpu_create(&m->vm, i, cpuid, v, why);
		if (result < 0)
			break;
		v->ports = &m->ports;
		v->gate = &m->gate;
		v->pvclock = &m->pvclock;
		v->steal = config->steal == MACHINE_STEAL_USER ? &m->steal : NULL;
		v->suspend = &m->suspend;
		v->ended = on_vcpu_end;
		v->owner = m;
		m->n_vcpus++;
		m->vm.first = m->vcpus;
	}
	free(cpuid);
	return result;
}

/* True for a bzImage.  What cannot be read is boot_load()'s to explain: a FIFO must not hang. */
static bool is_linux(const char *path)
{
	char magic[4] = {0};
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	bool yes = fd >= 0 && pread(fd, magic, sizeof(magic), 0x202) == sizeof(magic) &&
		   memcmp(magic, "HdrS", sizeof(magic)) == 0;

	if (fd >= 0)
		close(fd);
	return yes;
}

int machine_load_image(struct machine *m, struct boot_state *ret_state, struct why *why)
{
	const struct machine_config *config = m->config;
	const struct acpi_config acpi = {
		.cpus = config->cpus,
		.pm_timer = config->pm_timer,
		.rtc = config->rtc != MACHINE_RTC_NONE,
		.hpet = config->hpet,
	};
	struct boot_config boot = {
		.kernel = config->kernel,
		.initrds = config->initrds,
		.append = config->append,
		.env = config->env,
	};
	char *append = NULL;
	int result;

	if (!config->kernel)
		return why_set(why, -ENOENT,
			       "it has come without a kernel (restore it with --kernel FILE)");
	result = acpi_build(&m->memory, &acpi, &boot.rsdp_gpa);
	if (result < 0)
		return why_set(why, result, "the ACPI tables do not fit into the guest's memory");
	/* Calibration by polling needs exits below 10 us, and nothing else tells such a guest.  In
	 * front, so that one in `append` comes later and counts, and that no ` -- ` is before. */
	if (config->kvm_clock == MACHINE_KVM_CLOCK_NONE && config->tsc_hint &&
	    is_linux(config->kernel)) {
		if (asprintf(&append, "tsc_early_khz=%u%s%s", m->tsc.khz,
			     config->append[0] ? " " : "", config->append) < 0)
			return why_set(why, -ENOMEM, "no memory for the command line");
		boot.append = append;
	}
	result = boot_load(&m->memory, &boot, ret_state, why);
	free(append);
	return result;
}

/* Starts the clock: on the TSC where the host itself trusts it, else on CLOCK_MONOTONIC. */
static int start_clock(struct machine *m, bool tsc, struct vmt_clock *ret_clock, struct why *why)
{
	const struct machine_config *config = m->config;
	uint64_t hz = (tsc ? m->vm.tsc_khz : NS_PER_MS) * 1000ULL; /* of the counter */
	struct vmt_reading at;
	int result;

	if (m->incoming)
		return vmstate_load_time(m, tsc, hz, ret_clock, why);
	result = timestate_host(tsc, hz, &at);
	if (result < 0)
		return why_set(why, result, "cannot read the host's clocks");
	tsc_begin(&m->tsc_host, tsc ? at.counter : hostclock_tsc(), &m->tsc);
	if (config->has_date)
		at.utc_ns = config->date_ns;
	result = vmt_clock_start(hz, &at, ret_clock, NULL);
	return result < 0 ? why_set(why, result, "a TSC of %u kHz is not possible", m->vm.tsc_khz)
			  : 0;
}

static void on_escape(void *owner)
{
	machine_stop(owner);
}

int machine_open(struct machine *m, struct why *why)
{
	for (unsigned i = 0; i < PORTS_SERIAL; i++) {
		struct console_port port = ports_console(&m->ports, i);
		int result;

		if (m->config->serial[i].kind == CONSOLE_NONE || m->ports.serial[i].console)
			continue;
		port.escape = on_escape;
		port.owner = m;
		result = console_open(&m->config->serial[i], m->base, &port,
				      &m->ports.serial[i].console, why);
		if (result < 0)
			return result;
	}
	return 0;
}

static void on_set(evutil_socket_t fd, short what, void *arg)
{
	struct machine *m = arg;
	uint64_t count;

	(void)what;
	(void)!read(fd, &count, sizeof(count));
	evtimer_add(m->settle, &settling);
}

static void on_settle(evutil_socket_t fd, short what, void *arg)
{
	struct machine *m = arg;
	struct chipset_change change;

	(void)fd;
	(void)what;
	if (chipset_settle_rtc(&m->chipset, &change) && m->watch)
		m->watch->change(m->watch->owner, &change);
}

static int watch_rtc(struct machine *m, struct why *why)
{
	m->settle = evtimer_new(m->base, on_settle, m);
	m->set_event = event_new(m->base, m->chipset.set_fd, EV_READ | EV_PERSIST, on_set, m);
	if (!m->settle || !m->set_event || event_add(m->set_event, NULL) < 0)
		return why_set(why, -ENOMEM, "no memory for a machine");
	return 0;
}

static struct vmt_board_config board_of(const struct machine_config *config)
{
	return (struct vmt_board_config){
		.faces = (config->pit == MACHINE_PIT_USER ? VMT_HAS_PIT : 0U) |
			 (config->rtc ? VMT_HAS_RTC : 0U) |
			 (config->pm_timer ? VMT_HAS_PMTMR : 0U) |
			 (config->hpet ? VMT_HAS_HPET : 0U),
		.ticks = config->ticks,
		.pm1a_port = ACPI_PM1A_EVT_PORT,
		.pmtmr_port = ACPI_PM_TIMER_PORT,
		.pmtmr_bits = 24,
		.hpet_routes = HPET_ROUTES,
		.hpet_address = ACPI_HPET_ADDRESS,
	};
}

/* Virtual time begins, and with it the guest's TSC, both at 0. */
static int power_on(struct machine *m, struct why *why)
{
	const struct machine_config *config = m->config;
	const struct vmt_board_config board = board_of(config);
	bool tsc = tsc_trusted(&m->tsc_host);
	struct vmt_clock clock;
	int result = start_clock(m, tsc, &clock, why);

	if (result == 0)
		result = chipset_init(&m->chipset, &board, &clock, tsc, why);
	m->powered = result == 0;
	if (result == 0 && config->rtc == MACHINE_RTC_EXACT)
		(void)vmt_rtc_exact(&m->chipset.board.rtc, 0, VMT_RTC_LEAD_NS);
	return result == 0 ? watch_rtc(m, why) : result;
}

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
	struct machine *m = arg;
	struct chipset_change change;

	(void)fd;
	(void)what;
	if (!m->running || m->pause.paused)
		return;
	machine_meet_host(m);
	if (pvclock_tick(&m->pvclock, &change) && m->watch)
		m->watch->change(m->watch->owner, &change);
	steal_tick(&m->steal);
	machine_note_host(m);
}

static void on_notice(void *owner, const char *text)
{
	const struct machine *m = owner;

	if (m->watch)
		m->watch->notice(m->watch->owner, text);
}

/* Virtual time runs, nobody looks at it yet. */
static int start_pages(struct machine *m, struct why *why)
{
	static_assert(PVCLOCK_TICK_MS == STEAL_TICK_MS, "one event serves both");
	static const struct timeval period = {.tv_usec = PVCLOCK_TICK_MS * 1000};
	const struct pvclock_config config = {
		.chipset = &m->chipset,
		.gate = &m->gate,
		.memory = &m->memory,
		.vcpus = m->vcpus,
		.cpus = m->config->cpus,
		.tsc = &m->tsc,
		.movable = m->tsc_host.tsc_class != PROBE_TSC_NONE,
		.shown = m->config->kvm_clock == MACHINE_KVM_CLOCK_USER,
		.disciplined = m->config->discipline,
		.stable = liveclock_get(&m->chipset.clock).tsc,
		.notice = on_notice,
		.owner = m,
	};
	int result = pvclock_init(&m->pvclock, &config, why);

	m->has_pvclock = result == 0;
	if (result == 0 && m->config->steal == MACHINE_STEAL_USER)
		result = steal_init(&m->steal, &m->memory, m->vcpus, config.cpus, why);
	if (result < 0)
		return result;
	m->tick = event_new(m->base, -1, EV_PERSIST, on_tick, m);
	if (!m->tick || event_add(m->tick, &period) < 0)
		return why_set(why, -ENOMEM, "no memory for a machine");
	return machine_watch_host(m, why);
}

static int plan_tsc(struct machine *m, struct why *why)
{
	struct why text;

	tsc_find(m->config->tsc_class, m->vm.tsc_khz, &m->tsc_host);
	m->tsc_host.source = m->tsc_host.source && !m->config->tsc.uncounted;
	if (m->watch && tsc_notice(&m->tsc_host, &text))
		m->watch->notice(m->watch->owner, text.text);
	if (m->config->on_pause == VMT_POLICY_FREEZE && m->config->tsc_class == PROBE_TSC_NONE)
		return why_set(
			why, -ENODEV,
			"--on-pause freeze is not possible: this KVM gives guests the host's "
			"own TSC, which never stands still (give --on-pause continue)");
	return tsc_plan(&m->tsc_host, &m->config->tsc, m->config->cpus, &m->tsc, why);
}

int machine_make(struct machine *m, struct why *why)
{
	const struct vmt_board_config board = board_of(m->config);
	const struct vm_config config = {
		.ack_gsis = chipset_ack_gsis(&board),
		.cpus = m->config->cpus,
		.kernel_pit = m->config->pit == MACHINE_PIT_KERNEL,
		.kernel_reinject = m->config->ticks == VMT_TICKS_CATCHUP ||
				   m->config->ticks == VMT_TICKS_DELAY,
	};
	int result = vm_create(&m->memory, &config, &m->vm, why);

	if (result == 0 && !m->powered)
		result = plan_tsc(m, why);
	if (result == 0)
		result = vm_filter_msrs(&m->vm, m->config->kvm_clock == MACHINE_KVM_CLOCK_USER,
					m->config->steal == MACHINE_STEAL_USER, why);
	return result < 0 ? result : create_vcpus(m, why);
}

int machine_power_on(struct machine *m, struct why *why)
{
	int result = power_on(m, why);

	return result < 0 ? result : start_pages(m, why);
}

/* One that cannot be made must not leave others in the guest. */
int machine_make_threads(struct machine *m, struct why *why)
{
	int result;

	if (!m->pause.paused)
		gate_shut(&m->gate);
	m->shut = !m->pause.paused;
	result = deadline_start(&m->deadline, &m->chipset, m->vm.acks, m->vm.n_acks, why);
	m->has_deadline = result == 0;
	for (uint32_t i = 0; i < m->n_vcpus && result == 0; i++)
		result = vcpu_start(&m->vcpus[i], why);
	return result;
}

void machine_begin(struct machine *m, bool first)
{
	m->running = true;
	machine_begin_host(m, first);
	machine_let_in(m);
}

int machine_check(const struct machine_config *config, struct why *why)
{
	enum { SEVEN_DIGITS = 9999999 };
	struct machine m = {.config = config, .tsc.khz = SEVEN_DIGITS};
	struct boot_state state;
	int result = memory_create(config->memory_bytes, &m.memory, why);

	if (result < 0)
		return result;
	result = machine_load_image(&m, &state, why);
	memory_destroy(&m.memory);
	return result;
}
