/* SPDX-License-Identifier: Apache-2.0 */
/* reader.c - what a program under Linux can read of a PC's clocks. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/io.h>
#include <sys/klog.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "guest/probe/cpu.h"
#include "guest/reader.h"

const char reader_faces[] = "pmhtwoab";

static const uint64_t value_mask = (1ULL << 56) - 1;

/* HPET, in words of 32 bits: the period in fs, the main counter. */
enum { HPET_SIZE = 4096, HPET_PERIOD = 1, HPET_COUNTER = 0xf0 / 4 };

/* Up to where a FADT is read; the least one that has the PM timer's flags. */
enum { FADT_MAX = 512, FADT_LEAST = 116, FADT_LENGTH = 4 };

enum { HARMLESS_PORT = 0x61 }; /* reading it changes nothing */

enum { LOG_READ_ALL = 3, LOG_SIZE = 10 };

static int stay_on(uint32_t cpu)
{
	cpu_set_t one;

	CPU_ZERO(&one);
	CPU_SET(cpu, &one);
	return sched_setaffinity(0, sizeof(one), &one) < 0 ? -errno : 0;
}

int reader_go_to(struct reader *r, uint32_t cpu)
{
	int error = stay_on(cpu);

	if (!error)
		r->cpu = cpu;
	return error;
}

int reader_open(struct reader *ret_reader)
{
	struct reader *r = ret_reader;
	cpu_set_t all;

	memset(r, 0, sizeof(*r));
	r->get = vdso_find_clock_gettime();
	if (!r->get)
		r->get = clock_gettime;
	if (sched_getaffinity(0, sizeof(all), &all) < 0)
		return -errno;
	r->cpus = (uint32_t)CPU_COUNT(&all);
	while (!CPU_ISSET(r->first_cpu, &all))
		r->first_cpu++;
	probe_find_timing(&r->hello);
	return reader_go_to(r, r->first_cpu);
}

/* What a file holds, at most `size` bytes of it. */
static size_t read_file(const char *path, void *buf, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	size_t length = 0;
	ssize_t n;

	while (fd >= 0 && length < size && (n = read(fd, (char *)buf + length, size - length)) > 0)
		length += (size_t)n;
	if (fd >= 0)
		close(fd);
	return length;
}

uint32_t reader_khz_in_log(const char *log)
{
	static const char before[] = "tsc: Detected ";
	unsigned mhz = 0, khz = 0;

	/* Where the CPU's own frequency is another, the TSC's follows. */
	for (; (log = strstr(log, before)); log += strlen(before))
		if (sscanf(log + strlen(before), "%7u.%3u MHz", &mhz, &khz) != 2)
			mhz = khz = 0;
	return mhz * 1000 + khz;
}

/* A kernel that measured it would tell what it measured: that is no better than ours. */
static bool kernel_was_told(void)
{
	static char info[65536];
	size_t length = read_file("/proc/cpuinfo", info, sizeof(info) - 1);

	info[length] = '\0';
	return strstr(info, " tsc_known_freq");
}

static uint32_t khz_of_kernel(void)
{
	int size = kernel_was_told() ? klogctl(LOG_SIZE, NULL, 0) : -1, length;
	char *log = size > 0 ? malloc((size_t)size + 1) : NULL;
	uint32_t khz = 0;

	length = log ? klogctl(LOG_READ_ALL, log, size) : -1;
	if (length > 0) {
		log[length] = '\0';
		khz = reader_khz_in_log(log);
	}
	free(log);
	return khz;
}

static void open_hpet(struct reader *r)
{
	int fd = open("/dev/hpet", O_RDONLY | O_CLOEXEC);
	void *page = fd < 0 ? MAP_FAILED : mmap(NULL, HPET_SIZE, PROT_READ, MAP_SHARED, fd, 0);

	if (fd >= 0)
		close(fd);
	if (page == MAP_FAILED)
		return;
	r->hpet = page;
	r->hello.hpet_fs = r->hpet[HPET_PERIOD];
}

static void open_pm_timer(struct reader *r)
{
	uint8_t fadt[FADT_MAX];
	size_t length = read_file("/sys/firmware/acpi/tables/FACP", fadt, sizeof(fadt));

	if (length >= FADT_LEAST && probe_get32(fadt + FADT_LENGTH) <= length)
		probe_take_fadt(fadt, &r->tables);
}

static sigjmp_buf refused;

static void on_refusal(int number)
{
	(void)number;
	siglongjmp(refused, 1);
}

/* The kernel's consent is not all: an emulated CPU may refuse. */
static bool may_use_ports_here(void)
{
	const struct sigaction action = {.sa_handler = on_refusal};
	struct sigaction before;
	volatile bool may = false;

	if (sigaction(SIGSEGV, &action, &before) < 0)
		return false;
	if (sigsetjmp(refused, 1) == 0) {
		cpu_in8(HARMLESS_PORT);
		may = true;
	}
	sigaction(SIGSEGV, &before, NULL);
	return may;
}

static bool may_use_ports(const struct reader *r)
{
	bool may = iopl(3) == 0;

	for (uint32_t cpu = 0; cpu < CPU_SETSIZE && may; cpu++)
		may = stay_on(cpu) < 0 || may_use_ports_here();
	stay_on(r->cpu);
	return may;
}

void reader_open_chips(struct reader *r)
{
	if (!r->hello.tsc_khz)
		r->hello.tsc_khz = khz_of_kernel();
	open_hpet(r);
	r->ports = may_use_ports(r);
	if (!r->ports)
		return;
	open_pm_timer(r);
	probe_start_chips();
}

/* Lines being written, one after the other. */
struct text {
	char *buf;
	size_t size, length;
};

/* Adds a line with its checksum: BSD's, as serial.c has it. */
static void add_line(struct text *t, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void add_line(struct text *t, const char *format, ...)
{
	char line[160];
	unsigned sum = 0;
	va_list args;
	int n;

	va_start(args, format);
	vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	for (const char *c = line; *c; c++)
		sum = ((sum >> 1 | sum << 15) + (unsigned char)*c) & 0xffff;
	n = snprintf(t->buf + t->length, t->size - t->length, "%s *%x\n", line, sum);
	if (n > 0 && (size_t)n < t->size - t->length)
		t->length += (size_t)n;
	t->buf[t->length] = '\0';
}

size_t reader_say_hello(const struct reader *r, char *buf, size_t size)
{
	struct text t = {buf, size, 0};

	add_line(&t, "H %x %x %x %x 0 0 %x %x", PROBE_VERSION, r->cpus, r->hello.tsc_khz,
		 r->hello.bus_khz, r->tables.pm_bits, r->hello.hpet_fs);
	return t.length;
}

static void add_reading(struct text *t, char face, const struct probe_reading *r)
{
	add_line(t, "R %c %x %" PRIx64 " %" PRIx64 " %" PRIx64, face, cpu_id(1).b >> 24, r->before,
		 r->after - r->before, r->value);
}

static void read_clock(const struct reader *r, clockid_t clock, struct probe_reading *ret_reading)
{
	struct timespec now = {0};

	ret_reading->before = cpu_tsc();
	r->get(clock, &now);
	ret_reading->after = cpu_tsc();
	ret_reading->value =
		((uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec) & value_mask;
}

/* This CPU's count lies between two of the first's. */
static void read_tsc(const struct reader *r, struct probe_reading *ret_reading)
{
	const bool away = r->cpu != r->first_cpu;

	if (away)
		stay_on(r->first_cpu);
	ret_reading->before = cpu_tsc();
	if (away)
		stay_on(r->cpu);
	ret_reading->value = cpu_tsc();
	if (away)
		stay_on(r->first_cpu);
	ret_reading->after = cpu_tsc();
	if (away)
		stay_on(r->cpu);
}

static void read_hpet(const struct reader *r, struct probe_reading *ret_reading)
{
	ret_reading->before = cpu_tsc();
	ret_reading->value = r->hpet[HPET_COUNTER];
	ret_reading->after = cpu_tsc();
}

static void read_once(const struct reader *r, char face, struct probe_reading *ret_reading)
{
	static const struct {
		char face;
		clockid_t clock;
	} clocks[] = {{'w', CLOCK_REALTIME},
		      {'o', CLOCK_MONOTONIC},
		      {'a', CLOCK_MONOTONIC_RAW},
		      {'b', CLOCK_BOOTTIME}};

	for (size_t i = 0; i < sizeof(clocks) / sizeof(clocks[0]); i++)
		if (clocks[i].face == face)
			read_clock(r, clocks[i].clock, ret_reading);
	if (face == 't')
		read_tsc(r, ret_reading);
	else if (face == 'h')
		read_hpet(r, ret_reading);
	else if (face == 'p' || face == 'm')
		probe_read_chip(face, &r->tables, ret_reading);
}

static bool is_there(const struct reader *r, char face)
{
	switch (face) {
	case 'p':
		return r->ports;
	case 'm':
		return r->tables.pm_bits;
	case 'h':
		return r->hello.hpet_fs;
	default:
		return true;
	}
}

size_t reader_read(struct reader *r, char face, char *buf, size_t size)
{
	struct probe_reading readings[PROBE_BURST];
	struct text t = {buf, size, 0};

	if (!is_there(r, face))
		return 0;
	for (int i = 0; i < PROBE_BURST; i++)
		read_once(r, face, &readings[i]);
	for (int i = 0; i < PROBE_BURST; i++)
		add_reading(&t, face, &readings[i]);
	return t.length;
}

bool reader_rtc_is_near(const struct reader *r)
{
	return r->ports && probe_rtc_is_near();
}

size_t reader_wait_for_rtc(struct reader *r, char *buf, size_t size)
{
	struct text t = {buf, size, 0};
	struct probe_reading reading;

	if (r->ports && probe_wait_for_rtc(&reading))
		add_reading(&t, 'r', &reading);
	return t.length;
}
