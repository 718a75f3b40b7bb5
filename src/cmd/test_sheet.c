/* SPDX-License-Identifier: Apache-2.0 */
/* test_sheet.c - a table for people, line by line. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "cmd/cmd.h"
#include "cmd/test_sheet.h"

static const char *const colors[] = {
	[JUDGE_PASS] = "green", [JUDGE_FAIL] = "red", [JUDGE_SKIP] = "yellow"};

struct sheet sheet_new(const struct sheet_title *titles, size_t count)
{
	struct sheet s = {.table = scols_new_table()};
	const char *no_color = getenv("NO_COLOR");

	s.bad = !s.table;
	for (size_t i = 0; !s.bad && i < count; i++)
		s.bad = !scols_table_new_column(s.table, titles[i].text, 0,
						titles[i].number ? SCOLS_FL_RIGHT : 0);
	if (!s.bad)
		scols_table_enable_colors(s.table,
					  isatty(STDOUT_FILENO) && (!no_color || !*no_color));
	return s;
}

void sheet_line(struct sheet *s)
{
	s->line = s->bad ? NULL : scols_table_new_line(s->table, NULL);
	s->bad |= !s->line;
	s->at = 0;
}

void sheet_text(struct sheet *s, const char *text)
{
	s->bad = s->bad || scols_line_set_data(s->line, s->at++, text) < 0;
}

void sheet_ns(struct sheet *s, int64_t ns, bool sign)
{
	char text[32];

	cmd_format_ns(text, sizeof(text), ns, sign);
	sheet_text(s, text);
}

void sheet_number(struct sheet *s, uint64_t number)
{
	char text[32];

	snprintf(text, sizeof(text), "%" PRIu64, number);
	sheet_text(s, text);
}

void sheet_verdict(struct sheet *s, enum judge_verdict verdict)
{
	sheet_text(s, judge_verdict_names[verdict]);
	if (!s->bad)
		scols_cell_set_color(scols_line_get_cell(s->line, s->at - 1), colors[verdict]);
}

void sheet_print(struct sheet *s)
{
	if (!s->bad)
		scols_print_table(s->table);
	scols_unref_table(s->table);
}
