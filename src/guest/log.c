/* SPDX-License-Identifier: Apache-2.0 */
/* log.c - what in a kernel's log says that its time or one of its CPUs went wrong. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "guest/log.h"

const char *log_text(const char *line)
{
	const char *end = *line == '[' ? strstr(line, "] ") : NULL;

	if (end && strspn(line + 1, " 0123456789.") == (size_t)(end - line - 1))
		line = end + 2;
	if (strncmp(line, LOG_REPEATED, strlen(LOG_REPEATED)) == 0)
		line += strlen(LOG_REPEATED);
	return line;
}

/* How such lines begin; what comes in the middle of others may mean less ("Spectre V2 : WARNING: ",
 * on a host without some mitigation). */
static const char *const beginnings[] = {
	"WARNING: ",
	"BUG: ",
	"kernel BUG at ",
	"watchdog: BUG: ",
	"Oops: ",
	"general protection fault",
	"unchecked MSR access error",
	"INFO: rcu",
	"rcu: INFO: rcu",
	"INFO: task ",
	"tsc: Marking TSC unstable",
	"Marking TSC unstable",
};

static const char *const harmless[] = {
	"Marking TSC unstable due to TSCs unsynchronized",
	"fpu__init_system_xstate", /* QEMU hands on what an emulated CPU says of its XSAVE area */
};

/* Whatever an x86 kernel dies of ends in ": ERROR [#COUNT]", the error in four digits. */
static bool is_death(const char *text)
{
	const char *mark = strstr(text, " [#");

	return mark && mark - text >= 6 && memcmp(mark - 6, ": ", 2) == 0 &&
	       strspn(mark - 4, "0123456789abcdef") == 4;
}

/* By the clock sources' watchdog: its CPU's number comes first, and how far off it is. */
static bool is_given_up(const char *text)
{
	return strstr(text, "Marking clocksource ") ||
	       (strstr(text, "excessive read-back delay") && strstr(text, ", marking "));
}

bool log_is_alarm(const char *line)
{
	const char *text = log_text(line);

	for (size_t i = 0; i < sizeof(harmless) / sizeof(harmless[0]); i++)
		if (strstr(text, harmless[i]))
			return false;
	for (size_t i = 0; i < sizeof(beginnings) / sizeof(beginnings[0]); i++)
		if (strncmp(text, beginnings[i], strlen(beginnings[i])) == 0)
			return true;
	return is_death(text) || is_given_up(text);
}

int log_open(void)
{
	int fd = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

/* "PRIORITY,SEQUENCE,US,FLAGS;TEXT\n", then lines with more of it; a priority from 8 on is a
 * program's. */
static const char *text_of(char *record)
{
	char *text = strchr(record, ';');

	if (!text || strtoul(record, NULL, 10) >= 8)
		return "";
	record[strcspn(record, "\n")] = '\0';
	return text + 1;
}

bool log_next_alarm(int fd, char *buf, size_t size)
{
	char record[8192]; /* more than any; one that does not fit cannot be read */
	ssize_t length;

	for (;;) {
		length = read(fd, record, sizeof(record) - 1);
		if (length < 0 && errno == EPIPE)
			continue; /* overwritten before it was read: the next is there */
		if (length <= 0)
			return false;
		record[length] = '\0';
		if (!log_is_alarm(text_of(record)))
			continue;
		snprintf(buf, size, "%s", text_of(record));
		return true;
	}
}
