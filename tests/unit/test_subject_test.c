/* SPDX-License-Identifier: Apache-2.0 */
/* test_subject_test.c - machines that are scripts: how they end, and what they leave. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "cmd/test_qemu.h"
#include "cmd/test_subject.h"

static char folder[] = "/tmp/test_subject_test.XXXXXX";
static char script[64];
static char *const no_words[] = {NULL};

static int make_folder(void **state)
{
	(void)state;
	if (!mkdtemp(folder))
		return -1;
	snprintf(script, sizeof(script), "%s/qemu", folder);
	return 0;
}

static int remove_folder(void **state)
{
	char path[96];

	(void)state;
	snprintf(path, sizeof(path), "%s/child", folder);
	unlink(path);
	unlink(script);
	return rmdir(folder);
}

static void write_script(const char *text)
{
	FILE *file = fopen(script, "w");

	assert_non_null(file);
	fprintf(file, "#!/bin/sh\ncd %s || exit\n%s\n", folder, text);
	assert_int_equal(fclose(file), 0);
	assert_int_equal(chmod(script, 0755), 0);
}

static struct test_options options(void)
{
	return (struct test_options){
		.qemu = script, .cpus = 1, .memory = 128ULL << 20, .run_options = no_words};
}

static void start(const struct test_options *o, struct test_machine *m)
{
	struct test_machine_config config = {.options = o,
					     .subject = TEST_QEMU,
					     .clocksource = "tsc",
					     .kernel = "kernel",
					     .initrd = "initrd"};
	struct why why;

	assert_int_equal(test_machine_start(&config, m, &why), 0);
}

static void wait_a_moment(void)
{
	const struct timespec moment = {.tv_nsec = 5000000};

	nanosleep(&moment, NULL);
}

/* The process that the script wrote down, once it did. */
static pid_t child(void)
{
	char path[96];
	int pid = 0;

	snprintf(path, sizeof(path), "%s/child", folder);
	for (; pid == 0; wait_a_moment()) {
		FILE *file = fopen(path, "r");

		if (!file)
			continue;
		if (fscanf(file, "%d", &pid) != 1)
			pid = 0;
		fclose(file);
	}
	unlink(path);
	return pid;
}

/* Dead, or a zombie that nobody has reaped yet. */
static bool is_gone(pid_t pid)
{
	char path[64], state = 'X';
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	file = fopen(path, "r");
	if (!file)
		return true;
	if (fscanf(file, "%*d %*s %c", &state) != 1)
		state = 'X';
	fclose(file);
	return state == 'Z' || state == 'X';
}

static void what_a_vmm_started_ends_with_it(void **state)
{
	struct test_options o = options();
	struct test_machine m;
	pid_t pid;

	(void)state;
	write_script("sleep 1000 & echo $! >child.new; mv child.new child; exit 7");
	start(&o, &m);
	pid = child();
	while (!test_machine_has_ended(&m))
		wait_a_moment();
	assert_int_equal(WEXITSTATUS(m.status), 7);
	while (!is_gone(pid)) /* for ever if it was left alone */
		wait_a_moment();
	test_machine_stop(&m);
}

static void stopping_ends_what_it_started_too(void **state)
{
	struct test_options o = options();
	struct test_machine m;
	char dir[64];
	pid_t pid;

	(void)state;
	write_script("sleep 1000 & echo $! >child.new; mv child.new child; wait");
	start(&o, &m);
	pid = child();
	snprintf(dir, sizeof(dir), "%s", m.dir);
	assert_int_equal(access(dir, F_OK), 0);
	test_machine_stop(&m);
	while (!is_gone(pid))
		wait_a_moment();
	assert_int_equal(access(dir, F_OK), -1);
	assert_int_equal(m.pid, 0);
}

static void say(const struct test_machine *m, const char *text)
{
	int fd = open(m->console, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	close(fd);
}

static void a_panic_is_seen_once_its_line_is_whole(void **state)
{
	struct test_machine m = {0};
	char words[160];

	(void)state;
	snprintf(m.console, sizeof(m.console), "%s/child", folder);
	assert_false(test_machine_panicked(&m)); /* no console yet */
	say(&m, "Kernel command line: panic=-1\n");
	for (int i = 0; i < 300; i++)
		say(&m, "[    1.0] nothing to see in this line\n");
	assert_false(test_machine_panicked(&m));
	say(&m, "[    2.0] Kernel pa");
	assert_false(test_machine_panicked(&m));
	say(&m, "nic - not syncing");
	assert_false(test_machine_panicked(&m));
	say(&m, ": no init\n[    2.1] CPU: 0 PID: 1\n");
	assert_true(test_machine_panicked(&m));
	test_machine_last_words(&m, words, sizeof(words));
	assert_string_equal(words, "[    2.0] Kernel panic - not syncing: no init");
}

static void an_alarm_is_found_on_the_console(void **state)
{
	struct test_machine m = {0};
	char line[48] = "as it was";

	(void)state;
	snprintf(m.console, sizeof(m.console), "%s/child", folder);
	unlink(m.console);
	assert_false(test_machine_alarmed(&m, line, sizeof(line))); /* no console at all */
	say(&m, "[    0.0] Linux version 6.1\r\n[    0.1] PCI: Fatal: No config space\r\n");
	say(&m, "[    0.2] tsc: Marking TSC unstable due to TSCs unsynchronized\r\n");
	assert_false(test_machine_alarmed(&m, line, sizeof(line)));
	assert_string_equal(line, "as it was");
	say(&m, "observer: the kernel's log: WARNING: CPU: 1 PID: 0 at kernel/x.c:1\033[0m y\r\n");
	say(&m, "[   30.0] watchdog: BUG: soft lockup\r\n");
	assert_true(test_machine_alarmed(&m, line, sizeof(line)));
	assert_string_equal(line, "WARNING: CPU: 1 PID: 0 at kernel/x.c:1 [0m y");
}

static bool has_words(char *const *command, const char *first, const char *second)
{
	for (; *command; command++)
		if (strcmp(*command, first) == 0 &&
		    (!second || (command[1] && strcmp(command[1], second) == 0)))
			return true;
	return false;
}

static void the_probe_has_one_port_and_no_initrd(void **state)
{
	struct test_options o = options();
	struct test_machine_config config = {.options = &o,
					     .subject = TEST_QEMU,
					     .clocksource = "-",
					     .kernel = "probe.elf",
					     .probe = "faces"};
	struct test_machine m;
	unsigned ports = 0;
	struct why why;

	(void)state;
	write_script("sleep 1000");
	assert_int_equal(test_machine_start(&config, &m, &why), 0);
	assert_true(has_words(m.command, "-kernel", "probe.elf"));
	assert_true(has_words(m.command, "-append", "faces"));
	assert_true(has_words(m.command, "-machine", "q35,accel=kvm,hpet=on"));
	assert_false(has_words(m.command, "-initrd", NULL));
	for (char **word = m.command; *word; word++)
		ports += strcmp(*word, "-serial") == 0;
	assert_int_equal(ports, 1);
	test_machine_stop(&m);
	start(&o, &m);
	assert_true(has_words(m.command, "-initrd", "initrd"));
	assert_true(has_words(m.command, "-machine", "q35,accel=kvm,hpet=off"));
	test_machine_stop(&m);
}

/* Its logs do not replace those of the one that it was, and what it was saved to goes. */
static void a_machine_that_was_saved_comes_from_there(void **state)
{
	struct test_options o = options();
	struct test_machine_config config = {.options = &o,
					     .subject = TEST_QEMU,
					     .clocksource = "kvm-clock",
					     .kernel = "kernel",
					     .initrd = "initrd",
					     .keep = folder,
					     .incoming = "exec:cat /dev/null"};
	char logs[2][96], dir[64], partial[sizeof(((struct test_machine *)NULL)->snapshot) + 16];
	struct test_machine m;
	struct why why;

	(void)state;
	snprintf(logs[0], sizeof(logs[0]), "%s/restored-vmm.log", folder);
	snprintf(logs[1], sizeof(logs[1]), "%s/restored-console.log", folder);
	write_script("sleep 1000");
	assert_int_equal(test_machine_start(&config, &m, &why), 0);
	assert_true(has_words(m.command, "-incoming", "exec:cat /dev/null"));
	assert_string_equal(m.errors, logs[0]);
	assert_string_equal(m.console, logs[1]);
	snprintf(dir, sizeof(dir), "%s", m.dir);
	snprintf(partial, sizeof(partial), "%s.partial", m.snapshot);
	fclose(fopen(m.snapshot, "w"));
	fclose(fopen(partial, "w"));
	test_machine_stop(&m);
	assert_int_equal(access(dir, F_OK), -1);
	assert_int_equal(unlink(logs[0]), 0);
	config.incoming = NULL;
	config.subject = TEST_VMTIME;
	assert_int_equal(test_machine_start(&config, &m, &why), 0);
	assert_false(has_words(m.command, "--incoming", NULL));
	test_machine_stop(&m);
	config.incoming = "file:/x";
	assert_int_equal(test_machine_start(&config, &m, &why), 0);
	assert_true(has_words(m.command, "--incoming", "file:/x"));
	test_machine_stop(&m);
	config.clone = 2; /* nor do a second one's replace the first one's */
	assert_int_equal(test_machine_start(&config, &m, &why), 0);
	snprintf(logs[1], sizeof(logs[1]), "%s/restored-2-vmm.log", folder);
	assert_string_equal(m.errors, logs[1]);
	test_machine_stop(&m);
	assert_int_equal(unlink(logs[1]), 0);
	snprintf(logs[1], sizeof(logs[1]), "%s/vmm.log", folder);
	assert_int_equal(unlink(logs[0]), 0);
	assert_int_equal(unlink(logs[1]), 0);
}

static void only_a_qemu_is_a_qemu(void **state)
{
	struct test_options o = options();
	char version[32] = "";

	(void)state;
	write_script("echo 'QEMU emulator version 7.2.22 (Debian 1:7.2)'");
	assert_int_equal(test_qemu_version(&o, version, sizeof(version)), 0);
	assert_string_equal(version, "7.2.22");
	write_script("echo 'QEMU emulator version 7.2.22'; exit 1");
	assert_int_equal(test_qemu_version(&o, version, sizeof(version)), -EPROTO);
	write_script("echo 'frobnicate version 3'");
	assert_int_equal(test_qemu_version(&o, version, sizeof(version)), -EPROTO);
	o.qemu = "/nowhere/qemu";
	assert_int_equal(test_qemu_version(&o, version, sizeof(version)), -ENOENT);
}

static bool exact(enum test_subject subject, char *const *run_options)
{
	struct test_options o = options();

	o.run_options = run_options;
	return test_boots_exactly(&o, subject);
}

static void only_an_exact_rtc_of_ours_promises_a_boot_within_milliseconds(void **state)
{
	char *const pc[] = {"--rtc", "pc", NULL}, *const none[] = {"--rtc=none", NULL};
	char *const said[] = {"--cpus", "2", "--rtc=exact", NULL};
	char *const other[] = {"--rtcs", "pc", NULL}, *const cut[] = {"--rtc", NULL};
	char *const date[] = {"--date", "2001-01-01T00:00:00Z", NULL};
	char *const now[] = {"--date=now", NULL};

	(void)state;
	assert_true(exact(TEST_VMTIME, no_words));
	assert_true(exact(TEST_VMTIME, said));
	assert_true(exact(TEST_VMTIME, other));
	assert_true(exact(TEST_VMTIME, cut));
	assert_true(exact(TEST_VMTIME, now));
	assert_false(exact(TEST_VMTIME, pc));
	assert_false(exact(TEST_VMTIME, none));
	assert_false(exact(TEST_VMTIME, date));
	assert_false(exact(TEST_QEMU, no_words));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(only_an_exact_rtc_of_ours_promises_a_boot_within_milliseconds),
		cmocka_unit_test(what_a_vmm_started_ends_with_it),
		cmocka_unit_test(stopping_ends_what_it_started_too),
		cmocka_unit_test(a_panic_is_seen_once_its_line_is_whole),
		cmocka_unit_test(an_alarm_is_found_on_the_console),
		cmocka_unit_test(the_probe_has_one_port_and_no_initrd),
		cmocka_unit_test(a_machine_that_was_saved_comes_from_there),
		cmocka_unit_test(only_a_qemu_is_a_qemu),
	};

	return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
