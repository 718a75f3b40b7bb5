/* SPDX-License-Identifier: Apache-2.0 */
/* vmstate_board_test.c - interrupt chips and lines, the board and the serial ports leave one
 * machine and arrive in another. */
#include "chipset_bench.h"

#include <errno.h>
#include <linux/kvm.h>
#include <string.h>
#include <sys/ioctl.h>

#include "../random.h"
#include "kvm/bytes.h"
#include "kvm/vmstate_board.h"

enum { RTC_GSI = 8, REG_C = 12, VM_FD = 1000, IRQCHIPS = 3, COM1 = 0x3f8, COM2 = 0x2f8 };

/* A KVM. */
static struct {
	bool merges;
	uint32_t high, raised[VM_GSIS];
	struct kvm_irqchip chips[IRQCHIPS];
	struct kvm_pit_state2 pit;
	unsigned long refuses; /* this request */
} kvm;

static int set_line(unsigned long request, struct kvm_irq_level *line)
{
	assert_true(line->irq < VM_GSIS);
	kvm.raised[line->irq] += line->level && !(kvm.high >> line->irq & 1);
	kvm.high &= ~(1U << line->irq);
	kvm.high |= line->level << line->irq;
	if (request == KVM_IRQ_LINE_STATUS)
		line->status = !kvm.merges;
	return 0;
}

/* In place of the C library's. */
int ioctl(int fd, unsigned long request, ...)
{
	struct kvm_irqchip *chip;
	va_list args;
	void *arg;

	va_start(args, request);
	arg = va_arg(args, void *);
	va_end(args);
	if (fd != VM_FD || request == kvm.refuses) {
		errno = EBADF;
		return -1;
	}
	chip = arg;
	switch (request) {
	case KVM_IRQ_LINE:
	case KVM_IRQ_LINE_STATUS:
		return set_line(request, arg);
	case KVM_GET_IRQCHIP:
		*chip = kvm.chips[chip->chip_id];
		return 0;
	case KVM_SET_IRQCHIP:
		kvm.chips[chip->chip_id] = *chip;
		return 0;
	case KVM_GET_PIT2:
		memcpy(arg, &kvm.pit, sizeof(kvm.pit));
		return 0;
	case KVM_SET_PIT2:
		memcpy(&kvm.pit, arg, sizeof(kvm.pit));
		return 0;
	default:
		fail_msg("nobody asks KVM for 0x%lx", request);
		return -1;
	}
}

static struct vm vm = {.fd = VM_FD, .kvm_fd = -1};

static struct vmstate_parts save(struct chipset *c)
{
	struct vmstate_parts parts = {0};

	(void)chipset_hold(c);
	chipset_release(c);
	assert_int_equal(vmstate_board_save(c, &parts, NULL), 0);
	chipset_connect(c, NULL);
	memset(kvm.raised, 0, sizeof(kvm.raised));
	kvm.high = 0;
	return parts;
}

static int load(struct chipset *c, const struct vmstate_parts *parts, struct why *why)
{
	return vmstate_board_load(c, &vm, vmstate_parts_find(parts, VMSTATE_BOARD, 0),
				  vmstate_parts_find(parts, VMSTATE_LINES, 0), why);
}

/* One whose virtual time goes on from that of another. */
static struct chipset *create_after(const struct chipset *old)
{
	struct chipset *c = create(true);
	struct counted_clock now = liveclock_get(&c->clock);

	now.clock.base_ns = old->board.now;
	now.clock.utc_offset_ns = 12345;
	liveclock_set(&c->clock, &now);
	return c;
}

/* Its virtual time is that, and stays so. */
static void stand_at(struct chipset *c, vmt_ns now_ns)
{
	struct counted_clock now = liveclock_get(&c->clock);

	now.clock.state = VMT_CLOCK_PAUSED;
	now.clock.base_ns = now_ns;
	liveclock_set(&c->clock, &now);
}

static void start_pit(struct chipset *c) /* 100 Hz */
{
	assert_true(chipset_write(c, VMT_PIO, 0x43, 1, 0x34));
	assert_true(chipset_write(c, VMT_PIO, 0x40, 1, 11932 & 0xff));
	assert_true(chipset_write(c, VMT_PIO, 0x40, 1, 11932 >> 8));
}

/* A second has passed, in which 100 ticks fell due: one is asked for, the others are accounted
 * for. */
static void a_tick_that_fell_due_meanwhile_reaches_kvm(void **state)
{
	struct chipset *c = create(true), *other;
	struct vmstate_parts parts;
	struct vmt_ledger l;

	(void)state;
	memset(&kvm, 0, sizeof(kvm));
	chipset_connect(c, &vm);
	stand_at(c, c->board.now);
	start_pit(c);
	parts = save(c);
	other = create_after(c);
	stand_at(other, c->board.now + 1005000000);
	assert_int_equal(load(other, &parts, NULL), 0);
	assert_int_equal(kvm.raised[VM_GSI_TICK], 1);
	vmt_board_ledger(&other->board, VMT_SOURCE_PIT, &l);
	assert_int_equal(l.due, 100);
	assert_int_equal(l.due, l.delivered + l.merged + l.discarded + l.owed);
	assert_int_equal(l.owed, 1);
	assert_int_equal(vmt_rtc_offset_ns(&other->board.rtc), 0);
	assert_int_equal(other->rtc_offset_ns, 0);
	vmstate_parts_free(&parts);
	chipset_connect(other, NULL);
	destroy(other);
	destroy(c);
}

static void a_board_from_the_future_or_of_another_machine_is_refused(void **state)
{
	struct chipset *c = create(true), *other;
	struct vmstate_parts parts;
	struct why why;

	(void)state;
	memset(&kvm, 0, sizeof(kvm));
	chipset_connect(c, &vm);
	start_pit(c);
	parts = save(c);
	other = create_after(c);
	stand_at(other, c->board.now - 1);
	assert_int_equal(load(other, &parts, &why), -EINVAL);
	destroy(other);
	other = create_after(c);
	other->board.config.ticks = VMT_TICKS_CATCHUP;
	assert_int_equal(load(other, &parts, &why), -EINVAL);
	assert_non_null(strstr(why.text, "with another --pit, --rtc"));
	other->board.config.ticks = VMT_TICKS_DISCARD;
	parts.parts[1].bytes[8] = VM_GSIS + 1;
	assert_int_equal(load(other, &parts, &why), -EINVAL);
	assert_non_null(strstr(why.text, "no interrupt line 25"));
	parts.parts[1].length--;
	assert_int_equal(load(other, &parts, &why), -EINVAL);
	assert_int_equal(kvm.raised[VM_GSI_TICK], 0);
	vmstate_parts_free(&parts);
	destroy(other);
	destroy(c);
}

static void write_rtc(struct chipset *c, uint8_t index, uint8_t value)
{
	assert_true(chipset_write(c, VMT_PIO, INDEX, 1, index));
	assert_true(chipset_write(c, VMT_PIO, DATA, 1, value));
}

/* KVM had merged it, so that its line is high: there it stays so until register C is read. */
static void a_line_that_is_held_is_held_there(void **state)
{
	struct chipset *c = create(true), *other;
	struct vmstate_parts parts;
	uint64_t value;

	(void)state;
	memset(&kvm, 0, sizeof(kvm));
	kvm.merges = true;
	vm.n_acks = 1;
	vm.acks[0] = (struct vm_ack){RTC_GSI, eventfd(0, EFD_NONBLOCK), -1};
	chipset_connect(c, &vm);
	write_rtc(c, REG_A, 0x26); /* 1024 Hz */
	write_rtc(c, REG_B, 0x42);
	while (!kvm.raised[RTC_GSI])
		advance(c, 0);
	assert_true(c->rtc_waits);
	parts = save(c);
	other = create_after(c);
	assert_int_equal(load(other, &parts, NULL), 0);
	assert_true(other->rtc_waits);
	assert_int_equal(kvm.high, 1 << RTC_GSI);
	write_rtc(other, REG_B, 0x02); /* no more of them */
	assert_true(chipset_write(other, VMT_PIO, INDEX, 1, REG_C));
	assert_true(chipset_read(other, VMT_PIO, DATA, 1, &value));
	assert_int_equal(kvm.high, 0);
	vmstate_parts_free(&parts);
	close(vm.acks[0].ack_fd);
	vm.n_acks = 0;
	chipset_connect(other, NULL);
	destroy(other);
	destroy(c);
}

static void fill(void *bytes, size_t size, struct random *random)
{
	for (size_t i = 0; i < size; i++)
		((uint8_t *)bytes)[i] = (uint8_t)random_next(random);
}

static void the_kernels_chips_come_back(void **state)
{
	struct random random = random_start();
	const uint64_t clock_ns = 987654321;

	(void)state;
	for (int pit = 0; pit <= 1; pit++) {
		struct kvm_irqchip chips[IRQCHIPS];
		struct vmstate_parts parts = {0};
		struct kvm_pit_state2 state2;
		uint64_t loaded_ns = 0;

		vm.kernel_pit = pit;
		memset(&kvm, 0, sizeof(kvm));
		fill(kvm.chips, sizeof(kvm.chips), &random);
		fill(&kvm.pit, sizeof(kvm.pit), &random);
		for (uint32_t i = 0; i < IRQCHIPS; i++)
			kvm.chips[i].chip_id = i;
		memcpy(chips, kvm.chips, sizeof(chips));
		state2 = kvm.pit;
		assert_int_equal(vmstate_chips_save(&vm, &clock_ns, &parts, NULL), 0);
		memset(&kvm, 0, sizeof(kvm));
		assert_int_equal(vmstate_chips_load(&vm, &parts.parts[0], &loaded_ns, NULL), 0);
		assert_memory_equal(chips, kvm.chips, sizeof(chips));
		assert_int_equal(memcmp(&state2, &kvm.pit, sizeof(state2)) == 0, pit);
		assert_true(loaded_ns == clock_ns);
		assert_int_equal(vmstate_chips_load(&vm, &parts.parts[0], NULL, NULL), -EINVAL);
		vm.kernel_pit = !pit;
		assert_int_equal(vmstate_chips_load(&vm, &parts.parts[0], &loaded_ns, NULL),
				 -EINVAL);
		vmstate_parts_free(&parts);
	}
	vm.kernel_pit = false;
}

static void what_kvm_refuses_of_its_chips_is_an_error(void **state)
{
	static const unsigned long requests[] = {KVM_GET_IRQCHIP, KVM_GET_PIT2, KVM_SET_IRQCHIP,
						 KVM_SET_PIT2};

	(void)state;
	vm.kernel_pit = true;
	for (int i = 0; i < 4; i++) {
		struct vmstate_parts parts = {0};
		struct why why;
		int result;

		memset(&kvm, 0, sizeof(kvm));
		kvm.refuses = requests[i];
		result = vmstate_chips_save(&vm, NULL, &parts, &why);
		if (result == 0)
			result = vmstate_chips_load(&vm, &parts.parts[0], NULL, &why);
		assert_int_equal(result, -EIO);
		assert_int_equal(strncmp(why.text, "KVM refused ", 12), 0);
		vmstate_parts_free(&parts);
	}
	vm.kernel_pit = false;
}

static void do_anything(struct ports *p, struct random *random)
{
	uint16_t port =
		(uint16_t)((random_below(random, 2) ? COM1 : COM2) + random_below(random, 8));
	struct console_port console = ports_console(p, random_below(random, PORTS_SERIAL));
	uint8_t bytes[3], ignored;

	switch (random_below(random, 4)) {
	case 0:
		(void)ports_in(p, port, 1);
		break;
	case 1:
		fill(bytes, sizeof(bytes), random);
		console.input(console.port, bytes, 1 + random_below(random, 3));
		break;
	case 2:
		(void)ports_out(p, (uint16_t)(0x602 + 2 * random_below(random, 2)), 2,
				(uint32_t)random_next(random) & 0xdfff, &ignored);
		break;
	default:
		(void)ports_out(p, port, 1, (uint8_t)random_next(random), &ignored);
	}
}

/* Behind its last member there is padding, which may hold anything. */
static const size_t of_a_serial = offsetof(struct serial, rx_count) + sizeof(uint8_t);

/* Two in the same state answer the same for ever. */
static void serial_ports_go_on_as_if_nothing_had_been(void **state)
{
	struct random random = random_start();
	struct chipset *c = create(true);

	(void)state;
	memset(&kvm, 0, sizeof(kvm));
	for (int life = 0; life < 300; life++) {
		struct vmstate_parts parts = {0};
		struct ports saved, loaded;

		ports_init(&saved, c, false);
		ports_init(&loaded, c, false);
		for (int i = 0; i < 60; i++)
			do_anything(&saved, &random);
		assert_int_equal(vmstate_ports_save(&saved, &parts, NULL), 0);
		assert_int_equal(vmstate_ports_load(&loaded, &parts.parts[0], NULL), 0);
		ports_connect(&saved, &vm);
		ports_connect(&loaded, &vm);
		for (int i = 0; i < 60; i++) {
			struct random twin = random;

			do_anything(&saved, &random);
			do_anything(&loaded, &twin);
			for (int n = 0; n < PORTS_SERIAL; n++) {
				assert_memory_equal(&saved.serial[n].chip, &loaded.serial[n].chip,
						    of_a_serial);
				assert_int_equal(saved.serial[n].level, loaded.serial[n].level);
			}
			assert_int_equal(saved.pm1_control, loaded.pm1_control);
			assert_int_equal(saved.pm1_enable, loaded.pm1_enable);
		}
		vmstate_parts_free(&parts);
		ports_destroy(&saved);
		ports_destroy(&loaded);
	}
	destroy(c);
}

/* Whoever writes them by hand gets a refusal, or ports that hold no more than they can. */
static void forged_serial_ports_are_refused_or_live(void **state)
{
	struct random random = random_start();
	struct chipset *c = create(true);
	unsigned taken = 0, refused = 0;

	(void)state;
	memset(&kvm, 0, sizeof(kvm));
	for (int life = 0; life < 3000; life++) {
		struct vmstate_parts parts = {0};
		struct ports p;

		ports_init(&p, c, false);
		assert_int_equal(vmstate_ports_save(&p, &parts, NULL), 0);
		for (int i = 0; i < 2; i++)
			parts.parts[0].bytes[random_below(&random, 16)] =
				(uint8_t)random_below(&random, random_below(&random, 2) ? 20 : 256);
		if (vmstate_ports_load(&p, &parts.parts[0], NULL) < 0) {
			refused++;
		} else {
			taken++;
			for (int i = 0; i < 30; i++) {
				do_anything(&p, &random);
				assert_in_range(p.serial[0].chip.rx_first, 0, SERIAL_FIFO - 1);
				assert_in_range(p.serial[0].chip.rx_count, 0, SERIAL_FIFO);
			}
		}
		parts.parts[0].length--;
		assert_int_equal(vmstate_ports_load(&p, &parts.parts[0], NULL), -EINVAL);
		vmstate_parts_free(&parts);
		ports_destroy(&p);
	}
	assert_true(taken > 300 && refused > 300);
	destroy(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_tick_that_fell_due_meanwhile_reaches_kvm),
		cmocka_unit_test(a_board_from_the_future_or_of_another_machine_is_refused),
		cmocka_unit_test(a_line_that_is_held_is_held_there),
		cmocka_unit_test(the_kernels_chips_come_back),
		cmocka_unit_test(what_kvm_refuses_of_its_chips_is_an_error),
		cmocka_unit_test(serial_ports_go_on_as_if_nothing_had_been),
		cmocka_unit_test(forged_serial_ports_are_refused_or_live),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
