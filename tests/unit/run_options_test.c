/* SPDX-License-Identifier: Apache-2.0 */
/* run_options_test.c - a machine as its command line says, and one line for what it cannot say. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cmd/cmd.h"
#include "cmd/run.h"

static struct run_options options;
static char errors[2048]; /* what the last parse() printed on stderr */

/* Parses "run --kernel image" and the words, up to a NULL. */
static int parse(const char *first, ...)
{
	char *argv[32] = {(char *)(uintptr_t) "run", (char *)(uintptr_t) "--kernel=image"};
	int argc = 2, saved = dup(STDERR_FILENO), status;
	FILE *caught = tmpfile();
	va_list words;
	size_t length;

	va_start(words, first);
	for (const char *word = first; word; word = va_arg(words, const char *))
		argv[argc++] = (char *)(uintptr_t)word;
	va_end(words);
	assert_non_null(caught);
	dup2(fileno(caught), STDERR_FILENO);
	status = run_parse(argc, argv, &options);
	dup2(saved, STDERR_FILENO);
	close(saved);
	rewind(caught);
	length = fread(errors, 1, sizeof(errors) - 1, caught);
	errors[length] = '\0';
	fclose(caught);
	return status;
}

#define TAKES(...) assert_int_equal(parse(__VA_ARGS__, NULL), CMD_OK)

/* Usage, in one line that has the word. */
#define REFUSES(word, ...)                                                           \
	do {                                                                         \
		assert_int_equal(parse(__VA_ARGS__, NULL), CMD_USAGE);               \
		assert_ptr_equal(strchr(errors, '\n'), errors + strlen(errors) - 1); \
		assert_int_equal(strncmp(errors, "vmtime run: ", 12), 0);            \
		assert_non_null(strstr(errors, word));                               \
	} while (0)

static void without_options_it_is_a_small_pc(void **state)
{
	const struct machine_config *m = &options.machine;

	(void)state;
	assert_int_equal(parse(NULL), CMD_OK);
	assert_string_equal(m->kernel, "image");
	assert_null(m->initrds[0]);
	assert_string_equal(m->append, "console=ttyS0");
	assert_int_equal(m->cpus, 1);
	assert_int_equal(m->memory_bytes, 512 << 20);
	assert_int_equal(m->serial[0].kind, CONSOLE_STDIO);
	assert_int_equal(m->serial[1].kind, CONSOLE_NONE);
	assert_int_equal(m->pit, MACHINE_PIT_USER);
	assert_int_equal(m->rtc, MACHINE_RTC_EXACT);
	assert_true(m->pm_timer && m->hpet && m->tsc_hint && m->discipline);
	assert_int_equal(m->steal, MACHINE_STEAL_KERNEL);
	assert_int_equal(m->kvm_clock, MACHINE_KVM_CLOCK_USER);
	assert_false(m->tsc.invariant || m->tsc.portable || m->tsc.khz);
	assert_false(m->ticks != VMT_TICKS_DISCARD || m->exit_port || m->has_date);
}

static void each_option_changes_what_it_names(void **state)
{
	const struct machine_config *m = &options.machine;

	(void)state;
	TAKES("--cpus", "2", "--memory=4G", "--append", "quiet", "--initrd", "a", "--initrd=b",
	      "--env", "A=1", "--env=B=2", "--exit-port", "--verbose");
	assert_int_equal(m->cpus, 2);
	assert_true(m->memory_bytes == 4ULL << 30);
	assert_string_equal(m->append, "quiet");
	assert_string_equal(m->initrds[0], "a");
	assert_string_equal(m->initrds[1], "b");
	assert_null(m->initrds[2]);
	assert_string_equal(m->env[1], "B=2");
	assert_true(m->exit_port && options.verbose);
	TAKES("--pit", "none", "--rtc", "none", "--pm-timer=off", "--hpet=off", "--kvm-clock",
	      "none", "--steal", "none", "--tsc-hint", "off", "--invtsc", "on", "--ticks",
	      "catchup", "--discipline", "off");
	assert_int_equal(m->pit, MACHINE_PIT_NONE);
	assert_int_equal(m->rtc, MACHINE_RTC_NONE);
	assert_false(m->pm_timer || m->hpet || m->steal || m->tsc_hint || m->discipline);
	assert_int_equal(m->kvm_clock, MACHINE_KVM_CLOCK_NONE);
	assert_true(m->tsc.invariant && m->ticks == VMT_TICKS_CATCHUP);
	TAKES("--kvm-clock", "kernel");
	assert_int_equal(m->kvm_clock, MACHINE_KVM_CLOCK_KERNEL);
	TAKES("--steal", "user");
	assert_int_equal(m->steal, MACHINE_STEAL_USER);
	TAKES("--rtc", "pc");
	assert_int_equal(m->rtc, MACHINE_RTC_PC);
	assert_int_equal(m->on_pause, VMT_POLICY_AUTO);
	TAKES("--on-pause", "continue");
	assert_int_equal(m->on_pause, VMT_POLICY_CONTINUE);
	TAKES("--on-pause", "freeze");
	assert_int_equal(m->on_pause, VMT_POLICY_FREEZE);
	assert_null(options.qmp);
	TAKES("--qmp", "x");
	assert_string_equal(options.qmp, "x");
	TAKES("--serial", "file:x", "--serial", "unix:y");
	assert_int_equal(m->serial[0].kind, CONSOLE_FILE);
	assert_string_equal(m->serial[0].path, "x");
	assert_int_equal(m->serial[1].kind, CONSOLE_UNIX);
}

static void the_defaults_of_what_is_to_come_are_taken(void **state)
{
	(void)state;
	TAKES("--vmclock", "off", "--hyperv", "off", "--tsc", "host", "--rdtsc", "native", "--rate",
	      "1", "--on-pause", "auto", "--on-restore", "auto", "--on-migrate=auto", "--date",
	      "now");
	REFUSES("--incoming a.vmt: not a place to come from", "--incoming", "a.vmt");
	REFUSES("--rate 1/2 is not in this version yet", "--rate", "1/2");
	REFUSES("--qga is not in this version yet", "--qga", "/tmp/x");
	REFUSES("--pit best: unknown value (possible: user, kernel, none)", "--pit", "best");
}

static void a_machine_that_comes_from_another_needs_no_kernel_and_keeps_its_tsc(void **state)
{
	char *argv[] = {(char *)(uintptr_t) "run", (char *)(uintptr_t) "--incoming=file:a.vmt",
			NULL};

	(void)state;
	setenv("XDG_CACHE_HOME", "/nowhere", 1);
	assert_int_equal(run_parse(2, argv, &options), CMD_OK);
	unsetenv("XDG_CACHE_HOME");
	assert_string_equal(options.incoming, "a.vmt");
	REFUSES("--incoming a.vmt: a TSC has the frequency that it had (leave out --tsc)",
		"--incoming=file:a.vmt", "--tsc=2000000");
	TAKES("--incoming=file:a.vmt", "--tsc=portable");
}

static void a_machine_may_come_from_one_that_runs(void **state)
{
	char *argv[] = {(char *)(uintptr_t) "run", (char *)(uintptr_t) "--incoming=tcp:[::1]:4444",
			NULL};

	(void)state;
	setenv("XDG_CACHE_HOME", "/nowhere", 1);
	assert_int_equal(run_parse(2, argv, &options), CMD_OK);
	unsetenv("XDG_CACHE_HOME");
	assert_string_equal(options.from, "tcp:[::1]:4444");
	assert_true(options.address.tcp && !options.incoming);
	assert_string_equal(options.address.host, "::1");
	assert_int_equal(options.machine.on_migrate, VMT_POLICY_AUTO);
	TAKES("--incoming", "unix:/run/a", "--on-migrate", "freeze");
	assert_string_equal(options.address.path, "/run/a");
	assert_int_equal(options.machine.on_migrate, VMT_POLICY_FREEZE);
	TAKES("--incoming", "unix:/run/a", "--incoming", "file:a.vmt", "--on-migrate", "continue");
	assert_null(options.from);
	assert_int_equal(options.machine.on_migrate, VMT_POLICY_CONTINUE);
	REFUSES("--incoming tcp:a", "--incoming", "tcp:a");
	REFUSES("--incoming unix:", "--incoming", "unix:");
	REFUSES("--incoming unix:/run/a: QMP is there", "--incoming", "unix:/run/a", "--qmp",
		"/run/a");
	REFUSES("--incoming unix:/run/a: a serial port is there", "--incoming", "unix:/run/a",
		"--serial", "unix:/run/a");
	REFUSES("--incoming tcp:a:1: a TSC has the frequency that it had", "--incoming", "tcp:a:1",
		"--tsc=2000000");
}

static void a_tsc_may_have_another_frequency_or_none_to_rely_on(void **state)
{
	const struct machine_config *m = &options.machine;

	(void)state;
	TAKES("--tsc", "2000000", "--invtsc", "on");
	assert_true(m->tsc.khz == 2000000 && m->tsc.invariant && !m->tsc.portable);
	TAKES("--tsc", "portable");
	assert_true(m->tsc.khz == 0 && m->tsc.portable);
	TAKES("--tsc", "portable", "--tsc", "2000000"); /* the last counts */
	assert_true(m->tsc.khz == 2000000 && !m->tsc.portable);
	TAKES("--tsc", "2000000", "--tsc=host");
	assert_true(m->tsc.khz == 0 && !m->tsc.portable);
	assert_false(m->tsc.uncounted);
	TAKES("--counter", "monotonic");
	assert_true(m->tsc.uncounted);
	TAKES("--counter", "monotonic", "--counter", "tsc");
	assert_false(m->tsc.uncounted);
	REFUSES("leave out --invtsc on", "--counter", "monotonic", "--invtsc", "on");
	REFUSES("(possible: tsc, monotonic)", "--counter", "hpet");
	REFUSES("--tsc portable: ", "--tsc", "portable", "--invtsc", "on");
	REFUSES("leave out --invtsc on", "--invtsc=on", "--tsc=portable");
	REFUSES("give 1000 or more", "--tsc", "0");
	REFUSES("give 1000 or more", "--tsc", "999");
	REFUSES("give 1000 or more", "--tsc", "4294967296");
	REFUSES("give 1000 or more", "--tsc", "99999999999999999999999");
	REFUSES("(possible: host, portable, or kHz)", "--tsc", "2.4GHz");
	REFUSES("(possible: host, portable, or kHz)", "--tsc=");
}

static void what_cannot_be_is_named(void **state)
{
	(void)state;
	REFUSES("--steal user: without KVM's clock", "--steal=user", "--kvm-clock", "none");
	REFUSES("--cpus 0", "--cpus=0");
	REFUSES("at most 254", "--cpus", "255");
	REFUSES("--cpus -1", "--cpus", "-1");
	REFUSES("at least 16M", "--memory", "15M");
	REFUSES("not a multiple of 4K", "--memory", "16777217");
	REFUSES("not a size", "--memory", "lots");
	REFUSES("NAME=VALUE", "--env", "x");
	REFUSES("--kernel needs a value", "--kernel");
	REFUSES("no such argument", "vmlinuz");
	REFUSES("'--cpus'", "--cpu", "2");
	REFUSES("--exit-port takes no value", "--exit-port=on");
	REFUSES("--verbose takes no value", "--verbose=");
}

static void consoles_need_places_of_their_own(void **state)
{
	char dir[] = "/tmp/run-options-XXXXXX", one[64], two[64];

	(void)state;
	REFUSES("not a place", "--serial", "tcp:1");
	REFUSES("not a place", "--serial", "file:");
	REFUSES("used twice", "--serial", "stdio", "--serial", "stdio");
	REFUSES("there are 2", "--serial=none", "--serial=none", "--serial=none");
	REFUSES("both serial ports", "--serial", "file:x", "--serial", "file:x");
	REFUSES("both serial ports", "--serial", "unix:x", "--serial", "file:x");
	REFUSES("--qmp x: a serial port is there", "--qmp", "x", "--serial", "unix:x");
	TAKES("--serial", "file:/dev/null", "--serial", "file:/dev/null"); /* no harm there */
	assert_non_null(mkdtemp(dir));
	snprintf(one, sizeof(one), "file:%s/one", dir);
	snprintf(two, sizeof(two), "file:%s/two", dir);
	close(open(one + 5, O_CREAT | O_WRONLY, 0600));
	assert_int_equal(symlink("one", two + 5), 0);
	parse("--serial", one, "--serial", two, NULL);
	unlink(one + 5);
	unlink(two + 5);
	rmdir(dir);
	assert_non_null(strstr(errors, "both serial ports"));
}

static void dates(void **state)
{
	const struct machine_config *m = &options.machine;

	(void)state;
#define DATE(text) "--date", text
	TAKES(DATE("2026-03-29T01:30:00Z"));
	assert_true(m->has_date && m->date_ns == 1774747800000000000);
	TAKES(DATE("2026-03-29T01:30:00"));
	assert_true(m->date_ns == 1774747800000000000);
	TAKES(DATE("2026-03-29T03:30:00.25+02:00"));
	assert_true(m->date_ns == 1774747800250000000);
	TAKES(DATE("2028-02-29T00:00:00Z"));
	REFUSES("2026-02-31", DATE("2026-02-31T00:00:00Z"));
	REFUSES("2026-02-29", DATE("2026-02-29T00:00:00Z"));
	REFUSES("2026-13-01", DATE("2026-13-01T00:00:00Z"));
	REFUSES("23:59:60", DATE("2016-12-31T23:59:60Z"));
	REFUSES("1969", DATE("1969-12-31T23:59:59Z"));
	REFUSES("tomorrow", DATE("tomorrow"));
	REFUSES("+2", DATE("2026-03-29T01:30:00+2"));
	REFUSES("--kvm-clock user", "--kvm-clock", "kernel", "--date", "2030-01-01T00:00:00Z");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(without_options_it_is_a_small_pc),
		cmocka_unit_test(each_option_changes_what_it_names),
		cmocka_unit_test(the_defaults_of_what_is_to_come_are_taken),
		cmocka_unit_test(
			a_machine_that_comes_from_another_needs_no_kernel_and_keeps_its_tsc),
		cmocka_unit_test(a_machine_may_come_from_one_that_runs),
		cmocka_unit_test(a_tsc_may_have_another_frequency_or_none_to_rely_on),
		cmocka_unit_test(what_cannot_be_is_named),
		cmocka_unit_test(consoles_need_places_of_their_own),
		cmocka_unit_test(dates),
	};

	return cmocka_run_group_tests_name("run_options", tests, NULL, NULL);
}
