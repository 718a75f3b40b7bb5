/* SPDX-License-Identifier: Apache-2.0 */
/* test_subject.c - starts and stops the virtual machine that is tested: vmtime's own or QEMU's. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "cmd/files.h"
#include "cmd/test_subject.h"

/* A command line being built; out of memory shows in the end. */
struct words {
	char **list;
	size_t count;
	bool failed;
};

static void add(struct words *w, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void add(struct words *w, const char *format, ...)
{
	char **grown = reallocarray(w->list, w->count + 2, sizeof(*w->list));
	va_list args;

	if (!grown) {
		w->failed = true;
		return;
	}
	w->list = grown;
	va_start(args, format);
	if (vasprintf(&w->list[w->count], format, args) < 0) {
		w->list[w->count] = NULL;
		w->failed = true;
	} else {
		w->list[++w->count] = NULL;
	}
	va_end(args);
}

static void free_words(char **list)
{
	for (char **word = list; word && *word; word++)
		free(*word);
	free(list);
}

/* What Linux needs to be told so that it uses this clock source and no better one.  Jiffies are to
 * be the PIT's ticks, whose place an HPET would take; where there is a TSC-deadline timer and the
 * TSC's rate is known, Linux would not even start the PIT, and without the LAPIC's timer then
 * nothing ticks at all. */
static void guest_command_line(const struct test_machine_config *c, char *buf, size_t size)
{
	bool jiffies = strcmp(c->clocksource, "jiffies") == 0 ||
		       strcmp(c->clocksource, "refined-jiffies") == 0;

	if (c->probe) {
		snprintf(buf, size, "%s", c->probe);
		return;
	}
	snprintf(buf, size, "console=ttyS0 quiet panic=-1 clocksource=%s%s%s%s%s", c->clocksource,
		 jiffies ? " nohz=off highres=off nolapic_timer lapic=notscdeadline" : "",
		 c->faces   ? " vmtime.read=faces"
		 : c->costs ? " vmtime.read=costs"
			    : "",
		 c->options->append ? " " : "", c->options->append ? c->options->append : "");
}

static bool wants_tsc(const char *clocksource)
{
	return strncmp(clocksource, "tsc", 3) == 0;
}

static void vmtime_command(struct words *w, const struct test_machine_config *c,
			   const struct test_machine *m)
{
	char self[PATH_MAX], line[4096];

	if (files_self(self, sizeof(self)) < 0)
		w->failed = true;
	guest_command_line(c, line, sizeof(line));
	add(w, "%s", self);
	add(w, "run");
	add(w, "--kernel");
	add(w, "%s", c->kernel);
	if (!c->probe) {
		add(w, "--initrd");
		add(w, "%s", c->initrd);
		add(w, "--serial");
		add(w, "file:%s", m->console);
	}
	add(w, "--append");
	add(w, "%s", line);
	add(w, "--cpus");
	add(w, "%u", c->options->cpus);
	add(w, "--memory");
	add(w, "%" PRIu64, c->options->memory);
	add(w, "--serial");
	add(w, "unix:%s", m->port);
	if (c->qmp) {
		add(w, "--qmp");
		add(w, "%s", m->qmp);
	}
	if (wants_tsc(c->clocksource)) {
		add(w, "--invtsc");
		add(w, "on");
	} else if (strstr(c->clocksource, "jiffies")) {
		add(w, "--ticks");
		add(w, "catchup");
		add(w, "--hpet");
		add(w, "off");
	}
	if (c->unstable) {
		add(w, "--counter");
		add(w, "monotonic");
	}
	if (c->incoming) {
		add(w, "--incoming");
		add(w, "%s", c->incoming);
	}
	for (const char *const *option = c->more; option && *option; option++)
		add(w, "%s", *option);
	for (char *const *option = c->options->run_options; option && *option; option++)
		add(w, "%s", *option);
}

/* The value of `name` when `option`, or what follows it, gives one. */
static const char *value_of(char *const *option, const char *name)
{
	size_t length = strlen(name);

	if (strncmp(*option, name, length) != 0)
		return NULL;
	return (*option)[length] == '=' ? *option + length + 1
	       : (*option)[length]      ? NULL
					: option[1];
}

const char *test_run_option(const struct test_options *options, const char *name)
{
	const char *value = NULL;

	for (char *const *option = options->run_options; option && *option; option++)
		if (value_of(option, name))
			value = value_of(option, name);
	return value;
}

bool test_run_option_given(const struct test_options *options, const char *name)
{
	return test_run_option(options, name);
}

bool test_counts_our_ticks(const struct test_options *o, enum test_subject subject, unsigned c)
{
	return subject == TEST_VMTIME && o->scenarios[TEST_STEADY] &&
	       strstr(o->clocksources[c], "jiffies") && !test_run_option_given(o, "--ticks") &&
	       !test_run_option_given(o, "--pit") && !test_run_option_given(o, "--hpet");
}

bool test_boots_exactly(const struct test_options *options, enum test_subject subject)
{
	bool exact = subject == TEST_VMTIME;

	for (char *const *option = options->run_options; option && *option; option++) {
		const char *rtc = value_of(option, "--rtc"), *date = value_of(option, "--date");

		if (rtc)
			exact = exact && strcmp(rtc, "exact") == 0;
		if (date)
			exact = exact && strcmp(date, "now") == 0;
	}
	return exact;
}

/* QEMU's option parser takes a comma in a path when it is doubled. */
static void double_commas(const char *path, char *buf, size_t size)
{
	size_t n = 0;

	for (; *path && n + 3 < size; path++) {
		if (*path == ',')
			buf[n++] = ',';
		buf[n++] = *path;
	}
	buf[n] = '\0';
}

/* What an operator gives who reads the manual: the timers' policies as libvirt sets them, no HPET
 * unless it is asked for, no device that is not needed. */
static void qemu_command(struct words *w, const struct test_machine_config *c,
			 const struct test_machine *m)
{
	const char *qemu = c->options->qemu ? c->options->qemu : "qemu-system-x86_64";
	bool hpet = c->probe || c->faces || strcmp(c->clocksource, "hpet") == 0;
	char line[4096], path[2 * PATH_MAX];

	guest_command_line(c, line, sizeof(line));
	add(w, "%s", qemu);
	add(w, "-nodefaults");
	add(w, "-no-user-config");
	add(w, "-no-reboot");
	add(w, "-display");
	add(w, "none");
	add(w, "-machine");
	add(w, "q35,accel=kvm,hpet=%s", hpet ? "on" : "off");
	add(w, "-cpu");
	add(w, "host%s%s", wants_tsc(c->clocksource) ? ",invtsc=on" : "",
	    c->unstable ? ",kvmclock-stable-bit=off" : "");
	add(w, "-smp");
	add(w, "%u", c->options->cpus);
	add(w, "-m");
	add(w, "%" PRIu64 "K", c->options->memory / 1024);
	add(w, "-rtc");
	add(w, "base=utc,clock=host,driftfix=slew");
	add(w, "-global");
	add(w, "kvm-pit.lost_tick_policy=delay");
	add(w, "-kernel");
	add(w, "%s", c->kernel);
	add(w, "-append");
	add(w, "%s", line);
	if (!c->probe) {
		add(w, "-initrd");
		add(w, "%s", c->initrd);
		double_commas(m->console, path, sizeof(path));
		add(w, "-chardev");
		add(w, "file,id=console,path=%s", path);
		add(w, "-serial");
		add(w, "chardev:console");
	}
	double_commas(m->port, path, sizeof(path));
	add(w, "-chardev");
	add(w, "socket,id=samples,path=%s,server=on,wait=off", path);
	add(w, "-serial");
	add(w, "chardev:samples");
	if (c->qmp) {
		double_commas(m->qmp, path, sizeof(path));
		add(w, "-qmp");
		add(w, "unix:%s,server=on,wait=off", path);
	}
	if (c->incoming) {
		add(w, "-incoming");
		add(w, "%s", c->incoming);
	}
	if (c->options->qemu_args) {
		char *args = strdup(c->options->qemu_args), *save = NULL;

		for (char *word = args ? strtok_r(args, " ", &save) : NULL; word;
		     word = strtok_r(NULL, " ", &save))
			add(w, "%s", word);
		w->failed |= !args;
		free(args);
	}
}

/* A new directory in `in` that can hold a socket: a directory lent to the lab cannot. */
static int make_directory(struct test_machine *m, const char *in)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd, error = 0;

	if (strlen(in) > sizeof(m->dir) - sizeof("/vmtime-test.XXXXXX"))
		return -ENAMETOOLONG;
	snprintf(m->dir, sizeof(m->dir), "%s/vmtime-test.XXXXXX", in);
	if (!mkdtemp(m->dir)) {
		error = -errno;
		m->dir[0] = '\0';
		return error;
	}
	snprintf(address.sun_path, sizeof(address.sun_path), "%s/samples", m->dir);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || bind(fd, (const struct sockaddr *)&address, sizeof(address)) < 0)
		error = -errno;
	if (fd >= 0)
		close(fd);
	unlink(address.sun_path);
	if (error) {
		rmdir(m->dir);
		m->dir[0] = '\0';
	}
	return error;
}

static int make_places(struct test_machine *m, const struct test_machine_config *c, struct why *why)
{
	const char *logs;
	char restored[32] = "";
	const char *const candidates[] = {getenv("TMPDIR"), "/tmp", "/run"};
	int error = -ENOENT;

	for (size_t i = 0; error && i < sizeof(candidates) / sizeof(candidates[0]); i++)
		if (candidates[i] && *candidates[i])
			error = make_directory(m, candidates[i]);
	if (error)
		return why_set(why, error,
			       "cannot make a socket in a directory of TMPDIR or /tmp: %s",
			       strerror(-error));
	snprintf(m->port, sizeof(m->port), "%s/samples", m->dir);
	snprintf(m->qmp, sizeof(m->qmp), "%s/qmp", m->dir);
	snprintf(m->snapshot, sizeof(m->snapshot), "%s/snapshot", m->dir);
	snprintf(m->move, sizeof(m->move), "%s/move", m->dir);
	logs = c->keep ? c->keep : m->dir;
	if (c->incoming && c->keep && c->clone > 1)
		snprintf(restored, sizeof(restored), "restored-%u-", c->clone);
	else if (c->incoming)
		snprintf(restored, sizeof(restored), "restored-");
	snprintf(m->console, sizeof(m->console), "%s/%sconsole.log", logs, restored);
	snprintf(m->errors, sizeof(m->errors), "%s/%svmm.log", logs, restored);
	return 0;
}

static void remove_places(struct test_machine *m)
{
	char path[PATH_MAX];
	static const char *const names[] = {"samples",
					    "qmp",
					    "console.log",
					    "vmm.log",
					    "restored-console.log",
					    "restored-vmm.log",
					    "move",
					    "snapshot",
					    "snapshot.partial"};

	if (!m->dir[0])
		return;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		snprintf(path, sizeof(path), "%s/%s", m->dir, names[i]);
		unlink(path);
	}
	rmdir(m->dir);
	m->dir[0] = '\0';
}

/* In the child.  Its other threads are gone, so no lock that one may have held is wanted. */
static void become(const struct test_machine *m, int null, int log, pid_t parent)
{
	sigset_t none;

	setpgid(0, 0);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(127);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	dup2(null, STDIN_FILENO);
	dup2(log, STDOUT_FILENO);
	dup2(log, STDERR_FILENO);
	execvp(m->command[0], m->command);
	dprintf(STDERR_FILENO, "cannot run %s: %m\n", m->command[0]);
	_exit(127);
}

static int spawn(struct test_machine *m, struct why *why)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	int log = open(m->errors, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	pid_t parent = getpid(), pid = null < 0 || log < 0 ? -1 : fork();
	int error = pid < 0 ? why_set(why, -errno, "cannot start the VM: %m") : 0;

	if (pid == 0)
		become(m, null, log, parent);
	if (pid > 0) {
		setpgid(pid, pid); /* here too, so that it is done whoever comes first */
		m->pid = pid;
	}
	if (null >= 0)
		close(null);
	if (log >= 0)
		close(log);
	return error;
}

int test_machine_start(const struct test_machine_config *c, struct test_machine *ret_machine,
		       struct why *why)
{
	struct test_machine *m = ret_machine;
	struct words w = {0};
	int error;

	memset(m, 0, sizeof(*m));
	error = make_places(m, c, why);
	if (error)
		return error;
	if (c->subject == TEST_QEMU)
		qemu_command(&w, c, m);
	else
		vmtime_command(&w, c, m);
	m->command = w.list;
	error = w.failed ? why_set(why, -ENOMEM, "out of memory") : spawn(m, why);
	if (error)
		test_machine_stop(m);
	return error;
}

/* A connection to the samples' port, non-blocking; -EAGAIN: not there yet. */
static int connect_port(const struct test_machine *m)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd;

	if (strlen(m->port) >= sizeof(address.sun_path))
		return -ENAMETOOLONG;
	memcpy(address.sun_path, m->port, strlen(m->port));
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0) {
		int error = -errno;

		close(fd);
		return error == -ENOENT || error == -ECONNREFUSED ? -EAGAIN : error;
	}
	return fd;
}

int test_machine_connect(const struct test_machine *m, int *fd, struct why *why)
{
	if (*fd < 0)
		*fd = connect_port(m);
	if (*fd < 0 && *fd != -EAGAIN)
		return why_set(why, *fd, "cannot connect to the guest's port: %s", strerror(-*fd));
	return 0;
}

/* How many bytes there are, 0 for none. */
static ssize_t receive(int *fd, char *bytes, size_t size)
{
	struct pollfd wait = {.fd = *fd, .events = POLLIN}; /* a negative one is not waited for */
	ssize_t n;

	if (poll(&wait, 1, 50) <= 0 || !(wait.revents & (POLLIN | POLLHUP)))
		return 0;
	n = read(*fd, bytes, size);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (n <= 0) { /* closed: mostly the machine is ending, which is seen by its status */
		close(*fd);
		*fd = -1;
		return 0;
	}
	return n;
}

int test_machine_feed(const struct test_machine *m, int *fd,
		      int (*take)(void *stream, const char *bytes, size_t size), void *stream,
		      struct why *why)
{
	char bytes[4096];
	int error = test_machine_connect(m, fd, why);
	ssize_t n = error ? error : receive(fd, bytes, sizeof(bytes));

	if (error)
		return error;
	if (n > 0 && take(stream, bytes, (size_t)n) < 0)
		return why_set(why, -ENOMEM, "out of memory");
	return 0;
}

/* What the VMM may have started is ended first: until it is reaped, the group is surely its. */
static void reap(struct test_machine *m)
{
	kill(-m->pid, SIGKILL);
	while (waitpid(m->pid, &m->status, 0) < 0 && errno == EINTR)
		;
	m->ended = true;
}

bool test_machine_has_ended(struct test_machine *m)
{
	siginfo_t info = {0};

	if (!m->ended && m->pid > 0 &&
	    waitid(P_PID, (id_t)m->pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
	    info.si_pid == m->pid)
		reap(m);
	return m->ended;
}

int test_machine_complain(const struct test_machine *m, const char *what, struct why *why)
{
	char words[160];

	test_machine_last_words(m, words, sizeof(words));
	return why_set(why, -ETIMEDOUT, "%s%s%s%s", what, words[0] ? " (the last it said: '" : "",
		       words, words[0] ? "')" : "");
}

int test_machine_complain_of_end(const struct test_machine *m, struct why *why)
{
	char what[96];
	int status = m->status;

	snprintf(what, sizeof(what), "the machine ended by itself with %s %d",
		 WIFEXITED(status) ? "status" : "signal",
		 WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status));
	return test_machine_complain(m, what, why);
}

void test_machine_stop(struct test_machine *m)
{
	enum { STEP_MS = 10, PATIENCE_MS = 5000 };
	const struct timespec step = {.tv_nsec = STEP_MS * 1000000};

	if (m->pid > 0 && !test_machine_has_ended(m)) {
		kill(m->pid, SIGTERM);
		for (int ms = 0; ms < PATIENCE_MS && !test_machine_has_ended(m); ms += STEP_MS)
			nanosleep(&step, NULL);
	}
	if (m->pid > 0 && !m->ended)
		reap(m);
	m->pid = 0;
	free_words(m->command);
	m->command = NULL;
	remove_places(m);
}
