/* SPDX-License-Identifier: Apache-2.0 */
/* relay.c - the lab machine's command, its input and its output. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "guest.h"

struct relay {
	int port;
	int signals; /* SIGCHLD */
	int input;   /* pipe or terminal; -1 when it is closed */
	int output;  /* pipe or terminal; -1 after its end */
	int error;   /* pipe; -1 after its end, or when the terminal has it */
	bool terminal;
	pid_t command;
	bool ended;
	int status;
	uint8_t pending[LAB_FRAME_MAX]; /* input that the command has not taken yet */
	size_t pending_start, pending_end;
	bool input_ends; /* after what is pending */
};

/* The child's side of its three descriptors. */
struct ends {
	int input, output, error;
};

static void make_pipe(int *ret_read, int *ret_write)
{
	int fds[2];

	if (pipe2(fds, O_CLOEXEC) < 0)
		guest_fail(errno, "cannot make a pipe");
	*ret_read = fds[0];
	*ret_write = fds[1];
}

static void set_window(int terminal, const struct lab_window *window)
{
	struct winsize size = {.ws_row = window->rows, .ws_col = window->columns};

	ioctl(terminal, TIOCSWINSZ, &size);
}

static void connect_command(struct relay *relay, const struct lab_job *job, struct ends *ret_child)
{
	relay->terminal = job->flags & LAB_JOB_TERMINAL;
	if (relay->terminal) {
		int master, slave;

		if (openpty(&master, &slave, NULL, NULL, NULL) < 0)
			guest_fail(errno, "cannot make a terminal");
		fcntl(master, F_SETFD, FD_CLOEXEC);
		fcntl(slave, F_SETFD, FD_CLOEXEC);
		set_window(master, &job->window);
		relay->input = relay->output = master;
		ret_child->input = ret_child->output = slave;
	} else {
		make_pipe(&ret_child->input, &relay->input);
		make_pipe(&relay->output, &ret_child->output);
	}
	if (relay->terminal && job->flags & LAB_JOB_TERMINAL_ERROR) {
		relay->error = -1;
		ret_child->error = ret_child->output;
	} else {
		make_pipe(&relay->error, &ret_child->error);
	}
	/* Input may be more than the command takes; output is read when poll() says so. */
	fcntl(relay->input, F_SETFL, O_NONBLOCK);
}

static void become_command(const struct relay *relay, const struct ends *ends,
			   const struct guest_job *job)
{
	sigset_t none;
	int error;

	setsid();
	if (relay->terminal)
		ioctl(ends->input, TIOCSCTTY, 0);
	dup2(ends->input, STDIN_FILENO);
	dup2(ends->output, STDOUT_FILENO);
	dup2(ends->error, STDERR_FILENO);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGPIPE, SIG_DFL);
	guest_leave_cpu0();
	if (chdir(job->directory) < 0) {
		dprintf(STDERR_FILENO, "vmtime lab: cannot enter %s: %s\n", job->directory,
			strerror(errno));
		_exit(126);
	}
	environ = job->variables;
	execvp(job->arguments[0], job->arguments);
	error = errno;
	dprintf(STDERR_FILENO, "vmtime lab: cannot run %s: %s\n", job->arguments[0],
		strerror(error));
	_exit(error == ENOENT ? 127 : 126);
}

static void start_command(struct relay *relay, const struct guest_job *job)
{
	struct ends child;

	connect_command(relay, &job->head, &child);
	relay->command = fork();
	if (relay->command < 0)
		guest_fail(errno, "cannot start a process");
	if (relay->command == 0)
		become_command(relay, &child, job);
	close(child.input);
	if (child.output != child.input)
		close(child.output);
	if (child.error != child.output)
		close(child.error);
}

static void close_input(struct relay *relay)
{
	if (relay->input >= 0 && relay->input != relay->output)
		close(relay->input);
	relay->input = -1;
	relay->pending_start = relay->pending_end = 0;
}

/* Its group is there once it has called setsid(). */
static void send_signal(const struct relay *relay, int number)
{
	if (!relay->ended && kill(-relay->command, number) < 0)
		kill(relay->command, number);
}

static void take_frame(struct relay *relay)
{
	struct lab_frame frame;
	struct lab_window window;
	int32_t number;

	guest_receive(relay->port, &frame, sizeof(frame));
	if (frame.length > LAB_FRAME_MAX)
		guest_fail(EPROTO, "a frame of %u bytes", frame.length);
	guest_receive(relay->port, relay->pending, frame.length);
	switch (frame.type) {
	case LAB_INPUT:
		relay->pending_start = 0;
		relay->pending_end = frame.length;
		relay->input_ends = frame.length == 0;
		if (relay->input_ends || relay->input < 0)
			close_input(relay);
		break;
	case LAB_WINDOW:
		if (relay->terminal && relay->output >= 0 && frame.length == sizeof(window)) {
			memcpy(&window, relay->pending, sizeof(window));
			set_window(relay->output, &window);
		}
		break;
	case LAB_SIGNAL:
		if (frame.length != sizeof(number))
			break;
		memcpy(&number, relay->pending, sizeof(number));
		send_signal(relay, number);
		break;
	default:
		guest_fail(EPROTO, "a frame of type %u", frame.type);
	}
}

static void pass_input(struct relay *relay)
{
	ssize_t n = write(relay->input, relay->pending + relay->pending_start,
			  relay->pending_end - relay->pending_start);

	if (n > 0)
		relay->pending_start += (size_t)n;
	else if (n < 0 && errno != EAGAIN && errno != EINTR)
		close_input(relay); /* the command closed its end: nobody wants the rest */
}

/* How many bytes; 0 at the end of that stream, or when there is nothing more for now. */
static size_t pass_output(struct relay *relay, int *stream, uint32_t type)
{
	uint8_t data[LAB_FRAME_MAX];
	ssize_t n = read(*stream, data, sizeof(data));

	if (n > 0) {
		guest_send(relay->port, type, data, (size_t)n);
		return (size_t)n;
	}
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (stream == &relay->output && relay->terminal)
		close_input(relay);
	close(*stream);
	*stream = -1;
	return 0;
}

static void reap(struct relay *relay)
{
	struct signalfd_siginfo info;
	pid_t pid;
	int status;

	if (read(relay->signals, &info, sizeof(info)) < 0 && errno != EAGAIN)
		guest_fail(errno, "cannot read signals");
	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		if (pid != relay->command)
			continue;
		relay->ended = true;
		relay->status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
	}
}

static void turn(struct relay *relay)
{
	enum { PORT, SIGNALS, INPUT, OUTPUT, ERROR, FDS };
	bool pending = relay->pending_start < relay->pending_end;
	struct pollfd fds[FDS] = {
		[PORT] = {.fd = pending ? -1 : relay->port, .events = POLLIN},
		[SIGNALS] = {.fd = relay->signals, .events = POLLIN},
		[INPUT] = {.fd = pending ? relay->input : -1, .events = POLLOUT},
		[OUTPUT] = {.fd = relay->output, .events = POLLIN},
		[ERROR] = {.fd = relay->error, .events = POLLIN},
	};

	if (poll(fds, FDS, -1) < 0) {
		if (errno == EINTR)
			return;
		guest_fail(errno, "cannot wait for the command");
	}
	if (fds[OUTPUT].revents)
		pass_output(relay, &relay->output, LAB_OUTPUT);
	if (fds[ERROR].revents)
		pass_output(relay, &relay->error, LAB_ERROR);
	if (fds[INPUT].revents && relay->input >= 0)
		pass_input(relay);
	if (fds[PORT].revents)
		take_frame(relay);
	if (fds[SIGNALS].revents)
		reap(relay);
}

/* What was in a stream when the command ended.  Its children may still hold the other end, and
 * write for ever: no pipe holds more than DRAIN_MAX. */
static void drain(struct relay *relay, int *stream, uint32_t type)
{
	enum { DRAIN_MAX = 1 << 20 };
	size_t total = 0, n;

	if (*stream >= 0)
		fcntl(*stream, F_SETFL, O_NONBLOCK);
	while (*stream >= 0 && total < DRAIN_MAX) {
		n = pass_output(relay, stream, type);
		if (n == 0)
			return;
		total += n;
	}
}

int relay_run(int port, const struct guest_job *job)
{
	static struct relay relay;
	sigset_t set;

	relay.port = port;
	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigprocmask(SIG_BLOCK, &set, NULL);
	relay.signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (relay.signals < 0)
		guest_fail(errno, "cannot watch for signals");
	start_command(&relay, job);
	while (!relay.ended)
		turn(&relay);
	drain(&relay, &relay.output, LAB_OUTPUT);
	drain(&relay, &relay.error, LAB_ERROR);
	return relay.status;
}
