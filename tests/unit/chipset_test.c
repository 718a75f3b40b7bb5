/* SPDX-License-Identifier: Apache-2.0 */
/* chipset_test.c - an answer that is held back comes when it is ready, keeps nobody else waiting,
 * and is let go; an HPET is read without the lock, and gets its acknowledgements. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "host/hostclock.h"
#include "kvm/acpi.h"
#include "kvm/chipset.h"

enum { SECONDS = 0, REG_A = 10, REG_B = 11, INDEX = 0x70, DATA = 0x71 };
enum {
	CONFIG = 0x10,
	COUNTER = 0xf0,
	TIMER0 = 0x100,
	PERIODIC_EDGE = 0x4c,
	ONCE_EDGE = 4,
	LEGACY = 3
};
enum { TICKS = 2000000 }; /* 20 ms */
enum { STOPS = 400000 };
enum { STATUS = 0x20, LEVEL_TO_20 = 20 << 9 | 1 << 2 | 1 << 1 };

/* At the edge of a second, or a little later. */
static struct chipset *create(bool tsc)
{
	const struct vmt_board_config config = {
		.faces = VMT_HAS_PIT | VMT_HAS_RTC | VMT_HAS_HPET,
		.pm1a_port = ACPI_PM1A_EVT_PORT,
		.pmtmr_port = ACPI_PM_TIMER_PORT,
		.pmtmr_bits = 24,
		.hpet_routes = 0xf << 20,
		.hpet_address = ACPI_HPET_ADDRESS,
	};
	struct chipset *c = calloc(1, sizeof(*c));
	uint64_t hz = tsc ? hostclock_measure_tsc_hz(10000000) : 1000000000;
	struct vmt_reading at = {.counter = tsc ? hostclock_tsc() : hostclock_monotonic_ns()};
	struct vmt_clock clock;

	assert_int_equal(vmt_clock_start(hz, &at, &clock, NULL), 0);
	assert_int_equal(chipset_init(c, &config, &clock, tsc, NULL), 0);
	assert_int_equal(vmt_rtc_exact(&c->board.rtc, 0, 0), 0);
	return c;
}

static void destroy(struct chipset *c)
{
	chipset_destroy(c);
	free(c);
}

static uint64_t get(struct chipset *c, uint8_t index)
{
	uint64_t value;

	assert_true(chipset_write(c, VMT_PIO, INDEX, 1, index));
	assert_true(chipset_read(c, VMT_PIO, DATA, 1, &value));
	return value;
}

/* All of a reading but its last read. */
static void begin(struct chipset *c)
{
	static const uint8_t order[] = {SECONDS, REG_A, SECONDS, 2, 4, 7, 8, 9, 11, REG_A};

	get(c, REG_A);
	assert_true(chipset_write(c, VMT_PIO, DATA, 1, 0x26)); /* a driver is there */
	for (size_t i = 0; i < sizeof(order); i++)
		get(c, order[i]);
}

static void comes_when_it_is_ready(bool tsc)
{
	struct chipset *c = create(tsc);

	begin(c);
	get(c, SECONDS);
	assert_true(chipset_now(c) >= 500000000 - VMT_RTC_HOLD_EARLY_NS);
	begin(c);
	get(c, SECONDS);
	assert_true(chipset_now(c) >= 500000000);
	destroy(c);
}

static void on_the_tsc(void **state)
{
	(void)state;
	comes_when_it_is_ready(true);
}

static void on_the_monotonic_clock(void **state)
{
	(void)state;
	comes_when_it_is_ready(false);
}

struct waiter {
	struct chipset *c;
	vmt_ns done;
	pthread_t thread;
};

static void *wait_for_it(void *arg)
{
	struct waiter *w = arg;
	uint64_t value;

	chipset_read(w->c, VMT_PIO, DATA, 1, &value);
	w->done = chipset_now(w->c);
	return NULL;
}

/* Does the last read in a thread: it waits. */
static void start(struct waiter *w, struct chipset *c)
{
	*w = (struct waiter){.c = c};
	begin(c);
	assert_true(chipset_write(c, VMT_PIO, INDEX, 1, SECONDS));
	assert_int_equal(pthread_create(&w->thread, NULL, wait_for_it, w), 0);
}

static bool holds(struct chipset *c)
{
	bool yes;

	pthread_mutex_lock(&c->lock);
	yes = c->board.rtc.stage == 2;
	pthread_mutex_unlock(&c->lock);
	return yes;
}

static void others_go_on_meanwhile_and_it_is_let_go(void **state)
{
	struct chipset *c = create(true);
	struct waiter w;

	(void)state;
	/* A clock so slow that without being let go this test would last seven minutes. */
	assert_int_equal(vmt_clock_rate(&c->clock, hostclock_tsc(), 1, 1000, &c->clock, NULL), 0);
	start(&w, c);
	while (!holds(c))
		usleep(100);
	for (int i = 0; i < 100; i++)
		get(c, 0x0e);
	chipset_let_go(c);
	pthread_join(w.thread, NULL);
	assert_true(w.done < 400000000);
	/* Nothing is held from then on, until the machine runs again. */
	chipset_reset(c);
	start(&w, c);
	pthread_join(w.thread, NULL);
	assert_true(holds(c) && w.done < 400000000);
	chipset_connect(c, NULL);
	assert_false(c->let_go);
	destroy(c);
}

static void set(struct chipset *c, uint32_t reg, uint64_t value)
{
	assert_true(chipset_write(c, VMT_MMIO, ACPI_HPET_ADDRESS + reg, 8, value));
}

static uint64_t count(struct chipset *c, uint32_t byte, uint32_t width)
{
	uint64_t value = 0;

	assert_true(chipset_read(c, VMT_MMIO, ACPI_HPET_ADDRESS + COUNTER + byte, width, &value));
	return value;
}

/* With the lock held by somebody else: a reader that wanted it would wait for ever. */
static void the_counter_is_read_without_the_lock(void **state)
{
	struct chipset *c = create(true);
	uint64_t first, second;

	(void)state;
	set(c, COUNTER, UINT64_C(0x123456789a000000));
	set(c, CONFIG, 1);
	pthread_mutex_lock(&c->lock);
	first = count(c, 0, 8);
	assert_int_equal(first >> 32, 0x12345678);
	assert_int_equal(count(c, 4, 4), 0x12345678);
	assert_int_equal(count(c, 3, 2), 0x789a);
	second = count(c, 0, 4);
	assert_true(second >= (uint32_t)first);
	pthread_mutex_unlock(&c->lock);
	assert_true(count(c, 0, 8) >= first);
	/* half of it is beside the counter: this one takes the lock */
	assert_int_equal(count(c, 4, 8), 0x12345678);
	destroy(c);
}

struct stopper {
	struct chipset *c;
	bool done;
	pthread_t thread;
};

static void *stop_and_go(void *arg)
{
	struct stopper *s = arg;

	for (unsigned i = 0; i < STOPS; i++)
		set(s->c, CONFIG, i & 1);
	__atomic_store_n(&s->done, true, __ATOMIC_RELEASE);
	return NULL;
}

/* One CPU stops it and lets it go on, while another looks: it keeps its count each time. */
static void a_counter_that_is_stopped_does_not_step_back(void **state)
{
	struct stopper s = {.c = create(true)};
	uint64_t last = 0, worst = 0;

	(void)state;
	assert_int_equal(pthread_create(&s.thread, NULL, stop_and_go, &s), 0);
	while (!__atomic_load_n(&s.done, __ATOMIC_ACQUIRE)) {
		uint64_t now = count(s.c, 0, 8);

		if (last > now && last - now > worst)
			worst = last - now;
		last = now;
	}
	pthread_join(s.thread, NULL);
	assert_int_equal(worst, 0);
	destroy(s.c);
}

/* No VM, but what would tell of its acknowledgements: of GSI 20, of the tick's, of the RTC's. */
static struct vm listening(void)
{
	static const uint32_t gsis[] = {20, VM_GSI_TICK, 8};
	struct vm vm = {.fd = -1, .kvm_fd = -1, .n_acks = 3};

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

/* As the deadline thread does it; whether it listens for acknowledgements then. */
static bool advance(struct chipset *c, uint32_t readable)
{
	bool listen;

	chipset_advance(c, readable, &listen);
	return listen;
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

/* KVM is not asked: the lines of no VM are moved. */
static void a_level_goes_where_it_is_routed(void **state)
{
	const struct vm none = {.fd = -1, .kvm_fd = -1};
	struct chipset *c = create(true);

	(void)state;
	chipset_connect(c, &none);
	set(c, TIMER0, LEVEL_TO_20);
	set(c, TIMER0 + 8, 1000);
	set(c, CONFIG, 1);
	while (!c->high)
		advance(c, 0);
	assert_int_equal(c->high, 1 << 20);
	set(c, TIMER0, LEVEL_TO_20 + (1 << 9));
	assert_int_equal(c->high, 1 << 21);
	chipset_connect(c, &none); /* a VM made anew has all lines low */
	assert_int_equal(c->high, 1 << 21);
	set(c, STATUS, 1);
	assert_int_equal(c->high, 0);
	destroy(c);
}

static void acknowledgements_are_wanted_where_pulses_go(void **state)
{
	struct vmt_board_config config = {.faces = VMT_HAS_RTC | VMT_HAS_PMTMR};

	(void)state;
	assert_int_equal(chipset_ack_gsis(&config), 0);
	config.faces = VMT_HAS_PIT;
	assert_int_equal(chipset_ack_gsis(&config), 1);
	config.faces = VMT_HAS_HPET;
	config.hpet_routes = 1 << 2 | 1 << 21;
	assert_int_equal(chipset_ack_gsis(&config), 1 | 1 << 8 | 1 << 21);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(on_the_tsc),
		cmocka_unit_test(on_the_monotonic_clock),
		cmocka_unit_test(others_go_on_meanwhile_and_it_is_let_go),
		cmocka_unit_test(the_counter_is_read_without_the_lock),
		cmocka_unit_test(a_counter_that_is_stopped_does_not_step_back),
		cmocka_unit_test(an_acknowledgement_is_for_who_drives_the_line),
		cmocka_unit_test(an_acknowledgement_is_counted_before_what_is_due),
		cmocka_unit_test(an_acknowledgement_comes_before_the_next_tick),
		cmocka_unit_test(the_thread_listens_when_an_acknowledgement_is_news),
		cmocka_unit_test(it_is_woken_to_listen),
		cmocka_unit_test(who_looks_at_the_ledger_sees_all_acknowledgements),
		cmocka_unit_test(the_rtc_is_no_detour_for_an_acknowledgement),
		cmocka_unit_test(an_acknowledgement_is_for_the_line_that_the_pulse_went_to),
		cmocka_unit_test(an_acknowledgement_is_for_the_pulse_under_way),
		cmocka_unit_test(a_level_goes_where_it_is_routed),
		cmocka_unit_test(acknowledgements_are_wanted_where_pulses_go),
	};

	return cmocka_run_group_tests_name("chipset", tests, NULL, NULL);
}
