/* SPDX-License-Identifier: Apache-2.0 */
/* observer.c - reads a guest's clocks and sends each reading to the host.
 *
 * As process 1 of a guest whose only other file is the kernel: mounts what it needs, takes its
 * options from the kernel's command line, sends over the second serial port (the first where there
 * is no second) and powers the machine off when told.  As any other process in a guest:
 * observer PORT.
 *
 *   vmtime.period=MS      between two readings, default 100
 *   vmtime.read=faces     not the kernel's clocks alone but every clock there is, as guest/reader.h
 *                         tells, without a pause in between
 *   vmtime.read=costs     what a reading costs, as guest/costs.h tells, again and again
 *   vmtime.step=NS        steps CLOCK_REALTIME once by that much, to see that the host sees it
 *   vmtime.step_after=MS  how long after the first reading, or round of readings, default 3000
 *
 * The host may send the line "busy", from where on a process of the lowest priority keeps each CPU
 * at work, "check", from where on it looks at the clocks as well (guest/busy.h), "rest", which ends
 * them, and "off".  A reading that the port has no room for is dropped
 * and counted: delayed it would be of no use, and waiting would move the next.
 *
 * What the kernel's log has that is an alarm (guest/log.h) is repeated on the console. */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/timex.h>
#include <sys/utsname.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "guest/busy.h"
#include "guest/costs.h"
#include "guest/log.h"
#include "guest/reader.h"
#include "guest/reading.h"
#include "guest/sample.h"

#define CLOCKSOURCE "/sys/devices/system/clocksource/clocksource0/"

enum { NS_PER_S = 1000000000, HELLO_EVERY = 64, FACES_HELLO_EVERY = 4 };

struct options {
	bool faces, costs;
	uint64_t period_ns;
	int64_t step_ns;
	int64_t step_after_ns;
};

/* One line waits at most; `command` gathers what the host sends. */
struct port {
	int fd;
	char line[2 * SAMPLE_LINE_MAX];
	size_t length, sent;
	char command[16];
	size_t command_length;
};

static volatile sig_atomic_t stopped;

static void on_signal(int number)
{
	(void)number;
	stopped = 1;
}

static void complain(const char *format, ...) __attribute__((format(printf, 1, 2)));

static void complain(const char *format, ...)
{
	va_list args;

	fputs("observer: ", stderr);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputs("\n", stderr);
}

/* Once each, and no more than a person would read. */
static void repeat_alarms(void)
{
	enum { MOST = 20 };
	static int fd = -1, said;
	char line[160];

	if (fd == -1)
		fd = log_open();
	while (fd >= 0 && said < MOST && log_next_alarm(fd, line, sizeof(line))) {
		fprintf(stderr, "%s%s\n", LOG_REPEATED, line);
		said++;
	}
}

/* A small file's first line, "" when it cannot be read. */
static void read_file(const char *path, char *buf, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? 0 : read(fd, buf, size - 1);

	if (fd >= 0)
		close(fd);
	buf[n > 0 ? n : 0] = '\0';
	buf[strcspn(buf, "\n")] = '\0';
}

/* As process 1: the three file systems, and nobody else's way to restart the machine. */
static void set_up_machine(void)
{
	static const char *const mounts[][2] = {
		{"/dev", "devtmpfs"}, {"/proc", "proc"}, {"/sys", "sysfs"}};

	for (size_t i = 0; i < sizeof(mounts) / sizeof(mounts[0]); i++) {
		mkdir(mounts[i][0], 0755);
		if (mount(mounts[i][1], mounts[i][0], mounts[i][1], 0, NULL) < 0 && errno != EBUSY)
			complain("cannot mount %s: %s", mounts[i][0], strerror(errno));
	}
	reboot(RB_DISABLE_CAD); /* Ctrl-Alt-Del comes as SIGINT */
}

static struct options read_options(void)
{
	struct options o = {.period_ns = 100000000, .step_after_ns = 3000000000};
	char line[4096], *word, *save = NULL;

	read_file("/proc/cmdline", line, sizeof(line));
	for (word = strtok_r(line, " ", &save); word; word = strtok_r(NULL, " ", &save)) {
		const char *value = strchr(word, '=');

		if (!value++)
			continue;
		if (strcmp(word, "vmtime.read=faces") == 0)
			o.faces = true;
		else if (strcmp(word, "vmtime.read=costs") == 0)
			o.costs = true;
		else if (strncmp(word, "vmtime.period=", 14) == 0)
			o.period_ns = strtoull(value, NULL, 10) * 1000000;
		else if (strncmp(word, "vmtime.step=", 12) == 0)
			o.step_ns = strtoll(value, NULL, 10);
		else if (strncmp(word, "vmtime.step_after=", 18) == 0)
			o.step_after_ns = strtoll(value, NULL, 10) * 1000000;
	}
	if (o.period_ns == 0)
		o.period_ns = 100000000;
	return o;
}

/* The second serial port where a chip is behind it, else the first. */
static const char *find_port(void)
{
	char type[16];

	read_file("/sys/class/tty/ttyS1/type", type, sizeof(type));
	return *type && strcmp(type, "0") != 0 ? "/dev/ttyS1" : "/dev/ttyS0";
}

static int open_port(const char *path)
{
	struct termios t;
	int fd = open(path, O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);

	if (fd < 0) {
		complain("cannot open %s: %s", path, strerror(errno));
		return -1;
	}
	if (tcgetattr(fd, &t) == 0) {
		cfmakeraw(&t);
		t.c_cflag |= CLOCAL | CREAD;
		cfsetspeed(&t, B115200);
		tcsetattr(fd, TCSANOW, &t);
	}
	return fd;
}

/* True when nothing waits any more. */
static bool flush_port(struct port *p)
{
	while (p->sent < p->length) {
		ssize_t n = write(p->fd, p->line + p->sent, p->length - p->sent);

		if (n <= 0)
			return false;
		p->sent += (size_t)n;
	}
	p->sent = p->length = 0;
	return true;
}

/* The last line that the host has sent since; "" when there is none. */
static void read_command(struct port *p, char *buf, size_t size)
{
	char c;

	buf[0] = '\0';
	while (read(p->fd, &c, 1) == 1) {
		if (c == '\n') {
			snprintf(buf, size, "%.*s", (int)p->command_length, p->command);
			p->command_length = 0;
			if (strcmp(buf, "off") == 0)
				return;
		} else if (c != '\r') {
			p->command_length %= sizeof(p->command);
			p->command[p->command_length++] = c;
		}
	}
}

/* Does what the host asks for; true: to stop.  Without CPUs there is nothing else. */
static bool obey(struct port *p, const cpu_set_t *all)
{
	char command[sizeof(p->command) + 1];
	bool check;
	int error = 0;

	read_command(p, command, sizeof(command));
	check = strcmp(command, "check") == 0;
	if (all && (check || strcmp(command, "busy") == 0))
		error = busy_begin(all, check);
	else if (strcmp(command, "rest") == 0)
		busy_end();
	if (error)
		complain("cannot make a CPU busy: %s", strerror(-error));
	return stopped || strcmp(command, "off") == 0;
}

/* The eighth number of the CPU's line in /proc/stat, 0 when there is none. */
static uint64_t read_steal(uint32_t cpu)
{
	char text[16384], name[16];
	int fd = open("/proc/stat", O_RDONLY | O_CLOEXEC);
	ssize_t length = fd < 0 ? 0 : read(fd, text, sizeof(text) - 1);
	unsigned long long ticks = 0;
	const char *line;

	if (fd >= 0)
		close(fd);
	text[length > 0 ? length : 0] = '\0';
	snprintf(name, sizeof(name), "\ncpu%u ", cpu);
	line = strstr(text, name);
	if (line)
		sscanf(line + strlen(name), "%*u %*u %*u %*u %*u %*u %*u %llu", &ticks);
	return ticks * SAMPLE_STEAL_NS;
}

static void fill_hello(const struct options *o, struct sample_hello *ret_hello)
{
	struct sample_hello *h = ret_hello;
	struct timespec tick = {0};
	struct utsname name;
	size_t length;

	memset(h, 0, sizeof(*h));
	if (uname(&name) == 0)
		snprintf(h->kernel, sizeof(h->kernel), "%.63s", name.release);
	read_file(CLOCKSOURCE "current_clocksource", h->current, sizeof(h->current));
	read_file(CLOCKSOURCE "available_clocksource", h->available, sizeof(h->available));
	length = strlen(h->available);
	while (length > 0 && isspace((unsigned char)h->available[length - 1]))
		h->available[--length] = '\0';
	for (char *c = h->available; *c; c++)
		if (*c == ' ')
			*c = ',';
	h->cpus = (uint32_t)sysconf(_SC_NPROCESSORS_ONLN);
	clock_getres(CLOCK_MONOTONIC_COARSE, &tick); /* moves once a jiffy */
	h->tick_ns = (uint64_t)tick.tv_sec * NS_PER_S + (uint64_t)tick.tv_nsec;
	h->period_ns = o->period_ns;
}

/* Readings take turns on all CPUs, so that one whose clock differs is seen. */
static void go_to_next_cpu(const cpu_set_t *all, uint32_t *cpu)
{
	cpu_set_t one;

	for (int i = 0; i < CPU_SETSIZE; i++) {
		*cpu = (*cpu + 1) % CPU_SETSIZE;
		if (CPU_ISSET(*cpu, all))
			break;
	}
	CPU_ZERO(&one);
	CPU_SET(*cpu, &one);
	sched_setaffinity(0, sizeof(one), &one);
}

static void step_realtime(int64_t ns)
{
	struct timex t = {.modes = ADJ_SETOFFSET | ADJ_NANO};

	t.time.tv_sec = ns / NS_PER_S;
	t.time.tv_usec = ns % NS_PER_S;
	if (t.time.tv_usec < 0) {
		t.time.tv_sec--;
		t.time.tv_usec += NS_PER_S;
	}
	if (adjtimex(&t) < 0)
		complain("cannot step the clock: %s", strerror(errno));
}

static int64_t elapsed_ns(const struct timespec *start)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (now.tv_sec - start->tv_sec) * NS_PER_S + now.tv_nsec - start->tv_nsec;
}

static void step_once(const struct options *o, const struct timespec *start, bool *stepped)
{
	if (*stepped || !o->step_ns || elapsed_ns(start) < o->step_after_ns)
		return;
	step_realtime(o->step_ns);
	*stepped = true;
}

static void send_reading(struct port *p, const struct options *o, struct sample *s)
{
	int n = 0;

	if (!flush_port(p)) {
		s->dropped++;
		return;
	}
	if (s->seq % HELLO_EVERY == 0) {
		struct sample_hello hello;

		fill_hello(o, &hello);
		n = sample_format_hello(p->line, SAMPLE_LINE_MAX, &hello);
		if (n > 0)
			p->length = (size_t)n;
	}
	n = sample_format(p->line + p->length, SAMPLE_LINE_MAX, s);
	if (n > 0)
		p->length += (size_t)n;
	flush_port(p);
}

/* Sleeps until the next multiple of the period since `start` that is still to come: a reading that
 * is late moves none of those after it, and is not made up for.  A signal ends it early. */
static void sleep_to_next(const struct timespec *start, uint64_t period_ns)
{
	uint64_t passed_ns = (uint64_t)elapsed_ns(start);
	uint64_t ns = (uint64_t)start->tv_nsec + (passed_ns / period_ns + 1) * period_ns;
	struct timespec next;

	next.tv_sec = start->tv_sec + (time_t)(ns / NS_PER_S);
	next.tv_nsec = (long)(ns % NS_PER_S);
	clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &next, NULL);
}

static void observe(struct port *p, const struct options *o, struct reading_seen *seen,
		    struct sample *s)
{
	struct timespec start;
	bool stepped = false;
	cpu_set_t all;

	sched_getaffinity(0, sizeof(all), &all);
	clock_gettime(CLOCK_MONOTONIC, &start);
	for (;;) {
		read_file(CLOCKSOURCE "current_clocksource", s->current, sizeof(s->current));
		s->steal_ns = read_steal(s->cpu);
		send_reading(p, o, s);
		repeat_alarms();
		s->seq++;
		sleep_to_next(&start, o->period_ns);
		if (obey(p, &all))
			return;
		step_once(o, &start, &stepped);
		go_to_next_cpu(&all, &s->cpu);
		reading_take(seen, s);
		busy_add(busy_look(), s);
	}
}

/* All of what waits, and out of the chip: what is sent would disturb what is read.  False: told to
 * stop, or there is no port any more. */
static bool drain_port(struct port *p)
{
	struct pollfd wait = {.fd = p->fd, .events = POLLOUT | POLLIN};

	while (!flush_port(p))
		if (poll(&wait, 1, 1000) < 0 || obey(p, NULL))
			return false;
	return tcdrain(p->fd) == 0;
}

static bool say_hello(struct port *p, const struct options *o, const struct reader *r)
{
	struct sample_hello hello;
	int n;

	fill_hello(o, &hello);
	n = sample_format_hello(p->line, SAMPLE_LINE_MAX, &hello);
	p->length = n > 0 ? (size_t)n : 0;
	p->length += reader_say_hello(r, p->line + p->length, READER_TEXT_MAX);
	return drain_port(p);
}

/* On the CPU whose turn it is: the RTC's seconds go round them. */
static bool read_second(struct port *p, struct reader *r, const cpu_set_t *all, uint32_t *rtc_cpu)
{
	const uint32_t cpu = r->cpu;

	if (reader_go_to(r, *rtc_cpu) < 0)
		return false;
	p->length = reader_wait_for_rtc(r, p->line, READER_TEXT_MAX);
	if (p->length)
		go_to_next_cpu(all, rtc_cpu);
	return drain_port(p) && reader_go_to(r, cpu) == 0;
}

static bool read_face(struct port *p, struct reader *r, char face)
{
	p->length = reader_read(r, face, p->line, READER_TEXT_MAX);
	return drain_port(p);
}

static void observe_faces(struct port *p, const struct options *o)
{
	struct reader r;
	uint32_t cpu, rtc_cpu;
	struct timespec start;
	bool stepped = false;
	cpu_set_t all;

	sched_getaffinity(0, sizeof(all), &all);
	if (reader_open(&r) < 0)
		return;
	reader_open_chips(&r);
	clock_gettime(CLOCK_MONOTONIC, &start);
	cpu = rtc_cpu = r.first_cpu;
	for (uint32_t round = 0;; round++) {
		if (round % FACES_HELLO_EVERY == 0 && !say_hello(p, o, &r))
			return;
		for (const char *face = reader_faces; *face; face++)
			if (!read_face(p, &r, *face) || obey(p, &all) ||
			    (reader_rtc_is_near(&r) && !read_second(p, &r, &all, &rtc_cpu)))
				return;
		step_once(o, &start, &stepped);
		repeat_alarms();
		go_to_next_cpu(&all, &cpu);
		reader_go_to(&r, cpu);
	}
}

static bool send_hello(struct port *p, const struct options *o)
{
	struct sample_hello hello;
	int n;

	fill_hello(o, &hello);
	n = sample_format_hello(p->line, SAMPLE_LINE_MAX, &hello);
	p->length = n > 0 ? (size_t)n : 0;
	return drain_port(p);
}

/* Series after series, a hello before and after each; on one CPU, as a batch that moves is none. */
static void observe_costs(struct port *p, const struct options *o)
{
	struct sample_cost costs[COSTS_MAX];
	uint32_t cpu = CPU_SETSIZE - 1;
	cpu_set_t all;

	sched_getaffinity(0, sizeof(all), &all);
	go_to_next_cpu(&all, &cpu);
	for (uint32_t series = 0; send_hello(p, o); series++) {
		uint32_t n = costs_measure(series, costs);

		for (uint32_t i = 0; i < n; i++) {
			int length = sample_format_cost(p->line, SAMPLE_LINE_MAX, &costs[i]);

			p->length = length > 0 ? (size_t)length : 0;
			if (!drain_port(p))
				return;
		}
		repeat_alarms();
		if (obey(p, NULL))
			return;
	}
}

int main(int argc, char **argv)
{
	struct sigaction action = {.sa_handler = on_signal};
	struct reading_seen seen = {0};
	struct sample sample = {0};
	struct port port = {.fd = -1};
	bool first_process = getpid() == 1;
	struct options options;
	unsigned cpu = 0;

	/* Before anything else: this is the moment that "boot" is about. */
	reading_take(&seen, &sample);
	getcpu(&cpu, NULL);
	sample.cpu = cpu;
	if (first_process)
		set_up_machine();
	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGINT, &action, NULL);
	options = read_options();
	port.fd = open_port(!first_process && argc > 1 ? argv[1] : find_port());
	if (port.fd >= 0 && options.faces)
		observe_faces(&port, &options);
	else if (port.fd >= 0 && options.costs)
		observe_costs(&port, &options);
	else if (port.fd >= 0)
		observe(&port, &options, &seen, &sample);
	if (!first_process)
		return port.fd < 0;
	sync();
	reboot(RB_POWER_OFF);
	for (;;)
		pause();
}
