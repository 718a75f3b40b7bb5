/* SPDX-License-Identifier: Apache-2.0 */
/* folder.h - a folder of a test's own, and what is in it. */
#ifndef TESTS_FOLDER_H
#define TESTS_FOLDER_H

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct folder {
	char path[64], file[80], partial[96];
};

static inline struct folder folder_new(void)
{
	struct folder f = {.path = "/tmp/vmtime-test-XXXXXX"};

	if (!mkdtemp(f.path))
		abort();
	snprintf(f.file, sizeof(f.file), "%s/a.vmt", f.path);
	snprintf(f.partial, sizeof(f.partial), "%s.partial", f.file);
	return f;
}

static inline void folder_write(const char *path, const char *text)
{
	FILE *file = fopen(path, "wb");

	if (!file || fputs(text, file) < 0 || fclose(file))
		abort();
}

/* Whether a file holds just that text. */
static inline int folder_holds(const char *path, const char *text)
{
	char found[64] = "";
	FILE *file = fopen(path, "rb");
	size_t length = file ? fread(found, 1, sizeof(found), file) : 0;

	if (file)
		fclose(file);
	return file && length == strlen(text) && memcmp(found, text, length) == 0;
}

static inline int folder_count(const struct folder *f)
{
	DIR *dir = opendir(f->path);
	struct dirent *entry;
	int n = 0;

	if (!dir)
		abort();
	while ((entry = readdir(dir)))
		n += entry->d_name[0] != '.';
	closedir(dir);
	return n;
}

static inline void folder_remove(const struct folder *f)
{
	(void)unlink(f->file);
	(void)unlink(f->partial);
	if (rmdir(f->path))
		abort();
}

#endif
