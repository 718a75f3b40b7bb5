/* SPDX-License-Identifier: Apache-2.0 */
/* migrate_init.c - process 1 of a guest that is moved, with memory that it can check.
 *
 * FIXED_PAGES are written once; of others, pages_set, pages_s are written anew each second (both in
 * the environment, which is where Linux puts what is said on its command line).  A page's words
 * follow from its number and how often it was written, so that one which was lost, or is older than
 * it may be, shows.  A byte from the console asks for the check, whose result is one line. */
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

enum { WORDS = 4096 / 8, FIXED_PAGES = 4096, TURN_MS = 10 };

struct pages {
	uint64_t (*words)[WORDS];
	uint32_t *times; /* that each was written */
	uint64_t count, written, next;
};

/* Bits that no compressor makes anything of (splitmix64's mixing). */
static uint64_t mix(uint64_t x)
{
	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
	x = (x ^ x >> 27) * 0x94d049bb133111eb;
	return x ^ x >> 31;
}

/* What the first word of a page is; the others count on from it, a quarter of them: the rest is
 * alike in all, as memory is. */
static uint64_t seed(uint64_t page, uint32_t times)
{
	return mix(page << 32 | times);
}

static uint64_t word(uint64_t seed, unsigned i)
{
	return i % 4 ? i : mix(seed + i);
}

static void write_page(struct pages *p)
{
	uint64_t page = p->next, s = seed(page, ++p->times[page]);

	for (unsigned i = 0; i < WORDS; i++)
		p->words[page][i] = word(s, i);
	p->next = (page + 1) % p->count;
	p->written++;
}

static void make(struct pages *p, uint64_t count)
{
	const size_t size = count * sizeof(*p->words), times = count * sizeof(*p->times);

	*p = (struct pages){.count = count};
	if (!count)
		return;
	p->words = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	p->times = mmap(NULL, times, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (p->words == MAP_FAILED || p->times == MAP_FAILED) {
		printf("no memory for %ju pages\n", (uintmax_t)count);
		exit(1);
	}
	while (p->written < count)
		write_page(p);
}

/* A sum of all, or false with the page that is wrong. */
static bool check(const struct pages *p, uint64_t *sum)
{
	for (uint64_t page = 0; page < p->count; page++) {
		uint64_t s = seed(page, p->times[page]);

		for (unsigned i = 0; i < WORDS; i++) {
			if (p->words[page][i] != word(s, i)) {
				printf("memory is wrong: page %ju, word %u\n", (uintmax_t)page, i);
				return false;
			}
			*sum = mix(*sum + p->words[page][i]);
		}
	}
	return true;
}

static uint64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static uint64_t from_environment(const char *name)
{
	const char *text = getenv(name);

	return text ? strtoull(text, NULL, 10) : 0;
}

static void open_console(void)
{
	int console = open("/dev/console", O_RDWR);
	struct termios raw;

	if (console >= 0) {
		dup2(console, STDIN_FILENO);
		dup2(console, STDOUT_FILENO);
	}
	if (tcgetattr(STDIN_FILENO, &raw) == 0) {
		cfmakeraw(&raw);
		tcsetattr(STDIN_FILENO, TCSANOW, &raw);
	}
	setvbuf(stdout, NULL, _IOLBF, 256);
}

/* As many pages as are due; what was missed while nothing ran is not made up for. */
static void write_due(struct pages *p, uint64_t pages_s, uint64_t *last_ms)
{
	uint64_t now = now_ms(), passed = now - *last_ms;

	if (passed > 10 * TURN_MS)
		passed = 10 * TURN_MS;
	*last_ms = now;
	for (uint64_t due = passed * pages_s / 1000; due > 0; due--)
		write_page(p);
}

int main(void)
{
	struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
	struct pages fixed, changing;
	uint64_t pages_s, last_ms;
	char byte;

	open_console();
	pages_s = from_environment("pages_s");
	make(&fixed, FIXED_PAGES);
	make(&changing, pages_s ? from_environment("pages_set") : 0);
	last_ms = now_ms();
	printf("process 1 runs\n");
	for (;;) {
		if (poll(&input, 1, changing.count ? TURN_MS : -1) > 0 &&
		    read(STDIN_FILENO, &byte, 1) == 1) {
			uint64_t fixed_sum = 0, sum = 0;

			if (check(&fixed, &fixed_sum) && check(&changing, &sum))
				printf("memory is right: %016jx, %ju pages written\n",
				       (uintmax_t)fixed_sum, (uintmax_t)changing.written);
		}
		if (changing.count)
			write_due(&changing, pages_s, &last_ms);
	}
}
