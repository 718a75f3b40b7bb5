/* SPDX-License-Identifier: Apache-2.0 */
/* lab_session.c - one command in the lab: its input, output, terminal, time limit and end. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "../../lab/protocol.h"
#include "cmd/cmd.h"
#include "cmd/lab.h"
#include "host/hostclock.h"

/* What a command that was sent a signal has to put things in order. */
#define GRACE_NS 3000000000ULL

/* How often the other end of a link is looked for; a boot takes far longer. */
#define LINK_NS 100000000ULL

enum { BOOTS_MAX = 3, LINE_SIZE = 256, FRAME_SIZE = sizeof(struct lab_frame) + LAB_FRAME_MAX };

/* The last line of a stream of text. */
struct last_line {
	char text[LINE_SIZE];
	size_t length;
	bool complete; /* what comes next begins a new one */
};

struct session {
	const char *verb;
	const struct lab_options *options;
	struct lab_machine machine;
	unsigned boots;
	int signals, limit_timer;
	int link_timer;     /* when the link's other end is looked for */
	int patience_timer; /* for the boot; later for the end of a command after a signal */
	bool started;       /* the command; no other machine may run it now */
	bool input_open;    /* our standard input */
	bool window_changed;
	bool terminal; /* it is in raw mode, to be restored from: */
	struct termios saved;
	struct last_line console, errors;

	uint8_t *job;
	size_t job_size;
	const uint8_t *send; /* what is being sent to the port */
	size_t send_left;
	uint8_t input[FRAME_SIZE];

	uint8_t received[FRAME_SIZE]; /* at most one frame of the port */
	size_t received_size;
	size_t written; /* of its bytes, to our standard output or error */

	bool ended;
	int status;     /* of lab_run */
	int signal;     /* that we got, or 0 */
	int signal_due; /* to be sent to the command, or 0 */
};

static const struct lab_machine no_machine = {.qemu = -1, .port = -1, .console = -1, .errors = -1};

static void finish(struct session *session, int status)
{
	session->ended = true;
	session->status = status;
}

static void fail(struct session *session, const char *what)
{
	finish(session, cmd_error(session->verb, CMD_CANNOT, "%s", what));
}

/* Standard input's terminal passes every key on: the lab's own terminal makes signals of them. */
static void terminal_raw(struct session *session)
{
	struct termios raw;

	if (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO) ||
	    tcgetattr(STDIN_FILENO, &session->saved) < 0)
		return;
	raw = session->saved;
	cfmakeraw(&raw);
	session->terminal = tcsetattr(STDIN_FILENO, TCSADRAIN, &raw) == 0;
}

static void terminal_restore(struct session *session)
{
	if (session->terminal)
		tcsetattr(STDIN_FILENO, TCSADRAIN, &session->saved);
	session->terminal = false;
}

static void last_line_add(struct last_line *line, const char *data, size_t size)
{
	for (size_t i = 0; i < size; i++) {
		char c = data[i];

		if (c == '\r')
			continue;
		if (c == '\n') {
			line->complete = line->length > 0;
			continue;
		}
		if (line->complete)
			line->length = 0;
		line->complete = false;
		if (c < ' ' || c == 127) /* the terminal is not to act on it */
			c = '?';
		if (line->length + 1 < LINE_SIZE)
			line->text[line->length++] = c;
		line->text[line->length] = '\0';
	}
}

static void drain_text(int *fd, struct last_line *line)
{
	char data[4096];
	ssize_t n;

	while (*fd >= 0 && (n = read(*fd, data, sizeof(data))) != 0) {
		if (n < 0) {
			if (errno == EAGAIN || errno == EINTR)
				return;
			break;
		}
		last_line_add(line, data, (size_t)n);
	}
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

/* 0: never. */
static void set_timer(int fd, uint64_t ns)
{
	struct itimerspec at = {.it_value = {.tv_sec = (time_t)(ns / 1000000000),
					     .tv_nsec = (long)(ns % 1000000000)}};

	timerfd_settime(fd, 0, &at, NULL);
}

static int make_timer(uint64_t ns)
{
	int fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);

	if (fd >= 0)
		set_timer(fd, ns);
	return fd;
}

static void queue_frame(struct session *session, uint32_t type, size_t length)
{
	struct lab_frame frame = {.type = type, .length = (uint32_t)length};

	memcpy(session->input, &frame, sizeof(frame));
	session->send = session->input;
	session->send_left = sizeof(frame) + length;
}

static void read_input(struct session *session)
{
	ssize_t n = read(STDIN_FILENO, session->input + sizeof(struct lab_frame), LAB_FRAME_MAX);

	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return;
	session->input_open = n > 0;
	queue_frame(session, LAB_INPUT, n > 0 ? (size_t)n : 0);
}

static void queue_window(struct session *session)
{
	struct winsize size;
	struct lab_window window;

	session->window_changed = false;
	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) < 0)
		return;
	window = (struct lab_window){.rows = size.ws_row, .columns = size.ws_col};
	memcpy(session->input + sizeof(struct lab_frame), &window, sizeof(window));
	queue_frame(session, LAB_WINDOW, sizeof(window));
}

static void queue_signal(struct session *session)
{
	int32_t number = session->signal_due;

	session->signal_due = 0;
	memcpy(session->input + sizeof(struct lab_frame), &number, sizeof(number));
	queue_frame(session, LAB_SIGNAL, sizeof(number));
}

/* What the machine is to hear next. */
static void queue_next(struct session *session, bool input)
{
	if (!session->started || session->send_left > 0)
		return;
	if (session->signal_due)
		queue_signal(session);
	else if (session->window_changed)
		queue_window(session);
	else if (input)
		read_input(session);
}

static void send_more(struct session *session)
{
	ssize_t n = send(session->machine.port, session->send, session->send_left, MSG_NOSIGNAL);

	if (n < 0)
		return; /* full, or QEMU ended: then SIGCHLD says so */
	session->send += n;
	session->send_left -= (size_t)n;
}

static void queue_job(struct session *session)
{
	int64_t now_ns = hostclock_realtime_ns();

	memcpy(session->job + sizeof(struct lab_frame) + offsetof(struct lab_job, realtime_ns),
	       &now_ns, sizeof(now_ns));
	session->send = session->job;
	session->send_left = session->job_size;
}

static struct lab_frame received_frame(const struct session *session)
{
	struct lab_frame frame = {.type = 0};

	if (session->received_size >= sizeof(frame))
		memcpy(&frame, session->received, sizeof(frame));
	return frame;
}

/* A frame for our output is whole, and part of it is still to be written. */
static int output_wanted(const struct session *session)
{
	struct lab_frame frame = received_frame(session);

	if (session->received_size < sizeof(frame) + frame.length)
		return -1;
	return frame.type == LAB_OUTPUT  ? STDOUT_FILENO
	       : frame.type == LAB_ERROR ? STDERR_FILENO
					 : -1;
}

static void write_output(struct session *session, int fd)
{
	struct lab_frame frame = received_frame(session);
	size_t left = frame.length - session->written;
	/* A pipe that poll() calls writable takes this much without blocking. */
	ssize_t n = write(fd, session->received + sizeof(frame) + session->written,
			  left < 4096 ? left : 4096);

	if (n < 0 && errno != EINTR && errno != EAGAIN) {
		fail(session, "cannot write the command's output");
		return;
	}
	session->written += n > 0 ? (size_t)n : 0;
	if (session->written == frame.length)
		session->received_size = session->written = 0;
}

static void take_frame(struct session *session, struct lab_frame frame)
{
	uint8_t *data = session->received + sizeof(frame);
	char text[1200];
	int32_t status;

	switch (frame.type) {
	case LAB_READY:
		queue_job(session);
		break;
	case LAB_PREPARED:
		session->started = true;
		set_timer(session->patience_timer, 0);
		terminal_raw(session); /* until now Ctrl-C was for us */
		session->window_changed = session->terminal;
		queue_frame(session, LAB_RUN, 0);
		break;
	case LAB_OUTPUT:
	case LAB_ERROR:
		if (frame.length == 0)
			break;
		return; /* write_output takes it */
	case LAB_STATUS:
		memcpy(&status, data, sizeof(status));
		finish(session, status);
		break;
	case LAB_BROKEN:
		snprintf(text, sizeof(text), "the lab machine failed: %.*s", (int)frame.length,
			 (const char *)data);
		fail(session, text);
		break;
	default:
		fail(session, "the lab machine talks nonsense");
	}
	session->received_size = 0;
}

/* One frame at a time: its header, then its bytes. */
static void receive(struct session *session)
{
	struct lab_frame frame = received_frame(session);
	bool header = session->received_size >= sizeof(frame);
	size_t whole = sizeof(frame) + (header ? frame.length : 0);
	ssize_t n = recv(session->machine.port, session->received + session->received_size,
			 whole - session->received_size, 0);

	if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) {
		close(session->machine.port); /* QEMU ends: SIGCHLD follows */
		session->machine.port = -1;
		return;
	}
	session->received_size += n > 0 ? (size_t)n : 0;
	frame = received_frame(session);
	if (frame.length > LAB_FRAME_MAX)
		fail(session, "the lab machine talks nonsense");
	else if (session->received_size == sizeof(frame) + frame.length)
		take_frame(session, frame);
}

static void stop_machine(struct session *session)
{
	const int fds[] = {session->machine.port, session->machine.console,
			   session->machine.errors};

	if (session->machine.qemu > 0) {
		kill(session->machine.qemu, SIGKILL);
		while (waitpid(session->machine.qemu, NULL, 0) < 0 && errno == EINTR)
			;
	}
	for (size_t i = 0; i < sizeof(fds) / sizeof(fds[0]); i++)
		if (fds[i] >= 0)
			close(fds[i]);
	session->machine = no_machine;
}

static void start_machine(struct session *session)
{
	struct why why;

	session->send_left = session->received_size = session->written = 0;
	session->console = session->errors = (struct last_line){.length = 0};
	set_timer(session->patience_timer, session->options->boot_limit_ns << session->boots++);
	if (lab_machine_start(session->options, &session->machine, &why) < 0)
		fail(session, why.text);
}

/* Another machine takes the place of one that did `what`, while that changes nothing. */
static void give_up_machine(struct session *session, const char *what)
{
	const char *console = session->console.text;
	char text[3 * LINE_SIZE];

	snprintf(text, sizeof(text), "the lab machine %s%s%s", what,
		 *console ? "; the last line of its console: " : "", console);
	if (session->started || session->boots == BOOTS_MAX) {
		fail(session, text);
		return;
	}
	fprintf(stderr, "vmtime %s: %s; starting another\n", session->verb, text);
	stop_machine(session);
	start_machine(session);
}

static void take_end(struct session *session, int wait_status)
{
	char text[2 * LINE_SIZE];

	drain_text(&session->machine.console, &session->console);
	drain_text(&session->machine.errors, &session->errors);
	if (WIFSIGNALED(wait_status)) {
		snprintf(text, sizeof(text), "the lab machine ended early: QEMU was killed: %s%s%s",
			 strsignal(WTERMSIG(wait_status)),
			 session->errors.length ? "; it said: " : "", session->errors.text);
		fail(session, text);
	} else if (session->errors.length) {
		snprintf(text, sizeof(text), "the lab machine ended early: %s",
			 session->errors.text);
		fail(session, text);
	} else {
		give_up_machine(session, "ended early");
	}
}

/* The command hears of it first.  A second one, or one before there is a command, ends all. */
static void take_ending_signal(struct session *session, int number)
{
	if (session->signal || !session->started) {
		finish(session, 128 + number);
		return;
	}
	session->signal = session->signal_due = number;
	set_timer(session->patience_timer, GRACE_NS);
}

static void take_signals(struct session *session)
{
	struct signalfd_siginfo info;
	int status;

	while (read(session->signals, &info, sizeof(info)) == sizeof(info)) {
		switch (info.ssi_signo) {
		case SIGWINCH:
			session->window_changed = session->terminal;
			break;
		case SIGCHLD:
			if (waitpid(session->machine.qemu, &status, WNOHANG) !=
			    session->machine.qemu)
				break;
			session->machine.qemu = -1;
			take_end(session, status);
			break;
		default:
			take_ending_signal(session, (int)info.ssi_signo);
		}
	}
}

static void take_timers(struct session *session, bool patience, bool limit)
{
	char duration[32];

	if (limit) {
		cmd_format_ns(duration, sizeof(duration), (int64_t)session->options->timeout_ns,
			      false);
		finish(session, cmd_error(session->verb, CMD_TIMEOUT,
					  "the time limit of %s ended the command", duration));
	} else if (patience && session->signal) {
		finish(session, 128 + session->signal);
	} else if (patience && !session->started) {
		give_up_machine(session, "does not come up");
	}
}

static void reach_link(struct session *session)
{
	lab_link_reach(session->options->link);
	set_timer(session->link_timer, LINK_NS);
}

static void turn(struct session *session)
{
	enum { PORT, CONSOLE, ERRORS, SIGNALS, PATIENCE, LIMIT, LINK, INPUT, OUTPUT, FDS };
	int output = output_wanted(session);
	bool idle = session->send_left == 0;
	struct pollfd fds[FDS] = {
		[PORT] = {.fd = session->machine.port,
			  .events = (short)((output < 0 ? POLLIN : 0) | (idle ? 0 : POLLOUT))},
		[CONSOLE] = {.fd = session->machine.console, .events = POLLIN},
		[ERRORS] = {.fd = session->machine.errors, .events = POLLIN},
		[SIGNALS] = {.fd = session->signals, .events = POLLIN},
		[PATIENCE] = {.fd = session->patience_timer, .events = POLLIN},
		[LIMIT] = {.fd = session->limit_timer, .events = POLLIN},
		[LINK] = {.fd = session->link_timer, .events = POLLIN},
		[INPUT] = {.fd = session->started && session->input_open && idle ? STDIN_FILENO
										 : -1,
			   .events = POLLIN},
		[OUTPUT] = {.fd = output, .events = POLLOUT},
	};

	if (fds[PORT].events == 0)
		fds[PORT].fd = -1; /* it would report its end again and again */
	if (poll(fds, FDS, -1) < 0) {
		if (errno != EINTR)
			fail(session, "cannot wait for the lab machine");
		return;
	}
	if (fds[CONSOLE].revents)
		drain_text(&session->machine.console, &session->console);
	if (fds[ERRORS].revents)
		drain_text(&session->machine.errors, &session->errors);
	if (fds[LINK].revents)
		reach_link(session);
	if (fds[OUTPUT].revents)
		write_output(session, output);
	if (fds[PORT].revents & POLLOUT)
		send_more(session);
	if (fds[PORT].revents & (POLLIN | POLLHUP | POLLERR) && output < 0)
		receive(session);
	if (!session->ended && fds[SIGNALS].revents)
		take_signals(session); /* and perhaps another machine, whose time begins now */
	else if (!session->ended)
		take_timers(session, fds[PATIENCE].revents, fds[LIMIT].revents);
	if (!session->ended)
		queue_next(session, fds[INPUT].revents);
}

static void end(struct session *session)
{
	const int fds[] = {session->signals, session->patience_timer, session->limit_timer,
			   session->link_timer};

	stop_machine(session);
	if (session->options->link)
		lab_link_close(session->options->link);
	terminal_restore(session);
	for (size_t i = 0; i < sizeof(fds) / sizeof(fds[0]); i++)
		if (fds[i] >= 0)
			close(fds[i]);
	free(session->job);
}

static int run(struct session *session, char *const *argv)
{
	struct why why;

	session->job = lab_job_create(session->options, argv, &session->job_size, &why);
	if (!session->job)
		return cmd_error(session->verb, CMD_USAGE, "%s", why.text);
	if (session->options->link && lab_link_open(session->options->link, &why) < 0)
		return cmd_error(session->verb, CMD_USAGE, "%s", why.text);
	start_machine(session);
	while (!session->ended)
		turn(session);
	return session->status;
}

/* Those that end a program, unless they are ignored as by nohup: blocked, they would be queued all
 * the same. */
static void watched_signals(sigset_t *set)
{
	static const int ending[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};
	struct sigaction action;

	sigemptyset(set);
	sigaddset(set, SIGWINCH);
	sigaddset(set, SIGCHLD);
	for (size_t i = 0; i < sizeof(ending) / sizeof(ending[0]); i++)
		if (sigaction(ending[i], NULL, &action) == 0 && action.sa_handler != SIG_IGN)
			sigaddset(set, ending[i]);
}

/* In the background of a terminal, which would stop us for reading it, input is empty. */
static void leave_terminal_to_foreground(void)
{
	pid_t foreground = isatty(STDIN_FILENO) ? tcgetpgrp(STDIN_FILENO) : -1;
	int null;

	if (foreground < 0 || foreground == getpgrp())
		return;
	null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	if (null < 0)
		return;
	dup2(null, STDIN_FILENO);
	close(null);
}

int lab_run(const char *verb, const struct lab_options *options, char *const *argv)
{
	struct session session = {
		.verb = verb,
		.options = options,
		.machine = no_machine,
		.patience_timer = make_timer(0),
		.limit_timer = make_timer(options->timeout_ns),
		.link_timer = make_timer(options->link ? LINK_NS : 0),
		.input_open = true,
	};
	sigset_t watched, before;
	int status;

	leave_terminal_to_foreground();
	signal(SIGCHLD, SIG_DFL); /* ignored, it would take QEMU's end away */
	watched_signals(&watched);
	sigprocmask(SIG_BLOCK, &watched, &before);
	session.signals = signalfd(-1, &watched, SFD_CLOEXEC | SFD_NONBLOCK);
	fflush(NULL);
	if (session.signals < 0 || session.patience_timer < 0 || session.limit_timer < 0 ||
	    session.link_timer < 0)
		status = cmd_error(verb, CMD_CANNOT, "cannot watch for signals and time: %s",
				   strerror(errno));
	else
		status = run(&session, argv);
	end(&session);
	sigprocmask(SIG_SETMASK, &before, NULL);
	return status;
}
