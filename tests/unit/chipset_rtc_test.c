/* SPDX-License-Identifier: Apache-2.0 */
/* chipset_rtc_test.c - the line of an RTC whose interrupts KVM merges until one is acknowledged. */
#include "chipset_bench.h"

#include <linux/kvm.h>
#include <string.h>
#include <sys/ioctl.h>

enum { RTC_GSI = 8, REG_C = 12, VM_FD = 1000 };

/* A KVM with one line. */
static struct {
	bool merges, is_high;
	unsigned raised;
} kvm;

/* In place of the C library's. */
int ioctl(int fd, unsigned long request, ...)
{
	struct kvm_irq_level *line;
	va_list args;

	va_start(args, request);
	line = va_arg(args, struct kvm_irq_level *);
	va_end(args);
	if (fd != VM_FD || (request != KVM_IRQ_LINE && request != KVM_IRQ_LINE_STATUS) ||
	    line->irq != RTC_GSI)
		return -1;
	kvm.raised += line->level && !kvm.is_high;
	kvm.is_high = line->level;
	if (request == KVM_IRQ_LINE_STATUS)
		line->status = !kvm.merges;
	return 0;
}

static struct vm vm;

static void write_rtc(struct chipset *c, uint8_t index, uint8_t value)
{
	assert_true(chipset_write(c, VMT_PIO, INDEX, 1, index));
	assert_true(chipset_write(c, VMT_PIO, DATA, 1, value));
}

static void read_c(struct chipset *c)
{
	uint64_t value;

	assert_true(chipset_write(c, VMT_PIO, INDEX, 1, REG_C));
	assert_true(chipset_read(c, VMT_PIO, DATA, 1, &value));
}

/* Its first interrupt has been asked for, and KVM merges it. */
static struct chipset *create_merged(void)
{
	struct chipset *c = create(true);

	vm = (struct vm){.fd = VM_FD, .kvm_fd = -1, .n_acks = 1};
	vm.acks[0] = (struct vm_ack){
		.gsi = RTC_GSI,
		.ack_fd = eventfd(1, EFD_NONBLOCK), /* of an interrupt before */
		.listener_fd = -1,
	};
	memset(&kvm, 0, sizeof(kvm));
	kvm.merges = true;
	chipset_connect(c, &vm);
	write_rtc(c, REG_A, 0x26); /* 1024 Hz */
	write_rtc(c, REG_B, 0x42);
	while (!kvm.raised)
		advance(c, 0);
	return c;
}

static void destroy_merged(struct chipset *c)
{
	chipset_connect(c, NULL);
	close(vm.acks[0].ack_fd);
	destroy(c);
}

static void a_merged_interrupt_holds_the_line_until_it_is_served(void **state)
{
	struct chipset *c = create_merged();

	(void)state;
	assert_true(kvm.is_high);
	read_c(c);
	assert_false(kvm.is_high);
	assert_int_equal(c->board.ticks[VMT_SOURCE_RTC].ledger.delivered, 1);
	kvm.merges = false;
	while (kvm.raised == 1)
		advance(c, 0);
	assert_false(kvm.is_high); /* taken: an edge */
	destroy_merged(c);
}

static void try_again(struct chipset *c)
{
	vmt_ns at = c->board.ticks[VMT_SOURCE_RTC].retry_ns;

	assert_true(at != VMT_NEVER);
	while (chipset_now(c) < at)
		usleep(100);
	advance(c, 0);
}

/* Nobody saw an acknowledgement, so KVM may not have taken it by itself. */
static void a_merged_interrupt_is_asked_for_again(void **state)
{
	struct chipset *c = create_merged();

	(void)state;
	try_again(c);
	assert_int_equal(kvm.raised, 2);
	assert_true(kvm.is_high);
	kvm.merges = false;
	try_again(c);
	assert_int_equal(kvm.raised, 3);
	assert_false(kvm.is_high);
	assert_int_equal(c->board.ticks[VMT_SOURCE_RTC].retry_ns, VMT_NEVER);
	destroy_merged(c);
}

/* At the acknowledgement of the one before KVM took it: asked again, the guest would have two. */
static void an_interrupt_taken_meanwhile_is_not_asked_for_again(void **state)
{
	const uint64_t one = 1;

	(void)state;
	for (int by_thread = 0; by_thread <= 1; by_thread++) {
		struct chipset *c = create_merged();

		assert_int_equal(write(vm.acks[0].ack_fd, &one, sizeof(one)), sizeof(one));
		if (by_thread)
			advance(c, 1);
		try_again(c);
		assert_int_equal(kvm.raised, 1);
		assert_int_equal(c->board.ticks[VMT_SOURCE_RTC].retry_ns, VMT_NEVER);
		assert_true(kvm.is_high);
		read_c(c);
		assert_false(kvm.is_high);
		destroy_merged(c);
	}
}

/* Where no acknowledgement would come a tick counts as delivered when it was taken. */
static void a_mute_host_s_ticks_are_delivered_when_taken(void **state)
{
	struct chipset *c = create_merged();
	const struct vmt_board_ticks *t = &c->board.ticks[VMT_SOURCE_HPET1];

	(void)state;
	kvm.merges = false;
	vm.is_mute = true;
	set(c, TIMER0 + 0x20, 0x4c); /* in the RTC's place, 1 kHz */
	set(c, TIMER0 + 0x28, 100000);
	set(c, TIMER0 + 0x28, 100000);
	set(c, CONFIG, 3);
	while (t->ledger.due < 3)
		advance(c, 0);
	assert_true(t->ledger.delivered > 0);
	assert_int_equal(t->ledger.owed, 0);
	kvm.merges = true; /* and when it was not, not */
	for (uint64_t due = t->ledger.due; t->ledger.due == due;)
		advance(c, 0);
	assert_int_equal(t->ledger.owed, 1);
	destroy_merged(c);
}

/* An HPET that gets the line finds it low. */
static void the_line_falls_when_the_hpet_has_it(void **state)
{
	struct chipset *c = create_merged();

	(void)state;
	set(c, CONFIG, 3);
	assert_false(kvm.is_high);
	destroy_merged(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_merged_interrupt_holds_the_line_until_it_is_served),
		cmocka_unit_test(a_merged_interrupt_is_asked_for_again),
		cmocka_unit_test(an_interrupt_taken_meanwhile_is_not_asked_for_again),
		cmocka_unit_test(a_mute_host_s_ticks_are_delivered_when_taken),
		cmocka_unit_test(the_line_falls_when_the_hpet_has_it),
	};

	return cmocka_run_group_tests_name("chipset rtc", tests, NULL, NULL);
}
