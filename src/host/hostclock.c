/* SPDX-License-Identifier: Apache-2.0 */
/* hostclock.c - the only reader of host clocks. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/timex.h>
#include <time.h>
#include <unistd.h>

#include "host/hostclock.h"
#include "host/vdso.h"

__extension__ typedef unsigned __int128 u128;

enum { NS_PER_S = 1000000000, MAX_TRIES = 1000 };

/* LFENCE lets nothing later start before all earlier instructions are done: the one before keeps
 * the count from being read early, the one after keeps what is measured from starting early. */
uint64_t hostclock_tsc(void)
{
	uint32_t low, high;

	__asm__ volatile("lfence; rdtsc; lfence" : "=a"(low), "=d"(high) : : "memory");
	return (uint64_t)high << 32 | low;
}

static int64_t read_ns(clockid_t clock)
{
	struct timespec t;

	if (clock_gettime(clock, &t) < 0)
		return 0; /* cannot be: these clocks always exist, and t is ours */
	return (int64_t)t.tv_sec * NS_PER_S + t.tv_nsec;
}

uint64_t hostclock_monotonic_ns(void)
{
	return (uint64_t)read_ns(CLOCK_MONOTONIC);
}

uint64_t hostclock_boottime_ns(void)
{
	return (uint64_t)read_ns(CLOCK_BOOTTIME);
}

int64_t hostclock_realtime_ns(void)
{
	return read_ns(CLOCK_REALTIME);
}

/* The two ends of a try, with no fence that is not needed: the clock's own code orders its count
 * after the one before it, and the one after it waits for all that came before. */
static uint64_t tsc_before(void)
{
	uint32_t low, high;

	__asm__ volatile("rdtsc" : "=a"(low), "=d"(high) : : "memory");
	return (uint64_t)high << 32 | low;
}

static uint64_t tsc_after(void)
{
	uint32_t low, high;

	__asm__ volatile("lfence; rdtsc" : "=a"(low), "=d"(high) : : "memory");
	return (uint64_t)high << 32 | low;
}

static int64_t tightest(clockid_t clock, unsigned tries, uint64_t *ret_lo, uint64_t *ret_hi)
{
	vdso_clock_gettime *const vdso = vdso_find_clock_gettime();
	vdso_clock_gettime *const get = vdso ? vdso : clock_gettime;
	struct timespec t, best = {0};

	*ret_lo = 0;
	*ret_hi = UINT64_MAX;
	for (unsigned i = 0; i < tries; i++) {
		uint64_t lo = tsc_before(), hi;
		int error = get(clock, &t);

		hi = tsc_after();
		if (!error && hi - lo < *ret_hi - *ret_lo) {
			*ret_lo = lo;
			*ret_hi = hi;
			best = t;
		}
	}
	return (int64_t)best.tv_sec * NS_PER_S + best.tv_nsec;
}

int hostclock_pair(unsigned tries, struct hostclock_pair *ret_pair)
{
	struct hostclock_pair *p = ret_pair;

	if (tries < 1 || tries > MAX_TRIES)
		return -EINVAL;
	p->realtime_ns = tightest(CLOCK_REALTIME, tries, &p->realtime_tsc_lo, &p->realtime_tsc_hi);
	p->monotonic_ns = (uint64_t)tightest(CLOCK_MONOTONIC, tries, &p->monotonic_tsc_lo,
					     &p->monotonic_tsc_hi);
	return 0;
}

/* A kernel that was never told TAI minus UTC begins to count leap seconds at 0; what is true of any
 * date since there are leap seconds, 1972, is 10 or more. */
int hostclock_kernel(struct hostclock_kernel *ret_kernel)
{
	enum { FIRST_TAI = 10, NS_PER_US = 1000 };
	struct timex t = {0};
	int state = adjtimex(&t);

	if (state < 0)
		return -errno;
	*ret_kernel = (struct hostclock_kernel){
		.max_error_ns = t.maxerror > 0 ? (uint64_t)t.maxerror * NS_PER_US : 0,
		.tai_s = t.tai >= FIRST_TAI ? t.tai : 0,
		.synchronized = !(t.status & STA_UNSYNC),
		.leap = state == TIME_OOP || state == TIME_WAIT,
	};
	return 0;
}

int hostclock_with_kernel(int (*look)(void *owner), void *owner,
			  struct hostclock_kernel *ret_kernel)
{
	struct hostclock_kernel before;
	int result;

	/* It cannot fall in between twice. */
	for (int i = 0; i < 2; i++) {
		result = hostclock_kernel(&before);
		if (result == 0)
			result = look(owner);
		if (result == 0)
			result = hostclock_kernel(ret_kernel);
		if (result < 0 ||
		    (before.tai_s == ret_kernel->tai_s && before.leap == ret_kernel->leap))
			break;
	}
	return result;
}

/* The bounds of a difference, drawn together. */
struct range {
	int64_t lo, hi;
};

static void narrow(struct range *r, clockid_t clock)
{
	int64_t before = read_ns(CLOCK_MONOTONIC);
	int64_t value = read_ns(clock);
	int64_t after = read_ns(CLOCK_MONOTONIC);
	struct range now = {value - after, value - before};

	/* Elsewhere altogether: it has been stepped meanwhile. */
	if (now.lo > r->hi || now.hi < r->lo)
		*r = now;
	r->lo = now.lo > r->lo ? now.lo : r->lo;
	r->hi = now.hi < r->hi ? now.hi : r->hi;
}

static int64_t middle(const struct range *r)
{
	return r->lo + (r->hi - r->lo) / 2;
}

int hostclock_beside(unsigned tries, struct hostclock_beside *ret_beside)
{
	struct range realtime = {INT64_MIN, INT64_MAX}, boottime = realtime;
	int64_t wider;

	if (tries < 1 || tries > MAX_TRIES)
		return -EINVAL;
	for (unsigned i = 0; i < tries; i++) {
		narrow(&realtime, CLOCK_REALTIME);
		narrow(&boottime, CLOCK_BOOTTIME);
	}
	wider = realtime.hi - realtime.lo;
	wider = boottime.hi - boottime.lo > wider ? boottime.hi - boottime.lo : wider;
	ret_beside->realtime_ns = middle(&realtime);
	ret_beside->suspended_ns = middle(&boottime);
	ret_beside->bound_ns = (uint64_t)wider / 2 + 1;
	return 0;
}

int64_t hostclock_suspended_at_least_ns(void)
{
	int64_t boottime = read_ns(CLOCK_BOOTTIME);

	return boottime - read_ns(CLOCK_MONOTONIC);
}

int hostclock_set_realtime_beside(int64_t realtime_ns)
{
	enum { TRIES = 50 };
	struct hostclock_beside now;
	struct timex t = {.modes = ADJ_SETOFFSET | ADJ_NANO};
	int64_t step_ns;

	(void)hostclock_beside(TRIES, &now);
	step_ns = realtime_ns - now.realtime_ns;
	/* A difference is exact however long the call takes; its fraction counts upward. */
	t.time.tv_sec = step_ns / NS_PER_S - (step_ns % NS_PER_S < 0);
	t.time.tv_usec = step_ns - (int64_t)t.time.tv_sec * NS_PER_S;
	return adjtimex(&t) < 0 ? -errno : 0;
}

/* `freq` is in ppm of 16 bits' fraction; each microsecond that a tick has more is as many ticks a
 * second of microseconds. */
int hostclock_steady(int64_t *ret_ppt)
{
	const int64_t ppt_of_us = 1000000;
	struct timex t = {0};
	int64_t hz = sysconf(_SC_CLK_TCK);

	if (adjtimex(&t) < 0)
		return -errno;
	if (hz <= 0)
		return -EIO;
	*ret_ppt = (int64_t)t.freq * ppt_of_us / 65536 + (t.tick - 1000000 / hz) * hz * ppt_of_us;
	return 0;
}

int hostclock_source(char *buf, unsigned size)
{
	static const char path[] =
		"/sys/devices/system/clocksource/clocksource0/current_clocksource";
	ssize_t length;
	int fd, error = 0;

	if (size < 2)
		return -EINVAL;
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	length = read(fd, buf, size - 1);
	if (length < 0)
		error = -errno;
	close(fd);
	if (error)
		return error;
	buf[length] = '\0';
	buf[strcspn(buf, "\n")] = '\0';
	return 0;
}

bool hostclock_tsc_is_stable(void)
{
	char source[32];

	return hostclock_source(source, sizeof(source)) == 0 && strcmp(source, "tsc") == 0;
}

uint64_t hostclock_measure_tsc_hz(uint64_t over_ns)
{
	enum { TRIES = 50 };
	struct hostclock_pair a, b;
	struct timespec until;
	uint64_t end_ns, ticks, ns;

	if (hostclock_pair(TRIES, &a) < 0 || over_ns == 0 ||
	    __builtin_add_overflow(a.monotonic_ns, over_ns, &end_ns))
		return 0;
	until.tv_sec = (time_t)(end_ns / NS_PER_S);
	until.tv_nsec = (long)(end_ns % NS_PER_S);
	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) == EINTR)
		;
	if (hostclock_pair(TRIES, &b) < 0 || b.monotonic_ns <= a.monotonic_ns)
		return 0;
	ns = b.monotonic_ns - a.monotonic_ns;
	/* Difference of the brackets' middles, each rounded the same way. */
	ticks = (b.monotonic_tsc_lo + (b.monotonic_tsc_hi - b.monotonic_tsc_lo) / 2) -
		(a.monotonic_tsc_lo + (a.monotonic_tsc_hi - a.monotonic_tsc_lo) / 2);
	return (uint64_t)(((u128)ticks * NS_PER_S + ns / 2) / ns);
}
