/* SPDX-License-Identifier: Apache-2.0 */
/* init.c - process 1 of the lab machine: modules, file systems, then the command.
 *
 * The root it makes is this machine's / through 9p, read only, under a tmpfs that takes what the
 * command writes; shares are mounted over it where they are, and written through. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/reboot.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "guest.h"

#define NEW_ROOT "/new"
#define PORT_DEVICE "/dev/vport0p1"
#define NINE_P "trans=virtio,version=9p2000.L,msize=512000,"

enum { PATH_SIZE = 4096, PORT_WAIT_MS = 20000 };

/* The lists of lab/modules. */
enum modules { MODULES_FIRST = 0, MODULES_BESIDE, MODULES_LINK };

static int the_port = -1;

void guest_fail(int error, const char *format, ...)
{
	char text[1024];
	va_list args;
	int length;

	va_start(args, format);
	length = vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	if (error && length >= 0 && (size_t)length < sizeof(text))
		snprintf(text + length, sizeof(text) - (size_t)length, ": %s", strerror(error));
	if (the_port >= 0) {
		guest_send(the_port, LAB_BROKEN, text, strlen(text));
		for (;;)
			pause(); /* the host ends the machine */
	}
	dprintf(STDERR_FILENO, "lab: %s\n", text);
	reboot(RB_AUTOBOOT); /* which QEMU takes for the end */
	for (;;)
		pause();
}

void guest_receive(int port, void *data, size_t size)
{
	char *at = data;

	while (size > 0) {
		ssize_t n = read(port, at, size);

		if (n <= 0) {
			if (n < 0 && errno == EINTR)
				continue;
			reboot(RB_AUTOBOOT); /* nobody is left to tell */
		}
		at += n;
		size -= (size_t)n;
	}
}

static void send_all(int port, const void *data, size_t size)
{
	const char *at = data;

	while (size > 0) {
		ssize_t n = write(port, at, size);

		if (n < 0) {
			if (errno == EINTR)
				continue;
			reboot(RB_AUTOBOOT);
		}
		at += n;
		size -= (size_t)n;
	}
}

void guest_send(int port, uint32_t type, const void *data, size_t length)
{
	struct lab_frame frame = {.type = type, .length = (uint32_t)length};

	send_all(port, &frame, sizeof(frame));
	if (length)
		send_all(port, data, length);
}

static void mount_or_fail(const char *what, const char *where, const char *type,
			  unsigned long flags, const char *options)
{
	if (mount(what, where, type, flags, options) < 0)
		guest_fail(errno, "cannot mount %s on %s", what, where);
}

/* Modules are /modules/LIST.00, LIST.01, ... in the order in which they need one another.  False
 * with errno when one cannot be loaded. */
static bool load_modules(enum modules list)
{
	char path[32];

	for (unsigned i = 0;; i++) {
		int fd, result;

		snprintf(path, sizeof(path), "/modules/%u.%02u", list, i);
		fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd < 0)
			return true;
		result = (int)syscall(SYS_finit_module, fd, "", 0);
		close(fd);
		if (result < 0)
			return false;
	}
}

/* KVM takes most of a second, which the other CPU has. */
static pid_t load_beside(void)
{
	pid_t child = fork();

	if (child < 0)
		guest_fail(errno, "cannot start a process");
	if (child == 0)
		_exit(load_modules(MODULES_BESIDE) ? 0 : errno);
	return child;
}

static void wait_beside(pid_t child)
{
	int status;

	if (waitpid(child, &status, 0) != child || status != 0)
		guest_fail(WIFEXITED(status) ? WEXITSTATUS(status) : 0,
			   "cannot load the modules of KVM");
}

static int open_port(void)
{
	for (int i = 0; i < PORT_WAIT_MS; i++) {
		int fd = open(PORT_DEVICE, O_RDWR | O_CLOEXEC);

		if (fd >= 0)
			return fd;
		usleep(1000);
	}
	guest_fail(ENOENT, "no %s", PORT_DEVICE);
}

/* `count` strings from *at on, as a NULL-ended array. */
static char **split_strings(char **at, const char *end, uint32_t count)
{
	char **strings = calloc((size_t)count + 1, sizeof(*strings));

	if (!strings)
		guest_fail(ENOMEM, "no room for the job");
	for (uint32_t i = 0; i < count; i++) {
		if (*at >= end)
			guest_fail(EPROTO, "the job is cut short");
		strings[i] = *at;
		*at += strlen(*at) + 1;
	}
	return strings;
}

static void receive_job(int port, struct guest_job *ret_job)
{
	struct lab_frame frame;
	char *text, *end, **directory;
	size_t size;

	guest_receive(port, &frame, sizeof(frame));
	if (frame.type != LAB_JOB || frame.length <= sizeof(ret_job->head) ||
	    frame.length > LAB_JOB_MAX)
		guest_fail(EPROTO, "the job is none");
	guest_receive(port, &ret_job->head, sizeof(ret_job->head));
	size = frame.length - sizeof(ret_job->head);
	text = malloc(size + 1);
	if (!text)
		guest_fail(ENOMEM, "no room for the job");
	guest_receive(port, text, size);
	text[size] = '\0';
	end = text + size;
	directory = split_strings(&text, end, 1);
	ret_job->directory = directory[0];
	ret_job->shares = split_strings(&text, end, ret_job->head.shares);
	ret_job->arguments = split_strings(&text, end, ret_job->head.arguments);
	ret_job->variables = split_strings(&text, end, ret_job->head.variables);
	free(directory);
}

/* The kernel has read a whole second from the RTC: files that the host writes would be younger
 * than now. */
static void set_clock(int64_t realtime_ns)
{
	struct timespec now = {.tv_sec = realtime_ns / 1000000000,
			       .tv_nsec = realtime_ns % 1000000000};

	if (clock_settime(CLOCK_REALTIME, &now) < 0)
		guest_fail(errno, "cannot set the clock");
}

static void mount_root(void)
{
	static const char *const folders[] = {"/lower", "/rw", NEW_ROOT};

	for (size_t i = 0; i < sizeof(folders) / sizeof(folders[0]); i++)
		mkdir(folders[i], 0755);
	mount_or_fail(LAB_ROOT_TAG, "/lower", "9p", MS_RDONLY, NINE_P "cache=loose");
	mount_or_fail("tmpfs", "/rw", "tmpfs", 0, "mode=755");
	mkdir("/rw/upper", 0755);
	mkdir("/rw/work", 0755);
	mount_or_fail("overlay", NEW_ROOT, "overlay", 0,
		      "lowerdir=/lower,upperdir=/rw/upper,workdir=/rw/work");
}

static void mount_kernel_files(void)
{
	static const struct {
		const char *type, *where, *options;
		bool needed;
	} mounts[] = {
		{"proc", NEW_ROOT "/proc", NULL, true},
		{"sysfs", NEW_ROOT "/sys", NULL, true},
		{"devtmpfs", NEW_ROOT "/dev", NULL, true},
		{"devpts", NEW_ROOT "/dev/pts", "mode=620,ptmxmode=666", true},
		{"tmpfs", NEW_ROOT "/dev/shm", "mode=1777", true},
		{"tmpfs", NEW_ROOT "/run", "mode=755", true},
		{"debugfs", NEW_ROOT "/sys/kernel/debug", NULL, false},
		{"tracefs", NEW_ROOT "/sys/kernel/tracing", NULL, false},
		{"cgroup2", NEW_ROOT "/sys/fs/cgroup", NULL, false},
	};
	static const char *const links[][2] = {
		{"/proc/self/fd", NEW_ROOT "/dev/fd"},
		{"/proc/self/fd/0", NEW_ROOT "/dev/stdin"},
		{"/proc/self/fd/1", NEW_ROOT "/dev/stdout"},
		{"/proc/self/fd/2", NEW_ROOT "/dev/stderr"},
	};

	for (size_t i = 0; i < sizeof(mounts) / sizeof(mounts[0]); i++) {
		mkdir(mounts[i].where, 0755);
		if (mount(mounts[i].type, mounts[i].where, mounts[i].type, 0, mounts[i].options) <
			    0 &&
		    mounts[i].needed)
			guest_fail(errno, "cannot mount %s on %s", mounts[i].type, mounts[i].where);
	}
	for (size_t i = 0; i < sizeof(links) / sizeof(links[0]); i++)
		if (symlink(links[i][0], links[i][1]) < 0)
			guest_fail(errno, "cannot make %s", links[i][1]);
}

/* mkdir -p; what fails here shows when it is mounted on. */
static void make_folders(char *path)
{
	for (char *slash = path + 1; (slash = strchr(slash, '/')); slash++) {
		*slash = '\0';
		mkdir(path, 0755);
		*slash = '/';
	}
	mkdir(path, 0755);
}

/* Shares come as this machine's own paths, without symbolic links in them. */
static void mount_shares(char *const *shares)
{
	char tag[32], path[PATH_SIZE];

	for (unsigned i = 0; shares[i]; i++) {
		snprintf(tag, sizeof(tag), LAB_SHARE_TAG "%u", i);
		if ((size_t)snprintf(path, sizeof(path), "%s%s", NEW_ROOT, shares[i]) >=
		    sizeof(path))
			guest_fail(ENAMETOOLONG, "cannot share %s", shares[i]);
		make_folders(path);
		mount_or_fail(tag, path, "9p", 0, NINE_P "cache=mmap");
	}
}

static void enter_root(void)
{
	if (chdir(NEW_ROOT) < 0 || mount(".", "/", NULL, MS_MOVE, NULL) < 0 || chroot(".") < 0 ||
	    chdir("/") < 0)
		guest_fail(errno, "cannot enter the root file system");
}

static void raise_loopback(void)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq request = {.ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING};

	if (fd < 0 || ioctl(fd, SIOCSIFFLAGS, &request) < 0)
		guest_fail(errno, "cannot raise the loopback interface");
	close(fd);
}

static struct sockaddr_in ipv4(const char *text)
{
	struct sockaddr_in address = {.sin_family = AF_INET};

	inet_pton(AF_INET, text, &address.sin_addr);
	return address;
}

/* The one network card is the link, `end` its last number. */
static void raise_link(uint32_t end)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq request = {.ifr_name = "eth0"};
	struct sockaddr_in address, mask = ipv4("255.255.255.0");
	char text[sizeof(LAB_LINK_NETWORK) + 12];

	snprintf(text, sizeof(text), LAB_LINK_NETWORK "%u", end);
	address = ipv4(text);
	if (fd < 0)
		guest_fail(errno, "cannot raise the link");
	memcpy(&request.ifr_addr, &address, sizeof(address));
	if (ioctl(fd, SIOCSIFADDR, &request) < 0)
		guest_fail(errno, "cannot give the link the address %s", text);
	memcpy(&request.ifr_netmask, &mask, sizeof(mask));
	if (ioctl(fd, SIOCSIFNETMASK, &request) < 0)
		guest_fail(errno, "cannot give the link a netmask");
	request.ifr_flags = IFF_UP | IFF_RUNNING;
	if (ioctl(fd, SIOCSIFFLAGS, &request) < 0)
		guest_fail(errno, "cannot raise the link");
	close(fd);
}

/* The command can do without, and may freeze or fail by chance. */
static void keep_vms(void)
{
	char text[128];
	int error = guest_keep_vms();

	if (!error)
		return;
	snprintf(text, sizeof(text), "vmtime lab: cannot keep VMs, so others may fail: %s\n",
		 strerror(-error));
	guest_send(the_port, LAB_ERROR, text, strlen(text));
}

static void wait_for_run(void)
{
	struct lab_frame frame;

	guest_send(the_port, LAB_PREPARED, NULL, 0);
	guest_receive(the_port, &frame, sizeof(frame));
	if (frame.type != LAB_RUN || frame.length)
		guest_fail(EPROTO, "a frame of type %u before the command", frame.type);
}

int main(void)
{
	struct guest_job job;
	int32_t status;
	pid_t beside;

	mkdir("/dev", 0755);
	mount_or_fail("devtmpfs", "/dev", "devtmpfs", 0, NULL);
	beside = load_beside();
	if (!load_modules(MODULES_FIRST))
		guest_fail(errno, "cannot load the modules of the lab");
	the_port = open_port();
	guest_send(the_port, LAB_READY, NULL, 0);
	receive_job(the_port, &job);
	set_clock(job.head.realtime_ns);
	if (job.head.link && !load_modules(MODULES_LINK))
		guest_fail(errno, "cannot load the modules of the link");
	mount_root();
	mount_kernel_files();
	mount_shares(job.shares);
	enter_root();
	raise_loopback();
	if (job.head.link)
		raise_link(job.head.link);
	sethostname("lab", 3);
	wait_beside(beside);
	keep_vms();
	wait_for_run();
	status = relay_run(the_port, &job);
	sync(); /* the host ends the machine on hearing the status */
	guest_send(the_port, LAB_STATUS, &status, sizeof(status));
	for (;;)
		pause();
}
