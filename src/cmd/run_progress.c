/* SPDX-License-Identifier: Apache-2.0 */
/* run_progress.c - how far a machine that comes or goes has got, for people. */
#include "cmd/run_progress.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "cmd/cmd.h"

enum { AMOUNT = 32, TEN = 10, BYTES_PER_MB = 1000000 };

/* "4.1 MiB", "312 MiB". */
static const char *amount(uint64_t bytes, char buf[AMOUNT])
{
	const double mib = (double)bytes / (1 << 20);

	snprintf(buf, AMOUNT, mib < TEN ? "%.1f MiB" : "%.0f MiB", mib);
	return buf;
}

static const char *duration(uint64_t ns, char buf[AMOUNT])
{
	cmd_format_ns(buf, AMOUNT, ns < INT64_MAX ? (int64_t)ns : INT64_MAX, false);
	return buf;
}

void run_progress_going(const struct migrate_stats *s, char text[RUN_PROGRESS_SIZE])
{
	char sent[AMOUNT], left[AMOUNT], time[AMOUNT];
	int n = snprintf(text, RUN_PROGRESS_SIZE, "round %" PRIu32 ", %s sent, %s left", s->rounds,
			 amount(s->transferred_bytes, sent), amount(s->remaining_bytes, left));

	if (s->bytes_s)
		n += snprintf(text + n, RUN_PROGRESS_SIZE - (size_t)n, ", %" PRIu64 " MB/s",
			      s->bytes_s / BYTES_PER_MB);
	if (s->expected_downtime_ns)
		snprintf(text + n, RUN_PROGRESS_SIZE - (size_t)n, ", %s of downtime expected",
			 duration(s->expected_downtime_ns, time));
}

void run_progress_gone(const struct migrate_stats *s, char text[RUN_PROGRESS_SIZE])
{
	char sent[AMOUNT], time[AMOUNT], down[AMOUNT];

	snprintf(text, RUN_PROGRESS_SIZE, "%s in %s, it stood still for %s",
		 amount(s->transferred_bytes, sent), duration(s->total_ns, time),
		 duration(s->downtime_ns, down));
}

void run_progress_coming(const struct migrate_target_stats *s, char text[RUN_PROGRESS_SIZE])
{
	char come[AMOUNT], left[AMOUNT];
	int n = snprintf(text, RUN_PROGRESS_SIZE, "round %" PRIu32 ", %s have come", s->rounds,
			 amount(s->come_bytes, come));

	if (s->remaining_bytes != UINT64_MAX)
		snprintf(text + n, RUN_PROGRESS_SIZE - (size_t)n, ", %s left",
			 amount(s->remaining_bytes, left));
}

/* Of UTF-8 no part of a character is left, and it may be fewer than fit. */
static int fits(const char *text, int columns)
{
	int n = (int)strnlen(text, (size_t)columns);

	while (n > 0 && (text[n] & 0xc0) == 0x80)
		n--;
	return n;
}

void run_progress_show(const char *text)
{
	struct winsize size;
	int columns = 80;

	if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 1)
		columns = size.ws_col;
	fprintf(stderr, "\r\033[K%.*s", fits(text, columns - 1), text);
	fflush(stderr);
}

void run_progress_clear(void)
{
	fputs("\r\033[K", stderr);
}
