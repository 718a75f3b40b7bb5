/* SPDX-License-Identifier: Apache-2.0 */
/* files.c - where the command finds what belongs to it. */
#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cmd/files.h"

__attribute__((format(printf, 3, 4))) static int put(char *buf, size_t size, const char *format,
						     ...)
{
	va_list args;
	int length;

	va_start(args, format);
	length = vsnprintf(buf, size, format, args);
	va_end(args);
	return length < 0 || (size_t)length >= size ? -ENAMETOOLONG : 0;
}

int files_self(char *buf, size_t size)
{
	ssize_t length = readlink("/proc/self/exe", buf, size);

	if (length < 0)
		return -errno;
	if ((size_t)length >= size)
		return -ENAMETOOLONG;
	buf[length] = '\0';
	return 0;
}

int files_data(const char *name, char *buf, size_t size)
{
	static const char *const places[] = {"", "/../lib/vmtime"};
	char self[PATH_MAX], *slash;
	int error = files_self(self, sizeof(self));

	if (error)
		return error;
	slash = strrchr(self, '/');
	if (!slash)
		return -ENOENT;
	*slash = '\0';
	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		error = put(buf, size, "%s%s/%s", self, places[i], name);
		if (error || access(buf, R_OK) == 0)
			return error;
	}
	return -ENOENT;
}

int files_kernel_folder(const char *which, char *buf, size_t size)
{
	const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
	char path[PATH_MAX], real[PATH_MAX];
	int error;

	if (cache && cache[0] == '/') /* a relative one is to be ignored, says XDG */
		error = put(path, sizeof(path), "%s/vmtime/%s", cache, which);
	else if (home && home[0])
		error = put(path, sizeof(path), "%s/.cache/vmtime/%s", home, which);
	else
		return -ENOENT;
	if (error)
		return error;
	if (!realpath(path, real))
		return -ENOENT;
	return put(buf, size, "%s", real);
}

static int kernel_image(const char *which, const char *image, char *buf, size_t size)
{
	char folder[PATH_MAX], path[PATH_MAX];
	int error = files_kernel_folder(which, folder, sizeof(folder));

	if (!error)
		error = put(path, sizeof(path), "%s/boot/%s-%s", folder, image,
			    strrchr(folder, '/') + 1);
	if (!error && access(path, R_OK) < 0)
		error = -ENOENT;
	return error ? error : put(buf, size, "%s", path);
}

int files_kernel(const char *which, char *buf, size_t size)
{
	return kernel_image(which, "vmlinuz", buf, size);
}

int files_kernel_unpacked(const char *which, char *buf, size_t size)
{
	return kernel_image(which, "vmlinux", buf, size);
}
