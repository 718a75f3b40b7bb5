/* SPDX-License-Identifier: Apache-2.0 */
/* test_load.c - scenarios overcommit and steal: host and guest are kept busy for a while. */
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cmd/test_load.h"
#include "host/hostclock.h"
#include "host/kvmtsc.h"
#include "host/rundelay.h"

#define SECOND 1000000000ULL

static const uint64_t default_load_ns = 10 * SECOND;
static const uint64_t line_least_ns = 10 * SECOND; /* a frequency needs that much */
static const uint64_t settle_ns = SECOND;          /* until the guest knows what it waited */
static const int64_t late_ns = 150000000;          /* ... at most after that */
static const uint64_t wait_period_ns = SECOND / 20;

bool test_load_wanted(const struct test_options *o)
{
	return o->scenarios[TEST_OVERCOMMIT] || o->scenarios[TEST_STEAL];
}

uint64_t test_load_ns(const struct test_options *o)
{
	return o->duration_ns ? o->duration_ns : default_load_ns;
}

/* Readings go round the CPUs, ten in a second at most; not every one says much. */
enum { LEAST_READINGS = 4 };

static uint64_t rounds_ns(unsigned cpus)
{
	return LEAST_READINGS * cpus * SECOND / 10;
}

static uint64_t before_ns(const struct test_options *o)
{
	return (o->scenarios[TEST_OVERCOMMIT] ? line_least_ns : 0) + 2 * JUDGE_END_NS;
}

uint64_t test_load_longest_ns(const struct test_options *o)
{
	return before_ns(o) + 2 * test_load_ns(o) + settle_ns + 10 * rounds_ns(o->cpus) +
	       2 * JUDGE_END_NS;
}

static void spin(pid_t parent)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(0);
	for (;;)
		__asm__ volatile("");
}

static int start_busy(struct test_load *l, struct why *why)
{
	const pid_t parent = getpid();
	cpu_set_t all;
	unsigned wanted;

	sched_getaffinity(0, sizeof(all), &all);
	wanted = TEST_LOAD_PER_CPU * (unsigned)CPU_COUNT(&all);
	l->busy = calloc(wanted, sizeof(*l->busy));
	if (!l->busy)
		return why_set(why, -ENOMEM, "out of memory");
	while (l->n_busy < wanted) {
		pid_t pid = fork();

		if (pid == 0)
			spin(parent);
		if (pid < 0)
			return why_set(why, -errno, "cannot start busy processes: %m");
		l->busy[l->n_busy++] = pid;
	}
	return 0;
}

void test_load_rest(struct test_load *l)
{
	for (unsigned i = 0; i < l->n_busy; i++)
		kill(l->busy[i], SIGKILL);
	for (unsigned i = 0; i < l->n_busy; i++)
		while (waitpid(l->busy[i], NULL, 0) < 0 && errno == EINTR)
			;
	free(l->busy);
	l->busy = NULL;
	l->n_busy = 0;
}

int test_load_say(int fd, const char *line, struct why *why)
{
	ssize_t length = (ssize_t)strlen(line);

	if (fd < 0 || send(fd, line, (size_t)length, MSG_NOSIGNAL) != length)
		return why_set(why, -EIO, "cannot write to the guest's port");
	return 0;
}

/* What cannot be counted is no hindrance for overcommit. */
static int open_delays(struct test_load *l, unsigned cpus, pid_t pid, struct why *why)
{
	pid_t *tids = calloc(cpus, sizeof(*tids));
	int error = 0;

	l->delays = calloc(cpus, sizeof(*l->delays));
	if (!tids || !l->delays) {
		free(tids);
		return why_set(why, -ENOMEM, "out of memory");
	}
	error = kvmtsc_threads(NULL, pid, tids, cpus, &l->no_delays);
	for (; !error && l->cpus < cpus; l->cpus++) {
		error = rundelay_open(pid, tids[l->cpus], &l->delays[l->cpus]);
		if (error) {
			why_set(&l->no_delays, error,
				"cannot read the run delay of vCPU %u's thread: %s", l->cpus,
				strerror(-error));
			break;
		}
	}
	free(tids);
	return 0;
}

static int note_waits(struct test_load *l, uint64_t now_ns, struct why *why)
{
	struct test_waits w = {.from_ns = now_ns};

	if (l->no_delays.text[0] ||
	    (l->n_waits && now_ns - l->waits[l->n_waits - 1].to_ns < wait_period_ns))
		return 0;
	if (l->n_waits == l->room) {
		size_t room = l->room ? 2 * l->room : 256;
		struct test_waits *grown = reallocarray(l->waits, room, sizeof(*grown));

		if (!grown)
			return why_set(why, -ENOMEM, "out of memory");
		l->waits = grown;
		l->room = room;
	}
	w.delay_ns = calloc(l->cpus, sizeof(*w.delay_ns));
	if (!w.delay_ns)
		return why_set(why, -ENOMEM, "out of memory");
	for (unsigned i = 0; i < l->cpus; i++)
		if (rundelay_read(&l->delays[i], &w.delay_ns[i]) < 0)
			why_set(&l->no_delays, -ESRCH, "vCPU %u has lost its thread", i);
	w.to_ns = hostclock_monotonic_ns();
	l->waits[l->n_waits++] = w;
	return 0;
}

static int64_t last_ns(const struct test_stream *s)
{
	return s->readings[s->evaluated - 1].point.host_ns;
}

/* The first reading at or after an instant. */
static size_t reading_at(const struct test_stream *s, uint64_t host_ns)
{
	size_t i = 0;

	while (i < s->evaluated && s->readings[i].point.host_ns < (int64_t)host_ns)
		i++;
	return i;
}

/* Whether each CPU has told enough since an instant, from whose delays on the counts are known. */
static bool has_enough(const struct test_stream *s, unsigned cpus, uint64_t from_ns)
{
	for (uint32_t cpu = 0; cpu < cpus; cpu++) {
		unsigned n = 0;

		for (size_t i = reading_at(s, from_ns); i < s->evaluated; i++)
			n += s->readings[i].sample.cpu == cpu;
		if (n < LEAST_READINGS)
			return false;
	}
	return true;
}

/* There is enough before the load when the readings of a frequency are there, and some of each CPU
 * since delays are noted. */
static int begin(struct test_load *l, const struct test_options *o, const struct test_stream *s,
		 size_t from, int fd, struct why *why)
{
	int error;

	if (s->evaluated <= from ||
	    (uint64_t)(last_ns(s) - s->readings[from].point.host_ns) < before_ns(o) ||
	    !has_enough(s, o->cpus, l->opened_ns + settle_ns))
		return 0;
	l->begun_ns = hostclock_monotonic_ns();
	l->phase = TEST_LOAD_BUSY;
	error = test_load_say(fd, "busy\n", why);
	return error ? error : start_busy(l, why);
}

static bool is_over(const struct test_load *l, const struct test_options *o,
		    const struct test_stream *s)
{
	return last_ns(s) >= (int64_t)(l->end_ns + settle_ns + JUDGE_END_NS) &&
	       has_enough(s, o->cpus, l->end_ns + settle_ns);
}

int test_load_step(struct test_load *l, const struct test_options *o, const struct test_stream *s,
		   size_t from, pid_t pid, int fd, struct why *why)
{
	const uint64_t now_ns = hostclock_monotonic_ns();
	int error = 0;

	if (!l->opened_ns) {
		l->opened_ns = now_ns;
		error = open_delays(l, o->cpus, pid, why);
	}
	if (!error)
		error = note_waits(l, now_ns, why);
	if (error)
		return error;
	if (l->phase == TEST_LOAD_BEFORE)
		return begin(l, o, s, from, fd, why);
	if (l->phase == TEST_LOAD_BUSY && now_ns - l->begun_ns >= test_load_ns(o)) {
		test_load_rest(l);
		l->end_ns = hostclock_monotonic_ns();
		l->phase = TEST_LOAD_AFTER;
		return test_load_say(fd, "rest\n", why);
	}
	if (l->phase == TEST_LOAD_AFTER && is_over(l, o, s))
		l->phase = TEST_LOAD_OVER;
	return l->phase == TEST_LOAD_OVER;
}

size_t test_load_first(const struct test_load *l, const struct test_stream *s)
{
	return l->begun_ns ? reading_at(s, l->begun_ns) : s->evaluated;
}

/* What a thread's count was at an instant, between two that were noted. */
static bool delay_at(const struct test_load *l, unsigned cpu, int64_t host_ns, uint64_t *ret_lo,
		     uint64_t *ret_hi)
{
	bool has_lo = false;

	for (size_t i = 0; i < l->n_waits; i++) {
		if ((int64_t)l->waits[i].to_ns <= host_ns) {
			*ret_lo = l->waits[i].delay_ns[cpu];
			has_lo = true;
		} else if ((int64_t)l->waits[i].from_ns >= host_ns) {
			*ret_hi = l->waits[i].delay_ns[cpu];
			return has_lo;
		}
	}
	return false;
}

/* What a reading says of its CPU.  The guest may hear of a wait late, and so had heard, when it was
 * read, of all of a while before, and of nothing that came later than the reading; of several the
 * one counts that says most. */
static void take_end(const struct test_load *l, const struct test_reading *r,
		     struct judge_steal_end *ret_end)
{
	struct judge_steal_end end = {.known = true, .steal_ns = r->sample.steal_ns}, *best;
	uint64_t unused;

	if (r->sample.cpu >= l->cpus ||
	    !delay_at(l, r->sample.cpu, r->point.host_ns - late_ns, &end.delay_lo_ns, &unused) ||
	    !delay_at(l, r->sample.cpu, r->point.host_ns, &unused, &end.delay_hi_ns))
		return;
	best = &ret_end[r->sample.cpu];
	if (!best->known ||
	    end.delay_hi_ns - end.delay_lo_ns < best->delay_hi_ns - best->delay_lo_ns)
		*best = end;
}

/* Of each CPU a reading before the load and one after. */
static void judge_steal_of(const struct test_load *l, const struct test_stream *s, size_t from,
			   uint64_t limit_ns, struct judge_row *row)
{
	const size_t end = test_load_first(l, s);
	const size_t again = reading_at(s, l->end_ns + settle_ns);
	struct judge_steal_end *before = calloc(l->cpus, sizeof(*before));
	struct judge_steal_end *after = calloc(l->cpus, sizeof(*after));
	const bool room = before && after;

	for (size_t i = from; room && i < end; i++)
		take_end(l, &s->readings[i], before);
	for (size_t i = again; room && i < s->evaluated; i++)
		take_end(l, &s->readings[i], after);
	judge_steal(before, after, room ? l->cpus : 0, limit_ns, row);
	if (l->no_delays.text[0])
		judge_skip(row, "%s", l->no_delays.text);
	free(before);
	free(after);
}

static void judge_overcommit_of(const struct test_load *l, const struct test_stream *s, size_t from,
				const struct judge_clock *clock, uint64_t limit_ns,
				uint64_t default_limit_ns, struct judge_row *row)
{
	const size_t end = test_load_first(l, s), again = reading_at(s, l->end_ns);
	struct judge_point *p = calloc(s->evaluated + 1, sizeof(*p));

	for (size_t i = 0; p && i < s->evaluated; i++)
		p[i] = s->readings[i].point;
	if (p && end > from)
		judge_event(p + from, end - from, p + again, s->evaluated - again, clock, limit_ns,
			    default_limit_ns, row);
	else
		judge_skip(row, "there are no readings of it");
	free(p);
}

void test_load_judge(const struct test_load *l, const struct test_stream *stream, size_t from,
		     enum test_scenario scenario, const struct judge_clock *clock,
		     uint64_t limit_ns, uint64_t default_limit_ns, struct judge_row *ret_row)
{
	if (scenario == TEST_STEAL)
		judge_steal_of(l, stream, from, limit_ns ? limit_ns : default_limit_ns, ret_row);
	else
		judge_overcommit_of(l, stream, from, clock, limit_ns, default_limit_ns, ret_row);
}

void test_load_end(struct test_load *l)
{
	test_load_rest(l);
	for (unsigned i = 0; i < l->cpus; i++)
		rundelay_close(&l->delays[i]);
	for (size_t i = 0; i < l->n_waits; i++)
		free(l->waits[i].delay_ns);
	free(l->delays);
	free(l->waits);
	*l = (struct test_load){0};
}
