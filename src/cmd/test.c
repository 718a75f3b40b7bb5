/* SPDX-License-Identifier: Apache-2.0 */
/* test.c - vmtime test: how wrong is a guest's clock, in nanoseconds. */
#include <errno.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "cmd/cmd.h"
#include "cmd/files.h"
#include "cmd/lab.h"
#include "cmd/test.h"
#include "cmd/test_memory.h"
#include "cmd/test_plan.h"
#include "cmd/test_subject.h"
#include "cmd/where.h"
#include "host/hostclock.h"

enum { MAX_CPUS = 64, MAX_REPEAT = 1000, MAX_PAUSES = 100000, PAUSES = 100, MAX_CLONES = 1000 };
enum { MAX_MIGRATIONS = 10000, MIGRATIONS = 5 };

static const uint64_t least_memory = 128ULL << 20;
static const uint64_t longest_ns = 86400000000000; /* judge_steady's sums are made for a day */

/* Named in the manual, not there yet. */
static const char *const later_scenarios[] = {"warp", "ntp", NULL};

static int find(const char *const *names, int count, const char *name)
{
	for (int i = 0; i < count && names[i]; i++)
		if (strcmp(names[i], name) == 0)
			return i;
	return -1;
}

static int refuse(const char *what, const char *name)
{
	return cmd_error("test", CMD_USAGE, "%s %s is not in this version yet", what, name);
}

static int take_subject(struct test_options *o, const char *name)
{
	int n = find(test_subject_names, TEST_SUBJECTS, name);

	if (n < 0)
		return cmd_error("test", CMD_USAGE, "no subject '%s' (vmtime, qemu)", name);
	for (unsigned i = 0; i < o->subject_count; i++)
		if ((int)o->subjects[i] == n)
			return CMD_OK;
	o->subjects[o->subject_count++] = (enum test_subject)n;
	return CMD_OK;
}

static int take_clocksource(struct test_options *o, const char *name)
{
	struct judge_clock clock;

	if (strcmp(name, "hyperv") == 0)
		return refuse("clock source", name);
	if (!judge_find_clock(name, 0, 0, &clock))
		return cmd_error("test", CMD_USAGE,
				 "no clock source '%s' (kvm-clock, tsc, hpet, acpi_pm, jiffies)",
				 name);
	for (unsigned i = 0; i < o->clocksource_count; i++)
		if (strcmp(o->clocksources[i], name) == 0)
			return CMD_OK;
	o->clocksources[o->clocksource_count++] = name;
	return CMD_OK;
}

static int take_scenario(struct test_options *o, const char *name)
{
	int n = find(test_scenario_names, TEST_SCENARIOS, name);

	if (strcmp(name, "all") == 0) {
		for (int i = 0; i < TEST_SCENARIOS; i++)
			o->scenarios[i] = true;
		return CMD_OK;
	}
	if (n < 0 && find(later_scenarios, INT32_MAX, name) >= 0)
		return refuse("scenario", name);
	if (n < 0)
		return cmd_error("test", CMD_USAGE,
				 "no scenario '%s' (boot, steady, pause, pauses, snapshot, "
				 "migrate, migrations, hoststep, suspend, overcommit, steal, "
				 "faces, ticks, costs, all)",
				 name);
	o->scenarios[n] = true;
	return CMD_OK;
}

/* Each part of a list separated by commas, which is cut in place. */
static int take_list(struct test_options *o, char *list,
		     int (*take)(struct test_options *o, const char *name), const char *option)
{
	int status = CMD_OK;
	char *save = NULL, *name = strtok_r(list, ",", &save);

	if (!name)
		return cmd_error("test", CMD_USAGE, "%s is empty", option);
	for (; name && !status; name = strtok_r(NULL, ",", &save))
		status = take(o, name);
	return status;
}

static int take_duration(const char *option, const char *text, uint64_t *ret_ns)
{
	int error = cmd_parse_duration(text, ret_ns);

	if (error == -EDOM)
		return cmd_error("test", CMD_USAGE, "%s %s has no unit (%ss, %smin)", option, text,
				 text, text);
	if (error == -ERANGE || (!error && (*ret_ns == 0 || *ret_ns > longest_ns)))
		return cmd_error("test", CMD_USAGE, "%s %s: it has to be 1ns to 24h", option, text);
	if (error)
		return cmd_error("test", CMD_USAGE, "%s %s is no duration (10s, 2min, 1us)", option,
				 text);
	return CMD_OK;
}

/* How far the ledger and the guest's count may lie apart. */
static int take_count(const char *text, uint64_t *ret_count)
{
	char *end;

	errno = 0;
	*ret_count = strtoull(text, &end, 10);
	if (*text < '0' || *text > '9' || *end || errno || *ret_count == 0)
		return cmd_error("test", CMD_USAGE,
				 "--limit ticks=%s: it is a number of ticks, at least 1", text);
	return CMD_OK;
}

/* SCENARIO=DUR, or ticks=N */
static int take_limit(struct test_options *o, char *text)
{
	char *value = strchr(text, '=');
	int n;

	if (!value)
		return cmd_error("test", CMD_USAGE, "--limit %s: SCENARIO=DUR is wanted", text);
	*value++ = '\0';
	n = find(test_scenario_names, TEST_SCENARIOS, text);
	if (n < 0 && find(later_scenarios, INT32_MAX, text) >= 0)
		return refuse("scenario", text);
	if (n < 0)
		return cmd_error(
			"test", CMD_USAGE,
			"--limit: no scenario '%s' (boot, steady, pause, pauses, snapshot, "
			"migrate, migrations, hoststep, suspend, overcommit, steal, faces, ticks)",
			text);
	if (n == TEST_COSTS)
		return cmd_error("test", CMD_USAGE,
				 "--limit costs: what a reading costs is shown, and not judged");
	if (n == TEST_TICKS)
		return take_count(value, &o->ticks_limit);
	return take_duration("--limit", value, &o->limits_ns[n]);
}

static int take_number(const char *option, const char *text, unsigned max, unsigned *ret_number)
{
	char *end;
	unsigned long number = strtoul(text, &end, 10);

	if (*text < '0' || *text > '9' || *end || number < 1 || number > max)
		return cmd_error("test", CMD_USAGE, "%s %s: it has to be a number from 1 to %u",
				 option, text, max);
	*ret_number = (unsigned)number;
	return CMD_OK;
}

static int take_memory(const char *text, uint64_t *ret_bytes)
{
	int error = cmd_parse_size(text, ret_bytes);

	if (error)
		return cmd_error("test", CMD_USAGE, "--memory %s is no size (512M, 2G)", text);
	if (*ret_bytes < least_memory || *ret_bytes > 1ULL << 40 || *ret_bytes % 4096)
		return cmd_error("test", CMD_USAGE,
				 "--memory %s: the guest needs 128M to 1T, in whole pages", text);
	return CMD_OK;
}

enum { JSON = 256, SUBJECT, CLOCKSOURCE, SCENARIO, DURATION, REPEAT, CPUS, MEMORY };
enum { KERNEL = MEMORY + 1, APPEND, QEMU, QEMU_ARGS, LIMIT, KEEP, MANY, MOVES, CLONES };

static const struct option long_options[] = {{"subject", required_argument, NULL, SUBJECT},
					     {"clocksource", required_argument, NULL, CLOCKSOURCE},
					     {"scenario", required_argument, NULL, SCENARIO},
					     {"duration", required_argument, NULL, DURATION},
					     {"repeat", required_argument, NULL, REPEAT},
					     {"pauses", required_argument, NULL, MANY},
					     {"migrations", required_argument, NULL, MOVES},
					     {"clones", required_argument, NULL, CLONES},
					     {"cpus", required_argument, NULL, CPUS},
					     {"memory", required_argument, NULL, MEMORY},
					     {"kernel", required_argument, NULL, KERNEL},
					     {"append", required_argument, NULL, APPEND},
					     {"qemu", required_argument, NULL, QEMU},
					     {"qemu-args", required_argument, NULL, QEMU_ARGS},
					     {"limit", required_argument, NULL, LIMIT},
					     {"keep", required_argument, NULL, KEEP},
					     {"json", optional_argument, NULL, JSON},
					     {NULL, 0, NULL, 0}};

static int take_option(struct test_options *o, int option, char *value)
{
	switch (option) {
	case SUBJECT:
		return take_list(o, value, take_subject, "--subject");
	case CLOCKSOURCE:
		return take_list(o, value, take_clocksource, "--clocksource");
	case SCENARIO:
		return take_list(o, value, take_scenario, "--scenario");
	case DURATION:
		return take_duration("--duration", value, &o->duration_ns);
	case REPEAT:
		return take_number("--repeat", value, MAX_REPEAT, &o->repeat);
	case MANY:
		return take_number("--pauses", value, MAX_PAUSES, &o->pauses);
	case MOVES:
		return take_number("--migrations", value, MAX_MIGRATIONS, &o->migrations);
	case CLONES:
		return take_number("--clones", value, MAX_CLONES, &o->clones);
	case CPUS:
		return take_number("--cpus", value, MAX_CPUS, &o->cpus);
	case MEMORY:
		return take_memory(value, &o->memory);
	case LIMIT:
		return take_limit(o, value);
	case KERNEL:
		o->kernel = value;
		return CMD_OK;
	case APPEND:
		o->append = value;
		return CMD_OK;
	case QEMU:
		o->qemu = value;
		return CMD_OK;
	case QEMU_ARGS:
		o->qemu_args = value;
		return CMD_OK;
	case KEEP:
		o->keep = value;
		return CMD_OK;
	default:
		o->json = true;
		o->json_file = value;
		return CMD_OK;
	}
}

/* The policy that a scenario would have to try and cannot: it promises neither of the two that
 * are judged.  NULL: none. */
static const char *untried(const struct test_options *o, const char *option)
{
	const char *policy = test_run_option(o, option);

	return policy && strcmp(policy, "continue") != 0 && strcmp(policy, "freeze") != 0 ? policy
											  : NULL;
}

/* What was not said: vmtime, kvm-clock, and of the scenarios boot, steady, and pause, snapshot and
 * migrate unless they have nothing to try. */
static void fill_defaults(struct test_options *o)
{
	bool any = false;

	if (o->subject_count == 0)
		o->subjects[o->subject_count++] = TEST_VMTIME;
	if (o->clocksource_count == 0)
		o->clocksources[o->clocksource_count++] = "kvm-clock";
	for (int i = 0; i < TEST_SCENARIOS; i++)
		any |= o->scenarios[i];
	for (int i = 0; i < TEST_DEFAULT && !any; i++)
		o->scenarios[i] = true;
	o->scenarios[TEST_PAUSE] |= !any && !untried(o, "--on-pause");
	o->scenarios[TEST_SNAPSHOT] |= !any && !untried(o, "--on-restore");
	o->scenarios[TEST_MIGRATE] |= !any && !untried(o, "--on-migrate");
}

/* What goes together and what does not. */
static int check(const struct test_options *o)
{
	static const struct {
		enum test_scenario scenario;
		const char *option;
	} policies[] = {{TEST_PAUSE, "--on-pause"},
			{TEST_PAUSES, "--on-pause"},
			{TEST_SNAPSHOT, "--on-restore"},
			{TEST_MIGRATE, "--on-migrate"},
			{TEST_MIGRATIONS, "--on-migrate"}};
	bool vmtime = false;

	for (unsigned i = 0; i < o->subject_count; i++)
		vmtime |= o->subjects[i] == TEST_VMTIME;
	if (!vmtime && o->run_options[0])
		return cmd_error(
			"test", CMD_USAGE,
			"options after -- are for vmtime run, which is not a subject here");
	for (size_t i = 0; i < sizeof(policies) / sizeof(policies[0]); i++) {
		const char *policy = untried(o, policies[i].option);

		if (o->scenarios[policies[i].scenario] && policy)
			return cmd_error("test", CMD_USAGE,
					 "%s %s: scenario %s tries continue and freeze",
					 policies[i].option, policy,
					 test_scenario_names[policies[i].scenario]);
	}
	if (o->kernel && access(o->kernel, R_OK) < 0)
		return cmd_error("test", CMD_USAGE, "cannot read kernel %s: %s", o->kernel,
				 strerror(errno));
	for (int i = 0; i < TEST_SCENARIOS; i++)
		if ((i == TEST_TICKS ? o->ticks_limit : o->limits_ns[i]) && !o->scenarios[i])
			return cmd_error("test", CMD_USAGE,
					 "--limit %s: that scenario is not run here",
					 test_scenario_names[i]);
	if (o->pauses && !o->scenarios[TEST_PAUSES])
		return cmd_error("test", CMD_USAGE,
				 "--pauses: scenario pauses is not run here (give --scenario "
				 "pauses)");
	if (o->migrations && !o->scenarios[TEST_MIGRATIONS])
		return cmd_error("test", CMD_USAGE,
				 "--migrations: scenario migrations is not run here (give "
				 "--scenario migrations)");
	if (o->clones && !o->scenarios[TEST_SNAPSHOT])
		return cmd_error("test", CMD_USAGE,
				 "--clones: scenario snapshot is not run here (give --scenario "
				 "snapshot)");
	return CMD_OK;
}

/* `lists` holds copies of the arguments that are cut; the command line itself may be needed again
 * in the lab. */
static int parse(int argc, char **argv, struct test_options *o, char **lists)
{
	int option, status = CMD_OK, copies = 0;

	while (!status && (option = cmd_next_option("test", argc, argv, long_options)) != -1) {
		if (option == '?')
			return CMD_USAGE;
		lists[copies] = optarg ? strdup(optarg) : NULL;
		if (optarg && !lists[copies])
			return cmd_error("test", CMD_CANNOT, "out of memory");
		status = take_option(o, option, lists[copies++]);
	}
	if (status)
		return status;
	if (optind < argc && strcmp(argv[optind - 1], "--") != 0)
		return cmd_error("test", CMD_USAGE,
				 "'%s' is no option (those for vmtime run go after --)",
				 argv[optind]);
	o->run_options = argv + optind;
	fill_defaults(o);
	status = check(o);
	o->pauses = o->pauses ? o->pauses : PAUSES;
	o->migrations = o->migrations ? o->migrations : MIGRATIONS;
	o->clones = o->clones ? o->clones : 1;
	return status;
}

static int find_kernel(const char *wanted, char *buf, size_t size)
{
	struct utsname name;

	if (wanted) {
		snprintf(buf, size, "%s", wanted);
		return CMD_OK;
	}
	if (files_kernel("guest", buf, size) == 0)
		return CMD_OK;
	uname(&name);
	snprintf(buf, size, "/boot/vmlinuz-%s", name.release);
	if (access(buf, R_OK) == 0)
		return CMD_OK;
	return cmd_error(
		"test", CMD_CANNOT,
		"no kernel for the guest (scripts/fetch-kernels gets one; or --kernel FILE)");
}

static int find_part(const char *name, char *buf, size_t size)
{
	if (files_data(name, buf, size) == 0)
		return CMD_OK;
	return cmd_error("test", CMD_CANNOT,
			 "%s is not beside this command (build or install it whole)", name);
}

/* The status that it was given, unless the table does not get out. */
static int print_table(const struct test_options *o, const struct test_report *report, int status)
{
	test_report_table(o, report);
	if (fflush(stdout) == 0 && !ferror(stdout))
		return status;
	return cmd_error("test", CMD_CANNOT, "cannot write to standard output: %s",
			 strerror(errno));
}

/* A file or directory that is to be written in the end, tried before the first boot. */
static int check_written(const char *option, const char *path)
{
	struct stat status;
	char *copy = strdup(path);
	bool there = stat(path, &status) == 0;
	int error = 0;

	if (!copy)
		return cmd_error("test", CMD_CANNOT, "out of memory");
	if (there && !S_ISREG(status.st_mode) && access(path, W_OK) < 0)
		error = errno;
	else if (there && S_ISDIR(status.st_mode) != (strcmp(option, "--keep") == 0))
		error = S_ISDIR(status.st_mode) ? EISDIR : ENOTDIR;
	else if ((!there || S_ISREG(status.st_mode)) && access(dirname(copy), W_OK | X_OK) < 0)
		error = errno;
	free(copy);
	if (error)
		return cmd_error("test", CMD_USAGE, "cannot write %s %s: %s", option, path,
				 strerror(error));
	return CMD_OK;
}

/* The lab that scenario suspend suspends loses the files that are lent to it. */
static int check_lost(const struct test_options *o)
{
	const bool inside = getenv(LAB_VARIABLE);

	if (!o->scenarios[TEST_SUSPEND] || (!o->keep && !(o->json_file && inside)))
		return CMD_OK;
	return cmd_error("test", CMD_USAGE,
			 "the lab that scenario suspend suspends loses the files that are lent to "
			 "it, and %s cannot be written (%s)",
			 o->keep ? o->keep : o->json_file,
			 o->keep ? "name the other scenarios without it"
				 : "use --json >FILE, or run this outside of the lab");
}

/* The counts of all CPUs are taken for one clock: only the kernel can say that they are. */
static int check_tsc(void)
{
	char source[32] = "unknown";

	if (hostclock_tsc_is_stable())
		return CMD_OK;
	hostclock_source(source, sizeof(source));
	return cmd_error("test", CMD_CANNOT,
			 "this machine's clocksource is %s, so its TSC is not to be measured with "
			 "(boot with clocksource=tsc where the TSC is invariant)",
			 source);
}

static int run(int argc, char **argv, const struct test_options *o)
{
	const bool two = o->scenarios[TEST_SNAPSHOT] || o->scenarios[TEST_MIGRATE] ||
			 o->scenarios[TEST_MIGRATIONS];
	const char *written[3] = {NULL};
	struct where_needs needs = {.memory = o->memory + (two ? o->memory : 0),
				    .timeout_ns = test_plan_longest_ns(o),
				    .written = written};
	struct test_report report = {0};
	char kernel[PATH_MAX] = "", initrd[PATH_MAX] = "", probe[PATH_MAX] = "";
	const struct test_images images = {.kernel = kernel, .initrd = initrd, .probe = probe};
	int status, n = 0, error;

	if (o->json_file && !o->scenarios[TEST_SUSPEND])
		written[n++] = o->json_file;
	if (o->keep)
		written[n++] = o->keep;
	status = check_lost(o);
	if (!status && o->json_file)
		status = check_written("--json", o->json_file);
	if (!status && o->keep)
		status = check_written("--keep", o->keep);
	if (!status && test_has_linux(o))
		status = find_kernel(o->kernel, kernel, sizeof(kernel));
	if (!status && test_has_linux(o))
		status = find_part("observer.cpio", initrd, sizeof(initrd));
	if (!status && (o->scenarios[TEST_FACES] || o->scenarios[TEST_TICKS]))
		status = find_part("probe.elf", probe, sizeof(probe));
	if (status)
		return status;
	status = o->json_file && o->scenarios[TEST_SUSPEND]
			 ? test_memory_report(o, argc, argv, &needs)
			 : where_run(argc, argv, &needs);
	if (status != WHERE_HERE)
		return status;
	status = check_tsc();
	if (!status && o->scenarios[TEST_SUSPEND] && getenv(LAB_VARIABLE))
		status = test_memory_run(o, &images, argc, argv);
	if (status)
		return status;
	cmd_format_utc(report.started, sizeof(report.started), hostclock_realtime_ns());
	status = test_plan_run(o, &images, &report);
	if (status == CMD_OK) {
		status = test_report_status(o, &report);
		error = o->json ? test_report_json(o, &report) : 0;
		if (error)
			status = cmd_error("test", CMD_CANNOT, "cannot write the JSON to %s: %s",
					   o->json_file ? o->json_file : "standard output",
					   strerror(-error));
		else if (!o->json)
			status = print_table(o, &report, status);
	}
	test_report_free(&report);
	return status;
}

static int main_test(int argc, char **argv)
{
	struct test_options options = {.repeat = 1, .cpus = 1, .memory = 512ULL << 20};
	char **lists = calloc((size_t)argc + 1, sizeof(*lists));
	int status = lists ? parse(argc, argv, &options, lists)
			   : cmd_error("test", CMD_CANNOT, "out of memory");

	if (!status)
		status = run(argc, argv, &options);
	for (int i = 0; lists && i < argc; i++)
		free(lists[i]);
	free(lists);
	return status;
}

const struct cmd_verb cmd_test = {
	"test", main_test, "how wrong is a guest's clock, in nanoseconds",
	"usage: vmtime test [OPTIONS] [-- RUN-OPTIONS]\n"
	"\n"
	"  --subject LIST      vmtime, qemu; the first is judged, the others are peers (vmtime)\n"
	"  --clocksource LIST  kvm-clock, tsc, hpet, acpi_pm, jiffies (kvm-clock)\n"
	"  --scenario LIST     boot, steady, pause, pauses, snapshot, migrate, migrations,\n"
	"                      hoststep, suspend, overcommit, steal, faces, ticks, costs, all\n"
	"                      (boot,steady,pause,snapshot,migrate)\n"
	"  --duration DUR      of steady (60s; what needs a frequency takes at least 10s), faces "
	"(10s),\n"
	"                      each rate of ticks (3s; the PIT's 1 kHz 10s), pause, snapshot,\n"
	"                      hoststep, suspend (5s)\n"
	"  --pauses N, --migrations N, --clones N\n"
	"                      of scenario pauses (100), of migrations (5), of snapshot (1)\n"
	"  --repeat N          boots of each (1)\n"
	"  --cpus N, --memory SIZE, --kernel FILE, --append STR\n"
	"                      of the guest (1, 512M, the stock kernel, nothing more)\n"
	"  --qemu PATH, --qemu-args STR\n"
	"                      which QEMU, and what it is told besides\n"
	"  --limit SCENARIO=DUR, --limit ticks=N\n"
	"                      another limit\n"
	"  --keep DIR          console, messages and samples of each run stay there\n"
	"  --json[=FILE]       one JSON object instead of the table\n"
	"  RUN-OPTIONS         go to vmtime run\n"
	"\n"
	"example: vmtime test --subject vmtime,qemu --clocksource kvm-clock,tsc --duration 10s\n"};
