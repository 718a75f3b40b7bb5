/* SPDX-License-Identifier: Apache-2.0 */
/* run.c - vmtime run: boots a Linux or Multiboot image in a small virtual machine. */
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <linux/kvm.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "cmd/cmd.h"
#include "cmd/run.h"
#include "cmd/run_qmp.h"
#include "cmd/where.h"
#include "move/snapshot.h"

enum { SIGNAL_STATUS = 128 };

struct run {
	struct event_base *base;
	struct machine *machine;
	struct run_qmp qmp;
	struct machine_watch watch;
	struct snapshot *snapshot; /* that it begins with; NULL: it boots, or has begun */
	int signal_fd;
	struct event *signal_event;
	int signal; /* that ended it; 0: none */
};

static void on_signal(evutil_socket_t fd, short what, void *arg)
{
	struct run *r = arg;
	struct signalfd_siginfo info;

	(void)what;
	if (read(fd, &info, sizeof(info)) != sizeof(info))
		return;
	r->signal = (int)info.ssi_signo;
	machine_stop(r->machine);
}

/* From here on the signals that end a program end the machine, in order.  What our parent ignores,
 * as nohup does and a shell for its background jobs, stays so: blocked, it would be queued. */
static int watch_signals(struct run *r)
{
	static const int ends[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};
	struct sigaction now;
	sigset_t set;

	sigemptyset(&set);
	for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++)
		if (sigaction(ends[i], NULL, &now) == 0 && now.sa_handler != SIG_IGN)
			sigaddset(&set, ends[i]);
	signal(SIGPIPE, SIG_IGN); /* a reader that went away is no reason to die ... */
	signal(SIGXFSZ, SIG_IGN); /* ... nor a file that may not become longer */
	if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
		return -errno;
	r->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (r->signal_fd < 0)
		return -errno;
	r->signal_event = event_new(r->base, r->signal_fd, EV_READ | EV_PERSIST, on_signal, r);
	return r->signal_event && event_add(r->signal_event, NULL) == 0 ? 0 : -ENOMEM;
}

static const char *exit_name(unsigned reason)
{
	static const char *const names[VCPU_REASONS] = {
		[KVM_EXIT_IO] = "port access",
		[KVM_EXIT_MMIO] = "memory access",
		[KVM_EXIT_INTR] = "signal",
		[KVM_EXIT_SHUTDOWN] = "shutdown",
	};

	return names[reason] ? names[reason] : "other";
}

static int more_accesses(const void *a, const void *b)
{
	const struct vcpu_port_stats *x = a, *y = b;
	uint64_t n = (uint64_t)x->reads + x->writes, m = (uint64_t)y->reads + y->writes;

	return n < m ? 1 : n > m ? -1 : 0;
}

/* "PIT", as people write it. */
static const char *in_capitals(const char *name, char *buf, size_t size)
{
	size_t i = 0;

	for (; name[i] && i + 1 < size; i++)
		buf[i] = (char)toupper((unsigned char)name[i]);
	buf[i] = '\0';
	return buf;
}

static void print_stats(struct machine_stats *s)
{
	for (unsigned i = 0; i < VCPU_REASONS; i++)
		if (s->vcpus.exits[i])
			fprintf(stderr, "exits: %8" PRIu64 "  %s\n", s->vcpus.exits[i],
				exit_name(i));
	qsort(s->vcpus.ports, VCPU_PORTS, sizeof(s->vcpus.ports[0]), more_accesses);
	for (unsigned i = 0; i < VCPU_PORTS && s->vcpus.ports[i].port; i++)
		fprintf(stderr, "port 0x%03" PRIx32 ": %8" PRIu32 " reads %8" PRIu32 " writes\n",
			s->vcpus.ports[i].port - 1, s->vcpus.ports[i].reads,
			s->vcpus.ports[i].writes);
	for (unsigned i = 0; i < s->time.n_ticks; i++) {
		const struct timestate_ticks *t = &s->time.ticks[i];
		const struct vmt_ledger *l = &t->ledger;
		char name[16];

		if (l->due)
			fprintf(stderr,
				"ticks of the %s: %" PRIu64 " due, %" PRIu64 " delivered, %" PRIu64
				" merged, %" PRIu64 " discarded, %" PRIu64 " owed\n",
				in_capitals(t->source, name, sizeof(name)), l->due, l->delivered,
				l->merged, l->discarded, l->owed);
	}
	if (s->resets)
		fprintf(stderr, "resets: %" PRIu32 "\n", s->resets);
}

/* What cannot be done on this host is one thing, what was asked for wrongly another. */
static int status_of(int error)
{
	switch (error) {
	case -ENODEV:
	case -EIO:
	case -ENOMEM:
	case -EMFILE:
	case -ENFILE:
	case -EAGAIN:
	case -EXDEV:
		return CMD_CANNOT;
	default:
		return CMD_USAGE;
	}
}

static int report(const struct run *r, const struct machine_end *end, bool verbose)
{
	switch (end->kind) {
	case MACHINE_END_POWEROFF:
		return CMD_OK;
	case MACHINE_END_EXIT:
		return (end->byte << 1 | 1) & 0xff;
	case MACHINE_END_FAULT:
		cmd_error("run", CMD_FAULT, "%s%s", end->reason.text,
			  verbose ? "" : " (--verbose shows the registers)");
		if (verbose)
			fputs(end->registers, stderr);
		return CMD_FAULT;
	case MACHINE_END_RESET:
		return cmd_error("run", CMD_FAULT, "the guest cannot be booted again: %s",
				 end->reason.text);
	default:
		return r->signal ? SIGNAL_STATUS + r->signal : CMD_OK;
	}
}

static void on_reset(void *owner, bool by_guest)
{
	struct run *r = owner;

	run_qmp_reset(&r->qmp, by_guest);
}

static void on_closing(void *owner)
{
	struct run *r = owner;

	run_qmp_closing(&r->qmp);
}

/* What came of the time of a machine that has come. */
static void say_it_came(const struct run_incoming *in, const struct chipset_change *change)
{
	char gap[32];

	cmd_format_ns(gap, sizeof(gap), (int64_t)change->gap_ns, false);
	fprintf(stderr, "vmtime run: a machine has come to %s: it stood still for %s, %s\n",
		in->uri, gap,
		change->policy == VMT_POLICY_FREEZE
			? "and so did virtual time: the guest's date is late by that"
			: "and virtual time went on");
}

static void on_change(void *owner, const struct chipset_change *change)
{
	struct run *r = owner;

	run_incoming_runs(&r->qmp.incoming);
	if (change->kind == VMT_CHANGE_LOAD) {
		snapshot_close(r->snapshot);
		r->snapshot = NULL;
	}
	if (change->kind == CHIPSET_CHANGE_MIGRATE)
		say_it_came(&r->qmp.incoming, change);
	if (change->kind == VMT_CHANGE_COUNTER)
		fprintf(stderr,
			"vmtime run: the host no longer relies on its TSC: virtual time goes on by "
			"CLOCK_MONOTONIC; kvm-clock is not exact to the ns any more and slower to "
			"read in the guest (see current_clocksource and the host's log)\n");
	if (change->kind == VMT_CHANGE_DISCIPLINE)
		fprintf(stderr,
			"vmtime run: the host's TSC and its clock have parted (was it suspended?): "
			"virtual time is kept to the clock from here on\n");
	if (change->kind == VMT_CHANGE_SUSPEND)
		fprintf(stderr,
			"vmtime run: the host was suspended for %" PRIu64 ".%03" PRIu64 " s: %s\n",
			change->gap_ns / 1000000000, change->gap_ns / 1000000 % 1000,
			change->policy == VMT_POLICY_FREEZE
				? "virtual time stood still, and the guest's date is late by that"
				: "virtual time went on");
	run_qmp_changed(&r->qmp, change);
}

static void on_notice(void *owner, const char *text)
{
	(void)owner;
	fprintf(stderr, "vmtime run: %s\n", text);
}

/* The machine is to begin as a snapshot says.  0, or negative errno. */
static int arrive(struct run *r, const char *path, struct why *why)
{
	struct image_stats stats;
	int result = snapshot_open(path, &r->snapshot, why);

	if (result == 0)
		result = snapshot_memory(r->snapshot, machine_memory(r->machine), &stats, why);
	if (result == 0)
		machine_arrive(r->machine, snapshot_state(r->snapshot));
	return result;
}

/* Nobody else writes on it: a console would. */
static bool has_terminal(const struct machine_config *config)
{
	for (unsigned i = 0; i < PORTS_SERIAL; i++)
		if (config->serial[i].kind == CONSOLE_STDIO)
			return false;
	return isatty(STDERR_FILENO);
}

/* From power-on, or from where it comes from, to its end. */
static int run_to_the_end(struct run *r, const struct run_options *o, struct machine_end *ret_end,
			  struct why *why)
{
	struct run_incoming *in = &r->qmp.incoming;
	int result = 0;

	if (o->from) {
		*in = (struct run_incoming){.uri = o->from,
					    .progress = has_terminal(&o->machine),
					    .machine = r->machine,
					    .base = r->base,
					    .qmp = &r->qmp};
		result = machine_open(r->machine, why);
		if (result == 0)
			result = run_incoming_wait(in, &o->address, why);
	}
	if (result == 0) {
		result = machine_run(r->machine, ret_end, why);
		run_incoming_end(in, result, why);
		return result;
	}
	ret_end->kind = MACHINE_END_STOPPED;
	return result == -ECANCELED ? 0 : result;
}

static int prepare(struct run *r, const struct run_options *o, struct why *why)
{
	int result;

	r->watch = (struct machine_watch){.reset = on_reset,
					  .change = on_change,
					  .notice = on_notice,
					  .closing = on_closing,
					  .owner = r};
	machine_watch(r->machine, &r->watch);
	r->qmp.machine = r->machine;
	r->qmp.base = r->base;
	result = watch_signals(r);
	if (result < 0)
		return why_set(why, result, "cannot watch signals: %s", strerror(-result));
	if (o->incoming)
		result = arrive(r, o->incoming, why);
	if (result == 0 && o->qmp)
		result = run_qmp_open(&r->qmp, o->qmp, why);
	r->qmp.migrate.progress = has_terminal(&o->machine);
	return result;
}

static int run_machine(struct run *r, const struct run_options *o)
{
	struct why why = {{0}};
	struct machine_end end = {0};
	struct machine_stats stats = {0};
	struct why lost = {{0}};
	uint64_t dropped;
	int result = machine_create(&o->machine, r->base, &r->machine, &why);

	if (result < 0)
		return cmd_error("run", status_of(result), "%s", why.text);
	result = prepare(r, o, &why);
	if (result == 0)
		result = run_to_the_end(r, o, &end, &why);
	run_qmp_close(&r->qmp, result == 0 ? &end : NULL, r->signal != 0);
	machine_stats(r->machine, &stats);
	/* The terminal is itself again before anything is printed. */
	dropped = machine_destroy(r->machine, &lost);
	snapshot_close(r->snapshot);
	if (result < 0)
		return cmd_error("run", status_of(result), "%s", why.text);
	if (o->verbose)
		print_stats(&stats);
	if (dropped && o->verbose)
		fprintf(stderr, "serial output that nobody took: %" PRIu64 " bytes\n", dropped);
	result = report(r, &end, o->verbose);
	if (lost.text[0]) {
		cmd_error("run", CMD_CANNOT, "%s", lost.text);
		result = result ? result : CMD_CANNOT;
	}
	return result;
}

static int check_images(const void *arg)
{
	struct why why = {{0}};
	const struct machine_config *config = arg;
	int result = config->kernel ? machine_check(config, &why) : 0;

	return result < 0 ? cmd_error("run", status_of(result), "%s", why.text) : CMD_OK;
}

static int main_run(int argc, char **argv)
{
	static struct run_options options; /* too large for the stack */
	const char *written[PORTS_SERIAL + 1] = {NULL}, *sockets[PORTS_SERIAL + 3] = {NULL};
	struct where_needs needs = {
		.written = written,
		.sockets = sockets,
		.check = check_images,
		.arg = &options.machine,
		.ret_tsc_class = &options.machine.tsc_class,
	};
	struct run r = {.signal_fd = -1};
	unsigned n = 0, n_sockets = 0;
	int status = run_parse(argc, argv, &options);

	if (status)
		return status;
	for (unsigned i = 0; i < PORTS_SERIAL; i++)
		if (options.machine.serial[i].kind == CONSOLE_FILE)
			written[n++] = options.machine.serial[i].path;
		else if (options.machine.serial[i].kind == CONSOLE_UNIX)
			sockets[n_sockets++] = options.machine.serial[i].path;
	if (options.qmp)
		sockets[n_sockets++] = options.qmp;
	if (options.from && options.address.tcp)
		needs.reached = options.from;
	else if (options.from)
		sockets[n_sockets++] = options.address.path;
	needs.memory = options.machine.memory_bytes;
	status = where_run(argc, argv, &needs);
	if (status != WHERE_HERE)
		return status;
	/* One heap for all threads: each further one costs memory and serves nobody here. */
	mallopt(M_ARENA_MAX, 1);
	r.base = event_base_new();
	if (!r.base)
		return cmd_error("run", CMD_CANNOT, "no memory for the event loop");
	status = run_machine(&r, &options);
	if (r.signal_event)
		event_free(r.signal_event);
	if (r.signal_fd >= 0)
		close(r.signal_fd);
	event_base_free(r.base);
	return status;
}

const struct cmd_verb cmd_run = {
	"run",
	main_run,
	"boot a Linux or Multiboot image on vmtime's clock",
	"usage: vmtime run [--kernel FILE] [--initrd FILE]... [--append STR] [--env K=V]...\n"
	"                  [--cpus N] [--memory SIZE]\n"
	"                  [--serial stdio|none|unix:PATH|file:PATH]... [--qmp PATH]\n"
	"                  [--incoming file:PATH|unix:PATH|tcp:HOST:PORT]\n"
	"                  [--on-restore auto|continue|freeze] [--on-migrate "
	"auto|continue|freeze]\n"
	"                  [--pit user|kernel|none] [--rtc exact|pc|none] [--hpet on|off]\n"
	"                  [--pm-timer on|off] [--kvm-clock user|kernel|none]\n"
	"                  [--steal kernel|user|none] [--invtsc on|off]\n"
	"                  [--counter tsc|monotonic] [--tsc-hint on|off]\n"
	"                  [--ticks discard|catchup|delay|merge] [--discipline on|off]\n"
	"                  [--date ISO8601|now] [--exit-port] [--verbose]\n\n"
	"  vmtime run --kernel vmlinuz --initrd initrd.cpio --append console=ttyS0 --cpus 2\n",
};
