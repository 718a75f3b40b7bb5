/* SPDX-License-Identifier: Apache-2.0 */
/* cmd.h - what the verbs of the vmtime command share. */
#ifndef CMD_CMD_H
#define CMD_CMD_H

#include <getopt.h>
#include <stdint.h>
#include <stddef.h>
#include <stdbool.h>

#define VMTIME_VERSION "0.1.0"

/* Exit statuses, part of the contract with scripts. */
enum cmd_exit {
	CMD_OK = 0,
	CMD_FAULT = 1,     /* something exceeds its limit, a fault found */
	CMD_USAGE = 2,     /* usage or bad input */
	CMD_CANNOT = 3,    /* cannot be done here */
	CMD_SKIPPED = 77,  /* asked for and skipped whole */
	CMD_TIMEOUT = 124, /* a time limit ended it */
};

struct cmd_verb {
	const char *name;
	int (*main)(int argc, char **argv); /* argv[0] is the verb */
	const char *summary;                /* one line, for `vmtime help` */
	const char *synopsis;               /* for `VERB --help`, with one example */
	bool runs_command; /* the words after its options are another command's, --help too */
};

/* One file a verb. */
extern const struct cmd_verb cmd_run, cmd_test, cmd_plan, cmd_lab;

/* "vmtime VERB: what: why (what to do)" on stderr, one line; returns `status`. */
int cmd_error(const char *verb, int status, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* The word of `known` (NULL-ended) that is nearest: the first that begins so, where one does, else
 * the one that takes the fewest letters to be made of it.  NULL: there are none. */
const char *cmd_nearest(const char *word, const char *const *known);

/* An option that is none of `known` (NULL-ended, with their dashes): names it and the nearest known
 * one on stderr; returns CMD_USAGE. */
int cmd_unknown_option(const char *verb, const char *option, const char *const *known);

/* getopt_long() over at most CMD_OPTIONS_MAX long options, in order and by their whole names; -1
 * when none is left; '?' when something is wrong, which was then said on stderr. */
#define CMD_OPTIONS_MAX 32
int cmd_next_option(const char *verb, int argc, char **argv, const struct option *options);

/* "200ns 1us 500ms 5s 2min 1h", decimals allowed where they come out whole.  0, -EINVAL (not a
 * duration), -EDOM (a bare number) or -ERANGE. */
int cmd_parse_duration(const char *text, uint64_t *ret_ns);

/* "512M", "2G", "64K", bytes without a suffix.  0, -EINVAL or -ERANGE. */
int cmd_parse_size(const char *text, uint64_t *ret_bytes);

/* The shortest exact text of a duration for people: "+312 ns", "-5.01 s" at three digits. */
void cmd_format_ns(char *buf, size_t size, int64_t ns, bool sign);

/* "2026-11-25T18:11:00.123456789Z"; `size` is at least CMD_UTC_SIZE. */
#define CMD_UTC_SIZE 32
void cmd_format_utc(char *buf, size_t size, int64_t utc_ns);

#endif
