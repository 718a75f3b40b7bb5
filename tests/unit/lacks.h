/* SPDX-License-Identifier: Apache-2.0 */
/* lacks.h - a case that cannot run everywhere is left out, with a word, where it cannot.
 *
 * cmocka's skip() writes "not ok # SKIP", which meson counts as a failure; what is left out stands
 * in a line of its own, which scripts/suites counts as skipped. */
#ifndef LACKS_H
#define LACKS_H

#include <cmocka.h>

/* The test; or nothing, when `lacking` says what is missing here. */
static inline struct CMUnitTest unless(const char *lacking, struct CMUnitTest test)
{
	if (!lacking)
		return test;
	print_message("# left out: %s: %s\n", test.name, lacking);
	return (struct CMUnitTest){.name = NULL};
}

#endif
