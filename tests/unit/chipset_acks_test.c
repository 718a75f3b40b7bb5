/* SPDX-License-Identifier: Apache-2.0 */
/* chipset_acks_test.c - a chipset's ticks get their acknowledgements, and nobody else's. */
#include "chipset_bench.h"

enum { PERIODIC_EDGE = 0x4c, ONCE_EDGE = 4, LEGACY = 3 };
enum { TICKS = 2000000 }; /* 20 ms */

/* No VM, but what would tell of its acknowledgements: of GSI 20, of the tick's, of the RTC's, of
 * GSI 21. */
static struct vm listening(void)
{
	static const uint32_t gsis[] = {20, VM_GSI_TICK, 8, 21};
	struct vm vm = {.fd = -1, .kvm_fd = -1, .n_acks = 4};

	for (unsigned i = 0; i < vm.n_acks; i++)
		vm.acks[i] = (struct vm_ack){
			.gsi = gsis[i],
			.ack_fd = eventfd(0, EFD_NONBLOCK),
			.listener_fd = -1,
		};
	return vm;
}

/* A chipset with an HPET, connected to *vm, which is listening(). */
static struct chipset *create_listening(struct vm *vm)
{
	struct chipset *c = create(true);

	*vm = listening();
	chipset_connect(c, vm);
	return c;
}

static void destroy_listening(struct chipset *c, struct vm *vm)
{
	chipset_connect(c, NULL);
	vm_destroy(vm);
	destroy(c);
}

static void give(const struct vm *vm, unsigned ack)
{
	const uint64_t one = 1;

	assert_int_equal(write(vm->acks[ack].ack_fd, &one, sizeof(one)), sizeof(one));
}

/* Timer 0 in the PIT's place, once. */
static void await_only_tick(struct chipset *c)
{
	uint64_t due = c->board.ticks[VMT_SOURCE_HPET0].ledger.due;

	set(c, CONFIG, 0);
	set(c, COUNTER, 0);
	set(c, TIMER0, ONCE_EDGE);
	set(c, TIMER0 + 8, TICKS / 20);
	set(c, CONFIG, LEGACY);
	usleep(TICKS / 100 / 10);
	while (c->board.ticks[VMT_SOURCE_HPET0].ledger.due == due)
		set(c, STATUS, 0);
}

/* Timer 0 in the PIT's place, or 1 in the RTC's: its first tick is under way, the next is due. */
static void await_tick(struct chipset *c, uint32_t timer)
{
	const struct vmt_board_ticks *t = &c->board.ticks[VMT_SOURCE_HPET0 + timer];
	uint32_t at = TIMER0 + 0x20 * timer;

	set(c, at, PERIODIC_EDGE);
	set(c, at + 8, TICKS);
	set(c, at + 8, TICKS);
	set(c, CONFIG, LEGACY);
	while (!t->ledger.due)
		advance(c, 0);
	usleep(TICKS / 100 * 3 / 2);
}

static void an_acknowledgement_is_for_who_drives_the_line(void **state)
{
	struct vm vm;
	struct chipset *c = create_listening(&vm);
	const struct vmt_board_ticks *t = &c->board.ticks[VMT_SOURCE_HPET0];
	uint64_t count;

	(void)state;
	await_tick(c, 0);
	give(&vm, 0); /* of GSI 20 */
	advance(c, 1);
	assert_int_equal(t->ledger.delivered, 0);
	assert_int_equal(read(vm.acks[0].ack_fd, &count, sizeof(count)), -1); /* taken */
	destroy_listening(c, &vm);
}

/* The next edge is due by now.  The answer was there before it, so that one is owed. */
static void an_acknowledgement_is_counted_before_what_is_due(void **state)
{
	struct vm vm;
	struct chipset *c = create_listening(&vm);
	const struct vmt_board_ticks *t = &c->board.ticks[VMT_SOURCE_HPET0];

	(void)state;
	await_tick(c, 0);
	give(&vm, 1);
	advance(c, 2);
	assert_int_equal(t->ledger.delivered, 1);
	assert_int_equal(t->ledger.owed, 1);
	destroy_listening(c, &vm);
}

/* A vCPU's access may come before the thread that is told of acknowledgements. */
static void an_acknowledgement_comes_before_the_next_tick(void **state)
{
	struct vm vm;
	struct chipset *c = create_listening(&vm);
	const struct vmt_board_ticks *t = &c->board.ticks[VMT_SOURCE_HPET0];

	(void)state;
	await_tick(c, 0);
	give(&vm, 1);
	set(c, STATUS, 0);
	assert_int_equal(t->ledger.delivered, 1);
	assert_int_equal(t->ledger.owed, 1);
	destroy_listening(c, &vm);
}

/* Each acknowledgement would wake it, and a guest in time can be asked at its next tick. */
static void the_thread_listens_when_an_acknowledgement_is_news(void **state)
{
	struct vm vm;
	struct chipset *c = create_listening(&vm);
	const struct vmt_board_ticks *t = &c->board.ticks[VMT_SOURCE_HPET0];
	uint64_t count;

	(void)state;
	assert_false(advance(c, 0));
	await_only_tick(c);
	assert_int_equal(read(c->wake_fd, &count, sizeof(count)), sizeof(count));
	assert_true(advance(c, 0));                     /* it was refused, and waits */
	c->board.ticks[VMT_SOURCE_HPET0].in_flight = 1; /* as if KVM were there */
	assert_false(advance(c, 0));
	give(&vm, 1);
	assert_false(advance(c, 2));
	assert_int_equal(t->ledger.delivered, 1);
	destroy_listening(c, &vm);
}

/* The board's deadline has not changed, but the thread is deaf. */
static void it_is_woken_to_listen(void **state)
{
	struct vm vm;
	struct chipset *c = create_listening(&vm);
	uint64_t count;

	(void)state;
	await_only_tick(c);
	c->listening = false;
	(void)!read(c->wake_fd, &count, sizeof(count));
	set(c, STATUS, 0);
	assert_int_equal(read(c->wake_fd, &count, sizeof(count)), sizeof(count));
	set(c, STATUS, 0);
	assert_int_equal(read(c->wake_fd, &count, sizeof(count)), -1); /* once is enough */
	c->listening = false;
	advance(c, 0);
	assert_int_equal(read(c->wake_fd, &count, sizeof(count)), -1); /* it is awake */
	destroy_listening(c, &vm);
}

static void who_looks_at_the_ledger_sees_all_acknowledgements(void **state)
{
	struct vm vm;
	struct chipset *c = create_listening(&vm);
	const struct vmt_board_ticks *t = &c->board.ticks[VMT_SOURCE_HPET0];

	(void)state;
	await_tick(c, 0);
	advance(c, 0);
	give(&vm, 1);
	chipset_hold(c);
	assert_true(t->ledger.delivered > 0);
	chipset_release(c);
	destroy_listening(c, &vm);
}

/* The RTC holds its line and owes its tick, but is answered by reading its register C. */
static void the_rtc_is_no_detour_for_an_acknowledgement(void **state)
{
	struct vm vm;
	struct chipset *c = create_listening(&vm);
	const struct vmt_board_ticks *t = &c->board.ticks[VMT_SOURCE_HPET1];

	(void)state;
	assert_true(chipset_write(c, VMT_PIO, INDEX, 1, REG_A));
	assert_true(chipset_write(c, VMT_PIO, DATA, 1, 0x26));
	assert_true(chipset_write(c, VMT_PIO, INDEX, 1, REG_B));
	assert_true(chipset_write(c, VMT_PIO, DATA, 1, 0x42));
	await_tick(c, 1);
	assert_int_equal(c->board.ticks[VMT_SOURCE_RTC].ledger.owed, 1);
	give(&vm, 2);
	advance(c, 4);
	assert_int_equal(t->ledger.delivered, 1);
	assert_int_equal(t->ledger.owed, 1);
	destroy_listening(c, &vm);
}

/* So many timers tick on GSI 20 at once; their first ticks are owed. */
static void tick_on_20(struct chipset *c, uint32_t timers)
{
	for (uint32_t at = TIMER0; at < TIMER0 + 0x20 * timers; at += 0x20) {
		set(c, at, PERIODIC_EDGE | 20 << 9);
		set(c, at + 8, TICKS);
		set(c, at + 8, TICKS);
	}
	set(c, CONFIG, 1);
	while (!c->board.ticks[VMT_SOURCE_HPET0].ledger.due)
		advance(c, 0);
}

static void an_acknowledgement_is_for_the_line_that_the_pulse_went_to(void **state)
{
	struct vm vm;
	struct chipset *c = create_listening(&vm);
	const struct vmt_board_ticks *t = &c->board.ticks[VMT_SOURCE_HPET0];

	(void)state;
	tick_on_20(c, 1);
	set(c, TIMER0, PERIODIC_EDGE | 21 << 9);
	give(&vm, 0);
	advance(c, 1);
	assert_int_equal(t->ledger.delivered, 1);
	destroy_listening(c, &vm);
}

/* On a line that two share it is for the one whose pulse is under way, and not for a late tick of
 * the other's; only if there is none it may be for a tick that was not taken at first. */
static void an_acknowledgement_is_for_the_pulse_under_way(void **state)
{
	struct vm vm;
	struct chipset *c = create_listening(&vm);
	struct vmt_board_ticks *late = &c->board.ticks[VMT_SOURCE_HPET0];
	struct vmt_board_ticks *taken = &c->board.ticks[VMT_SOURCE_HPET1];

	(void)state;
	tick_on_20(c, 2);
	taken->in_flight = 1; /* as if KVM were there */
	give(&vm, 0);
	advance(c, 1);
	assert_int_equal(taken->ledger.delivered, 1);
	assert_int_equal(late->ledger.delivered, 0);
	give(&vm, 0);
	advance(c, 1);
	assert_int_equal(late->ledger.delivered, 1);
	destroy_listening(c, &vm);
}

/* The guest is served in time, and then stops its timer: nobody has looked since. */
static void an_acknowledged_tick_is_not_lost_with_its_timer(void **state)
{
	struct vm vm;
	struct chipset *c = create_listening(&vm);
	const struct vmt_board_ticks *t = &c->board.ticks[VMT_SOURCE_HPET0];

	(void)state;
	await_only_tick(c);
	give(&vm, 1);
	set(c, CONFIG, 0);
	assert_int_equal(t->ledger.delivered, 1);
	await_only_tick(c);
	give(&vm, 1);
	chipset_reset(c);
	assert_int_equal(t->ledger.delivered, 2);
	await_only_tick(c);
	give(&vm, 1);
	chipset_connect(c, NULL);
	assert_int_equal(t->ledger.delivered, 3);
	assert_int_equal(t->ledger.discarded, 0);
	destroy_listening(c, &vm);
}

static void what_nobody_waited_for_is_for_nobody(void **state)
{
	struct vm vm;
	struct chipset *c = create_listening(&vm);
	const struct vmt_board_ticks *t = &c->board.ticks[VMT_SOURCE_HPET0];

	(void)state;
	give(&vm, 1);
	await_only_tick(c);
	set(c, STATUS, 0);
	assert_int_equal(t->ledger.owed, 1);
	give(&vm, 1);
	set(c, STATUS, 0);
	assert_int_equal(t->ledger.delivered, 1);
	give(&vm, 1);
	await_only_tick(c);
	set(c, STATUS, 0);
	assert_int_equal(t->ledger.owed, 1);
	destroy_listening(c, &vm);
}

/* Of two that come one by one the second comes after the chipset has looked, before it pulses. */
static void what_comes_in_between_is_kept(void **state)
{
	struct vm vm;
	struct chipset *c = create_listening(&vm);
	const struct vmt_board_ticks *t = &c->board.ticks[VMT_SOURCE_HPET0];

	(void)state;
	close(vm.acks[1].ack_fd);
	vm.acks[1].ack_fd = eventfd(0, EFD_NONBLOCK | EFD_SEMAPHORE);
	await_tick(c, 0);
	give(&vm, 1);
	give(&vm, 1);
	advance(c, 0);
	assert_int_equal(t->ledger.delivered, 1);
	set(c, STATUS, 0);
	assert_int_equal(t->ledger.delivered, 2);
	destroy_listening(c, &vm);
}

/* Timer 0 has waited on GSI 21 and goes on on 20, where the other is acknowledged meanwhile. */
static void another_timer_s_acknowledgement_is_kept(void **state)
{
	struct vm vm;
	struct chipset *c = create_listening(&vm);
	struct vmt_board_ticks *moved = &c->board.ticks[VMT_SOURCE_HPET0];
	struct vmt_board_ticks *other = &c->board.ticks[VMT_SOURCE_HPET1];

	(void)state;
	tick_on_20(c, 2);
	other->in_flight = 1; /* as if KVM were there */
	c->pulsed[VMT_SOURCE_HPET0] = 21;
	moved->ledger.due++;
	moved->ledger.owed++;
	give(&vm, 0);
	give(&vm, 3);
	advance(c, 1 << 3);
	assert_int_equal(moved->ledger.delivered, 1);
	assert_int_equal(c->pulsed[VMT_SOURCE_HPET0], 20);
	set(c, STATUS, 0);
	assert_int_equal(other->ledger.delivered, 1);
	destroy_listening(c, &vm);
}

static void acknowledgements_are_wanted_where_pulses_go(void **state)
{
	struct vmt_board_config config = {.faces = VMT_HAS_RTC | VMT_HAS_PMTMR};

	(void)state;
	assert_int_equal(chipset_ack_gsis(&config), 1 << 8);
	config.faces = VMT_HAS_PIT;
	assert_int_equal(chipset_ack_gsis(&config), 1);
	config.faces = VMT_HAS_HPET;
	config.hpet_routes = 1 << 2 | 1 << 21 | 1 << VM_GSIS;
	assert_int_equal(chipset_ack_gsis(&config), 1 | 1 << 8 | 1 << 21);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_acknowledgement_is_for_who_drives_the_line),
		cmocka_unit_test(an_acknowledgement_is_counted_before_what_is_due),
		cmocka_unit_test(an_acknowledgement_comes_before_the_next_tick),
		cmocka_unit_test(the_thread_listens_when_an_acknowledgement_is_news),
		cmocka_unit_test(it_is_woken_to_listen),
		cmocka_unit_test(who_looks_at_the_ledger_sees_all_acknowledgements),
		cmocka_unit_test(the_rtc_is_no_detour_for_an_acknowledgement),
		cmocka_unit_test(an_acknowledgement_is_for_the_line_that_the_pulse_went_to),
		cmocka_unit_test(an_acknowledgement_is_for_the_pulse_under_way),
		cmocka_unit_test(an_acknowledged_tick_is_not_lost_with_its_timer),
		cmocka_unit_test(what_nobody_waited_for_is_for_nobody),
		cmocka_unit_test(what_comes_in_between_is_kept),
		cmocka_unit_test(another_timer_s_acknowledgement_is_kept),
		cmocka_unit_test(acknowledgements_are_wanted_where_pulses_go),
	};

	return cmocka_run_group_tests_name("chipset acks", tests, NULL, NULL);
}
