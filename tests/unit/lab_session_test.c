/* SPDX-License-Identifier: Apache-2.0 */
/* lab_session_test.c - the lab's side of here, with machines that fall silent, end or work. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

#include "../../lab/protocol.h"
#include "cmd/cmd.h"
#include "cmd/lab.h"

#define MS UINT64_C(1000000)
#define MINUTE (60000 * MS)

enum { STATUS = 41, TEXT = 2000, JOB_SIZE = 1 << 20 };

enum does {
	WORKS, /* echoes its input and ends with STATUS */
	IS_SILENT,
	IS_SILENT_WITH_A_JOB,
	ENDS,
	ENDS_IN_A_WORD,
	ENDS_WITH_HALF_A_JOB,
	ENDS_WITH_A_JOB,
	ENDS_WITH_A_COMMAND,
	SAYS_WHY, /* as QEMU, and ends */
};

/* What the machines do, one after the other; and how many there were. */
static enum does does[3];
static unsigned machines;
static int errors_of_machine;

static void say(int port, uint32_t type, const void *data, size_t length)
{
	struct lab_frame frame = {.type = type, .length = (uint32_t)length};

	if (write(port, &frame, sizeof(frame)) != sizeof(frame) ||
	    write(port, data, length) != (ssize_t)length)
		_exit(1);
}

/* The length of what came, which is of that type. */
static size_t hear(int port, uint32_t type, void *data)
{
	struct lab_frame frame;

	if (recv(port, &frame, sizeof(frame), MSG_WAITALL) != sizeof(frame) || frame.type != type ||
	    (frame.length &&
	     recv(port, data, frame.length, MSG_WAITALL) != (ssize_t)frame.length)) {
		dprintf(errors_of_machine, "heard something else\n");
		_exit(1);
	}
	return frame.length;
}

static void echo(int port)
{
	const int32_t status = STATUS;
	char data[LAB_FRAME_MAX];
	size_t length;

	while ((length = hear(port, LAB_INPUT, data)) > 0)
		say(port, LAB_OUTPUT, data, length);
	say(port, LAB_STATUS, &status, sizeof(status));
	pause();
}

static void be_machine(enum does what, int port)
{
	static char data[JOB_SIZE];

	alarm(60);
	if (what == SAYS_WHY)
		dprintf(errors_of_machine, "no memory for the guest\n");
	if (what == ENDS || what == SAYS_WHY)
		_exit(0);
	if (what == IS_SILENT)
		pause();
	if (what == ENDS_IN_A_WORD)
		_exit(write(port, "\1\0\0", 3) != 3);
	say(port, LAB_READY, NULL, 0);
	if (what == ENDS_WITH_HALF_A_JOB)
		_exit(recv(port, data, JOB_SIZE / 2, MSG_WAITALL) != JOB_SIZE / 2);
	hear(port, LAB_JOB, data);
	if (what == ENDS_WITH_A_JOB)
		_exit(0);
	if (what == IS_SILENT_WITH_A_JOB)
		pause();
	say(port, LAB_PREPARED, NULL, 0);
	hear(port, LAB_RUN, data);
	if (what == ENDS_WITH_A_COMMAND)
		_exit(0);
	echo(port);
}

int lab_machine_start(const struct lab_options *options, struct lab_machine *ret_machine,
		      struct why *why)
{
	int port[2], console[2], errors[2];

	(void)options;
	(void)why;
	assert_in_range(machines, 0, 2);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, port), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, console), 0);
	assert_int_equal(pipe(errors), 0);
	*ret_machine =
		(struct lab_machine){.port = port[0], .console = console[0], .errors = errors[0]};
	fcntl(port[0], F_SETFL, O_NONBLOCK);
	fcntl(console[0], F_SETFL, O_NONBLOCK);
	fcntl(errors[0], F_SETFL, O_NONBLOCK);
	ret_machine->qemu = fork();
	assert_true(ret_machine->qemu >= 0);
	if (ret_machine->qemu == 0) {
		close(port[0]);
		errors_of_machine = errors[1];
		be_machine(does[machines], port[1]);
		_exit(0);
	}
	close(port[1]);
	close(console[1]);
	close(errors[1]);
	machines++;
	return 0;
}

uint8_t *lab_job_create(const struct lab_options *options, char *const *argv, size_t *ret_size,
			struct why *why)
{
	struct lab_frame frame = {.type = LAB_JOB, .length = JOB_SIZE};
	uint8_t *job = calloc(1, sizeof(frame) + JOB_SIZE);

	(void)options;
	(void)argv;
	(void)why;
	assert_non_null(job);
	memcpy(job, &frame, sizeof(frame));
	*ret_size = sizeof(frame) + JOB_SIZE;
	return job;
}

/* ---- a command, its input and what came of it ---- */

static char input[TEXT], output[2 * TEXT], errors[2 * TEXT];

static int replace(int fd, int with)
{
	int before = dup(fd);

	assert_true(before >= 0 && dup2(with, fd) == fd);
	close(with);
	return before;
}

static void restore(int fd, int before, char *ret_text)
{
	if (ret_text) {
		ssize_t n = pread(fd, ret_text, 2 * TEXT - 1, 0);

		ret_text[n > 0 ? n : 0] = '\0';
	}
	dup2(before, fd);
	close(before);
}

static int run(enum does first, enum does second, enum does third, uint64_t boot_limit_ns)
{
	struct lab_options options = LAB_OPTIONS_DEFAULT;
	char word[] = "true", *argv[] = {word, NULL};
	int before[3], status;
	int given = memfd_create("input", MFD_CLOEXEC);

	options.boot_limit_ns = boot_limit_ns;
	options.timeout_ns = MINUTE;
	does[0] = first;
	does[1] = second;
	does[2] = third;
	machines = 0;
	assert_true(given >= 0 && write(given, input, sizeof(input)) == sizeof(input));
	assert_int_equal(lseek(given, 0, SEEK_SET), 0);
	fflush(stdout);
	before[0] = replace(STDIN_FILENO, given);
	before[1] = replace(STDOUT_FILENO, memfd_create("output", MFD_CLOEXEC));
	before[2] = replace(STDERR_FILENO, memfd_create("errors", MFD_CLOEXEC));
	status = lab_run("lab", &options, argv);
	restore(STDIN_FILENO, before[0], NULL);
	restore(STDOUT_FILENO, before[1], output);
	restore(STDERR_FILENO, before[2], errors);
	return status;
}

static unsigned lines(void)
{
	unsigned n = 0;

	for (const char *at = errors; (at = strchr(at, '\n')); at++)
		n++;
	return n;
}

/* All of the input came once and in order, whichever machine ran the command. */
static void assert_echoed(void)
{
	assert_int_equal(strlen(output), TEXT);
	assert_memory_equal(output, input, TEXT);
}

static int set_up(void **state)
{
	(void)state;
	for (unsigned i = 0; i < TEXT; i++)
		input[i] = (char)('a' + i % 23);
	return 0;
}

static void a_machine_that_works_is_the_only_one(void **state)
{
	(void)state;
	assert_int_equal(run(WORKS, ENDS, ENDS, MINUTE), STATUS);
	assert_echoed();
	assert_string_equal(errors, "");
	assert_int_equal(machines, 1);
}

static void for_one_that_ends_before_its_command_comes_another(void **state)
{
	(void)state;
	assert_int_equal(run(ENDS, WORKS, ENDS, MINUTE), STATUS);
	assert_echoed();
	assert_string_equal(errors, "vmtime lab: the lab machine ended early; starting another\n");
	assert_int_equal(run(ENDS_WITH_A_JOB, ENDS_IN_A_WORD, WORKS, MINUTE), STATUS);
	assert_echoed();
	assert_int_equal(lines(), 2);
	assert_int_equal(run(ENDS_IN_A_WORD, ENDS_WITH_HALF_A_JOB, WORKS, MINUTE), STATUS);
	assert_echoed();
}

/* On a busy machine the one that works may be late, too. */
static void for_a_silent_one_comes_another(void **state)
{
	static const enum does silent[] = {IS_SILENT, IS_SILENT_WITH_A_JOB};

	(void)state;
	for (int i = 0; i < 2; i++) {
		assert_int_equal(run(silent[i], WORKS, WORKS, 500 * MS), STATUS);
		assert_echoed();
		assert_in_range(machines, 2, 3);
		assert_int_equal(lines(), machines - 1);
		assert_non_null(strstr(errors, "does not come up; starting another\n"));
	}
}

static void three_are_enough(void **state)
{
	(void)state;
	assert_int_equal(run(IS_SILENT, IS_SILENT, IS_SILENT, 50 * MS), CMD_CANNOT);
	assert_int_equal(machines, 3);
	assert_int_equal(lines(), 3);
	assert_non_null(strstr(errors, "\nvmtime lab: the lab machine does not come up\n"));
	assert_int_equal(run(ENDS, ENDS, ENDS, MINUTE), CMD_CANNOT);
	assert_int_equal(machines, 3);
	assert_int_equal(lines(), 3);
}

static void a_command_is_never_run_again(void **state)
{
	(void)state;
	assert_int_equal(run(ENDS_WITH_A_COMMAND, WORKS, WORKS, MINUTE), CMD_CANNOT);
	assert_int_equal(machines, 1);
	assert_string_equal(errors, "vmtime lab: the lab machine ended early\n");
}

static void what_qemu_says_is_no_reason_to_try_again(void **state)
{
	(void)state;
	assert_int_equal(run(SAYS_WHY, WORKS, WORKS, MINUTE), CMD_CANNOT);
	assert_int_equal(machines, 1);
	assert_string_equal(errors,
			    "vmtime lab: the lab machine ended early: no memory for the guest\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_machine_that_works_is_the_only_one),
		cmocka_unit_test(for_one_that_ends_before_its_command_comes_another),
		cmocka_unit_test(for_a_silent_one_comes_another),
		cmocka_unit_test(three_are_enough),
		cmocka_unit_test(a_command_is_never_run_again),
		cmocka_unit_test(what_qemu_says_is_no_reason_to_try_again),
	};

	return cmocka_run_group_tests_name("lab_session", tests, set_up, NULL);
}
