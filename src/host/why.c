/* SPDX-License-Identifier: Apache-2.0 */
/* why.c - a negative errno with the sentence that explains it. */
#include <stdarg.h>
#include <stdio.h>

#include "host/why.h"

int why_set(struct why *why, int error, const char *format, ...)
{
	va_list args;

	if (!why)
		return error;
	va_start(args, format);
	vsnprintf(why->text, sizeof(why->text), format, args);
	va_end(args);
	return error;
}
