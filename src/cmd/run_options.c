/* SPDX-License-Identifier: Apache-2.0 */
/* run_options.c - the options of vmtime run. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "cmd/cmd.h"
#include "cmd/files.h"
#include "cmd/run.h"

enum { TSC_KHZ_MIN = 1000 };

#define DEFAULT_MEMORY (512ULL << 20)
#define NS_PER_S 1000000000LL

enum choice {
	PIT,
	RTC,
	PM_TIMER,
	KVM_CLOCK,
	STEAL,
	TICKS,
	TSC_HINT,
	INVTSC,
	HPET,
	VMCLOCK,
	HYPERV,
	TSC,
	COUNTER,
	RDTSC,
	DISCIPLINE,
	RATE,
	ON_PAUSE,
	ON_RESTORE,
	ON_MIGRATE,
	CHOICES
};

/* Options whose value is one of a few words.  The first word is the default. */
static const struct {
	const char *name;
	const char *built[5]; /* NULL-ended */
	const char *later[4]; /* words of the contract that this version refuses */
} choices[CHOICES] = {
	[PIT] = {"--pit", {"user", "kernel", "none"}, {NULL}},
	[RTC] = {"--rtc", {"exact", "pc", "none"}, {NULL}},
	[PM_TIMER] = {"--pm-timer", {"on", "off"}, {NULL}},
	[KVM_CLOCK] = {"--kvm-clock", {"user", "kernel", "none"}, {NULL}},
	[STEAL] = {"--steal", {"kernel", "user", "none"}, {NULL}},
	[TICKS] = {"--ticks", {"discard", "catchup", "delay", "merge"}, {NULL}},
	[TSC_HINT] = {"--tsc-hint", {"on", "off"}, {NULL}},
	[INVTSC] = {"--invtsc", {"off", "on"}, {NULL}},
	[HPET] = {"--hpet", {"on", "off"}, {NULL}},
	[VMCLOCK] = {"--vmclock", {"off"}, {"on"}},
	[HYPERV] = {"--hyperv", {"off"}, {"on", "only"}},
	[TSC] = {"--tsc", {"host", "portable"}, {NULL}},
	[COUNTER] = {"--counter", {"tsc", "monotonic"}, {NULL}},
	[RDTSC] = {"--rdtsc", {"native"}, {"trap", "count"}},
	[DISCIPLINE] = {"--discipline", {"on", "off"}, {NULL}},
	[RATE] = {"--rate", {"1"}, {NULL}},
	[ON_PAUSE] = {"--on-pause", {"auto", "continue", "freeze"}, {NULL}},
	[ON_RESTORE] = {"--on-restore", {"auto", "continue", "freeze"}, {NULL}},
	[ON_MIGRATE] = {"--on-migrate", {"auto", "continue", "freeze"}, {NULL}},
};

/* Options with a free value, and those that this version does not have. */
static const char *const with_value[] = {"--kernel", "--initrd",  "--append", "--cpus",
					 "--memory", "--serial",  "--env",    "--date",
					 "--qmp",    "--incoming"};
static const char *const without_value[] = {"--exit-port", "--verbose"};
static const char *const not_yet[] = {"--qga", "--net", "--vsock"};

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

struct parse {
	struct run_options *o;
	unsigned picked[CHOICES];
	unsigned n_serial, n_initrds, n_env;
	const char *date;
};

static int bad(const char *option, const char *value, const char *what)
{
	return cmd_error("run", CMD_USAGE, "%s %s: %s", option, value, what);
}

static bool is_one_of(const char *const *words, size_t n, const char *word)
{
	for (size_t i = 0; i < n && words[i]; i++)
		if (strcmp(words[i], word) == 0)
			return true;
	return false;
}

static int take_tsc_khz(struct parse *p, const char *value)
{
	unsigned long long khz = strtoull(value, NULL, 10);

	if (khz < TSC_KHZ_MIN || khz > UINT32_MAX)
		return cmd_error("run", CMD_USAGE,
				 "--tsc %s: not a frequency in kHz (give %d or more)", value,
				 TSC_KHZ_MIN);
	p->picked[TSC] = 0;
	p->o->machine.tsc.khz = (uint32_t)khz;
	return CMD_OK;
}

static int pick(struct parse *p, enum choice c, const char *value)
{
	char words[64] = "";

	if (c == TSC) {
		p->o->machine.tsc.khz = 0; /* of an earlier --tsc */
		if (*value && strspn(value, "0123456789") == strlen(value))
			return take_tsc_khz(p, value);
	}
	for (unsigned i = 0; i < COUNT(choices[c].built) && choices[c].built[i]; i++) {
		if (strcmp(choices[c].built[i], value) == 0) {
			p->picked[c] = i;
			return CMD_OK;
		}
		snprintf(words + strlen(words), sizeof(words) - strlen(words), "%s%s",
			 i ? ", " : "", choices[c].built[i]);
	}
	if (is_one_of(choices[c].later, COUNT(choices[c].later), value) ||
	    (c == RATE && strspn(value, "0123456789./") == strlen(value)))
		return cmd_error("run", CMD_USAGE,
				 "%s %s is not in this version yet (possible: %s)", choices[c].name,
				 value, words);
	return cmd_error("run", CMD_USAGE, "%s %s: unknown value (possible: %s%s)", choices[c].name,
			 value, words, c == TSC ? ", or kHz" : "");
}

static int take_cpus(struct parse *p, const char *value)
{
	char *end;
	unsigned long n = strtoul(value, &end, 10);

	if (*value < '0' || *value > '9' || *end || n < 1 || n > UINT32_MAX)
		return bad("--cpus", value, "not a number of CPUs (give 1 or more)");
	if (n > VM_MAX_CPUS)
		return cmd_error("run", CMD_USAGE, "--cpus %s: at most %d are possible", value,
				 VM_MAX_CPUS);
	p->o->machine.cpus = (uint32_t)n;
	return CMD_OK;
}

static int take_memory(struct parse *p, const char *value)
{
	int result = cmd_parse_size(value, &p->o->machine.memory_bytes);

	if (result < 0)
		return bad("--memory", value, "not a size (write 512M or 2G)");
	if (p->o->machine.memory_bytes < MEMORY_MIN)
		return cmd_error("run", CMD_USAGE, "--memory %s: too small (give at least %lluM)",
				 value, MEMORY_MIN >> 20);
	if (p->o->machine.memory_bytes % MEMORY_PAGE)
		return bad("--memory", value, "not a multiple of 4K");
	return CMD_OK;
}

static int take_serial(struct parse *p, const char *value)
{
	struct console_config *serial = &p->o->machine.serial[p->n_serial];

	if (p->n_serial >= PORTS_SERIAL)
		return cmd_error("run", CMD_USAGE, "--serial %s: there are %d serial ports", value,
				 PORTS_SERIAL);
	if (strcmp(value, "none") == 0) {
		serial->kind = CONSOLE_NONE;
	} else if (strcmp(value, "stdio") == 0) {
		if (p->n_serial && p->o->machine.serial[0].kind == CONSOLE_STDIO)
			return bad("--serial", value, "used twice");
		serial->kind = CONSOLE_STDIO;
	} else if (strncmp(value, "file:", 5) == 0 && value[5]) {
		serial->kind = CONSOLE_FILE;
		serial->path = value + 5;
	} else if (strncmp(value, "unix:", 5) == 0 && value[5]) {
		serial->kind = CONSOLE_UNIX;
		serial->path = value + 5;
	} else {
		return bad("--serial", value,
			   "not a place for a console (write stdio, none, unix:PATH or file:PATH)");
	}
	p->n_serial++;
	return CMD_OK;
}

/* A machine that comes from another one. */
static int take_incoming(struct parse *p, const char *value)
{
	struct why why;

	p->o->incoming = p->o->from = NULL; /* an earlier one */
	if (strncmp(value, "file:", 5) == 0 && value[5]) {
		p->o->incoming = value + 5;
		return CMD_OK;
	}
	if (strncmp(value, "unix:", 5) != 0 && strncmp(value, "tcp:", 4) != 0)
		return bad("--incoming", value,
			   "not a place to come from (write file:PATH, unix:PATH or "
			   "tcp:HOST:PORT)");
	if (address_parse(value, &p->o->address, &why) < 0)
		return cmd_error("run", CMD_USAGE, "--incoming %s", why.text);
	p->o->from = value;
	return CMD_OK;
}

static int take_in_list(const char *option, const char *value, const char **list, unsigned *n)
{
	if (*n >= RUN_LIST_MAX)
		return cmd_error("run", CMD_USAGE, "%s %s: more than %d of them", option, value,
				 RUN_LIST_MAX);
	list[(*n)++] = value;
	return CMD_OK;
}

static int take_value(struct parse *p, const char *option, const char *value)
{
	struct machine_config *m = &p->o->machine;

	if (strcmp(option, "--cpus") == 0)
		return take_cpus(p, value);
	if (strcmp(option, "--memory") == 0)
		return take_memory(p, value);
	if (strcmp(option, "--serial") == 0)
		return take_serial(p, value);
	if (strcmp(option, "--incoming") == 0)
		return take_incoming(p, value);
	if (strcmp(option, "--initrd") == 0)
		return take_in_list(option, value, p->o->initrds, &p->n_initrds);
	if (strcmp(option, "--env") == 0) {
		if (!strchr(value, '=') || *value == '=')
			return bad(option, value, "not of the form NAME=VALUE");
		return take_in_list(option, value, p->o->env, &p->n_env);
	}
	if (strcmp(option, "--qmp") == 0)
		p->o->qmp = value;
	else if (strcmp(option, "--kernel") == 0)
		m->kernel = value;
	else if (strcmp(option, "--append") == 0)
		m->append = value;
	else
		p->date = value;
	return CMD_OK;
}

/* Whether one console would write over the other: the same path, or one file by two.  Devices take
 * both. */
static bool same_place(const struct console_config *a, const struct console_config *b)
{
	struct stat x, y;

	if (!a->path || !b->path)
		return false;
	if (stat(a->path, &x) == 0 && (S_ISCHR(x.st_mode) || S_ISFIFO(x.st_mode)))
		return false;
	if (strcmp(a->path, b->path) == 0)
		return true;
	return stat(a->path, &x) == 0 && stat(b->path, &y) == 0 && x.st_dev == y.st_dev &&
	       x.st_ino == y.st_ino;
}

static bool is_at(const char *a, const char *b)
{
	return a && b && strcmp(a, b) == 0;
}

static int check_places(const struct parse *p)
{
	const struct console_config *serial = p->o->machine.serial;

	for (unsigned i = 0; i < p->n_serial; i++)
		for (unsigned j = 0; j < i; j++)
			if (same_place(&serial[i], &serial[j]))
				return cmd_error("run", CMD_USAGE,
						 "--serial %s: both serial ports would write there "
						 "(give two places)",
						 serial[i].path);
	for (unsigned i = 0; i < p->n_serial; i++)
		if (is_at(p->o->qmp, serial[i].path))
			return bad("--qmp", p->o->qmp,
				   "a serial port is there (give another path)");
	if (!p->o->from || p->o->address.tcp)
		return CMD_OK;
	if (is_at(p->o->qmp, p->o->address.path))
		return bad("--incoming", p->o->from, "QMP is there (give another path)");
	for (unsigned i = 0; i < p->n_serial; i++)
		if (is_at(serial[i].path, p->o->address.path))
			return bad("--incoming", p->o->from,
				   "a serial port is there (give another path)");
	return CMD_OK;
}

/* The digits of a fraction of a second and the zone of an ISO 8601 instant.  False: malformed. */
static bool parse_tail(const char *s, int64_t *ret_ns)
{
	int64_t fraction = 0, digit = NS_PER_S / 10;
	int hours, minutes, used = 0;
	char sign;

	if (*s == '.') {
		if (*++s < '0' || *s > '9')
			return false;
		for (; *s >= '0' && *s <= '9'; s++, digit /= 10)
			fraction += (*s - '0') * digit;
	}
	*ret_ns = fraction;
	if (strcmp(s, "Z") == 0 || *s == '\0')
		return true;
	if (sscanf(s, "%c%2d:%2d%n", &sign, &hours, &minutes, &used) != 3 || s[used] ||
	    (sign != '+' && sign != '-') || hours > 23 || minutes > 59)
		return false;
	*ret_ns += (sign == '+' ? -1 : 1) * (hours * 60LL + minutes) * 60 * NS_PER_S;
	return true;
}

/* Seconds of 1970 to 2230.  False: malformed, or no such day or second (timegm() would make
 * 3 March of 31 February, and the next minute of second 60). */
static bool parse_date(const char *text, int64_t *ret_seconds, const char **ret_tail)
{
	struct tm t = {0}, same;

	*ret_tail = strptime(text, "%Y-%m-%dT%H:%M:%S", &t);
	if (!*ret_tail || t.tm_year < 70 || t.tm_year > 330)
		return false;
	same = t;
	*ret_seconds = timegm(&same);
	return same.tm_mon == t.tm_mon && same.tm_mday == t.tm_mday && same.tm_sec == t.tm_sec;
}

static int take_date(struct parse *p)
{
	struct machine_config *m = &p->o->machine;
	int64_t seconds, rest;
	const char *tail;

	if (!p->date || strcmp(p->date, "now") == 0)
		return CMD_OK;
	if (!parse_date(p->date, &seconds, &tail) || !parse_tail(tail, &rest))
		return bad("--date", p->date,
			   "not `now` or an instant such as 2026-03-29T01:30:00Z");
	if (m->kvm_clock == MACHINE_KVM_CLOCK_KERNEL)
		return bad("--date", p->date,
			   "the kernel's kvm-clock always shows the host's date (take --kvm-clock "
			   "user)");
	m->has_date = true;
	m->date_ns = seconds * NS_PER_S + rest;
	return CMD_OK;
}

static void settle_choices(struct parse *p)
{
	static const enum machine_pit pits[] = {MACHINE_PIT_USER, MACHINE_PIT_KERNEL,
						MACHINE_PIT_NONE};
	static const enum machine_rtc rtcs[] = {MACHINE_RTC_EXACT, MACHINE_RTC_PC,
						MACHINE_RTC_NONE};
	static const enum vmt_ticks ticks[] = {VMT_TICKS_DISCARD, VMT_TICKS_CATCHUP,
					       VMT_TICKS_DELAY, VMT_TICKS_MERGE};
	static const enum machine_kvm_clock clocks[] = {
		MACHINE_KVM_CLOCK_USER, MACHINE_KVM_CLOCK_KERNEL, MACHINE_KVM_CLOCK_NONE};
	static const enum machine_steal steals[] = {MACHINE_STEAL_KERNEL, MACHINE_STEAL_USER,
						    MACHINE_STEAL_NONE};
	static const enum vmt_policy policies[] = {VMT_POLICY_AUTO, VMT_POLICY_CONTINUE,
						   VMT_POLICY_FREEZE};
	struct machine_config *m = &p->o->machine;

	m->pit = pits[p->picked[PIT]];
	m->rtc = rtcs[p->picked[RTC]];
	m->pm_timer = p->picked[PM_TIMER] == 0;
	m->hpet = p->picked[HPET] == 0;
	m->kvm_clock = clocks[p->picked[KVM_CLOCK]];
	m->discipline = p->picked[DISCIPLINE] == 0;
	m->steal = steals[p->picked[STEAL]];
	m->ticks = ticks[p->picked[TICKS]];
	m->on_pause = policies[p->picked[ON_PAUSE]];
	m->on_restore = policies[p->picked[ON_RESTORE]];
	m->on_migrate = policies[p->picked[ON_MIGRATE]];
	m->tsc_hint = p->picked[TSC_HINT] == 0;
	m->tsc.invariant = p->picked[INVTSC] == 1;
	m->tsc.portable = p->picked[TSC] == 1;
	m->tsc.uncounted = p->picked[COUNTER] == 1;
}

static bool comes(const struct run_options *o)
{
	return o->incoming || o->from;
}

/* The kernel that was fetched, or the one that this machine runs; with it the observer.  A machine
 * that comes from another one needs them when it is booted again, and may have none. */
static int default_images(struct parse *p)
{
	struct run_options *o = p->o;
	struct utsname u;

	if (o->machine.kernel)
		return CMD_OK;
	if (files_kernel("guest", o->kernel, sizeof(o->kernel)) < 0) {
		if (uname(&u) < 0 ||
		    snprintf(o->kernel, sizeof(o->kernel), "/boot/vmlinuz-%s", u.release) >=
			    (int)sizeof(o->kernel) ||
		    access(o->kernel, R_OK) < 0)
			return comes(o) ? CMD_OK
					: cmd_error("run", CMD_CANNOT,
						    "no kernel to boot: none was fetched (run "
						    "`make setup` or "
						    "give --kernel FILE)");
	}
	o->machine.kernel = o->kernel;
	if (p->n_initrds)
		return CMD_OK;
	if (files_data("observer.cpio", o->observer, sizeof(o->observer)) < 0) {
		if (comes(o)) {
			o->machine.kernel = NULL;
			return CMD_OK;
		}
		return cmd_error("run", CMD_CANNOT,
				 "the observer is missing beside this command (build or install it "
				 "again, or give --initrd FILE)");
	}
	o->initrds[0] = o->observer;
	return CMD_OK;
}

static int unknown(const char *option)
{
	const char *known[CHOICES + COUNT(with_value) + COUNT(without_value) + COUNT(not_yet) + 2] =
		{"--help"};
	size_t n = 1;

	for (size_t i = 0; i < COUNT(without_value); i++)
		known[n++] = without_value[i];
	for (size_t i = 0; i < CHOICES; i++)
		known[n++] = choices[i].name;
	for (size_t i = 0; i < COUNT(with_value); i++)
		known[n++] = with_value[i];
	for (size_t i = 0; i < COUNT(not_yet); i++)
		known[n++] = not_yet[i];
	return cmd_unknown_option("run", option, known);
}

/* One option with its value, which is *value or what follows in `next`. */
static int take(struct parse *p, const char *name, const char *value, const char *next,
		bool *ret_used_next)
{
	unsigned c = 0;

	while (c < CHOICES && strcmp(choices[c].name, name) != 0)
		c++;
	if (c == CHOICES && !is_one_of(with_value, COUNT(with_value), name)) {
		if (is_one_of(without_value, COUNT(without_value), name))
			return cmd_error("run", CMD_USAGE, "%s takes no value", name);
		if (is_one_of(not_yet, COUNT(not_yet), name))
			return cmd_error("run", CMD_USAGE, "%s is not in this version yet", name);
		return unknown(name);
	}
	*ret_used_next = !value;
	if (!value)
		value = next;
	if (!value)
		return cmd_error("run", CMD_USAGE, "%s needs a value (see vmtime run --help)",
				 name);
	return c < CHOICES ? pick(p, c, value) : take_value(p, name, value);
}

static int take_all(struct parse *p, int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		char name[32];
		size_t length = strcspn(argv[i], "=");
		const char *value = argv[i][length] ? argv[i] + length + 1 : NULL;
		bool used_next = false;
		int status;

		if (strncmp(argv[i], "--", 2) != 0)
			return cmd_error("run", CMD_USAGE,
					 "'%s': no such argument (give files with --kernel and "
					 "--initrd)",
					 argv[i]);
		if (length >= sizeof(name))
			return unknown(argv[i]);
		memcpy(name, argv[i], length);
		name[length] = '\0';
		if (strcmp(argv[i], "--exit-port") == 0) {
			p->o->machine.exit_port = true;
			continue;
		}
		if (strcmp(argv[i], "--verbose") == 0) {
			p->o->verbose = true;
			continue;
		}
		status = take(p, name, value, argv[i + 1], &used_next);
		if (status)
			return status;
		i += used_next;
	}
	return CMD_OK;
}

int run_parse(int argc, char **argv, struct run_options *o)
{
	struct parse p = {.o = o};
	int status;

	memset(o, 0, sizeof(*o));
	o->machine.cpus = 1;
	o->machine.memory_bytes = DEFAULT_MEMORY;
	o->machine.append = "console=ttyS0";
	o->machine.initrds = o->initrds;
	o->machine.env = o->env;
	status = take_all(&p, argc, argv);
	if (status)
		return status;
	if (p.n_serial == 0)
		o->machine.serial[0].kind = CONSOLE_STDIO;
	settle_choices(&p);
	if (o->machine.steal == MACHINE_STEAL_USER &&
	    o->machine.kvm_clock == MACHINE_KVM_CLOCK_NONE)
		return bad("--steal", "user",
			   "without KVM's clock the guest sees none of KVM (leave out --kvm-clock "
			   "none)");
	if (o->machine.tsc.portable && o->machine.tsc.invariant)
		return bad("--tsc", "portable",
			   "its frequency may change, so it is not invariant (leave out --invtsc "
			   "on)");
	if (o->machine.tsc.uncounted && o->machine.tsc.invariant)
		return bad(
			"--counter", "monotonic",
			"who does not rely on the TSC cannot promise an invariant one (leave out "
			"--invtsc on)");
	if (comes(o) && o->machine.tsc.khz)
		return bad("--incoming", o->incoming ? o->incoming : o->from,
			   "a TSC has the frequency that it had (leave out --tsc)");
	status = check_places(&p);
	if (!status)
		status = take_date(&p);
	return status ? status : default_images(&p);
}
