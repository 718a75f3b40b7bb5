/* SPDX-License-Identifier: Apache-2.0 */
/* machine_test.c - what can be found wrong with a machine before there is one. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kvm/machine.h"
#include "kvm/memory.h"

struct fixture {
	char dir[64], path[96];
	const char *files[2];
	struct machine_config config;
};

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	strcpy(f->dir, "/tmp/machine-test-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	snprintf(f->path, sizeof(f->path), "%s/image", f->dir);
	f->config = (struct machine_config){
		.cpus = 1,
		.memory_bytes = 64 << 20,
		.kernel = f->path,
		.initrds = f->files,
		.append = "",
		.tsc_hint = true,
	};
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	unlink(f->path);
	assert_int_equal(rmdir(f->dir), 0);
	free(f);
	return 0;
}

/* A flat Multiboot 1 image whose only instruction is HLT. */
static void write_image(const struct fixture *f)
{
	const uint32_t magic = 0x1badb002, flags = 0x10000, load = 0x100000;
	const uint32_t header[] = {magic, flags, 0 - magic - flags, load,      load,
				   0,     0,     load + 32,         0xf4f4f4f4};
	int fd = open(f->path, O_WRONLY | O_CREAT, 0600);

	assert_int_equal(write(fd, header, sizeof(header)), sizeof(header));
	close(fd);
}

static void refuses(struct fixture *f, int error, const char *word)
{
	struct why why = {{0}};

	assert_int_equal(machine_check(&f->config, &why), error);
	assert_non_null(strstr(why.text, word));
}

static void a_good_image_passes(void **state)
{
	struct fixture *f = *state;

	write_image(f);
	assert_int_equal(machine_check(&f->config, NULL), 0);
	f->files[0] = f->path; /* a module may be anything */
	assert_int_equal(machine_check(&f->config, NULL), 0);
}

static void what_is_missing_or_no_image_is_named(void **state)
{
	struct fixture *f = *state;

	refuses(f, -ENOENT, f->path);
	close(open(f->path, O_WRONLY | O_CREAT, 0600));
	refuses(f, -EINVAL, "empty");
	unlink(f->path);
	write_image(f);
	f->files[0] = "/nowhere/module";
	refuses(f, -ENOENT, "/nowhere/module");
	f->files[0] = NULL;
	f->config.kernel = f->dir;
	refuses(f, -EINVAL, "not a regular file");
}

static void a_fifo_is_not_waited_for(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(mkfifo(f->path, 0600), 0);
	alarm(20);
	refuses(f, -EINVAL, "not a regular file");
	alarm(0);
}

static void absurd_memory_is_refused_with_the_limit(void **state)
{
	struct fixture *f = *state;

	write_image(f);
	f->config.memory_bytes = 9ULL << 40;
	refuses(f, -EINVAL, "at most");
	f->config.memory_bytes = UINT64_MAX & ~(MEMORY_PAGE - 1);
	refuses(f, -EINVAL, "at most");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_good_image_passes),
		TEST(what_is_missing_or_no_image_is_named),
		TEST(a_fifo_is_not_waited_for),
		TEST(absurd_memory_is_refused_with_the_limit),
	};

	return cmocka_run_group_tests_name("machine", tests, NULL, NULL);
}
