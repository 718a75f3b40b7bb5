/* SPDX-License-Identifier: Apache-2.0 */
/* chipset_test.c - an answer that is held back comes when it is ready, keeps nobody else waiting,
 * and is let go; an HPET is read without the lock, and its levels go where they are routed. */
#include <pthread.h>

#include "chipset_bench.h"
#include "kvm/chipset_peek.h"

enum { SECONDS = 0, PASSING = 20000, STOPS = 400000, LEVEL_TO_20 = 20 << 9 | 1 << 2 | 1 << 1 };

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

/* The last of a burst of reads comes no earlier than at `ns`, less what the burst has taken. */
static void assert_held(struct chipset *c, vmt_ns ns)
{
	vmt_ns from = chipset_now(c), span;

	begin(c);
	span = chipset_now(c) - from;
	get(c, SECONDS);
	assert_true(chipset_now(c) + span >= ns);
}

static void comes_when_it_is_ready(bool tsc)
{
	struct chipset *c = create(tsc);

	assert_held(c, 500000000 - VMT_RTC_HOLD_EARLY_NS);
	assert_held(c, 500000000);
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
	__atomic_store_n(&w->done, chipset_now(w->c), __ATOMIC_SEQ_CST);
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

/* It is, or has been. */
static void wait_until_held(struct waiter *w)
{
	while (!holds(w->c) && !__atomic_load_n(&w->done, __ATOMIC_SEQ_CST))
		usleep(100);
}

static void slow_down(struct chipset *c, uint32_t times)
{
	struct counted_clock slow = liveclock_get(&c->clock);

	assert_int_equal(vmt_clock_rate(&slow.clock, hostclock_tsc(), 1, times, &slow.clock, NULL),
			 0);
	liveclock_set(&c->clock, &slow);
}

static void a_pause_is_waited_through(void **state)
{
	struct chipset *c = create(true);
	const struct chipset_change change = {.kind = VMT_CHANGE_RESUME};
	struct counted_clock now;
	struct vmt_reading at = {0};
	struct waiter w;
	vmt_ns stood;

	(void)state;
	slow_down(c, 4); /* two seconds to see it held */
	start(&w, c);
	wait_until_held(&w);
	(void)chipset_hold(c);
	assert_int_equal(chipset_pause(c, hostclock_tsc()), 0);
	chipset_release(c);
	stood = chipset_now(c);
	usleep(2200000); /* longer than it has to wait */
	assert_int_equal(__atomic_load_n(&w.done, __ATOMIC_SEQ_CST), 0);
	now = liveclock_get(&c->clock);
	at.counter = hostclock_tsc();
	at.utc_ns = vmt_clock_utc(&now.clock, stood);
	assert_int_equal(vmt_clock_resume(&now.clock, &at, VMT_POLICY_FREEZE, 0, &now.clock, NULL),
			 0);
	assert_int_equal(vmt_clock_rate(&now.clock, at.counter, 1, 1, &now.clock, NULL), 0);
	chipset_resume(c, &now, &change);
	pthread_join(w.thread, NULL);
	/* Less what the burst has taken: it was over when time stood. */
	assert_true(w.done > stood && w.done + stood >= 500000000 - VMT_RTC_HOLD_EARLY_NS);
	assert_int_equal(c->change.kind, VMT_CHANGE_RESUME);
	destroy(c);
}

static void others_go_on_meanwhile_and_it_is_let_go(void **state)
{
	struct chipset *c = create(true);
	struct waiter w;

	(void)state;
	slow_down(c, 1000); /* without being let go it would last seven minutes */
	start(&w, c);
	wait_until_held(&w);
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

struct looker {
	struct chipset *c;
	uint32_t space;
	uint64_t addr, count;
	bool done; /* atomic */
	pthread_t thread;
};

static void *look_once(void *arg)
{
	struct looker *l = arg;

	assert_true(chipset_read(l->c, l->space, l->addr, 4, &l->count));
	__atomic_store_n(&l->done, true, __ATOMIC_RELEASE);
	return NULL;
}

static uint64_t looks_while_the_clock_stops(uint32_t space, uint64_t addr)
{
	struct looker l = {.c = create(true), .space = space, .addr = addr};
	struct timespec ms = {.tv_nsec = 5000000};
	uint64_t stopped;

	set(l.c, CONFIG, 1);
	(void)chipset_hold(l.c);
	chipset_switching(l.c);
	stopped = hostclock_tsc();
	assert_int_equal(pthread_create(&l.thread, NULL, look_once, &l), 0);
	nanosleep(&ms, NULL);
	assert_false(__atomic_load_n(&l.done, __ATOMIC_ACQUIRE));
	assert_int_equal(chipset_pause(l.c, stopped), 0);
	chipset_switching(l.c);
	chipset_release(l.c);
	pthread_join(l.thread, NULL);
	assert_true(chipset_read(l.c, space, addr, 4, &stopped)); /* by now without the lock */
	destroy(l.c);
	return l.count - stopped;
}

/* A thread that serves an exit while others pause the machine. */
static void no_counter_is_read_beyond_a_stop(void **state)
{
	(void)state;
	assert_int_equal(looks_while_the_clock_stops(VMT_MMIO, ACPI_HPET_ADDRESS + COUNTER), 0);
	assert_int_equal(looks_while_the_clock_stops(VMT_PIO, ACPI_PM_TIMER_PORT), 0);
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

/* The host's clocksource is no longer the TSC. */
static void another_counter_makes_no_step(void **state)
{
	struct chipset *c = create(true);
	uint64_t lo[2], now[2], hi[2];
	struct chipset_change change;
	vmt_ns before, after;

	(void)state;
	before = chipset_now(c);
	assert_true(chipset_leave_tsc(c, &change));
	after = chipset_now(c);
	assert_int_equal(change.kind, VMT_CHANGE_COUNTER);
	assert_in_range(change.at_ns, before, after);
	assert_int_equal(change.before_ns, change.after_ns);
	assert_int_equal(liveclock_get(&c->clock).tsc, 0);
	/* CLOCK_MONOTONIC is what is counted now: the same progress in both. */
	for (int i = 0; i < 2; i++) {
		lo[i] = hostclock_monotonic_ns();
		now[i] = chipset_now(c);
		hi[i] = hostclock_monotonic_ns();
		for (int n = 0; i == 0 && n < PASSING; n++)
			(void)chipset_now(c); /* some microseconds, many brackets long */
	}
	assert_in_range(now[1] - now[0], lo[1] - hi[0], hi[1] - lo[0]);
	assert_false(chipset_leave_tsc(c, &change)); /* once */
	destroy(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(another_counter_makes_no_step),
		cmocka_unit_test(on_the_tsc),
		cmocka_unit_test(on_the_monotonic_clock),
		cmocka_unit_test(a_pause_is_waited_through),
		cmocka_unit_test(others_go_on_meanwhile_and_it_is_let_go),
		cmocka_unit_test(the_counter_is_read_without_the_lock),
		cmocka_unit_test(a_counter_that_is_stopped_does_not_step_back),
		cmocka_unit_test(no_counter_is_read_beyond_a_stop),
		cmocka_unit_test(a_level_goes_where_it_is_routed),
	};

	return cmocka_run_group_tests_name("chipset", tests, NULL, NULL);
}
