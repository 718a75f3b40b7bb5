/* SPDX-License-Identifier: Apache-2.0 */
/* plan.c - vmtime plan: what an event would do to a guest's clocks and chips. */
#include <errno.h>
#include <string.h>

#include "cmd/cmd.h"
#include "cmd/plan.h"

static const uint64_t longest_ns = 10ULL * 365 * 86400 * 1000000000; /* ten years */

enum option_code { POLICY = 256, CLOCKSOURCE, TICKS, BOUND, JSON };

static const struct option options[] = {{"policy", required_argument, NULL, POLICY},
					{"clocksource", required_argument, NULL, CLOCKSOURCE},
					{"ticks", required_argument, NULL, TICKS},
					{"bound", required_argument, NULL, BOUND},
					{"json", optional_argument, NULL, JSON},
					{NULL, 0, NULL, 0}};

struct line {
	struct plan_ask ask;
	const char *event, *duration;
	bool has_policy, json;
	const char *bound;     /* NULL: not given */
	const char *json_file; /* NULL: standard output */
};

static int find(const char *const *names, int count, const char *name)
{
	for (int i = 0; i < count; i++)
		if (strcmp(names[i], name) == 0)
			return i;
	return -1;
}

/* One of a few words. */
static int take_word(const char *option, const char *const *names, int count, const char *value,
		     const char *possible, int *ret_n)
{
	*ret_n = find(names, count, value);
	if (*ret_n < 0)
		return cmd_error("plan", CMD_USAGE, "%s %s: unknown value (possible: %s)", option,
				 value, possible);
	return CMD_OK;
}

static int take_clocksource(struct line *l, const char *value)
{
	const char *name = strcmp(value, "tsc-early") == 0         ? "tsc"
			   : strcmp(value, "refined-jiffies") == 0 ? "jiffies"
								   : value;
	int n = find(plan_source_names, PLAN_SOURCES, name);

	if (strcmp(value, "hyperv") == 0)
		return cmd_error("plan", CMD_USAGE,
				 "--clocksource hyperv is not in this version yet (possible: "
				 "kvm-clock, tsc, hpet, acpi_pm, jiffies)");
	if (n < 0)
		return cmd_error("plan", CMD_USAGE,
				 "--clocksource %s: no such clock source (possible: kvm-clock, "
				 "tsc, hpet, acpi_pm, jiffies)",
				 value);
	l->ask.source = (enum plan_source)n;
	return CMD_OK;
}

static int take_option(struct line *l, int option, const char *value)
{
	int status = CMD_OK, n = 0;

	switch (option) {
	case POLICY:
		status = take_word("--policy", plan_policy_names, 3, value,
				   "auto, continue, freeze", &n);
		l->ask.policy = (uint32_t)n;
		l->has_policy = true;
		return status;
	case CLOCKSOURCE:
		return take_clocksource(l, value);
	case TICKS:
		status = take_word("--ticks", plan_ticks_names, 4, value,
				   "discard, catchup, delay, merge", &n);
		l->ask.ticks = (uint32_t)n;
		return status;
	case BOUND:
		l->bound = value;
		return CMD_OK;
	case JSON:
		l->json = true;
		l->json_file = value;
		return CMD_OK;
	default:
		return CMD_USAGE;
	}
}

static int take_argument(struct line *l, const char *word)
{
	if (!l->event)
		l->event = word;
	else if (!l->duration)
		l->duration = word;
	else
		return cmd_error("plan", CMD_USAGE,
				 "'%s' is one word too many (write: vmtime plan EVENT DUR)", word);
	return CMD_OK;
}

/* -1h is a duration and not an option. */
static bool is_argument(const char *word)
{
	return word[0] != '-' || (word[1] >= '0' && word[1] <= '9') || word[1] == '.';
}

static int take_line(struct line *l, int argc, char **argv)
{
	bool only_arguments = false;
	int status = CMD_OK;

	optind = 1;
	while (!status && optind < argc) {
		if (only_arguments || is_argument(argv[optind])) {
			status = take_argument(l, argv[optind++]);
		} else if (strcmp(argv[optind], "--") == 0) {
			only_arguments = true;
			optind++;
		} else {
			const int option = cmd_next_option("plan", argc, argv, options);

			status = take_option(l, option, optarg);
		}
	}
	return status;
}

static int take_event(struct line *l)
{
	const char *known[PLAN_EVENTS + 1] = {NULL};
	int n;

	if (!l->event)
		return cmd_error("plan", CMD_USAGE,
				 "no event (write: vmtime plan EVENT DUR, where EVENT is pause, "
				 "restore, migrate, suspend or host-step)");
	n = find(plan_event_names, PLAN_EVENTS, l->event);
	if (n < 0) {
		for (int i = 0; i < PLAN_EVENTS; i++)
			known[i] = plan_event_names[i];
		return cmd_error("plan", CMD_USAGE,
				 "unknown event '%s' (the nearest known one is '%s')", l->event,
				 cmd_nearest(l->event, known));
	}
	l->ask.event = (enum plan_event)n;
	if (l->has_policy && l->ask.event == PLAN_HOST_STEP)
		return cmd_error("plan", CMD_USAGE,
				 "--policy is not for host-step: a step of the host's clock moves "
				 "UTC alone (leave it out)");
	return CMD_OK;
}

static int take_duration(struct line *l)
{
	const char *name = plan_event_names[l->ask.event], *text = l->duration;
	const bool negative = text && text[0] == '-';
	const bool both = l->ask.event == PLAN_RESTORE || l->ask.event == PLAN_HOST_STEP;
	uint64_t ns;
	int error;

	if (!text)
		return cmd_error("plan", CMD_USAGE,
				 "%s needs a duration (write: vmtime plan %s 5s)", name, name);
	error = cmd_parse_duration(text + (negative || text[0] == '+'), &ns);
	if (error == -EDOM)
		return cmd_error("plan", CMD_USAGE, "%s %s: it has no unit (write %ss or %smin)",
				 name, text, text, text);
	if (!error && ns && negative && !both)
		return cmd_error("plan", CMD_USAGE,
				 "%s %s: it cannot take less than no time (write %s; restore and "
				 "host-step take a negative duration)",
				 name, text, text + 1);
	if (error == -ERANGE || (!error && (ns == 0 || ns > longest_ns)))
		return cmd_error("plan", CMD_USAGE,
				 "%s %s: out of range (give 1ns to 87600h, which are ten years)",
				 name, text);
	if (error)
		return cmd_error("plan", CMD_USAGE,
				 "%s %s: it is no duration (write 500ms, 5s, 2min or 1h)", name,
				 text);
	l->ask.duration_ns = negative ? -(int64_t)ns : (int64_t)ns;
	return CMD_OK;
}

/* The kernel's word for a clock that is synchronised ends at 16 s. */
static int take_bound(struct line *l)
{
	const uint64_t most_ns = 60 * 1000000000ULL;
	int error;

	if (!l->bound)
		return CMD_OK;
	if (l->ask.event != PLAN_MIGRATE)
		return cmd_error("plan", CMD_USAGE,
				 "--bound is for migrate alone: only there two clocks are compared "
				 "(leave it out)");
	error = cmd_parse_duration(l->bound, &l->ask.bound_ns);
	if (error == -EDOM)
		return cmd_error("plan", CMD_USAGE,
				 "--bound %s: it has no unit (write %sus or %sms)", l->bound,
				 l->bound, l->bound);
	if (error || !l->ask.bound_ns || l->ask.bound_ns > most_ns)
		return cmd_error("plan", CMD_USAGE,
				 "--bound %s: no such bound (give 1ns to 60s; the kernel's word is "
				 "maxerror in adjtimex --print)",
				 l->bound);
	return CMD_OK;
}

static int main_plan(int argc, char **argv)
{
	struct line l = {.ask = {.policy = VMT_POLICY_AUTO, .ticks = VMT_TICKS_DISCARD}};
	int status = take_line(&l, argc, argv), error;
	struct plan plan;

	if (!status)
		status = take_event(&l);
	if (!status)
		status = take_duration(&l);
	if (!status)
		status = take_bound(&l);
	if (status)
		return status;
	if (plan_make(&l.ask, &plan) < 0)
		return cmd_error("plan", CMD_USAGE, "%s %s: the clock does not reach so far",
				 l.event, l.duration);
	error = l.json ? plan_print_json(&plan, l.json_file) : plan_print_table(&plan);
	if (error && l.json_file)
		return cmd_error("plan", CMD_USAGE, "cannot write --json %s: %s", l.json_file,
				 strerror(-error));
	if (error)
		return cmd_error("plan", CMD_CANNOT, "cannot write the answer: %s",
				 strerror(-error));
	return plan.fails ? CMD_FAULT : CMD_OK;
}

const struct cmd_verb cmd_plan = {
	"plan", main_plan, "what a pause or a restore would do to a guest's clocks",
	"usage: vmtime plan EVENT DUR [OPTIONS]\n"
	"\n"
	"EVENT is pause, restore, migrate, suspend or host-step.  DUR is its length: 500ms, 5s, "
	"2min,\n"
	"1h; of restore and host-step also a negative one.  Nothing is run and no clock is read.\n"
	"\n"
	"  --policy P          auto (default), continue or freeze; not for host-step\n"
	"  --clocksource C     what the guest tells the time by: kvm-clock (default), tsc, hpet,\n"
	"                      acpi_pm or jiffies\n"
	"  --ticks P           discard (default), catchup, delay or merge\n"
	"  --bound DUR         of migrate: how wrong each host's clock may be\n"
	"  --json[=FILE]       one JSON object instead of the table\n"
	"\n"
	"Exit: 0 the guest comes through right, 1 some of it would be wrong, 2 usage.\n"
	"\n"
	"example: vmtime plan pause 5s --policy continue --clocksource acpi_pm\n",
	false};
