/* SPDX-License-Identifier: Apache-2.0 */
/* lab_machine.c - the lab's QEMU and what it is told. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <linux/close_range.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../lab/protocol.h"
#include "cmd/files.h"
#include "cmd/lab.h"
#include "host/hostclock.h"

#define QEMU "qemu-system-x86_64"

/* tsc=reliable: no watchdog and no warp test, which QEMU's threads would fail by chance; all CPUs
 * read one counter.  panic=-1: with -no-reboot a panic ends QEMU.  The last three save half a
 * second of probing and testing. */
#define KERNEL_COMMAND_LINE                                                          \
	"console=ttyS0 quiet panic=-1 mitigations=off tsc=reliable clocksource=tsc " \
	"no_timer_check cryptomgr.notests i8042.noaux i8042.nokbd"

/* For how long the TSC is measured, and the ticks a second that Debian's kernels make. */
#define TSC_MEASURE_NS 20000000U
enum { KERNEL_HZ = 250 };

struct qemu_arguments {
	char *list[96];
	unsigned count;
	bool full;
};

__attribute__((format(printf, 2, 3))) static void add(struct qemu_arguments *arguments,
						      const char *format, ...)
{
	va_list args;
	char *text;

	va_start(args, format);
	if (vasprintf(&text, format, args) < 0)
		text = NULL;
	va_end(args);
	if (!text || arguments->count + 1 >= sizeof(arguments->list) / sizeof(arguments->list[0])) {
		free(text);
		arguments->full = true;
		return;
	}
	arguments->list[arguments->count++] = text;
}

static void free_arguments(struct qemu_arguments *arguments)
{
	for (unsigned i = 0; i < arguments->count; i++)
		free(arguments->list[i]);
}

/* A comma ends a value in QEMU's options unless it is doubled. */
static void double_commas(const char *text, char *buf, size_t size)
{
	size_t used = 0;

	for (; *text && used + 2 < size; text++) {
		buf[used++] = *text;
		if (*text == ',')
			buf[used++] = ',';
	}
	buf[used] = '\0';
}

static void add_folder(struct qemu_arguments *arguments, const char *tag, const char *path,
		       bool writable)
{
	char doubled[2 * PATH_MAX];

	double_commas(path, doubled, sizeof(doubled));
	add(arguments, "-fsdev");
	add(arguments, "local,id=%s,path=%s,security_model=none,multidevs=remap%s", tag, doubled,
	    writable ? "" : ",readonly=on");
	add(arguments, "-device");
	add(arguments, "virtio-9p-pci,fsdev=%s,mount_tag=%s", tag, tag);
}

bool lab_may_share(const char *directory)
{
	static const char *const own[] = {"/dev", "/proc", "/sys"};

	for (size_t i = 0; i < sizeof(own) / sizeof(own[0]); i++) {
		size_t length = strlen(own[i]);

		if (strncmp(directory, own[i], length) == 0 &&
		    (directory[length] == '/' || directory[length] == '\0'))
			return false;
	}
	return strcmp(directory, "/") != 0;
}

/* Shares as the lab mounts them: absolute, without symbolic links. */
static int resolve_share(const char *share, char *buf, struct why *why)
{
	struct stat status;

	if (!realpath(share, buf))
		return why_set(why, -errno, "cannot share %s: %s", share, strerror(errno));
	if (stat(buf, &status) < 0 || !S_ISDIR(status.st_mode))
		return why_set(why, -ENOTDIR, "cannot share %s: not a directory", share);
	if (!lab_may_share(buf))
		return why_set(why, -EINVAL,
			       "cannot share %s: the lab has its own (share a directory elsewhere)",
			       share);
	return 0;
}

static int add_folders(struct qemu_arguments *arguments, const struct lab_options *options,
		       struct why *why)
{
	char path[PATH_MAX], tag[32];

	add_folder(arguments, LAB_ROOT_TAG, "/", false);
	for (unsigned i = 0; i < options->n_shares; i++) {
		int error = resolve_share(options->shares[i], path, why);

		if (error)
			return error;
		snprintf(tag, sizeof(tag), LAB_SHARE_TAG "%u", i);
		add_folder(arguments, tag, path, true);
	}
	return 0;
}

/* A network card whose cable ends in the link's socket.  Large frames: each one costs an exit. */
static void add_link(struct qemu_arguments *arguments, const struct lab_link *link)
{
	add(arguments, "-netdev");
	add(arguments, "dgram,id=link,local.type=fd,local.str=%d", link->socket.fd);
	add(arguments, "-device");
	add(arguments, "virtio-net-pci,netdev=link,mac=52:54:00:00:00:%02x,romfile=,host_mtu=%d",
	    link->end, LAB_LINK_MTU);
}

/* The lab's TSC is this machine's, so what it would find out in up to a second by counting ticks
 * of an emulated timer (and on a busy machine not find out) is known. */
static void add_kernel_command_line(struct qemu_arguments *arguments)
{
	uint64_t tsc_hz = hostclock_measure_tsc_hz(TSC_MEASURE_NS);

	add(arguments, "-append");
	if (tsc_hz)
		add(arguments, KERNEL_COMMAND_LINE " tsc_early_khz=%" PRIu64 " lpj=%" PRIu64,
		    tsc_hz / 1000, tsc_hz / KERNEL_HZ);
	else
		add(arguments, KERNEL_COMMAND_LINE);
}

static int fill_arguments(struct qemu_arguments *arguments, const struct lab_options *options,
			  const char *kernel, int initrd, int port, int console, struct why *why)
{
	static const char *const fixed[] = {
		QEMU,
		"-name",
		"vmtime-lab",
		"-accel",
		"tcg,thread=multi",
		"-machine",
		"q35",
		"-cpu",
		/* TCG takes "rep stosb" a byte at a time: Linux, told to use it, clears a page of
		 * the guest eight times as slowly as with "rep stosq". */
		"max,+svm,-erms,-fsrm",
		"-no-user-config",
		"-nodefaults",
		"-display",
		"none",
		"-no-reboot",
		"-rtc",
		"base=utc",
		"-serial",
		"chardev:console",
		"-device",
		"virtio-serial-pci,max_ports=2",
	};
	int error;

	for (size_t i = 0; i < sizeof(fixed) / sizeof(fixed[0]); i++)
		add(arguments, "%s", fixed[i]);
	add_kernel_command_line(arguments);
	add(arguments, "-device");
	add(arguments, "virtserialport,chardev=port,nr=1,name=%s", LAB_PORT);
	add(arguments, "-smp");
	add(arguments, "%u", options->cpus + 1); /* the first is not the command's: lab/cpus.c */
	add(arguments, "-m");
	add(arguments, "%" PRIu64 "M", options->memory >> 20);
	add(arguments, "-kernel");
	add(arguments, "%s", kernel);
	add(arguments, "-initrd");
	add(arguments, "/proc/self/fd/%d", initrd);
	add(arguments, "-chardev");
	add(arguments, "socket,id=port,fd=%d", port);
	add(arguments, "-chardev");
	add(arguments, "socket,id=console,fd=%d", console);
	if (options->link)
		add_link(arguments, options->link);
	error = add_folders(arguments, options, why);
	if (!error && arguments->full)
		error = why_set(why, -ENOMEM, "out of memory");
	return error;
}

/* The child: becomes QEMU, with only the descriptors that it is told of. */
static void become_qemu(char **arguments, const int *inherited, int errors, pid_t parent)
{
	sigset_t none;
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(127);
	setpgid(0, 0); /* Ctrl-C is ours to take */
	dup2(null, STDIN_FILENO);
	dup2(null, STDOUT_FILENO);
	dup2(errors, STDERR_FILENO);
	close_range(STDERR_FILENO + 1, UINT_MAX, CLOSE_RANGE_CLOEXEC); /* what we got from others */
	for (; *inherited >= 0; inherited++)
		fcntl(*inherited, F_SETFD, 0);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	execvp(arguments[0], arguments);
	dprintf(STDERR_FILENO,
		"cannot run " QEMU ": %s (run make setup, or apt-get install "
		"qemu-system-x86)\n",
		strerror(errno));
	_exit(127);
}

static int make_channels(int (*port)[2], int (*console)[2], int (*errors)[2], struct why *why)
{
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, *port) < 0 ||
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, *console) < 0 ||
	    pipe2(*errors, O_CLOEXEC) < 0)
		return why_set(why, -errno, "cannot make a socket: %s", strerror(errno));
	fcntl((*port)[0], F_SETFL, O_NONBLOCK);
	fcntl((*console)[0], F_SETFL, O_NONBLOCK);
	fcntl((*errors)[0], F_SETFL, O_NONBLOCK);
	return 0;
}

/* The unpacked image where there is one: QEMU enters it directly, 6 s sooner. */
static int find_kernel(char *kernel, char *folder, struct why *why)
{
	if (files_kernel_folder("lab", folder, PATH_MAX) < 0 ||
	    files_kernel("lab", kernel, PATH_MAX) < 0)
		return why_set(why, -ENOENT,
			       "no kernel for the lab in the cache (run: make setup, or "
			       "scripts/fetch-kernels)");
	files_kernel_unpacked("lab", kernel, PATH_MAX);
	return 0;
}

static void close_pair(const int *pair)
{
	if (pair[0] >= 0)
		close(pair[0]);
	if (pair[1] >= 0)
		close(pair[1]);
}

int lab_machine_start(const struct lab_options *options, struct lab_machine *ret_machine,
		      struct why *why)
{
	struct qemu_arguments arguments = {.count = 0};
	char kernel[PATH_MAX], folder[PATH_MAX];
	int port[2] = {-1, -1}, console[2] = {-1, -1}, errors[2] = {-1, -1};
	int error = find_kernel(kernel, folder, why), initrd = -1;
	pid_t parent = getpid(), qemu = -1;

	if (!error) {
		initrd = lab_initrd_create(folder, why);
		error = initrd < 0 ? initrd : make_channels(&port, &console, &errors, why);
	}
	if (!error)
		error = fill_arguments(&arguments, options, kernel, initrd, port[1], console[1],
				       why);
	if (!error) {
		int inherited[] = {initrd, port[1], console[1],
				   options->link ? options->link->socket.fd : -1, -1};

		qemu = fork();
		if (qemu == 0)
			become_qemu(arguments.list, inherited, errors[1], parent);
		if (qemu < 0)
			error = why_set(why, -errno, "cannot start a process: %s", strerror(errno));
	}
	free_arguments(&arguments);
	if (initrd >= 0)
		close(initrd);
	if (error) {
		close_pair(port);
		close_pair(console);
		close_pair(errors);
		return error;
	}
	close(port[1]);
	close(console[1]);
	close(errors[1]);
	*ret_machine = (struct lab_machine){
		.qemu = qemu, .port = port[0], .console = console[0], .errors = errors[0]};
	return 0;
}

struct job_text {
	uint8_t *data;
	size_t used, size;
};

static int append(struct job_text *job, const void *data, size_t length)
{
	if (length > LAB_JOB_MAX - job->used)
		return -E2BIG;
	if (job->used + length > job->size) {
		size_t size = 2 * (job->used + length);
		uint8_t *grown = realloc(job->data, size);

		if (!grown)
			return -ENOMEM;
		job->data = grown;
		job->size = size;
	}
	memcpy(job->data + job->used, data, length);
	job->used += length;
	return 0;
}

static int append_string(struct job_text *job, const char *text)
{
	return append(job, text, strlen(text) + 1);
}

static bool is_ours(const char *variable)
{
	static const char *const names[] = {LAB_VARIABLE "=", LAB_VARIABLE_HERE "=",
					    LAB_VARIABLE_THERE "="};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (strncmp(variable, names[i], strlen(names[i])) == 0)
			return true;
	return false;
}

static int append_address(struct job_text *job, struct lab_job *head, const char *name,
			  unsigned end)
{
	char text[64];

	snprintf(text, sizeof(text), "%s=" LAB_LINK_NETWORK "%u", name, end);
	head->variables++;
	return append_string(job, text);
}

/* All of them but those of ours that are there already, and ours. */
static int append_environment(struct job_text *job, struct lab_job *head)
{
	int error = append_string(job, LAB_VARIABLE "=1");

	head->variables = 1;
	if (!error && head->link)
		error = append_address(job, head, LAB_VARIABLE_HERE, head->link);
	if (!error && head->link)
		error = append_address(job, head, LAB_VARIABLE_THERE, 3 - head->link);
	for (char **variable = environ; !error && *variable; variable++) {
		if (is_ours(*variable))
			continue;
		error = append_string(job, *variable);
		head->variables++;
	}
	return error;
}

static void describe_terminal(struct lab_job *head)
{
	struct winsize size;

	if (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO))
		return;
	head->flags |= LAB_JOB_TERMINAL;
	if (isatty(STDERR_FILENO))
		head->flags |= LAB_JOB_TERMINAL_ERROR;
	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0)
		head->window = (struct lab_window){.rows = size.ws_row, .columns = size.ws_col};
}

uint8_t *lab_job_create(const struct lab_options *options, char *const *argv, size_t *ret_size,
			struct why *why)
{
	struct job_text job = {.data = NULL};
	struct lab_frame frame = {.type = LAB_JOB};
	struct lab_job head = {.shares = options->n_shares,
			       .link = options->link ? options->link->end : 0};
	char path[PATH_MAX];
	int error;

	describe_terminal(&head);
	error = append(&job, &frame, sizeof(frame));
	if (!error)
		error = append(&job, &head, sizeof(head));
	if (!error)
		error = append_string(&job, getcwd(path, sizeof(path)) ? path : "/");
	for (unsigned i = 0; !error && i < options->n_shares; i++) {
		error = resolve_share(options->shares[i], path, why);
		if (error)
			goto failed; /* its own line is the better one */
		error = append_string(&job, path);
	}
	for (; !error && argv[head.arguments]; head.arguments++)
		error = append_string(&job, argv[head.arguments]);
	if (!error)
		error = append_environment(&job, &head);
	if (error) {
		why_set(why, error, "cannot pass the command on: %s", strerror(-error));
		goto failed;
	}
	frame.length = (uint32_t)(job.used - sizeof(frame));
	memcpy(job.data, &frame, sizeof(frame));
	memcpy(job.data + sizeof(frame), &head, sizeof(head));
	*ret_size = job.used;
	return job.data;
failed:
	free(job.data);
	return NULL;
}
