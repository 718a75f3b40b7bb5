/* SPDX-License-Identifier: Apache-2.0 */
/* read.h - the time of a guest, for programs inside it, at the price of RDTSC.
 *
 * For C (from C11) and C++ (from C++11) on Linux, whole by itself: no library to link, nothing
 * allocated, no signal taken.  A hypervisor tells a guest the time in a page of its memory, which
 * Linux maps into every process for its vDSO; here it is read directly:
 *
 *     static struct vmt_read guest;
 *     vmt_read_open(&guest);                                       once, 2 to 3 ms
 *     struct vmt_read_time t = vmt_read_now(&guest);               some 11 ns
 *
 * **Which clock.**  Virtual time: kvm-clock, ns since the hypervisor began to count, which with
 * vmtime is power-on.  It is neither MONOTONIC nor UTC: nothing in the guest moves it, no NTP and
 * no clock_settime(2); it starts at the hypervisor's 0 and not at this kernel's boot; a suspended
 * guest's goes on; the offsets of time namespaces are not in it.  CLOCK_MONOTONIC_RAW on
 * clocksource kvm-clock is the same clock with another 0.  It is one clock for all CPUs, and what
 * happened first has the smaller time, if the host keeps the page's promise (flag TSC_STABLE).
 * A VMM that writes the page anew may make it step (KVM by what the crystal and its own clock
 * have drifted apart; vmtime's never steps back).
 *
 * **What a reading says.**  The truth lies in [earliest_ns, latest_ns], at an instant within the
 * call; estimate_ns is the likeliest.  `status` says where it comes from: VMT_READ_PAGE, or why
 * clock_gettime(2) was asked instead, which each reading does by itself when the page cannot be
 * used now.  A program that only wants the time need not look at it.
 *
 * **Ordered or not.**  The plain forms are RDTSC: the CPU may take the count some hundred cycles
 * before or after its neighbours in the program.  The ordered ones are LFENCE; RDTSC: after all
 * loads and other instructions before it.  Of plain readings on two CPUs the later one may so be
 * the smaller.
 *
 * **The page's place is no ABI.**  It is found by its content in the mappings [vvar] and
 * [vvar_vclock], never touched before the kernel has said that it is readable, and taken only when
 * ten pairs with CLOCK_MONOTONIC_RAW over 2 ms show that both advance alike.  Everything else is
 * refused, and clock_gettime(2) used.
 *
 * **Threads and processes.**  Any number of threads may read one struct, also while another calls
 * vmt_read_renew(); open before.  After fork(2) parent and child may both go on.  After exec there
 * is another mapping, so open again; also after setns(2) into another time namespace (only the
 * clock_gettime(2) fall-back of virtual time would be off, by the difference of the offsets), and
 * in a process that was restored from an image.
 *
 * The page is used on x86-64 alone (not x32), with gcc or clang; elsewhere all this is
 * clock_gettime(2).  Facts: the page's layout and version protocol are those of the Linux
 * kernel's asm/pvclock-abi.h and Documentation/virt/kvm/x86/msr.rst. */
#ifndef VMTIME_READ_H
#define VMTIME_READ_H

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#if defined(__linux__) && defined(__x86_64__) && defined(__LP64__)
#define VMT_READ_X86 1
#else
#define VMT_READ_X86 0
#endif

enum vmt_read_status {
	VMT_READ_PAGE = 0,         /* the page */
	VMT_READ_NO_PAGE = 1,      /* none found: no kvm-clock, no /proc, not x86-64 */
	VMT_READ_OTHER_SOURCE = 2, /* Linux's clocksource is not kvm-clock */
	VMT_READ_DISAGREES = 3,    /* it does not advance as clock_gettime(2) does */
	VMT_READ_UNSTABLE = 4,     /* flag TSC_STABLE is clear: CPUs may disagree */
	VMT_READ_BUSY = 5,         /* no whole version of it in VMT_READ_TRIES tries */
	VMT_READ_AHEAD = 6,        /* its anchor is later than the TSC */
	VMT_READ_NO_OFFSET = 7,    /* of REALTIME alone: not renewed yet, or just now */
};

enum {
	VMT_READ_TRIES = 100,       /* a few us; then the writer is taken to be gone for long */
	VMT_READ_PAIRS = 10,        /* that a page must agree in */
	VMT_READ_PAIR_NS = 200000,  /* at least, between two of them */
	VMT_READ_GROWTH_PPM = 1000, /* see vmt_read_renew() */
};

struct vmt_read_time {
	int64_t earliest_ns, estimate_ns, latest_ns;
	uint32_t status; /* enum vmt_read_status */
	uint32_t pad;    /* 0 */
};

/* As the hypervisor writes it.  Odd version: being written. */
struct vmt_read_page {
	uint32_t version;
	uint32_t pad;
	uint64_t tsc;       /* the anchor: at this count of the TSC ... */
	uint64_t system_ns; /* ... it is this time */
	uint64_t scale;     /* bits 0-31 multiplier, 32-39 shift (signed), 40-47 flags, then 0 */
};

#define VMT_READ_STABLE (UINT64_C(1) << 40)
#define VMT_READ_FLAGS (UINT64_C(7) << 40) /* with a meaning; GUEST_STOPPED is harmless */

/* The caller's; filled by vmt_read_open() or vmt_read_use(), to be looked at only. */
struct vmt_read {
	const struct vmt_read_page *page; /* NULL: clock_gettime(2) */
	uint32_t status;                  /* the reason for NULL */
	uint32_t raw_growth_ppm;
	int64_t raw_offset_ns; /* virtual time = CLOCK_MONOTONIC_RAW + this, +- this: */
	int64_t raw_bound_ns;
	int64_t raw_at_ns; /* at this CLOCK_MONOTONIC_RAW */

	uint32_t utc_version; /* 0: never renewed, odd: being renewed */
	uint32_t utc_growth_ppm;
	int64_t utc_offset_ns; /* REALTIME = virtual time + this, +- this: */
	int64_t utc_bound_ns;
	int64_t utc_at_ns; /* at this virtual time */
};

/* ---- what the functions below are made of; not to be called ------------------------------- */

enum { VMT_READ_REALTIME_ = 0, VMT_READ_RAW_ = 4 }; /* CLOCK_..., which -std=c11 hides */
enum { VMT_READ_PLAIN_, VMT_READ_ORDERED_, VMT_READ_ANY_ /* ordered, with any shift */ };

static inline int64_t vmt_read_clock_(int clock)
{
#if !defined(CLOCK_MONOTONIC_RAW) && !defined(__cplusplus)
#if !defined(__LP64__)
#error "vmtime/read.h: compile with -D_GNU_SOURCE, which makes clock_gettime() visible"
#endif
	extern int clock_gettime(int clock, struct timespec *ret_time); /* hidden too */
#endif
	struct timespec t;

	t.tv_sec = 0;
	t.tv_nsec = 0;
	clock_gettime(clock, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static inline int64_t vmt_read_plus_(int64_t a, int64_t b)
{
	return (int64_t)((uint64_t)a + (uint64_t)b); /* a page may hold anything */
}

static inline int64_t vmt_read_minus_(int64_t a, int64_t b)
{
	return (int64_t)((uint64_t)a - (uint64_t)b);
}

/* By how much a bound has grown, rounded up; growth_ppm up to 100,000. */
static inline int64_t vmt_read_grown_(int64_t from_ns, int64_t to_ns, uint32_t growth_ppm)
{
	uint64_t age = (uint64_t)to_ns - (uint64_t)from_ns;

	if (age >> 63)
		age = 0 - age;
	return growth_ppm ? (int64_t)((age / 1000000 + 1) * growth_ppm) : 0;
}

static inline struct vmt_read_time vmt_read_made_(int64_t ns, int64_t bound_ns, int64_t rounded_ns,
						  uint32_t status)
{
	struct vmt_read_time t;

	t.earliest_ns = vmt_read_plus_(ns, -bound_ns);
	t.estimate_ns = ns;
	t.latest_ns = vmt_read_plus_(ns, bound_ns + rounded_ns);
	t.status = status;
	t.pad = 0;
	return t;
}

#if VMT_READ_X86

/* The page's formula: counts * multiplier * 2^(shift - 32), rounded down.  A negative shift is in
 * the 64-bit fraction already, where Linux drops counts before it multiplies: up to 1 ns less. */
static inline uint64_t vmt_read_fraction_(uint64_t scale)
{
	const int shift = (int8_t)(scale >> 32);

	return scale << 32 >> (shift < 0 ? -shift & 63 : 0);
}

static inline uint64_t vmt_read_scaled_(uint64_t counts, uint64_t fraction, uint64_t scale)
{
	__extension__ typedef unsigned __int128 u128;
	const int shift = (int8_t)(scale >> 32);

	if (__builtin_expect(shift > 0, 0)) {
		counts <<= shift & 63;
		__asm__("" : "+r"(counts)); /* a branch, not two values to choose from */
	}
	return (uint64_t)((u128)counts * fraction >> 64);
}

/* One try.  Loads are not reordered among each other on this CPU; the compiler must not either.
 * The first version is that from before the count, since the count and the page must be of one
 * machine (a guest may go on on another in between); the rest of the page is loaded after it.  A
 * load before the fence is waited for, one after it is made while RDTSC is at work: an ordered
 * reading costs a multiplication more than LFENCE; RDTSC, and no more.  A positive shift (a TSC of
 * up to 1 GHz) and a page without its mark are left to the slow way.  An unordered count may be
 * older than its page: so AHEAD, not a huge time. */
static inline uint32_t vmt_read_try_(const struct vmt_read_page *p, int how, int64_t *ret_ns)
{
	/* An odd one becomes one that is gone. */
	const uint32_t version = __atomic_load_n(&p->version, __ATOMIC_ACQUIRE) & ~UINT32_C(1);
	uint64_t tsc, scale, system_ns, counts;
	uint32_t low, high;

	if (how != VMT_READ_PLAIN_)
		__asm__ volatile("lfence\n\trdtsc" : "=a"(low), "=d"(high) : : "memory");
	else
		__asm__ volatile("rdtsc" : "=a"(low), "=d"(high) : : "memory");
	tsc = __atomic_load_n(&p->tsc, __ATOMIC_ACQUIRE);
	scale = __atomic_load_n(&p->scale, __ATOMIC_ACQUIRE);
	system_ns = __atomic_load_n(&p->system_ns, __ATOMIC_ACQUIRE);
	if (how != VMT_READ_ANY_ && __builtin_expect((int8_t)(scale >> 32) > 0, 0))
		return VMT_READ_BUSY;
	counts = ((uint64_t)high << 32) + (low - tsc);
	*ret_ns = (int64_t)(system_ns + vmt_read_scaled_(counts, vmt_read_fraction_(scale), scale));
	if (__builtin_expect(version != __atomic_load_n(&p->version, __ATOMIC_RELAXED), 0))
		return VMT_READ_BUSY;
	if (__builtin_expect(!(scale & VMT_READ_STABLE), 0))
		return VMT_READ_UNSTABLE;
	return __builtin_expect((int64_t)counts < 0, 0) ? VMT_READ_AHEAD : VMT_READ_PAGE;
}

#else

static inline uint32_t vmt_read_try_(const struct vmt_read_page *p, int how, int64_t *ret_ns)
{
	(void)p;
	(void)how;
	*ret_ns = 0;
	return VMT_READ_NO_PAGE;
}

#endif

/* Until the page is whole, or the tries are used up. */
static inline uint32_t vmt_read_tries_(const struct vmt_read_page *p, int64_t *ret_ns)
{
	uint32_t status = VMT_READ_BUSY;

	for (int i = 0; i < VMT_READ_TRIES && status == VMT_READ_BUSY; i++) {
		status = vmt_read_try_(p, VMT_READ_ANY_, ret_ns);
#if VMT_READ_X86
		if (status == VMT_READ_BUSY)
			__asm__ volatile("pause");
#endif
	}
	return status;
}

/* When the first try at the page failed, or there is none. */
static
#if defined(__GNUC__)
	__attribute__((noinline, cold, unused))
#endif
	struct vmt_read_time
	vmt_read_slow_(const struct vmt_read *r)
{
	uint32_t status = r->status;
	int64_t ns = 0, grown;

	if (r->page)
		status = vmt_read_tries_(r->page, &ns);
	if (status == VMT_READ_PAGE)
		return vmt_read_made_(ns, 0, 1, VMT_READ_PAGE);
	ns = vmt_read_clock_(VMT_READ_RAW_);
	grown = vmt_read_grown_(r->raw_at_ns, ns, r->raw_growth_ppm);
	return vmt_read_made_(vmt_read_plus_(ns, r->raw_offset_ns), r->raw_bound_ns + grown, 1,
			      status);
}

static inline struct vmt_read_time vmt_read_at_(const struct vmt_read *r, int how)
{
	int64_t ns;

	if (r->page && vmt_read_try_(r->page, how, &ns) == VMT_READ_PAGE)
		return vmt_read_made_(ns, 0, 1, VMT_READ_PAGE);
	return vmt_read_slow_(r);
}

static inline int64_t vmt_read_ns_(const struct vmt_read *r, int how)
{
	int64_t ns;

	if (r->page && vmt_read_try_(r->page, how, &ns) == VMT_READ_PAGE)
		return ns;
	return vmt_read_slow_(r).estimate_ns;
}

/* ---- reading ------------------------------------------------------------------------------ */

/* Virtual time. */
static inline struct vmt_read_time vmt_read_now(const struct vmt_read *r)
{
	return vmt_read_at_(r, VMT_READ_PLAIN_);
}

static inline struct vmt_read_time vmt_read_now_ordered(const struct vmt_read *r)
{
	return vmt_read_at_(r, VMT_READ_ORDERED_);
}

/* The estimate alone, for where a register is all that there is room for. */
static inline int64_t vmt_read_ns(const struct vmt_read *r)
{
	return vmt_read_ns_(r, VMT_READ_PLAIN_);
}

static inline int64_t vmt_read_ns_ordered(const struct vmt_read *r)
{
	return vmt_read_ns_(r, VMT_READ_ORDERED_);
}

/* CLOCK_REALTIME, ns since 1970, from ordered virtual time and the offset that vmt_read_renew()
 * has found, whose bound grows with its age (there).  From clock_gettime(2) when the page cannot be
 * used now, or the offset is just being renewed. */
static inline struct vmt_read_time vmt_read_realtime(const struct vmt_read *r)
{
	const uint32_t version = __atomic_load_n(&r->utc_version, __ATOMIC_ACQUIRE);
	const int64_t offset_ns = __atomic_load_n(&r->utc_offset_ns, __ATOMIC_ACQUIRE);
	const int64_t bound_ns = __atomic_load_n(&r->utc_bound_ns, __ATOMIC_ACQUIRE);
	const int64_t at_ns = __atomic_load_n(&r->utc_at_ns, __ATOMIC_ACQUIRE);
	const uint32_t growth_ppm = __atomic_load_n(&r->utc_growth_ppm, __ATOMIC_ACQUIRE);
	uint32_t status = r->status;
	int64_t ns = 0;

	if (r->page)
		status = vmt_read_tries_(r->page, &ns);
	if (status == VMT_READ_PAGE &&
	    (version == 0 || (version & 1) ||
	     version != __atomic_load_n(&r->utc_version, __ATOMIC_RELAXED)))
		status = VMT_READ_NO_OFFSET;
	if (status == VMT_READ_PAGE)
		return vmt_read_made_(vmt_read_plus_(ns, offset_ns),
				      bound_ns + vmt_read_grown_(at_ns, ns, growth_ppm), 1, status);
	return vmt_read_made_(vmt_read_clock_(VMT_READ_REALTIME_), 0, 1, status);
}

/* Measures the offset of REALTIME anew: the tightest of ten pairs.  Its bound is half the bracket,
 * and grows with age by growth_ppm (0 to 100,000).  VMT_READ_GROWTH_PPM is what Linux may slew
 * against its counter by frequency (500 ppm) and by adjtime(3) (500 ppm) together: 1 us each
 * millisecond.  chrony slews faster when it must (its maxslewrate; 83,333 ppm unless set).  Where
 * nothing in the guest steers REALTIME, 0 is right on clocksource kvm-clock: both are the page's.
 * No rate covers steps of the wall clock, leap seconds among them: a reading shows them after the
 * next renewal.
 *
 * Any thread may.  0, or: -EBUSY, another one is at it; -ENODATA, the page cannot be used now, and
 * readings come from clock_gettime(2) anyway; -EINVAL. */
static inline int vmt_read_renew(struct vmt_read *r, uint32_t growth_ppm)
{
	int64_t at_ns = 0, offset_ns = 0, width_ns = INT64_MAX;
	uint32_t version;

	if (growth_ppm > 100000)
		return -EINVAL;
	for (int i = 0; r->page && i < VMT_READ_PAIRS; i++) {
		int64_t before, after, utc_ns, width;

		if (vmt_read_tries_(r->page, &before) != VMT_READ_PAGE)
			continue;
		utc_ns = vmt_read_clock_(VMT_READ_REALTIME_);
		if (vmt_read_tries_(r->page, &after) != VMT_READ_PAGE)
			continue;
		width = vmt_read_minus_(after, before);
		if (width < 0 || width >= width_ns)
			continue;
		width_ns = width;
		at_ns = before;
		offset_ns = vmt_read_minus_(vmt_read_minus_(utc_ns, before), width / 2);
	}
	if (width_ns == INT64_MAX)
		return -ENODATA;
	version = __atomic_load_n(&r->utc_version, __ATOMIC_RELAXED);
	if ((version & 1) || !__atomic_compare_exchange_n(&r->utc_version, &version, version + 1, 0,
							  __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
		return -EBUSY;
	__atomic_store_n(&r->utc_offset_ns, offset_ns, __ATOMIC_RELEASE);
	__atomic_store_n(&r->utc_bound_ns, width_ns / 2 + 2, __ATOMIC_RELEASE);
	__atomic_store_n(&r->utc_at_ns, at_ns, __ATOMIC_RELEASE);
	__atomic_store_n(&r->utc_growth_ppm, growth_ppm, __ATOMIC_RELEASE);
	__atomic_store_n(&r->utc_version, version + 2, __ATOMIC_RELEASE);
	return 0;
}

/* ---- opening ------------------------------------------------------------------------------ */

#if VMT_READ_X86

static inline long vmt_read_syscall_(long number, const void *a, const void *b, long c, long d)
{
	long result;

	__asm__ volatile("{movq %5, %%r10|mov r10, %5}\n\tsyscall"
			 : "=a"(result)
			 : "0"(number), "D"(a), "S"(b), "d"(c), "r"(d)
			 : "rcx", "r10", "r11", "memory");
	return result;
}

/* Whether a page may be touched: the kernel reads the new signal mask before it finds that it
 * knows no such way to set one.  A page of the vDSO's that is not there would raise SIGBUS. */
static inline int vmt_read_readable_(const void *page)
{
	const long rt_sigprocmask = 14, no_such_way = -1, mask_size = 8;

	return vmt_read_syscall_(rt_sigprocmask, (const void *)no_such_way, page, 0, mask_size) ==
	       -EINVAL;
}

static inline void vmt_read_sleep_(int64_t ns)
{
	const long nanosleep = 35;
	struct timespec t;

	t.tv_sec = 0;
	t.tv_nsec = ns;
	vmt_read_syscall_(nanosleep, &t, 0, 0, 0);
}

/* Whether it can be a page of kvm-clock's that is in use: no bit set that has no meaning, a TSC of
 * 10 MHz to 100 GHz, an anchor that is past.  The status for it. */
static inline uint32_t vmt_read_plausible_(const struct vmt_read_page *page)
{
	const uint64_t scale = __atomic_load_n(&page->scale, __ATOMIC_RELAXED);
	const int shift = (int8_t)(scale >> 32);
	const uint64_t second = UINT64_C(1) << 32; /* in counts, and in ns, roughly */
	uint64_t ns = vmt_read_scaled_(second, vmt_read_fraction_(scale), scale);
	uint32_t status;
	int64_t now;

	if (__atomic_load_n(&page->pad, __ATOMIC_RELAXED) ||
	    __atomic_load_n(&page->version, __ATOMIC_RELAXED) == 0 ||
	    (scale & ~VMT_READ_FLAGS) >> 40 || shift < -31 || shift > 31 || ns < second / 100 ||
	    ns > second * 100)
		return VMT_READ_NO_PAGE;
	status = vmt_read_tries_(page, &now);
	return status == VMT_READ_PAGE && (uint64_t)now >> 62 ? (uint32_t)VMT_READ_NO_PAGE : status;
}

/* In a line of /proc/self/maps: the first page after `after` that may be kvm-clock's, or NULL. */
static inline const void *vmt_read_find_in_(const char *line, uintptr_t after)
{
	char *dash;
	uintptr_t at = (uintptr_t)strtoull(line, &dash, 16);
	const uintptr_t end = *dash == '-' ? (uintptr_t)strtoull(dash + 1, &dash, 16) : 0;

	if (!strstr(line, " [vvar")) /* names of files begin with a slash */
		return 0;
	for (; at < end; at += 4096) {
		const struct vmt_read_page *page = (const struct vmt_read_page *)at;
		uint32_t status;

		if (at <= after || !vmt_read_readable_(page))
			continue;
		status = vmt_read_plausible_(page);
		if (status == VMT_READ_PAGE || status == VMT_READ_UNSTABLE)
			return page;
	}
	return 0;
}

/* Whether the pairs can all be readings of two clocks that advance alike: one offset lies in all
 * brackets.  What both round away is 2 ns either side. */
struct vmt_read_pair_ {
	int64_t before_ns, raw_ns, after_ns; /* page, CLOCK_MONOTONIC_RAW, page */
};

static inline int vmt_read_agree_(const struct vmt_read_pair_ *pairs, int count,
				  int64_t *ret_offset_ns, int64_t *ret_bound_ns)
{
	int64_t least = INT64_MIN, most = INT64_MAX;

	for (int i = 0; i < count; i++) {
		const int64_t lo = vmt_read_minus_(pairs[i].before_ns, pairs[i].raw_ns);
		const int64_t hi = vmt_read_minus_(pairs[i].after_ns, pairs[i].raw_ns);

		least = lo - 2 > least ? lo - 2 : least;
		most = hi + 2 < most ? hi + 2 : most;
	}
	*ret_bound_ns = (most - least) / 2 + 1;
	*ret_offset_ns = least + (most - least) / 2;
	return least <= most;
}

#endif

/* The next page after `after` (NULL: the first) that looks like kvm-clock's, or NULL. */
static inline const void *vmt_read_find(const void *after)
{
#if VMT_READ_X86
	const int fd = open("/proc/self/maps", 02000000 /* O_CLOEXEC */);
	const void *page = 0;
	char chunk[512], line[128];
	size_t length = 0;
	ssize_t got;

	while (fd >= 0 && !page && (got = read(fd, chunk, sizeof(chunk))) > 0)
		for (ssize_t i = 0; i < got && !page; i++) {
			if (chunk[i] != '\n') {
				line[length] = chunk[i];
				length += length < sizeof(line) - 1; /* longer ones are files */
				continue;
			}
			line[length] = '\0';
			length = 0;
			page = vmt_read_find_in_(line, (uintptr_t)after);
		}
	if (fd >= 0)
		close(fd);
	return page;
#else
	(void)after;
	return 0;
#endif
}

/* Reads this page from now on, whatever Linux's clocksource is, if it advances as
 * CLOCK_MONOTONIC_RAW does: ten pairs, 0.2 ms apart.  VMT_READ_PAGE, or the reason why not; then
 * readings come from clock_gettime(2), and virtual time is CLOCK_MONOTONIC_RAW.  `r` need not have
 * been opened.  The page must stay mapped; only such that can be read may be given. */
static inline uint32_t vmt_read_use(struct vmt_read *r, const void *page)
{
	memset(r, 0, sizeof(*r));
	r->status = VMT_READ_NO_PAGE;
#if VMT_READ_X86
	struct vmt_read_pair_ pairs[VMT_READ_PAIRS];
	const struct vmt_read_page *p = (const struct vmt_read_page *)page;

	if (!p)
		return r->status;
	r->status = vmt_read_plausible_(p);
	for (int i = 0; i < VMT_READ_PAIRS && r->status == VMT_READ_PAGE; i++) {
		vmt_read_sleep_(VMT_READ_PAIR_NS);
		r->status = vmt_read_tries_(p, &pairs[i].before_ns);
		pairs[i].raw_ns = vmt_read_clock_(VMT_READ_RAW_);
		if (r->status == VMT_READ_PAGE)
			r->status = vmt_read_tries_(p, &pairs[i].after_ns);
	}
	if (r->status != VMT_READ_PAGE)
		return r->status;
	if (!vmt_read_agree_(pairs, VMT_READ_PAIRS, &r->raw_offset_ns, &r->raw_bound_ns)) {
		r->raw_offset_ns = r->raw_bound_ns = 0;
		return r->status = VMT_READ_DISAGREES;
	}
	r->raw_at_ns = pairs[VMT_READ_PAIRS - 1].raw_ns;
	r->raw_growth_ppm = 500;
	r->page = p;
	vmt_read_renew(r, VMT_READ_GROWTH_PPM);
#else
	(void)page;
#endif
	return r->status;
}

/* Finds the page and measures the offset of REALTIME, if Linux's clocksource is kvm-clock (or
 * cannot be known, without /sys).  On another clocksource the page may still be right, but Linux
 * neither maps it always nor looks at it: vmt_read_use(r, vmt_read_find(NULL)) takes it then.
 * VMT_READ_PAGE, or the reason why not; `r` is good for reading either way.  Needs a few
 * descriptors for a moment.
 *
 * When the page fails later, virtual time goes on as CLOCK_MONOTONIC_RAW from where the page was,
 * to the bracket of the pairs: by that it may step back.  On clocksource kvm-clock the bound stays
 * so; on another (vmt_read_use) it grows by 500 ppm. */
static inline uint32_t vmt_read_open(struct vmt_read *r)
{
#if VMT_READ_X86
	static const char kvm_clock[] = "kvm-clock\n";
	const int fd = open("/sys/devices/system/clocksource/clocksource0/current_clocksource",
			    02000000 /* O_CLOEXEC */);
	char source[sizeof(kvm_clock)];
	const ssize_t length = fd < 0 ? 0 : read(fd, source, sizeof(source));
	const void *page;

	if (fd >= 0)
		close(fd);
	if (length > 0 &&
	    (length != sizeof(source) - 1 || memcmp(source, kvm_clock, sizeof(source) - 1))) {
		vmt_read_use(r, 0);
		return r->status = VMT_READ_OTHER_SOURCE;
	}
	page = vmt_read_find(0);
	while (vmt_read_use(r, page) == VMT_READ_DISAGREES && vmt_read_find(page))
		page = vmt_read_find(page);
	if (r->page && length > 0)
		r->raw_growth_ppm = 0;
	return r->status;
#else
	return vmt_read_use(r, 0);
#endif
}

#endif
