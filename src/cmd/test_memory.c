/* SPDX-License-Identifier: Apache-2.0 */
/* test_memory.c - a root in memory, for a test that suspends the lab, and its report. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "cmd/cmd.h"
#include "cmd/files.h"
#include "cmd/test_memory.h"

enum { CHUNK = 1 << 20 };

/* linux/magic.h */
#define TMPFS 0x01021994

static const char *const bound[] = {"/dev", "/proc", "/sys"};

/* QEMU's own files, and those of its firmware. */
static const char *const qemu_folders[] = {"/usr/share/qemu", "/usr/share/seabios"};

/* The new root, and what went wrong in it first. */
struct memory {
	char root[PATH_MAX];
	char what[PATH_MAX];
	int error;
};

static void fail(struct memory *m, const char *what)
{
	if (m->error)
		return;
	m->error = errno ? errno : EIO;
	snprintf(m->what, sizeof(m->what), "%s", what);
}

/* Where `path` is in the new root; its folders exist afterwards. */
static void place(struct memory *m, const char *path, char *ret_to, size_t size)
{
	if ((size_t)snprintf(ret_to, size, "%s%s", m->root, path) >= size) {
		errno = ENAMETOOLONG;
		fail(m, path);
		return;
	}
	for (char *at = ret_to + strlen(m->root) + 1; (at = strchr(at, '/')); at++) {
		*at = '\0';
		if (mkdir(ret_to, 0755) < 0 && errno != EEXIST)
			fail(m, path);
		*at = '/';
	}
}

static void copy(struct memory *m, const char *path)
{
	char to[PATH_MAX];
	struct stat status = {0};
	int source, target;
	ssize_t n = 1;

	if (m->error)
		return;
	place(m, path, to, sizeof(to));
	source = open(path, O_RDONLY | O_CLOEXEC);
	target = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0755);
	if (source < 0 || target < 0 || fstat(source, &status) < 0)
		fail(m, path);
	while (!m->error && n > 0)
		n = sendfile(target, source, NULL, CHUNK);
	if (n < 0)
		fail(m, path);
	if (source >= 0)
		close(source);
	if (target >= 0)
		close(target);
}

/* Those of its files that are none of a folder's. */
static void copy_folder(struct memory *m, const char *path)
{
	DIR *folder = opendir(path);
	struct dirent *entry;

	while (folder && (entry = readdir(folder))) {
		char name[PATH_MAX];
		struct stat status;

		if ((size_t)snprintf(name, sizeof(name), "%s/%s", path, entry->d_name) <
			    sizeof(name) &&
		    stat(name, &status) == 0 && S_ISREG(status.st_mode))
			copy(m, name);
	}
	if (folder)
		closedir(folder);
}

/* A program and its libraries, as its loader tells them: "NAME => PATH (ADDRESS)", or "PATH
 * (ADDRESS)". */
static void copy_program(struct memory *m, const char *path)
{
	char command[PATH_MAX + 64], line[PATH_MAX];
	FILE *list;

	copy(m, path);
	snprintf(command, sizeof(command), "LD_TRACE_LOADED_OBJECTS=1 exec '%s'", path);
	list = popen(command, "r");
	if (!list)
		fail(m, path);
	while (list && fgets(line, sizeof(line), list)) {
		char *at = strchr(line, '/');

		if (!at)
			continue;
		at[strcspn(at, " \n")] = '\0';
		copy(m, at);
	}
	if (list && pclose(list) != 0)
		fail(m, path);
}

/* As execvp() finds it. */
static void copy_named(struct memory *m, const char *name)
{
	const char *path = getenv("PATH");
	char file[PATH_MAX], *list, *save = NULL;

	if (strchr(name, '/')) {
		copy_program(m, name);
		return;
	}
	list = strdup(path ? path : "/usr/bin:/bin");
	for (char *at = list ? strtok_r(list, ":", &save) : NULL; at;
	     at = strtok_r(NULL, ":", &save)) {
		snprintf(file, sizeof(file), "%s/%s", at, name);
		if (access(file, X_OK) == 0) {
			copy_program(m, file);
			break;
		}
	}
	free(list); /* one that is not there is told of by who runs it */
}

static void gather(struct memory *m, const struct test_options *o, const struct test_images *images)
{
	const char *const files[] = {images->kernel, images->initrd, images->probe};
	char self[PATH_MAX], data[PATH_MAX];

	for (unsigned i = 0; i < sizeof(files) / sizeof(files[0]); i++)
		if (files[i] && files[i][0])
			copy(m, files[i]);
	if (files_self(self, sizeof(self)) == 0)
		copy_program(m, self);
	if (files_data("observer.cpio", data, sizeof(data)) == 0)
		copy(m, data);
	for (unsigned i = 0; i < o->subject_count; i++) {
		if (o->subjects[i] != TEST_QEMU)
			continue;
		copy_named(m, o->qemu ? o->qemu : "qemu-system-x86_64");
		for (unsigned j = 0; j < sizeof(qemu_folders) / sizeof(qemu_folders[0]); j++)
			copy_folder(m, qemu_folders[j]);
	}
	copy_named(m, "sh"); /* whose libraries popen() needs no more, and system() may */
}

/* The file systems of the kernel's are the same in both. */
static void bind(struct memory *m)
{
	char to[PATH_MAX];

	for (unsigned i = 0; i < sizeof(bound) / sizeof(bound[0]) && !m->error; i++) {
		place(m, bound[i], to, sizeof(to));
		if ((mkdir(to, 0755) < 0 && errno != EEXIST) ||
		    mount(bound[i], to, NULL, MS_BIND | MS_REC, NULL) < 0)
			fail(m, bound[i]);
	}
	place(m, "/tmp/", to, sizeof(to));
	place(m, "/run/", to, sizeof(to));
}

static bool in_memory(void)
{
	struct statfs status;

	return statfs("/", &status) == 0 && status.f_type == TMPFS;
}

static int refuse(const struct memory *m, const char *what)
{
	return cmd_error("test", CMD_CANNOT, "cannot copy what is tested into memory: %s: %s", what,
			 strerror(m->error ? m->error : errno));
}

int test_memory_run(const struct test_options *o, const struct test_images *images, int argc,
		    char **argv)
{
	struct memory m = {.root = "/run/vmtime-test.XXXXXX"};
	char self[PATH_MAX], **again;

	if (in_memory())
		return CMD_OK;
	if (!mkdtemp(m.root) || mount("tmpfs", m.root, "tmpfs", 0, "mode=755") < 0)
		return refuse(&m, m.root);
	gather(&m, o, images);
	bind(&m);
	again = calloc((size_t)argc + 4, sizeof(*again));
	if (m.error || !again || files_self(self, sizeof(self)) < 0)
		return refuse(&m, m.error ? m.what : "this command");
	again[0] = self;
	again[1] = argv[0];
	again[2] = "--kernel"; /* one that was given comes later, and counts */
	again[3] = (char *)(uintptr_t)images->kernel;
	memcpy(again + 4, argv + 1, (size_t)(argc - 1) * sizeof(*again));
	if (chroot(m.root) == 0 && chdir("/") == 0)
		execv(self, again);
	return refuse(&m, self);
}

/* 0 or negative errno; one that has nothing in it leaves the file alone. */
static int save(int report, const char *path)
{
	off_t from = 0;
	struct stat status;
	int file, error = 0;

	if (fstat(report, &status) < 0)
		return -errno;
	if (status.st_size == 0)
		return 0;
	file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	if (file < 0)
		return -errno;
	while (!error && from < status.st_size)
		if (sendfile(file, report, &from, CHUNK) <= 0)
			error = errno ? -errno : -EIO;
	if (close(file) < 0 && !error)
		error = -errno;
	return error;
}

/* The command line with a --json behind its own, which counts. */
static char **with_json(const struct test_options *o, int argc, char **argv)
{
	char **again = calloc((size_t)argc + 2, sizeof(*again));
	size_t at = (size_t)(o->run_options - argv), to = 0;

	if (at > 1 && strcmp(argv[at - 1], "--") == 0)
		at--;
	for (size_t i = 0; again && i <= (size_t)argc; i++) {
		if (i == at)
			again[to++] = "--json";
		again[to++] = argv[i];
	}
	return again;
}

int test_memory_report(const struct test_options *o, int argc, char **argv,
		       const struct where_needs *needs)
{
	char **again = with_json(o, argc, argv);
	int report = memfd_create("report", MFD_CLOEXEC);
	int out = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 0);
	int status, error = 0;

	if (again && report >= 0 && out >= 0 && dup2(report, STDOUT_FILENO) >= 0) {
		status = where_run(argc + 1, again, needs);
		(void)dup2(out, STDOUT_FILENO);
		if (status != WHERE_HERE)
			error = save(report, o->json_file);
	} else {
		status = cmd_error("test", CMD_CANNOT, "cannot keep the JSON in memory: %s",
				   strerror(errno));
	}
	if (error)
		status = cmd_error("test", CMD_CANNOT, "cannot write the JSON to %s: %s",
				   o->json_file, strerror(-error));
	if (report >= 0)
		close(report);
	if (out >= 0)
		close(out);
	free(again);
	return status;
}
