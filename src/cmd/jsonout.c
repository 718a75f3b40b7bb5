/* SPDX-License-Identifier: Apache-2.0 */
/* jsonout.c - where the JSON of a verb goes. */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cmd/jsonout.h"

void jsonout_put(json_t **object, const char *name, json_t *value)
{
	if (!*object) {
		json_decref(value);
	} else if (json_object_set_new(*object, name, value) < 0) {
		json_decref(*object);
		*object = NULL;
	}
}

void jsonout_append(json_t **array, json_t *value)
{
	if (!*array) {
		json_decref(value);
	} else if (json_array_append_new(*array, value) < 0) {
		json_decref(*array);
		*array = NULL;
	}
}

/* Devices are written to as they are. */
static int write_file(const char *path, const char *text)
{
	char temporary[4096];
	struct stat status;
	const bool replace = stat(path, &status) < 0 || S_ISREG(status.st_mode);
	FILE *file;
	int error = 0;

	if (replace)
		snprintf(temporary, sizeof(temporary), "%s.%d.tmp", path, (int)getpid());
	else
		snprintf(temporary, sizeof(temporary), "%s", path);
	file = fopen(temporary, "we");
	if (!file)
		return -errno;
	if (fputs(text, file) < 0 || fputc('\n', file) < 0)
		error = -errno;
	if (fclose(file) != 0 && !error)
		error = -errno;
	if (!error && replace && rename(temporary, path) < 0)
		error = -errno;
	if (error && replace)
		unlink(temporary);
	return error;
}

int jsonout_print(json_t *root, const char *file)
{
	char *text = root ? json_dumps(root, JSON_INDENT(2)) : NULL;
	int error = 0;

	if (!text)
		error = -ENOMEM;
	else if (file)
		error = write_file(file, text);
	else if (puts(text) < 0 || fflush(stdout) < 0)
		error = -errno;
	free(text);
	json_decref(root);
	return error;
}
