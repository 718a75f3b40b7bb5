/* SPDX-License-Identifier: Apache-2.0 */
/* test_sheet.h - a table for people, line by line, each cell after the one before. */
#ifndef CMD_TEST_SHEET_H
#define CMD_TEST_SHEET_H

#include <libsmartcols.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cmd/test_judge.h"

/* Once something is missing, all is: a table with holes would be read as whole. */
struct sheet {
	struct libscols_table *table;
	struct libscols_line *line;
	size_t at;
	bool bad;
};

struct sheet_title {
	const char *text;
	bool number; /* to the right */
};

/* To be given to sheet_print(), which frees it. */
struct sheet sheet_new(const struct sheet_title *titles, size_t count);

void sheet_line(struct sheet *s);
void sheet_text(struct sheet *s, const char *text);
void sheet_ns(struct sheet *s, int64_t ns, bool sign);
void sheet_number(struct sheet *s, uint64_t number);
void sheet_verdict(struct sheet *s, enum judge_verdict verdict);

void sheet_print(struct sheet *s);

#endif
