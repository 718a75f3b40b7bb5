/* SPDX-License-Identifier: Apache-2.0 */
/* embed.c - a PIT on one clock in somebody's VMM: port access, timer, pause and resume.
 *
 * The pattern, the same for every chip: take the VM's lock, read the host's counter, make virtual
 * time of it, call the chip with that time, obey its answer: interrupts now, a timer for later.
 * A chip reads no clock, so it stands still while the clock does and need not be told.
 *
 * The host here is a variable, so that every run prints the same; comments say what a VMM does. */
#include <inttypes.h>
#include <stdio.h>
#include <vmtime/vmtime.h>

#define HOST_HZ 2000000000U /* frequency of the host's counter, the TSC */

struct vm { /* what a VMM keeps for each VM, all of it under one short lock */
	struct vmt_clock clock;
	struct vmt_pit pit;
	uint64_t timer; /* host count at which the timer fires; UINT64_MAX: never */
	uint64_t ticks; /* interrupts injected */
};

/* RDTSC and CLOCK_REALTIME of one instant, read after the lock was taken. */
static struct vmt_reading host = {.counter = 77, .utc_ns = 1700000000000000000};

static void host_reaches(uint64_t counter)
{
	host.utc_ns += (int64_t)((counter - host.counter) / 2);
	host.counter = counter;
}

static vmt_ns now(const struct vm *vm)
{
	return vmt_clock_now(&vm->clock, host.counter);
}

/* What the answer to any call asks for. */
static void obey(struct vm *vm, struct vmt_out out)
{
	vm->ticks += out.rises[VMT_PIT_OUT0]; /* for each: KVM_IRQ_LINE of IRQ 0, 1 and then 0 */
	vm->timer = vmt_clock_counter_at(&vm->clock, out.deadline); /* an absolute timerfd */
}

/* KVM_EXIT_IO at ports 0x40 to 0x43; port 0x61 is register VMT_PIT_PORT61. */
static void port_write(struct vm *vm, uint16_t port, uint8_t value)
{
	obey(vm, vmt_pit_write(&vm->pit, now(vm), port & 3, value));
}

static uint8_t port_read(struct vm *vm, uint16_t port)
{
	uint8_t value;

	obey(vm, vmt_pit_read(&vm->pit, now(vm), port & 3, &value));
	return value;
}

static void run_for_a_second(struct vm *vm, const char *what)
{
	uint64_t end = host.counter + HOST_HZ;

	/* The timer's thread: sleep until it fires, ask the chip what became due. */
	for (; vm->timer <= end; obey(vm, vmt_pit_advance(&vm->pit, now(vm))))
		host_reaches(vm->timer);
	host_reaches(end);

	port_write(vm, 0x43, 0x00); /* the guest latches counter 0 and reads both bytes */
	unsigned low = port_read(vm, 0x40), high = port_read(vm, 0x40);
	printf("%-20s now %13" PRIu64 " ns  ticks %6" PRIu64 "  counter %5u\n", what, now(vm),
	       vm->ticks, high << 8 | low);
}

static void pause_for_an_hour(struct vm *vm, uint32_t policy)
{
	/* Once all vCPUs have left the guest: time stands, the timer is disarmed. */
	vmt_clock_pause(&vm->clock, host.counter, &vm->clock, NULL);
	vm->timer = UINT64_MAX;
	host_reaches(host.counter + 3600ULL * HOST_HZ);
	/* Time goes on, the chip says what is due and when to call it again; then vCPUs run. */
	vmt_clock_resume(&vm->clock, &host, policy, 0, &vm->clock, NULL);
	obey(vm, vmt_pit_advance(&vm->pit, now(vm)));
}

int main(void)
{
	struct vm vm = {.timer = UINT64_MAX};

	if (vmt_clock_start(HOST_HZ, &host, &vm.clock, NULL))
		return 1;
	vmt_pit_reset(&vm.pit, now(&vm));
	port_write(&vm, 0x43, 0x34); /* the guest: counter 0, low and high byte, rate generator */
	port_write(&vm, 0x40, 11932 & 0xff);
	port_write(&vm, 0x40, 11932 >> 8); /* 1193182 Hz / 11932: 100 ticks a second */
	run_for_a_second(&vm, "a second");
	pause_for_an_hour(&vm, VMT_POLICY_FREEZE); /* the hour did not happen to the guest */
	run_for_a_second(&vm, "an hour of FREEZE");
	pause_for_an_hour(&vm, VMT_POLICY_CONTINUE); /* it did: 360,000 ticks are due at once */
	run_for_a_second(&vm, "an hour of CONTINUE");
	return 0;
}
