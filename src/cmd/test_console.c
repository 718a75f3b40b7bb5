/* SPDX-License-Identifier: Apache-2.0 */
/* test_console.c - what the guest and its VMM said: a panic, an alarm, the last words. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cmd/test_subject.h"
#include "guest/log.h"

static const char panic[] = "Kernel panic";

bool test_machine_panicked(struct test_machine *m)
{
	const size_t overlap = sizeof(panic) - 2;
	int fd = open(m->console, O_RDONLY | O_CLOEXEC);
	char text[4096], *at;
	bool found = false;
	ssize_t n;

	while (fd >= 0 && !found &&
	       (n = pread(fd, text, sizeof(text), m->console_seen)) > (ssize_t)overlap) {
		at = memmem(text, (size_t)n, panic, sizeof(panic) - 1);
		found = at && memchr(at, '\n', (size_t)(text + n - at));
		if (at) { /* the rest of its line is still to come, or to be read */
			if (at == text)
				break;
			m->console_seen += at - text;
		} else {
			m->console_seen += n - (ssize_t)overlap;
		}
	}
	if (fd >= 0)
		close(fd);
	return found;
}

/* The line of a file that says most about the end, of at most its last 4 KiB: a panic, else the
 * last one that is more than a farewell. */
static void last_line(const char *path, char *buf, size_t size)
{
	char text[4097];
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t length = 0;
	char *line, *save = NULL;

	buf[0] = '\0';
	if (fd < 0)
		return;
	if (lseek(fd, -(off_t)(sizeof(text) - 1), SEEK_END) < 0)
		lseek(fd, 0, SEEK_SET);
	length = read(fd, text, sizeof(text) - 1);
	close(fd);
	text[length > 0 ? length : 0] = '\0';
	for (line = strtok_r(text, "\r\n", &save); line; line = strtok_r(NULL, "\r\n", &save)) {
		if (strspn(line, " \t") == strlen(line) || strstr(line, "reboot: "))
			continue; /* the kernel's farewell says nothing about why */
		snprintf(buf, size, "%s", line);
		if (strstr(line, panic))
			break;
	}
}

void test_machine_last_words(const struct test_machine *m, char *buf, size_t size)
{
	last_line(m->console, buf, size);
	if (!strstr(buf, panic))
		last_line(m->errors, buf, size);
	if (!buf[0])
		last_line(m->console, buf, size);
	for (char *c = buf; *c; c++)
		if ((unsigned char)*c < ' ' || *c == 0x7f)
			*c = ' ';
}

bool test_machine_alarmed(const struct test_machine *m, char *buf, size_t size)
{
	FILE *file = fopen(m->console, "re");
	size_t room = 0;
	char *line = NULL;
	bool found = false;

	while (file && !found && getline(&line, &room, file) > 0) {
		line[strcspn(line, "\r\n")] = '\0';
		found = log_is_alarm(line);
	}
	if (found)
		snprintf(buf, size, "%s", log_text(line));
	for (char *c = buf; found && *c; c++)
		if ((unsigned char)*c < ' ' || *c == 0x7f)
			*c = ' ';
	free(line);
	if (file)
		fclose(file);
	return found;
}
