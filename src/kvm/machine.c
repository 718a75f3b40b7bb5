/* SPDX-License-Identifier: Apache-2.0 */
/* machine.c - a whole virtual machine: from its configuration to why it ended. */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kvm/machine_impl.h"
#include "kvm/thread.h"
#include "kvm/vmstate.h"

void machine_let_in(struct machine *m)
{
	if (m->shut)
		gate_open(&m->gate);
	m->shut = false;
}

/* Ends everything that runs and closes the KVM VM; memory, board and clock stay. */
void machine_tear_down(struct machine *m)
{
	if (m->vm.fd >= 0 && m->watch && m->watch->closing)
		m->watch->closing(m->watch->owner);
	if (m->powered)
		chipset_let_go(&m->chipset); /* a vCPU that waits for an answer waits no longer */
	for (uint32_t i = 0; i < m->n_vcpus; i++)
		vcpu_ask_to_stop(&m->vcpus[i]);
	if (m->has_suspend)
		suspend_let_go(&m->suspend, true);
	pause_abandon(&m->pause); /* those at the gate pass it, and find that */
	machine_let_in(m);
	for (uint32_t i = 0; i < m->n_vcpus; i++)
		vcpu_stop(&m->vcpus[i]);
	if (m->has_deadline)
		deadline_stop(&m->deadline);
	m->has_deadline = m->running = false;
	if (m->powered)
		chipset_connect(&m->chipset, NULL);
	ports_connect(&m->ports, NULL);
	for (uint32_t i = 0; i < m->n_vcpus; i++) {
		vcpu_add_stats(&m->stats.vcpus, &m->vcpus[i].stats);
		vcpu_destroy(&m->vcpus[i]);
	}
	m->n_vcpus = 0;
	vm_destroy(&m->vm);
}

/* From power-on, or after a bus reset. */
static int boot(struct machine *m, struct why *why)
{
	const bool first = !m->powered;
	struct boot_state state;
	int result = machine_make(m, why);

	if (result == 0)
		result = machine_load_image(m, &state, why);
	if (result == 0 && first)
		result = machine_power_on(m, why);
	for (uint32_t i = 0; i < m->n_vcpus && result == 0; i++)
		result = tsc_apply(&m->tsc_host, &m->tsc, &m->vcpus[i], why);
	if (result == 0)
		result = vcpu_enter(&m->vcpus[0], &state, why);
	if (result < 0)
		return result;
	chipset_connect(&m->chipset, &m->vm);
	ports_connect(&m->ports, &m->vm);
	result = first ? machine_open(m, why) : 0;
	return result < 0 ? result : machine_make_threads(m, why);
}

/* What its CPUs have written by now waits for this thread. */
static void empty_consoles(const struct machine *m)
{
	for (unsigned i = 0; i < PORTS_SERIAL; i++)
		console_empty(m->ports.serial[i].console);
}

static int start(struct machine *m, struct why *why)
{
	const bool arrives = m->incoming, first = !m->powered || arrives;
	int result = arrives ? machine_arrived(m, why) : boot(m, why);

	if (result == 0)
		machine_begin(m, first);
	if (result == 0 && arrives)
		result = machine_end_gap(m, why);
	if (result < 0)
		machine_tear_down(m);
	else if (first)
		empty_consoles(m); /* not before all else has gone well */
	m->incoming = NULL;        /* who is told may free it */
	if (result == 0 && arrives && m->watch)
		m->watch->change(m->watch->owner, &m->chipset.change);
	if (result == 0 && arrives)
		vmstate_notices(m);
	return result;
}

/* Untouched again: zero to the guest, and no longer ours to keep. */
static void empty_memory(const struct guest_memory *memory)
{
	(void)madvise(memory->low, memory->low_size, MADV_DONTNEED);
	if (memory->high)
		(void)madvise(memory->high, memory->high_size, MADV_DONTNEED);
}

int machine_boot_again(struct machine *m)
{
	m->stats.resets++;
	empty_memory(&m->memory);
	chipset_reset(&m->chipset);
	ports_reset(&m->ports);
	pvclock_reset(&m->pvclock);
	steal_reset(&m->steal);
	m->vcpu_ended = false; /* no vCPU's thread is there */
	return start(m, &m->end.reason);
}

static void on_end(evutil_socket_t fd, short what, void *arg)
{
	struct machine *m = arg;
	struct machine_end *end = &m->end;
	uint64_t count;
	bool ended;

	(void)what;
	(void)!read(fd, &count, sizeof(count));
	/* Two CPUs may both have ended, the second while the first was being served: what it told
	 * is not about the machine made anew. */
	pthread_mutex_lock(&m->lock);
	ended = m->vcpu_ended;
	pthread_mutex_unlock(&m->lock);
	if (!m->running || !ended || m->pause.paused)
		return;
	machine_tear_down(m);
	if (m->vcpu_end.kind == VCPU_END_RESET) {
		end->result = machine_boot_again(m);
		if (end->result == 0) {
			if (m->watch)
				m->watch->reset(m->watch->owner, true);
			return;
		}
		end->kind = MACHINE_END_RESET;
	} else if (m->vcpu_end.kind == VCPU_END_POWEROFF) {
		end->kind = MACHINE_END_POWEROFF;
	} else if (m->vcpu_end.kind == VCPU_END_EXIT) {
		end->kind = MACHINE_END_EXIT;
		end->byte = m->vcpu_end.byte;
	} else {
		end->kind = MACHINE_END_FAULT;
		why_set(&end->reason, 0, "%s", m->vcpu_end.reason);
		memcpy(end->registers, m->vcpu_end.registers, sizeof(end->registers));
	}
	event_base_loopbreak(m->base);
}

int machine_create(const struct machine_config *config, struct event_base *base,
		   struct machine **ret_machine, struct why *why)
{
	struct machine *m = calloc(1, sizeof(*m));
	int result;

	if (!m)
		return why_set(why, -ENOMEM, "no memory for a machine");
	m->config = config;
	m->base = base;
	m->vm.fd = m->vm.kvm_fd = -1;
	pthread_mutex_init(&m->lock, NULL);
	gate_init(&m->gate);
	ports_init(&m->ports, &m->chipset, config->exit_port);
	m->vcpus = calloc(config->cpus, sizeof(*m->vcpus));
	m->end_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	m->end_event = event_new(base, m->end_fd, EV_READ | EV_PERSIST, on_end, m);
	if (!m->vcpus || m->end_fd < 0 || !m->end_event || event_add(m->end_event, NULL) < 0)
		result = why_set(why, -ENOMEM, "no memory for a machine");
	else
		result = memory_create(config->memory_bytes, &m->memory, why);
	if (result == 0 && (result = thread_catch_kicks()) < 0)
		why_set(why, result, "cannot catch signals: %s", strerror(-result));
	if (result < 0) {
		machine_destroy(m, NULL);
		return result;
	}
	*ret_machine = m;
	return 0;
}

int machine_run(struct machine *m, struct machine_end *ret_end, struct why *why)
{
	int result = start(m, why);

	if (result < 0)
		return result;
	m->end.kind = MACHINE_END_STOPPED;
	event_base_dispatch(m->base);
	machine_tear_down(m);
	*ret_end = m->end;
	return 0;
}

uint64_t machine_destroy(struct machine *m, struct why *why)
{
	uint64_t dropped = 0;

	if (!m)
		return 0;
	machine_tear_down(m);
	for (unsigned i = 0; i < PORTS_SERIAL; i++)
		dropped += console_close(m->ports.serial[i].console, why);
	if (m->set_event)
		event_free(m->set_event);
	if (m->settle)
		event_free(m->settle);
	if (m->tick)
		event_free(m->tick);
	machine_unwatch_host(m);
	if (m->has_pvclock)
		pvclock_destroy(&m->pvclock);
	steal_destroy(&m->steal);
	gate_destroy(&m->gate);
	if (m->powered)
		chipset_destroy(&m->chipset);
	ports_destroy(&m->ports);
	memory_destroy(&m->memory);
	if (m->end_event)
		event_free(m->end_event);
	if (m->end_fd >= 0)
		close(m->end_fd);
	pthread_mutex_destroy(&m->lock);
	free(m->vcpus);
	free(m);
	return dropped;
}
