/* SPDX-License-Identifier: Apache-2.0 */
/* hosts_test.c - how long a machine stood still between two hosts whose clocks differ, leap, are
 * stepped, or say nothing of themselves. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "host/hostclock.h"
#include "kvm/hosts.h"

enum { US = 1000, MS = 1000000, S = 1000000000, KHZ_OLD = 2500000, KHZ_NEW = 3000000, TAI = 37 };

/* 2016-12-31 23:59:59 UTC, whose second is repeated: a leap second is inserted. */
#define LAST_SECOND INT64_C(1483228799000000000)
#define NOON (LAST_SECOND - INT64_C(43199000000000))

/* Two hosts on one true time, ns since noon of that day; each has a TSC of its own, and a clock
 * that may be wrong. */
struct host {
	uint32_t khz;
	int64_t wrong_ns; /* its clock is so far ahead */
	int32_t ppm;      /* ... at noon, and gets so much faster by the second, as its TSC is */
	int32_t tai_s;    /* as it was told; 0: never */
	uint64_t bound_ns;
	bool unsynchronized;
	int64_t leap_at_ns; /* an insertion begins then; 0: none */
};

static const struct host good_old = {.khz = KHZ_OLD, .tai_s = TAI, .bound_ns = 100 * US};
static const struct host good_new = {.khz = KHZ_NEW, .tai_s = TAI, .bound_ns = 200 * US};

static struct hosts_reading at(const struct host *h, int64_t ns)
{
	const bool after = h->leap_at_ns && ns >= h->leap_at_ns;

	ns += ns / 1000000 * h->ppm;
	return (struct hosts_reading){
		.tsc = (uint64_t)((ns + INT64_C(1000) * S) / 1000 * h->khz / 1000),
		.tsc_khz = h->khz,
		.tai_s = h->tai_s ? h->tai_s + after : 0,
		.utc_ns = NOON + ns + h->wrong_ns - (after ? S : 0),
		.bound_ns = h->bound_ns,
		.synchronized = !h->unsynchronized,
		.leap = after && ns < h->leap_at_ns + S,
	};
}

/* Ten seconds before the stop, with 100 us for each way and 200 us for the answer. */
static struct hosts_window window(const struct host *old, const struct host *new)
{
	const int64_t sent = -INT64_C(10) * S;
	const struct hosts_reading s = at(old, sent), a = at(new, sent + 100 * US),
				   b = at(new, sent + 300 * US), c = at(old, sent + 400 * US);
	struct hosts_window w;

	hosts_window(&s, &a, &b, &c, &w);
	return w;
}

static struct hosts_gap gap(const struct host *old, int64_t stop_ns, const struct host *new,
			    int64_t now_ns, const struct hosts_window *seen)
{
	const struct hosts_reading from = at(old, stop_ns), to = at(new, now_ns);
	struct why why = {""};
	struct hosts_gap g;

	if (hosts_gap(&from, &to, seen, &g, &why) < 0)
		fail_msg("%s", why.text);
	return g;
}

/* The real one lies where it says. */
static void is_right(const struct hosts_gap *g, int64_t real_ns)
{
	assert_true(g->bounded);
	assert_in_range(real_ns + (int64_t)g->bound_ns - (int64_t)g->gap_ns, 0, 2 * g->bound_ns);
}

static void two_good_clocks_say_what_passed(void **state)
{
	struct hosts_gap g = gap(&good_old, 0, &good_new, 50 * MS + 1, NULL);

	(void)state;
	assert_int_equal(g.gap_ns, 50 * MS + 1);
	assert_int_equal(g.bound_ns, 300 * US);
	assert_int_equal(g.apart_ns, 0);
	assert_true(g.by_tai && g.bounded && !g.negative);
}

/* As in the header. */
static void the_worked_example_comes_out(void **state)
{
	struct hosts_reading from = at(&good_old, 0), to = at(&good_new, 50300 * US);
	struct hosts_reading sent = at(&good_old, -INT64_C(10) * S), come = sent;
	struct hosts_reading asked = at(&good_new, -INT64_C(10) * S), answered = asked;
	struct hosts_window w;
	struct hosts_gap g;

	(void)state;
	asked.utc_ns += 400 * US;
	answered.utc_ns += 500 * US;
	come.utc_ns += 300 * US;
	/* both TSCs went on as the clocks did */
	answered.tsc += UINT64_C(500) * KHZ_NEW / 1000;
	come.tsc += UINT64_C(300) * KHZ_OLD / 1000;
	hosts_window(&sent, &asked, &answered, &come, &w);
	assert_true(w.known && w.by_tai);
	assert_int_equal(w.lo_ns, 200 * US);
	assert_int_equal(w.hi_ns, 400 * US);
	assert_int_equal(hosts_gap(&from, &to, &w, &g, NULL), 0);
	assert_int_equal(g.gap_ns, 50100 * US);
	assert_int_equal(g.bound_ns, 100 * US);
	assert_int_equal(g.apart_ns, 0);
	assert_true(g.by_tai && g.bounded && !g.negative);
}

static void the_network_narrows_what_good_clocks_say(void **state)
{
	struct hosts_window w = window(&good_old, &good_new);
	struct hosts_gap g = gap(&good_old, 0, &good_new, 50 * MS, &w);

	(void)state;
	assert_int_equal(w.lo_ns, -100 * US);
	assert_int_equal(w.hi_ns, 100 * US);
	assert_int_equal(g.gap_ns, 50 * MS);
	assert_int_equal(g.bound_ns, 100 * US);
}

/* Real time passes in the guest, and by how much the clocks disagree is told. */
static void clocks_that_are_apart_are_contradicted_by_the_network(void **state)
{
	struct host ahead = good_new, behind = good_new;
	struct hosts_window w;
	struct hosts_gap g;

	(void)state;
	ahead.wrong_ns = INT64_C(3) * S;
	w = window(&good_old, &ahead);
	g = gap(&good_old, 0, &ahead, 50 * MS, &w);
	assert_int_equal(g.gap_ns, 50 * MS + 100 * US);
	assert_int_equal(g.apart_ns, INT64_C(3) * S - 100 * US);
	assert_int_equal(g.bound_ns, 200 * US);
	assert_false(g.negative);
	is_right(&g, 50 * MS);

	behind.wrong_ns = -INT64_C(3) * S;
	w = window(&good_old, &behind);
	g = gap(&good_old, 0, &behind, 50 * MS, &w);
	assert_int_equal(g.gap_ns, 50 * MS - 100 * US);
	assert_int_equal(g.apart_ns, -(INT64_C(3) * S - 100 * US));
	assert_true(g.negative);
	is_right(&g, 50 * MS);
}

static void without_a_network_a_negative_gap_is_none(void **state)
{
	struct host behind = good_new;
	struct hosts_gap g;

	(void)state;
	behind.wrong_ns = -INT64_C(3) * S;
	g = gap(&good_old, 0, &behind, 50 * MS, NULL);
	assert_int_equal(g.gap_ns, 0);
	assert_int_equal(g.apart_ns, -(INT64_C(3) * S - 50 * MS));
	assert_true(g.negative);
	assert_false(g.bounded); /* they contradict what they say of themselves */

	/* within their bounds: nothing is wrong with them */
	behind.wrong_ns = -100 * US;
	g = gap(&good_old, 0, &behind, 10 * US, NULL);
	assert_int_equal(g.gap_ns, 0);
	assert_int_equal(g.apart_ns, 0);
	assert_int_equal(g.bound_ns, 210 * US);
	assert_true(g.negative);
	is_right(&g, 10 * US);
}

/* Nobody keeps it right, so that its TSC says nothing of its seconds. */
static void a_clock_that_runs_free_is_known_the_less_the_longer_it_does(void **state)
{
	struct host fast = good_new, slow = good_old;
	struct hosts_window w;
	struct hosts_gap g;

	(void)state;
	fast.unsynchronized = slow.unsynchronized = true;
	fast.bound_ns = slow.bound_ns = 40;
	fast.ppm = 90;
	slow.ppm = -90;
	fast.wrong_ns = INT64_C(3) * S;
	w = window(&slow, &fast);
	for (int64_t stop = 0; stop <= INT64_C(300) * S; stop += INT64_C(50) * S) {
		g = gap(&slow, stop, &fast, stop + 50 * MS, &w);
		is_right(&g, 50 * MS);
	}
	assert_in_range(g.bound_ns, 10 * MS, 130 * MS); /* 200 ppm of 310 s, twice */
}

static void a_clock_that_is_not_synchronized_bounds_nothing(void **state)
{
	struct host wild = good_new;
	struct hosts_window w;
	struct hosts_gap g;

	(void)state;
	wild.unsynchronized = true;
	wild.bound_ns = 40;
	g = gap(&good_old, 0, &wild, 50 * MS, NULL);
	assert_int_equal(g.gap_ns, 50 * MS);
	assert_false(g.bounded);
	/* the network does */
	w = window(&good_old, &wild);
	g = gap(&good_old, 0, &wild, 50 * MS, &w);
	assert_int_equal(g.gap_ns, 50 * MS);
	assert_in_range(g.bound_ns, 100 * US + MS, 100 * US + MS + 10 * US);
	is_right(&g, 50 * MS);
}

/* The window is as old as the migration.  What a clock was stepped by since is no contradiction. */
static void a_clock_that_was_put_right_meanwhile_is_believed(void **state)
{
	struct host wrong = good_new;
	struct hosts_window w;
	struct hosts_gap g;

	(void)state;
	wrong.wrong_ns = INT64_C(1) * S;
	w = window(&good_old, &wrong);
	g = gap(&good_old, 0, &good_new, 50 * MS, &w);
	assert_int_equal(g.gap_ns, 50 * MS);
	assert_int_equal(g.bound_ns, 300 * US);
	assert_int_equal(g.apart_ns, 0);

	wrong = good_old; /* or the source's */
	wrong.wrong_ns = INT64_C(1) * S;
	w = window(&wrong, &good_new);
	g = gap(&good_old, 0, &good_new, 50 * MS, &w);
	assert_int_equal(g.gap_ns, 50 * MS);
	assert_int_equal(g.apart_ns, 0);

	/* ... and so is what a slew has done: 500 ppm in ten seconds, which no crystal does */
	wrong = good_new;
	wrong.wrong_ns = INT64_C(1) * S;
	w = window(&good_old, &wrong);
	wrong.wrong_ns -= 5 * MS;
	g = gap(&good_old, 0, &wrong, 50 * MS, &w);
	is_right(&g, 50 * MS);
	assert_in_range(g.bound_ns, MS, 3 * MS);
}

/* Whichever clock it was, whatever is said of it, forwards and backwards: real time has passed, by
 * both TSCs; and that the clocks are apart is told. */
static void a_step_on_the_way_is_none_of_the_gap(void **state)
{
	(void)state;
	for (int which = 0; which < 8; which++) {
		struct host old = good_old, new = good_new, *stepped = which & 1 ? &old : &new;
		const struct hosts_window w = window(&old, &new);
		struct hosts_gap g;

		stepped->wrong_ns = which & 2 ? 5 * INT64_C(1000000000) : -5 * INT64_C(1000000000);
		stepped->unsynchronized = which & 4;
		g = gap(&old, 0, &new, 50 * MS, &w);
		is_right(&g, 50 * MS);
		assert_in_range(g.bound_ns, 0, 5 * MS);
		assert_in_range(g.apart_ns < 0 ? -g.apart_ns : g.apart_ns, 4990 * INT64_C(1000000),
				5010 * INT64_C(1000000));
	}
}

/* A crystal that is off beside a clock that is kept right is no step: the clocks are believed. */
static void a_tsc_that_is_slow_is_no_step(void **state)
{
	struct host old = good_old, new = good_new;
	struct hosts_reading from, to;
	struct hosts_window w;
	struct why why = {""};
	struct hosts_gap g;

	(void)state;
	old.khz -= KHZ_OLD / 20000; /* 50 ppm less than is announced, and more */
	new.khz += KHZ_NEW / 20000;
	w = window(&old, &new);
	from = at(&old, 0);
	to = at(&new, 50 * MS);
	from.tsc_khz = w.source.tsc_khz = KHZ_OLD;
	to.tsc_khz = w.target.tsc_khz = KHZ_NEW;
	assert_int_equal(hosts_gap(&from, &to, &w, &g, &why), 0);
	assert_int_equal(g.gap_ns, 50 * MS);
	assert_int_equal(g.apart_ns, 0);
	assert_in_range(g.bound_ns, 0, 300 * US);
}

/* When it answers the target has no VM yet that says how fast its TSC is. */
static void a_frequency_that_is_known_later_is_enough(void **state)
{
	struct host ahead = good_new;
	struct hosts_window w;
	struct hosts_gap g;

	(void)state;
	ahead.wrong_ns = INT64_C(3) * S;
	w = window(&good_old, &ahead);
	w.target.tsc_khz = 0;
	g = gap(&good_old, 0, &ahead, 50 * MS, &w);
	assert_int_equal(g.gap_ns, 50 * MS + 100 * US);
	/* ... and never: nobody knows what the clock did since */
	ahead.khz = 0;
	g = gap(&good_old, 0, &ahead, 50 * MS, &w);
	assert_int_equal(g.gap_ns, INT64_C(3050) * MS);
}

static void a_step_between_question_and_answer_makes_no_window(void **state)
{
	struct hosts_reading sent = at(&good_old, 0), asked = at(&good_new, 100 * US),
			     answered = at(&good_new, 200 * US), come = at(&good_old, 300 * US);
	struct hosts_window w;

	(void)state;
	hosts_window(&sent, &asked, &answered, &come, &w);
	assert_true(w.known);
	answered.utc_ns += S;
	hosts_window(&sent, &asked, &answered, &come, &w);
	assert_false(w.known);
}

/* The machine stops 20 ms before the leap second and goes on 30 ms within it, when UTC shows the
 * last second of the day again. */
static void a_leap_second_in_between_is_none_of_the_gap(void **state)
{
	const int64_t leap_ns = LAST_SECOND + S - NOON;
	struct host old = good_old, new = good_new;
	struct hosts_window w;
	struct hosts_gap g;

	(void)state;
	old.leap_at_ns = new.leap_at_ns = leap_ns;
	g = gap(&old, leap_ns - 20 * MS, &new, leap_ns + 30 * MS, NULL);
	assert_int_equal(g.gap_ns, 50 * MS);
	assert_true(g.by_tai && !g.negative);
	assert_int_equal(g.bound_ns, 300 * US);
	/* both within it, or a second later */
	g = gap(&old, leap_ns + 20 * MS, &new, leap_ns + 70 * MS, NULL);
	assert_int_equal(g.gap_ns, 50 * MS);
	g = gap(&old, leap_ns - 20 * MS, &new, leap_ns + S + 30 * MS, NULL);
	assert_int_equal(g.gap_ns, S + 50 * MS);
	/* ... and the network's window, from before, still is one */
	w = window(&old, &new);
	g = gap(&old, leap_ns - 20 * MS, &new, leap_ns + 30 * MS, &w);
	assert_int_equal(g.gap_ns, 50 * MS);
	assert_int_equal(g.bound_ns, 100 * US);
}

/* A host that was never told TAI says at least that there is a leap second. */
static void without_tai_a_leap_second_widens_the_bound(void **state)
{
	const int64_t leap_ns = LAST_SECOND + S - NOON;

	(void)state;
	for (int who = 1; who <= 3; who++) { /* the source, the target, both */
		struct host old = good_old, new = good_new;
		struct hosts_window w;
		struct hosts_gap g;

		old.leap_at_ns = new.leap_at_ns = leap_ns;
		old.tai_s = who & 1 ? 0 : TAI;
		new.tai_s = who & 2 ? 0 : TAI;
		g = gap(&old, leap_ns - 20 * MS, &new, leap_ns + 30 * MS, NULL);
		assert_false(g.by_tai);
		assert_true(g.negative);
		assert_int_equal(g.gap_ns, 0);
		assert_int_equal(g.apart_ns, 0);
		is_right(&g, 50 * MS);
		/* a longer gap is a second short, as the bound says */
		g = gap(&old, leap_ns - 2 * INT64_C(1000000000), &new, leap_ns + 30 * MS, NULL);
		assert_int_equal(g.gap_ns, INT64_C(1030) * MS);
		is_right(&g, INT64_C(2030) * MS);
		/* the window, of UTC before it, contradicts nothing */
		w = window(&old, &new);
		assert_true(w.known && !w.by_tai);
		g = gap(&old, leap_ns - 2 * INT64_C(1000000000), &new, leap_ns + 30 * MS, &w);
		assert_int_equal(g.gap_ns, INT64_C(1030) * MS);
	}
}

/* Else one hour of the window's clock would be another's. */
static void a_window_of_another_clock_is_none(void **state)
{
	struct host untold = good_old, ahead = good_new;
	struct hosts_window w;
	struct hosts_gap g;

	(void)state;
	ahead.wrong_ns = INT64_C(3) * S;
	w = window(&good_old, &ahead);
	untold.tai_s = 0;
	g = gap(&untold, 0, &ahead, 50 * MS, &w);
	assert_false(g.by_tai);
	assert_int_equal(g.gap_ns, INT64_C(3050) * MS);
}

/* Nothing of KVM's clock and no TSC is in the gap: other frequencies, scaled or not, and a TSC that
 * began anew do not change it. */
static void no_tsc_is_in_the_gap(void **state)
{
	struct hosts_reading from = at(&good_old, 0), to = at(&good_new, 50 * MS);
	struct hosts_gap g;

	(void)state;
	for (uint32_t khz = 1; khz < 5000000; khz += 1234567) {
		from.tsc_khz = khz;
		to.tsc = UINT64_MAX - khz;
		assert_int_equal(hosts_gap(&from, &to, NULL, &g, NULL), 0);
		assert_int_equal(g.gap_ns, 50 * MS);
	}
}

static void fails(const struct hosts_reading *from, const struct hosts_reading *to,
		  const char *words)
{
	struct hosts_gap g = {.gap_ns = 5}, before = g;
	struct why why = {""};

	assert_int_equal(hosts_gap(from, to, NULL, &g, &why), -ERANGE);
	if (!strstr(why.text, words))
		fail_msg("\"%s\" is not in: %s", words, why.text);
	assert_memory_equal(&g, &before, sizeof(g));
}

static void each_overflow_is_an_error(void **state)
{
	struct hosts_reading from = at(&good_old, 0), to = at(&good_new, 0);
	struct hosts_window w;
	struct hosts_gap g;

	(void)state;
	from.utc_ns = INT64_MIN;
	to.utc_ns = -1;
	assert_int_equal(hosts_gap(&from, &to, NULL, &g, NULL), 0);
	to.tai_s++; /* a second of TAI is too much as well */
	fails(&from, &to, "clocks are more than 292 years apart");
	fails(&to, &from, "clocks are more than 292 years apart");
	to.tai_s--;
	from.utc_ns = 0;
	from.bound_ns = UINT64_MAX;
	fails(&from, &to, "may be wrong by more than 292 years");
	from.bound_ns = INT64_MAX - to.bound_ns;
	assert_int_equal(hosts_gap(&from, &to, NULL, &g, NULL), 0);
	from.bound_ns++;
	fails(&from, &to, "may be wrong by more than 292 years");
	/* nor does a difference come round */
	from = at(&good_old, 0);
	from.utc_ns = INT64_MAX;
	to.utc_ns = 0;
	w = (struct hosts_window){.known = true,
				  .by_tai = true,
				  .lo_ns = INT64_MIN,
				  .source = from,
				  .target = to,
				  .hi_ns = INT64_MIN};
	assert_int_equal(hosts_gap(&from, &to, &w, &g, NULL), 0);
	assert_true(g.apart_ns == INT64_MIN);
	/* a window that wide is none */
	from = at(&good_old, 0);
	from.utc_ns = INT64_MIN;
	to.utc_ns = INT64_MAX;
	hosts_window(&from, &to, &to, &from, &w);
	assert_false(w.known);
	/* and the ends of one that just fits do not come round */
	from.utc_ns = INT64_MIN / 2;
	to.utc_ns = INT64_MAX / 2;
	hosts_window(&from, &to, &to, &from, &w);
	assert_true(w.known);
	w.target.tsc = UINT64_MAX;
	assert_int_equal(hosts_gap(&to, &from, &w, &g, NULL), 0);
	assert_int_equal(g.gap_ns, 0);
}

static void what_is_saved_comes_back(void **state)
{
	uint8_t bytes[HOSTS_READING_BYTES];
	struct hosts_reading all = {.tsc = UINT64_MAX - 1,
				    .tsc_khz = UINT32_MAX - 2,
				    .tai_s = -3,
				    .utc_ns = INT64_MIN + 4,
				    .bound_ns = UINT64_MAX - 5,
				    .synchronized = true},
			     none = {.tsc_khz = 1, .leap = true}, back;

	(void)state;
	hosts_put(&all, bytes);
	assert_int_equal(hosts_get(bytes, &back), 0);
	assert_true(back.tsc == all.tsc && back.tsc_khz == all.tsc_khz && back.tai_s == -3);
	assert_true(back.utc_ns == all.utc_ns && back.bound_ns == all.bound_ns);
	assert_true(back.synchronized && !back.leap);
	hosts_put(&none, bytes);
	assert_int_equal(hosts_get(bytes, &back), 0);
	assert_true(!back.synchronized && back.leap && back.tsc_khz == 1);
}

static void what_nobody_saved_is_refused(void **state)
{
	const struct hosts_reading good = at(&good_old, 0);
	uint8_t bytes[HOSTS_READING_BYTES];
	struct hosts_reading back;

	(void)state;
	for (size_t i = 32; i < sizeof(bytes); i++) {
		hosts_put(&good, bytes);
		bytes[i] |= 4;
		assert_int_equal(hosts_get(bytes, &back), -EINVAL);
	}
}

static void a_host_is_read_between_two_looks_at_its_clocks(void **state)
{
	int64_t before = hostclock_realtime_ns();
	uint64_t tsc = hostclock_tsc();
	struct hostclock_kernel kernel;
	struct hosts_reading now;

	(void)state;
	assert_int_equal(hosts_read(KHZ_OLD, &now), 0);
	assert_in_range(now.utc_ns, before, hostclock_realtime_ns());
	assert_in_range(now.tsc, tsc, hostclock_tsc());
	assert_int_equal(now.tsc_khz, KHZ_OLD);
	assert_int_equal(hostclock_kernel(&kernel), 0);
	assert_int_equal(now.tai_s, kernel.tai_s);
	assert_int_equal(now.synchronized, kernel.synchronized);
	assert_true(now.bound_ns > 0);
	if (now.synchronized)
		assert_true(kernel.max_error_ns > 0);
	assert_int_equal(hosts_read(0, &now), 0);
	assert_true(now.bound_ns > 0 && now.tsc_khz == 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(two_good_clocks_say_what_passed),
		cmocka_unit_test(the_worked_example_comes_out),
		cmocka_unit_test(the_network_narrows_what_good_clocks_say),
		cmocka_unit_test(clocks_that_are_apart_are_contradicted_by_the_network),
		cmocka_unit_test(without_a_network_a_negative_gap_is_none),
		cmocka_unit_test(a_clock_that_runs_free_is_known_the_less_the_longer_it_does),
		cmocka_unit_test(a_clock_that_is_not_synchronized_bounds_nothing),
		cmocka_unit_test(a_clock_that_was_put_right_meanwhile_is_believed),
		cmocka_unit_test(a_step_on_the_way_is_none_of_the_gap),
		cmocka_unit_test(a_tsc_that_is_slow_is_no_step),
		cmocka_unit_test(a_frequency_that_is_known_later_is_enough),
		cmocka_unit_test(a_step_between_question_and_answer_makes_no_window),
		cmocka_unit_test(a_leap_second_in_between_is_none_of_the_gap),
		cmocka_unit_test(without_tai_a_leap_second_widens_the_bound),
		cmocka_unit_test(a_window_of_another_clock_is_none),
		cmocka_unit_test(no_tsc_is_in_the_gap),
		cmocka_unit_test(each_overflow_is_an_error),
		cmocka_unit_test(what_is_saved_comes_back),
		cmocka_unit_test(what_nobody_saved_is_refused),
		cmocka_unit_test(a_host_is_read_between_two_looks_at_its_clocks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
