/* SPDX-License-Identifier: Apache-2.0 */
/* why.h - a negative errno with the sentence that explains it.
 *
 * Below src/cmd nothing prints.  A function that can fail in a way a person must understand takes
 * a struct why and fills it with "what failed: why (what to do)"; the verb puts its name before. */
#ifndef HOST_WHY_H
#define HOST_WHY_H

struct why {
	char text[512];
};

/* Fills `why` (which may be NULL) and returns `error`, a negative errno. */
int why_set(struct why *why, int error, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

#endif
