/* SPDX-License-Identifier: Apache-2.0 */
/* where_test.c - which machine a verb runs on, and what the lab is lent for it. */
#include <errno.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "cmd/cmd.h"
#include "cmd/lab.h"
#include "cmd/where.h"
#include "kvm/probe.h"

/* This machine's KVM and the lab, as each test wants them. */
static bool kvm_works;
static unsigned lab_runs;
static struct lab_options lab_options;
static char lab_shares[LAB_SHARES_MAX][PATH_MAX];
static char lab_command[8][PATH_MAX];

static char folder[PATH_MAX]; /* its own, empty, and the working directory */

int probe_tsc(enum probe_tsc_class *ret_class, struct why *why)
{
	*ret_class = PROBE_TSC_OFFSET;
	return kvm_works ? 0 : why_set(why, -ENODEV, "no /dev/kvm");
}

int lab_run(const char *verb, const struct lab_options *options, char *const *argv)
{
	unsigned i;

	assert_string_equal(verb, "test");
	lab_runs++;
	lab_options = *options;
	for (i = 0; i < options->n_shares; i++)
		snprintf(lab_shares[i], PATH_MAX, "%s", options->shares[i]);
	for (i = 0; argv[i]; i++)
		snprintf(lab_command[i], PATH_MAX, "%s", argv[i]);
	lab_command[i][0] = '\0';
	return 41;
}

static int run(const char *const *written, uint64_t memory)
{
	char verb[] = "test", option[] = "--limit", value[] = "boot=1s";
	char *argv[] = {verb, option, value, NULL};
	const struct where_needs needs = {.written = written, .memory = memory};

	return where_run(3, argv, &needs);
}

static int run_with_socket(const char *path)
{
	char verb[] = "test";
	char *argv[] = {verb, NULL};
	const char *const sockets[] = {path, NULL};
	const struct where_needs needs = {.sockets = sockets};

	return where_run(1, argv, &needs);
}

static int listen_at(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	strcpy(address.sun_path, path);
	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (const struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(fd, 1), 0);
	return fd;
}

static int set_up(void **state)
{
	char *real;

	(void)state;
	kvm_works = false;
	lab_runs = 0;
	unsetenv(LAB_VARIABLE);
	strcpy(folder, "/tmp/where_test.XXXXXX");
	if (!mkdtemp(folder))
		return -1;
	real = realpath(folder, NULL);
	snprintf(folder, sizeof(folder), "%s", real);
	free(real);
	return chdir(folder) < 0 || mkdir("results", 0700) < 0 ? -1 : 0;
}

static int tear_down(void **state)
{
	(void)state;
	return rmdir("results") < 0 || chdir("/") < 0 || rmdir(folder) < 0 ? -1 : 0;
}

static void a_working_kvm_needs_no_lab(void **state)
{
	(void)state;
	kvm_works = true;
	assert_int_equal(run(NULL, 0), WHERE_HERE);
	assert_int_equal(lab_runs, 0);
}

static void the_lab_gets_the_same_command_line(void **state)
{
	char self[PATH_MAX] = "";

	(void)state;
	assert_true(readlink("/proc/self/exe", self, sizeof(self) - 1) > 0);
	assert_int_equal(run(NULL, 0), 41);
	assert_int_equal(lab_runs, 1);
	assert_string_equal(lab_command[0], self);
	assert_string_equal(lab_command[1], "test");
	assert_string_equal(lab_command[2], "--limit");
	assert_string_equal(lab_command[3], "boot=1s");
	assert_string_equal(lab_command[4], "");
	assert_int_equal(lab_options.n_shares, 0);
}

static void the_lab_does_not_start_another_lab(void **state)
{
	(void)state;
	setenv(LAB_VARIABLE, "1", 1);
	assert_int_equal(run(NULL, 0), CMD_CANNOT);
	assert_int_equal(lab_runs, 0);
}

static void a_file_to_be_written_lends_its_directory_once(void **state)
{
	const char *const written[] = {"results/new.json", "results/other.json", "results", NULL};
	char results[PATH_MAX + 16];

	(void)state;
	snprintf(results, sizeof(results), "%s/results", folder);
	assert_int_equal(run(written, 0), 41);
	assert_int_equal(lab_options.n_shares, 1);
	assert_string_equal(lab_shares[0], results);
}

static void a_name_alone_lends_the_working_directory(void **state)
{
	const char *const written[] = {"new.json", NULL};

	(void)state;
	assert_int_equal(run(written, 0), 41);
	assert_int_equal(lab_options.n_shares, 1);
	assert_string_equal(lab_shares[0], folder);
}

static void devices_are_not_lent(void **state)
{
	const char *const written[] = {"/dev/stdout", "/proc/self/fd/1", NULL};

	(void)state;
	assert_int_equal(run(written, 0), 41);
	assert_int_equal(lab_options.n_shares, 0);
}

static void what_cannot_be_lent_is_refused_not_lost(void **state)
{
	const char *const written[] = {"/new.json", NULL};

	(void)state;
	assert_int_equal(run(written, 0), CMD_USAGE);
	assert_int_equal(lab_runs, 0);
}

static void a_directory_that_is_not_there_costs_no_boot(void **state)
{
	const char *const written[] = {"nowhere/new.json", NULL};

	(void)state;
	assert_int_equal(run(written, 0), CMD_USAGE);
	assert_int_equal(lab_runs, 0);
}

static int find_fault(const void *arg)
{
	(void)arg;
	return CMD_USAGE;
}

static void what_the_verb_finds_wrong_itself_costs_no_boot(void **state)
{
	char verb[] = "test";
	char *argv[] = {verb, NULL};
	const struct where_needs needs = {.check = find_fault};

	(void)state;
	assert_int_equal(where_run(1, argv, &needs), CMD_USAGE);
	assert_int_equal(lab_runs, 0);
	kvm_works = true; /* here the verb will find it itself */
	assert_int_equal(where_run(1, argv, &needs), WHERE_HERE);
}

static void a_socket_needs_a_kvm_here(void **state)
{
	(void)state;
	assert_int_equal(run_with_socket("serial"), CMD_CANNOT);
	assert_int_equal(run_with_socket("results/serial"), CMD_CANNOT);
	assert_int_equal(lab_runs, 0);
	assert_int_equal(access("serial", F_OK), -1);
	kvm_works = true;
	assert_int_equal(run_with_socket("serial"), WHERE_HERE);
}

static void a_socket_left_behind_is_not_in_use(void **state)
{
	int fd = listen_at("serial");

	(void)state;
	assert_int_equal(run_with_socket("serial"), CMD_USAGE);
	close(fd);
	assert_int_equal(run_with_socket("serial"), CMD_CANNOT);
	assert_int_equal(unlink("serial"), 0); /* it is still there */
	assert_int_equal(lab_runs, 0);
}

static void a_place_where_no_socket_can_be_is_bad_input(void **state)
{
	char path[200];

	(void)state;
	memset(path, 'x', sizeof(path) - 1);
	path[sizeof(path) - 1] = '\0';
	assert_int_equal(run_with_socket(path), CMD_USAGE);
	assert_int_equal(run_with_socket("results"), CMD_USAGE);
	assert_int_equal(run_with_socket("nowhere/serial"), CMD_USAGE);
	assert_int_equal(run_with_socket(""), CMD_USAGE);
	assert_int_equal(lab_runs, 0);
}

static void who_is_to_be_reached_needs_a_kvm_here(void **state)
{
	char verb[] = "test";
	char *argv[] = {verb, NULL};
	const struct where_needs needs = {.reached = "tcp::4444"};

	(void)state;
	assert_int_equal(where_run(1, argv, &needs), CMD_CANNOT);
	assert_int_equal(lab_runs, 0);
	kvm_works = true;
	assert_int_equal(where_run(1, argv, &needs), WHERE_HERE);
}

static void large_guests_get_a_larger_lab(void **state)
{
	(void)state;
	run(NULL, 0);
	assert_true(lab_options.memory == 2ULL << 30);
	run(NULL, 8ULL << 30);
	assert_true(lab_options.memory > 9ULL << 30);
	assert_true(lab_options.memory % (1ULL << 20) == 0);
}

int main(void)
{
#define WHERE_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		WHERE_TEST(a_working_kvm_needs_no_lab),
		WHERE_TEST(the_lab_gets_the_same_command_line),
		WHERE_TEST(the_lab_does_not_start_another_lab),
		WHERE_TEST(a_file_to_be_written_lends_its_directory_once),
		WHERE_TEST(a_name_alone_lends_the_working_directory),
		WHERE_TEST(devices_are_not_lent),
		WHERE_TEST(what_cannot_be_lent_is_refused_not_lost),
		WHERE_TEST(a_directory_that_is_not_there_costs_no_boot),
		WHERE_TEST(what_the_verb_finds_wrong_itself_costs_no_boot),
		WHERE_TEST(a_socket_needs_a_kvm_here),
		WHERE_TEST(a_socket_left_behind_is_not_in_use),
		WHERE_TEST(a_place_where_no_socket_can_be_is_bad_input),
		WHERE_TEST(who_is_to_be_reached_needs_a_kvm_here),
		WHERE_TEST(large_guests_get_a_larger_lab),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
